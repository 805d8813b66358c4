//! Edits `roster.yaml` as text, so that every other line stays as it is, comments included (R31).
//!
//! Each edit reads the text before and after, and is refused unless exactly the intended row changed: what cannot be
//! done safely by moving lines is left to a person.

pub mod import;
pub mod membership;

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::diagnostic::{Diagnostics, Faults};
use crate::repo::{self, Person, Tier};
use crate::yaml::cursor::Cursor;
use crate::yaml::event::{EventKind, Stop};
use crate::yaml::{self, scalar};

/// Why a roster was not edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The roster is wrong as it is.
    #[error("roster.yaml has errors; mend them first")]
    Roster(#[source] Diagnostics),
    /// The row is there already.
    #[error("'{0}' is in the roster already")]
    Present(String),
    /// The row is not there.
    #[error("'{0}' is not in the roster")]
    Absent(String),
    /// The new row breaks a rule.
    #[error("with this change the roster would have errors")]
    Result(#[source] Diagnostics),
    /// The rows do not stand on lines of their own.
    #[error(
        "the roster is written in a way that cannot be edited line by line; give each person lines of their own under `users:`"
    )]
    Layout,
}

/// A row to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPerson {
    /// The pinned key.
    pub os_user: String,
    /// Login at the identity provider.
    pub authentik_user: String,
    /// Key in the cluster.
    pub k8s_user: String,
    /// What the person is given.
    pub tier: Tier,
    /// Namespaces, for a namespace-owner.
    pub namespaces: Vec<String>,
    /// How code is laid out.
    pub code_layout: repo::CodeLayout,
}

impl NewPerson {
    /// The row, as a flow map on one line.
    fn line(&self, indent: usize) -> String {
        let Self {
            os_user,
            authentik_user,
            k8s_user,
            tier,
            namespaces,
            code_layout,
        } = self;
        let mut fields = format!(
            "authentik_user: {}, k8s_user: {}, tier: {tier}",
            word(authentik_user),
            word(k8s_user)
        );
        if !namespaces.is_empty() {
            let names: Vec<String> = namespaces.iter().map(|name| word(name)).collect();
            fields.push_str(&format!(", namespaces: [{}]", names.join(", ")));
        }
        if *code_layout != repo::CodeLayout::default() {
            fields.push_str(&format!(", code_layout: {}", code_layout.as_str()));
        }
        format!("{}{}: {{{fields}}}", " ".repeat(indent), word(os_user))
    }

    fn is(&self, person: &Person<'_>) -> bool {
        let Self {
            os_user,
            authentik_user,
            k8s_user,
            tier,
            namespaces,
            code_layout,
        } = self;
        person.os_user == *os_user
            && person.authentik_user == *authentik_user
            && person.k8s_user == *k8s_user
            && person.tier == *tier
            && person.namespaces[..] == namespaces[..]
            && person.code_layout() == *code_layout
    }
}

/// Adds a row at the end of the people.
///
/// # Errors
/// [`EditError`]; a person who is there already is one.
pub fn append_person(text: &str, row: &NewPerson) -> Result<String, EditError> {
    apply(
        text,
        &Change {
            leaving: BTreeMap::new(),
            joining: vec![row.clone()],
        },
    )
}

/// Turns the row of `os_user` into comments, under a dated note.
///
/// # Errors
/// [`EditError`]; a person who is not there is one.
pub fn comment_out(
    text: &str,
    os_user: &str,
    note: &str,
    today: Date,
) -> Result<String, EditError> {
    let leaving = BTreeMap::from([(os_user.to_owned(), dated(note, today))]);
    apply(
        text,
        &Change {
            leaving,
            joining: Vec::new(),
        },
    )
}

/// Several edits that are made as one.
#[derive(Debug, Default)]
struct Change {
    /// Who is commented out, and the note that stands above.
    leaving: BTreeMap<String, String>,
    /// Who is added, in this order.
    joining: Vec<NewPerson>,
}

/// Makes a change, and makes sure that nothing else changed.
fn apply(text: &str, change: &Change) -> Result<String, EditError> {
    let Change { leaving, joining } = change;
    let before = read(text).map_err(EditError::Roster)?;
    if let Some(row) = joining
        .iter()
        .find(|row| before.get(&row.os_user).is_some())
    {
        return Err(EditError::Present(row.os_user.clone()));
    }
    if let Some(name) = leaving.keys().find(|name| before.get(name).is_none()) {
        return Err(EditError::Absent(name.clone()));
    }
    let edited = write(text, change).ok_or(EditError::Layout)?;
    let after = read(&edited).map_err(EditError::Result)?;
    let staying: Vec<&Person<'_>> = before
        .people
        .iter()
        .filter(|person| !leaving.contains_key(&*person.os_user))
        .collect();
    let is_meant = after.people.len() == staying.len() + joining.len()
        && staying
            .iter()
            .zip(&after.people)
            .all(|(before, after)| before.says_the_same(after))
        && joining
            .iter()
            .zip(&after.people[staying.len()..])
            .all(|(row, person)| row.is(person));
    if is_meant {
        Ok(edited)
    } else {
        Err(EditError::Layout)
    }
}

