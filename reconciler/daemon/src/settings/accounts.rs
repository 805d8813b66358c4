//! `[accounts]`: what accounts may be given here without a signed release. All of it is policy.

use std::collections::BTreeSet;

use muster_core::accounts::policy::Passwords;
use muster_core::accounts::verbs::Verb;
use muster_core::repo::names::did_you_mean;
use muster_core::verb::Reach;

use super::place::{At, Problem};
use super::section::{Check, Checks, section};
use super::values::{one_of, path};

section! {
    /// Shells that a person may be given without a signed release.
    shells: Vec<At<String>>, usual ["/bin/bash", "/bin/dash", "/bin/sh", "/bin/zsh", "/usr/bin/bash", "/usr/bin/fish", "/usr/bin/zsh"];
    /// The shell of somebody who was cut.
    nologin: String, default "/usr/sbin/nologin";
    /// The group of those who may use the hosted instances. No default: without it, nobody is put into one.
    service_group: String, example "t3";
    /// Groups that make their members as good as root here, beside the well-known ones. No default.
    privileged_groups: Vec<At<String>>, example ["deploy"];
    /// Accounts that no step may touch, signed or not, beside root and those of the system. No default.
    protected: Vec<At<String>>, example ["emergency"];
    /// Groups that a tier may give although they are some account's own: its private or primary group. No default: none.
    shared_primary_groups: Vec<At<String>>, example ["users"];
    /// The password of an account that was there before muster kept it: "keep" leaves it, and offers back what was locked at an
    /// adoption; "lock" asks for the lock, which waits for a signed release. Accounts that muster makes have none.
    passwords: String, default "keep";
    /// Kinds of privileged step that need no signed release on this host: user.adopt, user.rename, user.identity, user.shell,
    /// user.lock_password, group.join, admins.add. No default: each waits for one.
    declared_benign: Vec<At<String>>, example ["user.rename"];
}

impl Check for Given {
    type Value = ();

    fn check(&self, checks: &mut Checks<'_>) -> Option<()> {
        let (policy, problems) = (&mut checks.policy, &mut *checks.problems);
        let nologin = path(&self.nologin, problems);
        if let Some(nologin) = &nologin {
            policy.nologin = nologin.display().to_string();
        }
        if let Some(shells) = &self.shells {
            policy.shells = shell_list(shells, &policy.nologin, problems);
        }
        for group in self.privileged_groups.iter().flat_map(|it| &it.value) {
            if is_account_name(group, "group", problems) {
                policy.privileged_groups.insert(group.value.clone());
            }
        }
        for user in self.protected.iter().flat_map(|it| &it.value) {
            if is_account_name(user, "account", problems) {
                policy.protected.insert(user.value.clone());
            }
        }
        policy.protected.extend(checks.ambient.account.clone());
        for group in self.shared_primary_groups.iter().flat_map(|it| &it.value) {
            if is_account_name(group, "group", problems) {
                policy.shared_primary_groups.insert(group.value.clone());
            }
        }
        if let Some(group) = &self.service_group {
            policy.service_group = service_group(group, &policy.privileged_groups, problems);
        }
        if let Some(passwords) = one_of(
            &self.passwords,
            "way with passwords",
            [Passwords::Keep, Passwords::Lock],
            Passwords::word,
            problems,
        ) {
            policy.passwords = passwords;
        }
        policy.declared_benign = kinds(self.declared_benign.as_ref(), problems);
        nologin.map(|_| ())
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

fn service_group(
    group: &At<String>,
    privileged: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    if privileged.contains(&group.value) {
        problems.push(
            Problem::new(
                group.place.clone(),
                format!("`{}` makes its members root-equivalent", group.value),
            )
            .help("everybody with an instance is in the service group; make one of its own"),
        );
        return None;
    }
    is_account_name(group, "group", problems).then(|| group.value.clone())
}

fn shell_list(
    shells: &At<Vec<At<String>>>,
    nologin: &str,
    problems: &mut Vec<Problem>,
) -> BTreeSet<String> {
    if shells.value.is_empty() {
        problems.push(
            Problem::new(
                shells.place.clone(),
                "without a shell nobody can be given an account",
            )
            .help("leave `shells` out for the usual ones"),
        );
    }
    let mut list = BTreeSet::new();
    for shell in &shells.value {
        if shell.value == nologin {
            problems.push(
                Problem::new(
                    shell.place.clone(),
                    format!("`{nologin}` is the shell of those who were cut"),
                )
                .help("leave it out of `shells`"),
            );
        } else if let Some(path) = path(shell, problems) {
            list.insert(path.display().to_string());
        }
    }
    list
}

fn kinds(words: Option<&At<Vec<At<String>>>>, problems: &mut Vec<Problem>) -> BTreeSet<Verb> {
    let of_reach = |reach: Reach| {
        let verbs = Verb::ALL.iter().copied();
        verbs.filter(move |it| it.row().reach == reach)
    };
    let declarable: Vec<&str> = of_reach(Reach::Declarable).map(Verb::word).collect();
    let mut kinds = BTreeSet::new();
    for At { value: word, place } in words.into_iter().flat_map(|it| &it.value) {
        if let Some(kind) = of_reach(Reach::Declarable).find(|it| it.word() == word) {
            kinds.insert(kind);
            continue;
        }
        let problem = if of_reach(Reach::Floor).any(|it| it.word() == word) {
            let why =
                format!("`{word}` always waits for a signed release; no setting can change that");
            Problem::new(place.clone(), why)
                .help("leave it out, and sign a release when it is wanted")
        } else {
            let what = format!("`{word}` is no kind of step that can be declared benign");
            let problem = Problem::new(place.clone(), what);
            match did_you_mean(word, declarable.iter().copied()) {
                Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                None => problem.help(format!("it is one of: {}", declarable.join(", "))),
            }
        };
        problems.push(problem);
    }
    kinds
}
