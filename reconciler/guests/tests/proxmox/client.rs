//! Each call of the client, and each way in which an answer can be none.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_guests::Error;
use muster_guests::api::{
    Changes, Creation, GuestApi, Kind, Power, Progress, Restore, Source, Task,
};
use muster_guests::proxmox::{Proxmox, Token};
use muster_guests::trust::Trust;
use muster_guests::wire::Limits;
use serde_json::json;

use crate::proxy::{CREATE_TOKEN, Fault, Proxy, RELEASE_TOKEN, TOKEN};
use crate::{block_on, container, fakepve, limits, machine, open, place};

const MINUTE: Duration = Duration::from_secs(60);

/// H15: three requests for the run state of all, one more for each configuration.
#[test]
fn guests_are_read_in_three_requests() {
    let proxy = Proxy::start(
        &fakepve(),
        &json!([container(101, "running"), machine(200, "stopped")]),
    );
    let api = open(&proxy, TOKEN, limits());
    proxy.arm(None);
    let listing = block_on(api.list()).unwrap();
    assert_eq!(proxy.requests(), 3);
    assert!(listing.silent.is_empty());
    assert_eq!(listing.guests["101"].power, Some(Power::Running));
    assert_eq!(listing.guests["200"].power, Some(Power::Stopped));
    let read = block_on(api.config(&listing.guests["101"].place)).unwrap();
    assert_eq!(
        (read.cores, read.memory, read.privileged),
        (Some(2), Some(1024), false)
    );
    assert_eq!(read.volumes[0].id, "local-lvm:vm-101-disk-0");
    let read = block_on(api.config(&listing.guests["200"].place)).unwrap();
    assert_eq!((read.cores, read.memory), (Some(2), Some(2048)));
    assert!(read.uuid.is_some());
    // An idle tick is one request, and sees a start.
    proxy.arm(None);
    let before = block_on(api.pulse()).unwrap();
    assert_eq!(proxy.requests(), 1);
    assert_eq!(block_on(api.pulse()).unwrap(), before);
    block_on(api.start(&place(Kind::Machine, 200))).unwrap();
    assert_ne!(block_on(api.pulse()).unwrap(), before);
}

/// GB1: whatever is written as a description is read back as what a second look takes for the same.
#[test]
fn a_description_comes_back_as_what_was_written() {
    use muster_core::guests::normal::description;
    let proxy = Proxy::start(
        &fakepve(),
        &json!([container(101, "running"), machine(200, "running")]),
    );
    let api = open(&proxy, TOKEN, limits());
    let long = "x".repeat(8 * 1024);
    for place in [place(Kind::Container, 101), place(Kind::Machine, 200)] {
        for text in [
            "web",
            "two\nlines\n\n",
            "crlf\r\nends\r\n",
            "# hash",
            "50 %",
            "a: b",
            "Grüße",
            &long,
            "",
        ] {
            let text = description(text);
            let read = block_on(api.config(&place)).unwrap();
            let changes = Changes {
                description: Some(text.clone()),
                ..Changes::default()
            };
            block_on(api.set_config(&place, &changes, &read)).unwrap();
            let read = block_on(api.config(&place)).unwrap();
            assert_eq!(description(&read.description), text, "{place}");
        }
    }
}

/// H14: a write to what has changed since is refused as a conflict, and changes nothing.
#[test]
fn a_write_to_what_changed_since_is_a_conflict() {
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "running")]));
    let api = open(&proxy, TOKEN, limits());
    let place = place(Kind::Container, 101);
    let read = block_on(api.config(&place)).unwrap();
    let cores = |cores| Changes {
        cores: Some(cores),
        ..Changes::default()
    };
    block_on(api.set_config(&place, &cores(3), &read)).unwrap();
    let error = block_on(api.set_config(&place, &cores(4), &read)).unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert_eq!(block_on(api.config(&place)).unwrap().cores, Some(3));
    // What changes nothing is not sent at all.
    proxy.arm(None);
    block_on(api.set_config(&place, &Changes::default(), &read)).unwrap();
    assert_eq!(proxy.requests(), 0);
}

