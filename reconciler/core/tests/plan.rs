//! What is planned, and what the gate lets through: given a roster, a host and a past, expect these steps.

#[path = "plan/adopted.rs"]
mod adopted;
#[path = "plan/disabled.rs"]
mod disabled;
#[path = "plan/hindrances.rs"]
mod hindrances;
#[path = "plan/limits.rs"]
mod limits;
#[path = "plan/names.rs"]
mod names;
#[path = "plan/ports.rs"]
mod ports;
#[path = "plan/root.rs"]
mod root;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::accounts::desired::{self, Desired};
use muster_core::accounts::facts::PersonFacts;
use muster_core::accounts::note::Note;
use muster_core::accounts::observed::{
    Account, Accounts, Defaults, Home, Manager, Observed, Password, Person, Traces, UnitState,
    Units,
};
use muster_core::accounts::policy::{Aggregate, Policy, PortFamily};
use muster_core::accounts::verbs::Verb;
use muster_core::commit::CommitId;
use muster_core::facts::{Facts, Suspended};
use muster_core::gate::{self, Approvals, Reason, Verdict, judge};
use muster_core::id::StepId;
use muster_core::journal::{Authority, Entry, Replayed, StepResult};
use muster_core::people::Stage;
use muster_core::plan::{Input, Plan, plan};
use muster_core::price::Class;
use muster_core::reading::Reading;
use muster_core::rooms;
use muster_core::step::Step;
use muster_core::time::{Date, Time};

/// 2026-11-22T00:00:00Z.
const NOW: Time = Time(1_795_305_600);

fn commit() -> CommitId {
    "1".repeat(40).parse().expect("forty digits")
}

fn roster(text: &str) -> Desired {
    desired_on(text, NOW.date())
}

fn desired_on(text: &str, today: Date) -> Desired {
    let files = BTreeMap::from([("roster.yaml".to_owned(), text.as_bytes().to_vec())]);
    let (repo, _) = rooms::read_whole(&files, &[]).unwrap_or_else(|problems| {
        panic!(
            "{}",
            problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        )
    });
    desired::for_host(&repo.documents, &policy(), today)
}

fn policy() -> Policy {
    let mut policy = Policy::for_host("devvm");
    policy.service_group = Some("t3".into());
    policy.units = vec!["t3-serve@.service".into()];
    policy.families = vec![
        PortFamily {
            name: "t3".into(),
            first: 3773,
            last: 3780,
        },
        PortFamily {
            name: "playwright".into(),
            first: 8931,
            last: 8940,
        },
    ];
    policy.environment = true;
    policy.aggregates = Aggregate::ALL.into();
    policy
}

/// A host as it is just after installation.
fn fresh_host() -> Observed {
    let mut accounts = Accounts {
        groups: [
            ("sudo", 27),
            ("docker", 998),
            ("code-shared", 997),
            ("t3", 996),
        ]
        .map(|(group, gid)| (group.to_owned(), gid))
        .into(),
        defaults: Defaults::default(),
        shells: ["/bin/zsh".to_owned()].into(),
        ..Accounts::default()
    };
    accounts
        .by_name
        .insert("root".into(), Box::new(account(0, &[])));
    Observed {
        accounts: Reading::Known(accounts),
        people: BTreeMap::new(),
        environments: Reading::Known(BTreeMap::new()),
        cluster_tiers: None,
        aggregates: Aggregate::ALL
            .map(|file| (file, Reading::Known(BTreeMap::new())))
            .into(),
        units: Reading::Known(Units {
            manager: Manager::Running,
            by_name: BTreeMap::new(),
            templates: ["t3-serve@.service".to_owned()].into(),
        }),
    }
}

fn account(uid: u32, groups: &[&str]) -> Account {
    Account {
        uid,
        gid: uid,
        home: "/home/x".into(),
        shell: "/bin/zsh".into(),
        password: Password::Locked,
        expires: None,
        groups: groups.iter().map(|it| (*it).to_owned()).collect(),
        subuid: None,
        subgid: None,
        more: Default::default(),
        renaming_from: None,
        half_groups: BTreeSet::new(),
    }
}

