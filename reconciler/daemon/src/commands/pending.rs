//! `muster pending`: what waits, out of the ledger, so that it works while the daemon does.

use std::fmt::Write as _;
use std::path::Path;

use muster_core::accounts::action::TakenHome;
use muster_core::diagnostic::visible;
use muster_core::executor::Executor;
use muster_core::guests::action::{Volume, Volumes};
use muster_core::ink::count;
use muster_core::ledger::held::{HeldSteps, Unread, Waiting};
use muster_core::price::Class;
use muster_core::report::{Paper, Tint, sentence_below, to_release};
use muster_core::time::Time;
use muster_host::survey;
use serde_json::{Value, json};

use super::here::Those;
use super::status::Format;
use super::{CommandError, Common, Output, ledgers};
use crate::exit;
use crate::paint::paper;

/// Entries of a home that are counted before it is called "at least".
const WALK_AT_MOST: u64 = 200_000;

/// Whose, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Look into this ledger, at every host it has, in place of this host's: a repository, or where git fetches it from.
    #[arg(long, value_name = "WHERE")]
    ledger: Option<String>,
    /// Look at every host that pushes its ledger where the settings say.
    #[arg(long)]
    fleet: bool,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    here: Those,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let named = args.ledger.as_deref();
    let shelves = match args.fleet {
        true => ledgers::fleet(named, &args.here, common)?,
        false => ledgers::anywhere(named, &args.here, common)?,
    };
    let root = shelves
        .here
        .as_ref()
        .map(|it| it.settings.host.root.as_path());
    let mut executors = Vec::new();
    for shelf in &shelves.all {
        let held = shelf.held()?;
        let steps = held.as_ref().map_or(&[][..], |it| &it.held);
        let losses = steps.iter().map(|it| loss(it, root)).collect::<Vec<_>>();
        match args.format {
            Format::Human => out.text(&text(&shelf.executor, held.as_ref(), &losses, paper()))?,
            Format::Json => executors.push(json!({
                "executor": shelf.executor,
                "commit": held.as_ref().map(|it| it.commit.as_str()),
                "unread": held.as_ref().and_then(|it| it.unread.as_ref()).map(unread_json),
                "held": steps.iter().zip(&losses).map(|(it, loss)| as_json(it, loss.as_ref())).collect::<Vec<_>>(),
            })),
        }
    }
    if matches!(args.format, Format::Json) {
        let all = json!({ "format": 1, "executors": executors });
        out.line(format_args!("{all:#}"))?;
    }
    Ok(exit::OK)
}

/// What a step would destroy, as far as can be seen from here.
pub(super) enum Loss {
    /// The home of an account.
    Home(Home),
    /// The volumes of a guest, which its sentence has already.
    Volumes(Volumes),
}

/// A home.
pub(super) struct Home {
    path: String,
    size: Option<survey::Size>,
    last_login: Option<Time>,
}

/// What `waiting` would destroy, if anything; `root` is the host's root directory, where it is this host.
pub(super) fn loss(waiting: &Waiting, root: Option<&Path>) -> Option<Loss> {
    if let Some(volumes) = waiting.step.action.guest().and_then(|it| it.lost()) {
        return Some(Loss::Volumes(volumes.clone()));
    }
    let TakenHome { user, uid, home } = waiting.step.action.account()?.taken_home()?;
    Some(Loss::Home(Home {
        path: home.to_owned(),
        size: root.and_then(|root| survey::size_of(root, home, WALK_AT_MOST).ok()),
        last_login: root
            .and_then(|root| survey::last_login(root, user, uid))
            .map(Time),
    }))
}

impl Loss {
    /// In words, where its sentence has none of it.
    pub(super) fn words(&self) -> Option<String> {
        match self {
            Self::Home(home) => Some(home.words()),
            Self::Volumes(_) => None,
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Home(home) => home.json(),
            Self::Volumes(Volumes(volumes)) => {
                let volumes = volumes.iter().map(|(id, Volume { size, storage })| {
                    json!({ "id": id, "storage": storage, "bytes": size })
                });
                json!({ "volumes": volumes.collect::<Vec<_>>() })
            }
        }
    }
}

impl Home {
    /// In words.
    fn words(&self) -> String {
        let Self {
            path,
            size,
            last_login,
        } = self;
        let size = match size {
            None => "size unknown".to_owned(),
            Some(size) => format!(
                "{}{} in {} files",
                if size.complete { "" } else { "at least " },
                bytes(size.bytes),
                size.files
            ),
        };
        let login = last_login.map_or("unknown".to_owned(), |at| at.to_string());
        format!("{}, {size}; last login {login}", visible(path))
    }

