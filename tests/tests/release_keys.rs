//! Releases signed by the real git and the real OpenSSH, with every type of key; and what git takes and muster refuses.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use muster_core::release::root::{Quorums, Role, SignerKey, TrustRoot, TrustedKey};
use muster_core::release::signature::UserVerification;
use muster_core::release::statement::{Line, Statement};
use muster_core::release::{Code, Nonce, ObjectKind, Refusal, RepoId, Signed, authenticate};
use muster_core::time::Time;
use ring::digest::{SHA256, SHA512, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tempfile::TempDir;

const NOW: Time = Time(1_795_316_400);
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";

/// A repository with one commit, and keys beside it.
struct Desk {
    dir: TempDir,
    commit: String,
}

impl Desk {
    fn new() -> Self {
        let mut desk = Self {
            dir: tempfile::tempdir().unwrap(),
            commit: String::new(),
        };
        desk.git(["init", "--quiet", "."]);
        desk.git(["commit", "--quiet", "--allow-empty", "--message=first"]);
        desk.commit = desk.git(["rev-parse", "HEAD"]).trim().to_owned();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Emo")
            .env("GIT_AUTHOR_EMAIL", "emo@example.org")
            .env("GIT_COMMITTER_NAME", "Emo")
            .env("GIT_COMMITTER_EMAIL", "emo@example.org")
            .env("GIT_COMMITTER_DATE", format!("{} +0100", NOW.0))
            .stdin(Stdio::null());
        command
    }

    fn git<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        String::from_utf8(done(self.command("git").args(arguments).output())).unwrap()
    }

    fn keygen<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) {
        done(self.command("ssh-keygen").args(arguments).output());
    }

    /// A fresh key pair in the file `name`.
    fn key(&self, name: &str, kind: &[&str]) -> PathBuf {
        let file = self.path(name);
        self.keygen(
            ["-q", "-N", "", "-C", "emo@host", "-f", name, "-t"]
                .iter()
                .chain(kind),
        );
        file
    }

    fn statement(&self) -> Statement {
        Statement {
            repo: RepoId([1; 16]),
            commit: self.commit.parse().unwrap(),
            nonce: Nonce([2; 16]),
            not_before: NOW,
            not_after: NOW.plus(3_600),
            reason: "offboarding, ticket 1234".into(),
            blocks: [(
                "host/devvm".to_owned(),
                vec![Line {
                    id: "5".repeat(32).parse().unwrap(),
                    words: "user.archive_delete emo home=/home/emo uid=1004".into(),
                }],
            )]
            .into(),
        }
    }

    /// The name of the release that this key signs.
    fn name(&self, public: &SignerKey) -> String {
        self.statement().tag_name(public.blob())
    }

    /// The release, made as an operator makes it.
    fn release(&self, signing_key: &Path, public: &SignerKey) -> (String, Vec<u8>) {
        self.release_dated(signing_key, public, NOW)
    }

    fn release_dated(
        &self,
        signing_key: &Path,
        public: &SignerKey,
        date: Time,
    ) -> (String, Vec<u8>) {
        let name = self.name(public);
        let statement = self.write("statement", self.statement().render());
        let mut signing = std::ffi::OsString::from("user.signingKey=");
        signing.push(signing_key);
        done(
            self.command("git")
                .env("GIT_COMMITTER_DATE", format!("{} +0100", date.0))
                .args(["-c", "gpg.format=ssh", "-c"])
                .arg(signing)
                .args(["tag", "-s", "-F"])
                .arg(statement)
                .args([&name, &self.commit])
                .output(),
        );
        let raw = done(
            self.command("git")
                .args(["cat-file", "tag", &name])
                .output(),
        );
        (format!("refs/tags/{name}"), raw)
    }

    /// Whether stock git, given the trust root as it understands it, takes this object under this ref.
    fn git_takes(&self, ref_name: &str, raw: &[u8], root: &TrustRoot) -> bool {
        let allowed = self.write("allowed", root.allowed_signers());
        let file = self.write("object", raw);
        let id = done(
            self.command("git")
                .args(["hash-object", "-t", "tag", "-w", "--literally"])
                .arg(file)
                .output(),
        );
        let id = String::from_utf8(id).unwrap();
        let update = ["update-ref", ref_name, id.trim()];
        // What it cannot read at all, it gives no name to either.
        if !self
            .command("git")
            .args(update)
            .output()
            .unwrap()
            .status
            .success()
        {
            return false;
        }
        let mut setting = std::ffi::OsString::from("gpg.ssh.allowedSignersFile=");
        setting.push(allowed);
        let short = ref_name.trim_start_matches("refs/tags/");
        let output = self
            .command("git")
            .arg("-c")
            .arg(setting)
            .args(["verify-tag", short])
            .output();
        output.unwrap().status.success()
    }

    /// Whether OpenSSH takes the signature at the end of this object, for this principal.
    fn ssh_takes(&self, raw: &[u8], root: &TrustRoot, principal: &str) -> bool {
        let at = find(raw, BEGIN.as_bytes()).expect("a signature");
        let allowed = self.write("allowed", root.allowed_signers());
        let signature = self.write("signature", &raw[at..]);
        let mut child = self
            .command("ssh-keygen")
            .args(["-Y", "verify", "-n", "git", "-I", principal, "-f"])
            .arg(allowed)
            .arg("-s")
            .arg(signature)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // OpenSSH may refuse without having read all of it.
        let _ = child.stdin.take().unwrap().write_all(&raw[..at]);
        child.wait().unwrap().success()
    }
}

