-- Workspaces, their members and channels, and every conversation's messages.
--
-- A workspace's owner is a member without a row. Users become members by accepting an invitation, directly or through
-- a team; agents and teams are added by whoever owns them. A message stands in exactly one conversation: a channel,
-- the direct conversation of one user and one agent, or an outside conversation such as a Discord channel.

CREATE TABLE public.workspaces (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    description text,
    owner_user_id uuid NOT NULL DEFAULT auth.uid(),
    -- How much of a channel an agent is shown: messages, and tokens.
    context_window_size int NOT NULL DEFAULT 20,
    context_window_token_limit int NOT NULL DEFAULT 8000,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT workspaces_pkey PRIMARY KEY (id),
    CONSTRAINT workspaces_owner_user_id_fkey FOREIGN KEY (owner_user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT workspaces_name_length_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT workspaces_description_length_check CHECK (length(description) <= 10000),
    CONSTRAINT workspaces_context_window_size_check CHECK (context_window_size BETWEEN 0 AND 200),
    CONSTRAINT workspaces_context_window_token_limit_check CHECK (context_window_token_limit BETWEEN 500 AND 1000000)
);

CREATE INDEX workspaces_owner_user_id_idx ON public.workspaces (owner_user_id);

CREATE TABLE public.workspace_members (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL,
    agent_id uuid,
    team_id uuid,
    user_id uuid,
    -- Free text that agents are told; on a user's row, 'moderator' lets that user manage members.
    role text NOT NULL DEFAULT 'member',
    added_by_user_id uuid DEFAULT auth.uid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT workspace_members_pkey PRIMARY KEY (id),
    CONSTRAINT workspace_members_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT workspace_members_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES public.agents (id) ON DELETE CASCADE,
    CONSTRAINT workspace_members_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.teams (id) ON DELETE CASCADE,
    CONSTRAINT workspace_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT workspace_members_added_by_user_id_fkey FOREIGN KEY (added_by_user_id)
        REFERENCES auth.users (id) ON DELETE SET NULL,
    CONSTRAINT workspace_members_workspace_id_agent_id_key UNIQUE (workspace_id, agent_id),
    CONSTRAINT workspace_members_workspace_id_team_id_key UNIQUE (workspace_id, team_id),
    CONSTRAINT workspace_members_workspace_id_user_id_key UNIQUE (workspace_id, user_id),
    CONSTRAINT workspace_members_one_member_check CHECK (num_nonnulls(agent_id, team_id, user_id) = 1),
    CONSTRAINT workspace_members_role_length_check CHECK (length(role) BETWEEN 1 AND 100)
);

CREATE INDEX workspace_members_agent_id_idx ON public.workspace_members (agent_id) WHERE agent_id IS NOT NULL;
CREATE INDEX workspace_members_team_id_idx ON public.workspace_members (team_id) WHERE team_id IS NOT NULL;
CREATE INDEX workspace_members_user_id_idx ON public.workspace_members (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX workspace_members_added_by_user_id_idx ON public.workspace_members (added_by_user_id);
CREATE INDEX workspace_members_workspace_id_created_at_idx ON public.workspace_members (workspace_id, created_at, id);

-- As team_invitations, with the role that the new member will have.
CREATE TABLE public.workspace_invitations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL,
    invited_user_id uuid,
    invited_email text,
    role text NOT NULL DEFAULT 'member',
    invited_by_user_id uuid DEFAULT auth.uid(),
    status text NOT NULL DEFAULT 'pending',
    expires_at timestamptz NOT NULL DEFAULT now() + interval '14 days',
    responded_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT workspace_invitations_pkey PRIMARY KEY (id),
    CONSTRAINT workspace_invitations_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT workspace_invitations_invited_user_id_fkey FOREIGN KEY (invited_user_id)
        REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT workspace_invitations_invited_by_user_id_fkey FOREIGN KEY (invited_by_user_id)
        REFERENCES auth.users (id) ON DELETE SET NULL,
    CONSTRAINT workspace_invitations_one_invitee_check CHECK (num_nonnulls(invited_user_id, invited_email) = 1),
    CONSTRAINT workspace_invitations_invited_email_check CHECK (
        invited_email = lower(invited_email)
        AND length(invited_email) <= 320
        AND invited_email ~ '^[^@\s]+@[^@\s]+$'
    ),
    CONSTRAINT workspace_invitations_role_check CHECK (role IN ('member', 'moderator')),
    CONSTRAINT workspace_invitations_status_check CHECK (status IN ('pending', 'accepted', 'declined'))
);

CREATE INDEX workspace_invitations_workspace_id_idx ON public.workspace_invitations (workspace_id);
CREATE INDEX workspace_invitations_invited_by_user_id_idx ON public.workspace_invitations (invited_by_user_id);
CREATE INDEX workspace_invitations_invited_user_id_idx ON public.workspace_invitations (invited_user_id);
CREATE INDEX workspace_invitations_invited_email_idx ON public.workspace_invitations (invited_email);
CREATE UNIQUE INDEX workspace_invitations_pending_key
ON public.workspace_invitations (workspace_id, invited_user_id, invited_email) NULLS NOT DISTINCT
WHERE status = 'pending';

CREATE TABLE public.chat_channels (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    topic text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_message_at timestamptz,
    CONSTRAINT chat_channels_pkey PRIMARY KEY (id),
    CONSTRAINT chat_channels_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT chat_channels_name_length_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT chat_channels_topic_length_check CHECK (length(topic) <= 2000)
);

CREATE INDEX chat_channels_workspace_id_idx ON public.chat_channels (workspace_id, last_message_at DESC NULLS LAST);

CREATE TABLE public.direct_conversations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    agent_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT direct_conversations_pkey PRIMARY KEY (id),
    CONSTRAINT direct_conversations_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT direct_conversations_agent_id_fkey FOREIGN KEY (agent_id)
        REFERENCES public.agents (id) ON DELETE CASCADE,
    CONSTRAINT direct_conversations_user_id_agent_id_key UNIQUE (user_id, agent_id)
);

