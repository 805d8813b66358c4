//! Every script in `scenarios/` still tells the same story. `UPDATE=1 cargo test` rewrites what came of each line.

use std::path::Path;

use similar::TextDiff;

#[test]
fn every_story_ends_as_it_did() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut told = 0;
    let mut changed = String::new();
    for entry in std::fs::read_dir(dir).expect("the scenarios") {
        let path = entry.expect("a directory entry").path();
        assert_eq!(
            path.extension().and_then(|it| it.to_str()),
            Some("txt"),
            "not a story: {}",
            path.display()
        );
        let script = std::fs::read_to_string(&path).expect("a story");
        let now = muster_tests::story::tell(&script);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &now).expect("writable");
        } else if script != now {
            let diff = TextDiff::from_lines(&script, &now);
            changed.push_str(&format!("{}\n{}", path.display(), diff.unified_diff()));
        }
        told += 1;
    }
    assert!(changed.is_empty(), "{changed}");
    assert!(told >= 8, "stories got lost: {told}");
}
