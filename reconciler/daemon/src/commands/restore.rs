//! `muster restore`: brings back somebody who was archived, or a guest that was set aside, by the very step that a cycle plans.

use muster_core::accounts::facts::PersonFacts;
use muster_core::diagnostic::visible;
use muster_core::executor::Executor;
use muster_core::gate::{Approvals, PENDING_SIGNATURE, judge};
use muster_core::guests::facts::Known;
use muster_core::guests::verbs::Verb;
use muster_core::people::Stage;
use muster_core::rooms;

use super::here::TheOne;
use super::{CommandError, Common, Output, plan};
use crate::exit;
use crate::state_dir::{Lock, Purpose, poke};

/// Whom, or which guest.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Their name in the roster; or a guest that is set aside, as `guests/NAME/VMID`.
    user: String,
    #[command(flatten)]
    here: TheOne,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    super::start_log(&settings, common);
    let (hypervisor, user) = which(&args.user)?;
    let here = match hypervisor {
        Some(executor) => TheOne::executor(executor).of(&settings)?,
        None => args.here.of(&settings)?,
    };
    let Some(ground) = plan::plan_now(&here, &settings)? else {
        return Err(CommandError::Refused(
            "there is no valid commit to plan by; see `muster status`".into(),
        ));
    };
    if let Some(why) = &ground.refused {
        out.line(format_args!("note     {}", visible(why)))?;
    }
    let is_way_back = |action: &rooms::Action| match action {
        rooms::Action::Account(it) => it.is_way_back() && it.user() == user,
        rooms::Action::Guest(it) => it.verb() == Verb::Restore && it.guest() == user,
    };
    let steps = ground.plan.steps().iter();
    if !steps.clone().any(|it| is_way_back(&it.step.action)) {
        if let Some(known) = ground.facts.known.guests() {
            return guest_not_planned(user, known, &ground, out);
        }
        let Some(person) = ground.facts.known.accounts().people.get(user) else {
            return Err(CommandError::Refused(format!(
                "nobody called {} was ever kept on this host",
                visible(user)
            )));
        };
        return not_planned(user, person, &ground, out);
    }
    let moment = ground.moment.now;
    let bounds = ground
        .plan
        .bounds(&ground.policy, &ground.observed, &ground.facts, moment);
    let approvals = Approvals::of_begun(&ground.facts);
    let verdict = judge(&ground.plan, &bounds, &ground.facts, &approvals, moment);
    let mut code = exit::OK;
    for planned in steps.filter(|it| is_way_back(&it.step.action)) {
        let step = &planned.step;
        match verdict.held.iter().find(|it| it.step.id == step.id) {
            None => out.line(format_args!("planned  {} {}", step.id, step.words()))?,
            Some(held) => {
                code = exit::FAILED;
                out.line(format_args!(
                    "waits    {} {}: {}",
                    step.id,
                    step.words(),
                    visible(&held.reason.to_string())
                ))?;
                if held.reason.code() == PENDING_SIGNATURE {
                    out.line(format_args!(
                        "         muster release propose {} --sign --push",
                        step.id
                    ))?;
                }
            }
        }
    }
    if code != exit::OK {
        return Ok(code);
    }
    let state = here.state();
    match Lock::holder(&state)? {
        Some(holder) if holder.command == Purpose::Run.word() => {
            let pid = poke(&state)?;
            out.line(format_args!(
                "Told process {pid} to look now; it runs them."
            ))?;
        }
        _ => out.line("No daemon is at work: `muster run --once` runs them.")?,
    }
    Ok(exit::OK)
}

/// Somebody of the roster, or `guests/NAME/VMID`.
fn which(text: &str) -> Result<(Option<Executor>, &str), CommandError> {
    let Some((hypervisor, guest)) = text.rsplit_once('/') else {
        return Ok((None, text));
    };
    match hypervisor.parse() {
        Ok(executor @ Executor::Guests(_)) => Ok((Some(executor), guest)),
        Ok(Executor::Host(_) | Executor::Cluster(_) | Executor::Ca(_)) | Err(_) => {
            Err(CommandError::Usage(format!(
                "`{}` is neither somebody's name nor a guest: a guest is named like guests/pve1/104",
                visible(text)
            )))
        }
    }
}

/// Why nothing brings a guest back, and what would (H7).
fn guest_not_planned(
    guest: &str,
    known: &Known,
    ground: &plan::Now,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let executor = &ground.facts.executor;
    let Some(facts) = known.guests.get(guest) else {
        return Err(CommandError::Refused(format!(
            "nothing was ever done to a guest {} on {executor}",
            visible(guest)
        )));
    };
    let Some(aside) = &facts.aside else {
        if let Some(backup) = facts.backups.last() {
            out.line(format_args!("backup   {}, of {}", backup.backup, backup.at))?;
        }
        out.line(format_args!(
            "{guest} is not set aside on {executor}; nothing is to be restored."
        ))?;
        return Ok(exit::OK);
    };
    for note in ground.plan.notes() {
        let note = note.to_string();
        let mut words = note.split_whitespace();
        if words.any(|word| word.trim_end_matches([':', ',']) == guest) {
            out.line(format_args!("note     {}", visible(&note)))?;
        }
    }
    out.line(format_args!(
        "{guest} was set aside on {}, as {}. Nothing brings it back at commit {}: in {executor}.yaml its row says `destroy: true`, \
         or there is none. A row without it, by a pull request, and it is planned:\n\n  {guest}: {{run: running}}",
        aside.since,
        visible(&aside.called),
        ground.head.short()
    ))?;
    Ok(exit::FAILED)
}

/// Why nothing brings them back, and what would.
fn not_planned(
    user: &str,
    person: &PersonFacts,
    ground: &plan::Now,
    out: &mut Output,
) -> Result<u8, CommandError> {
    if matches!(
        person.stage,
        Stage::Active | Stage::Parked | Stage::Disabled
    ) {
        out.line(format_args!("{user} is here; nothing is to be restored."))?;
        return Ok(exit::OK);
    }
    let notes = ground.plan.notes().iter().map(ToString::to_string);
    let about: Vec<String> = notes
        .filter(|note| {
            note.split_whitespace()
                .any(|word| word.trim_end_matches([':', ',']) == user)
        })
        .collect();
    for note in &about {
        out.line(format_args!("note     {}", visible(note)))?;
    }
    out.line(format_args!(
        "Nothing brings {user} back at commit {}. When roster.yaml has no row for them, add one, by a pull request, and it \
         is planned:\n\n  {user}: {{authentik_user: {}, k8s_user: {}, tier: power-user}}  # the tier is yours to choose",
        ground.head.short(),
        person.authentik_user,
        person.k8s_user
    ))?;
    Ok(exit::FAILED)
}
