//! The files below `services/` of a state repository (W3): what is asked, what was answered, and what came of a review.
//!
//! | file | what |
//! |---|---|
//! | `services/inventory.json` | the inventory of surfaces, as its tool wrote it |
//! | `services/requests.json` | the owner requests, as their tool wrote them |
//! | `services/responses/<surface_id>.yaml` | the owner's answer |
//! | `services/reviews/<surface_id>.yaml` | the reviewer's record |
//!
//! **Invariant:** no text of an answer or a review leaves this room, in a diagnostic or elsewhere: it may hold a secret that no rule
//! knows. Faults there are told by their rule, their place and names of our own.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::compat::json::{self, Value};
use crate::diagnostic::{Fault, Faults};
use crate::repo::checks::CHECKS as RULES;
use crate::repo::fields::{Field, Presence, Shape};
use crate::repo::names::{self, Grammar};
use crate::repo::tiers::is_empty;
use crate::repo::value::{At, FieldReader, Subject};
use crate::yaml;
use crate::yaml::event::{Event, Stop};

use super::{refs, secrets};

/// The folder of all of them.
pub const SERVICES: &str = "services/";
/// The inventory of surfaces.
pub const INVENTORY: &str = "services/inventory.json";
/// The owner requests.
pub const REQUESTS: &str = "services/requests.json";
/// The folder of answers.
pub const RESPONSES: &str = "services/responses/";
/// The folder of reviews.
pub const REVIEWS: &str = "services/reviews/";

/// Everything below `services/`.
#[derive(Debug, Default)]
pub struct Records<'a> {
    /// The inventory, where there is one.
    pub inventory: Option<Inventory>,
    /// The surfaces that were asked about, by id.
    pub surfaces: BTreeMap<String, Surface>,
    /// Answers, by the name of their file.
    pub responses: BTreeMap<&'a str, Response<'a>>,
    /// Reviews, by the name of their file.
    pub reviews: BTreeMap<&'a str, Review<'a>>,
}

/// What counts of an inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// When it was made; `None` where it does not say so in ISO 8601.
    pub made: Option<crate::time::Time>,
    /// How many surfaces it has.
    pub surfaces: usize,
}

/// A surface that was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    /// What the request is called.
    pub request: String,
    /// Where the surface is configured, in the repository.
    pub source: String,
    /// The digest of that, when it was asked about.
    pub sha256: String,
    /// Whether it can be written to.
    pub write_capable: bool,
    /// Whether evidence of what runs is asked for.
    pub live_evidence: bool,
    /// Where it stands in [`REQUESTS`], in bytes.
    pub at: u32,
}

/// A text of an answer, and where it stands.
pub type Said<'a> = At<Cow<'a, str>>;

/// An owner's answer. Whatever is not written is absent.
#[derive(Debug, Default)]
pub struct Response<'a> {
    /// The file, as it is: what is attributed, and looked through for secrets.
    pub bytes: &'a [u8],
    /// Whether it could be read at all.
    pub is_read: bool,
    /// What is not written as it has to be, in a file that can be read all the same.
    pub wrong: Vec<Wrong>,
    /// Who owns the surface.
    pub owners: Vec<Said<'a>>,
    /// Which incident it touches.
    pub incident: Option<At<Incident>>,
    /// That it approves nothing.
    pub not_approval: Option<At<bool>>,
    /// The last day on which it holds.
    pub valid_until: Option<At<Date>>,
    /// Who else may answer, and until when.
    pub delegation: Option<Delegation<'a>>,
    /// References to evidence.
    pub evidence: Vec<Said<'a>>,
    /// All other fields that are texts.
    pub texts: BTreeMap<TextKey, Said<'a>>,
}

/// That something in a file is not as it has to be. What, is told by the diagnostics of the file; a record with an error is good for
/// nothing better than being completed (A14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The field; empty where it is none that is known, or is there twice.
    pub field: &'static str,
    /// Where.
    pub at: u32,
}

/// Who may answer in the place of an owner.
#[derive(Debug)]
pub struct Delegation<'a> {
    /// Who.
    pub to: Option<Said<'a>>,
    /// The last day.
    pub until: Option<At<Date>>,
    /// Which surface.
    pub scope: Option<Said<'a>>,
}

