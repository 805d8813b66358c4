//! Which executors a command is about: `--executor KIND/NAME`, or those of this machine.

use muster_core::executor::Executor;

use super::{CommandError, Output};
use crate::settings::{ExecutorSettings, Settings};
use crate::state_dir::StateDir;

/// The executors that a command looks at.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Those {
    /// Only this executor, such as `host/web1`; may be said several times.
    #[arg(
        id = "executor",
        long = "executor",
        value_name = "KIND/NAME",
        global = true
    )]
    named: Vec<Executor>,
}

/// The one executor that a command acts on.
#[derive(Debug, Default, clap::Args)]
pub(super) struct TheOne {
    /// The executor of this machine that is meant, such as `host/web1`, where there are several.
    #[arg(
        id = "executor",
        long = "executor",
        value_name = "KIND/NAME",
        global = true
    )]
    named: Option<Executor>,
}

impl Those {
    /// Those that were named, or all of this machine.
    ///
    /// # Errors
    /// When one was named that this machine does not keep.
    pub(super) fn of(&self, settings: &Settings) -> Result<Vec<ExecutorSettings>, CommandError> {
        let mut all = of_this_machine(settings);
        let there: Vec<Executor> = all.iter().map(|it| it.executor.clone()).collect();
        self.are_among(&there, "this machine keeps")?;
        all.retain(|it| self.wants(&it.executor));
        Ok(all)
    }

    /// Whether this one was named, or none was.
    pub(super) fn wants(&self, executor: &Executor) -> bool {
        self.named.is_empty() || self.named.contains(executor)
    }

    /// Looks whether all that were named are there.
    ///
    /// # Errors
    /// With those that `there` are, in a sentence that `holder` begins.
    pub(super) fn are_among(&self, there: &[Executor], holder: &str) -> Result<(), CommandError> {
        match self.named.iter().find(|it| !there.contains(it)) {
            None => Ok(()),
            Some(unknown) => Err(CommandError::Usage(format!(
                "{unknown} is not here: {holder} {}",
                listed(there)
            ))),
        }
    }

    /// Those, and these as well.
    pub(super) fn and(&self, more: &[Executor]) -> Self {
        let named = self.named.iter().chain(more).cloned().collect();
        Self { named }
    }

    /// Those that were named.
    pub(super) fn named(&self) -> &[Executor] {
        &self.named
    }
}

impl TheOne {
    /// This one, whatever else was named.
    pub(super) fn executor(executor: Executor) -> Self {
        let named = Some(executor);
        Self { named }
    }

    /// The one that was named, or the only one of this machine.
    ///
    /// # Errors
    /// When this machine does not keep it, or keeps several and none was named; lists them.
    pub(super) fn of(&self, settings: &Settings) -> Result<ExecutorSettings, CommandError> {
        only(self.all_of(settings)?)
    }

    /// The one that was named, or all of this machine.
    ///
    /// # Errors
    /// When this machine does not keep it.
    pub(super) fn all_of(
        &self,
        settings: &Settings,
    ) -> Result<Vec<ExecutorSettings>, CommandError> {
        let named = self.named.iter().cloned().collect();
        Those { named }.of(settings)
    }
}

/// The only one of them, for what is of one alone.
///
/// # Errors
/// When there are several; lists them.
pub(super) fn only(all: Vec<ExecutorSettings>) -> Result<ExecutorSettings, CommandError> {
    let names: Vec<Executor> = all.iter().map(|it| it.executor.clone()).collect();
    <[ExecutorSettings; 1]>::try_from(all)
        .map(|[only]| only)
        .map_err(|_| {
            CommandError::Usage(format!(
                "this machine keeps {}: say which is meant with --executor",
                listed(&names)
            ))
        })
}

fn listed(executors: &[Executor]) -> String {
    let names: Vec<String> = executors.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

/// The executors that this machine keeps. One that only runs a bot now may have been a host before, and can still be asked.
fn of_this_machine(settings: &Settings) -> Vec<ExecutorSettings> {
    let all = settings.executors();
    if !all.is_empty() {
        return all;
    }
    vec![settings.host_executor()]
}

impl ExecutorSettings {
    /// Its state directory.
    pub(super) fn state(&self) -> StateDir {
        StateDir::at(&self.dir)
    }
}

/// Does `each` for every one of them. Of several, each part stands below the executor's name, and one that cannot be told of
/// keeps no other from it: the worst exit code counts.
pub(super) fn for_each(
    all: &[ExecutorSettings],
    out: &mut Output,
    mut each: impl FnMut(&ExecutorSettings, &mut Output) -> Result<u8, CommandError>,
) -> Result<u8, CommandError> {
    if let [only] = all {
        return each(only, out);
    }
    let mut worst = crate::exit::OK;
    for (number, here) in all.iter().enumerate() {
        let gap = if number == 0 { "" } else { "\n" };
        out.line(format_args!("{gap}{}:", here.executor))?;
        let code = match each(here, out) {
            Ok(code) => code,
            Err(CommandError::Output(error)) => return Err(CommandError::Output(error)),
            Err(error) => {
                out.line(format_args!("error: {}", crate::cycle::chain(&error)))?;
                error.exit_code()
            }
        };
        worst = worst.max(code);
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn here(name: &str) -> ExecutorSettings {
        ExecutorSettings {
            executor: name.parse().unwrap(),
            dir: Path::new("/nowhere").join(name),
            poll: Duration::ZERO,
            drift: Duration::ZERO,
            log: name.to_owned(),
        }
    }

    #[test]
    fn which_of_several_is_meant_has_to_be_said() {
        assert_eq!(only(vec![here("host/a")]).unwrap(), here("host/a"));
        let error = only(vec![here("host/a"), here("guests/pve1")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this machine keeps host/a, guests/pve1: say which is meant with --executor"
        );
    }

    #[test]
    fn an_unknown_one_is_told_beside_those_that_are_there() {
        let those = |names: &[&str]| Those {
            named: names.iter().map(|it| it.parse().unwrap()).collect(),
        };
        let there: Vec<Executor> = ["host/a", "guests/pve1"]
            .map(|it| it.parse().unwrap())
            .into();
        let named = those(&["guests/pve1"]);
        named.are_among(&there, "this machine keeps").unwrap();
        assert_eq!(
            (named.wants(&there[0]), named.wants(&there[1])),
            (false, true)
        );
        assert!(those(&[]).wants(&there[0]));
        let error = those(&["guests/pve1", "ca/x"])
            .are_among(&there, "this machine keeps")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "ca/x is not here: this machine keeps host/a, guests/pve1"
        );
    }

    #[test]
    fn of_several_one_that_fails_keeps_no_other_from_being_told_of() {
        let mut told = Vec::new();
        let mut out = Output::stdout();
        let all = [here("guests/pve1"), here("host/a")];
        let code = for_each(&all, &mut out, |one, _| {
            told.push(one.executor.to_string());
            match told.len() {
                1 => Err(CommandError::NotConfirmed("no".to_owned())),
                _ => Ok(crate::exit::OK),
            }
        });
        assert_eq!(told, ["guests/pve1", "host/a"]);
        assert_ne!(code.unwrap(), crate::exit::OK);
    }
}
