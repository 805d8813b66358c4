//! systemd and logind over the system bus.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use muster_core::accounts::action::UnitChange;
use muster_core::accounts::observed::UnitState;
use zbus::Connection;
use zbus::OwnedObjectPath;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// How long a whole batch of jobs may take to finish; what is not finished then is observed as it is.
const JOBS: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

const SYSTEMD: (&str, &str, &str) = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
);
const LOGIND: (&str, &str, &str) = (
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
);

const TIMEDATED: (&str, &str, &str) = (
    "org.freedesktop.timedate1",
    "/org/freedesktop/timedate1",
    "org.freedesktop.timedate1",
);
const PROPERTIES_OF_TIMEDATED: (&str, &str, &str) =
    (TIMEDATED.0, TIMEDATED.1, "org.freedesktop.DBus.Properties");

/// A row of `ListUnitsByPatterns`.
type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

/// A connection to the system bus, and the thread of its own on which it lives.
#[derive(Debug)]
pub(crate) struct Bus {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
}

impl Bus {
    /// Connects to the system bus.
    pub(crate) fn connect() -> Result<Self, String> {
        Self::build(zbus::connection::Builder::system())
    }

    fn build(builder: zbus::connection::Builder<'static>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime for the system bus: {error}"))?;
        let connecting =
            async { tokio::time::timeout(CALL, builder.method_timeout(CALL).build()).await };
        let connection = runtime
            .block_on(connecting)
            .map_err(|_| "the system bus did not answer in time".to_owned())?
            .map_err(|error| format!("cannot connect to the system bus: {error}"))?;
        Ok(Self {
            runtime,
            connection,
        })
    }

