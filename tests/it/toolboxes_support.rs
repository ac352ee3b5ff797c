//! What the tests of `toolboxes-user` have in common.

use agentopia_tests::{Request, Response, Stack, StackOptions, Toolbox, User};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::toolbox_machines::{TOOLBOXES, TOOLS};

/// The catalog's `github`, which takes a host, a mode and a list of toolsets.
pub(crate) const GITHUB: &str = "00000000-0000-4000-9000-000000000001";

/// The catalog's `fetch`, which takes no configuration.
pub(crate) const FETCH: &str = "00000000-0000-4000-9000-000000000004";

/// The catalog's `grafana`, which does not work without an address.
pub(crate) const GRAFANA: &str = "00000000-0000-4000-9000-000000000006";

/// A stack on which nothing sweeps: what is asked for stays asked for.
pub(crate) async fn stack() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK.get_or_init(|| Stack::of_its_own(StackOptions::default())).await
}

/// A request of a user about toolboxes; `rest` follows the route.
pub(crate) fn about(stack: &Stack, user: &User, method: Method, rest: &str) -> Request {
    stack.request(method, &format!("{TOOLBOXES}{rest}")).bearer(&user.token)
}

/// A request of a user about the tools of a toolbox.
pub(crate) fn about_tools(stack: &Stack, user: &User, toolbox: Uuid, method: Method, rest: &str) -> Request {
    let path = format!("{TOOLS}/{toolbox}/tools{rest}");
    stack.request(method, &path).bearer(&user.token)
}

/// A request for a toolbox.
pub(crate) fn order(stack: &Stack, user: &User, body: &Value) -> Request {
    about(stack, user, Method::POST, "").json(body)
}

/// What it takes to order a toolbox.
pub(crate) fn wanted(name: &str) -> Value {
    json!({ "name": name, "regionSlug": "fra1", "sizeSlug": "s-1vcpu-1gb" })
}

/// Puts a tool on a toolbox.
pub(crate) async fn deploy(stack: &Stack, user: &User, toolbox: &Toolbox, catalog: &str, name: &str) -> Response {
    let body = json!({ "toolCatalogId": catalog, "instanceNameOnToolbox": name });
    let response = about_tools(stack, user, toolbox.id, Method::POST, "").json(&body).await;
    assert_eq!(response.status(), 201, "{response}");
    response
}

/// The id that a row shows.
pub(crate) fn id_of(response: &Response) -> Uuid {
    response.field("id").parse().unwrap()
}

/// One column of a user's toolboxes, as text, by their names.
pub(crate) async fn column(stack: &Stack, user: &User, column: &str) -> Vec<String> {
    let statement = format!(
        "SELECT coalesce(({column})::text, 'null')
         FROM public.account_tool_environments AS toolbox WHERE user_id = $1 ORDER BY name"
    );
    stack.db().column(&statement, &[&user.id]).await
}

/// One column of the tools of a toolbox, as text, by their names.
pub(crate) async fn tool_column(stack: &Stack, toolbox: Uuid, column: &str) -> Vec<String> {
    let statement = format!(
        "SELECT coalesce(({column})::text, 'null')
         FROM public.account_tool_instances AS instance
         WHERE account_tool_environment_id = $1 ORDER BY instance_name_on_toolbox"
    );
    stack.db().column(&statement, &[&toolbox]).await
}

/// Whether the job of a toolbox's machine is due.
pub(crate) async fn is_due(stack: &Stack, toolbox: Uuid) -> bool {
    let statement = "SELECT count(*) FROM app.jobs
                     WHERE kind = 'toolbox_machine' AND key = $1 AND outcome IS NULL AND run_after <= clock_timestamp()";
    stack.db().scalar::<i64>(statement, &[&toolbox.to_string()]).await == 1
}

/// Puts a toolbox into a status as if its machine had brought it there.
pub(crate) async fn set_status(stack: &Stack, toolbox: &Toolbox, status: &str, desired: &str) {
    let statement = "UPDATE public.account_tool_environments SET status = $2, desired_state = $3 WHERE id = $1";
    stack.db().execute(statement, &[&toolbox.id, &status, &desired]).await;
}
