//! Lists in pages: `?limit=` and `?cursor=` in, `x-next-cursor` and `Link` out.
//!
//! The body of a page is the bare array that clients of all ages read, so that what comes after it stands in headers: `x-next-cursor`, and the
//! same as a link (RFC 8288). A cursor is the operation's `next` as JSON in base64url. Clients hand it back as they got it; it proves nothing,
//! and an operation that is given one still asks whose rows it may show.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, Utc};
use http::header::LINK;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Uri};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use url::form_urlencoded;
use uuid::Uuid;

use crate::error::ApiError;
use crate::extract::{Json, Query};

/// The header with the cursor of the next page. There is none on the last page.
pub const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 100;
const CURSOR_MAX_CHARS: usize = 1024;

/// The page that a request asks for. `C` is what the operation calls `cursor` and `next`: of types so narrow that the operation can read
/// whatever parses.
#[derive(Clone, Debug)]
pub struct PageRequest<C> {
    /// The most rows of the page, 1 to 100.
    pub limit: u32,
    /// Where it begins; at the beginning if there is none.
    pub cursor: Option<C>,
    /// The path and the query of the request, for the link to the next page.
    uri: Uri,
}

/// A page as an operation returns it.
#[derive(Clone, Debug, Deserialize)]
pub struct Page<T, C> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<C>,
}

/// A place in a list of what was created when, newest first: the page begins after it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreatedCursor {
    /// When the last row of the page before was created.
    #[serde(deserialize_with = "written_by_postgres")]
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// A time of a year that Postgres reads in this notation.
fn written_by_postgres<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let time = DateTime::deserialize(deserializer)?;
    if (1..=9999).contains(&time.year()) {
        Ok(time)
    } else {
        Err(serde::de::Error::custom("the year is out of range"))
    }
}

#[derive(Deserialize)]
struct Parameters {
    limit: Option<u32>,
    cursor: Option<String>,
}

impl<C, S> FromRequestParts<S> for PageRequest<C>
where
    C: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(parameters) = Query::<Parameters>::from_request_parts(parts, state).await?;

        let limit = parameters.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let problem = format_args!("must be 1 to {LIMIT_MAX}");
            return Err(ApiError::invalid_field("limit", problem));
        }
        let cursor = parameters
            .cursor
            .map(|text| decode(&text).ok_or_else(|| ApiError::invalid_field("cursor", "is not one that was given out")))
            .transpose()?;
        Ok(Self {
            limit,
            cursor,
            uri: parts.uri.clone(),
        })
    }
}

impl<C> PageRequest<C> {
    /// The response with a page.
    pub fn respond<T: Serialize>(&self, page: Page<T, C>) -> Response
    where
        C: Serialize,
    {
        let mut response = Json(page.rows).into_response();
        let Some(cursor) = page.next.map(|next| encode(&next)) else {
            return response;
        };
        let link = format!("<{}>; rel=\"next\"", self.link(&cursor));
        for (name, value) in [(NEXT_CURSOR, cursor), (LINK, link)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    /// The request's own path and query, with another cursor.
    fn link(&self, cursor: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let parameters = form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes());
        query.extend_pairs(parameters.filter(|(name, _)| name != "cursor"));
        query.append_pair("cursor", cursor);
        format!("{}?{}", self.uri.path(), query.finish())
    }
}

fn encode<C: Serialize>(next: &C) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(next).unwrap_or_default())
}

fn decode<C: DeserializeOwned>(text: &str) -> Option<C> {
    if text.len() > CURSOR_MAX_CHARS {
        return None;
    }
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Cursor {
        id: i64,
    }

    fn request(uri: &str) -> Result<PageRequest<Cursor>, ApiError> {
        let mut parts = http::Request::get(uri).body(()).unwrap().into_parts().0;
        block_on(PageRequest::from_request_parts(&mut parts, &()))
    }

    fn page(next: Option<i64>) -> Page<u8, Cursor> {
        Page {
            rows: vec![1, 2],
            next: next.map(|id| Cursor { id }),
        }
    }

    #[test]
    fn a_page_is_asked_for_with_a_limit_and_a_cursor() {
        let first = request("/list").unwrap();
        let next = request(&format!("/list?limit=100&cursor={}", encode(&Cursor { id: 7 }))).unwrap();

        assert_eq!((first.limit, first.cursor), (50, None));
        assert_eq!((next.limit, next.cursor), (100, Some(Cursor { id: 7 })));
    }

    #[test]
    fn what_is_not_a_page_is_refused_by_its_field() {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let cases = [
            ("limit=0".to_owned(), "limit"),
            ("limit=101".to_owned(), "limit"),
            ("limit=-1".to_owned(), "limit"),
            ("limit=ten".to_owned(), "limit"),
            ("limit=".to_owned(), "limit"),
            ("cursor=".to_owned(), "cursor"),
            ("cursor=7".to_owned(), "cursor"),
            (format!("cursor={}", encoded("{}")), "cursor"),
            (format!("cursor={}", encoded(r#"{"id":"7"}"#)), "cursor"),
            (format!("cursor={}", encoded(r#"{"id":7,"user":1}"#)), "cursor"),
            (format!("cursor={}", encoded(r#"{"id":9223372036854775808}"#)), "cursor"),
            (format!("cursor={}", "A".repeat(CURSOR_MAX_CHARS + 1)), "cursor"),
        ];

        for (query, field) in cases {
            let error = request(&format!("/list?{query}")).unwrap_err();

            assert_eq!(
                (error.status().as_u16(), error.code()),
                (400, "invalid_field"),
                "{query}"
            );
            assert_eq!(error.envelope("id")["field"], field, "{query}");
        }
    }

    #[test]
    fn a_place_in_time_is_one_that_the_database_reads() {
        let parse = |created_at: &str| {
            let text = format!(r#"{{"created_at":"{created_at}","id":"00000000-0000-4000-8000-000000000001"}}"#);
            serde_json::from_str::<CreatedCursor>(&text)
        };

        let cursor = parse("2026-11-24T20:46:30.123456+00:00").unwrap();
        let written = serde_json::to_string(&cursor).unwrap();
        assert!(written.contains("2026-11-24T20:46:30.123456Z"), "{written}");
        assert_eq!(serde_json::from_str::<CreatedCursor>(&written).unwrap(), cursor);
        for hostile in [
            "+262142-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "-0001-01-01T00:00:00Z",
            "infinity",
            "now",
            "",
        ] {
            assert!(parse(hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn a_page_links_to_the_next_one() {
        let response = request("/list?status=active%20now&cursor=eyJpZCI6OX0&limit=2")
            .unwrap()
            .respond(page(Some(7)));

        let cursor = response.headers()[&NEXT_CURSOR].to_str().unwrap();
        let link = response.headers()[LINK].to_str().unwrap();
        assert_eq!(cursor, "eyJpZCI6N30");
        assert_eq!(
            link,
            r#"</list?status=active+now&limit=2&cursor=eyJpZCI6N30>; rel="next""#
        );
        let uri = link.split(['<', '>']).nth(1).unwrap();
        assert_eq!(request(uri).unwrap().cursor, Some(Cursor { id: 7 }));
    }

    #[test]
    fn the_last_page_links_nowhere() {
        let response = request("/list").unwrap().respond(page(None));

        assert!(!response.headers().contains_key(LINK) && !response.headers().contains_key(&NEXT_CURSOR));
    }
}
