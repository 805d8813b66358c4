//! Who stands behind an answer or a review, by what a forge or a signed tag says, and what was quarantined (LB7, LB9). A bot keeps it;
//! elsewhere it is a file (`--attributions`). No text of the state repository gets in here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::names::shown;
use crate::bytes::hex;

/// The format that this version writes, and the latest that it reads.
pub const FORMAT: u32 = 2;

/// All that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributions {
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// By the path of the file, and by its SHA-256: another byte, and nobody stands behind it. Several may: whoever brought it, who
    /// approved it as it is, and who signed a tag.
    #[serde(default)]
    pub files: BTreeMap<String, BTreeMap<String, Vec<Attribution>>>,
    /// What was quarantined, by its key.
    #[serde(default)]
    pub quarantined: BTreeMap<String, Mark>,
    /// People who were in the roster once: their names are no mistakes.
    #[serde(default)]
    pub former: BTreeSet<String>,
    /// Tags that stood behind what is not there any more: they do not count again (LB4).
    #[serde(default)]
    pub spent: BTreeSet<String>,
    /// People whose account changes with the very proposal that is looked at, and counts once that is merged. Never written.
    #[serde(skip)]
    pub unsettled: BTreeSet<String>,
}

/// The first format: one identity for each file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    #[serde(rename = "format")]
    _format: u32,
    #[serde(default)]
    files: BTreeMap<String, BTreeMap<String, Attribution>>,
    #[serde(default)]
    quarantined: BTreeMap<String, Mark>,
    #[serde(default)]
    former: BTreeSet<String>,
}

impl First {
    fn renewed(self) -> Attributions {
        let each = |of_file: BTreeMap<String, Attribution>| {
            let of_file = of_file.into_iter();
            of_file.map(|(sha256, it)| (sha256, vec![it])).collect()
        };
        let files = self.files.into_iter();
        Attributions {
            format: FORMAT,
            files: files.map(|(path, it)| (path, each(it))).collect(),
            quarantined: self.quarantined,
            former: self.former,
            ..Attributions::default()
        }
    }
}

/// Who stands behind one file as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    /// Who.
    pub by: Identity,
    /// What says so: a proposal at the forge (`pull/7`), or the tag (`tag/<its object>`).
    pub on: String,
    /// The forge's number of the review by which it was approved; otherwise they opened the proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<u64>,
    /// The fingerprint of the key that signed the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Attribution {
    /// That an account of the forge opened the proposal.
    pub fn opened(account: &str, on: &str) -> Self {
        Self {
            by: Identity::Forge(account.to_owned()),
            on: on.to_owned(),
            review: None,
            key: None,
        }
    }

    /// That an account of the forge approved the proposal as it is.
    pub fn approved(account: &str, on: &str, review: u64) -> Self {
        Self {
            review: Some(review),
            ..Self::opened(account, on)
        }
    }

    /// That a person signed a tag.
    pub fn signed(person: &str, on: &str, key: String) -> Self {
        Self {
            by: Identity::Key(person.to_owned()),
            key: Some(key),
            ..Self::opened("", on)
        }
    }
}

/// An identity that nobody can write into a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// An account of the forge.
    Forge(String),
    /// A person of the roster, whose key signed a tag.
    Key(String),
}

/// Something that was quarantined: no part of it (LB5), and no plain digest that could be guessed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The file.
    pub path: String,
    /// The rule that found it.
    pub rule: String,
    /// How long it was, as a class.
    pub length: String,
    /// Where it was seen: a proposal (`pull/7`).
    pub on: String,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AttributionsError {
    /// It is none.
    #[error("it is no record of attributions")]
    Json(#[source] serde_json::Error),
    /// A later version wrote it.
    #[error(
        "it has the format {0}, and this version of muster reads {FORMAT} at most; install a newer one"
    )]
    Newer(u32),
}

