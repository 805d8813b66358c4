//! Incus over its REST API: by the socket of this machine, or by TLS with a client certificate.

mod answers;
mod backups;
mod config;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH};
use http::{Method, Request};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::answers::{
    Certificate, Envelope, Environment, Head, Instance, Member, Operation, ServerInfo,
    StorageVolume,
};
use self::config::power;
use self::words::{
    begun, call, is_id, listed, names, progress, refusal, seconds, task, wire_error,
};
use crate::api::{
    Backup, Changes, Config, Creation, FoundTask, GuestApi, LastUse, Listed, Listing, Pending,
    Permissions, Place, Progress, Restore, Result, Server, Status, Task,
};
use crate::encode::segment;
use crate::error::Error;
use crate::patience::waiting;
use crate::trust::{ClientCertificate, Trust};
use crate::wire::{Address, Answer, Body, Limits, OpenError, Wire};

/// The port of Incus.
pub const PORT: u16 = 8443;

/// How long one request waits for an operation there; a longer wait is made of several.
const ONE_WAIT: Duration = Duration::from_secs(20);

/// One server or cluster of Incus, in one project and in the one where guests are made for trials.
#[derive(Clone, Debug)]
pub struct Incus {
    wire: Wire,
    project: String,
    scratch: Option<String>,
    certificate: Option<String>,
    backups: PathBuf,
}

/// How a server of Incus is reached, and what of it is ours.
#[derive(Clone, Debug)]
pub struct Entrance<'a> {
    /// `unix:/path` or `https://host:port`.
    pub address: &'a str,
    /// The project that is looked after.
    pub project: &'a str,
    /// The project in which guests may be made (H9).
    pub scratch: Option<&'a str>,
    /// Why its certificate is believed; a socket needs none.
    pub trust: Option<&'a Trust>,
    /// What we show; a socket needs none.
    pub client: Option<&'a ClientCertificate>,
    /// A directory of ours, where backups outlive their guests.
    pub backups: PathBuf,
}

impl Incus {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// When the address or a certificate cannot be used.
    pub fn new(entrance: Entrance<'_>, limits: Limits) -> std::result::Result<Self, OpenError> {
        let Entrance {
            address,
            project,
            scratch,
            trust,
            client,
            backups,
        } = entrance;
        let address = Address::parse(address, PORT)?;
        if matches!(address, Address::Https { .. }) && client.is_none() {
            return Err(OpenError::Credential(
                "a server elsewhere knows us by a client certificate; name one".to_owned(),
            ));
        }
        let certificate = client.map(ClientCertificate::fingerprint).transpose()?;
        Ok(Self {
            wire: Wire::new(address, trust, client, limits)?,
            project: project.to_owned(),
            scratch: scratch.filter(|it| *it != project).map(str::to_owned),
            certificate,
            backups,
        })
    }

    /// The project that is looked after.
    pub fn project(&self) -> &str {
        &self.project
    }

