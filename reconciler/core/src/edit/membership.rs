//! Follows the members of one group of the identity provider (R30): the group says who there is, the roster what they get.
//!
//! The group is given as JSON, either `{"name": "…", "members": ["…", …]}` or a list with exactly one such object. A
//! member is a login or an e-mail address, whose local part is the login.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::Deserialize;

use super::{Change, EditError, NewPerson, apply, dated, read};
use crate::repo::names::{IDENTITY, NAMESPACE, OS_USER, is_reserved, is_reserved_namespace};
use crate::repo::{CodeLayout, Person, Roster, Tier};

/// The members of one group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// The group's name, for notes.
    pub name: String,
    /// Logins or e-mail addresses.
    pub members: Vec<String>,
}

/// Why a list of members is not acted on: a failure to read must not look like an empty group.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// It is no JSON of the expected shape.
    #[error("the group is not JSON with a name and members")]
    Json(#[source] serde_json::Error),
    /// Not exactly one group.
    #[error("exactly one group is expected, not {0}")]
    Count(usize),
    /// Nobody in it.
    #[error(
        "the group '{0}' has no members; a group that could not be read must not look like that, so nothing is done"
    )]
    Empty(String),
}

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The os_users of new rows.
    pub provisioned: Vec<String>,
    /// The os_users of rows that are comments now.
    pub commented: Vec<String>,
    /// Admins who are no members; they stay.
    pub protected: Vec<String>,
    /// Members for whom a person has to decide.
    pub conflicts: Vec<Conflict>,
}

/// A member who gets no row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// As the group has it.
    pub member: String,
    /// Why.
    pub reason: String,
}

/// Reads the JSON of a group.
///
/// # Errors
/// [`GroupError`], unless it is exactly one group with at least one member.
pub fn read_group(json: &[u8]) -> Result<Group, GroupError> {
    let value: serde_json::Value = serde_json::from_slice(json).map_err(GroupError::Json)?;
    let one = match value {
        serde_json::Value::Array(groups) => match <[serde_json::Value; 1]>::try_from(groups) {
            Ok([group]) => group,
            Err(groups) => return Err(GroupError::Count(groups.len())),
        },
        value => value,
    };
    let group: Group = serde_json::from_value(one).map_err(GroupError::Json)?;
    if group.members.is_empty() {
        Err(GroupError::Empty(group.name))
    } else {
        Ok(group)
    }
}

/// Adds a floor row for each member without one, and comments out the rows of those who left. Admins never leave by this
/// way, and whatever is ambiguous is reported and left alone.
///
/// # Errors
/// [`EditError`] when the roster cannot be edited; nothing is changed then.
pub fn sync(text: &str, group: &Group, today: Date) -> Result<(String, Report), EditError> {
    let roster = read(text).map_err(EditError::Roster)?;
    let logins: BTreeMap<String, &Person<'_>> = roster
        .people
        .iter()
        .map(|person| (person.authentik_user.to_ascii_lowercase(), person))
        .collect();
    let row_of = |member: &str| {
        let login = |name: &str| logins.get(&name.to_ascii_lowercase()).copied();
        login(member).or_else(|| login(local_part(member)))
    };

    let mut report = Report::default();
    let mut present: BTreeSet<&str> = BTreeSet::new();
    let mut newcomers: Vec<Newcomer<'_>> = Vec::new();
    for member in group.members.iter().collect::<BTreeSet<_>>() {
        match row_of(member) {
            Some(person) => {
                present.insert(&person.os_user);
            }
            None => newcomers.push(Newcomer {
                member,
                row: floor_row(member),
            }),
        }
    }
    let mut change = Change::default();
    for newcomer in &newcomers {
        match conflict(&roster, newcomer, &newcomers) {
            Some(reason) => report.conflicts.push(Conflict {
                member: newcomer.member.to_owned(),
                reason,
            }),
            None => change.joining.push(newcomer.row.clone()),
        }
    }
    for person in roster
        .people
        .iter()
        .filter(|person| !present.contains(&*person.os_user))
    {
        if person.tier == Tier::Admin {
            report.protected.push(person.os_user.to_string());
        } else {
            report.commented.push(person.os_user.to_string());
            change.leaving.insert(
                person.os_user.to_string(),
                dated(&format!("left the group {}", group.name), today),
            );
        }
    }
    report.provisioned = change
        .joining
        .iter()
        .map(|row| row.os_user.clone())
        .collect();
    if change.joining.is_empty() && change.leaving.is_empty() {
        return Ok((text.to_owned(), report));
    }
    Ok((apply(text, &change)?, report))
}

