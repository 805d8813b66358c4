//! A person's way through a host: created, parked, back, cut, back; on a scratch root, by core's own plans. After each
//! stage the next plan is empty, and what a cut set aside comes back byte for byte.

#[path = "host_lifecycle/broken.rs"]
mod broken;
#[path = "host_lifecycle/set_aside.rs"]
mod set_aside;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use muster_core::accounts::policy::{self, Aggregate, PortFamily};
use muster_core::commit::CommitId;
use muster_core::gate::{Approvals, Verdict, judge};
use muster_core::id::StepId;
use muster_core::journal::{Entry, Replayed, StepResult};
use muster_core::plan::{Input, Plan, PlannedStep, plan};
use muster_core::rooms::{self, Observed, Policy};
use muster_core::settle::settle;
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::world::{Unwatched, World as _};
use muster_host::{Host, HostSettings};

const EMO: &str = "users:\n  emo: {authentik_user: emo.x, k8s_user: emok, tier: power-user}\n";
const EMO_PARKED: &str =
    "users:\n  emo: {authentik_user: emo.x, k8s_user: emok, tier: power-user, parked: true}\n";
const ADA: &str = "  ada: {authentik_user: ada.x, k8s_user: adak, tier: power-user}\n";

struct Machine {
    scratch: tempfile::TempDir,
    settings: HostSettings,
    host: Host,
    policy: Policy,
    replayed: Replayed,
    now: Time,
    /// What came of the steps of the last cycle.
    results: Vec<(Arc<Step>, StepResult)>,
}

fn commit() -> CommitId {
    "1".repeat(40).parse().unwrap()
}

