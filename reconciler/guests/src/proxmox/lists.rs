//! What lists of Proxmox VE say together, and the parameters of a creation.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use muster_core::guests::normal::tags_of;

use super::answers::{Row, Waits, Word};
use super::config::name_key;
use super::{power, route};
use crate::api::{Creation, Kind, Listed, Listing, Pending, Place, Result, Source};
use crate::encode::segment;

/// Out of the broadcast of the whole cluster, which is ten seconds old at most but may be far older, and the lists of one node, which are
/// of now. Nobody is gone because the broadcast says so, and nobody is there because of it alone on our own node.
pub(super) fn merge(
    own: &str,
    resources: Vec<Row>,
    containers: Result<Vec<Row>>,
    machines: Result<Vec<Row>>,
) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut silence = None;
    let mut live = BTreeMap::new();
    for (kind, rows) in [(Kind::Container, containers), (Kind::Machine, machines)] {
        match rows {
            Ok(rows) => live.extend(
                rows.into_iter()
                    .map(|row| (row.vmid.0.clone(), (kind, row))),
            ),
            Err(error) if error.is_unreachable() => {
                silence.get_or_insert(error.text().to_owned());
            }
            Err(error) => return Err(error),
        }
    }
    let mut told = BTreeMap::new();
    for row in resources {
        match row.kind.0.as_str() {
            "node" if row.status.0 != "online" => {
                listing.silent.insert(
                    row.node.0,
                    format!("the cluster says it is {}", row.status.0),
                );
            }
            "lxc" => drop(told.insert(row.vmid.0.clone(), (Kind::Container, row))),
            "qemu" => drop(told.insert(row.vmid.0.clone(), (Kind::Machine, row))),
            _ => {}
        }
    }
    for (vmid, (kind, row)) in live {
        let known = told.remove(&vmid);
        let mut listed = listed(kind, own.to_owned(), row);
        if let Some((_, known)) = known {
            listed.pool = known.pool.some();
            listed.ha = known.hastate.some();
        }
        listing.guests.insert(vmid, listed);
    }
    for (vmid, (kind, row)) in told {
        let node = row.node.0.clone();
        // On our own node it was a moment ago, and is not now: it moves, or ends. The next look knows.
        let here = node == own;
        let mut listed = listed(kind, node.clone(), row);
        if here || listing.silent.contains_key(&node) {
            listed.power = None;
        }
        listing.guests.insert(vmid, listed);
    }
    if let Some(why) = silence {
        for guest in listing
            .guests
            .values_mut()
            .filter(|it| it.place.node == own)
        {
            guest.power = None;
        }
        listing.silent.insert(own.to_owned(), why);
    }
    Ok(listing)
}

fn listed(kind: Kind, node: String, row: Row) -> Listed {
    let power = match row.status.0.as_str() {
        // What the broadcast says of a guest whose node has said nothing for five minutes.
        "unknown" | "" => None,
        status => Some(power(status)),
    };
    Listed {
        place: Place {
            id: row.vmid.0,
            kind,
            node,
            project: String::new(),
        },
        name: row.name.some(),
        power,
        lock: row.lock.some(),
        template: row.template.is_set(),
        ha: row.hastate.some(),
        pool: row.pool.some(),
        tags: tags_of(&row.tags.0),
        busy: None,
        config: None,
    }
}

/// What of a list changes when something happened to a guest.
pub(super) fn pulse(rows: &[Row]) -> u64 {
    let mut lines: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                &row.vmid.0,
                &row.node.0,
                &row.status.0,
                &row.lock.0,
                &row.name.0,
                &row.hastate.0,
            )
        })
        .collect();
    lines.sort();
    let mut hasher = DefaultHasher::new();
    lines.hash(&mut hasher);
    hasher.finish()
}

/// What is in force, by key, and what waits for a reboot.
pub(super) fn pending(rows: Vec<Waits>) -> (BTreeMap<String, Word>, Vec<Pending>) {
    let (mut keys, mut waits) = (BTreeMap::new(), Vec::new());
    for row in rows {
        if row.pending.is_some() || matches!(row.delete.0.as_str(), "1" | "2") {
            waits.push(Pending {
                key: row.key.0.clone(),
                now: row.value.clone().map(|it| it.0),
                then: row.pending.map(|it| it.0),
            });
        }
        keys.extend(row.value.map(|value| (row.key.0, value)));
    }
    (keys, waits)
}

