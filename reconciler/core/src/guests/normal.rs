//! One form for each value that a hypervisor writes otherwise than it was told: what is compared and what is written are made by
//! the same function, so that a second look finds no difference (G6, G7, GB1).

use std::collections::BTreeSet;

use super::action::Marker;

/// The largest description, in bytes.
pub const MAX_DESCRIPTION: usize = 8 * 1024;

/// Bytes in a MiB.
pub const MEBIBYTE: u64 = 1024 * 1024;

/// Bytes as MiB, rounded up: PVE and Incus both keep whole MiB (G7).
pub fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(MEBIBYTE)
}

/// A description without what is added or lost on the way: line ends are one byte, and nothing blank stands at the end (PVE adds a
/// newline to a container's, and strips a virtual machine's; G6, GB1).
pub fn description(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    lines.trim_end().to_owned()
}

/// What a hypervisor's answer holds as the description: a key that is missing, empty or no text is an empty one (G6).
pub fn description_of(value: Option<&serde_json::Value>) -> String {
    value
        .and_then(serde_json::Value::as_str)
        .map(description)
        .unwrap_or_default()
}

/// Tags as PVE writes them, in whatever order, between `;`, `,` or blanks, in either case.
pub fn tags_of(text: &str) -> BTreeSet<String> {
    text.split([';', ',', ' '])
        .filter(|it| !it.is_empty())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// The tags that are nobody's but muster's.
pub fn own_tags(tags: &BTreeSet<String>) -> BTreeSet<String> {
    tags.iter()
        .filter(|it| it.starts_with(Marker::PREFIX))
        .cloned()
        .collect()
}
