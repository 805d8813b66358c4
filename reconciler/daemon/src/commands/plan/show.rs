//! How a plan is shown: for people, for programs, or as it is told on a proposal.

use muster_core::diagnostic::visible;
use muster_core::report::{
    self, Audience, Basis, CommitContext, FORGE_LIMIT, Host, Paper, ReportState, Section, Tint,
};

use super::subject::{Made, PlannedCommit, RefusedCommit};
use super::{CommandError, Format, Output, PlanContext, output};
use crate::answers;
use crate::paint::paper;

/// What is written down.
pub(super) struct Shown<'s> {
    pub(super) context: &'s PlanContext,
    pub(super) made: &'s Made,
    /// What has to be read before the plan.
    pub(super) above: Vec<String>,
    pub(super) host: Host<'s>,
}

impl Shown<'_> {
    /// Writes the plan, and what merging the branch does to owner responses (W7).
    pub(super) fn write(self, format: Format, out: &mut Output) -> Result<(), CommandError> {
        let Self {
            context,
            made: Made {
                subject, refused, ..
            },
            above,
            host,
        } = self;
        let section = subject.answers.as_ref().map(answers::section);
        let hosts = [host];
        match format {
            Format::Human => {
                // What is wrong with the newest commit comes first: it is what somebody has to mend.
                if let Some(wrong) = refused.as_ref().map(RefusedCommit::in_lines) {
                    out.text(&wrong)?;
                }
                out.text(&report::text_under(&above, &hosts, paper()))?;
                answers_of(subject, out)?;
            }
            Format::Json => {
                let basis = Basis {
                    sections: section.as_slice(),
                    ..context.basis(&subject.head, refused.as_ref())
                };
                out.text(&report::json(&basis, &hosts[0], &context.facts))?;
            }
            Format::Markdown => {
                // A comment is about a proposal; what stands against this executor is told beside it.
                for sentence in above {
                    output::note(&format!("note: {}\n", visible(&sentence)));
                }
                let proposal = report::Proposal::Planned {
                    hosts: &hosts,
                    unknown: &[],
                    warnings: &[],
                };
                comment(context, subject, &proposal, out)?;
            }
        }
        Ok(())
    }
}

/// The comment that a bot would write.
pub(super) fn comment(
    context: &PlanContext,
    subject: &PlannedCommit,
    proposal: &report::Proposal<'_>,
    out: &mut Output,
) -> Result<(), CommandError> {
    let about = CommitContext {
        head: &subject.head,
        protected: &subject.protected,
        branch: None,
        today: context.now.date(),
        audience: Audience::Team,
        full: None,
        operator: None,
    };
    let mut comment = report::comment(&about, proposal, FORGE_LIMIT);
    if let Some(told) = &subject.answers {
        comment = comment.with(&answers::section(told));
    }
    let mut pages = comment.pages.into_iter();
    pages.try_for_each(|page| out.line(page))
}

/// What becomes of owner responses, for a terminal.
pub(super) fn answers_of(subject: &PlannedCommit, out: &mut Output) -> Result<(), CommandError> {
    match &subject.answers {
        Some(told) => out.text(&in_lines(&answers::section(told), paper())),
        None => Ok(()),
    }
}

/// A section of a comment for a terminal.
fn in_lines(section: &Section<'_>, paper: Paper) -> String {
    // Backticks are for a page that makes code of them.
    let plain = |text: &str| text.replace('`', "");
    let tint = match section.state {
        ReportState::Success => Tint::Strong,
        ReportState::Pending | ReportState::Failure => Tint::Alarm,
    };
    let mut out = "\n".to_owned();
    paper.tinted(&mut out, "", 2, Some(tint), &plain(section.line));
    for (sentence, below) in section.items {
        paper.wrapped(&mut out, "  ", 4, &plain(sentence));
        for sentence in below {
            paper.wrapped(&mut out, "    ", 6, &plain(sentence));
        }
    }
    out
}
