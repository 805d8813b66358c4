//! Roles, the forge and the HTTP server.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use muster_forge::secret::SecretFile;
use muster_forge::wire::{Base, Limits};
use muster_forge::{Repository, forgejo, github};
use muster_git::Origin;

use super::{duration, one_of, origin, path};
use crate::settings::fleet::{
    DriftIssue, ForgeKind, ForgePlace, ForgeSettings, HttpSettings, Role, TlsFiles,
};
use crate::settings::fragment::{FleetFragment, ForgeFragment, HttpFragment};
use crate::settings::place::{At, Place, Problem};
use crate::settings::{Ambient, DEFAULT_HOSTS};

/// All that is not about this host alone.
pub(super) struct Outward {
    pub(super) roles: BTreeSet<Role>,
    pub(super) ledger: Option<Origin>,
    pub(super) hosts: PathBuf,
    pub(super) stale: Duration,
    pub(super) replica: String,
    pub(super) forge: Option<ForgeSettings>,
    pub(super) http: Option<HttpSettings>,
}

pub(super) fn outward(
    fleet: FleetFragment,
    forge: ForgeFragment,
    http: HttpFragment,
    ambient: &Ambient,
    problems: &mut Vec<Problem>,
) -> Outward {
    let FleetFragment {
        roles: words,
        ledger,
        hosts,
        stale,
        name,
    } = fleet;
    let asked = is_set(&forge).cloned();
    Outward {
        roles: roles(words, problems),
        ledger: ledger.and_then(|it| origin(it, problems)),
        hosts: hosts
            .and_then(|it| path(&it, problems))
            .unwrap_or_else(|| DEFAULT_HOSTS.into()),
        stale: duration(stale, "stale", 900, 60..=604_800, problems),
        replica: replica(name, ambient, problems),
        forge: asked
            .clone()
            .and_then(|place| checked_forge(forge, place, ambient, problems)),
        http: checked_http(http, asked.is_some(), ambient, problems),
    }
}

fn roles(words: Option<At<Vec<At<String>>>>, problems: &mut Vec<Problem>) -> BTreeSet<Role> {
    let Some(At { value, place }) = words else {
        return Role::ALL.into();
    };
    if value.is_empty() {
        problems.push(
            Problem::new(place, "without a role there is nothing to do")
                .help("leave `roles` out for both"),
        );
    }
    value
        .iter()
        .filter_map(|word| one_of(word, "role", Role::ALL, Role::word, problems))
        .collect()
}

fn replica(name: Option<At<String>>, ambient: &Ambient, problems: &mut Vec<Problem>) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let Some(At { value, place }) = name else {
        let host = ambient.hostname.bytes().filter(|b| plain(*b)).take(60);
        let host: String = host.map(char::from).collect();
        return format!("{host}-{}", ambient.process);
    };
    if value.is_empty() || value.len() > 100 || !value.bytes().all(plain) {
        problems.push(
            Problem::new(
                place,
                format!("`{}` is no name for a bot", value.escape_debug()),
            )
            .help("letters, digits, `-`, `_` and `.`, 100 at most"),
        );
    }
    value
}

/// Where the first key of the section stands, if it has any.
fn is_set(forge: &ForgeFragment) -> Option<&Place> {
    fn at<T>(value: &Option<At<T>>) -> Option<&Place> {
        value.as_ref().map(|it| &it.place)
    }
    let ForgeFragment {
        kind,
        url,
        repository,
        app,
        installation,
        app_key,
        token,
        drift_issue,
        status,
    } = forge;
    [
        at(kind),
        at(repository),
        at(url),
        at(app),
        at(installation),
        at(app_key),
        at(token),
        at(drift_issue),
        at(status),
    ]
    .into_iter()
    .flatten()
    .next()
}

