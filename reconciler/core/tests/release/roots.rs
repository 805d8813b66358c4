//! Trust roots, and how one follows another.

use muster_core::release::Fingerprint;
use muster_core::release::root::{Role, TrustRoot, Weight};
use muster_core::release::rotation::{NoRotation, Rotation, next, tag_name};
use muster_core::time::Time;

use super::forge::{COMMIT, How, NOW, Signer, ed25519, root, sk_ed25519, tag_payload};

#[test]
fn a_root_is_written_and_read_again() {
    let mut root = root();
    root.quorums.many = Some(2);
    root.keys[0].not_before = Some(Time(1_767_225_600));
    root.keys[1].not_after = Some(Time(1_830_297_599));
    root.keys[1].comment = "laptop, blue".into();
    root.keys
        .push(sk_ed25519(4).trusted("ana", Role::Operational));
    root.keys[3].verify_required = muster_core::release::signature::UserVerification::Required;
    root.check().unwrap();
    assert_eq!(TrustRoot::parse(&root.render()).unwrap(), root);
    let text = root.allowed_signers();
    assert_eq!(text.lines().count(), 4);
    assert!(text.starts_with(&format!(
        "emo namespaces=\"git\",valid-after=\"20260101000000Z\" {} operational\n",
        ed25519(1).text()
    )));
    assert!(text.contains("ema namespaces=\"git\",valid-before=\"20271231235959Z\" ssh-ed25519 "));
    for (field, value) in [("principal", "a\"b"), ("comment", "é\n[[key]]")] {
        let mut other = root.clone();
        match field {
            "principal" => other.keys[0].principal = value.into(),
            _ => other.keys[0].comment = value.into(),
        }
        assert!(other.check().is_err(), "{field}");
    }
    // A host may trust nobody yet.
    root.keys.clear();
    root.quorums.many = None;
    root.check().unwrap();
}

#[test]
fn every_problem_of_a_root_is_told_with_its_line() {
    let key = |number| ed25519(number).text();
    let text = format!(
        "format = \"muster-root/1\"\n\
         version = 0\n\
         repo = \"6f\"\n\
         revoked = [\"SHA256:x\"]\n\
         colour = 1\n\
         [quorum]\n\
         may = 2\n\
         [[key]]\n\
         principal = \"*\"\n\
         role = \"boss\"\n\
         key = \"{}\"\n\
         not_after = \"tomorrow\"\n\
         [[key]]\n\
         principle = \"emo\"\n\
         role = \"operational\"\n\
         key = \"ssh-ed25519-cert-v01@openssh.com AAAA\"\n",
        key(1)
    );
    let problems = TrustRoot::parse(&text).unwrap_err();
    let lines: Vec<u32> = problems
        .0
        .iter()
        .filter_map(|it| it.at)
        .map(|it| it.line)
        .collect();
    assert_eq!(lines, [2, 3, 4, 5, 7, 9, 10, 12, 13, 14, 16], "{problems}");
    assert!(
        problems.to_string().contains("did you mean `many`"),
        "{problems}"
    );
    assert!(
        problems.to_string().contains("did you mean `principal`"),
        "{problems}"
    );
}

