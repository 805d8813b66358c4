//! The register: the only module that names every room. It has the sum types over the rooms, and each question that the spine
//! asks of a room as a function with one arm for each.
//!
//! In this order: steps (actions, verbs, incarnations, notes) · what goes into a plan (policy, known facts, desired, observed, and the
//! question to the world) · what the spine asks (draft, price, settle, say, bounds, material) · files (state repository, policy, inventory).
//!
//! A new room is a new variant of each sum; the compiler then lists every function that has to answer for it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::diagnostic::Diagnostics;
use crate::executor::{Executor, ExecutorKind};
use crate::flat::flat_sum;
use crate::id::{RunId, Spell, StepId};
use crate::ink::{Ink, Replaced};
use crate::limits::{Bounds, Limits, Over, Recent};
use crate::price::{Because, Price, Takes};
use crate::reading::{RecordedFacts, StepState};
use crate::repo::Documents;
use crate::services::records::Records;
use crate::sheet::{Drafted, InOrder, Sheet};
use crate::time::{Date, Time};
use crate::turn::Turn;
use crate::verb::VerbRow;
use crate::{accounts, guests, services};

// ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A change to one resource, whatever the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Of an account.
    Account(accounts::action::Action),
    /// Of a guest.
    Guest(guests::action::Action),
}

flat_sum!(Action {
    Account(accounts::action::Action),
    Guest(guests::action::Action),
});

impl Action {
    /// How it is spelled.
    pub fn spelled(&self) -> &dyn Spell {
        match self {
            Self::Account(action) => action,
            Self::Guest(action) => action,
        }
    }

    /// Its verb.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Account(action) => Verb::Account(action.verb()),
            Self::Guest(action) => Verb::Guest(action.verb()),
        }
    }

    /// What kind of executor carries it out.
    pub fn executor_kind(&self) -> ExecutorKind {
        match self {
            Self::Account(_) => ExecutorKind::Host,
            Self::Guest(_) => ExecutorKind::Guests,
        }
    }

    /// The names of all resources whose facts it can change.
    pub fn touched(&self) -> impl Iterator<Item = &str> {
        let (name, former) = match self {
            Self::Account(action) => (action.user(), action.former_name()),
            Self::Guest(action) => (action.guest(), None),
        };
        std::iter::once(name).chain(former)
    }

    /// What it does to an account, if it is about one.
    pub fn account(&self) -> Option<&accounts::action::Action> {
        match self {
            Self::Account(action) => Some(action),
            Self::Guest(_) => None,
        }
    }

    /// What it does to a guest, if it is about one.
    pub fn guest(&self) -> Option<&guests::action::Action> {
        match self {
            Self::Account(_) => None,
            Self::Guest(action) => Some(action),
        }
    }
}

/// What the resources of a plan are, in a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// People, by their accounts.
    Person,
    /// Guests of a hypervisor.
    Guest,
}

impl Resource {
    /// So many of them: `1 person`, `2 people`.
    pub fn counted(self, number: usize) -> String {
        let (one, many) = match self {
            Self::Person => ("person", "people"),
            Self::Guest => ("guest", "guests"),
        };
        format!("{number} {}", if number == 1 { one } else { many })
    }

    /// What stands before the name of one; of a person, nothing.
    pub(crate) fn before_a_name(self) -> &'static str {
        match self {
            Self::Person => "",
            Self::Guest => "guest ",
        }
    }
}

/// What a step is about, to be counted: a person is one on however many hosts; a guest is another one on each hypervisor.
pub(crate) fn counted<'s>(
    id: StepId,
    action: &'s Action,
    incarnation: &Incarnation,
) -> (Resource, Cow<'s, str>) {
    match action {
        Action::Account(action) => (Resource::Person, Cow::Borrowed(action.user())),
        Action::Guest(action) => {
            let which = match incarnation {
                Incarnation::Account(_) => String::new(),
                Incarnation::Guest(it) => it.counted(id),
            };
            let guest = format!("{} {which}", action.guest());
            (Resource::Guest, Cow::Owned(guest))
        }
    }
}

/// What a step is about, where all that have one name are one; `None` where it takes more to tell them apart.
pub(crate) fn counted_by_name(action: &Action) -> Option<Resource> {
    match action {
        Action::Account(_) => Some(Resource::Person),
        Action::Guest(_) => None,
    }
}

/// The verb of a step, in the order of the rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Of an account.
    Account(accounts::verbs::Verb),
    /// Of a guest.
    Guest(guests::verbs::Verb),
}

impl Verb {
    /// What is said of it.
    pub fn row(self) -> &'static VerbRow {
        match self {
            Self::Account(verb) => verb.row(),
            Self::Guest(verb) => verb.row(),
        }
    }
}

/// Every verb of every room.
pub fn verbs() -> impl Iterator<Item = &'static VerbRow> {
    let rooms: [&'static [VerbRow]; 2] = [accounts::verbs::VERBS, guests::verbs::VERBS];
    rooms.into_iter().flatten()
}

