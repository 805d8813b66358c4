//! A hosted forge, as the bot needs it: proposals are read, and a few things are told. `muster-forge` speaks to one.
//!
//! Reading and telling are two traits, and two types implement them: whoever plans holds a [`ForgeReader`] and nothing that
//! could write (invariant 4). Neither shows what people write into comments: comments are never read as input.
//!
//! **Invariant:** whatever is put twice is sent once. Each `put_…` first looks at what the forge has, so that an answer that
//! was lost, a restart or a second replica never makes a second comment.

use std::fmt;
use std::str::FromStr;

use crate::commit::CommitId;
use crate::time::Time;

/// What a hosted forge takes in one comment, in characters.
pub const FORGE_LIMIT: usize = 65_536;

// ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// A pull request, as the forge shows it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its number; what people call it by.
    pub number: u64,
    /// The head that is proposed. Its objects are at `refs/pull/<number>/head` on every forge that we know, fork or not.
    pub head: CommitId,
    /// Where the head comes from, `owner:branch` or `branch`. For people alone: it is what its author made it.
    pub head_label: String,
    /// The branch that it wants to go into, without `refs/heads/`.
    pub base: String,
    /// Whether its author says that it is not finished.
    pub draft: bool,
    /// What became of it.
    pub state: ProposalState,
    /// Whether the head is in another repository, or in one that is gone: data only, no secrets (threats C3).
    pub fork: bool,
    /// The account that proposes it, by the forge's word; `None` where that is gone. Nobody writes this into a commit.
    pub author: Option<String>,
    /// When anything about it changed last, a comment of our own included.
    pub updated: Time,
}

/// That an account approved of a proposal, by the forge's word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Approval {
    /// The forge's number of the review.
    pub review: u64,
    /// The account. Nobody writes this into a commit.
    pub by: String,
    /// The head that was looked at: a push afterwards was not.
    pub commit: CommitId,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposalState {
    /// It waits to be merged.
    Open,
    /// It was closed, and not merged.
    Closed,
    /// It was merged.
    Merged {
        /// The commit that it became, when the forge says which. What a host adopted is asked the other way round:
        /// [`ForgeReader::proposal_merged_as`].
        commit: Option<CommitId>,
    },
}

/// Below which GitHub's merge queue makes a branch for each proposal whose turn has come, full names both: it becomes `protected`
/// once the statuses that are required stand on its head (F36).
pub fn queue_of(protected: &str) -> String {
    const HEADS: &str = "refs/heads/";
    let branch = protected.strip_prefix(HEADS).unwrap_or(protected);
    format!("{HEADS}gh-readonly-queue/{branch}/")
}

/// The number of the proposal for which a merge queue made the branch of this full name, such as
/// `refs/heads/gh-readonly-queue/main/pr-7-<commit>`; `None` for a branch that is not of `protected`'s queue.
pub fn queued_for(branch: &str, protected: &str) -> Option<u64> {
    let (number, _) = branch
        .strip_prefix(&queue_of(protected))?
        .strip_prefix("pr-")?
        .split_once('-')?;
    number.parse().ok()
}

/// Which proposals to list.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Those that are open.
    Open,
    /// Those that changed, opened or closed since a listing before.
    ChangedSince(&'a Cursor),
}

/// Proposals, the one that changed last first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "proposals that could not be read are told in it"]
pub struct Listing {
    /// What was asked for.
    pub proposals: Vec<Proposal>,
    /// Those whose description could not be read, each with the reason. They stop nobody else.
    pub unread: Vec<String>,
    /// Where to go on from the next time.
    pub cursor: Cursor,
}

/// How far a listing reached.
///
/// A forge may show a change late, after others that came later. So a listing begins a little before its cursor, and the
/// cursor knows what was seen there: a proposal is listed again only when something about it is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    at: Time,
    seen: Vec<Proposal>,
}

/// How late a forge may show a change, in seconds.
const LATE: i64 = 120;

impl Cursor {
    /// Goes on from a moment, such as one that was kept over a restart; what changed shortly before is listed once more.
    pub fn at(at: Time) -> Self {
        Self {
            at,
            seen: Vec::new(),
        }
    }

    /// When the latest change that was listed happened, by the forge's clock.
    pub fn time(&self) -> Time {
        self.at
    }

    /// The earliest change that is worth looking at.
    pub fn from(&self) -> Time {
        self.at.plus(-LATE)
    }

