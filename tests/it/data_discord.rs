//! What the operations of Discord's interactions guarantee, whoever calls.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::data_database::{AGENT, Database, TENANT, call, count, user};

/// The public key of the tenant's connection.
fn key() -> String {
    "ab".repeat(32)
}

fn service() -> Value {
    json!({ "kind": "service", "name": "discord-interaction-handler" })
}

/// What an interaction in the tenant's guild asks.
fn interaction(key: &str) -> Value {
    json!({
        "interaction_id": "1", "application_id": "423456789012345678", "public_key": key, "kind": "agents",
        "own_key": false, "guild_id": "223456789012345678", "name_prefix": "", "limit": 25, "per_minute": 600, "burst": 60,
    })
}

#[tokio::test]
async fn an_applications_keys_are_distinct_and_of_one_case() {
    let database = Database::with_tenant().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let again = "INSERT INTO public.agent_discord_connections
            (user_id, agent_id, guild_id, discord_app_id, discord_public_key)
        VALUES ($1, $2, '1', '423456789012345678', repeat('AB', 32))";
    owner.execute(again, &[&TENANT, &AGENT]).await.unwrap();

    let mut found = Vec::new();
    for application in [json!("423456789012345678"), json!("1"), Value::Null] {
        let input = json!({ "application_id": application, "limit": 8 });
        found.push(
            call(&functions, "find_interaction_keys", &service(), &input)
                .await
                .unwrap(),
        );
    }

    assert_eq!(
        found,
        [json!({ "keys": [key()] }), json!({ "keys": [] }), json!({ "keys": [] })]
    );
}

#[tokio::test]
async fn an_interaction_is_answered_once_however_often_it_comes_at_once() {
    let database = Database::with_tenant().await;
    let owner = database.owner().await;
    let rows = "SELECT count(*) FROM app.discord_interactions WHERE interaction_id = '1'";
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(database.functions().await);
    }
    let input = interaction(&key());
    let caller = service();

    let answers = join_all(
        clients
            .iter()
            .map(|client| call(client, "list_guild_agents", &caller, &input)),
    )
    .await;

    let first = answers[0].clone().unwrap();
    assert_eq!((&first["total"], &first["agents"][0]["id"]), (&json!(1), &json!(AGENT)));
    assert!(
        answers.iter().all(|answer| answer.as_ref() == Ok(&first)),
        "{answers:?}"
    );
    assert_eq!(count(&owner, rows, &[]).await, 1);

    owner.execute("DELETE FROM public.agents", &[]).await.unwrap();
    assert_eq!(call(&clients[0], "list_guild_agents", &caller, &input).await, Ok(first));
}

#[tokio::test]
async fn the_same_id_under_another_key_is_another_interaction() {
    let database = Database::with_tenant().await;
    let functions = database.functions().await;
    let strangers = interaction(&"cd".repeat(32));

    let stranger = call(&functions, "list_guild_agents", &service(), &strangers).await;
    let genuine = call(&functions, "list_guild_agents", &service(), &interaction(&key())).await;

    assert_eq!(stranger, Ok(json!({ "agents": [], "total": 0 })));
    assert_eq!(genuine.unwrap()["total"], 1);
}

#[tokio::test]
async fn no_user_asks_for_an_interaction() {
    let functions = Database::with_tenant().await.functions().await;

    let refused = call(&functions, "list_guild_agents", &user(TENANT), &interaction(&key())).await;

    assert_eq!(refused, Err("42501".to_owned()));
}
