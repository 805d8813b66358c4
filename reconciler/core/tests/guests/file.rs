//! Files of guests: what is read, and what is wrong with its place.

use muster_core::executor::Executor;
use muster_core::guests::desired::{Create, Desired, More, Origin, Overwrite, Run, Spot, Wanted};
use muster_core::guests::{file, normal};
use muster_core::rooms;
use serde_json::Value;

use super::{desired, files, pve1};

/// What is wrong in the file: `line:column rule`.
fn faults(text: &str) -> Vec<String> {
    let found = match rooms::read(&files(text), &pve1()) {
        Ok(_) => panic!("{text}"),
        Err(found) => found,
    };
    let place = |it: &muster_core::diagnostic::Diagnostic| {
        assert_eq!(it.file, "guests/pve1.yaml");
        let at = it.at.map_or_else(String::new, |at| format!("{at} "));
        format!("{at}{}", it.rule)
    };
    found.iter().map(place).collect()
}

/// G2, H3, H4: every field is optional, and what is not said is not managed.
#[test]
fn everything_that_can_be_said_of_a_guest_is_read() {
    let text = "\
guests:
  104:
    name: web
    run: running
    cores: 2
    memory: 2GiB
    disk: 8GiB
    description: \"the shop\\r\\nask ann\\r\\n\"
    tags: [shop, prod]
    onboot: true
    owner: ann
    create:
      template: debian-13
      storage: local-lvm
      network: vmbr0
      unprivileged: false
      nesting: true
      devices: [gpu]
    destroy: false
  web-1: {run: stopped, overwrite: {backup: \"pbs:backup/web-1\"}}
  old: {destroy: true}
  told: {}
  empty: {description: \"\"}
";
    let shop = Wanted {
        at: Spot::default(),
        run: Some(Run::Running),
        destroy: false,
        onboot: Some(true),
        cores: Some(2),
        memory: Some(2048),
        name: Some("web".into()),
        more: Some(Box::new(More {
            disk: Some(8 << 30),
            description: Some("the shop\nask ann".into()),
            tags: Some(["prod", "shop"].map(str::to_owned).into()),
            owner: Some("ann".into()),
            owner_at: Spot::default(),
            create: Some(Box::new(Create {
                origin: Origin::Template("debian-13".into()),
                storage: "local-lvm".into(),
                network: Some("vmbr0".into()),
                unprivileged: false,
                nesting: true,
                devices: ["gpu".to_owned()].into(),
            })),
            overwrite: None,
        })),
    };
    let overwritten = Wanted {
        run: Some(Run::Stopped),
        more: Some(Box::new(More {
            overwrite: Some(Overwrite {
                backup: "pbs:backup/web-1".into(),
            }),
            ..More::default()
        })),
        ..Wanted::default()
    };
    let old = Wanted {
        destroy: true,
        ..Wanted::default()
    };
    let empty = Wanted {
        more: Some(Box::new(More {
            description: Some(String::new()),
            ..More::default()
        })),
        ..Wanted::default()
    };
    let expected = [
        ("104", shop),
        ("web-1", overwritten),
        ("old", old),
        ("told", Wanted::default()),
        ("empty", empty),
    ];
    let expected = expected.map(|(name, wanted)| (name.to_owned(), wanted));
    assert_eq!(desired(text).guests, expected.into());
    for empty in ["guests:\n", "guests: {}\n", "{}\n", "~\n"] {
        assert_eq!(desired(empty), Desired::default(), "{empty:?}");
    }
}

/// H3: a file without a word is what a command leaves that failed, so it is told of; one that says that it names nobody is not.
#[test]
fn a_file_that_says_nothing_is_told_of() {
    for (text, is_told) in [
        ("", true),
        ("\n \n", true),
        ("# nobody\n", true),
        ("---\n", true),
        ("guests:\n", false),
        ("guests: {}\n", false),
        ("{}\n", false),
        ("~\n", false),
        ("guests: {104: {}}\n", false),
    ] {
        let files = files(text);
        let read = rooms::read(&files, &pve1());
        let (_, told) = read.unwrap_or_else(|it| panic!("{text:?}: {it:?}"));
        let told: Vec<_> = told.iter().map(|it| it.rule).collect();
        assert_eq!(told.contains(&"empty-file"), is_told, "{text:?}: {told:?}");
    }
}

/// G7, H3: memory is bytes or has a unit, and what is kept are whole MiB, rounded up.
#[test]
fn memory_is_kept_in_whole_mebibytes_rounded_up() {
    for (written, expected) in [
        ("512MiB", 512),
        ("2GiB", 2048),
        ("1TiB", 1 << 20),
        ("524288KiB", 512),
        ("536870912", 512),
        ("536870913", 513),
        ("536870911", 512),
        ("\"536870912\"", 512),
        ("16MiB", 16),
    ] {
        let text = format!("guests:\n  104: {{memory: {written}}}\n");
        let memory = desired(&text).guests["104"].memory;
        assert_eq!(memory, Some(expected), "{written}");
    }
    for (bytes, mebibytes) in [
        (0, 0),
        (1, 1),
        (1 << 20, 1),
        ((1 << 20) + 1, 2),
        (u64::MAX, 1 << 44),
    ] {
        assert_eq!(normal::mebibytes(bytes), mebibytes, "{bytes}");
    }
    for wrong in [
        "0",
        "512",
        "15MiB",
        "17TiB",
        "-1",
        "1.5GiB",
        "2 GiB",
        "2GB",
        "2gib",
        "0512MiB",
        "MiB",
        "99999999999999999999",
        "[1]",
        "18014398509481984KiB",
    ] {
        let text = format!("guests:\n  104: {{memory: {wrong}}}\n");
        let found = faults(&text);
        let known = ["2:17 memory", "2:17 wrong-type"];
        assert!(
            found.len() == 1 && known.contains(&found[0].as_str()),
            "{wrong}: {found:?}"
        );
    }
}

/// GB1: what would differ for ever is refused where it is written.
#[test]
fn a_description_that_would_never_stay_is_refused() {
    let long = "x".repeat(8192);
    let too_long = "x".repeat(8193);
    let umlauts = "\u{fc}".repeat(4097);
    for (description, good) in [
        ("0", false),
        ("0\\n", false),
        (" 0", true),
        ("00", true),
        ("# a line", true),
        ("100 %: gr\u{fc}n", true),
        ("a\\tb", true),
        ("a\\u0000b", false),
        ("a\\u001bb", false),
        (long.as_str(), true),
        (too_long.as_str(), false),
        (umlauts.as_str(), false),
    ] {
        let text = format!("guests:\n  104: {{description: \"{description}\"}}\n");
        let files = files(&text);
        let read = rooms::read(&files, &pve1());
        assert_eq!(read.is_ok(), good, "{description:.20}");
        if !good {
            assert_eq!(faults(&text).len(), 1, "{description:.20}");
            assert!(faults(&text)[0].contains("2:22 "), "{:?}", faults(&text));
        }
    }
}

/// H3: the schema that editors check with has every field that the reader knows, and asks for no other value.
#[test]
fn the_schema_knows_what_the_reader_knows() {
    let schema: Value = serde_json::from_str(&file::published()).unwrap();
    let row = &schema["properties"]["guests"]["additionalProperties"];
    let fields = row["properties"].as_object().unwrap();
    assert_eq!(fields.len(), 12);
    for field in fields.keys() {
        let found = faults(&format!("guests: {{104: {{{field}: [{{}}]}}}}\n"));
        assert!(
            found.iter().all(|it| !it.contains("unknown-field")),
            "{field}: {found:?}"
        );
        assert!(
            found.iter().any(|it| it.contains("wrong-type")),
            "{field}: {found:?}"
        );
    }
    let create = &fields["create"];
    assert_eq!(create["properties"].as_object().unwrap().len(), 8);
    assert_eq!(create["required"], serde_json::json!(["storage"]));
    assert_eq!(fields["cores"]["maximum"], 8192);
    assert_eq!(schema["additionalProperties"], false);
}

/// H3, H4: faults have their place, all of them are told at once, and each says what would be right.
#[test]
fn what_is_wrong_with_the_new_fields_has_its_place_and_its_rule() {
    for (text, expected) in [
        ("guests:\n  104: {cores: 0}\n", &["2:16 cores"][..]),
        ("guests:\n  104: {cores: 8193}\n", &["2:16 cores"]),
        ("guests:\n  104: {cores: \"2\"}\n", &["2:16 wrong-type"]),
        ("guests:\n  104: {cores: -1}\n", &["2:16 wrong-type"]),
        ("guests:\n  104: {name: a_b}\n", &["2:15 guest-name"]),
        ("guests:\n  104: {name: a..b}\n", &["2:15 guest-name"]),
        ("guests:\n  104: {owner: Ann}\n", &["2:16 os-user-form"]),
        ("guests:\n  104: {tags: [Shop]}\n", &["2:16 tag-form"]),
        (
            "guests:\n  104: {tags: [shop, shop]}\n",
            &["2:22 duplicate-entry"],
        ),
        ("guests:\n  104: {tags: shop}\n", &["2:15 wrong-type"]),
        // Marks are muster's own: a row can make nothing look like a guest of a trial (G13).
        (
            "guests:\n  104: {tags: [muster-0123456789abcdef]}\n",
            &["2:16 tag-form"],
        ),
        (
            "guests:\n  104: {create: {}}\n",
            &["2:17 create-from", "2:17 missing-field"],
        ),
        (
            "guests:\n  104: {create: {image: x, template: tt, storage: z}}\n",
            &["2:17 create-from"],
        ),
        (
            "guests:\n  104: {create: {image: x}}\n",
            &["2:17 missing-field"],
        ),
        (
            "guests:\n  104: {create: {image: \"a b\", storage: z}}\n",
            &["2:25 listed-form"],
        ),
        (
            "guests:\n  104: {create: {image: x, storage: z, cores: 1}}\n",
            &["2:40 unknown-field"],
        ),
        ("guests:\n  104: {overwrite: {}}\n", &["2:20 missing-field"]),
        ("guests:\n  104: {overwrite: true}\n", &["2:20 wrong-type"]),
        (
            "guests:\n  104: {destroy: true, overwrite: {backup: x}}\n",
            &["2:35 destroy-and-overwrite"],
        ),
        ("guests:\n  104: {replace: true}\n", &["2:9 unknown-field"]),
    ] {
        assert_eq!(faults(text), expected, "{text}");
    }
}

#[test]
fn each_fault_of_a_file_of_guests_has_its_place_and_its_rule() {
    for (text, expected) in [
        ("- 104\n", &["1:1 wrong-type"][..]),
        ("guests: 104\n", &["1:9 wrong-type"]),
        ("guests: [104]\n", &["1:9 wrong-type"]),
        ("guest: {}\n", &["1:1 unknown-field"]),
        ("guests: {}\nguests: {}\n", &["2:1 duplicate-key"]),
        ("guests:\n  104:\n", &["2:3 wrong-type"]),
        ("guests:\n  104: running\n", &["2:8 wrong-type"]),
        ("guests:\n  104: {run: maybe}\n", &["2:14 unknown-word"]),
        ("guests:\n  104: {run: [x]}\n", &["2:14 wrong-type"]),
        ("guests:\n  104: {destroy: yes}\n", &["2:18 wrong-type"]),
        (
            "guests:\n  104: {destroy: \"true\"}\n",
            &["2:18 wrong-type"],
        ),
        ("guests:\n  104: {core: 2}\n", &["2:9 unknown-field"]),
        (
            "guests:\n  104: {run: running, run: stopped}\n",
            &["2:23 duplicate-key"],
        ),
        (
            "guests:\n  104: {}\n  web: {}\n  104: {}\n",
            &["4:3 duplicate-entry"],
        ),
        ("guests:\n  \"\": {}\n", &["2:3 guest-form"]),
        ("guests:\n  we_b: {}\n", &["2:3 guest-form"]),
        // What is set aside, or tried, is begun by no row: that would go round the step that gives it back.
        (
            "guests:\n  aside-fd138d78-old: {run: running}\n",
            &["2:3 guest-form"],
        ),
        (
            "guests:\n  muster-0123456789abcdef: {}\n",
            &["2:3 guest-form"],
        ),
        ("guests:\n  -web: {}\n", &["2:3 guest-form"]),
        ("guests:\n  web-: {}\n", &["2:3 guest-form"]),
        ("guests:\n  ../104: {}\n", &["2:3 guest-form"]),
        // What could be the same number in another spelling.
        ("guests:\n  0104: {}\n", &["2:3 guest-form"]),
        ("guests:\n  1e2: {}\n", &["2:3 guest-form"]),
        (
            "guests:\n  a b: {core: 1}\n  104: {run: off, destroy: 1}\nmore: 1\n",
            &[
                "2:3 guest-form",
                "2:9 unknown-field",
                "3:14 ambiguous-scalar",
                "3:28 wrong-type",
                "4:1 unknown-field",
            ],
        ),
        ("guests:\n  104: {run: running\n", &["2:8 yaml-syntax"]),
    ] {
        assert_eq!(faults(text), expected, "{text}");
    }
    let found = match rooms::read(&files("guests:\n  104: {runs: 1}\n"), &pve1()) {
        Ok(_) => panic!("there is no such field"),
        Err(found) => found,
    };
    let problem = &found.iter().next().unwrap().problem;
    assert!(
        problem.contains("guest '104'") && problem.contains("'runs'"),
        "{problem}"
    );
}

#[test]
fn a_file_that_is_nearly_called_right_is_an_error_for_whom_it_is_meant() {
    let (other, host) = (
        Executor::Guests("pve2".into()),
        Executor::Host("pve1".into()),
    );
    for path in [
        "guests/pve1.yml",
        "guests/PVE1.yaml",
        "Guests/pve1.yaml",
        "GUESTS/PVE1.YML",
    ] {
        let mut files = files("guests: {}\n");
        files.insert(path.to_owned(), b"guests: 7\n".to_vec());
        let found = match rooms::read(&files, &pve1()) {
            Ok(_) => panic!("{path} passes silently"),
            Err(found) => found,
        };
        let told = found
            .iter()
            .map(|it| (&*it.file, it.rule, it.help.as_deref()));
        let expected = (path, "file-name", Some("rename it to guests/pve1.yaml"));
        assert_eq!(told.collect::<Vec<_>>(), [expected]);
        assert!(rooms::read(&files, &other).is_ok(), "{path}");
        assert!(rooms::read(&files, &host).is_ok(), "{path}");
        assert!(rooms::read_whole(&files, &[&host, &pve1()]).is_err());
        assert!(rooms::read_whole(&files, &[&host, &other]).is_ok());
    }
}

/// A file of very many guests with all that a row can say is read, however short the words in it are; one that would fill the memory
/// is not (F7).
#[test]
fn ten_thousand_guests_with_all_fields_are_read() {
    let rows = |row: &str| {
        let rows = (0..10_000).map(|it| format!("  {}: {row}\n", 100 + it));
        format!("guests:\n{}", rows.collect::<String>())
    };
    for row in [
        "{name: a, run: running, cores: 1, memory: 1GiB, disk: 1GiB, description: a, tags: [a, b, c], onboot: true, owner: ann,          create: {template: a, storage: a, network: a, unprivileged: true, nesting: true, devices: [a]}}",
        "{name: web1, run: running, cores: 2, memory: 2GiB, description: web, tags: [prod, web, db], onboot: true, owner: emo}",
        "{run: running, tags: [a, b, c, d, e, g], cores: 1, memory: 16MiB, description: a, onboot: true, name: a}",
        "{run: running}",
    ] {
        assert_eq!(desired(&rows(row)).guests.len(), 10_000, "{row}");
    }
}

/// H3: who answers for a guest and is nobody, or is leaving, is told where the file says so; it stops nobody.
#[test]
fn an_owner_who_is_not_to_be_counted_on_is_a_warning() {
    let row = |rest: &str| format!("{{authentik_user: {rest}, tier: power-user}}");
    let roster = format!(
        "users:\n  ann: {}\n  emo: {}\n",
        row("a.nn, k8s_user: ann"),
        row("e.mo, k8s_user: emo, disabled: true")
    );
    let text = "guests:\n  104: {owner: ann}\n  105: {owner: emo}\n  106: {owner: bob}\n";
    let files = [("roster.yaml", roster.as_str()), ("guests/pve1.yaml", text)];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
    let files = files.into();
    let (_, told) = rooms::read(&files, &pve1()).expect("a warning is no error");
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("guests/pve1.yaml:3:16")
            && told[0].contains("guest 105: owner: emo is leaving"),
        "{told:?}"
    );
    assert!(
        told[1].contains("guests/pve1.yaml:4:16")
            && told[1].contains("guest 106: owner: bob is nobody in the roster"),
        "{told:?}"
    );
}

/// F7: what a few bytes of a file may keep is bounded, and a hypervisor with thousands of guests in short rows is not what the bound is for.
#[test]
fn thousands_of_short_rows_are_read() {
    for row in ["{}", "{name: a}", "{run: running}"] {
        let rows = (100..8_100).map(|vmid| format!("  {vmid}: {row}\n"));
        let text = format!("guests:\n{}", rows.collect::<String>());
        let files = files(&text);
        let read = rooms::read(&files, &pve1());
        assert!(read.is_ok(), "{row}: {:?}", read.err());
    }
}
