//! Reads `guests/<name>.yaml`: positions, and all that is wrong at once (H3, H4).

use std::collections::{BTreeMap, BTreeSet};

use super::action::Marker;
use super::desired::{Create, Desired, More, Origin, Overwrite, Run, Spot, Wanted};
use super::normal;
use super::plan::ASIDE;
use crate::diagnostic::{Fault, Faults};
use crate::repo::fields::{Field, Presence, Shape};
use crate::repo::names::{Grammar, OS_USER};
use crate::repo::schema;
use crate::repo::tiers::is_empty;
use crate::repo::value::{At, FieldReader, ITEM, Subject};
use crate::yaml;
use crate::yaml::event::{Event, EventKind, Stop};

/// The folder of the files.
pub const GUESTS: &str = "guests/";

/// A guest's vmid or name.
static GUEST: Grammar = Grammar {
    rule: "guest-form",
    about: "a vmid (from 100, 9 digits at most), or a name of ASCII letters, digits and dashes that begins with a letter and does \
            not end with a dash, of at most 63 characters; aside- and muster- begin the names that muster itself gives",
    pattern: "^([1-9][0-9]{2,8}|(?!aside-|muster-)[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)$",
    accepts: |text| {
        let is_vmid = (3..=9).contains(&text.len())
            && !text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_digit());
        let is_taken = text.starts_with(ASIDE) || text.starts_with(Marker::PREFIX);
        let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic()) && is_label(text);
        is_vmid || (is_name && !is_taken)
    },
};

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// What a guest is called: a host name.
static NAME: Grammar = Grammar {
    rule: "guest-name",
    about: "a host name: labels of ASCII letters, digits and dashes, with dots between them, of at most 253 characters",
    pattern: "^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
    accepts: |text| text.len() <= 253 && text.split('.').all(is_label),
};

/// A tag, in the one spelling that every hypervisor gives back.
static TAG: Grammar = Grammar {
    rule: "tag-form",
    about: "a tag of lower-case ASCII letters, digits and _ + . -, at most 124 characters, that begins with a letter, digit or _, \
            and not with muster-, which muster keeps for itself",
    pattern: "^(?!muster-)[a-z0-9_][a-z0-9_+.-]{0,123}$",
    accepts: |text| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        text.len() <= 124
            && text.bytes().next().is_some_and(plain)
            && text
                .bytes()
                .all(|b| plain(b) || matches!(b, b'+' | b'.' | b'-'))
            && !text.starts_with(Marker::PREFIX)
    },
};

/// Something that settings list. What is not listed there is held, so its form is only to keep it in one word.
static LISTED: Grammar = Grammar {
    rule: "listed-form",
    about: "one word of visible ASCII characters, at most 255",
    pattern: "^[!-~]{1,255}$",
    accepts: |text| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()),
};

/// A description.
static DESCRIPTION: Grammar = Grammar {
    rule: "description-form",
    about: "a description of at most 8192 bytes without control characters, and not \"0\", which Proxmox VE never stores",
    pattern: "^(?!0\\s*$)[\\s\\S]{0,8192}$",
    accepts: |text| {
        let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
        let normal = normal::description(text);
        text.len() <= normal::MAX_DESCRIPTION && normal != "0" && text.chars().all(plain)
    },
};

/// The least memory, in MiB.
const LEAST_MEMORY: u64 = 16;
/// The most, in MiB: 16 TiB.
const MOST_MEMORY: u64 = 16 << 20;
/// The most cores.
const MOST_CORES: u32 = 8192;

const SIZE: &str = "a whole number of bytes, or of KiB, MiB, GiB or TiB, such as 512MiB";

#[derive(Clone, Copy, Debug)]
enum FileKey {
    Guests,
}

#[derive(Clone, Copy, Debug)]
enum GuestKey {
    Name,
    Run,
    Cores,
    Memory,
    Disk,
    Description,
    Tags,
    Onboot,
    Owner,
    Create,
    Destroy,
    Overwrite,
}

#[derive(Clone, Copy, Debug)]
enum CreateKey {
    Template,
    Image,
    Clone,
    Storage,
    Network,
    Unprivileged,
    Nesting,
    Devices,
}

#[derive(Clone, Copy, Debug)]
enum OverwriteKey {
    Backup,
}

static FILE: [Field<FileKey>; 1] = [Field {
    key: FileKey::Guests,
    name: "guests",
    shape: Shape::MapOf(&GUEST, || schema::object(&ROW)),
    presence: Presence::Optional,
    about: "the guests, keyed by vmid (Proxmox VE) or instance name (Incus)",
}];

