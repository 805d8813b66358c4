//! The one table of what secrets are called, of what stands between such a name and its value, and of what a value says that is none
//! (W5). `assigned.rs`, `prose.rs` and `options.rs` go by it.

use crate::services::needles::Needles;
use crate::services::refs;

/// What is called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A password: any word that stands for one is one, be it as short as a ticket's.
    Password,
    /// Something that has a lifetime, a number or a name, too.
    Other,
    /// Somebody, and then what lets them in.
    Pair,
}

/// A name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    /// In lower case, as far as that is ASCII.
    pub(super) text: &'static str,
    pub(super) kind: Kind,
    /// Whether it is the stem of a word that is inflected.
    pub(super) is_stem: bool,
}

const fn name(text: &'static str, kind: Kind) -> Name {
    Name {
        text,
        kind,
        is_stem: false,
    }
}

const fn stem(text: &'static str) -> Name {
    Name {
        text,
        kind: Kind::Password,
        is_stem: true,
    }
}

use Kind::{Other, Pair, Password};

/// In sentences. `pw` is too short to be looked for without what follows it.
pub(super) static SAID: [Name; 56] = [
    name("password", Password),
    name("passwd", Password),
    name("passphrase", Password),
    name("passcode", Password),
    name("passwort", Password),
    name("kennwort", Password),
    name("pwd", Password),
    name("pw:", Password),
    name("pw ", Password),
    name("pw=", Password),
    // French, Spanish, Portuguese, Italian.
    name("mot de passe", Password),
    name("mdp", Password),
    name("contraseña", Password),
    name("contrasena", Password),
    name("senha", Password),
    name("palavra-passe", Password),
    name("parola d'ordine", Password),
    name("clave", Other),
    name("parola", Other),
    // Dutch, Danish, Norwegian, Swedish, Finnish, Czech, Turkish.
    name("wachtwoord", Password),
    name("adgangskode", Password),
    name("passord", Password),
    name("lösenord", Password),
    name("salasana", Password),
    stem("hesl"),
    name("şifre", Password),
    // Russian, Ukrainian, Polish.
    stem("парол"),
    stem("Парол"),
    stem("ПАРОЛ"),
    stem("hasł"),
    stem("HASŁ"),
    name("haslo", Password),
    // Chinese, Japanese, Korean.
    name("密码", Password),
    name("密碼", Password),
    name("口令", Password),
    name("パスワード", Password),
    name("暗証番号", Password),
    name("비밀번호", Password),
    name("패스워드", Password),
    name("암호", Other),
    name("密钥", Other),
    name("密鑰", Other),
    name("秘钥", Other),
    name("金鑰", Other),
    name("secret", Other),
    name("token", Other),
    name("api key", Other),
    name("zugangsdaten", Pair),
    name("anmeldedaten", Pair),
    name("logindaten", Pair),
    name("identifiants", Pair),
    name("credenciales", Pair),
    name("credenciais", Pair),
    name("credenziali", Pair),
    name("учетные данные", Pair),
    name("credential", Pair),
];

/// The same, looked for all at once.
pub(super) static SAID_AT: Needles<{ SAID.len() }> = Needles::of({
    let mut texts = [""; SAID.len()];
    let mut at = 0;
    while at < SAID.len() {
        texts[at] = SAID[at].text;
        at += 1;
    }
    texts
});

/// As the end of a name in a file or a program: `DB_PASSWORD=…`, `dbPassword: …`.
pub(super) static WRITTEN: [Name; 27] = [
    name("pw", Password),
    name("passwort", Password),
    name("kennwort", Password),
    name("passcode", Password),
    name("password", Password),
    name("pgpassword", Password),
    name("passwd", Password),
    name("passphrase", Password),
    name("pwd", Password),
    name("mdp", Password),
    name("sshpass", Password),
    // By itself it is a verb, and tests do it.
    name("_pass", Password),
    name("-pass", Password),
    name("secret", Other),
    name("token", Other),
    name("api_key", Other),
    name("apikey", Other),
    name("api-key", Other),
    name("access_key", Other),
    name("accesskey", Other),
    name("private_key", Other),
    name("client_secret", Other),
    name("credential", Other),
    name("credentials", Other),
    name("auth_key", Other),
    name("session_id", Other),
    name("sessionid", Other),
];

