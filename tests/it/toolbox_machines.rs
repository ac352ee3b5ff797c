//! What the tests of toolboxes' machines have in common: toolboxes that were asked for over HTTP, sweeps, and time that is moved instead of waited for.

use std::time::Duration;

use agentopia_stack::worlds::digitalocean::{Droplet, Received};
use agentopia_stack::worlds::toolbox_agents::Phase;
use agentopia_tests::{DEADLINE, Request, Stack, StackOptions, User, eventually, eventually_some};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Where toolboxes are.
pub(crate) const TOOLBOXES: &str = "/functions/v1/toolboxes-user";

/// Where their tools are.
pub(crate) const TOOLS: &str = "/functions/v1/toolbox-tools";

/// Where the schedule has everything noticed and done.
pub(crate) const SWEEP: &str = "/functions/v1/heartbeat/sweep";

/// Where owners say where they are told.
pub(crate) const ALERTS: &str = "/functions/v1/heartbeat/alerts";

/// An application that takes as many reports as the stand-in's agents send.
pub(crate) fn patient() -> StackOptions {
    StackOptions::default()
        .set("heartbeats_per_minute", 6000)
        .set("heartbeats_burst", 1000)
}

/// One that does not wait long for a provider that is silent.
pub(crate) fn brisk() -> StackOptions {
    patient()
        .set("digitalocean_first_byte_timeout_ms", 1500)
        .set("discord_first_byte_timeout_ms", 1500)
}

/// The stack of the tests that break single calls and nothing as a whole. Apart from the shared one: what hangs here holds up no sweep of
/// theirs.
pub(crate) async fn stack() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK.get_or_init(|| Stack::of_its_own(brisk())).await
}

/// A toolbox that its owner asked for.
pub(crate) struct Ordered {
    pub(crate) owner: User,
    pub(crate) id: Uuid,
}

impl Ordered {
    /// The toolbox of a new user, asked for and nothing more. What runs on its machine is played.
    pub(crate) async fn new(stack: &Stack) -> Self {
        let owner = stack.user().await;
        stack.toolbox_agents().play(owner.id);
        let response = stack
            .post(TOOLBOXES)
            .bearer(&owner.token)
            .json(&json!({ "name": "Box", "regionSlug": "fra1", "sizeSlug": "s-1vcpu-1gb" }))
            .await;
        assert_eq!(response.status(), StatusCode::CREATED, "{response}");
        let id = response.field("id").parse().unwrap();
        Self { owner, id }
    }

    /// The toolbox of a new user, with a machine that speaks.
    pub(crate) async fn active(stack: &Stack) -> Self {
        let ordered = Self::new(stack).await;
        ordered.until_active(stack).await;
        ordered
    }

    /// What binds its machine to it and its owner.
    pub(crate) fn tag(&self) -> String {
        format!("agentopia:tb:{}:{}", self.id, self.owner.id)
    }

    /// Its droplets.
    pub(crate) fn droplets(&self, stack: &Stack) -> Vec<Droplet> {
        stack.digitalocean().droplets_tagged(&self.tag())
    }

    /// How many droplets were ever made for it.
    pub(crate) fn created(&self, stack: &Stack) -> usize {
        stack.digitalocean().created_tagged(&self.tag())
    }

    /// A request of its owner about it.
    pub(crate) fn request(&self, stack: &Stack, method: Method, rest: &str) -> Request {
        let path = format!("{TOOLBOXES}/{}{rest}", self.id);
        stack.request(method, &path).bearer(&self.owner.token)
    }

    /// As its owner sees it; `None` if it is gone.
    pub(crate) async fn row(&self, stack: &Stack) -> Option<Value> {
        let response = self.request(stack, Method::GET, "").await;
        if response.status() == StatusCode::NOT_FOUND {
            return None;
        }
        assert_eq!(response.status(), StatusCode::OK, "{response}");
        Some(response.json())
    }

