//! A verb is one row: its word, whether settings can declare it benign, how many of it are counted, and what undoes it.

/// Whether a host's settings can declare a privileged step of a verb benign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// They can, verb by verb.
    Declarable,
    /// Never, whatever they say: the floor.
    Floor,
    /// There is nothing to declare: what of it is not benign is so by what it touches.
    Fixed,
}

/// What is said of a verb.
#[derive(Debug, PartialEq, Eq)]
pub struct VerbRow {
    /// The word that is signed, shown and journaled: `user.create`.
    pub word: &'static str,
    /// Whether settings can declare it benign.
    pub reach: Reach,
    /// What is done, in a count: `create`.
    pub does: &'static str,
    /// To what, once: `account`.
    pub one: &'static str,
    /// And more often: `accounts`.
    pub many: &'static str,
    /// What takes a step of it back.
    pub undone_by: &'static str,
}

impl VerbRow {
    /// How many steps of it there are, in words: `create 12 accounts`.
    pub fn tally(&self, number: usize) -> String {
        let noun = if number == 1 { self.one } else { self.many };
        format!("{} {number} {noun}", self.does)
    }
}

/// Makes a room's verbs out of its table: the type, the rows, and the ways from a word to a verb and back.
macro_rules! verbs {
    (
        $(#[$about:meta])*
        $($verb:ident = $word:literal, $reach:ident, $does:literal, $one:literal, $many:literal, $undone_by:literal;)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum Verb {
            $(
                #[doc = concat!("`", $word, "`")]
                #[serde(rename = $word)]
                $verb,
            )*
        }

        /// The rows, in the order of the verbs.
        pub static VERBS: &[$crate::verb::VerbRow] = &[$($crate::verb::VerbRow {
            word: $word,
            reach: $crate::verb::Reach::$reach,
            does: $does,
            one: $one,
            many: $many,
            undone_by: $undone_by,
        }),*];

        impl Verb {
            /// All of them, in the order of the rows.
            pub const ALL: &[Self] = &[$(Self::$verb),*];

            /// What is said of it.
            pub fn row(self) -> &'static $crate::verb::VerbRow {
                &VERBS[self as usize]
            }

            /// The word, as signed and shown.
            pub fn word(self) -> &'static str {
                self.row().word
            }
        }

        impl std::fmt::Display for Verb {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(crate) use verbs;

#[cfg(test)]
mod tests {
    use crate::accounts::verbs::Verb;
    use crate::ink::count;

    #[test]
    fn one_is_one_and_more_are_more() {
        assert_eq!(count(1, "step"), "1 step");
        assert_eq!(count(0, "step"), "0 steps");
        for (verb, number, tally) in [
            (Verb::UserCreate, 1, "create 1 account"),
            (Verb::DispatchAdd, 2, "add 2 dispatch entries"),
            (Verb::PortsAssign, 2, "assign 2 sets of ports"),
            (Verb::KeysRestore, 3, "put back 3 files of authorized keys"),
        ] {
            assert_eq!(verb.row().tally(number), tally);
        }
    }
}