/// What a name in a file or a program calls, if that is a secret. It may have a word before it.
pub(super) fn written(name: &[u8]) -> Option<Kind> {
    let last = name.last()?.to_ascii_lowercase();
    let is_it = |it: &&Name| {
        let text = it.text.as_bytes();
        let Some(before) = name.len().checked_sub(text.len()) else {
            return false;
        };
        // Most names are told by their last letter (W9).
        if text.last() != Some(&last) {
            return false;
        }
        let (word, ending) = name.split_at(before);
        let is_word = match (word.last(), ending.first()) {
            (None | Some(b'_' | b'-'), _) | (_, Some(b'_' | b'-')) => true,
            (Some(before), Some(first)) => {
                before.is_ascii_lowercase() && first.is_ascii_uppercase()
            }
            (Some(_), None) => false,
        };
        is_word && ending.eq_ignore_ascii_case(text)
    };
    WRITTEN.iter().find(is_it).map(|it| it.kind)
}

/// What stands between a name and what it is: words, and signs that may end a word.
pub(super) static IS: [&str; 38] = [
    "is", "was", "are", "were", "to", "from", "lautet", "ist", "war", "sind", "est", "était", "es",
    "era", "é", "è", "equals", "reads", "jest", "brzmi", "это", "—", "–", "je", "er", "är", "=",
    "==", ":", "->", "=>", "→", "now:", "becomes", "becoming", "remains", "devient", "bleibt",
];
/// The same in scripts that put no space there.
pub(super) static IS_WIDE: [&str; 26] = [
    "：",
    "＝",
    ":",
    "=",
    "是",
    "为",
    "為",
    "は",
    "が",
    "→",
    "는",
    "은",
    "이",
    "가",
    "已改为",
    "已改為",
    "改为",
    "改為",
    "改成",
    "换成",
    "換成",
    "设为",
    "設為",
    "を",
    "변경:",
    "입니다",
];
/// What tells that it is another now, after which [`TO`] says which.
pub(super) static CHANGED: [&str; 48] = [
    "changed",
    "set",
    "reset",
    "updated",
    "rotated",
    "switched",
    "renewed",
    "replaced",
    "moved",
    "wurde",
    "wird",
    "geändert",
    "gesetzt",
    "zurückgesetzt",
    "geaendert",
    "changé",
    "changée",
    "modifié",
    "remplacé",
    "mis",
    "cambiada",
    "cambiado",
    "cambió",
    "cambiata",
    "cambiato",
    "alterada",
    "alterado",
    "mudada",
    "modificada",
    "impostata",
    "zmieniono",
    "zmienione",
    "zmieniliśmy",
    "ustawiono",
    "изменён",
    "изменен",
    "изменили",
    "сменён",
    "сменен",
    "сменили",
    "установлен",
    "gewijzigd",
    "veranderd",
    "ændret",
    "ändrat",
    "změněno",
    "değişti",
    "byttet",
];
/// What stands before what it was changed to.
pub(super) static TO: [&str; 14] = [
    "to", "into", "with", "auf", "zu", "in", "en", "a", "por", "para", "na", "на", "naar", "till",
];
/// What may stand between a name and such a word.
pub(super) static AUXILIARY: [&str; 20] = [
    "has", "had", "been", "wurde", "wird", "a", "été", "fue", "ha", "sido", "stata", "foi", "był",
    "было", "został", "zostało", "werd", "blev", "gets", "just",
];
/// What may stand before the value all the same.
pub(super) static STILL: [&str; 20] = [
    "now",
    "still",
    "currently",
    "set",
    "to",
    "just",
    "again",
    "simply",
    "always",
    "jetzt",
    "nun",
    "noch",
    "here:",
    "follows:",
    "maintenant",
    "ahora",
    "agora",
    "теперь",
    "teraz",
    "toujours",
];
/// What stands between a name and what is told of it itself: "the password for root: …"; a "token lifetime: …" is no token.
pub(super) static OF: [&str; 23] = [
    "for", "of", "on", "at", "in", "to", "from", "is", "für", "von", "des", "der", "zu", "de",
    "del", "do", "da", "di", "pour", "para", "для", "от", "dla",
];

