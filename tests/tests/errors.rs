//! Disks that are full, broken or read-only: what fails says so, nothing stays half done, and afterwards all is made
//! good.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use muster_tests::site::{
    ANN, ANN_AND_BOB, Fault, Point, Site, differences, for_each_in_parallel, needs, wait_until,
};

/// Calls whose failure is looked at; the others fail in the same code.
const CALLS: [&str; 12] = [
    "write",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "linkat",
    "symlinkat",
    "fchmod",
    "ftruncate",
];

/// After a failed step muster waits a minute before it tries again.
fn wait_for_the_next_try(sites: &[&Site]) {
    let due = sites
        .iter()
        .flat_map(|site| {
            let failures = site.status()["failures"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            failures
                .into_iter()
                .map(|(_, it)| it["retry_at"].as_str().unwrap_or_default().to_owned())
        })
        .max();
    let Some(due) = due else { return };
    // Timestamps of one form compare as text does.
    wait_until("the time of the next try", || now() > due);
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let stamp = jiff::Timestamp::from_second(since.as_secs().try_into().unwrap()).unwrap();
    stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn all_made_good(before: &Site, every: usize) {
    let undisturbed = before.copy();
    let points: Vec<Point> = undisturbed
        .points_of_a_cycle()
        .into_iter()
        .filter(|it| CALLS.contains(&it.call))
        .filter(|it| it.nth % every == 1 || every == 1)
        .collect();
    let expected = undisturbed.host();
    let cases: Vec<(Point, &str, Site)> = points
        .into_iter()
        .zip(["ENOSPC", "EIO"].into_iter().cycle())
        .map(|(point, error)| (point, error, before.copy()))
        .collect();
    let mut wrong = for_each_in_parallel(&cases, |(point, error, site)| {
        let ran = site.once_with(Fault::Error(error), *point);
        let silent = ran.is_ok()
            && !differences(&expected, &site.host()).is_empty()
            && !ran.said().contains("WARN");
        match ran.signal {
            Some(signal) => Err(format!(
                "{point:?} {error}: died of {signal}: {}",
                ran.said()
            )),
            None if silent => Err(format!("{point:?} {error}: nothing said: {}", ran.said())),
            None => Ok(()),
        }
    });
    let sites: Vec<&Site> = cases.iter().map(|(_, _, site)| site).collect();
    wait_for_the_next_try(&sites);
    wrong.extend(for_each_in_parallel(&cases, |(point, error, site)| {
        made_good(site, &expected).map_err(|why| format!("{point:?} {error}: {why}"))
    }));
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
}

fn made_good(site: &Site, expected: &BTreeMap<String, String>) -> Result<(), String> {
    let ran = site.once();
    if !ran.is_ok() {
        return Err(format!("the run after it: {}", ran.said()));
    }
    match differences(expected, &site.host()) {
        none if none.is_empty() => site.is_still(),
        some => Err(format!("not as undisturbed: {some}\n{}", ran.said())),
    }
}

#[test]
fn an_onboarding_onto_a_failing_disk_is_made_good() {
    needs(&["strace", "git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    all_made_good(&site, 5);
}

#[test]
fn a_cut_on_a_failing_disk_is_made_good() {
    needs(&["strace", "git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.live_in("bob");
    site.commit(ANN, "bob leaves");
    all_made_good(&site, 5);
}

/// A small file system over a directory of a site, taken away again at the end.
struct Small(std::path::PathBuf);

impl Small {
    fn over(path: std::path::PathBuf, options: &str) -> Self {
        let kept = path.with_extension("kept");
        assert!(
            Command::new("cp")
                .arg("-a")
                .arg(&path)
                .arg(&kept)
                .status()
                .unwrap()
                .success()
        );
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(mounted.success(), "mounting needs root and CAP_SYS_ADMIN");
        let small = Self(path);
        let copied = Command::new("cp")
            .arg("-a")
            .arg(kept.join("."))
            .arg(&small.0)
            .status()
            .unwrap();
        assert!(copied.success());
        std::fs::remove_dir_all(kept).unwrap();
        small
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(done.success());
    }

    fn fill(&self) {
        let fill = Command::new("dd")
            .args(["if=/dev/zero", "bs=4k"])
            .arg(format!("of={}", self.0.join("filler").display()))
            .output()
            .unwrap();
        assert!(!fill.status.success(), "it is full only when dd fails");
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_or_read_only_file_system_is_waited_out() {
    needs(&["git", "mount"]);
    let sites: Vec<(&str, Site)> = ["state", "root/etc"].map(|part| (part, Site::new())).into();
    for (part, site) in &sites {
        let small = Small::over(site.path(part), "size=2m,mode=755");
        if *part == "state" {
            assert!(
                Command::new("chmod")
                    .arg("700")
                    .arg(site.path(part))
                    .status()
                    .unwrap()
                    .success()
            );
        }
        site.commit(ANN_AND_BOB, "ann and bob");
        let undisturbed = site.copy();
        let _ = undisturbed.settles();
        small.fill();
        let before = site.text_on_host("etc/passwd");
        let ran = site.once();
        assert!(!ran.is_ok(), "{part} is full: {}", ran.said());
        assert!(
            ran.said().contains("No space left"),
            "{part} is full: {}",
            ran.said()
        );
        assert_eq!(before, site.text_on_host("etc/passwd"));
        small.empty();
        small.remount("ro");
        let ran = site.once();
        // Steps that failed on the full disk are not due yet: said, and not tried.
        let waits = ran.out.contains("next try at");
        assert!(!ran.is_ok() || waits, "{part} is read-only: {}", ran.said());
        assert_eq!(before, site.text_on_host("etc/passwd"));
        small.remount("rw");
        wait_for_the_next_try(&[site]);
        let ran = site.once().ok();
        assert_eq!(undisturbed.host(), site.host(), "{}", ran.said());
        site.is_still().unwrap();
    }
}
