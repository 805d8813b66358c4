//! One person's line.
//!
//! A ledger of many people is read at every start, and most people's facts have default values but for a few. So most lines
//! are one JSON string with the fields that everybody has, in this order, and after them those that are not the default:
//!
//! ```text
//! "emo 5b1e…32 hex… 1004 emo@example.com 1795379579 k8s_user=emo subuid=100000+65536 ports=t3:3773 given=code-shared"
//!  user entry       uid  authentik_user  since      what is not the default
//! ```
//!
//! A person with further facts, such as an archive or what a cut set aside, has a JSON object with all fields instead.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::accounts::facts::{IdRange, PersonFacts, Provenance, SetAside};
use crate::accounts::policy::Ports;
use crate::id::STANDS_FOR_ITSELF;
use crate::people::Stage;
use crate::time::Time;

/// Appends the line of `user`, with its end.
pub(crate) fn push(out: &mut Vec<u8>, user: &str, person: &PersonFacts) {
    #[derive(Serialize)]
    struct Object<'a> {
        user: &'a str,
        #[serde(rename = "is")]
        person: &'a PersonFacts,
    }
    match words(user, person) {
        Some(words) => {
            out.push(b'"');
            out.extend_from_slice(words.as_bytes());
            out.push(b'"');
        }
        None => serde_json::to_writer(&mut *out, &Object { user, person })
            .expect("plain records always serialise"),
    }
    out.push(b'\n');
}

/// Reads a line of either form.
pub(crate) fn read(line: &[u8]) -> Result<(String, Box<PersonFacts>), serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Object {
        user: String,
        #[serde(rename = "is")]
        person: Box<PersonFacts>,
    }
    if line.first() == Some(&b'"') {
        return of_words(line).map_err(|Odd(what)| {
            serde_json::Error::custom(format_args!("a person's line with another {what}"))
        });
    }
    let Object { user, person } = serde_json::from_slice(line)?;
    Ok((user, person))
}

/// Whose line it is, by its beginning alone; nothing of one that cannot be read.
pub(crate) fn name(line: &[u8]) -> Cow<'_, [u8]> {
    #[derive(Deserialize)]
    struct Named {
        user: String,
    }
    if let Some(words) = line.strip_prefix(b"\"") {
        let end = memchr::memchr(b' ', words).unwrap_or(words.len());
        return Cow::Borrowed(&words[..end]);
    }
    let named = serde_json::from_slice::<Named>(line);
    Cow::Owned(named.map_or_else(|_| Vec::new(), |it| it.user.into_bytes()))
}

/// What is not as it is written by us.
struct Odd(&'static str);

/// The words that are written only where they are needed, in their order.
const MORE: [&str; 13] = [
    "gid",
    "how",
    "generation",
    "cuts",
    "stage",
    "home",
    "k8s_user",
    "home_made",
    "subuid",
    "subgid",
    "ports",
    "given",
    "told",
];

/// The words for a person, unless they have what only an object can hold.
fn words(user: &str, person: &PersonFacts) -> Option<String> {
    use std::fmt::Write as _;
    let PersonFacts {
        entry,
        how,
        generation,
        cuts,
        uid,
        gid,
        home,
        subuid,
        subgid,
        more,
        authentik_user,
        k8s_user,
        stage,
        since,
        home_made,
        ports,
        given,
        joining,
        aside,
        renaming,
        formerly,
        archive,
        home_owed,
        told,
    } = person;
    let rare = !joining.is_empty()
        || !more.is_empty()
        || !aside.is_empty()
        || !renaming.is_empty()
        || !formerly.is_empty()
        || archive.is_some()
        || home_owed.is_some();
    let names = [user, home, authentik_user, k8s_user];
    let mut listed = ports.keys().chain(given);
    if rare
        || since.0 < 0
        || told.is_some_and(|it| it.0 < 0)
        || !names.iter().all(|it| is_word(it))
        || !listed.all(|it| is_word(it))
    {
        return None;
    }
    let mut out = String::with_capacity(128);
    let mut write = |words: std::fmt::Arguments<'_>| {
        out.write_fmt(words).expect("a String takes everything");
    };
    let since = since.0;
    write(format_args!(
        "{user} {entry} {uid} {authentik_user} {since}"
    ));
    if gid != uid {
        write(format_args!(" gid={gid}"));
    }
    if *how != Provenance::Created {
        write(format_args!(" how={}", how_word(*how)));
    }
    if *generation != 1 {
        write(format_args!(" generation={generation}"));
    }
    if *cuts != 0 {
        write(format_args!(" cuts={cuts}"));
    }
    if *stage != Stage::Active {
        write(format_args!(" stage={}", stage_word(*stage)));
    }
    if home.strip_prefix(HOMES) != Some(user) {
        write(format_args!(" home={home}"));
    }
    if k8s_user != authentik_user {
        write(format_args!(" k8s_user={k8s_user}"));
    }
    if !home_made {
        write(format_args!(" home_made=no"));
    }
    for (name, range) in [("subuid", subuid), ("subgid", subgid)] {
        if let Some(range) = range {
            write(format_args!(" {name}={range}"));
        }
    }
    for (index, (family, port)) in ports.iter().enumerate() {
        let before = if index == 0 { " ports=" } else { "," };
        write(format_args!("{before}{family}:{port}"));
    }
    for (index, group) in given.iter().enumerate() {
        let before = if index == 0 { " given=" } else { "," };
        write(format_args!("{before}{group}"));
    }
    if let Some(told) = told {
        write(format_args!(" told={}", told.0));
    }
    Some(out)
}

