//! The process that reads git: what strangers push, and what owners of a repository put there, is its trouble alone.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use muster_tests::site::{ANN, ANN_AND_BOB, Site, hermetic, needs, program, wait_until};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const OWNER: u32 = 54_321;

/// Gives everything below a path to somebody who is not root.
fn give(path: &Path) {
    lchown(path, Some(OWNER), Some(OWNER)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// A commit whose roster is larger than anything that is read, and a few bytes for a push.
fn huge(site: &Site, parent: &str) -> String {
    let zeros = site.path("zeros");
    let file = fs::File::create(&zeros).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    let blob = site.git(&["hash-object", "-w", &zeros.display().to_string()]);
    let list = site.path("list");
    fs::write(&list, format!("100644 blob {blob}\troster.yaml\n")).unwrap();
    let tree = hermetic("git")
        .args(["-c", "safe.directory=*", "mktree"])
        .current_dir(site.path("origin"))
        .stdin(fs::File::open(&list).unwrap())
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    site.git(&["commit-tree", "-m", "huge", "-p", parent, tree.trim()])
}

#[test]
fn what_is_too_large_is_refused_with_a_report_and_keeps_nothing_else_waiting() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN, "ann");
    let _ = site.settles();
    let good = site.commit(ANN_AND_BOB, "bob as well");
    let evil = huge(&site, &good);
    site.git(&["update-ref", "refs/heads/evil", &evil]);
    let ran = site.settles();
    assert!(site.uid("bob").is_some(), "{}", ran.said());
    let plan = "refs/notes/muster/host/devvm/plan";
    let told = site.git(&["notes", "--ref", plan, "show", &evil]);
    assert!(told.contains("more than the limit"), "{told}");

    // The same where everybody must go along: what was adopted stays in force, and the next commit is.
    let main = site.git(&["rev-parse", "HEAD"]);
    let evil = huge(&site, &main);
    site.git(&["update-ref", "refs/heads/main", &evil]);
    fs::remove_file(site.on_host("etc/ttyd-user-map")).unwrap();
    let ran = site.once();
    assert!(site.on_host("etc/ttyd-user-map").exists(), "{}", ran.said());
    let status = site.status();
    assert_eq!(status["adopted"], main.as_str(), "{status:#}");
    assert_eq!(status["attempted"]["commit"], evil.as_str(), "{status:#}");
    let refusal = "refs/notes/muster/host/devvm/refusal";
    let told = site.git(&["notes", "--ref", refusal, "show", &evil]);
    assert!(told.contains("more than the limit"), "{told}");
    site.git(&["reset", "--quiet", "--soft", &evil]);
    site.git(&["read-tree", &main]);
    site.commit(ANN_AND_BOB, "as before");
    let _ = site.settles();
}

/// Serves the site's repositories over the network, as `git daemon` does; while there is a list, connections are kept in it, and
/// nothing is said.
fn serve_or_keep(site: &Site, kept: Arc<Mutex<Option<Vec<TcpStream>>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let base = site.path("");
    thread::spawn(move || {
        for connection in listener.incoming() {
            let connection = connection.unwrap();
            if let Some(kept) = &mut *kept.lock().unwrap() {
                kept.push(connection);
                continue;
            }
            let connection = OwnedFd::from(connection);
            let served = hermetic("git")
                .args(["-c", "safe.directory=*", "daemon", "--inetd"])
                .args(["--export-all", &format!("--base-path={}", base.display())])
                .stdin(connection.try_clone().unwrap())
                .stdout(connection)
                .spawn();
            thread::spawn(move || served.unwrap().wait());
        }
    });
    port
}

#[test]
fn whoever_decides_at_the_console_does_not_wait_for_an_origin_that_says_nothing() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN, "ann");
    let _ = site.settles();
    let kept = Arc::new(Mutex::new(None));
    let port = serve_or_keep(&site, kept.clone());
    let local = format!("url = \"{}\"", site.path("origin").display());
    site.change_settings(&local, &format!("url = \"git://127.0.0.1:{port}/origin\""));
    let mut daemon = site.daemon();
    site.commit(ANN_AND_BOB, "bob as well");
    wait_until("bob is there", || site.uid("bob").is_some());
    *kept.lock().unwrap() = Some(Vec::new());
    wait_until("it waits for the origin", || {
        kept.lock()
            .unwrap()
            .as_ref()
            .is_some_and(|it| !it.is_empty())
    });
    // A console waits for ten seconds; an answer that never comes would be waited for a minute.
    let ran = site
        .muster(&["suspend", "--reason", "the network is mended"])
        .ok();
    assert!(!ran.said().contains("not answered yet"), "{}", ran.said());
    assert_eq!(
        site.status()["suspended"]["reason"],
        "the network is mended"
    );
    let ran = site.muster(&["resume"]).ok();
    assert!(!ran.said().contains("not answered yet"), "{}", ran.said());
    // The origin that was waited for meanwhile is heard of as soon as it answers.
    *kept.lock().unwrap() = None;
    site.commit(ANN, "bob goes");
    wait_until("bob is cut off", || {
        site.status()["adopted"] == site.git(&["rev-parse", "HEAD"]).as_str()
    });
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
}