CREATE INDEX direct_conversations_agent_id_idx ON public.direct_conversations (agent_id);

CREATE TABLE public.outside_conversations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    agent_id uuid NOT NULL,
    provider text NOT NULL,
    external_channel_id text NOT NULL,
    external_guild_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT outside_conversations_pkey PRIMARY KEY (id),
    CONSTRAINT outside_conversations_agent_id_fkey FOREIGN KEY (agent_id)
        REFERENCES public.agents (id) ON DELETE CASCADE,
    CONSTRAINT outside_conversations_agent_id_provider_channel_key UNIQUE (agent_id, provider, external_channel_id),
    CONSTRAINT outside_conversations_provider_check CHECK (provider IN ('discord')),
    CONSTRAINT outside_conversations_external_channel_id_length_check CHECK (
        length(external_channel_id) BETWEEN 1 AND 100
    ),
    CONSTRAINT outside_conversations_external_guild_id_length_check CHECK (length(external_guild_id) BETWEEN 1 AND 100)
);

CREATE TABLE public.chat_messages (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- Ever growing in the order of insertion, over all conversations: a cursor for readers that follow along.
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    channel_id uuid,
    direct_conversation_id uuid,
    outside_conversation_id uuid,
    -- Stays when the sender is deleted and the id becomes null.
    sender_kind text NOT NULL DEFAULT 'user',
    sender_user_id uuid,
    sender_agent_id uuid,
    sender_external_id text,
    sender_name text,
    content text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    embedding extensions.vector(1536),
    token_count int,
    reply_to_message_id uuid,
    -- The model's stream was cut: this is what had come.
    is_partial boolean NOT NULL DEFAULT false,
    -- Not now(), which is one value for all messages of a transaction.
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT chat_messages_pkey PRIMARY KEY (id),
    CONSTRAINT chat_messages_channel_id_fkey FOREIGN KEY (channel_id)
        REFERENCES public.chat_channels (id) ON DELETE CASCADE,
    CONSTRAINT chat_messages_direct_conversation_id_fkey FOREIGN KEY (direct_conversation_id)
        REFERENCES public.direct_conversations (id) ON DELETE CASCADE,
    CONSTRAINT chat_messages_outside_conversation_id_fkey FOREIGN KEY (outside_conversation_id)
        REFERENCES public.outside_conversations (id) ON DELETE CASCADE,
    CONSTRAINT chat_messages_sender_user_id_fkey FOREIGN KEY (sender_user_id)
        REFERENCES auth.users (id) ON DELETE SET NULL,
    CONSTRAINT chat_messages_sender_agent_id_fkey FOREIGN KEY (sender_agent_id)
        REFERENCES public.agents (id) ON DELETE SET NULL,
    CONSTRAINT chat_messages_reply_to_message_id_fkey FOREIGN KEY (reply_to_message_id)
        REFERENCES public.chat_messages (id) ON DELETE SET NULL,
    CONSTRAINT chat_messages_one_conversation_check CHECK (
        num_nonnulls(channel_id, direct_conversation_id, outside_conversation_id) = 1
    ),
    CONSTRAINT chat_messages_sender_kind_check CHECK (sender_kind IN ('user', 'agent', 'outside', 'system')),
    CONSTRAINT chat_messages_sender_check CHECK (
        (sender_user_id IS NULL OR sender_kind = 'user')
        AND (sender_agent_id IS NULL OR sender_kind = 'agent')
        AND (num_nonnulls(sender_external_id, sender_name) = 0 OR sender_kind = 'outside')
    ),
    CONSTRAINT chat_messages_sender_external_id_length_check CHECK (length(sender_external_id) BETWEEN 1 AND 100),
    CONSTRAINT chat_messages_sender_name_length_check CHECK (length(sender_name) BETWEEN 1 AND 200),
    CONSTRAINT chat_messages_content_length_check CHECK (length(content) BETWEEN 1 AND 100000),
    CONSTRAINT chat_messages_metadata_check CHECK (
        jsonb_typeof(metadata) = 'object'
        AND octet_length(metadata::text) <= 65536
    ),
    CONSTRAINT chat_messages_token_count_check CHECK (token_count >= 0)
);

