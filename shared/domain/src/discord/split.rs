//! A long reply as several messages, cut at sensible places.
//!
//! Discord takes 2,000 characters (Unicode code points) in a message and renders Markdown in each by itself, so that a fenced block that goes
//! on in the next message is closed in this one and opened again, with its language, in that one.

/// The most characters of a message (<https://discord.com/developers/docs/resources/message#create-message>).
pub const MESSAGE_MAX_CHARS: usize = 2000;

/// A fenced block that is open: CommonMark, section 4.5.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Fence {
    /// The back-quotes or tildes that close it.
    marker: String,
    /// The line that opens it, shortened if it is unreasonably long.
    opening: String,
}

/// A line, or a piece of one that is longer than a message.
struct Piece<'a> {
    text: &'a str,
    /// Whether a line break comes before it.
    begins_line: bool,
    /// The block that is open after it.
    fence: Option<Fence>,
}

/// Splits a text into messages of at most `limit` characters each, in order: at an empty line if there is one in the second half of what fits,
/// else at the end of a line, else between words, else anywhere. White space around a cut is lost, and nothing else is. Messages that would be
/// empty are none.
///
/// `limit` is at least 120, so that there is room for fences.
#[must_use]
pub fn split_message(text: &str, limit: usize) -> Vec<String> {
    let limit = limit.max(120);
    let pieces = pieces(text, limit);

    let mut messages = Vec::new();
    let mut rest = pieces.as_slice();
    let mut open: Option<Fence> = None;
    while !rest.is_empty() {
        let fitting = fitting(rest, open.as_ref(), limit);
        let taken = best_cut(rest.get(..fitting).unwrap_or(rest), fitting == rest.len());
        let (now, later) = rest.split_at(taken);
        let message = message(now, open.as_ref());
        if !message.trim().is_empty() {
            messages.push(message);
        }
        open = now.last().map_or(open, |piece| piece.fence.clone());
        rest = later;
    }
    messages
}

/// The lines of a text, each no longer than a message has room for beside two fences.
fn pieces(text: &str, limit: usize) -> Vec<Piece<'_>> {
    let room = limit - 2 * FENCE_MAX_CHARS;
    let mut pieces = Vec::new();
    let mut fence: Option<Fence> = None;
    for (number, line) in text.split('\n').enumerate() {
        let after = fence_after(fence.as_ref(), line);
        let mut rest = line;
        let mut begins_line = number > 0;
        loop {
            let (piece, later) = cut_line(rest, room);
            let is_last = later.is_empty();
            pieces.push(Piece {
                text: piece,
                begins_line,
                fence: if is_last { after.clone() } else { fence.clone() },
            });
            if is_last {
                break;
            }
            rest = later;
            begins_line = false;
        }
        fence = after;
    }
    pieces
}

/// The longest line that opens or closes a fence again, with its line break.
const FENCE_MAX_CHARS: usize = 16;

/// A line's beginning of at most `room` characters, cut after a word if there is a place in its second half.
fn cut_line(line: &str, room: usize) -> (&str, &str) {
    let Some((end, _)) = line.char_indices().nth(room) else {
        return (line, "");
    };
    let (head, _) = line.split_at(end);
    let half = head.char_indices().nth(room / 2).map_or(0, |(position, _)| position);
    let cut = head
        .char_indices()
        .rfind(|(position, character)| *position > half && character.is_whitespace())
        .map_or(end, |(position, character)| position + character.len_utf8());
    line.split_at(cut)
}

/// Which block is open after a line.
fn fence_after(open: Option<&Fence>, line: &str) -> Option<Fence> {
    let trimmed = line.trim_start_matches(' ');
    let indent = line.len() - trimmed.len();
    let marker_char = trimmed.chars().next().filter(|first| matches!(first, '`' | '~'));
    let length = marker_char.map_or(0, |marker| trimmed.chars().take_while(|found| *found == marker).count());
    let is_fence = indent < 4 && length >= 3;
    let after_marker = trimmed.trim_start_matches(|found| Some(found) == marker_char);

    match open {
        Some(fence) => {
            let closes = is_fence
                && after_marker.trim().is_empty()
                && marker_char == fence.marker.chars().next()
                && length >= fence.marker.len();
            (!closes).then(|| fence.clone())
        }
        None => {
            let info = after_marker.trim();
            // Back-quotes with back-quotes behind them are code in a line.
            if !is_fence || (marker_char == Some('`') && info.contains('`')) {
                return None;
            }
            let marker: String = marker_char
                .into_iter()
                .cycle()
                .take(length.min(FENCE_MAX_CHARS - 2))
                .collect();
            let language = info.split_whitespace().next().unwrap_or_default();
            let language = if marker.len() + language.chars().count() < FENCE_MAX_CHARS {
                language
            } else {
                ""
            };
            Some(Fence {
                opening: format!("{marker}{language}"),
                marker,
            })
        }
    }
}

