//! What the state repository asks of a hypervisor: `guests/<name>.yaml`.

use std::collections::BTreeMap;

use crate::diagnostic::Faults;
use crate::repo::fields::{Field, Presence, Shape};
use crate::repo::names::Grammar;
use crate::repo::tiers::is_empty;
use crate::repo::value::{FieldReader, Subject};
use crate::yaml;
use crate::yaml::event::{Event, Kind, Stop};

/// The folder of the files.
pub const GUESTS: &str = "guests/";

/// What a hypervisor is asked to keep, by guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The guests that the file names. Whatever it does not name is left alone.
    pub guests: BTreeMap<String, Wanted>,
}

/// One guest, as it is to be. What is not said is left as it is (G2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether it is to run.
    pub run: Option<Run>,
    /// Whether its end is asked for. Absence from the file never is that.
    pub destroy: bool,
}

/// Whether a guest runs (G1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It runs.
    Running,
    /// It stands still.
    Stopped,
}

/// A guest's vmid or name.
static GUEST: Grammar = Grammar {
    rule: "guest-form",
    about: "a vmid (from 100, 9 digits at most), or a name of ASCII letters, digits and dashes that begins with a letter and does \
            not end with a dash, of at most 63 characters",
    pattern: "^([1-9][0-9]{2,8}|[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)$",
    accepts: |text| {
        let is_vmid = (3..=9).contains(&text.len())
            && !text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_digit());
        let is_name = text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && !text.ends_with('-')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        is_vmid || is_name
    },
};

#[derive(Clone, Copy, Debug)]
enum FileKey {
    Guests,
}

#[derive(Clone, Copy, Debug)]
enum GuestKey {
    Run,
    Destroy,
}

static FILE: [Field<FileKey>; 1] = [Field {
    key: FileKey::Guests,
    name: "guests",
    shape: Shape::MapOf(&GUEST, || crate::repo::schema::object(&ROW)),
    presence: Presence::Optional,
    about: "the guests, keyed by vmid or name",
}];

static ROW: [Field<GuestKey>; 2] = [
    Field {
        key: GuestKey::Run,
        name: "run",
        shape: Shape::OneOf(&["running", "stopped"]),
        presence: Presence::Optional,
        about: "whether the guest is to run; left out, muster leaves that alone",
    },
    Field {
        key: GuestKey::Destroy,
        name: "destroy",
        shape: Shape::Bool,
        presence: Presence::Optional,
        about: "asks for the end of the guest; it waits for a signed release",
    },
];

/// Reads `guests/<name>.yaml`.
pub(crate) fn read(bytes: &[u8], faults: &mut Faults) -> Desired {
    let guests = yaml::read(bytes, faults, |cursor, faults| {
        let mut guests = BTreeMap::new();
        let head = cursor.value()?;
        let mut reader = FieldReader {
            cursor,
            faults,
            subject: Subject::File,
        };
        if !is_empty(&head) {
            reader.fields(&FILE, 0, &head, |reader, field, value| {
                match field.key {
                    FileKey::Guests => guests = read_guests(reader, field.name, &value)?,
                }
                Ok(())
            })?;
        }
        Ok(guests)
    });
    Desired {
        guests: guests.unwrap_or_default(),
    }
}

/// What is kept for a guest, in bytes: its name twice, in maps.
const GUEST_KEPT: usize = 160;

fn read_guests<'a>(
    reader: &mut FieldReader<'_, 'a>,
    field: &str,
    head: &Event<'a>,
) -> Result<BTreeMap<String, Wanted>, Stop> {
    let mut guests = BTreeMap::new();
    if is_empty(head) {
        return Ok(guests);
    }
    if head.kind != Kind::MapStart {
        reader.wrong_type(head, field, "a map from guests to what they are to be")?;
        return Ok(guests);
    }
    let mut places: BTreeMap<String, u32> = BTreeMap::new();
    while let Some((key, value)) = reader.entry()? {
        reader.cursor.keep(GUEST_KEPT, key.at)?;
        let name = key.text.to_string();
        reader.key(&GUEST, &name, key.at);
        if let Some(first) = places.insert(name.clone(), key.at) {
            reader.repeated(field, &name, key.at, first);
        }
        let wanted = read_row(&mut reader.about(Subject::Guest(&name)), key.at, &value)?;
        guests.insert(name, wanted);
    }
    Ok(guests)
}

fn read_row<'a>(
    reader: &mut FieldReader<'_, 'a>,
    at: u32,
    head: &Event<'a>,
) -> Result<Wanted, Stop> {
    let mut wanted = Wanted::default();
    reader.fields(&ROW, at, head, |reader, field, value| {
        match field.key {
            GuestKey::Run => {
                let word = reader.one_of(field.name, value, &["running", "stopped"])?;
                wanted.run = word.map(|it| [Run::Running, Run::Stopped][it.value]);
            }
            GuestKey::Destroy => {
                wanted.destroy = reader.bool(field.name, &value)?.unwrap_or_default();
            }
        }
        Ok(())
    })?;
    Ok(wanted)
}
