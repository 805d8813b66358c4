//! What the checks find in a review (A8, LB10).

use super::Cause;
use super::one::{Notes, One};
use super::people::Known;
use crate::services::attributions::Attribution;
use crate::services::checks::Check;
use crate::services::lane::Lane;
use crate::services::records::{Outcome, Response, Review};

impl One<'_, '_> {
    /// Whether a review counts. One that does not leaves the surface where it waits for one.
    pub(super) fn check_review(
        &self,
        review: &Review<'_>,
        reviewer: &[Attribution],
        (response, digest): (&Response<'_>, &str),
        answering: &[&Attribution],
        notes: &mut Notes<'_>,
    ) {
        let check = Check::CountsTransitionSafe;
        let lane = Lane::ReadyForHostServiceReview;
        if review
            .outcome
            .is_some_and(|it| it.value == Outcome::Supplement)
        {
            notes.add(
                check,
                Lane::RequestSupplement,
                Cause::AskedFor,
                "reviewer_outcome",
                review.outcome.map(|it| it.at),
            );
        }
        let current = review
            .response
            .as_ref()
            .is_some_and(|it| it.value == digest);
        if !current {
            let at = review.response.as_ref().map(|it| it.at);
            notes.add(check, lane, Cause::OtherResponse, "response_sha256", at);
        }
        let Some(name) = &review.reviewer else {
            notes.add(check, lane, Cause::Missing, "reviewer", None);
            return;
        };
        let at = Some(name.at);
        let known = self.people.known(&name.value);
        match known {
            Known::Active => {}
            Known::Never => drop(notes.person(check, "reviewer", name)),
            Known::Gone(gone) => {
                let cause = Cause::Person {
                    name: name.value.to_string(),
                    gone,
                };
                notes.add(check, lane, cause, "reviewer", at);
            }
        }
        if !reviewer.iter().any(|it| self.people.is(it, &name.value)) {
            let why = self.people.why_not(reviewer, std::iter::once(&*name.value));
            notes.add(check, lane, why, "reviewer", at);
        } else if answering.iter().any(|it| self.people.is(it, &name.value)) {
            // The same person may answer with a forge account and review with a key.
            notes.add(check, lane, Cause::Reviewer, "reviewer", at);
        }
        if let [owner] = response.owners.as_slice()
            && owner.value == name.value
        {
            notes.add(check, lane, Cause::OnlyOwner, "reviewer", at);
        }
        let accepted = review.outcome.filter(|it| it.value == Outcome::Accepted);
        if let Some(accepted) =
            accepted.filter(|_| self.surface.write_capable && !review.extra_review)
        {
            notes.add(
                Check::WriteCapableRequiresExtraReview,
                lane,
                Cause::ExtraReview,
                "extra_review",
                Some(accepted.at),
            );
        }
    }
}
