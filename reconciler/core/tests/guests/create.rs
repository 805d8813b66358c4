//! Guests that muster makes, and whose end is benign by provenance.

use muster_core::guests::action::{Action, Marker};
use muster_core::guests::facts::Known;
use muster_core::guests::mark::Mark;
use muster_core::guests::observed::TaskState;
use muster_core::guests::price::price;
use muster_core::guests::verbs::Verb;
use muster_core::journal::StepResult;
use muster_core::price::{Class, Doubt, RootRelation, Takes};
use muster_core::turn::Turn;

use super::{House, classes, every_action, size};

const WEB: &str = "guests: {104: {run: running, cores: 1, memory: 512MiB, create: {template: debian-13, storage: local-lvm, network: vmbr0}}}\n";

/// H4, H5: a guest that is not there is made out of what the settings list, and started once it is there.
#[test]
fn a_guest_that_is_not_there_is_made_and_then_started() {
    let mut house = House::new();
    let words = house.words(WEB);
    let made = Marker::of_creation(&super::pve1(), "104", 0);
    assert_eq!(
        words,
        [format!(
            "guest.create 104 cores=1 made={made} memory=512 nesting=no network=vmbr0 storage=local-lvm template=debian-13 \
             unprivileged=yes"
        )]
    );
    assert_eq!(classes(&house, WEB), [("guest.create", Class::Benign)]);
    let create = house.step(WEB, "guest.create");
    house.done(&create);
    house.add("104", false).made = Some(made);
    assert_eq!(house.words(WEB), ["guest.start 104"]);
    house.guest("104").run = Some(muster_core::guests::desired::Run::Running);
    assert_eq!(house.words(WEB), [] as [&str; 0]);
    // It was deleted by hand: the next one is another.
    house.guests.clear();
    let again = house.step(WEB, "guest.create");
    assert_ne!(again.id, create.id);
}

/// H4: what makes a guest root on the hypervisor waits for a release.
#[test]
fn power_over_the_hypervisor_is_privileged() {
    for (more, class) in [
        ("", Class::Benign),
        (", unprivileged: true", Class::Benign),
        (", unprivileged: false", Class::Privileged),
        (", nesting: true", Class::Privileged),
        (", devices: [gpu]", Class::Privileged),
    ] {
        let text = format!(
            "guests: {{104: {{create: {{image: \"images:debian/13\", storage: local-lvm{more}}}}}}}\n"
        );
        assert_eq!(
            classes(&House::new(), &text),
            [("guest.create", class)],
            "{more}"
        );
    }
}

/// H4, H9: what settings do not list or have no room for is held with that reason.
#[test]
fn what_settings_do_not_list_is_held() {
    let text = |create: &str| format!("guests: {{104: {{memory: 1GiB, create: {{{create}}}}}}}\n");
    let house = House::new();
    for (create, what) in [
        (
            "template: debian-12, storage: local-lvm",
            "no template \"debian-12\"",
        ),
        (
            "image: debian-13, storage: local-lvm",
            "no image \"debian-13\"",
        ),
        ("clone: \"901\", storage: local-lvm", "no clone \"901\""),
        ("clone: \"900\", storage: nfs", "no storage \"nfs\""),
        (
            "clone: \"900\", storage: local-lvm, network: vmbr1",
            "no network \"vmbr1\"",
        ),
        (
            "clone: \"900\", storage: local-lvm, devices: [tpu]",
            "no device \"tpu\"",
        ),
    ] {
        let why = house.why(&text(create));
        assert!(why.contains(what), "{create}: {why}");
    }
    let good = text("template: debian-13, storage: local-lvm");
    assert_eq!(house.told(&good).0, ["guest.create 104"]);
    let held = |change: &dyn Fn(&mut House)| {
        let mut house = House::new();
        change(&mut house);
        house.why(&good)
    };
    let why = held(&|it| it.policy.create_token = false);
    assert!(why.contains("no create_token"), "{why}");
    let why = held(&|it| it.policy.create.guests = 0);
    assert_eq!(
        why,
        "the settings let muster make 0 guests, and this would be one more"
    );
    let why = held(&|it| it.policy.create.memory = 1023);
    assert!(why.contains("would have 1GiB"), "{why}");
    let why = held(&|it| it.policy.create.sizes = vec![size(1, 1024)]);
    assert!(
        why.contains("no number of cores with 1GiB is none of them"),
        "{why}"
    );
}