#[test]
fn what_the_owner_of_the_origin_may_not_read_is_not_read_for_them() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN, "ann");
    let _ = site.settles();
    // An object that only root may read, in a directory that the origin's fan-out leads to.
    let bob = site.commit(ANN_AND_BOB, "bob as well");
    let blob = site.git(&["rev-parse", "HEAD:roster.yaml"]);
    let fan_out = site.path("origin/.git/objects").join(&blob[..2]);
    let private = site.path("private");
    fs::create_dir(&private).unwrap();
    fs::rename(&fan_out, private.join("ob")).unwrap();
    std::os::unix::fs::symlink(private.join("ob"), &fan_out).unwrap();
    give(&site.path("origin"));
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let ran = site.once();
    assert!(site.uid("bob").is_none(), "{}", ran.said());
    // Nothing is left there that the owner could not have made.
    let of_root = every_file(&site.path("origin"), &|meta| meta.uid() != OWNER);
    assert_eq!(of_root, Vec::<String>::new());
    // Where the owner may go, the link leads on.
    fs::set_permissions(&private, fs::Permissions::from_mode(0o755)).unwrap();
    give(&private);
    let ran = site.settles();
    assert!(site.uid("bob").is_some(), "{}", ran.said());
    assert_eq!(site.status()["adopted"], bob.as_str());
}

fn every_file(dir: &Path, which: &dyn Fn(&fs::Metadata) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        if which(&meta) {
            found.push(path.display().to_string());
        }
        if meta.is_dir() {
            found.extend(every_file(&path, which));
        }
    }
    found
}

#[test]
fn a_pipe_in_the_origin_stops_neither_enforcing_nor_the_daemon() {
    needs(&["git"]);
    for below in ["info/alternates", "pack/pack-1.pack"] {
        let site = Site::new();
        site.commit(ANN_AND_BOB, "ann and bob");
        let _ = site.settles();
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o644);
        let pipe = site.path("origin/.git/objects").join(below);
        nix::unistd::mkfifo(&pipe, mode).unwrap();
        // Something moves: git itself would wait for ever.
        let refs = site.path("origin/.git/refs/heads");
        fs::copy(refs.join("main"), refs.join("other")).unwrap();
        give(&site.path("origin"));
        let map = site.on_host("etc/ttyd-user-map");
        fs::remove_file(&map).unwrap();
        let mut daemon = site.daemon();
        wait_until("what somebody removed is back", || map.exists());
        assert_eq!(daemon.stop(), Some(0), "{below}: {}", daemon.log());
        fs::remove_file(&pipe).unwrap();
        let _ = site.settles();
    }
}

