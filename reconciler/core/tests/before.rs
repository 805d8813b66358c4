//! What versions before this one wrote is read, and written again byte for byte: steps with their ids, words and prices,
//! records, ledgers, statements, plans for programs. Their files are in `tests/golden/before/<version>`; the README there says how
//! each was made.
//!
//! `UPDATE=1` writes a text that is not there yet. It never rewrites one that is: hosts in the field hold it.
#![expect(clippy::disallowed_methods, reason = "reads what older versions wrote")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use muster_core::accounts::verbs::Verb;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, judge};
use muster_core::id::{self, StepId};
use muster_core::journal::{Entry, Replayed};
use muster_core::ledger::held::HeldSteps;
use muster_core::ledger::inventory::Inventory;
use muster_core::ledger::{self, Through, policy};
use muster_core::plan::{Input, Plan, plan};
use muster_core::release::statement::{Line, Statement};
use muster_core::release::{Nonce, RepoId};
use muster_core::report::{Basis, Host, PolicyFrom, ReadAt, json, sentence, undone_by, why_class};
use muster_core::rooms::{self, Known as Kept, Observed, Policy};
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::verb::Reach;
use sha2::{Digest as _, Sha256};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The directories of older versions, and of a part below it.
fn versions(part: &str) -> Vec<PathBuf> {
    let below = fs::read_dir(root().join("tests/golden/before")).expect("older versions");
    let mut found: Vec<PathBuf> = below
        .map(|it| it.expect("a directory entry").path().join(part))
        .filter(|it| it.is_dir())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no older version has {part}");
    found
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a file, each with its place for people.
fn lines(path: &Path) -> Vec<(String, String)> {
    let text = text_of(path);
    assert!(text.ends_with('\n'), "{}", path.display());
    let numbered = text.lines().enumerate();
    numbered
        .map(|(at, line)| (format!("{}:{}", path.display(), at + 1), line.to_owned()))
        .collect()
}

/// All files below a directory, by path from there.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("a directory entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_str()
            .expect("a plain name");
        if path.is_dir() {
            let below = files(&path).into_iter();
            all.extend(below.map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            all.insert(name.to_owned(), fs::read(&path).expect("a file"));
        }
    }
    all
}

/// Compares with what an older version wrote.
#[track_caller]
fn same(path: &Path, now: &str) {
    if std::env::var_os("UPDATE").is_some() && !path.exists() {
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, now).expect("a file");
    }
    let before = fs::read_to_string(path).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(&before, now);
    assert!(
        before == now,
        "{} is not what it was\n{}",
        path.display(),
        diff.unified_diff()
    );
}

/// The same of a set of files.
#[track_caller]
fn same_files(dir: &Path, now: &BTreeMap<String, Vec<u8>>) {
    for (path, bytes) in now {
        same(&dir.join(path), std::str::from_utf8(bytes).expect("text"));
    }
    let (before, now): (BTreeSet<_>, BTreeSet<_>) = (
        files(dir).into_keys().collect(),
        now.keys().cloned().collect(),
    );
    assert_eq!(before, now, "{}", dir.display());
}

/// The steps that a version planned for each of its hosts, one of every kind.
fn steps(core: &Path) -> BTreeMap<Executor, Vec<Step>> {
    let hosts = fs::read_dir(core.join("host")).expect("hosts");
    hosts
        .map(|host| {
            let dir = host.expect("a directory entry").path();
            let name = dir
                .file_name()
                .expect("a name")
                .to_str()
                .expect("a plain name");
            let executor = format!("host/{name}").parse().expect("an executor");
            let read = |(at, line): (String, String)| -> Step {
                let step = serde_json::from_str(&line).unwrap_or_else(|it| panic!("{at}: {it}"));
                assert_eq!(serde_json::to_string(&step).expect("JSON"), line, "{at}");
                step
            };
            let steps = lines(&dir.join("steps.jsonl")).into_iter().map(read);
            (executor, steps.collect())
        })
        .collect()
}

