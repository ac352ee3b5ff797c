//! Rows that a function passes on as the database wrote them.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// A row as clients see it. Only its id and its revision are looked at, for `Location` and `ETag`.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Row {
    document: Box<RawValue>,
    #[serde(skip)]
    tag: Tag,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Tag {
    id: Uuid,
    revision: i64,
}

impl Row {
    /// The row's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.tag.id
    }

    /// The row's revision: grows with every change that a client can make.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.tag.revision
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Box::<RawValue>::deserialize(deserializer)?;
        let tag = serde_json::from_str(document.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { document, tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_passed_on_as_it_was_written() {
        let text = r#"{"id": "00000000-0000-4000-8000-000000000001", "revision": 7, "load": 0.10000000000000000001}"#;

        let row: Row = serde_json::from_str(text).unwrap();

        assert_eq!(
            (row.id(), row.revision()),
            (uuid::uuid!("00000000-0000-4000-8000-000000000001"), 7)
        );
        assert_eq!(serde_json::to_string(&row).unwrap(), text);
    }

    #[test]
    fn what_has_no_revision_is_no_row() {
        assert!(serde_json::from_str::<Row>(r#"{"id": "00000000-0000-4000-8000-000000000001"}"#).is_err());
        assert!(serde_json::from_str::<Row>("null").is_err());
    }
}
