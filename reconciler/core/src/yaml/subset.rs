//! A fast reader for the few shapes that state repositories really have.
//!
//! Block maps and lists, one-line flow maps and lists, plain words, sentences on one line, simple quotes, comments. Whatever it is not
//! sure of it *declines*, and the full reader starts over: this module may be narrow, it must never differ.

use std::borrow::Cow;

use super::MAX_DEPTH;
use super::cursor::Key;
use super::event::{Event, EventKind, Events, Stop};
use crate::bytes::ByteSet;

/// The longest plain or quoted value; well under the length at which YAML no longer accepts a key.
const MAX_SCALAR: usize = 500;

/// How much of one line is kept at once, in events.
const MAX_READY: usize = 1_000;

/// The longest word of a [`Subset::next_plain_pair`].
const SHORT: usize = 64;

/// The events of a text that is written in the subset.
#[derive(Debug)]
pub struct Subset<'a> {
    text: &'a str,
    /// The start of the next line.
    at: usize,
    /// The block collections that are open, outermost first.
    levels: Vec<Level>,
    /// The last key has no value yet.
    value_due: bool,
    /// What the last line said, and how much of that was handed out.
    ready: Vec<Event<'a>>,
    taken: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    indent: usize,
    kind: Collection,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Collection {
    Map,
    Seq,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nothing but comments so far.
    Prologue,
    /// `---` was seen.
    Marked,
    Content,
    End,
}

impl<'a> Subset<'a> {
    /// Starts at the beginning of `text`, which must have passed [`super::inspect`].
    pub fn new(text: &'a str) -> Self {
        let (levels, ready) = (Vec::with_capacity(8), Vec::with_capacity(16));
        Self {
            text,
            at: 0,
            levels,
            value_due: false,
            ready,
            taken: 0,
            phase: Phase::Prologue,
        }
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    #[inline]
    fn skip_spaces(&self, mut at: usize) -> usize {
        while self.byte(at) == Some(b' ') {
            at += 1;
        }
        at
    }

    /// Declines a line that says more than is worth keeping at once.
    fn has_room(&self) -> Result<(), Stop> {
        if self.ready.len() > MAX_READY {
            return Err(Stop::Declined);
        }
        Ok(())
    }

    #[inline]
    fn emit(&mut self, at: usize, kind: EventKind<'a>) {
        self.ready.push(Event {
            kind,
            offset: offset(at),
        });
    }

    /// Reads one line, and queues what it says.
    fn read_line(&mut self) -> Result<(), Stop> {
        let first = self.skip_spaces(self.at);
        let indent = first - self.at;
        match self.byte(first) {
            None => return self.finish(),
            Some(b'\n' | b'#') => {
                self.at = self.line_end(first);
                return Ok(());
            }
            Some(_) => {}
        }
        if self.phase != Phase::Content && self.begin(first, indent)? == Begun::Marker {
            return Ok(());
        }
        let is_item = self.byte(first) == Some(b'-') && self.byte(first + 1) == Some(b' ');
        self.enter(
            first,
            indent,
            if is_item {
                Collection::Seq
            } else {
                Collection::Map
            },
        )?;
        let after = if is_item {
            let value = self.skip_spaces(first + 2);
            self.read_block_value(value, self.levels.len())?
        } else {
            self.read_pair(first)?
        };
        self.at = self.expect_line_end(after)?;
        Ok(())
    }

    /// The next line as a whole, where it is a plain key and a plain value in the innermost map and nothing else, as most
    /// lines of a roster are. Any other line, and whatever a line said that was not taken yet, is left to
    /// [`Events::next_event`].
    #[inline]
    pub(super) fn next_plain_pair(&mut self) -> Option<(Key<'a>, Event<'a>)> {
        let waits = self.value_due || self.phase != Phase::Content || self.taken < self.ready.len();
        let level = *self.levels.last()?;
        let first = self.skip_spaces(self.at);
        if waits || level.kind != Collection::Map || first - self.at != level.indent {
            return None;
        }
        let key = self.plain_word(first)?;
        let colon = first + key.text.len();
        if self.byte(colon) != Some(b':') || self.byte(colon + 1) != Some(b' ') {
            return None;
        }
        let value = self.plain_word(self.skip_spaces(colon + 2))?;
        let end = value.at + value.text.len();
        if self.byte(end) != Some(b'\n') {
            return None;
        }
        self.at = end + 1;
        let key = Key {
            text: Cow::Borrowed(key.text),
            plain: true,
            at: offset(key.at),
        };
        let value = Event {
            kind: EventKind::Scalar {
                value: Cow::Borrowed(value.text),
                plain: true,
            },
            offset: offset(value.at),
        };
        Some((key, value))
    }

    /// A short word without quotes that starts at `at` and can be nothing but a scalar.
    #[inline]
    fn plain_word(&self, at: usize) -> Option<Word<'a>> {
        let rest = self.text.as_bytes().get(at..)?;
        let starts = rest.first().is_some_and(|first| can_start_plain(*first));
        let most = &rest[..rest.len().min(SHORT)];
        let length = Some(plain_run(most)).filter(|it| starts && *it < most.len())?;
        Some(Word {
            text: &self.text[at..at + length],
            at,
        })
    }

