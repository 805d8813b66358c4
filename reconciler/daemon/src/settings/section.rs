//! What a section is: its keys and how they are shown, read, overlaid and completed, all out of one table; and its checks.
//!
//! `section!` writes the table of one section, in the section's own file. `sections!` names all of them, in `mod.rs`.

use std::fmt;

use muster_core::accounts::policy::Policy;

use super::place::{At, Place, Problem};
use super::table::{Reader, Table, Word};
use super::{Ambient, Inputs};

/// What one file says in a section; every key may be left out.
pub(super) trait Section: Default {
    /// The same when all files have been read and what nobody said has its default.
    type Given;

    /// The keys in the order in which people see them.
    fn keys() -> Vec<Key>;

    /// Takes what is known out of the section's table; what it leaves there is refused.
    fn read(table: &mut Table<'_>, reader: &mut Reader<'_>) -> Self;

    /// Lays this over what earlier files said: a later value replaces an earlier one whole.
    fn laid_over(self, earlier: Self) -> Self;

    /// Puts in the defaults.
    fn complete(self) -> Self::Given;
}

/// What makes a section something that the rest of the program can rely on.
pub(super) trait Check {
    /// What the section comes to, besides its part of [`Policy`]. `()` where there is nothing else.
    type Value;

    /// Checks everything, so that all problems are told at once; `None` only where a problem was told.
    fn check(&self, checks: &mut Checks<'_>) -> Option<Self::Value>;
}

/// What the checks of all sections have in common.
pub(super) struct Checks<'c> {
    /// Every section as it was given: a few checks depend on another section.
    pub(super) inputs: &'c Inputs,
    /// What the machine says.
    pub(super) ambient: &'c Ambient,
    /// What plans and verdicts depend on, as far as it is known; each section adds its part.
    pub(super) policy: Policy,
    /// What is wrong.
    pub(super) problems: &'c mut Vec<Problem>,
}

/// A section that occurs as often as there are executors of its kind, each with a name of its own: `[[guests]]`.
pub(super) trait Named: Section {
    /// The name, where it says one.
    fn name(&self) -> Option<&str>;

    /// The tables below it, with their keys.
    fn below() -> Vec<(&'static str, Vec<Key>)>;
}

/// All sections of one such kind, each where it begins.
#[derive(Debug)]
pub(super) struct Several<S>(pub(super) Vec<At<S>>);

impl<S> Default for Several<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Named> Several<S> {
    /// Lays each over the one of its name that earlier files had; others are added.
    pub(super) fn laid_over(self, earlier: Self) -> Self {
        let mut all = earlier.0;
        let before = all.len();
        for At { value, place } in self.0 {
            // Two of one name in one file are a mistake, which the check tells.
            let same = all[..before]
                .iter()
                .position(|it| value.name().is_some() && it.value.name() == value.name());
            match same {
                Some(at) => {
                    let earlier = std::mem::take(&mut all[at].value);
                    all[at].value = value.laid_over(earlier);
                }
                None => all.push(At { value, place }),
            }
        }
        Self(all)
    }

    /// Puts in the defaults.
    pub(super) fn complete(self) -> Vec<At<S::Given>> {
        let each = self.0.into_iter();
        each.map(|At { value, place }| At {
            value: value.complete(),
            place,
        })
        .collect()
    }
}

/// Checks one of several sections; where it begins is known.
pub(super) trait CheckOne {
    /// What it comes to.
    type Value;

    /// By what the values are put in order.
    fn name_of(value: &Self::Value) -> &str;

    /// Checks all of it, so that all problems are told at once; `None` only where a problem was told.
    fn check_one(&self, place: &Place, checks: &mut Checks<'_>) -> Option<Self::Value>;
}

/// Checks all of them, before the first that fails ends it.
pub(super) fn check_each<G: CheckOne>(
    all: &[At<G>],
    checks: &mut Checks<'_>,
) -> Option<Vec<G::Value>> {
    let each = all.iter();
    let checked: Vec<Option<G::Value>> = each
        .map(|At { value, place }| value.check_one(place, checks))
        .collect();
    let mut checked: Vec<G::Value> = checked.into_iter().collect::<Option<_>>()?;
    checked.sort_by(|a, b| G::name_of(a).cmp(G::name_of(b)));
    Some(checked)
}

/// What stands above keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    /// A section.
    Once(&'static str),
    /// A section of which there may be several.
    Each(&'static str),
    /// A table below such a section.
    Below(&'static str, &'static str),
}

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(name) => write!(f, "[{name}]"),
            Self::Each(name) => write!(f, "[[{name}]]"),
            Self::Below(name, below) => write!(f, "[{name}.{below}]"),
        }
    }
}

