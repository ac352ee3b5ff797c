//! `chat` for people whom only Discord knows: what a worker brings by its token, and the interaction handler by the deployment's.

use std::fmt::Write as _;

use agentopia_tests::{Agent, DEADLINE, Request, Response, Stack, User, eventually_some};
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chat_support::{CHAT, echo};

/// The route of the interaction handler.
const OUTSIDE: &str = "/functions/v1/chat/outside";

/// A guild in which an agent may be used, and whose bot has a running worker.
struct Guild<'a> {
    stack: &'a Stack,
    owner: User,
    agent: Agent,
    id: String,
    channel: String,
    application: String,
    public_key: String,
    /// The worker's token.
    worker: String,
}

impl<'a> Guild<'a> {
    async fn new(stack: &'a Stack) -> Self {
        Self::with_model(stack, "gpt-4o-mini").await
    }

    async fn with_model(stack: &'a Stack, model: &str) -> Self {
        let owner = stack.user().await;
        let agent = owner.agent("Atlas").model(model).await;
        let number = agent.id.as_u128();
        let guild = Self {
            stack,
            id: snowflake(number),
            channel: snowflake(number >> 16),
            application: snowflake(number >> 32),
            public_key: format!("{number:064x}"),
            worker: format!("agt_wk_{number:043x}"),
            owner,
            agent,
        };
        let bot = "INSERT INTO public.agent_discord_connections (
                user_id, agent_id, discord_app_id, discord_public_key, bot_token_sealed, bot_token_key_id,
                bot_token_fingerprint, desired_status, worker_status, worker_lease_id, worker_lease_expires_at,
                worker_token_hash
            )
            VALUES (
                $1, $2, $3, $4, 'sealed', 'key', sha256(convert_to($3, 'UTF8')), 'active', 'active',
                gen_random_uuid(), now() + interval '5 minutes', sha256(convert_to($5, 'UTF8'))
            )";
        let values: agentopia_tests::Parameters<'_> = &[
            &guild.owner.id,
            &guild.agent.id,
            &guild.application,
            &guild.public_key,
            &guild.worker,
        ];
        assert_eq!(stack.db().execute(bot, values).await, 1);
        guild.enable(&guild.id, None).await;
        guild
    }

    /// Lets the agent be used in a guild, in these channels or in all.
    async fn enable(&self, guild: &str, channels: Option<&[&str]>) {
        let statement = "INSERT INTO public.agent_discord_connections
                (user_id, agent_id, guild_id, discord_app_id, discord_public_key, allowed_channel_ids)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (agent_id, guild_id) DO UPDATE SET allowed_channel_ids = excluded.allowed_channel_ids";
        let values: agentopia_tests::Parameters<'_> = &[
            &self.owner.id,
            &self.agent.id,
            &guild,
            &self.application,
            &self.public_key,
            &channels,
        ];
        assert_eq!(self.stack.db().execute(statement, values).await, 1);
    }

    /// Changes the row of the bot.
    async fn bot(&self, change: &str) {
        let statement =
            format!("UPDATE public.agent_discord_connections SET {change} WHERE agent_id = $1 AND guild_id IS NULL");
        assert_eq!(self.stack.db().execute(&statement, &[&self.agent.id]).await, 1);
    }

    /// What somebody says in the channel, as workers have always sent it.
    fn said(&self, message: &str) -> Value {
        json!({
            "agentId": self.agent.id,
            "message": message,
            "authorId": "323456789012345678",
            "channelId": self.channel,
            "guildId": self.id,
        })
    }

    /// The same, as the interaction handler sends it.
    fn asked(&self, message: &str) -> Value {
        let mut body = self.said(message);
        body["authorName"] = json!("Grace H.");
        body["applicationId"] = json!(self.application);
        body["publicKey"] = json!(self.public_key);
        body
    }

    fn by_worker(&self, body: &Value) -> Request {
        self.stack.post(CHAT).bearer(&self.worker).json(body)
    }

    fn by_interaction(&self, body: &Value) -> Request {
        self.stack.post(OUTSIDE).bearer(self.stack.service_token()).json(body)
    }

    /// What was said in a channel of the guild.
    async fn transcript(&self, channel: &str) -> Vec<String> {
        let statement = "SELECT id FROM public.outside_conversations
                         WHERE agent_id = $1 AND provider = 'discord' AND external_channel_id = $2
                           AND external_guild_id = $3";
        let conversation: Option<Uuid> = self
            .stack
            .db()
            .column(statement, &[&self.agent.id, &channel, &self.id])
            .await
            .pop();
        match conversation {
            Some(conversation) => self.stack.db().transcript(conversation).await,
            None => Vec::new(),
        }
    }

    /// How the owner's turns stand, and what was booked on the owner.
    async fn books(&self) -> Vec<String> {
        let statement = "SELECT format('%s %s, usage %s', turn.status, coalesce(turn.error_code, '-'), usage.outcome)
                         FROM app.chat_turns AS turn
                         JOIN app.usage_records AS usage ON usage.turn_id = turn.id AND usage.user_id = turn.user_id
                         WHERE turn.user_id = $1 AND turn.conversation_kind = 'outside'
                         ORDER BY usage.created_at";
        self.stack.db().column(statement, &[&self.owner.id]).await
    }
}