CREATE INDEX chat_messages_channel_id_idx
ON public.chat_messages (channel_id, created_at, id)
WHERE channel_id IS NOT NULL;

CREATE INDEX chat_messages_direct_conversation_id_idx
ON public.chat_messages (direct_conversation_id, created_at, id)
WHERE direct_conversation_id IS NOT NULL;

CREATE INDEX chat_messages_outside_conversation_id_idx
ON public.chat_messages (outside_conversation_id, created_at, id)
WHERE outside_conversation_id IS NOT NULL;

CREATE INDEX chat_messages_sender_user_id_idx
ON public.chat_messages (sender_user_id)
WHERE sender_user_id IS NOT NULL;

CREATE INDEX chat_messages_sender_agent_id_idx
ON public.chat_messages (sender_agent_id)
WHERE sender_agent_id IS NOT NULL;

CREATE INDEX chat_messages_reply_to_message_id_idx
ON public.chat_messages (reply_to_message_id)
WHERE reply_to_message_id IS NOT NULL;

CREATE INDEX chat_messages_embedding_idx
ON public.chat_messages
USING hnsw (embedding extensions.vector_cosine_ops);

CREATE TRIGGER workspaces_set_updated_at
BEFORE UPDATE ON public.workspaces
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

-- A definer, because those who may post may not update their channel.
CREATE FUNCTION app.note_channel_message()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    UPDATE public.chat_channels
    SET last_message_at = greatest(last_message_at, NEW.created_at)
    WHERE id = NEW.channel_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER chat_messages_note_channel_message
AFTER INSERT ON public.chat_messages
FOR EACH ROW
WHEN (NEW.channel_id IS NOT NULL)
EXECUTE FUNCTION app.note_channel_message();


-- Who is where. The functions that return ids are for policies: `= ANY (ARRAY(SELECT …))` asks once per query and can
-- use an index, where a boolean function would be asked per row.

