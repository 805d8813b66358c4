//! The settings file that the package installs: every key, with what its section says of it.

use std::fmt::Write as _;

use super::Fragments;
use super::section::{Heading, Key, Standing};

const PREAMBLE: &str = "\
# Settings of muster on this host. Every key is shown, behind a '#', with its default; one that has none says so and shows
# an example. Files in muster.toml.d/ beside this one are read afterwards and win, in the order of their names.
# The state repository cannot change anything said here. After a change: systemctl restart muster
";

/// What `/etc/muster/muster.toml` is before anybody edits it.
pub fn shipped() -> String {
    let mut text = PREAMBLE.to_owned();
    for (heading, keys) in Fragments::keys() {
        // One that may be there several times is there only when somebody wants it.
        let hidden = match heading {
            Heading::Once(_) => "",
            Heading::Each(_) | Heading::Below(..) => "# ",
        };
        let _ = write!(text, "\n{hidden}{heading}\n");
        for Key {
            name,
            explained,
            shown,
            standing,
        } in keys
        {
            for line in explained {
                let _ = writeln!(text, "#{line}");
            }
            let before = match standing {
                Standing::Default | Standing::Usual | Standing::Example => "# ",
                Standing::Or => "# or ",
            };
            let _ = writeln!(text, "{before}{name} = {shown}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use muster_forge::github;

    use super::super::tests::{load_both, load_copy, update};
    use super::super::{Credential, Entrance, ForgePlace, Reader, Role, Settings};
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// The keys that `which` picks, as a file that has nothing else.
    fn only(which: impl Fn(&Key) -> bool) -> String {
        let mut text = String::new();
        for (heading, keys) in Fragments::keys() {
            let _ = writeln!(text, "{heading}");
            for key in keys.iter().filter(|key| which(key)) {
                let _ = writeln!(text, "{} = {}", key.name, key.shown);
            }
        }
        text
    }

    #[test]
    fn the_settings_of_the_package_are_what_the_sections_say() {
        let path = root().join("deploy/muster.toml");
        if update() {
            fs::write(&path, shipped()).unwrap();
        }
        let file = fs::read_to_string(path).unwrap();
        assert_eq!(file, shipped(), "UPDATE=1 writes it anew");
        assert_eq!(load_copy(&file), load_copy(""));
    }

    /// Every key that is shown is read, and every value that is shown is of its shape.
    #[test]
    fn what_is_shown_can_be_set() {
        let mut problems = Vec::new();
        let everything = only(|_| true);
        let file = "muster.toml".into();
        let (mut reader, mut top) = Reader::open(&file, &everything, &mut problems);
        Fragments::read(&mut top, &mut reader);
        top.refuse_the_rest(&mut reader);
        assert_eq!(problems, []);
        load_copy(&only(|key| key.standing != Standing::Or)).unwrap();
    }

    #[test]
    fn a_default_that_is_shown_is_the_default() {
        // Some depend on what only an example shows.
        let base = "[instance]\nunits = [\"t3-serve@.service\"]\n[forge]\nkind = \"github\"\nrepository = \"team/state\"\ntoken = \"t\"\n";
        // What names a [[guests]] has no default; nor has the name of a host beside it.
        let guests = "[host]\nname = \"devvm\"\n[[guests]]\nname = \"pve1\"\nkind = \"incus\"\nurl = \"unix:/run/x\"\n";
        let base = format!("{base}{guests}");
        let base = base.as_str();
        let named = |key: &Key| key.name == "name" && key.shown == "\"pve1\"";
        let defaults = only(|key| match key.standing {
            Standing::Default | Standing::Usual => true,
            Standing::Example | Standing::Or => named(key),
        });
        let settings: Settings = load_copy(base).unwrap();
        assert_eq!(load_both(base, &defaults).unwrap(), settings);
    }

    /// A comment that says "No default" and a value that stands for one would contradict each other.
    #[test]
    fn the_comments_know_which_keys_have_no_default() {
        for (section, keys) in Fragments::keys() {
            for key in keys {
                let says = key.explained.concat();
                let denies = says.contains("No default");
                let has = matches!(key.standing, Standing::Default | Standing::Usual);
                assert!(!(denies && has), "{section} {}: {says}", key.name);
            }
        }
    }

    #[test]
    fn the_bot_of_the_package_begins_with_settings_that_load() {
        let settings = load_copy(&fs::read_to_string(root().join("deploy/bot.toml")).unwrap());
        let settings = settings.unwrap();
        assert_eq!(settings.fleet.roles, [Role::Bot].into());
        assert!(settings.state.url.is_some() && settings.fleet.ledger.is_some());
        // The credentials are those that the unit loads.
        let unit = fs::read_to_string(root().join("deploy/muster-bot.service")).unwrap();
        let ForgePlace::GitHub(github::Settings {
            identity: github::Identity::App { key, .. },
            ..
        }) = settings.forge.unwrap().place
        else {
            panic!("it shows an app");
        };
        let secret = settings.http.unwrap().webhook_secret.unwrap();
        for file in [key, secret] {
            let name = file.path().file_name().unwrap().to_str().unwrap();
            assert!(
                unit.contains(&format!("\nLoadCredential={name}\n")),
                "{name}"
            );
        }
        assert!(unit.contains("StateDirectory=muster-bot\n"));
        assert_eq!(settings.state.dir, Path::new("/var/lib/muster-bot"));
    }

    #[test]
    fn the_guests_of_the_package_begin_with_settings_that_load() {
        let text = fs::read_to_string(root().join("deploy/guests.toml")).unwrap();
        let settings = load_copy(&text).unwrap();
        assert!(!settings.keeps_host && settings.fleet.ledger.is_some());
        let [guests] = settings.guests.as_slice() else {
            panic!("it shows one hypervisor");
        };
        let Entrance::Proxmox { token, .. } = &guests.entrance else {
            panic!("it shows Proxmox VE");
        };
        // The credentials are those that the unit loads.
        let unit = fs::read_to_string(root().join("deploy/muster-guests@.service")).unwrap();
        let unit = unit.replace("%i", guests.name());
        let own = |it: &Credential| match it {
            Credential::Own(file) => file.clone(),
            Credential::None | Credential::Socket => panic!("it shows three tokens"),
        };
        for file in [
            token.clone(),
            own(&guests.create_token),
            own(&guests.release_token),
        ] {
            let name = file.path().file_name().unwrap().to_str().unwrap();
            assert!(
                unit.contains(&format!("\nLoadCredential={name}\n")),
                "{name}"
            );
        }
        assert_eq!(guests.dir, Path::new("/var/lib/muster-guests/pve1"));
        assert!(unit.contains("StateDirectory=muster-guests/pve1 "));
    }

    /// Sections, keys and values between backticks in the pages for people, such as `[http] certificate`.
    #[test]
    fn the_pages_for_people_name_settings_that_there_are() {
        let sections = Fragments::keys();
        let has = |section: &str, key: &str| {
            let written = format!("[{section}]");
            let keys = sections
                .iter()
                .find(|(heading, _)| heading.to_string() == written);
            keys.is_some_and(|(_, keys)| key.is_empty() || keys.iter().any(|it| it.name == key))
        };
        let mut seen = 0;
        for page in ["README.md", "deploy/README.md"] {
            let text = fs::read_to_string(root().join(page)).unwrap();
            for line in text.lines() {
                let mut section = None;
                for code in line.split('`').skip(1).step_by(2) {
                    let heading = code.strip_prefix("[[").map_or_else(
                        || code.strip_prefix('[').and_then(|it| it.split_once(']')),
                        |it| it.split_once("]]"),
                    );
                    if let Some((name, key)) = heading {
                        let double = code.starts_with("[[");
                        let name = if double {
                            &code[1..name.len() + 3]
                        } else {
                            name
                        };
                        let key = key.trim().split(' ').next().unwrap_or_default();
                        assert!(has(name, key), "{page}: `{code}`");
                        section = Some(name);
                        seen += 1;
                    } else if let (Some(section), Some((key, _))) =
                        (section, code.split_once(" = "))
                    {
                        assert!(has(section, key), "{page}: [{section}] `{code}`");
                        assert_eq!(misread(section, code), [], "{page}");
                        seen += 1;
                    }
                }
            }
        }
        assert!(seen >= 15, "{seen}");
    }

    /// What is wrong with a line, as far as a file can be read without its neighbours.
    fn misread(section: &str, line: &str) -> Vec<super::super::Problem> {
        let mut problems = Vec::new();
        let (file, text) = ("page".into(), format!("[{section}]\n{line}\n"));
        let (mut reader, mut top) = Reader::open(&file, &text, &mut problems);
        Fragments::read(&mut top, &mut reader);
        problems
    }
}
