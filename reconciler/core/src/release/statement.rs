//! What an operator signs: which steps, on which executors, for which commit, when, once.
//!
//! ```text
//! muster-release/1
//! repo 6f1c02b1d4a4f0c9b7e5a3d2c1b0a990
//! commit 3d2a1f0e9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a49
//! nonce 8f0e6c2b1d4a4f0c9b7e5a3d2c1b0a99
//! not-before 2026-11-22T01:00:00Z
//! not-after 2026-11-23T01:00:00Z
//! reason "offboarding, ticket 1234"
//! on host/devvm
//! do 5b1e4f0c9b7e5a3d2c1b0a998f0e6c2b user.archive_delete emo home=/home/emo uid=1004
//! end
//! ```
//!
//! Printable ASCII and line feeds, every line in this order, one space between words, executors and steps sorted, each
//! step named once, `end` at the end. There is one spelling: what [`Statement::parse`] takes, [`Statement::render`] gives
//! back byte for byte. So what was shown is what was signed, and equal statements have equal digests (invariant 8).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::{Code, Nonce, Refusal, RepoId, dated_name, parse_time, shown};
use crate::commit::CommitId;
use crate::executor::Executor;
use crate::id::StepId;
use crate::time::Time;

/// How many bytes a statement may have.
pub const MAX_BYTES: usize = 1 << 20;

/// How many steps a statement may name, on all executors together.
pub const MAX_STEPS: usize = 8_192;

/// The longest window, in seconds: 72 hours. A longer one is refused by the gate, not by the grammar, so that whoever
/// signed it is told.
pub const LONGEST_WINDOW: i64 = 72 * 3_600;

/// What the name of every release begins with.
pub const TAG_PREFIX: &str = "release/";

/// Characters of a reason.
const REASON: usize = 400;

const FORMAT: &str = "muster-release/1";

/// What an operator signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Of which state repository.
    pub repo: RepoId,
    /// The commit whose plan it is about.
    pub commit: CommitId,
    /// Permits one run on each executor, for ever.
    pub nonce: Nonce,
    /// First moment at which it may be used.
    pub not_before: Time,
    /// Last moment at which it may be used; later than `not_before`.
    pub not_after: Time,
    /// Why, in the signer's words: printable ASCII without `"` and `\`.
    pub reason: String,
    /// The steps of each executor, by id. Never empty, and no executor has an empty list.
    pub blocks: BTreeMap<String, Vec<Line>>,
}

/// One step that is permitted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The step.
    pub id: StepId,
    /// What it does, as [`crate::step::Step::words`] says it.
    pub words: String,
}

impl Statement {
    /// Reads a statement, the whole of `bytes`.
    ///
    /// Refused as [`Code::Malformed`], with the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let text = plain_text(bytes)?;
        let statement = Lines::new(text, "the statement")?.statement()?;
        if statement.render() != text {
            // Nothing is known to get here; one spelling is the promise, so it is asked for and not inferred.
            return Err(malformed(
                "the statement is not written as muster writes it; propose the release again",
            ));
        }
        Ok(statement)
    }

    /// The statement as it is signed.
    ///
    /// Steps are put in order, and what may not stand in a statement becomes `?`: a value can neither end its line nor
    /// begin another. [`Statement::check`] says whether all of it could be written.
    pub fn render(&self) -> String {
        let Self {
            repo,
            commit,
            nonce,
            not_before,
            not_after,
            reason,
            blocks,
        } = self;
        let steps: usize = blocks.values().map(Vec::len).sum();
        let mut out = String::with_capacity(512 + steps * 128);
        let _ = write!(
            out,
            "{FORMAT}\nrepo {repo}\ncommit {commit}\nnonce {nonce}\nnot-before {not_before}\nnot-after {not_after}\nreason \""
        );
        push(&mut out, reason, may_stand_in_a_reason);
        out.push_str("\"\n");
        for (executor, lines) in blocks {
            out.push_str("on ");
            push(&mut out, executor, |b| b.is_ascii_graphic());
            out.push('\n');
            let mut sorted: Vec<&Line> = lines.iter().collect();
            sorted.sort();
            for Line { id, words } in sorted {
                let _ = write!(out, "do {id} ");
                push(&mut out, words, |b| matches!(b, b' '..=b'~'));
                out.push('\n');
            }
        }
        out.push_str("end\n");
        out
    }

    /// Whether this can be signed: written out and read again it is the same.
    ///
    /// Refused as [`Code::Malformed`], with what cannot be written.
    pub fn check(&self) -> Result<(), Refusal> {
        if Self::parse(self.render().as_bytes())? == *self {
            Ok(())
        } else {
            Err(malformed(
                "the reason, an executor or a step has characters that no statement can hold, or steps are out of order; use plain text, and steps sorted by id",
            ))
        }
    }

    /// SHA-256 of the statement's bytes.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.render()).into()
    }

    /// The tag's name when the key with this blob signs.
    pub fn tag_name(&self, signer_key_blob: &[u8]) -> String {
        dated_name(TAG_PREFIX, &self.digest(), self.not_before, signer_key_blob)
    }

    /// How many steps it names, on all executors.
    pub fn steps(&self) -> usize {
        self.blocks.values().map(Vec::len).sum()
    }
}

