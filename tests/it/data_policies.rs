//! Who may do what to which table, taken from the catalog, so that a new table is tested without being named here.

use std::collections::{BTreeMap, BTreeSet};

use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::data_database::{Database, TENANT, count, refusal, sign_up, texts};

/// Tables whose rows belong to nobody, and are for all who signed in to read.
const FOR_ALL: [&str; 2] = ["public.roles", "public.tool_catalog"];

/// What the checks of the catalog are written over: the relations, functions and grants of our schemas, without what belongs to
/// an extension. A function without grants of its own has Postgres' default ones, which open it to everybody.
const VIEWS: &str = r#"
    CREATE TEMP VIEW our_tables AS
    SELECT relation.oid, relation.oid::regclass::text AS name, relation.relname, relation.relowner, relation.relkind,
           relation.relrowsecurity, relation.relforcerowsecurity, relation.relacl
    FROM pg_class AS relation
    WHERE relation.relnamespace = ANY ('{public, app, api}'::regnamespace[])
      AND relation.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = relation.oid AND deptype = 'e');

    CREATE TEMP VIEW our_functions AS
    SELECT function.oid, function.oid::regprocedure::text AS name, function.proowner, function.prosecdef,
           function.proconfig, function.proacl, function.pronamespace, function.prorettype, function.proargtypes
    FROM pg_proc AS function
    WHERE function.pronamespace = ANY ('{public, app, api}'::regnamespace[])
      AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = function.oid AND deptype = 'e');

    CREATE TEMP VIEW our_grants AS
    SELECT found.object, found.privilege,
           CASE found.grantee WHEN 0 THEN 'PUBLIC' ELSE found.grantee::regrole::text END AS grantee
    FROM (
        SELECT name AS object, given.grantee, given.privilege_type AS privilege
        FROM our_tables, aclexplode(relacl) AS given
        WHERE given.grantee <> relowner
        UNION ALL
        SELECT name || '.' || attname, given.grantee, given.privilege_type
        FROM our_tables JOIN pg_attribute ON attrelid = our_tables.oid, aclexplode(attacl) AS given
        WHERE given.grantee <> relowner
        UNION ALL
        SELECT sequence.oid::regclass::text, given.grantee, given.privilege_type
        FROM pg_class AS sequence, aclexplode(sequence.relacl) AS given
        WHERE sequence.relkind IN ('S', 'v', 'm')
          AND sequence.relnamespace = ANY ('{public, app, api}'::regnamespace[])
          AND given.grantee <> sequence.relowner
        UNION ALL
        SELECT name, given.grantee, given.privilege_type
        FROM our_functions, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS given
        WHERE given.grantee <> proowner
        UNION ALL
        SELECT 'schema ' || nspname, given.grantee, given.privilege_type
        FROM pg_namespace, aclexplode(nspacl) AS given
        WHERE nspname IN ('app', 'api') AND given.grantee <> nspowner
    ) AS found;
"#;

/// A migrated database with the views above.
async fn catalog() -> Client {
    let client = Database::migrated().await.owner().await;
    client.batch_execute(VIEWS).await.unwrap();
    client
}

