//! The two commands of the roster engine that came before, byte for byte: `validate` and `derive`.
//!
//! Whatever that engine accepts, and our grammars and rules do not refuse, gives the same output here (R10–R20, R25).

pub mod json;
pub mod python;
mod unprintable;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::compat::python::{repr, write_json_string};
use crate::repo::{Person, Roster, Tier, Tiers};

/// The lowest port that an instance gets (R13).
pub const BASE_PORT: u16 = 3773;

/// The first lines of the login map (R18).
const MAP_HEADER: &str = "\
# Generated from roster.yaml by roster_engine.py — DO NOT EDIT BY HAND.
# <authentik_user>=<os_user>; consumed by t3-dispatch.
";

/// What a person means who is in the roster but not in the cluster yet (R11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// An error: the entry must be added first.
    Error,
    /// A warning: onboarding goes on, and the cluster's grant follows.
    Warn,
}

/// What `validate` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    /// What must be mended, in the order of the file; empty means consistent.
    pub errors: Vec<String>,
    /// What is merely pending; always empty with [`Absent::Error`].
    pub warnings: Vec<String>,
}

/// Why a JSON input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is no JSON, or no map.
    #[error("the JSON is not a map of names")]
    Json(#[source] serde_json::Error),
    /// A port is something else than a number from 1 to 65535.
    #[error("the port of '{0}' is not a whole number from 1 to 65535")]
    NoPort(String),
    /// Two people have the same port (R14).
    #[error("'{0}' and '{1}' have the same port {2}; take one of them out of the ports")]
    SharedPort(String, String, u16),
    /// There are more people than ports (R14).
    #[error("no port is left for '{0}': all from {BASE_PORT} to 65535 are in use")]
    NoPortLeft(String),
}

/// Why `derive` stopped.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// The ports cannot be used.
    #[error("the ports cannot be used")]
    Ports(#[from] InputError),
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Write(#[from] fmt::Error),
}

/// Compares tiers with those of the cluster, a JSON map from k8s_user to tier (R10). Admins are not compared: their
/// grant does not come from there. Entries that the roster does not know are nobody's concern.
///
/// # Errors
/// [`InputError`] when the JSON cannot be used. A source that could not be reached must not be passed as an empty map
/// (R12).
pub fn validate(
    roster: &Roster<'_>,
    k8s_users_json: &[u8],
    absent: Absent,
) -> Result<Validation, InputError> {
    let tiers = read_tiers(k8s_users_json)?;
    let mut found = Validation::default();
    for person in &roster.people {
        match compare(person.tier, &person.k8s_user, &tiers) {
            Compared::Same => {}
            Compared::Differs(what) => found.errors.push(format!("{}: {what}", person.os_user)),
            Compared::Absent(what) => match absent {
                Absent::Error => found
                    .errors
                    .push(format!("{}: {what} (add the entry first)", person.os_user)),
                Absent::Warn => found.warnings.push(format!(
                    "{}: {what} (kubectl grant pending — add the entry)",
                    person.os_user
                )),
            },
        }
    }
    Ok(found)
}

/// Reads the cluster's map from k8s_user to tier. An entry that is `null` is none; one that is no text is no tier of
/// ours, and is shown as the former engine showed it.
///
/// # Errors
/// [`InputError`] when it is no such map.
pub fn read_tiers(k8s_users_json: &[u8]) -> Result<BTreeMap<String, String>, InputError> {
    use serde_json::Value::{Bool, Null, String as Text};
    let raw: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(k8s_users_json).map_err(InputError::Json)?;
    let shown = raw
        .into_iter()
        .filter(|(_, tier)| *tier != Null)
        .map(|(user, tier)| match tier {
            Text(tier) => (user, tier),
            Bool(true) => (user, "True".to_owned()),
            Bool(false) => (user, "False".to_owned()),
            other => (user, other.to_string()),
        });
    Ok(shown.collect())
}

/// How one person's tier stands to the cluster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// As in the roster; or not compared, for an admin.
    Same,
    /// Another one there.
    Differs(TierDiffers),
    /// The cluster does not know the person; what to do about it is for the caller to add.
    Absent(TierAbsent),
}

/// That the cluster has another tier for a person than the roster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TierDiffers {
    tier: Tier,
    found: String,
    k8s_user: String,
}

/// That the cluster does not know a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TierAbsent {
    tier: Tier,
    k8s_user: String,
}

impl fmt::Display for TierDiffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tier, found, key) = (self.tier, &self.found, repr(&self.k8s_user));
        write!(f, "roster tier {tier} != k8s_users tier {found} for {key}")
    }
}

