//! Which commit is planned, and the plan of it. Where nobody names one it is what the next cycle would enforce: the newest one of
//! the protected branch, or the adopted one where the executor does not follow that (invariant 7).

use std::path::Path;

use muster_core::commit::CommitId;
use muster_core::diagnostic::{self, Diagnostics, visible};
use muster_core::facts::Facts;
use muster_core::report::Problem;
use muster_core::rooms;
use muster_core::time::Time;
use muster_core::world::{Ancestry, Files, Heads, Merge, Source as _, World};
use muster_core::{ink::count, release::TagHorizon};
use muster_git::{Origin, Proposals, at};

use super::{Args, CommandError, PlanContext};
use crate::answers::{self, AnswersSection, By};
use crate::cycle::{CycleError, Preview, preview};
use crate::executors::AssembleError;
use crate::outside::StateSource;
use crate::reader;
use crate::settings::StateSettings;
use crate::tell::Proposal;

/// What a person named, if anything.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted<'w> {
    branch: Option<&'w str>,
    commit: Option<&'w CommitId>,
    rev: Option<&'w str>,
    repo: Option<&'w Path>,
}

impl<'w> Wanted<'w> {
    pub(super) fn of(args: &'w Args) -> Self {
        Self {
            branch: args.branch.as_deref(),
            commit: args.commit.as_ref(),
            rev: args.rev.as_deref(),
            repo: args.repo.as_deref(),
        }
    }
}

/// Where commits are looked for.
#[derive(Clone, Copy)]
pub(super) struct StatePlace<'p> {
    pub(super) url: Option<&'p Origin>,
    pub(super) branch: &'p str,
    pub(super) listens: &'p Path,
    /// What the executor keeps of it, where that is one of this machine.
    pub(super) kept: Option<&'p Path>,
}

impl<'p> StatePlace<'p> {
    pub(super) fn of(state: &'p StateSettings, kept: Option<&'p Path>) -> Self {
        Self {
            url: state.url.as_ref(),
            branch: &state.branch,
            listens: &state.reader,
            kept,
        }
    }
}

/// What is planned: the files, and by which commits they are named.
pub(super) struct PlannedCommit {
    pub(super) head: CommitId,
    /// What the protected branch shows.
    pub(super) protected: CommitId,
    pub(super) files: Result<Files, Vec<Problem>>,
    pub(super) base: Option<Files>,
    /// What merging a branch, or adopting the commit that was named, does to owner responses (W7).
    pub(super) answers: Option<AnswersSection>,
    /// Whether nobody named it, and it is the newest of the branch.
    is_newest: bool,
    /// The newest of the branch, where that is no descendant of what was adopted.
    rewritten: Option<CommitId>,
}

/// The newest commit of the protected branch, where the executor is not kept by it.
pub(super) struct RefusedCommit {
    pub(super) commit: CommitId,
    /// What is wrong in it; empty where it does not descend from what was adopted.
    pub(super) problems: Vec<Problem>,
    /// The same for a terminal, with the lines of the files.
    pub(super) human: Option<String>,
}

impl RefusedCommit {
    /// What is wrong in it, and an empty line below; nothing where nothing is.
    pub(super) fn in_lines(&self) -> String {
        let mut lines = self.human.clone().unwrap_or_else(|| {
            let problems = self.problems.iter();
            let line =
                |it: &Problem| visible(&format!("{}: {} [{}]", it.place, it.text, it.rule)) + "\n";
            problems.map(line).collect()
        });
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines
    }

    /// What stands above what is said by the adopted commit.
    pub(super) fn says(&self, branch: &str, adopted: &CommitId) -> String {
        let why = match self.problems.as_slice() {
            [] => "does not descend from what was adopted, and a cycle would freeze this executor"
                .to_owned(),
            problems => format!("is refused: it has {}", count(problems.len(), "problem")),
        };
        format!(
            "{} of {branch} {why}. {}, which was adopted last, stays in force and is what this goes by.",
            self.commit.short(),
            adopted.short()
        )
    }
}

