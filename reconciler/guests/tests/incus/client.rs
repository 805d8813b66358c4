//! Each call of the client.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use muster_guests::Error;
use muster_guests::api::{
    Changes, Creation, GuestApi, Place, Power, Progress, Restore, Source, Task,
};
use muster_guests::incus::{Entrance, Incus};
use muster_guests::trust::{ClientCertificate, Trust};
use muster_guests::wire::Limits;

use crate::relay::{Fault, Relay};
use crate::{Container, block_on, finish, incus, limits, open, socket};

const MINUTE: Duration = Duration::from_secs(60);

/// H5, GB10: a container is started, told apart, sized while it runs, and shut down; what nobody asked for stays.
#[test]
fn a_container_lives() {
    let scratch = tempfile::tempdir().unwrap();
    let api = open(&socket(), scratch.path());
    let guest = Container::new("lives");
    let place = guest.place();
    incus(&[
        "config",
        "set",
        "lives",
        "user.other=kept",
        "boot.stop.priority=7",
    ]);
    let listing = block_on(api.list()).unwrap();
    let listed = &listing.guests["lives"];
    assert_eq!(
        (&listed.place, &listed.power),
        (&place, &Some(Power::Stopped))
    );
    let uuid = listed.config.as_ref().unwrap().uuid.clone();
    assert!(uuid.is_some());
    finish(&api, block_on(api.start(&place)));
    assert_eq!(block_on(api.status(&place)).unwrap().power, Power::Running);

    let read = block_on(api.config(&place)).unwrap();
    assert_eq!((read.cores, read.memory), (None, None));
    let changes = Changes {
        cores: Some(1),
        memory: Some(64),
        description: Some("two\nlines".to_owned()),
        tags: Some(BTreeSet::from(["a".to_owned(), "b".to_owned()])),
        onboot: Some(true),
        ..Changes::default()
    };
    finish(&api, block_on(api.set_config(&place, &changes, &read)));
    let read = block_on(api.config(&place)).unwrap();
    assert_eq!(
        (read.cores, read.memory, read.onboot),
        (Some(1), Some(64), true)
    );
    assert_eq!(
        (read.description.as_str(), read.tags.len()),
        ("two\nlines", 2)
    );
    assert_eq!(read.uuid, uuid);
    // A write that says nothing of the description leaves it; Incus 6.0 empties it by itself.
    let less = Changes {
        tags: Some(BTreeSet::new()),
        ..Changes::default()
    };
    finish(&api, block_on(api.set_config(&place, &less, &read)));
    let read = block_on(api.config(&place)).unwrap();
    assert_eq!(
        (read.description.as_str(), read.tags.len()),
        ("two\nlines", 0)
    );
    assert_eq!(
        incus(&["config", "get", "lives", "user.other"]).trim(),
        "kept"
    );
    assert_eq!(
        incus(&["config", "get", "lives", "boot.stop.priority"]).trim(),
        "7"
    );
    // The limit is where it counts: in the control group of the container.
    let limit = Command::new("sh")
        .args([
            "-c",
            "find /sys/fs/cgroup -path '*lxc.payload.lives/memory.*' \\( -name memory.max -o -name memory.limit_in_bytes \\) -exec cat {} +",
        ])
        .output()
        .unwrap();
    let limit = String::from_utf8(limit.stdout).unwrap();
    assert_eq!(limit.trim(), (64 << 20).to_string());

    finish(
        &api,
        block_on(api.shutdown(&place, Duration::from_secs(10), false)),
    );
    assert_eq!(block_on(api.status(&place)).unwrap().power, Power::Stopped);
}

/// H14: a write shows what it read, and is refused when another came between.
#[test]
fn a_write_to_what_changed_since_is_a_conflict() {
    let scratch = tempfile::tempdir().unwrap();
    let api = open(&socket(), scratch.path());
    let guest = Container::new("conflict");
    let read = block_on(api.config(&guest.place())).unwrap();
    incus(&["config", "set", "conflict", "limits.memory=1GB"]);
    let changes = Changes {
        memory: Some(128),
        ..Changes::default()
    };
    let error = block_on(api.set_config(&guest.place(), &changes, &read)).unwrap_err();
    assert!(error.is_conflict(), "{error}");
    let read = block_on(api.config(&guest.place())).unwrap();
    assert_eq!(read.memory, Some(954), "1 GB is 953.7 MiB, rounded up");
    finish(
        &api,
        block_on(api.set_config(&guest.place(), &changes, &read)),
    );
    assert_eq!(
        block_on(api.config(&guest.place())).unwrap().memory,
        Some(128)
    );
}