/// An id like Discord's that nobody else has made.
fn snowflake(number: u128) -> String {
    format!("1{:017}", number % 10_u128.pow(17))
}

/// The answers to some requests, each under its name.
async fn answers(cases: impl IntoIterator<Item = (&str, Request)>) -> String {
    let mut answers = String::new();
    for (name, request) in cases {
        let response = request.await;
        writeln!(answers, "[{name}] {} {}", response.status().as_u16(), what(&response)).unwrap();
    }
    answers
}

/// The code and the text of a refusal.
fn what(response: &Response) -> String {
    let json = response.json();
    format!("{} {}", json["code"], json["message"]).replace('"', "")
}

#[tokio::test]
async fn a_worker_gets_the_reply_that_everybody_gets() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;

    let response = guild.by_worker(&guild.said("Hello")).await;

    assert_snapshot!(response.status(), @"200 OK");
    assert_json_snapshot!(response.redacted(), @r#"
    {
      "agent": {
        "id": "[id]",
        "name": "Atlas"
      },
      "agentId": "[id]",
      "agentMessageId": "[id]",
      "agentName": "Atlas",
      "finishReason": "stop",
      "message": "You said: <message from=\"323456789012345678\" kind=\"user\">\nHello\n</message>",
      "model": "gpt-4o-mini",
      "partial": false,
      "reply": "You said: <message from=\"323456789012345678\" kind=\"user\">\nHello\n</message>",
      "turnId": "[id]",
      "usage": {
        "estimated": false,
        "inputTokens": 108,
        "outputTokens": 23,
        "totalTokens": 131
      },
      "userMessageId": "[id]"
    }
    "#);
    assert_eq!(response.field("agentId"), guild.agent.id.to_string());
    assert_snapshot!(response.header("ratelimit-policy").unwrap(), @r#""user";q=30;w=60"#);
    assert_eq!(
        guild.transcript(&guild.channel).await,
        [
            "323456789012345678: Hello".to_owned(),
            format!("Atlas: {}", echo("323456789012345678", "Hello"))
        ]
    );
    assert_eq!(guild.books().await, ["completed -, usage completed"]);
}

#[tokio::test]
async fn the_turn_is_the_owners_in_the_log_too() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;

    let response = guild.by_worker(&guild.said("Hello")).await;

    if stack.request_log("chat", response.request_id()).is_none() {
        return;
    }
    let line = eventually_some("the request's line", DEADLINE, async || {
        let lines = stack.request_log("chat", response.request_id())?;
        lines.into_iter().find(|line| line["event"] == "request")
    });
    assert_eq!(line.await["tenant"], guild.owner.id.to_string());
    for line in stack.log("chat").unwrap() {
        assert!(!line.contains(&guild.worker), "{line}");
    }
}