fn add_account(observed: &mut Observed, name: &str, account: Account) {
    let Reading::Known(accounts) = &mut observed.accounts else {
        unreachable!()
    };
    accounts.by_name.insert(name.to_owned(), Box::new(account));
}

fn accounts_of(observed: &mut Observed) -> &mut Accounts {
    match &mut observed.accounts {
        Reading::Known(accounts) => accounts,
        Reading::Unknown(why) => panic!("{why}"),
    }
}

fn nothing_known() -> Replayed {
    let genesis = Entry::Genesis {
        at: Time(0),
        executor_id: "0".repeat(32),
        name: "devvm".into(),
        adopt: commit(),
    };
    Replayed::begin(&genesis).expect("a genesis record")
}

fn make(desired: &Desired, observed: &Observed, facts: &Facts) -> Plan {
    make_under(&policy(), desired, observed, facts)
}

fn make_under(policy: &Policy, desired: &Desired, observed: &Observed, facts: &Facts) -> Plan {
    plan(&Input {
        policy: &policy.clone().into(),
        commit: &commit(),
        today: NOW.date(),
        desired: &rooms::Desired::Accounts(desired.clone()),
        observed: &observed.clone().into(),
        facts,
    })
}

fn verdict(plan: &Plan, observed: &Observed, facts: &Facts) -> Verdict {
    verdict_under(&policy(), plan, observed, facts)
}

fn verdict_under(policy: &Policy, plan: &Plan, observed: &Observed, facts: &Facts) -> Verdict {
    let (policy, observed) = (policy.clone().into(), observed.clone().into());
    let bounds = plan.bounds(&policy, &observed, facts, NOW);
    judge(plan, &bounds, facts, &Approvals::none(), NOW)
}

fn verb(step: &Step) -> Verb {
    step.action
        .account()
        .expect("a step about an account")
        .verb()
}

/// Plans, and takes everything planned as done, signed or not: the past of the tests below.
fn after(mut past: Replayed, desired: &Desired, observed: &Observed) -> Replayed {
    let plan = make(desired, observed, &past.facts);
    let steps: Vec<_> = plan.steps().iter().map(|it| it.step.clone()).collect();
    let results = vec![StepResult::Done; steps.len()];
    let authority = Authority::Benign { commit: commit() };
    past.apply(&Entry::Intended {
        at: NOW,
        steps,
        authority,
    })
    .expect("in order");
    past.apply(&Entry::Outcome { at: NOW, results })
        .expect("in order");
    past
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps().iter().map(|it| it.step.words()).collect()
}

fn kinds_of(plan: &Plan, user: &str) -> Vec<Verb> {
    plan.steps()
        .iter()
        .filter(|it| it.step.resource() == user)
        .map(|it| verb(&it.step))
        .collect()
}

fn refusals(plan: &Plan) -> Vec<String> {
    plan.notes()
        .iter()
        .filter(|it| it.needs_attention())
        .map(ToString::to_string)
        .collect()
}

const EMO: &str = "users:\n  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}\n";
const EMO_AND_ANN: &str = "users:
  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}
  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}
";

/// Whoever suspended the executor is what every step waits for, also one that follows another: none of them is held by itself.
#[test]
fn all_steps_of_a_suspended_host_say_that_it_is_suspended() {
    let mut facts = nothing_known().facts;
    let plan = make(&roster(EMO_AND_ANN), &fresh_host(), &facts);
    assert!(plan.steps().iter().any(|it| !it.needs.is_empty()));
    let before = verdict(&plan, &fresh_host(), &facts);
    facts.suspended = Some(Suspended {
        who: "ann".into(),
        reason: "the disk is swapped".into(),
        since: NOW,
        until: None,
    });
    let suspended = verdict(&plan, &fresh_host(), &facts);
    assert!(suspended.admitted.is_empty());
    let held: BTreeMap<StepId, &Reason> = before
        .held
        .iter()
        .map(|it| (it.step.id, &it.reason))
        .collect();
    for it in &suspended.held {
        match held.get(&it.step.id) {
            Some(reason) => assert_eq!(it.reason, **reason),
            None => assert_eq!(it.reason.code(), gate::SUSPENDED, "{}", it.step.words()),
        }
    }
}