impl fmt::Display for TierAbsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tier, key) = (self.tier, repr(&self.k8s_user));
        write!(f, "tier {tier} but k8s_user {key} absent from k8s_users")
    }
}

/// Compares one person's tier with the cluster's (R10).
pub fn compare(tier: Tier, k8s_user: &str, tiers: &BTreeMap<String, String>) -> Compared {
    if tier == Tier::Admin {
        return Compared::Same;
    }
    match tiers.get(k8s_user) {
        Some(actual) if actual == tier.as_str() => Compared::Same,
        Some(actual) => Compared::Differs(TierDiffers {
            tier,
            found: actual.clone(),
            k8s_user: k8s_user.to_owned(),
        }),
        None => Compared::Absent(TierAbsent {
            tier,
            k8s_user: k8s_user.to_owned(),
        }),
    }
}

/// Writes what a host must have, as JSON: accounts, dispatch, ports and the login map (R13–R20).
///
/// `ports_json` maps os_users to the ports that they have. They keep them; new people get the lowest free ones, in the
/// order of their names. Nothing is written unless the ports can be used.
///
/// # Errors
/// [`DeriveError`] when the ports cannot be used, or `out` fails.
pub fn derive(
    roster: &Roster<'_>,
    ports_json: &[u8],
    out: &mut impl Write,
) -> Result<(), DeriveError> {
    let ports = assign_ports(roster, ports_json)?;
    let tiers = Tiers::default();
    out.write_str("{\n  \"accounts\": ")?;
    write_object(out, roster.sorted(), |out, person| {
        write_account(out, person, &tiers)
    })?;

    let mut by_login: Vec<(&Person<'_>, u16)> =
        roster.sorted().zip(ports.iter().copied()).collect();
    by_login.sort_unstable_by(|a, b| a.0.authentik_user.cmp(&b.0.authentik_user));
    out.write_str(",\n  \"dispatch\": ")?;
    write_object(out, by_login.iter(), |out, (person, port)| {
        write_json_string(out, &person.authentik_user)?;
        out.write_str(": {\n      \"os_user\": ")?;
        write_json_string(out, &person.os_user)?;
        write!(out, ",\n      \"port\": {port}\n    }}")
    })?;

    out.write_str(",\n  \"ports\": ")?;
    write_object(out, roster.sorted().zip(&ports), |out, (person, port)| {
        write_json_string(out, &person.os_user)?;
        write!(out, ": {port}")
    })?;

    // No two people share a port, so no second key is needed.
    let mut by_port = by_login;
    by_port.sort_unstable_by_key(|(_, port)| *port);
    out.write_str(",\n  \"ttyd_user_map\": ")?;
    write_map(out, by_port.iter().map(|(person, _)| *person))?;
    out.write_str("\n}\n")?;
    Ok(())
}

fn write_account(out: &mut impl Write, person: &Person<'_>, tiers: &Tiers) -> fmt::Result {
    let grant = tiers.get(person.tier);
    write_json_string(out, &person.os_user)?;
    out.write_str(": {\n      \"groups\": [")?;
    for (i, group) in grant.groups.iter().enumerate() {
        out.write_str(if i == 0 { "\n        " } else { ",\n        " })?;
        write_json_string(out, group)?;
    }
    out.write_str(if grant.groups.is_empty() {
        "]"
    } else {
        "\n      ]"
    })?;
    out.write_str(",\n      \"login_locked\": true,\n      \"os_user\": ")?;
    write_json_string(out, &person.os_user)?;
    out.write_str(",\n      \"shell\": ")?;
    write_json_string(out, &grant.shell)?;
    out.write_str(",\n      \"tier\": ")?;
    write_json_string(out, person.tier.as_str())?;
    out.write_str("\n    }")
}

/// Writes a JSON object one level deep; `write` writes each key with its value.
fn write_object<W: Write, T>(
    out: &mut W,
    entries: impl Iterator<Item = T>,
    write: impl Fn(&mut W, T) -> fmt::Result,
) -> fmt::Result {
    out.write_char('{')?;
    let mut is_empty = true;
    for entry in entries {
        out.write_str(if is_empty { "\n    " } else { ",\n    " })?;
        write(out, entry)?;
        is_empty = false;
    }
    out.write_str(if is_empty { "}" } else { "\n  }" })
}

/// Writes the login map as one JSON string, line by line (R18). Names have nothing in them that JSON escapes.
fn write_map<'p>(
    out: &mut impl Write,
    people: impl ExactSizeIterator<Item = &'p Person<'p>>,
) -> fmt::Result {
    let mut header = String::new();
    write_json_string(&mut header, MAP_HEADER)?;
    out.write_str(header.trim_end_matches('"'))?;
    // Even without people the text has a last, empty line.
    if people.len() == 0 {
        out.write_str("\\n")?;
    }
    for person in people {
        write!(out, "{}={}\\n", person.authentik_user, person.os_user)?;
    }
    out.write_char('"')
}

