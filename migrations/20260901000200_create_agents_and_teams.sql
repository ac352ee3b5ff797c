-- Agents, the teams they form, and the MCP servers they may ask.
--
-- A table that joins two things of one owner carries that owner's id and refers to both by (id, user_id): that they
-- have one owner is held by foreign keys, for every writer, and its policy is one comparison.

CREATE TABLE public.agents (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    system_instructions text,
    assistant_instructions text,
    personality text,
    avatar_url text,
    active boolean NOT NULL DEFAULT true,
    -- What the model provider calls the model; the platform's default where it is null.
    model text,
    temperature numeric(3, 2),
    max_output_tokens int,
    discord_channel text,
    discord_user_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agents_pkey PRIMARY KEY (id),
    CONSTRAINT agents_id_user_id_key UNIQUE (id, user_id),
    CONSTRAINT agents_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT agents_name_length_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT agents_description_length_check CHECK (length(description) <= 10000),
    CONSTRAINT agents_system_instructions_length_check CHECK (length(system_instructions) <= 32000),
    CONSTRAINT agents_assistant_instructions_length_check CHECK (length(assistant_instructions) <= 32000),
    CONSTRAINT agents_personality_length_check CHECK (length(personality) <= 10000),
    CONSTRAINT agents_avatar_url_length_check CHECK (length(avatar_url) <= 2048),
    CONSTRAINT agents_model_length_check CHECK (length(model) BETWEEN 1 AND 100),
    CONSTRAINT agents_temperature_check CHECK (temperature BETWEEN 0 AND 2),
    CONSTRAINT agents_max_output_tokens_check CHECK (max_output_tokens BETWEEN 1 AND 65536),
    CONSTRAINT agents_discord_channel_length_check CHECK (length(discord_channel) <= 200),
    CONSTRAINT agents_discord_user_id_check CHECK (discord_user_id ~ '^[0-9]{1,20}$')
);

CREATE INDEX agents_user_id_idx ON public.agents (user_id, created_at);

CREATE TABLE public.teams (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    description text,
    owner_user_id uuid DEFAULT auth.uid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT teams_pkey PRIMARY KEY (id),
    CONSTRAINT teams_owner_user_id_fkey FOREIGN KEY (owner_user_id) REFERENCES auth.users (id) ON DELETE SET NULL,
    CONSTRAINT teams_name_length_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT teams_description_length_check CHECK (length(description) <= 10000)
);

CREATE INDEX teams_owner_user_id_idx ON public.teams (owner_user_id);

-- Agents in teams.
CREATE TABLE public.team_members (
    team_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    team_role text NOT NULL DEFAULT 'member',
    team_role_description text,
    reports_to_agent_id uuid,
    reports_to_user boolean NOT NULL DEFAULT false,
    joined_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT team_members_pkey PRIMARY KEY (team_id, agent_id),
    CONSTRAINT team_members_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.teams (id) ON DELETE CASCADE,
    CONSTRAINT team_members_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES public.agents (id) ON DELETE CASCADE,
    CONSTRAINT team_members_reports_to_agent_id_fkey FOREIGN KEY (team_id, reports_to_agent_id)
        REFERENCES public.team_members (team_id, agent_id) ON DELETE SET NULL (reports_to_agent_id),
    CONSTRAINT team_members_team_role_length_check CHECK (length(team_role) BETWEEN 1 AND 100),
    CONSTRAINT team_members_team_role_description_length_check CHECK (length(team_role_description) <= 10000),
    CONSTRAINT team_members_not_reporting_to_self_check CHECK (reports_to_agent_id <> agent_id),
    CONSTRAINT team_members_one_report_target_check CHECK (NOT (reports_to_user AND reports_to_agent_id IS NOT NULL))
);

CREATE INDEX team_members_agent_id_idx ON public.team_members (agent_id);
CREATE INDEX team_members_reports_to_agent_id_idx ON public.team_members (team_id, reports_to_agent_id);