/// Which resource, beyond its name, a step is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incarnation {
    /// Of an account or a home.
    Account(accounts::action::Incarnation),
    /// Of a guest. There are far fewer of these, and each is twice as large (`tests/bench/bench plan`).
    Guest(Box<guests::action::Incarnation>),
}

flat_sum!(Incarnation {
    Account(accounts::action::Incarnation),
    Guest(guests::action::Incarnation),
});

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(incarnation) => incarnation.fmt(f),
            Self::Guest(incarnation) => incarnation.fmt(f),
        }
    }
}

/// What an act noted of a step while it was at work ([`crate::world::Recorder`]). Only guests need that so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Of a guest.
    Guest(guests::mark::Mark),
}

flat_sum!(Mark {
    Guest(guests::mark::Mark),
});

impl Mark {
    /// What kind of executor makes it.
    pub fn executor_kind(&self) -> ExecutorKind {
        match self {
            Self::Guest(_) => ExecutorKind::Guests,
        }
    }

    /// In a line of the audit trail, where it is worth one.
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Guest(mark) => guests::say::mark(mark),
        }
    }
}

/// What people should know that is no step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// About accounts.
    Account(accounts::note::Note),
    /// About guests.
    Guest(guests::say::Note),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(note) => note.fmt(f),
            Self::Guest(note) => note.fmt(f),
        }
    }
}

impl Note {
    /// What kind of executor says it.
    pub fn executor(&self) -> ExecutorKind {
        match self {
            Self::Account(_) => ExecutorKind::Host,
            Self::Guest(_) => ExecutorKind::Guests,
        }
    }

    /// The word for it, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Account(note) => note.kind(),
            Self::Guest(note) => note.kind(),
        }
    }

    /// Whether it says that a part of the world could not be read.
    pub fn is_unread(&self) -> bool {
        match self {
            Self::Account(note) => note.is_unread(),
            Self::Guest(note) => note.is_unread(),
        }
    }

    /// Whether it says that nothing at all could be planned for the executor.
    pub fn leaves_world_unknown(&self) -> bool {
        match self {
            Self::Account(note) => note.leaves_host_unknown(),
            Self::Guest(note) => note.leaves_hypervisor_unknown(),
        }
    }

    /// Whether something is lost or wrong that no step mends: the executor is not in order until a person looks (H7).
    pub fn is_amiss(&self) -> bool {
        match self {
            Self::Account(_) => false,
            Self::Guest(note) => note.is_amiss(),
        }
    }

    /// Whether somebody has to act on it.
    pub fn needs_attention(&self) -> bool {
        match self {
            Self::Account(note) => note.needs_attention(),
            Self::Guest(note) => note.needs_attention(),
        }
    }
}

/// What stands against a step, beyond a protected name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// About an account.
    Account(accounts::blocked::Blocked),
    /// About a guest.
    Guest(guests::say::Blocked),
}

/// Whether a step that a hold keeps from running counts for the limits all the same. A guest that cannot end is none of those that end at
/// once (H13): no release could name it, so one that must name all of them could not be made.
pub fn counts_when_held(action: &Action) -> bool {
    match action {
        Action::Account(_) => true,
        Action::Guest(_) => false,
    }
}

impl Blocked {
    /// Whether the world refused the step in the same words again and again (GB12).
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Account(_) => false,
            Self::Guest(blocked) => matches!(blocked, guests::say::Blocked::Refused { .. }),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(blocked) => blocked.fmt(f),
            Self::Guest(blocked) => blocked.fmt(f),
        }
    }
}

// ── what goes into a plan ────────────────────────────────────────────────────────────────────────────────────────────

/// What the administrator of an executor decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// About accounts.
    Accounts(accounts::policy::Policy),
    /// About guests.
    Guests(guests::policy::Policy),
}

impl From<accounts::policy::Policy> for Policy {
    fn from(policy: accounts::policy::Policy) -> Self {
        Self::Accounts(policy)
    }
}

impl From<guests::policy::Policy> for Policy {
    fn from(policy: guests::policy::Policy) -> Self {
        Self::Guests(policy)
    }
}

impl Policy {
    /// What holds for an executor whose settings are not known.
    pub fn built_in(executor: &Executor) -> Self {
        match executor {
            Executor::Guests(_) => Self::Guests(guests::policy::Policy::new(executor.clone())),
            // This version has no room for the last two: nothing of theirs is planned.
            Executor::Host(name) | Executor::Cluster(name) | Executor::Ca(name) => {
                let policy = accounts::policy::Policy::for_host(name);
                Self::Accounts(policy).binding(executor)
            }
        }
    }

    /// Whom it binds.
    pub fn executor(&self) -> &Executor {
        match self {
            Self::Accounts(policy) => &policy.executor,
            Self::Guests(policy) => &policy.executor,
        }
    }

    /// Bounds on a whole plan.
    pub fn limits(&self) -> &Limits {
        match self {
            Self::Accounts(policy) => &policy.limits,
            Self::Guests(policy) => &policy.limits,
        }
    }

    /// The same for the name that is pinned.
    #[must_use]
    pub fn binding(mut self, executor: &Executor) -> Self {
        match &mut self {
            Self::Accounts(policy) => policy.executor = executor.clone(),
            Self::Guests(policy) => policy.executor = executor.clone(),
        }
        self
    }

