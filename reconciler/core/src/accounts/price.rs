//! What each step about an account costs.

use super::action::{Action, Direction, Leave, Trace, UnitChange};
use super::facts::{Known, Provenance};
use super::policy::{Aggregate, Policy};
use super::root::{RootEffect, Roots, may_be_declared};
use crate::people::{Parking, Stage};
use crate::price::{Because, Class, Doubt, Looks, Price, RootRelation, Shows, Takes};
use crate::turn::Turn;

/// What a price is made of beside the action.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What the host's administrator decided.
    pub policy: &'a Policy,
    /// Who may become root there; `None` where nobody has looked yet.
    pub roots: Option<&'a Roots<'a>>,
    /// Whom muster keeps here.
    pub known: &'a Known,
    /// What of the plan bears on the step; nothing where there is none.
    pub occasion: Occasion,
}

/// What of a plan bears on what a step in it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occasion {
    /// It takes the step's account over first.
    pub adopting: bool,
    /// It shuts the step's account because a date has come, which is nobody's removal.
    pub expired: bool,
}

impl Context<'_> {
    /// Whether the account was there before muster kept it.
    fn is_adopted(&self, user: &str) -> bool {
        let person = self.known.people.get(user);
        self.occasion.adopting || person.is_some_and(|it| it.how == Provenance::Adopted)
    }
}

/// What `action` costs. Each question is one match without a wildcard: a new action does not compile until all are answered.
pub fn price(action: &Action, context: &Context<'_>) -> Price {
    let verb = action.verb();
    let declared = context.policy.declared_benign.contains(&verb);
    let about = context
        .roots
        .map_or(RootEffect::Apart, |it| it.of_step(action, context.known));
    let (because, declared) = match (about, because(action, context)) {
        // Whatever it would be elsewhere: here it puts root into somebody's hands (F1, F2).
        (RootEffect::Makes, because) => {
            let because = match because.class() {
                Class::Benign => Because::MakesRoot,
                Class::Privileged | Class::Destructive => because,
            };
            (because, declared && may_be_declared(verb))
        }
        (RootEffect::Apart | RootEffect::Touches, because) => (because, declared),
    };
    let (shows, looks, doubt) = afterwards(action);
    Price {
        turn: turn(action),
        class: because.class_of(verb.row(), declared),
        because,
        declared,
        takes: match takes(action, context.known) {
            Takes::WithRemoval if context.occasion.expired => Takes::Access,
            takes @ (Takes::Nothing | Takes::Removal | Takes::WithRemoval | Takes::Access) => takes,
        },
        root: match about {
            RootEffect::Apart => RootRelation::Apart,
            RootEffect::Touches | RootEffect::Makes => RootRelation::Touches,
        },
        shows,
        looks,
        doubt,
    }
}

/// When in a cycle it runs.
fn turn(action: &Action) -> Turn {
    match action {
        Action::AdoptAccount { .. }
        | Action::ChangeIdentity { .. }
        | Action::RecordArchive { .. }
        | Action::Disable { .. }
        | Action::Enable { .. }
        | Action::GiveNotice { .. }
        | Action::Cut { .. }
        | Action::Return { .. } => Turn::Record,
        Action::AssignPorts { .. } | Action::Park { .. } | Action::Unpark { .. } => Turn::Assign,
        Action::Unit { change, .. } => match change {
            UnitChange::Stop | UnitChange::Disable => Turn::Quiesce,
            UnitChange::Enable | UnitChange::Start => Turn::Start,
        },
        Action::RenameAccount { .. } => Turn::Rename,
        Action::CreateAccount { .. }
        | Action::RestoreAccount { .. }
        | Action::SetShell { .. }
        | Action::LockPassword { .. }
        | Action::RestorePassword { .. }
        | Action::JoinGroup { .. }
        | Action::LeaveGroup { .. }
        | Action::LockLogin { .. }
        | Action::UnlockLogin { .. }
        | Action::ClearRemains { .. } => Turn::Accounts,
        Action::CreateHome { .. } | Action::RestoreHome { .. } | Action::Trace { .. } => {
            Turn::Homes
        }
        Action::WriteEnvironment { .. } | Action::Entry { .. } => Turn::Files,
        Action::EndSessions { .. } => Turn::Sessions,
        Action::ChangeUid { .. } | Action::ArchiveDelete { .. } | Action::PurgeHome { .. } => {
            Turn::Destroy
        }
    }
}

