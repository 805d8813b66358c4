//! First stage: one file, every value with its place. Knows which keys there are and what shape they have, no more.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use muster_core::repo::names::did_you_mean;
use toml::de::{DeTable, DeValue};

use super::place::{At, Place, Problem};

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    pub(super) url: Option<At<String>>,
    pub(super) branch: Option<At<String>>,
    pub(super) poll: Option<At<String>>,
    pub(super) drift: Option<At<String>>,
    pub(super) dir: Option<At<String>>,
    pub(super) name: Option<At<String>>,
    pub(super) root: Option<At<String>>,
    pub(super) shells: Option<At<Vec<At<String>>>>,
    pub(super) privileged_groups: Option<At<Vec<At<String>>>>,
    pub(super) protected: Option<At<Vec<At<String>>>>,
    pub(super) shared_primary_groups: Option<At<Vec<At<String>>>>,
    pub(super) nologin: Option<At<String>>,
    pub(super) service_group: Option<At<String>>,
    pub(super) declared_benign: Option<At<Vec<At<String>>>>,
    pub(super) units: Option<At<Vec<At<String>>>>,
    pub(super) environment: Option<At<String>>,
    pub(super) login_map: Option<At<String>>,
    pub(super) dispatch: Option<At<String>>,
    pub(super) admins: Option<At<String>>,
    pub(super) k8s_users: Option<At<String>>,
    pub(super) ports: BTreeMap<String, At<Vec<At<i64>>>>,
    pub(super) removals: Option<At<i64>>,
    pub(super) share: Option<At<i64>>,
    pub(super) min_admins: Option<At<i64>>,
    pub(super) retry_after: Option<At<String>>,
    pub(super) archives: Option<At<String>>,
    pub(super) grace_days: Option<At<i64>>,
    pub(super) home_roots: Option<At<Vec<At<String>>>>,
    pub(super) recipients: Option<At<Vec<At<String>>>>,
    pub(super) age: Option<At<String>>,
    pub(super) notes: Option<At<bool>>,
    pub(super) fleet: FleetFragment,
    pub(super) forge: ForgeFragment,
    pub(super) http: HttpFragment,
    pub(super) level: Option<At<String>>,
    pub(super) log_format: Option<At<String>>,
}

/// The section on the fleet.
#[derive(Debug, Default)]
pub(super) struct FleetFragment {
    pub(super) roles: Option<At<Vec<At<String>>>>,
    pub(super) ledger: Option<At<String>>,
    pub(super) hosts: Option<At<String>>,
    pub(super) stale: Option<At<String>>,
    pub(super) name: Option<At<String>>,
}

/// The section on the forge.
#[derive(Debug, Default)]
pub(super) struct ForgeFragment {
    pub(super) kind: Option<At<String>>,
    pub(super) url: Option<At<String>>,
    pub(super) repository: Option<At<String>>,
    pub(super) app: Option<At<i64>>,
    pub(super) installation: Option<At<i64>>,
    pub(super) app_key: Option<At<String>>,
    pub(super) token: Option<At<String>>,
    pub(super) drift_issue: Option<At<bool>>,
    pub(super) status: Option<At<String>>,
}

/// The section on the HTTP server.
#[derive(Debug, Default)]
pub(super) struct HttpFragment {
    pub(super) listen: Option<At<String>>,
    pub(super) certificate: Option<At<String>>,
    pub(super) key: Option<At<String>>,
    pub(super) webhook_secret: Option<At<String>>,
}

impl Fragment {
    pub(super) fn read(file: &Arc<str>, text: &str, problems: &mut Vec<Problem>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = error.span().map_or_else(
                || Place::of_file(file),
                |span| Place::of_span(file, text, &span),
            );
            problems.push(Problem::new(place, error.message().to_owned()));
        }
        let mut reader = Reader {
            file,
            text,
            problems,
        };
        let mut top = Section::new(String::new(), root.into_inner());

