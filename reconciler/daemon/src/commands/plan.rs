//! `muster plan`: what a cycle would do, and nothing of it. Needs no lock, and holds readers only (invariant 4).

use clap::ValueEnum;
use muster_core::commit::CommitId;
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, judge};
use muster_core::plan::Plan;
use muster_core::release::TagHorizon;
use muster_core::report::{self, About, Audience, FORGE_LIMIT, Host, Problem};
use muster_core::time::Time;
use muster_core::world::{Files, Merge, Source as _};
use muster_git::Proposals;

use super::{CommandError, Common, Output, now};
use crate::cycle::{CycleError, Preview, preview};
use crate::executor::{AssembleError, open_host, pinned_policy};
use crate::exit;
use crate::outside::StateSource;
use crate::settings::Settings;
use crate::state_dir::StateDir;

/// What to plan.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Plan the merge of this branch into the protected one.
    #[arg(long, value_name = "BRANCH", conflicts_with = "commit")]
    branch: Option<String>,
    /// Plan this commit, all digits of it, as if it were adopted.
    #[arg(long, value_name = "SHA")]
    commit: Option<CommitId>,
    /// For a terminal, or as it is told on a proposal.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Lines for a terminal.
    Text,
    /// The comment on a proposal.
    Markdown,
}

/// What is planned: the files, and by which commits they are named.
struct Subject {
    head: CommitId,
    protected: CommitId,
    files: Result<Files, Vec<Problem>>,
    base: Option<Files>,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    super::start_log(settings.level, common.verbose);
    let state = StateDir::at(&settings.dir);
    let facts = state
        .look(&settings.policy.executor.host, state.read_ledger()?)?
        .facts;
    // A mirror of its own, so that a daemon at work on the other is not disturbed.
    let scratch = tempfile::tempdir().map_err(CommandError::Runtime)?;
    let origin = settings.url.clone().ok_or(AssembleError::NoOrigin)?;
    let mut source = StateSource::open(
        &scratch.path().join("mirror.git"),
        origin,
        &settings.branch,
        Proposals::Include,
    )
    .map_err(AssembleError::Repositories)?;
    let subject = find(args, &facts, &mut source, &settings)?;
    let now = now().max(facts.latest);
    let code = match &subject.files {
        Ok(files) => planned(args, &settings, &state, &facts, &subject, files, now, out)?,
        Err(problems) => {
            let comment = report::comment(
                &about(&subject, now),
                &report::Proposal::Invalid(problems),
                FORGE_LIMIT,
            );
            for page in comment.pages {
                out.line(page)?;
            }
            exit::FAILED
        }
    };
    Ok(code)
}

fn find(
    args: &Args,
    facts: &Facts,
    source: &mut StateSource,
    settings: &Settings,
) -> Result<Subject, CommandError> {
    let origin = |error| CommandError::from(AssembleError::Repositories(error));
    let heads = source.heads(&TagHorizon::NONE).map_err(origin)?;
    let protected = heads.protected.ok_or_else(|| {
        CommandError::NotConfirmed(format!(
            "the state repository has no branch {}",
            settings.branch
        ))
    })?;
    let problems = |diagnostics: muster_core::diagnostic::Diagnostics| {
        diagnostics.iter().map(Problem::from).collect::<Vec<_>>()
    };
    if let Some(branch) = &args.branch {
        let full = if branch.starts_with("refs/") {
            branch.clone()
        } else {
            format!("refs/heads/{branch}")
        };
        let head = heads.proposals.get(&full).cloned().ok_or_else(|| {
            CommandError::NotConfirmed(format!("the state repository has no branch {full}"))
        })?;
        let base = source.files(&protected).map_err(origin)?.ok();
        let files = match source.merge(&protected, &head).map_err(origin)? {
            Merge::Clean(files) => Ok(files),
            Merge::Contained => source.files(&protected).map_err(origin)?.map_err(problems),
            Merge::Refused(diagnostics) => Err(problems(diagnostics)),
            Merge::Conflict(paths) => Err(paths
                .into_iter()
                .map(|path| Problem {
                    place: path,
                    rule: "merge-conflict".to_owned(),
                    text: format!("cannot be merged into {} by itself", settings.branch),
                    help: Some("rebase the branch".to_owned()),
                })
                .collect()),
        };
        return Ok(Subject {
            head,
            protected,
            files,
            base,
        });
    }
    // A frozen executor enforces what it adopted, whatever the branch shows.
    let shown = if facts.frozen.is_some() {
        facts.adopted.clone()
    } else {
        protected.clone()
    };
    let head = args.commit.clone().unwrap_or(shown);
    let files = source.files(&head).map_err(origin)?.map_err(problems);
    Ok(Subject {
        head,
        protected,
        files,
        base: None,
    })
}

fn about<'a>(subject: &'a Subject, now: Time) -> About<'a> {
    About {
        head: &subject.head,
        protected: &subject.protected,
        branch: None,
        today: now.date(),
        audience: Audience::Team,
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "everything a plan is made from, once"
)]
fn planned(
    args: &Args,
    settings: &Settings,
    state: &StateDir,
    facts: &Facts,
    subject: &Subject,
    files: &Files,
    now: Time,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let mut world = open_host(settings, state).map_err(AssembleError::Host)?;
    let policy = &pinned_policy(settings, facts);
    let shown = match preview(facts, &mut world, policy, now, &subject.head, files) {
        Ok(shown) => shown,
        Err(CycleError::Repository { problems, .. }) => {
            out.text(&muster_core::diagnostic::human(&problems, files))?;
            return Ok(exit::FAILED);
        }
        Err(error) => return Err(CommandError::Cycle(error)),
    };
    let base: Option<Plan> = match &subject.base {
        Some(files) => preview(facts, &mut world, policy, now, &subject.protected, files)
            .ok()
            .map(|it| it.plan),
        None => None,
    };
    let Preview { plan, observed } = &shown;
    let verdict = judge(
        plan,
        policy,
        facts,
        observed,
        &Approvals::of_begun(facts),
        now,
    );
    let hosts = [Host {
        policy,
        plan,
        verdict: &verdict,
        base: base.as_ref(),
    }];
    match args.format {
        Format::Text => out.text(&report::text(&hosts))?,
        Format::Markdown => {
            let proposal = report::Proposal::Planned {
                hosts: &hosts,
                warnings: &[],
            };
            for page in report::comment(&about(subject, now), &proposal, FORGE_LIMIT).pages {
                out.line(page)?;
            }
        }
    }
    Ok(exit::OK)
}
