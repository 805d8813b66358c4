//! Removals on a scratch root: by core's own words for what came of them, killed at every point, and back again.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use muster_core::accounts::action::HomeSource;
use muster_core::accounts::observed::{Home, Question, Subject as Asked};
use muster_core::accounts::policy::Policy;
use muster_core::executor::Executor;
use muster_core::journal::StepResult;
use muster_core::rooms;
use muster_core::settle::settle;
use muster_core::step::Step;
use muster_core::world::{Unwatched, World as _};
use rustix::fs::XattrFlags;

use super::checks::quiet;
use super::quarantine::QUARANTINE;
use super::*;
use crate::HostSettings;
use crate::homes::Homes;
use crate::sessions::{Claims, Owner, Processes};
use crate::traces::Whose;

const UID: u32 = 61_234;
const AT: Time = Time(1_795_305_600);
const SUBIDS: IdRange = IdRange {
    first: 200_000,
    count: 65_536,
};

struct Machine {
    scratch: tempfile::TempDir,
    host: Host,
    entry: StepId,
}

fn machine() -> Machine {
    let scratch = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = scratch.path().join("root").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    };
    put(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nada:x:61235:61235::/home/ada:/bin/zsh\n\
         emo:x:61234:61234::/home/emo:/usr/sbin/nologin\n",
    );
    put(
        "etc/shadow",
        "root:*:20000:0:99999:7:::\nada:!:20000:0:99999:7:::\nemo:!$y$x:20000:0:99999:7::1:\n",
    );
    put(
        "etc/group",
        "root:x:0:\ndocker:x:998:ada,emo\nada:x:61235:\nemo:x:61234:\n",
    );
    put(
        "etc/gshadow",
        "root:*::\ndocker:!:emo:ada,emo\nada:!::\nemo:!::\n",
    );
    put("etc/subuid", "ada:100000:65536\nemo:200000:65536\n");
    put("etc/subgid", "ada:100000:65536\nemo:200000:65536\n");
    put("etc/login.defs", "HOME_MODE 0700\n");
    put("home/emo/notes", "work\n");
    put("home/emo/dir/more", "more work\n");
    put("home/ada/hers", "hers");
    let home = scratch.path().join("root/home/emo");
    if nix::unistd::geteuid().is_root() {
        for path in ["", "notes", "dir", "dir/more"] {
            nix::unistd::chown(&home.join(path), Some(UID.into()), Some(UID.into())).unwrap();
        }
    }
    let settings = HostSettings::new(&scratch.path().join("root"), &scratch.path().join("saved"));
    let host = Host::open(settings).unwrap();
    let entry = "0123456789abcdef0123456789abcdef".parse().unwrap();
    Machine {
        scratch,
        host,
        entry,
    }
}

