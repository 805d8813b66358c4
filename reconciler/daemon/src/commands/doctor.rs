//! `muster doctor`: looks at everything that a set-up needs, and says of what is wrong how it is put right (O4). It changes
//! nothing, and takes no lock.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use muster_core::commit::CommitId;
use muster_core::executor::{Executor, ExecutorKind};
use muster_core::forge::ForgeReader as _;
use muster_core::ink::count;
use muster_core::plan::Note;
use muster_core::release::root::{Role, TrustRoot};
use muster_core::report::{Paper, Tint};
use muster_core::time::Time;
use muster_core::world::TrustStore as _;
use muster_forge::clock::SystemClock;
use muster_forge::{Protection, Reader, forgejo, github};
use muster_guests::doctor::{Finding, ReleaseToken};
use serde_json::{Value, json};

use super::here::Those;
use super::plan::{self, NowError};
use super::status::{self, Format};
use super::{CommandError, Common, Output, now};
use crate::cycle::chain;
use crate::executors::{AssembleError, guests};
use crate::exit;
use crate::last_cycle::{Keeper, LastCycle};
use crate::paint::paper;
use crate::settings::{ExecutorSettings, ForgePlace, Role as FleetRole, Settings, unit_of};
use crate::state_dir::{Lock, StateDir};
use crate::trust::TrustFile;

/// A key that ends within so many days is told.
const DAYS_BEFORE: i64 = 14;

/// What to look at.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not ask the network: neither a remote origin nor the forge.
    #[arg(long)]
    offline: bool,
    /// Also open the `release_token` of a hypervisor, to read what it may do; otherwise a claimed release alone does that.
    #[arg(long)]
    release_token: bool,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Only this executor of this machine, such as `guests/pve1`.
    #[arg(value_name = "KIND/NAME")]
    which: Vec<Executor>,
    #[command(flatten)]
    here: Those,
}

/// How one part of a set-up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// It works.
    Good,
    /// It works, and somebody should know something.
    Note,
    /// Something would not work.
    Bad,
}

impl Health {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Bad => "bad",
        }
    }
}

/// What was found.
struct Found {
    part: Cow<'static, str>,
    health: Health,
    text: String,
    cure: Option<String>,
}

/// All that was found, about one executor or about the machine.
struct Sheet {
    about: String,
    findings: Vec<Found>,
}

impl Sheet {
    fn of(about: impl ToString) -> Self {
        Self {
            about: about.to_string(),
            findings: Vec::new(),
        }
    }

    fn good(&mut self, part: &'static str, text: impl Into<String>) {
        self.put(part, Health::Good, text.into(), None);
    }

    fn note(&mut self, part: &'static str, text: impl Into<String>, cure: impl Into<String>) {
        self.put(part, Health::Note, text.into(), Some(cure.into()));
    }

    fn bad(&mut self, part: &'static str, text: impl Into<String>, cure: impl Into<String>) {
        self.put(part, Health::Bad, text.into(), Some(cure.into()));
    }

    /// What a command says when it cannot do its work, and what it says to do.
    fn failed(&mut self, part: &'static str, error: &CommandError) {
        let cure = error.help().map(|it| it.to_string());
        self.put(part, Health::Bad, chain(error), cure);
    }

    fn put(
        &mut self,
        part: impl Into<Cow<'static, str>>,
        health: Health,
        text: String,
        cure: Option<String>,
    ) {
        self.findings.push(Found {
            part: part.into(),
            health,
            text,
            cure,
        });
    }
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let mut machine = Sheet::of("this machine");
    let mut sheets = Vec::new();
    match common.settings() {
        // Without settings there is nothing else to look at.
        Err(error) => machine.failed("settings", &error),
        Ok(settings) => {
            machine.good("settings", common.config.display().to_string());
            forge(&settings, args.offline, &mut machine);
            for here in args.here.and(&args.which).of(&settings)? {
                let mut sheet = Sheet::of(&here.executor);
                executor(&here, &settings, args, &mut sheet);
                sheets.push(sheet);
            }
        }
    }
    sheets.insert(0, machine);
    let works = sheets
        .iter()
        .flat_map(|it| &it.findings)
        .all(|it| it.health != Health::Bad);
    match args.format {
        Format::Human => out.text(&text(&sheets, paper()))?,
        Format::Json => out.line(format_args!("{:#}", as_json(&sheets, works)))?,
    }
    Ok(if works { exit::OK } else { exit::FAILED })
}