/// The name of the tag that carries these bytes: `release/<not-before>-<16 hex of what>-<8 hex of who>`.
///
/// `signer_key_blob` is the decoded public key, whose SHA-256 is its fingerprint.
pub fn tag_name(statement_bytes: &[u8], not_before: Time, signer_key_blob: &[u8]) -> String {
    dated_name(
        TAG_PREFIX,
        &Sha256::digest(statement_bytes).into(),
        not_before,
        signer_key_blob,
    )
}

/// `bytes` as printable ASCII and line feeds, and not too many of them.
pub(super) fn plain_text(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() > MAX_BYTES {
        return Err(malformed(format!(
            "the message has {} bytes and may have {MAX_BYTES}; release fewer steps at a time",
            bytes.len()
        )));
    }
    if let Some(at) = bytes.iter().position(|b| !matches!(b, b' '..=b'~' | b'\n')) {
        let line = bytes[..at].iter().filter(|b| **b == b'\n').count() + 1;
        return Err(malformed(format!(
            "line {line} of the message holds the byte {:#04x}; only printable ASCII and line feeds may stand in one",
            bytes[at]
        )));
    }
    str::from_utf8(bytes).map_err(|_| malformed("the message is not ASCII"))
}

fn malformed(why: impl Into<String>) -> Refusal {
    Code::Malformed.because(why)
}

fn push(out: &mut String, text: &str, may_stand: impl Fn(u8) -> bool) {
    for c in text.chars() {
        let fits = u8::try_from(c).is_ok_and(&may_stand);
        out.push(if fits { c } else { '?' });
    }
}

pub(super) fn may_stand_in_a_reason(b: u8) -> bool {
    matches!(b, b' '..=b'~') && b != b'"' && b != b'\\'
}

/// A text of lines, read one by one. Shared by everything that people sign.
pub(super) struct Lines<'t> {
    left: std::str::Split<'t, char>,
    what: &'static str,
    number: usize,
}

impl<'t> Lines<'t> {
    /// The lines of `text`, each with its line feed; `what` is how refusals call it.
    pub(super) fn new(text: &'t str, what: &'static str) -> Result<Self, Refusal> {
        let body = text
            .strip_suffix('\n')
            .ok_or_else(|| malformed(format!("the last line of {what} has no end")))?;
        Ok(Self {
            left: body.split('\n'),
            what,
            number: 0,
        })
    }

