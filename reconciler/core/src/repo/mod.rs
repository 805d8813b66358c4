//! The state repository: from its files to what they say, with every error at once.
//!
//! Read in this order: [`fields`] says which fields there are, [`names`] what names look like, [`checks`] which rules
//! hold, [`tiers`] and [`roster`] what comes out.

pub mod checks;
pub mod fields;
pub mod names;
mod people;
pub mod roster;
pub mod tiers;
pub mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics, Fault, Faults, Severity};
pub use roster::{CodeLayout, Person, Roster};
pub use tiers::{Grant, GrantChange, HostFile, Tier, Tiers};

/// What a state repository says about people and hosts, checked.
#[derive(Debug)]
pub struct StateRepo<'a> {
    /// The people.
    pub roster: Roster<'a>,
    /// What each tier gives, where a host does not differ.
    pub tiers: Tiers,
    /// The hosts that differ, by name.
    pub hosts: BTreeMap<String, HostFile>,
}

/// The path of the roster.
pub const ROSTER: &str = "roster.yaml";
/// The path of the tiers.
pub const TIERS: &str = "tiers.yaml";
/// The folder of the hosts' files.
pub const HOSTS: &str = "hosts/";

/// Reads a state repository from the bytes of its files, by path. Files that concern neither people nor hosts are
/// passed over.
///
/// Gives the warnings beside the result.
///
/// # Errors
/// All that is wrong, warnings included. Nothing of such a state repository can be used (R8).
pub fn read(
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(StateRepo<'_>, Diagnostics), Diagnostics> {
    let mut report = Report::default();
    for path in files.keys() {
        if let Some(fault) = name_fault(path) {
            report.file(path, &[], Faults::from(fault));
        }
    }
    let roster = report.read(files, ROSTER, people::read_roster);
    if roster.is_none() {
        let help = "write one, or tell where it is; an empty roster is written users: {}";
        report.file(
            ROSTER,
            &[],
            Faults::from(Fault::of_file("missing-file", "the file is missing").help(help)),
        );
    }
    let is_person = |name: &str| roster.as_ref().is_some_and(|it| it.get(name).is_some());
    let tiers = report
        .read(files, TIERS, |bytes, faults| {
            tiers::read_tiers(bytes, &is_person, faults)
        })
        .unwrap_or_default();
    let mut hosts = BTreeMap::new();
    for path in files.keys() {
        let host = host_of(path).and_then(|name| {
            let read = |bytes, faults: &mut Faults| tiers::read_host(bytes, &is_person, faults);
            Some((name, report.read(files, path, read)?))
        });
        hosts.extend(host.map(|(name, host)| (name.to_owned(), host)));
    }
    report.conclude(roster.map(|roster| StateRepo {
        roster,
        tiers,
        hosts,
    }))
}

/// Reads one roster by itself; `file` is the name that diagnostics show.
///
/// # Errors
/// All that is wrong, warnings included.
pub fn read_roster<'a>(
    file: &str,
    bytes: &'a [u8],
) -> Result<(Roster<'a>, Diagnostics), Diagnostics> {
    let mut report = Report::default();
    let mut faults = Faults::default();
    let roster = people::read_roster(bytes, &mut faults);
    report.file(file, bytes, faults);
    report.conclude(Some(roster))
}

/// The host whose file `path` is.
pub fn host_of(path: &str) -> Option<&str> {
    path.strip_prefix(HOSTS)?
        .strip_suffix(".yaml")
        .filter(|name| names::is_host_name(name))
}

/// The diagnostics of several files.
#[derive(Default)]
struct Report {
    list: Vec<Diagnostic>,
    left_out: usize,
    failed: bool,
}

impl Report {
    fn read<'a, T>(
        &mut self,
        files: &'a BTreeMap<String, Vec<u8>>,
        path: &str,
        read: impl FnOnce(&'a [u8], &mut Faults) -> T,
    ) -> Option<T> {
        let bytes = files.get(path)?;
        let mut faults = Faults::default();
        let value = read(bytes, &mut faults);
        self.file(path, bytes, faults);
        Some(value)
    }

    fn file(&mut self, path: &str, bytes: &[u8], faults: Faults) {
        self.failed |= faults.has_errors();
        let (list, left_out) = faults.resolve(path, bytes);
        self.list.extend(list);
        self.left_out += left_out;
    }

    fn conclude<T>(self, value: Option<T>) -> Result<(T, Diagnostics), Diagnostics> {
        let Self {
            list,
            left_out,
            failed,
        } = self;
        debug_assert!(
            failed
                || list
                    .iter()
                    .all(|diagnostic| diagnostic.severity == Severity::Warning)
        );
        let diagnostics = Diagnostics::new(list, left_out);
        match value {
            Some(value) if !failed => Ok((value, diagnostics)),
            _ => Err(diagnostics),
        }
    }
}

/// What is wrong with the name of a file: nearly a name that is read, so that its contents would silently not count.
fn name_fault(path: &str) -> Option<Fault> {
    if path == ROSTER || path == TIERS || host_of(path).is_some() {
        return None;
    }
    let lower = path.to_ascii_lowercase();
    let (stem, extension) = lower.rsplit_once('.').unwrap_or((&lower, ""));
    let is_yaml = matches!(extension, "yaml" | "yml");
    let rename = |to: &str| {
        Some(
            Fault::of_file("file-name", "nothing reads a file of this name")
                .help(format!("rename it to {to}")),
        )
    };
    match stem {
        _ if !is_yaml => None,
        "roster" => rename(ROSTER),
        "tiers" => rename(TIERS),
        stem => match stem.strip_prefix(HOSTS) {
            Some(host) if names::is_host_name(host) => rename(&format!("{HOSTS}{host}.yaml")),
            Some(_) => {
                rename("hosts/<host>.yaml, where <host> is the lower-case DNS name of the host")
            }
            None => near_miss(path, stem),
        },
    }
}

/// A YAML file at the top that nobody reads, but whose name is close to one that is.
fn near_miss(path: &str, stem: &str) -> Option<Fault> {
    let meant = names::did_you_mean(stem, ["roster", "tiers"]).filter(|_| !path.contains('/'))?;
    let problem = "nothing reads a file of this name";
    Some(
        Fault::warning("file-name", 0, problem)
            .of_whole_file()
            .help(format!("did you mean {meant}.yaml?")),
    )
}
