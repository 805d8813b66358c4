//! What a turn keeps of what it told.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::fleet::{BotStore, Fleet, Lead};
use muster_core::forge::Proposal;
use muster_core::ledger::told::{Stage, Told, ToldProposal, report_file};
use muster_core::release::RepoId;
use muster_core::world::Pulls;

use super::post::Post;
use super::turn::{REMEMBERED, SAVE_EVERY, Turn, TurnError, outside};

/// So many merges are recorded at most; hosts are not waited for any longer on those that are older.
const RECORDS: usize = 100;

impl<S: Pulls, F: Fleet, B: BotStore> Turn<'_, S, F, B> {
    /// What was told until now.
    pub(super) fn told(&self) -> &Told {
        match &self.memory.told {
            Some((_, told, _)) => told,
            None => unreachable!("read before anything is told"),
        }
    }

    pub(super) fn told_mut(&mut self) -> &mut Told {
        match &mut self.memory.told {
            Some((_, told, _)) => told,
            None => unreachable!("read before anything is told"),
        }
    }

    /// By what comments are marked.
    pub(super) fn mark(&self) -> RepoId {
        self.told().all.mark
    }

    /// What was told of a proposal, to be told more.
    pub(super) fn told_of(&self, proposal: &Proposal) -> ToldProposal {
        let told = self.told().proposals.get(&proposal.number).cloned();
        told.unwrap_or_else(|| ToldProposal::nothing(&proposal.head, &self.protected, self.at.now))
    }

    /// Takes in what was told of a proposal.
    pub(super) fn keep(&mut self, number: u64, told: ToldProposal) {
        self.told_mut().proposals.insert(number, told);
    }

    /// What puts texts on the forge.
    pub(super) fn post(&mut self) -> Post<'_> {
        let mark = self.mark();
        Post {
            writer: self.outside.writer.as_mut(),
            mark,
            context: self.run.context,
            sent: 0,
        }
    }

    /// Whether the rest is for the next turn, or for another bot.
    pub(super) fn has_to_end(&mut self) -> bool {
        if (self.run.stop)() {
            return true;
        }
        let now = (self.run.clock)();
        // A change may take a second and more to be sent.
        if now.plus(10) < self.until {
            return false;
        }
        match self.outside.store.lead(now) {
            Ok(Lead::Ours { until, .. }) => {
                self.until = until;
                now >= until
            }
            Ok(Lead::Others { .. }) | Err(_) => true,
        }
    }

    /// Writes down what was told when much was.
    pub(super) fn save_now_and_then(&mut self) {
        if self.summary.sent < self.saved_at + SAVE_EVERY {
            return;
        }
        if let Err(error) = self.save() {
            self.summary.warnings.push(crate::cycle::chain(&error));
        }
    }

    /// Writes down what was told.
    pub(super) fn save(&mut self) -> Result<(), TurnError> {
        self.saved_at = self.summary.sent;
        if let Some(cursor) = &self.memory.cursor
            // All that was listed is told, or it has to be listed again.
            && !self.summary.unfinished
            && self.memory.again.is_empty()
        {
            let listed = cursor.time();
            let told = self.told_mut();
            // A mark of how far proposals were read need not be exact, and a commit for each look would say nothing.
            let far = told.all.listed.is_none_or(|it| it.plus(600) < listed);
            if far || self.summary.sent > 0 {
                self.told_mut().all.listed = Some(listed);
            }
        }
        let Some((_, told, files)) = &self.memory.told else {
            return Ok(());
        };
        let newer = told.files();
        let mut changes: BTreeMap<String, Option<Vec<u8>>> = newer
            .iter()
            .filter(|(path, bytes)| files.get(*path) != Some(*bytes))
            .map(|(path, bytes)| (path.clone(), Some(bytes.clone())))
            .collect();
        for path in files.keys().filter(|it| !newer.contains_key(*it)) {
            changes.insert(path.clone(), None);
        }
        changes.append(&mut self.reports);
        if changes.is_empty() {
            return Ok(());
        }
        let now = (self.run.clock)();
        let message = match self.summary.sent {
            0 => "nothing new was told".to_owned(),
            1 => "told 1 change".to_owned(),
            many => format!("told {many} changes"),
        };
        self.outside
            .store
            .write(&changes, &message, now)
            .map_err(outside("what was told could not be written down"))?;
        if let Some((_, _, files)) = &mut self.memory.told {
            *files = newer;
        }
        Ok(())
    }

    /// Lets go of what nothing more is to come of.
    pub(super) fn forget_old(&mut self) {
        let now = self.at.now;
        let told = self.told_mut();
        let mut waiting: Vec<(muster_core::time::Time, u64)> = told
            .proposals
            .iter()
            .filter(|(_, it)| matches!(it.stage, Stage::Merged { settled: false, .. }))
            .map(|(number, it)| (it.at, *number))
            .collect();
        waiting.sort();
        let surplus = waiting.len().saturating_sub(RECORDS);
        for (place, (at, number)) in waiting.into_iter().enumerate() {
            if (place < surplus || at.plus(REMEMBERED) < now)
                && let Some(Stage::Merged { settled, held, .. }) =
                    told.proposals.get_mut(&number).map(|it| &mut it.stage)
            {
                *settled = true;
                // From here on it is drift, and told there.
                *held = BTreeSet::new();
            }
        }
        let over: Vec<u64> = told
            .proposals
            .iter()
            .filter(|(_, it)| it.is_settled() && it.at.plus(REMEMBERED) < now)
            .map(|(number, _)| *number)
            .collect();
        for number in &over {
            told.proposals.remove(number);
        }
        let gone = over.into_iter().map(|number| (report_file(number), None));
        self.reports.extend(gone);
    }
}
