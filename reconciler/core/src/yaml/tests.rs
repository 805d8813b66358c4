//! The fast reader against the full one, and both against two other readers of YAML.

use proptest::prelude::*;

use super::cursor::{Cursor, Key};
use super::event::{Event, EventKind, Events, Stop};
use super::full::Full;
use super::subset::{Subset, plain_run};
use super::{inspect, rules, scalar};
use crate::diagnostic::Faults;

fn events<'a>(mut source: impl Events<'a>) -> Result<Vec<Event<'a>>, Stop> {
    let mut events = Vec::new();
    loop {
        let event = source.next_event()?;
        if event.kind == EventKind::End {
            return Ok(events);
        }
        events.push(event);
    }
}

/// A word that is looked at by 16 bytes ends where it ends byte by byte.
#[test]
fn a_plain_word_ends_at_the_first_byte_that_is_not_plain() {
    let plain = crate::bytes::ByteSet::of("A-Za-z0-9._@+/~-");
    for byte in 0..=255 {
        for length in 0..50 {
            for place in 0..=length {
                let mut text = vec![b'a' + (length % 26) as u8; length];
                text.insert(place, byte);
                let others = text.iter().position(|b| !plain.has(*b));
                assert_eq!(plain_run(&text), others.unwrap_or(text.len()), "{text:?}");
            }
        }
    }
}

/// The same, as whoever knows where keys stand reads them: several events at once, where the fast reader can.
fn walked(text: &str) -> Result<Vec<Event<'_>>, Stop> {
    fn walk<'a>(
        cursor: &mut Cursor<'a>,
        head: Event<'a>,
        events: &mut Vec<Event<'a>>,
    ) -> Result<(), Stop> {
        let end = |kind| Event { kind, offset: 0 };
        let kind = head.kind.clone();
        events.push(head);
        if kind == EventKind::MapStart {
            while let Some((key, value)) = cursor.entry()? {
                let Key { text, plain, at } = key;
                let kind = EventKind::Scalar { value: text, plain };
                events.push(Event { kind, offset: at });
                walk(cursor, value, events)?;
            }
            events.push(end(EventKind::MapEnd));
        } else if kind == EventKind::SeqStart {
            while let Some(item) = cursor.item()? {
                walk(cursor, item, events)?;
            }
            events.push(end(EventKind::SeqEnd));
        }
        Ok(())
    }
    let mut cursor = Cursor::fast(text);
    let mut events = Vec::new();
    let head = cursor.value()?;
    walk(&mut cursor, head, &mut events)?;
    cursor.finish()?;
    Ok(events)
}

/// Kinds with their places, as far as places mean something: an end, and a value that is not written, have none.
fn told<'a>(events: &[Event<'a>]) -> Vec<(EventKind<'a>, u32)> {
    let place = |event: &Event<'_>| match &event.kind {
        EventKind::MapEnd | EventKind::SeqEnd | EventKind::End => 0,
        EventKind::Scalar { value, plain: true } if value.is_empty() => 0,
        EventKind::MapStart | EventKind::SeqStart | EventKind::Scalar { .. } => event.offset,
    };
    events
        .iter()
        .map(|event| (event.kind.clone(), place(event)))
        .collect()
}

/// What a value is to a reader that guesses types: only its text is compared, and maps in their order.
#[derive(Debug, PartialEq)]
enum Tree {
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    /// Not a text to that reader.
    Other,
}

fn tree(events: &mut std::slice::Iter<'_, Event<'_>>) -> Tree {
    match events.next().map(|event| &event.kind) {
        Some(EventKind::Scalar { value, plain })
            if *plain && scalar::taken_for(value).is_some() =>
        {
            Tree::Other
        }
        Some(EventKind::Scalar { value, .. }) => Tree::Text(value.to_string()),
        Some(EventKind::SeqStart) => {
            let mut list = Vec::new();
            while events
                .as_slice()
                .first()
                .is_some_and(|event| event.kind != EventKind::SeqEnd)
            {
                list.push(tree(events));
            }
            events.next();
            Tree::List(list)
        }
        Some(EventKind::MapStart) => {
            let mut map = Vec::new();
            while events
                .as_slice()
                .first()
                .is_some_and(|event| event.kind != EventKind::MapEnd)
            {
                map.push((tree(events), tree(events)));
            }
            events.next();
            Tree::Map(map)
        }
        other => panic!("no value starts with {other:?}"),
    }
}