/// A field that may be left out.
const fn field<K>(key: K, name: &'static str, shape: Shape, about: &'static str) -> Field<K> {
    Field {
        key,
        name,
        shape,
        presence: Presence::Optional,
        about,
    }
}

static ROW: [Field<GuestKey>; 12] = [
    field(
        GuestKey::Name,
        "name",
        Shape::Text(&NAME),
        "what the guest is called: given when muster makes it, told afterwards where it differs",
    ),
    field(
        GuestKey::Run,
        "run",
        Shape::OneOf(&["running", "stopped"]),
        "whether the guest is to run; left out, muster leaves that alone",
    ),
    field(
        GuestKey::Cores,
        "cores",
        Shape::Count(1, MOST_CORES),
        "how many cores it is to have",
    ),
    field(
        GuestKey::Memory,
        "memory",
        Shape::Size,
        "how much memory it is to have, in bytes, or as 512MiB or 2GiB; kept in whole MiB, rounded up",
    ),
    field(
        GuestKey::Disk,
        "disk",
        Shape::Size,
        "how large its disks are together; told where it differs, never changed",
    ),
    field(
        GuestKey::Description,
        "description",
        Shape::Text(&DESCRIPTION),
        "its description; an empty one takes away what is there",
    ),
    field(GuestKey::Tags, "tags", Shape::Texts(&TAG), "all its tags"),
    field(
        GuestKey::Onboot,
        "onboot",
        Shape::Bool,
        "whether the hypervisor is to start it when it starts itself",
    ),
    field(
        GuestKey::Owner,
        "owner",
        Shape::Text(&OS_USER),
        "the person who answers for it, by os_user",
    ),
    field(
        GuestKey::Create,
        "create",
        Shape::Object(|| schema::object(&CREATE)),
        "how to make the guest where it is not there; each name is one that the settings of the executor list",
    ),
    field(
        GuestKey::Destroy,
        "destroy",
        Shape::Bool,
        "asks for the end of the guest; it waits for a signed release",
    ),
    field(
        GuestKey::Overwrite,
        "overwrite",
        Shape::Object(|| schema::object(&OVERWRITE)),
        "asks for a backup in the place of the guest; it waits for a signed release",
    ),
];

static CREATE: [Field<CreateKey>; 8] = [
    field(
        CreateKey::Template,
        "template",
        Shape::Text(&LISTED),
        "the template of containers that it is made of",
    ),
    field(
        CreateKey::Image,
        "image",
        Shape::Text(&LISTED),
        "the image that it is made of",
    ),
    field(
        CreateKey::Clone,
        "clone",
        Shape::Text(&LISTED),
        "the guest that it is a copy of",
    ),
    Field {
        key: CreateKey::Storage,
        name: "storage",
        shape: Shape::Text(&LISTED),
        presence: Presence::Required,
        about: "where its root volume is to lie",
    },
    field(
        CreateKey::Network,
        "network",
        Shape::Text(&LISTED),
        "the network of its first card; left out, it has none",
    ),
    field(
        CreateKey::Unprivileged,
        "unprivileged",
        Shape::Bool,
        "false: root in it is root on the hypervisor, which waits for a signed release; default true",
    ),
    field(
        CreateKey::Nesting,
        "nesting",
        Shape::Bool,
        "true: it may run containers of its own, which waits for a signed release; default false",
    ),
    field(
        CreateKey::Devices,
        "devices",
        Shape::Texts(&LISTED),
        "devices and mounts that it gets, by the words of the settings; each waits for a signed release",
    ),
];

static OVERWRITE: [Field<OverwriteKey>; 1] = [Field {
    key: OverwriteKey::Backup,
    name: "backup",
    shape: Shape::Text(&LISTED),
    presence: Presence::Required,
    about: "the backup, as the hypervisor calls it",
}];

/// The schema of `guests/<name>.yaml`.
pub fn published() -> String {
    schema::schema(
        "guests/<name>.yaml",
        "The guests of one hypervisor",
        schema::object(&FILE),
    )
}

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
        let says_nothing =
            matches!(&head.kind, EventKind::Scalar { value, .. } if value.is_empty());
        if says_nothing {
            let problem = "the file says nothing: it names no guest, so none is kept";
            let help = "if that is meant, write `guests: {}`; if not, look what was to write it: a command that failed leaves an empty file";
            let fault = Fault::warning("empty-file", 0, problem);
            reader.faults.add(fault.help(help));
        }
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
        owners: BTreeMap::new(),
    }
}

