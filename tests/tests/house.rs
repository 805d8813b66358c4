//! The house stands as ARCHITECTURE.md draws it: who may depend on whom, and what core may use at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace")
}

/// Names under `[dependencies]` of a manifest.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).expect("a manifest");
    text.lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn core_depends_on_nothing_that_could_reach_outside() {
    let harmless = [
        "granit-parser",
        "jiff",
        // Finds bytes in what it is given.
        "memchr",
        // For the arithmetic of signatures; core's clippy.toml forbids its randomness.
        "ring",
        "serde",
        "serde_json",
        "serde_yaml",
        "sha2",
        "similar",
        "thiserror",
        // Parses the trust root out of a text that it is given.
        "toml",
    ];
    for name in dependencies(&root().join("reconciler/core/Cargo.toml")) {
        assert!(
            harmless.contains(&name.as_str()),
            "core has a new dependency, {name}: can it read, wait or connect?"
        );
    }
    let clippy = std::fs::read_to_string(root().join("reconciler/core/clippy.toml"))
        .expect("core's clippy.toml");
    for forbidden in [
        "SystemTime::now",
        "std::env::var",
        "std::fs::File",
        "std::process::Command",
        "HashMap",
        "SystemRandom",
    ] {
        assert!(
            clippy.contains(forbidden),
            "core's clippy.toml no longer forbids {forbidden}"
        );
    }
}

#[test]
fn arrows_between_the_crates_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = [
        ("core", &[][..]),
        ("git", &["muster-core"]),
        ("host", &["muster-core"]),
        ("forge", &["muster-core"]),
        ("guests", &["muster-core"]),
        (
            "daemon",
            &[
                "muster-core",
                "muster-git",
                "muster-host",
                "muster-forge",
                "muster-guests",
            ],
        ),
        ("sim", &["muster-core", "muster"]),
    ]
    .into();
    let rooms = std::fs::read_dir(root().join("reconciler")).expect("the crates");
    for room in rooms {
        let room = room.expect("a directory entry");
        let name = room.file_name().into_string().expect("a plain name");
        // The one page beside the crates.
        if name == "THREATS.md" {
            continue;
        }
        let manifest = root().join("reconciler").join(&name).join("Cargo.toml");
        let ours: BTreeSet<String> = dependencies(&manifest)
            .into_iter()
            .filter(|it| it == "muster" || it.starts_with("muster-"))
            .collect();
        let may = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("a room that nobody drew: {name}"));
        for dependency in ours {
            assert!(
                may.contains(&dependency.as_str()),
                "{name} must not know {dependency}"
            );
        }
    }
}

/// What stands between backquotes in a page, outside of drawings.
fn quoted(page: &str) -> Vec<&str> {
    let prose = page.split("\n## Code map").nth(1).expect("the code map");
    prose.split('`').skip(1).step_by(2).collect()
}

