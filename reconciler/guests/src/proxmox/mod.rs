//! Proxmox VE over its REST API, with an API token.

mod answers;
pub(crate) mod config;
mod lists;
mod token;
mod upid;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use self::answers::{
    Complaint, Content, Current, Envelope, Member, Row, TaskRow, Version, Waits, Word,
};
pub use self::token::Token;
use self::upid::{Upid, call, is_use, task};
use crate::api::{
    Backup, Changes, Config, Creation, FoundTask, GuestApi, Kind, LastUse, Listing, Pending,
    Permissions, Place, Power, Progress, Restore, Result, Server, Status, Task,
};
use crate::encode::{form, segment};
use crate::error::Error;
use crate::patience::waiting;
use crate::trust::Trust;
use crate::wire::{Address, Body, Limits, OpenError, Wire, WireError};

/// The port of Proxmox VE.
pub const PORT: u16 = 8006;

/// The largest body that Proxmox VE takes, in bytes.
const LARGEST_BODY: usize = 512 << 10;

/// One node of Proxmox VE, and the cluster behind it, seen with one token.
#[derive(Clone, Debug)]
pub struct Proxmox {
    wire: Wire,
    node: String,
    authorization: HeaderValue,
    who: String,
}

impl Proxmox {
    /// Prepares a client of `node`; nothing is sent yet.
    ///
    /// # Errors
    /// When the address, the certificate or the token cannot be used.
    pub fn new(
        address: &str,
        node: &str,
        trust: &Trust,
        token: &Token,
        limits: Limits,
    ) -> std::result::Result<Self, OpenError> {
        let address = Address::parse(address, PORT)?;
        let bytes = format!("PVEAPIToken={}", *token.0);
        let mut authorization = HeaderValue::from_str(&bytes)
            .map_err(|_| OpenError::Credential("it cannot stand in a request".to_owned()))?;
        drop(Zeroizing::new(bytes));
        authorization.set_sensitive(true);
        Ok(Self {
            wire: Wire::new(address, Some(trust), None, limits)?,
            node: node.to_owned(),
            authorization,
            who: token.name().to_owned(),
        })
    }

    /// The node that it is for.
    pub fn node(&self) -> &str {
        &self.node
    }

