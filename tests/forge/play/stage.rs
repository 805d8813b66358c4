//! The stage: a forge, two hosts, somebody who signs, and the bot; and what is looked at when an act is over.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use muster_tests::hub::network::listen;
use muster_tests::hub::people::{Clone, Comment};
use muster_tests::hub::webhooks::Listener;
use muster_tests::hub::{Hub, Parts, Person, REPOSITORY};
use muster_tests::page::{self, Around};
use muster_tests::site::{Daemon, Ran, Site, hermetic, program, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::golden::{Goldens, stable};

/// Where ledgers go.
const LEDGER: &str = "acme/ledger";

pub(crate) struct Stage {
    pub(crate) hub: Hub,
    pub(crate) mira: Person,
    pub(crate) jonas: Person,
    pub(crate) eve: Person,
    /// Mira's clone.
    pub(crate) clone: Clone,
    pub(crate) hosts: Vec<Site>,
    pub(crate) door: u16,
    work: PathBuf,
    bot: Option<Daemon>,
    bot_port: u16,
    git: Child,
    goldens: Goldens,
    /// What the comment of a proposal said when it was last looked at.
    last: Option<Comment>,
    pub(crate) score: Score,
    pictures: PathBuf,
}

#[derive(Default)]
pub(crate) struct Score {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Score {
    pub(crate) fn check(&mut self, what: &str, good: bool) {
        match good {
            true => self.passed += 1,
            false => {
                self.failed += 1;
                println!("FAILED: {what}");
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.git.kill();
        let _ = self.git.wait();
    }
}

impl Stage {
    /// A forge and people, and no host; what is seen is held against the files of `goldens`.
    pub(crate) fn new([stand_in, validator, door]: [u16; 3], work: &Path, goldens: &str) -> Self {
        let (mira, jonas, eve) = (
            Person::named("mira"),
            Person::named("jonas"),
            Person::named("eve"),
        );
        let hub = Hub::new(Parts {
            stand_in,
            validator: Some(validator),
            people: vec![mira.clone(), jonas.clone(), eve.clone()],
            secret: b"it is a secret to everybody",
            dir: &work.join("code"),
        });
        hub.open_door(listen(None, door));
        hub.code().create(LEDGER);
        let git_port = free_port();
        let git = hub.code().serve(None, "127.0.0.1", git_port);
        let clone = hub.clone_of(&mira, REPOSITORY, door, &work.join("mira"));
        let pictures = Path::new("target/story").to_owned();
        let _ = fs::remove_dir_all(&pictures);
        fs::create_dir_all(&pictures).expect("a directory for pictures");
        let stage = Self {
            hub,
            mira,
            jonas,
            eve,
            clone,
            hosts: Vec::new(),
            door,
            work: work.to_owned(),
            bot: None,
            bot_port: free_port(),
            git,
            goldens: Goldens::in_dir(Path::new(goldens)),
            last: None,
            score: Score::default(),
            pictures,
        };
        fs::create_dir(stage.path("bot")).expect("a directory");
        let url = format!("git://127.0.0.1:{git_port}/{REPOSITORY}.git");
        fs::write(stage.path("url"), url).expect("an address");
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    fn url(&self) -> String {
        fs::read_to_string(self.path("url")).expect("an address")
    }

    /// Where the ledgers of all hosts are.
    pub(crate) fn ledgers(&self) -> PathBuf {
        self.hub.code().path(LEDGER)
    }

    /// The names of what is in the repository of ledgers, one a line.
    pub(crate) fn ledger_refs(&self) -> String {
        let all = ["for-each-ref", "--format=%(refname)"];
        self.hub.code().git(LEDGER, &all)
    }

    // ── hosts ────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Adds a host, which begins with what the branch holds, and whose key the bot knows.
    pub(crate) fn add_host(&mut self, name: &str) {
        self.add_machine(name, "", &[]);
    }

    /// Adds a machine that keeps the accounts of a host and, by `settings`, what these executors are for beside it.
    pub(crate) fn add_machine(&mut self, name: &str, settings: &str, beside: &[&str]) {
        let site = Site::bare(&format!(
            "[fleet]\nroles = [\"agent\"]\nledger = \"{}\"\n{settings}",
            self.ledgers().display()
        ));
        let local = format!("url = \"{}\"", site.path("origin").display());
        site.change_settings(&local, &format!("url = \"{}\"", self.url()));
        site.change_settings("name = \"devvm\"", &format!("name = \"{name}\""));
        // Who may become root waits for somebody who signs.
        site.change_settings("\"group.join\", \"admins.add\"", "\"admins.add\"");
        let host = format!("host/{name}");
        for executor in beside.iter().copied().chain([&*host]) {
            let init = ["init", "--yes", "--executor", executor];
            let ran = site.muster(&init).ok();
            let key = ran.out.split("ssh-ed25519 ").nth(1).expect("a key");
            let key = key.split_whitespace().next().expect("a key");
            let known = fs::read_to_string(self.path("hosts")).unwrap_or_default();
            let known = format!("{known}{executor} ssh-ed25519 {key}\n");
            fs::write(self.path("hosts"), known).expect("the keys");
        }
        self.hosts.push(site);
    }

    /// Each host looks once at everything, and does what there is to do.
    pub(crate) fn hosts_run(&self) {
        for site in &self.hosts {
            let _ = site.once().ok();
        }
    }

    /// One of them does so, and the forge tells the bot that its branch has moved in the ledger repository.
    pub(crate) fn host_runs(&self, which: usize) {
        let host = &self.hosts[which];
        let _ = host.once().ok();
        let name = host.status()["executor"].clone();
        self.has_told(name.as_str().expect("a name"));
    }

    /// The forge tells the bot that an executor's branch has moved in the ledger repository.
    pub(crate) fn has_told(&self, executor: &str) {
        self.hub.tell_of_push(LEDGER, &format!("muster/{executor}"));
    }

    /// Everybody who may sign, by a root of trust on every host.
    pub(crate) fn trust(&self) {
        let key = self.path("signing-key");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-N", "", "-C", "mira", "-t", "ed25519", "-f"]);
        assert!(keygen.arg(&key).status().expect("ssh-keygen").success());
        let spec = format!("mira={}.pub", key.display());
        let (first, others) = self.hosts.split_first().expect("a host");
        let _ = first
            .muster(&["trust", "init", "--operational", &spec])
            .ok();
        let shown = first.muster(&["trust", "show", "--format", "json"]).ok();
        let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
        let digest = shown["sha256"].as_str().expect("a digest");
        let root = first.path("trust/root.toml").display().to_string();
        for site in others {
            let install = ["trust", "install", &root, "--sha256", digest];
            let _ = site.muster(&install).ok();
        }
    }

    /// Pastes what a comment says into a shell in mira's clone, and gives the name of the tag that came of it. There is no terminal at
    /// which she could be asked, so she answers beforehand.
    pub(crate) fn pastes(&mut self, command: &str) -> String {
        let key = self.path("signing-key.pub").display().to_string();
        self.clone.git(&["fetch", "--quiet", "origin"]);
        self.clone.git(&["config", "gpg.format", "ssh"]);
        self.clone.git(&["config", "user.signingkey", &key]);
        let mut shell = hermetic("sh");
        let beside = program().parent().expect("a directory").to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args(["-c", &format!("{command} --yes")])
            .current_dir(&self.clone.dir)
            .env("PATH", format!("{}:{path}", beside.display()))
            .env("HOME", self.path("mira-home"))
            .envs([
                ("GIT_COMMITTER_NAME", "mira"),
                ("GIT_COMMITTER_EMAIL", "mira@example.org"),
            ]);
        let _ = fs::create_dir(self.path("mira-home"));
        let ran = Ran::from(shell.output().expect("a shell")).ok();
        let tag = muster_tests::operator::signed_as(&ran);
        self.score.check(
            &format!("{tag} is not on the forge"),
            !self
                .hub
                .code()
                .git(REPOSITORY, &["tag", "--list", &tag])
                .is_empty(),
        );
        tag
    }

    // ── the bot ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Starts the bot.
    pub(crate) fn bot_comes(&mut self) {
        let dir = self.path("bot");
        let secret = dir.join("webhook-secret");
        write_secret(&secret, b"it is a secret to everybody\n");
        let key = dir.join("app.pem");
        write_secret(&key, &fs::read(self.path("app.pem")).expect("a key"));
        let settings = format!(
            "[state]\nurl = \"{}\"\ndir = \"{}\"\n\
             [fleet]\nroles = [\"bot\"]\nledger = \"{}\"\nhosts = \"{}\"\nname = \"bot-1\"\n\
             [forge]\nkind = \"github\"\nurl = \"http://127.0.0.1:{}\"\nrepository = \"{REPOSITORY}\"\n\
             app = 99\napp_key = \"{}\"\n\
             [http]\nlisten = \"127.0.0.1:{}\"\nwebhook_secret = \"{}\"\n",
            self.url(),
            dir.join("state").display(),
            self.ledgers().display(),
            self.path("hosts").display(),
            self.door,
            key.display(),
            self.bot_port,
            secret.display(),
        );
        let config = dir.join("muster.toml");
        fs::write(&config, settings).expect("settings");
        let mut muster = hermetic(program());
        muster.arg("--config").arg(&config).arg("run");
        let mut bot = Daemon::start(muster, &self.path("bot.log"));
        let port = self.bot_port;
        wait_until("the bot hears webhooks", || {
            assert!(bot.is_running(), "the bot has ended: {}", bot.log());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        self.bot = Some(bot);
        self.hub.forget_bots();
        self.hub.add_bot(Listener {
            port,
            network: None,
        });
    }

    /// It goes, as a service is stopped.
    pub(crate) fn bot_goes(&mut self) {
        if let Some(mut bot) = self.bot.take() {
            self.hub.forget_bots();
            let code = bot.stop();
            self.score
                .check(&format!("the bot ended with {code:?}"), code == Some(0));
        }
    }

    /// It is killed.
    pub(crate) fn bot_is_killed(&mut self) {
        if let Some(mut bot) = self.bot.take() {
            bot.signal(Signal::SIGKILL);
            let _ = bot.ended();
        }
    }

    pub(crate) fn bots_log(&self) -> String {
        fs::read_to_string(self.path("bot.log")).unwrap_or_default()
    }

    /// How many changes the bot has sent so far.
    pub(crate) fn changes(&self) -> usize {
        self.hub
            .heard()
            .iter()
            .filter(|it| it.is_a_change())
            .count()
    }

    /// Has the bot look, twice, so that the first look is over; and again until a look changes nothing.
    pub(crate) fn bot_rests(&self) {
        let looks = |hub: &Hub| {
            let list = "GET /repos/{repository}/pulls";
            hub.heard().iter().filter(|it| it.operation == list).count()
        };
        loop {
            let before = self.changes();
            for _ in 0..2 {
                let seen = looks(&self.hub);
                self.hub.poke();
                self.hub.wait_for("another look of the bot", |hub| {
                    (looks(hub) > seen).then_some(())
                });
            }
            if self.changes() == before {
                return;
            }
        }
    }

    // ── what people see ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Waits until the one comment of the bot on a proposal says this.
    #[track_caller]
    pub(crate) fn reads(&self, number: u64, words: &str) {
        let comment = |hub: &Hub| {
            let all = hub.bots_comments(number);
            all.into_iter().find(|it| it.body.contains(words))
        };
        self.hub.wait_for(
            &format!("a comment on #{number} that says {words:?}"),
            |hub| comment(hub).map(drop),
        );
    }

    /// Ends an act: the bot comes to rest, and what people see of a proposal is what it was when somebody last found it good.
    pub(crate) fn act(&mut self, name: &str, number: u64) {
        self.bot_rests();
        let all = self.hub.bots_comments(number);
        let in_sight: Vec<&Comment> = all.iter().filter(|it| !it.minimised).collect();
        self.score.check(
            &format!("{name}: {} comments of the bot", in_sight.len()),
            in_sight.len() <= 1,
        );
        let comment = in_sight.first().map(|it| (*it).clone());
        let became = match (&self.last, &comment) {
            (_, None) => "none",
            (Some(before), Some(now)) if before.id != now.id => "another one",
            (None, Some(_)) => "a new one",
            (Some(before), Some(now)) if before.body == now.body => "as it was",
            (Some(_), Some(_)) => "changed in place",
        };
        let head = self.hub.head(number);
        let mut text = String::new();
        let mut colours = Vec::new();
        if let Some(status) = self.hub.status(&head) {
            let (state, line) = (word(&status["state"]), word(&status["description"]));
            let _ = writeln!(text, "status   {state}: {line}");
            colours.push((state, format!("muster — {line}")));
        }
        if let Some(check) = self.hub.check(&head) {
            let state = match &check["conclusion"] {
                Value::Null => word(&check["status"]),
                conclusion => word(conclusion),
            };
            let title = word(&check["output"]["title"]);
            let _ = writeln!(text, "check    {state}: {title}");
            let line = format!("muster / checks — {title}");
            let colour = if state == "in_progress" {
                "pending"
            } else {
                &state
            };
            colours.push((colour.to_owned(), line));
            for it in check["remarks"].as_array().into_iter().flatten() {
                let remark = format!(
                    "{}:{}: {}: {}",
                    word(&it["path"]),
                    it["start_line"],
                    word(&it["annotation_level"]),
                    word(&it["message"])
                );
                let _ = writeln!(text, "remark   {remark}");
                colours.push((state.clone(), remark));
            }
        }
        let _ = writeln!(text, "comment  {became}");
        let summary = self
            .hub
            .check(&head)
            .map(|it| word(&it["output"]["summary"]));
        let summary = summary.unwrap_or_default();
        if let Some(comment) = &comment
            && !summary.is_empty()
            && !comment.body.ends_with(&summary)
        {
            let _ = writeln!(text, "text     {}", summary.replace('\n', "\n         "));
        }
        let mut shown = Vec::new();
        if let Some(comment) = &comment {
            let _ = write!(text, "\n{}", comment.body);
            let it = page::show(&comment.body);
            self.score.check(
                &format!("{name}: more than text: {:?}", it.findings),
                it.findings.is_empty(),
            );
            shown.push(it);
        }
        let around = Around {
            title: name,
            colours,
        };
        self.take_picture(name, &page::page(&around, &shown));
        let text = stable(&text.replace(&self.ledgers().display().to_string(), "LEDGER"));
        let same = self.goldens.compare(&format!("{name}.md"), &text);
        self.score
            .check(&same.clone().unwrap_err_or_default(), same.is_ok());
        self.last = comment;
        println!("{name}");
    }

    /// From here on, another proposal is looked at.
    pub(crate) fn forget_comment(&mut self) {
        self.last = None;
    }

    fn take_picture(&self, name: &str, html: &str) {
        let file = self.pictures.join(format!("{name}.html"));
        fs::write(&file, html).expect("a page");
        let Some(browser) = page::browser() else {
            return;
        };
        let file = file.canonicalize().expect("a page");
        if let Err(why) = page::photograph(&browser, &file, &file.with_extension("png")) {
            println!("no picture of {name}: {why}");
        }
    }

    /// What is true at the end of the play, whatever was in it.
    pub(crate) fn end(&mut self) {
        let unclaimed = self.goldens.unclaimed();
        self.score.check(
            &format!("golden files that no act claims: {unclaimed:?}"),
            unclaimed.is_empty(),
        );
        let violations = self.hub.violations();
        self.score.check(
            &format!("requests against the description: {violations:#?}"),
            violations.is_empty(),
        );
        let unjudged = self.hub.never_judged();
        self.score.check(
            &format!("operations that nobody judges: {unjudged:?}"),
            unjudged.is_empty(),
        );
        let delivered = self.hub.delivered();
        let lost: Vec<_> = delivered
            .iter()
            .filter(|it| it.status.is_some_and(|it| it >= 300))
            .collect();
        self.score
            .check(&format!("webhooks refused: {lost:?}"), lost.is_empty());
        let mut used = std::collections::BTreeMap::new();
        for it in self.hub.heard() {
            *used.entry(it.operation).or_insert(0) += 1;
        }
        println!("{} webhooks; what the bot asked for:", delivered.len());
        for (operation, times) in used {
            println!("{times:6}  {operation}");
        }
    }
}

trait UnwrapErr {
    fn unwrap_err_or_default(self) -> String;
}

impl UnwrapErr for Result<(), String> {
    fn unwrap_err_or_default(self) -> String {
        self.err().unwrap_or_default()
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn write_secret(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a secret");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("a port").port()
}
