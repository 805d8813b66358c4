//! The statement has one spelling.

use muster_core::release::statement::{Line, MAX_STEPS, Statement, tag_name};
use muster_core::release::{Code, Nonce, RepoId};
use muster_core::time::Time;
use proptest::prelude::*;

use super::forge::{NOW, statement};

#[test]
fn a_statement_is_written_like_this() {
    assert_eq!(
        statement().render(),
        "muster-release/1\n\
         repo 6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f\n\
         commit 3d2a1f0e9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a49\n\
         nonce 8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f\n\
         not-before 2026-11-22T02:00:00Z\n\
         not-after 2026-11-23T03:00:00Z\n\
         reason \"offboarding, ticket 1234\"\n\
         on host/devvm\n\
         do 33333333333333333333333333333333 group.join ema gid=27 group=sudo\n\
         do 55555555555555555555555555555555 user.archive_delete emo home=/home/emo uid=1004\n\
         on host/www1.example.org\n\
         do 11111111111111111111111111111111 user.cut emo from=%C3%A9\n\
         end\n"
    );
    assert_eq!(
        Statement::parse(statement().render().as_bytes()),
        Ok(statement())
    );
    let name = tag_name(
        statement().render().as_bytes(),
        statement().not_before,
        b"key",
    );
    assert_eq!(name, statement().tag_name(b"key"));
    assert!(name.starts_with("release/20261122T020000Z-"), "{name}");
    assert_eq!(
        name.len(),
        "release/20261122T020000Z-0123456789abcdef-01234567".len()
    );
}

#[test]
fn no_other_spelling_is_read() {
    let good = statement().render();
    let three = "3".repeat(32);
    for (part, other) in [
        ("muster-release/1", "muster-release/2"),
        ("muster-release/1", "Muster-release/1"),
        ("muster-release/1\n", "muster-release/1\n\n"),
        ("repo 6f", "repo  6f"),
        ("repo 6f", "repo 6F"),
        ("repo 6f", "repo f"),
        ("commit 3d", "commit 3"),
        ("nonce ", "nonce: "),
        ("2026-11-22T02:00:00Z", "2026-11-22 02:00:00Z"),
        ("2026-11-22T02:00:00Z", "2026-11-22T02:00:00+00:00"),
        ("2026-11-22T02:00:00Z", "2026-11-22T02:00:00.0Z"),
        ("2026-11-22T02:00:00Z", "2026-11-22T02:00:00"),
        ("2026-11-22T02:00:00Z", "2026-11-22T02:00:60Z"),
        ("2026-11-22T02:00:00Z", "2026-11-21T24:00:00Z"),
        ("2026-11-22T02:00:00Z", "2026-02-30T02:00:00Z"),
        ("2026-11-22T02:00:00Z", "+026-11-22T02:00:00Z"),
        ("2026-11-22T02:00:00Z", "2026-+1-22T02:00:00Z"),
        ("2026-11-22T02:00:00Z", "2026-11-22t02:00:00z"),
        ("2026-11-22T02:00:00Z", "1969-12-31T23:59:59Z"),
        ("2026-11-22T02:00:00Z", "2026-11-23T03:00:00Z"),
        ("2026-11-22T02:00:00Z", "2026-11-24T03:00:00Z"),
        ("\"offboarding, ticket 1234\"", "offboarding"),
        ("\"offboarding, ticket 1234\"", "\"\""),
        ("\"offboarding, ticket 1234\"", "\"a\"b\""),
        ("\"offboarding, ticket 1234\"", "\"a\\b\""),
        ("\"offboarding, ticket 1234\"", "\"a\" "),
        ("\"offboarding, ticket 1234\"", "\""),
        ("on host/devvm", "on host/Devvm"),
        ("on host/devvm", "on host/devvm "),
        ("on host/devvm", "on devvm"),
        ("on host/devvm", "on guest/devvm"),
        ("on host/devvm", "on host/"),
        ("on host/devvm", "on host/-a"),
        ("on host/devvm", "on host/z"),
        ("on host/devvm\n", ""),
        ("on host/devvm\n", "on host/devvm\non host/e\n"),
        ("do 3333", "Do 3333"),
        ("do 3333", " do 3333"),
        ("do 3333", "do 333"),
        ("do 3333", "do 9333"),
        (" group.join", ""),
        ("group.join", "group"),
        ("group.join", "Group.join"),
        ("group.join", "group."),
        ("group.join ema", "group.join"),
        ("group.join ema", "group.join  ema"),
        ("group.join ema", "group.join ema;"),
        ("group=sudo", "group"),
        ("group=sudo", "=sudo"),
        ("group=sudo", "group=su=do"),
        ("group=sudo", "group=sudo "),
        ("group=sudo", "group=%"),
        ("group=sudo", "group=%c3"),
        ("group=sudo", "group=%C"),
        ("group=sudo", "group=`id`"),
        ("group=sudo", "group=$(id)"),
        ("end\n", "end"),
        ("end\n", ""),
        ("end\n", "end\nend\n"),
        ("end\n", "end \n"),
        ("end\n", "\nend\n"),
        ("not-before", "not-after"),
        (three.as_str(), "33333333333333333333333333333333\t"),
    ] {
        assert!(good.contains(part), "{part:?}");
        let text = good.replacen(part, other, 1);
        let refusal = Statement::parse(text.as_bytes()).expect_err(other);
        assert_eq!(refusal.code, Code::Malformed, "{other:?}");
    }
    let lines: Vec<&str> = good.lines().collect();
    for at in 0..lines.len() {
        let mut without = lines.clone();
        let line = without.remove(at);
        let text = without.join("\n") + "\n";
        // A step fewer is another statement, as good as the first.
        let is_step = at == 8 || at == 9;
        assert_eq!(Statement::parse(text.as_bytes()).is_ok(), is_step, "{line}");
        let mut twice = lines.clone();
        twice.insert(at, line);
        let text = twice.join("\n") + "\n";
        assert!(Statement::parse(text.as_bytes()).is_err(), "{line} twice");
    }
    assert!(Statement::parse(b"").is_err());
}