    /// What was decided about accounts, for whoever keeps some.
    pub fn accounts(&self) -> Option<&accounts::policy::Policy> {
        match self {
            Self::Accounts(policy) => Some(policy),
            Self::Guests(_) => None,
        }
    }
}

/// What an executor's room knows of what it keeps: part of the facts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// Of people.
    Accounts(accounts::facts::Known),
    /// Of guests.
    Guests(guests::facts::Known),
    /// Of nothing: this version has no room for executors of that kind.
    Nothing,
}

static NOBODY: accounts::facts::Known = accounts::facts::Known::new();

impl Known {
    /// Nothing yet.
    pub fn new(kind: ExecutorKind) -> Self {
        match kind {
            ExecutorKind::Host => Self::Accounts(accounts::facts::Known::new()),
            ExecutorKind::Guests => Self::Guests(guests::facts::Known::new()),
            ExecutorKind::Cluster | ExecutorKind::Ca => Self::Nothing,
        }
    }

    /// The people kept here; nobody where the executor keeps something else.
    pub fn accounts(&self) -> &accounts::facts::Known {
        match self {
            Self::Accounts(known) => known,
            Self::Guests(_) | Self::Nothing => &NOBODY,
        }
    }

    /// The people kept here, to be changed.
    pub fn accounts_mut(&mut self) -> Option<&mut accounts::facts::Known> {
        match self {
            Self::Accounts(known) => Some(known),
            Self::Guests(_) | Self::Nothing => None,
        }
    }

    /// What is known of the guests kept here, of whoever keeps some.
    pub fn guests(&self) -> Option<&guests::facts::Known> {
        match self {
            Self::Guests(known) => Some(known),
            Self::Accounts(_) | Self::Nothing => None,
        }
    }

    /// Takes in that a step is done.
    pub(crate) fn done(&mut self, id: StepId, action: &Action, at: Time) {
        match (self, action) {
            (Self::Accounts(known), Action::Account(action)) => known.done(id, action, at),
            (Self::Guests(known), Action::Guest(action)) => known.done(id, action, at),
            (known, action) => known.refuse(action),
        }
    }

    /// Takes in that a step came out otherwise than done.
    pub(crate) fn not_done(&mut self, action: &Action, incarnation: &Incarnation) {
        match (self, action, incarnation) {
            (Self::Accounts(known), Action::Account(action), _) => known.not_done(action),
            (Self::Guests(known), Action::Guest(action), Incarnation::Guest(incarnation)) => {
                known.not_done(action, incarnation);
            }
            (known, action, _) => known.refuse(action),
        }
    }

    /// Takes in what an act noted of a step.
    pub(crate) fn marked(
        &mut self,
        (id, action): (StepId, &Action),
        mark: &Mark,
        run: Option<RunId>,
        at: Time,
    ) {
        match (self, action, mark) {
            (Self::Guests(known), Action::Guest(action), Mark::Guest(mark)) => {
                known.marked((id, action), mark, run, at);
            }
            (known, action, Mark::Guest(_)) => known.refuse(action),
        }
    }

    /// Takes in that a release is at its end.
    pub(crate) fn run_ended(&mut self, run: &RunId) {
        match self {
            Self::Guests(known) => known.run_ended(run),
            Self::Accounts(_) | Self::Nothing => {}
        }
    }

    /// What was recorded after `at` counts as recorded then.
    pub(crate) fn go_back_to(&mut self, at: Time) {
        match self {
            Self::Accounts(known) => known.go_back_to(at),
            Self::Guests(known) => known.go_back_to(at),
            Self::Nothing => {}
        }
    }

    /// A step of another room than the executor's is refused before it gets here (invariant 11).
    fn refuse(&self, action: &Action) {
        unreachable!(
            "BUG: {} in the facts of another room",
            action.spelled().word()
        );
    }

    /// How the limits count a step.
    pub(crate) fn takes(&self, action: &Action) -> Takes {
        match action {
            Action::Account(action) => accounts::price::takes(action, self.accounts()),
            Action::Guest(action) => guests::facts::takes(action),
        }
    }

    /// What was begun and not seen done, where a room remembers that.
    pub(crate) fn begun(&self) -> Option<Begun> {
        match self {
            Self::Accounts(known) => Some(known.begun.clone()),
            Self::Guests(_) | Self::Nothing => None,
        }
    }

    /// What is kept, line by line, as files of the ledger: of all of it, or of those files alone in which `only` these names are.
    /// `None` is a file without a line.
    pub(crate) fn files(
        &self,
        only: Option<&BTreeSet<String>>,
    ) -> BTreeMap<String, Option<Vec<u8>>> {
        match self {
            Self::Accounts(known) => accounts::shards::files(&known.people, only),
            Self::Guests(known) => guests::shards::files(known, only),
            Self::Nothing => BTreeMap::new(),
        }
    }

