//! Every sentence that people read about accounts.

use super::action::{Action, Direction, HomeSource, Leave, Trace, UnitChange};
use super::policy::Aggregate;
use crate::ink::{Ink, Replaced};
use crate::limits::Limits;
use crate::people::{Identity, Parking};
use crate::price::Because;

/// Says what `action` does. No wildcard: a new action does not compile until people can read it.
pub fn say(action: &Action, ink: &mut dyn Ink) {
    match action {
        Action::CreateAccount {
            user, uid, shell, ..
        } => {
            ink.own("create account ");
            ink.name(user);
            uid_of(*uid, ink, |ink| {
                ink.own(", ");
                ink.value(shell);
            });
        }
        Action::AdoptAccount {
            user,
            uid,
            home,
            authentik_user,
            ..
        } => {
            ink.own("take over the existing account ");
            ink.name(user);
            uid_of(*uid, ink, |ink| {
                ink.own(", ");
                ink.value(home);
            });
            ink.own(" for ");
            ink.value(authentik_user);
        }
        Action::RenameAccount { from, user, uid } => {
            ink.own("rename account ");
            ink.other(from);
            ink.own(" to ");
            ink.other(user);
            uid_of(*uid, ink, |_| {});
        }
        Action::ChangeUid { user, from, to } => {
            ink.own("change the uid");
            ink.of(user);
            ink.own(" from ");
            ink.number(u64::from(*from));
            ink.own(" to ");
            ink.number(u64::from(*to));
        }
        Action::ChangeIdentity {
            user,
            identity,
            from,
            to,
        } => {
            match identity {
                Identity::AuthentikUser => about("hand account ", user, "", ink),
                Identity::K8sUser => of("hand the cluster identity", user, "", ink),
            }
            ink.own(match identity {
                Identity::AuthentikUser => " from the identity login ",
                Identity::K8sUser => " from ",
            });
            ink.value(from);
            ink.own(" to ");
            ink.value(to);
        }
        Action::SetShell { user, from, to } => {
            of("change the login shell", user, "", ink);
            ink.own(" from ");
            ink.value(from);
            ink.own(" to ");
            ink.value(to);
        }
        Action::LockPassword { user } => of("lock the password", user, "", ink),
        Action::JoinGroup { user, group, gid } => {
            about("add ", user, " to group ", ink);
            ink.value(group);
            ink.own(" (gid ");
            ink.number(u64::from(*gid));
            ink.own(")");
        }
        Action::LeaveGroup {
            user,
            group,
            because,
        } => {
            about("take ", user, " out of group ", ink);
            ink.value(group);
            ink.own(match because {
                Leave::NotAsked => ", which the roster no longer asks for",
                Leave::Cut => ", as part of the cut",
            });
        }
        Action::AssignPorts { user, ports } => {
            about(
                "give ",
                user,
                if ports.len() == 1 {
                    " port "
                } else {
                    " ports "
                },
                ink,
            );
            for (i, (family, port)) in ports.iter().enumerate() {
                if i > 0 {
                    ink.own(", ");
                }
                ink.number(u64::from(*port));
                ink.own(" for ");
                ink.value(family);
            }
        }
        Action::Park { user, because } => about(
            "park ",
            user,
            match because {
                Parking::Asked => {
                    ": the instance stands still, all else stays, and signing in still works"
                }
                Parking::Expired => {
                    ", whose last valid day has passed: the instance stands still, all else stays"
                }
            },
            ink,
        ),
        Action::Disable {
            user,
            because,
            root_equivalent,
        } => {
            about("disable ", user, "", ink);
            ink.own(match (because, root_equivalent) {
                (Parking::Asked, false) => "",
                (Parking::Asked, true) => ", who can become root today",
                (Parking::Expired, false) => ", whose last valid day has passed",
                (Parking::Expired, true) => {
                    ", whose last valid day has passed and who can become root today"
                }
            });
            ink.own(": nobody gets in, all else stays");
        }
        Action::Enable {
            user,
            root_equivalent,
        } => about(
            "enable ",
            user,
            if *root_equivalent {
                " again, who can become root afterwards"
            } else {
                " again"
            },
            ink,
        ),
        Action::GiveNotice { user } => about(
            "give notice to ",
            user,
            ", whose last valid day has passed: in 24 hours the login is shut",
            ink,
        ),
        Action::RestorePassword {
            user,
            root_equivalent,
        } => about(
            "unlock the password of ",
            user,
            if *root_equivalent {
                ", which muster locked when it took the account over; who has it can become root"
            } else {
                ", which muster locked when it took the account over"
            },
            ink,
        ),
        Action::Unpark { user } => about("unpark ", user, ": the instance may run again", ink),
        Action::Cut {
            user,
            root_equivalent,
        } => about(
            "cut ",
            user,
            if *root_equivalent {
                " off, who can become root today"
            } else {
                " off"
            },
            ink,
        ),
        Action::Return {
            user,
            root_equivalent,
        } => about(
            "bring ",
            user,
            if *root_equivalent {
                " back, who can become root afterwards"
            } else {
                " back"
            },
            ink,
        ),
        Action::LockLogin { user, cut: _ } => of(
            "shut the login",
            user,
            ": password locked, account expired, no shell; what was there is saved",
            ink,
        ),
        Action::UnlockLogin { user, cut: _ } => {
            of("open the login", user, " again, as it was", ink)
        }
        Action::Trace {
            user,
            trace,
            direction,
            cut: _,
        } => {
            ink.own(match direction {
                Direction::SetAside => "set aside the ",
                Direction::Restore => "put back the ",
            });
            ink.own(match trace {
                Trace::Linger => "lingering services",
                Trace::AuthorizedKeys => "authorized keys",
                Trace::Crontab => "crontab",
            });
            ink.of(user);
        }
        Action::EndSessions { user } => of("end the sessions and processes", user, "", ink),
        Action::CreateHome { user, home } => {
            of("make the home", user, ", ", ink);
            ink.value(home);
        }
        Action::WriteEnvironment { user, digest: _ } => {
            of("write the environment file of the instance", user, "", ink);
        }
        Action::Unit { user, unit, change } => {
            ink.own(match change {
                UnitChange::Stop => "stop ",
                UnitChange::Disable => "disable ",
                UnitChange::Enable => "enable ",
                UnitChange::Start => "start ",
            });
            ink.value(unit);
            ink.of(user);
        }
        Action::Entry {
            user,
            file,
            key,
            from,
            to,
        } => {
            match (from, to) {
                (_, None) => about("remove ", user, " from ", ink),
                (Some(_), Some(_)) => of("change the entry", user, " in ", ink),
                (None, Some(_)) => about("add ", user, " to ", ink),
            }
            ink.own(match file {
                Aggregate::LoginMap => "the login map",
                Aggregate::Dispatch => "the dispatch table",
                Aggregate::Admins => "the list of admins",
            });
            if *file != Aggregate::Admins {
                ink.own(", as ");
                ink.value(key);
            }
        }
        Action::RecordArchive {
            user,
            sha256,
            bytes: _,
        } => {
            of("record the archive of the home", user, ", sha256 ", ink);
            ink.value(sha256);
        }
        Action::RestoreAccount {
            user,
            uid,
            shell,
            root_equivalent,
            ..
        } => {
            ink.own("make the deleted account ");
            ink.name(user);
            ink.own(" again");
            uid_of(*uid, ink, |ink| {
                ink.own(", ");
                ink.value(shell);
            });
            if *root_equivalent {
                ink.own(", who can become root afterwards");
            }
        }
        Action::RestoreHome {
            user,
            home,
            from,
            of: _,
        } => {
            of("put back the home", user, ", ", ink);
            ink.value(home);
            ink.own(match from {
                HomeSource::Quarantine { .. } => ", from quarantine",
                HomeSource::Archive { .. } => ", out of its archive",
            });
        }
        Action::ClearRemains {
            user,
            gid: _,
            beside,
        } => {
            ink.own("clear away what an interrupted ");
            ink.own(match beside {
                Some(_) => "rename",
                None => "creation",
            });
            about(" left under the name ", user, "", ink);
        }
        Action::PurgeHome {
            user, uid, home, ..
        } => {
            of(
                "remove for ever the home",
                user,
                ", which is in its archive",
                ink,
            );
            uid_of(*uid, ink, |ink| {
                ink.own(", ");
                ink.value(home);
            });
        }
        Action::ArchiveDelete {
            user, uid, home, ..
        } => {
            of("archive, then delete, the home and account", user, "", ink);
            uid_of(*uid, ink, |ink| {
                ink.own(", ");
                ink.value(home);
            });
        }
    }
}

