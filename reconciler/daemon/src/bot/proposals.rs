//! What is told of a proposal as long as it is open, and in which order.

use std::time::{Duration, Instant};

use muster_core::diagnostic::Diagnostics;
use muster_core::executor::Executor;
use muster_core::fleet::{BotStore, Fleet, versions};
use muster_core::forge::{Annotation, ForgeError, Proposal, ProposalState};
use muster_core::ledger::told::{self, Stage};
use muster_core::report::{self, Audience, Comment, CommitContext, FullReport, Problem};
use muster_core::rooms::{self, StateRepo};
use muster_core::services::say::AnswersSection;
use muster_core::time::Time;
use muster_core::world::{Files, Merge, Pulls};

use super::post::{Look, Verdict, room};
use super::turn::{Premises, Turn, take_in, whole_or_with_report};
use super::{drift, merged};
use crate::answers;
use crate::cycle::chain;

/// Planning that takes longer than this is announced.
const SLOW: Duration = Duration::from_secs(1);

/// What came of merging a proposal in memory.
enum Looked {
    Files(Files),
    Invalid(Diagnostics),
    Conflict(Vec<String>),
    Contained,
}

/// What is shown of a proposal: the comment, and what stands on its commit.
#[derive(Clone)]
pub(super) struct Shown {
    comment: Comment,
    summary: String,
    annotations: Vec<Annotation>,
}

impl Shown {
    pub(super) fn new(comment: Comment, annotations: &[Annotation]) -> Self {
        // One that was cut short ends in a mark of its own.
        let stop = if comment.line.ends_with('…') {
            ""
        } else {
            "."
        };
        let summary = match annotations {
            [] => format!(
                "{}{stop}\n\nThe comment on the pull request tells all of it.",
                comment.line
            ),
            _ => comment.pages.first().cloned().unwrap_or_default(),
        };
        Self {
            comment,
            summary,
            annotations: annotations.to_vec(),
        }
    }

    pub(super) fn verdict(&self) -> Verdict<'_> {
        Verdict {
            state: self.comment.state,
            line: &self.comment.line,
            summary: &self.summary,
            annotations: &self.annotations,
        }
    }
}

