//! Finds what must not stand in an answer (W5): secrets, and payloads that nobody redacted. A few anchored forms of our own, and a
//! measure of randomness for words that are no reference.
//!
//! What is found is told by the name of a rule and a place, never by any part of it (LB5). A word that has the form of a reference
//! (`sha256:…`, `commit:…`, `ticket:…`, `uuid:…`) is a digest or a name, and its randomness is not held against it (LB6).

use super::needles::Needles;
use super::refs;

/// The most bytes of one text that are looked at; a longer one is a payload by that alone.
pub const LARGEST: usize = 64 << 10;

/// Something that must not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Which rule says so.
    pub rule: &'static str,
    /// Where it begins, in bytes.
    pub at: usize,
    /// How many bytes it has, about.
    pub length: usize,
}

/// A token that is known by how it begins.
struct Form {
    rule: &'static str,
    begins: &'static [&'static str],
    /// What may follow.
    body: fn(u8) -> bool,
    /// How many of them there are at least.
    least: usize,
}

fn is_alphanumeric(b: u8) -> bool {
    b.is_ascii_alphanumeric()
}

fn is_upper_or_digit(b: u8) -> bool {
    b.is_ascii_uppercase() || b.is_ascii_digit()
}

fn is_hex(b: u8) -> bool {
    b.is_ascii_hexdigit()
}

/// What tokens in Base64 for addresses are made of, and the points between their parts.
fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
}

fn is_dotted(b: u8) -> bool {
    is_word(b) || b == b'.'
}

fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-')
}

static FORMS: [Form; 23] = [
    Form {
        rule: "bearer-token",
        begins: &["Bearer ", "bearer "],
        body: is_dotted,
        least: 16,
    },
    Form {
        rule: "aws-access-key",
        begins: &["AKIA", "ASIA", "ABIA", "ACCA"],
        body: is_upper_or_digit,
        least: 16,
    },
    Form {
        rule: "github-token",
        begins: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        body: is_alphanumeric,
        least: 30,
    },
    Form {
        rule: "github-pat",
        begins: &["github_pat_"],
        body: is_word,
        least: 22,
    },
    Form {
        rule: "gitlab-token",
        begins: &["glpat-", "gldt-", "glrt-", "glcbt-", "glptt-"],
        body: is_word,
        least: 20,
    },
    Form {
        rule: "slack-token",
        begins: &[
            "xoxb-", "xoxp-", "xoxa-", "xoxs-", "xoxr-", "xoxe.", "xapp-",
        ],
        body: is_word,
        least: 10,
    },
    Form {
        rule: "stripe-key",
        begins: &["sk_live_", "rk_live_", "sk_test_", "rk_test_", "whsec_"],
        body: is_alphanumeric,
        least: 16,
    },
    Form {
        rule: "google-api-key",
        begins: &["AIza"],
        body: is_word,
        least: 35,
    },
    Form {
        rule: "google-oauth",
        begins: &["ya29.", "GOCSPX-"],
        body: is_dotted,
        least: 20,
    },
    Form {
        rule: "jwt",
        begins: &["eyJ"],
        body: is_dotted,
        least: 17,
    },
    Form {
        rule: "sendgrid-key",
        begins: &["SG."],
        body: is_dotted,
        least: 40,
    },
    Form {
        rule: "npm-token",
        begins: &["npm_"],
        body: is_alphanumeric,
        least: 30,
    },
    Form {
        rule: "pypi-token",
        begins: &["pypi-"],
        body: is_word,
        least: 30,
    },
    Form {
        rule: "digitalocean-token",
        begins: &["dop_v1_", "doo_v1_", "dor_v1_"],
        body: is_hex,
        least: 32,
    },
    Form {
        rule: "vault-token",
        begins: &["hvs.", "hvb.", "hvr."],
        body: is_dotted,
        least: 20,
    },
    Form {
        rule: "age-key",
        begins: &["AGE-SECRET-KEY-1"],
        body: is_upper_or_digit,
        least: 20,
    },
    Form {
        rule: "openai-key",
        begins: &["sk-ant-", "sk-proj-", "sk-"],
        body: is_word,
        least: 20,
    },
    Form {
        rule: "huggingface-token",
        begins: &["hf_"],
        body: is_alphanumeric,
        least: 30,
    },
    Form {
        rule: "docker-token",
        begins: &["dckr_pat_"],
        body: is_word,
        least: 20,
    },
    Form {
        rule: "shopify-token",
        begins: &["shpat_", "shpss_", "shpca_", "shppa_"],
        body: is_hex,
        least: 32,
    },
    Form {
        rule: "telegram-token",
        begins: &[":AA"],
        body: is_word,
        least: 31,
    },
    Form {
        rule: "password-hash",
        begins: &[
            "$1$", "$5$", "$6$", "$y$", "$2a$", "$2b$", "$2y$", "$argon2",
        ],
        body: |b| is_base64(b) || matches!(b, b'.' | b'$' | b','),
        least: 12,
    },
    Form {
        rule: "authentik-token",
        begins: &[
            "ak_",
            "lin_api_",
            "nvapi-",
            "tskey-",
            "xkeysib-",
            "EAACEdEose0cBA",
        ],
        body: is_word,
        least: 20,
    },
];