/// One executor, in the order in which a set-up is made.
fn executor(here: &ExecutorSettings, settings: &Settings, args: &Args, sheet: &mut Sheet) {
    let state = here.state();
    if settings.state.url.is_none() {
        // First of all: without it `muster init`, which everything below asks for, does nothing.
        let cure = "set [state] url, the one setting without which nothing runs";
        sheet.bad("origin", "the settings name none", cure);
    }
    if !rights(&state, sheet) {
        return;
    }
    let facts = match state.look_now(&here.executor) {
        Ok(replayed) => replayed.facts,
        Err(error) => return sheet.failed("records", &CommandError::State(error)),
    };
    sheet.good("records", format!("of {}", facts.executor_id));
    if let Some(full) = status::nearly_full(&state) {
        sheet.bad("disk", full, "take away what is not needed there");
    }
    clock(facts.latest, sheet);
    trust(settings, facts.trust.is_some(), sheet);
    if let Some(frozen) = &facts.frozen {
        let cure = "look at both commits, then `muster adopt COMMIT --reason …`";
        sheet.bad("frozen", frozen.to_string(), cure);
    }
    let names = origin_and_world(here, settings, args.offline, sheet);
    if here.executor.kind() == ExecutorKind::Guests {
        hypervisor(here, settings, &names, args, sheet);
    }
    daemon(&here.executor, &state, sheet);
}

/// The state directory is there, and nobody else can write it.
fn rights(state: &StateDir, sheet: &mut Sheet) -> bool {
    let dir = state.path().display();
    let meta = match fs::metadata(state.path()) {
        Ok(meta) => meta,
        Err(error) => {
            sheet.bad("state", format!("{dir}: {error}"), "run `muster init`");
            return false;
        }
    };
    let me = nix::unistd::geteuid();
    if meta.uid() != me.as_raw() {
        let cure = format!("run this as the owner of {dir}, or `chown` it");
        let text = format!("{dir} is of uid {}, and this is uid {me}", meta.uid());
        sheet.bad("state", text, cure);
        return false;
    }
    if meta.permissions().mode() & 0o022 != 0 {
        let text = format!("others can write {dir}");
        sheet.bad("state", text, format!("chmod go-w {dir}"));
        return true;
    }
    sheet.good("state", dir.to_string());
    true
}

/// The clock is not behind what is recorded, and somebody keeps it.
fn clock(latest: Time, sheet: &mut Sheet) {
    let wall = now();
    if wall < latest {
        let text = format!("it is {wall} here, and the last record is of {latest}");
        let cure = "set the clock; until then moments are counted from the last record";
        return sheet.bad("clock", text, cure);
    }
    // What systemd-timesyncd and chrony's unit leave once the clock was set.
    let set = Path::new("/run/systemd/timesync/synchronized").exists();
    match set {
        true => sheet.good("clock", format!("{wall}, set by the time service")),
        false => sheet.note(
            "clock",
            format!("{wall}; no time service says that it set it"),
            "releases and expiry go by this clock: systemctl enable --now systemd-timesyncd, or another one",
        ),
    }
}

/// Who may sign, whether they are enough, and until when.
fn trust(settings: &Settings, remembered: bool, sheet: &mut Sheet) {
    let root = match TrustFile::at(&settings.trust).read() {
        Err(why) => return sheet.bad("trust", why, "`muster trust show` says what is wrong"),
        Ok(Some(root)) => root,
        Ok(None) if remembered => {
            return sheet.bad(
                "trust",
                format!("{} is gone", settings.trust.display()),
                "`muster trust install FILE` puts it back",
            );
        }
        Ok(None) => {
            return sheet.note(
                "trust",
                "nobody may sign releases yet: what is privileged or destructive waits",
                "muster trust init --operational NAME=KEY.pub",
            );
        }
    };
    let now = now();
    let signers = |root: &TrustRoot, at: Time| {
        let keys = root.keys.iter().filter(|it| it.role == Role::Operational);
        let valid = keys.filter(|it| it.valid_at(at).is_ok());
        let people: BTreeSet<&str> = valid.map(|it| it.principal.as_str()).collect();
        people.len()
    };
    let (today, soon) = (
        signers(&root, now),
        signers(&root, now.plus(DAYS_BEFORE * 86_400)),
    );
    let quorums = &root.quorums;
    let asked = [
        quorums.privileged,
        quorums.destructive,
        quorums.many,
        quorums.admin,
    ];
    let least = asked.into_iter().flatten().max().unwrap_or(1);
    if today < least {
        let text = format!("{today} people can sign now, and releases take up to {least}");
        return sheet.bad("trust", text, "`muster trust rotate` adds keys");
    }
    if soon < today {
        let ending = today - soon;
        let text = format!("the keys of {ending} of {today} people end within {DAYS_BEFORE} days");
        return sheet.note("trust", text, "`muster trust rotate` renews them");
    }
    sheet.good(
        "trust",
        format!("version {}, {today} can sign", root.version),
    );
}

