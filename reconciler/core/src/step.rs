//! A step: an action, the incarnation of the resource it expects, and the id that is signed.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::action::Action;
use crate::facts::HomeId;
use crate::policy::Executor;

/// Names one step on one executor: the first 32 hex digits of a SHA-256 over everything that a signature must bind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId([u8; 16]);

impl StepId {
    /// Names `action` on `executor`, for this incarnation of the resource.
    pub fn of(executor: &Executor, action: &Action, incarnation: &Incarnation) -> Self {
        // Gathered first: a plan has tens of thousands of ids, and many small pieces cost more than the hash itself.
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(b"muster-step/1\0");
        put_field(&mut text, executor);
        put_text(&mut text, action.kind().word());
        put_text(&mut text, action.user());
        let parameters = action.parameters();
        put_field(&mut text, &parameters.len());
        for (name, value) in &parameters {
            put_text(&mut text, name);
            put_text(&mut text, value);
        }
        put_field(&mut text, incarnation);
        let digest = Sha256::digest(&text);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The id as it is hashed into other things.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Appends a field and, before it, its length in bytes as a 64-bit number, the highest byte first.
fn put_text(text: &mut Vec<u8>, field: &str) {
    text.extend_from_slice(&(field.len() as u64).to_be_bytes());
    text.extend_from_slice(field.as_bytes());
}

/// The same of what is still to be spelled.
fn put_field(text: &mut Vec<u8>, field: &dyn fmt::Display) {
    use std::io::Write as _;
    let begin = text.len();
    text.extend_from_slice(&[0; 8]);
    write!(text, "{field}").expect("BUG: a vector takes everything");
    let length = (text.len() - begin - 8) as u64;
    text[begin..begin + 8].copy_from_slice(&length.to_be_bytes());
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
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Ids are hashed into ids and stand in every record: one write, not one for each digit.
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which resource, beyond its name, a step is about. Holds only what no benign step writes, so that an approval
/// outlives everything benign and dies with the resource.
///
/// | resource | incarnation |
/// |---|---|
/// | an account to be created | how often one of that name was created here before |
/// | an account found, not yet kept | the uid found |
/// | an account kept | uid, and the id of the step that created or adopted it |
/// | a home | the account's, and inode, birth time and filesystem |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Incarnation {
    /// Not there yet.
    New {
        /// How often an account of this name was created here before.
        generation: u32,
    },
    /// There, but not kept by muster.
    Found {
        /// The uid it has.
        uid: u32,
    },
    /// An account that muster keeps.
    Account {
        /// Its uid.
        uid: u32,
        /// The step that created or adopted it.
        entry: StepId,
    },
    /// The home of an account that muster keeps.
    Home {
        /// The account's uid.
        uid: u32,
        /// The step that created or adopted the account.
        entry: StepId,
        /// The directory, if there is one.
        home: Option<HomeId>,
    },
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { generation } => write!(f, "new generation={generation}"),
            Self::Found { uid } => write!(f, "found uid={uid}"),
            Self::Account { uid, entry } => write!(f, "account uid={uid} entry={entry}"),
            Self::Home {
                uid,
                entry,
                home: None,
            } => write!(f, "home uid={uid} entry={entry} absent"),
            Self::Home {
                uid,
                entry,
                home: Some(home),
            } => {
                let HomeId {
                    inode,
                    born,
                    filesystem,
                } = home;
                write!(
                    f,
                    "home uid={uid} entry={entry} inode={inode} born={born} filesystem={filesystem}"
                )
            }
        }
    }
}

/// One change to one resource, with the incarnation it expects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name: what is signed.
    pub id: StepId,
    /// What it does.
    pub action: Action,
    /// To which incarnation of the resource.
    pub incarnation: Incarnation,
}

impl Step {
    /// The step that carries out `action` on this incarnation of its resource.
    pub fn new(executor: &Executor, action: Action, incarnation: Incarnation) -> Self {
        Self {
            id: StepId::of(executor, &action, &incarnation),
            action,
            incarnation,
        }
    }

    /// The words of the step: `user.archive_delete emo home=/home/emo uid=1004`. What is shown is what is signed.
    pub fn words(&self) -> String {
        let mut out = String::with_capacity(128);
        out.push_str(self.action.kind().word());
        out.push(' ');
        push_encoded(&mut out, self.action.user());
        for (name, value) in self.action.parameters() {
            out.push(' ');
            out.push_str(name);
            out.push('=');
            push_encoded(&mut out, &value);
        }
        out
    }
}

/// Writes a value so that it is one word of printable ASCII: all but `[A-Za-z0-9._/@:+-]` becomes `%XX`.
pub fn percent_encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    push_encoded(&mut out, value);
    out
}

fn push_encoded(out: &mut String, value: &str) {
    if value.bytes().all(stands_for_itself) {
        out.push_str(value);
        return;
    }
    for byte in value.bytes() {
        if stands_for_itself(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
    }
}

/// Whether a byte is written as it is where a value has to be one word of printable ASCII.
pub(crate) fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'@' | b':' | b'+' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devvm() -> Executor {
        Executor {
            host: "devvm".into(),
        }
    }

    #[test]
    fn an_id_changes_with_every_field_and_never_otherwise() {
        let action = Action::JoinGroup {
            user: "emo".into(),
            group: "docker".into(),
            gid: 999,
        };
        let account = Incarnation::Account {
            uid: 1004,
            entry: StepId([7; 16]),
        };
        let id = StepId::of(&devvm(), &action, &account);
        assert_eq!(id, StepId::of(&devvm(), &action.clone(), &account.clone()));
        let other_host = Executor {
            host: "devvm2".into(),
        };
        let other_user = Action::JoinGroup {
            user: "ema".into(),
            group: "docker".into(),
            gid: 999,
        };
        let other_group = Action::JoinGroup {
            user: "emo".into(),
            group: "dockers".into(),
            gid: 999,
        };
        let other_account = Incarnation::Account {
            uid: 1004,
            entry: StepId([8; 16]),
        };
        for other in [
            StepId::of(&other_host, &action, &account),
            StepId::of(&devvm(), &other_user, &account),
            StepId::of(&devvm(), &other_group, &account),
            StepId::of(&devvm(), &action, &other_account),
        ] {
            assert_ne!(id, other);
        }
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn the_words_of_a_step_are_one_line_of_plain_ascii() {
        let action = Action::Entry {
            user: "emo".into(),
            file: crate::policy::Aggregate::Dispatch,
            key: "emo@x".into(),
            from: None,
            to: Some("{\"os_user\":\"emo\",\"port\":3773}".into()),
        };
        let step = Step::new(&devvm(), action, Incarnation::New { generation: 0 });
        assert_eq!(
            step.words(),
            "dispatch.add emo key=emo@x to=%7B%22os_user%22:%22emo%22%2C%22port%22:3773%7D"
        );
    }
}