/// What a payload has that nobody redacted, in lower case, and the rules that say so, in the same order.
static PAYLOADS: Needles<21> = Needles::of([
    "-----begin ",
    "private key-----",
    "putty-user-key-file",
    "[unit]",
    "[service]",
    "execstart=",
    "wantedby=",
    "\nservices:\n",
    "container_name:",
    "env_file:",
    "restart: unless-stopped",
    "server {",
    "proxy_pass ",
    "<virtualhost",
    "permitrootlogin",
    "set-cookie:",
    "cookie: ",
    "authorization: ",
    "accountkey=",
    "sharedaccesssignature=",
    "export path=",
]);
static PAYLOAD_RULES: [&str; 21] = [
    "private-key",
    "private-key",
    "private-key",
    "raw-unit",
    "raw-unit",
    "raw-unit",
    "raw-unit",
    "raw-compose",
    "raw-compose",
    "raw-compose",
    "raw-compose",
    "raw-config",
    "raw-config",
    "raw-config",
    "raw-config",
    "cookie",
    "cookie",
    "authorization",
    "azure-key",
    "azure-key",
    "env-dump",
];

/// Names behind which a value is a secret, in lower case: `name=value` or `name: value`.
static NAMES: [&str; 18] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "accesskey",
    "private_key",
    "client_secret",
    "credential",
    "credentials",
    "auth_key",
    "session_id",
    "sessionid",
];

/// A rule by its name, of whatever version gave it.
pub fn rule_named(name: &str) -> &'static str {
    let of_forms = FORMS.iter().map(|it| it.rule);
    let others = [
        "password-in-address",
        "assigned-secret",
        "env-dump",
        "random-word",
        "base64",
        "too-long",
    ];
    let mut all = of_forms.chain(PAYLOAD_RULES).chain(others);
    all.find(|it| *it == name).unwrap_or("of another version")
}

/// Looks through a text: as it stands, with its lines joined, and through what is Base64 in it. The places of all but the first
/// are those of the text as a whole.
pub fn scan(text: &str) -> Vec<Found> {
    if text.len() > LARGEST {
        return vec![Found {
            rule: "too-long",
            at: 0,
            length: text.len(),
        }];
    }
    let mut found = Vec::new();
    anchored(text, &mut found);
    assignments(text, &mut found);
    env_dump(text, &mut found);
    words(text, &mut found);
    if found.is_empty() {
        let joined = joined(text);
        let mut hidden = Vec::new();
        if joined.len() < text.len() {
            anchored(&joined, &mut hidden);
        }
        decoded(&joined, &mut hidden);
        decoded(text, &mut hidden);
        let whole = |it: Found| Found { at: 0, ..it };
        found.extend(hidden.into_iter().map(whole));
    }
    found.sort_unstable_by_key(|it| (it.at, it.rule));
    // One place is told of once.
    found.dedup_by_key(|it| it.at);
    found
}

/// Which forms can begin with a byte: a bit for each.
static FORMS_AT: [u32; 256] = {
    let mut table = [0; 256];
    let mut form = 0;
    while form < FORMS.len() {
        let mut begin = 0;
        while begin < FORMS[form].begins.len() {
            table[FORMS[form].begins[begin].as_bytes()[0] as usize] |= 1 << form;
            begin += 1;
        }
        form += 1;
    }
    table
};

