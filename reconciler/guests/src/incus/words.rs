//! What answers of Incus mean: errors, operations, and instances as a list shows them.

use muster_core::guests::normal::tags_of;
use muster_core::time::{Counted, Time};

use super::answers::{Head, Instance, Operation, StorageVolume};
use super::config::{self, kind, power};
use crate::api::{Call, Listed, Place, Progress, Result, Task};
use crate::error::Error;
use crate::wire::{Answer, WireError};

pub(super) fn wire_error(what: &str, changes: bool, error: WireError) -> Error {
    match error {
        WireError::NotSent(why) => Error::NotSent {
            what: what.to_owned(),
            why,
        },
        WireError::Perhaps(why) if changes => Error::perhaps(what, why),
        WireError::Perhaps(why) => Error::unreadable(what, why),
    }
}

pub(super) fn refusal(what: &str, changes: bool, answer: &Answer) -> Error {
    let head: Head = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = answer.status.as_u16();
    let said = if head.error.is_empty() {
        answer
            .reason
            .clone()
            .unwrap_or_else(|| "without a word why".to_owned())
    } else {
        head.error
    };
    match code {
        500..=599 if changes => Error::perhaps_with(what, code, &said),
        401 | 403 => Error::refused(
            what,
            code,
            &format!(
                "{said}; `incus config trust list` shows whether the server knows our certificate, and its projects"
            ),
        ),
        _ => Error::refused(what, code, &said),
    }
}

/// The operation that an answer tells of, if it does.
pub(super) fn begun(what: &str, answer: &Answer) -> Result<Option<Task>> {
    let head: Head = serde_json::from_slice(&answer.body)
        .map_err(|error| Error::perhaps(what, format!("the answer makes no sense: {error}")))?;
    if head.kind == "sync" {
        return Ok(None);
    }
    if head.kind == "error" {
        return Err(Error::perhaps(what, head.error));
    }
    let id = head
        .operation
        .strip_prefix("/1.0/operations/")
        .unwrap_or("");
    let id = id.split('?').next().unwrap_or("");
    if !is_id(id) {
        return Err(Error::perhaps(
            what,
            format!("`{}` is no operation", head.operation),
        ));
    }
    let operation: Option<Operation> = head.metadata.and_then(|it| serde_json::from_value(it).ok());
    let member = operation.map(|it| it.location).unwrap_or_default();
    Ok(Some(task(id, &member)))
}

/// A moment as Incus writes it, in seconds; 0 for what lies before 1970.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let moment = Time::from_words(text, Time(0), Counted::Back).ok()?;
    Some(u64::try_from(moment.0).unwrap_or(0))
}

pub(super) fn is_id(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// An operation with the member that has it (GB11).
pub(super) fn task(id: &str, member: &str) -> Task {
    match member {
        "" | "none" => Task(id.to_owned()),
        member => Task(format!("{id}@{member}")),
    }
}

pub(super) fn progress(operation: &Operation) -> Progress {
    match operation.status_code {
        200 => Progress::Done(None),
        400 | 401 => Progress::Failed(crate::error::bounded(&operation.err)),
        _ => Progress::Runs,
    }
}

/// What an operation does, by its description, which is all that says so.
pub(super) fn call(description: &str) -> Call {
    match description {
        "Starting instance" => Call::Start,
        // It says the same of both ways.
        "Stopping instance" => Call::Shutdown,
        "Updating instance" | "Renaming instance" => Call::Configure,
        "Creating instance" => Call::Create,
        "Restoring backup" => Call::Restore,
        "Backing up instance" => Call::Backup,
        "Deleting instance" => Call::Destroy,
        _ => Call::Other,
    }
}

/// The instances that an operation is about, as they stand in paths.
pub(super) fn names(operation: &Operation) -> impl Iterator<Item = &str> {
    let named = operation
        .resources
        .iter()
        .filter_map(|it| it.get("instances"));
    named
        .flatten()
        .filter_map(|it| it.split('?').next()?.rsplit('/').next())
}

pub(super) fn listed(
    instance: Instance,
    volumes: &[(String, StorageVolume)],
    busy: Option<Task>,
) -> Listed {
    let node = match instance.location.as_str() {
        "none" => String::new(),
        member => member.to_owned(),
    };
    // What the others say of an instance whose member does not answer.
    let power = (instance.status != "Error").then(|| power(&instance.status));
    Listed {
        name: Some(instance.name.clone()),
        power,
        lock: None,
        template: false,
        ha: None,
        pool: Some(instance.project.clone()),
        tags: tags_of(instance.config.get(config::TAGS).map_or("", String::as_str)),
        busy,
        config: Some(config::read(&instance, volumes, None)),
        place: Place {
            kind: kind(&instance.kind),
            node,
            project: instance.project,
            id: instance.name,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Power;

    #[test]
    fn what_a_member_that_is_away_has_is_unknown() {
        let instance: Instance = serde_json::from_value(json!({
            "name": "a", "status": "Error", "location": "m2", "type": "container", "project": "default",
        }))
        .unwrap();
        let listed = listed(instance, &[], None);
        assert_eq!((listed.power, listed.place.node.as_str()), (None, "m2"));
        assert_eq!(power("Frozen"), Power::Other("Frozen".to_owned()));
    }

    #[test]
    fn moments_are_read_as_incus_writes_them() {
        for (text, at) in [
            ("2026-11-30T03:28:04.123456789Z", Some(1_796_009_284)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("0001-01-01T00:00:00Z", Some(0)),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(seconds(text), at, "{text}");
        }
    }

    #[test]
    fn an_operation_is_known_by_its_id_and_member() {
        let id = "f455962e-77bd-4cd2-b8d8-a45689b41557";
        assert_eq!(task(id, "none"), Task(id.to_owned()));
        assert_eq!(task(id, "m2"), Task(format!("{id}@m2")));
        assert!(!is_id("../../1.0"));
    }
}
