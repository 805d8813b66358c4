//! `[instance]`: what each person with an instance gets on this host.

use std::path::{Path, PathBuf};

use super::place::{At, Problem};
use super::section::{Check, Checks, section};
use super::values::path;

section! {
    /// Template units that each active person of a tier with `instance: true` gets. No default: this host runs none.
    units: Vec<At<String>>, example ["t3-serve@.service"];
    /// What is written for each of them, as the unit's EnvironmentFile. No default: nothing is written.
    environment: String, example "/etc/muster/instances/{user}.env";
}

/// What there is for each person's instance, besides its units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSettings {
    /// Where each person's environment file is, seen from the managed tree's root.
    pub environment: Option<PathTemplate>,
}

impl Given {
    /// Whether this host runs an instance for anybody.
    pub(super) fn has_units(&self) -> bool {
        let mut units = self.units.iter().flat_map(|it| &it.value);
        units.any(|it| is_template_unit(&it.value))
    }
}

impl Check for Given {
    type Value = InstanceSettings;

    fn check(&self, checks: &mut Checks<'_>) -> Option<InstanceSettings> {
        checks.policy.units = unit_list(self.units.as_ref(), checks.problems);
        let environment = match &self.environment {
            Some(text) => {
                if !self.has_units() {
                    checks.problems.push(
                        Problem::new(
                            text.place.clone(),
                            "`environment` is for instances, and [instance] units is empty",
                        )
                        .help("name the units, or leave `environment` out"),
                    );
                }
                Some(PathTemplate::read(text, checks.problems)?)
            }
            None => None,
        };
        checks.policy.environment = environment.is_some();
        Some(InstanceSettings { environment })
    }
}

fn is_template_unit(unit: &str) -> bool {
    let Some((name, suffix)) = unit.split_once("@.") else {
        return false;
    };
    !name.is_empty()
        && unit.len() <= 200
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
        && ["service", "timer", "socket", "path", "target"].contains(&suffix)
}

fn unit_list(units: Option<&At<Vec<At<String>>>>, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for At { value: unit, place } in units.into_iter().flat_map(|it| &it.value) {
        if !is_template_unit(unit) {
            problems.push(
                Problem::new(place.clone(), format!("`{unit}` is no template unit"))
                    .help("write it with @ before the dot, such as `t3-serve@.service`"),
            );
        } else if list.contains(unit) {
            let what = format!("`{unit}` is named twice");
            problems.push(Problem::new(place.clone(), what));
        } else {
            list.push(unit.clone());
        }
    }
    list
}

/// An absolute path with one place for a person's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    before: String,
    after: String,
}

impl PathTemplate {
    /// What stands for the name.
    pub const PLACEHOLDER: &str = "{user}";

    fn read(text: &At<String>, problems: &mut Vec<Problem>) -> Option<Self> {
        let placeholder = Self::PLACEHOLDER;
        let parts: Vec<&str> = text.value.split(placeholder).collect();
        let [before, after] = parts.as_slice() else {
            problems.push(
                Problem::new(
                    text.place.clone(),
                    format!(
                        "`{}` must hold {placeholder} once",
                        text.value.escape_debug()
                    ),
                )
                .help(format!(
                    "such as \"/etc/muster/instances/{placeholder}.env\""
                )),
            );
            return None;
        };
        if after.contains('/') {
            problems.push(
                Problem::new(
                    text.place.clone(),
                    format!("{placeholder} must be in the file's name"),
                )
                .help("all environment files lie in one directory"),
            );
            return None;
        }
        let filled = At {
            value: format!("{before}user{after}"),
            place: text.place.clone(),
        };
        path(&filled, problems)?;
        Some(Self {
            before: (*before).to_owned(),
            after: (*after).to_owned(),
        })
    }

    /// The path for one person.
    pub fn fill(&self, user: &str) -> PathBuf {
        PathBuf::from(format!("{}{user}{}", self.before, self.after))
    }

    /// The directory that holds all of them.
    pub fn dir(&self) -> &Path {
        Path::new(match self.before.rfind('/') {
            Some(0) | None => "/",
            Some(end) => &self.before[..end],
        })
    }

    /// What stands before and after the name in the file's own name.
    pub fn affixes(&self) -> (&str, &str) {
        (
            &self.before[self.before.rfind('/').map_or(0, |slash| slash + 1)..],
            &self.after,
        )
    }
}
