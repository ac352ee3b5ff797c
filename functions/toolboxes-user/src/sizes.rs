//! Which sizes of machines users may ask for: the provider bills whoever runs the deployment.

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

/// The sizes that may be asked for, by their slugs; none means all that the provider has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OfferedSizes(Vec<String>);

/// What of a size tells which it is.
#[derive(Deserialize)]
struct Size {
    slug: String,
}

impl OfferedSizes {
    /// Reads slugs that are separated by commas.
    pub(crate) fn parse(list: &str) -> Self {
        let slugs = list.split(',').map(str::trim).filter(|slug| !slug.is_empty());
        Self(slugs.map(str::to_owned).collect())
    }

    /// Whether a size may be asked for.
    pub(crate) fn contains(&self, slug: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|offered| offered == slug)
    }

    /// Of the provider's list, what may be asked for, each as it is.
    pub(crate) fn of(&self, document: Box<RawValue>) -> Result<Box<RawValue>, serde_json::Error> {
        if self.0.is_empty() {
            return Ok(document);
        }
        let mut offered = Vec::new();
        for size in serde_json::from_str::<Vec<&RawValue>>(document.get())? {
            if self.contains(&serde_json::from_str::<Size>(size.get())?.slug) {
                offered.push(size);
            }
        }
        to_raw_value(&offered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_offered_and_without_a_list_everything_is() {
        let document = || RawValue::from_string(r#"[{"slug":"a","price":4.0},{"slug":"b"}]"#.to_owned()).unwrap();
        let cases = [
            ("", [true, true], r#"[{"slug":"a","price":4.0},{"slug":"b"}]"#),
            (" , ", [true, true], r#"[{"slug":"a","price":4.0},{"slug":"b"}]"#),
            (" a ,c", [true, false], r#"[{"slug":"a","price":4.0}]"#),
            ("c", [false, false], "[]"),
        ];

        for (list, contained, shown) in cases {
            let sizes = OfferedSizes::parse(list);

            assert_eq!(["a", "b"].map(|slug| sizes.contains(slug)), contained, "{list:?}");
            assert_eq!(sizes.of(document()).unwrap().get(), shown, "{list:?}");
        }
    }
}