fn machine() -> Machine {
    let scratch = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str, mode: u32| {
        let path = scratch.path().join("root").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n", 0o644);
    put("etc/shadow", "root:*:20000:0:99999:7:::\n", 0o640);
    put("etc/group", "root:x:0:\nt3:x:996:\nsudo:x:27:\n", 0o644);
    put("etc/gshadow", "root:*::\nt3:!::\nsudo:!::\n", 0o640);
    put("etc/subuid", "", 0o644);
    put("etc/subgid", "", 0o644);
    put("etc/login.defs", "HOME_MODE 0700\n", 0o644);
    put("etc/skel/.profile", "umask 022\n", 0o644);
    put("bin/zsh", "", 0o755);
    put("home/.keep", "", 0o644);
    let unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    put("usr/lib/systemd/system/t3-serve@.service", unit, 0o644);
    let mut policy = policy::Policy::for_host("devvm");
    policy.service_group = Some("t3".into());
    policy.units = vec!["t3-serve@.service".into()];
    policy.families = vec![PortFamily {
        name: "t3".into(),
        first: 3773,
        last: 65_000,
    }];
    policy.environment = true;
    policy.aggregates = Aggregate::ALL.into();
    policy.limits.min_admins = 0;
    policy.limits.share = 100;
    let mut settings =
        HostSettings::new(&scratch.path().join("root"), &scratch.path().join("saved"));
    settings.units.clone_from(&policy.units);
    settings.environment = Some("/etc/muster/env/{user}.env".into());
    settings.aggregates = [
        (Aggregate::LoginMap, "/etc/ttyd-user-map".to_owned()),
        (Aggregate::Dispatch, "/var/lib/t3/dispatch.json".to_owned()),
        (Aggregate::Admins, "/etc/ttyd-admins".to_owned()),
    ]
    .into();
    let host = Host::open(settings.clone()).unwrap();
    let now = Time(1_795_305_600);
    let genesis = Entry::Genesis {
        at: now,
        executor_id: "0".repeat(32),
        name: "devvm".into(),
        adopt: commit(),
    };
    let replayed = Replayed::begin(&genesis).unwrap();
    Machine {
        scratch,
        settings,
        host,
        policy: policy.into(),
        replayed,
        now,
        results: Vec::new(),
    }
}

impl Machine {
    /// As a daemon does that starts after a disk was mounted.
    fn reopen(&mut self) {
        self.host = Host::open(self.settings.clone()).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.scratch.path().join("root").join(path)
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    fn plan(&mut self, roster: &str) -> (Plan, Observed) {
        let files = BTreeMap::from([("roster.yaml".to_owned(), roster.as_bytes().to_vec())]);
        let (repo, _) = rooms::read_whole(&files, &[]).unwrap();
        let desired = rooms::desired(&repo, &self.policy, self.now.date());
        let observed = self
            .host
            .observe(&rooms::question_of_plan(
                &desired,
                &self.replayed.facts.known,
            ))
            .unwrap();
        let plan = plan(&Input {
            policy: &self.policy,
            commit: &commit(),
            today: self.now.date(),
            desired: &desired,
            observed: &observed,
            facts: &self.replayed.facts,
        });
        (plan, observed)
    }

    /// What the gate says of a plan, without a release.
    fn judged(&self, plan: &Plan, observed: &Observed) -> Verdict {
        let facts = &self.replayed.facts;
        let bounds = plan.bounds(&self.policy, observed, facts, self.now);
        judge(plan, &bounds, facts, &Approvals::none(), self.now)
    }

    /// One cycle, as the daemon runs it.
    fn cycle(&mut self, roster: &str) {
        self.now = self.now.plus(7_200);
        let (plan, observed) = self.plan(roster);
        let verdict = self.judged(&plan, &observed);
        let (batches, _) = verdict.into_batches();
        let mut undone: BTreeSet<StepId> = BTreeSet::new();
        self.results.clear();
        for mut batch in batches {
            undone.extend(batch.without_dependents_of(&undone));
            if batch.is_empty() {
                continue;
            }
            let files = plan.material(batch.steps(), &observed);
            let replayed = &mut self.replayed;
            let intent = batch
                .intend(&commit(), self.now, files, |entry| replayed.apply(entry))
                .unwrap();
            let complaints = self.host.act(&intent, &mut Unwatched).unwrap();
            let mut everybody = muster_core::accounts::observed::Question::default();
            for step in intent.steps() {
                let subject = muster_core::accounts::observed::Subject {
                    traces: true,
                    ..Default::default()
                };
                everybody.people.insert(step.resource(), subject);
            }
            let after = self.host.observe(&everybody.into()).unwrap();
            let settled = |it: &Arc<PlannedStep>| {
                settle(
                    &it.step,
                    &it.price,
                    &after,
                    &self.policy,
                    &self.replayed.facts.known,
                    complaints.get(&it.step.id).map(String::as_str),
                )
            };
            let results: Vec<StepResult> = intent.planned().iter().map(settled).collect();
            self.replayed
                .apply(&Entry::Outcome {
                    at: self.now,
                    results: results.clone(),
                })
                .unwrap();
            let undone_now = intent
                .steps()
                .zip(&results)
                .filter(|(_, it)| **it != StepResult::Done);
            undone.extend(undone_now.map(|(step, _)| step.id));
            self.results.extend(intent.steps().cloned().zip(results));
        }
    }

    /// One cycle in which every step is done, and after which nothing is left to do but what waits for a release.
    #[track_caller]
    fn settles(&mut self, roster: &str) {
        self.cycle(roster);
        for (step, result) in &self.results {
            assert_eq!(*result, StepResult::Done, "{}", step.words());
        }
        let (plan, observed) = self.plan(roster);
        let verdict = self.judged(&plan, &observed);
        let left: Vec<String> = verdict
            .admitted
            .iter()
            .map(|it| it.step().words())
            .collect();
        assert_eq!(left, Vec::<String>::new());
    }

    fn reason(&self, verb: &str) -> String {
        let found = self
            .results
            .iter()
            .find(|(step, _)| step.action.verb().row().word == verb);
        match found {
            Some((_, StepResult::Failed(reason))) => reason.clone(),
            other => panic!("{verb}: {other:?}"),
        }
    }

    /// The fields of somebody's line.
    fn fields(&self, path: &str, name: &str) -> Vec<String> {
        let text = self.text(path);
        let line = text.lines().find(|it| it.starts_with(&format!("{name}:")));
        line.unwrap().split(':').map(str::to_owned).collect()
    }

    /// Somebody edits a line of shadow behind our back.
    fn edit_shadow(&self, name: &str, change: impl FnOnce(&mut Vec<String>)) {
        let mut fields = self.fields("etc/shadow", name);
        let before = fields.join(":");
        change(&mut fields);
        let text = self.text("etc/shadow").replace(&before, &fields.join(":"));
        std::fs::write(self.path("etc/shadow"), text).unwrap();
    }

    fn uid(&self) -> u32 {
        self.replayed.facts.known.accounts().people["emo"].uid
    }

    /// Puts a file where a user would have it.
    fn put(&self, path: &str, content: &[u8], mode: u32) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_234_567, 89))
            .unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(self.uid()), None).unwrap();
        }
    }

    fn traces(&self) -> BTreeMap<PathBuf, Seen> {
        [
            "home/emo",
            "var/lib/systemd/linger",
            "var/spool/cron/crontabs",
        ]
        .iter()
        .flat_map(|below| tree(&self.path(below)))
        .collect()
    }
}

