//! The simulated host that releases are tried on, and whoever signs them.

use std::sync::Arc;

use muster::cycle::{self, CycleSummary};
use muster_core::accounts::action::Action;
use muster_core::clock::Moment;
use muster_core::commit::CommitId;
use muster_core::gate::Approvals;
use muster_core::release::admit::{AdmissionContext, CommitStanding, Release, admit};
use muster_core::release::statement::{Line, Statement};
use muster_core::release::{Code, ObjectKind, authenticate};
use muster_core::rooms::Policy;
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::world::Source as _;
use muster_sim::{Repository, Sim, SimHost};
use muster_tests::of_host;
use muster_tests::signer::{self, Signer};
use muster_tests::story::{self, noon, roster};

pub(crate) const FOUR: &str = "users:
  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}
  bea: {authentik_user: b.ea, k8s_user: bea-k, tier: power-user}
  cho: {authentik_user: c.ho, k8s_user: cho-k, tier: power-user}
  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}
";

/// A host on which emo, no longer in the roster, was cut, and waits for the removal of the account and the home.
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) policy: Policy,
    pub(crate) now: Time,
    pub(crate) held: Vec<Arc<Step>>,
    pub(crate) nonce: u8,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = noon("2026-11-22".parse().expect("a date"));
        let mut repository = Repository::default();
        repository.commit("main", roster(FOUR));
        let sim = Sim::new(repository, SimHost::debian(), "devvm", now);
        sim.with(|it| it.trust = Some(signer::root(1, &["opal", "olga"])));
        let mut world = Self {
            sim,
            policy: story::policy(),
            now,
            held: Vec::new(),
            nonce: 0,
        };
        let _ = world.cycle();
        world.commit(&without("emo"));
        let _ = world.cycle();
        world
    }

    pub(crate) fn cycle(&mut self) -> CycleSummary {
        let summary = self.sim.cycle(&self.policy, self.now).expect("a cycle");
        self.held = summary.held.iter().map(|it| it.step.clone()).collect();
        summary
    }

    pub(crate) fn commit(&self, text: &str) -> CommitId {
        self.sim
            .with(|it| it.repository.commit("main", roster(text)))
    }

    /// What the last cycle held of this verb and person.
    pub(crate) fn step(&self, verb: &str, user: &str) -> Arc<Step> {
        self.held
            .iter()
            .find(|it| of_host::verb(it).word() == verb && it.resource() == user)
            .unwrap_or_else(|| panic!("{verb} {user} is not held"))
            .clone()
    }

    /// The removals among what ran.
    pub(crate) fn removals<'a>(
        &'a self,
        summary: &'a CycleSummary,
    ) -> impl Iterator<Item = &'a Step> {
        let steps = summary.ran.iter().map(|(step, _)| &**step);
        steps.filter(|it| of_host::price(it, &self.policy).takes.counts())
    }

    /// What releases these steps, once.
    pub(crate) fn statement(&mut self, steps: &[Arc<Step>]) -> Statement {
        self.nonce += 1;
        signer::statement(steps, &self.sim.facts().adopted, self.nonce, self.now)
    }

    /// What releases the end of emo's account, once.
    pub(crate) fn removal(&mut self) -> Statement {
        let step = self.step("user.archive_delete", "emo");
        self.statement(&[step])
    }

    pub(crate) fn push(&self, who: &str, statement: &Statement) -> String {
        let (name, raw) = Signer::named(who).release(statement);
        self.sim
            .with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
        name
    }

    /// The removal, changed, signed by opal, and a cycle.
    pub(crate) fn changed(&mut self, change: impl FnOnce(&mut Statement)) -> CycleSummary {
        let mut statement = self.removal();
        change(&mut statement);
        self.push("opal", &statement);
        self.cycle()
    }

    /// What `admit` says of a release, if the commit is fine.
    pub(crate) fn admitted(&self, who: &str, statement: &Statement) -> Option<Code> {
        let (name, raw) = Signer::named(who).release(statement);
        let root = self.sim.with(|it| it.trust.clone()).expect("a root");
        let ref_name = format!("refs/tags/{name}");
        let signed = authenticate(&ref_name, ObjectKind::Tag, &raw, Some(&root), self.now);
        let release = Release::group([signed.expect("a good signature")]).remove(0);
        let facts = self.sim.facts();
        let files = self.sim.clone().files(&facts.adopted).expect("files");
        let preview = cycle::preview(
            &facts,
            &mut self.sim.clone(),
            &self.policy,
            self.now,
            &facts.adopted,
            &files.expect("valid files"),
        )
        .expect("a plan");
        let standing = AdmissionContext {
            root: &root,
            policy: &self.policy,
            facts: &facts,
            observed: &preview.observed,
            plan: &preview.plan,
            approvals: &Approvals::none(),
            moment: &Moment::certain(self.now),
        };
        let admission = admit(&release, &CommitStanding::Adopted, &standing);
        admission.err().map(|refusal| refusal.code)
    }
}

/// The roster of four without some of them.
pub(crate) fn without(names: &str) -> String {
    let gone = |line: &&str| {
        !names
            .split(' ')
            .any(|name| line.starts_with(&format!("  {name}:")))
    };
    FOUR.lines().filter(gone).collect::<Vec<_>>().join("\n") + "\n"
}

/// A line of a statement, as it is written.
pub(crate) fn lines(statement: &mut Statement) -> &mut Vec<Line> {
    statement.blocks.get_mut("host/devvm").expect("a block")
}

/// The removal of somebody or something else, which nobody planned.
pub(crate) fn forged(world: &mut World, change: impl FnOnce(&mut Action)) -> Arc<Step> {
    let step = world.step("user.archive_delete", "emo");
    let mut action = of_host::action(&step).clone();
    change(&mut action);
    Step::new(world.policy.executor(), action, step.incarnation.clone()).into()
}
