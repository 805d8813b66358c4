//! F7: reading any bytes costs at most 8 bytes of memory for each of them, and 1 MiB.

use std::collections::BTreeMap;

use muster_core::diagnostic;
use muster_core::executor::Executor;
use muster_core::rooms;
use muster_memory::{Counting, most_held};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Files = BTreeMap<String, Vec<u8>>;

/// As many of `part` as there is room for.
fn repeated(part: &str, size: usize) -> Vec<u8> {
    part.repeat(size / part.len()).into_bytes()
}

/// `head`, then what `part` makes of 0, 1, 2, … until there is no more room.
fn counted(head: &str, size: usize, part: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text = head.to_owned();
    for number in 0.. {
        let next = part(number);
        if text.len() + next.len() > size {
            break;
        }
        text.push_str(&next);
    }
    text.into_bytes()
}

/// Short names in their order: a, b, …, z, 0, …, 9, aa, …
fn short(mut number: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut name = String::new();
    loop {
        name.insert(0, char::from(LETTERS[number % 36]));
        number /= 36;
        if number == 0 {
            return format!("q{name}");
        }
        number -= 1;
    }
}

fn around(head: &str, part: &str, tail: &str, size: usize) -> Vec<u8> {
    [head.as_bytes(), &repeated(part, size), tail.as_bytes()].concat()
}

/// One thing, again and again: files of `size` bytes or nearly so.
fn floods(size: usize) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| files.push((name.to_owned(), bytes));
    for part in [
        "[",
        "{",
        "]",
        "}",
        "- ",
        "-\n",
        "- - - -\n",
        "? ",
        "?\n",
        ": ",
        ":\n",
        ",",
        "a: ",
        "a:\n",
        "\"\" ",
        "'' ",
        "\"",
        "'",
        "\t",
        " ",
        "\n",
        "\r\n",
        "\r",
        "#\n",
        "#",
        "---\n",
        "--- a\n",
        "...\n",
        "%YAML 1.2\n",
        "%",
        "&a ",
        "&a\n",
        "*a ",
        "*a\n",
        "- *a\n",
        "!",
        "!!a ",
        "! \n",
        "|\n",
        ">\n",
        "\u{feff}",
        "\0",
        "\u{202e}",
        "\u{85}",
        "\u{2028}",
        "é",
        "a",
        "a\n",
        "a b\n",
        "[]\n",
        "{}\n",
        "[{",
        "{[",
        "[[]",
        "{a: ",
        "[a: ",
        "\\u0041",
        "<<: ",
        "<<: {}\n",
        "~\n",
        "@",
        "`",
        "<<<<<<< ours\n",
    ] {
        add(part, repeated(part, size));
        for (head, tail) in [
            ("users:\n  ", ""),
            ("users: {", "}\n"),
            ("users: [", "]\n"),
            ("x: \"", "\"\n"),
            ("x: '", "'\n"),
            ("x: |\n  ", "\n"),
            ("- ", "\n"),
            ("users: {}\n", ""),
        ] {
            add(&format!("{head}{part}"), around(head, part, tail, size));
        }
    }
    files
}

