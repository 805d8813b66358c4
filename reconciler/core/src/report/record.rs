//! What became of a merged proposal, host by host: the comment on it, from the merge on.
//!
//! It is made anew from what every host tells now. So nothing stale stays in it, and a host that comes late is in it as
//! soon as it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::group::{self, Group};
use super::ink::Markdown;
use super::markdown::{ages, full_report};
use super::noun::Noun;
use super::page::{self, Block};
use super::section::{Fold, already_blocks, counted_steps, first_blocks, on_each, steps_text};
use super::table::Table;
use super::view::{Sum, View};
use super::{Audience, Comment, FullReport, Operator, ReportState, Unknown, escape, public};
use crate::commit::CommitId;
use crate::executor::Executor;
use crate::facts::{Attempted, Frozen};
use crate::gate::Held;
use crate::ink::count;
use crate::journal::StepResult;
use crate::release::Code;
use crate::rooms::{self, say};
use crate::step::Step;
use crate::time::Time;

/// What is known of a merge.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The commit of the protected branch that the merge made.
    pub commit: &'a CommitId,
    /// Every executor that the commit concerns.
    pub hosts: &'a [HostRecord<'a>],
    /// Whom the merge was about, by name: steps about nobody of them came along, and are counted apart (F38). `None` where
    /// that is not known, and all is told as the merge's.
    pub about: Option<&'a BTreeSet<String>>,
    /// Who can read the text.
    pub audience: Audience,
    /// Where the whole report is.
    pub full: Option<FullReport<'a>>,
    /// How an operator elsewhere releases what waits.
    pub operator: Option<Operator<'a>>,
}

/// What one executor tells of it.
#[derive(Clone, Copy, Debug)]
pub struct HostRecord<'a> {
    /// Which.
    pub executor: &'a Executor,
    /// When it told, or why that does not count as what is there now.
    pub seen: Result<Time, Unknown<&'a str>>,
    /// The commit that it enforces, if it has one.
    pub adopted: Option<&'a CommitId>,
    /// How far it is.
    pub reached: Reached<'a>,
    /// What it did since it adopted the commit.
    pub done: &'a [Arc<Step>],
    /// What it tried, and how that came out.
    pub undone: &'a [(Arc<Step>, StepResult)],
    /// What waits.
    pub held: &'a [Held],
    /// Releases of steps of this commit.
    pub releases: &'a [ReleaseRecord<'a>],
}

/// How far an executor is with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached<'a> {
    /// It has not come to it.
    Behind,
    /// It adopted the commit, or one that contains it.
    At,
    /// It looked at the commit, or at one that contains it, and refused.
    Refused(&'a Attempted),
    /// It is frozen.
    Frozen(&'a Frozen),
}

/// A release, on one executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRecord<'a> {
    /// The name of its tag.
    pub tag: &'a str,
    /// Who signed.
    pub principals: &'a [String],
    /// How far it is.
    pub state: ReleaseState<'a>,
}

/// How far a release is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseState<'a> {
    /// It runs.
    Claimed,
    /// It does not run.
    Refused {
        /// The word for it.
        code: Code,
        /// What is wrong, and what to do.
        why: &'a str,
    },
    /// It is at its end; why, when it did not do all.
    Finished(Option<&'a str>),
}