/// How a key is documented, in the settings file that the package installs.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Lines of the comment above it, each as it follows the `#`. None where the comment above speaks of this key too.
    pub(super) explained: &'static [&'static str],
    /// The value that is shown, as TOML.
    pub(super) shown: String,
    pub(super) standing: Standing,
}

/// What the value is that is shown for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// What holds when nobody says anything.
    Default,
    /// What then holds as a rule; the comment says on what it depends.
    Usual,
    /// An example; there is no default.
    Example,
    /// An example that excludes the one before it.
    Or,
}

/// A value written in the program that a file could have had as well.
pub(super) trait Literal<T> {
    /// As a file would have it.
    fn toml(&self) -> String;
    /// As it is read.
    fn value(&self) -> T;
}

impl Literal<String> for &str {
    fn toml(&self) -> String {
        format!("{self:?}")
    }

    fn value(&self) -> String {
        (*self).to_owned()
    }
}

impl Literal<i64> for i64 {
    fn toml(&self) -> String {
        self.to_string()
    }

    fn value(&self) -> i64 {
        *self
    }
}

impl Literal<bool> for bool {
    fn toml(&self) -> String {
        self.to_string()
    }

    fn value(&self) -> bool {
        *self
    }
}

impl<const N: usize> Literal<Vec<At<String>>> for [&str; N] {
    fn toml(&self) -> String {
        format!("{self:?}")
    }

    fn value(&self) -> Vec<At<String>> {
        self.iter().map(|it| At::default_of(it.value())).collect()
    }
}

impl Literal<Word> for i64 {
    fn toml(&self) -> String {
        self.to_string()
    }

    fn value(&self) -> Word {
        Word(self.to_string())
    }
}

impl<const N: usize> Literal<Vec<At<Word>>> for [i64; N] {
    fn toml(&self) -> String {
        format!("{self:?}")
    }

    fn value(&self) -> Vec<At<Word>> {
        self.iter().map(|it| At::default_of(it.value())).collect()
    }
}

