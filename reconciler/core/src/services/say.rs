//! What people read about owner responses. Nothing that an answer or a review says is repeated: the words are ours, and those of the
//! roster and the requests.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attributions::{Attribution, Identity, Mark};
use super::checks::Check;
use super::evaluate::{Assessment, Cause, Finding, Gone, InventoryFault, Stale, SurfaceStatus};
use super::lane::Lane;
use super::names::shown;
use super::records::{INVENTORY, Place, place as place_of};
use super::secrets;

/// Where a finding is.
pub fn place(finding: &Finding) -> String {
    match finding.at {
        Some(at) => format!("{}:{at}", finding.path),
        None => finding.path.clone(),
    }
}

/// The name under which a finding is told: that of its check, or that it is stale.
pub fn id(finding: &Finding) -> &'static str {
    match finding.cause {
        Cause::Stale(_) => "stale",
        _ => finding.check.row().id,
    }
}

/// Why a check does not hold, as one sentence.
pub fn why(finding: &Finding) -> String {
    let Finding {
        check,
        lane: _,
        cause,
        field,
        path: _,
        at: _,
    } = finding;
    match cause {
        Cause::Secret { rule } => format!("something secret or unredacted is in it (rule {rule})"),
        Cause::Request if *field == "not_approval" => {
            "it claims to be an approval, and an answer is none".to_owned()
        }
        Cause::Request => "it asks for something to be run".to_owned(),
        Cause::Incident => format!("it touches an incident, and {field} is missing"),
        Cause::Missing => format!("{field} is missing"),
        Cause::Form if field.is_empty() => "the file cannot be read".to_owned(),
        Cause::Form => format!("{field} has not the form of a reference"),
        Cause::Differs if *check == Check::RestartWindowSeparateFromAction => {
            "restart_window is the maintenance window".to_owned()
        }
        Cause::Differs => format!("{field} is not what was asked about"),
        Cause::Person { name, gone } => format!("{field}: {name} {}", of(*gone)),
        Cause::Unattributed => format!("no forge and no signed tag says whom {field} stands for"),
        Cause::OtherIdentity if *field == "reviewer" => {
            "whoever brought the review is not the reviewer whom it names".to_owned()
        }
        Cause::OtherIdentity => "whoever brought the answer is none of its owners".to_owned(),
        Cause::Unsettled => "the forge_user of whoever it names changes with this very proposal, and counts once that is merged".to_owned(),
        Cause::Delegation => {
            "the delegation is over, or is for another surface, or of nobody".to_owned()
        }
        Cause::Undelegated => {
            "no owner stands behind the delegation: who brought it is whom it names".to_owned()
        }
        Cause::DelegationTooLong => {
            "the delegation's last day lies more than 365 days ahead".to_owned()
        }
        Cause::Written if field.is_empty() => {
            "the file has something here that is no field of it, is there twice, or is not written as it has to be"
                .to_owned()
        }
        Cause::Written => format!("{field} is not written as it has to be"),
        Cause::Nobody => format!("{field}: nobody of the roster has this name"),
        Cause::Reviewer => "the reviewer is who answered".to_owned(),
        Cause::OnlyOwner => "the reviewer is the only owner".to_owned(),
        Cause::OtherResponse => "the review is of another answer than the present one".to_owned(),
        Cause::ExtraReview => {
            "the surface can be written to, and the review does not say that it looked further"
                .to_owned()
        }
        Cause::AskedFor => "the reviewer asks for more".to_owned(),
        Cause::Stale(Stale::OtherContent) => {
            "stale: it is about another content than the request".to_owned()
        }
        Cause::Stale(Stale::Changed) => {
            "stale: the configuration is not what it was when it was asked about".to_owned()
        }
        Cause::Stale(Stale::Removed) => "stale: the configuration is not there any more".to_owned(),
        Cause::Stale(Stale::Over) => "stale: its last day is over".to_owned(),
        Cause::Stale(Stale::TooLong) => {
            "stale: its last day lies more than 365 days ahead".to_owned()
        }
    }
}

