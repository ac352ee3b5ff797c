-- Interactions that Discord delivers: which keys may have signed one, what it is answered with at once, and the answers that take longer.
--
-- Guarantees: anybody may write a connection with somebody else's application id and a key of their own, so an interaction sees and
-- touches the connections alone that have both its application id and the key that verified it, and whose owner has shown the token of
-- that application's bot. An interaction that is delivered again gets what it got first. One that is answered later is written together with
-- the job that answers it, which whoever holds its lease does; what was written as its answer first is its answer; what may have been sent
-- and cannot be sent twice is told apart.

-- The connection by which an agent may be used in a guild by an application, as one key has proven it; null if it may not.
CREATE OR REPLACE FUNCTION app.usable_place_id(
    p_agent_id uuid,
    p_guild_id text,
    p_application_id text,
    p_public_key text,
    p_own_key boolean
)
RETURNS uuid
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT place.id
        FROM public.agent_discord_connections AS place
        WHERE place.agent_id = p_agent_id
          AND place.guild_id = p_guild_id
          AND place.discord_app_id = p_application_id
          AND lower(place.discord_public_key) = p_public_key
          AND place.is_enabled
          AND (p_own_key OR app.has_shown_token(place.user_id, p_application_id, p_public_key))
    );
END
$$;

-- Whether a user has stored the token of an application's bot, which Discord has confirmed together with the key.
CREATE OR REPLACE FUNCTION app.has_shown_token(p_user_id uuid, p_application_id text, p_public_key text)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1
        FROM public.agent_discord_connections AS bot
        WHERE bot.user_id = p_user_id
          AND bot.discord_app_id = p_application_id
          AND lower(bot.discord_public_key) = p_public_key
          AND bot.bot_token_sealed IS NOT NULL
          AND bot.is_enabled
    );
END
$$;

-- Takes from the limit of an application under one key, and from that of whoever speaks there, who may have a quarter of it; or refuses. What
-- is asked for while somebody types has a limit of its own, five times as wide.
CREATE OR REPLACE FUNCTION app.require_interaction_limit(input jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_key text := 'discord:application:' || (input ->> 'application_id') || ':' || (input ->> 'public_key');
    v_per_minute int := input ->> 'per_minute';
    v_burst int := input ->> 'burst';
BEGIN
    IF input ->> 'kind' = 'choices' THEN
        PERFORM app.require_rate_limit('application', v_key || ':choices', 5 * v_per_minute, 5 * v_burst);
        RETURN;
    END IF;

    PERFORM app.require_rate_limit('application', v_key, v_per_minute, v_burst);

    IF input ->> 'author_id' IS NOT NULL THEN
        PERFORM app.require_rate_limit(
            'author', v_key || ':' || (input ->> 'author_id'), greatest(1, v_per_minute / 4), greatest(1, v_burst / 4)
        );
    END IF;
END
$$;

-- An interaction that is being answered, for whoever answers it.
CREATE OR REPLACE FUNCTION app.interaction_document(p_id uuid)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'id', interaction.id,
            'interaction_id', interaction.interaction_id,
            'application_id', interaction.application_id,
            'public_key', interaction.public_key,
            'own_key', interaction.is_own_key,
            'kind', interaction.kind,
            'user_id', interaction.user_id,
            'agent_id', interaction.agent_id,
            'agent_name', interaction.agent_name,
            'guild_id', interaction.guild_id,
            'channel_id', interaction.channel_id,
            'author_id', interaction.author_id,
            'author_name', interaction.author_name,
            'message', interaction.message,
            'is_ephemeral', interaction.is_ephemeral,
            'token_sealed', interaction.token_sealed,
            'created_at', interaction.created_at,
            'expires_at', interaction.expires_at,
            'seconds_old', floor(extract(epoch FROM clock_timestamp() - interaction.created_at))::bigint,
            'seconds_left', floor(extract(epoch FROM interaction.expires_at - clock_timestamp()))::bigint,
            'answer', CASE
                WHEN interaction.answer IS NOT NULL THEN jsonb_build_object(
                    'text', interaction.answer, 'is_apology', interaction.is_apology
                )
            END,
            'parts_begun', interaction.parts_begun,
            'parts_sent', interaction.parts_sent,
            'is_doubtful', interaction.is_doubtful,
            'bot', (
                SELECT jsonb_build_object('agent_id', bot.agent_id, 'token_sealed', bot.bot_token_sealed)
                FROM public.agent_discord_connections AS bot
                WHERE bot.user_id = interaction.user_id
                  AND bot.discord_app_id = interaction.application_id
                  AND lower(bot.discord_public_key) = interaction.public_key
                  AND bot.bot_token_sealed IS NOT NULL
            )
        )
        FROM app.discord_interactions AS interaction
        WHERE interaction.id = p_id
          AND interaction.token_sealed IS NOT NULL
    );
