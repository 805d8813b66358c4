//! One line of each file, taken apart and put together, byte for byte as the shadow suite does it.

use std::ops::Range;

/// The fields of a passwd line.
pub(super) struct Passwd<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) gecos: &'a [u8],
    pub(super) home: &'a str,
    pub(super) shell: &'a str,
}

/// The fields of a shadow line; days count from 1970-01-01.
#[derive(Clone)]
pub(super) struct Shadow<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
    /// Last change, minimum, maximum, warning, inactivity, expiry, and the reserved flag.
    pub(super) days: [Option<i64>; 7],
}

/// Where the day of expiry stands in [`Shadow::days`].
pub(super) const EXPIRE: usize = 5;

/// The fields of a group line.
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
    pub(super) gid: u32,
    pub(super) members: Vec<&'a str>,
}

/// The fields of a gshadow line.
pub(super) struct Gshadow<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
    pub(super) administrators: Vec<&'a str>,
    pub(super) members: Vec<&'a str>,
}

impl<'a> Passwd<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let fields = Fields::<7>::of(line)?;
        Some(Self {
            name: fields.name()?,
            password: fields.text(1)?,
            uid: id(fields.bytes(2))?,
            gid: id(fields.bytes(3))?,
            gecos: fields.bytes(4),
            home: fields.text(5)?,
            shell: fields.text(6)?,
        })
    }

    pub(super) fn line(&self) -> Vec<u8> {
        let Self {
            name,
            password,
            uid,
            gid,
            gecos,
            home,
            shell,
        } = self;
        let mut line = format!("{name}:{password}:{uid}:{gid}:").into_bytes();
        line.extend_from_slice(gecos);
        line.extend_from_slice(format!(":{home}:{shell}").as_bytes());
        line
    }
}

impl<'a> Passwd<'a> {
    /// What a line says that is no entry: too short, too long, with bytes that are no text. The C library makes an account even of
    /// some of these, so none of them is nobody.
    pub(super) fn apparent(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(7, |byte| *byte == b':');
        let name = text(fields.next()?.trim_ascii_start())
            .filter(|it| !it.is_empty() && !it.starts_with('#'))?;
        let mut field = || fields.next().unwrap_or_default();
        Some(Self {
            name,
            password: text(field()).unwrap_or_default(),
            uid: id(field())?,
            gid: id(field()).unwrap_or_default(),
            gecos: field(),
            home: text(field()).unwrap_or_default(),
            shell: text(field()).unwrap_or_default(),
        })
    }
}

/// A line of passwd or shadow with `!` in front of its password, if it has one, and its field `at` set to `value`; a line that is
/// too short gets the `count` fields that such a line has. `None` for one that is too long, or has no id: which field is which
/// cannot be told then.
pub(super) fn shut(line: &[u8], count: usize, at: usize, value: &str) -> Option<Vec<u8>> {
    let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    if fields.len() > count || fields.len() < 2 {
        return None;
    }
    fields.resize(count, b"");
    fields[at] = value.as_bytes();
    let locked = locked(fields[1]);
    if let Some(locked) = &locked {
        fields[1] = locked;
    }
    Some(fields.join(&b':'))
}

/// A line with `!` in front of its password, where it has one that is not locked.
pub(super) fn locked_line(line: &[u8]) -> Vec<u8> {
    let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let locked = fields.get(1).and_then(|field| locked(field));
    if let (Some(locked), Some(field)) = (&locked, fields.get_mut(1)) {
        *field = locked;
    }
    fields.join(&b':')
}

/// A password field that is to be locked; `x` says that it stands in shadow.
fn locked(field: &[u8]) -> Option<Vec<u8>> {
    (field != b"x" && !field.starts_with(b"!")).then(|| [b"!", field].concat())
}

impl<'a> Shadow<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let fields = Fields::<9>::of(line)?;
        let mut days = [None; 7];
        for (day, at) in days.iter_mut().zip(2..) {
            *day = self::day(fields.bytes(at))?;
        }
        Some(Self {
            name: fields.name()?,
            password: fields.text(1)?,
            days,
        })
    }

    pub(super) fn line(&self) -> Vec<u8> {
        let Self {
            name,
            password,
            days,
        } = self;
        let mut line = format!("{name}:{password}");
        for day in days {
            line.push(':');
            if let Some(day) = day {
                line.push_str(&day.to_string());
            }
        }
        line.into_bytes()
    }
}

