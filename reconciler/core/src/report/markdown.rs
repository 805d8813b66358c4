//! The comment on a proposal.

use std::fmt::Write as _;

use super::group::{self, Group, HOSTS_NAMED};
use super::noun::Noun;
use super::page::{self, Block};
use super::section::{
    about_origin, benign_runs, folded_notes, folded_steps, never_cut_blocks, tallies,
};
use super::view::{self, Counts, Origin, View};
use super::{
    About, Audience, Comment, FullReport, Host, Problem, Proposal, State, UnknownHost, escape,
    public,
};
use crate::executor::Executor;
use crate::ink::count;
use crate::price::Class;
use crate::step::Step;
use crate::time::Time;

/// Says what merging `proposal` would do, in pages of at most `limit` bytes.
///
/// The first line tells verdict, classes and hosts, and the next one of which hosts nothing is known. Hosts with equal
/// plans share a section. Held and destructive steps come first and whole; benign steps are folded, and become counts
/// when they do not fit. Only held steps and what needs attention ever take a further page.
/// A `limit` below 16 KiB is taken as 16 KiB: less does not hold one step with its surroundings.
pub fn comment(about: &About<'_>, proposal: &Proposal<'_>, limit: usize) -> Comment {
    let limit = limit.max(page::MIN_LIMIT);
    match proposal {
        Proposal::Planned {
            hosts,
            unknown,
            warnings,
        } => planned(about, hosts, unknown, warnings, limit),
        Proposal::Invalid(problems) => invalid(about, problems, limit),
        Proposal::Conflict(paths) => conflict(about, paths, limit),
        Proposal::Contained => {
            let line = "Nothing to merge: the protected branch already contains this commit";
            let page = format!("**{line}.**\n{}", foot(about, None));
            Comment::new(vec![page], State::Success, line)
        }
        Proposal::Closed => {
            let line = "Closed, and not merged: nothing of it happens";
            let page = format!("**{line}.**\n{}", foot(about, None));
            Comment::new(vec![page], State::Failure, line)
        }
        Proposal::Elsewhere(base) => elsewhere(about, base),
        Proposal::Planning => {
            let line = super::pending(about.head);
            let page = format!(
                "**Planning `{}`**.\n{}",
                about.head.short(),
                foot(about, None)
            );
            Comment::new(vec![page], State::Pending, &line)
        }
        Proposal::Broken(why) => broken(about, why),
    }
}

