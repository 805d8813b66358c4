//! Writes down when this program is built: a clock that says less is wrong (F18). `SOURCE_DATE_EPOCH` says it where builds are
//! to be the same every time.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let told = std::env::var("SOURCE_DATE_EPOCH").ok();
    let told = told.and_then(|it| it.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let built = told.unwrap_or_else(|| now.map_or(0, |it| it.as_secs()));
    println!("cargo:rustc-env=MUSTER_BUILT={built}");
}
