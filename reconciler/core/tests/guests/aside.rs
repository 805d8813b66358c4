//! The end of guests, in steps that can be taken back until the last.

use muster_core::guests::action::{Action, Incarnation, Marker};
use muster_core::guests::desired::Run;
use muster_core::guests::mark::Mark;
use muster_core::guests::observed::{Ha, Sight, Stored};
use muster_core::journal::StepResult;
use muster_core::price::Class;
use muster_core::reading::Reading;
use muster_core::report::sentence;
use muster_core::rooms;
use muster_core::time::Time;

use super::{DAY, House, NOW, begin, classes, down, every_action, volumes};

const END: &str = "guests: {old: {destroy: true}}\n";
const BACK: &str = "guests: {old: {run: running}}\n";

/// A guest that is to end, and of which is written down which one it is.
fn recorded(name: &str) -> House {
    let mut house = House::with(&[(name, true), ("other", true)]);
    let text = format!("guests: {{{name}: {{destroy: true}}}}\n");
    let record = house.step(&text, "guest.record");
    house.done(&record);
    house
}

fn backed_up() -> Mark {
    sealed(Some("made=1"))
}

fn sealed(seal: Option<&str>) -> Mark {
    Mark::BackedUp {
        backup: "pbs:backup/1".into(),
        bytes: 7,
        seal: seal.map(str::to_owned),
    }
}

/// The same once a release let it be set aside.
fn aside(name: &str) -> House {
    aside_after(name, backed_up())
}

/// The same with another backup of it.
fn aside_after(name: &str, backed_up: Mark) -> House {
    aside_of(recorded(name), name, backed_up)
}

fn aside_of(mut house: House, name: &str, backed_up: Mark) -> House {
    let text = format!("guests: {{{name}: {{destroy: true}}}}\n");
    let destroy = house.step(&text, "guest.destroy");
    let standing = muster_core::guests::action::Standing {
        name: Some(format!("host-{name}")),
        onboot: true,
        protection: false,
    };
    let stance = Some(muster_core::guests::used::stance(name, house.config(name)));
    let marks = [
        backed_up,
        Mark::Rehearsed { started: true },
        Mark::SetAside { standing, stance },
    ];
    house.journal(&destroy, &marks, StepResult::Done);
    let rooms::Action::Guest(Action::DestroyGuest { aside: called, .. }) = &destroy.action else {
        panic!("{destroy:?}")
    };
    let mut guest = house.guest(name).clone();
    guest.run = Some(Run::Stopped);
    if let Reading::Known(config) = &mut guest.config {
        config.name = Some(called.clone());
        config.protection = true;
        config.onboot = false;
    }
    house.guests.remove(name);
    let found = house.of(name).aside.expect("aside").found;
    house.guests.insert(found, Sight::Seen(Box::new(guest)));
    house
}

/// H7, H8, G15, G17: which guest it is is written down, and its end waits for a release that names it and its volumes.
#[test]
fn an_end_is_recorded_shown_and_waits_for_a_release() {
    let mut house = House::with(&[("old", true)]);
    let record = house.step(END, "guest.record");
    let destroy = house.step(END, "guest.destroy");
    assert_eq!(
        record.words(),
        "guest.record old nic=BC:24:11:00:00:O root=local-lvm:vm-old-disk-0"
    );
    assert!(
        destroy
            .words()
            .ends_with(" volumes=local-lvm:vm-old-disk-0@local-lvm:8589934592"),
        "{}",
        destroy.words()
    );
    let (admitted, held) = house.told(END);
    assert_eq!(admitted, ["guest.record old"]);
    assert_eq!(
        held,
        [("guest.destroy old".to_owned(), "pending_signature")]
    );
    // An approval that was given on the proposal still holds once that is done.
    house.done(&record);
    assert_eq!(house.words(END), [destroy.words()]);
    assert_eq!(house.step(END, "guest.destroy").id, destroy.id);
    assert_eq!(
        super::found(&house, "old").to_string(),
        format!(
            "guest entry={} root=local-lvm:vm-old-disk-0 nic=BC:24:11:00:00:O",
            record.id
        )
    );
    begin(&mut house, &[destroy]);
    assert_eq!(house.told(END).0, ["guest.destroy old"]);
}

