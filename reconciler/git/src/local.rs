//! Reading a local origin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use gix::hash::ObjectId;
use gix::objs;

use crate::carry;
use crate::fetch_error::FetchError;
use crate::files::Listing;
use crate::heads::{FETCHED, Heads, Proposals, WantedTags, fetched_name, heads_of};
use crate::layout::{Layout, RefStorage};
use crate::mirror::{Copies, Mirror};
use crate::objects::{LARGEST_TREE, Objects, SMALL, Source, commit_id};
use crate::read_error::FILE_LIMIT;
use crate::reader::Far;
use crate::refs::{self, Listed};
use crate::run::{self, Limits, RunError};
use crate::signature::Signature;
use crate::sync::{Durability, ObjectWriter};

/// Reads the branches of the repository at `path` and copies what is needed of the protected one.
pub(crate) fn fetch(
    mirror: &mut Mirror,
    path: &Path,
    protected: &str,
    proposals: Proposals,
) -> Result<(Signature, Heads), FetchError> {
    let layout = mirror.layout_of(path)?;
    mirror.be_of(layout.kind)?;
    let signature = Signature::take(&layout, protected).reached_by(path, &layout.common);
    let mut listed = references(&layout, "refs/heads/", mirror.limits)?;
    // The owner's git leaves out what it cannot read.
    let is_there = || {
        layout
            .common
            .join(protected)
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_file())
    };
    if listed.unread.iter().any(|name| name == protected)
        || !listed.found.contains_key(protected) && is_there()
    {
        return Err(FetchError::BrokenBranch {
            name: protected.to_owned(),
        });
    }
    if proposals != Proposals::Include {
        let is_wanted = |name: &str| name == protected || proposals.has(name, protected);
        listed.found.retain(|name, _| is_wanted(name));
        listed.unread.retain(|name| is_wanted(name));
    }
    if let Some(wanted) = &mirror.wanted_tags {
        listed.found.extend(tags(&layout, wanted, mirror.limits)?);
    }
    if layout.elsewhere {
        mirror.view = None;
        transfer(mirror, &layout, &listed.found)?;
    } else {
        mirror.look_into(&layout)?;
        if let Some(tip) = listed.found.get(protected)
            && mirror.copies == Copies::Make
        {
            copy(mirror, tip)?;
        }
    }
    let kept = match layout.elsewhere {
        true => listed
            .found
            .iter()
            .filter(|(name, _)| name.starts_with("refs/heads/"))
            .map(|(name, id)| (name.clone(), *id))
            .collect(),
        false => listed
            .found
            .iter()
            // A reference must not lead to what is not there.
            .filter(|(name, _)| *name == protected && mirror.copies == Copies::Make)
            .map(|(name, id)| (name.clone(), *id))
            .collect(),
    };
    keep_refs(mirror, &kept)?;
    Ok((signature, heads_of(&listed.found, protected, listed.unread)))
}

/// The references below `prefix` in a local repository: read here, or by its owner's git where its format is not ours to
/// read.
pub(crate) fn references(
    layout: &Layout,
    prefix: &str,
    limits: Limits,
) -> Result<Listed, FetchError> {
    match layout.refs {
        RefStorage::Files if !layout.elsewhere => {
            Ok(refs::list(&layout.common, prefix, layout.kind)?)
        }
        RefStorage::Files | RefStorage::Reftable => {
            let mut command = owners_git(layout)?;
            command.args(["for-each-ref", "--format=%(objectname) %(refname)", prefix]);
            let printed =
                run::run(command, "git for-each-ref", b"", limits).map_err(git_failed(layout))?;
            let mut listed = Listed::default();
            for line in printed
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                let parsed = std::str::from_utf8(line)
                    .ok()
                    .and_then(|line| line.split_once(' '));
                let id = parsed.and_then(|(hex, _)| ObjectId::from_hex(hex.as_bytes()).ok());
                match (parsed, id) {
                    (Some((_, name)), Some(id)) if refs::is_legal(name) => {
                        listed.found.insert(name.to_owned(), id);
                    }
                    _ => listed.unread.push(line.escape_ascii().to_string()),
                }
            }
            Ok(listed)
        }
    }
}

/// The tags that are wanted: read here, or by the owner's git where the format is not ours to read.
fn tags(
    layout: &Layout,
    wanted: &WantedTags,
    limits: Limits,
) -> Result<BTreeMap<String, ObjectId>, FetchError> {
    match layout.refs {
        RefStorage::Files if !layout.elsewhere => Ok(refs::list_flat(
            &layout.common,
            &wanted.below,
            layout.kind,
            |name| wanted.has(name),
        )?),
        RefStorage::Files | RefStorage::Reftable => {
            let mut command = owners_git(layout)?;
            command
                .args(["for-each-ref", "--format=%(objectname) %(refname)"])
                .args(&wanted.below);
            let printed =
                run::run(command, "git for-each-ref", b"", limits).map_err(git_failed(layout))?;
            Ok(printed
                .split(|byte| *byte == b'\n')
                .filter_map(|line| std::str::from_utf8(line).ok()?.split_once(' '))
                .filter(|(_, name)| refs::is_legal(name) && wanted.has(name))
                .filter_map(|(hex, name)| {
                    Some((name.to_owned(), ObjectId::from_hex(hex.as_bytes()).ok()?))
                })
                .collect())
        }
    }
}

/// git in the origin, as the origin's owner.
pub(crate) fn owners_git(layout: &Layout) -> Result<Command, FetchError> {
    let mut command = run::git(&layout.common).map_err(git_failed(layout))?;
    let not_ours = |source| FetchError::NotOurs {
        origin: layout.common.clone(),
        source,
    };
    layout.owner.put_on(&mut command).map_err(not_ours)?;
    Ok(command)
}