impl Machine {
    fn path(&self, path: &str) -> PathBuf {
        self.scratch.path().join("root").join(path)
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    fn shelf(&self) -> PathBuf {
        self.path(&format!("home/{QUARANTINE}/{UID}.{}", self.entry))
    }

    fn archive(&self) -> PathBuf {
        self.scratch
            .path()
            .join("archives")
            .join(archive_name(UID, self.entry))
    }

    fn home_id(&self) -> HomeId {
        match Homes::new(&self.host.dir, &self.host.root).look("/home/emo", Some(UID)) {
            Reading::Known(Home::Directory(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    fn step(&self, home_id: &HomeId) -> Step {
        let action = Action::ArchiveDelete {
            more: Default::default(),
            user: "emo".into(),
            uid: UID,
            home: "/home/emo".into(),
            home_id: Some(home_id.clone()),
            gid: UID,
            subuid: Some(SUBIDS),
            subgid: Some(SUBIDS),
        };
        let incarnation = Incarnation::Home {
            uid: UID,
            entry: self.entry,
            home: Some(Box::new(home_id.clone())),
        };
        Step::new(&Executor::Host("devvm".into()), action, incarnation)
    }

    fn removal<'a>(&self, home_id: &'a HomeId) -> Removal<'a> {
        Removal {
            user: "emo",
            uid: UID,
            gid: UID,
            home: "/home/emo",
            home_id: Some(home_id),
            subuid: Some(SUBIDS),
            subgid: Some(SUBIDS),
            entry: self.entry,
        }
    }

    fn remove(&self, home_id: &HomeId) -> Result<(), String> {
        self.host
            .archive_delete(&self.removal(home_id), AT, &mut |_| {}, &mut |_, _| {})
    }

    /// What the world shows of a step.
    fn settled(&mut self, step: &Step) -> StepResult {
        let mut question = Question::default();
        let kept = KeptOf {
            uid: UID,
            gid: UID,
            entry: self.entry,
        };
        let asked = Asked {
            home: Some("/home/emo"),
            kept: Some(kept),
            ..Asked::default()
        };
        question.people.insert("emo", asked);
        let observed = self.host.observe(&question.into()).unwrap();
        let policy = Policy::for_host("devvm").into();
        let nobody = rooms::Known::new(step.action.executor_kind());
        let price = rooms::price(&step.action, &policy, None, &nobody);
        settle(step, &price, &observed, &policy, &nobody, None)
    }

    fn is_untouched(&self) -> bool {
        self.text("home/emo/notes") == "work\n"
            && self.text("etc/passwd").contains("emo")
            && !self.shelf().exists()
    }
}

#[test]
fn a_home_is_archived_and_every_trace_of_the_account_goes() {
    let mut it = machine();
    let id = it.home_id();
    let step = it.step(&id);
    assert_eq!(it.settled(&step), StepResult::NotBegun);
    it.remove(&id).unwrap();
    for file in ["passwd", "shadow", "group", "gshadow", "subuid", "subgid"] {
        assert!(!it.text(&format!("etc/{file}")).contains("emo"), "{file}");
        assert!(it.text(&format!("etc/{file}")).contains("ada"), "{file}");
    }
    assert!(!it.path("home/emo").exists());
    assert_eq!(it.text("home/ada/hers"), "hers");
    assert_eq!(
        std::fs::read_to_string(it.shelf().join("home/notes")).unwrap(),
        "work\n"
    );
    assert_eq!(
        std::fs::metadata(it.path(&format!("home/{QUARANTINE}")))
            .unwrap()
            .mode()
            & 0o7777,
        0o700
    );
    let verified = crate::archive::verify(&it.archive(), &mut |_, _| {}).unwrap();
    assert_eq!(
        (verified.entries, verified.subject.user.as_str()),
        (4, "emo")
    );
    assert_eq!(it.settled(&step), StepResult::Done);
    // Once more is nothing more.
    it.remove(&id).unwrap();
    assert_eq!(it.settled(&step), StepResult::Done);
}

#[test]
fn a_kill_at_any_point_of_a_removal_ends_in_done_and_loses_nothing() {
    let clean = machine();
    let id = clean.home_id();
    let mut points = Vec::new();
    clean
        .host
        .archive_delete(
            &clean.removal(&id),
            AT,
            &mut |point| points.push(point),
            &mut |_, _| {},
        )
        .unwrap();
    assert!(points.len() >= 12, "{points:?}");
    for killed in points {
        let mut it = machine();
        let id = it.home_id();
        let step = it.step(&id);
        let mut at = |point: &'static str| {
            if point == killed {
                std::panic::resume_unwind(Box::new("killed"));
            }
        };
        let removal = it.removal(&id);
        let run = std::panic::AssertUnwindSafe(|| {
            it.host
                .archive_delete(&removal, AT, &mut at, &mut |_, _| {})
        });
        assert!(std::panic::catch_unwind(run).is_err(), "{killed}");
        let there = it.path("home/emo/notes").exists();
        let aside = it.shelf().join("home/notes").exists();
        assert!(there ^ aside, "{killed}");
        let before = it.settled(&step);
        let account = it.text("etc/passwd").contains("emo");
        match &before {
            StepResult::NotBegun => assert!(there && account, "{killed}"),
            StepResult::Unfinished(why) => {
                assert!(aside && why.contains("interrupted"), "{killed}: {why}")
            }
            StepResult::Done => assert!(aside && !account && it.archive().exists(), "{killed}"),
            StepResult::Failed(why)
            | StepResult::NeedsOperator(why)
            | StepResult::Overtaken(why) => panic!("{killed}: {why}"),
        }
        // The account goes only when the archive is in place.
        assert!(
            account || crate::archive::verify(&it.archive(), &mut |_, _| {}).is_ok(),
            "{killed}"
        );
        it.remove(&id).unwrap();
        assert_eq!(it.settled(&step), StepResult::Done, "{killed}");
        let left = std::fs::read_dir(it.scratch.path().join("archives"))
            .unwrap()
            .count();
        assert_eq!(left, 2, "{killed}");
    }
}

#[test]
fn jobs_of_at_are_saved_and_gone_and_those_of_others_stay() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let it = machine();
    let id = it.home_id();
    let spool = "var/spool/cron/atjobs";
    std::fs::create_dir_all(it.path(spool)).unwrap();
    for (name, uid, text) in [
        ("a0000101c9a3f0", UID, "rm -rf /home/next\n"),
        ("=0000201c9a3f0", UID, "one that runs\n"),
        ("a0000301c9a3f0", UID + 1, "ada's\n"),
        (".SEQ", 1, "3\n"),
    ] {
        let path = it.path(spool).join(name);
        std::fs::write(&path, text).unwrap();
        nix::unistd::chown(&path, Some(uid.into()), None).unwrap();
    }
    // The second cut's save is what they lie beside.
    std::fs::create_dir_all(it.scratch.path().join(format!("saved/{UID}.1"))).unwrap();
    std::fs::create_dir_all(it.scratch.path().join(format!("saved/{UID}.2"))).unwrap();
    it.remove(&id).unwrap();
    let names = |path: PathBuf| {
        let entries = std::fs::read_dir(path).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|it| it.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(it.path(spool)), [".SEQ", "a0000301c9a3f0"]);
    let shelf = it.scratch.path().join(format!("saved/{UID}.2"));
    assert_eq!(
        names(shelf.clone()),
        [
            "at-%2Fvar%2Fspool%2Fcron%2Fatjobs%2F%3D0000201c9a3f0",
            "at-%2Fvar%2Fspool%2Fcron%2Fatjobs%2Fa0000101c9a3f0"
        ]
    );
    let saved = std::fs::read(shelf.join(&names(shelf.clone())[1])).unwrap();
    assert!(String::from_utf8_lossy(&saved).contains("rm -rf /home/next\n"));
}

#[test]
fn what_is_half_removed_from_the_databases_is_no_end() {
    let mut it = machine();
    let id = it.home_id();
    let step = it.step(&id);
    it.remove(&id).unwrap();
    for (file, line) in [
        ("shadow", "emo:!:20000:0:99999:7:::\n"),
        ("group", "docker2:x:997:emo\n"),
        ("group", "emo:x:61234:\n"),
        ("gshadow", "docker2:!::emo\n"),
        ("subuid", "emo:200000:65536\n"),
    ] {
        let path = it.path(&format!("etc/{file}"));
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{before}{line}")).unwrap();
        assert!(
            matches!(it.settled(&step), StepResult::Unfinished(_)),
            "{line}"
        );
        it.remove(&id).unwrap();
        assert_eq!(it.settled(&step), StepResult::Done, "{line}");
        std::fs::write(&path, before).unwrap();
    }
}

#[test]
fn a_home_of_another_shape_is_refused_and_nothing_is_touched() {
    type Spoil = fn(&Machine);
    let cases: [(&str, Spoil, &str); 9] = [
        (
            "another directory",
            |it| {
                std::fs::rename(it.path("home/emo"), it.path("home/old")).unwrap();
                std::fs::create_dir_all(it.path("home/emo/dir")).unwrap();
                std::fs::write(it.path("home/emo/notes"), "work\n").unwrap();
                if nix::unistd::geteuid().is_root() {
                    nix::unistd::chown(&it.path("home/emo"), Some(UID.into()), None).unwrap();
                }
            },
            "another directory",
        ),
        (
            "a link",
            |it| {
                std::fs::rename(it.path("home/emo"), it.path("home/real")).unwrap();
                symlink("real", it.path("home/emo")).unwrap();
            },
            "symbolic link",
        ),
        (
            "a home inside",
            |it| {
                let passwd = it.text("etc/passwd").replace("/home/ada", "/home/emo/ada");
                std::fs::write(it.path("etc/passwd"), passwd).unwrap();
            },
            "the home of ada",
        ),
        (
            "the same home",
            |it| {
                let passwd = it.text("etc/passwd").replace("/home/ada", "/home/emo/");
                std::fs::write(it.path("etc/passwd"), passwd).unwrap();
            },
            "the home of ada",
        ),
        (
            "another account",
            |it| {
                let passwd = it.text("etc/passwd").replace("emo:x:61234", "emo:x:61239");
                std::fs::write(it.path("etc/passwd"), passwd).unwrap();
            },
            "was to have uid",
        ),
        (
            "a second name of the uid",
            |it| {
                let passwd = it.text("etc/passwd").replace("ada:x:61235", "ada:x:61234");
                std::fs::write(it.path("etc/passwd"), passwd).unwrap();
            },
            "has the uid",
        ),
        (
            "an open login",
            |it| {
                let passwd = it
                    .text("etc/passwd")
                    .replace("/usr/sbin/nologin", "/bin/zsh");
                std::fs::write(it.path("etc/passwd"), passwd).unwrap();
            },
            "open again",
        ),
        (
            "a crontab",
            |it| {
                std::fs::create_dir_all(it.path("var/spool/cron/crontabs")).unwrap();
                std::fs::write(it.path("var/spool/cron/crontabs/emo"), "@daily x\n").unwrap();
            },
            "crontab",
        ),
        (
            "something in its place and in quarantine",
            |it| {
                std::fs::create_dir_all(it.shelf().join("home")).unwrap();
                std::fs::set_permissions(
                    it.path(&format!("home/{QUARANTINE}")),
                    std::fs::Permissions::from_mode(0o700),
                )
                .unwrap();
            },
            "compare the two",
        ),
    ];
    for (name, spoil, why) in cases {
        let it = machine();
        let id = it.home_id();
        spoil(&it);
        let passwd = it.text("etc/passwd");
        let told = it.remove(&id).unwrap_err();
        assert!(told.contains(why), "{name}: {told}");
        assert_eq!(it.text("etc/passwd"), passwd, "{name}");
        assert_eq!(
            std::fs::read_to_string(it.path("home/emo/notes")).unwrap(),
            "work\n",
            "{name}"
        );
        assert!(!it.archive().exists(), "{name}");
    }
    let mut it = machine();
    let id = it.home_id();
    it.host.settings.home_roots = vec!["/srv".into()];
    assert!(it.remove(&id).unwrap_err().contains("not below /srv"));
    assert!(it.is_untouched());
}

#[test]
fn a_mount_in_a_home_stops_its_removal() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out, as it needs root: mounts");
        return;
    }
    let it = machine();
    let id = it.home_id();
    std::fs::write(it.path("home/ada/precious"), "x").unwrap();
    let none: Option<&str> = None;
    let target = it.path("home/emo/dir");
    let flags = nix::mount::MsFlags::MS_BIND;
    if nix::mount::mount(Some(&it.path("home/ada")), &target, none, flags, none).is_err() {
        println!("left out, as this root may not mount: mounts");
        return;
    }
    let told = it.remove(&id);
    nix::mount::umount(&target).unwrap();
    assert!(told.unwrap_err().contains("something is mounted at"));
    assert!(it.is_untouched() && it.path("home/ada/precious").exists());
}

