//! The whole story of a toolbox, through HTTP: ordered, made, booted, given a tool, used by an agent, paused, emptied, and gone.

use agentopia_stack::worlds::toolbox_agents::{Container, ContainerState, Phase};
use agentopia_tests::{DEADLINE, Request, Stack, eventually, eventually_some};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::toolbelt_support::{AGENTS, FETCH, made};
use crate::toolbox_machines::{Ordered, TOOLBOXES, TOOLS, brisk, sweep};

/// The catalog's `github`.
const GITHUB: &str = "00000000-0000-4000-9000-000000000001";

/// What the agent signs in to GitHub with.
const SECRET: &str = "ghp_canary-of-the-story";

/// The tool instance of the story.
struct Tool<'a> {
    stack: &'a Stack,
    toolbox: &'a Ordered,
    id: Uuid,
}

impl Tool<'_> {
    fn request(&self, method: Method, rest: &str) -> Request {
        let path = format!("{TOOLS}/{}/tools/{}{rest}", self.toolbox.id, self.id);
        self.stack.request(method, &path).bearer(&self.toolbox.owner.token)
    }

    async fn command(&self, command: &str) {
        let response = self.request(Method::POST, &format!("/{command}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{command}: {response}");
    }

    /// Waits until its owner is shown this; heartbeats alone lead there.
    async fn until(&self, status: &str) -> Value {
        eventually_some(&format!("the tool is {status}"), DEADLINE, async || {
            let row = self.request(Method::GET, "").await.json();
            (row["status_on_toolbox"] == status).then_some(row)
        })
        .await
    }

    /// Its container, if there is one.
    fn container(&self) -> Option<Container> {
        let containers = self.stack.toolbox_agents().containers(self.toolbox.id);
        assert!(containers.len() <= 1, "{containers:?}");
        containers.into_iter().next()
    }
}

