//! The end of an account, by a signed release, on a real root directory: killed and failing at the system calls that change
//! something, with an adversary between the signature and the act, and with more daemons and tags than anybody needs.
//!
//! `MUSTER_EVERY_CALL=1` kills and fails at every call; without it, at every seventh, other ones for each fault.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use muster_core::release::root::TrustRoot;
use muster_core::release::statement::Statement;
use muster_tests::signer::{self, Signer, now, planned};
use muster_tests::site::{
    ANN, ANN_AND_BOB, Daemon, Fault, Point, Ran, Site, differences, for_each_in_parallel, needs,
    wait_until,
};

/// How many runs were really killed.
static KILLED: AtomicUsize = AtomicUsize::new(0);

/// Every n-th call, unless the environment asks for all.
const STRIDE: usize = 7;

/// Bob has lived there, was cut, and opal may sign. Every cycle tries again what failed.
fn gone() -> Site {
    let site = Site::bare("retry_after = \"0s\"\n");
    let root: TrustRoot = signer::root(1, &["opal", "olga"]);
    fs::create_dir(site.path("trust")).expect("a directory");
    fs::write(site.path("trust/root.toml"), root.render()).expect("a root");
    site.init();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.live_in("bob");
    site.commit(ANN, "bob leaves");
    let _ = site.settles();
    site
}

/// What opal signs: the removal that is planned on this site, just now.
fn statement(site: &Site) -> Statement {
    Statement {
        reason: "bob left".into(),
        ..planned(site, &[("user.archive_delete", "bob")], 7)
    }
}

/// Puts a tag object into the origin, under a name.
fn push(site: &Site, name: &str, raw: &[u8]) {
    fs::write(site.path("tag"), raw).expect("a tag");
    let file = site.path("tag").display().to_string();
    let id = site.git(&["hash-object", "-t", "tag", "-w", "--literally", &file]);
    site.git(&["update-ref", &format!("refs/tags/{name}"), &id]);
}

/// Opal signs the removal and pushes the tag, whose name is given back.
fn release(site: &Site) -> String {
    let (name, raw) = Signer::named("opal").release(&statement(site));
    push(site, &name, &raw);
    name
}

/// The archives in the store, each of which must be whole.
fn archives(site: &Site) -> Result<usize, String> {
    let mut whole = 0;
    for entry in fs::read_dir(site.path("state/archives"))
        .into_iter()
        .flatten()
    {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".zst") && !name.starts_with('.') {
            let ran = site.muster(&["archive", "verify", &path.display().to_string()]);
            if !ran.is_ok() {
                return Err(format!("{}: {}", path.display(), ran.said()));
            }
            whole += 1;
        }
    }
    Ok(whole)
}

/// Where bob's thesis is: at home, in quarantine.
fn homes(site: &Site) -> (bool, bool) {
    let whole = |home: &Path| {
        fs::read_to_string(home.join("work/thesis")).is_ok_and(|it| it == "all of it\n")
            && home.join(".profile").is_file()
            && home.join(".config/a/b").is_file()
    };
    let shelves = fs::read_dir(site.on_host("home/.muster-quarantine"));
    let aside = shelves
        .into_iter()
        .flatten()
        .flatten()
        .any(|it| whole(&it.path().join("home")));
    (whole(&site.on_host("home/bob")), aside)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Done,
    NotBegun,
    NeedsOperator,
}

/// How it ended, which must be one of three, with every file in a place where it is found.
fn end_of(site: &Site) -> Result<End, String> {
    let (home, aside) = homes(site);
    let whole = archives(site)?;
    let account = site.uid("bob").is_some();
    let named = |file: &str| {
        site.text_on_host(file)
            .lines()
            .any(|it| it.starts_with("bob:"))
    };
    let databases = [
        "etc/passwd",
        "etc/shadow",
        "etc/group",
        "etc/gshadow",
        "etc/subuid",
        "etc/subgid",
    ];
    let in_all = databases.iter().filter(|it| named(it)).count();
    match (home, aside, account) {
        (false, true, false) if whole == 1 && in_all == 0 => Ok(End::Done),
        (true, false, true) if in_all == databases.len() => Ok(End::NotBegun),
        (home, aside, _) => {
            let status = site.status();
            let asked = status["needs_operator"]
                .as_object()
                .is_some_and(|it| !it.is_empty());
            if asked && (home || aside) {
                return Ok(End::NeedsOperator);
            }
            Err(format!(
                "at home {home}, in quarantine {aside}, account {account} in {in_all} files, {whole} archives: {status:#}"
            ))
        }
    }
}

