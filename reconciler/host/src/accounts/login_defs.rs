//! `/etc/login.defs` and `/etc/default/useradd`, or the vendor's in `/usr/etc`, and the parts in `login.defs.d`: what new accounts look like on this host.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::root::{RootDir, RootError};

const LOGIN_DEFS: &str = "etc/login.defs";
const USERADD: &str = "etc/default/useradd";
/// Where a vendor's files are that those of `/etc` stand in for (SUSE, and others that keep `/etc` for the administrator).
const VENDOR: &str = "usr/";
/// Parts beside the file, read after it in the order of their names; one in `/etc` stands in for the vendor's of its name.
const PARTS: &str = "etc/login.defs.d";
const SUFFIX: &str = ".defs";

/// The settings of `/etc/login.defs` that making accounts depends on. A missing file or key has the value that the
/// shadow suite is built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginDefs {
    /// `UID_MIN` and `UID_MAX`: the uids of people.
    pub uids: RangeInclusive<u32>,
    /// `GID_MIN` and `GID_MAX`: the gids of their groups.
    pub gids: RangeInclusive<u32>,
    /// `SYS_UID_MIN` and `SYS_UID_MAX`: the uids of packages.
    pub system_uids: RangeInclusive<u32>,
    /// `SYS_GID_MIN` and `SYS_GID_MAX`: the gids of packages.
    pub system_gids: RangeInclusive<u32>,
    /// `SUB_UID_MIN` and `SUB_UID_MAX`.
    pub subuids: RangeInclusive<u64>,
    /// `SUB_UID_COUNT`; 0 gives no range.
    pub subuid_count: u64,
    /// `SUB_GID_MIN` and `SUB_GID_MAX`.
    pub subgids: RangeInclusive<u64>,
    /// `SUB_GID_COUNT`; 0 gives no range.
    pub subgid_count: u64,
    /// `UMASK`.
    pub umask: u32,
    /// `HOME_MODE`; where it is not set, 0700 (R37): stricter than the umask, since nobody asked for open homes.
    pub home_mode: u32,
    /// `USERGROUPS_ENAB`: whether `userdel` removes private groups.
    pub usergroups: bool,
    /// `PASS_MIN_DAYS`, `PASS_MAX_DAYS` and `PASS_WARN_AGE`.
    pub aging: Aging,
}

/// The dates of a new shadow line, in days; `None` leaves the field empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aging {
    /// `PASS_MIN_DAYS`.
    pub min: Option<i64>,
    /// `PASS_MAX_DAYS`.
    pub max: Option<i64>,
    /// `PASS_WARN_AGE`.
    pub warn: Option<i64>,
    /// `INACTIVE` of `/etc/default/useradd`.
    pub inactive: Option<i64>,
    /// `EXPIRE` of `/etc/default/useradd`, as a day counted from 1970-01-01.
    pub expire: Option<i64>,
}

/// The settings of `/etc/default/useradd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseraddDefaults {
    /// `HOME`: the directory that homes are made in.
    pub home: String,
    /// `SHELL`.
    pub shell: String,
    /// `SKEL`: the directory whose content a new home gets.
    pub skel: String,
    /// `INACTIVE`, in days.
    pub inactive: Option<i64>,
    /// `EXPIRE`, as a day counted from 1970-01-01.
    pub expire: Option<i64>,
}

/// Why the settings could not be read. The shadow suite would go on with its own value; that gives ids that nobody
/// asked for, so we do not.
#[derive(Debug, thiserror::Error)]
pub enum LoginDefsError {
    /// The file system refused.
    #[error("cannot read the settings of new accounts")]
    Root(#[from] RootError),
    /// A value is not what its key takes.
    #[error("/{file}:{line}:{column}: {key} is {value:?}, but it takes {takes}")]
    Value {
        /// Which file, relative to the root.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The column of the value in bytes, counted from 1.
        column: usize,
        /// The key.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What could stand there.
        takes: &'static str,
    },
    /// The lower end of a range is above the upper one.
    #[error("/{file}: {min} is above {max}, so no id is left; swap or correct them")]
    Empty {
        /// Which file, relative to the root.
        file: String,
        /// The key of the lower end.
        min: &'static str,
        /// The key of the upper end.
        max: &'static str,
    },
}

impl LoginDefs {
    /// Reads the settings of a root, both files; the dates of [`Aging`] come from both.
    ///
    /// # Errors
    /// When a file exists and cannot be read, or a value in it is not what its key takes.
    pub fn read(root: &RootDir) -> Result<(Self, UseraddDefaults), LoginDefsError> {
        let mut defs = Self::of(&login_defs_of(root)?)?;
        let useradd = UseraddDefaults::of(&read_or_vendors(root, USERADD)?)?;
        defs.aging.inactive = useradd.inactive;
        defs.aging.expire = useradd.expire;
        Ok((defs, useradd))
    }