/// G25, GB11: an operation is forgotten within seconds, and that is no failure; one that failed says why.
#[test]
fn an_operation_that_is_forgotten_is_no_failure() {
    let scratch = tempfile::tempdir().unwrap();
    let api = open(&socket(), scratch.path());
    let guest = Container::new("forgotten");
    let place = guest.place();
    let nobody = Task("f455962e-77bd-4cd2-b8d8-a45689b41557".to_owned());
    assert!(matches!(
        block_on(api.task_once(&nobody)).unwrap(),
        Progress::Unknown(_)
    ));
    assert!(matches!(
        block_on(api.wait(&nobody, MINUTE)).unwrap(),
        Progress::Unknown(_)
    ));
    let task = block_on(api.start(&place)).unwrap().unwrap();
    assert_eq!(
        block_on(api.wait(&task, MINUTE)).unwrap(),
        Progress::Done(None)
    );
    let found = block_on(api.tasks(&place)).unwrap();
    assert_eq!(found[0].task, task);
    let again = block_on(api.start(&place)).unwrap().unwrap();
    let progress = block_on(api.wait(&again, MINUTE)).unwrap();
    assert!(
        matches!(&progress, Progress::Failed(why) if why.contains("already running")),
        "{progress:?}"
    );
    // What does not heed a request to shut down runs on, and is stopped by force.
    incus(&[
        "exec",
        "forgotten",
        "--",
        "sh",
        "-c",
        "echo > /stubborn; kill -STOP -1",
    ]);
    finish(&api, block_on(api.stop(&place)));
    finish(&api, block_on(api.start(&place)));
    let task = block_on(api.shutdown(&place, Duration::from_secs(1), false))
        .unwrap()
        .unwrap();
    assert!(matches!(
        block_on(api.wait(&task, MINUTE)).unwrap(),
        Progress::Failed(_)
    ));
    assert_eq!(block_on(api.status(&place)).unwrap().power, Power::Running);
    finish(&api, block_on(api.stop(&place)));
    assert_eq!(block_on(api.status(&place)).unwrap().power, Power::Stopped);
}