/// `place` is where the section begins to say something.
fn checked_forge(
    forge: ForgeFragment,
    place: Place,
    ambient: &Ambient,
    problems: &mut Vec<Problem>,
) -> Option<ForgeSettings> {
    let ForgeFragment {
        kind,
        url,
        repository,
        app,
        installation,
        app_key,
        token,
        drift_issue,
        status,
    } = forge;
    let drift = match drift_issue {
        Some(At { value: false, .. }) => DriftIssue::Omit,
        Some(At { value: true, .. }) | None => DriftIssue::Open,
    };
    let context = status.map_or_else(
        || Some("muster".to_owned()),
        |it| status_context(it, problems),
    );
    let missing = |key: &str, help: &str| {
        Problem::new(place.clone(), format!("[forge] has no `{key}`")).help(help)
    };
    let repository = match repository {
        Some(it) => parsed::<Repository>(it, problems),
        None => {
            problems.push(missing("repository", "write it like \"team/state\""));
            None
        }
    };
    let kind = match kind {
        Some(it) => one_of(
            &it,
            "kind of forge",
            ForgeKind::ALL,
            ForgeKind::word,
            problems,
        ),
        None => {
            problems.push(missing("kind", "it is \"github\" or \"forgejo\""));
            None
        }
    };
    let base = url.map(|it| parsed::<Base>(it, problems));
    let who = Who {
        app,
        installation,
        key: app_key.map(|it| secret(it, ambient, problems)),
        token: token.map(|it| secret(it, ambient, problems)),
    };
    let limits = Limits::default();
    let place = match kind? {
        ForgeKind::GitHub => {
            let identity = who.on_github(&place, problems);
            let base = base.unwrap_or_else(|| "https://api.github.com".parse().ok())?;
            ForgePlace::GitHub(github::Settings {
                base,
                repository: repository?,
                identity: identity?,
                limits,
            })
        }
        ForgeKind::Forgejo => {
            let token = who.on_forgejo(&place, problems);
            if base.is_none() {
                problems.push(missing("url", "it is like \"https://HOST/api/v1\""));
            }
            ForgePlace::Forgejo(forgejo::Settings {
                base: base??,
                repository: repository?,
                token: token?,
                limits,
            })
        }
    };
    Some(ForgeSettings {
        place,
        context: context?,
        drift,
    })
}

/// What the section says of who muster is; a secret is `None` where its problem was told.
struct Who {
    app: Option<At<i64>>,
    installation: Option<At<i64>>,
    key: Option<At<Option<SecretFile>>>,
    token: Option<At<Option<SecretFile>>>,
}

impl Who {
    fn on_github(self, section: &Place, problems: &mut Vec<Problem>) -> Option<github::Identity> {
        let Self {
            app,
            installation,
            key,
            token,
        } = self;
        let stray = |key: &str, place: Place| {
            Problem::new(
                place,
                format!("`{key}` belongs to an app, and there is no `app`"),
            )
            .help("set `app` to its number, as its page on the forge shows it")
        };
        let Some(app) = app else {
            problems.extend(installation.map(|it| stray("installation", it.place)));
            let has_key = key.is_some();
            problems.extend(key.map(|it| stray("app_key", it.place)));
            if token.is_none() && !has_key {
                problems.push(
                    Problem::new(section.clone(), "[forge] does not say who muster is there")
                        .help("set `app` and `app_key`, or `token`"),
                );
            }
            return token?.value.map(github::Identity::Token);
        };
        if let Some(token) = &token {
            problems.push(
                Problem::new(
                    token.place.clone(),
                    "muster is an app there, or has a token",
                )
                .help("leave out one of `app` and `token`"),
            );
        }
        if key.is_none() {
            problems.push(
                Problem::new(app.place.clone(), "an app signs in with its private key")
                    .help("set `app_key` to the file that the forge gave out"),
            );
        }
        let app = number(app, problems);
        let installation = installation.map(|it| number(it, problems));
        Some(github::Identity::App {
            app: app?,
            installation: match installation {
                Some(number) => Some(number?),
                None => None,
            },
            key: key?.value?,
        })
    }

    fn on_forgejo(self, section: &Place, problems: &mut Vec<Problem>) -> Option<SecretFile> {
        let Self {
            app,
            installation,
            key,
            token,
        } = self;
        let places = [
            ("app", app.map(|it| it.place)),
            ("installation", installation.map(|it| it.place)),
            ("app_key", key.map(|it| it.place)),
        ];
        for (key, place) in places {
            problems.extend(place.map(|place| {
                Problem::new(place, format!("Forgejo has no apps, and so no `{key}`"))
                    .help("set `token`, of a user that is muster's own")
            }));
        }
        if token.is_none() {
            problems.push(
                Problem::new(section.clone(), "[forge] does not say who muster is there")
                    .help("set `token`, of a user that is muster's own"),
            );
        }
        token?.value
    }
}