    /// Whether it was listed as it is.
    pub fn has_seen(&self, proposal: &Proposal) -> bool {
        self.seen.contains(proposal)
    }

    /// The cursor after `looked_at`, all of which is known now.
    #[must_use]
    pub fn after<'a>(&self, looked_at: impl IntoIterator<Item = &'a Proposal>) -> Self {
        let mut seen: Vec<Proposal> = looked_at.into_iter().cloned().collect();
        let at = seen.iter().map(|it| it.updated).fold(self.at, Time::max);
        for old in &self.seen {
            if !seen.iter().any(|it| it.number == old.number) {
                seen.push(old.clone());
            }
        }
        seen.retain(|it| it.updated >= at.plus(-LATE));
        Self { at, seen }
    }
}

/// Who can read the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Those who were given access.
    Private,
    /// Anybody, or everybody on that forge, or the forge does not say: observed values are left out of comments (threats C10).
    Public,
}

/// Reads a forge, and can do nothing else there.
pub trait ForgeReader: Send {
    /// Proposals of the repository.
    ///
    /// # Errors
    /// When the forge did not answer in full: a part of a list is not a list.
    fn proposals(&mut self, which: Which<'_>) -> Result<Listing, ForgeError>;

    /// One proposal.
    ///
    /// # Errors
    /// [`ForgeError::NotThere`] when there is none of that number.
    fn proposal(&mut self, number: u64) -> Result<Proposal, ForgeError>;

    /// The proposal whose merge made `commit`; `None` where somebody pushed it.
    ///
    /// # Errors
    /// When the forge did not answer.
    fn proposal_merged_as(&mut self, commit: &CommitId) -> Result<Option<Proposal>, ForgeError>;

    /// The paths that a proposal touches, under their old names too. For the order of work alone: what a proposal does is read
    /// from its commits.
    ///
    /// # Errors
    /// When the forge did not answer in full.
    fn changed_paths(&mut self, number: u64) -> Result<Vec<String>, ForgeError>;

    /// Who approves a proposal now: of each account what it said last counts, and what was taken back does not.
    ///
    /// # Errors
    /// When the forge did not answer in full.
    fn approvals(&mut self, number: u64) -> Result<Vec<Approval>, ForgeError>;

    /// Who can read the repository.
    ///
    /// # Errors
    /// When the forge did not answer; count it as public then.
    fn visibility(&mut self) -> Result<Visibility, ForgeError>;
}

// ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// The hidden first line by which our own comments and issues are found again; counted only on what we wrote ourselves, since
/// anybody can write the same line (threats C9).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker(String);

/// Not the name of a marker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` cannot mark a comment: use a to z, 0 to 9, `.`, `/`, `_` and single `-`, at most 200 of them",
    .0.escape_debug()
)]
pub struct NotAMarker(String);

impl FromStr for Marker {
    type Err = NotAMarker;

    /// A marker by its name, such as `plan`, `plan/2` or `drift/host/devvm`.
    fn from_str(name: &str) -> Result<Self, NotAMarker> {
        let plain = name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'/' | b'_' | b'-'));
        // `--` would end the HTML comment that it stands in.
        if plain && !name.is_empty() && name.len() <= 200 && !name.contains("--") {
            Ok(Self(name.to_owned()))
        } else {
            Err(NotAMarker(name.chars().take(80).collect()))
        }
    }
}

impl Marker {
    /// The line itself; Markdown shows nothing of it.
    pub fn line(&self) -> String {
        format!("<!-- muster {} -->", self.0)
    }

    /// `text` under this marker.
    pub fn above(&self, text: &str) -> String {
        format!("{}\n{text}", self.line())
    }

    /// Whether `body` carries it. A forge may have changed the line ends.
    pub fn is_above(&self, body: &str) -> bool {
        body.lines().next().map(str::trim_end) == Some(self.line().as_str())
    }

    /// The most characters that a text may have to fit under it.
    pub fn room(&self) -> usize {
        FORGE_LIMIT - self.line().len() - 1
    }
}

/// A comment, by the forge's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommentId(pub u64);

/// An issue, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IssueNumber(pub u64);

/// A check run, by the forge's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckId(pub u64);

/// A commit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What people see at once.
    pub state: StatusState,
    /// Whose it is, such as `muster`: one status of each context counts.
    pub context: String,
    /// One line.
    pub summary: StatusLine,
    /// Where to read more: an `https` address.
    pub target: Option<String>,
}

/// The three colours of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusState {
    /// It is being planned.
    Pending,
    /// It may be merged.
    Success,
    /// It may not: invalid, not planned in full, or planning itself failed.
    Failure,
}

