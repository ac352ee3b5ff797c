-- Bots whose token Discord has confirmed, workers that are watched, and interactions that are answered later.


-- Connections

-- The row without a guild is the bot's: it has the token, and how its worker is. Rows with a guild say where the agent may be used.
ALTER TABLE public.agent_discord_connections
ADD COLUMN bot_user_id text,
ADD COLUMN bot_username text,
-- The key under which the token is sealed.
ADD COLUMN bot_token_key_id text,
ADD COLUMN bot_token_set_at timestamptz,
-- Null is every channel of the guild.
ADD COLUMN allowed_channel_ids text[],
ADD COLUMN commands_registered_at timestamptz,
-- Why the worker is as it is, for programs.
ADD COLUMN worker_error_code text,
ADD COLUMN worker_reported_at timestamptz,
-- What the worker last said of itself.
ADD COLUMN worker_report jsonb,
-- Restarts that nobody asked for, since it last went well.
ADD COLUMN worker_restarts int NOT NULL DEFAULT 0,
ADD CONSTRAINT agent_discord_connections_bot_user_id_check CHECK (bot_user_id ~ '^[0-9]{1,20}$'),
ADD CONSTRAINT agent_discord_connections_bot_username_length_check CHECK (length(bot_username) BETWEEN 1 AND 100),
ADD CONSTRAINT agent_discord_connections_bot_token_key_id_length_check CHECK (length(bot_token_key_id) BETWEEN 1 AND 64),
ADD CONSTRAINT agent_discord_connections_allowed_channel_ids_check CHECK (
    cardinality(allowed_channel_ids) <= 100
    AND cardinality(string_to_array(array_to_string(allowed_channel_ids, ',', '-'), ',')) = cardinality(allowed_channel_ids)
    AND array_to_string(allowed_channel_ids, ',', '-') ~ '^([0-9]{1,20}(,[0-9]{1,20})*)?$'
),
ADD CONSTRAINT agent_discord_connections_worker_error_code_length_check CHECK (
    length(worker_error_code) BETWEEN 1 AND 100
),
ADD CONSTRAINT agent_discord_connections_worker_report_check CHECK (
    jsonb_typeof(worker_report) = 'object'
    AND octet_length(worker_report::text) <= 8192
),
ADD CONSTRAINT agent_discord_connections_worker_restarts_check CHECK (worker_restarts >= 0);

GRANT SELECT (
    bot_user_id, bot_username, bot_token_set_at, allowed_channel_ids, commands_registered_at, worker_error_code,
    worker_reported_at, worker_report
) ON public.agent_discord_connections TO authenticated;
GRANT INSERT (allowed_channel_ids), UPDATE (allowed_channel_ids) ON public.agent_discord_connections TO authenticated;

-- Tokens were only ever meant for the bot's row, and none was confirmed. So no worker is wanted.
UPDATE public.agent_discord_connections
SET bot_token_sealed = NULL,
    bot_token_fingerprint = NULL,
    desired_status = 'inactive'
WHERE bot_token_sealed IS NOT NULL
   OR bot_token_fingerprint IS NOT NULL
   OR desired_status <> 'inactive';

-- One name for each state; and only bots have workers.
UPDATE public.agent_discord_connections
SET worker_status = CASE
        WHEN guild_id IS NOT NULL THEN 'inactive'
        WHEN worker_status = 'connecting' THEN 'activating'
        WHEN worker_status = 'terminating' THEN 'stopping'
        ELSE worker_status
    END,
    worker_token_hash = CASE WHEN guild_id IS NULL THEN worker_token_hash END,
    worker_lease_id = CASE WHEN guild_id IS NULL THEN worker_lease_id END,
    worker_lease_expires_at = CASE WHEN guild_id IS NULL THEN worker_lease_expires_at END
WHERE worker_status <> 'inactive'
   OR worker_token_hash IS NOT NULL;

-- Those that may be running are stopped.
INSERT INTO app.jobs (kind, key, max_attempts)
SELECT 'discord_worker', bot.agent_id::text, 1000000
FROM public.agent_discord_connections AS bot
WHERE bot.guild_id IS NULL
  AND bot.worker_status IN ('activating', 'active', 'stopping')
ON CONFLICT (kind, key) DO NOTHING;

ALTER TABLE public.agent_discord_connections
DROP CONSTRAINT agent_discord_connections_worker_status_check,
ADD CONSTRAINT agent_discord_connections_worker_status_check CHECK (
    worker_status IN ('inactive', 'activating', 'active', 'stopping', 'error', 'unauthorized', 'bad_intents')
),
ADD CONSTRAINT agent_discord_connections_bot_token_check CHECK (
    (bot_token_sealed IS NULL) = (bot_token_fingerprint IS NULL)
    AND (bot_token_sealed IS NULL) = (bot_token_key_id IS NULL)
    AND (bot_token_sealed IS NULL OR guild_id IS NULL)
);

