//! The wire format (<https://github.com/digitalocean/openapi>), as far as it is used. Unknown fields are ignored.

use std::net::Ipv4Addr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{DigitalOceanError, DropletStatus, NewDroplet};

const MESSAGE_MAX_CHARS: usize = 300;
const NAME_MAX_CHARS: usize = 50;

#[derive(Serialize)]
pub(super) struct CreateDroplet<'a> {
    name: &'a str,
    region: &'a str,
    size: &'a str,
    image: NameOrNumber<'a>,
    tags: &'a [String],
    ssh_keys: Vec<NameOrNumber<'a>>,
    user_data: &'a str,
}

/// A slug or a fingerprint is a text, and an id is a number.
#[derive(Serialize)]
#[serde(untagged)]
enum NameOrNumber<'a> {
    Name(&'a str),
    Number(u64),
}

impl<'a> From<&'a str> for NameOrNumber<'a> {
    fn from(text: &'a str) -> Self {
        text.parse().map_or(Self::Name(text), Self::Number)
    }
}

impl<'a> From<&NewDroplet<'a>> for CreateDroplet<'a> {
    fn from(droplet: &NewDroplet<'a>) -> Self {
        Self {
            name: droplet.name,
            region: droplet.region,
            size: droplet.size,
            image: droplet.image.into(),
            tags: droplet.tags,
            ssh_keys: droplet.ssh_keys.iter().map(|key| key.as_str().into()).collect(),
            user_data: droplet.user_data,
        }
    }
}

#[derive(Debug, Deserialize)]
struct OneDroplet {
    droplet: Droplet,
}

