//! What each tier gives, and how a host differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::fields::{GRANT, GrantKey, HOST, HostKey, TIERS, TiersKey};
use super::names::{self, did_you_mean};
use super::value::{At, FieldReader, Subject, shape_rules, shown};
use crate::compat::python::repr;
use crate::diagnostic::{Fault, Faults};
use crate::yaml::event::{Event, EventKind, Stop};
use crate::yaml::{self, rules, scalar};

/// What a person is given (R2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Runs the place; becomes root.
    Admin,
    /// Reads everything in the cluster.
    PowerUser,
    /// Owns some namespaces.
    NamespaceOwner,
}

impl Tier {
    /// All tiers, in the order in which messages name them (R2).
    pub const ALL: [Tier; 3] = [Tier::Admin, Tier::PowerUser, Tier::NamespaceOwner];

    /// Their names, in the same order.
    pub const NAMES: [&'static str; 3] = ["admin", "power-user", "namespace-owner"];

    /// As it is written in the roster.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Admin => "admin",
            Tier::PowerUser => "power-user",
            Tier::NamespaceOwner => "namespace-owner",
        }
    }

    /// The tier of that name.
    pub fn from_name(name: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.as_str() == name)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one tier gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Supplementary groups, in the order in which they are shown (R16).
    pub groups: Vec<String>,
    /// Login shell (R15).
    pub shell: String,
    /// Whether each person gets an instance.
    pub instance: bool,
}

/// What each tier gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers {
    /// To admins.
    pub admin: Grant,
    /// To power-users.
    pub power_user: Grant,
    /// To namespace-owners.
    pub namespace_owner: Grant,
}

/// The login shell where nothing else is said (R15).
pub const DEFAULT_SHELL: &str = "/bin/zsh";

impl Default for Tiers {
    /// The built-in tiers (R15, R16).
    fn default() -> Self {
        let grant = |groups: &[&str]| Grant {
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            shell: DEFAULT_SHELL.to_owned(),
            instance: true,
        };
        Self {
            admin: grant(&["code-shared", "docker", "sudo"]),
            power_user: grant(&[]),
            namespace_owner: grant(&[]),
        }
    }
}

impl Tiers {
    /// What `tier` gives.
    pub fn get(&self, tier: Tier) -> &Grant {
        match tier {
            Tier::Admin => &self.admin,
            Tier::PowerUser => &self.power_user,
            Tier::NamespaceOwner => &self.namespace_owner,
        }
    }

    /// The same, with `changes` made.
    #[must_use]
    pub fn changed(mut self, changes: &BTreeMap<Tier, GrantChange>) -> Self {
        for (
            tier,
            GrantChange {
                groups,
                shell,
                instance,
            },
        ) in changes
        {
            let grant = match tier {
                Tier::Admin => &mut self.admin,
                Tier::PowerUser => &mut self.power_user,
                Tier::NamespaceOwner => &mut self.namespace_owner,
            };
            if let Some(groups) = groups {
                grant.groups.clone_from(groups);
            }
            if let Some(shell) = shell {
                grant.shell.clone_from(shell);
            }
            if let Some(instance) = instance {
                grant.instance = *instance;
            }
        }
        self
    }
}

/// Where a file differs from what a tier would give otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantChange {
    /// Other groups, in place of all.
    pub groups: Option<Vec<String>>,
    /// Another shell.
    pub shell: Option<String>,
    /// Whether instances run.
    pub instance: Option<bool>,
}

/// How one host differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFile {
    /// The tiers that it admits; `None` means all, an empty set means nobody.
    pub admits: Option<BTreeSet<Tier>>,
    /// What tiers give there.
    pub tiers: BTreeMap<Tier, GrantChange>,
}

impl HostFile {
    /// Whether this host has people of `tier`.
    pub fn admits(&self, tier: Tier) -> bool {
        self.admits
            .as_ref()
            .is_none_or(|admitted| admitted.contains(&tier))
    }
}

/// Whether somebody in the roster has a name.
pub(super) type IsPerson<'p> = &'p dyn Fn(&str) -> bool;

