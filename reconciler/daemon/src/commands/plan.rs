//! `muster plan`: what a cycle would do, and nothing of it. Needs no lock, and holds readers only (invariant 4).

mod recorded;
mod show;
mod subject;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use std::sync::Arc;

use muster_core::clock::Moment;
use muster_core::commit::CommitId;
use muster_core::diagnostic::visible;
use muster_core::executor::{Executor, ExecutorKind};
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, judge};
use muster_core::id::StepId;
use muster_core::ledger::inventory::Inventory;
use muster_core::plan::{Note, Plan};
use muster_core::report::{self, Basis, PolicyFrom, ReadAt};
use muster_core::rooms::{self, Desired, Observed, Policy};
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::world::{Files, World};

use self::show::{Shown, comment};
use self::subject::{Made, Planned, RefusedCommit, StatePlace, Wanted, find};

pub use recorded::InventoryError;

use super::here::{self, Those};
use super::{CommandError, Common, Output, ledgers, now, output};
use crate::answers;
use crate::clock;
use crate::cycle::{Preview, preview};
use crate::executors::host::open_host;
use crate::executors::{AnyWorld, AssembleError, guests};
use crate::exit;
use crate::reader;
use crate::settings::{self, ExecutorSettings, Settings};
use crate::state_dir::StateDir;

/// What to plan.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Plan the merge of this branch into the protected one.
    #[arg(long, value_name = "BRANCH", conflicts_with_all = ["commit", "rev"])]
    branch: Option<String>,
    /// Plan this commit, all digits of it, as if it were adopted.
    #[arg(long, value_name = "SHA", conflicts_with = "rev")]
    commit: Option<CommitId>,
    /// Plan this revision as if it were adopted: all digits of a commit, a branch, or a full reference name.
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Read this repository in place of the one in the settings: its HEAD, unless told otherwise.
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// Plan for a host as it was recorded: in a file of `--record`, on standard input (`-`), or in a ledger (a directory).
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Plan for this host of the fleet, as it last told in its ledger.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["record", "executor"])]
    host: Option<String>,
    /// Where the fleet's ledgers are, in place of what the settings say: a repository, or where git fetches it from.
    #[arg(long, value_name = "WHERE", conflicts_with = "inventory")]
    ledger: Option<String>,
    /// Write down what was read on this host, for `--inventory` elsewhere; with `-`, on standard output and without a plan.
    #[arg(long, value_name = "FILE", conflicts_with = "inventory")]
    record: Option<PathBuf>,
    /// For people, for programs, or as it is told on a proposal.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    here: Those,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Lines for a terminal.
    #[value(alias = "text")]
    Human,
    /// For programs; see the page on running a host.
    Json,
    /// The comment on a proposal.
    Markdown,
}

impl Args {
    /// Which recorded executor is planned for, where one was named.
    fn recorded_executor(&self) -> Result<Option<Executor>, CommandError> {
        let Some(name) = &self.host else {
            return match self.here.named() {
                [] => Ok(None),
                [only] => Ok(Some(only.clone())),
                _ => Err(CommandError::Usage(
                    "what was recorded is planned for one --executor at a time".into(),
                )),
            };
        };
        let host = Executor::of(ExecutorKind::Host, name);
        let wrong = || CommandError::Usage(format!("{} is no name of a host", visible(name)));
        host.map(Some).ok_or_else(wrong)
    }
}

/// What a plan is made for.
struct PlanContext {
    facts: Facts,
    policy: Policy,
    policy_from: PolicyFrom,
    recorded: ReadAt,
    now: Time,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    match (&args.inventory, args.recorded_executor()) {
        (Some(inventory), _) => for_a_recorded_host(inventory, args, common, out),
        (None, Ok(None)) if args.ledger.is_some() => Err(CommandError::Usage(
            "say whose plan with --host or --executor, beside --ledger".into(),
        )),
        (None, wanted) if args.host.is_some() || args.ledger.is_some() => {
            wanted?;
            let copy = tempfile::tempdir().map_err(CommandError::Runtime)?;
            let pushed = match &args.ledger {
                Some(named) => Some(named.clone()),
                None => common
                    .settings()?
                    .fleet
                    .ledger
                    .as_ref()
                    .map(ToString::to_string),
            };
            let Some(pushed) = pushed else {
                return Err(CommandError::Usage(
                    "the settings name no [fleet] ledger: say where it is with --ledger".into(),
                ));
            };
            let ledger = ledgers::reach(&pushed, copy.path())?;
            for_a_recorded_host(&ledger, args, common, out)
        }
        (None, _) => for_this_machine(args, common, out),
    }
}

