//! A guest's configuration on Proxmox VE, read and written.

use std::collections::BTreeMap;

use muster_core::guests::normal::tags_of;

use super::answers::Word;
use crate::api::{Changes, Config, Kind, Volume};

/// Containers have this much memory where nothing is said, and virtual machines, too: in MiB.
const DEFAULT_MEMORY: u64 = 512;

/// Reads what `…/config?current=1` says.
pub(super) fn read(kind: Kind, keys: &BTreeMap<String, Word>) -> Config {
    let text = |key: &str| keys.get(key).map_or("", |it| it.0.as_str());
    let is_set = |key: &str| keys.get(key).is_some_and(Word::is_set);
    let sockets = number(text("sockets")).unwrap_or(1).max(1);
    let cores = match kind {
        // Without it, a container uses every core of its host.
        Kind::Container => number(text("cores")),
        Kind::Machine => Some(number(text("cores")).unwrap_or(1) * sockets),
    };
    let card = keys.range("net".to_owned()..).next();
    let cards: Vec<String> = keys
        .keys()
        .filter(|key| numbered(key, "net"))
        .cloned()
        .collect();
    Config {
        cores,
        memory: Some(memory(text("memory"))),
        description: text("description").to_owned(),
        tags: tags_of(text("tags")),
        onboot: is_set("onboot"),
        protection: is_set("protection"),
        privileged: is_privileged(kind, keys),
        name: some(text(name_key(kind))),
        volumes: volumes(kind, keys),
        unsaved: unsaved(kind, keys),
        mac: card
            .filter(|(key, _)| numbered(key, "net"))
            .and_then(|(_, value)| address(&value.0)),
        cards,
        uuid: identity(kind, text("smbios1"), text("meta")),
        // A rollback is one of its tasks.
        generation: None,
        lock: some(text("lock")),
        digest: some(text("digest")),
        sockets,
    }
}

/// The key of a guest's name.
pub(super) fn name_key(kind: Kind) -> &'static str {
    match kind {
        Kind::Container => "hostname",
        Kind::Machine => "name",
    }
}

/// Whether it has power over its host. A container without the word `unprivileged` has.
fn is_privileged(kind: Kind, keys: &BTreeMap<String, Word>) -> bool {
    let text = |key: &str| keys.get(key).map_or("", |it| it.0.as_str());
    match kind {
        Kind::Container => {
            let features = text("features");
            let bound = |(key, value): (&String, &Word)| {
                numbered(key, "dev") || (numbered(key, "mp") && value.0.starts_with('/'))
            };
            text("unprivileged") != "1"
                || features.split(',').any(|it| it == "nesting=1")
                || keys.iter().any(bound)
                || keys.contains_key("lxc")
                || keys.contains_key("hookscript")
        }
        Kind::Machine => keys.keys().any(|key| {
            numbered(key, "hostpci") || numbered(key, "usb") || key == "args" || key == "hookscript"
        }),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// A container has a number; a virtual machine's is a property string, `2048` or `current=2048`.
fn memory(text: &str) -> u64 {
    text.split(',')
        .find_map(|it| it.strip_prefix("current=").unwrap_or(it).parse().ok())
        .unwrap_or(DEFAULT_MEMORY)
}

/// Whether `key` is `prefix` and a number.
fn numbered(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix)
        .is_some_and(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()))
}

/// The address of a network card: `hwaddr=…` of a container, `virtio=…` or another model of a virtual machine.
fn address(card: &str) -> Option<String> {
    card.split(',').find_map(|it| {
        let (_, value) = it.split_once('=')?;
        let groups: Vec<&str> = value.split(':').collect();
        let hex = |it: &&str| it.len() == 2 && it.bytes().all(|b| b.is_ascii_hexdigit());
        (groups.len() == 6 && groups.iter().all(hex)).then(|| value.to_ascii_uppercase())
    })
}