/// The ports of everybody, in the order of [`Roster::sorted`] (R13, R14).
fn assign_ports(roster: &Roster<'_>, ports_json: &[u8]) -> Result<Vec<u16>, InputError> {
    let existing: PortMap<'_> = serde_json::from_slice(ports_json).map_err(InputError::Json)?;
    let mut owners: BTreeMap<u16, &str> = BTreeMap::new();
    let mut ports: Vec<Option<u16>> = Vec::with_capacity(roster.people.len());
    for person in roster.sorted() {
        let port = match existing.0.get(&*person.os_user) {
            None => None,
            Some(Port(None)) => return Err(InputError::NoPort(person.os_user.to_string())),
            Some(Port(Some(port))) => {
                if let Some(owner) = owners.insert(*port, &person.os_user) {
                    return Err(InputError::SharedPort(
                        owner.to_owned(),
                        person.os_user.to_string(),
                        *port,
                    ));
                }
                Some(*port)
            }
        };
        ports.push(port);
    }
    let used: BTreeSet<u16> = owners.into_keys().collect();
    let mut free = (BASE_PORT..=u16::MAX).filter(|port| !used.contains(port));
    let placed = ports.into_iter().zip(roster.sorted());
    placed
        .map(|(port, person)| {
            port.or_else(|| free.next())
                .ok_or_else(|| InputError::NoPortLeft(person.os_user.to_string()))
        })
        .collect()
}

/// Ports by os_user. Of a key that is there twice the last counts, as it does in Python.
#[derive(serde::Deserialize)]
struct PortMap<'a>(#[serde(borrow)] BTreeMap<std::borrow::Cow<'a, str>, Port>);

/// A port, or `None` for whatever else stands there: entries that the roster does not know may hold anything.
struct Port(Option<u16>);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortVisitor)
    }
}

struct PortVisitor;