END
$$;

-- Keeps the lease of a job that an operation is called under. False if it was lost.
CREATE OR REPLACE FUNCTION app.keep_job(input jsonb)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    RETURN app.extend_job_lease(
        (input -> 'job' ->> 'job_id')::uuid,
        (input -> 'job' ->> 'lease_id')::uuid,
        (input ->> 'lease_seconds')::int
    );
END
$$;

REVOKE ALL ON FUNCTION
    app.usable_place_id(uuid, text, text, text, boolean),
    app.has_shown_token(uuid, text, text),
    app.require_interaction_limit(jsonb),
    app.interaction_document(uuid),
    app.keep_job(jsonb)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.usable_place_id(uuid, text, text, text, boolean),
    app.has_shown_token(uuid, text, text),
    app.require_interaction_limit(jsonb),
    app.interaction_document(uuid),
    app.keep_job(jsonb)
TO service_role;


-- Operations

-- Input: {"application_id": text | null, "limit"}.
-- Output: {"keys": [text]}, the distinct public keys under which an application's interactions may be signed, in lower-case hexadecimal.
-- If there are too many, those count first whose connection has a bot's token, which only the server stores, and then the oldest.
CREATE OR REPLACE FUNCTION api.find_interaction_keys(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);

    RETURN (
        SELECT jsonb_build_object('keys', coalesce(jsonb_agg(candidate.key), '[]'))
        FROM (
            SELECT lower(connection.discord_public_key) AS key
            FROM public.agent_discord_connections AS connection
            WHERE connection.discord_app_id = input ->> 'application_id'
            GROUP BY lower(connection.discord_public_key)
            ORDER BY bool_or(connection.bot_token_sealed IS NOT NULL) DESC, min(connection.created_at), 1
            LIMIT (input ->> 'limit')::int
        ) AS candidate
    );
END
$$;

