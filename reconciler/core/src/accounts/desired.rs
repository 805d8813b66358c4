//! What the state repository asks of one host.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::accounts::policy::Policy;
use crate::people::Parking;
use crate::repo::{Documents, Grant, Tier};
use crate::time::{Date, days_between};

/// Days before the last valid day from which a plan speaks of it.
pub const EXPIRY_NOTICE_DAYS: i64 = 14;

/// Everybody that one host is asked to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// By os_user. Each in a box: moved into their order, many of them would be moved byte for byte.
    pub people: BTreeMap<String, Box<Wanted>>,
    /// Whether the roster names anybody at all: an empty roster takes nobody's account (invariant 5).
    pub anybody: bool,
}

/// One person, as this host is to have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Identity login.
    pub authentik_user: String,
    /// Cluster identity.
    pub k8s_user: String,
    /// Tier.
    pub tier: Tier,
    /// Namespaces owned, for the environment file.
    pub namespaces: Vec<String>,
    /// The uid the row asks for.
    pub uid: Option<u32>,
    /// The uid of an account to adopt.
    pub adopt: Option<u32>,
    /// The name the person had before.
    pub previously: Option<String>,
    /// Whether, and why, the instance is to stand still.
    pub parked: Option<Parking>,
    /// Whether, and why, nobody is to get in. Whoever expired is parked, too.
    pub disabled: Option<Disabled>,
    /// Days left until the last valid day, when they are few; and whom to ask.
    pub expiring: Option<(i64, String)>,
    /// What the tier gives here.
    pub grant: Arc<Grant>,
    /// `code_layout: workspace` (R26).
    pub workspace: bool,
    /// Repositories to check out (R26).
    pub repos: Vec<String>,
    /// Whether the person's instance may authenticate to Claude (R27); never while parked.
    pub claude_auth: bool,
}

/// Why nobody is to get in by somebody's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabled {
    /// The row says `disabled: true`.
    Asked,
    /// The row's last valid day has passed.
    Expired {
        /// That day.
        last: Date,
    },
}

impl Disabled {
    /// The word for it in a step.
    pub fn because(self) -> Parking {
        match self {
            Self::Asked => Parking::Asked,
            Self::Expired { .. } => Parking::Expired,
        }
    }
}

/// Reads out of a state repository what it asks of the host that `policy` binds, as of `today`.
pub fn for_host(repo: &Documents<'_>, policy: &Policy, today: Date) -> Desired {
    let host = repo.hosts.get(policy.executor.name());
    // Room for everybody where everybody is admitted; where few are, nobody counts them first.
    let admits_all = host.is_none_or(|it| it.admits.is_none());
    let mut people = if admits_all {
        Vec::with_capacity(repo.roster.people.len())
    } else {
        Vec::new()
    };
    let tiers = repo.tiers.clone();
    let tiers = match host {
        Some(host) => tiers.changed(&host.tiers),
        None => tiers,
    };
    let [admin, power_user, namespace_owner] =
        [tiers.admin, tiers.power_user, tiers.namespace_owner].map(|grant| {
            let instance = grant.instance && policy.runs_instances();
            Arc::new(Grant { instance, ..grant })
        });
    for person in &repo.roster.people {
        let tier = person.tier;
        if host
            .and_then(|it| it.admits.as_ref())
            .is_some_and(|admits| !admits.contains(&tier))
        {
            continue;
        }
        let grant = match tier {
            Tier::Admin => &admin,
            Tier::PowerUser => &power_user,
            Tier::NamespaceOwner => &namespace_owner,
        };
        let left = person.expires().map(|last| days_between(today, last));
        let disabled = if person.disabled() {
            Some(Disabled::Asked)
        } else {
            let last = person.expires();
            last.filter(|last| days_between(today, *last) < 0)
                .map(|last| Disabled::Expired { last })
        };
        let parked = if person.parked() {
            Some(Parking::Asked)
        } else if left.is_some_and(|days| days < 0) {
            Some(Parking::Expired)
        } else {
            None
        };
        let expiring = left
            .filter(|days| (0..=EXPIRY_NOTICE_DAYS).contains(days) && disabled.is_none())
            .map(|days| (days, person.expiry_contact().unwrap_or_default().to_owned()));
        let wanted = Wanted {
            authentik_user: person.authentik_user.clone().into_owned(),
            k8s_user: person.k8s_user.clone().into_owned(),
            tier,
            namespaces: person
                .namespaces
                .iter()
                .map(|it| it.clone().into_owned())
                .collect(),
            uid: person.uid(),
            adopt: person.adopt(),
            previously: person.previously().map(str::to_owned),
            parked,
            disabled,
            expiring,
            grant: Arc::clone(grant),
            workspace: person.code_layout() == crate::repo::CodeLayout::Workspace,
            repos: person
                .repos()
                .iter()
                .map(|it| it.clone().into_owned())
                .collect(),
            claude_auth: parked.is_none() && disabled.is_none() && person.claude_auth(),
        };
        people.push((person.os_user.clone().into_owned(), Box::new(wanted)));
    }
    Desired {
        // Sorted once and built from below: names mostly come in order already.
        people: people.into_iter().collect(),
        anybody: !repo.roster.people.is_empty(),
    }
}
