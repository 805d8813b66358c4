//! The forms of what must not stand in an answer: tokens by how they begin, and payloads by what they have.

use super::super::needles::{self, Needles};

/// A token that is known by how it begins.
pub(super) struct Form {
    pub(super) rule: &'static str,
    pub(super) begins: &'static [&'static str],
    /// What may follow.
    pub(super) body: fn(u8) -> bool,
    /// How many of them there are at least.
    pub(super) least: usize,
}

fn is_alphanumeric(b: u8) -> bool {
    b.is_ascii_alphanumeric()
}

pub(super) fn is_upper_or_digit(b: u8) -> bool {
    b.is_ascii_uppercase() || b.is_ascii_digit()
}

pub(super) fn is_hex(b: u8) -> bool {
    b.is_ascii_hexdigit()
}

/// What tokens in Base64 for addresses are made of, and the points between their parts.
fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
}

fn is_dotted(b: u8) -> bool {
    is_word(b) || b == b'.'
}

pub(super) fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-')
}

pub(super) static FORMS: [Form; 23] = [
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
            "$1$", "$5$", "$6$", "$7$", "$y$", "$gy$", "$2a$", "$2b$", "$2x$", "$2y$", "$apr1$",
            "$sha1$", "$md5", "$argon2", "$pbkdf2", "{SSHA", "{CRYPT}",
        ],
        body: |b| is_base64(b) || matches!(b, b'.' | b'$' | b',' | b'}'),
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
pub(super) static PAYLOADS: Needles<21> = Needles::of([
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
pub(super) static PAYLOAD_RULES: [&str; 21] = [
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

/// The payloads and, in the upper half, the forms that can begin with three bytes in a row: a bit for each.
pub(super) static BEGINS: [[u64; 256]; 3] = needles::both(PAYLOADS.tables(), &FORMS_AT);

const FORMS_AT: [[u64; 256]; 3] = {
    let mut tables = [[0; 256]; 3];
    let mut form = 0;
    while form < FORMS.len() {
        let mut begin = 0;
        while begin < FORMS[form].begins.len() {
            needles::mark(&mut tables, FORMS[form].begins[begin].as_bytes(), form);
            begin += 1;
        }
        form += 1;
    }
    tables
};
