//! Tags by which people stand behind owner responses (LB9): who signed, and which files as they are. Nothing runs for them, and no
//! release is made of them.
//!
//! ```text
//! muster-answer/1
//! 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  services/responses/edge.yaml
//! end
//! ```
//!
//! A line is what `sha256sum` prints, so the statement needs no muster: another byte in the file, and nobody stands behind it. Whose
//! key it is stands in a file of the bot's machine (`/etc/muster/signers`), never in the state repository.

use std::collections::BTreeMap;

use super::root::SignerKey;
use super::signature::{SshSig, UserVerification};
use super::tag::Tag;
use super::{Code, Fingerprint, ObjectKind, Refusal, annotated, names_agree, shown};
use crate::diagnostic::visible;
use crate::key_list::{self, KeyListError};

/// What the full name of such a tag begins with.
pub const ANSWERS: &str = "refs/tags/answer/";

/// The first line of a statement, and the last.
const BEGIN: &str = "muster-answer/1\n";
const END: &str = "end\n";

/// So many files can be named in one.
const MOST_FILES: usize = 1_000;

/// Whose keys count: a person's os_user and a public key a line.
///
/// ```text
/// # who   the key, as in the .pub file
/// emo     ssh-ed25519 AAAAC3Nza…  emo@laptop
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signers {
    people: BTreeMap<SignerKey, String>,
}

impl Signers {
    /// Reads the text of `file`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with file and line.
    pub fn parse(file: &str, text: &str) -> Result<Self, KeyListError> {
        let mut signers = Self::default();
        key_list::read(file, text, |_, [name, kind, blob]| {
            if !(crate::repo::names::OS_USER.accepts)(name) {
                return Err(format!(
                    "`{}` is no os_user: write `<os_user> ssh-ed25519 AAAA…`",
                    visible(name)
                ));
            }
            let key = (format!("{kind} {blob}").parse::<SignerKey>())
                .map_err(|error| error.to_string())?;
            match signers.people.get(&key) {
                Some(other) => Err(format!(
                    "this key is that of {other} already; each person has their own"
                )),
                None => {
                    signers.people.insert(key, name.to_owned());
                    Ok(())
                }
            }
        })?;
        Ok(signers)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Whether a key still is that person's.
    pub fn has(&self, person: &str, key: &str) -> bool {
        let mut people = self.people.iter();
        people.any(|(it, name)| name == person && it.fingerprint().to_string() == key)
    }

    fn of(&self, blob: &[u8]) -> Option<&str> {
        let mut people = self.people.iter();
        let (_, name) = people.find(|(it, _)| it.blob() == blob)?;
        Some(name)
    }
}

/// Who stands behind which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAnswers {
    /// The person, by os_user.
    pub person: String,
    /// With which key.
    pub key: Fingerprint,
    /// SHA-256 of each file, by its path.
    pub files: BTreeMap<String, String>,
}

/// The statement about these files, to be the message of a tag.
pub fn statement(files: &BTreeMap<String, String>) -> String {
    let lines = files
        .iter()
        .map(|(path, sha256)| format!("{sha256}  {path}\n"));
    format!("{BEGIN}{}{END}", lines.collect::<String>())
}

/// Whether `raw`, the object to which `ref_name` points, was signed by one of `signers`, and what it says.
///
/// The first failure wins: an annotated tag ([`Code::NotAnnotated`]) of strict grammar ([`Code::Malformed`]), under its own name
/// ([`Code::NameMismatch`]), with a statement of one spelling ([`Code::Malformed`]), by a key that is known
/// ([`Code::UnknownSigner`]) and whose signature is good ([`Code::BadSignature`]).
pub fn signed_answers(
    ref_name: &str,
    kind: ObjectKind,
    raw: &[u8],
    signers: &Signers,
) -> Result<SignedAnswers, Refusal> {
    annotated(kind)?;
    let tag = Tag::parse(raw)?;
    let sig = SshSig::parse(&tag.armor)?;
    names_agree(ref_name, &tag)?;
    let files = parse(tag.message)?;
    sig.namespace_is_git()?;
    let key = sig.fingerprint();
    let person = signers.of(sig.key_blob()).ok_or_else(|| {
        Code::UnknownSigner.because(format!(
            "the key {key} is nobody's in the file of signers; have it added there, or sign with one that is"
        ))
    })?;
    sig.verify(tag.signed, UserVerification::default())?;
    Ok(SignedAnswers {
        person: person.to_owned(),
        key,
        files,
    })
}