        let mut state = top.section(&mut reader, "state");
        let mut host = top.section(&mut reader, "host");
        let mut accounts = top.section(&mut reader, "accounts");
        let mut instance = top.section(&mut reader, "instance");
        let mut files = top.section(&mut reader, "files");
        let ports = top.section(&mut reader, "ports");
        let mut limits = top.section(&mut reader, "limits");
        let mut archives = top.section(&mut reader, "archives");
        let mut report = top.section(&mut reader, "report");
        let mut fleet = top.section(&mut reader, "fleet");
        let mut forge = top.section(&mut reader, "forge");
        let mut http = top.section(&mut reader, "http");
        let mut log = top.section(&mut reader, "log");

        let fragment = Self {
            url: state.take(&mut reader, "url", string),
            branch: state.take(&mut reader, "branch", string),
            poll: state.take(&mut reader, "poll", string),
            drift: state.take(&mut reader, "drift", string),
            dir: state.take(&mut reader, "dir", string),
            name: host.take(&mut reader, "name", string),
            root: host.take(&mut reader, "root", string),
            shells: accounts.take(&mut reader, "shells", strings),
            privileged_groups: accounts.take(&mut reader, "privileged_groups", strings),
            protected: accounts.take(&mut reader, "protected", strings),
            shared_primary_groups: accounts.take(&mut reader, "shared_primary_groups", strings),
            nologin: accounts.take(&mut reader, "nologin", string),
            service_group: accounts.take(&mut reader, "service_group", string),
            declared_benign: accounts.take(&mut reader, "declared_benign", strings),
            units: instance.take(&mut reader, "units", strings),
            environment: instance.take(&mut reader, "environment", string),
            login_map: files.take(&mut reader, "login_map", string),
            dispatch: files.take(&mut reader, "dispatch", string),
            admins: files.take(&mut reader, "admins", string),
            k8s_users: files.take(&mut reader, "k8s_users", string),
            ports: ports.take_every(&mut reader, integers),
            removals: limits.take(&mut reader, "removals", integer),
            share: limits.take(&mut reader, "share", integer),
            min_admins: limits.take(&mut reader, "min_admins", integer),
            retry_after: limits.take(&mut reader, "retry_after", string),
            archives: archives.take(&mut reader, "dir", string),
            grace_days: archives.take(&mut reader, "grace_days", integer),
            home_roots: archives.take(&mut reader, "homes", strings),
            recipients: archives.take(&mut reader, "recipients", strings),
            age: archives.take(&mut reader, "age", string),
            notes: report.take(&mut reader, "notes", boolean),
            fleet: FleetFragment {
                roles: fleet.take(&mut reader, "roles", strings),
                ledger: fleet.take(&mut reader, "ledger", string),
                hosts: fleet.take(&mut reader, "hosts", string),
                stale: fleet.take(&mut reader, "stale", string),
                name: fleet.take(&mut reader, "name", string),
            },
            forge: ForgeFragment {
                kind: forge.take(&mut reader, "kind", string),
                url: forge.take(&mut reader, "url", string),
                repository: forge.take(&mut reader, "repository", string),
                app: forge.take(&mut reader, "app", integer),
                installation: forge.take(&mut reader, "installation", integer),
                app_key: forge.take(&mut reader, "app_key", string),
                token: forge.take(&mut reader, "token", string),
                drift_issue: forge.take(&mut reader, "drift_issue", boolean),
                status: forge.take(&mut reader, "status", string),
            },
            http: HttpFragment {
                listen: http.take(&mut reader, "listen", string),
                certificate: http.take(&mut reader, "certificate", string),
                key: http.take(&mut reader, "key", string),
                webhook_secret: http.take(&mut reader, "webhook_secret", string),
            },
            level: log.take(&mut reader, "level", string),
            log_format: log.take(&mut reader, "format", string),
        };
        for section in [
            top, state, host, accounts, instance, files, limits, archives, report, fleet, forge,
            http, log,
        ] {
            section.refuse_the_rest(&mut reader);
        }
        fragment
    }
}

type Spanned<'i> = toml::Spanned<DeValue<'i>>;

struct Reader<'r> {
    file: &'r Arc<str>,
    text: &'r str,
    problems: &'r mut Vec<Problem>,
}