/// A reviewer's record.
#[derive(Debug, Default)]
pub struct Review<'a> {
    /// The file, as it is.
    pub bytes: &'a [u8],
    /// What is not written as it has to be; where it cannot be read, the file.
    pub wrong: Vec<Wrong>,
    /// Who reviewed.
    pub reviewer: Option<Said<'a>>,
    /// What came of it.
    pub outcome: Option<At<Outcome>>,
    /// The digest of the answer that was reviewed.
    pub response: Option<Said<'a>>,
    /// Whether the reviewer looked further, as a surface asks for that can be written to.
    pub extra_review: bool,
}

/// Which incident an answer touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// None.
    None,
    /// Something stood still.
    Outage,
    /// It was restarted.
    Restart,
    /// It was restarted, and nobody was told.
    SilentRestart,
    /// Ports were not as they should be.
    Port,
    /// It was started from nothing.
    ColdStart,
}

impl Incident {
    /// The words, in the order of the variants.
    pub const WORDS: [&'static str; 6] = [
        "none",
        "outage",
        "restart",
        "silent_restart",
        "port",
        "cold_start",
    ];
    const ALL: [Self; 6] = [
        Self::None,
        Self::Outage,
        Self::Restart,
        Self::SilentRestart,
        Self::Port,
        Self::ColdStart,
    ];
}

/// What came of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something has to be added.
    Supplement,
    /// It is noted, and nothing more.
    ReviewOnly,
    /// It is not accepted.
    Rejected,
    /// It is accepted.
    Accepted,
}

impl Outcome {
    /// The words, in the order of the variants.
    pub const WORDS: [&'static str; 4] = ["supplement", "review_only", "rejected", "accepted"];
    const ALL: [Self; 4] = [
        Self::Supplement,
        Self::ReviewOnly,
        Self::Rejected,
        Self::Accepted,
    ];
}

macro_rules! text_keys {
    ($($key:ident $name:literal $shape:expr, $about:literal;)*) => {
        /// A field of an answer that is a text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum TextKey {
            $(#[doc = $about] $key,)*
        }

        impl TextKey {
            /// How it is written.
            pub fn name(self) -> &'static str {
                match self { $(Self::$key => $name,)* }
            }
        }

        static RESPONSE: [Field<ResponseKey>; 7 + [$(TextKey::$key),*].len()] = [
            $(Field { key: ResponseKey::Text(TextKey::$key), name: $name, shape: $shape, presence: Presence::Optional, about: $about },)*
            Field { key: ResponseKey::Owners, name: "owner_role_or_team", shape: Shape::Texts(&names::OS_USER), presence: Presence::Optional,
                about: "the people who own the surface, by os_user" },
            Field { key: ResponseKey::Evidence, name: "redacted_evidence_refs", shape: Shape::Texts(&refs::REF), presence: Presence::Optional,
                about: "references to evidence; never the evidence itself" },
            Field { key: ResponseKey::Incident, name: "incident", shape: Shape::OneOf(&Incident::WORDS), presence: Presence::Optional,
                about: "which incident the answer touches" },
            Field { key: ResponseKey::NotApproval, name: "not_approval", shape: Shape::Bool, presence: Presence::Optional,
                about: "true: an answer approves nothing" },
            Field { key: ResponseKey::ValidUntil, name: "valid_until", shape: Shape::Date, presence: Presence::Optional,
                about: "the last day on which it holds, in UTC; at most 365 days ahead" },
            Field { key: ResponseKey::Delegation, name: "delegation", shape: Shape::Object(|| crate::repo::schema::object(&DELEGATION)), presence: Presence::Optional,
                about: "who may answer in the place of an owner" },
            Field { key: ResponseKey::Surface, name: "surface_id", shape: Shape::Text(&SURFACE), presence: Presence::Optional,
                about: "the surface; the name of the file says so already" },
        ];
    };
}

