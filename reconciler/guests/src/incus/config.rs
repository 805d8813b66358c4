//! An instance's configuration: values are text, and may come from a profile. Compared is what is in force, written is what is its own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::answers::{Device, Instance, StorageVolume};
use crate::api::{Changes, Config, Creation, Kind, Power, Source, Volume};
use crate::proxmox::config::size;

/// Where tags are kept; Incus has none of its own.
pub(super) const TAGS: &str = "user.tags";

/// How long a description may be that Incus keeps with us; the same as elsewhere.
const AUTOSTART: &str = "boot.autostart";
const PROTECTION: &str = "security.protection.delete";
const CORES: &str = "limits.cpu";
const MEMORY: &str = "limits.memory";

/// Power in Incus' words.
pub(super) fn power(status: &str) -> Power {
    match status {
        "Running" => Power::Running,
        "Stopped" => Power::Stopped,
        other => Power::Other(crate::error::bounded(other)),
    }
}

/// Kind in Incus' words.
pub(super) fn kind(text: &str) -> Kind {
    match text {
        "virtual-machine" => Kind::Machine,
        _ => Kind::Container,
    }
}

/// Reads an instance.
pub(super) fn read(
    instance: &Instance,
    volumes: &[(String, StorageVolume)],
    digest: Option<String>,
) -> Config {
    let text = |key: &str| instance.expanded_config.get(key).map_or("", String::as_str);
    let devices = &instance.expanded_devices;
    let of_type = |kind: &'static str| {
        devices
            .iter()
            .filter(move |(_, device)| device.get("type").is_some_and(|it| it == kind))
    };
    let cards: Vec<String> = of_type("nic").map(|(name, _)| name.clone()).collect();
    let mac = cards.first().and_then(|name| {
        let kept = format!("volatile.{name}.hwaddr");
        let said = devices[name].get("hwaddr").cloned();
        said.or_else(|| instance.config.get(&kept).cloned())
    });
    Config {
        cores: cores(text(CORES)),
        memory: memory(text(MEMORY)),
        description: instance.description.clone(),
        tags: tags(text(TAGS)),
        onboot: is_true(text(AUTOSTART)),
        protection: is_true(text(PROTECTION)),
        privileged: is_privileged(text, devices),
        name: Some(instance.name.clone()),
        volumes: all_volumes(instance, volumes),
        unsaved: BTreeMap::new(),
        mac,
        cards,
        // It stays when a snapshot is restored, and the other one does not.
        uuid: instance.config.get("volatile.uuid").cloned(),
        generation: instance.config.get("volatile.uuid.generation").cloned(),
        lock: None,
        digest,
        sockets: 1,
    }
}

fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1" | "yes" | "on")
}

fn is_privileged<'a>(
    text: impl Fn(&'static str) -> &'a str,
    devices: &BTreeMap<String, Device>,
) -> bool {
    let raw = |key| !text(key).is_empty();
    is_true(text("security.privileged"))
        || is_true(text("security.nesting"))
        || raw("raw.lxc")
        || raw("raw.qemu")
        || raw("raw.idmap")
        || devices.values().any(|device| {
            let has = |key: &str| device.get(key).is_some_and(|it| !it.is_empty());
            match device.get("type").map_or("", String::as_str) {
                // A directory or device of the host; a volume of a pool has both a pool and a source.
                "disk" => has("source") && !has("pool"),
                "nic" | "none" | "infiniband" | "tpm" => false,
                _ => true,
            }
        })
}

/// The pool that the root volume is on.
pub(super) fn pool(instance: &Instance) -> Option<&str> {
    let device = instance
        .expanded_devices
        .values()
        .find(|it| it.get("path").is_some_and(|path| path == "/"))?;
    device.get("pool").map(String::as_str)
}