/// What tells a virtual machine from a later one: its SMBIOS identity and when it was made. A container has no such thing.
fn identity(kind: Kind, smbios: &str, meta: &str) -> Option<String> {
    let property = |text: &str, key: &str| {
        text.split(',')
            .find_map(|it| Some(it.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
    };
    match kind {
        Kind::Container => None,
        Kind::Machine => match (property(smbios, "uuid"), property(meta, "ctime")) {
            (Some(uuid), Some(made)) => Some(format!("{uuid}.{made}")),
            (Some(uuid), None) => Some(uuid),
            (None, Some(made)) => Some(format!("ctime.{made}")),
            (None, None) => None,
        },
    }
}

/// The volumes that go with the guest: no directories of the host, no devices, no discs in a drive.
fn volumes(kind: Kind, keys: &BTreeMap<String, Word>) -> Vec<Volume> {
    let mut found: Vec<Volume> = named(kind, keys).map(|(_, _, it)| it).collect();
    found.sort();
    found.dedup();
    found
}

/// What `vzdump` leaves out of these: mount points of a container without `backup=1`, disks of a virtual machine with `backup=0`, and
/// whatever is unused (GB8).
fn unsaved(kind: Kind, keys: &BTreeMap<String, Word>) -> BTreeMap<String, String> {
    let (saved, left): (Vec<_>, Vec<_>) =
        named(kind, keys).partition(|(key, text, _)| is_backed_up(kind, key, text));
    left.into_iter()
        .filter(|(_, _, it)| !saved.iter().any(|(_, _, saved)| saved.id == it.id))
        .map(|(key, _, it)| (it.id, key.to_owned()))
        .collect()
}

fn is_backed_up(kind: Kind, key: &str, text: &str) -> bool {
    let said = text
        .split(',')
        .find_map(|it| it.strip_prefix("backup="))
        .map(|it| matches!(&*it.to_ascii_lowercase(), "1" | "on" | "yes" | "true"));
    let is_root = key == "rootfs";
    match kind {
        _ if numbered(key, "unused") => false,
        Kind::Container => is_root || said.unwrap_or(false),
        Kind::Machine => said.unwrap_or(true),
    }
}

/// The keys that name volumes of the guest, with what they say and the volume.
fn named(kind: Kind, keys: &BTreeMap<String, Word>) -> impl Iterator<Item = (&str, &str, Volume)> {
    let prefixes: &[&str] = match kind {
        Kind::Container => &["mp", "unused"],
        Kind::Machine => &[
            "ide", "sata", "scsi", "virtio", "efidisk", "tpmstate", "unused",
        ],
    };
    keys.iter()
        .filter(move |(key, _)| {
            (kind == Kind::Container && key.as_str() == "rootfs")
                || prefixes.iter().any(|prefix| numbered(key, prefix))
        })
        .filter_map(|(key, value)| Some((key.as_str(), value.0.as_str(), volume(&value.0)?)))
}

fn volume(text: &str) -> Option<Volume> {
    let mut parts = text.split(',');
    let first = parts.next()?;
    let id = first
        .strip_prefix("volume=")
        .or_else(|| first.strip_prefix("file="))
        .unwrap_or(first);
    let (storage, name) = id.split_once(':')?;
    if id.starts_with('/') || name.is_empty() || text.split(',').any(|it| it == "media=cdrom") {
        return None;
    }
    Some(Volume {
        id: id.to_owned(),
        size: parts.find_map(|it| size(it.strip_prefix("size=")?)),
        storage: storage.to_owned(),
    })
}

/// Bytes in a size such as `8G` or `528K`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return None,
    };
    match digits.split_once('.') {
        None => digits.parse::<u64>().ok()?.checked_mul(1 << shift),
        Some((whole, part)) => {
            // Three digits are all that is ever written behind the point.
            let part: String = format!("{part}000").chars().take(3).collect();
            let thousandths = whole.parse::<u64>().ok()?.checked_mul(1000)?;
            let thousandths = thousandths.checked_add(part.parse().ok()?)?;
            Some(thousandths.checked_mul(1 << shift)? / 1000)
        }
    }
}

