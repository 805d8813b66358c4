//! Who may become root, who surely can, and what follows for class, quorum and limits.

use muster_core::accounts::blocked::Blocked;
use muster_core::accounts::root::Sources;
use muster_core::accounts::sudoers::{Line, Sudoers, lines};
use muster_core::plan::PlannedStep;
use muster_core::price::RootRelation;
use muster_core::sheet::Hold;

use super::*;

fn sudoers(text: &str) -> Reading<Option<Sudoers>> {
    let lines = lines(text.as_bytes());
    let entries = lines.iter().filter_map(|line| match line {
        Line::Entry(entry) => Some(entry.as_str()),
        Line::Include(_) | Line::IncludeDir(_) => None,
    });
    Reading::Known(Some(Sudoers::of(entries, BTreeSet::new())))
}

fn lists(group: &str, name: &str) -> BTreeMap<String, BTreeSet<String>> {
    [(group.to_owned(), [name.to_owned()].into())].into()
}

/// A change of what was read of the accounts.
type Change = fn(&mut Accounts);

fn changed(mut host: Observed, change: impl FnOnce(&mut Accounts)) -> Observed {
    let Reading::Known(accounts) = &mut host.accounts else {
        unreachable!()
    };
    change(accounts);
    host
}

fn planned<'p>(plan: &'p Plan, words: &str) -> &'p PlannedStep {
    let mut steps = plan.steps().iter();
    let found = steps.find(|it| it.step.words().starts_with(words));
    found.unwrap_or_else(|| panic!("{words} in {:?}", self::words(plan)))
}

const DEBIAN: &str = "root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n";

/// An account that is root as soon as it is made is no row's to make.
#[test]
fn a_row_alone_makes_nobody_root() {
    let rows: [(&str, Change, bool); 19] = [
        (
            "listed in sudo",
            |it| it.root.awaited = lists("sudo", "emo"),
            true,
        ),
        (
            "listed in docker",
            |it| it.root.awaited = lists("docker", "emo"),
            true,
        ),
        (
            "listed in a group with a static gid",
            |it| {
                it.groups.insert("audio".into(), 29);
                it.root.awaited = lists("audio", "emo");
            },
            true,
        ),
        (
            "listed in a second name of sudo",
            |it| {
                it.groups
                    .extend([("sudo".to_owned(), 1_270), ("ops".to_owned(), 1_270)]);
                it.root.awaited = lists("ops", "emo");
            },
            true,
        ),
        (
            "administrator of sudo",
            |it| it.root.administrators = lists("sudo", "emo"),
            true,
        ),
        (
            "named in sudoers",
            |it| it.root.sudoers = sudoers("emo ALL=/bin/ls"),
            true,
        ),
        (
            "named in an alias",
            |it| it.root.sudoers = sudoers("User_Alias X = ann, emo"),
            true,
        ),
        (
            "by uid",
            |it| it.root.sudoers = sudoers("#1000 ALL=ALL"),
            true,
        ),
        (
            "by the name of its group",
            |it| it.root.sudoers = sudoers("%emo ALL=ALL"),
            true,
        ),
        (
            "by the gid of its group",
            |it| it.root.sudoers = sudoers("%#1000 ALL=ALL"),
            true,
        ),
        (
            "as one of all",
            |it| it.root.sudoers = sudoers("ALL ALL=(ALL) /bin/ls"),
            true,
        ),
        (
            "listed in a group that sudoers names",
            |it| {
                it.root.sudoers = sudoers("%code-shared ALL=ALL");
                it.root.awaited = lists("code-shared", "emo");
            },
            true,
        ),
        (
            "listed in an ordinary group",
            |it| it.root.awaited = lists("code-shared", "emo"),
            false,
        ),
        (
            "another is listed",
            |it| it.root.awaited = lists("sudo", "emil"),
            false,
        ),
        (
            "administrator of an ordinary group",
            |it| it.root.administrators = lists("code-shared", "emo"),
            false,
        ),
        (
            "sudoers as Debian has it",
            |it| it.root.sudoers = sudoers(DEBIAN),
            false,
        ),
        (
            "sudoers unread",
            |it| it.root.sudoers = Reading::Unknown("no".into()),
            false,
        ),
        (
            "a netgroup of that name",
            |it| it.root.sudoers = sudoers("+emo ALL=ALL"),
            false,
        ),
        ("nothing", |_| (), false),
    ];
    for (what, change, privileged) in rows {
        let host = changed(fresh_host(), change);
        let past = nothing_known();
        let plan = make(&roster(EMO), &host, &past.facts);
        let created = planned(&plan, "user.create emo");
        let class = if privileged {
            Class::Privileged
        } else {
            Class::Benign
        };
        assert_eq!(created.price.class, class, "{what}");
        assert_eq!(
            created.price.root == RootRelation::Touches,
            privileged,
            "{what}"
        );
        let verdict = verdict(&plan, &host, &past.facts);
        let held = verdict.held.iter().find(|it| it.step.id == created.step.id);
        let reason = held.map(|it| (it.price.class, &it.reason));
        let pending = (Class::Privileged, &Reason::PendingSignature);
        assert_eq!(reason, privileged.then_some(pending), "{what}");
    }
}