/// What to do about it.
pub fn help(finding: &Finding) -> String {
    let write = finding.check.row().write;
    match &finding.cause {
        Cause::Secret { .. } => ROTATE.to_owned(),
        Cause::Person { gone: Gone::Leaving, .. } => "name somebody else of the roster, and have them answer".to_owned(),
        Cause::Person { .. } => "name somebody else of the roster, or wait until they are back".to_owned(),
        Cause::Stale(Stale::Over | Stale::TooLong) => "answer again, with valid_until within 365 days".to_owned(),
        Cause::Stale(Stale::OtherContent) => "look at the configuration again, and answer with the request's repo_sha256".to_owned(),
        Cause::Stale(Stale::Changed | Stale::Removed) => "have the surface asked about again, and answer anew".to_owned(),
        Cause::OtherResponse => "review it again: response_sha256 is the SHA-256 of the answer's file".to_owned(),
        Cause::Reviewer | Cause::OnlyOwner => "have somebody else review it".to_owned(),
        Cause::Delegation => "renew the delegation: to, until and scope".to_owned(),
        Cause::Undelegated => "have an owner approve the pull request as it is, or sign a tag".to_owned(),
        Cause::Written => "`muster services check` says against which rule it is; `muster schema` has the fields and their forms".to_owned(),
        Cause::Nobody => "write the os_user of a person of roster.yaml".to_owned(),
        Cause::DelegationTooLong => "write an until within 365 days".to_owned(),
        Cause::Unattributed => "bring the file by a pull request of the forge account that the person's forge_user names, have it approve the pull request as it is, or sign a tag".to_owned(),
        Cause::OtherIdentity => "have the person open the pull request with the account that their forge_user names, or approve it as it is, or sign a tag".to_owned(),
        Cause::Unsettled => "change the roster in a pull request of its own first".to_owned(),
        Cause::AskedFor => "add what the reviewer asks for".to_owned(),
        Cause::Missing | Cause::Incident if !finding.field.is_empty() && !write.starts_with(finding.field) => format!("write {}", finding.field),
        Cause::Request | Cause::Incident | Cause::Missing | Cause::Form | Cause::Differs | Cause::ExtraReview => write.to_owned(),
    }
}

fn of(gone: Gone) -> &'static str {
    match gone {
        Gone::Leaving => "is an owner leaving, or has left",
        Gone::Parked => "is parked",
        Gone::Disabled => "is disabled",
        Gone::Expired => "is past the last valid day",
    }
}

/// What is wrong with an inventory.
pub fn inventory(fault: &InventoryFault) -> String {
    match fault {
        InventoryFault::Undated => format!(
            "{INVENTORY} does not say when it was made: generated_at, in ISO 8601 with an offset"
        ),
        InventoryFault::Old { days, most } => {
            format!("{INVENTORY} is {days} days old, and may be {most}; make it anew")
        }
        InventoryFault::Ahead { days } => format!(
            "{INVENTORY} says that it was made {days} days from now, and would never grow old: generated_at is the moment when it was made"
        ),
        InventoryFault::Fewer { before, now } => {
            format!(
                "there are {now} surfaces where there were {before}: more than a fifth is gone; no lane changes until that is made good"
            )
        }
    }
}

/// A lane before and after, where both are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The surface.
    pub surface: &'a str,
    /// Its lane before; `None` where it was not asked about.
    pub before: Option<Lane>,
    /// Its lane after; `None` where it is not asked about any more.
    pub after: Option<Lane>,
    /// How it stands after.
    pub standing: Option<&'a SurfaceStatus>,
}

/// What differs between two assessments: lanes, and what keeps surfaces in them.
pub fn changes<'a>(before: &'a Assessment, after: &'a Assessment) -> Vec<Change<'a>> {
    let ids = before.surfaces.keys().chain(after.surfaces.keys());
    let ids: std::collections::BTreeSet<&String> = ids.collect();
    let change = |id: &'a String| {
        let (old, new) = (before.surfaces.get(id), after.surfaces.get(id));
        let same = match (old, new) {
            (Some(old), Some(new)) => old.lane == new.lane && causes(old) == causes(new),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        (!same).then(|| Change {
            surface: id,
            before: old.map(|it| it.lane),
            after: new.map(|it| it.lane),
            standing: new,
        })
    };
    ids.into_iter().filter_map(change).collect()
}

fn causes(standing: &SurfaceStatus) -> Vec<(Check, &Cause, &str)> {
    standing
        .findings
        .iter()
        .map(|it| (it.check, &it.cause, it.field))
        .collect()
}

/// One change as a line: the lane before, and after.
pub fn change(change: &Change<'_>) -> String {
    let Change {
        surface,
        before,
        after,
        standing,
    } = change;
    let lane = |it: &Option<Lane>, none: &'static str| it.map_or(none, Lane::id);
    let mut line = format!(
        "`{surface}`: from `{}` to `{}`",
        lane(before, "not asked about"),
        lane(after, "not asked about any more")
    );
    if let Some(by) = standing.and_then(|it| it.by.as_ref()) {
        line.push_str(&signer(by));
    }
    line
}

