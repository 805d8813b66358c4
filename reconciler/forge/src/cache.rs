//! Cache of answers by their ETag. Asked again, the forge answers *not modified*, which does not count against the rate
//! limit.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How much is kept, in bytes of answers.
const LIMIT: usize = 16 << 20;

/// The form in which it is kept over a restart.
const FORMAT: &str = "muster-forge-cache/1";

/// Answers by route, least recently used out first.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
    uses: u64,
}

/// One answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The ETag.
    pub(crate) etag: String,
    /// The query of the page after this one.
    pub(crate) next: Option<String>,
    /// What it said: JSON.
    pub(crate) body: String,
    #[serde(skip)]
    used: u64,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    format: String,
    about: String,
    entries: BTreeMap<String, Entry>,
}

impl Cache {
    pub(crate) fn get(&mut self, route: &str) -> Option<&Entry> {
        self.uses += 1;
        let entry = self.entries.get_mut(route)?;
        entry.used = self.uses;
        Some(entry)
    }

    pub(crate) fn put(&mut self, route: &str, etag: &str, next: Option<&str>, body: &Bytes) {
        self.forget(route);
        let Ok(text) = std::str::from_utf8(body) else {
            return;
        };
        if body.len() > LIMIT / 4 || etag.len() > 512 {
            return;
        }
        self.uses += 1;
        let entry = Entry {
            etag: etag.to_owned(),
            next: next.map(str::to_owned),
            body: text.to_owned(),
            used: self.uses,
        };
        self.bytes += size(route, &entry);
        self.entries.insert(route.to_owned(), entry);
        while self.bytes > LIMIT {
            let oldest = self.entries.iter().min_by_key(|(_, it)| it.used);
            let Some(oldest) = oldest.map(|(route, _)| route.clone()) else {
                return;
            };
            self.forget(&oldest);
        }
    }

    pub(crate) fn forget(&mut self, route: &str) {
        if let Some(entry) = self.entries.remove(route) {
            self.bytes -= size(route, &entry);
        }
    }

    /// As bytes, to be kept over a restart. `about` names the forge and the repository that the answers are from.
    pub(crate) fn keep(&self, about: &str) -> Vec<u8> {
        let kept = Kept {
            format: FORMAT.to_owned(),
            about: about.to_owned(),
            entries: self.entries.clone(),
        };
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// The cache out of its bytes; empty when they cannot be read or are from another forge or repository.
    pub(crate) fn recall(bytes: &[u8], about: &str) -> Self {
        let mut cache = Self::default();
        let kept = serde_json::from_slice::<Kept>(bytes).ok();
        if let Some(kept) = kept.filter(|it| it.format == FORMAT && it.about == about) {
            for (route, entry) in kept.entries {
                let body = Bytes::from(entry.body);
                cache.put(&route, &entry.etag, entry.next.as_deref(), &body);
            }
        }
        cache
    }
}

fn size(route: &str, entry: &Entry) -> usize {
    route.len() + entry.etag.len() + entry.body.len() + 128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_bounded_and_lets_go_of_what_was_used_longest_ago() {
        let mut cache = Cache::default();
        let body = Bytes::from("x".repeat(1 << 20));
        for n in 0..40 {
            cache.put(&format!("/{n}"), "e", None, &body);
            assert!(cache.get("/0").is_some(), "used all the time: {n}");
            assert!(cache.bytes <= LIMIT);
        }
        assert!(cache.get("/1").is_none() && cache.get("/39").is_some());
        for route in cache.entries.keys().cloned().collect::<Vec<_>>() {
            cache.forget(&route);
        }
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn a_cache_comes_back_from_its_bytes_and_from_nothing_else() {
        let mut cache = Cache::default();
        cache.put("/a", "W/\"1\"", Some("page=2"), &Bytes::from("[]"));
        let bytes = cache.keep("forge");
        let mut again = Cache::recall(&bytes, "forge");
        let entry = again.get("/a").unwrap();
        assert_eq!(
            (
                entry.etag.as_str(),
                entry.next.as_deref(),
                entry.body.as_str()
            ),
            ("W/\"1\"", Some("page=2"), "[]")
        );
        assert!(Cache::recall(&bytes, "another").get("/a").is_none());
        for cut in 0..bytes.len() {
            assert!(Cache::recall(&bytes[..cut], "forge").entries.is_empty());
        }
    }
}
