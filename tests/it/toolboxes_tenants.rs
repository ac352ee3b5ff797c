//! `toolboxes-user`: two tenants over every route and every id. What is another's is as absent as what is not there.

use agentopia_tests::{Stack, Toolbox, User};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::toolbelt_support::NOBODYS;
use crate::toolbox_machines::{TOOLBOXES, TOOLS};
use crate::toolboxes_support::{FETCH, about, deploy, id_of, stack};

/// Every route about a toolbox or a tool of it, with a body that is otherwise good.
fn routes(toolbox: Uuid, tool: Uuid) -> Vec<(Method, String, Value)> {
    let mut routes = vec![
        (Method::GET, format!("{TOOLBOXES}/{toolbox}"), Value::Null),
        (
            Method::PATCH,
            format!("{TOOLBOXES}/{toolbox}"),
            json!({ "name": "Eve's" }),
        ),
        (
            Method::PUT,
            format!("{TOOLBOXES}/{toolbox}"),
            json!({ "description": "Eve's" }),
        ),
        (Method::DELETE, format!("{TOOLBOXES}/{toolbox}"), Value::Null),
    ];
    for command in ["pause", "resume", "redeploy", "refresh-status"] {
        routes.push((Method::POST, format!("{TOOLBOXES}/{toolbox}/{command}"), json!({})));
    }
    for base in [TOOLBOXES, TOOLS] {
        let tools = format!("{base}/{toolbox}/tools");
        let new = json!({ "toolCatalogId": FETCH, "instanceNameOnToolbox": "eves" });
        routes.push((Method::POST, tools.clone(), new));
        routes.push((Method::GET, tools.clone(), Value::Null));
        routes.push((Method::GET, format!("{tools}/{tool}"), Value::Null));
        routes.push((
            Method::PATCH,
            format!("{tools}/{tool}"),
            json!({ "baseConfigOverrideJson": {} }),
        ));
        routes.push((Method::DELETE, format!("{tools}/{tool}"), Value::Null));
        for command in ["start", "stop", "restart"] {
            routes.push((Method::POST, format!("{tools}/{tool}/{command}"), json!({})));
        }
    }
    routes
}

/// Everything that is stored of a user's toolboxes.
async fn state(stack: &Stack, user: &User) -> Vec<String> {
    let statement = "SELECT toolbox::text FROM public.account_tool_environments AS toolbox WHERE user_id = $1
                     UNION ALL
                     SELECT instance::text FROM public.account_tool_instances AS instance WHERE user_id = $1
                     UNION ALL
                     SELECT job::text FROM app.jobs AS job
                     WHERE key IN (SELECT id::text FROM public.account_tool_environments WHERE user_id = $1)
                     ORDER BY 1";
    stack.db().column(statement, &[&user.id]).await
}

async fn tool_of(stack: &Stack, user: &User, toolbox: &Toolbox) -> Uuid {
    id_of(&deploy(stack, user, toolbox, FETCH, "tool").await)
}

#[tokio::test]
async fn anothers_toolbox_is_not_found_and_is_not_touched() {
    let stack = stack().await;
    let (ada, eve) = (stack.user().await, stack.user_named("Eve").await);
    let adas = ada.toolbox().await;
    let adas_tool = tool_of(stack, &ada, &adas).await;
    let before = state(stack, &ada).await;
    let ask = async |(method, path, body): (Method, String, Value)| {
        let request = stack.request(method, &path).bearer(&eve.token);
        let response = if body.is_null() {
            request.await
        } else {
            request.json(&body).await
        };
        response.to_string()
    };

    let cases = routes(adas.id, adas_tool).into_iter().zip(routes(NOBODYS, NOBODYS));
    for (anothers, nobodys) in cases {
        let name = format!("{} {}", anothers.0, anothers.1);
        let answer = ask(anothers).await;

        assert!(
            answer.starts_with("404 Not Found\n{\"code\":\"toolbox_not_found\""),
            "{name}: {answer}"
        );
        assert_eq!(answer, ask(nobodys).await, "{name}");
    }
    assert_eq!(state(stack, &ada).await, before);
    assert_eq!(about(stack, &eve, Method::GET, "").await.json(), json!([]));
}

#[tokio::test]
async fn a_tool_of_another_toolbox_is_not_found_under_ones_own() {
    let stack = stack().await;
    let (ada, eve) = (stack.user().await, stack.user_named("Eve").await);
    let (adas, second) = (ada.toolbox().await, ada.toolbox().await);
    let adas_tool = tool_of(stack, &ada, &adas).await;
    let eves = eve.toolbox().await;
    let before = state(stack, &ada).await;

    // Eve's toolbox with Ada's tool, and Ada's second toolbox with the tool of her first.
    for (user, toolbox) in [(&eve, &eves), (&ada, &second)] {
        let with_tool = routes(toolbox.id, adas_tool)
            .into_iter()
            .filter(|(_, path, _)| path.contains(&adas_tool.to_string()));
        for (method, path, body) in with_tool {
            let name = format!("{method} {path}");
            let response = stack.request(method, &path).bearer(&user.token).json(&body).await;

            assert_eq!(
                (response.status().as_u16(), response.field("code").as_str()),
                (404, "tool_instance_not_found"),
                "{name}"
            );
        }
    }
    assert_eq!(state(stack, &ada).await, before);
}

#[tokio::test]
async fn an_administrator_has_no_more_toolboxes_than_others() {
    let stack = stack().await;
    let (ada, root) = (stack.user().await, stack.user_named("Root").await);
    let adas = ada.toolbox().await;
    let statement = "INSERT INTO public.user_roles (user_id, role_id)
                     SELECT $1, id FROM public.roles WHERE name = 'admin'";
    assert_eq!(stack.db().execute(statement, &[&root.id]).await, 1);
    let before = state(stack, &ada).await;

    for (method, path, body) in routes(adas.id, NOBODYS) {
        let name = format!("{method} {path}");
        let response = stack.request(method, &path).bearer(&root.token).json(&body).await;
        assert_eq!(response.status(), 404, "{name}: {response}");
    }

    assert_eq!(state(stack, &ada).await, before);
    assert_eq!(about(stack, &root, Method::GET, "").await.json(), json!([]));
}