    /// Reads the settings as far as they can be read. What is wrong with them matters to whoever is to get an account, and
    /// to nobody else (F25): it comes back beside the values that the shadow suite is built with.
    #[must_use]
    pub fn read_what_can_be(root: &RootDir) -> (Self, UseraddDefaults, Option<String>) {
        match Self::read(root) {
            Ok((defs, useradd)) => (defs, useradd, None),
            Err(error) => {
                let built_in = "BUG: no settings at all are always understood";
                let defs = login_defs_of(root).unwrap_or_default();
                let defs = Self::of(&defs).unwrap_or_else(|_| Self::parse("").expect(built_in));
                let useradd = read_or_vendors(root, USERADD).unwrap_or_default();
                let useradd = UseraddDefaults::of(&useradd)
                    .unwrap_or_else(|_| UseraddDefaults::parse("").expect(built_in));
                (defs, useradd, Some(crate::dir::with_causes(&error)))
            }
        }
    }

    /// Takes the text of `/etc/login.defs` apart. Of a key that stands there twice, the last one counts.
    ///
    /// # Errors
    /// When a value is not what its key takes.
    pub fn parse(text: &str) -> Result<Self, LoginDefsError> {
        Self::of(&[(LOGIN_DEFS.to_owned(), text.to_owned())])
    }

    /// As [`Self::parse`], of the file and its parts, each with its name. Of a key that stands in several, the last one counts.
    fn of(texts: &[(String, String)]) -> Result<Self, LoginDefsError> {
        let entries = texts
            .iter()
            .flat_map(|(file, text)| login_defs_entries(file, text));
        let file = Settings {
            entries: entries.collect(),
        };
        let uid_min = file.number("UID_MIN")?.unwrap_or(1000);
        let gid_min = file.number("GID_MIN")?.unwrap_or(1000);
        let umask = file.mode("UMASK")?.unwrap_or(0o022);
        let days = |key| -> Result<Option<i64>, LoginDefsError> {
            Ok(file.days(key)?.filter(|day| *day != -1))
        };
        Ok(Self {
            uids: file.range("UID_MIN", uid_min, "UID_MAX", 60_000)?,
            gids: file.range("GID_MIN", gid_min, "GID_MAX", 60_000)?,
            system_uids: file.range(
                "SYS_UID_MIN",
                101,
                "SYS_UID_MAX",
                uid_min.saturating_sub(1),
            )?,
            system_gids: file.range(
                "SYS_GID_MIN",
                101,
                "SYS_GID_MAX",
                gid_min.saturating_sub(1),
            )?,
            subuids: file.range("SUB_UID_MIN", 100_000, "SUB_UID_MAX", 600_100_000)?,
            subuid_count: file.number("SUB_UID_COUNT")?.unwrap_or(65_536),
            subgids: file.range("SUB_GID_MIN", 100_000, "SUB_GID_MAX", 600_100_000)?,
            subgid_count: file.number("SUB_GID_COUNT")?.unwrap_or(65_536),
            umask,
            home_mode: file.mode("HOME_MODE")?.unwrap_or(0o700),
            usergroups: file
                .get("USERGROUPS_ENAB")
                .is_some_and(|entry| entry.value.eq_ignore_ascii_case("yes")),
            aging: Aging {
                min: days("PASS_MIN_DAYS")?,
                max: days("PASS_MAX_DAYS")?,
                warn: days("PASS_WARN_AGE")?,
                inactive: None,
                expire: None,
            },
        })
    }
}

impl UseraddDefaults {
    /// Takes the text of `/etc/default/useradd` apart. Of a key that stands there twice, the last one counts.
    ///
    /// # Errors
    /// When a value is not what its key takes.
    pub fn parse(text: &str) -> Result<Self, LoginDefsError> {
        Self::of(&[(USERADD.to_owned(), text.to_owned())])
    }

