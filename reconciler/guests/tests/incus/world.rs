//! The whole of it: plans of core, carried out on real containers, with connections broken and processes killed at every change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_core::journal::StepResult;
use muster_guests::api::{GuestApi as _, Power, Task};
use muster_guests::doctor::ReleaseToken;
use muster_guests::incus::{Entrance as Way, Incus};
use muster_guests::wire::Limits;
use muster_guests::{ActSettings, Guests, Opener};

use crate::relay::{Fault, Relay};
use crate::site::{Hung, Results, Site};
use crate::{Container, incus, socket};

/// What a world is opened with, so that it can be opened on another thread.
#[derive(Clone)]
struct Entrance {
    socket: PathBuf,
    backups: PathBuf,
    settings: ActSettings,
}

impl Entrance {
    fn new(socket: &Path, backups: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            backups: backups.to_owned(),
            settings: ActSettings {
                shutdown: Duration::from_secs(10),
                scratch: Some("scratch".to_owned()),
                scratch_storage: Some("default".to_owned()),
                rehearsal: Duration::ZERO,
                look: Duration::from_millis(50),
                ..ActSettings::new()
            },
        }
    }

    fn client(&self, total: Duration) -> Incus {
        let way = Way {
            address: &format!("unix:{}", self.socket.display()),
            project: "default",
            scratch: Some("scratch"),
            trust: None,
            client: None,
            backups: self.backups.clone(),
        };
        let limits = Limits {
            total,
            ..Limits::default()
        };
        Incus::new(way, limits).unwrap()
    }

    fn open_with(&self, total: Duration) -> Guests<Incus> {
        let opener = || -> Opener<Incus> {
            let this = self.clone();
            Box::new(move || Ok(this.client(total)))
        };
        let settings = self.settings.clone();
        Guests::new(self.client(total), Some(opener()), Some(opener()), settings).unwrap()
    }

    fn open(&self) -> Guests<Incus> {
        self.open_with(Duration::from_secs(20))
    }
}

fn site() -> Site {
    Site::new(|policy| {
        policy.create.images = BTreeSet::from(["tiny".to_owned()]);
        policy.create.storages = BTreeSet::from(["default".to_owned()]);
    })
}

fn done(results: &Results) -> Vec<&str> {
    for (words, result) in results {
        assert_eq!(*result, StepResult::Done, "{words}");
    }
    let verbs = results
        .iter()
        .map(|(words, _)| words.split(' ').next().unwrap());
    verbs.collect()
}

/// H4, H5, H7, GB6, GB10, H17: sized, destroyed undo first, given back, destroyed again, purged; what nobody asked for stays.
#[test]
fn a_container_goes_the_whole_way() {
    let scratch = tempfile::tempdir().unwrap();
    let entrance = Entrance::new(&socket(), scratch.path());
    let (site, mut world) = (site(), entrance.open());
    let guest = Container::new("whole");
    incus(&["config", "set", "whole", "user.other=kept"]);
    incus(&["start", "--quiet", "whole"]);
    let row = "guests: {whole: {run: running, memory: 64MiB, cores: 1, description: 'web', tags: [a], onboot: true}}\n";
    let told = site.settles(&mut world, row);
    assert!(
        !done(&told).contains(&"guest.start"),
        "it ran already: {told:?}"
    );
    assert_eq!(site.planned(&mut world, row), Vec::<String>::new());
    let uuid = incus(&["config", "get", "whole", "volatile.uuid"]);

    let end = "guests: {whole: {destroy: true}}\n";
    let verbs: Vec<String> = done(&site.settles(&mut world, end))
        .iter()
        .map(|it| (*it).to_owned())
        .collect();
    assert_eq!(
        verbs.last().map(String::as_str),
        Some("guest.destroy"),
        "{verbs:?}"
    );
    let aside = {
        let names = incus(&["list", "--format", "csv", "--columns", "ns"]);
        let line = names
            .lines()
            .find(|it| it.contains("whole"))
            .unwrap()
            .to_owned();
        assert!(line.ends_with(",STOPPED"), "{line}");
        line.split(',').next().unwrap().to_owned()
    };
    assert_ne!(aside, "whole");
    let _aside = Container::named(&aside, "default");
    assert_eq!(
        incus(&["config", "get", &aside, "security.protection.delete"]).trim(),
        "true"
    );
    assert_eq!(
        incus(&["config", "get", &aside, "boot.autostart"]).trim(),
        "false"
    );
    let trials = site.trials();
    assert_eq!(trials.len(), 1);
    let in_scratch = incus(&["list", "--project", "scratch", "--format", "csv"]);
    assert!(
        !in_scratch.contains(trials.first().unwrap()),
        "the trial is over"
    );
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        1,
        "one backup"
    );

    // The row is back: so is the container, and it is the same one.
    let told = site.settles(&mut world, row);
    assert_eq!(done(&told), ["guest.restore", "guest.start"]);
    assert_eq!(incus(&["config", "get", "whole", "volatile.uuid"]), uuid);
    assert_eq!(
        incus(&["config", "get", "whole", "user.other"]).trim(),
        "kept"
    );
    assert_eq!(
        incus(&["config", "get", "whole", "boot.autostart"]).trim(),
        "true"
    );

    done(&site.settles(&mut world, end));
    site.wait_days(15);
    let told = site.settles(&mut world, end);
    assert_eq!(done(&told), ["guest.purge"]);
    assert!(!incus(&["list", "--format", "csv"]).contains("whole"));
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        2,
        "backups stay"
    );
    assert_eq!(site.planned(&mut world, end), Vec::<String>::new());
    drop(guest);
}

