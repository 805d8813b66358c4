//! Guests from their making to their end: who lets that happen, what the journal says of it, and the ways back.

use muster_core::gate::Reason;
use muster_core::guests::action::Volume;
use muster_core::guests::desired::Run;
use muster_core::guests::mark::Mark;
use muster_core::journal::{Entry, StepResult};
use muster_core::price::Class;
use muster_core::release::statement::Statement;
use muster_core::release::{Code, ObjectKind};
use muster_core::rooms::{self, Policy};
use muster_sim::{Fuse, Sim, SimError, Timing};
use muster_tests::signer::{self, Signer};

use super::crashes::{
    DAY, MADE, asked, believe_the_clock, blow_at, lived_in, release, set_aside, settle, settle_from,
};
use super::{CALM, DEVVM, MOVED, PVE1, files, of_pve1, pending, start};

/// What the hypervisor did from `since` on.
fn did(sim: &Sim, since: usize) -> Vec<String> {
    sim.with(|it| it.hypervisor.did[since..].to_vec())
}

fn count(sim: &Sim) -> usize {
    sim.with(|it| it.hypervisor.did.len())
}

fn guest(sim: &Sim, name: &str) -> muster_core::guests::observed::Guest {
    sim.with(|it| it.hypervisor.guests[name].clone())
}

fn is_aside(sim: &Sim) -> bool {
    sim.with(|it| {
        !it.hypervisor.guests.contains_key("old")
            && it
                .hypervisor
                .guests
                .keys()
                .any(|it| it.starts_with("aside-"))
    })
}

/// The statement that names what waits, and holds from `now`.
fn statement(sim: &Sim, nonce: u8) -> Statement {
    let steps = pending(&sim.fork().cycle(&of_pve1(), start()).expect("a cycle"));
    signer::statement_on(&[(PVE1, &steps)], &sim.facts().adopted, nonce, start())
}

fn push(sim: &Sim, who: &[&str], statement: &Statement) {
    for name in who {
        let (tag, raw) = Signer::named(name).release(statement);
        sim.with(|it| it.repository.push_tag(&tag, ObjectKind::Tag, raw));
    }
}

/// G15, G17: what is destructive waits, and never runs without a release, whether a row asks for it or a tag that nobody signed.
#[test]
fn an_end_is_never_carried_out_without_a_signature() {
    let sim = asked(&lived_in(), MOVED);
    settle(&sim);
    let held = sim
        .cycle(&of_pve1(), start().plus(7_200))
        .expect("a cycle")
        .held;
    let [held] = &held[..] else {
        panic!("{held:?}")
    };
    assert_eq!(held.reason, Reason::PendingSignature);
    assert_eq!(held.price.class, Class::Destructive);
    // A tag without a signature, and a lightweight one.
    let statement = statement(&sim, 1);
    let (tag, raw) = Signer::named("opal").release(&statement);
    let end = raw
        .windows(10)
        .position(|it| it == b"-----BEGIN")
        .expect("a signature");
    sim.with(|it| {
        it.repository
            .push_tag(&tag, ObjectKind::Tag, raw[..end].to_vec());
        it.repository
            .push_tag(&format!("{tag}-2"), ObjectKind::Commit, Vec::new());
    });
    let before = count(&sim);
    settle(&sim);
    assert_eq!(did(&sim, before), [] as [&str; 0]);
    assert!(sim.facts().claims.is_empty() && !is_aside(&sim));
}

/// G16: nothing that is told, and nothing that cannot be told, decides.
#[test]
fn a_report_that_nobody_takes_permits_nothing() {
    let sim = asked(&lived_in(), MOVED);
    sim.with(|it| it.sink_is_down = true);
    for tries in 0..3 {
        let now = start().plus(tries * 240);
        let summary = sim.cycle(&of_pve1(), now).expect("a cycle");
        assert!(
            !summary.warnings.is_empty(),
            "it is told that it was not told"
        );
        let codes: Vec<&str> = summary.held.iter().map(|it| it.reason.code()).collect();
        assert_eq!(codes, ["pending_signature"]);
    }
    assert!(!is_aside(&sim));
    assert_eq!(
        guest(&sim, "web").run,
        Some(Run::Running),
        "what is benign ran"
    );
}

