//! Messages as clients send them, and what Discord refuses of them.

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use super::multipart;
use super::refusal::Refusal;

/// The longest message, in Unicode code points.
const CONTENT_MAX_CHARS: usize = 2000;

/// The longest nonce.
const NONCE_MAX_CHARS: usize = 25;

/// The largest file.
pub(super) const FILE_MAX_BYTES: usize = 10 * 1024 * 1024;

/// The flag of a message that is for who has asked alone.
pub(super) const EPHEMERAL: u64 = 1 << 6;

/// What else a message may have, which the world does not take.
const OTHER_FIELDS: [&str; 16] = [
    "username",
    "avatar_url",
    "tts",
    "embeds",
    "components",
    "attachments",
    "payload_json",
    "flags",
    "thread_name",
    "applied_tags",
    "poll",
    "nonce",
    "enforce_nonce",
    "message_reference",
    "sticker_ids",
    "shared_client_theme",
];

/// What a message is sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A webhook's, in its channel.
    Webhook,
    /// A bot's, in a channel.
    Bot,
    /// An interaction's first answer, or one that follows.
    Interaction,
    /// In place of an interaction's first answer.
    Edit,
}

impl Purpose {
    /// What of a message the world takes.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Webhook => &["content", "allowed_mentions"],
            Self::Bot => &["content", "allowed_mentions", "nonce", "enforce_nonce"],
            Self::Interaction => &["content", "allowed_mentions", "flags", "attachments"],
            Self::Edit => &["content", "allowed_mentions", "attachments"],
        }
    }
}

/// A file with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A message before it is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// None leaves an edited message's text as it is.
    pub(super) content: Option<String>,
    /// Who is notified: of the mentions in the text those that were allowed.
    pub(super) notifies: Vec<String>,
    pub(super) is_ephemeral: bool,
    pub(super) files: Vec<File>,
    /// Whether an edited message keeps the files that it has.
    pub(super) keeps_files: bool,
    /// The nonce, if no other message with the same is to be made.
    pub(super) nonce: Option<String>,
    /// Whether it says that it is to notify nobody, whatever its text is.
    pub(super) is_silent: bool,
}

impl Draft {
    /// Reads a body, in JSON or with files.
    pub(super) fn read(purpose: Purpose, headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default();
        if kind.starts_with("application/json") {
            let body = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
            return Self::parse(purpose, &body, Vec::new());
        }
        if !kind.starts_with("multipart/form-data") || !purpose.fields().contains(&"attachments") {
            return Err(Refusal::not_json());
        }

        let parts = multipart::parse(kind, body)
            .map_err(|why| Refusal::field("_form", "STAND_IN_MALFORMED", format!("The form is malformed: {why}.")))?;
        let (mut payload, mut files) = (Map::new(), Vec::new());
        for part in parts {
            match (&*part.name, part.filename) {
                ("payload_json", None) => {
                    payload = serde_json::from_slice(part.content).map_err(|_| Refusal::not_json())?;
                }
                (name, Some(filename)) if name == format!("files[{}]", files.len()) => {
                    if part.content.len() > FILE_MAX_BYTES {
                        return Err(Refusal::too_large());
                    }
                    files.push(File {
                        name: filename,
                        text: String::from_utf8_lossy(part.content).into_owned(),
                    });
                }
                (name, _) => return Err(Refusal::unsupported(&format!("the part '{name}' of a form"))),
            }
        }
        Self::parse(purpose, &payload, files)
    }

    /// Checks what is in a body.
    pub(super) fn parse(purpose: Purpose, body: &Map<String, Value>, files: Vec<File>) -> Result<Self, Refusal> {
        let known = purpose.fields();
        // Discord ignores what it does not know, so that a client would not notice its mistake.
        if let Some(field) = body.keys().find(|field| !known.contains(&field.as_str())) {
            let what = if OTHER_FIELDS.contains(&field.as_str()) {
                format!("'{field}' of a message")
            } else {
                format!("'{field}', which no message has")
            };
            return Err(Refusal::unsupported(&what));
        }

        let content = match body.get("content") {
            None | Some(Value::Null) => None,
            Some(Value::String(content)) => Some(content.trim()),
            Some(_) => {
                return Err(Refusal::field(
                    "content",
                    "STRING_TYPE_CONVERT",
                    "Could not interpret value as string.",
                ));
            }
        };
        let is_empty = match purpose {
            Purpose::Edit => content == Some(""),
            _ => content.is_none_or(str::is_empty),
        };
        if is_empty && files.is_empty() {
            return Err(Refusal::empty());
        }
        if content.is_some_and(|content| content.chars().count() > CONTENT_MAX_CHARS) {
            return Err(Refusal::field(
                "content",
                "BASE_TYPE_MAX_LENGTH",
                "Must be 2000 or fewer in length.",
            ));
        }
        let allowed = Allowed::parse(body.get("allowed_mentions"))?;
        let attachments = attachments(body.get("attachments"), &files)?;
        Ok(Self {
            content: content.map(str::to_owned),
            notifies: mentions(content.unwrap_or_default())
                .filter(|mention| allowed.allows(mention))
                .collect(),
            is_ephemeral: flags(body.get("flags"))? == EPHEMERAL,
            files,
            keeps_files: attachments.is_none(),
            nonce: nonce(body)?,
            is_silent: body.get("allowed_mentions").is_some() && allowed.is_nobody(),
        })
    }
}

