//! A few bytes for whoever pushes, a lot for whoever reads them (F7, F8): on a branch it is a red report, on the protected branch what
//! is in force stays; the daemon goes on with both, and needs no more memory than it may.

use std::fs;
use std::process::Command;

use muster_tests::site::{ANN, ANN_AND_BOB, Daemon, Site, hermetic, needs, wait_until};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

const MIB: usize = 1 << 20;

fn git(site: &Site, args: &[&str]) -> Command {
    let mut git = hermetic("git");
    git.args(["-c", "safe.directory=*"]).args(args);
    git.current_dir(site.path("origin"));
    git
}

/// Runs git with `stdin`, and gives what it printed.
fn git_with(site: &Site, args: &[&str], stdin: &[u8]) -> String {
    let input = site.path("stdin");
    fs::write(&input, stdin).unwrap();
    let mut git = git(site, args);
    let ran = git.stdin(fs::File::open(&input).unwrap()).output().unwrap();
    assert!(ran.status.success(), "{args:?}: {ran:?}");
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

/// A commit on `parent` in which the roster is this blob.
fn commit_of(site: &Site, parent: &str, blob: &str) -> String {
    let tree = format!("100644 blob {blob}\troster.yaml\n");
    let tree = git_with(site, &["mktree"], tree.as_bytes());
    site.git(&["commit-tree", "-m", "costly", "-p", parent, &tree])
}

/// A number as the beginning of a delta has it.
fn delta_size(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(u8::try_from(number & 127).unwrap() | 128);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// These bytes as zlib has them, not pressed.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap();
    let (mut one, mut two) = (1_u32, 0);
    for byte in bytes {
        one = (one + u32::from(*byte)) % 65_521;
        two = (two + one) % 65_521;
    }
    let mut zlib = vec![0x78, 0x01, 0x01];
    zlib.extend(size.to_le_bytes());
    zlib.extend((!size).to_le_bytes());
    zlib.extend(bytes);
    zlib.extend(((two << 16) | one).to_be_bytes());
    zlib
}

/// The blob of an ordinary roster, which is stored as a change of more zeros than anybody reads.
fn bomb(site: &Site, roster: &str) -> String {
    let zeros = site.path("zeros");
    let size = 300 * MIB;
    let file = fs::File::create(&zeros).unwrap();
    file.set_len(size as u64).unwrap();
    let base = site.git(&["hash-object", "-w", &zeros.display().to_string()]);
    fs::remove_file(zeros).unwrap();
    let blob = git_with(site, &["hash-object", "--stdin"], roster.as_bytes());

    let mut delta = [delta_size(size), delta_size(roster.len())].concat();
    for part in roster.as_bytes().chunks(127) {
        delta.push(u8::try_from(part.len()).unwrap());
        delta.extend(part);
    }
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    // An object of kind 7, a change of the one that is named; four bits of its size, then seven at a time.
    let low = u8::try_from(delta.len() & 15).unwrap();
    pack.push(128 | (7 << 4) | low);
    pack.extend(delta_size(delta.len() >> 4));
    let byte = |at: usize| u8::from_str_radix(&base[at..at + 2], 16).unwrap();
    pack.extend((0..base.len()).step_by(2).map(byte));
    pack.extend(stored(&delta));
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &pack);
    pack.extend(sum.as_ref());
    git_with(site, &["index-pack", "--stdin", "--fix-thin"], &pack);
    let how = "--batch-check=%(deltabase)";
    let question = format!("{blob}\n");
    let stored_as = git_with(site, &["cat-file", how], question.as_bytes());
    assert_eq!(stored_as, base, "it is stored as a change");
    blob
}

/// The blob of a roster of `size` bytes, which begins with `first` and goes on with `rest`.
fn large(site: &Site, first: &str, rest: &str, size: usize) -> String {
    let text = first.to_owned() + &rest.repeat(size / rest.len());
    git_with(site, &["hash-object", "-w", "--stdin"], text.as_bytes())
}

fn note(site: &Site, topic: &str, commit: &str) -> String {
    let name = format!("refs/notes/muster/host/devvm/{topic}");
    let shown = git(site, &["notes", "--ref", &name, "show", commit]).output();
    String::from_utf8_lossy(&shown.unwrap().stdout).into_owned()
}