/// GB8: each volume is in the sentence and in what is signed; another list is another step.
#[test]
fn a_destroy_is_for_these_volumes_and_no_others() {
    let mut house = recorded("old");
    let before = house.step(END, "guest.destroy");
    let mut more = volumes("old");
    more.0.extend(volumes("data").0);
    house.config("old").volumes = more;
    let after = house.step(END, "guest.destroy");
    assert_ne!(before.id, after.id);
    assert!(
        after
            .words()
            .contains("local-lvm:vm-data-disk-0@local-lvm:8589934592+local-lvm:vm-old-disk-0")
    );
    let mut larger = volumes("old");
    for volume in larger.0.values_mut() {
        volume.size = Some(9 << 30);
    }
    house.config("old").volumes = larger;
    assert_ne!(house.step(END, "guest.destroy").id, before.id);
    // No two lists are written alike.
    let spelled = |ids: &[(&str, &str)]| {
        let of = |(id, storage): &(&str, &str)| {
            let storage = (*storage).to_owned();
            let volume = muster_core::guests::action::Volume {
                size: None,
                storage,
            };
            ((*id).to_owned(), volume)
        };
        muster_core::guests::action::Volumes(ids.iter().map(of).collect()).to_string()
    };
    assert_ne!(
        spelled(&[("a", "x"), ("b", "y")]),
        spelled(&[("a", "x+b@y")])
    );
    assert_ne!(spelled(&[("a@x", "y")]), spelled(&[("a", "x@y")]));
}

/// H8, DESIGN "Steps": no benign step changes the id of one that is held.
#[test]
fn no_benign_step_changes_the_id_of_an_end() {
    let mut house = recorded("old");
    let before = house.step(END, "guest.destroy").id;
    let config = house.config("old");
    config.cores = Some(7);
    config.memory = Some(4096);
    config.description = "another".into();
    config.tags = ["another".to_owned()].into();
    config.onboot = true;
    config.digest = Some("0123".into());
    config.name = Some("another".into());
    house.guest("old").run = Some(Run::Stopped);
    house.guest("old").node = Some("pve9".into());
    let shutdown = every_action()[2].clone();
    let incarnation = super::found(&house, "old");
    let step = muster_core::step::Step::new(&super::pve1(), shutdown, incarnation);
    house.done(&std::sync::Arc::new(step));
    assert_eq!(house.step(END, "guest.destroy").id, before);
}

/// H8: one that was made anew under the number is another guest, whichever of its signs came again.
#[test]
fn a_guest_made_anew_under_the_number_is_not_the_one_that_was_signed() {
    let house = recorded("old");
    let before = house.step(END, "guest.destroy").id;
    for change in [
        |it: &mut muster_core::guests::action::Found| it.nic = Some("BC:24:11:FF:FF:FF".into()),
        |it: &mut muster_core::guests::action::Found| it.root = None,
        |it: &mut muster_core::guests::action::Found| it.uuid = Some("new".into()),
    ] {
        let mut house = recorded("old");
        change(&mut house.config("old").identity);
        assert_ne!(house.step(END, "guest.destroy").id, before);
        // It has to be written down anew.
        assert_eq!(house.steps(END, "guest.record").len(), 1);
    }
    // One that muster made is known by its mark, and only as long as the guest bears it.
    let mut house = House::new();
    let made = house.make("old", true);
    let before = house.step(END, "guest.destroy");
    let incarnation = Incarnation::Guest { made, restored: 0 };
    assert_eq!(before.incarnation, incarnation.into());
    house.guest("old").made = Some(Marker("muster-ffffffffffffffff".into()));
    assert_ne!(house.step(END, "guest.destroy").id, before.id);
}