pub(crate) fn git_failed(layout: &Layout) -> impl Fn(RunError) -> FetchError {
    let origin = layout.common.display().to_string();
    move |source| FetchError::Git {
        origin: origin.clone(),
        source,
    }
}

/// Whether a mirror has all that is kept of a commit.
pub(crate) fn is_whole(own: &Objects, tip: &ObjectId) -> bool {
    let source: &dyn Source = own;
    let listing = source
        .commit(tip)
        .and_then(|commit| Listing::read(&source, commit.tree));
    listing.is_ok_and(|listing| {
        let files = listing.files.values();
        files.chain(&listing.trees).all(|id| own.has(id))
    })
}

/// Copies one commit, its trees and its files in the places that muster reads. Files come first and the commit last, so
/// that a commit that is there is complete.
pub(crate) fn copy(mirror: &mut Mirror, tip: &ObjectId) -> Result<(), FetchError> {
    let read_failed = |source| FetchError::Read {
        commit: commit_id(tip),
        source,
    };
    let write_failed = mirror.failed();
    let far;
    let view: &dyn Source = match (&mirror.far, &mirror.view) {
        (Some(reader), _) => {
            far = Far {
                own: &mirror.own,
                reader,
            };
            &far
        }
        (None, Some(view)) => view,
        (None, None) => return Ok(()),
    };
    if mirror.copied.contains(tip) {
        return Ok(());
    }
    let listing = view
        .commit(tip)
        .and_then(|commit| Listing::read(&view, commit.tree));
    let listing = match listing {
        Ok(listing) => listing,
        // For whoever reads the files to say.
        Err(error) if error.is_of_size() => return Ok(()),
        Err(error) => return Err(read_failed(error)),
    };
    let blobs = listing
        .files
        .values()
        .map(|id| (objs::Kind::Blob, *id, FILE_LIMIT));
    let trees = listing
        .trees
        .iter()
        .rev()
        .map(|id| (objs::Kind::Tree, *id, LARGEST_TREE));
    let mut writer = ObjectWriter::new(&mirror.own, Durability::Cache).map_err(&write_failed)?;
    let mut whole = BTreeSet::new();
    mirror.fresh.take();
    for (kind, id, limit) in blobs
        .chain(trees)
        .chain([(objs::Kind::Commit, *tip, SMALL)])
    {
        let known = mirror.copied.contains(&id) || whole.contains(&id) || mirror.own.has(&id);
        if !known && id != ObjectId::empty_tree(id.kind()) {
            match view.read(&id, kind, limit) {
                Ok(bytes) => {
                    writer
                        .write_verified(&id, kind, &bytes)
                        .map_err(&write_failed)?;
                    if kind == objs::Kind::Blob {
                        mirror.fresh.borrow_mut().keep(id, bytes);
                    }
                }
                // Too large is for whoever reads the files to say; the commit is there, with everything else.
                Err(error) if error.is_of_size() => continue,
                Err(source) => return Err(read_failed(source)),
            }
        }
        whole.insert(id);
    }
    writer.finish().map_err(&write_failed)?;
    mirror.copied = whole;
    Ok(())
}

/// Copies all objects of `heads` through git that runs as the owner, and so may read wherever the owner may (alternates,
/// symbolic links).
pub(crate) fn transfer(
    mirror: &mut Mirror,
    layout: &Layout,
    heads: &BTreeMap<String, ObjectId>,
) -> Result<(), FetchError> {
    let wanted: BTreeSet<_> = heads.values().filter(|id| !mirror.own.has(id)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let known = refs::list(&mirror.dir, FETCHED, layout.kind)?.found;
    let question: String = known.values().map(|id| format!("{id}\n")).collect();
    let mut common = String::new();
    if !question.is_empty() {
        let mut ask = owners_git(layout)?;
        ask.args(["cat-file", "--batch-check=%(objectname) %(objecttype)"]);
        let answer = run::run(ask, "git cat-file", question.as_bytes(), mirror.limits)
            .map_err(git_failed(layout))?;
        let lines = String::from_utf8_lossy(&answer).into_owned();
        common = lines
            .lines()
            .filter_map(|line| line.strip_suffix(" commit"))
            .map(|id| format!("^{id}\n"))
            .collect();
    }
    let revisions: String = wanted
        .iter()
        .map(|id| format!("{id}\n"))
        .chain([common])
        .collect();
    carry::objects(
        owners_git(layout)?,
        run::git(&mirror.dir).map_err(git_failed(layout))?,
        &revisions,
        &mirror.own.dir().join("pack"),
        mirror.limits,
    )
    .map_err(git_failed(layout))?;
    mirror.reopen()
}

/// Makes the mirror's references those of `heads`, and no others.
pub(crate) fn keep_refs(
    mirror: &Mirror,
    heads: &BTreeMap<String, ObjectId>,
) -> Result<(), FetchError> {
    let wanted: BTreeMap<_, _> = heads
        .iter()
        .map(|(name, id)| (fetched_name(name), *id))
        .collect();
    let found = refs::list(&mirror.dir, FETCHED, mirror.own.kind())?;
    for name in found
        .found
        .keys()
        .filter(|name| !wanted.contains_key(*name))
        .chain(&found.unread)
    {
        refs::forget(&mirror.dir, name).map_err(mirror.failed())?;
    }
    for (name, id) in wanted {
        let before = found.found.get(&name).copied();
        if before != Some(id) {
            refs::replace(&mirror.dir, &name, before, id, Durability::Cache)?;
        }
    }
    Ok(())
}
