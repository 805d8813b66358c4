//! The manifest of an archive: one JSON line for each entry of the tree, and what cannot stand in a tar archive.
//!
//! The line of a member follows from the member and its content alone. So a reader computes each line again and compares;
//! its memory does not grow with the number of entries.

use std::collections::BTreeMap;

use muster_core::accounts::facts::IdRange;
use muster_core::bytes::{hex, hex_pair};
use serde::{Deserialize, Serialize};

use super::tar::{self, Member, Type};

/// The first member of an archive: whose it is. Owners outside these ids are foreign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedAccount {
    /// The format; 1.
    pub format: u32,
    /// The account's name.
    pub user: String,
    /// Its uid.
    pub uid: u32,
    /// Its primary gid.
    pub gid: u32,
    /// Its subordinate uids.
    pub subuid: Option<IdRange>,
    /// Its subordinate gids.
    pub subgid: Option<IdRange>,
    /// Where the home was.
    pub home: String,
    /// The step that created or adopted the account.
    pub entry: String,
    /// When, in UTC.
    pub at: String,
}

/// The one format that there is.
pub(crate) const FORMAT: u32 = 1;

impl ArchivedAccount {
    /// Whether files of this uid are the person's own.
    pub(crate) fn owns(&self, uid: u32) -> bool {
        uid == self.uid || within(self.subuid, uid)
    }

    /// Whether a file's group is the person's own.
    pub(crate) fn owns_group(&self, gid: u32) -> bool {
        gid == self.gid || within(self.subgid, gid)
    }
}

fn within(range: Option<IdRange>, id: u32) -> bool {
    range.is_some_and(|it| it.first <= id && u64::from(id) < it.end())
}

/// What is worth a second look before an entry is given back to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Runs as somebody else.
    SetId,
    /// Belongs to another user.
    Foreign,
    /// Belongs to another group.
    ForeignGroup,
    /// A device.
    Device,
    /// Carries capabilities.
    Capability,
    /// Has more than one name.
    Linked,
}

impl Mark {
    /// For a person.
    pub fn word(self) -> &'static str {
        match self {
            Self::SetId => "set-id",
            Self::Foreign => "another's",
            Self::ForeignGroup => "another group's",
            Self::Device => "device",
            Self::Capability => "capabilities",
            Self::Linked => "several names",
        }
    }
}

/// A line of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// An entry of the tree.
    Entry(Entry),
    /// An entry that has more names than were found in the tree: the others are outside.
    Outside {
        /// The first of its names in the tree.
        path: Bytes,
        /// How many names it has.
        links: u32,
        /// How many of them are in the tree.
        found: u32,
    },
    /// The last line.
    End {
        /// How many entries there are.
        entries: u64,
        /// The census of the tree before, which was the same afterwards.
        fingerprint: String,
    },
}

/// An entry of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where.
    pub path: Bytes,
    /// What: `file`, `link`, `directory`, `symlink`, `fifo`, `socket`, `char-device`, `block-device`.
    pub kind: String,
    /// The mode, in octal.
    pub mode: String,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The size of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When it was modified: seconds since 1970.
    pub mtime: String,
    /// SHA-256 of the content; of a file with holes, of the map and data that are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where a symbolic link points, or which entry this is another name of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Bytes>,
    /// Extended attributes; values in hex.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// What to look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

/// Bytes that are mostly text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// Text.
    Text(String),
    /// Not text: in hex.
    Hex {
        /// The bytes.
        hex: String,
    },
}

impl Bytes {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex { hex: hex(bytes) },
        }
    }

    /// For a person.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => super::tree::shown(text.as_bytes()),
            Self::Hex { hex } => format!("(hex) {hex}"),
        }
    }
}

impl Line {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The line of a member, whose content has this digest; what [`write_member`] writes.
    #[cfg(test)]
    pub(crate) fn of(member: &Member, sha256: Option<[u8; 32]>, subject: &ArchivedAccount) -> Self {
        Self::Entry(entry(member, word(member.kind), sha256, subject))
    }

    /// The line of something that has no place in an archive; `member` says what else there is to say.
    pub(crate) fn of_socket(member: &Member, subject: &ArchivedAccount) -> Self {
        Self::Entry(entry(member, SOCKET, None, subject))
    }
}

/// The word for a socket.
pub(crate) const SOCKET: &str = "socket";

/// What every line of an entry begins with, before its path, and what follows the path of a socket.
pub(crate) const ENTRY: &[u8] = b"{\"entry\":{\"path\":";
pub(crate) const OF_SOCKET: &[u8] = b",\"kind\":\"socket\",";

