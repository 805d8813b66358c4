//! A hypervisor that pretends: as much of Incus as a few guests in memory need, on a socket. `muster demo` starts it as a process of its
//! own, and so do tests of the whole program; it ends with its standard input.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::commands::{CommandError, Output};
use crate::exit;

/// What it says once it listens.
pub(super) const READY: &str = "ready";

/// The guests that it begins with: name, whether it runs, memory.
const GUESTS: [(&str, bool, &str); 4] = [
    ("harbour-db", true, "1GiB"),
    ("harbour-web", false, "512MiB"),
    ("tides-2023", false, "512MiB"),
    ("tides-2024", true, "512MiB"),
];

/// Where it listens.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The socket to make.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
}

type Guests = Arc<Mutex<BTreeMap<String, Value>>>;

/// Answers until nobody holds the other end of standard input any more.
///
/// # Errors
/// When the socket cannot be made.
pub fn run(args: &Args, out: &mut Output) -> Result<u8, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    runtime.block_on(async {
        let listener = UnixListener::bind(&args.socket).map_err(CommandError::Runtime)?;
        out.line(READY)?;
        out.finish()?;
        let end = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
        tokio::select! {
            () = serve(listener) => {}
            _ = end => {}
        }
        Ok(exit::OK)
    })
}

async fn serve(listener: UnixListener) {
    let guests = GUESTS.map(|(name, runs, memory)| (name.to_owned(), guest(name, runs, memory)));
    let guests: Guests = Arc::new(Mutex::new(guests.into_iter().collect()));
    let routes = Router::new().fallback(answer).with_state(guests);
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(routes.clone());
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // Whoever hangs up has heard enough.
        tokio::spawn(async { drop(serving.await) });
    }
}

fn guest(name: &str, runs: bool, memory: &str) -> Value {
    let config = json!({ "limits.cpu": "1", "limits.memory": memory, "volatile.uuid": format!("demo-{name}") });
    let root = json!({ "type": "disk", "path": "/", "pool": "default" });
    let card = json!({ "type": "nic", "network": "incusbr0" });
    json!({
        "name": name,
        "project": "default",
        "location": "none",
        "type": "container",
        "status": word(runs),
        "description": "",
        "config": config,
        "expanded_config": config,
        "expanded_devices": { "root": root, "eth0": card },
    })
}

fn word(runs: bool) -> &'static str {
    if runs { "Running" } else { "Stopped" }
}

async fn answer(
    State(guests): State<Guests>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, String) {
    let mut guests = guests.lock().unwrap_or_else(PoisonError::into_inner);
    let parts: Vec<&str> = uri.path().split('/').filter(|it| !it.is_empty()).collect();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    match answered(&mut guests, &method, &parts, &asked) {
        Some(metadata) => {
            let all = json!({ "type": "sync", "status": "Success", "status_code": 200, "metadata": metadata });
            (StatusCode::OK, all.to_string())
        }
        None => {
            let all = json!({ "type": "error", "error": "Instance not found", "error_code": 404 });
            (StatusCode::NOT_FOUND, all.to_string())
        }
    }
}

/// What is asked for, or was done; `None` where there is no such thing.
fn answered(
    guests: &mut BTreeMap<String, Value>,
    method: &Method,
    parts: &[&str],
    asked: &Value,
) -> Option<Value> {
    match (method.as_str(), parts) {
        ("GET", ["1.0"]) => Some(json!({
            "auth": "trusted",
            "auth_user_method": "unix",
            "auth_user_name": "muster",
            "environment": { "server_version": "6.0.4", "server_name": "lab", "server_clustered": false },
        })),
        ("GET", ["1.0", "instances"]) => Some(guests.values().cloned().collect()),
        ("GET", ["1.0", "instances", name] | ["1.0", "instances", name, "state"]) => {
            guests.get(*name).cloned()
        }
        ("PUT", ["1.0", "instances", name, "state"]) => {
            guests.get_mut(*name)?["status"] = word(asked["action"] == "start").into();
            Some(Value::Null)
        }
        ("PATCH", ["1.0", "instances", name]) => {
            let guest = guests.get_mut(*name)?;
            if let Some(description) = asked.get("description") {
                guest["description"] = description.clone();
            }
            for (key, value) in asked["config"].as_object().into_iter().flatten() {
                guest["config"][key] = value.clone();
                guest["expanded_config"][key] = value.clone();
            }
            Some(Value::Null)
        }
        ("GET", ["1.0", "operations"]) => Some(json!({})),
        ("GET", ["1.0", "storage-pools", _, "volumes"]) => Some(json!([])),
        _ => None,
    }
}

/// A hypervisor that pretends, for as long as this is held.
pub(super) struct Pretended {
    child: std::process::Child,
}

impl Pretended {
    /// Starts one, by the program `exe`, and waits until it listens at `socket`.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) fn start(exe: &Path, socket: &Path) -> io::Result<Self> {
        use std::io::BufRead as _;
        let mut child = std::process::Command::new(exe)
            .args(["pretend-incus", "--socket"])
            .arg(socket)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            io::BufReader::new(stdout).read_line(&mut said)?;
        }
        let pretended = Self { child };
        match said.trim_end() {
            READY => Ok(pretended),
            _ => Err(io::Error::other("it did not begin to listen")),
        }
    }
}

impl Drop for Pretended {
    fn drop(&mut self) {
        // It ends by itself with its input; this is for one that hangs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
