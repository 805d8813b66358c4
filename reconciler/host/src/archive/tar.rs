//! Members of a POSIX tar archive, as far as archives of homes have them: `ustar` headers with `pax` records, extended
//! attributes and sparse files in the way that GNU tar reads them.

use std::io::{self, Read};

use super::tree::Attributes;

/// Headers and contents are padded to this.
pub(crate) const BLOCK: usize = 512;
/// The longest `pax` header that is read: a path of a few thousand levels, and attributes.
const PAX: u64 = 64 * 1024 * 1024;
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";
const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";
const LINKS: &[u8] = b"links:";
/// What a member with holes is called for a program that does not know them.
const SPARSE: &[u8] = b"GNUSparseFile.0/sparse";

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    File,
    /// Another name of a member before it.
    Link,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

impl Type {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::Link => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }

    fn of(flag: u8) -> Option<Self> {
        [
            Self::File,
            Self::Link,
            Self::Symlink,
            Self::CharDevice,
            Self::BlockDevice,
            Self::Directory,
            Self::Fifo,
        ]
        .into_iter()
        .find(|it| it.flag() == flag)
    }
}

/// One member, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Without a slash at the end, whatever it is.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Type,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) user: String,
    pub(crate) group: String,
    /// Bytes that follow, without padding.
    pub(crate) stored: u64,
    /// The size of a file with holes, whose map and data follow.
    pub(crate) sparse: Option<u64>,
    pub(crate) modified: (i64, u32),
    /// Where a symbolic link points, or which member this is another name of.
    pub(crate) link: Vec<u8>,
    pub(crate) device: (u32, u32),
    /// How many names the inode had.
    pub(crate) links: u32,
    pub(crate) attributes: Attributes,
}

impl Member {
    pub(crate) fn file(path: &[u8], stored: u64, modified: (i64, u32)) -> Self {
        Self {
            path: path.to_vec(),
            kind: Type::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            stored,
            sparse: None,
            modified,
            link: Vec::new(),
            device: (0, 0),
            links: 1,
            attributes: Vec::new(),
        }
    }

    /// Adds the header blocks to `out`.
    pub(crate) fn header(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        // What stands before the member, if anything: a place for its header is kept.
        out.resize(begin + BLOCK, 0);
        let directory = self.kind == Type::Directory;
        let long = self.path.len() + usize::from(directory) > 100;
        if let Some(size) = self.sparse {
            record(out, b"GNU.sparse.major", b"1");
            record(out, b"GNU.sparse.minor", b"0");
            record(out, b"GNU.sparse.name", &self.path);
            record(out, b"GNU.sparse.realsize", size.to_string().as_bytes());
        } else if long && directory {
            record(out, b"path", &[&self.path[..], b"/"].concat());
        } else if long {
            record(out, b"path", &self.path);
        }
        if self.link.len() > 100 {
            record(out, b"linkpath", &self.link);
        }
        for (name, id) in [(b"uid", self.uid), (b"gid", self.gid)] {
            if id > 0o777_7777 {
                record(out, name, id.to_string().as_bytes());
            }
        }
        if self.stored > 0o777_7777_7777 {
            record(out, b"size", self.stored.to_string().as_bytes());
        }
        let (seconds, nanoseconds) = self.modified;
        if nanoseconds != 0 || !(0..=0o777_7777_7777).contains(&seconds) {
            record(out, b"mtime", Time::of(seconds, nanoseconds).text());
        }
        if self.links > 1 {
            let links = [LINKS, self.links.to_string().as_bytes()].concat();
            record(out, b"comment", &links);
        }
        for (name, value) in &self.attributes {
            let text = match name.as_slice() {
                ACCESS => acl_text(value).map(|text| (&b"SCHILY.acl.access"[..], text)),
                DEFAULT => acl_text(value).map(|text| (&b"SCHILY.acl.default"[..], text)),
                _ => None,
            };
            if let Some((name, text)) = text {
                record(out, name, text.as_bytes());
            }
            let name = [ATTRIBUTE, &escaped(name)].concat();
            record(out, &name, value);
        }
        let records = out.len() - begin - BLOCK;
        if records == 0 {
            out.truncate(begin);
        } else {
            let pax = Self::file(b"", records as u64, (0, 0));
            out[begin..begin + BLOCK].copy_from_slice(&pax.block(b'x', &[b"pax"]));
            out.resize(begin + (out.len() - begin).next_multiple_of(BLOCK), 0);
        }
        let block = match self.sparse {
            Some(_) => self.block(self.kind.flag(), &[SPARSE]),
            None if directory => self.block(self.kind.flag(), &[&self.path, b"/"]),
            None => self.block(self.kind.flag(), &[&self.path]),
        };
        out.extend_from_slice(&block);
    }

