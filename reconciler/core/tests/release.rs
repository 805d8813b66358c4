//! Signed releases, without git: every refusal by its row of the catalogue of attacks, and every bit of a good one.

mod release {
    pub(crate) mod forge;
    mod grammar;
    mod roots;
}

use muster_core::release::root::{Role, TrustRoot};
use muster_core::release::signature::UserVerification;
use muster_core::release::statement::Statement;
use muster_core::release::{
    Code, Fingerprint, ObjectKind, Refusal, Signed, authenticate, distinct_principals, reset,
};
use muster_core::time::Time;
use release::forge::*;

fn judge(ref_name: &str, raw: &[u8], root: &TrustRoot) -> Result<Signed, Refusal> {
    authenticate(ref_name, ObjectKind::Tag, raw, Some(root), NOW)
}

/// The bytes of a release, changed before it is signed.
fn resigned(change: impl FnOnce(String) -> String) -> (String, Vec<u8>) {
    let signer = ed25519(1);
    let statement = statement();
    let name = statement.tag_name(&signer.blob);
    let payload = change(tag_payload(COMMIT, &name, &statement.render()));
    (
        format!("refs/tags/{name}"),
        How::default().sign(&signer, payload.as_bytes()),
    )
}

/// The bytes of a release, changed after it was signed.
fn tampered(change: impl FnOnce(String) -> String) -> (String, Vec<u8>) {
    let (ref_name, raw) = release(&ed25519(1), &statement(), How::default());
    (
        ref_name,
        change(String::from_utf8(raw).unwrap()).into_bytes(),
    )
}

/// A release whose message is changed; the name follows from the message, as an attacker with a key would have it.
fn saying(change: impl FnOnce(String) -> String) -> (String, Vec<u8>) {
    let signer = ed25519(1);
    let message = change(statement().render());
    let name = muster_core::release::statement::tag_name(
        message.as_bytes(),
        statement().not_before,
        &signer.blob,
    );
    let payload = tag_payload(COMMIT, &name, &message);
    (
        format!("refs/tags/{name}"),
        How::default().sign(&signer, payload.as_bytes()),
    )
}

fn signed_by(signer: &Signer, how: How) -> (String, Vec<u8>) {
    release(signer, &statement(), how)
}

fn how(change: impl FnOnce(&mut How)) -> (String, Vec<u8>) {
    let mut how = How::default();
    change(&mut how);
    signed_by(&ed25519(1), how)
}

fn with_key(change: impl FnOnce(&mut muster_core::release::root::TrustedKey)) -> TrustRoot {
    let mut root = root();
    change(&mut root.keys[0]);
    root
}

#[test]
fn a_good_release_says_who_signed_what() {
    for hash in [&b"sha512"[..], b"sha256"] {
        let (ref_name, raw) = how(|it| it.hash = hash);
        let signed = judge(&ref_name, &raw, &root()).unwrap();
        assert_eq!(signed.statement, statement());
        assert_eq!(signed.digest, statement().digest());
        assert_eq!(signed.principal, "emo");
        assert_eq!(signed.key, Fingerprint::of(&ed25519(1).blob));
        assert_eq!(signed.ref_name, ref_name);
        assert_eq!(signed.tagger.name, "Emo");
        assert_eq!(signed.tagger.time, NOW);
    }
}