/// Whose word it is, and where they gave it (LB9).
fn signer(by: &Attribution) -> String {
    let Attribution {
        by,
        on,
        review,
        key,
    } = by;
    let number = on.strip_prefix("pull/");
    match by {
        Identity::Forge(account) => {
            let place = match (number, review) {
                (Some(number), Some(review)) => {
                    format!(" (review {review} of pull request {number})")
                }
                (Some(number), None) => format!(" (pull request {number})"),
                (None, _) => String::new(),
            };
            format!(", by the forge account `{}`{place}", code(account))
        }
        Identity::Key(person) => {
            let key = key.as_deref().unwrap_or("unknown");
            format!(", by the key `{key}` of `{person}`")
        }
    }
}

/// What stands between a surface and a better lane: one line a finding.
pub fn finding(finding: &Finding) -> String {
    format!(
        "`{}` at `{}`: {}; {}",
        id(finding),
        place(finding),
        why(finding),
        help(finding)
    )
}

/// The text for a terminal.
pub fn text(assessment: &Assessment) -> String {
    let mut out = String::new();
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for (id, standing) in &assessment.surfaces {
        *counts.entry(standing.lane.id()).or_default() += 1;
        let stale = if standing.is_stale() { " (stale)" } else { "" };
        let _ = writeln!(out, "{id}: {}{stale}", standing.lane.id());
        for it in &standing.findings {
            let _ = writeln!(out, "    {} [{}]: {}", place(it), self::id(it), why(it));
            let _ = writeln!(out, "      = {}", help(it));
        }
    }
    for fault in &assessment.inventory {
        let _ = writeln!(out, "{}", inventory(fault));
    }
    let total = assessment.surfaces.len();
    let told: Vec<String> = counts
        .iter()
        .map(|(lane, count)| format!("{count} {lane}"))
        .collect();
    let _ = writeln!(
        out,
        "{total} surfaces{}{}",
        if told.is_empty() { "" } else { ": " },
        told.join(", ")
    );
    out.push_str("A lane permits nothing: whoever acts does so elsewhere.\n");
    out
}

/// What a terminal shows below it of how that differs from an assessment before.
pub fn text_since(before: &Assessment, after: &Assessment) -> String {
    let mut out = "\nWhat differs from --before:\n".to_owned();
    let all = changes(before, after);
    for it in &all {
        // Backticks are for a page that makes code of them.
        let _ = writeln!(out, "    {}", change(it).replace('`', ""));
    }
    match all.is_empty() {
        true => out + "    nothing\n",
        false => out,
    }
}

/// The same for programs. Keys are only ever added.
pub fn to_json(assessment: &Assessment) -> String {
    json_since(None, assessment)
}

/// The same, with the lane that each surface had before, and the surfaces that are not asked about any more.
pub fn to_json_since(before: &Assessment, after: &Assessment) -> String {
    json_since(Some(before), after)
}

fn json_since(before: Option<&Assessment>, assessment: &Assessment) -> String {
    let lane_before = |id: &str| before.map(|it| it.surfaces.get(id).map(|it| it.lane.id()));
    let finding = |it: &Finding| {
        json!({
            "check": id(it),
            "lane": it.lane.id(),
            "file": it.path,
            "line": it.at.map(|at| at.line),
            "column": it.at.map(|at| at.column),
            "field": (!it.field.is_empty()).then_some(it.field),
            "why": why(it),
            "help": help(it),
        })
    };
    let surfaces: serde_json::Map<String, Value> = assessment
        .surfaces
        .iter()
        .map(|(id, it)| {
            let findings: Vec<Value> = it.findings.iter().map(finding).collect();
            let mut standing = json!({ "lane": it.lane.id(), "stale": it.is_stale(), "by": it.by.as_ref().map(|it| &it.by), "signed": it.by, "findings": findings });
            if let Some(before) = lane_before(id) {
                standing["before"] = json!(before);
            }
            (id.clone(), standing)
        })
        .collect();
    let inventory: Vec<String> = assessment.inventory.iter().map(inventory).collect();
    let mut whole = json!({ "surfaces": surfaces, "inventory": inventory, "runtime_gate": 0, "not_authorization": true });
    if let Some(before) = before {
        let gone = before.surfaces.iter();
        let gone = gone.filter(|(id, _)| !assessment.surfaces.contains_key(*id));
        let gone = gone.map(|(id, it)| (id.clone(), json!(it.lane.id())));
        whole["gone"] = gone.collect::<serde_json::Map<_, _>>().into();
    }
    format!("{whole:#}\n")
}

