//! What systemd knows of accounts and groups: records in files (userdb), and services behind sockets, of which homed is one.
//!
//! Files are as in nss-systemd(8), services as in <https://systemd.io/USER_GROUP_API>: each has a socket in one directory, named as
//! the service, and speaks Varlink: JSON objects, each ended by a NUL byte. Nothing that a service says is believed but that it has
//! a record, and nothing it does holds anybody up for long: messages are bounded, and all of them together have one deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Source;

/// Where records are files, the first directory counting most.
const RECORDS: [&str; 5] = [
    "etc/userdb",
    "run/userdb",
    "run/host/userdb",
    "usr/local/lib/userdb",
    "usr/lib/userdb",
];
/// Where services have their sockets.
const SERVICES: &str = "run/systemd/userdb";
/// Services that show what is asked without them: all the other services, the C library, and the files above. Where nobody
/// listens there, nothing is missed.
const WINDOWS: [&str; 3] = [
    "io.systemd.Multiplexer",
    "io.systemd.NameServiceSwitch",
    "io.systemd.DropIn",
];

/// How many files and services there may be, how long a record or an answer may be, and all of the files together.
const MOST_RECORDS: usize = 20_000;
const MOST_SERVICES: usize = 64;
const LONGEST: u64 = 1 << 20;
const MOST_BYTES: u64 = 32 << 20;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// All of them, read or connected.
pub(super) struct Userdb {
    users: BTreeMap<String, Option<u32>>,
    groups: BTreeSet<String>,
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    services: Vec<Service>,
}

impl Userdb {
    /// # Errors
    /// When files cannot be listed, or somebody whose socket is there takes no questions.
    pub(super) fn open(root: &Path, deadline: Instant) -> Result<Self, String> {
        let mut it = Self {
            users: BTreeMap::new(),
            groups: BTreeSet::new(),
            uids: BTreeSet::new(),
            gids: BTreeSet::new(),
            services: Vec::new(),
        };
        let (mut records, mut bytes) = (0, 0);
        for dir in RECORDS {
            for path in listed(&root.join(dir))? {
                records += 1;
                if records > MOST_RECORDS || bytes > MOST_BYTES {
                    return Err(format!(
                        "there are more records of accounts than can be looked through in {}",
                        root.join(dir).display()
                    ));
                }
                bytes += it.take_record(&path);
            }
        }
        let services = listed(&root.join(SERVICES))?;
        if services.len() > MOST_SERVICES {
            return Err(format!(
                "there are more than {MOST_SERVICES} sockets in /{SERVICES}"
            ));
        }
        for path in services {
            it.services.extend(Service::connect(path, deadline)?);
        }
        Ok(it)
    }

    /// Takes a record in, as far as it can be read: a name is taken by the name of its file alone. Gives its length.
    fn take_record(&mut self, path: &Path) -> u64 {
        let (Some(stem), Some(kind)) = (
            path.file_stem().and_then(|it| it.to_str()),
            path.extension().and_then(|it| it.to_str()),
        ) else {
            return 0;
        };
        let (names, of_users) = match kind {
            "user" => (["userName", "uid"], true),
            "group" => (["groupName", "gid"], false),
            _ => return 0,
        };
        let text = read_record(path).unwrap_or_default();
        let record: Value = serde_json::from_slice(&text).unwrap_or(Value::Null);
        let id = record.get(names[1]).and_then(id);
        let mut known_as = Vec::new();
        match stem.parse::<u32>() {
            // A file named by number stands for one that has the name.
            Ok(number) => {
                if of_users {
                    &mut self.uids
                } else {
                    &mut self.gids
                }
                .insert(number);
            }
            Err(_) => known_as.push(stem),
        }
        known_as.extend(record.get(names[0]).and_then(Value::as_str));
        if of_users {
            self.uids.extend(id);
            // Their own group has their uid where the record does not say otherwise.
            self.gids.extend(record.get("gid").and_then(self::id));
            for name in known_as {
                let seen = self.users.entry(name.to_owned()).or_default();
                *seen = seen.or(id);
            }
        } else {
            self.gids.extend(id);
            self.groups.extend(known_as.into_iter().map(str::to_owned));
        }
        text.len() as u64
    }

