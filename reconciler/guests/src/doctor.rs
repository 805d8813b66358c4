//! What a hypervisor lets us do, call by call, and what is to be told of it (H1, GB9).

use std::collections::BTreeSet;

use crate::act::ActSettings;
use crate::api::{GuestApi, Listed, Permissions, SYS_AUDIT, Server};
use crate::error::Error;

/// How one part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It works.
    Good,
    /// It works, and somebody should know something.
    Note,
    /// Something would not work.
    Bad,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: a few words.
    pub part: String,
    /// How it is.
    pub health: Health,
    /// What is so.
    pub text: String,
    /// What to do, where something is to be done.
    pub cure: Option<String>,
}

impl Finding {
    fn good(part: &str, text: impl Into<String>) -> Self {
        Self {
            part: part.to_owned(),
            health: Health::Good,
            text: text.into(),
            cure: None,
        }
    }

    fn told(
        health: Health,
        part: &str,
        text: impl Into<String>,
        cure: impl Into<Option<String>>,
    ) -> Self {
        Self {
            part: part.to_owned(),
            health,
            text: text.into(),
            cure: cure.into(),
        }
    }
}

/// A call on a guest, and the privilege of Proxmox VE that it needs.
struct Need {
    call: &'static str,
    privilege: &'static str,
}

const fn need(call: &'static str, privilege: &'static str) -> Need {
    Need { call, privilege }
}

/// What the everyday token does.
const EVERYDAY: [Need; 6] = [
    need("reading it", "VM.Audit"),
    need("guest.start, guest.shutdown and guest.stop", "VM.PowerMgmt"),
    need("guest.cores", "VM.Config.CPU"),
    need("guest.memory", "VM.Config.Memory"),
    need(
        "guest.description, guest.tags and guest.onboot",
        "VM.Config.Options",
    ),
    need(
        "guest.restore, which gives a container its name back",
        "VM.Config.Network",
    ),
];

/// What the token does that makes guests in one pool.
const CREATE: [Need; 7] = [
    need(
        "guest.create, guest.discard and trying a backup",
        "VM.Allocate",
    ),
    need("looking at what was made", "VM.Audit"),
    need("starting what came of a backup", "VM.PowerMgmt"),
    need("taking its network cards away", "VM.Config.Network"),
    need("keeping it off-boot", "VM.Config.Options"),
    need("the cores of a copy", "VM.Config.CPU"),
    need("the memory of a copy", "VM.Config.Memory"),
];

/// What the token does that a release lets out, on each guest: the parts of an end and of an overwrite.
const RELEASE: [Need; 6] = [
    need("looking at a guest that is to end", "VM.Audit"),
    need("shutting it down first", "VM.PowerMgmt"),
    need(
        "backing it up, and bringing a backup up (guest.destroy, guest.overwrite)",
        "VM.Backup",
    ),
    need(
        "setting it aside, protected and off-boot",
        "VM.Config.Options",
    ),
    need("giving it another name", "VM.Config.Network"),
    need("guest.purge and guest.overwrite", "VM.Allocate"),
];

/// What no everyday token may have: with it, there is no wall behind the gate (H9).
const WALL: [&str; 2] = ["VM.Allocate", "VM.Backup"];

/// The clients with the credentials beside the everyday one, where there are such.
pub(crate) struct Walled<A> {
    /// What makes guests in one place.
    pub(crate) create: Option<A>,
    /// What deletes, which only reads here what it may do.
    pub(crate) release: Option<A>,
}

/// Whether the credential that deletes is opened to read what it may do. It is for claimed releases alone (H9), unless whoever looks
/// asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseToken {
    /// It stays closed, which is told.
    Closed,
    /// It is asked what it may do, and for nothing else.
    Asked,
}

/// That the credential that deletes was left alone.
pub(crate) fn left_closed() -> Finding {
    Finding::told(
        Health::Note,
        "release",
        "what `release_token` may do was not read: only a claimed release opens it".to_owned(),
        "`muster doctor --release-token` opens it to read that, and for nothing else".to_owned(),
    )
}

