//! A step: an action, the incarnation of the resource it expects, and the id that is signed.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::action::{Action, Parameter};
use crate::bytes::ByteSet;
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
        put_field(&mut text, |text| put_display(text, executor));
        put_text(&mut text, action.kind().word());
        put_text(&mut text, action.user());
        let mut count = 0;
        action.each_parameter(&mut |_, _| count += 1);
        put_field(&mut text, |text| put_number(text, count));
        action.each_parameter(&mut |name, value| {
            put_text(&mut text, name);
            match value {
                Parameter::Text(value) => put_text(&mut text, value),
                Parameter::Number(value) => put_field(&mut text, |text| put_number(text, value)),
                Parameter::Range(_) | Parameter::Ports(_) | Parameter::Id(_) => {
                    put_field(&mut text, |text| put_display(text, value));
                }
            }
        });
        put_field(&mut text, |text| {
            incarnation.spell(&mut |part| text.extend_from_slice(part))
        });
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

/// The same of what `spell` appends.
fn put_field(text: &mut Vec<u8>, spell: impl FnOnce(&mut Vec<u8>)) {
    let begin = text.len();
    text.extend_from_slice(&[0; 8]);
    spell(text);
    let length = (text.len() - begin - 8) as u64;
    text[begin..begin + 8].copy_from_slice(&length.to_be_bytes());
}

fn put_display(text: &mut Vec<u8>, value: impl fmt::Display) {
    use std::io::Write as _;
    write!(text, "{value}").expect("BUG: a vector takes everything");
}

fn put_number(text: &mut Vec<u8>, number: u64) {
    text.extend_from_slice(digits(number, &mut [0; 20]));
}

