//! Whoever is disabled, by the row or by its date, does not get in, and keeps everything (F20).

use muster_core::accounts::action::Trace;
use muster_core::price::Takes;
use muster_core::sheet::Hold;

use super::*;

fn with(field: &str) -> String {
    EMO_AND_ANN.replacen("tier: power-user", &format!("tier: power-user, {field}"), 1)
}

/// A login with everything that it can leave open.
fn logged_in(host: &mut Observed) {
    let traces = Traces {
        linger: Reading::Known(true),
        keys: Reading::Known(true),
        crontab: Reading::Known(true),
        processes: Reading::Known(2),
        login_saved: Reading::Known(false),
    };
    host.people.get_mut("emo").expect("emo's").traces = Some(Box::new(traces));
}

fn change(host: &mut Observed, user: &str, change: impl FnOnce(&mut Account)) {
    let Reading::Known(accounts) = &mut host.accounts else {
        unreachable!()
    };
    change(accounts.by_name.get_mut(user).expect("an account"));
}

fn shut(account: &mut Account) {
    account.expires = Some(1);
    account.shell = "/usr/sbin/nologin".into();
}

/// Nothing of Emo's instance, entries and traces is left.
fn still(host: &mut Observed) {
    if let Reading::Known(units) = &mut host.units {
        units.by_name.retain(|unit, _| !unit.contains("@emo."));
    }
    for entries in host.aggregates.values_mut() {
        if let Reading::Known(entries) = entries {
            entries.retain(|key, _| key != "e.mo");
        }
    }
    host.people.get_mut("emo").expect("emo's").traces = None;
}

fn emos(plan: &Plan) -> Vec<String> {
    let words = words(plan).into_iter();
    words.filter(|it| !it.starts_with("env.write")).collect()
}

#[test]
fn every_way_in_is_shut_and_nothing_else_goes() {
    let (past, mut host) = emo_and_ann_are_here();
    logged_in(&mut host);
    for (field, because) in [
        ("disabled: true", "asked"),
        ("disabled: true, parked: true", "asked"),
        ("expires: 2026-11-21", "expired"),
    ] {
        let plan = make(&roster(&with(field)), &host, &past.facts);
        assert_eq!(
            emos(&plan),
            [
                &format!("user.disable emo because={because}"),
                "instance.stop emo unit=t3-serve@emo.service",
                "instance.disable emo unit=t3-serve@emo.service",
                "login.lock emo cut=1",
                "linger.set_aside emo cut=1",
                "keys.set_aside emo cut=1",
                "crontab.set_aside emo cut=1",
                "map.remove emo from=emo key=e.mo",
                "dispatch.remove emo from=%7B%22os_user%22:%22emo%22%2C%22port%22:3774%7D key=e.mo",
                "sessions.end emo",
            ],
            "{field}"
        );
        let verdict = verdict(&plan, &host, &past.facts);
        assert!(
            verdict.held.is_empty(),
            "all of it is benign: {:?}",
            verdict.held
        );
    }
    let plan = make(&roster(&with("expires: 2026-11-22")), &host, &past.facts);
    assert!(plan.steps().is_empty(), "the last valid day is a valid day");
}

#[test]
fn it_goes_on_until_it_is_shut_and_then_is_done() {
    let (past, mut host) = emo_and_ann_are_here();
    let desired = roster(&with("disabled: true"));
    logged_in(&mut host);
    let past = after(past, &desired, &host);
    let person = &past.facts.known.accounts().people["emo"];
    assert_eq!((person.stage, person.cuts), (Stage::Disabled, 1));
    assert!(person.aside.login && person.aside.traces == Trace::ALL.into());
    // Somebody opened the login by hand.
    still(&mut host);
    assert_eq!(
        emos(&make(&desired, &host, &past.facts)),
        ["login.lock emo cut=1"]
    );
    change(&mut host, "emo", shut);
    assert!(emos(&make(&desired, &host, &past.facts)).is_empty());
    // Another day of expiry lies ahead, and a key would open it until then.
    change(&mut host, "emo", |it| it.expires = Some(NOW.days() + 40));
    assert_eq!(
        emos(&make(&desired, &host, &past.facts)),
        ["login.lock emo cut=1"]
    );
}

fn disabled(field: &str) -> (Replayed, Observed) {
    let (past, mut host) = emo_and_ann_are_here();
    logged_in(&mut host);
    let past = after(past, &roster(&with(field)), &host);
    still(&mut host);
    change(&mut host, "emo", shut);
    (past, host)
}

