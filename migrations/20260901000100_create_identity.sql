-- People: profiles beside Supabase's auth.users, and the roles that administrators grant.
--
-- The earlier table user_secrets (one encryption key per user, readable in that user's browser) has no successor:
-- secrets are sealed in the functions with a keyring that the database never sees.

CREATE TABLE public.user_profiles (
    id uuid NOT NULL DEFAULT auth.uid(),
    username text,
    full_name text,
    avatar_url text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_profiles_pkey PRIMARY KEY (id),
    CONSTRAINT user_profiles_id_fkey FOREIGN KEY (id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT user_profiles_username_key UNIQUE (username),
    CONSTRAINT user_profiles_username_length_check CHECK (length(username) BETWEEN 1 AND 64),
    CONSTRAINT user_profiles_full_name_length_check CHECK (length(full_name) <= 200),
    CONSTRAINT user_profiles_avatar_url_length_check CHECK (length(avatar_url) <= 2048)
);

-- What the owner tells about the company and the purpose; nobody else sees it.
CREATE TABLE public.profiles (
    id uuid NOT NULL DEFAULT auth.uid(),
    full_name text NOT NULL,
    mobile text,
    company_name text,
    title text,
    usage_reason jsonb,
    hopes_goals text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT profiles_pkey PRIMARY KEY (id),
    CONSTRAINT profiles_id_fkey FOREIGN KEY (id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT profiles_full_name_length_check CHECK (length(full_name) BETWEEN 1 AND 200),
    CONSTRAINT profiles_mobile_length_check CHECK (length(mobile) <= 50),
    CONSTRAINT profiles_company_name_length_check CHECK (length(company_name) <= 200),
    CONSTRAINT profiles_title_length_check CHECK (length(title) <= 200),
    CONSTRAINT profiles_hopes_goals_length_check CHECK (length(hopes_goals) <= 10000)
);

CREATE TABLE public.roles (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT roles_pkey PRIMARY KEY (id),
    CONSTRAINT roles_name_key UNIQUE (name),
    CONSTRAINT roles_name_length_check CHECK (length(name) BETWEEN 1 AND 64)
);

INSERT INTO public.roles (name, description)
VALUES
    ('admin', 'Operates the platform.'),
    ('user', 'Uses the platform.');

CREATE TABLE public.user_roles (
    user_id uuid NOT NULL,
    role_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_roles_pkey PRIMARY KEY (user_id, role_id),
    CONSTRAINT user_roles_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT user_roles_role_id_fkey FOREIGN KEY (role_id) REFERENCES public.roles (id) ON DELETE CASCADE
);

CREATE INDEX user_roles_role_id_idx ON public.user_roles (role_id);

CREATE TRIGGER user_profiles_set_updated_at
BEFORE UPDATE ON public.user_profiles
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER profiles_set_updated_at
BEFORE UPDATE ON public.profiles
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER roles_set_updated_at
BEFORE UPDATE ON public.roles
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();


-- A user's profile appears with the user

CREATE FUNCTION app.handle_new_user()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    -- The metadata is whatever the client sent on signing up: it must not be able to make signing up fail.
    INSERT INTO public.user_profiles (id, full_name, avatar_url)
    VALUES (
        NEW.id,
        left(NEW.raw_user_meta_data ->> 'full_name', 200),
        left(NEW.raw_user_meta_data ->> 'avatar_url', 2048)
    )
    ON CONFLICT (id) DO NOTHING;
    RETURN NEW;
END
$$;

CREATE TRIGGER agentopia_handle_new_user
AFTER INSERT ON auth.users
FOR EACH ROW EXECUTE FUNCTION app.handle_new_user();

-- Users who were there before.
INSERT INTO public.user_profiles (id, full_name, avatar_url)
SELECT
    existing.id,
    left(existing.raw_user_meta_data ->> 'full_name', 200),
    left(existing.raw_user_meta_data ->> 'avatar_url', 2048)
FROM auth.users AS existing
ON CONFLICT (id) DO NOTHING;


-- Who the caller is
--
-- The functions that policies call are definers, or policies would ask each other in circles. They ask `auth.uid()`
-- and never take anybody's word for a user's id. They are PL/pgSQL because its plans stay for the session, where
-- those of SQL functions are made anew in each query before PostgreSQL 18.

-- Invitations by address go only to an address that the user has proved to hold.
CREATE FUNCTION app.confirmed_email()
RETURNS text
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT lower(me.email)
        FROM auth.users AS me
        WHERE me.id = auth.uid()
          AND me.email_confirmed_at IS NOT NULL
    );
END
$$;

REVOKE ALL ON FUNCTION app.handle_new_user(), app.confirmed_email()
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION app.confirmed_email() TO authenticated, service_role;


-- Rights. That people who share a workspace see each other's user_profiles is added with the workspaces.

ALTER TABLE public.user_profiles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.roles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.user_roles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

REVOKE ALL ON public.user_profiles, public.profiles, public.roles, public.user_roles
FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.user_profiles, public.profiles, public.roles, public.user_roles
TO service_role;

GRANT SELECT, DELETE ON public.user_profiles TO authenticated;
GRANT INSERT (id, username, full_name, avatar_url) ON public.user_profiles TO authenticated;
-- An upsert through PostgREST sets the key as well, to itself.
GRANT UPDATE (id, username, full_name, avatar_url) ON public.user_profiles TO authenticated;

CREATE POLICY user_profiles_insert ON public.user_profiles
FOR INSERT TO authenticated
WITH CHECK (id = (SELECT auth.uid()));

CREATE POLICY user_profiles_update ON public.user_profiles
FOR UPDATE TO authenticated
USING (id = (SELECT auth.uid()))
WITH CHECK (id = (SELECT auth.uid()));

CREATE POLICY user_profiles_delete ON public.user_profiles
FOR DELETE TO authenticated
USING (id = (SELECT auth.uid()));

GRANT SELECT ON public.profiles TO authenticated;
GRANT INSERT (id, full_name, mobile, company_name, title, usage_reason, hopes_goals)
ON public.profiles TO authenticated;
GRANT UPDATE (id, full_name, mobile, company_name, title, usage_reason, hopes_goals)
ON public.profiles TO authenticated;

CREATE POLICY profiles_select ON public.profiles
FOR SELECT TO authenticated
USING (id = (SELECT auth.uid()));

CREATE POLICY profiles_insert ON public.profiles
FOR INSERT TO authenticated
WITH CHECK (id = (SELECT auth.uid()));

CREATE POLICY profiles_update ON public.profiles
FOR UPDATE TO authenticated
USING (id = (SELECT auth.uid()))
WITH CHECK (id = (SELECT auth.uid()));

GRANT SELECT ON public.roles TO authenticated;

CREATE POLICY roles_select ON public.roles
FOR SELECT TO authenticated
USING (true);

GRANT SELECT ON public.user_roles TO authenticated;

CREATE POLICY user_roles_select ON public.user_roles
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));