/// The text after the change; `None` when the rows do not stand on lines of their own.
fn write(text: &str, Change { leaving, joining }: &Change) -> Option<String> {
    let layout = Layout::of(text)?;
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    // What is put in front of a line, by that line's number.
    let mut inserted: BTreeMap<usize, Vec<String>> = BTreeMap::new();

    for RowLines {
        os_user,
        indent,
        start,
        end,
    } in &layout.rows
    {
        let Some(note) = leaving.get(os_user) else {
            continue;
        };
        inserted
            .entry(*start)
            .or_default()
            .push(format!("{}# {note}", " ".repeat(*indent)));
        for line in &mut lines[*start..*end] {
            *line = commented(line, *indent);
        }
    }
    if !joining.is_empty() {
        let (place, indent) = match &layout.users {
            Users::Missing => {
                inserted
                    .entry(lines.len())
                    .or_default()
                    .push("users:".to_owned());
                (lines.len(), INDENT)
            }
            Users::Empty { line, value } => {
                if let Some((from, to)) = value {
                    let kept = lines[*line][..*from].trim_end().to_owned();
                    lines[*line] = kept + &lines[*line][*to..];
                }
                (line + 1, INDENT)
            }
            Users::Rows => layout.rows.last().map(|row| (row.end, row.indent))?,
        };
        inserted
            .entry(place)
            .or_default()
            .extend(joining.iter().map(|row| row.line(indent)));
    }

    let mut out = String::with_capacity(text.len() + 200 * (leaving.len() + joining.len()));
    for number in 0..=lines.len() {
        for line in inserted.get(&number).into_iter().flatten() {
            // The last line of the file may have had no end.
            if !out.is_empty() && !out.ends_with('\n') {
                out.push_str(line_end);
            }
            out.push_str(line);
            out.push_str(line_end);
        }
        out.push_str(lines.get(number).map_or("", String::as_str));
    }
    Some(out)
}

/// The indentation of the first row.
const INDENT: usize = 2;

fn read(text: &str) -> Result<repo::Roster<'_>, Diagnostics> {
    repo::read_roster(repo::ROSTER, text.as_bytes()).map(|(roster, _)| roster)
}

/// A note with its day, on one line, whatever it is made of.
fn dated(note: &str, today: Date) -> String {
    let note: String = note
        .chars()
        .map(|c| {
            if crate::diagnostic::is_hidden(c) {
                ' '
            } else {
                c
            }
        })
        .collect();
    format!("{today}: {note}")
}

/// A line as a comment that starts where the row did.
fn commented(line: &str, indent: usize) -> String {
    let body = line
        .get(indent..)
        .filter(|_| line.bytes().take(indent).all(|b| b == b' '));
    match body {
        Some(body) => format!("{}# {body}", " ".repeat(indent)),
        None => format!("{}#{}", " ".repeat(indent), line.trim_start_matches(' ')),
    }
}

/// A word as it can stand in a flow map.
fn word(text: &str) -> String {
    let is_simple = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'+' | b'-'));
    if is_simple && !text.starts_with(['-', '@']) && scalar::taken_for(text).is_none() {
        text.to_owned()
    } else {
        // A string of JSON is a quoted string of YAML.
        serde_json::Value::from(text).to_string()
    }
}

/// Which lines say what.
#[derive(Debug)]
struct Layout {
    users: Users,
    rows: Vec<RowLines>,
}

#[derive(Debug)]
enum Users {
    /// There is no `users`.
    Missing,
    /// `users` is on this line and holds nobody; what it holds instead stands in these columns, in bytes.
    Empty {
        line: usize,
        value: Option<(usize, usize)>,
    },
    /// There are people.
    Rows,
}

/// The lines of a person, from `start` up to and without `end`.
#[derive(Debug)]
struct RowLines {
    os_user: String,
    indent: usize,
    start: usize,
    end: usize,
}

/// Where things start in the file, in bytes.
#[derive(Default)]
struct Places {
    /// The key `users`, and what is written as its value.
    users: Option<(usize, usize)>,
    /// Each person's key.
    rows: Vec<(String, usize)>,
    /// The first key after `users`.
    next: Option<usize>,
}

