//! The comment on a proposal.

use std::fmt::Write as _;

use super::deed::{WriteName, deed};
use super::group::{self, Group, HOSTS_NAMED};
use super::noun::Noun;
use super::page::{self, Block};
use super::section::{
    already_blocks, change_text, drift_text, first_blocks, folded_notes, tallies, unneeded_text,
};
use super::view::{self, AT_ONCE, Counts, Origin, View};
use super::{
    Audience, Comment, CommitContext, FullReport, Host, Problem, Proposal, ReportState,
    UnknownHost, escape, public, table,
};
use crate::executor::Executor;
use crate::ink::count;
use crate::price::Class;
use crate::time::Time;

/// Says what merging `proposal` would do, in pages of at most `limit` bytes.
///
/// The first line is the verdict on this change alone: whom it is about, what runs at once, what waits for a release. The
/// next one counts what is there without it, and says of which hosts nothing is known (F32). Of several hosts a table
/// follows; those with equal plans share a row and a section. Steps that wait by this change come first and whole, then a
/// sentence for each person; what waited before, and drift, is folded. Benign steps become counts when they do not fit. Only
/// held steps and what needs attention ever take a further page.
/// A `limit` below 16 KiB is taken as 16 KiB: less does not hold one step with its surroundings.
pub fn comment(about: &CommitContext<'_>, proposal: &Proposal<'_>, limit: usize) -> Comment {
    let limit = limit.max(page::MIN_LIMIT);
    match proposal {
        Proposal::Planned {
            hosts,
            unknown,
            warnings,
        } => planned(about, hosts, unknown, warnings, limit),
        Proposal::Invalid(problems) => invalid(about, problems, limit),
        Proposal::OnInvalid { new, already } => on_invalid(about, new, already, limit),
        Proposal::HeadMissing(why) => head_missing(about, why),
        Proposal::Conflict(paths) => conflict(about, paths, limit),
        Proposal::Contained => {
            let line = "Nothing to merge: the protected branch already contains this commit";
            let page = format!("**{line}.**\n{}", foot(about, None));
            Comment::new(vec![page], ReportState::Success, line)
        }
        Proposal::Closed => {
            let line = "Closed, and not merged: nothing of it happens";
            let page = format!("**{line}.**\n{}", foot(about, None));
            Comment::new(vec![page], ReportState::Failure, line)
        }
        Proposal::Elsewhere(base) => elsewhere(about, base),
        Proposal::Planning => {
            let line = super::pending(about.head);
            let page = format!(
                "**Planning `{}`**.\n{}",
                about.head.short(),
                foot(about, None)
            );
            Comment::new(vec![page], ReportState::Pending, &line)
        }
        Proposal::Broken(why) => broken(about, why),
    }
}

