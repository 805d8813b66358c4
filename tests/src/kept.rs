//! A host as a version left it: packed by `tests/golden/take`, unpacked and gone on with by later versions.
//!
//! ```text
//! site.tar.gz     state directory, scratch root, state repository, settings and trust root
//! ledger/         the files of its ledger's newest commit
//! ledger.log      the messages of all of them, the newest first
//! journal.jsonl   the records of its journal, one a line
//! said/           what that version answered, and asked.txt: to which questions
//! after.txt       the host after that version's next cycle
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::site::{Ran, Site};

/// Stands for where a workstation is.
pub const HERE: &str = "@site@/";

/// The archive of a workstation.
pub const ARCHIVE: &str = "site.tar.gz";

/// A question to the program, and the file with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name of the file.
    pub file: String,
    /// The arguments.
    pub args: Vec<String>,
}

impl Asked {
    fn new(file: &str, args: &[&str]) -> Self {
        Self {
            file: file.to_owned(),
            args: args.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    /// Asks it.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn answer(&self, site: &Site) -> String {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        told(site, &site.muster(&args))
    }
}

/// What was said, wherever the workstation is.
pub fn told(site: &Site, ran: &Ran) -> String {
    ran.said()
        .replace(&site.path("").display().to_string(), HERE)
}

/// The questions that a version was asked, as they are kept.
///
/// # Panics
/// When there are none.
pub fn asked(said: &Path) -> Vec<Asked> {
    let text = fs::read_to_string(said.join("asked.txt")).expect("what was asked");
    let questions = text.lines().map(|line| {
        let (file, args) = line.split_once(": ").expect("a question");
        Asked::new(file, &args.split(' ').collect::<Vec<_>>())
    });
    questions.collect()
}

/// Whatever can be asked of this host and has one answer at any time: about everything, about each step that waits, and
/// about one done step of each verb.
fn questions(site: &Site) -> Vec<Asked> {
    let mut all = vec![
        Asked::new("status.txt", &["status"]),
        Asked::new("status.json", &["status", "--format", "json"]),
        Asked::new("history.txt", &["history", "-n", "1000"]),
        Asked::new(
            "history.json",
            &["history", "-n", "1000", "--format", "json"],
        ),
        Asked::new("pending.txt", &["pending"]),
        Asked::new("pending.json", &["pending", "--format", "json"]),
        Asked::new("trust.txt", &["trust", "show"]),
    ];
    let json = |args: &[&str]| -> Value {
        let ran = site.muster(args).ok();
        serde_json::from_str(&ran.out).expect("JSON")
    };
    let mut steps: Vec<(String, String)> = Vec::new();
    let mut put = |step: &Value, key: &str| {
        let id = step["id"].as_str().expect("an id").to_owned();
        let verb = step[key].as_str().expect("words").split(' ').next();
        steps.push((verb.unwrap_or_default().to_owned(), id));
    };
    let pending = json(&["pending", "--format", "json"]);
    for step in pending["executors"][0]["held"].as_array().expect("steps") {
        put(step, "words");
    }
    let history = json(&["history", "-n", "1000", "--format", "json"]);
    for event in history["events"].as_array().expect("events") {
        for step in event["steps"].as_array().expect("steps") {
            put(step, "words");
        }
    }
    let mut verbs = BTreeSet::new();
    for (verb, id) in steps {
        if verbs.insert(verb.clone()) {
            all.push(Asked::new(
                &format!("explain/{verb}.txt"),
                &["explain", &id],
            ));
            let args = ["explain", &id, "--format", "json"];
            all.push(Asked::new(&format!("explain/{verb}.json"), &args));
        }
    }
    all
}

/// A host as text, as it is compared.
pub fn picture(site: &Site) -> String {
    site.host()
        .iter()
        .fold(String::new(), |mut out, (path, is)| {
            let _ = writeln!(out, "{path} {is:?}");
            out
        })
}

/// Keeps a workstation, and what the program answers about it, in a directory.
///
/// # Panics
/// When it cannot.
pub fn keep(site: &Site, to: &Path) {
    let said = to.join("said");
    let mut list = String::new();
    for asked in questions(site) {
        let path = said.join(&asked.file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, asked.answer(site)).expect("a file");
        let _ = writeln!(list, "{}: {}", asked.file, asked.args.join(" "));
    }
    fs::write(said.join("asked.txt"), list).expect("a file");

    let next = site.copy();
    let _ = next.once();
    fs::write(to.join("after.txt"), picture(&next)).expect("a file");

    let settings = fs::read_to_string(site.path("muster.toml")).expect("settings");
    let here = site.path("").display().to_string();
    fs::write(site.path("muster.toml"), settings.replace(&here, HERE)).expect("settings");
    shell(
        site,
        "tar --create --numeric-owner --sort=name --exclude=hooks muster.toml origin root state $(test ! -d trust || echo trust) | gzip -9n",
        &to.join(ARCHIVE),
    );
    fs::write(site.path("muster.toml"), settings).expect("settings");

    let git = "git --git-dir=state/ledger.git";
    shell(
        site,
        &format!("{git} log --format=%B refs/muster/host/devvm"),
        &to.join("ledger.log"),
    );
    fs::create_dir_all(to.join("ledger")).expect("a directory");
    let mut unpack = Command::new("tar");
    let whole = to.join("ledger.tar");
    shell(
        site,
        &format!("{git} archive refs/muster/host/devvm"),
        &whole,
    );
    unpack
        .arg("--extract")
        .arg("--no-same-owner")
        .arg("--file")
        .arg(&whole);
    unpack.arg("--directory").arg(to.join("ledger"));
    assert!(unpack.status().expect("tar").success());
    fs::remove_file(whole).expect("a file");
    fs::write(to.join("journal.jsonl"), records(&site.path("state"))).expect("a file");
}

fn shell(site: &Site, command: &str, to: &Path) {
    let out = fs::File::create(to).expect("a file");
    let mut sh = Command::new("sh");
    sh.args(["-euc", command]).current_dir(site.path("."));
    sh.env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    assert!(sh.stdout(out).status().expect("sh").success(), "{command}");
}

/// The records of the journal in a state directory, in order, one a line. Nothing is checked here: a header to the line's
/// end; then, for each record, four bytes of length, the lowest first, four of check, the record, and 32 of hash.
///
/// # Panics
/// When that is not what a journal looks like.
pub fn records(state: &Path) -> String {
    let mut segments: Vec<_> = fs::read_dir(state.join("journal"))
        .expect("a journal")
        .map(|it| it.expect("a segment").path())
        .collect();
    segments.sort();
    let mut out = String::new();
    for segment in segments {
        let bytes = fs::read(segment).expect("a segment");
        let end = bytes.iter().position(|it| *it == b'\n').expect("a header");
        let mut rest = &bytes[end + 1..];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length)).expect("a length");
            let record = &behind[4..4 + length];
            out.push_str(std::str::from_utf8(record).expect("JSON"));
            out.push('\n');
            rest = &behind[4 + length + 32..];
        }
    }
    out
}
