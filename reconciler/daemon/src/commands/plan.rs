//! `muster plan`: what a cycle would do, and nothing of it. Needs no lock, and holds readers only (invariant 4).

mod recorded;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use std::sync::Arc;

use muster_core::clock::Moment;
use muster_core::commit::CommitId;
use muster_core::diagnostic::{Diagnostics, visible};
use muster_core::executor::{Executor, ExecutorKind};
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, judge};
use muster_core::id::StepId;
use muster_core::ledger::inventory::Inventory;
use muster_core::plan::{Note, Plan};
use muster_core::release::TagHorizon;
use muster_core::report::{
    self, Audience, Basis, CommitContext, FORGE_LIMIT, PolicyFrom, Problem, ReadAt,
};
use muster_core::rooms::{self, Desired, Observed, Policy};
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::world::{Files, Merge, Source as _, World};
use muster_git::{Origin, Proposals, at};

pub use recorded::InventoryError;

use super::here::{self, Those};
use super::{CommandError, Common, Output, ledgers, now, output};
use crate::clock;
use crate::cycle::{CycleError, Preview, preview};
use crate::executors::host::open_host;
use crate::executors::{AnyWorld, AssembleError, guests};
use crate::exit;
use crate::outside::StateSource;
use crate::paint::paper;
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

/// What is planned: the files, and by which commits they are named.
struct PlannedCommit {
    head: CommitId,
    protected: CommitId,
    files: Result<Files, Vec<Problem>>,
    base: Option<Files>,
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
    let subject = find(
        args,
        &context.facts,
        settings.state.url.as_ref(),
        &settings.state.branch,
        &settings.state.reader,
    )?;
    planned(args, &context, &subject, &mut world, out)
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
    let (url, branch, listens) = match &settings {
        Some(Settings { state, .. }) => (
            state.url.as_ref(),
            state.branch.as_str(),
            state.reader.as_path(),
        ),
        None => (None, "refs/heads/main", Path::new(reader::LISTENS)),
    };
    let subject = find(args, &context.facts, url, branch, listens)?;
    planned(args, &context, &subject, &mut world, out)
}

