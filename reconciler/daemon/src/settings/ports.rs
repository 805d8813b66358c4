//! `[ports]`: families of ports out of which each person gets one. Its keys are names that the administrator chose, so it
//! has no table; families of several files add up. All of it is policy.

use std::collections::BTreeMap;

use muster_core::accounts::policy::PortFamily;

use super::place::{At, Place, Problem};
use super::section::{Check, Checks, Key, Section, Standing};
use super::table::{Reader, Table};

/// Families of a host that runs instances and names none (R13, R28).
const FAMILIES: [(&str, u16, u16); 2] = [("t3", 3_773, 8_930), ("playwright", 8_931, 14_000)];

/// What stands above them.
const EXPLAINED: &[&str] = &[
    " Where units are named: ranges, first and last port, that must not overlap. A port once given stays with its person for ever.",
];

type Ranges = BTreeMap<String, At<Vec<At<i64>>>>;

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Fragment(Ranges);

/// What all files together say.
#[derive(Debug)]
pub(super) struct Given(Ranges);

impl Section for Fragment {
    type Given = Given;

    fn keys() -> Vec<Key> {
        let comments = std::iter::once(EXPLAINED).chain(std::iter::repeat(&[][..]));
        let families = FAMILIES.into_iter().zip(comments);
        families
            .map(|((name, first, last), explained)| Key {
                name,
                explained,
                shown: format!("[{first}, {last}]"),
                standing: Standing::Usual,
            })
            .collect()
    }

    fn read(table: &mut Table<'_>, reader: &mut Reader<'_>) -> Self {
        Self(table.take_every(reader))
    }

    fn laid_over(self, earlier: Self) -> Self {
        let Self(later) = self;
        Self(earlier.0.into_iter().chain(later).collect())
    }

    fn complete(self) -> Given {
        Given(self.0)
    }
}

impl Check for Given {
    type Value = ();

    fn check(&self, checks: &mut Checks<'_>) -> Option<()> {
        let Self(ranges) = self;
        let runs_instances = checks.inputs.instance.has_units();
        checks.policy.families = if ranges.is_empty() && runs_instances {
            let family = |(name, first, last): (&str, _, _)| PortFamily {
                name: name.to_owned(),
                first,
                last,
            };
            FAMILIES.map(family).into()
        } else {
            families(ranges, runs_instances, checks.problems)
        };
        Some(())
    }
}

/// Families in the order of their first port: a table has no order of its own, and the first family orders the login map.
fn families(ranges: &Ranges, runs_instances: bool, problems: &mut Vec<Problem>) -> Vec<PortFamily> {
    let mut families = Vec::new();
    for (name, range) in ranges {
        if !runs_instances {
            problems.push(
                Problem::new(
                    range.place.clone(),
                    "[ports] is for instances, and [instance] units is empty",
                )
                .help("name the units, or leave [ports] out"),
            );
        }
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let rest = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !(first && rest && name.len() <= 31) {
            problems.push(
                Problem::new(
                    range.place.clone(),
                    format!("`{name}` is no name for a port family"),
                )
                .help("lower-case letters, digits and _, beginning with a letter"),
            );
        }
        if let Some(family) = family(name, range, problems) {
            families.push((family, &range.place));
        }
    }
    families.sort_by_key(|(family, _)| (family.first, family.last));
    complain_of_overlaps(&families, problems);
    families.into_iter().map(|(family, _)| family).collect()
}

fn complain_of_overlaps(families: &[(PortFamily, &Place)], problems: &mut Vec<Problem>) {
    for pair in families.windows(2) {
        let [(low, _), (high, place)] = pair else {
            continue;
        };
        if high.first <= low.last {
            problems.push(
                Problem::new(
                    (*place).clone(),
                    format!(
                        "ports {} to {} belong to `{}` and to `{}`",
                        high.first,
                        high.last.min(low.last),
                        low.name,
                        high.name
                    ),
                )
                .help("give each family a range of its own: a port is never given to two"),
            );
        }
    }
}

fn family(name: &str, range: &At<Vec<At<i64>>>, problems: &mut Vec<Problem>) -> Option<PortFamily> {
    let [first, last] = range.value.as_slice() else {
        let what = format!("`{name}` must be two numbers, the first and the last port");
        problems.push(Problem::new(range.place.clone(), what));
        return None;
    };
    let mut port = |number: &At<i64>| match u16::try_from(number.value) {
        Ok(port) if port >= 1_024 => Some(port),
        _ => {
            problems.push(
                Problem::new(
                    number.place.clone(),
                    format!("port {} cannot be handed out", number.value),
                )
                .help("ports for people are 1024 to 65535"),
            );
            None
        }
    };
    let (first, last) = (port(first), port(last));
    let (first, last) = (first?, last?);
    if first > last {
        problems.push(Problem::new(
            range.place.clone(),
            format!("`{name}` ends before it begins"),
        ));
        return None;
    }
    Some(PortFamily {
        name: name.to_owned(),
        first,
        last,
    })
}