impl<'a> Group<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let fields = Fields::<4>::of(line)?;
        Some(Self {
            name: fields.name()?,
            password: fields.text(1)?,
            gid: id(fields.bytes(2))?,
            members: list(fields.text(3)?),
        })
    }

    pub(super) fn line(&self) -> Vec<u8> {
        let Self {
            name,
            password,
            gid,
            members,
        } = self;
        format!("{name}:{password}:{gid}:{}", members.join(",")).into_bytes()
    }
}

impl<'a> Gshadow<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let fields = Fields::<4>::of(line)?;
        Some(Self {
            name: fields.name()?,
            password: fields.text(1)?,
            administrators: list(fields.text(2)?),
            members: list(fields.text(3)?),
        })
    }

    pub(super) fn line(&self) -> Vec<u8> {
        let Self {
            name,
            password,
            administrators,
            members,
        } = self;
        format!(
            "{name}:{password}:{}:{}",
            administrators.join(","),
            members.join(",")
        )
        .into_bytes()
    }
}

/// A line of subuid or subgid: owner, first id, count.
pub(super) fn subordinate(line: &[u8]) -> Option<(&str, u64, u64)> {
    let fields = Fields::<3>::of(line)?;
    let owner = fields.text(0).filter(|owner| !owner.is_empty())?;
    Some((owner, number(fields.bytes(1))?, number(fields.bytes(2))?))
}

/// The first field of any line: what it seems to be about, even when nothing else can be read from it. The C library skips blanks
/// before it, and the tools of the shadow suite do not: so such a line is somebody's, and no entry that is edited.
pub(super) fn first(line: &[u8]) -> &[u8] {
    line[..memchr::memchr(b':', line).unwrap_or(line.len())].trim_ascii_start()
}

/// The third field as an id, however broken the rest of the line is: an id that might be in use is not free.
pub(super) fn apparent_id(line: &[u8]) -> Option<u32> {
    id(line.split(|byte| *byte == b':').nth(2)?)
}

/// uid and gid of a passwd line, likewise.
pub(super) fn apparent_ids(line: &[u8]) -> Option<(u32, u32)> {
    let mut fields = line.split(|byte| *byte == b':').skip(2);
    let uid = id(fields.next()?)?;
    // A line that ends here has an account to the C library, with gid 0.
    Some((uid, fields.next().and_then(id).unwrap_or(0)))
}

/// Where each line of a file begins and ends; a last one without its end is a line, too.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let last = (!text.is_empty() && !text.ends_with(b"\n")).then_some(text.len());
    let mut begin = 0;
    memchr::memchr_iter(b'\n', text)
        .chain(last)
        .map(move |end| std::mem::replace(&mut begin, end + 1)..end)
}

/// The number of the first line with a NUL byte, counted from 1.
pub(super) fn line_of_nul(text: &[u8]) -> Option<usize> {
    let nul = memchr::memchr(0, text)?;
    Some(memchr::memchr_iter(b'\n', &text[..nul]).count() + 1)
}

/// NIS entries start with `+` or `-`; new entries are put in front of the first one.
pub(super) fn is_nis(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'+' | b'-'))
}

/// A line of exactly `N` fields.
struct Fields<'a, const N: usize> {
    line: &'a [u8],
    /// The line, where all of it is UTF-8: nearly always, and then no field has to be looked at again.
    text: Option<&'a str>,
    /// Where each field begins and ends.
    places: [(usize, usize); N],
}

