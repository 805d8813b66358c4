//! Bounds on a whole plan: how much is taken away at once, and how many remain who can become root.

use std::collections::BTreeMap;

use super::action::Action;
use super::facts::Known;
use super::observed::{Account, Observed, Password};
use super::policy::Policy;
use super::root::Admins;
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
    let admins = too_few_admins(
        planned.clone().map(|(action, _)| action),
        policy,
        observed,
        now,
    );
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

/// Whether too few accounts remain that surely can become root, of those that can now.
fn too_few_admins<'a>(
    planned: impl Iterator<Item = &'a Action>,
    policy: &Policy,
    observed: &Observed,
    now: Time,
) -> Option<String> {
    let Reading::Known(accounts) = &observed.accounts else {
        return None;
    };
    let sure = Admins::new(accounts, &policy.nologin, now.days());
    let everybody = accounts.by_name.iter();
    let mut admins: BTreeMap<&str, Admin> = everybody
        .filter(|(name, account)| sure.surely_can(name, account))
        .map(|(name, account)| {
            let admin = Admin {
                name: name.clone(),
                account: Account::clone(account),
            };
            (name.as_str(), admin)
        })
        .collect();
    let before = admins.len();
    for action in planned {
        // Under its old name an account is known until it has the new one.
        let of = action.former_name().unwrap_or(action.user());
        if let Some(admin) = admins.get_mut(of)
            && !leaves_admin(action, admin)
        {
            admins.remove(of);
        }
    }
    admins.retain(|_, it| sure.surely_can(&it.name, &it.account));
    let (left, least) = (admins.len(), policy.limits.min_admins);
    (left < before && left < least).then(|| say::too_few(left, least, sure.unread()))
}

/// An account that surely can become root, as far as a plan has changed it.
struct Admin {
    name: String,
    account: Account,
}

/// Does to an admin what a step would, as far as it can cost them root; whether there is still an account to look at.
///
/// No wildcard: a new action does not compile until it is said here.
fn leaves_admin(action: &Action, admin: &mut Admin) -> bool {
    match action {
        Action::Cut { .. } | Action::LockLogin { .. } | Action::ArchiveDelete { .. } => {
            return false;
        }
        Action::LeaveGroup { group, .. } => drop(admin.account.groups.remove(group)),
        Action::LockPassword { .. } => admin.account.password = Password::Locked,
        Action::SetShell { to, .. } => admin.account.shell.clone_from(to),
        Action::RenameAccount { user, .. } => admin.name.clone_from(user),
        Action::ChangeUid { to, .. } => admin.account.uid = *to,
        Action::CreateAccount { .. }
        | Action::AdoptAccount { .. }
        | Action::ChangeIdentity { .. }
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
        | Action::PurgeHome { .. } => {}
    }
    true
}
