//! The rules of a state repository, one flat table.

use super::alike::{Fold, alike};
use super::names::{is_reserved, is_reserved_namespace};
use super::people::Row;
use super::roster::{CodeLayout, Person, Roster};
use super::tiers::Tier;
use super::value::{shape_rules, shown};
use crate::compat::python::repr;
use crate::diagnostic::{Fault, Faults};

/// One rule.
#[derive(Debug)]
pub struct Check {
    /// Its name, as a diagnostic shows it.
    pub name: &'static str,
    /// What it demands, in one sentence.
    pub rule: &'static str,
    run: Run,
}

#[derive(Debug)]
enum Run {
    /// Enforced where the value is read.
    WhileReading,
    /// Concerns one person's row.
    Row(fn(&Row<'_>, &mut Report<'_>)),
    /// Concerns people beside each other.
    Roster(fn(&Draft<'_>, &mut Report<'_>)),
}

macro_rules! checks {
    ($($name:expr, $run:expr, $rule:expr;)*) => { &[$(Check { name: $name, rule: $rule, run: $run }),*] };
}

use Run::{Roster as People, Row as Each, WhileReading};

/// Every rule about the contents of a state repository. Those about YAML itself are [`crate::yaml::rules::ALL`].
pub static CHECKS: &[Check] = checks![
    "missing-file", WhileReading, "There is a roster.yaml.";
    "file-name", WhileReading, "Files have exactly the names that are read, and hosts those of DNS in lower case.";
    shape_rules::UNKNOWN_FIELD, WhileReading, "Only known fields are written.";
    shape_rules::MISSING_FIELD, WhileReading, "Required fields are written.";
    shape_rules::WRONG_TYPE, WhileReading, "A value has the type of its field.";
    shape_rules::AMBIGUOUS, WhileReading, "Text that some reader of YAML would take for something else is quoted.";
    shape_rules::UNKNOWN_WORD, WhileReading, "Where a field knows some words only, it has one of them.";
    shape_rules::UNKNOWN_TIER, WhileReading, "A tier is one of admin, power-user and namespace-owner.";
    shape_rules::DATE, WhileReading, "A day is written YYYY-MM-DD, and the calendar has it.";
    shape_rules::DUPLICATE_ENTRY, WhileReading, "A list has each entry once.";
    "os-user-form", WhileReading, "An os_user is a lower-case account name of at most 31 characters.";
    "identity-form", WhileReading, "authentik_user, k8s_user, expiry_contact and forge_user are ASCII logins of at most 254 characters.";
    "namespace-form", WhileReading, "A namespace is a label after RFC 1123.";
    "repo-form", WhileReading, "A repository's name is a plain file name that does not start with a dot or a dash.";
    "group-form", WhileReading, "A group is a lower-case group name of at most 32 characters.";
    "own-group", WhileReading, "A tier gives no group that has the name of somebody in the roster: it is that person's own.";
    "shell-form", WhileReading, "A shell is an absolute path without anything special in it.";
    "reserved-name", Each(name_is_not_reserved), "An os_user is no name of the system, a daemon or a group that gives power.";
    "namespaces-needed", Each(owner_has_namespaces), "A namespace-owner has namespaces.";
    "namespaces-unexpected", Each(only_owners_have_namespaces), "Nobody else has namespaces.";
    "reserved-namespace", Each(namespaces_are_not_reserved), "Nobody owns default or kube-*.";
    "repos-need-workspace", Each(repos_need_workspace), "repos is written with code_layout: workspace only.";
    "implicit-repo", Each(infra_is_implicit), "infra is in every workspace and is not listed.";
    "contact-needs-expiry", Each(contact_needs_expiry), "expiry_contact is written with expires only.";
    "previously-itself", Each(previously_is_another_name), "previously is not the present name.";
    "uid-range", Each(uids_are_in_range), "A uid is from 1000 to 4294967293, and neither 65534 nor 65535.";
    "uid-agrees", Each(uid_and_adopt_agree), "uid and adopt name the same uid.";
    crate::yaml::rules::DUPLICATE_KEY, People(os_users_are_unique), "A map has each key once.";
    "unique-authentik-user", People(authentik_users_are_unique), "An authentik_user belongs to one person, whatever its case.";
    "unique-k8s-user", People(k8s_users_are_unique), "A k8s_user belongs to one person, whatever its case.";
    "unique-forge-user", People(forge_users_are_unique), "A forge_user belongs to one person, whatever its case.";
    "unique-namespace", People(namespaces_are_unique), "A namespace has one owner, and is listed once.";
    "unique-uid", People(uids_are_unique), "A uid belongs to one person.";
    "previously-live", People(previous_names_are_free), "previously names nobody who is in the roster.";
    "previously-twice", People(previous_names_are_claimed_once), "A former name is claimed by one person.";
    "look-alike", People(names_look_different), "Two os_users differ in more than 1 and l, or 0 and o (a warning).";
];

