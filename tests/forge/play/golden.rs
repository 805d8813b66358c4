//! What people see at each act, beside what it was when somebody last looked at it and found it good.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use similar::TextDiff;

/// The golden files of a play.
pub(crate) struct Goldens {
    dir: PathBuf,
    update: bool,
    claimed: BTreeSet<String>,
}

impl Goldens {
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            update: std::env::var_os("UPDATE").is_some(),
            claimed: BTreeSet::new(),
        }
    }

    /// What differs from the golden file of that name; it is written anew where that was asked for.
    pub(crate) fn compare(&mut self, name: &str, text: &str) -> Result<(), String> {
        self.claimed.insert(name.to_owned());
        let path = self.dir.join(name);
        let before = fs::read_to_string(&path).unwrap_or_default();
        if before == text {
            return Ok(());
        }
        if self.update {
            return fs::write(&path, text).map_err(|error| error.to_string());
        }
        let diff = TextDiff::from_lines(&before, text);
        Err(format!(
            "{name} is not what it was (UPDATE=1 takes it as it is)\n{}",
            diff.unified_diff().header("golden", "now")
        ))
    }

    /// Golden files that no act claims any more.
    pub(crate) fn unclaimed(&self) -> Vec<String> {
        let found = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let left: Vec<String> = found
            .map(|it| it.file_name().to_string_lossy().into_owned())
            .filter(|it| !self.claimed.contains(it))
            .collect();
        if self.update {
            for name in &left {
                let _ = fs::remove_file(self.dir.join(name));
            }
            return Vec::new();
        }
        left
    }
}

/// `text` without what is another in every run: moments, days, the names of tags that begin with one, what marks our comments, and which guest
/// of a hypervisor it is about.
pub(crate) fn stable(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let found = [
            ("dddd-dd-ddTdd:dd:ddZ", "MOMENT"),
            ("dddd-dd-dd", "DAY"),
            (
                "release/ddddddddTddddddZ-hhhhhhhhhhhhhhhh-hhhhhhhh",
                "RELEASE",
            ),
            // It is made of the forge's address, and so of a port.
            (
                "proposal/1/hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh/",
                "proposal/1/MARK/",
            ),
            // Which guest it is, the hypervisor says; what is done with it goes by that.
            ("hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh", "UUID"),
            ("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh guest.", "STEP guest."),
            (
                "guests/lab hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
                "guests/lab STEP",
            ),
            ("e-hhhhhhhh-ol", "e-MARK-ol"),
        ]
        .into_iter()
        .chain(text.contains("guests/lab").then_some(PLAN))
        .find(|(shape, _)| has_shape(rest, shape));
        match found {
            Some((shape, name)) => {
                out.push_str(name);
                rest = &rest[shape.len()..];
            }
            None => {
                let first = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..first]);
                rest = &rest[first..];
            }
        }
    }
    out
}

/// The digest of a plan, which is of the guests in it, too.
const PLAN: (&str, &str) = (
    "plan `hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh`",
    "plan `DIGEST`",
);

/// Whether a text begins like that: `d` is a digit, `h` one of sixteen.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() >= shape.len()
        && text.bytes().zip(shape.bytes()).all(|(is, as_)| match as_ {
            b'd' => is.is_ascii_digit(),
            b'h' => is.is_ascii_hexdigit(),
            as_ => is == as_,
        })
}
