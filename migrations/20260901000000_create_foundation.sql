-- The ground for everything else: roles, schemas, the vector extension, closed default privileges, and the few
-- functions with which an operation becomes its caller and refuses.
--
-- It serves an empty Postgres as well as a Supabase project. What Supabase brings (the roles `anon`, `authenticated`
-- and `service_role`, schema `auth` with its users and `auth.uid()`, schema `extensions`) is created only where it is
-- missing and never altered where it is not, because there it belongs to somebody else.

DO $$
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RAISE EXCEPTION 'PostgreSQL 15 or later is needed, this is %', current_setting('server_version');
    END IF;

    -- Every table forces row level security on its owner too, and the definer functions behind the policies run as
    -- that owner: they must see all rows.
    IF NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_roles AS migrator
        WHERE migrator.rolname = current_user
          AND (migrator.rolsuper OR migrator.rolbypassrls)
    ) THEN
        RAISE EXCEPTION 'the migrating role % must be a superuser or have BYPASSRLS', current_user;
    END IF;
END
$$;


-- Roles
--
-- Roles belong to the cluster, not to this database: another database of the same cluster may be creating them at
-- this very moment, which is no error.

DO $$
DECLARE
    v_definition text;
BEGIN
    FOREACH v_definition IN ARRAY ARRAY[
        'anon NOLOGIN NOINHERIT',
        'authenticated NOLOGIN NOINHERIT',
        'service_role NOLOGIN NOINHERIT BYPASSRLS',
        -- The functions log in as this role. It owns nothing and may touch no table: whoever forgets to become a
        -- caller gets nothing. It is created without a password, hence cannot log in until it is given one.
        'agentopia_functions LOGIN NOINHERIT'
    ]
    LOOP
        IF to_regrole(split_part(v_definition, ' ', 1)) IS NULL THEN
            BEGIN
                EXECUTE 'CREATE ROLE ' || v_definition;
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL;
            END;
        END IF;
    END LOOP;

    IF NOT pg_has_role('agentopia_functions', 'authenticated', 'MEMBER') THEN
        GRANT authenticated TO agentopia_functions;
    END IF;

    IF NOT pg_has_role('agentopia_functions', 'service_role', 'MEMBER') THEN
        GRANT service_role TO agentopia_functions;
    END IF;

    IF NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_db_role_setting AS setting
        WHERE setting.setrole = to_regrole('agentopia_functions')
          AND setting.setdatabase = 0
    ) THEN
        ALTER ROLE agentopia_functions SET statement_timeout = '15s';
        ALTER ROLE agentopia_functions SET idle_in_transaction_session_timeout = '10s';
        ALTER ROLE agentopia_functions SET search_path = '';
        ALTER ROLE agentopia_functions SET timezone = 'UTC';
        -- An operation's statements are written for one plan. Planning each anew five times before keeping a plan, on every
        -- connection, would cost more than it could find.
        ALTER ROLE agentopia_functions SET plan_cache_mode = 'force_generic_plan';
    END IF;
END
$$;


-- Schemas and the vector extension

-- Rules, helpers and server-only tables. Never exposed to PostgREST.
CREATE SCHEMA IF NOT EXISTS app;

-- One function per operation, `api.<operation>(caller jsonb, input jsonb)`. Never exposed to PostgREST.
CREATE SCHEMA IF NOT EXISTS api;

DO $$
DECLARE
    v_vector_schema text;
BEGIN
    IF to_regnamespace('extensions') IS NULL THEN
        CREATE SCHEMA extensions;
        GRANT USAGE ON SCHEMA extensions TO authenticated, service_role;
    END IF;

    SELECT extension.extnamespace::regnamespace::text
    INTO v_vector_schema
    FROM pg_catalog.pg_extension AS extension
    WHERE extension.extname = 'vector';

    IF v_vector_schema IS NULL THEN
        CREATE EXTENSION vector WITH SCHEMA extensions;
    ELSIF v_vector_schema <> 'extensions' THEN
        RAISE EXCEPTION 'extension vector is in schema %, it is expected in schema extensions', v_vector_schema
            USING HINT = 'ALTER EXTENSION vector SET SCHEMA extensions';
    END IF;
END
$$;


-- Closed by default
--
-- Supabase opens each new table, sequence and function of `public` to anon, authenticated and service_role, and
-- Postgres opens each new function to everybody. Neither happens to what the migrating role makes from here on:
-- whatever is open was opened by a GRANT that can be read.

ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM PUBLIC, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM PUBLIC, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON FUNCTIONS FROM PUBLIC, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;


-- Supabase's schema `auth`, as far as anything here needs it

