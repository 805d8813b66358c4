//! A small workstation to plan for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::accounts::action::Incarnation;
use muster_core::accounts::desired::{Desired, Wanted};
use muster_core::accounts::facts::{PersonFacts, Provenance, SetAside};
use muster_core::accounts::observed::{Account, Accounts, Manager, Observed, Password, Units};
use muster_core::accounts::policy::{Aggregate, Policy, PortFamily};
use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, Verdict, judge};
use muster_core::people::Stage;
use muster_core::plan::{Input, Plan, plan};
use muster_core::reading::Reading;
use muster_core::repo::{Grant, Tier};
use muster_core::report::{Audience, CommitContext, ReadAt};
use muster_core::rooms;
use muster_core::step::Step;
use muster_core::time::Time;

/// 2026-11-22T15:25:59Z.
pub(crate) const NOW: Time = Time(1_795_361_159);

pub(crate) fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    pub(crate) facts: Facts,
}

/// A plan with its verdict.
pub(crate) struct Planned {
    pub(crate) executor: Executor,
    pub(crate) plan: Plan,
    pub(crate) verdict: Verdict,
}

impl World {
    /// A host that keeps instances, ports and all three aggregate files, and nobody on it yet.
    pub(crate) fn new(host: &str) -> Self {
        let mut policy = Policy::for_host(host);
        policy.units = vec!["t3-serve@.service".into()];
        policy.families = vec![PortFamily {
            name: "t3".into(),
            first: 3773,
            last: 65_535,
        }];
        policy.aggregates = Aggregate::ALL.into();
        let groups = [("code-shared", 1500), ("docker", 998), ("sudo", 27)];
        let accounts = Accounts {
            groups: groups.map(|(name, gid)| (name.to_owned(), gid)).into(),
            shells: ["/bin/zsh", "/opt/odd/sh"].map(str::to_owned).into(),
            ..Accounts::default()
        };
        let units = Units {
            manager: Manager::Running,
            templates: ["t3-serve@.service".to_owned()].into(),
            ..Units::default()
        };
        Self {
            policy,
            desired: Desired {
                people: BTreeMap::new(),
                anybody: true,
            },
            observed: Observed {
                accounts: Reading::Known(accounts),
                people: BTreeMap::new(),
                environments: Reading::Known(BTreeMap::new()),
                cluster_tiers: None,
                aggregates: Aggregate::ALL
                    .map(|file| (file, Reading::Known(BTreeMap::new())))
                    .into(),
                units: Reading::Known(units),
            },
            facts: Facts::genesis(
                &"e".repeat(32),
                Executor::Host(host.into()),
                commit('a'),
                Time(0),
            ),
        }
    }

    /// A host that keeps accounts and nothing more.
    pub(crate) fn bare(host: &str) -> Self {
        let mut world = Self::new(host);
        world.policy.units.clear();
        world.policy.families.clear();
        world.policy.aggregates.clear();
        world
    }

    pub(crate) fn accounts(&mut self) -> &mut Accounts {
        match &mut self.observed.accounts {
            Reading::Known(accounts) => accounts,
            Reading::Unknown(why) => panic!("{why}"),
        }
    }

    /// Whom muster keeps here.
    pub(crate) fn people(&mut self) -> &mut BTreeMap<String, Box<PersonFacts>> {
        &mut self.facts.known.accounts_mut().expect("a host's").people
    }

    /// Puts a row into the roster.
    pub(crate) fn want(&mut self, user: &str, tier: Tier) -> &mut Wanted {
        let groups: &[&str] = if tier == Tier::Admin {
            &["code-shared", "docker", "sudo"]
        } else {
            &[]
        };
        let wanted = Wanted {
            authentik_user: format!("{user}@example.org"),
            k8s_user: user.to_owned(),
            tier,
            namespaces: Vec::new(),
            uid: None,
            adopt: None,
            previously: None,
            parked: None,
            disabled: None,
            expiring: None,
            grant: Arc::new(Grant {
                groups: groups.iter().map(|it| (*it).to_owned()).collect(),
                shell: "/bin/zsh".to_owned(),
                instance: self.policy.runs_instances(),
            }),
            workspace: false,
            repos: Vec::new(),
            claude_auth: true,
        };
        self.desired
            .people
            .insert(user.to_owned(), Box::new(wanted));
        self.desired.people.get_mut(user).unwrap()
    }