#[test]
fn it_comes_back_when_the_row_says_so_and_root_waits_for_a_release() {
    for field in ["disabled: true", "expires: 2026-11-21"] {
        let (past, mut host) = disabled(field);
        let desired = roster(EMO_AND_ANN);
        let plan = make(&desired, &host, &past.facts);
        assert_eq!(
            emos(&plan),
            [
                "user.enable emo",
                "login.unlock emo cut=1",
                "linger.restore emo cut=1",
                "keys.restore emo cut=1",
                "crontab.restore emo cut=1",
                "map.add emo key=e.mo to=emo",
                "dispatch.add emo key=e.mo to=%7B%22os_user%22:%22emo%22%2C%22port%22:3774%7D",
                "instance.enable emo unit=t3-serve@emo.service",
                "instance.start emo unit=t3-serve@emo.service",
            ]
        );
        assert!(verdict(&plan, &host, &past.facts).held.is_empty());
        change(&mut host, "emo", |it| {
            it.groups.insert("docker".into());
        });
        let plan = make(&desired, &host, &past.facts);
        let verdict = verdict(&plan, &host, &past.facts);
        assert_eq!(verb(&verdict.held[0].step), Verb::UserEnable);
        assert_eq!(verdict.held[0].price.class, Class::Privileged);
        let mut admitted = verdict.admitted.iter();
        assert!(admitted.all(|it| it.step().resource() != "emo"));
    }
}

#[test]
fn a_row_that_goes_cuts_and_a_row_that_is_back_disabled_opens_nothing() {
    let (past, host) = disabled("disabled: true");
    let gone = roster(ANN);
    let plan = make(&gone, &host, &past.facts);
    let kinds = kinds_of(&plan, "emo");
    assert!(kinds.contains(&Verb::UserCut) && kinds.contains(&Verb::UserArchiveDelete));
    assert!(!kinds.contains(&Verb::LoginLock), "it is shut: {kinds:?}");
    let mut past = after(past, &gone, &host);
    // The removal waits for its release.
    emo(&mut past).stage = Stage::Cut;
    emo(&mut past).aside = {
        let mut aside = emo(&mut past).aside.clone();
        aside.login = true;
        aside.traces = Trace::ALL.into();
        aside
    };
    let back = roster(&with("disabled: true"));
    let plan = make(&back, &host, &past.facts);
    let kinds = kinds_of(&plan, "emo");
    assert!(kinds.contains(&Verb::UserDisable), "{kinds:?}");
    for never in [
        Verb::UserReturn,
        Verb::UserEnable,
        Verb::LoginUnlock,
        Verb::KeysRestore,
        Verb::UserArchiveDelete,
        Verb::InstanceStart,
        Verb::MapAdd,
    ] {
        assert!(!kinds.contains(&never), "{never} in {kinds:?}");
    }
    // And then back for good: what the first of the two set aside.
    let past = after(past, &back, &host);
    let plan = make(&roster(EMO_AND_ANN), &host, &past.facts);
    let words = words(&plan);
    for step in [
        "user.enable emo",
        "login.unlock emo cut=3",
        "keys.restore emo cut=3",
    ] {
        assert!(words.iter().any(|it| it == step), "{step} in {words:?}");
    }
}

#[test]
fn nobody_is_made_only_to_be_kept_out() {
    let past = nothing_known();
    let plan = make(&roster(&with("disabled: true")), &fresh_host(), &past.facts);
    assert!(kinds_of(&plan, "emo").is_empty());
    let notes: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        ["disabled, and without an account here, so none is made: emo"]
    );
    let (mut past, mut host) = disabled("disabled: true");
    for stage in [Stage::Archived, Stage::Deleted] {
        emo(&mut past).stage = stage;
        if let Reading::Known(accounts) = &mut host.accounts {
            accounts.by_name.remove("emo");
        }
        let plan = make(&roster(&with("expires: 2026-11-21")), &host, &past.facts);
        assert!(kinds_of(&plan, "emo").is_empty(), "{:?}", words(&plan));
    }
}

#[test]
fn somebody_who_is_renamed_is_kept_out_under_the_old_name() {
    let (past, mut host) = emo_and_ann_are_here();
    logged_in(&mut host);
    let renamed = with("disabled: true").replace("emo: {", "emil: {previously: emo, ");
    let plan = make(&roster(&renamed), &host, &past.facts);
    let kinds = kinds_of(&plan, "emo");
    assert!(kinds.contains(&Verb::LoginLock) && kinds.contains(&Verb::KeysSetAside));
    assert!(
        words(&plan)
            .iter()
            .any(|it| it.starts_with("user.rename emil from=emo"))
    );
    let (desired, known) = (roster(&renamed), past.facts.known.accounts());
    let question = muster_core::accounts::question::question(&desired, known);
    assert!(
        question.people["emo"].traces,
        "or nobody looks what is open"
    );
}

#[test]
fn the_cluster_keeps_nobody_in() {
    let (past, mut host) = emo_and_ann_are_here();
    let other = ("emo-k".to_owned(), "namespace-owner".to_owned());
    host.cluster_tiers = Some(Reading::Known([other].into()));
    let plan = make(&roster(&with("disabled: true")), &host, &past.facts);
    assert!(kinds_of(&plan, "emo").contains(&Verb::LoginLock));
}

