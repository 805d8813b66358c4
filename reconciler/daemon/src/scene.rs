//! For tests: hosts that keep ledgers as a cycle writes them, and a ledger repository of real git.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use muster_core::accounts::observed::Observed;
use muster_core::accounts::policy::Policy;
use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::fleet::alive::{self, Alive};
use muster_core::host_key::HostKey;
use muster_core::ledger::inventory::Inventory;
use muster_core::ledger::{self, Through, held, inventory, policy};
use muster_core::reading::Reading;
use muster_core::time::Time;
use muster_git::{Counterpart, Ledger, Move, Origin};

/// A directory of the test's own with a ledger repository in it.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

/// The commit that `digit` stands for.
pub(crate) fn id(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

impl Scene {
    pub(crate) fn new() -> Self {
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(scene.path("etc")).unwrap();
        scene.git("", &["init", "-q", "--bare", "there.git"]);
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The ledger repository.
    pub(crate) fn there(&self) -> Origin {
        Origin::parse(self.path("there.git").to_str().unwrap()).unwrap()
    }

    pub(crate) fn git(&self, below: &str, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.path(below))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .args(arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {stderr}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Where a reference is in the ledger repository.
    pub(crate) fn at(&self, reference: &str) -> Option<CommitId> {
        self.counterpart("there.git")
            .ask(&[reference])
            .unwrap()
            .remove(reference)
    }

    pub(crate) fn set(&self, reference: &str, to: &CommitId) {
        self.git("there.git", &["update-ref", reference, to.as_str()]);
    }

    fn counterpart(&self, dir: &str) -> Counterpart {
        Counterpart::of(&self.path(dir), self.there())
    }

    /// Writes the file that says which key is whose.
    pub(crate) fn hosts(&self, hosts: &[&Host]) -> PathBuf {
        let line = |host: &&Host| format!("host/{} {}\n", host.name, host.key.public());
        let path = self.path("etc/hosts");
        fs::write(&path, hosts.iter().map(line).collect::<String>()).unwrap();
        path
    }

    /// Pushes a host's ledger and sign of life as they are, whatever is there.
    pub(crate) fn push(&self, host: &Host) {
        let there = Counterpart::of(&host.dir, self.there());
        let mut moves = Vec::new();
        for name in [host.reference(), host.alive_reference()] {
            let to = Ledger::open(&host.dir, &name).unwrap().head().unwrap();
            moves.extend(to.map(|to| Move {
                from: self.at(&name),
                name,
                to,
            }));
        }
        there.push(&moves).unwrap();
    }
}

/// A host, and its ledger.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) key: Arc<HostKey>,
    pub(crate) facts: Facts,
    pub(crate) policy: Policy,
}

impl Host {
    /// One of that name, with its ledger in `dir`, a key of its own, and no commit yet.
    pub(crate) fn new(dir: &Path, name: &str, seed: u8) -> Self {
        Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            key: Arc::new(HostKey::from_seed(&[seed; 32])),
            facts: Facts::genesis(
                &format!("{seed:032x}"),
                Executor::Host(name.into()),
                id('a'),
                Time(0),
            ),
            policy: Policy::for_host(name),
        }
    }

    pub(crate) fn executor(&self) -> Executor {
        self.policy.executor.clone()
    }

    pub(crate) fn reference(&self) -> String {
        self.executor().ledger_ref()
    }

    pub(crate) fn alive_reference(&self) -> String {
        self.executor().alive_ref()
    }

    /// What was read on it.
    pub(crate) fn observed() -> Observed {
        Observed {
            accounts: Reading::Unknown("nobody looked".to_owned()),
            people: BTreeMap::new(),
            environments: Reading::Known(BTreeMap::new()),
            aggregates: BTreeMap::new(),
            cluster_tiers: None,
            units: Reading::Unknown("nobody looked".to_owned()),
        }
    }

    /// The files of its ledger, as a cycle writes them.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let through = Through {
            sequence: u64::try_from(self.facts.latest.0).unwrap(),
            chain: "c".to_owned(),
        };
        let executor = self.executor();
        let mut files = ledger::files(&self.facts, &through);
        files.insert(
            policy::FILE.to_owned(),
            policy::to_bytes(&self.policy.clone().into()),
        );
        files.insert(
            inventory::FILE.to_owned(),
            Inventory::bytes_in_ledger(&executor, &Self::observed().into()),
        );
        let waiting = held::HeldSteps::now(
            &executor,
            &self.facts.adopted,
            &[],
            |_| Vec::new(),
            &BTreeMap::new(),
            self.facts.latest,
        );
        files.insert(held::FILE.to_owned(), waiting.to_bytes());
        files
    }

    /// A commit at `at`, with `adopted` in force.
    pub(crate) fn commit(&mut self, adopted: char, at: i64) -> CommitId {
        self.facts.adopted = id(adopted);
        self.facts.latest = Time(at);
        let files = self.files();
        self.commit_files(files, at)
    }

    /// The same with files of the test's own.
    pub(crate) fn commit_files(&self, files: BTreeMap<String, Vec<u8>>, at: i64) -> CommitId {
        let ledger = Ledger::open_or_create(&self.dir, &self.reference())
            .unwrap()
            .signing_with(Arc::clone(&self.key));
        let changes = files
            .into_iter()
            .map(|(path, bytes)| (path, Some(bytes)))
            .collect();
        let message = format!("a cycle\n\nCommit: {}\n", self.facts.adopted);
        let head = ledger.head().unwrap();
        ledger
            .commit(head.as_ref(), &changes, &message, at)
            .unwrap()
    }

    /// A sign of life at `at`, for the ledger as it is.
    pub(crate) fn beat(&self, at: i64) -> CommitId {
        let ledger = Ledger::open_or_create(&self.dir, &self.reference())
            .unwrap()
            .signing_with(Arc::clone(&self.key));
        let alive = Alive {
            at: Time(at),
            read: Some(Time(at)),
            ledger: ledger.head().unwrap(),
            adopted: self.facts.adopted.clone(),
            version: "1".to_owned(),
            line: "all is well".to_owned(),
            unread: Vec::new(),
        };
        let files = BTreeMap::from([(alive::FILE.to_owned(), alive.to_bytes())]);
        ledger
            .put_alive(&self.alive_reference(), &files, at)
            .unwrap()
    }
}