    /// Reads it back out of the files of a ledger.
    ///
    /// # Errors
    /// The file and the line, from 1, that cannot be read, and why.
    pub(crate) fn read(
        kind: ExecutorKind,
        begun: Option<Begun>,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, (String, usize, serde_json::Error)> {
        match kind {
            ExecutorKind::Host => Ok(Self::Accounts(accounts::facts::Known {
                people: accounts::shards::read(files)?,
                begun: begun.unwrap_or_default(),
                locked: BTreeSet::new(),
            })),
            ExecutorKind::Guests => guests::shards::read(files).map(Self::Guests),
            ExecutorKind::Cluster | ExecutorKind::Ca => Ok(Self::new(kind)),
        }
    }
}

/// What was begun and not seen done, by name.
pub(crate) type Begun = BTreeMap<String, accounts::facts::AccountIds>;

/// A file in which all lines of what the room of executors of a kind keeps can be read back, if it keeps some.
pub(crate) fn file_of_lines(kind: ExecutorKind) -> Option<String> {
    match kind {
        ExecutorKind::Host => Some(format!("{}all.jsonl", accounts::shards::PEOPLE)),
        ExecutorKind::Guests => Some(guests::shards::FILE.to_owned()),
        ExecutorKind::Cluster | ExecutorKind::Ca => None,
    }
}

/// Whether a room remembers by name what was begun and not seen done.
pub(crate) fn keeps_begun(kind: ExecutorKind) -> bool {
    match kind {
        ExecutorKind::Host => true,
        ExecutorKind::Guests | ExecutorKind::Cluster | ExecutorKind::Ca => false,
    }
}

/// Whether a file of a ledger holds what a room keeps.
pub(crate) fn is_kept_in(path: &str) -> bool {
    let mut kinds = ExecutorKind::ALL.into_iter();
    kinds.any(|kind| is_kept_by(kind, path))
}

/// Whether a file of a ledger holds what the room of executors of a kind keeps.
pub(crate) fn is_kept_by(kind: ExecutorKind, path: &str) -> bool {
    match kind {
        ExecutorKind::Host => path.starts_with(accounts::shards::PEOPLE),
        ExecutorKind::Guests => path == guests::shards::FILE,
        ExecutorKind::Cluster | ExecutorKind::Ca => false,
    }
}

/// What the state repository asks of one executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desired {
    /// Accounts.
    Accounts(accounts::desired::Desired),
    /// Guests.
    Guests(guests::desired::Desired),
}

impl Desired {
    /// Whom `self` and `other` do not ask the same of, by name, with the names that somebody had before.
    pub fn differences(&self, other: &Self) -> BTreeSet<String> {
        fn between<'m, W: PartialEq>(
            a: &'m BTreeMap<String, W>,
            b: &'m BTreeMap<String, W>,
        ) -> impl Iterator<Item = &'m String> {
            let gone = a.keys().filter(|it| !b.contains_key(*it));
            b.iter()
                .filter(|(name, wanted)| a.get(*name) != Some(wanted))
                .map(|(name, _)| name)
                .chain(gone)
        }
        match (self, other) {
            (Self::Accounts(a), Self::Accounts(b)) => {
                between(&a.people, &b.people).cloned().collect()
            }
            (Self::Guests(a), Self::Guests(b)) => between(&a.guests, &b.guests).cloned().collect(),
            // One executor keeps one subject.
            (Self::Accounts(_), Self::Guests(_)) | (Self::Guests(_), Self::Accounts(_)) => {
                BTreeSet::new()
            }
        }
    }

    /// The accounts asked for, of whoever keeps some.
    pub fn accounts(&self) -> Option<&accounts::desired::Desired> {
        match self {
            Self::Accounts(desired) => Some(desired),
            Self::Guests(_) => None,
        }
    }
}

/// What was read of one executor's world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::large_enum_variant,
    reason = "an executor has one of them: a box would save nothing"
)]
pub enum Observed {
    /// A machine.
    Accounts(accounts::observed::Observed),
    /// A hypervisor.
    Guests(guests::observed::Observed),
}

impl From<accounts::observed::Observed> for Observed {
    fn from(observed: accounts::observed::Observed) -> Self {
        Self::Accounts(observed)
    }
}

impl From<guests::observed::Observed> for Observed {
    fn from(observed: guests::observed::Observed) -> Self {
        Self::Guests(observed)
    }
}

impl Observed {
    /// The machine that was read, if it was one.
    pub fn accounts(&self) -> Option<&accounts::observed::Observed> {
        match self {
            Self::Accounts(observed) => Some(observed),
            Self::Guests(_) => None,
        }
    }

    /// Makes of what was written down an answer to `question`: of whatever was not looked at so closely then, that is said.
    #[must_use]
    pub fn recalled<'a>(&'a self, question: &Question<'_>) -> Cow<'a, Self> {
        match (self, question) {
            (Self::Accounts(observed), Question::Accounts(question)) => {
                match observed.recalled(question) {
                    Cow::Borrowed(_) => Cow::Borrowed(self),
                    Cow::Owned(whole) => Cow::Owned(Self::Accounts(whole)),
                }
            }
            (Self::Guests(_), Question::Guests(_))
            | (Self::Accounts(_), Question::Guests(_))
            | (Self::Guests(_), Question::Accounts(_)) => Cow::Borrowed(self),
        }
    }

