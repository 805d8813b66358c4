//! From the text of a trust root to its values, with every problem and its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::{
    FORMAT, MAX_BYTES, MAX_KEYS, Place, Quorums, Role, RootProblem, RootProblems, SignerKey, Spans,
    TrustRoot, TrustedKey, UserVerification, is_principal, may_stand_in_a_reason, parse_time,
    rules, shown,
};
use crate::diagnostic::Pos;
use crate::repo::names::did_you_mean;
use crate::time::Time;

/// Characters of a comment.
const COMMENT: usize = 200;

type Value<'t> = toml::Spanned<DeValue<'t>>;

pub(super) fn root(text: &str) -> Result<TrustRoot, RootProblems> {
    let mut reader = Reader {
        text,
        problems: Vec::new(),
    };
    if text.len() > MAX_BYTES {
        reader.whole(format!(
            "the trust root has {} bytes and may have {MAX_BYTES}; is this the right file?",
            text.len()
        ));
        return Err(RootProblems(reader.problems));
    }
    match DeTable::parse(text) {
        Ok(table) => {
            if let Some(root) = reader.root(table.into_inner()) {
                return Ok(root);
            }
        }
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            reader.at(&span, error.message().trim().replace('\n', "; "));
        }
    }
    let mut problems = reader.problems;
    problems.sort_by_key(|it| it.at);
    Err(RootProblems(problems))
}

struct Reader<'t> {
    text: &'t str,
    problems: Vec<RootProblem>,
}

impl Reader<'_> {
    fn whole(&mut self, problem: String) {
        self.problems.push(RootProblem { at: None, problem });
    }

    fn at(&mut self, span: &Range<usize>, problem: String) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let at = Some(Pos {
            line: count(before.matches('\n').count() + 1),
            column: count(before.rsplit('\n').next().unwrap_or("").chars().count() + 1),
        });
        self.problems.push(RootProblem { at, problem });
    }

    /// All of it, or `None` after at least one problem was told.
    fn root(&mut self, table: DeTable<'_>) -> Option<TrustRoot> {
        let mut top = Table::new("the trust root", 0..0, table);
        let format = top.take("format");
        match format.as_ref().map(|it| (it.get_ref().as_str(), it.span())) {
            Some((Some(FORMAT), _)) => {}
            Some((_, span)) => {
                // What a later version says cannot be judged by this one.
                self.at(
                    &span,
                    format!("must be \"{FORMAT}\": this version of muster reads no other"),
                );
                return None;
            }
            None => {
                self.whole(format!("must begin with `format = \"{FORMAT}\"`"));
                return None;
            }
        }
        let version = top.required(self, "version", |it| {
            whole_number(it)
                .and_then(|n| u64::try_from(n).ok())
                .filter(|n| *n > 0)
                .ok_or_else(|| "must be a whole number from 1 on".to_owned())
        });
        let repo = top.required(self, "repo", parsed);
        let mut spans = Spans::default();
        let revoked = match top.take("revoked") {
            None => BTreeSet::new(),
            Some(list) => self.revoked(&list),
        };
        let quorums = match top.take("quorum") {
            None => Quorums::default(),
            Some(value) => self.quorums(value, &mut spans),
        };
        let mut keys = Vec::new();
        if let Some(list) = top.take("key") {
            let span = list.span();
            match list.into_inner() {
                DeValue::Array(list) if list.len() <= MAX_KEYS => {
                    for value in list {
                        let span = value.span();
                        if let Some(key) = self.key(value) {
                            keys.push(key);
                            spans.keys.push(span);
                        }
                    }
                }
                DeValue::Array(list) => self.at(
                    &span,
                    format!(
                        "{} keys are too many; {MAX_KEYS} may be in a trust root",
                        list.len()
                    ),
                ),
                _ => self.at(
                    &span,
                    "`key` must be tables: begin each with [[key]]".into(),
                ),
            }
        }
        top.refuse_the_rest(self);
        let read_all = self.problems.is_empty();
        let root = TrustRoot {
            version: version.unwrap_or(0),
            repo: repo.unwrap_or(crate::release::RepoId([0; 16])),
            quorums,
            keys,
            revoked,
        };
        rules(&root, |place, problem| {
            let span = match place {
                Place::Key(at) => spans.keys.get(at),
                // Keys that could not be read are people who were not counted.
                Place::Quorum(_) if !read_all => return,
                Place::Quorum(name) => spans.quorums.get(name),
            };
            self.at(&span.cloned().unwrap_or(0..0), problem);
        });
        self.problems.is_empty().then_some(root)
    }

    fn revoked(&mut self, list: &Value<'_>) -> BTreeSet<crate::release::Fingerprint> {
        let mut revoked = BTreeSet::new();
        let Some(values) = list.get_ref().as_array() else {
            self.at(
                &list.span(),
                "`revoked` must be a list of fingerprints".into(),
            );
            return revoked;
        };
        for value in values.iter() {
            match parsed(value) {
                Ok(fingerprint) => {
                    if !revoked.insert(fingerprint) {
                        self.at(&value.span(), "is there already; remove one of them".into());
                    }
                }
                Err(why) => self.at(&value.span(), why),
            }
        }
        revoked
    }

    fn quorums(&mut self, value: Value<'_>, spans: &mut Spans) -> Quorums {
        let mut quorums = Quorums::default();
        let Some(mut table) = self.table("[quorum]", value) else {
            return quorums;
        };
        for (name, place) in [
            ("privileged", &mut quorums.privileged),
            ("destructive", &mut quorums.destructive),
            ("many", &mut quorums.many),
            ("admin", &mut quorums.admin),
            ("rotation", &mut quorums.rotation),
            ("recovery", &mut quorums.recovery),
        ] {
            *place = table.optional(self, name, |it| {
                spans.quorums.insert(name, it.span());
                whole_number(it)
                    .and_then(|n| usize::try_from(n).ok())
                    .ok_or_else(|| "must be a number of people".to_owned())
            });
        }
        table.refuse_the_rest(self);
        quorums
    }

    fn key(&mut self, value: Value<'_>) -> Option<TrustedKey> {
        let mut table = self.table("[[key]]", value)?;
        let principal = table.required(self, "principal", |it| {
            Some(text(it)?).filter(|it| is_principal(it)).map(str::to_owned).ok_or_else(|| {
                "a principal is one person: lower-case letters first, then digits and . _ @ + - too, at most 64, and never a pattern".to_owned()
            })
        });
        let role = table.required(self, "role", |it| match text(it)? {
            "operational" => Ok(Role::Operational),
            "recovery" => Ok(Role::Recovery),
            _ => Err("must be \"operational\" or \"recovery\"".to_owned()),
        });
        let key = table.required(self, "key", parsed::<SignerKey>);
        let not_before = table.optional(self, "not_before", moment);
        let not_after = table.optional(self, "not_after", moment);
        let verify_required =
            table.optional(self, "verify_required", |it| match it.get_ref().as_bool() {
                Some(true) => Ok(UserVerification::Required),
                Some(false) => Ok(UserVerification::NotAsked),
                None => Err("must be true or false".to_owned()),
            });
        let comment = table.optional(self, "comment", |it| {
            Some(text(it)?)
                .filter(|it| it.len() <= COMMENT && it.bytes().all(may_stand_in_a_reason))
                .map(str::to_owned)
                .ok_or_else(|| {
                    format!("a comment is at most {COMMENT} characters of printable ASCII without double quotes and backslashes")
                })
        });
        table.refuse_the_rest(self);
        Some(TrustedKey {
            principal: principal?,
            role: role?,
            key: key?,
            not_before,
            not_after,
            verify_required: verify_required.unwrap_or_default(),
            comment: comment.unwrap_or_default(),
        })
    }

    fn table<'t>(&mut self, name: &'static str, value: Value<'t>) -> Option<Table<'t>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Table::new(name, span, table)),
            _ => {
                self.at(&span, format!("must be a table: begin it with {name}"));
                None
            }
        }
    }
}

