//! A file of lines that are found by their first field: passwd, shadow, group and gshadow.

use std::cell::OnceCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use super::fields::{self, Group, Gshadow, Passwd, Shadow, first, is_nis};
use super::{File, ReadError};

/// The lines of one file, each kept byte for byte until an edit touches it.
pub(super) struct Table {
    file: File,
    present: bool,
    text: Vec<u8>,
    /// The lines as read, then the ones added, wherever in the file they end up.
    lines: Vec<Line>,
    read: usize,
    /// The first NIS line, in front of which lines are added.
    nis: usize,
    touched: bool,
    removed: HashSet<Box<str>>,
    index: OnceCell<Index>,
    members: OnceCell<HashMap<Box<str>, Vec<LineId>>>,
}

/// Which line of a [`Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LineId(u32);

struct Line {
    text: Text,
    removed: bool,
}

enum Text {
    Read { start: usize, end: usize },
    Written(Vec<u8>),
}

/// Lines by the hash of what stands in front of the first colon, so that an index of a large file holds no names.
#[derive(Debug, Default)]
struct Index {
    lines: HashMap<u64, LineId, BuildHasherDefault<Hashed>>,
    /// Lines whose hash belongs to another name.
    collided: Vec<LineId>,
    /// Names with more than one entry; the shadow suite refuses to edit these, and so do we.
    repeated: HashSet<Box<str>>,
    /// Names with more than one line, be they entries or not.
    several: HashSet<Box<str>>,
}

/// Passes on what is a hash already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // FNV-1a. Names come from files that root alone writes, so nobody is there to choose collisions; and a
        // collision costs time, not correctness.
        self.0 = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Notes a line, unless its hash has one already; then that one is returned.
fn insert(
    lines: &mut HashMap<u64, LineId, BuildHasherDefault<Hashed>>,
    hash: u64,
    id: LineId,
) -> Option<LineId> {
    match lines.entry(hash) {
        Entry::Vacant(vacant) => {
            vacant.insert(id);
            None
        }
        Entry::Occupied(occupied) => Some(*occupied.get()),
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = Hashed::default();
    hasher.write(name);
    hasher.finish()
}

/// What a name stands for in a table.
pub(super) enum Found {
    Nothing,
    Entry(LineId),
    Repeated,
    /// A line with that name which cannot be read.
    Odd(LineId),
}

/// Which of the two states of an edited file is written; see `commit.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// With the added and changed lines, and the removed ones too.
    Union,
    /// As it is to be.
    Final,
}

/// Shows no line, as shadow has password hashes.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            lines,
            touched,
            ..
        } = self;
        write!(
            f,
            "{file} ({} lines, {})",
            lines.len(),
            if *touched { "edited" } else { "as read" }
        )
    }
}

impl Table {
    /// Takes the bytes of a file apart; `None` when there is no such file.
    pub(super) fn parse(file: File, bytes: Option<Vec<u8>>) -> Result<Self, ReadError> {
        let present = bytes.is_some();
        let text = bytes.unwrap_or_default();
        let mut lines = Vec::with_capacity(memchr::memchr_iter(b'\n', &text).count() + 1);
        let mut nis = None;
        for range in fields::lines(&text) {
            let line = &text[range.clone()];
            let at = lines.len();
            if is_nis(line) {
                nis.get_or_insert(at);
            }
            lines.push(Line {
                text: Text::Read {
                    start: range.start,
                    end: range.end,
                },
                removed: false,
            });
        }
        if let Some(line) = fields::line_of_nul(&text) {
            return Err(ReadError::Nul { file, line });
        }
        if u32::try_from(lines.len()).is_err() {
            return Err(ReadError::TooLong { file });
        }
        let read = lines.len();
        let nis = nis.unwrap_or(read);
        Ok(Self {
            file,
            present,
            text,
            lines,
            read,
            nis,
            touched: false,
            removed: HashSet::new(),
            index: OnceCell::new(),
            members: OnceCell::new(),
        })
    }

    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    pub(super) fn line(&self, id: LineId) -> &[u8] {
        match &self.lines[id.0 as usize].text {
            Text::Read { start, end } => &self.text[*start..*end],
            Text::Written(text) => text,
        }
    }

    /// The number of a line as it was read, for messages; `None` for one that was added since.
    pub(super) fn number(&self, id: LineId) -> Option<usize> {
        let at = id.0 as usize;
        (at < self.read).then_some(at + 1)
    }

    /// The lines that are not removed, in the order of the file.
    pub(super) fn lines(&self) -> impl Iterator<Item = (LineId, &[u8])> {
        self.order()
            .filter(|id| !self.lines[id.0 as usize].removed)
            .map(|id| (id, self.line(id)))
    }

