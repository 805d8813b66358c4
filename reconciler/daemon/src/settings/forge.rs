//! `[forge]`: where people propose changes, and who muster is there.

use muster_forge::secret::SecretFile;
use muster_forge::wire::{Base, Limits};
use muster_forge::{Repository, forgejo, github, webhook};

use super::place::{At, Place, Problem};
use super::section::{Check, Checks, section};
use super::values::{one_of, parsed, secret};

section! {
    /// Where people propose changes: github (Enterprise too), forgejo or gitea. No default: nothing is said on a forge.
    kind: String, example "github";
    /// Its API: https://HOST/api/v3 of an Enterprise server, https://HOST/api/v1 of Forgejo and Gitea, where it has no default.
    url: String, usual GITHUB;
    /// The state repository there. No default.
    repository: String, example "team/state";
    /// Who muster is there: an app with its private key. `installation` is found where it is left out. A secret is a file by its
    /// absolute path, for root or for muster alone, or the name of a credential that the unit loads.
    app: i64, example 12345;
    installation: i64, example 67890;
    app_key: String, example "app-key";
    /// Or a user of muster's own, by a token; Forgejo has nothing else.
    token: String, or "forge-token";
    /// Keep one issue about what was changed by hand on hosts.
    drift_issue: bool, default true;
    /// The name of the commit status and of the check, for the forge's rules.
    status: String, default "muster";
}

/// The API of github.com.
const GITHUB: &str = "https://api.github.com";

/// The forge where people propose changes, and how much is said there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeSettings {
    /// Which one, and who muster is there.
    pub place: ForgePlace,
    /// The name of the commit status and of the check run.
    pub context: String,
    /// What becomes of drift there.
    pub drift: DriftIssue,
}

/// A hosted forge of one of the two kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForgePlace {
    /// GitHub, on github.com or Enterprise.
    GitHub(github::Settings),
    /// Forgejo or Gitea.
    Forgejo(forgejo::Settings),
}

impl ForgePlace {
    /// The state repository, as the forge calls it.
    pub fn repository(&self) -> &Repository {
        match self {
            Self::GitHub(github::Settings { repository, .. })
            | Self::Forgejo(forgejo::Settings { repository, .. }) => repository,
        }
    }

    /// Whose deliveries are listened to.
    pub fn sender(&self) -> webhook::Sender {
        match self {
            Self::GitHub(_) => webhook::Sender::GitHub,
            Self::Forgejo(_) => webhook::Sender::Forgejo,
        }
    }
}

/// Which kind of forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForgeKind {
    GitHub,
    Forgejo,
    /// Forgejo's elder, with the same API.
    Gitea,
}

impl ForgeKind {
    pub(super) const ALL: [Self; 3] = [Self::GitHub, Self::Forgejo, Self::Gitea];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::Forgejo => "forgejo",
            Self::Gitea => "gitea",
        }
    }
}

/// What becomes of drift that no proposal caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftIssue {
    /// One issue on the forge tells of it, and is closed when it is gone.
    Open,
    /// Nothing is said there.
    Omit,
}

impl Given {
    /// Where the section begins to say something, if it does.
    fn begins(&self) -> Option<&Place> {
        fn at<T>(value: &Option<At<T>>) -> Option<&Place> {
            value.as_ref().map(|it| &it.place)
        }
        let places = [
            at(&self.kind),
            at(&self.repository),
            at(&self.url),
            at(&self.app),
            at(&self.installation),
            at(&self.app_key),
            at(&self.token),
            self.drift_issue.given(),
            self.status.given(),
        ];
        places.into_iter().flatten().next()
    }

    /// Whether there is a forge to be heard.
    pub(super) fn is_set(&self) -> bool {
        self.begins().is_some()
    }
}

impl Check for Given {
    type Value = Option<ForgeSettings>;

    fn check(&self, checks: &mut Checks<'_>) -> Option<Option<ForgeSettings>> {
        match self.begins() {
            Some(place) => self.forge(place, checks).map(Some),
            None => Some(None),
        }
    }
}

impl Given {
    /// `section` is where it begins to say something.
    fn forge(&self, section: &Place, checks: &mut Checks<'_>) -> Option<ForgeSettings> {
        let problems = &mut *checks.problems;
        let missing = |key: &str, help: &str| {
            Problem::new(section.clone(), format!("[forge] has no `{key}`")).help(help)
        };
        let context = status_context(&self.status, problems);
        let repository = match &self.repository {
            Some(it) => parsed::<Repository>(it, problems),
            None => {
                problems.push(missing("repository", "write it like \"team/state\""));
                None
            }
        };
        let kind = match &self.kind {
            Some(it) => one_of(
                it,
                "kind of forge",
                ForgeKind::ALL,
                ForgeKind::word,
                problems,
            ),
            None => {
                problems.push(missing(
                    "kind",
                    "it is \"github\", \"forgejo\" or \"gitea\"",
                ));
                None
            }
        };
        let base = self.url.as_ref().map(|it| parsed::<Base>(it, problems));
        let who = Who::read(self, checks);
        let problems = &mut *checks.problems;
        let limits = Limits::default();
        let place = match kind? {
            ForgeKind::GitHub => {
                let identity = who.on_github(section, problems);
                let base = base.unwrap_or_else(|| GITHUB.parse().ok())?;
                ForgePlace::GitHub(github::Settings {
                    base,
                    repository: repository?,
                    identity: identity?,
                    limits,
                })
            }
            ForgeKind::Forgejo | ForgeKind::Gitea => {
                let token = who.on_forgejo(section, problems);
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
            drift: match self.drift_issue.value {
                true => DriftIssue::Open,
                false => DriftIssue::Omit,
            },
        })
    }
}