    async fn exchange(&self, ask: Ask<'_>) -> Result<Answer> {
        let Ask {
            what,
            method,
            path,
            body,
            if_match,
            longer,
        } = ask;
        let changes = method != Method::GET;
        let not_sent = |why: String| Error::NotSent {
            what: what.to_owned(),
            why,
        };
        let mut request = Request::builder().method(method).uri(path);
        if let Some(etag) = if_match {
            let etag = HeaderValue::from_str(etag).map_err(|it| not_sent(it.to_string()))?;
            request = request.header(IF_MATCH, etag);
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                serde_json::to_vec(body).expect("plain values always serialise")
            }
            None => Vec::new(),
        };
        let request = request
            .body(Body::from(bytes))
            .map_err(|it| not_sent(it.to_string()))?;
        let answer = Box::pin(self.wire.send(request, longer))
            .await
            .map_err(|error| wire_error(what, changes, error))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(refusal(what, changes, &answer))
    }

    async fn get_with_etag<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
    ) -> Result<(T, Option<String>)> {
        let answer = self
            .exchange(Ask {
                what,
                method: Method::GET,
                path,
                body: None,
                if_match: None,
                longer: Duration::ZERO,
            })
            .await?;
        let etag = answer
            .headers
            .get(ETAG)
            .and_then(|it| it.to_str().ok())
            .map(str::to_owned);
        let read: Envelope<T> = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::unreadable(what, format!("the answer makes no sense: {error}"))
        })?;
        Ok((read.metadata, etag))
    }

    async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T> {
        Ok(self.get_with_etag(what, path).await?.0)
    }

    async fn change(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
    ) -> Result<Option<Task>> {
        let answer = self
            .exchange(Ask {
                what,
                method,
                path,
                body,
                if_match,
                longer: Duration::ZERO,
            })
            .await?;
        begun(what, &answer)
    }

    fn instance_path(&self, place: &Place, below: &str) -> String {
        let project = if place.project.is_empty() {
            &self.project
        } else {
            &place.project
        };
        format!(
            "/1.0/instances/{}{below}?project={}",
            segment(&place.id),
            segment(project)
        )
    }

    async fn instance(&self, place: &Place) -> Result<(Instance, Option<String>)> {
        let what = format!("the configuration of {place}");
        self.get_with_etag(&what, &self.instance_path(place, ""))
            .await
    }

    async fn instances(&self, project: &str) -> Result<Vec<Instance>> {
        let what = format!("the guests of project {project}");
        let path = format!("/1.0/instances?recursion=1&project={}", segment(project));
        self.get(&what, &path).await
    }

    /// The operations that the server still knows.
    async fn operations(&self, project: &str) -> Result<Vec<Operation>> {
        let path = format!("/1.0/operations?recursion=1&project={}", segment(project));
        let lists: BTreeMap<String, Vec<Operation>> = self.get("the operations", &path).await?;
        let all = lists.into_values().flatten();
        Ok(all.filter(|it| is_id(&it.id)).collect())
    }

    /// The volumes of instances, by pool.
    async fn volumes(
        &self,
        project: &str,
        pools: BTreeSet<&str>,
    ) -> Result<Vec<(String, StorageVolume)>> {
        let mut found = Vec::new();
        for pool in pools {
            let what = format!("the volumes of pool {pool}");
            let path = format!(
                "/1.0/storage-pools/{}/volumes?recursion=1&project={}",
                segment(pool),
                segment(project)
            );
            let volumes: Vec<StorageVolume> = self.get(&what, &path).await?;
            found.extend(volumes.into_iter().map(|it| (pool.to_owned(), it)));
        }
        Ok(found)
    }

    /// The guests of a project, with all that is known of them: three requests, and one for each pool more.
    async fn everything(&self, project: &str) -> Result<Vec<Listed>> {
        let (instances, operations) =
            tokio::join!(self.instances(project), self.operations(project));
        let (instances, operations) = (instances?, operations?);
        let pools = instances.iter().filter_map(config::pool).collect();
        let mut volumes: BTreeMap<String, Vec<(String, StorageVolume)>> = BTreeMap::new();
        for (pool, volume) in self.volumes(project, pools).await? {
            let owner = volume.name.split('/').next().unwrap_or("").to_owned();
            volumes.entry(owner).or_default().push((pool, volume));
        }
        let mut busy: BTreeMap<String, Task> = BTreeMap::new();
        for operation in operations
            .iter()
            .filter(|it| progress(it) == Progress::Runs)
        {
            for name in names(operation) {
                busy.insert(name.to_owned(), task(&operation.id, &operation.location));
            }
        }
        let listed = instances.into_iter().map(|instance| {
            let volumes = volumes.get(&instance.name).map_or(&[][..], Vec::as_slice);
            let busy = busy.get(&*segment(&instance.name)).cloned();
            listed(instance, volumes, busy)
        });
        Ok(listed.collect())
    }

    /// What the end of a wait says. Of an operation that failed it is an error with the status of a success, and of a wait that was over
    /// first, too.
    async fn waited(&self, what: &str, task: &Task, answer: &Answer) -> Result<Progress> {
        let read = |error| Error::unreadable(what, error);
        let head: Head = serde_json::from_slice(&answer.body).map_err(read)?;
        if head.kind != "error" {
            let ended: Envelope<Operation> = serde_json::from_slice(&answer.body).map_err(read)?;
            return Ok(progress(&ended.metadata));
        }
        match self.task_once(task).await? {
            Progress::Unknown(_) => Ok(Progress::Failed(crate::error::bounded(&head.error))),
            known => Ok(known),
        }
    }

    async fn power(&self, place: &Place, what: &str, body: Value) -> Result<Option<Task>> {
        let what = format!("{what} of {place}");
        let path = self.instance_path(place, "/state");
        self.change(&what, Method::PUT, &path, Some(&body), None)
            .await
    }
}

