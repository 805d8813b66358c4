//! The `muster` command as people and scripts meet it: the real binary, its output and its exit codes.

#[path = "cli/services.rs"]
mod services;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use muster::exit;
use muster::state_dir::{Lock, Purpose, StateDir};

const ROSTER: &str = "\
users:
  zed: {authentik_user: z.ed, k8s_user: zed, tier: admin}
  alice: {authentik_user: al.i, k8s_user: ali, tier: power-user}
  bob: {authentik_user: bob7, k8s_user: bobk, tier: namespace-owner, namespaces: [n2, n1]}
";

/// A directory with settings that lead into it.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let (state, origin) = (bench.path("state"), bench.path("origin"));
        bench.write(
            "muster.toml",
            &format!(
                "[state]\nurl = \"{}\"\ndir = \"{}\"\n[host]\nname = \"devvm\"\n",
                origin.display(),
                state.display()
            ),
        );
        bench
    }

    /// Commits a state repository with this roster; gives the commit's id.
    fn commit(&self, roster: &str) -> String {
        self.write("origin/roster.yaml", roster);
        self.git(&["init", "--quiet", "--initial-branch=main"]);
        self.git(&["add", "roster.yaml"]);
        self.git(&["commit", "--quiet", "--message=a roster"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(args)
            .current_dir(self.path("origin"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap());
        git.env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "a")
                .env(format!("GIT_{who}_EMAIL"), "a@example.org");
            git.env(format!("GIT_{who}_DATE"), "2026-11-22T00:00:00Z");
        }
        let output = git.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn muster(&self, args: &[&str]) -> Output {
        let config = self.path("muster.toml");
        command()
            .args(args)
            .arg("--config")
            .arg(config)
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    /// A bench whose executor begins with the commit that is given beside it.
    fn initialised() -> (Self, String) {
        let bench = Self::new();
        let head = bench.commit(ROSTER);
        says(
            &bench.muster(&["init", "--yes"]),
            exit::OK,
            &format!("begins with commit {head}"),
        );
        (bench, head)
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn says(output: &Output, code: u8, words: &str) {
    let text = said(output);
    assert_eq!(output.status.code(), Some(i32::from(code)), "{text}");
    assert!(text.contains(words), "expected {words:?} in:\n{text}");
}

#[test]
fn a_wrong_command_line_ends_with_64_and_with_2_where_scripts_expect_that() {
    let bench = Bench::new();
    for args in [
        &[][..],
        &["frobnicate"],
        &["schema"],
        &["adopt", "abc", "--reason", "x"],
        &["check", "--format", "xml"],
    ] {
        assert_eq!(bench.muster(args).status.code(), Some(64), "{args:?}");
    }
    for args in [
        &["derive"][..],
        &["validate", "--roster", "x"],
        &["validate", "--r", "x", "--nonsense"],
    ] {
        assert_eq!(
            command().args(args).output().unwrap().status.code(),
            Some(2),
            "{args:?}"
        );
    }
    says(
        &command().arg("--version").output().unwrap(),
        exit::OK,
        "muster 0.2.0",
    );
    says(
        &command().args(["init", "--help"]).output().unwrap(),
        exit::OK,
        "--adopt",
    );
}

#[test]
fn check_names_the_place_and_ends_with_1() {
    let bench = Bench::new();
    says(
        &bench.muster(&["check", "missing"]),
        exit::NO_INPUT,
        "caused by: No such file or directory",
    );
    says(&bench.muster(&["check"]), exit::FAILED, "roster.yaml");
    bench.write("repo/roster.yaml", ROSTER);
    bench.write("repo/notes.txt", "not ours");
    says(
        &bench.muster(&["check", "repo"]),
        exit::OK,
        "valid, 3 people",
    );
    bench.write("repo/roster.yaml", "users: {}\n");
    says(
        &bench.muster(&["check", "repo"]),
        exit::OK,
        "valid, nobody in the roster; an empty one removes no account",
    );
    bench.write(
        "repo/roster.yaml",
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n",
    );
    says(
        &bench.muster(&["check", "repo"]),
        exit::FAILED,
        "roster.yaml: error: a pointer of git LFS stands here",
    );
    bench.write(
        "repo/roster.yaml",
        &ROSTER.replace("power-user", "poweruser"),
    );
    bench.write("repo/hosts/devvm.yaml", "admit: []\n");
    for (format, words) in [
        ("human", "roster.yaml:3:"),
        ("json", "\"line\""),
        ("github", "::error file=roster.yaml,line=3"),
    ] {
        let output = bench.muster(&["check", "repo", "--format", format]);
        says(&output, exit::FAILED, words);
        assert!(
            said(&output).contains("hosts/devvm.yaml"),
            "{format}: both files are told"
        );
    }
}

#[test]
fn schemas_are_json() {
    for kind in ["roster", "tiers", "host", "response", "review"] {
        let output = command().args(["schema", kind]).output().unwrap();
        assert!(output.status.success());
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(schema["$schema"].is_string(), "{kind}");
    }
}

#[test]
fn derive_gives_the_golden_bytes_under_any_spelling_of_its_flags() {
    let bench = Bench::new();
    let roster = bench.write("r.yaml", ROSTER).display().to_string();
    let ports = bench
        .write("p.json", "{\"zed\": 3774}")
        .display()
        .to_string();
    let spellings: [Vec<String>; 3] = [
        vec![
            "--roster".into(),
            roster.clone(),
            "--ports-json".into(),
            ports.clone(),
        ],
        vec![
            format!("--ports-json={ports}"),
            format!("--roster={roster}"),
        ],
        vec!["--ros".into(), roster.clone(), format!("--por={ports}")],
    ];
    for args in spellings {
        let output = command().arg("derive").args(&args).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(output.stdout.len(), 1001);
        let hash: String = sha256(&output.stdout);
        assert_eq!(
            hash,
            "6ca7f66aadf4729388e9248411e1b023c62d86b75a69b79564516fa9f63bed59"
        );
    }
    let missing = bench.path("missing").display().to_string();
    for args in [
        ["--roster", &missing, "--ports-json", &ports],
        ["--roster", &roster, "--ports-json", &missing],
    ] {
        says(
            &command().arg("derive").args(args).output().unwrap(),
            exit::FAILED,
            "error: cannot read",
        );
    }
    let shared = bench
        .write("shared.json", "{\"zed\": 3774, \"bob\": 3774}")
        .display()
        .to_string();
    let output = command()
        .args(["derive", "--roster", &roster, "--ports-json", &shared])
        .output()
        .unwrap();
    says(&output, exit::FAILED, "have the same port 3774");
    assert!(output.stdout.is_empty());
}

fn sha256(bytes: &[u8]) -> String {
    let hash: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(bytes).into();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn validate_tells_one_thing_a_line() {
    let bench = Bench::new();
    let roster = bench.write("r.yaml", ROSTER).display().to_string();
    let validate = |json: &str, more: &[&str]| {
        let json = bench.write("k.json", json).display().to_string();
        command()
            .args(["validate", "--roster", &roster, "--k8s-users-json", &json])
            .args(more)
            .output()
            .unwrap()
    };
    says(
        &validate(
            "{\"ali\": \"power-user\", \"bobk\": \"namespace-owner\"}",
            &[],
        ),
        exit::OK,
        "",
    );
    let mismatch = validate("{\"ali\": \"admin\"}", &[]);
    says(
        &mismatch,
        exit::FAILED,
        "alice: roster tier power-user != k8s_users tier admin for 'ali'\n",
    );
    assert_eq!(said(&mismatch).lines().count(), 2);
    says(
        &validate("{\"ali\": \"power-user\"}", &["--absent=warn"]),
        exit::OK,
        "WARN bob: tier namespace-owner",
    );
    says(&validate("[]", &[]), exit::FAILED, "error: ");
}

#[test]
fn an_executor_is_made_once_and_tells_how_it_stands() {
    let bench = Bench::new();
    says(
        &bench.muster(&["status"]),
        exit::CONFIG,
        "help: run `muster init`",
    );
    says(
        &bench.muster(&["init"]),
        exit::UNAVAILABLE,
        "did not answer",
    );
    bench.commit("users: [");
    says(
        &bench.muster(&["init", "--yes"]),
        exit::FAILED,
        "is not valid (",
    );
    let first = bench.commit(ROSTER);
    let head = bench.commit(&ROSTER.replace("bobk", "bobby"));
    says(
        &bench.muster(&["init"]),
        exit::FAILED,
        &format!("run: muster init --adopt {head}"),
    );
    says(
        &bench.muster(&["init", "--if-needed", "--non-interactive"]),
        exit::FAILED,
        "    a <a@example.org>, 2026-11-22T00:00:00Z\n    a roster\n    valid, 3 people",
    );
    says(
        &bench.muster(&["init", "--adopt", &"a".repeat(40)]),
        exit::FAILED,
        "is no commit of refs/heads/main",
    );
    says(
        &bench.muster(&["init", "--name", "other", "--yes"]),
        exit::USAGE,
        "set [host] name = \"other\"",
    );
    assert!(
        !bench.path("state").exists(),
        "nothing is made before it is decided"
    );
    says(
        &bench.muster(&["init", "--adopt", &first]),
        exit::OK,
        "host/devvm is executor ",
    );
    says(
        &bench.muster(&["init", "--yes"]),
        exit::FAILED,
        "already holds the executor devvm",
    );
    says(&bench.muster(&["init", "--if-needed"]), exit::OK, "");
    says(
        &bench.muster(&["status"]),
        exit::OK,
        &format!(
            "adopted   {first}\npeople    none\ntrust     nobody yet: `muster trust init`; what is not benign waits\nat work   nobody"
        ),
    );
    let output = bench.muster(&["status", "--format", "json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&status["adopted"], &status["at_work"]),
        (&first.into(), &serde_json::Value::Null)
    );
    bench.write("muster.toml.d/10.toml", "[host]\nname = \"renamed\"\n");
    says(
        &bench.muster(&["status"]),
        exit::FAILED,
        "this executor is pinned to the name devvm",
    );
}

#[test]
fn an_executor_is_named_and_an_unknown_one_is_told_beside_those_there_are() {
    let (bench, head) = Bench::initialised();
    let without = bench.muster(&["status"]);
    let named = bench.muster(&["status", "--executor", "host/devvm"]);
    assert_eq!(said(&named), said(&without));
    let adopt: Vec<&str> = vec!["adopt", &head, "--reason", "r"];
    let acting: [&[&str]; 12] = [
        &["status"],
        &["plan"],
        &["pending"],
        &["history"],
        &["explain", "0123456789"],
        &["reconcile"],
        &["suspend", "--reason", "r"],
        &["resume"],
        &["init"],
        &adopt,
        &["restore", "emo"],
        &["release", "list"],
    ];
    for command in acting {
        let command = [command, &["--executor", "guests/pve1"]].concat();
        let output = bench.muster(&command);
        let words = "guests/pve1 is not here: this machine keeps host/devvm";
        says(&output, exit::USAGE, words);
    }
    let output = bench.muster(&["suspend", "--reason", "r", "--executor", "host/devvm"]);
    says(&output, exit::OK, "host/devvm is ");
    let output = bench.muster(&["status", "--executor", "moon/devvm"]);
    says(
        &output,
        exit::USAGE,
        "is no executor that this version of muster knows",
    );
}

#[test]
fn check_reads_what_is_committed() {
    let bench = Bench::new();
    let good = bench.commit(ROSTER);
    let bad = bench.commit(&ROSTER.replace("power-user", "poweruser"));
    bench.git(&["branch", "old", &good]);
    bench.git(&["tag", "--annotate", "--message=x", "v1", &good]);
    let tree = bench.git(&["rev-parse", "old^{tree}"]).trim().to_owned();
    // What lies in the work tree is nobody's business.
    bench.write("origin/roster.yaml", "users: []\n");
    for rev in [&*good, "old", "refs/heads/old", "refs/tags/v1", &tree] {
        says(
            &bench.muster(&["check", "--repo", "origin", "--rev", rev]),
            exit::OK,
            "",
        );
    }
    for args in [
        &["check", "--repo", "origin"][..],
        &["check", "--repo", "origin/.git", "--rev", &bad],
    ] {
        says(&bench.muster(args), exit::FAILED, "roster.yaml:3:");
    }
    for rev in ["nonsense", "HEAD~1", "../HEAD", "-x", &"c".repeat(40)[..39]] {
        says(
            &bench.muster(&["check", "--repo=origin", &format!("--rev={rev}")]),
            exit::NO_INPUT,
            "by all digits of its id",
        );
    }
    says(
        &bench.muster(&["check", "--repo", "state"]),
        exit::NO_INPUT,
        "is no git repository",
    );
    fs::remove_file(bench.path("origin/roster.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", bench.path("origin/roster.yaml")).unwrap();
    bench.git(&["add", "roster.yaml"]);
    let tree = bench.git(&["write-tree"]).trim().to_owned();
    let output = bench.muster(&[
        "check", "--repo", "origin", "--rev", &tree, "--format", "json",
    ]);
    says(&output, exit::FAILED, "\"plain-file\"");
}

/// Whoever proposes a link would have the lines of what it leads to in the log of a check.
#[test]
fn check_reads_nothing_that_a_link_leads_to() {
    let bench = Bench::new();
    bench.write("secret", "hunter2: [\n");
    bench.write("elsewhere/web.yaml", "hunter2: [\n");
    for (link, target) in [
        ("roster.yaml", "secret"),
        ("guests/lab.yaml", "secret"),
        ("hosts", "elsewhere"),
    ] {
        let _ = fs::remove_dir_all(bench.path("repo"));
        bench.write("repo/guests/other.yaml", "guests: {}\n");
        bench.write("repo/roster.yaml", ROSTER);
        let _ = fs::remove_file(bench.path("repo").join(link));
        std::os::unix::fs::symlink(bench.path(target), bench.path("repo").join(link)).unwrap();
        let output = bench.muster(&["check", "repo"]);
        says(&output, exit::NO_INPUT, "it is a symbolic link");
        let said = [output.stdout, output.stderr].concat();
        assert!(
            !String::from_utf8_lossy(&said).contains("hunter2"),
            "{link}"
        );
    }
    let _ = fs::remove_file(bench.path("repo/hosts"));
    let pipe = bench.path("repo/guests/pipe.yaml");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    says(
        &bench.muster(&["check", "repo"]),
        exit::NO_INPUT,
        "a device, a socket or a pipe",
    );
}

#[test]
fn the_accounts_of_a_host_become_a_roster() {
    let bench = Bench::new();
    bench.write("root/etc/login.defs", "UID_MIN 1000\nUID_MAX 2000\n");
    bench.write(
        "root/etc/passwd",
        "root:x:0:0::/root:/bin/bash\nzed:x:1002:1002::/home/zed:/bin/bash\nann:x:1001:1001::/home/ann:/bin/zsh\n\
         daemon:x:1:1::/:/usr/sbin/nologin\nlate:x:2001:2001::/:/bin/sh\nnobody:x:1999:1999::/:/bin/false\n",
    );
    bench.write(
        "root/etc/group",
        "root:x:0:\nsudo:x:27:zed\nusers:x:100:ann,zed\n",
    );
    let output = bench.muster(&["import", "passwd", "--root", "root"]);
    says(
        &output,
        exit::OK,
        "  ann:\n    authentik_user: ann\n    k8s_user: ann\n    tier: namespace-owner\n    namespaces: [ann]\n    adopt: {uid: 1001}\n  zed:\n",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("adopt: {uid: ").count(), 2, "{text}");
    assert!(
        text.contains("tier: admin\n    adopt: {uid: 1002}\n"),
        "{text}"
    );
    bench.write("repo/roster.yaml", &text);
    says(&bench.muster(&["check", "repo"]), exit::OK, "");
    says(
        &bench.muster(&["import", "passwd", "--root", "nowhere"]),
        exit::NO_INPUT,
        "the accounts below nowhere cannot be read",
    );
}

#[test]
fn members_of_a_group_become_rows() {
    let bench = Bench::new();
    let roster = bench.write("r.yaml", ROSTER);
    let import = |json: &str, more: &[&str]| {
        let json = bench.write("g.json", json).display().to_string();
        let roster = roster.display().to_string();
        command()
            .args(["import", "members", "--json", &json, "--roster", &roster])
            .args(more)
            .output()
            .unwrap()
    };
    says(
        &import("{\"name\": \"team\", \"members\": []}", &["--write"]),
        exit::FAILED,
        "has no members",
    );
    let group = "{\"name\": \"team\", \"members\": [\"z.ed\", \"al.i\", \"carol@example.org\"]}";
    says(
        &import(group, &[]),
        exit::OK,
        "new: carol\ncommented out: bob\n",
    );
    assert_eq!(fs::read_to_string(&roster).unwrap(), ROSTER, "only shown");
    says(&import(group, &["--write"]), exit::OK, "new: carol");
    let written = fs::read_to_string(&roster).unwrap();
    assert!(
        written.contains("\n  carol:") && written.contains("#   bob:") | written.contains("# bob:"),
        "{written}"
    );
    assert_eq!(
        fs::metadata(&roster).unwrap().permissions().mode() & 0o777,
        0o644
    );
}

#[test]
fn adopting_at_the_console_is_recorded() {
    let (bench, head) = Bench::initialised();
    let broken = bench.commit("users: []\n");
    bench.git(&["checkout", "--quiet", "--detach", &head]);
    let aside = bench.commit(&ROSTER.replace("bob7", "bob8"));
    bench.git(&["checkout", "--quiet", "main"]);
    let sha = bench.commit(&ROSTER.replace("bob7", "bob9"));
    says(
        &bench.muster(&["adopt", &sha, "--reason", " "]),
        exit::USAGE,
        "not an empty one",
    );
    let absent = "b".repeat(40);
    says(
        &bench.muster(&["adopt", &absent, "--reason", "x"]),
        exit::UNAVAILABLE,
        &format!("the object {absent} is missing"),
    );
    says(
        &bench.muster(&["adopt", &broken, "--reason", "x"]),
        exit::FAILED,
        "is not valid (1 problem, shown above)",
    );
    says(
        &bench.muster(&["adopt", &aside, "--reason", "x"]),
        exit::OK,
        "is no commit of refs/heads/main",
    );
    says(
        &bench.muster(&["adopt", &head, "--reason", "and back"]),
        exit::OK,
        &format!("adopts {head}, in place of {aside}"),
    );
    says(
        &bench.muster(&["adopt", &sha, "--reason", "rewritten by mistake"]),
        exit::OK,
        &format!("adopts {sha}, in place of {head}"),
    );
    says(
        &bench.muster(&["status"]),
        exit::OK,
        &format!("adopted   {sha}"),
    );
    let journal = fs::read(bench.path("state/journal/00000001.log")).unwrap();
    assert!(String::from_utf8_lossy(&journal).contains("rewritten by mistake"));
}

#[test]
fn whoever_comes_second_is_told_who_is_at_work() {
    let (bench, _) = Bench::initialised();
    let state = StateDir::at(&bench.path("state"));
    says(
        &bench.muster(&["reconcile"]),
        exit::UNAVAILABLE,
        "no muster daemon is running",
    );
    let _lock = Lock::take(&state, Purpose::Other("init")).unwrap();
    let holder = format!(
        "`muster init` (process {}) is at work here",
        std::process::id()
    );
    says(
        &bench.muster(&["adopt", &"b".repeat(40), "--reason", "x"]),
        exit::BUSY,
        &holder,
    );
    says(&bench.muster(&["reconcile"]), exit::BUSY, &holder);
    says(
        &bench.muster(&["status"]),
        exit::OK,
        "at work   `muster init`",
    );
}

#[test]
fn a_damaged_journal_is_told_with_its_place() {
    let (bench, _) = Bench::initialised();
    let path = bench.path("state/journal/00000001.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let output = bench.muster(&["status"]);
    says(
        &output,
        exit::STATE,
        "error: the journal cannot be used\ncaused by: the journal is damaged: ",
    );
    says(&output, exit::STATE, "00000001.log, byte 168: ");
    says(&output, exit::STATE, "\nhelp: keep a copy");
}

#[test]
fn settings_that_cannot_be_used_are_told_in_full() {
    let bench = Bench::new();
    bench.write("muster.toml", "[state]\nulr = \"x\"\npoll = 3\n");
    let output = bench.muster(&["status"]);
    says(
        &output,
        exit::CONFIG,
        "muster.toml:2:1: [state] has no key `ulr`\n  help: did you mean `url`?",
    );
    says(
        &output,
        exit::CONFIG,
        "muster.toml:3:8: `poll` must be a string",
    );
}

/// Settings of a bot without a host, whose forge is a port where nobody is.
fn bot(bench: &Bench, secret: &str) {
    let quoted = |name: &str| format!("\"{}\"", bench.path(name).display());
    for (name, text) in [("token", "canary-token\n"), ("secret", secret)] {
        let path = bench.write(name, text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let (state, origin, ledger) = (quoted("bot"), quoted("origin"), quoted("ledger.git"));
    bench.git(&["init", "--quiet", "--bare", "../ledger.git"]);
    let (token, secret) = (quoted("token"), quoted("secret"));
    bench.write(
        "muster.toml",
        &format!(
            "[state]\nurl = {origin}\ndir = {state}\n[fleet]\nroles = [\"bot\"]\nledger = {ledger}\n\
             [forge]\nkind = \"forgejo\"\nurl = \"http://127.0.0.1:9/api/v1\"\nrepository = \"team/state\"\ntoken = {token}\n\
             [http]\nlisten = \"127.0.0.1:0\"\nwebhook_secret = {secret}\n"
        ),
    );
}

#[test]
fn a_daemon_whose_webhook_has_no_secret_does_not_start() {
    let bench = Bench::new();
    bench.commit(ROSTER);
    bot(&bench, "\n");
    says(
        &bench.muster(&["run"]),
        exit::CONFIG,
        "secret cannot be used: it is empty",
    );
    let settings = fs::read_to_string(bench.path("muster.toml")).unwrap();
    let without = settings
        .lines()
        .filter(|it| !it.starts_with("webhook_secret"));
    bench.write("muster.toml", &without.collect::<Vec<_>>().join("\n"));
    for args in [&["run"][..], &["run", "--once"], &["status"]] {
        says(&bench.muster(args), exit::CONFIG, "anybody could knock");
    }
}

#[test]
fn a_bot_alone_is_heard_over_http_and_stops_when_told_to() {
    let bench = Bench::new();
    bench.commit(ROSTER);
    bot(&bench, "a long word\n");
    let mut daemon = command()
        .args(["run", "--log-format", "human", "--config"])
        .arg(bench.path("muster.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
    let address = lines.by_ref().map(Result::unwrap).find_map(|line| {
        let (_, address) = line.split_once("HTTP is served at ")?;
        Some(address.split(' ').next()?.to_owned())
    });
    let mut stream = TcpStream::connect(address.unwrap()).unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: muster\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let state = fs::metadata(bench.path("bot")).unwrap();
    assert_eq!(state.permissions().mode() & 0o7777, 0o700);

    let pid = nix::unistd::Pid::from_raw(daemon.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(daemon.wait().unwrap().code(), Some(0), "{rest:?}");
    assert!(rest.iter().all(|it| !it.contains("canary")), "{rest:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let mut child = command()
        .args(["schema", "roster"])
        .stdout(write)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let full = fs::OpenOptions::new()
        .write(true)
        .open(Path::new("/dev/full"))
        .unwrap();
    let output = command()
        .args(["schema", "roster"])
        .stdout(full)
        .output()
        .unwrap();
    says(
        &output,
        exit::IO,
        "error: cannot write the output\ncaused by: No space left on device",
    );
}

#[test]
fn an_archive_is_listed_verified_and_taken_out() {
    let bench = Bench::new();
    bench.write("home/notes", "work\n");
    bench.write("home/dir/more", "more\n");
    std::os::unix::fs::symlink("/etc/passwd", bench.path("home/outward")).unwrap();
    let store = bench.path("state/archives");
    fs::create_dir_all(bench.path("state")).unwrap();
    let file = muster_host::archive::write_directory(&bench.path("home"), &store).unwrap();
    let file = file.to_str().unwrap();
    says(
        &bench.muster(&["archive", "list"]),
        exit::OK,
        "nobody  uid 0",
    );
    let listed = bench.muster(&["archive", "list", file]);
    says(&listed, exit::OK, "home/dir/more");
    says(&listed, exit::OK, "home/outward -> /etc/passwd");
    says(
        &bench.muster(&["archive", "verify", file]),
        exit::OK,
        "5 entries of nobody",
    );
    let into = bench.path("out");
    let out = bench.muster(&["archive", "extract", file, into.to_str().unwrap()]);
    says(
        &out,
        exit::OK,
        "left out: home/outward: a link that leads out",
    );
    assert_eq!(fs::read_to_string(into.join("dir/more")).unwrap(), "more\n");
    assert!(!into.join("outward").is_symlink());
    let again = bench.muster(&["archive", "extract", file, into.to_str().unwrap()]);
    says(&again, exit::FAILED, "is not empty");
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
    says(
        &bench.muster(&["archive", "verify", file]),
        exit::FAILED,
        "could not be read back",
    );
    says(
        &bench.muster(&["archive", "verify", "/nowhere"]),
        exit::NO_INPUT,
        "/nowhere",
    );
}

/// What is repeated of the arguments neither acts on a terminal nor looks like a line of muster's (F15).
#[test]
fn arguments_are_shown_and_never_obeyed() {
    let bench = Bench::new();
    let bad = "/x\u{1b}[31m\u{7}\nerror: all is well\u{202e}";
    let shown = "/x\\u{1b}[31m\\u{7}\\u{a}error: all is well\\u{202e}";
    for args in [
        &[bad][..],
        &["check", bad],
        &["check", "--format", bad],
        &["check", "--repo", bad],
        &["check", &format!("--repo={bad}")],
        &["adopt", bad, "--reason", "x"],
        &["validate", "--roster", bad],
        &["explain", bad],
        &["release", "propose", bad],
        &["release", "verify", bad],
        &["plan", "--repo", bad],
        &["history", "--ledger", bad],
    ] {
        let said = bench.muster(args);
        let told = [said.stdout, said.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        assert!(
            !told.contains(['\u{1b}', '\u{7}', '\u{202e}']) && !told.contains("\nerror: all"),
            "{args:?}: {told:?}"
        );
        assert_ne!(said.status.code(), Some(0), "{args:?}");
        if args.len() < 3 && args != ["explain", bad] {
            assert!(told.contains(shown), "{args:?}: {told}");
        }
    }
}
