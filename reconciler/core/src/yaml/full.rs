//! Every YAML file that we accept, by a complete parser; what we refuse is refused here with its place.

use std::borrow::Cow;

use granit_parser::{ErrorKind, Event as Parsed, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::event::{Event, EventKind, Events, Stop};
use super::{MAX_DEPTH, rules};
use crate::diagnostic::Fault;

/// The events of any text.
pub struct Full<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// The collections that are open, outermost first.
    open: Vec<Open>,
    documents: u32,
    root_seen: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Open {
    Seq,
    MapBeforeKey,
    MapBeforeValue,
}

impl<'a> Full<'a> {
    /// Starts at the beginning of `text`, which must have passed [`super::inspect`].
    pub fn new(text: &'a str) -> Self {
        let mut options = granit_parser::options! {
            disallow_directives: true,
            // The parser reads ahead: it must not pile up what is refused anyway.
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
            // Both only so that the fault can point at the `*` or the `&` itself.
            emit_unresolved_aliases: true,
            emit_anchor_events: true,
        };
        options.set_emit_comments(false);
        let parser = Parser::new_from_str_with_options(text, options);
        Self {
            parser,
            open: Vec::new(),
            documents: 0,
            root_seen: false,
        }
    }

    /// Notes that a value starts: refuses what we do not read, and turns map keys and values about.
    fn enter_node(
        &mut self,
        span: Span,
        anchored: bool,
        tagged: bool,
        scalar: Option<(&str, bool)>,
    ) -> Result<(), Stop> {
        if tagged {
            let at = span
                .tag_start()
                .map_or(start(span), |mark| byte(mark.byte_offset()));
            return refuse(rules::TAG, at, "a tag (`!…`)", "write the value without it");
        }
        if anchored {
            let at = match self.parser.next_event() {
                Some(Ok((Parsed::Anchor(..), place))) => start(place),
                _ => start(span),
            };
            return refuse(
                rules::ANCHOR,
                at,
                "an anchor (`&…`)",
                "write the value out where it is needed",
            );
        }
        self.root_seen = true;
        match self.open.last_mut() {
            Some(place @ Open::MapBeforeKey) => {
                match scalar {
                    None => {
                        return refuse(
                            rules::KEY,
                            start(span),
                            "a key that is itself a map or a list",
                            "use a word as key",
                        );
                    }
                    Some(("<<", true)) => {
                        return refuse(
                            rules::MERGE_KEY,
                            start(span),
                            "a merge key (`<<`)",
                            "write the fields out",
                        );
                    }
                    Some(_) => {}
                }
                *place = Open::MapBeforeValue;
            }
            Some(place @ Open::MapBeforeValue) => *place = Open::MapBeforeKey,
            Some(Open::Seq) | None => {}
        }
        Ok(())
    }

    fn open(&mut self, span: Span, kind: Open) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Stop::Refused(Box::new(too_deep(start(span)))));
        }
        self.open.push(kind);
        Ok(())
    }

    fn begin_document(&mut self, span: Span) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents > 1 {
            return refuse(
                rules::DOCUMENTS,
                start(span),
                "a second document (`---`)",
                "keep one document in a file",
            );
        }
        Ok(())
    }
}

impl<'a> Events<'a> for Full<'a> {
    fn next_event(&mut self) -> Result<Event<'a>, Stop> {
        loop {
            let (parsed, span) = match self.parser.next_event() {
                Some(Ok(next)) => next,
                Some(Err(error)) => return Err(refusal(&error)),
                None => {
                    return Ok(Event {
                        kind: EventKind::End,
                        offset: 0,
                    });
                }
            };
            let kind = match parsed {
                Parsed::DocumentStart(..) => {
                    self.begin_document(span)?;
                    continue;
                }
                // A file without any content says the same as one that says `null`.
                Parsed::StreamEnd if !self.root_seen => {
                    self.root_seen = true;
                    EventKind::Scalar {
                        value: Cow::Borrowed(""),
                        plain: true,
                    }
                }
                Parsed::StreamEnd => EventKind::End,
                Parsed::Alias(_) | Parsed::UnresolvedAlias(_) => {
                    return refuse(
                        rules::ALIAS,
                        start(span),
                        "an alias (`*…`)",
                        "write the value out",
                    );
                }
                Parsed::Scalar(value, style, anchor, tag) => {
                    let plain = style == ScalarStyle::Plain;
                    // The parser says `~` where nothing is written.
                    let value = if plain && span.start == span.end {
                        Cow::Borrowed("")
                    } else {
                        value
                    };
                    self.enter_node(span, anchor != 0, tag.is_some(), Some((&value, plain)))?;
                    EventKind::Scalar { value, plain }
                }
                Parsed::SequenceStart(_, anchor, tag) => {
                    self.enter_node(span, anchor != 0, tag.is_some(), None)?;
                    self.open(span, Open::Seq)?;
                    EventKind::SeqStart
                }
                Parsed::MappingStart(_, anchor, tag) => {
                    self.enter_node(span, anchor != 0, tag.is_some(), None)?;
                    self.open(span, Open::MapBeforeKey)?;
                    EventKind::MapStart
                }
                Parsed::SequenceEnd => {
                    self.open.pop();
                    EventKind::SeqEnd
                }
                Parsed::MappingEnd => {
                    self.open.pop();
                    EventKind::MapEnd
                }
                _ => continue,
            };
            return Ok(Event {
                kind,
                offset: start(span),
            });
        }
    }
}

fn refuse<T>(rule: &'static str, at: u32, what: &str, help: &str) -> Result<T, Stop> {
    Err(Stop::Refused(Box::new(
        Fault::error(rule, at, format!("{what} is not allowed")).help(help),
    )))
}

fn too_deep(at: u32) -> Fault {
    let problem = format!("more than {MAX_DEPTH} maps and lists inside each other are not allowed");
    Fault::error(rules::DEPTH, at, problem)
        .help("nothing in a state repository is nested that deeply")
}

fn refusal(error: &ScanError) -> Stop {
    let at = byte(error.marker().byte_offset());
    let fault = match error.kind() {
        ErrorKind::DirectiveDisallowed => {
            Fault::error(rules::DIRECTIVE, at, "a directive (`%…`) is not allowed")
                .help("take the line out")
        }
        ErrorKind::RecursionLimitExceeded => too_deep(at),
        _ => Fault::error(
            rules::SYNTAX,
            at,
            format!("not valid YAML: {}", error.info()),
        )
        .help("the rest of the file was not read; mend this first"),
    };
    Stop::Refused(Box::new(fault))
}

fn start(span: Span) -> u32 {
    byte(span.start.byte_offset())
}

fn byte(offset: Option<usize>) -> u32 {
    offset
        .and_then(|offset| u32::try_from(offset).ok())
        .unwrap_or(0)
}