/// G25, H12: the end of a task is told as what it is: done, done with warnings, failed, not known, forgotten.
#[test]
fn a_task_ends_in_one_of_five_ways() {
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "stopped")]));
    let api = open(&proxy, TOKEN, limits());
    let place = place(Kind::Container, 101);
    for (end, progress) in [
        ("OK", Progress::Done(None)),
        (
            "WARNINGS: 1",
            Progress::Done(Some("WARNINGS: 1".to_owned())),
        ),
        (
            "container did not stop",
            Progress::Failed("container did not stop".to_owned()),
        ),
        (
            "unexpected status",
            Progress::Unknown("its end was not recorded there".to_owned()),
        ),
    ] {
        proxy.state().ends.push_back(end);
        let is_up = block_on(api.status(&place)).unwrap().power == Power::Running;
        let task = if is_up {
            block_on(api.stop(&place))
        } else {
            block_on(api.start(&place))
        };
        let task = task.unwrap().expect("a task");
        assert_eq!(block_on(api.wait(&task, MINUTE)).unwrap(), progress);
    }
    let found = block_on(api.tasks(&place)).unwrap();
    assert_eq!(found.len(), 4);
    proxy.state().forgetful = true;
    let forgotten = block_on(api.task_once(&found[0].task)).unwrap();
    assert!(matches!(forgotten, Progress::Unknown(_)), "{forgotten:?}");
    let strange = block_on(api.task_once(&Task("UPID:no".to_owned()))).unwrap();
    assert!(matches!(strange, Progress::Unknown(_)), "{strange:?}");
}

/// H11: what may have happened is told by what was seen of the connection, and the count of effects agrees with it.
#[test]
fn every_broken_answer_says_what_may_have_happened() {
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "running")]));
    let place = place(Kind::Container, 101);
    for fault in Fault::QUICK {
        let api = open(&proxy, TOKEN, limits());
        if block_on(api.status(&place)).unwrap().power == Power::Stopped {
            block_on(api.start(&place)).unwrap();
        }
        proxy.arm(Some((0, fault)));
        let error = block_on(api.stop(&place)).unwrap_err();
        let effects = proxy.effects("/status/stop");
        match (fault, &error) {
            (Fault::NotConnected, Error::NotSent { .. }) => assert_eq!(effects, 0),
            // The client cannot tell this one from the next.
            (Fault::CutBefore, Error::PerhapsExecuted { .. }) => assert_eq!(effects, 0),
            (
                Fault::CutAfter
                | Fault::HalfAnswer
                | Fault::BrokenAfter
                | Fault::LockAfter
                | Fault::NonsenseAfter,
                Error::PerhapsExecuted { .. },
            ) => assert_eq!(effects, 1),
            (fault, error) => panic!("{fault:?}: {error:?}"),
        }
        // The same for what only reads: never an effect, and always a reason in words.
        proxy.arm(Some((0, fault)));
        let error = block_on(api.config(&place)).unwrap_err();
        assert!(
            matches!(error, Error::Unreadable { .. } | Error::Refused { .. }),
            "{fault:?}: {error:?}"
        );
        assert!(!error.text().is_empty());
    }
    let patient = Limits {
        total: Duration::from_millis(300),
        ..limits()
    };
    let api = open(&proxy, TOKEN, patient);
    proxy.arm(Some((0, Fault::Silence)));
    let error = block_on(api.stop(&place)).unwrap_err();
    assert!(
        matches!(&error, Error::PerhapsExecuted { why, .. } if why.contains("0.3 s")),
        "{error}"
    );
    // An answer larger than allowed is none.
    let small = Limits {
        answer: 64,
        ..limits()
    };
    let error = block_on(open(&proxy, TOKEN, small).list()).unwrap_err();
    assert!(error.to_string().contains("more than 64 bytes"), "{error}");
    // Nobody there: nothing was sent.
    let trust = Trust::Authority(proxy.certificate.clone());
    let token = Token::parse(TOKEN).unwrap();
    let nobody = Proxmox::new("https://127.0.0.1:9", "pve1", &trust, &token, limits()).unwrap();
    let error = block_on(nobody.stop(&place)).unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }), "{error}");
}