/// H9, GB2, H10: what stands in the way of an end is said, signed or not.
#[test]
fn what_stands_in_the_way_of_an_end_is_said() {
    let why = |change: &dyn Fn(&mut House)| {
        let mut house = recorded("old");
        change(&mut house);
        let destroy = house.step(END, "guest.destroy");
        begin(&mut house, &[destroy]);
        house.why(END)
    };
    for (change, expected) in [
        (
            &(|it: &mut House| it.policy.create_token = false) as &dyn Fn(&mut House),
            "no create_token",
        ),
        (
            &|it| it.config("old").protection = true,
            "is protected at the hypervisor",
        ),
        (
            &|it| it.guest("old").lock = Some("backup".into()),
            "locked the guest (backup)",
        ),
        (&|it| it.guest("old").template = true, "is a template"),
        (&|it| it.guest("old").busy = Some("UPID:9".into()), "UPID:9"),
        (
            &|it| {
                it.guest("old").ha = Some(Ha {
                    state: "started".into(),
                    asked: None,
                })
            },
            "high availability manager looks after the guest",
        ),
    ] {
        let why = why(change);
        assert!(why.contains(expected), "{why}");
    }
}

/// H7: a guest that is set aside waits for its time of grace; its end is then a step of its own, with a release of its own.
#[test]
fn the_end_of_what_is_set_aside_waits_for_its_time_and_for_a_release_of_its_own() {
    for name in ["204", "old"] {
        let end = format!("guests: {{{name}: {{destroy: true}}}}\n");
        let mut house = aside(name);
        assert_eq!(house.words(&end), [] as [&str; 0]);
        assert_eq!(
            house.notes(&end),
            [format!(
                "{name}: set aside since 2026-11-22; from 2026-12-06 on, its end is planned, which needs a release of its own; take \
                 `destroy: true` out of the row to have it back"
            )]
        );
        house.now = house.now.plus(13 * DAY);
        assert_eq!(house.words(&end), [] as [&str; 0]);
        house.now = house.now.plus(DAY);
        assert_eq!(classes(&house, &end), [("guest.purge", Class::Destructive)]);
        let purge = house.step(&end, "guest.purge");
        assert!(
            purge.words().contains("backup=pbs:backup/1"),
            "{}",
            purge.words()
        );
        assert_eq!(house.told(&end).1[0].1, "pending_signature");
        house.policy.release_token = false;
        assert!(house.why(&end).contains("no release_token"));
        house.policy.release_token = true;
        // It is the same guest, or nothing is planned.
        let found = house.of(name).aside.expect("aside").found;
        let mut other = house.guest(&found).clone();
        if let Reading::Known(config) = &mut other.config {
            config.identity.nic = Some("BC:24:11:FF:FF:FF".into());
        }
        let kept = house
            .guests
            .insert(found.clone(), Sight::Seen(Box::new(other)));
        assert_eq!(house.words(&end), [] as [&str; 0]);
        assert!(house.notes(&end)[0].contains("another guest stands there"));
        house
            .guests
            .insert(found.clone(), kept.expect("it stood there"));
        house.done(&purge);
        house.guests.remove(&found);
        assert_eq!(house.words(&end), [] as [&str; 0]);
        assert_eq!(house.notes(&end), [] as [&str; 0]);
        assert_eq!(house.of(name).backups.len(), 1, "what stays is remembered");
    }
}

/// H7, GB8: without a backup in the journal nothing is deleted.
#[test]
fn nothing_is_deleted_of_which_no_backup_is_known() {
    let mut house = recorded("old");
    let destroy = house.step(END, "guest.destroy");
    house.done(&destroy);
    let Some(Sight::Seen(guest)) = house.guests.remove("old") else {
        panic!("it was there")
    };
    let found = house.of("old").aside.expect("aside").found;
    house.guests.insert(found, Sight::Seen(guest));
    house.now = house.now.plus(30 * DAY);
    let purge = house.step(END, "guest.purge");
    begin(&mut house, &[purge]);
    assert!(house.why(END).contains("knows of no backup"));
}

