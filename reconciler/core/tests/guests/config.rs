//! Sizes, descriptions, tags, and what is only told.

use muster_core::guests::action::Action;
use muster_core::guests::normal;
use muster_core::guests::observed::{Form, Pending};
use muster_core::reading::Reading;
use muster_core::report::sentence;
use serde_json::json;

use super::{House, every_action, size};

fn nothing(house: &House, text: &str) {
    assert_eq!(house.words(text), [] as [&str; 0], "{text}");
}

/// G3, H5: cores and memory are changed by writes, each its own step.
#[test]
fn cores_and_memory_are_changed_and_a_disk_is_only_told() {
    let house = House::with(&[("104", true)]);
    let text = "guests: {104: {cores: 2, memory: 2GiB, disk: 16GiB, name: shop}}\n";
    assert_eq!(
        house.words(text),
        [
            "guest.cores 104 from=1 to=2",
            "guest.memory 104 from=512 to=2048"
        ]
    );
    assert_eq!(
        house.notes(text),
        [
            "104: its disk is 8GiB, and the row says 16GiB; muster tells of it and does not change it",
            "104: its name is host-104, and the row says shop; muster tells of it and does not change it",
        ]
    );
    nothing(&house, "guests: {104: {disk: 1TiB, name: other}}\n");
    nothing(&house, "guests: {104: {cores: 1, memory: 512MiB}}\n");
}

/// G2, GB10: keys that the row does not name never give a step, whatever they hold.
#[test]
fn what_a_row_does_not_say_is_left_as_it_is() {
    let mut house = House::with(&[("104", true)]);
    let config = house.config("104");
    config.description = "by hand".into();
    config.tags = ["by-hand".to_owned()].into();
    config.onboot = true;
    config.protection = true;
    nothing(&house, "guests: {104: {}}\n");
    nothing(&house, "guests: {104: {run: running}}\n");
}

/// G4: where the configuration cannot be read, the run state is trusted and the rest left alone.
#[test]
fn a_configuration_that_cannot_be_read_leaves_the_rest_alone() {
    let text = "guests: {104: {run: stopped, cores: 2, description: x, tags: [shop], onboot: true, memory: 1GiB}}\n";
    let mut house = House::with(&[("104", true)]);
    house.guest("104").config = Reading::Unknown("VM.Audit is missing on /vms/104".into());
    assert_eq!(house.words(text), ["guest.shutdown 104"]);
    assert_eq!(
        house.notes(text),
        [
            "104: its configuration could not be read (VM.Audit is missing on /vms/104); whether it runs is kept as the row says, the \
             rest is left alone"
        ]
    );
    assert_eq!(
        house.notes("guests: {104: {run: stopped}}\n"),
        [] as [&str; 0]
    );
    // An end is not planned on what cannot be seen.
    let end = "guests: {104: {destroy: true}}\n";
    nothing(&house, end);
    assert!(house.notes(end)[0].contains("its end is not planned"));
}

/// G6, GB1: what comes back with a newline, with other line ends or not at all is the same.
#[test]
fn a_description_that_comes_back_with_a_newline_is_no_drift() {
    for (written, read) in [
        ("the shop", "the shop\n"),
        ("the shop", "the shop"),
        ("the shop\\n\\n", "the shop\n"),
        ("a\\r\\nb\\r\\n", "a\nb\n"),
        ("a\\r\\nb", "a\r\nb\r\n"),
        ("# a: 100 % gr\u{fc}n", "# a: 100 % gr\u{fc}n\n"),
        ("trailing  ", "trailing"),
        ("", ""),
        ("", "\n"),
        ("\\n", ""),
    ] {
        let mut house = House::with(&[("104", true)]);
        house.config("104").description = read.into();
        nothing(
            &house,
            &format!("guests: {{104: {{description: \"{written}\"}}}}\n"),
        );
    }
    for (value, expected) in [
        (None, ""),
        (Some(json!("")), ""),
        (Some(json!(7)), ""),
        (Some(json!(null)), ""),
        (Some(json!(["x"])), ""),
        (Some(json!("x\n")), "x"),
    ] {
        assert_eq!(
            normal::description_of(value.as_ref()),
            expected,
            "{value:?}"
        );
    }
    // What is managed and empty takes away what is there (G2).
    let mut house = House::with(&[("104", true)]);
    house.config("104").description = "by hand\n".into();
    let step = house.step("guests: {104: {description: \"\"}}\n", "guest.description");
    assert_eq!(sentence(&step.action), "take away the description of 104");
}

