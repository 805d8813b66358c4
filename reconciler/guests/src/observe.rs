//! What was read, in core's words.

use std::collections::BTreeMap;

use muster_core::guests::action::{Found, Marker, Volume, Volumes};
use muster_core::guests::desired::Run;
use muster_core::guests::observed::{
    Config, Down, Form, Guest, Ha, NOT_ASKED, Observed, Pending, Question, Sight, Stored, TaskState,
};
use muster_core::reading::Reading;
use muster_core::time::Time;

use crate::act::ActSettings;
use crate::api::{self, AUDIT, GuestApi, Kind, Listed, Place, Power, Progress, SYS_AUDIT, Task};
use crate::parallel;

/// Since when nodes do not answer, from one look to the next.
pub(crate) type Silence = BTreeMap<String, Time>;

/// Looks at a hypervisor: its lists, the configurations that are asked for, and the tasks.
pub(crate) async fn observe<A: GuestApi>(
    api: &A,
    question: &Question,
    silence: &mut Silence,
    now: Time,
    settings: &ActSettings,
) -> Observed {
    let parallel = settings.parallel.max(8);
    let storage = settings.backup_storage.as_str();
    let listing = match api.list().await {
        Ok(listing) => listing,
        Err(error) => return Observed::unread(error.to_string()),
    };
    let hidden = match hidden(api, question, &listing).await {
        Ok(hidden) => hidden,
        Err(why) => return Observed::unread(why),
    };
    silence.retain(|it, _| listing.silent.contains_key(it) || hidden.contains_key(it));
    let down: BTreeMap<String, Down> = listing
        .silent
        .iter()
        .map(|(node, why)| {
            let since = *silence.entry(node.clone()).or_insert(now);
            (
                node.clone(),
                Down {
                    since,
                    why: why.clone(),
                },
            )
        })
        .collect();
    let asked = listing
        .guests
        .values()
        .filter(|it| it.config.is_none() && it.power.is_some() && question.asks_for(&it.place.id));
    let read = parallel::all(
        parallel,
        asked.map(|it| async { (it.place.id.clone(), api.inspect(&it.place).await) }),
    );
    let tasks = parallel::all(
        parallel,
        question
            .tasks
            .keys()
            .map(|task| async { (task.clone(), api.task_once(&Task(task.clone())).await) }),
    );
    let (read, tasks, backups, starts) = tokio::join!(
        read,
        tasks,
        stored(api, question, &listing, storage),
        starts(api, question, &listing)
    );
    let mut read: BTreeMap<_, _> = read.into_iter().collect();
    let tasks: BTreeMap<String, TaskState> = tasks
        .into_iter()
        .map(|(task, state)| (task, task_state(state)))
        .collect();
    let mut guests = BTreeMap::new();
    for (id, listed) in listing.guests {
        let config = read.remove(&id);
        let running = question
            .tasks
            .iter()
            .find(|(task, guest)| **guest == id && tasks.get(*task) == Some(&TaskState::Running));
        let running = running.map(|(task, _)| task.clone());
        guests.insert(id, sight(listed, config, running, &down, now));
    }
    for (id, why) in hidden {
        let since = *silence.entry(id.clone()).or_insert(now);
        let down = Down { since, why };
        guests.insert(id, Sight::Unknown { node: None, down });
    }
    Observed {
        guests: Reading::Known(guests),
        down,
        tasks,
        backups,
        starts,
    }
}