#[test]
fn an_archive_that_cannot_be_made_puts_the_home_back() {
    let it = machine();
    let id = it.home_id();
    let meanwhile = it.shelf().join("home/meanwhile");
    // Told while it is read.
    let mut progress = |_: usize, _: usize| {
        std::fs::write(&meanwhile, "written by somebody who is not there").unwrap();
    };
    let told = it
        .host
        .archive_delete(&it.removal(&id), AT, &mut |_| {}, &mut progress)
        .unwrap_err();
    assert!(told.contains("the home is where it was"), "{told}");
    assert!(
        it.text("etc/passwd").contains("emo")
            && it.path("home/emo/notes").exists()
            && !it.shelf().exists()
    );
    assert_eq!(
        std::fs::read_dir(it.scratch.path().join("archives"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn processes_of_the_uid_and_its_subordinates_are_named() {
    use std::os::unix::process::CommandExt as _;
    if !nix::unistd::geteuid().is_root() {
        println!("left out, as it needs root: processes of others");
        return;
    }
    let uid = 3_100_000 + std::process::id();
    let mut child = std::process::Command::new("/bin/sleep")
        .arg("600")
        .uid(uid + 5)
        .spawn()
        .unwrap();
    let claims = Claims::of_text(&[("emo", uid)], &format!("emo:{}:10\n", uid + 1));
    let owner = Owner::new(&claims, "emo", uid);
    let told = quiet(&Processes::read().unwrap(), &owner, "emo");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        told.unwrap_err()
            .ends_with(&format!(" run: {}", child.id()))
    );
    assert_eq!(quiet(&Processes::read().unwrap(), &owner, "emo"), Ok(()));
}

/// The account as a way back makes it, without going by way of a plan.
fn readmit(it: &Machine) {
    for (file, line) in [
        ("passwd", "emo:x:61234:61234::/home/emo:/bin/zsh\n"),
        ("group", "emo:x:61234:\n"),
        ("subuid", "emo:200000:65536\n"),
        ("subgid", "emo:200000:65536\n"),
    ] {
        let path = it.path(&format!("etc/{file}"));
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{before}{line}")).unwrap();
    }
}

fn restore(it: &Machine, from: &HomeSource) -> Result<(), String> {
    let databases = Databases::read(&it.host.root).unwrap();
    let whose = Whose {
        user: "emo",
        uid: UID,
        gid: UID,
        home: "/home/emo",
    };
    it.host
        .restore_home(&databases, &whose, from, it.entry, &mut |_, _| {})
}

#[test]
fn a_home_comes_back_from_quarantine_as_it_was_and_from_the_archive_without_what_was_never_theirs()
{
    let root = nix::unistd::geteuid().is_root();
    let it = machine();
    let id = it.home_id();
    std::fs::set_permissions(
        it.path("home/emo/notes"),
        std::fs::Permissions::from_mode(0o4711),
    )
    .unwrap();
    if root {
        std::fs::write(it.path("home/emo/dir/foreign"), "root's").unwrap();
        rustix::fs::lsetxattr(
            it.path("home/emo/notes"),
            "user.k",
            b"v",
            XattrFlags::empty(),
        )
        .unwrap();
    }
    it.remove(&id).unwrap();
    readmit(&it);
    let kept = it
        .host
        .store(Make::No)
        .unwrap()
        .unwrap()
        .kept(&archive_name(UID, it.entry))
        .unwrap()
        .unwrap();
    let purge = |it: &Machine, sha256: &str| {
        it.host.purge(
            UID,
            it.entry,
            "/home/emo",
            &id,
            sha256,
            &mut |_| {},
            &mut |_, _| {},
        )
    };
    // Not while somebody has the uid.
    assert!(
        purge(&it, &kept.sha256)
            .unwrap_err()
            .contains("has the uid")
    );
    restore(
        &it,
        &HomeSource::Quarantine {
            home_id: id.clone(),
        },
    )
    .unwrap();
    assert_eq!(it.home_id(), id);
    assert_eq!(
        std::fs::metadata(it.path("home/emo/notes")).unwrap().mode() & 0o7777,
        0o4711
    );
    assert!(!it.shelf().exists());
    // Twice is once.
    restore(
        &it,
        &HomeSource::Quarantine {
            home_id: id.clone(),
        },
    )
    .unwrap();

    // The same again, by way of the archive.
    std::fs::remove_dir_all(it.path("home/emo")).unwrap();
    let from = HomeSource::Archive {
        sha256: kept.sha256.clone(),
    };
    assert!(
        restore(
            &it,
            &HomeSource::Archive {
                sha256: "0".repeat(64)
            }
        )
        .is_err()
    );
    assert!(!it.path("home/emo").exists());
    restore(&it, &from).unwrap();
    assert_eq!(it.text("home/emo/dir/more"), "more work\n");
    let notes = std::fs::metadata(it.path("home/emo/notes")).unwrap();
    assert_eq!(notes.mode() & 0o7777, 0o711);
    if root {
        assert_eq!((notes.uid(), notes.gid()), (UID, UID));
        assert!(!it.path("home/emo/dir/foreign").exists());
        let mut value = [0; 8];
        assert_eq!(
            rustix::fs::lgetxattr(it.path("home/emo/notes"), "user.k", &mut value),
            Ok(1)
        );
    }
    assert!(
        restore(&it, &from)
            .unwrap_err()
            .contains("something stands at")
    );
    let left: Vec<_> = std::fs::read_dir(it.path(&format!("home/{QUARANTINE}")))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// F10: from the moment it is marked, nobody puts it back.
#[test]
fn a_home_is_purged_only_while_its_archive_is_whole() {
    let it = machine();
    let id = it.home_id();
    it.remove(&id).unwrap();
    let kept = it
        .host
        .store(Make::No)
        .unwrap()
        .unwrap()
        .kept(&archive_name(UID, it.entry))
        .unwrap()
        .unwrap();
    let purge = |home_id: &HomeId, sha256: &str, point: Point<'_>| {
        it.host.purge(
            UID,
            it.entry,
            "/home/emo",
            home_id,
            sha256,
            point,
            &mut |_, _| {},
        )
    };
    let good = std::fs::read(it.archive()).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(it.archive(), &bad).unwrap();
    assert!(purge(&id, &kept.sha256, &mut |_| {}).is_err());
    std::fs::write(it.archive(), &good).unwrap();
    assert!(purge(&id, &"0".repeat(64), &mut |_| {}).is_err());
    let other = HomeId {
        inode: id.inode + 1,
        ..id.clone()
    };
    assert!(purge(&other, &kept.sha256, &mut |_| {}).is_err());
    assert!(it.shelf().join("home/notes").exists());
    for killed in ["purge: checked", "purge: removed"] {
        let mut at = |point: &'static str| {
            if point == killed {
                std::panic::resume_unwind(Box::new("killed"));
            }
        };
        let run = std::panic::AssertUnwindSafe(|| purge(&id, &kept.sha256, &mut at));
        assert!(std::panic::catch_unwind(run).is_err(), "{killed}");
    }
    purge(&id, &kept.sha256, &mut |_| {}).unwrap();
    assert!(!it.shelf().exists() && it.archive().exists());
    purge(&id, &kept.sha256, &mut |_| {}).unwrap();
}

const ROW: &str = "users:\n  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}\n";

/// Whatever the gate lets through, carried out; the words of what was done.
fn cycle(
    it: &mut Machine,
    replayed: &mut muster_core::journal::Replayed,
    rows: &str,
) -> Vec<String> {
    use muster_core::journal::Entry;
    use std::sync::Arc;

    use muster_core::plan::{Input, PlannedStep, plan};
    let policy = Policy::for_host("devvm").into();
    let commit: muster_core::commit::CommitId = "1".repeat(40).parse().unwrap();
    let files = [("roster.yaml".to_owned(), rows.as_bytes().to_vec())].into();
    let (repo, _) = rooms::read_whole(&files, &[]).unwrap();
    let desired = rooms::desired(&repo, &policy, AT.date());
    // The same question at the beginning and after each batch.
    let known = replayed.facts.known.clone();
    let asked = rooms::question_of_plan(&desired, &known);
    let observed = it.host.observe(&asked).unwrap();
    let plan = plan(&Input {
        policy: &policy,
        commit: &commit,
        today: AT.date(),
        desired: &desired,
        observed: &observed,
        facts: &replayed.facts,
    });
    let approvals = muster_core::gate::Approvals::none();
    let facts = &replayed.facts;
    let bounds = plan.bounds(&policy, &observed, facts, AT);
    let verdict = muster_core::gate::judge(&plan, &bounds, facts, &approvals, AT);
    let mut done = Vec::new();
    for batch in verdict.into_batches().0 {
        let intent = batch
            .intend(&commit, AT, rooms::Material::Nothing, |entry| {
                replayed.apply(entry)
            })
            .unwrap();
        let complaints = it.host.act(&intent, &mut Unwatched).unwrap();
        let after = it.host.observe(&asked).unwrap();
        let settled = |it: &Arc<PlannedStep>| {
            settle(
                &it.step,
                &it.price,
                &after,
                &policy,
                &replayed.facts.known,
                complaints.get(&it.step.id).map(String::as_str),
            )
        };
        let results: Vec<StepResult> = intent.planned().iter().map(settled).collect();
        for (step, result) in intent.steps().zip(&results) {
            assert_eq!(*result, StepResult::Done, "{}", step.words());
            done.push(step.words());
        }
        replayed.apply(&Entry::Outcome { at: AT, results }).unwrap();
    }
    done
}

#[test]
fn a_row_that_is_back_brings_the_account_back_by_way_of_the_gate() {
    use muster_core::accounts::facts::{PersonFacts, Provenance, SetAside};
    use muster_core::journal::{Entry, Replayed};
    use muster_core::people::Stage;
    for purged in [false, true] {
        let mut it = machine();
        std::fs::create_dir_all(it.path("bin")).unwrap();
        std::fs::write(it.path("bin/zsh"), "").unwrap();
        std::fs::set_permissions(it.path("bin/zsh"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
        let id = it.home_id();
        it.remove(&id).unwrap();
        let genesis = Entry::Genesis {
            at: AT,
            executor_id: "0".repeat(32),
            name: "devvm".into(),
            adopt: "1".repeat(40).parse().unwrap(),
        };
        let mut replayed = Replayed::begin(&genesis).unwrap();
        let person = PersonFacts {
            entry: it.entry,
            how: Provenance::Created,
            generation: 1,
            cuts: 1,
            uid: UID,
            gid: UID,
            home: "/home/emo".into(),
            subuid: Some(SUBIDS),
            subgid: Some(SUBIDS),
            authentik_user: "e.mo".into(),
            k8s_user: "emo-k".into(),
            stage: Stage::Archived,
            since: AT,
            home_made: true,
            ports: Default::default(),
            given: Default::default(),
            aside: SetAside::default(),
            renaming: Default::default(),
            formerly: Default::default(),
            joining: Default::default(),
            archive: None,
            home_owed: None,
            more: Default::default(),
            told: None,
        };
        let known = replayed.facts.known.accounts_mut().unwrap();
        known.people.insert("emo".into(), Box::new(person));
        let recorded = cycle(&mut it, &mut replayed, "users: {}\n");
        assert!(
            recorded.len() == 1 && recorded[0].starts_with("archive.record emo bytes="),
            "{recorded:?}"
        );
        if purged {
            let archive = replayed.facts.known.accounts().people["emo"]
                .archive
                .clone();
            let sha256 = archive.unwrap().sha256;
            it.host
                .purge(
                    UID,
                    it.entry,
                    "/home/emo",
                    &id,
                    &sha256,
                    &mut |_| {},
                    &mut |_, _| {},
                )
                .unwrap();
        }
        let done = cycle(&mut it, &mut replayed, ROW);
        assert!(done[0].starts_with("user.restore emo "), "{done:?}");
        let from = if purged {
            "from=archive"
        } else {
            "from=quarantine"
        };
        assert!(
            done[1].starts_with("home.restore emo ") && done[1].contains(from),
            "{done:?}"
        );
        assert!(
            it.text("etc/passwd")
                .contains("emo:x:61234:61234::/home/emo:/bin/zsh\n")
        );
        assert!(it.text("etc/shadow").contains("emo:!:"));
        assert!(it.text("etc/subuid").contains("emo:200000:65536"));
        assert_eq!(it.text("home/emo/notes"), "work\n");
        assert_eq!(cycle(&mut it, &mut replayed, ROW), Vec::<String>::new());
        assert_eq!(replayed.facts.known.accounts().people["emo"].generation, 2);
        assert!(it.archive().exists());
    }
}