    async fn exchange<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T> {
        let Ask {
            what,
            method,
            route,
            parameters,
            longer,
        } = ask;
        let mut request = Request::builder()
            .method(method.clone())
            .header(AUTHORIZATION, self.authorization.clone());
        let mut path = format!("/api2/json{route}");
        let body = form(parameters);
        let in_query = method == Method::GET || method == Method::DELETE;
        if in_query && !body.is_empty() {
            path = format!("{path}?{body}");
        } else if !in_query {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let body = if in_query { String::new() } else { body };
        if body.len() > LARGEST_BODY {
            return Err(Error::NotSent {
                what: what.to_owned(),
                why: format!("it has {} bytes, and {LARGEST_BODY} are taken", body.len()),
            });
        }
        let request = request
            .uri(path)
            .body(Body::from(body.into_bytes()))
            .map_err(|error| Error::NotSent {
                what: what.to_owned(),
                why: error.to_string(),
            })?;
        let changes = method != Method::GET;
        let answer =
            Box::pin(self.wire.send(request, longer))
                .await
                .map_err(|error| match error {
                    WireError::NotSent(why) => Error::NotSent {
                        what: what.to_owned(),
                        why,
                    },
                    WireError::Perhaps(why) if changes => Error::perhaps(what, why),
                    WireError::Perhaps(why) => Error::unreadable(what, why),
                })?;
        let code = answer.status.as_u16();
        if !answer.status.is_success() {
            let complaint: Complaint = serde_json::from_slice(&answer.body).unwrap_or_default();
            return Err(refusal(
                what,
                changes,
                code,
                &words(&answer.reason, complaint),
            ));
        }
        let read: std::result::Result<Envelope<T>, _> = serde_json::from_slice(&answer.body);
        read.map(|it| it.data).map_err(|error| {
            let why = format!("the answer makes no sense: {error}");
            if changes {
                Error::perhaps(what, why)
            } else {
                Error::unreadable(what, why)
            }
        })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        route: String,
        parameters: &[(&str, String)],
    ) -> Result<T> {
        self.exchange(Ask {
            what,
            method: Method::GET,
            route: &route,
            parameters,
            longer: Duration::ZERO,
        })
        .await
    }

    async fn change(
        &self,
        what: &str,
        method: Method,
        route: String,
        parameters: &[(&str, String)],
    ) -> Result<Option<Task>> {
        let answer: Word = self
            .exchange(Ask {
                what,
                method,
                route: &route,
                parameters,
                longer: Duration::ZERO,
            })
            .await?;
        // It was taken: what cannot be read is only by which name to ask for it.
        task(&answer.0).map_err(|why| Error::perhaps(what, why))
    }

    /// The tasks of a guest that its node still knows, so many at most.
    async fn task_rows(&self, place: &Place, limit: u32) -> Result<Vec<TaskRow>> {
        let what = format!("the tasks of {place}");
        let route = format!("/nodes/{}/tasks", segment(&place.node));
        let parameters = [
            ("vmid", place.id.clone()),
            // Those that run are in no archive.
            ("source", "all".to_owned()),
            ("limit", limit.to_string()),
        ];
        let mut rows: Vec<TaskRow> = self.get(&what, route, &parameters).await?;
        rows.retain(|row| row.id.0 == place.id && Upid::parse(&row.upid.0).is_some());
        Ok(rows)
    }

    /// The nodes there are, and whether the cluster has them online. Every token may ask for these.
    async fn nodes(&self) -> Result<BTreeMap<String, bool>> {
        let rows: Vec<Row> = self.get("the nodes", "/nodes".to_owned(), &[]).await?;
        let nodes = rows
            .into_iter()
            .map(|row| (row.node.0, row.status.0 == "online"));
        Ok(nodes.collect())
    }

    async fn backups(&self, place: &Place, storage: &str) -> Result<Vec<Content>> {
        let what = format!("the backups of {place}");
        let route = format!(
            "/nodes/{}/storage/{}/content",
            segment(&place.node),
            segment(storage)
        );
        let parameters = [("content", "backup".to_owned()), ("vmid", place.id.clone())];
        self.get(&what, route, &parameters).await
    }

    async fn power(
        &self,
        what: &str,
        place: &Place,
        verb: &str,
        parameters: &[(&str, String)],
    ) -> Result<Option<Task>> {
        let what = format!("{what} of {place}");
        let route = format!("{}/status/{verb}", route(place));
        self.change(&what, Method::POST, route, parameters).await
    }
}

struct Ask<'a> {
    what: &'a str,
    method: Method,
    route: &'a str,
    parameters: &'a [(&'a str, String)],
    longer: Duration,
}

/// What an error says, out of the words behind its status, its message and its fields.
fn words(reason: &Option<String>, complaint: Complaint) -> String {
    let mut text = complaint.message.0.trim().to_owned();
    let reason = reason.as_deref().unwrap_or("").trim();
    if text.is_empty() {
        text = reason.to_owned();
    }
    for (field, why) in complaint.errors.into_iter().flatten() {
        text = format!("{text} {field}: {}", why.0.trim());
    }
    if text.is_empty() {
        text = "without a word why".to_owned();
    }
    text
}

/// What a status means for what may have happened (H11).
fn refusal(what: &str, changes: bool, code: u16, text: &str) -> Error {
    let told = Error::refused(what, code, text);
    match code {
        // The other node could not be reached.
        595 if changes => Error::NotSent {
            what: what.to_owned(),
            why: format!("595: {text}"),
        },
        500..=599 if changes && !told.is_conflict() && !told.is_gone() => {
            Error::perhaps_with(what, code, text)
        }
        401 => Error::refused(
            what,
            code,
            &format!(
                "{text}; the token is not accepted: look whether it exists, has expired, or its secret is another one"
            ),
        ),
        _ => told,
    }
}

fn route(place: &Place) -> String {
    let kind = match place.kind {
        Kind::Container => "lxc",
        Kind::Machine => "qemu",
    };
    format!(
        "/nodes/{}/{kind}/{}",
        segment(&place.node),
        segment(&place.id)
    )
}

