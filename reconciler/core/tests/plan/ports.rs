//! Ports are sticky: nobody gets another one, and nobody gets somebody else's.

use super::*;

#[test]
fn ports_stay_and_are_never_given_to_another() {
    let (past, mut host) = emo_and_ann_are_here();
    // Emo is cut; a newcomer gets neither his port nor his uid.
    let past = after(past, &roster(ANN), &host);
    assert_eq!(
        past.facts.known.accounts().people["emo"].stage,
        Stage::Archived,
        "the test's past signs everything"
    );
    let Reading::Known(accounts) = &mut host.accounts else {
        unreachable!()
    };
    accounts.by_name.remove("emo");
    let rows = format!("{ANN}  zoe: {{authentik_user: z, k8s_user: z, tier: power-user}}\n");
    let plan = make(&roster(&rows), &host, &past.facts);
    let words = words(&plan);
    assert!(
        words.contains(&"ports.assign zoe ports=playwright:8933/t3:3775".to_owned()),
        "{words:?}"
    );
    assert!(
        words
            .iter()
            .any(|it| it.starts_with("user.create zoe") && it.ends_with("uid=1002")),
        "{words:?}"
    );
}

#[test]
fn a_newcomer_keeps_the_port_of_an_existing_dispatch_file_unless_two_share_it() {
    let mut host = fresh_host();
    let entries = [
        ("e.mo", "{\"os_user\":\"emo\",\"port\":3776}"),
        ("a.nn", "{\"os_user\":\"ann\",\"port\":3778}"),
        ("x", "{\"os_user\":\"x\",\"port\":3778}"),
        ("y", "{\"os_user\":\"y\",\"port\":3773}"),
    ];
    let entries = entries
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    host.aggregates
        .insert(Aggregate::Dispatch, Reading::Known(entries));
    let plan = make(&roster(EMO_AND_ANN), &host, &nothing_known().facts);
    let words = words(&plan);
    assert!(
        words.contains(&"ports.assign emo ports=playwright:8932/t3:3776".to_owned()),
        "{words:?}"
    );
    assert!(
        words.contains(&"ports.assign ann ports=playwright:8931/t3:3774".to_owned()),
        "{words:?}"
    );
}

#[test]
fn a_used_up_port_range_says_so_and_moves_nobody() {
    let (past, host) = emo_and_ann_are_here();
    let more: String = (0..8)
        .map(|n| format!("  z{n}: {{authentik_user: z{n}, k8s_user: z{n}, tier: power-user}}\n"))
        .collect();
    let plan = make(&roster(&format!("{EMO_AND_ANN}{more}")), &host, &past.facts);
    assert!(kinds_of(&plan, "emo").is_empty() && kinds_of(&plan, "ann").is_empty());
    assert_eq!(refusals(&plan).len(), 2);
    assert_eq!(
        refusals(&plan)[0],
        "z6: no port: every t3 port from 3773 to 3780 is taken; people who have theirs keep them"
    );
}
