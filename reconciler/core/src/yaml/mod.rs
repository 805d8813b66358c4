//! From bytes to the events of a YAML file, strictly.
//!
//! Two readers produce the same [`event`]s: [`subset`] is fast and knows the shapes that rosters really have, [`full`]
//! knows all of YAML that we accept. Aliases, anchors, tags, merge keys, directives, second documents, and characters
//! that nobody sees are refused, each under its own rule: what a reviewer reads must be what the program reads.

pub mod cursor;
pub mod event;
pub mod full;
pub mod scalar;
pub mod subset;

#[cfg(test)]
mod tests;

use crate::diagnostic::{Fault, Faults, is_hidden};
use cursor::Cursor;
use event::Stop;

/// How many maps and lists may stand inside each other.
pub const MAX_DEPTH: usize = 16;

/// The largest file that is read, in bytes (256 MiB).
pub const MAX_BYTES: usize = 256 << 20;

/// The names of the rules that the YAML reader itself enforces.
pub mod rules {
    /// The file is larger than [`super::MAX_BYTES`].
    pub const SIZE: &str = "yaml-size";
    /// Bytes that are not UTF-8.
    pub const UTF8: &str = "yaml-utf8";
    /// A pointer to a file that is kept elsewhere.
    pub const POINTER: &str = "lfs-pointer";
    /// What a merge leaves where two sides differ.
    pub const CONFLICT: &str = "conflict-marker";
    /// A byte-order mark.
    pub const BOM: &str = "yaml-bom";
    /// Control characters, and others that hide or reorder text.
    pub const CONTROL: &str = "yaml-control-character";
    /// A tab in the indentation.
    pub const TAB: &str = "yaml-tab";
    /// The file is no YAML.
    pub const SYNTAX: &str = "yaml-syntax";
    /// `%YAML`, `%TAG`.
    pub const DIRECTIVE: &str = "yaml-directive";
    /// More than one document.
    pub const DOCUMENTS: &str = "yaml-documents";
    /// `*name`.
    pub const ALIAS: &str = "yaml-alias";
    /// `&name`.
    pub const ANCHOR: &str = "yaml-anchor";
    /// `!tag`.
    pub const TAG: &str = "yaml-tag";
    /// `<<`.
    pub const MERGE_KEY: &str = "yaml-merge-key";
    /// A key that is not a scalar.
    pub const KEY: &str = "yaml-key";
    /// Too much nesting.
    pub const DEPTH: &str = "yaml-depth";
    /// More errors than anybody reads.
    pub const TOO_MANY: &str = "too-many-errors";
    /// More values than a file of that size has.
    pub const DENSE: &str = "yaml-dense";
    /// The same key twice in one map.
    pub const DUPLICATE_KEY: &str = "duplicate-key";

    /// All of them, each with one sentence.
    pub const ALL: &[(&str, &str)] = &[
        (SIZE, "A file holds at most 256 MiB."),
        (UTF8, "A file is UTF-8."),
        (
            POINTER,
            "A file stands in the repository itself; git LFS leaves a pointer in its place.",
        ),
        (
            CONFLICT,
            "There are no conflict markers (`<<<<<<<`) of a merge.",
        ),
        (BOM, "There is no byte-order mark."),
        (
            CONTROL,
            "There are no control characters, and none that hide or reorder text.",
        ),
        (TAB, "Indentation is made of spaces."),
        (SYNTAX, "A file is valid YAML."),
        (DIRECTIVE, "There are no directives (`%…`)."),
        (DOCUMENTS, "A file holds one document."),
        (ALIAS, "There are no aliases (`*…`)."),
        (ANCHOR, "There are no anchors (`&…`)."),
        (TAG, "There are no tags (`!…`)."),
        (MERGE_KEY, "There are no merge keys (`<<`)."),
        (KEY, "A key is a single word, no map or list."),
        (DEPTH, "Maps and lists are nested at most 16 deep."),
        (TOO_MANY, "A file with 10,000 errors is not read on."),
        (
            DENSE,
            "Long lists are not made of very short values: a few bytes of each file could fill the memory.",
        ),
        (DUPLICATE_KEY, "A map has each key once."),
    ];
}