/// F3.
#[test]
fn a_name_that_is_a_privileged_group_is_no_row_s_to_take() {
    let mut policy = policy();
    policy.privileged_groups.insert("emo".into());
    policy.declared_benign = [Verb::UserRename, Verb::UserAdopt, Verb::UserIdentity].into();
    let make = |desired: &Desired, host: &Observed, facts: &Facts| {
        make_under(&policy, desired, host, facts)
    };
    let created = make(&roster(EMO), &fresh_host(), &nothing_known().facts);
    assert_eq!(
        planned(&created, "user.create emo").price.class,
        Class::Privileged
    );
    // Declared benign or not: a rename would give ann's group that name.
    let (past, host) = emo_and_ann_are_here();
    let renamed = "users:\n  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}\n  lxc: {authentik_user: a.nn, k8s_user: ann-k, tier: admin, previously: ann}\n";
    let plan = make(&roster(renamed), &host, &past.facts);
    assert_eq!(
        planned(&plan, "user.rename lxc").price.class,
        Class::Privileged
    );
}

/// What touches somebody who may become root, before it or after it, takes the quorum of admins.
#[test]
fn whoever_may_become_root_is_known_by_everything_that_makes_it_so() {
    let rows: [(&str, Change, bool); 17] = [
        ("primary group", |it| emo(it).gid = 27, true),
        ("static primary group", |it| emo(it).gid = 44, true),
        (
            "primary group with a second name",
            |it| {
                it.groups
                    .extend([("docker".to_owned(), 998), ("ops".to_owned(), 998)]);
                emo(it).gid = 998;
            },
            true,
        ),
        (
            "disk",
            |it| emo(it).groups.extend(["disk".to_owned()]),
            true,
        ),
        (
            "shadow",
            |it| emo(it).groups.extend(["shadow".to_owned()]),
            true,
        ),
        ("lxd", |it| emo(it).groups.extend(["lxd".to_owned()]), true),
        (
            "a group that sudoers names",
            |it| {
                it.root.sudoers = sudoers("%code-shared ALL=(ALL) /bin/ls");
                emo(it).groups.insert("code-shared".into());
            },
            true,
        ),
        (
            "a group that sudoers names by gid",
            |it| {
                it.root.sudoers = sudoers("%#997 ALL=(ALL) /bin/ls");
                emo(it).groups.insert("code-shared".into());
            },
            true,
        ),
        (
            "administrator",
            |it| it.root.administrators = lists("docker", "emo"),
            true,
        ),
        (
            "sudoers",
            |it| it.root.sudoers = sudoers("emo ALL=(ALL) /bin/ls"),
            true,
        ),
        ("uid of root", |it| emo(it).uid = 0, true),
        (
            "uid of a sudoer",
            |it| {
                let twin = account(1500, &["sudo"]);
                it.by_name.insert("keeper".into(), Box::new(twin));
            },
            true,
        ),
        (
            "uid of who is in sudoers",
            |it| {
                it.by_name
                    .insert("keeper".into(), Box::new(account(1500, &[])));
                it.root.sudoers = sudoers("keeper ALL=(ALL) ALL");
            },
            true,
        ),
        (
            "an ordinary group",
            |it| emo(it).groups.extend(["code-shared".to_owned()]),
            false,
        ),
        (
            "others in sudoers",
            |it| it.root.sudoers = sudoers(DEBIAN),
            false,
        ),
        (
            "uid of nobody special",
            |it| {
                it.by_name
                    .insert("keeper".into(), Box::new(account(1500, &[])));
            },
            false,
        ),
        ("nothing", |_| (), false),
    ];
    fn emo(accounts: &mut Accounts) -> &mut Account {
        accounts.by_name.get_mut("emo").unwrap()
    }
    for (what, change, root) in rows {
        let mut host = fresh_host();
        add_account(&mut host, "emo", account(1500, &[]));
        let host = changed(host, change);
        let Reading::Known(accounts) = &host.accounts else {
            unreachable!()
        };
        let uid = accounts.by_name["emo"].uid;
        let row = format!(
            "users:\n  emo: {{authentik_user: e, k8s_user: k, tier: power-user, adopt: {{uid: {}}}}}\n",
            uid.max(1000)
        );
        let policy = policy();
        let roots = muster_core::accounts::root::Roots::new(&policy, accounts);
        assert_eq!(roots.account_may("emo"), root, "{what}");
        if uid >= 1000 {
            let plan = make(&roster(&row), &host, &nothing_known().facts);
            let adopted = planned(&plan, "user.adopt emo");
            let about = if root {
                RootRelation::Touches
            } else {
                RootRelation::Apart
            };
            assert_eq!(adopted.price.root, about, "{what}");
            let home = planned(&plan, "group.join emo gid=996 group=t3");
            let about = if root {
                RootRelation::Touches
            } else {
                RootRelation::Apart
            };
            assert_eq!(home.price.root, about, "{what}");
        }
    }
}