/// A plan, and by what it was made.
pub(super) struct Made {
    pub(super) subject: PlannedCommit,
    pub(super) preview: Preview,
    pub(super) refused: Option<RefusedCommit>,
}

/// What became of planning it.
pub(super) enum Planned {
    Made(Box<Made>),
    /// There is no plan of it.
    Refused(Box<PlannedCommit>, RefusedCommit),
}

/// Plans what is wanted. Where nobody named a commit and the newest one is refused, that is the adopted one.
pub(super) fn plan<W: World>(
    wanted: Wanted<'_>,
    place: StatePlace<'_>,
    context: &PlanContext,
    world: &mut W,
    subject: PlannedCommit,
) -> Result<Planned, CommandError> {
    let adopted = &context.facts.adopted;
    let refused = match subject.preview(context, world)? {
        Ok(preview) => {
            let rewritten = subject.rewritten.clone();
            let refused = rewritten.map(|commit| RefusedCommit {
                commit,
                problems: Vec::new(),
                human: None,
            });
            return Ok(Planned::Made(Box::new(Made {
                subject,
                preview,
                refused,
            })));
        }
        Err(refused) => refused,
    };
    if !subject.is_newest || subject.head == *adopted {
        return Ok(Planned::Refused(Box::new(subject), refused));
    }
    let instead = Wanted {
        commit: Some(adopted),
        repo: wanted.repo,
        ..Wanted::default()
    };
    // Whoever was recorded elsewhere may have adopted what is not in this repository.
    let Ok(adopted) = find(instead, place, &context.facts, context.now) else {
        return Ok(Planned::Refused(Box::new(subject), refused));
    };
    Ok(match adopted.preview(context, world)? {
        Ok(preview) => Planned::Made(Box::new(Made {
            subject: adopted,
            preview,
            refused: Some(refused),
        })),
        Err(_) => Planned::Refused(Box::new(subject), refused),
    })
}

impl PlannedCommit {
    fn preview<W: World>(
        &self,
        context: &PlanContext,
        world: &mut W,
    ) -> Result<Result<Preview, RefusedCommit>, CommandError> {
        let refused = |problems, human| RefusedCommit {
            commit: self.head.clone(),
            problems,
            human,
        };
        let files = match &self.files {
            Ok(files) => files,
            Err(problems) => return Ok(Err(refused(problems.clone(), None))),
        };
        let PlanContext {
            facts, policy, now, ..
        } = context;
        match preview(facts, world, policy, *now, &self.head, files) {
            Ok(preview) => Ok(Ok(preview)),
            Err(CycleError::Repository { problems, .. }) => {
                let human = diagnostic::human(&problems, files);
                Ok(Err(refused(problems_of(&problems), Some(human))))
            }
            Err(error) => Err(CommandError::Cycle(error)),
        }
    }
}

fn problems_of(diagnostics: &Diagnostics) -> Vec<Problem> {
    Problem::all(diagnostics)
}