/// What the whole change of a person is called by the step that decides it, before their name.
pub(crate) fn deed(action: &Action) -> Option<&'static str> {
    match action {
        Action::CreateAccount { .. } => Some("add"),
        Action::AdoptAccount { .. } => Some("take over"),
        Action::RenameAccount { .. } => Some("rename"),
        Action::Cut { .. } => Some("cut off"),
        Action::Return { .. } | Action::RestoreAccount { .. } => Some("bring back"),
        Action::Disable { .. } => Some("shut out"),
        Action::Enable { .. } => Some("let in again"),
        Action::Park { .. } => Some("park"),
        Action::Unpark { .. } => Some("unpark"),
        Action::ArchiveDelete { .. } => Some("delete"),
        Action::PurgeHome { .. } => Some("remove for ever the home of"),
        Action::ChangeUid { .. }
        | Action::ChangeIdentity { .. }
        | Action::SetShell { .. }
        | Action::LockPassword { .. }
        | Action::JoinGroup { .. }
        | Action::LeaveGroup { .. }
        | Action::AssignPorts { .. }
        | Action::GiveNotice { .. }
        | Action::RestorePassword { .. }
        | Action::ClearRemains { .. }
        | Action::LockLogin { .. }
        | Action::UnlockLogin { .. }
        | Action::Trace { .. }
        | Action::EndSessions { .. }
        | Action::CreateHome { .. }
        | Action::WriteEnvironment { .. }
        | Action::Unit { .. }
        | Action::Entry { .. }
        | Action::RecordArchive { .. }
        | Action::RestoreHome { .. } => None,
    }
}