/// Tokens known by how they begin, and payloads: in one pass, as most bytes begin none of them.
fn anchored(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    // Each payload is told of where it stands first.
    let mut told = [false; PAYLOAD_RULES.len()];
    for (at, first) in bytes.iter().enumerate() {
        for payload in PAYLOADS.at(bytes, at) {
            if !std::mem::replace(&mut told[payload], true) {
                found.push(Found {
                    rule: PAYLOAD_RULES[payload],
                    at,
                    length: PAYLOADS.length(payload),
                });
            }
        }
        if *first == b':' {
            in_address(text, at, found);
        }
        let mut forms = FORMS_AT[usize::from(*first)];
        // A token begins where no other word goes on.
        let begins =
            at == 0 || !bytes[at - 1].is_ascii_alphanumeric() || matches!(*first, b':' | b'$');
        while begins && forms != 0 {
            let form = &FORMS[forms.trailing_zeros() as usize];
            forms &= forms - 1;
            let rest = &bytes[at..];
            // The second byte first: it tells most of them from what is there, without a call.
            let is_there = |it: &&&str| {
                let it = it.as_bytes();
                rest.get(1) == it.get(1) && rest.starts_with(it)
            };
            let Some(begin) = form.begins.iter().find(is_there) else {
                continue;
            };
            let body = rest[begin.len()..]
                .iter()
                .take_while(|b| (form.body)(**b))
                .count();
            if body >= form.least {
                found.push(Found {
                    rule: form.rule,
                    at,
                    length: begin.len() + body,
                });
            }
        }
    }
}

/// `scheme://user:password@host`.
fn in_address(text: &str, at: usize, found: &mut Vec<Found>) {
    let Some(rest) = text[at..].strip_prefix("://") else {
        return;
    };
    let end = rest
        .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''))
        .unwrap_or(rest.len());
    let Some((user, _)) = rest[..end].rsplit_once('@') else {
        return;
    };
    if user
        .split_once(':')
        .is_some_and(|(_, password)| !password.is_empty())
    {
        found.push(Found {
            rule: "password-in-address",
            at,
            length: end,
        });
    }
}

/// `password: hunter2`, with or without quotes.
fn assignments(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    for (at, _) in bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| matches!(b, b'=' | b':'))
    {
        let before = text[..at].trim_end_matches(['"', '\'', ' ']);
        let name = before
            .rsplit(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
            .next()
            .unwrap_or_default();
        // The name may have a word before it: DB_PASSWORD.
        let is_named = |it: &&str| {
            let Some(before) = name.len().checked_sub(it.len()) else {
                return false;
            };
            let (word, ending) = name.as_bytes().split_at(before);
            ending.eq_ignore_ascii_case(it.as_bytes())
                && matches!(word.last(), None | Some(b'_' | b'-'))
        };
        if !NAMES.iter().any(is_named) {
            continue;
        }
        let value = text[at + 1..].trim_start_matches([' ', '=', '"', '\'']);
        let length = value
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';'))
            .unwrap_or(value.len());
        let value = &value[..length];
        let is_placeholder = value.starts_with(['<', '$', '*', '{'])
            || value.contains("REDACTED")
            || refs::is_ref(value);
        let digits = value.bytes().any(|b| !b.is_ascii_alphabetic());
        // After a colon an ordinary word is a sentence: "token: rotated by the owner".
        if length >= 6 && !is_placeholder && (digits || bytes[at] == b'=') {
            found.push(Found {
                rule: "assigned-secret",
                at: before.len() - name.len(),
                length,
            });
        }
    }
}

/// Three variables of an environment in one text.
fn env_dump(text: &str, found: &mut Vec<Found>) {
    let is_variable = |word: &&str| {
        word.split_once('=').is_some_and(|(name, value)| {
            name.len() >= 3
                && !value.is_empty()
                && name.bytes().all(|b| is_upper_or_digit(b) || b == b'_')
        })
    };
    let mut variables = text.split_whitespace().filter(is_variable);
    if let Some(third) = variables.nth(2) {
        let at = third.as_ptr() as usize - text.as_ptr() as usize;
        found.push(Found {
            rule: "env-dump",
            at,
            length: third.len(),
        });
    }
}

