-- Interactions that Discord delivers: which keys may have signed one, and what it is answered with.
--
-- Guarantees: anybody may write a connection with somebody else's application id and a key of their own, so an interaction sees and
-- touches the connections alone that have both its application id and the key that verified it. An interaction that is delivered again
-- gets what it got first.

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

-- Input: {"interaction_id", "application_id", "public_key", "kind", "guild_id", "name_prefix", "limit"}.
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

    WITH connected AS (
        SELECT agent.id, agent.name, connection.worker_status
        FROM public.agent_discord_connections AS connection
        JOIN public.agents AS agent ON agent.id = connection.agent_id
        WHERE connection.guild_id = input ->> 'guild_id'
          AND connection.discord_app_id = input ->> 'application_id'
          AND lower(connection.discord_public_key) = input ->> 'public_key'
          AND connection.is_enabled
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
          AND interaction.public_key = input ->> 'public_key';
    END IF;

    RETURN v_response;
END
$$;

SELECT app.grant_operations();
