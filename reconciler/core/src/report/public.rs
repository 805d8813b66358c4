//! What anybody may read: of each held step the verb, the person and the host, all of which the repository tells already.
//! Whatever was observed on a host stays in the ledger (threats C10), and so do ids and digests, which are made of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::noun::Noun;
use super::page::Block;
use super::view::{Origin, Shown, View};
use super::{escape, group};
use crate::executor::Executor;
use crate::gate::Reason;
use crate::ink::count;
use crate::price::Class;
use crate::rooms::Verb;

/// Held steps that read the same to the public, and where they are.
type Alike<'a> = BTreeMap<Key<'a>, BTreeMap<&'a Executor, usize>>;

/// Whether it is told with the change, class, person, verb, why it waits, whether it is there without the change.
type Key<'a> = (
    std::cmp::Reverse<bool>,
    std::cmp::Reverse<Class>,
    &'a str,
    Verb,
    Cow<'static, str>,
    bool,
);

/// The held steps, never cut, and why there is no more.
pub(super) fn blocks<'v, 'a: 'v>(
    views: impl IntoIterator<Item = &'v View<'a>>,
    full: bool,
) -> Vec<Block> {
    let mut alike: Alike<'_> = BTreeMap::new();
    let mut executors = Vec::new();
    for view in views {
        executors.push(view.executor);
        for shown in view.held() {
            let key = key(view.executor, shown);
            *alike
                .entry(key)
                .or_default()
                .entry(view.executor)
                .or_default() += 1;
        }
    }
    let whole = if full {
        "; the full report is in the private ledger"
    } else {
        ""
    };
    let mut blocks = vec![Block::body(format!(
        "\nAnybody can read this repository, so what was observed on {} is left out here{whole}. Held steps are named, \
         all other steps are counted.\n",
        Noun::of(executors).many
    ))];
    let mut last = None;
    for ((with_change, class, user, verb, why, drift), hosts) in alike {
        if last.replace((with_change, class)) != Some((with_change, class)) {
            let title = match with_change.0 {
                true => format!("\n### Held: {}\n\n", class.0),
                false => format!("\n### Held already, not by this change: {}\n\n", class.0),
            };
            blocks.push(Block::host(title));
        }
        let mut sentence = "- ".to_owned();
        let _ = write!(sentence, "`{}` of ", verb.row().word);
        escape::name(&mut sentence, user);
        let mut because = format!(": {why}");
        if drift && with_change.0 {
            because.push_str(", already there without this change");
        }
        let steps: usize = hosts.values().sum();
        if steps > hosts.len() {
            let _ = write!(because, " ({})", count(steps, "step"));
        }
        for list in group::name_lists(hosts.into_keys()) {
            blocks.push(Block::body(format!("{sentence} on {list}{because}\n")));
        }
    }
    blocks
}

fn key<'a>(executor: &Executor, shown: &Shown<'a>) -> Key<'a> {
    let action = &shown.step.action;
    (
        std::cmp::Reverse(shown.with_change),
        std::cmp::Reverse(shown.class),
        action.spelled().resource(),
        action.verb(),
        shown.held.map_or_else(Cow::default, |it| why(it, executor)),
        shown.origin == Origin::Drift,
    )
}

/// What a reason says without what it was found in.
fn why(reason: &Reason, executor: &Executor) -> Cow<'static, str> {
    let is = |how| Cow::Owned(format!("the {} is {how}", executor.kind().nouns().0));
    let why = match reason {
        Reason::PendingSignature => "waits for a signed release",
        Reason::Limit(_) => "over the limit, so all removals of this plan wait together",
        Reason::Guardrail(_) => "no release permits it",
        Reason::Needs(_) => "follows another held step",
        Reason::Precondition(_) => "something it needs is missing",
        Reason::Until { .. } => "is told of first",
        Reason::Retry { .. } => "failed, and is tried again",
        Reason::NeedsOperator(_) => "needs an operator",
        Reason::Frozen => return is("frozen"),
        Reason::Suspended(_) => return is("suspended"),
    };
    Cow::Borrowed(why)
}