#[test]
fn a_newcomer_gets_an_account_a_home_ports_and_an_instance() {
    let past = nothing_known();
    let plan = make(&roster(EMO), &fresh_host(), &past.facts);
    let digest = plan
        .steps()
        .iter()
        .map(|it| it.step.words())
        .find(|it| it.starts_with("env.write"))
        .unwrap();
    assert_eq!(
        words(&plan),
        [
            "user.create emo authentik_user=e.mo gid=1000 home=/home/emo k8s_user=emo-k shell=/bin/zsh \
             subgid=100000+65536 subuid=100000+65536 uid=1000",
            "group.join emo gid=996 group=t3",
            "ports.assign emo ports=playwright:8931/t3:3773",
            "home.create emo home=/home/emo",
            &digest,
            "map.add emo key=e.mo to=emo",
            "dispatch.add emo key=e.mo to=%7B%22os_user%22:%22emo%22%2C%22port%22:3773%7D",
            "instance.enable emo unit=t3-serve@emo.service",
            "instance.start emo unit=t3-serve@emo.service",
        ]
    );
    let verdict = verdict(&plan, &fresh_host(), &past.facts);
    assert!(verdict.held.is_empty(), "all of it is benign");
}

#[test]
fn what_makes_somebody_root_equivalent_waits_and_the_rest_goes_on() {
    let past = nothing_known();
    let plan = make(&roster(EMO_AND_ANN), &fresh_host(), &past.facts);
    let verdict = verdict(&plan, &fresh_host(), &past.facts);
    let held: Vec<_> = verdict
        .held
        .iter()
        .map(|it| (it.step.words(), it.price.class, it.reason.clone()))
        .collect();
    let privileged = |words: &str| {
        (
            words.to_owned(),
            Class::Privileged,
            Reason::PendingSignature,
        )
    };
    assert_eq!(
        held,
        [
            privileged("group.join ann gid=998 group=docker"),
            privileged("group.join ann gid=27 group=sudo"),
            privileged("admins.add ann key=ann"),
        ]
    );
    assert!(
        verdict
            .admitted
            .iter()
            .any(|it| it.step().words() == "group.join ann gid=997 group=code-shared")
    );
}

#[test]
fn an_approval_given_before_the_account_exists_still_holds_afterwards() {
    let desired = roster(EMO_AND_ANN);
    let mut host = fresh_host();
    let past = nothing_known();
    let before = verdict(&make(&desired, &host, &past.facts), &host, &past.facts);
    let ids: BTreeSet<_> = before.held.iter().map(|it| it.step.id).collect();

    // Only what is benign runs.
    let mut past = past;
    let steps = before.admitted.iter();
    let steps: Vec<_> = steps.map(|it| Arc::new(it.step().clone())).collect();
    let results = vec![StepResult::Done; steps.len()];
    past.apply(&Entry::Intended {
        at: NOW,
        steps,
        authority: Authority::Benign { commit: commit() },
    })
    .unwrap();
    past.apply(&Entry::Outcome { at: NOW, results }).unwrap();
    add_account(&mut host, "ann", account(1000, &["code-shared", "t3"]));
    add_account(&mut host, "emo", account(1001, &["t3"]));
    let after = verdict(&make(&desired, &host, &past.facts), &host, &past.facts);
    let now: BTreeSet<_> = after.held.iter().map(|it| it.step.id).collect();
    assert_eq!(ids, now);
}

#[test]
fn equal_inputs_make_equal_plans() {
    let past = nothing_known();
    let one = make(&roster(EMO_AND_ANN), &fresh_host(), &past.facts);
    let two = make(&roster(EMO_AND_ANN), &fresh_host(), &past.facts);
    assert_eq!(one, two);
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
}

#[test]
fn an_account_that_is_not_ours_is_never_touched() {
    let mut host = fresh_host();
    add_account(&mut host, "emo", account(1500, &["docker"]));
    let plan = make(&roster(EMO), &host, &nothing_known().facts);
    assert!(plan.steps().is_empty());
    assert_eq!(
        refusals(&plan),
        [
            "emo: an account of that name exists that muster neither created nor adopted; it is left alone. To take it \
          over, add `adopt: {uid: 1500}` to the row"
        ]
    );
}