    /// `path` is in pieces.
    fn block(&self, flag: u8, path: &[&[u8]]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut at = 0;
        for part in path {
            let length = part.len().min(100 - at);
            block[at..at + length].copy_from_slice(&part[..length]);
            at += length;
        }
        let (seconds, _) = self.modified;
        octal(&mut block[100..107], u64::from(self.mode));
        octal(&mut block[108..115], u64::from(self.uid));
        octal(&mut block[116..123], u64::from(self.gid));
        octal(&mut block[124..135], self.stored);
        octal(&mut block[136..147], seconds.max(0).cast_unsigned());
        block[148..156].fill(b' ');
        block[156] = flag;
        let link = self.link.len().min(100);
        block[157..157 + link].copy_from_slice(&self.link[..link]);
        block[257..265].copy_from_slice(b"ustar\x0000");
        for (at, name) in [(265, &self.user), (297, &self.group)] {
            if name.len() < 32 {
                block[at..at + name.len()].copy_from_slice(name.as_bytes());
            }
        }
        octal(&mut block[329..336], u64::from(self.device.0));
        octal(&mut block[337..344], u64::from(self.device.1));
        let sum = block_sum(&block);
        octal(&mut block[148..154], sum);
        block[154] = 0;
        block
    }

    /// Reads the next header; `None` at the end of the archive.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut block = [0; BLOCK];
        from.read_exact(&mut block)?;
        if block == [0; BLOCK] {
            from.read_exact(&mut block)?;
            return if block == [0; BLOCK] {
                Ok(None)
            } else {
                Err(broken("one empty block"))
            };
        }
        let (mut member, flag) = Self::parse(&block)?;
        if flag != b'x' {
            member.kind =
                Type::of(flag).ok_or_else(|| broken("a member of a kind that is not known"))?;
            return Ok(Some(member.finished()));
        }
        if member.stored > PAX {
            return Err(broken("a header that is too long"));
        }
        let mut records = vec![
            0;
            usize::try_from(member.stored)
                .map_err(|_| broken("a header that is too long"))?
        ];
        from.read_exact(&mut records)?;
        skip_padding(from, member.stored)?;
        from.read_exact(&mut block)?;
        let (mut member, flag) = Self::parse(&block)?;
        member.kind =
            Type::of(flag).ok_or_else(|| broken("a member of a kind that is not known"))?;
        member.take_records(&records)?;
        Ok(Some(member.finished()))
    }

    fn finished(mut self) -> Self {
        if self.kind == Type::Directory && self.path.ends_with(b"/") {
            self.path.pop();
        }
        self
    }

    fn parse(block: &[u8; BLOCK]) -> io::Result<(Self, u8)> {
        // As if the sum's own field were empty.
        let own = block[148..156].iter().map(|byte| u64::from(*byte));
        let sum = block_sum(block) - own.sum::<u64>() + 8 * u64::from(b' ');
        if number(&block[148..156])? != sum || &block[257..265] != b"ustar\x0000" {
            return Err(broken("a header that is no tar header"));
        }
        let text = |range: std::ops::Range<usize>| -> Vec<u8> {
            let field = &block[range];
            let end = field.iter().position(|byte| *byte == 0);
            field[..end.unwrap_or(field.len())].to_vec()
        };
        let small = |range: std::ops::Range<usize>| -> io::Result<u32> {
            u32::try_from(number(&block[range])?).map_err(|_| broken("a number that is too large"))
        };
        let name =
            |range| String::from_utf8(text(range)).map_err(|_| broken("an owner that is no text"));
        let member = Self {
            path: text(0..100),
            kind: Type::File,
            mode: small(100..108)?,
            uid: small(108..116)?,
            gid: small(116..124)?,
            user: name(265..297)?,
            group: name(297..329)?,
            stored: number(&block[124..136])?,
            sparse: None,
            modified: (i64::try_from(number(&block[136..148])?).unwrap_or(0), 0),
            link: text(157..257),
            device: (small(329..337)?, small(337..345)?),
            links: 1,
            attributes: Vec::new(),
        };
        Ok((member, block[156]))
    }

    fn take_records(&mut self, mut left: &[u8]) -> io::Result<()> {
        let wrong = || broken("a header that is no pax header");
        while !left.is_empty() {
            let space = left
                .iter()
                .position(|byte| *byte == b' ')
                .ok_or_else(wrong)?;
            let length: usize = decimal(&left[..space])?;
            let text = left
                .get(space + 1..length)
                .and_then(|it| it.strip_suffix(b"\n"))
                .ok_or_else(wrong)?;
            let equals = text
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(wrong)?;
            let (key, value) = (&text[..equals], &text[equals + 1..]);
            match key {
                b"path" | b"GNU.sparse.name" => self.path = value.to_vec(),
                b"linkpath" => self.link = value.to_vec(),
                b"uid" => self.uid = decimal(value)?,
                b"gid" => self.gid = decimal(value)?,
                b"size" => self.stored = decimal(value)?,
                b"mtime" => self.modified = parse_time(value).ok_or_else(wrong)?,
                b"comment" => {
                    let links = value.strip_prefix(LINKS).ok_or_else(wrong)?;
                    self.links = decimal(links)?;
                }
                b"GNU.sparse.realsize" => self.sparse = Some(decimal(value)?),
                // The attributes beside them say the same.
                b"GNU.sparse.major"
                | b"GNU.sparse.minor"
                | b"SCHILY.acl.access"
                | b"SCHILY.acl.default" => {}
                _ => {
                    let name = key.strip_prefix(ATTRIBUTE).ok_or_else(wrong)?;
                    self.attributes.push((unescaped(name), value.to_vec()));
                }
            }
            left = &left[length..];
        }
        Ok(())
    }
}

