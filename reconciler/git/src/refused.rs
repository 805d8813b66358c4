//! What git refused to fetch from a remote origin: a branch that is larger than a fetch may be, or one with an object that is no
//! object. It is asked for again seldom, or once it moves, so that it does not cost a gigabyte with every poll; and until then it
//! does not hold up the others.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use gix::hash::ObjectId;
use muster_core::time::Time;

use crate::fetch_error::FetchError;
use crate::refs;
use crate::run::{self, RunError};
use crate::sync;

/// The note of it, below the mirror: `AGAIN TIMES ID NAME WHY` in each line, the first as seconds since 1970. It can be lost; what
/// it tells of is then fetched once more.
const NOTE: &str = "refused";

/// The largest note that is written or read, in bytes, and the most references that are in it.
const LARGEST_NOTE: u64 = 4 << 20;
const MOST: usize = 5_000;

/// When it is asked for again. A connection that broke looks like a refusal, so what costs little is soon tried once more; each
/// refusal doubles the time.
const SOON: Duration = Duration::from_secs(60);
const COSTLY: Duration = Duration::from_secs(3_600);
const AT_MOST: Duration = Duration::from_secs(86_400);

/// Why one reference could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    /// Whether it was its size, or the time that it takes.
    pub(crate) costly: bool,
}

