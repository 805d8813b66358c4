//! The record of each merge: the comment on a merged proposal, made anew from what hosts tell.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::fleet::{BotStore, Fleet, Past};
use muster_core::forge::ForgeError;
use muster_core::id::StepId;
use muster_core::ledger::told::{self, Stage};
use muster_core::report::{self, Comment, HostRecord, Record, ReleaseRecord, Unknown};
use muster_core::rooms;
use muster_core::world::{Ancestry, Pulls};

use super::post::{Look, room};
use super::record::{Part, PartInput, Relation};
use super::turn::{Turn, whole_or_with_report};
use crate::answers;

/// A merge.
struct Merged {
    /// The commit that it made.
    commit: CommitId,
    /// The protected branch before it, as far as was seen.
    onto: CommitId,
}

/// How commits relate, each pair asked once in a turn.
#[derive(Default)]
struct Relations(BTreeMap<(CommitId, CommitId), bool>);

impl Relations {
    /// Whether `new` is `old` or contains it.
    fn contains<S: Pulls>(&mut self, source: &mut S, old: &CommitId, new: &CommitId) -> bool {
        *self.0.entry((old.clone(), new.clone())).or_insert_with(|| {
            match source.ancestry(old, new) {
                Ok(Ancestry::Same | Ancestry::Descends) => true,
                // What cannot be read is not contained as far as anybody knows.
                Ok(Ancestry::Diverged) | Err(_) => false,
            }
        })
    }
}

/// Tells of every merge that hosts are not through with.
pub(super) fn tell<S: Pulls, F: Fleet, B: BotStore>(
    turn: &mut Turn<'_, S, F, B>,
) -> Result<(), ForgeError> {
    let due: Vec<(u64, Merged)> = turn
        .told()
        .proposals
        .iter()
        .filter_map(|(number, it)| match &it.stage {
            Stage::Merged {
                commit,
                settled: false,
                ..
            } => {
                let merged = Merged {
                    commit: commit.clone(),
                    onto: it.protected.clone(),
                };
                Some((*number, merged))
            }
            Stage::Merged { .. } | Stage::Open | Stage::Closed => None,
        })
        .collect();
    let wanted: BTreeSet<CommitId> = due
        .iter()
        .flat_map(|(_, it)| [it.commit.clone(), it.onto.clone()])
        .collect();
    turn.memory.pasts.keep(&wanted);
    turn.memory.abouts.retain(|it, _| wanted.contains(it));
    let mut relations = Relations::default();
    for (number, merged) in due {
        if turn.has_to_end() {
            turn.summary.unfinished = true;
            return Ok(());
        }
        tell_one(turn, number, &merged, &mut relations)?;
        turn.save_now_and_then();
    }
    Ok(())
}

fn tell_one<S: Pulls, F: Fleet, B: BotStore>(
    turn: &mut Turn<'_, S, F, B>,
    number: u64,
    merged: &Merged,
    relations: &mut Relations,
) -> Result<(), ForgeError> {
    let executors: Vec<Executor> = turn.memory.survey.executors().cloned().collect();
    let parts: Vec<Part> = executors
        .iter()
        .map(|executor| part(turn, executor, merged, relations))
        .collect();
    let about = about(turn, merged);
    let releases: Vec<Vec<ReleaseRecord<'_>>> = parts.iter().map(Part::releases).collect();
    let hosts: Vec<HostRecord<'_>> = parts
        .iter()
        .zip(&releases)
        .map(|(part, releases)| part.record(releases))
        .collect();
    let path = told::report_file(number);
    let answers = turn.answers_told(number);
    let left = answers
        .as_ref()
        .map_or(0, |it| Comment::room_for(&answers::section(it)));
    let (run, reason) = (turn.run, format!("pull request {number}"));
    let (comment, reports) = whole_or_with_report(
        turn.audience,
        room(turn.mark()) - left,
        &path,
        |audience, full, limit| {
            let record = Record {
                commit: &merged.commit,
                hosts: &hosts,
                about: about.as_ref(),
                audience,
                full,
                operator: run.operator(&reason),
            };
            report::record(&record, limit)
        },
    );
    let comment = match &answers {
        Some(told) => comment.with(&answers::section(told)),
        None => comment,
    };
    let held: BTreeSet<StepId> = parts
        .iter()
        .flat_map(|it| &it.held)
        .map(|it| it.step.id)
        .collect();
    let through = !parts.is_empty() && parts.iter().all(Part::is_through);
    turn.reports.extend(reports);
    let Some(mut told) = turn.told().proposals.get(&number).cloned() else {
        return Ok(());
    };
    let mut post = turn.post();
    let put = post.comment(number, &comment, &mut told, Look::IfNew);
    let sent = post.sent;
    turn.summary.sent += sent;
    if sent > 0 {
        told.at = turn.at.now;
    }
    if put.is_ok() {
        told.stage = Stage::Merged {
            commit: merged.commit.clone(),
            held,
            settled: through,
        };
    }
    turn.keep(number, told);
    match put {
        // Somebody deleted the proposal, or locked it: nobody can be told any more, and nobody else waits for that.
        Err(
            error @ (ForgeError::NotThere { .. }
            | ForgeError::Denied { .. }
            | ForgeError::Refused { .. }),
        ) => {
            turn.summary
                .warnings
                .push(format!("#{number}: {}", crate::cycle::chain(&error)));
            Ok(())
        }
        put => put,
    }
}

