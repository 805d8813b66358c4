use super::*;

/// None of these is told for what it is not.
#[track_caller]
fn none_of<T: std::fmt::Debug>(wrong: Vec<T>) {
    assert!(wrong.is_empty(), "{wrong:#?}");
}

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

/// W5: each way of telling one, with secrets of several looks.
#[test]
fn w5_a_secret_is_found_however_it_is_told() {
    let ways = [
        // That it is another now.
        "the password was changed to X",
        "We changed the password to X.",
        "The root password has been reset to X, as agreed",
        "password changed from Old2025x to X",
        "Das Passwort wurde auf X geändert",
        "Le mot de passe a été changé en X",
        "La contraseña fue cambiada a X",
        "A senha foi alterada para X",
        "Пароль изменён на X",
        "Hasło zmieniono na X",
        "密码已改为X",
        "root 的密碼改成 X",
        // By a sign.
        "mdp: X",
        "mdp : X",
        "mot de passe : X",
        "contraseña: X",
        "Contraseña del servidor: X",
        "la clave es X",
        "senha: X",
        "palavra-passe: X",
        "parola d'ordine: X",
        "wachtwoord: X",
        "lösenord: X",
        "heslo: X",
        "Пароль: X",
        "пароль для root: X",
        "паролем является: X",
        "Hasło: X",
        "hasło to X",
        "비밀번호: X",
        "비밀번호는 X 입니다",
        "패스워드：X",
        "パスワード：X",
        "暗証番号は X です",
        "密钥：X",
        "密鑰: X",
        "口令：X",
        // Somebody, and what lets them in.
        "Zugangsdaten: u / X",
        "Zugangsdaten für den Proxy: admin/X",
        "credentials: admin / X",
        "Credentials: mira:X",
        "identifiants : mira / X",
        // On a command line.
        "curl -u a:X https://edge.example.org/health",
        "curl -s --user 'a:X' https://edge.example.org",
        "mysql -u root -pX -h db",
        "/usr/bin/mysqldump -pX app",
        "sshpass -p X ssh edge",
        "sshpass -p'X' true",
        "redis-cli -a X ping",
        "docker login -u ops -p X registry.example.org",
        "docker login --password X",
        "tool --password X --verbose",
        "tool --password=X",
        "tool --db-password=X",
        "tool --passwd 'X'",
        "vault login --token X",
        // In files.
        "<password>X</password>",
        "<db:adminPassword>X</db:adminPassword>",
        "ansible_become_pass: X",
        "ansible_ssh_pass=X",
        "dbPassword: X",
        "\"clientSecret\": \"X\"",
        "PGPASSWORD=X psql",
        "SSHPASS=X",
    ];
    let mut missed = Vec::new();
    for way in ways {
        for secret in ["hunter22", "Sommer2026!", "p4ss-w0rd-9", "aB3dE5gH7j"] {
            let text = way.replace('X', secret);
            if rules(&text).is_empty() {
                missed.push(text);
            }
        }
    }
    // What is called a password is one, however it looks.
    for way in [
        "password: X",
        "Password: X",
        "pw: X",
        "password = X",
        "\"password\": \"X\",",
        "ansible_become_pass: X",
        "adminPassword: X",
        "--password=X",
        "<password>X</password>",
        "Пароль: X",
    ] {
        for secret in [
            "OPS-412",
            "sommerfest",
            "Zaubertrank",
            "correct-horse-battery",
            "admin",
        ] {
            let text = way.replace('X', secret);
            if rules(&text).is_empty() {
                missed.push(text);
            }
        }
    }
    none_of(missed);
}

/// A8: a part of a token, and a hash of a password, are secrets.
#[test]
fn a8_a_part_and_a_hash_are_secrets() {
    let mut missed = Vec::new();
    for text in [
        "the token ghp_abcd… … xY5",
        "ghp_aB3d...",
        "it begins with AKIAIO…",
        "glpat-x7…9Qa",
        "ghp_… … xY5",
        "sk-aB3dE5...",
        "eyJhbGciOi...",
        "hvs.CAESI***",
        "root:$6$ab$cdefgh:19000:0:99999:7:::",
        "root:aB3xY9zQ1LmNo:19000:0:99999:7:::",
        "ops:!aB3xY9zQ1LmNo:19000:0:99999:7:::",
        "root:aB3xY9zQ1LmNo:0:0:root:/root:/bin/bash",
        "root:$y$j9T$abc$def:19000:0:99999:7:::",
        "root:$7$CU..../....abcd:19000::::::",
    ] {
        if rules(text).is_empty() {
            missed.push(text);
        }
    }
    none_of(missed);
    let mut alarms = Vec::new();
    for text in [
        "root:x:0:0:root:/root:/bin/bash",
        "daemon:*:19000:0:99999:7:::",
        "edge:!:19000:0:99999:7:::",
        "a token of the form ghp_… is rotated",
        "Bearer tokens... are renewed",
        "sk-learn... is not used",
        "edge:8443:22:80:a",
    ] {
        if !rules(text).is_empty() {
            alarms.push((text, rules(text)));
        }
    }
    none_of(alarms);
}

/// LB6: what says that there is none, what becomes of it or where it lies is none.
#[test]
fn lb6_what_is_said_of_a_secret_is_none() {
    let mut alarms = Vec::new();
    for text in [
        "token: rotated-quarterly",
        "token: rotated quarterly by mira",
        "secret: kv/harbour/edge",
        "secret: secret/data/edge/db",
        "password: kv/edge",
        "password: /run/secrets/db_password",
        "password: op://ops/edge/password",
        "secret: https://vault.example.org/ui/kv/edge",
        "secret: arn:aws:secretsmanager:eu-central-1:123456789012:secret:edge/db-AbCdEf",
        "It is in arn:aws:secretsmanager:eu-central-1:123456789012:secret:edge/db-AbCdEf.",
        "Passwort = keines",
        "Passwort: keines",
        "password: none",
        "password: rotated.",
        "password: unchanged",
        "password: see OPS-412",
        "password: ticket:OPS-412",
        "password rotation: OPS-412",
        "password reset: OPS-412 of last week",
        "mot de passe : aucun",
        "contraseña: ninguna",
        "Пароль: нет",
        "hasło: brak",
        "password: vault",
        "password: stored-in-vault",
        "密码：见保管库。",
        "비밀번호는 금고에 있습니다",
        "Zugangsdaten: im Vault / bei mira",
        "Zugangsdaten: kv/edge2",
        "The password was changed on 2026-06-30.",
        "the password was changed by its owner to something else",
        "The password is set per host: edge-01 and edge-02.",
        "tool --password-stdin",
        "tool --password $EDGE_PASSWORD",
        "tool --password=<in the vault>",
        "The option --password is not used",
        "mysql -p asks for it",
        "mysql -P 3306",
        "curl -u $USER:$PASSWORD https://edge.example.org",
        "docker run -p 8080:80 edge",
        "<password>$PASSWORD</password>",
        "<password></password>",
        "tests pass: 12 of 12",
        "token: OPS-412",
        "token: edge-proxy-deploy",
    ] {
        if !rules(text).is_empty() {
            alarms.push((text, rules(text)));
        }
    }
    none_of(alarms);
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