/// The flags of a message; the only one that the world knows is that it is for one person alone.
pub(super) fn flags(value: Option<&Value>) -> Result<u64, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(0),
        Some(value) => match value.as_u64() {
            Some(flags @ (0 | EPHEMERAL)) => Ok(flags),
            Some(flags) => Err(Refusal::unsupported(&format!("the flags {flags} of a message"))),
            None => Err(Refusal::field(
                "flags",
                "NUMBER_TYPE_COERCE",
                format!("Value \"{value}\" is not int."),
            )),
        },
    }
}

/// The files that a message has after this, if it is said: all that come with it must be among them.
fn attachments(value: Option<&Value>, files: &[File]) -> Result<Option<()>, Refusal> {
    let listed = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_array().ok_or_else(|| {
            Refusal::field(
                "attachments",
                "LIST_TYPE_CONVERT",
                "Only iterables may be used in a ListType",
            )
        })?,
    };
    let ids: Vec<_> = listed
        .iter()
        .filter_map(|attachment| match attachment.get("id")? {
            Value::String(id) => id.parse().ok(),
            id => id.as_u64(),
        })
        .collect();
    let expected = 0..files.len() as u64;
    if ids.len() == listed.len() && ids.iter().copied().eq(expected) {
        Ok(Some(()))
    } else {
        Err(Refusal::unsupported(
            "attachments other than the files of the request, in their order",
        ))
    }
}

/// The nonce, if it is to be enforced.
fn nonce(body: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    let nonce = match body.get("nonce") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(nonce)) => nonce.clone(),
        Some(Value::Number(nonce)) => nonce.to_string(),
        Some(_) => {
            return Err(Refusal::field(
                "nonce",
                "NONCE_TYPE_INVALID",
                "Nonce must be a string or an integer.",
            ));
        }
    };
    if nonce.chars().count() > NONCE_MAX_CHARS {
        return Err(Refusal::field(
            "nonce",
            "NONCE_TYPE_TOO_LONG",
            "Nonces may not be longer than 25 characters.",
        ));
    }
    Ok((body.get("enforce_nonce") == Some(&Value::Bool(true))).then_some(nonce))
}

/// Which mentions notify.
struct Allowed {
    kinds: Vec<String>,
    users: Vec<String>,
    roles: Vec<String>,
}

impl Allowed {
    fn parse(value: Option<&Value>) -> Result<Self, Refusal> {
        let invalid = |code, message: &str| Refusal::field("allowed_mentions", code, message);
        let value = match value {
            // A webhook's message notifies the users that it mentions, if nothing else is said.
            None | Some(Value::Null) => &json!({ "parse": ["users"] }),
            Some(value) => value,
        };
        let value = value
            .as_object()
            .ok_or_else(|| invalid("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType"))?;
        let list = |field: &str| -> Result<Vec<String>, Refusal> {
            let values = match value.get(field) {
                None | Some(Value::Null) => return Ok(Vec::new()),
                Some(values) => values.as_array(),
            };
            values
                .and_then(|values| values.iter().map(|value| value.as_str().map(str::to_owned)).collect())
                .ok_or_else(|| invalid("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"))
        };
        let allowed = Self {
            kinds: list("parse")?,
            users: list("users")?,
            roles: list("roles")?,
        };

        let is_known = |kind: &String| ["users", "roles", "everyone"].contains(&kind.as_str());
        if !allowed.kinds.iter().all(is_known) {
            return Err(invalid(
                "BASE_TYPE_CHOICES",
                "Value must be one of ('users', 'roles', 'everyone').",
            ));
        }
        for (kind, ids) in [("users", &allowed.users), ("roles", &allowed.roles)] {
            if ids.len() > 100 {
                return Err(invalid("BASE_TYPE_MAX_LENGTH", "Must be 100 or fewer in length."));
            }
            if !ids.is_empty() && allowed.kinds.iter().any(|allowed| allowed == kind) {
                return Err(invalid(
                    "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                    "parse and a list of ids are mutually exclusive",
                ));
            }
        }
        Ok(allowed)
    }

    /// Whether no mention notifies.
    fn is_nobody(&self) -> bool {
        [&self.kinds, &self.users, &self.roles].into_iter().all(Vec::is_empty)
    }

