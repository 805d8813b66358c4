//! Reads `roster.yaml`: rows first, each checked by itself, then the rules that concern several people.

use std::borrow::Cow;

use super::checks::{self, Draft};
use super::fields::{ADOPT, AdoptKey, PERSON, PersonKey, ROSTER, RosterKey};
use super::names;
use super::roster::{CodeLayout, More, Namespaces, Person, Roster};
use super::tiers::{Tier, is_empty, read_tier};
use super::value::{At, FieldReader, Subject};
use crate::bytes::places_in_order;
use crate::diagnostic::Faults;
use crate::yaml;
use crate::yaml::cursor::{Cursor, Key};
use crate::yaml::event::{Event, EventKind, Stop};

/// A person's row as it is written; what is missing or wrong was reported and is absent here.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) os_user: At<Cow<'a, str>>,
    pub(super) authentik_user: Option<Cow<'a, str>>,
    pub(super) k8s_user: Option<Cow<'a, str>>,
    pub(super) tier: Option<Tier>,
    pub(super) namespaces: At<Namespaces<'a>>,
    /// Whether namespaces are written at all, be they right or wrong.
    pub(super) has_namespaces: bool,
    pub(super) more: Option<Box<More<'a>>>,
}

/// Reads a roster (R1–R9). The rules that concern several people are checked only when the file could be read to its end.
pub(super) fn read_roster<'a>(bytes: &'a [u8], faults: &mut Faults) -> Roster<'a> {
    let people = yaml::read(bytes, faults, |cursor, faults| {
        read_people(cursor, faults, bytes.len() / USUAL_ROW)
    });
    let Some(people) = people else {
        return Roster {
            people: Vec::new(),
            by_name: Vec::new(),
        };
    };
    let by_name = places_in_order(people.len(), |at| people[at as usize].os_user.as_bytes());
    let roster = Roster { people, by_name };
    checks::check_roster(&Draft::new(&roster, bytes), faults);
    roster
}

/// What a person's row has in bytes, or nearly so: where there is room for all people at once, none is moved.
const USUAL_ROW: usize = 128;

fn read_people<'a>(
    cursor: &mut Cursor<'a>,
    faults: &mut Faults,
    expected: usize,
) -> Result<Vec<Person<'a>>, Stop> {
    let mut people = Vec::with_capacity(expected);
    let head = cursor.value()?;
    if is_empty(&head) {
        return Ok(people);
    }
    let mut reading = FieldReader {
        cursor,
        faults,
        subject: Subject::File,
    };
    reading.fields(&ROSTER, 0, &head, |reading, field, value| match field.key {
        RosterKey::Users => read_users(reading, &value, &mut people),
    })?;
    people.shrink_to_fit();
    Ok(people)
}

fn read_users<'a>(
    reading: &mut FieldReader<'_, 'a>,
    head: &Event<'a>,
    people: &mut Vec<Person<'a>>,
) -> Result<(), Stop> {
    if is_empty(head) {
        return Ok(());
    }
    if head.kind != EventKind::MapStart {
        return reading.wrong_type(head, "users", "a map from os_user to a person");
    }
    while let Some((key, value)) = reading.entry()? {
        let errors = reading.faults.errors();
        let row = read_row(reading, key, &value)?;
        checks::check_row(&row, reading.faults);
        // Who is right takes more bytes of the file than of the memory. One who is not may stand in four.
        let held = people.len() * size_of::<Person<'_>>();
        if reading.faults.errors() == errors || held <= WRONG + row.os_user.at as usize {
            people.push(person(row));
        }
    }
    Ok(())
}

/// What people may take in memory, in bytes, beside one for each byte of the file, until those with errors are not kept any more. They
/// are only compared with others, and their file is refused.
const WRONG: usize = 64 << 10;

