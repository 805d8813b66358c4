//! What is too large is not decoded, however little it takes to push (F7).

mod support;

use muster_git::files::ReadError;
use muster_git::run::Limits;
use muster_git::{MergeError, Merged, Mirror};
use support::Scene;

const MIB: usize = 1 << 20;

/// Text that does not press well, so that git keeps a part of it as a change of the whole.
fn text(bytes: usize) -> String {
    let mut state = 1_u64;
    let digits = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap_or_default())
    });
    digits.take(bytes).collect()
}

/// A mirror that decodes nothing above one MiB.
fn small(scene: &Scene) -> Mirror {
    let limits = Limits {
        bytes: MIB as u64,
        ..Limits::default()
    };
    scene.mirror().with_limits(limits).unwrap()
}

/// Packs the origin, and says what `path` of `branch` is stored as a change of.
fn delta_base(scene: &Scene, name: &str) -> String {
    scene.git("origin", &["repack", "-adfq", "--depth=50", "--window=50"]);
    let question = format!("{name}\n");
    let how = "--batch-check=%(deltabase)";
    scene.git_with_input("origin", &["cat-file", how], question.as_bytes())
}

#[test]
fn a_small_file_that_is_stored_as_a_change_of_a_large_one_is_refused_and_nothing_else() {
    let scene = Scene::with_roster();
    let first = scene.fetch(&mut scene.mirror()).protected.unwrap();
    let large = text(4 * MIB);
    let part = &large[..MIB / 2];
    // git looks for what is alike among files of one name.
    scene.commit("large", Some(&first), &[("elsewhere/roster.yaml", &large)]);
    scene.commit("evil", Some(&first), &[("roster.yaml", part)]);
    let base = delta_base(&scene, "evil:roster.yaml");
    assert_eq!(
        base,
        scene.git("origin", &["rev-parse", "large:elsewhere/roster.yaml"])
    );
    scene.commit(
        "good",
        Some(&first),
        &[("roster.yaml", "emo: {}\nivo: {}\n")],
    );

    let mut mirror = small(&scene);
    let heads = scene.fetch(&mut mirror);
    let of = |branch: &str| heads.branches[&format!("refs/heads/{branch}")].clone();
    let refused = mirror.merge(&first, &of("evil")).unwrap_err();
    assert!(
        matches!(refused, MergeError::Read(ReadError::TooCostly { .. })),
        "{refused:?}"
    );
    let good = mirror.merge(&first, &of("good")).unwrap();
    assert!(matches!(good, Merged::FastForward { .. }));
    // Where there is room for it, it is read.
    let mut roomy = scene.mirror_at("roomy");
    scene.fetch(&mut roomy);
    assert!(roomy.merge(&first, &of("evil")).is_ok());

    // The same on the protected branch, and where something has to be merged.
    scene.git(
        "origin",
        &["update-ref", "refs/heads/main", of("evil").as_str()],
    );
    let again = scene.fetch(&mut mirror);
    let refused = mirror.files(&again.protected.unwrap()).unwrap_err();
    assert!(
        matches!(refused, ReadError::TooCostly { .. }),
        "{refused:?}"
    );
    let refused = mirror.merge(&of("good"), &of("evil")).unwrap_err();
    assert!(
        matches!(refused, MergeError::Read(ReadError::TooCostly { .. })),
        "{refused:?}"
    );
}

#[test]
fn files_that_are_too_large_one_by_one_or_together_are_refused() {
    let scene = Scene::with_roster();
    let first = scene.fetch(&mut scene.mirror()).protected.unwrap();
    let whole = text(MIB + 1);
    let half = &whole[..MIB / 2 + 1];
    let one = scene.commit("one", Some(&first), &[("roster.yaml", &whole)]);
    let two = [("hosts/a.yaml", half), ("hosts/b.yaml", half)];
    let two = scene.commit("two", Some(&first), &two);
    let mut mirror = small(&scene);
    scene.fetch(&mut mirror);
    let refused = mirror.files(&one).unwrap_err();
    assert!(matches!(refused, ReadError::TooLarge { .. }), "{refused:?}");
    let refused = mirror.files(&two).unwrap_err();
    let expected = ReadError::TooMuch {
        what: "bytes",
        limit: MIB as u64,
    };
    assert_eq!(refused.to_string(), expected.to_string());
    assert!(mirror.files(&first).is_ok());
}

#[test]
fn what_the_mirror_has_already_is_measured_too() {
    let scene = Scene::with_roster();
    let first = scene.fetch(&mut scene.mirror()).protected.unwrap();
    let large = scene.commit("main", Some(&first), &[("roster.yaml", &text(2 * MIB))]);
    scene.fetch(&mut scene.mirror());
    let refused = small(&scene).files(&large).unwrap_err();
    assert!(matches!(refused, ReadError::TooLarge { .. }), "{refused:?}");
}