/// H4, H7: made, backed up, restored beside itself, renamed, protected, and removed; the backup outlives it.
#[test]
fn a_backup_outlives_its_container() {
    let scratch = tempfile::tempdir().unwrap();
    let api = open(&socket(), scratch.path());
    let first = Container::named("outlived", "default");
    let creation = Creation {
        place: first.place(),
        from: Source::Image("tiny".to_owned()),
        name: None,
        storage: "default".to_owned(),
        disk: None,
        network: None,
        pool: Some("default".to_owned()),
        unprivileged: true,
        nesting: false,
        devices: BTreeMap::from([("eth0".to_owned(), "type=nic,nictype=p2p".to_owned())]),
        cores: None,
        memory: Some(64),
        description: Some("made here".to_owned()),
        tags: BTreeSet::from(["muster-0".to_owned()]),
        onboot: true,
    };
    finish(&api, block_on(api.create(&creation)));
    let again = block_on(api.create(&creation));
    assert!(
        match again {
            Ok(Some(task)) => matches!(
                block_on(api.wait(&task, MINUTE)).unwrap(),
                Progress::Failed(_)
            ),
            Ok(None) => false,
            Err(_) => true,
        },
        "a second one under that name is none"
    );
    let read = block_on(api.config(&first.place())).unwrap();
    assert_eq!(
        (read.memory, read.cards.len(), read.onboot),
        (Some(64), 1, true)
    );
    assert!(read.tags.contains("muster-0"));
    incus(&["snapshot", "create", "outlived", "before"]);
    let volumes = block_on(api.config(&first.place())).unwrap().volumes;
    let ids: Vec<&str> = volumes.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["default/outlived", "default/outlived/before"]);
    let listing = block_on(api.list()).unwrap();
    assert_eq!(
        listing.guests["outlived"].config.as_ref().unwrap().volumes,
        volumes
    );

    finish(
        &api,
        block_on(api.backup(&first.place(), "", "muster-step")),
    );
    assert_eq!(
        block_on(api.keep(&first.place(), "", "another")).unwrap(),
        None
    );
    let backup = block_on(api.keep(&first.place(), "", "muster-step"))
        .unwrap()
        .unwrap();
    assert!(backup.size > 100_000, "{backup:?}");
    assert_eq!(
        block_on(api.keep(&first.place(), "", "muster-step"))
            .unwrap()
            .unwrap(),
        backup
    );

    let copy = Container::named("outlived-trial", "scratch");
    let restore = Restore {
        place: copy.place(),
        backup: backup.id.clone(),
        storage: Some("default".to_owned()),
        pool: Some("scratch".to_owned()),
        unique: true,
        replace: false,
        tags: BTreeSet::new(),
    };
    finish(&api, block_on(api.restore(&restore)));
    let read = block_on(api.config(&copy.place())).unwrap();
    let bare = Changes {
        without_cards: true,
        onboot: Some(false),
        ..Changes::default()
    };
    finish(&api, block_on(api.set_config(&copy.place(), &bare, &read)));
    let read = block_on(api.config(&copy.place())).unwrap();
    assert!(read.cards.is_empty() && !read.onboot);
    finish(&api, block_on(api.start(&copy.place())));
    let listing = block_on(api.list()).unwrap();
    assert_eq!(
        listing.guests["outlived-trial"].pool.as_deref(),
        Some("scratch")
    );
    let error = block_on(api.destroy(&copy.place()));
    assert!(
        match error {
            Ok(Some(task)) => matches!(
                block_on(api.wait(&task, MINUTE)).unwrap(),
                Progress::Failed(_)
            ),
            Ok(None) => false,
            Err(error) => error.text().contains("running"),
        },
        "what runs is not removed"
    );
    finish(&api, block_on(api.stop(&copy.place())));
    finish(&api, block_on(api.destroy(&copy.place())));

    // Set aside: another name, protected.
    finish(&api, block_on(api.rename(&first.place(), "outlived-aside")));
    let aside = Container::named("outlived-aside", "default");
    let read = block_on(api.config(&aside.place())).unwrap();
    let protect = Changes {
        protection: Some(true),
        ..Changes::default()
    };
    finish(
        &api,
        block_on(api.set_config(&aside.place(), &protect, &read)),
    );
    let refused = match block_on(api.destroy(&aside.place())) {
        Ok(Some(task)) => matches!(
            block_on(api.wait(&task, MINUTE)).unwrap(),
            Progress::Failed(_)
        ),
        Ok(None) => false,
        Err(_) => true,
    };
    assert!(refused, "what is protected is not removed");
    let read = block_on(api.config(&aside.place())).unwrap();
    let open_up = Changes {
        protection: Some(false),
        ..Changes::default()
    };
    finish(
        &api,
        block_on(api.set_config(&aside.place(), &open_up, &read)),
    );
    finish(&api, block_on(api.destroy(&aside.place())));
    assert!(block_on(api.config(&aside.place())).unwrap_err().is_gone());
    // And back, out of what stayed.
    let back = Restore {
        place: first.place(),
        backup: backup.id,
        storage: None,
        pool: None,
        unique: false,
        replace: false,
        tags: BTreeSet::new(),
    };
    finish(&api, block_on(api.restore(&back)));
    assert_eq!(
        block_on(api.config(&first.place())).unwrap().description,
        "made here"
    );
    // A backup is a file of ours, and no other file is taken for one.
    let elsewhere = Restore {
        backup: "/etc/hostname".to_owned(),
        place: Place {
            id: "never".to_owned(),
            ..first.place()
        },
        ..back
    };
    assert!(matches!(
        block_on(api.restore(&elsewhere)).unwrap_err(),
        Error::NotSent { .. }
    ));
}