/// The value that `action` puts in the place of another, and what both are.
pub(crate) fn replaced(action: &Action) -> Option<Replaced<'_>> {
    let (what, from, to) = match action {
        Action::RenameAccount { from, user, .. } => ("name", from.as_str(), user.as_str()),
        Action::ChangeIdentity {
            identity, from, to, ..
        } => {
            let what = match identity {
                Identity::AuthentikUser => "identity login",
                Identity::K8sUser => "cluster identity",
            };
            (what, from.as_str(), to.as_str())
        }
        Action::SetShell { from, to, .. } => ("login shell", from.as_str(), to.as_str()),
        Action::Entry {
            file,
            from: Some(from),
            to: Some(to),
            ..
        } => {
            let what = match file {
                Aggregate::LoginMap => "entry in the login map",
                Aggregate::Dispatch => "entry in the dispatch table",
                Aggregate::Admins => "entry in the list of admins",
            };
            (what, from.as_str(), to.as_str())
        }
        // The sentence has both numbers.
        Action::ChangeUid { .. }
        | Action::Entry { .. }
        | Action::CreateAccount { .. }
        | Action::AdoptAccount { .. }
        | Action::LockPassword { .. }
        | Action::JoinGroup { .. }
        | Action::LeaveGroup { .. }
        | Action::AssignPorts { .. }
        | Action::Park { .. }
        | Action::Unpark { .. }
        | Action::Disable { .. }
        | Action::Enable { .. }
        | Action::GiveNotice { .. }
        | Action::RestorePassword { .. }
        | Action::ClearRemains { .. }
        | Action::Cut { .. }
        | Action::Return { .. }
        | Action::LockLogin { .. }
        | Action::UnlockLogin { .. }
        | Action::Trace { .. }
        | Action::EndSessions { .. }
        | Action::CreateHome { .. }
        | Action::WriteEnvironment { .. }
        | Action::Unit { .. }
        | Action::ArchiveDelete { .. }
        | Action::RecordArchive { .. }
        | Action::RestoreAccount { .. }
        | Action::RestoreHome { .. }
        | Action::PurgeHome { .. } => return None,
    };
    Some(Replaced { what, from, to })
}

