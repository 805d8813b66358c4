//! The report of the source (A1 to A12), byte for byte: what is asked, and that nothing was answered yet.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::checks::CHECKS;
use super::lane::Lane;
use super::words::{
    ACCEPTANCE_FIELDS, BLOCKED_ACTIONS, BOUNDARIES, COPIED, FLAGS, INCIDENT_FIELDS, NEXT_STEPS,
    PENDING, PENDING_TEXT, REFS, ZERO_COUNTS,
};
use crate::compat::json::{self, Value};

/// What is reported, and what the last line on standard error tells.
pub struct Report<'v> {
    /// How many surfaces were asked about.
    pub candidates: usize,
    /// How many of them can be written to.
    pub write_capable: usize,
    /// What stands before the candidates, and behind them.
    around: [Vec<u8>; 2],
    each: Vec<Candidate<'v>>,
}

/// So many bytes are written at once, about: a report of ten thousand candidates has seventy million, and is never in memory (W9).
const AT_ONCE: usize = 256 << 10;

impl Report<'_> {
    /// Writes the document, without a line break at its end: UTF-8, save where an input has half a surrogate pair. No character is cut.
    ///
    /// # Errors
    /// The first that `put` gives.
    pub fn write<E>(&self, mut put: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let [before, behind] = &self.around;
        put(before)?;
        if self.each.is_empty() {
            put(b"[]")?;
            return put(behind);
        }
        let template = Template::new();
        let mut out = Vec::with_capacity(AT_ONCE + (64 << 10));
        for (index, candidate) in self.each.iter().enumerate() {
            out.push(if index == 0 { b'[' } else { b',' });
            json::new_line(IN_CANDIDATE - 2, &mut out);
            template.write(candidate, &mut out);
            if out.len() >= AT_ONCE {
                put(&out)?;
                out.clear();
            }
        }
        json::new_line(IN_CANDIDATE - 4, &mut out);
        out.push(b']');
        put(&out)?;
        put(behind)
    }

    /// The document as a whole.
    pub fn json(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        let keep = |part: &[u8]| -> Result<(), std::convert::Infallible> {
            whole.extend_from_slice(part);
            Ok(())
        };
        match self.write(keep) {
            Ok(()) => whole,
        }
    }

    /// Whether an input has half a surrogate pair, which no encoding has. The words of the report have none, and are not looked at.
    pub fn has_half_a_pair(&self) -> bool {
        let is_half = |part: &[u8]| json::lone_surrogate(part).is_some();
        let mut each = self.each.iter();
        self.around.iter().any(|it| is_half(it))
            || each.any(|candidate| {
                let required = match &candidate.required {
                    Required::Values(items) => items.iter().any(Value::has_half_a_pair),
                    Required::Texts(items) => items.iter().any(|it| is_half(it)),
                };
                required || candidate.copied.iter().any(|it| it.has_half_a_pair())
            })
    }
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// One of the two documents is no object.
    #[error("the {0} is {1}, and an object is expected")]
    NoObject(&'static str, &'static str),
    /// The drafts are nothing that could be gone through.
    #[error("request_drafts is {0}, and a list is expected")]
    NoList(&'static str),
    /// A draft is no object.
    #[error("{draft} is {found}, and an object is expected")]
    NoDraft {
        /// Which.
        draft: String,
        /// What it is.
        found: &'static str,
    },
    /// A draft lacks a key.
    #[error("{draft} has no {key:?}")]
    MissingKey {
        /// Which.
        draft: String,
        /// The key.
        key: &'static str,
    },
    /// The fields that a draft asks for are no list.
    #[error("{draft}: required_owner_fields is {found}, and a list is expected")]
    NoFields {
        /// Which draft.
        draft: String,
        /// What it is.
        found: &'static str,
    },
}

/// The last line on standard error.
pub fn summary_line(report: &Report<'_>) -> String {
    format!(
        "HOST_SERVICE_OWNER_RESPONSE_ACCEPTANCE_OK candidates={} write_capable={} checks={} lanes={} accepted=0 runtime_gate=0\n",
        report.candidates,
        report.write_capable,
        CHECKS.len(),
        Lane::ALL.len(),
    )
}

