//! Which tags matter, by their names alone: anyone may push them by the ten thousand, and what is stale is never opened.

use std::collections::BTreeSet;

use super::answer::ANSWERS;
use crate::time::Time;

/// Where releases are pushed: `refs/tags/release/<not-before>-<statement>-<key>`.
pub const RELEASES: &str = "refs/tags/release/";
/// Where rotations of the trust root are pushed: `refs/tags/root/<version>…`.
pub const ROTATIONS: &str = "refs/tags/root/";
/// Where resets of a frozen executor are pushed.
pub const RESETS: &str = "refs/tags/reset/";

/// What names of tags are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagHorizon {
    /// A release whose name says an earlier not-before is over.
    pub since: Time,
    /// A rotation to this version or an older one is in force already.
    pub version: u64,
    /// What the name of a release ends with that somebody can have signed; `None` where that is not known.
    pub signers: Option<BTreeSet<String>>,
}

impl TagHorizon {
    /// Before everything.
    pub const ALL: Self = Self {
        since: Time(0),
        version: 0,
        signers: None,
    };

    /// After everything: for whoever looks at branches alone.
    pub const NONE: Self = Self {
        since: Time(253_402_300_799), // the end of the year 9999
        version: u64::MAX,
        signers: None,
    };

    /// Whether what a tag of this full name points to is to be asked for, where that costs something: a release is named after
    /// the key that signed it (F8).
    pub fn is_worth_asking(&self, name: &str) -> bool {
        match (&self.signers, name.strip_prefix(RELEASES)) {
            (Some(signers), Some(release)) => release
                .rsplit('-')
                .next()
                .is_some_and(|signer| signers.contains(signer)),
            _ => true,
        }
    }

    /// Whether a tag of this full name can matter. A release's name follows from what it says, so one that calls itself
    /// older than it is, is refused anyway.
    pub fn wants(&self, name: &str) -> bool {
        if let Some(name) = name.strip_prefix(RELEASES) {
            let since = self.since.to_string().replace(['-', ':'], "");
            let stamp = name.split('-').next().unwrap_or_default();
            return stamp.len() == since.len() && *stamp.to_ascii_uppercase() >= *since;
        }
        if let Some(name) = name.strip_prefix(ROTATIONS) {
            let version = name.split('-').next().and_then(|it| it.parse::<u64>().ok());
            return version.is_some_and(|it| it > self.version);
        }
        name.starts_with(RESETS) || name.starts_with(ANSWERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_can_matter_are_wanted() {
        let horizon = TagHorizon {
            since: Time(1_795_000_000), // 2026-11-18T11:06:40Z
            version: 3,
            signers: Some(BTreeSet::from(["01234567".to_owned()])),
        };
        for (name, worth) in [
            (
                "refs/tags/release/20261118T110640Z-0123456789abcdef-01234567",
                true,
            ),
            (
                "refs/tags/release/20261118T110640Z-0123456789abcdef-01234568",
                false,
            ),
            ("refs/tags/release/01234567", true),
            ("refs/tags/release/x", false),
            ("refs/tags/root/4-0123456789abcdef-01234568", true),
            ("refs/tags/reset/anything", true),
        ] {
            assert_eq!(horizon.is_worth_asking(name), worth, "{name}");
            assert!(TagHorizon::ALL.is_worth_asking(name), "{name}");
        }
        for name in [
            "refs/tags/release/20261118T110640Z-0123456789abcdef-01234567",
            "refs/tags/release/20361118T110640Z-x",
            "refs/tags/root/4",
            "refs/tags/root/4-01234567",
            "refs/tags/root/18446744073709551615",
            "refs/tags/reset/anything",
        ] {
            assert!(horizon.wants(name), "{name}");
        }
        for name in [
            "refs/tags/release/20261118T110639Z-0123456789abcdef-01234567",
            "refs/tags/release/99999999",
            "refs/tags/release/x",
            "refs/tags/release/",
            "refs/tags/root/3",
            "refs/tags/root/-4",
            "refs/tags/root/18446744073709551616",
            "refs/tags/v1",
            "refs/heads/main",
        ] {
            assert!(!horizon.wants(name), "{name}");
        }
    }
}