/// The bytes between content and the next header.
pub(crate) fn padding(stored: u64) -> usize {
    let over = usize::try_from(stored % BLOCK as u64).expect("less than a block");
    (BLOCK - over) % BLOCK
}

/// Reads them.
pub(crate) fn skip_padding(from: &mut impl Read, stored: u64) -> io::Result<()> {
    let mut rest = [0; BLOCK];
    let rest = &mut rest[..padding(stored)];
    from.read_exact(rest)?;
    if *rest == [0; BLOCK][..rest.len()] {
        Ok(())
    } else {
        Err(broken("padding that is not empty"))
    }
}

/// Pieces of a file: where each begins, and how long it is.
pub(crate) type Pieces = Vec<(u64, u64)>;

/// The map before the data of a file with holes.
pub(crate) fn sparse_map(pieces: &Pieces) -> Vec<u8> {
    let mut map = format!("{}\n", pieces.len()).into_bytes();
    for (offset, length) in pieces {
        map.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// Reads such a map; gives the pieces, and how many bytes it took.
pub(crate) fn read_sparse_map(from: &mut impl Read, size: u64) -> io::Result<(Pieces, Vec<u8>)> {
    let wrong = || broken("a map of holes that makes no sense");
    let mut raw = Vec::new();
    let mut at = 0;
    let mut next = |from: &mut dyn Read| -> io::Result<u64> {
        let mut digits = Vec::new();
        loop {
            if at == raw.len() {
                let mut block = [0; BLOCK];
                from.read_exact(&mut block)?;
                raw.extend_from_slice(&block);
            }
            let byte = raw[at];
            at += 1;
            match byte {
                b'\n' => return decimal(&digits),
                b'0'..=b'9' if digits.len() < 20 => digits.push(byte),
                _ => return Err(wrong()),
            }
        }
    };
    let count = next(from)?;
    let mut pieces = Vec::new();
    let mut end = 0;
    for _ in 0..count {
        let (offset, length) = (next(from)?, next(from)?);
        let after = offset.checked_add(length).ok_or_else(wrong)?;
        if offset < end || after > size {
            return Err(wrong());
        }
        end = after;
        pieces.push((offset, length));
    }
    Ok((pieces, raw))
}

fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + digits(length) != length {
        length = rest + digits(length);
    }
    decimal_into(out, length as u64);
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |it| it as usize + 1)
}

