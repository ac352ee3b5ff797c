//! `manage-discord-worker`: tenants, strangers and machines over every route, by its present and its former paths. What is another's is as absent as
//! what is not there.

use std::collections::BTreeSet;

use agentopia_stack::worlds::discord::Bot;
use agentopia_tests::{Request, Response, Stack, User};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::discord_workers_support::{MANAGE, Owner};
use crate::toolbelt_support::NOBODYS;

/// A request that is good but for who makes it.
struct Route {
    method: Method,
    path: String,
    body: Value,
}

impl Route {
    fn name(&self) -> String {
        format!("{} {} {}", self.method, self.path, self.body)
    }

    fn on(&self, stack: &Stack) -> Request {
        let request = stack.request(self.method.clone(), &self.path);
        if self.body.is_null() {
            request
        } else {
            request.json(&self.body)
        }
    }
}

fn route(method: Method, path: String, body: Value) -> Route {
    Route { method, path, body }
}

/// Every route about an agent that is its owner's alone.
fn routes(agent: Uuid, bot: &Bot) -> Vec<Route> {
    let own = |method, rest: &str, body| route(method, format!("{MANAGE}/agents/{agent}/{rest}"), body);
    let old = |name: &str, body| route(Method::POST, format!("/functions/v1/{name}"), body);
    let read = |name: &str, more: &str| {
        let path = format!("/functions/v1/{name}?agentId={agent}{more}");
        route(Method::GET, path, Value::Null)
    };
    let guilds = json!([{ "guild_id": "77" }]);
    let mut routes = vec![
        own(Method::GET, "connection", Value::Null),
        own(Method::PUT, "connection", json!({ "bot_token": bot.token })),
        own(Method::DELETE, "connection", Value::Null),
        own(Method::PUT, "bot-token", json!({ "bot_token": bot.token })),
        own(Method::DELETE, "bot-token", Value::Null),
        own(Method::GET, "guilds", Value::Null),
        own(Method::GET, "guilds/77/channels", Value::Null),
        own(Method::PUT, "enabled-guilds", json!({ "guilds": guilds })),
        own(Method::DELETE, "enabled-guilds/77", Value::Null),
        own(Method::POST, "commands", json!({})),
        old(
            "update-agent-discord-token",
            json!({ "agentId": agent, "token": bot.token }),
        ),
        old("update-agent-discord-token", json!({ "agentId": agent, "token": null })),
        old("discord-connect", json!({ "agentId": agent, "botToken": bot.token })),
        old("discord-disconnect", json!({ "agentId": agent })),
        old("discord-get-bot-guilds", json!({ "agentId": agent })),
        read("discord-get-guild-channels", "&guildId=77"),
        read("get-enabled-guilds", ""),
        old(
            "update-enabled-guilds",
            json!({ "agentId": agent, "enabledGuilds": guilds }),
        ),
        old("register-agent-commands", json!({ "agentId": agent })),
        old("get-worker-status", json!({ "agentId": agent })),
    ];
    for action in ["start", "stop", "restart", "status"] {
        let body = json!({ "agentId": agent, "action": action, "guildId": "77" });
        routes.push(route(Method::POST, MANAGE.to_owned(), body));
    }
    routes
}

/// Those of administrators.
fn admin_routes(agent: Uuid) -> Vec<Route> {
    vec![
        route(Method::POST, format!("{MANAGE}/agents/{agent}/force-stop"), Value::Null),
        route(
            Method::POST,
            "/functions/v1/admin-force-stop-worker".to_owned(),
            json!({ "agentId": agent }),
        ),
    ]
}

/// Those of the deployment itself.
fn service_routes(owner: &Owner<'_>) -> Vec<Route> {
    let activation = json!({
        "agentId": owner.agent.id, "applicationId": owner.application.id.to_string(),
        "publicKey": owner.application.public_key, "ownKey": false, "guildId": "77", "action": "deactivate",
    });
    vec![
        route(Method::POST, format!("{MANAGE}/activations"), activation),
        route(Method::POST, format!("{MANAGE}/sweep"), json!({})),
    ]
}

