//! The house stands as ARCHITECTURE.md draws it: who may depend on whom, and what core may use at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace")
}

/// Names under `[dependencies]` of a manifest.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).expect("a manifest");
    text.lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn core_depends_on_nothing_that_could_reach_outside() {
    let harmless = [
        "granit-parser",
        "jiff",
        // Finds bytes in what it is given.
        "memchr",
        // For the arithmetic of signatures; core's clippy.toml forbids its randomness.
        "ring",
        "serde",
        "serde_json",
        "serde_yaml",
        "sha2",
        "similar",
        "thiserror",
        // Parses the trust root out of a text that it is given.
        "toml",
    ];
    for name in dependencies(&root().join("reconciler/core/Cargo.toml")) {
        assert!(
            harmless.contains(&name.as_str()),
            "core has a new dependency, {name}: can it read, wait or connect?"
        );
    }
    let clippy = std::fs::read_to_string(root().join("reconciler/core/clippy.toml"))
        .expect("core's clippy.toml");
    for forbidden in [
        "SystemTime::now",
        "std::env::var",
        "std::fs::File",
        "std::process::Command",
        "HashMap",
        "SystemRandom",
    ] {
        assert!(
            clippy.contains(forbidden),
            "core's clippy.toml no longer forbids {forbidden}"
        );
    }
}

#[test]
fn arrows_between_the_crates_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = [
        ("core", &[][..]),
        ("git", &["muster-core"]),
        ("host", &["muster-core"]),
        ("forge", &["muster-core"]),
        (
            "daemon",
            &["muster-core", "muster-git", "muster-host", "muster-forge"],
        ),
        ("sim", &["muster-core", "muster"]),
    ]
    .into();
    let rooms = std::fs::read_dir(root().join("reconciler")).expect("the crates");
    for room in rooms {
        let room = room.expect("a directory entry");
        let name = room.file_name().into_string().expect("a plain name");
        // The one page beside the crates.
        if name == "THREATS.md" {
            continue;
        }
        let manifest = root().join("reconciler").join(&name).join("Cargo.toml");
        let ours: BTreeSet<String> = dependencies(&manifest)
            .into_iter()
            .filter(|it| it == "muster" || it.starts_with("muster-"))
            .collect();
        let may = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("a room that nobody drew: {name}"));
        for dependency in ours {
            assert!(
                may.contains(&dependency.as_str()),
                "{name} must not know {dependency}"
            );
        }
    }
}

#[test]
fn every_test_that_the_architecture_names_is_there() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let sources: String = [
        "reconciler/core/tests/plan.rs",
        "tests/tests/crashes.rs",
        "tests/tests/histories.rs",
    ]
    .iter()
    .map(|path| std::fs::read_to_string(root().join(path)).expect(path))
    .collect();
    for name in [
        "a_journal_that_cannot_be_written_lets_nothing_happen",
        "every_effect_on_the_host_has_an_intent_before_it",
        "a_tier_cannot_make_its_own_shell_harmless",
        "root_and_protected_names_are_refused_even_in_a_plan",
        "an_empty_roster_cuts_nobody",
        "what_cannot_be_read_is_not_planned_on",
        "ports_stay_and_are_never_given_to_another",
        "equal_inputs_make_equal_plans",
    ] {
        assert!(
            page.contains(name),
            "ARCHITECTURE.md no longer names {name}"
        );
        assert!(
            sources.contains(&format!("fn {name}")),
            "no test is called {name}"
        );
    }
    for story in [
        "a-person-comes-and-goes",
        "a-bad-edit-is-refused",
        "a-rewritten-branch-freezes",
    ] {
        assert!(page.contains(story));
        assert!(
            root().join(format!("tests/scenarios/{story}.txt")).exists(),
            "no story is called {story}"
        );
    }
}