struct Ask<'a> {
    what: &'a str,
    method: Method,
    path: &'a str,
    body: Option<&'a Value>,
    if_match: Option<&'a str>,
    longer: Duration,
}

impl GuestApi for Incus {
    const NAME_IS_ID: bool = true;

    async fn list(&self) -> Result<Listing> {
        let scratch = async {
            match &self.scratch {
                Some(project) => self.everything(project).await,
                None => Ok(Vec::new()),
            }
        };
        let (own, scratch) = tokio::join!(self.everything(&self.project), scratch);
        let mut listing = Listing::default();
        // One of the same name in our own project hides one in the other.
        for listed in scratch?.into_iter().chain(own?) {
            if listed.power.is_none() {
                let why = "the cluster says that it does not answer".to_owned();
                listing.silent.insert(listed.place.node.clone(), why);
            }
            listing.guests.insert(listed.place.id.clone(), listed);
        }
        Ok(listing)
    }

    async fn pulse(&self) -> Result<u64> {
        let mut lines: Vec<_> = self
            .instances(&self.project)
            .await?
            .into_iter()
            .map(|it| (it.name, it.status, it.location, it.description, it.config))
            .collect();
        lines.sort();
        let mut hasher = DefaultHasher::new();
        lines.hash(&mut hasher);
        Ok(hasher.finish())
    }

    async fn config(&self, place: &Place) -> Result<Config> {
        let (instance, etag) = self.instance(place).await?;
        let pools = config::pool(&instance).into_iter().collect();
        let volumes = self.volumes(&instance.project, pools).await?;
        Ok(config::read(&instance, &volumes, etag))
    }

    async fn inspect(&self, place: &Place) -> Result<(Config, Vec<Pending>)> {
        // What a running guest cannot take is refused, and nothing waits.
        Ok((self.config(place).await?, Vec::new()))
    }

    async fn status(&self, place: &Place) -> Result<Status> {
        let what = format!("the state of {place}");
        let path = self.instance_path(place, "/state");
        let state: Instance = self.get(&what, &path).await?;
        Ok(Status {
            power: power(&state.status),
            ha: None,
            lock: None,
        })
    }

    async fn start(&self, place: &Place) -> Result<Option<Task>> {
        let body = json!({ "action": "start", "timeout": -1 });
        self.power(place, "start", body).await
    }

    async fn shutdown(
        &self,
        place: &Place,
        patience: Duration,
        force: bool,
    ) -> Result<Option<Task>> {
        // Forced, it would not be asked at all; whoever wants that stops it afterwards.
        let _ = force;
        let body =
            json!({ "action": "stop", "timeout": patience.as_secs().max(1), "force": false });
        self.power(place, "shutdown", body).await
    }

    async fn stop(&self, place: &Place) -> Result<Option<Task>> {
        let body = json!({ "action": "stop", "timeout": 0, "force": true });
        self.power(place, "stop", body).await
    }

