//! What a test of a host's cycle takes out of the sums over rooms: everything in it is about accounts.

use muster_core::accounts::action::Action;
use muster_core::accounts::facts::Known;
use muster_core::accounts::policy;
use muster_core::accounts::verbs::Verb;
use muster_core::facts::Facts;
use muster_core::price::Price;
use muster_core::rooms::{self, Policy};
use muster_core::step::Step;

/// What a host's administrator decided, to be changed.
pub fn decided(policy: &mut Policy) -> &mut policy::Policy {
    match policy {
        Policy::Accounts(policy) => policy,
        Policy::Guests(policy) => panic!("{} keeps no accounts", policy.executor),
    }
}

/// What a step does to an account.
pub fn action(step: &Step) -> &Action {
    let action = step.action.account();
    action.unwrap_or_else(|| panic!("no step about an account: {}", step.words()))
}

/// The verb of a step about an account.
pub fn verb(step: &Step) -> Verb {
    action(step).verb()
}

/// The people that a host keeps, to be changed.
pub fn known(facts: &mut Facts) -> &mut Known {
    let known = facts.known.accounts_mut();
    known.expect("a host keeps accounts")
}

/// What a step costs, for whoever has not looked at the host.
pub fn price(step: &Step, policy: &Policy) -> Price {
    let known = rooms::Known::new(policy.executor().kind());
    rooms::price(&step.action, policy, None, &known)
}
