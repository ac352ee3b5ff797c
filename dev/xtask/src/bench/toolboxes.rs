//! Toolboxes to measure with, straight in the benchmark's own database.

use agentopia_stack::demo;
use tokio_postgres::Client;
use uuid::Uuid;

/// How many speak: enough for plans as they are with many, and for each row to have rest between two heartbeats.
pub(crate) const TOOLBOXES: usize = 1_600;

/// A toolbox that speaks, and what is deployed on it.
pub(crate) struct Toolbox {
    pub(crate) id: Uuid,
    pub(crate) token: String,
    /// What stands for it in the database, in hexadecimal digits.
    pub(crate) token_hash: String,
    pub(crate) instances: Vec<Uuid>,
}

/// Removes all toolboxes, and what is due for them.
pub(crate) async fn clear(database: &Client) -> anyhow::Result<()> {
    database
        .batch_execute(
            "TRUNCATE public.account_tool_environments, app.toolbox_flips, app.alerts, app.alert_destinations, app.jobs, \
                 app.machine_attempts, app.rate_limits CASCADE",
        )
        .await?;
    Ok(())
}

/// Adds active toolboxes of the first demo user, each with instances of `tools` tools of the catalog.
pub(crate) async fn add(database: &Client, tools: i64) -> anyhow::Result<Vec<Toolbox>> {
    let mut toolboxes = Vec::new();
    for position in 0..TOOLBOXES {
        let token = format!("agt_tb_{:0>43}", format!("{tools}-{position}"));
        let row = database
            .query_one(
                "INSERT INTO public.account_tool_environments (user_id, name, status, region_slug, size_slug, token_hash)
                 VALUES ($1, 'Toolbox', 'active', 'fra1', 's-1vcpu-1gb', sha256($2::text::bytea))
                 RETURNING id, encode(token_hash, 'hex')",
                &[&demo::ADA.id, &token],
            )
            .await?;
        let (id, token_hash) = (row.get(0), row.get(1));
        let instances = database
            .query(
                "INSERT INTO public.account_tool_instances
                     (user_id, account_tool_environment_id, tool_catalog_id, instance_name_on_toolbox)
                 SELECT $1, $2, tool.id, tool.tool_name
                 FROM (SELECT id, tool_name FROM public.tool_catalog ORDER BY tool_name LIMIT $3) AS tool
                 RETURNING id",
                &[&demo::ADA.id, &id, &tools],
            )
            .await?;
        toolboxes.push(Toolbox {
            id,
            token,
            token_hash,
            instances: instances.iter().map(|row| row.get(0)).collect(),
        });
    }
    Ok(toolboxes)
}

/// Tells the planner what is there.
pub(crate) async fn analyze(database: &Client) -> anyhow::Result<()> {
    // One by one: several in one message would be one transaction.
    for table in [
        "public.account_tool_environments",
        "public.account_tool_instances",
        "public.agent_toolbelt_items",
        "public.agent_tool_credentials",
        "app.toolbox_flips",
        "app.alert_destinations",
        "auth.users",
    ] {
        database.batch_execute(&format!("VACUUM ANALYZE {table}")).await?;
    }
    Ok(())
}
