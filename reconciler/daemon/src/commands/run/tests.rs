use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use muster_core::executor::Executor;
use muster_core::time::Time;

use super::*;
use crate::state_dir::Identity;

struct Once(Health);

impl Cycle for Once {
    fn has_moved(&mut self) -> bool {
        false
    }
    fn run(&mut self, _: Why, stop: &dyn Fn() -> bool) -> CycleStatus {
        assert!(!stop());
        CycleStatus {
            health: self.0,
            line: String::new(),
            due_in: None,
        }
    }
    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

const FORGE: &str = "[forge]\nkind = \"github\"\nrepository = \"team/state\"\ntoken = \"t\"\n";

fn common(dir: &Path, more: &str) -> Common {
    let config = dir.join("muster.toml");
    let text = format!(
        "[state]\ndir = \"{}\"\n[host]\nname = \"devvm\"\n{more}",
        dir.join("state").display()
    );
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    Common {
        config,
        verbose: 0,
        log_format: None,
    }
}

fn assert_locked(state: &StateDir) {
    assert!(
        matches!(
            Lock::take(state, Purpose::Run),
            Err(StateError::Held { .. })
        ),
        "a cycle is made only under the lock"
    );
}

/// One cycle of each role that the settings have.
fn once(dir: &Path, more: &str, agent: Health, bot: Health) -> Result<u8, CommandError> {
    let parts = Parts {
        agent: move |_: &Settings, _: &ExecutorSettings, opened: OpenedExecutor| {
            assert_locked(&opened.state);
            assert_eq!(opened.opened.replayed.facts.executor.name(), "devvm");
            Ok(Box::new(Once(agent)) as Box<dyn Cycle>)
        },
        bot: move |settings: &Settings, state: &StateDir, _: Hints| {
            assert_locked(state);
            assert!(settings.forge.is_some());
            Ok(Box::new(Once(bot)) as Box<dyn Cycle>)
        },
    };
    run_with(
        &Args {
            once: true,
            here: Those::default(),
        },
        &common(dir, more),
        parts,
    )
}

fn initialise(state: &StateDir) -> Lock {
    state.make().unwrap();
    let lock = Lock::take(state, Purpose::Other("init")).unwrap();
    let adopt = "a".repeat(40).parse().unwrap();
    state
        .create(
            &lock,
            &Identity::random(&Executor::Host("devvm".to_owned())).unwrap(),
            &adopt,
            Time(1),
        )
        .unwrap();
    lock
}

const CODES: [(Health, u8); 3] = [
    (Health::Well, exit::OK),
    (Health::Failed, exit::FAILED),
    (Health::Broken, exit::STATE),
];

#[test]
fn it_makes_no_state_and_says_how_the_cycle_went() {
    let dir = tempfile::tempdir().unwrap();
    let once = |health| once(dir.path(), "", health, Health::Broken);
    let error = once(Health::Well).unwrap_err();
    assert_eq!(error.exit_code(), exit::CONFIG);
    assert!(!dir.path().join("state").exists());

    let lock = initialise(&StateDir::at(&dir.path().join("state")));
    assert_eq!(once(Health::Well).unwrap_err().exit_code(), exit::BUSY);
    drop(lock);
    for (health, code) in CODES {
        assert_eq!(once(health).unwrap(), code);
    }
}

#[test]
fn a_bot_alone_needs_no_executor_and_a_forge() {
    let dir = tempfile::tempdir().unwrap();
    let alone = "[fleet]\nroles = [\"bot\"]\n";
    let once = |more: &str, health| once(dir.path(), more, Health::Broken, health);
    let error = once(alone, Health::Well).unwrap_err();
    assert_eq!(error.exit_code(), exit::CONFIG);
    assert!(error.help().unwrap().contains("[forge]"));
    assert!(!dir.path().join("state").exists());

    for (health, code) in CODES {
        assert_eq!(once(&format!("{alone}{FORGE}"), health).unwrap(), code);
    }
    let mode = fs::metadata(dir.path().join("state"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o7777, 0o700);
    assert!(
        !StateDir::at(&dir.path().join("state"))
            .identity_file()
            .exists()
    );
}

#[test]
fn both_roles_run_and_the_worse_of_them_counts() {
    let dir = tempfile::tempdir().unwrap();
    drop(initialise(&StateDir::at(&dir.path().join("state"))));
    for (health, code) in CODES {
        assert_eq!(once(dir.path(), FORGE, Health::Well, health).unwrap(), code);
        assert_eq!(once(dir.path(), FORGE, health, Health::Well).unwrap(), code);
    }
    let agent = format!("[fleet]\nroles = [\"agent\"]\n{FORGE}");
    let code = once(dir.path(), &agent, Health::Well, Health::Broken).unwrap();
    assert_eq!(code, exit::OK);
}

/// The server is part of the daemon, so this goes past `--once`.
fn daemon(dir: &Path, secret: &str) -> CommandError {
    let file = dir.join("webhook-secret");
    fs::write(&file, secret).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let http = format!(
        "[fleet]\nroles = [\"bot\"]\n{FORGE}[http]\nlisten = \"127.0.0.1:0\"\nwebhook_secret = \"{}\"\n",
        file.display()
    );
    let parts = Parts {
        agent: |_: &Settings, _: &ExecutorSettings, _: OpenedExecutor| unreachable!("a bot alone"),
        bot: |_: &Settings, _: &StateDir, _: Hints| {
            Ok(Box::new(Once(Health::Well)) as Box<dyn Cycle>)
        },
    };
    run_with(
        &Args {
            once: false,
            here: Those::default(),
        },
        &common(dir, &http),
        parts,
    )
    .unwrap_err()
}

#[test]
fn with_a_forge_and_without_a_secret_for_its_webhook_it_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let error = daemon(dir.path(), "\n");
    assert_eq!(error.exit_code(), exit::CONFIG);
    let said = chain(&error);
    assert!(
        said.contains("webhook-secret") && said.contains("it is empty"),
        "{said}"
    );
}
