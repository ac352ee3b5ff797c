//! What the worker manager runs and nobody wants: workers of agents that are gone, or whose stop it never heard of.

use std::sync::atomic::{AtomicUsize, Ordering};

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_workers;
use agentopia_platform::log::Level;
use agentopia_platform::{RequestContext, serve};
use futures::{StreamExt, stream};

use super::{AT_ONCE, BEGIN_WITHIN};
use crate::app::App;
use crate::worker;

/// Agents that are looked up in one statement.
const LOOKED_UP_AT_ONCE: usize = 500;
/// Workers that are stopped in one sweep.
const STOPPED_PER_SWEEP: usize = 50;
/// How PM2, by which managers run workers, calls what does not run: it is listed all the same.
const ENDED: [&str; 2] = ["stopped", "errored"];

/// Stops what nobody wants. How many that were; what fails is in the log, and the next sweep tries again.
pub(super) async fn stop(app: &App, context: &RequestContext) -> usize {
    let unwanted = find(app, context).await;
    let stopped = AtomicUsize::new(0);
    stream::iter(unwanted.into_iter().take(STOPPED_PER_SWEEP))
        .for_each_concurrent(AT_ONCE, |agent_id| stop_one(app, context, agent_id, &stopped))
        .await;
    stopped.into_inner()
}

async fn stop_one(app: &App, context: &RequestContext, agent_id: AgentId, stopped: &AtomicUsize) {
    // One may have been started since it was listed.
    let is_unwanted = || async { !compare(app, context, &[agent_id]).await.is_empty() };
    if context.elapsed() > BEGIN_WITHIN || !is_unwanted().await {
        return;
    }
    match worker::stop_at_manager(app, context, agent_id, None, is_unwanted).await {
        Ok(_) => {
            stopped.fetch_add(1, Ordering::Relaxed);
            context
                .line(Level::Info, "unwanted_worker_stopped")
                .with("agent", agent_id.to_string())
                .emit();
        }
        Err(error) => worker::note(context, "worker_not_stopped", agent_id, &error),
    }
}

async fn find(app: &App, context: &RequestContext) -> Vec<AgentId> {
    let Some(manager) = &app.manager else {
        return Vec::new();
    };
    let listed = match manager.list(context).await {
        Ok(listed) => listed,
        Err(error) => {
            serve::log_best_effort(context, "workers_not_listed", Err(error));
            return Vec::new();
        }
    };
    let running: Vec<AgentId> = listed
        .into_iter()
        .filter(|worker| !ENDED.contains(&worker.status.as_str()))
        .map(|worker| worker.agent_id)
        .collect();

    let mut unwanted = Vec::new();
    for agent_ids in running.chunks(LOOKED_UP_AT_ONCE) {
        unwanted.extend(compare(app, context, agent_ids).await);
    }
    unwanted
}

/// Those whose workers nobody wants; none if that cannot be told.
async fn compare(app: &App, context: &RequestContext, agent_ids: &[AgentId]) -> Vec<AgentId> {
    match discord_workers::find_unwanted_workers(&app.db, context, agent_ids.to_vec()).await {
        Ok(unwanted) => unwanted,
        Err(error) => {
            serve::log_best_effort(context, "workers_not_compared", Err(error));
            Vec::new()
        }
    }
}