fn done(output: std::io::Result<Output>) -> Vec<u8> {
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|it| it == part)
}

/// The key in `<file>.pub`, without its comment.
fn public_text(file: &Path) -> String {
    let text = fs::read_to_string(file.with_extension("pub")).unwrap();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    words.join(" ")
}

fn public(file: &Path) -> SignerKey {
    public_text(file).parse().unwrap()
}

fn root(keys: &[&SignerKey]) -> TrustRoot {
    let trusted = |(at, key): (usize, &&SignerKey)| TrustedKey {
        principal: format!("operator{at}"),
        role: Role::Operational,
        key: (*key).clone(),
        not_before: None,
        not_after: None,
        verify_required: UserVerification::NotAsked,
        comment: String::new(),
    };
    let root = TrustRoot {
        version: 1,
        repo: RepoId([1; 16]),
        quorums: Quorums::default(),
        keys: keys.iter().enumerate().map(trusted).collect(),
        revoked: Default::default(),
    };
    root.check().unwrap();
    root
}

fn judge(ref_name: &str, raw: &[u8], root: &TrustRoot) -> Result<Signed, Refusal> {
    authenticate(ref_name, ObjectKind::Tag, raw, Some(root), NOW)
}

fn word(judged: Result<Signed, Refusal>) -> &'static str {
    judged.map_or_else(|refusal| refusal.code.code(), |_| "signed")
}

const TYPES: [(&str, &[&str]); 3] = [
    ("ed25519", &["ed25519"]),
    ("p256", &["ecdsa", "-b", "256"]),
    ("rsa3072", &["rsa", "-b", "3072"]),
];

#[test]
fn what_git_signs_with_a_key_of_each_type_is_taken() {
    let desk = Desk::new();
    for (name, kind) in TYPES {
        let file = desk.key(name, kind);
        let key = public(&file);
        let root = root(&[&key]);
        let (ref_name, raw) = desk.release(&file, &key);
        let signed = judge(&ref_name, &raw, &root).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(signed.statement, desk.statement());
        assert_eq!(signed.tagger.email, "emo@example.org");
        assert!(desk.git_takes(&ref_name, &raw, &root), "{name}");
        assert!(desk.ssh_takes(&raw, &root, &signed.principal), "{name}");
        // OpenSSH names the same key the same.
        let listed = done(desk.command("ssh-keygen").arg("-lf").arg(&file).output());
        let listed = String::from_utf8(listed).unwrap();
        assert!(listed.contains(&signed.key.to_string()), "{listed}");
    }
}

