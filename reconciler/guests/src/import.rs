//! A first `guests/<name>.yaml` out of what runs: the plan after it has no step (H3, GB7).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use muster_core::diagnostic::visible;
use muster_core::executor::Executor;
use muster_core::guests::action::Marker;
use muster_core::guests::desired::Run;
use muster_core::guests::normal;
use muster_core::guests::observed::{Config, Guest, Sight};
use muster_core::reading::Reading;
use muster_core::rooms;
use muster_core::yaml::scalar::taken_for;

const HEADER: &str = "\
# Made from the guests of a hypervisor, as they stood. Every line can be taken out: what is not said is left as it is, and so is a guest
# that is not named. `destroy: true` is the only thing that asks for the end of one, and it waits for a signed release.
";

/// A file made of what runs, and what it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The file.
    pub text: String,
    /// What stands there otherwise than a row can say, each in a sentence: left out of the file, and so left alone.
    pub left_out: Vec<String>,
}

/// Writes the file. Of a cluster, the guests of `node` alone; what cannot be a row is named in a comment.
///
/// # Errors
/// When the guests could not be read, with the reason.
pub fn import(observed: &rooms::Observed, node: Option<&str>) -> Result<Imported, String> {
    let rooms::Observed::Guests(observed) = observed else {
        return Err("these are no guests".to_owned());
    };
    let guests = match &observed.guests {
        Reading::Known(guests) => guests,
        Reading::Unknown(why) => return Err(why.clone()),
    };
    let (mut text, mut rows) = (HEADER.to_owned(), String::new());
    let mut left_out = Vec::new();
    for (name, sight) in ordered(guests) {
        match row(name, sight, node, &mut left_out) {
            Ok(row) => rows.push_str(&row),
            Err(why) => {
                let (name, why) = (visible(name), visible(&why));
                let _ = writeln!(text, "# left out: {name}: {why}");
                left_out.push(format!("{name}: {why}"));
            }
        }
    }
    text.push_str(if rows.is_empty() {
        "guests: {}\n"
    } else {
        "guests:\n"
    });
    text.push_str(&rows);
    // Each row is read as it stands; all of them together are one file.
    is_read(&text)
        .map_err(|why| format!("what runs there makes no file that can be read: {why}"))?;
    Ok(Imported { text, left_out })
}

/// Numbers as numbers: 101 before 1000.
fn ordered(guests: &BTreeMap<String, Sight>) -> Vec<(&String, &Sight)> {
    let mut guests: Vec<_> = guests.iter().collect();
    guests.sort_by_key(|(name, _)| (name.parse::<u64>().ok(), *name));
    guests
}

fn row(
    name: &str,
    sight: &Sight,
    node: Option<&str>,
    left_out: &mut Vec<String>,
) -> Result<String, String> {
    let guest = match sight {
        Sight::Seen(guest) => guest,
        Sight::Unknown { down, .. } => {
            return Err(format!("nothing is known of it now ({})", down.why));
        }
    };
    if let (Some(own), Some(at)) = (node, guest.node.as_deref())
        && own != at
    {
        return Err(format!("it is on node {at}"));
    }
    if guest.template {
        return Err("it is a template, which neither runs nor changes".to_owned());
    }
    let is_vmid = name.bytes().all(|b| b.is_ascii_digit());
    let key = if is_vmid {
        name.to_owned()
    } else {
        scalar(name)
    };
    is_read(&format!("guests: {{{key}: {{}}}}\n"))?;
    let mut row = Row {
        key: key.clone(),
        fields: Vec::new(),
        left_out: Vec::new(),
    };
    power(&mut row, guest);
    match &guest.config {
        Reading::Known(config) => sizes(&mut row, config, guest),
        Reading::Unknown(why) => {
            let why = format!("its configuration cannot be read: {}", visible(why));
            row.leave_out(why);
        }
    }
    let (mut lines, why) = row.judged();
    let empty = if lines.is_empty() { " {}" } else { "" };
    for why in why {
        let _ = write!(lines, "\n    # {why}");
        left_out.push(format!("{}: {why}", visible(name)));
    }
    Ok(format!("  {key}:{empty}{lines}\n"))
}

/// Whether a file is read as it stands: the reader that everybody has is the judge of what a row can say, so that nothing is imported
/// that is refused afterwards (GB7).
fn is_read(text: &str) -> Result<(), String> {
    let files = BTreeMap::from([
        ("roster.yaml".to_owned(), b"users: {}\n".to_vec()),
        ("guests/import.yaml".to_owned(), text.as_bytes().to_vec()),
    ]);
    let executor = Executor::Guests("import".to_owned());
    match rooms::read(&files, &executor) {
        Ok(_) => Ok(()),
        Err(wrong) => {
            let first = wrong.iter().next().map(|it| it.problem.clone());
            Err(first.unwrap_or_else(|| "a row cannot say it".to_owned()))
        }
    }
}