#[tokio::test]
async fn a_toolbox_lives_from_its_order_to_its_end() {
    let stack = &Stack::of_its_own(brisk()).await;
    let agents = stack.toolbox_agents();

    // It is ordered, and its owner has it at once.
    let toolbox = &Ordered::new(stack).await;
    let owner = &toolbox.owner;
    assert_eq!(toolbox.status(stack).await, "pending_provision");
    assert_eq!(stack.digitalocean().created_count(), 0);

    // A sweep has its machine made; the machine boots from what it was given, and becomes the toolbox.
    sweep(stack).await;
    let droplet = toolbox.droplets(stack).remove(0);
    assert_eq!(
        (droplet.region.as_str(), droplet.size.as_str()),
        ("fra1", "s-1vcpu-1gb")
    );
    assert_eq!(droplet.image, "ubuntu-22-04-x64");
    eventually("the machine has spoken", DEADLINE, async || {
        toolbox.status(stack).await == "active"
    })
    .await;
    toolbox.until_active(stack).await;
    toolbox.check_one_machine(stack, "booted").await;
    let row = toolbox.row(stack).await.unwrap();
    assert_eq!(row["public_ip_address"], droplet.public_ipv4.unwrap().to_string());
    assert_eq!(row["dtma_health_details_json"]["stand_in"], true);
    let token = agents.agent_of(toolbox.id).and_then(|agent| agent.token).unwrap();
    assert!(!row.to_string().contains(&token), "no row has the token");

    // A tool of the catalog is deployed, and runs as it was set up.
    let deployed = stack
        .post(&format!("{TOOLS}/{}/tools", toolbox.id))
        .bearer(&owner.token)
        .json(&json!({
            "toolCatalogId": GITHUB,
            "instanceNameOnToolbox": "github",
            "baseConfigOverrideJson": { "GITHUB_READ_ONLY": "1" },
        }))
        .await;
    assert_eq!(deployed.status(), StatusCode::CREATED, "{deployed}");
    assert_eq!(deployed.json()["status_on_toolbox"], "pending_deploy");
    let tool = Tool {
        stack,
        toolbox,
        id: deployed.field("id").parse().unwrap(),
    };
    tool.until("running").await;
    let container = tool.container().unwrap();
    assert_eq!(container.state, ContainerState::Running);
    assert_eq!((container.name.as_str(), container.instance_id), ("github", tool.id));
    assert_eq!(container.image, "ghcr.io/github/github-mcp-server:latest");
    assert_eq!(
        container.environment,
        [("GITHUB_READ_ONLY".to_owned(), "1".to_owned())].into()
    );

    // An agent is given the tool; what it may do with it is said for each capability.
    let agent = owner.agent("Atlas").await;
    let belt = |rest: &str| format!("{AGENTS}/{}/toolbelt/{rest}", agent.id);
    let post = |rest: &str, body: Value| stack.post(&belt(rest)).bearer(&owner.token).json(&body);
    let fetch = async |capability| {
        let fetched = agents
            .fetch_credentials(toolbox.id, agent.id, tool.id, capability)
            .await;
        fetched.unwrap()
    };
    let early = fetch(None).await;
    assert_eq!((early.status, early.code()), (404, Some("tool_not_available")));
    made(&post("toolbox-access", json!({ "account_tool_environment_id": toolbox.id })).await);
    let item = made(&post("items", json!({ "account_tool_instance_id": tool.id })).await);
    let without = fetch(None).await;
    assert_eq!((without.status, without.code()), (409, Some("credential_missing")));
    let credential = json!({ "credential_type": "github_token", "credential_value": SECRET });
    made(&post(&format!("items/{item}/credentials"), credential).await);

    // The toolbox fetches the secret when the agent uses the tool, for what the agent may do, and for nothing else.
    let denied = fetch(Some("list_issues")).await;
    let permission = json!({ "capability_name": "list_issues", "is_permitted": true });
    made(&post(&format!("items/{item}/permissions"), permission).await);
    let allowed = fetch(Some("list_issues")).await;
    let other = fetch(Some("get_me")).await;
    assert_eq!((denied.status, denied.code()), (403, Some("capability_denied")));
    assert_eq!((other.status, other.code()), (403, Some("capability_denied")));
    assert_eq!(
        (allowed.status, allowed.secret("GITHUB_PERSONAL_ACCESS_TOKEN")),
        (200, Some(SECRET))
    );

    // It is stopped, started anew, and mended when it has ended by itself.
    tool.command("stop").await;
    tool.until("stopped").await;
    assert_eq!(tool.container().unwrap().state, ContainerState::Stopped);
    tool.command("restart").await;
    tool.until("running").await;
    let restarted = tool.container().unwrap();
    assert_eq!(restarted.generation, container.generation + 1, "another container");
    assert!(agents.crash_container(toolbox.id, "github", 3));
    let failed = tool.until("error").await;
    assert_eq!(failed["instance_error_message"], "It ended with exit code 3.");
    tool.command("restart").await;
    tool.until("running").await;

    // The toolbox is paused, and all that runs on it with it; and goes on where it was.
    let paused = toolbox.request(stack, Method::POST, "/pause").await;
    assert_eq!(
        (paused.status(), paused.field("status").as_str()),
        (StatusCode::OK, "paused")
    );
    tool.until("stopped").await;
    assert!(agents.agent_of(toolbox.id).unwrap().is_paused);
    let resumed = toolbox.request(stack, Method::POST, "/resume").await;
    assert_eq!(
        (resumed.status(), resumed.field("status").as_str()),
        (StatusCode::OK, "active")
    );
    tool.until("running").await;

    // The tool is removed, and with it what agents had of it.
    let removed = tool.request(Method::DELETE, "").await;
    assert_eq!(removed.status(), StatusCode::OK, "{removed}");
    eventually("the tool is gone", DEADLINE, async || {
        tool.request(Method::GET, "").await.status() == StatusCode::NOT_FOUND
    })
    .await;
    assert_eq!(tool.container(), None);
    let items = stack.get(&belt("items")).bearer(&owner.token).await;
    assert_eq!(items.json(), json!([]));
    let kept = "SELECT count(*) FROM public.agent_tool_credentials WHERE user_id = $1";
    assert_eq!(
        stack.db().scalar::<i64>(kept, &[&owner.id]).await,
        0,
        "no credential is left"
    );
    assert_eq!(fetch(None).await.status, 404);

    // The toolbox is deleted, and its machine and its row are gone.
    toolbox.delete(stack).await;
    assert_eq!(toolbox.status(stack).await, "deprovisioning");
    toolbox.until_gone(stack).await;
    toolbox.check_no_machine(stack, "deleted").await;
    let body = json!({ "agentId": agent.id, "accountToolInstanceId": tool.id });
    let late = stack.post(FETCH).bearer(&token).json(&body).await;
    assert_eq!(late.status(), StatusCode::UNAUTHORIZED, "{late}");
    let listed = stack.get(TOOLBOXES).bearer(&owner.token).await;
    assert_eq!(listed.json(), json!([]));

    // There was one machine in all, and nobody has done anything odd.
    assert_eq!(stack.digitalocean().created_count(), 1);
    assert_eq!(stack.digitalocean().deleted(), [droplet.id]);
    let phases: Vec<_> = agents.agents().iter().map(|agent| agent.phase).collect();
    assert_eq!(phases, [Phase::Destroyed]);
    let complaints = [
        agents.complaints(),
        stack.digitalocean().complaints(),
        stack.discord().complaints(),
    ];
    assert_eq!(complaints.concat(), Vec::<String>::new());
    for component in [
        "toolboxes-user",
        "heartbeat",
        "agent-toolbelt",
        "get-agent-tool-credentials",
    ] {
        let lines = stack.log(component).unwrap_or_default();
        let secrets = [SECRET, &token, "agt_boot_"];
        let telling = lines
            .iter()
            .find(|line| secrets.iter().any(|secret| line.contains(secret)));
        assert_eq!(telling, None, "{component} logs a secret");
    }
}