/// H11: a connection that breaks says what may have happened, and the guest's state agrees.
#[test]
fn every_broken_answer_says_what_may_have_happened() {
    let scratch = tempfile::tempdir().unwrap();
    let direct = open(&socket(), scratch.path());
    let relay = Relay::start(&socket(), &scratch.path().join("relay"));
    let api = open(relay.socket(), scratch.path());
    let guest = Container::new("broken");
    let place = guest.place();
    for fault in Fault::QUICK {
        relay.arm(Some((0, fault)));
        let error = block_on(api.start(&place)).unwrap_err();
        assert!(
            matches!(error, Error::PerhapsExecuted { .. }),
            "{fault:?}: {error}"
        );
        let effects = relay.effects("/state");
        assert_eq!(effects, usize::from(fault != Fault::CutBefore), "{fault:?}");
        for found in block_on(direct.tasks(&place)).unwrap() {
            block_on(direct.wait(&found.task, MINUTE)).unwrap();
        }
        let power = block_on(direct.status(&place)).unwrap().power;
        assert_eq!(power == Power::Running, effects == 1, "{fault:?}");
        relay.arm(Some((0, fault)));
        let error = block_on(api.config(&place)).unwrap_err();
        assert!(
            matches!(error, Error::Unreadable { .. }),
            "{fault:?}: {error}"
        );
        if power == Power::Running {
            finish(&direct, block_on(direct.stop(&place)));
        }
    }
    let nobody = open(&scratch.path().join("none"), scratch.path());
    let error = block_on(nobody.start(&place)).unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }), "{error}");
}

/// H1, H9: elsewhere the server is known by its certificate and we by ours, which reaches the projects that it was given.
#[test]
fn a_certificate_reaches_the_projects_it_was_given() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "30",
            "-subj",
            "/CN=muster",
            "-keyout",
            &path("key"),
            "-out",
            &path("cert"),
        ])
        .output()
        .unwrap();
    assert!(made.status.success());
    let client = ClientCertificate {
        certificate: std::fs::read(path("cert")).unwrap(),
        key: std::fs::read(path("key")).unwrap().into(),
    };
    let address = std::env::var("MUSTER_INCUS_URL").unwrap();
    let server = std::fs::read(std::env::var("MUSTER_INCUS_CERTIFICATE").unwrap()).unwrap();
    let fingerprint = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(std::env::var("MUSTER_INCUS_CERTIFICATE").unwrap())
        .output()
        .unwrap();
    let fingerprint = String::from_utf8(fingerprint.stdout).unwrap();
    let pinned = Trust::Pinned(
        fingerprint
            .trim()
            .split_once('=')
            .unwrap()
            .1
            .parse()
            .unwrap(),
    );
    let open = |trust: &Trust, project: &str| {
        let entrance = Entrance {
            address: &address,
            project,
            scratch: None,
            trust: Some(trust),
            client: Some(&client),
            backups: scratch.path().to_owned(),
        };
        Incus::new(entrance, Limits { ..limits() }).unwrap()
    };
    let api = open(&pinned, "other");
    // Not known there yet: the server says so, and nothing else.
    let permissions = block_on(api.permissions()).unwrap();
    assert!(!permissions.everything && permissions.granted.is_empty());
    let error = block_on(api.list()).unwrap_err();
    assert!(
        error.to_string().contains("incus config trust list"),
        "{error}"
    );
    incus(&[
        "config",
        "trust",
        "add-certificate",
        &path("cert"),
        "--restricted",
        "--projects",
        "other",
    ]);
    assert!(block_on(api.list()).unwrap().guests.is_empty());
    let permissions = block_on(api.permissions()).unwrap();
    assert_eq!(permissions.granted.keys().collect::<Vec<_>>(), ["other"]);
    assert!(!permissions.everything);
    assert!(block_on(open(&pinned, "default").list()).is_err());
    // Its own certificate is no authority for another name, and a wrong pin is none.
    let wrong = Trust::Pinned("00".repeat(32).parse().unwrap());
    let error = block_on(open(&wrong, "other").list()).unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }), "{error}");
    drop(block_on(open(&Trust::Authority(server), "other").list()));
    let known = client.fingerprint().unwrap();
    incus(&["config", "trust", "remove", &known]);
    let direct = crate::open(&socket(), scratch.path());
    assert!(block_on(direct.permissions()).unwrap().everything);
    assert_eq!(
        block_on(direct.server()).unwrap().version.split('.').next(),
        Some("6")
    );
}