/// Where homes usually are.
const HOMES: &str = "/home/";

fn of_words(line: &[u8]) -> Result<(String, Box<PersonFacts>), Odd> {
    let text = std::str::from_utf8(line).ok();
    let text = text.and_then(|it| it.strip_prefix('"')?.strip_suffix('"'));
    let mut rest = Some(text.ok_or(Odd("end"))?);
    let mut words = std::iter::from_fn(|| {
        let text = rest.take()?;
        let Some(end) = memchr::memchr(b' ', text.as_bytes()) else {
            return Some(text);
        };
        rest = Some(&text[end + 1..]);
        Some(&text[..end])
    });
    let mut next = || words.next().unwrap_or_default();
    let user = word(next(), "user")?;
    let entry = next().parse().map_err(|_| Odd("entry"))?;
    let uid = number(next(), "uid")?;
    let authentik_user = word(next(), "authentik_user")?;
    let since = Time(number(next(), "since")?);
    let mut person = Box::new(PersonFacts {
        entry,
        how: Provenance::Created,
        generation: 1,
        cuts: 0,
        uid,
        gid: uid,
        home: String::new(),
        subuid: None,
        subgid: None,
        more: Default::default(),
        authentik_user: authentik_user.to_owned(),
        k8s_user: String::new(),
        stage: Stage::Active,
        since,
        home_made: true,
        ports: Ports::new(),
        given: BTreeSet::new(),
        joining: BTreeSet::new(),
        aside: SetAside::default(),
        renaming: BTreeSet::new(),
        formerly: BTreeSet::new(),
        archive: None,
        home_owed: None,
        told: None,
    });
    // Each name is there once at most, since they come in one order.
    let mut places = 0..MORE.len();
    for more in words {
        let (name, value) = more.split_once('=').ok_or(Odd("word"))?;
        let place = places
            .find(|place| MORE[*place] == name)
            .ok_or(Odd("word"))?;
        read_more(&mut person, MORE[place], value)?;
    }
    if person.home.is_empty() {
        person.home.reserve_exact(HOMES.len() + user.len());
        person.home.push_str(HOMES);
        person.home.push_str(user);
    }
    if person.k8s_user.is_empty() {
        person.k8s_user.push_str(authentik_user);
    }
    Ok((user.to_owned(), person))
}