/// H7: a row without `destroy` plans the way back, at any time before; it is benign, and the guest is as it was.
#[test]
fn a_row_that_asks_for_the_guest_again_gives_it_back() {
    for name in ["204", "old"] {
        let back = format!("guests: {{{name}: {{run: running}}}}\n");
        let end = format!("guests: {{{name}: {{destroy: true}}}}\n");
        let mut house = aside(name);
        house.now = house.now.plus(30 * DAY);
        let restore = house.step(&back, "guest.restore");
        assert_eq!(classes(&house, &back), [("guest.restore", Class::Benign)]);
        assert!(
            restore.words().ends_with(&format!(
                "name=host-{name} onboot=yes privileged=no protection=no"
            )),
            "{}",
            restore.words()
        );
        assert_eq!(house.told(&back).0, [format!("guest.restore {name}")]);
        // Root on the hypervisor comes back by a release alone.
        let found = house.of(name).aside.expect("aside").found;
        house.config(&found).privileged = true;
        assert_eq!(
            classes(&house, &back),
            [("guest.restore", Class::Privileged)]
        );
        house.config(&found).privileged = false;
        house.done(&restore);
        let Some(Sight::Seen(guest)) = house.guests.remove(&found) else {
            panic!("it was there")
        };
        house.guests.insert(name.to_owned(), Sight::Seen(guest));
        assert_eq!(house.words(&back), [format!("guest.start {name}")]);
        // Its end is asked for again: what was signed before does not do it.
        let first = aside(name).past;
        let again = house.step(&end, "guest.destroy");
        assert!(!first.facts.record.iter().any(|it| it.step.id == again.id));
        assert_eq!(house.steps(&end, "guest.record"), []);
    }
}

/// H7, G5: a row that is gone asks for nothing, and what is set aside is told of.
#[test]
fn a_row_that_is_gone_leaves_what_is_set_aside_where_it_is() {
    let mut house = aside("old");
    house.now = house.now.plus(30 * DAY);
    assert_eq!(house.words("guests: {}\n"), [] as [&str; 0]);
    assert!(house.notes("guests: {}\n")[0].starts_with("old: set aside as aside-"));
}

/// GB4, H7: what is set aside and cannot be seen is not taken for gone, and what is gone is told.
#[test]
fn what_is_set_aside_and_not_seen_is_told() {
    let mut house = aside("old");
    let found = house.of("old").aside.expect("aside").found;
    let there = house.guests.remove(&found).expect("there");
    assert!(house.notes(BACK)[0].contains("is not there any more; muster did not delete it"));
    house.down.insert("pve2".into(), down());
    assert!(
        house
            .notes(BACK)
            .iter()
            .any(|it| it.starts_with("old: unknown since"))
    );
    assert_eq!(house.words(BACK), [] as [&str; 0]);
    house.down.clear();
    // Somebody else has the name meanwhile.
    house.guests.insert(found, there);
    house.add("old", true);
    assert!(
        house
            .why(BACK)
            .contains("another guest has its name meanwhile")
    );
}

/// H4, H7: another backup in the place of a guest waits for a release, once for each backup that the row names.
#[test]
fn a_backup_in_the_place_of_a_guest_waits_for_a_release() {
    let text = "guests: {old: {run: running, overwrite: {backup: \"pbs:backup/7\"}}}\n";
    let mut house = recorded("old");
    assert_eq!(
        classes(&house, text),
        [("guest.overwrite", Class::Destructive)]
    );
    let overwrite = house.step(text, "guest.overwrite");
    assert_eq!(house.told(text).1[0].1, "pending_signature");
    house.policy.release_token = false;
    assert!(house.why(text).contains("no release_token"));
    house.policy.release_token = true;
    house.journal(&overwrite, &[backed_up()], StepResult::Done);
    let made = house.of("old").made.expect("made").marker;
    house.guest("old").made = Some(made);
    assert_eq!(house.words(text), [] as [&str; 0]);
    let other = text.replace("backup/7", "backup/8");
    assert_eq!(house.steps(&other, "guest.overwrite").len(), 1);
}