#[derive(Debug, Deserialize)]
pub(super) struct Droplet {
    id: u64,
    name: String,
    status: String,
    tags: Option<Vec<String>>,
    region: Option<Slug>,
    size_slug: Option<String>,
    networks: Option<Networks>,
    created_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Slug {
    slug: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Networks {
    #[serde(default)]
    v4: Vec<Network>,
}

#[derive(Debug, Deserialize)]
struct Network {
    ip_address: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl From<Droplet> for super::Droplet {
    fn from(droplet: Droplet) -> Self {
        let networks = droplet.networks.map(|networks| networks.v4).unwrap_or_default();
        let public_ipv4 = networks
            .into_iter()
            .filter(|network| network.kind.as_deref() == Some("public"))
            .find_map(|network| network.ip_address?.parse::<Ipv4Addr>().ok());
        Self {
            id: droplet.id,
            name: droplet.name,
            status: match droplet.status.as_str() {
                "new" => DropletStatus::New,
                "active" => DropletStatus::Active,
                "off" => DropletStatus::Off,
                "archive" => DropletStatus::Archive,
                _ => DropletStatus::Unknown,
            },
            tags: droplet.tags.unwrap_or_default(),
            region: droplet.region.and_then(|region| region.slug).unwrap_or_default(),
            size: droplet.size_slug.unwrap_or_default(),
            public_ipv4,
            created_at: droplet
                .created_at
                .and_then(|time| DateTime::parse_from_rfc3339(&time).ok())
                .map(|time| time.with_timezone(&Utc)),
        }
    }
}

/// The droplet that an answer shows.
pub(super) fn droplet(body: &[u8]) -> Result<super::Droplet, DigitalOceanError> {
    serde_json::from_slice::<OneDroplet>(body)
        .map(|one| one.droplet.into())
        .map_err(malformed)
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    pub(super) has_next: bool,
}

#[derive(Debug, Deserialize)]
struct ListBody<T> {
    #[serde(alias = "droplets", alias = "regions", alias = "sizes")]
    rows: Vec<T>,
    links: Option<Links>,
}

#[derive(Debug, Deserialize)]
struct Links {
    pages: Option<Pages>,
}

#[derive(Debug, Deserialize)]
struct Pages {
    next: Option<String>,
}

/// The page that an answer shows.
pub(super) fn page<T: DeserializeOwned>(body: &[u8]) -> Result<Page<T>, DigitalOceanError> {
    let list: ListBody<T> = serde_json::from_slice(body).map_err(malformed)?;
    let next = list.links.and_then(|links| links.pages).and_then(|pages| pages.next);
    Ok(Page {
        rows: list.rows,
        has_next: next.is_some(),
    })
}

fn malformed(error: serde_json::Error) -> DigitalOceanError {
    // The text of an error of content may repeat the content, which its place does not.
    DigitalOceanError::Malformed(format!("{:?} at {}:{}", error.classify(), error.line(), error.column()))
}

#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    id: Option<String>,
    message: Option<String>,
}

impl ErrorBody {
    /// Its machine-readable name, if it looks like one.
    fn name(&self) -> &str {
        let is_name = |id: &&str| {
            id.chars().count() <= NAME_MAX_CHARS
                && id
                    .chars()
                    .all(|character| character.is_ascii_alphanumeric() || character == '_')
        };
        self.id.as_deref().filter(is_name).unwrap_or("no id")
    }

    /// Its sentence, as it may be shown to whoever asked.
    fn shown(&self) -> String {
        let message = self.message.as_deref().unwrap_or_default();
        let words: Vec<_> = message
            .split(|character: char| character.is_whitespace() || is_invisible(character))
            .filter(|word| !word.is_empty())
            .collect();
        let shown: String = words.join(" ").chars().take(MESSAGE_MAX_CHARS).collect();
        if shown.is_empty() {
            "the request is not valid".to_owned()
        } else {
            shown
        }
    }
}

/// Control characters, and those that turn the direction of what follows.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What a response that is not a success means. Only an answer in DigitalOcean's own form says that something is not there: one of a
/// proxy must not make us forget a machine.
pub(super) fn refusal(status: u16, retry_after: Option<Duration>, body: &[u8]) -> DigitalOceanError {
    let error = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default();
    let is_pending = || {
        let message = error.message.as_deref().unwrap_or_default().to_ascii_lowercase();
        message.contains("pending event")
    };

    match status {
        401 | 403 => DigitalOceanError::Unauthorized,
        404 if error.id.as_deref() == Some("not_found") => DigitalOceanError::NotFound,
        408 | 504 => DigitalOceanError::TimedOut,
        409 => DigitalOceanError::Busy,
        422 if is_pending() => DigitalOceanError::Busy,
        400 | 422 => DigitalOceanError::Invalid { message: error.shown() },
        429 => DigitalOceanError::RateLimited { retry_after },
        500..=599 => DigitalOceanError::Failed(format!("{status} {}", error.name())),
        _ => DigitalOceanError::Malformed(format!("{status} {}", error.name())),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;
    use proptest::prelude::*;

    use super::super::{Region, Size};
    use super::*;

    #[test]
    fn a_creation_is_what_the_api_documents() {
        let tags = ["agentopia".to_owned(), "agentopia:tb:1".to_owned()];
        let ssh_keys = [
            "289794".to_owned(),
            "3b:16:e4:bf:8b:00:8b:b8:59:8c:a9:d3:f0:19:fa:45".to_owned(),
        ];
        let droplet = NewDroplet {
            name: "toolbox-1",
            region: "nyc3",
            size: "s-1vcpu-1gb",
            image: "ubuntu-22-04-x64",
            tags: &tags,
            ssh_keys: &ssh_keys,
            user_data: "#cloud-config\n",
        };

        assert_json_snapshot!(CreateDroplet::from(&droplet), @r##"
        {
          "name": "toolbox-1",
          "region": "nyc3",
          "size": "s-1vcpu-1gb",
          "image": "ubuntu-22-04-x64",
          "tags": [
            "agentopia",
            "agentopia:tb:1"
          ],
          "ssh_keys": [
            289794,
            "3b:16:e4:bf:8b:00:8b:b8:59:8c:a9:d3:f0:19:fa:45"
          ],
          "user_data": "#cloud-config\n"
        }
        "##);
    }

    /// A droplet in the shape of the documentation, shortened to some of what is ignored.
    fn active() -> serde_json::Value {
        serde_json::json!({
            "id": 3_164_444,
            "name": "example.com",
            "memory": 1024,
            "locked": false,
            "status": "active",
            "kernel": null,
            "created_at": "2020-07-21T18:37:44Z",
            "next_backup_window": null,
            "image": { "id": 63_663_980, "slug": "ubuntu-20-04-x64", "tags": [] },
            "size": { "slug": "s-1vcpu-1gb", "price_monthly": 5.0 },
            "size_slug": "s-1vcpu-1gb",
            "networks": {
                "v4": [
                    { "ip_address": "10.128.192.124", "netmask": "255.255.0.0", "gateway": "nil", "type": "private" },
                    { "ip_address": "192.241.165.154", "netmask": "255.255.255.0", "gateway": "192.241.165.1", "type": "public" },
                ],
                "v6": [{ "ip_address": "2604:a880:0:1010::18a:a001", "netmask": 64, "type": "public" }],
            },
            "region": { "name": "New York 3", "slug": "nyc3", "available": true },
            "tags": ["web", "env:prod"],
        })
    }

    fn parse(value: &serde_json::Value) -> super::super::Droplet {
        droplet(serde_json::json!({ "droplet": value }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_droplet_is_read() {
        assert_eq!(
            parse(&active()),
            super::super::Droplet {
                id: 3_164_444,
                name: "example.com".to_owned(),
                status: DropletStatus::Active,
                tags: vec!["web".to_owned(), "env:prod".to_owned()],
                region: "nyc3".to_owned(),
                size: "s-1vcpu-1gb".to_owned(),
                public_ipv4: Some(Ipv4Addr::new(192, 241, 165, 154)),
                created_at: DateTime::from_timestamp(1_595_356_664, 0),
            }
        );
    }

    #[test]
    fn a_droplet_that_is_being_made_has_no_address() {
        let mut new = active();
        new["status"] = "new".into();
        new["networks"] = serde_json::json!({ "v4": [], "v6": [] });

        let droplet = parse(&new);

        assert_eq!((droplet.status, droplet.public_ipv4), (DropletStatus::New, None));
    }

    #[test]
    fn a_token_with_few_rights_sees_few_fields() {
        let droplet = parse(&serde_json::json!({
            "id": 1, "name": "a", "status": "melting", "tags": null, "networks": { "v4": [{ "type": "public" }] },
        }));

        assert_eq!(
            (droplet.status, droplet.public_ipv4, droplet.tags, droplet.created_at),
            (DropletStatus::Unknown, None, vec![], None)
        );
    }

    #[test]
    fn a_page_says_whether_another_follows() {
        let page_of = |links: serde_json::Value| {
            let body = serde_json::json!({ "droplets": [active()], "links": links, "meta": { "total": 1 } });
            let page: Page<Droplet> = page(body.to_string().as_bytes()).unwrap();
            (page.rows.len(), page.has_next)
        };
        let next = "https://elsewhere.example/v2/droplets?page=2";

        assert_eq!(
            page_of(serde_json::json!({ "pages": { "last": next, "next": next } })),
            (1, true)
        );
        assert_eq!(
            page_of(serde_json::json!({ "pages": { "first": next, "prev": next } })),
            (1, false)
        );
        assert_eq!(page_of(serde_json::json!({ "pages": {} })), (1, false));
        assert_eq!(page_of(serde_json::json!({})), (1, false));
        assert_eq!(page_of(serde_json::Value::Null), (1, false));
    }

    #[test]
    fn regions_and_sizes_keep_the_fields_that_the_frontend_reads() {
        let regions: Page<Region> = page(
            br#"{"regions":[{"name":"New York 3","slug":"nyc3","features":["metadata"],"available":true,"sizes":["s-1vcpu-1gb"],"new":1}],"meta":{"total":1}}"#,
        )
        .unwrap();
        let sizes: Page<Size> = page(
            br#"{"sizes":[{"slug":"s-1vcpu-1gb","memory":1024,"vcpus":1,"disk":25,"transfer":1.0,"price_monthly":5.0,"price_hourly":0.00743999984115362,"regions":["nyc3"],"available":true,"description":"Basic","disk_info":[{"type":"local"}]}]}"#,
        )
        .unwrap();

        assert_json_snapshot!(regions.rows, @r#"
        [
          {
            "slug": "nyc3",
            "name": "New York 3",
            "available": true,
            "features": [
              "metadata"
            ],
            "sizes": [
              "s-1vcpu-1gb"
            ]
          }
        ]
        "#);
        assert_json_snapshot!(sizes.rows, @r#"
        [
          {
            "slug": "s-1vcpu-1gb",
            "memory": 1024,
            "vcpus": 1,
            "disk": 25,
            "transfer": 1.0,
            "price_monthly": 5.0,
            "price_hourly": 0.00743999984115362,
            "regions": [
              "nyc3"
            ],
            "available": true,
            "description": "Basic"
          }
        ]
        "#);
    }

    #[test]
    fn refusals_are_told_apart() {
        use DigitalOceanError as Error;
        let after = Some(Duration::from_secs(29));
        let invalid = |message: &str| Error::Invalid {
            message: message.to_owned(),
        };
        let cases: [(u16, &str, Error); 17] = [
            (
                429,
                r#"{"id":"too_many_requests","message":"API rate limit exceeded."}"#,
                Error::RateLimited { retry_after: after },
            ),
            (
                401,
                r#"{"id":"unauthorized","message":"Unable to authenticate you."}"#,
                Error::Unauthorized,
            ),
            (403, r#"{"id":"forbidden"}"#, Error::Unauthorized),
            (404, r#"{"id":"not_found","message":"…"}"#, Error::NotFound),
            (404, "<html>nginx</html>", Error::Malformed("404 no id".into())),
            (
                422,
                r#"{"id":"unprocessable_entity","message":"You specified an invalid size for Droplet creation."}"#,
                invalid("You specified an invalid size for Droplet creation."),
            ),
            (
                400,
                "{\"id\":\"bad_request\",\"message\":\"a\\u0000\\u001b[31m b\\n\\u202ec\"}",
                invalid("a [31m b c"),
            ),
            (422, "", invalid("the request is not valid")),
            (
                422,
                r#"{"id":"unprocessable_entity","message":"Droplet already has a pending event."}"#,
                Error::Busy,
            ),
            (409, r#"{"id":"conflict"}"#, Error::Busy),
            (
                500,
                r#"{"id":"server_error","message":"Unexpected server-side error"}"#,
                Error::Failed("500 server_error".into()),
            ),
            (502, "<html>", Error::Failed("502 no id".into())),
            (503, r#"{"id":"a b\nc"}"#, Error::Failed("503 no id".into())),
            (504, "", Error::TimedOut),
            (408, "", Error::TimedOut),
            (301, "", Error::Malformed("301 no id".into())),
            (405, "[]", Error::Malformed("405 no id".into())),
        ];

        for (status, body, expected) in cases {
            assert_eq!(refusal(status, after, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn what_is_malformed_is_not_repeated() {
        let secret = r#"{"droplet":{"id":"canary"}}"#;

        let error = droplet(secret.as_bytes()).unwrap_err();

        assert_eq!(error, DigitalOceanError::Malformed("Data at 1:25".into()));
    }

    proptest! {
        #[test]
        fn a_shown_message_is_short_and_has_nothing_hidden(message in "\\PC{0,50}[\\x00-\\x20\u{202e}\u{200b}]{0,20}.{0,400}") {
            let body = serde_json::json!({ "id": "unprocessable_entity", "message": message }).to_string();

            let error = refusal(400, None, body.as_bytes());

            let DigitalOceanError::Invalid { message } = error else { panic!("{error}") };
            prop_assert!((1..=MESSAGE_MAX_CHARS).contains(&message.chars().count()));
            prop_assert!(!message.chars().any(is_invisible));
        }

        #[test]
        fn hostile_bodies_do_not_panic(status in 300_u16..600, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _either = (refusal(status, None, &body), droplet(&body), page::<Droplet>(&body));
        }
    }
}