/// Tells what became of a merge on every host.
///
/// `limit` is in bytes, as for [`super::comment`].
pub fn record(record: &Record<'_>, limit: usize) -> Comment {
    let Record {
        commit,
        hosts,
        about,
        audience,
        full,
        operator,
    } = record;
    let limit = limit.max(page::MIN_LIMIT);
    let mut hosts: Vec<HostView<'_>> = hosts.iter().map(|it| HostView::of(it, *about)).collect();
    hosts.iter_mut().for_each(|it| it.view.operator = *operator);
    hosts.sort_by(|a, b| a.host.executor.cmp(b.host.executor));
    let (line, state) = verdict(&hosts);
    let mut head = format!("**{line}.**\n");
    head.push_str(&along(&hosts));
    let mut foot = format!("\nCommit `{commit}`.\n");
    if let Some(full) = full {
        full_report(full, &mut foot);
    }
    let (mut blocks, ages) = match audience {
        Audience::Public => (public_blocks(&hosts, full.is_some()), String::new()),
        Audience::Team => {
            let ages = ages(hosts.iter().map(|it| &it.view));
            let room = limit.saturating_sub(head.len() + foot.len() + ages.len());
            let groups = fold(&hosts);
            let table = table(&groups, hosts.len());
            let room = room.saturating_sub(table.as_ref().map_or(0, |it| it.text.len()));
            let whole = blocks(&groups, commit, Done::Listed, room);
            let told = whole.or_else(|| blocks(&groups, commit, Done::Counted, usize::MAX));
            let told = table.into_iter().chain(told.unwrap_or_default());
            (told.collect(), ages)
        }
    };
    blocks.push(Block::body(foot));
    let said = blocks.iter().map(|it| it.text.as_str());
    let content = super::content([head.as_str()].into_iter().chain(said));
    blocks.push(Block::body(ages));
    Comment::naming(content, page::pages(&head, &blocks, limit), state, &line)
}

/// A host's record, and what waits there as it is shown.
struct HostView<'a> {
    host: &'a HostRecord<'a>,
    view: View<'a>,
    /// What it did of this merge.
    done: Vec<&'a Step>,
    /// What it did beside it since.
    along: Vec<&'a Step>,
}

impl<'a> HostView<'a> {
    fn of(host: &'a HostRecord<'a>, about: Option<&BTreeSet<String>>) -> Self {
        let own = |step: &Step| {
            let touches = |names: &BTreeSet<String>| {
                let mut touched = step.action.touched();
                touched.any(|it| names.contains(it))
            };
            about.is_none_or(touches)
        };
        let mut view = View::waiting(host.executor, host.held, own);
        view.read = host.seen.ok();
        let (done, along) = host.done.iter().map(|it| &**it).partition(|it| own(it));
        Self {
            host,
            view,
            done,
            along,
        }
    }

    /// What waits of this merge.
    fn waits(&self) -> usize {
        self.view.held().filter(|it| it.with_change).count()
    }

    /// What waits beside it.
    fn waits_along(&self) -> usize {
        self.view.held().filter(|it| !it.with_change).count()
    }

    fn is_done(&self) -> bool {
        let HostRecord {
            executor: _,
            seen,
            adopted: _,
            reached,
            done: _,
            undone,
            held: _,
            releases: _,
        } = self.host;
        seen.is_ok() && *reached == Reached::At && undone.is_empty() && self.waits() == 0
    }

    /// Whether the same is to be said of both.
    fn alike(&self, other: &Self) -> bool {
        let HostRecord {
            executor: _,
            seen,
            adopted,
            reached,
            done,
            undone,
            held: _,
            releases,
        } = self.host;
        let other_host = other.host;
        let reads = |a: &Step, b: &Step| rooms::reads_alike(&a.action, &b.action);
        seen.err() == other_host.seen.err()
            && *adopted == other_host.adopted
            && *reached == other_host.reached
            && *releases == other_host.releases
            && done.len() == other_host.done.len()
            && undone.len() == other_host.undone.len()
            && done.iter().zip(other_host.done).all(|(a, b)| reads(a, b))
            && (undone.iter().zip(other_host.undone))
                .all(|((a, how), (b, other))| how == other && reads(a, b))
            && group::alike(&self.view, &other.view)
    }
}

