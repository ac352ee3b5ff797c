-- Chat: turns between a user and an agent, posts without an agent, and what a conversation's readers see.
--
-- Guarantees: a user uses only agents that are theirs or that they meet in a workspace of theirs, and posts only
-- where they are a member; everything else reads as not found. The user's message is stored before the model is
-- asked, once per idempotency key however often the request is repeated; of several attempts at a turn the one with
-- the current lease finishes it, and the reply, the usage and the stored response appear together or not at all.


-- Helpers. They run as service_role: the operation has established before that the caller may see what they read.

-- The conversation's newest messages before one of them, oldest first.
CREATE OR REPLACE FUNCTION app.conversation_history(
    p_kind text,
    p_conversation_id uuid,
    p_before timestamptz,
    p_before_id uuid,
    p_limit int
)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'id', message.id,
                    'sender_kind', message.sender_kind,
                    'sender_id', coalesce(
                        message.sender_user_id::text,
                        message.sender_agent_id::text,
                        message.sender_external_id
                    ),
                    -- One look-up each, as in workspace_member_names.
                    'sender_name', CASE message.sender_kind
                        WHEN 'user' THEN (
                            SELECT coalesce(profile.full_name, profile.username)
                            FROM public.user_profiles AS profile
                            WHERE profile.id = message.sender_user_id
                        )
                        WHEN 'agent' THEN (
                            SELECT agent.name
                            FROM public.agents AS agent
                            WHERE agent.id = message.sender_agent_id
                        )
                        ELSE message.sender_name
                    END,
                    'content', message.content,
                    'created_at', message.created_at
                )
                ORDER BY message.created_at, message.id
            ),
            '[]'::jsonb
        )
        FROM (
            (
                SELECT
                    id, sender_kind, sender_user_id, sender_agent_id, sender_external_id, sender_name, content,
                    created_at
                FROM public.chat_messages
                WHERE p_kind = 'channel'
                  AND channel_id = p_conversation_id
                  AND (created_at, id) < (p_before, p_before_id)
                ORDER BY created_at DESC, id DESC
                LIMIT p_limit
            )
            UNION ALL
            (
                SELECT
                    id, sender_kind, sender_user_id, sender_agent_id, sender_external_id, sender_name, content,
                    created_at
                FROM public.chat_messages
                WHERE p_kind = 'direct'
                  AND direct_conversation_id = p_conversation_id
                  AND (created_at, id) < (p_before, p_before_id)
                ORDER BY created_at DESC, id DESC
                LIMIT p_limit
            )
            UNION ALL
            (
                SELECT
                    id, sender_kind, sender_user_id, sender_agent_id, sender_external_id, sender_name, content,
                    created_at
                FROM public.chat_messages
                WHERE p_kind = 'outside'
                  AND outside_conversation_id = p_conversation_id
                  AND (created_at, id) < (p_before, p_before_id)
                ORDER BY created_at DESC, id DESC
                LIMIT p_limit
            )
        ) AS message
    );
END
$$;

-- The first hundred members, the owner before all others.
CREATE OR REPLACE FUNCTION app.workspace_member_names(p_workspace_id uuid)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT coalesce(
            jsonb_agg(
                jsonb_build_object('kind', listed.kind, 'name', listed.name, 'role', listed.role)
                ORDER BY listed.position
            ),
            '[]'::jsonb
        )
        FROM (
            SELECT
                'user' AS kind,
                coalesce(
                    (
                        SELECT coalesce(profile.full_name, profile.username)
                        FROM public.user_profiles AS profile
                        WHERE profile.id = workspace.owner_user_id
                    ),
                    'Unknown member'
                ) AS name,
                'owner' AS role,
                0 AS position
            FROM public.workspaces AS workspace
            WHERE workspace.id = p_workspace_id
            UNION ALL
            (
                SELECT
                    CASE
                        WHEN member.agent_id IS NOT NULL THEN 'agent'
                        WHEN member.team_id IS NOT NULL THEN 'team'
                        ELSE 'user'
                    END,
                    -- One look-up each: joins to all three would read whole tables for a hundred rows.
                    CASE
                        WHEN member.agent_id IS NOT NULL THEN (
                            SELECT agent.name
                            FROM public.agents AS agent
                            WHERE agent.id = member.agent_id
                        )
                        WHEN member.team_id IS NOT NULL THEN (
                            SELECT team.name
                            FROM public.teams AS team
                            WHERE team.id = member.team_id
                        )
                        ELSE coalesce(
                            (
                                SELECT coalesce(profile.full_name, profile.username)
                                FROM public.user_profiles AS profile
                                WHERE profile.id = member.user_id
                            ),
                            'Unknown member'
                        )
                    END,
                    member.role,
                    row_number() OVER (ORDER BY member.created_at, member.id)
                FROM public.workspace_members AS member
                WHERE member.workspace_id = p_workspace_id
                  AND member.user_id IS DISTINCT FROM (
                      SELECT workspace.owner_user_id
                      FROM public.workspaces AS workspace
                      WHERE workspace.id = p_workspace_id
                  )
                ORDER BY member.created_at, member.id
                LIMIT 99
            )
        ) AS listed
    );
