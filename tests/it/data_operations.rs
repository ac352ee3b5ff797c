//! What the operations and the tables under them guarantee, whoever calls: becoming, limits, idempotency, audit, membership, deletion.

use std::collections::BTreeSet;

use futures::future::join_all;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::data_database::{AGENT, Database, TENANT, attempt, become_user, call, count, refusal, sign_up, texts, user};

/// Who a statement acts as, and with which claims.
const WHO: &str =
    "SELECT current_user || ' ' || coalesce(nullif(current_setting('request.jwt.claims', true), ''), '-')";

/// The input of `api.begin_turn` for a direct message, with limits that do not matter.
fn turn(agent: Uuid, key: Option<&str>, request_hash: &str) -> Value {
    json!({
        "agent_id": agent, "message": "Hello", "history_limit": 20, "lease_seconds": 60,
        "idempotency_key": key, "request_hash": request_hash,
        "user_per_minute": 600, "user_burst": 100, "agent_per_minute": 600, "agent_burst": 100,
    })
}

/// The input of `api.complete_turn` for a turn that was begun.
fn reply(begun: &Value, text: &str) -> Value {
    json!({
        "turn_id": begun["turn_id"], "lease_id": begun["lease_id"], "content": text, "is_partial": false,
        "metadata": {}, "response": { "reply": text },
        "model": "model", "provider": "openai", "input_tokens": 3, "output_tokens": 2, "milliseconds": 10,
    })
}

/// An agent of a user's.
async fn agent(owner: &Client, user: Uuid) -> Uuid {
    let statement = "INSERT INTO public.agents (user_id, name) VALUES ($1, 'Atlas') RETURNING id";
    owner.query_one(statement, &[&user]).await.unwrap().get(0)
}