    /// The first line with content: the root must be a block map that starts at the left margin.
    fn begin(&mut self, first: usize, indent: usize) -> Result<Begun, Stop> {
        if indent != 0 {
            return Err(Stop::Declined);
        }
        if self.phase == Phase::Prologue && self.text[first..].starts_with("---") {
            self.at = self.expect_line_end(first + 3)?;
            self.phase = Phase::Marked;
            return Ok(Begun::Marker);
        }
        self.phase = Phase::Content;
        self.levels.push(Level {
            indent,
            kind: Collection::Map,
        });
        self.emit(first, EventKind::MapStart);
        Ok(Begun::Root)
    }

    /// Closes and opens collections so that the innermost one is the one this line belongs to.
    fn enter(&mut self, first: usize, indent: usize, kind: Collection) -> Result<(), Stop> {
        if std::mem::take(&mut self.value_due) {
            let parent = self.innermost()?;
            // A list may stand at the indentation of its key.
            let opens =
                indent > parent.indent || (indent == parent.indent && kind == Collection::Seq);
            if opens {
                if self.levels.len() >= MAX_DEPTH {
                    return Err(Stop::Declined);
                }
                self.levels.push(Level { indent, kind });
                // A list that is not indented starts at its first item to the full reader; keep to that.
                let start = if indent > parent.indent {
                    first
                } else {
                    self.skip_spaces(first + 2)
                };
                self.emit(start, kind.start());
                return Ok(());
            }
            self.emit(first, null());
        }
        while self.innermost()?.indent > indent {
            self.close(first);
        }
        let beside_key = self.innermost()?
            == Level {
                indent,
                kind: Collection::Seq,
            }
            && kind == Collection::Map;
        if beside_key {
            self.close(first);
        }
        if self.innermost()? == (Level { indent, kind }) {
            Ok(())
        } else {
            Err(Stop::Declined)
        }
    }

    fn innermost(&self) -> Result<Level, Stop> {
        self.levels.last().copied().ok_or(Stop::Declined)
    }

    fn close(&mut self, at: usize) {
        if let Some(level) = self.levels.pop() {
            self.emit(at, level.kind.end());
        }
    }

    /// Reads `key: value` or `key:`; returns where the rest of the line starts.
    fn read_pair(&mut self, first: usize) -> Result<usize, Stop> {
        if self.byte(first) == Some(b'-') {
            return Err(Stop::Declined);
        }
        let colon = self.read_scalar(first)?;
        if self.byte(colon) != Some(b':')
            || !matches!(self.byte(colon + 1), None | Some(b' ' | b'\n'))
        {
            return Err(Stop::Declined);
        }
        let value = self.skip_spaces(colon + 1);
        if matches!(self.byte(value), None | Some(b'\n' | b'#')) {
            self.value_due = true;
            return Ok(colon + 1);
        }
        self.read_block_value(value, self.levels.len())
    }

    /// The value of a key or an item of a block. What begins as a word goes on to the end of the line.
    fn read_block_value(&mut self, at: usize, depth: usize) -> Result<usize, Stop> {
        match self.byte(at) {
            Some(first) if can_start_plain(first) => match self.word_to_line_end(at) {
                Some(word) => {
                    let kind = EventKind::Scalar {
                        value: Cow::Borrowed(word),
                        plain: true,
                    };
                    self.emit(at, kind);
                    Ok(at + word.len())
                }
                None => self.read_sentence(at),
            },
            _ => self.read_value(at, depth),
        }
    }

