//! Each action as a sentence, once; and how many of a kind there are.

use std::fmt::Write as _;

use crate::accounts::action::{Action, Direction, HomeSource, Leave, Trace, UnitChange};
use crate::accounts::policy::Aggregate;
use crate::accounts::verbs::Verb;
use crate::people::{Identity, Parking};
use crate::report::escape;

/// Where a sentence is written: our words as they are, everything else harmless for that medium.
pub(crate) trait Ink {
    /// Words of ours.
    fn own(&mut self, text: &str);
    /// A person.
    fn name(&mut self, text: &str);
    /// A path, group, unit, key or identity.
    fn value(&mut self, text: &str);
    /// A number.
    fn number(&mut self, number: u32);
}

/// Markdown.
pub(crate) struct Markdown<'a>(pub(crate) &'a mut String);

impl Ink for Markdown<'_> {
    fn own(&mut self, text: &str) {
        self.0.push_str(text);
    }
    fn name(&mut self, text: &str) {
        escape::name(self.0, text);
    }
    fn value(&mut self, text: &str) {
        escape::value(self.0, text);
    }
    fn number(&mut self, number: u32) {
        let _ = write!(self.0, "{number}");
    }
}

/// A line of a terminal.
pub(crate) struct Plain<'a>(pub(crate) &'a mut String);

impl Ink for Plain<'_> {
    fn own(&mut self, text: &str) {
        self.0.push_str(text);
    }
    fn name(&mut self, text: &str) {
        escape::visible(self.0, text);
    }
    fn value(&mut self, text: &str) {
        escape::visible(self.0, text);
    }
    fn number(&mut self, number: u32) {
        let _ = write!(self.0, "{number}");
    }
}

/// What `action` does, as a sentence for a terminal.
pub fn sentence(action: &Action) -> String {
    let mut out = String::new();
    phrase(action, &mut Plain(&mut out));
    out
}

