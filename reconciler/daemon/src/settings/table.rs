//! First stage: one file, every value with its place. Knows tables and shapes, and no key.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use muster_core::repo::names::did_you_mean;
use toml::de::{DeTable, DeValue};

use super::place::{At, Place, Problem};
use super::section::Section;

type Spanned<'i> = toml::Spanned<DeValue<'i>>;

/// The file that is being read, and what is wrong in it.
pub(super) struct Reader<'r> {
    file: &'r Arc<str>,
    text: &'r str,
    problems: &'r mut Vec<Problem>,
}

impl<'r> Reader<'r> {
    /// Takes a file apart; what is not TOML is a problem, and the rest of it is read all the same.
    pub(super) fn open(
        file: &'r Arc<str>,
        text: &'r str,
        problems: &'r mut Vec<Problem>,
    ) -> (Self, Table<'r>) {
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = error.span().map_or_else(
                || Place::of_file(file),
                |span| Place::of_span(file, text, &span),
            );
            problems.push(Problem::new(place, error.message().to_owned()));
        }
        let reader = Self {
            file,
            text,
            problems,
        };
        (reader, Table::new("", root.into_inner()))
    }

    fn place(&self, span: &Range<usize>) -> Place {
        Place::of_span(self.file, self.text, span)
    }

    /// Complains of what begins at `span`.
    fn complain(&mut self, span: &Range<usize>, problem: impl Into<String>, help: String) {
        let problem = Problem::new(self.place(span), problem).help(help);
        self.problems.push(problem);
    }

    fn wrong_type(&mut self, key: &str, wanted: &str, found: &Spanned<'_>) {
        let place = self.place(&found.span());
        let found = found.get_ref().type_str();
        self.problems.push(Problem::new(
            place,
            format!("`{key}` must be {wanted}, not {found}"),
        ));
    }
}

/// A table out of which known keys are taken; what is left at the end is unknown.
pub(super) struct Table<'i> {
    /// The section's name, empty for the file itself.
    name: &'static str,
    left: BTreeMap<String, (Range<usize>, Spanned<'i>)>,
    known: Vec<&'static str>,
}

impl<'i> Table<'i> {
    fn new(name: &'static str, table: DeTable<'i>) -> Self {
        let left = table
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), (key.span(), value)))
            .collect();
        Self {
            name,
            left,
            known: Vec::new(),
        }
    }

    /// Reads the section `name`, to its last key.
    pub(super) fn section<S: Section>(&mut self, reader: &mut Reader<'_>, name: &'static str) -> S {
        self.below(reader, name, name)
    }

    /// The same of a table that people write as `[called]`.
    pub(super) fn below<S: Section>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        called: &'static str,
    ) -> S {
        self.known.push(name);
        let table = match self.left.remove(name) {
            None => DeTable::new(),
            Some((_, value)) if value.get_ref().is_table() => match value.into_inner() {
                DeValue::Table(table) => table,
                _ => unreachable!("looked at one line above"),
            },
            Some((_, value)) => {
                reader.wrong_type(name, &format!("a section: write [{called}]"), &value);
                DeTable::new()
            }
        };
        let mut table = Table::new(called, table);
        let section = S::read(&mut table, reader);
        table.refuse_the_rest(reader);
        section
    }

    /// Reads each of the sections `[[name]]`, to its last key, with the place where it begins.
    pub(super) fn sections<S: Section>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
    ) -> Vec<At<S>> {
        self.known.push(name);
        let Some((_, value)) = self.left.remove(name) else {
            return Vec::new();
        };
        let items = value.get_ref().as_array();
        if !items.is_some_and(|it| it.iter().all(|it| it.get_ref().is_table())) {
            let wanted = format!("a list of sections: write [[{name}]] above each");
            reader.wrong_type(name, &wanted, &value);
            return Vec::new();
        }
        let DeValue::Array(items) = value.into_inner() else {
            unreachable!("looked at one line above");
        };
        let tables = items.into_iter().map(|item| {
            let place = reader.place(&item.span());
            let DeValue::Table(table) = item.into_inner() else {
                unreachable!("looked at above");
            };
            let mut table = Table::new(name, table);
            let value = S::read(&mut table, reader);
            table.refuse_the_rest(reader);
            At { value, place }
        });
        tables.collect()
    }

    /// The value of a key that the section knows.
    pub(super) fn take<T: Shape>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Option<At<T>> {
        self.known.push(key);
        let (_, value) = self.left.remove(key)?;
        T::read(reader, key, &value)
    }

    /// The values of all keys, for a section that has no names of its own.
    pub(super) fn take_every<T: Shape>(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> BTreeMap<String, At<T>> {
        std::mem::take(&mut self.left)
            .into_iter()
            .filter_map(|(key, (_, value))| T::read(reader, &key, &value).map(|it| (key, it)))
            .collect()
    }

    /// Refuses the sections `[name.…]`, or `[name]`, each with `problem` and what `help` says of it.
    pub(super) fn refuse_sections(
        &mut self,
        reader: &mut Reader<'_>,
        name: &str,
        problem: &str,
        help: impl Fn(&str) -> String,
    ) {
        let Some((span, value)) = self.left.remove(name) else {
            return;
        };
        let below = value.get_ref().as_table().into_iter().flatten();
        let named: Vec<_> = below
            .filter(|(_, value)| value.get_ref().is_table())
            .collect();
        if named.is_empty() {
            reader.complain(&span, problem, help(&format!("[{name}]")));
        }
        for (key, _) in named {
            let key_text = key.get_ref();
            let is_bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            let section = if !key_text.is_empty() && key_text.bytes().all(is_bare) {
                format!("[{name}.{key_text}]")
            } else {
                format!("[{name}.{key_text:?}]")
            };
            reader.complain(&key.span(), problem, help(&section));
        }
    }

    /// Complains of every key that was not taken.
    pub(super) fn refuse_the_rest(self, reader: &mut Reader<'_>) {
        let Self { name, left, known } = self;
        for (key, (span, _)) in left {
            let what = if name.is_empty() {
                format!("there is no section `{key}`")
            } else {
                format!("[{name}] has no key `{key}`")
            };
            let help = match did_you_mean(&key, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it is one of: {}", known.join(", ")),
            };
            reader.complain(&span, what, help);
        }
    }
}