/// The parameters of a write; none when nothing changes.
pub(super) fn write(kind: Kind, changes: &Changes, read: &Config) -> Vec<(&'static str, String)> {
    let Changes {
        cores,
        memory,
        description,
        tags,
        onboot,
        protection,
        name,
        without_cards,
    } = changes;
    let mut put: Vec<(&'static str, String)> = Vec::new();
    let mut delete: Vec<String> = Vec::new();
    if let Some(cores) = cores {
        let sockets = read.sockets.max(1);
        if kind == Kind::Machine && sockets > 1 {
            if cores % sockets == 0 {
                put.push(("cores", (cores / sockets).to_string()));
            } else {
                put.push(("sockets", "1".to_owned()));
                put.push(("cores", cores.to_string()));
            }
        } else {
            put.push(("cores", cores.to_string()));
        }
    }
    if let Some(memory) = memory {
        put.push(("memory", memory.to_string()));
    }
    match description.as_deref() {
        // An empty value has no effect.
        Some("") if read.description.is_empty() => {}
        Some("") => delete.push("description".to_owned()),
        Some(text) => put.push(("description", text.to_owned())),
        None => {}
    }
    match tags {
        Some(tags) if tags.is_empty() && read.tags.is_empty() => {}
        Some(tags) if tags.is_empty() => delete.push("tags".to_owned()),
        Some(tags) => {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            put.push(("tags", tags.join(";")));
        }
        None => {}
    }
    for (key, switch) in [("onboot", onboot), ("protection", protection)] {
        if let Some(on) = switch {
            put.push((key, u8::from(*on).to_string()));
        }
    }
    if let Some(name) = name {
        put.push((name_key(kind), name.clone()));
    }
    if *without_cards {
        delete.extend(read.cards.iter().cloned());
    }
    if !delete.is_empty() {
        put.push(("delete", delete.join(",")));
    }
    seal(put, read)
}

/// A write with nothing but a digest is an error there.
fn seal(mut put: Vec<(&'static str, String)>, read: &Config) -> Vec<(&'static str, String)> {
    if !put.is_empty()
        && let Some(digest) = &read.digest
    {
        put.push(("digest", digest.clone()));
    }
    put
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, Word> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Word((*value).to_owned())))
            .collect()
    }

    #[test]
    fn a_container_is_read() {
        let read = read(
            Kind::Container,
            &keys(&[
                ("memory", "2048"),
                ("description", "web\n"),
                ("tags", "a;b"),
                ("rootfs", "local-lvm:vm-101-disk-0,size=8G"),
                ("mp0", "/srv/data,mp=/data"),
                ("mp1", "volume=pool:vm-101-disk-1,mp=/var,size=1.5G"),
                ("mp2", "nonsense that cannot be parsed"),
                ("unused0", "local-lvm:vm-101-disk-2"),
                (
                    "net0",
                    "name=eth0,bridge=vmbr0,hwaddr=bc:24:11:00:00:01,ip=dhcp",
                ),
                ("net10", "name=eth1"),
                ("nesting", "1"),
                ("digest", "d1"),
            ]),
        );
        assert_eq!(read.cores, None);
        assert_eq!(read.memory, Some(2048));
        assert_eq!(read.description, "web\n");
        assert!(read.privileged, "absent means privileged");
        assert_eq!(read.mac.as_deref(), Some("BC:24:11:00:00:01"));
        assert_eq!(read.cards, ["net0", "net10"]);
        assert_eq!(read.uuid, None);
        let volumes: Vec<(&str, Option<u64>)> = read
            .volumes
            .iter()
            .map(|it| (it.id.as_str(), it.size))
            .collect();
        assert_eq!(
            volumes,
            [
                ("local-lvm:vm-101-disk-0", Some(8 << 30)),
                ("local-lvm:vm-101-disk-2", None),
                ("pool:vm-101-disk-1", Some(3 << 29)),
            ]
        );
    }

    /// GB8: what a backup leaves out by its defaults, which are not the same for both kinds.
    #[test]
    fn what_no_backup_holds_is_known() {
        let of = |kind, pairs| {
            let left = read(kind, &keys(pairs)).unsaved.into_iter();
            left.map(|(id, key)| format!("{id} {key}"))
                .collect::<Vec<_>>()
        };
        let container = [
            ("rootfs", "s:root,size=8G"),
            ("mp0", "s:plain,mp=/a,size=1G"),
            ("mp1", "s:saved,mp=/b,backup=1"),
            ("mp2", "s:never,mp=/c,backup=0"),
            ("mp3", "/srv/data,mp=/d"),
            ("unused0", "s:loose"),
            ("unused1", "s:saved"),
        ];
        let left = ["s:loose unused0", "s:never mp2", "s:plain mp0"];
        assert_eq!(of(Kind::Container, &container), left);
        let machine = [
            ("scsi0", "s:root,size=8G"),
            ("scsi1", "s:never,backup=0"),
            ("virtio0", "s:saved,backup=on"),
            ("efidisk0", "s:efi,efitype=4m"),
            ("ide2", "s:iso/debian.iso,media=cdrom"),
            ("unused0", "s:loose"),
        ];
        assert_eq!(
            of(Kind::Machine, &machine),
            ["s:loose unused0", "s:never scsi1"]
        );
    }

    #[test]
    fn a_virtual_machine_is_read() {
        let read = read(
            Kind::Machine,
            &keys(&[
                ("memory", "current=4096"),
                ("cores", "2"),
                ("sockets", "2"),
                ("ide2", "local:iso/debian.iso,media=cdrom,size=600M"),
                ("scsi0", "local-lvm:vm-200-disk-0,iothread=1,size=32G"),
                ("scsihw", "virtio-scsi-single"),
                ("efidisk0", "local-lvm:vm-200-disk-1,efitype=4m,size=528K"),
                ("net0", "virtio=BC:24:11:00:00:02,bridge=vmbr0"),
                ("smbios1", "uuid=6c1f"),
                ("meta", "creation-qemu=9.0.2,ctime=1700000000"),
            ]),
        );
        assert_eq!((read.cores, read.memory), (Some(4), Some(4096)));
        assert_eq!(read.uuid.as_deref(), Some("6c1f.1700000000"));
        assert_eq!(read.mac.as_deref(), Some("BC:24:11:00:00:02"));
        assert_eq!(read.volumes.len(), 2);
    }

    #[test]
    fn an_empty_description_is_deleted_and_what_is_not_there_is_not() {
        let changes = Changes {
            description: Some(String::new()),
            tags: Some(std::collections::BTreeSet::new()),
            ..Changes::default()
        };
        let mut read = Config::default();
        assert!(write(Kind::Container, &changes, &read).is_empty());
        read.description = "x\n".to_owned();
        read.digest = Some("d1".to_owned());
        assert_eq!(
            write(Kind::Container, &changes, &read),
            [
                ("delete", "description".to_owned()),
                ("digest", "d1".to_owned())
            ]
        );
    }
}
