//! Calls to other services.

use super::{Answer, json_answer, number, parameter};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use serde_json::json;
use spin_sdk::http::{EmptyBody, FullBody, Request, Response, body, body::IncomingBodyExt, box_body};
use spin_sdk::wasip3::http::types::{ErrorCode, RequestOptions};
use spin_sdk::wasip3::http_compat::RequestOptionsExtension;

/// `?connect=&first_byte=&between_bytes=` in milliseconds, and last `&url=`, which is taken to the end.
struct Target {
    url: String,
    options: RequestOptionsExtension,
}

impl Target {
    fn parse(query: &str) -> Self {
        let (query, url) = query.split_once("url=").unwrap_or((query, ""));
        let limit = |name| parameter(query, name).map(|_| number(query, name, 0) * 1_000_000);
        let options = RequestOptions::new();
        // The setters fail only where the host does not support the option, which its tests would see.
        _ = options.set_connect_timeout(limit("connect"));
        _ = options.set_first_byte_timeout(limit("first_byte"));
        _ = options.set_between_bytes_timeout(limit("between_bytes"));
        Self {
            url: url.to_owned(),
            options: RequestOptionsExtension(options),
        }
    }
}

/// Sends the request's body to `url` and reports the answer, or the error's name.
pub(crate) async fn call(request: Request, query: &str) -> Answer {
    let target = Target::parse(query);
    let method = request.method().clone();
    let sent = request.into_body().bytes().await.unwrap_or_default();
    let built = http::Request::builder()
        .method(method)
        .uri(&target.url)
        .extension(target.options)
        .body(FullBody::new(sent));
    let Ok(built) = built else {
        return json_answer(StatusCode::OK, &json!({ "error": "InvalidUrl" }));
    };

    match spin_sdk::http::send(built).await {
        Ok(response) => {
            let status = response.status().as_u16();
            let headers: Vec<_> = response
                .headers()
                .iter()
                .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
                .collect();
            match response.into_body().bytes().await {
                Ok(body) => json_answer(
                    StatusCode::OK,
                    &json!({ "status": status, "headers": headers, "body": String::from_utf8_lossy(&body) }),
                ),
                Err(error) => json_answer(StatusCode::OK, &json!({ "status": status, "body_error": name(&error) })),
            }
        }
        Err(error) => json_answer(StatusCode::OK, &json!({ "error": name(&error) })),
    }
}

/// Streams what `url` answers to the client, piece by piece.
pub(crate) async fn relay(query: &str) -> Answer {
    let target = Target::parse(query);
    let Ok(request) = http::Request::get(&target.url)
        .extension(target.options)
        .body(EmptyBody::new())
    else {
        return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": "InvalidUrl" }));
    };
    match spin_sdk::http::send(request).await {
        Ok(response) => {
            let (mut out, body) = body::stream::<Bytes>();
            let mut incoming = response.into_body().stream();
            spin_sdk::wasip3::spawn(async move {
                while let Some(Ok(chunk)) = incoming.next().await {
                    if out.send(chunk).await.is_err() {
                        break;
                    }
                }
            });
            Response::new(box_body(body))
        }
        Err(error) => json_answer(StatusCode::BAD_GATEWAY, &json!({ "error": name(&error) })),
    }
}

/// Reads the first piece of what `url` answers and drops the rest.
pub(crate) async fn abandon(query: &str) -> Answer {
    let target = Target::parse(query);
    let Ok(request) = http::Request::get(&target.url)
        .extension(target.options)
        .body(EmptyBody::new())
    else {
        return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": "InvalidUrl" }));
    };
    match spin_sdk::http::send(request).await {
        Ok(response) => {
            let mut incoming = response.into_body().stream();
            let first = incoming.next().await;
            drop(incoming);
            let first = first.and_then(Result::ok).unwrap_or_default();
            json_answer(StatusCode::OK, &json!({ "first": String::from_utf8_lossy(&first) }))
        }
        Err(error) => json_answer(StatusCode::OK, &json!({ "error": name(&error) })),
    }
}

/// The name of the error's variant.
fn name(error: &ErrorCode) -> String {
    let text = format!("{error:?}");
    let text = text.strip_prefix("ErrorCode::").unwrap_or(&text);
    text.split(|character: char| !character.is_alphanumeric())
        .next()
        .unwrap_or_default()
        .to_owned()
}