fn read_row<'a>(
    reading: &mut FieldReader<'_, 'a>,
    key: Key<'a>,
    head: &Event<'a>,
) -> Result<Row<'a>, Stop> {
    let Key { text, plain, at } = key;
    let written = Event {
        kind: EventKind::Scalar {
            value: text.clone(),
            plain,
        },
        offset: at,
    };
    reading.text("os_user", written, &names::OS_USER)?;
    let mut row = Row {
        os_user: At {
            value: text.clone(),
            at,
        },
        authentik_user: None,
        k8s_user: None,
        tier: None,
        namespaces: At {
            value: Namespaces::default(),
            at,
        },
        has_namespaces: false,
        more: None,
    };
    let mut reading = reading.about(Subject::Person(&text));
    reading.fields(&PERSON, at, head, |reading, field, value| {
        let name = field.name;
        let place = value.offset;
        match field.key {
            PersonKey::AuthentikUser => {
                row.authentik_user = reading
                    .text(name, value, &names::IDENTITY)?
                    .map(|it| it.value);
            }
            PersonKey::K8sUser => {
                row.k8s_user = reading
                    .text(name, value, &names::IDENTITY)?
                    .map(|it| it.value)
            }
            PersonKey::Tier => row.tier = read_tier(reading, value)?.map(|it| it.value),
            PersonKey::Namespaces if is_empty(&value) => {}
            PersonKey::Namespaces => read_namespaces(reading, &value, &mut row)?,
            PersonKey::Parked => {
                if let Some(parked) = reading.bool(name, &value)? {
                    more(&mut row).parked = parked;
                }
            }
            PersonKey::Disabled => {
                if let Some(disabled) = reading.bool(name, &value)? {
                    more(&mut row).disabled = disabled;
                }
            }
            PersonKey::Expires => more(&mut row).expires = reading.date(name, &value)?,
            PersonKey::ExpiryContact => {
                more(&mut row).expiry_contact = reading.text(name, value, &names::IDENTITY)?
            }
            PersonKey::Previously => {
                more(&mut row).previously = reading.text(name, value, &names::OS_USER)?
            }
            PersonKey::Adopt => {
                more(&mut row).adopt =
                    read_adopt(&mut reading.about(Subject::Adopt(&text)), &value)?
            }
            PersonKey::Uid => more(&mut row).uid = reading.number(name, &value)?,
            PersonKey::CodeLayout => {
                let layouts = [CodeLayout::Single, CodeLayout::Workspace];
                let layout = reading.one_of(name, value, &layouts.map(CodeLayout::as_str))?;
                more(&mut row).code_layout = layout.map(|it| layouts[it.value]);
            }
            PersonKey::Repos if is_empty(&value) => {}
            PersonKey::Repos => {
                let repos = reading.texts(name, &value, &names::REPO)?;
                more(&mut row).repos = repos.map(|value| At { value, at: place });
            }
            PersonKey::ClaudeAuth => more(&mut row).claude_auth = reading.bool(name, &value)?,
            PersonKey::ForgeUser => {
                more(&mut row).forge_user = reading.text(name, value, &names::IDENTITY)?
            }
        }
        Ok(())
    })?;
    Ok(row)
}

fn more<'r, 'a>(row: &'r mut Row<'a>) -> &'r mut More<'a> {
    row.more.get_or_insert_default()
}

/// Whether a namespace is there twice is found with all others; one list may be very long.
fn read_namespaces<'a>(
    reading: &mut FieldReader<'_, 'a>,
    head: &Event<'a>,
    row: &mut Row<'a>,
) -> Result<(), Stop> {
    let mut first = None;
    let mut rest = Vec::new();
    let mut written = false;
    let is_list = reading.list("namespaces", head, |reading, item| {
        written = true;
        if let Some(name) = reading.text("namespaces", item, &names::NAMESPACE)? {
            if first.is_none() {
                first = Some(name.value);
            } else {
                rest.push(name.value);
            }
        }
        Ok(())
    })?;
    row.has_namespaces = written || !is_list;
    row.namespaces = At {
        value: first.into_iter().chain(rest).collect(),
        at: head.offset,
    };
    Ok(())
}

fn read_adopt<'a>(
    reading: &mut FieldReader<'_, 'a>,
    head: &Event<'a>,
) -> Result<Option<At<u32>>, Stop> {
    let mut uid = None;
    reading.fields(&ADOPT, head.offset, head, |reading, field, value| {
        match field.key {
            AdoptKey::Uid => uid = reading.number(field.name, &value)?,
        }
        Ok(())
    })?;
    Ok(uid)
}

/// A row in which something is missing was reported, so the roster is never handed out; the gaps only keep the other
/// checks going.
fn person(row: Row<'_>) -> Person<'_> {
    let Row {
        os_user,
        authentik_user,
        k8s_user,
        tier,
        namespaces,
        has_namespaces: _,
        more,
    } = row;
    Person {
        os_user: os_user.value,
        authentik_user: authentik_user.unwrap_or_default(),
        k8s_user: k8s_user.unwrap_or_default(),
        tier: tier.unwrap_or(Tier::NamespaceOwner),
        namespaces: namespaces.value,
        at: os_user.at,
        more,
    }
}
