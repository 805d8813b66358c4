//! Every sentence that people read about a step of a guest, and about a plan of guests as a whole.

use super::action::{Action, Found, Standing, Volumes, joined};
use super::backup::owner;
use super::desired::Shape;
use super::mark::Mark;
use super::normal::MEBIBYTE;
use crate::ink::{Ink, Replaced};
use crate::limits::Limits;
use crate::price::Because;

pub use super::blocked::Blocked;
pub use super::note::Note;

/// Says what `action` does.
pub fn say(action: &Action, ink: &mut dyn Ink) {
    match action {
        Action::RecordGuest { identity, .. } => {
            of("record the identity", action, ink);
            found(identity, ink);
        }
        Action::StartGuest { .. } => about("start guest ", action, "", ink),
        Action::ShutdownGuest { .. } => about("shut down guest ", action, "", ink),
        Action::StopGuest { .. } => about(
            "stop guest ",
            action,
            " by force: it did not heed the shutdown",
            ink,
        ),
        Action::SetGuestCores { from, to, .. } => {
            of("set the cores", action, ink);
            let from = from.map(|it| it.to_string());
            change(from, &to.to_string(), ink);
        }
        Action::SetGuestMemory { from, to, .. } => {
            of("set the memory", action, ink);
            change(from.map(memory), &memory(*to), ink);
        }
        Action::SetGuestDescription { to, .. } if to.is_empty() => {
            of("take away the description", action, ink);
        }
        Action::SetGuestDescription { to, .. } => {
            about("describe guest ", action, " as ", ink);
            ink.value(&excerpt(to));
        }
        Action::SetGuestTags { from, to, .. } => {
            of("set the tags", action, ink);
            change(Some(joined(from)), &joined(to), ink);
        }
        Action::SetGuestOnboot { to: true, .. } => {
            about("start guest ", action, " with the hypervisor", ink);
        }
        Action::SetGuestOnboot { to: false, .. } => {
            about("not start guest ", action, " with the hypervisor", ink);
        }
        Action::CreateGuest { shape, .. } => create(action, shape, ink),
        Action::DiscardGuest { made, .. } => {
            about(
                "discard guest ",
                action,
                ", which muster made and nobody used (",
                ink,
            );
            ink.value(&made.0);
            ink.own(")");
        }
        Action::DestroyGuest { volumes: these, .. } => {
            about("destroy guest ", action, ": ", ink);
            ink.own("shut it down, back it up, try the backup, and set it aside for its time of grace; with it go in the end ");
            volumes(these, ink);
        }
        Action::OverwriteGuest {
            backup,
            volumes: these,
            ..
        } => {
            about("overwrite guest ", action, " with the backup ", ink);
            ink.value(backup);
            owned_by_another(action, backup, ink);
            ink.own(", once it is backed up itself; what is overwritten is ");
            volumes(these, ink);
        }
        Action::RestoreGuest {
            found,
            standing,
            privileged,
            ..
        } => restore(action, found, standing, *privileged, ink),
        Action::PurgeGuest {
            backup,
            volumes: these,
            ..
        } => {
            about("delete guest ", action, " for ever, with ", ink);
            volumes(these, ink);
            ink.own("; what stays is the backup ");
            ink.value(backup);
        }
        Action::NoteGuestUse { how, .. } => {
            about(
                "note that guest ",
                action,
                " was used though it is set aside (",
                ink,
            );
            ink.value(how);
            ink.own(")");
        }
    }
}

/// Whose backup it is, where that is another guest than the one whose place it takes.
fn owned_by_another(action: &Action, backup: &str, ink: &mut dyn Ink) {
    if let Some(other) = owner(backup).filter(|it| *it != action.guest()) {
        ink.own(", which is of another guest (");
        ink.other(other);
        ink.own(")");
    }
}

fn about(before: &str, action: &Action, after: &str, ink: &mut dyn Ink) {
    ink.own(before);
    ink.name(action.guest());
    ink.own(after);
}

/// The same, where the name follows an `of`.
fn of(before: &str, action: &Action, ink: &mut dyn Ink) {
    ink.own(before);
    ink.of(action.guest());
}

