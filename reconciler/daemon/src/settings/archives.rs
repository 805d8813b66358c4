//! `[archives]`: what becomes of the homes of deleted accounts.

use std::path::PathBuf;

use muster_host::archive::Seal;

use super::place::{At, Problem};
use super::section::{Check, Checks, section};
use super::values::{path, within};

section! {
    /// Where the homes of deleted accounts are archived, each a .tar.zst with its digest beside it. Root only; the parent must exist.
    /// Under systemd a directory elsewhere also needs a ReadWritePaths= in a drop-in of muster.service.
    dir: String, usual "/var/lib/muster/archives";
    /// How many days a deleted home also stays as it was, in quarantine beside the homes, before its removal is planned.
    grace_days: i64, default 40;
    /// Homes are archived and removed only below these.
    homes: Vec<At<String>>, default ["/home"];
    /// Whom archives are encrypted to: public keys of age (age1…) or of SSH. The host cannot open them again: an account whose home
    /// has left quarantine is then brought back by hand, with the key.
    recipients: Vec<At<String>>, default [];
    /// The program that encrypts, from Debian's package `age`.
    age: String, default "/usr/bin/age";
}

/// Where archives of homes are kept, of which homes, and for whom. How long a home stays is policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivesSettings {
    /// Where they are kept, for root alone; its parent must exist. Below the state directory unless the settings say otherwise.
    pub dir: PathBuf,
    /// Homes are archived and removed only below one of these directories, seen from the managed tree's root.
    pub homes: Vec<PathBuf>,
    /// Whom archives are encrypted to, if they are.
    pub seal: Option<Seal>,
}

impl Check for Given {
    type Value = ArchivesSettings;

    fn check(&self, checks: &mut Checks<'_>) -> Option<ArchivesSettings> {
        let problems = &mut *checks.problems;
        let dir = match &self.dir {
            Some(dir) => path(dir, problems),
            None => Some(checks.inputs.state.dir().join("archives")),
        };
        let days = within(
            &self.grace_days,
            0..=3_650,
            "so many days a deleted home stays in quarantine before its removal is planned",
            problems,
        );
        let homes = self.homes.value.iter();
        let homes = homes.filter_map(|it| path(it, problems)).collect();
        let program = path(&self.age, problems);
        let recipients = recipients(&self.recipients.value, problems);
        checks.policy.grace_days = days?;
        let seal = program.map(|program| Seal {
            program,
            recipients,
        });
        Some(ArchivesSettings {
            dir: dir?,
            homes,
            // Nobody, unless somebody is named.
            seal: seal.filter(|it| !it.recipients.is_empty()),
        })
    }
}

fn recipients(named: &[At<String>], problems: &mut Vec<Problem>) -> Vec<String> {
    let mut recipients = Vec::new();
    for At { value, place } in named {
        let known = ["age1", "ssh-ed25519 ", "ssh-rsa "];
        let printable = value.bytes().all(|it| matches!(it, b' '..=b'~'));
        if printable && known.iter().any(|it| value.starts_with(it)) {
            recipients.push(value.clone());
        } else {
            problems.push(
                Problem::new(place.clone(), format!("`{value}` is no recipient of age"))
                    .help("a public key: age1…, or ssh-ed25519 or ssh-rsa as in a .pub file"),
            );
        }
    }
    recipients
}
