//! What must be true of every journal, whatever happened: the one judge of crashes, histories and attacks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::facts::Facts;
use muster_core::gate::Held;
use muster_core::id::StepId;
use muster_core::journal::{Entry, Replayed, StepResult};
use muster_core::people::Stage;
use muster_core::price::Class;
use muster_core::release::Nonce;
use muster_core::rooms::{self, Policy};
use muster_core::step::Step;
use muster_sim::Universe;

use crate::of_host::price;

/// How far a released step is, as the journal tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Far {
    /// No intent names it, or the world showed that nothing of it had happened.
    Waiting,
    /// An intent names it.
    Begun,
    /// It came to its end.
    Over,
}

/// Whether whatever was not benign ran by a release that was claimed before, each step of it once, and whether nothing
/// was acted on that had no intent.
///
/// # Errors
/// The first thing that was not so.
pub fn released(universe: &Universe, policy: &Policy) -> Result<(), String> {
    let mut claims: BTreeMap<Nonce, BTreeMap<StepId, Far>> = BTreeMap::new();
    let mut finished: BTreeSet<Nonce> = BTreeSet::new();
    let mut open: Vec<(Arc<Step>, Option<Nonce>)> = Vec::new();
    let mut intended: Vec<Vec<String>> = Vec::new();
    let mut replayed: Option<Replayed> = None;
    for entry in &universe.journal {
        match entry {
            Entry::Claimed { claim, .. } => {
                let waiting = claim.steps.keys().map(|id| (*id, Far::Waiting)).collect();
                if claims.insert(claim.nonce, waiting).is_some() {
                    return Err(format!("nonce {} was claimed twice", claim.nonce));
                }
            }
            Entry::Finished { nonce, .. } => {
                finished.insert(*nonce);
            }
            Entry::Intended {
                steps, authority, ..
            } => {
                intended.push(steps.iter().map(|it| it.id.to_string()).collect());
                open.clear();
                for step in steps {
                    let by = authority.release_of(step.id);
                    if by.is_none() && class(step, policy, replayed.as_ref()) != Class::Benign {
                        return Err(format!("without a release: {}", step.words()));
                    }
                    if let Some(nonce) = by {
                        begin(&mut claims, &finished, nonce, step)?;
                    }
                    open.push((Arc::clone(step), by));
                }
            }
            Entry::Outcome { results, .. } => {
                for ((step, by), result) in open.drain(..).zip(results) {
                    let far = match result {
                        StepResult::NotBegun => Far::Waiting,
                        StepResult::Unfinished(_) => Far::Begun,
                        StepResult::Done
                        | StepResult::Failed(_)
                        | StepResult::NeedsOperator(_)
                        | StepResult::Overtaken(_) => Far::Over,
                    };
                    let steps = by.and_then(|nonce| claims.get_mut(&nonce));
                    if let Some(it) = steps.and_then(|steps| steps.get_mut(&step.id)) {
                        *it = far;
                    }
                }
            }
            _ => {}
        }
        match &mut replayed {
            None => replayed = Replayed::begin(entry).ok(),
            Some(past) => past
                .apply(entry)
                .map_err(|error| format!("{error}: {entry:?}"))?,
        }
    }
    let mut unacted = intended.iter();
    for acted in &universe.acted {
        if !unacted.any(|it| it == acted) {
            return Err(format!("acted without an intent: {acted:?}"));
        }
    }
    Ok(())
}

/// What a step costs: of a guest, by what the journal said until then, since provenance makes the end of one benign or not (G13).
fn class(step: &Step, policy: &Policy, past: Option<&Replayed>) -> Class {
    match (step.action.guest(), past) {
        (Some(_), Some(past)) => rooms::price(&step.action, policy, None, &past.facts.known).class,
        (Some(_) | None, _) => price(step, policy).class,
    }
}

fn begin(
    claims: &mut BTreeMap<Nonce, BTreeMap<StepId, Far>>,
    finished: &BTreeSet<Nonce>,
    nonce: Nonce,
    step: &Step,
) -> Result<(), String> {
    let words = step.words();
    if finished.contains(&nonce) {
        return Err(format!("after the end of release {nonce}: {words}"));
    }
    match claims
        .get_mut(&nonce)
        .and_then(|steps| steps.get_mut(&step.id))
    {
        None => Err(format!("release {nonce} does not name it: {words}")),
        Some(Far::Over) => Err(format!("a second time by release {nonce}: {words}")),
        Some(far) => {
            *far = Far::Begun;
            Ok(())
        }
    }
}

/// The steps that are not benign and were acted on, in words.
pub fn acted(universe: &Universe, policy: &Policy) -> Vec<String> {
    let mut by_id: BTreeMap<String, &Step> = BTreeMap::new();
    for entry in &universe.journal {
        if let Entry::Intended { steps, .. } = entry {
            by_id.extend(steps.iter().map(|it| (it.id.to_string(), &**it)));
        }
    }
    let steps = universe
        .acted
        .iter()
        .flatten()
        .filter_map(|id| by_id.get(id));
    steps
        .filter(|it| price(it, policy).class != Class::Benign)
        .map(|it| it.words())
        .collect()
}

