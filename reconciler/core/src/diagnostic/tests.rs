use super::*;

fn one(problem: &str, at: Pos) -> Diagnostics {
    let help = Some("do: this, 100%\nnow".to_owned());
    let (file, severity, rule) = ("roster.yaml".to_owned(), Severity::Error, "some-rule");
    Diagnostics::new(
        vec![Diagnostic {
            file,
            at: Some(at),
            severity,
            rule,
            problem: problem.into(),
            help,
        }],
        0,
    )
}

fn files(text: &str) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("roster.yaml".to_owned(), text.as_bytes().to_vec())])
}

#[test]
fn places_count_characters_from_one() {
    let text = "ab\nçd\n\n".as_bytes();
    let places = places_of(text, &[0, 1, 3, 5, 7, 8, 99]);
    let shown: Vec<String> = places.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["1:1", "1:2", "2:1", "2:2", "3:1", "4:1", "4:1"]);
}

#[test]
fn human_points_with_a_caret() {
    let found = one("wrong", Pos { line: 2, column: 3 });
    assert_eq!(
        human(&found, &files("users:\n  ébc: x\n")),
        "roster.yaml:2:3: error: wrong [some-rule]\n    2 |   ébc: x\n      |   ^\n      = do: this, 100%\\u{a}now\n"
    );
}

#[test]
fn human_shows_what_hides() {
    let found = one("a\u{202e}b\u{1b}[31m", Pos { line: 1, column: 4 });
    let shown = human(&found, &files("x\u{202e}y\u{7}z"));
    assert!(shown.contains("a\\u{202e}b\\u{1b}[31m"), "{shown}");
    assert!(
        shown.contains("    1 | x\\u{202e}y\\u{7}z\n      |           ^\n"),
        "{shown}"
    );
}

#[test]
fn human_cuts_a_long_line_around_the_place() {
    let found = one(
        "wrong",
        Pos {
            line: 1,
            column: 100_001,
        },
    );
    let shown = human(&found, &files(&"é".repeat(200_000)));
    assert!(shown.len() < 1_000, "{}", shown.len());
}

#[test]
fn commands_are_escaped() {
    let found = one("a%b\nc", Pos { line: 2, column: 3 });
    assert_eq!(
        github(&found),
        "::error file=roster.yaml,line=2,col=3,title=some-rule::a%25b%0Ac%0Ado: this, 100%25%0Anow\n"
    );
    assert_eq!(command_property("a:b,c"), "a%3Ab%2Cc");
}

#[test]
fn json_has_the_same_keys_for_every_diagnostic() {
    let shown = json(&one("wrong", Pos { line: 2, column: 3 }));
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(value["diagnostics"][0]["column"], 3);
    assert_eq!(value["left_out"], 0);
}

#[test]
fn a_flood_is_counted_not_shown() {
    let mut faults = Faults::default();
    for i in 0..20_000_u32 {
        faults.add(Fault::error("some-rule", i, format!("fault {i}")));
    }
    faults.add_last(Fault::error("the-end", 20_000, "the last"));
    let (list, left_out) = faults.resolve("roster.yaml", &b"\n".repeat(20_001));
    let found = Diagnostics::of(list, left_out);
    assert!((500..2_000).contains(&found.len()), "{}", found.len());
    assert_eq!(found.len() + found.left_out(), 20_001);
    assert!(found.has_error(|file| file == "roster.yaml") && !found.has_error(|_| false));
    let shown = human(&found, &BTreeMap::new());
    assert_eq!(shown.lines().count(), ALIKE + 2, "{shown}");
    assert!(shown.contains("fault 9 [some-rule]\n      … and 19990 more like it\n"));
    assert!(shown.ends_with("roster.yaml:20001:1: error: the last [the-end]\n"));
    assert_eq!(
        found.to_string(),
        "20001 errors and 0 warnings in the state repository"
    );
    // All that were kept are there for programs.
    let value: serde_json::Value = serde_json::from_str(&json(&found)).unwrap();
    assert_eq!(value["diagnostics"].as_array().unwrap().len(), found.len());
    assert_eq!(value["left_out"], found.left_out());
    assert_eq!(value["counts"][0]["count"], 20_000);
    let commands = github(&found);
    assert_eq!(commands.lines().count(), ALIKE + 1);
    assert!(commands.contains("%0Aand 19990 more like it\n"));
}

/// F33.
#[test]
fn those_that_are_alike_fold_and_others_stand_beside_them() {
    let mut faults = Faults::default();
    for offset in 0..20 {
        faults.add(Fault::error("one", offset * 2, "of many"));
        if offset % 5 == 0 {
            faults.add(Fault::error("other", offset * 2, "of few"));
        }
    }
    faults.add(Fault::warning("one", 3, "less"));
    let (list, left_out) = faults.resolve("f", &b"a\n".repeat(20));
    let found = Diagnostics::of(list, left_out);
    let (shown, rest) = found.folded(ALIKE);
    assert_eq!((shown.len(), rest), (ALIKE + 4 + 1, 0));
    let more: Vec<usize> = shown.iter().map(|(_, more)| *more).collect();
    assert_eq!(more.iter().sum::<usize>(), 10, "{more:?}");
    let folded = shown.iter().find(|(_, more)| *more > 0).unwrap().0;
    assert_eq!((folded.rule, folded.at.unwrap().line), ("one", 10));
}

#[test]
fn repetitions_are_dropped_and_the_rest_is_sorted() {
    let mut faults = Faults::default();
    for offset in [4, 0, 4] {
        faults.add(Fault::error("some-rule", offset, "same").first_at(0));
    }
    let (list, left_out) = faults.resolve("f", b"a\nb\nc");
    let shown: Vec<String> = Diagnostics::of(list, left_out)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "f:1:1: error: same (first on line 1) [some-rule]",
            "f:3:1: error: same (first on line 1) [some-rule]"
        ]
    );
}
