//! Facts as the files of a git tree, and back. What a machine must not be the only one to know.
//!
//! People lie in 256 shards with one line of JSON for each, so that a commit costs what changed and a load opens few files.
//! Never a password hash, a key or a session.

pub mod held;
pub mod inventory;
pub mod policy;
pub mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::commit::CommitId;
use crate::executor::{Executor, ExecutorKind};
use crate::facts::{Attempted, DoneStep, Facts, Failure, Frozen, Removal, Suspended};
use crate::id::StepId;
use crate::release::Nonce;
use crate::release::claim::{Claim, RefusedRelease, TrustFacts};
use crate::rooms::{self, Begun, Known};
use crate::step::Step;
use crate::time::Time;

/// The format this version writes. A newer one is readable by people, not writable by us.
///
/// Format 1 had an object for everybody; it is read, and with the next commit all of it is written anew.
pub const FORMAT: u32 = 2;

/// Everything but the people.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: u32,
    executor_id: String,
    name: String,
    adopted: CommitId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    attempted: Option<Attempted>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    frozen: Option<Frozen>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    suspended: Option<Suspended>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    begun: Option<Begun>,
    removals: Vec<Time>,
    /// From whom each of them was, in their order; not there where earlier versions kept no more than the moments.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    removed: Vec<Option<String>>,
    failures: BTreeMap<StepId, Failure>,
    needs_operator: BTreeMap<StepId, String>,
    record: Vec<DoneStep>,
    record_more: u64,
    latest: Time,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    trust: Option<TrustFacts>,
    #[serde(rename = "resets", skip_serializing_if = "BTreeSet::is_empty", default)]
    spent: BTreeSet<Nonce>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    refused: Vec<RefusedRelease>,
    /// The last journal record that these facts contain, and the chain's value after it.
    through: Through,
}

/// How far into the journal a ledger commit reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Through {
    /// Sequence number of the record, counted from 1; 0 before the first.
    pub sequence: u64,
    /// The chain's hash after it, 64 hex digits.
    pub chain: String,
}

/// A ledger that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file that every ledger has is not there.
    #[error("the ledger has no {0}")]
    Missing(&'static str),
    /// A file cannot be read.
    #[error("{file} of the ledger, line {line}")]
    Malformed {
        /// Which file.
        file: String,
        /// Which line, from 1.
        line: usize,
        /// What the reader said.
        source: serde_json::Error,
    },
    /// Written by a newer version.
    #[error(
        "the ledger has format {found}, and this version of muster reads {FORMAT}; install the newer one"
    )]
    Newer {
        /// The format found.
        found: u32,
    },
    /// A step that is not what its id or its words say.
    #[error("{} says of step {step} what is not in its id", held::FILE)]
    NotItsOwn {
        /// Which.
        step: StepId,
    },
    /// A kind of step that no setting can declare benign.
    #[error("{} declares {verb} benign, which no setting can", policy::FILE)]
    NotDeclarable {
        /// Which.
        verb: &'static str,
    },
    /// Something that another kind of executor keeps or carries out.
    #[error("the ledger of {executor} holds {what}, which is not for an executor of that kind")]
    Foreign {
        /// Whose ledger it is.
        executor: Executor,
        /// What it holds.
        what: String,
    },
    /// An executor of a kind this version does not know.
    #[error("{found:?} is no executor that this version of muster knows")]
    Executor {
        /// What was found.
        found: String,
    },
}

fn malformed(file: &str, source: serde_json::Error) -> LedgerError {
    LedgerError::Malformed {
        file: file.to_owned(),
        line: source.line(),
        source,
    }
}

/// Refuses what a newer version wrote before it is read any further.
fn check_format(file: &str, bytes: &[u8], newest: u32) -> Result<(), LedgerError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } =
        serde_json::from_slice(bytes).map_err(|source| malformed(file, source))?;
    if format > newest {
        return Err(LedgerError::Newer { found: format });
    }
    Ok(())
}