/// H1: the certificate is the pinned one or signed by the named authority; everything else is no connection, and no token leaves.
#[test]
fn a_certificate_is_pinned_or_signed() {
    let proxy = Proxy::start(&fakepve(), &json!([]));
    let other = Proxy::start(&fakepve(), &json!([]));
    let token = Token::parse(TOKEN).unwrap();
    let client =
        |trust: &Trust| Proxmox::new(&proxy.url(), "pve1", trust, &token, limits()).unwrap();
    let pin = |proxy: &Proxy| {
        let der = std::process::Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(proxy.scratch().join("cert.pem"))
            .output()
            .unwrap();
        let text = String::from_utf8(der.stdout).unwrap();
        Trust::Pinned(text.trim().split_once('=').unwrap().1.parse().unwrap())
    };
    proxy.arm(None);
    block_on(client(&pin(&proxy)).server()).unwrap();
    block_on(client(&Trust::Authority(proxy.certificate.clone())).server()).unwrap();
    let seen = proxy.requests();
    for trust in [pin(&other), Trust::Authority(other.certificate.clone())] {
        let error = block_on(client(&trust).server()).unwrap_err();
        assert!(matches!(error, Error::NotSent { .. }), "{error}");
        let (why, cure) = match trust {
            Trust::Pinned(_) => ("is pinned", "put its fingerprint into the settings"),
            Trust::Authority(_) => ("not signed by what `ca` names", "by `fingerprint`"),
        };
        let error = error.to_string();
        assert!(error.contains(why) && error.contains(cure), "{error}");
        assert!(!error.contains("unexpected"), "{error}");
    }
    assert_eq!(proxy.requests(), seen);
    let secret = TOKEN.split_once('=').unwrap().1;
    let api = client(&pin(&proxy));
    assert!(!format!("{api:?} {token:?}").contains(secret));
}

