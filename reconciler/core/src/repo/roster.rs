//! The people.

use std::borrow::Cow;
use std::ops::Deref;

use jiff::civil::Date;

use super::tiers::Tier;
use super::value::At;

/// The people of a state repository, checked.
///
/// A roster borrows from the bytes of its file, so that a million people cost little more than those bytes.
#[derive(Debug)]
pub struct Roster<'a> {
    /// Everybody, in the order of the file (R9).
    pub people: Vec<Person<'a>>,
    /// Places in `people`, sorted by os_user.
    pub(super) by_name: Vec<u32>,
}

impl<'a> Roster<'a> {
    /// The person whose key is `os_user`.
    pub fn get(&self, os_user: &str) -> Option<&Person<'a>> {
        let found = self
            .by_name
            .binary_search_by(|&index| self.at(index).os_user.as_ref().cmp(os_user));
        found.ok().map(|place| self.at(self.by_name[place]))
    }

    /// Everybody, sorted by os_user.
    pub fn sorted(&self) -> impl ExactSizeIterator<Item = &Person<'a>> + Clone {
        self.by_name.iter().map(|&index| self.at(index))
    }

    fn at(&self, index: u32) -> &Person<'a> {
        &self.people[index as usize]
    }
}

/// One person. What few people have stands in a box of its own, behind the accessors.
#[derive(Clone, Debug)]
pub struct Person<'a> {
    /// The pinned key, and the name of the account.
    pub os_user: Cow<'a, str>,
    /// Login at the identity provider.
    pub authentik_user: Cow<'a, str>,
    /// Key in the cluster.
    pub k8s_user: Cow<'a, str>,
    /// What the person is given.
    pub tier: Tier,
    /// The namespaces that the person owns, in the order of the file (R9).
    pub namespaces: Namespaces<'a>,
    /// Where the key stands in the file, in bytes from its start.
    pub at: u32,
    pub(super) more: Option<Box<More<'a>>>,
}

/// How a person's code is laid out (R26).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodeLayout {
    /// One checkout.
    #[default]
    Single,
    /// A workspace of several.
    Workspace,
}

impl CodeLayout {
    /// As it is written in the roster.
    pub fn as_str(self) -> &'static str {
        match self {
            CodeLayout::Single => "single",
            CodeLayout::Workspace => "workspace",
        }
    }
}

/// What few people have.
#[derive(Clone, Debug, Default)]
pub(super) struct More<'a> {
    pub(super) parked: bool,
    pub(super) disabled: bool,
    pub(super) claude_auth: Option<bool>,
    pub(super) code_layout: Option<CodeLayout>,
    pub(super) uid: Option<At<u32>>,
    pub(super) adopt: Option<At<u32>>,
    pub(super) expires: Option<At<Date>>,
    pub(super) expiry_contact: Option<At<Cow<'a, str>>>,
    pub(super) previously: Option<At<Cow<'a, str>>>,
    pub(super) repos: Option<At<Vec<Cow<'a, str>>>>,
    pub(super) forge_user: Option<At<Cow<'a, str>>>,
}

