#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use muster_core::diagnostic;
use muster_core::executor::Executor;
use muster_core::rooms;
use muster_memory::{Counting, most_held};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// The first byte says which file the others are.
fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let path = ["roster.yaml", "tiers.yaml", "hosts/a.yaml", "guests/pve.yaml"][usize::from(choice & 3)];
    let executor: Executor = "guests/pve".parse().unwrap();
    let mut files = BTreeMap::from([("roster.yaml".to_owned(), b"users: {}\n".to_vec())]);
    files.insert(path.to_owned(), bytes.to_vec());
    let (_, most) = most_held(|| match rooms::read_whole(&files, &[&executor]) {
        Ok((_, problems)) | Err(problems) => {
            drop(diagnostic::human(&problems, &files));
            drop(diagnostic::json(&problems));
        }
    });
    assert!(most <= bytes.len() * 8 + (1 << 20), "{most} bytes to read {}", bytes.len());
});