/// One line of at most 140 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusLine(String);

impl StatusLine {
    /// The most that forges take.
    pub const LIMIT: usize = 140;

    /// `text` on one line; what is too long ends in `…`.
    pub fn of(text: &str) -> Self {
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line = line.trim();
        if line.chars().count() <= Self::LIMIT {
            return Self(line.to_owned());
        }
        let mut cut: String = line.chars().take(Self::LIMIT - 1).collect();
        cut.push('…');
        Self(cut)
    }

    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A check run: a status with room for a text and for remarks on lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRun {
    /// Whose it is; one run of each name counts.
    pub name: String,
    /// How it stands.
    pub state: CheckState,
    /// One line.
    pub title: String,
    /// Markdown, of at most 65,535 characters.
    pub summary: String,
    /// Remarks on lines, in the order in which they are to be shown.
    pub annotations: Vec<Annotation>,
    /// Where to read more.
    pub target: Option<String>,
}

/// How a check run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// It is being planned.
    Running,
    /// It may be merged.
    Success,
    /// It may not.
    Failure,
}

/// A remark on a line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// The file, from the root of the repository.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, when it is known.
    pub column: Option<u32>,
    /// How bad it is.
    pub level: Level,
    /// What is wrong, in plain text.
    pub message: String,
}

/// How bad what a remark says is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Notice,
    /// Probably not meant.
    Warning,
    /// It cannot be merged like this.
    Failure,
}

/// An issue of ours, such as the one about drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// One line.
    pub title: String,
    /// Markdown.
    pub text: String,
}

/// What putting something came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether anything was sent, and what to remember"]
pub enum Put<T> {
    /// There was none; there is one now.
    Created(T),
    /// There was one, and it says something else now.
    Updated(T),
    /// It says so already. Nothing was sent.
    Unchanged(T),
    /// This forge, or this identity on it, has no such thing. Nothing was sent.
    NotOffered,
}

impl<T> Put<T> {
    /// What to remember it by.
    pub fn id(self) -> Option<T> {
        match self {
            Self::Created(id) | Self::Updated(id) | Self::Unchanged(id) => Some(id),
            Self::NotOffered => None,
        }
    }
}

/// What closing an issue came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether anything was sent"]
pub enum Closed {
    /// It was open.
    Closed(IssueNumber),
    /// None of ours was. Nothing was sent.
    NoneOpen,
}

/// Tells people on a forge. Held by whoever reports, and by nobody who plans.
pub trait ForgeWriter: Send {
    /// Makes the one comment of `marker` on a proposal say `text`: updates it in place, or creates it where it is not there
    /// any more. Where there are several of ours, one is kept, and the others are put out of sight.
    ///
    /// `known` saves looking for it: what an earlier call returned. It need not be right.
    ///
    /// # Errors
    /// [`ForgeError::TooLong`] over [`Marker::room`]: a comment is never cut here.
    fn put_comment(
        &mut self,
        proposal: u64,
        known: Option<CommentId>,
        marker: &Marker,
        text: &str,
    ) -> Result<Put<CommentId>, ForgeError>;

    /// Whether the comment of `marker` that has that number is still under a proposal, whatever it says. Changes nothing.
    ///
    /// # Errors
    /// When the forge did not say.
    fn has_comment(
        &mut self,
        proposal: u64,
        known: CommentId,
        marker: &Marker,
    ) -> Result<bool, ForgeError>;

    /// Sets a commit's status.
    ///
    /// # Errors
    /// When the forge did not take it.
    fn set_status(&mut self, commit: &CommitId, status: &Status) -> Result<Put<()>, ForgeError>;

    /// Makes the check run of that name on a commit say this. Only an app has check runs.
    ///
    /// # Errors
    /// When the forge did not take it in full; putting it again completes it.
    fn put_check(
        &mut self,
        commit: &CommitId,
        check: &CheckRun,
    ) -> Result<Put<CheckId>, ForgeError>;

    /// Makes the one issue of `marker` say this, and open.
    ///
    /// # Errors
    /// [`ForgeError::TooLong`] over [`Marker::room`].
    fn put_issue(
        &mut self,
        known: Option<IssueNumber>,
        marker: &Marker,
        issue: &Issue,
    ) -> Result<Put<IssueNumber>, ForgeError>;

