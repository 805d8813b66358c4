//! The state repository: from its files to what they say, with every error at once.
//!
//! Read in this order: [`fields`] says which fields there are, [`names`] what names look like, [`checks`] which rules
//! hold, [`tiers`] and [`roster`] what comes out.

mod alike;
pub mod checks;
pub mod fields;
pub mod names;
mod people;
pub mod roster;
pub mod schema;
pub mod tiers;
pub mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics, Fault, Faults, ROOM, ROOM_FOR_EACH_BYTE, Sort};
pub use roster::{CodeLayout, Person, Roster};
pub use tiers::{Grant, GrantChange, HostFile, Tier, Tiers};

/// What the documents that every subject shares say about people and hosts, checked.
#[derive(Debug)]
pub struct Documents<'a> {
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

/// Reads one roster by itself; `file` is the name that diagnostics show.
///
/// # Errors
/// All that is wrong, warnings included.
pub fn read_roster<'a>(
    file: &str,
    bytes: &'a [u8],
) -> Result<(Roster<'a>, Diagnostics), Diagnostics> {
    let mut report = Report::default();
    let mut faults = Faults::of_length(bytes.len());
    let roster = people::read_roster(bytes, &mut faults);
    let failed = faults.has_errors();
    report.file(file, bytes, faults);
    if failed {
        Err(report.diagnostics())
    } else {
        Ok((roster, report.diagnostics()))
    }
}

/// The host whose file `path` is.
pub fn host_of(path: &str) -> Option<&str> {
    path.strip_prefix(HOSTS)?
        .strip_suffix(".yaml")
        .filter(|name| names::is_host_name(name))
}

/// Whether the host of this name reads a file of a state repository.
pub(crate) fn concerns_host(file: &str, host: &str) -> bool {
    // A file whose name is nearly one that is read concerns whoever would read it under the right one.
    let lower = file.to_ascii_lowercase();
    let stem = lower
        .rsplit_once('.')
        .map_or(lower.as_str(), |(stem, _)| stem);
    match stem.strip_prefix(HOSTS) {
        Some(name) => name == host,
        None => matches!(stem, "roster" | "tiers"),
    }
}

/// Folders that a state repository may have for executors that are not here: what is said of a file there, and what to do.
const OF_OTHERS: [(&str, &str, &str); 2] = [
    (
        "guests/",
        "no executor that is known here keeps these guests: nothing reads this file",
        "it is called like the hypervisor in the settings of its executor ([[guests]] name); until there is one it has no effect",
    ),
    (
        "clusters/",
        "this version of muster keeps no cluster users: nothing reads this file",
        "install a version that does; until then what it says has no effect",
    ),
];

/// That nobody here reads a file, if it lies where others look.
fn not_read(path: &str) -> Option<Fault> {
    let (_, problem, help) = OF_OTHERS.iter().find(|it| path.starts_with(it.0))?;
    let fault = Fault::warning("not-read", 0, (*problem).to_owned());
    Some(fault.of_whole_file().help(*help))
}

/// The diagnostics of several files.
pub(crate) struct Report {
    list: Vec<Diagnostic>,
    left_out: BTreeMap<Sort, usize>,
    /// Memory for what is wrong, in bytes, beside what each file has by its length.
    room: usize,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            left_out: BTreeMap::new(),
            room: ROOM,
        }
    }
}

impl Report {
    /// Reads roster, tiers and hosts' files; `None` when there is no roster. What is wrong is in the diagnostics. `is_kept` says
    /// which of the files that this version has no executor for are read by one all the same.
    pub(crate) fn documents<'a>(
        &mut self,
        files: &'a BTreeMap<String, Vec<u8>>,
        is_kept: impl Fn(&str) -> bool,
    ) -> Option<Documents<'a>> {
        for path in files.keys() {
            if let Some(fault) = name_fault(path) {
                self.say(path, fault);
            } else if let Some(fault) = not_read(path).filter(|_| !is_kept(path)) {
                self.say(path, fault);
            }
        }
        let roster = self.read(files, ROSTER, people::read_roster);
        if roster.is_none() {
            let help = "write one, or tell where it is; an empty roster is written users: {}";
            self.say(
                ROSTER,
                Fault::of_file("missing-file", "the file is missing").help(help),
            );
        }
        let is_person = |name: &str| roster.as_ref().is_some_and(|it| it.get(name).is_some());
        let tiers = self
            .read(files, TIERS, |bytes, faults| {
                tiers::read_tiers(bytes, &is_person, faults)
            })
            .unwrap_or_default();
        let mut hosts = BTreeMap::new();
        for path in files.keys() {
            let host = host_of(path).and_then(|name| {
                let read = |bytes, faults: &mut Faults| tiers::read_host(bytes, &is_person, faults);
                Some((name, self.read(files, path, read)?))
            });
            hosts.extend(host.map(|(name, host)| (name.to_owned(), host)));
        }
        roster.map(|roster| Documents {
            roster,
            tiers,
            hosts,
        })
    }

    /// Reads one file, if it is there.
    pub(crate) fn read<'a, T>(
        &mut self,
        files: &'a BTreeMap<String, Vec<u8>>,
        path: &str,
        read: impl FnOnce(&'a [u8], &mut Faults) -> T,
    ) -> Option<T> {
        let bytes = files.get(path)?;
        let mut faults = self.faults(bytes);
        let value = read(bytes, &mut faults);
        self.file(path, bytes, faults);
        Some(value)
    }

    /// Says that a file whose name is nearly one that is read is to be called `to`.
    pub(crate) fn misnamed(&mut self, path: &str, to: &str) {
        self.say(path, misnamed(to));
    }

    /// Says one thing about a file.
    pub(crate) fn say(&mut self, path: &str, fault: Fault) {
        let mut faults = self.faults(&[]);
        faults.add_last(fault);
        self.file(path, &[], faults);
    }

    /// None yet, of a file of these bytes.
    fn faults(&self, bytes: &[u8]) -> Faults {
        Faults::within(self.room + ROOM_FOR_EACH_BYTE * bytes.len())
    }

    fn file(&mut self, path: &str, bytes: &[u8], faults: Faults) {
        self.room = self.room.min(faults.room());
        let (list, left_out) = faults.resolve(path, bytes);
        if self.list.is_empty() {
            self.list = list;
        } else {
            self.list.extend(list);
        }
        for (sort, count) in left_out {
            *self.left_out.entry(sort).or_default() += count;
        }
    }

    /// All of them.
    pub(crate) fn diagnostics(self) -> Diagnostics {
        Diagnostics::of(self.list, self.left_out)
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
    let rename = |to: &str| Some(misnamed(to));
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

fn misnamed(to: &str) -> Fault {
    Fault::of_file("file-name", "nothing reads a file of this name")
        .help(format!("rename it to {to}"))
}

/// A YAML file at the top that nobody reads, but whose name is close to one that is.
fn near_miss(path: &str, stem: &str) -> Option<Fault> {
    // Of ten thousand answers none is compared with anything (W9).
    let stem = Some(stem).filter(|_| !path.contains('/'))?;
    let meant = names::did_you_mean(stem, ["roster", "tiers"])?;
    let problem = "nothing reads a file of this name";
    Some(
        Fault::warning("file-name", 0, problem)
            .of_whole_file()
            .help(format!("did you mean {meant}.yaml?")),
    )
}
