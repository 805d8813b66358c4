//! How each action is spelled: what is hashed, signed and shown.

use std::fmt;

use super::{Action, HomeSource, Leave};
use crate::accounts::policy::Ports;
use crate::id::{Parameter, Spell};
use crate::people::{Identity, Parking};

impl Spell for Action {
    fn word(&self) -> &'static str {
        self.verb().word()
    }

    fn resource(&self) -> &str {
        self.user()
    }

    fn parameters(&self, put: &mut dyn FnMut(&'static str, Parameter<'_>)) {
        use Parameter::{Number, Shown, Text};
        let number = |number: &u32| Number(u64::from(*number));
        match self {
            Self::CreateAccount {
                user: _,
                uid,
                gid,
                home,
                shell,
                subuid,
                subgid,
                authentik_user,
                k8s_user,
            } => {
                put("authentik_user", Text(authentik_user));
                put("gid", number(gid));
                put("home", Text(home));
                put("k8s_user", Text(k8s_user));
                put("shell", Text(shell));
                if let Some(range) = subgid {
                    put("subgid", Shown(range));
                }
                if let Some(range) = subuid {
                    put("subuid", Shown(range));
                }
                put("uid", number(uid));
            }
            Self::AdoptAccount {
                user: _,
                uid,
                gid,
                home,
                authentik_user,
                k8s_user,
            } => {
                put("authentik_user", Text(authentik_user));
                put("gid", number(gid));
                put("home", Text(home));
                put("k8s_user", Text(k8s_user));
                put("uid", number(uid));
            }
            Self::RenameAccount { from, user: _, uid } => {
                put("from", Text(from));
                put("uid", number(uid));
            }
            Self::ChangeUid { user: _, from, to } => {
                put("from", number(from));
                put("to", number(to));
            }
            Self::ChangeIdentity {
                user: _,
                identity,
                from,
                to,
            } => {
                put("from", Text(from));
                let identity = match identity {
                    Identity::AuthentikUser => "authentik_user",
                    Identity::K8sUser => "k8s_user",
                };
                put("identity", Text(identity));
                put("to", Text(to));
            }
            Self::SetShell { user: _, from, to } => {
                put("from", Text(from));
                put("to", Text(to));
            }
            Self::JoinGroup {
                user: _,
                group,
                gid,
            } => {
                put("gid", number(gid));
                put("group", Text(group));
            }
            Self::LeaveGroup {
                user: _,
                group,
                because,
            } => {
                if *because == Leave::Cut {
                    put("because", Text("cut"));
                }
                put("group", Text(group));
            }
            Self::AssignPorts { user: _, ports } => put("ports", Shown(&PortList(ports))),
            Self::Park { user: _, because } => {
                let because = match because {
                    Parking::Asked => "asked",
                    Parking::Expired => "expired",
                };
                put("because", Text(because));
            }
            Self::Disable {
                user: _,
                because,
                root_equivalent,
            } => {
                let because = match because {
                    Parking::Asked => "asked",
                    Parking::Expired => "expired",
                };
                put("because", Text(because));
                if *root_equivalent {
                    put("root_equivalent", Text("yes"));
                }
            }
            Self::Cut {
                user: _,
                root_equivalent,
            }
            | Self::Enable {
                user: _,
                root_equivalent,
            }
            | Self::RestorePassword {
                user: _,
                root_equivalent,
            }
            | Self::Return {
                user: _,
                root_equivalent,
            } => {
                if *root_equivalent {
                    put("root_equivalent", Text("yes"));
                }
            }
            Self::CreateHome { user: _, home } => put("home", Text(home)),
            Self::WriteEnvironment { user: _, digest } => put("sha256", Text(digest)),
            Self::Unit {
                user: _,
                unit,
                change: _,
            } => put("unit", Text(unit)),
            Self::Entry {
                user: _,
                file: _,
                key,
                from,
                to,
            } => {
                if let Some(from) = from.as_deref().filter(|it| !it.is_empty()) {
                    put("from", Text(from));
                }
                put("key", Text(key));
                if let Some(to) = to.as_deref().filter(|it| !it.is_empty()) {
                    put("to", Text(to));
                }
            }
            Self::ArchiveDelete {
                user: _,
                uid,
                home,
                home_id: _,
                gid: _,
                subuid: _,
                subgid: _,
                more: _,
            } => {
                put("home", Text(home));
                put("uid", number(uid));
            }
            Self::PurgeHome {
                user: _,
                uid,
                home,
                home_id: _,
                sha256,
            } => {
                put("home", Text(home));
                put("sha256", Text(sha256));
                put("uid", number(uid));
            }
            Self::ClearRemains {
                user: _,
                gid,
                beside,
            } => {
                if let Some(beside) = beside {
                    put("beside", Text(beside));
                }
                put("gid", number(gid));
            }
            Self::RecordArchive {
                user: _,
                sha256,
                bytes,
            } => {
                put("bytes", Number(*bytes));
                put("sha256", Text(sha256));
            }
            Self::RestoreAccount {
                user: _,
                uid,
                gid,
                home,
                shell,
                subuid,
                subgid,
                root_equivalent,
            } => {
                put("gid", number(gid));
                put("home", Text(home));
                if *root_equivalent {
                    put("root_equivalent", Text("yes"));
                }
                put("shell", Text(shell));
                if let Some(range) = subgid {
                    put("subgid", Shown(range));
                }
                if let Some(range) = subuid {
                    put("subuid", Shown(range));
                }
                put("uid", number(uid));
            }
            Self::RestoreHome {
                user: _,
                home,
                from,
                of,
            } => match from {
                HomeSource::Quarantine { home_id } => {
                    put("from", Text("quarantine"));
                    put("home", Text(home));
                    put("inode", Number(home_id.inode));
                    put("of", Shown(of));
                }
                HomeSource::Archive { sha256 } => {
                    put("from", Text("archive"));
                    put("home", Text(home));
                    put("of", Shown(of));
                    put("sha256", Text(sha256));
                }
            },
            Self::LockLogin { user: _, cut }
            | Self::UnlockLogin { user: _, cut }
            | Self::Trace {
                user: _,
                trace: _,
                direction: _,
                cut,
            } => put("cut", number(cut)),
            Self::LockPassword { user: _ }
            | Self::Unpark { user: _ }
            | Self::GiveNotice { user: _ }
            | Self::EndSessions { user: _ } => {}
        }
    }
}

/// Ports as they are signed and shown: `playwright:33773/t3:3773`.
struct PortList<'a>(&'a Ports);

impl fmt::Display for PortList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (family, port)) in self.0.iter().enumerate() {
            let before = if i == 0 { "" } else { "/" };
            write!(f, "{before}{family}:{port}")?;
        }
        Ok(())
    }
}