/// Asserts that a query finds nothing.
async fn assert_none(statement: &str) {
    let found = texts(&catalog().await, statement, &[]).await;

    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn the_catalog_is_looked_at() {
    let client = catalog().await;

    assert!(count(&client, "SELECT count(*) FROM our_tables", &[]).await > 30);
    assert!(count(&client, "SELECT count(*) FROM our_functions", &[]).await > 30);
    assert!(count(&client, "SELECT count(*) FROM our_grants", &[]).await > 300);
}

#[tokio::test]
async fn row_level_security_is_enabled_and_forced_on_every_table() {
    assert_none("SELECT name FROM our_tables WHERE NOT (relrowsecurity AND relforcerowsecurity)").await;
}

#[tokio::test]
async fn a_verb_that_users_have_is_bound_by_a_policy_for_them() {
    assert_none(
        "SELECT DISTINCT given.object || ' ' || given.privilege
         FROM our_grants AS given
         JOIN our_tables AS ours ON given.object IN (ours.name) OR starts_with(given.object, ours.name || '.')
         WHERE given.grantee = 'authenticated'
           AND NOT EXISTS (
               SELECT 1
               FROM pg_policy
               WHERE polrelid = ours.oid
                 AND polroles = ARRAY['authenticated'::regrole::oid]
                 AND CASE polcmd
                     WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                 END = given.privilege
           )",
    )
    .await;
}

#[tokio::test]
async fn a_policy_is_for_users_and_one_verb() {
    assert_none(
        "SELECT polrelid::regclass || ' ' || polname
         FROM pg_policy
         WHERE polrelid IN (SELECT oid FROM our_tables)
           AND (polroles <> ARRAY['authenticated'::regrole::oid] OR polcmd = '*' OR NOT polpermissive)",
    )
    .await;
}

#[tokio::test]
async fn nothing_is_granted_to_anybody_or_to_those_who_did_not_sign_in() {
    assert_none(
        "SELECT object || ' ' || privilege || ' ' || grantee FROM our_grants WHERE grantee IN ('PUBLIC', 'anon')",
    )
    .await;
}

#[tokio::test]
async fn those_who_log_in_for_the_functions_have_no_table() {
    assert_none(
        "SELECT object || ' ' || privilege
         FROM our_grants
         WHERE grantee IN ('agentopia_functions', 'authenticator') AND privilege NOT IN ('EXECUTE', 'USAGE')",
    )
    .await;
}

#[tokio::test]
async fn users_write_by_column_so_that_a_new_column_is_closed() {
    assert_none(
        "SELECT object || ' ' || privilege
         FROM our_grants
         WHERE object IN (SELECT name FROM our_tables)
           AND grantee = 'authenticated'
           AND privilege NOT IN ('SELECT', 'DELETE')",
    )
    .await;
}

#[tokio::test]
async fn what_only_the_server_may_know_is_closed_to_users() {
    assert_none(
        "SELECT ours.name || '.' || attname
         FROM our_tables AS ours
         JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
         WHERE (attname ~ '(_sealed|_hash|_fingerprint)$' OR attname ~ 'lease' OR attname = 'encrypted_credentials')
           AND (
               has_column_privilege('authenticated', ours.oid, attname, 'SELECT')
               OR has_column_privilege('authenticated', ours.oid, attname, 'INSERT')
               OR has_column_privilege('authenticated', ours.oid, attname, 'UPDATE')
           )",
    )
    .await;
}

#[tokio::test]
async fn what_only_the_server_may_say_is_not_written_by_users() {
    assert_none(
        "SELECT ours.name || '.' || attname
         FROM our_tables AS ours
         JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
         WHERE attname ~ '(^|_)(status|heartbeat|ip_address|droplet|error|responded|expires|created|updated)(_|$)'
           AND (
               has_column_privilege('authenticated', ours.oid, attname, 'INSERT')
               OR has_column_privilege('authenticated', ours.oid, attname, 'UPDATE')
           )",
    )
    .await;
}

#[tokio::test]
async fn constraints_are_named_by_the_convention() {
    assert_none(
        "SELECT ours.name || ' ' || conname
         FROM pg_constraint
         JOIN our_tables AS ours ON ours.oid = conrelid
         CROSS JOIN LATERAL (
             SELECT CASE contype
                 WHEN 'p' THEN '_pkey' WHEN 'u' THEN '_key' WHEN 'f' THEN '_fkey' WHEN 'c' THEN '_check'
                 WHEN 'x' THEN '_excl'
             END AS suffix
         ) AS expected
         -- What Postgres 18 keeps of NOT NULL has names that nobody reads.
         WHERE contype <> 'n'
           AND (NOT starts_with(conname, ours.relname || '_') OR right(conname, length(suffix)) <> suffix)",
    )
    .await;
}

#[tokio::test]
async fn indexes_triggers_and_policies_are_named_by_the_convention() {
    assert_none(
        "SELECT ours.name || ' ' || named.name
         FROM our_tables AS ours
         JOIN (
             SELECT indrelid AS relation, relname::text AS name, '_(idx|key)$' AS ending
             FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
             WHERE NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)
             UNION ALL
             SELECT tgrelid, tgname::text, '_[a-z_]+$' FROM pg_trigger WHERE NOT tgisinternal
             UNION ALL
             SELECT polrelid, polname::text, '_(select|insert|update|delete)$' FROM pg_policy
         ) AS named ON named.relation = ours.oid
         WHERE NOT starts_with(named.name, ours.relname || '_') OR named.name !~ named.ending",
    )
    .await;
}

