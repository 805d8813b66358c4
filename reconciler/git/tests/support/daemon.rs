//! A real `git daemon` on the loopback.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use muster_git::Origin;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Scene, command, newest_git};

pub struct Daemon {
    pub child: Child,
    pub url: String,
}

impl Daemon {
    /// Serves the scene's repositories. The port is free when it is asked for; a daemon that does not get it ends, and
    /// another port is tried.
    pub fn start(scene: &Scene) -> Daemon {
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let mut child = command(newest_git(), scene.dir.path())
                .args([
                    "-c",
                    "safe.directory=*",
                    "daemon",
                    "--export-all",
                    "--enable=receive-pack",
                    "--listen=127.0.0.1",
                    "--reuseaddr",
                ])
                .args([
                    format!("--port={port}"),
                    format!("--base-path={}", scene.dir.path().display()),
                ])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Daemon {
                        child,
                        url: format!("git://127.0.0.1:{port}/origin"),
                    };
                }
                std::thread::yield_now();
            }
            drop(Daemon {
                child,
                url: String::new(),
            });
        }
        panic!("no git daemon");
    }

    pub fn origin(&self) -> Origin {
        Origin::parse(&self.url).unwrap()
    }

    /// Another repository of the scene.
    pub fn serving(&self, name: &str) -> Origin {
        let (base, _) = self.url.rsplit_once('/').unwrap();
        Origin::parse(&format!("{base}/{name}")).unwrap()
    }

    /// Nobody answers from here on.
    pub fn stop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // git-daemon runs below git: the whole group is told.
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
