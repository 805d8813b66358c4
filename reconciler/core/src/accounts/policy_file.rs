//! What a host's administrator decided, as a file of its ledger.
//!
//! It is the host's own word, written by root there and signed with the host's key; nothing of a state repository is in it
//! (invariant 3). The executor itself never reads it back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::accounts::policy::{Aggregate, Passwords, Policy, PortFamily, ROOT_EQUIVALENT_GROUPS};
use crate::accounts::verbs::Verb;
use crate::executor::Executor;
use crate::limits::Limits;
use crate::verb::Reach;

/// The format this version writes.
pub(crate) const FORMAT: u32 = 1;

/// Why such a file cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It is not what was written.
    Malformed(serde_json::Error),
    /// It declares a verb benign that no setting can.
    NotDeclarable(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    executor: Executor,
    shells: BTreeSet<String>,
    privileged_groups: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_group: Option<String>,
    units: Vec<String>,
    families: Vec<Family>,
    environment: bool,
    aggregates: BTreeSet<Aggregate>,
    limits: Bounds,
    declared_benign: BTreeSet<Verb>,
    nologin: String,
    grace_days: u32,
    /// Versions before this key was known locked them all, so that is what a file without it says. They refuse a file with it,
    /// and so they should: they would tell of locks that the host does not ask for.
    #[serde(default = "locked", skip_serializing_if = "Passwords::is_lock")]
    passwords: Passwords,
    protected: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    shared_primary_groups: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    name: String,
    first: u16,
    last: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    removals: usize,
    share: usize,
    min_admins: usize,
    retry_after: u32,
}

fn locked() -> Passwords {
    Passwords::Lock
}

impl Passwords {
    fn is_lock(&self) -> bool {
        *self == Self::Lock
    }
}

/// The file.
pub(crate) fn to_bytes(policy: &Policy) -> Vec<u8> {
    let Policy {
        executor,
        shells,
        privileged_groups,
        service_group,
        units,
        families,
        environment,
        aggregates,
        limits,
        declared_benign,
        nologin,
        grace_days,
        passwords,
        protected,
        shared_primary_groups,
    } = policy;
    let Limits {
        removals,
        share,
        min_admins,
        retry_after,
    } = *limits;
    let family = |it: &PortFamily| Family {
        name: it.name.clone(),
        first: it.first,
        last: it.last,
    };
    let wire = Wire {
        format: FORMAT,
        executor: executor.clone(),
        shells: shells.clone(),
        privileged_groups: privileged_groups.clone(),
        service_group: service_group.clone(),
        units: units.clone(),
        families: families.iter().map(family).collect(),
        environment: *environment,
        aggregates: aggregates.clone(),
        limits: Bounds {
            removals,
            share,
            min_admins,
            retry_after,
        },
        declared_benign: declared_benign.clone(),
        nologin: nologin.clone(),
        grace_days: *grace_days,
        passwords: *passwords,
        protected: protected.clone(),
        shared_primary_groups: shared_primary_groups.clone(),
    };
    let mut text = serde_json::to_vec_pretty(&wire).expect("plain records always serialise");
    text.push(b'\n');
    text
}

