//! Lets a host live through whatever a version can do, and keeps what is left of it, for later versions to go on with:
//! `tests/golden/take` runs this.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use muster_core::release::RepoId;
use muster_tests::kept;
use muster_tests::signer::{self, now, planned, push};
use muster_tests::site::{ANN, ANN_AND_BOB, Fault, Ran, Site, needs};

/// The rows of a roster.
fn roster(rows: &[&str]) -> String {
    if rows.is_empty() {
        return "users: {}\n".to_owned();
    }
    rows.iter().fold("users:\n".to_owned(), |mut out, row| {
        let _ = writeln!(out, "  {row}");
        out
    })
}

const ADMIN: &str = "ann: {authentik_user: ann.x, k8s_user: ann, tier: admin}";
const BOB: &str = "bob: {authentik_user: bob.x, k8s_user: bob, tier: power-user}";
const CID: &str = "cid: {authentik_user: cid.x, k8s_user: cid, tier: power-user}";
const CID_PARKED: &str =
    "cid: {authentik_user: cid.x, k8s_user: cid, tier: power-user, parked: true}";
const DAN: &str = "dan: {authentik_user: dan.x, k8s_user: dan, tier: power-user}";
const DANIEL: &str =
    "daniel: {authentik_user: dan.x, k8s_user: dan, tier: power-user, previously: dan}";
const EMO: &str = "emo: {authentik_user: emo.x, k8s_user: emo, tier: power-user}";
const EXPIRED: &str = "fay: {authentik_user: fay.x, k8s_user: fay, tier: power-user, \
    expires: 2025-01-10, expiry_contact: ann@example.org}";
const GUS: &str = "gus: {authentik_user: gus.x, k8s_user: gus, tier: power-user}";
const HAL: &str =
    "hal: {authentik_user: hal.x, k8s_user: hal, tier: namespace-owner, namespaces: [hal]}";
const IDA: &str = "ida: {authentik_user: ida.x, k8s_user: ida, tier: power-user, code_layout: workspace, repos: [tools]}";
const JOE: &str = "joe: {authentik_user: joe.x, k8s_user: joe, tier: admin}";
const KEEPER: &str =
    "keeper: {authentik_user: keeper.x, k8s_user: keeper, tier: power-user, adopt: {uid: 1500}}";

/// Lands a roster and runs a cycle, which is told.
fn lands(site: &Site, rows: &[&str], message: &str) -> Ran {
    site.commit(&roster(rows), message);
    cycle(site, message)
}

fn cycle(site: &Site, what: &str) -> Ran {
    let ran = site.once();
    println!("== {what}\n{}", ran.said());
    ran
}