/// G18, G19, G20, G21, G22, G27: each refusal by its word, and nothing happens to the guest.
#[test]
fn nobody_ends_a_guest_without_the_right_signature() {
    let fresh = asked(&lived_in(), MOVED);
    settle(&fresh);
    let good = statement(&fresh, 1);
    let with = |change: &dyn Fn(&mut Statement)| {
        let mut statement = good.clone();
        change(&mut statement);
        statement
    };
    let block = || super::Executor::from_pin(PVE1).to_string();
    let other_words = |from: &'static str, to: &'static str| {
        with(&|it| {
            for line in it.blocks.get_mut(&block()).expect("a block") {
                let changed = line.words.replace(from, to);
                assert_ne!(changed, line.words, "{from}");
                line.words = changed;
            }
        })
    };
    for (who, statement, code) in [
        (&["ivo"][..], good.clone(), Code::RoleDenied),
        (&["mallory"], good.clone(), Code::UnknownSigner),
        (
            &["opal"],
            other_words(" old ", " web "),
            Code::BindingMismatch,
        ),
        (
            &["opal"],
            other_words("guest.destroy", "guest.purge"),
            Code::BindingMismatch,
        ),
        (
            &["opal"],
            other_words("8589934592", "1"),
            Code::BindingMismatch,
        ),
        (
            &["opal"],
            with(&|it| {
                let lines = it.blocks.remove(&block()).expect("a block");
                it.blocks.insert("guests/pve2".into(), lines);
            }),
            Code::WrongExecutor,
        ),
        (
            &["opal"],
            with(&|it| {
                it.not_before = start().plus(-DAY);
                it.not_after = start().plus(-1);
            }),
            Code::Expired,
        ),
        (
            &["opal"],
            with(&|it| {
                it.not_before = start().plus(DAY);
                it.not_after = start().plus(2 * DAY);
            }),
            Code::NotYetValid,
        ),
    ] {
        let sim = fresh.fork();
        let before = count(&sim);
        push(&sim, who, &statement);
        let summary = sim.cycle(&of_pve1(), start().plus(3_600)).expect("a cycle");
        let facts = sim.facts();
        let refused = facts.refused.iter().map(|it| it.code);
        let unauthenticated = summary.unauthenticated.iter().map(|it| it.refusal.code);
        let codes: Vec<Code> = refused.chain(unauthenticated).collect();
        let waits = code == Code::NotYetValid || code == Code::WrongExecutor;
        assert!(
            codes.contains(&code) || (waits && codes.is_empty()),
            "{code}: {codes:?}"
        );
        assert!(facts.claims.is_empty(), "{code}");
        assert_eq!(did(&sim, before), [] as [&str; 0], "{code}");
        assert!(!is_aside(&sim), "{code}");
    }
    // The right one, once: afterwards its nonce is used up, also for a process that has just started.
    let sim = fresh.fork();
    push(&sim, &["opal", "olga"], &good);
    settle(&sim);
    assert!(is_aside(&sim));
    let back = asked(&sim, "guests:\n  old: {run: stopped}\n");
    settle_from(&back, start().plus(3_600));
    let again = asked(&back, MOVED);
    settle_from(&again, start().plus(3_600));
    let mut replayed = statement(&again, 1);
    replayed.not_before = start().plus(60);
    push(&again, &["opal", "olga"], &replayed);
    settle_from(&again, start().plus(7_200));
    let codes: Vec<Code> = again.facts().refused.iter().map(|it| it.code).collect();
    assert_eq!(codes, [Code::Replay]);
    assert!(!is_aside(&again));
}

/// G24: where no key is trusted, what is destructive stays held, and everything else runs.
#[test]
fn without_a_key_to_trust_the_rest_goes_on() {
    let sim = asked(&lived_in(), MOVED);
    sim.with(|it| it.trust = None);
    settle(&sim);
    assert_eq!(guest(&sim, "web").run, Some(Run::Running));
    assert_eq!(guest(&sim, "104").run, Some(Run::Stopped));
    push(&sim, &["opal", "olga"], &statement(&sim, 1));
    settle(&sim);
    assert!(!is_aside(&sim) && sim.facts().claims.is_empty());
}