/// The origin answers, its commit is valid, and everything of this machine that a plan is made of can be read.
fn origin_and_world(
    here: &ExecutorSettings,
    settings: &Settings,
    offline: bool,
    sheet: &mut Sheet,
) -> BTreeSet<String> {
    let nobody = BTreeSet::new();
    let Some(origin) = &settings.state.url else {
        return nobody;
    };
    if offline && matches!(origin, muster_git::Origin::Remote(_)) {
        let text = format!("{origin} was not asked");
        sheet.note("origin", text, "leave out --offline");
        return nobody;
    }
    let part = match here.executor.kind() {
        ExecutorKind::Host => "databases",
        ExecutorKind::Guests => "guests",
        ExecutorKind::Cluster | ExecutorKind::Ca => "world",
    };
    let answers = |newest: &CommitId| {
        let branch = &settings.state.branch;
        format!("{origin} answers; {branch} is {}", newest.short())
    };
    let planned = match plan::plan_now(here, settings) {
        Ok(Some(planned)) => planned,
        Ok(None) => {
            let text = format!("{} of {origin} is not valid", settings.state.branch);
            sheet.bad("origin", text, "`muster plan` says what is wrong in it");
            return nobody;
        }
        Err(NowError::Commit(error)) => {
            sheet.failed("origin", &error);
            return nobody;
        }
        // The origin is well: what cannot be looked at is something else. A hypervisor is examined below, and has its own findings.
        Err(NowError::World(newest, error)) => {
            sheet.good("origin", answers(&newest));
            if offline || here.executor.kind() != ExecutorKind::Guests {
                sheet.failed(part, &error);
            }
            return nobody;
        }
    };
    match &planned.refused {
        None => sheet.good("origin", answers(&planned.newest)),
        Some(why) => sheet.bad(
            "origin",
            format!("{}. {why}", answers(&planned.newest)),
            "mend it by a pull request; `muster plan` says what is wrong in it",
        ),
    }
    let unread: Vec<&Note> = planned
        .plan
        .notes()
        .iter()
        .filter(|it| it.is_unread())
        .collect();
    for note in &unread {
        sheet.bad(
            part,
            note.to_string(),
            "mend what it names; nothing is done there until then",
        );
    }
    if unread.is_empty() {
        sheet.good(part, "all of it can be read");
    }
    planned.guests
}

/// What the hypervisor lets us do, call by call (GB9).
fn hypervisor(
    here: &ExecutorSettings,
    settings: &Settings,
    names: &BTreeSet<String>,
    args: &Args,
    sheet: &mut Sheet,
) {
    if args.offline {
        return sheet.note("hypervisor", "it was not asked", "leave out --offline");
    }
    let opened = settings
        .guests_of(&here.executor)
        .and_then(|section| guests::open(section, &here.state()).map_err(AssembleError::Guests));
    let release = match args.release_token {
        true => ReleaseToken::Asked,
        false => ReleaseToken::Closed,
    };
    match opened {
        Ok(hypervisor) => {
            for Finding {
                part,
                health,
                text,
                cure,
            } in hypervisor.examine(names, release)
            {
                let health = match health {
                    muster_guests::doctor::Health::Good => Health::Good,
                    muster_guests::doctor::Health::Note => Health::Note,
                    muster_guests::doctor::Health::Bad => Health::Bad,
                };
                sheet.put(part, health, text, cure);
            }
        }
        Err(error) => sheet.failed("hypervisor", &CommandError::Assemble(error)),
    }
}

