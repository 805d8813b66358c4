//! Bounds on a whole plan: how much is taken away at once, and how many remain who can become root.

use std::collections::BTreeMap;

use super::action::Action;
use super::facts::Known;
use super::observed::Observed;
use super::policy::{ADMIN_GROUPS, Policy};
use super::say;
use crate::limits::{Bound, Over};
use crate::people::Stage;
use crate::price::Takes;
use crate::reading::Reading;
use crate::time::Time;

/// What a plan is over. `recent` counts the removals of the last 24 hours.
pub fn limits<'a>(
    planned: impl Iterator<Item = (&'a Action, Takes)> + Clone,
    policy: &Policy,
    observed: &Observed,
    known: &Known,
    recent: usize,
    now: Time,
) -> Vec<Over> {
    let admins = too_few_admins(planned.clone().map(|(action, _)| action), policy, observed);
    let removals = planned.filter(|(_, takes)| takes.counts()).count();
    let removals = too_many_removals(removals, policy, known, recent, now);
    let floor = admins.map(|why| Over {
        bound: Bound::Floor,
        why,
    });
    let share = removals.map(|why| Over {
        bound: Bound::Share,
        why,
    });
    floor.into_iter().chain(share).collect()
}

fn too_many_removals(
    planned: usize,
    policy: &Policy,
    known: &Known,
    recent: usize,
    now: Time,
) -> Option<String> {
    if planned == 0 {
        return None;
    }
    let removals = planned + recent;
    let people = || known.people.values();
    let active = people().filter(|it| it.stage == Stage::Active).count();
    // Those already cut today were active this morning.
    let cut_today = people()
        .filter(|it| it.stage == Stage::Cut && it.since.plus(86_400) > now)
        .count();
    let base = active + cut_today;
    let limits = policy.limits;
    (removals >= limits.removals && removals * 100 > limits.share * base)
        .then(|| say::too_many(removals, recent, base, &limits))
}

fn too_few_admins<'a>(
    planned: impl Iterator<Item = &'a Action>,
    policy: &Policy,
    observed: &Observed,
) -> Option<String> {
    let Reading::Known(accounts) = &observed.accounts else {
        return None;
    };
    let mut admins: BTreeMap<&str, usize> = accounts
        .by_name
        .iter()
        .filter(|(_, it)| it.uid != 0 && it.expires.is_none() && it.shell != policy.nologin)
        .map(|(name, it)| {
            let groups = ADMIN_GROUPS
                .iter()
                .filter(|group| it.groups.contains(**group));
            (name.as_str(), groups.count())
        })
        .filter(|(_, groups)| *groups > 0)
        .collect();
    let before = admins.len();
    for action in planned {
        match loses(action) {
            Loses::Nothing => {}
            Loses::Login(user) => {
                admins.remove(user);
            }
            Loses::Group { user, group } if ADMIN_GROUPS.contains(&group) => {
                if let Some(groups) = admins.get_mut(user) {
                    *groups -= 1;
                    if *groups == 0 {
                        admins.remove(user);
                    }
                }
            }
            Loses::Group { .. } => {}
        }
    }
    let (left, least) = (admins.len(), policy.limits.min_admins);
    (left < before && left < least).then(|| say::too_few(left, least))
}

/// By what an action keeps somebody from becoming root.
enum Loses<'a> {
    Nothing,
    Login(&'a str),
    Group { user: &'a str, group: &'a str },
}

fn loses(action: &Action) -> Loses<'_> {
    match action {
        Action::Cut { user, .. }
        | Action::LockLogin { user, .. }
        | Action::ArchiveDelete { user, .. } => Loses::Login(user),
        Action::LeaveGroup { user, group, .. } => Loses::Group { user, group },
        Action::CreateAccount { .. }
        | Action::AdoptAccount { .. }
        | Action::RenameAccount { .. }
        | Action::ChangeUid { .. }
        | Action::ChangeIdentity { .. }
        | Action::SetShell { .. }
        | Action::LockPassword { .. }
        | Action::JoinGroup { .. }
        | Action::AssignPorts { .. }
        | Action::Park { .. }
        | Action::Unpark { .. }
        | Action::Return { .. }
        | Action::UnlockLogin { .. }
        | Action::Trace { .. }
        | Action::EndSessions { .. }
        | Action::CreateHome { .. }
        | Action::WriteEnvironment { .. }
        | Action::Unit { .. }
        | Action::Entry { .. }
        | Action::RecordArchive { .. }
        | Action::RestoreAccount { .. }
        | Action::RestoreHome { .. }
        | Action::PurgeHome { .. } => Loses::Nothing,
    }
}
