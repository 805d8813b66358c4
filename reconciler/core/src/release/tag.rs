//! A tag object as git stores it, in the one form that a release has.
//!
//! ```text
//! object 3d2a1f0e9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a49
//! type commit
//! tag release/20261122T010000Z-0123456789abcdef-01234567
//! tagger Emo <emo@example.org> 1795000000 +0000
//!                                                      (a blank line)
//! the statement                                        (a line, or many)
//! -----BEGIN SSH SIGNATURE-----
//! …
//! -----END SSH SIGNATURE-----
//! ```
//!
//! Four headers in this order and no other, one signature and nothing behind it. The signature is over every byte before
//! it. git itself takes more than that: headers twice or unknown ones, several signatures of which the last counts, text
//! after it that it also shows.

use super::armor::{self, BEGIN};
use super::statement::MAX_BYTES;
use super::{Code, Refusal, shown};
use crate::time::Time;

/// How many bytes a tag object may have: a statement, and room for headers and the largest signature.
pub const MAX_TAG_BYTES: usize = MAX_BYTES + (16 << 10);

/// How many bytes the four headers may have, together.
const MAX_HEADER_BYTES: usize = 2 << 10;

/// A tag object, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// The commit that it points to, in hex.
    pub object: &'a str,
    /// Its own name, without `refs/tags/`.
    pub name: &'a str,
    /// Who made it, as they say.
    pub tagger: Tagger,
    /// The message: a statement, a trust root or a reset.
    pub message: &'a [u8],
    /// What the signature is over: everything before it.
    pub signed: &'a [u8],
    /// The signature out of its armor.
    pub armor: Vec<u8>,
}

/// Who made a tag, as their git wrote it down. To be shown, never believed: they chose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagger {
    /// Their name; no control character and none that hides or turns text.
    pub name: String,
    /// Their address.
    pub email: String,
    /// When, as they say.
    pub time: Time,
}

impl<'a> Tag<'a> {
    /// Takes the raw bytes of a tag object apart.
    ///
    /// Refused as [`Code::Malformed`]. Whether the name, the message and the signature are any good is not asked here.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Refusal> {
        if raw.len() > MAX_TAG_BYTES {
            return Err(malformed(format!(
                "the tag has more than {MAX_TAG_BYTES} bytes; release fewer steps at a time"
            )));
        }
        let (header, body) = split_at(raw, b"\n\n")
            .filter(|(header, _)| header.len() <= MAX_HEADER_BYTES)
            .ok_or_else(|| malformed("the tag has no message; make it with `git tag -s`"))?;
        let header = str::from_utf8(header).map_err(|_| {
            malformed("the headers of the tag are not UTF-8; set user.name in UTF-8")
        })?;
        let mut lines = header.split('\n');
        let mut field = |key: &str| {
            let line = lines.next().unwrap_or("");
            line.strip_prefix(key)
                .and_then(|rest| rest.strip_prefix(' '))
                .ok_or_else(|| {
                    malformed(format!(
                        "the headers of the tag must be object, type, tag and tagger, each once; {key} is not where it belongs"
                    ))
                })
        };
        let object = field("object")?;
        let kind = field("type")?;
        let name = field("tag")?;
        let tagger = field("tagger")?;
        if let Some(more) = lines.next() {
            return Err(malformed(format!(
                "the tag has a header that does not belong there: {}",
                shown(more.as_bytes())
            )));
        }
        if kind != "commit" {
            return Err(malformed(format!(
                "the tag points to something of type {}; tag the commit itself",
                shown(kind.as_bytes())
            )));
        }
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if !(matches!(object.len(), 40 | 64) && object.bytes().all(is_hex)) {
            return Err(malformed(
                "the object header of the tag is no full object id",
            ));
        }
        let tagger = Tagger::parse(tagger).ok_or_else(|| {
            malformed(
                "the tagger header must be a name, an address in <>, seconds since 1970 and a time zone; set user.name and user.email",
            )
        })?;
        let body_at = raw.len() - body.len();
        // From the line end before the message on, so that a tag that is nothing but a signature is seen too.
        let (_, signature) = split_at(&raw[body_at - 1..], BEGIN).ok_or_else(|| unsigned(body))?;
        let signed = &raw[..raw.len() - signature.len() - BEGIN.len() + 1];
        Ok(Self {
            object,
            name,
            tagger,
            message: &signed[body_at..],
            signed,
            armor: armor::unwrap(signature)?,
        })
    }
}

impl Tagger {
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(" <")?;
        let (email, rest) = rest.split_once("> ")?;
        let (time, zone) = rest.split_once(' ')?;
        let is_plain = |text: &str| !text.contains(['<', '>']) && !text.chars().any(is_hidden);
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_zone = zone.len() == 5 && zone.starts_with(['+', '-']) && is_digits(&zone[1..]);
        let is_number = is_digits(time) && (time == "0" || !time.starts_with('0'));
        (is_plain(name) && is_plain(email) && !name.is_empty() && is_zone && is_number)
            .then_some(())?;
        Some(Self {
            name: name.to_owned(),
            email: email.to_owned(),
            time: Time(time.parse().ok()?),
        })
    }
}

/// Control characters, and those of Unicode that show nothing or turn what follows around.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Before and after the first `mark`.
fn split_at<'b>(bytes: &'b [u8], mark: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(mark.len()).position(|it| it == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

fn unsigned(body: &[u8]) -> Refusal {
    let other = [
        ("-----BEGIN PGP", "OpenPGP"),
        ("-----BEGIN SIGNED MESSAGE", "X.509"),
    ]
    .into_iter()
    .find(|(mark, _)| split_at(body, mark.as_bytes()).is_some());
    malformed(match other {
        Some((_, kind)) => format!(
            "the tag has an {kind} signature; sign with an SSH key (`git config gpg.format ssh`)"
        ),
        None => "the tag is not signed with an SSH key; sign it with `git tag -s` and `git config gpg.format ssh`".to_owned(),
    })
}

fn malformed(why: impl Into<String>) -> Refusal {
    Code::Malformed.because(why)
}
