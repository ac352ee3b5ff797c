//! The wire format of the worker manager of May 2025, and what ours adds to it. Unknown fields are ignored.

use std::time::Duration;

use agentopia_domain::ids::AgentId;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{ListedWorker, ManagerError};

const MESSAGE_MAX_CHARS: usize = 300;
const STATUS_MAX_CHARS: usize = 50;
/// What of an answer is shown. PM2 describes a process with its environment, and so with every secret that it was given.
const SHOWN: [&str; 9] = [
    "status",
    "message",
    "cpu",
    "memory",
    "uptime",
    "restarts",
    "name",
    "agentId",
    "connectionDbId",
];

/// The fields up to the inactivity timeout are the old ones; the others are ours, and a manager that does not know them leaves them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartWorker<'a> {
    agent_id: AgentId,
    connection_db_id: Uuid,
    bot_token: &'a str,
    agent_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_instructions: Option<&'a str>,
    inactivity_timeout: i32,
    lease_id: Uuid,
    worker_token: &'a str,
    functions_url: &'a str,
    guild_ids: &'a [String],
}

impl<'a> From<&super::StartWorker<'a>> for StartWorker<'a> {
    fn from(worker: &super::StartWorker<'a>) -> Self {
        Self {
            agent_id: worker.agent_id,
            connection_db_id: worker.connection_id,
            bot_token: worker.bot_token.expose_secret(),
            agent_name: worker.agent_name,
            system_prompt: worker.system_prompt,
            agent_instructions: worker.agent_instructions,
            inactivity_timeout: worker.inactivity_timeout_minutes,
            lease_id: worker.lease_id,
            worker_token: worker.worker_token,
            functions_url: worker.functions_url,
            guild_ids: worker.guild_ids,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopWorker {
    pub(super) agent_id: AgentId,
    /// Ours: only the worker that was started under it is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lease_id: Option<Uuid>,
}

/// What of the manager's answer to a success is shown: the simple values of the fields that are known to be harmless, bounded and without secrets that
/// they repeat.
pub(super) fn answer(body: &[u8], secrets: &[&str]) -> Result<Value, ManagerError> {
    let value: Value = serde_json::from_slice(body).map_err(malformed)?;
    let simple = |value: &Value| match value {
        Value::String(text) => Some(bounded(text, secrets).into()),
        Value::Number(_) | Value::Bool(_) => Some(value.clone()),
        _ => None,
    };
    let shown = SHOWN
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), simple(value.get(name)?)?)));
    Ok(Value::Object(shown.collect()))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedProcess {
    agent_id: Option<Value>,
    status: Option<Value>,
}

/// The workers that an answer lists.
pub(super) fn list(body: &[u8]) -> Result<Vec<ListedWorker>, ManagerError> {
    let processes: Vec<ListedProcess> = serde_json::from_slice(body).map_err(malformed)?;
    let listed = |process: ListedProcess| {
        let agent_id = process.agent_id?.as_str()?.parse().ok()?;
        let status = process.status.as_ref().and_then(Value::as_str).unwrap_or_default();
        Some(ListedWorker {
            agent_id,
            status: legible(status).chars().take(STATUS_MAX_CHARS).collect(),
        })
    };
    Ok(processes.into_iter().filter_map(listed).collect())
}

fn malformed(error: serde_json::Error) -> ManagerError {
    // The text of an error of content may repeat the content, which its place does not.
    ManagerError::Malformed(format!("{:?} at {}:{}", error.classify(), error.line(), error.column()))
}

#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    error: Option<Value>,
    message: Option<Value>,
}

impl ErrorBody {
    /// The manager's sentence; `None` if the body is none of a manager's.
    fn text(&self) -> Option<&str> {
        let texts = [&self.error, &self.message].into_iter().flatten();
        texts.filter_map(Value::as_str).find(|text| !text.trim().is_empty())
    }
}

/// What a response that is not a success means. Only an answer in the manager's own form says that there is no such worker: one of a proxy, or of a
/// manager that does not have the route, must not make us believe that nothing runs.
pub(super) fn refusal(status: u16, retry_after: Option<Duration>, body: &[u8], secrets: &[&str]) -> ManagerError {
    let error = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default();
    let text = || shown(error.text(), status, secrets);

    match status {
        401 | 403 => ManagerError::Unauthorized,
        404 if error.text().is_some() => ManagerError::NotFound,
        408 | 504 => ManagerError::TimedOut,
        429 => ManagerError::RateLimited { retry_after },
        400..=499 => ManagerError::Refused(text()),
        500..=599 => ManagerError::Failed(text()),
        _ => ManagerError::Malformed(text()),
    }
}