/// An owner whose worker runs, and who has a guild.
async fn owner(stack: &Stack) -> Owner<'_> {
    let owner = Owner::active(stack).await;
    let enabled = owner
        .put("enabled-guilds", &json!({ "guilds": [{ "guild_id": "77" }] }))
        .await;
    assert_eq!(enabled.status(), 200, "{enabled}");
    owner
}

/// All that is stored about an agent's bot but what its worker reports, and whether it runs.
async fn state(owner: &Owner<'_>) -> (Vec<String>, bool) {
    let statement =
        "SELECT (to_jsonb(connection) - ARRAY['worker_reported_at', 'worker_report', 'worker_lease_expires_at'])::text
                     FROM public.agent_discord_connections AS connection WHERE user_id = $1 ORDER BY 1";
    (
        owner.stack.db().column(statement, &[&owner.user.id]).await,
        owner.runs(),
    )
}

async fn admin(stack: &Stack) -> User {
    let admin = stack.user_named("Root").await;
    let grant = "INSERT INTO public.user_roles (user_id, role_id) SELECT $1, id FROM public.roles WHERE name = 'admin'";
    assert_eq!(stack.db().execute(grant, &[&admin.id]).await, 1);
    admin
}

#[tokio::test]
async fn anothers_bot_is_not_found_and_is_not_touched() {
    let stack = Stack::shared().await;
    let owner = owner(stack).await;
    let (eve, root) = (Owner::new(stack).await, admin(stack).await);
    let before = state(&owner).await;

    for user in [&eve.user, &root] {
        let anothers = routes(owner.agent.id, &eve.bot).into_iter();
        for (anothers, nobodys) in anothers.zip(routes(NOBODYS, &eve.bot)) {
            let answer = anothers.on(stack).bearer(&user.token).await.to_string();

            let name = anothers.name();
            assert!(
                answer.starts_with("404 Not Found\n{\"code\":\"agent_not_found\""),
                "{name}: {answer}"
            );
            let missing = nobodys.on(stack).bearer(&user.token).await.to_string();
            assert_eq!(answer, missing, "{name}");
        }
    }

    assert_eq!(state(&owner).await, before);
    assert_eq!(
        stack.discord().recorded(eve.application.id),
        [],
        "Discord was not asked"
    );
}

#[tokio::test]
async fn an_agent_is_named_by_its_id() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;

    let path = format!("{MANAGE}/agents/atlas/connection");
    let answer = stack.get(&path).bearer(&owner.user.token).await;

    assert_snapshot!(answer, @r#"
    400 Bad Request
    {"code":"invalid_path","error":"Invalid path.","message":"Invalid path.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn administrators_alone_stop_anybodys_worker_and_see_nothing_of_it() {
    let stack = Stack::shared().await;
    let root = admin(stack).await;
    for number in 0..2 {
        let owner = owner(stack).await;
        let eve = stack.user_named("Eve").await;
        let before = state(&owner).await;
        let force = &admin_routes(owner.agent.id)[number];

        for user in [&eve, &owner.user] {
            let refused = force.on(stack).bearer(&user.token).await;
            assert_eq!(
                (refused.status().as_u16(), refused.field("code").as_str()),
                (403, "admin_required"),
                "{}",
                force.name()
            );
        }
        assert_eq!(state(&owner).await, before);
        let forced = force.on(stack).bearer(&root.token).await;

        assert_eq!(
            (forced.status().as_u16(), forced.field("status").as_str()),
            (200, "inactive"),
            "{forced}"
        );
        let keys: Vec<_> = forced.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys.join(" "), "details message status");
        assert!(!owner.runs());
        let connection = owner.connection().await;
        assert_eq!(
            (&connection["worker_status"], &connection["desired_status"]),
            (&json!("inactive"), &json!("inactive"))
        );
        let again = force.on(stack).bearer(&root.token).await;
        assert_eq!(again.field("message"), "Nothing to stop. Worker status: not active.");
        let nobodys = admin_routes(NOBODYS)[number].on(stack).bearer(&root.token).await;
        assert_eq!(nobodys.field("code"), "connection_missing", "{nobodys}");
    }
}

/// The answer to a caller of the wrong kind, to be told apart from others.
fn shown(answer: &Response) -> String {
    format!(
        "{} {} {}",
        answer.status().as_u16(),
        answer.field("code"),
        answer.field("message")
    )
}