/// What a value says that is no secret: that there is none, what became of it, or where it lies.
static SAYS: [&str; 112] = [
    "none",
    "no",
    "not",
    "nil",
    "null",
    "empty",
    "blank",
    "unset",
    "absent",
    "missing",
    "unknown",
    "pending",
    "todo",
    "tbd",
    "kein",
    "keine",
    "keines",
    "keiner",
    "keins",
    "nein",
    "leer",
    "unbekannt",
    "aucun",
    "aucune",
    "inconnu",
    "ninguno",
    "ninguna",
    "nenhum",
    "nenhuma",
    "nessuno",
    "nessuna",
    "brak",
    "geen",
    "нет",
    "отсутствует",
    "redacted",
    "hidden",
    "masked",
    "unchanged",
    "changed",
    "rotated",
    "rotating",
    "rotation",
    "expired",
    "removed",
    "revoked",
    "deleted",
    "stored",
    "managed",
    "kept",
    "generated",
    "encrypted",
    "hashed",
    "sealed",
    "required",
    "mandatory",
    "optional",
    "disabled",
    "enabled",
    "needed",
    "erforderlich",
    "geändert",
    "rotiert",
    "hinterlegt",
    "geheim",
    "secret",
    "secrets",
    "confidential",
    "vertraulich",
    "yes",
    "true",
    "false",
    "see",
    "siehe",
    "voir",
    "same",
    "ask",
    "owner",
    "only",
    "vault",
    "vaultwarden",
    "bitwarden",
    "keepass",
    "keepassxc",
    "lastpass",
    "onepassword",
    "sops",
    "keychain",
    "keyring",
    "safe",
    "tresor",
    "ldap",
    "kerberos",
    "oidc",
    "prompt",
    "prompted",
    "interactive",
    "manual",
    "manually",
    "environment",
    "daily",
    "weekly",
    "monthly",
    "quarterly",
    "yearly",
    "annually",
    "policy",
    "lifetime",
    "header",
    "pending_owner_response",
    "store",
    "manager",
];

/// Whether a value says something of a secret, and is none: a word of [`SAYS`], alone or among others.
pub(super) fn says_of_it(value: &str) -> bool {
    if value.bytes().any(|b| b.is_ascii_digit()) {
        return false;
    }
    let lower = value.to_lowercase();
    SAYS.contains(&lower.as_str())
        || lower
            .split(['-', '_', '.', '/', '(', ')'])
            .any(|it| SAYS.contains(&it))
}

/// Where secrets are kept: what a path there begins with.
static STORES: [&str; 20] = [
    "kv",
    "secret",
    "secrets",
    "vault",
    "op",
    "ssm",
    "store",
    "pass",
    "gopass",
    "run",
    "etc",
    "var",
    "credentials",
    "keys",
    "infra",
    "ops",
    "team",
    "teams",
    "prod",
    "production",
];

/// Whether a value is the path or the name of a secret where such are kept, and none itself: `kv/harbour/edge`, an address, an ARN.
pub(super) fn is_place(value: &str, kind: Kind) -> bool {
    let is_arn = value.starts_with("arn:") && value.matches(':').count() >= 5;
    if is_arn {
        return true;
    }
    if let Some((scheme, rest)) = value.split_once("://") {
        let is_scheme = scheme.bytes().all(|b| b.is_ascii_lowercase() || b == b'+');
        // Whoever is let in by an address is told of by its own rule.
        return is_scheme && !scheme.is_empty() && !rest.contains('@') && !rest.contains('?');
    }
    let path = value.strip_prefix('/').unwrap_or(value);
    let path = path.strip_prefix("vault:").unwrap_or(path);
    let mut segments = path.split('/');
    let first = segments.next().unwrap_or_default();
    let more = segments.clone().count();
    let is_known = STORES.contains(&first) || value.starts_with('/');
    let is_name = |it: &str| {
        let letters = it.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_part = |b: u8| b.is_ascii_lowercase() || matches!(b, b'-' | b'_' | b'.' | b'#');
        letters.len() >= 2 && letters.bytes().all(is_part) || it.starts_with('v') && it.len() == 2
    };
    more > 0
        && (is_known || more > 1 && kind != Kind::Password)
        && is_name(first)
        && segments.all(is_name)
}

/// Whether a value stands where a secret would, and is none.
pub(super) fn is_placeholder(value: &str) -> bool {
    value.starts_with(['<', '$', '*', '{', '%', '…'])
        || value.contains("REDACTED")
        || refs::is_ref(value.trim_end_matches('.'))
}

/// Whether a value is the key of a ticket. What is called a password is never one.
pub(super) fn is_ticket(value: &str) -> bool {
    refs::is_ref(&format!("ticket:{}", value.trim_end_matches('.')))
}
