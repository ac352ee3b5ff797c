//! Toolboxes fall silent and return: who is told, once each, whatever fails or dies on the way.

use std::time::Duration;

use agentopia_stack::worlds::discord::{self, Webhook};
use agentopia_tests::{DEADLINE, Stack, User, eventually, eventually_some};
use futures::future::join_all;
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::heartbeat_support::HEARTBEAT;
use crate::toolbox_machines::{ALERTS, Ordered, brisk, due_in, patient, stack, sweep, sweeping};

/// What tells that a message may have been told before.
const DOUBT: &str = "(It is not known whether this was told before: sending it was interrupted.)";

/// An owner's webhook, to which alerts go from then on.
async fn webhook(stack: &Stack, owner: &User) -> Webhook {
    let webhook = stack.discord().create_webhook().unwrap();
    let response = stack
        .request(http::Method::PUT, ALERTS)
        .bearer(&owner.token)
        .json(&json!({ "webhookUrl": webhook.url }))
        .await;
    assert_eq!(response.status(), StatusCode::OK, "{response}");
    webhook
}

/// The texts that a webhook has sent, without times.
fn told(stack: &Stack, webhook: &Webhook) -> Vec<String> {
    let messages = stack.discord().messages(webhook.id);
    assert!(
        messages.iter().all(|message| message.notifies.is_empty()),
        "nobody is pinged"
    );
    messages.iter().map(|message| timeless(&message.content)).collect()
}

/// A text in which times are replaced, such as `2026-09-01 12:00:00 UTC`.
fn timeless(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(end) = rest.find(" UTC") {
        let (before, after) = rest.split_at(end);
        let start = before.len() - "2026-09-01 12:00:00".len();
        kept.push_str(&before[..start]);
        kept.push_str("[time]");
        rest = &after[" UTC".len()..];
    }
    kept + rest
}

/// Cuts a toolbox off, and lets the time pass until that is noticed. It is not swept yet.
async fn cut_off(stack: &Stack, toolbox: &Ordered) {
    let agents = stack.toolbox_agents();
    agents.silence(toolbox.id);
    eventually("what it was saying is heard", DEADLINE, async || {
        !agents.agent_of(toolbox.id).unwrap().is_calling
    })
    .await;
    let overdue = "UPDATE public.account_tool_environments SET alert_after = clock_timestamp()
        WHERE id = $1 AND status = 'active'";
    assert_eq!(stack.db().execute(overdue, &[&toolbox.id]).await, 1);
}

/// Lets it be heard again.
async fn reconnect(stack: &Stack, toolbox: &Ordered) {
    stack.toolbox_agents().speak(toolbox.id);
    eventually("it is heard", DEADLINE, async || {
        toolbox.status(stack).await == "active"
    })
    .await;
}

/// The ids of a user's alerts, oldest first.
async fn alerts(stack: &Stack, owner: &User) -> Vec<Uuid> {
    let statement = "SELECT id FROM app.alerts WHERE user_id = $1 ORDER BY created_at";
    stack.db().column(statement, &[&owner.id]).await
}

/// Sweeps until so much was told.
async fn sweep_until_told(stack: &Stack, webhook: &Webhook, count: usize) -> Vec<String> {
    eventually_some(&format!("{count} messages"), DEADLINE, async || {
        if told(stack, webhook).len() < count {
            sweep(stack).await;
        }
        Some(told(stack, webhook)).filter(|told| told.len() >= count)
    })
    .await
}

/// Has an owner's alerts looked at by the next sweep, and ends the leases of whoever died over them.
async fn make_alerts_due(stack: &Stack, owner: &User) {
    let keys: Vec<String> = alerts(stack, owner).await.iter().map(Uuid::to_string).collect();
    for statement in [
        "UPDATE app.jobs SET lease_expires_at = clock_timestamp()
         WHERE kind = 'alert' AND key = ANY ($1) AND lease_id IS NOT NULL",
        "UPDATE app.jobs SET run_after = clock_timestamp()
         WHERE kind = 'alert' AND key = ANY ($1) AND outcome IS NULL",
    ] {
        stack.db().execute(statement, &[&keys]).await;
    }
}

