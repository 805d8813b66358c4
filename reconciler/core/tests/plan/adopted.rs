//! An account that is taken over stays as it is, until a step that is shown by itself changes it (F19).

use muster_core::accounts::facts::{Known, Provenance};
use muster_core::accounts::policy::Passwords;
use muster_core::gate::Held;

use super::*;

const CARL: &str = "users:
  carl: {authentik_user: c, k8s_user: c, tier: power-user, adopt: {uid: 1500}}
  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}
";

/// Carl as he was before muster came: with a password and a shell of his own.
fn carl() -> Account {
    Account {
        password: Password::Usable,
        shell: "/bin/bash".into(),
        ..account(1500, &[])
    }
}

fn locking() -> Policy {
    Policy {
        passwords: Passwords::Lock,
        ..policy()
    }
}

fn with_carl(carl: Account) -> Observed {
    let mut host = fresh_host();
    add_account(&mut host, "carl", carl);
    host
}

/// What is held of Carl, by the verb.
fn held(policy: &Policy, host: &Observed, facts: &Facts) -> BTreeMap<Verb, Held> {
    let plan = make_under(policy, &roster(CARL), host, facts);
    let verdict = verdict_under(policy, &plan, host, facts);
    let held = verdict.held.into_iter();
    held.filter(|it| it.step.resource() == "carl")
        .map(|it| (verb(&it.step), it))
        .collect()
}

#[test]
fn a_password_is_kept_unless_the_settings_ask_for_the_lock() {
    let host = with_carl(carl());
    let past = nothing_known();
    let kept = held(&policy(), &host, &past.facts);
    assert!(kept.contains_key(&Verb::UserAdopt));
    assert!(!kept.contains_key(&Verb::UserLockPassword), "{kept:?}");
    let asked = held(&locking(), &host, &past.facts);
    assert_eq!(
        asked[&Verb::UserLockPassword].price.class,
        Class::Privileged
    );
}

/// Whoever signs the adoption signs no more than that.
#[test]
fn what_an_adopted_account_has_waits_for_a_signature_of_its_own() {
    let host = with_carl(carl());
    let mut past = nothing_known();
    let adopt = held(&locking(), &host, &past.facts)[&Verb::UserAdopt]
        .step
        .clone();
    past.apply(&Entry::Intended {
        at: NOW,
        steps: vec![adopt],
        authority: Authority::Benign { commit: commit() },
    })
    .unwrap();
    let results = vec![StepResult::Done];
    past.apply(&Entry::Outcome { at: NOW, results }).unwrap();
    assert_eq!(
        past.facts.known.accounts().people["carl"].how,
        Provenance::Adopted
    );
    let waits = held(&locking(), &host, &past.facts);
    for verb in [Verb::UserLockPassword, Verb::UserShell] {
        assert_eq!(waits[&verb].price.class, Class::Privileged, "{verb}");
        assert_eq!(waits[&verb].reason, Reason::PendingSignature, "{verb}");
    }
    let mut lenient = locking();
    lenient.declared_benign = [Verb::UserLockPassword, Verb::UserShell].into();
    let waits = held(&lenient, &host, &past.facts);
    assert!(
        waits.is_empty(),
        "an administrator can decide otherwise: {waits:?}"
    );
}

/// An account that muster made has no password, whatever the settings say of others (R15).
#[test]
fn an_account_that_muster_made_is_locked_as_ever() {
    let (past, mut host) = emo_and_ann_are_here();
    let mut open = account(1001, &["t3"]);
    open.home = "/home/emo".into();
    open.password = Password::Usable;
    add_account(&mut host, "emo", open);
    let plan = make(&roster(EMO_AND_ANN), &host, &past.facts);
    assert_eq!(words(&plan), ["user.lock_password emo"]);
    assert_eq!(plan.steps()[0].price.class, Class::Benign);
}

fn adopted_and_locked(groups: &[&str]) -> (Facts, Observed) {
    let host = with_carl(carl());
    let mut past = nothing_known();
    let plan = make_under(&locking(), &roster(CARL), &host, &past.facts);
    let steps: Vec<_> = plan.steps().iter().map(|it| it.step.clone()).collect();
    let results = vec![StepResult::Done; steps.len()];
    let authority = Authority::Benign { commit: commit() };
    past.apply(&Entry::Intended {
        at: NOW,
        steps,
        authority,
    })
    .unwrap();
    past.apply(&Entry::Outcome { at: NOW, results }).unwrap();
    let shut = Account {
        password: Password::Locked,
        shell: "/bin/zsh".into(),
        ..account(1500, groups)
    };
    (past.facts, with_carl(shut))
}

