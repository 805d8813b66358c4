//! `muster services check` and `muster services status`.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use muster_core::diagnostic::{Diagnostic, Diagnostics, Severity};
use muster_core::executor::Executor;
use muster_core::repo::Roster;
use muster_core::rooms;
use muster_core::services::attributions::Mark;
use muster_core::services::checks::Check;
use muster_core::services::evaluate::{Assessment, Finding, evaluate, shrunk};
use muster_core::services::lane::Lane;
use muster_core::services::names::shown;
use muster_core::services::records::{self, INVENTORY, Place, REQUESTS, Records, SERVICES};
use muster_core::services::{say, secrets};
use muster_core::time::Time;

use super::state::{Files, Read};
use crate::answers::{named_by, seen_in};
use crate::commands::check::{Format, render};
use crate::commands::{CommandError, Output, now};
use crate::exit;

/// What is checked.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    files: Files,
    /// How to say it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What is told.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    files: Files,
    /// As JSON.
    #[arg(long, value_enum, default_value_t = StatusFormat::Human)]
    format: StatusFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusFormat {
    /// For people.
    Human,
    /// For programs.
    Json,
}

pub(super) fn check(args: &CheckArgs, out: &mut Output) -> Result<u8, CommandError> {
    let files = args.files.read()?;
    let (_, assessed, problems) = assess(&args.files, &files, now())?;
    let problems = problems.and(told(&assessed));
    let failed = problems.iter().any(|it| it.severity == Severity::Error);
    out.text(&render(args.format, &problems, &without_answers(&files)))?;
    Ok(if failed { exit::FAILED } else { exit::OK })
}

pub(super) fn status(args: &StatusArgs, out: &mut Output) -> Result<u8, CommandError> {
    let files = args.files.read()?;
    let (was, assessed, problems) = assess(&args.files, &files, now())?;
    // What cannot be read is told as `check` tells it, and nothing is made of it.
    let is_missing = missing(&args.files, &files);
    if let Some(it) = &is_missing {
        let help = it.help.as_deref().unwrap_or_default();
        crate::commands::output::note(&format!("{it}\n  = {help}\n"));
    }
    let wrong = problems.errors();
    if wrong > 0 {
        crate::commands::output::note(&format!("{problems}; `muster services check` says which\n"));
    }
    out.text(&match (args.format, &was) {
        (StatusFormat::Human, None) => say::text(&assessed),
        (StatusFormat::Human, Some(was)) => say::text(&assessed) + &say::text_since(was, &assessed),
        (StatusFormat::Json, None) => say::to_json(&assessed),
        (StatusFormat::Json, Some(was)) => say::to_json_since(was, &assessed),
    })?;
    Ok(if wrong > 0 || is_missing.is_some() {
        exit::FAILED
    } else {
        exit::OK
    })
}

/// Evaluates what is there, with all that is wrong with the files themselves; and what was there before, where that is named.
fn assess(
    args: &Files,
    files: &Read,
    now: Time,
) -> Result<(Option<Assessment>, Assessment, Diagnostics), CommandError> {
    // As `muster check` reads them: guests of a hypervisor that is not known here are no file that nobody reads.
    let others = rooms::executors_of(files);
    let others: Vec<&Executor> = others.iter().collect();
    let (repo, problems) = rooms::read_as_far(files, &others);
    let absent = missing(args, files).into_iter();
    let absent = absent.chain(missing_inventory(args, files));
    let problems = problems.and(Diagnostics::new(absent.collect(), 0));
    let before = args.read_before()?;
    let Some(repo) = repo else {
        return Ok((None, Assessment::default(), problems));
    };
    let (records, roster) = (&repo.services, &repo.documents.roster);
    let before = before
        .as_ref()
        .and_then(|files| rooms::read_as_far(files, &[]).0);
    let mut attributions = args.attributions()?;
    attributions.former.extend(former(args, records, roster));
    let mut was = None;
    if let Some(before) = &before {
        let (records, roster) = (&before.services, &before.documents.roster);
        let args = args.of_before();
        let sources = args.sources(records)?;
        let mut then = attributions.clone();
        then.former.extend(former(&args, records, roster));
        let freshness = args.freshness();
        was = Some(evaluate(records, roster, &then, &sources, freshness, now));
        let names = roster.people.iter().map(|it| it.os_user.to_string());
        attributions.former.extend(names);
    }
    let versions = args.versions()?;
    let seen = seen_in(versions.as_deref().unwrap_or_default(), records);
    attributions.quarantined.extend(seen.clone());
    let sources = args.sources(records)?;
    let freshness = args.freshness();
    let mut assessed = evaluate(records, roster, &attributions, &sources, freshness, now);
    let fewer = before.and_then(|before| shrunk(&before.services, records));
    assessed.inventory.extend(fewer);
    let beside = seen.values();
    let beside = beside.filter(|it| !say::is_of_a_surface(it, &assessed));
    let mut more: Vec<Diagnostic> = beside.map(in_a_commit).collect();
    more.extend(versions.is_none().then(too_many));
    assessed.problems.extend(more);
    Ok((was, assessed, problems))
}

