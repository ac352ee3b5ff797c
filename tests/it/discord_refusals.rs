//! `discord-interaction-handler`: what is not proven gets one answer, whatever is wrong with it.

use agentopia_tests::{Response, Stack, StackOptions};
use insta::assert_snapshot;
use serde_json::json;

use crate::discord_support::{Bot, INTERACTIONS, connect, recorded, said, seconds, with};

/// What all that is unproven gets.
const REFUSED: &str = "401 Unauthorized
www-authenticate: Bearer
{\"code\":\"invalid_signature\",\"error\":\"Invalid request signature\",\"message\":\"Invalid request signature\",\"request_id\":\"[request id]\"}";

fn assert_refused(answer: &Response, why: &str) {
    assert_eq!(answer.to_string(), REFUSED, "{why}");
}

#[tokio::test]
async fn discord_accepts_the_url_for_an_application_that_is_connected() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    let url = format!("{}{INTERACTIONS}", stack.url());
    let before = bot.application.validate_endpoint(&url).await.unwrap_err();

    bot.agent("Atlas").await;

    bot.application.validate_endpoint(&url).await.unwrap();
    let ping = bot.interaction(recorded!("ping"));
    let answered = bot.application.interact(&url, &ping).await.unwrap();
    assert_eq!((answered.status, answered.body), (200, json!({ "type": 1 })));
    assert!(before.to_string().contains("a PING is answered with 401"), "{before}");
}

#[tokio::test]
async fn a_bot_that_is_switched_off_still_answers_discord() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    let agent = bot.agent("Atlas").await;
    let statement = "UPDATE public.agent_discord_connections SET is_enabled = false WHERE agent_id = $1";
    stack.db().execute(statement, &[&agent.id]).await;

    bot.application
        .validate_endpoint(&format!("{}{INTERACTIONS}", stack.url()))
        .await
        .unwrap();
    assert_eq!(bot.agents().await, "No agent is connected to this server.");
}

#[tokio::test]
async fn an_application_of_the_deployments_own_needs_no_connection() {
    let shared = Stack::shared().await;
    let application = shared.discord().create_application().unwrap();
    let options = StackOptions::default().set("discord_public_key", application.public_key.to_uppercase());
    let stack = Stack::beside_shared(options).await;
    let url = format!("{}{INTERACTIONS}", stack.url());

    application.validate_endpoint(&url).await.unwrap();
    stack.kill().await;
}

#[tokio::test]
async fn what_is_not_proven_is_refused_alike() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    bot.agent("Atlas").await;
    let stranger = Bot::new(stack).await;
    let body = bot.interaction(recorded!("command_agents")).to_string();
    let now = seconds(0);
    let signature = bot.application.sign(&now, body.as_bytes());
    let pretty = serde_json::to_string_pretty(&bot.interaction(recorded!("command_agents"))).unwrap();
    let send = |signature: &str, timestamp: &str, body: &str| with(stack, signature, timestamp).body(body.to_owned());

    let cases = [
        (
            "an unknown application",
            stranger.deliver(&stranger.interaction(recorded!("ping"))),
        ),
        (
            "another application's key",
            send(&stranger.application.sign(&now, body.as_bytes()), &now, &body),
        ),
        ("another time", send(&signature, &seconds(1), &body)),
        (
            "another body",
            send(&signature, &now, &body.replace("agents", "status")),
        ),
        ("the same JSON, written otherwise", send(&signature, &now, &pretty)),
        ("a body that was cut", send(&signature, &now, &body[..body.len() - 1])),
        ("no body", send(&signature, &now, "")),
        ("a body that is no JSON", send(&signature, &now, "\u{0}\u{1}")),
        ("too old", bot.signed(&seconds(-310), &body)),
        ("too new", bot.signed(&seconds(310), &body)),
        ("a signature that is cut", send(&signature[2..], &now, &body)),
        (
            "a signature that is no hexadecimal",
            send(&"zz".repeat(64), &now, &body),
        ),
        ("a signature of zeros", send(&"0".repeat(128), &now, &body)),
        ("a time that is none", send(&signature, "now", &body)),
        ("a time that is too long", send(&signature, &"1".repeat(21), &body)),
        (
            "two signatures",
            send(&signature, &now, &body).header("x-signature-ed25519", signature.as_str()),
        ),
        (
            "two times",
            send(&signature, &now, &body).header("x-signature-timestamp", now.as_str()),
        ),
        ("no headers", stack.post(INTERACTIONS).body(body.clone())),
        (
            "no time",
            stack
                .post(INTERACTIONS)
                .header("x-signature-ed25519", signature.as_str())
                .body(body.clone()),
        ),
    ];

    for (why, request) in cases {
        assert_refused(&request.await, why);
    }
    assert_eq!(
        said(&send(&signature, &now, &body).await),
        "Agents on this server:\n- `Atlas`"
    );
}

