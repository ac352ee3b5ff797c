//! What the tests of `agent-toolbelt` and `get-agent-tool-credentials` have in common.

use std::fmt::Write as _;

use agentopia_tests::{Agent, Request, Response, Stack, Tool, ToolInstance, Toolbox, User};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// Where agents' toolbelts are.
pub(crate) const AGENTS: &str = "/functions/v1/agent-toolbelt/agents";

/// Where toolboxes fetch credentials.
pub(crate) const FETCH: &str = "/functions/v1/get-agent-tool-credentials";

/// An id that nothing has.
pub(crate) const NOBODYS: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_00ff);

/// The tables of toolbelts.
pub(crate) const TABLES: [&str; 4] = [
    "agent_toolbox_access",
    "agent_toolbelt_items",
    "agent_tool_credentials",
    "agent_tool_capability_permissions",
];

/// A user with an agent that has a tool in its toolbelt, on a toolbox of theirs. It asks for an API key and takes a region; it can read, and write
/// after an approval.
pub(crate) struct Belt<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) user: User,
    pub(crate) agent: Agent,
    pub(crate) toolbox: Toolbox,
    pub(crate) tool: Tool,
    pub(crate) instance: ToolInstance,
    pub(crate) access: Uuid,
    pub(crate) item: Uuid,
}

impl<'a> Belt<'a> {
    /// A toolbelt of a new user.
    pub(crate) async fn new(stack: &'a Stack) -> Self {
        Self::of(stack, stack.user().await).await
    }

    /// A toolbelt of a user, put together as a client does it.
    pub(crate) async fn of(stack: &'a Stack, user: User) -> Self {
        let agent = user.agent("Atlas").await;
        let toolbox = user.toolbox().await;
        let tool = stack
            .tool(
                &json!([
                    { "name": "API key", "env_var_name": "API_KEY", "type": "api_key" },
                    { "name": "Region", "env_var_name": "REGION", "optional": true },
                ]),
                &json!([{ "name": "read" }, { "name": "write", "requires_approval": true }]),
            )
            .await;
        let instance = user.tool_instance(&toolbox, &tool).await;
        let mut belt = Self {
            stack,
            user,
            agent,
            toolbox,
            tool,
            instance,
            access: NOBODYS,
            item: NOBODYS,
        };
        belt.access = belt.grant(&belt.toolbox).await;
        belt.item = belt.put_in(&belt.instance).await;
        belt
    }

    /// Gives the agent access to a toolbox.
    pub(crate) async fn grant(&self, toolbox: &Toolbox) -> Uuid {
        let body = json!({ "account_tool_environment_id": toolbox.id });
        made(&self.post("toolbox-access", &body).await)
    }

    /// Puts another tool into the toolbelt.
    pub(crate) async fn put_in(&self, instance: &ToolInstance) -> Uuid {
        made(
            &self
                .post("items", &json!({ "account_tool_instance_id": instance.id }))
                .await,
        )
    }

    /// Stores a credential for the tool.
    pub(crate) async fn store(&self, credential_type: &str, value: &Value) -> Uuid {
        let body = json!({ "credential_type": credential_type, "credential_value": value });
        made(&self.post(&self.of_item("credentials"), &body).await)
    }

    /// Says what the agent may do.
    pub(crate) async fn permit(&self, capability: &str, permitted: bool) -> Uuid {
        let body = json!({ "capability_name": capability, "is_permitted": permitted });
        made(&self.post(&self.of_item("permissions"), &body).await)
    }

    /// What is below the item.
    pub(crate) fn of_item(&self, rest: &str) -> String {
        format!("items/{}/{rest}", self.item)
    }

    /// A request of the owner about the agent.
    pub(crate) fn request(&self, method: Method, rest: &str) -> Request {
        let path = format!("{AGENTS}/{}/toolbelt/{rest}", self.agent.id);
        self.stack.request(method, &path).bearer(&self.user.token)
    }

    pub(crate) fn post(&self, rest: &str, body: &Value) -> Request {
        self.request(Method::POST, rest).json(body)
    }

    pub(crate) fn put(&self, rest: &str, body: &Value) -> Request {
        self.request(Method::PUT, rest).json(body)
    }

    pub(crate) fn patch(&self, rest: &str, body: &Value) -> Request {
        self.request(Method::PATCH, rest).json(body)
    }

    pub(crate) fn get(&self, rest: &str) -> Request {
        self.request(Method::GET, rest)
    }

    pub(crate) fn delete(&self, rest: &str) -> Request {
        self.request(Method::DELETE, rest)
    }

    /// What the toolbox asks for when the agent uses the tool.
    pub(crate) fn fetch(&self) -> Request {
        self.fetch_from(self.stack)
    }

    /// The same, asked of another application on the same database.
    pub(crate) fn fetch_from(&self, stack: &Stack) -> Request {
        let body = json!({ "agentId": self.agent.id, "accountToolInstanceId": self.instance.id });
        stack.post(FETCH).bearer(&self.toolbox.token).json(&body)
    }

    /// All that is stored of the owner's toolbelts, as text.
    pub(crate) async fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in TABLES {
            let statement = format!("SELECT t::text FROM public.{table} AS t WHERE t.user_id = $1 ORDER BY 1");
            rows.extend(self.stack.db().column::<String>(&statement, &[&self.user.id]).await);
        }
        rows
    }
}

/// The id of what was made.
pub(crate) fn made(response: &Response) -> Uuid {
    assert_eq!(response.status(), 201, "{response}");
    response.field("id").parse().unwrap()
}

/// Sends a request for each case, and lists the answers.
pub(crate) async fn answers(cases: impl IntoIterator<Item = (&str, Request)>) -> String {
    let mut answers = String::new();
    for (name, request) in cases {
        writeln!(answers, "[{name}]\n{}", request.await).unwrap();
    }
    answers
}
