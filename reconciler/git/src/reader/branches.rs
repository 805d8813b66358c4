//! What is asked of a reader about branches and tags, and what it says.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use gix::hash::Kind;
use muster_core::release::TagHorizon;

use super::last_look;
use super::message::{self, Parts};
use crate::heads::{Heads, Proposals, WantedTags, heads_of};
use crate::origin::Origin;
use crate::run;
use crate::signature::Signature;

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) origin: &'a Origin,
    /// The full name of the protected branch.
    pub(super) protected: &'a str,
    pub(super) proposals: Proposals,
    pub(super) tags: Option<&'a WantedTags>,
}

/// What was said.
pub(super) struct Told {
    pub(super) kind: Kind,
    pub(super) heads: Heads,
    /// By what it can be seen that nothing moved; `None` for a remote origin.
    pub(super) signature: Option<Signature>,
    /// The directories in which something changes when a branch of a local origin moves.
    pub(super) watched: Vec<PathBuf>,
}

impl Asked<'_> {
    /// The question, as it is sent.
    pub(super) fn words(&self) -> Parts {
        let mut words = vec![
            b"heads".to_vec(),
            self.protected.into(),
            self.proposals_word().into(),
        ];
        if let Some(WantedTags { below, horizon, .. }) = self.tags {
            words.push(horizon.since.0.to_string().into());
            words.push(horizon.version.to_string().into());
            words.push(message::signers(horizon.signers.as_ref()));
            words.extend(below.iter().map(|it| it.clone().into_bytes()));
        }
        words
    }

    /// What of it tells one question from another: not who signs, which matters where a tag costs a question to a server. Nothing
    /// for whoever looks at branches alone, now and then, and would have the note of whoever acts forgotten.
    /// `common` is the repository that the origin leads to.
    pub(super) fn remembered(&self, common: &Path) -> Option<last_look::Question> {
        let WantedTags { below, horizon, .. } = self.tags?;
        if *horizon == TagHorizon::NONE {
            return None;
        }
        let mut words = self.about(common);
        words.push(self.proposals_word().into());
        words.extend(below.iter().map(|it| it.clone().into_bytes()));
        Some(last_look::Question {
            words,
            since: horizon.since.0,
            version: horizon.version,
        })
    }

    /// What it begins with, where nothing but the protected branch is asked for: any answer tells of that.
    pub(super) fn remembered_of_any(&self, common: &Path) -> Option<Parts> {
        let no_tags = self
            .tags
            .is_none_or(|tags| tags.horizon == TagHorizon::NONE);
        (no_tags && self.proposals == Proposals::Ignore).then(|| self.about(common))
    }

    /// Of which branch of what it is.
    fn about(&self, common: &Path) -> Parts {
        vec![
            self.origin.to_string().into_bytes(),
            common.as_os_str().as_encoded_bytes().to_vec(),
            self.protected.into(),
        ]
    }

    fn proposals_word(&self) -> &'static str {
        match self.proposals {
            Proposals::Include => "include",
            Proposals::Queued => "queued",
            Proposals::Ignore => "ignore",
        }
    }

    /// The answer, when it is one.
    pub(super) fn told(&self, answer: &[Vec<u8>]) -> Option<Told> {
        let [
            _,
            kind,
            protected_id,
            branches,
            tags,
            unread,
            signature,
            watched,
        ] = answer
        else {
            return None;
        };
        let kind = message::kind_of(kind)?;
        let mut found = message::refs_of(branches, kind)?;
        found.extend(message::refs_of(tags, kind)?);
        if !protected_id.is_empty() {
            let id = message::id(protected_id).filter(|id| id.kind() == kind)?;
            found.insert(self.protected.to_owned(), id);
        }
        let unread = unread.split(|byte| *byte == b'\n');
        let unread = unread
            .filter(|line| !line.is_empty())
            .map(run::printable)
            .collect();
        let signature = match (self.origin, signature.as_slice()) {
            (Origin::Remote(_), _) | (_, []) => None,
            (Origin::Local(_), bytes) => Some(Signature::of_bytes(bytes)?),
        };
        let watched = watched.split(|byte| *byte == b'\n');
        let watched = watched
            .filter(|path| path.starts_with(b"/"))
            .map(|path| PathBuf::from(OsString::from_vec(path.to_vec())))
            .collect();
        Some(Told {
            kind,
            heads: heads_of(&found, self.protected, unread),
            signature,
            watched,
        })
    }
}

impl Told {
    /// The same without what else was asked for.
    pub(super) fn of_the_protected_branch(mut self) -> Told {
        self.heads.branches.clear();
        self.heads.tags.clear();
        self
    }

    /// Whether it can be told again as long as nothing moves: all of it was read, and a later change shows.
    pub(super) fn lasts(&self) -> bool {
        self.heads.unread.is_empty()
            && self.heads.protected.is_some()
            && self.signature.as_ref().is_some_and(Signature::still_holds)
    }
}