/// Invariant 9, H7: what came to its end while nobody could see it is planned once more as it was, whatever the row says and whoever the
/// guest is by then, and is closed by that.
#[test]
fn what_ended_unseen_is_planned_as_it_was_until_it_is_closed() {
    for name in ["204", "old"] {
        let end = format!("guests: {{{name}: {{destroy: true}}}}\n");
        let back = format!("guests: {{{name}: {{run: running}}}}\n");
        let mut house = recorded(name);
        let destroy = house.step(&end, "guest.destroy");
        let standing = muster_core::guests::action::Standing::default();
        let marks = [
            backed_up(),
            Mark::SetAside {
                standing,
                stance: None,
            },
        ];
        let unread = StepResult::Unfinished("could not be observed".into());
        house.journal(&destroy, &marks, unread.clone());
        let seen = aside(name);
        house.guests = seen.guests.clone();
        for text in [&end, &back, "guests: {}\n"] {
            let planned = house.plan(text);
            let ids: Vec<_> = planned.steps().iter().map(|it| it.step.id).collect();
            assert_eq!(ids, [destroy.id], "{text}");
        }
        house.done(&destroy);
        let restore = house.step(&back, "guest.restore");
        house.journal(&restore, &[], unread.clone());
        house.guests = recorded(name).guests;
        let config = house.config(name);
        config.name = None;
        house.guest(name).run = Some(Run::Stopped);
        assert_eq!(house.step(&back, "guest.restore").id, restore.id);
        house.done(&restore);
        assert_eq!(house.words(&back), [format!("guest.start {name}")]);

        // The same of the last step.
        let mut house = aside(name);
        house.now = house.now.plus(30 * DAY);
        let purge = house.step(&end, "guest.purge");
        house.journal(&purge, &[], unread);
        house.guests.clear();
        assert_eq!(house.step(&end, "guest.purge").id, purge.id);
        house.done(&purge);
        assert_eq!(house.words(&end), [] as [&str; 0]);
        assert_eq!(house.of(name).aside, None);
    }
}

/// Invariant 9, H7: a hypervisor that goes by names is asked for the new one first. An end that stops behind that request has a guest
/// that no row names: the step stays planned, so that it goes on, by its claim or a new release.
#[test]
fn an_end_that_stopped_behind_the_rename_is_planned_on() {
    for result in [
        StepResult::Failed("400".into()),
        StepResult::Unfinished("could not be observed".into()),
    ] {
        let end = "guests: {old: {destroy: true}}\n";
        let mut house = recorded("old");
        let destroy = house.step(end, "guest.destroy");
        let standing = muster_core::guests::action::Standing::default();
        house.journal(
            &destroy,
            &[
                backed_up(),
                Mark::SetAside {
                    standing,
                    stance: None,
                },
            ],
            result,
        );
        // Renamed, and neither protected nor off-boot yet.
        let called = aside("old").of("old").aside.expect("aside").found;
        let guest = house.guests.remove("old").unwrap();
        house.guests.insert(called, guest);
        for text in [end, "guests: {old: {run: running}}\n", "guests: {}\n"] {
            let planned = house.plan(text);
            let ids: Vec<_> = planned.steps().iter().map(|it| it.step.id).collect();
            assert_eq!(ids, [destroy.id], "{text}");
        }
    }
}

/// H7: Incus says of a guest that it was given the data of a snapshot by another word for its place in time. Nobody is told so who does not
/// know that word, now or when it was set aside.
#[test]
fn a_guest_that_was_given_the_data_of_a_snapshot_stays() {
    let used = "it was given the data of a snapshot";
    for (then, now, is_used) in [
        (Some("a"), Some("a"), false),
        (Some("a"), Some("b"), true),
        (Some("a"), None, false),
        (None, Some("b"), false),
    ] {
        let mut house = recorded("old");
        let place = |house: &mut House, name: &str, word: Option<&str>| {
            if let Reading::Known(config) = &mut house.guest(name).config {
                config.generation = word.map(str::to_owned);
            }
        };
        place(&mut house, "old", then);
        let mut house = aside_of(house, "old", backed_up());
        let found = house.of("old").aside.expect("aside").found;
        place(&mut house, &found, now);
        let told = house.notes(END).concat();
        assert_eq!(told.contains(used), is_used, "{then:?} {now:?}: {told}");
        house.now = house.now.plus(14 * DAY);
        let (_, held) = house.told(END);
        let code = if is_used {
            "precondition"
        } else {
            "pending_signature"
        };
        assert_eq!(held, [("guest.purge old".to_owned(), code)]);
    }
}

