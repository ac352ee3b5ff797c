//! Entropy from the platform.

use uuid::{Builder, Uuid};

/// Fills an array with random bytes fit for secrets.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // WASI's random interface cannot fail, and natively only a broken operating system does: then no secret may be made.
    if getrandom::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes
}

/// A number drawn uniformly from 0 (inclusive) to 1 (exclusive).
#[must_use]
pub fn fraction() -> f64 {
    let bits = u32::from_le_bytes(bytes());
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// A random UUID (version 4), for the id of a row that is proposed to an operation.
#[must_use]
pub fn uuid() -> Uuid {
    Builder::from_random_bytes(bytes()).into_uuid()
}

/// `N` random bytes in lower-case hexadecimal.
#[must_use]
pub fn hex<const N: usize>() -> String {
    to_hex(&bytes::<N>())
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_version_4() {
        assert_eq!(uuid().get_version_num(), 4);
        assert_ne!(uuid(), uuid());
    }

    #[test]
    fn bytes_become_two_digits_each() {
        assert_eq!(to_hex(&[0x00, 0x0f, 0xa5, 0xff]), "000fa5ff");
    }
}