    pub(super) fn next(&mut self) -> Result<&'t str, Refusal> {
        self.number += 1;
        self.left
            .next()
            .ok_or_else(|| malformed(format!("{} ends without `end`", self.what)))
    }

    /// What is wrong in the line read last.
    pub(super) fn wrong(&self, why: impl std::fmt::Display) -> Refusal {
        malformed(format!("line {} of {}: {why}", self.number, self.what))
    }

    /// The next line, which is exactly `line`.
    pub(super) fn exactly(&mut self, line: &str) -> Result<(), Refusal> {
        match self.next()? {
            found if found == line => Ok(()),
            found => Err(self.wrong(format_args!(
                "must be `{line}`, not {}",
                shown(found.as_bytes())
            ))),
        }
    }

    /// What stands behind `key` and a space in the next line.
    pub(super) fn field(&mut self, key: &str) -> Result<&'t str, Refusal> {
        let line = self.next()?;
        line.strip_prefix(key)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or_else(|| {
                self.wrong(format_args!(
                    "must begin with `{key} `, but is {}",
                    shown(line.as_bytes())
                ))
            })
    }

    /// A field that has a type of its own.
    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        key: &str,
    ) -> Result<T, Refusal> {
        let text = self.field(key)?;
        text.parse()
            .map_err(|error| self.wrong(format_args!("{error}, not {}", shown(text.as_bytes()))))
    }

    /// A commit; its own refusal quotes what was found.
    pub(super) fn commit(&mut self, key: &str) -> Result<CommitId, Refusal> {
        let text = self.field(key)?;
        text.parse().map_err(|error| self.wrong(error))
    }

    /// Two moments, the second later.
    pub(super) fn window(&mut self) -> Result<(Time, Time), Refusal> {
        let not_before = self.moment("not-before")?;
        let not_after = self.moment("not-after")?;
        if not_after <= not_before {
            return Err(self.wrong("not-after must be later than not-before"));
        }
        Ok((not_before, not_after))
    }

    fn moment(&mut self, key: &str) -> Result<Time, Refusal> {
        let text = self.field(key)?;
        parse_time(text).ok_or_else(|| {
            self.wrong(format_args!(
                "a moment is written like 2026-11-22T01:00:00Z, not {}",
                shown(text.as_bytes())
            ))
        })
    }

    /// A quoted sentence.
    pub(super) fn reason(&mut self) -> Result<String, Refusal> {
        let text = self.field("reason")?;
        text.strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .filter(|it| (1..=REASON).contains(&it.len()) && it.bytes().all(may_stand_in_a_reason))
            .map(str::to_owned)
            .ok_or_else(|| {
                self.wrong(format_args!(
                    "a reason is 1 to {REASON} characters in double quotes, with no double quote and no backslash inside"
                ))
            })
    }

    /// Nothing is left.
    pub(super) fn nothing_more(mut self) -> Result<(), Refusal> {
        match self.left.next() {
            None => Ok(()),
            Some(_) => {
                self.number += 1;
                Err(self.wrong("nothing may follow `end`"))
            }
        }
    }

    fn statement(mut self) -> Result<Statement, Refusal> {
        self.exactly(FORMAT)?;
        let repo = self.parsed("repo")?;
        let commit = self.commit("commit")?;
        let nonce = self.parsed("nonce")?;
        let (not_before, not_after) = self.window()?;
        let reason = self.reason()?;
        let blocks = self.blocks()?;
        self.nothing_more()?;
        Ok(Statement {
            repo,
            commit,
            nonce,
            not_before,
            not_after,
            reason,
            blocks,
        })
    }

    fn blocks(&mut self) -> Result<BTreeMap<String, Vec<Line>>, Refusal> {
        let mut blocks: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        let mut steps = 0;
        let mut line = self.next()?;
        while line != "end" {
            let executor = line
                .strip_prefix("on ")
                .filter(|it| is_executor(it))
                .ok_or_else(|| {
                    self.wrong(format_args!(
                        "must be `on` with one executor, such as `on host/devvm`, or `end`, but is {}",
                        shown(line.as_bytes())
                    ))
                })?;
            if blocks
                .last_key_value()
                .is_some_and(|(last, _)| last.as_str() >= executor)
            {
                return Err(self.wrong("executors must be sorted, each named once"));
            }
            let mut lines: Vec<Line> = Vec::new();
            line = self.next()?;
            while let Some(step) = line.strip_prefix("do ") {
                let read = read_step(step).ok_or_else(|| {
                    self.wrong(format_args!(
                        "must be `do`, a step id and the words of that step, but is {}",
                        shown(line.as_bytes())
                    ))
                })?;
                if lines.last().is_some_and(|last| last.id >= read.id) {
                    return Err(self.wrong("steps must be sorted by id, each named once"));
                }
                lines.push(read);
                steps += 1;
                if steps > MAX_STEPS {
                    return Err(self.wrong(format_args!(
                        "more than {MAX_STEPS} steps; release fewer at a time"
                    )));
                }
                line = self.next()?;
            }
            if lines.is_empty() {
                return Err(self.wrong(format_args!("no step for {executor}")));
            }
            blocks.insert(executor.to_owned(), lines);
        }
        if blocks.is_empty() {
            return Err(self.wrong("no executor is named, so there is nothing to permit"));
        }
        Ok(blocks)
    }
}

/// One executor, of any kind; never a pattern (M45).
fn is_executor(text: &str) -> bool {
    text.parse::<Executor>().is_ok()
}

/// `<id> <verb> <resource> <parameters>`.
fn read_step(text: &str) -> Option<Line> {
    let (id, words) = text.split_once(' ')?;
    let mut parts = words.split(' ');
    let verb = parts.next()?;
    let is_verb = verb.split_once('.').is_some_and(|(noun, act)| {
        [noun, act].iter().all(|it| {
            !it.is_empty()
                && it
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        })
    });
    let resource = parts.next()?;
    let is_resource = !resource.contains('=') && is_word(resource);
    let are_parameters = parts.all(|it| {
        it.split_once('=').is_some_and(|(name, value)| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
                && (value.is_empty() || is_word(value))
        })
    });
    (is_verb && is_resource && are_parameters).then_some(())?;
    Some(Line {
        id: id.parse().ok()?,
        words: words.to_owned(),
    })
}

/// One value as [`crate::id::percent_encode`] writes it.
fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(b) = bytes.get(at) {
        at += match b {
            b'%' => {
                let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
                match bytes.get(at + 1..at + 3) {
                    Some(pair) if pair.iter().all(hex) => 3,
                    _ => return false,
                }
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => 1,
            b'.' | b'_' | b'/' | b'@' | b':' | b'+' | b'-' => 1,
            _ => return false,
        };
    }
    !bytes.is_empty()
}
