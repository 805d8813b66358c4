//! `muster release list`: what became of releases here, and what is still open.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::diagnostic::visible;
use muster_core::facts::Facts;
use muster_core::release::admit::Release;
use muster_core::release::claim::{Claim, Progress};
use muster_core::release::root::TrustRoot;
use muster_core::release::tag::Tag;
use muster_core::release::{Code, ObjectKind, RELEASES, Signed, authenticate};
use muster_core::report::{Paper, Tint};
use muster_core::time::Time;
use serde_json::{Value, json};

use super::super::here::{self, Those};
use super::super::status::Format;
use super::super::{CommandError, Common, Output, now, output, trust};
use super::{Look, origin_of, root_here};
use crate::exit;
use crate::paint::paper;
use crate::settings::{ExecutorSettings, Settings};
use crate::state_dir::StateError;

/// How many tags that nobody who may signed are listed.
const MOST_REFUSED: usize = 1_000;

/// How.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// One release.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    state: &'static str,
    tag: String,
    /// None where its signature is not good.
    nonce: Option<String>,
    principals: Vec<String>,
    not_before: Option<Time>,
    not_after: Option<Time>,
    reason: Option<String>,
    steps: usize,
    done: usize,
    failed: usize,
    code: Option<Code>,
    why: Option<String>,
}

pub(super) fn run(
    args: &Args,
    those: &Those,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    let mut all = those.of(&settings)?;
    if matches!(args.format, Format::Json) {
        // One document, of one executor.
        all = vec![here::only(all)?];
    }
    here::for_each(&all, out, |here, out| list(here, &settings, args, out))
}

fn list(
    here: &ExecutorSettings,
    settings: &Settings,
    args: &Args,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let Some(facts) = trust::facts(here) else {
        // Says what is the matter with the state.
        here.state().identity()?;
        return Err(StateError::NotInitialised(here.dir.clone()).into());
    };
    let root = match root_here(settings, std::slice::from_ref(here)) {
        Ok(root) => root,
        Err(why) => {
            output::note(&format!("warning: {why}\n"));
            None
        }
    };
    if root.is_none() {
        output::note("warning: no trust root is in force, so none of these counts\n");
    }
    let mut tags = BTreeMap::new();
    match Look::at(
        &origin_of(settings, None)?,
        &settings.state.branch,
        &settings.state.reader,
    ) {
        Ok(mut look) => {
            let names: Vec<String> = look.heads.tags.keys().cloned().collect();
            for name in names.into_iter().filter(|it| it.starts_with(RELEASES)) {
                if let Ok(Some(raw)) = look.tag(&name) {
                    tags.insert(name, raw);
                }
            }
        }
        Err(error) => output::note(&format!(
            "warning: only what is remembered is listed: {error}\n"
        )),
    }
    let executor = here.executor.to_string();
    let now = now();
    let seen: Vec<PresentTag> = tags
        .iter()
        .map(|(name, raw)| PresentTag::of(name, raw.kind, &raw.bytes, root.as_deref(), now))
        .collect();
    let rows = rows(&facts, seen, &executor, now);
    match args.format {
        Format::Human if rows.is_empty() => out.line("No releases.")?,
        Format::Human => {
            for row in &rows {
                out.text(&text(row, now, paper()))?;
            }
        }
        Format::Json => {
            let all: Vec<Value> = rows.iter().map(as_json).collect();
            out.line(format_args!(
                "{:#}",
                json!({ "format": 1, "releases": all })
            ))?;
        }
    }
    Ok(exit::OK)
}

/// A tag that is there now.
enum PresentTag {
    Signed(Box<Signed>),
    Refused(Row),
}

impl PresentTag {
    fn of(name: &str, kind: ObjectKind, bytes: &[u8], root: Option<&TrustRoot>, now: Time) -> Self {
        match authenticate(name, kind, bytes, root, now) {
            Ok(signed) => Self::Signed(Box::new(signed)),
            Err(refusal) => {
                let tag = Tag::parse(bytes).ok();
                let statement = tag.and_then(|it| {
                    muster_core::release::statement::Statement::parse(it.message).ok()
                });
                Self::Refused(Row {
                    state: "refused",
                    tag: name.trim_start_matches("refs/tags/").to_owned(),
                    nonce: None,
                    principals: Vec::new(),
                    not_before: statement.as_ref().map(|it| it.not_before),
                    not_after: statement.as_ref().map(|it| it.not_after),
                    reason: None,
                    steps: 0,
                    done: 0,
                    failed: 0,
                    code: Some(refusal.code),
                    why: Some(refusal.why),
                })
            }
        }
    }
}