/// A row that is being written.
struct Row {
    key: String,
    fields: Vec<(&'static str, String)>,
    left_out: Vec<String>,
}

impl Row {
    fn put(&mut self, field: &'static str, value: String) {
        self.fields.push((field, value));
    }

    /// The lines of what a row can say, and why the rest is left out. Nearly always that is all of it, so it is read at once first.
    fn judged(mut self) -> (String, Vec<String>) {
        let all = self
            .fields
            .iter()
            .map(|(field, value)| format!("{field}: {value}"));
        let all = all.collect::<Vec<_>>().join(", ");
        let key = &self.key;
        let is_right = is_read(&format!("guests: {{{key}: {{{all}}}}}\n")).is_ok();
        let mut lines = String::new();
        for (field, value) in std::mem::take(&mut self.fields) {
            let alone = format!("guests: {{{}: {{{field}: {value}}}}}\n", self.key);
            match if is_right { Ok(()) } else { is_read(&alone) } {
                Ok(()) => drop(write!(lines, "\n    {field}: {value}")),
                Err(why) => self.leave_out(format!("its {field} is left alone: {why}")),
            }
        }
        (lines, self.left_out)
    }

    fn leave_out(&mut self, why: String) {
        self.left_out.push(visible(&why));
    }
}

/// A word of a row: as it is where nobody can take it for something else.
fn scalar(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_alphabetic());
    if plain && taken_for(text).is_none() {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

fn power(row: &mut Row, guest: &Guest) {
    match guest.run {
        Some(Run::Running) => row.put("run", "running".to_owned()),
        Some(Run::Stopped) => row.put("run", "stopped".to_owned()),
        None => {}
    }
}

fn sizes(row: &mut Row, config: &Config, guest: &Guest) {
    // What waits for a reboot is what somebody wants.
    let waits = |key: &str| config.pending.get(key)?.then.as_ref()?.parse::<u64>().ok();
    if let Some(cores) = waits("cores").or(config.cores.map(u64::from)) {
        row.put("cores", cores.to_string());
    }
    if let Some(memory) = waits("memory").or(config.memory) {
        row.put("memory", format!("{memory}MiB"));
    }
    let is_named = guest.node.is_some();
    if let Some(name) = config.name.as_ref().filter(|_| is_named) {
        row.put("name", scalar(name));
    }
    let description = normal::description(&config.description);
    if !description.is_empty() {
        row.put(
            "description",
            serde_json::Value::from(description).to_string(),
        );
    }
    // They are all that a guest has: where one of them cannot be said, none is.
    let tags = config.tags.iter();
    let tags = tags.filter(|it| !it.starts_with(Marker::PREFIX));
    let tags: Vec<String> = tags.map(|it| scalar(it)).collect();
    if !tags.is_empty() {
        row.put("tags", format!("[{}]", tags.join(", ")));
    }
    row.put("onboot", config.onboot.to_string());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use muster_core::facts::Facts;
    use muster_core::guests::observed::{Form, Observed};
    use muster_core::guests::policy::Policy;
    use muster_core::plan::{Input, plan};
    use muster_core::time::Time;

    use super::*;

    /// The steps of a plan after an import.
    fn steps_after(text: &str, observed: &rooms::Observed) -> Vec<String> {
        let files = BTreeMap::from([
            ("roster.yaml".to_owned(), b"users: {}\n".to_vec()),
            ("guests/pve1.yaml".to_owned(), text.as_bytes().to_vec()),
        ]);
        let executor = Executor::Guests("pve1".to_owned());
        let policy = Policy::new(executor.clone()).into();
        let (repo, _) =
            rooms::read(&files, &executor).unwrap_or_else(|it| panic!("{it:?}\n{text}"));
        let commit = "1".repeat(40).parse().unwrap();
        let today = Time(0).date();
        let facts = Facts::genesis("id", executor, commit, Time(0));
        let desired = rooms::desired(&repo, &policy, today);
        let plan = plan(&Input {
            policy: &policy,
            commit: &facts.adopted,
            today,
            desired: &desired,
            observed,
            facts: &facts,
        });
        plan.steps().iter().map(|it| it.step.words()).collect()
    }

    fn guest(change: impl FnOnce(&mut Config)) -> Sight {
        let mut config = Config {
            cores: Some(1),
            memory: Some(512),
            ..Config::default()
        };
        change(&mut config);
        let config = Reading::Known(config);
        let mut guest = Guest::new(Form::Container, Some(Run::Running), config);
        guest.node = Some("pve1".to_owned());
        Sight::Seen(Box::new(guest))
    }

    fn observed(guests: Vec<(String, Sight)>) -> rooms::Observed {
        Observed::of(guests.into_iter().collect()).into()
    }

    /// GB7: whatever a hypervisor allows is read back as it is, or left out with the reason; the plan after it has no step.
    #[test]
    fn whatever_stands_there_is_imported_or_left_out() {
        let words = [
            "007",
            "t",
            "nan",
            "true",
            "1e3",
            "null",
            "~",
            "No",
            "0x1f",
            "1_000",
            "2026-11-29",
            "web.example.org",
            "WEB",
            "a_b",
            "-a",
            "",
            " ",
            "ein name",
            "ü",
            "a:b",
            "a#b",
            "+a",
            "_a",
            "a+b.c-d_e",
            "muster-x",
            "aside-x",
            "-",
            ".inf",
            "<<",
            "=",
            "&a",
            "*a",
            "!x",
            "%x",
            "@x",
            "`x",
            "'",
            "\"",
            "\\",
            "{",
            "[",
            "a, b",
            "a: b",
            "a #b",
            "? a",
            "|",
            ">",
        ];
        let long = [
            "x".repeat(64),
            "x".repeat(124),
            "x".repeat(125),
            "x".repeat(254),
            "x".repeat(9_000),
        ];
        let texts = [
            "a\tb",
            "a\u{7}b",
            "a\u{7f}b",
            "a\u{85}b",
            "a\u{200b}b",
            "a\u{202e}b",
            "\u{feff}a",
            "a\u{2028}b",
            "a\r\nb\r\n",
            "a: b # c",
            "a  ",
            "  a",
            "\n\na",
            "# a",
            "- a",
            "---",
            "...",
            "0",
            "00",
            "a\u{e000}b",
            "🦀",
            "\u{0}",
        ];
        let words: Vec<String> = words
            .iter()
            .chain(&texts)
            .map(|it| (*it).to_owned())
            .collect();
        let words: Vec<String> = words.into_iter().chain(long).collect();
        let changes: [fn(&mut Config, &str); 3] = [
            |it, word| it.name = Some(word.to_owned()),
            |it, word| it.description = word.to_owned(),
            |it, word| it.tags = BTreeSet::from(["ok".to_owned(), word.to_owned()]),
        ];
        let mut guests = Vec::new();
        for (at, word) in words.iter().enumerate() {
            for (kind, change) in changes.iter().enumerate() {
                guests.push((
                    (100 + at * 3 + kind).to_string(),
                    guest(|it| change(it, word)),
                ));
            }
            // Where guests go by their names, those are what the word is.
            guests.push((word.clone(), guest(|_| {})));
        }
        for (at, (cores, memory)) in [(0, 15), (8_193, 1 << 34), (8_192, 16)].iter().enumerate() {
            let odd = guest(|it| (it.cores, it.memory) = (Some(*cores), Some(*memory)));
            guests.push((format!("{}", 9_000 + at), odd));
        }
        let observed = observed(guests);
        let imported = import(&observed, Some("pve1")).unwrap();
        assert_eq!(steps_after(&imported.text, &observed), [] as [&str; 0]);
        // What can be said is said.
        for part in [
            "name: \"007\"",
            "name: \"true\"",
            "name: \"1e3\"",
            "name: \"web.example.org\"",
            "name: WEB",
            "description: \"a: b # c\"",
            "description: \"🦀\"",
            "tags: [\"a+b.c-d_e\", ok]",
            "tags: [\"007\", ok]",
            "description: \"a\\nb\"",
            "\n  WEB:\n",
        ] {
            assert!(imported.text.contains(part), "{part} in {}", imported.text);
        }
        for part in [
            "its name is left alone",
            "its description is left alone",
            "its tags is left alone",
            "its cores is left alone",
            "its memory is left alone",
        ] {
            assert!(imported.text.contains(&format!("    # {part}")), "{part}");
            assert!(
                imported.left_out.iter().any(|it| it.contains(part)),
                "{part}"
            );
        }
    }

    /// GB7: so is a hypervisor with very many of them, each with all there is to say.
    #[test]
    fn ten_thousand_guests_are_imported_and_read() {
        let many = (0..10_000).map(|at| {
            let it = guest(|it| {
                it.name = Some(format!("w{at}"));
                it.description = "x".to_owned();
                it.tags = ["a", "b", "c", "d"].map(str::to_owned).into();
            });
            ((100 + at).to_string(), it)
        });
        let observed = observed(many.collect());
        let imported = import(&observed, None).unwrap();
        assert_eq!(steps_after(&imported.text, &observed), [] as [&str; 0]);
    }
}
