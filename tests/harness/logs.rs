//! What the components logged.

use std::sync::Arc;

use agentopia_host::MemoryLog;
use serde_json::Value;

/// The log of an application on our host; Spin keeps its own.
#[derive(Clone, Debug)]
pub(crate) struct Logs(pub(crate) Option<Arc<MemoryLog>>);

impl Logs {
    /// All lines of a component as they were written; `None` on Spin.
    pub(crate) fn lines(&self, component: &str) -> Option<Vec<String>> {
        self.0.as_ref().map(|log| log.lines(component))
    }

    /// The lines of a component about one request; `None` on Spin.
    pub(crate) fn of_request(&self, component: &str, request_id: &str) -> Option<Vec<Value>> {
        let lines = self.lines(component)?;
        let parsed = lines.iter().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("not a line of JSON: {line}: {error}"))
        });
        Some(
            parsed
                .filter(|line| line.get("request_id").and_then(Value::as_str) == Some(request_id))
                .collect(),
        )
    }
}