/// Power in Proxmox VE's words.
fn power(status: &str) -> Power {
    match status {
        "running" => Power::Running,
        "stopped" => Power::Stopped,
        other => Power::Other(crate::error::bounded(other)),
    }
}

/// How a task ended, by its `exitstatus`.
fn ended(exit: &str) -> Progress {
    match exit {
        "OK" => Progress::Done(None),
        // The worker was killed, or its node went down.
        "unexpected status" => Progress::Unknown("its end was not recorded there".to_owned()),
        "" => Progress::Unknown("it ended, and nothing says how".to_owned()),
        other if other.starts_with("WARNINGS:") => {
            Progress::Done(Some(crate::error::bounded(other)))
        }
        other => Progress::Failed(crate::error::bounded(other)),
    }
}

impl GuestApi for Proxmox {
    const NAME_IS_ID: bool = false;

    async fn list(&self) -> Result<Listing> {
        let resources = self.get::<Vec<Row>>(
            "the guests of the cluster",
            "/cluster/resources".to_owned(),
            &[],
        );
        let node = segment(&self.node);
        let containers = format!("/nodes/{node}/lxc");
        let machines = format!("/nodes/{node}/qemu");
        let containers_asked = format!("the containers of {}", self.node);
        let machines_asked = format!("the virtual machines of {}", self.node);
        let (resources, containers, machines) = tokio::join!(
            resources,
            self.get::<Vec<Row>>(&containers_asked, containers, &[]),
            self.get::<Vec<Row>>(&machines_asked, machines, &[]),
        );
        lists::merge(&self.node, resources?, containers, machines)
    }

    async fn pulse(&self) -> Result<u64> {
        let route = "/cluster/resources".to_owned();
        let rows: Vec<Row> = self
            .get(
                "the guests of the cluster",
                route,
                &[("type", "vm".to_owned())],
            )
            .await?;
        Ok(lists::pulse(&rows))
    }

    async fn config(&self, place: &Place) -> Result<Config> {
        let what = format!("the configuration of {place}");
        let route = format!("{}/config", route(place));
        let keys: BTreeMap<String, Word> = self
            .get(&what, route, &[("current", "1".to_owned())])
            .await?;
        Ok(config::read(place.kind, &keys))
    }

    async fn inspect(&self, place: &Place) -> Result<(Config, Vec<Pending>)> {
        let what = format!("the configuration of {place}");
        let rows: Vec<Waits> = self
            .get(&what, format!("{}/pending", route(place)), &[])
            .await?;
        let (keys, waits) = lists::pending(rows);
        Ok((config::read(place.kind, &keys), waits))
    }

    async fn status(&self, place: &Place) -> Result<Status> {
        let what = format!("the state of {place}");
        let route = format!("{}/status/current", route(place));
        let Current { status, lock, ha } = self.get(&what, route, &[]).await?;
        Ok(Status {
            power: power(&status.0),
            ha: (ha.managed.is_set() || !ha.state.0.is_empty()).then_some(ha.state.0),
            lock: lock.some(),
        })
    }

    async fn start(&self, place: &Place) -> Result<Option<Task>> {
        self.power("start", place, "start", &[]).await
    }

    async fn shutdown(
        &self,
        place: &Place,
        patience: Duration,
        force: bool,
    ) -> Result<Option<Task>> {
        let parameters = [
            ("timeout", patience.as_secs().to_string()),
            ("forceStop", u8::from(force).to_string()),
        ];
        self.power("shutdown", place, "shutdown", &parameters).await
    }

    async fn stop(&self, place: &Place) -> Result<Option<Task>> {
        self.power("stop", place, "stop", &[]).await
    }

    async fn set_config(
        &self,
        place: &Place,
        changes: &Changes,
        read: &Config,
    ) -> Result<Option<Task>> {
        let parameters = config::write(place.kind, changes, read);
        if parameters.is_empty() {
            return Ok(None);
        }
        let what = format!("the configuration of {place}");
        let route = format!("{}/config", route(place));
        self.change(&what, Method::PUT, route, &parameters).await
    }

