//! The client of Proxmox VE against fakepve, a process of its own, behind a proxy that adds what it lacks. `tests/guests/pve` installs
//! fakepve and runs these.

#[path = "../../../../tests/guests/proxy/mod.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod proxy;

#[path = "../../../../tests/guests/site.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod site;

mod client;
mod heedless;
mod kinds;
mod races;
mod used;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use muster_guests::api::{Kind, Place};
use muster_guests::proxmox::{Proxmox, Token};
use muster_guests::trust::Trust;
use muster_guests::wire::Limits;
use serde_json::{Value, json};

use proxy::Proxy;

/// The program of the stand-in.
fn fakepve() -> PathBuf {
    std::env::var_os("MUSTER_FAKEPVE")
        .expect("MUSTER_FAKEPVE names the program; tests/guests/pve sets it")
        .into()
}

fn container(vmid: u32, status: &str) -> Value {
    json!({ "vmid": vmid, "type": "lxc", "name": format!("ct{vmid}"), "status": status, "config": {
        "memory": 1024, "cores": 2,
        "net0": format!("name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:{:02X},ip=dhcp,type=veth", vmid % 256),
    }})
}

fn machine(vmid: u32, status: &str) -> Value {
    json!({ "vmid": vmid, "type": "qemu", "name": format!("vm{vmid}"), "status": status, "config": {
        "memory": 2048, "cores": 2, "scsi0": format!("local-lvm:vm-{vmid}-disk-0,size=32G"),
        "net0": format!("virtio=BC:24:11:01:00:{:02X},bridge=vmbr0", vmid % 256),
        "smbios1": format!("uuid=00000000-0000-0000-0000-{vmid:012}"),
    }})
}

fn place(kind: Kind, vmid: u32) -> Place {
    Place {
        id: vmid.to_string(),
        kind,
        node: "pve1".to_owned(),
        project: String::new(),
    }
}

/// Short, so that what never answers is known soon; nothing here takes a tenth of it.
fn limits() -> Limits {
    Limits {
        total: Duration::from_secs(20),
        ..Limits::default()
    }
}

fn open(proxy: &Proxy, token: &str, limits: Limits) -> Proxmox {
    let trust = Trust::Authority(proxy.certificate.clone());
    Proxmox::new(
        &proxy.url(),
        "pve1",
        &trust,
        &Token::parse(token).unwrap(),
        limits,
    )
    .unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