fn planned(
    about: &CommitContext<'_>,
    hosts: &[Host<'_>],
    unknown: &[UnknownHost<'_>],
    warnings: &[Problem],
    limit: usize,
) -> Comment {
    let mut views: Vec<View<'_>> = hosts.iter().map(View::of).collect();
    views.iter_mut().for_each(|it| it.operator = about.operator);
    views.sort_by(|a, b| a.executor.cmp(b.executor));
    let mut unknown = unknown.to_vec();
    unknown.sort_by(|a, b| a.executor.cmp(b.executor));
    let digest = view::digest(&views);
    let looked = Looked::of(&views, &unknown);
    let line = looked.verdict(named(about.audience, escape::visible));
    let head = head(about, &looked);

    let foot = foot(about, Some(&digest));
    let mut after = warning_blocks(warnings);
    let ages = match about.audience {
        Audience::Team => ages(&views),
        Audience::Public => String::new(),
    };
    let mut blocks = Vec::new();
    match about.audience {
        Audience::Public => {
            blocks.extend(unknown_blocks(&unknown, about.audience));
            blocks.extend(public::blocks(&views, about.full.is_some()));
        }
        Audience::Team => {
            let mut groups = group::fold(views.iter().filter(|it| !is_in_table(it, &views)));
            // The worst first.
            let worst = |it: &Group<'_, '_>| {
                let mut waits = it.first().held().filter(|it| it.with_change);
                let worst = waits.by_ref().map(|it| it.class).max();
                (worst, it.first().held().map(|it| it.class).max())
            };
            groups.sort_by_key(|it| std::cmp::Reverse(worst(it)));
            blocks.extend(table::executors(&groups, &calm(&views), &unknown));
            blocks.extend(unknown_blocks(&unknown, about.audience));
            let used = head.len() + page::length(&blocks) + page::length(&after);
            let room = limit.saturating_sub(used + foot.len() + ages.len());
            let whole = calm_blocks(&views, room).and_then(|it| whole_blocks(&groups, it, room));
            blocks.extend(whole.unwrap_or_else(|| counted_blocks(&groups, &views)));
        }
    }
    blocks.append(&mut after);
    blocks.push(Block::body(foot));
    let said = blocks.iter().map(|it| it.text.as_str());
    let content = super::content([head.as_str()].into_iter().chain(said));
    blocks.push(Block::body(ages));
    let state = if looked.is_complete() {
        ReportState::Success
    } else {
        ReportState::Failure
    };
    Comment::naming(content, page::pages(&head, &blocks, limit), state, &line)
}

/// How much is known, of how many hosts.
struct Looked<'v, 'a> {
    views: &'v [View<'a>],
    counts: Counts,
    /// Hosts that were asked and could not be read, and hosts that could not be asked.
    unread: usize,
    unknown: &'v [UnknownHost<'a>],
}

impl<'v, 'a> Looked<'v, 'a> {
    fn of(views: &'v [View<'a>], unknown: &'v [UnknownHost<'a>]) -> Self {
        Self {
            views,
            counts: Counts::of(views),
            unread: views.iter().filter(|it| it.is_unread()).count(),
            unknown,
        }
    }

    fn is_complete(&self) -> bool {
        !self.views.is_empty() && self.unread == 0 && self.unknown.is_empty()
    }

    /// What those are called that are known of or not.
    fn noun(&self) -> Noun {
        let seen = self.views.iter().map(|it| it.executor);
        Noun::of(seen.chain(self.unknown.iter().map(|it| it.executor)))
    }

    fn verdict(&self, name: Option<WriteName>) -> String {
        let hosts = self.views.len() + self.unknown.len();
        let blind = self.unread + self.unknown.len();
        match (blind, hosts) {
            (_, 0) => "No host was planned for, so what merging would do is not known".to_owned(),
            (0, _) => self.change("Merging", name, ""),
            (blind, hosts) if blind == hosts && self.unknown.is_empty() => format!(
                "{} could not be read, so what merging would do is not known",
                self.noun().counted(hosts)
            ),
            (blind, hosts) if blind == hosts => {
                format!(
                    "What merging would do is not known on {}",
                    self.noun().counted(hosts)
                )
            }
            (blind, hosts) => {
                let all = self.noun().counted(hosts);
                let rest = self.change("merging", name, "");
                format!("Not known on {blind} of {all}; elsewhere {rest}")
            }
        }
    }

    /// What the change does, in a sentence that `when` begins; `on` follows whom it is about. Names are written by `name`,
    /// if that may be known.
    fn change(&self, when: &str, name: Option<WriteName>, on: &str) -> String {
        match self.counts.change.steps() {
            0 => format!("{when} changes nothing"),
            _ => format!(
                "{when} {}{on}: {}",
                deed(self.views, name),
                self.counts.change.outlook(AT_ONCE)
            ),
        }
    }

    /// Where the change does something.
    fn touched(&self, audience: Audience) -> String {
        let of_change = |it: &&View<'_>| it.steps.iter().any(|it| it.origin != Origin::Drift);
        let touched: Vec<&View<'_>> = self.views.iter().filter(of_change).collect();
        let mut on = " on ".to_owned();
        match touched.as_slice() {
            [] => return String::new(),
            // A table follows.
            [_, _, ..] => on.push_str(&noun_of(&touched).counted(touched.len())),
            [_] if audience == Audience::Public => on.push_str(&noun_of(&touched).counted(1)),
            [one] => escape::value(&mut on, &one.executor.to_string()),
        }
        on
    }
}