#[tokio::test]
async fn a_worker_may_listen_while_the_reply_comes() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;

    let events = guild.by_worker(&guild.said("Hello")).events().await.rest().await;

    let kinds: Vec<_> = events.iter().map(|event| event.kind()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started"), Some(&"completed")));
    assert_eq!(
        events.last().unwrap().data()["reply"],
        echo("323456789012345678", "Hello")
    );
}

#[tokio::test]
async fn a_channel_is_one_conversation_whoever_brings_what_is_said_there() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;
    let elsewhere = snowflake(guild.agent.id.as_u128() >> 48);
    let mut named = guild.said("My favourite is gaillardia");
    named["authorName"] = json!("Ada \"L\" <b>");
    let mut other = guild.said("Elsewhere, gaillardia is unknown");
    other["channelId"] = json!(elsewhere);

    for request in [
        guild.by_worker(&named),
        guild.by_interaction(&guild.asked("Which is it, heliopsis?")),
    ] {
        let response = request.await;
        assert_eq!(response.status(), 200, "{response}");
    }
    assert_eq!(guild.by_worker(&other).await.status(), 200);

    let shown = stack.openai().received_with("heliopsis").pop().unwrap().messages();
    let shown: Vec<_> = shown.into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        shown[1..],
        [
            "<message from=\"Ada 'L' ‹b›\" kind=\"user\">\nMy favourite is gaillardia\n</message>".to_owned(),
            echo("Ada 'L' ‹b›", "My favourite is gaillardia"),
            "<message from=\"Grace H.\" kind=\"user\">\nWhich is it, heliopsis?\n</message>".to_owned(),
        ]
    );
    let alone = stack.openai().received_with("Elsewhere, gaillardia").pop().unwrap();
    assert_eq!(alone.messages().len(), 2, "{alone:?}");
    assert_eq!(guild.transcript(&guild.channel).await.len(), 4);
    assert_eq!(guild.transcript(&elsewhere).await.len(), 2);
}