CREATE FUNCTION app.my_workspace_ids()
RETURNS SETOF uuid
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := auth.uid();
BEGIN
    RETURN QUERY
    SELECT workspace.id
    FROM public.workspaces AS workspace
    WHERE workspace.owner_user_id = v_user_id
    UNION
    SELECT member.workspace_id
    FROM public.workspace_members AS member
    WHERE member.user_id = v_user_id
    UNION
    SELECT member.workspace_id
    FROM public.user_team_memberships AS membership
    JOIN public.workspace_members AS member ON member.team_id = membership.team_id
    WHERE membership.user_id = v_user_id;
END
$$;

CREATE FUNCTION app.is_workspace_owner(p_workspace_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1
        FROM public.workspaces AS workspace
        WHERE workspace.id = p_workspace_id
          AND workspace.owner_user_id = auth.uid()
    );
END
$$;

CREATE FUNCTION app.is_workspace_member(p_workspace_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := auth.uid();
BEGIN
    RETURN EXISTS (
        SELECT 1
        FROM public.workspaces AS workspace
        WHERE workspace.id = p_workspace_id
          AND workspace.owner_user_id = v_user_id
    ) OR EXISTS (
        SELECT 1
        FROM public.workspace_members AS member
        WHERE member.workspace_id = p_workspace_id
          AND member.user_id = v_user_id
    ) OR EXISTS (
        SELECT 1
        FROM public.user_team_memberships AS membership
        JOIN public.workspace_members AS member ON member.team_id = membership.team_id
        WHERE membership.user_id = v_user_id
          AND member.workspace_id = p_workspace_id
    );
END
$$;

CREATE FUNCTION app.can_manage_workspace_members(p_workspace_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    RETURN app.is_workspace_owner(p_workspace_id) OR EXISTS (
        SELECT 1
        FROM public.workspace_members AS member
        WHERE member.workspace_id = p_workspace_id
          AND member.user_id = auth.uid()
          AND member.role = 'moderator'
    );
END
$$;

CREATE FUNCTION app.managed_workspace_ids()
RETURNS SETOF uuid
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := auth.uid();
BEGIN
    RETURN QUERY
    SELECT workspace.id
    FROM public.workspaces AS workspace
    WHERE workspace.owner_user_id = v_user_id
    UNION
    SELECT member.workspace_id
    FROM public.workspace_members AS member
    WHERE member.user_id = v_user_id
      AND member.role = 'moderator';
END
$$;

-- The caller's own agent, or one that the caller meets in this workspace.
CREATE FUNCTION app.may_use_agent_in_workspace(p_agent_id uuid, p_workspace_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    RETURN app.is_workspace_member(p_workspace_id) AND (
        app.is_agent_owner(p_agent_id)
        OR EXISTS (
            SELECT 1
            FROM public.workspace_members AS member
            WHERE member.workspace_id = p_workspace_id
              AND member.agent_id = p_agent_id
        )
        OR EXISTS (
            SELECT 1
            FROM public.team_members AS team_member
            JOIN public.workspace_members AS member ON member.team_id = team_member.team_id
            WHERE team_member.agent_id = p_agent_id
              AND member.workspace_id = p_workspace_id
        )
    );
END
$$;

-- The caller's own agent, or one that the caller meets in any workspace.
CREATE FUNCTION app.may_use_agent(p_agent_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    RETURN app.is_agent_owner(p_agent_id) OR EXISTS (
        SELECT 1
        FROM (
            SELECT member.workspace_id
            FROM public.workspace_members AS member
            WHERE member.agent_id = p_agent_id
            UNION
            SELECT member.workspace_id
            FROM public.team_members AS team_member
            JOIN public.workspace_members AS member ON member.team_id = team_member.team_id
            WHERE team_member.agent_id = p_agent_id
        ) AS agents_workspace
        WHERE agents_workspace.workspace_id IN (SELECT mine FROM app.my_workspace_ids() AS mine)
    );
END
$$;

CREATE FUNCTION app.visible_team_ids()
RETURNS SETOF uuid
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := auth.uid();
BEGIN
    RETURN QUERY
    SELECT team.id
    FROM public.teams AS team
    WHERE team.owner_user_id = v_user_id
    UNION
    SELECT membership.team_id
    FROM public.user_team_memberships AS membership
    WHERE membership.user_id = v_user_id
    UNION
    SELECT team_member.team_id
    FROM public.agents AS agent
    JOIN public.team_members AS team_member ON team_member.agent_id = agent.id
    WHERE agent.user_id = v_user_id
    UNION
    SELECT member.team_id
    FROM public.workspace_members AS member
    WHERE member.workspace_id = ANY (ARRAY(SELECT app.my_workspace_ids()))
      AND member.team_id IS NOT NULL;
END
$$;

-- The caller, and everybody who is in a workspace with the caller, whichever way.
CREATE FUNCTION app.fellow_user_ids()
RETURNS SETOF uuid
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    v_workspace_ids uuid[] := ARRAY(SELECT app.my_workspace_ids());
BEGIN
    RETURN QUERY
    SELECT auth.uid()
    UNION
    SELECT workspace.owner_user_id
    FROM public.workspaces AS workspace
    WHERE workspace.id = ANY (v_workspace_ids)
    UNION
    SELECT member.user_id
    FROM public.workspace_members AS member
    WHERE member.workspace_id = ANY (v_workspace_ids)
      AND member.user_id IS NOT NULL
    UNION
    SELECT membership.user_id
    FROM public.workspace_members AS member
    JOIN public.user_team_memberships AS membership ON membership.team_id = member.team_id
    WHERE member.workspace_id = ANY (v_workspace_ids);
END
$$;

REVOKE ALL ON FUNCTION
    app.note_channel_message(),
    app.my_workspace_ids(),
    app.is_workspace_owner(uuid),
    app.is_workspace_member(uuid),
    app.can_manage_workspace_members(uuid),
    app.managed_workspace_ids(),
    app.may_use_agent_in_workspace(uuid, uuid),
    app.may_use_agent(uuid),
    app.visible_team_ids(),
    app.fellow_user_ids()
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.my_workspace_ids(),
    app.is_workspace_owner(uuid),
    app.is_workspace_member(uuid),
    app.can_manage_workspace_members(uuid),
    app.managed_workspace_ids(),
    app.may_use_agent_in_workspace(uuid, uuid),
    app.may_use_agent(uuid),
    app.visible_team_ids(),
    app.fellow_user_ids()
TO authenticated, service_role;


-- Rights

ALTER TABLE public.workspaces ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.workspace_members ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.workspace_invitations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.chat_channels ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.direct_conversations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.outside_conversations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.chat_messages ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

REVOKE ALL ON
    public.workspaces,
    public.workspace_members,
    public.workspace_invitations,
    public.chat_channels,
    public.direct_conversations,
    public.outside_conversations,
    public.chat_messages
FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    public.workspaces,
    public.workspace_members,
    public.workspace_invitations,
    public.chat_channels,
    public.direct_conversations,
    public.outside_conversations,
    public.chat_messages
TO service_role;

CREATE POLICY user_profiles_select ON public.user_profiles
FOR SELECT TO authenticated
USING (id = ANY (ARRAY(SELECT app.fellow_user_ids())));

-- Its own column first: the row that an INSERT … RETURNING just made is not yet among the ids that a function finds.
CREATE POLICY teams_select ON public.teams
FOR SELECT TO authenticated
USING (
    owner_user_id = (SELECT auth.uid())
    OR id = ANY (ARRAY(SELECT app.visible_team_ids()))
);

CREATE POLICY team_members_select ON public.team_members
FOR SELECT TO authenticated
USING (team_id = ANY (ARRAY(SELECT app.visible_team_ids())));

CREATE POLICY user_team_memberships_select ON public.user_team_memberships
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()) OR team_id = ANY (ARRAY(SELECT app.visible_team_ids())));

GRANT SELECT, DELETE ON public.workspaces TO authenticated;
GRANT INSERT (name, description, owner_user_id, context_window_size, context_window_token_limit)
ON public.workspaces TO authenticated;
GRANT UPDATE (name, description, context_window_size, context_window_token_limit) ON public.workspaces TO authenticated;

CREATE POLICY workspaces_select ON public.workspaces
FOR SELECT TO authenticated
USING (owner_user_id = (SELECT auth.uid()) OR id = ANY (ARRAY(SELECT app.my_workspace_ids())));

CREATE POLICY workspaces_insert ON public.workspaces
FOR INSERT TO authenticated
WITH CHECK (owner_user_id = (SELECT auth.uid()));

CREATE POLICY workspaces_update ON public.workspaces
FOR UPDATE TO authenticated
USING (owner_user_id = (SELECT auth.uid()))
WITH CHECK (owner_user_id = (SELECT auth.uid()));

CREATE POLICY workspaces_delete ON public.workspaces
FOR DELETE TO authenticated
USING (owner_user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.workspace_members TO authenticated;
GRANT INSERT (workspace_id, agent_id, team_id, role, added_by_user_id) ON public.workspace_members TO authenticated;
GRANT UPDATE (role) ON public.workspace_members TO authenticated;

CREATE POLICY workspace_members_select ON public.workspace_members
FOR SELECT TO authenticated
USING (workspace_id = ANY (ARRAY(SELECT app.my_workspace_ids())));

-- Users come by invitation; what can be added is one's own.
CREATE POLICY workspace_members_insert ON public.workspace_members
FOR INSERT TO authenticated
WITH CHECK (
    added_by_user_id = (SELECT auth.uid())
    AND user_id IS NULL
    AND app.can_manage_workspace_members(workspace_id)
    AND (app.is_agent_owner(agent_id) OR app.is_team_owner(team_id))
);

-- Moderators neither make nor unmake moderators.
CREATE POLICY workspace_members_update ON public.workspace_members
FOR UPDATE TO authenticated
USING (
    app.is_workspace_owner(workspace_id)
    OR (role <> 'moderator' AND app.can_manage_workspace_members(workspace_id))
)
WITH CHECK (
    app.is_workspace_owner(workspace_id)
    OR (role <> 'moderator' AND app.can_manage_workspace_members(workspace_id))
);

-- One may always leave, and take one's agent or team along.
CREATE POLICY workspace_members_delete ON public.workspace_members
FOR DELETE TO authenticated
USING (
    user_id = (SELECT auth.uid())
    OR app.is_workspace_owner(workspace_id)
    OR (role <> 'moderator' AND app.can_manage_workspace_members(workspace_id))
    OR app.is_agent_owner(agent_id)
    OR app.is_team_owner(team_id)
);

GRANT SELECT, DELETE ON public.workspace_invitations TO authenticated;
GRANT INSERT (workspace_id, invited_user_id, invited_email, role, invited_by_user_id)
ON public.workspace_invitations TO authenticated;

CREATE POLICY workspace_invitations_select ON public.workspace_invitations
FOR SELECT TO authenticated
USING (
    invited_user_id = (SELECT auth.uid())
    OR invited_email = (SELECT app.confirmed_email())
    OR workspace_id = ANY (ARRAY(SELECT app.managed_workspace_ids()))
);

CREATE POLICY workspace_invitations_insert ON public.workspace_invitations
FOR INSERT TO authenticated
WITH CHECK (
    invited_by_user_id = (SELECT auth.uid())
    AND (
        app.is_workspace_owner(workspace_id)
        OR (role <> 'moderator' AND app.can_manage_workspace_members(workspace_id))
    )
);

CREATE POLICY workspace_invitations_delete ON public.workspace_invitations
FOR DELETE TO authenticated
USING (app.can_manage_workspace_members(workspace_id));

GRANT SELECT, DELETE ON public.chat_channels TO authenticated;
GRANT INSERT (workspace_id, name, topic) ON public.chat_channels TO authenticated;
GRANT UPDATE (name, topic) ON public.chat_channels TO authenticated;

CREATE POLICY chat_channels_select ON public.chat_channels
FOR SELECT TO authenticated
USING (workspace_id = ANY (ARRAY(SELECT app.my_workspace_ids())));

CREATE POLICY chat_channels_insert ON public.chat_channels
FOR INSERT TO authenticated
WITH CHECK (app.is_workspace_member(workspace_id));

CREATE POLICY chat_channels_update ON public.chat_channels
FOR UPDATE TO authenticated
USING (app.is_workspace_owner(workspace_id))
WITH CHECK (app.is_workspace_owner(workspace_id));

CREATE POLICY chat_channels_delete ON public.chat_channels
FOR DELETE TO authenticated
USING (app.is_workspace_owner(workspace_id));

GRANT SELECT, DELETE ON public.direct_conversations TO authenticated;
GRANT INSERT (user_id, agent_id) ON public.direct_conversations TO authenticated;

CREATE POLICY direct_conversations_select ON public.direct_conversations
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY direct_conversations_insert ON public.direct_conversations
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()) AND app.may_use_agent(agent_id));

CREATE POLICY direct_conversations_delete ON public.direct_conversations
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.outside_conversations TO authenticated;

CREATE POLICY outside_conversations_select ON public.outside_conversations
FOR SELECT TO authenticated
USING (
    agent_id = ANY (ARRAY(
        SELECT agent.id
        FROM public.agents AS agent
        WHERE agent.user_id = (SELECT auth.uid())
    ))
);

CREATE POLICY outside_conversations_delete ON public.outside_conversations
FOR DELETE TO authenticated
USING (
    agent_id = ANY (ARRAY(
        SELECT agent.id
        FROM public.agents AS agent
        WHERE agent.user_id = (SELECT auth.uid())
    ))
);

-- Nobody rewrites what was said, and users speak only for themselves.
GRANT SELECT, DELETE ON public.chat_messages TO authenticated;
GRANT INSERT (channel_id, direct_conversation_id, sender_kind, sender_user_id, content, metadata)
ON public.chat_messages TO authenticated;

-- Whoever sees the conversation sees its messages: these subqueries run under the conversations' own policies.
CREATE POLICY chat_messages_select ON public.chat_messages
FOR SELECT TO authenticated
USING (
    EXISTS (
        SELECT 1
        FROM public.chat_channels AS channel
        WHERE channel.id = chat_messages.channel_id
    )
    OR EXISTS (
        SELECT 1
        FROM public.direct_conversations AS conversation
        WHERE conversation.id = chat_messages.direct_conversation_id
    )
    OR EXISTS (
        SELECT 1
        FROM public.outside_conversations AS conversation
        WHERE conversation.id = chat_messages.outside_conversation_id
    )
);

CREATE POLICY chat_messages_insert ON public.chat_messages
FOR INSERT TO authenticated
WITH CHECK (
    sender_kind = 'user'
    AND sender_user_id = (SELECT auth.uid())
    AND (
        EXISTS (
            SELECT 1
            FROM public.chat_channels AS channel
            WHERE channel.id = chat_messages.channel_id
        )
        OR EXISTS (
            SELECT 1
            FROM public.direct_conversations AS conversation
            WHERE conversation.id = chat_messages.direct_conversation_id
        )
    )
);

CREATE POLICY chat_messages_delete ON public.chat_messages
FOR DELETE TO authenticated
USING (
    sender_user_id = (SELECT auth.uid())
    OR EXISTS (
        SELECT 1
        FROM public.chat_channels AS channel
        JOIN public.workspaces AS workspace ON workspace.id = channel.workspace_id
        WHERE channel.id = chat_messages.channel_id
          AND workspace.owner_user_id = (SELECT auth.uid())
    )
);


-- Supabase Realtime tells browsers about new messages

DO $$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM pg_catalog.pg_publication AS publication
        WHERE publication.pubname = 'supabase_realtime'
          AND NOT publication.puballtables
    ) AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_publication_tables AS published
        WHERE published.pubname = 'supabase_realtime'
          AND published.schemaname = 'public'
          AND published.tablename = 'chat_messages'
    ) THEN
        ALTER PUBLICATION supabase_realtime ADD TABLE public.chat_messages;
    END IF;
END
$$;
