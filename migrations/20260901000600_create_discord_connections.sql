-- An agent's bot on Discord, one row per guild; a row without a guild is the bot's connection before it has joined
-- one.
--
-- What the owner wants (desired_status) and what the gateway worker is seen doing (worker_status) are two columns,
-- and neither is the owner's to write.

CREATE TABLE public.agent_discord_connections (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    agent_id uuid NOT NULL,
    guild_id text,
    discord_app_id text NOT NULL,
    discord_public_key text NOT NULL,
    inactivity_timeout_minutes int NOT NULL DEFAULT 10,
    is_enabled boolean NOT NULL DEFAULT true,
    desired_status text NOT NULL DEFAULT 'inactive',
    worker_status text NOT NULL DEFAULT 'inactive',
    worker_status_changed_at timestamptz NOT NULL DEFAULT now(),
    worker_error_message text,
    -- SHA-256 of the token with which the running worker reports and chats.
    worker_token_hash bytea,
    worker_lease_id uuid,
    worker_lease_expires_at timestamptz,
    bot_token_sealed text,
    -- A keyed hash, by which one bot token in two places is found without opening any.
    bot_token_fingerprint bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agent_discord_connections_pkey PRIMARY KEY (id),
    CONSTRAINT agent_discord_connections_agent_id_guild_id_key UNIQUE NULLS NOT DISTINCT (agent_id, guild_id),
    CONSTRAINT agent_discord_connections_worker_token_hash_key UNIQUE (worker_token_hash),
    CONSTRAINT agent_discord_connections_agent_id_fkey FOREIGN KEY (agent_id, user_id)
        REFERENCES public.agents (id, user_id) ON DELETE CASCADE,
    CONSTRAINT agent_discord_connections_guild_id_check CHECK (guild_id ~ '^[0-9]{1,20}$'),
    CONSTRAINT agent_discord_connections_discord_app_id_check CHECK (discord_app_id ~ '^[0-9]{1,20}$'),
    CONSTRAINT agent_discord_connections_discord_public_key_check CHECK (discord_public_key ~ '^[0-9A-Fa-f]{64}$'),
    -- 0 is never.
    CONSTRAINT agent_discord_connections_inactivity_timeout_minutes_check CHECK (
        inactivity_timeout_minutes BETWEEN 0 AND 10080
    ),
    CONSTRAINT agent_discord_connections_desired_status_check CHECK (desired_status IN ('active', 'inactive')),
    CONSTRAINT agent_discord_connections_worker_status_check CHECK (
        worker_status IN (
            'inactive', 'activating', 'connecting', 'active', 'stopping', 'terminating', 'error', 'unauthorized',
            'bad_intents'
        )
    ),
    CONSTRAINT agent_discord_connections_worker_token_hash_length_check CHECK (octet_length(worker_token_hash) = 32)
);

CREATE INDEX agent_discord_connections_user_id_idx ON public.agent_discord_connections (user_id);
CREATE INDEX agent_discord_connections_guild_id_idx ON public.agent_discord_connections (guild_id);
CREATE INDEX agent_discord_connections_discord_app_id_idx ON public.agent_discord_connections (discord_app_id);
CREATE INDEX agent_discord_connections_bot_token_fingerprint_idx
ON public.agent_discord_connections (bot_token_fingerprint)
WHERE bot_token_fingerprint IS NOT NULL;

CREATE TRIGGER agent_discord_connections_set_updated_at
BEFORE UPDATE ON public.agent_discord_connections
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();


-- Rights

ALTER TABLE public.agent_discord_connections ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

REVOKE ALL ON public.agent_discord_connections FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.agent_discord_connections TO service_role;

-- Without tokens, hashes and leases.
GRANT SELECT (
    id, user_id, agent_id, guild_id, discord_app_id, discord_public_key, inactivity_timeout_minutes, is_enabled,
    desired_status, worker_status, worker_status_changed_at, worker_error_message, created_at, updated_at
) ON public.agent_discord_connections TO authenticated;
GRANT INSERT (
    user_id, agent_id, guild_id, discord_app_id, discord_public_key, inactivity_timeout_minutes, is_enabled
) ON public.agent_discord_connections TO authenticated;
GRANT UPDATE (
    guild_id, discord_app_id, discord_public_key, inactivity_timeout_minutes, is_enabled
) ON public.agent_discord_connections TO authenticated;
GRANT DELETE ON public.agent_discord_connections TO authenticated;

CREATE POLICY agent_discord_connections_select ON public.agent_discord_connections
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY agent_discord_connections_insert ON public.agent_discord_connections
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agent_discord_connections_update ON public.agent_discord_connections
FOR UPDATE TO authenticated
USING (user_id = (SELECT auth.uid()))
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agent_discord_connections_delete ON public.agent_discord_connections
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));
