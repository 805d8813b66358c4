//! Which guests to look at closely, and which tasks to ask for.

use super::action::{Action, place_aside};
use super::desired::{Desired, Wanted};
use super::facts::Known;
use super::observed::Question;

/// What a plan needs, and whoever plans from the inventory: where the file says no more than what runs, the list alone, and the
/// configurations of those that muster made or set aside; else all of them (H15). And what became of the tasks that are open (H12).
pub fn question(desired: &Desired, known: Option<&Known>) -> Question {
    let mut question = Question {
        everybody: desired.guests.values().any(asks_for_more_than_power),
        ..Question::default()
    };
    if let Some(known) = known {
        look_at_ours(&mut question, known);
        let aside = known.guests.values().filter_map(|it| it.aside.as_ref());
        question.expected.extend(aside.map(|it| it.found.clone()));
    }
    for (name, wanted) in &desired.guests {
        question
            .expected
            .extend(stands_at(name, wanted, known).map(str::to_owned));
        if let Some(overwrite) = wanted.more.as_ref().and_then(|it| it.overwrite.as_ref()) {
            let backup = overwrite.backup.clone();
            question.backups.insert(backup, name.clone());
        }
    }
    question
}

/// What shows how steps came out.
pub fn about<'a>(actions: impl Iterator<Item = &'a Action>, known: &Known) -> Question {
    let mut question = Question::default();
    for action in actions {
        question.configs.insert(action.guest().to_owned());
        question.configs.extend(elsewhere(action));
    }
    look_at_ours(&mut question, known);
    question
}

fn look_at_ours(question: &mut Question, known: &Known) {
    for (guest, facts) in &known.guests {
        if facts.made.is_some() || facts.seen.is_some() || facts.underway.is_some() {
            question.configs.insert(guest.clone());
        }
        let underway = facts.underway.iter();
        question
            .configs
            .extend(underway.filter_map(|it| elsewhere(&it.action)));
        let found = || facts.aside.iter().map(|it| it.found.clone());
        question.configs.extend(found());
        question.starts.extend(found());
        // Its end relies on the backup that stays.
        if let (Some(aside), Some(backup)) = (&facts.aside, facts.last_tried()) {
            let (backup, found) = (backup.backup.clone(), aside.found.clone());
            question.backups.insert(backup, found);
        }
    }
    let tasks = known.open_tasks();
    question
        .tasks
        .extend(tasks.map(|(task, guest)| (task.task.clone(), guest.to_owned())));
}

/// Where the guest of a row is to be found, unless it may well be nowhere: it is still to be made, or has come to its end.
fn stands_at<'a>(name: &'a str, wanted: &Wanted, known: Option<&'a Known>) -> Option<&'a str> {
    let facts = known.and_then(|it| it.of(name));
    if let Some(aside) = facts.and_then(|it| it.aside.as_ref()) {
        return Some(&aside.found);
    }
    let made = facts.and_then(|it| it.made.as_ref());
    let is_journaled =
        made.is_some_and(|it| it.finished) || facts.is_some_and(|it| it.seen.is_some());
    let is_to_be_made = wanted.more.as_ref().is_some_and(|it| it.create.is_some());
    (is_journaled || !(wanted.destroy || is_to_be_made)).then_some(name)
}

/// Whether a row manages what only the configuration shows.
fn asks_for_more_than_power(wanted: &Wanted) -> bool {
    let Wanted {
        name,
        run: _,
        destroy,
        onboot,
        cores,
        memory,
        at: _,
        more,
    } = wanted;
    *destroy
        || name.is_some()
        || onboot.is_some()
        || cores.is_some()
        || memory.is_some()
        || more.as_ref().is_some_and(|it| {
            it.disk.is_some()
                || it.description.is_some()
                || it.tags.is_some()
                || it.overwrite.is_some()
        })
}

/// Where a guest stands afterwards, when that is elsewhere.
fn elsewhere(action: &Action) -> Option<String> {
    match action {
        Action::DestroyGuest { guest, aside, .. } => Some(place_aside(guest, aside).to_owned()),
        Action::RestoreGuest { found, .. } | Action::PurgeGuest { found, .. } => {
            Some(found.clone())
        }
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
        | Action::OverwriteGuest { .. }
        | Action::NoteGuestUse { .. } => None,
    }
}