#[test]
fn a_window_may_be_too_long_here_and_is_not_for_the_gate() {
    // M40: whoever signs for too long is told, so it is not a matter of grammar.
    let mut long = statement();
    long.not_after = NOW.plus(1_000_000);
    long.check().unwrap();
}

#[test]
fn a_statement_has_a_largest_number_of_steps() {
    // M62.
    let with = |count: usize| {
        let lines = (0..count).map(|at| Line {
            id: format!("{at:032x}").parse().unwrap(),
            words: "user.cut emo".into(),
        });
        let mut statement = statement();
        statement.blocks = [("host/devvm".to_owned(), lines.collect())].into();
        statement
    };
    with(MAX_STEPS).check().unwrap();
    assert_eq!(with(MAX_STEPS).steps(), MAX_STEPS);
    assert!(with(MAX_STEPS + 1).check().is_err());
}

#[test]
fn the_verb_of_every_step_can_be_signed() {
    for verb in muster_core::rooms::verbs() {
        let mut statement = statement();
        statement.blocks.get_mut("host/devvm").unwrap()[0].words = format!("{} emo", verb.word);
        statement.check().unwrap();
    }
}

#[test]
fn what_cannot_be_written_is_seen_before_it_is_signed() {
    let edits: [fn(&mut Statement); 7] = [
        |it| it.reason = "two\nlines".into(),
        |it| it.reason = "x\"\non host/other\ndo ".into(),
        |it| it.reason = "é".into(),
        |it| it.reason.clear(),
        |it| it.blocks.clear(),
        |it| it.blocks.get_mut("host/devvm").unwrap().reverse(),
        |it| it.not_after = it.not_before,
    ];
    for (at, edit) in edits.iter().enumerate() {
        let mut statement = statement();
        edit(&mut statement);
        assert!(statement.check().is_err(), "edit {at}");
    }
}

prop_compose! {
    fn any_statement()(
        repo in any::<[u8; 16]>(),
        nonce in any::<[u8; 16]>(),
        not_before in any::<i64>(),
        not_after in any::<i64>(),
        reason in ".*",
        blocks in prop::collection::btree_map(
            prop_oneof!["host/[a-z0-9]{1,8}", ".*"],
            prop::collection::vec(("[0-9a-f]{32}", prop_oneof!["[a-z]{1,6}\\.[a-z]{1,6} [a-z]{1,6}", ".*"]), 0..4),
            0..4,
        ),
    ) -> Statement {
        let line = |(id, words): (String, String)| Line { id: id.parse().unwrap(), words };
        Statement {
            repo: RepoId(repo),
            nonce: Nonce(nonce),
            not_before: Time(not_before),
            not_after: Time(not_after),
            reason,
            blocks: blocks.into_iter().map(|(name, lines)| (name, lines.into_iter().map(line).collect())).collect(),
            ..statement()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rendering_is_total_and_nothing_in_a_value_becomes_a_line(statement in any_statement()) {
        let text = statement.render();
        prop_assert!(text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')));
        let steps = statement.steps();
        prop_assert_eq!(text.lines().count(), 8 + statement.blocks.len() + steps);
        if let Ok(read) = Statement::parse(text.as_bytes()) {
            prop_assert_eq!(read.render(), text);
            prop_assert_eq!(read.steps(), steps);
        }
        let name = statement.tag_name(b"");
        prop_assert_eq!(name.len(), "release/20261122T020000Z-0123456789abcdef-01234567".len());
    }

    #[test]
    fn reading_is_total_and_has_one_spelling(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = statement().render().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Statement::parse(&bytes) {
            prop_assert_eq!(read.render().into_bytes(), bytes);
        }
    }
}