/// Guests that the list lacks and that it would lack as well if they were there, since the credential may not see them, and why (GB9). It is
/// asked what it may do where somebody is missing, and never else (H15).
///
/// # Errors
/// In words, when it may see no guest at all: an empty list is no word about anybody then.
async fn hidden<A: GuestApi>(
    api: &A,
    question: &Question,
    listing: &api::Listing,
) -> Result<BTreeMap<String, String>, String> {
    let is_missing = |it: &&String| !listing.guests.contains_key(*it);
    let missing: Vec<&String> = question.expected.iter().filter(is_missing).collect();
    let nobody_of_all = question.everybody && listing.guests.is_empty();
    // On a node that is silent it may be anyway (H2).
    if (missing.is_empty() && !nobody_of_all) || !listing.silent.is_empty() {
        return Ok(BTreeMap::new());
    }
    let may = api
        .permissions()
        .await
        .map_err(|error| format!("guests are missing in the list, and {error}"))?;
    let who = &may.who;
    if !may.sees_any(A::NAME_IS_ID) {
        let lacks = match A::NAME_IS_ID {
            true => "no project",
            false => "VM.Audit on nothing",
        };
        return Err(format!(
            "{who} has {lacks}, so the list is empty whatever is there; `muster doctor` says how to give it"
        ));
    }
    let unseen = missing
        .into_iter()
        .filter(|it| !A::NAME_IS_ID && !may.on_guest(it, None).contains(AUDIT));
    let why = |id: &String| {
        format!(
            "{who} lacks {AUDIT} on /vms/{id}, so the list would not have it if it were there, and a right on a pool says nothing of a guest \
             that is in none any more; give it {AUDIT} on /vms, or take the row out if the guest is gone"
        )
    };
    Ok(unseen.map(|id| (id.clone(), why(id))).collect())
}

/// The backups that steps rely on, as far as the everyday credential may see them.
async fn stored<A: GuestApi>(
    api: &A,
    question: &Question,
    listing: &api::Listing,
    storage: &str,
) -> BTreeMap<String, Reading<Option<Stored>>> {
    let mut found = BTreeMap::new();
    for (backup, guest) in &question.backups {
        // Of one that is not there nothing is planned.
        let Some(listed) = listing.guests.get(guest).filter(|it| it.power.is_some()) else {
            continue;
        };
        let reading = match api.find_backup(&listed.place, storage, backup).await {
            Ok(backup) => Reading::Known(backup.map(|it| Stored {
                bytes: it.size,
                seal: Some(it.seal()),
            })),
            Err(error) => Reading::Unknown(error.to_string()),
        };
        found.insert(backup.clone(), reading);
    }
    found
}

/// When guests that are set aside were last used.
async fn starts<A: GuestApi>(
    api: &A,
    question: &Question,
    listing: &api::Listing,
) -> BTreeMap<String, Reading<Option<Time>>> {
    let guests = question.starts.iter();
    let guests = guests.filter_map(|it| listing.guests.get(it));
    let mut found = BTreeMap::new();
    // Of one on a node that is silent nothing is planned.
    for listed in guests.filter(|it| it.power.is_some()) {
        let reading = match last_use(api, &listed.place).await {
            Ok(at) => Reading::Known(at),
            Err(why) => Reading::Unknown(why),
        };
        found.insert(listed.place.id.clone(), reading);
    }
    found
}

/// When a guest was last used, whoever did.
///
/// # Errors
/// In words, when that cannot be told, or nothing of others is shown.
pub(crate) async fn last_use<A: GuestApi>(api: &A, place: &Place) -> Result<Option<Time>, String> {
    let used = api
        .last_use(place)
        .await
        .map_err(|error| error.to_string())?;
    if let Some(error) = used.silent {
        return Err(format!("{error}; it may have been used there and be back"));
    }
    if !A::NAME_IS_ID {
        let may = api.permissions().await.map_err(|error| error.to_string())?;
        let unseen = used.nodes.iter().find(|it| !may.sees_tasks_on(it));
        if let Some(node) = unseen {
            return Err(format!(
                "{} lacks {SYS_AUDIT} on /nodes/{node}, so what others start there is not shown; `muster doctor` says how to give it",
                may.who
            ));
        }
    }
    Ok(used.at.map(seconds))
}

/// A moment in core's words.
pub(crate) fn seconds(at: u64) -> Time {
    Time(i64::try_from(at).unwrap_or(i64::MAX))
}

fn task_state(state: api::Result<Progress>) -> TaskState {
    match state {
        Ok(Progress::Runs) => TaskState::Running,
        Ok(Progress::Done(_)) => TaskState::Ended,
        Ok(Progress::Failed(why)) => TaskState::Failed(why),
        // Whoever cannot be asked may well have it still, and says so once it answers.
        Err(error) if error.is_unreachable() => TaskState::Running,
        Ok(Progress::Unknown(_)) | Err(_) => TaskState::Lost,
    }
}