/// Words that are too random for a language, and no reference.
fn words(text: &str, found: &mut Vec<Found>) {
    let is_end = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '"' | '\'' | ',' | ';' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '`' | '|'
            )
    };
    for word in text.split(is_end) {
        if word.len() < 16 || refs::is_ref(word.trim_end_matches(['.', ':'])) {
            continue;
        }
        let at = word.as_ptr() as usize - text.as_ptr() as usize;
        // A word of several parts is as random as its most random part: a path is not.
        for part in word.split(['=', ':', '.', '/', '@', '&', '?', '#', '\\']) {
            if part.len() >= 16 && is_random(part) {
                found.push(Found {
                    rule: "random-word",
                    at,
                    length: word.len(),
                });
                break;
            }
        }
        // Padding and slashes are part of Base64.
        let plain = word.trim_end_matches('=');
        if plain.len() >= 32
            && plain.bytes().all(is_base64)
            && classes(plain) == 3
            && entropy(plain) > 4.2
            && !plain.contains("//")
        {
            found.push(Found {
                rule: "random-word",
                at,
                length: word.len(),
            });
        }
    }
}

fn is_random(word: &str) -> bool {
    if word.bytes().all(is_hex) {
        return word.len() >= 24 && entropy(word) > 2.8;
    }
    let alphabet = word
        .bytes()
        .all(|b| is_base64(b) || matches!(b, b'!' | b'$' | b'%' | b'^' | b'*' | b'~'));
    if !alphabet {
        return false;
    }
    let words = word.split(['-', '_']).filter(|it| !it.is_empty());
    let longest = words.map(str::len).max().unwrap_or(0);
    match classes(word) {
        // Upper, lower and digits, not in the shape of words.
        3 => longest >= 12 && entropy(word) > 3.4,
        2 => longest >= 20 && entropy(word) > 3.8,
        _ => longest >= 28 && entropy(word) > 4.0,
    }
}

/// How many kinds of characters there are: upper, lower, digits.
fn classes(word: &str) -> usize {
    let has = |is: fn(&u8) -> bool| usize::from(word.as_bytes().iter().any(is));
    has(u8::is_ascii_uppercase) + has(u8::is_ascii_lowercase) + has(u8::is_ascii_digit)
}

/// Bits for each character.
fn entropy(word: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in word.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let all = f64::from(u32::try_from(word.len()).unwrap_or(u32::MAX));
    counts
        .iter()
        .filter(|it| **it > 0)
        .map(|it| f64::from(*it) / all)
        .map(|part| -part * part.log2())
        .sum()
}

/// The text as one word: without what joins lines.
fn joined(text: &str) -> String {
    let is_joint = |b: &u8| {
        b.is_ascii_whitespace() || matches!(b, 0x0b | b'"' | b'\'' | b'\\' | b'+' | b'|' | b'>')
    };
    if text.is_ascii() {
        let kept = text.bytes().filter(|b| !is_joint(b)).collect();
        return String::from_utf8(kept).unwrap_or_default();
    }
    let mut joined = String::with_capacity(text.len());
    joined.extend(
        text.chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | '+' | '|' | '>')),
    );
    joined
}

/// Looks through what is Base64.
fn decoded(text: &str, found: &mut Vec<Found>) {
    for word in text.split(|c: char| !c.is_ascii() || !is_base64(c as u8)) {
        if word.len() < 16 {
            continue;
        }
        let Some(inner) = base64(word) else { continue };
        let Ok(inner) = String::from_utf8(inner) else {
            continue;
        };
        let before = found.len();
        anchored(&inner, found);
        assignments(&inner, found);
        env_dump(&inner, found);
        if found.len() > before {
            found.truncate(before);
            found.push(Found {
                rule: "base64",
                at: 0,
                length: word.len(),
            });
        }
    }
}

fn base64(word: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    // How many more bytes the present character has: what is no text is given up early, as nearly every word is.
    let mut more = 0;
    for byte in word.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            let byte = u8::try_from(bits >> held & 0xff).ok()?;
            more = match (more, byte) {
                (0, 0..=0x7f) => 0,
                (0, 0xc2..=0xdf) => 1,
                (0, 0xe0..=0xef) => 2,
                (0, 0xf0..=0xf4) => 3,
                (0, _) => return None,
                (left, 0x80..=0xbf) => left - 1,
                (_, _) => return None,
            };
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
