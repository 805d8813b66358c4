//! What there is to know about a single step: why it is of its class, what would let it run, how it is undone.

use crate::action::{Action, Class, Kind};
use crate::policy::{Aggregate, Policy};

/// Why an action is of its class on the host that `policy` binds.
pub fn why_class(action: &Action, policy: &Policy) -> String {
    let kind = action.kind();
    let floor = Kind::FLOOR.contains(&kind);
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

/// Why a step is of the class that was decided when it was planned, which can be above that of its action elsewhere.
pub fn why_planned_class(class: Class, action: &Action, policy: &Policy) -> String {
    match (class, action.class(policy)) {
        (Class::Privileged, Class::Benign) => {
            "it would put root into somebody's hands: by a group that is privileged here or has the name in its list, or because sudoers \
             names what it gives"
                .to_owned()
        }
        (_, Class::Benign | Class::Privileged | Class::Destructive) => why_class(action, policy),
    }
}

/// What takes a step of this kind back.
pub fn undone_by(kind: Kind) -> &'static str {
    match kind {
        Kind::UserArchiveDelete => {
            "putting the row back: account and home are restored as long as the home is kept, and from its archive afterwards"
        }
        Kind::UserPurge => "nothing for the directory; the archive of the home stays",
        Kind::UserRestore | Kind::HomeRestore => "removing the row again",
        Kind::ArchiveRecord => "nothing: it only says which archive there is",
        Kind::UserCreate | Kind::UserAdopt => {
            "removing the row: the account is cut, and its ids stay reserved"
        }
        Kind::UserRename => "renaming it back: a row with the old name and `previously`",
        Kind::UserUid => "nothing: this version does not carry it out",
        Kind::UserIdentity => "putting the former identity back into the row",
        Kind::UserShell => "putting the former shell back into the row",
        Kind::UserLockPassword => "`usermod --unlock`, by hand; muster locks it again",
        Kind::GroupJoin => "taking the group from the row's tier: it leaves it again",
        Kind::GroupLeave | Kind::AdminsRemove => "asking for it in the roster again",
        Kind::PortsAssign => "nothing: a port once given stays with its person",
        Kind::UserPark | Kind::InstanceStop | Kind::InstanceDisable => {
            "taking `parked` or `expires` from the row"
        }
        Kind::UserUnpark | Kind::InstanceEnable | Kind::InstanceStart => {
            "`parked: true` in the row"
        }
        Kind::UserCut
        | Kind::LoginLock
        | Kind::LingerSetAside
        | Kind::KeysSetAside
        | Kind::CrontabSetAside
        | Kind::MapRemove
        | Kind::DispatchRemove => "putting the row back: exactly what was set aside is restored",
        Kind::UserReturn
        | Kind::LoginUnlock
        | Kind::LingerRestore
        | Kind::KeysRestore
        | Kind::CrontabRestore => "removing the row again",
        Kind::SessionsEnd => "nothing: whoever is back logs in again",
        Kind::HomeCreate => "`rmdir`, by hand, while it is empty",
        Kind::EnvWrite
        | Kind::MapAdd
        | Kind::MapChange
        | Kind::DispatchAdd
        | Kind::DispatchChange => "changing the row back: the file is written again",
        Kind::AdminsAdd => "another tier in the row",
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
