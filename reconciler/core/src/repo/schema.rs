//! The published JSON Schemas (draft 2020-12), made from the tables that the reader uses.

use serde_json::{Map, Value, json};

use crate::repo::checks::{MAX_UID, MIN_UID, NO_UIDS};
use crate::repo::fields::{self, Field, Presence, Shape};
use crate::repo::names::Grammar;

/// The schema of `roster.yaml`.
pub fn roster() -> String {
    schema(
        "roster.yaml",
        "The people of a state repository",
        object(&fields::ROSTER),
    )
}

/// The schema of `tiers.yaml`.
pub fn tiers() -> String {
    schema("tiers.yaml", "What each tier gives", object(&fields::TIERS))
}

/// The schema of `hosts/<host>.yaml`.
pub fn host() -> String {
    schema(
        "hosts/<host>.yaml",
        "How one host differs",
        object(&fields::HOST),
    )
}

/// The schema of a map with these fields.
pub fn object<K>(table: &[Field<K>]) -> Value {
    let properties: Map<String, Value> = table
        .iter()
        .map(|field| (field.name.to_owned(), property(field)))
        .collect();
    let required: Vec<&str> = table
        .iter()
        .filter(|field| field.presence == Presence::Required)
        .map(|field| field.name)
        .collect();
    let mut object =
        json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// A schema of its own: that of a file.
pub(crate) fn schema(file: &str, title: &str, mut body: Value) -> String {
    // An empty file says the same as an empty map (R3).
    body["type"] = json!(["object", "null"]);
    body["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    body["title"] = json!(format!("{title} ({file})"));
    format!("{body:#}\n")
}

fn property<K>(field: &Field<K>) -> Value {
    let mut value = shape(&field.shape);
    value["description"] = json!(field.about);
    value
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text(grammar) => text(grammar),
        Shape::OneOf(words) => json!({ "enum": words }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Date => {
            json!({ "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" })
        }
        Shape::Uid => {
            json!({ "type": "integer", "minimum": MIN_UID, "maximum": MAX_UID, "not": { "enum": NO_UIDS } })
        }
        Shape::Texts(grammar) => list(&text(grammar)),
        Shape::AnyOf(words) => list(&json!({ "enum": words })),
        Shape::MapOf(grammar, value) => json!({
            "type": ["object", "null"],
            "propertyNames": { "pattern": grammar.pattern },
            "additionalProperties": value(),
        }),
        Shape::MapOfWords(words, value) => {
            let properties: Map<String, Value> = words
                .iter()
                .map(|word| ((*word).to_owned(), value()))
                .collect();
            json!({ "type": ["object", "null"], "additionalProperties": false, "properties": properties })
        }
        Shape::Count(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::Size => json!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^[1-9][0-9]*(KiB|MiB|GiB|TiB)?$" },
        ] }),
        Shape::Object(value) => value(),
    }
}

fn text(grammar: &Grammar) -> Value {
    json!({ "type": "string", "pattern": grammar.pattern })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items, "uniqueItems": true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_schemas_are_these() {
        for (shown, expected) in [
            (roster(), include_str!("schema/roster.json")),
            (tiers(), include_str!("schema/tiers.json")),
            (host(), include_str!("schema/host.json")),
        ] {
            assert_eq!(shown, expected);
        }
    }

    /// Every field of the schema is known to the reader, which asks for another value at most.
    #[test]
    fn the_reader_knows_every_field() {
        let schema: Value = serde_json::from_str(&roster()).unwrap();
        let person = &schema["properties"]["users"]["additionalProperties"];
        let fields: Vec<&String> = person["properties"].as_object().unwrap().keys().collect();
        assert_eq!(fields.len(), fields::PERSON.len());
        for field in fields {
            let text = format!("users: {{emo: {{{field}: [{{}}]}}}}\n");
            let files = BTreeMap::from([("roster.yaml".to_owned(), text.into_bytes())]);
            let found = crate::rooms::read_whole(&files, &[]).unwrap_err();
            assert!(
                found
                    .iter()
                    .all(|diagnostic| diagnostic.rule != "unknown-field"),
                "{field}"
            );
            assert!(
                found
                    .iter()
                    .any(|diagnostic| diagnostic.rule == "wrong-type"),
                "{field}"
            );
        }
    }
}
