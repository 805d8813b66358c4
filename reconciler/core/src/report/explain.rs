//! What there is to know about a single step: why it is of its class, what would let it run, how it is undone.

use crate::accounts::action::Action;
use crate::accounts::policy::{Aggregate, Policy};
use crate::accounts::verbs::Verb;
use crate::price::Class;

/// Why an action is of its class on the host that `policy` binds.
pub fn why_class(action: &Action, policy: &Policy) -> String {
    let kind = action.kind();
    let floor = Verb::FLOOR.contains(&kind);
    let because = match action {
        Action::ArchiveDelete { .. } => {
            "it takes an account and its home away; both can be brought back only as long as the home is kept".to_owned()
        }
        Action::PurgeHome { .. } => {
            "it deletes a home that was kept, and only its archive is left".to_owned()
        }
        Action::RestoreAccount {
            root_equivalent, ..
        } => {
            if *root_equivalent {
                "the account would be as good as root again".to_owned()
            } else {
                "it brings back an account with the ids it had, and the account is no root".to_owned()
            }
        }
        Action::ChangeUid { .. } => "files would change their owner".to_owned(),
        Action::AdoptAccount { .. } => {
            "it hands an account that somebody else made to a row".to_owned()
        }
        Action::RenameAccount { .. } | Action::ChangeIdentity { .. } => {
            "it hands an account to another identity".to_owned()
        }
        Action::SetShell { to, .. } | Action::CreateAccount { shell: to, .. } => {
            if policy.shells.contains(to) {
                format!("the shell {to} is one that anybody may be given, and no data is touched")
            } else {
                format!("the shell {to} is not among those that the settings let anybody have")
            }
        }
        Action::JoinGroup { group, gid, .. } => {
            if policy.is_privileged_group(group) {
                format!("whoever is in {group} is as good as root")
            } else if *gid < 100 {
                format!("{group} has the static gid {gid}, and such groups guard devices and logs")
            } else {
                format!("{group} is an ordinary group")
            }
        }
        Action::Return {
            root_equivalent, ..
        } => {
            if *root_equivalent {
                "the account would be as good as root again".to_owned()
            } else {
                "it puts back what a cut set aside, and the account is no root".to_owned()
            }
        }
        Action::Entry {
            file: Aggregate::Admins,
            to: Some(_),
            ..
        } => "whoever is on the list of admins is as good as root".to_owned(),
        Action::Entry { .. }
        | Action::LockPassword { .. }
        | Action::LeaveGroup { .. }
        | Action::AssignPorts { .. }
        | Action::Park { .. }
        | Action::Unpark { .. }
        | Action::Cut { .. }
        | Action::LockLogin { .. }
        | Action::UnlockLogin { .. }
        | Action::Trace { .. }
        | Action::EndSessions { .. }
        | Action::CreateHome { .. }
        | Action::RecordArchive { .. }
        | Action::RestoreHome { .. }
        | Action::WriteEnvironment { .. }
        | Action::Unit { .. } => "it can be undone, and no data is lost".to_owned(),
    };
    let declared = policy.declared_benign.contains(&kind) && !floor;
    match action.class(policy) {
        Class::Benign if declared => {
            format!(
                "{because}; the settings declare {} benign all the same",
                kind.word()
            )
        }
        Class::Privileged | Class::Destructive if floor => {
            format!("{because}; no setting can declare it benign")
        }
        _ => because,
    }
}

/// What takes a step of this kind back.
pub fn undone_by(kind: Verb) -> &'static str {
    match kind {
        Verb::UserArchiveDelete => {
            "putting the row back: account and home are restored as long as the home is kept, and from its archive afterwards"
        }
        Verb::UserPurge => "nothing for the directory; the archive of the home stays",
        Verb::UserRestore | Verb::HomeRestore => "removing the row again",
        Verb::ArchiveRecord => "nothing: it only says which archive there is",
        Verb::UserCreate | Verb::UserAdopt => {
            "removing the row: the account is cut, and its ids stay reserved"
        }
        Verb::UserRename => "renaming it back: a row with the old name and `previously`",
        Verb::UserUid => "nothing: this version does not carry it out",
        Verb::UserIdentity => "putting the former identity back into the row",
        Verb::UserShell => "putting the former shell back into the row",
        Verb::UserLockPassword => "`usermod --unlock`, by hand; muster locks it again",
        Verb::GroupJoin => "taking the group from the row's tier: it leaves it again",
        Verb::GroupLeave | Verb::AdminsRemove => "asking for it in the roster again",
        Verb::PortsAssign => "nothing: a port once given stays with its person",
        Verb::UserPark | Verb::InstanceStop | Verb::InstanceDisable => {
            "taking `parked` or `expires` from the row"
        }
        Verb::UserUnpark | Verb::InstanceEnable | Verb::InstanceStart => {
            "`parked: true` in the row"
        }
        Verb::UserCut
        | Verb::LoginLock
        | Verb::LingerSetAside
        | Verb::KeysSetAside
        | Verb::CrontabSetAside
        | Verb::MapRemove
        | Verb::DispatchRemove => "putting the row back: exactly what was set aside is restored",
        Verb::UserReturn
        | Verb::LoginUnlock
        | Verb::LingerRestore
        | Verb::KeysRestore
        | Verb::CrontabRestore => "removing the row again",
        Verb::SessionsEnd => "nothing: whoever is back logs in again",
        Verb::HomeCreate => "`rmdir`, by hand, while it is empty",
        Verb::EnvWrite
        | Verb::MapAdd
        | Verb::MapChange
        | Verb::DispatchAdd
        | Verb::DispatchChange => "changing the row back: the file is written again",
        Verb::AdminsAdd => "another tier in the row",
    }
}

/// What would let a step run that waits for the reason with this code.
pub fn released_by(reason: &str, class: Class) -> &'static str {
    match (reason, class) {
        ("pending_signature", _) => "a signed release that names it",
        ("limit", _) => {
            "the change split over days, or a release for exactly the removals of the plan"
        }
        ("guardrail", _) => {
            "nothing: no signature permits it; the text says what stands against it"
        }
        ("needs", Class::Benign) => "the step it follows: then it runs by itself",
        ("needs", _) => "the step it follows, and a signed release that names both",
        ("precondition", _) => "what is missing: then it is planned anew",
        ("retry", _) => "time: it is tried again by itself",
        ("needs_operator", _) => "a look by a person, then `muster adopt SHA --reason …`",
        ("frozen", _) => "the end of the freeze: `muster status` says how",
        ("suspended", _) => "`muster resume`, or the end of the suspension",
        _ => "nothing that this version of muster knows",
    }
}