impl Attributions {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is none, or of a format from the future.
    pub fn parse(bytes: &[u8]) -> Result<Self, AttributionsError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes).map_err(AttributionsError::Json)?;
        if format > FORMAT {
            return Err(AttributionsError::Newer(format));
        }
        if format == 1 {
            let first: First = serde_json::from_slice(bytes).map_err(AttributionsError::Json)?;
            return Ok(first.renewed());
        }
        serde_json::from_slice(bytes).map_err(AttributionsError::Json)
    }

    /// Writes it.
    pub fn to_json(&self) -> String {
        let record = Self {
            format: FORMAT,
            ..self.clone()
        };
        serde_json::to_string_pretty(&record).unwrap_or_default() + "\n"
    }

    /// Who stands behind a file as it is.
    pub fn of(&self, path: &str, bytes: &[u8]) -> &[Attribution] {
        self.of_digest(path, &sha256(bytes))
    }

    /// The same, of a file by its SHA-256.
    pub fn of_digest(&self, path: &str, sha256: &str) -> &[Attribution] {
        let known = self.files.get(path).and_then(|it| it.get(sha256));
        known.map_or(&[], Vec::as_slice)
    }

    /// Keeps that somebody stands behind a file as it is.
    pub fn attribute(&mut self, path: &str, bytes: &[u8], by: Attribution) {
        self.attribute_digest(path, sha256(bytes), by);
    }

    /// The same, of a file by its SHA-256.
    pub fn attribute_digest(&mut self, path: &str, sha256: String, by: Attribution) {
        let of_file = self.files.entry(path.to_owned()).or_default();
        let known = of_file.entry(sha256).or_default();
        if !known.contains(&by) {
            known.push(by);
            known.sort();
        }
    }

    /// Lets go of what a proposal said: it was closed, or says something else now.
    pub fn withdraw(&mut self, on: &str) {
        self.retain(|_, _, it| it.on != on);
    }

    /// Keeps those of whom that is so.
    pub fn retain(&mut self, is_so: impl Fn(&str, &str, &Attribution) -> bool) {
        for (path, of_file) in &mut self.files {
            for (sha256, known) in of_file.iter_mut() {
                known.retain(|it| is_so(path, sha256, it));
            }
            of_file.retain(|_, known| !known.is_empty());
        }
        self.files.retain(|_, of_file| !of_file.is_empty());
    }

    /// Keeps that something was found in a file; `key` is known to this host alone. Squashed or rebased, it stays what it is (LB7).
    pub fn quarantine(
        &mut self,
        key: &[u8],
        path: &str,
        bytes: &[u8],
        found: &super::secrets::Found,
        on: &str,
    ) {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        let mut context = ring::hmac::Context::with_key(&key);
        context.update(path.as_bytes());
        context.update(b"\0");
        context.update(bytes);
        let mark = Mark {
            // A name that is a secret itself is kept nowhere, either.
            path: shown(path).to_owned(),
            rule: found.rule.to_owned(),
            length: length_class(found.length).to_owned(),
            on: on.to_owned(),
        };
        self.quarantined.insert(hex(context.sign().as_ref()), mark);
    }

    /// Lets go of what stands behind neither what is kept now nor an open proposal: a surface that goes and comes back is answered
    /// anew (LB4).
    pub fn keep_only(
        &mut self,
        is_kept: impl Fn(&str, &str) -> bool,
        is_open: impl Fn(&str) -> bool,
    ) {
        let all = self.files.iter().flat_map(|(path, of_file)| {
            let of_file = of_file.iter();
            of_file.map(move |(sha256, known)| (path, sha256, known))
        });
        let gone = all.filter(|(path, sha256, _)| !is_kept(path, sha256));
        let tags = gone.flat_map(|it| it.2).filter(|it| it.key.is_some());
        self.spent.extend(tags.map(|it| it.on.clone()));
        self.retain(|path, sha256, it| is_open(&it.on) || is_kept(path, sha256));
        self.quarantined.retain(|_, it| is_open(&it.on));
    }

    /// The same, with the quarantines of one proposal alone.
    #[must_use]
    pub fn seen_on(&self, on: &str) -> Self {
        let mut seen = self.clone();
        seen.quarantined.retain(|_, it| it.on == on);
        seen
    }
}

/// How long something is, told so that it says little.
pub fn length_class(length: usize) -> &'static str {
    match length {
        0..=15 => "under 16 bytes",
        16..=31 => "16 to 31 bytes",
        32..=63 => "32 to 63 bytes",
        64..=255 => "64 to 255 bytes",
        _ => "256 bytes or more",
    }
}

/// The SHA-256 of some bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