    fn of(texts: &[(String, String)]) -> Result<Self, LoginDefsError> {
        let entries = texts
            .iter()
            .flat_map(|(file, text)| useradd_entries(file, text));
        let file = Settings {
            entries: entries.collect(),
        };
        let path = |key, default: &str| match file.get(key) {
            Some(entry) if entry.value.is_empty() => Ok(default.to_owned()),
            Some(entry) if entry.value.starts_with('/') => Ok(entry.value.to_owned()),
            Some(entry) => Err(file.wrong(entry, key, "an absolute path")),
            None => Ok(default.to_owned()),
        };
        let expire = match file.get("EXPIRE") {
            Some(entry) if !entry.value.is_empty() => Some(
                day(entry.value)
                    .ok_or_else(|| file.wrong(entry, "EXPIRE", "a date as in 2026-12-31"))?,
            ),
            _ => None,
        };
        Ok(Self {
            home: path("HOME", "/home")?,
            shell: path("SHELL", "/bin/sh")?,
            skel: path("SKEL", "/etc/skel")?,
            inactive: file.days("INACTIVE")?.filter(|days| *days != -1),
            expire: expire.filter(|day| *day != -1),
        })
    }
}

/// The texts of a file, with its path relative to the root: that of `/etc`, or the vendor's where there is none.
fn read_or_vendors(root: &RootDir, path: &str) -> Result<Vec<(String, String)>, RootError> {
    for path in [path.to_owned(), format!("{VENDOR}{path}")] {
        if let Some(bytes) = root.read(&path)? {
            return Ok(vec![(path, String::from_utf8_lossy(&bytes).into_owned())]);
        }
    }
    Ok(Vec::new())
}

/// `login.defs` and its parts, in the order in which they count.
fn login_defs_of(root: &RootDir) -> Result<Vec<(String, String)>, RootError> {
    let mut texts = read_or_vendors(root, LOGIN_DEFS)?;
    let mut names = BTreeSet::new();
    for dir in [PARTS.to_owned(), format!("{VENDOR}{PARTS}")] {
        match root.directory(&dir) {
            Ok(dir) => names.extend(dir.names()?),
            Err(error)
                if matches!(
                    error.source.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(error) => return Err(error),
        }
    }
    for name in names
        .iter()
        .filter(|it| it.ends_with(SUFFIX) && !it.starts_with('.'))
    {
        texts.extend(read_or_vendors(root, &format!("{PARTS}/{name}"))?);
    }
    Ok(texts)
}

struct Settings<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    key: &'a str,
    value: &'a str,
}

impl Settings<'_> {
    fn get(&self, key: &str) -> Option<&Entry<'_>> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }

    fn wrong(&self, entry: &Entry<'_>, key: &'static str, takes: &'static str) -> LoginDefsError {
        let Entry {
            file,
            line,
            column,
            key: _,
            value,
        } = *entry;
        LoginDefsError::Value {
            file: file.to_owned(),
            line,
            column,
            key,
            value: value.to_owned(),
            takes,
        }
    }

    fn number<T: TryFrom<u64>>(&self, key: &'static str) -> Result<Option<T>, LoginDefsError> {
        let Some(entry) = self.get(key) else {
            return Ok(None);
        };
        let number = unsigned(entry.value).and_then(|number| T::try_from(number).ok());
        number
            .map(Some)
            .ok_or_else(|| self.wrong(entry, key, "an id or a count"))
    }

    fn mode(&self, key: &'static str) -> Result<Option<u32>, LoginDefsError> {
        let Some(entry) = self.get(key) else {
            return Ok(None);
        };
        let mode = u32::from_str_radix(entry.value, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777);
        mode.map(Some)
            .ok_or_else(|| self.wrong(entry, key, "an octal mode"))
    }

    fn days(&self, key: &'static str) -> Result<Option<i64>, LoginDefsError> {
        let Some(entry) = self.get(key) else {
            return Ok(None);
        };
        match i32::from_str(entry.value) {
            Ok(days) if days >= -1 => Ok(Some(i64::from(days))),
            _ => Err(self.wrong(entry, key, "a number of days, or -1 for none")),
        }
    }

