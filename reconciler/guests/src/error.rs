//! What went wrong with a call to a hypervisor, told apart by what may have happened there (H11).

use muster_core::diagnostic::visible;

/// The most characters of a hypervisor's own words that are passed on.
const MOST_WORDS: usize = 400;

/// Why a call has no answer that counts. The three kinds differ in what may be done next, which is why nothing else is told apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The hypervisor cannot have seen the request: it may be sent again at once.
    #[error("{what}: not sent: {why}")]
    NotSent {
        /// The call, in words.
        what: String,
        /// Why not.
        why: String,
    },
    /// The request may have been carried out, in whole or in part: one looks at the tasks and at the guest before anything is sent again.
    #[error("{what}: it is not known whether it was carried out: {why}")]
    PerhapsExecuted {
        /// The call, in words.
        what: String,
        /// What was seen of it.
        why: String,
        /// The status of the answer, where there was one: a server that answers 500 may have done it all the same.
        code: Option<u16>,
    },
    /// The hypervisor said no, and nothing was changed.
    #[error("{what}: refused with {code}: {text}")]
    Refused {
        /// The call, in words.
        what: String,
        /// The status of the answer.
        code: u16,
        /// The hypervisor's own words, made visible and bounded.
        text: String,
    },
    /// Something was read, and it is no answer to what was asked. Reading changes nothing, so it may be asked again.
    #[error("{what}: {why}")]
    Unreadable {
        /// The call, in words.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
}

impl Error {
    /// The hypervisor's words, or ours about it.
    pub fn text(&self) -> &str {
        match self {
            Self::NotSent { why, .. }
            | Self::PerhapsExecuted { why, .. }
            | Self::Unreadable { why, .. } => why,
            Self::Refused { text, .. } => text,
        }
    }

    /// Whether the guest's configuration had changed since it was read: read again, compare, and send again (H14).
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Refused { code: 412, .. } => true,
            Self::Refused { text, .. } => {
                text.contains("detected modified configuration")
                    || text.contains("checksum mismatch")
            }
            Self::NotSent { .. } | Self::PerhapsExecuted { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Whether there is no such thing, or no longer.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Refused { code: 404, .. } => true,
            Self::Refused { text, .. } => {
                text.contains("does not exist") || text.contains("no such task")
            }
            Self::NotSent { .. } | Self::PerhapsExecuted { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Whether a node or server did not answer at all, so that nothing is known of its guests (GB4).
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::NotSent { .. } | Self::PerhapsExecuted { .. } | Self::Unreadable { .. } => true,
            Self::Refused { code, .. } => matches!(code, 595..=599 | 502..=504),
        }
    }

    pub(crate) fn unreadable(what: &str, why: impl std::fmt::Display) -> Self {
        Self::Unreadable {
            what: what.to_owned(),
            why: bounded(&why.to_string()),
        }
    }

    pub(crate) fn perhaps(what: &str, why: impl std::fmt::Display) -> Self {
        Self::PerhapsExecuted {
            what: what.to_owned(),
            why: bounded(&why.to_string()),
            code: None,
        }
    }

    pub(crate) fn perhaps_with(what: &str, code: u16, text: &str) -> Self {
        Self::PerhapsExecuted {
            what: what.to_owned(),
            why: bounded(&format!("{code}: {text}")),
            code: Some(code),
        }
    }

    pub(crate) fn refused(what: &str, code: u16, text: &str) -> Self {
        Self::Refused {
            what: what.to_owned(),
            code,
            text: bounded(text),
        }
    }
}

/// Foreign words: visible, on one line, and not without an end.
pub(crate) fn bounded(text: &str) -> String {
    let mut words: String = text.trim().chars().take(MOST_WORDS).collect();
    if text.trim().chars().nth(MOST_WORDS).is_some() {
        words.push('…');
    }
    visible(&words)
}