/// The status and the manager's sentence, as they may be shown to whoever asked.
fn shown(text: Option<&str>, status: u16, secrets: &[&str]) -> String {
    format!("{status} {}", bounded(text.unwrap_or("no message"), secrets))
}

/// A text of the manager's, legible, without secrets and not longer than it may be.
fn bounded(text: &str, secrets: &[&str]) -> String {
    mask(&legible(text), secrets).chars().take(MESSAGE_MAX_CHARS).collect()
}

/// A text's words, with nothing in between that cannot be seen.
fn legible(text: &str) -> String {
    let words: Vec<_> = text
        .split(|character: char| character.is_whitespace() || is_invisible(character))
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

/// Control characters, and those that turn the direction of what follows.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn mask(text: &str, secrets: &[&str]) -> String {
    let given = secrets.iter().filter(|secret| !secret.is_empty());
    given.fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
}

#[cfg(test)]
mod tests {
    use insta::{assert_json_snapshot, assert_snapshot};
    use proptest::prelude::*;
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;

    const SECRETS: [&str; 3] = ["manager-canary", "bot-canary", "agt_wk_canary"];

    #[test]
    fn a_start_is_what_the_old_manager_takes_and_what_a_worker_needs() {
        let bot_token = SecretString::from("bot-canary");
        let guild_ids = ["199737254929760256".to_owned()];
        let mut worker = super::super::StartWorker {
            agent_id: AgentId(Uuid::from_u128(1)),
            connection_id: Uuid::from_u128(2),
            lease_id: Uuid::from_u128(3),
            bot_token: &bot_token,
            worker_token: "agt_wk_canary",
            agent_name: "Ada",
            system_prompt: Some("Be kind."),
            agent_instructions: Some("Answer briefly."),
            inactivity_timeout_minutes: 0,
            functions_url: "https://functions.example/functions/v1",
            guild_ids: &guild_ids,
        };

        assert_json_snapshot!(StartWorker::from(&worker), @r#"
        {
          "agentId": "00000000-0000-0000-0000-000000000001",
          "connectionDbId": "00000000-0000-0000-0000-000000000002",
          "botToken": "bot-canary",
          "agentName": "Ada",
          "systemPrompt": "Be kind.",
          "agentInstructions": "Answer briefly.",
          "inactivityTimeout": 0,
          "leaseId": "00000000-0000-0000-0000-000000000003",
          "workerToken": "agt_wk_canary",
          "functionsUrl": "https://functions.example/functions/v1",
          "guildIds": [
            "199737254929760256"
          ]
        }
        "#);

        worker.system_prompt = None;
        worker.agent_instructions = None;
        let body = serde_json::to_value(StartWorker::from(&worker)).unwrap();
        assert_eq!((body.get("systemPrompt"), body.get("agentInstructions")), (None, None));
    }

    #[test]
    fn a_stop_names_the_lease_if_one_is_meant() {
        let mut order = StopWorker {
            agent_id: AgentId(Uuid::from_u128(1)),
            lease_id: Some(Uuid::from_u128(3)),
        };

        let of_one = serde_json::to_string(&order).unwrap();
        order.lease_id = None;
        let of_any = serde_json::to_string(&order).unwrap();

        assert_snapshot!(of_one, @r#"{"agentId":"00000000-0000-0000-0000-000000000001","leaseId":"00000000-0000-0000-0000-000000000003"}"#);
        assert_snapshot!(of_any, @r#"{"agentId":"00000000-0000-0000-0000-000000000001"}"#);
    }

    /// As PM2 describes a process, with its environment.
    #[test]
    fn an_answer_is_cut_to_what_may_be_shown() {
        let body = json!({
            "message": format!("Worker started\u{202e} with bot-canary. {}", "x".repeat(400)),
            "name": "worker-7",
            "status": "online",
            "cpu": 0.1,
            "memory": 92_000_000,
            "uptime": 1_764_000_000_000_u64,
            "restarts": null,
            "agentId": { "env": "bot-canary" },
            "connectionDbId": ["agt_wk_canary"],
            "pid": 7,
            "monit": { "cpu": 0.1, "memory": 92_000_000 },
            "pm2_env": {
                "status": "online",
                "DISCORD_BOT_TOKEN": "bot-canary",
                "env": { "AGENT_SERVICE_KEY": "another-canary" },
                "pm_exec_path": "/srv/worker.js",
            },
            "bot-canary": "agt_wk_canary, manager-canary",
        });

        let answer = answer(body.to_string().as_bytes(), &SECRETS).unwrap();

        assert!(!answer.to_string().contains("canary"));
        assert_eq!(answer["message"].as_str().map(|text| text.chars().count()), Some(300));
        assert_json_snapshot!(answer, { ".message" => "…" }, @r#"
        {
          "cpu": 0.1,
          "memory": 92000000,
          "message": "…",
          "name": "worker-7",
          "status": "online",
          "uptime": 1764000000000
        }
        "#);
    }

    #[test]
    fn an_answer_that_is_no_object_shows_nothing() {
        for body in ["[]", "null", "7", r#""canary""#, r#"[{"status": "online"}]"#] {
            assert_eq!(answer(body.as_bytes(), &[]).unwrap(), json!({}), "{body}");
        }
    }

    #[test]
    fn an_answer_that_is_no_json_is_not_repeated() {
        let error = answer(br#"{"message": canary}"#, &[]).unwrap_err();

        assert_snapshot!(error, @"the worker manager's answer is malformed: Syntax at 1:13");
    }

    #[test]
    fn a_list_shows_the_workers_and_leaves_out_what_is_none() {
        let id = Uuid::from_u128(7);
        let body = json!([
            { "name": format!("worker-{id}"), "status": "online", "cpu": 0.3, "memory": 90_000_000, "agentId": id, "connectionDbId": Uuid::from_u128(8) },
            { "agentId": id, "status": format!("err\u{202e}ored {}", "x".repeat(60)) },
            { "agentId": id },
            { "name": "pm2-logrotate", "status": "online", "agentId": null },
            { "agentId": "worker", "status": "online" },
            { "agentId": 7, "status": "online" },
            { "status": "online" },
        ]);
        let listed = |status: &str| ListedWorker {
            agent_id: AgentId(id),
            status: status.to_owned(),
        };

        let workers = list(body.to_string().as_bytes()).unwrap();

        let long = format!("err ored {}", "x".repeat(41));
        assert_eq!(workers, [listed("online"), listed(&long), listed("")]);
    }

    #[test]
    fn what_is_no_list_is_no_empty_list() {
        for body in ["", "{}", "null", "<html>", r#"["worker"]"#] {
            let error = list(body.as_bytes()).unwrap_err();
            assert!(matches!(error, ManagerError::Malformed(_)), "{body}: {error}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        use ManagerError as Error;
        let after = Some(Duration::from_secs(9));
        let cases: [(u16, &str, Error); 18] = [
            (
                400,
                r#"{"error":"Missing required fields"}"#,
                Error::Refused("400 Missing required fields".into()),
            ),
            (400, "", Error::Refused("400 no message".into())),
            (
                400,
                r#"{"error":null,"message":" a\u0000\u001b[31m b\n\u202ec bot-canary"}"#,
                Error::Refused("400 a [31m b c [secret]".into()),
            ),
            (401, r#"{"error":"Unauthorized"}"#, Error::Unauthorized),
            (403, r#"{"error":"Invalid secret key"}"#, Error::Unauthorized),
            (404, r#"{"error":"Worker not found"}"#, Error::NotFound),
            (404, r#"{"message":"Worker not found"}"#, Error::NotFound),
            (404, r#"{"message":""}"#, Error::Refused("404 no message".into())),
            (
                404,
                "<pre>Cannot GET /status</pre>",
                Error::Refused("404 no message".into()),
            ),
            (409, r#"{"message":"Busy"}"#, Error::Refused("409 Busy".into())),
            (408, "", Error::TimedOut),
            (413, "[]", Error::Refused("413 no message".into())),
            (429, "", Error::RateLimited { retry_after: after }),
            (
                500,
                r#"{"error":"pm2: token bot-canary of agt_wk_canary at manager-canary"}"#,
                Error::Failed("500 pm2: token [secret] of [secret] at [secret]".into()),
            ),
            (502, "<html>bot-canary</html>", Error::Failed("502 no message".into())),
            (503, r#"{"error":{"code":7}}"#, Error::Failed("503 no message".into())),
            (504, "", Error::TimedOut),
            (302, "", Error::Malformed("302 no message".into())),
        ];

        for (status, body, expected) in cases {
            assert_eq!(
                refusal(status, after, body.as_bytes(), &SECRETS),
                expected,
                "{status} {body}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_shown_message_is_short_and_holds_no_secret(before in "\\PC{0,300}", after in "[\\x00-\\x20\u{202e}]{0,20}.{0,400}") {
            let body = json!({ "error": format!("{before}bot-canary{after}") }).to_string();

            let error = refusal(500, None, body.as_bytes(), &SECRETS);

            let ManagerError::Failed(message) = error else { panic!("{error}") };
            prop_assert!(message.chars().count() <= MESSAGE_MAX_CHARS + "500 ".len());
            prop_assert!(!message.contains("canary"));
            prop_assert!(!message.chars().any(is_invisible));
        }

        #[test]
        fn hostile_bodies_do_not_panic(status in 300_u16..600, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _either = (refusal(status, None, &body, &SECRETS), answer(&body, &SECRETS), list(&body));
        }
    }
}