/// How many pieces fit into a message; at least one.
fn fitting(pieces: &[Piece<'_>], open: Option<&Fence>, limit: usize) -> usize {
    let mut length = open.map_or(0, |fence| fence.opening.chars().count() + 1);
    let mut fits = 0;
    for piece in pieces {
        length += piece.text.chars().count() + usize::from(piece.begins_line && fits > 0);
        let closing = piece.fence.as_ref().map_or(0, |fence| fence.marker.chars().count() + 1);
        if length + closing > limit {
            break;
        }
        fits += 1;
    }
    fits.max(1)
}

/// How many of the pieces that fit are taken: all, if that is the rest; else up to an empty line in the second half, outside of a block.
fn best_cut(fitting: &[Piece<'_>], is_rest: bool) -> usize {
    if is_rest {
        return fitting.len();
    }
    let is_paragraph = |piece: &Piece<'_>| piece.text.trim().is_empty() && piece.fence.is_none();
    match fitting.iter().rposition(is_paragraph) {
        Some(position) if position + 1 > fitting.len() / 2 => position + 1,
        _ => fitting.len(),
    }
}

fn message(pieces: &[Piece<'_>], open: Option<&Fence>) -> String {
    let mut message = open.map_or_else(String::new, |fence| format!("{}\n", fence.opening));
    for (position, piece) in pieces.iter().enumerate() {
        if piece.begins_line && position > 0 {
            message.push('\n');
        }
        message.push_str(piece.text);
    }
    match pieces.last().and_then(|piece| piece.fence.as_ref()) {
        Some(fence) => format!("{}\n{}", message.trim_end(), fence.marker),
        None => message.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, limit: usize) -> String {
        split_message(text, limit).join("\n=====\n")
    }

    #[test]
    fn what_fits_is_one_message() {
        assert_eq!(split_message("Hello!", MESSAGE_MAX_CHARS), ["Hello!"]);
        assert_eq!(split_message(&"é".repeat(2000), 2000).len(), 1);
        assert_eq!(split_message(" \n\n ", 2000), Vec::<String>::new());
    }

    #[test]
    fn paragraphs_lines_and_words_are_kept_whole() {
        let line = |word: &str| [word; 12].join(" ");

        let paragraphs = format!(
            "{}\n{}\n\n{}\n{}",
            line("one"),
            line("two"),
            line("three"),
            line("four")
        );
        assert_snapshot!(shown(&paragraphs, 120), @r"
        one one one one one one one one one one one one
        two two two two two two two two two two two two
        =====
        three three three three three three three three three three three three
        =====
        four four four four four four four four four four four four
        ");
        let lines = format!("{}\n{}\n{}", line("first"), line("second"), line("third"));
        assert_snapshot!(shown(&lines, 120), @r"
        first first first first first first first first first first first first
        =====
        second second second second second second second second second second second second
        =====
        third third third third third third third third third third third third
        ");
        assert_snapshot!(shown(&line("a-rather-long-word"), 120), @r"
        a-rather-long-word a-rather-long-word a-rather-long-word a-rather-long-word
        =====
        a-rather-long-word a-rather-long-word a-rather-long-word a-rather-long-word
        =====
        a-rather-long-word a-rather-long-word a-rather-long-word a-rather-long-word
        ");
        assert_snapshot!(shown(&"x".repeat(150), 120), @r"
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        =====
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        ");
    }

    #[test]
    fn a_block_is_closed_and_opened_again_with_its_language() {
        let body: Vec<String> = (1..=8)
            .map(|number| format!("let variable_{number} = {number};"))
            .collect();
        let text = format!("Look:\n```rust\n{}\n```\nDone.", body.join("\n"));

        assert_snapshot!(shown(&text, 120), @r"
        Look:
        ```rust
        let variable_1 = 1;
        let variable_2 = 2;
        let variable_3 = 3;
        let variable_4 = 4;
        let variable_5 = 5;
        ```
        =====
        ```rust
        let variable_6 = 6;
        let variable_7 = 7;
        let variable_8 = 8;
        ```
        Done.
        ");
    }

    /// Whether every block that a message opens is closed in it.
    fn is_balanced(message: &str) -> bool {
        message
            .split('\n')
            .fold(None, |open: Option<Fence>, line| fence_after(open.as_ref(), line))
            .is_none()
    }

    fn words(text: &str) -> String {
        text.chars().filter(|character| !character.is_whitespace()).collect()
    }

    proptest! {
        #[test]
        fn plain_text_loses_white_space_alone(text in "[a-zé \n]{0,1200}", limit in 120_usize..300) {
            let messages = split_message(&text, limit);

            prop_assert_eq!(words(&messages.concat()), words(&text));
            for message in &messages {
                prop_assert!(message.chars().count() <= limit && !message.trim().is_empty(), "{message}");
            }
        }

        #[test]
        fn every_message_fits_and_is_balanced(
            lines in prop::collection::vec(prop_oneof![
                "[a-z ]{0,90}", Just("```".to_owned()), Just("```python".to_owned()), Just("~~~~".to_owned()), Just("````".to_owned()),
                Just(String::new()), any::<String>(),
            ], 0..60),
            limit in 120_usize..400,
        ) {
            let mut text = lines.join("\n");
            // A block that its author left open is open at the end too; close it to compare.
            if let Some(fence) = text.split('\n').fold(None, |open: Option<Fence>, line| fence_after(open.as_ref(), line)) {
                text.push('\n');
                text.push_str(&fence.marker);
            }

            for message in split_message(&text, limit) {
                prop_assert!(message.chars().count() <= limit, "{}", message.chars().count());
                prop_assert!(is_balanced(&message), "{message}");
            }
        }
    }
}