    /// Closes the issue of `marker`.
    ///
    /// # Errors
    /// When the forge did not take it.
    fn close_issue(
        &mut self,
        known: Option<IssueNumber>,
        marker: &Marker,
    ) -> Result<Closed, ForgeError>;
}

// ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────

/// Why a forge was not read, or not told. The variants differ by who has to act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// Nobody: the forge asked to be left alone, and is, until then. Calls before that send nothing.
    #[error("the forge wants no more requests until {until} ({why})")]
    Pause {
        /// From when on it may be asked again.
        until: Time,
        /// Which of its limits was met.
        why: String,
    },
    /// The next cycle: no answer, half an answer, or one that says that the forge is not well. What was sent may have arrived.
    #[error("{what}: no usable answer ({why}); it is tried again")]
    NoAnswer {
        /// What was asked.
        what: String,
        /// What came instead.
        why: String,
    },
    /// Whoever runs muster: the forge does not accept our credentials, or they do not permit this.
    #[error("{what}: not permitted ({why}); look at the app's permissions, or the token's")]
    Denied {
        /// What was asked.
        what: String,
        /// What the forge said.
        why: String,
    },
    /// Nobody, or whoever set the repository's name: there is no such thing, or we may not see it.
    #[error("{what}: not there, or not visible to us")]
    NotThere {
        /// What was asked.
        what: String,
    },
    /// Whoever set muster up, or its developers: the forge understood, and will not.
    #[error("{what}: refused by the forge ({why})")]
    Refused {
        /// What was asked.
        what: String,
        /// What the forge said.
        why: String,
    },
    /// The developers: an answer that its description does not describe.
    #[error("{what}: the answer cannot be understood ({why})")]
    Garbled {
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The caller, who pages what is too long.
    #[error("a text of {length} characters does not fit: {limit} are left under its marker")]
    TooLong {
        /// How long it is, in characters.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
}

impl fmt::Display for CommentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for IssueNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(number: u64, updated: i64) -> Proposal {
        Proposal {
            number,
            head: "1".repeat(40).parse().unwrap(),
            head_label: "emo:edit".into(),
            base: "main".into(),
            draft: false,
            state: ProposalState::Open,
            fork: false,
            author: None,
            updated: Time(updated),
        }
    }

    #[test]
    fn a_cursor_knows_what_it_has_seen_and_notices_what_comes_late() {
        let first = Cursor::at(Time(0)).after(&[proposal(1, 1_000), proposal(2, 990)]);
        assert_eq!(first.time(), Time(1_000));
        assert_eq!(first.from(), Time(880));
        assert!(first.has_seen(&proposal(1, 1_000)));
        let late = proposal(3, 950);
        assert!(late.updated >= first.from() && !first.has_seen(&late));
        let mut changed = proposal(2, 990);
        changed.draft = true;
        assert!(!first.has_seen(&changed), "changed within the same second");
        let second = first.after(&[changed.clone()]);
        assert!(second.has_seen(&proposal(1, 1_000)) && second.has_seen(&changed));
        assert!(!second.has_seen(&proposal(2, 990)));
        let much_later = second.after(&[proposal(4, 5_000)]);
        assert!(
            !much_later.has_seen(&changed),
            "what is too old to be listed again is forgotten"
        );
    }

    #[test]
    fn a_marker_is_one_hidden_line_and_nothing_can_end_it_early() {
        let marker: Marker = "drift/host/devvm".parse().unwrap();
        let body = marker.above("# Drift");
        assert_eq!(body, "<!-- muster drift/host/devvm -->\n# Drift");
        assert!(marker.is_above(&body.replace('\n', "\r\n")));
        let page: Marker = "drift/host/devvm/2".parse().unwrap();
        assert!(!page.is_above(&body) && !marker.is_above(&page.above("")));
        assert!(
            !marker.is_above(&format!("> {body}")),
            "a quotation is none of ours"
        );
        assert_eq!(
            marker.above(&"x".repeat(marker.room())).chars().count(),
            FORGE_LIMIT
        );
        for wrong in ["", "a--b", "a b", "a\nb", "-->", "Ä", &"x".repeat(201)] {
            assert!(wrong.parse::<Marker>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_summary_is_one_line_that_fits() {
        assert_eq!(
            StatusLine::of(" 2 held,\n1 benign ").as_str(),
            "2 held, 1 benign"
        );
        let long = StatusLine::of(&"é".repeat(500));
        assert_eq!(long.as_str().chars().count(), StatusLine::LIMIT);
        assert!(long.as_str().ends_with('…'));
    }
}