/// G23, H12: the intent is before the request, the handle of the task as soon as it is known, and its end and the outcome after it.
#[test]
fn an_intent_is_before_a_request_and_its_handle_in_the_journal() {
    let sim = asked(
        &lived_in(),
        &CALM.replace("104: {run: running}", "104: {run: stopped}"),
    );
    let before = sim.with(|it| it.journal.len());
    let _ = sim.cycle(&of_pve1(), start()).expect("a cycle");
    let told: Vec<String> = sim.with(|it| {
        let entries = it.journal[before..].iter();
        entries
            .map(|it| match it {
                Entry::Intended { steps, .. } => format!("intended {}", steps[0].words()),
                Entry::Marked { mark, .. } => match mark {
                    rooms::Mark::Guest(Mark::TaskBegun { .. }) => "begun".to_owned(),
                    rooms::Mark::Guest(Mark::TaskEnded {
                        how, well: true, ..
                    }) => {
                        format!("ended {how}")
                    }
                    other => format!("{other:?}"),
                },
                Entry::Outcome { results, .. } => format!("{results:?}"),
                Entry::Adopted { .. } => "adopted".to_owned(),
                other => format!("{other:?}"),
            })
            .collect()
    });
    assert_eq!(
        told,
        [
            "adopted",
            "intended guest.shutdown 104",
            "begun",
            "ended OK",
            "[Done]"
        ]
    );
    // How it ended is in the audit trail, whatever the hypervisor forgets (H12).
    let log = sim.with(|it| it.ledger_log.join("\n"));
    assert!(log.contains("ended: OK"), "{log}");
}

/// G25, H11: where the power went out after the request and before anybody noted it, the guest's state decides, before anything is
/// changed; the request is made once.
#[test]
fn what_was_under_way_is_looked_at_before_anything_is_changed() {
    let fresh = asked(
        &lived_in(),
        &CALM.replace("104: {run: running}", "104: {run: stopped}"),
    );
    let mut open = 0;
    for at in 0..12 {
        for timing in [Timing::Before, Timing::After] {
            let sim = fresh.fork();
            let before = count(&sim);
            blow_at(&sim, at, timing);
            let crashed = sim.cycle(&of_pve1(), start());
            sim.with(|it| it.fuse = Fuse::default());
            let journal = sim.with(|it| it.journal.len());
            let was_open = sim.boot().replayed.open.is_some();
            open += usize::from(was_open);
            settle(&sim);
            let first = sim.with(|it| it.journal.get(journal).cloned());
            assert!(
                !was_open || matches!(first, Some(Entry::Outcome { .. })),
                "{crashed:?}, then {first:?}"
            );
            assert_eq!(did(&sim, before), ["stop 104"], "{timing:?} {at}");
        }
    }
    assert!(open > 4, "{open}");
}

/// H5: a guest that does not heed a shutdown is killed only where the settings say so.
#[test]
fn a_guest_that_does_not_heed_is_killed_only_by_the_settings() {
    let sim = asked(
        &lived_in(),
        &CALM.replace("104: {run: running}", "104: {run: stopped}"),
    );
    sim.with(|it| it.hypervisor.heedless.insert("104".to_owned()));
    for tries in 0..3 {
        let _ = sim
            .cycle(&of_pve1(), start().plus(tries * 600))
            .expect("a cycle");
    }
    assert_eq!(guest(&sim, "104").run, Some(Run::Running));
    let mut policy = of_pve1();
    match &mut policy {
        Policy::Guests(policy) => policy.force_stop = true,
        Policy::Accounts(policy) => panic!("{}", policy.executor),
    }
    let _ = sim.cycle(&policy, start().plus(7_200)).expect("a cycle");
    assert_eq!(guest(&sim, "104").run, Some(Run::Stopped));
}

