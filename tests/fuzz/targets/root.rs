#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_core::release::root::TrustRoot;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match TrustRoot::parse(text) {
        Ok(root) => {
            let written = root.render();
            assert_eq!(TrustRoot::parse(&written).unwrap(), root);
            assert!(root.allowed_signers().lines().count() == root.keys.len());
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let _ = problems.to_string();
        }
    }
});