#[tokio::test]
async fn every_foreign_key_is_indexed() {
    assert_none(
        "SELECT ours.name || ' ' || conname
         FROM pg_constraint
         JOIN our_tables AS ours ON ours.oid = conrelid
         JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
         WHERE contype = 'f'
           AND NOT EXISTS (
               SELECT 1
               FROM pg_index
               WHERE indrelid = conrelid
                 AND indkey[0] = conkey[1]
                 AND indisvalid
                 AND (indpred IS NULL OR pg_get_expr(indpred, indrelid) = format('(%I IS NOT NULL)', attname))
           )",
    )
    .await;
}

#[tokio::test]
async fn updated_at_is_kept_by_a_trigger() {
    assert_none(
        "SELECT ours.name
         FROM our_tables AS ours
         JOIN pg_attribute ON attrelid = ours.oid AND attname = 'updated_at' AND NOT attisdropped
         WHERE NOT EXISTS (
             SELECT 1
             FROM pg_trigger
             WHERE tgrelid = ours.oid
               AND tgfoid = 'app.set_updated_at()'::regprocedure
               AND pg_get_triggerdef(oid) ~ ' BEFORE UPDATE (OF [a-z_, ]+ )?ON .* FOR EACH ROW '
         )",
    )
    .await;
}

#[tokio::test]
async fn functions_do_not_rely_on_a_search_path() {
    assert_none(r#"SELECT name FROM our_functions WHERE NOT coalesce(proconfig @> ARRAY['search_path=""'], false)"#)
        .await;
}

#[tokio::test]
async fn operations_are_for_the_functions_alone() {
    assert_none(
        "SELECT name
         FROM our_functions
         WHERE pronamespace = 'api'::regnamespace
           AND (prosecdef OR prorettype <> 'jsonb'::regtype OR proargtypes <> '3802 3802')
         UNION ALL
         SELECT object || ' ' || grantee
         FROM our_grants
         WHERE (object = 'schema api' OR object IN (
             SELECT name FROM our_functions WHERE pronamespace = 'api'::regnamespace
         ))
           AND grantee NOT IN ('agentopia_functions', 'authenticator')",
    )
    .await;
}

#[tokio::test]
async fn there_is_no_type_that_the_functions_cannot_read_and_no_view_that_sees_for_its_owner() {
    assert_none(
        "SELECT typname::text FROM pg_type
         WHERE typnamespace = ANY ('{public, app, api}'::regnamespace[]) AND typtype = 'e'
         UNION ALL
         SELECT oid::regclass::text FROM pg_class
         WHERE relnamespace = ANY ('{public, app, api}'::regnamespace[])
           AND relkind IN ('v', 'm')
           AND NOT coalesce(reloptions @> ARRAY['security_invoker=true'], false)",
    )
    .await;
}

#[tokio::test]
async fn what_grants_power_is_audited() {
    let audited = texts(
        &catalog().await,
        "SELECT tgrelid::regclass::text
         FROM pg_trigger
         WHERE tgfoid = 'app.audit_change()'::regprocedure
           AND pg_get_triggerdef(oid) ~ ' AFTER INSERT OR DELETE OR UPDATE (OF [a-z_, ]+ )?ON '
         ORDER BY 1",
        &[],
    )
    .await;

    assert_snapshot!(audited.join("\n"), @r"
    account_tool_environments
    account_tool_instances
    agent_datastores
    agent_discord_connections
    agent_tool_capability_permissions
    agent_tool_credentials
    agent_toolbelt_items
    agent_toolbox_access
    mcp_configurations
    mcp_servers
    team_invitations
    team_members
    user_roles
    user_team_memberships
    workspace_invitations
    workspace_members
    ");
}

#[tokio::test]
async fn what_is_no_change_is_named() {
    let passed_over = texts(
        &catalog().await,
        "SELECT tgname || ': ' || string_agg(attname, ' ' ORDER BY attname)
         FROM pg_trigger
         JOIN pg_attribute ON attrelid = tgrelid AND attnum > 0 AND NOT attisdropped
         WHERE tgfoid IN ('app.audit_change()'::regprocedure, 'app.set_updated_at()'::regprocedure)
           AND cardinality(tgattr::int2[]) > 0
           AND attnum <> ALL (tgattr::int2[])
         GROUP BY tgname
         ORDER BY 1",
        &[],
    )
    .await;

    assert_snapshot!(passed_over.join("\n"), @r"
    account_tool_environments_audit_change: alert_after created_at dtma_health_details_json dtma_last_known_version id last_heartbeat_at remind_after reported_at reported_generation revision updated_at
    account_tool_environments_set_updated_at: alert_after created_at dtma_health_details_json dtma_last_known_version id last_heartbeat_at remind_after reported_at reported_generation revision updated_at
    account_tool_instances_audit_change: created_at id last_heartbeat_from_dtma reported_generation reported_state revision updated_at
    account_tool_instances_set_updated_at: created_at id last_heartbeat_from_dtma reported_generation reported_state revision updated_at
    agent_discord_connections_audit_change: bot_token_key_id bot_token_set_at created_at id updated_at worker_lease_expires_at worker_lease_id worker_report worker_reported_at worker_restarts worker_status_changed_at
    agent_discord_connections_set_updated_at: bot_token_key_id bot_token_set_at created_at id updated_at worker_lease_expires_at worker_lease_id worker_report worker_reported_at worker_restarts worker_status_changed_at
    ");
}

/// A table with what the attempts on it need to know.
struct Table {
    name: String,
    /// An expression that names a row.
    key: String,
    /// Columns that can be written at all.
    columns: Vec<String>,
    /// Of these, the ones that users may insert.
    insertable: Vec<String>,
    /// Whether its rows refer to a tenant's other rows.
    belongs_to_rows: bool,
    /// The tenant's rows: by what names them, and as JSON.
    rows: BTreeMap<String, Value>,
}

impl Table {
    /// All tables of `public` and `app`, with the rows that they have now.
    async fn all(client: &Client) -> Vec<Self> {
        let found = client
            .query(
                "SELECT
                     ours.name,
                     ours.oid::regclass::text = ours.relname,
                     (SELECT format('concat_ws(''/'', %s)', string_agg(quote_ident(attname), ', ' ORDER BY attnum))
                      FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
                      WHERE indrelid = ours.oid AND indisprimary),
                     ARRAY(SELECT attname::text FROM pg_attribute
                           WHERE attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
                             AND attgenerated = '' AND attidentity <> 'a'
                           ORDER BY attnum),
                     ARRAY(SELECT attname::text FROM pg_attribute
                           WHERE attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
                             AND has_column_privilege('authenticated', ours.oid, attname, 'INSERT')
                           ORDER BY attnum),
                     EXISTS (SELECT 1 FROM pg_constraint
                             WHERE conrelid = ours.oid AND contype = 'f'
                               AND confrelid IN (SELECT oid FROM our_tables)
                               AND confrelid::regclass::text <> ALL ('{roles, tool_catalog}'))
                 FROM our_tables AS ours
                 ORDER BY 1",
                &[],
            )
            .await
            .unwrap();

        let mut tables = Vec::new();
        for row in found {
            let (name, is_public): (String, bool) = (row.get(0), row.get(1));
            let name = if is_public { format!("public.{name}") } else { name };
            let key: String = row.get(2);
            let rows = client
                .query(&format!("SELECT {key}, to_jsonb(t) FROM {name} AS t"), &[])
                .await
                .unwrap();
            tables.push(Self {
                rows: rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
                columns: row.get(3),
                insertable: row.get(4),
                belongs_to_rows: row.get(5),
                key,
                name,
            });
        }
        tables
    }

    /// The INSERT of a row that is given as JSON, as far as users may name its columns.
    fn insert(&self) -> String {
        if self.insertable.is_empty() {
            return format!("INSERT INTO {} DEFAULT VALUES", self.name);
        }
        let columns = self
            .insertable
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let row = "jsonb_populate_record(NULL::$table, $1)".replace("$table", &self.name);
        format!("INSERT INTO {} ({columns}) SELECT {columns} FROM {row}", self.name)
    }

    /// What the tenant's rows are now, their places included: any write to one changes it.
    async fn state(&self, client: &Client) -> String {
        let keys: Vec<_> = self.rows.keys().collect();
        let statement = format!(
            "SELECT coalesce(string_agg(ctid::text || t::text, ',' ORDER BY {}), '') FROM {} AS t WHERE {} = ANY ($1)",
            self.key, self.name, self.key
        );
        client.query_one(&statement, &[&keys]).await.unwrap().get(0)
    }
}

/// Somebody who is not the tenant.
struct Stranger {
    name: &'static str,
    role: &'static str,
    claims: Value,
}

impl Stranger {
    async fn all(client: &Client) -> Vec<Self> {
        let other = sign_up(client, "other@example.com").await;
        let signed_in = json!({ "sub": other, "role": "authenticated" });
        let nameless = json!({ "role": "authenticated" });
        let strangers = [
            ("another user", "authenticated", signed_in),
            ("a user without an id", "authenticated", nameless),
            ("who did not sign in", "anon", json!({ "role": "anon" })),
            ("the login role", "agentopia_functions", json!({})),
        ];
        strangers.map(|(name, role, claims)| Self { name, role, claims }).into()
    }

    fn id(&self) -> Option<Uuid> {
        self.claims.get("sub").map(|id| id.as_str().unwrap().parse().unwrap())
    }

    /// Runs `statement` as this stranger and takes it back. Gives the rows that came, and the state of the tenant's rows after it.
    async fn tries(
        &self,
        client: &Client,
        table: &Table,
        statement: &str,
        row: Option<&Value>,
    ) -> Result<(Vec<String>, String), String> {
        self.tries_after(client, table, "", statement, row).await
    }

    /// As `tries`, after the owner of the database did something in the same transaction.
    async fn tries_after(
        &self,
        client: &Client,
        table: &Table,
        preparation: &str,
        statement: &str,
        row: Option<&Value>,
    ) -> Result<(Vec<String>, String), String> {
        client.batch_execute("BEGIN").await.unwrap();
        client.batch_execute(preparation).await.unwrap();
        let become_stranger = "SELECT set_config('request.jwt.claims', $1, true), set_config('role', $2, true)";
        client
            .query_one(become_stranger, &[&self.claims.to_string(), &self.role])
            .await
            .unwrap();
        let result = match row {
            Some(row) => client.query(statement, &[row]).await,
            None => client.query(statement, &[]).await,
        };
        let outcome = match result {
            Ok(rows) => {
                client.batch_execute("SET LOCAL ROLE NONE").await.unwrap();
                Ok((rows.iter().map(|row| row.get(0)).collect(), table.state(client).await))
            }
            Err(error) => Err(refusal(&error)),
        };
        client.batch_execute("ROLLBACK").await.unwrap();
        outcome
    }
}

/// What is refused for want of a right, by a grant or by a policy.
const FORBIDDEN: &str = "42501";

#[tokio::test]
async fn the_tenant_has_a_row_in_every_table() {
    let client = Database::with_tenant().await.owner().await;
    client.batch_execute(VIEWS).await.unwrap();

    let tables = Table::all(&client).await;

    // The runner's records are rows too, of nobody.
    let empty: Vec<_> = tables
        .iter()
        .filter(|table| table.rows.is_empty())
        .map(|table| &table.name)
        .collect();
    assert_eq!(empty, Vec::<&String>::new(), "add a row to tests/data/tenant.sql");
}

#[tokio::test]
async fn the_tenant_sees_rows_wherever_users_see_any() {
    let client = Database::with_tenant().await.owner().await;
    client.batch_execute(VIEWS).await.unwrap();
    let tenant = Stranger {
        name: "the tenant",
        role: "authenticated",
        claims: json!({ "sub": TENANT, "role": "authenticated" }),
    };

    let mut closed = Vec::new();
    for table in Table::all(&client).await {
        match tenant
            .tries(
                &client,
                &table,
                &format!("SELECT {} FROM {}", table.key, table.name),
                None,
            )
            .await
        {
            Ok((rows, _)) => assert!(!rows.is_empty(), "{}", table.name),
            Err(code) => {
                assert_eq!(code, FORBIDDEN, "{}", table.name);
                closed.push(table.name);
            }
        }
    }

    assert_snapshot!(closed.join("\n"), @r"
    app.alert_destinations
    app.alerts
    app.audit_log
    app.chat_turns
    app.discord_interactions
    app.discord_starts
    app.discord_state
    app.idempotency_keys
    app.jobs
    app.machine_attempts
    app.operation_files
    app.provider_options
    app.rate_limits
    app.schema_migrations
    app.signing_keys
    app.sweep_state
    app.toolbox_flips
    app.usage_records
    ");
}

/// Tries every verb on every table as every stranger. Gives what should have been refused and was not, each as "who may do what: what came".
async fn holes(client: &Client) -> Vec<String> {
    client.batch_execute(VIEWS).await.unwrap();
    let tables = Table::all(client).await;
    let strangers = Stranger::all(client).await;

    let mut holes = Vec::new();
    for stranger in &strangers {
        for table in &tables {
            let before = table.state(client).await;
            let mut note = |attempt: &str, found: String| {
                holes.push(format!("{} may {attempt}: {found}", stranger.name));
            };

            let select = format!("SELECT {} FROM {}", table.key, table.name);
            let may_read = FOR_ALL.contains(&table.name.as_str()) && stranger.role == "authenticated";
            match stranger.tries(client, table, &select, None).await {
                Err(code) if code == FORBIDDEN => {}
                Ok((rows, _)) if may_read || !rows.iter().any(|row| table.rows.contains_key(row)) => {}
                other => note(&select, format!("{other:?}")),
            }

            let updates = table
                .columns
                .iter()
                .map(|name| format!("UPDATE {} SET \"{name}\" = DEFAULT", table.name));
            let others = [
                format!("DELETE FROM {}", table.name),
                format!("TRUNCATE {} CASCADE", table.name),
            ];
            for statement in updates.chain(others) {
                match stranger.tries(client, table, &statement, None).await {
                    Err(code) if code == FORBIDDEN => {}
                    Ok((_, after)) if after == before => {}
                    other => note(&statement, format!("{other:?}")),
                }
            }

            for (key, row) in &table.rows {
                let row_of = |id: Uuid| -> Value {
                    serde_json::from_str(&row.to_string().replace(&TENANT.to_string(), &id.to_string())).unwrap()
                };
                let insert = table.insert();
                let given = |row: &Value| (!table.insertable.is_empty()).then(|| row.clone());
                // As the tenant's own.
                match stranger.tries(client, table, &insert, given(row).as_ref()).await {
                    Err(code) if code == FORBIDDEN => {}
                    other => note(&format!("INSERT a copy INTO {}", table.name), format!("{other:?}")),
                }
                // As the stranger's own, but hanging on the tenant's rows.
                let Some(id) = stranger.id().filter(|_| table.belongs_to_rows) else {
                    continue;
                };
                // The tenant's own row goes first, or its unique keys would be in the way.
                let away = format!("DELETE FROM {} WHERE {} = '{key}'", table.name, table.key);
                match stranger
                    .tries_after(client, table, &away, &insert, given(&row_of(id)).as_ref())
                    .await
                {
                    Err(code) if code == FORBIDDEN || code.starts_with("23503 ") => {}
                    other => note(
                        &format!("INSERT a row of its own INTO {}", table.name),
                        format!("{other:?}"),
                    ),
                }
            }
        }
    }

    holes
}

#[tokio::test]
async fn nobody_else_sees_or_touches_a_tenants_rows() {
    let client = Database::with_tenant().await.owner().await;

    assert_eq!(holes(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_hole_would_be_found() {
    let client = Database::with_tenant().await.owner().await;
    let open = "ALTER POLICY workspaces_select ON public.workspaces USING (true);
                ALTER POLICY teams_update ON public.teams USING (true) WITH CHECK (true);
                ALTER POLICY datastores_delete ON public.datastores USING (true);
                ALTER POLICY chat_channels_insert ON public.chat_channels WITH CHECK (true);
                GRANT SELECT ON public.profiles TO anon;
                CREATE POLICY profiles_anon ON public.profiles TO anon USING (true);
                ALTER TABLE app.jobs DISABLE ROW LEVEL SECURITY;
                GRANT SELECT ON app.jobs TO agentopia_functions;";
    client.batch_execute(open).await.unwrap();

    let found = holes(&client).await;

    let found: BTreeSet<_> = found.iter().map(|hole| hole.split(':').next().unwrap()).collect();
    assert_snapshot!(found.into_iter().collect::<Vec<_>>().join("\n"), @r#"
    a user without an id may DELETE FROM public.datastores
    a user without an id may INSERT a copy INTO public.chat_channels
    a user without an id may SELECT concat_ws('/', id) FROM public.workspaces
    a user without an id may UPDATE public.teams SET "description" = DEFAULT
    a user without an id may UPDATE public.teams SET "name" = DEFAULT
    another user may DELETE FROM public.datastores
    another user may INSERT a copy INTO public.chat_channels
    another user may INSERT a row of its own INTO public.chat_channels
    another user may SELECT concat_ws('/', id) FROM public.workspaces
    another user may UPDATE public.teams SET "description" = DEFAULT
    another user may UPDATE public.teams SET "name" = DEFAULT
    the login role may SELECT concat_ws('/', id) FROM app.jobs
    who did not sign in may SELECT concat_ws('/', id) FROM public.profiles
    "#);
}