/// Type and mode, owner, time of change and content.
type Seen = (u32, u32, i64, i64, Vec<u8>);

fn tree(path: &Path) -> Vec<(PathBuf, Seen)> {
    let Ok(meta) = path.symlink_metadata() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let content = if meta.is_file() {
        std::fs::read(path).unwrap()
    } else if meta.is_symlink() {
        std::fs::read_link(path)
            .unwrap()
            .into_os_string()
            .into_encoded_bytes()
    } else {
        for entry in std::fs::read_dir(path).unwrap() {
            found.extend(tree(&entry.unwrap().path()));
        }
        // The time of a directory tells that something was taken out and put back.
        return found;
    };
    found.push((
        path.to_owned(),
        (
            meta.mode(),
            meta.uid(),
            meta.mtime(),
            meta.mtime_nsec(),
            content,
        ),
    ));
    found
}

#[test]
fn a_person_is_created_parked_and_back() {
    let mut it = machine();
    it.settles(EMO);
    assert!(it.path("home/emo/.profile").exists());
    assert!(it.text("etc/muster/env/emo.env").contains("T3_PORT=3773"));
    assert!(it.text("etc/ttyd-user-map").contains("emo.x=emo"));
    let link = it.path("etc/systemd/system/multi-user.target.wants/t3-serve@emo.service");
    assert!(link.is_symlink());
    let accounts = [
        "etc/passwd",
        "etc/shadow",
        "etc/group",
        "etc/gshadow",
        "etc/subuid",
    ]
    .map(|file| it.text(file));
    it.settles(EMO_PARKED);
    assert!(!link.is_symlink());
    it.settles(EMO);
    assert!(link.is_symlink());
    let after = [
        "etc/passwd",
        "etc/shadow",
        "etc/group",
        "etc/gshadow",
        "etc/subuid",
    ]
    .map(|file| it.text(file));
    assert_eq!(accounts, after);
}

#[test]
fn a_link_in_place_of_the_directory_for_keys_is_not_followed() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    let outside = it.path("etc/muster/authorized_keys");
    std::fs::write(&outside, "root's own").unwrap();
    symlink(it.path("etc/muster"), it.path("home/emo/.ssh")).unwrap();
    it.cycle(&format!("users:\n{ADA}"));
    assert_eq!(std::fs::read(&outside).unwrap(), b"root's own");
    let (plan, _) = it.plan(&format!("users:\n{ADA}"));
    let notes: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
    assert!(
        notes.iter().any(|it| it.contains("symbolic link")),
        "{notes:?}"
    );
}

#[test]
fn a_directory_in_the_way_of_what_is_restored_is_left_and_named() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    it.put("home/emo/.ssh/authorized_keys", b"first", 0o600);
    it.settles(&format!("users:\n{ADA}"));
    std::fs::create_dir(it.path("home/emo/.ssh/authorized_keys")).unwrap();
    it.cycle(&format!("{EMO}{ADA}"));
    assert!(
        it.reason("keys.restore").contains("is there again"),
        "{}",
        it.reason("keys.restore")
    );
    std::fs::remove_dir(it.path("home/emo/.ssh/authorized_keys")).unwrap();
    it.settles(&format!("{EMO}{ADA}"));
    assert_eq!(it.text("home/emo/.ssh/authorized_keys"), "first");
}

#[test]
fn a_map_that_somebody_else_spoiled_is_left_alone() {
    let mut it = machine();
    std::fs::write(it.path("etc/ttyd-user-map"), "rubbish\n").unwrap();
    it.cycle(EMO);
    assert_eq!(it.text("etc/ttyd-user-map"), "rubbish\n");
    std::fs::write(it.path("etc/ttyd-user-map"), "old.one=somebody\n").unwrap();
    it.cycle(EMO);
    assert!(it.text("etc/ttyd-user-map").contains("old.one=somebody"));
    it.settles(EMO);
}

