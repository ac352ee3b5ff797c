//! What it costs that a toolbox fetches the credentials of an agent's tool.

use agentopia_domain::ids::{AgentId, CredentialId, ToolbeltItemId, UserId};
use agentopia_domain::secrets::{Keyring, NONCE_BYTES, SealContext};
use agentopia_stack::demo;
use anyhow::Context;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::comparison::{CALLERS, Comparison};
use super::load;
use super::setup::{Bench, DURATION, NO_LIMIT};
use super::statement::connect;
use super::toolboxes::{self, TOOLBOXES, Toolbox};

const CAPABILITY: &str = "run";
/// The variables that the tool asks for, which are named as their credentials' types.
const VARIABLES: [&str; 2] = ["API_KEY", "API_SECRET"];

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    println!(
        "\ncredentials: POST /functions/v1/get-agent-tool-credentials, {CALLERS} connections for {TOOLBOXES} toolboxes, {} s each",
        DURATION.as_secs()
    );
    let database = connect(bench.postgres.admin_url()).await?;
    let keyring = Keyring::parse(bench.postgres.secrets().credential_keyring())?;
    toolboxes::clear(&database).await?;
    let toolboxes = toolboxes::add(&database, 0).await?;
    let mut instances = Vec::new();
    for toolbox in &toolboxes {
        instances.push(equip(&database, &keyring, toolbox).await?);
    }
    toolboxes::analyze(&database).await?;

    let comparison = comparison(&toolboxes, &instances)?;
    tokio::task::block_in_place(|| comparison.measure(bench, "two credentials, for a capability that is allowed"))
}

fn comparison(toolboxes: &[Toolbox], instances: &[Uuid]) -> anyhow::Result<Comparison> {
    let asked = || toolboxes.iter().zip(instances);
    let requests = asked().map(|(toolbox, instance)| {
        let body = json!({ "agentId": demo::ATLAS, "accountToolInstanceId": instance, "capabilityName": CAPABILITY });
        load::post("/functions/v1/get-agent-tool-credentials", &toolbox.token, &body)
    });
    let inputs = asked().map(|(toolbox, instance)| {
        json!({
            "token_hash": toolbox.token_hash, "agent_id": demo::ATLAS, "instance_id": instance,
            "capability": CAPABILITY, "per_minute": NO_LIMIT, "burst": NO_LIMIT,
        })
    });
    Ok(Comparison {
        component: "get-agent-tool-credentials",
        health: "/functions/v1/get-agent-tool-credentials/health",
        operation: "release_credentials",
        inputs: inputs.collect(),
        requests: requests.collect::<anyhow::Result<_>>()?,
    })
}

/// Deploys a tool that needs credentials, and gives it with them to the demo user's agent.
async fn equip(database: &Client, keyring: &Keyring, toolbox: &Toolbox) -> anyhow::Result<Uuid> {
    let secrets = VARIABLES.map(|name| json!({ "name": name, "env_var_name": name, "type": name }));
    let row = database
        .query_one(
            "WITH tool AS (
                 INSERT INTO public.tool_catalog
                     (tool_name, package_identifier, is_public, required_secrets_schema, required_capabilities_schema)
                 VALUES ('benchmark', 'registry.example.com/benchmark', false, $4, $5)
                 ON CONFLICT (tool_name) DO UPDATE
                 SET required_secrets_schema = excluded.required_secrets_schema
                 RETURNING id
             ),
             instance AS (
                 INSERT INTO public.account_tool_instances
                     (user_id, account_tool_environment_id, tool_catalog_id, instance_name_on_toolbox)
                 SELECT $1, $2, tool.id, 'benchmark'
                 FROM tool
                 RETURNING id
             ),
             access AS (
                 INSERT INTO public.agent_toolbox_access (user_id, agent_id, account_tool_environment_id)
                 VALUES ($1, $3, $2)
             )
             INSERT INTO public.agent_toolbelt_items
                 (user_id, agent_id, account_tool_instance_id, account_tool_environment_id)
             SELECT $1, $3, instance.id, $2
             FROM instance
             RETURNING id, account_tool_instance_id",
            &[
                &demo::ADA.id,
                &toolbox.id,
                &demo::ATLAS,
                &json!(secrets),
                &json!([{ "name": CAPABILITY }]),
            ],
        )
        .await?;
    let (item, instance): (Uuid, Uuid) = (row.get(0), row.get(1));
    database
        .execute(
            "INSERT INTO public.agent_tool_capability_permissions
                 (user_id, agent_toolbelt_item_id, capability_name, is_allowed)
             VALUES ($1, $2, $3, true)",
            &[&demo::ADA.id, &item, &CAPABILITY],
        )
        .await?;
    for variable in VARIABLES {
        let id: Uuid = database.query_one("SELECT gen_random_uuid()", &[]).await?.get(0);
        let for_whom = SealContext {
            user_id: UserId(demo::ADA.id),
            agent_id: AgentId(demo::ATLAS),
            item_id: ToolbeltItemId(item),
            credential_id: CredentialId(id),
        };
        let sealed = keyring.seal(&for_whom, b"a secret of about the usual length, such as this", nonce()?)?;
        database
            .execute(
                "INSERT INTO public.agent_tool_credentials
                     (id, user_id, agent_toolbelt_item_id, credential_type, encrypted_credentials, key_id)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                &[&id, &demo::ADA.id, &item, &variable, &sealed, &keyring.newest_id()],
            )
            .await?;
    }
    Ok(instance)
}

/// Random bytes for one seal.
pub(crate) fn nonce() -> anyhow::Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).context("the system gives no randomness")?;
    Ok(nonce)
}
