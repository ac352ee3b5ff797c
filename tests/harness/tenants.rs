//! Tenants of a test's own: users with tokens, their agents, teams and workspaces.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agentopia_stack::token::{Signer, UserClaims};
use serde_json::Value;
use uuid::Uuid;

use crate::stack::Base;

/// A person who signed up.
#[derive(Clone, Debug)]
pub struct User {
    base: Arc<Base>,
    /// The user's id.
    pub id: Uuid,
    /// The user's address.
    pub email: String,
    /// The display name.
    pub name: String,
    /// A token that proves who it is, good for an hour.
    pub token: String,
}

impl User {
    pub(crate) async fn sign_up(base: Arc<Base>, name: &str) -> Self {
        let row = base
            .db
            .rows(
                "INSERT INTO auth.users (id, email, raw_user_meta_data)
                 SELECT id, id || '@example.com', jsonb_build_object('full_name', $1::text)
                 FROM gen_random_uuid() AS id
                 RETURNING id, email",
                &[&name],
            )
            .await;
        let row = row.first().unwrap();
        let (id, email): (Uuid, String) = (row.get(0), row.get(1));
        let mut user = Self {
            base,
            id,
            email,
            name: name.to_owned(),
            token: String::new(),
        };
        user.token = user.signed_by(&Signer::hs256(&user.base.jwt_secret));
        user
    }

    /// What the user's token says, to be changed and signed otherwise.
    #[must_use]
    pub fn claims(&self) -> UserClaims {
        UserClaims::new(self.id, &self.email, Duration::from_secs(3600)).issued_by(self.base.jwks.issuer())
    }

    /// A token like the user's own, signed by another key.
    #[must_use]
    pub fn signed_by(&self, signer: &Signer) -> String {
        signer.sign(&self.claims()).unwrap()
    }

    /// An agent of the user's; awaiting it makes it.
    pub fn agent(&self, name: &str) -> AgentBuilder {
        AgentBuilder {
            owner: self.clone(),
            name: name.to_owned(),
            model: None,
            active: true,
            system_instructions: None,
            assistant_instructions: None,
            personality: None,
            temperature: None,
            max_output_tokens: None,
        }
    }

    /// A toolbox of the user's that is active, with a token.
    pub async fn toolbox(&self) -> Toolbox {
        let statement = "INSERT INTO public.account_tool_environments
                (user_id, name, status, region_slug, size_slug, token_hash)
            SELECT $1, 'Toolbox', 'active', 'fra1', 's-1vcpu-1gb', sha256($2::text::bytea)
            RETURNING id";
        let random: String = self
            .base
            .db
            .scalar(
                "SELECT encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64')",
                &[],
            )
            .await;
        let token = format!(
            "agt_tb_{}",
            random.trim_end_matches('=').replace('+', "-").replace('/', "_")
        );
        let id = self.base.db.insert(statement, &[&self.id, &token]).await;
        Toolbox { id, token }
    }

    /// A tool that is deployed on a toolbox of the user's, and should run.
    pub async fn tool_instance(&self, toolbox: &Toolbox, tool: &Tool) -> ToolInstance {
        let statement = "INSERT INTO public.account_tool_instances
                (user_id, account_tool_environment_id, tool_catalog_id, instance_name_on_toolbox, status_on_toolbox)
            VALUES ($1, $2, $3, 'tool-' || gen_random_uuid(), 'running')
            RETURNING id";
        let id = self.base.db.insert(statement, &[&self.id, &toolbox.id, &tool.id]).await;
        ToolInstance { id }
    }

    /// A workspace of the user's.
    pub async fn workspace(&self, name: &str) -> Workspace {
        let statement = "INSERT INTO public.workspaces (name, owner_user_id) VALUES ($1, $2) RETURNING id";
        let id = self.base.db.insert(statement, &[&name, &self.id]).await;
        Workspace {
            base: Arc::clone(&self.base),
            id,
        }
    }

    /// A team of the user's, without members.
    pub async fn team(&self, name: &str) -> Team {
        let statement = "INSERT INTO public.teams (name, owner_user_id) VALUES ($1, $2) RETURNING id";
        let id = self.base.db.insert(statement, &[&name, &self.id]).await;
        Team {
            base: Arc::clone(&self.base),
            id,
        }
    }
}

/// An agent that is being put together; awaiting it makes it.
#[must_use]
#[derive(Debug)]
pub struct AgentBuilder {
    owner: User,
    name: String,
    model: Option<String>,
    active: bool,
    system_instructions: Option<String>,
    assistant_instructions: Option<String>,
    personality: Option<String>,
    temperature: Option<f64>,
    max_output_tokens: Option<i32>,
}

impl AgentBuilder {
    /// The model that answers; one named after a fault of the stand-in misbehaves.
    pub fn model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    /// Switched off by its owner.
    pub fn inactive(mut self) -> Self {
        self.active = false;
        self
    }

