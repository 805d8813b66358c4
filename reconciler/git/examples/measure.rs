//! Times what a running muster does again and again: `measure <scratch directory>`, with git in `PATH`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use muster_git::{Ledger, Mirror, Origin, Proposals};

const MAIN: &str = "refs/heads/main";

/// The median time of one run, in microseconds.
fn median(runs: usize, mut what: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            what();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}

fn main() {
    let scratch = std::env::args()
        .nth(1)
        .expect("measure <scratch directory>");
    let scratch = Path::new(&scratch);
    let script = "set -e; git init -q --bare -b main origin; cd origin; \
        awk 'BEGIN{for(i=1;i<=20000;i++){m=\"c\" i; print \"commit refs/heads/main\"; \
        print \"committer a <a@example.org> \" 1700000000+i \" +0000\"; print \"data \" length(m); print m; \
        print \"M 100644 inline roster.yaml\"; d=\"p\" i \": {}\"; print \"data \" length(d); print d}}' | git fast-import --quiet; \
        for i in $(seq 500); do echo \"create refs/heads/b$i $(git rev-parse main)\"; done | git update-ref --stdin; \
        find . -exec touch -d 2026-01-01 {} +";
    assert!(
        Command::new("sh")
            .args(["-c", script])
            .current_dir(scratch)
            .status()
            .unwrap()
            .success()
    );
    let path = scratch.join("origin");
    let origin = Origin::parse(path.to_str().unwrap()).unwrap();
    let mut mirror = Mirror::open_or_create(&scratch.join("mirror")).unwrap();
    let start = Instant::now();
    let heads = mirror.fetch(&origin, MAIN, Proposals::Include).unwrap();
    println!(
        "first fetch, 20,000 commits and 500 branches: {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    // What changed a moment ago is read again; afterwards it is at rest.
    let mut signature = origin.signature(MAIN).unwrap().unwrap();
    while !signature.still_holds() {
        signature = origin.signature(MAIN).unwrap().unwrap();
    }
    println!(
        "idle signature: {:.1} µs",
        median(1001, || assert!(signature.still_holds()))
    );
    let no_op = median(1001, || {
        drop(mirror.fetch(&origin, MAIN, Proposals::Include).unwrap())
    });
    println!("fetch when nothing moved, 500 branches: {no_op:.1} µs");
    let no_op = median(1001, || {
        drop(mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap())
    });
    println!("the same without proposals: {no_op:.1} µs");
    let tip = heads.protected.unwrap();
    println!(
        "files of a commit: {:.1} µs",
        median(101, || drop(mirror.files(&tip).unwrap()))
    );
    let first = Command::new("git")
        .args(["rev-list", "--max-parents=0", "main"])
        .current_dir(&path)
        .output()
        .unwrap();
    let first = String::from_utf8(first.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let start = Instant::now();
    println!(
        "ancestry over 20,000 commits: {:?} in {:.1} ms",
        mirror.ancestry(&first, &tip),
        start.elapsed().as_secs_f64() * 1e3
    );

    let mut ledger =
        Ledger::open_or_create(&scratch.join("ledger.git"), "refs/muster/host/devvm").unwrap();
    let file = |n: usize, round: usize| {
        (
            format!("people/p{n:03}.json"),
            Some(format!("\"line {n} {round}\"\n").repeat(40).into_bytes()),
        )
    };
    let all: BTreeMap<_, _> = (0..256).map(|n| file(n, 0)).collect();
    let mut head = None;
    let start = Instant::now();
    head = Some(
        ledger
            .commit(head.as_ref(), &all, "all", 1_795_000_000)
            .unwrap(),
    );
    println!(
        "ledger commit of 256 files: {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    let load = |ledger: &Ledger, name: &str| {
        println!(
            "ledger load, 256 files of 40 lines, {name}: {:.1} ms",
            median(51, || drop(ledger.load().unwrap())) / 1e3
        )
    };
    load(&ledger, "loose");
    let mut round = 0;
    let commit = median(51, || {
        round += 1;
        head = Some(
            ledger
                .commit(
                    head.as_ref(),
                    &BTreeMap::from([file(round % 256, round)]),
                    "one",
                    1_795_000_000,
                )
                .unwrap(),
        );
    });
    println!("ledger commit of one file: {:.2} ms", commit / 1e3);
    ledger.maintain_above(0).unwrap();
    load(&ledger, "packed");
}
