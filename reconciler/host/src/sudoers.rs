//! Reads sudoers and what it includes, never out of the managed root.

use std::collections::BTreeSet;

use muster_core::accounts::sudoers::{Line, Sudoers, is_read_in_directory, lines};
use muster_core::reading::Reading;

use crate::dir::{Dir, split, with_causes};

const SUDOERS: &str = "/etc/sudoers";

/// How large one file may be, in bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// How large all of them may be together, in bytes.
const LIMIT: usize = 4 << 20;
/// How many files are read.
const FILES: usize = 1_000;
/// How deep includes may be nested.
const DEPTH: usize = 16;

/// What sudoers says; `None` where there is none. Of an include that cannot be read it is told in [`Sudoers::unread`],
/// and the rest counts; a file at the top that cannot be read leaves everything unknown.
pub(crate) fn read(root: &Dir) -> Reading<Option<Sudoers>> {
    let text = match root.read_followed(SUDOERS, FILE_LIMIT) {
        Ok(Some(text)) => text,
        Ok(None) => return Reading::Known(None),
        Err(error) => return Reading::Unknown(with_causes(&error)),
    };
    let mut gathered = Gathered {
        root,
        entries: Vec::new(),
        unread: BTreeSet::new(),
        bytes: 0,
        files: 0,
    };
    gathered.take(SUDOERS, &text, 0);
    let Gathered {
        entries, unread, ..
    } = gathered;
    Reading::Known(Some(Sudoers::of(
        entries.iter().map(String::as_str),
        unread,
    )))
}

/// The entries of all files, each included one in its place.
struct Gathered<'r> {
    root: &'r Dir,
    entries: Vec<String>,
    unread: BTreeSet<String>,
    bytes: usize,
    files: usize,
}

impl Gathered<'_> {
    fn take(&mut self, path: &str, text: &[u8], depth: usize) {
        self.bytes = self.bytes.saturating_add(text.len());
        self.files += 1;
        if self.bytes > LIMIT || self.files > FILES || depth > DEPTH {
            self.unread
                .insert(format!("{path}: sudoers includes too much"));
            return;
        }
        for line in lines(text) {
            match line {
                Line::Entry(entry) => self.entries.push(entry),
                Line::Include(file) => self.include(&beside(path, &file), depth),
                Line::IncludeDir(dir) => self.include_dir(&beside(path, &dir), depth),
            }
        }
    }

    fn include(&mut self, path: &str, depth: usize) {
        match self.root.read_followed(path, FILE_LIMIT) {
            Ok(Some(text)) => self.take(path, &text, depth + 1),
            Ok(None) => {
                self.unread.insert(format!("{path} is not there"));
            }
            Err(error) => {
                self.unread.insert(with_causes(&error));
            }
        }
    }

    /// A directory that is not there includes nothing, and so sudo has it.
    fn include_dir(&mut self, path: &str, depth: usize) {
        let names = match self.root.names_followed(path) {
            Ok(names) => names.unwrap_or_default(),
            Err(error) => {
                self.unread.insert(with_causes(&error));
                return;
            }
        };
        // Sorted, as sudo sorts them.
        for name in names {
            let Some(name) = name.to_str() else {
                self.unread
                    .insert(format!("{path} has a file whose name is not UTF-8"));
                continue;
            };
            let file = format!("{}/{name}", path.trim_end_matches('/'));
            let is_dir = matches!(self.root.followed(&file), Ok(Some(seen)) if seen.kind == crate::dir::FileKind::Directory);
            if is_read_in_directory(name) && !is_dir {
                self.include(&file, depth);
            }
            if self.files > FILES {
                return;
            }
        }
    }
}

/// An included path: one that is not absolute is beside the file that includes it.
fn beside(includer: &str, path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", split(includer).0)
    }
}

#[cfg(test)]
mod tests;