/// Whether a name is one of a test: words of lower case with more than two lines between them.
fn is_name_of_test(name: &str) -> bool {
    name.matches('_').count() > 2 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn every_test_and_file_that_the_architecture_names_is_there() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let tests: String = ["reconciler", "tests"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .map(|path| std::fs::read_to_string(path).expect("a source file"))
        .collect();
    let folders = [
        "",
        "reconciler",
        "reconciler/core/src",
        "reconciler/daemon/src",
    ];
    let (mut named_tests, mut named_files) = (0, 0);
    for quoted in quoted(&page) {
        for name in quoted.split([' ', ':']).filter(|it| is_name_of_test(it)) {
            named_tests += 1;
            assert!(
                tests.contains(&format!("fn {name}(")),
                "ARCHITECTURE.md names {name}, and no test is called so"
            );
        }
        let path = quoted.split(':').next().unwrap_or_default();
        let is_file = path.contains('/') && path.ends_with(".rs") && !path.contains(['<', '{']);
        if is_file {
            named_files += 1;
            assert!(
                folders.iter().any(|it| root().join(it).join(path).exists()),
                "ARCHITECTURE.md names {path}, and there is no such file"
            );
        }
    }
    assert!(
        named_tests > 20 && named_files > 30,
        "{named_tests}, {named_files}"
    );
    for number in 1..=12 {
        let line = format!("\n{number}. **");
        assert!(
            page.contains(&line),
            "ARCHITECTURE.md has no invariant {number}"
        );
    }
    for story in [
        "a-person-comes-and-goes",
        "a-bad-edit-is-refused",
        "a-release-names-its-steps",
        "a-rewritten-branch-freezes",
        "one-bad-person-does-not-stop-the-others",
    ] {
        assert!(page.contains(story));
        assert!(
            root().join(format!("tests/scenarios/{story}.txt")).exists(),
            "no story is called {story}"
        );
    }
}

/// Every source file below a folder, tests among them.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules of core, storey by storey, the lowest first: each may name those below it, and its own.
const STOREYS: [(&str, &[&str]); 4] = [
    (
        "ground",
        &[
            "bytes",
            "clock",
            "commit",
            "compat",
            "diagnostic",
            "edit",
            "executor",
            "flat",
            "id",
            "ink",
            "key_list",
            "limits",
            "merge_join",
            "people",
            "price",
            "reading",
            "repo",
            "sheet",
            "time",
            "turn",
            "verb",
            "yaml",
        ],
    ),
    ("rooms", &["accounts", "guests", "services"]),
    ("register", &["rooms"]),
    (
        "spine",
        &[
            "facts", "fleet", "forge", "gate", "host_key", "journal", "ledger", "plan", "release",
            "report", "settle", "step", "world",
        ],
    ),
];

/// Source files below a folder, with their text, without those that only hold tests.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found: Vec<_> = rust_files(folder)
        .into_iter()
        // The daemon's scene is what its tests play on.
        .filter(|path| !path.ends_with("tests.rs") && !path.ends_with("daemon/src/scene.rs"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source file");
            // Tests at the end of a file may name whom they like.
            let code = text.split("#[cfg(test)]\nmod tests").next();
            (path, code.unwrap_or_default().to_owned())
        })
        .collect();
    found.sort();
    found
}

/// The lines of a file that are no comment, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The modules that a line names by `crate::`.
fn named(line: &str) -> Vec<&str> {
    let word = |rest: &'_ str| rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    line.split("crate::")
        .skip(1)
        .map(|rest| &rest[..word(rest).unwrap_or(rest.len())])
        .filter(|it| !it.is_empty())
        .collect()
}

/// Which storey a module of core stands on.
fn storey(module: &str) -> Option<usize> {
    STOREYS
        .iter()
        .position(|(_, modules)| modules.contains(&module))
}

#[test]
fn core_stands_in_four_storeys_and_rooms_do_not_know_each_other() {
    let core = root().join("reconciler/core/src");
    for (path, text) in sources(&core) {
        let place = path.strip_prefix(&core).expect("below core");
        let first = place
            .iter()
            .next()
            .and_then(|it| it.to_str())
            .expect("a name");
        let module = first.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let Some(own) = storey(module) else {
            panic!(
                "core/src/{module} stands on no storey: words and documents that every subject has belong to the ground, one \
                 subject to a room of its own (and into rooms.rs), what plans, records and reports to the spine; say which in \
                 STOREYS and in lib.rs"
            );
        };
        for (number, line) in code(&text) {
            for other in named(line) {
                let Some(there) = storey(other) else { continue };
                let at = format!("reconciler/core/src/{}:{number}", place.display());
                let (here, above) = (STOREYS[own].0, STOREYS[there].0);
                assert!(
                    there <= own,
                    "{at} names {other} of the {above}, which stands above the {here}: what is asked there is asked by a \
                     function in rooms.rs, or the word belongs to the ground"
                );
                assert!(
                    here != "rooms" || above != "rooms" || other == module,
                    "{at} names the room {other}: rooms do not know each other; what both need belongs to the ground"
                );
                assert!(
                    here != "spine" || above != "rooms",
                    "{at} names the room {other}: the spine names no room; a question that has an answer for each room is a \
                     function in rooms.rs"
                );
            }
        }
    }
}

/// W1, A13: owner responses know no word of what acts, so that no lane can ever open a gate.
#[test]
fn owner_responses_name_nothing_that_acts() {
    let core = root().join("reconciler/core/src");
    let may = [
        "bytes",
        "compat",
        "diagnostic",
        "repo",
        "services",
        "time",
        "yaml",
    ];
    for (path, text) in sources(&core.join("services")) {
        for (number, line) in code(&text) {
            for other in named(line) {
                assert!(
                    may.contains(&other),
                    "{}:{number} names {other}: owner responses are records, lanes and reports, and nothing of them acts",
                    path.display()
                );
            }
        }
    }
    // Nor does the spine, or whoever runs steps, ask for a lane.
    let acting = [
        "gate.rs",
        "plan.rs",
        "settle.rs",
        "step.rs",
        "world.rs",
        "journal.rs",
    ]
    .map(|it| core.join(it));
    let daemon = root().join("reconciler/daemon/src");
    let running = rust_files(&daemon.join("cycle"))
        .into_iter()
        .chain([daemon.join("cycle.rs")]);
    for path in acting
        .into_iter()
        .chain(running)
        .chain(rust_files(&root().join("reconciler/host/src")))
    {
        let text = std::fs::read_to_string(&path).expect("a source file");
        assert!(
            !text.contains("muster_core::services") && !text.contains("crate::services"),
            "{} asks for owner responses",
            path.display()
        );
    }
}

