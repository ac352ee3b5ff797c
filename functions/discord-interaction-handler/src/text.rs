//! What people and models have written, as it stands in a text of ours.

/// The longest name in a message, in characters.
const NAME_MAX_CHARS: usize = 60;

/// A name on one line of at most so many characters, and without what turns around or hides what stands beside it; `None` if nothing is left.
pub(crate) fn line(name: &str, max_chars: usize) -> Option<String> {
    let is_hidden = |character: char| {
        character.is_control()
            || is_invisible(character)
            // Blank letters, by which a name is none.
            || matches!(character, '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{ffa0}')
    };
    let visible = name.replace(is_hidden, " ");
    let words: Vec<_> = visible.split_whitespace().collect();
    let line = words.join(" ");
    match line.chars().count() {
        0 => None,
        chars if chars <= max_chars => Some(line),
        _ => Some(line.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect()),
    }
}

/// Whether a character shows nothing of its own, and turns around or hides what stands beside it, or says something that people do not see.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// A text of somebody else's without what its readers do not see. What joins letters and emoji stays.
pub(crate) fn seen(text: &str) -> String {
    let is_joining = |character: char| matches!(character, '\u{200c}' | '\u{200d}' | '\u{2028}' | '\u{2029}');
    text.replace(|character: char| is_invisible(character) && !is_joining(character), "")
}

/// A name on one line that says so if there is none.
pub(crate) fn plain(name: &str, max_chars: usize) -> String {
    line(name, max_chars).unwrap_or_else(|| "(no name)".to_owned())
}

/// A name as it stands in a message.
pub(crate) fn as_code(name: &str) -> String {
    // There is no escaping in code; this looks much the same.
    format!("`{}`", plain(name, NAME_MAX_CHARS).replace('`', "ˋ"))
}

/// What was written, as far as it can be stored: at most so many characters, and no NUL, which Postgres has not in text. `None` if there is nothing but space.
pub(crate) fn written(text: &str, max_chars: usize) -> Option<String> {
    let kept: String = text.trim().chars().take(max_chars).collect();
    let kept = kept.replace('\0', "\u{fffd}");
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// A text between fences that it cannot close.
pub(crate) fn fenced(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for character in text.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}\n{text}\n{fence}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place() {
        assert_eq!(as_code("a`b\n# c"), "`aˋb # c`");
        assert_eq!(as_code("\u{202e}\u{200b} "), "`(no name)`");
        assert_eq!(plain(&"é".repeat(101), 100), format!("{}…", "é".repeat(99)));
        assert_eq!(plain(&"é".repeat(100), 100), "é".repeat(100));
        assert_eq!(line("\u{0}\n", 100), None);
        assert_eq!(line("\u{3164}\u{e0041}", 100), None);
    }

    #[test]
    fn what_people_do_not_see_is_not_quoted() {
        assert_eq!(seen("a\u{e0049}\u{e0020}b\u{202e}c"), "abc");
        assert_eq!(seen("👩\u{200d}💻\n"), "👩\u{200d}💻\n");
    }

    #[test]
    fn what_was_written_is_kept_as_far_as_it_can_be_stored() {
        assert_eq!(written("  a\0b\nc ", 100).as_deref(), Some("a\u{fffd}b\nc"));
        assert_eq!(written(&"é".repeat(101), 100), Some("é".repeat(100)));
        assert_eq!(written(" \n", 100), None);
    }

    #[test]
    fn a_text_cannot_close_the_fence_around_it() {
        assert_eq!(fenced("a"), "```\na\n```");
        assert_eq!(fenced("a\n````\nb"), "`````\na\n````\nb\n`````");
    }

    proptest! {
        #[test]
        fn any_text_stays_within_its_fence(text in "[`a\n]{0,40}") {
            let fenced = fenced(&text);
            let fence: String = fenced.chars().take_while(|character| *character == '`').collect();

            prop_assert!(!text.contains(&fence));
            prop_assert_eq!(fenced, format!("{fence}\n{text}\n{fence}"));
        }
    }
}
