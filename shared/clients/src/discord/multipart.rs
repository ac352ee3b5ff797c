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
