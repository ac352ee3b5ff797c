-- Durable work: what must be finished even if the request that began it dies.
--
-- Guarantees: one row per kind and key, so asking twice is asking once. A job is done by whoever holds its lease; when that one dies,
-- the lease runs out and the next claim takes it over. What is settled under a lease that was lost has no effect. A job that is asked
-- for while it is at work is due again as soon as it is settled.

-- Asks for a job, now or later; for one that is waiting, the earlier time counts.
CREATE OR REPLACE FUNCTION app.request_job(
    p_kind text,
    p_key text,
    p_max_attempts int,
    p_run_after timestamptz DEFAULT clock_timestamp()
)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    INSERT INTO app.jobs AS kept (kind, key, max_attempts, run_after)
    VALUES (p_kind, p_key, p_max_attempts, p_run_after)
    ON CONFLICT (kind, key) DO UPDATE
    SET requested = kept.requested + 1,
        run_after = CASE
            WHEN kept.outcome IS NULL THEN least(kept.run_after, excluded.run_after)
            ELSE excluded.run_after
        END,
        attempts = 0,
        outcome = NULL,
        finished_at = NULL;
END
$$;

-- Settles a job under its lease: {"job_id", "lease_id", "requested", "outcome" | null, "run_after_seconds" | null, "error" | null,
-- "untouched"?: boolean}. Without an outcome it is due again after that time; an error counts as an attempt, and success forgives the
-- ones before, unless nothing was tried. False if the lease was lost.
CREATE OR REPLACE FUNCTION app.settle_job(p_settlement jsonb)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_error text := left(p_settlement ->> 'error', 500);
BEGIN
    UPDATE app.jobs AS job
    SET (outcome, finished_at, run_after, attempts) = (
            SELECT
                settled.outcome,
                CASE WHEN settled.outcome IS NOT NULL THEN v_now END,
                CASE
                    WHEN job.requested <> (p_settlement ->> 'requested')::bigint THEN v_now
                    ELSE v_now + make_interval(secs => coalesce((p_settlement ->> 'run_after_seconds')::float8, 0))
                END,
                CASE
                    WHEN (p_settlement ->> 'untouched')::boolean THEN job.attempts
                    WHEN v_error IS NULL THEN 0
                    ELSE least(job.attempts + 1, job.max_attempts)
                END
            FROM (
                SELECT CASE
                    WHEN job.requested <> (p_settlement ->> 'requested')::bigint THEN NULL
                    WHEN v_error IS NOT NULL AND job.attempts + 1 >= job.max_attempts THEN 'failed'
                    ELSE p_settlement ->> 'outcome'
                END AS outcome
            ) AS settled
        ),
        last_error = CASE WHEN (p_settlement ->> 'untouched')::boolean THEN job.last_error ELSE v_error END,
        lease_id = NULL,
        lease_expires_at = NULL
    WHERE job.id = (p_settlement ->> 'job_id')::uuid
      AND job.lease_id = (p_settlement ->> 'lease_id')::uuid;

    RETURN FOUND;
END
$$;

-- Keeps the lease of a job for longer. False if it was lost.
CREATE OR REPLACE FUNCTION app.extend_job_lease(p_job_id uuid, p_lease_id uuid, p_seconds int)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    UPDATE app.jobs AS job
    SET lease_expires_at = clock_timestamp() + make_interval(secs => p_seconds)
    WHERE job.id = p_job_id
      AND job.lease_id = p_lease_id;

    RETURN FOUND;
END
$$;