/// GB1, G7: whatever is written is what the next plan compares: one write each, and then none.
#[test]
fn what_was_written_is_not_written_again() {
    let house = |description: &str, memory: u64| {
        let mut house = House::with(&[("104", true)]);
        house.config("104").description = format!("{description}\n");
        house.config("104").memory = Some(memory);
        house
    };
    for description in [
        "x",
        "# x",
        "100 %",
        "a: b",
        "\u{e4}\\nb",
        "a\\r\\n\\r\\nb\\n",
    ] {
        let text =
            format!("guests: {{104: {{description: \"{description}\", memory: 1073741825}}}}\n");
        let before = house("before", 512);
        let plan = before.plan(&text);
        let steps: Vec<_> = plan.steps().iter().map(|it| &it.step.action).collect();
        let [
            muster_core::rooms::Action::Guest(Action::SetGuestMemory { to: memory, .. }),
            muster_core::rooms::Action::Guest(Action::SetGuestDescription { to, .. }),
        ] = &steps[..]
        else {
            panic!("{steps:?}")
        };
        assert_eq!(*memory, 1025);
        nothing(&house(to, *memory), &text);
    }
}

/// H5: tags are all that a guest is to have, in whatever order, and muster's own marks stay.
#[test]
fn tags_are_compared_without_order_and_our_marks_stay() {
    let text = "guests: {104: {tags: [shop, prod]}}\n";
    let mut house = House::with(&[("104", true)]);
    let set = |tags: &str| normal::tags_of(tags);
    house.config("104").tags = set("prod;shop");
    nothing(&house, text);
    house.config("104").tags = set("Shop, prod");
    nothing(&house, text);
    house.config("104").tags = set("old muster-0123456789abcdef");
    assert_eq!(
        house.words(text),
        [
            "guest.tags 104 from=muster-0123456789abcdef%2Cold to=muster-0123456789abcdef%2Cprod%2Cshop"
        ]
    );
    house.config("104").tags = set("prod shop muster-0123456789abcdef");
    nothing(&house, text);
    assert_eq!(house.words("guests: {104: {tags: []}}\n").len(), 1);
}

/// GB6: what waits for a reboot is told with both values and is no drift; a change that would undo the row at the next reboot is.
#[test]
fn what_waits_for_a_reboot_is_told_and_no_drift() {
    let text = "guests: {104: {cores: 4, memory: 2GiB}}\n";
    let mut house = House::with(&[("104", true)]);
    house.guest("104").kind = Form::Machine;
    let pending = |now: &str, then: Option<&str>| Pending {
        now: Some(now.into()),
        then: then.map(str::to_owned),
    };
    let config = house.config("104");
    config
        .pending
        .insert("cores".into(), pending("1", Some("4")));
    config
        .pending
        .insert("memory".into(), pending("512", Some("2048")));
    config
        .pending
        .insert("net1".into(), pending("virtio", None));
    nothing(&house, text);
    assert_eq!(
        house.notes(text),
        [
            "104: pending reboot: cores is 1, and will be 4; muster reboots nothing by itself",
            "104: pending reboot: memory is 512MiB, and will be 2GiB; muster reboots nothing by itself",
            "104: pending reboot: net1 is virtio, and will be none; muster reboots nothing by itself",
        ]
    );
    // The row is as it runs now, and somebody's pending change would undo it.
    assert_eq!(
        house.words("guests: {104: {cores: 1, memory: 512MiB}}\n"),
        [
            "guest.cores 104 from=1 to=1",
            "guest.memory 104 from=512 to=512"
        ]
    );
}

