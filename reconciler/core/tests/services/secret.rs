//! Secrets (W5, LB5 to LB8): what is found, what is left alone, and that nothing of it is ever told.

use std::collections::BTreeMap;

use muster_core::diagnostic;
use muster_core::services::attributions::{Attributions, sha256};
use muster_core::services::lane::Lane;
use muster_core::services::{refs, say, secrets};

use crate::repo::{ANSWER, Repo, answer};

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let bytes = alphabet.as_bytes();
        let pick = |n: u64| char::from(bytes[usize::try_from(n % bytes.len() as u64).unwrap()]);
        (0..length).map(|_| pick(self.next())).collect()
    }
}

const HEX: &str = "0123456789abcdef";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const MIXED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

type Shape = fn(&mut Numbers) -> String;

/// Twenty-five kinds of secrets; twenty of each are the corpus.
static KINDS: [(&str, Shape); 25] = [
    ("aws", |n| format!("AKIA{}", n.of(UPPER, 16))),
    ("aws-secret", |n| {
        format!("aws_secret_access_key = {}", n.of(MIXED, 40))
    }),
    ("github", |n| format!("ghp_{}", n.of(MIXED, 36))),
    ("github-pat", |n| {
        format!("github_pat_{}_{}", n.of(MIXED, 22), n.of(MIXED, 59))
    }),
    ("gitlab", |n| format!("glpat-{}", n.of(MIXED, 20))),
    ("slack", |n| {
        format!("xoxb-{}-{}", n.of("0123456789", 12), n.of(MIXED, 24))
    }),
    ("stripe", |n| format!("sk_live_{}", n.of(MIXED, 24))),
    ("google", |n| format!("AIza{}", n.of(MIXED, 35))),
    ("jwt", |n| {
        format!(
            "eyJ{}.eyJ{}.{}",
            n.of(MIXED, 20),
            n.of(MIXED, 40),
            n.of(MIXED, 43)
        )
    }),
    ("sendgrid", |n| {
        format!("SG.{}.{}", n.of(MIXED, 22), n.of(MIXED, 43))
    }),
    ("npm", |n| format!("npm_{}", n.of(MIXED, 36))),
    ("pypi", |n| {
        format!("pypi-AgEIcHlwaS5vcmc{}", n.of(MIXED, 60))
    }),
    ("vault", |n| format!("hvs.{}", n.of(MIXED, 24))),
    ("hex-32", |n| n.of(HEX, 32)),
    ("hex-64", |n| n.of(HEX, 64)),
    ("base64", |n| format!("{}==", n.of(MIXED, 42))),
    ("mixed-24", |n| n.of(MIXED, 24)),
    ("password", |n| format!("password={}", n.of(MIXED, 10))),
    ("password-quoted", |n| {
        format!("DB_PASSWORD: '{}9'", n.of(MIXED, 11))
    }),
    ("address", |n| {
        format!("postgres://app:{}@db.example/x", n.of(MIXED, 12))
    }),
    ("bearer", |n| {
        format!("Authorization: Bearer {}", n.of(MIXED, 30))
    }),
    ("cookie", |n| format!("Cookie: sid={}", n.of(MIXED, 26))),
    ("shadow", |n| {
        format!("$6${}${}", n.of(MIXED, 8), n.of(MIXED, 86))
    }),
    ("key", |n| {
        format!("-----BEGIN OPENSSH PRIVATE KEY----- {}", n.of(MIXED, 64))
    }),
    ("env", |n| {
        format!(
            "APP_ONE={} APP_TWO={} APP_THREE={}",
            n.of(MIXED, 8),
            n.of(MIXED, 8),
            n.of(MIXED, 8)
        )
    }),
];

