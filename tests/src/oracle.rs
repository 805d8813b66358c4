//! What must be true of every journal, whatever happened: the one judge of crashes, histories and attacks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::id::StepId;
use muster_core::journal::{Entry, StepResult};
use muster_core::price::Class;
use muster_core::release::Nonce;
use muster_core::rooms::Policy;
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
                    if by.is_none() && price(step, policy).class != Class::Benign {
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
                        StepResult::Done | StepResult::Failed(_) | StepResult::NeedsOperator(_) => {
                            Far::Over
                        }
                    };
                    let steps = by.and_then(|nonce| claims.get_mut(&nonce));
                    if let Some(it) = steps.and_then(|steps| steps.get_mut(&step.id)) {
                        *it = far;
                    }
                }
            }
            _ => {}
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
