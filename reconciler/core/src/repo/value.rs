//! Reads single values by their shape, and says what is wrong with them.

use std::borrow::Cow;
use std::fmt::{self, Display};

use jiff::civil::Date;

use super::fields::{Field, Presence};
use super::names::{Grammar, did_you_mean};
use crate::compat::python::repr;
use crate::diagnostic::{Fault, Faults};
use crate::yaml::cursor::{Cursor, Key};
use crate::yaml::event::{Event, EventKind, Stop};
use crate::yaml::{self, rules, scalar};

/// A value and the byte offset at which it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: u32,
}

/// The names of the rules that are enforced while reading; the sentences stand in [`super::checks::CHECKS`].
pub(super) mod shape_rules {
    pub(crate) const UNKNOWN_FIELD: &str = "unknown-field";
    pub(crate) const MISSING_FIELD: &str = "missing-field";
    pub(crate) const WRONG_TYPE: &str = "wrong-type";
    pub(crate) const AMBIGUOUS: &str = "ambiguous-scalar";
    pub(crate) const UNKNOWN_WORD: &str = "unknown-word";
    pub(crate) const UNKNOWN_TIER: &str = "unknown-tier";
    pub(crate) const DATE: &str = "date";
    pub(crate) const DUPLICATE_ENTRY: &str = "duplicate-entry";
}

use shape_rules::{
    AMBIGUOUS, DATE, DUPLICATE_ENTRY, MISSING_FIELD, UNKNOWN_FIELD, UNKNOWN_WORD, WRONG_TYPE,
};

/// Whose field is being read; starts each message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'s> {
    File,
    Person(&'s str),
    Adopt(&'s str),
    Tier(&'s str),
    Guest(&'s str),
}

impl Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::File => Ok(()),
            Subject::Person(name) => write!(f, "user {}: ", repr(name)),
            Subject::Adopt(name) => write!(f, "user {}: adopt: ", repr(name)),
            Subject::Tier(name) => write!(f, "tier {}: ", repr(name)),
            Subject::Guest(name) => write!(f, "guest {}: ", repr(name)),
        }
    }
}

/// What is read now: the cursor, where faults go, and whose field it is.
pub(crate) struct FieldReader<'r, 'a> {
    pub(crate) cursor: &'r mut Cursor<'a>,
    pub(crate) faults: &'r mut Faults,
    pub(crate) subject: Subject<'r>,
}

/// What is kept for an item of a list while the list is read, in bytes: its text and its place, in lists that grow.
pub(crate) const ITEM: usize = 96;

