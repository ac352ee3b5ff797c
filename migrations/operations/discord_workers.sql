-- The gateway workers of agents' bots: what is wanted, what is seen, and who may say so.
--
-- Guarantees: a worker's status changes by compare-and-set, by rules that the caller brings; a report counts only with the token and the
-- lease of the worker that was started last, so that of two workers of one bot only one is heard. Starting and stopping are written before the
-- worker manager is asked, with a time until which something must be heard, and a job that looks after it. A start that was superseded
-- settles nothing.

-- Admits a command to an agent's worker: by its owner; by an administrator who forces it; by the service for somebody in a guild in which the
-- agent may be used; or by the service of its own accord ("automatic"). It runs as the service; the claims tell who the user is.
CREATE OR REPLACE FUNCTION app.admit_worker_command(caller jsonb, input jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := auth.uid();
    v_agent_id uuid := input ->> 'agent_id';
BEGIN
    IF caller ->> 'kind' = 'user' THEN
        IF (input ->> 'force')::boolean THEN
            IF NOT EXISTS (
                SELECT 1
                FROM public.user_roles AS granted
                JOIN public.roles AS role ON role.id = granted.role_id
                WHERE granted.user_id = v_user_id
                  AND role.name = 'admin'
            ) THEN
                PERFORM app.refuse(403, 'admin_required', 'Only administrators may do this.');
            END IF;
        ELSE
            PERFORM app.require_own_agent(v_user_id, v_agent_id);
        END IF;

        IF input ? 'per_minute' THEN
            PERFORM app.require_bot_limit(v_user_id, input);
        END IF;
        RETURN;
    END IF;

    IF (input ->> 'automatic')::boolean IS NOT TRUE
        AND app.usable_place_id(
            v_agent_id,
            input ->> 'guild_id',
            input ->> 'application_id',
            input ->> 'public_key',
            (input ->> 'own_key')::boolean
        ) IS NULL
    THEN
        PERFORM app.refuse(404, 'agent_not_found', 'Agent not found');
    END IF;
END
$$;

-- What a bot's worker is seen doing; that of a bot which is gone does nothing.
CREATE OR REPLACE FUNCTION app.worker_status(p_connection_id uuid)
RETURNS text
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
BEGIN
    RETURN coalesce(
        (
            SELECT bot.worker_status
            FROM public.agent_discord_connections AS bot
            WHERE bot.id = p_connection_id
        ),
        'inactive'
    );
END
$$;

REVOKE ALL ON FUNCTION
    app.admit_worker_command(jsonb, jsonb),
    app.worker_status(uuid)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.admit_worker_command(jsonb, jsonb),
    app.worker_status(uuid)
TO service_role;

-- Writes that a worker is being started.
--
-- Input: {"agent_id", "transitions": {from: to}, "token_hash", "start_seconds", "starts_per_day"}, by the owner with {"per_minute", "burst"},
-- or by the service with {"guild_id", "application_id", "public_key", "own_key"} or {"automatic": true}.
-- Output: {"outcome": "begun", "user_id", "connection_id", "lease_id", "application_id", "bot_token_sealed", "agent",
-- "inactivity_timeout_minutes", "guild_ids"}, or {"outcome": "unchanged", "status", "inactivity_timeout_minutes"} from a status that no
-- transition leads out of.
CREATE OR REPLACE FUNCTION api.begin_worker_start(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_agent_id uuid := input ->> 'agent_id';
    v_is_automatic boolean := coalesce((input ->> 'automatic')::boolean, false);
    v_now timestamptz := clock_timestamp();
    v_lease_id uuid := gen_random_uuid();
    v_deadline timestamptz := v_now + make_interval(secs => (input ->> 'start_seconds')::int);
    v_bot public.agent_discord_connections;
    v_agent record;
    v_status text;
    v_starts record;
BEGIN
    PERFORM app.become(caller);

    PERFORM app.become_service();
    PERFORM app.admit_worker_command(caller, input);

    SELECT bot.*
    INTO v_bot
    FROM public.agent_discord_connections AS bot
    WHERE bot.agent_id = v_agent_id
      AND bot.guild_id IS NULL
    FOR UPDATE;

    IF NOT FOUND THEN
        PERFORM app.refuse_missing_connection(400);
    END IF;

    SELECT agent.id, agent.name, agent.active, agent.system_instructions, agent.assistant_instructions
    INTO v_agent
    FROM public.agents AS agent
    WHERE agent.id = v_agent_id;

    IF v_bot.bot_token_sealed IS NULL THEN
        PERFORM app.refuse(400, 'bot_token_missing', 'Agent is missing Discord Bot Key.');
    ELSIF NOT v_agent.active THEN
        PERFORM app.refuse(409, 'agent_inactive', 'This agent is not active.');
    ELSIF NOT v_bot.is_enabled THEN
        PERFORM app.refuse(409, 'connection_disabled', 'The connection of this agent to Discord is switched off.');
    ELSIF v_bot.worker_status = 'stopping' THEN
        PERFORM app.refuse(
            409,
            'worker_stopping',
            'The worker is stopping. Please try again.',
            jsonb_build_object(
                'retry_after_seconds',
                greatest(1, least(ceil(extract(epoch FROM v_bot.worker_lease_expires_at - v_now)), 60))::int
            )
        );
    END IF;

    v_status := input -> 'transitions' ->> v_bot.worker_status;

    -- What nobody asked for is done only for a worker that is wanted and has failed.
    IF v_is_automatic AND NOT (v_bot.desired_status = 'active' AND v_bot.worker_status = 'error') THEN
        v_status := NULL;
    END IF;

    IF v_status IS NULL THEN
        UPDATE public.agent_discord_connections AS bot
        SET desired_status = 'active'
        WHERE bot.id = v_bot.id
          AND bot.desired_status <> 'active'
          AND NOT v_is_automatic;

        RETURN jsonb_build_object(
            'outcome', 'unchanged',
            'status', v_bot.worker_status,
            'inactivity_timeout_minutes', v_bot.inactivity_timeout_minutes
        );
    END IF;

    -- A bot has one session: the one that it had with another agent ends first.
    IF EXISTS (
        SELECT 1
        FROM public.agent_discord_connections AS other
        WHERE other.discord_app_id = v_bot.discord_app_id
          AND other.guild_id IS NULL
          AND other.id <> v_bot.id
          AND other.worker_status IN ('activating', 'active', 'stopping')
    ) THEN
        PERFORM app.refuse(
            409,
            'worker_stopping',
            'The worker that this bot had with another agent is stopping. Please try again.',
            '{"retry_after_seconds": 30}'
        );
    END IF;

    INSERT INTO app.discord_starts AS kept (application_id, since, starts)
    VALUES (v_bot.discord_app_id, v_now, 1)
    ON CONFLICT (application_id) DO UPDATE
    SET since = CASE WHEN kept.since > v_now - interval '24 hours' THEN kept.since ELSE excluded.since END,
        starts = CASE WHEN kept.since > v_now - interval '24 hours' THEN kept.starts + 1 ELSE 1 END
    RETURNING kept.since, kept.starts
    INTO v_starts;

    IF v_starts.starts > (input ->> 'starts_per_day')::int THEN
        PERFORM app.refuse(
            429,
            'start_limit_reached',
            'This worker was started too often today.',
            jsonb_build_object(
                'scope', 'worker_starts',
                'retry_after_seconds',
                greatest(1, ceil(extract(epoch FROM v_starts.since + interval '24 hours' - v_now)))::int
            )
        );
    END IF;

    UPDATE public.agent_discord_connections AS bot
    SET desired_status = 'active',
        worker_status = v_status,
        worker_status_changed_at = v_now,
        worker_error_code = NULL,
        worker_error_message = NULL,
        worker_token_hash = decode(input ->> 'token_hash', 'hex'),
        worker_lease_id = v_lease_id,
        worker_lease_expires_at = v_deadline,
        worker_report = NULL,
        worker_restarts = CASE WHEN v_is_automatic THEN bot.worker_restarts + 1 ELSE 0 END
    WHERE bot.id = v_bot.id;

    -- The job that starts it looks again by itself.
    IF NOT v_is_automatic THEN
        PERFORM app.request_job('discord_worker', v_agent_id::text, 1000000, v_deadline);
    END IF;

    RETURN jsonb_build_object(
        'outcome', 'begun',
        'user_id', v_bot.user_id,
        'connection_id', v_bot.id,
        'lease_id', v_lease_id,
        'application_id', v_bot.discord_app_id,
        'bot_token_sealed', v_bot.bot_token_sealed,
        'agent', jsonb_build_object(
            'id', v_agent.id,
            'name', v_agent.name,
            'system_instructions', v_agent.system_instructions,
            'assistant_instructions', v_agent.assistant_instructions
        ),
        'inactivity_timeout_minutes', v_bot.inactivity_timeout_minutes,
        'guild_ids', (
            SELECT coalesce(jsonb_agg(place.guild_id ORDER BY place.created_at, place.guild_id), '[]')
            FROM public.agent_discord_connections AS place
            WHERE place.agent_id = v_agent_id
              AND place.guild_id IS NOT NULL
              AND place.is_enabled
        )
    );
END
$$;

-- Writes what became of a start: with an error it ends there, if the worker has not been heard of and was not started anew.
--
-- Input: {"connection_id", "lease_id", "error_code" | null, "error_message" | null}. Output: {"status"}, the present one.
CREATE OR REPLACE FUNCTION api.settle_worker_start(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_connection_id uuid := input ->> 'connection_id';
BEGIN
    PERFORM app.become(caller);

    UPDATE public.agent_discord_connections AS bot
    SET worker_status = 'error',
        worker_status_changed_at = clock_timestamp(),
        worker_error_code = input ->> 'error_code',
        worker_error_message = left(input ->> 'error_message', 1000),
        worker_token_hash = NULL,
        worker_lease_id = NULL,
        worker_lease_expires_at = NULL
    WHERE input ->> 'error_code' IS NOT NULL
      AND bot.id = v_connection_id
      AND bot.worker_status = 'activating'
      AND bot.worker_lease_id = (input ->> 'lease_id')::uuid;

    RETURN jsonb_build_object('status', app.worker_status(v_connection_id));
END
$$;

-- Writes that a worker is being stopped; from then on its token is good for nothing but saying that it has.
--
-- Input: {"agent_id", "transitions": {from: to}, "stop_seconds"} and what admits it, as for a start; {"force": true} by an administrator.
-- Output: {"outcome": "begun", "user_id", "connection_id", "lease_id"}, or {"outcome": "unchanged", "status"}.
CREATE OR REPLACE FUNCTION api.begin_worker_stop(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_agent_id uuid := input ->> 'agent_id';
    v_is_automatic boolean := coalesce((input ->> 'automatic')::boolean, false);
    v_now timestamptz := clock_timestamp();
    v_deadline timestamptz := v_now + make_interval(secs => (input ->> 'stop_seconds')::int);
    v_bot public.agent_discord_connections;
    v_status text;
    v_lease_id uuid;
BEGIN
    PERFORM app.become(caller);

    PERFORM app.become_service();
    PERFORM app.admit_worker_command(caller, input);

    SELECT bot.*
    INTO v_bot
    FROM public.agent_discord_connections AS bot
    WHERE bot.agent_id = v_agent_id
      AND bot.guild_id IS NULL
    FOR UPDATE;

    IF NOT FOUND THEN
        IF v_is_automatic THEN
            RETURN '{"outcome": "unchanged", "status": "inactive"}';
        END IF;
        PERFORM app.refuse_missing_connection(400);
    END IF;

    v_status := coalesce(input -> 'transitions' ->> v_bot.worker_status, v_bot.worker_status);

    -- What nobody asked for is done only to a worker that is not wanted, or stopping already.
    IF v_is_automatic AND v_bot.desired_status = 'active' AND v_bot.worker_status <> 'stopping' THEN
        v_status := v_bot.worker_status;
    END IF;

    v_lease_id := coalesce(v_bot.worker_lease_id, gen_random_uuid());

    IF v_status = v_bot.worker_status AND v_status <> 'stopping' THEN
        UPDATE public.agent_discord_connections AS bot
        SET desired_status = 'inactive'
        WHERE bot.id = v_bot.id
          AND bot.desired_status <> 'inactive'
          AND NOT v_is_automatic;

        RETURN jsonb_build_object('outcome', 'unchanged', 'status', v_status);
    END IF;

    UPDATE public.agent_discord_connections AS bot
    SET desired_status = CASE WHEN v_is_automatic THEN bot.desired_status ELSE 'inactive' END,
        worker_status = v_status,
        worker_status_changed_at = CASE
            WHEN bot.worker_status = v_status THEN bot.worker_status_changed_at
            ELSE v_now
        END,
        worker_error_code = NULL,
        worker_error_message = NULL,
        worker_lease_id = v_lease_id,
        worker_lease_expires_at = v_deadline
    WHERE bot.id = v_bot.id;

    -- The job that stops it looks again by itself.
    IF NOT v_is_automatic THEN
        PERFORM app.request_job('discord_worker', v_agent_id::text, 1000000, v_deadline);
    END IF;

    RETURN jsonb_build_object(
        'outcome', 'begun',
        'user_id', v_bot.user_id,
        'connection_id', v_bot.id,
        'lease_id', v_lease_id
    );
END
$$;

-- Writes what became of a stop. With an error the worker is stopping still, and is told again.
--
-- Input: {"connection_id", "lease_id", "error_code" | null, "error_message" | null}. Output: {"status"}, the present one.
CREATE OR REPLACE FUNCTION api.settle_worker_stop(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_connection_id uuid := input ->> 'connection_id';
    v_is_stopped boolean := input ->> 'error_code' IS NULL;
BEGIN
    PERFORM app.become(caller);

    UPDATE public.agent_discord_connections AS bot
    SET worker_status = CASE
            WHEN NOT v_is_stopped THEN bot.worker_status
            -- It ended by itself, and nobody wanted it to.
            WHEN bot.desired_status = 'active' THEN 'error'
            ELSE 'inactive'
        END,
        worker_status_changed_at = CASE WHEN v_is_stopped THEN clock_timestamp() ELSE bot.worker_status_changed_at END,
        worker_error_code = CASE
            WHEN v_is_stopped AND bot.desired_status = 'active' THEN 'worker_crashed'
            ELSE input ->> 'error_code'
        END,
        worker_error_message = left(input ->> 'error_message', 1000),
        worker_token_hash = CASE WHEN NOT v_is_stopped THEN bot.worker_token_hash END,
        worker_lease_id = CASE WHEN NOT v_is_stopped THEN bot.worker_lease_id END,
        worker_lease_expires_at = CASE WHEN NOT v_is_stopped THEN bot.worker_lease_expires_at END
    WHERE bot.id = v_connection_id
      AND bot.worker_status = 'stopping'
      AND bot.worker_lease_id = (input ->> 'lease_id')::uuid;

    RETURN jsonb_build_object('status', app.worker_status(v_connection_id));
END
$$;

-- Takes a worker's report, proven by its token and its lease.
--
-- Input: {"token_hash", "lease_id", "status", "transitions": {from: {reported: to}}, "lease_seconds", "error_code" | null,
-- "error_message" | null, "report" | null, "per_minute", "burst"}. Of one that is inactive the code "idle" says that nobody spoke to it.
-- Output: {"status", "should_stop", "lease_seconds", "inactivity_timeout_minutes", "guilds": [{"guild_id", "allowed_channel_ids"}]}.
CREATE OR REPLACE FUNCTION api.report_worker(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_bot public.agent_discord_connections;
    v_status text;
    v_is_over boolean;
    v_desired text;
BEGIN
    PERFORM app.become(caller);

    SELECT bot.*
    INTO v_bot
    FROM public.agent_discord_connections AS bot
    WHERE bot.worker_token_hash = decode(input ->> 'token_hash', 'hex')
    FOR UPDATE;

    IF NOT FOUND THEN
        PERFORM app.refuse(401, 'invalid_token', 'Authentication failed');
    ELSIF v_bot.worker_lease_id IS DISTINCT FROM (input ->> 'lease_id')::uuid THEN
        PERFORM app.refuse(409, 'lease_lost', 'Another worker has taken over.');
    ELSIF octet_length((input -> 'report')::text) > 8192 THEN
        -- Written out, a number may be longer than it was.
        PERFORM app.refuse(400, 'invalid_field', 'report is too long.', '{"field": "report"}');
    END IF;

    PERFORM app.require_rate_limit(
        'worker', 'discord:worker:' || v_bot.id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );

    v_status := input -> 'transitions' -> v_bot.worker_status ->> (input ->> 'status');

    IF v_status IS NULL THEN
        PERFORM app.refuse(
            409,
            'status_refused',
            format('A worker that is %s cannot become %s.', v_bot.worker_status, input ->> 'status')
        );
    END IF;

    -- One that ends because nobody has spoken to it for as long as its owner said is not wanted any more. One that ends otherwise, because its
    -- machine is restarted, is.
    v_desired := CASE
        WHEN v_status = 'inactive' AND (input ->> 'error_code' = 'idle' OR NOT v_bot.is_enabled) THEN 'inactive'
        ELSE v_bot.desired_status
    END;

    IF v_status = 'inactive' AND v_desired = 'active' THEN
        v_status := 'error';
    END IF;

    v_is_over := v_status NOT IN ('activating', 'active', 'stopping');

    UPDATE public.agent_discord_connections AS bot
    SET worker_lease_id = CASE WHEN NOT v_is_over THEN bot.worker_lease_id END,
        worker_lease_expires_at = CASE
            WHEN v_status = 'active' THEN v_now + make_interval(secs => (input ->> 'lease_seconds')::int)
            -- A start and a stop have their time, however often they are reported.
            WHEN NOT v_is_over THEN bot.worker_lease_expires_at
        END,
        worker_reported_at = v_now,
        worker_report = coalesce(nullif(input -> 'report', 'null'), bot.worker_report),
        worker_restarts = CASE
            WHEN v_status = 'active' AND bot.worker_status = 'active'
                AND bot.worker_status_changed_at <= v_now - interval '10 minutes' THEN 0
            ELSE bot.worker_restarts
        END
    WHERE bot.id = v_bot.id;

    -- Apart, because these columns are changes for the log.
    IF v_status <> v_bot.worker_status THEN
        UPDATE public.agent_discord_connections AS bot
        SET desired_status = v_desired,
            worker_status = v_status,
            worker_status_changed_at = v_now,
            worker_error_code = CASE
                WHEN v_status = 'error' AND input ->> 'status' = 'inactive' THEN 'worker_crashed'
                WHEN v_status = 'error' THEN coalesce(input ->> 'error_code', 'worker_crashed')
                WHEN v_status IN ('unauthorized', 'bad_intents') THEN v_status
            END,
            worker_error_message = CASE
                WHEN v_is_over AND v_status <> 'inactive' THEN left(input ->> 'error_message', 1000)
            END,
            worker_token_hash = CASE WHEN NOT v_is_over THEN bot.worker_token_hash END
        WHERE bot.id = v_bot.id;
    END IF;

    IF v_status = 'error' AND v_desired = 'active' THEN
        PERFORM app.request_job('discord_worker', v_bot.agent_id::text, 1000000);
    ELSIF v_status = 'active' AND v_desired = 'active' AND v_bot.is_enabled THEN
        -- There is nothing to look after until it falls silent.
        UPDATE app.jobs AS job
        SET run_after = v_now + make_interval(secs => (input ->> 'lease_seconds')::int)
        WHERE job.kind = 'discord_worker'
          AND job.key = v_bot.agent_id::text
          AND job.outcome IS NULL
          AND job.lease_id IS NULL;
    END IF;

    RETURN jsonb_build_object(
        'status', v_status,
        'should_stop', v_status = 'stopping' OR v_is_over OR v_desired = 'inactive' OR NOT v_bot.is_enabled,
        'lease_seconds', (input ->> 'lease_seconds')::int,
        'inactivity_timeout_minutes', v_bot.inactivity_timeout_minutes,
        'guilds', (
            SELECT coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'guild_id', place.guild_id, 'allowed_channel_ids', place.allowed_channel_ids
                    )
                    ORDER BY place.created_at, place.guild_id
                ),
                '[]'
            )
            FROM public.agent_discord_connections AS place
            WHERE place.agent_id = v_bot.agent_id
              AND place.guild_id IS NOT NULL
              AND place.is_enabled
        )
    );
END
$$;

-- What is known of an agent's worker, for its job. Input: {"agent_id"}. Output: {"worker": … | null}.
CREATE OR REPLACE FUNCTION api.read_worker(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM app.become(caller);

    RETURN jsonb_build_object(
        'worker',
        (
            SELECT jsonb_build_object(
                'connection_id', bot.id,
                'user_id', bot.user_id,
                'lease_id', bot.worker_lease_id,
                'desired_status', bot.desired_status,
                'worker_status', bot.worker_status,
                'is_overdue', coalesce(bot.worker_lease_expires_at <= v_now, true),
                'has_token', bot.bot_token_sealed IS NOT NULL,
                'restarts', bot.worker_restarts,
                'error_code', bot.worker_error_code,
                'seconds_in_status', greatest(
                    0, floor(extract(epoch FROM v_now - bot.worker_status_changed_at))
                )::bigint,
                'seconds_left', greatest(
                    0, ceil(extract(epoch FROM coalesce(bot.worker_lease_expires_at, v_now) - v_now))
                )::bigint
            )
            FROM public.agent_discord_connections AS bot
            WHERE bot.agent_id = (input ->> 'agent_id')::uuid
              AND bot.guild_id IS NULL
        )
    );
END
$$;

-- Writes what a worker's job has found, and settles the job in the same transaction.
--
-- Input: {"agent_id", "job": what app.settle_job takes, or {"job_id", "lease_id", "keep_seconds"}, "change": null | {"connection_id", "from",
-- "lease_id" | null, "to", "error_code" | null, "error_message" | null}}. Output: {"held", "applied"}: whether the lease of the job still
-- was, and whether the worker still was as the change needs it.
CREATE OR REPLACE FUNCTION api.advance_worker(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_job jsonb := input -> 'job';
    v_change jsonb := nullif(input -> 'change', 'null');
    v_applied boolean := true;
BEGIN
    PERFORM app.become(caller);

    -- The bot before its job, in the order in which a command locks them.
    PERFORM 1
    FROM public.agent_discord_connections AS bot
    WHERE bot.id = (v_change ->> 'connection_id')::uuid
    FOR UPDATE;

    PERFORM 1
    FROM app.jobs AS job
    WHERE job.id = (v_job ->> 'job_id')::uuid
      AND job.lease_id = (v_job ->> 'lease_id')::uuid
    FOR UPDATE;

    IF NOT FOUND THEN
        RETURN jsonb_build_object('held', false, 'applied', false);
    END IF;

    IF v_change IS NOT NULL THEN
        UPDATE public.agent_discord_connections AS bot
        SET worker_status = v_change ->> 'to',
            worker_status_changed_at = clock_timestamp(),
            worker_error_code = v_change ->> 'error_code',
            worker_error_message = left(v_change ->> 'error_message', 1000),
            worker_token_hash = NULL,
            worker_lease_id = NULL,
            worker_lease_expires_at = NULL
        WHERE bot.id = (v_change ->> 'connection_id')::uuid
          AND bot.worker_status = v_change ->> 'from'
          AND bot.worker_lease_id IS NOT DISTINCT FROM (v_change ->> 'lease_id')::uuid
          -- It may have been heard of since.
          AND coalesce(bot.worker_lease_expires_at <= clock_timestamp(), true);
        v_applied := FOUND;
    END IF;

    IF v_job ? 'keep_seconds' THEN
        PERFORM app.extend_job_lease(
            (v_job ->> 'job_id')::uuid, (v_job ->> 'lease_id')::uuid, (v_job ->> 'keep_seconds')::int
        );
    ELSE
        PERFORM app.settle_job(v_job);
    END IF;

    RETURN jsonb_build_object('held', true, 'applied', v_applied);
END
$$;

-- Of the workers that the manager runs, those that nobody wants. Input: {"agent_ids"}. Output: {"agent_ids"}.
CREATE OR REPLACE FUNCTION api.find_unwanted_workers(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);

    RETURN (
        SELECT jsonb_build_object('agent_ids', coalesce(jsonb_agg(listed.agent_id ORDER BY listed.agent_id), '[]'))
        FROM jsonb_array_elements_text(input -> 'agent_ids') AS listed (agent_id)
        WHERE NOT EXISTS (
            SELECT 1
            FROM public.agent_discord_connections AS bot
            WHERE bot.agent_id = listed.agent_id::uuid
              AND bot.guild_id IS NULL
              AND bot.worker_status IN ('activating', 'active', 'stopping')
        )
    );
END
$$;

SELECT app.grant_operations();