fn verdict(hosts: &[HostView<'_>]) -> (String, ReportState) {
    let number =
        |wanted: fn(&HostRecord<'_>) -> bool| hosts.iter().filter(|it| wanted(it.host)).count();
    let sum = |of: fn(&HostView<'_>) -> usize| hosts.iter().map(of).sum::<usize>();
    let done = sum(|it| it.done.len());
    if hosts.is_empty() {
        let line = "No host is known that this concerns, so what became of it is not known";
        return (line.to_owned(), ReportState::Failure);
    }
    let noun = Noun::of(hosts.iter().map(|it| it.host.executor));
    if hosts.iter().all(HostView::is_done) {
        let line = format!(
            "Done on {}: {} done, nothing waits",
            all(hosts.len(), noun),
            count(done, "step")
        );
        return (line, ReportState::Success);
    }
    let at = number(|it| it.reached == Reached::At);
    let mut line = format!(
        "Adopted on {at} of {}: {} done",
        noun.counted(hosts.len()),
        count(done, "step")
    );
    let (undone, held) = (sum(|it| it.host.undone.len()), sum(|it| it.waits()));
    let unknown = number(|it| it.seen.is_err());
    let behind = number(|it| it.seen.is_ok() && it.reached == Reached::Behind);
    let refused = number(|it| matches!(it.reached, Reached::Refused(_)));
    let frozen = number(|it| matches!(it.reached, Reached::Frozen(_)));
    for (number, what) in [
        (undone, "not done"),
        (held, if held == 1 { "waits" } else { "wait" }),
        (behind, "behind"),
        (refused, "refused it"),
        (frozen, "frozen"),
        (unknown, "not heard of lately"),
    ] {
        if number > 0 {
            let _ = write!(line, ", {number} {what}");
        }
    }
    let failed = |it: &HostRecord<'_>| {
        let bad =
            |how: &StepResult| matches!(how, StepResult::Failed(_) | StepResult::NeedsOperator(_));
        it.undone.iter().any(|(_, how)| bad(how))
    };
    let state = if unknown + refused + frozen > 0 || number(failed) > 0 {
        ReportState::Failure
    } else if behind + undone > 0 {
        ReportState::Pending
    } else {
        ReportState::Success
    };
    (line, state)
}

/// What hosts did and hold beside what the merge was about; empty if that is nothing.
fn along(hosts: &[HostView<'_>]) -> String {
    let done: usize = hosts.iter().map(|it| it.along.len()).sum();
    let mut parts: Vec<String> = Vec::new();
    if done > 0 {
        parts.push(format!("{} done", count(done, "step")));
    }
    match hosts.iter().map(HostView::waits_along).sum() {
        0 => {}
        1_usize => parts.push("1 step waits".to_owned()),
        many => parts.push(format!("{many} steps wait")),
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!("\nNot of this change: {}.\n", parts.join(", ")),
    }
}

/// A row for hosts that read the same, where there are several.
fn table(groups: &[Same<'_, '_>], hosts: usize) -> Option<Block> {
    if hosts < 2 {
        return None;
    }
    let all = groups.iter().flatten().map(|it| it.host.executor);
    let columns = ["State", "Done", "Not done", "Waits"];
    let mut table = Table::of(Noun::of(all), &columns);
    for same in groups {
        let first = same[0];
        let how = match (first.host.seen, first.host.reached) {
            (Err(unknown), _) => unknown.word(),
            (Ok(_), Reached::At) => "adopted",
            (Ok(_), Reached::Behind) => "behind",
            (Ok(_), Reached::Refused(_)) => "refused it",
            (Ok(_), Reached::Frozen(_)) => "frozen",
        };
        let number = |number: usize| match number {
            0 => String::new(),
            some => some.to_string(),
        };
        let waits = Sum::of(first.view.steps.iter().filter(|it| it.with_change)).classes();
        let cells = [
            how.to_owned(),
            number(first.done.len()),
            number(first.host.undone.len()),
            waits,
        ];
        let executors = same.iter().map(|it| it.host.executor);
        table.row(executors, &cells);
    }
    Some(table.into_block())
}

fn all(hosts: usize, noun: Noun) -> String {
    match hosts {
        1 => format!("the one {}", noun.one),
        _ => format!("all {}", noun.counted(hosts)),
    }
}

/// Hosts of which the same is to be said; never empty.
type Same<'v, 'a> = Vec<&'v HostView<'a>>;

fn fold<'v, 'a>(hosts: &'v [HostView<'a>]) -> Vec<Same<'v, 'a>> {
    let mut groups: Vec<Same<'v, 'a>> = Vec::new();
    for told in hosts {
        match groups.iter_mut().find(|it| it[0].alike(told)) {
            Some(group) => group.push(told),
            None => groups.push(vec![told]),
        }
    }
    // Whoever has to do something reads the first ones.
    let calm = |it: &HostView<'_>| {
        let on_its_way = matches!(it.host.reached, Reached::At | Reached::Behind);
        on_its_way && it.host.seen.is_ok() && it.host.undone.is_empty()
    };
    let worst = |it: &HostView<'_>| it.view.held().map(|it| it.class).max();
    groups.sort_by_key(|it| {
        let first = it[0];
        (
            first.is_done(),
            calm(first),
            std::cmp::Reverse(worst(first)),
        )
    });
    groups
}

/// How the steps that are done are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Listed,
    Counted,
}

