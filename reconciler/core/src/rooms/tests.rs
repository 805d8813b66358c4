use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde_json::{Value, json};

use super::*;
use crate::accounts::action::tests::{actions, incarnations};
use crate::step::Step;

/// Finds out which tags a type reads, which its reader is told, and reads nothing.
struct Tags<'t>(&'t mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Tags<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no sum"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        tags: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = tags;
        Err(Error::custom("nothing is read"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

fn tags_of<T: DeserializeOwned + fmt::Debug>() -> &'static [&'static str] {
    let mut tags: &'static [&'static str] = &[];
    T::deserialize(Tags(&mut tags)).unwrap_err();
    tags
}

fn every_action() -> Vec<Action> {
    let guest = || "104".to_owned();
    let made = guests::action::Marker("m".to_owned());
    let of_guests = [
        guests::action::Action::StartGuest { guest: guest() },
        guests::action::Action::ShutdownGuest { guest: guest() },
        guests::action::Action::StopGuest { guest: guest() },
        guests::action::Action::SetGuestCores {
            guest: guest(),
            from: None,
            to: 2,
        },
        guests::action::Action::SetGuestMemory {
            guest: guest(),
            from: Some(512),
            to: 1024,
        },
        guests::action::Action::SetGuestDescription {
            guest: guest(),
            to: "x".to_owned(),
        },
        guests::action::Action::SetGuestTags {
            guest: guest(),
            from: BTreeSet::new(),
            to: BTreeSet::from(["x".to_owned()]),
        },
        guests::action::Action::SetGuestOnboot {
            guest: guest(),
            to: true,
        },
        guests::action::Action::RecordGuest {
            guest: guest(),
            identity: guests::action::Found::default(),
        },
        guests::action::Action::CreateGuest {
            guest: guest(),
            made: made.clone(),
            shape: Box::new(guests::desired::Shape {
                origin: guests::desired::Origin::Image("x".to_owned()),
                storage: "x".to_owned(),
                network: None,
                unprivileged: true,
                nesting: false,
                devices: BTreeSet::new(),
                name: None,
                cores: None,
                memory: None,
            }),
        },
        guests::action::Action::DiscardGuest {
            guest: guest(),
            made: made.clone(),
        },
        guests::action::Action::DestroyGuest {
            guest: guest(),
            volumes: guests::action::Volumes::default(),
            aside: "aside-x".to_owned(),
        },
        guests::action::Action::OverwriteGuest {
            guest: guest(),
            backup: "x".to_owned(),
            made,
            volumes: guests::action::Volumes::default(),
        },
        guests::action::Action::RestoreGuest {
            guest: guest(),
            found: guest(),
            standing: guests::action::Standing::default(),
            privileged: false,
        },
        guests::action::Action::PurgeGuest {
            guest: guest(),
            found: guest(),
            volumes: guests::action::Volumes::default(),
            backup: "x".to_owned(),
        },
        guests::action::Action::NoteGuestUse {
            guest: guest(),
            how: "it ran".to_owned(),
        },
    ];
    let of_accounts = actions().into_iter().map(Action::Account);
    of_accounts
        .chain(of_guests.into_iter().map(Action::Guest))
        .collect()
}

fn every_incarnation() -> Vec<Incarnation> {
    let made = guests::action::Marker("m".to_owned());
    let of_accounts = incarnations().into_iter();
    of_accounts
        .map(|(it, _)| Incarnation::Account(it))
        .chain([
            guests::action::Incarnation::Guest { made, restored: 0 }.into(),
            guests::action::Incarnation::FoundGuest {
                entry: StepId::from_bytes([7; 16]),
                identity: guests::action::Found::default(),
                restored: 1,
            }
            .into(),
            guests::action::Incarnation::NoGuest { times: 0 }.into(),
        ])
        .collect()
}

/// The one tag of what is written.
fn tag_of(written: &Value) -> &str {
    let object = written.as_object().expect("a tag and its content");
    assert_eq!(object.len(), 1, "{written}");
    object.keys().next().unwrap()
}

#[test]
fn each_tag_belongs_to_one_room_and_all_of_them_are_listed() {
    for rooms in [
        [
            (
                accounts::action::Action::TAGS,
                tags_of::<accounts::action::Action>(),
            ),
            (
                guests::action::Action::TAGS,
                tags_of::<guests::action::Action>(),
            ),
        ],
        [
            (
                accounts::action::Incarnation::TAGS,
                tags_of::<accounts::action::Incarnation>(),
            ),
            (
                guests::action::Incarnation::TAGS,
                tags_of::<guests::action::Incarnation>(),
            ),
        ],
    ] {
        let mut seen = BTreeSet::new();
        for (listed, read) in rooms {
            assert_eq!(listed, read);
            assert!(!listed.is_empty());
            for tag in listed {
                assert!(seen.insert(*tag), "{tag} is a tag of two rooms");
            }
        }
    }
}