#[test]
fn adopting_waits_for_a_release_and_all_else_waits_for_it() {
    let mut host = fresh_host();
    add_account(&mut host, "emo", account(1500, &[]));
    let row =
        "users:\n  emo: {authentik_user: e, k8s_user: k, tier: power-user, adopt: {uid: 1500}}\n";
    let past = nothing_known();
    let plan = make(&roster(row), &host, &past.facts);
    let verdict = verdict(&plan, &host, &past.facts);
    assert!(verdict.admitted.is_empty());
    assert_eq!(verb(&verdict.held[0].step), Verb::UserAdopt);
    assert_eq!(verdict.held[0].reason, Reason::PendingSignature);
    assert!(
        verdict.held[1..]
            .iter()
            .all(|it| matches!(it.reason, Reason::Needs(_)))
    );
}

#[test]
fn adopting_the_wrong_uid_or_a_system_account_is_refused() {
    let mut host = fresh_host();
    add_account(&mut host, "emo", account(1500, &[]));
    add_account(&mut host, "svc", account(999, &[]));
    let rows = "users:
  emo: {authentik_user: e, k8s_user: k, tier: power-user, adopt: {uid: 1501}}
  svc: {authentik_user: s, k8s_user: s, tier: power-user, adopt: {uid: 1999}}
";
    let plan = make(&roster(rows), &host, &nothing_known().facts);
    assert!(plan.steps().is_empty());
    assert_eq!(refusals(&plan).len(), 2);
}

/// Emo and Ann are here, as the ledger and the host both say.
fn emo_and_ann_are_here() -> (Replayed, Observed) {
    let past = after(nothing_known(), &roster(EMO_AND_ANN), &fresh_host());
    let mut host = fresh_host();
    for (name, groups) in [
        ("ann", &["code-shared", "docker", "sudo", "t3"][..]),
        ("emo", &["t3"]),
    ] {
        let PersonFacts { uid, home, .. } = &*past.facts.known.accounts().people[name];
        let mut found = account(*uid, groups);
        found.home.clone_from(home);
        add_account(&mut host, name, found);
        host.people.insert(name.into(), person(true));
        let Reading::Known(units) = &mut host.units else {
            unreachable!()
        };
        let state = UnitState {
            enabled: true,
            active: true,
            failed: false,
        };
        units
            .by_name
            .insert(format!("t3-serve@{name}.service"), state);
    }
    for (file, key, value) in [
        (Aggregate::LoginMap, "a.nn", "ann"),
        (Aggregate::LoginMap, "e.mo", "emo"),
        (
            Aggregate::Dispatch,
            "a.nn",
            "{\"os_user\":\"ann\",\"port\":3773}",
        ),
        (
            Aggregate::Dispatch,
            "e.mo",
            "{\"os_user\":\"emo\",\"port\":3774}",
        ),
        (Aggregate::Admins, "ann", ""),
    ] {
        let Some(Reading::Known(entries)) = host.aggregates.get_mut(&file) else {
            unreachable!()
        };
        entries.insert(key.into(), value.into());
    }
    let environments = make(&roster(EMO_AND_ANN), &host, &past.facts)
        .steps()
        .iter()
        .filter_map(|it| {
            let digest = muster_core::accounts::render::digest(it.content.as_deref()?);
            Some((it.step.resource().to_owned(), digest))
        })
        .collect();
    host.environments = Reading::Known(environments);
    (past, host)
}

fn person(cut: bool) -> Person {
    let traces = cut.then_some(Traces {
        linger: Reading::Known(true),
        keys: Reading::Known(true),
        crontab: Reading::Known(false),
        processes: Reading::Known(2),
        login_saved: Reading::Known(false),
    });
    let id = muster_core::accounts::facts::HomeId {
        inode: 7,
        born: 1,
        filesystem: "f".into(),
    };
    Person {
        home: Reading::Known(Home::Directory(id)),
        traces: traces.map(Box::new),
        kept: None,
    }
}

#[test]
fn a_converged_host_has_nothing_to_do() {
    let (past, host) = emo_and_ann_are_here();
    let plan = make(&roster(EMO_AND_ANN), &host, &past.facts);
    assert_eq!(words(&plan), Vec::<String>::new());
    assert_eq!(plan.notes(), []);
}