#[test]
fn a_home_that_is_a_link_is_not_entered() {
    let mut it = machine();
    std::fs::create_dir(it.path("elsewhere")).unwrap();
    symlink("../elsewhere", it.path("home/emo")).unwrap();
    it.cycle(EMO);
    let (plan, _) = it.plan(EMO);
    let notes: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
    assert!(
        notes.iter().any(|it| it.contains("symbolic link")),
        "{notes:?}"
    );
    assert_eq!(std::fs::read_dir(it.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn a_rename_keeps_uid_home_and_ports_and_takes_its_traces_along() {
    let mut it = machine();
    let Policy::Accounts(policy) = &mut it.policy else {
        panic!("a host's")
    };
    let rename = muster_core::accounts::verbs::Verb::UserRename;
    policy.declared_benign.insert(rename);
    it.settles(EMO);
    let uid = it.uid();
    it.put("var/spool/cron/crontabs/emo", b"@daily true\n", 0o600);
    let renamed = "users:\n  emil: {authentik_user: emo.x, k8s_user: emok, tier: power-user, previously: emo}\n";
    for _ in 0..3 {
        it.cycle(renamed);
    }
    it.settles(renamed);
    let person = &it.replayed.facts.known.accounts().people["emil"];
    assert_eq!(
        (person.uid, person.home.as_str(), person.ports["t3"]),
        (uid, "/home/emo", 3773)
    );
    assert!(it.text("etc/passwd").contains(&format!("emil:x:{uid}:")));
    for file in [
        "etc/passwd",
        "etc/shadow",
        "etc/group",
        "etc/gshadow",
        "etc/subuid",
    ] {
        assert!(
            !it.text(file).lines().any(|line| line.starts_with("emo:")),
            "{file}"
        );
    }
    assert!(it.path("var/spool/cron/crontabs/emil").exists());
    assert!(!it.path("var/spool/cron/crontabs/emo").exists());
    assert!(
        !it.path("etc/systemd/system/multi-user.target.wants/t3-serve@emo.service")
            .is_symlink()
    );
}

#[test]
fn a_rename_of_which_only_the_old_shadow_line_is_left_is_not_finished() {
    let mut it = machine();
    it.settles(EMO);
    // As a machine goes down that writes the second batch: passwd, groups and ranges have the new name alone.
    for file in [
        "etc/passwd",
        "etc/group",
        "etc/gshadow",
        "etc/subuid",
        "etc/subgid",
    ] {
        let renamed: String = it
            .text(file)
            .replace("emo", "emil")
            .replace("/home/emil", "/home/emo");
        std::fs::write(it.path(file), renamed).unwrap();
    }
    let shadow = it.text("etc/shadow");
    let line = shadow
        .lines()
        .find(|line| line.starts_with("emo:"))
        .unwrap();
    let both = format!("{shadow}{}\n", line.replace("emo:", "emil:"));
    std::fs::write(it.path("etc/shadow"), &both).unwrap();
    let renamed = "users:\n  emil: {authentik_user: emo.x, k8s_user: emok, tier: power-user, previously: emo}\n";
    let left = |it: &mut Machine| {
        let (_, observed) = it.plan(renamed);
        let host = observed.accounts().unwrap();
        host.accounts.known().unwrap().by_name["emil"]
            .renaming_from
            .clone()
    };
    assert_eq!(left(&mut it).as_deref(), Some("emo"));
    std::fs::write(
        it.path("etc/shadow"),
        both.replace(&format!("{line}\n"), ""),
    )
    .unwrap();
    assert_eq!(left(&mut it), None);
}

#[test]
fn of_two_lines_with_one_name_the_first_is_the_account() {
    let mut it = machine();
    it.settles(EMO);
    let line = |file: &str| {
        let text = it.text(file);
        let found = text.lines().find(|line| line.starts_with("emo:"));
        found.unwrap().to_owned()
    };
    let twice = format!(
        "{}{}\n",
        it.text("etc/passwd"),
        line("etc/passwd").replace("/bin/zsh", "/bin/sh")
    );
    // gshadow alone lists them in sudo, and a group without a line in group is none.
    let gshadow = it.text("etc/gshadow").replace("sudo:!::", "sudo:!::emo");
    std::fs::write(it.path("etc/passwd"), twice).unwrap();
    std::fs::write(it.path("etc/gshadow"), gshadow + "gone:!::emo\n").unwrap();
    let (_, observed) = it.plan(EMO);
    let host = observed.accounts().unwrap();
    let emo = &host.accounts.known().unwrap().by_name["emo"];
    assert_eq!(emo.shell, "/bin/zsh", "as getpwnam(3) finds it");
    assert_eq!(emo.groups, BTreeSet::from(["sudo".into(), "t3".into()]));
    assert_eq!(emo.half_groups, BTreeSet::from(["sudo".into()]));
}

/// A file system of its own at `path`, in a mount namespace of this thread alone; `false` where that is not allowed.
fn mount_tmpfs(path: &Path, options: &str) -> bool {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).is_ok()
        && mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).is_ok()
        && mount(
            Some("tmpfs"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options),
        )
        .is_ok()
}

#[test]
fn what_is_mounted_inside_a_home_is_not_entered() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    std::fs::create_dir(it.path("home/emo/.ssh")).unwrap();
    if !mount_tmpfs(&it.path("home/emo/.ssh"), "size=64k") {
        return;
    }
    it.reopen();
    it.put("home/emo/.ssh/authorized_keys", b"on another mount", 0o600);
    it.cycle(&format!("users:\n{ADA}"));
    assert_eq!(it.text("home/emo/.ssh/authorized_keys"), "on another mount");
    let (plan, _) = it.plan(&format!("users:\n{ADA}"));
    let notes: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
    assert!(
        notes.iter().any(|it| it.contains("another mount")),
        "{notes:?}"
    );
}