fn daemon(executor: &Executor, state: &StateDir, sheet: &mut Sheet) {
    let unit = unit_of(executor);
    let last = LastCycle::read(state);
    match (Lock::holder(state), &last) {
        (Err(error), _) => sheet.failed("daemon", &CommandError::State(error)),
        (Ok(Some(holder)), _) => sheet.good("daemon", format!("at work: {holder}")),
        (Ok(None), None) => sheet.note(
            "daemon",
            "no cycle has run yet",
            format!("`muster plan` shows what the first one would do; then systemctl start {unit}"),
        ),
        (Ok(None), Some(last)) if last.by == Keeper::Daemon && status::unit_is_wanted(executor) => {
            sheet.bad(
                "daemon",
                "one kept this executor, and none is at work",
                format!("systemctl start {unit}; `journalctl -u {unit}` says why it ended"),
            )
        }
        (Ok(None), Some(_)) => sheet.good("daemon", "none; cycles are run by hand"),
    }
    if let Some(problem) = last.and_then(|it| it.problem) {
        let cure = format!("it is tried again by itself; `journalctl -u {unit}` has more");
        sheet.bad("cycle", problem, cure);
    }
}

/// The forge takes this bot for who it says it is, and shows it the state repository.
fn forge(settings: &Settings, offline: bool, sheet: &mut Sheet) {
    let Some(forge) = &settings.forge else {
        if settings.fleet.roles.contains(&FleetRole::Bot) {
            let cure = "set [forge], or take `bot` out of [fleet] roles";
            sheet.note(
                "forge",
                "the settings name none, so nobody is answered there",
                cure,
            );
        }
        return;
    };
    let repository = forge.place.repository().to_string();
    if offline {
        return sheet.note(
            "forge",
            format!("{repository} was not asked about"),
            "leave out --offline",
        );
    }
    let clock = Arc::new(SystemClock::default());
    let connected: Result<Reader, _> = match &forge.place {
        ForgePlace::GitHub(it) => github::connect(it.clone(), clock).map(|it| it.0),
        ForgePlace::Forgejo(it) => forgejo::connect(it.clone(), clock).map(|it| it.0),
    };
    let cure = "look at url, repository and the token or key in [forge]";
    let mut reader = match connected {
        Ok(reader) => reader,
        Err(error) => return sheet.bad("forge", chain(&error), cure),
    };
    match reader.visibility() {
        Ok(_) => sheet.good("forge", format!("{repository} can be read")),
        Err(error) => {
            return sheet.bad("forge", format!("{repository}: {}", chain(&error)), cure);
        }
    }
    let branch = &settings.state.branch;
    let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    match reader.protection(branch, &forge.context) {
        Ok(protection) => protected(branch, &forge.context, &protection, sheet),
        Err(error) => sheet.note(
            "branch",
            format!("how {branch} is protected is not shown: {}", chain(&error)),
            RULES,
        ),
    }
}

/// Where it stands what the forge must enforce.
const RULES: &str = "deploy/README.md, *What the forge must enforce*, says what to set";

/// What of the rules that keep a branch from being written past a review is missing on the forge (F37).
fn protected(branch: &str, context: &str, protection: &Protection, sheet: &mut Sheet) {
    let Protection {
        waits_for_status,
        status_is_ours,
        approvals,
        up_to_date,
        keeps_history,
        we_can_push,
        we_can_merge,
    } = protection;
    let before = sheet.findings.len();
    let mut gap = |is_missing: bool, text: String, cure: &str| {
        if is_missing {
            sheet.bad("branch", text, format!("{cure}; {RULES}"));
        }
    };
    let no = Some(false);
    gap(
        *waits_for_status == no,
        format!("{branch} is merged into without waiting for the status {context}"),
        &format!("require the status check {context}"),
    );
    gap(
        *waits_for_status == Some(true) && *status_is_ours == no,
        format!("whoever can write the repository can set the status {context}"),
        "require it from this app",
    );
    gap(
        *approvals == Some(0),
        format!("nobody has to approve what goes into {branch}"),
        "require 1 approval or more",
    );
    gap(
        *keeps_history == no,
        format!("{branch} can be rewritten or is not protected"),
        "block force pushes",
    );
    gap(
        *we_can_push == Some(true),
        format!("muster's own user can push to {branch}"),
        "let a team push that it is not in, or nobody",
    );
    gap(
        *we_can_merge == Some(true),
        format!("muster's own user can merge into {branch}"),
        "let a team merge that it is not in",
    );
    if *up_to_date == no {
        sheet.note(
            "branch",
            format!(
                "what is merged need not contain {branch} as it is, so the plan may be of before"
            ),
            "require branches to be up to date",
        );
    }
    if sheet.findings.len() == before {
        let approvals = match approvals {
            Some(number) => count(usize::try_from(*number).unwrap_or(usize::MAX), "approval"),
            None => "approvals are not shown".to_owned(),
        };
        let text = match waits_for_status {
            Some(_) => format!("{branch} waits for the status {context}; {approvals}"),
            None => format!("how {branch} is protected is not shown"),
        };
        sheet.good("branch", text);
    }
}

