//! A first `guests/<name>.yaml` out of what runs: the plan after it has no step (H3, GB7).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use muster_core::diagnostic::visible;
use muster_core::guests::action::Marker;
use muster_core::guests::desired::Run;
use muster_core::guests::normal;
use muster_core::guests::observed::{Config, Guest, Sight};
use muster_core::reading::Reading;
use muster_core::rooms;

const HEADER: &str = "\
# Made from the guests of a hypervisor, as they stood. Every line can be taken out: what is not said is left as it is, and so is a guest
# that is not named. `destroy: true` is the only thing that asks for the end of one, and it waits for a signed release.
";

/// Writes the file. Of a cluster, the guests of `node` alone; what cannot be a row is named in a comment.
///
/// # Errors
/// When the guests could not be read, with the reason.
pub fn import(observed: &rooms::Observed, node: Option<&str>) -> Result<String, String> {
    let rooms::Observed::Guests(observed) = observed else {
        return Err("these are no guests".to_owned());
    };
    let guests = match &observed.guests {
        Reading::Known(guests) => guests,
        Reading::Unknown(why) => return Err(why.clone()),
    };
    let (mut out, mut rows) = (HEADER.to_owned(), String::new());
    for (name, sight) in ordered(guests) {
        match row(name, sight, node) {
            Ok(row) => rows.push_str(&row),
            Err(why) => {
                let _ = writeln!(out, "# left out: {}: {}", visible(name), visible(&why));
            }
        }
    }
    out.push_str(if rows.is_empty() {
        "guests: {}\n"
    } else {
        "guests:\n"
    });
    Ok(out + &rows)
}

/// Numbers as numbers: 101 before 1000.
fn ordered(guests: &BTreeMap<String, Sight>) -> Vec<(&String, &Sight)> {
    let mut guests: Vec<_> = guests.iter().collect();
    guests.sort_by_key(|(name, _)| (name.parse::<u64>().ok(), *name));
    guests
}

fn row(name: &str, sight: &Sight, node: Option<&str>) -> Result<String, String> {
    let guest = match sight {
        Sight::Seen(guest) => guest,
        Sight::Unknown { down, .. } => {
            return Err(format!("nothing is known of it now ({})", down.why));
        }
    };
    if let (Some(own), Some(at)) = (node, guest.node.as_deref())
        && own != at
    {
        return Err(format!("it is on node {at}"));
    }
    if guest.template {
        return Err("it is a template, which neither runs nor changes".to_owned());
    }
    let is_vmid = name.bytes().all(|b| b.is_ascii_digit());
    let key = if is_vmid {
        name.to_owned()
    } else {
        scalar(name)
    };
    let mut row = format!("  {key}:");
    let before = row.len();
    power(&mut row, guest);
    match &guest.config {
        Reading::Known(config) => sizes(&mut row, config, guest),
        Reading::Unknown(why) => {
            let _ = write!(row, " # its configuration cannot be read: {}", visible(why));
        }
    }
    if row.len() == before {
        row.push_str(" {}");
    }
    row.push('\n');
    Ok(row)
}

/// A word of a row: as it is where nobody can take it for something else.
fn scalar(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_alphabetic());
    let meant = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if plain && !meant.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

fn power(row: &mut String, guest: &Guest) {
    match guest.run {
        Some(Run::Running) => row.push_str("\n    run: running"),
        Some(Run::Stopped) => row.push_str("\n    run: stopped"),
        None => {}
    }
}

fn sizes(row: &mut String, config: &Config, guest: &Guest) {
    // What waits for a reboot is what somebody wants.
    let waits = |key: &str| config.pending.get(key)?.then.as_ref()?.parse::<u64>().ok();
    if let Some(cores) = waits("cores").or(config.cores.map(u64::from)) {
        let _ = write!(row, "\n    cores: {cores}");
    }
    if let Some(memory) = waits("memory").or(config.memory) {
        let _ = write!(row, "\n    memory: {memory}MiB");
    }
    let is_named = guest.node.is_some();
    if let Some(name) = config.name.as_ref().filter(|_| is_named) {
        let _ = write!(row, "\n    name: {}", scalar(name));
    }
    let description = normal::description(&config.description);
    let plain = description
        .chars()
        .all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    if plain && description != "0" && description.len() <= normal::MAX_DESCRIPTION {
        if !description.is_empty() {
            let quoted = serde_json::Value::from(description);
            let _ = write!(row, "\n    description: {quoted}");
        }
    } else {
        row.push_str(
            "\n    # its description has characters that a row cannot have, and is left alone",
        );
    }
    let tags: Vec<String> = config
        .tags
        .iter()
        .filter(|it| !it.starts_with(Marker::PREFIX))
        .map(|it| scalar(it.as_str()))
        .collect();
    if !tags.is_empty() {
        let _ = write!(row, "\n    tags: [{}]", tags.join(", "));
    }
    let _ = write!(row, "\n    onboot: {}", config.onboot);
}