END
$$;

CREATE OR REPLACE FUNCTION app.outside_conversation_id(p_agent_id uuid, p_outside jsonb)
RETURNS uuid
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_id uuid;
BEGIN
    LOOP
        SELECT conversation.id
        INTO v_id
        FROM public.outside_conversations AS conversation
        WHERE conversation.agent_id = p_agent_id
          AND conversation.provider = p_outside ->> 'provider'
          AND conversation.external_channel_id = p_outside ->> 'external_channel_id';

        EXIT WHEN FOUND;

        INSERT INTO public.outside_conversations (agent_id, provider, external_channel_id, external_guild_id)
        VALUES (
            p_agent_id,
            p_outside ->> 'provider',
            p_outside ->> 'external_channel_id',
            p_outside ->> 'external_guild_id'
        )
        ON CONFLICT (agent_id, provider, external_channel_id) DO NOTHING;
    END LOOP;

    RETURN v_id;
END
$$;

-- What a model call cost, also when its turn is gone by now.
CREATE OR REPLACE FUNCTION app.record_usage(p_user_id uuid, p_call jsonb, p_outcome text)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    INSERT INTO app.usage_records (
        user_id, agent_id, turn_id, model, provider, input_tokens, output_tokens, milliseconds, outcome
    )
    SELECT
        turn.user_id,
        turn.agent_id,
        call.turn_id,
        p_call ->> 'model',
        p_call ->> 'provider',
        coalesce((p_call ->> 'input_tokens')::int, 0),
        coalesce((p_call ->> 'output_tokens')::int, 0),
        coalesce((p_call ->> 'milliseconds')::int, 0),
        p_outcome
    FROM (SELECT (p_call ->> 'turn_id')::uuid AS turn_id) AS call
    LEFT JOIN app.chat_turns AS turn ON turn.id = call.turn_id AND turn.user_id = p_user_id;
END
$$;

-- This one runs as the user, whose policies say whether there may be such a conversation.
CREATE OR REPLACE FUNCTION app.direct_conversation_id(p_agent_id uuid)
RETURNS uuid
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_id uuid;
BEGIN
    LOOP
        SELECT conversation.id
        INTO v_id
        FROM public.direct_conversations AS conversation
        WHERE conversation.agent_id = p_agent_id
          AND conversation.user_id = (SELECT auth.uid());

        EXIT WHEN FOUND;

        INSERT INTO public.direct_conversations (agent_id)
        VALUES (p_agent_id)
        ON CONFLICT (user_id, agent_id) DO NOTHING;
    END LOOP;

    RETURN v_id;
END
$$;

-- Refuses, as the user, a turn that the user may not have; returns the workspace in which it takes place, if any.
CREATE OR REPLACE FUNCTION app.authorize_turn(
    p_agent_id uuid,
    p_agent_is_active boolean,
    p_channel_id uuid,
    p_workspace_id uuid,
    p_from_outside boolean
)
RETURNS uuid
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
DECLARE
    v_workspace_id uuid := p_workspace_id;
