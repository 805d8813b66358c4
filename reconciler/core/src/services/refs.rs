//! References: how an answer points at evidence without holding any of it (LB6). A reference has a form, and its form is all that is
//! asked of it.

use crate::repo::names::Grammar;

/// A reference of any kind.
pub static REF: Grammar = Grammar {
    rule: "ref-form",
    about: "a reference: sha256:<64 hex digits>, commit:<40 or 64 hex digits>, ticket:<KEY-1>, uuid:<UUID>, artifact:<name> or \
            ref:<name>",
    pattern: "^(sha256:[0-9a-f]{64}|commit:([0-9a-f]{40}|[0-9a-f]{64})|ticket:[A-Z][A-Z0-9]{0,15}-[0-9]{1,9}|uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(artifact|ref):[a-z0-9]{1,16}([._/-][a-z0-9]{1,16}){0,8})$",
    accepts: is_ref,
};

/// The digest of something, as a reference.
pub static DIGEST: Grammar = Grammar {
    rule: "digest-form",
    about: "a digest: sha256:<64 hex digits>",
    pattern: "^sha256:[0-9a-f]{64}$",
    accepts: is_digest,
};

/// Whether a text is a reference.
pub fn is_ref(text: &str) -> bool {
    let Some((kind, name)) = text.split_once(':') else {
        return false;
    };
    match kind {
        "sha256" => is_hex(name, 64),
        "commit" => is_hex(name, 40) || is_hex(name, 64),
        "ticket" => name.split_once('-').is_some_and(|(key, number)| {
            (1..=16).contains(&key.len())
                && key.starts_with(|c: char| c.is_ascii_uppercase())
                && key
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
                && (1..=9).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
        }),
        "uuid" => {
            let parts: Vec<&str> = name.split('-').collect();
            parts.len() == 5
                && parts
                    .iter()
                    .zip([8, 4, 4, 4, 12])
                    .all(|(part, length)| is_hex(part, length))
        }
        // Short words in lower case: no room for a key.
        "artifact" | "ref" => {
            let words: Vec<&str> = name.split(['.', '_', '/', '-']).collect();
            words.len() <= 9
                && words.iter().all(|word| {
                    (1..=16).contains(&word.len())
                        && word
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                })
        }
        _ => false,
    }
}

/// Whether a text is the digest of something, as a reference.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|it| is_hex(it, 64))
}

/// Whether a text is so many hexadecimal digits in lower case.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
