#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_core::release::reset::Reset;
use muster_core::release::statement::Statement;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(statement) = Statement::parse(bytes) {
        assert_eq!(statement.render().as_bytes(), bytes);
        statement.check().unwrap();
        assert!(Reset::parse(bytes).is_err());
    }
    if let Ok(reset) = Reset::parse(bytes) {
        assert_eq!(reset.render().as_bytes(), bytes);
    }
});