#[test]
fn a_rename_touches_root_under_both_names() {
    let (past, host) = emo_and_ann_are_here();
    let renamed = |from: &str, to: &str| {
        EMO_AND_ANN.replace(
            &format!("  {from}: {{"),
            &format!("  {to}: {{previously: {from}, "),
        )
    };
    for (text, from, to, root) in [
        ("", "ann", "anna", RootRelation::Touches),
        ("", "emo", "emil", RootRelation::Apart),
        ("emo ALL=(ALL) ALL", "emo", "emil", RootRelation::Touches),
        ("emil ALL=(ALL) ALL", "emo", "emil", RootRelation::Touches),
        ("%emil ALL=(ALL) ALL", "emo", "emil", RootRelation::Touches),
        (
            "emo, emil ALL=(ALL) ALL",
            "emo",
            "emil",
            RootRelation::Touches,
        ),
    ] {
        let host = changed(host.clone(), |it| it.root.sudoers = sudoers(text));
        let plan = make(&roster(&renamed(from, to)), &host, &past.facts);
        let step = planned(&plan, &format!("user.rename {to}"));
        assert_eq!(
            (step.price.root, step.price.class),
            (root, Class::Privileged),
            "{text}"
        );
    }
}

#[test]
fn a_group_that_sudoers_names_is_joined_by_a_release() {
    for (text, class) in [
        ("%code-shared ALL=(ALL) /bin/ls", Class::Privileged),
        ("%#997 ALL=(ALL) /bin/ls", Class::Privileged),
        ("User_Alias X = %Code-Shared", Class::Privileged),
        (DEBIAN, Class::Benign),
    ] {
        let host = changed(fresh_host(), |it| it.root.sudoers = sudoers(text));
        let plan = make(&roster(EMO_AND_ANN), &host, &nothing_known().facts);
        let join = planned(&plan, "group.join ann gid=997 group=code-shared");
        assert_eq!(join.price.class, class, "{text}");
    }
}

#[test]
fn a_way_back_to_root_is_privileged_by_whatever_made_it_so() {
    let (past, host) = emo_and_ann_are_here();
    let mut past = after(past, &roster(ANN), &host);
    // The cut took emo from the groups; sudoers still has the name.
    let person = past
        .facts
        .known
        .accounts_mut()
        .unwrap()
        .people
        .get_mut("emo")
        .unwrap();
    person.stage = Stage::Cut;
    let back = |text: &str| {
        let host = changed(host.clone(), |it| it.root.sudoers = sudoers(text));
        let plan = make(&roster(EMO_AND_ANN), &host, &past.facts);
        let step = planned(&plan, "user.return emo");
        (step.price.class, step.price.root)
    };
    assert_eq!(back(DEBIAN), (Class::Benign, RootRelation::Apart));
    assert_eq!(
        back("emo ALL=ALL"),
        (Class::Privileged, RootRelation::Touches)
    );
}

