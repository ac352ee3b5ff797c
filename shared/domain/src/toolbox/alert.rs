//! What is told of toolboxes that fell silent or returned: plain text for a Discord message.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// The longest message that Discord takes, in characters
/// (<https://discord.com/developers/docs/resources/webhook#execute-webhook>).
pub const MESSAGE_MAX_CHARS: usize = 2000;

const NAME_MAX_CHARS: usize = 60;
/// Room for what follows the list: how many more there are, and the doubt.
const ENDING_CHARS: usize = 160;

/// What an alert is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Toolboxes of one owner have fallen silent.
    Silent,
    /// They speak again.
    Returned,
    /// They are silent still.
    Reminder,
    /// Many toolboxes of many owners have fallen silent at once.
    MassSilence,
    /// They speak again.
    MassReturn,
}

/// A toolbox in an alert.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct AlertEntry {
    /// Its name; its owner may have written anything.
    pub name: Option<String>,
    /// When it fell silent or returned.
    pub at: DateTime<Utc>,
}

/// The text of an alert of `total` toolboxes, of which `entries` are the first. `in_doubt` says that it may have been sent before.
///
/// Never longer than [`MESSAGE_MAX_CHARS`]. Names are defused: they cannot format, link, mention, or break the line.
#[must_use]
pub fn alert_text(kind: AlertKind, entries: &[AlertEntry], total: u64, in_doubt: bool) -> String {
    let toolboxes = if total == 1 { "toolbox" } else { "toolboxes" };
    let verb = |one: &'static str, many: &'static str| if total == 1 { one } else { many };
    let mut text = match kind {
        AlertKind::Silent => format!("\u{1f534} {total} {toolboxes} {} fallen silent.", verb("has", "have")),
        AlertKind::Returned => format!("\u{1f7e2} {total} {toolboxes} {} again.", verb("speaks", "speak")),
        AlertKind::Reminder => format!("\u{1f534} {total} {toolboxes} {} still silent.", verb("is", "are")),
        AlertKind::MassSilence => format!(
            "\u{1f534} {total} {toolboxes} fell silent at once. Look at the platform and its network first; owners were not told."
        ),
        AlertKind::MassReturn => format!(
            "\u{1f7e2} {total} {toolboxes} of those that fell silent at once {} again.",
            verb("speaks", "speak")
        ),
    };
    let since = match kind {
        AlertKind::Returned | AlertKind::MassReturn => "at",
        AlertKind::Silent | AlertKind::Reminder | AlertKind::MassSilence => "since",
    };

    let mut shown = 0_u64;
    for entry in entries {
        let line = format!(
            "\n- {} {since} {}",
            defused(entry.name.as_deref().unwrap_or("(unnamed)")),
            entry.at.format("%Y-%m-%d %H:%M:%S UTC")
        );
        if text.chars().count() + line.chars().count() + ENDING_CHARS > MESSAGE_MAX_CHARS {
            break;
        }
        text.push_str(&line);
        shown += 1;
    }
    if total > shown {
        // Writing to a string does not fail.
        let _written = write!(text, "\nand {} more", total - shown);
    }
    if in_doubt {
        text.push_str("\n(It is not known whether this was told before: sending it was interrupted.)");
    }
    text
}

/// A name as code, which Discord shows as it is: no formatting, no links, no mentions. Its own back-quotes and line breaks go.
fn defused(name: &str) -> String {
    let mut kept: String = name
        .chars()
        .map(|character| match character {
            '`' => '\'',
            control if control.is_control() => ' ',
            other => other,
        })
        .take(NAME_MAX_CHARS)
        .collect();
    if name.chars().count() > NAME_MAX_CHARS {
        kept.push('…');
    }
    format!("`{kept}`")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str) -> AlertEntry {
        AlertEntry {
            name: Some(name.to_owned()),
            at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_alert_says_which_and_since_when() {
        let two = [
            entry("Box"),
            AlertEntry {
                name: None,
                at: DateTime::UNIX_EPOCH,
            },
        ];

        assert_snapshot!(alert_text(AlertKind::Silent, &two[..1], 1, false), @r"
        🔴 1 toolbox has fallen silent.
        - `Box` since 1970-01-01 00:00:00 UTC
        ");
        assert_snapshot!(alert_text(AlertKind::Returned, &two, 2, false), @r"
        🟢 2 toolboxes speak again.
        - `Box` at 1970-01-01 00:00:00 UTC
        - `(unnamed)` at 1970-01-01 00:00:00 UTC
        ");
        assert_snapshot!(alert_text(AlertKind::MassSilence, &two, 1000, true), @r"
        🔴 1000 toolboxes fell silent at once. Look at the platform and its network first; owners were not told.
        - `Box` since 1970-01-01 00:00:00 UTC
        - `(unnamed)` since 1970-01-01 00:00:00 UTC
        and 998 more
        (It is not known whether this was told before: sending it was interrupted.)
        ");
        assert_snapshot!(alert_text(AlertKind::Reminder, &[entry("@everyone `x` [a](http://b)\nc")], 1, false), @r"
        🔴 1 toolbox is still silent.
        - `@everyone 'x' [a](http://b) c` since 1970-01-01 00:00:00 UTC
        ");
    }

    proptest! {
        #[test]
        fn no_alert_is_too_long(names in prop::collection::vec(any::<String>(), 0..40), total in 0_u64..100_000, in_doubt: bool) {
            let entries: Vec<_> = names.iter().map(|name| entry(name)).collect();

            let text = alert_text(AlertKind::MassSilence, &entries, total.max(entries.len() as u64), in_doubt);

            prop_assert!(text.chars().count() <= MESSAGE_MAX_CHARS);
            prop_assert!(text.matches('`').count().is_multiple_of(2));
        }
    }
}
