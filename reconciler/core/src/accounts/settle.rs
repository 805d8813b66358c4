//! How far the world shows a step: an exit code is no evidence.

use super::action::{Action, Direction, HomeSource, Trace, UnitChange};
use super::observed::{Account, Home, Manager, Observed, Password, RemovedAccount, Traces};
use super::policy::Policy;
use crate::reading::{Reading, StepState};

/// How far `action` has come, by what was observed. The same function closes a batch that has just run and one that was open when
/// the process died.
pub fn settle(action: &Action, observed: &Observed, policy: &Policy) -> StepState {
    state_of(action, observed, &policy.nologin)
}

fn state_of(action: &Action, observed: &Observed, nologin: &str) -> StepState {
    match action {
        // The record is the effect: its intent was durable before it could be settled.
        Action::AdoptAccount { .. }
        | Action::ChangeIdentity { .. }
        | Action::AssignPorts { .. }
        | Action::Park { .. }
        | Action::Unpark { .. }
        | Action::Disable { .. }
        | Action::Enable { .. }
        | Action::GiveNotice { .. }
        | Action::Cut { .. }
        | Action::RecordArchive { .. }
        | Action::Return { .. } => StepState::Reached,
        Action::CreateAccount { user, uid, .. } | Action::RestoreAccount { user, uid, .. } => {
            account(observed, user, |found| match found {
                Some(account) if account.uid == *uid => StepState::Reached,
                Some(account) => StepState::Strange(format!(
                    "{user} was to be created with uid {uid} and exists with {}",
                    account.uid
                )),
                None => StepState::NotReached,
            })
        }
        Action::RenameAccount { from, user, uid } => account(observed, user, |found| {
            // Of the old name nothing is left; another one may be, which a rename was begun to before.
            let old_is_gone = observed
                .accounts
                .known()
                .is_some_and(|it| !it.by_name.contains_key(from) && !it.remains.contains(from));
            match found {
                Some(account) if account.uid == *uid => {
                    if old_is_gone && account.renaming_from.as_ref() != Some(from) {
                        StepState::Reached
                    } else {
                        StepState::Halfway(format!(
                            "the account is {user} by now, and lines of {from} are left"
                        ))
                    }
                }
                Some(account) => StepState::Strange(format!(
                    "{user} was to get uid {uid} of {from} and has {}",
                    account.uid
                )),
                None => StepState::NotReached,
            }
        }),
        Action::SetShell { user, from, to } => account(observed, user, |found| match found {
            Some(it) if it.shell != *to && it.shell != *from => {
                StepState::Changed(format!("the shell is {} by now", it.shell))
            }
            found => StepState::when(found.is_some_and(|it| it.shell == *to)),
        }),
        Action::LockPassword { user } => account(observed, user, |found| {
            StepState::when(found.is_some_and(|it| it.password == Password::Locked))
        }),
        Action::RestorePassword { user, .. } => account(observed, user, |found| {
            StepState::when(found.is_some_and(|it| it.password == Password::Usable))
        }),
        Action::JoinGroup { user, group, .. } => account(observed, user, |found| {
            StepState::when(
                found
                    .is_some_and(|it| it.groups.contains(group) && !it.half_groups.contains(group)),
            )
        }),
        Action::LeaveGroup { user, group, .. } => account(observed, user, |found| {
            StepState::when(!found.is_some_and(|it| it.groups.contains(group)))
        }),
        Action::LockLogin { user, .. } => account(observed, user, |found| {
            StepState::when(found.is_none_or(|it| is_shut(it, nologin)))
        }),
        // The save goes only once all of it is back: half a login is not put back.
        Action::UnlockLogin { user, .. } => {
            match traces_of(observed, user).map(|it| &it.login_saved) {
                Some(Reading::Known(true)) => StepState::NotReached,
                Some(Reading::Known(false)) => account(observed, user, |found| match found {
                    Some(it) if is_shut(it, nologin) => StepState::Changed(
                        "what was saved is put back, and the login is shut again".to_owned(),
                    ),
                    found => StepState::when(found.is_some()),
                }),
                Some(Reading::Unknown(why)) => StepState::Unknown(why.clone()),
                None => StepState::Unknown(format!("{user} was not looked at")),
            }
        }
        Action::Trace {
            user,
            trace,
            direction,
            ..
        } => {
            let Some(traces) = traces_of(observed, user) else {
                return StepState::Unknown(format!("{user} was not looked at"));
            };
            match trace_reading(traces, *trace) {
                Reading::Known(there) => {
                    StepState::when(*there == (*direction == Direction::Restore))
                }
                Reading::Unknown(why) => StepState::Unknown(why.clone()),
            }
        }
        Action::EndSessions { user } => match traces_of(observed, user).map(|it| &it.processes) {
            Some(Reading::Known(count)) => StepState::when(*count == 0),
            Some(Reading::Unknown(why)) => StepState::Unknown(why.clone()),
            None => StepState::Unknown(format!("{user} was not looked at")),
        },
        Action::CreateHome { user, .. } => match observed.people.get(user).map(|it| &it.home) {
            Some(Reading::Known(Home::Directory(_))) => StepState::Reached,
            Some(Reading::Known(Home::Absent)) => StepState::NotReached,
            Some(Reading::Known(Home::Odd(what))) => StepState::Strange(what.clone()),
            Some(Reading::Unknown(why)) => StepState::Unknown(why.clone()),
            None => StepState::Unknown(format!("{user} was not looked at")),
        },
        Action::WriteEnvironment { user, digest } => match &observed.environments {
            Reading::Known(found) => StepState::when(found.get(user) == Some(digest)),
            Reading::Unknown(why) => StepState::Unknown(why.clone()),
        },
        Action::Unit { unit, change, .. } => match &observed.units {
            Reading::Known(units) => {
                let state = units.by_name.get(unit).copied().unwrap_or_default();
                StepState::when(match change {
                    UnitChange::Stop => !state.active,
                    UnitChange::Disable => !state.enabled,
                    UnitChange::Enable => state.enabled,
                    UnitChange::Start => state.active || units.manager == Manager::Files,
                })
            }
            Reading::Unknown(why) => StepState::Unknown(why.clone()),
        },
        Action::Entry {
            file,
            key,
            from,
            to,
            ..
        } => match observed.aggregates.get(file) {
            Some(Reading::Known(entries)) => match entries.get(key) {
                found if found == to.as_ref() => StepState::Reached,
                found if found == from.as_ref() => StepState::NotReached,
                Some(found) => StepState::Changed(format!("the entry is {found} by now")),
                None => StepState::Changed("the entry is gone by now".to_owned()),
            },
            Some(Reading::Unknown(why)) => StepState::Unknown(why.clone()),
            None => StepState::Unknown("the file was not looked at".to_owned()),
        },
        Action::ChangeUid { user, to, .. } => account(observed, user, |found| {
            StepState::when(found.is_some_and(|it| it.uid == *to))
        }),
        Action::ArchiveDelete {
            user, uid, home_id, ..
        } => account(observed, user, |found| {
            let Some(kept) = kept_of(observed, user) else {
                return StepState::Unknown(format!("{user} was not looked at"));
            };
            removal(
                found,
                *uid,
                home_id.is_some(),
                kept,
                home_of(observed, user),
            )
        }),
        Action::RestoreHome { user, from, .. } => match (home_of(observed, user), from) {
            (Some(Reading::Known(Home::Directory(found))), HomeSource::Quarantine { home_id }) => {
                if found == home_id {
                    StepState::Reached
                } else {
                    StepState::Strange(
                        "another directory stands where the home is to be put back".to_owned(),
                    )
                }
            }
            (Some(Reading::Known(Home::Directory(_))), HomeSource::Archive { .. }) => {
                StepState::Reached
            }
            (Some(Reading::Known(Home::Absent | Home::Odd(_))), _) => StepState::NotReached,
            (Some(Reading::Unknown(why)), _) => StepState::Unknown(why.clone()),
            (None, _) => StepState::Unknown(format!("{user} was not looked at")),
        },
        Action::PurgeHome { user, .. } => match kept_of(observed, user) {
            Some(RemovedAccount {
                purging: Some(_), ..
            }) => StepState::Halfway("a part of the home is removed".to_owned()),
            Some(RemovedAccount {
                quarantined: Reading::Known(found),
                ..
            }) => StepState::when(found.is_none()),
            Some(RemovedAccount {
                quarantined: Reading::Unknown(why),
                ..
            }) => StepState::Unknown(why.clone()),
            None => StepState::Unknown(format!("{user} was not looked at")),
        },
        Action::ClearRemains { user, .. } => match &observed.accounts {
            Reading::Known(accounts) => StepState::when(!accounts.remains.contains(user)),
            Reading::Unknown(why) => StepState::Unknown(why.clone()),
        },
    }
}

