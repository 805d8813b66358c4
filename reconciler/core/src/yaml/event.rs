//! What a YAML file says, as a stream of events.

use std::borrow::Cow;

use crate::diagnostic::Fault;

/// One event and the byte offset at which it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What happens.
    pub kind: EventKind<'a>,
    /// Where, in bytes from the start of the file. Meaningless for a value that is not written (`key:`).
    pub offset: u32,
}

impl Event<'_> {
    /// An end without a place.
    pub(super) const END: Self = Self {
        kind: EventKind::End,
        offset: 0,
    };
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind<'a> {
    /// A map begins; keys (always scalars) and values follow in turn.
    MapStart,
    /// The map ends.
    MapEnd,
    /// A list begins.
    SeqStart,
    /// The list ends.
    SeqEnd,
    /// A single value.
    Scalar {
        /// The text, after quotes and escapes were taken off.
        value: Cow<'a, str>,
        /// Whether it stands there without quotes, so that its meaning depends on its look.
        plain: bool,
    },
    /// The file ends.
    End,
}

/// Why there is no further event.
#[derive(Debug)]
pub enum Stop {
    /// The reader is not sure of this file; the full reader must read it from the start.
    Declined,
    /// The file is refused.
    Refused(Box<Fault>),
}

/// Produces the events of one file.
pub trait Events<'a> {
    /// The next event; after [`EventKind::End`] always that again.
    ///
    /// # Errors
    /// [`Stop`], after which the stream must not be used any more.
    fn next_event(&mut self) -> Result<Event<'a>, Stop>;
}