fn for_this_machine(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    super::start_log(&settings, common);
    let mut all = args.here.of(&settings)?;
    if args.record.is_some() || matches!(args.format, Format::Json) {
        // One document, of one executor.
        all = vec![here::only(all)?];
    }
    here::for_each(&all, out, |here, out| for_one(here, &settings, args, out))
}

fn for_one(
    here: &ExecutorSettings,
    settings: &Settings,
    args: &Args,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let state = here.state();
    let facts = state.look_now(&here.executor)?.facts;
    let mut world = world_of(here, settings, &state)?;
    let context = PlanContext {
        policy: settings.policy_of(&facts.executor),
        policy_from: PolicyFrom::Settings,
        recorded: ReadAt::Live,
        now: clock::moment(&state, &facts, now).now,
        facts,
    };
    let kept = state.mirror();
    let place = StatePlace::of(&settings.state, Some(&kept));
    planned(args, &context, place, &mut world, out)
}

/// What an executor of this machine keeps, to be read.
fn world_of(
    here: &ExecutorSettings,
    settings: &Settings,
    state: &StateDir,
) -> Result<AnyWorld, AssembleError> {
    match here.executor.kind() {
        ExecutorKind::Host => {
            let host = open_host(settings, state).map_err(AssembleError::Host)?;
            Ok(AnyWorld::Host(Box::new(host)))
        }
        ExecutorKind::Guests => {
            let section = settings.guests_of(&here.executor)?;
            let guests = guests::open(section, state).map_err(AssembleError::Guests)?;
            Ok(AnyWorld::Guests(Box::new(guests)))
        }
        ExecutorKind::Cluster | ExecutorKind::Ca => {
            Err(AssembleError::NotKept(here.executor.clone()))
        }
    }
}

fn for_a_recorded_host(
    inventory: &Path,
    args: &Args,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let settings = settings_if_any(common)?;
    if let Some(settings) = &settings {
        super::start_log(settings, common);
    }
    let mut world = recorded::read(inventory, args.recorded_executor()?.as_ref())
        .map_err(CommandError::Inventory)?;
    let name = world.executor.clone();
    let (policy, policy_from) = match (&world.policy, &settings) {
        // What that host's own administrator decided.
        (Some(policy), _) => (policy.clone(), PolicyFrom::Ledger),
        (None, Some(settings))
            if name.kind() == ExecutorKind::Host || settings.guests_of(&name).is_ok() =>
        {
            (settings.policy_of(&name), PolicyFrom::Settings)
        }
        (None, Some(_) | None) => (Policy::built_in(&name), PolicyFrom::BuiltIn),
    };
    let context = PlanContext {
        policy,
        policy_from,
        recorded: ReadAt::At(world.at),
        // What another host's ledger says that it was there is no moment here.
        now: now(),
        facts: world.facts.clone(),
    };
    let from = match policy_from {
        PolicyFrom::Ledger => "its own policy".to_owned(),
        PolicyFrom::Settings => format!("the policy of {}", common.config.display()),
        PolicyFrom::BuiltIn => format!(
            "the built-in policy, since there is no {}",
            common.config.display()
        ),
    };
    let host = visible(&name.to_string());
    output::note(&format!(
        "note: planned for {host} as it was recorded at {}, by {from}\n",
        world.at
    ));
    let place = match &settings {
        Some(Settings { state, .. }) => StatePlace::of(state, None),
        None => StatePlace {
            url: None,
            branch: "refs/heads/main",
            listens: Path::new(reader::LISTENS),
            kept: None,
        },
    };
    planned(args, &context, place, &mut world, out)
}

