//! subuid and subgid: ranges, several of which may belong to one owner.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::fields::{self, line_of_nul, subordinate};
use super::free::IdRange;
use super::table::Stage;
use super::{File, ReadError};

/// The lines of subuid or subgid, in the order of the file.
#[derive(Debug)]
pub(super) struct Ranges {
    present: bool,
    text: Vec<u8>,
    lines: Vec<Line>,
    touched: bool,
    /// Whether the lines are known to stand in the order that useradd gives them.
    sorted: bool,
    /// Owners whose ranges go before anything else happens here; kept apart so that a batch walks the file once.
    leaving: HashSet<Box<str>>,
    owned: OnceCell<BTreeMap<u64, (u64, Box<str>)>>,
}

#[derive(Debug)]
struct Line {
    text: Text,
    /// How long the owner's name at the beginning is, and the range; `None` for a line that is no range.
    range: Option<(usize, IdRange)>,
    removed: bool,
    added: bool,
}

#[derive(Debug)]
enum Text {
    Read { start: usize, end: usize },
    Written(Box<str>),
}

impl Ranges {
    pub(super) fn parse(file: File, bytes: Option<Vec<u8>>) -> Result<Self, ReadError> {
        let present = bytes.is_some();
        let text = bytes.unwrap_or_default();
        if let Some(line) = line_of_nul(&text) {
            return Err(ReadError::Nul { file, line });
        }
        let mut lines = Vec::with_capacity(text.len() / 24);
        for Range { start, end } in fields::lines(&text) {
            let range = subordinate(&text[start..end])
                .map(|(owner, first, count)| (owner.len(), IdRange { first, count }));
            lines.push(Line {
                text: Text::Read { start, end },
                range,
                removed: false,
                added: false,
            });
        }
        Ok(Self {
            present,
            text,
            lines,
            touched: false,
            sorted: false,
            leaving: HashSet::new(),
            owned: OnceCell::new(),
        })
    }

    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    /// Owner and range of every line that can be read and stays, in the order of the file.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (&str, IdRange)> {
        let staying = self.lines.iter().filter(|line| !line.removed);
        staying
            .filter_map(|line| owned(&self.text, line))
            .filter(|(owner, _)| self.leaving.is_empty() || !self.leaving.contains(*owner))
    }

    /// The ranges that are or were given to somebody since the file was read.
    pub(super) fn ranges_ever(&self) -> impl Iterator<Item = IdRange> {
        self.lines
            .iter()
            .filter_map(|line| line.range)
            .map(|(_, range)| range)
    }

    /// Somebody else whose range shares an id with `range`, removed in this batch or not.
    pub(super) fn overlapping(&self, owner: &str, range: IdRange) -> Option<(&str, IdRange)> {
        let end = range.first.saturating_add(range.count);
        let mut below = self.owned().range(..end).rev();
        let (first, (count, other)) = below.find(|(_, (_, other))| &**other != owner)?;
        // Ranges of the file may themselves overlap; the nearest below is what a sane file has.
        let theirs = IdRange {
            first: *first,
            count: *count,
        };
        (first.saturating_add(*count) > range.first).then_some((&**other, theirs))
    }

    /// Adds a range at the end, unless `owner` has it already. `Order::AsUseradd` first sorts the file, as useradd does
    /// when it looks for a free range.
    pub(super) fn append(&mut self, owner: &str, range: IdRange, order: Order) {
        self.part();
        if order == Order::AsUseradd {
            self.sort();
        }
        if self.has(owner, range) {
            return;
        }
        let last = self
            .lines
            .last()
            .map(|line| line.range.map(|(_, range)| range.first));
        self.sorted &= last.is_none_or(|first| first.is_some_and(|first| first < range.first));
        let text = format!("{owner}:{}:{}", range.first, range.count).into();
        if let Some(owned) = self.owned.get_mut() {
            owned.insert(range.first, (range.count, owner.into()));
        }
        let range = Some((owner.len(), range));
        self.lines.push(Line {
            text: Text::Written(text),
            range,
            removed: false,
            added: true,
        });
        self.touched = true;
    }

    /// Removes all ranges that stand under the name `owner`.
    pub(super) fn remove(&mut self, owner: &str) {
        self.leaving.insert(owner.into());
    }

    /// The ranges that stand under the name `owner`; it walks the file.
    pub(super) fn of(&self, owner: &str) -> Vec<IdRange> {
        self.ranges()
            .filter(|(name, _)| *name == owner)
            .map(|(_, range)| range)
            .collect()
    }

    pub(super) fn render(&mut self, stage: Stage) -> Option<Vec<u8>> {
        self.part();
        if !self.touched {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.text.len() + 64);
        for line in &self.lines {
            if line.removed && (stage == Stage::Final || line.added) {
                continue;
            }
            bytes.extend_from_slice(bytes_of(&self.text, line));
            bytes.push(b'\n');
        }
        (bytes != self.text).then_some(bytes)
    }

    pub(super) fn has_removals(&mut self) -> bool {
        self.part();
        self.lines.iter().any(|line| line.removed && !line.added)
    }

    pub(super) fn has_additions(&self) -> bool {
        self.lines.iter().any(|line| line.added && !line.removed)
    }

    /// Who had which range, removed since or not, by its first id.
    fn owned(&self) -> &BTreeMap<u64, (u64, Box<str>)> {
        self.owned.get_or_init(|| {
            let ranges = self.lines.iter().filter_map(|line| owned(&self.text, line));
            let ranges = ranges.filter(|(_, range)| range.count > 0);
            ranges
                .map(|(owner, range)| (range.first, (range.count, owner.into())))
                .collect()
        })
    }

    fn part(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        for line in self.lines.iter_mut().filter(|line| !line.removed) {
            if owned(&self.text, line).is_some_and(|(owner, _)| self.leaving.contains(owner)) {
                line.removed = true;
                self.touched = true;
            }
        }
        self.leaving.clear();
    }

    /// By first id, then count, then owner; lines that are no range go behind, and turn round each time.
    fn sort(&mut self) {
        if self.sorted {
            return;
        }
        let (mut ranges, mut odd): (Vec<_>, Vec<_>) =
            self.lines.drain(..).partition(|line| line.range.is_some());
        let text = &self.text;
        ranges.sort_by(|a, b| key(text, a).cmp(&key(text, b)));
        self.sorted = odd.is_empty();
        odd.reverse();
        ranges.append(&mut odd);
        self.lines = ranges;
        self.touched = true;
    }

    /// Whether the ranges of `owner` cover `range`.
    fn has(&self, owner: &str, range: IdRange) -> bool {
        let end = range.first.saturating_add(range.count);
        let mut next = range.first;
        // Without this, a batch of new owners would walk the whole file once for each of them.
        let nearest = self.owned().range(..=next).next_back();
        if nearest.is_none_or(|(_, (_, other))| &**other != owner) {
            return false;
        }
        while next < end {
            let covering = self.ranges().find(|(name, own)| {
                *name == owner && own.first <= next && next < own.first.saturating_add(own.count)
            });
            match covering {
                Some((_, own)) => next = own.first.saturating_add(own.count),
                None => return false,
            }
        }
        range.count > 0
    }
}

/// Whether a file is sorted before a range is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As useradd leaves it, which sorts to find a gap.
    AsUseradd,
    /// As usermod leaves it.
    AsFound,
}

fn bytes_of<'a>(file: &'a [u8], line: &'a Line) -> &'a [u8] {
    match &line.text {
        Text::Read { start, end } => &file[*start..*end],
        Text::Written(text) => text.as_bytes(),
    }
}

fn owned<'a>(file: &'a [u8], line: &'a Line) -> Option<(&'a str, IdRange)> {
    let (length, range) = line.range?;
    let owner = std::str::from_utf8(&bytes_of(file, line)[..length]).ok()?;
    Some((owner, range))
}

fn key<'a>(file: &'a [u8], line: &'a Line) -> Option<(IdRange, &'a str)> {
    owned(file, line).map(|(owner, range)| (range, owner))
}
