//! What is asked and answered, as lists of byte strings. The first part says what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use gix::hash::{Kind, ObjectId};

use super::frame::{self, Room};
use crate::read_error::{Found, PathProblem, ReadError};
use crate::run::printable;

/// The name and version of this language; whoever speaks another one is not answered.
pub(crate) const FORMAT: &[u8] = b"muster-reader/1";

/// How many tags are asked for at once, and how many bytes of them are given at once, beside the first.
pub(crate) const TAGS: usize = 500;
pub(crate) const TAGS_BYTES: usize = 1 << 20;

/// An error as the reader told it, with its causes.
#[derive(Debug, PartialEq, Eq)]
pub struct ReaderError {
    text: String,
    cause: Option<Box<ReaderError>>,
}

impl fmt::Display for ReaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ReaderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|it| it as _)
    }
}

impl ReaderError {
    /// The error whose words, and those of its causes, these are. What the reader says may be a stranger's words.
    pub(crate) fn of(words: &[Vec<u8>]) -> ReaderError {
        let mut told = None;
        for text in words.iter().rev() {
            told = Some(ReaderError {
                text: printable(text),
                cause: told.map(Box::new),
            });
        }
        told.unwrap_or_else(|| ReaderError {
            text: "the reader gave no reason".to_owned(),
            cause: None,
        })
    }
}

pub(crate) type Parts = Vec<Vec<u8>>;

/// An answer that is a failure: of reading an object, or of everything else.
pub(crate) enum Failure {
    Read(ReadError),
    Other(Parts),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Failure::Read(error)
    }
}

impl Failure {
    pub(crate) fn other(error: &dyn std::error::Error) -> Failure {
        let mut words = vec![error.to_string().into_bytes()];
        let mut cause = error.source();
        while let Some(error) = cause {
            words.push(error.to_string().into_bytes());
            cause = error.source();
        }
        Failure::Other(words)
    }

    pub(crate) fn words(text: &str) -> Failure {
        Failure::Other(vec![text.as_bytes().to_vec()])
    }

    /// The parts of the message.
    pub(crate) fn parts(self) -> Parts {
        match self {
            Failure::Other(mut words) => {
                words.insert(0, b"failed".to_vec());
                words
            }
            Failure::Read(error) => {
                let mut parts = vec![b"unread".to_vec()];
                parts.extend(of_read_error(error));
                parts
            }
        }
    }
}

fn of_read_error(error: ReadError) -> Parts {
    let text = |words: &[&str]| words.iter().map(|it| it.as_bytes().to_vec()).collect();
    match error {
        ReadError::Missing { id } => text(&["missing", &id]),
        ReadError::Damaged { id } => text(&["damaged", &id]),
        ReadError::WrongKind {
            id,
            found,
            expected,
        } => text(&["kind", &id, &found, &expected]),
        ReadError::TooLarge { id, size, limit } => {
            text(&["large", &id, &size.to_string(), &limit.to_string()])
        }
        ReadError::TooCostly { id } => text(&["costly", &id]),
        ReadError::TooMuch { what, limit } => text(&["much", what, &limit.to_string()]),
        ReadError::Paths(problems) => {
            let mut parts = vec![b"paths".to_vec()];
            for PathProblem { path, found } in problems {
                parts.push(path.into_bytes());
                parts.push(code_of(found).to_string().into_bytes());
            }
            parts
        }
        ReadError::Store(source) => text(&["store", &source.to_string()]),
        ReadError::Reader { why } => text(&["reader", &why]),
    }
}

/// An error of one among several things that are told with one answer: a message within the message.
pub(crate) fn nest_error(error: ReadError) -> Vec<u8> {
    let mut nested = Vec::new();
    // Nothing is too large for memory that was in memory before.
    let _ = frame::write(&mut nested, &of_read_error(error));
    nested
}

/// The same read back; `None` where it is none.
pub(crate) fn nested_error(bytes: &[u8]) -> Option<ReadError> {
    let room = Room {
        parts: 100,
        bytes: bytes.len() as u64,
    };
    let parts = frame::read(&mut &*bytes, room).ok()??;
    read_error(&parts)
}

/// The error that these parts are; `None` when they are none.
pub(crate) fn read_error(parts: &[Vec<u8>]) -> Option<ReadError> {
    let (code, rest) = parts.split_first()?;
    if code.as_slice() == b"paths" {
        let problems = rest.chunks(2).map(|pair| {
            Some(PathProblem {
                path: printable(pair.first()?),
                found: found_of(number(pair.get(1)?)?)?,
            })
        });
        return Some(ReadError::Paths(problems.collect::<Option<_>>()?));
    }
    let text = |at: usize| rest.get(at).map(|it| printable(it));
    let id = text(0)?;
    Some(match code.as_slice() {
        b"missing" => ReadError::Missing { id },
        b"damaged" => ReadError::Damaged { id },
        b"kind" => ReadError::WrongKind {
            id,
            found: text(1)?,
            expected: text(2)?,
        },
        b"large" => ReadError::TooLarge {
            id,
            size: number(rest.get(1)?)?,
            limit: number(rest.get(2)?)?,
        },
        b"costly" => ReadError::TooCostly { id },
        b"much" => ReadError::TooMuch {
            what: if id == "files" { "files" } else { "bytes" },
            limit: number(rest.get(1)?)?,
        },
        b"store" => ReadError::Store(std::io::Error::other(id)),
        b"reader" => ReadError::Reader { why: id },
        _ => return None,
    })
}

/// What stands where a plain file should, as a number: the mode of an odd one, and above all modes for the others.
fn code_of(found: Found) -> u32 {
    match found {
        Found::Symlink => 0x1_0000,
        Found::Submodule => 0x1_0001,
        Found::Executable => 0x1_0002,
        Found::Directory => 0x1_0003,
        Found::NotDirectory => 0x1_0004,
        Found::OddName => 0x1_0005,
        Found::TooDeep => 0x1_0006,
        Found::OddMode(mode) => mode.into(),
    }
}