/// Reads `tiers.yaml`.
pub(super) fn read_tiers(bytes: &[u8], is_person: IsPerson<'_>, faults: &mut Faults) -> Tiers {
    let changes = yaml::read(bytes, faults, |cursor, faults| {
        let mut changes = BTreeMap::new();
        let head = cursor.value()?;
        let mut reading = FieldReader {
            cursor,
            faults,
            subject: Subject::File,
        };
        if !is_empty(&head) {
            reading.fields(&TIERS, 0, &head, |reading, field, value| {
                match field.key {
                    TiersKey::Tiers => {
                        changes = read_changes(reading, field.name, &value, is_person)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(changes)
    });
    Tiers::default().changed(&changes.unwrap_or_default())
}

/// Reads `hosts/<host>.yaml`.
pub(super) fn read_host(bytes: &[u8], is_person: IsPerson<'_>, faults: &mut Faults) -> HostFile {
    let host = yaml::read(bytes, faults, |cursor, faults| {
        let mut host = HostFile::default();
        let head = cursor.value()?;
        let mut reading = FieldReader {
            cursor,
            faults,
            subject: Subject::File,
        };
        if !is_empty(&head) {
            reading.fields(&HOST, 0, &head, |reading, field, value| {
                match field.key {
                    HostKey::Admits => host.admits = read_admits(reading, field.name, &value)?,
                    HostKey::Tiers => {
                        host.tiers = read_changes(reading, field.name, &value, is_person)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(host)
    });
    host.unwrap_or_default()
}

/// Whether a value is one of the ways to say "nothing" (R3).
pub(crate) fn is_empty(head: &Event<'_>) -> bool {
    matches!(&head.kind, EventKind::Scalar { value, plain: true } if scalar::is_null(value))
}

fn read_admits<'a>(
    reading: &mut FieldReader<'_, 'a>,
    field: &str,
    head: &Event<'a>,
) -> Result<Option<BTreeSet<Tier>>, Stop> {
    let mut places = BTreeMap::new();
    let is_list = reading.list(field, head, |reading, item| {
        if let Some(At { value: tier, at }) = read_tier(reading, item)?
            && let Some(first) = places.insert(tier, at)
        {
            reading.repeated(field, tier.as_str(), at, first);
        }
        Ok(())
    })?;
    Ok(is_list.then(|| places.into_keys().collect()))
}

/// Reads the name of a tier (R5).
pub(super) fn read_tier<'a>(
    reading: &mut FieldReader<'_, 'a>,
    head: Event<'a>,
) -> Result<Option<At<Tier>>, Stop> {
    let Some(At { value, at }) = reading.word("tier", head)? else {
        return Ok(None);
    };
    Ok(known_tier(reading, &value, at).map(|value| At { value, at }))
}

fn known_tier(reading: &mut FieldReader<'_, '_>, name: &str, at: u32) -> Option<Tier> {
    let tier = Tier::from_name(name);
    if tier.is_none() {
        let valid: Vec<String> = Tier::NAMES.iter().map(|name| repr(name)).collect();
        let problem = format!(
            "{}unknown tier {} (valid: [{}])",
            reading.subject,
            shown(name),
            valid.join(", ")
        );
        let fault = Fault::error(shape_rules::UNKNOWN_TIER, at, problem);
        reading.faults.add(match did_you_mean(name, Tier::NAMES) {
            Some(meant) => fault.help(format!("did you mean {meant}?")),
            None => fault,
        });
    }
    tier
}

fn read_changes<'a>(
    reading: &mut FieldReader<'_, 'a>,
    field: &str,
    head: &Event<'a>,
    is_person: IsPerson<'_>,
) -> Result<BTreeMap<Tier, GrantChange>, Stop> {
    let mut changes = BTreeMap::new();
    if is_empty(head) {
        return Ok(changes);
    }
    if head.kind != EventKind::MapStart {
        reading.wrong_type(head, field, "a map from tiers to what they give")?;
        return Ok(changes);
    }
    let mut places = BTreeMap::new();
    while let Some((key, value)) = reading.entry()? {
        let Some(tier) = known_tier(reading, &key.text, key.at) else {
            reading.cursor.skip(&value)?;
            continue;
        };
        if let Some(first) = places.insert(tier, key.at) {
            let problem = format!("the tier '{tier}' is there twice");
            reading.faults.add(
                Fault::error(rules::DUPLICATE_KEY, key.at, problem)
                    .first_at(first)
                    .help("take one out"),
            );
        }
        changes.insert(
            tier,
            read_change(
                &mut reading.about(Subject::Tier(tier.as_str())),
                key.at,
                &value,
                is_person,
            )?,
        );
    }
    Ok(changes)
}

fn read_change<'a>(
    reading: &mut FieldReader<'_, 'a>,
    at: u32,
    head: &Event<'a>,
    is_person: IsPerson<'_>,
) -> Result<GrantChange, Stop> {
    let mut change = GrantChange::default();
    reading.fields(&GRANT, at, head, |reading, field, value| {
        match field.key {
            GrantKey::Groups => {
                let own = |group: &str, at| is_person(group).then(|| own_group(group, at));
                let groups = reading.texts_with(field.name, &value, &names::GROUP, own)?;
                change.groups = groups.map(|groups| groups.into_iter().map(String::from).collect());
            }
            GrantKey::Shell => {
                change.shell = reading
                    .text(field.name, value, &names::SHELL)?
                    .map(|shell| shell.value.into())
            }
            GrantKey::Instance => change.instance = reading.bool(field.name, &value)?,
        }
        Ok(())
    })?;
    Ok(change)
}

/// A group of somebody's name is that person's own, wherever the person is.
fn own_group(group: &str, at: u32) -> Fault {
    let problem = format!(
        "group {} is the own group of the person of that name",
        shown(group)
    );
    Fault::error("own-group", at, problem)
        .help("give a group that is nobody's own, or take this one out")
}