/// H3: an owner whom nobody can count on is told, and nothing else follows from it.
#[test]
fn an_owner_who_is_unknown_or_leaving_is_told() {
    let mut house = House::with(&[("104", true), ("105", true), ("106", true), ("107", true)]);
    let text =
        "guests: {104: {owner: ann}, 105: {owner: lea}, 106: {owner: leo}, 107: {owner: nobody}}\n";
    nothing(&house, text);
    let leaving =
        "is leaving: disabled in the roster, or past the last day; put somebody else into the row";
    assert_eq!(
        house.notes(text),
        [
            format!("105: its owner lea {leaving}"),
            format!("106: its owner leo {leaving}"),
            "107: its owner nobody is nobody in the roster; put somebody else into the row"
                .to_owned(),
        ]
    );
    // On the last day itself leo is still there.
    house.now = house.now.plus(-super::DAY);
    assert_eq!(house.notes(text).len(), 2);
}

/// H4: what muster made stays within the sizes and the memory that settings let it have; of others that is nobody's affair.
#[test]
fn what_muster_made_stays_within_its_sizes() {
    let text = "guests: {104: {cores: 2, memory: 2GiB}, 105: {cores: 3, memory: 3GiB}}\n";
    let mut house = House::with(&[("105", true)]);
    house.make("104", true);
    house.policy.create.sizes = vec![size(1, 512), size(2, 2048)];
    assert_eq!(house.told(text).1, []);
    house.policy.create.sizes = vec![size(1, 512)];
    let (_, held) = house.told(text);
    let expected = [
        ("guest.cores 104", "precondition"),
        ("guest.memory 104", "precondition"),
    ];
    assert_eq!(held, expected.map(|(step, code)| (step.to_owned(), code)));
    house.policy.create.sizes.clear();
    house.policy.create.memory = 2047;
    assert_eq!(
        house.why(text),
        "the guests that muster made would have 2GiB of memory together, and the settings let them have 2047MiB"
    );
}

/// GB8, H4, H7: a sentence says what becomes of the guest, and of what it holds.
#[test]
fn a_sentence_says_what_becomes_of_the_guest() {
    let sentences: Vec<String> = every_action()
        .into_iter()
        .map(|it| sentence(&it.into()))
        .collect();
    assert_eq!(
        sentences,
        [
            "record the identity of 104: root volume local-lvm:vm-104-disk-0, network card BC:24:11:00:00:01, id 0f2a",
            "start guest 104",
            "shut down guest 104",
            "stop guest 104 by force: it did not heed the shutdown",
            "set the cores of 104 from 1 to 2",
            "set the memory of 104 from 512MiB to 2GiB",
            "describe guest 104 as the shop…",
            "set the tags of 104 from old to new,shop",
            "start guest 104 with the hypervisor",
            "create guest 104, called web, of the template debian-13 on local-lvm, with a card in the network vmbr0, with 2 cores, with \
             memory of 2GiB",
            "discard guest 104, which muster made and nobody used (muster-0123456789abcdef)",
            "destroy guest 104: shut it down, back it up, try the backup, and set it aside for its time of grace; with it go in the end \
             local-lvm:vm-104-disk-0 (8GiB on local-lvm)",
            "overwrite guest 104 with the backup pbs:backup/104, once it is backed up itself; what is overwritten is \
             local-lvm:vm-104-disk-0 (8GiB on local-lvm)",
            "give guest 104 back as it was: called web, started with the hypervisor",
            "delete guest 104 for ever, with local-lvm:vm-104-disk-0 (8GiB on local-lvm); what stays is the backup pbs:backup/104",
            "note that guest 104 was used though it is set aside (it was started at 2026-11-30T08:00:00Z)",
        ]
    );
}