/// Those of this executor, newest first: what it remembers, and what is there now and it does not.
fn rows(facts: &Facts, seen: Vec<PresentTag>, executor: &str, now: Time) -> Vec<Row> {
    let mut signed = Vec::new();
    let mut strangers = Vec::new();
    for it in seen {
        match it {
            PresentTag::Signed(it) => signed.push(*it),
            PresentTag::Refused(row) => strangers.push(row),
        }
    }
    let there = Release::group(signed);
    let named: BTreeSet<String> = there.iter().map(Release::digest).collect();
    // A tag of somebody whose key was dropped since is no longer theirs, and is still what was used.
    let known_tags: BTreeSet<&str> = facts
        .claims
        .values()
        .flat_map(|it| it.tags.iter().map(String::as_str))
        .chain(facts.refused.iter().map(|it| it.tag.as_str()))
        .collect();
    let still_there: BTreeSet<String> = strangers.iter().map(|it| it.tag.clone()).collect();
    let mut rows: Vec<(Time, Row)> = Vec::new();
    for claim in facts.claims.values() {
        rows.push((claim.at, of_claim(claim)));
    }
    for release in &there {
        let statement = &release.first().statement;
        let Some(lines) = statement.blocks.get(executor) else {
            continue;
        };
        let digest = release.digest();
        if facts.claims.values().any(|it| it.statement == digest) {
            continue;
        }
        let refused = facts.refused.iter().find(|it| it.statement == digest);
        let replayed = facts.claims.contains_key(&release.nonce());
        let (state, code, why) = match refused {
            _ if now > statement.not_after => ("expired", Some(Code::Expired), None),
            _ if replayed => ("refused", Some(Code::Replay), None),
            // Nothing is wrong with it: somebody else has to sign, too (F31).
            Some(it) if it.code.waits() => ("waiting", Some(it.code), Some(it.why.clone())),
            Some(it) => ("refused", Some(it.code), Some(it.why.clone())),
            None => ("open", None, None),
        };
        rows.push((
            statement.not_before,
            Row {
                state,
                tag: release.tags().swap_remove(0),
                nonce: Some(release.nonce().to_string()),
                principals: release.principals(),
                not_before: Some(statement.not_before),
                not_after: Some(statement.not_after),
                reason: Some(statement.reason.clone()),
                steps: lines.len(),
                done: 0,
                failed: 0,
                code,
                why,
            },
        ));
    }
    for it in facts
        .refused
        .iter()
        .filter(|it| !named.contains(&it.statement))
    {
        if still_there.contains(&it.tag) {
            // Told below, with the reason that counts now.
            continue;
        }
        rows.push((
            facts.latest,
            Row {
                state: "cancelled",
                tag: it.tag.clone(),
                nonce: Some(it.nonce.to_string()),
                principals: it.principals.clone(),
                not_before: None,
                not_after: None,
                reason: None,
                steps: 0,
                done: 0,
                failed: 0,
                code: Some(it.code),
                why: Some(it.why.clone()),
            },
        ));
    }
    rows.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.tag.cmp(&other.tag)));
    let mut rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let claimed: BTreeSet<&str> = known_tags
        .into_iter()
        .filter(|it| {
            facts
                .claims
                .values()
                .any(|claim| claim.tags.iter().any(|tag| tag == it))
        })
        .collect();
    strangers.retain(|it| !claimed.contains(it.tag.as_str()));
    rows.extend(strangers.into_iter().take(MOST_REFUSED));
    rows
}

fn of_claim(claim: &Claim) -> Row {
    let count = |wanted: Progress| claim.steps.values().filter(|it| **it == wanted).count();
    Row {
        state: if claim.finished { "used" } else { "claimed" },
        tag: claim.tags.first().cloned().unwrap_or_default(),
        nonce: Some(claim.nonce.to_string()),
        principals: claim.principals.clone(),
        not_before: None,
        not_after: Some(claim.not_after),
        reason: Some(claim.reason.clone()),
        steps: claim.steps.len(),
        done: count(Progress::Done),
        failed: count(Progress::Failed),
        code: None,
        why: None,
    }
}

fn as_json(row: &Row) -> Value {
    let time = |it: Option<Time>| it.map(|it| it.to_string());
    json!({
        "state": row.state,
        "tag": row.tag,
        "nonce": row.nonce,
        "principals": row.principals,
        "not_before": time(row.not_before),
        "not_after": time(row.not_after),
        "reason": row.reason,
        "steps": row.steps,
        "done": row.done,
        "failed": row.failed,
        "code": row.code,
        "why": row.why,
    })
}

fn text(row: &Row, now: Time, paper: Paper) -> String {
    let state = match row.state {
        "refused" => paper.tint(Tint::Alarm, "refused"),
        "open" | "waiting" | "claimed" => paper.tint(Tint::Warn, row.state),
        other => other.to_owned(),
    };
    let mut out = format!("{state}  {}\n", visible(&row.tag));
    let mut line = |text: String| out.push_str(&format!("    {text}\n"));
    if let (Some(code), why) = (row.code, &row.why) {
        match why {
            Some(why) => line(format!("{code}: {}", visible(why))),
            None => line(code.to_string()),
        }
    }
    if row.nonce.is_some() {
        let reason = row.reason.as_deref().unwrap_or_default();
        line(format!(
            "signed by {}{}{}",
            row.principals.join(", "),
            if reason.is_empty() { "" } else { ": " },
            visible(reason)
        ));
    }
    match row.state {
        "open" | "waiting" | "refused" => {
            if let Some(left) = row.not_after.map(|it| it.0 - now.0).filter(|it| *it > 0) {
                line(format!("{} h {} min left", left / 3_600, left / 60 % 60));
            }
        }
        "used" | "claimed" => line(format!(
            "{} of {} steps done, {} failed",
            row.done, row.steps, row.failed
        )),
        _ => {}
    }
    out
}