/// Everything; `None` when that is more than `room` bytes.
fn blocks(
    groups: &[Same<'_, '_>],
    commit: &CommitId,
    how: Done,
    room: usize,
) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut used = 0;
    for same in groups {
        let from = blocks.len();
        let host = same[0].host;
        let group = Group {
            views: same.iter().map(|it| &it.view).collect(),
        };
        blocks.push(group.heading());
        if how == Done::Listed || host.held.is_empty() {
            blocks.extend(group.members());
        }
        blocks.push(Block::body(reached(host, commit)));
        undone_blocks(host, group.only().is_some(), &mut blocks);
        first_blocks(&group, &mut blocks);
        release_blocks(host.releases, &mut blocks);
        used += page::length(&blocks[from..]);
        let first = blocks.len();
        already_blocks(&group, &mut blocks);
        let already = blocks.split_off(first);
        used += page::length(&already);
        for (title, done, fold) in [
            ("Done", &same[0].done, Fold::IfLong),
            ("Done, not of this change", &same[0].along, Fold::Always),
        ] {
            let title = title.to_owned() + &on_each(&group);
            let text = match how {
                Done::Listed => steps_text(&title, done, fold, room.checked_sub(used)?)?,
                Done::Counted if done.is_empty() => String::new(),
                Done::Counted => format!("\n{}", counted_steps(&title, done)),
            };
            used += text.len();
            blocks.push(Block::body(text));
        }
        blocks.extend(already);
    }
    (used <= room).then_some(blocks)
}

/// How far a host is, in a line.
fn reached(host: &HostRecord<'_>, commit: &CommitId) -> String {
    let mut out = "\n".to_owned();
    let enforced = |out: &mut String, before: &str| match host.adopted {
        Some(adopted) => {
            let _ = write!(out, "{before}`{}`", adopted.short());
        }
        None => out.push_str("no commit is adopted yet"),
    };
    if let Err(unknown @ (Unknown::NeverSeen | Unknown::Unreadable(_))) = host.seen {
        out.push_str("Nothing is known of it: ");
        unknown.tell(&mut out);
        out.push_str(".\n");
        return out;
    }
    match host.reached {
        Reached::At if host.adopted == Some(commit) => out.push_str("Adopted"),
        Reached::At => enforced(&mut out, "Adopted, and now at "),
        Reached::Behind => {
            out.push_str("Behind: ");
            enforced(&mut out, "still at ");
        }
        Reached::Refused(Attempted { commit, problem }) => {
            let _ = write!(out, "Refused `{}`: ", commit.short());
            escape::prose(&mut out, problem);
            out.push_str("; ");
            enforced(&mut out, "still at ");
        }
        Reached::Frozen(frozen) => {
            out.push_str("Frozen: ");
            escape::prose(&mut out, &frozen.to_string());
        }
    }
    if let Err(unknown) = host.seen {
        out.push_str(". That may be old: ");
        unknown.tell(&mut out);
    }
    out.push_str(".\n");
    out
}