    fn ask(&mut self, method: &str, key: &str, value: &Value) -> Result<Option<Value>, String> {
        for service in &mut self.services {
            if let Some(record) = service.ask(method, key, value)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

impl Source for Userdb {
    fn account(&mut self, name: &str) -> Result<Option<Option<u32>>, String> {
        if let Some(uid) = self.users.get(name) {
            return Ok(Some(*uid));
        }
        let found = self.ask("GetUserRecord", "userName", &json!(name))?;
        Ok(found.map(|record| record.get("uid").and_then(id)))
    }

    fn has_group(&mut self, name: &str) -> Result<bool, String> {
        if self.groups.contains(name) {
            return Ok(true);
        }
        let found = self.ask("GetGroupRecord", "groupName", &json!(name))?;
        Ok(found.is_some())
    }

    fn has_uid(&mut self, uid: u32) -> Result<bool, String> {
        if self.uids.contains(&uid) {
            return Ok(true);
        }
        let found = self.ask("GetUserRecord", "uid", &json!(uid))?;
        Ok(found.is_some())
    }

    fn has_gid(&mut self, gid: u32) -> Result<bool, String> {
        if self.gids.contains(&gid) {
            return Ok(true);
        }
        let found = self.ask("GetGroupRecord", "gid", &json!(gid))?;
        Ok(found.is_some())
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|it| u32::try_from(it).ok())
}

/// The files in a directory, sorted; none where there is no such directory.
fn listed(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let names = match crate::dir::names_in(&dir.to_string_lossy()) {
        Ok(names) => names,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(format!("cannot list {}: {error}", dir.display())),
    };
    // Hidden ones, which a change in progress makes, count for nobody; the directory itself is among them.
    let shown = names.iter().filter(|it| !it.as_bytes().starts_with(b"."));
    let mut paths: Vec<PathBuf> = shown.map(|it| dir.join(it)).collect();
    paths.sort();
    Ok(paths)
}

fn read_record(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // What is no file might be waited for.
    if fs::metadata(path)?.is_file() {
        File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// One who answers behind a socket.
struct Service {
    path: PathBuf,
    stream: UnixStream,
    /// What was read and belongs to no answer yet.
    rest: Vec<u8>,
    deadline: Instant,
}

impl Service {
    fn connect(path: PathBuf, deadline: Instant) -> Result<Option<Self>, String> {
        let name = path.file_name().unwrap_or_default();
        let window = WINDOWS.iter().any(|it| name == *it);
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Some(Self {
                path,
                stream,
                rest: Vec::new(),
                deadline,
            })),
            // It went away since it was listed, or what lies there is no socket.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(_) if window => Ok(None),
            Err(error) => Err(not_understood(
                &path,
                &format!("takes no questions ({error})"),
            )),
        }
    }

    /// The record that it has, if it has one.
    fn ask(&mut self, method: &str, key: &str, value: &Value) -> Result<Option<Value>, String> {
        let service = self.path.file_name().unwrap_or_default();
        let call = json!({
            "method": format!("io.systemd.UserDatabase.{method}"),
            "parameters": { key: value, "service": service.to_string_lossy() },
        });
        let answer = self.exchange(&call).map_err(|error| {
            let why = match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => "does not answer in time".to_owned(),
                _ => format!("gives no answer ({error})"),
            };
            not_understood(&self.path, &why)
        })?;
        let parameters = answer.get("parameters");
        match answer
            .get("error")
            .map(|it| it.as_str().unwrap_or_default())
        {
            None => match parameters.and_then(|it| it.get("record")) {
                Some(record) if record.is_object() => Ok(Some(record.clone())),
                _ => Err(not_understood(&self.path, "answers what is no answer")),
            },
            Some("io.systemd.UserDatabase.NoRecordFound") => Ok(None),
            // It has one, of which it will not say more.
            Some(
                "io.systemd.UserDatabase.ConflictingRecordFound"
                | "io.systemd.UserDatabase.NonMatchingRecordFound",
            ) => Ok(Some(Value::Null)),
            Some(other) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
                let shown: String = other.chars().filter(|c| plain(*c)).take(80).collect();
                let why = format!("answers with an error ({shown})");
                Err(not_understood(&self.path, &why))
            }
        }
    }

    fn exchange(&mut self, call: &Value) -> io::Result<Value> {
        let until = self.deadline.min(Instant::now() + PATIENCE);
        let mut message = call.to_string().into_bytes();
        message.push(0);
        self.stream.set_write_timeout(Some(left(until)?))?;
        self.stream.write_all(&message)?;
        loop {
            if let Some(end) = memchr::memchr(0, &self.rest) {
                let answer = serde_json::from_slice(&self.rest[..end]);
                self.rest.drain(..=end);
                return answer.map_err(|_| io::Error::other("it is no JSON"));
            }
            if self.rest.len() as u64 > LONGEST {
                return Err(io::Error::other("it is too long"));
            }
            // Anew each time: who sends a byte now and then has no more time than others.
            self.stream.set_read_timeout(Some(left(until)?))?;
            let mut some = [0; 1 << 14];
            match self.stream.read(&mut some) {
                Ok(0) => return Err(io::Error::other("it hung up")),
                Ok(count) => self.rest.extend_from_slice(&some[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn not_understood(path: &Path, why: &str) -> String {
    format!(
        "{}, which knows accounts of this host, {why}: `userdbctl user` asks the same. Start the service behind it again, or remove the \
         socket; no account is made before, since its name or its uid could be somebody's",
        path.display()
    )
}

#[cfg(test)]
mod tests;
