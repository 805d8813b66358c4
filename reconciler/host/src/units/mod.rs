//! Units of people's instances, with or without a running service manager.

pub(crate) mod dbus;
mod links;

use muster_core::accounts::action::UnitChange;
use muster_core::accounts::observed::{Manager, Units};

use crate::dir::{Dir, with_causes};
pub(crate) use dbus::Bus;

/// The state of every instance of the templates that is enabled, active or failed.
pub(crate) fn look(root: &Dir, bus: Option<&Bus>, templates: &[String]) -> Result<Units, String> {
    let mut units = Units {
        manager: if bus.is_some() {
            Manager::Running
        } else {
            Manager::Files
        },
        ..Units::default()
    };
    if templates.is_empty() {
        return Ok(units);
    }
    units.templates = links::templates(root, templates).map_err(|error| with_causes(&error))?;
    if let Some(bus) = bus {
        units.by_name = bus.states(templates)?;
    }
    for unit in links::enabled(root, templates).map_err(|error| with_causes(&error))? {
        units.by_name.entry(unit).or_default().enabled = true;
    }
    Ok(units)
}

/// Carries out changes; says of each, in order, why it was not done.
pub(crate) fn change(
    root: &Dir,
    bus: Option<&Bus>,
    changes: &[(&str, UnitChange)],
) -> Vec<Result<(), String>> {
    match bus {
        Some(bus) => bus.change(changes),
        None => links::change(root, changes),
    }
}
