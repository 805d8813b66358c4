//! Disks that are full, broken or read-only: what fails says so, nothing stays half done, and afterwards all is made
//! good.

use std::collections::BTreeMap;
use std::process::Command;

use muster_tests::site::{
    ANN, ANN_AND_BOB, Fault, Point, Site, differences, for_each_in_parallel, needs,
};

/// Settings under which every cycle tries again what failed.
const AT_ONCE: &str = "retry_after = \"0s\"\n";

/// Lets each writing call of a cycle fail, one in each run: the run says so, and one with a sound disk makes it good.
fn all_made_good(before: &Site) {
    let undisturbed = before.copy();
    let points = undisturbed.points_of_a_cycle();
    assert!(points.len() > 150, "so few: {points:?}");
    let expected = undisturbed.host();
    let cases: Vec<(Point, &str)> = points
        .into_iter()
        .zip(["ENOSPC", "EIO"].into_iter().cycle())
        .collect();
    let wrong = for_each_in_parallel(&cases, |(point, error)| {
        let site = before.copy();
        let ran = site.once_with(Fault::Error(error), *point);
        let silent = ran.is_ok()
            && !differences(&expected, &site.host()).is_empty()
            && !ran.said().contains("WARN")
            && !ran.out.contains("did not answer");
        if let Some(signal) = ran.signal {
            return Err(format!(
                "{point:?} {error}: died of {signal}: {}",
                ran.said()
            ));
        }
        if silent {
            return Err(format!("{point:?} {error}: nothing said: {}", ran.said()));
        }
        made_good(&site, &expected)
            .map_err(|why| format!("{point:?} {error}: {why}\nafter: {}", ran.said()))
    });
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
}

/// A site on which a failed step is tried again by the next cycle.
fn tireless() -> Site {
    let site = Site::bare(AT_ONCE);
    site.init();
    site
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
    let site = tireless();
    site.commit(ANN_AND_BOB, "ann and bob");
    all_made_good(&site);
}

#[test]
fn a_cut_on_a_failing_disk_is_made_good() {
    needs(&["strace", "git"]);
    let site = tireless();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.live_in("bob");
    site.commit(ANN, "bob leaves");
    all_made_good(&site);
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
    let sites: Vec<(&str, Site)> = ["state", "root/etc"].map(|part| (part, tireless())).into();
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
        assert!(!ran.is_ok(), "{part} is read-only: {}", ran.said());
        assert!(
            ran.said().contains("Read-only"),
            "{part} is read-only: {}",
            ran.said()
        );
        assert_eq!(before, site.text_on_host("etc/passwd"));
        small.remount("rw");
        let ran = site.once().ok();
        assert_eq!(undisturbed.host(), site.host(), "{}", ran.said());
        site.is_still().unwrap();
    }
}

#[test]
fn a_root_that_is_read_only_as_a_whole_is_said_and_waited_out() {
    needs(&["git", "mount"]);
    let site = tireless();
    let small = Small::over(site.path("root"), "size=16m,mode=755");
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.live_in("bob");
    site.commit(ANN, "bob leaves");
    let undisturbed = site.copy();
    let _ = undisturbed.settles();
    let before = site.host();
    small.remount("ro");
    for _ in 0..2 {
        let ran = site.once();
        assert_eq!(ran.signal, None, "{}", ran.said());
        assert!(
            ran.said().contains("Read-only file system"),
            "{}",
            ran.said()
        );
        assert_eq!(before, site.host());
    }
    small.remount("rw");
    let ran = site.once().ok();
    assert_eq!(undisturbed.host(), site.host(), "{}", ran.said());
    site.is_still().unwrap();
}

/// A full standard error, or a lock that cannot be given back, costs what is said there and nothing else (F15).
#[test]
fn what_cannot_be_said_or_given_back_is_no_panic() {
    needs(&["git", "strace"]);
    let site = tireless();
    site.commit(ANN, "ann");
    for (nth, error) in (1..=3).flat_map(|nth| ["EIO", "ENOLCK", "EINTR"].map(|it| (nth, it))) {
        let point = Point { call: "flock", nth };
        let ran = site.once_with(Fault::Error(error), point);
        assert!(
            ran.code.is_some_and(|it| it != 101) && !ran.said().contains("panicked"),
            "{point:?} {error}: {}",
            ran.said()
        );
    }
    // Something is to be said: the branch is broken.
    site.commit("users: [", "nonsense");
    let full = || std::fs::File::create("/dev/full").expect("/dev/full");
    let said_nothing = site
        .command(&["run", "--once"])
        .stderr(full())
        .stdout(full())
        .status()
        .expect("muster");
    assert!(
        said_nothing.code().is_some_and(|it| it != 101),
        "{said_nothing:?}"
    );
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site
        .command(&["run", "--once"])
        .stderr(full())
        .status()
        .expect("muster");
    site.is_still().expect("nothing is left to do");
    assert_eq!(site.status()["people"]["active"], 2);
}