#[tokio::test]
async fn an_owner_is_told_of_silence_and_return_and_reminded_between() {
    let stack = stack().await;
    let toolbox = Ordered::active(stack).await;
    let webhook = webhook(stack, &toolbox.owner).await;

    // It does not speak, and there is time yet.
    stack.toolbox_agents().silence(toolbox.id);
    sweep(stack).await;
    assert_eq!(toolbox.status(stack).await, "active");

    cut_off(stack, &toolbox).await;
    sweep_until_told(stack, &webhook, 1).await;
    assert_eq!(toolbox.status(stack).await, "unresponsive");
    for response in join_all((0..4).map(|_| sweeping(stack).into_future())).await {
        assert_eq!(response.status(), 200);
    }

    let due = "UPDATE public.account_tool_environments SET remind_after = clock_timestamp() WHERE id = $1";
    stack.db().execute(due, &[&toolbox.id]).await;
    sweep_until_told(stack, &webhook, 2).await;
    reconnect(stack, &toolbox).await;
    sweep_until_told(stack, &webhook, 3).await;
    sweep(stack).await;

    assert_snapshot!(told(stack, &webhook).join("\n"), @r"
    🔴 1 toolbox has fallen silent.
    - `Box` since [time]
    🔴 1 toolbox is still silent.
    - `Box` since [time]
    🟢 1 toolbox speaks again.
    - `Box` at [time]
    ");
    let status = stack
        .get("/functions/v1/heartbeat/status")
        .bearer(&toolbox.owner.token)
        .await;
    assert_eq!(status.json()[0]["liveness"], "up", "{status}");
}

#[tokio::test]
async fn sweeps_at_once_tell_each_owner_once() {
    let stack = stack().await;
    let toolboxes = [
        Ordered::active(stack).await,
        Ordered::active(stack).await,
        Ordered::active(stack).await,
    ];
    let mut webhooks = Vec::new();
    for toolbox in &toolboxes {
        webhooks.push(webhook(stack, &toolbox.owner).await);
        cut_off(stack, toolbox).await;
    }

    join_all((0..8).map(|_| sweeping(stack).into_future())).await;
    for (toolbox, webhook) in toolboxes.iter().zip(&webhooks) {
        sweep_until_told(stack, webhook, 1).await;
        assert_eq!(toolbox.status(stack).await, "unresponsive");
    }
    join_all((0..8).map(|_| sweeping(stack).into_future())).await;

    for (toolbox, webhook) in toolboxes.iter().zip(&webhooks) {
        assert_eq!(stack.discord().calls(webhook.id), 1);
        assert_eq!(alerts(stack, &toolbox.owner).await.len(), 1);
    }
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_not_called_again() {
    let stack = stack().await;
    let toolbox = Ordered::active(stack).await;
    let webhook = webhook(stack, &toolbox.owner).await;
    stack.discord().delete_webhook(webhook.id);

    cut_off(stack, &toolbox).await;
    let shown = async || stack.get(ALERTS).bearer(&toolbox.owner.token).await.json();
    eventually("the webhook is given up", DEADLINE, async || {
        sweep(stack).await;
        shown().await["disabled_at"].is_string()
    })
    .await;
    reconnect(stack, &toolbox).await;
    sweep(stack).await;
    cut_off(stack, &toolbox).await;
    sweep(stack).await;
    eventually("it is noticed again", DEADLINE, async || {
        toolbox.status(stack).await == "unresponsive"
    })
    .await;
    make_alerts_due(stack, &toolbox.owner).await;
    sweep(stack).await;

    assert_eq!(stack.discord().calls(webhook.id), 1);
    let given_up = "SELECT given_up FROM app.alerts WHERE user_id = $1";
    let reasons: Vec<Option<String>> = stack.db().column(given_up, &[&toolbox.owner.id]).await;
    assert_eq!(reasons.len(), 1, "no alert is made for nobody");
    assert!(reasons[0].is_some());
}

#[tokio::test]
async fn a_webhook_that_has_had_enough_is_left_alone_as_long_as_it_says() {
    let stack = stack().await;
    for fault in [
        discord::Fault::RateLimited {
            retry_after: Duration::from_secs(70),
            global: false,
        },
        discord::Fault::Banned(Duration::from_secs(70)),
    ] {
        let toolbox = Ordered::active(stack).await;
        let webhook = webhook(stack, &toolbox.owner).await;
        stack.discord().fail(webhook.id, fault, 1);

        cut_off(stack, &toolbox).await;
        let due = eventually_some("the alert is put off", DEADLINE, async || {
            sweep(stack).await;
            let alert = alerts(stack, &toolbox.owner).await.pop()?;
            let due = due_in(stack, "alert", &alert.to_string()).await?;
            (stack.discord().calls(webhook.id) > 0).then_some(due)
        })
        .await;
        sweep(stack).await;

        assert!((60..=70).contains(&due.as_secs()), "{fault:?}: {due:?}");
        assert_eq!(
            stack.discord().calls(webhook.id),
            1,
            "{fault:?}: it is not called before that"
        );
        make_alerts_due(stack, &toolbox.owner).await;
        let messages = sweep_until_told(stack, &webhook, 1).await;
        assert_eq!(messages.len(), 1);
        assert!(!messages[0].contains(DOUBT), "{fault:?}: it was not taken, for certain");
    }
}

#[tokio::test]
async fn a_message_of_which_nothing_was_heard_is_sent_again_and_says_so() {
    let stack = stack().await;
    for (fault, taken) in [
        (discord::Fault::Stall, 1),
        (discord::Fault::Drop, 1),
        (discord::Fault::DoneAndFailed, 1),
        (discord::Fault::Silence, 0),
    ] {
        let toolbox = Ordered::active(stack).await;
        let webhook = webhook(stack, &toolbox.owner).await;
        stack.discord().fail(webhook.id, fault, 1);

        cut_off(stack, &toolbox).await;
        eventually("it was tried", DEADLINE, async || {
            sweep(stack).await;
            let alert = alerts(stack, &toolbox.owner).await.pop();
            match alert {
                Some(alert) => due_in(stack, "alert", &alert.to_string()).await > Some(Duration::from_secs(1)),
                None => false,
            }
        })
        .await;
        make_alerts_due(stack, &toolbox.owner).await;
        let messages = sweep_until_told(stack, &webhook, taken + 1).await;
        sweep(stack).await;

        assert_eq!(stack.discord().calls(webhook.id), 2, "{fault:?}");
        assert_eq!(messages.len(), taken + 1, "{fault:?}");
        assert!(messages[taken].ends_with(DOUBT), "{fault:?}: {messages:?}");
        assert!(
            !messages[..taken].iter().any(|message| message.contains(DOUBT)),
            "{fault:?}"
        );
    }
}

/// The first operations of a sweep, and none that would follow.
async fn decide_and_die(stack: &Stack) {
    let caller = json!({ "kind": "service", "name": "heartbeat" }).to_string();
    let sweep = json!({
        "limit": 10_000, "late_after_seconds": 300, "settle_seconds": 0, "mass_minimum": 10, "mass_percent": 50,
        "remind_after_seconds": 3600, "has_operator": true,
    });
    let claim = json!({ "kinds": ["alert"], "limit": 50, "lease_seconds": 120 });
    for (operation, input) in [("sweep_toolboxes", sweep), ("claim_jobs", claim)] {
        let statement = format!("SELECT api.{operation}($1::text::jsonb, $2::text::jsonb)::text");
        let _left: String = stack.db().scalar(&statement, &[&caller, &input.to_string()]).await;
    }
}

#[tokio::test]
async fn whoever_dies_before_or_over_telling_is_followed_by_one_who_tells() {
    let mut stack = Stack::of_its_own(patient()).await;
    let toolbox = Ordered::active(&stack).await;
    let webhook = webhook(&stack, &toolbox.owner).await;

    // Between deciding and sending: what a sweep leaves behind that dies there.
    cut_off(&stack, &toolbox).await;
    decide_and_die(&stack).await;
    stack = stack.restart(patient()).await;
    sweep(&stack).await;
    assert_eq!(toolbox.status(&stack).await, "unresponsive");
    assert_eq!(stack.discord().calls(webhook.id), 0);
    make_alerts_due(&stack, &toolbox.owner).await;
    sweep_until_told(&stack, &webhook, 1).await;
    sweep(&stack).await;
    assert_eq!(stack.discord().calls(webhook.id), 1, "told once");
    assert!(
        !told(&stack, &webhook)[0].contains(DOUBT),
        "and nothing was sent before"
    );

    // Between sending and recording it.
    reconnect(&stack, &toolbox).await;
    stack.discord().fail(webhook.id, discord::Fault::Stall, 1);
    let swept = tokio::spawn(sweeping(&stack).attempt());
    eventually("it is sent", DEADLINE, async || told(&stack, &webhook).len() == 2).await;
    stack = stack.restart(patient()).await;
    assert!(swept.await.unwrap().is_err(), "the sweep has died");
    make_alerts_due(&stack, &toolbox.owner).await;
    sweep_until_told(&stack, &webhook, 3).await;
    make_alerts_due(&stack, &toolbox.owner).await;
    sweep(&stack).await;

    assert_snapshot!(told(&stack, &webhook).join("\n"), @r"
    🔴 1 toolbox has fallen silent.
    - `Box` since [time]
    🟢 1 toolbox speaks again.
    - `Box` at [time]
    🟢 1 toolbox speaks again.
    - `Box` at [time]
    (It is not known whether this was told before: sending it was interrupted.)
    ");
    assert_eq!(stack.discord().calls(webhook.id), 3);
    assert_eq!(stack.discord().complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_sweep_that_comes_late_accuses_nobody() {
    let stack = Stack::of_its_own(brisk()).await;
    let toolbox = Ordered::active(&stack).await;
    let webhook = webhook(&stack, &toolbox.owner).await;
    cut_off(&stack, &toolbox).await;
    let paused = "UPDATE app.sweep_state SET swept_at = clock_timestamp() - interval '10 minutes'";
    stack.db().execute(paused, &[]).await;

    let late = sweep(&stack).await;
    let next = sweep(&stack).await;

    let numbers = |swept: &Value| {
        let toolboxes = &swept["toolboxes"];
        (
            toolboxes["is_late"].clone(),
            toolboxes["postponed"].clone(),
            toolboxes["silent"].clone(),
        )
    };
    assert_eq!(numbers(&late), (json!(true), json!(1), json!(0)));
    assert_eq!(numbers(&next), (json!(false), json!(0), json!(0)));
    assert_eq!(toolbox.status(&stack).await, "active");
    assert_eq!(told(&stack, &webhook), Vec::<String>::new());
    cut_off(&stack, &toolbox).await;
    sweep_until_told(&stack, &webhook, 1).await;
}

#[tokio::test]
async fn a_thousand_that_fall_silent_at_once_are_one_alert_to_the_operator() {
    let stack = Stack::of_its_own(brisk()).await;
    let owner = stack.user().await;
    let webhook = webhook(&stack, &owner).await;
    let insert = "INSERT INTO public.account_tool_environments
            (user_id, name, status, region_slug, size_slug, token_hash, last_heartbeat_at, alert_after)
        SELECT $1, 'Box ' || number, 'active', 'fra1', 's-1vcpu-1gb', sha256(('agt_tb_' || lpad(number::text, 43, '0'))::bytea),
            clock_timestamp() - interval '3 minutes', clock_timestamp() - interval '1 second'
        FROM generate_series(1, 1000) AS number";
    assert_eq!(stack.db().execute(insert, &[&owner.id]).await, 1000);

    let swept: Vec<Value> = join_all((0..3).map(|_| sweeping(&stack).into_future()))
        .await
        .iter()
        .map(|response| response.json()["toolboxes"].clone())
        .collect();
    sweep_until_told(&stack, stack.operators_webhook(), 1).await;
    sweep(&stack).await;

    let silent: u64 = swept.iter().filter_map(|swept| swept["silent"].as_u64()).sum();
    assert_eq!(silent, 1000, "{swept:?}");
    let messages = told(&stack, stack.operators_webhook());
    assert_eq!(messages.len(), 1, "{messages:?}");
    let mut lines = messages[0].lines();
    assert_snapshot!(
        lines.next().unwrap(),
        @"🔴 1000 toolboxes fell silent at once. Look at the platform and its network first; owners were not told."
    );
    assert_snapshot!(lines.next_back().unwrap(), @"and 980 more");
    assert_eq!(stack.discord().calls(webhook.id), 0, "owners are not told");

    // Those that return are told to whoever was told of their silence.
    for number in 1..=3 {
        let token = format!("agt_tb_{number:0>43}");
        let response = stack.post(HEARTBEAT).bearer(&token).json(&json!({})).await;
        assert_eq!(response.status(), StatusCode::OK, "{response}");
    }
    sweep_until_told(&stack, stack.operators_webhook(), 2).await;
    let returned = told(&stack, stack.operators_webhook()).remove(1);
    assert_snapshot!(returned, @r"
    🟢 3 toolboxes of those that fell silent at once speak again.
    - `Box 1` at [time]
    - `Box 2` at [time]
    - `Box 3` at [time]
    ");
    assert_eq!(stack.discord().calls(webhook.id), 0, "owners are not told");
}