/// The host whose administrator decided nothing, and one who declared benign whatever can be.
fn policies(executor: &Executor) -> [(&'static str, Policy); 2] {
    let plain = muster_core::accounts::policy::Policy::for_host(executor.name());
    let mut lenient = plain.clone();
    let declarable = Verb::ALL.iter().copied();
    lenient.declared_benign = declarable
        .filter(|it| it.row().reach == Reach::Declarable)
        .collect();
    [
        ("as it is", plain.into()),
        ("declared benign", lenient.into()),
    ]
}

/// What is signed, shown and asked of a step.
fn described(executor: &Executor, step: &Step) -> String {
    let mut out = format!("{} {}\n", step.id, step.words());
    let mut put = |what: &str, is: &str| {
        let _ = writeln!(out, "    {what}: {is}");
    };
    let action = &step.action;
    put("verb", action.spelled().word());
    put("resource", step.resource());
    for (name, value) in id::parameters(action.spelled()) {
        put(&format!("parameter {name}"), &value);
    }
    put("incarnation", &step.incarnation.to_string());
    let kept = Kept::new(executor.kind());
    let price_by = |policy: &Policy| rooms::price(action, policy, None, &kept);
    let [(_, plain), _] = &policies(executor);
    // What is a turn today was called a phase, and has the same names.
    put("phase", &format!("{:?}", price_by(plain).turn));
    put("sentence", &sentence(action));
    for (which, policy) in policies(executor) {
        put(
            &format!("class {which}"),
            &price_by(&policy).class.to_string(),
        );
        put(
            &format!("why {which}"),
            &why_class(action, &price_by(&policy)),
        );
    }
    put("undone by", undone_by(action));
    let counts = price_by(plain).takes.counts();
    put("removal", if counts { "yes" } else { "no" });
    out
}

#[test]
fn a_step_keeps_its_id_its_words_and_its_price() {
    for core in versions("core") {
        for (executor, steps) in steps(&core) {
            let mut told = String::new();
            for step in &steps {
                let id = StepId::of(&executor, step.action.spelled(), &step.incarnation);
                assert_eq!(id, step.id, "{}", step.words());
                told.push_str(&described(&executor, step));
            }
            same(&core.join(executor.to_string()).join("steps.txt"), &told);
        }
    }
}

/// `rename_all = "snake_case"`.
fn tag(variant: &str) -> String {
    let mut tag = String::new();
    for c in variant.chars() {
        if c.is_uppercase() && !tag.is_empty() {
            tag.push('_');
        }
        tag.extend(c.to_lowercase());
    }
    tag
}

/// The tags of the variants of each `enum Action` in core's sources, and the file that each is in. A variant that holds
/// one other value, such as the actions of one subject, has no tag of its own.
fn tags_in_sources(dir: &Path, found: &mut BTreeMap<String, Vec<String>>) {
    for (path, bytes) in files(dir)
        .into_iter()
        .filter(|(path, _)| path.ends_with(".rs"))
    {
        let text = String::from_utf8(bytes).expect("a source is text");
        let Some((_, body)) = text.split_once("\npub enum Action {\n") else {
            continue;
        };
        let variants = body
            .lines()
            .take_while(|line| *line != "}")
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| line.starts_with(char::is_uppercase))
            .filter_map(|line| line.strip_suffix(" {").or(line.strip_suffix(',')))
            .filter(|variant| !variant.contains('('));
        for variant in variants {
            found.entry(tag(variant)).or_default().push(path.clone());
        }
    }
}

/// Tags stand in journals and ledgers with nothing before them, so one tag is one action, whoever's it is.
#[test]
fn every_tag_of_an_action_is_in_one_place() {
    let mut found = BTreeMap::new();
    tags_in_sources(&root().join("reconciler/core/src"), &mut found);
    for (tag, files) in &found {
        assert_eq!(files.len(), 1, "{tag} is in {files:?}");
    }
    for core in versions("core") {
        for step in steps(&core).into_values().flatten() {
            let value = serde_json::to_value(&step.action).expect("JSON");
            let tags: Vec<&String> = value.as_object().expect("a tag").keys().collect();
            assert_eq!(tags.len(), 1, "{value}");
            assert!(found.contains_key(tags[0]), "{} is no action now", tags[0]);
        }
    }
}

