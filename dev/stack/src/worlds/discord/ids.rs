//! Ids and tokens, as Discord makes them.

use super::now;
use crate::StackError;

/// What a token is made of.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The beginning of 2015, from which Discord's ids count milliseconds.
const EPOCH_MS: i64 = 1_420_070_400_000;

/// Makes ids, each greater than those before.
#[derive(Debug, Default)]
pub(super) struct Ids {
    last: u64,
}

impl Ids {
    /// An id as Discord makes them: the time in milliseconds, and a number in its last 22 bits.
    pub(super) fn snowflake(&mut self) -> u64 {
        let elapsed = u64::try_from(now().timestamp_millis() - EPOCH_MS).unwrap_or_default();
        self.last = (elapsed << 22).max(self.last + 1);
        self.last
    }
}

/// A token of so many letters that nobody guesses, with what it begins with.
pub(super) fn token(prefix: &str, length: usize) -> Result<String, StackError> {
    let mut random = vec![0; length];
    getrandom::fill(&mut random)
        .map_err(|error| StackError::Failed(format!("there is no randomness for a token: {error}")))?;
    let letters = random
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 64)))
        .map(|letter| char::from(*letter));
    Ok(prefix.chars().chain(letters).take(length).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_of_discords_letters() {
        let token = token("canary-", 68).unwrap();

        assert_eq!(token.len(), 68);
        assert!(token.starts_with("canary-"));
        assert!(token.bytes().all(|byte| ALPHABET.contains(&byte)));
    }

    #[test]
    fn ids_grow() {
        let mut ids = Ids::default();

        let ids: Vec<_> = (0..1000).map(|_| ids.snowflake()).collect();

        assert!(ids.is_sorted_by(|first, second| first < second));
    }
}
