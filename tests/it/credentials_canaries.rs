//! Secrets that are looked for everywhere they must not be: in logs, in answers of other routes, and in a dump of the database.

use agentopia_tests::{Response, Stack};
use serde_json::{Value, json};

use crate::canaries_support::{assert_without, dump, forms};
use crate::toolbelt_support::{Belt, FETCH, TABLES};

/// Distinct texts, so that what is found tells which it was. Their length is a multiple of three: base64 of a text has base64 of its parts.
const CANARIES: [&str; 4] = [
    "canary-stored-5d0c",
    "canary-change-91ab",
    "canary-json-77e2-x",
    "canary-refuse-03fd",
];

#[tokio::test]
async fn a_secret_is_in_no_log_in_no_other_answer_and_in_no_dump_of_the_database() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let [stored, changed, in_json, refused] = CANARIES;
    let credentials = belt.of_item("credentials");
    let credential = |value: Value| json!({ "credential_type": "api_key", "credential_value": value });
    let mut answers: Vec<Response> = Vec::new();

    // Stored, refused in each way that looks at the value or fails after it, changed, released, denied.
    answers.push(belt.post(&credentials, &credential(json!(stored))).await);
    let path = format!("{credentials}/{}", answers[0].field("id"));
    for body in [
        credential(json!(refused)),
        json!({ "credential_type": "", "credential_value": refused }),
        json!({ "credential_type": "a\0", "credential_value": refused }),
        json!({ "credential_value": refused }),
        json!({ "credential_type": "b", "credential_value": format!("{refused}\0") }),
        json!({ "credential_type": "b", "credential_value": refused.repeat(1000) }),
        json!({ "credential_type": "b", "credential_value": refused, "status": "unknown" }),
        json!({ "credential_type": "b", "credential_value": { "a": refused }, "account_identifier": 7 }),
    ] {
        answers.push(belt.post(&credentials, &body).await);
    }
    let half = format!(r#"{{"credential_type": "b", "credential_value": "{refused}"#);
    answers.push(belt.request(http::Method::POST, &credentials).body(half).await);
    let elsewhere = format!("items/{}/credentials", belt.agent.id);
    answers.push(belt.post(&elsewhere, &credential(json!(refused))).await);
    let stale = belt.patch(&path, &json!({ "credential_value": refused }));
    answers.push(stale.header("if-match", "\"99\"").await);
    answers.push(
        belt.patch(&path, &json!({ "credential_value": { "token": in_json } }))
            .await,
    );
    assert!(belt.fetch().await.text().contains(in_json), "it was stored");
    answers.push(belt.put(&path, &json!({ "credential_value": changed })).await);
    let fetched = belt.fetch().await;
    assert_eq!(fetched.json()["secrets"]["API_KEY"], changed);
    for rest in [
        "toolbox-access",
        "items",
        "audit",
        credentials.as_str(),
        &belt.of_item("permissions"),
    ] {
        answers.push(belt.get(rest).await);
    }
    let denied = json!({
        "agentId": belt.agent.id, "accountToolInstanceId": belt.instance.id, "capabilityName": "read",
    });
    answers.push(stack.post(FETCH).bearer(&belt.toolbox.token).json(&denied).await);
    let damage = "UPDATE public.agent_tool_credentials SET encrypted_credentials = encrypted_credentials || 'A'
                  WHERE user_id = $1";
    stack.db().execute(damage, &[&belt.user.id]).await;
    answers.push(belt.fetch().await);
    answers.push(belt.delete(&path).await);
    answers.push(belt.get("audit").await);

    let secrets: Vec<String> = CANARIES.iter().flat_map(|canary| forms(canary)).collect();
    let sealed = ["xc20p".to_owned()];
    let tokens = [belt.toolbox.token.clone(), belt.user.token.clone()];
    for answer in &answers {
        assert_without("an answer", &answer.to_string(), &secrets);
        assert_without("an answer", &answer.to_string(), &sealed);
        assert_without("an answer", &answer.to_string(), &tokens);
    }
    for (table, row) in dump(stack).await {
        assert_without(&table, &row, &secrets);
        assert_without(&table, &row, &tokens);
    }
    let of_deployment: Vec<String> = stack.secrets().iter().map(|secret| (*secret).to_owned()).collect();
    for component in ["agent-toolbelt", "get-agent-tool-credentials"] {
        let lines = stack.log(component);
        assert!(
            lines.as_ref().is_none_or(|lines| !lines.is_empty()),
            "{component} has no log"
        );
        for line in lines.unwrap_or_default() {
            for secrets in [&secrets[..], &sealed, &tokens, &of_deployment] {
                assert_without(component, &line, secrets);
            }
        }
    }
}

#[tokio::test]
async fn a_sealed_secret_goes_with_what_it_hung_on() {
    let stack = Stack::shared().await;
    for deletion in [
        "DELETE FROM public.agent_toolbox_access WHERE user_id = $1",
        "DELETE FROM public.account_tool_instances WHERE user_id = $1",
        "DELETE FROM public.account_tool_environments WHERE user_id = $1",
        "DELETE FROM public.agents WHERE user_id = $1",
        "DELETE FROM auth.users WHERE id = $1",
    ] {
        let belt = Belt::new(stack).await;
        belt.store("api_key", &json!("secret")).await;
        let statement = "SELECT encrypted_credentials FROM public.agent_tool_credentials WHERE user_id = $1";
        let sealed: String = stack.db().scalar(statement, &[&belt.user.id]).await;

        assert_eq!(stack.db().execute(deletion, &[&belt.user.id]).await, 1, "{deletion}");

        for table in TABLES {
            let statement = format!("SELECT count(*) FROM public.{table} WHERE user_id = $1");
            let left: i64 = stack.db().scalar(&statement, &[&belt.user.id]).await;
            assert!(left == 0 || table == "agent_toolbox_access", "{deletion}: {table}");
        }
        for (table, row) in dump(stack).await {
            assert_without(&table, &row, std::slice::from_ref(&sealed));
        }
    }
}