fn text(sheets: &[Sheet], paper: Paper) -> String {
    /// Where what is said begins, behind part and health.
    const HANG: usize = 18;
    let mut out = String::new();
    let mut bad = 0;
    for Sheet { about, findings } in sheets {
        let _ = writeln!(out, "{}", paper.tint(Tint::Strong, about));
        for finding in findings {
            let Found {
                part,
                health,
                text,
                cure,
            } = finding;
            let tint = match health {
                Health::Good => None,
                Health::Note => Some(Tint::Warn),
                Health::Bad => Some(Tint::Alarm),
            };
            bad += usize::from(*health == Health::Bad);
            let lead = format!("  {part:<10} {:<4} ", health.word());
            paper.tinted(&mut out, &lead, HANG, tint, text);
            if let Some(cure) = cure {
                paper.wrapped(
                    &mut out,
                    &" ".repeat(HANG),
                    HANG + 2,
                    &format!("do: {cure}"),
                );
            }
        }
    }
    out.push_str(&match bad {
        0 => "everything that was looked at works\n".to_owned(),
        1 => "1 thing would not work\n".to_owned(),
        many => format!("{many} things would not work\n"),
    });
    out
}

fn as_json(sheets: &[Sheet], works: bool) -> Value {
    let sheets: Vec<Value> = sheets
        .iter()
        .map(|sheet| {
            let findings: Vec<Value> = sheet
                .findings
                .iter()
                .map(|it| {
                    json!({
                        "part": it.part,
                        "health": it.health.word(),
                        "text": it.text,
                        "cure": it.cure,
                    })
                })
                .collect();
            json!({ "about": sheet.about, "findings": findings })
        })
        .collect();
    json!({ "format": 1, "works": works, "sheets": sheets })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(protection: &Protection) -> Vec<(Health, String)> {
        let mut sheet = Sheet::of("this machine");
        protected("main", "muster", protection, &mut sheet);
        let found = sheet.findings.into_iter();
        found.map(|it| (it.health, it.text)).collect()
    }

    #[test]
    fn each_rule_that_the_forge_does_not_enforce_is_named() {
        let whole = Protection {
            waits_for_status: Some(true),
            status_is_ours: Some(true),
            approvals: Some(2),
            up_to_date: Some(true),
            keeps_history: Some(true),
            we_can_push: Some(false),
            we_can_merge: Some(false),
        };
        let good = |text: &str| vec![(Health::Good, text.to_owned())];
        assert_eq!(
            found(&whole),
            good("main waits for the status muster; 2 approvals")
        );
        // What is not shown is no gap.
        assert_eq!(
            found(&Protection::default()),
            good("how main is protected is not shown")
        );
        let gaps = [
            Protection {
                waits_for_status: Some(false),
                ..whole.clone()
            },
            Protection {
                status_is_ours: Some(false),
                ..whole.clone()
            },
            Protection {
                approvals: Some(0),
                ..whole.clone()
            },
            Protection {
                keeps_history: Some(false),
                ..whole.clone()
            },
            Protection {
                we_can_push: Some(true),
                ..whole.clone()
            },
            Protection {
                we_can_merge: Some(true),
                ..whole.clone()
            },
        ];
        let mut texts = std::collections::BTreeSet::new();
        for gap in gaps {
            let found = found(&gap);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].0, Health::Bad);
            texts.insert(found[0].1.clone());
        }
        assert_eq!(texts.len(), 6);
        let behind = Protection {
            up_to_date: Some(false),
            ..whole
        };
        assert_eq!(found(&behind)[0].0, Health::Note);
    }
}
