//! `[fleet]`: what this process does, and how it meets the other hosts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use muster_git::Origin;

use super::Ambient;
use super::place::{At, Problem};
use super::section::{Check, Checks, section};
use super::values::{duration, one_of, origin, path};

section! {
    /// What this process does: agent (keeps this host and [[guests]]), bot (speaks to the forge for every host, where [forge] names one; needs no root).
    roles: Vec<At<String>>, default ["agent", "bot"];
    /// The repository to which hosts push their ledgers, and out of which the bot plans. No default: the ledger stays on this host.
    ledger: String, example "ssh://git@forge.example/team/ledger.git";
    /// The public keys with which hosts sign their ledgers; the bot takes no other host at its word.
    hosts: String, default "/etc/muster/hosts";
    /// A host that told nothing for so long is not planned for: the proposal says so, and does not pass.
    stale: String, default "15m";
    /// How this bot calls itself where several decide which one acts. Default: the host's name and a random word.
    name: String, example "bot-1";
}

/// What this process does, and how it meets the other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// What this process does.
    pub roles: BTreeSet<Role>,
    /// The repository to which hosts push their ledgers, and out of which a bot plans.
    pub ledger: Option<Origin>,
    /// The file with the public keys of the hosts, which sign their ledgers.
    pub hosts: PathBuf,
    /// A host that has not told anything for so long is not planned for.
    pub stale: Duration,
    /// How this bot calls itself where several of them decide which one acts.
    pub replica: String,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Keeps this host.
    Agent,
    /// Speaks to the forge, for every host there is; has nothing to do where there is no forge.
    Bot,
}

impl Role {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Agent, Self::Bot];

    /// The word in the settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Bot => "bot",
        }
    }
}

impl Given {
    /// Whether this machine is a host that is kept.
    pub(super) fn has_agent(&self) -> bool {
        let mut roles = self.roles.value.iter();
        roles.any(|it| it.value == Role::Agent.word())
    }
}

impl Check for Given {
    type Value = FleetSettings;

    fn check(&self, checks: &mut Checks<'_>) -> Option<FleetSettings> {
        let problems = &mut *checks.problems;
        let roles = roles(&self.roles, problems);
        let ledger = self.ledger.as_ref().and_then(|it| origin(it, problems));
        let hosts = path(&self.hosts, problems);
        let stale = duration(&self.stale, "stale", 60..=604_800, problems);
        let replica = match &self.name {
            Some(name) => given_name(name, problems),
            None => Some(name_of_its_own(checks.ambient)),
        };
        Some(FleetSettings {
            roles,
            ledger,
            hosts: hosts?,
            stale: stale?,
            replica: replica?,
        })
    }
}

fn roles(words: &At<Vec<At<String>>>, problems: &mut Vec<Problem>) -> BTreeSet<Role> {
    let At { value, place } = words;
    if value.is_empty() {
        problems.push(
            Problem::new(place.clone(), "without a role there is nothing to do")
                .help("leave `roles` out for both"),
        );
    }
    value
        .iter()
        .filter_map(|word| one_of(word, "role", Role::ALL, Role::word, problems))
        .collect()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// What no other bot is called, be it on a machine of the same name.
fn name_of_its_own(ambient: &Ambient) -> String {
    let host = ambient.hostname.bytes().filter(|it| is_plain(*it)).take(60);
    let host: String = host.map(char::from).collect();
    format!("{host}-{}", ambient.process)
}

fn given_name(name: &At<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let At { value, place } = name;
    if (1..=100).contains(&value.len()) && value.bytes().all(is_plain) {
        return Some(value.clone());
    }
    problems.push(
        Problem::new(
            place.clone(),
            format!("`{}` is no name for a bot", value.escape_debug()),
        )
        .help("letters, digits, `-`, `_` and `.`, 100 at most"),
    );
    None
}