/// What the change of a guest is called, before its name. Nothing where this part says little of the whole.
pub(crate) fn deed(action: &Action) -> Option<&'static str> {
    match action {
        Action::StartGuest { .. } => Some("start"),
        Action::ShutdownGuest { .. } => Some("shut down"),
        Action::StopGuest { .. } => Some("stop"),
        Action::SetGuestCores { .. } | Action::SetGuestMemory { .. } => Some("resize"),
        Action::CreateGuest { .. } => Some("create"),
        Action::DestroyGuest { .. } => Some("destroy"),
        Action::OverwriteGuest { .. } => Some("overwrite"),
        Action::RestoreGuest { .. } => Some("give back"),
        Action::PurgeGuest { .. } => Some("purge"),
        Action::RecordGuest { .. }
        | Action::SetGuestDescription { .. }
        | Action::SetGuestTags { .. }
        | Action::SetGuestOnboot { .. }
        | Action::DiscardGuest { .. }
        | Action::NoteGuestUse { .. } => None,
    }
}

fn change(from: Option<String>, to: &str, ink: &mut dyn Ink) {
    if let Some(from) = from.filter(|it| !it.is_empty()) {
        ink.own(" from ");
        ink.value(&from);
    }
    ink.own(" to ");
    ink.value(if to.is_empty() { "none" } else { to });
}

fn found(identity: &Found, ink: &mut dyn Ink) {
    let Found { uuid, root, nic } = identity;
    let mut before = ": ";
    for (what, value) in [
        ("root volume ", root),
        ("network card ", nic),
        ("id ", uuid),
    ] {
        if let Some(value) = value {
            ink.own(before);
            ink.own(what);
            ink.value(value);
            before = ", ";
        }
    }
}

fn create(action: &Action, shape: &Shape, ink: &mut dyn Ink) {
    let Shape {
        origin,
        storage,
        network,
        unprivileged,
        nesting,
        devices,
        name,
        cores,
        memory: mebibytes,
    } = shape;
    about("create guest ", action, "", ink);
    if let Some(name) = name {
        ink.own(", called ");
        ink.value(name);
        ink.own(",");
    }
    ink.own(" of the ");
    ink.own(origin.kind());
    ink.own(" ");
    ink.value(origin.name());
    ink.own(" on ");
    ink.value(storage);
    if let Some(network) = network {
        ink.own(", with a card in the network ");
        ink.value(network);
    }
    if let Some(cores) = cores {
        ink.own(", with ");
        ink.number(u64::from(*cores));
        ink.own(if *cores == 1 { " core" } else { " cores" });
    }
    if let Some(mebibytes) = mebibytes {
        ink.own(", with memory of ");
        ink.value(&memory(*mebibytes));
    }
    if !unprivileged {
        ink.own("; root in it is root on the hypervisor");
    }
    if *nesting {
        ink.own("; it may run containers of its own");
    }
    if !devices.is_empty() {
        ink.own("; it gets ");
        ink.value(&joined(devices));
    }
}

fn restore(action: &Action, found: &str, standing: &Standing, privileged: bool, ink: &mut dyn Ink) {
    let Standing {
        name,
        onboot,
        protection,
    } = standing;
    about("give guest ", action, " back", ink);
    if found != action.guest() {
        ink.own(", which stands aside as ");
        ink.other(found);
        ink.own(",");
    }
    ink.own(" as it was");
    if let Some(name) = name {
        ink.own(": called ");
        ink.value(name);
    }
    ink.own(if *onboot {
        ", started with the hypervisor"
    } else {
        ", not started with the hypervisor"
    });
    if *protection {
        ink.own(", protected");
    }
    if privileged {
        ink.own("; root in it is root on the hypervisor");
    }
}

/// Each volume that goes, with its size and where it lies (GB8).
fn volumes(Volumes(these): &Volumes, ink: &mut dyn Ink) {
    if these.is_empty() {
        ink.own("no volume");
    }
    for (index, (id, volume)) in these.iter().enumerate() {
        ink.own(if index == 0 { "" } else { ", " });
        ink.value(id);
        ink.own(" (");
        if let Some(size) = volume.size {
            ink.value(&bytes(size));
            ink.own(" on ");
        }
        ink.value(&volume.storage);
        ink.own(")");
    }
}