    /// The word that is all of the rest of a line, as most values are: nothing else has to be looked for in it (S8).
    fn word_to_line_end(&self, at: usize) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let most = &bytes[at..bytes.len().min(at + MAX_SCALAR)];
        let length = plain_run(most);
        (most.get(length) == Some(&b'\n')).then(|| &self.text[at..at + length])
    }

    /// Reads a plain value in a block, where commas and brackets mean nothing; returns where it ends.
    fn read_sentence(&mut self, at: usize) -> Result<usize, Stop> {
        let bytes = self.text.as_bytes();
        let most = &bytes[at..bytes.len().min(at + MAX_SCALAR)];
        let length = match most.iter().position(|&b| !SPOKEN.has(b)) {
            Some(length) => length,
            None if most.len() < MAX_SCALAR => most.len(),
            None => return Err(Stop::Declined),
        };
        let value = self.text[at..at + length].trim_end_matches(' ');
        // A colon before a space or at the end makes a key of what stands before it, which a value has not.
        let next = |colon: usize| value.as_bytes().get(colon + 1);
        let mut colons = memchr::memchr_iter(b':', value.as_bytes());
        if colons.any(|it| matches!(next(it), None | Some(b' '))) {
            return Err(Stop::Declined);
        }
        let kind = EventKind::Scalar {
            value: Cow::Borrowed(value),
            plain: true,
        };
        self.emit(at, kind);
        Ok(at + value.len())
    }

    fn read_value(&mut self, at: usize, depth: usize) -> Result<usize, Stop> {
        match self.byte(at) {
            Some(b'{') => self.read_flow_map(at, depth + 1),
            Some(b'[') => self.read_flow_seq(at, depth + 1),
            _ => self.read_scalar(at),
        }
    }

    fn read_flow_map(&mut self, open: usize, depth: usize) -> Result<usize, Stop> {
        self.begin_flow(open, depth, EventKind::MapStart)?;
        let mut at = self.skip_spaces(open + 1);
        if self.byte(at) != Some(b'}') {
            loop {
                self.has_room()?;
                let colon = self.read_scalar(at)?;
                if self.byte(colon) != Some(b':') || self.byte(colon + 1) != Some(b' ') {
                    return Err(Stop::Declined);
                }
                at = self.skip_spaces(colon + 2);
                at = self.read_value(at, depth)?;
                at = self.skip_spaces(at);
                match self.byte(at) {
                    Some(b',') => at = self.skip_spaces(at + 1),
                    Some(b'}') => break,
                    _ => return Err(Stop::Declined),
                }
            }
        }
        self.emit(at, EventKind::MapEnd);
        Ok(at + 1)
    }

    fn read_flow_seq(&mut self, open: usize, depth: usize) -> Result<usize, Stop> {
        self.begin_flow(open, depth, EventKind::SeqStart)?;
        let mut at = self.skip_spaces(open + 1);
        if self.byte(at) != Some(b']') {
            loop {
                self.has_room()?;
                at = self.read_value(at, depth)?;
                at = self.skip_spaces(at);
                match self.byte(at) {
                    Some(b',') => at = self.skip_spaces(at + 1),
                    Some(b']') => break,
                    _ => return Err(Stop::Declined),
                }
            }
        }
        self.emit(at, EventKind::SeqEnd);
        Ok(at + 1)
    }

    fn begin_flow(&mut self, open: usize, depth: usize, start: EventKind<'a>) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Declined);
        }
        self.emit(open, start);
        Ok(())
    }

    /// Reads a plain word or a simple quoted value; returns where it ends.
    fn read_scalar(&mut self, at: usize) -> Result<usize, Stop> {
        let bytes = self.text.as_bytes();
        let (from, to, end, plain) = match self.byte(at) {
            Some(quote @ (b'"' | b'\'')) => {
                let length = bytes[at + 1..]
                    .iter()
                    .take(MAX_SCALAR)
                    .position(|&b| b == quote || !is_quotable(b));
                let to = at + 1 + length.ok_or(Stop::Declined)?;
                // What stopped it must be the closing quote, and not the first half of an escaped one.
                if bytes[to] != quote || self.byte(to + 1) == Some(quote) {
                    return Err(Stop::Declined);
                }
                (at + 1, to, to + 1, false)
            }
            Some(first)
                if can_start_plain(first)
                    || (first == b'-' && self.byte(at + 1).is_some_and(is_plain)) =>
            {
                let most = &bytes[at..bytes.len().min(at + MAX_SCALAR)];
                let length = plain_run(most);
                if length == MAX_SCALAR {
                    return Err(Stop::Declined);
                }
                (at, at + length, at + length, true)
            }
            _ => return Err(Stop::Declined),
        };
        let value = Cow::Borrowed(&self.text[from..to]);
        self.emit(at, EventKind::Scalar { value, plain });
        Ok(end)
    }

    /// Only spaces and a comment may follow; returns the start of the next line.
    fn expect_line_end(&self, after: usize) -> Result<usize, Stop> {
        let at = self.skip_spaces(after);
        match self.byte(at) {
            None | Some(b'\n') => Ok(self.line_end(at)),
            Some(b'#') if at > after => Ok(self.line_end(at)),
            Some(_) => Err(Stop::Declined),
        }
    }

    fn line_end(&self, at: usize) -> usize {
        let rest = &self.text.as_bytes()[at..];
        rest.iter()
            .position(|&b| b == b'\n')
            .map_or(self.text.len(), |end| at + end + 1)
    }

    fn finish(&mut self) -> Result<(), Stop> {
        if self.phase != Phase::Content {
            return Err(Stop::Declined);
        }
        let end = self.text.len();
        if std::mem::take(&mut self.value_due) {
            self.emit(end, null());
        }
        while !self.levels.is_empty() {
            self.close(end);
        }
        self.phase = Phase::End;
        Ok(())
    }
}