    /// All lines, the removed ones too.
    pub(super) fn lines_ever(&self) -> impl Iterator<Item = &[u8]> {
        self.order().map(|id| self.line(id))
    }

    pub(super) fn find(&self, name: &str) -> Found {
        if self.index().repeated.contains(name) {
            return Found::Repeated;
        }
        match self.named(name) {
            Some(id) if is_entry(self.file, self.line(id)) => Found::Entry(id),
            Some(id) => Found::Odd(id),
            None => Found::Nothing,
        }
    }

    /// Every line that begins with that name, entry or not, in the order of the file.
    pub(super) fn all_named(&self, name: &str) -> Vec<LineId> {
        if !self.index().several.contains(name) {
            return self.named(name).into_iter().collect();
        }
        let lines = self.lines().filter(|(_, line)| !is_nis(line));
        lines
            .filter(|(_, line)| first(line) == name.as_bytes())
            .map(|(id, _)| id)
            .collect()
    }

    /// The line that counts for a name: its first entry, or where it has none, a line that cannot be read.
    pub(super) fn named(&self, name: &str) -> Option<LineId> {
        let index = self.index();
        let is_it = |id: &LineId| {
            !self.lines[id.0 as usize].removed && first(self.line(*id)) == name.as_bytes()
        };
        let indexed = index
            .lines
            .get(&hash(name.as_bytes()))
            .copied()
            .filter(is_it);
        indexed.or_else(|| index.collided.iter().copied().find(is_it))
    }

    /// The line of `name`, when there is exactly one that can be read.
    pub(super) fn entry(&self, name: &str) -> Option<LineId> {
        match self.find(name) {
            Found::Entry(id) => Some(id),
            Found::Nothing | Found::Repeated | Found::Odd(_) => None,
        }
    }

    /// Whether a line of that name was removed since the file was read.
    pub(super) fn has_removed(&self, name: &str) -> bool {
        self.removed.contains(name)
    }

    /// Whether a line of group or gshadow lists `user` as a member.
    pub(super) fn is_member(&self, id: LineId, user: &str) -> bool {
        let members = self.members.get_or_init(|| self.index_members());
        if !members.get(user).is_some_and(|lines| lines.contains(&id)) {
            return false;
        }
        match self.file {
            File::Group => {
                Group::parse(self.line(id)).is_some_and(|group| group.members.contains(&user))
            }
            _ => Gshadow::parse(self.line(id)).is_some_and(|group| group.members.contains(&user)),
        }
    }

    pub(super) fn replace(&mut self, id: LineId, text: Vec<u8>) {
        if self.line(id) != text {
            self.lines[id.0 as usize].text = Text::Written(text);
            self.touched = true;
        }
    }