-- People in teams. A row here also opens every workspace that has the team, therefore nobody inserts it: it comes
-- from an accepted invitation.
CREATE TABLE public.user_team_memberships (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    team_id uuid NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_team_memberships_pkey PRIMARY KEY (id),
    CONSTRAINT user_team_memberships_user_id_team_id_key UNIQUE (user_id, team_id),
    CONSTRAINT user_team_memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT user_team_memberships_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.teams (id) ON DELETE CASCADE
);

CREATE INDEX user_team_memberships_team_id_idx ON public.user_team_memberships (team_id);

-- An invitation names a user or an address. Answered ones stay as the record of the consent.
CREATE TABLE public.team_invitations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    team_id uuid NOT NULL,
    invited_user_id uuid,
    invited_email text,
    invited_by_user_id uuid DEFAULT auth.uid(),
    status text NOT NULL DEFAULT 'pending',
    expires_at timestamptz NOT NULL DEFAULT now() + interval '14 days',
    responded_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT team_invitations_pkey PRIMARY KEY (id),
    CONSTRAINT team_invitations_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.teams (id) ON DELETE CASCADE,
    CONSTRAINT team_invitations_invited_user_id_fkey FOREIGN KEY (invited_user_id)
        REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT team_invitations_invited_by_user_id_fkey FOREIGN KEY (invited_by_user_id)
        REFERENCES auth.users (id) ON DELETE SET NULL,
    CONSTRAINT team_invitations_one_invitee_check CHECK (num_nonnulls(invited_user_id, invited_email) = 1),
    CONSTRAINT team_invitations_invited_email_check CHECK (
        invited_email = lower(invited_email)
        AND length(invited_email) <= 320
        AND invited_email ~ '^[^@\s]+@[^@\s]+$'
    ),
    CONSTRAINT team_invitations_status_check CHECK (status IN ('pending', 'accepted', 'declined'))
);

CREATE INDEX team_invitations_team_id_idx ON public.team_invitations (team_id);
CREATE INDEX team_invitations_invited_by_user_id_idx ON public.team_invitations (invited_by_user_id);
CREATE INDEX team_invitations_invited_user_id_idx ON public.team_invitations (invited_user_id);
CREATE INDEX team_invitations_invited_email_idx ON public.team_invitations (invited_email);
CREATE UNIQUE INDEX team_invitations_pending_key
ON public.team_invitations (team_id, invited_user_id, invited_email) NULLS NOT DISTINCT
WHERE status = 'pending';

CREATE TABLE public.mcp_configurations (
    id int GENERATED BY DEFAULT AS IDENTITY,
    user_id uuid NOT NULL DEFAULT auth.uid(),
    agent_id uuid NOT NULL,
    is_enabled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT mcp_configurations_pkey PRIMARY KEY (id),
    CONSTRAINT mcp_configurations_id_user_id_key UNIQUE (id, user_id),
    CONSTRAINT mcp_configurations_agent_id_fkey FOREIGN KEY (agent_id, user_id)
        REFERENCES public.agents (id, user_id) ON DELETE CASCADE
);

CREATE INDEX mcp_configurations_agent_id_idx ON public.mcp_configurations (agent_id);
CREATE INDEX mcp_configurations_user_id_idx ON public.mcp_configurations (user_id);

CREATE TABLE public.mcp_servers (
    id int GENERATED BY DEFAULT AS IDENTITY,
    user_id uuid NOT NULL DEFAULT auth.uid(),
    config_id int NOT NULL,
    name varchar(255) NOT NULL,
    endpoint_url text NOT NULL,
    -- Where an earlier system kept the key in Supabase's vault; api_key_sealed is what is used.
    vault_api_key_id uuid,
    api_key_sealed text,
    timeout_ms int NOT NULL DEFAULT 5000,
    max_retries int NOT NULL DEFAULT 3,
    retry_backoff_ms int NOT NULL DEFAULT 1000,
    priority int NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    capabilities jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT mcp_servers_pkey PRIMARY KEY (id),
    CONSTRAINT mcp_servers_config_id_fkey FOREIGN KEY (config_id, user_id)
        REFERENCES public.mcp_configurations (id, user_id) ON DELETE CASCADE,
    CONSTRAINT mcp_servers_name_length_check CHECK (length(name) >= 1),
    CONSTRAINT mcp_servers_endpoint_url_check CHECK (
        endpoint_url ~ '^(https?|wss?)://'
        AND length(endpoint_url) <= 2048
    ),
    CONSTRAINT mcp_servers_timeout_ms_check CHECK (timeout_ms >= 0),
    CONSTRAINT mcp_servers_max_retries_check CHECK (max_retries >= 0),
    CONSTRAINT mcp_servers_retry_backoff_ms_check CHECK (retry_backoff_ms >= 0),
    CONSTRAINT mcp_servers_priority_check CHECK (priority >= 0)
);