#[test]
fn both_hashes_of_openssh_are_taken() {
    let desk = Desk::new();
    for (name, kind) in TYPES {
        let file = desk.key(name, kind);
        let key = public(&file);
        let (ref_name, raw) = desk.release(&file, &key);
        let at = find(&raw, BEGIN.as_bytes()).unwrap();
        let payload = desk.write("payload", &raw[..at]);
        for hash in ["sha256", "sha512"] {
            let option = format!("hashalg={hash}");
            let sign = ["-q", "-Y", "sign", "-n", "git", "-O", &option, "-f", name];
            let _ = fs::remove_file(desk.path("payload.sig"));
            desk.keygen(sign.iter().map(OsStr::new).chain([payload.as_os_str()]));
            let mut raw = raw[..at].to_vec();
            raw.extend(fs::read(desk.path("payload.sig")).unwrap());
            assert_eq!(
                word(judge(&ref_name, &raw, &root(&[&key]))),
                "signed",
                "{name} {hash}"
            );
        }
    }
}

#[test]
fn keys_of_other_types_are_no_keys() {
    let desk = Desk::new();
    let trusted = desk.key("trusted", &["ed25519"]);
    let root = root(&[&public(&trusted)]);
    for (name, kind) in [
        ("p384", &["ecdsa", "-b", "384"][..]),
        ("p521", &["ecdsa", "-b", "521"]),
        ("rsa2048", &["rsa", "-b", "2048"]),
    ] {
        let file = desk.key(name, kind);
        let why = public_text(&file)
            .parse::<SignerKey>()
            .unwrap_err()
            .to_string();
        assert!(why.contains("use "), "{name}: {why}");
        // The name does not matter any more.
        let (ref_name, raw) = desk.release(&file, &public(&trusted));
        assert_eq!(word(judge(&ref_name, &raw, &root)), "malformed", "{name}");
        desk.git(["tag", "-d", &desk.name(&public(&trusted))]);
    }
    // A certificate over a key that is trusted itself.
    desk.key("ca", &["ed25519"]);
    desk.keygen([
        "-q",
        "-s",
        "ca",
        "-I",
        "emo",
        "-n",
        "operator0",
        "trusted.pub",
    ]);
    let certificate = desk.path("trusted-cert.pub");
    let text = fs::read_to_string(&certificate).unwrap();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    let why = words
        .join(" ")
        .parse::<SignerKey>()
        .unwrap_err()
        .to_string();
    assert!(why.contains("certificates are not accepted"), "{why}");
    let (ref_name, raw) = desk.release(&certificate, &public(&trusted));
    assert_eq!(word(judge(&ref_name, &raw, &root)), "malformed");
}

