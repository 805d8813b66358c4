//! The parts of `muster` that the tests need as a process of their own.

use std::collections::BTreeMap;
use std::path::Path;

use muster_git::Ledger;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["serve-notes"] => {
            muster_git::notes::serve_child(std::io::stdin().lock(), std::io::stdout().lock())
                .unwrap()
        }
        ["commit", dir, content] => {
            let ledger = Ledger::open_or_create(Path::new(dir), "refs/muster/host/devvm").unwrap();
            let head = ledger.head().unwrap();
            let changes = BTreeMap::from([(
                "people/emo.json".to_owned(),
                Some(content.as_bytes().to_vec()),
            )]);
            println!(
                "{}",
                ledger
                    .commit(head.as_ref(), &changes, "a change", 1_795_000_000)
                    .unwrap()
            );
        }
        other => panic!("unknown: {other:?}"),
    }
}
