//! The end of an account and the ways back, as they are planned: given what is known and what is seen, expect these steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::accounts::action::Action;
use muster_core::accounts::desired;
use muster_core::accounts::facts::{HomeId, IdRange, PersonFacts};
use muster_core::accounts::observed::{
    Account, Accounts, ArchiveSeen, Home, Observed, Password, Person, RemovedAccount, Traces, Units,
};
use muster_core::accounts::policy::Policy;
use muster_core::accounts::question::question;
use muster_core::accounts::verbs::Verb;
use muster_core::commit::CommitId;
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, Reason, Verdict, judge};
use muster_core::journal::{Authority, Entry, Replayed, StepResult};
use muster_core::people::Stage;
use muster_core::plan::{Input, Plan, PlannedStep, plan};
use muster_core::price::Class;
use muster_core::reading::Reading;
use muster_core::rooms;
use muster_core::settle::settle;
use muster_core::step::Step;
use muster_core::time::Time;

const DAY: i64 = 86_400;
const ROW: &str = "users:\n  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: admin}\n  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: power-user}\n";
const GONE: &str = "users:\n  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: power-user}\n";
const OTHER: &str = "users:\n  emo: {authentik_user: somebody.else, k8s_user: emo-k, tier: admin}\n  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: power-user}\n";

/// A host with one account, and what is known of it.
struct World {
    past: Replayed,
    host: Observed,
    now: Time,
}

fn commit() -> CommitId {
    "1".repeat(40).parse().unwrap()
}

fn policy() -> Policy {
    let mut policy = Policy::for_host("devvm");
    policy.limits.share = 99;
    policy
}

fn home() -> HomeId {
    HomeId {
        inode: 7,
        born: 1,
        filesystem: "f".into(),
    }
}

fn account(uid: u32) -> Account {
    Account {
        uid,
        gid: uid,
        home: String::new(),
        shell: "/bin/zsh".into(),
        password: Password::Locked,
        expires: None,
        groups: ["code-shared".to_owned()].into(),
        half_groups: Default::default(),
        subuid: None,
        subgid: None,
        more: Default::default(),
        renaming_from: None,
    }
}

fn nothing_left() -> Traces {
    Traces {
        linger: Reading::Known(false),
        keys: Reading::Known(false),
        crontab: Reading::Known(false),
        processes: Reading::Known(0),
        login_saved: Reading::Known(false),
    }
}

/// emo and ann are kept, and emo was cut: only the removal is left to do.
fn cut() -> World {
    let genesis = Entry::Genesis {
        at: Time(0),
        executor_id: "0".repeat(32),
        name: "devvm".into(),
        adopt: commit(),
    };
    let accounts = Accounts {
        groups: [("docker".to_owned(), 998), ("code-shared".to_owned(), 997)].into(),
        shells: ["/bin/zsh".to_owned()].into(),
        ..Accounts::default()
    };
    let host = Observed {
        accounts: Reading::Known(accounts),
        people: BTreeMap::new(),
        environments: Reading::Known(BTreeMap::new()),
        cluster_tiers: None,
        aggregates: BTreeMap::new(),
        units: Reading::Known(Units::default()),
    };
    let mut world = World {
        past: Replayed::begin(&genesis).unwrap(),
        host,
        now: Time(1_795_305_600),
    };
    world.done(ROW, |_| true);
    for (name, uid) in [
        ("emo", world.person("emo").uid),
        ("ann", world.person("ann").uid),
    ] {
        let mut found = account(uid);
        found.home = format!("/home/{name}");
        world
            .accounts()
            .by_name
            .insert(name.into(), Box::new(found));
        let person = Person {
            home: Reading::Known(Home::Directory(home())),
            traces: Some(Box::new(nothing_left())),
            kept: None,
        };
        world.host.people.insert(name.into(), person);
    }
    world.done(GONE, |kind| kind != Verb::UserArchiveDelete);
    assert_eq!(world.person("emo").stage, Stage::Cut);
    let shut = world.accounts().by_name.get_mut("emo").unwrap();
    shut.shell = "/usr/sbin/nologin".into();
    shut.expires = Some(1);
    world
}

impl World {
    fn facts(&self) -> &Facts {
        &self.past.facts
    }

    fn person(&self, user: &str) -> &PersonFacts {
        &self.facts().known.accounts().people[user]
    }

    fn accounts(&mut self) -> &mut Accounts {
        match &mut self.host.accounts {
            Reading::Known(accounts) => accounts,
            Reading::Unknown(why) => panic!("{why}"),
        }
    }

