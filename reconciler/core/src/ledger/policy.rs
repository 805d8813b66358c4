//! What an executor's administrator decided, as a file of the ledger: whoever plans for it from elsewhere plans with it.
//!
//! It is the executor's own word, written there by who owns its settings and signed with its key; nothing of a state repository
//! is in it (invariant 3). The executor itself never reads it back.

use super::LedgerError;
use crate::rooms::{self, Policy};

/// Its path in the ledger.
pub const FILE: &str = "policy.json";

/// The file.
pub fn to_bytes(policy: &Policy) -> Vec<u8> {
    rooms::policy_file(policy)
}

/// Reads the file.
///
/// # Errors
/// When it is of a newer format, not what was written, of an executor that cannot be, or declares benign what nobody can.
pub fn read(bytes: &[u8]) -> Result<Policy, LedgerError> {
    let executor = super::executor_of(FILE, bytes, rooms::policy_format)?;
    rooms::read_policy(&executor, bytes).map_err(|unusable| match unusable {
        rooms::Unusable::Malformed(source) => super::malformed(FILE, source),
        rooms::Unusable::NotDeclarable(verb) => LedgerError::NotDeclarable { verb },
        rooms::Unusable::NoRoom => LedgerError::Executor {
            found: executor.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for kind in Verb::FLOOR.into_iter().chain([Verb::HomeCreate]) {
            assert!(matches!(
                changed("user.adopt", kind.word()),
                Err(LedgerError::NotDeclarable { kind: it }) if it == kind
            ));
        }
    }

    #[test]
    fn a_group_that_is_as_good_as_root_stays_so() {
        let read = changed("\"docker\",", "").unwrap();
        assert!(read.is_privileged_group("docker"));
    }
}