fn read_more(person: &mut PersonFacts, name: &'static str, value: &str) -> Result<(), Odd> {
    match name {
        "gid" => person.gid = number(value, name)?,
        "how" => {
            let all = [Provenance::Created, Provenance::Adopted];
            let found = all.into_iter().find(|it| how_word(*it) == value);
            person.how = found.ok_or(Odd(name))?;
        }
        "generation" => person.generation = number(value, name)?,
        "cuts" => person.cuts = number(value, name)?,
        "stage" => {
            let all = [
                Stage::Active,
                Stage::Parked,
                Stage::Disabled,
                Stage::Cut,
                Stage::Archived,
                Stage::Deleted,
            ];
            let found = all.into_iter().find(|it| stage_word(*it) == value);
            person.stage = found.ok_or(Odd(name))?;
        }
        "home" => person.home = word(value, name)?.to_owned(),
        "k8s_user" => person.k8s_user = word(value, name)?.to_owned(),
        "home_made" if value == "no" => person.home_made = false,
        "subuid" => person.subuid = Some(range(value, name)?),
        "subgid" => person.subgid = Some(range(value, name)?),
        "ports" => {
            for port in value.split(',') {
                let (family, port) = port.rsplit_once(':').ok_or(Odd(name))?;
                let family = word(family, name)?.to_owned();
                if person.ports.insert(family, number(port, name)?).is_some() {
                    return Err(Odd(name));
                }
            }
        }
        "given" => {
            for group in value.split(',') {
                if !person.given.insert(word(group, name)?.to_owned()) {
                    return Err(Odd(name));
                }
            }
        }
        "told" => person.told = Some(Time(number(value, name)?)),
        _ => return Err(Odd(name)),
    }
    Ok(())
}

fn how_word(how: Provenance) -> &'static str {
    match how {
        Provenance::Created => "created",
        Provenance::Adopted => "adopted",
    }
}

fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Active => "active",
        Stage::Parked => "parked",
        Stage::Disabled => "disabled",
        Stage::Cut => "cut",
        Stage::Archived => "archived",
        Stage::Deleted => "deleted",
    }
}

fn range(text: &str, what: &'static str) -> Result<IdRange, Odd> {
    let (first, count) = text.split_once('+').ok_or(Odd(what))?;
    Ok(IdRange {
        first: number(first, what)?,
        count: number(count, what)?,
    })
}

/// A number as it is printed: no sign, no zero before it.
fn number<T: TryFrom<u64>>(text: &str, what: &'static str) -> Result<T, Odd> {
    let plain = matches!(text.as_bytes(), [b'0'] | [b'1'..=b'9', ..]);
    let number: Option<u64> = text.parse().ok().filter(|_| plain);
    number.and_then(|it| T::try_from(it).ok()).ok_or(Odd(what))
}

fn word<'t>(text: &'t str, what: &'static str) -> Result<&'t str, Odd> {
    is_word(text).then_some(text).ok_or(Odd(what))
}