    fn emo(&mut self) -> &mut Person {
        self.host.people.get_mut("emo").unwrap()
    }

    fn plan(&self, rows: &str) -> Plan {
        let files = BTreeMap::from([("roster.yaml".to_owned(), rows.as_bytes().to_vec())]);
        let (repo, _) = rooms::read_whole(&files, &[]).unwrap();
        let policy = policy().into();
        plan(&Input {
            policy: &policy,
            commit: &commit(),
            today: self.now.date(),
            desired: &rooms::desired(&repo, &policy, self.now.date()),
            observed: &self.host.clone().into(),
            facts: self.facts(),
        })
    }

    fn judge(&self, plan: &Plan) -> Verdict {
        let (policy, observed) = (policy().into(), self.host.clone().into());
        let bounds = plan.bounds(&policy, &observed, self.facts(), self.now);
        judge(plan, &bounds, self.facts(), &Approvals::none(), self.now)
    }

    fn settle(&self, planned: &PlannedStep) -> StepResult {
        let (policy, observed) = (policy().into(), self.host.clone().into());
        let known = &self.facts().known;
        settle(
            &planned.step,
            &planned.price,
            &observed,
            &policy,
            known,
            None,
        )
    }

    /// What is planned for emo, and why each step waits, if it does.
    fn steps(&self, rows: &str) -> Vec<(String, String)> {
        let plan = self.plan(rows);
        let verdict = self.judge(&plan);
        let waits = |it: &PlannedStep| {
            let held = verdict.held.iter().find(|held| held.step == it.step);
            held.map_or("runs", |held| held.reason.code()).to_owned()
        };
        let mine = plan.steps().iter().filter(|it| it.step.resource() == "emo");
        mine.map(|it| (verb(&it.step).word().to_owned(), waits(it)))
            .collect()
    }

    fn refused(&self, rows: &str) -> String {
        self.plan(rows)
            .notes()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Takes planned steps as done.
    fn done(&mut self, rows: &str, which: impl Fn(Verb) -> bool) {
        let plan = self.plan(rows);
        let steps: Vec<_> = plan
            .steps()
            .iter()
            .map(|it| it.step.clone())
            .filter(|it| which(verb(it)))
            .collect();
        let results = vec![StepResult::Done; steps.len()];
        let authority = Authority::Benign { commit: commit() };
        self.past
            .apply(&Entry::Intended {
                at: self.now,
                steps,
                authority,
            })
            .unwrap();
        self.past
            .apply(&Entry::Outcome {
                at: self.now,
                results,
            })
            .unwrap();
    }

    fn kept(&mut self, quarantined: bool, archive: Option<&str>) {
        self.emo().kept = Some(Box::new(RemovedAccount {
            quarantined: Reading::Known(quarantined.then(home)),
            purging: None,
            archive: Reading::Known(archive.map(|sha256| ArchiveSeen {
                sha256: sha256.into(),
                bytes: 9,
            })),
            remnants: Reading::Known(false),
        }));
        self.emo().home = Reading::Known(if quarantined {
            Home::Absent
        } else {
            Home::Directory(home())
        });
    }

    /// As after a release: emo is archived, the home is in quarantine.
    fn archived() -> Self {
        let mut world = cut();
        world.done(GONE, |kind| kind == Verb::UserArchiveDelete);
        world.accounts().by_name.remove("emo");
        world.kept(true, Some("aa"));
        world
    }
}

fn verb(step: &Step) -> Verb {
    step.action
        .account()
        .expect("a step about an account")
        .verb()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(kind, waits)| ((*kind).to_owned(), (*waits).to_owned()))
        .collect()
}

#[test]
fn an_interrupted_removal_is_planned_again_as_the_same_step() {
    let mut world = cut();
    let first = world.plan(GONE).steps().to_vec();
    assert_eq!(
        world.steps(GONE),
        pairs(&[("user.archive_delete", "pending_signature")])
    );
    world.kept(true, None);
    assert_eq!(world.plan(GONE).steps(), first, "in quarantine");
    world.kept(true, Some("aa"));
    world.accounts().by_name.remove("emo");
    let ids = |steps: &[Arc<PlannedStep>]| steps.iter().map(|it| it.step.id).collect::<Vec<_>>();
    assert_eq!(
        ids(world.plan(GONE).steps()),
        ids(&first),
        "passwd is written, the rest is not"
    );
}