/// A workspace of a user's, and its one channel.
async fn workspace(owner: &Client, user: Uuid) -> (Uuid, Uuid) {
    let statement = "WITH made AS (INSERT INTO public.workspaces (name, owner_user_id) VALUES ('W', $1) RETURNING id)
                     INSERT INTO public.chat_channels (workspace_id, name) SELECT id, 'general' FROM made
                     RETURNING workspace_id, id";
    let row = owner.query_one(statement, &[&user]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn becoming_somebody_ends_with_the_statement() {
    let functions = Database::migrated().await.functions().await;
    let before = texts(&functions, WHO, &[]).await;
    assert_eq!(before, ["agentopia_functions -"]);

    let caller = user(Uuid::from_u128(1));
    for statement in [
        "SELECT app.become($1::text::jsonb)",
        "SELECT api.health($1::text::jsonb, '{}')",
        // Refused after it became the caller.
        "SELECT api.begin_turn($1::text::jsonb, '{\"lease_seconds\": 60}')",
    ] {
        // What comes of it is not the question here.
        let _refused = functions.query(statement, &[&caller.to_string()]).await;

        assert_eq!(texts(&functions, WHO, &[]).await, before, "{statement}");
    }
}

#[tokio::test]
async fn a_caller_is_a_user_with_an_id_or_a_service_with_a_name() {
    let functions = Database::migrated().await.functions().await;
    let mut refusals = Vec::new();
    for caller in [
        json!(null),
        json!({}),
        json!("user"),
        json!({ "kind": "admin", "id": TENANT }),
        json!({ "kind": "user" }),
        json!({ "kind": "user", "id": null }),
        json!({ "kind": "user", "id": "me" }),
        json!({ "kind": "service" }),
        json!({ "kind": "service_role", "name": "sweep" }),
    ] {
        let refused = call(&functions, "health", &caller, &json!({})).await.unwrap_err();
        refusals.push(format!("{caller} {refused}"));
    }

    assert_snapshot!(refusals.join("\n"), @r#"
    null 28000
    {} 28000
    "user" 28000
    {"id":"00000000-0000-4000-a000-0000000000a0","kind":"admin"} 28000
    {"kind":"user"} 28000
    {"id":null,"kind":"user"} 28000
    {"id":"me","kind":"user"} 22P02
    {"kind":"service"} 28000
    {"kind":"service_role","name":"sweep"} 28000
    "#);
    assert_eq!(
        call(&functions, "health", &user(TENANT), &json!({})).await,
        Ok(json!({ "database": "ok" }))
    );
}

#[tokio::test]
async fn claims_say_neither_who_the_user_is_nor_in_which_role() {
    let functions = Database::migrated().await.functions().await;
    let other = Uuid::from_u128(7);
    let caller = json!({
        "kind": "user", "id": TENANT,
        "claims": { "sub": other, "role": "service_role", "email": "tenant@example.com" },
    });

    functions.batch_execute("BEGIN").await.unwrap();
    functions
        .query("SELECT app.become($1::text::jsonb)", &[&caller.to_string()])
        .await
        .unwrap();
    let who = "SELECT current_user || ' ' || auth.uid() || ' ' || auth.role() || ' ' || (auth.jwt() ->> 'email')";

    assert_eq!(
        texts(&functions, who, &[]).await,
        [format!("authenticated {TENANT} authenticated tenant@example.com")]
    );
}

#[tokio::test]
async fn an_operation_for_users_takes_no_service_for_one() {
    let functions = Database::migrated().await.functions().await;
    let service = json!({ "kind": "service", "name": "sweep" });

    let refused = call(&functions, "begin_turn", &service, &turn(AGENT, None, "hash")).await;

    assert_eq!(refused, Err("28000".to_owned()));
}

#[tokio::test]
async fn a_users_own_login_becomes_nobody_else_and_calls_no_operation() {
    let database = Database::with_tenant().await;
    let owner = database.owner().await;
    let login = "DROP ROLE IF EXISTS data_test_login;
                 CREATE ROLE data_test_login LOGIN PASSWORD 'data_test_login' IN ROLE authenticated;";
    owner.batch_execute(login).await.unwrap();
    let client = database.login("data_test_login", "data_test_login").await;

    for statement in [
        r#"SELECT app.become('{"kind": "service", "name": "sweep"}')"#,
        "SELECT app.become_service()",
        "SET ROLE service_role",
        r#"SELECT api.health('{"kind": "service", "name": "sweep"}', '{}')"#,
        r#"SELECT api.health('{"kind": "user", "id": "00000000-0000-4000-a000-0000000000a0"}', '{}')"#,
        "SELECT app.take_rate_limit('key', 1, 1)",
        "SELECT count(*) FROM app.jobs",
    ] {
        assert_eq!(
            attempt(&client, statement, &[]).await,
            Err("42501".to_owned()),
            "{statement}"
        );
    }
    // The tenant's id as a claim is all that a token could say, and a login is no token: only the functions' word is believed.
    assert_eq!(count(&client, "SELECT count(*) FROM public.agents", &[]).await, 0);
}

#[tokio::test]
async fn a_limit_gives_a_burst_and_then_one_at_a_time() {
    let owner = Database::migrated().await.owner().await;
    let take = "SELECT app.take_rate_limit('key', 1, 3) - 'reset_seconds' - 'limit'";
    let took = async || -> Value { owner.query_one(take, &[]).await.unwrap().get(0) };
    let taken = |remaining: u8| json!({ "allowed": true, "remaining": remaining, "retry_after_seconds": 0 });
    let refused = json!({ "allowed": false, "remaining": 0, "retry_after_seconds": 60 });
    // A minute passes for the limit's row.
    let wait = "UPDATE app.rate_limits SET tat = tat - interval '1 minute'";

    assert_eq!(took().await, taken(2));
    assert_eq!(took().await, taken(1));
    assert_eq!(took().await, taken(0));
    assert_eq!(took().await, refused);
    assert_eq!(took().await, refused, "a refused request takes nothing");
    owner.execute(wait, &[]).await.unwrap();
    assert_eq!(took().await, taken(0));
    assert_eq!(took().await, refused);
    for _ in 0..10 {
        owner.execute(wait, &[]).await.unwrap();
    }
    assert_eq!(took().await, taken(2), "it never gives more than the burst");
}

#[tokio::test]
async fn of_concurrent_requests_a_burst_passes() {
    let database = Database::migrated().await;
    let clients = join_all((0..8).map(|_| database.owner())).await;
    let take = "SELECT (app.take_rate_limit('key', 1, 5) ->> 'allowed')::boolean";

    let rounds = join_all(clients.iter().map(async |client| {
        let taken = join_all((0..4).map(|_| client.query_one(take, &[]))).await;
        taken.into_iter().filter(|row| row.as_ref().unwrap().get(0)).count()
    }))
    .await;

    assert_eq!(rounds.into_iter().sum::<usize>(), 5);
}

#[tokio::test]
async fn a_turn_that_died_is_taken_over_with_its_message() {
    let database = Database::migrated().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let ada = sign_up(&owner, "ada@example.com").await;
    let agent = agent(&owner, ada).await;
    let begin = async |hash: &str| call(&functions, "begin_turn", &user(ada), &turn(agent, Some("key"), hash)).await;
    let complete =
        async |begun: &Value, text: &str| call(&functions, "complete_turn", &user(ada), &reply(begun, text)).await;

    let first = begin("hash").await.unwrap();
    assert_eq!(begin("hash").await, Err("PT409 turn_in_progress".to_owned()));
    assert_eq!(begin("another").await, Err("PT422 idempotency_key_reused".to_owned()));

    // Its lease runs out.
    owner
        .execute(
            "UPDATE app.idempotency_keys SET lease_expires_at = now() - interval '1 second'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(begin("another").await, Err("PT422 idempotency_key_reused".to_owned()));
    let second = begin("hash").await.unwrap();
    assert_eq!(
        (&second["turn_id"], &second["user_message"]),
        (&first["turn_id"], &first["user_message"])
    );
    assert_ne!(second["lease_id"], first["lease_id"]);

    // It was not dead, only slow.
    assert_eq!(complete(&first, "Late").await, Err("PT409 turn_superseded".to_owned()));
    let completed = complete(&second, "Hi").await.unwrap();
    assert_eq!(
        complete(&second, "Hi").await.as_ref(),
        Ok(&completed),
        "asked again, it is the same"
    );

    let replayed = begin("hash").await.unwrap();
    assert_eq!(
        replayed,
        json!({ "outcome": "replayed", "response": completed["response"] })
    );
    let said = "SELECT sender_kind || ': ' || content FROM public.chat_messages ORDER BY created_at";
    assert_eq!(texts(&owner, said, &[]).await, ["user: Hello", "agent: Hi"]);
}

#[tokio::test]
async fn a_turn_that_failed_can_be_asked_again_at_once() {
    let database = Database::migrated().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let ada = sign_up(&owner, "ada@example.com").await;
    let input = turn(agent(&owner, ada).await, Some("key"), "hash");
    let first = call(&functions, "begin_turn", &user(ada), &input).await.unwrap();
    let mut failure = reply(&first, "");
    failure["error_code"] = json!("model_failed");

    call(&functions, "fail_turn", &user(ada), &failure).await.unwrap();
    let second = call(&functions, "begin_turn", &user(ada), &input).await.unwrap();
    call(&functions, "complete_turn", &user(ada), &reply(&second, "Hi"))
        .await
        .unwrap();

    assert_eq!(second["turn_id"], first["turn_id"]);
    assert_eq!(count(&owner, "SELECT count(*) FROM public.chat_messages", &[]).await, 2);
    let outcomes = "SELECT outcome FROM app.usage_records ORDER BY created_at";
    assert_eq!(texts(&owner, outcomes, &[]).await, ["model_failed", "completed"]);
}

#[tokio::test]
async fn a_turn_is_finished_by_its_own_user_alone() {
    let database = Database::migrated().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let (ada, bob) = (
        sign_up(&owner, "ada@example.com").await,
        sign_up(&owner, "bob@example.com").await,
    );
    let begun = call(
        &functions,
        "begin_turn",
        &user(ada),
        &turn(agent(&owner, ada).await, None, "hash"),
    )
    .await
    .unwrap();

    let refused = call(&functions, "complete_turn", &user(bob), &reply(&begun, "Hi")).await;
    call(&functions, "fail_turn", &user(bob), &reply(&begun, ""))
        .await
        .unwrap();

    assert_eq!(refused, Err("PT404 conversation_gone".to_owned()));
    assert_eq!(
        texts(&owner, "SELECT status FROM app.chat_turns", &[]).await,
        ["running"]
    );
}

#[tokio::test]
async fn power_leaves_a_trace_and_secrets_do_not() {
    let owner = Database::with_tenant().await.owner().await;
    let audited = "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger
                   WHERE tgfoid = 'app.audit_change()'::regprocedure";
    let audited: BTreeSet<_> = texts(&owner, audited, &[]).await.into_iter().collect();

    let logged = texts(&owner, "SELECT DISTINCT table_name FROM app.audit_log", &[]).await;
    assert_eq!(logged.into_iter().collect::<BTreeSet<_>>(), audited);

    // Everything secret changes, and something else with it. Connections to guilds have no tokens.
    owner
        .batch_execute("DELETE FROM public.agent_discord_connections WHERE guild_id IS NOT NULL")
        .await
        .unwrap();
    let columns = owner
        .query(
            "SELECT attrelid::regclass::text, attname::text, atttypid = 'bytea'::regtype
             FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
               AND (attname ~ '(_sealed|_hash|_fingerprint)$' OR attname = 'encrypted_credentials')
               AND attrelid::regclass::text <> 'datastores'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(columns.len(), 8);
    for column in &columns {
        let (table, name, is_bytes): (String, String, bool) = (column.get(0), column.get(1), column.get(2));
        let value = if is_bytes {
            "sha256('canary-changed')"
        } else {
            "'canary-changed'"
        };
        owner
            .execute(&format!("UPDATE public.{table} SET {name} = {value}"), &[])
            .await
            .unwrap();
        let entry = "SELECT count(*) FROM app.audit_log
                     WHERE table_name = $1 AND action = 'update' AND changes = jsonb_build_object($2::text, 'withheld')";
        assert_eq!(count(&owner, entry, &[&table, &name]).await, 1, "{table}.{name}");
    }

    let secrets = "SELECT unnest(ARRAY['canary'] || ARRAY(
                       SELECT encode(sha256(text::bytea), 'hex')
                       FROM unnest(ARRAY['canary-token', 'canary-bootstrap-token', 'canary-worker-token',
                                         'canary-bot-token', 'canary-changed']) AS text
                   ))";
    for secret in texts(&owner, secrets, &[]).await {
        let found = "SELECT count(*) FROM app.audit_log WHERE changes::text LIKE '%' || $1 || '%'";
        assert_eq!(count(&owner, found, &[&secret]).await, 0, "{secret}");
    }
}

#[tokio::test]
async fn the_log_knows_who_acted_and_for_whom() {
    let owner = Database::with_tenant().await.owner().await;
    let other = sign_up(&owner, "other@example.com").await;

    become_user(&owner, TENANT).await;
    let add = "INSERT INTO public.workspace_invitations (workspace_id, invited_user_id, invited_by_user_id)
               VALUES ('00000000-0000-4000-a000-000000000020', $1, auth.uid())";
    owner.execute(add, &[&other]).await.unwrap();
    owner.batch_execute("COMMIT").await.unwrap();

    let entry = "SELECT concat_ws(' ', actor_kind, actor_user_id, action, table_name, owner_user_id)
                 FROM app.audit_log ORDER BY id DESC LIMIT 1";
    assert_eq!(
        texts(&owner, entry, &[]).await,
        [format!("user {TENANT} insert workspace_invitations {TENANT}")]
    );
}

#[tokio::test]
async fn the_log_is_not_rewritten_even_by_its_owner() {
    let owner = Database::with_tenant().await.owner().await;

    for role in ["service_role", "postgres"] {
        owner.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
        for statement in [
            "UPDATE app.audit_log SET action = 'nothing'",
            "DELETE FROM app.audit_log",
            "TRUNCATE app.audit_log",
        ] {
            assert_eq!(
                attempt(&owner, statement, &[]).await,
                Err("42501".to_owned()),
                "{role}: {statement}"
            );
        }
    }
}

#[tokio::test]
async fn a_user_who_ever_spoke_can_be_deleted() {
    let owner = Database::with_tenant().await.owner().await;
    let host = sign_up(&owner, "host@example.com").await;
    let (_, channel) = workspace(&owner, host).await;
    let speak = "INSERT INTO public.chat_messages (channel_id, sender_kind, sender_user_id, content)
                 VALUES ($1, 'user', $2, 'I was here')";
    owner.execute(speak, &[&channel, &TENANT]).await.unwrap();

    owner
        .execute("DELETE FROM auth.users WHERE id = $1", &[&TENANT])
        .await
        .unwrap();

    let said =
        "SELECT concat_ws(' ', sender_kind, sender_user_id, content) FROM public.chat_messages WHERE channel_id = $1";
    assert_eq!(
        texts(&owner, said, &[&channel]).await,
        ["user I was here"],
        "it stays, and names nobody"
    );
    // A machine is to be destroyed even when its owner is gone, and whoever asked on Discord is told within the hour.
    assert_eq!(
        remembering(&owner, TENANT).await,
        ["app.audit_log", "app.discord_interactions", "app.machine_attempts"]
    );
}

#[tokio::test]
async fn an_agent_that_ever_spoke_can_be_deleted() {
    let owner = Database::with_tenant().await.owner().await;
    let speak = "INSERT INTO public.chat_messages (channel_id, sender_kind, sender_agent_id, content)
                 VALUES ('00000000-0000-4000-a000-000000000023', 'agent', $1, 'I was here')";
    owner.execute(speak, &[&AGENT]).await.unwrap();

    become_user(&owner, TENANT).await;
    assert_eq!(
        attempt(&owner, "DELETE FROM public.agents WHERE id = $1", &[&AGENT]).await,
        Ok(1)
    );
    owner.batch_execute("COMMIT").await.unwrap();

    let said = "SELECT content FROM public.chat_messages WHERE sender_kind = 'agent' AND sender_agent_id IS NULL";
    assert_eq!(texts(&owner, said, &[]).await, ["I was here"]);
    assert_eq!(
        remembering(&owner, AGENT).await,
        ["app.audit_log", "app.discord_interactions"]
    );
    let usage = "SELECT count(*) FROM app.usage_records WHERE agent_id IS NULL AND user_id = $1";
    assert_eq!(count(&owner, usage, &[&TENANT]).await, 1, "what it cost is kept");
}

/// The tables in which an id occurs anywhere.
async fn remembering(owner: &Client, id: Uuid) -> Vec<String> {
    let tables = "SELECT format('%I.%I', nspname, relname)
                  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                  WHERE nspname IN ('public', 'app', 'auth') AND relkind = 'r'
                  ORDER BY 1";
    let mut found = Vec::new();
    for table in texts(owner, tables, &[]).await {
        let rows = format!("SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%' || $1 || '%'");
        if count(owner, &rows, &[&id.to_string()]).await > 0 {
            found.push(table);
        }
    }
    found
}

#[tokio::test]
async fn nobody_makes_themselves_a_member() {
    let owner = Database::with_tenant().await.owner().await;
    let other = sign_up(&owner, "other@example.com").await;

    for (who, role) in [(other, "stranger"), (TENANT, "owner")] {
        become_user(&owner, who).await;
        for statement in [
            "INSERT INTO public.workspace_members (workspace_id, user_id, added_by_user_id)
             VALUES ('00000000-0000-4000-a000-000000000020', $1, auth.uid())",
            "INSERT INTO public.user_team_memberships (team_id, user_id)
             VALUES ('00000000-0000-4000-a000-000000000010', $1)",
        ] {
            owner.batch_execute("SAVEPOINT one").await.unwrap();
            assert_eq!(
                attempt(&owner, statement, &[&other]).await,
                Err("42501".to_owned()),
                "{role}: {statement}"
            );
            owner.batch_execute("ROLLBACK TO one").await.unwrap();
        }
        owner.batch_execute("ROLLBACK").await.unwrap();
    }
}

/// What differs between the two kinds of invitation.
struct Invitations {
    table: &'static str,
    accept: &'static str,
    decline: &'static str,
    to: &'static str,
    members: &'static str,
}

const INVITATIONS: [Invitations; 2] = [
    Invitations {
        table: "public.workspace_invitations",
        accept: "SELECT public.accept_workspace_invitation($1)",
        decline: "SELECT public.decline_workspace_invitation($1)",
        to: "workspace_id = '00000000-0000-4000-a000-000000000020'",
        members: "SELECT count(*) FROM public.workspace_members WHERE user_id = $1",
    },
    Invitations {
        table: "public.team_invitations",
        accept: "SELECT public.accept_team_invitation($1)",
        decline: "SELECT public.decline_team_invitation($1)",
        to: "team_id = '00000000-0000-4000-a000-000000000010'",
        members: "SELECT count(*) FROM public.user_team_memberships WHERE user_id = $1",
    },
];

impl Invitations {
    /// The tenant invites, as PostgREST would insert it; commits.
    async fn invite(&self, owner: &Client, column: &str, whom: &str) -> Uuid {
        become_user(owner, TENANT).await;
        let (scope, id) = self.to.split_once(" = ").unwrap();
        let statement = format!(
            "INSERT INTO {} ({scope}, {column}, invited_by_user_id) VALUES ({id}, '{whom}', auth.uid()) RETURNING id",
            self.table
        );
        let id = owner.query_one(&statement, &[]).await.unwrap().get(0);
        owner.batch_execute("COMMIT").await.unwrap();
        id
    }

    /// The user answers; commits.
    async fn answer(&self, owner: &Client, who: Uuid, statement: &str, id: Uuid) -> Result<u64, String> {
        become_user(owner, who).await;
        let answered = attempt(owner, statement, &[&id]).await;
        owner.batch_execute("COMMIT").await.unwrap();
        answered
    }
}

#[tokio::test]
async fn members_come_by_accepting_an_invitation_of_their_own() {
    for kind in INVITATIONS {
        let owner = Database::with_tenant().await.owner().await;
        let (guest, other) = (
            sign_up(&owner, "guest@example.com").await,
            sign_up(&owner, "other@example.com").await,
        );
        let not_found = Err("PT404 invitation_not_found".to_owned());

        let invitation = kind.invite(&owner, "invited_user_id", &guest.to_string()).await;
        assert_eq!(
            kind.answer(&owner, other, kind.accept, invitation).await,
            not_found,
            "somebody else's"
        );
        assert_eq!(
            kind.answer(&owner, TENANT, kind.accept, invitation).await,
            not_found,
            "the host's own"
        );
        assert_eq!(
            count(&owner, kind.members, &[&guest]).await,
            0,
            "not before it is accepted"
        );
        assert_eq!(kind.answer(&owner, guest, kind.accept, invitation).await, Ok(1));
        assert_eq!(
            kind.answer(&owner, guest, kind.accept, invitation).await,
            not_found,
            "answered once"
        );
        assert_eq!(
            kind.answer(&owner, guest, kind.decline, invitation).await,
            not_found,
            "answered once"
        );
        assert_eq!(count(&owner, kind.members, &[&guest]).await, 1);

        let declined = kind.invite(&owner, "invited_user_id", &other.to_string()).await;
        assert_eq!(kind.answer(&owner, other, kind.decline, declined).await, Ok(1));
        assert_eq!(
            kind.answer(&owner, other, kind.accept, declined).await,
            not_found,
            "declined is declined"
        );

        let expired = kind.invite(&owner, "invited_user_id", &other.to_string()).await;
        let expire = format!("UPDATE {} SET expires_at = now() WHERE id = $1", kind.table);
        owner.execute(&expire, &[&expired]).await.unwrap();
        assert_eq!(
            kind.answer(&owner, other, kind.accept, expired).await,
            not_found,
            "too late"
        );
        assert_eq!(count(&owner, kind.members, &[&other]).await, 0);
    }
}

#[tokio::test]
async fn an_address_is_accepted_for_only_once_it_is_confirmed() {
    for kind in INVITATIONS {
        let owner = Database::with_tenant().await.owner().await;
        let guest = sign_up(&owner, "Guest@Example.com").await;
        let unconfirm = "UPDATE auth.users SET email_confirmed_at = NULL WHERE id = $1";
        let confirm = "UPDATE auth.users SET email_confirmed_at = now() WHERE id = $1";
        let invitation = kind.invite(&owner, "invited_email", "guest@example.com").await;

        owner.execute(unconfirm, &[&guest]).await.unwrap();
        let early = kind.answer(&owner, guest, kind.accept, invitation).await;
        owner.execute(confirm, &[&guest]).await.unwrap();
        let proved = kind.answer(&owner, guest, kind.accept, invitation).await;

        assert_eq!(
            (early, proved),
            (Err("PT404 invitation_not_found".to_owned()), Ok(1)),
            "{}",
            kind.table
        );
        assert_eq!(count(&owner, kind.members, &[&guest]).await, 1);
    }
}

#[tokio::test]
async fn a_status_is_one_of_those_that_are_known() {
    let owner = Database::with_tenant().await.owner().await;
    let statuses = "SELECT format('UPDATE %s SET %I = ''nonsense''', attrelid::regclass, attname)
                    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                    WHERE relnamespace = ANY ('{public, app}'::regnamespace[]) AND relkind = 'r'
                      AND attname ~ '(^|_)(status|kind)(_|$)' AND attname !~ '_at$' AND atttypid = 'text'::regtype
                      AND attrelid <> ALL ('{app.jobs, app.audit_log}'::regclass[])
                    ORDER BY 1";

    let statements = texts(&owner, statuses, &[]).await;
    assert!(statements.len() >= 12, "{statements:?}");
    for statement in statements {
        let refused = attempt(&owner, &statement, &[]).await.unwrap_err();
        assert!(
            refused.starts_with("23514 ") && refused.ends_with("_check"),
            "{statement}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_message_stands_in_exactly_one_conversation() {
    let owner = Database::with_tenant().await.owner().await;
    let (channel, direct, outside) = (
        "'00000000-0000-4000-a000-000000000023'",
        "'00000000-0000-4000-a000-000000000024'",
        "'00000000-0000-4000-a000-000000000025'",
    );

    for (scopes, expected) in [
        ([channel, "NULL", "NULL"], Ok(1)),
        (["NULL", direct, "NULL"], Ok(1)),
        (["NULL", "NULL", outside], Ok(1)),
        (
            ["NULL", "NULL", "NULL"],
            Err("23514 chat_messages_one_conversation_check".to_owned()),
        ),
        (
            [channel, direct, "NULL"],
            Err("23514 chat_messages_one_conversation_check".to_owned()),
        ),
        (
            [channel, direct, outside],
            Err("23514 chat_messages_one_conversation_check".to_owned()),
        ),
    ] {
        let statement = format!(
            "INSERT INTO public.chat_messages
             (channel_id, direct_conversation_id, outside_conversation_id, sender_kind, content)
             VALUES ({}, 'system', 'Hello')",
            scopes.join(", ")
        );
        assert_eq!(attempt(&owner, &statement, &[]).await, expected, "{scopes:?}");
    }
}

#[tokio::test]
async fn users_speak_for_themselves_alone() {
    let owner = Database::with_tenant().await.owner().await;
    let other = sign_up(&owner, "other@example.com").await;

    become_user(&owner, TENANT).await;
    let mut outcomes = Vec::new();
    for (kind, sender) in [("user", TENANT), ("user", other), ("agent", TENANT), ("system", TENANT)] {
        owner.batch_execute("SAVEPOINT one").await.unwrap();
        let statement = "INSERT INTO public.chat_messages (channel_id, sender_kind, sender_user_id, content)
                         VALUES ('00000000-0000-4000-a000-000000000023', $1, $2, 'Hello')";
        let outcome = attempt(&owner, statement, &[&kind, &sender]).await;
        outcomes.push(outcome.map_or_else(|code| code, |_| "stored".to_owned()));
        owner.batch_execute("ROLLBACK TO one").await.unwrap();
    }
    let rewrite = owner
        .execute("UPDATE public.chat_messages SET content = 'Never said'", &[])
        .await
        .unwrap_err();

    assert_eq!(outcomes, ["stored", "42501", "42501", "42501"]);
    assert_eq!(refusal(&rewrite), "42501");
}