/// Whether another reader's value agrees. Where we say that readers differ, anything goes.
fn agrees(ours: &Tree, theirs: &serde_yaml::Value) -> bool {
    use serde_yaml::Value;
    match (ours, theirs) {
        (Tree::Other, Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => true,
        (Tree::Text(ours), Value::String(theirs)) => ours == theirs,
        (Tree::List(ours), Value::Sequence(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| agrees(a, b))
        }
        (Tree::Map(ours), Value::Mapping(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|((k, v), (other_k, other_v))| agrees(k, other_k) && agrees(v, other_v))
        }
        _ => false,
    }
}

fn has_guesses(tree: &Tree) -> bool {
    match tree {
        Tree::Text(_) => false,
        Tree::Other => true,
        Tree::List(list) => list.iter().any(has_guesses),
        Tree::Map(map) => map
            .iter()
            .any(|(key, value)| has_guesses(key) || has_guesses(value)),
    }
}

fn has_repeated_keys(tree: &Tree) -> bool {
    match tree {
        Tree::Text(_) | Tree::Other => false,
        Tree::List(list) => list.iter().any(has_repeated_keys),
        Tree::Map(map) => {
            let repeated = |(i, (key, value)): (usize, &(Tree, Tree))| {
                // Keys that readers read differently may be equal to one of them.
                *key == Tree::Other
                    || map[..i].iter().any(|(other, _)| other == key)
                    || has_repeated_keys(value)
            };
            map.iter().enumerate().any(repeated)
        }
    }
}

/// The property: whatever the fast reader accepts, all others read the same.
fn check(text: &str) -> Result<Accepted, TestCaseError> {
    let mut faults = Faults::default();
    if inspect(text.as_bytes(), &mut faults).is_none() {
        return Ok(Accepted::No);
    }
    let fast = match events(Subset::new(text)) {
        Ok(fast) => fast,
        Err(Stop::Declined) => {
            prop_assert!(matches!(walked(text), Err(Stop::Declined)), "{}", text);
            return Ok(Accepted::No);
        }
        Err(Stop::Refused(fault)) => {
            return Err(TestCaseError::fail(format!(
                "the fast reader judged: {fault:?}"
            )));
        }
    };
    let walked = walked(text)
        .map_err(|stop| TestCaseError::fail(format!("{text}\nonly in one walk: {stop:?}")))?;
    prop_assert_eq!(told(&fast), told(&walked), "{}", text);
    let full = events(Full::new(text)).map_err(|stop| {
        TestCaseError::fail(format!("{text}\nonly the fast reader accepts: {stop:?}"))
    })?;
    prop_assert_eq!(told(&fast), told(&full), "{}", text);
    let ours = tree(&mut fast.iter());
    // Who looks a value up refuses repeated keys; other readers do so at once, or keep the last.
    if !has_repeated_keys(&ours) {
        let second = serde_yaml::from_str(text).map_err(|error| error.to_string());
        let third = serde_saphyr::from_str(text).map_err(|error| error.to_string());
        for opinion in [second, third] {
            match opinion {
                Ok(theirs) => prop_assert!(agrees(&ours, &theirs), "{}\n{:?}", text, theirs),
                // One that guesses types may not like the number it sees.
                Err(error) => prop_assert!(has_guesses(&ours), "{}\n{}", text, error),
            }
        }
    }
    Ok(Accepted::Yes)
}

#[derive(Debug, PartialEq)]
enum Accepted {
    Yes,
    No,
}

/// Words as rosters have them, and words that readers of YAML fall out over.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z][a-z0-9_.@-]{0,8}",
        1 => prop::sample::select(vec![
            "no", "yes", "~", "null", "true", "0x10", "1_0", "010", "1e3", "-1", "--", "-a", ".5", "1:30", "a.b@c", "+1", "/bin/zsh",
            "2026-11-22", ".inf", "y",
        ]).prop_map(str::to_owned),
        1 => "\"[ -!#-\\[\\]-~]{0,6}\"",
        1 => "'[ -&(-~]{0,6}'",
    ]
}