/// H7: what the end of a guest relies on is a backup that was tried and is still there as it was; whatever else is found is told by
/// the step, which waits.
#[test]
fn an_end_waits_for_the_backup_that_was_tried() {
    let stored = |bytes: u64, seal: &str| {
        Reading::Known(Some(Stored {
            bytes,
            seal: Some(seal.to_owned()),
        }))
    };
    for (found, why) in [
        (stored(7, "made=1"), None),
        (Reading::Known(None), Some("is not there any more")),
        (stored(0, "made=1"), Some("is empty")),
        (stored(6, "made=1"), Some("has 6 bytes, and had 7")),
        (stored(8, "made=1"), Some("is another one")),
        (stored(7, "made=2"), Some("is another one")),
        // Who may not see it looks when the step runs.
        (Reading::Unknown("no VM.Backup".to_owned()), None),
    ] {
        let mut house = aside("old");
        house.now = house.now.plus(14 * DAY);
        house
            .backups
            .insert("pbs:backup/1".to_owned(), found.clone());
        let (_, held) = house.told(END);
        let code = why.map_or("pending_signature", |_| "precondition");
        assert_eq!(
            held[..],
            [("guest.purge old".to_owned(), code)],
            "{found:?}"
        );
        if let Some(why) = why {
            assert!(house.why(END).contains(why), "{}", house.why(END));
        }
    }
}

/// H4, H7: a backup that is not there is told by the step that is to put it in the place of a guest, before anybody signs that.
#[test]
fn an_overwrite_waits_for_a_backup_that_is_there() {
    let text = "guests: {old: {overwrite: {backup: 'pbs:backup/9'}}}\n";
    let mut house = recorded("old");
    let stored = Stored {
        bytes: 7,
        seal: None,
    };
    for (found, code) in [
        (Reading::Known(None), "precondition"),
        (Reading::Known(Some(stored)), "pending_signature"),
        (
            Reading::Unknown("no VM.Backup".to_owned()),
            "pending_signature",
        ),
    ] {
        house.backups.insert("pbs:backup/9".to_owned(), found);
        let (_, held) = house.told(text);
        assert_eq!(held, [("guest.overwrite old".to_owned(), code)]);
    }
    // An act that found none says so for that day.
    let overwrite = house.step(text, "guest.overwrite");
    let gone = Mark::Spoilt {
        backup: "pbs:backup/9".to_owned(),
        why: "is not there any more".to_owned(),
    };
    house.journal(
        &overwrite,
        &[gone],
        StepResult::Failed("it is not there".to_owned()),
    );
    let why = house.why(text);
    assert!(
        why.contains("the backup pbs:backup/9 is not there any more"),
        "{why}"
    );
    house.now = house.now.plus(DAY);
    assert_eq!(house.told(text).1[0].1, "pending_signature");
}

/// H7, GB8: while no backup would hold one of its volumes, a guest is neither ended, overwritten nor purged, signed or not; the volume is
/// named, and what to do.
#[test]
fn a_volume_that_no_backup_holds_is_not_lost() {
    let over = "guests: {old: {overwrite: {backup: 'pbs:backup/9'}}}\n";
    for (mut house, text, verb) in [
        (recorded("old"), END, "guest.destroy"),
        (recorded("old"), over, "guest.overwrite"),
        (
            aside("204"),
            "guests: {204: {destroy: true}}\n",
            "guest.purge",
        ),
    ] {
        let name = if verb == "guest.purge" { "204" } else { "old" };
        if verb == "guest.purge" {
            house.now = house.now.plus(15 * DAY);
        }
        let before = house.step(text, verb);
        house.config(name).unsaved = [("s:data".to_owned(), "mp0".to_owned())].into();
        let step = house.step(text, verb);
        assert_eq!(step.id, before.id, "what was signed stays signed");
        begin(&mut house, &[step]);
        let why = house.why(text);
        assert!(
            why.contains("no backup of it holds s:data (mp0), which would be lost; "),
            "{verb}: {why}"
        );
        assert!(why.contains("backup=1"), "{why}");
        let back = why.contains("take `destroy: true` out of its row");
        assert_eq!(back, verb == "guest.purge", "{why}");
        house.config(name).unsaved.clear();
        let admitted = house.told(text).0;
        assert!(admitted.iter().any(|it| it.starts_with(verb)), "{verb}");
    }
}

