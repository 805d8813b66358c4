//! What names a step: how it is spelled, and the id that is hashed, signed and shown.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::bytes::{ByteSet, hex_pair};
use crate::executor::Executor;

/// How an action is spelled: the same for every subject. What stands here is hashed, signed and shown, and nothing else is.
pub trait Spell {
    /// The verb: `user.create`, `guest.start`.
    fn word(&self) -> &'static str;

    /// The one resource that it is about: `emo`, `104`.
    fn resource(&self) -> &str;

    /// What a person signs beside verb and resource, sorted by name.
    fn parameters(&self, put: &mut dyn FnMut(&'static str, Parameter<'_>));
}

/// Names one step on one executor: the first 32 hex digits of a SHA-256 over everything that a signature must bind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId([u8; 16]);

impl StepId {
    /// Names `action` on `executor`, for this incarnation of the resource. For many of one executor, take them from one [`Naming`].
    pub fn of(executor: &Executor, action: &dyn Spell, incarnation: &dyn fmt::Display) -> Self {
        Naming::on(executor).name(action, incarnation)
    }

    /// An id out of its bytes.
    #[cfg(test)]
    pub(crate) fn from_bytes(id: [u8; 16]) -> Self {
        Self(id)
    }

    /// The id as it is hashed into other things.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Names the steps of one executor.
#[derive(Debug)]
pub struct Naming {
    /// What is hashed: gathered first, as a plan has tens of thousands of ids, and many small pieces cost more than the hash itself.
    text: Vec<u8>,
    /// How much of it all steps have in common.
    common: usize,
}

impl Naming {
    /// Of the steps of `executor`.
    pub fn on(executor: &Executor) -> Self {
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(b"muster-step/1\0");
        put_field(&mut text, |text| put_display(text, executor));
        let common = text.len();
        Self { text, common }
    }

    /// Names `action`, for this incarnation of the resource.
    pub fn name(&mut self, action: &dyn Spell, incarnation: &dyn fmt::Display) -> StepId {
        let text = &mut self.text;
        text.truncate(self.common);
        put_text(text, action.word());
        put_text(text, action.resource());
        // Their number is hashed before them, and known only after them: nearly always it is one digit.
        put_text(text, "0");
        let place = text.len() - 1;
        let mut count = 0;
        action.parameters(&mut |name, value| {
            count += 1;
            put_text(text, name);
            match value {
                Parameter::Text(value) => put_text(text, value),
                Parameter::Number(value) => put_field(text, |text| put_number(text, value)),
                Parameter::Shown(_) => {
                    put_field(text, |text| put_display(text, value));
                }
            }
        });
        match u8::try_from(count) {
            Ok(digit @ 0..=9) => text[place] = b'0' + digit,
            _ => {
                let number = digits_of(count, &mut [0; 20]).to_owned();
                // The last byte of its length, which has eight and is never more than 20.
                text[place - 1] = number.len() as u8;
                text.splice(place..=place, number);
            }
        }
        put_field(text, |text| put_display(text, incarnation));
        let digest = Sha256::digest(&*text);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        StepId(id)
    }
}

/// Names the runs of steps by the release that they run by: a step that another release names runs once more (invariant 6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// The run of a release, by its nonce.
    pub fn of(nonce: impl fmt::Display) -> Self {
        Self(nonce.to_string())
    }

    /// As it is hashed into other things.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Appends a field and, before it, its length in bytes as a 64-bit number, the highest byte first.
fn put_text(text: &mut Vec<u8>, field: &str) {
    text.extend_from_slice(&(field.len() as u64).to_be_bytes());
    text.extend_from_slice(field.as_bytes());
}

/// The same of what `spell` appends.
fn put_field(text: &mut Vec<u8>, spell: impl FnOnce(&mut Vec<u8>)) {
    let begin = text.len();
    text.extend_from_slice(&[0; 8]);
    spell(text);
    let length = (text.len() - begin - 8) as u64;
    text[begin..begin + 8].copy_from_slice(&length.to_be_bytes());
}

fn put_display(text: &mut Vec<u8>, value: impl fmt::Display) {
    /// [`fmt::Write`] straight into bytes: `io::Write` gets there through a second writer that keeps its errors.
    struct Bytes<'t>(&'t mut Vec<u8>);
    impl fmt::Write for Bytes<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    write!(Bytes(text), "{value}").expect("BUG: a vector takes everything");
}