/// A disable counts as a removal; one that its date brings does not, and is not held with those that do.
#[test]
fn the_date_is_nobodys_removal() {
    let rows = |field: &str| {
        ["ada", "bob", "cid", "dan"].map(|user| {
            let field = if user == "dan" { "expires: 2026-11-21" } else { field };
            let comma = if field.is_empty() { "" } else { ", " };
            format!("  {user}: {{authentik_user: {user}.x, k8s_user: {user}-k, tier: power-user{comma}{field}}}\n")
        })
    };
    let text = |field: &str| format!("users:\n{}", rows(field).concat());
    let here = text("").replace(", expires: 2026-11-21", "");
    let mut host = fresh_host();
    let past = after(nothing_known(), &roster(&here), &host);
    for (n, user) in (1_000..).zip(["ada", "bob", "cid", "dan"]) {
        let mut account = account(n, &["t3"]);
        account.home = format!("/home/{user}");
        add_account(&mut host, user, account);
    }
    let held = |field: &str| {
        let plan = make(&roster(&text(field)), &host, &past.facts);
        let verdict = verdict(&plan, &host, &past.facts);
        let held = verdict
            .held
            .iter()
            .filter(|it| it.price.takes != Takes::Nothing);
        held.map(|it| it.step.resource().to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(held(""), BTreeSet::new());
    let asked = ["ada", "bob", "cid"].map(str::to_owned);
    assert_eq!(held("disabled: true"), asked.into());
    assert_eq!(held("expires: 2026-11-20"), BTreeSet::new());
}

#[test]
fn neither_row_nor_date_takes_the_last_admin() {
    let (past, mut host) = emo_and_ann_are_here();
    change(&mut host, "ann", |it| {
        it.groups.insert("sudo".into());
    });
    for field in ["disabled: true", "expires: 2026-11-21"] {
        let rows = EMO_AND_ANN.replace("tier: admin", &format!("tier: admin, {field}"));
        let plan = make(&roster(&rows), &host, &past.facts);
        let verdict = verdict(&plan, &host, &past.facts);
        let held: BTreeMap<String, Reason> = verdict
            .held
            .into_iter()
            .map(|it| (it.step.words(), it.reason))
            .collect();
        let disable = held
            .iter()
            .find(|(words, _)| words.starts_with("user.disable ann"));
        assert!(
            matches!(disable, Some((_, Reason::Guardrail(_)))),
            "{held:?}"
        );
        let lock = held
            .iter()
            .find(|(words, _)| words.starts_with("login.lock ann"));
        assert!(lock.is_some(), "{held:?}");
        assert!(
            !verdict
                .admitted
                .iter()
                .any(|it| it.step().resource() == "ann")
        );
    }
}

/// Whom an earlier version parked when their day had passed is told for 24 hours.
#[test]
fn who_was_parked_by_the_date_is_told_before_the_login_is_shut() {
    let (past, mut host) = emo_and_ann_are_here();
    let desired = roster(&with("expires: 2026-11-20"));
    let mut past = after(past, &roster(&with("parked: true")), &host);
    let words = |past: &Replayed, host: &Observed| emos(&make(&desired, host, &past.facts));
    if let Reading::Known(units) = &mut host.units {
        units.by_name.retain(|unit, _| !unit.contains("@emo."));
    }
    assert_eq!(words(&past, &host), ["user.notice emo"]);
    past = after(past, &desired, &host);
    assert_eq!(past.facts.known.accounts().people["emo"].told, Some(NOW));
    let plan = make(&desired, &host, &past.facts);
    let disable = &plan
        .steps()
        .iter()
        .find(|it| verb(&it.step) == Verb::UserDisable);
    let hold = disable.expect("it is shown").hold.clone();
    assert!(matches!(hold.as_deref(), Some(Hold::Until(at, _)) if *at == NOW.plus(86_400)));
    let (policy, observed) = (policy().into(), host.clone().into());
    let ran = |now: Time| {
        let bounds = plan.bounds(&policy, &observed, &past.facts, now);
        let verdict = judge(&plan, &bounds, &past.facts, &Approvals::none(), now);
        let mut admitted = verdict.admitted.iter();
        admitted.any(|it| {
            matches!(
                verb(it.step()),
                Verb::UserDisable | Verb::LoginLock | Verb::MapRemove
            )
        })
    };
    assert!(!ran(NOW) && !ran(NOW.plus(86_399)) && ran(NOW.plus(86_400)));
    // A later date takes it back; the next time there is nothing to tell.
    let past = after(past, &roster(EMO_AND_ANN), &host);
    assert_eq!(past.facts.known.accounts().people["emo"].told, None);
    assert_eq!(words(&past, &host)[0], "user.disable emo because=expired");
    // Whoever was parked while the row was valid is told of it by the note before the day, as everybody is.
    let mut parked = past.clone();
    emo(&mut parked).stage = Stage::Parked;
    emo(&mut parked).since = NOW.plus(-3 * 86_400);
    assert_eq!(words(&parked, &host)[0], "user.disable emo because=expired");
}

#[test]
fn parking_says_so_where_there_is_nothing_to_park() {
    let (past, host) = emo_and_ann_are_here();
    let bare = Policy {
        units: Vec::new(),
        ..policy()
    };
    let plan = make_under(&bare, &roster(&with("parked: true")), &host, &past.facts);
    assert!(plan.notes().iter().any(|it| it.to_string()
        == "emo: this host runs no instances, so parking does nothing here; `disabled: true` shuts the login"));
}