/// H7: one that is set aside, and that somebody starts, writes to and stops again, shows it by when it was last started. It is not deleted
/// until it was backed up anew.
#[test]
fn a_container_that_was_started_and_stopped_since_is_not_deleted() {
    let scratch = tempfile::tempdir().unwrap();
    let entrance = Entrance::new(&socket(), scratch.path());
    let (site, mut world) = (site(), entrance.open());
    let guest = Container::new("reused");
    incus(&["start", "--quiet", "reused"]);
    let end = "guests: {reused: {destroy: true}}\n";
    done(&site.settles(&mut world, end));
    let aside = site.known("reused").aside.unwrap().found;
    let _aside = Container::named(&aside, "default");
    site.wait_days(15);
    let planned = site.planned(&mut world, end).join("\n");
    assert!(
        planned.starts_with("guest.purge reused ") && !planned.contains('['),
        "{planned}"
    );
    // Twice, since the clock of both moments has seconds.
    for _ in 0..2 {
        incus(&["start", "--quiet", &aside]);
        incus(&["stop", "--quiet", "--force", &aside]);
    }
    assert_eq!(done(&site.settles(&mut world, end)), ["guest.note"]);
    let planned = site.planned(&mut world, end).join("\n");
    assert!(
        planned.contains("Used") && planned.contains("it was started at"),
        "{planned}"
    );
    let back = "guests: {reused: {run: stopped}}\n";
    done(&site.settles(&mut world, back));
    done(&site.settles(&mut world, end));
    site.wait_days(15);
    assert_eq!(done(&site.settles(&mut world, end)), ["guest.purge"]);
    drop(guest);
}

/// GB7, H3: what is imported is what runs, and the plan after it has no step.
#[test]
fn what_is_imported_needs_no_step() {
    let scratch = tempfile::tempdir().unwrap();
    let entrance = Entrance::new(&socket(), scratch.path());
    let (site, mut world) = (site(), entrance.open());
    let guest = Container::new("imported");
    incus(&[
        "config",
        "set",
        "imported",
        "limits.memory=100MB",
        "limits.cpu=0-0",
        "boot.autostart=true",
    ]);
    let observed = site.everything(&mut world);
    let file = muster_guests::import::import(&observed, None).unwrap().text;
    let row = "  imported:\n    run: stopped\n    cores: 1\n    memory: 96MiB\n    onboot: true\n";
    assert!(file.contains(row), "{file}");
    // Others come and go meanwhile: only this one's row is looked at.
    let file = format!("guests:\n{row}");
    assert_eq!(site.planned(&mut world, &file), Vec::<String>::new());
    let found = world.examine(
        &BTreeSet::from(["imported".to_owned()]),
        ReleaseToken::Asked,
    );
    assert!(
        found
            .iter()
            .any(|it| it.text.contains("may do everything there")),
        "{found:#?}"
    );
    drop(guest);
}