impl Refusal {
    pub(crate) fn of(error: &FetchError) -> Refusal {
        let costly = matches!(
            error,
            FetchError::Git {
                source: RunError::TooMuch { .. } | RunError::TimedOut { .. },
                ..
            }
        );
        let why = match error {
            FetchError::Git { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        Refusal { why, costly }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Noted {
    id: ObjectId,
    again: u64,
    times: u32,
    why: String,
}

/// How a reference is to be fetched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// With all others.
    Together,
    /// Apart: what it pointed to before was refused, or it is time to ask again.
    Apart,
    /// Not now, for this reason.
    Later(String),
}

/// What was refused, by its full name in the origin.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    noted: BTreeMap<String, Noted>,
    written: String,
}

impl Refused {
    /// What a process before this one noted in the mirror at `dir`.
    pub(crate) fn recall(dir: &Path) -> Refused {
        let bytes = refs::read_regular(&dir.join(NOTE), LARGEST_NOTE);
        let written = bytes
            .ok()
            .flatten()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default();
        let noted = written.lines().filter_map(parse).collect();
        Refused { noted, written }
    }

    /// Writes it down, when that is anything new.
    pub(crate) fn note(&mut self, dir: &Path) -> std::io::Result<()> {
        let mut text = String::new();
        for (name, it) in &self.noted {
            let Noted {
                id,
                again,
                times,
                why,
            } = it;
            let line = format!("{again} {times} {id} {name} {why}\n");
            if (text.len() + line.len()) as u64 <= LARGEST_NOTE {
                text.push_str(&line);
            }
        }
        if text != self.written {
            sync::replace_file(&dir.join(NOTE), text.as_bytes())?;
            self.written = text;
        }
        Ok(())
    }

    pub(crate) fn has_any_below(&self, prefix: &str) -> bool {
        self.noted.keys().any(|name| name.starts_with(prefix))
    }

    /// How to fetch `name`, which points to `id`, at the moment `now`.
    pub(crate) fn turn(&self, name: &str, id: &ObjectId, now: SystemTime) -> Turn {
        let Some(it) = self.noted.get(name) else {
            return Turn::Together;
        };
        let left = it.again.saturating_sub(seconds(now));
        // Whatever is further away was noted by a clock that has been set back since.
        if it.id != *id || left == 0 || left > AT_MOST.as_secs() {
            return Turn::Apart;
        }
        let again = Time(i64::try_from(it.again).unwrap_or(i64::MAX));
        Turn::Later(format!(
            "{}; it is fetched again when it moves, or after {again}",
            it.why
        ))
    }

    /// It was refused.
    pub(crate) fn refuse(&mut self, name: &str, id: ObjectId, refusal: &Refusal, now: SystemTime) {
        let times = self.noted.get(name).map_or(0, |it| it.times);
        let first = if refusal.costly { COSTLY } else { SOON };
        let wait = first
            .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
            .min(AT_MOST);
        let noted = Noted {
            id,
            again: seconds(now).saturating_add(wait.as_secs()),
            times: times.saturating_add(1).min(31),
            why: run::printable(refusal.why.as_bytes()),
        };
        if self.noted.len() >= MOST && !self.noted.contains_key(name) {
            let soonest = self.noted.iter().min_by_key(|(_, it)| it.again);
            if let Some(name) = soonest.map(|(name, _)| name.clone()) {
                self.noted.remove(&name);
            }
        }
        self.noted.insert(name.to_owned(), noted);
    }

    /// It has arrived.
    pub(crate) fn arrived(&mut self, name: &str) {
        self.noted.remove(name);
    }

    /// Forgets those below `prefix` that are not there any more.
    pub(crate) fn retain(&mut self, prefix: &str, is_there: impl Fn(&str) -> bool) {
        self.noted
            .retain(|name, _| !name.starts_with(prefix) || is_there(name));
    }
}

fn parse(line: &str) -> Option<(String, Noted)> {
    let mut words = line.splitn(5, ' ');
    let again = words.next()?.parse().ok()?;
    let times = words.next()?.parse().ok()?;
    let id = ObjectId::from_hex(words.next()?.as_bytes()).ok()?;
    let name = words.next().filter(|name| refs::is_legal(name))?;
    let noted = Noted {
        id,
        again,
        times,
        why: words.next()?.to_owned(),
    };
    Some((name.to_owned(), noted))
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn id(digit: char) -> ObjectId {
        ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn refusal(costly: bool) -> Refusal {
        let why = "git fetch gave more than 4 bytes\nand was stopped".to_owned();
        Refusal { why, costly }
    }

    /// When it is asked for again, in seconds from `now`; the time that it was refused at.
    fn waits(refused: &Refused, now: u64) -> u64 {
        let is_left = |wait: &u64| {
            let turn = refused.turn("refs/heads/a", &id('a'), at(now + wait));
            matches!(turn, Turn::Later(_))
        };
        let steps = [59, 60, 119, 120, 3_599, 3_600, 7_199, 7_200, 86_399, 86_400];
        steps.into_iter().find(|it| !is_left(it)).unwrap()
    }

    #[test]
    fn what_costs_much_is_asked_for_seldom_and_what_moves_at_once() {
        let mut refused = Refused::default();
        let name = "refs/heads/a";
        assert_eq!(refused.turn(name, &id('a'), at(5)), Turn::Together);
        for (costly, expected) in [(true, [3_600, 7_200]), (false, [60, 120])] {
            refused.arrived(name);
            for wait in expected {
                refused.refuse(name, id('a'), &refusal(costly), at(5));
                assert_eq!(waits(&refused, 5), wait);
            }
            assert_eq!(refused.turn(name, &id('b'), at(5)), Turn::Apart);
        }
        for _ in 0..100 {
            refused.refuse(name, id('a'), &refusal(true), at(5));
        }
        assert_eq!(waits(&refused, 5), 86_400);
        // The clock was years ahead, and is not any more.
        refused.refuse(name, id('a'), &refusal(true), at(900_000_000));
        assert_eq!(refused.turn(name, &id('a'), at(5)), Turn::Apart);
    }

    #[test]
    fn it_is_read_as_it_was_noted() {
        let dir = tempfile::tempdir().unwrap();
        let mut refused = Refused::recall(dir.path());
        refused.refuse("refs/heads/a", id('a'), &refusal(true), at(5));
        refused.refuse("refs/pull/7/head", id('b'), &refusal(false), at(5));
        refused.note(dir.path()).unwrap();
        let mut again = Refused::recall(dir.path());
        assert_eq!(again.noted, refused.noted);
        let words = "git fetch gave more than 4 bytes / and was stopped; \
                     it is fetched again when it moves, or after 1970-01-01T01:00:05Z";
        let turn = again.turn("refs/heads/a", &id('a'), at(6));
        assert_eq!(turn, Turn::Later(words.to_owned()));
        again.retain("refs/heads/", |_| false);
        assert!(!again.has_any_below("refs/heads/") && again.has_any_below("refs/pull/"));
        // What was written by nobody is not believed.
        fs::write(dir.path().join(NOTE), "1 2 3\n\0 x\nrefs/heads/b\n").unwrap();
        assert!(Refused::recall(dir.path()).noted.is_empty());
    }

    #[test]
    fn of_too_many_those_stay_that_are_asked_for_last() {
        let mut refused = Refused::default();
        refused.refuse("refs/heads/first", id('a'), &refusal(true), at(5));
        for n in 0..MOST + 5 {
            refused.refuse(&format!("refs/heads/{n}"), id('a'), &refusal(false), at(5));
        }
        assert_eq!(refused.noted.len(), MOST);
        assert!(refused.has_any_below("refs/heads/first"));
    }
}