text_keys! {
    RequestId "request_id" Shape::Text(&FREE), "the request that is answered";
    RepoSha256 "repo_sha256" Shape::Text(&SHA256), "the digest of the surface's configuration that the answer is about";
    OwnerResponseRef "owner_response_ref" Shape::Text(&refs::REF), "where the answer was given";
    Decision "decision" Shape::Text(&FREE), "what was decided";
    DecisionReason "decision_reason" Shape::Text(&FREE), "why";
    AffectedScope "affected_scope" Shape::Text(&SURFACE), "the surface_id, exactly";
    LiveConfigHashRef "live_config_hash_ref" Shape::Text(&refs::DIGEST), "the digest of the live configuration";
    MaintenanceWindow "maintenance_window" Shape::Text(&FREE), "when the host may be worked on";
    RestartWindow "restart_window" Shape::Text(&FREE), "when it may be restarted; another window than that";
    RollbackOwner "rollback_owner" Shape::Text(&names::OS_USER), "who owns the way back, by os_user";
    PostCheckPlan "post_check_plan" Shape::Text(&FREE), "what is looked at afterwards, and when to go back";
    DisableSwitch "disable_switch" Shape::Text(&FREE), "the switch, or the rule that freezes it";
    ConfigSourceOfTruthRef "config_source_of_truth_ref" Shape::Text(&refs::REF), "the sources: repository, live, runner, backup";
    ServiceDependencyMapRef "service_dependency_map_ref" Shape::Text(&refs::REF), "what depends on what";
    PortBindingInventoryRef "port_binding_inventory_ref" Shape::Text(&refs::REF), "its ports, and where they are exposed";
    ColdStartSequenceRef "cold_start_sequence_ref" Shape::Text(&refs::REF), "the order of a cold start";
    IncidentRecoveryEvidenceRef "incident_recovery_evidence_ref" Shape::Text(&refs::REF), "how an incident was recovered from";
    DaemonRunnerContentionRef "daemon_runner_contention_ref" Shape::Text(&refs::REF), "who competes for daemon, firewall, runner and backup";
    RestartActor "restart_actor" Shape::Text(&names::OS_USER), "who restarted it, by os_user";
    FollowupOwner "followup_owner" Shape::Text(&names::OS_USER), "who sees to what is left, by os_user";
}

#[derive(Clone, Copy, Debug)]
enum ResponseKey {
    Text(TextKey),
    Owners,
    Evidence,
    Incident,
    NotApproval,
    ValidUntil,
    Delegation,
    Surface,
}

#[derive(Clone, Copy, Debug)]
enum DelegationKey {
    To,
    Until,
    Scope,
}

static DELEGATION: [Field<DelegationKey>; 3] = [
    Field {
        key: DelegationKey::To,
        name: "to",
        shape: Shape::Text(&names::OS_USER),
        presence: Presence::Required,
        about: "who, by os_user",
    },
    Field {
        key: DelegationKey::Until,
        name: "until",
        shape: Shape::Date,
        presence: Presence::Required,
        about: "the last day, in UTC",
    },
    Field {
        key: DelegationKey::Scope,
        name: "scope",
        shape: Shape::Text(&SURFACE),
        presence: Presence::Required,
        about: "the surface_id, exactly",
    },
];

#[derive(Clone, Copy, Debug)]
enum ReviewKey {
    Reviewer,
    Outcome,
    Response,
    ExtraReview,
    Reason,
}

static REVIEW: [Field<ReviewKey>; 5] = [
    Field {
        key: ReviewKey::Reviewer,
        name: "reviewer",
        shape: Shape::Text(&names::OS_USER),
        presence: Presence::Required,
        about: "who reviewed, by os_user; nobody who answered",
    },
    Field {
        key: ReviewKey::Outcome,
        name: "reviewer_outcome",
        shape: Shape::OneOf(&Outcome::WORDS),
        presence: Presence::Required,
        about: "what came of it; none of them permits anything to run",
    },
    Field {
        key: ReviewKey::Response,
        name: "response_sha256",
        shape: Shape::Text(&SHA256),
        presence: Presence::Required,
        about: "the SHA-256 of the answer's file; another byte there, and the review does not hold",
    },
    Field {
        key: ReviewKey::ExtraReview,
        name: "extra_review",
        shape: Shape::Bool,
        presence: Presence::Optional,
        about: "true: the reviewer looked further, as a surface asks for that can be written to",
    },
    Field {
        key: ReviewKey::Reason,
        name: "reason",
        shape: Shape::Text(&FREE),
        presence: Presence::Optional,
        about: "why; nothing is made of it",
    },
];

