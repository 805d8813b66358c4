//! A sign of life: the one file of `refs/muster/alive/<kind>/<name>`, replaced every few minutes.

use serde::{Deserialize, Serialize};

use crate::commit::CommitId;
use crate::time::Time;

/// Its path.
pub const FILE: &str = "alive.json";

/// What an executor says of itself while it is at work. A newer version may say more: nothing is decided by it but how old
/// an inventory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// When it said so.
    pub at: Time,
    /// When the host was last read, and nothing was other than the ledger tells.
    pub read: Option<Time>,
    /// The newest commit of the ledger at that time.
    pub ledger: Option<CommitId>,
    /// The commit that is enforced.
    pub adopted: CommitId,
    /// Which muster it is.
    pub version: String,
    /// How the last cycle went.
    pub line: String,
    /// What could not be read, so that nothing is enforced there; versions before 0.3.0 do not say it.
    pub unread: Vec<String>,
}

/// The file, with moments as people read them.
#[derive(Serialize, Deserialize)]
struct Wire {
    at: String,
    #[serde(default)]
    read: Option<String>,
    #[serde(default)]
    ledger: Option<CommitId>,
    adopted: CommitId,
    version: String,
    line: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
}

impl Alive {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            at,
            read,
            ledger,
            adopted,
            version,
            line,
            unread,
        } = self.clone();
        let wire = Wire {
            at: at.to_string(),
            read: read.map(|it| it.to_string()),
            ledger,
            adopted,
            version,
            line,
            unread,
        };
        let mut text = serde_json::to_vec_pretty(&wire).expect("plain records always serialise");
        text.push(b'\n');
        text
    }

    /// Reads the file; `None` when it is not what was written.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let Wire {
            at,
            read,
            ledger,
            adopted,
            version,
            line,
            unread,
        } = serde_json::from_slice(bytes).ok()?;
        let moment = |text: &str| {
            let moment = text.parse::<jiff::Timestamp>().ok()?;
            Some(Time(moment.as_second()))
        };
        Some(Self {
            at: moment(&at)?,
            read: read.as_deref().map(moment).unwrap_or_default(),
            ledger,
            adopted,
            version,
            line,
            unread,
        })
    }

    /// When the ledger at `head`, which was committed at `committed`, was last seen to be so. A sign of life counts only for
    /// the very commit that it names, and never for a later moment than the one it was given at: whoever shows an old ledger
    /// beside a new sign of life makes it no newer.
    pub fn read_of(alive: Option<&Self>, head: &CommitId, committed: Time) -> Time {
        let read = alive
            .filter(|it| it.ledger.as_ref() == Some(head))
            .and_then(|it| it.read.map(|read| read.min(it.at)));
        read.map_or(committed, |read| read.max(committed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn alive(read: Option<i64>) -> Alive {
        Alive {
            at: Time(500),
            read: read.map(Time),
            ledger: Some(id('a')),
            adopted: id('c'),
            version: "1.2.3".to_owned(),
            line: "all is well".to_owned(),
            unread: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_more_is_no_harm() {
        let bytes = alive(Some(400)).to_bytes();
        assert_eq!(Alive::read(&bytes), Some(alive(Some(400))));
        let text = String::from_utf8(bytes).unwrap();
        let more = text.replacen('{', "{\"more\": 1,", 1);
        assert_eq!(Alive::read(more.as_bytes()), Some(alive(Some(400))));
        // What an older version wrote.
        let older = format!(
            "{{\"at\":\"1970-01-01T00:08:20Z\",\"adopted\":\"{}\",\"version\":\"0\",\"line\":\"\"}}",
            id('c')
        );
        let older = Alive::read(older.as_bytes()).unwrap();
        assert_eq!((older.read, older.ledger), (None, None));
        assert_eq!(Alive::read(b"{}"), None);
    }

    #[test]
    fn a_sign_of_life_counts_for_the_commit_it_names_and_no_later_than_it_was_given() {
        let of = |alive: &Alive, head| Alive::read_of(Some(alive), &head, Time(100));
        assert_eq!(of(&alive(Some(400)), id('a')), Time(400));
        assert_eq!(of(&alive(Some(400)), id('b')), Time(100));
        assert_eq!(of(&alive(Some(900)), id('a')), Time(500));
        assert_eq!(of(&alive(Some(50)), id('a')), Time(100));
        assert_eq!(of(&alive(None), id('a')), Time(100));
        assert_eq!(Alive::read_of(None, &id('a'), Time(100)), Time(100));
    }
}