/// A fault at one call of the cycle that removes bob, and ordinary runs after it.
fn faulted(
    before: &Site,
    fault: Fault,
    at: Point,
    expected: &BTreeMap<String, String>,
) -> Result<End, String> {
    let site = before.copy();
    release(&site);
    let ran = site.once_with(fault, at);
    if ran.signal == Some(9) {
        KILLED.fetch_add(1, Ordering::Relaxed);
    }
    recovered(&site, fault, &[at], &ran, expected)
}

/// Ordinary runs after faults, until nothing is left to do, and how it ended then.
fn recovered(
    site: &Site,
    fault: Fault,
    at: &[Point],
    ran: &Ran,
    expected: &BTreeMap<String, String>,
) -> Result<End, String> {
    let mut last = None;
    for _ in 0..5 {
        let again = site.once();
        let quiet = again.is_ok() && again.out.contains("no change");
        last = Some(again);
        if quiet {
            break;
        }
    }
    let last = last.expect("a run");
    let said = format!("{fault:?} {at:?}: {}\nthen: {}", ran.said(), last.said());
    if !last.is_ok() || !last.out.contains("no change") {
        return Err(format!("does not come to rest: {said}"));
    }
    let end = end_of(site).map_err(|why| format!("{why}\n{said}"))?;
    let status = site.status();
    if status["in_doubt"] != 0 {
        return Err(format!("in doubt: {status:#}\n{said}"));
    }
    if end == End::Done {
        let different = differences(expected, &site.host());
        if !different.is_empty() {
            return Err(format!("not as undisturbed: {different}\n{said}"));
        }
    }
    let unfinished = fs::read_dir(site.path("state/archives"))
        .into_iter()
        .flatten()
        .flatten()
        .find(|it| it.file_name().to_string_lossy().starts_with(".new."));
    if let Some(left) = unfinished
        && !at.iter().any(|it| it.call.starts_with("unlink"))
    {
        return Err(format!("{:?} is left behind\n{said}", left.path()));
    }
    // Nothing that only a broken disk explains is left to whoever looks later.
    if matches!(fault, Fault::Kill) && end != End::Done {
        return Err(format!("a kill alone stops no release: {end:?}\n{said}"));
    }
    Ok(end)
}