/// How a name is written, or `None` where it may not be: anybody reads along.
fn named(audience: Audience, write: WriteName) -> Option<WriteName> {
    match audience {
        Audience::Team => Some(write),
        Audience::Public => None,
    }
}

fn noun_of(views: &[&View<'_>]) -> Noun {
    Noun::of(views.iter().map(|it| it.executor))
}

/// What stands on top of each page: the verdict, what is there without the change, and of whom nothing is known.
fn head(about: &CommitContext<'_>, looked: &Looked<'_, '_>) -> String {
    let Looked {
        views,
        counts,
        unread: _,
        unknown,
    } = looked;
    let name = named(about.audience, escape::value);
    let verdict = match looked.unread + unknown.len() {
        0 if !views.is_empty() => looked.change("Merging", name, &looked.touched(about.audience)),
        _ => looked.verdict(name),
    };
    let mut head = format!("**{verdict}.**\n");
    let already = counts.already();
    if !already.is_empty() {
        let _ = write!(head, "\nNot by this change: {already}.\n");
    }
    if counts.attention > 0 {
        let need = if counts.attention == 1 {
            "needs"
        } else {
            "need"
        };
        let _ = write!(
            head,
            "\n{} {need} attention.\n",
            count(counts.attention, "note")
        );
    }
    let unread = views.iter().filter(|it| it.is_unread());
    let blind: Vec<(&Executor, &str)> = unread
        .map(|it| (it.executor, "unreadable"))
        .chain(unknown.iter().map(|it| (it.executor, it.why.word())))
        .collect();
    if !blind.is_empty() && views.len() + unknown.len() > 1 {
        head.push_str("\nNot known: ");
        for (i, (executor, why)) in blind.iter().take(HOSTS_NAMED).enumerate() {
            head.push_str(if i == 0 { "" } else { ", " });
            escape::value(&mut head, &executor.to_string());
            let _ = write!(head, " ({why})");
        }
        if blind.len() > HOSTS_NAMED {
            let _ = write!(head, " and {} more", blind.len() - HOSTS_NAMED);
        }
        head.push_str(".\n");
    }
    head
}

/// Why nothing is known of some hosts; never cut.
fn unknown_blocks(unknown: &[UnknownHost<'_>], audience: Audience) -> Vec<Block> {
    if unknown.is_empty() {
        return Vec::new();
    }
    let title = format!(
        "\n### Nothing is planned for {}\n\n",
        Noun::of(unknown.iter().map(|it| it.executor)).counted(unknown.len())
    );
    let item = |host: &UnknownHost<'_>| {
        let mut text = "- ".to_owned();
        escape::executor(&mut text, host.executor);
        text.push_str(": ");
        match audience {
            Audience::Team => host.why.tell(&mut text),
            Audience::Public => text.push_str(host.why.word()),
        }
        text.push('\n');
        Block::body(text)
    };
    let items = unknown.iter().map(item);
    [Block::host(title)].into_iter().chain(items).collect()
}

/// Whether a host has its place in the row of hosts with nothing to change.
fn is_in_table(view: &View<'_>, all: &[View<'_>]) -> bool {
    all.len() > 1 && view.is_calm()
}

fn calm<'v, 'a>(views: &'v [View<'a>]) -> Vec<&'v View<'a>> {
    views.iter().filter(|it| is_in_table(it, views)).collect()
}

