//! What muster asks of a hypervisor, and nothing more (G9): the one trait of both clients, in words that both understand.
//!
//! Every call that changes something answers with a [`Task`] that can be waited for, or `None` when it was done at once. None of
//! them is sent twice by a client; whoever calls looks first (H11).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use muster_core::guests::backup::MADE;

use crate::error::Error;

/// What a call comes to.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A container.
    Container,
    /// A virtual machine.
    Machine,
}

/// Where a guest is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its vmid, or its name on Incus.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// The node or member that it is on; empty where there is only one.
    pub node: String,
    /// The project of Incus that it is in; empty on Proxmox VE, where pools do not set names apart.
    pub project: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Container => "container",
            Kind::Machine => "virtual machine",
        };
        write!(f, "{kind} {}", self.id)?;
        if self.node.is_empty() {
            return Ok(());
        }
        write!(f, " on {}", self.node)
    }
}

/// Power, as the hypervisor says it. Whatever is neither running nor stopped is left alone (G1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Power {
    /// It runs.
    Running,
    /// It stands still.
    Stopped,
    /// Something else, in the hypervisor's own word.
    Other(String),
}

/// A guest as a list shows it, which is one request for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it is.
    pub place: Place,
    /// The name that people gave it, which on Incus is its id.
    pub name: Option<String>,
    /// Its power; `None` when its node does not answer (GB4).
    pub power: Option<Power>,
    /// What holds it: a backup, a migration. One waits, and never unlocks.
    pub lock: Option<String>,
    /// Whether it is a template, which cannot be started.
    pub template: bool,
    /// The state that high availability wants it in, where it is managed so.
    pub ha: Option<String>,
    /// The pool or project that it is in.
    pub pool: Option<String>,
    /// Its tags, by which what muster made is known.
    pub tags: BTreeSet<String>,
    /// A task of it that runs right now, where the list shows that.
    pub busy: Option<Task>,
    /// Its configuration, where the list has it: Incus tells all at once.
    pub config: Option<Config>,
}

/// All guests, and the nodes that did not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// By vmid or name.
    pub guests: BTreeMap<String, Listed>,
    /// Nodes and members that do not answer, and why.
    pub silent: BTreeMap<String, String>,
}

/// What a guest is configured to: what it is now, not what waits for a reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Cores; `None` when it may use all of the host's.
    pub cores: Option<u32>,
    /// Memory, in MiB, rounded up; `None` when it is not limited.
    pub memory: Option<u64>,
    /// Description, raw.
    pub description: String,
    /// Tags.
    pub tags: BTreeSet<String>,
    /// Whether it starts with the host.
    pub onboot: bool,
    /// Whether it is protected against removal.
    pub protection: bool,
    /// Whether its root is root outside it, it may nest, or has devices or directories of the host.
    pub privileged: bool,
    /// The name inside: hostname or name.
    pub name: Option<String>,
    /// The volumes that are its own and go with it.
    pub volumes: Vec<Volume>,
    /// Those of them that no backup of it holds, each with the key of the configuration that names it.
    pub unsaved: BTreeMap<String, String>,
    /// The first network card's address.
    pub mac: Option<String>,
    /// The keys of its network cards.
    pub cards: Vec<String>,
    /// What tells it from a later one of that name, where the hypervisor keeps such a thing.
    pub uuid: Option<String>,
    /// Its place in time, which is another one once it was given the data of a snapshot, where the hypervisor keeps such a thing.
    pub generation: Option<String>,
    /// What holds it.
    pub lock: Option<String>,
    /// What a write must show to be taken (H14).
    pub digest: Option<String>,
    /// Sockets of a virtual machine; its cores are counted over all of them.
    pub sockets: u32,
}

/// A volume of a guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    /// Its id, such as `local-lvm:vm-101-disk-0`.
    pub id: String,
    /// Its size in bytes, where it is known.
    pub size: Option<u64>,
    /// The storage that it is on.
    pub storage: String,
}