#[tokio::test]
async fn known_and_unknown_applications_cost_the_same_statement() {
    let stack = Stack::shared().await;
    let (known, unknown) = (Bot::new(stack).await, Bot::new(stack).await);
    known.agent("Atlas").await;
    let mut statements = Vec::new();

    for bot in [&known, &unknown] {
        let body = bot.interaction(recorded!("ping")).to_string();
        let answer = with(stack, &"0".repeat(128), &seconds(0)).body(body).await;
        assert_refused(&answer, "a forged one");
        let Some(lines) = stack.request_log("discord-interaction-handler", answer.request_id()) else {
            return;
        };
        let of_request: Vec<_> = lines.iter().map(|line| line["operation"].clone()).collect();
        statements.push(of_request);
    }

    assert_eq!(statements[0], [json!("find_interaction_keys"), json!(null)]);
    assert_eq!(statements[0], statements[1]);
}

#[tokio::test]
async fn a_body_has_64_kib() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    bot.agent("Atlas").await;
    let mut interaction = bot.interaction(recorded!("command_agents"));
    let fill = |interaction: &mut serde_json::Value, length: usize| {
        interaction["filler"] = json!("");
        interaction["filler"] = json!("a".repeat(length - interaction.to_string().len()));
        interaction.to_string()
    };
    let largest = fill(&mut interaction, 64 * 1024);
    let larger = fill(&mut interaction, 64 * 1024 + 1);

    assert_eq!(
        said(&bot.signed(&seconds(0), &largest).await),
        "Agents on this server:\n- `Atlas`"
    );
    let refused = bot.signed(&seconds(0), &larger).await;
    let chunked = stack.post(INTERACTIONS).chunked_body(vec![larger.into_bytes()]).await;
    for refused in [refused, chunked] {
        insta::allow_duplicates! {
            assert_snapshot!(refused, @r#"
            413 Payload Too Large
            {"code":"body_too_large","error":"The body is larger than 65536 bytes.","message":"The body is larger than 65536 bytes.","request_id":"[request id]"}
            "#);
        }
    }
}

#[tokio::test]
async fn what_is_proven_and_no_interaction_is_refused() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    bot.agent("Atlas").await;
    let mut interaction = bot.interaction(recorded!("ping"));
    interaction["type"] = json!("1");

    let answer = bot.deliver(&interaction).await;

    assert_snapshot!(answer, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"type is invalid: invalid type: string \"1\", expected i64.","field":"type","message":"type is invalid: invalid type: string \"1\", expected i64.","request_id":"[request id]"}
    "#);
    assert_snapshot!(stack.get(INTERACTIONS).await, @r#"
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_connection_to_somebody_elses_application_opens_nothing() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    bot.agent("Atlas").await;
    // A connection with the same application and guild, and a key of its own.
    let mut thief = bot.another().await;
    thief.application.id = bot.application.id;
    let agent = thief.user.agent("Thief").await;
    let key = thief.application.public_key.clone();
    connect(stack, &thief.user, &agent, &thief.guild, bot.application.id, &key).await;
    let interaction = thief.interaction(recorded!("command_agents"));

    let stolen = said(&thief.deliver(&interaction).await);
    let genuine = said(&bot.deliver(&interaction).await);

    assert_eq!(stolen, "No agent is connected to this server.");
    assert_eq!(genuine, "Agents on this server:\n- `Atlas`");
    assert_eq!(bot.choices("").await, ["Atlas"]);
}

#[tokio::test]
async fn an_older_key_and_one_with_a_bot_outlast_any_number_of_others() {
    let stack = Stack::shared().await;
    let (bot, late) = (Bot::new(stack).await, Bot::new(stack).await);
    bot.agent("Atlas").await;
    let junk = async |number: u8| {
        let agent = late.user.agent("Junk").await;
        let key = format!("{number:02x}").repeat(32);
        connect(stack, &late.user, &agent, &late.guild, bot.application.id, &key).await;
        connect(stack, &late.user, &agent, "1", late.application.id, &key).await;
    };
    for number in 0..9 {
        junk(number).await;
    }
    let agent = late.user.agent("Late").await;
    let key = late.application.public_key.clone();
    connect(stack, &late.user, &agent, &late.guild, late.application.id, &key).await;

    assert_eq!(bot.agents().await, "Agents on this server:\n- `Atlas`");
    let interaction = late.interaction(recorded!("command_agents"));
    assert_refused(&late.deliver(&interaction).await, "the tenth key of its application");
    late.show_token(&agent).await;
    assert_eq!(late.agents().await, "Agents on this server:\n- `Late`");
}