/// A shape that a value can have.
pub(super) trait Shape: Sized {
    /// Reads one; another shape is a problem.
    fn read(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Self>>;
}

impl Shape for String {
    fn read(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Self>> {
        let text = value.get_ref().as_str().map(str::to_owned);
        shaped(reader, key, value, "a string in quotes", text)
    }
}

impl Shape for bool {
    fn read(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Self>> {
        shaped(
            reader,
            key,
            value,
            "true or false",
            value.get_ref().as_bool(),
        )
    }
}

impl Shape for i64 {
    fn read(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Self>> {
        let written = value.get_ref().as_integer();
        let number = written.map(|it| (it, i64::from_str_radix(it.as_str(), it.radix()).ok()));
        if let Some((written, None)) = number {
            // It is one, and no setting takes one of more than 64 bits.
            let problem = format!("`{key}` is out of range: {}", written.as_str());
            reader.complain(
                &value.span(),
                problem,
                format!("write a number of at most {}", Self::MAX),
            );
            return None;
        }
        let number = number.and_then(|(_, number)| number);
        shaped(reader, key, value, "a whole number", number)
    }
}

impl Shape for Vec<At<String>> {
    fn read(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Self>> {
        let wanted = "a list of strings, such as [\"a\", \"b\"]";
        let list = list(reader, key, value);
        shaped(reader, key, value, wanted, list)
    }
}

impl Shape for Vec<At<i64>> {
    fn read(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Self>> {
        let wanted = "the first and the last port, such as [3773, 8930]";
        let list = list(reader, key, value);
        shaped(reader, key, value, wanted, list)
    }
}

/// A word that may be written as a number: a guest's vmid or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

impl Shape for Word {
    fn read(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Self>> {
        let number = value.get_ref().as_integer().filter(|it| it.radix() == 10);
        let text = value.get_ref().as_str();
        let word = text.or(number.map(|it| it.as_str())).map(str::to_owned);
        let wanted = "a number, or a name in quotes";
        shaped(reader, key, value, wanted, word.map(Word))
    }
}

impl Shape for Vec<At<Word>> {
    fn read(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<At<Self>> {
        let wanted = "a list of numbers, or of names in quotes, such as [100, \"web1\"]";
        let list = list(reader, key, value);
        shaped(reader, key, value, wanted, list)
    }
}

/// What was read, with its place; a complaint where it was not what is wanted.
fn shaped<T>(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Spanned<'_>,
    wanted: &str,
    read: Option<T>,
) -> Option<At<T>> {
    let Some(read) = read else {
        reader.wrong_type(key, wanted, value);
        return None;
    };
    Some(At {
        value: read,
        place: reader.place(&value.span()),
    })
}

/// The items of a list that have the right shape; `None` when it is no list.
fn list<T: Shape>(reader: &mut Reader<'_>, key: &str, value: &Spanned<'_>) -> Option<Vec<At<T>>> {
    let items = value.get_ref().as_array()?.iter();
    Some(
        items
            .filter_map(|item| T::read(reader, key, item))
            .collect(),
    )
}