/// A value that waits for a reboot of the guest (GB6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pending {
    /// The key.
    pub key: String,
    /// What it is now.
    pub now: Option<String>,
    /// What it will be; `None` when it goes.
    pub then: Option<String>,
}

/// A guest's state, just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its power.
    pub power: Power,
    /// Whether high availability looks after it; then the end of a task says nothing (GB2).
    pub ha: Option<String>,
    /// What holds it.
    pub lock: Option<String>,
}

/// Something that runs at the hypervisor: a UPID, or an operation of Incus with the member that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task(pub String);

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It runs.
    Runs,
    /// It ended well; warnings are well, and are told.
    Done(Option<String>),
    /// It ended badly; with its own words.
    Failed(String),
    /// Its end is not known: it was killed, its node went down, or the hypervisor has forgotten it. The guest's state decides
    /// (G25, GB11).
    Unknown(String),
}

/// A task that was found when one was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTask {
    /// By what it is asked for.
    pub task: Task,
    /// What it does.
    pub does: Call,
    /// How far it is.
    pub progress: Progress,
}

/// The calls that leave a task behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// Starting a guest.
    Start,
    /// Asking it to shut down.
    Shutdown,
    /// Stopping it without asking.
    Stop,
    /// Writing its configuration.
    Configure,
    /// Making it.
    Create,
    /// Making it out of a backup.
    Restore,
    /// Backing it up.
    Backup,
    /// Removing it.
    Destroy,
    /// Something else.
    Other,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Shutdown => "shutdown",
            Self::Stop => "stop",
            Self::Configure => "configuration",
            Self::Create => "creation",
            Self::Restore => "restore",
            Self::Backup => "backup",
            Self::Destroy => "removal",
            Self::Other => "task",
        })
    }
}

/// What is to be different about a configuration; `None` leaves a key alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Cores.
    pub cores: Option<u32>,
    /// Memory, in MiB.
    pub memory: Option<u64>,
    /// Description; an empty one is taken away.
    pub description: Option<String>,
    /// Tags, all of them.
    pub tags: Option<BTreeSet<String>>,
    /// Whether it starts with the host.
    pub onboot: Option<bool>,
    /// Whether it is protected against removal.
    pub protection: Option<bool>,
    /// What it is called, where that is a part of the configuration ([`GuestApi::NAME_IS_ID`]).
    pub name: Option<String>,
    /// Takes its network cards away.
    pub without_cards: bool,
}

impl Changes {
    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A guest to be made. Every word in it comes from the settings' lists (H4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Its place; the id must be free.
    pub place: Place,
    /// What it is made from.
    pub from: Source,
    /// Its name.
    pub name: Option<String>,
    /// Where its root volume goes.
    pub storage: String,
    /// The size of that volume in GiB; what the source says where it is not said.
    pub disk: Option<u64>,
    /// The bridge or network of its first card.
    pub network: Option<String>,
    /// The pool or project that it goes into.
    pub pool: Option<String>,
    /// Whether its root is nobody outside it.
    pub unprivileged: bool,
    /// Whether it may run containers of its own.
    pub nesting: bool,
    /// Devices and mounts, as the settings spell them for this hypervisor: key and value of its configuration.
    pub devices: BTreeMap<String, String>,
    /// Cores.
    pub cores: Option<u32>,
    /// Memory, in MiB.
    pub memory: Option<u64>,
    /// Description.
    pub description: Option<String>,
    /// Tags, the marker among them.
    pub tags: BTreeSet<String>,
    /// Whether it starts with the host.
    pub onboot: bool,
}

/// What a guest is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A container template's volume, such as `local:vztmpl/debian-12.tar.zst`.
    Template(String),
    /// An image, by alias or fingerprint.
    Image(String),
    /// A copy of another guest.
    Clone(Place),
}

/// A backup of a guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backup {
    /// Its id: a volume of the storage, or a file of ours.
    pub id: String,
    /// When it was made, in seconds.
    pub at: u64,
    /// Its size in bytes.
    pub size: u64,
}