/// What a surface is called: the name of its files, too.
pub static SURFACE: Grammar = Grammar {
    rule: "surface-form",
    about: "letters, digits and . _ -, at most 100 characters, starting with a letter or digit",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
    accepts: |text| (names::REPO.accepts)(text),
};

static SHA256: Grammar = Grammar {
    rule: "sha256-form",
    about: "64 hexadecimal digits in lower case",
    pattern: "^[0-9a-f]{64}$",
    accepts: |text| refs::is_hex(text, 64),
};

/// Where a surface is configured: as git spells a path, since another spelling finds no file to hold an answer against (W6).
static SOURCE: Grammar = Grammar {
    rule: "source-path",
    about: "a path in the repository: names with one / between them, none of them . or .., and no / at its ends",
    pattern: "^[^/\\u0000]+(/[^/\\u0000]+)*$",
    accepts: |text| {
        let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
        text.split('/').all(is_name)
    },
};

static FREE: Grammar = Grammar {
    rule: "free-text",
    about: "text, without anything secret in it",
    pattern: "^[^\\u0000-\\u001f]{1,2000}$",
    accepts: |text| !text.is_empty(),
};

/// The schema of `services/responses/<surface_id>.yaml`.
pub fn response_schema() -> String {
    crate::repo::schema::schema(
        "services/responses/<surface_id>.yaml",
        "What the owner of a host service answers",
        crate::repo::schema::object(&RESPONSE),
    )
}

/// The schema of `services/reviews/<surface_id>.yaml`.
pub fn review_schema() -> String {
    crate::repo::schema::schema(
        "services/reviews/<surface_id>.yaml",
        "What came of reviewing an answer",
        crate::repo::schema::object(&REVIEW),
    )
}

/// What a path below `services/` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'p> {
    /// The inventory.
    Inventory,
    /// The requests.
    Requests,
    /// The answer about a surface.
    Response(&'p str),
    /// The review of a surface.
    Review(&'p str),
    /// Nothing that is read.
    Elsewhere,
}

/// What a path is; `None` when it is not below `services/`.
pub fn place(path: &str) -> Option<Place<'_>> {
    let below = path.strip_prefix(SERVICES)?;
    let surface = |folder: &str| {
        let name = below.strip_prefix(folder)?.strip_suffix(".yaml")?;
        (SURFACE.accepts)(name).then_some(name)
    };
    Some(match below {
        "inventory.json" => Place::Inventory,
        "requests.json" => Place::Requests,
        _ => match (surface("responses/"), surface("reviews/")) {
            (Some(name), _) => Place::Response(name),
            (None, Some(name)) => Place::Review(name),
            (None, None) => Place::Elsewhere,
        },
    })
}

/// That nobody reads a file below `services/`.
pub(crate) fn nobody_reads() -> Fault {
    Fault::warning("file-name", 0, "nothing reads a file of this name")
        .of_whole_file()
        .help(
            "below services/ there are inventory.json, requests.json, responses/<surface_id>.yaml and reviews/<surface_id>.yaml",
        )
}

/// Reads the inventory.
pub(crate) fn read_inventory(bytes: &[u8], faults: &mut Faults) -> Inventory {
    let Some(document) = read_report(INVENTORY, bytes, faults) else {
        return Inventory::default();
    };
    let text = |key: &str| match document.get(key) {
        Some(Value::Text(text)) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    let made = text("generated_at").and_then(|it| it.parse::<jiff::Timestamp>().ok());
    let list = |value: &Value<'_>| match value {
        Value::List(items) => items
            .iter()
            .filter(|it| it.get("surface_id").is_some())
            .count(),
        _ => 0,
    };
    let Value::Map(entries) = &document else {
        return Inventory::default();
    };
    Inventory {
        made: made.map(|it| crate::time::Time(it.as_second())),
        surfaces: entries.iter().map(|it| list(&it.value)).max().unwrap_or(0),
    }
}