-- Input: {"interaction_id", "application_id", "public_key", "own_key", "kind", "guild_id", "author_id" | null, "name_prefix", "limit",
-- "per_minute", "burst"}.
-- Output: {"agents": [{"id", "name", "worker_status"}], "total"}: the agents that are connected to the guild and whose names begin so, in
-- upper or lower case; or what the interaction was answered with before.
CREATE OR REPLACE FUNCTION api.list_guild_agents(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_response jsonb;
BEGIN
    PERFORM app.become(caller);

    PERFORM app.require_interaction_limit(input);

    WITH connected AS (
        SELECT agent.id, agent.name, coalesce(bot.worker_status, 'inactive') AS worker_status
        FROM public.agent_discord_connections AS place
        JOIN public.agents AS agent ON agent.id = place.agent_id
        LEFT JOIN public.agent_discord_connections AS bot ON bot.agent_id = place.agent_id AND bot.guild_id IS NULL
        WHERE place.guild_id = input ->> 'guild_id'
          AND place.discord_app_id = input ->> 'application_id'
          AND lower(place.discord_public_key) = input ->> 'public_key'
          AND place.is_enabled
          AND (
              (input ->> 'own_key')::boolean
              OR app.has_shown_token(place.user_id, input ->> 'application_id', input ->> 'public_key')
          )
          AND starts_with(lower(agent.name), lower(input ->> 'name_prefix'))
    )
    SELECT jsonb_build_object(
        'agents',
        coalesce(
            jsonb_agg(
                jsonb_build_object('id', listed.id, 'name', listed.name, 'worker_status', listed.worker_status)
                ORDER BY listed.name, listed.id
            ),
            '[]'
        ),
        'total', (SELECT count(*) FROM connected)
    )
    INTO v_response
    FROM (
        SELECT connected.id, connected.name, connected.worker_status
        FROM connected
        ORDER BY connected.name, connected.id
        LIMIT (input ->> 'limit')::int
    ) AS listed;

    INSERT INTO app.discord_interactions (interaction_id, application_id, public_key, kind, response)
    VALUES (
        input ->> 'interaction_id',
        input ->> 'application_id',
        input ->> 'public_key',
        input ->> 'kind',
        v_response
    )
    ON CONFLICT (interaction_id, application_id, public_key) DO NOTHING;

    IF NOT FOUND THEN
        SELECT interaction.response
        INTO v_response
        FROM app.discord_interactions AS interaction
        WHERE interaction.interaction_id = input ->> 'interaction_id'
          AND interaction.application_id = input ->> 'application_id'
          AND interaction.public_key = input ->> 'public_key'
          AND interaction.kind = input ->> 'kind';

        IF NOT FOUND THEN
            PERFORM app.refuse(409, 'interaction_reused', 'This interaction was something else before.');
        END IF;
    END IF;

    RETURN v_response;
END
$$;

-- Writes an interaction that is answered later, with the job that answers it; its lease is the caller's.
--
-- Input: {"interaction_id", "application_id", "public_key", "own_key", "kind": "ask" | "ask_about" | "activate" | "deactivate", "guild_id",
-- "channel_id", "author_id", "author_name", "agent": an agent's id, or else its name, or null for the one whose bot this is or else the only
-- one, "message" | null, "is_ephemeral", "token_sealed", "expires_seconds", "lease_seconds", "per_minute", "burst"}.
-- Output: {"outcome": "begun", "interaction", "job", "discord_pause_seconds" | null}; {"outcome": "refused", "reason": "agent_unknown" |
-- "agent_ambiguous" | "agent_not_enabled" | "agent_inactive" | "channel_not_allowed", "agent_name" | null}, now and whenever it is asked again;
-- or {"outcome": "repeated"}: it was begun before.
CREATE OR REPLACE FUNCTION api.begin_interaction(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_own_key boolean := (input ->> 'own_key')::boolean;
    v_wanted text := btrim(input ->> 'agent');
    v_found record;
    v_reason text;
    v_id uuid := gen_random_uuid();
    v_response jsonb;
    v_job jsonb;
BEGIN
    PERFORM app.become(caller);

    PERFORM app.require_interaction_limit(input);

    -- Of all agents that were connected here: those that are meant, the usable ones first.
    SELECT
        count(*) FILTER (WHERE place.is_enabled) OVER () AS usable,
        agent.id AS agent_id,
        agent.name AS agent_name,
        agent.active AS is_active,
        place.user_id,
        place.is_enabled,
        place.allowed_channel_ids IS NULL
            OR input ->> 'channel_id' = ANY (place.allowed_channel_ids) AS is_channel_allowed,
        EXISTS (
            SELECT 1
            FROM public.agent_discord_connections AS bot
            WHERE bot.agent_id = place.agent_id
              AND bot.guild_id IS NULL
              AND bot.discord_app_id = place.discord_app_id
              AND bot.bot_token_sealed IS NOT NULL
        ) AS is_its_bot
    INTO v_found
    FROM public.agent_discord_connections AS place
    JOIN public.agents AS agent ON agent.id = place.agent_id
    WHERE place.guild_id = input ->> 'guild_id'
      AND place.discord_app_id = input ->> 'application_id'
      AND lower(place.discord_public_key) = input ->> 'public_key'
      AND (v_own_key OR app.has_shown_token(place.user_id, input ->> 'application_id', input ->> 'public_key'))
      AND (v_wanted IS NULL OR agent.id::text = lower(v_wanted) OR lower(agent.name) = lower(v_wanted))
    ORDER BY
        place.is_enabled DESC,
        agent.id::text = lower(v_wanted) DESC NULLS LAST,
        is_its_bot DESC,
        place.created_at,
        place.id
    LIMIT 1;

    v_reason := CASE
        WHEN v_found.agent_id IS NULL THEN 'agent_unknown'
        WHEN NOT v_found.is_enabled THEN 'agent_not_enabled'
        WHEN v_found.usable > 1
            AND v_found.agent_id::text IS DISTINCT FROM lower(v_wanted)
            AND NOT (v_wanted IS NULL AND v_found.is_its_bot) THEN 'agent_ambiguous'
        -- Its worker can be stopped still.
        WHEN NOT v_found.is_active AND input ->> 'kind' <> 'deactivate' THEN 'agent_inactive'
        WHEN input ->> 'kind' IN ('ask', 'ask_about') AND NOT v_found.is_channel_allowed THEN 'channel_not_allowed'
    END;

    IF v_reason IS NOT NULL THEN
        v_response := jsonb_build_object(
            'outcome', 'refused',
            'reason', v_reason,
            'agent_name', CASE WHEN v_reason <> 'agent_ambiguous' THEN v_found.agent_name END
        );
    END IF;

    INSERT INTO app.discord_interactions (
        id, interaction_id, application_id, public_key, is_own_key, kind, user_id, agent_id, agent_name, guild_id,
        channel_id, author_id, author_name, message, is_ephemeral, token_sealed, expires_at, response
    )
    SELECT
        v_id,
        input ->> 'interaction_id',
        input ->> 'application_id',
        input ->> 'public_key',
        v_own_key,
        input ->> 'kind',
        v_found.user_id,
        v_found.agent_id,
        v_found.agent_name,
        input ->> 'guild_id',
        input ->> 'channel_id',
        input ->> 'author_id',
        input ->> 'author_name',
        CASE WHEN v_reason IS NULL THEN input ->> 'message' END,
        (input ->> 'is_ephemeral')::boolean,
        CASE WHEN v_reason IS NULL THEN input ->> 'token_sealed' END,
        v_now + make_interval(secs => (input ->> 'expires_seconds')::int),
        v_response
    ON CONFLICT (interaction_id, application_id, public_key) DO NOTHING;

    IF NOT FOUND THEN
        SELECT interaction.response
        INTO v_response
        FROM app.discord_interactions AS interaction
        WHERE interaction.interaction_id = input ->> 'interaction_id'
          AND interaction.application_id = input ->> 'application_id'
          AND interaction.public_key = input ->> 'public_key'
          AND interaction.kind = input ->> 'kind'
          AND interaction.response ? 'reason';

        RETURN coalesce(v_response, '{"outcome": "repeated"}');
    ELSIF v_reason IS NOT NULL THEN
        RETURN v_response;
    END IF;

    INSERT INTO app.jobs AS job (kind, key, max_attempts, run_after, lease_id, lease_expires_at)
    VALUES (
        'discord_answer',
        v_id::text,
        1000000,
        v_now,
        gen_random_uuid(),
        v_now + make_interval(secs => (input ->> 'lease_seconds')::int)
    )
    RETURNING jsonb_build_object(
        'job_id', job.id,
        'lease_id', job.lease_id,
        'requested', job.requested,
        'kind', job.kind,
        'key', job.key,
        'attempts', job.attempts
    )
    INTO v_job;

    RETURN jsonb_build_object(
        'outcome', 'begun',
        'interaction', app.interaction_document(v_id),
        'job', v_job,
        'discord_pause_seconds', app.discord_pause_seconds()
    );
END
$$;

-- Input: {"id"}. Output: {"interaction": … | null}, null if there is nothing to answer any more.
CREATE OR REPLACE FUNCTION api.read_interaction(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);

    RETURN jsonb_build_object('interaction', app.interaction_document((input ->> 'id')::uuid));
END
$$;

-- Writes the answer, before any of it is sent; the one that was written first counts. It keeps the job's lease.
--
-- Input: {"id", "job": {"job_id", "lease_id"}, "text", "is_apology", "lease_seconds"}. Output: {"held", "answer": {"text", "is_apology"} | null}.
CREATE OR REPLACE FUNCTION api.write_interaction_answer(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_id uuid := input ->> 'id';
BEGIN
    PERFORM app.become(caller);

    IF NOT app.keep_job(input) THEN
        RETURN '{"held": false, "answer": null}';
    END IF;

    UPDATE app.discord_interactions AS interaction
    SET answer = input ->> 'text',
        is_apology = (input ->> 'is_apology')::boolean
    WHERE interaction.id = v_id
      AND interaction.answer IS NULL
      AND interaction.token_sealed IS NOT NULL;

    RETURN jsonb_build_object('held', true, 'answer', app.interaction_document(v_id) -> 'answer');
END
$$;

-- Writes which parts are about to be sent and which were, counted from 1: the first is the edit of the original message. It keeps the lease.
--
-- Input: {"id", "job": {"job_id", "lease_id"}, "parts_begun", "parts_sent", "is_doubtful", "lease_seconds"}. Output: {"held"}.
CREATE OR REPLACE FUNCTION api.note_interaction_parts(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);

    IF NOT app.keep_job(input) THEN
        RETURN '{"held": false}';
    END IF;

    UPDATE app.discord_interactions AS interaction
    SET parts_begun = (input ->> 'parts_begun')::int,
        parts_sent = (input ->> 'parts_sent')::int,
        is_doubtful = (input ->> 'is_doubtful')::boolean
    WHERE interaction.id = (input ->> 'id')::uuid;

    RETURN '{"held": true}';
END
$$;

-- Leaves an interaction: with an outcome it is over, and what was said in it and its token are forgotten.
--
-- Input: {"id", "job": what app.settle_job takes, "outcome" | null, "is_doubtful"}. Output: {"held"}.
CREATE OR REPLACE FUNCTION api.settle_interaction(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_outcome text := input ->> 'outcome';
BEGIN
    PERFORM app.become(caller);

    IF NOT app.settle_job(input -> 'job') THEN
        RETURN '{"held": false}';
    END IF;

    UPDATE app.discord_interactions AS interaction
    SET is_doubtful = interaction.is_doubtful OR (input ->> 'is_doubtful')::boolean,
        outcome = v_outcome,
        finished_at = CASE WHEN v_outcome IS NOT NULL THEN clock_timestamp() END,
        message = CASE WHEN v_outcome IS NULL THEN interaction.message END,
        answer = CASE WHEN v_outcome IS NULL THEN interaction.answer END,
        token_sealed = CASE WHEN v_outcome IS NULL THEN interaction.token_sealed END
    WHERE interaction.id = (input ->> 'id')::uuid
      AND interaction.token_sealed IS NOT NULL;

    RETURN '{"held": true}';
END
$$;

SELECT app.grant_operations();
