//! Runs one batch of edits on the account databases of a root directory, or measures one. The crash tests run it under
//! `strace`, which kills it at each system call; edits that are done already are passed over, as they are by whoever
//! looks before acting.
//!
//! ```text
//! accounts-batch ROOT create:emo:1000 join:emo:sudo lock:bob delete:cyd:1002 rename-begin:dan:don rename-finish:dan:don
//! accounts-batch ROOT generate:10000     makes /etc in ROOT, and this many accounts
//! accounts-batch ROOT read add:1000      measures reading, and adding this many accounts
//! ```

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use muster_host::accounts::{
    Aging, Databases, EditError, File, Locked, NewAccount, PrimaryGroup, free_ids, free_ranges,
};
use muster_host::root::{Ownership, RootDir};
use nix::sys::resource::{UsageWho, getrusage};

const TODAY: i64 = 20_000;
const AGING: Aging = Aging {
    min: Some(0),
    max: Some(99_999),
    warn: Some(7),
    inactive: None,
    expire: None,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .split_first()
        .map(|(root, edits)| batch(Path::new(root), edits))
    {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            eprintln!("accounts-batch: {text}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("usage: accounts-batch ROOT EDIT...");
            ExitCode::from(2)
        }
    }
}

fn batch(root: &Path, edits: &[String]) -> Result<(), Box<dyn Error>> {
    let ownership = Ownership::Performed;
    match edits {
        [edit] if edit.starts_with("generate:") => {
            generate(root)?;
            add(
                &RootDir::open(root, ownership)?,
                edit["generate:".len()..].parse()?,
            )
        }
        [read, edit] if read == "read" && edit.starts_with("add:") => {
            let root = RootDir::open(root, ownership)?;
            measured("read", || {
                let databases = Databases::read(&root)?;
                Ok(format!(
                    "{} accounts, {} groups",
                    databases.accounts().count(),
                    databases.groups().count()
                ))
            })?;
            measured("add", || {
                add(&root, edit["add:".len()..].parse()?)?;
                Ok(edit.clone())
            })
        }
        edits => {
            let root = RootDir::open(root, ownership)?;
            let locked = Locked::take(&root, Duration::ZERO)?;
            let mut databases = locked.read()?;
            for edit in edits {
                apply(&mut databases, &edit.split(':').collect::<Vec<_>>())?;
            }
            locked.commit(databases)?;
            Ok(())
        }
    }
}

fn apply(databases: &mut Databases, edit: &[&str]) -> Result<(), Box<dyn Error>> {
    match *edit {
        ["create", name, uid] => {
            if databases.account(name).is_none() {
                let subids = databases.has(File::Subuid) && databases.has(File::Subgid);
                // A range that an interrupted batch left to this name is its own; others go round it.
                let free = |ranges: Vec<_>, own: Option<_>| {
                    own.or(free_ranges(100_000, 600_100_000, 65_536, ranges).next())
                };
                let own = |owned: Option<(&str, _)>| owned.map(|(_, range)| range);
                let subuids = own(databases.subuids().find(|(owner, _)| *owner == name));
                let subgids = own(databases.subgids().find(|(owner, _)| *owner == name));
                let subuids =
                    free(databases.subuid_ranges_in_use().collect(), subuids).filter(|_| subids);
                let subgids =
                    free(databases.subgid_ranges_in_use().collect(), subgids).filter(|_| subids);
                let home = format!("/home/{name}");
                let id = uid.parse()?;
                let account = NewAccount {
                    name,
                    uid: id,
                    gid: id,
                    gecos: "",
                    home: &home,
                    shell: "/bin/sh",
                    subuids,
                    subgids,
                    primary: PrimaryGroup::Own,
                };
                databases.create(&account, &AGING, TODAY)?;
            }
        }
        ["delete", name, gid] => match databases.delete(name, gid.parse()?) {
            Ok(_) | Err(EditError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        },
        ["join", name, group] => databases.join_group(name, group)?,
        ["leave", name, group] => databases.leave_group(name, group)?,
        ["lock", name] => databases.lock_password(name)?,
        ["rename-begin", old, new] => databases.rename_begin(old, new)?,
        ["rename-finish", old, new] => databases.rename_finish(old, new)?,
        _ => return Err(format!("{edit:?} is no edit").into()),
    }
    Ok(())
}

fn generate(root: &Path) -> std::io::Result<()> {
    let etc = root.join("etc");
    std::fs::create_dir_all(&etc)?;
    std::fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/bash\n")?;
    std::fs::write(etc.join("shadow"), "root:*:19000:0:99999:7:::\n")?;
    std::fs::write(etc.join("group"), "root:x:0:\nsudo:x:27:\ndocker:x:998:\n")?;
    std::fs::write(etc.join("gshadow"), "root:*::\nsudo:*::\ndocker:!::\n")?;
    std::fs::write(etc.join("subuid"), "")?;
    std::fs::write(etc.join("subgid"), "")
}

/// One in a hundred joins two groups. Ranges are given out as long as there are any; some tens of thousands of accounts
/// are more than there are ranges for.
fn add(root: &RootDir, count: usize) -> Result<(), Box<dyn Error>> {
    let locked = Locked::take(root, Locked::WAIT)?;
    let mut databases = locked.read()?;
    let uids: Vec<u32> = free_ids(1000..=4_000_000, databases.uids_in_use())
        .take(count)
        .collect();
    let mut subuids = free_ranges(
        100_000,
        600_100_000,
        65_536,
        databases.subuid_ranges_in_use(),
    )
    .collect::<Vec<_>>()
    .into_iter();
    let mut subgids = free_ranges(
        100_000,
        600_100_000,
        65_536,
        databases.subgid_ranges_in_use(),
    )
    .collect::<Vec<_>>()
    .into_iter();
    for uid in uids {
        let name = format!("user{uid}");
        let home = format!("/home/{name}");
        let account = NewAccount {
            name: &name,
            uid,
            gid: uid,
            gecos: "",
            home: &home,
            shell: "/bin/zsh",
            subuids: subuids.next(),
            subgids: subgids.next(),
            primary: PrimaryGroup::Own,
        };
        databases.create(&account, &AGING, TODAY)?;
        if uid % 100 == 0 {
            databases.join_group(&name, "sudo")?;
            databases.join_group(&name, "docker")?;
        }
    }
    locked.commit(databases)?;
    Ok(())
}

fn measured(
    what: &str,
    work: impl FnOnce() -> Result<String, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let cpu = || -> Result<f64, nix::Error> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let times = [usage.user_time(), usage.system_time()];
        Ok(times
            .iter()
            .map(|time| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3)
            .sum())
    };
    let (began, before) = (Instant::now(), cpu()?);
    let result = work()?;
    println!(
        "{what}: {result}: {:.1} ms CPU, {:.1} ms wall",
        cpu()? - before,
        began.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}