/// A report that is an object. What is secret in it is told, whatever becomes of it.
fn read_report<'a>(path: &str, bytes: &'a [u8], faults: &mut Faults) -> Option<Value<'a>> {
    for secret in super::names::faults_of_secrets(path, bytes) {
        faults.add(secret);
    }
    match json::parse(bytes) {
        Ok(document @ Value::Map(_)) => Some(document),
        Ok(other) => {
            let problem = format!("an object is expected, not {}", other.type_name());
            faults.add(Fault::error("json-syntax", 0, problem));
            None
        }
        Err(error) => {
            faults.add(Fault::error("json-syntax", offset(error.at), error.problem));
            None
        }
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Reads the owner requests: each surface once, with all that an answer is held against.
pub(crate) fn read_requests(bytes: &[u8], faults: &mut Faults) -> BTreeMap<String, Surface> {
    let mut surfaces: BTreeMap<String, Surface> = BTreeMap::new();
    let Some(document) = read_report(REQUESTS, bytes, faults) else {
        return surfaces;
    };
    let drafts = match document.get("request_drafts") {
        None => return surfaces,
        Some(Value::List(drafts)) => drafts,
        Some(other) => {
            let problem = format!(
                "request_drafts: a list is expected, not {}",
                other.type_name()
            );
            faults.add(Fault::error("json-type", 0, problem));
            return surfaces;
        }
    };
    for (index, draft) in drafts.iter().enumerate() {
        let Some((id, surface)) = read_draft(index, draft, faults) else {
            continue;
        };
        if let Some(first) = surfaces.get(&id) {
            faults.add(
                Fault::error(
                    "duplicate-surface",
                    surface.at,
                    format!("request_drafts[{index}]: this surface_id is asked about already"),
                )
                .first_at(first.at)
                .help("a surface has one request"),
            );
            continue;
        }
        surfaces.insert(id, surface);
    }
    surfaces
}

fn read_draft(index: usize, draft: &Value<'_>, faults: &mut Faults) -> Option<(String, Surface)> {
    let Value::Map(entries) = draft else {
        let problem = format!(
            "request_drafts[{index}]: an object is expected, not {}",
            draft.type_name()
        );
        faults.add(Fault::error("json-type", 0, problem));
        return None;
    };
    let start = entries.first().map_or(0, |it| offset(it.at));
    for again in entries.iter().filter(|it| it.repeats.is_some()) {
        let problem = format!("request_drafts[{index}]: a key is there twice");
        let fault = Fault::error(yaml::rules::DUPLICATE_KEY, offset(again.at), problem);
        faults.add(
            fault
                .first_at(again.repeats.map_or(0, offset))
                .help("take one out"),
        );
    }
    let mut draft = Draft {
        index,
        entries,
        start,
        faults,
    };
    let id = draft.text("surface_id");
    let source = draft.text("repo_source_path");
    if let Some((path, at)) = &source
        && !(SOURCE.accepts)(path)
    {
        let problem = format!(
            "request_drafts[{index}]: repo_source_path is not {}",
            SOURCE.about
        );
        let fault = Fault::error(SOURCE.rule, *at, problem);
        draft.faults.add(
            fault.help("write it as `git ls-files` does; a file of no such path is never found"),
        );
    }
    let surface = Surface {
        request: draft.text("request_id").unwrap_or_default().0,
        source: source.unwrap_or_default().0,
        sha256: draft.text("repo_sha256").unwrap_or_default().0,
        write_capable: draft.bool("write_capable_surface"),
        live_evidence: draft.bool("requires_live_evidence"),
        at: id.as_ref().map_or(start, |it| it.1),
    };
    let (id, at) = id?;
    if secrets::is_token(&id) {
        let problem =
            format!("request_drafts[{index}]: surface_id tells a secret, and is not repeated here");
        faults.add(Fault::error("secret-in-name", at, problem).help(
            "rotate it, for git keeps what was pushed; then call the surface otherwise, here and in its files",
        ));
        return None;
    }
    if !(SURFACE.accepts)(&id) {
        let problem = format!(
            "request_drafts[{index}]: surface_id is not {}",
            SURFACE.about
        );
        faults.add(
            Fault::error(SURFACE.rule, at, problem)
                .help("the files about a surface are called after it"),
        );
        return None;
    }
    if !refs::is_hex(&surface.sha256, 64) {
        let problem = format!(
            "request_drafts[{index}]: repo_sha256 is not {}",
            SHA256.about
        );
        faults.add(Fault::error(SHA256.rule, at, problem));
    }
    Some((id, surface))
}

struct Draft<'d, 'a> {
    index: usize,
    entries: &'d [json::Entry<'a>],
    start: u32,
    faults: &'d mut Faults,
}