/// Rows of the decision table: what stock git takes, or would after a change of version, and muster never does.
#[test]
fn the_cheats_that_git_lets_through_are_refused() {
    let desk = Desk::new();
    let (file, other_file) = (desk.key("a", &["ed25519"]), desk.key("b", &["ed25519"]));
    let key = public(&file);
    let root = root(&[&key, &public(&other_file)]);
    let (ref_name, raw) = desk.release(&file, &key);
    let text = String::from_utf8(raw.clone()).unwrap();
    let at = text.find(BEGIN).unwrap();
    let (payload, armor) = text.split_at(at);
    let sign = |payload: &str, namespace: &str| {
        desk.write("payload", payload);
        let _ = fs::remove_file(desk.path("payload.sig"));
        desk.keygen(["-q", "-Y", "sign", "-n", namespace, "-f", "a", "payload"]);
        format!(
            "{payload}{}",
            fs::read_to_string(desk.path("payload.sig")).unwrap()
        )
    };
    let rewrapped = || {
        let body: String = armor.lines().filter(|it| !it.starts_with('-')).collect();
        let lines: Vec<&str> = body
            .as_bytes()
            .chunks(64)
            .map(|it| str::from_utf8(it).unwrap())
            .collect();
        format!(
            "{payload}{BEGIN}{}\n-----END SSH SIGNATURE-----\n",
            lines.join("\n")
        )
    };
    let tree = desk.git(["rev-parse", "HEAD^{tree}"]);
    let blob = desk.git(["hash-object", "-w", "statement"]);
    let nested = desk.git(["rev-parse", &ref_name]);
    let pointing = |kind: &str, id: &str| {
        payload
            .replace("type commit", &format!("type {kind}"))
            .replacen(&desk.commit, id.trim(), 1)
    };
    // The name says what is in the tag, so a message that is changed and signed again is found by its name first.
    let rows: Vec<(&str, Code, String, String)> = vec![
        (
            "another name",
            Code::NameMismatch,
            "refs/tags/release/other".into(),
            text.clone(),
        ),
        (
            "bytes after the signature",
            Code::Malformed,
            ref_name.clone(),
            format!("{text}do more\n"),
        ),
        (
            "tag of a tag",
            Code::Malformed,
            ref_name.clone(),
            sign(&pointing("tag", &nested), "git"),
        ),
        (
            "tag of a tree",
            Code::Malformed,
            ref_name.clone(),
            sign(&pointing("tree", &tree), "git"),
        ),
        (
            "tag of a blob",
            Code::Malformed,
            ref_name.clone(),
            sign(&pointing("blob", &blob), "git"),
        ),
        (
            "header that is not signed",
            Code::Malformed,
            ref_name.clone(),
            text.replacen("\n\n", "\ngpgsig-sha256 x\n\n", 1),
        ),
        (
            "header twice",
            Code::Malformed,
            ref_name.clone(),
            sign(&format!("object {}\n{payload}", desk.commit), "git"),
        ),
        (
            "NUL",
            Code::NameMismatch,
            ref_name.clone(),
            sign(&payload.replace("ticket", "ti\0ket"), "git"),
        ),
        (
            "CRLF",
            Code::NameMismatch,
            ref_name.clone(),
            sign(&payload.replace("1234\"\n", "1234\"\r\n"), "git"),
        ),
        (
            "armor wrapped anew",
            Code::Malformed,
            ref_name.clone(),
            rewrapped(),
        ),
        (
            "two signatures",
            Code::Malformed,
            ref_name.clone(),
            sign(&text, "git"),
        ),
        (
            "made for another purpose",
            Code::BadSignature,
            ref_name.clone(),
            sign(payload, "file"),
        ),
        (
            "OpenPGP by its looks",
            Code::Malformed,
            ref_name.clone(),
            text.replace("SSH SIGNATURE", "PGP SIGNATURE"),
        ),
        (
            "not signed",
            Code::Malformed,
            ref_name.clone(),
            payload.to_owned(),
        ),
        (
            "a signature of something else",
            Code::BadSignature,
            ref_name.clone(),
            {
                let commit = sign("tree 0123\n\na commit\n", "git");
                format!("{payload}{}", &commit[commit.find(BEGIN).unwrap()..])
            },
        ),
    ];
    assert!(desk.git_takes(&ref_name, &raw, &root));
    let mut taken = Vec::new();
    for (row, code, ref_name, object) in rows {
        // NUL in a message is found by the name first, and is malformed under its own.
        let judged = word(judge(&ref_name, object.as_bytes(), &root));
        let code = if row == "NUL" {
            Code::NameMismatch
        } else {
            code
        };
        assert_eq!(judged, code.code(), "{row}");
        if desk.git_takes(&ref_name, object.as_bytes(), &root) {
            taken.push(row);
        }
    }
    // What git does is git's to change; that these two tests of one thing differ is why there is this one.
    println!("git verify-tag takes: {}", taken.join(", "));
    assert!(!taken.contains(&"not signed"));
}

#[test]
fn a_key_that_expired_signs_nothing_by_dating_it_back() {
    let desk = Desk::new();
    let file = desk.key("a", &["ed25519"]);
    let key = public(&file);
    let mut root = root(&[&key]);
    root.keys[0].not_after = Some(Time(1_704_067_199));
    let (ref_name, raw) = desk.release_dated(&file, &key, Time(1_680_000_000));
    assert!(
        desk.git_takes(&ref_name, &raw, &root),
        "git believes the tag"
    );
    assert_eq!(word(judge(&ref_name, &raw, &root)), "key_expired");
}

#[test]
fn no_bit_of_a_signature_can_change_whatever_the_key() {
    let desk = Desk::new();
    for (name, kind) in TYPES {
        let file = desk.key(name, kind);
        let key = public(&file);
        let root = root(&[&key]);
        let (ref_name, raw) = desk.release(&file, &key);
        assert_eq!(word(judge(&ref_name, &raw, &root)), "signed");
        for at in find(&raw, BEGIN.as_bytes()).unwrap()..raw.len() {
            for bit in 0..8 {
                let mut other = raw.clone();
                other[at] ^= 1 << bit;
                let judged = judge(&ref_name, &other, &root);
                assert!(judged.is_err(), "{name}: bit {bit} of byte {at}");
            }
        }
    }
}

