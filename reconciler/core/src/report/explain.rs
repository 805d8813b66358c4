//! What there is to know about a single step: why it is of its class, what would let it run, how it is undone.

use crate::price::{Class, Price};
use crate::rooms::{self, Action};
use crate::verb::Reach;

/// Why a step of this price is of its class on its executor.
pub fn why_class(action: &Action, price: &Price) -> String {
    let because = rooms::why(action, price.because);
    let row = action.verb().row();
    match (price.class, row.reach) {
        (Class::Benign, Reach::Declarable) if price.declared => {
            format!(
                "{because}; the settings declare {} benign all the same",
                row.word
            )
        }
        (Class::Privileged | Class::Destructive, Reach::Floor) => {
            format!("{because}; no setting can declare it benign")
        }
        (Class::Benign, _)
        | (Class::Privileged | Class::Destructive, Reach::Declarable | Reach::Fixed) => because,
    }
}

/// What takes a step of this kind back.
pub fn undone_by(action: &Action) -> &'static str {
    action.verb().row().undone_by
}

/// What would let a step run that waits for the reason with this code.
pub fn released_by(reason: &str, class: Class) -> &'static str {
    match (reason, class) {
        ("pending_signature", _) => "a signed release that names it",
        ("limit", _) => {
            "the change split over days, or a release for exactly the removals of the plan"
        }
        ("guardrail", _) => {
            "nothing: no signature permits it; the text says what stands against it"
        }
        ("needs", Class::Benign) => "the step it follows: then it runs by itself",
        ("needs", _) => "the step it follows, and a signed release that names both",
        ("precondition", _) => "what is missing: then it is planned anew",
        ("blocked", _) => {
            "the end of what it was refused for; it is tried once a day, or by a release anew"
        }
        ("retry", _) => "time: it is tried again by itself",
        ("needs_operator", _) => "a look by a person, then `muster adopt SHA --reason …`",
        ("frozen", _) => "the end of the freeze: `muster status` says how",
        ("suspended", _) => "`muster resume`, or the end of the suspension",
        _ => "nothing that this version of muster knows",
    }
}
