//! `muster services check` and `muster services status`.

use std::collections::BTreeMap;

use clap::ValueEnum;
use muster_core::diagnostic::{Diagnostic, Diagnostics, Severity};
use muster_core::executor::Executor;
use muster_core::rooms;
use muster_core::services::evaluate::{Assessment, Finding, evaluate, shrunk};
use muster_core::services::lane::Lane;
use muster_core::services::records::{INVENTORY, REQUESTS, SERVICES};
use muster_core::services::say;
use muster_core::time::Time;

use super::state::{Files, Read};
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
    let (assessed, problems) = assess(&args.files, &files, now())?;
    let problems = problems.and(told(&assessed));
    let failed = problems.iter().any(|it| it.severity == Severity::Error);
    out.text(&render(args.format, &problems, &without_answers(&files)))?;
    Ok(if failed { exit::FAILED } else { exit::OK })
}

pub(super) fn status(args: &StatusArgs, out: &mut Output) -> Result<u8, CommandError> {
    let files = args.files.read()?;
    let (assessed, problems) = assess(&args.files, &files, now())?;
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
    out.text(&match args.format {
        StatusFormat::Human => say::text(&assessed),
        StatusFormat::Json => say::to_json(&assessed),
    })?;
    Ok(if wrong > 0 || is_missing.is_some() {
        exit::FAILED
    } else {
        exit::OK
    })
}

/// Evaluates what is there, with all that is wrong with the files themselves.
fn assess(
    args: &Files,
    files: &Read,
    now: Time,
) -> Result<(Assessment, Diagnostics), CommandError> {
    // As `muster check` reads them: guests of a hypervisor that is not known here are no file that nobody reads.
    let others = rooms::executors_of(files);
    let others: Vec<&Executor> = others.iter().collect();
    let (repo, problems) = rooms::read_as_far(files, &others);
    let problems = problems.and(Diagnostics::new(
        missing(args, files).into_iter().collect(),
        0,
    ));
    let Some(repo) = repo else {
        return Ok((Assessment::default(), problems));
    };
    let mut attributions = args.attributions()?;
    let before = args.read_before()?;
    let before = before
        .as_ref()
        .and_then(|files| rooms::read_as_far(files, &[]).0);
    if let Some(before) = &before {
        let names = before.documents.roster.people.iter();
        attributions
            .former
            .extend(names.map(|it| it.os_user.to_string()));
    }
    let sources = args.sources(&repo.services)?;
    let mut assessed = evaluate(
        &repo.services,
        &repo.documents.roster,
        &attributions,
        &sources,
        args.freshness(),
        now,
    );
    let fewer = before.and_then(|before| shrunk(&before.services, &repo.services));
    assessed.inventory.extend(fewer);
    Ok((assessed, problems))
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