/// The table of one section: for each key the comment that explains it, its shape, and the value that is shown.
///
/// Before the value stands one word:
///
/// - `default`: it holds when nobody says anything, and the check always has a value.
/// - `usual`: it then holds as a rule, and the check finds out what holds.
/// - `example`: there is no default.
/// - `or`: an example that excludes the one before it.
macro_rules! section {
    ($($(#[doc = $line:literal])* $key:ident: $shape:ty, $standing:ident $shown:expr;)*) => {
        /// What one file says in this section.
        #[derive(Debug, Default)]
        pub(super) struct Fragment {
            $($key: Option<$crate::settings::place::At<$shape>>,)*
        }

        /// What all files together say in this section, and else the defaults.
        #[derive(Debug)]
        pub(super) struct Given {
            $($key: $crate::settings::section::given!($standing $shape),)*
        }

        impl $crate::settings::section::Section for Fragment {
            type Given = Given;

            fn keys() -> Vec<$crate::settings::section::Key> {
                vec![$($crate::settings::section::Key {
                    name: stringify!($key),
                    explained: &[$($line),*],
                    shown: $crate::settings::section::Literal::<$shape>::toml(&$shown),
                    standing: $crate::settings::section::standing!($standing),
                }),*]
            }

            fn read(
                table: &mut $crate::settings::table::Table<'_>,
                reader: &mut $crate::settings::table::Reader<'_>,
            ) -> Self {
                Self { $($key: table.take(reader, stringify!($key)),)* }
            }

            fn laid_over(self, earlier: Self) -> Self {
                Self { $($key: self.$key.or(earlier.$key),)* }
            }

            fn complete(self) -> Given {
                Given { $($key: $crate::settings::section::complete!($standing $shape, self.$key, $shown),)* }
            }
        }
    };
}

/// The type of a key after all files have been read.
macro_rules! given {
    (default $shape:ty) => { $crate::settings::place::At<$shape> };
    ($other:ident $shape:ty) => { Option<$crate::settings::place::At<$shape>> };
}

/// A key's value, or its default where it has one.
macro_rules! complete {
    (default $shape:ty, $given:expr, $shown:expr) => {
        $given.unwrap_or_else(|| {
            $crate::settings::place::At::default_of(
                $crate::settings::section::Literal::<$shape>::value(&$shown),
            )
        })
    };
    ($other:ident $shape:ty, $given:expr, $shown:expr) => {
        $given
    };
}

/// The word before the value that is shown.
macro_rules! standing {
    (default) => {
        $crate::settings::section::Standing::Default
    };
    (usual) => {
        $crate::settings::section::Standing::Usual
    };
    (example) => {
        $crate::settings::section::Standing::Example
    };
    (or) => {
        $crate::settings::section::Standing::Or
    };
}

/// All sections, in the order in which people see them, each with what it comes to. One without such a type is policy
/// as a whole. Behind the `;` stand those of which there may be several.
macro_rules! sections {
    ($($name:ident $(: $value:ty)?,)*; $($many:ident: $one:ty,)*) => {
        /// Checked settings: nothing in them needs a second look.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings {
            /// What plans and verdicts depend on, out of several sections.
            pub policy: Policy,
            $($(
                #[doc = concat!("`[", stringify!($name), "]`, without its part of the policy.")]
                pub $name: $value,
            )?)*
            $(
                #[doc = concat!("Each `[[", stringify!($many), "]]`, in the order of their names.")]
                pub $many: Vec<$one>,
            )*
            /// Whether the accounts of this machine are kept: they are, unless settings speak of executors of other kinds and name
            /// no `[host]`.
            pub keeps_host: bool,
            /// Where the root of trust is: beside the settings, and not to be set elsewhere.
            pub trust: PathBuf,
        }

        /// First stage: what one file says, every value with its place.
        #[derive(Debug, Default)]
        struct Fragments {
            $($name: $name::Fragment,)*
            $($many: $crate::settings::section::Several<$many::Whole>,)*
        }

        /// Second stage: what all files together say, and else the defaults.
        #[derive(Debug)]
        struct Inputs {
            $($name: $name::Given,)*
            $($many: Vec<$crate::settings::place::At<$many::WholeGiven>>,)*
        }

        impl Fragments {
            /// Reads one file; a section or key that nobody knows is a problem.
            fn read(top: &mut Table<'_>, reader: &mut Reader<'_>) -> Self {
                Self {
                    $($name: top.section(reader, stringify!($name)),)*
                    $($many: $crate::settings::section::Several(top.sections(reader, stringify!($many))),)*
                }
            }

            /// Lays this file over the earlier ones.
            fn laid_over(self, earlier: Self) -> Self {
                Self {
                    $($name: self.$name.laid_over(earlier.$name),)*
                    $($many: self.$many.laid_over(earlier.$many),)*
                }
            }

            /// Puts in the defaults.
            fn complete(self) -> Inputs {
                Inputs {
                    $($name: self.$name.complete(),)*
                    $($many: self.$many.complete(),)*
                }
            }

            /// The keys of each section, and of the tables below it.
            fn keys() -> Vec<(Heading, Vec<Key>)> {
                let mut all = vec![$((Heading::Once(stringify!($name)), $name::Fragment::keys()),)*];
                $({
                    all.push((Heading::Each(stringify!($many)), $many::Whole::keys()));
                    all.extend($many::Whole::below().into_iter().map(|(below, keys)| {
                        (Heading::Below(stringify!($many), below), keys)
                    }));
                })*
                all
            }
        }

        impl Inputs {
            /// Third stage: checks every section; `None` where a problem was told. `trust` is where the root of trust is.
            fn check(
                &self,
                ambient: &Ambient,
                trust: PathBuf,
                problems: &mut Vec<Problem>,
            ) -> Option<Settings> {
                let mut checks = Checks {
                    inputs: self,
                    ambient,
                    policy: Policy::for_host(host::NAMELESS),
                    problems,
                };
                // All of them before the first that fails ends it.
                $(let $name = self.$name.check(&mut checks);)*
                $(let $many = $crate::settings::section::check_each(&self.$many, &mut checks);)*
                $($name.as_ref()?;)*
                Some(Settings {
                    $($many: $many?,)*
                    keeps_host: self.keeps_host(),
                    $($(
                        $name: { let value: $value = $name?; value },
                    )?)*
                    policy: checks.policy,
                    trust,
                })
            }
        }
    };
}

pub(super) use {complete, given, section, sections, standing};