/// GB9, H9: what is refused names path and privilege; the everyday token cannot delete, and the other two can as far as they go.
#[test]
fn each_token_does_what_it_may() {
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "stopped")]));
    let everyday = open(&proxy, TOKEN, limits());
    let create = open(&proxy, CREATE_TOKEN, limits());
    let release = open(&proxy, RELEASE_TOKEN, limits());
    let first = place(Kind::Container, 101);
    let error = block_on(everyday.destroy(&first)).unwrap_err();
    assert!(
        matches!(&error, Error::Refused { code: 403, text, .. } if text.contains("/vms/101, VM.Allocate")),
        "{error}"
    );
    let creation = Creation {
        place: place(Kind::Container, 300),
        from: Source::Template("local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst".to_owned()),
        name: Some("made".to_owned()),
        storage: "local-lvm".to_owned(),
        disk: None,
        network: Some("vmbr0".to_owned()),
        pool: Some("scratch".to_owned()),
        unprivileged: true,
        nesting: false,
        devices: std::collections::BTreeMap::new(),
        cores: Some(1),
        memory: Some(256),
        description: Some("made by muster".to_owned()),
        tags: BTreeSet::from(["muster-1".to_owned()]),
        onboot: false,
    };
    let error = block_on(everyday.create(&creation)).unwrap_err();
    assert!(matches!(error, Error::Refused { code: 403, .. }), "{error}");
    let outside = Creation {
        pool: None,
        ..creation.clone()
    };
    let error = block_on(create.create(&outside)).unwrap_err();
    assert!(matches!(error, Error::Refused { code: 403, .. }), "{error}");
    let task = block_on(create.create(&creation)).unwrap().unwrap();
    assert_eq!(
        block_on(create.wait(&task, MINUTE)).unwrap(),
        Progress::Done(None)
    );
    let read = block_on(create.config(&creation.place)).unwrap();
    assert_eq!((read.cores, read.memory), (Some(1), Some(256)));
    assert_eq!(read.tags, creation.tags);
    assert_eq!(block_on(create.free_id("300")).unwrap(), "100");
    // A second creation under that number is none.
    let again = block_on(create.create(&creation)).unwrap_err();
    assert!(
        matches!(again, Error::PerhapsExecuted { .. } | Error::Refused { .. }),
        "{again}"
    );
    let error = block_on(create.destroy(&first)).unwrap_err();
    assert!(matches!(error, Error::Refused { code: 403, .. }), "{error}");
    // Backup, and a copy of it beside the original.
    let task = block_on(release.backup(&first, "local", "muster-step"))
        .unwrap()
        .unwrap();
    block_on(release.wait(&task, MINUTE)).unwrap();
    assert_eq!(
        block_on(release.keep(&first, "local", "another")).unwrap(),
        None
    );
    let backup = block_on(release.keep(&first, "local", "muster-step"))
        .unwrap()
        .unwrap();
    let restore = Restore {
        place: place(Kind::Container, 301),
        backup: backup.id,
        storage: Some("local-lvm".to_owned()),
        pool: Some("scratch".to_owned()),
        unique: true,
        replace: false,
        tags: BTreeSet::new(),
    };
    // What is in a backup is its guest's: the token that makes guests in one pool may not read it.
    let error = block_on(create.restore(&restore)).unwrap_err();
    assert!(error.to_string().contains("/vms/101, VM.Backup"), "{error}");
    let task = block_on(release.restore(&restore)).unwrap().unwrap();
    assert_eq!(
        block_on(create.wait(&task, MINUTE)).unwrap(),
        Progress::Done(None)
    );
    let copy = block_on(create.config(&restore.place)).unwrap();
    let original = block_on(everyday.config(&first)).unwrap();
    assert_eq!(copy.memory, original.memory);
    assert_ne!(copy.mac, original.mac);
    let bare = Changes {
        without_cards: true,
        onboot: Some(false),
        ..Changes::default()
    };
    block_on(create.set_config(&restore.place, &bare, &copy)).unwrap();
    assert!(
        block_on(create.config(&restore.place))
            .unwrap()
            .cards
            .is_empty()
    );
    for (api, place) in [(&create, &restore.place), (&release, &first)] {
        let task = block_on(api.destroy(place)).unwrap().unwrap();
        assert_eq!(
            block_on(api.wait(&task, MINUTE)).unwrap(),
            Progress::Done(None)
        );
        assert!(block_on(release.config(place)).unwrap_err().is_gone());
    }
    let wrong = open(&proxy, "muster@pve!everyday=0", limits());
    let error = block_on(wrong.list()).unwrap_err();
    assert!(
        error.to_string().contains("the token is not accepted"),
        "{error}"
    );
    let granted = block_on(everyday.permissions()).unwrap().granted;
    assert!(granted["/vms"].contains("VM.PowerMgmt"));
}

/// GB4: a node that does not answer makes its guests unknown and nothing else.
#[test]
fn a_silent_node_costs_nobody_else_anything() {
    let mut elsewhere = container(102, "running");
    elsewhere["node"] = json!("pve2");
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "running"), elsewhere]));
    let api = open(&proxy, TOKEN, limits());
    let listing = block_on(api.list()).unwrap();
    assert_eq!(listing.guests["102"].place.node, "pve2");
    assert_eq!(listing.guests["102"].power, Some(Power::Running));
    proxy.state().silent.insert("pve2".to_owned());
    let listing = block_on(api.list()).unwrap();
    assert_eq!(listing.guests["101"].power, Some(Power::Running));
    assert_eq!(listing.guests["102"].power, None);
    assert_eq!(listing.silent.keys().collect::<Vec<_>>(), ["pve2"]);
    let error = block_on(api.start(&listing.guests["102"].place)).unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }), "{error}");
    proxy.state().silent.insert("pve1".to_owned());
    let listing = block_on(api.list()).unwrap();
    assert_eq!(listing.guests["101"].power, None);
}