#[test]
fn what_is_not_a_home_of_theirs_holds_the_removal_with_the_reason() {
    let spoils: [fn(&mut World); 5] = [
        |it| it.emo().home = Reading::Known(Home::Odd("it is a symbolic link".into())),
        |it| it.emo().home = Reading::Known(Home::Absent),
        |it| it.emo().home = Reading::Unknown("EIO".into()),
        |it| it.accounts().by_name.get_mut("emo").unwrap().home = "/home/ann".into(),
        |it| {
            it.kept(true, None);
            it.emo().home = Reading::Known(Home::Directory(home()));
        },
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let mut world = cut();
        spoil(&mut world);
        assert_eq!(
            world.steps(GONE),
            pairs(&[("user.archive_delete", "precondition")]),
            "{number}"
        );
    }
}

#[test]
fn a_removal_is_done_when_account_and_remnants_are_gone_and_the_archive_is_there() {
    let mut world = cut();
    let step = Arc::clone(&world.plan(GONE).steps()[0]);
    let result = |world: &World| world.settle(&step);
    world.kept(false, None);
    assert_eq!(result(&world), StepResult::NotBegun);
    world.kept(true, None);
    assert!(matches!(result(&world), StepResult::Unfinished(why) if why.contains("quarantine")));
    world.kept(true, Some("aa"));
    world.accounts().by_name.remove("emo");
    assert_eq!(result(&world), StepResult::Done);
    world.emo().kept.as_mut().unwrap().remnants = Reading::Known(true);
    assert!(matches!(result(&world), StepResult::Unfinished(_)));
    world.kept(true, None);
    assert!(matches!(result(&world), StepResult::NeedsOperator(_)));
    world.emo().kept = None;
    assert!(matches!(result(&world), StepResult::Unfinished(_)));
}

#[test]
fn an_archive_is_recorded_once_and_the_home_is_purged_only_after_the_grace_period() {
    let mut world = World::archived();
    let person = world.person("emo");
    assert_eq!(
        (person.stage, person.given.len(), person.archive.as_ref()),
        (Stage::Archived, 0, None)
    );
    assert_eq!(world.steps(GONE), pairs(&[("archive.record", "runs")]));
    world.done(GONE, |_| true);
    assert_eq!(world.steps(GONE), []);
    world.now = world.now.plus(39 * DAY);
    assert_eq!(world.steps(GONE), []);
    world.now = world.now.plus(DAY);
    assert_eq!(
        world.steps(GONE),
        pairs(&[("user.purge", "pending_signature")])
    );
    let purge = Arc::clone(&world.plan(GONE).steps()[0]);
    assert_eq!(purge.price.class, Class::Destructive);
    let words = purge.step.words();
    assert!(words.contains("sha256=aa"), "{words}");
    // Another archive than the one recorded, or none: the home stays.
    world.kept(true, Some("bb"));
    assert_eq!(world.steps(GONE), pairs(&[("user.purge", "precondition")]));
    world.kept(true, None);
    assert_eq!(world.steps(GONE), []);
    world.kept(true, Some("aa"));
    world.done(GONE, |_| true);
    assert_eq!(world.person("emo").stage, Stage::Deleted);
    world.emo().kept.as_mut().unwrap().quarantined = Reading::Known(None);
    assert_eq!(world.steps(GONE), []);
    assert_eq!(world.settle(&purge), StepResult::Done);
}