#[test]
fn without_room_nothing_is_half_done_and_with_room_it_is_finished() {
    let mut it = machine();
    std::fs::write(it.path("etc/skel/large"), vec![b'x'; 300_000]).unwrap();
    if !mount_tmpfs(&it.path("home"), "size=128k") {
        return;
    }
    it.reopen();
    it.cycle(EMO);
    assert!(
        it.reason("home.create").contains("No space left"),
        "{}",
        it.reason("home.create")
    );
    assert_eq!(std::fs::read_dir(it.path("home")).unwrap().count(), 0);
    std::fs::remove_file(it.path("etc/skel/large")).unwrap();
    it.settles(EMO);
    assert!(it.path("home/emo/.profile").exists());
}

#[test]
fn a_file_that_cannot_be_saved_stays_where_it_is() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    it.put("home/emo/.ssh/authorized_keys", &vec![b'k'; 300_000], 0o600);
    if !mount_tmpfs(&it.scratch.path().join("saved"), "size=64k,mode=700") {
        return;
    }
    it.reopen();
    it.cycle(&format!("users:\n{ADA}"));
    assert!(
        it.reason("keys.set_aside").contains("No space left"),
        "{}",
        it.reason("keys.set_aside")
    );
    assert_eq!(it.text("home/emo/.ssh/authorized_keys").len(), 300_000);
}

#[test]
fn a_root_that_cannot_be_written_is_said_of_every_step() {
    use nix::mount::{MsFlags, mount};
    let mut it = machine();
    let none: Option<&str> = None;
    let root = it.path("");
    if !mount_tmpfs(&it.path("home"), "size=64k")
        || mount(Some(&root), &root, none, MsFlags::MS_BIND, none).is_err()
    {
        return;
    }
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, &root, none, flags, none).unwrap();
    it.reopen();
    it.cycle(EMO);
    assert!(
        it.reason("user.create").contains("Read-only file system"),
        "{}",
        it.reason("user.create")
    );
    assert!(!it.text("etc/passwd").contains("emo"));
}

#[test]
fn an_aggregate_file_that_changes_in_between_keeps_what_the_other_wrote() {
    let mut it = machine();
    it.settles(EMO);
    it.now = it.now.plus(7_200);
    let (plan, observed) = it.plan(&format!("{EMO}{ADA}"));
    let (batches, _) = it.judged(&plan, &observed).into_batches();
    let batch = batches
        .into_iter()
        .find(|it| it.turn() == muster_core::turn::Turn::Files)
        .unwrap();
    let files = plan.material(batch.steps(), &observed);
    let intent = batch
        .intend(&commit(), it.now, files, |_| Ok::<(), ()>(()))
        .unwrap();
    let theirs = format!("{}by.hand=somebody\n", it.text("etc/ttyd-user-map"));
    std::fs::write(it.path("etc/ttyd-user-map"), &theirs).unwrap();
    let complaints = it.host.act(&intent, &mut Unwatched).unwrap();
    assert_eq!(it.text("etc/ttyd-user-map"), theirs);
    assert!(
        complaints
            .values()
            .any(|why| why.contains("changed by somebody else just now")),
        "{complaints:?}"
    );
    assert!(
        it.path("etc/muster/env/ada.env").exists(),
        "the other files were written"
    );
}