/// Runs the rules about one row.
pub(super) fn check_row(row: &Row<'_>, faults: &mut Faults) {
    for Check { name, rule: _, run } in CHECKS {
        if let Run::Row(check) = run {
            check(row, &mut Report { rule: name, faults });
        }
    }
}

/// Runs the rules about people beside each other.
pub(super) fn check_roster(draft: &Draft<'_>, faults: &mut Faults) {
    for Check { name, rule: _, run } in CHECKS {
        if let Run::Roster(check) = run {
            check(draft, &mut Report { rule: name, faults });
        }
    }
}

/// Where a check says what it found; adds the rule's name.
#[derive(Debug)]
struct Report<'f> {
    rule: &'static str,
    faults: &'f mut Faults,
}

impl Report<'_> {
    fn error(&mut self, at: u32, problem: String, help: &str) {
        self.faults
            .add(Fault::error(self.rule, at, problem).help(help));
    }

    fn repeated(&mut self, at: u32, first: u32, problem: String, help: &str) {
        self.faults.add(
            Fault::error(self.rule, at, problem)
                .first_at(first)
                .help(help),
        );
    }
}

/// A roster that was read, and the text it borrows from.
#[derive(Debug)]
pub(super) struct Draft<'d> {
    roster: &'d Roster<'d>,
    text: &'d [u8],
}

impl<'d> Draft<'d> {
    pub(super) fn new(roster: &'d Roster<'d>, text: &'d [u8]) -> Self {
        Self { roster, text }
    }

    /// Where `part` stands. A borrowed value lies inside the text, so its address tells; one that had escapes lies
    /// elsewhere, and only the person is known.
    fn place(&self, person: &Person<'_>, part: &str) -> u32 {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        if start >= self.text.len() {
            return person.at;
        }
        let quoted = start > 0 && matches!(self.text[start - 1], b'"' | b'\'');
        u32::try_from(start - usize::from(quoted)).unwrap_or(person.at)
    }
}

fn name_is_not_reserved(row: &Row<'_>, report: &mut Report<'_>) {
    let name = &row.os_user.value;
    if is_reserved(name) {
        let problem = format!("user {}: this name belongs to the system", shown(name));
        report.error(
            row.os_user.at,
            problem,
            "choose another account name; the login may stay as it is",
        );
    }
}

/// R6.
fn owner_has_namespaces(row: &Row<'_>, report: &mut Report<'_>) {
    if row.tier == Some(Tier::NamespaceOwner) && !row.has_namespaces {
        let problem = format!(
            "user {}: namespace-owner requires namespaces",
            repr(&row.os_user.value)
        );
        report.error(
            row.namespaces.at,
            problem,
            "list them, for example namespaces: [team-a]",
        );
    }
}

/// R7.
fn only_owners_have_namespaces(row: &Row<'_>, report: &mut Report<'_>) {
    if row.tier.is_some_and(|tier| tier != Tier::NamespaceOwner) && row.has_namespaces {
        let problem = format!(
            "user {}: only namespace-owner may set namespaces",
            repr(&row.os_user.value)
        );
        report.error(
            row.namespaces.at,
            problem,
            "take the list out, or change the tier",
        );
    }
}

fn namespaces_are_not_reserved(row: &Row<'_>, report: &mut Report<'_>) {
    for name in row
        .namespaces
        .value
        .iter()
        .filter(|name| is_reserved_namespace(name))
    {
        let problem = format!(
            "user {}: the namespace {} belongs to the cluster",
            repr(&row.os_user.value),
            shown(name)
        );
        report.error(row.namespaces.at, problem, "name another one");
    }
}

/// R26.
fn repos_need_workspace(row: &Row<'_>, report: &mut Report<'_>) {
    let Some(more) = &row.more else { return };
    let single = more.code_layout.unwrap_or_default() == CodeLayout::Single;
    if let Some(repos) = more
        .repos
        .as_ref()
        .filter(|repos| single && !repos.value.is_empty())
    {
        let problem = format!(
            "user {}: repos needs code_layout: workspace",
            repr(&row.os_user.value)
        );
        report.error(
            repos.at,
            problem,
            "write code_layout: workspace, or take repos out",
        );
    }
}