/// The worst files that we can think of, of `size` bytes or nearly so.
fn shapes(size: usize) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| files.push((name.to_owned(), bytes));
    let row = |number: usize, more: &str| {
        format!(
            "  q{number}: {{authentik_user: q{number}, k8s_user: q{number}, tier: admin{more}}}\n"
        )
    };
    for (what, head, part, tail) in [
        ("a list on one line", "x: [", "a,", "a]\n"),
        (
            "a list on one line, spaced",
            "users: {a: {namespaces: [",
            "a, ",
            "a]}}\n",
        ),
        ("repos on one line", "users: {a: {repos: [", "a,", "a]}}\n"),
        (
            "a list on many lines",
            "users:\n a:\n  namespaces:\n",
            "  - a\n",
            "",
        ),
        ("a list in a list", "x: [[", "[],", "a]]\n"),
        ("maps in a list", "x: [", "{a: b},", "a]\n"),
        ("a map on one line", "users: {", "a: b,", "}\n"),
        ("a map without values", "users: {", "a,", "}\n"),
        ("empty keys", "users:\n", " ? \n", ""),
        ("the same key", "users:\n", " a: 1\n", ""),
        ("the same short row", "users:\n", " a:\n", ""),
        ("the same empty row", "users:\n", " a: {}\n", ""),
        ("the same field", "users:\n a:\n", "  tier: admin\n", ""),
        ("unknown fields", "users:\n a:\n", "  b: 1\n", ""),
        ("unknown fields at the top", "", "b: 1\n", ""),
        (
            "the same person",
            "users:\n",
            " a: {authentik_user: b, k8s_user: c, tier: admin}\n",
            "",
        ),
        (
            "the same person as JSON",
            "{\"users\":{",
            "\"a\":{\"authentik_user\":\"b\",\"k8s_user\":\"c\",\"tier\":\"admin\"},",
            "}}",
        ),
        ("escapes", "x: \"", "\\u0041", "\"\n"),
        (
            "rows of escapes",
            "users:\n",
            " \"\\x61\": {\"\\x61\": \"\\x61\"}\n",
            "",
        ),
        ("a block scalar", "x: |\n", " a\n", ""),
        ("a folded scalar", "x: >\n", " a\n", ""),
        ("a folded scalar of empty lines", "x: >\n a\n", "\n", " a\n"),
        ("a plain scalar of many lines", "x:\n", " a\n", ""),
        ("a quoted scalar of many lines", "x: \"\n", " a\n", "\"\n"),
        ("a quoted key", "\"", "a", "\": 1\n"),
        ("a plain key", "", "a", ": 1\n"),
        ("a key of a list", "[", "a,", "]: 1\n"),
        ("a key of a list, asked for", "? [", "a,", "]\n: 1\n"),
        ("anchors", "x:\n", "- &a b\n", ""),
        ("tags", "x:\n", "- !!a b\n", ""),
        ("bytes that are no text", "", "a\n", "\u{fffd}"),
        ("comments in a list", "x: [\n", "#a\n", "]\n"),
        ("comments among people", "users:\n", " #a\n", ""),
        (
            "unexpected namespaces",
            "users:\n",
            " a: {namespaces: [a]}\n",
            "",
        ),
        ("tiers", "tiers:\n", " admin: {}\n", ""),
    ] {
        add(what, around(head, part, tail, size));
    }
    add("no text", vec![0xff; size]);
    add(
        "no text at the end",
        [repeated("a: b\n", size), vec![0xff]].concat(),
    );
    add(
        "ever deeper",
        counted("", size, |it| format!("{}a:\n", " ".repeat(it % 4096))),
    );
    add(
        "ever further left",
        counted("x:\n", size, |it| {
            format!("{}- a\n", " ".repeat(4096 - it % 4096))
        }),
    );
    add(
        "keys of their own",
        counted("users:\n", size, |it| format!(" {}: 1\n", short(it))),
    );
    add(
        "empty rows of their own",
        counted("users:\n", size, |it| format!(" {}:\n", short(it))),
    );
    add(
        "anchors of their own",
        counted("x:\n", size, |it| format!("- &{} b\n", short(it))),
    );
    add(
        "wrong names",
        counted("users:\n", size, |it| format!(" A{it}: {{}}\n")),
    );
    add(
        "namespaces of their own",
        counted(
            "users:\n a: {authentik_user: b, k8s_user: c, tier: namespace-owner, namespaces: [a",
            size,
            |it| format!(",{}", short(it)),
        ),
    );
    add(
        "namespaces below each other",
        counted(
            "users:\n a:\n  authentik_user: b\n  k8s_user: c\n  tier: namespace-owner\n  namespaces:\n",
            size,
            |it| format!("  - {}\n", short(it)),
        ),
    );
    add(
        "repos of their own",
        counted(
            "users:\n a:\n  authentik_user: b\n  k8s_user: c\n  tier: admin\n  code_layout: workspace\n  repos:\n",
            size,
            |it| format!("  - {}\n", short(it)),
        ),
    );
    add("people", counted("users:\n", size, |it| row(it, "")));
    add(
        "people with little more",
        counted("users:\n", size, |it| row(it, ", parked: true")),
    );
    add(
        "people with a uid",
        counted("users:\n", size, |it| {
            row(it, &format!(", uid: {}", it + 1000))
        }),
    );
    add(
        "people of one uid",
        counted("users:\n", size, |it| row(it, ", uid: 1000")),
    );
    add(
        "people who had a name",
        counted("users:\n", size, |it| {
            row(it, &format!(", previously: p{it}"))
        }),
    );
    add(
        "people who had one name",
        counted("users:\n", size, |it| row(it, ", previously: p")),
    );
    add(
        "people with repos",
        counted("users:\n", size, |it| {
            row(it, ", code_layout: workspace, repos: [a, b]")
        }),
    );
    add(
        "people as short as can be",
        counted("users:\n", size, |it| {
            let n = short(it);
            format!(" {n}: {{authentik_user: {n}, k8s_user: {n}, tier: admin}}\n")
        }),
    );
    add(
        "people with one login",
        counted("users:\n", size, |it| {
            format!(
                " {}: {{authentik_user: a, k8s_user: a, tier: admin}}\n",
                short(it)
            )
        }),
    );
    add(
        "people who look alike",
        counted("users:\n", size, |it| {
            let n = format!("{it:024b}")
                .replace('1', "l")
                .replace('0', if it % 2 == 0 { "o" } else { "0" });
            format!(" {n}: {{authentik_user: {n}, k8s_user: {n}, tier: admin}}\n")
        }),
    );
    add(
        "owners of two",
        counted("users:\n", size, |it| {
            let n = short(it);
            format!(
                " {n}: {{authentik_user: {n}, k8s_user: {n}, tier: namespace-owner, namespaces: [{n}a,{n}b]}}\n"
            )
        }),
    );
    add(
        "owners of ten",
        counted("users:\n", size, |it| {
            let n = short(it);
            let names: Vec<String> = (0..10).map(|i| format!("{n}{i}")).collect();
            format!(
                " {n}: {{authentik_user: {n}, k8s_user: {n}, tier: namespace-owner, namespaces: [{}]}}\n",
                names.join(",")
            )
        }),
    );
    for (what, row) in [
        ("guests of whom nothing is said", "{}"),
        ("guests that are called something", "{name: a}"),
        ("guests with a tag", "{tags: [a]}"),
        ("guests with many tags", "{tags: [a,b,c,d,e,g,h,i,j,k,l,m]}"),
        ("guests with an owner who is nobody", "{owner: a}"),
        (
            "guests with all there is",
            "{name: a,run: running,disk: 1,description: a,tags: [a],owner: a,create: {clone: a,storage: a,devices: [a,b]}}",
        ),
    ] {
        add(
            what,
            counted("guests:\n", size, |it| format!(" {}: {row}\n", it + 100)),
        );
    }
    files
}