/// Whom the merge was about, worked out once; `None` where either side of it cannot be read any more.
fn about<S: Pulls, F: Fleet, B: BotStore>(
    turn: &mut Turn<'_, S, F, B>,
    merged: &Merged,
) -> Option<BTreeSet<String>> {
    if let Some(known) = turn.memory.abouts.get(&merged.commit) {
        return Some(known.clone());
    }
    let Merged { commit, onto } = merged;
    let (before, after) = (
        turn.outside.source.files(onto).ok()?.ok()?,
        turn.outside.source.files(commit).ok()?.ok()?,
    );
    let kept: Vec<Executor> = turn.memory.survey.executors().cloned().collect();
    let kept: Vec<&Executor> = kept.iter().collect();
    let (before, _) = rooms::read_whole(&before, &kept).ok()?;
    let (after, _) = rooms::read_whole(&after, &kept).ok()?;
    let names = turn.memory.survey.differences(&before, &after, turn.at);
    turn.memory.abouts.insert(commit.clone(), names.clone());
    Some(names)
}

fn part<S: Pulls, F: Fleet, B: BotStore>(
    turn: &mut Turn<'_, S, F, B>,
    executor: &Executor,
    merged: &Merged,
    relations: &mut Relations,
) -> Part {
    let Merged { commit, onto } = merged;
    let unreadable = |why: String| Part::unknown(executor, Err(Unknown::Unreadable(why)));
    let standing = match turn.memory.survey.standing(executor) {
        None => return Part::unknown(executor, Err(Unknown::NeverSeen)),
        Some(Err(why)) => return unreadable(why.clone()),
        Some(Ok(standing)) => standing.clone(),
    };
    let brief = match turn.memory.survey.brief(executor, &turn.outside.fleet) {
        Ok(brief) => brief,
        Err(why) => return unreadable(why),
    };
    let adopted = &brief.facts.adopted;
    let source = &mut turn.outside.source;
    let relation = if adopted == commit {
        Relation::Same
    } else if relations.contains(source, commit, adopted) {
        Relation::Later
    } else {
        Relation::Before
    };
    let refused = match &brief.facts.attempted {
        Some(attempted) if relation == Relation::Before => {
            relations.contains(source, commit, &attempted.commit)
        }
        Some(_) | None => false,
    };
    let own = match relation {
        Relation::Before => None,
        Relation::Same | Relation::Later => own(turn, executor, adopted),
    };
    let own = match own.transpose() {
        Ok(own) => own,
        Err(why) => return unreadable(why),
    };
    let fleet = &turn.outside.fleet;
    let pasts = &mut turn.memory.pasts;
    let before = match pasts.of(executor, &standing.ledger, onto, fleet) {
        Ok(past) => past.map(Past::waiting).unwrap_or_default(),
        Err(why) => return unreadable(why),
    };
    let past = match relation {
        Relation::Later => pasts.of(executor, &standing.ledger, commit, fleet),
        Relation::Same | Relation::Before => Ok(None),
    };
    match past {
        Err(why) => unreadable(why),
        Ok(past) => {
            let input = PartInput {
                executor,
                read: standing.read,
                brief: &brief,
                relation,
                refused,
                past,
                before: &before,
                own: own.as_deref(),
            };
            Part::of(&input, commit, turn.at)
        }
    }
}

/// What the commit that a host enforces asks of it; `None` where that commit cannot be planned.
fn own<S: Pulls, F: Fleet, B: BotStore>(
    turn: &mut Turn<'_, S, F, B>,
    executor: &Executor,
    adopted: &CommitId,
) -> Option<Result<std::sync::Arc<super::survey::Planned>, String>> {
    let survey = &mut turn.memory.survey;
    if let Some(grounded) = survey
        .grounded(executor)
        .filter(|_| *adopted == turn.protected)
    {
        return Some(Ok(std::sync::Arc::clone(grounded)));
    }
    let files = turn.outside.source.files(adopted).ok()?.ok()?;
    let (repo, _) = rooms::read(&files, executor).ok()?;
    Some(survey.own(executor, &repo, adopted, turn.at, &turn.outside.fleet))
}
