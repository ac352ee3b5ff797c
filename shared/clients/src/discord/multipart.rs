//! A form with a message and a file in it: RFC 7578, as <https://discord.com/developers/docs/reference#uploading-files> uses it.

use bytes::Bytes;

/// A line that is in neither part. It is drawn until that is so, which is at the first time, as nobody who writes a part knows it.
pub(super) fn boundary(json: &[u8], text: &str, mut draw: impl FnMut() -> String) -> String {
    loop {
        let boundary = format!("agentopia-{}", draw());
        let is_in_json = json.windows(boundary.len()).any(|window| window == boundary.as_bytes());
        if !is_in_json && !text.contains(&boundary) {
            return boundary;
        }
    }
}

/// The form: the message as `payload_json`, and the file as `files[0]`.
pub(super) fn form(boundary: &str, json: &[u8], name: &str, text: &str) -> Bytes {
    let name = escaped(name);
    let mut form = Vec::with_capacity(json.len() + text.len() + 512);
    form.extend_from_slice(
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n"
        )
        .as_bytes(),
    );
    form.extend_from_slice(json);
    form.extend_from_slice(
        format!(
            "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"{name}\"\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\n"
        )
        .as_bytes(),
    );
    form.extend_from_slice(text.as_bytes());
    form.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    form.into()
}

/// A name between quotes, as the HTML standard escapes it (<https://html.spec.whatwg.org/#multipart-form-data>).
fn escaped(name: &str) -> String {
    name.replace('\r', "%0D").replace('\n', "%0A").replace('"', "%22")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parts of a form, by RFC 2046, 5.1: each as its head and its body.
    fn parts<'a>(boundary: &str, form: &'a str) -> Vec<(&'a str, &'a str)> {
        let form = form.strip_prefix(&format!("--{boundary}")).unwrap();
        let form = form.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
        form.split(&format!("\r\n--{boundary}"))
            .map(|part| part.strip_prefix("\r\n").unwrap().split_once("\r\n\r\n").unwrap())
            .collect()
    }

    #[test]
    fn a_boundary_that_is_in_a_part_is_not_taken() {
        let mut draws = ["1", "2", "3"].into_iter();

        let boundary = boundary(b"agentopia-1", "agentopia-2", || draws.next().unwrap().to_owned());

        assert_eq!(boundary, "agentopia-3");
    }

    #[test]
    fn a_name_does_not_end_its_header() {
        let form = form("b", b"{}", "a\"; x=\"\r\nY: z.txt", "text");

        let form = std::str::from_utf8(&form).unwrap();
        let (head, _) = parts("b", form)[1];
        assert_eq!(
            head.lines().next(),
            Some(r#"Content-Disposition: form-data; name="files[0]"; filename="a%22; x=%22%0D%0AY: z.txt""#)
        );
    }

    proptest! {
        #[test]
        fn a_form_is_read_as_what_was_put_into_it(
            json in "(\\PC|\r\n|--agentopia-[12]){0,20}",
            text in "(\\PC|\r\n|-|--agentopia-[12]){0,40}",
            draws in proptest::collection::vec(1_u32..4, 0..6),
        ) {
            let mut draws = draws.into_iter().chain(4..);
            let boundary = boundary(json.as_bytes(), &text, || draws.next().unwrap().to_string());

            let form = form(&boundary, json.as_bytes(), "answer.txt", &text);

            let form = std::str::from_utf8(&form).unwrap();
            let bodies: Vec<&str> = parts(&boundary, form).into_iter().map(|(_, body)| body).collect();
            prop_assert_eq!(bodies, [json.as_str(), text.as_str()]);
        }
    }
}
