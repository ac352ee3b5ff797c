-- Rate limits and idempotency, shared by the operations of all areas.
--
-- Guarantees: a limit is asked and taken in one statement, so that concurrent requests cannot pass together where one
-- may; a refused request takes nothing. Of the requests with one idempotency key one at a time holds the lease; the
-- others are refused until it is done, and then get its response; a lease that was given up or ran out is taken over
-- with what the request had already made.
--
-- These run as service_role, in the transaction of the operation that calls them.

-- GCRA: of a burst of `p_burst` the key regains one every 60 / p_per_minute seconds. `tat` is the time at which the
-- whole burst is there again.
CREATE OR REPLACE FUNCTION app.take_rate_limit(p_key text, p_per_minute int, p_burst int)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_interval interval := interval '1 minute' / p_per_minute;
    v_tat timestamptz;
    v_allowed boolean;
BEGIN
    INSERT INTO app.rate_limits AS kept (key, tat)
    VALUES (p_key, v_now + v_interval)
    ON CONFLICT (key) DO UPDATE
    SET tat = greatest(kept.tat, v_now) + v_interval
    WHERE greatest(kept.tat, v_now) + v_interval <= v_now + v_interval * p_burst
    RETURNING kept.tat
    INTO v_tat;

    v_allowed := FOUND;

    IF NOT v_allowed THEN
        SELECT kept.tat
        INTO v_tat
        FROM app.rate_limits AS kept
        WHERE kept.key = p_key;
    END IF;

    RETURN jsonb_build_object(
        'allowed', v_allowed,
        'limit', p_per_minute,
        'remaining', greatest(
            0,
            floor(p_burst - extract(epoch FROM v_tat - v_now) / extract(epoch FROM v_interval))::int
        ),
        'reset_seconds', greatest(0, ceil(extract(epoch FROM v_tat - v_now)))::int,
        'retry_after_seconds', CASE
            WHEN v_allowed THEN 0
            ELSE greatest(1, ceil(extract(epoch FROM v_tat + v_interval - v_interval * p_burst - v_now)))::int
        END
    );
END
$$;

-- Takes from the limit, or refuses the request; returns what an answer tells about the limit.
CREATE OR REPLACE FUNCTION app.require_rate_limit(p_scope text, p_key text, p_per_minute int, p_burst int)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_taken jsonb := app.take_rate_limit(p_key, p_per_minute, p_burst);
BEGIN
    IF NOT (v_taken ->> 'allowed')::boolean THEN
        PERFORM app.refuse(
            429,
            'rate_limited',
            'Rate limit exceeded',
            (v_taken - 'allowed') || jsonb_build_object('scope', p_scope)
        );
    END IF;

    RETURN v_taken - 'allowed' - 'retry_after_seconds';
END
$$;

-- Refuses if the next one would be refused, and takes nothing.
CREATE OR REPLACE FUNCTION app.refuse_if_limited(p_scope text, p_key text, p_per_minute int, p_burst int)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_interval interval := interval '1 minute' / p_per_minute;
    v_wait interval;
BEGIN
    SELECT kept.tat + v_interval - v_interval * p_burst - v_now
    INTO v_wait
    FROM app.rate_limits AS kept
    WHERE kept.key = p_key;

    IF v_wait > interval '0' THEN
        PERFORM app.refuse(
            429,
            'rate_limited',
            'Rate limit exceeded',
            jsonb_build_object(
                'scope', p_scope,
                'limit', p_per_minute,
                'remaining', 0,
                'retry_after_seconds', greatest(1, ceil(extract(epoch FROM v_wait)))::int
            )
        );
    END IF;
END
$$;

-- Leases the key to the caller. `response` is not null where the request was completed before. `resource_id` is the
-- id of what the request makes: the one proposed, or the one that an unfinished attempt had taken before.
CREATE OR REPLACE FUNCTION app.claim_idempotency_key(
    p_user_id uuid,
    p_operation text,
    p_key text,
    p_request_hash text,
    p_resource_id uuid,
    p_lease_id uuid,
    p_lease_seconds int,
    OUT response jsonb,
    OUT resource_id uuid
)
RETURNS record
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_kept record;
BEGIN
    BEGIN
        INSERT INTO app.idempotency_keys AS kept (
            user_id, operation, key, request_hash, status, lease_id, lease_expires_at, resource_id, expires_at
        )
        VALUES (
            p_user_id,
            p_operation,
            p_key,
            p_request_hash,
            'running',
            p_lease_id,
            v_now + make_interval(secs => p_lease_seconds),
            p_resource_id,
            v_now + interval '24 hours'
        )
        ON CONFLICT (user_id, operation, key) DO UPDATE
        SET
            request_hash = excluded.request_hash,
            status = excluded.status,
            lease_id = excluded.lease_id,
            lease_expires_at = excluded.lease_expires_at,
            resource_id = CASE WHEN kept.expires_at > v_now THEN kept.resource_id ELSE excluded.resource_id END,
            response = NULL,
            expires_at = excluded.expires_at
        WHERE kept.expires_at <= v_now
           OR (
               kept.request_hash = excluded.request_hash
               AND (kept.status = 'failed' OR (kept.status = 'running' AND kept.lease_expires_at <= v_now))
           )
        RETURNING kept.resource_id
        INTO claim_idempotency_key.resource_id;
    EXCEPTION
        WHEN foreign_key_violation THEN
            PERFORM app.refuse(401, 'user_not_found', 'Authentication failed');
    END;

    IF FOUND THEN
        RETURN;
    END IF;

    SELECT kept.request_hash, kept.status, kept.response, kept.lease_expires_at
    INTO v_kept
    FROM app.idempotency_keys AS kept
    WHERE kept.user_id = p_user_id
      AND kept.operation = p_operation
      AND kept.key = p_key;

    IF v_kept.request_hash <> p_request_hash THEN
        PERFORM app.refuse(
            422,
            'idempotency_key_reused',
            'This idempotency key was used with another request.'
        );
    ELSIF v_kept.status <> 'completed' THEN
        PERFORM app.refuse(
            409,
            'turn_in_progress',
            'A request with this idempotency key is still in progress.',
            jsonb_build_object(
                'retry_after_seconds',
                greatest(1, ceil(extract(epoch FROM v_kept.lease_expires_at - v_now)))::int
            )
        );
    END IF;

    response := v_kept.response;
END
$$;

REVOKE ALL ON FUNCTION
    app.take_rate_limit(text, int, int),
    app.require_rate_limit(text, text, int, int),
    app.refuse_if_limited(text, text, int, int),
    app.claim_idempotency_key(uuid, text, text, text, uuid, uuid, int)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.take_rate_limit(text, int, int),
    app.require_rate_limit(text, text, int, int),
    app.refuse_if_limited(text, text, int, int),
    app.claim_idempotency_key(uuid, text, text, text, uuid, uuid, int)
TO service_role;