/// The names of the hosts with nothing to change, where a row has not room for all, and what there is to note about them.
///
/// `None` when that is more than `room` bytes.
fn calm_blocks(views: &[View<'_>], room: usize) -> Option<Vec<Block>> {
    let calm = calm(views);
    let mut blocks = Vec::new();
    if calm.len() > HOSTS_NAMED {
        let all = noun_of(&calm).counted(calm.len());
        let title = format!("All {all} with nothing to change");
        blocks.extend(group::folded_names(
            &title,
            calm.iter().map(|it| it.executor),
        ));
    }
    for group in group::fold(calm.into_iter().filter(|it| !it.notes.is_empty())) {
        blocks.push(group.heading());
        let left = room.checked_sub(page::length(&blocks))?;
        blocks.push(Block::body(folded_notes(group.first().notes, left)?));
    }
    Some(blocks)
}

/// Everything, step by step; `None` when that is more than `room` bytes.
pub(super) fn whole_blocks(
    groups: &[Group<'_, '_>],
    calm: Vec<Block>,
    room: usize,
) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut used = page::length(&calm);
    for group in groups {
        let (view, from) = (group.first(), blocks.len());
        if view.is_calm() && view.notes.is_empty() {
            continue;
        }
        blocks.push(group.heading());
        blocks.extend(group.members());
        first_blocks(group, &mut blocks);
        let first = blocks.len();
        already_blocks(group, &mut blocks);
        let already = blocks.split_off(first);
        used += page::length(&blocks[from..]) + page::length(&already);
        let text = change_text(group, room.checked_sub(used)?)?;
        used += text.len();
        blocks.push(Block::body(text));
        blocks.extend(already);
        for folded in [drift_text, unneeded_text] {
            let text = folded(group, room.checked_sub(used)?)?;
            used += text.len();
            blocks.push(Block::body(text));
        }
        let notes = folded_notes(view.notes, room.checked_sub(used)?)?;
        used += notes.len();
        blocks.push(Block::body(notes));
    }
    blocks.extend(calm);
    (used <= room).then_some(blocks)
}

/// What must be read, whole, and numbers for the rest.
pub(super) fn counted_blocks(groups: &[Group<'_, '_>], all: &[View<'_>]) -> Vec<Block> {
    let (told, other): (Vec<&Group<'_, '_>>, Vec<&Group<'_, '_>>) = groups.iter().partition(|it| {
        let view = it.first();
        view.attention() > 0
            || view
                .steps
                .iter()
                .any(|it| it.held.is_some() || it.class != Class::Benign)
    });
    let mut blocks = Vec::new();
    for group in &told {
        blocks.push(group.heading());
        if group.first().steps.is_empty() {
            blocks.extend(group.members());
        }
        first_blocks(group, &mut blocks);
        blocks.extend(tallies(&group.views));
        already_blocks(group, &mut blocks);
    }
    let other: Vec<&View<'_>> = other
        .iter()
        .flat_map(|it| it.views.iter().copied())
        .collect();
    if let [view] = other.as_slice() {
        blocks.push(Group { views: vec![view] }.heading());
    } else if !other.is_empty() {
        let further = if told.is_empty() { "" } else { "further " };
        blocks.push(Block::host(format!(
            "\n### {} {further}{}, nothing held\n",
            other.len(),
            Noun::of(other.iter().map(|it| it.executor)).many
        )));
    }
    blocks.extend(tallies(&other));
    let notes: usize = calm(all).iter().map(|it| it.notes.len()).sum();
    if notes > 0 {
        let text = format!("\n{} there, asking for nothing.\n", count(notes, "note"));
        blocks.push(Block::body(text));
    }
    blocks
}

/// When each host was read, as far as that was not just now; last on the page, for it changes with every reading.
pub(super) fn ages<'v, 'a: 'v>(views: impl IntoIterator<Item = &'v View<'a>>) -> String {
    /// Hosts that are told one by one; of more, the first and the last moment.
    const EACH: usize = 200;
    let read: Vec<(&Executor, Time)> = views
        .into_iter()
        .filter_map(|it| Some((it.executor, it.read?)))
        .collect();
    let moments = || read.iter().map(|(_, at)| *at);
    let (Some(first), Some(last)) = (moments().min(), moments().max()) else {
        return String::new();
    };
    match read.as_slice() {
        [(_, at)] => format!("\nInventory read at {at}.\n"),
        many if many.len() > EACH => format!(
            "\n{} inventories, read from {first} to {last}.\n",
            many.len()
        ),
        many => {
            let mut out = format!(
                "\n<details>\n<summary>{} inventories, the oldest read at {first}</summary>\n\n",
                many.len()
            );
            for (executor, at) in many {
                out.push_str("- ");
                escape::value(&mut out, &executor.to_string());
                let _ = writeln!(out, ": {at}");
            }
            out.push_str("\n</details>\n");
            out
        }
    }
}