fn reads_within(what: &str, files: &Files) {
    let executor: Executor = "guests/pve".parse().unwrap();
    let size: usize = files
        .iter()
        .map(|(path, bytes)| path.len() + bytes.len())
        .sum();
    let (_, most) = most_held(|| match rooms::read_whole(files, &[&executor]) {
        Ok((_, problems)) | Err(problems) => {
            drop(diagnostic::human(&problems, files));
            drop(diagnostic::json(&problems));
            drop(diagnostic::github(&problems));
        }
    });
    assert!(
        most <= size * 8 + (1 << 20),
        "{what:?}: {most} bytes to read {size}"
    );
}

/// Reads each of these files under each of these names.
fn read_each(hostile: &[(String, Vec<u8>)], paths: &[&str]) {
    for (what, bytes) in hostile {
        for path in paths {
            let mut files = Files::from([("roster.yaml".to_owned(), b"users: {}\n".to_vec())]);
            files.insert((*path).to_owned(), bytes.clone());
            reads_within(&format!("{path}: {what}"), &files);
        }
    }
}

#[test]
fn a_small_file_costs_little() {
    read_each(&floods(3_000), &["roster.yaml"]);
    let paths = [
        "roster.yaml",
        "tiers.yaml",
        "hosts/a.yaml",
        "guests/pve.yaml",
    ];
    read_each(&shapes(3_000), &paths);
}

#[test]
fn a_large_file_costs_in_proportion() {
    read_each(&shapes(120_000), &["roster.yaml"]);
    read_each(&shapes(30_000), &["guests/pve.yaml"]);
}

#[test]
fn many_files_that_are_all_wrong_cost_in_proportion() {
    let wrong = [&b"["[..], b"a", b"a: b\n", b"\xff", b"tiers: {b: c}\n"];
    let mut files: Files = (0..2_000)
        .map(|number| {
            (
                format!("hosts/h{number}.yaml"),
                wrong[number % wrong.len()].to_vec(),
            )
        })
        .collect();
    files.extend((0..500).map(|number| (format!("hosts/H{number}.yml"), Vec::new())));
    reads_within("many files", &files);
}

/// A million people would not read faster for the bounds, and must not be refused for them.
#[test]
fn an_ordinary_roster_is_no_flood() {
    let files = Files::from([(
        "roster.yaml".to_owned(),
        counted("users:\n", 2_000_000, |it| {
            format!("  u{it}: {{authentik_user: u{it}.x, k8s_user: u{it}, tier: power-user}}\n")
        }),
    )]);
    reads_within("people", &files);
    assert!(rooms::read_whole(&files, &[]).is_ok());
}