fn put_number(text: &mut Vec<u8>, number: u64) {
    text.extend_from_slice(digits_of(number, &mut [0; 20]));
}

/// The decimal digits of a number, without the machinery that knows of widths and signs.
fn digits_of(number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut rest = number;
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &room[at..];
        }
    }
}

/// The same as text.
pub(crate) fn digits(number: u64, room: &mut [u8; 20]) -> &str {
    std::str::from_utf8(digits_of(number, room)).expect("BUG: digits are ASCII")
}

/// Not 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a step id is 32 lower-case hex digits")]
pub struct NotAStepId;

impl FromStr for StepId {
    type Err = NotAStepId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NotAStepId),
        };
        let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| NotAStepId)?;
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(id))
    }
}

impl TryFrom<String> for StepId {
    type Error = NotAStepId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StepId> for String {
    fn from(id: StepId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ids stand in every record: one write, not one for each digit.
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&hex_pair(byte));
        }
        f.write_str(std::str::from_utf8(&text).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value of one parameter.
#[derive(Clone, Copy)]
pub enum Parameter<'a> {
    /// Text.
    Text(&'a str),
    /// A number.
    Number(u64),
    /// Anything else, as it prints.
    Shown(&'a dyn fmt::Display),
}

impl fmt::Display for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Shown(value) => value.fmt(f),
        }
    }
}

/// The words of a step: `user.archive_delete emo home=/home/emo uid=1004`. What is shown is what is signed.
pub fn words(action: &dyn Spell) -> String {
    let mut out = String::with_capacity(128);
    out.push_str(action.word());
    out.push(' ');
    push_encoded(&mut out, action.resource());
    action.parameters(&mut |name, value| {
        out.push(' ');
        out.push_str(name);
        out.push('=');
        match value {
            Parameter::Text(value) => push_encoded(&mut out, value),
            Parameter::Number(_) | Parameter::Shown(_) => {
                push_encoded(&mut out, &value.to_string())
            }
        }
    });
    out
}

/// What a person signs beside verb and resource, by name.
pub fn parameters(action: &dyn Spell) -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::new();
    action.parameters(&mut |name, value| {
        all.insert(name, value.to_string());
    });
    all
}

/// Writes a value so that it is one word of printable ASCII: all but `[A-Za-z0-9._/@:+-]` becomes `%XX`.
pub fn percent_encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    push_encoded(&mut out, value);
    out
}

fn push_encoded(out: &mut String, value: &str) {
    if STANDS_FOR_ITSELF.has_all(value) {
        out.push_str(value);
        return;
    }
    for byte in value.bytes() {
        if STANDS_FOR_ITSELF.has(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
    }
}

/// The bytes that are written as they are where a value has to be one word of printable ASCII.
pub(crate) static STANDS_FOR_ITSELF: ByteSet = ByteSet::of("A-Za-z0-9._/@:+-");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::ExecutorKind;

    /// An action with so many parameters.
    struct With(u64);

    impl Spell for With {
        fn word(&self) -> &'static str {
            "some.verb"
        }

        fn resource(&self) -> &str {
            "emo"
        }

        fn parameters(&self, put: &mut dyn FnMut(&'static str, Parameter<'_>)) {
            (0..self.0).for_each(|it| put("it", Parameter::Number(it)));
        }
    }

    #[test]
    fn the_number_of_parameters_is_hashed_before_them_however_long_it_is() {
        let executor = Executor::of(ExecutorKind::Host, "devvm").unwrap();
        let mut naming = Naming::on(&executor);
        for many in [0, 1, 9, 10, 11, 100, 256, 1_000, 3] {
            let mut text = b"muster-step/1\0".to_vec();
            for field in ["host/devvm", "some.verb", "emo", &many.to_string()] {
                put_text(&mut text, field);
            }
            for it in 0..many {
                put_text(&mut text, "it");
                put_text(&mut text, &it.to_string());
            }
            put_text(&mut text, "new");
            let expected = &Sha256::digest(&text)[..16];
            assert_eq!(
                naming.name(&With(many), &"new").as_bytes(),
                expected,
                "{many}"
            );
        }
    }
}