/// What a cycle would plan now, and from what.
pub(super) struct Now {
    /// The moment that the executor goes by.
    pub(super) moment: Moment,
    /// The commit that would be enforced.
    pub(super) head: CommitId,
    /// The newest commit of the protected branch.
    pub(super) newest: CommitId,
    /// Why the newest one would not be enforced, where that is another, in a sentence.
    pub(super) refused: Option<String>,
    pub(super) facts: Facts,
    pub(super) policy: Policy,
    pub(super) observed: Observed,
    pub(super) plan: Plan,
    /// The guests that the file of a hypervisor names.
    pub(super) guests: BTreeSet<String>,
}

/// A step of such a plan: its executor, the step, and those that it needs.
pub(super) type StepNow = (Executor, Arc<Step>, Vec<StepId>);

/// The steps of the plans that a cycle would make now.
pub(super) fn steps_now(here: &ledgers::Here) -> Result<Vec<StepNow>, CommandError> {
    let mut all = Vec::new();
    for one in &here.executors {
        let Some(Now { plan, .. }) = plan_now(one, &here.settings)? else {
            continue;
        };
        for it in plan.steps() {
            all.push((one.executor.clone(), Arc::clone(&it.step), it.needs.clone()));
        }
    }
    Ok(all)
}

/// Why nothing could be planned: whose fault it is differs, and so does what is to be done.
#[derive(Debug)]
pub(super) enum NowError {
    /// There is no commit to plan by.
    Commit(CommandError),
    /// What the plan is for could not be looked at; the newest commit was found.
    World(CommitId, Box<CommandError>),
}

impl From<NowError> for CommandError {
    fn from(error: NowError) -> Self {
        match error {
            NowError::Commit(error) => error,
            NowError::World(_, error) => *error,
        }
    }
}

/// What a cycle would plan now; `None` where neither the newest nor the adopted commit can be planned.
pub(super) fn plan_now(
    here: &ExecutorSettings,
    settings: &Settings,
) -> Result<Option<Now>, NowError> {
    let state = here.state();
    let kept = state.mirror();
    let place = StatePlace::of(&settings.state, Some(&kept));
    let facts = match state.look_now(&here.executor) {
        Ok(replayed) => replayed.facts,
        Err(error) => return Err(NowError::Commit(error.into())),
    };
    let subject = find(Wanted::default(), place, &facts, now()).map_err(NowError::Commit)?;
    let newest = subject.protected.clone();
    let world = |error| NowError::World(newest.clone(), Box::new(error));
    let mut outside = world_of(here, settings, &state).map_err(|it| world(it.into()))?;
    let moment = clock::moment(&state, &facts, now);
    let context = PlanContext {
        policy: settings.policy_of(&facts.executor),
        policy_from: PolicyFrom::Settings,
        recorded: ReadAt::Live,
        now: moment.now,
        facts,
    };
    let made = subject::plan(Wanted::default(), place, &context, &mut outside, subject);
    let Made {
        subject,
        preview,
        refused,
    } = match made.map_err(world)? {
        Planned::Made(made) => *made,
        // What cannot be planned has no steps.
        Planned::Refused(..) => return Ok(None),
    };
    let PlanContext { facts, policy, .. } = context;
    let files = subject.files.unwrap_or_default();
    let guests = guests_named(&files, &policy, moment.now);
    Ok(Some(Now {
        moment,
        newest,
        refused: refused.map(|it| it.says(place.branch, &facts.adopted)),
        guests,
        head: subject.head,
        facts,
        policy,
        observed: preview.observed,
        plan: preview.plan,
    }))
}

/// The guests that the file of a hypervisor names, as far as it can be read.
fn guests_named(files: &Files, policy: &Policy, now: Time) -> BTreeSet<String> {
    let Ok((repo, _)) = rooms::read(files, policy.executor()) else {
        return BTreeSet::new();
    };
    match rooms::desired(&repo, policy, now.date()) {
        Desired::Guests(desired) => desired.guests.into_keys().collect(),
        Desired::Accounts(_) => BTreeSet::new(),
    }
}

/// The settings, unless nobody asked for a file and there is none that this user may read.
pub(super) fn settings_if_any(common: &Common) -> Result<Option<Settings>, CommandError> {
    if common.config == Path::new(settings::DEFAULT_PATH)
        && let Err(error) = File::open(&common.config)
        && matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::PermissionDenied
        )
    {
        return Ok(None);
    }
    common.settings().map(Some)
}