fn parse(message: &[u8]) -> Result<BTreeMap<String, String>, Refusal> {
    let malformed = |why: String| Code::Malformed.because(why);
    let text = str::from_utf8(message)
        .ok()
        .and_then(|it| it.strip_prefix(BEGIN)?.strip_suffix(END))
        .ok_or_else(|| {
            malformed("the message is no statement: `muster-answer/1`, lines as `sha256sum` prints them, and `end`".into())
        })?;
    let mut files = BTreeMap::new();
    let mut last = "";
    for line in text.lines() {
        let wrong = || {
            malformed(format!(
                "{} is no line of a statement: 64 hexadecimal digits, two spaces, and the path, sorted by path",
                shown(line.as_bytes())
            ))
        };
        let (sha256, path) = line.split_once("  ").ok_or_else(wrong)?;
        let is_hex = sha256.len() == 64
            && sha256
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_plain = path.bytes().all(|b| b.is_ascii_graphic());
        if !is_hex || !is_plain || path <= last || files.len() == MOST_FILES {
            return Err(wrong());
        }
        last = path;
        files.insert(path.to_owned(), sha256.to_owned());
    }
    // One spelling: nothing that `lines` passes over.
    match statement(&files).as_bytes() == message && !files.is_empty() {
        true => Ok(files),
        false => Err(malformed(
            "the statement names no file, or is not spelled as it must be".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdDbi3BgA8O6B9Sj7KaNQmVfGXMB4oHqAJ0QwFVFgRk";

    /// LB9: whose key counts, with file and line where it cannot be told.
    #[test]
    fn lb9_signers_are_people_each_with_keys_of_their_own() {
        let text = format!("# ours\n\nemo {KEY} laptop\n");
        let signers = Signers::parse("signers", &text).unwrap();
        assert!(!signers.is_empty());
        let key: SignerKey = KEY.parse().unwrap();
        assert!(signers.has("emo", &key.fingerprint().to_string()));
        assert!(!signers.has("ann", &key.fingerprint().to_string()));
        let wrong = format!("emo {KEY}\nann {KEY}\nEmo {KEY}\nbob ssh-dss AAAA\n");
        let error = Signers::parse("/etc/muster/signers", &wrong).unwrap_err();
        let told = error.to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 3, "{told}");
        assert!(lines[0].starts_with("/etc/muster/signers:2: this key is that of emo"));
        assert!(lines[1].starts_with("/etc/muster/signers:3: `Emo` is no os_user"));
        assert!(lines[2].starts_with("/etc/muster/signers:4: "));
    }

    /// LB9: a statement has one spelling.
    #[test]
    fn lb9_a_statement_of_answers_has_one_spelling() {
        let digest = "a".repeat(64);
        let files = BTreeMap::from([
            ("services/responses/a.yaml".to_owned(), digest.clone()),
            ("services/reviews/b.yaml".to_owned(), digest.clone()),
        ]);
        let text = statement(&files);
        assert_eq!(parse(text.as_bytes()).unwrap(), files);
        for other in [
            text.replace("muster-answer/1", "muster-answer/2"),
            text.replace("end\n", "end"),
            text.replace("end\n", "end\nmore\n"),
            text.replace("  services", " services"),
            text.replace(&digest, &digest.to_uppercase()),
            text.replace("a.yaml", "c.yaml\r"),
            text.replace("responses", "sponses"),
            text.replace("a.yaml", "ä.yaml"),
            format!("{BEGIN}{END}"),
            format!("{BEGIN}\n{END}"),
            String::new(),
        ] {
            assert!(parse(other.as_bytes()).is_err(), "{other}");
        }
    }
}
