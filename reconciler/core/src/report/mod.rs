//! Every text that people read about a plan: the comment on a proposal, the note on what became of it, the line of a
//! commit status, the lines of a terminal.
//!
//! All of it is pure and total: the same inputs give the same bytes (invariant 12), and whatever a repository or a
//! host puts into them, no held step is cut, hidden or made to look like another (invariant 8). The words of a step
//! here are the words that are signed and run.

mod annotation;
mod deed;
mod drift;
pub(crate) mod escape;
mod explain;
mod freshness;
mod group;
mod ink;
mod json;
mod markdown;
mod marker;
mod noun;
mod outcome;
mod page;
mod public;
mod record;
mod section;
mod standing;
mod table;
mod terminal;
mod view;

use sha2::{Digest as _, Sha256};

use crate::bytes::hex;
use crate::commit::CommitId;
use crate::diagnostic::{ALIKE, Diagnostic, Diagnostics};
use crate::executor::Executor;
use crate::forge::StatusState;
use crate::gate::Verdict;
use crate::plan::{Note, Plan};
use crate::time::Date;

pub use crate::forge::FORGE_LIMIT;
pub use annotation::annotations;
pub use drift::{Drift, drift};
pub use explain::{released_by, undone_by, why_class};
pub use freshness::{Unknown, UnknownHost, freshness};
pub use ink::{sentence, sentence_below};
pub use json::{Basis, PolicyFrom, ReadAt, invalid_plan as invalid_json, plan as json};
pub use markdown::comment;
pub use marker::{Mark, Recognised, Sticky, marker, recognise};
pub use outcome::{Outcome, Refused, outcome, refusal, release_claimed, release_refused};
pub use record::{HostRecord, Reached, Record, ReleaseRecord, ReleaseState, record};
pub use standing::standing;
pub use terminal::{Paper, Tint, pending, summary, text, text_under, to_release};

/// Which commit a text is about.
#[derive(Clone, Copy, Debug)]
pub struct CommitContext<'a> {
    /// The commit that is proposed.
    pub head: &'a CommitId,
    /// The commit of the protected branch that it was compared with.
    pub protected: &'a CommitId,
    /// The name of the branch that is proposed, when it has one.
    pub branch: Option<&'a str>,
    /// The day the plan was made for, in UTC.
    pub today: Date,
    /// Who can read the text.
    pub audience: Audience,
    /// Where the whole report is, when there is a ledger repository that holds it.
    pub full: Option<FullReport<'a>>,
    /// How an operator elsewhere releases what waits, when there is a ledger repository to read it from.
    pub operator: Option<Operator<'a>>,
}

/// How an operator releases from a machine of their own: with this, a command runs as it is pasted (F39).
#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    /// The ledger repository, as git takes it.
    pub ledger: &'a str,
    /// What the release is for, until somebody writes more.
    pub reason: &'a str,
}

/// Where the report stands in full, whatever the forge's limit and whoever reads the forge.
#[derive(Clone, Copy, Debug)]
pub struct FullReport<'a> {
    /// The ref of the ledger repository.
    pub reference: &'a str,
    /// The path in its tree.
    pub path: &'a str,
}

/// Who can read what a forge shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Those who may read the state repository, and they are the team.
    Team,
    /// Anybody: verb, person and host of held steps, which the repository tells already; all else becomes numbers
    /// (threats C10).
    Public,
}

/// One executor's plan, as it is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Whom the plan is for.
    pub executor: &'a Executor,
    /// The steps and the notes.
    pub plan: &'a Plan,
    /// What the gate decided about them.
    pub verdict: &'a Verdict,
    /// The plan of the protected branch on the same observations; tells the change from drift already there.
    pub base: Option<&'a Plan>,
    /// When the host was read.
    pub read: ReadAt,
}

/// Something that is wrong in the state repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `file:line:column`, or as much of it as is known.
    pub place: String,
    /// The name of the rule.
    pub rule: String,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub help: Option<String>,
    /// How many more like it there are that are not in the list.
    pub more: usize,
}

impl Problem {
    /// What is wrong, as people are told: those that are alike are folded.
    pub fn folded(diagnostics: &Diagnostics) -> Vec<Self> {
        let (shown, rest) = diagnostics.folded(ALIKE);
        let problems = shown.into_iter().map(|(diagnostic, more)| Self {
            more,
            ..Self::from(diagnostic)
        });
        // Those of rules that are not shown at all count like the others.
        let rest = rest.checked_sub(1).map(|more| Self {
            place: "elsewhere".to_owned(),
            rule: "more".to_owned(),
            text: "what is not shown here; `muster check --format json` has all that was kept"
                .to_owned(),
            help: None,
            more,
        });
        problems.chain(rest).collect()
    }

    /// All that is known of what is wrong, for programs.
    pub fn all(diagnostics: &Diagnostics) -> Vec<Self> {
        diagnostics.iter().map(Self::from).collect()
    }
}

impl From<&Diagnostic> for Problem {
    fn from(diagnostic: &Diagnostic) -> Self {
        let Diagnostic {
            file,
            at,
            severity: _,
            rule,
            problem,
            help,
        } = diagnostic;
        Self {
            place: at.map_or_else(|| file.clone(), |at| format!("{file}:{at}")),
            rule: (*rule).to_owned(),
            text: problem.clone(),
            help: help.clone(),
            more: 0,
        }
    }
}