/// The decimal digits of a number, without the machinery that knows of widths and signs.
fn digits(number: u64, room: &mut [u8; 20]) -> &[u8] {
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

impl StepId {
    /// As it is printed: 32 hex digits.
    fn hex(&self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ids stand in every record: one write, not one for each digit.
        f.write_str(std::str::from_utf8(&self.hex()).expect("hex digits are ASCII"))
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

impl Incarnation {
    /// Tells the parts of what is hashed and shown, one after the other.
    fn spell(&self, put: &mut impl FnMut(&[u8])) {
        let account = |kind: &[u8], uid: u32, entry: StepId, put: &mut dyn FnMut(&[u8])| {
            put(kind);
            put(b" uid=");
            put(digits(u64::from(uid), &mut [0; 20]));
            put(b" entry=");
            put(&entry.hex());
        };
        match self {
            Self::New { generation } => {
                put(b"new generation=");
                put(digits(u64::from(*generation), &mut [0; 20]));
            }
            Self::Found { uid } => {
                put(b"found uid=");
                put(digits(u64::from(*uid), &mut [0; 20]));
            }
            Self::Account { uid, entry } => account(b"account", *uid, *entry, put),
            Self::Home { uid, entry, home } => {
                account(b"home", *uid, *entry, put);
                match home {
                    None => put(b" absent"),
                    Some(HomeId {
                        inode,
                        born,
                        filesystem,
                    }) => {
                        let rest = format!(" inode={inode} born={born} filesystem={filesystem}");
                        put(rest.as_bytes());
                    }
                }
            }
        }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(128);
        self.spell(&mut |part| text.extend_from_slice(part));
        f.write_str(&String::from_utf8(text).expect("BUG: every part is text"))
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
        self.action.each_parameter(&mut |name, value| {
            out.push(' ');
            out.push_str(name);
            out.push('=');
            match value {
                Parameter::Text(value) => push_encoded(&mut out, value),
                Parameter::Number(_)
                | Parameter::Range(_)
                | Parameter::Ports(_)
                | Parameter::Id(_) => push_encoded(&mut out, &value.to_string()),
            }
        });
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
    use crate::action::{HomeSource, Identity, Leave, Parking, UnitChange};
    use crate::facts::IdRange;
    use crate::policy::Aggregate;

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

    /// The id as the design says it: every field with its length before it, parameters sorted by name.
    fn by_the_book(action: &Action, incarnation: &Incarnation) -> StepId {
        let parameters = action.parameters();
        let mut fields = vec![
            devvm().to_string(),
            action.kind().word().to_owned(),
            action.user().to_owned(),
            parameters.len().to_string(),
        ];
        for (name, value) in parameters {
            fields.extend([name.to_owned(), value]);
        }
        fields.push(incarnation.to_string());
        let mut hash = Sha256::new();
        hash.update(b"muster-step/1\0");
        for field in fields {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        StepId(hash.finalize()[..16].try_into().unwrap())
    }

    #[test]
    fn an_id_is_the_hash_of_the_fields_in_their_order() {
        let text = |it: &str| it.to_owned();
        let range = Some(IdRange {
            first: 100_000,
            count: 65_536,
        });
        let home_id = HomeId {
            inode: u64::MAX,
            born: -1,
            filesystem: "uuid:7".into(),
        };
        let from = |from| Action::RestoreHome {
            user: text("emo"),
            home: text("/home/emo"),
            from,
            of: StepId([9; 16]),
        };
        let restored = |root_equivalent, range| Action::RestoreAccount {
            user: text("emo"),
            uid: 0,
            gid: u32::MAX,
            home: text("/home/emo"),
            shell: text("/bin/sh"),
            subuid: range,
            subgid: range,
            root_equivalent,
        };
        let entry = |from: Option<&str>, to: Option<&str>| Action::Entry {
            user: text("emo"),
            file: Aggregate::Dispatch,
            key: text("emo@example.com"),
            from: from.map(text),
            to: to.map(text),
        };
        let created = |range| Action::CreateAccount {
            user: text("emo"),
            uid: 1_004,
            gid: 10,
            home: text("/home/emo"),
            shell: text("/bin/zsh"),
            subuid: range,
            subgid: range,
            authentik_user: text("emo@example.com"),
            k8s_user: text("émo"),
        };
        let left = |because| Action::LeaveGroup {
            user: text("emo"),
            group: text("docker"),
            because,
        };
        let actions = [
            created(None),
            created(range),
            Action::AdoptAccount {
                user: text("emo"),
                uid: 1,
                gid: 2,
                home: text("/"),
                authentik_user: text("a"),
                k8s_user: text("k"),
            },
            Action::RenameAccount {
                from: text("emil"),
                user: text("emo"),
                uid: 7,
            },
            Action::ChangeUid {
                user: text("emo"),
                from: 9,
                to: 10,
            },
            Action::ChangeIdentity {
                user: text("emo"),
                identity: Identity::K8sUser,
                from: text("a"),
                to: text("b"),
            },
            Action::SetShell {
                user: text("emo"),
                from: text("/bin/sh"),
                to: text("/bin/zsh"),
            },
            Action::JoinGroup {
                user: text("emo"),
                group: text("docker"),
                gid: 999,
            },
            left(Leave::Cut),
            left(Leave::NotAsked),
            Action::AssignPorts {
                user: text("emo"),
                ports: [(text("t3"), 3_773), (text("playwright"), 33_773)].into(),
            },
            Action::Park {
                user: text("emo"),
                because: Parking::Expired,
            },
            Action::Unpark { user: text("emo") },
            Action::Cut {
                user: text("emo"),
                root_equivalent: true,
            },
            Action::LockLogin {
                user: text("emo"),
                cut: 3,
            },
            Action::CreateHome {
                user: text("emo"),
                home: text("/home/emo"),
            },
            Action::WriteEnvironment {
                user: text("emo"),
                digest: text("00ff"),
            },
            Action::Unit {
                user: text("emo"),
                unit: text("t3-serve@emo.service"),
                change: UnitChange::Start,
            },
            entry(None, Some("x")),
            entry(Some("x"), Some("")),
            entry(Some("x"), Some("y")),
            Action::ArchiveDelete {
                user: text("emo"),
                uid: 5,
                home: text("/home/emo"),
                home_id: None,
                gid: 5,
                subuid: None,
                subgid: None,
            },
            Action::RecordArchive {
                user: text("emo"),
                sha256: text("aa"),
                bytes: u64::MAX,
            },
            restored(true, range),
            restored(false, None),
            from(HomeSource::Archive { sha256: text("aa") }),
            from(HomeSource::Quarantine {
                home_id: home_id.clone(),
            }),
            Action::PurgeHome {
                user: text("emo"),
                uid: 5,
                home: text("/home/emo"),
                home_id: home_id.clone(),
                sha256: text("aa"),
            },
        ];
        let entry = StepId([0xa5; 16]);
        let incarnations = [
            (Incarnation::New { generation: 10 }, "new generation=10"),
            (Incarnation::Found { uid: 0 }, "found uid=0"),
            (
                Incarnation::Account { uid: 1_004, entry },
                "account uid=1004 entry=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
            ),
            (
                Incarnation::Home {
                    uid: 1,
                    entry,
                    home: None,
                },
                "home uid=1 entry=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5 absent",
            ),
            (
                Incarnation::Home {
                    uid: 1,
                    entry,
                    home: Some(home_id),
                },
                "home uid=1 entry=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5 inode=18446744073709551615 born=-1 filesystem=uuid:7",
            ),
        ];
        for (incarnation, spelled) in &incarnations {
            assert_eq!(incarnation.to_string(), *spelled);
            for action in &actions {
                let id = StepId::of(&devvm(), action, incarnation);
                assert_eq!(id, by_the_book(action, incarnation), "{action:?}");
            }
        }
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
