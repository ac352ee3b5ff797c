//! What the tests of `heartbeat` have in common.

use agentopia_tests::{Request, Stack, Toolbox};
use serde_json::Value;
use uuid::Uuid;

/// Where toolboxes report.
pub(crate) const HEARTBEAT: &str = "/functions/v1/heartbeat";

/// Where the agents before ours report.
pub(crate) const OLD_HEARTBEAT: &str = "/functions/v1/dtma/heartbeat";

/// A report of a toolbox.
pub(crate) fn beat(stack: &Stack, toolbox: &Toolbox, report: &Value) -> Request {
    stack.post(HEARTBEAT).bearer(&toolbox.token).json(report)
}

/// One column of a toolbox, as text.
pub(crate) async fn toolbox(stack: &Stack, id: Uuid, column: &str) -> Option<String> {
    let statement = format!("SELECT {column}::text FROM public.account_tool_environments WHERE id = $1");
    stack.db().scalar(&statement, &[&id]).await
}

/// One column of a tool instance, as text.
pub(crate) async fn instance(stack: &Stack, id: Uuid, column: &str) -> Option<String> {
    let statement = format!("SELECT {column}::text FROM public.account_tool_instances WHERE id = $1");
    stack.db().scalar(&statement, &[&id]).await
}
