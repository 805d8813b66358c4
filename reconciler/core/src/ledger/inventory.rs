//! What was read on a host, as a file: enough to plan for it from elsewhere.
//!
//! In the ledger the facts lie beside it; a file that stands alone carries them. What it is made of has no room for a
//! password hash, a key or a session: of a password field it holds whether it is locked, of keys whether there are any,
//! of processes whether some run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{LedgerError, Through};
use crate::facts::{Facts, IdRange};
use crate::observed::{Account, Accounts, Defaults, Observed, Person, Reading, Units};
use crate::policy::{Aggregate, Executor};
use crate::root::Sources;
use crate::sudoers::Sudoers;
use crate::time::Time;

/// Its path in the ledger.
pub const FILE: &str = "inventory.json";

/// The format this version writes.
const FORMAT: u32 = 1;

/// A recorded host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Whose host it is.
    pub executor: Executor,
    /// When it was read, where the file says so; in a ledger, the commit does.
    pub recorded: Option<Time>,
    /// What was read.
    pub observed: Observed,
    /// What muster knows of its own doing there; in a ledger, it lies beside the inventory.
    pub facts: Option<Facts>,
}

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
}

/// What bears on root beside accounts and groups: a key of its own, with a format of its own, which is there only where the
/// host has something of the kind.
///
/// A reader that does not know the key refuses the file, as it refuses every unknown key, and so it should: it would
/// tell steps as benign that the host holds. One that knows an older format of it refuses it likewise.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRoot {
    format: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    administrators: BTreeMap<String, BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    awaited: BTreeMap<String, BTreeSet<String>>,
    sudoers: Reading<Option<Sudoers>>,
}

/// The format of [`OfRoot`] that this version writes.
const ROOT_FORMAT: u32 = 1;

/// Facts as they stand in a ledger.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    state: serde_json::Value,
    people: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "format")]
    _format: u32,
    executor: String,
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
    root: Option<serde_json::Value>,
    #[serde(default)]
    facts: Option<Known>,
}

impl Inventory {
    /// The file: one line for each account and each person, so that `git diff` tells what changed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            executor,
            recorded,
            observed,
            facts,
        } = self;
        let mut out = head(executor, *recorded);
        push_observed(&mut out, observed);
        if let Some(facts) = facts {
            out.extend_from_slice(b",\n\"facts\":");
            push(&mut out, &known(facts));
        }
        out.extend_from_slice(b"}\n");
        out
    }

    /// The file in a ledger, which has facts and time elsewhere.
    pub fn bytes_in_ledger(executor: &Executor, observed: &Observed) -> Vec<u8> {
        let mut out = head(executor, None);
        push_observed(&mut out, observed);
        out.extend_from_slice(b"}\n");
        out
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is of a newer format, or not what was written.
    pub fn read(bytes: &[u8]) -> Result<Self, LedgerError> {
        super::check_format(FILE, bytes, FORMAT)?;
        let Wire {
            _format,
            executor,
            recorded,
            databases,
            accounts,
            people,
            environments,
            aggregates,
            cluster_tiers,
            units,
            root,
            facts,
        } = serde_json::from_slice(bytes).map_err(|source| super::malformed(FILE, source))?;
        let host = executor
            .strip_prefix("host/")
            .ok_or(LedgerError::Executor {
                found: executor.clone(),
            })?;
        let root = root.map(sources_of).transpose()?.unwrap_or_default();
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
            }) => Reading::Known(Accounts {
                by_name: accounts,
                groups,
                subuids,
                subgids,
                foreign,
                foreign_uids,
                defaults,
                shells,
                root,
            }),
        };
        Ok(Self {
            executor: Executor {
                host: host.to_owned(),
            },
            recorded,
            observed: Observed {
                accounts,
                people,
                environments,
                aggregates,
                cluster_tiers,
                units,
            },
            facts: facts.map(facts_of).transpose()?,
        })
    }
}

fn head(executor: &Executor, recorded: Option<Time>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 16);
    out.extend_from_slice(format!("{{\"format\":{FORMAT},\n\"executor\":").as_bytes());
    push(&mut out, &executor.to_string());
    if let Some(recorded) = recorded {
        out.extend_from_slice(b",\n\"recorded\":");
        push(&mut out, &recorded);
    }
    out
}

fn push_observed(out: &mut Vec<u8>, observed: &Observed) {
    let Observed {
        accounts,
        people,
        environments,
        aggregates,
        cluster_tiers,
        units,
    } = observed;
    let none = BTreeMap::new();
    let (databases, by_name, root) = match accounts {
        Reading::Unknown(why) => (Reading::Unknown(why.clone()), &none, None),
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
            } = accounts;
            let databases = Databases {
                groups: groups.clone(),
                subuids: subuids.clone(),
                subgids: subgids.clone(),
                foreign: foreign.clone(),
                foreign_uids: foreign_uids.clone(),
                defaults: defaults.clone(),
                shells: shells.clone(),
            };
            (Reading::Known(databases), by_name, of_root(root))
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
}

fn of_root(sources: &Sources) -> Option<OfRoot> {
    let Sources {
        administrators,
        awaited,
        sudoers,
    } = sources;
    (*sources != Sources::default()).then(|| OfRoot {
        format: ROOT_FORMAT,
        administrators: administrators.clone(),
        awaited: awaited.clone(),
        sudoers: sudoers.clone(),
    })
}

fn sources_of(value: serde_json::Value) -> Result<Sources, LedgerError> {
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    if let Some(newer) = format.filter(|it| *it > u64::from(ROOT_FORMAT)) {
        let found = u32::try_from(newer).unwrap_or(u32::MAX);
        return Err(LedgerError::Newer { found });
    }
    let OfRoot {
        format: _,
        administrators,
        awaited,
        sudoers,
    } = serde_json::from_value(value).map_err(|source| super::malformed(FILE, source))?;
    Ok(Sources {
        administrators,
        awaited,
        sudoers,
    })
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

fn known(facts: &Facts) -> Known {
    let mut files = super::files(facts, &Through::default());
    let value = |text: &[u8]| serde_json::from_slice(text).expect("BUG: what was just written");
    let state = files.remove(super::STATE).unwrap_or_default();
    let lines = files
        .values()
        .flat_map(|it| it.split(|byte| *byte == b'\n'));
    Known {
        state: value(&state),
        people: lines.filter(|it| !it.is_empty()).map(value).collect(),
    }
}

fn facts_of(known: Known) -> Result<Facts, LedgerError> {
    let text = |value: &serde_json::Value| {
        let mut line = serde_json::to_vec(value).expect("what was read can be written");
        line.push(b'\n');
        line
    };
    let people = known.people.iter().flat_map(text).collect();
    let files = BTreeMap::from([
        (super::STATE.to_owned(), text(&known.state)),
        ("people/all.jsonl".to_owned(), people),
    ]);
    Ok(super::facts(&files)?.0)
}