/// Reads the file. Groups that this version knows to be as good as root are always among the privileged ones.
///
/// # Errors
/// When it is of a newer format, not what was written, of an executor that cannot be, or declares benign what nobody can.
pub(crate) fn read(bytes: &[u8]) -> Result<Policy, Unusable> {
    let Wire {
        format: _,
        executor,
        shells,
        mut privileged_groups,
        service_group,
        units,
        families,
        environment,
        aggregates,
        limits,
        declared_benign,
        nologin,
        grace_days,
        passwords,
        protected,
        shared_primary_groups,
    } = serde_json::from_slice(bytes).map_err(Unusable::Malformed)?;
    if let Some(kind) = declared_benign
        .iter()
        .find(|it| it.row().reach != Reach::Declarable)
    {
        return Err(Unusable::NotDeclarable(kind.word()));
    }
    privileged_groups.extend(ROOT_EQUIVALENT_GROUPS.map(str::to_owned));
    let Bounds {
        removals,
        share,
        min_admins,
        retry_after,
    } = limits;
    let family = |it: Family| PortFamily {
        name: it.name,
        first: it.first,
        last: it.last,
    };
    Ok(Policy {
        executor,
        shells,
        privileged_groups,
        service_group,
        units,
        families: families.into_iter().map(family).collect(),
        environment,
        aggregates,
        limits: Limits {
            removals,
            share,
            min_admins,
            retry_after,
        },
        declared_benign,
        nologin,
        grace_days,
        passwords,
        protected,
        shared_primary_groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerError;
    use crate::rooms;

    fn to_bytes(policy: &Policy) -> Vec<u8> {
        crate::ledger::policy::to_bytes(&policy.clone().into())
    }

    fn read(bytes: &[u8]) -> Result<Policy, LedgerError> {
        match crate::ledger::policy::read(bytes)? {
            rooms::Policy::Accounts(policy) => Ok(policy),
            rooms::Policy::Guests(policy) => panic!("{policy:?}"),
        }
    }

    fn policy() -> Policy {
        Policy {
            shells: ["/bin/bash".to_owned()].into(),
            service_group: Some("code".to_owned()),
            units: vec!["t3-serve@.service".to_owned()],
            families: vec![PortFamily {
                name: "t3".to_owned(),
                first: 3_773,
                last: 8_930,
            }],
            environment: true,
            aggregates: Aggregate::ALL.into(),
            limits: Limits {
                removals: 1,
                share: 2,
                min_admins: 3,
                retry_after: 4,
            },
            declared_benign: [Verb::UserAdopt].into(),
            nologin: "/bin/false".to_owned(),
            grace_days: 7,
            protected: ["deploy".to_owned()].into(),
            ..Policy::for_host("devvm.example.org")
        }
    }

    fn changed(from: &str, to: &str) -> Result<Policy, LedgerError> {
        let text = String::from_utf8(to_bytes(&policy())).unwrap();
        assert!(text.contains(from), "{text}");
        read(text.replace(from, to).as_bytes())
    }

    #[test]
    fn what_is_written_is_read() {
        for policy in [policy(), Policy::for_host("devvm")] {
            assert_eq!(read(&to_bytes(&policy)).unwrap(), policy);
        }
        assert_eq!(to_bytes(&policy()), to_bytes(&policy()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (from, to, says) in [
            ("\"format\": 1", "\"format\": 2", "format 2"),
            ("\"units\"", "\"unit\"", "line"),
            ("\"grace_days\": 7", "\"grace_days\": -7", "line"),
            ("host/devvm.example.org", "vm/devvm", "vm/devvm"),
            ("host/devvm.example.org", "host/../devvm", "../devvm"),
            ("host/devvm.example.org", "host/Devvm", "Devvm"),
            ("user.adopt", "user.levitate", "levitate"),
        ] {
            let error = changed(from, to).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let said = format!("{error}: {}", source.unwrap_or_default());
            assert!(said.contains(says), "{to}: {said}");
        }
        assert!(read(b"").is_err());
        assert!(read(b"[]").is_err());
    }

    #[test]
    fn what_no_setting_can_declare_benign_is_refused() {
        let not_declarable = |it: &&Verb| it.row().reach != Reach::Declarable;
        for verb in Verb::ALL.iter().filter(not_declarable) {
            assert!(matches!(
                changed("user.adopt", verb.word()),
                Err(LedgerError::NotDeclarable { verb: it }) if it == verb.word()
            ));
        }
    }

    #[test]
    fn a_group_that_is_as_good_as_root_stays_so() {
        let read = changed("\"docker\",", "").unwrap();
        assert!(read.is_privileged_group("docker"));
    }
}
