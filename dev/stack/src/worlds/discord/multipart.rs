//! Bodies of several parts, which carry files (<https://discord.com/developers/docs/reference#uploading-files>,
//! [RFC 7578](https://www.rfc-editor.org/rfc/rfc7578)).

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    /// The name of the file, if it is one.
    pub(super) filename: Option<String>,
    pub(super) content: &'a [u8],
}

/// Takes a body apart; the error says what is wrong with it.
pub(super) fn parse<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, String> {
    let boundary = parameter(content_type, "boundary").ok_or("there is no boundary in Content-Type")?;
    let delimiter = format!("--{boundary}");
    let mut rest = body
        .strip_prefix(delimiter.as_bytes())
        .ok_or("the body does not begin with the boundary")?;
    let delimiter = format!("\r\n{delimiter}");
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return if [&b""[..], b"\r\n"].contains(&end) {
                Ok(parts)
            } else {
                Err("something follows the end of the body".to_owned())
            };
        }
        let part = rest.strip_prefix(b"\r\n").ok_or("no new line follows a boundary")?;
        let (head, content) = split(part, b"\r\n\r\n").ok_or("the headers of a part do not end")?;
        let (content, after) = split(content, delimiter.as_bytes()).ok_or("a part does not end")?;
        rest = after;
        let head = std::str::from_utf8(head).map_err(|_| "the headers of a part are not text")?;
        let disposition = head
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find_map(|(name, value)| name.trim().eq_ignore_ascii_case("content-disposition").then_some(value))
            .filter(|value| value.trim().starts_with("form-data"))
            .ok_or("a part has no Content-Disposition of form-data")?;
        parts.push(Part {
            name: parameter(disposition, "name").ok_or("a part has no name")?,
            filename: parameter(disposition, "filename"),
            content,
        });
    }
}

/// A parameter of a header's value, in quotes or without; the quotes may have a `;` in them.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut is_quoted = false;
    let parameters = value.split(|letter| {
        is_quoted ^= letter == '"';
        letter == ';' && !is_quoted
    });
    let pairs = parameters.skip(1).filter_map(|pair| pair.trim().split_once('='));
    let mut named = pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    let (_, value) = named.next()?;
    Some(value.trim_matches('"').to_owned()).filter(|value| !value.is_empty())
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let position = bytes.windows(separator.len()).position(|window| window == separator)?;
    let (before, rest) = bytes.split_at(position);
    Some((before, rest.split_at(separator.len()).1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=b";

    #[test]
    fn a_body_is_taken_apart() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n{}\r\n\
            --b\r\ncontent-disposition: form-data; name=\"files[0]\"; filename=\"a;b.md\"\r\n\r\none\r\n--\r\n\r\n--b--\r\n";

        let parts = parse(KIND, body).unwrap();

        let file = Part {
            name: "files[0]".to_owned(),
            filename: Some("a;b.md".to_owned()),
            content: b"one\r\n--\r\n",
        };
        let payload = Part {
            name: "payload_json".to_owned(),
            filename: None,
            content: b"{}",
        };
        assert_eq!(parts, [payload, file]);
        assert_eq!(parse("multipart/form-data; boundary=\"b\"", b"--b--").unwrap(), []);
    }

    #[test]
    fn what_is_no_such_body_is_refused() {
        for (kind, body) in [
            ("multipart/form-data", &b"--b--"[..]),
            (KIND, b""),
            (KIND, b"--c--"),
            (KIND, b"--b"),
            (KIND, b"--b\r\n\r\na\r\n--b--"),
            (KIND, b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\na"),
            (KIND, b"--b\r\nContent-Disposition: form-data\r\n\r\na\r\n--b--"),
            (
                KIND,
                b"--b\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\na\r\n--b--",
            ),
            (KIND, b"--b--more"),
        ] {
            assert!(parse(kind, body).is_err(), "{:?}", String::from_utf8_lossy(body));
        }
    }
}