fn planned(
    about: &About<'_>,
    hosts: &[Host<'_>],
    unknown: &[UnknownHost<'_>],
    warnings: &[Problem],
    limit: usize,
) -> Comment {
    let mut views: Vec<View<'_>> = hosts.iter().map(View::of).collect();
    views.sort_by(|a, b| a.executor.cmp(b.executor));
    let mut unknown = unknown.to_vec();
    unknown.sort_by(|a, b| a.executor.cmp(b.executor));
    let digest = view::digest(&views);
    let looked = Looked::of(&views, &unknown);
    let verdict = looked.verdict();
    let mut line = verdict.clone();
    if looked.counts.steps() > 0 {
        let _ = write!(line, ": {}", looked.counts.classes());
    }
    let mut head = format!("**{verdict}**");
    head_details(&mut head, about, &looked);

    let foot = foot(about, Some(&digest));
    let mut after = warning_blocks(warnings);
    let ages = match about.audience {
        Audience::Team => ages(&views),
        Audience::Public => String::new(),
    };
    let mut blocks = unknown_blocks(&unknown, about.audience);
    match about.audience {
        Audience::Public => blocks.extend(public::blocks(&views, about.full.is_some())),
        Audience::Team => {
            let used = head.len() + page::length(&blocks) + page::length(&after);
            let room = limit.saturating_sub(used + foot.len() + ages.len());
            let mut groups = group::fold(views.iter().filter(|it| !is_in_line(it, &views)));
            // The worst first.
            let worst = |it: &Group<'_, '_>| it.first().held().map(|it| it.class).max();
            groups.sort_by_key(|it| std::cmp::Reverse(worst(it)));
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
        State::Success
    } else {
        State::Failure
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

    fn verdict(&self) -> String {
        let hosts = self.views.len() + self.unknown.len();
        let blind = self.unread + self.unknown.len();
        match (blind, hosts) {
            (_, 0) => "No host was planned for, so what merging would do is not known".to_owned(),
            (0, _) => self.counts.verdict("Merging"),
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
                let rest = match self.counts.steps() {
                    0 => "nothing to change".to_owned(),
                    _ => self.counts.verdict("merging"),
                };
                let all = self.noun().counted(hosts);
                format!("Not known on {blind} of {all}; elsewhere {rest}")
            }
        }
    }
}

fn head_details(head: &mut String, about: &About<'_>, looked: &Looked<'_, '_>) {
    let Looked {
        views,
        counts,
        unread: _,
        unknown,
    } = looked;
    if counts.steps() > 0 {
        let _ = write!(head, ": {}", counts.classes());
        if views
            .iter()
            .any(|it| it.steps.iter().any(|it| it.origin != Origin::Unknown))
        {
            let change = counts.steps() - counts.drift;
            let _ = write!(
                head,
                "; {change} by this change, {} drift already there",
                counts.drift
            );
        }
    }
    let touched: Vec<&View<'_>> = views.iter().filter(|it| !it.steps.is_empty()).collect();
    if touched.len() > HOSTS_NAMED || (about.audience == Audience::Public && !touched.is_empty()) {
        let noun = Noun::of(touched.iter().map(|it| it.executor));
        let _ = write!(head, "; on {}", noun.counted(touched.len()));
    } else {
        for (i, view) in touched.iter().enumerate() {
            head.push_str(if i == 0 { "; on " } else { ", " });
            escape::value(head, &view.executor.to_string());
        }
    }
    if counts.attention > 0 {
        let need = if counts.attention == 1 {
            "needs"
        } else {
            "need"
        };
        let _ = write!(
            head,
            "; {} {need} attention",
            count(counts.attention, "note")
        );
    }
    head.push_str(".\n");
    let unread = views.iter().filter(|it| it.is_unread());
    let blind: Vec<(&Executor, &str)> = unread
        .map(|it| (it.executor, "unreadable"))
        .chain(unknown.iter().map(|it| (it.executor, it.why.word())))
        .collect();
    if !blind.is_empty() && views.len() + unknown.len() > 1 {
        head.push_str("\nNot known: ");
        for (i, (executor, why)) in blind.iter().take(HOSTS_NAMED).enumerate() {
            head.push_str(if i == 0 { "" } else { ", " });
            escape::value(head, &executor.to_string());
            let _ = write!(head, " ({why})");
        }
        if blind.len() > HOSTS_NAMED {
            let _ = write!(head, " and {} more", blind.len() - HOSTS_NAMED);
        }
        head.push_str(".\n");
    }
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

/// Whether a host has its place in the one line of hosts with nothing to change.
fn is_in_line(view: &View<'_>, all: &[View<'_>]) -> bool {
    all.len() > 1 && view.is_calm()
}

/// The hosts with nothing to change, in one line, and what there is to note about them.
///
/// `None` when that is more than `room` bytes.
fn calm_blocks(views: &[View<'_>], room: usize) -> Option<Vec<Block>> {
    let calm: Vec<&View<'_>> = views.iter().filter(|it| is_in_line(it, views)).collect();
    if calm.is_empty() {
        return Some(Vec::new());
    }
    let mut blocks = vec![calm_line(&calm)];
    if calm.len() > HOSTS_NAMED {
        let noun = Noun::of(calm.iter().map(|it| it.executor));
        let all = noun.counted(calm.len());
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

fn calm_line(calm: &[&View<'_>]) -> Block {
    let mut line = "\nNothing to change on ".to_owned();
    group::names(calm.iter().map(|it| it.executor), &mut line);
    line.push_str(".\n");
    Block::body(line)
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
        never_cut_blocks(group, &mut blocks);
        used += page::length(&blocks[from..]);
        let each = match group.only() {
            Some(_) => String::new(),
            None => format!(", on each {}", group.noun().one),
        };
        let mut folded = |title: &str, steps: &[&Step]| -> Option<()> {
            let title = format!("{title}{each}");
            let text = folded_steps(&title, steps, room.checked_sub(used)?)?;
            used += text.len();
            blocks.push(Block::body(text));
            Some(())
        };
        for origin in Origin::ALL {
            let steps: Vec<&Step> = benign_runs(view)
                .filter(|it| it.origin == origin)
                .map(|it| it.step)
                .collect();
            folded(about_origin(origin), &steps)?;
        }
        folded("No longer needed after this change", &view.unneeded)?;
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
        never_cut_blocks(group, &mut blocks);
        blocks.extend(tallies(&group.views));
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
    let calm: Vec<&View<'_>> = all.iter().filter(|it| is_in_line(it, all)).collect();
    if !calm.is_empty() {
        blocks.push(calm_line(&calm));
    }
    let notes: usize = calm.iter().map(|it| it.notes.len()).sum();
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

fn invalid(about: &About<'_>, problems: &[Problem], limit: usize) -> Comment {
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
    Comment::new(vec![page], State::Failure, &line)
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

fn conflict(about: &About<'_>, paths: &[String], limit: usize) -> Comment {
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
    Comment::new(vec![page], State::Failure, &line)
}

/// Hosts follow one branch, and this is not for it.
fn elsewhere(about: &About<'_>, base: &str) -> Comment {
    let line = "Not for the branch that hosts follow: merging it changes no host";
    let mut page = format!("**{line}.**\n\nIt is to go into ");
    escape::value(&mut page, base);
    page.push_str(". When it is to go into the protected branch, it is planned again.\n");
    page.push_str(&foot(about, None));
    Comment::new(vec![page], State::Success, line)
}

/// Muster's own failure. It says nothing about the proposal.
fn broken(about: &About<'_>, why: &str) -> Comment {
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
    Comment::new(vec![page], State::Failure, line)
}

/// Which commits, which day, which plan.
fn foot(about: &About<'_>, digest: Option<&str>) -> String {
    let About {
        head,
        protected,
        branch,
        today,
        audience,
        full,
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
