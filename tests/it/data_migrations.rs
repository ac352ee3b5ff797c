//! The migrations on the databases that they are for: an empty Postgres, and a Supabase project.
//!
//! How the runner works (order, locks, failures, line numbers) is tested beside it, in dev/stack. A migration that changes a table which has
//! landed meets rows from before it here.

use std::collections::BTreeSet;
use std::fs;

use agentopia_application::migrations;
use agentopia_stack::migrate::MigrateError;
use agentopia_stack::{Postgres, PostgresOptions, Quiet, migrate};
use tokio_postgres::{Client, Config};

use crate::data_database::{Database, attempt, connect, texts};

const SUPABASE: &str = include_str!("../data/supabase_shape.sql");

/// Everything in our schemas that a migration makes, one line each. Owners are left out, and `authenticator`, whom only Supabase has.
const INVENTORY: &str = "
    WITH relation AS (
        SELECT oid, oid::regclass::text AS name, relkind, relacl, relowner, relrowsecurity, relforcerowsecurity
        FROM pg_class
        WHERE relnamespace = ANY ('{public, app, api}'::regnamespace[])
          AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
    ), function AS (
        SELECT oid, oid::regprocedure::text AS name, proacl, proowner
        FROM pg_proc
        WHERE pronamespace = ANY ('{public, app, api}'::regnamespace[])
          AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    ), given AS (
        SELECT name AS object, acl.grantee, acl.privilege_type FROM relation, aclexplode(relacl) AS acl
        WHERE acl.grantee <> relowner
        UNION ALL
        SELECT name || '.' || attname, acl.grantee, acl.privilege_type
        FROM relation JOIN pg_attribute ON attrelid = relation.oid, aclexplode(attacl) AS acl
        WHERE acl.grantee <> relowner
        UNION ALL
        SELECT name, acl.grantee, acl.privilege_type
        FROM function, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
        WHERE acl.grantee <> proowner
        UNION ALL
        SELECT 'schema ' || nspname, acl.grantee, acl.privilege_type
        FROM pg_namespace, aclexplode(nspacl) AS acl
        WHERE nspname IN ('app', 'api') AND acl.grantee <> nspowner
    )
    SELECT concat_ws(' ', 'relation', relkind, name, relrowsecurity, relforcerowsecurity) AS line FROM relation
    UNION ALL
    SELECT concat_ws(' ', 'column', name, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
                     attgenerated, pg_get_expr(adbin, adrelid))
    FROM relation JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relkind = 'r'
    UNION ALL
    SELECT concat_ws(' ', 'constraint', name, conname, pg_get_constraintdef(pg_constraint.oid))
    FROM pg_constraint JOIN relation ON relation.oid = conrelid
    UNION ALL
    SELECT pg_get_indexdef(relation.oid) FROM relation WHERE relkind = 'i'
    UNION ALL
    SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN relation ON relation.oid = tgrelid
    WHERE NOT tgisinternal
    UNION ALL
    SELECT concat_ws(' ', 'policy', schemaname, tablename, policyname, permissive, roles, cmd, qual, with_check)
    FROM pg_policies WHERE schemaname IN ('public', 'app', 'api')
    UNION ALL
    SELECT pg_get_functiondef(oid) FROM function
    UNION ALL
    SELECT concat_ws(' ', 'grant', privilege_type, object, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
    FROM given WHERE grantee <> ALL (ARRAY(SELECT oid FROM pg_roles WHERE rolname = 'authenticator'))
    ORDER BY line
";

async fn inventory(client: &Client) -> BTreeSet<String> {
    texts(client, INVENTORY, &[]).await.into_iter().collect()
}

/// The names of the files in a folder.
fn files(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(migrations().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    entries
        .map(|name| name.into_string().unwrap())
        .filter(|name| name.ends_with(".sql"))
        .collect()
}

#[test]
fn migrations_are_named_by_their_time_and_what_they_do() {
    for name in files("") {
        let (time, words) = name.trim_end_matches(".sql").split_once('_').unwrap();
        let words: Vec<_> = words.split('_').collect();

        assert!(
            time.len() == 14 && time.bytes().all(|byte| byte.is_ascii_digit()),
            "{name}"
        );
        assert!(
            words.len() >= 2
                && words
                    .iter()
                    .all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())),
            "{name}"
        );
    }
}

#[tokio::test]
async fn an_empty_database_gets_everything_once() {
    let database = Database::empty().await;

    let first = migrate(&database.url(), &migrations(), &Quiet)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let client = database.owner().await;
    let made = inventory(&client).await;
    let second = migrate(&database.url(), &migrations(), &Quiet)
        .await
        .unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(first.migrations.into_iter().collect::<BTreeSet<_>>(), files(""));
    assert_eq!(
        first.operations.into_iter().collect::<BTreeSet<_>>(),
        files("operations")
    );
    assert!(second.is_empty(), "{second}");
    assert_eq!(inventory(&client).await, made);
}