fn flow(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return word().boxed();
    }
    let inner = || flow(depth - 1);
    prop_oneof![
        2 => word(),
        1 => prop::collection::vec(inner(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
        1 => prop::collection::vec((word(), inner()), 0..4).prop_map(|fields| {
            let fields: Vec<String> = fields.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("{{{}}}", fields.join(", "))
        }),
    ]
    .boxed()
}

/// What stands behind a key or a dash in a block: a word, something in brackets, or a sentence.
fn value(depth: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => flow(depth),
        1 => "[a-zA-Z0-9/~_.][a-z0-9 ,;:()=!?'\"%&*._@-]{0,24}",
    ]
}

/// A block map, indented by `indent`, as lines.
fn block(indent: usize, depth: u32) -> BoxedStrategy<String> {
    let pad = " ".repeat(indent);
    let comment = prop::sample::select(vec!["", "  # why", "   ", "", ""]);
    let scalar = (word(), value(2), comment.clone())
        .prop_map({
            let pad = pad.clone();
            move |(key, value, comment)| format!("{pad}{key}: {value}{comment}\n")
        })
        .boxed();
    let empty = (word(), comment.clone())
        .prop_map({
            let pad = pad.clone();
            move |(key, comment)| format!("{pad}{key}:{comment}\n")
        })
        .boxed();
    let list = (word(), 0..3_usize, prop::collection::vec(value(1), 1..4)).prop_map({
        let pad = pad.clone();
        move |(key, deeper, items)| {
            let items: String = items
                .iter()
                .map(|item| format!("{pad}{}- {item}\n", " ".repeat(deeper)))
                .collect();
            format!("{pad}{key}:\n{items}")
        }
    });
    let blank = prop::sample::select(vec!["\n", "# comment\n", "      # deep\n", "   \n"])
        .prop_map(str::to_owned)
        .boxed();
    let line = if depth == 0 {
        prop_oneof![6 => scalar, 1 => empty, 2 => list, 1 => blank].boxed()
    } else {
        let nested = (word(), 1..4_usize)
            .prop_flat_map(move |(key, deeper)| {
                block(indent + deeper, depth - 1).prop_map(move |inner| (key.clone(), inner))
            })
            .prop_map(move |(key, inner)| format!("{pad}{key}:\n{inner}"));
        prop_oneof![4 => nested, 3 => scalar, 1 => empty, 2 => list, 1 => blank].boxed()
    };
    prop::collection::vec(line, 1..5)
        .prop_map(|lines| lines.concat())
        .boxed()
}

fn document() -> impl Strategy<Value = String> {
    (
        prop::sample::select(vec!["", "", "---\n", "# top\n", "--- # top\n"]),
        block(0, 3),
        prop::bool::ANY,
    )
        .prop_map(|(top, body, newline)| {
            format!(
                "{top}{}",
                if newline {
                    &body
                } else {
                    body.trim_end_matches('\n')
                }
            )
        })
}

