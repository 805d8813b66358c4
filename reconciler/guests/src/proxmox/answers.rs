//! What Proxmox VE answers, as narrow as it is needed. Numbers come as text now and then, and switches as 0, 1 or a boolean.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// A scalar, as text, whatever kind it came as; an absent or unreadable one is empty (G6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

impl Word {
    pub(super) fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    pub(super) fn is_set(&self) -> bool {
        matches!(self.0.as_str(), "1" | "true" | "yes" | "on")
    }

    pub(super) fn some(self) -> Option<String> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Word, E> {
        Ok(Word(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Word, E> {
        Ok(Word(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Word, E> {
        Ok(Word(u8::from(yes).to_string()))
    }

    fn visit_unit<E>(self) -> Result<Word, E> {
        Ok(Word::default())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Word, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Word::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Word::default())
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

/// Every answer.
#[derive(serde::Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
}

/// What an error says beside its status line.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Complaint {
    pub(super) message: Word,
    pub(super) errors: Option<BTreeMap<String, Word>>,
}

/// A row of `/cluster/resources`, `/nodes/N/lxc` or `/nodes/N/qemu`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Row {
    #[serde(rename = "type")]
    pub(super) kind: Word,
    pub(super) vmid: Word,
    pub(super) node: Word,
    pub(super) name: Word,
    pub(super) status: Word,
    pub(super) lock: Word,
    pub(super) template: Word,
    pub(super) hastate: Word,
    pub(super) pool: Word,
    pub(super) tags: Word,
}

/// `…/status/current`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Current {
    pub(super) status: Word,
    pub(super) lock: Word,
    pub(super) ha: Ha,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Ha {
    pub(super) managed: Word,
    pub(super) state: Word,
}

/// A row of `…/pending`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Waits {
    pub(super) key: Word,
    pub(super) value: Option<Word>,
    pub(super) pending: Option<Word>,
    pub(super) delete: Word,
}

/// A task, in a list or alone.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct TaskRow {
    pub(super) upid: Word,
    #[serde(rename = "type")]
    pub(super) does: Word,
    pub(super) id: Word,
    pub(super) starttime: Word,
    pub(super) endtime: Word,
    pub(super) status: Word,
    pub(super) exitstatus: Word,
}

/// A row of a storage's content.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Content {
    pub(super) volid: Word,
    pub(super) ctime: Word,
    pub(super) size: Word,
    pub(super) notes: Word,
}

impl From<Content> for crate::api::Backup {
    fn from(row: Content) -> Self {
        Self {
            at: row.ctime.number().unwrap_or(0),
            size: row.size.number().unwrap_or(0),
            id: row.volid.0,
        }
    }
}

/// A row of `/cluster/status`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Member {
    #[serde(rename = "type")]
    pub(super) kind: Word,
    pub(super) name: Word,
    pub(super) online: Word,
    pub(super) local: Word,
    pub(super) quorate: Word,
}

/// `/version`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Version {
    pub(super) version: Word,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_text_whatever_it_came_as() {
        let read = |json: &str| serde_json::from_str::<Word>(json).unwrap().0;
        assert_eq!(read("\"512\""), "512");
        assert_eq!(read("512"), "512");
        assert_eq!(read("true"), "1");
        assert_eq!(read("0.5"), "0.5");
        for nothing in ["null", "[1,{}]", "{\"a\":[1]}", "\"\""] {
            assert_eq!(read(nothing), "", "{nothing}");
        }
    }
}