    /// Its status; `gone` if it is.
    pub(crate) async fn status(&self, stack: &Stack) -> String {
        match self.row(stack).await {
            Some(row) => row["status"].as_str().unwrap().to_owned(),
            None => "gone".to_owned(),
        }
    }

    /// What its owner is told of what hinders it.
    pub(crate) async fn message(&self, stack: &Stack) -> Option<String> {
        let row = self.row(stack).await?;
        row["provisioning_error_message"].as_str().map(str::to_owned)
    }

    /// Asks for its end.
    pub(crate) async fn delete(&self, stack: &Stack) {
        let response = self.request(stack, Method::DELETE, "").await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{response}");
    }

    /// Asks for another machine.
    pub(crate) async fn redeploy(&self, stack: &Stack) {
        let response = self.request(stack, Method::POST, "/redeploy").await;
        assert_eq!(response.status(), StatusCode::OK, "{response}");
    }

    /// Has its machine looked at by the next sweep, whenever it would be.
    pub(crate) async fn make_due(&self, stack: &Stack) {
        let statement = "UPDATE app.jobs SET run_after = clock_timestamp()
            WHERE kind = 'toolbox_machine' AND key = $1 AND outcome IS NULL AND lease_id IS NULL";
        stack.db().execute(statement, &[&self.id.to_string()]).await;
        let unpause = "UPDATE app.sweep_state SET provider_paused_until = NULL WHERE provider_paused_until IS NOT NULL";
        stack.db().execute(unpause, &[]).await;
    }

    /// Ends the lease of whoever has died over its machine.
    pub(crate) async fn end_lease(&self, stack: &Stack) {
        let statement = "UPDATE app.jobs SET lease_expires_at = clock_timestamp()
            WHERE kind = 'toolbox_machine' AND key = $1 AND lease_id IS NOT NULL";
        stack.db().execute(statement, &[&self.id.to_string()]).await;
        self.make_due(stack).await;
    }

    /// Lets two minutes pass for what was asked for without an answer.
    pub(crate) async fn let_settle(&self, stack: &Stack) {
        for statement in [
            "UPDATE app.machine_attempts SET started_at = started_at - interval '2 minutes' WHERE toolbox_id = $1",
            "UPDATE public.account_tool_environments
             SET provision_requested_at = provision_requested_at - interval '2 minutes' WHERE id = $1",
        ] {
            stack.db().execute(statement, &[&self.id]).await;
        }
    }

    /// Sweeps, without the pauses between, until a condition holds.
    pub(crate) async fn sweep_until(&self, stack: &Stack, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        eventually(what, DEADLINE, async || {
            if condition().await {
                return true;
            }
            self.make_due(stack).await;
            sweep(stack).await;
            condition().await
        })
        .await;
    }

    /// Sweeps until it has a status.
    pub(crate) async fn sweep_until_status(&self, stack: &Stack, status: &str) {
        let last = std::cell::RefCell::new(String::new());
        let what = format!("{} is {status}", self.id);
        self.sweep_until(stack, &what, async || {
            let now = self.status(stack).await;
            let is_there = now == status;
            last.replace(now);
            is_there
        })
        .await;
    }

    /// Sweeps until its machine speaks, and all of that is recorded.
    pub(crate) async fn until_active(&self, stack: &Stack) {
        self.sweep_until(stack, "a machine that speaks and is recorded", async || {
            let row = self.row(stack).await.unwrap();
            row["status"] == "active" && row["public_ip_address"].is_string() && row["do_droplet_id"].is_u64()
        })
        .await;
    }

    /// Sweeps until nothing is left of it.
    pub(crate) async fn until_gone(&self, stack: &Stack) {
        self.sweep_until(stack, "nothing is left of the toolbox", async || {
            self.status(stack).await == "gone" && self.is_settled(stack).await
        })
        .await;
    }

