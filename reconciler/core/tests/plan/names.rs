//! Names that change, and names that somebody had before.

use super::*;

#[test]
fn a_rename_is_never_remove_and_add() {
    let (past, host) = emo_and_ann_are_here();
    let rows = format!(
        "{ANN}  emil: {{authentik_user: e.mo, k8s_user: emo-k, tier: power-user, previously: emo}}\n"
    );
    let plan = make(&roster(&rows), &host, &past.facts);
    assert_eq!(words(&plan), ["user.rename emil from=emo uid=1001"]);
    let verdict = verdict(&plan, &host, &past.facts);
    assert_eq!(verdict.held[0].price.class, Class::Privileged);
}

/// Emo goes on as emil, in the home that was emo's.
fn emo_is_emil() -> (Replayed, Observed) {
    let (mut past, mut host) = emo_and_ann_are_here();
    let people = &mut past.facts.known.accounts_mut().expect("a host's").people;
    let mut person = people.remove("emo").expect("emo");
    person.formerly.insert("emo".into());
    people.insert("emil".into(), person);
    let Reading::Known(accounts) = &mut host.accounts else {
        unreachable!()
    };
    let account = accounts.by_name.remove("emo").expect("emo");
    accounts.by_name.insert("emil".into(), account);
    (past, host)
}

#[test]
fn a_home_is_not_given_to_whoever_has_the_name_next() {
    let (past, mut host) = emo_is_emil();
    let rows = format!(
        "{ANN}  emil: {{authentik_user: e.mo, k8s_user: emo-k, tier: power-user}}\n  emo: {{authentik_user: o.ther, k8s_user: other-k, tier: power-user}}\n"
    );
    let plan = make(&roster(&rows), &host, &past.facts);
    assert_eq!(kinds_of(&plan, "emo"), []);
    let told = refusals(&plan);
    assert!(
        told.iter()
            .any(|it| it.starts_with("emo: its home would be /home/emo, which is or was emil's")),
        "{told:?}"
    );
    // The same where only the account databases say whose it is, and write it otherwise.
    let mut somebody = account(1500, &[]);
    somebody.home = "/home/zoe/".into();
    add_account(&mut host, "zoes", somebody);
    let rows = rows.replace("  emo:", "  zoe:");
    let plan = make(&roster(&rows), &host, &past.facts);
    assert_eq!(kinds_of(&plan, "zoe"), []);
    assert!(
        refusals(&plan)[0].contains("zoes's"),
        "{:?}",
        refusals(&plan)
    );
    // Who is called after the end of another's home is nobody's heir.
    let rows = rows.replace("  zoe:", "  mil:");
    let plan = make(&roster(&rows), &host, &past.facts);
    assert!(kinds_of(&plan, "mil").contains(&Verb::UserCreate));
}

#[test]
fn an_entry_is_of_whoever_has_the_name_now() {
    let (mut past, mut host) = emo_is_emil();
    let people = &mut past.facts.known.accounts_mut().expect("a host's").people;
    let mut other = people["emil"].clone();
    other.formerly.clear();
    (other.uid, other.authentik_user, other.home) = (1010, "o.ther".into(), "/home/other".into());
    people.insert("emo".into(), other);
    let mut second = account(1010, &["t3"]);
    second.home = "/home/other".into();
    add_account(&mut host, "emo", second);
    let entries = BTreeMap::from([
        ("o.ther".to_owned(), "emo".to_owned()),
        ("e.mo".to_owned(), "emil".to_owned()),
    ]);
    host.aggregates
        .insert(Aggregate::LoginMap, Reading::Known(entries));
    let rows =
        format!("{ANN}  emil: {{authentik_user: e.mo, k8s_user: emo-k, tier: power-user}}\n");
    let plan = make(&roster(&rows), &host, &past.facts);
    let removed: Vec<String> = words(&plan)
        .into_iter()
        .filter(|it| it.starts_with("map.remove"))
        .collect();
    assert_eq!(removed, ["map.remove emo from=emo key=o.ther"]);
}

#[test]
fn another_identity_waits_and_the_maps_keep_the_old_one() {
    let (past, host) = emo_and_ann_are_here();
    let rows = EMO_AND_ANN.replace("e.mo", "e.vil");
    let plan = make(&roster(&rows), &host, &past.facts);
    assert_eq!(
        words(&plan),
        ["user.identity emo from=e.mo identity=authentik_user to=e.vil"]
    );
}

#[test]
fn a_name_that_was_cut_is_not_handed_to_another_identity() {
    let (past, host) = emo_and_ann_are_here();
    let mut past = after(past, &roster(ANN), &host);
    emo(&mut past).stage = Stage::Cut;
    let rows = EMO_AND_ANN.replace("e.mo", "e.vil");
    let plan = make(&roster(&rows), &host, &past.facts);
    let kinds = kinds_of(&plan, "emo");
    assert!(
        kinds.contains(&Verb::MapRemove),
        "the cut goes on: {kinds:?}"
    );
    assert!(
        !kinds.contains(&Verb::UserReturn) && !kinds.contains(&Verb::LoginUnlock),
        "{kinds:?}"
    );
    assert!(refusals(&plan)[0].starts_with("emo: was cut here with another identity"));
}