impl<'a> FieldReader<'_, 'a> {
    /// The same place, with another subject.
    pub(crate) fn about<'s>(&'s mut self, subject: Subject<'s>) -> FieldReader<'s, 'a> {
        FieldReader {
            cursor: self.cursor,
            faults: self.faults,
            subject,
        }
    }

    /// Reads a map by its table of fields; `each` gets every known field once. `at` is where missing fields are shown.
    /// Says `false`, and passes over the value, when it is no map.
    pub(crate) fn fields<K: Copy, const N: usize>(
        &mut self,
        table: &'static [Field<K>; N],
        at: u32,
        head: &Event<'a>,
        mut each: impl FnMut(&mut Self, &'static Field<K>, Event<'a>) -> Result<(), Stop>,
    ) -> Result<bool, Stop> {
        if head.kind != EventKind::MapStart {
            self.wrong_type(head, "", "a map of fields")?;
            return Ok(false);
        }
        let mut seen = [None; N];
        // Most people write fields in the order in which the documentation has them.
        let mut next = 0;
        while let Some((key, value)) = self.entry()? {
            let is_named = |field: &Field<K>| field.name == key.text;
            let found = match table.get(next) {
                Some(field) if is_named(field) => Some(next),
                _ => table.iter().position(is_named),
            };
            let Some(index) = found else {
                self.unknown_field(table, &key);
                self.cursor.skip(&value)?;
                continue;
            };
            next = index + 1;
            if let Some(first) = seen[index].replace(key.at) {
                let problem = format!(
                    "{}the field {} is there twice",
                    self.subject,
                    repr(&key.text)
                );
                self.faults.add(
                    Fault::error(rules::DUPLICATE_KEY, key.at, problem)
                        .first_at(first)
                        .help("take one out"),
                );
                self.cursor.skip(&value)?;
                continue;
            }
            each(self, &table[index], value)?;
        }
        for (field, seen) in table.iter().zip(seen) {
            if field.presence == Presence::Required && seen.is_none() {
                let problem = format!(
                    "{}missing required field {}",
                    self.subject,
                    repr(field.name)
                );
                self.faults
                    .add(Fault::error(MISSING_FIELD, at, problem).help(field.about));
            }
        }
        Ok(true)
    }

    /// Says what is wrong with the key of a map, if it is not of the form.
    pub(crate) fn key(&mut self, grammar: &'static Grammar, text: &str, at: u32) {
        if !(grammar.accepts)(text) {
            let problem = format!("{} is not {}", shown(text), grammar.about);
            self.faults.add(Fault::error(grammar.rule, at, problem));
        }
    }

    /// Text of a form.
    pub(crate) fn text(
        &mut self,
        field: &str,
        head: Event<'a>,
        grammar: &Grammar,
    ) -> Result<Option<At<Cow<'a, str>>>, Stop> {
        let Some(text) = self.word(field, head)? else {
            return Ok(None);
        };
        if (grammar.accepts)(&text.value) {
            return Ok(Some(text));
        }
        let problem = format!(
            "{}{}{} is not {}",
            self.subject,
            prefix(field),
            shown(&text.value),
            grammar.about
        );
        self.faults
            .add(Fault::error(grammar.rule, text.at, problem));
        Ok(None)
    }

    /// Text of any form, if all readers of YAML take it for text.
    pub(crate) fn word(
        &mut self,
        field: &str,
        head: Event<'a>,
    ) -> Result<Option<At<Cow<'a, str>>>, Stop> {
        let Event {
            kind: EventKind::Scalar { value, plain },
            offset: at,
        } = head
        else {
            self.wrong_type(&head, field, "text")?;
            return Ok(None);
        };
        if plain && value.is_empty() {
            self.add(
                WRONG_TYPE,
                at,
                field,
                "there is no value",
                "write one, or take the field out",
            );
            return Ok(None);
        }
        if let Some(meaning) = scalar::taken_for(&value).filter(|_| plain) {
            let problem =
                format!("{value} is {meaning} to some readers of YAML, and text is expected");
            self.add(
                AMBIGUOUS,
                at,
                field,
                &problem,
                &format!("quote it: \"{value}\""),
            );
            return Ok(None);
        }
        Ok(Some(At { value, at }))
    }

    /// `true` or `false`, and nothing else that YAML calls a boolean.
    pub(crate) fn bool(&mut self, field: &str, head: &Event<'a>) -> Result<Option<bool>, Stop> {
        match &head.kind {
            EventKind::Scalar { value, plain: true } if value == "true" => Ok(Some(true)),
            EventKind::Scalar { value, plain: true } if value == "false" => Ok(Some(false)),
            _ => {
                self.wrong_type(head, field, "true or false (without quotes)")?;
                Ok(None)
            }
        }
    }

    /// A plain whole number: digits only, no sign, no leading zero, at most 4294967295.
    pub(crate) fn number(
        &mut self,
        field: &str,
        head: &Event<'a>,
    ) -> Result<Option<At<u32>>, Stop> {
        if let EventKind::Scalar { value, plain: true } = &head.kind
            && value.bytes().all(|b| b.is_ascii_digit())
            && (value == "0" || !value.starts_with('0'))
            && let Ok(value) = value.parse()
        {
            return Ok(Some(At {
                value,
                at: head.offset,
            }));
        }
        self.wrong_type(
            head,
            field,
            "a plain whole number (digits only, at most 4294967295)",
        )?;
        Ok(None)
    }

    /// A day that the calendar has, written `YYYY-MM-DD`, with or without quotes.
    pub(crate) fn date(&mut self, field: &str, head: &Event<'a>) -> Result<Option<At<Date>>, Stop> {
        let EventKind::Scalar { value, .. } = &head.kind else {
            self.wrong_type(head, field, "a day as YYYY-MM-DD")?;
            return Ok(None);
        };
        if let Some(value) = parse_day(value) {
            return Ok(Some(At {
                value,
                at: head.offset,
            }));
        }
        let problem = format!(
            "{} is not a day of the calendar as YYYY-MM-DD",
            shown(value)
        );
        self.add(DATE, head.offset, field, &problem, "for example 2026-12-31");
        Ok(None)
    }

    /// A list; `each` gets every item. Says `false`, and passes over the value, when it is no list.
    pub(crate) fn list(
        &mut self,
        field: &str,
        head: &Event<'a>,
        mut each: impl FnMut(&mut Self, Event<'a>) -> Result<(), Stop>,
    ) -> Result<bool, Stop> {
        if head.kind != EventKind::SeqStart {
            self.wrong_type(head, field, "a list")?;
            return Ok(false);
        }
        while let Some(item) = self.item()? {
            each(self, item)?;
        }
        Ok(true)
    }

    /// The next key of a map, as [`Cursor::entry`] has it, as long as it is worth while to read on.
    #[inline]
    pub(crate) fn entry(&mut self) -> Result<Option<(Key<'a>, Event<'a>)>, Stop> {
        if self.faults.are_enough() {
            return match self.cursor.entry()? {
                Some((key, _)) => Err(Stop::Refused(Box::new(yaml::too_many(key.at)))),
                None => Ok(None),
            };
        }
        // As it is, and not moved once more for each field of a million people (S8).
        self.cursor.entry()
    }

    /// The next item of a list, likewise. Takes account of the memory that whoever reads a list keeps for it.
    fn item(&mut self) -> Result<Option<Event<'a>>, Stop> {
        let Some(item) = self.cursor.item()? else {
            return Ok(None);
        };
        if self.faults.are_enough() {
            return Err(Stop::Refused(Box::new(yaml::too_many(item.offset))));
        }
        self.cursor.keep(ITEM, item.offset)?;
        Ok(Some(item))
    }

    /// A list of texts of a form, each once.
    pub(crate) fn texts(
        &mut self,
        field: &str,
        head: &Event<'a>,
        grammar: &Grammar,
    ) -> Result<Option<Vec<Cow<'a, str>>>, Stop> {
        self.texts_with(field, head, grammar, |_, _| None)
    }

    /// The same, with a check of each text and its place that can find something wrong with it.
    pub(super) fn texts_with(
        &mut self,
        field: &str,
        head: &Event<'a>,
        grammar: &Grammar,
        check: impl Fn(&str, u32) -> Option<Fault>,
    ) -> Result<Option<Vec<Cow<'a, str>>>, Stop> {
        let mut texts = Vec::new();
        let is_list = self.list(field, head, |reading, item| {
            if let Some(text) = reading.text(field, item, grammar)? {
                if let Some(fault) = check(&text.value, text.at) {
                    reading.faults.add(fault);
                }
                texts.push(text);
            }
            Ok(())
        })?;
        // Beside each other are equal ones, in the order of the file; what is not the first of them was there already.
        let mut sorted: Vec<&At<Cow<'a, str>>> = texts.iter().collect();
        sorted.sort_unstable_by_key(|text| (&text.value, text.at));
        let mut again = Vec::new();
        for same in sorted.chunk_by(|a, b| a.value == b.value) {
            for text in &same[1..] {
                self.repeated(field, &text.value, text.at, same[0].at);
                again.push(text.at);
            }
        }
        again.sort_unstable();
        texts.retain(|text| again.binary_search(&text.at).is_err());
        Ok(is_list.then(|| texts.into_iter().map(|text| text.value).collect()))
    }

    /// Says that `value` was in the list already.
    pub(crate) fn repeated(&mut self, field: &str, value: &str, at: u32, first: u32) {
        let problem = format!(
            "{}{}{} is there twice",
            self.subject,
            prefix(field),
            shown(value)
        );
        self.faults.add(
            Fault::error(DUPLICATE_ENTRY, at, problem)
                .first_at(first)
                .help("take one out"),
        );
    }

    /// One of `words`; the place in that list.
    pub(crate) fn one_of(
        &mut self,
        field: &str,
        head: Event<'a>,
        words: &[&'static str],
    ) -> Result<Option<At<usize>>, Stop> {
        let Some(At { value, at }) = self.word(field, head)? else {
            return Ok(None);
        };
        if let Some(index) = words.iter().position(|word| *word == value) {
            return Ok(Some(At { value: index, at }));
        }
        let problem = format!("{} is not one of {}", shown(&value), words.join(", "));
        self.add_with(
            UNKNOWN_WORD,
            at,
            field,
            &problem,
            did_you_mean(&value, words.iter().copied()),
        );
        Ok(None)
    }

    /// Says that a value has the wrong type, and passes over it.
    pub(crate) fn wrong_type(
        &mut self,
        head: &Event<'a>,
        field: &str,
        expected: &str,
    ) -> Result<(), Stop> {
        let found = match &head.kind {
            EventKind::MapStart => "a map".to_owned(),
            EventKind::SeqStart => "a list".to_owned(),
            EventKind::Scalar { value, plain: true } if value.is_empty() => "no value".to_owned(),
            EventKind::Scalar { value, .. } => shown(value),
            EventKind::MapEnd | EventKind::SeqEnd | EventKind::End => "nothing".to_owned(),
        };
        let problem = format!(
            "{}{}{expected} is expected, not {found}",
            self.subject,
            prefix(field)
        );
        self.faults
            .add(Fault::error(WRONG_TYPE, head.offset, problem));
        self.cursor.skip(head)
    }

    fn unknown_field<K>(&mut self, table: &'static [Field<K>], key: &Key<'a>) {
        let problem = format!("{}unknown field {}", self.subject, shown(&key.text));
        let mut fault = Fault::error(UNKNOWN_FIELD, key.at, problem);
        let known = || table.iter().map(|field| field.name);
        fault = match did_you_mean(&key.text, known()) {
            Some(meant) => fault.help(format!("did you mean {meant}?")),
            None => fault.help(format!(
                "known are {}",
                known().collect::<Vec<_>>().join(", ")
            )),
        };
        self.faults.add(fault);
    }

    fn add(&mut self, rule: &'static str, at: u32, field: &str, problem: &str, help: &str) {
        let problem = format!("{}{}{problem}", self.subject, prefix(field));
        self.faults.add(Fault::error(rule, at, problem).help(help));
    }

    fn add_with(
        &mut self,
        rule: &'static str,
        at: u32,
        field: &str,
        problem: &str,
        meant: Option<&str>,
    ) {
        let fault = Fault::error(
            rule,
            at,
            format!("{}{}{problem}", self.subject, prefix(field)),
        );
        self.faults.add(match meant {
            Some(meant) => fault.help(format!("did you mean {meant}?")),
            None => fault,
        });
    }
}

/// A value as it is quoted in a message: in Python's quotes, and never longer than a line.
pub(super) fn shown(value: &str) -> String {
    match value.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", repr(&value[..end])),
        None => repr(value),
    }
}

fn prefix(field: &str) -> String {
    if field.is_empty() {
        String::new()
    } else {
        format!("{field}: ")
    }
}

/// Reads `YYYY-MM-DD`; `None` when it is written otherwise or there is no such day.
pub fn parse_day(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    let is_written_so = bytes.len() == 10
        && bytes.iter().enumerate().all(|(i, b)| {
            if i == 4 || i == 7 {
                *b == b'-'
            } else {
                b.is_ascii_digit()
            }
        });
    if !is_written_so {
        return None;
    }
    Date::new(
        text[..4].parse().ok()?,
        text[5..7].parse().ok()?,
        text[8..].parse().ok()?,
    )
    .ok()
}