/// H4: the bound counts what is there and what the same plan makes.
#[test]
fn a_plan_makes_no_more_guests_than_there_is_room_for() {
    let row = |name: u32| {
        format!("  {name}: {{memory: 1GiB, create: {{template: debian-13, storage: local-lvm}}}}\n")
    };
    let mut house = House::new();
    house.make("100", false);
    house.policy.create.guests = 3;
    let text = format!("guests:\n{}{}{}", row(101), row(102), row(103));
    let (admitted, held) = house.told(&text);
    assert_eq!(admitted, ["guest.create 101", "guest.create 102"]);
    assert_eq!(held, [("guest.create 103".to_owned(), "precondition")]);
    house.policy.create.guests = 8;
    house.policy.create.memory = 512 + 1024;
    assert_eq!(house.told(&text).0, ["guest.create 101"]);
}

/// H8: whoever has the number already is not made over.
#[test]
fn a_guest_that_is_there_is_not_made() {
    let house = House::with(&[("104", true)]);
    assert_eq!(house.words(WEB), [] as [&str; 0]);
}

/// G12, H6, H11: what was begun here and bears our mark is brought to its end, or discarded, benign by the journal alone.
#[test]
fn a_creation_that_broke_off_is_discarded_and_begun_anew() {
    let mut house = House::new();
    let create = house.step(WEB, "guest.create");
    let begun = Mark::TaskBegun {
        task: "UPID:1".into(),
    };
    let failed = StepResult::Unfinished("no space left on device".into());
    house.journal(&create, &[begun], failed);
    house.policy.limits.retry_after = 0;
    let made = house.of("104").made.expect("begun").marker;
    // It is locked, and nobody works at it: what a creation that broke off leaves.
    let guest = house.add("104", false);
    guest.made = Some(made.clone());
    guest.lock = Some("create".into());
    let discard = house.step(WEB, "guest.discard");
    assert_eq!(discard.words(), format!("guest.discard 104 made={made}"));
    assert_eq!(classes(&house, WEB), [("guest.discard", Class::Benign)]);
    assert_eq!(house.told(WEB).0, ["guest.discard 104"]);
    // Not while the hypervisor is at it.
    house.tasks.insert("UPID:1".into(), TaskState::Running);
    assert!(house.why(WEB).contains("UPID:1"));
    house.tasks.clear();
    // The row is gone: what is left is ours to take away, and nothing else is touched (G5).
    assert_eq!(house.words("guests: {}\n").len(), 1);
    house.done(&discard);
    house.guests.clear();
    let again = house.step(WEB, "guest.create");
    assert_eq!(again.id, create.id, "a second try is the same step");
    // Without a lock it is nearly through: the same step brings it to its end.
    house.journal(&again, &[], StepResult::Unfinished("interrupted".into()));
    house.add("104", false).made = Some(made);
    assert_eq!(house.steps(WEB, "guest.create").len(), 1);
    // Another one's mark: nothing is done to it as long as the row asks for one to be made (H8).
    let other = Marker::of_creation(&super::pve1(), "999", 0);
    house.guest("104").made = Some(other);
    assert_eq!(house.words(WEB), [] as [&str; 0]);
    let notes = house.notes(WEB);
    assert!(
        notes
            .iter()
            .any(|it| it.contains("another guest has that place now")),
        "{notes:?}"
    );
    assert_eq!(
        house.words("guests: {104: {run: running}}\n"),
        ["guest.start 104"]
    );
    // One that bears no mark is somebody else's.
    house.guest("104").made = None;
    house.past.facts = House::new().past.facts;
    let unmarked = house.step(WEB, "guest.start");
    assert_eq!(unmarked.resource(), "104");
}