#[test]
fn a_row_that_is_back_brings_account_and_home_back_with_the_ids_they_had() {
    let mut world = World::archived();
    world.done(GONE, |_| true);
    let before = world.person("emo").clone();
    for (quarantined, from) in [(true, "from=quarantine"), (false, "from=archive")] {
        world.kept(quarantined, Some("aa"));
        world.emo().home = Reading::Known(Home::Absent);
        assert_eq!(
            world.steps(ROW),
            pairs(&[
                ("user.restore", "runs"),
                ("group.join", "runs"),
                ("group.join", "pending_signature"),
                ("home.restore", "runs")
            ])
        );
        let plan = world.plan(ROW);
        let words: Vec<String> = plan.steps().iter().map(|it| it.step.words()).collect();
        let of = before.entry;
        assert!(
            words[0].contains(&format!("uid={} ", before.uid).trim_end().to_owned()),
            "{words:?}"
        );
        assert!(
            words[3].contains(from) && words[3].contains(&format!("of={of}")),
            "{words:?}"
        );
        assert!(plan.steps()[3].needs.contains(&plan.steps()[0].step.id));
    }
    // The account is made, and the home fails to come: it is owed until it has come.
    world.done(ROW, |kind| kind != Verb::HomeRestore);
    let person = world.person("emo").clone();
    assert_eq!(
        (person.uid, person.ports, person.stage),
        (before.uid, before.ports, Stage::Active)
    );
    assert_eq!(person.home_owed, Some(before.entry));
    assert_ne!(person.entry, before.entry);
    let mut back = account(person.uid);
    back.home = "/home/emo".into();
    world
        .accounts()
        .by_name
        .insert("emo".into(), Box::new(back));
    let docker = ("group.join", "pending_signature");
    assert_eq!(world.steps(ROW), pairs(&[docker, ("home.restore", "runs")]));
    let files = BTreeMap::from([("roster.yaml".to_owned(), ROW.as_bytes().to_vec())]);
    let (repo, _) = rooms::read_whole(&files, &[]).unwrap();
    let desired = desired::for_host(&repo.documents, &policy(), world.now.date());
    let asked = question(&desired, world.facts().known.accounts());
    assert_eq!(
        asked.people["emo"].kept.map(|it| it.entry),
        Some(before.entry)
    );
    world.done(ROW, |_| true);
    world.emo().home = Reading::Known(Home::Directory(home()));
    assert_eq!(world.steps(ROW), pairs(&[docker]));
    assert_eq!(world.person("emo").home_owed, None);
}

#[test]
fn a_way_back_is_refused_or_held_for_what_stands_against_it() {
    let mut world = World::archived();
    world.done(GONE, |_| true);
    assert!(world.refused(OTHER).contains("belonged to somebody else"));
    world.kept(false, None);
    world.emo().home = Reading::Known(Home::Absent);
    let held = world.steps(ROW);
    assert_eq!(
        held[0],
        ("user.restore".to_owned(), "precondition".to_owned()),
        "no home to be had"
    );
    world.kept(true, Some("aa"));
    let uid = world.person("emo").uid;
    world
        .accounts()
        .by_name
        .insert("thief".into(), Box::new(account(uid)));
    assert!(world.refused(ROW).contains("thief has now"));
    world.accounts().by_name.remove("thief");
    // A primary group that makes root-equivalent makes the way back a privileged one. Only an account that was taken over can
    // have one that is not its own.
    let known = world.past.facts.known.accounts_mut().unwrap();
    known.people.get_mut("emo").unwrap().how = muster_core::accounts::facts::Provenance::Adopted;
    let gid = world.person("emo").gid;
    world.accounts().groups.insert("docker".into(), gid);
    assert_eq!(
        world.steps(ROW)[0],
        ("user.restore".to_owned(), "pending_signature".to_owned())
    );
    let verdict = world.judge(&world.plan(ROW));
    assert!(
        verdict
            .held
            .iter()
            .any(|it| it.price.class == Class::Privileged && it.reason == Reason::PendingSignature)
    );
}

#[test]
fn a_cut_person_whose_home_is_in_quarantine_gets_it_back_first() {
    let mut world = cut();
    world.kept(true, None);
    assert_eq!(world.steps(ROW), pairs(&[("home.restore", "runs")]));
    world.done(ROW, |_| true);
    world.kept(false, None);
    let kinds: Vec<String> = world.steps(ROW).into_iter().map(|(kind, _)| kind).collect();
    assert!(kinds.contains(&"user.return".to_owned()), "{kinds:?}");
}

#[test]
fn ranges_of_an_account_that_was_adopted_are_reserved_when_it_goes() {
    let mut world = cut();
    let range = muster_core::accounts::facts::IdRange {
        first: 165_536,
        count: 65_536,
    };
    world.accounts().by_name.get_mut("emo").unwrap().subuid = Some(range);
    let known = world.past.facts.known.accounts_mut().expect("a host's");
    known.people.get_mut("emo").unwrap().subuid = None;
    let step = world.plan(GONE).steps()[0].step.clone();
    assert!(
        matches!(step.action.account(), Some(Action::ArchiveDelete { subuid: Some(found), .. }) if *found == range)
    );
    world.done(GONE, |_| true);
    assert_eq!(world.person("emo").subuid, Some(range));
}