#[tokio::test]
async fn nobody_and_machines_are_refused_where_users_are_expected() {
    let stack = Stack::shared().await;
    let owner = owner(stack).await;
    let toolbox = owner.user.toolbox().await;
    let worker = owner.worker();
    let before = state(&owner).await;
    let mut routes = routes(owner.agent.id, &owner.bot);
    routes.extend(admin_routes(owner.agent.id));

    let mut told = BTreeSet::new();
    for route in &routes {
        let answer = route.on(stack).await;
        assert_eq!(answer.status(), 401, "{}: {answer}", route.name());
        told.insert(format!("without a token: {}", shown(&answer)));
        for token in [
            "garbage",
            &toolbox.token,
            &worker.worker_token,
            stack.service_token(),
            &stack.worker_manager().token(),
            &owner.bot.token,
        ] {
            let answer = route.on(stack).bearer(token).await;
            assert_eq!(answer.status(), 401, "{}: {answer}", route.name());
            told.insert(format!("with another token: {}", shown(&answer)));
        }
    }

    assert_snapshot!(told.into_iter().collect::<Vec<_>>().join("\n"), @r#"
    with another token: 401 invalid_token Authentication failed
    without a token: 401 missing_token Missing or invalid authorization header
    "#);
    assert_eq!(state(&owner).await, before);
}

#[tokio::test]
async fn users_and_machines_are_refused_where_the_deployment_or_a_worker_is_expected() {
    let stack = Stack::shared().await;
    let owner = owner(stack).await;
    let (toolbox, root) = (owner.user.toolbox().await, admin(stack).await);
    let worker = owner.worker();
    let before = state(&owner).await;
    let manager = stack.worker_manager().token();
    let strangers = [
        "garbage",
        &toolbox.token,
        &owner.user.token,
        &root.token,
        &manager,
        &owner.bot.token,
    ];

    let mut told = BTreeSet::new();
    for route in service_routes(&owner) {
        let answer = route.on(stack).await;
        told.insert(format!("service, without a token: {}", shown(&answer)));
        for token in strangers.into_iter().chain([worker.worker_token.as_str()]) {
            let answer = route.on(stack).bearer(token).await;
            assert_eq!(answer.status(), 401, "{}: {answer}", route.name());
            told.insert(format!("service, with another token: {}", shown(&answer)));
        }
    }
    let report = json!({ "leaseId": worker.lease_id, "status": "inactive" });
    let report = route(Method::POST, format!("{MANAGE}/report"), report);
    let answer = report.on(stack).await;
    told.insert(format!("worker, without a token: {}", shown(&answer)));
    let unknown = format!("agt_wk_{}", "0".repeat(43));
    for token in strangers.into_iter().chain([stack.service_token(), unknown.as_str()]) {
        let answer = report.on(stack).bearer(token).await;
        assert_eq!(answer.status(), 401, "{answer}");
        told.insert(format!("worker, with another token: {}", shown(&answer)));
    }

    assert_snapshot!(told.into_iter().collect::<Vec<_>>().join("\n"), @r#"
    service, with another token: 401 invalid_token Authentication failed
    service, without a token: 401 missing_token Missing or invalid authorization header
    worker, with another token: 401 invalid_token Authentication failed
    worker, without a token: 401 missing_token Missing or invalid authorization header
    "#);
    assert_eq!(state(&owner).await, before);
}

#[tokio::test]
async fn a_worker_reports_for_itself_alone() {
    let stack = Stack::shared().await;
    let (owner, other) = (owner(stack).await, Owner::active(stack).await);
    let before = state(&owner).await;

    let body = json!({ "leaseId": owner.worker().lease_id, "status": "inactive" });
    let answer = stack
        .post(&format!("{MANAGE}/report"))
        .bearer(&other.worker().worker_token)
        .json(&body)
        .await;

    assert_eq!(
        (answer.status().as_u16(), answer.field("code").as_str()),
        (409, "lease_lost"),
        "{answer}"
    );
    assert_eq!(state(&owner).await, before);
    assert_eq!(other.status().await, "active");
}