/// A word as it stands in the text.
#[derive(Clone, Copy, Debug)]
struct Word<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Events<'a> for Subset<'a> {
    #[inline]
    fn next_event(&mut self) -> Result<Event<'a>, Stop> {
        loop {
            if let Some(event) = self.ready.get_mut(self.taken) {
                self.taken += 1;
                return Ok(std::mem::replace(event, Event::END));
            }
            self.ready.clear();
            self.taken = 0;
            if self.phase == Phase::End {
                return Ok(Event {
                    kind: EventKind::End,
                    offset: offset(self.text.len()),
                });
            }
            self.read_line()?;
        }
    }
}

#[derive(PartialEq)]
enum Begun {
    Marker,
    Root,
}

impl Collection {
    fn start<'a>(self) -> EventKind<'a> {
        match self {
            Collection::Map => EventKind::MapStart,
            Collection::Seq => EventKind::SeqStart,
        }
    }

    fn end<'a>(self) -> EventKind<'a> {
        match self {
            Collection::Map => EventKind::MapEnd,
            Collection::Seq => EventKind::SeqEnd,
        }
    }
}

fn null<'a>() -> EventKind<'a> {
    EventKind::Scalar {
        value: Cow::Borrowed(""),
        plain: true,
    }
}

/// Files over 256 MiB were refused before, so every offset fits.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Characters that mean nothing inside a plain value that is the rest of a line in a block, but for a colon at the end of a word.
static SPOKEN: ByteSet = ByteSet::of("A-Za-z0-9._@+/~ ,;:()!?='\"%&*-");

/// Characters that mean nothing to YAML wherever they stand inside a plain value: most of a roster.
///
/// Ranges, and no branch between them, so that many bytes are compared at once: first `-./` and digits, then @ and letters.
#[inline]
fn is_plain(b: u8) -> bool {
    (b.wrapping_sub(b'-') <= b'9' - b'-')
        | (b.wrapping_sub(b'@') <= b'Z' - b'@')
        | (b.wrapping_sub(b'a') <= b'z' - b'a')
        | (b == b'_')
        | (b == b'+')
        | (b == b'~')
}

/// How many plain characters a text begins with. By 16, words are found in three quarters of the time (`tests/bench/bench million`).
#[inline]
pub(super) fn plain_run(text: &[u8]) -> usize {
    let (pieces, rest) = text.as_chunks::<16>();
    for (piece, before) in pieces.iter().zip((0..).step_by(16)) {
        let mut others = [0; 16];
        for (other, b) in others.iter_mut().zip(piece) {
            *other = u8::from(!is_plain(*b));
        }
        let others = u128::from_le_bytes(others);
        if others != 0 {
            return before + others.trailing_zeros() as usize / 8;
        }
    }
    let others = rest.iter().position(|b| !is_plain(*b));
    text.len() - rest.len() + others.unwrap_or(rest.len())
}

fn can_start_plain(b: u8) -> bool {
    is_plain(b) && !matches!(b, b'@' | b'-')
}

/// Characters that stand for themselves in both kinds of quotes.
const fn is_quotable(b: u8) -> bool {
    matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\'' | b'\\')
}