CREATE INDEX mcp_servers_config_id_idx ON public.mcp_servers (config_id);
CREATE INDEX mcp_servers_user_id_idx ON public.mcp_servers (user_id);

CREATE TRIGGER agents_set_updated_at
BEFORE UPDATE ON public.agents
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER teams_set_updated_at
BEFORE UPDATE ON public.teams
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER mcp_configurations_set_updated_at
BEFORE UPDATE ON public.mcp_configurations
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER mcp_servers_set_updated_at
BEFORE UPDATE ON public.mcp_servers
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();


-- What is whose

CREATE FUNCTION app.is_agent_owner(p_agent_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1
        FROM public.agents AS agent
        WHERE agent.id = p_agent_id
          AND agent.user_id = auth.uid()
    );
END
$$;

CREATE FUNCTION app.is_team_owner(p_team_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1
        FROM public.teams AS team
        WHERE team.id = p_team_id
          AND team.owner_user_id = auth.uid()
    );
END
$$;

REVOKE ALL ON FUNCTION app.is_agent_owner(uuid), app.is_team_owner(uuid)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION app.is_agent_owner(uuid), app.is_team_owner(uuid) TO authenticated, service_role;


-- Rights. Who sees a team depends on workspaces as well; those policies are added with the workspaces.

ALTER TABLE public.agents ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.teams ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.team_members ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.user_team_memberships ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.team_invitations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.mcp_configurations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.mcp_servers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

REVOKE ALL ON
    public.agents,
    public.teams,
    public.team_members,
    public.user_team_memberships,
    public.team_invitations,
    public.mcp_configurations,
    public.mcp_servers
FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    public.agents,
    public.teams,
    public.team_members,
    public.user_team_memberships,
    public.team_invitations,
    public.mcp_configurations,
    public.mcp_servers
TO service_role;

GRANT SELECT, DELETE ON public.agents TO authenticated;
GRANT INSERT (
    user_id, name, description, system_instructions, assistant_instructions, personality, avatar_url, active, model,
    temperature, max_output_tokens, discord_channel, discord_user_id
) ON public.agents TO authenticated;
GRANT UPDATE (
    name, description, system_instructions, assistant_instructions, personality, avatar_url, active, model, temperature,
    max_output_tokens, discord_channel, discord_user_id
) ON public.agents TO authenticated;

-- Its instructions are the owner's alone: who shares a workspace with an agent may use it, and learns its name from
-- get_workspace_members_with_details.
CREATE POLICY agents_select ON public.agents
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY agents_insert ON public.agents
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agents_update ON public.agents
FOR UPDATE TO authenticated
USING (user_id = (SELECT auth.uid()))
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agents_delete ON public.agents
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.teams TO authenticated;
GRANT INSERT (name, description, owner_user_id) ON public.teams TO authenticated;
GRANT UPDATE (name, description) ON public.teams TO authenticated;

CREATE POLICY teams_insert ON public.teams
FOR INSERT TO authenticated
WITH CHECK (owner_user_id = (SELECT auth.uid()));

CREATE POLICY teams_update ON public.teams
FOR UPDATE TO authenticated
USING (owner_user_id = (SELECT auth.uid()))
WITH CHECK (owner_user_id = (SELECT auth.uid()));