/// What came out of looking at a proposal.
#[derive(Clone, Copy, Debug)]
pub enum Proposal<'a> {
    /// It is valid, and this is what merging it would do.
    Planned {
        /// Each executor that was planned for.
        hosts: &'a [Host<'a>],
        /// Each executor that nothing could be planned for, as too little is known of it.
        unknown: &'a [UnknownHost<'a>],
        /// What is worth a look in the files all the same.
        warnings: &'a [Problem],
    },
    /// The merged result does not validate.
    Invalid(&'a [Problem]),
    /// The merged result does not validate, and the protected branch by itself does not either.
    OnInvalid {
        /// What is wrong by this proposal.
        new: &'a [Problem],
        /// What is wrong without it.
        already: &'a [Problem],
    },
    /// Its newest commit could not be fetched; why.
    HeadMissing(&'a str),
    /// It cannot be merged: these paths conflict.
    Conflict(&'a [String]),
    /// The protected branch contains it already.
    Contained,
    /// It was closed, and not merged.
    Closed,
    /// It is to go into another branch, of this name: no host follows that one.
    Elsewhere(&'a str),
    /// It was noticed, and is being planned.
    Planning,
    /// Planning it failed for a reason of muster's own: nothing is known, and it is tried again.
    Broken(&'a str),
}

/// What a commit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportState {
    /// It can be merged, and what that does is known.
    Success,
    /// It cannot, or not everything is known.
    Failure,
    /// It is not known yet.
    Pending,
}

impl From<ReportState> for StatusState {
    fn from(state: ReportState) -> Self {
        match state {
            ReportState::Success => Self::Success,
            ReportState::Failure => Self::Failure,
            ReportState::Pending => Self::Pending,
        }
    }
}

/// A text for a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a comment that nobody posts is read by nobody"]
pub struct Comment {
    /// Markdown. One page, unless the held steps alone are more than the limit; then each page stands for itself.
    pub pages: Vec<String>,
    /// Whether it is good news.
    pub state: ReportState,
    /// The same in one plain line of at most 140 characters, for a commit status.
    pub line: String,
    /// Names all that it says but when the hosts were read: SHA-256 in hex. What is posted already with the same content
    /// needs no new post.
    pub content: String,
}

impl Comment {
    fn new(pages: Vec<String>, state: ReportState, line: &str) -> Self {
        let content = content(pages.iter().map(String::as_str));
        Self::naming(content, pages, state, line)
    }

    fn naming(content: String, pages: Vec<String>, state: ReportState, line: &str) -> Self {
        let mut shown = String::new();
        escape::visible(&mut shown, line);
        if shown.chars().count() > 140 {
            shown = shown.chars().take(139).chain(['…']).collect();
        }
        Self {
            pages,
            state,
            line: shown,
            content,
        }
    }
}

/// What a comment tells beside what executors would do: about nothing that runs.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// Its heading.
    pub title: &'a str,
    /// Sentences, each with those below it. They may quote what a repository says, between backticks.
    pub items: &'a [(String, Vec<String>)],
    /// Whether it is good news.
    pub state: ReportState,
    /// The same in a few words.
    pub line: &'a str,
    /// What shows all of it, where a page does not hold it.
    pub elsewhere: &'a str,
}

/// The most bytes that a section takes of a page.
const SECTION: usize = 12_000;

impl Section<'_> {
    fn text(&self) -> String {
        let item = |(sentence, below): &(String, Vec<String>)| {
            let mut out = "- ".to_owned();
            escape::prose(&mut out, sentence);
            out.push('\n');
            for sentence in below {
                out.push_str("  - ");
                escape::prose(&mut out, sentence);
                out.push('\n');
            }
            out
        };
        let items: Vec<String> = self.items.iter().map(item).collect();
        let rest = |more: usize| format!("- and {more} more; `{}` shows all\n", self.elsewhere);
        let title = format!("\n### {}\n\n", self.title);
        page::one_page(&title, &items, rest, "", SECTION)
    }
}

impl Comment {
    /// The same comment with a section at its end. The last page needs [`Comment::room_for`] less than the limit.
    pub fn with(mut self, section: &Section<'_>) -> Self {
        let text = section.text();
        self.content = content([self.content.as_str(), text.as_str()].into_iter());
        match self.pages.last_mut() {
            Some(page) => page.push_str(&text),
            None => self.pages.push(text),
        }
        let line = format!("{}; {}", self.line, section.line);
        let state = match (self.state, section.state) {
            (ReportState::Success, other) => other,
            (worse, _) => worse,
        };
        Self::naming(self.content, self.pages, state, &line)
    }

    /// How many bytes a section takes.
    pub fn room_for(section: &Section<'_>) -> usize {
        section.text().len()
    }
}

/// The digest of texts, one after the other.
fn content<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    texts.for_each(|text| hash.update(text.as_bytes()));
    hex(&hash.finalize())
}

/// Notes that need somebody first, otherwise in their own order.
fn attention_first(notes: &[Note]) -> impl Iterator<Item = &Note> {
    let of = |attention: bool| {
        notes
            .iter()
            .filter(move |it| it.needs_attention() == attention)
    };
    of(true).chain(of(false))
}