fn number(text: At<i64>, problems: &mut Vec<Problem>) -> Option<u64> {
    let number = u64::try_from(text.value).ok().filter(|it| *it > 0);
    if number.is_none() {
        let what = format!("{} is no number that a forge gives out", text.value);
        problems.push(Problem::new(text.place, what));
    }
    number
}

fn status_context(text: At<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let good = text.value.len() <= 60
        && text.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    if good {
        return Some(text.value);
    }
    problems.push(
        Problem::new(
            text.place,
            format!("`{}` is no name for a status", text.value.escape_debug()),
        )
        .help("letters, digits, `-`, `_`, `.` and `/`, 60 at most, such as \"muster\""),
    );
    None
}

fn checked_http(
    http: HttpFragment,
    hears: bool,
    ambient: &Ambient,
    problems: &mut Vec<Problem>,
) -> Option<HttpSettings> {
    let HttpFragment {
        listen,
        certificate,
        key,
        webhook_secret,
    } = http;
    let places = [&certificate, &key, &webhook_secret];
    let first = places
        .into_iter()
        .flatten()
        .next()
        .map(|it| it.place.clone());
    let tls = match (certificate, key) {
        (None, None) => Some(None),
        (Some(certificate), Some(key)) => {
            let certificate = path(&certificate, problems);
            let key = secret(key, ambient, problems).value;
            certificate
                .zip(key)
                .map(|(certificate, key)| Some(TlsFiles { certificate, key }))
        }
        (Some(At { place, .. }), None) => {
            let what = "a certificate is of no use without its `key`";
            problems.push(Problem::new(place, what).help("set both, or leave both out"));
            None
        }
        (None, Some(At { place, .. })) => {
            let what = "a key is of no use without its `certificate`";
            problems.push(Problem::new(place, what).help("set both, or leave both out"));
            None
        }
    };
    let has_secret = webhook_secret.is_some();
    let webhook_secret = webhook_secret.map(|it| secret(it, ambient, problems).value);
    let Some(At { value, place }) = listen else {
        problems.extend(first.map(|place| {
            Problem::new(place, "[http] has no `listen`, so nothing is served")
                .help("such as \"127.0.0.1:8472\", or leave the section out")
        }));
        return None;
    };
    if hears && !has_secret {
        problems.push(
            Problem::new(
                place.clone(),
                "[http] has no `webhook_secret`, so that anybody could knock",
            )
            .help("set it to a file with a long random word, and tell the same to the forge"),
        );
    }
    let listen = value.parse();
    if listen.is_err() {
        problems.push(
            Problem::new(
                place,
                format!("`{}` is no address to listen at", value.escape_debug()),
            )
            .help("a numeric address and a port, such as \"127.0.0.1:8472\" or \"[::]:8472\""),
        );
    }
    Some(HttpSettings {
        listen: listen.ok()?,
        tls: tls?,
        webhook_secret: match webhook_secret {
            Some(secret) => Some(secret?),
            None => None,
        },
    })
}

/// A file, or the name of a credential that the service manager hands over; `None` after its problem was told.
fn secret(
    text: At<String>,
    ambient: &Ambient,
    problems: &mut Vec<Problem>,
) -> At<Option<SecretFile>> {
    let value = if text.value.contains('/') {
        path(&text, problems).map(SecretFile::at)
    } else {
        SecretFile::credential(ambient.credentials.as_deref(), &text.value)
            .map_err(|error| {
                let help = "or name a file by its absolute path";
                problems.push(Problem::new(text.place.clone(), error.to_string()).help(help));
            })
            .ok()
    };
    At {
        value,
        place: text.place,
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(
    text: At<String>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    text.value
        .parse()
        .map_err(|error: T::Err| problems.push(Problem::new(text.place, error.to_string())))
        .ok()
}