#[test]
fn the_minimum_of_admins_counts_who_surely_can() {
    let (past, host) = emo_and_ann_are_here();
    let only_emo = "users:\n  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}\n";
    let usable: Change = |it| {
        for account in it.by_name.values_mut() {
            account.password = Password::Usable;
        }
    };
    let rows: [(&str, &str, Change, bool); 12] = [
        (
            "both, without a password",
            "ann, emo ALL=(ALL) NOPASSWD: ALL",
            |_| (),
            false,
        ),
        ("ann alone", "ann ALL=(ALL) NOPASSWD: ALL", |_| (), true),
        (
            "emo is denied later",
            "ann, emo ALL=(ALL) NOPASSWD: ALL\nemo ALL=(ALL) !/bin/su",
            |_| (),
            true,
        ),
        (
            "emo may do one thing",
            "ann ALL=(ALL) NOPASSWD: ALL\nemo ALL=(ALL) NOPASSWD: /bin/su",
            |_| (),
            true,
        ),
        (
            "a password is asked for and none is usable",
            "ann ALL=(ALL) NOPASSWD: ALL\nemo ALL=(ALL) ALL",
            |_| (),
            true,
        ),
        (
            "the password is locked by the same plan",
            "ann ALL=(ALL) NOPASSWD: ALL\nemo ALL=(ALL) ALL",
            usable,
            true,
        ),
        (
            "root's password",
            "Defaults rootpw\nann ALL=(ALL) NOPASSWD: ALL\nemo ALL=(ALL) ALL",
            usable,
            true,
        ),
        (
            "emo has expired",
            "ann, emo ALL=(ALL) NOPASSWD: ALL",
            |it| {
                it.by_name.get_mut("emo").unwrap().expires = Some(NOW.days());
            },
            true,
        ),
        (
            "emo expires tomorrow",
            "ann, emo ALL=(ALL) NOPASSWD: ALL",
            |it| {
                it.by_name.get_mut("emo").unwrap().expires = Some(NOW.days() + 1);
            },
            false,
        ),
        ("not ann to begin with", DEBIAN, |_| (), false),
        (
            "a group of emo's",
            "ann, %t3 ALL=(ALL) NOPASSWD: ALL",
            |_| (),
            false,
        ),
        (
            "another keeps it",
            "ann, emo, keeper ALL=(ALL) NOPASSWD: ALL",
            |it| {
                it.by_name.get_mut("emo").unwrap().shell = "/bin/false".into();
                it.by_name
                    .insert("keeper".into(), Box::new(account(1500, &[])));
            },
            false,
        ),
    ];
    for (what, text, change, too_few) in rows {
        let host = changed(host.clone(), |it| {
            it.root.sudoers = sudoers(text);
            change(it);
        });
        let plan = make(&roster(only_emo), &host, &past.facts);
        let verdict = verdict(&plan, &host, &past.facts);
        let held = verdict.held.iter().any(|it| {
            it.step.words().starts_with("user.cut ann")
                && matches!(&it.reason, Reason::Guardrail(why) if why.starts_with("would leave 0"))
        });
        assert_eq!(held, too_few, "{what}");
    }
    // Where sudoers is not there, or cannot be read, membership counts as ever.
    for root in [
        Sources::default(),
        Sources {
            sudoers: Reading::Unknown("torn".into()),
            ..Sources::default()
        },
    ] {
        let host = changed(host.clone(), |it| it.root = root.clone());
        let plan = make(&roster(only_emo), &host, &past.facts);
        let verdict = verdict(&plan, &host, &past.facts);
        let cut = verdict
            .held
            .iter()
            .find(|it| it.step.words().starts_with("user.cut ann"));
        let Reason::Guardrail(why) = &cut.unwrap().reason else {
            panic!("{cut:?}")
        };
        assert_eq!(why.contains("torn"), root != Sources::default(), "{why}");
    }
}

#[test]
fn a_sudoers_that_cannot_be_read_is_told() {
    let host = changed(fresh_host(), |it| {
        it.root.sudoers = Reading::Unknown("torn".into())
    });
    let plan = make(&roster(EMO), &host, &nothing_known().facts);
    assert_eq!(
        refusals(&plan),
        ["sudoers could not be read (torn); nothing is planned on it"]
    );
}