/// H7, H8: what somebody did in a guest that is set aside is in no backup: it is told at once, and holds the purge however it was signed.
#[test]
fn a_guest_that_was_used_since_it_was_set_aside_is_not_purged() {
    let end = "guests: {204: {destroy: true}}\n";
    type Use<'u> = (&'u dyn Fn(&mut House), &'u str);
    let uses: [Use<'_>; 7] = [
        (&|it| it.guest("204").run = Some(Run::Running), "it runs"),
        (
            &|it| it.config("204").name = Some("back".into()),
            "it is called \"back\"",
        ),
        (
            &|it| it.config("204").protection = false,
            "it is not protected any more",
        ),
        (
            &|it| it.config("204").onboot = true,
            "it starts with the hypervisor",
        ),
        (
            &|it| it.config("204").description = "mine".into(),
            "its configuration was changed",
        ),
        (
            &|it| it.config("204").volumes.0.extend(volumes("more").0),
            "its configuration was changed",
        ),
        (&|it| it.config("204").digest = Some("x".into()), ""),
    ];
    for (happens, sign) in uses {
        let mut house = aside("204");
        happens(&mut house);
        let notes = house.notes(end).concat();
        assert_eq!(
            notes.contains("it was used since"),
            !sign.is_empty(),
            "{notes}"
        );
        assert!(notes.contains(sign), "{notes}");
        house.now = house.now.plus(15 * DAY);
        let purge = house.step(end, "guest.purge");
        begin(&mut house, &[purge]);
        if sign.is_empty() {
            assert_eq!(house.told(end).0, ["guest.purge 204"]);
            continue;
        }
        let why = house.why(end);
        assert!(
            why.contains(sign) && why.contains("take `destroy: true` out"),
            "{why}"
        );
        // The way out is open.
        let back = "guests: {204: {run: stopped}}\n";
        assert!(house.step(back, "guest.restore").words().contains("204"));
    }
}

/// H7: one that somebody started, wrote to and stopped again shows nothing of it. When it was started last says so, by the hypervisor's
/// clock and against the moment at which that began with the backup; what was seen once is written down, as hypervisors forget.
#[test]
fn a_guest_that_was_started_and_stopped_since_it_was_backed_up_is_not_purged() {
    const AT: i64 = 1_795_000_000;
    let end = "guests: {204: {destroy: true}}\n";
    // What has no such seal counts from when it was journaled.
    let seals = [
        (Some("made=1795000000"), AT),
        (None, NOW.0),
        (Some("sha256=7"), NOW.0),
    ];
    for (seal, begun) in seals {
        for (started, is_use) in [
            (None, false),
            (Some(begun - 3_600), false),
            (Some(begun), false),
            (Some(begun + 1), true),
            (Some(begun + 9 * DAY), true),
        ] {
            let mut house = aside_after("204", sealed(seal));
            let started = started.map(Time);
            house.starts.insert("204".into(), Reading::Known(started));
            let told = house.notes(end).concat();
            assert_eq!(
                told.contains("it was used since"),
                is_use,
                "{started:?}: {told}"
            );
            let noted = house.steps(end, "guest.note");
            assert_eq!(noted.len(), usize::from(is_use));
            house.now = house.now.plus(15 * DAY);
            let sign = started.map(|it| format!("it was started at {it}"));
            if let [note] = &noted[..] {
                let verdict = house.judged(end);
                let [held] = &verdict.held[..] else {
                    panic!("{:?}", verdict.held)
                };
                assert!(held.reason.to_string().contains(sign.as_ref().unwrap()));
                assert_eq!(house.told(end).0, ["guest.note 204"]);
                // Its tasks are gone from there by and by, and what was written down stays.
                house.done(note);
                house.starts.insert("204".into(), Reading::Known(None));
            }
            let purge = house.step(end, "guest.purge");
            begin(&mut house, &[purge]);
            if is_use {
                let why = house.why(end);
                assert!(why.contains(&sign.unwrap()), "{why}");
                assert_eq!(house.told(end).0, Vec::<String>::new());
            } else {
                assert_eq!(house.told(end).0, ["guest.purge 204"]);
            }
        }
    }
}