    async fn task_once(&self, task: &Task) -> Result<Progress> {
        let what = format!("the state of task {task}");
        let Some(upid) = Upid::parse(&task.0) else {
            return Ok(Progress::Unknown(format!("{task} is no UPID")));
        };
        let route = format!(
            "/nodes/{}/tasks/{}/status",
            segment(&upid.node),
            segment(&task.0)
        );
        match self.get::<TaskRow>(&what, route, &[]).await {
            Ok(row) if row.status.0 == "running" => Ok(Progress::Runs),
            Ok(row) => Ok(ended(&row.exitstatus.0)),
            Err(error) if error.is_gone() => Ok(Progress::Unknown(format!(
                "the node has forgotten it ({})",
                error.text()
            ))),
            Err(error) => Err(error),
        }
    }

    async fn wait(&self, task: &Task, limit: Duration) -> Result<Progress> {
        waiting(limit, || self.task_once(task)).await
    }

    async fn tasks(&self, place: &Place) -> Result<Vec<FoundTask>> {
        let mut found = self.task_rows(place, 50).await?;
        found.sort_by_key(|it| std::cmp::Reverse(it.starttime.number()));
        let found = found.into_iter().map(|row| FoundTask {
            does: call(&row.does.0),
            progress: match (row.endtime.number(), row.status.0.as_str()) {
                (None | Some(0), "" | "running" | "RUNNING") => Progress::Runs,
                (_, status) => ended(status),
            },
            task: Task(row.upid.0),
        });
        Ok(found.collect())
    }

    async fn last_use(&self, place: &Place) -> Result<LastUse> {
        // A task stands on the node where it ran, and the guest may have been moved since, and back.
        let mut nodes: BTreeSet<String> = self.nodes().await?.into_keys().collect();
        nodes.insert(place.node.clone());
        let on_node = |node: &String| {
            let place = Place {
                node: node.clone(),
                ..place.clone()
            };
            async move { self.task_rows(&place, 1_000).await }
        };
        let (mut at, mut silent) = (None, None);
        for node in &nodes {
            let rows = match on_node(node).await {
                Err(error) if error.is_unreachable() && *node != place.node => {
                    silent.get_or_insert(error);
                    continue;
                }
                rows => rows?,
            };
            // What a lock kept from it began nothing; after any other failure it may well have run.
            let happened = |row: &&TaskRow| !row.status.0.contains("is locked");
            let uses = rows.iter().filter(|row| is_use(&row.does.0));
            let last = uses
                .filter(happened)
                .filter_map(|row| row.starttime.number())
                .max();
            at = at.max(last);
        }
        Ok(LastUse { at, nodes, silent })
    }

    async fn rename(&self, place: &Place, name: &str) -> Result<Option<Task>> {
        let changes = Changes {
            name: Some(name.to_owned()),
            ..Changes::default()
        };
        let read = self.config(place).await?;
        self.set_config(place, &changes, &read).await
    }

    async fn backup(&self, place: &Place, storage: &str, label: &str) -> Result<Option<Task>> {
        let what = format!("a backup of {place}");
        let route = format!("/nodes/{}/vzdump", segment(&place.node));
        let parameters = [
            ("vmid", place.id.clone()),
            ("storage", storage.to_owned()),
            // It stands still already; nothing else is asked of one that does not.
            ("mode", "stop".to_owned()),
            ("compress", "zstd".to_owned()),
            ("remove", "0".to_owned()),
            ("notes-template", label.to_owned()),
        ];
        self.change(&what, Method::POST, route, &parameters).await
    }

    async fn keep(&self, place: &Place, storage: &str, label: &str) -> Result<Option<Backup>> {
        let rows = self.backups(place, storage).await?;
        // It lies on the storage, and stays when its guest goes.
        let found = rows.into_iter().filter(|row| row.notes.0.trim() == label);
        let newest = found.max_by_key(|row| row.ctime.number());
        Ok(newest.map(Backup::from))
    }

    async fn find_backup(
        &self,
        place: &Place,
        storage: &str,
        backup: &str,
    ) -> Result<Option<Backup>> {
        let rows = self.backups(place, storage).await?;
        // A list without any is what a token gets, too, that may not see the backups of the guest.
        if rows.is_empty() {
            let what = format!("the backups of {place}");
            let why = "none is shown: there is none, or the token lacks VM.Backup on the guest";
            return Err(Error::refused(&what, 404, why));
        }
        let found = rows.into_iter().find(|row| row.volid.0 == backup);
        Ok(found.map(Backup::from))
    }

