//! Third stage: values become what the rest of the program can rely on, or problems with a place.

mod outward;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use muster_core::action::Kind;
use muster_core::policy::{Aggregate, Limits, Policy, PortFamily};
use muster_core::repo::names::{did_you_mean, is_host_name};

use muster_git::Origin;
use muster_host::archive::Seal;

use super::fragment::Fragment;
use super::inputs::Inputs;
use super::place::{At, Problem};
use super::{Ambient, Level, LogFormat, Notes, PathTemplate, Role, Settings};

/// Families of a host that runs instances and names none (R13, R28).
const FAMILIES: [(&str, u16, u16); 2] = [("t3", 3_773, 8_930), ("playwright", 8_931, 14_000)];

/// Files that have rules of their own and are never rendered.
const NOT_OURS: [&str; 8] = [
    "/etc/group",
    "/etc/gshadow",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/subgid",
    "/etc/subuid",
    "/etc/sudoers",
    "/etc/shells",
];

/// Checks everything, so that all problems are told at once; `None` when nothing sensible can be made of it.
pub(super) fn settings(
    inputs: Inputs,
    ambient: &Ambient,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let Inputs(Fragment {
        url,
        branch,
        poll,
        drift,
        dir,
        name,
        root,
        shells,
        privileged_groups,
        protected,
        shared_primary_groups,
        nologin,
        service_group,
        declared_benign,
        units,
        environment,
        login_map,
        dispatch,
        admins,
        k8s_users,
        ports,
        removals,
        share,
        min_admins,
        retry_after,
        archives,
        grace_days,
        home_roots,
        recipients,
        age,
        notes,
        fleet,
        forge,
        http,
        level,
        log_format,
    }) = inputs;

    let outward = outward::outward(fleet, forge, http, ambient, problems);
    let host = host_name(name, &outward.roles, ambient, problems);
    let mut policy = Policy::for_host(host.as_deref().unwrap_or("localhost"));
    if let Some(nologin) = nologin {
        policy.nologin = path(&nologin, problems)?.display().to_string();
    }
    if let Some(shells) = shells {
        policy.shells = shell_list(shells, &policy.nologin, problems);
    }
    for group in privileged_groups.into_iter().flat_map(|it| it.value) {
        if is_account_name(&group, "group", problems) {
            policy.privileged_groups.insert(group.value);
        }
    }
    for user in protected.into_iter().flat_map(|it| it.value) {
        if is_account_name(&user, "account", problems) {
            policy.protected.insert(user.value);
        }
    }
    policy.protected.extend(ambient.account.clone());
    for group in shared_primary_groups.into_iter().flat_map(|it| it.value) {
        if is_account_name(&group, "group", problems) {
            policy.shared_primary_groups.insert(group.value);
        }
    }
    policy.service_group =
        service_group.and_then(|it| checked_service_group(it, &policy, problems));
    policy.declared_benign = kinds(declared_benign, problems);
    policy.units = unit_list(units, problems);
    policy.families = families(ports, policy.runs_instances(), problems);
    policy.limits = limits(removals, share, min_admins, problems);
    let retry_after = duration(retry_after, "retry_after", 60, 0..=3_600, problems).as_secs();
    policy.limits.retry_after = u32::try_from(retry_after).expect("BUG: an hour at most");
    if let Some(At { value, place }) = grace_days {
        match u32::try_from(value).ok().filter(|days| *days <= 3_650) {
            Some(days) => policy.grace_days = days,
            None => problems.push(
                Problem::new(
                    place,
                    format!("{value} is out of bounds: 0 to 3650 can be set"),
                )
                .help(
                    "so many days a deleted home stays in quarantine before its removal is planned",
                ),
            ),
        }
    }
    let home_roots = home_roots.map_or_else(
        || vec![PathBuf::from("/home")],
        |it| {
            let roots = it.value.iter();
            roots.filter_map(|root| path(root, problems)).collect()
        },
    );

    let seal = seal(recipients, age, problems);

    let environment = environment.and_then(|it| {
        if !policy.runs_instances() {
            problems.push(
                Problem::new(
                    it.place.clone(),
                    "`environment` is for instances, and [instance] units is empty",
                )
                .help("name the units, or leave `environment` out"),
            );
        }
        path_template(&it, problems)
    });
    policy.environment = environment.is_some();
    let files = aggregate_files([login_map, dispatch, admins], problems);
    policy.aggregates = files.keys().copied().collect();
    let k8s_users = k8s_users.and_then(|it| path(&it, problems));

    let branch = branch.map_or_else(
        || Some("refs/heads/main".to_owned()),
        |it| full_branch(&it, problems),
    );
    let dir = dir.map_or_else(
        || Some(PathBuf::from("/var/lib/muster")),
        |it| path(&it, problems),
    );
    let archives = match archives {
        Some(it) => path(&it, problems),
        None => dir.as_ref().map(|dir| dir.join("archives")),
    };
    let root = root.map_or_else(|| Some(PathBuf::from("/")), |it| path(&it, problems));
    let url = url.and_then(|it| origin(it, problems));
    let poll = duration(poll, "poll", 30, 1..=3_600, problems);
    let drift = duration(drift, "drift", 300, 10..=86_400, problems);
    let level = level.map_or(Some(Level::Info), |it| {
        one_of(&it, "level", Level::ALL, Level::word, problems)
    });
    let log_format = log_format
        .map(|it| one_of(&it, "format", LogFormat::ALL, LogFormat::word, problems))
        .map_or(Some(None), |it| it.map(Some));
    host?;
    Some(Settings {
        policy,
        k8s_users,
        url,
        branch: branch?,
        poll,
        drift,
        dir: dir?,
        root: root?,
        archives: archives?,
        home_roots,
        seal,
        files,
        environment,
        notes: match notes {
            Some(At { value: false, .. }) => Notes::Omit,
            _ => Notes::Leave,
        },
        roles: outward.roles,
        ledger: outward.ledger,
        hosts: outward.hosts,
        stale: outward.stale,
        replica: outward.replica,
        forge: outward.forge,
        http: outward.http,
        level: level?,
        log_format: log_format?,
        trust: Default::default(),
    })
}