/// Adds a number to `out`, as text.
pub(crate) fn decimal_into(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = digit(number % 10);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

fn digit(of: u64) -> u8 {
    b'0' + u8::try_from(of).expect("one digit")
}

fn escaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'%' => out.extend_from_slice(b"%25"),
            b'=' => out.extend_from_slice(b"%3D"),
            _ => out.push(*byte),
        }
    }
    out
}

fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut left = name;
    while let Some((first, rest)) = left.split_first() {
        left = rest;
        match rest {
            [b'2', b'5', ..] if *first == b'%' => out.push(b'%'),
            [b'3', b'D', ..] if *first == b'%' => out.push(b'='),
            _ => {
                out.push(*first);
                continue;
            }
        }
        left = &rest[2..];
    }
    out
}

/// Seconds and nanoseconds as a decimal number.
pub(crate) struct Time {
    text: Vec<u8>,
}

impl Time {
    pub(crate) fn of(seconds: i64, nanoseconds: u32) -> Self {
        let mut text = Vec::with_capacity(32);
        // The nanoseconds count upwards, also before 1970.
        let (whole, fraction) = match (seconds, nanoseconds) {
            (..0, 1..) => (seconds + 1, 1_000_000_000 - nanoseconds),
            _ => (seconds, nanoseconds),
        };
        if seconds < 0 {
            text.push(b'-');
        }
        decimal_into(&mut text, whole.unsigned_abs());
        if fraction != 0 {
            text.push(b'.');
            let mut unit = 100_000_000;
            let mut left = fraction;
            while left != 0 {
                text.push(digit(u64::from(left / unit)));
                left %= unit;
                unit /= 10;
            }
        }
        Self { text }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }
}

fn parse_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(match nanoseconds {
        0 => (seconds, 0),
        _ if negative => (seconds - 1, 1_000_000_000 - nanoseconds),
        _ => (seconds, nanoseconds),
    })
}

/// An access control list as text, with ids as numbers: what `setfacl` takes. `None` for what is none.
fn acl_text(value: &[u8]) -> Option<String> {
    let entries = value.strip_prefix(&[2, 0, 0, 0])?;
    let mut lines = Vec::new();
    for entry in entries.chunks(8) {
        let entry: &[u8; 8] = entry.try_into().ok()?;
        let permissions = entry[2];
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let who = match u16::from_le_bytes([entry[0], entry[1]]) {
            0x01 => "user:".to_owned(),
            0x02 => format!("user:{id}"),
            0x04 => "group:".to_owned(),
            0x08 => format!("group:{id}"),
            0x10 => "mask:".to_owned(),
            0x20 => "other:".to_owned(),
            _ => return None,
        };
        let may = |bit: u8, letter: char| if permissions & bit == 0 { '-' } else { letter };
        lines.push(format!(
            "{who}:{}{}{}",
            may(4, 'r'),
            may(2, 'w'),
            may(1, 'x')
        ));
    }
    Some(lines.join("\n") + "\n")
}