fn about(before: &str, user: &str, after: &str, ink: &mut dyn Ink) {
    ink.own(before);
    ink.name(user);
    ink.own(after);
}

/// `about`, where the name follows an `of`.
fn of(before: &str, user: &str, after: &str, ink: &mut dyn Ink) {
    ink.own(before);
    ink.of(user);
    ink.own(after);
}

fn uid_of(uid: u32, ink: &mut dyn Ink, more: impl FnOnce(&mut dyn Ink)) {
    ink.own(" (uid ");
    ink.number(u64::from(uid));
    more(ink);
    ink.own(")");
}

/// Why an action is of its class, before what the settings declare.
pub fn why(action: &Action, because: Because) -> String {
    match because {
        Because::TakesAway => {
            "it takes an account and its home away; both can be brought back only as long as the home is kept".to_owned()
        }
        Because::LosesForEver => {
            "it deletes a home that was kept, and only its archive is left".to_owned()
        }
        Because::ChangesOwner => "files would change their owner".to_owned(),
        Because::TakesOver => "it hands an account that somebody else made to a row".to_owned(),
        Because::AsFound => match given(action) {
            Given::Shell(_) => {
                "the account had another shell when it was taken over, and keeps it until somebody signs".to_owned()
            }
            Given::Group { .. } | Given::Neither => {
                "the account had a password when it was taken over, and an admin without one may have no way to sudo"
                    .to_owned()
            }
        },
        Because::AnotherIdentity => "it hands an account to another identity".to_owned(),
        Because::Undoable => "it can be undone, and no data is lost".to_owned(),
        Because::MakesRoot => makes_root(action),
        Because::NoRoot => no_root(action),
        Because::Guarded => match given(action) {
            Given::Group { group, gid } => {
                format!("{group} has the static gid {gid}, and such groups guard devices and logs")
            }
            Given::Shell(_) | Given::Neither => "it gives power over devices and logs".to_owned(),
        },
        Because::Ordinary => match given(action) {
            Given::Group { group, .. } => format!("{group} is an ordinary group"),
            Given::Shell(shell) => {
                format!("the shell {shell} is one that anybody may be given, and no data is touched")
            }
            Given::Neither => "it gives what anybody may be given".to_owned(),
        },
        Because::NotAllowed => match (given(action), action) {
            // Said of every account that comes back and is no root, whatever its shell.
            (_, Action::RestoreAccount { .. }) => no_root(action),
            (Given::Shell(shell), _) => {
                format!("the shell {shell} is not among those that the settings let anybody have")
            }
            (Given::Group { .. } | Given::Neither, _) => {
                "it gives what the settings let nobody have".to_owned()
            }
        },
    }
}

