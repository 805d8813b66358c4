//! What stands in the way of newcomers: names, ids and lines that are somebody's already (F21-F25, F27).

use super::*;

/// F23.
#[test]
fn a_name_that_a_name_service_knows_is_left_alone() {
    let mut host = fresh_host();
    let Reading::Known(accounts) = &mut host.accounts else {
        unreachable!()
    };
    accounts.foreign.insert("emo".into(), 70_000);
    let plan = make(&roster(EMO), &host, &nothing_known().facts);
    assert!(plan.steps().is_empty());
    assert_eq!(
        refusals(&plan),
        ["emo: a name service of this host knows that name, with uid 70000; it is left alone"]
    );
}

#[test]
fn a_uid_that_a_name_service_has_is_given_to_nobody_who_asks_for_it() {
    let mut host = fresh_host();
    accounts_of(&mut host).foreign_uids = [1_777].into();
    let asked = roster(
        "users:\n  kai: {authentik_user: k.ai, k8s_user: kai-k, tier: power-user, uid: 1777}\n",
    );
    let nothing = nothing_known();
    let question =
        muster_core::accounts::question::question(&asked, nothing.facts.known.accounts());
    assert_eq!(question.uids, [1_777].into());
    let plan = make(&asked, &host, &nothing.facts);
    assert!(plan.steps().is_empty());
    assert_eq!(
        refusals(&plan),
        [
            "kai: the row asks for uid 1777, which a name service of this host knows as somebody's; ids are never given twice"
        ]
    );
}

#[test]
fn a_group_of_that_name_is_told_of_before_the_account_is_made() {
    let mut host = fresh_host();
    accounts_of(&mut host).groups.insert("emo".into(), 700);
    let plan = make(&roster(EMO_AND_ANN), &host, &nothing_known().facts);
    assert_eq!(kinds_of(&plan, "emo"), []);
    assert_eq!(kinds_of(&plan, "ann")[0], Verb::UserCreate);
    let told = refusals(&plan);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("emo: there is a group of that name already, with gid 700"),
        "{told:?}"
    );
}

#[test]
fn what_a_former_account_left_keeps_its_uid_from_newcomers_but_not_from_whose_it_is() {
    let mut host = fresh_host();
    let left = BTreeSet::from(["/home/zed".to_owned()]);
    accounts_of(&mut host).hindrances.uids = [(1_000, left)].into();
    let plan = make(&roster(EMO_AND_ANN), &host, &nothing_known().facts);
    assert!(words(&plan).iter().any(|it| it.ends_with(" uid=1001")));
    assert!(!words(&plan).iter().any(|it| it.ends_with(" uid=1000")));
    let asks = |name: &str| {
        let row = format!(
            "users:\n  {name}: {{authentik_user: z.ed, k8s_user: zed-k, tier: power-user, uid: 1000}}\n"
        );
        make(&roster(&row), &host, &nothing_known().facts)
    };
    assert_eq!(
        refusals(&asks("kai")),
        ["kai: the row asks for uid 1000, which /home/zed has; ids are never given twice"]
    );
    assert_eq!(refusals(&asks("zed")), Vec::<String>::new());
}

#[test]
fn a_uid_in_somebodys_range_or_of_the_system_is_no_accounts() {
    let mut host = fresh_host();
    accounts_of(&mut host).defaults.uids = (1_000, 2_000_000);
    accounts_of(&mut host).subuids = vec![muster_core::accounts::facts::IdRange {
        first: 100_000,
        count: 65_536,
    }];
    for (uid, why) in [
        (
            100_005,
            "which lies in the subordinate range 100000 to 165535 of /etc/subuid",
        ),
        (61_500, "which the system gives out"),
        (60_002, "which the system gives out"),
    ] {
        let row = format!(
            "users:\n  kai: {{authentik_user: k.ai, k8s_user: kai-k, tier: power-user, uid: {uid}}}\n"
        );
        let plan = make(&roster(&row), &host, &nothing_known().facts);
        assert!(plan.steps().is_empty());
        assert!(refusals(&plan)[0].contains(why), "{:?}", refusals(&plan));
    }
}