/// Whom archives are encrypted to: nobody, unless somebody is named.
fn seal(
    recipients: Option<At<Vec<At<String>>>>,
    age: Option<At<String>>,
    problems: &mut Vec<Problem>,
) -> Option<Seal> {
    let program = match age {
        Some(at) => path(&at, problems)?,
        None => PathBuf::from("/usr/bin/age"),
    };
    let named = recipients.map(|it| it.value).unwrap_or_default();
    let mut recipients = Vec::new();
    for At { value, place } in named {
        let known = ["age1", "ssh-ed25519 ", "ssh-rsa "];
        let printable = value.bytes().all(|it| matches!(it, b' '..=b'~'));
        if printable && known.iter().any(|it| value.starts_with(it)) {
            recipients.push(value);
        } else {
            problems.push(
                Problem::new(place, format!("`{value}` is no recipient of age"))
                    .help("a public key: age1…, or ssh-ed25519 or ssh-rsa as in a .pub file"),
            );
        }
    }
    (!recipients.is_empty()).then_some(Seal {
        program,
        recipients,
    })
}

fn host_name(
    name: Option<At<String>>,
    roles: &BTreeSet<Role>,
    ambient: &Ambient,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    const RULE: &str =
        "lower-case letters, digits and -, in labels of at most 63 characters separated by dots";
    match name {
        Some(name) if is_host_name(&name.value) => Some(name.value),
        Some(At { value, place }) => {
            problems.push(
                Problem::new(place, format!("`{value}` is no name for a host"))
                    .help(format!("a name has {RULE}")),
            );
            None
        }
        None => {
            let label = ambient
                .hostname
                .split('.')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            if is_host_name(&label) {
                return Some(label);
            }
            // Only an agent is the host it runs on.
            if !roles.contains(&Role::Agent) {
                return Some("localhost".to_owned());
            }
            let place = super::Place {
                file: "[host] name".into(),
                at: None,
            };
            problems.push(
                Problem::new(
                    place,
                    format!(
                        "this machine's host name `{}` cannot be used",
                        ambient.hostname
                    ),
                )
                .help(format!("set it: {RULE}")),
            );
            None
        }
    }
}