/// H7: shut down, backed up, tried, set aside; had back; ended again; and deleted by a release of its own.
#[test]
fn an_end_can_be_taken_back_until_the_last_step() {
    let sim = asked(&lived_in(), MOVED);
    settle(&sim);
    let was = guest(&sim, "old");
    let before = count(&sim);
    release(&sim, start());
    settle(&sim);
    let effects = did(&sim, before);
    let short: Vec<&str> = effects
        .iter()
        .map(|it| it.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(
        short,
        [
            "stop", "back", "bring", "start", "delete", "rename", "standing"
        ],
        "{effects:?}"
    );
    assert!(effects[4] == "delete 9000", "{effects:?}");
    assert!(is_aside(&sim));
    let facts = sim.facts();
    let of_old = facts
        .known
        .guests()
        .expect("guests")
        .of("old")
        .cloned()
        .expect("known");
    assert_eq!(of_old.backups.len(), 1);
    assert_eq!(of_old.backups[0].rehearsed, Some(true));
    assert!(of_old.scratch.is_empty());

    // The way back needs no release, and the guest is as it was.
    let later = start().plus(13 * DAY);
    believe_the_clock(&sim, later);
    sim.with(|it| {
        let back = files("users: {}\n", "guests:\n  old: {run: running}\n");
        it.repository.commit("main", back)
    });
    let later = later.plus(3_900);
    settle_from(&sim, later);
    assert_eq!(guest(&sim, "old"), was);

    // It is asked for again: what was signed before does not do it.
    sim.with(|it| it.repository.commit("main", files("users: {}\n", MOVED)));
    let later = later.plus(7_200);
    settle_from(&sim, later);
    assert!(!is_aside(&sim));
    let later = later.plus(3_900);
    release(&sim, later);
    settle_from(&sim, later);
    assert!(is_aside(&sim));

    // Its time of grace begins anew; then its end is a step of its own.
    believe_the_clock(&sim, later.plus(13 * DAY));
    let waits = sim.fork().cycle(&of_pve1(), later.plus(13 * DAY + 3_900));
    assert!(pending(&waits.expect("a cycle")).is_empty());
    let later = later.plus(14 * DAY + 3_900);
    believe_the_clock(&sim, later);
    let later = later.plus(3_900);
    settle_from(&sim, later);
    assert!(is_aside(&sim));
    let later = later.plus(3_900);
    release(&sim, later);
    settle_from(&sim, later);
    sim.with(|it| {
        let left: Vec<&String> = it.hypervisor.guests.keys().collect();
        assert_eq!(left, ["104", "stranger", "web"]);
        assert_eq!(it.hypervisor.backups.len(), 2, "what stays");
    });
    assert!(sim.facts().claims.values().all(|it| it.finished));
}

/// H7: what cannot be brought up again is not set aside, and stays where it is.
#[test]
fn a_guest_whose_backup_does_not_come_up_is_not_set_aside() {
    let sim = asked(&lived_in(), MOVED);
    settle(&sim);
    release(&sim, start());
    sim.with(|it| it.hypervisor.backups_are_broken = true);
    for tries in 0..4 {
        let _ = sim
            .cycle(&of_pve1(), start().plus(tries * 600))
            .expect("a cycle");
    }
    assert!(!is_aside(&sim) && sim.with(|it| it.hypervisor.guests.contains_key("old")));
    let facts = sim.facts();
    let why: Vec<&str> = facts
        .failures
        .values()
        .map(|it| it.reason.as_str())
        .collect();
    assert!(
        why.iter().any(|it| it.contains("the archive is corrupt")),
        "{why:?}"
    );
    sim.with(|it| it.hypervisor.backups_are_broken = false);
    settle_from(&sim, start().plus(2 * DAY));
    assert!(
        is_aside(&sim),
        "it was begun by a release, and is brought to its end"
    );
}

/// H7: who changes their mind and asks for the end a week later gets a backup of the guest as it is then, tried; wherever the power goes
/// out, once.
#[test]
fn another_release_of_an_end_backs_up_what_is_there_then() {
    let sim = asked(&lived_in(), MOVED);
    settle(&sim);
    let step = pending(&sim.fork().cycle(&of_pve1(), start()).expect("a cycle"))[0].id;
    release(&sim, start());
    sim.with(|it| it.hypervisor.backups_are_broken = true);
    let _ = sim.cycle(&of_pve1(), start()).expect("a cycle");
    sim.with(|it| it.hypervisor.backups_are_broken = false);
    let back = asked(&sim, "guests:\n  old: {run: running}\n");
    settle_from(&back, start().plus(3_600));
    assert!(back.facts().claims.values().all(|it| it.finished));
    let later = start().plus(7 * DAY);
    believe_the_clock(&back, later);
    let again = asked(&back, MOVED);
    let later = later.plus(7_200);
    settle_from(&again, later);
    let waits = pending(&again.fork().cycle(&of_pve1(), later).expect("a cycle"));
    assert_eq!(waits[0].id, step, "it is the very same step");
    release(&again, later);
    let first = again.with(|it| it.hypervisor.backups.len());
    assert_eq!(first, 1);
    for at in 0..40 {
        for timing in [Timing::Before, Timing::After] {
            let sim = again.fork();
            let before = count(&sim);
            blow_at(&sim, at, timing);
            let _ = sim.cycle(&of_pve1(), later);
            sim.with(|it| it.fuse = Fuse::default());
            settle_from(&sim, later.plus(600));
            assert!(is_aside(&sim), "{timing:?} {at}");
            let effects = did(&sim, before);
            let made = effects.iter().filter(|it| it.starts_with("back up old"));
            assert_eq!(made.count(), 1, "{timing:?} {at}: {effects:?}");
            let facts = sim.facts();
            let known = facts.known.guests().expect("guests").of("old").cloned();
            let known = known.expect("known");
            let tried = known.last_tried().expect("a backup that was tried");
            assert_eq!(known.backups.last(), Some(tried), "{timing:?} {at}");
            let brought = format!("bring {} up", tried.backup);
            assert!(
                effects.iter().any(|it| it.starts_with(&brought)),
                "{effects:?}"
            );
        }
    }
}

/// H7: a guest is purged while the backup that was tried is there as it was; a release of what it is not is refused, told and not
/// forgotten.
#[test]
fn a_purge_is_refused_without_the_backup_that_was_tried() {
    let sim = set_aside();
    release(&sim, start());
    let backup = sim.with(|it| it.hypervisor.backups.keys().next().cloned());
    let backup = backup.expect("a backup");
    sim.with(|it| it.hypervisor.sizes.insert(backup.clone(), 1));
    let before = count(&sim);
    let _ = sim.cycle(&of_pve1(), start()).expect("a cycle");
    assert!(is_aside(&sim));
    assert_eq!(did(&sim, before), [] as [&str; 0]);
    let told = |now| {
        let summary = sim.fork().cycle(&of_pve1(), now).expect("a cycle");
        let held = summary.held.iter();
        held.map(|it| format!("{:?}", it.reason))
            .collect::<String>()
    };
    let soon = start().plus(600);
    assert!(
        told(soon).contains("has 1 bytes, and had 1048576"),
        "{}",
        told(soon)
    );
    // Where backups are shown, it is told before anybody signs.
    sim.with(|it| {
        it.hypervisor.shows_backups = true;
        it.hypervisor.backups.clear();
    });
    assert!(
        told(soon).contains("is not there any more"),
        "{}",
        told(soon)
    );
}

/// H2: a hypervisor that does not answer for a moment says nothing about what is asked for, and uses no release up.
#[test]
fn a_moment_in_which_nothing_can_be_read_ends_no_release() {
    let sim = asked(&lived_in(), MOVED);
    settle(&sim);
    release(&sim, start());
    sim.with(|it| it.hypervisor.backups_are_broken = true);
    let _ = sim.cycle(&of_pve1(), start()).expect("a cycle");
    let is_open = || sim.facts().claims.values().any(|it| !it.finished);
    assert!(is_open() && !is_aside(&sim));
    sim.with(|it| {
        it.hypervisor.backups_are_broken = false;
        it.hypervisor.silent = Some("connection refused".to_owned());
    });
    for minutes in 1..4 {
        let _ = sim.cycle(&of_pve1(), start().plus(minutes * 60));
        assert!(is_open(), "after {minutes} minutes");
    }
    sim.with(|it| it.hypervisor.silent = None);
    settle_from(&sim, start().plus(DAY));
    assert!(is_aside(&sim) && !is_open());
}

/// GB8: where a volume came or went since it was signed, nothing is done.
#[test]
fn a_volume_that_nobody_signed_keeps_the_guest() {
    let sim = asked(&lived_in(), MOVED);
    settle(&sim);
    release(&sim, start());
    sim.with(|it| {
        let volume = Volume {
            size: Some(1 << 30),
            storage: "data".to_owned(),
        };
        let volumes = &mut it.hypervisor.config("old").volumes.0;
        volumes.insert("data:vm-old-disk-1".to_owned(), volume);
    });
    let before = count(&sim);
    settle(&sim);
    assert_eq!(did(&sim, before), [] as [&str; 0]);
    let codes: Vec<Code> = sim.facts().refused.iter().map(|it| it.code).collect();
    assert_eq!(codes, [Code::BindingMismatch]);
}

/// H8: a guest that was made anew under the name is not the one that was signed.
#[test]
fn a_guest_made_anew_under_the_name_is_not_ended() {
    let sim = asked(&lived_in(), MOVED);
    settle(&sim);
    release(&sim, start());
    sim.with(|it| it.hypervisor.add_guest("old", true, "another"));
    settle(&sim);
    assert!(!is_aside(&sim));
    let codes: Vec<Code> = sim.facts().refused.iter().map(|it| it.code).collect();
    assert_eq!(codes, [Code::BindingMismatch]);
}

/// G12, H6: what muster made and did not finish is its own to take away: no release, and nothing of anybody's is touched.
#[test]
fn what_broke_off_is_discarded_without_a_release() {
    let sim = asked(&lived_in(), MADE);
    sim.with(|it| it.hypervisor.breaks_off = true);
    let before = count(&sim);
    settle(&sim);
    let effects = did(&sim, before);
    assert_eq!(
        effects,
        [
            "make 300",
            "delete 300",
            "make 300",
            "tags 300",
            "start 300"
        ]
    );
    assert_eq!(guest(&sim, "300").run, Some(Run::Running));
    let results: Vec<StepResult> = sim.with(|it| {
        let entries = it.journal.iter();
        entries
            .filter_map(|it| match it {
                Entry::Outcome { results, .. } => Some(results.clone()),
                _ => None,
            })
            .flatten()
            .collect()
    });
    assert!(
        results
            .iter()
            .all(|it| !matches!(it, StepResult::NeedsOperator(_)))
    );
}

/// H2, GB4: a cycle over a hypervisor that answers half does what it can, and takes nothing for gone.
#[test]
fn a_hypervisor_that_answers_half_is_planned_on_by_half() {
    let sim = asked(&lived_in(), MOVED);
    sim.with(|it| {
        let down = muster_core::guests::observed::Down {
            since: start(),
            why: "595: no route to host".to_owned(),
        };
        it.hypervisor.guests.remove("web");
        it.hypervisor.unknown.insert("web".to_owned(), down.clone());
        it.hypervisor.down.insert("pve2".to_owned(), down);
        it.hypervisor.unreadable.insert("104".to_owned());
    });
    let summary = sim.cycle(&of_pve1(), start()).expect("a cycle");
    assert_eq!(
        guest(&sim, "104").run,
        Some(Run::Stopped),
        "its run state is trusted (G4)"
    );
    let notes: Vec<String> = summary.notes.iter().map(ToString::to_string).collect();
    assert!(
        notes.iter().any(|it| it.starts_with("web: unknown since")),
        "{notes:?}"
    );
}

/// H11: power that goes out at every effect of an act leaves each of these done once.
#[test]
fn a_task_is_asked_for_once_wherever_the_power_goes_out() {
    let fresh = asked(&set_aside(), "guests:\n  old: {run: running}\n");
    for at in 0..16 {
        let sim = fresh.fork();
        let before = count(&sim);
        blow_at(&sim, at, Timing::After);
        let crashed = sim.cycle(&of_pve1(), start());
        assert!(
            crashed.is_ok()
                || crashed
                    .is_err_and(|it| format!("{it:?}").contains(&format!("{:?}", SimError::Crash))),
        );
        sim.with(|it| it.fuse = Fuse::default());
        settle(&sim);
        let starts = did(&sim, before);
        let starts = starts.iter().filter(|it| *it == "start old").count();
        assert_eq!(starts, 1, "after effect {at}");
    }
    assert_ne!(DEVVM, PVE1);
}
