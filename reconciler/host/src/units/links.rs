//! Units as files: which templates are there, and which instances the links of `/etc/systemd/system` start at boot.
//!
//! The same links are read whether or not a manager runs: it has no one call that lists the instances enabled.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;

use muster_core::accounts::action::UnitChange;

use crate::dir::{Dir, FileKind, with_causes};
use crate::root::RootError;

/// Where units are looked for, the first that has one counts.
const SEARCH: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// Where links are made.
const ETC: &str = "etc/systemd/system";
const LIMIT: u64 = 1 << 20;

/// `t3-serve@.service` in its parts.
fn parts(unit: &str) -> Option<(&str, &str, &str)> {
    let (name, suffix) = unit.rsplit_once('.')?;
    let (prefix, instance) = name.split_once('@')?;
    Some((prefix, instance, suffix))
}

/// The template that a unit is an instance of, and the instance; a unit of its own is its template.
fn template_of(unit: &str) -> (String, &str) {
    match parts(unit) {
        Some((prefix, instance, suffix)) => (format!("{prefix}@.{suffix}"), instance),
        None => (unit.to_owned(), ""),
    }
}

/// The templates that exist.
pub(super) fn templates(root: &Dir, wanted: &[String]) -> Result<BTreeSet<String>, RootError> {
    let mut found = BTreeSet::new();
    for template in wanted {
        if locate(root, template)?.is_some() {
            found.insert(template.clone());
        }
    }
    Ok(found)
}

/// The path of a unit file inside the root; a masked one is none.
fn locate(root: &Dir, unit: &str) -> Result<Option<String>, RootError> {
    for directory in SEARCH {
        let path = format!("/{directory}/{unit}");
        if let Some(seen) = root.followed(&path)? {
            return Ok((seen.kind == FileKind::File).then_some(path));
        }
    }
    Ok(None)
}

/// The instances of the templates that some link starts at boot.
pub(super) fn enabled(root: &Dir, templates: &[String]) -> Result<BTreeSet<String>, RootError> {
    let mut found = BTreeSet::new();
    for directory in ["etc/systemd/system", "run/systemd/system"] {
        let dir = match root.below_trusted(directory) {
            Ok(dir) => dir,
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for name in dir.names()? {
            let Some(name) = name.to_str() else { continue };
            let pulls_in = name.ends_with(".wants") || name.ends_with(".requires");
            if pulls_in
                && dir
                    .see(name)?
                    .is_some_and(|it| it.kind == FileKind::Directory)
            {
                for unit in dir.dir(name)?.names()? {
                    found.extend(
                        unit.to_str()
                            .filter(|unit| is_of(unit, templates))
                            .map(str::to_owned),
                    );
                }
            }
        }
    }
    Ok(found)
}

fn is_of(unit: &str, templates: &[String]) -> bool {
    templates
        .iter()
        .any(|template| match template.split_once('@') {
            Some((prefix, suffix)) => unit
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('@'))
                .is_some_and(|rest| rest.ends_with(suffix) && rest.len() > suffix.len()),
            None => unit == template,
        })
}

/// What the `[Install]` section of a unit asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Install {
    /// Directories of `/etc/systemd/system` that get a link.
    directories: BTreeSet<String>,
    /// Second names.
    aliases: BTreeSet<String>,
}

fn parse_install(text: &str, unit: &str) -> Result<Install, String> {
    let mut install = Install::default();
    let mut inside = false;
    // A backslash at the end of a line goes on with the next.
    let joined = text.replace("\\\n", " ");
    for line in joined.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Install]";
            continue;
        }
        let Some((key, value)) = line
            .split_once('=')
            .filter(|_| inside && !line.starts_with(['#', ';']))
        else {
            continue;
        };
        let (kind, key) = match key.trim() {
            "WantedBy" => (Some(".wants"), "WantedBy"),
            "RequiredBy" => (Some(".requires"), "RequiredBy"),
            "Alias" => (None, "Alias"),
            _ => continue,
        };
        for word in value.split_whitespace() {
            let name = expand(word, unit).ok_or(format!(
                "{key}={word} has a specifier that is not known here"
            ))?;
            if name.contains('/') || name.starts_with('.') {
                return Err(format!("{key}={word} is no name of a unit"));
            }
            match kind {
                Some(kind) => install.directories.insert(format!("{name}{kind}")),
                None => install.aliases.insert(name),
            };
        }
    }
    Ok(install)
}