/// What an action gives to an account.
enum Given<'a> {
    Shell(&'a str),
    Group { group: &'a str, gid: u32 },
    Neither,
}

fn given(action: &Action) -> Given<'_> {
    match action {
        Action::SetShell { to: shell, .. }
        | Action::CreateAccount { shell, .. }
        | Action::RestoreAccount { shell, .. } => Given::Shell(shell),
        Action::JoinGroup { group, gid, .. } => Given::Group { group, gid: *gid },
        Action::AdoptAccount { .. }
        | Action::RenameAccount { .. }
        | Action::ChangeUid { .. }
        | Action::ChangeIdentity { .. }
        | Action::LockPassword { .. }
        | Action::LeaveGroup { .. }
        | Action::AssignPorts { .. }
        | Action::Park { .. }
        | Action::Unpark { .. }
        | Action::Disable { .. }
        | Action::Enable { .. }
        | Action::GiveNotice { .. }
        | Action::RestorePassword { .. }
        | Action::Cut { .. }
        | Action::Return { .. }
        | Action::LockLogin { .. }
        | Action::UnlockLogin { .. }
        | Action::Trace { .. }
        | Action::EndSessions { .. }
        | Action::CreateHome { .. }
        | Action::WriteEnvironment { .. }
        | Action::Unit { .. }
        | Action::Entry { .. }
        | Action::ArchiveDelete { .. }
        | Action::RecordArchive { .. }
        | Action::RestoreHome { .. }
        | Action::ClearRemains { .. }
        | Action::PurgeHome { .. } => Given::Neither,
    }
}

fn makes_root(action: &Action) -> String {
    match (given(action), action) {
        (Given::Group { group, .. }, _) => format!("whoever is in {group} is as good as root"),
        (_, Action::Entry { .. }) => "whoever is on the list of admins is as good as root".to_owned(),
        (
            _,
            Action::RestoreAccount { .. }
            | Action::Return { .. }
            | Action::Enable { .. }
            | Action::RestorePassword { .. },
        ) => {
            "the account would be as good as root again".to_owned()
        }
        (Given::Shell(_) | Given::Neither, _) => {
            "it would put root into somebody's hands: by a group that is privileged here or has the name in its list, or because \
             sudoers names what it gives"
                .to_owned()
        }
    }
}

fn no_root(action: &Action) -> String {
    match (given(action), action) {
        (_, Action::RestorePassword { .. }) => {
            "it puts back the password that the account had, and the account is no root".to_owned()
        }
        (Given::Shell(_), _) => {
            "it brings back an account with the ids it had, and the account is no root".to_owned()
        }
        (Given::Group { .. } | Given::Neither, _) => {
            "it puts back what a cut set aside, and the account is no root".to_owned()
        }
    }
}

/// That a plan takes away too much at once.
pub(super) fn too_many(removals: usize, recent: usize, base: usize, limits: &Limits) -> String {
    let percent = (removals * 100).checked_div(base).unwrap_or(100);
    format!(
        "over the limit: {removals} removals ({recent} of them in the last 24 hours) are {percent} % of {base} active \
         accounts, and more than {} % is held as a whole; split the change over days, or sign a release for exactly \
         these steps",
        limits.share
    )
}

/// That too few would be left who can become root; `unread` is why it is not known who surely can, if it is not.
pub(super) fn too_few(left: usize, least: usize, unread: Option<&str>) -> String {
    match unread {
        None => format!(
            "would leave {left} accounts that can become root, and at least {least} must remain; add another admin first"
        ),
        Some(why) => format!(
            "would leave {left} accounts that may be able to become root, and at least {least} must remain; who surely can is \
             not known ({why})"
        ),
    }
}

/// Whether two actions have the same sentence and the same words. What of an action is in its incarnation alone, such as
/// the inode of a home, differs from host to host and is bound by the id.
pub(crate) fn reads_alike(a: &Action, b: &Action) -> bool {
    match (a, b) {
        (
            Action::ArchiveDelete {
                user,
                uid,
                home,
                home_id: _,
                gid: _,
                subuid: _,
                subgid: _,
                more: _,
            },
            Action::ArchiveDelete {
                user: other,
                uid: other_uid,
                home: other_home,
                ..
            },
        ) => (user, uid, home) == (other, other_uid, other_home),
        (a, b) => a == b,
    }
}