/// What is kept for a guest, in bytes, beside its name: an entry of a map that is filled from one end.
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
    if head.kind != EventKind::MapStart {
        reader.wrong_type(head, field, "a map from guests to what they are to be")?;
        return Ok(guests);
    }
    while let Some((key, value)) = reader.entry()? {
        let name = key.text.to_string();
        reader.cursor.keep(GUEST_KEPT + name.len(), key.at)?;
        reader.key(&GUEST, &name, key.at);
        let mut wanted = read_row(&mut reader.about(Subject::Guest(&name)), key.at, &value)?;
        wanted.at = Spot(key.at);
        if let Some(Wanted { at: first, .. }) = guests.insert(name, wanted) {
            let name = key.text.as_ref();
            reader.repeated(field, name, key.at, first.0);
        }
    }
    Ok(guests)
}

fn read_row<'a>(
    reader: &mut FieldReader<'_, 'a>,
    at: u32,
    head: &Event<'a>,
) -> Result<Wanted, Stop> {
    let mut wanted = Wanted::default();
    let mut more = More::default();
    let mut overwritten_at = None;
    reader.fields(&ROW, at, head, |reader, field, value| {
        let place = value.offset;
        match field.key {
            GuestKey::Name => {
                let name = text(reader, field.name, value, &NAME)?;
                wanted.name = name.map(String::into_boxed_str);
            }
            GuestKey::Run => {
                let word = reader.one_of(field.name, value, &["running", "stopped"])?;
                wanted.run = word.map(|it| [Run::Running, Run::Stopped][it.value]);
            }
            GuestKey::Cores => wanted.cores = read_cores(reader, field.name, &value)?,
            GuestKey::Memory => wanted.memory = read_memory(reader, field.name, &value)?,
            GuestKey::Disk => {
                more.disk = read_size(reader, field.name, &value)?.map(|it| it.value);
            }
            GuestKey::Description => {
                let text = text(reader, field.name, value, &DESCRIPTION)?;
                more.description = text.map(|it| normal::description(&it));
            }
            GuestKey::Tags => more.tags = read_tags(reader, field.name, &value)?,
            GuestKey::Onboot => wanted.onboot = reader.bool(field.name, &value)?,
            GuestKey::Owner => {
                more.owner = text(reader, field.name, value, &OS_USER)?;
                more.owner_at = Spot(place);
            }
            GuestKey::Create => more.create = read_create(reader, &value)?,
            GuestKey::Destroy => {
                wanted.destroy = reader.bool(field.name, &value)?.unwrap_or_default();
            }
            GuestKey::Overwrite => {
                overwritten_at = Some(place);
                more.overwrite = read_overwrite(reader, &value)?;
            }
        }
        Ok(())
    })?;
    if let (true, Some(at)) = (wanted.destroy, overwritten_at) {
        let problem = format!(
            "{}destroy and overwrite cannot both be asked for",
            reader.subject
        );
        let fault = Fault::error("destroy-and-overwrite", at, problem);
        reader.faults.add(fault.help("take one of them out"));
    }
    reader
        .cursor
        .keep(wanted.name.as_ref().map_or(0, |it| it.len()), at)?;
    if more != More::default() {
        reader.cursor.keep(size_of::<More>(), at)?;
        wanted.more = Some(Box::new(more));
    }
    Ok(wanted)
}

fn text<'a>(
    reader: &mut FieldReader<'_, 'a>,
    field: &str,
    head: Event<'a>,
    grammar: &Grammar,
) -> Result<Option<String>, Stop> {
    let text = reader.text(field, head, grammar)?;
    Ok(text.map(|it| it.value.into_owned()))
}

/// Tags, in order. What is kept of them once they are read is less than what is kept while they are.
fn read_tags<'a>(
    reader: &mut FieldReader<'_, 'a>,
    field: &str,
    head: &Event<'a>,
) -> Result<Option<Box<[String]>>, Stop> {
    let Some(tags) = texts(reader, field, head, &TAG)? else {
        return Ok(None);
    };
    let tags: Box<[String]> = tags.into_iter().collect();
    reader.cursor.give_back(tags.len() * ITEM);
    let kept = tags.iter().map(|it| size_of::<String>() + it.len());
    reader.cursor.keep(kept.sum(), head.offset)?;
    Ok(Some(tags))
}

fn texts<'a>(
    reader: &mut FieldReader<'_, 'a>,
    field: &str,
    head: &Event<'a>,
    grammar: &Grammar,
) -> Result<Option<BTreeSet<String>>, Stop> {
    let texts = reader.texts(field, head, grammar)?;
    Ok(texts.map(|it| it.into_iter().map(std::borrow::Cow::into_owned).collect()))
}