    fn call<B, R>(&self, to: (&str, &str, &str), method: &str, body: &B) -> Result<R, String>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
        R: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let (destination, path, interface) = to;
        let calling =
            self.connection
                .call_method(Some(destination), path, Some(interface), method, body);
        let reply = self
            .runtime
            .block_on(calling)
            .map_err(|error| format!("{method}: {error}"))?;
        reply
            .body()
            .deserialize()
            .map_err(|error| format!("{method} answered something unknown: {error}"))
    }

    fn rows(&self, patterns: &[String]) -> Result<Vec<Row>, String> {
        let states: [&str; 0] = [];
        self.call(
            SYSTEMD,
            "ListUnitsByPatterns",
            &(states.as_slice(), patterns),
        )
    }

    /// The units of `templates` that are loaded: whether each is active or has failed. One call.
    pub(crate) fn states(
        &self,
        templates: &[String],
    ) -> Result<BTreeMap<String, UnitState>, String> {
        let rows = self.rows(&patterns(templates))?;
        Ok(rows
            .into_iter()
            .map(|(name, _, _, active, ..)| (name, state(&active)))
            .collect())
    }

    /// Carries out changes, those of one kind together; says of each, in order, why it was not done.
    pub(crate) fn change(&self, changes: &[(&str, UnitChange)]) -> Vec<Result<(), String>> {
        let mut results: Vec<Result<(), String>> = vec![Ok(()); changes.len()];
        let of = |wanted: UnitChange| {
            changes
                .iter()
                .enumerate()
                .filter(move |(_, (_, change))| *change == wanted)
        };
        let mut reload = false;
        for (wanted, method) in [
            (UnitChange::Disable, "DisableUnitFiles"),
            (UnitChange::Enable, "EnableUnitFiles"),
        ] {
            let indices: Vec<usize> = of(wanted).map(|(index, _)| index).collect();
            let names = |indices: &[usize]| {
                indices
                    .iter()
                    .map(|index| changes[*index].0)
                    .collect::<Vec<_>>()
            };
            if indices.is_empty() {
                continue;
            }
            if self.change_files(method, &names(&indices)).is_ok() {
                reload = true;
                continue;
            }
            // One bad name refuses the whole call: the others are not to suffer from it.
            for index in indices {
                results[index] = self.change_files(method, &names(&[index]));
                reload |= results[index].is_ok();
            }
        }
        if reload && let Err(why) = self.call::<_, ()>(SYSTEMD, "Reload", &()) {
            // The links are made; a manager that has not read them again still starts the unit at boot.
            tracing::warn!(why, "The service manager did not reload.");
        }
        let starting: Vec<&str> = of(UnitChange::Start).map(|(_, (unit, _))| *unit).collect();
        let failed = self.failed(&starting);
        let mut waiting = BTreeSet::new();
        for (index, (unit, change)) in changes.iter().enumerate() {
            let method = match change {
                UnitChange::Start => "StartUnit",
                UnitChange::Stop => "StopUnit",
                UnitChange::Enable | UnitChange::Disable => continue,
            };
            if *change == UnitChange::Start && failed.contains(*unit) {
                // One that gave up too often is not started again without this.
                let _: Result<(), String> = self.call(SYSTEMD, "ResetFailedUnit", &(*unit,));
            }
            let job: Result<OwnedObjectPath, String> =
                self.call(SYSTEMD, method, &(*unit, "replace"));
            match job {
                Ok(_) => {
                    waiting.insert((*unit).to_owned());
                }
                // Nothing is loaded that could be stopped.
                Err(why) if *change == UnitChange::Stop && why.contains("NoSuchUnit") => {}
                Err(why) => results[index] = Err(why),
            }
        }
        self.await_jobs(&waiting);
        results
    }

    fn change_files(&self, method: &'static str, units: &[&str]) -> Result<(), String> {
        match method {
            "EnableUnitFiles" => self
                .call::<_, (bool, Links)>(SYSTEMD, method, &(units, false, false))
                .map(drop),
            _ => self
                .call::<_, (Links,)>(SYSTEMD, method, &(units, false))
                .map(drop),
        }
    }

    fn failed(&self, units: &[&str]) -> BTreeSet<String> {
        if units.is_empty() {
            return BTreeSet::new();
        }
        let names: Vec<String> = units.iter().map(|unit| (*unit).to_owned()).collect();
        let rows = self.rows(&names).unwrap_or_default();
        rows.into_iter()
            .filter(|row| row.3 == "failed")
            .map(|row| row.0)
            .collect()
    }

    /// Waits until no job of the units is left, or the time is up.
    fn await_jobs(&self, units: &BTreeSet<String>) {
        let deadline = Instant::now() + JOBS;
        let names: Vec<String> = units.iter().cloned().collect();
        while !units.is_empty() && Instant::now() < deadline {
            let pending = match self.rows(&names) {
                Ok(rows) => rows.iter().any(|row| row.7 != 0 && units.contains(&row.0)),
                Err(_) => return,
            };
            if !pending {
                return;
            }
            pause(&self.runtime, POLL);
        }
    }

    /// Has logind end the sessions and the user manager of a uid; a uid it does not know has none.
    pub(crate) fn terminate_user(&self, uid: u32) -> Result<(), String> {
        match self.call::<_, ()>(LOGIND, "TerminateUser", &(uid,)) {
            Err(why) if why.contains("NoSuchUser") => Ok(()),
            result => result,
        }
    }

    /// What systemd's `timedated` says of the clock, whichever time service keeps it: whether that is at work on it, and what
    /// the clock says, in microseconds.
    pub(crate) fn time_service(&self) -> Result<(bool, u64), String> {
        let property = |name: &str| {
            let asked = (TIMEDATED.2, name);
            self.call::<_, zbus::OwnedVariant>(PROPERTIES_OF_TIMEDATED, "Get", &asked)
        };
        let unknown = |_| "timedated answered something unknown".to_owned();
        let synchronised = property("NTPSynchronized")?.try_into().map_err(unknown)?;
        let micros = property("TimeUSec")?.try_into().map_err(unknown)?;
        Ok((synchronised, micros))
    }

    /// Tells logind whether the services of a user outlive the session.
    pub(crate) fn set_linger(&self, uid: u32, linger: bool) -> Result<(), String> {
        self.call(LOGIND, "SetUserLinger", &(uid, linger, false))
    }
}

/// The timer is made inside: outside of a runtime there is none to make it with.
fn pause(runtime: &tokio::runtime::Runtime, length: Duration) {
    runtime.block_on(async { tokio::time::sleep(length).await });
}

/// What enabling and disabling answer: kind, link and target of each change.
type Links = Vec<(String, String, String)>;

fn patterns(templates: &[String]) -> Vec<String> {
    templates
        .iter()
        .map(|template| match template.split_once('@') {
            Some((prefix, suffix)) => format!("{prefix}@*{suffix}"),
            None => template.clone(),
        })
        .collect()
}

fn state(active: &str) -> UnitState {
    UnitState {
        enabled: false,
        active: matches!(active, "active" | "activating" | "reloading" | "refreshing"),
        failed: active == "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_needs_no_runtime_around_it() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        pause(&runtime, Duration::ZERO);
    }

    #[test]
    fn patterns_catch_every_instance_of_a_template() {
        assert_eq!(
            patterns(&["t3-serve@.service".into(), "one.timer".into()]),
            ["t3-serve@*.service", "one.timer"]
        );
    }

    #[test]
    fn a_unit_on_its_way_up_is_active_and_one_that_gave_up_is_not() {
        assert!(
            state("activating").active
                && !state("deactivating").active
                && !state("inactive").active
        );
        assert_eq!(
            state("failed"),
            UnitState {
                enabled: false,
                active: false,
                failed: true
            }
        );
    }
}