/// Whose a file of a ledger says it is, where its format is not from the future. One look: an inventory is large.
fn executor_of(
    file: &str,
    bytes: &[u8],
    newest: impl FnOnce(ExecutorKind) -> u32,
) -> Result<Executor, LedgerError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        executor: String,
    }
    let Head { format, executor } =
        serde_json::from_slice(bytes).map_err(|source| malformed(file, source))?;
    let known: Result<Executor, _> = executor.parse();
    let newest = known.as_ref().map_or(FORMAT, |it| newest(it.kind()));
    if format > newest {
        return Err(LedgerError::Newer { found: format });
    }
    known.map_err(|_| LedgerError::Executor { found: executor })
}

/// The file that holds all but the people and the releases.
pub const STATE: &str = "state.json";
/// One line of JSON for each release that was ever taken up.
const RELEASES: &str = "releases.jsonl";

/// Whether a file of a ledger holds facts. The others tell those who look at it from outside, and nobody who runs needs
/// them: [`held::FILE`], [`inventory::FILE`] and [`policy::FILE`].
pub fn is_of_facts(path: &str) -> bool {
    path == STATE || path == RELEASES || rooms::is_kept_in(path)
}

/// The files of a ledger that holds `facts`, up to journal record `through`.
pub fn files(facts: &Facts, through: &Through) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::from([(STATE.to_owned(), state(facts, through))]);
    files.extend(releases(facts).map(|lines| (RELEASES.to_owned(), lines)));
    let kept = facts.known.files(None);
    files.extend(
        kept.into_iter()
            .filter_map(|(path, lines)| Some((path, lines?))),
    );
    files
}

/// What of [`files`] is other than before, when nothing but `names` changed in what is kept: a commit then costs what
/// changed. `None` is a file that is gone.
pub fn files_of(
    facts: &Facts,
    through: &Through,
    names: &BTreeSet<String>,
) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut files: BTreeMap<String, Option<Vec<u8>>> =
        BTreeMap::from([(STATE.to_owned(), Some(state(facts, through)))]);
    files.extend(releases(facts).map(|lines| (RELEASES.to_owned(), Some(lines))));
    files.extend(facts.known.files(Some(names)));
    files
}

/// A line for each release that was taken up, if there was one.
fn releases(facts: &Facts) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    for claim in facts.claims.values() {
        serde_json::to_writer(&mut lines, claim).expect("plain records always serialise");
        lines.push(b'\n');
    }
    (!lines.is_empty()).then_some(lines)
}

/// Whether `files` hold `facts` already. People change by journal records alone, so the last of them tells enough.
pub fn holds(files: &BTreeMap<String, Vec<u8>>, facts: &Facts, through: &Through) -> bool {
    files.get(STATE) == Some(&state(facts, through))
}

/// Everything but the people, as a file.
fn state(facts: &Facts, through: &Through) -> Vec<u8> {
    let Facts {
        executor_id,
        executor,
        adopted,
        attempted,
        frozen,
        suspended,
        known,
        removals,
        failures,
        needs_operator,
        record,
        record_more,
        latest,
        trust,
        claims: _,
        spent,
        refused,
    } = facts;
    let mut removed: Vec<Option<String>> = removals.iter().map(|it| it.of.clone()).collect();
    if removed.iter().all(Option::is_none) {
        removed.clear();
    }
    let state = State {
        format: FORMAT,
        executor_id: executor_id.clone(),
        name: executor.pinned(),
        adopted: adopted.clone(),
        attempted: attempted.clone(),
        frozen: frozen.clone(),
        suspended: suspended.clone(),
        begun: known.begun(),
        removals: removals.iter().map(|it| it.at).collect(),
        removed,
        failures: failures.clone(),
        needs_operator: needs_operator.clone(),
        record: record.clone(),
        record_more: *record_more,
        latest: *latest,
        trust: trust.clone(),
        spent: spent.clone(),
        refused: refused.clone(),
        through: through.clone(),
    };
    let mut text = serde_json::to_vec_pretty(&state).expect("plain records always serialise");
    text.push(b'\n');
    text
}

