//! The state repository that people start from is one that muster accepts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use muster_core::repo::schema;
use muster_core::rooms;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../state-repo-example")
}

fn files() -> BTreeMap<String, Vec<u8>> {
    ["roster.yaml", "tiers.yaml", "hosts/devvm.yaml"]
        .into_iter()
        .map(|path| (path.to_owned(), fs::read(example().join(path)).unwrap()))
        .collect()
}

#[test]
fn it_is_valid_and_nothing_in_it_deserves_a_warning() {
    let files = files();
    let (state, warnings) = match rooms::read_whole(&files, &[]) {
        Ok((read, warnings)) => (read.documents, warnings),
        Err(faults) => panic!("{faults}"),
    };
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(state.roster.people.len(), 7);
    assert_eq!(state.hosts.keys().collect::<Vec<_>>(), ["devvm"]);
}

/// The row that is commented out is there to be copied.
#[test]
fn the_row_that_is_commented_out_is_valid_too() {
    let mut files = files();
    let roster = String::from_utf8(files["roster.yaml"].clone()).unwrap();
    let shown = roster.replace("  # birk:", "  birk:");
    assert_ne!(shown, roster);
    files.insert("roster.yaml".to_owned(), shown.into_bytes());
    let (state, _) = match rooms::read_whole(&files, &[]) {
        Ok((read, warnings)) => (read.documents, warnings),
        Err(faults) => panic!("{faults}"),
    };
    assert!(state.roster.get("birk").is_some());
}

/// An editor completes what this version understands. Where they differ: `muster schema roster > …/roster.schema.json`.
#[test]
fn its_schemas_are_those_of_this_version() {
    for (kind, published) in [
        ("roster", schema::roster()),
        ("tiers", schema::tiers()),
        ("host", schema::host()),
    ] {
        let path = example().join(format!("schemas/{kind}.schema.json"));
        assert_eq!(fs::read_to_string(path).unwrap(), published, "{kind}");
    }
}

/// Every file says where its schema is, and it is there.
#[test]
fn its_files_point_at_their_schemas() {
    for (path, bytes) in files() {
        let text = String::from_utf8(bytes).unwrap();
        let pointer = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# yaml-language-server: $schema="))
            .unwrap_or_else(|| panic!("{path} names no schema"));
        let folder = example().join(&path).parent().unwrap().to_owned();
        assert!(folder.join(pointer).is_file(), "{path}: {pointer}");
    }
}