fn with_each(faults: &[Fault]) {
    needs(&["strace", "git"]);
    let before = gone();
    let undisturbed = before.copy();
    release(&undisturbed);
    let points = undisturbed.points_of_a_cycle();
    let _ = undisturbed.settles();
    assert_eq!(end_of(&undisturbed), Ok(End::Done));
    let expected = undisturbed.host();
    assert!(points.len() > 150, "so few: {points:?}");
    let stride = if std::env::var_os("MUSTER_EVERY_CALL").is_some() {
        1
    } else {
        STRIDE
    };
    let cases: Vec<(Fault, Point)> = faults
        .iter()
        .enumerate()
        .flat_map(|(at, fault)| {
            let some = points.iter().skip(at * 2 % stride).step_by(stride);
            some.map(move |point| (*fault, *point))
        })
        .collect();
    let ends = std::sync::Mutex::new(BTreeMap::<End, usize>::new());
    let wrong = for_each_in_parallel(&cases, |(fault, point)| {
        let end = faulted(&before, *fault, *point, &expected)?;
        *ends.lock().expect("a lock").entry(end).or_default() += 1;
        Ok(())
    });
    let ends = ends.into_inner().expect("a lock");
    println!(
        "{} faults at {} calls, and so it ended: {ends:?}",
        cases.len(),
        points.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn a_removal_killed_anywhere_is_brought_to_its_end() {
    with_each(&[Fault::Kill]);
    // A thread may have been quicker now and then.
    let killed = KILLED.load(Ordering::Relaxed);
    println!("{killed} runs were killed");
    assert!(killed > 20, "{killed} runs were killed");
}

/// Pairs of kills that are tried: so many first ones, and for each so many in the run that recovers from it.
const FIRSTS: usize = 18;
const SECONDS: usize = 4;

/// A few of all, always the same ones: one out of each of `n` parts of equal size.
fn some_of(points: &[Point], n: usize, seed: usize) -> Vec<Point> {
    let part = |at: usize| at * points.len() / n;
    (0..n.min(points.len()))
        .map(|at| {
            let size = (part(at + 1) - part(at)).max(1);
            points[part(at) + (seed * 31 + at * 17) % size]
        })
        .collect()
}

#[test]
fn a_removal_killed_again_while_it_recovers_is_brought_to_its_end() {
    needs(&["strace", "git"]);
    let before = gone();
    let undisturbed = before.copy();
    release(&undisturbed);
    let points = undisturbed.points_of_a_cycle();
    let _ = undisturbed.settles();
    let expected = undisturbed.host();
    let firsts: Vec<(usize, Point)> = some_of(&points, FIRSTS, 7)
        .into_iter()
        .enumerate()
        .collect();
    let (twice, pairs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ends = std::sync::Mutex::new(BTreeMap::<End, usize>::new());
    let wrong = for_each_in_parallel(&firsts, |(seed, first)| {
        // A home is what it is by its inode, so a site that was killed cannot be copied: each pair begins anew.
        let killed = || {
            let site = before.copy();
            release(&site);
            let ran = site.once_with(Fault::Kill, *first);
            (site, ran)
        };
        // What recovering writes depends on where the first kill was, so it is asked.
        let recovery = killed().0.points_of_a_cycle();
        for second in some_of(&recovery, SECONDS, *seed) {
            let (site, one) = killed();
            let other = site.once_with(Fault::Kill, second);
            pairs.fetch_add(1, Ordering::Relaxed);
            if (one.signal, other.signal) == (Some(9), Some(9)) {
                twice.fetch_add(1, Ordering::Relaxed);
            }
            let end = recovered(&site, Fault::Kill, &[*first, second], &other, &expected)?;
            *ends.lock().expect("a lock").entry(end).or_default() += 1;
        }
        Ok(())
    });
    let (twice, pairs) = (twice.into_inner(), pairs.into_inner());
    let ends = ends.into_inner().expect("a lock");
    println!("{pairs} pairs of kills, in {twice} of them both, and so it ended: {ends:?}");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(twice >= 40 && pairs >= 60, "{pairs} pairs, both in {twice}");
}

#[test]
fn a_removal_on_a_failing_disk_ends_in_done_or_not_begun() {
    with_each(&[Fault::Error("ENOSPC"), Fault::Error("EIO")]);
}

/// What is taken away again at the end of a case.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: PathBuf, how: &[&str]) -> Self {
        let mount = Command::new("mount").args(how).arg(&path).status();
        assert!(
            mount.expect("mount").success(),
            "mounting needs root and CAP_SYS_ADMIN"
        );
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn set_home_aside(site: &Site) {
    fs::rename(site.on_host("home/bob"), site.on_host("home/kept")).expect("a home");
}

/// What somebody does between the signature and the act, and what muster says then.
type Case = (
    &'static str,
    fn(&Site, &str) -> Option<Mounted>,
    &'static [&'static str],
);

const ADVERSARIES: &[Case] = &[
    (
        "the home is a link to somewhere else",
        |site, _| {
            set_home_aside(site);
            symlink(site.path("outside"), site.on_host("home/bob")).expect("a link");
            None
        },
        &["binding_mismatch"],
    ),
    (
        "the home is another directory",
        |site, _| {
            set_home_aside(site);
            fs::create_dir(site.on_host("home/bob")).expect("a home");
            None
        },
        &["binding_mismatch"],
    ),
    (
        "something is mounted in the home",
        |site, _| {
            let outside = site.path("outside").display().to_string();
            Some(Mounted::at(
                site.on_host("home/bob/work"),
                &["--bind", &outside],
            ))
        },
        &["mounted", "unmount it"],
    ),
    (
        "the account is another one",
        |site, _| {
            let passwd = site.text_on_host("etc/passwd");
            let uid = site.uid("bob").expect("an account");
            let other = passwd.replace(&format!("bob:x:{uid}:"), "bob:x:4242:");
            site.write_on_host("etc/passwd", &other, 0o644);
            None
        },
        &["binding_mismatch"],
    ),
    (
        "the tag was moved to other bytes",
        |site, name| {
            let mut other = statement(site);
            other.reason = "another".into();
            let raw = Signer::named("opal").tag(&other.commit, name, &other.render(), now());
            push(site, name, &raw);
            None
        },
        &["name_mismatch"],
    ),
    (
        "the tag was moved to a commit",
        |site, name| {
            site.git(&["update-ref", &format!("refs/tags/{name}"), "HEAD"]);
            None
        },
        &["not_annotated"],
    ),
    (
        "the branch was rewritten",
        |site, _| {
            site.git(&["checkout", "--quiet", "--orphan", "other"]);
            site.commit("users: {}\n", "a new history");
            site.git(&["branch", "--force", "main", "other"]);
            site.git(&["checkout", "--quiet", "main"]);
            None
        },
        &["frozen"],
    ),
    (
        "there is no room for the archive",
        |site, _| {
            let store = site.path("state/archives");
            fs::create_dir_all(&store).expect("a directory");
            let mounted = Mounted::at(
                store.clone(),
                &["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"],
            );
            fs::write(store.join("filler"), vec![1; 60 * 1024]).expect("it fits");
            Some(mounted)
        },
        &["archive_delete"],
    ),
    (
        "whom the host trusts was changed, and says so nowhere",
        |site, _| {
            let root = signer::root(1, &["opal", "eve"]);
            fs::write(site.path("trust/root.toml"), root.render()).expect("a root");
            None
        },
        &["still calls itself version 1"],
    ),
    (
        "whom the host trusts can be written by others",
        |site, _| {
            let root = site.path("trust/root.toml");
            fs::set_permissions(root, fs::Permissions::from_mode(0o666)).expect("its mode");
            None
        },
        &["trust root cannot be used"],
    ),
];

#[test]
fn an_adversary_between_signature_and_act_gets_nothing_read_or_removed() {
    needs(&["git", "mount"]);
    let before = gone();
    fs::create_dir(before.path("outside")).expect("a directory");
    fs::write(before.path("outside/secret"), "of somebody else").expect("a file");
    let wrong = for_each_in_parallel(ADVERSARIES, |(what, happens, says)| {
        let site = before.copy();
        let name = release(&site);
        let mounted = happens(&site, &name);
        let kept = site.host();
        let runs: Vec<Ran> = (0..2).map(|_| site.once()).collect();
        let said: String = runs.iter().map(Ran::said).collect();
        let after = site.host();
        let reported = said + &site.status().to_string() + &site.muster(&["history"]).said();
        drop(mounted);
        let secret = fs::read_to_string(site.path("outside/secret"));
        if secret.ok().as_deref() != Some("of somebody else") {
            return Err(format!("{what}: the outside was changed"));
        }
        let missing: Vec<_> = says.iter().filter(|it| !reported.contains(**it)).collect();
        if !missing.is_empty() {
            return Err(format!("{what}: {missing:?} is not said: {reported}"));
        }
        if archives(&site).is_ok_and(|it| it > 0) {
            return Err(format!("{what}: archived"));
        }
        // Only what the cut does again may differ, and nobody's home.
        let home = |all: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let below =
                |path: &str| path.starts_with("/home/bob") || path.starts_with("/home/kept");
            all.iter()
                .filter(|(path, _)| below(path))
                .map(|(a, b)| (a.clone(), b.clone()))
                .collect()
        };
        let different = differences(&home(&kept), &home(&after));
        if !different.is_empty() || !after["/etc/passwd"].contains("bob:") {
            return Err(format!("{what}: {different}\n{reported}"));
        }
        Ok(())
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The machine stops right after the home was moved, and something else stands in its place when it comes back.
#[test]
fn what_stands_where_an_interrupted_removal_took_a_home_is_left_alone() {
    needs(&["git", "strace"]);
    let before = gone();
    fs::create_dir(before.path("outside")).expect("a directory");
    fs::write(before.path("outside/secret"), "of somebody else").expect("a file");
    let probe = before.copy();
    release(&probe);
    let points = probe.points_of_a_cycle();
    let syncs = points
        .into_iter()
        .filter(|it| ["fsync", "fdatasync"].contains(&it.call));
    let interrupted = syncs.rev().find_map(|at| {
        let site = before.copy();
        release(&site);
        let _ = site.once_with(Fault::Kill, at);
        let moved = homes(&site) == (false, true) && site.uid("bob").is_some();
        moved.then_some(site)
    });
    let site = interrupted.expect("a kill after the move and before the end");
    symlink(site.path("outside"), site.on_host("home/bob")).expect("a link");
    let runs: String = (0..3).map(|_| site.once().said()).collect();
    assert_eq!(homes(&site), (false, true), "{runs}");
    assert!(site.on_host("home/bob").is_symlink(), "{runs}");
    assert!(site.uid("bob").is_some(), "{runs}");
    assert!(site.path("outside/secret").is_file(), "{runs}");
    assert!(
        runs.contains("something stands"),
        "{:#}\n{runs}",
        site.status()
    );
}

#[test]
fn fifty_daemons_on_one_state_are_one_that_works() {
    needs(&["git"]);
    let site = gone();
    release(&site);
    let mut daemons: Vec<Daemon> = (0..50).map(|_| site.daemon()).collect();
    wait_until("one is left", || {
        daemons
            .iter_mut()
            .filter_map(|it| it.is_running().then_some(()))
            .count()
            == 1
    });
    let (mut working, mut others): (Vec<_>, Vec<_>) = daemons.into_iter().partition_map_running();
    for other in &mut others {
        assert_eq!(other.ended(), Some(75), "{}", other.log());
    }
    wait_until("bob is gone", || site.uid("bob").is_none());
    assert_eq!(working[0].stop(), Some(0), "{}", working[0].log());
    assert_eq!(end_of(&site), Ok(End::Done));
    let _ = site.once().ok();
    site.is_still().unwrap();
    let history = site.muster(&["history"]).said();
    assert_eq!(
        history.matches("user.archive_delete").count().min(2),
        history.matches("user.archive_delete").count(),
        "{history}"
    );
}

/// Parts daemons into those that run and those that ended.
trait PartitionRunning {
    fn partition_map_running(self) -> (Vec<Daemon>, Vec<Daemon>);
}

impl<I: Iterator<Item = Daemon>> PartitionRunning for I {
    fn partition_map_running(self) -> (Vec<Daemon>, Vec<Daemon>) {
        let (mut running, mut ended) = (Vec::new(), Vec::new());
        for mut it in self {
            if it.is_running() {
                running.push(it);
            } else {
                ended.push(it);
            }
        }
        (running, ended)
    }
}

/// Names that look like releases, ten thousand of them, half of them packed.
fn ten_thousand_tags(site: &Site, stamp: &str, first: usize) {
    let commit = site.git(&["rev-parse", "HEAD"]);
    let name = |n: usize| format!("refs/tags/release/{stamp}-{n:016x}-{n:08x}");
    let git = site.path("origin/.git");
    let mut packed: Vec<String> = fs::read_to_string(git.join("packed-refs"))
        .unwrap_or_default()
        .lines()
        .filter(|it| !it.starts_with('#'))
        .map(str::to_owned)
        .collect();
    fs::create_dir_all(git.join("refs/tags/release")).expect("a directory");
    for n in first..first + 5_000 {
        packed.push(format!("{commit} {}", name(n)));
        fs::write(git.join(name(n + 5_000)), format!("{commit}\n")).expect("a ref");
    }
    packed.sort_by(|a, b| a[41..].cmp(&b[41..]));
    let text = packed.join("\n");
    fs::write(
        git.join("packed-refs"),
        format!("# pack-refs with: peeled fully-peeled sorted \n{text}\n"),
    )
    .expect("packed refs");
}

#[test]
fn ten_thousand_tags_cost_no_more_than_a_look() {
    needs(&["git"]);
    let site = gone();
    let took = |what: &str| {
        let began = Instant::now();
        let ran = site.changes_nothing().unwrap();
        println!("{what}: {} ms", began.elapsed().as_millis());
        ran
    };
    let _ = took("no tags");
    ten_thousand_tags(&site, "20200101T000000Z", 0);
    let ran = took("10,000 stale tags");
    assert!(
        !ran.said().contains("is refused"),
        "stale names are never opened"
    );
    let stamp = now().plus(-60).to_string().replace(['-', ':'], "");
    ten_thousand_tags(&site, &stamp, 20_000);
    // What was refused is told in the state directory, of as many tags as are read; on the host nothing changes.
    let began = Instant::now();
    let ran = site.once();
    println!(
        "10,000 stale and 10,000 fresh tags of nobody: {} ms",
        began.elapsed().as_millis()
    );
    assert!(site.uid("bob").is_some(), "nobody's tags did something");
    assert!(
        ran.said().lines().count() < 3_000,
        "as many lines as tags are read"
    );
    // A good one among them has its turn at once, for it is named after a key that counts.
    release(&site);
    let _ = site.once().ok();
    assert_eq!(site.uid("bob"), None, "a good release was never looked at");
}
