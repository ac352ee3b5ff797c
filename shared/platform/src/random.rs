//! Entropy from the platform.

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

/// `N` random bytes in lower-case hexadecimal.
#[must_use]
pub fn hex<const N: usize>() -> String {
    to_hex(&bytes::<N>())
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "{byte:02x}");
            text
        })
}