/// Looks at a hypervisor. `names` are the guests that the file of this executor names.
pub(crate) async fn examine<A: GuestApi>(
    everyday: &A,
    walled: &Walled<A>,
    settings: &ActSettings,
    names: &BTreeSet<String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let nodes: Vec<String> = match everyday.server().await {
        Ok(server) => {
            findings.extend(about_server(&server));
            server.nodes.into_keys().collect()
        }
        Err(error) => return vec![unanswered("the hypervisor", &error)],
    };
    let listing = match everyday.list().await {
        Ok(listing) => listing,
        Err(error) => {
            findings.push(unanswered("the guests", &error));
            return findings;
        }
    };
    for (node, why) in &listing.silent {
        let text =
            format!("node {node} does not answer ({why}); nothing is planned for its guests");
        findings.push(Finding::told(Health::Note, "nodes", text, None));
    }
    let guests: Vec<&Listed> = names
        .iter()
        .filter_map(|it| listing.guests.get(it))
        .collect();
    for name in names.iter().filter(|it| !listing.guests.contains_key(*it)) {
        let text = format!(
            "guest {name} is named in the file and is not there, or the token may not see it"
        );
        let cure = "look whether it is there; the token needs VM.Audit on it".to_owned();
        findings.push(Finding::told(Health::Note, "guests", text, cure));
    }
    match everyday.permissions().await {
        Ok(permissions) if A::NAME_IS_ID => findings.extend(about_projects(&permissions, settings)),
        Ok(permissions) => {
            findings.extend(about_everyday(&permissions, &guests));
            let of_guests = guests.iter().map(|it| it.place.node.as_str());
            let nodes = nodes.iter().map(String::as_str).chain(of_guests);
            findings.extend(about_nodes(&permissions, nodes.collect()));
        }
        Err(error) => findings.push(unanswered("the permissions", &error)),
    }
    if let (Some(api), Some(pool)) = (&walled.create, &settings.scratch) {
        findings.extend(about_scratch(api, pool).await);
        if !A::NAME_IS_ID {
            match api.permissions().await {
                Ok(permissions) => findings.extend(about_create(&permissions, pool, settings)),
                Err(error) => {
                    findings.push(unanswered("the permissions of `create_token`", &error));
                }
            }
        }
    }
    if let Some(api) = &walled.release {
        match api.permissions().await {
            Ok(permissions) if A::NAME_IS_ID => {
                findings.extend(about_projects(&permissions, settings));
            }
            Ok(permissions) => findings.extend(about_release(&permissions, &guests, settings)),
            Err(error) => findings.push(unanswered("the permissions of `release_token`", &error)),
        }
    }
    if let Some(pool) = &settings.scratch {
        let inside = listing
            .guests
            .values()
            .filter(|it| it.pool.as_ref() == Some(pool));
        let inside: Vec<&str> = inside.map(|it| it.place.id.as_str()).collect();
        if !inside.is_empty() {
            let text = format!(
                "{} {} in `{pool}`, where the everyday work may delete: no wall protects what is there",
                inside.join(", "),
                if inside.len() == 1 { "is" } else { "are" }
            );
            let cure = "move guests that are in use to another pool or project".to_owned();
            findings.push(Finding::told(Health::Note, "scratch", text, cure));
        }
    }
    findings
}

fn unanswered(part: &str, error: &Error) -> Finding {
    let cure = match error {
        Error::NotSent { .. } => "look at the address, the certificate and the network between",
        Error::Refused { code: 401, .. } => {
            "look at the credential: whether it exists, has expired, or is another one"
        }
        Error::Refused { .. } => "what it says is missing is to be given",
        Error::PerhapsExecuted { .. } | Error::Unreadable { .. } => {
            "look whether that is the hypervisor, and whether something stands in between"
        }
    };
    Finding::told(Health::Bad, part, error.to_string(), cure.to_owned())
}

fn about_server(server: &Server) -> Vec<Finding> {
    // Incus answers strangers, too, and tells them next to nothing.
    let mut findings = vec![match server.version.is_empty() {
        true => Finding::told(
            Health::Bad,
            "the hypervisor",
            "it answers, and does not know who asks",
            "have it trust the client certificate: `incus config trust add-certificate FILE`"
                .to_owned(),
        ),
        false => Finding::good("the hypervisor", format!("version {}", server.version)),
    }];
    if !server.quorate {
        findings.push(Finding::told(
            Health::Bad,
            "the cluster",
            "it has no quorum: nothing can be started or written",
            "bring nodes back until more than half of them answer".to_owned(),
        ));
    }
    let down: Vec<&str> = server
        .nodes
        .iter()
        .filter(|(_, up)| !**up)
        .map(|(node, _)| node.as_str())
        .collect();
    if !down.is_empty() {
        let text = format!("these nodes do not answer: {}", down.join(", "));
        findings.push(Finding::told(Health::Note, "the cluster", text, None));
    }
    findings
}