/// Why it is of its class: by provenance and by whether data is at stake, not by verb (DESIGN.md, "Classes").
fn because(action: &Action, context: &Context<'_>) -> Because {
    let policy = context.policy;
    match action {
        Action::ArchiveDelete { .. } => Because::TakesAway,
        Action::PurgeHome { .. } => Because::LosesForEver,
        Action::RestoreAccount {
            root_equivalent: true,
            ..
        }
        | Action::Enable {
            root_equivalent: true,
            ..
        }
        | Action::RestorePassword {
            root_equivalent: true,
            ..
        }
        | Action::Return {
            root_equivalent: true,
            ..
        } => Because::MakesRoot,
        Action::RestoreAccount {
            root_equivalent: false,
            shell,
            ..
        } => {
            if policy.shells.contains(shell) {
                Because::NoRoot
            } else {
                Because::NotAllowed
            }
        }
        Action::Enable {
            root_equivalent: false,
            ..
        }
        | Action::RestorePassword {
            root_equivalent: false,
            ..
        }
        | Action::Return {
            root_equivalent: false,
            ..
        } => Because::NoRoot,
        Action::AdoptAccount { .. } => Because::TakesOver,
        Action::RenameAccount { .. } | Action::ChangeIdentity { .. } => Because::AnotherIdentity,
        Action::ChangeUid { .. } => Because::ChangesOwner,
        // What an account had when it was taken over stays until somebody signs another: without a password or a shell
        // that works, an admin would be shut out (F19).
        Action::SetShell { user, to, .. }
            if policy.shells.contains(to) && context.is_adopted(user) =>
        {
            Because::AsFound
        }
        Action::LockPassword { user } if context.is_adopted(user) => Because::AsFound,
        Action::SetShell { to, .. } | Action::CreateAccount { shell: to, .. } => {
            if policy.shells.contains(to) {
                Because::Ordinary
            } else {
                Because::NotAllowed
            }
        }
        Action::JoinGroup { group, gid, .. } => {
            if policy.is_privileged_group(group) {
                Because::MakesRoot
            } else if *gid < 100 {
                // Debian's statically allocated groups (below 100) guard devices and logs: none is ordinary.
                Because::Guarded
            } else {
                Because::Ordinary
            }
        }
        Action::Entry {
            file: Aggregate::Admins,
            to: Some(_),
            ..
        } => Because::MakesRoot,
        Action::Entry {
            file: Aggregate::Admins,
            to: None,
            ..
        }
        | Action::Entry {
            file: Aggregate::LoginMap | Aggregate::Dispatch,
            ..
        }
        | Action::LockPassword { .. }
        | Action::LeaveGroup { .. }
        | Action::AssignPorts { .. }
        | Action::Park { .. }
        | Action::Unpark { .. }
        | Action::Disable { .. }
        | Action::GiveNotice { .. }
        | Action::Cut { .. }
        | Action::LockLogin { .. }
        | Action::UnlockLogin { .. }
        | Action::Trace { .. }
        | Action::EndSessions { .. }
        | Action::CreateHome { .. }
        | Action::RestoreHome { .. }
        | Action::RecordArchive { .. }
        | Action::WriteEnvironment { .. }
        | Action::ClearRemains { .. }
        | Action::Unit { .. } => Because::Undoable,
    }
}

/// How the limits count it. The facts count by it, too, when they are folded from the journal.
pub(crate) fn takes(action: &Action, known: &Known) -> Takes {
    let is_cut = |user: &String| {
        let person = known.people.get(user);
        person.is_some_and(|it| it.stage == Stage::Cut)
    };
    match action {
        // Whoever is back and still kept out loses nothing by it.
        Action::Disable { user, .. } if is_cut(user) => Takes::Nothing,
        Action::Cut { .. }
        | Action::Disable {
            because: Parking::Asked,
            ..
        }
        | Action::LeaveGroup {
            because: Leave::NotAsked,
            ..
        } => Takes::Removal,
        Action::LockLogin { .. }
        | Action::LeaveGroup {
            because: Leave::Cut,
            ..
        }
        | Action::ArchiveDelete { .. } => Takes::WithRemoval,
        // An admin without a password has no sudo; one whose date has come has no login. The date is nobody's removal.
        Action::LockPassword { .. }
        | Action::Disable {
            because: Parking::Expired,
            ..
        } => Takes::Access,
        Action::CreateAccount { .. }
        | Action::AdoptAccount { .. }
        | Action::RenameAccount { .. }
        | Action::ChangeUid { .. }
        | Action::ChangeIdentity { .. }
        | Action::SetShell { .. }
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
        | Action::PurgeHome { .. } => Takes::Nothing,
    }
}