/// The grammar of the settings is wider than the roster's: system names such as `Debian-exim` occur here.
fn is_account_name(name: &At<String>, what: &str, problems: &mut Vec<Problem>) -> bool {
    let bytes = name.value.as_bytes();
    let good = (1..=32).contains(&bytes.len())
        && (bytes[0].is_ascii_alphabetic() || bytes[0] == b'_')
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if !good {
        problems.push(Problem::new(
            name.place.clone(),
            format!("`{}` is no name of a {what}", name.value),
        ));
    }
    good
}

fn checked_service_group(
    group: At<String>,
    policy: &Policy,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    if policy.is_privileged_group(&group.value) {
        problems.push(
            Problem::new(
                group.place,
                format!("`{}` makes its members root-equivalent", group.value),
            )
            .help("everybody with an instance is in the service group; make one of its own"),
        );
        return None;
    }
    is_account_name(&group, "group", problems).then_some(group.value)
}

fn shell_list(
    shells: At<Vec<At<String>>>,
    nologin: &str,
    problems: &mut Vec<Problem>,
) -> BTreeSet<String> {
    if shells.value.is_empty() {
        problems.push(
            Problem::new(
                shells.place,
                "without a shell nobody can be given an account",
            )
            .help("leave `shells` out for the usual ones"),
        );
    }
    let mut list = BTreeSet::new();
    for shell in shells.value {
        if shell.value == nologin {
            problems.push(
                Problem::new(
                    shell.place,
                    format!("`{nologin}` is the shell of those who were cut"),
                )
                .help("leave it out of `shells`"),
            );
        } else if let Some(path) = path(&shell, problems) {
            list.insert(path.display().to_string());
        }
    }
    list
}

fn kinds(words: Option<At<Vec<At<String>>>>, problems: &mut Vec<Problem>) -> BTreeSet<Kind> {
    let declarable = Kind::DECLARABLE.map(Kind::word);
    let mut kinds = BTreeSet::new();
    for word in words.into_iter().flat_map(|it| it.value) {
        if let Some(kind) = Kind::DECLARABLE
            .into_iter()
            .find(|it| it.word() == word.value)
        {
            kinds.insert(kind);
            continue;
        }
        let problem = if Kind::FLOOR.iter().any(|it| it.word() == word.value) {
            let why = format!(
                "`{}` always waits for a signed release; no setting can change that",
                word.value
            );
            Problem::new(word.place, why).help("leave it out, and sign a release when it is wanted")
        } else {
            let problem = Problem::new(
                word.place,
                format!(
                    "`{}` is no kind of step that can be declared benign",
                    word.value
                ),
            );
            match did_you_mean(&word.value, declarable) {
                Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                None => problem.help(format!("it is one of: {}", declarable.join(", "))),
            }
        };
        problems.push(problem);
    }
    kinds
}

fn unit_list(units: Option<At<Vec<At<String>>>>, problems: &mut Vec<Problem>) -> Vec<String> {
    let is_template = |unit: &str| {
        let Some((name, suffix)) = unit.split_once("@.") else {
            return false;
        };
        !name.is_empty()
            && unit.len() <= 200
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
            && ["service", "timer", "socket", "path", "target"].contains(&suffix)
    };
    let mut list: Vec<String> = Vec::new();
    for unit in units.into_iter().flat_map(|it| it.value) {
        if !is_template(&unit.value) {
            problems.push(
                Problem::new(unit.place, format!("`{}` is no template unit", unit.value))
                    .help("write it with @ before the dot, such as `t3-serve@.service`"),
            );
        } else if list.contains(&unit.value) {
            problems.push(Problem::new(
                unit.place,
                format!("`{}` is named twice", unit.value),
            ));
        } else {
            list.push(unit.value);
        }
    }
    list
}

