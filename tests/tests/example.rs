//! The state repository that people start from is one that muster accepts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use muster_core::guests::file;
use muster_core::repo::schema;
use muster_core::rooms;
use muster_core::services::attributions::Attributions;
use muster_core::services::evaluate::{self, Source};
use muster_core::services::lane::Lane;
use muster_core::services::{attributions, records};
use muster_core::time::Time;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../state-repo-example")
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let services = [
        "services/inventory.json",
        "services/requests.json",
        "services/responses/edge-proxy.yaml",
        "services/responses/tide-tables.yaml",
    ];
    [
        "roster.yaml",
        "tiers.yaml",
        "hosts/devvm.yaml",
        "guests/lab.yaml",
    ]
    .into_iter()
    .chain(services)
    .map(|path| (path.to_owned(), fs::read(example().join(path)).unwrap()))
    .collect()
}

#[test]
fn it_is_valid_and_nothing_in_it_deserves_a_warning() {
    let files = files();
    let others = rooms::executors_of(&files);
    let (state, warnings) = match rooms::read_whole(&files, &others.iter().collect::<Vec<_>>()) {
        Ok((read, warnings)) => (read.documents, warnings),
        Err(faults) => panic!("{faults}"),
    };
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(state.roster.people.len(), 7);
    assert_eq!(state.hosts.keys().collect::<Vec<_>>(), ["devvm"]);
}

/// Its hypervisor's guests are asked for, every owner is somebody of the roster, and the end of one can be asked for by the row that is
/// commented out.
#[test]
fn its_hypervisor_has_guests_with_owners() {
    let mut files = files();
    let policy = rooms::Policy::built_in(&"guests/lab".parse().unwrap());
    // 2026-12-01.
    let today = Time(1_796_083_200).date();
    let guests = |files: &BTreeMap<String, Vec<u8>>| {
        let read = rooms::read_whole(files, &[policy.executor()]);
        let (read, _) = read.unwrap_or_else(|faults| panic!("{faults}"));
        match rooms::desired(&read, &policy, today) {
            rooms::Desired::Guests(desired) => desired,
            rooms::Desired::Accounts(_) => panic!("a hypervisor is asked for guests"),
        }
    };
    let desired = guests(&files);
    let names: Vec<&String> = desired.guests.keys().collect();
    assert_eq!(names, ["harbour-db", "harbour-web", "tides-2024"]);
    assert!(desired.owners.is_empty(), "{:?}", desired.owners);
    let text = String::from_utf8(files["guests/lab.yaml"].clone()).unwrap();
    let asked = text.replace("  # tides-2023:", "  tides-2023:");
    assert_ne!(asked, text);
    files.insert("guests/lab.yaml".to_owned(), asked.into_bytes());
    assert!(guests(&files).guests["tides-2023"].destroy);
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
        ("guests", file::published()),
        ("response", records::response_schema()),
        ("review", records::review_schema()),
    ] {
        let path = example().join(format!("schemas/{kind}.schema.json"));
        assert_eq!(fs::read_to_string(path).unwrap(), published, "{kind}");
    }
}

/// Every file says where its schema is, and it is there.
#[test]
fn its_files_point_at_their_schemas() {
    for (path, bytes) in files()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".yaml"))
    {
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

/// Three surfaces in three lanes, and every digest is that of the file beside it.
#[test]
fn its_surfaces_are_in_three_lanes() {
    let files = files();
    let (state, _) = rooms::read_whole(&files, &[]).unwrap_or_else(|faults| panic!("{faults}"));
    let sources = state.services.surfaces.values().map(|it| {
        let bytes = fs::read(example().join(&it.source)).unwrap();
        (
            it.source.clone(),
            Source::Sha256(attributions::sha256(&bytes)),
        )
    });
    // 2026-12-01, and nobody is known to stand behind the answers yet.
    let now = Time(1_796_083_200);
    let roster = &state.documents.roster;
    let assessed = evaluate::evaluate(
        &state.services,
        roster,
        &Attributions::default(),
        &sources.collect(),
        evaluate::Freshness::default(),
        now,
    );
    let lanes: Vec<(&str, Lane)> = assessed
        .surfaces
        .iter()
        .map(|(id, it)| (id.as_str(), it.lane))
        .collect();
    let expected = [
        ("edge-proxy", Lane::RequestSupplement),
        ("repair-bot", Lane::WaitingOwnerResponse),
        ("tide-tables", Lane::IncidentRecoveryBackfillRequired),
    ];
    assert_eq!(lanes, expected);
    assert!(
        assessed.problems.is_empty() && assessed.inventory.is_empty(),
        "{assessed:?}"
    );
    // The one thing that is missing of the first.
    assert_eq!(assessed.surfaces["edge-proxy"].findings.len(), 1);
}
