//! What a queue keeps of an object between the listing and the load.

use jiff::Timestamp;
use longshore_queue::{Position, TaskObject};
use longshore_warehouse::{Generation, ObjectId};
use serde::{Deserialize, Serialize};

use super::{Landed, Place};
use crate::bucket::{Object, ObjectKey};

#[derive(Serialize, Deserialize)]
struct Payload {
    object: Lies,
    /// Where it lies now, if that is somewhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Lies>,
    generation: Generation,
    place: Place,
    again: bool,
}

#[derive(Serialize, Deserialize)]
struct Lies {
    key: String,
    etag: String,
    size: u64,
    modified_at: Timestamp,
}

impl From<&Object> for Lies {
    fn from(object: &Object) -> Self {
        Self {
            key: object.key.as_str().to_owned(),
            etag: object.etag.clone(),
            size: object.size,
            modified_at: object.modified_at,
        }
    }
}

impl From<Lies> for Object {
    fn from(lies: Lies) -> Self {
        Self { key: ObjectKey::new(lies.key), etag: lies.etag, size: lies.size, modified_at: lies.modified_at }
    }
}

impl Landed {
    /// The object as a queue takes it.
    pub fn to_task(&self) -> TaskObject {
        let payload = Payload {
            object: Lies::from(&self.object),
            at: (self.at != self.object).then(|| Lies::from(&self.at)),
            generation: self.generation,
            place: self.place,
            again: self.again,
        };
        TaskObject {
            identity: self.identity.to_string(),
            position: Position { modified_at: self.object.modified_at, key: self.key().to_owned() },
            bytes: self.at.size,
            payload: serde_json::to_string(&payload).unwrap_or_default(),
        }
    }

    /// The object that a queue kept; `None` if it is of a version that is not known here. Such an
    /// object is found again by the next listing.
    pub fn from_task(object: &TaskObject) -> Option<Self> {
        Self::from_payload(object.identity.parse().ok()?, &object.payload)
    }

    /// The object of this identity, by its payload.
    pub(super) fn from_payload(identity: ObjectId, payload: &str) -> Option<Self> {
        let payload: Payload = serde_json::from_str(payload).ok()?;
        let landed = Object::from(payload.object);
        Some(Self {
            at: payload.at.map_or_else(|| landed.clone(), Object::from),
            object: landed,
            identity,
            generation: payload.generation,
            place: payload.place,
            again: payload.again,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_back_from_the_queue_as_it_was() {
        let object = Object {
            key: ObjectKey::new("pending/ü \"1\".csv"),
            etag: "e".to_owned(),
            size: 7,
            modified_at: "2026-11-22T10:00:00.123456789Z".parse().unwrap(),
        };
        let pending = Landed::pending(object.clone(), ObjectId::new([7; 32]));
        let at = Object { key: ObjectKey::new("failed/x"), ..object };
        let failed = Landed { at, place: Place::Failed, generation: 3, again: true, ..pending.clone() };
        for landed in [pending, failed] {
            assert_eq!(Landed::from_task(&landed.to_task()), Some(landed));
        }
    }
}