/// M36, A15 and what else must not be in a trust root.
#[test]
fn a_root_that_leaves_a_doubt_is_refused() {
    let good = root().render();
    let fifth = format!(
        "\n[[key]]\nprincipal = \"zoe\"\nrole = \"operational\"\nkey = \"{}\"\n",
        ed25519(5).text()
    );
    TrustRoot::parse(&(good.clone() + &fifth)).unwrap();
    for (row, text, says) in [
        (
            "M36: a pattern",
            good.replace("\"emo\"", "\"*\""),
            "never a pattern",
        ),
        (
            "M36: part of a pattern",
            good.replace("\"emo\"", "\"e?o\""),
            "never a pattern",
        ),
        (
            "A15: a list",
            good.replace("\"emo\"", "\"emo,ema\""),
            "one person",
        ),
        (
            "another case",
            good.replace("\"emo\"", "\"Emo\""),
            "lower-case",
        ),
        (
            "A15: a key under two names",
            good.replace(&ed25519(2).text(), &ed25519(1).text()),
            "stands here twice",
        ),
        (
            "a key in two roles",
            good.replace(&ed25519(3).text(), &ed25519(1).text()),
            "stands here twice",
        ),
        (
            "a dropped key comes back",
            good.replace(&ed25519(2).text(), &ed25519(9).text()),
            "never comes back",
        ),
        (
            "a certificate",
            good.replace(
                &ed25519(2).text(),
                &format!(
                    "ssh-ed25519-cert-v01@openssh.com {}",
                    super::forge::base64(&super::forge::string(
                        b"ssh-ed25519-cert-v01@openssh.com"
                    ))
                ),
            ),
            "certificates are not accepted",
        ),
        (
            "OpenPGP",
            good.replace(&ed25519(2).text(), "-----BEGIN PGP PUBLIC KEY BLOCK-----"),
            "OpenPGP keys are not accepted",
        ),
        (
            "another type inside",
            good.replace(
                &ed25519(2).text(),
                &ed25519(2).text().replace("ssh-ed25519", "ssh-rsa"),
            ),
            "inside it is ssh-ed25519",
        ),
        (
            "a comment in the key",
            good.replace(
                &ed25519(2).text(),
                &format!("{} ema@host", ed25519(2).text()),
            ),
            "put what follows them into `comment`",
        ),
        (
            "options before the key",
            good.replace(
                &ed25519(2).text(),
                &format!("cert-authority {}", ed25519(2).text()),
            ),
            "put what follows",
        ),
        (
            "a quorum that cannot be met",
            good.clone() + "\n[quorum]\nmany = 3\n",
            "cannot be met: there are 2 operational principals",
        ),
        (
            "a quorum of nobody",
            good.clone() + "\n[quorum]\nadmin = 0\n",
            "cannot be met",
        ),
        (
            "a recovery quorum that cannot be met",
            good.clone() + "\n[quorum]\nrecovery = 2\n",
            "there are 1 recovery principals",
        ),
        (
            "a PIN without a security key",
            good.clone() + &fifth + "verify_required = true\n",
            "only a security key",
        ),
        (
            "valid never",
            good.clone()
                + &fifth
                + "not_before = \"2027-01-01T00:00:00Z\"\nnot_after = \"2026-01-01T00:00:00Z\"\n",
            "must be later",
        ),
        (
            "local time",
            good.clone() + &fifth + "not_before = \"2027-01-01T00:00:00\"\n",
            "a moment is written like",
        ),
        (
            "a later format",
            good.replace("muster-root/1", "muster-root/2"),
            "reads no other",
        ),
        (
            "no format",
            good.replace("format =", "# format ="),
            "must begin with",
        ),
        (
            "a key twice in a table",
            good.clone() + &fifth + "role = \"recovery\"\n",
            "duplicate",
        ),
        (
            "a quorum that is no number",
            good.clone() + "\n[quorum]\nmany = \"two\"\n",
            "a number of people",
        ),
        (
            "M62: too large",
            "#".repeat(2 << 20),
            "is this the right file",
        ),
        ("M62: too deep", format!("x = {}", "[".repeat(100_000)), ""),
    ] {
        let problems = TrustRoot::parse(&text).expect_err(row).to_string();
        assert!(problems.contains(says), "{row}: {problems}");
    }
}

#[test]
fn how_many_have_to_sign_follows_from_what_is_released() {
    let mut root = root();
    let weight = |privileged, destructive, admin| Weight {
        privileged,
        destructive,
        admin,
    };
    for (asks, many) in [
        (weight(0, 1, 0), 1),
        (weight(5, 0, 0), 1),
        (weight(3, 2, 0), 1),
        (weight(3, 3, 0), 2),
        (weight(1, 0, 1), 2),
        (weight(usize::MAX, usize::MAX, 0), 2),
    ] {
        assert_eq!(root.quorum(asks), many, "{asks:?}");
    }
    root.quorums.destructive = Some(2);
    assert_eq!(root.quorum(weight(0, 1, 0)), 2);
    assert_eq!(root.quorum(weight(1, 0, 0)), 1);
    root.quorums = Default::default();
    // The defaults never ask for more people than there are.
    root.keys.remove(1);
    assert_eq!(root.quorum(weight(0, 9, 9)), 1);
    assert_eq!(root.threshold(Role::Operational), 1);
    root.keys.clear();
    assert_eq!(root.quorum(weight(0, 1, 0)), 1);
    for (people, threshold) in [(1, 1), (2, 1), (3, 2), (5, 3)] {
        root.keys = (0..people)
            .map(|at| ed25519(20 + at).trusted(&format!("r{at}"), Role::Recovery))
            .collect();
        assert_eq!(root.threshold(Role::Recovery), threshold);
    }
}

