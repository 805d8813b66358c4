//! Bounds on a whole plan: how much is taken away at once, and how many remain who can become root.

use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::facts::Known;
use super::observed::{Account, Observed, Password};
use super::policy::Policy;
use super::root::Admins;
use super::say;
use crate::limits::{Bound, Over, Recent};
use crate::people::Stage;
use crate::price::Takes;
use crate::reading::Reading;
use crate::time::Time;

/// What a plan is over. `recent` are those from whom something was taken in the last 24 hours; somebody who is cut several times is one
/// (F29).
pub fn limits<'a>(
    planned: impl Iterator<Item = (&'a Action, Takes)> + Clone,
    policy: &Policy,
    observed: &Observed,
    known: &Known,
    recent: &Recent<'a>,
    now: Time,
) -> Vec<Over> {
    let admins = too_few_admins(
        planned.clone().map(|(action, _)| action),
        policy,
        observed,
        now,
    );
    let planned = planned.filter(|(_, takes)| takes.counts());
    let planned = planned.map(|(action, _)| action.user()).collect();
    let removals = too_many_removals(&planned, policy, known, recent, now);
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

fn too_many_removals<'a>(
    planned: &BTreeSet<&'a str>,
    policy: &Policy,
    known: &Known,
    recent: &Recent<'a>,
    now: Time,
) -> Option<String> {
    if planned.is_empty() {
        return None;
    }
    let removals = recent.count_with(planned);
    let people = || known.people.values();
    let active = people().filter(|it| it.stage == Stage::Active).count();
    // Those already cut or disabled today were active this morning.
    let cut_today = people()
        .filter(|it| {
            matches!(it.stage, Stage::Cut | Stage::Disabled) && it.since.plus(86_400) > now
        })
        .count();
    let base = active + cut_today;
    let limits = policy.limits;
    (removals >= limits.removals && removals * 100 > limits.share * base)
        .then(|| say::too_many(removals, recent.count(), base, &limits))
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
    let mut costs = planned
        .filter_map(|action| Some((action, cost(action)?)))
        .peekable();
    costs.peek()?;
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
    for (action, cost) in costs {
        // Under its old name an account is known until it has the new one.
        let of = action.former_name().unwrap_or(action.user());
        if let Some(admin) = admins.get_mut(of)
            && !admin.pays(&cost)
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

impl Admin {
    /// Changes the account as a step would; whether there is still an account to look at.
    fn pays(&mut self, cost: &Cost) -> bool {
        match *cost {
            Cost::Login => return false,
            Cost::Group(group) => drop(self.account.groups.remove(group)),
            Cost::Password => self.account.password = Password::Locked,
            Cost::Shell(to) => to.clone_into(&mut self.account.shell),
            Cost::Name(to) => to.clone_into(&mut self.name),
            Cost::Uid(to) => self.account.uid = to,
        }
        true
    }
}

/// What of an account a step takes or changes that root can hang on.
enum Cost<'a> {
    /// Its login, whatever else it keeps.
    Login,
    Group(&'a str),
    Password,
    Shell(&'a str),
    Name(&'a str),
    Uid(u32),
}

/// What a step can cost an admin of their way to root; none for most.
///
/// No wildcard: a new action does not compile until it is said here.
fn cost(action: &Action) -> Option<Cost<'_>> {
    match action {
        Action::Cut { .. }
        | Action::Disable { .. }
        | Action::LockLogin { .. }
        | Action::ArchiveDelete { .. } => Some(Cost::Login),
        Action::LeaveGroup { group, .. } => Some(Cost::Group(group)),
        Action::LockPassword { .. } => Some(Cost::Password),
        Action::SetShell { to, .. } => Some(Cost::Shell(to)),
        Action::RenameAccount { user, .. } => Some(Cost::Name(user)),
        Action::ChangeUid { to, .. } => Some(Cost::Uid(*to)),
        Action::CreateAccount { .. }
        | Action::AdoptAccount { .. }
        | Action::ChangeIdentity { .. }
        | Action::JoinGroup { .. }
        | Action::AssignPorts { .. }
        | Action::Park { .. }
        | Action::Unpark { .. }
        | Action::Enable { .. }
        | Action::GiveNotice { .. }
        | Action::RestorePassword { .. }
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
        | Action::ClearRemains { .. }
        | Action::PurgeHome { .. } => None,
    }
}