/// Finds what is wanted.
pub(super) fn find(
    wanted: Wanted<'_>,
    place: StatePlace<'_>,
    facts: &Facts,
    now: Time,
) -> Result<PlannedCommit, CommandError> {
    let failed = |error| CommandError::from(AssembleError::Repositories(error));
    let StatePlace {
        url,
        branch: protected_branch,
        listens,
        kept,
    } = place;
    let origin = match wanted.repo {
        Some(dir) => Origin::Local(std::path::absolute(dir).map_err(CommandError::Runtime)?),
        None => url.cloned().ok_or(AssembleError::NoOrigin)?,
    };
    let named = wanted.rev.or_else(|| {
        // Whoever names a repository means what lies there.
        (wanted.repo.is_some() && wanted.branch.is_none() && wanted.commit.is_none())
            .then_some("HEAD")
    });
    // A repository of its own, so that a daemon at work on the mirror is not disturbed.
    let scratch = tempfile::tempdir().map_err(CommandError::Runtime)?;
    let proposals = if wanted.branch.is_some() || named.is_some() {
        Proposals::Include
    } else {
        Proposals::Ignore
    };
    let dir = scratch.path().join("mirror.git");
    let way = reader::way_of_console(&origin, listens);
    let mut source = StateSource::for_one_look(
        (&dir, kept),
        origin.clone(),
        way,
        protected_branch,
        proposals,
    )
    .map_err(failed)?;
    let heads = source.heads(&TagHorizon::NONE).map_err(failed)?;
    let no_branch = |name: &str| {
        CommandError::NotConfirmed(format!(
            "the state repository {origin} has no branch {name}"
        ))
    };
    if let Some(branch) = wanted.branch {
        return merged(
            branch,
            protected_branch,
            &mut source,
            (heads, now),
            no_branch,
        );
    }
    let newest = heads.protected.clone();
    let mut rewritten = None;
    let mut is_newest = false;
    let head = match (wanted.commit, named) {
        (Some(commit), _) => commit.clone(),
        (None, Some(rev)) => {
            let full = full_name(rev);
            let known = rev
                .parse()
                .ok()
                .or_else(|| heads.proposals.get(&full).cloned())
                .or_else(|| newest.clone().filter(|_| full == protected_branch));
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
        (None, None) => {
            let newest = newest.clone().ok_or_else(|| no_branch(protected_branch))?;
            match source.ancestry(&facts.adopted, &newest) {
                Ok(Ancestry::Diverged) => {
                    rewritten = Some(newest);
                    facts.adopted.clone()
                }
                // Whose history is not all there is looked at by its files.
                Ok(Ancestry::Same | Ancestry::Descends) | Err(_) => {
                    is_newest = true;
                    newest
                }
            }
        }
    };
    let files = source
        .files(&head)
        .map_err(failed)?
        .map_err(|it| problems_of(&it));
    let mut answers = None;
    let is_named = wanted.commit.is_some() || named.is_some();
    if let (Some(newest), Ok(files), true) = (&newest, &files, is_named) {
        let about = Proposal {
            branch: protected_branch,
            head: &head,
            protected: newest,
        };
        answers = told(&about, By::Itself, files, &mut source, now);
    }
    Ok(PlannedCommit {
        protected: newest.unwrap_or_else(|| head.clone()),
        head,
        files,
        base: None,
        answers,
        is_newest,
        rewritten,
    })
}

/// The merge of a branch into the protected one.
fn merged(
    branch: &str,
    protected_branch: &str,
    source: &mut StateSource,
    (heads, now): (Heads, Time),
    no_branch: impl Fn(&str) -> CommandError,
) -> Result<PlannedCommit, CommandError> {
    let failed = |error| CommandError::from(AssembleError::Repositories(error));
    let protected = heads.protected.ok_or_else(|| no_branch(protected_branch))?;
    let full = full_name(branch);
    let head = if full == protected_branch {
        protected.clone()
    } else {
        let found = heads.proposals.get(&full).cloned();
        found.ok_or_else(|| no_branch(&full))?
    };
    let base = source.files(&protected).map_err(failed)?.ok();
    let mut answers = None;
    let files = match source.merge(&protected, &head).map_err(failed)? {
        Merge::Clean(files) => {
            let about = Proposal {
                branch: &full,
                head: &head,
                protected: &protected,
            };
            answers = told(&about, By::Merge, &files, source, now);
            Ok(files)
        }
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
    Ok(PlannedCommit {
        head,
        protected,
        files,
        base,
        answers,
        is_newest: false,
        rewritten: None,
    })
}

/// What becomes of owner responses, as the note on a branch tells it: by the files alone.
fn told(
    about: &Proposal<'_>,
    by: By,
    files: &Files,
    source: &mut StateSource,
    now: Time,
) -> Option<AnswersSection> {
    let others = rooms::executors_of(files);
    let (repo, problems) = rooms::read_as_far(files, &others.iter().collect::<Vec<_>>());
    match answers::with_people(repo.as_ref(), &problems) {
        Some(repo) => answers::told(about, by, files, repo, source, now),
        None => answers::untold(files),
    }
}

fn full_name(branch: &str) -> String {
    if branch.starts_with("refs/") {
        branch.to_owned()
    } else {
        format!("refs/heads/{branch}")
    }
}