-- Input: {"kinds": [text], "limit", "lease_seconds"}.
-- Output: {"jobs": [{"job_id", "lease_id", "requested", "kind", "key", "attempts", "max_attempts"}]}, those that waited longest.
CREATE OR REPLACE FUNCTION api.claim_jobs(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_jobs jsonb;
BEGIN
    PERFORM app.become(caller);

    WITH due AS (
        SELECT job.id
        FROM app.jobs AS job
        WHERE job.outcome IS NULL
          AND job.run_after <= v_now
          AND (job.lease_expires_at IS NULL OR job.lease_expires_at <= v_now)
          AND job.kind = ANY (ARRAY(SELECT jsonb_array_elements_text(input -> 'kinds')))
          AND (
              job.kind <> 'toolbox_machine'
              OR NOT EXISTS (SELECT 1 FROM app.sweep_state AS sweep WHERE sweep.provider_paused_until > v_now)
          )
          AND (
              job.kind <> 'discord_answer'
              OR NOT EXISTS (SELECT 1 FROM app.discord_state AS state WHERE state.paused_until > v_now)
          )
        ORDER BY job.run_after
        LIMIT (input ->> 'limit')::int
        FOR UPDATE SKIP LOCKED
    ),
    claimed AS (
        UPDATE app.jobs AS job
        SET lease_id = gen_random_uuid(),
            lease_expires_at = v_now + make_interval(secs => (input ->> 'lease_seconds')::int),
            -- Whoever had it died over it.
            attempts = CASE
                WHEN job.lease_id IS NULL THEN job.attempts
                ELSE least(job.attempts + 1, job.max_attempts)
            END
        FROM due
        WHERE job.id = due.id
        RETURNING
            job.id, job.lease_id, job.requested, job.kind, job.key, job.attempts, job.max_attempts, job.run_after
    )
    SELECT coalesce(
        jsonb_agg(
            jsonb_build_object(
                'job_id', claimed.id,
                'lease_id', claimed.lease_id,
                'requested', claimed.requested,
                'kind', claimed.kind,
                'key', claimed.key,
                'attempts', claimed.attempts,
                'max_attempts', claimed.max_attempts
            )
            ORDER BY claimed.run_after
        ),
        '[]'
    )
    INTO v_jobs
    FROM claimed;

    RETURN jsonb_build_object('jobs', v_jobs);
END
$$;

-- Input: a settlement, as app.settle_job takes it. Output: {"held": boolean}.
CREATE OR REPLACE FUNCTION api.settle_job(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);

    RETURN jsonb_build_object('held', app.settle_job(input));
END
$$;

-- Removes what has served its time, a bounded number of each. Input: {"limit"}. Output: {"removed": {table: number}}; nothing if it was
-- done in the last hour. What is more than the limit is removed the next time, which then is at once.
CREATE OR REPLACE FUNCTION api.prune_expired(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_limit bigint := (input ->> 'limit')::bigint;
    v_target record;
    v_rows bigint;
    v_removed jsonb := '{}';
    v_is_more boolean := false;
BEGIN
    PERFORM app.become(caller);

    -- One at a time.
    UPDATE app.sweep_state
    SET pruned_at = v_now
    WHERE pruned_at IS NULL
       OR pruned_at <= v_now - interval '1 hour';

    IF NOT FOUND THEN
        RETURN jsonb_build_object('removed', v_removed);
    END IF;

    FOR v_target IN
        SELECT target.name, target.condition
        FROM (
            VALUES
                ('idempotency_keys', 'expires_at <= $1'),
                ('rate_limits', $q$tat <= $1 - interval '1 day'$q$),
                ('jobs', $q$finished_at <= $1 - interval '7 days'$q$),
                ('machine_attempts', $q$ended_at <= $1 - interval '90 days'$q$),
                ('alerts', $q$created_at <= $1 - interval '90 days'$q$),
                (
                    'discord_interactions',
                    $q$created_at <= $1 - CASE WHEN token_sealed IS NULL THEN interval '1 hour' ELSE interval '1 day' END$q$
                ),
                ('discord_starts', $q$since <= $1 - interval '24 hours'$q$),
                -- The last silence of each toolbox says to whom its return is told.
                (
                    'toolbox_flips',
                    $q$processed_at <= $1 - interval '90 days' AND EXISTS (
                        SELECT 1
                        FROM app.toolbox_flips AS later
                        WHERE later.toolbox_id = kept.toolbox_id
                          AND later.id > kept.id
                          AND later.direction = 'silent'
                    )$q$
                )
        ) AS target (name, condition)
    LOOP
        -- The condition twice: what was wanted again meanwhile stays.
        EXECUTE format(
            'DELETE FROM app.%1$I AS kept
             WHERE %2$s AND kept.ctid = ANY (ARRAY(SELECT kept.ctid FROM app.%1$I AS kept WHERE %2$s LIMIT $2))',
            v_target.name,
            v_target.condition
        )
        USING v_now, v_limit;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_removed := v_removed || jsonb_build_object(v_target.name, v_rows);
        v_is_more := v_is_more OR v_rows >= v_limit;
    END LOOP;

    IF v_is_more THEN
        UPDATE app.sweep_state
        SET pruned_at = NULL;
    END IF;

    RETURN jsonb_build_object('removed', v_removed);
END
$$;

REVOKE ALL ON FUNCTION
    app.request_job(text, text, int, timestamptz),
    app.settle_job(jsonb),
    app.extend_job_lease(uuid, uuid, int)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.request_job(text, text, int, timestamptz),
    app.settle_job(jsonb),
    app.extend_job_lease(uuid, uuid, int)
TO service_role;

SELECT app.grant_operations();