/// What changed from one set of files to the next: new contents, or `None` for a file that is gone.
pub fn changes(
    before: &BTreeMap<String, Vec<u8>>,
    after: &BTreeMap<String, Vec<u8>>,
) -> BTreeMap<String, Option<Vec<u8>>> {
    let written = after
        .iter()
        .filter(|(path, content)| before.get(*path) != Some(content))
        .map(|(path, content)| (path.clone(), Some(content.clone())));
    let gone = before
        .keys()
        .filter(|path| !after.contains_key(*path))
        .map(|path| (path.clone(), None));
    written.chain(gone).collect()
}

/// How far into the journal the ledger in `files` reaches; no other file than [`STATE`] need be there.
///
/// # Errors
/// As for [`facts`].
pub fn through(files: &BTreeMap<String, Vec<u8>>) -> Result<Through, LedgerError> {
    #[derive(Deserialize)]
    struct Reach {
        through: Through,
    }
    let text = files.get(STATE).ok_or(LedgerError::Missing(STATE))?;
    check_format(STATE, text, FORMAT)?;
    let Reach { through } =
        serde_json::from_slice(text).map_err(|source| malformed(STATE, source))?;
    Ok(through)
}

/// The id of the executor whose ledger is in `files`; no other file than [`STATE`] need be there, and it may be of a newer
/// version.
///
/// # Errors
/// When it does not say whose it is.
pub fn executor_id(files: &BTreeMap<String, Vec<u8>>) -> Result<String, LedgerError> {
    #[derive(Deserialize)]
    struct Whose {
        executor_id: String,
    }
    let text = files.get(STATE).ok_or(LedgerError::Missing(STATE))?;
    let Whose { executor_id } =
        serde_json::from_slice(text).map_err(|source| malformed(STATE, source))?;
    Ok(executor_id)
}

/// Reads a ledger.
///
/// # Errors
/// [`LedgerError`] says which file and line. Corrupt is not absent: the caller stops.
pub fn facts(files: &BTreeMap<String, Vec<u8>>) -> Result<(Facts, Through), LedgerError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let text = files.get(STATE).ok_or(LedgerError::Missing(STATE))?;
    let malformed = |source: serde_json::Error| LedgerError::Malformed {
        file: STATE.to_owned(),
        line: source.line(),
        source,
    };
    let Format { format } = serde_json::from_slice(text).map_err(malformed)?;
    if format > FORMAT {
        return Err(LedgerError::Newer { found: format });
    }
    let state: State = serde_json::from_slice(text).map_err(malformed)?;
    let State {
        format: _,
        executor_id,
        name,
        adopted,
        attempted,
        frozen,
        suspended,
        begun,
        removals,
        removed,
        failures,
        needs_operator,
        record,
        record_more,
        latest,
        trust,
        spent,
        refused,
        through,
    } = state;
    let mut claims = BTreeMap::new();
    for (index, line) in crate::bytes::lines_of(files.get(RELEASES).map_or(&[], Vec::as_slice)) {
        let claim: Claim =
            serde_json::from_slice(line).map_err(|source| LedgerError::Malformed {
                file: RELEASES.to_owned(),
                line: index + 1,
                source,
            })?;
        claims.insert(claim.nonce, claim);
    }
    let of = removed.into_iter().chain(std::iter::repeat(None));
    let removals = removals.into_iter().zip(of);
    let executor = Executor::from_pin(&name);
    refuse_foreign(&executor, begun.as_ref(), &record, files)?;
    let known = Known::read(executor.kind(), begun, files)
        .map_err(|(file, line, source)| LedgerError::Malformed { file, line, source })?;
    let facts = Facts {
        executor_id,
        executor,
        adopted,
        attempted,
        frozen,
        suspended,
        known,
        removals: removals.map(|(at, of)| Removal { at, of }).collect(),
        failures,
        needs_operator,
        record,
        record_more,
        latest,
        trust,
        claims,
        spent,
        refused,
    };
    Ok((facts, through))
}

