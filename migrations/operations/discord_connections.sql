-- Agents' bots on Discord, as their owners set them up.
--
-- Guarantees: everything is the agent's owner's alone; what is somebody else's reads as not found. A bot's token is stored sealed, with the
-- application and the key that Discord has confirmed for it, in one place: an application has one bot, and a bot one session. It is never
-- part of an answer but of the one to the function that shows it to Discord.

-- Refuses an agent that is not the user's.
CREATE OR REPLACE FUNCTION app.require_own_agent(p_user_id uuid, p_agent_id uuid)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1
        FROM public.agents AS agent
        WHERE agent.id = p_agent_id
          AND agent.user_id = p_user_id
    ) THEN
        PERFORM app.refuse(404, 'agent_not_found', 'Agent not found');
    END IF;
END
$$;

-- As app.require_own_agent, and the agent stays until the transaction ends. Who writes several of its rows locks it before them, as whoever
-- deletes it does.
CREATE OR REPLACE FUNCTION app.hold_own_agent(p_user_id uuid, p_agent_id uuid)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM 1
    FROM public.agents AS agent
    WHERE agent.id = p_agent_id
      AND agent.user_id = p_user_id
    FOR KEY SHARE;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'agent_not_found', 'Agent not found');
    END IF;
END
$$;

-- Takes from the limit of changes of bots, and of questions to Discord about them, or refuses.
CREATE OR REPLACE FUNCTION app.require_bot_limit(p_user_id uuid, input jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.require_rate_limit(
        'user', 'discord:user:' || p_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );
END
$$;

CREATE OR REPLACE FUNCTION app.refuse_missing_connection(p_status int)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.refuse(p_status, 'connection_missing', 'Discord connection record missing for agent.');
END
$$;

-- For how long Discord is not to be called; null if it may be.
CREATE OR REPLACE FUNCTION app.discord_pause_seconds()
RETURNS int
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT ceil(extract(epoch FROM state.paused_until - clock_timestamp()))::int
        FROM app.discord_state AS state
        WHERE state.paused_until > clock_timestamp()
    );
END
$$;

-- A bot's row as its owner sees it; null if there is none.
CREATE OR REPLACE FUNCTION app.connection_document(p_agent_id uuid)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'id', bot.id,
            'agent_id', bot.agent_id,
            'application_id', bot.discord_app_id,
            'public_key', lower(bot.discord_public_key),
            'bot_user_id', bot.bot_user_id,
            'bot_username', bot.bot_username,
            'has_bot_token', bot.bot_token_sealed IS NOT NULL,
            'bot_token_set_at', bot.bot_token_set_at,
            'is_enabled', bot.is_enabled,
            'desired_status', bot.desired_status,
            'worker_status', bot.worker_status,
            'worker_status_changed_at', bot.worker_status_changed_at,
            'worker_error_code', bot.worker_error_code,
            'worker_error_message', bot.worker_error_message,
            'worker_reported_at', bot.worker_reported_at,
            'worker_report', bot.worker_report,
            'inactivity_timeout_minutes', bot.inactivity_timeout_minutes,
            'commands_registered_at', bot.commands_registered_at,
            'created_at', bot.created_at,
            'updated_at', bot.updated_at
        )
        FROM public.agent_discord_connections AS bot
        WHERE bot.agent_id = p_agent_id
          AND bot.guild_id IS NULL
    );
END
$$;

-- {"connection": … | null, "guilds": […]}: the bot of an agent, and where it may be used.
CREATE OR REPLACE FUNCTION app.connection_state(p_agent_id uuid)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    RETURN jsonb_build_object(
        'connection', app.connection_document(p_agent_id),
        'guilds', (
            SELECT coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'id', place.id,
                        'guild_id', place.guild_id,
                        'is_enabled', place.is_enabled,
                        'allowed_channel_ids', place.allowed_channel_ids,
                        'inactivity_timeout_minutes', place.inactivity_timeout_minutes,
                        'created_at', place.created_at,
                        'updated_at', place.updated_at
                    )
                    ORDER BY place.created_at, place.guild_id
                ),
                '[]'
            )
            FROM public.agent_discord_connections AS place
            WHERE place.agent_id = p_agent_id
              AND place.guild_id IS NOT NULL
        )
    );
END
$$;

