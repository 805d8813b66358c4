#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_core::release::root::Root;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match Root::parse(text) {
        Ok(root) => {
            let written = root.render();
            assert_eq!(Root::parse(&written).unwrap(), root);
            assert!(root.allowed_signers().lines().count() == root.keys.len());
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let _ = problems.to_string();
        }
    }
});