#[test]
fn executors_and_their_refs_are_spelled_in_one_place() {
    for name in ["core", "git", "host", "forge", "guests", "daemon", "sim"] {
        let folder = root().join("reconciler").join(name).join("src");
        for (path, text) in sources(&folder) {
            if path.ends_with("core/src/executor.rs") {
                continue;
            }
            for (number, line) in code(&text) {
                for spelled in [
                    "\"host/",
                    "\"guests/{",
                    "\"cluster/",
                    "\"ca/",
                    "refs/muster/host",
                    "refs/muster/alive",
                    "refs/muster/guests",
                ] {
                    assert!(
                        !line.contains(spelled),
                        "{}:{number} spells {spelled}: core/src/executor.rs does, and has functions for it",
                        path.display()
                    );
                }
            }
        }
    }
}

/// The arms of every `match` in a text: each with its patterns, and the line it begins in.
fn matches(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut all = Vec::new();
    for (at, _) in text.match_indices("match ") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(open) = text[at..].find('{').map(|it| at + it) else {
            continue;
        };
        let (mut depth, mut arm, mut arms, mut pattern) = (0, String::new(), Vec::new(), true);
        for (index, c) in text[open..].char_indices() {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            let rest = &text[open + index..];
            if pattern {
                if depth == 1 && rest.starts_with("=>") {
                    arms.push(std::mem::take(&mut arm).trim().to_owned());
                    pattern = false;
                } else if index > 0 {
                    arm.push(c);
                }
            } else if depth == 1 && (c == ',' || (c == '}' && index > 0)) {
                arm.clear();
                pattern = true;
            }
        }
        all.push((text[..at].lines().count(), arms));
    }
    all
}

/// What decides about an action says something of each: a new one does not compile before it is answered for. The host alone
/// may say "no step of this turn" of all others, which decides nothing.
#[test]
fn no_wildcard_stands_over_an_action() {
    for name in ["core", "daemon", "sim"] {
        let folder = root().join("reconciler").join(name).join("src");
        for (path, text) in sources(&folder) {
            let in_actions =
                path.ends_with("accounts/action.rs") || path.ends_with("guests/action.rs");
            for (line, arms) in matches(&text) {
                let is_variant =
                    |it: &String| it.contains("Action::") || (in_actions && it.contains("Self::"));
                let over_actions = arms.iter().filter(|it| is_variant(it)).count();
                let bound = |it: &&String| {
                    let first = it.trim_start_matches(['|', ' ', '\n']);
                    first == "_"
                        || first.starts_with("_ if")
                        || first.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                };
                let wild = arms.iter().find(bound);
                assert!(
                    over_actions == 0 || wild.is_none(),
                    "{}:{line} passes over actions with `{}`: name each of them, so that a new one has to be answered for",
                    path.display(),
                    wild.map_or("", String::as_str)
                );
            }
            for (number, line) in code(&text) {
                let asks = ["matches!(", "if let ", "let Some("]
                    .iter()
                    .any(|it| line.contains(it));
                assert!(
                    !(asks && line.contains("Action::") && line.contains("{ ..")),
                    "{}:{number} asks whether an action is one of some, and passes over the others: {line}",
                    path.display()
                );
            }
        }
    }
}

/// The standard library's list of a directory panics when the directory cannot be closed; `muster_git::folder` and `host/src/dir.rs` do
/// not (F15).
#[test]
fn no_directory_is_listed_by_what_panics() {
    for name in ["git", "host", "forge", "guests", "daemon"] {
        for (path, text) in sources(&root().join("reconciler").join(name).join("src")) {
            // An adversary that tests play.
            let is_for_tests = path.ends_with("archive/racer.rs");
            assert!(
                is_for_tests || !text.contains("read_dir("),
                "{}: list it with muster_git::folder, or host/src/dir.rs",
                path.display()
            );
        }
    }
}