    async fn set_config(
        &self,
        place: &Place,
        changes: &Changes,
        read: &Config,
    ) -> Result<Option<Task>> {
        if changes.is_empty() {
            return Ok(None);
        }
        let what = format!("the configuration of {place}");
        let path = self.instance_path(place, "");
        let body = config::write(changes, read);
        let etag = read.digest.as_deref();
        self.change(&what, Method::PATCH, &path, Some(&body), etag)
            .await
    }

    async fn task_once(&self, task: &Task) -> Result<Progress> {
        let what = format!("the state of operation {task}");
        let id = task.0.split('@').next().unwrap_or("");
        if !is_id(id) {
            return Ok(Progress::Unknown(format!("{task} is no operation")));
        }
        match self
            .get::<Operation>(&what, &format!("/1.0/operations/{id}"))
            .await
        {
            Ok(operation) => Ok(progress(&operation)),
            // Five seconds after its end it is forgotten: that says nothing about how it ended (GB11).
            Err(error) if error.is_gone() => Ok(Progress::Unknown(
                "the server has forgotten it, as it does seconds after the end".to_owned(),
            )),
            Err(error) => Err(error),
        }
    }

    async fn wait(&self, task: &Task, limit: Duration) -> Result<Progress> {
        let what = format!("the end of operation {task}");
        let id = task.0.split('@').next().unwrap_or("");
        if !is_id(id) {
            return Ok(Progress::Unknown(format!("{task} is no operation")));
        }
        let begun = tokio::time::Instant::now();
        // The server tells the end at once; asking again is for when the connection breaks.
        waiting(limit, || async {
            let left = limit.saturating_sub(begun.elapsed()).min(ONE_WAIT);
            let path = format!(
                "/1.0/operations/{id}/wait?timeout={}",
                left.as_secs().max(1)
            );
            let answer = self
                .exchange(Ask {
                    what: &what,
                    method: Method::GET,
                    path: &path,
                    body: None,
                    if_match: None,
                    longer: left,
                })
                .await;
            match answer {
                Ok(answer) => self.waited(&what, task, &answer).await,
                Err(error) if error.is_gone() => self.task_once(task).await,
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn tasks(&self, place: &Place) -> Result<Vec<FoundTask>> {
        let what = format!("the operations of {place}");
        let project = if place.project.is_empty() {
            &self.project
        } else {
            &place.project
        };
        let path = format!("/1.0/operations?recursion=1&project={}", segment(project));
        let lists: std::collections::BTreeMap<String, Vec<Operation>> =
            self.get(&what, &path).await?;
        let ours = |operation: &Operation| {
            let named = operation
                .resources
                .iter()
                .flat_map(|it| it.get("instances"));
            named.flatten().any(|it| {
                it.split('?').next().and_then(|it| it.rsplit('/').next())
                    == Some(&*segment(&place.id))
            })
        };
        let mut found: Vec<(String, FoundTask)> = lists
            .into_values()
            .flatten()
            .filter(|it| is_id(&it.id) && ours(it))
            .map(|it| {
                let found = FoundTask {
                    task: task(&it.id, &it.location),
                    does: call(&it.description),
                    progress: progress(&it),
                };
                (it.created_at, found)
            })
            .collect();
        found.sort_by(|a, b| b.0.cmp(&a.0));
        Ok(found.into_iter().map(|(_, it)| it).collect())
    }

    async fn last_use(&self, place: &Place) -> Result<LastUse> {
        // It is kept with the instance, whoever started that, and is long ago for one that never ran.
        let (instance, _) = self.instance(place).await?;
        Ok(LastUse {
            at: seconds(&instance.last_used_at).filter(|it| *it > 0),
            ..LastUse::default()
        })
    }

    async fn rename(&self, place: &Place, name: &str) -> Result<Option<Task>> {
        let what = format!("the name of {place}");
        let path = self.instance_path(place, "");
        let body = json!({ "name": name });
        self.change(&what, Method::POST, &path, Some(&body), None)
            .await
    }

    async fn backup(&self, place: &Place, _: &str, label: &str) -> Result<Option<Task>> {
        let what = format!("a backup of {place}");
        let path = self.instance_path(place, "/backups");
        let body = json!({
            "name": label, "instance_only": false, "optimized_storage": false, "compression_algorithm": "zstd",
        });
        self.change(&what, Method::POST, &path, Some(&body), None)
            .await
    }

    async fn keep(&self, place: &Place, _: &str, label: &str) -> Result<Option<Backup>> {
        self.keep_backup(place, label).await
    }

    async fn find_backup(&self, _: &Place, _: &str, backup: &str) -> Result<Option<Backup>> {
        self.kept_under(backup)
    }

    async fn restore(&self, restore: &Restore) -> Result<Option<Task>> {
        self.restore_backup(restore).await
    }

    async fn create(&self, creation: &Creation) -> Result<Option<Task>> {
        let what = format!("the creation of {}", creation.place);
        let body = config::creation(creation).map_err(|why| Error::refused(&what, 400, why))?;
        let project = creation.pool.as_deref().unwrap_or(&self.project);
        let mut path = format!("/1.0/instances?project={}", segment(project));
        if !creation.place.node.is_empty() {
            path = format!("{path}&target={}", segment(&creation.place.node));
        }
        self.change(&what, Method::POST, &path, Some(&body), None)
            .await
    }

    async fn destroy(&self, place: &Place) -> Result<Option<Task>> {
        let what = format!("the removal of {place}");
        let path = self.instance_path(place, "");
        self.change(&what, Method::DELETE, &path, None, None).await
    }

    async fn free_id(&self, wish: &str) -> Result<String> {
        let taken: BTreeSet<String> = self.list().await?.guests.into_keys().collect();
        let mut name = wish.to_owned();
        let mut number = 2;
        while taken.contains(&name) {
            name = format!("{wish}-{number}");
            number += 1;
        }
        Ok(name)
    }

    async fn server(&self) -> Result<Server> {
        let info: ServerInfo = self.get("the server", "/1.0").await?;
        let Environment {
            server_version,
            server_name,
            server_clustered,
        } = info.environment;
        let mut server = Server {
            version: server_version,
            quorate: true,
            own: server_name,
            ..Server::default()
        };
        if server_clustered {
            let path = "/1.0/cluster/members?recursion=1";
            let members: Vec<Member> = self.get("the members of the cluster", path).await?;
            server.nodes = members
                .into_iter()
                .map(|it| (it.server_name, it.status == "Online"))
                .collect();
            let up = server.nodes.values().filter(|it| **it).count();
            server.quorate = up * 2 > server.nodes.len();
        }
        Ok(server)
    }

    async fn has_scratch(&self, name: &str) -> Result<bool> {
        let path = format!("/1.0/projects/{}", segment(name));
        match self
            .get::<serde_json::Value>(&format!("project {name}"), &path)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn permissions(&self) -> Result<Permissions> {
        let info: ServerInfo = self.get("the server", "/1.0").await?;
        let mut permissions = Permissions {
            who: format!("{} ({})", info.auth_user_name, info.auth_user_method),
            ..Permissions::default()
        };
        if info.auth != "trusted" {
            return Ok(permissions);
        }
        let Some(fingerprint) = self
            .certificate
            .as_ref()
            .filter(|_| info.auth_user_method == "tls")
        else {
            permissions.everything = true;
            return Ok(permissions);
        };
        let path = format!("/1.0/certificates/{fingerprint}");
        let certificate: Certificate = self.get("our own certificate there", &path).await?;
        permissions.everything = !certificate.restricted;
        permissions.granted = certificate
            .projects
            .into_iter()
            .map(|it| (it, BTreeSet::from(["all".to_owned()])))
            .collect();
        Ok(permissions)
    }
}
