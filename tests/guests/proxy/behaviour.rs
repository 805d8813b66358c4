//! What the stand-in lacks: tokens and privileges, how a real one writes things back, high availability, backups, and tasks that it
//! forgets or that end in ways of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use http::Method;
use serde_json::{Value, json};

use super::upstream::{Reply, Upstream};
use super::{Backup, State};

/// A request, taken apart.
pub(super) struct Asked {
    pub(super) method: Method,
    path: String,
    query: BTreeMap<String, String>,
    form: BTreeMap<String, String>,
    token: String,
}

impl Asked {
    pub(super) fn new(method: Method, whole: &str, body: &[u8], token: &str) -> Self {
        let (path, query) = whole.split_once('?').unwrap_or((whole, ""));
        Self {
            method,
            path: path.to_owned(),
            query: parse(query),
            form: parse(&String::from_utf8_lossy(body)),
            token: token.to_owned(),
        }
    }

    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Path segments below `/nodes/N`: node, `lxc` or `qemu` or another word, and what follows.
    fn below_node(&self) -> Option<(&str, Vec<&str>)> {
        let rest = self.path.strip_prefix("/nodes/")?;
        let mut parts = rest.split('/');
        let node = parts.next()?;
        Some((node, parts.collect()))
    }

    async fn pass(&self, upstream: &Upstream) -> Reply {
        self.pass_with(upstream, &self.form).await
    }

    async fn pass_with(&self, upstream: &Upstream, form: &BTreeMap<String, String>) -> Reply {
        let mut path = self.path.clone();
        if !self.query.is_empty() {
            path = format!("{path}?{}", spell(&self.query));
        }
        upstream
            .ask(self.method.clone(), &path, spell(form).into_bytes())
            .await
    }
}