/// F4.
#[test]
fn a_protected_account_is_protected_under_every_name_it_has() {
    let (past, host) = emo_and_ann_are_here();
    let mut twin = account(past.facts.known.accounts().people["emo"].uid, &[]);
    twin.home = "/home/other".into();
    let text = EMO_AND_ANN.replace("  emo: {", "  emil: {previously: emo, ");
    for (protected, shared, refused) in [
        ("emo", false, true),
        ("emil", false, true),
        ("other", true, true),
        ("other", false, false),
    ] {
        let mut policy = policy();
        policy.protected.insert(protected.into());
        policy.declared_benign.insert(Verb::UserRename);
        let host = changed(host.clone(), |it| {
            if shared {
                it.by_name.insert("other".into(), Box::new(twin.clone()));
            }
        });
        let plan = make_under(&policy, &roster(&text), &host, &past.facts);
        let verdict = verdict_under(&policy, &plan, &host, &past.facts);
        let is_rename = |step: &Step| verb(step) == Verb::UserRename;
        let held = verdict.held.iter().find(|it| is_rename(&it.step));
        let guarded = held.is_some_and(|it| matches!(it.reason, Reason::Guardrail(_)));
        assert_eq!(guarded, refused, "{protected} {shared}");
        let runs = verdict.admitted.iter().any(|it| is_rename(it.step()));
        assert_eq!(runs, !refused, "{protected} {shared}");
    }
}

/// F3.
#[test]
fn a_group_that_is_somebody_s_own_is_not_given_to_others() {
    let tiers = "tiers:\n  power-user: {groups: [code-shared, keeper, ledgers, users]}\n";
    let files = BTreeMap::from([
        ("roster.yaml".to_owned(), EMO.as_bytes().to_vec()),
        ("tiers.yaml".to_owned(), tiers.as_bytes().to_vec()),
    ]);
    let (repo, _) =
        rooms::read_whole(&files, &[]).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut policy = policy();
    policy.shared_primary_groups.insert("users".into());
    let desired = desired::for_host(&repo.documents, &policy, NOW.date());
    let host = changed(fresh_host(), |it| {
        for (name, gid) in [("keeper", 1_500), ("ledgers", 1_501), ("users", 1_502)] {
            it.groups.insert(name.into(), gid);
        }
        it.by_name
            .insert("keeper".into(), Box::new(account(1_500, &[])));
        for (name, uid, gid) in [
            ("bank", 1_501, 1_501),
            ("cho", 1_502, 1_502),
            ("dan", 1_503, 1_502),
        ] {
            let mut account = account(uid, &[]);
            account.gid = gid;
            it.by_name.insert(name.into(), Box::new(account));
        }
    });
    let past = nothing_known();
    let plan = make_under(&policy, &desired, &host, &past.facts);
    let blocked = |group: &str| match planned(&plan, &format!("group.join emo gid={group}"))
        .hold
        .as_deref()
    {
        Some(Hold::Lacks(rooms::Blocked::Account(why @ Blocked::SomebodysGroup { .. }))) => {
            Some(why.to_string())
        }
        None => None,
        Some(other) => panic!("{other:?}"),
    };
    assert_eq!(blocked("997 group=code-shared"), None);
    assert_eq!(blocked("1502 group=users"), None, "the settings allow it");
    assert_eq!(blocked("996 group=t3"), None, "the settings name it");
    let why = blocked("1500 group=keeper").unwrap();
    assert!(
        why.starts_with("keeper is the own group of keeper"),
        "{why}"
    );
    let why = blocked("1501 group=ledgers").unwrap();
    assert!(why.starts_with("ledgers is the own group of bank"), "{why}");
    let verdict = verdict_under(&policy, &plan, &host, &past.facts);
    let held: Vec<_> = verdict.held.iter().map(|it| it.step.words()).collect();
    assert_eq!(
        held,
        [
            "group.join emo gid=1500 group=keeper",
            "group.join emo gid=1501 group=ledgers"
        ]
    );
}

/// The group file is written before passwd: an account whose creation was interrupted between the two has the memberships that
/// muster itself wrote for it, and is made to its end without being asked about again.
#[test]
fn a_creation_that_was_interrupted_does_not_wait_for_its_own_memberships() {
    let host = changed(fresh_host(), |it| it.root.awaited = lists("docker", "emo"));
    let mut past = nothing_known();
    let waits = make(&roster(EMO), &host, &past.facts);
    let created = planned(&waits, "user.create emo");
    assert_eq!(created.price.class, Class::Privileged);

    let authority = Authority::Benign { commit: commit() };
    for entry in [
        Entry::Intended {
            at: NOW,
            steps: vec![Arc::clone(&created.step)],
            authority,
        },
        Entry::Outcome {
            at: NOW,
            results: vec![StepResult::NotBegun],
        },
    ] {
        past.apply(&entry).unwrap();
    }
    let plan = make(&roster(EMO), &host, &past.facts);
    let again = planned(&plan, "user.create emo");
    assert_eq!(
        (again.price.class, again.step.id),
        (Class::Benign, created.step.id)
    );
}