REVOKE ALL ON FUNCTION
    app.require_own_agent(uuid, uuid),
    app.hold_own_agent(uuid, uuid),
    app.require_bot_limit(uuid, jsonb),
    app.refuse_missing_connection(int),
    app.discord_pause_seconds(),
    app.connection_document(uuid),
    app.connection_state(uuid)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.require_own_agent(uuid, uuid),
    app.hold_own_agent(uuid, uuid),
    app.require_bot_limit(uuid, jsonb),
    app.refuse_missing_connection(int),
    app.discord_pause_seconds(),
    app.connection_document(uuid),
    app.connection_state(uuid)
TO service_role;


-- Operations

-- Input: {"agent_id"}. Output: the state.
CREATE OR REPLACE FUNCTION api.get_discord_connection(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_agent_id uuid := input ->> 'agent_id';
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();
    PERFORM app.require_own_agent(v_user_id, v_agent_id);

    RETURN app.connection_state(v_agent_id);
END
$$;

-- Admits a request that changes a bot, or for which Discord is asked about one.
--
-- Input: {"agent_id", "needs_token", "per_minute", "burst"}.
-- Output: {"user_id", "connection": … | null, "bot_token_sealed" | null, "discord_pause_seconds" | null}.
CREATE OR REPLACE FUNCTION api.open_bot(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_agent_id uuid := input ->> 'agent_id';
    v_connection jsonb;
    v_sealed text;
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();
    PERFORM app.require_own_agent(v_user_id, v_agent_id);
    PERFORM app.require_bot_limit(v_user_id, input);
    -- Whoever has Discord refuse too much is stopped before everybody is.
    PERFORM app.refuse_if_limited('discord_refusals', 'discord:refused:' || v_user_id, 1, 10);

    v_connection := app.connection_document(v_agent_id);

    SELECT bot.bot_token_sealed
    INTO v_sealed
    FROM public.agent_discord_connections AS bot
    WHERE bot.agent_id = v_agent_id
      AND bot.guild_id IS NULL;

    IF (input ->> 'needs_token')::boolean THEN
        IF v_connection IS NULL THEN
            PERFORM app.refuse_missing_connection(400);
        ELSIF v_sealed IS NULL THEN
            PERFORM app.refuse(400, 'bot_token_missing', 'Agent is missing Discord Bot Key.');
        END IF;
    END IF;

    RETURN jsonb_build_object(
        'user_id', v_user_id,
        'connection', v_connection,
        'bot_token_sealed', v_sealed,
        'discord_pause_seconds', app.discord_pause_seconds()
    );
END
$$;

-- Connects an agent's bot, with a token that Discord has confirmed or without one. A token that is there stays if the application and
-- the key do.
--
-- Input: {"agent_id", "application_id", "public_key", "inactivity_timeout_minutes" | null, "bot": null | {"user_id", "username",
-- "token_sealed", "key_id", "fingerprints": [hexadecimal]}}. The fingerprints are those of the token under every key of the keyring, the
-- newest first, which is stored. Output: the state.
CREATE OR REPLACE FUNCTION api.put_discord_connection(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_agent_id uuid := input ->> 'agent_id';
    v_application_id text := input ->> 'application_id';
    v_public_key text := lower(input ->> 'public_key');
    v_bot jsonb := nullif(input -> 'bot', 'null');
    v_fingerprints bytea[];
    v_other record;
    v_constraint text;
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();
    PERFORM app.hold_own_agent(v_user_id, v_agent_id);

    SELECT array_agg(decode(listed.fingerprint, 'hex') ORDER BY listed.position)
    INTO v_fingerprints
    FROM jsonb_array_elements_text(v_bot -> 'fingerprints') WITH ORDINALITY AS listed (fingerprint, position);

    IF v_bot IS NOT NULL THEN
        SELECT bot.user_id, agent.name AS agent_name
        INTO v_other
        FROM public.agent_discord_connections AS bot
        JOIN public.agents AS agent ON agent.id = bot.agent_id
        WHERE bot.bot_token_fingerprint = ANY (v_fingerprints)
          AND bot.agent_id <> v_agent_id;

        IF FOUND THEN
            PERFORM app.refuse(
                409,
                'bot_token_in_use',
                CASE
                    WHEN v_other.user_id = v_user_id
                        THEN format('This bot is already connected to your agent %s.', v_other.agent_name)
                    ELSE 'This bot is already connected to another agent.'
                END
            );
        END IF;

        -- An application has one token at a time: that this one was confirmed proves that any other is dead, and shows nobody's right any more.
        UPDATE public.agent_discord_connections AS bot
        SET bot_token_sealed = NULL,
            bot_token_fingerprint = NULL,
            bot_token_key_id = NULL,
            bot_token_set_at = NULL,
            bot_user_id = NULL,
            bot_username = NULL,
            commands_registered_at = NULL,
            desired_status = 'inactive'
        WHERE bot.discord_app_id = v_application_id
          AND bot.bot_token_sealed IS NOT NULL
          AND bot.agent_id <> v_agent_id;
    END IF;

    INSERT INTO public.agent_discord_connections AS bot (
        user_id, agent_id, guild_id, discord_app_id, discord_public_key, inactivity_timeout_minutes, bot_user_id,
        bot_username, bot_token_sealed, bot_token_key_id, bot_token_fingerprint, bot_token_set_at
    )
    VALUES (
        v_user_id,
        v_agent_id,
        NULL,
        v_application_id,
        v_public_key,
        coalesce((input ->> 'inactivity_timeout_minutes')::int, 10),
        v_bot ->> 'user_id',
        v_bot ->> 'username',
        v_bot ->> 'token_sealed',
        v_bot ->> 'key_id',
        v_fingerprints[1],
        CASE WHEN v_bot IS NOT NULL THEN clock_timestamp() END
    )
    ON CONFLICT (agent_id, guild_id) DO UPDATE
    SET discord_app_id = excluded.discord_app_id,
        discord_public_key = excluded.discord_public_key,
        inactivity_timeout_minutes = coalesce(
            (input ->> 'inactivity_timeout_minutes')::int, bot.inactivity_timeout_minutes
        ),
        bot_user_id = coalesce(excluded.bot_user_id, bot.bot_user_id),
        bot_username = coalesce(excluded.bot_username, bot.bot_username),
        bot_token_sealed = coalesce(excluded.bot_token_sealed, bot.bot_token_sealed),
        bot_token_key_id = coalesce(excluded.bot_token_key_id, bot.bot_token_key_id),
        bot_token_fingerprint = coalesce(excluded.bot_token_fingerprint, bot.bot_token_fingerprint),
        bot_token_set_at = coalesce(excluded.bot_token_set_at, bot.bot_token_set_at),
        commands_registered_at = CASE
            WHEN bot.discord_app_id = excluded.discord_app_id THEN bot.commands_registered_at
        END;

    -- Where the agent is used it is used with its bot.
    UPDATE public.agent_discord_connections AS place
    SET discord_app_id = v_application_id,
        discord_public_key = v_public_key
    WHERE place.agent_id = v_agent_id
      AND place.guild_id IS NOT NULL
      AND (place.discord_app_id, lower(place.discord_public_key)) IS DISTINCT FROM (v_application_id, v_public_key);

    RETURN app.connection_state(v_agent_id);
EXCEPTION
    WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
        IF v_constraint IN (
            'agent_discord_connections_bot_token_fingerprint_key', 'agent_discord_connections_bot_application_key'
        ) THEN
            -- Connected between the look and the writing.
            PERFORM app.refuse(409, 'bot_token_in_use', 'This bot is already connected to another agent.');
        END IF;
        RAISE;
END
$$;

-- Forgets a bot's token; its worker is not wanted any more. Input: {"agent_id", "per_minute", "burst"}. Output: the state.
CREATE OR REPLACE FUNCTION api.clear_bot_token(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_agent_id uuid := input ->> 'agent_id';
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();
    PERFORM app.require_own_agent(v_user_id, v_agent_id);
    PERFORM app.require_bot_limit(v_user_id, input);

    UPDATE public.agent_discord_connections AS bot
    SET bot_token_sealed = NULL,
        bot_token_fingerprint = NULL,
        bot_token_key_id = NULL,
        bot_token_set_at = NULL,
        bot_user_id = NULL,
        bot_username = NULL,
        commands_registered_at = NULL,
        desired_status = 'inactive'
    WHERE bot.agent_id = v_agent_id
      AND bot.guild_id IS NULL;

    IF NOT FOUND THEN
        PERFORM app.refuse_missing_connection(404);
    END IF;

    RETURN app.connection_state(v_agent_id);
END
$$;

-- Forgets a bot and everywhere that it was used. Input: {"agent_id", "per_minute", "burst"}. Output: {}.
CREATE OR REPLACE FUNCTION api.delete_discord_connection(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_agent_id uuid := input ->> 'agent_id';
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();
    PERFORM app.require_own_agent(v_user_id, v_agent_id);
    PERFORM app.require_bot_limit(v_user_id, input);

    DELETE FROM public.agent_discord_connections AS connection
    WHERE connection.agent_id = v_agent_id;

    IF NOT FOUND THEN
        PERFORM app.refuse_missing_connection(404);
    END IF;

    RETURN '{}';
END
$$;

-- Says where an agent may be used; guilds that are not named stay as they are.
--
-- Input: {"agent_id", "guilds": [{"guild_id", "is_enabled", "allowed_channel_ids" | null, "inactivity_timeout_minutes" | null}]}, each guild
-- once; the last timeout that is given is the bot's, and so that of all guilds. Output: the state.
CREATE OR REPLACE FUNCTION api.put_enabled_guilds(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_agent_id uuid := input ->> 'agent_id';
    v_bot record;
    v_timeout int;
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();
    PERFORM app.hold_own_agent(v_user_id, v_agent_id);

    SELECT bot.discord_app_id, bot.discord_public_key, bot.inactivity_timeout_minutes
    INTO v_bot
    FROM public.agent_discord_connections AS bot
    WHERE bot.agent_id = v_agent_id
      AND bot.guild_id IS NULL
    -- One request at a time, so that they cannot pass the limit together.
    FOR UPDATE;

    IF NOT FOUND THEN
        PERFORM app.refuse_missing_connection(400);
    END IF;

    v_timeout := coalesce(
        (
            SELECT (wanted.guild ->> 'inactivity_timeout_minutes')::int
            FROM jsonb_array_elements(input -> 'guilds') WITH ORDINALITY AS wanted (guild, position)
            WHERE wanted.guild ->> 'inactivity_timeout_minutes' IS NOT NULL
            ORDER BY wanted.position DESC
            LIMIT 1
        ),
        v_bot.inactivity_timeout_minutes
    );

    INSERT INTO public.agent_discord_connections AS place (
        user_id, agent_id, guild_id, discord_app_id, discord_public_key, is_enabled, allowed_channel_ids,
        inactivity_timeout_minutes
    )
    SELECT
        v_user_id,
        v_agent_id,
        wanted.guild ->> 'guild_id',
        v_bot.discord_app_id,
        v_bot.discord_public_key,
        coalesce((wanted.guild ->> 'is_enabled')::boolean, true),
        CASE
            WHEN jsonb_typeof(wanted.guild -> 'allowed_channel_ids') = 'array'
                THEN ARRAY(SELECT jsonb_array_elements_text(wanted.guild -> 'allowed_channel_ids'))
        END,
        v_timeout
    FROM jsonb_array_elements(input -> 'guilds') AS wanted (guild)
    ON CONFLICT (agent_id, guild_id) DO UPDATE
    SET is_enabled = excluded.is_enabled,
        allowed_channel_ids = excluded.allowed_channel_ids,
        discord_app_id = excluded.discord_app_id,
        discord_public_key = excluded.discord_public_key;

    -- There is one worker for all guilds.
    UPDATE public.agent_discord_connections AS connection
    SET inactivity_timeout_minutes = v_timeout
    WHERE connection.agent_id = v_agent_id
      AND connection.inactivity_timeout_minutes <> v_timeout;

    IF (
        SELECT count(*)
        FROM public.agent_discord_connections AS place
        WHERE place.agent_id = v_agent_id
          AND place.guild_id IS NOT NULL
    ) > 100 THEN
        PERFORM app.refuse(409, 'guild_limit_reached', 'An agent may be used in 100 servers at most.');
    END IF;

    RETURN app.connection_state(v_agent_id);
END
$$;

-- Forgets a guild. Input: {"agent_id", "guild_id", "per_minute", "burst"}. Output: the state.
CREATE OR REPLACE FUNCTION api.delete_enabled_guild(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_agent_id uuid := input ->> 'agent_id';
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();
    PERFORM app.require_own_agent(v_user_id, v_agent_id);
    PERFORM app.require_bot_limit(v_user_id, input);

    DELETE FROM public.agent_discord_connections AS place
    WHERE place.agent_id = v_agent_id
      AND place.guild_id = input ->> 'guild_id';

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'guild_not_found', 'The agent is not connected to this server.');
    END IF;

    RETURN app.connection_state(v_agent_id);
END
$$;

-- Notes that Discord has the commands of a bot's application. Input: {"agent_id"}. Output: {}.
CREATE OR REPLACE FUNCTION api.note_commands_registered(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid;
    v_agent_id uuid := input ->> 'agent_id';
BEGIN
    v_user_id := app.become_user(caller);

    PERFORM app.become_service();
    PERFORM app.require_own_agent(v_user_id, v_agent_id);

    UPDATE public.agent_discord_connections AS bot
    SET commands_registered_at = clock_timestamp()
    WHERE bot.agent_id = v_agent_id
      AND bot.guild_id IS NULL;

    RETURN '{}';
END
$$;

-- Counts a request that Discord has refused, over all functions: it bans who goes on.
--
-- Input: {"limit", "window_seconds", "pause_seconds", "user_id" | null: for whom it was called}. Output: {"pause_seconds" | null}: for how
-- long Discord is not to be called.
CREATE OR REPLACE FUNCTION api.note_invalid_request(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM app.become(caller);
    PERFORM app.become_service();

    IF input ->> 'user_id' IS NOT NULL THEN
        PERFORM app.take_rate_limit('discord:refused:' || (input ->> 'user_id'), 1, 10);
    END IF;

    UPDATE app.discord_state AS state
    SET refused_since = counted.since,
        refused = counted.refused,
        paused_until = CASE
            WHEN counted.refused >= (input ->> 'limit')::int
                THEN greatest(state.paused_until, v_now + make_interval(secs => (input ->> 'pause_seconds')::int))
            ELSE state.paused_until
        END
    FROM (
        SELECT
            CASE WHEN known.is_current THEN known.refused_since ELSE v_now END AS since,
            CASE WHEN known.is_current THEN known.refused + 1 ELSE 1 END AS refused
        FROM (
            SELECT
                kept.refused_since,
                kept.refused,
                kept.refused_since > v_now - make_interval(secs => (input ->> 'window_seconds')::int) AS is_current
            FROM app.discord_state AS kept
            FOR UPDATE
        ) AS known
    ) AS counted;

    RETURN jsonb_build_object('pause_seconds', app.discord_pause_seconds());
END
$$;


-- Sealing anew, by `cargo xtask reseal`

-- Input: {"key_id" (the newest), "after": id | null, "limit"}. Output: {"rows": [{"id", "user_id", "agent_id", "sealed"}]} of those that are
-- sealed under another key, in the order of their ids.
CREATE OR REPLACE FUNCTION api.list_bot_tokens_to_reseal(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);

    RETURN (
        SELECT jsonb_build_object(
            'rows',
            coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'id', batch.id, 'user_id', batch.user_id, 'agent_id', batch.agent_id, 'sealed', batch.sealed
                    )
                    ORDER BY batch.id
                ),
                '[]'
            )
        )
        FROM (
            SELECT bot.id, bot.user_id, bot.agent_id, bot.bot_token_sealed AS sealed
            FROM public.agent_discord_connections AS bot
            WHERE bot.bot_token_sealed IS NOT NULL
              AND bot.bot_token_key_id <> input ->> 'key_id'
              AND (input ->> 'after' IS NULL OR bot.id > (input ->> 'after')::uuid)
            ORDER BY bot.id
            LIMIT (input ->> 'limit')::int
        ) AS batch
    );
END
$$;

-- Input: {"key_id", "rows": [{"id", "from", "to", "fingerprint" in hexadecimal}]}. Output: {"resealed"}: how many still held what they were
-- read with, and hold the other now.
CREATE OR REPLACE FUNCTION api.reseal_bot_tokens(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_resealed bigint;
BEGIN
    PERFORM app.become(caller);

    UPDATE public.agent_discord_connections AS bot
    SET bot_token_sealed = change.entry ->> 'to',
        bot_token_fingerprint = decode(change.entry ->> 'fingerprint', 'hex'),
        bot_token_key_id = input ->> 'key_id'
    FROM jsonb_array_elements(input -> 'rows') AS change (entry)
    WHERE bot.id = (change.entry ->> 'id')::uuid
      AND bot.bot_token_sealed = change.entry ->> 'from';

    GET DIAGNOSTICS v_resealed = ROW_COUNT;
    RETURN jsonb_build_object('resealed', v_resealed);
END
$$;

SELECT app.grant_operations();