    fn range<T: TryFrom<u64> + PartialOrd>(
        &self,
        min: &'static str,
        least: T,
        max: &'static str,
        most: T,
    ) -> Result<RangeInclusive<T>, LoginDefsError> {
        let (low, high) = (
            self.number(min)?.unwrap_or(least),
            self.number(max)?.unwrap_or(most),
        );
        if low > high {
            let said = self.get(max).or(self.get(min));
            Err(LoginDefsError::Empty {
                file: said.map_or(LOGIN_DEFS, |it| it.file).to_owned(),
                min,
                max,
            })
        } else {
            Ok(low..=high)
        }
    }
}

/// `KEY value`, blanks between them, `"` around the value, `#` at the beginning of a line.
fn login_defs_entries<'a>(file: &'a str, text: &'a str) -> Vec<Entry<'a>> {
    let blank = |c: char| matches!(c, ' ' | '\t');
    let mut entries = Vec::new();
    for (at, whole) in text.lines().enumerate() {
        let line = whole.trim_end().trim_start_matches(blank);
        let Some((key, rest)) = line.split_once(blank).filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let value = rest.trim_start_matches(|c| blank(c) || c == '"');
        let value = value.split('"').next().unwrap_or_default();
        // The shadow suite would take no such value, and go on with its own: that is not what the line says.
        let value = match value.split_once(" #").or_else(|| value.split_once("\t#")) {
            Some((value, _)) => value.trim_end_matches(blank),
            None => value,
        };
        entries.push(Entry {
            file,
            line: at + 1,
            column: column(whole, value),
            key,
            value,
        });
    }
    entries
}

/// `KEY=value`, nothing else.
fn useradd_entries<'a>(file: &'a str, text: &'a str) -> Vec<Entry<'a>> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(at, whole)| {
            let (key, value) = whole.split_once('=')?;
            Some(Entry {
                file,
                line: at + 1,
                column: column(whole, value),
                key,
                value,
            })
        })
        .collect()
}

fn column(line: &str, value: &str) -> usize {
    value.as_ptr() as usize - line.as_ptr() as usize + 1
}

/// Decimal, hexadecimal after `0x`, octal after `0`.
fn unsigned(value: &str) -> Option<u64> {
    let (digits, radix) = match value.strip_prefix('0') {
        Some(rest) if rest.starts_with(['x', 'X']) => (&rest[1..], 16),
        Some(rest) if !rest.is_empty() => (rest, 8),
        _ => (value, 10),
    };
    (!digits.starts_with('+')).then(|| u64::from_str_radix(digits, radix).ok())?
}