/// A table out of which known keys are taken; what is left at the end is unknown.
struct Table<'t> {
    name: &'static str,
    span: Range<usize>,
    left: BTreeMap<String, (Range<usize>, Value<'t>)>,
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    fn new(name: &'static str, span: Range<usize>, table: DeTable<'t>) -> Self {
        let left = table
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), (key.span(), value)))
            .collect();
        Self {
            name,
            span,
            left,
            known: Vec::new(),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.known.push(key);
        self.left.remove(key).map(|(_, value)| value)
    }

    fn optional<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl FnOnce(&Value<'t>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(key)?;
        read(&value)
            .map_err(|why| reader.at(&value.span(), format!("`{key}`: {why}")))
            .ok()
    }

    fn required<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl FnOnce(&Value<'t>) -> Result<T, String>,
    ) -> Option<T> {
        if !self.left.contains_key(key) {
            self.known.push(key);
            reader.at(&self.span, format!("{} has no `{key}`; add it", self.name));
            return None;
        }
        self.optional(reader, key, read)
    }

    fn refuse_the_rest(self, reader: &mut Reader<'_>) {
        let Self {
            name, left, known, ..
        } = self;
        for (key, (span, _)) in left {
            let hint = did_you_mean(&key, known.iter().copied()).map_or_else(
                || "remove it".to_owned(),
                |it| format!("did you mean `{it}`?"),
            );
            let key = shown(key.as_bytes());
            reader.at(&span, format!("{name} knows no {key}; {hint}"));
        }
    }
}

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text),
        other => Err(format!(
            "must be text in double quotes, not {}",
            other.type_str()
        )),
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(value: &Value<'_>) -> Result<T, String> {
    text(value)?
        .parse()
        .map_err(|error: T::Err| error.to_string())
}

fn moment(value: &Value<'_>) -> Result<Time, String> {
    parse_time(text(value)?)
        .ok_or_else(|| "a moment is written like \"2026-11-22T01:00:00Z\"".to_owned())
}

fn whole_number(value: &Value<'_>) -> Option<i64> {
    let number = value.get_ref().as_integer()?;
    (number.radix() == 10)
        .then(|| number.as_str().parse().ok())
        .flatten()
}