    /// For programs.
    fn json(&self) -> Value {
        let size = self.size.as_ref();
        json!({
            "path": self.path,
            "bytes": size.map(|it| it.bytes),
            "files": size.map(|it| it.files),
            "complete": size.map(|it| it.complete),
            "last_login": self.last_login.map(|it| it.to_string()),
        })
    }
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut tenths = count.saturating_mul(10);
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = next;
    }
    match unit {
        "B" => format!("{count} B"),
        _ => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

fn as_json(waiting: &Waiting, loss: Option<&Loss>) -> Value {
    let Waiting {
        step,
        words,
        class,
        reason,
        text,
        needs,
        since,
    } = waiting;
    json!({
        "id": step.id,
        "verb": step.action.spelled().word(),
        "user": step.resource(),
        "parameters": muster_core::id::parameters(step.action.spelled()),
        "words": words,
        "class": class,
        "reason": reason,
        "text": text,
        "needs": needs,
        "since": since.to_string(),
        "destroys": loss.map(Loss::json),
    })
}

/// What could not be read, for programs.
fn unread_json(unread: &Unread) -> Value {
    let Unread { since, what } = unread;
    json!({ "since": since.to_string(), "what": what })
}

fn text(
    executor: &Executor,
    held: Option<&HeldSteps>,
    losses: &[Option<Loss>],
    paper: Paper,
) -> String {
    let mut out = String::new();
    let Some(held) = held else {
        return format!("{executor}: no cycle has said yet what waits\n");
    };
    if let Some(Unread { since, what }) = &held.unread {
        let lead = format!("{executor}: ");
        let first = format!("what waits is not known in full: not read since {since}");
        paper.tinted(&mut out, &lead, 2, Some(Tint::Alarm), &first);
        for why in what {
            paper.wrapped(&mut out, "  ", 4, why);
        }
    }
    let number = match held.held.len() {
        0 if held.unread.is_some() => return out,
        0 => return format!("{executor}: nothing waits\n"),
        1 => "1 step waits".to_owned(),
        many => format!("{many} steps wait"),
    };
    let _ = writeln!(
        out,
        "{executor}: {number}, of commit {}",
        held.commit.short()
    );
    // The worst first; otherwise in the order of the plan.
    let mut order: Vec<(&Waiting, &Option<Loss>)> = held.held.iter().zip(losses).collect();
    order.sort_by_key(|(it, _)| std::cmp::Reverse(it.class));
    for same in order.chunk_by(|(a, _), (b, _)| a.class == b.class) {
        let class = same[0].0.class;
        let tint = match class {
            Class::Destructive => Some(Tint::Alarm),
            Class::Privileged => Some(Tint::Warn),
            Class::Benign => None,
        };
        out.push('\n');
        let title = count(same.len(), &format!("{class} step"));
        paper.tinted(&mut out, "  ", 4, tint, &title);
        for (waiting, loss) in same {
            let lead = format!("    {}  ", visible(waiting.step.resource()));
            let would = sentence_below(&waiting.step.action);
            paper.wrapped(&mut out, &lead, 6, &would);
            let words = format!("{} {}", waiting.step.id, waiting.words);
            paper.tinted(&mut out, "      ", 8, Some(Tint::Faint), &words);
            let why = format!("since {}: {}", waiting.since, waiting.text);
            paper.wrapped(&mut out, "      ", 8, &why);
            if let Some(words) = loss.as_ref().and_then(Loss::words) {
                let destroys = format!("destroys {words}");
                paper.tinted(&mut out, "      ", 8, Some(Tint::Alarm), &destroys);
            }
        }
    }
    out.push_str(&to_release(executor, &held.held, paper));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H2: what could not be read is told with the moment since when, in place of `nothing waits`.
    #[test]
    fn what_waits_where_nothing_is_read_is_not_known() {
        let executor = Executor::Guests("pve1".to_owned());
        let commit = "1".repeat(40).parse().unwrap();
        let none = std::collections::BTreeMap::new();
        let at = |now, what: &[&str], before: Option<&Unread>| {
            let now = Time(now);
            let held = HeldSteps::now(&executor, &commit, &[], |_| Vec::new(), &none, now);
            held.without_sight_of(what.iter().map(|it| (*it).to_owned()), before, now)
        };
        let told = |held: &HeldSteps| text(&executor, Some(held), &[], Paper::PLAIN);
        let first = at(0, &["the guests could not be read (no route)"], None);
        let then = at(
            60,
            &["the guests could not be read (refused)"],
            first.unread.as_ref(),
        );
        let words = told(&then);
        assert!(!words.contains("nothing waits"), "{words}");
        let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let since = "not known in full: not read since 1970-01-01T00:00:00Z";
        assert!(one_line.contains(since), "{words}");
        assert!(one_line.contains("could not be read (no route)"), "{words}");
        assert_eq!(
            told(&at(90, &[], then.unread.as_ref())),
            "guests/pve1: nothing waits\n"
        );
        assert_eq!(HeldSteps::read(&then.to_bytes()).unwrap(), then);
    }

    #[test]
    fn sizes_read_as_people_say_them() {
        for (count, words) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
        ] {
            assert_eq!(bytes(count), words);
        }
    }
}
