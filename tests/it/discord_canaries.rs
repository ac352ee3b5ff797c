//! Secrets of the Discord plane that are looked for everywhere they must not be: in answers, in logs, and in a dump of the database.

use agentopia_domain::discord::commands::{ASK, OPTION_AGENT, OPTION_QUESTION};
use agentopia_stack::worlds::discord::{Call as DiscordCall, Fault as DiscordFault};
use agentopia_stack::worlds::worker_manager::{Call, Fault};
use agentopia_tests::{Stack, StackOptions, eventually};
use http::Method;
use serde_json::{Value, json};

use crate::canaries_support::{assert_without, dump, forms};
use crate::chat_support::CHAT;
use crate::discord_support::INTERACTIONS;
use crate::discord_workers_support::{MANAGE, Owner};

/// The functions through which they go.
const COMPONENTS: [&str; 4] = [
    "manage-discord-worker",
    "discord-interaction-handler",
    "chat",
    "heartbeat",
];

/// The part of a bot's token that is secret: before it are the id of its user and a time.
fn secret_of_bot(token: &str) -> &str {
    token.rsplit('.').next().unwrap()
}

#[tokio::test]
async fn tokens_are_in_no_answer_in_no_log_and_in_no_dump_of_the_database() {
    let options = StackOptions::default()
        .set("discord_change_per_minute", 6000)
        .set("discord_change_burst", 1000);
    let stack = &Stack::beside_shared(options).await;
    let (owner, other) = (Owner::new(stack).await, Owner::connected(stack).await);
    let (agent, guild) = (owner.agent.id, stack.discord().create_guild("Home"));
    stack.discord().add_to_guild(owner.application.id, guild.id);
    let (discord, manager) = (stack.discord(), stack.worker_manager());
    let token = owner.bot.token.clone();
    let old = |name: &str, body: &Value| {
        let path = format!("/functions/v1/{name}");
        stack.post(&path).bearer(&owner.user.token).json(body)
    };
    let mut answers = Vec::new();

    // The bot's token: refused in each way that looks at it or fails after it, and stored.
    for body in [
        json!({ "bot_token": token, "application_id": other.application.id.to_string() }),
        json!({ "bot_token": token, "public_key": other.application.public_key }),
        json!({ "bot_token": token, "inactivity_timeout_minutes": -1 }),
        json!({ "bot_token": token.repeat(3) }),
        json!({ "bot_token": format!("{token} {token}") }),
        json!({ "bot_token": { "token": token } }),
        json!({ "bot_token": [token] }),
        json!({ "bot_token": token, "application_id": token }),
        json!({ "bot_token": other.bot.token }),
        json!([token]),
    ] {
        answers.push(owner.put("connection", &body).await.to_string());
    }
    // What stands where nothing of its type may be is repeated to who sent it, and to no log.
    for body in [json!(token), json!({ "inactivity_timeout_minutes": token })] {
        assert_eq!(owner.put("connection", &body).await.status(), 400);
    }
    let half = format!(r#"{{"bot_token": "{token}"#);
    answers.push(owner.request(Method::PUT, "connection").body(half).await.to_string());
    for fault in [DiscordFault::ServerError, DiscordFault::Malformed, DiscordFault::Break] {
        discord.fail_call(owner.application.id, DiscordCall::Any, fault, 4);
        answers.push(owner.connect().await.to_string());
        discord.mend(owner.application.id);
    }
    answers.push(
        old("discord-connect", &json!({ "agentId": agent, "botToken": token }))
            .await
            .to_string(),
    );
    let enabled = json!({ "guilds": [{ "guild_id": guild.id.to_string() }] });
    for request in [
        owner.put("enabled-guilds", &enabled),
        owner.request(Method::GET, "connection"),
        owner.request(Method::GET, "guilds"),
        owner.request(Method::GET, &format!("guilds/{}/channels", guild.id)),
        owner.request(Method::POST, "commands"),
        stack.get(&format!("{MANAGE}/agents/{agent}/connection")).bearer(&token),
    ] {
        answers.push(request.await.to_string());
    }

    // The worker's: a manager that repeats what it is sent, a worker that starts, reports, asks, is superseded and stopped.
    manager.fail(agent, Call::Start, Fault::Babble, 3);
    answers.push(owner.command("start").await.to_string());
    answers.push(owner.connection().await.to_string());
    answers.push(owner.command("start").await.to_string());
    owner.becomes("active").await;
    let worker = owner.worker();
    manager.fail(agent, Call::Status, Fault::Babble, 1);
    answers.push(owner.command("status").await.to_string());
    let question = json!({
        "agentId": agent, "message": "Hello", "authorId": guild.id.to_string(),
        "channelId": guild.general.to_string(), "guildId": guild.id.to_string(),
    });
    let asked = stack.post(CHAT).bearer(&worker.worker_token).json(&question).await;
    assert_eq!(asked.status(), 200, "{asked}");
    answers.push(asked.to_string());
    for body in [
        json!({ "leaseId": agent, "status": "active" }),
        json!({ "leaseId": worker.worker_token, "status": "active" }),
        json!({ "leaseId": worker.lease_id, "status": worker.worker_token }),
    ] {
        let report = stack.post(&format!("{MANAGE}/report")).bearer(&worker.worker_token);
        answers.push(report.json(&body).await.to_string());
    }
    answers.push(owner.command("restart").await.to_string());
    owner.becomes("active").await;
    let second = owner.worker();
    answers.push(
        stack
            .post(CHAT)
            .bearer(&worker.worker_token)
            .json(&question)
            .await
            .to_string(),
    );

    // The interaction's: one that is answered, and one that cannot be for now, whose token waits in the database.
    let person = discord.create_person(&guild, "Grace");
    let options = [
        (OPTION_AGENT, json!(agent.to_string())),
        (OPTION_QUESTION, json!("Hello")),
    ];
    let url = format!("{}{INTERACTIONS}", stack.url());
    let mut interactions = Vec::new();
    for fault in [None, Some(DiscordFault::ServerError)] {
        let interaction = discord.use_command(&owner.application, &person, ASK, &options).unwrap();
        if let Some(fault) = fault {
            discord.fail_call(interaction.id, DiscordCall::Edit, fault, 50);
        }
        let outcome = discord.deliver(&owner.application, &url, &interaction).await.unwrap();
        answers.push(
            outcome
                .answer
                .map_or_else(String::new, |answer| answer.body.to_string()),
        );
        interactions.push(interaction);
    }
    let waits = "SELECT count(*) FROM app.discord_interactions WHERE interaction_id = $1 AND token_sealed IS NOT NULL";
    eventually("the second one waits", agentopia_tests::DEADLINE, async || {
        stack
            .db()
            .scalar::<i64>(waits, &[&interactions[1].id.to_string()])
            .await
            == 1
    })
    .await;

    let mut of_deployment = Vec::new();
    for secret in stack.secrets() {
        of_deployment.push(secret.to_owned());
    }
    let secrets: Vec<_> = [
        secret_of_bot(&token),
        secret_of_bot(&other.bot.token),
        &worker.worker_token,
        &second.worker_token,
        &interactions[0].token,
        &interactions[1].token,
    ]
    .into_iter()
    .flat_map(forms)
    .collect();
    let sealed = ["xc20p".to_owned()];
    let check_logs = || {
        for component in COMPONENTS {
            for line in stack.log(component).unwrap_or_default() {
                for secrets in [&secrets[..], &sealed, &of_deployment] {
                    assert_without(component, &line, secrets);
                }
            }
        }
    };
    for (table, row) in dump(stack).await {
        assert_without(&table, &row, &secrets);
    }
    check_logs();

    // And what is done when time goes by.
    manager.silence(agent);
    manager.fail(agent, Call::Stop, Fault::Babble, 3);
    answers.push(owner.command("stop").await.to_string());
    answers.push(owner.connection().await.to_string());
    manager.mend(agent);
    discord.mend(interactions[1].id);
    let due = "UPDATE app.jobs SET run_after = now() WHERE kind = 'discord_answer' AND key IN
               (SELECT id::text FROM app.discord_interactions WHERE interaction_id = $1)";
    stack.db().execute(due, &[&interactions[1].id.to_string()]).await;
    answers.push(owner.sweep_later(3600.0).await.to_string());
    let sweep = stack
        .post(&format!("{INTERACTIONS}/sweep"))
        .bearer(stack.service_token());
    answers.push(sweep.json(&json!({})).await.to_string());
    owner.becomes("inactive").await;
    eventually("both are answered", agentopia_tests::DEADLINE, async || {
        let is_answered = |id| {
            discord
                .visible(id)
                .iter()
                .any(|message| message.content.contains("Hello"))
        };
        interactions.iter().all(|interaction| is_answered(interaction.id))
    })
    .await;
    eventually("no token waits", agentopia_tests::DEADLINE, async || {
        stack
            .db()
            .scalar::<i64>(waits, &[&interactions[1].id.to_string()])
            .await
            == 0
    })
    .await;
    for body in [
        json!({ "agentId": agent, "token": null }),
        json!({ "agentId": agent, "token": { "a": token } }),
    ] {
        answers.push(old("update-agent-discord-token", &body).await.to_string());
    }

    for answer in &answers {
        for secrets in [&secrets[..], &sealed, &of_deployment] {
            assert_without("an answer", answer, secrets);
        }
    }
    check_logs();
    if let Some(log) = stack.log("manage-discord-worker") {
        assert!(
            log.iter().any(|line| line.contains(&agent.to_string())),
            "what went wrong is in the log"
        );
    }
    for (table, row) in dump(stack).await {
        assert_without(&table, &row, &secrets);
    }
}
