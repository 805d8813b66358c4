//! What the rooms do not share: each executor has its own files, and its own steps.

use std::collections::BTreeMap;

use muster_core::commit::CommitId;
use muster_core::diagnostic::{Diagnostics, Severity};
use muster_core::executor::Executor;
use muster_core::facts::DoneStep;
use muster_core::gate::{Held, Reason};
use muster_core::journal::{Authority, Entry, OutOfOrder, Replayed};
use muster_core::ledger::held::HeldSteps;
use muster_core::ledger::{self, LedgerError, Through};
use muster_core::rooms::{self, Action, Incarnation};
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::{accounts, guests};

fn commit() -> CommitId {
    "1".repeat(40).parse().unwrap()
}

fn account_step(executor: &Executor) -> Step {
    let user = "emo".to_owned();
    let action = accounts::action::Action::LockPassword { user };
    let incarnation = accounts::action::Incarnation::New { generation: 1 };
    Step::new(executor, action, incarnation)
}

fn guest_step(executor: &Executor) -> Step {
    let guest = "104".to_owned();
    let made = guests::action::Marker("m".into());
    let action = guests::action::Action::StartGuest { guest };
    Step::new(
        executor,
        action,
        guests::action::Incarnation::Guest { made, restored: 0 },
    )
}

fn begun(executor: &Executor) -> Replayed {
    let genesis = Entry::Genesis {
        at: Time(0),
        executor_id: "0".repeat(32),
        name: executor.pinned(),
        adopt: commit(),
    };
    let begun = Replayed::begin(&genesis).unwrap();
    assert_eq!(begun.facts.executor, *executor);
    begun
}

fn intended(steps: Vec<Step>) -> Entry {
    Entry::Intended {
        at: Time(1),
        steps: steps.into_iter().map(Into::into).collect(),
        authority: Authority::Benign { commit: commit() },
    }
}

#[test]
fn a_journal_takes_no_step_of_another_room() {
    let host = Executor::Host("devvm".into());
    let hypervisor = Executor::Guests("pve1".into());
    for (executor, own, foreign) in [
        (&host, account_step(&host), guest_step(&host)),
        (
            &hypervisor,
            guest_step(&hypervisor),
            account_step(&hypervisor),
        ),
    ] {
        let mut replayed = begun(executor);
        let before = replayed.clone();
        for steps in [
            vec![foreign.clone()],
            vec![own.clone(), foreign.clone()],
            vec![foreign, own.clone()],
        ] {
            // As it stands in a journal, too: what is read back is refused just as what is new.
            let entry = intended(steps);
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
            assert_eq!(replayed.apply(&entry), Err(OutOfOrder::Foreign));
            assert_eq!(replayed, before, "nothing has changed");
        }
        assert_eq!(replayed.apply(&intended(vec![own])), Ok(()));
    }
    // Of an executor without a room every step is foreign.
    for executor in [Executor::Cluster("k".into()), Executor::Ca("x".into())] {
        for step in [account_step(&executor), guest_step(&executor)] {
            let refused = begun(&executor).apply(&intended(vec![step]));
            assert_eq!(refused, Err(OutOfOrder::Foreign));
        }
    }
}

#[test]
fn a_ledger_that_holds_something_of_another_room_is_refused() {
    let host = Executor::Host("devvm".into());
    let hypervisor = Executor::Guests("pve1".into());
    for (executor, own, foreign) in [
        (&host, account_step(&host), guest_step(&host)),
        (
            &hypervisor,
            guest_step(&hypervisor),
            account_step(&hypervisor),
        ),
    ] {
        for (step, refused) in [(own, false), (foreign, true)] {
            let mut facts = begun(executor).facts;
            facts.record.push(DoneStep {
                step: step.clone().into(),
                at: Time(1),
                by: None,
            });
            let files = ledger::files(&facts, &Through::default());
            match ledger::facts(&files) {
                Ok(read) => assert!(!refused && read.0 == facts),
                Err(LedgerError::Foreign { executor: of, what }) => {
                    assert!(refused && of == *executor && what.contains(&step.id.to_string()));
                }
                Err(error) => panic!("{error}"),
            }

            let policy = rooms::Policy::built_in(executor);
            let held = [Held {
                price: rooms::price(&step.action, &policy, None, &facts.known),
                step: step.into(),
                reason: Reason::PendingSignature,
            }];
            let none = BTreeMap::new();
            let held = HeldSteps::now(executor, &commit(), &held, |_| vec![], &none, Time(1));
            let read = HeldSteps::read(&held.to_bytes());
            assert_eq!(matches!(read, Err(LedgerError::Foreign { .. })), refused);
            assert_eq!(read.is_ok(), !refused);
        }
    }
    // People in the ledger of a hypervisor, and somebody whose account was begun there.
    let facts = begun(&hypervisor).facts;
    let files = ledger::files(&facts, &Through::default());
    let mut more = files.clone();
    more.insert("people/00.jsonl".into(), b"{}\n".to_vec());
    assert!(matches!(
        ledger::facts(&more),
        Err(LedgerError::Foreign { what, .. }) if what == "people/00.jsonl"
    ));
    let state = String::from_utf8(files[ledger::STATE].clone()).unwrap();
    let begun = state.replacen("\"removals\"", "\"begun\": {},\n  \"removals\"", 1);
    assert_ne!(begun, state);
    more = files;
    more.insert(ledger::STATE.into(), begun.into_bytes());
    assert!(matches!(
        ledger::facts(&more),
        Err(LedgerError::Foreign { .. })
    ));
}

