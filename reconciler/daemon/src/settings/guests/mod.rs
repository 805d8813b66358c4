//! `[[guests]]`: a hypervisor whose guests are kept, one section for each (H1). What plans depend on is the policy of its executor,
//! `guests/<name>`; the rest says how it is reached. A hypervisor is believed by a named authority or a pinned certificate, and no
//! key here switches that off.

mod create;
mod entrance;

use std::path::PathBuf;
use std::time::Duration;

use muster_core::executor::{Executor, ExecutorKind};
use muster_core::guests::file::is_guest;
use muster_core::guests::policy::Policy;
use muster_core::limits::Limits;
use muster_forge::secret::SecretFile;

use super::executors::default_dir;
use super::place::{At, Place, Problem};
use super::section::{CheckOne, Checks, Key, Named, Section, section};
use super::table::{Reader, Table, Word};
use super::values::{duration, path, secret, within};

use create::Devices;
use entrance::Make;
pub use entrance::{Authority, Entrance};

section! {
    /// A hypervisor whose guests are kept: its name in guests/<name>.yaml and in releases. No default. Each of these sections is an
    /// executor of its own, run without root by muster-guests@<name>.service, which reads /etc/muster/guests.toml.
    name: String, example "pve1";
    /// What it is: proxmox (Proxmox VE) or incus. No default.
    kind: String, example "proxmox";
    /// Where its API is. No default. For Incus, https://host:8443 or the socket, unix:/var/lib/incus/unix.socket.
    url: String, example "https://pve1.example.org:8006";
    /// The node of Proxmox VE whose guests are meant, or the project of Incus. No default for a node; a project is "default".
    node: String, example "pve1";
    project: String, or "default";
    /// A file with a token, `user@realm!id=secret`, or the name of a credential of the unit: what is done every day. It needs no right
    /// to make or delete anything; `muster doctor` says what it needs. No default.
    token: String, example "muster-guests-pve1-token";
    /// For an Incus elsewhere: a file, or a credential, with a client certificate and its key, in PEM, one below the other.
    certificate: String, or "muster-guests-lab-certificate";
    /// Why its certificate is believed: the authority that signed it, in PEM (of Proxmox VE, a copy of its /etc/pve/pve-root-ca.pem), or
    /// the SHA-256 fingerprint of the certificate itself. One of the two; no default.
    ca: String, example "/etc/muster/pve1-ca.pem";
    fingerprint: String, or "5A:0C:12:7D:90:F3:6E:21:5A:0C:12:7D:90:F3:6E:21:5A:0C:12:7D:90:F3:6E:21:5A:0C:12:7D:90:F3:6E:21";
    /// The pool of Proxmox VE, or the project of Incus, in which guests may be made. No default: without it and its token, none is made,
    /// none is discarded, no backup is tried, and so none is destroyed.
    scratch: String, example "muster-scratch";
    /// The storage for what is made of a backup to try it. No default: where the guest was.
    scratch_storage: String, example "local-lvm";
    /// As token, or as certificate: what may make and delete guests in there, and nowhere else. No default.
    create_token: String, example "muster-guests-pve1-create";
    /// The same for what may delete. It is opened only while a signed release runs such a step. No default: none is destroyed.
    release_token: String, example "muster-guests-pve1-release";
    /// The storage of Proxmox VE for the backup that is made before a guest is destroyed. No default. Of Incus, backups lie in `dir`.
    backups: String, example "backup";
    /// Guests that no step may touch, signed or not, by vmid or name. No default: none.
    protected: Vec<At<Word>>, example [100, 101];
    /// The guest that muster itself runs in, if it is one of these: no step may touch it. No default.
    own: Word, example 104;
    /// Stops of one plan are held, all of them, when there are at least so many …
    removals: i64, default 3;
    /// … and they exceed this share, in per cent, of the guests that run.
    share: i64, default 25;
    /// How long a step that failed waits for its next try; doubled with each failure, up to an hour.
    retry_after: String, default "1m";
    /// At how many guests something is done at once. One guest is never in two hands.
    parallel: i64, default 4;
    /// How long a guest that is asked to shut down is waited for.
    timeout: String, default "3m";
    /// Whether one that has not shut down by then is stopped all the same, as if its power were cut.
    force_stop: bool, default false;
    /// Whether what comes of a backup is started, too, before its original is set aside; without it, it is only restored.
    rehearsal: bool, default true;
    /// How long it must stay up then.
    rehearsal_timeout: String, default "2m";
    /// How many days a guest that was destroyed stays set aside, whole, before the step that deletes it is planned.
    grace_days: i64, default 14;
    /// How often to look for what somebody changed by hand there.
    drift: String, default "1m";
    /// Identity, journal, ledger, mirror and backups; for its user alone. By the name, below /var/lib/muster-guests.
    dir: String, usual "/var/lib/muster-guests/pve1";
}

/// What one file says of a hypervisor.
#[derive(Debug, Default)]
pub(super) struct Whole {
    own: Fragment,
    create: create::Fragment,
}