fn warning_blocks(warnings: &[Problem]) -> Vec<Block> {
    /// Bytes of warnings on a page that has better things to say.
    const ROOM: usize = 4_000;
    if warnings.is_empty() {
        return Vec::new();
    }
    let items: Vec<String> = warnings.iter().map(problem_item).collect();
    let rest = |more: usize| format!("- and {more} more; `muster check` shows all\n");
    vec![
        Block::host(format!(
            "\n### {}\n\n",
            count(how_many(warnings), "warning")
        )),
        Block::body(page::one_page("", &items, rest, "", ROOM)),
    ]
}

fn invalid(about: &CommitContext<'_>, problems: &[Problem], limit: usize) -> Comment {
    let line = format!(
        "Not valid: {}; merging this would change nothing anywhere",
        count(how_many(problems), "error")
    );
    let items: Vec<String> = problems.iter().map(problem_item).collect();
    let rest = |more: usize| format!("- and {more} more; `muster check` shows all\n");
    let page = page::one_page(
        &format!("**{line}.**\n\n"),
        &items,
        rest,
        &foot(about, None),
        limit,
    );
    Comment::new(vec![page], ReportState::Failure, &line)
}

/// The protected branch is wrong by itself: whoever proposes something else is not blamed for that.
fn on_invalid(
    about: &CommitContext<'_>,
    new: &[Problem],
    already: &[Problem],
    limit: usize,
) -> Comment {
    let there = count(already.len(), "error");
    let line = match new.len() {
        0 => format!("Not planned: the protected branch has {there}, none of them by this change"),
        _ => format!(
            "Not valid: {} by this change, beside {there} that the protected branch has already",
            count(new.len(), "error")
        ),
    };
    let mut items: Vec<String> = new.iter().map(problem_item).collect();
    items.push(match new.is_empty() {
        true => "In the protected branch:\n\n".to_owned(),
        false => "\nAlready in the protected branch:\n\n".to_owned(),
    });
    items.extend(already.iter().map(problem_item));
    items.push(
        "\nUntil somebody mends it there, hosts go on with what they adopted before.\n".to_owned(),
    );
    let rest = |more: usize| format!("- and {more} more; `muster check` shows all\n");
    let page = page::one_page(
        &format!("**{line}.**\n\n"),
        &items,
        rest,
        &foot(about, None),
        limit,
    );
    Comment::new(vec![page], ReportState::Failure, &line)
}

/// The forge names a commit that it does not hand out, as after a push to a proposal that was closed.
fn head_missing(about: &CommitContext<'_>, why: &str) -> Comment {
    let line = "Not planned: the newest commit of this proposal cannot be fetched";
    let mut page = format!("**{line}.**\n\n");
    if about.audience == Audience::Team {
        page.push_str("git said: ");
        escape::prose(&mut page, why);
        page.push_str(".\n\n");
    }
    page.push_str(
        "It is tried again by itself. Where it stays so, push to the branch once more, or open a new proposal from it.\n",
    );
    page.push_str(&foot(about, None));
    Comment::new(vec![page], ReportState::Failure, line)
}

