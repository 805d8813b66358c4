//! Reading a forge, in either dialect.

use std::collections::BTreeMap;

use muster_core::commit::CommitId;
use muster_core::forge::{
    Approval, Cursor, ForgeError, ForgeReader, Listing, Proposal, ProposalState, Visibility, Which,
};

use crate::answers::{ChangedFile, Opinion, Pull, Repository, Review};
use crate::conversation::SharedConversation;
use crate::dialect::Dialect;

/// Reads a forge, and can do nothing else there.
pub struct Reader {
    pub(crate) conversation: SharedConversation,
}

impl Reader {
    pub(crate) fn new(conversation: SharedConversation) -> Self {
        Self { conversation }
    }

    /// What the forge answered, to be kept over a restart in a file for root alone: it holds what people wrote, and no secret.
    pub fn keep_answers(&self) -> Vec<u8> {
        self.conversation.lock().keep_cache()
    }

    /// Takes up what [`Reader::keep_answers`] gave. What cannot be read, or is about another repository, is passed over: it is
    /// asked for again.
    pub fn recall_answers(&mut self, bytes: &[u8]) {
        self.conversation.lock().recall_cache(bytes);
    }
}

impl ForgeReader for Reader {
    fn proposals(&mut self, which: Which<'_>) -> Result<Listing, ForgeError> {
        let mut conversation = self.conversation.lock();
        let dialect = conversation.dialect();
        let route = conversation.repository.route(match which {
            Which::Open => dialect.open_pulls(),
            Which::ChangedSince(_) => dialect.changed_pulls(),
        });
        let since = match which {
            Which::Open => None,
            Which::ChangedSince(cursor) => Some(cursor.from()),
        };
        let mut looked_at = Vec::new();
        let mut unread = Vec::new();
        let pages = conversation.list::<Pull>(&route, |page| {
            // They come in the order of their change: those after a page that ends too early are earlier still.
            let last = page.last().and_then(|it| it.as_ref().ok());
            since.is_some_and(|since| last.and_then(Pull::updated).is_some_and(|it| it < since))
        })?;
        for pull in pages {
            match pull.and_then(|it| it.proposal(dialect)) {
                Ok(proposal) => looked_at.push(proposal),
                Err(why) => unread.push(why),
            }
        }
        let before = match which {
            // What changed before now, and is not open, is of no interest.
            Which::Open => Cursor::at(conversation.list_began()),
            Which::ChangedSince(cursor) => cursor.clone(),
        };
        let cursor = before.after(&looked_at);
        let wanted = |it: &Proposal| match which {
            Which::Open => it.state == ProposalState::Open,
            Which::ChangedSince(cursor) => it.updated >= cursor.from() && !cursor.has_seen(it),
        };
        looked_at.retain(wanted);
        // A page that grew while it was read shows some again.
        let mut numbers = std::collections::BTreeSet::new();
        looked_at.retain(|it| numbers.insert(it.number));
        Ok(Listing {
            proposals: looked_at,
            unread,
            cursor,
        })
    }

    fn proposal(&mut self, number: u64) -> Result<Proposal, ForgeError> {
        let mut conversation = self.conversation.lock();
        let route = conversation.repository.route(&format!("/pulls/{number}"));
        let page = conversation.get(&route)?;
        let pull: Pull = conversation.read(&page)?;
        pull.proposal(conversation.dialect())
            .map_err(|why| ForgeError::Garbled {
                what: page.what,
                why,
            })
    }

    fn proposal_merged_as(&mut self, commit: &CommitId) -> Result<Option<Proposal>, ForgeError> {
        let mut conversation = self.conversation.lock();
        let dialect = conversation.dialect();
        let found = match dialect {
            Dialect::GitHub => {
                let route = format!("/commits/{commit}/pulls?per_page=100");
                let route = conversation.repository.route(&route);
                conversation.list::<Pull>(&route, |_| false)
            }
            Dialect::Forgejo => {
                let route = conversation
                    .repository
                    .route(&format!("/commits/{commit}/pull"));
                conversation
                    .get(&route)
                    .and_then(|page| conversation.read(&page))
                    .map(|it| vec![Ok(it)])
            }
        };
        let found = match found {
            Ok(found) => found,
            // A commit that the forge does not know, or that nobody proposed.
            Err(ForgeError::NotThere { .. } | ForgeError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let proposals = found
            .into_iter()
            .filter_map(|it| it.ok()?.proposal(dialect).ok());
        // A commit may be part of many proposals; only one of them was merged as it.
        let mut unsaid = None;
        for proposal in proposals {
            match &proposal.state {
                ProposalState::Merged { commit: Some(it) } if it == commit => {
                    return Ok(Some(proposal));
                }
                ProposalState::Merged { commit: None } => unsaid = Some(proposal),
                _ => {}
            }
        }
        Ok(unsaid)
    }

    fn changed_paths(&mut self, number: u64) -> Result<Vec<String>, ForgeError> {
        let mut conversation = self.conversation.lock();
        let dialect = conversation.dialect();
        let route = conversation.repository.route(&dialect.files(number));
        let mut paths = Vec::new();
        for file in conversation.list::<ChangedFile>(&route, |_| false)? {
            let file = file.map_err(|why| ForgeError::Garbled {
                what: format!("the files of #{number}"),
                why,
            })?;
            paths.push(file.filename);
            paths.extend(file.previous_filename.filter(|it| !it.is_empty()));
        }
        paths.sort_unstable();
        paths.dedup();
        Ok(paths)
    }

    fn approvals(&mut self, number: u64) -> Result<Vec<Approval>, ForgeError> {
        let mut conversation = self.conversation.lock();
        let dialect = conversation.dialect();
        let route = conversation.repository.route(&dialect.reviews(number));
        let mut reviews = Vec::new();
        for review in conversation.list::<Review>(&route, |_| false)? {
            reviews.push(review.map_err(|why| ForgeError::Garbled {
                what: format!("the reviews of #{number}"),
                why,
            })?);
        }
        // Their numbers count up.
        reviews.sort_by_key(|it| it.id);
        let mut approvals: BTreeMap<String, Approval> = BTreeMap::new();
        for review in reviews {
            let login = review.user.as_ref().and_then(|it| it.login.clone());
            // Of an account that is gone nobody knows whose word it was.
            let Some(by) = login.filter(|it| !it.is_empty()) else {
                continue;
            };
            let account = by.to_ascii_lowercase();
            let commit = review.commit_id.as_deref().and_then(|it| it.parse().ok());
            match (review.opinion(), commit) {
                (Opinion::Nothing, _) => {}
                (Opinion::Approves, Some(commit)) => {
                    let review = review.id;
                    approvals.insert(account, Approval { review, by, commit });
                }
                (Opinion::Approves, None) | (Opinion::Objects, _) => {
                    approvals.remove(&account);
                }
            }
        }
        let mut approvals: Vec<Approval> = approvals.into_values().collect();
        approvals.sort();
        Ok(approvals)
    }

    fn visibility(&mut self) -> Result<Visibility, ForgeError> {
        let mut conversation = self.conversation.lock();
        let route = conversation.repository.route("");
        let page = conversation.get(&route)?;
        let repository: Repository = conversation.read(&page)?;
        Ok(match repository.is_private() {
            true => Visibility::Private,
            false => Visibility::Public,
        })
    }
}