/// Says what `action` does. No wildcard: a new action does not compile until people can read it.
pub(crate) fn phrase(action: &Action, ink: &mut impl Ink) {
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
            ink.name(from);
            ink.own(" to ");
            ink.name(user);
            uid_of(*uid, ink, |_| {});
        }
        Action::ChangeUid { user, from, to } => {
            ink.own("change the uid of ");
            ink.name(user);
            ink.own(" from ");
            ink.number(*from);
            ink.own(" to ");
            ink.number(*to);
        }
        Action::ChangeIdentity {
            user,
            identity,
            from,
            to,
        } => {
            ink.own(match identity {
                Identity::AuthentikUser => "hand account ",
                Identity::K8sUser => "hand the cluster identity of ",
            });
            ink.name(user);
            ink.own(match identity {
                Identity::AuthentikUser => " from the identity login ",
                Identity::K8sUser => " from ",
            });
            ink.value(from);
            ink.own(" to ");
            ink.value(to);
        }
        Action::SetShell { user, from, to } => {
            ink.own("change the login shell of ");
            ink.name(user);
            ink.own(" from ");
            ink.value(from);
            ink.own(" to ");
            ink.value(to);
        }
        Action::LockPassword { user } => about("lock the password of ", user, "", ink),
        Action::JoinGroup { user, group, gid } => {
            about("add ", user, " to group ", ink);
            ink.value(group);
            ink.own(" (gid ");
            ink.number(*gid);
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
                ink.number(u32::from(*port));
                ink.own(" for ");
                ink.value(family);
            }
        }
        Action::Park { user, because } => about(
            "park ",
            user,
            match because {
                Parking::Asked => ": the instance stands still, all else stays",
                Parking::Expired => {
                    ", whose last valid day has passed: the instance stands still, all else stays"
                }
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
        Action::LockLogin { user, cut: _ } => about(
            "shut the login of ",
            user,
            ": password locked, account expired, no shell; what was there is saved",
            ink,
        ),
        Action::UnlockLogin { user, cut: _ } => {
            about("open the login of ", user, " again, as it was", ink)
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
            about(" of ", user, "", ink);
        }
        Action::EndSessions { user } => about("end the sessions and processes of ", user, "", ink),
        Action::CreateHome { user, home } => {
            about("make the home of ", user, ", ", ink);
            ink.value(home);
        }
        Action::WriteEnvironment { user, digest: _ } => {
            about(
                "write the environment file of the instance of ",
                user,
                "",
                ink,
            );
        }
        Action::Unit { user, unit, change } => {
            ink.own(match change {
                UnitChange::Stop => "stop ",
                UnitChange::Disable => "disable ",
                UnitChange::Enable => "enable ",
                UnitChange::Start => "start ",
            });
            ink.value(unit);
            about(" of ", user, "", ink);
        }
        Action::Entry {
            user,
            file,
            key,
            from,
            to,
        } => {
            let (verb, preposition) = match (from, to) {
                (_, None) => ("remove ", " from "),
                (Some(_), Some(_)) => ("change the entry of ", " in "),
                (None, Some(_)) => ("add ", " to "),
            };
            about(verb, user, preposition, ink);
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
            about("record the archive of the home of ", user, ", sha256 ", ink);
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
            about("put back the home of ", user, ", ", ink);
            ink.value(home);
            ink.own(match from {
                HomeSource::Quarantine { .. } => ", from quarantine",
                HomeSource::Archive { .. } => ", out of its archive",
            });
        }
        Action::PurgeHome {
            user, uid, home, ..
        } => {
            about(
                "remove for ever the home of ",
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
            about(
                "archive, then delete, the home and account of ",
                user,
                "",
                ink,
            );
            uid_of(*uid, ink, |ink| {
                ink.own(", ");
                ink.value(home);
            });
        }
    }
}

fn about(before: &str, user: &str, after: &str, ink: &mut impl Ink) {
    ink.own(before);
    ink.name(user);
    ink.own(after);
}

fn uid_of<I: Ink>(uid: u32, ink: &mut I, more: impl FnOnce(&mut I)) {
    ink.own(" (uid ");
    ink.number(uid);
    more(ink);
    ink.own(")");
}

/// `1 step`, `2 steps`.
pub(crate) fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// Says how many steps of a kind there are: `create 12 accounts`.
pub(crate) fn tally(kind: Verb, number: usize) -> String {
    let (verb, noun) = match kind {
        Verb::UserCreate => ("create", "account"),
        Verb::UserAdopt => ("take over", "existing account"),
        Verb::UserRename => ("rename", "account"),
        Verb::UserUid => ("change", "uid"),
        Verb::UserIdentity => ("change", "identity link"),
        Verb::UserShell => ("change", "login shell"),
        Verb::UserLockPassword => ("lock", "password"),
        Verb::GroupJoin => ("add", "group membership"),
        Verb::GroupLeave => ("take back", "group membership"),
        Verb::PortsAssign => ("assign", "set of ports"),
        Verb::UserPark => ("park", "account"),
        Verb::UserUnpark => ("unpark", "account"),
        Verb::UserCut => ("cut off", "account"),
        Verb::UserReturn => ("bring back", "account"),
        Verb::LoginLock => ("shut", "login"),
        Verb::LoginUnlock => ("open", "login"),
        Verb::LingerSetAside => ("set aside", "linger setting"),
        Verb::LingerRestore => ("put back", "linger setting"),
        Verb::KeysSetAside => ("set aside", "file of authorized keys"),
        Verb::KeysRestore => ("put back", "file of authorized keys"),
        Verb::CrontabSetAside => ("set aside", "crontab"),
        Verb::CrontabRestore => ("put back", "crontab"),
        Verb::SessionsEnd => ("end the sessions of", "account"),
        Verb::HomeCreate => ("make", "home"),
        Verb::EnvWrite => ("write", "environment file"),
        Verb::InstanceStop => ("stop", "unit"),
        Verb::InstanceDisable => ("disable", "unit"),
        Verb::InstanceEnable => ("enable", "unit"),
        Verb::InstanceStart => ("start", "unit"),
        Verb::MapAdd => ("add", "login map line"),
        Verb::MapChange => ("change", "login map line"),
        Verb::MapRemove => ("remove", "login map line"),
        Verb::DispatchAdd => ("add", "dispatch entry"),
        Verb::DispatchChange => ("change", "dispatch entry"),
        Verb::DispatchRemove => ("remove", "dispatch entry"),
        Verb::AdminsAdd => ("list", "admin"),
        Verb::AdminsRemove => ("unlist", "admin"),
        Verb::UserArchiveDelete => ("archive and delete", "account"),
        Verb::ArchiveRecord => ("record", "archive"),
        Verb::UserRestore => ("make again", "deleted account"),
        Verb::HomeRestore => ("put back", "home"),
        Verb::UserPurge => ("remove for ever", "archived home"),
    };
    let many = match noun {
        _ if number == 1 => noun.to_owned(),
        "set of ports" => "sets of ports".to_owned(),
        "file of authorized keys" => "files of authorized keys".to_owned(),
        _ => match noun.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{noun}s"),
        },
    };
    format!("{verb} {number} {many}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_more_are_more() {
        assert_eq!(count(1, "step"), "1 step");
        assert_eq!(count(0, "step"), "0 steps");
        assert_eq!(tally(Verb::UserCreate, 1), "create 1 account");
        assert_eq!(tally(Verb::DispatchAdd, 2), "add 2 dispatch entries");
        assert_eq!(tally(Verb::PortsAssign, 2), "assign 2 sets of ports");
        assert_eq!(
            tally(Verb::KeysRestore, 3),
            "put back 3 files of authorized keys"
        );
    }

    #[test]
    fn a_sentence_reads_the_same_in_markdown_and_on_a_terminal() {
        let action = Action::CreateAccount {
            user: "emo".into(),
            uid: 1004,
            gid: 1004,
            home: "/home/emo".into(),
            shell: "/bin/zsh".into(),
            subuid: None,
            subgid: None,
            authentik_user: "emo".into(),
            k8s_user: "emo".into(),
        };
        let (mut markdown, mut plain) = (String::new(), String::new());
        phrase(&action, &mut Markdown(&mut markdown));
        phrase(&action, &mut Plain(&mut plain));
        assert_eq!(markdown, "create account **emo** (uid 1004, `/bin/zsh`)");
        assert_eq!(plain, "create account emo (uid 1004, /bin/zsh)");
    }
}