/// Families in the order of their first port: a table has no order of its own, and the first family orders the login map.
fn families(
    ports: BTreeMap<String, At<Vec<At<i64>>>>,
    runs_instances: bool,
    problems: &mut Vec<Problem>,
) -> Vec<PortFamily> {
    if ports.is_empty() && runs_instances {
        return FAMILIES
            .map(|(name, first, last)| PortFamily {
                name: name.to_owned(),
                first,
                last,
            })
            .into();
    }
    let mut families = Vec::new();
    for (name, range) in ports {
        if !runs_instances {
            problems.push(
                Problem::new(
                    range.place.clone(),
                    "[ports] is for instances, and [instance] units is empty",
                )
                .help("name the units, or leave [ports] out"),
            );
        }
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let rest = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !(first && rest && name.len() <= 31) {
            problems.push(
                Problem::new(
                    range.place.clone(),
                    format!("`{name}` is no name for a port family"),
                )
                .help("lower-case letters, digits and _, beginning with a letter"),
            );
        }
        if let Some(family) = family(name, &range, problems) {
            families.push((family, range.place));
        }
    }
    families.sort_by_key(|(family, _)| (family.first, family.last));
    for pair in families.windows(2) {
        let [(low, _), (high, place)] = pair else {
            continue;
        };
        if high.first <= low.last {
            problems.push(
                Problem::new(
                    place.clone(),
                    format!(
                        "ports {} to {} belong to `{}` and to `{}`",
                        high.first,
                        high.last.min(low.last),
                        low.name,
                        high.name
                    ),
                )
                .help("give each family a range of its own: a port is never given to two"),
            );
        }
    }
    families.into_iter().map(|(family, _)| family).collect()
}

fn family(
    name: String,
    range: &At<Vec<At<i64>>>,
    problems: &mut Vec<Problem>,
) -> Option<PortFamily> {
    let [first, last] = range.value.as_slice() else {
        let what = format!("`{name}` must be two numbers, the first and the last port");
        problems.push(Problem::new(range.place.clone(), what));
        return None;
    };
    let mut port = |number: &At<i64>| match u16::try_from(number.value) {
        Ok(port) if port >= 1_024 => Some(port),
        _ => {
            problems.push(
                Problem::new(
                    number.place.clone(),
                    format!("port {} cannot be handed out", number.value),
                )
                .help("ports for people are 1024 to 65535"),
            );
            None
        }
    };
    let (first, last) = (port(first), port(last));
    let (first, last) = (first?, last?);
    if first > last {
        problems.push(Problem::new(
            range.place.clone(),
            format!("`{name}` ends before it begins"),
        ));
        return None;
    }
    Some(PortFamily { name, first, last })
}

fn limits(
    removals: Option<At<i64>>,
    share: Option<At<i64>>,
    min_admins: Option<At<i64>>,
    problems: &mut Vec<Problem>,
) -> Limits {
    let default = Limits::default();
    let mut number = |value: Option<At<i64>>,
                      default: usize,
                      range: std::ops::RangeInclusive<i64>,
                      help: &str| {
        let Some(At { value, place }) = value else {
            return default;
        };
        if range.contains(&value) {
            return usize::try_from(value).unwrap_or(default);
        }
        let what = format!(
            "{value} is out of bounds: {} to {} can be set",
            range.start(),
            range.end()
        );
        problems.push(Problem::new(place, what).help(help));
        default
    };
    Limits {
        removals: number(
            removals,
            default.removals,
            1..=100_000,
            "so many removals at once are looked at by share",
        ),
        share: number(
            share,
            default.share,
            0..=99,
            "100 could never be exceeded, so it would switch the limit off",
        ),
        min_admins: number(
            min_admins,
            default.min_admins,
            0..=100_000,
            "0 lets the last admin go, for a host that is administered in another way",
        ),
        ..default
    }
}

fn path(text: &At<String>, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    if is_clean(&text.value) {
        return Some(PathBuf::from(&text.value));
    }
    problems.push(
        Problem::new(
            text.place.clone(),
            format!("`{}` is no plain absolute path", text.value.escape_debug()),
        )
        .help("begin with /, without `.`, `..`, `//` or a / at the end"),
    );
    None
}

fn is_clean(text: &str) -> bool {
    let path = Path::new(text);
    text.len() <= 4_000
        && !text.chars().any(char::is_control)
        && path.is_absolute()
        && path.components().all(|it| matches!(it, Component::RootDir | Component::Normal(_)))
        // Components are tidied up while they are taken apart; the text has to be tidy by itself.
        && path.components().collect::<PathBuf>().as_os_str() == text
}