-- An application has one bot, and a bot one session.
DROP INDEX public.agent_discord_connections_bot_token_fingerprint_idx;
CREATE UNIQUE INDEX agent_discord_connections_bot_token_fingerprint_key
ON public.agent_discord_connections (bot_token_fingerprint);
CREATE UNIQUE INDEX agent_discord_connections_bot_application_key
ON public.agent_discord_connections (discord_app_id)
WHERE bot_token_sealed IS NOT NULL;
CREATE INDEX agent_discord_connections_worker_lease_expires_at_idx
ON public.agent_discord_connections (worker_lease_expires_at)
WHERE worker_status = 'active';
CREATE INDEX agent_discord_connections_bot_token_key_id_idx
ON public.agent_discord_connections (bot_token_key_id, id)
WHERE bot_token_sealed IS NOT NULL;

-- A token proves the application and the key with which it was stored, and no other. Its worker is not wanted any more, even if there is a
-- token of another application at once: it is stopping from now on, and whoever stops it is late already.
CREATE FUNCTION app.drop_unproven_bot_token()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    IF NEW.bot_token_sealed IS NOT DISTINCT FROM OLD.bot_token_sealed THEN
        NEW.bot_token_sealed := NULL;
        NEW.bot_token_fingerprint := NULL;
        NEW.bot_token_key_id := NULL;
        NEW.bot_token_set_at := NULL;
        NEW.bot_user_id := NULL;
        NEW.bot_username := NULL;
        NEW.commands_registered_at := NULL;
    END IF;

    NEW.desired_status := 'inactive';

    IF NEW.guild_id IS NOT NULL THEN
        NEW.worker_status := 'inactive';
        NEW.worker_error_code := NULL;
        NEW.worker_error_message := NULL;
        NEW.worker_token_hash := NULL;
        NEW.worker_lease_id := NULL;
        NEW.worker_lease_expires_at := NULL;
    ELSIF NEW.worker_status IN ('activating', 'active') THEN
        NEW.worker_status := 'stopping';
        NEW.worker_status_changed_at := clock_timestamp();
        NEW.worker_lease_expires_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER agent_discord_connections_drop_unproven_bot_token
BEFORE UPDATE ON public.agent_discord_connections
FOR EACH ROW
WHEN (
    (OLD.agent_id, OLD.guild_id, OLD.discord_app_id, lower(OLD.discord_public_key))
    IS DISTINCT FROM (NEW.agent_id, NEW.guild_id, NEW.discord_app_id, lower(NEW.discord_public_key))
)
EXECUTE FUNCTION app.drop_unproven_bot_token();

-- A worker whose bot is taken from it is to be stopped: whoever takes it asks for that.
--
-- A definer, because those who delete their account may not write jobs.
CREATE FUNCTION app.abandon_worker()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    INSERT INTO app.jobs AS kept (kind, key, max_attempts)
    VALUES ('discord_worker', OLD.agent_id::text, 1000000)
    ON CONFLICT (kind, key) DO UPDATE
    SET requested = kept.requested + 1,
        run_after = least(kept.run_after, excluded.run_after),
        attempts = 0,
        outcome = NULL,
        finished_at = NULL;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION app.drop_unproven_bot_token(), app.abandon_worker()
FROM PUBLIC, anon, authenticated, service_role;

CREATE TRIGGER agent_discord_connections_abandon_worker_of_deleted
AFTER DELETE ON public.agent_discord_connections
FOR EACH ROW
WHEN (OLD.guild_id IS NULL AND OLD.worker_status <> 'inactive')
EXECUTE FUNCTION app.abandon_worker();

CREATE TRIGGER agent_discord_connections_abandon_worker
AFTER UPDATE ON public.agent_discord_connections
FOR EACH ROW
WHEN (
    OLD.guild_id IS NULL
    AND OLD.worker_status <> 'inactive'
    AND (
        (OLD.bot_token_sealed IS NOT NULL AND NEW.bot_token_sealed IS NULL)
        OR (OLD.guild_id, OLD.discord_app_id, lower(OLD.discord_public_key))
        IS DISTINCT FROM (NEW.guild_id, NEW.discord_app_id, lower(NEW.discord_public_key))
    )
)
EXECUTE FUNCTION app.abandon_worker();

-- What every report moves is neither a change for the log nor one for `updated_at`: the triggers do not run for it.

DROP TRIGGER agent_discord_connections_set_updated_at ON public.agent_discord_connections;
CREATE TRIGGER agent_discord_connections_set_updated_at
BEFORE UPDATE OF
    user_id, agent_id, guild_id, discord_app_id, discord_public_key, inactivity_timeout_minutes, is_enabled,
    allowed_channel_ids, desired_status, worker_status, worker_error_code, worker_error_message, worker_token_hash,
    bot_token_sealed, bot_token_fingerprint, bot_user_id, bot_username, commands_registered_at