/// A member without a row, and the row to be.
struct Newcomer<'m> {
    member: &'m str,
    row: NewPerson,
}

/// The least that a member gets.
fn floor_row(member: &str) -> NewPerson {
    let login = local_part(member);
    let os_user = os_name(login);
    NewPerson {
        authentik_user: login.to_owned(),
        k8s_user: os_user.clone(),
        tier: Tier::NamespaceOwner,
        // A namespace cannot have an underscore, nor a dash at its end.
        namespaces: vec![os_user.replace('_', "-").trim_end_matches('-').to_owned()],
        code_layout: CodeLayout::Workspace,
        os_user,
    }
}

/// Why this newcomer cannot simply be given a row.
fn conflict(roster: &Roster<'_>, newcomer: &Newcomer<'_>, all: &[Newcomer<'_>]) -> Option<String> {
    let NewPerson {
        os_user,
        authentik_user,
        k8s_user,
        namespaces,
        ..
    } = &newcomer.row;
    if !(IDENTITY.accepts)(authentik_user) {
        return Some(format!("its login is not {}", IDENTITY.about));
    }
    if !(OS_USER.accepts)(os_user) || is_reserved(os_user) {
        return Some(format!(
            "the account name '{os_user}' belongs to the system"
        ));
    }
    let clash = |other: &Newcomer<'_>| {
        let NewPerson {
            os_user: name,
            authentik_user: login,
            namespaces: others,
            ..
        } = &other.row;
        other.member != newcomer.member
            && (name == os_user
                || login.eq_ignore_ascii_case(authentik_user)
                || others == namespaces)
    };
    if let Some(other) = all.iter().find(|other| clash(other)) {
        return Some(format!(
            "'{}' would get the same account or namespace",
            other.member
        ));
    }
    if let Some(person) = roster.get(os_user) {
        return Some(format!(
            "the account name '{os_user}' belongs to the login '{}'",
            person.authentik_user
        ));
    }
    let has_key = |person: &&Person<'_>| person.k8s_user.eq_ignore_ascii_case(k8s_user);
    if let Some(person) = roster.people.iter().find(has_key) {
        return Some(format!(
            "the k8s_user '{k8s_user}' belongs to '{}'",
            person.os_user
        ));
    }
    let namespace = namespaces.first()?;
    if !(NAMESPACE.accepts)(namespace) || is_reserved_namespace(namespace) {
        return Some(format!(
            "the namespace '{namespace}' belongs to the cluster"
        ));
    }
    let owner = roster
        .people
        .iter()
        .find(|person| person.namespaces.iter().any(|name| name == namespace));
    owner.map(|person| {
        format!(
            "the namespace '{namespace}' belongs to '{}'",
            person.os_user
        )
    })
}

fn local_part(member: &str) -> &str {
    member.split('@').next().unwrap_or(member)
}

/// The account name of a login: lower case, everything unusual an underscore, `u` in front of what is no letter.
pub fn os_name(login: &str) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_' | '-') => c,
        _ => '_',
    };
    let name: String = login.chars().map(plain).collect();
    let name = if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name
    } else {
        format!("u{name}")
    };
    name.chars().take(31).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Date = jiff::civil::date(2026, 11, 22);

    const ROSTER: &str = "\
users:
  boss: {authentik_user: the.boss, k8s_user: boss, tier: admin}
  bob: {authentik_user: bob7, k8s_user: bobk, tier: namespace-owner, namespaces: [n1]}
  eve: {authentik_user: Eve@example.org, k8s_user: eve, tier: power-user}