const ROSTER: (&str, &str) = (
    "roster.yaml",
    "users:\n  emo: {authentik_user: emil, k8s_user: emo, tier: admin}\n",
);

fn files(texts: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    let files = texts.iter();
    files
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

fn places(found: &Diagnostics) -> Vec<String> {
    let place = |it: &muster_core::diagnostic::Diagnostic| {
        format!("{} {} {}", it.severity.as_str(), it.file, it.rule)
    };
    found.iter().map(place).collect()
}

/// Whether the executor can read, and what is said.
fn read(texts: &[(&str, &str)], executor: &Executor) -> (bool, Vec<String>) {
    let files = files(texts);
    match rooms::read(&files, executor) {
        Ok((_, found)) => (true, places(&found)),
        Err(found) => (false, places(&found)),
    }
}

/// Invariant 7.
#[test]
fn what_is_wrong_in_the_files_of_others_stops_nobody() {
    let devvm = Executor::Host("devvm".into());
    let pve1 = Executor::Guests("pve1".into());
    let wrong = "colour: red\n";
    for (path, stops_devvm, stops_pve1) in [
        ("tiers.yaml", true, false),
        ("hosts/devvm.yaml", true, false),
        ("hosts/other.yaml", false, false),
        ("guests/pve1.yaml", false, true),
        // Nearly the name of a file that is read: it concerns whoever would read it under the right one.
        ("hosts/devvm.yml", true, false),
        ("hosts/Devvm.yaml", true, false),
        ("hosts/other.yml", false, false),
        ("Tiers.yaml", true, false),
    ] {
        let repo = [ROSTER, (path, wrong)];
        for (executor, stops) in [(&devvm, stops_devvm), (&pve1, stops_pve1)] {
            let (reads, found) = read(&repo, executor);
            assert_eq!(reads, !stops, "{executor}: {path}");
            assert_eq!(
                found.len(),
                1,
                "whoever reads on says it all the same: {found:?}"
            );
            assert!(found[0].contains(path), "{found:?}");
        }
        // Nobody else's business, and refused where everybody's is asked for.
        let whole = rooms::read_whole(&files(&repo), &[&devvm, &pve1]).map(|_| ());
        let found = whole.expect_err(path);
        assert!(found.iter().any(|it| it.severity == Severity::Error));
    }
    let roster = ("roster.yaml", "users: [emo]\n");
    let (reads, found) = read(&[roster], &devvm);
    assert_eq!(
        (reads, found),
        (false, vec!["error roster.yaml wrong-type".to_owned()])
    );
}

#[test]
fn what_is_wrong_in_a_file_that_nobody_here_reads_is_not_looked_at() {
    let devvm = Executor::Host("devvm".into());
    let pve1 = Executor::Guests("pve1".into());
    let repo = [
        ROSTER,
        ("clusters/k.yaml", "{"),
        ("guests/pve1.yaml", "guests: {104: {run: running}}\n"),
        ("guests/pve2.yaml", "{"),
        ("services/web.yaml", "{"),
        ("notes/x.yaml", "{"),
    ];
    let not_read = |paths: &[&str]| -> Vec<String> {
        let paths = paths.iter();
        paths.map(|it| format!("warning {it} not-read")).collect()
    };
    assert_eq!(
        read(&repo, &devvm),
        (
            true,
            not_read(&["clusters/k.yaml", "guests/pve1.yaml", "guests/pve2.yaml",])
        )
    );
    let mut of_others = not_read(&["clusters/k.yaml", "guests/pve2.yaml"]);
    assert_eq!(read(&repo, &pve1), (true, of_others.clone()));
    let files = files(&repo);
    let (_, found) = rooms::read_whole(&files, &[&devvm, &pve1]).unwrap();
    // No executor reads what is below services/; whoever looks at all of a repository says what nobody reads there.
    of_others.push("warning services/web.yaml file-name".to_owned());
    assert_eq!(places(&found), of_others);
    let first = found.iter().next().unwrap();
    assert_eq!(
        first.problem,
        "this version of muster keeps no cluster users: nothing reads this file"
    );
    assert!(first.at.is_none() && first.help.is_some());
}

#[test]
fn an_action_has_the_verb_and_the_kind_of_its_room() {
    let host = Executor::Host("devvm".into());
    for step in [account_step(&host), guest_step(&host)] {
        let Step {
            action,
            incarnation,
            ..
        } = &step;
        assert_eq!(action.verb().row().word, action.spelled().word());
        let ours = |it: &Action| (it.account().is_some(), it.guest().is_some());
        match incarnation {
            Incarnation::Account(_) => assert_eq!(ours(action), (true, false)),
            Incarnation::Guest(_) => assert_eq!(ours(action), (false, true)),
        }
    }
}

#[test]
fn every_verb_belongs_to_one_room() {
    let mut words: Vec<&str> = rooms::verbs().map(|it| it.word).collect();
    let of_rooms = accounts::verbs::VERBS.len() + guests::verbs::VERBS.len();
    assert_eq!(words.len(), of_rooms);
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), of_rooms, "a word stands for one verb");
}