ON public.agent_discord_connections
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

DROP TRIGGER agent_discord_connections_audit_change ON public.agent_discord_connections;
CREATE TRIGGER agent_discord_connections_audit_change
AFTER INSERT OR DELETE OR UPDATE OF
    user_id, agent_id, guild_id, discord_app_id, discord_public_key, inactivity_timeout_minutes, is_enabled,
    allowed_channel_ids, desired_status, worker_status, worker_error_code, worker_error_message, worker_token_hash,
    bot_token_sealed, bot_token_fingerprint, bot_user_id, bot_username, commands_registered_at
ON public.agent_discord_connections
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');


-- Interactions that are answered later

ALTER TABLE app.discord_interactions
ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(),
-- No foreign keys: whoever asked is told, also when the agent or its owner is gone.
ADD COLUMN user_id uuid,
ADD COLUMN agent_id uuid,
ADD COLUMN agent_name text,
ADD COLUMN is_own_key boolean NOT NULL DEFAULT false,
ADD COLUMN guild_id text,
ADD COLUMN channel_id text,
ADD COLUMN author_id text,
ADD COLUMN author_name text,
-- What was said, and the token by which it is answered: forgotten when it is.
ADD COLUMN message text,
ADD COLUMN token_sealed text,
ADD COLUMN is_ephemeral boolean NOT NULL DEFAULT false,
-- When the token ends.
ADD COLUMN expires_at timestamptz,
ADD COLUMN answer text,
ADD COLUMN is_apology boolean NOT NULL DEFAULT false,
-- The parts of the answer that were about to be sent, and those that Discord has taken. An edit may be sent again, a further message not.
ADD COLUMN parts_begun int NOT NULL DEFAULT 0,
ADD COLUMN parts_sent int NOT NULL DEFAULT 0,
-- Whether something may be visible of which Discord said nothing.
ADD COLUMN is_doubtful boolean NOT NULL DEFAULT false,
ADD COLUMN outcome text,
ADD COLUMN finished_at timestamptz,
ALTER COLUMN response DROP NOT NULL,
ADD CONSTRAINT discord_interactions_id_key UNIQUE (id),
DROP CONSTRAINT discord_interactions_kind_check,
ADD CONSTRAINT discord_interactions_kind_check CHECK (
    kind IN ('agents', 'status', 'choices', 'ask', 'ask_about', 'activate', 'deactivate')
),
ADD CONSTRAINT discord_interactions_response_check CHECK (
    response IS NOT NULL OR (expires_at IS NOT NULL AND channel_id IS NOT NULL AND guild_id IS NOT NULL)
),
ADD CONSTRAINT discord_interactions_token_check CHECK (
    (token_sealed IS NOT NULL) = (response IS NULL AND outcome IS NULL)
),
ADD CONSTRAINT discord_interactions_parts_check CHECK (parts_sent BETWEEN 0 AND parts_begun),
ADD CONSTRAINT discord_interactions_outcome_check CHECK (outcome IN ('answered', 'apologised', 'expired', 'gone')),
ADD CONSTRAINT discord_interactions_finished_at_check CHECK ((outcome IS NULL) = (finished_at IS NULL)),
ADD CONSTRAINT discord_interactions_message_length_check CHECK (length(message) <= 20000),
ADD CONSTRAINT discord_interactions_answer_length_check CHECK (length(answer) BETWEEN 1 AND 200000);

-- One row: how many requests Discord has refused lately. It bans an address that goes on after 10,000 in ten minutes.
CREATE TABLE app.discord_state (
    id boolean NOT NULL DEFAULT true,
    refused_since timestamptz NOT NULL DEFAULT now(),
    refused int NOT NULL DEFAULT 0,
    paused_until timestamptz,
    CONSTRAINT discord_state_pkey PRIMARY KEY (id),
    CONSTRAINT discord_state_one_row_check CHECK (id),
    CONSTRAINT discord_state_refused_check CHECK (refused >= 0)
);

INSERT INTO app.discord_state DEFAULT VALUES;

-- How often an application's bot was started lately, whichever connection it was. Each start is an IDENTIFY, of which Discord allows a bot
-- 1,000 in 24 hours.
CREATE TABLE app.discord_starts (
    application_id text NOT NULL,
    since timestamptz NOT NULL,
    starts int NOT NULL,
    CONSTRAINT discord_starts_pkey PRIMARY KEY (application_id),
    CONSTRAINT discord_starts_application_id_check CHECK (application_id ~ '^[0-9]{1,20}$'),
    CONSTRAINT discord_starts_starts_check CHECK (starts > 0)
);

CREATE INDEX discord_starts_since_idx ON app.discord_starts (since);

ALTER TABLE app.discord_state ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.discord_starts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
REVOKE ALL ON app.discord_state, app.discord_starts FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON app.discord_state, app.discord_starts TO service_role;