/// Commits of a ledger in which Carl was taken over and his password was locked, newest first.
fn history(facts: &Facts) -> [String; 3] {
    let entry = facts.known.accounts().people["carl"].entry;
    let other = "0".repeat(32);
    [
        format!(
            "2 steps\n\n{other} group.join carl gid=996 group=t3 (done)\n{other} user.lock_password ann (done)\n"
        ),
        format!(
            "2 steps\n\n{entry} user.adopt carl uid=1500 (done)\n{other} user.lock_password carl (done)\n"
        ),
        // Of somebody else, who had the name before.
        format!("1 step\n\n{other} user.lock_password carl (done)\n"),
    ]
}

fn recalled(facts: &mut Facts, history: &[String]) -> bool {
    let known: &mut Known = facts.known.accounts_mut().unwrap();
    known.recall_locked(history.iter().map(String::as_str))
}

#[test]
fn what_was_locked_at_an_adoption_is_offered_back() {
    for (groups, class) in [
        (&["t3"][..], Class::Benign),
        (&["t3", "sudo"][..], Class::Privileged),
    ] {
        let (mut facts, host) = adopted_and_locked(groups);
        let words = |facts: &Facts, policy: &Policy| {
            words(&make_under(policy, &roster(CARL), &host, facts))
        };
        let is_offered = |facts: &Facts, policy: &Policy| {
            let words = words(facts, policy);
            words
                .iter()
                .any(|it| it.starts_with("password.restore carl"))
        };
        assert!(!is_offered(&facts, &policy()), "nobody knows who locked it");
        let history = history(&facts);
        assert!(recalled(&mut facts, &history));
        assert!(is_offered(&facts, &policy()));
        assert!(
            !is_offered(&facts, &locking()),
            "the settings ask for the lock"
        );
        let plan = make(&roster(CARL), &host, &facts);
        let mut steps = plan.steps().iter();
        let restore = steps.find(|it| verb(&it.step) == Verb::PasswordRestore);
        assert_eq!(restore.unwrap().price.class, class);
    }
}

#[test]
fn only_what_muster_locked_of_this_very_account_is_offered_back() {
    let (facts, _) = adopted_and_locked(&[]);
    let [late, adoption, before] = history(&facts);
    let restored = format!("{} password.restore carl (done)\n", "1".repeat(32));
    let held = adoption.replace("carl (done)\n", "carl (held: needs)\n");
    let locked = |messages: &[&String]| {
        let mut facts = facts.clone();
        let messages: Vec<String> = messages.iter().map(|it| (*it).clone()).collect();
        let all = recalled(&mut facts, &messages);
        (all, facts.known.accounts().locked.contains("carl"))
    };
    assert_eq!(
        locked(&[&late]),
        (false, false),
        "the adoption lies further back"
    );
    assert_eq!(locked(&[&late, &adoption, &before]), (true, true));
    assert_eq!(locked(&[&restored, &adoption]), (true, false));
    assert_eq!(
        locked(&[
            &adoption.replace("user.lock_password", "user.shell"),
            &before
        ]),
        (true, false)
    );
    assert_eq!(
        locked(&[&held, &before]),
        (true, false),
        "it was held, not done"
    );
}

#[test]
fn taking_over_costs_no_admin_the_way_to_sudo() {
    let past = nothing_known();
    let admin = CARL.replacen("tier: power-user", "tier: admin", 1);
    let mut host = with_carl(Account {
        groups: ["sudo".to_owned()].into(),
        ..carl()
    });
    let Reading::Known(accounts) = &mut host.accounts else {
        unreachable!()
    };
    let rule = "%sudo ALL=(ALL:ALL) ALL".to_owned();
    let sudoers =
        muster_core::accounts::sudoers::Sudoers::of([rule.as_str()].into_iter(), BTreeSet::new());
    accounts.root.sudoers = Reading::Known(Some(sudoers));
    // Even where the lock is asked for and signed, the last who surely can become root keeps the password.
    let plan = make_under(&locking(), &roster(&admin), &host, &past.facts);
    let mut everything = locking();
    everything.declared_benign = [Verb::UserAdopt, Verb::UserLockPassword].into();
    let verdict = verdict_under(&everything, &plan, &host, &past.facts);
    let lock = verdict
        .held
        .iter()
        .find(|it| verb(&it.step) == Verb::UserLockPassword);
    assert!(matches!(
        lock.unwrap().reason,
        Reason::Guardrail(_) | Reason::Needs(_)
    ));
    let plan = make(&roster(&admin), &host, &past.facts);
    assert!(!kinds_of(&plan, "carl").contains(&Verb::UserLockPassword));
}