impl Backup {
    /// What tells it from another one of its name, beside its size.
    pub fn seal(&self) -> String {
        format!("{MADE}{}", self.at)
    }
}

/// A backup to be made into a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Its place; the id must be free.
    pub place: Place,
    /// Out of this.
    pub backup: String,
    /// Onto this storage; `None` is where it was.
    pub storage: Option<String>,
    /// Into this pool or project.
    pub pool: Option<String>,
    /// Whether it gets identities of its own (network addresses), as a copy beside the original must.
    pub unique: bool,
    /// Whether it takes the place of a guest that stands still there.
    pub replace: bool,
    /// Tags in place of those in the backup, where the call can give them.
    pub tags: BTreeSet<String>,
}

/// The server, as far as `muster doctor` tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// Whether its cluster can decide: nothing starts or is written without.
    pub quorate: bool,
    /// Its nodes or members, and whether they answer.
    pub nodes: BTreeMap<String, bool>,
    /// The node that the connection is with.
    pub own: String,
}

/// What is known of the last use of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastUse {
    /// When it was last started, or given the data of a snapshot or a backup, in seconds by the hypervisor's clock; `None` where that knows
    /// of no such moment.
    pub at: Option<u64>,
    /// The nodes whose tasks were asked for it: all there are, since it may have been used on another one and be back. None where the
    /// guest itself keeps it.
    pub nodes: BTreeSet<String>,
    /// Why one of them did not tell its tasks, if one did not: a later use is possible there.
    pub silent: Option<Error>,
}

/// What the credential may do: privileges by path; an executor of Incus has projects by name, or everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// By path, such as `/vms` or `/pool/scratch`.
    pub granted: BTreeMap<String, BTreeSet<String>>,
    /// Whether it may do all there is.
    pub everything: bool,
    /// Whom the hypervisor takes us for.
    pub who: String,
}

/// The privilege of Proxmox VE without which a list leaves a guest out, in silence.
pub const AUDIT: &str = "VM.Audit";

/// The privilege of Proxmox VE without which a node shows no tasks but our own, in silence.
pub const SYS_AUDIT: &str = "Sys.Audit";

impl Permissions {
    /// The privileges on a guest: of the longest path above it that says anything, and of its pool.
    pub(crate) fn on_guest(&self, vmid: &str, pool: Option<&str>) -> BTreeSet<&str> {
        let paths = [format!("/vms/{vmid}"), "/vms".to_owned(), "/".to_owned()];
        let own = paths.iter().find_map(|it| self.granted.get(it));
        let pool = pool.and_then(|it| self.granted.get(&format!("/pool/{it}")));
        let granted = own.into_iter().chain(pool).flatten();
        granted.map(String::as_str).collect()
    }

    /// Whether the tasks of others are shown on a node.
    pub(crate) fn sees_tasks_on(&self, node: &str) -> bool {
        let paths = [
            format!("/nodes/{node}"),
            "/nodes".to_owned(),
            "/".to_owned(),
        ];
        let on_node = paths.iter().find_map(|it| self.granted.get(it));
        self.everything || on_node.is_some_and(|it| it.contains(SYS_AUDIT))
    }

    /// Whether a list can have any guest in it: with [`AUDIT`] somewhere, or `by_project`, with a project.
    pub(crate) fn sees_any(&self, by_project: bool) -> bool {
        let mut granted = self.granted.values();
        self.everything || granted.any(|it| by_project || it.contains(AUDIT))
    }
}

/// A hypervisor, as muster needs it (G9). `muster-guests` has two, and tests no other.
pub trait GuestApi {
    /// Whether guests go by their names, so that one that is called something else is found elsewhere.
    const NAME_IS_ID: bool;

    /// All guests (H15: three requests).
    fn list(&self) -> impl Future<Output = Result<Listing>>;

