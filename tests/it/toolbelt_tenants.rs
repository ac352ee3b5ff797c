//! `agent-toolbelt`: two tenants over every route and every id. What is another's is as absent as what is not there.

use std::fmt::Write as _;

use agentopia_tests::{Response, Stack, User};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::toolbelt_support::{AGENTS, Belt, NOBODYS};

/// The ids that a request may name.
#[derive(Clone, Copy)]
struct Ids {
    agent: Uuid,
    toolbox: Uuid,
    instance: Uuid,
    access: Uuid,
    item: Uuid,
    credential: Uuid,
    permission: Uuid,
}

impl Ids {
    async fn of(belt: &Belt<'_>) -> Self {
        Self {
            agent: belt.agent.id,
            toolbox: belt.toolbox.id,
            instance: belt.instance.id,
            access: belt.access,
            item: belt.item,
            credential: belt.store("api_key", &json!("secret")).await,
            permission: belt.permit("read", true).await,
        }
    }

    const fn nobodys() -> Self {
        Self {
            agent: NOBODYS,
            toolbox: NOBODYS,
            instance: NOBODYS,
            access: NOBODYS,
            item: NOBODYS,
            credential: NOBODYS,
            permission: NOBODYS,
        }
    }
}

/// Every route, with a body that is otherwise good.
fn routes(ids: Ids) -> Vec<(Method, String, Value)> {
    let Ids {
        toolbox,
        instance,
        access,
        item,
        credential,
        permission,
        ..
    } = ids;
    let mut routes = vec![
        (
            Method::POST,
            "toolbox-access".to_owned(),
            json!({ "account_tool_environment_id": toolbox }),
        ),
        (Method::GET, "toolbox-access".to_owned(), Value::Null),
        (Method::DELETE, format!("toolbox-access/{access}"), Value::Null),
        (
            Method::POST,
            "items".to_owned(),
            json!({ "account_tool_instance_id": instance }),
        ),
        (Method::GET, "items".to_owned(), Value::Null),
        (Method::GET, format!("items/{item}"), Value::Null),
        (Method::DELETE, format!("items/{item}"), Value::Null),
        (
            Method::POST,
            format!("items/{item}/credentials"),
            json!({ "credential_type": "token", "credential_value": "mine" }),
        ),
        (Method::GET, format!("items/{item}/credentials"), Value::Null),
        (
            Method::DELETE,
            format!("items/{item}/credentials/{credential}"),
            Value::Null,
        ),
        (Method::GET, format!("items/{item}/permissions"), Value::Null),
        (
            Method::DELETE,
            format!("items/{item}/permissions/{permission}"),
            Value::Null,
        ),
        (Method::GET, "audit".to_owned(), Value::Null),
    ];
    for method in [Method::POST, Method::PUT] {
        let body = json!({ "capability_name": "write", "is_permitted": true });
        routes.push((method, format!("items/{item}/permissions"), body));
    }
    for method in [Method::PUT, Method::PATCH] {
        routes.extend([
            (
                method.clone(),
                format!("items/{item}"),
                json!({ "is_active_for_agent": false }),
            ),
            (
                method.clone(),
                format!("items/{item}/credentials/{credential}"),
                json!({ "credential_value": "mine", "status": "revoked" }),
            ),
            (
                method,
                format!("items/{item}/permissions/{permission}"),
                json!({ "is_permitted": true, "requires_approval": false }),
            ),
        ]);
    }
    routes
}

async fn send(stack: &Stack, user: &User, agent: Uuid, (method, path, body): &(Method, String, Value)) -> Response {
    let request = stack
        .request(method.clone(), &format!("{AGENTS}/{agent}/toolbelt/{path}"))
        .bearer(&user.token);
    match body {
        Value::Null => request.await,
        body => request.json(body).await,
    }
}

/// What is said to a user about ids, which is the same that is said about ids that nobody has; each answer once, with the routes it is given on.
async fn answers(stack: &Stack, user: &User, ids: Ids, nobodys: Ids) -> String {
    let mut answers: Vec<(String, Vec<String>)> = Vec::new();
    for (route, absent) in routes(ids).iter().zip(&routes(nobodys)) {
        let answer = send(stack, user, ids.agent, route).await.to_string();
        let of_nobodys = send(stack, user, nobodys.agent, absent).await.to_string();
        let answer = answer.replace(&ids.agent.to_string(), "[agent]");
        assert_eq!(
            answer,
            of_nobodys.replace(&nobodys.agent.to_string(), "[agent]"),
            "{route:?}"
        );

        let (_, template, _) = absent;
        let name = format!("{} {}", route.0, template.replace(&NOBODYS.to_string(), "{id}"));
        match answers.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, names)) => names.push(name),
            None => answers.push((answer, vec![name])),
        }
    }
    let mut text = String::new();
    for (answer, names) in answers {
        writeln!(text, "{}\n{answer}\n", names.join("\n")).unwrap();
    }
    text
}

