//! Counting tokens.

/// Counts the tokens of a text as a model will.
pub trait CountTokens {
    /// The number of tokens of `text`.
    fn count(&self, text: &str) -> u32;
}

/// A conservative estimate, for o200k and cl100k vocabularies: rather too many than too few.
///
/// It is not exact. For ordinary prose it says a third to a half more than the model's tokenizer, so that a window that fits by this
/// count fits the model; the price is that a little less history goes into it. The rules, each from how byte-pair vocabularies are cut:
/// a number takes a token for three digits; a plain word of Latin letters one for three letters; a run of letters that is
/// not a plain word (long, of mixed case, or mixed with digits) two for three; a letter outside ASCII one for each of its bytes after the first; and every other
/// sign one of its own. A single space belongs to the word that follows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct EstimatedTokens;

/// A longer run of letters is more likely an identifier, an encoding or a foreign word than a common one.
const PLAIN_WORD_MAX_LETTERS: u32 = 16;

impl CountTokens for EstimatedTokens {
    fn count(&self, text: &str) -> u32 {
        let mut tokens = 0_u32;
        let mut run = Run::default();
        let mut previous_was_space = false;

        for character in text.chars() {
            if character.is_ascii_alphanumeric() {
                run.push(character);
                previous_was_space = false;
                continue;
            }

            tokens = tokens.saturating_add(std::mem::take(&mut run).tokens());
            tokens = tokens.saturating_add(match character {
                ' ' if !previous_was_space => 0,
                _ if character.is_ascii() => 1,
                _ => u32::try_from(character.len_utf8()).unwrap_or(4) - 1,
            });
            previous_was_space = character == ' ';
        }

        tokens.saturating_add(run.tokens())
    }
}

/// A run of ASCII letters and digits.
#[derive(Default)]
struct Run {
    letters: u32,
    digits: u32,
    capitals_inside: bool,
}

impl Run {
    fn push(&mut self, character: char) {
        if character.is_ascii_digit() {
            self.digits += 1;
            return;
        }
        self.capitals_inside |= character.is_ascii_uppercase() && self.letters > 0;
        self.letters += 1;
    }

    fn tokens(self) -> u32 {
        let is_plain_word = self.digits == 0 && !self.capitals_inside && self.letters <= PLAIN_WORD_MAX_LETTERS;
        match (self.letters, self.digits) {
            (0, digits) => digits.div_ceil(3),
            (letters, _) if is_plain_word => letters.div_ceil(3),
            (letters, digits) => (2 * (letters + digits)).div_ceil(3) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ordinary text of several kinds, on which the estimate must not be below the exact count.
    const SAMPLES: [&str; 9] = [
        "The quick brown fox jumps over the lazy dog, and then it does so again, because nobody watched the first time.",
        "Please summarise yesterday's meeting in three bullet points and mention who is responsible for what.",
        "fn main() {\n    let total: u64 = (1..=10).map(|n| n * n).sum();\n    println!(\"{total}\");\n}\n",
        "{\"id\":\"3f0c9a1e-7d5b-4c8e-9a2f-1b6d7e8f9a0b\",\"name\":\"Atlas\",\"tags\":[\"a\",\"b\"],\"size\":12345.67}",
        "Können Sie mir bitte erklären, weshalb die Übertragungsgeschwindigkeit gestern so stark schwankte?",
        "Где находится ближайшая библиотека, и до которого часа она открыта?",
        "昨日の会議の要点を三つにまとめてください。",
        "aGVsbG8gd29ybGQsIHRoaXMgaXMgYSBiYXNlNjQgZW5jb2RlZCBzdHJpbmc=",
        "🎉🎉 Wow!!! 👩‍👩‍👧‍👦 100% — «really»? 1234567890",
    ];

    #[test]
    fn ordinary_text_is_not_undercounted() {
        let exact = bpe_openai::o200k_base();

        for sample in SAMPLES {
            let (estimate, count) = (EstimatedTokens.count(sample), exact.count(sample));
            assert!(estimate as usize >= count, "{estimate} < {count}: {sample}");
        }
    }

    #[test]
    fn prose_is_not_overcounted_by_more_than_a_factor_of_two() {
        let exact = bpe_openai::o200k_base();

        for sample in &SAMPLES[..2] {
            let (estimate, count) = (EstimatedTokens.count(sample), exact.count(sample));
            assert!(estimate as usize <= 2 * count, "{estimate} > 2 × {count}: {sample}");
        }
    }

    proptest! {
        #[test]
        fn more_text_never_counts_less(a in ".{0,200}", b in ".{0,200}") {
            let (one, both) = (EstimatedTokens.count(&a), EstimatedTokens.count(&format!("{a} {b}")));
            prop_assert!(both >= one);
        }
    }
}