/// Whether a text stands for itself between spaces, commas and quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && STANDS_FOR_ITSELF.has_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::facts::ArchiveFacts;

    const ENTRY: &str = "0123456789abcdef0123456789abcdef";

    fn usual() -> PersonFacts {
        let line = format!("\"emo {ENTRY} 1004 emo@example.com 1795379579\"");
        let read = of_words(line.as_bytes()).map_err(|Odd(what)| what);
        *read.unwrap().1
    }

    fn written(person: &PersonFacts) -> String {
        let mut out = Vec::new();
        push(&mut out, "emo", person);
        String::from_utf8(out).unwrap()
    }

    /// People who each differ from the usual in one way, with what their lines say of it.
    fn differing() -> Vec<(PersonFacts, &'static str)> {
        let it = |change: fn(&mut PersonFacts), says| {
            let mut person = usual();
            change(&mut person);
            (person, says)
        };
        let range = IdRange {
            first: 100_000,
            count: 65_536,
        };
        let mut both = usual();
        (both.subuid, both.subgid) = (Some(range), Some(range));
        vec![
            (usual(), ""),
            (both, " subuid=100000+65536 subgid=100000+65536"),
            it(|it| it.gid = 100, " gid=100"),
            it(|it| it.how = Provenance::Adopted, " how=adopted"),
            it(|it| it.generation = 2, " generation=2"),
            it(|it| it.cuts = 3, " cuts=3"),
            it(|it| it.stage = Stage::Parked, " stage=parked"),
            it(|it| it.stage = Stage::Disabled, " stage=disabled"),
            it(|it| it.stage = Stage::Cut, " stage=cut"),
            it(|it| it.stage = Stage::Archived, " stage=archived"),
            it(|it| it.stage = Stage::Deleted, " stage=deleted"),
            it(|it| it.home = "/srv/emo".into(), " home=/srv/emo"),
            it(|it| it.k8s_user = "emo".into(), " k8s_user=emo"),
            it(|it| it.home_made = false, " home_made=no"),
            it(
                |it| it.ports = [("t3".into(), 3773), ("playwright".into(), 33773)].into(),
                " ports=playwright:33773,t3:3773",
            ),
            it(
                |it| it.given = ["sudo".into(), "docker".into()].into(),
                " given=docker,sudo",
            ),
            it(|it| it.told = Some(Time(7)), " told=7"),
        ]
    }

    #[test]
    fn whoever_is_as_usual_has_few_words_and_all_others_say_how_they_differ() {
        for (person, says) in differing() {
            let line = written(&person);
            let usual = format!("\"emo {ENTRY} 1004 emo@example.com 1795379579{says}\"\n");
            assert_eq!(line, usual);
            assert!(
                serde_json::from_str::<String>(&line).is_ok(),
                "{line} is JSON"
            );
            assert_eq!(
                read(line.trim_end().as_bytes()).unwrap(),
                ("emo".into(), Box::new(person))
            );
        }
    }

    #[test]
    fn what_words_cannot_hold_stands_in_an_object() {
        let changes: [fn(&mut PersonFacts); 9] = [
            |it| it.joining = ["sudo".into()].into(),
            |it| it.aside.login = true,
            |it| it.formerly = ["emil".into()].into(),
            |it| {
                it.archive = Some(ArchiveFacts {
                    entry: it.entry,
                    sha256: "0".into(),
                    bytes: 1,
                });
            },
            |it| it.home_owed = Some(it.entry),
            |it| it.since = Time(-1),
            |it| it.home = "/home/with space".into(),
            |it| it.authentik_user = String::new(),
            |it| it.given = ["a,b".into()].into(),
        ];
        for change in changes {
            let mut person = usual();
            change(&mut person);
            let line = written(&person);
            assert!(line.starts_with("{\"user\":\"emo\",\"is\":{"), "{line}");
            assert_eq!(
                read(line.trim_end().as_bytes()).unwrap(),
                ("emo".into(), Box::new(person))
            );
        }
    }

    #[test]
    fn a_line_of_words_that_we_never_write_is_refused() {
        let line = |words: &str| format!("\"{words}\"");
        let usual = format!("emo {ENTRY} 1004 emo@example.com 7");
        assert!(read(line(&usual).as_bytes()).is_ok());
        let refused = [
            usual.replace("emo ", " "),
            usual.replace("emo ", "émo "),
            usual.replace("0123", "012G"),
            usual.replace("1004", "01004"),
            usual.replace("1004", "+1004"),
            usual.replace("1004", "4294967296"),
            usual.replace("@example.com", "\\u0040example.com"),
            usual.replace(" 7", " -7"),
            usual.replace(" 7", ""),
            format!("{usual} "),
            format!("{usual}  gid=5"),
            format!("{usual} gid"),
            format!("{usual} gid="),
            format!("{usual} gid=5 "),
            format!("{usual} gid=5 gid=6"),
            format!("{usual} generation=2 gid=5"),
            format!("{usual} shell=/bin/sh"),
            format!("{usual} how=found"),
            format!("{usual} stage=gone"),
            format!("{usual} home_made=yes"),
            format!("{usual} subuid=5"),
            format!("{usual} ports=t3:65536"),
            format!("{usual} ports=t3:1,t3:2"),
            format!("{usual} ports=t3"),
            format!("{usual} given="),
            format!("{usual} given=sudo,"),
            format!("{usual} given=sudo,sudo"),
        ];
        for words in refused {
            assert!(read(line(&words).as_bytes()).is_err(), "{words}");
        }
        assert!(read(format!("\"{usual}").as_bytes()).is_err());
        assert!(read(format!("\"{usual}\"x").as_bytes()).is_err());
        assert!(read(usual.as_bytes()).is_err());
        assert!(read(b"\"").is_err());
        assert!(read(b"\"\"").is_err());
    }
}