/// A security key in software: what it signs, and the flags it puts there.
struct SecurityKey(Ed25519KeyPair);

impl SecurityKey {
    const KIND: &[u8] = b"sk-ssh-ed25519@openssh.com";
    const APPLICATION: &[u8] = b"ssh:";

    fn public(&self) -> SignerKey {
        let blob = strings(&[Self::KIND, self.0.public_key().as_ref(), Self::APPLICATION]);
        let text = format!("{} {}", str::from_utf8(Self::KIND).unwrap(), base64(&blob));
        text.parse().unwrap()
    }

    fn sign(&self, payload: &[u8], flags: u8) -> Vec<u8> {
        let mut signed = b"SSHSIG".to_vec();
        signed.extend(strings(&[
            b"git",
            b"",
            b"sha512",
            digest(&SHA512, payload).as_ref(),
        ]));
        let state = [&[flags][..], &9u32.to_be_bytes()].concat();
        let assertion = [
            digest(&SHA256, Self::APPLICATION).as_ref(),
            &state,
            digest(&SHA256, &signed).as_ref(),
        ]
        .concat();
        let mut signature = strings(&[Self::KIND, self.0.sign(&assertion).as_ref()]);
        signature.extend(state);
        let mut blob = b"SSHSIG\0\0\0\x01".to_vec();
        blob.extend(strings(&[
            self.public().blob(),
            b"git",
            b"",
            b"sha512",
            &signature,
        ]));
        let text = base64(&blob);
        let mut raw = payload.to_vec();
        raw.extend(BEGIN.bytes());
        for line in text.as_bytes().chunks(70) {
            raw.extend(line);
            raw.push(b'\n');
        }
        raw.extend(b"-----END SSH SIGNATURE-----\n");
        raw
    }
}

fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let string = |part: &&[u8]| [&u32::try_from(part.len()).unwrap().to_be_bytes(), *part].concat();
    parts.iter().flat_map(string).collect()
}

fn base64(bytes: &[u8]) -> String {
    let mut child = Command::new("base64")
        .arg("--wrap=0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_security_key_is_taken_when_touched_and_verified_when_asked() {
    let desk = Desk::new();
    let device = SecurityKey(Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap());
    let key = device.public();
    let name = desk.name(&key);
    let payload = format!(
        "object {}\ntype commit\ntag {name}\ntagger Emo <emo@example.org> {} +0100\n\n{}",
        desk.commit,
        NOW.0,
        desk.statement().render()
    );
    let ref_name = format!("refs/tags/{name}");
    let with_pin = |verify| {
        let mut root = root(&[&key]);
        root.keys[0].verify_required = verify;
        root
    };
    for (flags, touch_only, pin) in [
        (0x00, "bad_signature", "bad_signature"),
        (0x01, "signed", "bad_signature"),
        (0x04, "bad_signature", "bad_signature"),
        (0x05, "signed", "signed"),
    ] {
        let raw = device.sign(payload.as_bytes(), flags);
        for (verify, expected) in [
            (UserVerification::NotAsked, touch_only),
            (UserVerification::Required, pin),
        ] {
            let root = with_pin(verify);
            let judged = word(judge(&ref_name, &raw, &root));
            assert_eq!(judged, expected, "flags {flags:#x}, {verify:?}");
            if judged == "signed" {
                assert!(desk.ssh_takes(&raw, &root, "operator0"));
            }
        }
        // Whoever says later that there was a touch.
        let at = find(&raw, BEGIN.as_bytes()).unwrap();
        let mut lying = device.sign(payload.replace("1234", "1235").as_bytes(), flags);
        lying.splice(..at, payload.bytes());
        let judged = word(judge(
            &ref_name,
            &lying,
            &with_pin(UserVerification::NotAsked),
        ));
        assert_eq!(judged, "bad_signature");
    }
}