/// What all files together say of it.
#[derive(Debug)]
pub(super) struct WholeGiven {
    own: Given,
    create: create::Given,
}

impl Section for Whole {
    type Given = WholeGiven;

    fn keys() -> Vec<Key> {
        Fragment::keys()
    }

    fn read(table: &mut Table<'_>, reader: &mut Reader<'_>) -> Self {
        Self {
            own: Fragment::read(table, reader),
            create: table.below(reader, "create", "guests.create"),
        }
    }

    fn laid_over(self, earlier: Self) -> Self {
        Self {
            own: self.own.laid_over(earlier.own),
            create: self.create.laid_over(earlier.create),
        }
    }

    fn complete(self) -> WholeGiven {
        WholeGiven {
            own: self.own.complete(),
            create: self.create.complete(),
        }
    }
}

impl Named for Whole {
    fn name(&self) -> Option<&str> {
        self.own.name.as_ref().map(|it| it.value.as_str())
    }

    fn below() -> Vec<(&'static str, Vec<Key>)> {
        vec![("create", create::Fragment::keys())]
    }
}

/// A hypervisor whose guests are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestsSettings {
    /// What plans and verdicts depend on, and the executor's name.
    pub policy: Policy,
    /// How it is reached.
    pub entrance: Entrance,
    /// The pool or project in which guests may be made.
    pub scratch: Option<String>,
    /// The storage for what is made of a backup to try it; where the guest was, without.
    pub scratch_storage: Option<String>,
    /// What may make guests in there.
    pub create_token: Credential,
    /// What may delete: opened only while a claimed release runs such a step (H9).
    pub release_token: Credential,
    /// The storage for the backup that is made before a guest is destroyed.
    pub backups: Option<String>,
    /// What the words of devices stand for in a guest's configuration.
    pub devices: Devices,
    /// At how many guests something is done at once.
    pub parallel: usize,
    /// How long a guest that is asked to shut down is waited for.
    pub timeout: Duration,
    /// How long what comes of a backup must stay up.
    pub rehearsal_timeout: Duration,
    /// How often to look for what somebody changed by hand there.
    pub drift: Duration,
    /// Where its executor keeps identity, lock, journal, ledger and mirror.
    pub dir: PathBuf,
}

/// By what something more than the everyday is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// It is not done.
    None,
    /// By a credential of its own.
    Own(SecretFile),
    /// By the socket that everything is done by: no wall stands behind the gate there.
    Socket,
}

impl Credential {
    /// Whether it is done at all.
    pub fn is_there(&self) -> bool {
        match self {
            Self::None => false,
            Self::Own(_) | Self::Socket => true,
        }
    }
}

impl GuestsSettings {
    /// The name of the hypervisor.
    pub fn name(&self) -> &str {
        self.policy.executor.name()
    }
}

impl CheckOne for WholeGiven {
    type Value = GuestsSettings;

    fn name_of(value: &GuestsSettings) -> &str {
        value.name()
    }

    fn check_one(&self, place: &Place, checks: &mut Checks<'_>) -> Option<GuestsSettings> {
        let own = &self.own;
        let executor = self.executor(place, checks);
        let entrance = self.entrance(place, checks);
        let by_socket = matches!(entrance, Some(Entrance::IncusHere { .. }));
        let mut credential =
            |name: &str, text: &Option<At<String>>, goes_by_itself: bool| match text {
                Some(text) if by_socket => {
                    let what = format!("a socket takes no credential, so `{name}` means nothing");
                    let help = "leave it out; whoever may open the socket may do everything";
                    let problem = Problem::new(text.place.clone(), what).help(help);
                    checks.problems.push(problem);
                    None
                }
                Some(text) => secret(text, checks.ambient, checks.problems).map(Credential::Own),
                None if by_socket && goes_by_itself => Some(Credential::Socket),
                None => Some(Credential::None),
            };
        let create_token = credential("create_token", &own.create_token, own.scratch.is_some());
        let release_token = credential("release_token", &own.release_token, true);
        let problems = &mut *checks.problems;
        self.what_goes_together(problems);
        let protected = own.protected.iter().flat_map(|it| &it.value);
        let protected = protected.filter_map(|it| guest(it, problems)).collect();
        let own_guest = own.own.as_ref().and_then(|it| guest(it, problems));
        let limits = self.limits(problems);
        let create = self.create.check(problems);
        let parallel = within(
            &own.parallel,
            1..=64,
            "at so many guests something is done at once",
            problems,
        );
        let timeout = duration(&own.timeout, "timeout", 1..=3_600, problems);
        let rehearsal_timeout = duration(
            &own.rehearsal_timeout,
            "rehearsal_timeout",
            1..=3_600,
            problems,
        );
        let grace_days = within(
            &own.grace_days,
            1..=3_650,
            "so many days a destroyed guest stays set aside before its deletion is planned",
            problems,
        );
        let drift = duration(&own.drift, "drift", 5..=86_400, problems);
        let dir = match &own.dir {
            Some(dir) => path(dir, problems),
            None => executor.as_ref().map(default_dir),
        };
        let (create, devices) = create?;
        let (create_token, release_token) = (create_token?, release_token?);
        let node = own.node.as_ref().map(|it| it.value.clone());
        Some(GuestsSettings {
            policy: Policy {
                executor: executor?,
                protected,
                own: own_guest,
                node,
                limits: limits?,
                create,
                create_token: create_token.is_there(),
                release_token: release_token.is_there(),
                force_stop: own.force_stop.value,
                rehearse_start: own.rehearsal.value,
                grace_days: grace_days?,
            },
            entrance: entrance?,
            scratch: own.scratch.as_ref().map(|it| it.value.clone()),
            scratch_storage: own.scratch_storage.as_ref().map(|it| it.value.clone()),
            create_token,
            release_token,
            backups: own.backups.as_ref().map(|it| it.value.clone()),
            devices,
            parallel: parallel?,
            timeout: timeout?,
            rehearsal_timeout: rehearsal_timeout?,
            drift: drift?,
            dir: dir?,
        })
    }
}