/// Adds the line of a member, whose content has this digest: the bytes that [`Line::bytes`] would make, without a stop
/// at each field. It is made twice for every entry of a home.
pub(crate) fn write_member(
    out: &mut Vec<u8>,
    member: &Member,
    sha256: Option<[u8; 32]>,
    subject: &ArchivedAccount,
) {
    out.extend_from_slice(ENTRY);
    write_bytes(out, &member.path);
    out.extend_from_slice(b",\"kind\":\"");
    out.extend_from_slice(word(member.kind).as_bytes());
    out.extend_from_slice(b"\",\"mode\":\"");
    let mode = [9, 6, 3, 0].map(|shift| b"01234567"[(member.mode >> shift & 7) as usize]);
    out.extend_from_slice(&mode);
    out.extend_from_slice(b"\",\"uid\":");
    tar::decimal_into(out, u64::from(member.uid));
    out.extend_from_slice(b",\"gid\":");
    tar::decimal_into(out, u64::from(member.gid));
    if member.kind == Type::File {
        out.extend_from_slice(b",\"size\":");
        tar::decimal_into(out, member.sparse.unwrap_or(member.stored));
    }
    out.extend_from_slice(b",\"mtime\":\"");
    let (seconds, nanoseconds) = member.modified;
    out.extend_from_slice(tar::Time::of(seconds, nanoseconds).text());
    out.push(b'"');
    if let Some(digest) = sha256 {
        out.extend_from_slice(b",\"sha256\":\"");
        for byte in digest {
            out.extend_from_slice(&hex_pair(byte));
        }
        out.push(b'"');
    }
    if !member.link.is_empty() {
        out.extend_from_slice(b",\"link\":");
        write_bytes(out, &member.link);
    }
    if !member.attributes.is_empty() {
        out.extend_from_slice(b",\"attributes\":");
        write_json(out, &attributes(member));
    }
    let marks = marks(member, subject);
    if !marks.is_empty() {
        out.extend_from_slice(b",\"marks\":");
        write_json(out, &marks);
    }
    out.extend_from_slice(b"}}\n");
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if bytes.iter().all(plain) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        write_json(out, &Bytes::of(bytes));
    }
}

fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("strings and numbers are JSON");
}

fn word(kind: Type) -> &'static str {
    match kind {
        Type::File => "file",
        Type::Link => "link",
        Type::Symlink => "symlink",
        Type::CharDevice => "char-device",
        Type::BlockDevice => "block-device",
        Type::Directory => "directory",
        Type::Fifo => "fifo",
    }
}

fn marks(member: &Member, subject: &ArchivedAccount) -> Vec<Mark> {
    let capability = |(name, _): &(Vec<u8>, Vec<u8>)| name == b"security.capability";
    let device = matches!(member.kind, Type::CharDevice | Type::BlockDevice);
    [
        (
            Mark::SetId,
            member.mode & 0o6000 != 0 && member.kind != Type::Directory,
        ),
        (Mark::Foreign, !subject.owns(member.uid)),
        (Mark::ForeignGroup, !subject.owns_group(member.gid)),
        (Mark::Device, device),
        (Mark::Capability, member.attributes.iter().any(capability)),
        (Mark::Linked, member.links > 1),
    ]
    .into_iter()
    .filter_map(|(mark, found)| found.then_some(mark))
    .collect()
}

fn attributes(member: &Member) -> BTreeMap<String, String> {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let attributes = member.attributes.iter();
    attributes
        .map(|(name, value)| (text(name), hex(value)))
        .collect()
}

fn entry(
    member: &Member,
    kind: &str,
    sha256: Option<[u8; 32]>,
    subject: &ArchivedAccount,
) -> Entry {
    Entry {
        path: Bytes::of(&member.path),
        kind: kind.to_owned(),
        mode: format!("{:04o}", member.mode),
        uid: member.uid,
        gid: member.gid,
        size: (kind == "file").then(|| member.sparse.unwrap_or(member.stored)),
        mtime: String::from_utf8_lossy(tar::Time::of(member.modified.0, member.modified.1).text())
            .into_owned(),
        sha256: sha256.map(|digest| hex(&digest)),
        link: (!member.link.is_empty()).then(|| Bytes::of(&member.link)),
        attributes: attributes(member),
        marks: marks(member, subject),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read;
    use super::*;

    proptest! {
        #[test]
        fn a_line_is_what_serde_makes_of_it(
            member in tar::tests::members(),
            digest in proptest::option::of(any::<[u8; 32]>()),
            own in any::<u32>(),
        ) {
            let subject = ArchivedAccount {
                format: FORMAT,
                user: "emo".to_owned(),
                uid: if own % 2 == 0 { member.uid } else { own },
                gid: if own % 3 == 0 { member.gid } else { own },
                subuid: None,
                subgid: None,
                home: "/home/emo".to_owned(),
                entry: "0".repeat(32),
                at: String::new(),
            };
            let mut bytes = Vec::new();
            write_member(&mut bytes, &member, digest, &subject);
            let line = Line::of(&member, digest, &subject);
            let wanted = line.bytes();
            prop_assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&wanted));
            prop_assert_eq!(serde_json::from_slice::<Line>(&bytes).unwrap(), line);
            prop_assert!(read::is_of_member(&bytes));
            prop_assert!(!read::is_of_member(&Line::of_socket(&member, &subject).bytes()));
        }
    }
}