/// What goes with the instance: its root volume, and the snapshots of it.
fn all_volumes(instance: &Instance, volumes: &[(String, StorageVolume)]) -> Vec<Volume> {
    let Some(pool) = pool(instance) else {
        return Vec::new();
    };
    let snapshot = format!("{}/", instance.name);
    let mut found: Vec<Volume> = volumes
        .iter()
        .filter(|(at, it)| at == pool && it.kind == instance.kind)
        .filter(|(_, it)| it.name == instance.name || it.name.starts_with(&snapshot))
        .map(|(_, it)| Volume {
            id: format!("{pool}/{}", it.name),
            size: it.config.get("size").and_then(|it| bytes(it)),
            storage: pool.to_owned(),
        })
        .collect();
    let root = format!("{pool}/{}", instance.name);
    if !found.iter().any(|it| it.id == root) {
        found.push(Volume {
            id: root,
            size: None,
            storage: pool.to_owned(),
        });
    }
    found.sort();
    found
}

/// Tags, as they were written.
fn tags(text: &str) -> BTreeSet<String> {
    text.split([';', ',', ' '])
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `2` is a number of cores, `0-1,4` a list of certain ones.
fn cores(text: &str) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    text.split(',').try_fold(0_u32, |sum, part| {
        let (first, last) = part
            .trim()
            .split_once('-')
            .unwrap_or((part.trim(), part.trim()));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// Whole MiB, rounded up. A share of the host's memory is no amount.
fn memory(text: &str) -> Option<u64> {
    bytes(text).map(|it| it.div_ceil(1 << 20))
}

/// Bytes in a size as Incus spells it: `1GiB`, `1GB`, `512MiB`, or a plain number.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let decimal = |power| {
        let number: u64 = digits.trim().parse().ok()?;
        number.checked_mul(1000_u64.checked_pow(power)?)
    };
    match unit.to_ascii_uppercase().as_str() {
        "KB" => decimal(1),
        "MB" => decimal(2),
        "GB" => decimal(3),
        "TB" => decimal(4),
        _ => size(text),
    }
}

/// The body of a write: our own keys alone (H14). `read` is what stands there: Incus 6.0 empties a description that a PATCH leaves out.
pub(super) fn write(changes: &Changes, read: &Config) -> Value {
    let Changes {
        cores,
        memory,
        description,
        tags,
        onboot,
        protection,
        // It is the id here, and nothing of the configuration.
        name: _,
        without_cards,
    } = changes;
    let mut keys = Map::new();
    if let Some(cores) = cores {
        keys.insert(CORES.into(), cores.to_string().into());
    }
    if let Some(memory) = memory {
        keys.insert(MEMORY.into(), format!("{memory}MiB").into());
    }
    if let Some(tags) = tags {
        keys.insert(TAGS.into(), joined(tags).into());
    }
    for (key, switch) in [(AUTOSTART, onboot), (PROTECTION, protection)] {
        if let Some(on) = switch {
            keys.insert(key.into(), on.to_string().into());
        }
    }
    let mut body = Map::new();
    body.insert(
        "description".into(),
        description
            .as_ref()
            .unwrap_or(&read.description)
            .clone()
            .into(),
    );
    if !keys.is_empty() {
        body.insert("config".into(), keys.into());
    }
    if *without_cards {
        let none: Map<String, Value> = read
            .cards
            .iter()
            .map(|it| (it.clone(), json!({ "type": "none" })))
            .collect();
        body.insert("devices".into(), none.into());
    }
    body.into()
}

fn joined(tags: &BTreeSet<String>) -> String {
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    tags.join(",")
}

/// The body of a creation, or what of it Incus has not.
pub(super) fn creation(creation: &Creation) -> Result<Value, &'static str> {
    let Creation {
        place,
        from,
        name: _,
        storage,
        disk,
        network,
        pool: _,
        unprivileged,
        nesting,
        devices: given,
        cores,
        memory,
        description,
        tags,
        onboot,
    } = creation;
    let source = match from {
        Source::Template(_) => {
            return Err("Incus has images and no templates; name one in `image`");
        }
        Source::Image(image) => {
            let is_fingerprint = image.len() >= 12 && image.bytes().all(|b| b.is_ascii_hexdigit());
            let key = if is_fingerprint {
                "fingerprint"
            } else {
                "alias"
            };
            json!({ "type": "image", key: image })
        }
        Source::Clone(original) => json!({
            "type": "copy", "source": original.id, "project": original.project, "instance_only": true,
        }),
    };
    let mut keys = Map::new();
    keys.insert(AUTOSTART.into(), onboot.to_string().into());
    keys.insert(TAGS.into(), joined(tags).into());
    if let Some(cores) = cores {
        keys.insert(CORES.into(), cores.to_string().into());
    }
    if let Some(memory) = memory {
        keys.insert(MEMORY.into(), format!("{memory}MiB").into());
    }
    if !unprivileged {
        keys.insert("security.privileged".into(), "true".into());
    }
    if *nesting {
        keys.insert("security.nesting".into(), "true".into());
    }
    let mut devices = Map::new();
    let mut root = json!({ "type": "disk", "path": "/", "pool": storage });
    if let Some(disk) = disk {
        root["size"] = format!("{disk}GiB").into();
    }
    devices.insert("root".into(), root);
    if let Some(network) = network {
        let card = json!({ "type": "nic", "name": "eth0", "network": network });
        devices.insert("eth0".into(), card);
    }
    for (name, value) in given {
        let device: Map<String, Value> = value
            .split(',')
            .filter_map(|it| it.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        devices.insert(name.clone(), device.into());
    }
    let kind = match place.kind {
        Kind::Container => "container",
        Kind::Machine => "virtual-machine",
    };
    Ok(json!({
        "name": place.id, "type": kind, "source": source, "config": keys, "devices": devices,
        "description": description.clone().unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_every_spelling() {
        for (text, mib) in [
            ("1GiB", Some(1024)),
            ("1GB", Some(954)),
            ("512MiB", Some(512)),
            ("1048577", Some(2)),
            ("10%", None),
            ("", None),
        ] {
            assert_eq!(memory(text), mib, "{text}");
        }
        for (text, number) in [
            ("2", Some(2)),
            ("0-1,4", Some(3)),
            ("", None),
            ("3-1", None),
        ] {
            assert_eq!(cores(text), number, "{text}");
        }
    }

    /// GB10: keys that nobody asked for are in no write, and what a profile says is compared.
    #[test]
    fn a_write_has_our_own_keys_alone() {
        let instance: Instance = serde_json::from_value(json!({
            "name": "web", "description": "as it was", "status": "Running", "type": "container",
            "config": { "volatile.uuid": "u1", "user.other": "x", "image.os": "debian" },
            "expanded_config": { "limits.memory": "1GiB", "volatile.uuid": "u1", "user.other": "x" },
            "expanded_devices": {
                "root": { "type": "disk", "path": "/", "pool": "fast" },
                "eth0": { "type": "nic", "network": "br0" },
                "data": { "type": "disk", "path": "/data", "pool": "fast", "source": "vol1" },
            },
        }))
        .unwrap();
        let read = read(&instance, &[], None);
        assert_eq!((read.memory, read.privileged), (Some(1024), false));
        assert_eq!(
            read.volumes.len(),
            1,
            "a volume of its own stays when it goes"
        );
        let changes = Changes {
            cores: Some(2),
            without_cards: true,
            ..Changes::default()
        };
        assert_eq!(
            write(&changes, &read),
            json!({
                "description": "as it was", "config": { "limits.cpu": "2" }, "devices": { "eth0": { "type": "none" } },
            })
        );
    }

    #[test]
    fn directories_and_devices_of_the_host_are_power_over_it() {
        let with = |device: Value| {
            let instance: Instance =
                serde_json::from_value(json!({ "expanded_devices": { "x": device } })).unwrap();
            read(&instance, &[], None).privileged
        };
        assert!(with(
            json!({ "type": "disk", "source": "/srv", "path": "/srv" })
        ));
        assert!(with(json!({ "type": "unix-char", "path": "/dev/kvm" })));
        assert!(with(json!({ "type": "one that comes later" })));
        assert!(!with(json!({ "type": "nic", "network": "br0" })));
    }
}