/// How far a removal has come. The account goes last: as long as it is there, nothing is lost.
fn removal(
    account: Option<&Account>,
    uid: u32,
    had_home: bool,
    kept: &RemovedAccount,
    home: Option<&Reading<Home>>,
) -> StepState {
    let (quarantined, archive, remnants) = match (&kept.quarantined, &kept.archive, &kept.remnants)
    {
        (Reading::Known(quarantined), Reading::Known(archive), Reading::Known(remnants)) => {
            (quarantined.is_some(), archive.is_some(), *remnants)
        }
        (Reading::Unknown(why), _, _)
        | (_, Reading::Unknown(why), _)
        | (_, _, Reading::Unknown(why)) => return StepState::Unknown(why.clone()),
    };
    match account {
        Some(found) if found.uid != uid => StepState::Strange(format!(
            "uid {uid} was to be removed, and an account of that name has uid {}",
            found.uid
        )),
        Some(_) if quarantined => match home {
            Some(Reading::Known(Home::Directory(_) | Home::Odd(_))) => StepState::Strange(
                "the home is in quarantine, and something stands in its place; compare the two, and move one away"
                    .to_owned(),
            ),
            _ => StepState::Halfway("the home is in quarantine, and the account is still there".to_owned()),
        },
        Some(_) => StepState::NotReached,
        None if remnants => {
            StepState::Halfway("the account databases still have something under the name".to_owned())
        }
        None if had_home && !archive => StepState::Strange(
            "the account is gone, and its archive is not in the store of archives; the home is in quarantine".to_owned(),
        ),
        None => StepState::Reached,
    }
}

