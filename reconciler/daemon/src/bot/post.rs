//! Putting texts where people see them. What was told is remembered, and only what is not what was told is sent.

use muster_core::bytes::hex;
use muster_core::commit::CommitId;
use muster_core::forge::{
    Annotation, CheckRun, CheckState, CommentId, ForgeError, ForgeWriter, Marker, Put, Status,
    StatusLine,
};
use muster_core::ledger::told::ToldProposal;
use muster_core::release::RepoId;
use muster_core::report::{self, Comment, FORGE_LIMIT, Mark, ReportState, Sticky};
use sha2::{Digest as _, Sha256};

/// What stands on a page that there was, and that is needed no more.
const NO_LONGER: &str = "All of it stands in the comments above.";

/// Where and as what it is posted.
pub(super) struct Post<'w> {
    pub(super) writer: &'w mut dyn ForgeWriter,
    /// By what our comments are marked.
    pub(super) mark: RepoId,
    /// The name of status and check run.
    pub(super) context: &'w str,
    /// How many changes were sent.
    pub(super) sent: usize,
}

/// Whether to ask the forge even though it was told already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Only where something is to be changed.
    IfNew,
    /// Somebody may have deleted what was put. If it is there, it stays as it is: what it says word for word is not known any more.
    IfGone,
    /// Somebody may have changed what was put.
    Again,
}

/// The limit of a page, in bytes, under the longest marker that a page can have.
pub(super) fn room(mark: RepoId) -> usize {
    let longest = report::marker(&Mark {
        sticky: Sticky::Proposal,
        repo: mark,
        page: u32::MAX,
    });
    longest.room().min(FORGE_LIMIT)
}

impl Post<'_> {
    /// Makes the comments on a proposal say this.
    pub(super) fn comment(
        &mut self,
        number: u64,
        comment: &Comment,
        told: &mut ToldProposal,
        look: Look,
    ) -> Result<(), ForgeError> {
        if told.content.as_deref() == Some(comment.content.as_str()) {
            match look {
                Look::IfNew => return Ok(()),
                Look::IfGone if self.are_there(number, told)? => return Ok(()),
                Look::IfGone | Look::Again => {}
            }
        }
        let nothing_more = std::iter::repeat_n(
            NO_LONGER,
            told.comments.len().saturating_sub(comment.pages.len()),
        );
        let pages = comment.pages.iter().map(String::as_str).chain(nothing_more);
        for (place, text) in pages.enumerate() {
            let marker = self.marker(place);
            let known = told.comments.get(place).copied().map(CommentId);
            let put = self.writer.put_comment(number, known, &marker, text)?;
            self.count(&put);
            if let Some(CommentId(id)) = put.id() {
                match told.comments.get_mut(place) {
                    Some(known) => *known = id,
                    None => told.comments.push(id),
                }
            }
        }
        told.content = Some(comment.content.clone());
        Ok(())
    }

    /// Whether every page that was put is still there.
    fn are_there(&mut self, number: u64, told: &ToldProposal) -> Result<bool, ForgeError> {
        for (place, id) in told.comments.iter().enumerate() {
            let marker = self.marker(place);
            if !self.writer.has_comment(number, CommentId(*id), &marker)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What marks a page; the first has place 0.
    fn marker(&self, place: usize) -> Marker {
        report::marker(&Mark {
            sticky: Sticky::Proposal,
            repo: self.mark,
            page: u32::try_from(place + 1).unwrap_or(u32::MAX),
        })
    }

    /// Makes status and check run on a commit say this.
    pub(super) fn status(
        &mut self,
        commit: &CommitId,
        verdict: &Verdict<'_>,
        told: &mut ToldProposal,
        look: Look,
    ) -> Result<(), ForgeError> {
        let digest = verdict.digest(commit);
        if look != Look::Again && told.status.as_deref() == Some(digest.as_str()) {
            return Ok(());
        }
        let status = Status {
            state: verdict.state.into(),
            context: self.context.to_owned(),
            summary: StatusLine::of(verdict.line),
            target: None,
        };
        let put = self.writer.set_status(commit, &status)?;
        self.count(&put);
        let check = CheckRun {
            name: self.context.to_owned(),
            state: match verdict.state {
                ReportState::Success => CheckState::Success,
                ReportState::Failure => CheckState::Failure,
                ReportState::Pending => CheckState::Running,
            },
            title: verdict.line.to_owned(),
            summary: verdict.summary.to_owned(),
            annotations: verdict.annotations.to_vec(),
            target: None,
        };
        let put = self.writer.put_check(commit, &check)?;
        self.count(&put);
        told.status = Some(digest);
        Ok(())
    }

    fn count<T>(&mut self, put: &Put<T>) {
        match put {
            Put::Created(_) | Put::Updated(_) => self.sent += 1,
            Put::Unchanged(_) | Put::NotOffered => {}
        }
    }
}

/// What is said on a commit.
pub(super) struct Verdict<'a> {
    pub(super) state: ReportState,
    pub(super) line: &'a str,
    pub(super) summary: &'a str,
    pub(super) annotations: &'a [Annotation],
}

impl Verdict<'_> {
    /// Names all that is said, and on which commit.
    fn digest(&self, commit: &CommitId) -> String {
        let Self {
            state,
            line,
            summary,
            annotations,
        } = self;
        let mut hash = Sha256::new();
        for part in [
            commit.as_str(),
            match state {
                ReportState::Success => "success",
                ReportState::Failure => "failure",
                ReportState::Pending => "pending",
            },
            line,
            summary,
        ] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        for annotation in *annotations {
            hash.update(format!("{annotation:?}"));
        }
        hex(&hash.finalize())
    }
}
