//! Which files of a state repository are hypervisors', and what is read of them: `guests/<name>.yaml` (H3).

use std::collections::BTreeMap;

use super::desired::Desired;
use super::file::{self, GUESTS};
use crate::diagnostic::Faults;
use crate::repo::{Documents, Report, names};

/// The hypervisor whose file a path is.
pub(crate) fn hypervisor_of(path: &str) -> Option<&str> {
    path.strip_prefix(GUESTS)?
        .strip_suffix(".yaml")
        .filter(|it| names::is_host_name(it))
}

/// The hypervisor whose file a path would be under its right name: nearly that, so that its contents would silently not count.
pub(crate) fn nearly_hypervisor_of(path: &str) -> Option<String> {
    let lower = path.to_ascii_lowercase();
    let (stem, extension) = lower.rsplit_once('.')?;
    let name = stem.strip_prefix(GUESTS)?;
    let nearly = matches!(extension, "yaml" | "yml") && hypervisor_of(path).is_none();
    (nearly && names::is_host_name(name)).then(|| name.to_owned())
}

/// The hypervisor that a path names, under its right name or nearly that.
pub(crate) fn names_hypervisor(path: &str) -> Option<String> {
    let name = hypervisor_of(path).map(str::to_owned);
    name.or_else(|| nearly_hypervisor_of(path))
}

/// Reads the files of the hypervisors that `keeps` knows; gives those that are right, by name. What is nearly a file of one is told of.
pub(crate) fn read<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    keeps: impl Fn(&str) -> bool,
    report: &mut Report,
) -> BTreeMap<&'a str, Desired> {
    for path in files.keys() {
        if let Some(name) = nearly_hypervisor_of(path).filter(|it| keeps(it)) {
            report.misnamed(path, &format!("{GUESTS}{name}.yaml"));
        }
    }
    let kept = files
        .keys()
        .filter_map(|path| Some((path, hypervisor_of(path)?)));
    let kept = kept.filter(|(_, name)| keeps(name));
    kept.filter_map(|(path, name)| Some((name, report.read(files, path, file::read)?)))
        .collect()
}

/// Warns, in the files that were read, of owners of guests who are not to be counted on.
pub(crate) fn warn_of_owners(
    files: &BTreeMap<String, Vec<u8>>,
    guests: &BTreeMap<&str, Desired>,
    documents: &Documents<'_>,
    report: &mut Report,
) {
    for path in files.keys() {
        if let Some(desired) = hypervisor_of(path).and_then(|it| guests.get(it)) {
            let warn = |_: &[u8], faults: &mut Faults| desired.warn_of_owners(documents, faults);
            report.read(files, path, warn);
        }
    }
}