impl<'d, 'a> Draft<'d, 'a> {
    fn entry(&mut self, key: &'static str) -> Option<&'d json::Entry<'a>> {
        let found = self.entries.iter().find(|it| *it.key == *key.as_bytes());
        if found.is_none() {
            let problem = format!("request_drafts[{}] has no {key:?}", self.index);
            self.faults.add(
                Fault::error("missing-field", self.start, problem)
                    .help("the tool that writes requests has it"),
            );
        }
        found
    }

    fn wrong(&mut self, entry: &json::Entry<'_>, key: &str, expected: &str) {
        let problem = format!(
            "request_drafts[{}]: {key}: {expected} is expected, not {}",
            self.index,
            entry.value.type_name()
        );
        self.faults
            .add(Fault::error("json-type", offset(entry.at), problem));
    }

    fn text(&mut self, key: &'static str) -> Option<(String, u32)> {
        let entry = self.entry(key)?;
        match &entry.value {
            Value::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => return Some((text.to_owned(), offset(entry.at))),
                Err(_) => self.wrong(entry, key, "text without half a surrogate pair"),
            },
            _ => self.wrong(entry, key, "text"),
        }
        None
    }

    fn bool(&mut self, key: &'static str) -> bool {
        let Some(entry) = self.entry(key) else {
            return true;
        };
        match &entry.value {
            Value::Bool(it) => *it,
            // Whatever is unclear is as strict as can be.
            _ => {
                self.wrong(entry, key, "true or false");
                true
            }
        }
    }
}

/// Reads an answer.
pub(crate) fn read_response<'a>(bytes: &'a [u8], faults: &mut Faults) -> Response<'a> {
    let mut found = Faults::default();
    let read = yaml::read(bytes, &mut found, |cursor, faults| {
        let mut response = Response {
            bytes,
            is_read: true,
            ..Response::default()
        };
        // Which errors each field has.
        let mut spans: Vec<Span> = Vec::new();
        let head = cursor.value()?;
        let mut reader = FieldReader {
            cursor,
            faults,
            subject: Subject::File,
        };
        if !is_empty(&head) {
            reader.fields(&RESPONSE, 0, &head, |reader, field, value| {
                let (at, from) = (value.offset, reader.faults.errors());
                read_field(reader, field, value, &mut response)?;
                spans.push((field.name, at, from..reader.faults.errors()));
                Ok(())
            })?;
        }
        Ok((response, spans))
    });
    let (read, spans) = read.unzip();
    let wrong = wrong_in(&found, &spans.unwrap_or_default());
    *faults = unquoted(found);
    Response {
        wrong,
        ..read.unwrap_or(Response {
            bytes,
            ..Response::default()
        })
    }
}