/// What did not come out as meant, and why.
fn undone_blocks(host: &HostRecord<'_>, alone: bool, blocks: &mut Vec<Block>) {
    if host.undone.is_empty() {
        return;
    }
    blocks.push(Block::section("\n#### Not done\n\n".to_owned()));
    for (step, result) in host.undone {
        let (how, why) = match result {
            StepResult::Done => ("done", ""),
            StepResult::NeedsOperator(why) => {
                ("stopped halfway; needs an operator: ", why.as_str())
            }
            StepResult::Unfinished(why) => ("begun, and goes on: ", why.as_str()),
            StepResult::Failed(why) => ("failed: ", why.as_str()),
            StepResult::Overtaken(why) => ("done, and changed since: ", why.as_str()),
            StepResult::NotBegun => ("not begun: ", "tried again in the next cycle"),
        };
        let mut text = "- ".to_owned();
        say(&step.action, &mut Markdown(&mut text));
        let _ = write!(text, ": {how}");
        escape::prose(&mut text, why);
        if alone {
            let _ = write!(text, " (step `{}`)", step.id);
        }
        text.push('\n');
        blocks.push(Block::body(text));
    }
}

fn release_blocks(releases: &[ReleaseRecord<'_>], blocks: &mut Vec<Block>) {
    if releases.is_empty() {
        return;
    }
    blocks.push(Block::section("\n#### Releases\n\n".to_owned()));
    for release in releases {
        let ReleaseRecord {
            tag,
            principals,
            state,
        } = release;
        let mut text = "- ".to_owned();
        escape::code(&mut text, tag);
        match state {
            ReleaseState::Claimed => text.push_str(": claimed, and runs"),
            ReleaseState::Refused { code, why } => {
                let _ = write!(text, ": {}, `{code}`: ", refused(*code));
                escape::prose(&mut text, why);
            }
            ReleaseState::Finished(None) => text.push_str(": finished"),
            ReleaseState::Finished(Some(why)) => {
                text.push_str(": at its end: ");
                escape::prose(&mut text, why);
            }
        }
        text.push_str("; signed by ");
        escape::prose(&mut text, &principals.join(", "));
        text.push('\n');
        blocks.push(Block::body(text));
    }
}

/// How a release stands that does not run.
fn refused(code: Code) -> &'static str {
    match code.waits() {
        true => "waits for another signature",
        false => "refused",
    }
}

/// Which host is how far, and the held steps as anybody may read them.
fn public_blocks(hosts: &[HostView<'_>], full: bool) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (word, wanted) in [
        ("Adopted", 0),
        ("Behind", 1),
        ("Refused", 2),
        ("Frozen", 3),
        ("Not heard of lately", 4),
    ] {
        let place = |it: &&HostView<'_>| match (it.host.seen, it.host.reached) {
            (Err(_), _) => 4,
            (Ok(_), Reached::At) => 0,
            (Ok(_), Reached::Behind) => 1,
            (Ok(_), Reached::Refused(_)) => 2,
            (Ok(_), Reached::Frozen(_)) => 3,
        };
        let there: Vec<&HostView<'_>> = hosts.iter().filter(|it| place(it) == wanted).collect();
        if !there.is_empty() {
            let executors = there.iter().map(|it| it.host.executor);
            let lists = group::name_lists(executors).into_iter();
            blocks.extend(lists.map(|list| Block::body(format!("\n{word}: {list}.\n"))));
        }
    }
    blocks.extend(public_releases(hosts));
    blocks.extend(public::blocks(hosts.iter().map(|it| &it.view), full));
    blocks
}

/// How far each release is: anybody can read its tag.
fn public_releases(hosts: &[HostView<'_>]) -> Vec<Block> {
    let mut releases: BTreeMap<(&str, String), Vec<&Executor>> = BTreeMap::new();
    for told in hosts {
        for release in told.host.releases {
            let state = match release.state {
                ReleaseState::Claimed => "claimed".to_owned(),
                ReleaseState::Refused { code, why: _ } => {
                    format!("{}, `{code}`", refused(code))
                }
                ReleaseState::Finished(None) => "finished".to_owned(),
                ReleaseState::Finished(Some(_)) => "at its end, not all is done".to_owned(),
            };
            let executors = releases.entry((release.tag, state)).or_default();
            executors.push(told.host.executor);
        }
    }
    let mut blocks = Vec::new();
    for ((tag, state), executors) in releases {
        for list in group::name_lists(executors.into_iter()) {
            let mut text = "\nRelease ".to_owned();
            escape::code(&mut text, tag);
            let _ = writeln!(text, ": {state} on {list}.");
            blocks.push(Block::body(text));
        }
    }
    blocks
}
