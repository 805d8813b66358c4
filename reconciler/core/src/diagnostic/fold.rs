//! Which of many diagnostics people are shown, so that the many of one kind do not hide the few of another (F33).

use std::collections::BTreeMap;

use super::{Diagnostic, Diagnostics, SHOWN, Severity};

/// Of how many kinds of one rule in one file an example is shown; a hostile file could have any number of them.
const KINDS: usize = 50;

/// What a problem says apart from what it quotes and counts: those that differ in nothing else are of one kind.
pub(super) fn kind_of(problem: &str) -> String {
    let mut out = String::with_capacity(problem.len());
    let mut inside: Option<char> = None;
    let mut escaped = false;
    let mut before = ' ';
    for c in problem.chars() {
        match inside {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(quote) if c == quote => inside = None,
            Some(_) => {}
            // An apostrophe stands behind a letter, and quotes nothing.
            None if matches!(c, '\'' | '"' | '`') && !before.is_alphanumeric() => {
                inside = Some(c);
                out.push(c);
            }
            None if c.is_ascii_digit() => {
                if !before.is_ascii_digit() {
                    out.push('0');
                }
            }
            None => out.push(c),
        }
        before = c;
    }
    out
}

/// What is shown of one rule in one file.
#[derive(Default)]
struct SortShown {
    number: usize,
    kinds: BTreeMap<String, KindShown>,
}

/// What is shown of one kind: how many were kept, and which are shown.
#[derive(Default)]
struct KindShown {
    kept: usize,
    number: usize,
    last: Option<usize>,
}

impl Diagnostics {
    /// Those that people are shown: at most `alike` of a rule in a file, and the first one of each further kind, so that every kind has
    /// an example with its place. After the last of a kind, how many more like it there are. Then how many there are of rules that are
    /// not shown at all.
    pub fn folded(&self, alike: usize) -> (Vec<(&Diagnostic, usize)>, usize) {
        let counts = self.counts();
        let mut rest: usize = counts.values().sum();
        let mut sorts: BTreeMap<(&str, Severity, &'static str), SortShown> = BTreeMap::new();
        let mut shown: Vec<(&Diagnostic, usize)> = Vec::new();
        for it in &self.list {
            let sort = sorts.entry((&*it.file, it.severity, it.rule)).or_default();
            let kinds = sort.kinds.len();
            let mut kind = kind_of(&it.problem);
            if kinds >= KINDS && !sort.kinds.contains_key(&kind) {
                // All further ones together: they have no example.
                kind.clear();
            }
            let kind = sort.kinds.entry(kind).or_default();
            kind.kept += 1;
            let is_example = kind.kept == 1 && kinds < KINDS;
            if shown.len() == SHOWN || (sort.number >= alike && !is_example) {
                continue;
            }
            sort.number += 1;
            (kind.number, kind.last) = (kind.number + 1, Some(shown.len()));
            shown.push((it, 0));
        }
        for (key, sort) in sorts {
            // Of what was only counted nobody knows the kind: most likely it is that of most others.
            let most = sort.kinds.values().filter(|it| it.last.is_some());
            let Some(last) = most.max_by_key(|it| it.kept).and_then(|it| it.last) else {
                continue;
            };
            let all = counts.get(&key).copied().unwrap_or_default();
            let mut told = sort.number;
            for KindShown { kept, number, last } in sort.kinds.into_values() {
                if let Some(last) = last {
                    shown[last].1 = kept - number;
                    told += kept - number;
                }
            }
            shown[last].1 += all - told;
            rest -= all;
        }
        (shown, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ALIKE, Fault, Faults, human};
    use super::*;

    fn found(faults: Faults, lines: usize) -> Diagnostics {
        let (list, left_out) = faults.resolve("roster.yaml", &b"\n".repeat(lines));
        Diagnostics::of(list, left_out)
    }

    #[test]
    fn what_is_quoted_and_counted_makes_no_kind() {
        let kind = |text: &str| kind_of(text);
        assert_eq!(
            kind("user 'ann': uid: a number is expected, not 'it\\'s'"),
            kind("user \"it's\": uid: a number is expected, not 'x'").replace('"', "'"),
        );
        assert_eq!(kind("line 12 of 3"), kind("line 4 of 1000"));
        assert_eq!(kind("somebody's row"), "somebody's row");
        assert_ne!(kind("user 'a': uid: x"), kind("user 'a': gid: x"));
    }

    /// The many of one kind come first in the file, and a few others of the same rule at its end.
    #[test]
    fn each_kind_of_one_rule_has_an_example_with_its_place() {
        let mut faults = Faults::default();
        for line in 0..30 {
            let problem = format!("user 'u{line}': uid: a number is expected");
            faults.add(Fault::error("wrong-type", line, problem));
        }
        for line in 30..33 {
            let problem = format!("user 'u{line}': groups: a list is expected");
            faults.add(Fault::error("wrong-type", line, problem));
        }
        let found = found(faults, 40);
        let (shown, rest) = found.folded(ALIKE);
        let more: Vec<_> = shown.iter().filter(|it| it.1 > 0).collect();
        let told: Vec<(u32, usize)> = more
            .iter()
            .map(|it| (it.0.at.unwrap().line, it.1))
            .collect();
        assert_eq!((told, rest), (vec![(10, 20), (31, 2)], 0));
        assert_eq!(shown.len(), ALIKE + 1);
        let text = human(&found, &BTreeMap::new());
        assert!(
            text.contains("roster.yaml:31:1: error: user 'u30': groups:"),
            "{text}"
        );
    }

    /// What is only counted for want of room has an example too, whatever came before it.
    #[test]
    fn a_flood_leaves_room_for_an_example_of_each_kind() {
        let mut faults = Faults::default();
        for line in 0..9_000 {
            let problem = format!("user 'u{line}': uid: a number is expected");
            faults.add(Fault::error("wrong-type", line, problem));
        }
        for line in 9_000..9_003 {
            faults.add(Fault::error(
                "reserved-name",
                line,
                format!("'u{line}' is reserved"),
            ));
            let problem = format!("user 'u{line}': groups: a list is expected");
            faults.add(Fault::error("wrong-type", line, problem));
        }
        let found = found(faults, 9_100);
        assert_eq!(found.errors(), 9_006);
        let (shown, rest) = found.folded(ALIKE);
        let lines: Vec<u32> = shown.iter().filter_map(|it| Some(it.0.at?.line)).collect();
        assert_eq!(lines[ALIKE..], [9_001, 9_001]);
        assert_eq!(rest, 0);
        let told: usize = shown.iter().map(|it| 1 + it.1).sum();
        assert_eq!(told, 9_006, "nothing is lost from the count");
    }

    #[test]
    fn kinds_without_number_are_bounded() {
        let mut faults = Faults::default();
        for i in 0..300_u32 {
            let word: String = format!("{i:03}")
                .bytes()
                .map(|b| char::from(b - b'0' + b'a'))
                .collect();
            faults.add(Fault::error("some-rule", i, word));
        }
        let found = found(faults, 400);
        let (shown, rest) = found.folded(ALIKE);
        let told: usize = shown.iter().map(|it| 1 + it.1).sum();
        assert_eq!((shown.len(), told, rest), (KINDS, 300, 0));
    }
}
