//! `[limits]`: bounds on a whole plan. All of it is policy.

use muster_core::limits::Limits;

use super::section::{Check, Checks, section};
use super::values::{duration, within};

section! {
    /// Removals of one plan are held, all of them, when there are at least so many …
    removals: i64, default 3;
    /// … and they exceed this share, in per cent, of the accounts managed and active.
    share: i64, default 25;
    /// How many people must remain who surely can become root: they sign in, and a rule of sudoers that is understood lets them,
    /// with a password that is there or without one. Where there is no sudoers, members of sudo, wheel and admin count.
    min_admins: i64, default 1;
    /// How long a step that failed waits for its next try; doubled with each failure, up to an hour. With "0s" each cycle
    /// tries it.
    retry_after: String, default "1m";
}

impl Check for Given {
    type Value = ();

    fn check(&self, checks: &mut Checks<'_>) -> Option<()> {
        let problems = &mut *checks.problems;
        let removals = within(
            &self.removals,
            1..=100_000,
            "so many removals at once are looked at by share",
            problems,
        );
        let share = within(
            &self.share,
            0..=99,
            "100 could never be exceeded, so it would switch the limit off",
            problems,
        );
        let min_admins = within(
            &self.min_admins,
            0..=100_000,
            "0 lets the last admin go, for a host that is administered in another way",
            problems,
        );
        let retry_after = duration(&self.retry_after, "retry_after", 0..=3_600, problems);
        checks.policy.limits = Limits {
            removals: removals?,
            share: share?,
            min_admins: min_admins?,
            retry_after: u32::try_from(retry_after?.as_secs()).expect("BUG: an hour at most"),
        };
        Some(())
    }
}