fn path_template(text: &At<String>, problems: &mut Vec<Problem>) -> Option<PathTemplate> {
    let placeholder = PathTemplate::PLACEHOLDER;
    let parts: Vec<&str> = text.value.split(placeholder).collect();
    let [before, after] = parts.as_slice() else {
        problems.push(
            Problem::new(
                text.place.clone(),
                format!(
                    "`{}` must hold {placeholder} once",
                    text.value.escape_debug()
                ),
            )
            .help(format!(
                "such as \"/etc/muster/instances/{placeholder}.env\""
            )),
        );
        return None;
    };
    if after.contains('/') {
        problems.push(
            Problem::new(
                text.place.clone(),
                format!("{placeholder} must be in the file's name"),
            )
            .help("all environment files lie in one directory"),
        );
        return None;
    }
    path(
        &At {
            value: format!("{before}user{after}"),
            place: text.place.clone(),
        },
        problems,
    )?;
    Some(PathTemplate {
        before: (*before).to_owned(),
        after: (*after).to_owned(),
    })
}

fn aggregate_files(
    texts: [Option<At<String>>; 3],
    problems: &mut Vec<Problem>,
) -> BTreeMap<Aggregate, PathBuf> {
    let mut files: BTreeMap<Aggregate, PathBuf> = BTreeMap::new();
    for (aggregate, text) in Aggregate::ALL.into_iter().zip(texts) {
        let Some(text) = text else { continue };
        let Some(path) = path(&text, problems) else {
            continue;
        };
        if NOT_OURS.contains(&text.value.as_str()) {
            problems.push(
                Problem::new(
                    text.place,
                    format!(
                        "{} has rules of its own and is never rendered",
                        path.display()
                    ),
                )
                .help("name a file that nobody else writes"),
            );
        } else if files.values().any(|other| *other == path) {
            problems.push(Problem::new(
                text.place,
                format!("{} is named for two files", path.display()),
            ));
        } else {
            files.insert(aggregate, path);
        }
    }
    files
}

fn full_branch(branch: &At<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let short = branch
        .value
        .strip_prefix("refs/heads/")
        .unwrap_or(&branch.value);
    let is_part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let good = !short.starts_with(['-', '@'])
        && !short.starts_with("refs/")
        && !short.ends_with('.')
        && !short.contains("..")
        && !short.contains("@{")
        && !short
            .chars()
            .any(|c| c.is_control() || " ~^:?*[\\".contains(c))
        && short.split('/').all(is_part);
    if good {
        return Some(format!("refs/heads/{short}"));
    }
    problems.push(
        Problem::new(
            branch.place.clone(),
            format!("`{}` is no name of a branch", branch.value.escape_debug()),
        )
        .help("such as \"main\"; tags and other refs cannot be followed"),
    );
    None
}

fn origin(url: At<String>, problems: &mut Vec<Problem>) -> Option<Origin> {
    Origin::parse(&url.value)
        .map_err(|error| problems.push(Problem::new(url.place, error.to_string())))
        .ok()
}

fn duration(
    text: Option<At<String>>,
    key: &str,
    default: u64,
    seconds: std::ops::RangeInclusive<u64>,
    problems: &mut Vec<Problem>,
) -> Duration {
    let Some(At { value, place }) = text else {
        return Duration::from_secs(default);
    };
    let digits = value.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit = match &value[digits.len()..] {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        _ => None,
    };
    let number = Some(digits)
        .filter(|it| it.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|it| it.parse::<u64>().ok());
    match number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
    {
        Some(length) if seconds.contains(&length) => Duration::from_secs(length),
        Some(_) => {
            let what = format!(
                "`{key}` must be {} to {} seconds long",
                seconds.start(),
                seconds.end()
            );
            problems.push(Problem::new(place, what));
            Duration::from_secs(default)
        }
        None => {
            problems.push(
                Problem::new(
                    place,
                    format!("`{}` is no length of time", value.escape_debug()),
                )
                .help("a whole number and s, m or h, such as \"30s\""),
            );
            Duration::from_secs(default)
        }
    }
}

fn one_of<T: Copy, const N: usize>(
    word: &At<String>,
    key: &str,
    all: [T; N],
    word_of: fn(T) -> &'static str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let found = all.into_iter().find(|it| word_of(*it) == word.value);
    if found.is_none() {
        let problem = Problem::new(
            word.place.clone(),
            format!("`{}` is no {key}", word.value.escape_debug()),
        );
        let words = all.map(word_of).join(", ");
        problems.push(problem.help(format!("it is one of: {words}")));
    }
    found
}
