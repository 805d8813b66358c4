//! What `sudoers(5)` says: who is mentioned in it, and which of its rules plainly give root.
//!
//! Two readings of one text, for two questions that are never mixed (see [`super::root`]). [`Sudoers::mentions`] errs
//! towards yes: a name counts wherever a person could stand, whatever the rule then allows, denied or not. [`Sudoers::grants`]
//! errs towards no: a rule counts where all of it is understood, and one that is not voids what it might be about.
//!
//! Text in, facts out. Whoever has the files hands over their text with [`lines`], puts what is included in its place,
//! and gives all entries to [`Sudoers::of`].
//!
//! | what stands there | mentioned | gives root for sure |
//! |---|---|---|
//! | a user, `#uid`, `%group`, `%#gid`, in any case of letters (sudo compares so) | yes | by a rule `ALL=(ALL[:ALL]) [NOPASSWD:] ALL` or `(root)` |
//! | a member of a `User_Alias` or `Runas_Alias`, used or not, or of a runas list | yes | as the alias is used |
//! | `ALL` as a user | everybody, unless the target's password is asked for (`Defaults targetpw`, as openSUSE ships) | yes |
//! | a netgroup, a group of another name service (`%:x`) | nobody | no |
//! | a command, a host, a comment | nobody | – |
//! | a line that is not understood | every word of it | no, for whom it mentions |
//! | an include that cannot be read | nobody; it is told in [`Sudoers::unread`] | no |

mod book;
mod text;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use self::book::Book;
use self::text::Spec;

pub use self::text::lines;

/// One line of a file of sudoers, continued lines joined and comments left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `@include` or `#include`: the path of a file that stands in this place.
    Include(String),
    /// `@includedir` or `#includedir`: the path of a directory whose files stand in this place.
    IncludeDir(String),
    /// Anything else.
    Entry(String),
}

/// Whether sudo reads a file of this name in a directory that is included: not one with a dot or with `~` at its end.
pub fn is_read_in_directory(name: &str) -> bool {
    !name.contains('.') && !name.ends_with('~')
}

/// Everything that the files of sudoers say, as far as it matters here. Commands and hosts are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sudoers {
    /// Who is mentioned.
    pub mentioned: Mentioned,
    /// The rules that give root, or may take it, in the order of the files: the last one that concerns somebody counts.
    pub rules: Vec<Rule>,
    /// Whether the password that is asked for is another's: `targetpw`, `rootpw` or `runaspw`.
    pub asks_anothers_password: bool,
    /// What could not be read of what is included, and why.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unread: BTreeSet<String>,
}

/// Who is mentioned in sudoers. Names are in lower case, as sudo compares them without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mentioned {
    /// Users, by name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<String>,
    /// Users, by uid.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub uids: BTreeSet<u32>,
    /// Groups, by name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Groups, by gid.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub gids: BTreeSet<u32>,
    /// Whether a rule is for `ALL` users.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everybody: bool,
}

/// A rule that gives root to somebody, or may take it from somebody who was given it before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whom it is about.
    pub users: Vec<Item>,
    /// What it does.
    pub effect: RuleEffect,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// Gives root to who knows the password that is asked for.
    WithPassword,
    /// Gives root, and asks for no password.
    WithoutPassword,
    /// Denies something, or is not understood: root is not sure any more.
    Void,
}

/// One of those a rule is about; of several that fit, the last one counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Whether it takes out what it fits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub negated: bool,
    /// Whom it fits.
    pub who: Who,
}

/// Whom an entry of a list of users fits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// `ALL`.
    Everybody,
    /// A name, in lower case.
    User(String),
    /// `#uid`.
    Uid(u32),
    /// `%group`, in lower case.
    Group(String),
    /// `%#gid`.
    Gid(u32),
    /// The members of an alias.
    Alias(Vec<Item>),
    /// Netgroups and whatever else cannot be told from the account databases.
    Unknown,
}

/// Somebody who is looked for in sudoers.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name.
    pub name: &'a str,
    /// The uid.
    pub uid: u32,
    /// The gids of all groups, the primary one too.
    pub gids: &'a [u32],
    /// The names of all groups, the primary one too.
    pub groups: &'a [&'a str],
}

impl Sudoers {
    /// Reads the entries of all files, each included one in its place. Never fails: what is not understood counts as
    /// the table above says.
    pub fn of<'t>(entries: impl Iterator<Item = &'t str>, unread: BTreeSet<String>) -> Self {
        let entries: Vec<Spec> = entries.map(Spec::read).collect();
        let mut book = Book::default();
        entries.iter().for_each(|it| book.take_definitions(it));
        let mut sudoers = Self {
            asks_anothers_password: book.target_password,
            unread,
            ..Self::default()
        };
        entries
            .iter()
            .for_each(|it| book.take_rules(it, &mut sudoers));
        sudoers
    }

    /// Whether somebody is mentioned: by name, uid, or a group.
    pub fn mentions(&self, asked: &Asked<'_>) -> bool {
        let Mentioned {
            users,
            uids,
            groups,
            gids,
            everybody,
        } = &self.mentioned;
        *everybody
            || users.contains(lower(asked.name).as_ref())
            || uids.contains(&asked.uid)
            || asked.gids.iter().any(|it| gids.contains(it))
            || asked
                .groups
                .iter()
                .any(|it| groups.contains(lower(it).as_ref()))
    }

    /// What the rules surely give to somebody: nothing, root with a password, or root without one.
    pub fn grants(&self, asked: &Asked<'_>) -> Option<RuleEffect> {
        let mut given = None;
        for Rule { users, effect } in &self.rules {
            let fits = fits(users, asked);
            given = match (effect, fits) {
                (_, Fit::No) => given,
                (RuleEffect::Void, Fit::Yes | Fit::Perhaps) => None,
                (RuleEffect::WithPassword | RuleEffect::WithoutPassword, Fit::Perhaps) => None,
                (RuleEffect::WithPassword | RuleEffect::WithoutPassword, Fit::Yes) => Some(*effect),
            };
        }
        given
    }
}

/// A name as it is kept here.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|it| it.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether a list of users fits somebody.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    Perhaps,
}

fn fits(items: &[Item], asked: &Asked<'_>) -> Fit {
    let mut fit = Fit::No;
    for Item { negated, who } in items {
        let is_it = |yes: bool| if yes { Fit::Yes } else { Fit::No };
        let this = match who {
            Who::Everybody => Fit::Yes,
            Who::User(name) => is_it(name.eq_ignore_ascii_case(asked.name)),
            Who::Uid(uid) => is_it(*uid == asked.uid),
            Who::Group(group) => {
                let mut groups = asked.groups.iter();
                is_it(groups.any(|it| it.eq_ignore_ascii_case(group)))
            }
            Who::Gid(gid) => is_it(asked.gids.contains(gid)),
            Who::Alias(items) => fits(items, asked),
            Who::Unknown => Fit::Perhaps,
        };
        fit = match (this, negated) {
            (Fit::No, _) => fit,
            (Fit::Perhaps, false) if fit == Fit::Yes => fit,
            (Fit::Perhaps, true) if fit == Fit::No => fit,
            (Fit::Perhaps, _) => Fit::Perhaps,
            (Fit::Yes, false) => Fit::Yes,
            (Fit::Yes, true) => Fit::No,
        };
    }
    fit
}

#[cfg(test)]
mod tests;