    /// Adds a line behind the last entry that is not a NIS one.
    pub(super) fn append(&mut self, name: &str, text: Vec<u8>) {
        self.index();
        let id =
            LineId(u32::try_from(self.lines.len()).expect("BUG: more lines than a file can have"));
        self.lines.push(Line {
            text: Text::Written(text),
            removed: false,
        });
        self.touched = true;
        if let Some(index) = self.index.get_mut()
            && insert(&mut index.lines, hash(name.as_bytes()), id).is_some()
        {
            // The hash is of a line that was removed, or of another name.
            index.collided.push(id);
        }
        if self.members.get().is_some() {
            for member in self.named_in(id) {
                self.note_member(&member, id);
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        let Some(id) = self.named(name) else { return };
        self.lines[id.0 as usize].removed = true;
        self.removed.insert(name.into());
        self.touched = true;
    }

    /// The lines of group or gshadow that list `user` as a member or an administrator.
    pub(super) fn lines_naming(&self, user: &str) -> Vec<LineId> {
        let members = self.members.get_or_init(|| self.index_members());
        let listed = members.get(user).map(Vec::as_slice).unwrap_or_default();
        listed
            .iter()
            .copied()
            .filter(|id| !self.lines[id.0 as usize].removed)
            .collect()
    }

    /// Keeps what [`Self::lines_naming`] answers right after a line was given a new member.
    pub(super) fn note_member(&mut self, user: &str, id: LineId) {
        if let Some(members) = self.members.get_mut() {
            let lines = members.entry(user.into()).or_default();
            if !lines.contains(&id) {
                lines.push(id);
            }
        }
    }

    /// Adds a member to a line that ends in its list of members and does not name it yet.
    pub(super) fn push_member(&mut self, id: LineId, user: &str) {
        self.touched = true;
        let line = &mut self.lines[id.0 as usize];
        // A line that we wrote has one form only, so a member goes to its end without taking it apart again.
        if !matches!(line.text, Text::Written(_)) {
            let read = self.line(id);
            let canonical = match self.file {
                File::Group => Group::parse(read).map(|group| group.line()),
                _ => Gshadow::parse(read).map(|group| group.line()),
            };
            let canonical = canonical.expect("BUG: members are added to entries only");
            self.lines[id.0 as usize].text = Text::Written(canonical);
        }
        if let Text::Written(text) = &mut self.lines[id.0 as usize].text {
            if !text.ends_with(b":") {
                text.push(b',');
            }
            text.extend_from_slice(user.as_bytes());
        }
        self.note_member(user, id);
    }

    /// Keeps what [`Self::lines_naming`] answers right after a line lost a member.
    pub(super) fn forget_member(&mut self, user: &str, id: LineId) {
        if let Some(lines) = self
            .members
            .get_mut()
            .and_then(|members| members.get_mut(user))
        {
            lines.retain(|line| *line != id);
        }
    }

    /// The bytes of the file, or `None` when nothing touched it.
    pub(super) fn render(&self, stage: Stage) -> Option<Vec<u8>> {
        if !self.touched {
            return None;
        }
        let mut bytes =
            Vec::with_capacity(self.text.len() + 128 * (self.lines.len() - self.read) + 1);
        for id in self.order() {
            let removed = self.lines[id.0 as usize].removed;
            let read = (id.0 as usize) < self.read;
            if removed && (stage == Stage::Final || !read) {
                continue;
            }
            bytes.extend_from_slice(self.line(id));
            bytes.push(b'\n');
        }
        (bytes != self.text).then_some(bytes)
    }

    /// Whether a line that was read is gone.
    pub(super) fn has_removals(&self) -> bool {
        self.touched && self.lines[..self.read].iter().any(|line| line.removed)
    }

    /// Whether a line was added that was not read.
    pub(super) fn has_additions(&self) -> bool {
        self.lines[self.read..].iter().any(|line| !line.removed)
    }

    fn order(&self) -> impl Iterator<Item = LineId> {
        let order = (0..self.nis)
            .chain(self.read..self.lines.len())
            .chain(self.nis..self.read);
        order
            .map(|at| LineId(u32::try_from(at).expect("BUG: lines are counted when they are read")))
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let mut index = Index {
                lines: HashMap::with_capacity_and_hasher(
                    self.lines.len(),
                    BuildHasherDefault::default(),
                ),
                ..Index::default()
            };
            for (id, line) in self.lines().filter(|(_, line)| !is_nis(line)) {
                let name = first(line);
                let Some(other) = insert(&mut index.lines, hash(name), id) else {
                    continue;
                };
                if first(self.line(other)) != name {
                    index.collided.push(id);
                    continue;
                }
                index
                    .several
                    .extend(std::str::from_utf8(name).map(Into::into));
                // Two lines of one name, which is rare: only now is it looked at whether both are entries.
                match (
                    is_entry(self.file, self.line(other)),
                    is_entry(self.file, line),
                ) {
                    (true, true) => index
                        .repeated
                        .extend(std::str::from_utf8(name).map(Into::into)),
                    (false, true) => drop(index.lines.insert(hash(name), id)),
                    (_, false) => {}
                }
            }
            index
        })
    }

    fn index_members(&self) -> HashMap<Box<str>, Vec<LineId>> {
        let mut members: HashMap<Box<str>, Vec<LineId>> = HashMap::new();
        for (id, line) in self.lines() {
            // Most groups are private and list nobody; their lines end in a colon.
            if is_nis(line) || line.ends_with(b":") && self.file == File::Group {
                continue;
            }
            for member in self.named_in(id) {
                let lines = members.entry(member.into_boxed_str()).or_default();
                if lines.last() != Some(&id) {
                    lines.push(id);
                }
            }
        }
        members
    }

    fn named_in(&self, id: LineId) -> Vec<String> {
        let line = self.line(id);
        match self.file {
            File::Group => Group::parse(line)
                .map(|group| group.members)
                .unwrap_or_default(),
            File::Gshadow => Gshadow::parse(line)
                .map(|group| {
                    group
                        .administrators
                        .into_iter()
                        .chain(group.members)
                        .collect()
                })
                .unwrap_or_default(),
            File::Passwd | File::Shadow | File::Subuid | File::Subgid => Vec::new(),
        }
        .into_iter()
        .map(str::to_owned)
        .collect()
    }
}

pub(super) fn is_entry(file: File, line: &[u8]) -> bool {
    match file {
        File::Passwd => Passwd::parse(line).is_some(),
        File::Shadow => Shadow::parse(line).is_some(),
        File::Group => Group::parse(line).is_some(),
        File::Gshadow => Gshadow::parse(line).is_some(),
        File::Subuid | File::Subgid => fields::subordinate(line).is_some(),
    }
}