/// A few bytes of `text` changed into those that mean something to YAML.
fn mutated() -> impl Strategy<Value = String> {
    let signs: Vec<&'static str> = vec![
        ":", ": ", " ", "\n", "-", "- ", "#", " #", "'", "\"", "{", "}", "[", "]", ",", "&a ",
        "*a", "!t ", "<<", "|", ">", "%", "@", "`", "?", "? ", "\\", "...", "---\n", "---", "\t",
        "\r\n", "é", "\u{a0}", "=", "~", "0", "\n\n", "\n  ", "  ",
    ];
    (
        document(),
        prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                prop::sample::select(signs),
                0..3_usize,
            ),
            1..4,
        ),
    )
        .prop_map(|(mut text, changes)| {
            for (place, sign, cut) in changes {
                let mut at = place.index(text.len() + 1);
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                let mut end = (at + cut).min(text.len());
                while !text.is_char_boundary(end) {
                    end += 1;
                }
                text.replace_range(at..end, sign);
            }
            text
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn generated_files_read_the_same(text in document()) {
        check(&text)?;
    }

    #[test]
    fn mutated_files_read_the_same(text in mutated()) {
        check(&text)?;
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut faults = Faults::default();
        super::read(&bytes, &mut faults, |cursor, _| {
            let head = cursor.value()?;
            cursor.skip(&head)
        });
    }
}

/// The fast reader would be of no use if it declined everything.
#[test]
fn the_shapes_of_rosters_are_read_fast() {
    for text in [
        "users:\n  emo:\n    authentik_user: emil.barzin\n    tier: namespace-owner\n    namespaces: [emo]\n",
        "users:\n  zed: {authentik_user: z.ed, k8s_user: zed, tier: admin}\n",
        "---\n# people\nusers:\n\n  # a\n  emo: # b\n    namespaces:\n    - a\n    - b\n    tier: 'x y'   # c\n  b:\n    n:\n      - \"q\"\n",
        "users: {}\n",
        "users:\n",
        "tiers:\n  admin: {groups: [a, b], shell: /bin/zsh, instance: true}",
        "a:\nb:\n  c:\nd: []\n",
        "decision_reason: It ends TLS for everything, and nothing else (as of today) listens there; \"why\" isn't asked = 100 %.\n",
        "restart_window: Sundays, 04:00 to 05:00 UTC   # each\nlive: sha256:ab\nitems:\n  - on Sundays, at 04:00\n  - a:b & c*d\n",
    ] {
        assert_eq!(check(text).unwrap(), Accepted::Yes, "{text}");
    }
}

#[test]
fn what_the_fast_reader_is_not_sure_of_it_leaves_to_the_full_one() {
    for text in [
        "",
        "# only\n",
        "a",
        "[a]\n",
        "{a: b}\n",
        "a: b\n c\n",
        "a: b\n  c: d\n",
        " a: b\n",
        "a: b\n c: d\n",
        "a:b: c\n",
        "a: |\n  b\n",
        "a: *b\n",
        "a: &b c\n",
        "? a\n: b\n",
        "<<: a\n",
        "a: \"\\n\"\n",
        "a: 'b''c'\n",
        "- a\n",
        "a:\n  - b: c\n",
        "a:\n  - - b\n",
        "a: [b,]\n",
        "a: {b}\n",
        "a: [b\n]\n",
        "a: b #c\n...\n",
        "a: b\n---\n",
        "a: b#c d\n",
        "a: b c: d\n",
        "a: b c:\n",
        "a: b c\n  d\n",
        "a: b, c\n\n  d: e\n",
        "a:\n  - b c: d\n",
        "a: [b c]\n",
        "a: é\n",
        "a: b\r\n",
        "%YAML 1.2\n---\na: b\n",
        "a: -\n",
        "a: @b\n",
        "a :b\n",
        "a : b\n",
        "a: [b: c]\n",
        "---\n---\na: b\n",
        "a:\n- b\n - c\n",
    ] {
        assert_eq!(check(text).unwrap(), Accepted::No, "{text}");
    }
}

fn refusal(text: &[u8]) -> (String, &'static str) {
    let mut faults = Faults::default();
    let value = super::read(text, &mut faults, |cursor, _| {
        let head = cursor.value()?;
        cursor.skip(&head)
    });
    assert!(value.is_none(), "{}", text.escape_ascii());
    let (list, _) = faults.resolve("f", text);
    let at = list[0].at.map_or("-".to_owned(), |at| at.to_string());
    (at, list[0].rule)
}

#[test]
fn what_reviewers_cannot_see_through_is_refused_with_its_place() {
    for (text, at, rule) in [
        (&b"a: b\xff\n"[..], "1:5", rules::UTF8),
        (b"\xef\xbb\xbfa: b\n", "1:1", rules::BOM),
        (b"a: b\nc: \xef\xbb\xbfd\n", "2:4", rules::BOM),
        (b"a: \0b\n", "1:4", rules::CONTROL),
        (b"a: b\rc: d\n", "1:5", rules::CONTROL),
        ("a: b # \u{202e}c\n".as_bytes(), "1:8", rules::CONTROL),
        ("a: b\u{2028}c: d\n".as_bytes(), "1:5", rules::CONTROL),
        ("a: b\u{85}c: d\n".as_bytes(), "1:5", rules::CONTROL),
        (b"a:\n\tb: c\n", "2:1", rules::TAB),
        (b"a:\n  \tb: c\n", "2:3", rules::TAB),
        (b"%YAML 1.2\n---\na: b\n", "1:1", rules::DIRECTIVE),
        (b"a: b\n---\nc: d\n", "2:1", rules::DOCUMENTS),
        (b"a: b\n...\n---\nc: d\n", "3:1", rules::DOCUMENTS),
        (b"a: *b\n", "1:4", rules::ALIAS),
        (b"a: &b c\n", "1:4", rules::ANCHOR),
        (b"a: &b\n  c: d\n", "1:4", rules::ANCHOR),
        (b"&b a: c\n", "1:1", rules::ANCHOR),
        (b"a: !!str b\n", "1:4", rules::TAG),
        (b"a: !x {b: c}\n", "1:4", rules::TAG),
        (b"a:\n  <<: {b: c}\n", "2:3", rules::MERGE_KEY),
        (b"? [a]\n: b\n", "1:3", rules::KEY),
        (
            b"a: [[[[[[[[[[[[[[[[b]]]]]]]]]]]]]]]]\n",
            "1:19",
            rules::DEPTH,
        ),
        (b"a: [b\n", "1:4", rules::SYNTAX),
        (b"a: b\n c: d\n", "2:3", rules::SYNTAX),
        (b"a: \"b\n", "1:4", rules::SYNTAX),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n",
            "-",
            rules::POINTER,
        ),
        (
            b"a: b\n<<<<<<< ours\nc: d\n=======\nc: e\n>>>>>>> theirs\n",
            "2:1",
            rules::CONFLICT,
        ),
        (b"<<<<<<< ours\na: b\n=======\n", "1:1", rules::CONFLICT),
        (b"a: <<<<<<< b\n c: d\n", "2:3", rules::SYNTAX),
    ] {
        assert_eq!(
            refusal(text),
            (at.to_owned(), rule),
            "{}",
            text.escape_ascii()
        );
    }
}

#[test]
fn a_bomb_costs_nothing() {
    let nested = format!("a: {}", "[".repeat(100_000));
    assert_eq!(refusal(nested.as_bytes()).1, rules::DEPTH);
    let tabs = format!("a: b{}\n", " \t".repeat(100_000));
    let mut faults = Faults::default();
    assert!(inspect(tabs.as_bytes(), &mut faults).is_some());
    let bombs: String = (0..9)
        .map(|i| format!("x{i}: &x{i} [*x{i}, *x{i}]\n"))
        .collect();
    assert_eq!(refusal(bombs.as_bytes()).1, rules::ANCHOR);
}

#[test]
fn windows_line_ends_are_read() {
    let mut faults = Faults::default();
    let text = b"a:\r\n  b: c\r\n";
    assert!(inspect(text, &mut faults).is_some());
    assert_eq!(
        events(Full::new(std::str::from_utf8(text).unwrap()))
            .unwrap()
            .len(),
        7
    );
}