#[tokio::test]
async fn operations_have_the_same_effect_however_often_they_are_applied() {
    let database = Database::migrated().await;
    let client = database.owner().await;
    let made = inventory(&client).await;

    client.batch_execute("DELETE FROM app.operation_files").await.unwrap();
    let again = migrate(&database.url(), &migrations(), &Quiet)
        .await
        .unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(
        (again.migrations.len(), again.operations.len()),
        (0, files("operations").len())
    );
    assert_eq!(inventory(&client).await, made);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_database_as_it_was() {
    let database = Database::migrated().await;
    let client = database.owner().await;
    let before = inventory(&client).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, folder) in [
        ("", folder.path().to_owned()),
        ("operations", folder.path().join("operations")),
    ] {
        fs::create_dir_all(&folder).unwrap();
        for file in files(name) {
            fs::copy(migrations().join(name).join(&file), folder.join(&file)).unwrap();
        }
    }
    let text = "CREATE TABLE public.half (id int);\nALTER TABLE public.agents ADD COLUMN half int;\n\n\
                UPDATE public.agents\nSET halff = 1;\n";
    fs::write(folder.path().join("20990101000000_add_half.sql"), text).unwrap();

    let error = migrate(&database.url(), folder.path(), &Quiet).await.unwrap_err();

    let MigrateError::Statement { file, line, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (file.file_name().unwrap().to_str().unwrap(), *line),
        ("20990101000000_add_half.sql", 5)
    );
    assert_eq!(inventory(&client).await, before);
}

/// A database with the migrations that came before one, and no operations.
async fn before(migration: &str) -> Database {
    let folder = tempfile::tempdir().unwrap();
    for file in files("").into_iter().filter(|file| file.as_str() < migration) {
        fs::copy(migrations().join(&file), folder.path().join(&file)).unwrap();
    }
    let database = Database::empty().await;
    migrate(&database.url(), folder.path(), &Quiet).await.unwrap();
    database
}

#[tokio::test]
async fn toolboxes_from_before_they_had_a_life_are_brought_along() {
    let database = before("20261124000100_create_toolbox_lifecycle.sql").await;
    let owner = database.owner().await;
    owner
        .batch_execute(
            "INSERT INTO auth.users (id, email) VALUES ('00000000-0000-4000-a000-0000000000a0', 'a@example.com');
             INSERT INTO public.account_tool_environments (user_id, name, status, region_slug, size_slug)
             SELECT '00000000-0000-4000-a000-0000000000a0', status, status, 'fra1', 's'
             FROM unnest('{inactive, creating, error_deletion, scaling, active, paused, pending_provision, deprovisioning}'::text[])
                 AS status",
        )
        .await
        .unwrap();

    migrate(&database.url(), &migrations(), &Quiet).await.unwrap();

    let toolboxes = "SELECT concat_ws(' ', toolbox.name, '->', toolbox.status, toolbox.desired_state, job.kind)
                     FROM public.account_tool_environments AS toolbox
                     LEFT JOIN app.jobs AS job ON job.key = toolbox.id::text
                     ORDER BY toolbox.name";
    assert_eq!(
        texts(&owner, toolboxes, &[]).await,
        [
            "active -> active running",
            "creating -> error_provisioning running",
            "deprovisioning -> deprovisioning deleted toolbox_machine",
            "error_deletion -> error_provisioning running",
            "inactive -> error_provisioning running",
            "paused -> paused paused",
            "pending_provision -> pending_provision running toolbox_machine",
            "scaling -> unresponsive running",
        ]
    );
}

#[tokio::test]
async fn bots_from_before_their_tokens_were_confirmed_lose_them_and_their_workers() {
    let database = before("20261124000300_add_discord_workers_and_answers.sql").await;
    let owner = database.owner().await;
    owner
        .batch_execute(
            "INSERT INTO auth.users (id, email) VALUES ('00000000-0000-4000-a000-0000000000a0', 'a@example.com');
             WITH seen AS (
                 SELECT gen_random_uuid() AS id, status, guild, status || ' ' || coalesce(guild, 'bot') AS name
                 FROM unnest('{inactive, activating, connecting, active, stopping, terminating, error}'::text[]) AS status,
                      unnest(ARRAY[NULL, '7']) AS guild
             ),
             made AS (
                 INSERT INTO public.agents (id, user_id, name)
                 SELECT id, '00000000-0000-4000-a000-0000000000a0', name FROM seen
             )
             INSERT INTO public.agent_discord_connections (
                 user_id, agent_id, guild_id, discord_app_id, discord_public_key, desired_status, worker_status,
                 worker_token_hash, worker_lease_id, worker_lease_expires_at, bot_token_sealed, bot_token_fingerprint
             )
             SELECT '00000000-0000-4000-a000-0000000000a0', id, guild, '1', repeat('ab', 32), 'active', status,
                    sha256(name::bytea), gen_random_uuid(), now(), 'sealed', sha256('one token in many places')
             FROM seen",
        )
        .await
        .unwrap();

    migrate(&database.url(), &migrations(), &Quiet).await.unwrap();

    let connections = "SELECT concat_ws(' ', agent.name, '->', connection.desired_status, connection.worker_status,
                                        CASE WHEN connection.worker_token_hash IS NOT NULL THEN 'token' END,
                                        CASE WHEN connection.worker_lease_id IS NOT NULL THEN 'lease' END,
                                        connection.bot_token_sealed, job.kind)
                       FROM public.agent_discord_connections AS connection
                       JOIN public.agents AS agent ON agent.id = connection.agent_id
                       LEFT JOIN app.jobs AS job ON job.key = connection.agent_id::text
                       ORDER BY agent.name COLLATE \"C\"";
    assert_eq!(
        texts(&owner, connections, &[]).await,
        [
            "activating 7 -> inactive inactive",
            "activating bot -> inactive activating token lease discord_worker",
            "active 7 -> inactive inactive",
            "active bot -> inactive active token lease discord_worker",
            "connecting 7 -> inactive inactive",
            "connecting bot -> inactive activating token lease discord_worker",
            "error 7 -> inactive inactive",
            "error bot -> inactive error token lease",
            "inactive 7 -> inactive inactive",
            "inactive bot -> inactive inactive token lease",
            "stopping 7 -> inactive inactive",
            "stopping bot -> inactive stopping token lease discord_worker",
            "terminating 7 -> inactive inactive",
            "terminating bot -> inactive stopping token lease discord_worker",
        ]
    );
}