fn planned<W: World>(
    args: &Args,
    context: &PlanContext,
    place: StatePlace<'_>,
    world: &mut W,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let wanted = Wanted::of(args);
    let found = find(wanted, place, &context.facts, context.now)?;
    match subject::plan(wanted, place, context, world, found)? {
        // The process ends here: what is known of tens of thousands of people need not be taken apart for that.
        Planned::Made(made) => shown(args, context, place, &ManuallyDrop::new(made), world, out),
        Planned::Refused(subject, refused) => {
            let PlanContext { policy, .. } = context;
            match (args.format, &refused.human) {
                (Format::Json, _) => {
                    let section = subject.answers.as_ref().map(answers::section);
                    let basis = Basis {
                        sections: section.as_slice(),
                        ..context.basis(&subject.head, None)
                    };
                    let problems = &refused.problems;
                    out.text(&report::invalid_json(&basis, policy.executor(), problems))?;
                }
                (Format::Human, Some(text)) => {
                    out.text(text)?;
                    show::answers_of(&subject, out)?;
                }
                (Format::Human | Format::Markdown, _) => {
                    let invalid = report::Proposal::Invalid(&refused.problems);
                    comment(context, &subject, &invalid, out)?;
                }
            }
            Ok(exit::FAILED)
        }
    }
}

impl PlanContext {
    fn basis<'a>(&self, commit: &'a CommitId, refused: Option<&'a RefusedCommit>) -> Basis<'a> {
        Basis {
            commit,
            today: self.now.date(),
            recorded: self.recorded,
            policy: self.policy_from,
            now: self.now,
            refused: refused.map(|it| (&it.commit, it.problems.as_slice())),
            sections: &[],
        }
    }
}

/// Shows a plan, and says by the exit code whether there is anything to do.
fn shown<W: World>(
    args: &Args,
    context: &PlanContext,
    place: StatePlace<'_>,
    made: &Made,
    world: &mut W,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let PlanContext {
        facts,
        policy,
        recorded,
        now,
        ..
    } = context;
    let Made {
        subject,
        preview: shown,
        refused,
    } = made;
    let base: Option<Plan> = match &subject.base {
        Some(files) => preview(facts, world, policy, *now, &subject.protected, files)
            .ok()
            .map(|it| it.plan),
        None => None,
    };
    let Preview { plan, observed, .. } = shown;
    if let Some(path) = &args.record {
        let inventory = Inventory {
            executor: policy.executor().clone(),
            recorded: Some(*now),
            observed: observed.clone(),
            facts: Some(facts.clone()),
        };
        if path == Path::new("-") {
            out.bytes(&inventory.to_bytes())?;
            return Ok(exit::OK);
        }
        recorded::write(path, &inventory)?;
    }
    let bounds = plan.bounds(policy, observed, facts, *now);
    let verdict = judge(plan, &bounds, facts, &Approvals::of_begun(facts), *now);
    let host = report::Host {
        executor: policy.executor(),
        plan,
        verdict: &verdict,
        base: base.as_ref(),
        read: *recorded,
    };
    let mut above = report::standing(facts, *now);
    let instead = refused.as_ref();
    above.extend(instead.map(|it| it.says(place.branch, &facts.adopted)));
    let is_refused = subject.answers.as_ref().is_some_and(|it| it.is_refused);
    let written = Shown {
        context,
        made,
        above,
        host,
    };
    written.write(args.format, out)?;
    let is_unread = || plan.notes().iter().any(Note::is_unread);
    let code = if instead.is_some() || is_refused {
        // What is in force is planned, and the newest commit cannot be: whoever waits for that hears of it. So it is with a branch
        // whose owner responses keep it from being merged.
        exit::FAILED
    } else if !plan.steps().is_empty() {
        exit::CHANGES
    } else if is_unread() {
        // Nothing is planned on what could not be read, which is not the same as nothing to do.
        exit::FAILED
    } else {
        exit::OK
    };
    // The process ends now, and the system takes it all back at once.
    std::mem::forget((verdict, base));
    Ok(code)
}
