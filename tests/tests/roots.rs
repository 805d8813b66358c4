//! Whoever may become root, by whatever makes it so: what one signature releases about others takes two about them.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_core::release::ObjectKind;
use muster_core::rooms::Policy;
use muster_core::step::Step;
use muster_core::time::Time;
use muster_sim::{Repository, Sim, SimHost};
use muster_tests::oracle;
use muster_tests::signer::{self, Signer};
use muster_tests::story::{self, noon, roster};

const KEEPER: &str =
    "users:\n  keeper: {authentik_user: k.x, k8s_user: k, tier: power-user, adopt: {uid: 1500}}\n";
const EMO: &str = "users:\n  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}\n";
const EMIL: &str =
    "users:\n  emil: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user, previously: emo}\n";

struct World {
    sim: Sim,
    policy: Policy,
    now: Time,
}

impl World {
    /// A host that follows `first`, and has run it; opal and olga may sign, and two of them are asked for about admins.
    fn new(first: &str, change: impl FnOnce(&mut SimHost)) -> Self {
        let now = noon("2026-11-22".parse().expect("a date"));
        let mut repository = Repository::default();
        repository.commit("main", roster(first));
        let mut host = SimHost::debian();
        change(&mut host);
        let sim = Sim::new(repository, host, "devvm", now);
        sim.with(|it| it.trust = Some(signer::root(1, &["opal", "olga"])));
        let world = Self {
            sim,
            policy: story::policy(),
            now,
        };
        world.cycle();
        world
    }

    fn cycle(&self) -> Vec<Arc<Step>> {
        let summary = self.sim.cycle(&self.policy, self.now).expect("a cycle");
        let held = summary.held.iter().map(|it| it.step.clone());
        held.collect()
    }

    fn commit(&self, text: &str) {
        self.sim
            .with(|it| it.repository.commit("main", roster(text)));
    }

    /// How many people have to sign what is held of this verb before it runs.
    fn signatures(&self, verb: &str) -> usize {
        let held = self.cycle();
        let step = held
            .into_iter()
            .find(|it| it.action.spelled().word() == verb);
        let step = step.unwrap_or_else(|| panic!("{verb} is not held"));
        let statement = signer::statement(&[step], &self.sim.facts().adopted, 1, self.now);
        let mut signed = 0;
        for who in ["opal", "olga"] {
            let (name, raw) = Signer::named(who).release(&statement);
            self.sim
                .with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
            signed += 1;
            self.cycle();
            if !self.sim.facts().claims.is_empty() {
                break;
            }
        }
        let claims = self.sim.facts().claims;
        assert!(claims.values().any(|it| it.finished), "{verb} did not run");
        self.sim
            .with(|it| oracle::released(it, &self.policy))
            .expect("all of it by a release");
        signed
    }
}

fn keeper(host: &mut SimHost) {
    host.add_account("keeper", 1500, "/bin/zsh");
}

/// What makes somebody root or not: in words, as a change of the host, and how many signatures the adoption then takes.
type Row = (&'static str, fn(&mut SimHost), usize);

#[test]
fn adopting_somebody_who_may_become_root_takes_two() {
    let rows: [Row; 11] = [
        ("nothing", |_| (), 1),
        (
            "a sudoers without them",
            |it| it.sudoers = Some("%sudo ALL=(ALL:ALL) ALL\n".into()),
            1,
        ),
        (
            "sudo",
            |it| {
                it.groups
                    .get_mut("sudo")
                    .unwrap()
                    .1
                    .extend(["keeper".to_owned()])
            },
            2,
        ),
        (
            "docker",
            |it| {
                it.groups
                    .get_mut("docker")
                    .unwrap()
                    .1
                    .extend(["keeper".to_owned()])
            },
            2,
        ),
        (
            "a group with a static gid",
            |it| {
                it.groups
                    .insert("tape".into(), (26, BTreeSet::from(["keeper".into()])));
            },
            2,
        ),
        (
            "primary group",
            |it| it.accounts.get_mut("keeper").unwrap().gid = 27,
            2,
        ),
        (
            "administrator",
            |it| {
                it.administrators
                    .insert("sudo".into(), BTreeSet::from(["keeper".into()]));
            },
            2,
        ),
        (
            "sudoers",
            |it| it.sudoers = Some("keeper ALL=(ALL) /usr/bin/apt\n".into()),
            2,
        ),
        (
            "sudoers, by uid",
            |it| it.sudoers = Some("#1500 ALL=(ALL) ALL\n".into()),
            2,
        ),
        (
            "sudoers, by an alias",
            |it| {
                it.sudoers = Some("User_Alias OPS = ann, \\\n  keeper\nOPS ALL=(ALL) ALL\n".into());
            },
            2,
        ),
        (
            "sudoers, by the gid of the group",
            |it| it.sudoers = Some("%#1500 ALL=(ALL) ALL\n".into()),
            2,
        ),
    ];
    for (what, change, signatures) in rows {
        let world = World::new(KEEPER, |host| {
            keeper(host);
            change(host);
        });
        assert_eq!(world.signatures("user.adopt"), signatures, "{what}");
    }
}

#[test]
fn a_sudoer_is_renamed_there_and_back_by_two() {
    let world = World::new(EMO, |_| ());
    world
        .sim
        .with(|it| it.host.sudoers = Some("emo ALL=(ALL) ALL\n".into()));
    world.commit(EMIL);
    assert_eq!(world.signatures("user.rename"), 2);

    // Nobody special, until a name is one that sudoers has.
    for (sudoers, signatures) in [("", 1), ("emil ALL=(ALL) ALL\n", 2), ("%emil ALL=ALL\n", 2)] {
        let world = World::new(EMO, |it| it.sudoers = Some(sudoers.into()));
        world.commit(EMIL);
        assert_eq!(world.signatures("user.rename"), signatures, "{sudoers}");
    }
}

#[test]
fn a_name_that_is_in_sudo_before_it_has_an_account_gets_none_without_two() {
    for (what, change) in [
        (
            "sudo",
            (|it: &mut SimHost| {
                it.groups
                    .get_mut("sudo")
                    .unwrap()
                    .1
                    .extend(["emo".to_owned()])
            }) as fn(&mut SimHost),
        ),
        ("gshadow", |it| {
            drop(
                it.administrators
                    .insert("docker".into(), BTreeSet::from(["emo".into()])),
            )
        }),
        ("sudoers", |it| {
            it.sudoers = Some("emo ALL=(ALL) NOPASSWD: ALL\n".into())
        }),
    ] {
        let world = World::new(EMO, change);
        let is_there = || world.sim.with(|it| it.host.accounts.contains_key("emo"));
        assert!(!is_there(), "{what}");
        assert_eq!(world.signatures("user.create"), 2, "{what}");
        assert!(is_there(), "{what}");
    }
}

/// F4: signed or not.
#[test]
fn a_protected_name_is_not_renamed_away_by_any_number() {
    let mut world = World::new(EMO, |_| ());
    muster_tests::of_host::decided(&mut world.policy)
        .protected
        .insert("emo".into());
    world.commit(EMIL);
    let held = world.cycle();
    let step = held
        .iter()
        .find(|it| it.action.spelled().word() == "user.rename");
    let statement = signer::statement(
        &[step.unwrap().clone()],
        &world.sim.facts().adopted,
        1,
        world.now,
    );
    for who in ["opal", "olga"] {
        let (name, raw) = Signer::named(who).release(&statement);
        world
            .sim
            .with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
        world.cycle();
    }
    assert!(world.sim.facts().claims.is_empty());
    assert!(world.sim.with(|it| it.host.accounts.contains_key("emo")));
}
