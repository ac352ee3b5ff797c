-- What a Supabase project looks like before our migrations, as far as they can tell. A superuser runs this on an
-- empty database; the migrations then run as supabase_project_owner.
--
-- On Supabase that role is called `postgres` and is no superuser. A test cluster's superuser already has that name,
-- hence another one here. Roles belong to the cluster, so whatever exists already is left alone, and this file can
-- run in any number of databases of one cluster.

DO $$
DECLARE
    v_definition text;
BEGIN
    FOREACH v_definition IN ARRAY ARRAY[
        'anon NOLOGIN NOINHERIT',
        'authenticated NOLOGIN NOINHERIT',
        'service_role NOLOGIN NOINHERIT BYPASSRLS',
        'authenticator LOGIN NOINHERIT',
        'supabase_auth_admin LOGIN NOINHERIT CREATEROLE',
        'supabase_project_owner LOGIN CREATEDB CREATEROLE BYPASSRLS'
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

    IF NOT pg_has_role('authenticator', 'service_role', 'MEMBER') THEN
        GRANT anon, authenticated, service_role TO authenticator;
    END IF;

    IF NOT pg_has_role('supabase_project_owner', 'service_role', 'MEMBER WITH ADMIN OPTION') THEN
        GRANT anon, authenticated, service_role TO supabase_project_owner WITH ADMIN OPTION;
    END IF;

    EXECUTE format('GRANT ALL ON DATABASE %I TO supabase_project_owner', current_database());
END
$$;

GRANT ALL ON SCHEMA public TO supabase_project_owner WITH GRANT OPTION;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;

-- Every new table, sequence and function of `public` is open to the three API roles.
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_project_owner IN SCHEMA public
GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_project_owner IN SCHEMA public
GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_project_owner IN SCHEMA public
GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;

CREATE SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO anon, authenticated, service_role;
GRANT ALL ON SCHEMA extensions TO supabase_project_owner;

-- On Supabase the project's owner may create it without being a superuser, by an extension that only Supabase has.
CREATE EXTENSION vector WITH SCHEMA extensions;

CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
GRANT ALL ON SCHEMA auth TO supabase_project_owner;

CREATE TABLE auth.users (
    instance_id uuid,
    id uuid NOT NULL,
    aud character varying(255),
    role character varying(255),
    email character varying(255),
    encrypted_password character varying(255),
    email_confirmed_at timestamptz,
    invited_at timestamptz,
    confirmation_token character varying(255),
    confirmation_sent_at timestamptz,
    recovery_token character varying(255),
    recovery_sent_at timestamptz,
    last_sign_in_at timestamptz,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    is_super_admin boolean,
    created_at timestamptz,
    updated_at timestamptz,
    phone text DEFAULT NULL,
    phone_confirmed_at timestamptz,
    confirmed_at timestamptz GENERATED ALWAYS AS (least(email_confirmed_at, phone_confirmed_at)) STORED,
    banned_until timestamptz,
    is_sso_user boolean NOT NULL DEFAULT false,
    deleted_at timestamptz,
    is_anonymous boolean NOT NULL DEFAULT false,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_phone_key UNIQUE (phone)
);

CREATE UNIQUE INDEX users_email_partial_key ON auth.users (email) WHERE is_sso_user = false;

ALTER TABLE auth.users OWNER TO supabase_auth_admin;
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
GRANT ALL ON auth.users TO supabase_project_owner;

CREATE FUNCTION auth.uid()
RETURNS uuid
LANGUAGE sql
STABLE
AS $$
    SELECT coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
    )::uuid
$$;

CREATE FUNCTION auth.role()
RETURNS text
LANGUAGE sql
STABLE
AS $$
    SELECT coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
    )::text
$$;

CREATE FUNCTION auth.jwt()
RETURNS jsonb
LANGUAGE sql
STABLE
AS $$
    SELECT coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;

ALTER FUNCTION auth.uid() OWNER TO supabase_auth_admin;
ALTER FUNCTION auth.role() OWNER TO supabase_auth_admin;
ALTER FUNCTION auth.jwt() OWNER TO supabase_auth_admin;

CREATE PUBLICATION supabase_realtime;
ALTER PUBLICATION supabase_realtime OWNER TO supabase_project_owner;

-- Somebody who signed up before.
INSERT INTO auth.users (id, aud, role, email, email_confirmed_at, raw_user_meta_data, created_at, updated_at)
VALUES (
    '5b8e0f8a-3c52-4d0e-9a67-6f2f6c1d0a01',
    'authenticated',
    'authenticated',
    'earlier@example.com',
    now(),
    '{"full_name": "Earlier User"}',
    now(),
    now()
);
