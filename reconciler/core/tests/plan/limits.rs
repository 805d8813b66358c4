//! How much may be taken away within a day, counted in people (F29).

use super::*;

fn rows(users: std::ops::Range<u32>) -> Desired {
    let rows: String = users
        .map(|n| format!("  u{n}: {{authentik_user: a{n}, k8s_user: k{n}, tier: power-user}}\n"))
        .collect();
    roster(&format!("users:\n{rows}"))
}

/// Ten people, each with the account that the roster asks for.
struct Ten {
    policy: Policy,
    past: Replayed,
    host: Observed,
}

impl Ten {
    fn are_here() -> Self {
        let mut policy = policy();
        policy.families.clear();
        policy.units.clear();
        let mut ten = Self {
            policy,
            past: nothing_known(),
            host: fresh_host(),
        };
        let everybody = ten.plan(0);
        ten.done(everybody.steps().iter().map(|it| it.step.clone()));
        for (name, person) in &ten.past.facts.known.accounts().people {
            let mut found = account(person.uid, &[]);
            found.home.clone_from(&person.home);
            add_account(&mut ten.host, name, found);
        }
        ten
    }

    /// The plan by a roster that the first so many have left.
    fn plan(&self, left: u32) -> Plan {
        make_under(&self.policy, &rows(left..10), &self.host, &self.past.facts)
    }

    fn done(&mut self, steps: impl IntoIterator<Item = Arc<Step>>) {
        let steps: Vec<_> = steps.into_iter().collect();
        let results = vec![StepResult::Done; steps.len()];
        let begun = Entry::Intended {
            at: NOW,
            steps,
            authority: Authority::Benign { commit: commit() },
        };
        self.past.apply(&begun).unwrap();
        self.past
            .apply(&Entry::Outcome { at: NOW, results })
            .unwrap();
    }

    /// The cuts that are held when so many have left.
    fn held(&self, left: u32) -> usize {
        let plan = self.plan(left);
        let verdict = verdict_under(&self.policy, &plan, &self.host, &self.past.facts);
        let held = verdict.held.iter();
        held.filter(|it| verb(&it.step) == Verb::UserCut).count()
    }
}

#[test]
fn many_removals_at_once_are_held_as_a_whole() {
    let ten = Ten::are_here();
    assert_eq!(ten.held(2), 0, "two of ten are few");
    assert_eq!(ten.held(3), 3, "three are more than a quarter");
}

/// F29: who is cut, comes back and is cut again is one person.
#[test]
fn one_person_cut_again_and_again_counts_once() {
    let mut ten = Ten::are_here();
    let plan = ten.plan(1);
    let cut = |it: &Arc<Step>| verb(it) == Verb::UserCut;
    let cut: Vec<_> = (plan.steps().iter().map(|it| it.step.clone()))
        .filter(cut)
        .collect();
    assert_eq!(cut.len(), 1);
    let before = ten.past.clone();
    for _ in 0..3 {
        ten.done(cut.clone());
    }
    assert_eq!(ten.past.facts.removals.len(), 3, "each is remembered");
    // Back, as a release would have it: what was taken from whom stays known.
    ten.past.facts.known = before.facts.known;
    assert_eq!(ten.held(2), 0, "two people, whatever happened to one");
    assert_eq!(ten.held(3), 3, "a third one is too many");
}