/// GB8, H8: a guest that was made anew under the name, or has another volume, is not what was signed.
#[test]
fn another_container_of_that_name_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let relay = Relay::start(&socket(), &scratch.path().join("relay"));
    let entrance = Entrance::new(relay.socket(), &scratch.path().join("backups"));
    let mut site = site();
    let guest = Container::new("anew");
    let end = "guests: {anew: {destroy: true}}\n";
    // The release is signed for this one, and it has begun when the process is killed at its first change.
    let hung = Hung::new();
    relay.arm_to_hang((Relay::FIRST_CHANGE, Fault::Silence), hung.tell.clone());
    let dying = entrance.clone();
    site.killed(
        move || dying.open_with(Duration::from_secs(86_400)),
        end,
        &hung,
    );
    incus(&["delete", "--force", "anew"]);
    incus(&["init", "--quiet", "tiny", "anew"]);
    relay.arm(None);
    let mut world = entrance.open();
    site.unsigned = true;
    for _ in 0..3 {
        let told = site.cycle(&mut world, end);
        let destroyed = told
            .iter()
            .find(|(words, it)| words.starts_with("guest.destroy") && *it == StepResult::Done);
        assert!(destroyed.is_none(), "{told:?}");
    }
    assert_eq!(relay.changes(), Vec::<String>::new());
    assert!(incus(&["list", "--format", "csv"]).contains("anew"));
    drop(guest);
}

/// What a kind of run is about: its row, and what may take effect how often. Each test has a guest of its own.
struct Case {
    name: &'static str,
    row: String,
    is_there: bool,
    once: Vec<String>,
}

fn creation(name: &'static str) -> Case {
    Case {
        name,
        row: format!(
            "guests: {{{name}: {{memory: 64MiB, create: {{image: tiny, storage: default}}}}}}\n"
        ),
        is_there: false,
        once: vec!["POST /1.0/instances?".to_owned()],
    }
}

fn shutdown(name: &'static str) -> Case {
    Case {
        name,
        row: format!("guests: {{{name}: {{run: stopped}}}}\n"),
        is_there: true,
        once: vec![format!("PUT /1.0/instances/{name}/state")],
    }
}

fn destroy(name: &'static str) -> Case {
    Case {
        name,
        row: format!("guests: {{{name}: {{destroy: true}}}}\n"),
        is_there: true,
        once: vec![
            format!("PUT /1.0/instances/{name}/state"),
            format!("POST /1.0/instances/{name}/backups"),
            format!("POST /1.0/instances/{name}?"),
        ],
    }
}

struct Stage<'a> {
    case: &'a Case,
    relay: Relay,
    entrance: Entrance,
    scratch: tempfile::TempDir,
}

impl<'a> Stage<'a> {
    fn new(case: &'a Case) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let relay = Relay::start(&socket(), &scratch.path().join("relay"));
        let entrance = Entrance::new(relay.socket(), &scratch.path().join("backups"));
        Self {
            case,
            relay,
            entrance,
            scratch,
        }
    }

    /// An administrator puts everything back as it was before the last run.
    fn reset(&self) {
        self.clear();
        let _ = std::fs::remove_dir_all(self.scratch.path().join("backups"));
        if self.case.is_there {
            incus(&["launch", "--quiet", "tiny", self.case.name]);
        }
        self.relay.arm(None);
    }

    fn clear(&self) {
        for project in ["default", "scratch"] {
            let names = incus(&[
                "list",
                "--project",
                project,
                "--format",
                "csv",
                "--columns",
                "n",
            ]);
            for name in names.lines().filter(|it| it.contains(self.case.name)) {
                drop(Container::named(name, project));
            }
        }
    }