    fn allows(&self, mention: &str) -> bool {
        let has = |kind: &str| self.kinds.iter().any(|allowed| allowed == kind);
        let id = mention.trim_matches(|character: char| !character.is_ascii_digit());
        let lists = |ids: &[String]| ids.iter().any(|allowed| allowed == id);
        if mention.starts_with("<@&") {
            has("roles") || lists(&self.roles)
        } else if mention.starts_with('<') {
            has("users") || lists(&self.users)
        } else {
            has("everyone")
        }
    }
}

/// The mentions in a text: `@everyone`, `@here`, `<@user>`, `<@!user>`, `<@&role>`.
fn mentions(content: &str) -> impl Iterator<Item = String> {
    let starts = content.match_indices(['@', '<']).map(|(start, _)| start);
    starts.filter_map(|start| {
        let (_, rest) = content.split_at(start);
        if let Some(word) = ["@everyone", "@here"].into_iter().find(|word| rest.starts_with(word)) {
            return Some(word.to_owned());
        }
        let (inner, _) = rest.strip_prefix("<@")?.split_once('>')?;
        let id = inner.trim_start_matches(['!', '&']);
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then(|| format!("<@{inner}>"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_found_and_allowed_as_documented() {
        let text = "@here Hello <@&1234>, <@5678> and <@!90> <@> <@x> @everyone";
        let cases: [(Value, &[&str]); 5] = [
            (Value::Null, &["<@5678>", "<@!90>"]),
            (json!({ "parse": [] }), &[]),
            (
                json!({ "parse": ["users", "roles"], "users": [] }),
                &["<@&1234>", "<@5678>", "<@!90>"],
            ),
            (
                json!({ "parse": ["everyone"], "users": ["5678"] }),
                &["@here", "<@5678>", "@everyone"],
            ),
            (json!({}), &[]),
        ];

        for (allowed, expected) in cases {
            let rule = Allowed::parse(Some(&allowed)).unwrap();
            let notified: Vec<_> = mentions(text).filter(|mention| rule.allows(mention)).collect();
            assert_eq!(notified, expected, "{allowed}");
        }
    }

    #[test]
    fn a_file_comes_with_what_is_said_of_it() {
        let form = |payload: &str, name: &str| {
            format!(
                "--b\r\nContent-Disposition: form-data; name=\"payload_json\"\r\n\r\n{payload}\r\n\
                --b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.md\"\r\n\r\nlong\r\n--b--"
            )
        };
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, "multipart/form-data; boundary=b".parse().unwrap())]);
        let read = |body: &str| Draft::read(Purpose::Edit, &headers, body.as_bytes());
        let payload = r#"{"content":"a","allowed_mentions":{"parse":[]},"attachments":[{"id":0}]}"#;

        let draft = read(&form(payload, "files[0]")).unwrap();

        let file = File {
            name: "a.md".to_owned(),
            text: "long".to_owned(),
        };
        assert_eq!(
            (draft.files, draft.keeps_files, draft.is_silent),
            (vec![file], false, true)
        );
        assert!(read(&form("{}", "files[0]")).unwrap().keeps_files);
        for (payload, name) in [
            (payload, "files[1]"),
            (r#"{"attachments":[]}"#, "files[0]"),
            (r#"{"attachments":[{"id":1}]}"#, "files[0]"),
            ("{", "files[0]"),
        ] {
            assert!(read(&form(payload, name)).is_err(), "{payload} {name}");
        }
    }

    #[test]
    fn what_a_message_is_for_says_what_it_may_have() {
        let parse = |purpose, body: Value| Draft::parse(purpose, body.as_object().unwrap(), Vec::new());

        let ephemeral = parse(Purpose::Interaction, json!({ "content": "a", "flags": 64 })).unwrap();
        let kept = parse(Purpose::Edit, json!({})).unwrap();
        let once = parse(
            Purpose::Bot,
            json!({ "content": "a", "nonce": 7, "enforce_nonce": true }),
        )
        .unwrap();
        let free = parse(Purpose::Bot, json!({ "content": "a", "nonce": "7" })).unwrap();

        assert!(ephemeral.is_ephemeral && !ephemeral.is_silent);
        assert_eq!((kept.content, kept.keeps_files), (None, true));
        assert_eq!((once.nonce.as_deref(), free.nonce), (Some("7"), None));
        for (purpose, body) in [
            (Purpose::Edit, json!({ "content": "a", "flags": 64 })),
            (Purpose::Edit, json!({ "content": "" })),
            (Purpose::Interaction, json!({ "content": "a", "flags": 4 })),
            (Purpose::Bot, json!({ "content": "a", "nonce": "a".repeat(26) })),
            (Purpose::Bot, json!({ "content": "a", "flags": 64 })),
        ] {
            assert!(parse(purpose, body.clone()).is_err(), "{body}");
        }
    }
}
