use super::*;

fn rules(text: &str) -> Vec<&'static str> {
    scan(text).into_iter().map(|it| it.rule).collect()
}

#[test]
fn ordinary_sentences_hold_no_secret() {
    for text in [
        "The proxy may be restarted on Sundays; the secret is rotated by its owner.",
        "post_check_plan: service health, route, queue, log; go back when two probes fail within five minutes",
        "token: rotated by the owner of the registry",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, ticket:OPS-1234, uuid:123e4567-e89b-12d3-a456-426614174000",
        "deploy/edge-proxy/docker-compose.production.override.yml",
        "config_source_of_truth_ref: ref:wiki/edge-proxy/sources",
        "https://wiki.example.org/operations/edge-proxy/cold-start-sequence",
        "password: <in the vault>",
        "The password is rotated every 90-days by the owner, and the token is renewed on 2026-11-30.",
        "The password of the registry is in the vault, and nobody has it.",
        "token lifetime: 86400; the token count is 100000",
        "The secret was last changed on 2026-06-30; see ticket:OPS-12.",
        "The password is told to nobody. Release v2.11.30 reads it from the vault.",
        "Who lost the password asks ops@example.org.",
        "Proof tokens: `Admitted`, `Intent` with private fields",
        "a passphrase for decrypting the signing key to `Sign.sign()`",
        "fn hash_password(password: &str) -> Token(0)",
        "密码由 owner 保管,每 90 天更換",
        "the password\nvalid_until: 2027-06-30\nrestart_window: Sunday2345",
        "Der Token ist abgelaufen, das Passwort ist beim Eigentümer.",
    ] {
        assert_eq!(rules(text), [""; 0], "{text}");
    }
}

/// W5: what a sentence tells, in the languages of those who answer.
#[test]
fn w5_a_password_told_in_a_sentence_is_found() {
    for text in [
        "the password is hunter22",
        "The password for root is hunter22.",
        "the password of the staging database is now hunter22, as before",
        "The Passphrase was: hunter22!",
        "We set the password to hunter22 and went on",
        "password = hunter22",
        "pw: hunter22",
        "pw hunter; the pw is hunter22",
        "PW=hunter22",
        "pw: 4711",
        "password (root): hunter22",
        "password for root: hunter22",
        "Passwort lautet hunter22",
        "Das Passwort ist \"Sommerfest\"",
        "Kennwort: hunter22",
        "le mot de passe est hunter22",
        "la contraseña es hunter22",
        "密码是hunter22",
        "密碼: hunter22",
        "密碼：hunter22。",
        "root 的密码为 hunter22",
        "hunter22 is the password",
        "use hunter22 as the root password.",
        "hunter22是密码",
        "パスワードはhunter22です",
        "the secret is p4ss!word",
        "the token for the mirror is abc123def",
        "the password\n  is hunter22",
        "password:\n  hunter22",
    ] {
        assert!(!rules(text).is_empty(), "{text}");
    }
}

/// W9: runs are what splitting at all other bytes gives, where that is long enough.
#[test]
fn w9_runs_are_found_as_by_looking_at_each_byte() {
    static IS_A: [bool; 256] = bytes_of(b"a");
    let mut seed = 1_u32;
    for length in 0..200 {
        let text: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if seed >> 29 == 0 { b'b' } else { b'a' }
            })
            .collect();
        let found: Vec<&[u8]> = runs(&text, &IS_A, 8).map(|it| &text[it]).collect();
        let all = text.split(|b| *b != b'a').filter(|it| it.len() >= 8);
        assert_eq!(found, all.collect::<Vec<_>>());
    }
}

/// LB5: names of files, where words stand without spaces.
#[test]
fn lb5_the_name_of_a_file_can_tell_a_secret() {
    for name in [
        "password-hunter22",
        "pw_hunter22",
        "edge.password=hunter22",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    ] {
        assert!(is_in_name(name), "{name}");
    }
    for name in [
        "edge-proxy",
        "password-store",
        "token-2",
        "tide-tables",
        "host-01.example.org",
    ] {
        assert!(!is_in_name(name), "{name}");
    }
}

#[test]
fn a_split_or_encoded_secret_is_found() {
    for text in [
        "AKIAIOSF\n  ODNN7EXAMPLE",
        "\"AKIAIOSF\" + \"ODNN7EXAMPLE\"",
        "QUtJQUlPU0ZPRE5ON0VYQU1QTEU=",
        "cGFzc3dvcmQ9aHVudGVyMjEyMw==",
    ] {
        assert!(!rules(text).is_empty(), "{text}");
    }
}

#[test]
fn what_is_too_long_is_a_payload() {
    assert_eq!(rules(&"a ".repeat(LARGEST)), ["too-long"]);
}