fn parse(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .filter(|it| !it.is_empty())
        .map(|it| it.split_once('=').unwrap_or((it, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3);
        match (
            bytes[at],
            hex.and_then(|it| u8::from_str_radix(it, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn spell(pairs: &BTreeMap<String, String>) -> String {
    let encode = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
    };
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    pairs.join("&")
}

/// Answers a request as Proxmox VE would.
pub(super) async fn answer(asked: &Asked, upstream: &Upstream, state: &Mutex<State>) -> Reply {
    if let Err(reply) = permit(asked, &state.lock().unwrap()) {
        return reply;
    }
    if asked.path == "/access/permissions" {
        return permissions(asked, &state.lock().unwrap());
    }
    if let Some(pool) = asked.path.strip_prefix("/pools/") {
        let state = state.lock().unwrap();
        if !is_granted(asked, &state, &format!("/pool/{pool}"), "Pool.Audit") {
            return Reply::error(
                403,
                &format!("Permission check failed (/pool/{pool}, Pool.Audit)"),
            );
        }
        return match state.no_pools {
            true => Reply::error(500, &format!("pool '{pool}' does not exist")),
            false => Reply::ok(json!({ "poolid": pool, "members": [] })),
        };
    }
    if asked.path == "/cluster/resources" {
        let mut reply = asked.pass(upstream).await;
        let state = state.lock().unwrap();
        resources(&mut reply, &state);
        leave_out_unseen(asked, &mut reply, &state);
        return reply;
    }
    if asked.path == "/cluster/status"
        && !is_granted(asked, &state.lock().unwrap(), "/", "Sys.Audit")
    {
        return Reply::error(403, "Permission check failed (/, Sys.Audit)");
    }
    let Some((node, below)) = asked.below_node() else {
        return asked.pass(upstream).await;
    };
    if state.lock().unwrap().silent.contains(node) {
        return Reply::error(595, "No route to host");
    }
    match (asked.method.as_str(), &below[..]) {
        ("GET", ["tasks"]) => {
            let mut reply = asked.pass(upstream).await;
            tasks(asked, node, &mut reply, &state.lock().unwrap());
            reply
        }
        ("GET", ["tasks", upid, "status"]) => task_status(asked, upid, upstream, state).await,
        ("GET", ["storage", _, "content"])
            if asked.query.get("content").is_some_and(|it| it == "backup") =>
        {
            backups(asked, &state.lock().unwrap())
        }
        ("GET", ["lxc" | "qemu"]) => {
            let mut reply = asked.pass(upstream).await;
            leave_out_unseen(asked, &mut reply, &state.lock().unwrap());
            reply
        }
        ("POST", ["vzdump"]) => vzdump(asked, node, upstream, state).await,
        ("POST", ["lxc" | "qemu"]) => create(asked, upstream, state).await,
        ("POST", ["lxc" | "qemu", _, "clone"]) => {
            let reply = note_task(asked, asked.pass(upstream).await, state);
            note_pool(&reply, &asked.form, "newid", state);
            reply
        }
        ("DELETE", ["lxc" | "qemu", vmid]) => {
            let reply = note_task(asked, asked.pass(upstream).await, state);
            if reply.status.is_success() {
                state.lock().unwrap().pools.remove(*vmid);
            }
            reply
        }
        ("POST", ["lxc" | "qemu", vmid, "status", verb]) => {
            power(asked, vmid, verb, upstream, state).await
        }
        ("GET", [kind @ ("lxc" | "qemu"), _, "config" | "pending"]) => {
            let mut reply = asked.pass(upstream).await;
            write_back(kind, &mut reply.json["data"]);
            reply
        }
        ("GET", ["lxc" | "qemu", vmid, "status", "current"]) => {
            current(asked, vmid, upstream, state).await
        }
        ("PUT", ["lxc" | "qemu", _, "config"]) => {
            let mut form = asked.form.clone();
            // A description of "0" is taken, and never stored.
            let lost = form.get("description").is_some_and(|it| it == "0");
            if lost {
                form.remove("description");
                if form.keys().all(|it| it == "digest") {
                    return Reply::ok(Value::Null);
                }
            }
            asked.pass_with(upstream, &form).await
        }
        _ => asked.pass(upstream).await,
    }
}

/// The privilege that a request needs, and where: on a guest, or on a pool for one that is not there yet.
fn needs(asked: &Asked) -> Vec<(String, &'static str)> {
    let Some((_, below)) = asked.below_node() else {
        return Vec::new();
    };
    let vm = |vmid: &str| format!("/vms/{vmid}");
    match (asked.method.as_str(), &below[..]) {
        ("GET", ["lxc" | "qemu", vmid, "config" | "pending" | "status", ..]) => {
            vec![(vm(vmid), "VM.Audit")]
        }
        ("POST", ["lxc" | "qemu", vmid, "status", _]) => vec![(vm(vmid), "VM.PowerMgmt")],
        ("DELETE", ["lxc" | "qemu", vmid]) => vec![(vm(vmid), "VM.Allocate")],
        ("POST", ["lxc" | "qemu"]) => {
            let vmid = asked.form.get("vmid").map_or("", String::as_str);
            let mut needs = vec![(vm(vmid), "VM.Allocate")];
            let archive = asked.form.get("archive").or_else(|| {
                let restores = asked.form.get("restore").is_some_and(|it| it == "1");
                asked.form.get("ostemplate").filter(|_| restores)
            });
            // Who makes something out of a backup needs a right on the guest that it is of.
            let owner = archive.and_then(|it| it.split('-').nth(2));
            needs.extend(owner.map(|it| (vm(it), "VM.Backup")));
            needs
        }
        ("POST", ["lxc" | "qemu", vmid, "clone"]) => {
            let made = asked.form.get("newid").map_or("", String::as_str);
            vec![(vm(vmid), "VM.Clone"), (vm(made), "VM.Allocate")]
        }
        ("POST", ["vzdump"]) => {
            let vmid = asked.form.get("vmid").map_or("", String::as_str);
            vec![(vm(vmid), "VM.Backup")]
        }
        ("PUT", ["lxc" | "qemu", vmid, "config"]) => {
            let deleted = asked.form.get("delete").map_or("", String::as_str);
            let keys = asked.form.keys().map(String::as_str);
            keys.chain(deleted.split(','))
                .filter(|it| !matches!(*it, "" | "delete" | "digest"))
                .map(|key| (vm(vmid), option(key)))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn option(key: &str) -> &'static str {
    match key {
        "cores" | "sockets" | "cpulimit" => "VM.Config.CPU",
        "memory" | "swap" => "VM.Config.Memory",
        "hostname" | "nameserver" => "VM.Config.Network",
        _ if key.starts_with("net") => "VM.Config.Network",
        _ if key.starts_with("mp") || key == "rootfs" => "VM.Config.Disk",
        _ => "VM.Config.Options",
    }
}

fn permit(asked: &Asked, state: &State) -> Result<(), Reply> {
    if !state.tokens.contains_key(&asked.token) {
        return Err(Reply::error(401, "no such token"));
    }
    for (place, privilege) in needs(asked) {
        if !is_granted(asked, state, &place, privilege) {
            let text = format!("Permission check failed ({place}, {privilege})");
            return Err(Reply::error(403, &text));
        }
    }
    Ok(())
}

fn is_granted(asked: &Asked, state: &State, place: &str, privilege: &str) -> bool {
    // One that is not there yet is to be in the pool that is asked for.
    let asked_for = asked
        .form
        .get("pool")
        .filter(|_| privilege == "VM.Allocate");
    let pool = place
        .strip_prefix("/vms/")
        .and_then(|it| state.pools.get(it).or(asked_for))
        .map(|it| format!("/pool/{it}"));
    let grants = state.tokens.get(&asked.token).into_iter().flatten();
    let mut grants = grants.filter(|(_, privileges)| privileges.contains(&privilege));
    grants.any(|(path, _)| {
        let covers =
            |place: &str| *path == "/" || place == *path || place.starts_with(&format!("{path}/"));
        covers(place) || pool.as_deref().is_some_and(covers)
    })
}

fn permissions(asked: &Asked, state: &State) -> Reply {
    let mut paths = json!({});
    for (path, privileges) in &state.tokens[&asked.token] {
        for privilege in *privileges {
            paths[*path][*privilege] = json!(1);
        }
    }
    Reply::ok(paths)
}

/// A list leaves out in silence what the token may not see.
fn leave_out_unseen(asked: &Asked, reply: &mut Reply, state: &State) {
    let Some(rows) = reply.json["data"].as_array_mut() else {
        return;
    };
    rows.retain(|row| {
        let place = format!("/vms/{}", row["vmid"]);
        row["vmid"].is_null() || is_granted(asked, state, &place, "VM.Audit")
    });
}

fn resources(reply: &mut Reply, state: &State) {
    for row in reply.json["data"].as_array_mut().into_iter().flatten() {
        let vmid = row["vmid"].to_string();
        if row["node"]
            .as_str()
            .is_some_and(|it| state.silent.contains(it))
        {
            let is_node = row["type"] == "node";
            row["status"] = json!(if is_node { "offline" } else { "unknown" });
        }
        if state.managed.contains_key(&vmid) {
            row["hastate"] = json!("started");
        }
        if let Some(pool) = state.pools.get(&vmid) {
            row["pool"] = json!(pool);
        }
    }
}

/// How a description comes back: a container's with a newline at its end, a virtual machine's without anything blank there.
fn write_back(kind: &str, data: &mut Value) {
    let change = |text: &str| match kind {
        "lxc" if text.is_empty() => String::new(),
        "lxc" => format!("{}\n", text.trim_end_matches('\n')),
        _ => text.trim_end().to_owned(),
    };
    if let Some(text) = data["description"].as_str() {
        data["description"] = json!(change(text));
    }
    for row in data.as_array_mut().into_iter().flatten() {
        if row["key"] == "description"
            && let Some(text) = row["value"].as_str()
        {
            row["value"] = json!(change(text));
        }
    }
}

/// Takes in a task that was begun, and how it is to end.
fn note_task(asked: &Asked, reply: Reply, state: &Mutex<State>) -> Reply {
    if let Some(upid) = reply.json["data"].as_str() {
        let mut state = state.lock().unwrap();
        state.begins(upid, &asked.token);
        if let Some(end) = state.ends.pop_front() {
            state.told.insert(upid.to_owned(), end);
        }
    }
    reply
}

/// The tasks of a node: those of others are shown to whoever has `Sys.Audit` there, and to nobody else.
fn tasks(asked: &Asked, node: &str, reply: &mut Reply, state: &State) {
    let Some(rows) = reply.json["data"].as_array_mut() else {
        return;
    };
    let sees_all = is_granted(asked, state, &format!("/nodes/{node}"), "Sys.Audit");
    let begun = |row: &Value| state.begun.get(row["upid"].as_str().unwrap_or(""));
    rows.retain(|row| sees_all || begun(row).is_some_and(|(_, token)| *token == asked.token));
    for row in rows {
        let at = begun(row).map_or(0, |(at, _)| *at);
        row["starttime"] = json!(at);
    }
}

async fn task_status(
    asked: &Asked,
    upid: &str,
    upstream: &Upstream,
    state: &Mutex<State>,
) -> Reply {
    let upid = decode(upid);
    let (forgetful, told) = {
        let state = state.lock().unwrap();
        (state.forgetful, state.told.get(&upid).copied())
    };
    if forgetful {
        return Reply::error(400, "no such task");
    }
    // Those the stand-in knows nothing of.
    if upid.contains(":00000001:6B0C56BB:") {
        let how = told.unwrap_or("OK");
        return Reply::ok(json!({ "upid": upid, "status": "stopped", "exitstatus": how }));
    }
    let mut reply = asked.pass(upstream).await;
    if reply.status.as_u16() == 500 {
        return Reply::error(400, "no such task");
    }
    if let Some(end) = told
        && reply.json["data"]["status"] == "stopped"
    {
        reply.json["data"]["exitstatus"] = json!(end);
    }
    reply
}

async fn power(
    asked: &Asked,
    vmid: &str,
    verb: &str,
    upstream: &Upstream,
    state: &Mutex<State>,
) -> Reply {
    {
        let mut state = state.lock().unwrap();
        let number = state.effects.len();
        if let Some(managed) = state.managed.get_mut(vmid) {
            let (does, wants) = match verb {
                "start" => ("hastart", "start"),
                _ => ("hastop", "stop"),
            };
            managed.asked = Some((wants, 3));
            return Reply::ok(json!(format!(
                "UPID:pve1:{number:08X}:00000001:6B0C56BB:{does}:{vmid}:root@pam:"
            )));
        }
    }
    if verb == "shutdown" {
        let mut state = state.lock().unwrap();
        if state.heedless.contains(vmid) {
            let number = state.effects.len();
            let upid =
                format!("UPID:pve1:{number:08X}:00000001:6B0C56BB:vzshutdown:{vmid}:root@pam:");
            state
                .told
                .insert(upid.clone(), "command 'lxc-stop' failed: exit code 1");
            return Reply::ok(json!(upid));
        }
    }
    note_task(asked, asked.pass(upstream).await, state)
}

async fn current(asked: &Asked, vmid: &str, upstream: &Upstream, state: &Mutex<State>) -> Reply {
    let due = {
        let mut state = state.lock().unwrap();
        match state.managed.get_mut(vmid).map(|it| &mut it.asked) {
            Some(asked @ Some((_, 0))) => asked.take().map(|(wants, _)| wants),
            Some(Some((_, looks))) => {
                *looks -= 1;
                None
            }
            _ => None,
        }
    };
    if let Some(wants) = due {
        let path = asked
            .path
            .replace("/status/current", &format!("/status/{wants}"));
        upstream.ask(Method::POST, &path, Vec::new()).await;
    }
    let mut reply = asked.pass(upstream).await;
    if state.lock().unwrap().managed.contains_key(vmid) {
        reply.json["data"]["ha"] = json!({ "managed": 1, "state": "started" });
    }
    reply
}

async fn vzdump(asked: &Asked, node: &str, upstream: &Upstream, state: &Mutex<State>) -> Reply {
    let word = |key: &str| asked.form.get(key).cloned().unwrap_or_default();
    let vmid = word("vmid");
    let mut config = Value::Null;
    let mut kind = "lxc";
    for candidate in ["lxc", "qemu"] {
        let path = format!("/nodes/{node}/{candidate}/{vmid}/config?current=1");
        let reply = upstream.ask(Method::GET, &path, Vec::new()).await;
        if reply.status.is_success() {
            config = reply.json["data"].clone();
            kind = candidate;
        }
    }
    let reply = note_task(asked, asked.pass(upstream).await, state);
    if reply.status.is_success()
        && let Value::Object(config) = config
    {
        let mut state = state.lock().unwrap();
        let (number, ctime) = (state.backups.len(), state.clock);
        let volid = format!(
            "{}:backup/vzdump-{kind}-{vmid}-2026_11_29-10_00_{number:02}.tar.zst",
            word("storage")
        );
        state.backups.push(Backup {
            volid,
            vmid,
            notes: word("notes-template"),
            size: 123_456_789,
            ctime,
            config: config.into_iter().collect(),
        });
    }
    reply
}

fn backups(asked: &Asked, state: &State) -> Reply {
    let of = asked.query.get("vmid");
    let rows: Vec<Value> = state
        .backups
        .iter()
        .filter(|it| of.is_none_or(|of| *of == it.vmid))
        // Who may not back a guest up is shown none of its backups, and not told so.
        .filter(|it| is_granted(asked, state, &format!("/vms/{}", it.vmid), "VM.Backup"))
        .map(|it| {
            json!({ "volid": it.volid, "vmid": it.vmid, "notes": it.notes, "size": it.size, "ctime": it.ctime, "format": "tar.zst",
                    "content": "backup" })
        })
        .collect();
    Reply::ok(rows.into())
}

/// Makes a guest; one out of a backup has the configuration that is in it.
async fn create(asked: &Asked, upstream: &Upstream, state: &Mutex<State>) -> Reply {
    let mut form = asked.form.clone();
    let archive = match form.get("restore").map(String::as_str) {
        Some("1") => form.get("ostemplate").cloned(),
        _ => form.remove("archive"),
    };
    if let Some(archive) = archive {
        let backup = {
            let state = state.lock().unwrap();
            state.backups.iter().find(|it| it.volid == archive).cloned()
        };
        let Some(backup) = backup else {
            return Reply::error(500, &format!("volume '{archive}' does not exist"));
        };
        make_room(asked, upstream, &mut form).await;
        let unique = form.remove("unique").is_some_and(|it| it == "1");
        for (key, value) in backup.config {
            if matches!(
                key.as_str(),
                "digest" | "lock" | "rootfs" | "unprivileged" | "ostype" | "arch" | "template"
            ) || key.starts_with("scsi")
                || key.starts_with("unused")
            {
                continue;
            }
            let mut text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            if unique && key.starts_with("net") {
                text = text
                    .split(',')
                    .filter(|it| !it.starts_with("hwaddr="))
                    // Of a virtual machine: the model and, behind it, the address.
                    .map(|it| it.strip_prefix("virtio=").map_or(it, |_| "virtio"))
                    .collect::<Vec<_>>()
                    .join(",");
            }
            form.entry(key).or_insert(text);
        }
        if asked.path.ends_with("/lxc") {
            form.insert("unprivileged".to_owned(), "1".to_owned());
        }
    }
    let reply = note_task(asked, asked.pass_with(upstream, &form).await, state);
    note_pool(&reply, &form, "vmid", state);
    reply
}

/// Takes in which pool a guest is that was made: `key` says what it is called.
fn note_pool(reply: &Reply, form: &BTreeMap<String, String>, key: &str, state: &Mutex<State>) {
    if reply.status.is_success()
        && let (Some(vmid), Some(pool)) = (form.get(key), form.get("pool"))
    {
        let mut state = state.lock().unwrap();
        state.pools.insert(vmid.clone(), pool.clone());
    }
}

/// Proxmox VE puts a backup in the place of a virtual machine that stands still; the stand-in knows that of containers alone.
async fn make_room(asked: &Asked, upstream: &Upstream, form: &mut BTreeMap<String, String>) {
    let replaces = form.get("force").is_some_and(|it| it == "1");
    if !replaces || !asked.path.ends_with("/qemu") {
        return;
    }
    form.remove("force");
    if let Some(vmid) = form.get("vmid") {
        let path = format!("{}/{vmid}", asked.path);
        upstream.ask(Method::DELETE, &path, Vec::new()).await;
        while upstream
            .ask(Method::GET, &format!("{path}/config"), Vec::new())
            .await
            .status
            .is_success()
        {
            tokio::task::yield_now().await;
        }
    }
}