fn expand(word: &str, unit: &str) -> Option<String> {
    let (prefix, instance, _) = parts(unit).unwrap_or((unit, "", ""));
    let mut out = String::new();
    let mut letters = word.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next()? {
            'i' | 'I' => out.push_str(instance),
            'p' | 'P' => out.push_str(prefix),
            'n' => out.push_str(unit),
            '%' => out.push('%'),
            _ => return None,
        }
    }
    Some(out)
}

/// Enables or disables units by their links; says of each, in order, why it was not done. All links of one directory
/// are made durable together.
pub(super) fn change(root: &Dir, changes: &[(&str, UnitChange)]) -> Vec<Result<(), String>> {
    let mut touched: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut results: Vec<Result<(), String>> = changes
        .iter()
        .enumerate()
        .map(|(index, (unit, change))| {
            let directories = match change {
                UnitChange::Enable => enable(root, unit)?,
                UnitChange::Disable => disable(root, unit)?,
                UnitChange::Start | UnitChange::Stop => {
                    return Err("no service manager runs here".to_owned());
                }
            };
            for directory in directories {
                touched.entry(directory).or_default().push(index);
            }
            Ok(())
        })
        .collect();
    for (directory, indices) in touched {
        if let Err(error) = root.below_trusted(&directory).and_then(|dir| dir.sync()) {
            for index in indices {
                results[index] = Err(with_causes(&error));
            }
        }
    }
    results
}

fn enable(root: &Dir, unit: &str) -> Result<Vec<String>, String> {
    let said = |error: RootError| with_causes(&error);
    let (template, _) = template_of(unit);
    let path = match locate(root, unit).map_err(said)? {
        Some(path) => path,
        None => locate(root, &template)
            .map_err(said)?
            .ok_or(format!("unit {template} is not installed, or masked"))?,
    };
    let (directory, name) = crate::dir::split(&path);
    let text = root
        .below_trusted(directory)
        .and_then(|dir| dir.read(name, LIMIT))
        .map_err(said)?;
    let text = text
        .map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let install = parse_install(&text, unit)?;
    if install.directories.is_empty() && install.aliases.is_empty() {
        return Err(format!(
            "{path} has no [Install] section that says when to start it; add `WantedBy=multi-user.target`"
        ));
    }
    let mut touched = Vec::new();
    for directory in &install.directories {
        let directory = format!("{ETC}/{directory}");
        let dir = root.below_made(&directory).map_err(said)?;
        link(&dir, &path, unit).map_err(said)?;
        touched.push(directory);
    }
    for alias in install.aliases.iter().filter(|alias| *alias != unit) {
        let dir = root.below_made(ETC).map_err(said)?;
        link(&dir, &path, alias).map_err(said)?;
        touched.push(ETC.to_owned());
    }
    Ok(touched)
}

fn link(dir: &Dir, target: &str, name: &str) -> Result<(), RootError> {
    match dir.see(name)? {
        Some(seen) if seen.kind == FileKind::Link => {
            if dir.read_link(name)? == OsStr::new(target) {
                return Ok(());
            }
            dir.remove(name)?;
        }
        Some(seen) => {
            let source = io::Error::other(format!("it is {}", seen.kind.with_article()));
            return Err(RootError {
                verb: "make the link",
                path: dir.path_of(name),
                source,
            });
        }
        None => {}
    }
    dir.link_to(OsStr::new(target), name)
}

fn disable(root: &Dir, unit: &str) -> Result<Vec<String>, String> {
    let said = |error: RootError| with_causes(&error);
    let mut touched = Vec::new();
    for directory in ["etc/systemd/system", "run/systemd/system"] {
        let dir = match root.below_trusted(directory) {
            Ok(dir) => dir,
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(with_causes(&error)),
        };
        for name in dir.names().map_err(said)? {
            let Some(name) = name.to_str() else { continue };
            if !(name.ends_with(".wants") || name.ends_with(".requires")) {
                // An alias of this very instance cannot be told from another template's by its name; its target can.
                if dir
                    .see(name)
                    .map_err(said)?
                    .is_some_and(|it| it.kind == FileKind::Link)
                    && is_alias(&dir, name, unit)
                {
                    dir.remove(name).map_err(said)?;
                    touched.push(directory.to_owned());
                }
                continue;
            }
            if dir
                .see(name)
                .map_err(said)?
                .is_none_or(|it| it.kind != FileKind::Directory)
            {
                continue;
            }
            let wants = dir.dir(name).map_err(said)?;
            if wants
                .see(unit)
                .map_err(said)?
                .is_some_and(|it| it.kind == FileKind::Link)
            {
                wants.remove(unit).map_err(said)?;
                touched.push(format!("{directory}/{name}"));
            }
        }
    }
    Ok(touched)
}