BEGIN
    IF NOT app.may_use_agent(p_agent_id) OR (p_from_outside AND NOT app.is_agent_owner(p_agent_id)) THEN
        PERFORM app.refuse(404, 'agent_not_found', 'Target agent not found');
    END IF;

    IF NOT p_agent_is_active THEN
        PERFORM app.refuse(409, 'agent_inactive', 'This agent is not active.');
    END IF;

    IF p_channel_id IS NOT NULL THEN
        SELECT channel.workspace_id
        INTO v_workspace_id
        FROM public.chat_channels AS channel
        WHERE channel.id = p_channel_id
          AND channel.workspace_id = coalesce(p_workspace_id, channel.workspace_id);

        IF NOT FOUND THEN
            PERFORM app.refuse(404, 'channel_not_found', 'Channel not found');
        END IF;
    ELSIF p_workspace_id IS NOT NULL AND NOT app.is_workspace_member(p_workspace_id) THEN
        PERFORM app.refuse(404, 'workspace_not_found', 'Workspace not found');
    END IF;

    IF v_workspace_id IS NOT NULL AND NOT app.may_use_agent_in_workspace(p_agent_id, v_workspace_id) THEN
        PERFORM app.refuse(404, 'agent_not_found', 'Target agent not found');
    END IF;

    RETURN v_workspace_id;
END
$$;

