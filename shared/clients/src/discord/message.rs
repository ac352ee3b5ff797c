//! A message, as it is sent: <https://discord.com/developers/docs/resources/message#create-message>.

use serde::Serialize;

/// The longest message, in Unicode code points (<https://github.com/discord/discord-api-docs/issues/1315>).
pub use agentopia_domain::discord::split::MESSAGE_MAX_CHARS as CONTENT_MAX_CHARS;

/// Whoever sees it is the one who asked: `EPHEMERAL`, 1 << 6.
pub(super) const EPHEMERAL: u32 = 64;

/// A message that mentions nobody.
#[derive(Debug, Serialize)]
pub(crate) struct Message<'a> {
    content: &'a str,
    allowed_mentions: AllowedMentions,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforce_nonce: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachments: Option<Vec<Attachment<'a>>>,
}

/// What of the text may notify somebody: nothing, as the list of kinds is empty.
#[derive(Debug, Serialize)]
struct AllowedMentions {
    parse: [&'static str; 0],
}

/// A file that the message has after it is sent.
#[derive(Debug, Serialize)]
struct Attachment<'a> {
    /// The number of the form's field `files[n]`.
    id: usize,
    filename: &'a str,
}

impl<'a> Message<'a> {
    /// A message with this text.
    pub(crate) fn new(content: &'a str) -> Self {
        Self {
            content,
            allowed_mentions: AllowedMentions { parse: [] },
            flags: None,
            nonce: None,
            enforce_nonce: None,
            attachments: None,
        }
    }

    /// A message that Discord takes once.
    pub(super) fn once(self, nonce: &'a str) -> Self {
        Self {
            nonce: Some(nonce),
            enforce_nonce: Some(true),
            ..self
        }
    }

    /// A message for whoever asked alone, if it is to be one.
    pub(super) fn ephemeral(self, is_ephemeral: bool) -> Self {
        Self {
            flags: is_ephemeral.then_some(EPHEMERAL),
            ..self
        }
    }

    /// A message that has these files after it is edited, and none that it had before: those that are not listed are removed.
    pub(super) fn with_files(self, names: &[&'a str]) -> Self {
        let attachments = names.iter().enumerate();
        Self {
            attachments: Some(attachments.map(|(id, filename)| Attachment { id, filename }).collect()),
            ..self
        }
    }
}

/// The text, or as much of it as one message takes: up to the last line that fits, else the last word, and a mark that there was more.
pub(crate) fn cut(text: &str) -> String {
    const MARK: &str = "\n…";
    if text.chars().count() <= CONTENT_MAX_CHARS {
        return text.to_owned();
    }

    let kept: String = text.chars().take(CONTENT_MAX_CHARS - MARK.chars().count()).collect();
    // A break in the first half would cost more than a word that is cut.
    let late = |position: &usize| *position >= kept.len() / 2;
    let end = kept
        .rfind('\n')
        .filter(late)
        .or_else(|| kept.rfind(char::is_whitespace).filter(late))
        .unwrap_or(kept.len());
    let (kept, _) = kept.split_at(end);
    format!("{}{MARK}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_text_ends_with_a_line_or_a_word() {
        let words = "word ".repeat(500);
        let lines = format!("{}\n{}", "a".repeat(1500), "b ".repeat(400));
        let one = "é".repeat(CONTENT_MAX_CHARS + 1);
        let fits = "🎉".repeat(CONTENT_MAX_CHARS);

        assert_eq!(cut(&words), format!("{}word\n…", "word ".repeat(398)));
        assert_eq!(cut(&lines), format!("{}\n…", "a".repeat(1500)));
        assert_eq!(cut(&one), format!("{}\n…", "é".repeat(CONTENT_MAX_CHARS - 2)));
        assert_eq!(cut(&fits), fits);
    }

    proptest! {
        #[test]
        fn a_cut_text_fits_and_is_the_beginning_of_what_it_was(text in "([a-z ]|\n|é|🎉){1990,2100}") {
            let cut = cut(&text);

            prop_assert!(cut.chars().count() <= CONTENT_MAX_CHARS);
            match cut.strip_suffix("\n…") {
                Some(kept) => prop_assert!(text.starts_with(kept)),
                None => prop_assert_eq!(cut, text),
            }
        }
    }
}
