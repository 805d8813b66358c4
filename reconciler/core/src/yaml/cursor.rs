//! Walks over events without ever losing its place in the structure.

use std::borrow::Cow;
use std::fmt;

use super::event::{Event, Events as _, Kind, Stop};
use super::full::Full;
use super::subset::Subset;

/// A place in the stream of events of one file.
pub struct Cursor<'a> {
    events: Reader<'a>,
}

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
        }
    }

    /// Reads `text`, which must have passed [`super::inspect`].
    pub fn full(text: &'a str) -> Self {
        Self {
            events: Reader::Full(Box::new(Full::new(text))),
        }
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
            kind: Kind::Scalar { value: text, plain },
            offset: at,
        } = self.value()?
        else {
            return Ok(None);
        };
        let mut value = self.value()?;
        if matches!(&value.kind, Kind::Scalar { value, plain: true } if value.is_empty()) {
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
        Ok((event.kind != Kind::SeqEnd).then_some(event))
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
        while self.value()?.kind != Kind::End {}
        Ok(())
    }
}

fn depth_change(kind: &Kind<'_>) -> i32 {
    match kind {
        Kind::MapStart | Kind::SeqStart => 1,
        Kind::MapEnd | Kind::SeqEnd => -1,
        Kind::Scalar { .. } | Kind::End => 0,
    }
}