DO $do$
BEGIN
    IF to_regnamespace('auth') IS NULL THEN
        CREATE SCHEMA auth;
        GRANT USAGE ON SCHEMA auth TO authenticated, service_role;
    END IF;

    IF to_regclass('auth.users') IS NULL THEN
        CREATE TABLE auth.users (
            id uuid NOT NULL DEFAULT gen_random_uuid(),
            email text,
            email_confirmed_at timestamptz,
            raw_app_meta_data jsonb,
            raw_user_meta_data jsonb,
            created_at timestamptz DEFAULT now(),
            updated_at timestamptz DEFAULT now(),
            CONSTRAINT users_pkey PRIMARY KEY (id),
            CONSTRAINT users_email_key UNIQUE (email)
        );
        ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
        REVOKE ALL ON auth.users FROM PUBLIC, anon, authenticated, service_role;
    END IF;

    IF to_regprocedure('auth.jwt()') IS NULL THEN
        CREATE FUNCTION auth.jwt()
        RETURNS jsonb
        LANGUAGE sql
        STABLE
        AS $$
            SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb
        $$;
        GRANT EXECUTE ON FUNCTION auth.jwt() TO authenticated, service_role;
    END IF;

    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE FUNCTION auth.uid()
        RETURNS uuid
        LANGUAGE sql
        STABLE
        AS $$
            SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
        $$;
        GRANT EXECUTE ON FUNCTION auth.uid() TO authenticated, service_role;
    END IF;

    IF to_regprocedure('auth.role()') IS NULL THEN
        CREATE FUNCTION auth.role()
        RETURNS text
        LANGUAGE sql
        STABLE
        AS $$
            SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
        $$;
        GRANT EXECUTE ON FUNCTION auth.role() TO authenticated, service_role;
    END IF;
END
$do$;


-- Who may enter which schema

REVOKE ALL ON SCHEMA app, api FROM PUBLIC, anon, authenticated, service_role;
GRANT USAGE ON SCHEMA public TO authenticated, service_role;
GRANT USAGE ON SCHEMA app TO agentopia_functions, authenticated, service_role;
GRANT USAGE ON SCHEMA api TO agentopia_functions;

-- Made by the migration runner, before the first migration.
ALTER TABLE IF EXISTS app.schema_migrations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE IF EXISTS app.operation_files ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;


-- Becoming the caller
--
-- Nothing below is SECURITY DEFINER. Postgres measures a change of role by the *session's* user, so these functions
-- lend nobody a right: a session that logged in as agentopia_functions may become authenticated or service_role, and
-- back, at any point of an operation; any other session is refused by Postgres, whatever EXECUTE it holds. Role and
-- claims are local to the transaction, which for an operation is its one statement.

CREATE FUNCTION app.become(caller jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    IF caller ->> 'kind' = 'user' AND caller ->> 'id' IS NOT NULL THEN
        PERFORM set_config(
            'request.jwt.claims',
            (
                coalesce(nullif(caller -> 'claims', 'null'), '{}')
                || jsonb_build_object('sub', (caller ->> 'id')::uuid, 'role', 'authenticated')
            )::text,
            true
        );
        PERFORM set_config('role', 'authenticated', true);
    ELSIF caller ->> 'kind' = 'service' AND caller ->> 'name' IS NOT NULL THEN
        PERFORM set_config(
            'request.jwt.claims',
            jsonb_build_object('role', 'service_role', 'service', caller ->> 'name')::text,
            true
        );
        PERFORM set_config('role', 'service_role', true);
    ELSE
        RAISE EXCEPTION 'an operation needs a caller that is a user with an id or a service with a name'
            USING ERRCODE = 'invalid_authorization_specification';
    END IF;
END
$$;

-- What the operations for users begin with: no service passes for a user. Returns the user's id.
CREATE FUNCTION app.become_user(caller jsonb)
RETURNS uuid
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    IF caller ->> 'kind' IS DISTINCT FROM 'user' THEN
        RAISE EXCEPTION 'this operation needs a caller that is a user'
            USING ERRCODE = 'invalid_authorization_specification';
    END IF;

    PERFORM app.become(caller);
    RETURN auth.uid();
END
$$;

-- For the rows that no user may write: an operation steps up when the user's checks are done. The claims stay, so
-- that `auth.uid()` and the audit log still tell on whose behalf it acts.
CREATE FUNCTION app.become_service()
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM set_config('role', 'service_role', true);
END
$$;

-- Refuses a request in PostgREST's convention: SQLSTATE `PT` and the HTTP status, the text for people as message, the
-- stable code as detail, further members of the answer as hint.
CREATE FUNCTION app.refuse(p_status int, p_code text, p_message text, p_extra jsonb DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'PT' || p_status,
        MESSAGE = p_message,
        DETAIL = p_code,
        HINT = coalesce(p_extra::text, '');
END
$$;

-- Called at the end of each operations file: only those that log in for the functions execute operations.
CREATE FUNCTION app.grant_operations()
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_login_role text;
BEGIN
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA api FROM PUBLIC, anon, authenticated, service_role;

    -- On Supabase the role `authenticator` can serve as well.
    FOREACH v_login_role IN ARRAY ARRAY['agentopia_functions', 'authenticator']
    LOOP
        IF to_regrole(v_login_role) IS NOT NULL THEN
            EXECUTE format('GRANT USAGE ON SCHEMA app, api TO %I', v_login_role);
            EXECUTE format('GRANT EXECUTE ON FUNCTION app.become(jsonb), app.become_user(jsonb) TO %I', v_login_role);
            EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA api TO %I', v_login_role);
        END IF;
    END LOOP;
END
$$;

CREATE FUNCTION app.set_updated_at()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.become(jsonb),
    app.become_user(jsonb),
    app.become_service(),
    app.refuse(int, text, text, jsonb)
TO agentopia_functions, authenticated, service_role;