impl<'a, const N: usize> Fields<'a, N> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let mut places = [(0, line.len()); N];
        let mut last = 0;
        // Fields are shorter than what a faster search for colons takes to begin.
        for (at, byte) in line.iter().enumerate() {
            if *byte == b':' {
                places.get_mut(last + 1)?.0 = at + 1;
                places[last].1 = at;
                last += 1;
            }
        }
        (last == N - 1).then(|| Self {
            line,
            text: std::str::from_utf8(line).ok(),
            places,
        })
    }

    fn bytes(&self, field: usize) -> &'a [u8] {
        let (begin, end) = self.places[field];
        &self.line[begin..end]
    }

    fn text(&self, field: usize) -> Option<&'a str> {
        let (begin, end) = self.places[field];
        match self.text {
            Some(text) => text.get(begin..end),
            None => text(self.bytes(field)),
        }
    }

    /// The name that an entry begins with: see [`first`].
    fn name(&self) -> Option<&'a str> {
        self.text(0)
            .filter(|name| !name.starts_with(|c: char| c.is_ascii_whitespace()))
    }
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

/// Names between commas. An empty one in the middle is a name to the shadow suite; a comma at the end is nothing.
fn list(field: &str) -> Vec<&str> {
    let field = field.strip_suffix(',').unwrap_or(field);
    if field.is_empty() {
        Vec::new()
    } else {
        field.split(',').collect()
    }
}

/// A number as nearly every one is written: digits alone, too few to be too large.
fn few_digits(field: &[u8]) -> Option<u32> {
    ((1..10).contains(&field.len()) && field.iter().all(u8::is_ascii_digit)).then(|| {
        let digits = field.iter().map(|digit| u32::from(digit - b'0'));
        digits.fold(0, |number, digit| number * 10 + digit)
    })
}

/// As strtoll reads it: blanks in front and a plus sign are accepted.
fn id(field: &[u8]) -> Option<u32> {
    if let Some(id) = few_digits(field) {
        return Some(id);
    }
    let field = text(field)?.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let digits = field.strip_prefix('+').unwrap_or(field);
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// A count of days, where an empty field and -1 both mean that there is none.
fn day(field: &[u8]) -> Option<Option<i64>> {
    if field.is_empty() {
        return Some(None);
    }
    if let Some(day) = few_digits(field) {
        return Some(Some(i64::from(day)));
    }
    let field = text(field)?;
    let day: i64 = field.parse().ok()?;
    Some((day != -1).then_some(day))
}

/// As strtoul with base 0 reads it: decimal, hexadecimal after `0x`, octal after `0`.
fn number(field: &[u8]) -> Option<u64> {
    let field = text(field)?;
    let (digits, radix) = match field.strip_prefix('0') {
        Some(rest) if rest.starts_with(['x', 'X']) => (&rest[1..], 16),
        Some(rest) if !rest.is_empty() => (rest, 8),
        _ => (field, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_as_the_shadow_suite_does() {
        for (field, expected) in [
            ("0", Some(0)),
            ("007", Some(7)),
            (" 7", Some(7)),
            ("+7", Some(7)),
            ("", None),
        ] {
            assert_eq!(
                id(field.as_bytes()),
                expected.filter(|_| !field.is_empty()),
                "{field:?}"
            );
        }
        for field in ["-1", "7 ", "4294967296", "0x10", "1a"] {
            assert_eq!(id(field.as_bytes()), None, "{field:?}");
        }
        for (field, expected) in [
            ("10", Some(10)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("x", None),
        ] {
            assert_eq!(number(field.as_bytes()), expected, "{field:?}");
        }
    }

    #[test]
    fn counts_fields_exactly() {
        assert!(Passwd::parse(b"a:x:1:1:::").is_some());
        assert!(Passwd::parse(b"a:x:1:1::").is_none());
        assert!(Passwd::parse(b"a:x:1:1::::").is_none());
        assert!(Passwd::parse(b"a:x::1:::").is_none());
        assert!(Shadow::parse(b"a:!:1:::::-1:").is_some_and(|line| line.line() == b"a:!:1::::::"));
        assert!(Shadow::parse(b"a:!:x::::::").is_none());
    }

    #[test]
    fn keeps_empty_members_but_not_a_trailing_comma() {
        assert_eq!(
            Group::parse(b"g:x:007:a,,b,").unwrap().line(),
            b"g:x:7:a,,b"
        );
        assert_eq!(Group::parse(b"g:x:7:").unwrap().members.len(), 0);
        assert_eq!(Gshadow::parse(b"g:!:a,:b").unwrap().line(), b"g:!:a:b");
    }
}
