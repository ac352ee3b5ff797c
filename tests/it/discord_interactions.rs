//! `discord-interaction-handler`: what interactions are answered with.

use agentopia_tests::Stack;
use serde_json::{Value, json};

use crate::discord_support::{Bot, connect, recorded, said};

#[tokio::test]
async fn agents_of_the_guild_are_listed_with_how_they_are_doing() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    let quill = bot.agent("Quill").await;
    bot.agent("@everyone `Atlas`").await;
    let elsewhere = bot.user.agent("Elsewhere").await;
    let (application, key) = (bot.application.id, bot.application.public_key.to_uppercase());
    connect(stack, &bot.user, &elsewhere, "1", application, &key).await;
    let statement = "UPDATE public.agent_discord_connections SET worker_status = 'activating' WHERE agent_id = $1";
    stack.db().execute(statement, &[&quill.id]).await;

    let status = bot.deliver(&bot.interaction(recorded!("command_status"))).await;

    assert_eq!(
        bot.agents().await,
        "Agents on this server:\n- `@everyone ˋAtlasˋ`\n- `Quill`"
    );
    assert_eq!(
        said(&status),
        "Agents on this server, and how they are doing:\n- `@everyone ˋAtlasˋ`: not active\n- `Quill`: starting"
    );
    assert_eq!(status.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn choices_are_the_guilds_agents_whose_names_begin_so() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    let atlas = bot.agent("Atlas").await;
    bot.agent("atoll").await;
    bot.agent("100%_\\x").await;
    bot.agent("Beacon").await;
    let off = bot.agent("Atrium").await;
    let statement = "UPDATE public.agent_discord_connections SET is_enabled = false WHERE agent_id = $1";
    stack.db().execute(statement, &[&off.id]).await;
    let other_guild = Bot {
        guild: stack.discord().new_id().to_string(),
        ..bot.another().await
    };
    other_guild.agent("Atlantis").await;
    bot.another().await.agent("Atlas of another application").await;

    let mut interaction = bot.interaction(recorded!("autocomplete_agent"));
    interaction["data"]["options"][0]["value"] = json!("ATL");
    let answer = bot.deliver(&interaction).await;

    assert_eq!(
        answer.json(),
        json!({ "type": 8, "data": { "choices": [{ "name": "Atlas", "value": atlas.id }] } })
    );
    let mut at = bot.choices("at").await;
    at.sort();
    assert_eq!(at, ["Atlas", "atoll"]);
    assert_eq!(bot.choices("100%_\\").await, ["100%_\\x"]);
    for nothing in ["%", "_", "\\", "tlas", "a\0"] {
        assert_eq!(bot.choices(nothing).await, Vec::<String>::new(), "{nothing}");
    }
    assert_eq!(bot.choices("").await.len(), 4);
}

#[tokio::test]
async fn there_are_25_choices_at_most_and_a_message_says_what_it_leaves_out() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    for number in 0..51 {
        bot.agent(&format!("{} {number}", "Agent".repeat(38))).await;
    }

    let choices = bot.choices("agent").await;
    let listed = bot.agents().await;

    assert_eq!(choices.len(), 25);
    assert!(choices.iter().all(|name| name.chars().count() == 100), "{choices:?}");
    assert!(listed.chars().count() <= 2000, "{listed}");
    let shown = listed.matches("\n- ").count();
    assert!(listed.ends_with(&format!("\n… and {} more.", 51 - shown)), "{listed}");
}

#[tokio::test]
async fn everything_else_gets_a_civil_answer() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    bot.agent("Atlas").await;
    let mut of_tomorrow: Value = bot.interaction(recorded!("message_component"));
    of_tomorrow["type"] = json!(99);
    let unknown = "I do not know this command. Try `/agents` or `/status`.";
    let anything = "I cannot do anything with this. Try `/agents` or `/status`.";

    for (interaction, expected) in [
        (bot.interaction(recorded!("command_unknown")), unknown),
        (bot.interaction(recorded!("command_on_message")), unknown),
        (
            bot.interaction(recorded!("command_agents_in_dm")),
            "This command works on a server only.",
        ),
        (bot.interaction(recorded!("message_component")), anything),
        (bot.interaction(recorded!("modal_submit")), anything),
        (of_tomorrow, anything),
    ] {
        assert_eq!(said(&bot.deliver(&interaction).await), expected);
    }
}

#[tokio::test]
async fn an_interaction_that_is_delivered_again_gets_its_first_answer() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    bot.agent("Atlas").await;
    let interaction = bot.interaction(recorded!("command_agents"));
    let first = bot.deliver(&interaction).await;
    bot.agent("Quill").await;

    let again = bot.deliver(&interaction).await;

    assert_eq!(again.text(), first.text());
    assert_eq!(bot.agents().await, "Agents on this server:\n- `Atlas`\n- `Quill`");
    let statement = "SELECT count(*) FROM app.discord_interactions WHERE interaction_id = $1";
    let rows: i64 = stack
        .db()
        .scalar(statement, &[&interaction["id"].as_str().unwrap()])
        .await;
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn no_log_has_a_token_or_a_text() {
    let stack = Stack::shared().await;
    let bot = Bot::new(stack).await;
    bot.agent("Atlas").await;
    let recorded = [
        recorded!("ping"),
        recorded!("command_agents"),
        recorded!("command_on_message"),
        recorded!("autocomplete_agent"),
        recorded!("message_component"),
        recorded!("modal_submit"),
    ];

    for recorded in recorded {
        let interaction = bot.interaction(recorded);
        let answer = bot.deliver(&interaction).await;
        let refused = bot.signed("1", &interaction.to_string()).await;

        assert_eq!((answer.status().as_u16(), refused.status().as_u16()), (200, 401));
        assert!(interaction["token"].as_str().unwrap().starts_with("canary-"));
        assert!(!answer.text().contains("canary-"), "{answer}");
    }

    let Some(log) = stack.log("discord-interaction-handler") else {
        return;
    };
    assert!(log.iter().any(|line| line.contains("list_guild_agents")));
    assert_eq!(log.iter().find(|line| line.contains("canary-")), None);
}