/// Reads a file with `read`, quickly where possible.
///
/// `read` may be called twice: when the fast reader declines halfway, what it found so far is dropped and the full
/// reader starts over. `None` means that the file was refused; `faults` say why.
pub fn read<'a, T>(
    bytes: &'a [u8],
    faults: &mut Faults,
    read: impl Fn(&mut Cursor<'a>, &mut Faults) -> Result<T, Stop>,
) -> Option<T> {
    let text = inspect(bytes, faults)?;
    let read_all = |mut cursor: Cursor<'a>, found: &mut Faults| {
        let value = read(&mut cursor, found)?;
        // What comes after the value may still make the file no YAML at all.
        cursor.finish()?;
        Ok(value)
    };
    let value = match read_all(Cursor::fast(text), faults) {
        Err(Stop::Declined) => {
            faults.clear();
            read_all(Cursor::full(text), faults)
        }
        done => done,
    };
    match value {
        Ok(value) => Some(value),
        Err(Stop::Refused(fault)) => {
            // What a merge left is no YAML wherever it stands, and is said as what it is.
            faults.add_last(conflict(text).unwrap_or(*fault));
            None
        }
        Err(Stop::Declined) => {
            faults.add_last(Fault::of_file(rules::SYNTAX, "not valid YAML"));
            None
        }
    }
}

/// Refuses what must not even be parsed: size, encoding, and characters that nobody sees.
pub fn inspect<'a>(bytes: &'a [u8], faults: &mut Faults) -> Option<&'a str> {
    if bytes.len() > MAX_BYTES {
        let size = bytes.len() >> 20;
        faults.add(Fault::of_file(
            rules::SIZE,
            format!(
                "the file has {size} MiB; at most {} are read",
                MAX_BYTES >> 20
            ),
        ));
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = offset(error.valid_up_to());
            faults.add(
                Fault::error(rules::UTF8, at, "not UTF-8")
                    .help("save the file as UTF-8 without a byte-order mark"),
            );
            return None;
        }
    };
    if text.starts_with(LFS) {
        faults.add(
            Fault::of_file(
                rules::POINTER,
                "a pointer of git LFS stands here, and not the file itself",
            )
            .help("take the file out of git LFS (`git lfs untrack`, see .gitattributes), and commit it as it is"),
        );
        return None;
    }
    for (start, block) in (0..).step_by(BLOCK).zip(bytes.chunks(BLOCK)) {
        // Nearly all blocks are printable ASCII, and this loop is all they cost.
        let unusual = block.iter().fold(false, |found, &b| {
            found | ((b < b' ') & (b != b'\n')) | (b > b'~')
        });
        if unusual {
            inspect_block(text, start, start + block.len(), faults);
        }
        if faults.are_enough() {
            faults.add_last(too_many(offset(start + block.len())));
            break;
        }
    }
    (!faults.has_errors()).then_some(text)
}

/// How a pointer of git LFS begins, whatever its version.
const LFS: &str = "version https://git-lfs.github.com/spec/";

/// That a merge left its markers, at the first of them.
fn conflict(text: &str) -> Option<Fault> {
    const MARKER: &str = "<<<<<<< ";
    let at = text.match_indices(MARKER).find_map(|(at, _)| {
        let begins_a_line = at == 0 || text.as_bytes()[at - 1] == b'\n';
        begins_a_line.then_some(at)
    })?;
    let fault = Fault::error(rules::CONFLICT, offset(at), "a merge left its markers here");
    Some(fault.help("decide what is to stand here, and take out the lines that begin with <<<<<<<, ======= and >>>>>>>"))
}

/// That a file has more errors than anybody reads.
pub(crate) fn too_many(at: u32) -> Fault {
    Fault::error(
        rules::TOO_MANY,
        at,
        "the rest of the file was not read: it has very many errors already",
    )
    .help("mend those above first")
}

const BLOCK: usize = 4096;

/// Looks at every character that starts in `start..end`.
fn inspect_block(text: &str, start: usize, end: usize, faults: &mut Faults) {
    let start = (start..end)
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(end);
    for (at, c) in text[start..].char_indices().map(|(i, c)| (start + i, c)) {
        if at >= end {
            return;
        }
        let fault = match c {
            '\n' => continue,
            '\t' if is_indentation(&text.as_bytes()[..at]) => {
                Fault::error(rules::TAB, offset(at), "a tab in the indentation")
                    .help("indent with spaces")
            }
            '\t' => continue,
            '\r' if text.as_bytes().get(at + 1) == Some(&b'\n') => continue,
            '\u{feff}' => Fault::error(rules::BOM, offset(at), "a byte-order mark")
                .help("save the file as UTF-8 without it"),
            c if is_hidden(c) => {
                let problem = format!("the invisible character U+{:04X}", u32::from(c));
                Fault::error(rules::CONTROL, offset(at), problem).help("take it out")
            }
            _ => continue,
        };
        faults.add(fault);
    }
}

/// Whether a tab after `before` stands in the indentation. Stops at an earlier tab, which was judged already.
fn is_indentation(before: &[u8]) -> bool {
    let last = before.iter().rev().find(|&&b| b != b' ');
    matches!(last, None | Some(b'\n'))
}

/// Sizes were checked against [`MAX_BYTES`].
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