/// R26.
fn infra_is_implicit(row: &Row<'_>, report: &mut Report<'_>) {
    let repos = row.more.as_ref().and_then(|more| more.repos.as_ref());
    if let Some(repos) = repos.filter(|repos| repos.value.iter().any(|repo| repo == "infra")) {
        let problem = format!(
            "user {}: repos: 'infra' is implied",
            repr(&row.os_user.value)
        );
        report.error(repos.at, problem, "take it out of the list");
    }
}

fn contact_needs_expiry(row: &Row<'_>, report: &mut Report<'_>) {
    let Some(more) = &row.more else { return };
    if let (Some(contact), None) = (&more.expiry_contact, more.expires) {
        let problem = format!(
            "user {}: expiry_contact needs expires",
            repr(&row.os_user.value)
        );
        report.error(
            contact.at,
            problem,
            "write expires: YYYY-MM-DD, or take expiry_contact out",
        );
    }
}

fn previously_is_another_name(row: &Row<'_>, report: &mut Report<'_>) {
    let previously = row.more.as_ref().and_then(|more| more.previously.as_ref());
    if let Some(name) = previously.filter(|name| name.value == row.os_user.value) {
        let problem = format!(
            "user {}: previously names the same account",
            repr(&row.os_user.value)
        );
        report.error(
            name.at,
            problem,
            "write the former name, or take the field out",
        );
    }
}

fn uids_are_in_range(row: &Row<'_>, report: &mut Report<'_>) {
    let Some(more) = &row.more else { return };
    for uid in [more.uid, more.adopt]
        .into_iter()
        .flatten()
        .filter(|uid| !is_person_uid(uid.value))
    {
        let problem = format!(
            "user {}: no person may have the uid {}",
            repr(&row.os_user.value),
            uid.value
        );
        report.error(
            uid.at,
            problem,
            "people have uids from 1000 to 4294967293, without 65534 and 65535",
        );
    }
}

/// Whether a person may have this uid: 65534 is nobody, and 65535 and the two highest mean "none" to some system calls.
pub fn is_person_uid(uid: u32) -> bool {
    (MIN_UID..=MAX_UID).contains(&uid) && !NO_UIDS.contains(&uid)
}

/// The lowest uid of a person.
pub const MIN_UID: u32 = 1000;
/// The highest uid of a person.
pub const MAX_UID: u32 = u32::MAX - 2;
/// Uids between them that no person may have.
pub const NO_UIDS: [u32; 2] = [65534, 65535];

fn uid_and_adopt_agree(row: &Row<'_>, report: &mut Report<'_>) {
    let Some(more) = &row.more else { return };
    if let (Some(uid), Some(adopt)) = (more.uid, more.adopt)
        && uid.value != adopt.value
    {
        let problem = format!(
            "user {}: uid is {} but adopt says {}",
            repr(&row.os_user.value),
            uid.value,
            adopt.value
        );
        report.error(
            uid.at.max(adopt.at),
            problem,
            "take uid out: adopt says it already",
        );
    }
}

fn os_users_are_unique(draft: &Draft<'_>, report: &mut Report<'_>) {
    let sorted: Vec<&Person<'_>> = draft.roster.sorted().collect();
    for same in sorted.chunk_by(|a, b| a.os_user == b.os_user) {
        for again in &same[1..] {
            let problem = format!("user {} is there twice", shown(&again.os_user));
            report.repeated(
                again.at,
                same[0].at,
                problem,
                "take one out; the later one does not replace the earlier",
            );
        }
    }
}

fn authentik_users_are_unique(draft: &Draft<'_>, report: &mut Report<'_>) {
    identities_are_unique(draft, report, "authentik_user", |person| {
        &person.authentik_user
    });
}

fn k8s_users_are_unique(draft: &Draft<'_>, report: &mut Report<'_>) {
    identities_are_unique(draft, report, "k8s_user", |person| &person.k8s_user);
}

fn forge_users_are_unique(draft: &Draft<'_>, report: &mut Report<'_>) {
    identities_are_unique(draft, report, "forge_user", |person| {
        person.forge_user().unwrap_or_default()
    });
}

fn identities_are_unique(
    draft: &Draft<'_>,
    report: &mut Report<'_>,
    field: &str,
    get: for<'p> fn(&'p Person<'_>) -> &'p str,
) {
    let names = draft
        .roster
        .people
        .iter()
        .map(|person| (person, get(person)))
        .filter(|(_, name)| !name.is_empty());
    for same in alike(names, Fold::Case) {
        let (first, first_name) = same[0];
        for &(again, name) in &same[1..] {
            let (user, owner) = (shown(&again.os_user), shown(&first.os_user));
            let problem = format!(
                "user {user}: {field} {} belongs to user {owner} already",
                shown(name)
            );
            report.repeated(
                draft.place(again, name),
                draft.place(first, first_name),
                problem,
                "a login leads to one account",
            );
        }
    }
}