impl Layout {
    fn of(text: &str) -> Option<Self> {
        let places = yaml::read(text.as_bytes(), &mut Faults::default(), |cursor, _| {
            Places::find(cursor)
        })?;
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let starts: Vec<usize> = lines
            .iter()
            .scan(0, |at, line| {
                let start = *at;
                *at += line.len();
                Some(start)
            })
            .collect();
        let line_of = |at: usize| starts.partition_point(|start| *start <= at) - 1;
        let Some((users, value)) = places.users else {
            return Some(Self {
                users: Users::Missing,
                rows: Vec::new(),
            });
        };
        if places.rows.is_empty() {
            let line = line_of(users);
            let value = match value {
                value if value == users => None,
                // What is written for "nobody" must stand beside the key.
                value if line_of(value) == line => Some((
                    value - starts[line],
                    empty_value_end(lines[line], value - starts[line])?,
                )),
                _ => return None,
            };
            return Some(Self {
                users: Users::Empty { line, value },
                rows: Vec::new(),
            });
        }
        let mut rows = Vec::with_capacity(places.rows.len());
        let ends = places
            .rows
            .iter()
            .skip(1)
            .map(|(_, at)| Some(*at))
            .chain([places.next]);
        for ((os_user, at), next) in places.rows.iter().zip(ends) {
            let start = line_of(*at);
            let indent = at - starts[start];
            let limit = next.map_or(lines.len(), line_of);
            let content = content_lines(&lines[start..limit]);
            if content == 0 || indent == 0 || !lines[start][..indent].bytes().all(|b| b == b' ') {
                return None;
            }
            rows.push(RowLines {
                os_user: os_user.clone(),
                indent,
                start,
                end: start + content,
            });
        }
        Some(Self {
            users: Users::Rows,
            rows,
        })
    }
}

/// Where `{}`, `~` or `null` ends that starts in this column.
fn empty_value_end(line: &str, from: usize) -> Option<usize> {
    let value = &line[from..];
    let length = match value.strip_prefix('{') {
        Some(inner) => inner.find('}')? + 2,
        None => value.find([' ', '\r', '\n', '#']).unwrap_or(value.len()),
    };
    Some(from + length)
}

/// How many lines belong to a row, without the blank lines and comments that follow it.
fn content_lines(lines: &[&str]) -> usize {
    let is_content = |line: &&str| !matches!(line.trim_start().bytes().next(), None | Some(b'#'));
    let lines = lines
        .split(|line| line.starts_with("..."))
        .next()
        .unwrap_or_default();
    lines
        .iter()
        .rposition(is_content)
        .map_or(0, |last| last + 1)
}