/// A server of its own, whose roles nobody else has made, shaped as a Supabase project; and the project's owner.
async fn supabase(folder: &tempfile::TempDir) -> (Postgres, Client, Config) {
    let options = PostgresOptions {
        fast: true,
        ..PostgresOptions::new(folder.path())
    };
    let postgres = Postgres::start(options, &Quiet)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let mut config: Config = postgres.admin_url().parse().unwrap();
    let superuser = connect(&config).await;
    superuser.batch_execute(SUPABASE).await.unwrap();
    superuser
        .batch_execute("ALTER ROLE supabase_project_owner PASSWORD 'owner'")
        .await
        .unwrap();
    config.user("supabase_project_owner").password("owner");
    (postgres, superuser, config)
}

#[tokio::test]
async fn a_supabase_project_is_migrated_by_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let (postgres, superuser, owner) = supabase(&folder).await;
    let port = owner.get_ports()[0];
    let url = format!("postgres://supabase_project_owner:owner@127.0.0.1:{port}/agentopia?sslmode=disable");
    let theirs = "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
                  WHERE attrelid = 'auth.users'::regclass AND attnum > 0
                  UNION ALL
                  SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'auth'::regnamespace
                  UNION ALL
                  SELECT rolname || ' ' || rolsuper || rolcanlogin || rolinherit || rolbypassrls FROM pg_roles
                  WHERE rolname IN ('anon', 'authenticated', 'service_role', 'authenticator', 'supabase_auth_admin')
                  ORDER BY 1";
    let before = texts(&superuser, theirs, &[]).await;

    let first = migrate(&url, &migrations(), &Quiet)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let second = migrate(&url, &migrations(), &Quiet)
        .await
        .unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(first.migrations.len(), files("").len());
    assert!(second.is_empty(), "{second}");
    assert_eq!(
        texts(&superuser, theirs, &[]).await,
        before,
        "what is Supabase's stays as it is"
    );
    let made_there = inventory(&superuser).await;
    let made_on_empty = inventory(&Database::migrated().await.owner().await).await;
    let differences: Vec<_> = made_there.symmetric_difference(&made_on_empty).collect();
    assert_eq!(
        differences,
        Vec::<&String>::new(),
        "it is the same application everywhere"
    );

    let profiles = "SELECT full_name FROM public.user_profiles";
    assert_eq!(
        texts(&superuser, profiles, &[]).await,
        ["Earlier User"],
        "who signed up before has a profile"
    );
    let published =
        "SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = 'supabase_realtime'";
    assert_eq!(texts(&superuser, published, &[]).await, ["public.chat_messages"]);

    let login = "ALTER ROLE authenticator PASSWORD 'login'; ALTER ROLE agentopia_functions PASSWORD 'login'";
    superuser.batch_execute(login).await.unwrap();
    for role in ["agentopia_functions", "authenticator"] {
        let mut config = owner.clone();
        let client = connect(config.user(role).password("login")).await;
        let health =
            r#"SELECT api.health('{"kind": "user", "id": "5b8e0f8a-3c52-4d0e-9a67-6f2f6c1d0a01"}', '{}')::text"#;

        assert_eq!(texts(&client, health, &[]).await, [r#"{"database": "ok"}"#], "{role}");
        assert_eq!(
            attempt(&client, "SELECT FROM public.agents", &[]).await,
            Err("42501".to_owned()),
            "{role}"
        );
    }
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn realtime_is_told_of_messages_where_there_is_realtime() {
    let database = Database::empty().await;
    let client = database.owner().await;
    client
        .batch_execute("CREATE PUBLICATION supabase_realtime")
        .await
        .unwrap();

    migrate(&database.url(), &migrations(), &Quiet)
        .await
        .unwrap_or_else(|error| panic!("{error}"));

    let published = "SELECT tablename::text FROM pg_publication_tables WHERE pubname = 'supabase_realtime'";
    assert_eq!(texts(&client, published, &[]).await, ["chat_messages"]);
}
