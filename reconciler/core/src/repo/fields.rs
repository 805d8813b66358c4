//! The fields that each file has: one table per kind of map, for the reader and for the published schema alike.
//!
//! A table's key is an enum, and the reader matches it without a wildcard: a field that is added here does not compile
//! until the reader reads it, and the schema has it at once.

use super::names::{self, Grammar};
use super::tiers::Tier;

/// One field of a map.
#[derive(Debug)]
pub struct Field<K: 'static> {
    /// What the reader matches.
    pub key: K,
    /// How it is written.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether it may be left out.
    pub presence: Presence,
    /// What it means, for whoever edits the file.
    pub about: &'static str,
}

/// Whether a field may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must be there.
    Required,
    /// It may be left out.
    Optional,
}

/// What a value looks like.
#[derive(Debug)]
pub enum Shape {
    /// Text of a form.
    Text(&'static Grammar),
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A day, `YYYY-MM-DD`.
    Date,
    /// A numeric user id that a person may have.
    Uid,
    /// A list of texts of a form.
    Texts(&'static Grammar),
    /// A list of some words.
    AnyOf(&'static [&'static str]),
    /// A map from texts of a form; what the values are the function tells.
    MapOf(&'static Grammar, fn() -> serde_json::Value),
    /// A map from some words; what the values are the function tells.
    MapOfWords(&'static [&'static str], fn() -> serde_json::Value),
    /// A whole number from one bound to the other.
    Count(u32, u32),
    /// So many bytes, as a number or with a unit.
    Size,
    /// A map with fields of its own, as the function tells.
    Object(fn() -> serde_json::Value),
}

use Presence::{Optional, Required};

/// The keys of `roster.yaml`.
#[derive(Clone, Copy, Debug)]
pub enum RosterKey {
    /// The people.
    Users,
}

/// The fields of `roster.yaml` (R1).
pub static ROSTER: [Field<RosterKey>; 1] = [Field {
    key: RosterKey::Users,
    name: "users",
    shape: Shape::MapOf(&names::OS_USER, || crate::repo::schema::object(&PERSON)),
    presence: Optional,
    about: "the people, keyed by os_user",
}];

/// The keys of a person.
#[derive(Clone, Copy, Debug)]
pub enum PersonKey {
    /// Login at the identity provider.
    AuthentikUser,
    /// Key in the cluster.
    K8sUser,
    /// Tier.
    Tier,
    /// Namespaces.
    Namespaces,
    /// Parked.
    Parked,
    /// Disabled.
    Disabled,
    /// Last valid day.
    Expires,
    /// Who is told before that.
    ExpiryContact,
    /// The former key.
    Previously,
    /// The account to take over.
    Adopt,
    /// The numeric user id.
    Uid,
    /// How code is laid out.
    CodeLayout,
    /// What is checked out.
    Repos,
    /// Whether the assistant's login is shared.
    ClaudeAuth,
    /// Account at the forge.
    ForgeUser,
}

/// The fields of a person. The required ones stand in the order in which they are asked for (R4).
pub static PERSON: [Field<PersonKey>; 15] = [
    Field {
        key: PersonKey::AuthentikUser,
        name: "authentik_user",
        shape: Shape::Text(&names::IDENTITY),
        presence: Required,
        about: "login at the identity provider; unique, whatever its case",
    },
    Field {
        key: PersonKey::K8sUser,
        name: "k8s_user",
        shape: Shape::Text(&names::IDENTITY),
        presence: Required,
        about: "key in the cluster; unique, whatever its case",
    },
    Field {
        key: PersonKey::Tier,
        name: "tier",
        shape: Shape::OneOf(&Tier::NAMES),
        presence: Required,
        about: "what the person is given",
    },
    Field {
        key: PersonKey::Namespaces,
        name: "namespaces",
        shape: Shape::Texts(&names::NAMESPACE),
        presence: Optional,
        about: "the namespaces that a namespace-owner owns, and nobody else does",
    },
    Field {
        key: PersonKey::Parked,
        name: "parked",
        shape: Shape::Bool,
        presence: Optional,
        about: "true: the instance stands still, all else stays, and the person can still sign in; default false",
    },
    Field {
        key: PersonKey::Disabled,
        name: "disabled",
        shape: Shape::Bool,
        presence: Optional,
        about: "true: nobody gets in, nothing of it runs, and everything is kept; default false",
    },
    Field {
        key: PersonKey::Expires,
        name: "expires",
        shape: Shape::Date,
        presence: Optional,
        about: "the last valid day in UTC; afterwards the person is disabled: nobody gets in",
    },
    Field {
        key: PersonKey::ExpiryContact,
        name: "expiry_contact",
        shape: Shape::Text(&names::IDENTITY),
        presence: Optional,
        about: "who is told before that day; a login or an e-mail address",
    },
    Field {
        key: PersonKey::Previously,
        name: "previously",
        shape: Shape::Text(&names::OS_USER),
        presence: Optional,
        about: "the os_user that this person had before: the account is renamed, not cut",
    },
    Field {
        key: PersonKey::Adopt,
        name: "adopt",
        shape: Shape::Object(|| crate::repo::schema::object(&ADOPT)),
        presence: Optional,
        about: "take over an account that exists already",
    },
    Field {
        key: PersonKey::Uid,
        name: "uid",
        shape: Shape::Uid,
        presence: Optional,
        about: "numeric user id; without it the host takes the lowest that nobody has or had",
    },
    Field {
        key: PersonKey::CodeLayout,
        name: "code_layout",
        shape: Shape::OneOf(&["single", "workspace"]),
        presence: Optional,
        about: "one checkout, or a workspace of several; default single",
    },
    Field {
        key: PersonKey::Repos,
        name: "repos",
        shape: Shape::Texts(&names::REPO),
        presence: Optional,
        about: "repositories in the workspace, beside infra; needs code_layout: workspace",
    },
    Field {
        key: PersonKey::ClaudeAuth,
        name: "claude_auth",
        shape: Shape::Bool,
        presence: Optional,
        about: "whether the instance gets the assistant's login; default true",
    },
    Field {
        key: PersonKey::ForgeUser,
        name: "forge_user",
        shape: Shape::Text(&names::IDENTITY),
        presence: Optional,
        about: "account at the forge: what it answers for a host service counts as this person's",
    },
];

/// The keys of `adopt`.
#[derive(Clone, Copy, Debug)]
pub enum AdoptKey {
    /// The user id that the account must have.
    Uid,
}

/// The fields of `adopt`.
pub static ADOPT: [Field<AdoptKey>; 1] = [Field {
    key: AdoptKey::Uid,
    name: "uid",
    shape: Shape::Uid,
    presence: Required,
    about: "the user id that the account has; if it has another, nothing is adopted",
}];

/// The keys of `tiers.yaml`.
#[derive(Clone, Copy, Debug)]
pub enum TiersKey {
    /// What each tier gives.
    Tiers,
}

/// The fields of `tiers.yaml`.
pub static TIERS: [Field<TiersKey>; 1] = [Field {
    key: TiersKey::Tiers,
    name: "tiers",
    shape: Shape::MapOfWords(&Tier::NAMES, || crate::repo::schema::object(&GRANT)),
    presence: Optional,
    about: "what each tier gives, where it differs from the built-in tiers",
}];

/// The keys of `hosts/<host>.yaml`.
#[derive(Clone, Copy, Debug)]
pub enum HostKey {
    /// Who is admitted.
    Admits,
    /// How its tiers differ.
    Tiers,
}

/// The fields of `hosts/<host>.yaml`.
pub static HOST: [Field<HostKey>; 2] = [
    Field {
        key: HostKey::Admits,
        name: "admits",
        shape: Shape::AnyOf(&Tier::NAMES),
        presence: Optional,
        about: "the tiers that this host admits; without it, all of them",
    },
    Field {
        key: HostKey::Tiers,
        name: "tiers",
        shape: Shape::MapOfWords(&Tier::NAMES, || crate::repo::schema::object(&GRANT)),
        presence: Optional,
        about: "what each tier gives on this host, where it differs",
    },
];

/// The keys of what a tier gives.
#[derive(Clone, Copy, Debug)]
pub enum GrantKey {
    /// Supplementary groups.
    Groups,
    /// Login shell.
    Shell,
    /// Whether an instance runs.
    Instance,
}

/// The fields of what a tier gives.
pub static GRANT: [Field<GrantKey>; 3] = [
    Field {
        key: GrantKey::Groups,
        name: "groups",
        shape: Shape::Texts(&names::GROUP),
        presence: Optional,
        about: "supplementary groups; replaces the list that would apply otherwise",
    },
    Field {
        key: GrantKey::Shell,
        name: "shell",
        shape: Shape::Text(&names::SHELL),
        presence: Optional,
        about: "login shell, by its absolute path",
    },
    Field {
        key: GrantKey::Instance,
        name: "instance",
        shape: Shape::Bool,
        presence: Optional,
        about: "whether each person gets an instance",
    },
];