    /// Takes in a later look at a part of it.
    pub fn renew(&mut self, asked: &Question<'_>, newer: Self) {
        match (self, asked, newer) {
            (Self::Accounts(observed), Question::Accounts(asked), Self::Accounts(newer)) => {
                observed.renew(asked, newer);
            }
            (Self::Guests(observed), Question::Guests(asked), Self::Guests(newer)) => {
                observed.renew(asked, newer);
            }
            (observed, _, newer) => *observed = newer,
        }
    }
}

/// What a world is asked. Says where to look, never what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question<'q> {
    /// Of a machine.
    Accounts(accounts::observed::Question<'q>),
    /// Of a hypervisor.
    Guests(guests::observed::Question),
}

impl<'q> From<accounts::observed::Question<'q>> for Question<'q> {
    fn from(question: accounts::observed::Question<'q>) -> Self {
        Self::Accounts(question)
    }
}

impl<'q> Question<'q> {
    /// What kind of executor answers it.
    pub fn kind(&self) -> ExecutorKind {
        match self {
            Self::Accounts(_) => ExecutorKind::Host,
            Self::Guests(_) => ExecutorKind::Guests,
        }
    }

    /// Asks what `other` asks, too.
    pub fn widen(&mut self, other: Self) {
        match (self, other) {
            (Self::Accounts(question), Self::Accounts(other)) => question.widen(other),
            (Self::Guests(question), Self::Guests(other)) => question.widen(other),
            (Self::Accounts(_), Self::Guests(_)) | (Self::Guests(_), Self::Accounts(_)) => {}
        }
    }

    /// Asks about those of `names` alone: enough to see how their steps came out.
    pub fn narrow(&mut self, names: &BTreeSet<String>) {
        match self {
            Self::Accounts(question) => question.narrow(names),
            Self::Guests(question) => question.narrow(names),
        }
    }
}

/// Whom and what to look at for a plan, and for an inventory that serves for other plans.
pub fn question<'q>(desired: &'q Desired, known: &'q Known, policy: &Policy) -> Question<'q> {
    match desired {
        Desired::Accounts(desired) => {
            let shells = policy
                .accounts()
                .into_iter()
                .flat_map(|it| it.shells.iter().cloned());
            let mut question = accounts::question::question(desired, known.accounts());
            question.shells.extend(shells);
            Question::Accounts(question)
        }
        Desired::Guests(desired) => {
            Question::Guests(guests::question::question(desired, known.guests()))
        }
    }
}

/// Whom and what to look at for a plan alone.
pub fn question_of_plan<'q>(desired: &'q Desired, known: &'q Known) -> Question<'q> {
    match desired {
        Desired::Accounts(desired) => {
            Question::Accounts(accounts::question::question(desired, known.accounts()))
        }
        Desired::Guests(desired) => {
            Question::Guests(guests::question::question(desired, known.guests()))
        }
    }
}

/// Where to look to see what became of steps: at all that a turn can have changed, or at everything.
pub fn question_about<'q>(
    steps: impl Iterator<Item = (&'q Action, Price)>,
    known: &'q Known,
    turn: Option<Turn>,
) -> Question<'q> {
    match known {
        Known::Accounts(known) => {
            let steps = steps.filter_map(|(action, price)| Some((action.account()?, price)));
            Question::Accounts(accounts::question::about(steps, known, turn))
        }
        Known::Guests(known) => {
            let steps = steps.filter_map(|(action, _)| action.guest());
            Question::Guests(guests::question::about(steps, known))
        }
        Known::Nothing => Question::Guests(guests::observed::Question::default()),
    }
}

// ── what the spine asks ──────────────────────────────────────────────────────────────────────────────────────────────

/// What a room plans.
pub(crate) struct Draft<S> {
    /// The steps, in the order in which they run.
    pub(crate) steps: Vec<S>,
    /// What is to be said beside them.
    pub(crate) notes: Vec<Note>,
    /// What rendering needs beyond the steps.
    pub(crate) aside: Aside,
}

/// What rendering needs beyond the steps of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    /// Each person's first port, which orders the login map (R18).
    Ports(BTreeMap<String, u16>),
    /// What is known of the guests that have steps.
    Guests(BTreeMap<String, guests::facts::GuestFacts>),
}