/// The steps that one commit of a ledger has word for word, out of [`STATE`] and [`held::FILE`]: those done since its commit was
/// adopted, and those that waited. For people who look back: what cannot be read is left out.
pub fn steps_in(files: &BTreeMap<String, Vec<u8>>) -> Vec<Arc<Step>> {
    #[derive(Deserialize)]
    struct Done {
        record: Vec<DoneStep>,
    }
    let done = files
        .get(STATE)
        .and_then(|text| serde_json::from_slice::<Done>(text).ok());
    let held = files
        .get(held::FILE)
        .and_then(|text| held::HeldSteps::read(text).ok());
    let done = done.into_iter().flat_map(|it| it.record);
    let held = held.into_iter().flat_map(|it| it.held);
    done.map(|it| it.step)
        .chain(held.map(|it| it.step))
        .collect()
}

/// Refuses what is of another room than the executor's: it is not overlooked (invariant 11).
fn refuse_foreign(
    executor: &Executor,
    begun: Option<&Begun>,
    record: &[DoneStep],
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), LedgerError> {
    let kind = executor.kind();
    let foreign = |what: String| LedgerError::Foreign {
        executor: executor.clone(),
        what,
    };
    if let Some(of_another) = record
        .iter()
        .find(|it| it.step.action.executor_kind() != kind)
    {
        return Err(foreign(format!("step {}", of_another.step.id)));
    }
    if begun.is_some() && !rooms::keeps_begun(kind) {
        return Err(foreign("what was begun".to_owned()));
    }
    let of_another = |(path, content): &(&String, &Vec<u8>)| {
        rooms::is_kept_in(path) && !rooms::is_kept_by(kind, path) && !content.is_empty()
    };
    match files.iter().find(of_another) {
        Some((path, _)) => Err(foreign(path.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::facts::{PersonFacts, Provenance, SetAside};
    use crate::accounts::policy::Ports;
    use crate::accounts::shards::shard;
    use crate::people::Stage;

    fn person(uid: u32) -> PersonFacts {
        PersonFacts {
            more: Default::default(),
            entry: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            how: Provenance::Created,
            generation: 1,
            cuts: 0,
            uid,
            gid: uid,
            home: String::new(),
            subuid: None,
            subgid: None,
            authentik_user: String::new(),
            k8s_user: String::new(),
            stage: Stage::Active,
            since: Time(0),
            home_made: true,
            ports: Ports::new(),
            given: BTreeSet::new(),
            aside: SetAside::default(),
            renaming: BTreeSet::new(),
            formerly: BTreeSet::new(),
            joining: BTreeSet::new(),
            archive: None,
            home_owed: None,
            told: None,
        }
    }

    fn people(facts: &mut Facts) -> &mut BTreeMap<String, Box<PersonFacts>> {
        &mut facts.known.accounts_mut().expect("a host's").people
    }

    #[test]
    fn what_changed_in_some_people_makes_the_same_files_as_everybody() {
        let mut facts = Facts::genesis(
            "id",
            Executor::Host("devvm".into()),
            "a".repeat(40).parse().unwrap(),
            Time(0),
        );
        for uid in 0..300 {
            people(&mut facts).insert(format!("user{uid}"), Box::new(person(uid)));
        }
        let before = files(&facts, &Through::default());
        // Somebody alone in a shard, who leaves it.
        let lonely = (0..)
            .map(|number| format!("lonely{number}"))
            .find(|user| !before.contains_key(&shard(user)))
            .unwrap();
        people(&mut facts).insert(lonely.clone(), Box::new(person(7)));
        let mut kept = files(&facts, &Through::default());

        let through = Through {
            sequence: 9,
            chain: "c".to_owned(),
        };
        people(&mut facts).remove(&lonely);
        people(&mut facts).insert("new".to_owned(), Box::new(person(301)));
        people(&mut facts).get_mut("user7").unwrap().cuts = 3;
        let touched = [lonely, "new".to_owned(), "user7".to_owned()].into();
        for (path, content) in files_of(&facts, &through, &touched) {
            assert!(is_of_facts(&path));
            match content {
                Some(content) => kept.insert(path, content),
                None => kept.remove(&path),
            };
        }
        assert_eq!(kept, files(&facts, &through));
        assert_eq!(super::facts(&kept).unwrap(), (facts, through));
    }
}