/// Where the chain would be; what is tested has no chain.
fn through(sequence: usize) -> Through {
    Through {
        sequence: u64::try_from(sequence).expect("a small number"),
        chain: "0".repeat(64),
    }
}

fn sha256(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    for (path, bytes) in files {
        hash.update(format!("{path} {}\0", bytes.len()));
        hash.update(bytes);
    }
    hash.finalize().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A journal in which every kind of record is, every reason to freeze, every result, every refusal; what is known after
/// each record, as a ledger.
#[test]
fn a_journal_reads_back_and_tells_the_same_facts() {
    for core in versions("core") {
        let dir = core.join("host/devvm");
        let mut known: Option<Replayed> = None;
        let mut ledgers = String::new();
        let mut last = BTreeMap::new();
        for (number, (at, line)) in lines(&dir.join("journal.jsonl")).into_iter().enumerate() {
            let entry: Entry =
                serde_json::from_str(&line).unwrap_or_else(|it| panic!("{at}: {it}"));
            assert_eq!(serde_json::to_string(&entry).expect("JSON"), line, "{at}");
            match &mut known {
                None => known = Some(Replayed::begin(&entry).expect("a genesis record")),
                Some(known) => known
                    .apply(&entry)
                    .unwrap_or_else(|it| panic!("{at}: {it}")),
            }
            let facts = &known.as_ref().expect("known").facts;
            // This version keeps from whom something was taken, too; the rest is written as it was.
            let named = ledger::files(facts, &through(number + 1));
            let read = ledger::facts(&named).unwrap_or_else(|it| panic!("{at}: {it}"));
            assert_eq!(read.0, *facts, "{at}");
            let facts = &nameless(facts);
            last = ledger::files(facts, &through(number + 1));
            let _ = writeln!(ledgers, "{} {}", number + 1, sha256(&last));
            let read = ledger::facts(&last).unwrap_or_else(|it| panic!("{at}: {it}"));
            assert_eq!(read, (facts.clone(), through(number + 1)), "{at}");
        }
        same_files(&dir.join("ledger"), &last);
        same(&dir.join("ledgers.txt"), &ledgers);
    }
}

#[test]
fn a_release_is_worded_as_it_was() {
    for core in versions("core") {
        let blocks = steps(&core).into_iter().map(|(executor, steps)| {
            let mut lines: Vec<Line> = steps
                .iter()
                .map(|step| Line {
                    id: step.id,
                    words: step.words(),
                })
                .collect();
            lines.sort();
            (executor.to_string(), lines)
        });
        let statement = Statement {
            repo: RepoId([0x6f; 16]),
            commit: "b".repeat(40).parse().expect("a commit"),
            nonce: Nonce([0x8f; 16]),
            not_before: Time(1_795_361_159),
            not_after: Time(1_795_447_559),
            reason: "offboarding, ticket 1234".into(),
            blocks: blocks.collect(),
        };
        statement.check().expect("it can be signed");
        same(&core.join("release.txt"), &statement.render());
        let read = Statement::parse(text_of(&core.join("release.txt")).as_bytes());
        assert_eq!(read.expect("a statement"), statement);
        let name = format!("{}\n", statement.tag_name(b"a key"));
        same(&core.join("release.tag"), &name);
    }
}

/// The files beside the facts in the ledger of a real host.
#[test]
fn a_ledger_reads_back() {
    for host in versions("host") {
        let files = files(&host.join("ledger"));
        let held = HeldSteps::read(&files["held.json"]).expect("what waits");
        assert!(held.to_bytes() == files["held.json"], "held.json");
        let inventory = Inventory::read(&files["inventory.json"]).expect("an inventory");
        let Inventory {
            executor, observed, ..
        } = &inventory;
        let written = Inventory::bytes_in_ledger(executor, observed);
        assert!(written == files["inventory.json"], "inventory.json");
        let policy = policy::read(&files["policy.json"]).expect("a policy");
        assert!(
            policy::to_bytes(&policy) == files["policy.json"],
            "policy.json"
        );

        let (facts, through) = ledger::facts(&files).expect("facts");
        let mut written = ledger::files(&facts, &through);
        for beside in ["held.json", "inventory.json", "policy.json"] {
            written.insert(beside.to_owned(), files[beside].clone());
        }
        assert!(written == files, "the facts are written otherwise");

        // The journal tells the same facts as the ledger.
        let entries: Vec<Entry> = lines(&host.join("journal.jsonl"))
            .into_iter()
            .map(|(at, line)| {
                let entry = serde_json::from_str(&line).unwrap_or_else(|it| panic!("{at}: {it}"));
                assert_eq!(serde_json::to_string(&entry).expect("JSON"), line, "{at}");
                entry
            })
            .collect();
        let mut known = Replayed::begin(&entries[0]).expect("a genesis record");
        for entry in &entries[1..] {
            known.apply(entry).expect("a record that can follow");
        }
        assert_eq!(nameless(&known.facts), facts);
    }
}

/// The facts as versions kept them that did not know from whom something was taken.
fn nameless(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    facts.removals.iter_mut().for_each(|it| it.of = None);
    facts
}

/// A host as its ledger tells of it, and what its roster asks for.
struct Known {
    policy: Policy,
    observed: Observed,
    facts: Facts,
    now: Time,
}

impl Known {
    fn read(ledger: &Path) -> Self {
        let files = files(ledger);
        let (facts, _) = ledger::facts(&files).expect("facts");
        let inventory = Inventory::read(&files["inventory.json"]).expect("an inventory");
        Self {
            policy: policy::read(&files["policy.json"]).expect("a policy"),
            observed: inventory.observed,
            now: facts.latest.plus(3_600),
            facts,
        }
    }

    fn plan(&self, roster: &Path) -> Plan {
        let bytes = fs::read(roster).expect("a roster");
        let files = BTreeMap::from([("roster.yaml".to_owned(), bytes)]);
        let (repo, _) =
            rooms::read_whole(&files, &[]).unwrap_or_else(|it| panic!("{roster:?}: {it:?}"));
        let today = self.now.date();
        plan(&Input {
            policy: &self.policy,
            commit: &"d".repeat(40).parse().expect("a commit"),
            today,
            desired: &rooms::desired(&repo, &self.policy, today),
            observed: &self.observed,
            facts: &self.facts,
        })
    }
}

/// What programs are told of proposals to a host out of its ledger. What people read may be said better.
#[test]
fn a_proposal_is_told_as_it_was() {
    for version in versions("proposals") {
        let known = Known::read(&version.join("../host/ledger"));
        let base = known.plan(&version.join("base.yaml"));
        let rosters = files(&version).into_keys();
        for name in rosters.filter_map(|it| it.strip_suffix(".yaml").map(str::to_owned)) {
            let plan = known.plan(&version.join(format!("{name}.yaml")));
            let (policy, facts) = (&known.policy, &known.facts);
            let none = Approvals::none();
            let bounds = plan.bounds(policy, &known.observed, facts, known.now);
            let verdict = judge(&plan, &bounds, facts, &none, known.now);
            let host = Host {
                executor: policy.executor(),
                plan: &plan,
                verdict: &verdict,
                base: Some(&base),
                read: ReadAt::At(facts.latest),
            };
            let commit = "d".repeat(40).parse().expect("a commit");
            let basis = Basis {
                commit: &commit,
                today: known.now.date(),
                recorded: ReadAt::At(facts.latest),
                policy: PolicyFrom::Ledger,
                now: known.now,
                refused: None,
                sections: &[],
            };
            let told = json(&basis, &host, facts);
            same(&version.join(format!("{name}.json")), &told);
        }
    }
}