impl<'de> Visitor<'de> for PortVisitor {
    type Value = Port;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Port, E> {
        Ok(Port(u16::try_from(value).ok().filter(|port| *port > 0)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Port, E> {
        Ok(Port(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Port, E> {
        Ok(Port(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Port, E> {
        Ok(Port(None))
    }

    fn visit_unit<E>(self) -> Result<Port, E> {
        Ok(Port(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Port, E> {
        Ok(Port(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Port, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Port(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Port, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Port(None))
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::repo::read_roster;

    const G1: &str = "\
users:
  zed: {authentik_user: z.ed, k8s_user: zed, tier: admin}
  alice: {authentik_user: al.i, k8s_user: ali, tier: power-user}
  bob: {authentik_user: bob7, k8s_user: bobk, tier: namespace-owner, namespaces: [n2, n1]}
";

    fn derived(text: &str, ports: &str) -> Result<String, DeriveError> {
        let (roster, _) = read_roster("roster.yaml", text.as_bytes()).unwrap();
        let mut out = String::new();
        derive(&roster, ports.as_bytes(), &mut out).map(|()| out)
    }

    fn validated(k8s_users: &str, absent: Absent) -> Validation {
        let (roster, _) = read_roster("roster.yaml", G1.as_bytes()).unwrap();
        validate(&roster, k8s_users.as_bytes(), absent).unwrap()
    }

    #[test]
    fn the_golden_output_is_kept() {
        let out = derived(G1, "{\"zed\": 3774}").unwrap();
        assert_eq!(out.len(), 1001, "{out}");
        let digest = crate::bytes::hex(&Sha256::digest(out.as_bytes()));
        assert_eq!(
            digest,
            "6ca7f66aadf4729388e9248411e1b023c62d86b75a69b79564516fa9f63bed59"
        );
    }

    #[test]
    fn nobody_is_an_output_too() {
        let map = "# Generated from roster.yaml by roster_engine.py \\u2014 DO NOT EDIT BY HAND.\\n# <authentik_user>=<os_user>; consumed by t3-dispatch.\\n\\n";
        let expected = format!(
            "{{\n  \"accounts\": {{}},\n  \"dispatch\": {{}},\n  \"ports\": {{}},\n  \"ttyd_user_map\": \"{map}\"\n}}\n"
        );
        assert_eq!(
            derived("users: {}\n", "{\"gone\": \"x\"}").unwrap(),
            expected
        );
    }

    #[test]
    fn ports_that_cannot_be_kept_are_errors() {
        for (ports, expected) in [
            (
                "{\"zed\": 4000, \"alice\": 4000}",
                "'alice' and 'zed' have the same port 4000; take one of them out of the ports",
            ),
            (
                "{\"zed\": 65536}",
                "the port of 'zed' is not a whole number from 1 to 65535",
            ),
            (
                "{\"zed\": 0}",
                "the port of 'zed' is not a whole number from 1 to 65535",
            ),
            (
                "{\"zed\": -1}",
                "the port of 'zed' is not a whole number from 1 to 65535",
            ),
            (
                "{\"zed\": 3773.0}",
                "the port of 'zed' is not a whole number from 1 to 65535",
            ),
            (
                "{\"zed\": true}",
                "the port of 'zed' is not a whole number from 1 to 65535",
            ),
            (
                "{\"zed\": null}",
                "the port of 'zed' is not a whole number from 1 to 65535",
            ),
            (
                "{\"zed\": \"3773\"}",
                "the port of 'zed' is not a whole number from 1 to 65535",
            ),
            (
                "{\"zed\": 99999999999999999999999}",
                "the port of 'zed' is not a whole number from 1 to 65535",
            ),
            ("[]", "the JSON is not a map of names"),
            ("{", "the JSON is not a map of names"),
        ] {
            match derived(G1, ports) {
                Err(DeriveError::Ports(error)) => {
                    assert_eq!(error.to_string(), expected, "{ports}")
                }
                other => panic!("{ports}: {other:?}"),
            }
        }
    }

    #[test]
    fn ports_are_kept_and_gaps_are_filled_in_the_order_of_names() {
        let ports =
            "{\"gone\": 3773, \"zed\": 1, \"zed\": 3774, \"x\": [1, {\"a\": 1e999}], \"y\": {}}";
        let ports = ports.replace("1e999", "1.5");
        let out: serde_json::Value = serde_json::from_str(&derived(G1, &ports).unwrap()).unwrap();
        assert_eq!(
            out["ports"],
            serde_json::json!({ "alice": 3773, "bob": 3775, "zed": 3774 })
        );
    }

    #[test]
    fn there_are_no_ports_beyond_the_last() {
        let rows = |count: usize| -> String {
            let row = |i: usize| {
                format!("  u{i}: {{authentik_user: a{i}, k8s_user: k{i}, tier: admin}}\n")
            };
            format!("users:\n{}", (0..count).map(row).collect::<String>())
        };
        let all = usize::from(u16::MAX - BASE_PORT) + 1;
        assert!(derived(&rows(all), "{}").is_ok());
        assert!(matches!(
            derived(&rows(all + 1), "{}"),
            Err(DeriveError::Ports(InputError::NoPortLeft(_)))
        ));
    }

    /// R10.
    #[test]
    fn tiers_that_differ_are_errors() {
        let found = validated(
            "{\"ali\": \"namespace-owner\", \"stranger\": 7}",
            Absent::Error,
        );
        assert_eq!(
            found.errors,
            [
                "alice: roster tier power-user != k8s_users tier namespace-owner for 'ali'",
                "bob: tier namespace-owner but k8s_user 'bobk' absent from k8s_users (add the entry first)",
            ]
        );
        assert_eq!(
            validated(
                "{\"ali\": \"power-user\", \"bobk\": \"namespace-owner\"}",
                Absent::Error
            ),
            Validation::default()
        );
    }

    /// R11.
    #[test]
    fn who_is_absent_may_be_pending() {
        let found = validated("{\"ali\": \"admin\", \"bobk\": null}", Absent::Warn);
        assert_eq!(
            found.errors,
            ["alice: roster tier power-user != k8s_users tier admin for 'ali'"]
        );
        let pending = "bob: tier namespace-owner but k8s_user 'bobk' absent from k8s_users (kubectl grant pending — add the entry)";
        assert_eq!(found.warnings, [pending]);
    }

    #[test]
    fn a_tier_that_is_no_text_is_another_tier_and_a_list_is_no_map() {
        let found = validated("{\"ali\": 1, \"bobk\": true, \"nobody\": []}", Absent::Warn);
        assert_eq!(
            found.errors,
            [
                "alice: roster tier power-user != k8s_users tier 1 for 'ali'",
                "bob: roster tier namespace-owner != k8s_users tier True for 'bobk'"
            ]
        );
        let (roster, _) = read_roster("roster.yaml", G1.as_bytes()).unwrap();
        assert!(matches!(
            validate(&roster, b"[]", Absent::Warn),
            Err(InputError::Json(_))
        ));
    }
}