impl Places {
    /// Finds the rows of a roster that was read without errors.
    fn find(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let mut places = Places::default();
        let head = cursor.value()?;
        if head.kind != EventKind::MapStart {
            return Ok(places);
        }
        while let Some((key, value)) = cursor.entry()? {
            if key.text != "users" {
                if places.users.is_some() && places.next.is_none() {
                    places.next = Some(key.at as usize);
                }
                cursor.skip(&value)?;
                continue;
            }
            places.users = Some((key.at as usize, value.offset as usize));
            if value.kind == EventKind::MapStart {
                while let Some((key, value)) = cursor.entry()? {
                    places.rows.push((key.text.into_owned(), key.at as usize));
                    cursor.skip(&value)?;
                }
            }
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Date = jiff::civil::date(2026, 11, 22);

    fn ann() -> NewPerson {
        NewPerson {
            os_user: "ann".into(),
            authentik_user: "no".into(),
            k8s_user: "ann@example.org".into(),
            tier: Tier::NamespaceOwner,
            namespaces: vec!["ann".into()],
            code_layout: repo::CodeLayout::Workspace,
        }
    }

    const ANN: &str = "  ann: {authentik_user: \"no\", k8s_user: ann@example.org, tier: namespace-owner, namespaces: [ann], code_layout: workspace}\n";

    const MIXED: &str = "\
# people of the house
users:   # keyed by os_user

  # the boss
  zed: {authentik_user: z.ed, k8s_user: zed, tier: admin}  # since 2020
  bob:
    authentik_user: bob7

    k8s_user: bobk   # kept
    # a comment inside
    tier: namespace-owner
    namespaces:
    - n2
    - n1

  # at the end
";

    #[test]
    fn a_row_is_added_after_the_last_and_nothing_else_changes() {
        let edited = append_person(MIXED, &ann()).unwrap();
        let (before, after) = MIXED.split_at(MIXED.find("\n  # at the end").unwrap());
        assert_eq!(edited, format!("{before}{ANN}{after}"));
    }

    #[test]
    fn a_roster_without_people_gets_its_first() {
        for (text, expected) in [
            ("", format!("users:\n{ANN}")),
            ("# nobody", format!("# nobody\nusers:\n{ANN}")),
            ("users:\n", format!("users:\n{ANN}")),
            ("users:", format!("users:\n{ANN}")),
            ("users: {}\n", format!("users:\n{ANN}")),
            (
                "users:   { }  # none\n\n# end\n",
                format!("users:  # none\n{ANN}\n# end\n"),
            ),
            ("users: ~ # none\n", format!("users: # none\n{ANN}")),
            ("users: null\n", format!("users:\n{ANN}")),
            (
                "users:\n  # ann: {}\n",
                format!("users:\n{ANN}  # ann: {{}}\n"),
            ),
            (
                "users: {}\r\n",
                format!("users:\n{ANN}").replace('\n', "\r\n"),
            ),
        ] {
            assert_eq!(append_person(text, &ann()).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_flow_row_becomes_a_comment_under_a_dated_note() {
        let edited = comment_out(MIXED, "zed", "left the\ngroup", TODAY).unwrap();
        let row = "  zed: {authentik_user: z.ed, k8s_user: zed, tier: admin}  # since 2020\n";
        let comment = "  # 2026-11-22: left the group\n  # zed: {authentik_user: z.ed, k8s_user: zed, tier: admin}  # since 2020\n";
        assert_eq!(edited, MIXED.replace(row, comment));
    }

    #[test]
    fn a_block_row_becomes_comments_under_a_dated_note() {
        let edited = comment_out(MIXED, "bob", "left", TODAY).unwrap();
        let (before, _) = MIXED.split_at(MIXED.find("  bob:").unwrap());
        let comment = "  # 2026-11-22: left
  # bob:
  #   authentik_user: bob7
  #
  #   k8s_user: bobk   # kept
  #   # a comment inside
  #   tier: namespace-owner
  #   namespaces:
  #   - n2
  #   - n1

  # at the end
";
        assert_eq!(edited, format!("{before}{comment}"));
        let nobody = comment_out(&edited, "zed", "left", TODAY).unwrap();
        assert!(read(&nobody).unwrap().people.is_empty());
        assert!(
            read(&append_person(&nobody, &ann()).unwrap())
                .unwrap()
                .get("ann")
                .is_some()
        );
    }

    #[test]
    fn who_is_there_is_not_added_and_who_is_not_is_not_removed() {
        let zed = NewPerson {
            os_user: "zed".into(),
            ..ann()
        };
        assert!(
            matches!(append_person(MIXED, &zed), Err(EditError::Present(name)) if name == "zed")
        );
        assert!(
            matches!(comment_out(MIXED, "eve", "left", TODAY), Err(EditError::Absent(name)) if name == "eve")
        );
        let once = comment_out(MIXED, "zed", "left", TODAY).unwrap();
        assert!(matches!(
            comment_out(&once, "zed", "left", TODAY),
            Err(EditError::Absent(_))
        ));
    }

    #[test]
    fn an_edit_that_would_break_a_rule_is_refused() {
        let twin = NewPerson {
            authentik_user: "Z.ED".into(),
            ..ann()
        };
        assert!(matches!(
            append_person(MIXED, &twin),
            Err(EditError::Result(_))
        ));
        assert!(matches!(
            append_person("users: [", &ann()),
            Err(EditError::Roster(_))
        ));
    }

    #[test]
    fn rows_without_lines_of_their_own_are_left_to_a_person() {
        let row = "{authentik_user: a, k8s_user: a, tier: admin}";
        for text in [
            format!("users: {{a: {row}}}\n"),
            format!("{{users: {{a: {row}}}}}\n"),
            format!("users: {{\n  a: {row}\n}}\n"),
            "{}\n".to_owned(),
            "{users: {}}\n".to_owned(),
            "users:\n  {}\n".to_owned(),
            "null\n".to_owned(),
        ] {
            assert!(
                matches!(
                    append_person(&text, &ann()),
                    Err(EditError::Layout | EditError::Result(_))
                ),
                "{text}"
            );
            if text.contains("a:") {
                assert!(comment_out(&text, "a", "left", TODAY).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn a_marked_end_stays_the_end() {
        let text = "---\nusers:\n  a: {authentik_user: a, k8s_user: a, tier: admin}\n...\n";
        assert_eq!(
            append_person(text, &ann()).unwrap(),
            text.replace("...\n", &format!("{ANN}...\n"))
        );
        assert!(
            comment_out(text, "a", "left", TODAY)
                .unwrap()
                .ends_with("tier: admin}\n...\n")
        );
    }
}
