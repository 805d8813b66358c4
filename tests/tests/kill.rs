//! `kill -9` before the system calls that change something, on the unchanged program: the next run goes on, and ends
//! where an undisturbed one ends (invariant 9).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use muster_tests::site::{
    ANN, ANN_AND_BOB, Fault, Point, Site, differences, for_each_in_parallel, needs,
};

/// How many runs of one test were really killed.
static KILLED: AtomicUsize = AtomicUsize::new(0);

/// Kills at `point`, runs again, and compares with `expected`.
fn killed_at(
    before: &Site,
    expected: &BTreeMap<String, String>,
    points: &[Point],
) -> Result<(), String> {
    let site = before.copy();
    for point in points {
        // A point that is not reached, as a thread may have been quicker, is an undisturbed run.
        let ran = site.once_with(Fault::Kill, *point);
        // Where the call was its reader's, that one is killed: the cycle goes on with what it had adopted, and says so.
        let goes_on =
            ran.code == Some(1) && ran.out.contains("the state repository did not answer");
        if ran.signal == Some(9) {
            KILLED.fetch_add(1, Ordering::Relaxed);
        } else if !ran.is_ok() && !goes_on {
            return Err(format!("{points:?}: {}", ran.said()));
        }
    }
    let ran = site.once();
    if !ran.is_ok() {
        return Err(format!("{points:?}: the run after it: {}", ran.said()));
    }
    let different = differences(expected, &site.host());
    if !different.is_empty() {
        return Err(format!(
            "{points:?}: not as undisturbed: {different}\n{}",
            ran.said()
        ));
    }
    site.is_still()
        .map_err(|wrong| format!("{points:?}: {wrong}"))
}

fn at_every_point(before: &Site) {
    let undisturbed = before.copy();
    let points = undisturbed.points_of_a_cycle();
    undisturbed.is_still().unwrap();
    let expected = undisturbed.host();
    assert!(points.len() > 150, "so few: {points:?}");
    let wrong = for_each_in_parallel(&points, |point| killed_at(before, &expected, &[*point]));
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        points.len(),
        wrong.join("\n\n")
    );
    let killed = KILLED.load(Ordering::Relaxed);
    assert!(
        killed > points.len() / 2,
        "{killed} of {} killed",
        points.len()
    );
}

#[test]
fn an_onboarding_killed_anywhere_is_finished_by_the_next_run() {
    needs(&["strace", "git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    at_every_point(&site);
}

#[test]
fn a_cut_killed_anywhere_is_finished_by_the_next_run() {
    needs(&["strace", "git"]);
    at_every_point(&about_to_cut());
}

#[test]
fn a_way_back_killed_anywhere_is_finished_by_the_next_run() {
    needs(&["strace", "git"]);
    let site = about_to_cut();
    let _ = site.settles();
    site.commit(ANN_AND_BOB, "bob is back");
    at_every_point(&site);
}

#[test]
fn killed_again_while_it_recovers() {
    needs(&["strace", "git"]);
    let site = about_to_cut();
    let undisturbed = site.copy();
    let all = undisturbed.points_of_a_cycle();
    let expected = undisturbed.host();
    // Every seventh as the first, and a few for the second: what recovery writes comes early in a run.
    let firsts = all
        .iter()
        .filter(|it| ["fsync", "write", "rename", "renameat"].contains(&it.call))
        .step_by(7);
    let seconds = [
        ("fdatasync", 1),
        ("fsync", 2),
        ("write", 2),
        ("renameat", 1),
    ];
    let pairs: Vec<_> = firsts
        .flat_map(|first| seconds.map(|(call, nth)| [*first, Point { call, nth }]))
        .collect();
    let wrong = for_each_in_parallel(&pairs, |pair| killed_at(&site, &expected, pair));
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        pairs.len(),
        wrong.join("\n\n")
    );
}

/// Bob, who has lived there for a while, is no longer in the roster.
fn about_to_cut() -> Site {
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.live_in("bob");
    site.commit(ANN, "bob leaves");
    site
}