impl Reader<'_> {
    fn place(&self, span: &Range<usize>) -> Place {
        Place::of_span(self.file, self.text, span)
    }

    fn wrong_type(&mut self, key: &str, wanted: &str, found: &Spanned<'_>) {
        let place = self.place(&found.span());
        let found = found.get_ref().type_str();
        self.problems.push(Problem::new(
            place,
            format!("`{key}` must be {wanted}, not {found}"),
        ));
    }
}

/// A table out of which known keys are taken; what is left at the end is unknown.
struct Section<'i> {
    name: String,
    left: BTreeMap<String, (Range<usize>, Spanned<'i>)>,
    known: Vec<&'static str>,
}

impl<'i> Section<'i> {
    fn new(name: String, table: DeTable<'i>) -> Self {
        let left = table
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), (key.span(), value)))
            .collect();
        Self {
            name,
            left,
            known: Vec::new(),
        }
    }

    fn section(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Section<'i> {
        self.known.push(name);
        let table = match self.left.remove(name) {
            None => DeTable::new(),
            Some((_, value)) if value.get_ref().is_table() => match value.into_inner() {
                DeValue::Table(table) => table,
                _ => unreachable!("looked at one line above"),
            },
            Some((_, value)) => {
                reader.wrong_type(name, &format!("a section: write [{name}]"), &value);
                DeTable::new()
            }
        };
        Section::new(name.to_owned(), table)
    }

    fn take<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: Read<T>,
    ) -> Option<At<T>> {
        self.known.push(key);
        let (_, value) = self.left.remove(key)?;
        read(reader, key, &value)
    }

    fn take_every<T>(self, reader: &mut Reader<'_>, read: Read<T>) -> BTreeMap<String, At<T>> {
        let Self { left, .. } = self;
        left.into_iter()
            .filter_map(|(key, (_, value))| read(reader, &key, &value).map(|it| (key, it)))
            .collect()
    }

    fn refuse_the_rest(self, reader: &mut Reader<'_>) {
        let Self { name, left, known } = self;
        for (key, (span, _)) in left {
            let what = if name.is_empty() {
                format!("there is no section `{key}`")
            } else {
                format!("[{name}] has no key `{key}`")
            };
            let problem = Problem::new(reader.place(&span), what);
            reader
                .problems
                .push(match did_you_mean(&key, known.iter().copied()) {
                    Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                    None => problem.help(format!("it is one of: {}", known.join(", "))),
                });
        }
    }
}

type Read<T> = fn(&mut Reader<'_>, &str, &Spanned<'_>) -> Option<At<T>>;

fn string(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<String>> {
    let Some(text) = value.get_ref().as_str() else {
        reader.wrong_type(key, "a string in quotes", value);
        return None;
    };
    Some(At {
        value: text.to_owned(),
        place: reader.place(&value.span()),
    })
}

fn boolean(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<bool>> {
    let Some(truth) = value.get_ref().as_bool() else {
        reader.wrong_type(key, "true or false", value);
        return None;
    };
    Some(At {
        value: truth,
        place: reader.place(&value.span()),
    })
}

fn integer(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<i64>> {
    let number = value
        .get_ref()
        .as_integer()
        .and_then(|it| i64::from_str_radix(it.as_str(), it.radix()).ok());
    let Some(number) = number else {
        reader.wrong_type(key, "a whole number", value);
        return None;
    };
    Some(At {
        value: number,
        place: reader.place(&value.span()),
    })
}

fn strings(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Vec<At<String>>>> {
    list(
        reader,
        key,
        value,
        "a list of strings, such as [\"a\", \"b\"]",
        string,
    )
}

fn integers(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Vec<At<i64>>>> {
    list(
        reader,
        key,
        value,
        "the first and the last port, such as [3773, 8930]",
        integer,
    )
}

fn list<T>(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Spanned<'_>,
    wanted: &str,
    read: Read<T>,
) -> Option<At<Vec<At<T>>>> {
    let Some(items) = value.get_ref().as_array() else {
        reader.wrong_type(key, wanted, value);
        return None;
    };
    let read = items
        .iter()
        .filter_map(|item| read(reader, key, item))
        .collect();
    Some(At {
        value: read,
        place: reader.place(&value.span()),
    })
}
