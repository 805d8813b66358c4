//! Why a release was refused: one word for machines, one sentence for people.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// The word for a refusal. There are no others.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl Code {
            /// All of them, in the order of the checks as far as there is one.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

codes! {
    /// Not a lightweight tag, a nested one or one of a file: it breaks the grammar.
    Malformed = "malformed",
    /// The ref does not point to an annotated tag.
    NotAnnotated = "not_annotated",
    /// The ref, the name in the tag and what the tag contains do not agree.
    NameMismatch = "name_mismatch",
    /// No key of the trust root.
    UnknownSigner = "unknown_signer",
    /// A key that the trust root had, and dropped.
    Revoked = "revoked",
    /// A key of the trust root that may not do this.
    RoleDenied = "role_denied",
    /// A key that is not valid now, by this host's clock.
    KeyExpired = "key_expired",
    /// The signature is not one over these bytes by this key, for this purpose.
    BadSignature = "bad_signature",
    /// The window has not begun.
    NotYetValid = "not_yet_valid",
    /// The window is over, or longer than allowed.
    Expired = "expired",
    /// About another state repository.
    WrongRepo = "wrong_repo",
    /// About a commit that is not adopted here.
    NotAdopted = "not_adopted",
    /// This executor is not named.
    WrongExecutor = "wrong_executor",
    /// A step that is not in the plan as it was signed.
    BindingMismatch = "binding_mismatch",
    /// Beyond a limit, or about a protected name.
    Guardrail = "guardrail",
    /// Good, but more people have to sign.
    QuorumPending = "quorum_pending",
    /// The nonce was used.
    Replay = "replay",
    /// This host's clock cannot be believed.
    Clock = "clock",
    /// This executor is frozen.
    Frozen = "frozen",
    /// This host trusts no key.
    Inert = "inert",
}

impl Code {
    /// Whether nothing is wrong with a release that has it: it waits for somebody else to sign (F31).
    pub fn waits(self) -> bool {
        self == Self::QuorumPending
    }

    /// A refusal with this word and this sentence, before the signature was verified.
    pub fn because(self, why: impl Into<String>) -> Refusal {
        Refusal {
            code: self,
            why: why.into(),
            authenticated: false,
        }
    }
}

/// Not one of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a code of a refusal")]
pub struct NotACode;

impl FromStr for Code {
    type Err = NotACode;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|it| it.code() == word)
            .ok_or(NotACode)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Why a release was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {why}")]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The word.
    pub code: Code,
    /// What is wrong and what to do about it: one sentence of printable characters.
    pub why: String,
    /// Whether the signature had verified when it was refused. Only such refusals are journaled and reported: anybody
    /// can push the others.
    pub authenticated: bool,
}

impl Refusal {
    /// The same refusal, of a release whose signature is good.
    pub fn authenticated(mut self) -> Self {
        self.authenticated = true;
        self
    }
}