fn signed(new: &TrustRoot, signers: &[&Signer]) -> Vec<(String, Vec<u8>)> {
    let text = new.render();
    signers
        .iter()
        .map(|signer| {
            let name = tag_name(text.as_bytes(), new.version, &signer.blob);
            let raw = How::default().sign(signer, tag_payload(COMMIT, &name, &text).as_bytes());
            (format!("refs/tags/{name}"), raw)
        })
        .collect()
}

fn follow(current: &TrustRoot, tags: &[(String, Vec<u8>)]) -> Result<Option<Rotation>, NoRotation> {
    let tags: Vec<(&str, &[u8])> = tags
        .iter()
        .map(|(name, raw)| (&name[..], &raw[..]))
        .collect();
    next(current, &tags, NOW)
}

fn codes(result: Result<Option<Rotation>, NoRotation>) -> Vec<&'static str> {
    result
        .unwrap_err()
        .0
        .iter()
        .map(|it| it.refusal.code.code())
        .collect()
}

/// Version 5, in which zoe (5) takes ema's (2) place.
fn planned() -> TrustRoot {
    let mut new = root();
    new.version += 1;
    new.keys[1] = ed25519(5).trusted("zoe", Role::Operational);
    new.revoked.insert(Fingerprint::of(&ed25519(2).blob));
    new
}

#[test]
fn operational_keys_rotate_operational_keys_and_nothing_else() {
    let (emo, ema, zoe) = (ed25519(1), ed25519(2), ed25519(5));
    let new = planned();
    let rotation = follow(&root(), &signed(&new, &[&emo, &ema, &zoe]))
        .unwrap()
        .unwrap();
    assert_eq!(rotation.root, new);
    assert_eq!(rotation.text, new.render());
    assert_eq!(rotation.role, Role::Operational);
    assert_eq!(rotation.principals.len(), 3);
    assert_eq!(rotation.signatures.len(), 3);
    // The threshold of the old root, and that of the new one.
    assert_eq!(
        codes(follow(&root(), &signed(&new, &[&emo, &zoe]))),
        ["quorum_pending"; 2]
    );
    assert_eq!(
        codes(follow(&root(), &signed(&new, &[&emo, &ema]))),
        ["quorum_pending"; 2]
    );
    // M60: one person is one person.
    let mut current = root();
    current
        .keys
        .push(ed25519(6).trusted("emo", Role::Operational));
    let mut again = current.clone();
    again.version += 1;
    again.keys[0].comment = "old".into();
    assert_eq!(
        codes(follow(&current, &signed(&again, &[&emo, &ed25519(6)]))),
        ["quorum_pending"; 2]
    );
    // M12: whatever is not an operational key needs recovery.
    let edits: [fn(&mut TrustRoot); 5] = [
        |it| it.repo.0[0] ^= 1,
        |it| it.quorums.admin = Some(1),
        |it| it.keys[2].comment = "safe".into(),
        |it| it.keys.push(ed25519(8).trusted("eve", Role::Recovery)),
        |it| {
            it.revoked.insert(it.keys[2].key.fingerprint());
            it.keys.pop();
        },
    ];
    for edit in edits {
        let mut new = root();
        new.version += 1;
        edit(&mut new);
        let refused = codes(follow(&root(), &signed(&new, &[&emo, &ema])));
        assert_eq!(refused, ["role_denied"; 2]);
    }
}

#[test]
fn recovery_keys_rotate_everything() {
    let ivo = ed25519(3);
    let edits: [fn(&mut TrustRoot); 3] = [
        |it| it.repo.0[0] ^= 1,
        |it| it.quorums.admin = Some(1),
        |it| {
            it.revoked.insert(it.keys[0].key.fingerprint());
            it.keys[0] = ed25519(5).trusted("zoe", Role::Operational);
        },
    ];
    for edit in edits {
        let mut new = root();
        new.version += 1;
        edit(&mut new);
        let rotation = follow(&root(), &signed(&new, &[&ivo])).unwrap().unwrap();
        assert_eq!((rotation.root, rotation.role), (new, Role::Recovery));
    }
    // Its own successor has to agree.
    let mut new = root();
    new.version += 1;
    new.revoked.insert(new.keys[2].key.fingerprint());
    new.keys[2] = ed25519(8).trusted("eve", Role::Recovery);
    assert_eq!(
        codes(follow(&root(), &signed(&new, &[&ivo]))),
        ["quorum_pending"]
    );
    assert!(
        follow(&root(), &signed(&new, &[&ivo, &ed25519(8)]))
            .unwrap()
            .is_some()
    );
    // Recovery keys that would lock themselves out.
    new.keys.pop();
    assert_eq!(
        codes(follow(&root(), &signed(&new, &[&ivo]))),
        ["quorum_pending"]
    );
}