/// Drafts the steps from observed to desired. `planned` makes what the plan keeps of each, and `place` tells its turn and its
/// resource.
pub(crate) fn draft<S>(
    policy: &Policy,
    today: Date,
    desired: &Desired,
    observed: &Observed,
    known: &Known,
    planned: impl Fn(Drafted<Action, Incarnation, Blocked>) -> S,
    place: impl Fn(&S) -> (Turn, &str),
) -> Draft<S> {
    let mut steps = InOrder::by(&place);
    match (policy, desired, observed) {
        (Policy::Accounts(policy), Desired::Accounts(desired), Observed::Accounts(observed)) => {
            let input = accounts::plan::Input {
                policy,
                today,
                desired,
                observed,
                known: known.accounts(),
            };
            let mut put = |it| steps.put(planned(of_account(it)));
            let mut sheet = Sheet::new(&policy.executor, &mut put);
            let (notes, ports) = accounts::plan::draft(&input, &mut sheet);
            Draft {
                steps: steps.into_steps(),
                notes: notes.into_iter().map(Note::Account).collect(),
                aside: Aside::Ports(ports),
            }
        }
        (Policy::Guests(policy), Desired::Guests(desired), Observed::Guests(observed)) => {
            let mut put = |it| steps.put(planned(of_guest(it)));
            let mut sheet = Sheet::new(&policy.executor, &mut put);
            let nothing = guests::facts::Known::new();
            let input = guests::plan::Input {
                policy,
                today,
                desired,
                observed,
                known: known.guests().unwrap_or(&nothing),
            };
            let notes = guests::plan::draft(&input, &mut sheet);
            let steps = steps.into_steps();
            let with_steps = steps.iter().map(|it| place(it).1);
            let of_guests = with_steps.filter_map(|it| Some((it, input.known.of(it)?)));
            let aside = of_guests.map(|(name, facts)| (name.to_owned(), facts.clone()));
            Draft {
                aside: Aside::Guests(aside.collect()),
                steps,
                notes: notes.into_iter().map(Note::Guest).collect(),
            }
        }
        (Policy::Accounts(_) | Policy::Guests(_), _, _) => {
            unreachable!(
                "BUG: what is planned for {} is of several rooms",
                policy.executor()
            )
        }
    }
}

fn of_account(
    drafted: Drafted<
        accounts::action::Action,
        accounts::action::Incarnation,
        accounts::blocked::Blocked,
    >,
) -> Drafted<Action, Incarnation, Blocked> {
    drafted.map(Action::Account, Incarnation::Account, Blocked::Account)
}

fn of_guest(
    drafted: Drafted<guests::action::Action, guests::action::Incarnation, guests::say::Blocked>,
) -> Drafted<Action, Incarnation, Blocked> {
    drafted.map(Action::Guest, Incarnation::from, Blocked::Guest)
}

/// What a step costs that is known from a journal or a ledger alone; `observed` is what was read, where somebody looked.
pub fn price(
    action: &Action,
    policy: &Policy,
    observed: Option<&Observed>,
    known: &Known,
) -> Price {
    match action {
        Action::Account(action) => {
            let nobodys = accounts::policy::Policy::for_host(policy.executor().name());
            let policy = policy.accounts().unwrap_or(&nobodys);
            let read = observed
                .and_then(Observed::accounts)
                .and_then(|it| it.accounts.known());
            let roots = read.map(|it| accounts::root::Roots::new(policy, it));
            let context = accounts::price::Context {
                policy,
                roots: roots.as_ref(),
                known: known.accounts(),
                occasion: accounts::price::Occasion::default(),
            };
            accounts::price::price(action, &context)
        }
        Action::Guest(action) => {
            let nothing = guests::facts::Known::new();
            guests::price::price(action, known.guests().unwrap_or(&nothing))
        }
    }
}

/// How far the world shows `action`, which is the step `step`, and what its act noted.
pub fn settle(
    step: StepId,
    action: &Action,
    observed: &Observed,
    policy: &Policy,
    known: &Known,
) -> StepState {
    match (action, observed, policy) {
        (Action::Account(action), Observed::Accounts(observed), Policy::Accounts(policy)) => {
            accounts::settle::settle(action, observed, policy)
        }
        (Action::Guest(action), Observed::Guests(observed), Policy::Guests(_)) => {
            let nothing = guests::facts::Known::new();
            let known = known.guests().unwrap_or(&nothing);
            guests::settle::settle(step, action, observed, known)
        }
        (Action::Account(_) | Action::Guest(_), _, _) => StepState::Unknown(
            "another world was looked at than the one that the step is about".to_owned(),
        ),
    }
}

/// Says what a step does.
pub fn say(action: &Action, ink: &mut dyn Ink) {
    match action {
        Action::Account(action) => accounts::say::say(action, ink),
        Action::Guest(action) => guests::say::say(action, ink),
    }
}

/// What the whole change of somebody is called where this is a part of it, before their name: `add`. Nothing where this part
/// says little of the whole.
pub(crate) fn deed(action: &Action) -> Option<&'static str> {
    match action {
        Action::Account(action) => accounts::say::deed(action),
        Action::Guest(action) => guests::say::deed(action),
    }
}

/// The value that `action` puts in the place of another, if it does no more than that.
pub(crate) fn replaced(action: &Action) -> Option<Replaced<'_>> {
    match action {
        Action::Account(action) => accounts::say::replaced(action),
        Action::Guest(action) => guests::say::replaced(action),
    }
}

/// Whether two steps, on two executors, have the same sentence and the same words.
pub(crate) fn reads_alike(a: &Action, b: &Action) -> bool {
    match (a, b) {
        (Action::Account(a), Action::Account(b)) => accounts::say::reads_alike(a, b),
        (Action::Guest(a), Action::Guest(b)) => a == b,
        (Action::Account(_), Action::Guest(_)) | (Action::Guest(_), Action::Account(_)) => false,
    }
}