/// Whether the link `name` gives the instance `unit` a second name: same instance, and it leads to the same template.
fn is_alias(dir: &Dir, name: &str, unit: &str) -> bool {
    let (template, instance) = template_of(unit);
    let Some((_, other, _)) = parts(name) else {
        return false;
    };
    let Ok(target) = dir.read_link(name) else {
        return false;
    };
    let target = target.to_string_lossy().into_owned();
    !instance.is_empty()
        && other == instance
        && target.rsplit('/').next() == Some(template.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Dir) {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("usr/lib/systemd/system")).unwrap();
        std::fs::write(
            scratch.path().join("usr/lib/systemd/system/t3-serve@.service"),
            "[Unit]\nWantedBy=no\n[Install]\n# WantedBy=no\nWantedBy=multi-user.target \\\n  user-%i.slice\nAlias=t3@%i.service\n",
        )
        .unwrap();
        let dir = Dir::open(scratch.path()).unwrap();
        (scratch, dir)
    }

    #[test]
    fn an_instance_is_enabled_by_its_links_and_disabled_by_their_removal() {
        let (scratch, root) = scratch();
        let templates = vec!["t3-serve@.service".to_owned()];
        let names = ["t3-serve@emo.service", "t3-serve@ema-x.service"];
        for (change, expected) in [
            (UnitChange::Enable, 2),
            (UnitChange::Enable, 2),
            (UnitChange::Disable, 0),
            (UnitChange::Disable, 0),
        ] {
            let changes: Vec<_> = names.iter().map(|name| (*name, change)).collect();
            assert_eq!(super::change(&root, &changes), [Ok(()), Ok(())]);
            assert_eq!(
                enabled(&root, &templates).unwrap().len(),
                expected,
                "{change:?}"
            );
        }
        assert!(
            scratch
                .path()
                .join("etc/systemd/system/user-emo.slice.wants")
                .is_dir()
        );
        assert!(
            !scratch
                .path()
                .join("etc/systemd/system/t3@emo.service")
                .is_symlink()
        );
    }

    #[test]
    fn a_link_leads_to_the_unit_file_of_the_root() {
        let (scratch, root) = scratch();
        assert_eq!(
            super::change(&root, &[("t3-serve@emo.service", UnitChange::Enable)]),
            [Ok(())]
        );
        let link = scratch
            .path()
            .join("etc/systemd/system/multi-user.target.wants/t3-serve@emo.service");
        assert_eq!(
            std::fs::read_link(link).unwrap().to_str(),
            Some("/usr/lib/systemd/system/t3-serve@.service")
        );
        assert!(
            scratch
                .path()
                .join("etc/systemd/system/t3@emo.service")
                .is_symlink()
        );
    }

    #[test]
    fn what_is_missing_or_masked_is_no_template() {
        let (scratch, root) = scratch();
        let wanted = ["t3-serve@.service".to_owned(), "other@.timer".to_owned()];
        assert_eq!(
            templates(&root, &wanted).unwrap(),
            BTreeSet::from([wanted[0].clone()])
        );
        std::fs::create_dir_all(scratch.path().join("etc/systemd/system")).unwrap();
        std::os::unix::fs::symlink(
            "/dev/null",
            scratch.path().join("etc/systemd/system/t3-serve@.service"),
        )
        .unwrap();
        std::fs::create_dir_all(scratch.path().join("dev")).unwrap();
        std::fs::create_dir(scratch.path().join("dev/null")).unwrap();
        assert!(templates(&root, &wanted).unwrap().is_empty());
        assert!(super::change(&root, &[("t3-serve@emo.service", UnitChange::Enable)])[0].is_err());
    }

    #[test]
    fn an_unknown_specifier_is_refused() {
        assert!(parse_install("[Install]\nWantedBy=%H.target\n", "a@b.service").is_err());
        assert!(parse_install("[Install]\nWantedBy=../x.target\n", "a@b.service").is_err());
        assert_eq!(
            parse_install("[Service]\nWantedBy=x.target\n", "a@b.service"),
            Ok(Install::default())
        );
    }
}
