//! Whom to look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::action::Action;
use super::desired::{Desired, Wanted};
use super::facts::{KeptOf, Known, PersonFacts};
use super::observed::{AccountsOf, Parts, Question, Remains, Subject};
use crate::merge_join::MergeJoin;
use crate::people::Stage;
use crate::price::{Looks, Price};
use crate::repo::Grant;
use crate::turn::Turn;

/// Everybody the roster or the ledger names. Login traces are read only of people who are cut, are about to be, or
/// have something to be put back.
pub fn question<'q>(desired: &'q Desired, known: &'q Known) -> Question<'q> {
    let mut question = Question {
        parts: Parts::ALL,
        ..Question::default()
    };
    // In the order of the names: a map is made of that far faster than entry by entry.
    let mut people = Vec::with_capacity(desired.people.len());
    let mut facts_of = MergeJoin::new(&known.people);
    let mut grants: Vec<&Arc<Grant>> = Vec::new();
    for (user, wanted) in &desired.people {
        // Everybody of a tier has the same grant.
        if !grants.iter().any(|it| Arc::ptr_eq(it, &wanted.grant)) {
            grants.push(&wanted.grant);
        }
        let known = facts_of.get(user);
        match (known, wanted.uid) {
            (Some(person), _) if is_gone(person) => {
                question.uids.insert(person.uid);
            }
            (None, Some(uid)) => {
                question.uids.insert(uid);
            }
            (None, None) if wanted.adopt.is_none() => question.new += 1,
            (Some(_) | None, _) => {}
        }
        people.push((
            user.as_str(),
            Subject {
                traces: looks_at_traces(wanted, known.map(Box::as_ref)),
                ask_name_services: known.is_none_or(|it| is_gone(it)),
                home: known.map(|it| it.home.as_str()),
                cuts: known.map_or(0, |it| it.cuts),
                kept: known.and_then(|it| kept(it)),
            },
        ));
    }
    question.people = people.into_iter().collect();
    question.remains = known.remains().collect();
    question.shells = grants.into_iter().map(|it| it.shell.clone()).collect();
    let renamed: BTreeMap<&str, &Wanted> = desired
        .people
        .values()
        .filter_map(|it| Some((it.previously.as_deref()?, &**it)))
        .collect();
    let mut wanted = MergeJoin::new(&desired.people);
    for (user, person) in &known.people {
        if wanted.get(user).is_none() {
            let gone = is_gone(person);
            question.people.insert(
                user.as_str(),
                Subject {
                    traces: !gone
                        && renamed
                            .get(user.as_str())
                            .is_none_or(|wanted| looks_at_traces(wanted, Some(person))),
                    ask_name_services: false,
                    home: Some(person.home.as_str()),
                    cuts: person.cuts,
                    kept: kept(person),
                },
            );
        }
    }
    question
}

/// Whether the traces of somebody's login are looked at, who is asked for: they are to be set aside, or wait to be put back.
fn looks_at_traces(wanted: &Wanted, person: Option<&PersonFacts>) -> bool {
    let shut = person
        .is_some_and(|it| matches!(it.stage, Stage::Cut | Stage::Disabled) || !it.aside.is_empty());
    shut || (wanted.disabled.is_some() && (person.is_some() || wanted.adopt.is_some()))
}

/// Whether somebody's account was removed.
fn is_gone(person: &PersonFacts) -> bool {
    matches!(person.stage, Stage::Archived | Stage::Deleted)
}

/// Whose removal is looked at: whoever is cut, since one may have been interrupted, and whoever is gone or just back.
fn kept(person: &PersonFacts) -> Option<KeptOf> {
    let here = matches!(
        person.stage,
        Stage::Active | Stage::Parked | Stage::Disabled
    );
    (!here || person.home_owed.is_some()).then(|| person.kept_of())
}

/// Whom to look at to see what became of steps: at the parts of the host that a turn can have changed, or at all of them.
pub(crate) fn about<'q>(
    steps: impl Iterator<Item = (&'q Action, Price)>,
    known: &'q Known,
    turn: Option<Turn>,
) -> Question<'q> {
    let mut question = Question {
        parts: turn.map_or(Parts::ALL, parts_of),
        accounts_of: AccountsOf::Asked,
        ..Question::default()
    };
    for (action, price) in steps {
        if let Some(former) = action.former_name() {
            question.people.entry(former).or_default();
            let gid = known.people.get(former).map(|it| it.gid);
            let beside = Some(action.user());
            let remains = gid.map(|gid| (former, Remains { gid, beside }));
            question.remains.extend(remains);
        }
        let user = action.user();
        question
            .remains
            .extend(action.remains().map(|it| (user, it)));
        let subject = question.people.entry(user).or_default();
        let at_traces = match price.looks {
            Looks::AtTraces => true,
            Looks::AsEver => false,
        };
        subject.traces |= at_traces;
        question.parts.homes |= at_traces;
        let person = known.people.get(user);
        subject.home = person.map(|it| it.home.as_str());
        subject.cuts = person.map_or(0, |it| it.cuts);
        let destroyed = price.turn == Turn::Destroy;
        subject.kept = person.filter(|_| destroyed).map(|it| it.kept_of());
    }
    question
}

/// The parts of the host that a turn can have changed.
fn parts_of(turn: Turn) -> Parts {
    match turn {
        Turn::Record | Turn::Assign | Turn::Make | Turn::Configure => Parts::NONE,
        Turn::Quiesce | Turn::Start => Parts {
            units: true,
            ..Parts::NONE
        },
        Turn::Accounts => Parts {
            accounts: true,
            ..Parts::NONE
        },
        // Whose a home is, is judged by the uid in the account databases.
        Turn::Homes | Turn::Sessions => Parts {
            accounts: true,
            homes: true,
            ..Parts::NONE
        },
        Turn::Files => Parts {
            files: true,
            ..Parts::NONE
        },
        Turn::Rename | Turn::Destroy => Parts::ALL,
    }
}