/// A process that ends with its whole group.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn serve(site: &Site) -> (Group, u16) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let server = Command::new("git")
        .args(["-c", "safe.directory=*", "daemon", "--export-all"])
        .args(["--reuseaddr", "--listen=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--base-path={}", site.path("").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let server = Group(server);
    wait_until("git answers", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    (server, port)
}

/// What `muster-reader.socket` and `muster-reader.service` are.
fn reader(site: &Site, socket: &Path) -> Group {
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    let mut command = hermetic(program());
    command.args(["reader", "--listen", "--dir"]);
    command.arg(site.path("kept"));
    command.env("MIMALLOC_ARENA_EAGER_COMMIT", "0");
    command.stdin(OwnedFd::from(listener)).process_group(0);
    Group(command.spawn().unwrap())
}

#[test]
fn a_service_reads_what_is_elsewhere_and_the_host_goes_on_without_it() {
    needs(&["git"]);
    let site = Site::new();
    let (_server, port) = serve(&site);
    let socket = site.path("reader.socket");
    let local = format!("url = \"{}\"", site.path("origin").display());
    let there = format!(
        "url = \"git://127.0.0.1:{port}/origin\"\nreader = \"{}\"",
        socket.display()
    );
    site.change_settings(&local, &there);
    let service = reader(&site, &socket);
    site.commit(ANN_AND_BOB, "ann and bob");
    let ran = site.settles();
    assert!(site.uid("bob").is_some(), "{}", ran.said());
    let status = site.status();
    assert_eq!(status["reads"]["who"], "service");
    assert!(status["reads"]["mirror_bytes"].as_u64().unwrap() > 0);
    let reads = |dir: &str| every_file(&site.path(dir), &|meta| meta.is_file());
    assert!(reads("kept").iter().any(|name| name.ends_with(".pack")));
    assert!(
        !reads("state/state.git")
            .iter()
            .any(|name| name.ends_with(".pack"))
    );

    // It dies; nothing else stops, and it is found again.
    drop(service);
    let next = site.commit(ANN, "without bob");
    fs::remove_file(site.on_host("etc/ttyd-user-map")).unwrap();
    let ran = site.once();
    assert!(site.on_host("etc/ttyd-user-map").exists(), "{}", ran.said());
    assert!(ran.err.contains("muster-reader.socket"), "{}", ran.said());
    let _service = reader(&site, &socket);
    let _ = site.once();
    assert_eq!(site.status()["adopted"], next.as_str());
    site.is_still().unwrap();
}

/// Reads one message between one who asks and a reader; `None` where the connection ends.
fn message(from: &mut UnixStream) -> Option<Vec<u8>> {
    let mut whole = vec![0; 4];
    from.read_exact(&mut whole).ok()?;
    let count = u32::from_le_bytes([whole[0], whole[1], whole[2], whole[3]]);
    let mut left = 0;
    for _ in 0..count {
        let mut size = [0; 8];
        from.read_exact(&mut size).ok()?;
        left += u64::from_le_bytes(size);
        whole.extend(size);
    }
    let read = from.take(left).read_to_end(&mut whole).ok()?;
    (read as u64 == left).then_some(whole)
}

/// Passes everything on between whoever asks at `socket` and the reader at `behind`, which seems to die of it when it is asked for
/// an object while `dies` says so.
fn dying(socket: &Path, behind: &Path, dies: &Arc<AtomicBool>) {
    let listener = UnixListener::bind(socket).unwrap();
    let (behind, dies) = (behind.to_owned(), Arc::clone(dies));
    thread::spawn(move || {
        for asker in listener.incoming() {
            let (mut asker, mut reader) = (asker.unwrap(), UnixStream::connect(&behind).unwrap());
            while let Some(asked) = message(&mut asker) {
                let object = asked.windows(6).any(|it| it == b"object");
                if object && dies.load(Ordering::Relaxed) {
                    break;
                }
                reader.write_all(&asked).unwrap();
                let answer = message(&mut reader).unwrap();
                asker.write_all(&answer).unwrap();
            }
        }
    });
}

#[test]
fn one_that_dies_of_the_protected_branch_says_nothing_of_it() {
    needs(&["git"]);
    let site = Site::new();
    let (_server, port) = serve(&site);
    let (behind, socket) = (site.path("behind.socket"), site.path("reader.socket"));
    let local = format!("url = \"{}\"", site.path("origin").display());
    let there = format!(
        "url = \"git://127.0.0.1:{port}/origin\"\nreader = \"{}\"",
        socket.display()
    );
    site.change_settings(&local, &there);
    let _service = reader(&site, &behind);
    let dies = Arc::new(AtomicBool::new(false));
    dying(&socket, &behind, &dies);
    let ann = site.commit(ANN, "ann");
    let _ = site.settles();

    dies.store(true, Ordering::Relaxed);
    let bob = site.commit(ANN_AND_BOB, "bob as well");
    fs::remove_file(site.on_host("etc/ttyd-user-map")).unwrap();
    let ran = site.once();
    // What is in force stays, and is enforced; and what nobody could read is not called bad.
    assert!(site.on_host("etc/ttyd-user-map").exists(), "{}", ran.said());
    assert!(ran.err.contains("gave no answer"), "{}", ran.said());
    let status = site.status();
    assert_eq!(status["adopted"], ann.as_str(), "{status:#}");
    assert_eq!(status["attempted"], serde_json::Value::Null, "{status:#}");

    dies.store(false, Ordering::Relaxed);
    let ran = site.settles();
    assert!(site.uid("bob").is_some(), "{}", ran.said());
    assert_eq!(site.status()["adopted"], bob.as_str());
}