fn corpus() -> Vec<(&'static str, String)> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let kinds = KINDS.iter();
    kinds
        .flat_map(|(kind, shape)| {
            (0..20)
                .map(|_| (*kind, shape(&mut numbers)))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// LB6, W8: of 500 shapes at least 95 % are found, and the misses are listed.
#[test]
fn lb6_secrets_of_500_shapes_are_found() {
    let corpus = corpus();
    assert_eq!(corpus.len(), 500);
    let mut missed: BTreeMap<&str, usize> = BTreeMap::new();
    for (kind, secret) in &corpus {
        if secrets::scan(&format!("It is kept so: {secret}, for now.")).is_empty() {
            *missed.entry(kind).or_default() += 1;
        }
    }
    let misses: usize = missed.values().sum();
    assert!(misses <= 25, "{misses} of 500 are missed: {missed:?}");
    // What is missed today; whoever finds more of them shortens the list.
    assert_eq!(
        missed,
        BTreeMap::from(MISSED),
        "the list of misses is not what it was"
    );
}

const MISSED: [(&str, usize); 0] = [];

/// LB6, W8: digests, commits, UUIDs and tickets are told from secrets by their form.
#[test]
fn lb6_a_thousand_digests_raise_no_alarm() {
    let mut numbers = Numbers(7);
    for number in 0..1_000 {
        let reference = match number % 4 {
            0 => format!(
                "sha256:{}",
                sha256(&[
                    u8::try_from(number % 251).unwrap(),
                    u8::try_from(number / 251).unwrap()
                ])
            ),
            1 => format!("commit:{}", numbers.of(HEX, 40)),
            2 => format!(
                "uuid:{}-{}-{}-{}-{}",
                numbers.of(HEX, 8),
                numbers.of(HEX, 4),
                numbers.of(HEX, 4),
                numbers.of(HEX, 4),
                numbers.of(HEX, 12)
            ),
            _ => format!("ticket:OPS-{number}"),
        };
        assert!(refs::is_ref(&reference), "{reference}");
        assert_eq!(
            secrets::scan(&format!("redacted_evidence_refs: [\"{reference}\"]")),
            [],
            "{reference}"
        );
    }
}

/// Fields of an answer that a secret is put into, one that nobody knows and a comment among them.
static PLACES: [&str; 8] = [
    "decision_reason",
    "affected_scope",
    "redacted_evidence_refs",
    "owner_role_or_team",
    "rollback_owner",
    "decison",
    "valid_until",
    "#",
];

fn windows(text: &str) -> impl Iterator<Item = &str> {
    (0..text.len().saturating_sub(7)).filter_map(|at| text.get(at..at + 8))
}

/// LB5, W5: each of 500 secrets in each kind of field, and no 8 bytes of any in anything that is told.
#[test]
fn lb5_nothing_that_is_told_repeats_a_secret() {
    for (number, (kind, secret)) in corpus().into_iter().enumerate() {
        let place = PLACES[number % PLACES.len()];
        let line = format!("{place}: '{}'\n", secret.replace('\'', "''"));
        let text: String = answer()
            .lines()
            .filter(|it| !it.starts_with(place))
            .map(|it| format!("{it}\n"))
            .collect();
        let mut repo = Repo::asked();
        repo.put(ANSWER, &(text + &line), "emo-f");
        let (assessed, problems) = repo.assessed();
        let mut told = say::text(&assessed) + &say::to_json(&assessed);
        // Neither is the source line shown by whoever leaves these files out of what excerpts are made of.
        for format in [
            diagnostic::human(&problems, &BTreeMap::new()),
            diagnostic::json(&problems),
            diagnostic::github(&problems),
        ] {
            told += &format;
        }
        for problem in &assessed.problems {
            told += &format!("{problem} {:?}", problem.help);
        }
        let mut kept = Attributions::default();
        for found in secrets::scan(&secret) {
            kept.quarantine(
                b"a key of this host",
                ANSWER,
                secret.as_bytes(),
                &found,
                "pull/1",
            );
        }
        told += &kept.to_json();
        // Words of the secret's surroundings are no secret.
        let own = [
            "password",
            "_PASSWORD",
            "Authorization",
            "Bearer",
            "aws_secret_access_key",
            "PRIVATE KEY",
            "BEGIN OPENSSH",
            "postgres",
            "db.example",
        ];
        for window in windows(&secret).filter(|it| {
            !own.iter()
                .any(|word| word.contains(it.trim()) || it.contains(word))
        }) {
            assert!(
                !told.contains(window),
                "{kind} in {place}: {window:?} is told:\n{told}"
            );
        }
    }
}

/// W5: what nobody sees between the letters hides nothing, nor do wide letters, in a file that is read or in one that is refused.
#[test]
fn w5_what_is_not_seen_hides_no_secret() {
    let token = "ghp_aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1bC3dE5";
    let cuts = "\u{fe0f}\u{34f}\u{301}\u{115f}\u{1160}\u{3164}\u{2800}\u{ffa0}\u{e0100}\u{e01ef}\0\u{200b}\u{200c}\u{ad}\u{2060}\u{feff}\u{202e}\u{8}";
    let wide = |text: &str| -> String {
        let wider = |c: char| char::from_u32(c as u32 + 0xfee0).unwrap();
        text.chars().map(wider).collect()
    };
    let cut = |text: &str, by: &str| -> String {
        let letters: Vec<String> = text.chars().map(String::from).collect();
        letters.join(by)
    };
    let mut hidden = vec![
        wide(token),
        wide("password:Sommer2026x"),
        format!("\u{1b}[8m{token}\u{1b}[0m"),
        format!("\u{9b}8;1m{token}"),
    ];
    for c in cuts.chars().map(String::from) {
        hidden.extend([
            cut(token, &c),
            cut("password: Sommer2026x", &c),
            token.replacen("p_", &format!("p{c}_"), 1),
        ]);
    }
    let quarantined = |text: &[u8], of: &str| {
        let mut repo = Repo::answered();
        repo.files.insert(ANSWER.to_owned(), text.to_vec());
        let (lane, _) = repo.stands();
        assert_eq!(lane, Lane::QuarantineSecretOrRawPayload, "{of:?}");
    };
    for secret in &hidden {
        let text = answer().replace("It ends TLS.", secret);
        quarantined(text.as_bytes(), secret);
    }
    let text = answer().replace("It ends TLS.", token);
    let in_16 = |to: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(to).collect()
    };
    quarantined(&in_16(u16::to_le_bytes), "UTF-16LE");
    quarantined(&in_16(u16::to_be_bytes), "UTF-16BE");
    let in_32: Vec<u8> = text
        .chars()
        .flat_map(|c| (c as u32).to_le_bytes())
        .collect();
    quarantined(&in_32, "UTF-32");
    // Neither form is a secret by itself.
    let plain: Vec<u8> = answer().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut repo = Repo::answered();
    repo.files.insert(ANSWER.to_owned(), plain);
    assert_eq!(repo.stands().0, Lane::RequestSupplement);
    for text in [
        "Fu\u{308}r den Cafe\u{301}-Dienst ist das Passwort beim Eigentu\u{308}mer.",
        "ＴＬＳ 由 edge 負責，密码：见保管库。",
        "👩\u{200d}💻 looks at it \u{2764}\u{fe0f}",
    ] {
        assert_eq!(secrets::scan(text), [], "{text}");
    }
}

/// W5, LB8: a file that nobody asks for or reads is told to rotate what is in it, and so is a surface that is called after a token; no
/// part of it is repeated (LB5).
#[test]
fn w5_a_secret_in_a_file_of_no_surface_is_told_to_be_rotated() {
    let token = "ghp_aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1bC3dE5";
    let told = |repo: &Repo| -> Vec<String> {
        let (assessed, problems) = repo.assessed();
        let all = problems.iter().chain(&assessed.problems);
        let mut told: Vec<String> = all.map(|it| format!("{it} {:?}", it.help)).collect();
        told.push(say::text(&assessed));
        assert!(told.iter().all(|it| !it.contains("ghp_aB3d")), "{told:?}");
        told
    };
    for path in [
        "services/responses/other.yaml",
        "services/reviews/other.yaml",
        "services/responses/x/edge.yaml",
        "services/repair-bot.yml",
    ] {
        let mut repo = Repo::answered();
        repo.files.insert(
            path.into(),
            format!("decision: a\nreason: {token}\n").into(),
        );
        let told = told(&repo);
        let is_told = |it: &String| {
            it.starts_with(&format!("{path}:2:9: error: something secret"))
                && it.contains("[secret_value_absent]")
                && it.contains("rotate it")
        };
        assert!(told.iter().any(is_told), "{path}: {told:?}");
        // Without it there is none of that.
        repo.files.insert(path.into(), "decision: a\n".into());
        let (assessed, problems) = repo.assessed();
        let mut all = problems.iter().chain(&assessed.problems);
        assert!(all.all(|it| it.rule != "secret_value_absent"));
    }
    let mut repo = Repo::asked();
    let surface = "\"surface_id\": \"edge\"";
    repo.replace(
        "services/requests.json",
        surface,
        &surface.replace("edge", token),
    );
    let told = told(&repo);
    assert!(
        told[0].contains("surface_id tells a secret") && told[0].contains("rotate it"),
        "{told:?}"
    );
}

/// LB6: in a field of references a digest of another form has a wrong form, and is no secret; in a sentence what says that it is a
/// digest is none.
#[test]
fn lb6_a_digest_of_another_form_is_no_secret() {
    let mut numbers = Numbers(11);
    let mut hex = |length: usize| numbers.of(HEX, length);
    let commit = hex(40);
    let upper = hex(64).to_uppercase();
    for (from, to) in [
        ("repo_sha256: ", format!("repo_sha256: {upper} # ")),
        (
            "live_config_hash_ref: ",
            format!("live_config_hash_ref: {} # ", hex(64)),
        ),
        (
            "live_config_hash_ref: ",
            format!("live_config_hash_ref: md5:{} # ", hex(32)),
        ),
        ("ticket:OPS-1", format!("commit:{}", commit.to_uppercase())),
        ("ticket:OPS-1", format!("sha512:{}", hex(128))),
        (
            "ticket:OPS-1",
            format!("https://git.example.org/edge/commit/{commit}"),
        ),
        (
            "[\"ticket:OPS-1\"]",
            format!("\n  - sha512:{}\n  - ticket:OPS-1", hex(128)),
        ),
    ] {
        let mut repo = Repo::answered();
        repo.edit(from, &to);
        let (lane, checks) = repo.stands();
        assert_eq!(
            (lane, checks.len()),
            (Lane::RequestSupplement, 1),
            "{to}: {checks:?}"
        );
    }
    for text in [
        format!("Rollback to commit {commit}."),
        format!("The image is edge@sha256:{}, as before.", hex(64)),
        format!("The host key is SHA256:{}.", Numbers(5).of(MIXED, 43)),
        "token: OPS-412".to_owned(),
    ] {
        assert_eq!(secrets::scan(&text), [], "{text}");
    }
    // A token stays one in a field of references, too.
    let mut repo = Repo::answered();
    repo.edit("ticket:OPS-1", &format!("dop_v1_{}", hex(64)));
    assert_eq!(repo.stands().0, Lane::QuarantineSecretOrRawPayload);
}

/// W5, LB8: whatever a file below `services/` is called and however long it is, what is secret in it is found; digests of a report and
/// the words of a configuration that it names are none.
#[test]
fn lb8_every_file_below_services_is_looked_through() {
    use muster_core::services::names::secrets_at;
    let mut numbers = Numbers(23);
    let token = format!("ghp_{}", numbers.of(MIXED, 36));
    for path in [
        "services/responses/edge.yaml",
        "services/reviews/edge.yaml",
        "services/responses/edge.yml",
        "services/README.md",
        "services/README",
        "services/notes/old.json",
        "services/inventory.json",
        "services/requests.json",
    ] {
        let text = format!("{{\"label\": \"{token}\"}}\n");
        assert_eq!(secrets_at(path, text.as_bytes()).len(), 1, "{path}");
    }
    let in_words = "# Edge\n\nThe password is hunter22.\n";
    for path in ["services/README.md", "services/x.txt", "services/x.yml"] {
        for before in [0, 1_000, 5_000] {
            let line = "It ends TLS for everything that people reach from outside.\n";
            let text = line.repeat(before) + in_words;
            let found = secrets_at(path, text.as_bytes());
            assert_eq!(found.len(), 1, "{path} {before}");
            assert_eq!(&text[found[0].at..][..8], "hunter22");
        }
    }
    // Of what is longer than anybody reads, tokens are told.
    let text = "x ".repeat(1 << 20) + &token;
    let found = secrets_at("services/README.md", text.as_bytes());
    assert_eq!((found.len(), found[0].at), (1, 2 << 20));
    let report = format!(
        "{{\"request_drafts\": [{{\"repo_sha256\": \"{}\", \"label\": \"proxy_pass and [service]\", \"token\": \"rotated\"}}]}}",
        numbers.of(HEX, 64)
    );
    assert_eq!(secrets_at("services/requests.json", report.as_bytes()), []);
    assert_eq!(secrets_at("roster.yaml", token.as_bytes()), []);
    // It is an error where it is merged, too.
    let mut repo = Repo::answered();
    repo.replace(
        "services/requests.json",
        "\"label\": \"",
        &format!("\"label\": \"{token} "),
    );
    let (_, problems) = repo.assessed();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        told.iter()
            .any(|it| it.starts_with("services/requests.json:")
                && it.contains("[secret_value_absent]")),
        "{told:?}"
    );
    assert!(told.iter().all(|it| !it.contains(&token[..8])), "{told:?}");
}

/// LB7: the key of a quarantine is made of content and path, under a key of this host; no commit, and no plain digest.
#[test]
fn lb7_a_quarantine_is_known_by_content_and_path_alone() {
    let found = secrets::scan("password=hunter2hunter2")[0];
    let marked = |key: &[u8], path: &str, bytes: &[u8]| {
        let mut kept = Attributions::default();
        kept.quarantine(key, path, bytes, &found, "pull/1");
        kept.quarantined.into_iter().next().unwrap()
    };
    let first = marked(b"k", "a", b"x");
    assert_eq!(first, marked(b"k", "a", b"x"));
    for other in [
        marked(b"l", "a", b"x"),
        marked(b"k", "b", b"x"),
        marked(b"k", "a", b"y"),
    ] {
        assert_ne!(first.0, other.0);
    }
    assert_ne!(first.0, sha256(b"x"));
    assert_eq!(
        (first.1.rule.as_str(), first.1.length.as_str()),
        ("assigned-secret", "under 16 bytes")
    );
}

/// LB8: what to do is to rotate it, and that deleting helps nothing is said.
#[test]
fn lb8_the_words_say_to_rotate_it() {
    let mut repo = Repo::answered();
    repo.edit("It ends TLS.", "password=hunter2hunter2");
    let (assessed, _) = repo.assessed();
    let standing = &assessed.surfaces["edge"];
    assert_eq!(standing.lane, Lane::QuarantineSecretOrRawPayload);
    let told = say::finding(&standing.findings[0]);
    assert!(
        told.contains("rotate it; deleting the line does not help") && told.contains("refs/pull"),
        "{told}"
    );
    assert!(told.contains("services/responses/edge.yaml:4:"), "{told}");
}

/// A record of the future is refused, and what this version writes it reads.
#[test]
fn a_record_of_attributions_has_a_format() {
    let repo = Repo::accepted();
    let text = repo.attributions.to_json();
    assert_eq!(
        Attributions::parse(text.as_bytes()).unwrap().files,
        repo.attributions.files
    );
    assert!(
        Attributions::parse(text.replace("\"format\": 2", "\"format\": 3").as_bytes()).is_err()
    );
    assert!(Attributions::parse(b"{}").is_err());
}

/// LB8: what one commit of a proposal had stays quarantined there when a later one takes it out, and nowhere else.
#[test]
fn lb8_taking_the_line_out_does_not_help() {
    let mut repo = Repo::answered();
    let mut dirty = repo.clone();
    dirty.edit("It ends TLS.", "password=hunter2hunter2");
    let bytes = dirty.files[ANSWER].clone();
    for found in muster_core::services::evaluate::secrets_in(&bytes) {
        repo.attributions
            .quarantine(b"k", ANSWER, &bytes, &found, "pull/1");
    }
    let known = repo.attributions.clone();
    repo.attributions = known.seen_on("pull/1");
    assert_eq!(repo.stands().0, Lane::QuarantineSecretOrRawPayload);
    repo.attributions = known.seen_on("pull/2");
    assert_eq!(repo.stands().0, Lane::ReadyForHostServiceReview);
    repo.attributions = known.clone();
    repo.attributions.keep_only(|_, _| true, |_| false);
    assert!(repo.attributions.quarantined.is_empty());
    assert_eq!(repo.attributions.files, known.files);
}

/// LB11: whatever others write, none of it is markup, a mention or a formula in what is told; there is no export of cells.
#[test]
fn lb11_nothing_that_others_write_becomes_markup() {
    use muster_core::services::attributions::Attribution;
    let hostile = [
        "=cmd|x",
        "@team",
        "#123",
        "<b>hi</b>",
        "[x](http://e.example)",
        "`@all`",
    ];
    for text in hostile {
        let mut repo = Repo::answered();
        repo.edit("It ends TLS.", &format!("'{text}'"));
        repo.edit("The flag edge.", &format!("'{text}'"));
        repo.edit("ref:wiki/map", &format!("'{text}'"));
        repo.put(
            "services/responses/x.yaml",
            &format!("decision: '{text}'\n"),
            "emo-f",
        );
        repo.attributions.files.remove(ANSWER);
        repo.behind(
            ANSWER,
            Attribution::opened(&format!("emo-f{text}"), "pull/1"),
        );
        let (assessed, problems) = repo.assessed();
        let told = say::told(&Default::default(), &assessed).unwrap();
        let lines: Vec<String> = told
            .items
            .iter()
            .flat_map(|(line, more)| std::iter::once(line).chain(more))
            .cloned()
            .chain(problems.iter().map(ToString::to_string))
            .collect();
        for line in &lines {
            // What stands between backticks is no markup, and no backtick of theirs ends it.
            let outside: String = line.split('`').step_by(2).collect();
            assert!(!outside.contains(text), "{line}");
            assert_eq!(line.matches('`').count() % 2, 0, "{line}");
        }
    }
}
