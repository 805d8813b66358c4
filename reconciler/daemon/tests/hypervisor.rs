//! The executor of a hypervisor, as people meet it: the real program, without root, against a hypervisor that pretends and is a process of
//! its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use muster::exit;
use serde_json::Value;

const ROSTER: &str = "users:\n  ann: {authentik_user: ann, k8s_user: ann, tier: power-user}\n";

const GUESTS: &str = "\
guests:
  harbour-db: {run: running, memory: 2GiB, owner: ann}
  harbour-web: {run: running, description: the shop}
  tides-2024: {run: stopped}
";

/// A directory with a state repository, settings that name one hypervisor and no host, and that hypervisor.
struct Bench {
    dir: tempfile::TempDir,
    hypervisor: Child,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.hypervisor.kill();
        let _ = self.hypervisor.wait();
    }
}

impl Bench {
    fn new(guests: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("incus.sock");
        let mut hypervisor = Command::new(env!("CARGO_BIN_EXE_muster"))
            .arg("pretend-incus")
            .arg("--socket")
            .arg(&socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let stdout = hypervisor.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        let bench = Self { dir, hypervisor };
        let settings = format!(
            "[state]\nurl = \"{0}/origin\"\ndir = \"{0}/state\"\n\
             [[guests]]\nname = \"lab\"\nkind = \"incus\"\nurl = \"unix:{0}/incus.sock\"\ndir = \"{0}/state-guests/lab\"\n",
            bench.dir.path().display()
        );
        bench.write("muster.toml", &settings);
        bench.git(&["init", "--quiet", "--initial-branch=main", "."]);
        bench.commit(guests);
        bench
    }

    /// One whose executor has begun.
    fn initialised(guests: &str) -> Self {
        let bench = Self::new(guests);
        says(
            &bench.muster(&["init", "--yes"]),
            exit::OK,
            "Start it: systemctl start muster-guests@lab",
        );
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn commit(&self, guests: &str) {
        self.write("origin/roster.yaml", ROSTER);
        self.write("origin/guests/lab.yaml", guests);
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message=guests"]);
    }

    fn git(&self, args: &[&str]) {
        fs::create_dir_all(self.path("origin")).unwrap();
        let mut git = Command::new("git");
        git.args(args)
            .current_dir(self.path("origin"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "a")
                .env(format!("GIT_{who}_EMAIL"), "a@example.org");
        }
        let output = git.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    fn muster(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(args)
            .arg("--config")
            .arg(self.path("muster.toml"))
            .env_clear()
            .env("COLUMNS", "1000")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.muster(args);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|it| panic!("{it}: {}", said(&output)))
    }
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

/// H1, H5: what the file asks for is planned, done and seen afterwards; a second cycle does nothing, and what has no row is left alone.
#[test]
fn guests_come_to_be_as_their_file_says() {
    let bench = Bench::initialised(GUESTS);
    let plan = bench.muster(&["plan"]);
    for words in ["harbour-db", "harbour-web", "tides-2024"] {
        says(&plan, exit::CHANGES, words);
    }
    assert!(!said(&plan).contains("tides-2023"), "{}", said(&plan));
    let ran = bench.muster(&["run", "--once"]);
    for words in [
        "done       start guest harbour-web",
        "done       set the memory of harbour-db from 1GiB to 2GiB",
        "done       describe guest harbour-web as the shop",
        "done       shut down guest tides-2024",
    ] {
        says(&ran, exit::OK, words);
    }
    says(&bench.muster(&["plan"]), exit::OK, "");
    says(&bench.muster(&["run", "--once"]), exit::OK, "no change at");
    says(&bench.muster(&["history"]), exit::OK, "harbour-web");
    // No host came to be beside it.
    assert!(!bench.path("state").exists());
}

/// Every command takes it by its name, and it has a standing of its own.
#[test]
fn commands_speak_of_it_by_its_name() {
    let bench = Bench::initialised(GUESTS);
    says(
        &bench.muster(&["run", "--once", "--executor", "guests/lab"]),
        exit::OK,
        "done",
    );
    says(
        &bench.muster(&["run", "--once", "--executor", "host/devvm"]),
        exit::USAGE,
        "this machine keeps guests/lab",
    );
    let status = bench.muster(&["status", "--executor", "guests/lab"]);
    says(&status, exit::OK, "executor  guests/lab");
    says(
        &status,
        exit::OK,
        "guests    0 made here, 0 set aside, 0 open tasks",
    );
    let status = bench.json(&["status", "--format", "json"]);
    assert_eq!(status["executor"], "guests/lab");
    assert!(status["guests"].is_object());
    says(&bench.muster(&["pending"]), exit::OK, "");
    says(
        &bench.muster(&["suspend", "--reason", "work on the pool"]),
        exit::OK,
        "",
    );
    bench.commit(&GUESTS.replace("tides-2024: {run: stopped}", "tides-2024: {run: running}"));
    says(&bench.muster(&["run", "--once"]), exit::OK, "suspended");
    says(&bench.muster(&["resume"]), exit::OK, "");
    says(
        &bench.muster(&["run", "--once"]),
        exit::OK,
        "done       start guest tides-2024",
    );
}

/// GB7: what is imported asks for nothing.
#[test]
fn what_is_imported_plans_no_step() {
    let bench = Bench::new("guests: {}\n");
    let imported = bench.muster(&["import", "guests"]);
    says(&imported, exit::OK, "tides-2024");
    let text = String::from_utf8(imported.stdout).unwrap();
    for other in [
        &["import", "guests", "lab"][..],
        &["import", "guests", "guests/lab"],
    ] {
        assert_eq!(said(&bench.muster(other)), text);
    }
    says(
        &bench.muster(&["import", "guests", "air"]),
        exit::USAGE,
        "this machine keeps guests/lab",
    );
    bench.commit(&text);
    says(&bench.muster(&["init", "--yes"]), exit::OK, "");
    let plan = bench.muster(&["plan"]);
    says(&plan, exit::OK, "");
    // And it was not empty: what is changed in it is planned.
    bench.commit(&text.replacen("run: running", "run: stopped", 1));
    assert_eq!(
        bench.muster(&["plan"]).status.code(),
        Some(i32::from(exit::CHANGES))
    );
}

/// GB7: an import that fails writes nothing, and the file that a shell makes of that is told of wherever it is read.
#[test]
fn an_import_that_fails_leaves_nothing_that_passes_for_a_file() {
    let mut bench = Bench::new("guests: {}\n");
    bench.hypervisor.kill().unwrap();
    bench.hypervisor.wait().unwrap();
    let imported = bench.muster(&["import", "guests"]);
    says(&imported, exit::FAILED, "error:");
    assert_eq!(imported.stdout, b"");
    bench.commit("");
    let origin = bench.path("origin");
    let check = || {
        let mut check = Command::new(env!("CARGO_BIN_EXE_muster"));
        check.arg("check").arg(&origin).output().unwrap()
    };
    let told = check();
    says(&told, exit::OK, "guests/lab.yaml");
    says(&told, exit::OK, "the file says nothing");
    says(&told, exit::OK, "1 warning");
    bench.commit("guests: {}\n");
    assert!(!said(&check()).contains("warning"));
}

/// H3, F33: an executor begins with no commit that it would refuse to adopt, and what is wrong is shown; what others read is no matter
/// of its own.
#[test]
fn an_executor_begins_with_no_commit_that_it_would_refuse() {
    for (guests, wrong) in [
        ("guests: {harbour-db: {run: perhaps}}\n", "run"),
        ("guests: [\n", "guests/lab.yaml"),
        ("guests: {harbour-db: {}, harbour-db: {}}\n", "harbour-db"),
    ] {
        let bench = Bench::new(guests);
        for init in [&["init", "--yes"][..], &["init"]] {
            let init = bench.muster(init);
            says(&init, exit::FAILED, "is not valid (");
            says(&init, exit::FAILED, "guests/lab.yaml:1:");
            says(&init, exit::FAILED, wrong);
        }
        assert!(!bench.path("state-guests").exists(), "nothing was made");
        bench.commit(GUESTS);
        bench.write("origin/guests/other.yaml", guests);
        bench.git(&["add", "."]);
        bench.git(&["commit", "--quiet", "--message=of others"]);
        says(
            &bench.muster(&["init", "--yes"]),
            exit::OK,
            "valid, 1 people",
        );
    }
}

/// GB9, H9: doctor asks the hypervisor, and says that no wall stands behind a socket.
#[test]
fn doctor_asks_the_hypervisor() {
    let bench = Bench::initialised(GUESTS);
    let doctor = bench.muster(&["doctor", "guests/lab"]);
    let text = said(&doctor);
    assert!(
        text.contains("guests/lab") && text.contains("6.0.4"),
        "{text}"
    );
    says(
        &bench.muster(&["doctor", "guests/air"]),
        exit::USAGE,
        "guests/air is not here",
    );
    let offline = bench.muster(&["doctor", "guests/lab", "--offline"]);
    assert!(
        said(&offline).contains("it was not asked"),
        "{}",
        said(&offline)
    );
}

/// A hypervisor that is gone is told of, costs no guest anything, and is no end of the program.
#[test]
fn a_hypervisor_that_is_gone_is_told_and_nothing_is_planned() {
    let mut bench = Bench::initialised(GUESTS);
    bench.hypervisor.kill().unwrap();
    bench.hypervisor.wait().unwrap();
    let plan = bench.muster(&["plan"]);
    assert_eq!(
        plan.status.code(),
        Some(i32::from(exit::FAILED)),
        "{}",
        said(&plan)
    );
    let ran = bench.muster(&["run", "--once"]);
    assert_eq!(
        ran.status.code(),
        Some(i32::from(exit::FAILED)),
        "{}",
        said(&ran)
    );
    let doctor = bench.muster(&["doctor", "guests/lab"]);
    says(&doctor, exit::FAILED, "bad");
    // Nothing is said to wait or not to wait where nobody can know it.
    let pending = bench.muster(&["pending"]);
    says(&pending, exit::OK, "is not known in full: not read since");
    assert!(
        !said(&pending).contains("nothing waits"),
        "{}",
        said(&pending)
    );
    let status = bench.muster(&["status"]);
    says(&status, exit::FAILED, "waits     not known");
}

/// H6, H9: the end of a guest waits, with what would go and the reason; nothing in the repository makes it benign.
#[test]
fn the_end_of_a_guest_waits() {
    let bench = Bench::initialised("guests:\n  tides-2023: {destroy: true}\n");
    says(&bench.muster(&["run", "--once"]), exit::OK, "");
    let pending = bench.muster(&["pending"]);
    says(&pending, exit::OK, "tides-2023");
    // GB8: for programs, too.
    let told = bench.json(&["pending", "--format", "json"]);
    let held = &told["executors"][0]["held"][0];
    assert_eq!(held["verb"], "guest.destroy");
    let volumes = held["destroys"]["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 1, "{held}");
    assert!(
        volumes[0]["id"].as_str().unwrap().ends_with("/tides-2023"),
        "{held}"
    );
    assert!(volumes[0]["storage"].is_string(), "{held}");
    let id = held["id"].as_str().unwrap();
    let explained = bench.json(&["explain", id, "--format", "json"]);
    assert_eq!(explained["held"]["destroys"], held["destroys"]);
    let status = bench.muster(&["status"]);
    assert!(
        said(&status).contains("waits     1 step"),
        "{}",
        said(&status)
    );
    says(
        &bench.muster(&["restore", "guests/lab/tides-2023"]),
        exit::OK,
        "nothing is to be restored",
    );
    says(
        &bench.muster(&["restore", "host/lab/tides-2023"]),
        exit::USAGE,
        "a guest is named like guests/pve1/104",
    );
}

/// A machine that was a host does not cease to be one by the first hypervisor in its settings.
#[test]
fn a_host_is_not_forgotten_because_of_a_hypervisor() {
    let bench = Bench::new(GUESTS);
    let both = fs::read_to_string(bench.path("muster.toml")).unwrap();
    bench.write("muster.toml", &format!("[host]\nname = \"devvm\"\n{both}"));
    let init = ["init", "--yes", "--executor", "host/devvm"];
    says(&bench.muster(&init), exit::OK, "host/devvm");
    bench.write("muster.toml", &both);
    let ran = bench.muster(&["run", "--once"]);
    says(
        &ran,
        exit::CONFIG,
        "set [host] name = \"devvm\" to keep both",
    );
    // Whoever names one means it.
    says(&bench.muster(&["init", "--yes"]), exit::OK, "guests/lab");
    says(
        &bench.muster(&["run", "--once", "--executor", "guests/lab"]),
        exit::OK,
        "done",
    );
}

/// An upstream that is wrong is an error with its place, for this executor alone.
#[test]
fn a_mistake_in_the_file_has_its_place() {
    let bench = Bench::initialised(GUESTS);
    bench.commit("guests:\n  web: {run: sometimes}\n");
    says(&bench.muster(&["plan"]), exit::FAILED, "guests/lab.yaml:2:");
    let check = bench.muster(&["check", bench.path("origin").to_str().unwrap()]);
    says(&check, exit::FAILED, "guests/lab.yaml:2:");
}