    /// Whether nothing is left to do about its machine.
    pub(crate) async fn is_settled(&self, stack: &Stack) -> bool {
        let statement = "SELECT count(*) FROM app.jobs WHERE kind = 'toolbox_machine' AND key = $1 AND outcome IS NULL";
        stack.db().scalar::<i64>(statement, &[&self.id.to_string()]).await == 0
    }

    /// Its one machine is there, is the one that is recorded, and speaks; and so it stays, however often it is looked at.
    pub(crate) async fn check_one_machine(&self, stack: &Stack, case: &str) {
        let droplets = self.droplets(stack);
        assert_eq!(droplets.len(), 1, "{case}: one droplet");
        let row = self.row(stack).await.unwrap();
        assert_eq!(row["status"], "active", "{case}");
        assert_eq!(row["do_droplet_id"], droplets[0].id, "{case}: {row}");
        let open = "SELECT droplet_id FROM app.machine_attempts WHERE toolbox_id = $1 AND ended_at IS NULL";
        let attempts: Vec<Option<i64>> = stack.db().column(open, &[&self.id]).await;
        assert_eq!(attempts, [i64::try_from(droplets[0].id).ok()], "{case}");
        let agent = stack.toolbox_agents().agent_of(self.id).unwrap();
        assert_eq!(
            (agent.droplet_id, agent.phase),
            (droplets[0].id, Phase::Reporting),
            "{case}"
        );
    }

    /// Nothing is left of it, anywhere.
    pub(crate) async fn check_no_machine(&self, stack: &Stack, case: &str) {
        assert_eq!(self.droplets(stack), [], "{case}: no droplet");
        let open = "SELECT count(*) FROM app.machine_attempts WHERE toolbox_id = $1 AND ended_at IS NULL";
        assert_eq!(
            stack.db().scalar::<i64>(open, &[&self.id]).await,
            0,
            "{case}: no attempt"
        );
        eventually("its agent has ended with it", DEADLINE, async || {
            stack.toolbox_agents().agent_of(self.id).is_none()
        })
        .await;
    }
}

/// Does what the schedule does, and returns what came of it.
pub(crate) async fn sweep(stack: &Stack) -> Value {
    let response = sweeping(stack).await;
    assert_eq!(response.status(), StatusCode::OK, "{response}");
    response.json()
}

/// The schedule's request.
pub(crate) fn sweeping(stack: &Stack) -> Request {
    stack.post(SWEEP).bearer(stack.service_token())
}

/// Sweeps until a call of this method and path hangs at the provider, and ends the application over it, as the death of its process would. Another
/// is in its place then.
pub(crate) async fn die_over(stack: Stack, method: &str, path: &str) -> Stack {
    let is_meant = |request: &Received| request.method == method && request.path.starts_with(path);
    let before = stack.digitalocean().requests().len();
    let swept = tokio::spawn(sweeping(&stack).attempt());
    eventually(&format!("{method} {path} at the provider"), DEADLINE, async || {
        stack.digitalocean().requests().iter().skip(before).any(is_meant)
    })
    .await;

    let stack = stack.restart(patient()).await;
    assert!(swept.await.unwrap().is_err(), "the sweep has died");
    stack
}

/// When the job of a kind and key is due, from now on; `None` if there is none.
pub(crate) async fn due_in(stack: &Stack, kind: &str, key: &str) -> Option<Duration> {
    let statement = "SELECT extract(epoch FROM run_after - clock_timestamp())::float8 FROM app.jobs
        WHERE kind = $1 AND key = $2 AND outcome IS NULL AND lease_id IS NULL";
    let seconds: Option<f64> = stack.db().column(statement, &[&kind, &key]).await.pop();
    seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))
}

/// When the toolbox's machine is looked at next, once nobody is at it.
pub(crate) async fn machine_due_in(stack: &Stack, toolbox: &Ordered) -> Duration {
    eventually_some("the machine's job is left", DEADLINE, async || {
        due_in(stack, "toolbox_machine", &toolbox.id.to_string()).await
    })
    .await
}