/// An amount of memory, given in MiB.
pub(super) fn memory(mebibytes: u64) -> String {
    if mebibytes > 0 && mebibytes.is_multiple_of(1024) {
        format!("{}GiB", mebibytes / 1024)
    } else {
        format!("{mebibytes}MiB")
    }
}

/// A size, given in bytes, in the largest unit that it is a whole number of.
pub(super) fn bytes(size: u64) -> String {
    if size > 0 && size.is_multiple_of(MEBIBYTE) {
        memory(size / MEBIBYTE)
    } else {
        format!("{size} bytes")
    }
}

/// The first line of a text, and never more of it than a line of a comment holds.
fn excerpt(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.len() < text.len() => format!("{line}…"),
        None => line.to_owned(),
    }
}

/// The value that `action` puts in the place of another.
pub(crate) fn replaced(action: &Action) -> Option<Replaced<'_>> {
    match action {
        // What these replace is said in their sentences, with units.
        Action::RecordGuest { .. }
        | Action::StartGuest { .. }
        | Action::ShutdownGuest { .. }
        | Action::StopGuest { .. }
        | Action::SetGuestCores { .. }
        | Action::SetGuestMemory { .. }
        | Action::SetGuestDescription { .. }
        | Action::SetGuestTags { .. }
        | Action::SetGuestOnboot { .. }
        | Action::CreateGuest { .. }
        | Action::DiscardGuest { .. }
        | Action::DestroyGuest { .. }
        | Action::OverwriteGuest { .. }
        | Action::RestoreGuest { .. }
        | Action::PurgeGuest { .. }
        | Action::NoteGuestUse { .. } => None,
    }
}

/// Why an action is of its class.
pub fn why(action: &Action, because: Because) -> String {
    match (action, because) {
        (Action::DiscardGuest { .. }, Because::Ordinary) => {
            "this executor's own journal says that muster made it and nobody used it"
        }
        (Action::DestroyGuest { .. }, Because::TakesAway) => {
            "the guest is set aside, and deleted when its time of grace is over"
        }
        (_, Because::LosesForEver | Because::TakesAway) => {
            "what the guest holds is gone afterwards"
        }
        (_, Because::Undoable | Because::Ordinary | Because::NoRoot) => {
            "it can be undone, and no data is lost"
        }
        (_, Because::NotAllowed) => "it gives what the settings let nobody have",
        (_, Because::Guarded | Because::MakesRoot) => "it gives power over the hypervisor",
        (
            _,
            Because::TakesOver
            | Because::AsFound
            | Because::AnotherIdentity
            | Because::ChangesOwner,
        ) => "it hands a guest to somebody else",
    }
    .to_owned()
}

/// What an act noted, in a line of the audit trail: how tasks ended, and what was made on the way.
pub fn mark(mark: &Mark) -> Option<String> {
    match mark {
        // Why a step was refused stands with its outcome.
        Mark::TaskBegun { .. }
        | Mark::Refused { .. }
        | Mark::ScratchTaken { .. }
        | Mark::SetAside { .. } => None,
        Mark::TaskEnded { task, how, .. } => Some(format!("task {task} ended: {how}")),
        Mark::Unheeded {} => Some("the guest did not heed the shutdown".to_owned()),
        Mark::BackedUp { backup, bytes, .. } => {
            Some(format!("backup {backup} of {bytes} bytes made"))
        }
        Mark::RanAgain {} => {
            Some("the guest ran again after its backup, so another one is due".to_owned())
        }
        Mark::Spoilt { backup, why } => Some(format!("the backup {backup} {why}")),
        Mark::ScratchGone { scratch } => Some(format!("guest {scratch} of the trial is gone")),
        Mark::Rehearsed { started: true } => Some("the backup came up and was started".to_owned()),
        Mark::Rehearsed { started: false } => {
            Some("the backup came up and was not started, as the settings say".to_owned())
        }
    }
}

/// That a plan stops or ends too many guests at once.
pub(super) fn too_many(removals: usize, recent: usize, base: usize, limits: &Limits) -> String {
    let of = match removals <= base {
        true => format!("{removals} of {base} running guests stop or end"),
        false => format!("{removals} guests stop or end where {base} run"),
    };
    format!(
        "over the limit: {of} ({recent} of them in the last 24 hours), and more than {} % is held as a whole; split the change over days, or \
         sign a release for exactly these steps",
        limits.share
    )
}