/// G11, G12, G13: the same end is benign or destructive by what the journal says, and by nothing that others can write.
#[test]
fn provenance_is_read_from_the_journal_and_from_nothing_else() {
    let text = "guests: {104: {destroy: true}}\n";
    let marker = Marker::of_creation(&super::pve1(), "104", 0);
    // The guest bears the very mark and tag that muster would write, and lies in the scratch pool: the journal knows nothing of it.
    let mut house = House::with(&[("104", true)]);
    house.guest("104").made = Some(marker.clone());
    house.guest("104").pool = Some("scratch".into());
    house.config("104").tags = [marker.0.clone()].into();
    let expected = [
        ("guest.record", Class::Benign),
        ("guest.destroy", Class::Destructive),
    ];
    assert_eq!(classes(&house, text), expected);
    let (admitted, held) = house.told(text);
    assert_eq!(admitted, ["guest.record 104"]);
    assert_eq!(
        held,
        [("guest.destroy 104".to_owned(), "pending_signature")]
    );
    // Whoever made it and finished: somebody may have put data there.
    let mut house = House::new();
    house.make("104", true);
    assert_eq!(
        classes(&house, text),
        [("guest.destroy", Class::Destructive)]
    );
    // Begun here, and not finished.
    let mut house = House::new();
    let create = house.step(WEB, "guest.create");
    house.journal(&create, &[], StepResult::Unfinished("interrupted".into()));
    house.add("104", false).made = Some(marker.clone());
    assert_eq!(classes(&house, text), [("guest.discard", Class::Benign)]);
    // The same in another's journal.
    house.past.facts = House::new().past.facts;
    assert_eq!(classes(&house, text), expected);
    // Begun here, and another guest has the number by now.
    let mut house = House::with(&[("104", true)]);
    house.journal(&create, &[], StepResult::Unfinished("interrupted".into()));
    assert_eq!(classes(&house, text), expected);
}

/// G12, G13: a guest of a trial is ours because the journal says so before it is there.
#[test]
fn what_is_left_of_a_trial_is_discarded_by_the_journals_word() {
    let text = "guests: {old: {destroy: true}}\n";
    let mut house = House::with(&[("old", false)]);
    let record = house.step(text, "guest.record");
    house.done(&record);
    let destroy = house.step(text, "guest.destroy");
    let made = Marker::of_rehearsal("muster-of-that-run");
    let taken = Mark::ScratchTaken {
        scratch: "9000".into(),
        made: made.clone(),
    };
    house.journal(
        &destroy,
        &[taken],
        StepResult::Unfinished("the power went out".into()),
    );
    house.add("9000", true);
    assert_eq!(
        house.steps(text, "guest.discard"),
        [],
        "it bears no mark of ours"
    );
    house.guest("9000").made = Some(made);
    let discard = house.step(text, "guest.discard");
    assert_eq!(discard.resource(), "9000");
    assert_eq!(house.told("guests: {}\n").0, ["guest.discard 9000"]);
    house.policy.create_token = false;
    assert_eq!(house.steps(text, "guest.discard"), []);
    assert!(
        house
            .notes(text)
            .iter()
            .any(|it| it == "9000: it is left of the trial of a backup, and there is no create_token to discard it with")
    );
    house.policy.create_token = true;
    house.done(&discard);
    assert_eq!(house.steps("guests: {}\n", "guest.discard"), []);
}