impl<S: Pulls, F: Fleet, B: BotStore> Turn<'_, S, F, B> {
    /// Tells everything that is new, what people wait for first.
    pub(super) fn tell_all(&mut self) -> Result<(), ForgeError> {
        if !self.memory.survey.is_grounded(&self.protected, self.at) {
            let files = match self.outside.source.files(&self.protected) {
                Ok(files) => files,
                Err(error) => {
                    let why = chain(&error);
                    return self
                        .tell_broken(&format!("the protected branch could not be read: {why}"));
                }
            };
            let kept: Vec<Executor> = self.memory.survey.executors().cloned().collect();
            let kept: Vec<&Executor> = kept.iter().collect();
            let ground = files
                .as_ref()
                .ok()
                .map(|files| rooms::read_whole(files, &kept));
            match &ground {
                Some(Ok((repo, _))) => {
                    let (survey, fleet) = (&mut self.memory.survey, &self.outside.fleet);
                    survey.ground(repo, &self.protected, self.at, fleet);
                }
                // Proposals that mend it can be planned all the same, without telling their steps from those of before.
                Some(Err(_)) | None => self.summary.warnings.push(format!(
                    "the protected branch is not valid at {}; hosts go on enforcing what they adopted before",
                    self.protected.short()
                )),
            }
        }
        self.find_merge()?;
        let hosts = self.memory.survey.fingerprint(self.at);
        let recorded = self.memory.recorded == Some(hosts);
        // Who merged waits for what became of it; the other proposals were told before.
        if !recorded {
            merged::tell(self)?;
        }
        self.tell_queue()?;
        let mut first = Ok(());
        for number in self.order() {
            if self.has_to_end() {
                self.summary.unfinished = true;
                break;
            }
            match self.tell_proposal(number) {
                Ok(()) => {}
                Err(error @ (ForgeError::Pause { .. } | ForgeError::NoAnswer { .. })) => {
                    return Err(error);
                }
                // One that the forge will not have stops nobody else.
                Err(error) => {
                    self.summary
                        .warnings
                        .push(format!("#{number}: {}", chain(&error)));
                    first = first.and(Err(error));
                }
            }
            self.save_now_and_then();
        }
        if !self.has_to_end() && !recorded {
            if self.run.drift {
                match drift::tell(self) {
                    Ok(()) => {}
                    // The issue is a convenience: where the forge takes none, everything else is told all the same (F36).
                    Err(
                        error @ (ForgeError::NotThere { .. }
                        | ForgeError::Denied { .. }
                        | ForgeError::Refused { .. }),
                    ) => self.summary.warnings.push(format!(
                        "drift cannot be told in an issue ({}): issues may be disabled in the state repository; enable them, or set \
                         `drift_issue = false` in [forge]",
                        chain(&error)
                    )),
                    Err(error) => return Err(error),
                }
            }
            self.memory.recorded = Some(hosts);
        }
        if !self.has_to_end() {
            self.survey_answers();
            self.verify()?;
        }
        self.forget_old();
        first
    }

    /// Where the protected branch moved: whether a proposal's merge did it, in case the forge did not list that yet.
    fn find_merge(&mut self) -> Result<(), ForgeError> {
        if self.memory.asked_about.as_ref() == Some(&self.protected) {
            return Ok(());
        }
        let known = self.told().proposals.values().any(
            |it| matches!(&it.stage, Stage::Merged { commit, .. } if *commit == self.protected),
        );
        if !known
            && let Some(mut proposal) = self
                .outside
                .reader
                .proposal_merged_as(&self.protected.clone())?
        {
            if let ProposalState::Merged { commit } = &mut proposal.state {
                *commit = Some(self.protected.clone());
            }
            take_in(self.memory, proposal, self.run);
        }
        self.memory.asked_about = Some(self.protected.clone());
        Ok(())
    }

    /// Proposals, those that somebody waits for first.
    fn order(&self) -> Vec<u64> {
        let first =
            |number: &u64| self.run.first.contains(number) && self.memory.open.contains_key(number);
        let again = |number: &u64| self.memory.again.contains(number);
        let mut order: Vec<u64> = self.memory.open.keys().copied().collect();
        order.sort_by_key(|number| (!first(number), !again(number), *number));
        order
    }

    /// Tells of one proposal what there is to tell.
    fn tell_proposal(&mut self, number: u64) -> Result<(), ForgeError> {
        let Some(proposal) = self.memory.open.get(&number).cloned() else {
            return Ok(());
        };
        let premises = Premises {
            head: proposal.head.clone(),
            label: proposal.head_label.clone(),
            base: proposal.base.clone(),
            protected: self.protected.clone(),
            hosts: self.memory.survey.fingerprint(self.at),
            audience: self.audience,
            behind: self.behind(number)?,
        };
        let again = self.memory.again.contains(&number);
        let known = self.memory.premises.get(&number) == Some(&premises);
        if known && !again && proposal.state == ProposalState::Open {
            return Ok(());
        }
        if proposal.state == ProposalState::Closed {
            self.tell_closed(&proposal)?;
            self.memory.open.remove(&number);
        } else if known {
            self.look_again(&proposal)?;
        } else if proposal.base == self.run.protected {
            self.announce(&proposal)?;
            let began = Instant::now();
            let (comment, annotations) = self.plan(&proposal);
            self.memory.planning_took = began.elapsed();
            self.put(&proposal, comment, &annotations, again)?;
        } else {
            self.tell_elsewhere(&proposal)?;
        }
        self.memory.again.remove(&number);
        if self.missing.contains_key(&number) {
            self.memory.premises.remove(&number);
        } else if proposal.state == ProposalState::Open {
            // Whether it is about owner responses is known since it was planned.
            let behind = self.behind(number)?;
            let premises = Premises { behind, ..premises };
            self.memory.premises.insert(number, premises);
        }
        Ok(())
    }

    /// Says that a new head is being planned, where that takes a while.
    fn announce(&mut self, proposal: &Proposal) -> Result<(), ForgeError> {
        let told = self.told().proposals.get(&proposal.number);
        let new = told.is_none_or(|it| it.head != proposal.head || it.status.is_none());
        if !new || self.memory.planning_took < SLOW {
            return Ok(());
        }
        let about = self.about(proposal, None);
        let comment = report::comment(&about, &report::Proposal::Planning, usize::MAX);
        let mut told = self.told_of(proposal);
        let verdict = Verdict {
            state: comment.state,
            line: &comment.line,
            summary: &comment.line,
            annotations: &[],
        };
        let (post, head) = (&mut self.post(), &proposal.head);
        let put = post.status(head, &verdict, &mut told, Look::IfNew);
        self.summary.sent += post.sent;
        self.keep(proposal.number, told);
        put
    }

    /// Plans a proposal for every host.
    fn plan(&mut self, proposal: &Proposal) -> (Comment, Vec<Annotation>) {
        if let Some(why) = self.missing.get(&proposal.number).cloned() {
            let told = report::Proposal::HeadMissing(&why);
            return (self.comment(proposal, &told), Vec::new());
        }
        self.plan_head(proposal)
    }

    /// Plans a proposal whose head is here.
    pub(super) fn plan_head(&mut self, proposal: &Proposal) -> (Comment, Vec<Annotation>) {
        let looked = match self.merge(proposal) {
            Ok(looked) => looked,
            Err(why) => {
                return (
                    self.comment(proposal, &report::Proposal::Broken(&why)),
                    Vec::new(),
                );
            }
        };
        match looked {
            Looked::Contained => (
                self.comment(proposal, &report::Proposal::Contained),
                Vec::new(),
            ),
            Looked::Conflict(paths) => (
                self.comment(proposal, &report::Proposal::Conflict(&paths)),
                Vec::new(),
            ),
            Looked::Invalid(problems) => self.invalid(proposal, problems, 0),
            Looked::Files(files) => {
                let (repo, problems) = self.read(&files);
                let readable = answers::with_people(repo.as_ref(), &problems);
                let told = self.answers(proposal, &files, readable);
                let (comment, annotations) =
                    self.plan_files(proposal, &files, repo, problems, told.as_ref());
                match &told {
                    Some(told) => (comment.with(&answers::section(told)), annotations),
                    None => (comment, annotations),
                }
            }
        }
    }

    /// Plans what a merge would give, leaving room for what is told of owner responses.
    fn plan_files(
        &mut self,
        proposal: &Proposal,
        files: &Files,
        repo: Option<StateRepo<'_>>,
        problems: Diagnostics,
        told: Option<&AnswersSection>,
    ) -> (Comment, Vec<Annotation>) {
        let room = told.map_or(0, |it| Comment::room_for(&answers::section(it)));
        let wrong = problems.has_error(|_| true);
        let Some(repo) = repo.filter(|_| !wrong) else {
            return self.invalid(proposal, problems, room);
        };
        let versions = self.memory.survey.versions();
        let unread = versions::unread(&versions, files, self.audience);
        if !unread.is_empty() {
            let invalid = report::Proposal::Invalid(&unread);
            return (self.comment_in(proposal, &invalid, room), Vec::new());
        }
        let (survey, fleet) = (&mut self.memory.survey, &self.outside.fleet);
        let outlook = survey.outlook(&repo, &proposal.head, self.at, fleet);
        let annotations = report::annotations(problems.iter());
        let warnings = Problem::folded(&problems);
        let (hosts, unknown) = (outlook.hosts(), outlook.unknown());
        let planned = report::Proposal::Planned {
            hosts: &hosts,
            unknown: &unknown,
            warnings: &warnings,
        };
        (self.comment_in(proposal, &planned, room), annotations)
    }

    /// What merging gives is not valid: what of that is not of this proposal, as the protected branch has it already, is told apart
    /// (F38).
    fn invalid(
        &mut self,
        proposal: &Proposal,
        problems: Diagnostics,
        room: usize,
    ) -> (Comment, Vec<Annotation>) {
        let (new, old) = problems.beside(&self.already_wrong());
        let annotations = report::annotations(new.iter());
        let (new, old) = (Problem::folded(&new), Problem::folded(&old));
        let told = match old.is_empty() {
            true => report::Proposal::Invalid(&new),
            false => report::Proposal::OnInvalid {
                new: &new,
                already: &old,
            },
        };
        (self.comment_in(proposal, &told, room), annotations)
    }

    /// What is wrong in the protected branch itself.
    fn already_wrong(&mut self) -> Diagnostics {
        match self.outside.source.files(&self.protected) {
            Ok(Ok(files)) => self.read(&files).1,
            Ok(Err(problems)) => problems,
            Err(_) => Diagnostics::default(),
        }
    }

    fn merge(&mut self, proposal: &Proposal) -> Result<Looked, String> {
        let merged = self
            .outside
            .source
            .merge(&self.protected, &proposal.head)
            .map_err(|error| format!("it could not be merged in memory: {}", chain(&error)))?;
        Ok(match merged {
            Merge::Contained => Looked::Contained,
            Merge::Conflict(paths) => Looked::Conflict(paths),
            Merge::Refused(problems) => Looked::Invalid(problems),
            Merge::Clean(files) => Looked::Files(files),
        })
    }

    /// Reads what a merge would give, with the files of everybody who has a ledger.
    fn read<'f>(&self, files: &'f Files) -> (Option<StateRepo<'f>>, Diagnostics) {
        let kept: Vec<&Executor> = self.memory.survey.executors().collect();
        rooms::read_as_far(files, &kept)
    }

    /// The comment, in pages that the forge takes. Where it does not hold all there is to tell, or anybody can read it, the whole
    /// report goes into the store.
    fn comment(&mut self, proposal: &Proposal, what: &report::Proposal<'_>) -> Comment {
        self.comment_in(proposal, what, 0)
    }

    /// The same, with so many bytes left on its last page.
    fn comment_in(
        &mut self,
        proposal: &Proposal,
        what: &report::Proposal<'_>,
        left: usize,
    ) -> Comment {
        let (comment, report) = {
            let path = told::report_file(proposal.number);
            let reason = format!("pull request {}", proposal.number);
            let operator = self.run.operator(&reason);
            let render = |audience: Audience, full: Option<FullReport<'_>>, limit: usize| {
                let about = CommitContext {
                    audience,
                    operator,
                    ..self.about(proposal, full)
                };
                report::comment(&about, what, limit)
            };
            whole_or_with_report(self.audience, room(self.mark()) - left, &path, render)
        };
        self.reports.extend(report);
        comment
    }

    fn about<'p>(
        &'p self,
        proposal: &'p Proposal,
        full: Option<FullReport<'p>>,
    ) -> CommitContext<'p> {
        CommitContext {
            head: &proposal.head,
            protected: &self.protected,
            branch: Some(&proposal.head_label),
            today: self.at.now.date(),
            audience: self.audience,
            full,
            operator: None,
        }
    }

    /// Puts status and check, which a merge waits for, and then the comment. Where the forge takes no comment, as in a conversation
    /// that is locked, the status stands all the same (F36).
    fn put(
        &mut self,
        proposal: &Proposal,
        comment: Comment,
        annotations: &[Annotation],
        again: bool,
    ) -> Result<(), ForgeError> {
        let number = proposal.number;
        let mut told = self.told_of(proposal);
        let before = self.memory.texts.get(&number);
        let look = match (again, before) {
            (true, Some(before)) if before.comment.content == comment.content => Look::Again,
            (true, None) => Look::IfGone,
            _ => Look::IfNew,
        };
        // The same text, though hosts were read again since.
        let shown = match (look, before) {
            (Look::Again, Some(before)) => before.clone(),
            (Look::Again | Look::IfGone | Look::IfNew, _) => Shown::new(comment, annotations),
        };
        let mut post = self.post();
        let put = post
            .status(&proposal.head, &shown.verdict(), &mut told, look)
            .and_then(|()| post.comment(number, &shown.comment, &mut told, look));
        let sent = post.sent;
        self.summary.sent += sent;
        told.head.clone_from(&proposal.head);
        told.protected.clone_from(&self.protected);
        if sent > 0 {
            told.at = self.at.now;
        }
        self.keep(number, told);
        put?;
        self.memory.texts.insert(number, shown);
        self.memory.verified.insert(number, self.at.now);
        Ok(())
    }

    /// Something happened to a proposal and nothing to its plan: somebody may have deleted the comment or written another text
    /// into it, or set another status in the place of ours. What was told is put back, and said (F37).
    fn look_again(&mut self, proposal: &Proposal) -> Result<(), ForgeError> {
        let Some(shown) = self.memory.texts.get(&proposal.number).cloned() else {
            return Ok(());
        };
        let mut told = self.told_of(proposal);
        let mut post = self.post();
        let verdict = shown.verdict();
        let put = post
            .status(&proposal.head, &verdict, &mut told, Look::Again)
            .and_then(|()| post.comment(proposal.number, &shown.comment, &mut told, Look::Again));
        let sent = post.sent;
        self.summary.sent += sent;
        if sent > 0 {
            self.summary.warnings.push(format!(
                "#{}: somebody else changed what is told there; it is put back",
                proposal.number
            ));
        }
        self.keep(proposal.number, told);
        put
    }

    /// Looks whether what was told is still what is shown, at some proposals in each turn: those that were not looked at for
    /// longest. Not every forge says that somebody wrote over a comment or set another status, and what gates a merge must not
    /// stay set aside (F37).
    fn verify(&mut self) -> Result<(), ForgeError> {
        /// Proposals in one turn, and the seconds for which a look lasts: what a forge allows in an hour is left for others.
        const AT_ONCE: (usize, i64) = (10, 60);
        let (many, lasts) = AT_ONCE;
        let memory = &mut self.memory;
        memory
            .verified
            .retain(|number, _| memory.open.contains_key(number));
        let mut due: Vec<(Option<Time>, u64)> = memory
            .open
            .keys()
            .filter(|it| memory.texts.contains_key(it))
            .map(|it| (memory.verified.get(it).copied(), *it))
            .filter(|(last, _)| last.is_none_or(|it| it.plus(lasts) <= self.at.now))
            .collect();
        due.sort_unstable();
        for (_, number) in due.into_iter().take(many) {
            if self.has_to_end() {
                break;
            }
            let Some(proposal) = self.memory.open.get(&number).cloned() else {
                continue;
            };
            self.memory.verified.insert(number, self.at.now);
            match self.look_again(&proposal) {
                Ok(()) => {}
                Err(error @ (ForgeError::Pause { .. } | ForgeError::NoAnswer { .. })) => {
                    return Err(error);
                }
                // It was told when it was put, and is told again with the next change.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Where there is a comment of ours on a proposal that is for no branch of ours, it says so.
    fn tell_elsewhere(&mut self, proposal: &Proposal) -> Result<(), ForgeError> {
        let told = self.told().proposals.get(&proposal.number);
        if told.is_none_or(|it| it.comments.is_empty()) {
            return Ok(());
        }
        let comment = self.comment(proposal, &report::Proposal::Elsewhere(&proposal.base));
        self.put(proposal, comment, &[], false)
    }

    fn tell_closed(&mut self, proposal: &Proposal) -> Result<(), ForgeError> {
        let mut told = self.told_of(proposal);
        if !told.comments.is_empty() {
            let comment = self.comment(proposal, &report::Proposal::Closed);
            let mut post = self.post();
            let put = post.comment(proposal.number, &comment, &mut told, Look::IfNew);
            self.summary.sent += post.sent;
            self.memory.texts.remove(&proposal.number);
            if let Err(error) = put {
                self.keep(proposal.number, told);
                return Err(error);
            }
        }
        self.withdraw(proposal.number);
        told.stage = Stage::Closed;
        told.at = self.at.now;
        self.keep(proposal.number, told);
        Ok(())
    }

    /// Nothing can be planned at all: no required check stays green on it.
    fn tell_broken(&mut self, why: &str) -> Result<(), ForgeError> {
        self.summary.warnings.push(why.to_owned());
        for number in self.order() {
            let Some(proposal) = self.memory.open.get(&number).cloned() else {
                continue;
            };
            if proposal.base == self.run.protected && proposal.state == ProposalState::Open {
                let comment = self.comment(&proposal, &report::Proposal::Broken(why));
                self.put(&proposal, comment, &[], false)?;
                self.memory.premises.remove(&number);
            }
        }
        Ok(())
    }
}