#[test]
fn a_version_is_neither_skipped_nor_gone_back_to() {
    // A18, P9.
    let ivo = ed25519(3);
    for version in [0, 1, 3, 4, 6, 1_000_000, u64::MAX] {
        let mut new = root();
        new.version = version;
        assert_eq!(
            follow(&root(), &signed(&new, &[&ivo])),
            Ok(None),
            "{version}"
        );
    }
    // Nor under the name of the right one.
    let mut new = root();
    new.version = 7;
    let text = new.render();
    let name = tag_name(text.as_bytes(), 5, &ivo.blob);
    let raw = How::default().sign(&ivo, tag_payload(COMMIT, &name, &text).as_bytes());
    assert_eq!(
        codes(follow(&root(), &[(format!("refs/tags/{name}"), raw)])),
        ["malformed"]
    );
    let mut last = root();
    last.version = u64::MAX;
    assert_eq!(follow(&last, &[]), Ok(None));
}

#[test]
fn a_chain_of_roots_is_walked_one_by_one() {
    let ivo = ed25519(3);
    let mut tags = Vec::new();
    let mut new = root();
    for number in 0..5 {
        new.version += 1;
        new.revoked.insert(new.keys[0].key.fingerprint());
        new.keys[0] = ed25519(40 + number).trusted("emo", Role::Operational);
        tags.extend(signed(&new, &[&ivo]));
    }
    tags.reverse();
    let mut current = root();
    while let Some(rotation) = follow(&current, &tags).unwrap() {
        assert_eq!(rotation.root.version, current.version + 1);
        current = rotation.root;
    }
    assert_eq!(current, new);
}

#[test]
fn a_rotation_keeps_what_was_revoked_and_revokes_what_it_drops() {
    let (emo, ema, zoe) = (ed25519(1), ed25519(2), ed25519(5));
    let edits: [fn(&mut TrustRoot); 2] = [
        |it| it.revoked.clear(),
        |it| {
            it.revoked
                .retain(|key| *key != Fingerprint::of(&ed25519(2).blob))
        },
    ];
    for edit in edits {
        let mut new = planned();
        edit(&mut new);
        let refused = codes(follow(&root(), &signed(&new, &[&emo, &ema, &zoe])));
        // zoe is no signer of the old root, and nothing that she signs is read before one of its own did.
        assert_eq!(refused.iter().filter(|it| **it == "malformed").count(), 2);
        assert_eq!(
            refused.iter().filter(|it| **it == "unknown_signer").count(),
            1
        );
    }
}

#[test]
fn rubbish_hides_no_good_rotation() {
    let (emo, ema, zoe) = (ed25519(1), ed25519(2), ed25519(5));
    let new = planned();
    let mut tags = signed(&new, &[&emo, &ema, &zoe]);
    let mut other = new.clone();
    other.keys[0].comment = "other".into();
    // By a stranger; with a name that lies; with bytes that are none.
    tags.extend(signed(&other, &[&ed25519(7)]));
    tags.push((format!("{}0", tags[0].0), tags[0].1.clone()));
    tags.push(("refs/tags/root/5-x".into(), b"rubbish".to_vec()));
    assert_eq!(follow(&root(), &tags).unwrap().unwrap().root, new);
    // Two that are good are none.
    tags.extend(signed(&other, &[&emo, &ema, &zoe]));
    let refused = codes(follow(&root(), &tags));
    assert_eq!(
        refused.iter().filter(|it| **it == "frozen").count(),
        6,
        "{refused:?}"
    );
}

#[test]
fn a_rotation_is_signed_by_keys_that_are_valid_now() {
    let (emo, ema, zoe) = (ed25519(1), ed25519(2), ed25519(5));
    let mut current = root();
    current.keys[1].not_after = Some(NOW.plus(-1));
    let refused = codes(follow(&current, &signed(&planned(), &[&emo, &ema, &zoe])));
    assert_eq!(refused, ["quorum_pending", "key_expired", "quorum_pending"]);
}