/// What the section says of who muster is; a secret is `None` where its problem was told.
struct Who<'g> {
    app: Option<&'g At<i64>>,
    installation: Option<&'g At<i64>>,
    key: Option<At<Option<SecretFile>>>,
    token: Option<At<Option<SecretFile>>>,
}

impl<'g> Who<'g> {
    fn read(given: &'g Given, checks: &mut Checks<'_>) -> Self {
        let mut placed = |text: &At<String>| At {
            value: secret(text, checks.ambient, checks.problems),
            place: text.place.clone(),
        };
        Self {
            app: given.app.as_ref(),
            installation: given.installation.as_ref(),
            key: given.app_key.as_ref().map(&mut placed),
            token: given.token.as_ref().map(placed),
        }
    }

    fn on_github(self, section: &Place, problems: &mut Vec<Problem>) -> Option<github::Identity> {
        let Self {
            app,
            installation,
            key,
            token,
        } = self;
        let stray = |key: &str, place: &Place| {
            Problem::new(
                place.clone(),
                format!("`{key}` belongs to an app, and there is no `app`"),
            )
            .help("set `app` to its number, as its page on the forge shows it")
        };
        let Some(app) = app else {
            problems.extend(installation.map(|it| stray("installation", &it.place)));
            problems.extend(key.as_ref().map(|it| stray("app_key", &it.place)));
            if token.is_none() && key.is_none() {
                problems.push(
                    Problem::new(section.clone(), "[forge] does not say who muster is there")
                        .help("set `app` and `app_key`, or `token`"),
                );
            }
            return token?.value.map(github::Identity::Token);
        };
        if let Some(token) = token {
            problems.push(
                Problem::new(token.place, "muster is an app there, or has a token")
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
            ("app", app.map(|it| &it.place)),
            ("installation", installation.map(|it| &it.place)),
            ("app_key", key.as_ref().map(|it| &it.place)),
        ];
        for (key, place) in places {
            problems.extend(place.map(|place| {
                let what = format!("Forgejo has no apps, and so no `{key}`");
                Problem::new(place.clone(), what)
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

fn number(text: &At<i64>, problems: &mut Vec<Problem>) -> Option<u64> {
    let number = u64::try_from(text.value).ok().filter(|it| *it > 0);
    if number.is_none() {
        let what = format!("{} is no number that a forge gives out", text.value);
        problems.push(Problem::new(text.place.clone(), what));
    }
    number
}

fn status_context(text: &At<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let good = text.value.len() <= 60
        && text.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    if good {
        return Some(text.value.clone());
    }
    problems.push(
        Problem::new(
            text.place.clone(),
            format!("`{}` is no name for a status", text.value.escape_debug()),
        )
        .help("letters, digits, `-`, `_`, `.` and `/`, 60 at most, such as \"muster\""),
    );
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::tests::load_copy;
    use super::*;

    #[test]
    fn the_app_asks_for_what_it_needs_and_the_readme_for_the_same() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let manifest = fs::read_to_string(root.join("deploy/github-app.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        let link = readme.split("settings/apps/new?").nth(1).unwrap();
        let mut asked: Vec<&str> = link.split('`').next().unwrap().split('&').collect();
        let mut wanted: Vec<String> = ["name=muster-ORG", "url=https://HOST", "public=false"]
            .into_iter()
            .chain([
                "webhook_active=true",
                "webhook_url=https://HOST/webhook/github",
            ])
            .map(str::to_owned)
            .collect();
        for (what, access) in manifest["default_permissions"].as_object().unwrap() {
            wanted.push(format!("{what}={}", access.as_str().unwrap()));
        }
        for event in manifest["default_events"].as_array().unwrap() {
            wanted.push(format!("events[]={}", event.as_str().unwrap()));
        }
        asked.sort();
        wanted.sort();
        assert_eq!(asked, wanted);
        // It reads content, and can write none.
        assert_eq!(manifest["default_permissions"]["contents"], "read");
        assert_eq!(manifest["public"], false);
    }

    #[test]
    fn an_app_is_known_by_its_number_and_key() {
        let text = "[forge]\nkind = \"github\"\nrepository = \"team/state\"\napp = 7\napp_key = \"/etc/muster/key.pem\"\n";
        let forge = load_copy(text).unwrap().forge.unwrap();
        let ForgePlace::GitHub(github::Settings { base, identity, .. }) = forge.place else {
            panic!("{forge:?}");
        };
        assert_eq!(base.to_string(), "https://api.github.com");
        let key = SecretFile::at("/etc/muster/key.pem");
        let installation = None;
        assert_eq!(
            identity,
            github::Identity::App {
                app: 7,
                installation,
                key,
            }
        );
    }
}