/// Fills the field with a number, or with zeros when it does not fit: then it stands in a record before.
fn octal(field: &mut [u8], number: u64) {
    let mut left = number;
    for byte in field.iter_mut().rev() {
        *byte = digit(left & 7);
        left >>= 3;
    }
    if left != 0 {
        field.fill(b'0');
    }
}

fn block_sum(block: &[u8; BLOCK]) -> u64 {
    // Far from an overflow, and without a look for one eight bytes are added at once.
    let sum = block
        .iter()
        .fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    u64::from(sum)
}

fn number(field: &[u8]) -> io::Result<u64> {
    let mut value = 0;
    for byte in field.iter().take_while(|byte| !matches!(byte, 0 | b' ')) {
        if !(b'0'..=b'7').contains(byte) {
            return Err(broken("a header that is no tar header"));
        }
        value = value * 8 + u64::from(byte - b'0');
    }
    Ok(value)
}

fn decimal<T: std::str::FromStr>(digits: &[u8]) -> io::Result<T> {
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| broken("a number that is none"))
}

pub(crate) fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the archive has {what}"),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn members() -> impl Strategy<Value = Member> {
        let path = prop::collection::vec(1_u8..=255, 1..300).prop_map(|mut path| {
            path.retain(|byte| *byte != b'/');
            path.insert(0, b'h');
            path
        });
        let attributes = prop::collection::btree_map(
            prop::collection::vec(33_u8..127, 1..20),
            prop::collection::vec(any::<u8>(), 0..50),
            0..3,
        );
        let kind = prop::sample::select(vec![
            Type::File,
            Type::Link,
            Type::Symlink,
            Type::Directory,
            Type::Fifo,
        ]);
        (
            path.clone(),
            kind,
            0_u32..0o10000,
            any::<u32>(),
            any::<u64>(),
            -9_999_999_999_i64..99_999_999_999,
            0_u32..1_000_000_000,
            path,
            attributes,
            1_u32..9,
        )
            .prop_map(
                |(path, kind, mode, uid, stored, seconds, nanoseconds, link, attributes, links)| {
                    Member {
                        path,
                        kind,
                        mode,
                        uid,
                        gid: uid / 3,
                        user: "emo".into(),
                        group: String::new(),
                        stored,
                        sparse: (kind == Type::File && links == 3).then_some(stored / 2),
                        modified: (seconds, nanoseconds),
                        link,
                        device: (0, 0),
                        links,
                        attributes: attributes.into_iter().collect(),
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn a_header_reads_back_as_it_was_written(member in members()) {
            let mut bytes = Vec::new();
            member.header(&mut bytes);
            bytes.extend([0; BLOCK * 2]);
            let mut from = bytes.as_slice();
            prop_assert_eq!(Member::read(&mut from).unwrap(), Some(member));
            prop_assert_eq!(Member::read(&mut from).unwrap(), None);
        }
    }

    #[test]
    fn a_time_before_1970_is_read_as_it_was_written() {
        for it in [
            (0, 0),
            (-1, 999_999_999),
            (-1, 1),
            (-5, 500_000_000),
            (-5, 0),
            (7, 120),
        ] {
            assert_eq!(parse_time(Time::of(it.0, it.1).text()), Some(it), "{it:?}");
        }
    }

    #[test]
    fn a_damaged_header_is_told() {
        let mut good = Vec::new();
        Member::file(b"home/a", 3, (5, 7)).header(&mut good);
        for at in [
            0,
            100,
            148,
            257,
            BLOCK,
            BLOCK + 3,
            BLOCK * 2,
            BLOCK * 2 + 124,
        ] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad.extend([0; BLOCK * 2]);
            assert!(Member::read(&mut bad.as_slice()).is_err(), "{at}");
        }
    }
}
