//! A person's instance: ports, environment file, units.

use crate::accounts::refusal::Refusal;
use std::borrow::Cow;

use super::{Anchor, Draft};
use crate::accounts::action::{Action, UnitChange};
use crate::accounts::blocked::Blocked;
use crate::accounts::desired::Wanted;
use crate::accounts::facts::PersonFacts;
use crate::accounts::observed::{Manager, Units};
use crate::accounts::policy::{Aggregate, Ports};
use crate::accounts::render;

impl<'a> Draft<'a, '_> {
    pub(super) fn converge_instance(
        &mut self,
        user: &str,
        wanted: &Wanted,
        person: Option<&PersonFacts>,
        anchor: &Anchor,
    ) {
        if !self.input.policy.runs_instances() {
            return;
        }
        if !wanted.grant.instance {
            return self.still_units(user, anchor);
        }
        let mut ports = person.map_or_else(Cow::default, |it| Cow::Borrowed(&it.ports));
        let mut anchor = anchor.clone();
        match self.ports.complete(user, person) {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => {
                ports.to_mut().extend(missing.clone());
                let assigned = self.push(
                    Action::AssignPorts {
                        user: user.to_owned(),
                        ports: missing,
                    },
                    &anchor,
                );
                anchor.needs.push(assigned);
            }
            Err(why) => {
                return self.refuse(user, Refusal::NoPort(why));
            }
        }
        let authentik_user = person.map_or(&wanted.authentik_user, |it| &it.authentik_user);
        self.converge_environment(user, wanted, person, &ports, &anchor);
        let first = self
            .input
            .policy
            .families
            .first()
            .and_then(|family| ports.get(&family.name))
            .copied();
        if let Some(port) = first {
            self.first_ports.insert(user.to_owned(), port);
            let value = render::dispatch_value(user, port);
            self.want_entry(Aggregate::Dispatch, authentik_user, user, &value, &anchor);
        }
        self.want_entry(Aggregate::LoginMap, authentik_user, user, user, &anchor);
        if wanted.parked.is_some() {
            self.still_units(user, &anchor);
        } else {
            self.run_units(user, &anchor);
        }
    }

    pub(super) fn converge_environment(
        &mut self,
        user: &str,
        wanted: &Wanted,
        person: Option<&PersonFacts>,
        ports: &Ports,
        anchor: &Anchor,
    ) {
        let Some(found) = &mut self.found_environments else {
            return;
        };
        if !self.input.policy.environment {
            return;
        }
        let content = match person {
            // An identity that waits for a release is not handed to the instance before.
            Some(it)
                if it.authentik_user != wanted.authentik_user || it.k8s_user != wanted.k8s_user =>
            {
                let mut held = wanted.clone();
                held.authentik_user.clone_from(&it.authentik_user);
                held.k8s_user.clone_from(&it.k8s_user);
                render::environment(user, &held, ports)
            }
            _ => render::environment(user, wanted, ports),
        };
        let digest = render::digest(&content);
        if found.get(user) != Some(&digest) {
            let action = Action::WriteEnvironment {
                user: user.to_owned(),
                digest,
            };
            self.push_whole(action, anchor, None, Some(content.into()));
        }
    }

    pub(super) fn units(&self) -> Option<&'a Units> {
        self.input.observed.units.known()
    }

    pub(super) fn run_units(&mut self, user: &str, anchor: &Anchor) {
        let Some(units) = self.units() else { return };
        for template in &self.input.policy.units {
            let unit = unit_name(template, user);
            let state = units.by_name.get(&unit).copied().unwrap_or_default();
            let blocked =
                (!units.templates.contains(template)).then(|| Blocked::NoUnit(template.clone()));
            if !state.enabled {
                let action = Action::Unit {
                    user: user.to_owned(),
                    unit: unit.clone(),
                    change: UnitChange::Enable,
                };
                self.push_blocked(action, anchor, blocked.clone());
            }
            if !state.active && units.manager == Manager::Running {
                let action = Action::Unit {
                    user: user.to_owned(),
                    unit,
                    change: UnitChange::Start,
                };
                self.push_blocked(action, anchor, blocked);
            }
        }
    }

    pub(super) fn still_units(&mut self, user: &str, anchor: &Anchor) {
        let Some(units) = self.units() else { return };
        for template in &self.input.policy.units {
            let unit = unit_name(template, user);
            let state = units.by_name.get(&unit).copied().unwrap_or_default();
            if state.active {
                let action = Action::Unit {
                    user: user.to_owned(),
                    unit: unit.clone(),
                    change: UnitChange::Stop,
                };
                self.push(action, anchor);
            }
            if state.enabled {
                let action = Action::Unit {
                    user: user.to_owned(),
                    unit,
                    change: UnitChange::Disable,
                };
                self.push(action, anchor);
            }
        }
    }
}

/// `t3-serve@.service` and `emo` make `t3-serve@emo.service`. The grammar of os_user needs no escaping by systemd,
/// save for `-`, which systemd keeps in instance names.
pub(super) fn unit_name(template: &str, user: &str) -> String {
    match template.split_once('@') {
        Some((name, suffix)) => format!("{name}@{user}{suffix}"),
        None => template.to_owned(),
    }
}
