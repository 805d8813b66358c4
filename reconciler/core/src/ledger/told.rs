//! What a bot remembers of what it told, as files of its own ref: so that a comment that could not be posted is caught up with
//! after a restart, and one that was posted is not posted again by the next one who leads.
//!
//! Nothing is decided from it but whether to send: a forge is looked at before anything is put there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::commit::CommitId;
use crate::id::StepId;
use crate::release::RepoId;
use crate::time::Time;

/// The file about everything but proposals.
pub const FILE: &str = "bot.json";

/// Where the file of each proposal is.
const PROPOSALS: &str = "proposals/";

/// Where reports stand in full.
const REPORTS: &str = "reports/";

/// The format this version writes.
const FORMAT: u32 = 1;

/// What does not belong to one proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToldAll {
    format: u32,
    /// By what its comments are marked; kept for good, whatever becomes of names and addresses.
    pub mark: RepoId,
    /// How far proposals were listed: when the last change that was seen happened, by the forge's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Time>,
    /// The issue about drift, once there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<ToldIssue>,
}

/// An issue that was put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToldIssue {
    /// Its number on the forge.
    pub number: u64,
    /// The digest of what it says; `None` when it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// What was told of one proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToldProposal {
    format: u32,
    /// Its head when it was last told of.
    pub head: CommitId,
    /// The protected branch at that time.
    pub protected: CommitId,
    /// When anything of this changed last.
    pub at: Time,
    /// The comment of each page, by the forge's numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<u64>,
    /// The digest of what the comments say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What was last told on the head: the digest of status and check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What it has come to.
    pub stage: Stage,
}

/// What a proposal has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// It is open, for the protected branch or another one.
    Open,
    /// It was closed, and that was told.
    Closed,
    /// It was merged: its comment is the record of that.
    Merged {
        /// The commit that the merge made.
        commit: CommitId,
        /// What waited of it on some host: the record tells of it, so it is no drift.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        held: BTreeSet<StepId>,
        /// Whether every host is through with it, and that was told.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        settled: bool,
    },
}

/// Everything that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What does not belong to one proposal.
    pub all: ToldAll,
    /// By the numbers of proposals.
    pub proposals: BTreeMap<u64, ToldProposal>,
}

impl ToldProposal {
    /// Nothing was told of it yet.
    pub fn nothing(head: &CommitId, protected: &CommitId, at: Time) -> Self {
        Self {
            format: FORMAT,
            head: head.clone(),
            protected: protected.clone(),
            at,
            comments: Vec::new(),
            content: None,
            status: None,
            stage: Stage::Open,
        }
    }

    /// Whether nothing more is to come.
    pub fn is_settled(&self) -> bool {
        match &self.stage {
            Stage::Open => false,
            Stage::Closed => true,
            Stage::Merged { settled, .. } => *settled,
        }
    }
}

impl Told {
    /// Of a bot that told nothing yet.
    pub fn nothing(mark: RepoId) -> Self {
        Self {
            all: ToldAll {
                format: FORMAT,
                mark,
                listed: None,
                drift: None,
            },
            proposals: BTreeMap::new(),
        }
    }

    /// Whether a file is one of those that [`Told::read`] needs; reports are not.
    pub fn wants(path: &str) -> bool {
        path == FILE || number_of(path).is_some()
    }

    /// Reads the files; `None` where there is none.
    ///
    /// # Errors
    /// When one of them is of a newer format, or not what was written: then nobody may tell anything, or it might be told twice.
    pub fn read(files: &BTreeMap<String, Vec<u8>>) -> Result<Option<Self>, LedgerError> {
        let mut proposals = BTreeMap::new();
        for (path, bytes) in files {
            let Some(number) = number_of(path) else {
                continue;
            };
            super::check_format(path, bytes, FORMAT)?;
            let told =
                serde_json::from_slice(bytes).map_err(|source| super::malformed(path, source))?;
            proposals.insert(number, told);
        }
        let Some(all) = files.get(FILE) else {
            return match proposals.is_empty() {
                true => Ok(None),
                false => Err(LedgerError::Missing(FILE)),
            };
        };
        super::check_format(FILE, all, FORMAT)?;
        let all = serde_json::from_slice(all).map_err(|source| super::malformed(FILE, source))?;
        Ok(Some(Self { all, proposals }))
    }

    /// All files.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let Self { all, proposals } = self;
        let proposals = proposals
            .iter()
            .map(|(number, told)| (proposal_file(*number), bytes_of(told)));
        [(FILE.to_owned(), bytes_of(all))]
            .into_iter()
            .chain(proposals)
            .collect()
    }
}

/// The file of a proposal.
pub fn proposal_file(number: u64) -> String {
    format!("{PROPOSALS}{number}.json")
}

/// The file in which the report about a proposal stands in full.
pub fn report_file(number: u64) -> String {
    format!("{REPORTS}{number}.md")
}

/// The file in which the report about drift stands in full.
pub const DRIFT_REPORT: &str = "reports/drift.md";

fn number_of(path: &str) -> Option<u64> {
    let number = path.strip_prefix(PROPOSALS)?.strip_suffix(".json")?;
    number.parse().ok()
}

fn bytes_of(record: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(record).expect("plain records always serialise");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        let commit = |digit: &str| digit.repeat(40).parse::<CommitId>().unwrap();
        let mut told = Told::nothing(RepoId([7; 16]));
        told.all.listed = Some(Time(1_000));
        told.all.drift = Some(ToldIssue {
            number: 9,
            content: Some("c".into()),
        });
        let mut open = ToldProposal::nothing(&commit("1"), &commit("2"), Time(5));
        open.comments = vec![11, 12];
        open.content = Some("d".into());
        let mut merged = open.clone();
        merged.stage = Stage::Merged {
            commit: commit("3"),
            held: BTreeSet::from(["0".repeat(32).parse().unwrap()]),
            settled: false,
        };
        told.proposals = BTreeMap::from([(4, open), (12, merged)]);
        told
    }

    #[test]
    fn what_was_told_reads_back_as_it_was() {
        let told = told();
        let mut files = told.files();
        assert_eq!(
            files.keys().map(String::as_str).collect::<Vec<_>>(),
            ["bot.json", "proposals/12.json", "proposals/4.json"]
        );
        files.insert(report_file(4), b"# all".to_vec());
        assert!(
            !Told::wants(&report_file(4)) && Told::wants(FILE) && Told::wants(&proposal_file(4))
        );
        assert_eq!(Told::read(&files).unwrap(), Some(told));
        assert_eq!(Told::read(&BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let files = told().files();
        for path in files.keys() {
            let mut broken = files.clone();
            broken.insert(path.clone(), b"{".to_vec());
            assert!(Told::read(&broken).is_err(), "{path}");
            let text = String::from_utf8(files[path].clone()).unwrap();
            let newer = text.replacen("\"format\": 1", "\"format\": 2", 1);
            broken.insert(path.clone(), newer.into_bytes());
            assert!(
                matches!(Told::read(&broken), Err(LedgerError::Newer { found: 2 })),
                "{path}"
            );
        }
        let mut lost = files;
        lost.remove(FILE);
        assert!(matches!(Told::read(&lost), Err(LedgerError::Missing(FILE))));
    }
}