/// What is to be looked at once it has run, and what becomes of it when that cannot be read.
fn afterwards(action: &Action) -> (Shows, Looks, Doubt) {
    match action {
        // What a cut had saved can be seen again.
        Action::UnlockLogin { .. } => (Shows::More, Looks::AtTraces, Doubt::TryAgain),
        // Everything stands under a new name.
        Action::RenameAccount { .. } => (Shows::More, Looks::AsEver, Doubt::TryAgain),
        // The name can be given again.
        Action::ClearRemains { .. } => (Shows::More, Looks::AsEver, Doubt::TryAgain),
        Action::Trace {
            trace: Trace::Linger | Trace::AuthorizedKeys | Trace::Crontab,
            direction: Direction::SetAside | Direction::Restore,
            ..
        }
        | Action::EndSessions { .. }
        | Action::LockLogin { .. } => (Shows::Nothing, Looks::AtTraces, Doubt::TryAgain),
        // The archive is there, and is recorded within the cycle: the one after it changes nothing (F14).
        Action::ArchiveDelete { .. } => (Shows::More, Looks::AsEver, Doubt::BringToEnd),
        Action::PurgeHome { .. } => (Shows::Nothing, Looks::AsEver, Doubt::BringToEnd),
        Action::CreateAccount { .. }
        | Action::AdoptAccount { .. }
        | Action::ChangeUid { .. }
        | Action::ChangeIdentity { .. }
        | Action::SetShell { .. }
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
        | Action::Cut { .. }
        | Action::Return { .. }
        | Action::CreateHome { .. }
        | Action::WriteEnvironment { .. }
        | Action::Unit { .. }
        | Action::Entry { .. }
        | Action::RecordArchive { .. }
        | Action::RestoreAccount { .. }
        | Action::RestoreHome { .. } => (Shows::Nothing, Looks::AsEver, Doubt::TryAgain),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::accounts::verbs::Verb;
    use crate::price::Class;
    use crate::verb::Reach;

    fn verbs_of(reach: Reach) -> BTreeSet<Verb> {
        let verbs = Verb::ALL.iter().copied();
        verbs.filter(|it| it.row().reach == reach).collect()
    }

    fn class(action: &Action, policy: &Policy) -> Class {
        let context = Context {
            policy,
            roots: None,
            known: &Known::new(),
            occasion: Occasion::default(),
        };
        price(action, &context).class
    }

    #[test]
    fn the_floor_and_what_can_be_declared_are_these() {
        let floor = [
            Verb::UserUid,
            Verb::UserEnable,
            Verb::PasswordRestore,
            Verb::UserReturn,
            Verb::UserArchiveDelete,
            Verb::UserRestore,
            Verb::UserPurge,
        ];
        assert_eq!(verbs_of(Reach::Floor), floor.into());
        let declarable = [
            Verb::UserAdopt,
            Verb::UserRename,
            Verb::UserIdentity,
            Verb::UserShell,
            Verb::UserLockPassword,
            Verb::GroupJoin,
            Verb::AdminsAdd,
        ];
        assert_eq!(verbs_of(Reach::Declarable), declarable.into());
    }

    #[test]
    fn the_floor_cannot_be_declared_benign() {
        let mut policy = Policy::for_host("devvm");
        policy.declared_benign = verbs_of(Reach::Floor);
        let deletion = Action::ArchiveDelete {
            more: Default::default(),
            user: "emo".into(),
            uid: 1004,
            home: "/home/emo".into(),
            home_id: None,
            gid: 1004,
            subuid: None,
            subgid: None,
        };
        assert_eq!(class(&deletion, &policy), Class::Destructive);
        let uid = Action::ChangeUid {
            user: "emo".into(),
            from: 1004,
            to: 1005,
        };
        assert_eq!(class(&uid, &policy), Class::Privileged);
    }

    #[test]
    fn every_root_equivalent_group_is_privileged_and_so_is_every_static_group() {
        let policy = Policy::for_host("devvm");
        for group in crate::accounts::policy::ROOT_EQUIVALENT_GROUPS {
            let join = Action::JoinGroup {
                user: "emo".into(),
                group: group.into(),
                gid: 999,
            };
            assert_eq!(class(&join, &policy), Class::Privileged, "{group}");
        }
        let audio = Action::JoinGroup {
            user: "emo".into(),
            group: "audio".into(),
            gid: 29,
        };
        assert_eq!(class(&audio, &policy), Class::Privileged);
        let shared = Action::JoinGroup {
            user: "emo".into(),
            group: "code-shared".into(),
            gid: 999,
        };
        assert_eq!(class(&shared, &policy), Class::Benign);
    }

    #[test]
    fn a_verb_reads_back_as_itself() {
        for verb in Verb::ALL {
            let json = serde_json::to_string(verb).unwrap();
            assert_eq!(json, format!("\"{}\"", verb.word()));
            assert_eq!(serde_json::from_str::<Verb>(&json).unwrap(), *verb);
        }
    }
}