pub(super) fn problem_item(problem: &Problem) -> String {
    let Problem {
        place,
        rule,
        text,
        help,
        more,
    } = problem;
    let mut out = "- ".to_owned();
    // Whole: line and column stand at its end.
    escape::code(&mut out, place);
    out.push_str(": ");
    escape::prose(&mut out, text);
    out.push_str(" (");
    escape::value(&mut out, rule);
    out.push_str(")\n");
    if let Some(help) = help {
        out.push_str("  help: ");
        escape::prose(&mut out, help);
        out.push('\n');
    }
    if *more > 0 {
        let _ = writeln!(out, "  and {more} more like it");
    }
    out
}

/// How many there are, with those that are folded.
pub(super) fn how_many(problems: &[Problem]) -> usize {
    problems.iter().map(|it| 1 + it.more).sum()
}

fn conflict(about: &CommitContext<'_>, paths: &[String], limit: usize) -> Comment {
    let line = format!(
        "Conflict with the protected branch in {}; rebase and push again",
        count(paths.len(), "path")
    );
    let item = |path: &String| {
        let mut out = "- ".to_owned();
        escape::value(&mut out, path);
        out.push('\n');
        out
    };
    let items: Vec<String> = paths.iter().map(item).collect();
    let rest = |more: usize| format!("- and {more} more\n");
    let page = page::one_page(
        &format!("**{line}.**\n\n"),
        &items,
        rest,
        &foot(about, None),
        limit,
    );
    Comment::new(vec![page], ReportState::Failure, &line)
}

/// Hosts follow one branch, and this is not for it.
fn elsewhere(about: &CommitContext<'_>, base: &str) -> Comment {
    let line = "Not for the branch that hosts follow: merging it changes no host";
    let mut page = format!("**{line}.**\n\nIt is to go into ");
    escape::value(&mut page, base);
    page.push_str(". When it is to go into the protected branch, it is planned again.\n");
    page.push_str(&foot(about, None));
    // Never a success: it would stand on the same commit when the proposal is turned to the protected branch again (F37).
    Comment::new(vec![page], ReportState::Failure, line)
}

/// Muster's own failure. It says nothing about the proposal.
fn broken(about: &CommitContext<'_>, why: &str) -> Comment {
    let line = "Not planned: muster itself failed, so what merging would do is not known";
    let mut page = format!("**{line}.**\n\n");
    match about.audience {
        Audience::Team => {
            page.push_str("It said: ");
            escape::prose(&mut page, why);
            page.push_str(".\n");
        }
        // It may quote what was read on a host.
        Audience::Public => page.push_str("The reason is in the log of the bot.\n"),
    }
    page.push_str(
        "\nIt is tried again by itself; nothing in this proposal has to change for that.\n",
    );
    page.push_str(&foot(about, None));
    Comment::new(vec![page], ReportState::Failure, line)
}

/// Which commits, which day, which plan.
fn foot(about: &CommitContext<'_>, digest: Option<&str>) -> String {
    let CommitContext {
        head,
        protected,
        branch,
        today,
        audience,
        full,
        operator: _,
    } = about;
    let mut out = format!("\nCommit `{head}`");
    if let Some(branch) = branch {
        out.push_str(" of ");
        escape::value(&mut out, branch);
    }
    let _ = write!(out, " onto `{protected}`, for {today} (UTC)");
    // The digest is made of ids, and they of what was observed: with little left to guess it could be found out.
    if let (Some(digest), Audience::Team) = (digest, audience) {
        let _ = write!(out, "; plan `{digest}`");
    }
    out.push_str(".\n");
    if let Some(full) = full {
        full_report(full, &mut out);
    }
    out
}

/// The line that says where everything stands.
pub(super) fn full_report(full: &FullReport<'_>, out: &mut String) {
    let FullReport { reference, path } = full;
    out.push_str("\nThe full report, in a clone of the ledger repository: ");
    escape::code(out, &format!("git show {reference}:{path}"));
    out.push_str(".\n");
}