fn found_of(code: u32) -> Option<Found> {
    Some(match code {
        0x1_0000 => Found::Symlink,
        0x1_0001 => Found::Submodule,
        0x1_0002 => Found::Executable,
        0x1_0003 => Found::Directory,
        0x1_0004 => Found::NotDirectory,
        0x1_0005 => Found::OddName,
        0x1_0006 => Found::TooDeep,
        mode => Found::OddMode(u16::try_from(mode).ok()?),
    })
}

/// A part as text.
pub(crate) fn text(part: &[u8]) -> Option<&str> {
    std::str::from_utf8(part).ok()
}

/// A part as a number.
pub(crate) fn number<T: FromStr>(part: &[u8]) -> Option<T> {
    text(part)?.parse().ok()
}

/// A part as an object id.
pub(crate) fn id(part: &[u8]) -> Option<ObjectId> {
    ObjectId::from_hex(part).ok()
}

/// How ids are made, as a word.
pub(crate) fn word_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Sha256 => "sha256",
        _ => "sha1",
    }
}

/// How ids are made.
pub(crate) fn kind_of(part: &[u8]) -> Option<Kind> {
    match part {
        b"sha1" => Some(Kind::Sha1),
        b"sha256" => Some(Kind::Sha256),
        _ => None,
    }
}

/// What the names of releases end with: `*` for anything.
pub(crate) fn signers(known: Option<&BTreeSet<String>>) -> Vec<u8> {
    let listed = known.map(|known| known.iter().map(String::as_str).collect::<Vec<_>>());
    listed.map_or_else(|| b"*".to_vec(), |listed| listed.join(" ").into_bytes())
}

/// The same read back.
pub(crate) fn signers_of(part: &[u8]) -> Option<Option<BTreeSet<String>>> {
    match part {
        b"*" => Some(None),
        listed => {
            let words = text(listed)?.split(' ').filter(|it| !it.is_empty());
            Some(Some(words.map(str::to_owned).collect()))
        }
    }
}

/// References and what they point to, one a line: no legal name has a line end in it.
pub(crate) fn lines<'a, I: fmt::Display>(refs: impl Iterator<Item = (&'a String, I)>) -> Vec<u8> {
    refs.map(|(name, id)| format!("{id} {name}\n"))
        .collect::<String>()
        .into_bytes()
}

/// The references of such lines, each with its id. Names are legal ones, and ids are of this kind.
pub(crate) fn refs_of(part: &[u8], kind: Kind) -> Option<BTreeMap<String, ObjectId>> {
    let lines = text(part)?.lines().map(|line| {
        let (hex, name) = line.split_once(' ')?;
        let id = ObjectId::from_hex(hex.as_bytes()).ok()?;
        (id.kind() == kind && crate::refs::is_legal(name)).then(|| (name.to_owned(), id))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_arrives_as_it_was() {
        let id = || "ab".repeat(20);
        let problem = |found| PathProblem {
            path: "hosts/a".to_owned(),
            found,
        };
        let all = [
            Found::Symlink,
            Found::Submodule,
            Found::Executable,
            Found::Directory,
            Found::NotDirectory,
            Found::OddMode(0o100600),
            Found::OddName,
            Found::TooDeep,
        ];
        for error in [
            ReadError::Missing { id: id() },
            ReadError::Damaged { id: id() },
            ReadError::WrongKind {
                id: id(),
                found: "tree".to_owned(),
                expected: "blob".to_owned(),
            },
            ReadError::TooLarge {
                id: id(),
                size: 7,
                limit: 5,
            },
            ReadError::TooCostly { id: id() },
            ReadError::TooMuch {
                what: "files",
                limit: 3,
            },
            ReadError::Paths(all.map(problem).into()),
            ReadError::Reader {
                why: "it ended".to_owned(),
            },
        ] {
            let said = format!("{error:?}");
            let nested = nested_error(&nest_error(error)).unwrap();
            assert_eq!(format!("{nested:?}"), said);
            let parts = Failure::Read(nested).parts();
            assert_eq!(parts[0], b"unread");
            assert_eq!(format!("{:?}", read_error(&parts[1..]).unwrap()), said);
        }
        assert!(read_error(&[b"new".to_vec(), b"x".to_vec()]).is_none());
        assert!(read_error(&[]).is_none());
    }

    #[test]
    fn words_of_strangers_are_made_fit_to_print() {
        let words = [b"a\x1b[31m\nb".to_vec(), b"\xff".to_vec()];
        let told = ReaderError::of(&words);
        assert_eq!(told.to_string(), "a\u{fffd}[31m / b");
        assert_eq!(
            std::error::Error::source(&told).unwrap().to_string(),
            "\u{fffd}"
        );
    }

    #[test]
    fn references_are_legal_names_and_ids_of_one_kind() {
        let id = "ab".repeat(20);
        let good = format!("{id} refs/heads/a b\n");
        assert!(refs_of(good.as_bytes(), Kind::Sha1).is_none());
        let good = format!("{id} refs/heads/a\n{id} refs/tags/release/x\n");
        assert_eq!(refs_of(good.as_bytes(), Kind::Sha1).unwrap().len(), 2);
        assert!(refs_of(good.as_bytes(), Kind::Sha256).is_none());
        for bad in ["x refs/heads/a", "refs/heads/a", "\n"] {
            assert!(refs_of(bad.as_bytes(), Kind::Sha1).is_none(), "{bad}");
        }
        assert!(refs_of(b"", Kind::Sha1).unwrap().is_empty());
    }
}