/// Makes the report out of the inventory and the owner requests (A2 to A11). `generated_at` and `git_commit` are taken as they are.
///
/// # Errors
/// When one of them is not as the source needs it; a missing key is told with its draft.
pub fn report<'v>(
    inventory: &Value<'_>,
    requests: &'v Value<'v>,
    git_commit: &str,
    generated_at: &[u8],
) -> Result<Report<'v>, ReportError> {
    for (name, document) in [
        ("inventory report", inventory),
        ("owner request report", requests),
    ] {
        if !matches!(document, Value::Map(_)) {
            return Err(ReportError::NoObject(name, document.type_name()));
        }
    }
    let candidates = candidates(requests)?;
    let count = |is: fn(&Candidate<'_>) -> bool| candidates.iter().filter(|it| is(it)).count();
    let write_capable = count(|it| it.copied[WRITE_CAPABLE].is_true());
    let live_evidence = count(|it| it.copied[LIVE_EVIDENCE].is_true());
    let summary = summary(&candidates, write_capable, live_evidence);
    let mut out = Vec::with_capacity(64 << 10);
    // The keys of the document in the order in which they are written.
    let source = |document: &Value<'_>, key, out: &mut Vec<u8>| match document.get(key) {
        Some(value) => value.write_json(2, out),
        None => out.extend_from_slice(b"null"),
    };
    let mut before = 0;
    let mut object = Object::begin(0, &mut out);
    // The candidates themselves are written between the two halves.
    object.entry("acceptance_candidates", |_, out| before = out.len());
    object.entry("acceptance_fields", |i, out| {
        texts(i, out, &ACCEPTANCE_FIELDS)
    });
    object.entry("blocked_actions", |i, out| texts(i, out, &BLOCKED_ACTIONS));
    object.entry("execution_boundaries", boundaries);
    object.entry("generated_at", |_, out| json::write_text(generated_at, out));
    object.entry("git_commit", |_, out| {
        json::write_text(git_commit.as_bytes(), out)
    });
    object.entry("next_steps", |i, out| texts(i, out, &NEXT_STEPS));
    object.entry("outcome_lanes", |indent, out| {
        json::write_list(indent, out, Lane::ALL.iter(), |lane, indent, out| {
            pair(
                indent,
                out,
                ["lane_id", lane.id()],
                ["meaning", lane.meaning()],
            );
        });
    });
    object.entry("reviewer_checks", |indent, out| {
        json::write_list(indent, out, CHECKS.iter(), |row, indent, out| {
            pair(
                indent,
                out,
                ["check_id", row.id],
                ["instruction", row.instruction],
            );
        });
    });
    object.entry("schema_version", |_, out| json::write_text(SCHEMA, out));
    object.entry("source_inventory_schema_version", |_, out| {
        source(inventory, "schema_version", out)
    });
    object.entry("source_inventory_status", |_, out| {
        source(inventory, "status", out)
    });
    object.entry("source_owner_request_schema_version", |_, out| {
        source(requests, "schema_version", out)
    });
    object.entry("source_owner_request_status", |_, out| {
        source(requests, "status", out)
    });
    object.entry("status", |_, out| json::write_text(STATUS, out));
    object.entry("summary", |indent, out| {
        let mut object = Object::begin(indent, out);
        for (key, count) in &summary {
            object.entry(key, |_, out| {
                out.extend_from_slice(count.to_string().as_bytes())
            });
        }
        object.end();
    });
    object.end();
    let behind = out.split_off(before);
    Ok(Report {
        candidates: candidates.len(),
        write_capable,
        around: [out, behind],
        each: candidates,
    })
}

const SCHEMA: &[u8] = b"host_service_owner_response_acceptance_v1";
const STATUS: &[u8] = b"owner_response_acceptance_ledger_ready_no_runtime_action";

/// Where two of the copied values stand.
const WRITE_CAPABLE: usize = 10;
const LIVE_EVIDENCE: usize = 11;

/// What a candidate has of its own; all else is the same for every one.
struct Candidate<'v> {
    /// By the order of [`COPIED`].
    copied: [&'v Value<'v>; 12],
    required: Required<'v>,
}

/// The fields that a request asks for. Python goes through lists, through texts by their characters, and through objects by their keys.
enum Required<'v> {
    Values(&'v [Value<'v>]),
    Texts(Vec<Cow<'v, [u8]>>),
}

impl Required<'_> {
    fn len(&self) -> usize {
        match self {
            Required::Values(items) => items.len(),
            Required::Texts(items) => items.len(),
        }
    }
}