/// A life in which everything happens once.
fn lived() -> Site {
    let site = Site::bare("[ports]\nt3 = [3773, 3999]\nplaywright = [33773, 33999]\n");
    site.change_settings("min_admins = 0", "min_admins = 1");
    fs::create_dir(site.path("trust")).expect("a directory");
    fs::write(
        site.path("trust/root.toml"),
        signer::root(1, &["opal", "olga"]).render(),
    )
    .expect("a root");
    site.init();
    let home = site.on_host("home/keeper");
    fs::create_dir(&home).expect("a home");
    chown(&home, Some(1500), Some(1500)).expect("root");
    let _ = lands(&site, &[ADMIN, BOB, CID, DAN], "ann, bob, cid and dan");
    for user in ["bob", "cid", "dan"] {
        site.live_in(user);
    }
    let _ = lands(
        &site,
        &[ADMIN, BOB, CID, DAN, EMO, EXPIRED, GUS, HAL, IDA],
        "five more",
    );
    for user in ["emo", "gus", "hal"] {
        site.live_in(user);
    }
    let _ = site
        .muster(&["suspend", "--reason", "the disk is being changed"])
        .ok();
    let _ = lands(
        &site,
        &[ADMIN, BOB, CID_PARKED, DAN, EMO, EXPIRED, GUS, HAL, IDA],
        "cid is parked",
    );
    let _ = site
        .muster(&["resume", "--reason", "the disk is changed"])
        .ok();
    let _ = cycle(&site, "goes on");

    // Somebody who was here before is taken over, and somebody gets another name: two releases, one of which nobody may
    // sign so.
    let rows = [
        ADMIN, BOB, CID_PARKED, DANIEL, EMO, EXPIRED, GUS, HAL, IDA, KEEPER,
    ];
    let _ = lands(&site, &rows, "the keeper is kept, and dan is daniel");
    let mut statement = planned(
        &site,
        &[("user.rename", "daniel"), ("user.adopt", "keeper")],
        1,
    );
    statement.repo = RepoId([0x70; 16]);
    push(&site, &["opal"], &statement);
    let _ = cycle(&site, "of another repository");
    let statement = planned(
        &site,
        &[("user.rename", "daniel"), ("user.adopt", "keeper")],
        2,
    );
    push(&site, &["opal", "olga"], &statement);
    let _ = cycle(&site, "adopted and renamed");
    push(&site, &["eve"], &statement);
    let _ = cycle(&site, "a stranger signs");

    // Some go, and one of them comes back.
    let _ = lands(
        &site,
        &[ADMIN, BOB, CID_PARKED, DANIEL, EXPIRED, HAL, IDA, KEEPER],
        "emo and gus leave",
    );
    let _ = lands(
        &site,
        &[
            ADMIN, BOB, CID_PARKED, DANIEL, EXPIRED, GUS, HAL, IDA, KEEPER,
        ],
        "gus is back",
    );
    let statement = planned(&site, &[("user.archive_delete", "emo")], 3);
    push(&site, &["olga"], &statement);
    let _ = cycle(&site, "emo is archived");
    let _ = lands(
        &site,
        &[ADMIN, BOB, CID_PARKED, DANIEL, EXPIRED, GUS, IDA, KEEPER],
        "hal leaves",
    );
    let statement = planned(&site, &[("user.archive_delete", "hal")], 4);
    push(&site, &["opal"], &statement);
    let _ = cycle(&site, "hal is archived");
    let _ = lands(
        &site,
        &[
            ADMIN, BOB, CID_PARKED, DANIEL, EXPIRED, GUS, HAL, IDA, KEEPER,
        ],
        "hal is restored",
    );

    // The branch is broken, then rewritten; somebody looks at it.
    site.commit("users: [", "broken");
    let _ = cycle(&site, "broken");
    site.git(&["reset", "--quiet", "--hard", "HEAD~2"]);
    let found = site.commit(
        &roster(&[
            ADMIN, BOB, CID_PARKED, DANIEL, EXPIRED, GUS, HAL, IDA, KEEPER,
        ]),
        "a new history",
    );
    let _ = cycle(&site, "rewritten");
    let _ = site
        .muster(&["adopt", &found, "--reason", "rewritten on purpose"])
        .ok();

    // What is left: bob's home waits to be archived, joe's rights for a signature, and a step fails.
    let _ = lands(
        &site,
        &[ADMIN, CID_PARKED, DANIEL, EXPIRED, GUS, HAL, IDA, KEEPER],
        "bob leaves",
    );
    site.change_settings(
        "declared_benign = [\"group.join\", \"admins.add\"]",
        "declared_benign = [\"admins.add\"]",
    );
    fs::create_dir_all(site.on_host("etc/muster/instances/joe.env/in-the-way"))
        .expect("a directory");
    let _ = lands(
        &site,
        &[
            ADMIN, CID_PARKED, DANIEL, EXPIRED, GUS, HAL, IDA, JOE, KEEPER,
        ],
        "joe administers",
    );
    let mut statement = planned(&site, &[("user.archive_delete", "bob")], 5);
    statement.not_before = now().plus(-7_200);
    statement.not_after = now().plus(-3_600);
    push(&site, &["opal"], &statement);
    let _ = cycle(&site, "an expired release");
    let statement = planned(&site, &[("group.join", "joe")], 6);
    push(&site, &["opal"], &statement);
    let _ = cycle(&site, "joe shares code");
    let mut statement = planned(&site, &[("group.join", "joe")], 7);
    statement.reason = "one signature of two".into();
    push(&site, &["opal"], &statement);
    let _ = cycle(&site, "as it is kept");
    site
}

/// A host that stopped while bob was cut off and cid came: what was begun has no outcome yet.
fn interrupted() -> Site {
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.live_in("bob");
    site.commit(&format!("{ANN}  {CID}\n"), "bob leaves, and cid comes");
    let points = site.copy().points_of_a_cycle();
    let renames = points
        .into_iter()
        .filter(|it| it.call == "renameat2" || it.call.starts_with("rename"));
    let stopped = renames.into_iter().find_map(|at| {
        let site = site.copy();
        let ran = site.once_with(Fault::Kill, at);
        let begun = site.status()["in_doubt"] != 0 && site.uid("cid").is_some();
        println!("== killed at {at:?}: {begun}\n{}", ran.said());
        begun.then_some(site)
    });
    stopped.expect("a kill between two of the account databases")
}

fn main() {
    needs(&["git", "gzip", "strace", "tar"]);
    let to = std::env::args_os().nth(1).expect("a directory to write to");
    // Elsewhere than they lived: what was written down of paths stays, and where they are now is nobody's business.
    let site = lived().copy();
    site.git(&["gc", "--quiet"]);
    kept::keep(&site, &Path::new(&to).join("host"));
    kept::keep(&interrupted().copy(), &Path::new(&to).join("in-doubt"));
}