/// Says why a step is of its class, before what the settings declare.
pub fn why(action: &Action, because: Because) -> String {
    match action {
        Action::Account(action) => accounts::say::why(action, because),
        Action::Guest(action) => guests::say::why(action, because),
    }
}

/// What a plan is over. `recent` are those from whom something was taken in the last 24 hours.
pub fn bounds<'a>(
    planned: impl Iterator<Item = (&'a Action, Takes)> + Clone,
    policy: &Policy,
    observed: &Observed,
    known: &Known,
    recent: &Recent<'a>,
    now: Time,
) -> Bounds {
    let over: Vec<Over> = match (policy, observed) {
        (Policy::Accounts(policy), Observed::Accounts(observed)) => {
            let planned = planned.filter_map(|(action, takes)| Some((action.account()?, takes)));
            accounts::limits::limits(planned, policy, observed, known.accounts(), recent, now)
        }
        (Policy::Guests(policy), Observed::Guests(observed)) => {
            let planned = planned.map(|(action, takes)| (action.spelled().resource(), takes));
            guests::limits::limits(planned, policy, observed, recent)
        }
        (Policy::Accounts(_) | Policy::Guests(_), _) => Vec::new(),
    };
    Bounds {
        over,
        retry_after: policy.limits().retry_after,
    }
}

/// What an act needs beyond its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// Files to be written whole.
    Files(Vec<accounts::render::FileWrite>),
    /// What is known of guests, by vmid or name, at the time of the plan: what an earlier try of a step noted ([`Mark`]), so that the act
    /// goes on from there.
    Guests(BTreeMap<String, guests::facts::GuestFacts>),
    /// Nothing.
    Nothing,
}

/// What the act of these steps needs beyond them; each step with the content that it writes.
pub(crate) fn material<'a>(
    steps: impl Iterator<Item = (&'a Action, Option<&'a Arc<str>>)>,
    observed: &Observed,
    aside: &Aside,
) -> Material {
    match (observed, aside) {
        (Observed::Accounts(observed), Aside::Ports(ports)) => {
            let steps = steps.filter_map(|(action, content)| Some((action.account()?, content)));
            Material::Files(accounts::render::writes(steps, observed, ports))
        }
        (Observed::Guests(_), Aside::Guests(facts)) => {
            let steps = steps.filter_map(|(action, _)| action.guest());
            let known = steps.filter_map(|it| facts.get_key_value(it.guest()));
            Material::Guests(known.map(|(name, it)| (name.clone(), it.clone())).collect())
        }
        (Observed::Accounts(_), Aside::Guests(_)) | (Observed::Guests(_), Aside::Ports(_)) => {
            Material::Nothing
        }
    }
}

// ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The files of a state repository, read by every room: what is right, and all that is wrong.
#[derive(Debug)]
pub struct StateRepo<'a> {
    /// Roster, tiers and hosts' files.
    pub documents: Documents<'a>,
    /// Hypervisors' files that are right, by name.
    guests: BTreeMap<&'a str, guests::desired::Desired>,
    /// What owners were asked and answered; of no executor, so there is nothing here where one alone reads.
    pub services: services::records::Records<'a>,
}

/// Reads the files of a state repository for one executor: all that *it* reads has to be right (invariant 7). Gives what is
/// wrong elsewhere, and the warnings, beside it.
///
/// # Errors
/// All that is wrong, if something of it concerns this executor.
pub fn read<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    executor: &Executor,
) -> Result<(StateRepo<'a>, Diagnostics), Diagnostics> {
    let (repo, diagnostics) = read_all(files, &[executor], Records::default());
    let wrong = diagnostics.has_error(|file| concerns(file, executor));
    match repo {
        Some(repo) if !wrong => Ok((repo, diagnostics)),
        _ => Err(diagnostics),
    }
}

/// Whether an executor reads a file of a state repository.
fn concerns(file: &str, executor: &Executor) -> bool {
    match executor {
        Executor::Host(host) => crate::repo::concerns_host(file, host),
        Executor::Guests(name) => guests::files::names_hypervisor(file).as_deref() == Some(name),
        Executor::Cluster(_) | Executor::Ca(_) => false,
    }
}

/// Reads the files of a state repository for everybody: the people, the hosts, and what these executors read. Nothing of it may
/// be wrong. Gives the warnings beside it.
///
/// # Errors
/// All that is wrong, warnings included.
pub fn read_whole<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    executors: &[&Executor],
) -> Result<(StateRepo<'a>, Diagnostics), Diagnostics> {
    let (repo, diagnostics) = read_as_far(files, executors);
    let wrong = diagnostics.has_error(|_| true);
    match repo {
        Some(repo) if !wrong => Ok((repo, diagnostics)),
        _ => Err(diagnostics),
    }
}

/// The same, as far as it can be read, with all that is wrong: where an answer cannot be read, what it holds is judged all the same.
pub fn read_as_far<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    executors: &[&Executor],
) -> (Option<StateRepo<'a>>, Diagnostics) {
    let mut report = crate::repo::Report::default();
    let services = services::read::read(files, &mut report);
    let (repo, of_others) = read_all(files, executors, services);
    (repo, of_others.and(report.diagnostics()))
}