fn candidates<'v>(requests: &'v Value<'v>) -> Result<Vec<Candidate<'v>>, ReportError> {
    let drafts = match requests.get("request_drafts") {
        None => return Ok(Vec::new()),
        Some(Value::List(drafts)) => drafts,
        // Python goes through these, and finds nothing to ask for anything.
        Some(empty @ (Value::Text(_) | Value::Map(_))) if !empty.is_true() => return Ok(Vec::new()),
        Some(other) => return Err(ReportError::NoList(other.type_name())),
    };
    let each = drafts.iter().enumerate();
    each.map(|(index, draft)| candidate(index, draft)).collect()
}

fn candidate<'v>(index: usize, draft: &'v Value<'v>) -> Result<Candidate<'v>, ReportError> {
    if !matches!(draft, Value::Map(_)) {
        return Err(ReportError::NoDraft {
            draft: named(index, draft),
            found: draft.type_name(),
        });
    }
    let get = |key: &'static str| {
        let missing = || ReportError::MissingKey {
            draft: named(index, draft),
            key,
        };
        draft.get(key).ok_or_else(missing)
    };
    let mut copied = [&Value::Null; 12];
    // The surface comes first: it is what the source stops at first, too.
    get("surface_id")?;
    for (place, key) in copied.iter_mut().zip(COPIED) {
        *place = get(key)?;
    }
    let required = match get("required_owner_fields")? {
        Value::List(items) => Required::Values(items),
        Value::Text(text) => Required::Texts(json::code_points(text).map(Cow::Borrowed).collect()),
        Value::Map(entries) => Required::Texts(entries.iter().map(|it| it.key.clone()).collect()),
        other => {
            return Err(ReportError::NoFields {
                draft: named(index, draft),
                found: other.type_name(),
            });
        }
    };
    Ok(Candidate { copied, required })
}

/// A draft as a message names it: by its place, and by its ids where it has them.
fn named(index: usize, draft: &Value<'_>) -> String {
    let mut name = format!("request_drafts[{index}]");
    for key in ["request_id", "surface_id"] {
        if let Some(Value::Text(text)) = draft.get(key) {
            name += &format!(" ({key} {})", String::from_utf8_lossy(text));
            break;
        }
    }
    name
}

/// The counts, by key.
fn summary(
    candidates: &[Candidate<'_>],
    write_capable: usize,
    live_evidence: usize,
) -> BTreeMap<&'static str, usize> {
    let required = candidates
        .first()
        .map_or(0, |it| it.required.len() + INCIDENT_FIELDS.len());
    let mut counts: BTreeMap<&'static str, usize> =
        ZERO_COUNTS.iter().map(|key| (*key, 0)).collect();
    counts.extend([
        ("source_owner_request_count", candidates.len()),
        ("acceptance_candidate_count", candidates.len()),
        ("write_capable_acceptance_candidate_count", write_capable),
        ("live_evidence_required_candidate_count", live_evidence),
        ("acceptance_field_count", ACCEPTANCE_FIELDS.len()),
        ("required_owner_field_count", required),
        ("reviewer_check_count", CHECKS.len()),
        ("outcome_lane_count", Lane::ALL.len()),
        ("blocked_action_count", BLOCKED_ACTIONS.len()),
    ]);
    counts
}

fn boundaries(indent: usize, out: &mut Vec<u8>) {
    let mut sorted: BTreeMap<&str, bool> = BOUNDARIES.iter().map(|key| (*key, false)).collect();
    sorted.insert("not_authorization", true);
    let mut object = Object::begin(indent, out);
    for (key, value) in sorted {
        object.entry(key, |_, out| {
            out.extend_from_slice(value.to_string().as_bytes())
        });
    }
    object.end();
}

fn texts(indent: usize, out: &mut Vec<u8>, texts: &[&str]) {
    json::write_list(indent, out, texts.iter(), |text, _, out| {
        json::write_text(text.as_bytes(), out);
    });
}

fn pair(indent: usize, out: &mut Vec<u8>, first: [&str; 2], second: [&str; 2]) {
    let mut object = Object::begin(indent, out);
    for [key, text] in [first, second] {
        object.entry(key, |_, out| json::write_text(text.as_bytes(), out));
    }
    object.end();
}

/// An object that is being written; its entries come sorted.
struct Object<'o> {
    indent: usize,
    is_empty: bool,
    out: &'o mut Vec<u8>,
}