impl<'a> Person<'a> {
    /// Whether the person is parked by the roster itself (R27). One whose last day has passed is disabled by the plan.
    pub fn parked(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.parked)
    }

    /// Whether the roster itself shuts the person's login. That of one whose last day has passed is shut by the plan.
    pub fn disabled(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.disabled)
    }

    /// The last valid day, in UTC.
    pub fn expires(&self) -> Option<Date> {
        self.more.as_ref()?.expires.map(|expires| expires.value)
    }

    /// Who is told before the last valid day.
    pub fn expiry_contact(&self) -> Option<&str> {
        self.more
            .as_ref()?
            .expiry_contact
            .as_ref()
            .map(|contact| &*contact.value)
    }

    /// The account at the forge whose answers are this person's.
    pub fn forge_user(&self) -> Option<&str> {
        let more = self.more.as_ref()?;
        more.forge_user.as_ref().map(|name| &*name.value)
    }

    /// The os_user that this person had before.
    pub fn previously(&self) -> Option<&str> {
        self.more
            .as_ref()?
            .previously
            .as_ref()
            .map(|name| &*name.value)
    }

    /// The user id of the account that is to be taken over.
    pub fn adopt(&self) -> Option<u32> {
        self.more.as_ref()?.adopt.map(|uid| uid.value)
    }

    /// The user id that the roster asks for, by `uid` or by `adopt`.
    pub fn uid(&self) -> Option<u32> {
        let more = self.more.as_ref()?;
        more.uid.or(more.adopt).map(|uid| uid.value)
    }

    /// How code is laid out (R26).
    pub fn code_layout(&self) -> CodeLayout {
        self.more
            .as_ref()
            .and_then(|more| more.code_layout)
            .unwrap_or_default()
    }

    /// The repositories in the workspace, beside the implied one (R26).
    pub fn repos(&self) -> &[Cow<'a, str>] {
        self.more
            .as_ref()
            .and_then(|more| more.repos.as_ref())
            .map_or(&[], |repos| &repos.value)
    }

    /// Whether the instance gets the assistant's login (R27): never while the person is parked or disabled.
    pub fn claude_auth(&self) -> bool {
        !self.parked()
            && !self.disabled()
            && self
                .more
                .as_ref()
                .and_then(|more| more.claude_auth)
                .unwrap_or(true)
    }

    /// Whether both rows say the same, wherever they stand.
    pub fn says_the_same(&self, other: &Person<'_>) -> bool {
        let facts = |person: &Person<'_>| {
            let Person {
                os_user,
                authentik_user,
                k8s_user,
                tier,
                namespaces,
                at: _,
                more,
            } = person;
            let more = more.as_deref().cloned().unwrap_or_default();
            let More {
                parked,
                disabled,
                claude_auth,
                code_layout,
                uid,
                adopt,
                expires,
                expiry_contact,
                previously,
                repos,
                forge_user,
            } = more;
            format!(
                "{os_user:?} {authentik_user:?} {k8s_user:?} {tier:?} {:?} {parked} {disabled} {claude_auth:?} {code_layout:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                &namespaces[..],
                uid.map(|it| it.value),
                adopt.map(|it| it.value),
                expires.map(|it| it.value),
                expiry_contact.map(|it| it.value),
                previously.map(|it| it.value),
                repos.map(|it| it.value),
                forge_user.map(|it| it.value),
            )
        };
        facts(self) == facts(other)
    }
}

/// A person's namespaces; nearly everybody has at most one, which then needs no allocation.
#[derive(Clone, Debug, Default)]
pub struct Namespaces<'a>(Few<'a>);

#[derive(Clone, Debug, Default)]
enum Few<'a> {
    #[default]
    None,
    One(Cow<'a, str>),
    Many(Box<[Cow<'a, str>]>),
}

impl<'a> Deref for Namespaces<'a> {
    type Target = [Cow<'a, str>];

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Few::None => &[],
            Few::One(name) => std::slice::from_ref(name),
            Few::Many(names) => names,
        }
    }
}

impl<'a> FromIterator<Cow<'a, str>> for Namespaces<'a> {
    fn from_iter<I: IntoIterator<Item = Cow<'a, str>>>(names: I) -> Self {
        let mut names = names.into_iter();
        let (first, second) = (names.next(), names.next());
        Self(match (first, second) {
            (None, _) => Few::None,
            (Some(one), None) => Few::One(one),
            (Some(first), Some(second)) => {
                Few::Many([first, second].into_iter().chain(names).collect())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_stays_small() {
        // A million people must fit beside the text they borrow from.
        assert!(
            size_of::<Person<'_>>() <= 112,
            "{}",
            size_of::<Person<'_>>()
        );
    }

    #[test]
    fn namespaces_keep_their_order() {
        for names in [&[][..], &["a"], &["b", "a"], &["c", "b", "a"]] {
            let list: Namespaces<'_> = names.iter().map(|name| Cow::Borrowed(*name)).collect();
            assert_eq!(&list[..], names);
        }
    }
}