impl WholeGiven {
    /// Its name, which no other section has.
    fn executor(&self, place: &Place, checks: &mut Checks<'_>) -> Option<Executor> {
        let Some(name) = &self.own.name else {
            let problem = Problem::new(place.clone(), "this hypervisor has no name");
            let help = "set name = \"pve1\", as in guests/pve1.yaml of the state repository";
            checks.problems.push(problem.help(help));
            return None;
        };
        let mut named = checks.inputs.guests.iter().map(|it| &it.value.own.name);
        let first = named.find_map(|it| it.as_ref().filter(|it| it.value == name.value));
        if first.is_some_and(|it| it.place != name.place) {
            let what = format!("two hypervisors are called `{}`", name.value.escape_debug());
            let problem = Problem::new(name.place.clone(), what);
            checks
                .problems
                .push(problem.help("each has a name of its own"));
            return None;
        }
        let executor = Executor::of(ExecutorKind::Guests, &name.value);
        if executor.is_none() {
            let what = format!(
                "`{}` is no name for a hypervisor",
                name.value.escape_debug()
            );
            let help = "lower-case letters, digits and -, in labels separated by dots";
            checks
                .problems
                .push(Problem::new(name.place.clone(), what).help(help));
        }
        executor
    }

    /// What is of no use without something else.
    fn what_goes_together(&self, problems: &mut Vec<Problem>) {
        let own = &self.own;
        if let (Some(token), None) = (&own.create_token, &own.scratch) {
            let what = "where guests may be made with `create_token` is not said";
            let help = "set scratch to the pool or project in which it may, and give it rights there alone";
            problems.push(Problem::new(token.place.clone(), what).help(help));
        }
        let is_proxmox = own
            .kind
            .as_ref()
            .is_some_and(|it| it.value == Make::Proxmox.word());
        if let (Some(token), None, true) = (&own.release_token, &own.backups, is_proxmox) {
            let what = "a guest is backed up before it is destroyed, and where is not said";
            let help = "set backups to a storage that takes backups";
            problems.push(Problem::new(token.place.clone(), what).help(help));
        }
        let mut tokens = [
            &own.token,
            &own.certificate,
            &own.create_token,
            &own.release_token,
        ]
        .into_iter()
        .flatten();
        while let Some(token) = tokens.next() {
            if let Some(same) = tokens.clone().find(|it| it.value == token.value) {
                let what = format!("`{}` is named twice", same.value.escape_debug());
                let help =
                    "each is a credential of its own: the everyday one must not be able to delete";
                problems.push(Problem::new(same.place.clone(), what).help(help));
            }
        }
    }

    fn limits(&self, problems: &mut Vec<Problem>) -> Option<Limits> {
        let removals = within(
            &self.own.removals,
            1..=100_000,
            "so many stops at once are looked at by share",
            problems,
        );
        let share = within(
            &self.own.share,
            0..=99,
            "100 could never be exceeded, so it would switch the limit off",
            problems,
        );
        let retry_after = duration(&self.own.retry_after, "retry_after", 0..=3_600, problems);
        Some(Limits {
            removals: removals?,
            share: share?,
            retry_after: u32::try_from(retry_after?.as_secs()).expect("BUG: an hour at most"),
            ..Limits::default()
        })
    }
}

/// A guest's vmid or name.
fn guest(word: &At<Word>, problems: &mut Vec<Problem>) -> Option<String> {
    let At {
        value: Word(text),
        place,
    } = word;
    if is_guest(text) {
        return Some(text.clone());
    }
    let what = format!(
        "`{}` is no vmid and no name of a guest",
        text.escape_debug()
    );
    problems.push(Problem::new(place.clone(), what).help("such as 104, or \"web1\" for Incus"));
    None
}