impl<'o> Object<'o> {
    fn begin(indent: usize, out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            indent,
            is_empty: true,
            out,
        }
    }

    fn entry(&mut self, key: &str, value: impl FnOnce(usize, &mut Vec<u8>)) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        json::new_line(self.indent + 2, self.out);
        json::write_text(key.as_bytes(), self.out);
        self.out.extend_from_slice(b": ");
        value(self.indent + 2, self.out);
    }

    fn end(self) {
        json::new_line(self.indent, self.out);
        self.out.push(b'}');
    }
}

/// How far in the entries of a candidate stand.
const IN_CANDIDATE: usize = 6;

/// A candidate, but for what it has of its own. All of it is written once, and ten thousand candidates copy it.
struct Template {
    pieces: Vec<Piece>,
}

enum Piece {
    Same(Vec<u8>),
    Id,
    Copied(usize),
    Required,
}

impl Template {
    fn new() -> Self {
        let mut entries: BTreeMap<&str, Piece> = BTreeMap::new();
        let same = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            Piece::Same(out)
        };
        let word = |text: &'static str| same(&|out| json::write_text(text.as_bytes(), out));
        let list = |texts_of: &[&str]| same(&|out| texts(IN_CANDIDATE, out, texts_of));
        entries.extend(
            COPIED
                .iter()
                .enumerate()
                .map(|(i, key)| (*key, Piece::Copied(i))),
        );
        entries.extend(PENDING.map(|key| (key, word(PENDING_TEXT))));
        entries.extend(REFS.map(|key| (key, same(&|out| out.extend_from_slice(b"null")))));
        entries.extend(FLAGS.map(|key| (key, same(&|out| out.extend_from_slice(b"false")))));
        let waiting = Lane::WaitingOwnerResponse.id();
        entries.extend([
            ("acceptance_candidate_id", Piece::Id),
            ("required_owner_fields", Piece::Required),
            ("status", word(waiting)),
            ("reviewer_outcome", word(waiting)),
            ("redacted_evidence_refs", list(&[])),
            ("acceptance_fields", list(&ACCEPTANCE_FIELDS)),
            (
                "reviewer_checks",
                list(&CHECKS.each_ref().map(|row| row.id)),
            ),
            ("outcome_lanes", list(&Lane::ALL.map(Lane::id))),
            ("blocked_actions", list(&BLOCKED_ACTIONS)),
            ("not_approval", same(&|out| out.extend_from_slice(b"true"))),
        ]);
        let mut pieces = Vec::new();
        let mut text = b"{".to_vec();
        for (index, (key, piece)) in entries.into_iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            json::new_line(IN_CANDIDATE, &mut text);
            json::write_text(key.as_bytes(), &mut text);
            text.extend_from_slice(b": ");
            match piece {
                Piece::Same(same) => text.extend_from_slice(&same),
                own @ (Piece::Id | Piece::Copied(_) | Piece::Required) => {
                    pieces.extend([Piece::Same(std::mem::take(&mut text)), own]);
                }
            }
        }
        json::new_line(IN_CANDIDATE - 2, &mut text);
        text.push(b'}');
        pieces.push(Piece::Same(text));
        Self { pieces }
    }

    fn write(&self, candidate: &Candidate<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            piece.write(candidate, out);
        }
    }
}

impl Piece {
    fn write(&self, candidate: &Candidate<'_>, out: &mut Vec<u8>) {
        match self {
            Piece::Same(text) => out.extend_from_slice(text),
            Piece::Copied(index) => candidate.copied[*index].write_json(IN_CANDIDATE, out),
            Piece::Id => {
                let mut id = b"host_service_owner_response_acceptance:".to_vec();
                candidate.copied[SURFACE].write_str(&mut id);
                json::write_text(&id, out);
            }
            Piece::Required => required(&candidate.required, out),
        }
    }
}

/// Where the surface's id stands among the copied values.
const SURFACE: usize = 1;

fn required(required: &Required<'_>, out: &mut Vec<u8>) {
    let more = INCIDENT_FIELDS.map(str::as_bytes);
    match required {
        Required::Values(items) => {
            let more: Vec<Value<'_>> = more.map(|it| Value::Text(Cow::Borrowed(it))).into();
            let all: Vec<&Value<'_>> = items.iter().chain(&more).collect();
            json::write_list(IN_CANDIDATE, out, all.into_iter(), |it, i, out| {
                it.write_json(i, out)
            });
        }
        Required::Texts(items) => {
            let all: Vec<&[u8]> = items.iter().map(|it| &**it).chain(more).collect();
            json::write_list(IN_CANDIDATE, out, all.into_iter(), |it, _, out| {
                json::write_text(it, out)
            });
        }
    }
}
