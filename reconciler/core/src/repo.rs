//! stub until the reader lands
#![allow(missing_docs)]
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Admin,
    PowerUser,
    NamespaceOwner,
}
impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Admin => "admin",
            Tier::PowerUser => "power-user",
            Tier::NamespaceOwner => "namespace-owner",
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeLayout {
    Single,
    Workspace,
}
#[derive(Debug)]
pub struct Person<'a> {
    pub os_user: Cow<'a, str>,
    pub authentik_user: Cow<'a, str>,
    pub k8s_user: Cow<'a, str>,
    pub tier: Tier,
    pub namespaces: Vec<Cow<'a, str>>,
}
impl Person<'_> {
    pub fn parked(&self) -> bool {
        false
    }
    pub fn expires(&self) -> Option<jiff::civil::Date> {
        None
    }
    pub fn expiry_contact(&self) -> Option<&str> {
        None
    }
    pub fn previously(&self) -> Option<&str> {
        None
    }
    pub fn adopt(&self) -> Option<u32> {
        None
    }
    pub fn uid(&self) -> Option<u32> {
        None
    }
    pub fn code_layout(&self) -> CodeLayout {
        CodeLayout::Single
    }
    pub fn repos(&self) -> &[String] {
        &[]
    }
    pub fn claude_auth(&self) -> bool {
        true
    }
}
#[derive(Debug)]
pub struct Roster<'a> {
    pub people: Vec<Person<'a>>,
}
#[derive(Debug)]
pub struct Grant {
    pub groups: Vec<String>,
    pub shell: String,
    pub instance: bool,
}
#[derive(Debug)]
pub struct GrantChange {
    pub groups: Option<Vec<String>>,
    pub shell: Option<String>,
    pub instance: Option<bool>,
}
#[derive(Debug)]
pub struct Tiers {
    pub admin: Grant,
    pub power_user: Grant,
    pub namespace_owner: Grant,
}
impl Tiers {
    pub fn get(&self, t: Tier) -> &Grant {
        match t {
            Tier::Admin => &self.admin,
            Tier::PowerUser => &self.power_user,
            Tier::NamespaceOwner => &self.namespace_owner,
        }
    }
}
#[derive(Debug)]
pub struct HostFile {
    pub admits: Option<BTreeSet<Tier>>,
    pub tiers: BTreeMap<Tier, GrantChange>,
}
#[derive(Debug)]
pub struct StateRepo<'a> {
    pub roster: Roster<'a>,
    pub tiers: Tiers,
    pub hosts: BTreeMap<String, HostFile>,
}