CREATE POLICY teams_delete ON public.teams
FOR DELETE TO authenticated
USING (owner_user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.team_members TO authenticated;
GRANT INSERT (team_id, agent_id, team_role, team_role_description, reports_to_agent_id, reports_to_user)
ON public.team_members TO authenticated;
GRANT UPDATE (team_role, team_role_description, reports_to_agent_id, reports_to_user)
ON public.team_members TO authenticated;

-- An agent in a team may be used wherever the team is: only the agent's owner puts it there, and may take it out
-- again.
CREATE POLICY team_members_insert ON public.team_members
FOR INSERT TO authenticated
WITH CHECK (app.is_team_owner(team_id) AND app.is_agent_owner(agent_id));

CREATE POLICY team_members_update ON public.team_members
FOR UPDATE TO authenticated
USING (app.is_team_owner(team_id))
WITH CHECK (app.is_team_owner(team_id));

CREATE POLICY team_members_delete ON public.team_members
FOR DELETE TO authenticated
USING (app.is_team_owner(team_id) OR app.is_agent_owner(agent_id));

GRANT SELECT, DELETE ON public.user_team_memberships TO authenticated;

CREATE POLICY user_team_memberships_delete ON public.user_team_memberships
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()) OR app.is_team_owner(team_id));

GRANT SELECT, DELETE ON public.team_invitations TO authenticated;
GRANT INSERT (team_id, invited_user_id, invited_email, invited_by_user_id) ON public.team_invitations TO authenticated;

CREATE POLICY team_invitations_select ON public.team_invitations
FOR SELECT TO authenticated
USING (
    invited_user_id = (SELECT auth.uid())
    OR invited_email = (SELECT app.confirmed_email())
    OR team_id = ANY (ARRAY(
        SELECT team.id
        FROM public.teams AS team
        WHERE team.owner_user_id = (SELECT auth.uid())
    ))
);

CREATE POLICY team_invitations_insert ON public.team_invitations
FOR INSERT TO authenticated
WITH CHECK (invited_by_user_id = (SELECT auth.uid()) AND app.is_team_owner(team_id));

CREATE POLICY team_invitations_delete ON public.team_invitations
FOR DELETE TO authenticated
USING (app.is_team_owner(team_id));

GRANT SELECT, DELETE ON public.mcp_configurations TO authenticated;
GRANT INSERT (user_id, agent_id, is_enabled) ON public.mcp_configurations TO authenticated;
GRANT UPDATE (is_enabled) ON public.mcp_configurations TO authenticated;

CREATE POLICY mcp_configurations_select ON public.mcp_configurations
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY mcp_configurations_insert ON public.mcp_configurations
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY mcp_configurations_update ON public.mcp_configurations
FOR UPDATE TO authenticated
USING (user_id = (SELECT auth.uid()))
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY mcp_configurations_delete ON public.mcp_configurations
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));

-- Without api_key_sealed, which only the server reads and writes.
GRANT SELECT (
    id, user_id, config_id, name, endpoint_url, vault_api_key_id, timeout_ms, max_retries, retry_backoff_ms, priority,
    is_active, capabilities, created_at, updated_at
) ON public.mcp_servers TO authenticated;
GRANT INSERT (
    user_id, config_id, name, endpoint_url, timeout_ms, max_retries, retry_backoff_ms, priority, is_active, capabilities
) ON public.mcp_servers TO authenticated;
GRANT UPDATE (
    name, endpoint_url, timeout_ms, max_retries, retry_backoff_ms, priority, is_active, capabilities
) ON public.mcp_servers TO authenticated;
GRANT DELETE ON public.mcp_servers TO authenticated;

CREATE POLICY mcp_servers_select ON public.mcp_servers
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY mcp_servers_insert ON public.mcp_servers
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY mcp_servers_update ON public.mcp_servers
FOR UPDATE TO authenticated
USING (user_id = (SELECT auth.uid()))
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY mcp_servers_delete ON public.mcp_servers
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));