const ANN: &str = "users:\n  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}\n";

#[test]
fn whoever_left_is_cut_and_the_deletion_waits() {
    let (past, host) = emo_and_ann_are_here();
    let plan = make(&roster(ANN), &host, &past.facts);
    assert_eq!(
        words(&plan),
        [
            "user.cut emo",
            "instance.stop emo unit=t3-serve@emo.service",
            "instance.disable emo unit=t3-serve@emo.service",
            "group.leave emo because=cut group=t3",
            "login.lock emo cut=1",
            "linger.set_aside emo cut=1",
            "keys.set_aside emo cut=1",
            "map.remove emo from=emo key=e.mo",
            "dispatch.remove emo from=%7B%22os_user%22:%22emo%22%2C%22port%22:3774%7D key=e.mo",
            "sessions.end emo",
            "user.archive_delete emo home=/home/emo uid=1001",
        ]
    );
    let verdict = verdict(&plan, &host, &past.facts);
    assert_eq!(verdict.held.len(), 1);
    assert_eq!(verdict.held[0].price.class, Class::Destructive);
    assert_eq!(verdict.held[0].reason, Reason::PendingSignature);
}

#[test]
fn an_empty_roster_cuts_nobody() {
    let (past, host) = emo_and_ann_are_here();
    for empty in ["", "users:\n", "users: {}\n", "# nobody\n"] {
        let plan = make(&roster(empty), &host, &past.facts);
        assert_eq!(words(&plan), Vec::<String>::new(), "{empty:?}");
        assert_eq!(
            plan.notes(),
            [rooms::Note::Account(Note::EmptyRoster { kept: 2 })],
            "{empty:?}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_not_planned_on() {
    let (past, mut host) = emo_and_ann_are_here();
    host.accounts = Reading::Unknown("permission denied".into());
    let plan = make(&roster(ANN), &host, &past.facts);
    assert!(plan.steps().is_empty());
    assert_eq!(
        refusals(&plan),
        ["the account databases could not be read (permission denied); nothing is planned on it"]
    );
}

#[test]
fn the_last_admin_is_not_cut() {
    let (past, host) = emo_and_ann_are_here();
    let plan = make(&roster(EMO), &host, &past.facts);
    let verdict = verdict(&plan, &host, &past.facts);
    let cut = verdict
        .held
        .iter()
        .find(|it| verb(&it.step) == Verb::UserCut)
        .expect("held");
    assert!(
        matches!(&cut.reason, Reason::Guardrail(why) if why.starts_with("would leave 0 accounts")),
        "{}",
        cut.reason
    );
    let admitted: Vec<_> = verdict
        .admitted
        .iter()
        .map(|it| it.step().words())
        .collect();
    assert_eq!(
        admitted,
        Vec::<String>::new(),
        "nothing of the cut runs on its own"
    );
}

/// What is known of Emo, to be changed.
fn emo(past: &mut Replayed) -> &mut PersonFacts {
    let known = past.facts.known.accounts_mut().expect("a host's");
    known.people.get_mut("emo").expect("a tombstone")
}

#[test]
fn coming_back_puts_everything_back_and_needs_a_release_only_for_root() {
    let (past, mut host) = emo_and_ann_are_here();
    let mut past = after(past, &roster(ANN), &host);
    let person = emo(&mut past);
    person.stage = Stage::Cut;
    person.aside.login = true;
    let mut shut = account(1001, &[]);
    shut.home = "/home/emo".into();
    shut.expires = Some(1);
    shut.shell = "/usr/sbin/nologin".into();
    add_account(&mut host, "emo", shut.clone());
    let plan = make(&roster(EMO_AND_ANN), &host, &past.facts);
    let kinds = kinds_of(&plan, "emo");
    for kind in [
        Verb::UserReturn,
        Verb::LoginUnlock,
        Verb::LingerRestore,
        Verb::KeysRestore,
        Verb::GroupJoin,
    ] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    assert!(verdict(&plan, &host, &past.facts).held.is_empty());

    shut.groups.insert("docker".into());
    add_account(&mut host, "emo", shut);
    let plan = make(&roster(EMO_AND_ANN), &host, &past.facts);
    let verdict = verdict(&plan, &host, &past.facts);
    assert_eq!(verb(&verdict.held[0].step), Verb::UserReturn);
    assert_eq!(verdict.held[0].price.class, Class::Privileged);
    assert!(
        verdict
            .admitted
            .iter()
            .all(|it| it.step().resource() != "emo"),
        "nothing comes back before"
    );
}

#[test]
fn parked_people_stand_still_and_keep_everything() {
    let (past, host) = emo_and_ann_are_here();
    let rows = EMO_AND_ANN.replacen("tier: power-user", "tier: power-user, parked: true", 1);
    let plan = make(&roster(&rows), &host, &past.facts);
    let words: Vec<_> = words(&plan)
        .into_iter()
        .filter(|it| !it.starts_with("env.write"))
        .collect();
    assert_eq!(
        words,
        [
            "instance.stop emo unit=t3-serve@emo.service",
            "instance.disable emo unit=t3-serve@emo.service",
            "user.park emo because=asked",
        ]
    );
}

#[test]
fn the_last_valid_day_is_a_valid_day_and_is_announced() {
    let (past, host) = emo_and_ann_are_here();
    for (last, said) in [
        (
            "2026-11-22",
            Some("emo: today is the last valid day; disabled tomorrow; ask boss"),
        ),
        (
            "2026-11-23",
            Some("emo: expires tomorrow, then disabled; ask boss"),
        ),
        (
            "2026-12-06",
            Some("emo: expires in 14 days, then disabled; ask boss"),
        ),
        ("2026-12-07", None),
    ] {
        let field = format!("tier: power-user, expires: {last}, expiry_contact: boss");
        let rows = EMO_AND_ANN.replacen("tier: power-user", &field, 1);
        let plan = make(&roster(&rows), &host, &past.facts);
        assert!(plan.steps().is_empty(), "{last}");
        let notes: Vec<_> = plan.notes().iter().map(ToString::to_string).collect();
        assert_eq!(notes.first().map(String::as_str), said, "{last}");
    }
}

#[test]
fn a_shell_that_is_not_installed_holds_that_person_only() {
    let mut host = fresh_host();
    let Reading::Known(accounts) = &mut host.accounts else {
        unreachable!()
    };
    accounts.shells.clear();
    let past = nothing_known();
    let plan = make(&roster(EMO), &host, &past.facts);
    let verdict = verdict(&plan, &host, &past.facts);
    assert!(verdict.admitted.is_empty());
    let create = verdict
        .held
        .iter()
        .find(|it| verb(&it.step) == Verb::UserCreate)
        .expect("held");
    assert_eq!(
        create.reason.to_string(),
        "shell /bin/zsh is not installed on this host"
    );
}

#[test]
fn a_membership_is_taken_back_only_if_muster_gave_it() {
    let (past, mut host) = emo_and_ann_are_here();
    let mut ann = account(1000, &["code-shared", "docker", "sudo", "t3", "by-hand"]);
    ann.home = "/home/ann".into();
    add_account(&mut host, "ann", ann);
    let rows = EMO_AND_ANN.replace("tier: admin", "tier: power-user");
    let plan = make(&roster(&rows), &host, &past.facts);
    let left: Vec<_> = words(&plan)
        .into_iter()
        .filter(|it| it.starts_with("group.leave"))
        .collect();
    assert_eq!(
        left,
        [
            "group.leave ann group=code-shared",
            "group.leave ann group=docker",
            "group.leave ann group=sudo"
        ]
    );
    assert!(
        plan.notes()
            .contains(&rooms::Note::Account(Note::NotFromRoster {
                user: "ann".into(),
                group: "by-hand".into()
            }))
    );
}

#[test]
fn root_and_protected_names_are_refused_even_in_a_plan() {
    let (past, host) = emo_and_ann_are_here();
    let mut policy = policy();
    policy.protected.insert("emo".into());
    let plan = make_under(&policy, &roster(ANN), &host, &past.facts);
    let verdict = verdict_under(&policy, &plan, &host, &past.facts);
    assert!(
        verdict
            .admitted
            .iter()
            .all(|it| it.step().resource() != "emo")
    );
    assert!(
        verdict
            .held
            .iter()
            .any(|it| matches!(it.reason, Reason::Guardrail(_)))
    );
}

#[test]
fn a_home_that_vanished_is_not_replaced_by_an_empty_one() {
    let (past, mut host) = emo_and_ann_are_here();
    host.people.insert(
        "emo".into(),
        Person {
            home: Reading::Known(Home::Absent),
            traces: None,
            kept: None,
        },
    );
    let plan = make(&roster(EMO_AND_ANN), &host, &past.facts);
    assert!(plan.steps().is_empty());
    assert_eq!(
        refusals(&plan),
        ["emo: home /home/emo is gone; an empty one is not put in its place"]
    );
}

#[test]
fn entries_of_nobody_we_know_stay() {
    let (past, mut host) = emo_and_ann_are_here();
    let Some(Reading::Known(entries)) = host.aggregates.get_mut(&Aggregate::LoginMap) else {
        unreachable!()
    };
    entries.insert("s.ranger".into(), "stranger".into());
    let plan = make(&roster(EMO_AND_ANN), &host, &past.facts);
    assert!(plan.steps().is_empty());
    assert_eq!(
        plan.notes(),
        [rooms::Note::Account(Note::ForeignEntry {
            file: Aggregate::LoginMap,
            key: "s.ranger".into()
        })]
    );
}

#[test]
fn a_tier_cannot_make_its_own_shell_harmless() {
    let tiers = "tiers:\n  power-user: {shell: /opt/backdoor}\n";
    let files = BTreeMap::from([
        ("roster.yaml".to_owned(), EMO.as_bytes().to_vec()),
        ("tiers.yaml".to_owned(), tiers.as_bytes().to_vec()),
    ]);
    let (repo, _) = rooms::read_whole(&files, &[]).expect("a valid repository");
    let desired = desired::for_host(&repo.documents, &policy(), NOW.date());
    let mut host = fresh_host();
    let Reading::Known(accounts) = &mut host.accounts else {
        unreachable!()
    };
    accounts.shells.insert("/opt/backdoor".into());
    let past = nothing_known();
    let plan = make(&desired, &host, &past.facts);
    let verdict = verdict(&plan, &host, &past.facts);
    assert!(verdict.admitted.is_empty());
    assert_eq!(verdict.held[0].price.class, Class::Privileged);
    assert_eq!(verdict.held[0].reason, Reason::PendingSignature);
}

#[test]
fn tiers_are_compared_with_the_cluster_where_the_host_knows_them() {
    let (past, mut host) = emo_and_ann_are_here();
    let newcomer =
        format!("{EMO_AND_ANN}  zoe: {{authentik_user: z, k8s_user: zoe-k, tier: power-user}}\n");
    let tiers = |list: &[(&str, &str)]| {
        let map = list
            .iter()
            .map(|(user, tier)| ((*user).to_owned(), (*tier).to_owned()));
        Some(Reading::Known(map.collect()))
    };
    // Not there yet: onboarding goes on, and says what is missing. Admins are not compared.
    host.cluster_tiers = tiers(&[("emo-k", "power-user")]);
    let plan = make(&roster(&newcomer), &host, &past.facts);
    assert!(kinds_of(&plan, "zoe").contains(&Verb::UserCreate));
    let notes: Vec<_> = plan.notes().iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "zoe: tier power-user but k8s_user 'zoe-k' absent from k8s_users (kubectl grant pending — add the entry)"
        ]
    );
    // Another tier there: nobody new, and whoever is here stays as they are.
    host.cluster_tiers = tiers(&[("emo-k", "namespace-owner"), ("zoe-k", "namespace-owner")]);
    let plan = make(&roster(&newcomer), &host, &past.facts);
    assert_eq!(words(&plan), Vec::<String>::new());
    assert_eq!(refusals(&plan).len(), 2);
    // Not to be read: nobody is compared, and it is said.
    host.cluster_tiers = Some(Reading::Unknown("no such file".into()));
    let plan = make(&roster(&newcomer), &host, &past.facts);
    assert!(kinds_of(&plan, "zoe").contains(&Verb::UserCreate));
    assert_eq!(
        refusals(&plan),
        ["k8s_users could not be read (no such file); nothing is planned on it"]
    );
}
