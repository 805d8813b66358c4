//! `[services]`: who may stand behind owner responses by a signed tag, and how old the inventory of surfaces may be.

use std::path::PathBuf;

use super::section::{Check, Checks, section};
use super::values::{path, within};

section! {
    /// The public keys of people who sign tags that stand behind owner responses (refs/tags/answer/…): an os_user and a key a line.
    /// Where there is no such file, only the forge says who answered.
    signers: String, default "/etc/muster/signers";
    /// An inventory of surfaces that is older than so many days fails, and no lane changes until there is a newer one.
    inventory_days: i64, default 90;
}

/// Who may stand behind owner responses, and how old their inventory may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicesSettings {
    /// The file with the public keys of people.
    pub signers: PathBuf,
    /// How many days old an inventory may be.
    pub inventory_days: u32,
}

impl Check for Given {
    type Value = ServicesSettings;

    fn check(&self, checks: &mut Checks<'_>) -> Option<ServicesSettings> {
        let problems = &mut *checks.problems;
        let signers = path(&self.signers, problems);
        let inventory_days = within(
            &self.inventory_days,
            1..=3_650,
            "a day at least, or every inventory would be too old",
            problems,
        );
        Some(ServicesSettings {
            signers: signers?,
            inventory_days: inventory_days?,
        })
    }
}