/// G11, G14, G15: what each verb costs; without provenance the end of a guest is destructive.
#[test]
fn what_loses_data_is_destructive_and_the_rest_is_benign() {
    let prices: Vec<_> = every_action()
        .iter()
        .map(|it| (it.verb(), price(it, &Known::new())))
        .collect();
    let told: Vec<_> = prices
        .iter()
        .map(|(verb, it)| (*verb, it.turn, it.class, it.takes))
        .collect();
    let (benign, destructive) = (Class::Benign, Class::Destructive);
    let (nothing, removal) = (Takes::Nothing, Takes::Removal);
    assert_eq!(
        told,
        [
            (Verb::Record, Turn::Record, benign, nothing),
            (Verb::Start, Turn::Start, benign, nothing),
            (Verb::Shutdown, Turn::Quiesce, benign, removal),
            (Verb::Stop, Turn::Quiesce, benign, removal),
            (Verb::Cores, Turn::Configure, benign, nothing),
            (Verb::Memory, Turn::Configure, benign, nothing),
            (Verb::Description, Turn::Configure, benign, nothing),
            (Verb::Tags, Turn::Configure, benign, nothing),
            (Verb::Onboot, Turn::Configure, benign, nothing),
            (Verb::Create, Turn::Make, benign, nothing),
            (Verb::Discard, Turn::Quiesce, destructive, nothing),
            (Verb::Destroy, Turn::Destroy, destructive, removal),
            (Verb::Overwrite, Turn::Destroy, destructive, removal),
            (Verb::Restore, Turn::Make, benign, nothing),
            (Verb::Purge, Turn::Destroy, destructive, nothing),
            (Verb::NoteUse, Turn::Record, benign, nothing),
        ]
    );
    assert!(prices.iter().all(|(_, it)| it.root == RootRelation::Apart));
    let verbs: Vec<Verb> = prices.iter().map(|it| it.0).collect();
    assert_eq!(verbs, Verb::ALL);
    let brought: Vec<Verb> = prices
        .iter()
        .filter(|(_, it)| it.doubt == Doubt::BringToEnd)
        .map(|it| it.0)
        .collect();
    let expected = [
        Verb::Create,
        Verb::Discard,
        Verb::Destroy,
        Verb::Overwrite,
        Verb::Restore,
        Verb::Purge,
    ];
    assert_eq!(brought, expected);
    // There is no step that replaces a guest (GB7).
    assert!(Verb::ALL.iter().all(|it| !it.word().contains("replace")));
}

/// G10: several steps of one guest stand one after the other in a batch, and the gate is before all of them.
#[test]
fn steps_of_one_guest_are_in_one_batch_in_order() {
    let text =
        "guests: {104: {cores: 2, memory: 1GiB, onboot: true}, 105: {cores: 2, memory: 1GiB}}\n";
    let house = House::with(&[("104", true), ("105", true)]);
    let (batches, held) = house.judged(text).into_batches();
    assert_eq!(held, []);
    let [batch] = &batches[..] else {
        panic!("{batches:?}")
    };
    let steps: Vec<String> = batch.steps().map(|it| it.step.words()).collect();
    assert_eq!(
        steps,
        [
            "guest.cores 104 from=1 to=2",
            "guest.memory 104 from=512 to=1024",
            "guest.onboot 104 to=yes",
            "guest.cores 105 from=1 to=2",
            "guest.memory 105 from=512 to=1024",
        ]
    );
}

/// G14: what this version does not know is refused, and never taken for benign.
#[test]
fn a_verb_or_a_mark_from_the_future_is_refused() {
    let unknown = r#"{"migrate_guest":{"guest":"104"}}"#;
    assert!(serde_json::from_str::<muster_core::rooms::Action>(unknown).is_err());
    let unknown = r#"{"snapshot_made":{"name":"x"}}"#;
    let error = serde_json::from_str::<muster_core::rooms::Mark>(unknown).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"snapshot_made\" is nothing that this version"),
        "{error}"
    );
    let more = r#"{"start_guest":{"guest":"104","force":true}}"#;
    assert!(serde_json::from_str::<Action>(more).is_err());
}