    /// Puts a row into the roster, and lends what its tier gives it.
    pub(crate) fn want_granted(&mut self, user: &str, tier: Tier) -> &mut Grant {
        Arc::make_mut(&mut self.want(user, tier).grant)
    }

    /// Lets muster have created an account some time ago.
    pub(crate) fn kept(&mut self, user: &str, uid: u32, stage: Stage) {
        let account = Account {
            more: Default::default(),
            uid,
            gid: uid,
            home: format!("/home/{user}"),
            shell: "/bin/zsh".to_owned(),
            password: Password::Locked,
            expires: None,
            groups: BTreeSet::new(),
            subuid: None,
            subgid: None,
            renaming_from: None,
            half_groups: BTreeSet::new(),
        };
        let action = muster_core::accounts::action::Action::LockPassword {
            user: user.to_owned(),
        };
        let entry = Step::new(
            &self.policy.executor,
            action,
            Incarnation::New { generation: 0 },
        )
        .id;
        let person = PersonFacts {
            more: Default::default(),
            entry,
            how: Provenance::Created,
            generation: 1,
            cuts: 0,
            uid,
            gid: uid,
            home: account.home.clone(),
            subuid: None,
            subgid: None,
            authentik_user: format!("{user}@example.org"),
            k8s_user: user.to_owned(),
            stage,
            since: Time(0),
            home_made: true,
            ports: BTreeMap::new(),
            given: BTreeSet::new(),
            joining: BTreeSet::new(),
            aside: SetAside::default(),
            renaming: BTreeSet::new(),
            formerly: BTreeSet::new(),
            archive: None,
            home_owed: None,
            told: None,
        };
        self.accounts()
            .by_name
            .insert(user.to_owned(), Box::new(account));
        self.people().insert(user.to_owned(), Box::new(person));
    }

    pub(crate) fn plan(&self) -> Planned {
        let desired = rooms::Desired::Accounts(self.desired.clone());
        planned(
            &self.policy.clone().into(),
            &desired,
            &self.observed.clone().into(),
            &self.facts,
        )
    }
}

/// Plans for one executor, and judges the plan without any release.
pub(crate) fn planned(
    policy: &rooms::Policy,
    desired: &rooms::Desired,
    observed: &rooms::Observed,
    facts: &Facts,
) -> Planned {
    let plan = plan(&Input {
        policy,
        commit: &commit('b'),
        today: NOW.date(),
        desired,
        observed,
        facts,
    });
    let bounds = plan.bounds(policy, observed, facts, NOW);
    let verdict = judge(&plan, &bounds, facts, &Approvals::none(), NOW);
    Planned {
        executor: policy.executor().clone(),
        plan,
        verdict,
    }
}

impl Planned {
    pub(crate) fn host<'a>(&'a self, base: Option<&'a Plan>) -> muster_core::report::Host<'a> {
        muster_core::report::Host {
            executor: &self.executor,
            plan: &self.plan,
            verdict: &self.verdict,
            base,
            read: ReadAt::Live,
        }
    }
}

/// Calls `f` with what a comment is about.
pub(crate) fn about<T>(
    branch: Option<&str>,
    audience: Audience,
    f: impl FnOnce(&CommitContext<'_>) -> T,
) -> T {
    let (head, protected) = (commit('b'), commit('a'));
    f(&CommitContext {
        head: &head,
        protected: &protected,
        branch,
        today: NOW.date(),
        audience,
        full: None,
        operator: None,
    })
}