/// The lines that give privileges: to the token, and to its user, since a token has no more than both have.
fn pveum(role: &str, privileges: &[&str], path: &str, who: &str) -> String {
    let user = who.split('!').next().unwrap_or(who);
    format!(
        "pveum role add {role} --privs '{}' || pveum role modify {role} --append --privs '{}'; pveum acl modify {path} --roles {role} --users \
         '{user}'; pveum acl modify {path} --roles {role} --tokens '{who}'",
        privileges.join(" "),
        privileges.join(" ")
    )
}

fn about_everyday(permissions: &Permissions, guests: &[&Listed]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let who = &permissions.who;
    for guest in guests {
        let has = permissions.on_guest(&guest.place.id, guest.pool.as_deref());
        let place = &guest.place;
        let missing: Vec<&Need> = EVERYDAY
            .iter()
            .filter(|it| !has.contains(it.privilege))
            .collect();
        for need in &missing {
            let text = format!("{}: on {place}, {who} lacks {}", need.call, need.privilege);
            let path = format!("/vms/{}", place.id);
            let line = pveum("MusterEveryday", &[need.privilege], &path, who);
            findings.push(Finding::told(Health::Bad, "permissions", text, line));
        }
        let too_much: Vec<&str> = WALL.into_iter().filter(|it| has.contains(it)).collect();
        if !too_much.is_empty() && guest.pool.is_none() {
            let text = format!(
                "{who} has {} on {place}, so nothing behind the gate keeps it from being deleted",
                too_much.join(" and ")
            );
            let cure =
                "take that away from the everyday token, and give it to the `release_token` alone"
                    .to_owned();
            findings.push(Finding::told(Health::Bad, "permissions", text, cure));
        }
    }
    if findings.is_empty() && !guests.is_empty() {
        let text = format!("{who} may do what everyday work needs, and cannot delete");
        findings.push(Finding::good("permissions", text));
    }
    findings
}

/// What nodes do not show, in silence: a purge relies on it, whichever of them a guest was on (H7).
fn about_nodes(permissions: &Permissions, nodes: BTreeSet<&str>) -> Vec<Finding> {
    let who = &permissions.who;
    let unseen = nodes
        .into_iter()
        .filter(|it| !permissions.sees_tasks_on(it));
    let told = unseen.map(|node| {
        let text = format!(
            "guest.purge: on node {node}, {who} lacks {SYS_AUDIT}, so it is not seen whether somebody started a guest that is set aside, and \
             none is deleted"
        );
        let line = pveum("MusterEveryday", &[SYS_AUDIT], &format!("/nodes/{node}"), who);
        Finding::told(Health::Bad, "permissions", text, line)
    });
    told.collect()
}

fn about_create(permissions: &Permissions, pool: &str, settings: &ActSettings) -> Vec<Finding> {
    let path = format!("/pool/{pool}");
    let none = BTreeSet::new();
    let has = permissions.granted.get(&path).unwrap_or(&none);
    let who = &permissions.who;
    let mut findings: Vec<Finding> = CREATE
        .iter()
        .filter(|it| !has.contains(it.privilege))
        .map(|need| {
            let text = format!(
                "{}: in pool {pool}, {who} lacks {}",
                need.call, need.privilege
            );
            let line = pveum("MusterCreate", &[need.privilege], &path, who);
            Finding::told(Health::Bad, "permissions", text, line)
        })
        .collect();
    if let Some(storage) = &settings.scratch_storage {
        let path = format!("/storage/{storage}");
        if lacks_space(permissions, storage) {
            let text =
                format!("guest.create: on storage {storage}, {who} lacks Datastore.AllocateSpace");
            let line = pveum("MusterStorage", &["Datastore.AllocateSpace"], &path, who);
            findings.push(Finding::told(Health::Bad, "permissions", text, line));
        }
    }
    for wide in ["/", "/vms"] {
        let has = permissions.granted.get(wide);
        if has.is_some_and(|it| it.contains("VM.Allocate")) {
            let text = format!(
                "{who} has VM.Allocate on {wide}, and not in pool {pool} alone: it may delete every guest"
            );
            let cure =
                format!("pveum acl delete {wide} --tokens '{who}' --roles …; give it on {path}");
            findings.push(Finding::told(Health::Bad, "permissions", text, cure));
        }
    }
    findings
}