/// Whoever answers and reviews name, is not in the roster, and was once: an offboarding makes nothing wrong of their names (W4).
fn former(args: &Files, records: &Records<'_>, roster: &Roster<'_>) -> BTreeSet<String> {
    let mut unknown = named_by(records);
    unknown.retain(|it| roster.get(it).is_none());
    match unknown.is_empty() {
        true => unknown,
        false => args.former(unknown),
    }
}

/// What stood in a commit on the way, in a file that is no surface's.
fn in_a_commit(mark: &Mark) -> Diagnostic {
    let file = match records::place(&mark.path) {
        Some(Place::Response(_) | Place::Review(_)) => shown(&mark.path),
        // A name can be a secret, too.
        _ => SERVICES,
    };
    let rule = secrets::rule_named(&mark.rule);
    Diagnostic {
        file: file.to_owned(),
        at: None,
        severity: Severity::Error,
        rule: Check::SecretValueAbsent.row().id,
        problem: format!(
            "something secret or unredacted was in it in a commit after that of --before (rule {rule})"
        ),
        help: Some(say::ROTATE.to_owned()),
    }
}

fn too_many() -> Diagnostic {
    Diagnostic {
        file: SERVICES.to_owned(),
        at: None,
        severity: Severity::Error,
        rule: "too-many-commits",
        problem: "there are too many commits after that of --before to be looked through for secrets, of which each is kept for good".to_owned(),
        help: Some("name a later commit with --before, or squash them".to_owned()),
    }
}

/// That surfaces are asked about and nothing says how many there are: whether one was dropped cannot be told (LB10).
fn missing_inventory(args: &Files, files: &Read) -> Option<Diagnostic> {
    let is_missing = files.contains_key(REQUESTS) && !files.contains_key(INVENTORY);
    is_missing.then(|| Diagnostic {
        file: INVENTORY.to_owned(),
        at: None,
        severity: Severity::Warning,
        rule: "missing-file",
        problem: format!(
            "the file is missing in {}: nothing says when surfaces were last looked for, or that none was left out",
            args.place()
        ),
        help: Some("write the inventory there, as its tool makes it".to_owned()),
    })
}

/// That nobody asks about any surface. A repository that has nothing below `services/` is as it should be, and `check` says no more of it.
fn missing(args: &Files, files: &Read) -> Option<Diagnostic> {
    if files.contains_key(REQUESTS) {
        return None;
    }
    let has_more = files.keys().any(|it| it.starts_with(SERVICES));
    Some(Diagnostic {
        file: REQUESTS.to_owned(),
        at: None,
        severity: if has_more { Severity::Error } else { Severity::Warning },
        rule: "missing-file",
        problem: format!("the file is missing in {}: no surface is asked about", args.place()),
        help: Some("write the owner requests there, as their tool makes them ({\"request_drafts\": [...]}), or say where the state repository is".to_owned()),
    })
}

/// What was found, as diagnostics: what fails is an error, and what an owner has yet to write a warning.
fn told(assessed: &Assessment) -> Diagnostics {
    let of_surfaces = assessed.surfaces.values().flat_map(|standing| {
        standing.findings.iter().map(|finding| Diagnostic {
            file: finding.path.clone(),
            at: finding.at,
            severity: severity(finding),
            rule: say::id(finding),
            problem: say::why(finding),
            help: Some(say::help(finding)),
        })
    });
    let of_inventory = assessed.inventory.iter().map(|fault| Diagnostic {
        file: INVENTORY.to_owned(),
        at: None,
        severity: Severity::Error,
        rule: "inventory",
        problem: say::inventory(fault),
        help: None,
    });
    let all = of_surfaces
        .chain(of_inventory)
        .chain(assessed.problems.iter().cloned());
    Diagnostics::new(all.collect(), 0)
}

/// Whether something fails, or only waits for whoever answers.
fn severity(finding: &Finding) -> Severity {
    match finding.lane {
        Lane::QuarantineSecretOrRawPayload | Lane::RejectExecutionRequest => Severity::Error,
        _ if say::id(finding) == "stale" => Severity::Error,
        Lane::RequestSupplement
        | Lane::IncidentRecoveryBackfillRequired
        | Lane::WaitingOwnerResponse
        | Lane::ReadyForHostServiceReview
        | Lane::OwnerReviewOnlyUpdate
        | Lane::WaitingRuntimeGate => Severity::Warning,
    }
}

/// The files of which lines may be shown: not those that may hold a secret, which a file that its tool writes may, too (LB5).
pub(in crate::commands) fn without_answers(files: &Read) -> Read {
    let may_be_shown = |path: &str| !path.starts_with(SERVICES);
    let shown = files.iter().filter(|(path, _)| may_be_shown(path));
    shown
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect::<BTreeMap<_, _>>()
}
