#![no_main]

#[path = "../../../reconciler/core/tests/release/forge.rs"]
#[allow(dead_code)]
mod forge;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use muster_core::release::root::TrustRoot;
use muster_core::release::tag::Tag;
use muster_core::release::{ObjectKind, authenticate, rotation};

static GOOD: LazyLock<(String, Vec<u8>)> = LazyLock::new(|| {
    forge::release(
        &forge::ed25519(1),
        &forge::statement(),
        forge::How::default(),
    )
});
static ROOT: LazyLock<TrustRoot> = LazyLock::new(forge::root);

fuzz_target!(|raw: &[u8]| {
    let name = match Tag::parse(raw) {
        Ok(tag) => {
            // Everything of the object is in one of its parts, once.
            let rest = &raw[tag.signed.len()..];
            assert_eq!(rest, forge::armor(&tag.armor).as_bytes());
            assert!(tag.signed.ends_with(tag.message));
            format!("refs/tags/{}", tag.name)
        }
        Err(_) => GOOD.0.clone(),
    };
    let judged = authenticate(&name, ObjectKind::Tag, raw, Some(&ROOT), forge::NOW);
    // Nobody here has a key; only the seed itself is signed.
    assert!(judged.is_err() || raw == GOOD.1);
    let rotated = rotation::next(&ROOT, &[(&name, raw)], forge::NOW);
    assert!(!matches!(rotated, Ok(Some(_))));
});
