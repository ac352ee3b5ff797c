//! An incremental parser of Server-Sent Events (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>).
//!
//! It takes bytes as they come, cut anywhere, and gives the data of each event. Lines end in LF, CR LF or CR; comments and unknown fields are
//! skipped; what is not UTF-8 and what is too long is an error, because a model's stream is input from outside.

use thiserror::Error;

/// The longest event, in bytes of its data.
const EVENT_MAX_BYTES: usize = 256 * 1024;

/// A stream that is being parsed.
#[derive(Debug, Default)]
pub struct EventStream {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    last_was_cr: bool,
}

/// What makes a stream unreadable.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MalformedStream {
    /// A line or an event beyond the limit.
    #[error("an event is larger than {EVENT_MAX_BYTES} bytes")]
    TooLong,
    /// A line that is not UTF-8.
    #[error("an event is not UTF-8")]
    NotUtf8,
}

impl EventStream {
    /// Takes the next bytes, and appends the data of every event that they complete to `events`.
    ///
    /// # Errors
    ///
    /// If the stream is not one; it is then of no further use.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<String>) -> Result<(), MalformedStream> {
        for &byte in bytes {
            let ends_crlf = byte == b'\n' && self.last_was_cr;
            self.last_was_cr = byte == b'\r';
            if ends_crlf {
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                self.end_line(events)?;
            } else if self.line.len() < EVENT_MAX_BYTES {
                self.line.push(byte);
            } else {
                return Err(MalformedStream::TooLong);
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<String>) -> Result<(), MalformedStream> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                events.push(std::mem::take(&mut self.data));
            }
            return Ok(());
        }

        let line = std::str::from_utf8(&line).map_err(|_| MalformedStream::NotUtf8)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            if self.data.len() + value.len() > EVENT_MAX_BYTES {
                return Err(MalformedStream::TooLong);
            }
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push('\n');
            }
            self.data.push_str(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Result<Vec<String>, MalformedStream> {
        let (mut stream, mut events) = (EventStream::default(), Vec::new());
        for piece in pieces {
            stream.push(piece, &mut events)?;
        }
        Ok(events)
    }

    #[test]
    fn events_are_what_the_standard_says() {
        let cases: [(&str, &[&str]); 9] = [
            ("data: a\n\n", &["a"]),
            ("data:a\r\n\r\ndata: b\r\r", &["a", "b"]),
            ("data: a\ndata: b\n\n", &["a\nb"]),
            (": comment\n\nevent: x\nid: 1\ndata: a\n\n", &["a"]),
            ("data:  two spaces\n\n", &[" two spaces"]),
            ("data\n\n", &[""]),
            ("unknown: x\n\n", &[]),
            ("data: unfinished\n", &[]),
            ("data: é日🎉\n\n", &["é日🎉"]),
        ];

        for (text, events) in cases {
            assert_eq!(parse(&[text.as_bytes()]).unwrap(), events, "{text:?}");
        }
    }

    #[test]
    fn endless_lines_and_other_encodings_are_refused() {
        let endless = vec![b'a'; EVENT_MAX_BYTES + 1];
        let many = "data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(5000);

        assert_eq!(parse(&[&endless]), Err(MalformedStream::TooLong));
        assert_eq!(parse(&[many.as_bytes()]), Err(MalformedStream::TooLong));
        assert_eq!(parse(&[b"data: \xff\n\n"]), Err(MalformedStream::NotUtf8));
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_does_not_matter(text in "(data: |event: x|: c|\n|\r|\r\n|é|日|a|:| ){0,60}", cut in any::<prop::sample::Index>()) {
            let bytes = text.as_bytes();
            let cut = cut.index(bytes.len() + 1);
            let (head, tail) = bytes.split_at(cut);

            prop_assert_eq!(parse(&[head, tail]), parse(&[bytes]));
        }

        #[test]
        fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _either = parse(&[&bytes]);
        }
    }
}