";

    fn synced(members: &[&str]) -> (String, Report) {
        let members = members.iter().map(|&member| member.to_owned()).collect();
        sync(
            ROSTER,
            &Group {
                name: "staff".into(),
                members,
            },
            TODAY,
        )
        .unwrap()
    }

    #[test]
    fn members_with_rows_change_nothing() {
        let (text, report) = synced(&[
            "the.boss@example.org",
            "BOB7@example.org",
            "eve@example.org",
        ]);
        assert_eq!((text.as_str(), report), (ROSTER, Report::default()));
    }

    #[test]
    fn a_new_member_gets_the_floor() {
        let (text, report) = synced(&["the.boss", "bob7", "eve@example.org", "Ann.B@example.org"]);
        let row = "  ann_b: {authentik_user: Ann.B, k8s_user: ann_b, tier: namespace-owner, namespaces: [ann-b], code_layout: workspace}\n";
        assert_eq!(text, format!("{ROSTER}{row}"));
        assert_eq!(
            report,
            Report {
                provisioned: vec!["ann_b".into()],
                ..Report::default()
            }
        );
    }

    #[test]
    fn who_left_is_commented_out_but_never_an_admin() {
        let (text, report) = synced(&["bob7"]);
        assert!(
            text.contains(
                "  # 2026-11-22: left the group staff\n  # eve: {authentik_user: Eve@example.org, "
            ),
            "{text}"
        );
        assert!(text.contains("\n  boss: {"));
        assert_eq!(report.commented, ["eve"]);
        assert_eq!(report.protected, ["boss"]);
        let again = Group {
            name: "staff".into(),
            members: vec!["bob7".into()],
        };
        assert_eq!(
            sync(&text, &again, TODAY).unwrap().0,
            text,
            "a second sync changes nothing"
        );
    }

    #[test]
    fn whatever_is_ambiguous_is_reported_and_the_rest_lands() {
        let everybody = ["the.boss", "bob7", "eve@example.org"];
        for (newcomers, expected) in [
            (
                &["a.b@x", "a_b@x", "new@x"][..],
                &[
                    "'a_b@x' would get the same account or namespace",
                    "'a.b@x' would get the same account or namespace",
                ][..],
            ),
            (
                &["a-b", "a_b", "new"],
                &[
                    "'a_b' would get the same account or namespace",
                    "'a-b' would get the same account or namespace",
                ],
            ),
            (
                &["k@x", "k@y", "new"],
                &[
                    "'k@y' would get the same account or namespace",
                    "'k@x' would get the same account or namespace",
                ],
            ),
            (
                &["bob@x", "new"],
                &["the account name 'bob' belongs to the login 'bob7'"],
            ),
            (
                &["bobk@x", "new"],
                &["the k8s_user 'bobk' belongs to 'bob'"],
            ),
            (&["n1@x", "new"], &["the namespace 'n1' belongs to 'bob'"]),
            (
                &["root@x", "new"],
                &["the account name 'root' belongs to the system"],
            ),
            (
                &["default", "new"],
                &["the namespace 'default' belongs to the cluster"],
            ),
            (
                &["@x", "new"],
                &[
                    "its login is not a login of ASCII letters, digits and . _ @ + -, at most 254 characters, starting with a letter or digit",
                ],
            ),
            (
                &["é", "new"],
                &[
                    "its login is not a login of ASCII letters, digits and . _ @ + -, at most 254 characters, starting with a letter or digit",
                ],
            ),
        ] {
            let members: Vec<&str> = everybody.iter().chain(newcomers).copied().collect();
            let (text, report) = synced(&members);
            let reasons: Vec<&str> = report
                .conflicts
                .iter()
                .map(|conflict| conflict.reason.as_str())
                .collect();
            assert_eq!(reasons, expected, "{newcomers:?}");
            assert_eq!(report.provisioned, ["new"], "{newcomers:?}");
            assert!(text.contains("\n  new: {"));
        }
    }

    #[test]
    fn account_names_are_derived() {
        for (login, name) in [
            ("Ann.B", "ann_b"),
            ("7up", "u7up"),
            ("_x", "u_x"),
            ("a-b", "a-b"),
            ("é", "u_"),
            ("x".repeat(40).as_str(), "x".repeat(31).as_str()),
        ] {
            assert_eq!(os_name(login), name);
        }
    }

    #[test]
    fn a_failed_reading_does_not_look_like_an_empty_group() {
        let group = Group {
            name: "staff".into(),
            members: vec!["a".into()],
        };
        for json in [
            "{\"name\": \"staff\", \"members\": [\"a\"]}",
            "[{\"name\": \"staff\", \"members\": [\"a\"], \"pk\": 1}]",
        ] {
            assert_eq!(read_group(json.as_bytes()).unwrap(), group);
        }
        for json in ["[]", "[{}, {}]"] {
            assert!(
                matches!(read_group(json.as_bytes()), Err(GroupError::Count(_))),
                "{json}"
            );
        }
        assert!(matches!(
            read_group(b"{\"name\": \"staff\", \"members\": []}"),
            Err(GroupError::Empty(_))
        ));
        for json in [
            "",
            "null",
            "{}",
            "{\"name\": \"staff\"}",
            "{\"name\": \"staff\", \"members\": [1]}",
            "[7]",
        ] {
            assert!(
                matches!(read_group(json.as_bytes()), Err(GroupError::Json(_))),
                "{json}"
            );
        }
    }
}