/// A tag without its content is refused by the room that it belongs to, which asks for a field of it.
#[test]
fn every_tag_is_known_to_its_room() {
    let actions = accounts::action::Action::TAGS
        .iter()
        .chain(guests::action::Action::TAGS);
    for tag in actions {
        let error = serde_json::from_value::<Action>(json!({ *tag: {} })).unwrap_err();
        assert!(
            error.to_string().contains("missing field"),
            "{tag}: {error}"
        );
    }
    let incarnations = accounts::action::Incarnation::TAGS
        .iter()
        .chain(guests::action::Incarnation::TAGS);
    for tag in incarnations {
        let error = serde_json::from_value::<Incarnation>(json!({ *tag: {} })).unwrap_err();
        assert!(
            error.to_string().contains("missing field"),
            "{tag}: {error}"
        );
    }
}

#[test]
fn a_tag_that_is_not_known_is_refused_by_its_name() {
    for text in [
        r#"{"levitate": {"user": "emo"}}"#,
        r#""levitate""#,
        r#"{"levitate": {}, "park": {}}"#,
    ] {
        let error = serde_json::from_str::<Action>(text).unwrap_err();
        assert!(error.to_string().contains("\"levitate\""), "{error}");
        let error = serde_json::from_str::<Incarnation>(text).unwrap_err();
        assert!(error.to_string().contains("\"levitate\""), "{error}");
    }
    // The names of the rooms are no tags, and neither is a verb.
    for tag in ["Account", "account", "Guest", "user.park"] {
        let text = format!("{{\"{tag}\": {{\"park\": {{\"user\": \"emo\"}}}}}}");
        let error = serde_json::from_str::<Action>(&text).unwrap_err();
        assert!(error.to_string().contains(tag), "{error}");
    }
    for text in ["{}", "[]", "null", "7", r#"{"park": 7}"#] {
        assert!(serde_json::from_str::<Action>(text).is_err(), "{text}");
    }
    let more = r#"{"unpark": {"user": "emo", "more": 1}}"#;
    let error = serde_json::from_str::<Action>(more).unwrap_err();
    assert!(error.to_string().contains("more"), "{error}");
}

#[test]
fn what_is_written_is_flat_and_is_read() {
    let mut seen = BTreeSet::new();
    for action in every_action() {
        let text = serde_json::to_string(&action).unwrap();
        let of_room = match &action {
            Action::Account(action) => serde_json::to_string(action),
            Action::Guest(action) => serde_json::to_string(action),
        };
        assert_eq!(text, of_room.unwrap(), "the room is not written");
        assert_eq!(serde_json::from_str::<Action>(&text).unwrap(), action);
        let value = serde_json::to_value(&action).unwrap();
        seen.insert(tag_of(&value).to_owned());
        assert_eq!(serde_json::from_value::<Action>(value).unwrap(), action);
    }
    let tags = accounts::action::Action::TAGS
        .iter()
        .chain(guests::action::Action::TAGS);
    assert_eq!(seen, tags.map(|it| (*it).to_owned()).collect());

    let mut seen = BTreeSet::new();
    for incarnation in every_incarnation() {
        let text = serde_json::to_string(&incarnation).unwrap();
        assert_eq!(
            serde_json::from_str::<Incarnation>(&text).unwrap(),
            incarnation
        );
        seen.insert(tag_of(&serde_json::to_value(&incarnation).unwrap()).to_owned());
    }
    let tags = accounts::action::Incarnation::TAGS
        .iter()
        .chain(guests::action::Incarnation::TAGS);
    assert_eq!(seen, tags.map(|it| (*it).to_owned()).collect());
}

#[test]
fn a_step_of_each_room_reads_back_as_it_was() {
    let executor = Executor::Host("devvm".to_owned());
    for action in every_action() {
        for incarnation in every_incarnation() {
            let step = Step::new(&executor, action.clone(), incarnation);
            let text = serde_json::to_string(&step).unwrap();
            assert_eq!(serde_json::from_str::<Step>(&text).unwrap(), step);
        }
    }
}