/// A date `YYYY-MM-DD`, or days since 1970-01-01.
fn day(value: &str) -> Option<i64> {
    if let Ok(days) = value.parse::<i64>() {
        return Some(days);
    }
    let mut parts = value.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_has_the_values_of_the_shadow_suite() {
        let defs = LoginDefs::parse("").unwrap();
        assert_eq!((defs.uids, defs.system_uids), (1000..=60_000, 101..=999));
        assert_eq!(
            (defs.subuids, defs.subuid_count),
            (100_000..=600_100_000, 65_536)
        );
        assert_eq!(
            (defs.umask, defs.home_mode, defs.usergroups),
            (0o022, 0o700, false)
        );
        assert_eq!(defs.aging, Aging::default());
        let useradd = UseraddDefaults::parse("").unwrap();
        assert_eq!(
            (&*useradd.home, &*useradd.shell, &*useradd.skel),
            ("/home", "/bin/sh", "/etc/skel")
        );
    }

    #[test]
    fn reads_the_forms_that_people_write() {
        let text = "# UID_MIN 7\n\tUID_MIN\t\t 2000 \nUID_MAX \"2999\"\nUMASK 077\nUSERGROUPS_ENAB YES\n\
                    PASS_MAX_DAYS -1\nPASS_MIN_DAYS 3\nSUB_UID_COUNT 0x10\nUID_MIN 2001\nALONE\n";
        let defs = LoginDefs::parse(text).unwrap();
        assert_eq!((defs.uids, defs.system_uids), (2001..=2999, 101..=2000));
        assert_eq!(
            (defs.home_mode, defs.usergroups, defs.subuid_count),
            (0o700, true, 16)
        );
        assert_eq!((defs.aging.min, defs.aging.max), (Some(3), None));
        let useradd =
            UseraddDefaults::parse("# HOME=/x\nHOME=/srv\nSKEL=\nEXPIRE=2026-11-22\nINACTIVE=-1\n")
                .unwrap();
        assert_eq!((&*useradd.home, &*useradd.skel), ("/srv", "/etc/skel"));
        assert_eq!((useradd.expire, useradd.inactive), (Some(20_779), None));
    }

    #[test]
    fn a_comment_behind_a_value_is_no_part_of_it() {
        let text = "UID_MIN 5000 # was 1000\nHOME_MODE\t0750\t# open\nUMASK 077   #x\n";
        let defs = LoginDefs::parse(text).unwrap();
        assert_eq!(
            (*defs.uids.start(), defs.home_mode, defs.umask),
            (5_000, 0o750, 0o077)
        );
        assert!(LoginDefs::parse("UID_MIN 5000#").is_err());
    }

    #[test]
    fn what_is_wrong_with_settings_comes_beside_what_they_say_otherwise() {
        let scratch = tempfile::tempdir().unwrap();
        let etc = scratch.path().join("etc");
        std::fs::create_dir_all(etc.join("default")).unwrap();
        std::fs::write(etc.join("login.defs"), "UID_MIN 5000\n").unwrap();
        std::fs::write(etc.join("default/useradd"), "HOME=srv\n").unwrap();
        let root = RootDir::open(scratch.path(), crate::root::Ownership::Recorded).unwrap();
        let (defs, useradd, wrong) = LoginDefs::read_what_can_be(&root);
        assert_eq!((*defs.uids.start(), &*useradd.home), (5_000, "/home"));
        assert!(wrong.unwrap().contains("/etc/default/useradd:1:6"));
    }

    /// F26.
    #[test]
    fn the_vendors_settings_count_where_the_administrator_has_none_and_parts_come_after_both() {
        let scratch = tempfile::tempdir().unwrap();
        let root = RootDir::open(scratch.path(), crate::root::Ownership::Recorded).unwrap();
        let put = |path: &str, text: &str| {
            let path = scratch.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let seen = || {
            let (defs, useradd) = LoginDefs::read(&root).unwrap();
            (*defs.uids.start(), *defs.uids.end(), useradd.home)
        };
        put("usr/etc/login.defs", "UID_MIN 5000\nUID_MAX 5999\n");
        put("usr/etc/default/useradd", "HOME=/srv\n");
        assert_eq!(seen(), (5_000, 5_999, "/srv".into()));
        put("usr/etc/login.defs.d/50-site.defs", "UID_MAX 6000\n");
        put("usr/etc/login.defs.d/60-site.defs", "UID_MAX 6001\n");
        put("usr/etc/login.defs.d/README", "UID_MAX 1\n");
        put("etc/login.defs.d/50-site.defs", "UID_MIN 5500\n");
        assert_eq!(seen(), (5_500, 6_001, "/srv".into()));
        // The administrator's file stands in for all of the vendor's.
        put("etc/login.defs", "UID_MIN 2000\n");
        put("etc/login.defs.d/50-site.defs", "");
        put("etc/default/useradd", "");
        assert_eq!(seen(), (2_000, 6_001, "/home".into()));
        put("etc/login.defs.d/50-site.defs", "UID_MIN many\n");
        let (.., wrong) = LoginDefs::read_what_can_be(&root);
        assert!(
            wrong
                .unwrap()
                .contains("/etc/login.defs.d/50-site.defs:1:9")
        );
    }

    #[test]
    fn says_where_a_value_is_wrong() {
        let error = |text| LoginDefs::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("\nUID_MIN  many\n"),
            "/etc/login.defs:2:10: UID_MIN is \"many\", but it takes an id or a count"
        );
        assert_eq!(
            error("UMASK 9"),
            "/etc/login.defs:1:7: UMASK is \"9\", but it takes an octal mode"
        );
        assert_eq!(
            error("UID_MIN 70000"),
            "/etc/login.defs: UID_MIN is above UID_MAX, so no id is left; swap or correct them"
        );
        let error = UseraddDefaults::parse("HOME=home").unwrap_err().to_string();
        assert_eq!(
            error,
            "/etc/default/useradd:1:6: HOME is \"home\", but it takes an absolute path"
        );
        assert!(UseraddDefaults::parse("EXPIRE=2026-13-01").is_err());
    }

    #[test]
    fn counts_days() {
        for (date, expected) in [
            ("1970-01-01", 0),
            ("1972-02-29", 789),
            ("2000-03-01", 11_017),
            ("2026-11-22", 20_779),
        ] {
            assert_eq!(day(date), Some(expected), "{date}");
        }
    }
}