#[test]
fn nobody_gets_a_name_that_others_know_or_while_they_are_silent() {
    let (past, host) = emo_and_ann_are_here();
    let newcomer = format!(
        "{EMO_AND_ANN}  bob: {{authentik_user: b.ob, k8s_user: bob-k, tier: power-user}}\n"
    );
    // A rename gives a name, too, and somebody who was here goes on under the old one.
    let renamed = EMO_AND_ANN
        .replacen("emo:", "bob:", 1)
        .replacen("{", "{previously: emo, ", 1);
    let adopted = format!(
        "{EMO_AND_ANN}  zed: {{authentik_user: z.ed, k8s_user: zed-k, tier: power-user, adopt: {{uid: 1500}}}}\n"
    );
    let make_where = |rows: &str, change: &dyn Fn(&mut Accounts)| {
        let mut host = host.clone();
        change(accounts_of(&mut host));
        make(&roster(rows), &host, &past.facts)
    };
    for change in [
        (&|it: &mut Accounts| it.hindrances.silent = Some("who knows".into()))
            as &dyn Fn(&mut Accounts),
        &|it| {
            it.foreign.insert("bob".into(), 70_000);
        },
        &|it| {
            it.hindrances
                .names
                .insert("bob".into(), "a group has that name".into());
        },
    ] {
        for rows in [&newcomer, &renamed] {
            let plan = make_where(rows, change);
            assert_eq!(words(&plan), Vec::<String>::new(), "{rows}");
            // Who does not answer is told of beside, and is not in order.
            let unread = plan.notes().iter().filter(|it| it.is_unread()).count();
            assert_eq!(refusals(&plan).len() - unread, 1, "{rows}");
            let mut accounts = accounts_of(&mut host.clone()).clone();
            change(&mut accounts);
            assert_eq!(unread == 1, accounts.hindrances.silent.is_some(), "{rows}");
        }
        // Whoever goes, goes.
        let plan = make_where(ANN, change);
        assert_eq!(words(&plan)[0], "user.cut emo");
    }
    // An account of the local files has its name and its uid already.
    let plan = make_where(&adopted, &|it| {
        it.hindrances.silent = Some("who knows".into());
        it.by_name
            .insert("zed".into(), Box::new(account(1_500, &[])));
    });
    assert!(words(&plan)[0].starts_with("user.adopt zed "));
}

#[test]
fn what_only_newcomers_need_keeps_back_newcomers_alone() {
    let (past, mut host) = emo_and_ann_are_here();
    let accounts = accounts_of(&mut host);
    accounts.hindrances.newcomers = Some("login.defs is odd".into());
    let newcomer =
        format!("{ANN}  bob: {{authentik_user: b.ob, k8s_user: bob-k, tier: power-user}}\n");
    let plan = make(&roster(&newcomer), &host, &past.facts);
    assert_eq!(words(&plan)[0], "user.cut emo");
    assert_eq!(kinds_of(&plan, "bob"), []);
    // It is told, and not in order, whoever waits for it.
    assert_eq!(
        refusals(&plan),
        [
            "bob: nobody gets an account here now: login.defs is odd",
            "what new accounts need could not be read (login.defs is odd); nothing is planned on it"
        ]
    );
}

#[test]
fn whose_line_is_broken_keeps_what_they_have_and_is_cut_all_the_same() {
    let (past, mut host) = emo_and_ann_are_here();
    let accounts = accounts_of(&mut host);
    let told = "the line of emo in /etc/passwd is malformed".to_owned();
    accounts.hindrances.lines = [("emo".to_owned(), told)].into();
    accounts.by_name.get_mut("emo").unwrap().shell = String::new();
    let plan = make(&roster(EMO_AND_ANN), &host, &past.facts);
    assert_eq!(words(&plan), Vec::<String>::new());
    assert_eq!(
        refusals(&plan),
        ["emo: the line of emo in /etc/passwd is malformed"]
    );
    let plan = make(&roster(ANN), &host, &past.facts);
    assert!(kinds_of(&plan, "emo").contains(&Verb::LoginLock));
    assert_eq!(
        refusals(&plan),
        ["emo: the line of emo in /etc/passwd is malformed"]
    );
}

#[test]
fn a_uid_of_a_line_that_is_no_account_is_taken() {
    let mut host = fresh_host();
    let accounts = accounts_of(&mut host);
    let line = || BTreeSet::from(["a line of zed in /etc/passwd".to_owned()]);
    accounts.hindrances.uids = [(1_000, line()), (1_001, line())].into();
    let plan = make(&roster(EMO_AND_ANN), &host, &nothing_known().facts);
    let created = words(&plan);
    for (uid, given) in [(1_000, false), (1_001, false), (1_002, true), (1_003, true)] {
        let end = format!(" uid={uid}");
        assert_eq!(
            created.iter().any(|it| it.ends_with(&end)),
            given,
            "{created:?}"
        );
    }
    let asked = roster(
        "users:\n  kai: {authentik_user: k.ai, k8s_user: kai-k, tier: power-user, uid: 1001}\n",
    );
    let plan = make(&asked, &host, &nothing_known().facts);
    assert_eq!(
        refusals(&plan),
        [
            "kai: the row asks for uid 1001, which a line of zed in /etc/passwd has; ids are never given twice"
        ]
    );
}