fn sight(
    listed: Listed,
    config: Option<api::Result<(api::Config, Vec<api::Pending>)>>,
    running: Option<String>,
    down: &BTreeMap<String, Down>,
    now: Time,
) -> Sight {
    let node = Some(listed.place.node.clone()).filter(|it| !it.is_empty());
    let Some(power) = listed.power else {
        let known = node.as_ref().and_then(|it| down.get(it)).cloned();
        return Sight::Unknown {
            down: known.unwrap_or_else(|| Down {
                since: now,
                why: "the cluster tells of it, and its node does not: it may be on the move"
                    .to_owned(),
            }),
            node,
        };
    };
    let config = match (listed.config, config) {
        (Some(config), _) => Reading::Known(self::config(config, Vec::new())),
        (None, Some(Ok((config, waits)))) => Reading::Known(self::config(config, waits)),
        // Its run state is trusted all the same (G4).
        (None, Some(Err(error))) => Reading::Unknown(error.to_string()),
        (None, None) => Reading::Unknown(NOT_ASKED.to_owned()),
    };
    let made = listed
        .tags
        .iter()
        .find(|it| it.starts_with(Marker::PREFIX))
        .or_else(|| Some(&listed.place.id).filter(|it| it.starts_with(Marker::PREFIX)));
    Sight::Seen(Box::new(Guest {
        kind: match listed.place.kind {
            Kind::Container => Form::Container,
            Kind::Machine => Form::Machine,
        },
        node,
        run: run(&power),
        made: made.map(|it| Marker(it.clone())),
        lock: listed.lock,
        ha: listed.ha.map(|state| Ha {
            asked: match state.as_str() {
                "started" => Some(Run::Running),
                "stopped" | "request_stop" => Some(Run::Stopped),
                _ => None,
            },
            state,
        }),
        template: listed.template,
        pool: listed.pool,
        busy: running.or(listed.busy.map(|it| it.0)),
        config,
    }))
}

/// Power in core's words (G1).
pub(crate) fn run(power: &Power) -> Option<Run> {
    match power {
        Power::Running => Some(Run::Running),
        Power::Stopped => Some(Run::Stopped),
        Power::Other(_) => None,
    }
}

/// Volumes in core's words.
pub(crate) fn volumes(config: &api::Config) -> Volumes {
    let volumes = config.volumes.iter().map(|it| {
        let volume = Volume {
            size: it.size,
            storage: it.storage.clone(),
        };
        (it.id.clone(), volume)
    });
    Volumes(volumes.collect())
}

/// What tells a guest from a later one (H8). Where the hypervisor gives an id of its own, that alone: its volume's goes by its name there.
pub(crate) fn identity(config: &api::Config) -> Found {
    match &config.uuid {
        Some(uuid) => Found {
            uuid: Some(uuid.clone()),
            ..Found::default()
        },
        None => Found {
            uuid: None,
            root: config.volumes.first().map(|it| it.id.clone()),
            nic: config.mac.clone(),
        },
    }
}

/// A configuration in core's words.
pub(crate) fn config(config: api::Config, waits: Vec<api::Pending>) -> Config {
    let pending = waits.into_iter().map(|it| {
        let cores = |text: Option<String>| {
            text.map(|it| match it.parse::<u32>() {
                Ok(number) => (number * config.sockets.max(1)).to_string(),
                Err(_) => it,
            })
        };
        let (now, then) = match it.key.as_str() {
            "cores" => (cores(it.now), cores(it.then)),
            _ => (it.now, it.then),
        };
        (it.key, Pending { now, then })
    });
    let pending = pending.collect();
    Config {
        volumes: volumes(&config),
        identity: identity(&config),
        unsaved: config.unsaved,
        digest: config.digest,
        generation: config.generation,
        name: config.name,
        cores: config.cores,
        memory: config.memory,
        description: config.description,
        tags: config.tags,
        onboot: config.onboot,
        protection: config.protection,
        privileged: config.privileged,
        pending,
    }
}
