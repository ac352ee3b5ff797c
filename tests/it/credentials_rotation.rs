//! The keys that seal credentials and other secrets: a new one seals, old ones open, and `reseal` moves what is stored from one to the other.

use std::sync::atomic::{AtomicU32, Ordering};

use agentopia_domain::ids::{AgentId, UserId};
use agentopia_domain::secrets::{BotTokenContext, Keyring, NONCE_BYTES};
use agentopia_stack::reseal::Report;
use agentopia_stack::{Progress, Quiet, reseal};
use agentopia_tests::{Agent, Stack, StackOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::toolbelt_support::Belt;

const OLD: &str = "old:b2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb28=";
const NEW: &str = "new:bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmU=";

fn options(keyring: &str) -> StackOptions {
    StackOptions::default().set("credential_keyring", keyring)
}

/// The keys of all credentials, each once, with how many it seals.
async fn keys(stack: &Stack) -> Vec<String> {
    let statement = "SELECT key_id || ' ' || count(*) FROM public.agent_tool_credentials
                     WHERE split_part(encrypted_credentials, '.', 3) = key_id
                     GROUP BY key_id ORDER BY key_id";
    stack.db().column(statement, &[]).await
}

/// Notices when a batch is done.
#[derive(Default)]
struct Batches {
    done: AtomicU32,
    second: Notify,
}

impl Progress for Batches {
    fn step(&self, _text: &str) {
        if self.done.fetch_add(1, Ordering::Relaxed) == 1 {
            self.second.notify_one();
        }
    }
}

fn counts(report: &Report) -> (u64, u64, Vec<Uuid>) {
    let unopenable = report.unopenable.iter().map(|row| row.id).collect();
    (report.resealed, report.changed_meanwhile, unopenable)
}

#[tokio::test]
async fn a_key_is_replaced_while_credentials_are_fetched_stored_and_sealed_anew() {
    let before = Stack::of_its_own(options(OLD)).await;
    let both = format!("{NEW},{OLD}");
    let during = before.beside(options(&both)).await;
    let after = before.beside(options(NEW)).await;
    let url = before.functions_database_url().to_owned();
    let mut belts = Vec::new();
    for number in 0..5 {
        let belt = Belt::new(&before).await;
        belt.store("api_key", &json!(format!("secret {number}"))).await;
        belts.push(belt);
    }
    assert_eq!(keys(&before).await, ["old 5"]);

    // Both keys: what is old opens, what is stored now is new.
    assert_eq!(
        belts[0].fetch_from(&during).await.json()["secrets"]["API_KEY"],
        "secret 0"
    );
    let belt = Belt {
        stack: &during,
        ..Belt::new(&before).await
    };
    let newest = belt.store("api_key", &json!("secret 5")).await;
    belts.push(belt);
    assert_eq!(keys(&before).await, ["new 1", "old 5"]);
    let too_early = belts[0].fetch_from(&after).await;
    assert_snapshot!(too_early, @r#"
    500 Internal Server Error
    {"code":"credential_unopenable","error":"API_KEY cannot be opened: the credential is there, but this service cannot read it.","field":"API_KEY","message":"API_KEY cannot be opened: the credential is there, but this service cannot read it.","request_id":"[request id]"}
    "#);

    // Interrupted after two rows, and then run to its end, twice; by the functions' own login.
    let batches = Batches::default();
    tokio::select! {
        biased;
        () = batches.second.notified() => {}
        report = reseal(&url, &both, 1, &batches) => panic!("not interrupted: {report:?}"),
    }
    let halfway = keys(&before).await;
    assert!(halfway.len() == 2, "{halfway:?}");
    assert_eq!(belts[4].fetch_from(&during).await.status(), 200);
    let first = reseal(&url, &both, 2, &Quiet).await.unwrap();
    let second = reseal(&url, &both, 2, &Quiet).await.unwrap();

    assert!((2..=3).contains(&first.resealed), "{first}");
    assert_eq!(counts(&second), (0, 0, Vec::new()));
    assert_eq!(keys(&before).await, ["new 6"]);
    for (number, belt) in belts.iter().enumerate() {
        let fetched = belt.fetch_from(&after).await;
        assert_eq!(fetched.json()["secrets"]["API_KEY"], format!("secret {number}"));
    }
    let revisions: Vec<i64> = before
        .db()
        .column("SELECT DISTINCT revision FROM public.agent_tool_credentials", &[])
        .await;
    assert_eq!(revisions, [1], "a credential is the same under another key");

    // What does not open is named, and left as it is.
    let statement = "UPDATE public.agent_tool_credentials
                     SET encrypted_credentials = 'v1.xc20p.lost.AAAA', key_id = 'lost' WHERE id = $1";
    before.db().execute(statement, &[&newest]).await;
    for _ in 0..2 {
        let report = reseal(before.db().url(), &both, 2, &Quiet).await.unwrap();
        assert_eq!(counts(&report), (0, 0, vec![newest]));
        let shown = report.to_string().replace(&newest.to_string(), "[id]");
        insta::allow_duplicates! {
            assert_snapshot!(shown, @"
            0 sealed anew, 0 changed meanwhile, 1 do not open
            credential [id]: it is not sealed in a known format
            ");
        }
    }
    assert_eq!(keys(&before).await, ["lost 1", "new 5"]);
    let refused = reseal(&url, "new", 2, &Quiet).await.unwrap_err().to_string();
    assert_snapshot!(refused, @"the credential keyring entry 1 is not <id>:<key>, with an id of letters, digits, - and _");
}

#[tokio::test]
async fn the_addresses_of_alerts_are_sealed_anew_too() {
    let before = Stack::of_its_own(options(OLD)).await;
    let after = before.beside(options(NEW)).await;
    let both = format!("{NEW},{OLD}");
    let owner = before.user().await;
    let toolbox = owner.toolbox().await;
    let webhook = before.discord().create_webhook().unwrap();
    let kept = before
        .request(Method::PUT, "/functions/v1/heartbeat/alerts")
        .bearer(&owner.token)
        .json(&json!({ "webhookUrl": webhook.url }))
        .await;
    assert_eq!(kept.status(), 200, "{kept}");

    let report = reseal(before.functions_database_url(), &both, 10, &Quiet)
        .await
        .unwrap();
    let again = reseal(before.functions_database_url(), &both, 10, &Quiet)
        .await
        .unwrap();

    assert_eq!((counts(&report).0, counts(&again).0), (1, 0));
    let silent = "UPDATE public.account_tool_environments SET alert_after = now() - interval '1 second' WHERE id = $1";
    before.db().execute(silent, &[&toolbox.id]).await;
    let swept = after
        .post("/functions/v1/heartbeat/sweep")
        .bearer(after.service_token())
        .await;
    assert_eq!(swept.json()["alerts"], 1, "{swept}");
    assert_eq!(before.discord().messages(webhook.id).len(), 1);
}

#[tokio::test]
async fn the_tokens_of_bots_are_sealed_anew_and_still_found() {
    let stack = Stack::of_its_own(options(OLD)).await;
    let both = format!("{NEW},{OLD}");
    let (old, new) = (Keyring::parse(OLD).unwrap(), Keyring::parse(NEW).unwrap());
    let owner = stack.user().await;
    let (agent, other) = (owner.agent("Atlas").await, owner.agent("Borea").await);
    let context = |agent: &Agent| BotTokenContext {
        user_id: UserId(owner.id),
        agent_id: AgentId(agent.id),
    };
    let sealed = old.seal(&context(&agent), b"bot token", [7; NONCE_BYTES]).unwrap();
    // The second was moved to another agent, and does not open.
    for (number, (agent, token)) in [(&agent, "bot token"), (&other, "another")].into_iter().enumerate() {
        let statement = "INSERT INTO public.agent_discord_connections (
                user_id, agent_id, discord_app_id, discord_public_key, bot_token_sealed, bot_token_key_id,
                bot_token_fingerprint
            )
            VALUES ($1, $2, $3, repeat('ab', 32), $4, 'old', $5)";
        let fingerprint = old.fingerprints(token.as_bytes()).remove(0);
        let values: agentopia_tests::Parameters<'_> = &[
            &owner.id,
            &agent.id,
            &format!("12345678901234567{number}"),
            &sealed,
            &fingerprint.as_slice(),
        ];
        assert_eq!(stack.db().execute(statement, values).await, 1);
    }

    let url = stack.functions_database_url();
    let first = reseal(url, &both, 1, &Quiet).await.unwrap();
    let second = reseal(url, &both, 1, &Quiet).await.unwrap();

    assert_eq!((first.resealed, first.changed_meanwhile), (1, 0));
    assert_eq!((second.resealed, second.changed_meanwhile), (0, 0));
    let kinds: Vec<_> = first.unopenable.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, ["bot token"]);
    let rows = "SELECT jsonb_build_object(
            'sealed', bot_token_sealed, 'key', bot_token_key_id, 'fingerprint', encode(bot_token_fingerprint, 'base64')
        )
        FROM public.agent_discord_connections WHERE agent_id = $1";
    let moved: Value = stack.db().scalar(rows, &[&agent.id]).await;
    let left: Value = stack.db().scalar(rows, &[&other.id]).await;
    let opened = new.open(&context(&agent), moved["sealed"].as_str().unwrap()).unwrap();
    assert_eq!(opened.as_bytes(), b"bot token");
    assert_eq!(moved["key"], "new");
    assert_eq!(
        moved["fingerprint"],
        STANDARD.encode(new.fingerprints(b"bot token").remove(0))
    );
    assert_eq!((&left["sealed"], &left["key"]), (&json!(sealed), &json!("old")));
    assert_eq!(
        left["fingerprint"],
        STANDARD.encode(old.fingerprints(b"another").remove(0))
    );
}