    fn requests(&self) -> Vec<String> {
        self.reset();
        let (site, mut world) = (site(), self.entrance.open());
        let mut last = Vec::new();
        for _ in 0..6 {
            self.relay.arm(None);
            if site.cycle(&mut world, &self.case.row).is_empty() {
                assert!(last.len() > 5);
                return last;
            }
            last = self.relay.requests();
        }
        panic!("it never comes to rest");
    }

    /// Another process goes on; at the end everything has taken effect once.
    fn goes_on(&self, site: &Site, why: &str) {
        self.relay.disarm();
        let mut world = self.entrance.open();
        // What was begun goes on there without us, and nothing is planned about a guest until it is over.
        let open = site.open_tasks();
        world.ask(async |api| {
            for task in open {
                api.wait(&Task(task), Duration::from_secs(60))
                    .await
                    .unwrap();
            }
            for guest in api.list().await.unwrap().guests.into_values() {
                if let Some(task) = &guest.busy {
                    api.wait(task, Duration::from_secs(60)).await.unwrap();
                }
            }
        });
        let told = site.settles(&mut world, &self.case.row);
        for text in &self.case.once {
            let found = self.relay.effects(text);
            assert_eq!(
                found,
                1,
                "{why}: {text}\n{:#?}\n{told:#?}\n{:#?}",
                self.relay.changes(),
                site.judged(&mut world, &self.case.row)
            );
        }
        let left = world.ask(async |api| api.list().await.unwrap().guests);
        let ours: Vec<_> = left
            .values()
            .filter(|it| it.place.id.contains(self.case.name))
            .collect();
        assert_eq!(ours.len(), 1, "{why}");
        assert_ne!(ours[0].power, Some(Power::Running), "{why}");
        for trial in site.trials() {
            assert!(
                !left.contains_key(&trial),
                "{why}: what was there for a trial is gone"
            );
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Breaks the connection of every change in every way, and counts what took effect (H11, GB5).
fn break_everything(case: &Case) {
    let stage = Stage::new(case);
    for (number, line) in stage.requests().iter().enumerate() {
        if line.starts_with("GET") {
            continue;
        }
        // What was lost before, and what was lost after it: each of the latter ways in turn.
        let after = [Fault::CutAfter, Fault::HalfAnswer, Fault::NonsenseAfter][number % 3];
        for fault in [Fault::CutBefore, after] {
            stage.reset();
            let site = site();
            stage.relay.arm(Some((number, fault)));
            site.cycle(&mut stage.entrance.open(), &case.row);
            stage.goes_on(&site, &format!("{fault:?} at request {number}, {line}"));
        }
    }
}

/// Kills the process at every change, before and after it took effect; another one goes on (H16, G25).
fn kill_everything(case: &Case) {
    let stage = Stage::new(case);
    for (number, line) in stage.requests().iter().enumerate() {
        if line.starts_with("GET") {
            continue;
        }
        for fault in [Fault::Silence, Fault::SilenceAfter] {
            stage.reset();
            let site = site();
            let hung = Hung::new();
            stage.relay.arm_to_hang((number, fault), hung.tell.clone());
            let dying = stage.entrance.clone();
            let patient = Duration::from_secs(86_400);
            site.killed(move || dying.open_with(patient), &case.row, &hung);
            stage.goes_on(
                &site,
                &format!("killed with {fault:?} at request {number}, {line}"),
            );
        }
    }
}

#[test]
fn a_creation_takes_effect_once_whatever_breaks() {
    break_everything(&creation("make-b"));
}

#[test]
fn a_shutdown_takes_effect_once_whatever_breaks() {
    break_everything(&shutdown("down-b"));
}

#[test]
fn a_destroy_takes_effect_once_whatever_breaks() {
    break_everything(&destroy("ends-b"));
}

#[test]
fn a_creation_takes_effect_once_whoever_is_killed() {
    kill_everything(&creation("make-k"));
}

#[test]
fn a_shutdown_takes_effect_once_whoever_is_killed() {
    kill_everything(&shutdown("down-k"));
}

#[test]
fn a_destroy_takes_effect_once_whoever_is_killed() {
    kill_everything(&destroy("ends-k"));
}