/// A field, where it is, and which errors were found in it, by their number.
type Span = (&'static str, u32, std::ops::Range<usize>);

/// What errors a file has: those found while a field was read are the field's, the others are told where they are.
fn wrong_in(found: &Faults, spans: &[Span]) -> Vec<Wrong> {
    if !found.has_errors() {
        return Vec::new();
    }
    let of_field = |number: usize| spans.iter().find(|(_, _, errors)| errors.contains(&number));
    let offsets = found.error_offsets().into_iter().enumerate();
    let mut wrong: Vec<Wrong> = offsets
        .map(|(number, at)| match of_field(number) {
            Some((field, at, _)) => Wrong { field, at: *at },
            None => Wrong {
                field: "",
                at: at.unwrap_or_default(),
            },
        })
        .collect();
    wrong.dedup();
    wrong
}

fn read_field<'a>(
    reader: &mut FieldReader<'_, 'a>,
    field: &'static Field<ResponseKey>,
    value: Event<'a>,
    response: &mut Response<'a>,
) -> Result<(), Stop> {
    let (name, at) = (field.name, value.offset);
    match field.key {
        ResponseKey::Text(key) => {
            let word = reader.word(name, value)?;
            response.texts.extend(word.map(|it| (key, it)));
        }
        ResponseKey::Owners => response.owners = words(reader, name, &value)?,
        ResponseKey::Evidence => response.evidence = words(reader, name, &value)?,
        ResponseKey::Incident => {
            let word = reader.one_of(name, value, &Incident::WORDS)?;
            response.incident = word.map(|it| At {
                value: Incident::ALL[it.value],
                at: it.at,
            });
        }
        ResponseKey::NotApproval => {
            response.not_approval = reader.bool(name, &value)?.map(|value| At { value, at });
        }
        ResponseKey::ValidUntil => response.valid_until = reader.date(name, &value)?,
        ResponseKey::Delegation => {
            let mut delegation = Delegation {
                to: None,
                until: None,
                scope: None,
            };
            reader.fields(&DELEGATION, at, &value, |reader, field, value| {
                match field.key {
                    DelegationKey::To => delegation.to = reader.word(field.name, value)?,
                    DelegationKey::Until => delegation.until = reader.date(field.name, &value)?,
                    DelegationKey::Scope => delegation.scope = reader.word(field.name, value)?,
                }
                Ok(())
            })?;
            response.delegation = Some(delegation);
        }
        // The name of the file says so, and `affected_scope` is what is checked.
        ResponseKey::Surface => drop(reader.word(name, value)?),
    }
    Ok(())
}

/// A list of texts of any form.
fn words<'a>(
    reader: &mut FieldReader<'_, 'a>,
    field: &str,
    head: &Event<'a>,
) -> Result<Vec<Said<'a>>, Stop> {
    let mut words = Vec::new();
    reader.list(field, head, |reader, item| {
        words.extend(reader.word(field, item)?);
        Ok(())
    })?;
    Ok(words)
}

/// Reads a review.
pub(crate) fn read_review<'a>(bytes: &'a [u8], faults: &mut Faults) -> Review<'a> {
    let mut found = Faults::default();
    let read = yaml::read(bytes, &mut found, |cursor, faults| {
        let mut review = Review {
            bytes,
            ..Review::default()
        };
        let head = cursor.value()?;
        let mut reader = FieldReader {
            cursor,
            faults,
            subject: Subject::File,
        };
        reader.fields(&REVIEW, 0, &head, |reader, field, value| {
            let name = field.name;
            match field.key {
                ReviewKey::Reviewer => review.reviewer = reader.word(name, value)?,
                ReviewKey::Outcome => {
                    let word = reader.one_of(name, value, &Outcome::WORDS)?;
                    review.outcome = word.map(|it| At {
                        value: Outcome::ALL[it.value],
                        at: it.at,
                    });
                }
                ReviewKey::Response => review.response = reader.word(name, value)?,
                ReviewKey::ExtraReview => {
                    review.extra_review = reader.bool(name, &value)?.unwrap_or_default();
                }
                ReviewKey::Reason => drop(reader.word(name, value)?),
            }
            Ok(())
        })?;
        Ok(review)
    });
    let wrong = wrong_in(&found, &[]);
    *faults = unquoted(found);
    Review {
        wrong,
        ..read.unwrap_or(Review {
            bytes,
            ..Review::default()
        })
    }
}

/// The faults of a file whose text nobody may repeat: each by the sentence of its rule.
fn unquoted(faults: Faults) -> Faults {
    faults.by_rule(|rule| {
        let of_yaml = yaml::rules::ALL.iter().find(|(name, _)| *name == rule);
        let of_shape = RULES.iter().find(|it| it.name == rule).map(|it| it.rule);
        of_yaml.map(|(_, sentence)| *sentence).or(of_shape)
    })
}