fn read_cores<'a>(
    reader: &mut FieldReader<'_, 'a>,
    field: &str,
    head: &Event<'a>,
) -> Result<Option<u32>, Stop> {
    let Some(At { value, at }) = reader.number(field, head)? else {
        return Ok(None);
    };
    if (1..=MOST_CORES).contains(&value) {
        return Ok(Some(value));
    }
    let problem = format!(
        "{}{field}: {value} is not from 1 to {MOST_CORES}",
        reader.subject
    );
    reader.faults.add(Fault::error("cores", at, problem));
    Ok(None)
}

fn read_memory<'a>(
    reader: &mut FieldReader<'_, 'a>,
    field: &str,
    head: &Event<'a>,
) -> Result<Option<u64>, Stop> {
    let Some(At { value, at }) = read_size(reader, field, head)? else {
        return Ok(None);
    };
    let mebibytes = normal::mebibytes(value);
    if (LEAST_MEMORY..=MOST_MEMORY).contains(&mebibytes) {
        return Ok(Some(mebibytes));
    }
    let problem = format!(
        "{}{field}: {value} bytes are not from {LEAST_MEMORY}MiB to 16TiB",
        reader.subject
    );
    let fault = Fault::error("memory", at, problem);
    reader
        .faults
        .add(fault.help("a bare number counts bytes; write 512MiB or 2GiB"));
    Ok(None)
}

/// A size in bytes.
fn read_size<'a>(
    reader: &mut FieldReader<'_, 'a>,
    field: &str,
    head: &Event<'a>,
) -> Result<Option<At<u64>>, Stop> {
    if let EventKind::Scalar { value, .. } = &head.kind
        && let Some(value) = bytes_of(value)
    {
        return Ok(Some(At {
            value,
            at: head.offset,
        }));
    }
    reader.wrong_type(head, field, SIZE)?;
    Ok(None)
}

/// Whether `text` is a guest's vmid or name.
pub fn is_guest(text: &str) -> bool {
    (GUEST.accepts)(text)
}

/// `2GiB` in bytes; `None` when it is written otherwise.
pub fn bytes_of(text: &str) -> Option<u64> {
    let (digits, factor) = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)]
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, 1_u64 << shift)))
        .unwrap_or((text, 1));
    let plain = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    number.checked_mul(factor)
}

fn read_create<'a>(
    reader: &mut FieldReader<'_, 'a>,
    head: &Event<'a>,
) -> Result<Option<Box<Create>>, Stop> {
    let at = head.offset;
    let mut origins = Vec::new();
    let mut storage = None;
    let mut network = None;
    let (mut unprivileged, mut nesting, mut devices) = (true, false, BTreeSet::new());
    let is_map = reader.fields(&CREATE, at, head, |reader, field, value| {
        match field.key {
            CreateKey::Template => {
                origins.push(text(reader, field.name, value, &LISTED)?.map(Origin::Template));
            }
            CreateKey::Image => {
                origins.push(text(reader, field.name, value, &LISTED)?.map(Origin::Image));
            }
            CreateKey::Clone => {
                origins.push(text(reader, field.name, value, &LISTED)?.map(Origin::Clone));
            }
            CreateKey::Storage => storage = text(reader, field.name, value, &LISTED)?,
            CreateKey::Network => network = text(reader, field.name, value, &LISTED)?,
            CreateKey::Unprivileged => {
                unprivileged = reader.bool(field.name, &value)?.unwrap_or(true);
            }
            CreateKey::Nesting => nesting = reader.bool(field.name, &value)?.unwrap_or_default(),
            CreateKey::Devices => {
                devices = texts(reader, field.name, &value, &LISTED)?.unwrap_or_default();
            }
        }
        Ok(())
    })?;
    if is_map && origins.len() != 1 {
        let problem = format!(
            "{}create: exactly one of template, image and clone is needed, and there are {}",
            reader.subject,
            origins.len()
        );
        reader.faults.add(Fault::error("create-from", at, problem));
        return Ok(None);
    }
    let origin = origins.pop().flatten();
    let Some((origin, storage)) = origin.zip(storage) else {
        return Ok(None);
    };
    reader.cursor.keep(size_of::<Create>(), at)?;
    Ok(Some(Box::new(Create {
        origin,
        storage,
        network,
        unprivileged,
        nesting,
        devices,
    })))
}

fn read_overwrite<'a>(
    reader: &mut FieldReader<'_, 'a>,
    head: &Event<'a>,
) -> Result<Option<Overwrite>, Stop> {
    let mut backup = None;
    reader.fields(&OVERWRITE, head.offset, head, |reader, field, value| {
        match field.key {
            OverwriteKey::Backup => backup = text(reader, field.name, value, &LISTED)?,
        }
        Ok(())
    })?;
    Ok(backup.map(|backup| Overwrite { backup }))
}