#[tokio::test]
async fn a_worker_speaks_for_its_agent_where_the_owner_lets_it() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;
    let other = guild.owner.agent("Borea").await;
    let strangers = Guild::new(stack).await;
    let restricted = snowflake(1 + guild.agent.id.as_u128());
    guild.enable(&restricted, Some(&["123456789012345678"])).await;
    let with = |changes: Value| {
        let mut body = guild.said("Hello");
        body.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        guild.by_worker(&body)
    };

    let refused = answers([
        ("another agent of the owner's", with(json!({ "agentId": other.id }))),
        ("a stranger's agent", with(json!({ "agentId": strangers.agent.id }))),
        ("no agent at all", with(json!({ "agentId": Uuid::nil() }))),
        (
            "a guild where it is not enabled",
            with(json!({ "guildId": strangers.id })),
        ),
        ("a channel that is not allowed", with(json!({ "guildId": restricted }))),
    ])
    .await;

    assert_snapshot!(refused, @"
    [another agent of the owner's] 404 agent_not_found Target agent not found
    [a stranger's agent] 404 agent_not_found Target agent not found
    [no agent at all] 404 agent_not_found Target agent not found
    [a guild where it is not enabled] 403 not_allowed_here This agent may not be used here.
    [a channel that is not allowed] 403 not_allowed_here This agent may not be used here.
    ");
    assert_eq!(guild.transcript(&guild.channel).await, Vec::<String>::new());
    let allowed = with(json!({ "guildId": restricted, "channelId": "123456789012345678" })).await;
    assert_eq!(allowed.status(), 200, "{allowed}");
    let statement =
        "UPDATE public.agent_discord_connections SET is_enabled = false WHERE agent_id = $1 AND guild_id = $2";
    assert_eq!(stack.db().execute(statement, &[&guild.agent.id, &guild.id]).await, 1);
    assert_eq!(
        what(&with(json!({})).await),
        "not_allowed_here This agent may not be used here."
    );
    let statement = "UPDATE public.agents SET active = false WHERE id = $1";
    assert_eq!(stack.db().execute(statement, &[&strangers.agent.id]).await, 1);
    assert_eq!(
        what(&strangers.by_worker(&strangers.said("Hello")).await),
        "agent_inactive This agent is not active."
    );
}

#[tokio::test]
async fn a_token_is_worth_something_while_its_worker_runs() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;
    let presenting = |token: &str| stack.post(CHAT).bearer(token).json(&guild.said("Hello"));
    let unknown = format!("agt_wk_{}", "A".repeat(43));

    let forged = answers([
        ("unknown", presenting(&unknown)),
        ("too short", presenting("agt_wk_A")),
        ("changed", presenting(&guild.worker.replace("agt_wk_0", "agt_wk_1"))),
    ])
    .await;

    assert_snapshot!(forged, @"
    [unknown] 401 invalid_token Authentication failed
    [too short] 401 invalid_token Authentication failed
    [changed] 401 invalid_token Authentication failed
    ");
    for (change, status) in [
        ("worker_status = 'activating'", 200),
        ("worker_status = 'stopping'", 401),
        ("worker_status = 'inactive'", 401),
        ("worker_status = 'active'", 200),
        ("worker_lease_expires_at = now() - interval '1 second'", 401),
        ("worker_lease_expires_at = now() + interval '5 minutes'", 200),
        ("desired_status = 'inactive'", 401),
        ("desired_status = 'active'", 200),
        ("worker_token_hash = NULL", 401),
    ] {
        guild.bot(change).await;
        let response = guild.by_worker(&guild.said("Hello")).await;
        assert_eq!(response.status(), status, "{change}: {response}");
    }
    assert_eq!(guild.transcript(&guild.channel).await.len(), 8);
}

#[tokio::test]
async fn what_a_worker_sends_is_refused_by_the_field_at_fault() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;
    let with = |changes: Value| {
        let mut body = guild.said("Hello");
        body.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        guild.by_worker(&body)
    };

    let refused = answers([
        ("no agent", with(json!({ "agentId": null }))),
        ("a name for an agent", with(json!({ "agentId": "Atlas" }))),
        ("no message", with(json!({ "message": " " }))),
        ("no channel", with(json!({ "channelId": null }))),
        ("a workspace's channel", with(json!({ "channelId": guild.agent.id }))),
        ("no guild", with(json!({ "guildId": null }))),
        ("a name for a guild", with(json!({ "guildId": "Lab" }))),
        ("a name for an author", with(json!({ "authorId": "ada" }))),
        ("a long name", with(json!({ "authorName": "a".repeat(201) }))),
        ("not JSON", stack.post(CHAT).bearer(&guild.worker).body("{")),
    ])
    .await;

    assert_snapshot!(refused, @"
    [no agent] 400 missing_field agentId is required.
    [a name for an agent] 400 invalid_field agentId is not a UUID.
    [no message] 400 missing_field Message content is required.
    [no channel] 400 missing_field channelId is required.
    [a workspace's channel] 400 invalid_field channelId is not a Discord id.
    [no guild] 400 missing_field guildId is required.
    [a name for a guild] 400 invalid_field guildId is not a Discord id.
    [a name for an author] 400 invalid_field authorId is not a Discord id.
    [a long name] 400 invalid_field authorName must be 1 to 200 characters.
    [not JSON] 400 invalid_json Invalid JSON payload: EOF while parsing an object at line 1 column 1
    ");
    assert_eq!(guild.transcript(&guild.channel).await, Vec::<String>::new());
    // What other clients send beside is no worker's to say.
    let ignored = with(json!({ "workspaceId": "x", "roomId": "y", "authorId": null })).await;
    assert_eq!(ignored.status(), 200, "{ignored}");
}

#[tokio::test]
async fn a_message_that_is_brought_twice_is_answered_once() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;
    let (said, asked) = (guild.said("Once, hellebore"), guild.asked("Once, hellebore"));

    let by_worker = [
        guild.by_worker(&said).idempotency_key("a message").await,
        guild.by_worker(&said).idempotency_key("a message").await,
    ];
    let by_interaction = [
        guild.by_interaction(&asked).idempotency_key("an interaction").await,
        guild.by_interaction(&asked).idempotency_key("an interaction").await,
    ];
    let other = guild.by_worker(&asked).idempotency_key("a message").await;

    for [first, second] in [&by_worker, &by_interaction] {
        assert_eq!(first.status(), 200, "{first}");
        assert_eq!(first.json(), second.json());
        assert_eq!(first.header("idempotent-replayed"), None);
        assert_eq!(second.header("idempotent-replayed"), Some("true"));
    }
    assert_snapshot!(what(&other), @"idempotency_key_reused This idempotency key was used with another request.");
    assert_eq!(guild.transcript(&guild.channel).await.len(), 4);
    assert_eq!(stack.openai().received_with("hellebore").len(), 2);
}

#[tokio::test]
async fn guests_use_up_the_owners_limit() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;

    let burst = futures::future::join_all((0..10).map(|_| guild.by_worker(&guild.said("Quick")).into_future())).await;
    let refused = [
        guild.by_worker(&guild.said("Too quick")).await,
        guild.by_interaction(&guild.asked("Too quick")).await,
    ];

    assert!(burst.iter().all(|response| response.status() == 200), "{burst:?}");
    for refused in refused {
        assert_eq!(
            (refused.status().as_u16(), what(&refused).as_str()),
            (429, "rate_limited Rate limit exceeded")
        );
        assert!(refused.header("retry-after").is_some() && refused.header("ratelimit").is_some());
    }
}

#[tokio::test]
async fn a_verified_interaction_gets_the_same_reply_as_json() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;

    let response = guild
        .by_interaction(&guild.asked("Hello"))
        .header("accept", "text/event-stream")
        .await;

    assert_snapshot!(response.status(), @"200 OK");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_json_snapshot!(response.redacted(), @r#"
    {
      "agent": {
        "id": "[id]",
        "name": "Atlas"
      },
      "agentId": "[id]",
      "agentMessageId": "[id]",
      "agentName": "Atlas",
      "finishReason": "stop",
      "message": "You said: <message from=\"Grace H.\" kind=\"user\">\nHello\n</message>",
      "model": "gpt-4o-mini",
      "partial": false,
      "reply": "You said: <message from=\"Grace H.\" kind=\"user\">\nHello\n</message>",
      "turnId": "[id]",
      "usage": {
        "estimated": false,
        "inputTokens": 108,
        "outputTokens": 23,
        "totalTokens": 131
      },
      "userMessageId": "[id]"
    }
    "#);
    assert_eq!(guild.books().await, ["completed -, usage completed"]);
}

#[tokio::test]
async fn a_connection_counts_by_a_token_that_was_shown_or_by_our_own_key() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;
    let strangers = Guild::new(stack).await;
    let with = |changes: Value| {
        let mut body = guild.asked("Hello");
        body.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        guild.by_interaction(&body)
    };

    let refused = answers([
        (
            "another application",
            with(json!({ "applicationId": strangers.application })),
        ),
        ("another key", with(json!({ "publicKey": strangers.public_key }))),
        ("another guild", with(json!({ "guildId": strangers.id }))),
        ("another agent", with(json!({ "agentId": strangers.agent.id }))),
        (
            "another agent by our own key",
            with(json!({ "agentId": strangers.agent.id, "ownKey": true })),
        ),
    ])
    .await;

    assert_snapshot!(refused, @"
    [another application] 403 not_allowed_here This agent may not be used here.
    [another key] 403 not_allowed_here This agent may not be used here.
    [another guild] 403 not_allowed_here This agent may not be used here.
    [another agent] 403 not_allowed_here This agent may not be used here.
    [another agent by our own key] 403 not_allowed_here This agent may not be used here.
    ");
    guild
        .bot("bot_token_sealed = NULL, bot_token_key_id = NULL, bot_token_fingerprint = NULL")
        .await;
    assert_eq!(with(json!({})).await.status(), 403);
    let own = with(json!({ "ownKey": true })).await;
    assert_eq!(own.status(), 200, "{own}");
    guild.enable(&guild.id, Some(&["123456789012345678"])).await;
    assert_eq!(with(json!({ "ownKey": true })).await.status(), 403);
    assert_eq!(guild.transcript(&guild.channel).await.len(), 2);
}

#[tokio::test]
async fn the_route_is_for_our_own_functions_alone() {
    let stack = Stack::shared().await;
    let guild = Guild::new(stack).await;
    let body = guild.asked("Hello");
    let presenting = |token: &str| stack.post(OUTSIDE).bearer(token).json(&body);
    let with = |changes: Value| {
        let mut body = body.clone();
        body.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        guild.by_interaction(&body)
    };

    let refused = answers([
        ("nobody", stack.post(OUTSIDE).json(&body)),
        ("the owner", presenting(&guild.owner.token)),
        ("the worker", presenting(&guild.worker)),
        (
            "the service elsewhere",
            stack.post(CHAT).bearer(stack.service_token()).json(&body),
        ),
        ("another method", stack.get(OUTSIDE).bearer(stack.service_token())),
        ("an unknown field", with(json!({ "workspaceId": guild.agent.id }))),
        ("no agent", with(json!({ "agentId": null }))),
        ("no message", with(json!({ "message": "" }))),
        ("no channel", with(json!({ "channelId": "" }))),
        ("no guild", with(json!({ "guildId": null }))),
        ("no application", with(json!({ "applicationId": null }))),
        ("a short key", with(json!({ "publicKey": "abcd" }))),
        ("no key", with(json!({ "publicKey": null }))),
        ("a name for an author", with(json!({ "authorId": "ada" }))),
        ("a name with NUL", with(json!({ "authorName": "a\u{0}" }))),
        ("not JSON", stack.post(OUTSIDE).bearer(stack.service_token()).body("{")),
    ])
    .await;

    assert_snapshot!(refused, @"
    [nobody] 401 missing_token Missing or invalid authorization header
    [the owner] 401 invalid_token Authentication failed
    [the worker] 401 invalid_token Authentication failed
    [the service elsewhere] 401 invalid_token Authentication failed
    [another method] 405 method_not_allowed Method not allowed
    [an unknown field] 400 invalid_field workspaceId is invalid: unknown field `workspaceId`, expected one of `agentId`, `message`, `channelId`, `guildId`, `authorId`, `authorName`, `applicationId`, `publicKey`, `ownKey`.
    [no agent] 400 missing_field agentId is required.
    [no message] 400 missing_field Message content is required.
    [no channel] 400 missing_field channelId is required.
    [no guild] 400 missing_field guildId is required.
    [no application] 400 missing_field applicationId is required.
    [a short key] 400 invalid_field publicKey is not 64 lower-case hexadecimal digits.
    [no key] 400 missing_field publicKey is required.
    [a name for an author] 400 invalid_field authorId is not a Discord id.
    [a name with NUL] 400 invalid_field authorName contains a NUL character.
    [not JSON] 400 invalid_json Invalid JSON payload: EOF while parsing an object at line 1 column 1
    ");
    assert_eq!(guild.transcript(&guild.channel).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_model_that_fails_is_told_and_the_turn_given_up() {
    let stack = Stack::shared().await;
    let guild = Guild::with_model(stack, "stand-in-401").await;

    let response = guild
        .by_interaction(&guild.asked("Hello"))
        .idempotency_key("an interaction")
        .await;

    assert_snapshot!(format!("{} {}", response.status().as_u16(), what(&response)), @"502 model_refused_request The model provider refused the request.");
    assert_eq!(guild.transcript(&guild.channel).await, ["323456789012345678: Hello"]);
    assert_snapshot!(guild.books().await.join("; "), @"failed model_refused_request, usage model_refused_request");
    // The same request takes the turn over.
    let statement = "UPDATE public.agents SET model = 'gpt-4o-mini' WHERE id = $1";
    assert_eq!(stack.db().execute(statement, &[&guild.agent.id]).await, 1);
    let again = guild
        .by_interaction(&guild.asked("Hello"))
        .idempotency_key("an interaction")
        .await;
    assert_eq!(again.status(), 200, "{again}");
    assert_eq!(
        guild.transcript(&guild.channel).await,
        [
            "323456789012345678: Hello".to_owned(),
            format!("Atlas: {}", echo("Grace H.", "Hello"))
        ]
    );
}