#[test]
fn nobody_comes_back_to_a_name_or_a_uid_that_somebody_else_has_now() {
    let kinds: [fn(&mut Accounts, u32); 5] = [
        |it, _| it.hindrances.silent = Some("who knows".into()),
        |it, _| {
            it.foreign.insert("emo".into(), 70_000);
        },
        |it, _| {
            let why = "a group has that name".into();
            it.hindrances.names.insert("emo".into(), why);
        },
        |it, uid| {
            it.foreign_uids.insert(uid);
        },
        |it, uid| {
            it.hindrances
                .uids
                .insert(uid, ["a line of zed".into()].into());
        },
    ];
    for (number, change) in kinds.into_iter().enumerate() {
        let mut world = World::archived();
        let comes_back = |world: &World| {
            let planned = world.steps(ROW);
            planned.iter().any(|(kind, _)| kind == "user.restore")
        };
        assert!(comes_back(&world));
        let uid = world.person("emo").uid;
        change(world.accounts(), uid);
        assert!(!comes_back(&world), "{number}");
    }
}

#[test]
fn a_home_that_was_there_before_the_account_comes_back_too() {
    let mut world = cut();
    world
        .past
        .facts
        .known
        .accounts_mut()
        .unwrap()
        .people
        .get_mut("emo")
        .unwrap()
        .home_made = false;
    world.done(GONE, |kind| kind == Verb::UserArchiveDelete);
    assert!(world.person("emo").home_made);
    world.accounts().by_name.remove("emo");
    world.kept(true, Some("aa"));
    let comes_back = |world: &World| {
        let planned = world.steps(ROW);
        planned.iter().any(|(kind, _)| kind == "home.restore")
    };
    assert!(comes_back(&world));
    // As an earlier version wrote it down: the archive tells.
    world.done(GONE, |kind| kind == Verb::ArchiveRecord);
    world
        .past
        .facts
        .known
        .accounts_mut()
        .unwrap()
        .people
        .get_mut("emo")
        .unwrap()
        .home_made = false;
    assert!(comes_back(&world));
}

#[test]
fn a_shared_primary_group_is_no_obstacle_and_another_ones_is() {
    let mut world = World::archived();
    let gid = world.person("emo").gid;
    let restored = |world: &World| {
        world
            .steps(ROW)
            .iter()
            .any(|(kind, _)| kind == "user.restore")
    };
    // An account that was made had a group of its own; who has that number by now is somebody else.
    world.accounts().groups.insert("users".into(), gid);
    assert!(!restored(&world));
    assert!(world.refused(ROW).contains("which the group users has"));
    let emo = world
        .past
        .facts
        .known
        .accounts_mut()
        .unwrap()
        .people
        .get_mut("emo")
        .unwrap();
    emo.how = muster_core::accounts::facts::Provenance::Adopted;
    assert!(restored(&world));
}

/// F22.
#[test]
fn every_range_of_somebody_who_was_removed_is_nobodys_for_ever() {
    let range = |first| IdRange {
        first,
        count: 65_536,
    };
    let mut world = cut();
    let emo = world.accounts().by_name.get_mut("emo").unwrap();
    emo.subuid = Some(range(231_072));
    emo.more.subuids = [range(100_000), range(4_000_000)].into();
    emo.more.subgids = [range(100_000)].into();
    let before = world.plan(GONE).steps()[0].step.id;
    world.accounts().by_name.get_mut("emo").unwrap().more = Default::default();
    assert_eq!(
        world.plan(GONE).steps()[0].step.id,
        before,
        "what was signed stays"
    );
    let emo = world.accounts().by_name.get_mut("emo").unwrap();
    emo.more.subuids = [range(100_000), range(4_000_000)].into();
    emo.more.subgids = [range(100_000)].into();
    world.done(GONE, |kind| kind == Verb::UserArchiveDelete);
    world.accounts().by_name.remove("emo");
    let kept = world.person("emo").clone();
    let all = kept.subuid.into_iter().chain(kept.more.subuids.clone());
    let all: BTreeSet<IdRange> = all.collect();
    assert!(
        all.is_superset(&[range(231_072), range(100_000), range(4_000_000)].into()),
        "{all:?}"
    );
    // A newcomer gets none of them, and the ledger keeps them.
    let newcomer =
        format!("{GONE}  zoe: {{authentik_user: z.oe, k8s_user: zoe-k, tier: power-user}}\n");
    let plan = world.plan(&newcomer);
    let given = plan
        .steps()
        .iter()
        .find_map(|it| match it.step.action.account() {
            Some(Action::CreateAccount { subuid, .. }) => *subuid,
            Some(_) | None => None,
        });
    let given = given.unwrap();
    assert!(
        all.iter()
            .all(|it| it.end() <= u64::from(given.first) || given.end() <= u64::from(it.first)),
        "{given:?}"
    );
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(
        serde_json::from_str::<muster_core::accounts::facts::PersonFacts>(&text).unwrap(),
        kept
    );
}