fn namespaces_are_unique(draft: &Draft<'_>, report: &mut Report<'_>) {
    let names = draft
        .roster
        .people
        .iter()
        .flat_map(|person| person.namespaces.iter().map(move |name| (person, &**name)));
    for same in alike(names, Fold::Nothing) {
        let (first, first_name) = same[0];
        for &(again, name) in &same[1..] {
            let (user, owner) = (shown(&again.os_user), shown(&first.os_user));
            let problem = format!(
                "user {user}: the namespace {} belongs to user {owner} already",
                shown(name)
            );
            report.repeated(
                draft.place(again, name),
                draft.place(first, first_name),
                problem,
                "a namespace has one owner",
            );
        }
    }
}

fn uids_are_unique(draft: &Draft<'_>, report: &mut Report<'_>) {
    let uid = |person: &Person<'_>| {
        let more = person.more.as_ref()?;
        more.adopt.or(more.uid)
    };
    let mut uids: Vec<_> = draft
        .roster
        .people
        .iter()
        .filter_map(|person| Some((uid(person)?, person)))
        .collect();
    uids.sort_by_key(|(uid, _)| (uid.value, uid.at));
    for same in uids.chunk_by(|a, b| a.0.value == b.0.value) {
        for (uid, again) in &same[1..] {
            let (user, owner) = (shown(&again.os_user), shown(&same[0].1.os_user));
            let problem = format!(
                "user {user}: the uid {} belongs to user {owner} already",
                uid.value
            );
            report.repeated(
                uid.at,
                same[0].0.at,
                problem,
                "files would change hands; choose another, or leave it out",
            );
        }
    }
}

fn previous_names_are_free(draft: &Draft<'_>, report: &mut Report<'_>) {
    for person in &draft.roster.people {
        let previously = person
            .more
            .as_ref()
            .and_then(|more| more.previously.as_ref());
        let Some(name) = previously.filter(|name| name.value != person.os_user) else {
            continue;
        };
        if let Some(live) = draft.roster.get(&name.value) {
            let problem = format!(
                "user {}: previously names {}, who is in the roster",
                shown(&person.os_user),
                shown(&name.value)
            );
            report.repeated(
                name.at,
                live.at,
                problem,
                "a rename replaces the old row by the new one",
            );
        }
    }
}

fn previous_names_are_claimed_once(draft: &Draft<'_>, report: &mut Report<'_>) {
    let claim = |person: &Person<'_>| {
        person
            .more
            .as_ref()?
            .previously
            .as_ref()
            .map(|name| (name.value.to_string(), name.at))
    };
    let mut claims: Vec<_> = draft
        .roster
        .people
        .iter()
        .filter_map(|person| Some((claim(person)?, person)))
        .collect();
    claims.sort_by(|a, b| a.0.cmp(&b.0));
    for same in claims.chunk_by(|a, b| a.0.0 == b.0.0) {
        for ((name, at), again) in &same[1..] {
            let problem = format!(
                "user {}: {} was claimed as a former name already",
                shown(&again.os_user),
                shown(name)
            );
            report.repeated(*at, same[0].0.1, problem, "one account becomes one person");
        }
    }
}

fn names_look_different(draft: &Draft<'_>, report: &mut Report<'_>) {
    let names = draft
        .roster
        .people
        .iter()
        .map(|person| (person, &*person.os_user));
    for same in alike(names, Fold::Look) {
        let (first, _) = same[0];
        for (again, _) in same[1..]
            .iter()
            .filter(|(again, _)| again.os_user != first.os_user)
        {
            let problem = format!(
                "user {} looks like user {}",
                shown(&again.os_user),
                shown(&first.os_user)
            );
            let help = "1 and l, 0 and o are hard to tell apart in a review";
            report
                .faults
                .add(Fault::warning(report.rule, again.at, problem).help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::yaml::rules;

    #[test]
    fn every_rule_has_one_name_and_one_sentence() {
        let mut names = BTreeSet::new();
        let yaml = rules::ALL
            .iter()
            .filter(|(name, _)| *name != rules::DUPLICATE_KEY)
            .copied();
        for (name, rule) in CHECKS
            .iter()
            .map(|check| (check.name, check.rule))
            .chain(yaml)
        {
            assert!(names.insert(name), "{name} is there twice");
            assert!(rule.ends_with('.') || rule.ends_with(".)"), "{rule}");
        }
    }
}
