//! Walks over events without ever losing its place in the structure.

use std::borrow::Cow;
use std::fmt;

use super::event::{Event, EventKind, Events as _, Stop};
use super::full::Full;
use super::rules;
use super::subset::Subset;
use crate::diagnostic::Fault;

/// A place in the stream of events of one file.
pub struct Cursor<'a> {
    events: Reader<'a>,
    /// What [`Cursor::keep`] was told of, in bytes.
    kept: usize,
    /// The furthest place that it was told of.
    reached: u32,
}

/// What may be kept of a file of any length, in bytes: with the text itself, some less than a MiB.
const KEPT: usize = 896 << 10;

/// What may be kept for each byte that was read.
const KEPT_FOR_EACH_BYTE: usize = 5;

/// Which of the two reads. No trait object: there are millions of events, and most are one step of the fast reader.
enum Reader<'a> {
    Subset(Subset<'a>),
    Full(Box<Full<'a>>),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub struct Key<'a> {
    /// Its text.
    pub text: Cow<'a, str>,
    /// Whether it stands there without quotes.
    pub plain: bool,
    /// Where it starts, in bytes.
    pub at: u32,
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor")
    }
}

impl<'a> Cursor<'a> {
    /// Reads `text`, which must have passed [`super::inspect`], and declines what the fast reader is not sure of.
    pub fn fast(text: &'a str) -> Self {
        Self {
            events: Reader::Subset(Subset::new(text)),
            kept: 0,
            reached: 0,
        }
    }

    /// Reads `text`, which must have passed [`super::inspect`].
    pub fn full(text: &'a str) -> Self {
        Self {
            events: Reader::Full(Box::new(Full::new(text))),
            kept: 0,
            reached: 0,
        }
    }

    /// Takes account of `bytes` of memory for what stands at `at`, where a few bytes of the file could need very many (F7).
    ///
    /// # Errors
    /// When all of it is more than a file needs that is what it should be.
    pub fn keep(&mut self, bytes: usize, at: u32) -> Result<(), Stop> {
        self.kept += bytes;
        // A value that is not written has no place.
        self.reached = self.reached.max(at);
        if self.kept <= KEPT + KEPT_FOR_EACH_BYTE * self.reached as usize {
            return Ok(());
        }
        let fault = Fault::error(
            rules::DENSE,
            at,
            "so many values in so few bytes would fill the memory; the rest of the file was not read",
        );
        Err(Stop::Refused(Box::new(fault.help(
            "take out of the long lists and maps above what need not be there",
        ))))
    }

    /// Takes account of `bytes` that [`Cursor::keep`] was told of and that are kept no longer.
    pub fn give_back(&mut self, bytes: usize) {
        self.kept = self.kept.saturating_sub(bytes);
    }

    /// The first event of the next value.
    ///
    /// # Errors
    /// What the reader of the file says.
    #[inline]
    pub fn value(&mut self) -> Result<Event<'a>, Stop> {
        match &mut self.events {
            Reader::Subset(events) => events.next_event(),
            Reader::Full(events) => events.next_event(),
        }
    }

    /// The next key and the first event of its value, or `None` at the end of the map. A value that is not written
    /// gets the place of its key.
    ///
    /// # Errors
    /// What the reader of the file says.
    pub fn entry(&mut self) -> Result<Option<(Key<'a>, Event<'a>)>, Stop> {
        if let Reader::Subset(events) = &mut self.events
            && let Some((key, value)) = events.next_plain_pair()
        {
            return Ok(Some((key, value)));
        }
        let Event {
            kind: EventKind::Scalar { value: text, plain },
            offset: at,
        } = self.value()?
        else {
            return Ok(None);
        };
        let mut value = self.value()?;
        if matches!(&value.kind, EventKind::Scalar { value, plain: true } if value.is_empty()) {
            value.offset = at;
        }
        Ok(Some((Key { text, plain, at }, value)))
    }

    /// The first event of the next item, or `None` at the end of the list.
    ///
    /// # Errors
    /// What the reader of the file says.
    pub fn item(&mut self) -> Result<Option<Event<'a>>, Stop> {
        let event = self.value()?;
        Ok((event.kind != EventKind::SeqEnd).then_some(event))
    }

    /// Passes over the rest of the value that began with `head`.
    ///
    /// # Errors
    /// What the reader of the file says.
    pub fn skip(&mut self, head: &Event<'a>) -> Result<(), Stop> {
        let mut depth = depth_change(&head.kind);
        while depth > 0 {
            depth += depth_change(&self.value()?.kind);
        }
        Ok(())
    }

    /// Makes sure that nothing follows.
    ///
    /// # Errors
    /// What the reader of the file says.
    pub fn finish(&mut self) -> Result<(), Stop> {
        while self.value()?.kind != EventKind::End {}
        Ok(())
    }
}

fn depth_change(kind: &EventKind<'_>) -> i32 {
    match kind {
        EventKind::MapStart | EventKind::SeqStart => 1,
        EventKind::MapEnd | EventKind::SeqEnd => -1,
        EventKind::Scalar { .. } | EventKind::End => 0,
    }
}