    async fn restore(&self, restore: &Restore) -> Result<Option<Task>> {
        let Restore {
            place,
            backup,
            storage,
            pool,
            unique,
            replace,
            tags,
        } = restore;
        let what = format!("a restore as {place}");
        let mut parameters = vec![("vmid", place.id.clone())];
        let kind = match place.kind {
            Kind::Container => {
                parameters.push(("ostemplate", backup.clone()));
                parameters.push(("restore", "1".to_owned()));
                "lxc"
            }
            Kind::Machine => {
                parameters.push(("archive", backup.clone()));
                "qemu"
            }
        };
        if *replace {
            parameters.push(("force", "1".to_owned()));
        }
        if !tags.is_empty() {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            parameters.push(("tags", tags.join(";")));
        }
        if *unique {
            parameters.push(("unique", "1".to_owned()));
        }
        parameters.extend(storage.clone().map(|it| ("storage", it)));
        parameters.extend(pool.clone().map(|it| ("pool", it)));
        let route = format!("/nodes/{}/{kind}", segment(&place.node));
        self.change(&what, Method::POST, route, &parameters).await
    }

    async fn create(&self, creation: &Creation) -> Result<Option<Task>> {
        let what = format!("the creation of {}", creation.place);
        let (route, parameters) = lists::creation(creation);
        self.change(&what, Method::POST, route, &parameters).await
    }

    async fn destroy(&self, place: &Place) -> Result<Option<Task>> {
        let what = format!("the removal of {place}");
        // Only the volumes that its configuration names, which are those that were shown.
        let parameters = [("destroy-unreferenced-disks", "0".to_owned())];
        self.change(&what, Method::DELETE, route(place), &parameters)
            .await
    }

    async fn free_id(&self, wish: &str) -> Result<String> {
        let what = "a free vmid";
        let ask = [("vmid", wish.to_owned())];
        let route = || "/cluster/nextid".to_owned();
        let free: Result<Word> = self.get(what, route(), &ask).await;
        match free {
            Ok(Word(id)) => Ok(id),
            Err(Error::Refused { code: 400, .. }) => {
                Ok(self.get::<Word>(what, route(), &[]).await?.0)
            }
            Err(error) => Err(error),
        }
    }

    async fn server(&self) -> Result<Server> {
        let version: Version = self.get("the version", "/version".to_owned(), &[]).await?;
        let members = self
            .get::<Vec<Member>>("the cluster's state", "/cluster/status".to_owned(), &[])
            .await;
        let members = match members {
            // It takes Sys.Audit on all there is, which nothing else here needs: the nodes say as much.
            Err(Error::Refused { code: 403, .. }) => {
                let nodes = self.nodes().await?;
                let online = nodes.values().filter(|it| **it).count();
                return Ok(Server {
                    version: version.version.0,
                    quorate: online * 2 > nodes.len(),
                    own: self.node.clone(),
                    nodes,
                });
            }
            members => members?,
        };
        let mut server = Server {
            version: version.version.0,
            // A node without a cluster decides alone.
            quorate: true,
            own: self.node.clone(),
            ..Server::default()
        };
        for member in members {
            if member.kind.0 == "cluster" {
                server.quorate = member.quorate.is_set();
            } else if member.kind.0 == "node" {
                let up = member.online.is_set() || member.local.is_set();
                server.nodes.insert(member.name.0, up);
            }
        }
        Ok(server)
    }

    async fn has_scratch(&self, name: &str) -> Result<bool> {
        let what = format!("pool {name}");
        let route = format!("/pools/{}", segment(name));
        match self.get::<serde_json::Value>(&what, route, &[]).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn permissions(&self) -> Result<Permissions> {
        let paths: BTreeMap<String, BTreeMap<String, Word>> = self
            .get("our own permissions", "/access/permissions".to_owned(), &[])
            .await?;
        Ok(Permissions {
            granted: paths
                .into_iter()
                .map(|(path, privileges)| (path, privileges.into_keys().collect()))
                .collect(),
            everything: false,
            who: self.who.clone(),
        })
    }
}
