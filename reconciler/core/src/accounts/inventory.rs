//! What was read on a host, as a file of its ledger: enough to plan for it from elsewhere.
//!
//! What it is made of has no room for a password hash, a key or a session: of a password field it holds whether it is locked, of
//! keys whether there are any, of processes whether some run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::facts::IdRange;
use super::hindrances::Hindrances;
use super::observed::{Account, Accounts, Defaults, Observed, Person, Units};
use super::policy::Aggregate;
use super::root::Sources;
use super::sudoers::Sudoers;
use crate::reading::{Reading, RecordedFacts};
use crate::time::Time;

/// The format this version writes.
pub(crate) const FORMAT: u32 = 1;

/// The account databases without the accounts, which have a line each.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Databases {
    groups: BTreeMap<String, u32>,
    subuids: Vec<IdRange>,
    subgids: Vec<IdRange>,
    foreign: BTreeMap<String, u32>,
    foreign_uids: BTreeSet<u32>,
    defaults: Defaults,
    shells: BTreeSet<String>,
    /// Only where there are any: a reader that does not know the key refuses the file, since it would not clear them away.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    remains: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "format")]
    _format: u32,
    #[serde(rename = "executor")]
    _executor: String,
    #[serde(default)]
    recorded: Option<Time>,
    databases: Reading<Databases>,
    accounts: BTreeMap<String, Box<Account>>,
    people: BTreeMap<String, Person>,
    environments: Reading<BTreeMap<String, String>>,
    aggregates: BTreeMap<Aggregate, Reading<BTreeMap<String, String>>>,
    #[serde(default)]
    cluster_tiers: Option<Reading<BTreeMap<String, String>>>,
    units: Reading<Units>,
    #[serde(default)]
    root: Option<OfRoot>,
    #[serde(default)]
    hindrances: Option<Hindrances>,
    #[serde(default)]
    facts: Option<RecordedFacts>,
}

/// What bears on root beside accounts and groups: a key of its own, with a format of its own, which is there only where the
/// host has something of the kind.
///
/// A reader that does not know the key refuses the file, as it refuses every unknown key, and so it should: it would
/// tell steps as benign that the host holds. One that knows an older format of it refuses it likewise.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRoot {
    #[serde(deserialize_with = "known_format")]
    format: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    administrators: BTreeMap<String, BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    awaited: BTreeMap<String, BTreeSet<String>>,
    sudoers: Reading<Option<Sudoers>>,
}

/// The format of [`OfRoot`] that this version writes.
const ROOT_FORMAT: u32 = 1;

fn known_format<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let format = u32::deserialize(from)?;
    if format > ROOT_FORMAT {
        return Err(serde::de::Error::custom(format_args!(
            "what bears on root has format {format}, and this version of muster reads {ROOT_FORMAT}; install the newer one"
        )));
    }
    Ok(format)
}

impl OfRoot {
    fn of(sources: &Sources) -> Option<Self> {
        let Sources {
            administrators,
            awaited,
            sudoers,
        } = sources;
        (*sources != Sources::default()).then(|| Self {
            format: ROOT_FORMAT,
            administrators: administrators.clone(),
            awaited: awaited.clone(),
            sudoers: sudoers.clone(),
        })
    }

    fn sources(self) -> Sources {
        let Self {
            format: _,
            administrators,
            awaited,
            sudoers,
        } = self;
        Sources {
            administrators,
            awaited,
            sudoers,
        }
    }
}

/// What such a file says: when it was read, where it says so, what was read, and the facts that it carries, if it does.
pub(crate) type Read = (Option<Time>, Observed, Option<RecordedFacts>);

/// Reads the file.
///
/// # Errors
/// When it is not what was written.
pub(crate) fn read(bytes: &[u8]) -> Result<Read, serde_json::Error> {
    let Wire {
        _format,
        _executor,
        recorded,
        databases,
        accounts,
        people,
        environments,
        aggregates,
        cluster_tiers,
        units,
        root,
        hindrances,
        facts,
    } = serde_json::from_slice(bytes)?;
    let accounts = match databases {
        Reading::Unknown(why) => Reading::Unknown(why),
        Reading::Known(Databases {
            groups,
            subuids,
            subgids,
            foreign,
            foreign_uids,
            defaults,
            shells,
            remains,
        }) => Reading::Known(Accounts {
            by_name: accounts,
            groups,
            subuids,
            subgids,
            foreign,
            foreign_uids,
            defaults,
            shells,
            root: root.map(OfRoot::sources).unwrap_or_default(),
            hindrances: hindrances.unwrap_or_default(),
            remains,
        }),
    };
    let observed = Observed {
        accounts,
        people,
        environments,
        aggregates,
        cluster_tiers,
        units,
    };
    Ok((recorded, observed, facts))
}

/// Writes what was read after the head of the file: one line for each account and each person, so that `git diff` tells what
/// changed.
pub(crate) fn push_observed(out: &mut Vec<u8>, observed: &Observed) {
    let Observed {
        accounts,
        people,
        environments,
        aggregates,
        cluster_tiers,
        units,
    } = observed;
    let none = BTreeMap::new();
    let (databases, by_name, root, hindrances) = match accounts {
        Reading::Unknown(why) => (Reading::Unknown(why.clone()), &none, None, None),
        Reading::Known(accounts) => {
            let Accounts {
                by_name,
                groups,
                subuids,
                subgids,
                foreign,
                foreign_uids,
                defaults,
                shells,
                root,
                hindrances,
                remains,
            } = accounts;
            let databases = Databases {
                groups: groups.clone(),
                subuids: subuids.clone(),
                subgids: subgids.clone(),
                foreign: foreign.clone(),
                foreign_uids: foreign_uids.clone(),
                defaults: defaults.clone(),
                shells: shells.clone(),
                remains: remains.clone(),
            };
            let hindrances = hindrances.are_worth_writing().then_some(hindrances);
            (
                Reading::Known(databases),
                by_name,
                OfRoot::of(root),
                hindrances,
            )
        }
    };
    out.extend_from_slice(b",\n\"databases\":");
    push(out, &databases);
    push_lines(out, "accounts", by_name);
    push_lines(out, "people", people);
    out.extend_from_slice(b",\n\"environments\":");
    push(out, environments);
    out.extend_from_slice(b",\n\"aggregates\":");
    push(out, aggregates);
    if let Some(tiers) = cluster_tiers {
        out.extend_from_slice(b",\n\"cluster_tiers\":");
        push(out, tiers);
    }
    out.extend_from_slice(b",\n\"units\":");
    push(out, units);
    if let Some(root) = root {
        out.extend_from_slice(b",\n\"root\":");
        push(out, &root);
    }
    if let Some(hindrances) = hindrances {
        out.extend_from_slice(b",\n\"hindrances\":");
        push(out, hindrances);
    }
}

fn push(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("plain records always serialise");
}

fn push_lines<T: Serialize>(out: &mut Vec<u8>, name: &str, map: &BTreeMap<String, T>) {
    out.extend_from_slice(format!(",\n\"{name}\":{{").as_bytes());
    for (index, (key, value)) in map.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
        push(out, key);
        out.push(b':');
        push(out, value);
    }
    out.push(b'}');
}