fn kept_of<'a>(observed: &'a Observed, user: &str) -> Option<&'a RemovedAccount> {
    observed.people.get(user)?.kept.as_deref()
}

fn home_of<'a>(observed: &'a Observed, user: &str) -> Option<&'a Reading<Home>> {
    Some(&observed.people.get(user)?.home)
}

fn account(
    observed: &Observed,
    user: &str,
    judge: impl FnOnce(Option<&Account>) -> StepState,
) -> StepState {
    match &observed.accounts {
        Reading::Known(accounts) => judge(accounts.by_name.get(user).map(Box::as_ref)),
        Reading::Unknown(why) => StepState::Unknown(why.clone()),
    }
}

fn traces_of<'a>(observed: &'a Observed, user: &str) -> Option<&'a Traces> {
    observed.people.get(user)?.traces.as_deref()
}

/// The day since which an account that is shut has expired, counted from 1970-01-01: 0 would mean never to some programs.
/// Another day that somebody set may lie ahead, and `sshd` lets in by key and certificate until then.
const SHUT_SINCE: i64 = 1;

/// Whether nobody gets in by this account: locked, expired and without a shell (R34).
pub fn is_shut(account: &Account, nologin: &str) -> bool {
    account.password == Password::Locked
        && account.expires == Some(SHUT_SINCE)
        && account.shell == nologin
}

/// The reading of one trace.
pub fn trace_reading(traces: &Traces, trace: Trace) -> &Reading<bool> {
    match trace {
        Trace::Linger => &traces.linger,
        Trace::AuthorizedKeys => &traces.keys,
        Trace::Crontab => &traces.crontab,
    }
}