/// Whether a host that has come to rest is whole, whatever was interrupted before, and whatever people wanted then: no account is open
/// that counts as cut or that nobody counts, no line stands under a name that has no account, no home is lost or half, and no id is
/// two accounts'.
///
/// # Errors
/// The first thing that is not so.
pub fn whole(
    universe: &Universe,
    facts: &Facts,
    names: &[&str],
    held: &[Held],
) -> Result<(), String> {
    let host = &universe.host;
    let people = &facts.known.accounts().people;
    for name in names {
        let account = host.accounts.get(*name);
        let person = people.get(*name);
        match (account, person) {
            (Some(account), Some(person)) if account.uid == person.uid => {}
            (Some(account), _) => {
                return Err(format!("nobody counts the account {name}: {account:?}"));
            }
            (None, _) => {
                let listed = |members: &BTreeSet<String>| members.contains(*name);
                if host.lines.contains_key(*name)
                    || host.groups.contains_key(*name)
                    || host.groups.values().any(|(_, it)| listed(it))
                    || host.half.values().any(listed)
                {
                    return Err(format!("lines of {name}, which has no account: {host:?}"));
                }
            }
        }
    }
    for (name, person) in people {
        let of_the_uid: Vec<_> = host
            .accounts
            .iter()
            .filter(|(_, it)| it.uid == person.uid)
            .collect();
        if of_the_uid.len() > 1 {
            return Err(format!("uid {} twice: {of_the_uid:?}", person.uid));
        }
        let is_open = of_the_uid.iter().any(|(_, it)| {
            !(it.password.starts_with(['!', '*'])
                && it.expires.is_some()
                && it.shell.ends_with("nologin"))
        });
        // What a limit holds is told, and waits for a person.
        let is_told = held
            .iter()
            .any(|it| it.step.resource() == name && it.reason.code() == "limit");
        if person.stage == Stage::Cut && is_open && !is_told {
            return Err(format!("{name} counts as cut: {of_the_uid:?}"));
        }
        let is_kept = host.homes.contains_key(&person.home)
            || host
                .quarantine
                .values()
                .any(|(home, _)| *home == person.home)
            || host
                .archives
                .keys()
                .any(|it| it.starts_with(&format!("{}.", person.uid)));
        if person.home_made && !is_kept {
            return Err(format!("the home of {name} is lost"));
        }
        let here = matches!(person.stage, Stage::Active | Stage::Parked);
        let has_home = person.home_owed.is_some() || host.homes.contains_key(&person.home);
        if here && person.home_made && !has_home {
            return Err(format!("{name} is here, and has no home: {person:?}"));
        }
        if here && person.aside.login && !is_told {
            return Err(format!("{name} is here, and the login was not put back"));
        }
    }
    match host.damaged.first() {
        Some(home) => Err(format!("half a home: {home}")),
        None => Ok(()),
    }
}

/// Whether journal and ledger tell whatever was done: `is_telling` says of which steps the world can tell it after the fact.
///
/// # Errors
/// The first step of which they do not.
pub fn told(universe: &Universe, is_telling: impl Fn(&Step) -> bool) -> Result<(), String> {
    let mut open: &[Arc<Step>] = &[];
    let mut steps: BTreeMap<String, &Step> = BTreeMap::new();
    let mut told: BTreeSet<String> = BTreeSet::new();
    for entry in &universe.journal {
        match entry {
            Entry::Intended { steps: all, .. } => {
                steps.extend(all.iter().map(|it| (it.id.to_string(), &**it)));
                open = all;
            }
            Entry::Outcome { results, .. } => {
                for (step, result) in open.iter().zip(results) {
                    let (id, done) = (
                        step.id.to_string(),
                        match result {
                            StepResult::NotBegun => continue,
                            StepResult::Done | StepResult::Overtaken(_) => true,
                            StepResult::Failed(_)
                            | StepResult::Unfinished(_)
                            | StepResult::NeedsOperator(_) => false,
                        },
                    );
                    let words = format!("{id} ");
                    let mut lines = universe.ledger_log.iter().flat_map(|it| it.lines());
                    if done && !lines.any(|it| it.starts_with(&words) && it.contains("(done")) {
                        return Err(format!("the ledger does not tell: {}", step.words()));
                    }
                    told.insert(id);
                }
            }
            _ => {}
        }
    }
    for id in &universe.carried_out {
        let step = steps.get(id).ok_or_else(|| format!("no intent of {id}"))?;
        if !told.contains(id) && is_telling(step) {
            return Err(format!(
                "done, and the journal does not tell: {}",
                step.words()
            ));
        }
    }
    Ok(())
}
