//! Writes a first roster from the accounts that a host has.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::diagnostic::visible;
use crate::repo::Tier;
use crate::repo::checks::is_person_uid;
use crate::repo::names::{NAMESPACE, OS_USER, is_reserved, is_reserved_namespace};
use crate::yaml::scalar;

/// An account as a host has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedAccount {
    /// Its name.
    pub name: String,
    /// Its numeric id.
    pub uid: u32,
    /// Its supplementary groups.
    pub groups: Vec<String>,
}

const HEADER: &str = "\
# Made from the accounts of a host. Before it is used, edit for each person:
#   authentik_user  the login at the identity provider (now the account's name)
#   k8s_user        the key in the cluster (now the account's name)
#   tier            admin, power-user or namespace-owner (now admin where the account is in sudo)
#   namespaces      what a namespace-owner owns
# adopt takes an account over as it is: password, shell, groups and keys stay until a step that the plan shows by itself
# changes them. Each adoption waits for a signed release. Take out the rows of accounts that muster shall not touch.
";

/// Writes a roster that adopts `accounts`, in the given order. Accounts that cannot be people are named in comments.
pub fn import_passwd(accounts: &[ImportedAccount]) -> String {
    let (mut out, mut rows) = (HEADER.to_owned(), String::new());
    let mut names = BTreeSet::new();
    for account in accounts {
        let twice = || {
            names
                .contains(&*account.name)
                .then(|| "the name is there twice".to_owned())
        };
        if let Some(reason) = reason_to_leave_out(account).or_else(twice) {
            let _ = writeln!(
                out,
                "# left out: {} (uid {}): {reason}",
                visible(&account.name),
                account.uid
            );
        } else {
            names.insert(&*account.name);
            rows.push_str(&row(account));
        }
    }
    out.push_str(if rows.is_empty() {
        "users: {}\n"
    } else {
        "users:\n"
    });
    out + &rows
}

fn row(ImportedAccount { name, uid, groups }: &ImportedAccount) -> String {
    let tier = if groups.iter().any(|group| group == "sudo") {
        Tier::Admin
    } else {
        Tier::NamespaceOwner
    };
    let key = value(name);
    let mut row =
        format!("  {key}:\n    authentik_user: {key}\n    k8s_user: {key}\n    tier: {tier}\n");
    if tier == Tier::NamespaceOwner {
        let _ = writeln!(row, "    namespaces: [{}]", value(&namespace(name)));
    }
    row + &format!("    adopt: {{uid: {uid}}}\n")
}

/// A value as YAML writes it. serde_yaml leaves some words bare that readers of YAML 1.1 take for booleans.
fn value(text: &str) -> String {
    match serde_yaml::to_string(text) {
        Ok(plain) if scalar::taken_for(text).is_none() => plain.trim_end().to_owned(),
        _ => serde_json::Value::from(text).to_string(),
    }
}

/// A namespace cannot have an underscore, nor a dash at its end.
fn namespace(name: &str) -> String {
    name.replace('_', "-").trim_end_matches('-').to_owned()
}

fn reason_to_leave_out(
    ImportedAccount {
        name,
        uid,
        groups: _,
    }: &ImportedAccount,
) -> Option<String> {
    if is_reserved(name) {
        Some("the name belongs to the system".to_owned())
    } else if !(OS_USER.accepts)(name) {
        Some(format!("the name is not {}", OS_USER.about))
    } else if !is_person_uid(*uid) {
        Some("no person has such a uid".to_owned())
    } else if !(NAMESPACE.accepts)(&namespace(name)) || is_reserved_namespace(name) {
        Some("the name cannot be a namespace".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::read_roster;

    fn account(name: &str, uid: u32, groups: &[&str]) -> ImportedAccount {
        ImportedAccount {
            name: name.into(),
            uid,
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
        }
    }

    #[test]
    fn an_imported_roster_reads_back() {
        let text = import_passwd(&[
            account("zed", 1001, &["docker", "sudo"]),
            account("ann_b", 1000, &[]),
        ]);
        let (roster, warnings) = read_roster("roster.yaml", text.as_bytes()).unwrap();
        assert!(warnings.is_empty());
        let (zed, ann) = (&roster.people[0], &roster.people[1]);
        assert_eq!(
            (zed.tier, zed.adopt(), zed.namespaces.len()),
            (Tier::Admin, Some(1001), 0)
        );
        assert_eq!(
            (ann.tier, ann.adopt(), &ann.namespaces[..]),
            (Tier::NamespaceOwner, Some(1000), &["ann-b".into()][..])
        );
        assert!(text.starts_with(HEADER));
    }

    #[test]
    fn names_that_yaml_would_take_for_something_else_read_back() {
        let names = [
            "no", "yes", "on", "off", "y", "n", "t", "f", "true", "null", "inf", "nan", "nul", "e1",
        ];
        let accounts: Vec<_> = (1000..)
            .zip(names)
            .map(|(uid, name)| account(name, uid, &[]))
            .collect();
        let text = import_passwd(&accounts);
        let found =
            read_roster("roster.yaml", text.as_bytes()).map(|(roster, _)| roster.people.len());
        assert_eq!(
            found.unwrap_or_else(|found| panic!("{:?}", found.iter().collect::<Vec<_>>())),
            names.len()
        );
    }

    #[test]
    fn accounts_that_cannot_be_people_are_named() {
        let text = import_passwd(&[
            account("root", 0, &[]),
            account("Ann\n", 1000, &[]),
            account("x", 65534, &[]),
            account("default", 1000, &[]),
        ]);
        assert_eq!(text.matches("# left out: ").count(), 4, "{text}");
        assert!(text.ends_with("users: {}\n"), "{text}");
        assert!(
            read_roster("roster.yaml", text.as_bytes())
                .unwrap()
                .0
                .people
                .is_empty()
        );
    }
}