    /// A number that changes when a guest came, went, was started, stopped or locked: one request, for an idle tick.
    fn pulse(&self) -> impl Future<Output = Result<u64>>;

    /// The configuration of one, with what a write must show.
    fn config(&self, place: &Place) -> impl Future<Output = Result<Config>>;

    /// The configuration of one and what waits for its reboot (GB6), in one request.
    fn inspect(&self, place: &Place) -> impl Future<Output = Result<(Config, Vec<Pending>)>>;

    /// Its state, just now.
    fn status(&self, place: &Place) -> impl Future<Output = Result<Status>>;

    /// Starts it.
    fn start(&self, place: &Place) -> impl Future<Output = Result<Option<Task>>>;

    /// Asks it to shut down, and waits there for so long; `force` kills it afterwards.
    fn shutdown(
        &self,
        place: &Place,
        patience: Duration,
        force: bool,
    ) -> impl Future<Output = Result<Option<Task>>>;

    /// Stops it without asking.
    fn stop(&self, place: &Place) -> impl Future<Output = Result<Option<Task>>>;

    /// Writes its configuration, if it is still as `digest` says (H14).
    fn set_config(
        &self,
        place: &Place,
        changes: &Changes,
        read: &Config,
    ) -> impl Future<Output = Result<Option<Task>>>;

    /// How far a task is, asked once (G25).
    fn task_once(&self, task: &Task) -> impl Future<Output = Result<Progress>>;

    /// Waits for a task's end, so long at most; it runs on when that is over.
    fn wait(&self, task: &Task, limit: Duration) -> impl Future<Output = Result<Progress>>;

    /// The tasks of a guest that the hypervisor still knows, newest first.
    fn tasks(&self, place: &Place) -> impl Future<Output = Result<Vec<FoundTask>>>;

    /// When it was last used, wherever it was then. Proxmox VE tells of what others did only where the permissions of the token show the
    /// tasks of a node.
    fn last_use(&self, place: &Place) -> impl Future<Output = Result<LastUse>>;

    /// Calls it something else where that is its id, so that it is found under that from then on.
    fn rename(&self, place: &Place, name: &str) -> impl Future<Output = Result<Option<Task>>>;

    /// Makes a backup of a guest that stands still, onto a storage, known by `label`.
    fn backup(
        &self,
        place: &Place,
        storage: &str,
        label: &str,
    ) -> impl Future<Output = Result<Option<Task>>>;

    /// The backup of that label, brought to where it outlives the guest; `None` where there is none. May be called again.
    fn keep(
        &self,
        place: &Place,
        storage: &str,
        label: &str,
    ) -> impl Future<Output = Result<Option<Backup>>>;

    /// A backup, by its id; `None` where there is none.
    ///
    /// # Errors
    /// Also one that [`Error::is_gone`] when the credential is shown no backup at all of that guest, and may not be allowed to see any.
    fn find_backup(
        &self,
        place: &Place,
        storage: &str,
        backup: &str,
    ) -> impl Future<Output = Result<Option<Backup>>>;

    /// Makes a guest out of a backup; it does not start.
    fn restore(&self, restore: &Restore) -> impl Future<Output = Result<Option<Task>>>;

    /// Makes a guest; it does not start.
    fn create(&self, creation: &Creation) -> impl Future<Output = Result<Option<Task>>>;

    /// Removes a guest that stands still, with its volumes. Backups stay.
    fn destroy(&self, place: &Place) -> impl Future<Output = Result<Option<Task>>>;

    /// An id that no guest has.
    fn free_id(&self, wish: &str) -> impl Future<Output = Result<String>>;

    /// The server itself.
    fn server(&self) -> impl Future<Output = Result<Server>>;

    /// Whether the pool or project is there in which guests are made.
    fn has_scratch(&self, name: &str) -> impl Future<Output = Result<bool>>;

    /// What the credential may do.
    fn permissions(&self) -> impl Future<Output = Result<Permissions>>;
}