/// H7: one that was seen to run stays held when it stands still again, whether or not the start is shown; where no row names it, too.
#[test]
fn a_guest_that_was_seen_to_run_stays_until_it_was_backed_up_anew() {
    let end = "guests: {204: {destroy: true}}\n";
    let back = "guests: {204: {run: stopped}}\n";
    for seen_by in [end, "guests: {}\n"] {
        let mut house = aside("204");
        house.guest("204").run = Some(Run::Running);
        let note = house.step(seen_by, "guest.note");
        assert_eq!(note.words(), "guest.note 204 how=it%20ran");
        assert_eq!(classes(&house, seen_by)[0].1, Class::Benign);
        house.done(&note);
        house.guest("204").run = Some(Run::Stopped);
        assert_eq!(house.steps(seen_by, "guest.note"), []);
        house.now = house.now.plus(15 * DAY);
        assert!(house.why(end).contains("(it ran)"), "{}", house.why(end));
        // Had back, it is as it ever was.
        let restore = house.step(back, "guest.restore");
        house.done(&restore);
        assert_eq!(house.of("204").aside, None);
    }
}

/// H7, GB9: where it is not to be seen whether somebody started it, that is told from the first day on, and it is not deleted.
#[test]
fn a_guest_whose_starts_are_not_shown_is_not_purged() {
    let end = "guests: {204: {destroy: true}}\n";
    let mut house = aside("204");
    let lacks = "muster@pve!pve1 lacks Sys.Audit on /nodes/pve1";
    house
        .starts
        .insert("204".into(), Reading::Unknown(lacks.into()));
    let told = house.notes(end).concat();
    assert!(
        told.contains("would not be noticed") && told.contains(lacks),
        "{told}"
    );
    house.now = house.now.plus(15 * DAY);
    let purge = house.step(end, "guest.purge");
    begin(&mut house, &[purge]);
    assert!(house.why(end).contains(lacks), "{}", house.why(end));
    house.starts.insert("204".into(), Reading::Known(None));
    assert_eq!(house.told(end).0, ["guest.purge 204"]);
}

/// H7, H8: another guest's backup is not put in the place of a guest, signed or not; whose it is is told.
#[test]
fn a_backup_of_another_guest_is_refused() {
    for (backup, told) in [
        (
            "local:backup/vzdump-lxc-101-2026_11_29-10_00_00.tar.zst",
            Some("101"),
        ),
        (
            "local:backup/vzdump-qemu-1060-2026_11_29-10_00_00.vma",
            Some("1060"),
        ),
        (
            "local:backup/vzdump-lxc-106-2026_11_29-10_00_00.tar.zst",
            None,
        ),
        ("pbs:backup/vm/101/2026-11-29T10:00:00Z", Some("101")),
        ("pbs:backup/ct/106/2026-11-29T10:00:00Z", None),
        ("local:backup/by-hand-101.tar", None),
        ("/var/lib/muster/backups/old", None),
        (
            "/var/lib/muster/backups/web.muster-0123.backup",
            Some("web"),
        ),
        ("/var/lib/muster/backups/106.muster-0123.backup", None),
        (
            "/var/lib/muster/backups/aside-0123-web.muster-0123.backup",
            None,
        ),
    ] {
        let mut house = House::with(&[("106", true)]);
        let text = format!("guests: {{106: {{overwrite: {{backup: '{backup}'}}}}}}\n");
        let stored = Stored {
            bytes: 7,
            seal: None,
        };
        house
            .backups
            .insert(backup.into(), Reading::Known(Some(stored)));
        let step = house.step(&text, "guest.overwrite");
        let said = sentence(&step.action);
        let words = format!(", which is of another guest ({})", told.unwrap_or_default());
        assert_eq!(said.contains(&words), told.is_some(), "{said}");
        assert_eq!(said.contains("of another guest"), told.is_some(), "{said}");
        let record = house.step(&text, "guest.record");
        house.done(&record);
        begin(&mut house, &[step]);
        let (admitted, held) = house.told(&text);
        match told {
            Some(owner) => {
                assert_eq!((admitted.len(), held.len()), (0, 1));
                let why = house.why(&text);
                assert!(why.contains(&format!("is of guest {owner}")), "{why}");
            }
            None => assert_eq!(admitted, ["guest.overwrite 106"], "{held:?}"),
        }
    }
}