#[tokio::test]
async fn anothers_agent_is_not_found_on_any_route() {
    let stack = Stack::shared().await;
    let ada = Belt::new(stack).await;
    let ids = Ids::of(&ada).await;
    let eve = stack.user_named("Eve").await;
    let before = ada.rows().await;

    let answers = answers(stack, &eve, ids, Ids::nobodys()).await;

    assert_snapshot!(answers, @r#"
    POST toolbox-access
    GET toolbox-access
    DELETE toolbox-access/{id}
    POST items
    GET items
    GET items/{id}
    DELETE items/{id}
    POST items/{id}/credentials
    GET items/{id}/credentials
    DELETE items/{id}/credentials/{id}
    GET items/{id}/permissions
    DELETE items/{id}/permissions/{id}
    GET audit
    POST items/{id}/permissions
    PUT items/{id}/permissions
    PUT items/{id}
    PUT items/{id}/credentials/{id}
    PUT items/{id}/permissions/{id}
    PATCH items/{id}
    PATCH items/{id}/credentials/{id}
    PATCH items/{id}/permissions/{id}
    404 Not Found
    {"code":"agent_not_found","error":"Agent [agent] not found.","message":"Agent [agent] not found.","request_id":"[request id]"}
    "#);
    assert_eq!(ada.rows().await, before);
}

#[tokio::test]
async fn anothers_things_are_not_found_under_an_agent_of_ones_own() {
    let stack = Stack::shared().await;
    let ada = Belt::new(stack).await;
    let adas = Ids::of(&ada).await;
    let eve = stack.user_named("Eve").await;
    let agent = eve.agent("Echo").await.id;
    let before = ada.rows().await;

    let answers = answers(
        stack,
        &eve,
        Ids { agent, ..adas },
        Ids {
            agent,
            ..Ids::nobodys()
        },
    )
    .await;

    assert_snapshot!(answers, @r#"
    POST toolbox-access
    404 Not Found
    {"code":"toolbox_not_found","error":"Toolbox not found or access denied","message":"Toolbox not found or access denied","request_id":"[request id]"}

    GET toolbox-access
    GET items
    GET audit
    200 OK
    []

    DELETE toolbox-access/{id}
    404 Not Found
    {"code":"toolbox_access_not_found","error":"Toolbox access not found.","message":"Toolbox access not found.","request_id":"[request id]"}

    POST items
    404 Not Found
    {"code":"tool_instance_not_found","error":"Tool instance not found.","message":"Tool instance not found.","request_id":"[request id]"}

    GET items/{id}
    DELETE items/{id}
    POST items/{id}/credentials
    GET items/{id}/credentials
    DELETE items/{id}/credentials/{id}
    GET items/{id}/permissions
    DELETE items/{id}/permissions/{id}
    POST items/{id}/permissions
    PUT items/{id}/permissions
    PUT items/{id}
    PUT items/{id}/credentials/{id}
    PUT items/{id}/permissions/{id}
    PATCH items/{id}
    PATCH items/{id}/credentials/{id}
    PATCH items/{id}/permissions/{id}
    404 Not Found
    {"code":"toolbelt_item_not_found","error":"Toolbelt item not found.","message":"Toolbelt item not found.","request_id":"[request id]"}
    "#);
    assert_eq!(ada.rows().await, before);
}

#[tokio::test]
async fn anothers_credentials_and_permissions_are_not_found_under_an_item_of_ones_own() {
    let stack = Stack::shared().await;
    let ada = Belt::new(stack).await;
    let adas = Ids::of(&ada).await;
    let eve = Belt::of(stack, stack.user_named("Eve").await).await;
    let eves = Ids::of(&eve).await;
    let before = ada.rows().await;
    let mixed = Ids {
        credential: adas.credential,
        permission: adas.permission,
        ..eves
    };

    for route in routes(mixed) {
        if route.1.contains(&adas.credential.to_string()) || route.1.contains(&adas.permission.to_string()) {
            let response = send(stack, &eve.user, eve.agent.id, &route).await;
            assert_eq!(response.status(), 404, "{route:?}");
        }
    }

    assert_eq!(ada.rows().await, before);
}

#[tokio::test]
async fn an_item_is_found_under_its_own_agent_alone() {
    let stack = Stack::shared().await;
    let first = Belt::new(stack).await;
    let firsts = Ids::of(&first).await;
    let second = Belt::of(stack, first.user.clone()).await;
    Ids::of(&second).await;
    let before = first.rows().await;
    let mixed = Ids {
        agent: second.agent.id,
        ..firsts
    };

    for route in routes(mixed) {
        if route.1.contains(&firsts.item.to_string()) || route.1.contains(&firsts.access.to_string()) {
            let response = send(stack, &first.user, second.agent.id, &route).await;
            assert_eq!(response.status(), 404, "{route:?}");
        }
    }

    assert_eq!(first.rows().await, before);
}

#[tokio::test]
async fn a_user_joins_no_agent_with_anothers_tool_through_the_database_either() {
    let stack = Stack::shared().await;
    let ada = Belt::new(stack).await;
    let eve = Belt::of(stack, stack.user_named("Eve").await).await;
    let session = stack.as_user(&eve.user).await;

    let access = session
        .attempt(
            "INSERT INTO public.agent_toolbox_access (agent_id, account_tool_environment_id) VALUES ($1, $2)",
            &[&eve.agent.id, &ada.toolbox.id],
        )
        .await;
    let item = session
        .attempt(
            "INSERT INTO public.agent_toolbelt_items
                 (agent_id, account_tool_instance_id, account_tool_environment_id)
             VALUES ($1, $2, $3)",
            &[&eve.agent.id, &ada.instance.id, &ada.toolbox.id],
        )
        .await;
    let sealed = session
        .attempt("SELECT encrypted_credentials FROM public.agent_tool_credentials", &[])
        .await;

    for (refusal, expected) in [(access, "23503"), (item, "23503"), (sealed, "42501")] {
        let refusal = refusal.unwrap_err();
        assert!(refusal.starts_with(expected), "{refusal}");
    }
}

#[tokio::test]
async fn without_a_token_or_with_a_path_that_is_none_nothing_is_done() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let ids = Ids::of(&belt).await;
    let before = belt.rows().await;

    for (method, path, body) in routes(ids) {
        let request = |agent: &str, path: &str| {
            let request = stack.request(method.clone(), &format!("{AGENTS}/{agent}/toolbelt/{path}"));
            if body.is_null() { request } else { request.json(&body) }
        };
        let agent = belt.agent.id.to_string();
        let unproven = request(&agent, &path).await;
        let of_no_agent = request("mine", &path).bearer(&belt.user.token).await;

        insta::allow_duplicates! {
            assert_snapshot!(unproven, &path, @r#"
            401 Unauthorized
            www-authenticate: Bearer
            {"code":"missing_token","error":"Missing or invalid authorization header","message":"Missing or invalid authorization header","request_id":"[request id]"}
            "#);
            assert_snapshot!(of_no_agent, &path, @r#"
            400 Bad Request
            {"code":"invalid_path","error":"Invalid path.","message":"Invalid path.","request_id":"[request id]"}
            "#);
        }
        let malformed = path
            .rsplit_once('/')
            .filter(|(_, last)| last.parse::<Uuid>().is_ok())
            .map(|(rest, _)| format!("{rest}/1"));
        if let Some(malformed) = malformed {
            let response = request(&agent, &malformed).bearer(&belt.user.token).await;
            assert_eq!(
                (response.status().as_u16(), response.field("code").as_str()),
                (400, "invalid_path")
            );
        }
    }

    assert_eq!(belt.rows().await, before);
}

#[tokio::test]
async fn another_method_or_path_is_refused() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let item = belt.item;
    let mut text = String::new();

    for (method, path) in [
        (Method::PUT, "toolbox-access".to_owned()),
        (Method::GET, format!("toolbox-access/{}", belt.access)),
        (Method::PATCH, "items".to_owned()),
        (Method::POST, format!("items/{item}")),
        (Method::DELETE, format!("items/{item}/credentials")),
        (Method::GET, format!("items/{item}/credentials/{NOBODYS}")),
        (Method::DELETE, format!("items/{item}/permissions")),
        (Method::POST, format!("items/{item}/permissions/{NOBODYS}")),
        (Method::POST, "audit".to_owned()),
        (Method::GET, "secrets".to_owned()),
    ] {
        let response = belt.request(method.clone(), &path).await;
        let path = path
            .replace(&item.to_string(), "{item}")
            .replace(&belt.access.to_string(), "{access}");
        writeln!(
            text,
            "{method} {path}: {} {}",
            response.status(),
            response.header("allow").unwrap_or_default()
        )
        .unwrap();
    }

    assert_snapshot!(text, @"
    PUT toolbox-access: 405 Method Not Allowed POST,GET,HEAD
    GET toolbox-access/{access}: 405 Method Not Allowed DELETE
    PATCH items: 405 Method Not Allowed POST,GET,HEAD
    POST items/{item}: 405 Method Not Allowed GET,HEAD,PUT,PATCH,DELETE
    DELETE items/{item}/credentials: 405 Method Not Allowed POST,GET,HEAD
    GET items/{item}/credentials/00000000-0000-4000-8000-0000000000ff: 405 Method Not Allowed PUT,PATCH,DELETE
    DELETE items/{item}/permissions: 405 Method Not Allowed POST,PUT,GET,HEAD
    POST items/{item}/permissions/00000000-0000-4000-8000-0000000000ff: 405 Method Not Allowed PUT,PATCH,DELETE
    POST audit: 405 Method Not Allowed GET,HEAD
    GET secrets: 404 Not Found
    ");
}