/// Whether the place is there in which guests are made and backups are tried (H9).
async fn about_scratch<A: GuestApi>(api: &A, name: &str) -> Vec<Finding> {
    let (kind, line) = match A::NAME_IS_ID {
        true => ("project", format!("incus project create {name}")),
        false => ("pool", format!("pveum pool add {name}")),
    };
    match api.has_scratch(name).await {
        Ok(true) => Vec::new(),
        Ok(false) => {
            let text = format!(
                "there is no {kind} `{name}`, so no guest is made and no backup tried: no end of a guest gets further than its backup"
            );
            vec![Finding::told(Health::Bad, "scratch", text, line)]
        }
        Err(Error::Refused { code: 403, .. }) if !A::NAME_IS_ID => {
            let text = format!(
                "whether there is a pool `{name}` cannot be seen: the `create_token` lacks Pool.Audit on it"
            );
            let line = format!(
                "pveum role modify MusterCreate --append --privs Pool.Audit; pveum acl modify /pool/{name} --roles MusterCreate --tokens …"
            );
            vec![Finding::told(Health::Note, "scratch", text, line)]
        }
        Err(error) => vec![unanswered("the scratch pool or project", &error)],
    }
}

/// What the token lacks that a release lets out: better told now than halfway through an end.
fn about_release(
    permissions: &Permissions,
    guests: &[&Listed],
    settings: &ActSettings,
) -> Vec<Finding> {
    let who = &permissions.who;
    let mut findings = Vec::new();
    for guest in guests {
        let has = permissions.on_guest(&guest.place.id, guest.pool.as_deref());
        let place = &guest.place;
        for need in RELEASE.iter().filter(|it| !has.contains(it.privilege)) {
            let text = format!("{}: on {place}, {who} lacks {}", need.call, need.privilege);
            let path = format!("/vms/{}", place.id);
            let line = pveum("MusterRelease", &[need.privilege], &path, who);
            findings.push(Finding::told(Health::Bad, "release", text, line));
        }
    }
    let space = "Datastore.AllocateSpace";
    let storages = [
        ("keeping backups", Some(&settings.backup_storage)),
        (
            "bringing a backup up for its trial",
            settings.scratch_storage.as_ref(),
        ),
    ];
    for (call, storage) in storages {
        let Some(storage) = storage else { continue };
        if lacks_space(permissions, storage) {
            let text = format!("{call}: on storage {storage}, {who} lacks {space}");
            let path = format!("/storage/{storage}");
            let line = pveum("MusterStorage", &[space], &path, who);
            findings.push(Finding::told(Health::Bad, "release", text, line));
        }
    }
    findings
}

fn lacks_space(permissions: &Permissions, storage: &str) -> bool {
    let path = format!("/storage/{storage}");
    let paths = [path.as_str(), "/storage", "/"];
    let has = paths.iter().find_map(|it| permissions.granted.get(*it));
    !has.is_some_and(|it| it.contains("Datastore.AllocateSpace"))
}

fn about_projects(permissions: &Permissions, settings: &ActSettings) -> Vec<Finding> {
    let who = &permissions.who;
    if permissions.everything {
        let text = format!(
            "{who} may do everything there, as root may: nothing behind the gate keeps a guest from being deleted"
        );
        let cure = "use a restricted client certificate: incus config trust add-certificate FILE --restricted --projects …".to_owned();
        return vec![Finding::told(Health::Note, "permissions", text, cure)];
    }
    let mut findings = Vec::new();
    for project in settings
        .scratch
        .iter()
        .filter(|it| !permissions.granted.contains_key(*it))
    {
        let text = format!("{who} does not reach project {project}, where guests are made");
        let cure =
            format!("incus config trust edit: add {project} to the projects of our certificate");
        findings.push(Finding::told(Health::Bad, "permissions", text, cure));
    }
    findings
}