-- Admits a turn of the user `caller`, stores the message and returns all that the model has to be told.
CREATE OR REPLACE FUNCTION app.begin_turn(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_agent_id uuid := input ->> 'agent_id';
    v_channel_id uuid := input ->> 'channel_id';
    v_outside jsonb := nullif(input -> 'outside', 'null');
    v_kind text;
    v_conversation_id uuid;
    v_workspace_id uuid;
    v_new_turn_id uuid := gen_random_uuid();
    v_turn_id uuid := v_new_turn_id;
    v_lease_id uuid := gen_random_uuid();
    v_replayed jsonb;
    v_rate_limit jsonb;
    v_agent record;
    v_workspace record;
    v_message_id uuid;
    v_message_created_at timestamptz;
    v_history_limit int;
BEGIN
    v_user_id := app.become_user(caller);

    -- As the service: keys and limits are not the caller's to write.
    PERFORM app.become_service();

    IF input ->> 'idempotency_key' IS NOT NULL THEN
        SELECT claimed.response, claimed.resource_id
        INTO v_replayed, v_turn_id
        FROM app.claim_idempotency_key(
            v_user_id,
            'chat',
            input ->> 'idempotency_key',
            coalesce(input ->> 'request_hash', ''),
            v_new_turn_id,
            v_lease_id,
            (input ->> 'lease_seconds')::int
        ) AS claimed;

        IF v_replayed IS NOT NULL THEN
            RETURN jsonb_build_object('outcome', 'replayed', 'response', v_replayed);
        END IF;
    END IF;

    v_rate_limit := app.require_rate_limit(
        'user', 'chat:user:' || v_user_id, (input ->> 'user_per_minute')::int, (input ->> 'user_burst')::int
    );
    PERFORM app.require_rate_limit(
        'agent', 'chat:agent:' || v_agent_id, (input ->> 'agent_per_minute')::int, (input ->> 'agent_burst')::int
    );

    SELECT
        agent.name,
        agent.active,
        agent.system_instructions,
        agent.assistant_instructions,
        agent.personality,
        agent.model,
        agent.temperature,
        agent.max_output_tokens
    INTO v_agent
    FROM public.agents AS agent
    WHERE agent.id = v_agent_id;

    -- A turn that is taken over has stored its message already.
    IF v_turn_id <> v_new_turn_id THEN
        SELECT message.id, message.created_at
        INTO v_message_id, v_message_created_at
        FROM app.chat_turns AS turn
        JOIN public.chat_messages AS message ON message.id = turn.user_message_id
        WHERE turn.id = v_turn_id;
    END IF;

    -- As the user.
    PERFORM app.become(caller);

    v_workspace_id := app.authorize_turn(
        v_agent_id, v_agent.active, v_channel_id, (input ->> 'workspace_id')::uuid, v_outside IS NOT NULL
    );

    IF v_channel_id IS NOT NULL THEN
        v_kind := 'channel';
        v_conversation_id := v_channel_id;
    ELSIF v_outside IS NULL THEN
        v_kind := 'direct';
        v_conversation_id := app.direct_conversation_id(v_agent_id);
    ELSE
        v_kind := 'outside';
    END IF;

    IF v_message_id IS NULL AND v_outside IS NULL THEN
        INSERT INTO public.chat_messages (channel_id, direct_conversation_id, sender_kind, sender_user_id, content)
        VALUES (
            v_channel_id,
            CASE WHEN v_kind = 'direct' THEN v_conversation_id END,
            'user',
            v_user_id,
            input ->> 'message'
        )
        RETURNING id, created_at
        INTO v_message_id, v_message_created_at;
    END IF;

    -- As the service: the turn, messages of people whom only Discord knows, and the names of those who are present.
    PERFORM app.become_service();

    IF v_kind = 'outside' THEN
        v_conversation_id := app.outside_conversation_id(v_agent_id, v_outside);
    END IF;

    IF v_message_id IS NULL THEN
        INSERT INTO public.chat_messages (
            channel_id, outside_conversation_id, sender_kind, sender_external_id, sender_name, content
        )
        VALUES (
            v_channel_id,
            CASE WHEN v_kind = 'outside' THEN v_conversation_id END,
            'outside',
            v_outside ->> 'external_author_id',
            v_outside ->> 'author_name',
            input ->> 'message'
        )
        RETURNING id, created_at
        INTO v_message_id, v_message_created_at;
    END IF;

    INSERT INTO app.chat_turns (
        id, user_id, agent_id, conversation_kind, conversation_id, user_message_id, idempotency_key, lease_id,
        lease_expires_at
    )
    VALUES (
        v_turn_id,
        v_user_id,
        v_agent_id,
        v_kind,
        v_conversation_id,
        v_message_id,
        input ->> 'idempotency_key',
        v_lease_id,
        clock_timestamp() + make_interval(secs => (input ->> 'lease_seconds')::int)
    )
    ON CONFLICT (id) DO UPDATE
    SET
        status = 'running',
        user_message_id = excluded.user_message_id,
        lease_id = excluded.lease_id,
        lease_expires_at = excluded.lease_expires_at,
        error_code = NULL,
        finished_at = NULL;

    SELECT workspace.name, workspace.context_window_size, workspace.context_window_token_limit
    INTO v_workspace
    FROM public.workspaces AS workspace
    WHERE workspace.id = v_workspace_id;

    v_history_limit := least(coalesce(v_workspace.context_window_size, 20), (input ->> 'history_limit')::int, 200);

    RETURN jsonb_build_object(
        'outcome', 'started',
        'turn_id', v_turn_id,
        'lease_id', v_lease_id,
        'user_message', jsonb_build_object('id', v_message_id, 'created_at', v_message_created_at),
        'conversation', jsonb_build_object('kind', v_kind, 'id', v_conversation_id),
        'agent', jsonb_build_object(
            'id', v_agent_id,
            'name', v_agent.name,
            'system_instructions', v_agent.system_instructions,
            'assistant_instructions', v_agent.assistant_instructions,
            'personality', v_agent.personality,
            'model', v_agent.model,
            'temperature', v_agent.temperature,
            'max_output_tokens', v_agent.max_output_tokens
        ),
        'workspace', CASE
            WHEN v_workspace_id IS NOT NULL THEN jsonb_build_object(
                'id', v_workspace_id,
                'name', v_workspace.name,
                'context_window_token_limit', v_workspace.context_window_token_limit,
                'members', app.workspace_member_names(v_workspace_id)
            )
        END,
        'history', app.conversation_history(
            v_kind, v_conversation_id, v_message_created_at, v_message_id, v_history_limit
        ),
        'author_name', (
            SELECT profile.full_name
            FROM public.user_profiles AS profile
            WHERE profile.id = v_user_id
        ),
        'rate_limit', v_rate_limit
    );
EXCEPTION
    -- Deleted between the look and the writing.
    WHEN foreign_key_violation THEN
        PERFORM app.refuse(404, 'conversation_gone', 'The conversation no longer exists.');
    -- So may a right be: if it was, this refuses as it would have before.
    WHEN insufficient_privilege THEN
        PERFORM app.become(caller);
        PERFORM app.authorize_turn(
            v_agent_id, v_agent.active, v_channel_id, (input ->> 'workspace_id')::uuid, v_outside IS NOT NULL
        );
        RAISE;
END
$$;

-- Begins a turn of an agent's owner for somebody in a guild, if the channel is one in which the owner lets the agent be used.
CREATE OR REPLACE FUNCTION app.begin_outside_turn(p_agent_id uuid, p_place_id uuid, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_owner_id uuid;
BEGIN
    SELECT place.user_id
    INTO v_owner_id
    FROM public.agent_discord_connections AS place
    WHERE place.id = p_place_id
      AND (
          place.allowed_channel_ids IS NULL
          OR input -> 'outside' ->> 'external_channel_id' = ANY (place.allowed_channel_ids)
      );

    IF NOT FOUND THEN
        PERFORM app.refuse(403, 'not_allowed_here', 'This agent may not be used here.');
    END IF;

    RETURN app.begin_turn(jsonb_build_object('kind', 'user', 'id', v_owner_id), input)
        || jsonb_build_object('owner_id', v_owner_id);
END
$$;

REVOKE ALL ON FUNCTION
    app.conversation_history(text, uuid, timestamptz, uuid, int),
    app.workspace_member_names(uuid),
    app.outside_conversation_id(uuid, jsonb),
    app.record_usage(uuid, jsonb, text),
    app.direct_conversation_id(uuid),
    app.authorize_turn(uuid, boolean, uuid, uuid, boolean),
    app.begin_turn(jsonb, jsonb),
    app.begin_outside_turn(uuid, uuid, jsonb)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.conversation_history(text, uuid, timestamptz, uuid, int),
    app.workspace_member_names(uuid),
    app.outside_conversation_id(uuid, jsonb),
    app.record_usage(uuid, jsonb, text),
    app.begin_turn(jsonb, jsonb),
    app.begin_outside_turn(uuid, uuid, jsonb)
TO service_role;
GRANT EXECUTE ON FUNCTION
    app.direct_conversation_id(uuid),
    app.authorize_turn(uuid, boolean, uuid, uuid, boolean)
TO authenticated;


-- Operations

-- Begins a turn of a user with an agent. Output: as app.begin_turn.
CREATE OR REPLACE FUNCTION api.begin_turn(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become_user(caller);

    PERFORM app.become_service();
    RETURN app.begin_turn(caller, input);
END
$$;

-- Begins a turn for whoever used a command on Discord: the agent's owner has it, if the agent may be used there.
--
-- Input: that of app.begin_turn, with "outside" and {"application_id", "public_key", "own_key"}. Output: that of app.begin_turn and
-- {"owner_id"}.
CREATE OR REPLACE FUNCTION api.begin_interaction_turn(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_agent_id uuid := input ->> 'agent_id';
BEGIN
    PERFORM app.become(caller);

    RETURN app.begin_outside_turn(
        v_agent_id,
        app.usable_place_id(
            v_agent_id,
            input -> 'outside' ->> 'external_guild_id',
            input ->> 'application_id',
            input ->> 'public_key',
            (input ->> 'own_key')::boolean
        ),
        input
    );
END
$$;

-- Begins a turn for whoever spoke to an agent's bot, by its worker.
--
-- Input: that of app.begin_turn, with "outside" and {"token_hash"}. Output: that of app.begin_turn and {"owner_id"}.
CREATE OR REPLACE FUNCTION api.begin_worker_turn(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_agent_id uuid := input ->> 'agent_id';
    v_worker_agent_id uuid;
BEGIN
    PERFORM app.become(caller);

    SELECT bot.agent_id
    INTO v_worker_agent_id
    FROM public.agent_discord_connections AS bot
    WHERE bot.worker_token_hash = decode(input ->> 'token_hash', 'hex')
      AND bot.worker_status IN ('activating', 'active')
      AND bot.worker_lease_expires_at > clock_timestamp()
      AND bot.desired_status = 'active'
      AND bot.is_enabled;

    IF NOT FOUND THEN
        PERFORM app.refuse(401, 'invalid_token', 'Authentication failed');
    ELSIF v_worker_agent_id <> v_agent_id THEN
        PERFORM app.refuse(404, 'agent_not_found', 'Target agent not found');
    END IF;

    RETURN app.begin_outside_turn(
        v_agent_id,
        (
            SELECT place.id
            FROM public.agent_discord_connections AS place
            WHERE place.agent_id = v_agent_id
              AND place.guild_id = input -> 'outside' ->> 'external_guild_id'
              AND place.is_enabled
        ),
        input
    );
END
$$;

-- Stores the reply and everything that goes with it.
CREATE OR REPLACE FUNCTION api.complete_turn(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_turn_id uuid := input ->> 'turn_id';
    v_lease_id uuid := input ->> 'lease_id';
    v_turn record;
    v_stored_message_id uuid;
    v_message_id uuid := gen_random_uuid();
    v_response jsonb := coalesce(nullif(input -> 'response', 'null'), '{}')
        || jsonb_build_object('agentMessageId', v_message_id);
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();

    -- A caller that lost the connection while this committed asks again, and is told what was stored.
    SELECT turn.agent_message_id
    INTO v_stored_message_id
    FROM app.chat_turns AS turn
    WHERE turn.id = v_turn_id
      AND turn.user_id = v_user_id
      AND turn.lease_id = v_lease_id
      AND turn.status = 'completed';

    IF FOUND THEN
        RETURN jsonb_build_object(
            'response', v_response || jsonb_build_object('agentMessageId', v_stored_message_id)
        );
    END IF;

    -- Usage goes first: its foreign keys lock user and agent before the turn, in the order in which a deletion does.
    PERFORM app.record_usage(
        v_user_id,
        input,
        CASE WHEN (input ->> 'is_partial')::boolean THEN 'partial' ELSE 'completed' END
    );

    UPDATE app.chat_turns
    SET
        status = 'completed',
        agent_message_id = v_message_id,
        model = input ->> 'model',
        finished_at = clock_timestamp()
    WHERE id = v_turn_id
      AND user_id = v_user_id
      AND lease_id = v_lease_id
      AND status = 'running'
    RETURNING agent_id, conversation_kind, conversation_id, user_message_id, idempotency_key
    INTO v_turn;

    IF NOT FOUND THEN
        IF EXISTS (
            SELECT 1
            FROM app.chat_turns AS turn
            WHERE turn.id = v_turn_id
              AND turn.user_id = v_user_id
        ) THEN
            PERFORM app.refuse(409, 'turn_superseded', 'This turn was taken over by another request.');
        END IF;

        -- Turns go with their user and their agent.
        PERFORM app.refuse(404, 'conversation_gone', 'The conversation no longer exists.');
    END IF;

    INSERT INTO public.chat_messages (
        id, channel_id, direct_conversation_id, outside_conversation_id, sender_kind, sender_agent_id, content,
        metadata, reply_to_message_id, is_partial
    )
    VALUES (
        v_message_id,
        CASE WHEN v_turn.conversation_kind = 'channel' THEN v_turn.conversation_id END,
        CASE WHEN v_turn.conversation_kind = 'direct' THEN v_turn.conversation_id END,
        CASE WHEN v_turn.conversation_kind = 'outside' THEN v_turn.conversation_id END,
        'agent',
        v_turn.agent_id,
        input ->> 'content',
        coalesce(nullif(input -> 'metadata', 'null'), '{}'),
        -- Its author may have deleted it meanwhile.
        (
            SELECT message.id
            FROM public.chat_messages AS message
            WHERE message.id = v_turn.user_message_id
            FOR KEY SHARE
        ),
        coalesce((input ->> 'is_partial')::boolean, false)
    );

    UPDATE app.idempotency_keys
    SET
        status = 'completed',
        response = v_response,
        expires_at = clock_timestamp() + interval '24 hours'
    WHERE user_id = v_user_id
      AND operation = 'chat'
      AND key = v_turn.idempotency_key
      AND lease_id = v_lease_id;

    RETURN jsonb_build_object('response', v_response);
EXCEPTION
    WHEN foreign_key_violation THEN
        PERFORM app.refuse(404, 'conversation_gone', 'The conversation no longer exists.');
END
$$;

-- Ends a turn without a reply; the next request with its idempotency key takes it over.
CREATE OR REPLACE FUNCTION api.fail_turn(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_lease_id uuid := input ->> 'lease_id';
    v_idempotency_key text;
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();

    -- Whatever became of the turn, the tokens are spent.
    PERFORM app.record_usage(v_user_id, input, coalesce(input ->> 'error_code', 'failed'));

    UPDATE app.chat_turns
    SET
        status = 'failed',
        error_code = input ->> 'error_code',
        model = input ->> 'model',
        finished_at = clock_timestamp()
    WHERE id = (input ->> 'turn_id')::uuid
      AND user_id = v_user_id
      AND lease_id = v_lease_id
      AND status = 'running'
    RETURNING idempotency_key
    INTO v_idempotency_key;

    UPDATE app.idempotency_keys
    SET status = 'failed'
    WHERE user_id = v_user_id
      AND operation = 'chat'
      AND key = v_idempotency_key
      AND lease_id = v_lease_id
      AND status = 'running';

    RETURN '{}';
EXCEPTION
    -- The user is being deleted, and the turn with it.
    WHEN foreign_key_violation THEN
        RETURN '{}';
END
$$;

-- Stores a message that asks no agent.
CREATE OR REPLACE FUNCTION api.post_message(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_channel_id uuid := input ->> 'channel_id';
    v_workspace_id uuid := input ->> 'workspace_id';
    v_replayed jsonb;
    v_rate_limit jsonb;
    v_message jsonb;
BEGIN
    v_user_id := app.become_user(caller);

    -- As the service: keys and limits are not the caller's to write.
    PERFORM app.become_service();

    IF input ->> 'idempotency_key' IS NOT NULL THEN
        SELECT claimed.response
        INTO v_replayed
        FROM app.claim_idempotency_key(
            v_user_id,
            'chat',
            input ->> 'idempotency_key',
            coalesce(input ->> 'request_hash', ''),
            gen_random_uuid(),
            gen_random_uuid(),
            (input ->> 'lease_seconds')::int
        ) AS claimed;

        IF v_replayed IS NOT NULL THEN
            RETURN v_replayed || jsonb_build_object('outcome', 'replayed');
        END IF;
    END IF;

    v_rate_limit := app.require_rate_limit(
        'user', 'chat:user:' || v_user_id, (input ->> 'user_per_minute')::int, (input ->> 'user_burst')::int
    );

    -- As the user.
    PERFORM app.become(caller);

    IF NOT EXISTS (
        SELECT 1
        FROM public.chat_channels AS channel
        WHERE channel.id = v_channel_id
          AND channel.workspace_id = coalesce(v_workspace_id, channel.workspace_id)
    ) THEN
        PERFORM app.refuse(404, 'channel_not_found', 'Channel not found');
    END IF;

    INSERT INTO public.chat_messages (channel_id, sender_kind, sender_user_id, content)
    VALUES (v_channel_id, 'user', v_user_id, input ->> 'message')
    RETURNING jsonb_build_object('id', id, 'created_at', created_at)
    INTO v_message;

    -- As the service: done in the same transaction, so nobody finds this key running.
    PERFORM app.become_service();

    UPDATE app.idempotency_keys
    SET
        status = 'completed',
        response = jsonb_build_object('message', v_message)
    WHERE user_id = v_user_id
      AND operation = 'chat'
      AND key = input ->> 'idempotency_key';

    RETURN jsonb_build_object('outcome', 'stored', 'message', v_message, 'rate_limit', v_rate_limit);
EXCEPTION
    -- Deleted between the look and the writing.
    WHEN foreign_key_violation THEN
        PERFORM app.refuse(404, 'conversation_gone', 'The conversation no longer exists.');
    -- So may the membership be.
    WHEN insufficient_privilege THEN
        PERFORM app.refuse(404, 'channel_not_found', 'Channel not found');
END
$$;

-- That the database answers, and that the login role may become somebody.
CREATE OR REPLACE FUNCTION api.health(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);
    RETURN '{"database": "ok"}';
END
$$;

SELECT app.grant_operations();


-- For frontends to call directly. They take nobody's word for who asks; whoever is not a member gets no rows.

-- The newest page, or the page before a message, in the order of reading.
CREATE OR REPLACE FUNCTION public.get_chat_messages_with_details(
    p_channel_id uuid,
    p_limit int DEFAULT 100,
    p_before timestamptz DEFAULT NULL,
    p_before_id uuid DEFAULT NULL
)
RETURNS TABLE (
    id uuid,
    channel_id uuid,
    sender_kind text,
    sender_user_id uuid,
    sender_agent_id uuid,
    content text,
    metadata jsonb,
    reply_to_message_id uuid,
    is_partial boolean,
    created_at timestamptz,
    user_profile jsonb,
    agent jsonb
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    IF NOT app.is_workspace_member((
        SELECT channel.workspace_id
        FROM public.chat_channels AS channel
        WHERE channel.id = p_channel_id
    )) THEN
        RETURN;
    END IF;

    RETURN QUERY
    SELECT
        message.id,
        message.channel_id,
        message.sender_kind,
        message.sender_user_id,
        message.sender_agent_id,
        message.content,
        message.metadata,
        message.reply_to_message_id,
        message.is_partial,
        message.created_at,
        CASE
            WHEN profile.id IS NOT NULL
                THEN jsonb_build_object('full_name', profile.full_name, 'avatar_url', profile.avatar_url)
        END,
        CASE WHEN sender.id IS NOT NULL THEN jsonb_build_object('name', sender.name) END
    FROM (
        SELECT
            page.id,
            page.channel_id,
            page.sender_kind,
            page.sender_user_id,
            page.sender_agent_id,
            page.content,
            page.metadata,
            page.reply_to_message_id,
            page.is_partial,
            page.created_at
        FROM public.chat_messages AS page
        WHERE page.channel_id = p_channel_id
          AND (page.created_at, page.id) < (
              coalesce(p_before, 'infinity'),
              coalesce(p_before_id, '00000000-0000-0000-0000-000000000000')
          )
        ORDER BY page.created_at DESC, page.id DESC
        LIMIT least(greatest(p_limit, 0), 500)
    ) AS message
    LEFT JOIN public.user_profiles AS profile ON profile.id = message.sender_user_id
    LEFT JOIN public.agents AS sender ON sender.id = message.sender_agent_id
    ORDER BY message.created_at, message.id;
END
$$;

-- In the order of joining, from the beginning or after a member.
CREATE OR REPLACE FUNCTION public.get_workspace_members_with_details(
    p_workspace_id uuid,
    p_limit int DEFAULT 500,
    p_after timestamptz DEFAULT NULL,
    p_after_id uuid DEFAULT NULL
)
RETURNS TABLE (
    id uuid,
    role text,
    created_at timestamptz,
    workspace_id uuid,
    user_id uuid,
    agent_id uuid,
    team_id uuid,
    user_profile jsonb,
    agent jsonb,
    team jsonb
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    IF NOT app.is_workspace_member(p_workspace_id) THEN
        RETURN;
    END IF;

    RETURN QUERY
    SELECT
        member.id,
        member.role,
        member.created_at,
        member.workspace_id,
        member.user_id,
        member.agent_id,
        member.team_id,
        CASE
            WHEN profile.id IS NOT NULL
                THEN jsonb_build_object('full_name', profile.full_name, 'avatar_url', profile.avatar_url)
        END,
        CASE WHEN member_agent.id IS NOT NULL THEN jsonb_build_object('name', member_agent.name) END,
        CASE WHEN member_team.id IS NOT NULL THEN jsonb_build_object('name', member_team.name) END
    FROM public.workspace_members AS member
    LEFT JOIN public.user_profiles AS profile ON profile.id = member.user_id
    LEFT JOIN public.agents AS member_agent ON member_agent.id = member.agent_id
    LEFT JOIN public.teams AS member_team ON member_team.id = member.team_id
    WHERE member.workspace_id = p_workspace_id
      AND (member.created_at, member.id) > (
          coalesce(p_after, '-infinity'),
          coalesce(p_after_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
      )
    ORDER BY member.created_at, member.id
    LIMIT least(greatest(p_limit, 0), 500);
END
$$;

REVOKE ALL ON FUNCTION
    public.get_chat_messages_with_details(uuid, int, timestamptz, uuid),
    public.get_workspace_members_with_details(uuid, int, timestamptz, uuid)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    public.get_chat_messages_with_details(uuid, int, timestamptz, uuid),
    public.get_workspace_members_with_details(uuid, int, timestamptz, uuid)
TO authenticated;