/// What it is, the word it is refused with, ref and object, and the trust root.
type Row = (&'static str, Code, (String, Vec<u8>), TrustRoot);

/// One row an attack or a situation. `M` numbers and table rows of the release gate's catalogue; a row that a later check
/// adds belongs where that check is.
#[test]
fn every_attack_is_refused_with_its_word() {
    use Code::*;
    let good = || signed_by(&ed25519(1), How::default());
    let big = "x".repeat(1 << 20);
    let rows: Vec<Row> = vec![
        (
            "M3: unknown signer",
            UnknownSigner,
            signed_by(&ed25519(7), How::default()),
            root(),
        ),
        (
            "M11: recovery key on an ordinary release",
            RoleDenied,
            signed_by(&ed25519(3), How::default()),
            root(),
        ),
        (
            "M21: tag under another ref",
            NameMismatch,
            (format!("{}0", good().0), good().1),
            root(),
        ),
        (
            "M21: tag as a branch",
            NameMismatch,
            (good().0.replace("refs/tags", "refs/heads"), good().1),
            root(),
        ),
        (
            "M21: tag named after another statement",
            NameMismatch,
            resigned(|it| it.replace("ticket 1234", "ticket 1235")),
            root(),
        ),
        (
            "M21: tag named after another key",
            NameMismatch,
            {
                let name = statement().tag_name(&ed25519(2).blob);
                let payload = tag_payload(COMMIT, &name, &statement().render());
                (
                    format!("refs/tags/{name}"),
                    How::default().sign(&ed25519(1), payload.as_bytes()),
                )
            },
            root(),
        ),
        (
            "M21: tag named after another not-before",
            NameMismatch,
            {
                let name = muster_core::release::statement::tag_name(
                    statement().render().as_bytes(),
                    NOW,
                    &ed25519(1).blob,
                );
                let payload = tag_payload(COMMIT, &name, &statement().render());
                (
                    format!("refs/tags/{name}"),
                    How::default().sign(&ed25519(1), payload.as_bytes()),
                )
            },
            root(),
        ),
        (
            "M22: bytes after the signature",
            Malformed,
            tampered(|it| it + "x"),
            root(),
        ),
        (
            "M22: an empty line after the signature",
            Malformed,
            tampered(|it| it + "\n"),
            root(),
        ),
        (
            "M22: no end of line after the signature",
            Malformed,
            tampered(|it| it.trim_end().to_owned()),
            root(),
        ),
        (
            "M23: key expired, tagger date back-dated",
            KeyExpired,
            resigned(|it| it.replace(&NOW.0.to_string(), "1600000000")),
            with_key(|it| it.not_after = Some(NOW.plus(-1))),
        ),
        (
            "M23: key not valid yet, tagger date ahead",
            KeyExpired,
            resigned(|it| it.replace(&NOW.0.to_string(), "1900000000")),
            with_key(|it| it.not_before = Some(NOW.plus(1))),
        ),
        (
            "M26: nested tag",
            Malformed,
            resigned(|it| it.replace("type commit", "type tag")),
            root(),
        ),
        (
            "M27: tag of a blob",
            Malformed,
            resigned(|it| it.replace("type commit", "type blob")),
            root(),
        ),
        (
            "M27: tag of a tree",
            Malformed,
            resigned(|it| it.replace("type commit", "type tree")),
            root(),
        ),
        (
            "M28: signature block inside the message",
            Malformed,
            saying(|it| it.replace("end\n", &format!("{}end\n", armor(b"anything")))),
            root(),
        ),
        (
            "M28: two signatures",
            Malformed,
            tampered(|it| {
                let more = armor(&How::default().blob(&ed25519(2), it.as_bytes()));
                it + &more
            }),
            root(),
        ),
        (
            "M31: signature made for another purpose",
            BadSignature,
            how(|it| it.namespace = b"file"),
            root(),
        ),
        (
            "M31: for a purpose that begins alike",
            BadSignature,
            how(|it| it.namespace = b"git\0"),
            root(),
        ),
        (
            "M31: for none",
            BadSignature,
            how(|it| it.namespace = b""),
            root(),
        ),
        (
            "M32: revoked key",
            Revoked,
            signed_by(&ed25519(9), How::default()),
            root(),
        ),
        (
            "P10: key dropped from the root before the release was used",
            UnknownSigner,
            good(),
            {
                let mut root = root();
                root.keys.remove(0);
                root
            },
        ),
        (
            "M33: header twice",
            Malformed,
            resigned(|it| format!("object {COMMIT}\n{it}")),
            root(),
        ),
        (
            "A5: header that nobody signed",
            Malformed,
            tampered(|it| it.replacen("\n\n", "\ngpgsig-sha256 x\n\n", 1)),
            root(),
        ),
        (
            "A5: unknown header, signed",
            Malformed,
            resigned(|it| it.replacen("\n\n", "\nencoding latin1\n\n", 1)),
            root(),
        ),
        (
            "headers in another order",
            Malformed,
            resigned(|it| {
                it.replacen(
                    &format!("object {COMMIT}\ntype commit\n"),
                    &format!("type commit\nobject {COMMIT}\n"),
                    1,
                )
            }),
            root(),
        ),
        (
            "no tagger",
            Malformed,
            resigned(|it| {
                let from = it.find("tagger").unwrap();
                let to = it.find("\n\n").unwrap();
                format!("{}{}", it[..from].trim_end(), &it[to..])
            }),
            root(),
        ),
        (
            "tagger with a control character",
            Malformed,
            resigned(|it| it.replace("Emo <", "E\x1bmo <")),
            root(),
        ),
        (
            "tagger that turns text around",
            Malformed,
            resigned(|it| it.replace("Emo <", "E\u{202e}mo <")),
            root(),
        ),
        (
            "tagger without a zone",
            Malformed,
            resigned(|it| it.replace(" +0100\n", "\n")),
            root(),
        ),
        (
            "object is no id",
            Malformed,
            resigned(|it| it.replacen(COMMIT, "HEAD", 1)),
            root(),
        ),
        (
            "object is another commit than the statement's",
            Malformed,
            resigned(|it| it.replacen(COMMIT, &COMMIT.replace('3', "4"), 1)),
            root(),
        ),
        (
            "M37: signature over other bytes",
            BadSignature,
            {
                let (ref_name, raw) = good();
                let payload = raw.len() - armor(&How::default().blob(&ed25519(1), b"")).len();
                let mut raw = raw[..payload].to_vec();
                raw.extend(
                    armor(&How::default().blob(&ed25519(1), b"tree 0123\n\na commit\n")).bytes(),
                );
                (ref_name, raw)
            },
            root(),
        ),
        (
            "A8: signature by another key with the name of a trusted one",
            BadSignature,
            {
                let mut liar = ed25519(7);
                liar.blob = ed25519(1).blob;
                signed_by(&liar, How::default())
            },
            root(),
        ),
        (
            "M38: OpenPGP",
            Malformed,
            tampered(|it| it.replace("SSH SIGNATURE", "PGP SIGNATURE")),
            root(),
        ),
        (
            "M38: X.509",
            Malformed,
            tampered(|it| it.replace("SSH SIGNATURE", "SIGNED MESSAGE")),
            root(),
        ),
        (
            "annotated, not signed",
            Malformed,
            tampered(|it| it[..it.find("-----BEGIN").unwrap()].to_owned()),
            root(),
        ),
        (
            "M45: the same executor twice",
            Malformed,
            saying(|it| it.replace("host/www1.example.org", "host/devvm")),
            root(),
        ),
        (
            "M45: a pattern",
            Malformed,
            saying(|it| it.replace("host/www1.example.org", "host/*")),
            root(),
        ),
        (
            "M45: two executors in a line",
            Malformed,
            saying(|it| it.replace("host/devvm", "host/devvm host/www1")),
            root(),
        ),
        (
            "M45: the same step twice",
            Malformed,
            saying(|it| it.replace(&"5".repeat(32), &"3".repeat(32))),
            root(),
        ),
        (
            "M54: `..` in the name",
            NameMismatch,
            resigned_as("release/../release/x"),
            root(),
        ),
        (
            "M54: a lock's name",
            NameMismatch,
            resigned_as(&format!("{}.lock", statement().tag_name(&ed25519(1).blob))),
            root(),
        ),
        (
            "M54: `@{`",
            NameMismatch,
            resigned_as("release/@{upstream}"),
            root(),
        ),
        (
            "M54: another case",
            NameMismatch,
            resigned_as(
                &statement()
                    .tag_name(&ed25519(1).blob)
                    .replace("release", "Release"),
            ),
            root(),
        ),
        (
            "M54: an escape sequence",
            NameMismatch,
            resigned_as("release/\x1b[2J"),
            root(),
        ),
        (
            "M54: very long",
            Malformed,
            resigned_as(&"x".repeat(4_000)),
            root(),
        ),
        (
            "M62: a message of more than a megabyte",
            Malformed,
            saying(|it| it.replace("ticket 1234", &big)),
            root(),
        ),
        (
            "M62: a tag of more than a megabyte and headers",
            Malformed,
            tampered(|it| it + &big),
            root(),
        ),
        (
            "A7: NUL",
            Malformed,
            saying(|it| it.replace("ticket", "tic\0ket")),
            root(),
        ),
        (
            "A7: CRLF",
            Malformed,
            saying(|it| it.replace('\n', "\r\n")),
            root(),
        ),
        (
            "A7: bidirectional text",
            Malformed,
            saying(|it| it.replace("ticket", "tic\u{202e}ket")),
            root(),
        ),
        (
            "A3: armor wrapped anew",
            Malformed,
            {
                let (ref_name, raw) = good();
                let payload = raw.len() - armor(&How::default().blob(&ed25519(1), b"")).len();
                let blob = How::default().blob(&ed25519(1), &raw[..payload]);
                let mut raw = raw[..payload].to_vec();
                raw.extend(armor_in(&blob, 64).bytes());
                (ref_name, raw)
            },
            root(),
        ),
        (
            "A3: armor with spaces",
            Malformed,
            tampered(|it| it.replace("SIGNATURE-----\nU", "SIGNATURE-----\n U")),
            root(),
        ),
        (
            "signature without its magic",
            Malformed,
            how(|it| it.magic = b"SSHSIK"),
            root(),
        ),
        (
            "signature of another version",
            Malformed,
            how(|it| it.version = 2),
            root(),
        ),
        (
            "signature with something reserved",
            Malformed,
            how(|it| it.reserved = b"x"),
            root(),
        ),
        (
            "signature with SHA-1",
            Malformed,
            how(|it| it.hash = b"sha1"),
            root(),
        ),
        (
            "signature of another kind than the key",
            Malformed,
            how(|it| it.kind = Some(b"ssh-ed448")),
            root(),
        ),
        (
            "bytes behind the raw signature",
            Malformed,
            how(|it| it.trailing[0] = b"x"),
            root(),
        ),
        (
            "bytes behind the signature",
            Malformed,
            how(|it| it.trailing[1] = b"x"),
            root(),
        ),
        (
            "bytes behind the blob",
            Malformed,
            how(|it| it.trailing[2] = b"x"),
            root(),
        ),
        (
            "a certificate",
            Malformed,
            {
                let mut signer = ed25519(1);
                signer.blob = string(b"ssh-ed25519-cert-v01@openssh.com");
                signed_by(&signer, How::default())
            },
            root(),
        ),
        (
            "P-521",
            Malformed,
            {
                let mut signer = ed25519(1);
                signer.blob = string(b"ecdsa-sha2-nistp521");
                signed_by(&signer, How::default())
            },
            root(),
        ),
        (
            "M39: security key that nobody touched",
            BadSignature,
            signed_by(
                &sk_ed25519(4),
                How {
                    flags: 0,
                    ..How::default()
                },
            ),
            sk_root(UserVerification::NotAsked),
        ),
        (
            "M39: verified but not touched",
            BadSignature,
            signed_by(
                &sk_ed25519(4),
                How {
                    flags: 4,
                    ..How::default()
                },
            ),
            sk_root(UserVerification::Required),
        ),
        (
            "A26: security key without its PIN",
            BadSignature,
            signed_by(&sk_ed25519(4), How::default()),
            sk_root(UserVerification::Required),
        ),
        (
            "security key with extensions",
            Malformed,
            signed_by(
                &sk_ed25519(4),
                How {
                    flags: 0x81,
                    ..How::default()
                },
            ),
            sk_root(UserVerification::NotAsked),
        ),
    ];
    for (row, code, (ref_name, raw), root) in rows {
        let refusal = judge(&ref_name, &raw, &root).expect_err(row);
        assert_eq!(refusal.code, code, "{row}: {refusal}");
        assert!(!refusal.authenticated, "{row}");
        let printable = |c: char| !c.is_control() && (c.is_ascii() || c == '…');
        assert!(refusal.why.chars().all(printable), "{row}: {refusal:?}");
        assert!(refusal.why.len() < 600, "{row}: {refusal}");
    }
}

/// A release under another name, signed under that name.
fn resigned_as(name: &str) -> (String, Vec<u8>) {
    let signer = ed25519(1);
    let payload = tag_payload(COMMIT, name, &statement().render());
    (
        format!("refs/tags/{name}"),
        How::default().sign(&signer, payload.as_bytes()),
    )
}

fn sk_root(verify: UserVerification) -> TrustRoot {
    let mut root = root();
    let mut key = sk_ed25519(4).trusted("ana", Role::Operational);
    key.verify_required = verify;
    root.keys.push(key);
    root
}

#[test]
fn a_security_key_counts_once_it_was_touched() {
    let ana = sk_ed25519(4);
    for (flags, verify) in [
        (0x01, UserVerification::NotAsked),
        (0x05, UserVerification::NotAsked),
        (0x05, UserVerification::Required),
    ] {
        let (ref_name, raw) = signed_by(
            &ana,
            How {
                flags,
                ..How::default()
            },
        );
        let signed = judge(&ref_name, &raw, &sk_root(verify)).unwrap();
        assert_eq!(signed.principal, "ana");
    }
}

#[test]
fn a_lightweight_tag_is_no_release() {
    // M29, and the first row of the decision table.
    let (ref_name, raw) = signed_by(&ed25519(1), How::default());
    for kind in [ObjectKind::Commit, ObjectKind::Tree, ObjectKind::Blob] {
        let refusal = authenticate(&ref_name, kind, &raw, Some(&root()), NOW).unwrap_err();
        assert_eq!(refusal.code, Code::NotAnnotated);
    }
}

#[test]
fn without_a_key_to_trust_nothing_is_good() {
    // M17, M30.
    let (ref_name, raw) = signed_by(&ed25519(1), How::default());
    let mut empty = root();
    empty.keys.clear();
    for root in [None, Some(&empty)] {
        let refusal = authenticate(&ref_name, ObjectKind::Tag, &raw, root, NOW).unwrap_err();
        assert_eq!(refusal.code, Code::Inert);
    }
}

#[test]
fn a_key_is_valid_from_its_first_to_its_last_second() {
    let (ref_name, raw) = signed_by(&ed25519(1), How::default());
    let root = with_key(|it| {
        it.not_before = Some(NOW);
        it.not_after = Some(NOW.plus(10));
    });
    for (second, good) in [(-1, false), (0, true), (10, true), (11, false)] {
        let judged = authenticate(
            &ref_name,
            ObjectKind::Tag,
            &raw,
            Some(&root),
            NOW.plus(second),
        );
        assert_eq!(judged.is_ok(), good, "{second}");
    }
}

#[test]
fn no_bit_of_a_good_release_can_change() {
    // P1. The whole object, and the name of the ref.
    let root = root();
    let (ref_name, raw) = signed_by(&ed25519(1), How::default());
    assert!(judge(&ref_name, &raw, &root).is_ok());
    for at in 0..raw.len() {
        for bit in 0..8 {
            let mut other = raw.clone();
            other[at] ^= 1 << bit;
            assert!(
                judge(&ref_name, &other, &root).is_err(),
                "bit {bit} of byte {at}"
            );
        }
        let mut shorter = raw.clone();
        shorter.remove(at);
        assert!(
            judge(&ref_name, &shorter, &root).is_err(),
            "without byte {at}"
        );
        assert!(
            judge(&ref_name, &raw[..at], &root).is_err(),
            "up to byte {at}"
        );
    }
    for at in 0..ref_name.len() {
        let mut other = ref_name.clone().into_bytes();
        other[at] ^= 1;
        assert!(judge(str::from_utf8(&other).unwrap(), &raw, &root).is_err());
    }
}

#[test]
fn two_keys_of_one_person_are_one_person() {
    // M60, A17: a second signature by the same person, with the same key or another, does not count.
    let mut root = root();
    root.keys.push(ed25519(5).trusted("emo", Role::Operational));
    let sign = |number| {
        let (ref_name, raw) = signed_by(&ed25519(number), How::default());
        judge(&ref_name, &raw, &root).unwrap()
    };
    let by_emo = [sign(1), sign(1), sign(5)];
    assert_eq!(distinct_principals(&by_emo).len(), 1);
    let by_both = [sign(1), sign(5), sign(2)];
    assert_eq!(distinct_principals(&by_both), ["ema", "emo"].into());
    assert_eq!(by_both[0].digest, by_both[2].digest);
}

#[test]
fn the_words_of_the_codes_are_these() {
    let words: Vec<&str> = Code::ALL.iter().map(|it| it.code()).collect();
    assert_eq!(
        words.join(" "),
        "malformed not_annotated name_mismatch unknown_signer revoked role_denied key_expired bad_signature not_yet_valid \
         expired wrong_repo not_adopted wrong_executor binding_mismatch guardrail quorum_pending replay clock frozen inert"
    );
    for code in Code::ALL {
        assert_eq!(code.code().parse(), Ok(*code));
        let json = serde_json::to_string(code).unwrap();
        assert_eq!(json, format!("{:?}", code.code()));
    }
    assert!("pending_signature".parse::<Code>().is_err());
}

#[test]
fn a_reset_is_signed_by_recovery_keys_alone() {
    let reset = reset::Reset {
        repo: statement().repo,
        old: COMMIT.replace('3', "4").parse().unwrap(),
        new: COMMIT.parse().unwrap(),
        nonce: statement().nonce,
        not_before: Time(NOW.0 - 60),
        not_after: NOW.plus(3_600),
        reason: "a secret was removed".into(),
    };
    reset.check().unwrap();
    let sign = |number: u8, object: &str, message: &str| {
        let signer = ed25519(number);
        let name = reset.tag_name(&signer.blob);
        let raw = How::default().sign(&signer, tag_payload(object, &name, message).as_bytes());
        reset::authenticate(
            &format!("refs/tags/{name}"),
            ObjectKind::Tag,
            &raw,
            Some(&root()),
            NOW,
        )
    };
    let text = reset.render();
    let signed = sign(3, COMMIT, &text).unwrap();
    assert_eq!(signed.reset, reset);
    assert_eq!(reset::principals([&signed, &signed]), ["ivo"].into());
    for (number, object, message, code) in [
        (1, COMMIT, text.as_str(), Code::RoleDenied),
        (7, COMMIT, &text, Code::UnknownSigner),
        (3, reset.old.as_str(), &text, Code::Malformed),
        (3, COMMIT, "muster-reset/1\n", Code::NameMismatch),
    ] {
        assert_eq!(sign(number, object, message).unwrap_err().code, code);
    }
    // A release is no reset, and the other way round.
    let (ref_name, raw) = signed_by(&ed25519(1), How::default());
    let as_reset = reset::authenticate(&ref_name, ObjectKind::Tag, &raw, Some(&root()), NOW);
    assert_eq!(as_reset.unwrap_err().code, Code::NameMismatch);
    for (line, other) in [
        ("muster-reset/1", "muster-reset/2"),
        ("end\n", "end\nend\n"),
        ("end\n", ""),
        (reset.old.as_str(), COMMIT),
        ("old ", "old  "),
    ] {
        assert!(reset::Reset::parse(text.replacen(line, other, 1).as_bytes()).is_err());
    }
    assert!(Statement::parse(text.as_bytes()).is_err());
}
