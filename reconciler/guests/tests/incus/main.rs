//! The client of Incus against a real one with real containers. `tests/guests/incus` installs it, starts one of its own and runs these.

#[path = "../../../../tests/guests/relay.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod relay;

#[path = "../../../../tests/guests/site.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod site;

mod client;
mod world;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use muster_guests::api::{GuestApi, Kind, Place, Progress, Result, Task};
use muster_guests::incus::{Entrance, Incus};
use muster_guests::wire::Limits;

/// Where the daemon's socket is.
fn socket() -> PathBuf {
    std::env::var_os("MUSTER_INCUS_SOCKET")
        .expect("MUSTER_INCUS_SOCKET names the socket; tests/guests/incus sets it")
        .into()
}

/// Incus' own command, for what an administrator would do beside us.
fn incus(arguments: &[&str]) -> String {
    let output = Command::new("incus").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "incus {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A container that is gone at the end of its test, however that ends.
struct Container {
    name: String,
    project: &'static str,
}

impl Container {
    /// One out of the small image, which stands still.
    fn new(name: &str) -> Self {
        incus(&["init", "--quiet", "tiny", name]);
        Self::named(name, "default")
    }

    /// One that a test makes.
    fn named(name: &str, project: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            project,
        }
    }

    fn place(&self) -> Place {
        Place {
            id: self.name.clone(),
            kind: Kind::Container,
            node: String::new(),
            project: self.project.to_owned(),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let project = self.project;
        let _ = Command::new("incus")
            .args([
                "config",
                "set",
                "--project",
                project,
                &self.name,
                "security.protection.delete=false",
            ])
            .output();
        let _ = Command::new("incus")
            .args(["delete", "--force", "--project", project, &self.name])
            .output();
    }
}

fn limits() -> Limits {
    Limits {
        total: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// A client by the daemon's socket, or by a relay's.
fn open(socket: &Path, backups: &Path) -> Incus {
    let address = format!("unix:{}", socket.display());
    let entrance = Entrance {
        address: &address,
        project: "default",
        scratch: Some("scratch"),
        trust: None,
        client: None,
        backups: backups.to_owned(),
    };
    Incus::new(entrance, limits()).unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Waits for what was begun; it must end well.
fn finish(api: &Incus, begun: Result<Option<Task>>) {
    if let Some(task) = begun.unwrap() {
        let progress = block_on(api.wait(&task, Duration::from_secs(60))).unwrap();
        assert_eq!(progress, Progress::Done(None));
    }
}