/// A daemon that is looked at while something is waited for.
struct Watched {
    daemon: Daemon,
    /// The most memory that it or a reader of its had, in bytes, as far as that was seen.
    most: usize,
}

impl Watched {
    fn wait_until(&mut self, what: &str, mut done: impl FnMut() -> bool) {
        wait_until(what, || {
            assert!(self.daemon.is_running(), "{}", self.daemon.log());
            self.look();
            done()
        });
    }

    fn look(&mut self) {
        let id = self.daemon.id().to_string();
        let tasks = fs::read_dir(format!("/proc/{id}/task"));
        let tasks = tasks.into_iter().flatten().filter_map(Result::ok);
        let children = tasks.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
        let children: String = children.collect();
        for id in children.split_whitespace().chain([id.as_str()]) {
            self.most = self.most.max(peak_of(id));
        }
    }

    fn told(&mut self, site: &Site, topic: &str, commit: &str) -> String {
        let mut words = String::new();
        self.wait_until("it is told of", || {
            words = note(site, topic, commit);
            !words.is_empty()
        });
        words
    }
}

/// The most memory that a process had, in bytes; 0 when it is gone.
fn peak_of(id: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|it| it.trim().strip_suffix(" kB"));
    kib.map_or(0, |it| it.parse::<usize>().unwrap() << 10)
}

/// What a daemon makes of a roster that is this blob of `evil`, on a branch and on the protected one; `says` is in the reports. It
/// needs at most `most` bytes.
fn goes_on(says: &str, most: usize, evil: &dyn Fn(&Site) -> String) {
    needs(&["git"]);
    let site = Site::new();
    let ann = site.commit(ANN, "ann");
    let _ = site.settles();
    let blob = evil(&site);
    let daemon = site.daemon();
    let mut daemon = Watched { daemon, most: 0 };
    let on_branch = commit_of(&site, &ann, &blob);
    site.git(&["update-ref", "refs/heads/evil", &on_branch]);
    let report = daemon.told(&site, "plan", &on_branch);
    assert!(report.contains(says), "{report}");
    let bob = site.commit(ANN_AND_BOB, "bob as well");
    daemon.wait_until("bob is here", || site.uid("bob").is_some());

    // Where everybody must go along: what was adopted stays in force, and is enforced.
    let on_main = commit_of(&site, &bob, &blob);
    site.git(&["update-ref", "refs/heads/main", &on_main]);
    let report = daemon.told(&site, "refusal", &on_main);
    assert!(report.contains(says), "{report}");
    let map = site.on_host("etc/ttyd-user-map");
    fs::remove_file(&map).unwrap();
    let _ = site.muster(&["reconcile"]);
    daemon.wait_until("what somebody removed is back", || map.exists());
    let status = site.status();
    assert_eq!(status["in_order"], false, "{status:#}");
    assert_eq!(status["adopted"], bob.as_str(), "{status:#}");
    assert_eq!(status["attempted"]["commit"], on_main.as_str());
    let next = site.commit(ANN_AND_BOB, "as before");
    daemon.wait_until("the next commit is adopted", || {
        site.status()["adopted"] == next.as_str()
    });
    daemon.look();
    assert!(0 < daemon.most && daemon.most <= most, "{}", daemon.most);
    let log = daemon.daemon.log();
    assert_eq!(daemon.daemon.stop(), Some(0), "{log}");
}

#[test]
fn a_roster_that_is_a_change_of_gigabytes() {
    let bob = ANN_AND_BOB.replace("bob.x", "robert.x");
    let says = "is stored as a change of something too large to be read";
    goes_on(says, of_size(0), &|site| bomb(site, &bob));
}

/// A file costs at most eight times its size, beside itself and what it came from; and what any program needs.
fn of_size(size: usize) -> usize {
    10 * size + 100 * MIB
}

#[test]
fn a_roster_with_the_same_person_millions_of_times() {
    let size = 4 * MIB;
    goes_on(
        "the rest of the file was not read",
        of_size(size),
        &|site| large(site, "users:\n", " a: 1\n", size),
    );
}

#[test]
fn a_roster_that_is_one_long_list() {
    let size = 4 * MIB;
    goes_on("unclosed bracket", of_size(size), &|site| {
        large(site, "x: [", "a,", size)
    });
}