/// The executors that files of a state repository are for by their names, besides its hosts: whoever looks at all of a repository reads
/// those, too.
pub fn executors_of(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<Executor> {
    let names = files.keys().map(String::as_str);
    let hypervisors = names.filter_map(guests::files::names_hypervisor);
    hypervisors.map(Executor::Guests).collect()
}

fn read_all<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    executors: &[&Executor],
    services: Records<'a>,
) -> (Option<StateRepo<'a>>, Diagnostics) {
    let keeps = |name: &str| {
        executors
            .iter()
            .any(|it| it.kind() == ExecutorKind::Guests && it.name() == name)
    };
    let is_kept = |path: &str| guests::files::names_hypervisor(path).is_some_and(|it| keeps(&it));
    let mut report = crate::repo::Report::default();
    let documents = report.documents(files, is_kept);
    let guests = guests::files::read(files, keeps, &mut report);
    if let Some(documents) = &documents {
        guests::files::warn_of_owners(files, &guests, documents, &mut report);
    }
    let repo = documents.map(|documents| StateRepo {
        documents,
        guests,
        services,
    });
    (repo, report.diagnostics())
}

/// What the state repository asks of the executor that `policy` binds, as of `today`.
pub fn desired(repo: &StateRepo<'_>, policy: &Policy, today: Date) -> Desired {
    match policy {
        Policy::Accounts(policy) => {
            Desired::Accounts(accounts::desired::for_host(&repo.documents, policy, today))
        }
        Policy::Guests(policy) => {
            let desired = repo.guests.get(policy.executor.name());
            let mut desired = desired.cloned().unwrap_or_default();
            desired.look_up_owners(&repo.documents, today);
            Desired::Guests(desired)
        }
    }
}

/// Why a file with an administrator's decisions cannot be used.
pub(crate) enum Unusable {
    /// It is not what was written.
    Malformed(serde_json::Error),
    /// It declares a verb benign that no setting can.
    NotDeclarable(&'static str),
    /// This version has no room for executors of that kind.
    NoRoom,
}

/// The format of the file with an administrator's decisions that this version writes.
pub(crate) fn policy_format(kind: ExecutorKind) -> u32 {
    match kind {
        ExecutorKind::Host => accounts::policy_file::FORMAT,
        ExecutorKind::Guests => guests::policy::FORMAT,
        ExecutorKind::Cluster | ExecutorKind::Ca => 0,
    }
}

/// What an administrator decided, as a file.
pub(crate) fn policy_file(policy: &Policy) -> Vec<u8> {
    match policy {
        Policy::Accounts(policy) => accounts::policy_file::to_bytes(policy),
        Policy::Guests(policy) => guests::policy::to_bytes(policy),
    }
}

/// Reads it back.
pub(crate) fn read_policy(executor: &Executor, bytes: &[u8]) -> Result<Policy, Unusable> {
    match executor.kind() {
        ExecutorKind::Host => match accounts::policy_file::read(bytes) {
            Ok(policy) => Ok(Policy::Accounts(policy)),
            Err(accounts::policy_file::Unusable::Malformed(source)) => {
                Err(Unusable::Malformed(source))
            }
            Err(accounts::policy_file::Unusable::NotDeclarable(verb)) => {
                Err(Unusable::NotDeclarable(verb))
            }
        },
        ExecutorKind::Guests => guests::policy::read(bytes)
            .map(Policy::Guests)
            .map_err(Unusable::Malformed),
        ExecutorKind::Cluster | ExecutorKind::Ca => Err(Unusable::NoRoom),
    }
}

/// The format of the file with what was read that this version writes.
pub(crate) fn inventory_format(kind: ExecutorKind) -> u32 {
    match kind {
        ExecutorKind::Host => accounts::inventory::FORMAT,
        ExecutorKind::Guests => guests::inventory::FORMAT,
        ExecutorKind::Cluster | ExecutorKind::Ca => 0,
    }
}

/// Writes what was read after the head of the file.
pub(crate) fn push_observed(out: &mut Vec<u8>, observed: &Observed) {
    match observed {
        Observed::Accounts(observed) => accounts::inventory::push_observed(out, observed),
        Observed::Guests(observed) => guests::inventory::push_observed(out, observed),
    }
}

/// What a file with what was read says: when it was read, where it says so, what was read, and the facts that it carries.
pub(crate) type ReadInventory = (Option<Time>, Observed, Option<RecordedFacts>);

/// Reads it back; `None` where this version has no room for executors of that kind.
pub(crate) fn read_inventory(
    kind: ExecutorKind,
    bytes: &[u8],
) -> Result<Option<ReadInventory>, serde_json::Error> {
    Ok(match kind {
        ExecutorKind::Host => {
            let (recorded, observed, facts) = accounts::inventory::read(bytes)?;
            Some((recorded, Observed::Accounts(observed), facts))
        }
        ExecutorKind::Guests => {
            let (recorded, observed, facts) = guests::inventory::read(bytes)?;
            Some((recorded, Observed::Guests(observed), facts))
        }
        ExecutorKind::Cluster | ExecutorKind::Ca => None,
    })
}

#[cfg(test)]
mod tests;
