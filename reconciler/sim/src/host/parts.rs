//! What a removal, a rename and a purge are made of, in the order in which it happens: the power may go between any two.

use super::*;

/// The parts of a removal, in the order in which they happen.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Quarantine,
    Archive,
    Passwd,
    Group,
}

impl Part {
    pub(super) fn of(action: &Action) -> Vec<Self> {
        match action {
            Action::ArchiveDelete {
                home_id: Some(_), ..
            } => vec![Self::Quarantine, Self::Archive, Self::Passwd, Self::Group],
            Action::ArchiveDelete { home_id: None, .. } => vec![Self::Passwd, Self::Group],
            Action::CreateAccount { .. }
            | Action::AdoptAccount { .. }
            | Action::RenameAccount { .. }
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
            | Action::LockLogin { .. }
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
            | Action::PurgeHome { .. } => Vec::new(),
        }
    }
}

/// The parts of a rename, in the order in which they happen.
#[derive(Clone, Copy)]
pub(super) enum NamePart {
    Lines,
    Group,
    Passwd,
    Files,
    Former,
}

impl NamePart {
    pub(super) fn of(action: &Action) -> Vec<Self> {
        match action.former_name() {
            Some(_) => vec![
                Self::Lines,
                Self::Group,
                Self::Passwd,
                Self::Files,
                Self::Former,
            ],
            None => Vec::new(),
        }
    }
}

/// The parts of a removal for ever, in the order in which they happen.
#[derive(Clone, Copy)]
pub(super) enum PurgePart {
    Mark,
    Half,
    All,
}

impl PurgePart {
    pub(super) fn of(action: &Action) -> Vec<Self> {
        if action.verb() == Verb::UserPurge {
            vec![Self::Mark, Self::Half, Self::All]
        } else {
            Vec::new()
        }
    }
}