/// What a cycle would plan now, and from what.
pub(super) struct Now {
    /// The moment that the executor goes by.
    pub(super) moment: Moment,
    /// The commit that would be enforced.
    pub(super) head: CommitId,
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

/// What a cycle would plan now; `None` where the commit cannot be planned.
pub(super) fn plan_now(
    here: &ExecutorSettings,
    settings: &Settings,
) -> Result<Option<Now>, CommandError> {
    let state = here.state();
    let facts = state.look_now(&here.executor)?.facts;
    let what = Args {
        branch: None,
        commit: None,
        rev: None,
        repo: None,
        inventory: None,
        host: None,
        ledger: None,
        record: None,
        format: Format::Human,
        here: Those::default(),
    };
    let PlannedCommit { head, files, .. } = find(
        &what,
        &facts,
        settings.state.url.as_ref(),
        &settings.state.branch,
        &settings.state.reader,
    )?;
    // What cannot be planned has no steps.
    let Ok(files) = files else {
        return Ok(None);
    };
    let mut world = world_of(here, settings, &state)?;
    let policy = settings.policy_of(&facts.executor);
    let moment = clock::moment(&state, &facts, now);
    let guests = guests_named(&files, &policy, moment.now);
    match preview(&facts, &mut world, &policy, moment.now, &head, &files) {
        Ok(Preview { plan, observed, .. }) => Ok(Some(Now {
            moment,
            head,
            facts,
            policy,
            observed,
            plan,
            guests,
        })),
        Err(CycleError::Repository { .. }) => Ok(None),
        Err(error) => Err(CommandError::Cycle(error)),
    }
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

fn problems_of(diagnostics: &Diagnostics) -> Vec<Problem> {
    Problem::all(diagnostics)
}

fn find(
    args: &Args,
    facts: &Facts,
    url: Option<&Origin>,
    protected_branch: &str,
    listens: &Path,
) -> Result<PlannedCommit, CommandError> {
    let failed = |error| CommandError::from(AssembleError::Repositories(error));
    let origin = match &args.repo {
        Some(dir) => Origin::Local(std::path::absolute(dir).map_err(CommandError::Runtime)?),
        None => url.cloned().ok_or(AssembleError::NoOrigin)?,
    };
    let named = args.rev.clone().or_else(|| {
        // Whoever names a repository means what lies there.
        (args.repo.is_some() && args.branch.is_none() && args.commit.is_none())
            .then(|| "HEAD".to_owned())
    });
    // A repository of its own, so that a daemon at work on the mirror is not disturbed.
    let scratch = tempfile::tempdir().map_err(CommandError::Runtime)?;
    let wanted = if args.branch.is_some() || named.is_some() {
        Proposals::Include
    } else {
        Proposals::Ignore
    };
    let dir = scratch.path().join("mirror.git");
    let way = reader::way_of_console(&origin, listens);
    let mut source = StateSource::for_one_look(&dir, origin.clone(), way, protected_branch, wanted)
        .map_err(failed)?;
    let heads = source.heads(&TagHorizon::NONE).map_err(failed)?;
    let no_branch = |name: &str| {
        CommandError::NotConfirmed(format!(
            "the state repository {origin} has no branch {name}"
        ))
    };
    if let Some(branch) = &args.branch {
        let protected = heads.protected.ok_or_else(|| no_branch(protected_branch))?;
        let full = full_name(branch);
        let head = if full == protected_branch {
            protected.clone()
        } else {
            let found = heads.proposals.get(&full).cloned();
            found.ok_or_else(|| no_branch(&full))?
        };
        let base = source.files(&protected).map_err(failed)?.ok();
        let files = match source.merge(&protected, &head).map_err(failed)? {
            Merge::Clean(files) => Ok(files),
            Merge::Contained => source
                .files(&protected)
                .map_err(failed)?
                .map_err(|it| problems_of(&it)),
            Merge::Refused(diagnostics) => Err(problems_of(&diagnostics)),
            Merge::Conflict(paths) => Err(paths
                .into_iter()
                .map(|path| Problem {
                    place: path,
                    rule: "merge-conflict".to_owned(),
                    text: format!("cannot be merged into {protected_branch} by itself"),
                    help: Some("rebase the branch".to_owned()),
                    more: 0,
                })
                .collect()),
        };
        return Ok(PlannedCommit {
            head,
            protected,
            files,
            base,
        });
    }
    let head = match (&args.commit, &named) {
        (Some(commit), _) => commit.clone(),
        (None, Some(rev)) => {
            let full = full_name(rev);
            let known = rev
                .parse()
                .ok()
                .or_else(|| heads.proposals.get(&full).cloned())
                .or_else(|| heads.protected.clone().filter(|_| full == protected_branch));
            match (known, &origin) {
                (Some(commit), _) => commit,
                (None, Origin::Local(path)) => {
                    at::commit_at(path, rev).map_err(CommandError::Revision)?
                }
                (None, Origin::Remote(_)) => return Err(no_branch(&full)),
            }
        }
        // A frozen executor enforces what it adopted, whatever the branch shows.
        (None, None) if facts.frozen.is_some() => facts.adopted.clone(),
        (None, None) => heads
            .protected
            .clone()
            .ok_or_else(|| no_branch(protected_branch))?,
    };
    let files = source
        .files(&head)
        .map_err(failed)?
        .map_err(|it| problems_of(&it));
    Ok(PlannedCommit {
        protected: heads.protected.unwrap_or_else(|| head.clone()),
        head,
        files,
        base: None,
    })
}

fn full_name(branch: &str) -> String {
    if branch.starts_with("refs/") {
        branch.to_owned()
    } else {
        format!("refs/heads/{branch}")
    }
}

fn planned<W: World>(
    args: &Args,
    context: &PlanContext,
    subject: &PlannedCommit,
    world: &mut W,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let PlanContext {
        facts,
        policy,
        policy_from,
        recorded,
        now,
    } = context;
    let basis = Basis {
        commit: &subject.head,
        today: now.date(),
        recorded: *recorded,
        policy: *policy_from,
        now: *now,
    };
    let about = CommitContext {
        head: &subject.head,
        protected: &subject.protected,
        branch: None,
        today: now.date(),
        audience: Audience::Team,
        full: None,
        operator: None,
    };
    let comment = |proposal: &report::Proposal<'_>, out: &mut Output| {
        report::comment(&about, proposal, FORGE_LIMIT)
            .pages
            .into_iter()
            .try_for_each(|page| out.line(page))
    };
    let invalid = |problems: &[Problem], out: &mut Output| {
        match args.format {
            Format::Json => out.text(&report::invalid_json(&basis, policy.executor(), problems))?,
            Format::Human | Format::Markdown => {
                comment(&report::Proposal::Invalid(problems), out)?;
            }
        }
        Ok(exit::FAILED)
    };
    let files = match &subject.files {
        Ok(files) => files,
        Err(problems) => return invalid(problems, out),
    };
    let shown = match preview(facts, world, policy, *now, &subject.head, files) {
        // The process ends here: what is known of tens of thousands of people need not be taken apart for that.
        Ok(shown) => ManuallyDrop::new(shown),
        Err(CycleError::Repository { problems, .. }) => match args.format {
            Format::Human => {
                out.text(&muster_core::diagnostic::human(&problems, files))?;
                return Ok(exit::FAILED);
            }
            Format::Json | Format::Markdown => return invalid(&problems_of(&problems), out),
        },
        Err(error) => return Err(CommandError::Cycle(error)),
    };
    let base: Option<Plan> = match &subject.base {
        Some(files) => preview(facts, world, policy, *now, &subject.protected, files)
            .ok()
            .map(|it| it.plan),
        None => None,
    };
    let Preview { plan, observed, .. } = &*shown;
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
    let hosts = [report::Host {
        executor: policy.executor(),
        plan,
        verdict: &verdict,
        base: base.as_ref(),
        read: *recorded,
    }];
    match args.format {
        Format::Human => out.text(&report::text(&hosts, paper()))?,
        Format::Json => out.text(&report::json(&basis, &hosts[0], facts))?,
        Format::Markdown => {
            let proposal = report::Proposal::Planned {
                hosts: &hosts,
                unknown: &[],
                warnings: &[],
            };
            comment(&proposal, out)?;
        }
    }
    let code = if !plan.steps().is_empty() {
        exit::CHANGES
    } else if plan.notes().iter().any(Note::is_unread) {
        // Nothing is planned on what could not be read, which is not the same as nothing to do.
        exit::FAILED
    } else {
        exit::OK
    };
    // The process ends now, and the system takes it all back at once.
    std::mem::forget((shown, verdict, base));
    Ok(code)
}