    /// What it is told first.
    pub fn system_instructions(mut self, text: &str) -> Self {
        self.system_instructions = Some(text.to_owned());
        self
    }

    /// How it should answer.
    pub fn assistant_instructions(mut self, text: &str) -> Self {
        self.assistant_instructions = Some(text.to_owned());
        self
    }

    /// Its manner.
    pub fn personality(mut self, text: &str) -> Self {
        self.personality = Some(text.to_owned());
        self
    }

    /// The sampling temperature.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// The most tokens of an answer.
    pub fn max_output_tokens(mut self, tokens: i32) -> Self {
        self.max_output_tokens = Some(tokens);
        self
    }
}

impl IntoFuture for AgentBuilder {
    type Output = Agent;
    type IntoFuture = Pin<Box<dyn Future<Output = Agent> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let statement = "INSERT INTO public.agents (
                    user_id, name, model, active, system_instructions, assistant_instructions, personality, temperature,
                    max_output_tokens
                )
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8::float8, $9)
                RETURNING id";
            let id = self
                .owner
                .base
                .db
                .insert(
                    statement,
                    &[
                        &self.owner.id,
                        &self.name,
                        &self.model,
                        &self.active,
                        &self.system_instructions,
                        &self.assistant_instructions,
                        &self.personality,
                        &self.temperature,
                        &self.max_output_tokens,
                    ],
                )
                .await;
            Agent { id, name: self.name }
        })
    }
}

/// An agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The agent's id.
    pub id: Uuid,
    /// The display name.
    pub name: String,
}

/// A user's machine.
#[derive(Clone, Debug)]
pub struct Toolbox {
    /// The toolbox's id.
    pub id: Uuid,
    /// What its agent proves itself with.
    pub token: String,
}

/// A tool of the catalog.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The tool's id.
    pub id: Uuid,
}

impl Tool {
    pub(crate) async fn add(base: &Base, secrets: &Value, capabilities: &Value) -> Self {
        let statement = "INSERT INTO public.tool_catalog
                (tool_name, package_identifier, required_secrets_schema, required_capabilities_schema)
            VALUES ('tool-' || gen_random_uuid(), 'registry.example.com/tool', $1, $2)
            RETURNING id";
        let id = base.db.insert(statement, &[secrets, capabilities]).await;
        Self { id }
    }
}

/// A tool as it is deployed on a toolbox.
#[derive(Clone, Debug)]
pub struct ToolInstance {
    /// The instance's id.
    pub id: Uuid,
}

/// A team of people and agents.
#[derive(Clone, Debug)]
pub struct Team {
    base: Arc<Base>,
    /// The team's id.
    pub id: Uuid,
}

impl Team {
    /// Takes an agent in.
    pub async fn add_agent(&self, agent: &Agent) {
        let statement = "INSERT INTO public.team_members (team_id, agent_id) VALUES ($1, $2)";
        self.base.db.execute(statement, &[&self.id, &agent.id]).await;
    }

    /// Takes a user in.
    pub async fn add_user(&self, user: &User) {
        let statement = "INSERT INTO public.user_team_memberships (team_id, user_id) VALUES ($1, $2)";
        self.base.db.execute(statement, &[&self.id, &user.id]).await;
    }
}

/// A workspace.
#[derive(Clone, Debug)]
pub struct Workspace {
    base: Arc<Base>,
    /// The workspace's id.
    pub id: Uuid,
}

impl Workspace {
    /// Takes a user in.
    pub async fn add_user(&self, user: &User) {
        let statement = "INSERT INTO public.workspace_members (workspace_id, user_id) VALUES ($1, $2)";
        self.base.db.execute(statement, &[&self.id, &user.id]).await;
    }

    /// Lets a user go.
    pub async fn remove_user(&self, user: &User) {
        let statement = "DELETE FROM public.workspace_members WHERE workspace_id = $1 AND user_id = $2";
        assert_eq!(self.base.db.execute(statement, &[&self.id, &user.id]).await, 1);
    }

    /// Takes an agent in.
    pub async fn add_agent(&self, agent: &Agent) {
        let statement = "INSERT INTO public.workspace_members (workspace_id, agent_id) VALUES ($1, $2)";
        self.base.db.execute(statement, &[&self.id, &agent.id]).await;
    }

    /// Takes a team in, with all who are in it.
    pub async fn add_team(&self, team: &Team) {
        let statement = "INSERT INTO public.workspace_members (workspace_id, team_id) VALUES ($1, $2)";
        self.base.db.execute(statement, &[&self.id, &team.id]).await;
    }

    /// A new channel.
    pub async fn channel(&self, name: &str) -> Channel {
        let statement = "INSERT INTO public.chat_channels (workspace_id, name) VALUES ($1, $2) RETURNING id";
        Channel {
            id: self.base.db.insert(statement, &[&self.id, &name]).await,
        }
    }
}

/// A channel of a workspace.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The channel's id.
    pub id: Uuid,
}