/// What a comment tells of two assessments: nothing where nothing differs and nothing is wrong.
pub fn told(before: &Assessment, after: &Assessment) -> Option<AnswersSection> {
    let of_inventory: Vec<&InventoryFault> = after
        .inventory
        .iter()
        .filter(|it| !before.inventory.contains(it))
        .collect();
    let problems: Vec<String> = after
        .problems
        .iter()
        .filter(|it| !before.problems.contains(it))
        .map(|it| match (&it.help, it.at) {
            (help, Some(at)) => format!(
                "`{}:{at}`: {} ({}){}",
                it.file,
                it.problem,
                it.rule,
                helped(help.as_deref())
            ),
            (help, None) => format!(
                "`{}`: {} ({}){}",
                it.file,
                it.problem,
                it.rule,
                helped(help.as_deref())
            ),
        })
        .collect();
    let mut told = AnswersSection::default();
    if of_inventory.is_empty() {
        for it in changes(before, after) {
            let findings = it.standing.map_or(&[][..], |it| &it.findings);
            told.is_refused |= is_refusal(it.after);
            told.items
                .push((change(&it), findings.iter().map(finding).collect()));
        }
    }
    let changed = told.items.len();
    told.is_refused |= !of_inventory.is_empty() || !problems.is_empty();
    told.items.extend(
        of_inventory
            .into_iter()
            .map(|it| (inventory(it), Vec::new())),
    );
    told.items
        .extend(problems.into_iter().map(|it| (it, Vec::new())));
    if told.items.is_empty() {
        return None;
    }
    told.line = match (told.is_refused, changed) {
        (true, _) => REFUSED.to_owned(),
        (false, 1) => "owner responses: 1 surface changes".to_owned(),
        (false, many) => format!("owner responses: {many} surfaces change"),
    };
    Some(told)
}

fn helped(help: Option<&str>) -> String {
    help.map_or_else(String::new, |it| format!("; {it}"))
}

/// Whether a proposal that leads there is not to be merged: what it holds must not get further, or asks for what no answer may.
fn is_refusal(lane: Option<Lane>) -> bool {
    match lane {
        Some(Lane::QuarantineSecretOrRawPayload | Lane::RejectExecutionRequest) => true,
        Some(
            Lane::WaitingOwnerResponse
            | Lane::RequestSupplement
            | Lane::IncidentRecoveryBackfillRequired
            | Lane::ReadyForHostServiceReview
            | Lane::OwnerReviewOnlyUpdate
            | Lane::WaitingRuntimeGate,
        )
        | None => false,
    }
}

/// That a proposal has too many commits to be looked through.
pub const TOO_MANY_COMMITS: &str = "this proposal has too many commits to be looked through for secrets, of which each is kept for good; squash them, or propose less at a time";

/// That the commits of a proposal could not be looked through.
pub const COMMITS_UNREAD: &str = "the commits of this proposal could not be looked through for secrets; the bot's log says why, and it is tried again with the next push";

/// Something that stands between two backticks, whatever it is (LB11).
fn code(text: &str) -> String {
    let plain = |c: char| match c {
        '`' | '|' | '\\' => '?',
        c if c.is_ascii_graphic() => c,
        _ => '?',
    };
    text.chars().map(plain).collect()
}

/// Whether a quarantine is told of with its surface.
pub fn is_of_a_surface(mark: &Mark, assessment: &Assessment) -> bool {
    match place_of(&mark.path) {
        Some(Place::Response(surface) | Place::Review(surface)) => {
            assessment.surfaces.contains_key(surface)
        }
        Some(Place::Inventory | Place::Requests | Place::Elsewhere) | None => false,
    }
}

/// A quarantine of a file that is no surface's, or not any more.
pub fn mark(mark: &Mark) -> String {
    // A name can be a secret, too.
    let path = match place_of(&mark.path) {
        Some(Place::Response(_) | Place::Review(_) | Place::Inventory | Place::Requests) => {
            shown(&mark.path)
        }
        Some(Place::Elsewhere) | None => "a file below services/",
    };
    let rule = secrets::rule_named(&mark.rule);
    format!(
        "`{path}`: something secret or unredacted was in it in a commit of this proposal (rule {rule}); {ROTATE}"
    )
}

/// Whoever deletes the line has deleted nothing (LB8).
pub const ROTATE: &str =
    "rotate it; deleting the line does not help, for the commit, refs/pull and every clone keep it";

/// That nothing can be told of them: what a branch shows in place of lanes.
pub const UNTOLD: &str = "what becomes of them is not told, as the roster that the merge gives cannot be read; mend it first";

/// What a comment tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswersSection {
    /// Each with what there is to say about it.
    pub items: Vec<(String, Vec<String>)>,
    /// Whether the proposal is not to be merged.
    pub is_refused: bool,
    /// The same in a few words.
    pub line: String,
}

impl AnswersSection {
    /// With more that keeps the proposal from being merged.
    #[must_use]
    pub fn refused(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.items
            .extend(more.into_iter().map(|it| (it, Vec::new())));
        self.is_refused = true;
        REFUSED.clone_into(&mut self.line);
        self
    }
}

const REFUSED: &str = "owner responses: refused";
