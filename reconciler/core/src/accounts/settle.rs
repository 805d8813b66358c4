//! How far the world shows a step: an exit code is no evidence.

use super::action::{Action, Direction, HomeSource, Trace, UnitChange};
use super::observed::{Account, Home, Kept, Manager, Observed, Password, Traces};
use super::policy::Policy;
use crate::reading::{Reading, State};

/// How far `action` has come, by what was observed. The same function closes a batch that has just run and one that was open when
/// the process died.
pub fn settle(action: &Action, observed: &Observed, policy: &Policy) -> State {
    state_of(action, observed, &policy.nologin)
}

fn state_of(action: &Action, observed: &Observed, nologin: &str) -> State {
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
        | Action::Return { .. } => State::Reached,
        Action::CreateAccount { user, uid, .. } | Action::RestoreAccount { user, uid, .. } => {
            account(observed, user, |found| match found {
                Some(account) if account.uid == *uid => State::Reached,
                Some(account) => State::Strange(format!(
                    "{user} was to be created with uid {uid} and exists with {}",
                    account.uid
                )),
                None => State::NotReached,
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
                        State::Reached
                    } else {
                        State::Halfway(format!(
                            "the account is {user} by now, and lines of {from} are left"
                        ))
                    }
                }
                Some(account) => State::Strange(format!(
                    "{user} was to get uid {uid} of {from} and has {}",
                    account.uid
                )),
                None => State::NotReached,
            }
        }),
        Action::SetShell { user, from, to } => account(observed, user, |found| match found {
            Some(it) if it.shell != *to && it.shell != *from => {
                State::Changed(format!("the shell is {} by now", it.shell))
            }
            found => State::when(found.is_some_and(|it| it.shell == *to)),
        }),
        Action::LockPassword { user } => account(observed, user, |found| {
            State::when(found.is_some_and(|it| it.password == Password::Locked))
        }),
        Action::RestorePassword { user, .. } => account(observed, user, |found| {
            State::when(found.is_some_and(|it| it.password == Password::Usable))
        }),
        Action::JoinGroup { user, group, .. } => account(observed, user, |found| {
            State::when(
                found
                    .is_some_and(|it| it.groups.contains(group) && !it.half_groups.contains(group)),
            )
        }),
        Action::LeaveGroup { user, group, .. } => account(observed, user, |found| {
            State::when(!found.is_some_and(|it| it.groups.contains(group)))
        }),
        Action::LockLogin { user, .. } => account(observed, user, |found| {
            State::when(found.is_none_or(|it| is_shut(it, nologin)))
        }),
        // The save goes only once all of it is back: half a login is not put back.
        Action::UnlockLogin { user, .. } => {
            match traces_of(observed, user).map(|it| &it.login_saved) {
                Some(Reading::Known(true)) => State::NotReached,
                Some(Reading::Known(false)) => account(observed, user, |found| match found {
                    Some(it) if is_shut(it, nologin) => State::Changed(
                        "what was saved is put back, and the login is shut again".to_owned(),
                    ),
                    found => State::when(found.is_some()),
                }),
                Some(Reading::Unknown(why)) => State::Unknown(why.clone()),
                None => State::Unknown(format!("{user} was not looked at")),
            }
        }
        Action::Trace {
            user,
            trace,
            direction,
            ..
        } => {
            let Some(traces) = traces_of(observed, user) else {
                return State::Unknown(format!("{user} was not looked at"));
            };
            match trace_reading(traces, *trace) {
                Reading::Known(there) => State::when(*there == (*direction == Direction::Restore)),
                Reading::Unknown(why) => State::Unknown(why.clone()),
            }
        }
        Action::EndSessions { user } => match traces_of(observed, user).map(|it| &it.processes) {
            Some(Reading::Known(count)) => State::when(*count == 0),
            Some(Reading::Unknown(why)) => State::Unknown(why.clone()),
            None => State::Unknown(format!("{user} was not looked at")),
        },
        Action::CreateHome { user, .. } => match observed.people.get(user).map(|it| &it.home) {
            Some(Reading::Known(Home::Directory(_))) => State::Reached,
            Some(Reading::Known(Home::Absent)) => State::NotReached,
            Some(Reading::Known(Home::Odd(what))) => State::Strange(what.clone()),
            Some(Reading::Unknown(why)) => State::Unknown(why.clone()),
            None => State::Unknown(format!("{user} was not looked at")),
        },
        Action::WriteEnvironment { user, digest } => match &observed.environments {
            Reading::Known(found) => State::when(found.get(user) == Some(digest)),
            Reading::Unknown(why) => State::Unknown(why.clone()),
        },
        Action::Unit { unit, change, .. } => match &observed.units {
            Reading::Known(units) => {
                let state = units.by_name.get(unit).copied().unwrap_or_default();
                State::when(match change {
                    UnitChange::Stop => !state.active,
                    UnitChange::Disable => !state.enabled,
                    UnitChange::Enable => state.enabled,
                    UnitChange::Start => state.active || units.manager == Manager::Files,
                })
            }
            Reading::Unknown(why) => State::Unknown(why.clone()),
        },
        Action::Entry {
            file,
            key,
            from,
            to,
            ..
        } => match observed.aggregates.get(file) {
            Some(Reading::Known(entries)) => match entries.get(key) {
                found if found == to.as_ref() => State::Reached,
                found if found == from.as_ref() => State::NotReached,
                Some(found) => State::Changed(format!("the entry is {found} by now")),
                None => State::Changed("the entry is gone by now".to_owned()),
            },
            Some(Reading::Unknown(why)) => State::Unknown(why.clone()),
            None => State::Unknown("the file was not looked at".to_owned()),
        },
        Action::ChangeUid { user, to, .. } => account(observed, user, |found| {
            State::when(found.is_some_and(|it| it.uid == *to))
        }),
        Action::ArchiveDelete {
            user, uid, home_id, ..
        } => account(observed, user, |found| {
            let Some(kept) = kept_of(observed, user) else {
                return State::Unknown(format!("{user} was not looked at"));
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
                    State::Reached
                } else {
                    State::Strange(
                        "another directory stands where the home is to be put back".to_owned(),
                    )
                }
            }
            (Some(Reading::Known(Home::Directory(_))), HomeSource::Archive { .. }) => {
                State::Reached
            }
            (Some(Reading::Known(Home::Absent | Home::Odd(_))), _) => State::NotReached,
            (Some(Reading::Unknown(why)), _) => State::Unknown(why.clone()),
            (None, _) => State::Unknown(format!("{user} was not looked at")),
        },
        Action::PurgeHome { user, .. } => match kept_of(observed, user) {
            Some(Kept {
                purging: Some(_), ..
            }) => State::Halfway("a part of the home is removed".to_owned()),
            Some(Kept {
                quarantined: Reading::Known(found),
                ..
            }) => State::when(found.is_none()),
            Some(Kept {
                quarantined: Reading::Unknown(why),
                ..
            }) => State::Unknown(why.clone()),
            None => State::Unknown(format!("{user} was not looked at")),
        },
        Action::ClearRemains { user, .. } => match &observed.accounts {
            Reading::Known(accounts) => State::when(!accounts.remains.contains(user)),
            Reading::Unknown(why) => State::Unknown(why.clone()),
        },
    }
}