/// Where a guest is made, and with which parameters.
pub(super) fn creation(creation: &Creation) -> (String, Vec<(&str, String)>) {
    let Creation {
        place,
        from,
        name,
        storage,
        disk,
        network,
        pool,
        unprivileged,
        nesting,
        devices,
        cores,
        memory,
        description,
        tags,
        onboot,
    } = creation;
    let node = segment(&place.node);
    let mut put: Vec<(&str, String)> = Vec::new();
    put.extend(pool.clone().map(|it| ("pool", it)));
    put.extend(
        description
            .clone()
            .filter(|it| !it.is_empty())
            .map(|it| ("description", it)),
    );
    if let Source::Clone(original) = from {
        put.push(("newid", place.id.clone()));
        put.push(("full", "1".to_owned()));
        put.push(("storage", storage.clone()));
        put.extend(name.clone().map(|it| (name_key(place.kind), it)));
        if original.node != place.node {
            put.push(("target", place.node.clone()));
        }
        return (format!("{}/clone", route(original)), put);
    }
    put.push(("vmid", place.id.clone()));
    put.push(("onboot", u8::from(*onboot).to_string()));
    put.extend(cores.map(|it| ("cores", it.to_string())));
    put.extend(memory.map(|it| ("memory", it.to_string())));
    put.extend(name.clone().map(|it| (name_key(place.kind), it)));
    if !tags.is_empty() {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        put.push(("tags", tags.join(";")));
    }
    put.extend(
        devices
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone())),
    );
    let image = match from {
        Source::Template(image) | Source::Image(image) => image.clone(),
        Source::Clone(_) => unreachable!("answered above"),
    };
    let route = match place.kind {
        Kind::Container => {
            put.push(("ostemplate", image));
            put.push(("unprivileged", u8::from(*unprivileged).to_string()));
            if *nesting {
                put.push(("features", "nesting=1".to_owned()));
            }
            match disk {
                Some(disk) => put.push(("rootfs", format!("{storage}:{disk}"))),
                None => put.push(("storage", storage.clone())),
            }
            put.extend(
                network
                    .as_ref()
                    .map(|it| ("net0", format!("name=eth0,bridge={it},ip=dhcp"))),
            );
            format!("/nodes/{node}/lxc")
        }
        Kind::Machine => {
            put.push(("scsi0", format!("{storage}:0,import-from={image}")));
            put.push(("scsihw", "virtio-scsi-single".to_owned()));
            put.push(("boot", "order=scsi0".to_owned()));
            put.extend(
                network
                    .as_ref()
                    .map(|it| ("net0", format!("virtio,bridge={it}"))),
            );
            format!("/nodes/{node}/qemu")
        }
    };
    (route, put)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Power;
    use crate::error::Error;

    fn row(kind: &str, vmid: &str, node: &str, status: &str) -> Row {
        let word = |it: &str| super::super::answers::Word(it.to_owned());
        Row {
            kind: word(kind),
            vmid: word(vmid),
            node: word(node),
            status: word(status),
            ..Row::default()
        }
    }

    fn broadcast() -> Vec<Row> {
        vec![
            row("node", "", "pve1", "online"),
            row("node", "", "pve2", "offline"),
            row("node", "", "pve3", "online"),
            row("lxc", "101", "pve1", "running"),
            row("lxc", "102", "pve2", "running"),
            row("qemu", "103", "pve3", "stopped"),
            row("lxc", "104", "pve1", "running"),
            row("storage", "", "pve1", "available"),
        ]
    }

    /// GB3, GB4: a guest elsewhere is told with its node, one on a silent node without power, and one that has just left ours, too.
    #[test]
    fn guests_of_the_cluster_are_told_with_their_node() {
        let here = Ok(vec![
            row("", "101", "", "stopped"),
            row("", "105", "", "running"),
        ]);
        let listing = merge("pve1", broadcast(), here, Ok(Vec::new())).unwrap();
        let power = |id: &str| listing.guests[id].power.clone();
        assert_eq!(
            power("101"),
            Some(Power::Stopped),
            "the live list is of now"
        );
        assert_eq!(power("102"), None);
        assert_eq!(power("103"), Some(Power::Stopped));
        assert_eq!(listing.guests["103"].place.node, "pve3");
        assert_eq!(power("104"), None);
        assert_eq!(power("105"), Some(Power::Running));
        assert_eq!(listing.silent.keys().collect::<Vec<_>>(), ["pve2"]);
    }

    #[test]
    fn a_node_of_ours_that_is_silent_makes_its_guests_unknown() {
        let silent = || Err(Error::refused("x", 595, "No route to host"));
        let listing = merge("pve1", broadcast(), silent(), silent()).unwrap();
        assert_eq!(listing.guests["101"].power, None);
        assert_eq!(listing.guests["103"].power, Some(Power::Stopped));
        assert_eq!(listing.silent.keys().collect::<Vec<_>>(), ["pve1", "pve2"]);
    }
}