/// How far a removal has come. The account goes last: as long as it is there, nothing is lost.
fn removal(
    account: Option<&Account>,
    uid: u32,
    had_home: bool,
    kept: &Kept,
    home: Option<&Reading<Home>>,
) -> State {
    let (quarantined, archive, remnants) = match (&kept.quarantined, &kept.archive, &kept.remnants)
    {
        (Reading::Known(quarantined), Reading::Known(archive), Reading::Known(remnants)) => {
            (quarantined.is_some(), archive.is_some(), *remnants)
        }
        (Reading::Unknown(why), _, _)
        | (_, Reading::Unknown(why), _)
        | (_, _, Reading::Unknown(why)) => return State::Unknown(why.clone()),
    };
    match account {
        Some(found) if found.uid != uid => State::Strange(format!(
            "uid {uid} was to be removed, and an account of that name has uid {}",
            found.uid
        )),
        Some(_) if quarantined => match home {
            Some(Reading::Known(Home::Directory(_) | Home::Odd(_))) => State::Strange(
                "the home is in quarantine, and something stands in its place; compare the two, and move one away"
                    .to_owned(),
            ),
            _ => State::Halfway("the home is in quarantine, and the account is still there".to_owned()),
        },
        Some(_) => State::NotReached,
        None if remnants => {
            State::Halfway("the account databases still have something under the name".to_owned())
        }
        None if had_home && !archive => State::Strange(
            "the account is gone, and its archive is not in the store of archives; the home is in quarantine".to_owned(),
        ),
        None => State::Reached,
    }
}

fn kept_of<'a>(observed: &'a Observed, user: &str) -> Option<&'a Kept> {
    observed.people.get(user)?.kept.as_deref()
}

fn home_of<'a>(observed: &'a Observed, user: &str) -> Option<&'a Reading<Home>> {
    Some(&observed.people.get(user)?.home)
}

fn account(
    observed: &Observed,
    user: &str,
    judge: impl FnOnce(Option<&Account>) -> State,
) -> State {
    match &observed.accounts {
        Reading::Known(accounts) => judge(accounts.by_name.get(user).map(Box::as_ref)),
        Reading::Unknown(why) => State::Unknown(why.clone()),
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
