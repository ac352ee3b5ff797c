-- Silence noticed, and told.
--
-- Guarantees: two sweeps at once do the work once. A toolbox flips by a compare-and-set on its status, and each flip is decided on once:
-- it is in one alert, or in none. A sweep that comes late gives everybody more time instead of accusing them, and many that fall silent
-- together are one alert, to the operator. Each alert has one job, and what was already sent when its sender died is known to be in
-- doubt.

-- Makes an alert with its job; returns its id. `p_entries` is [{"toolbox_id", "name", "at"}].
CREATE OR REPLACE FUNCTION app.raise_alert(p_user_id uuid, p_kind text, p_entries jsonb)
RETURNS uuid
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_alert_id uuid;
BEGIN
    INSERT INTO app.alerts (user_id, kind, entries, total)
    VALUES (
        p_user_id,
        p_kind,
        (
            SELECT coalesce(jsonb_agg(entry.value ORDER BY entry.position), '[]')
            FROM jsonb_array_elements(p_entries) WITH ORDINALITY AS entry (value, position)
            WHERE entry.position <= 20
        ),
        jsonb_array_length(p_entries)
    )
    RETURNING id
    INTO v_alert_id;

    PERFORM app.request_job('alert', v_alert_id::text, 200);
    RETURN v_alert_id;
END
$$;

-- Input: {"limit", "late_after_seconds", "settle_seconds", "mass_minimum", "mass_percent", "remind_after_seconds", "has_operator"}.
-- Output: {"outcome": "busy"} or {"outcome": "swept", "is_late", "postponed", "silent", "returned", "reminded", "is_mass", "alerts"}.
--
-- Few toolboxes are due of however many there are. Statistics cannot say so, since times move with every heartbeat: the planner would
-- guess a third of the table, and read all of it.
CREATE OR REPLACE FUNCTION api.sweep_toolboxes(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_last record;
    v_is_late boolean;
    v_due_ids uuid[];
    v_due_times timestamptz[];
    v_postponed bigint := 0;
    v_silent bigint := 0;
    v_raised jsonb;
    v_reminded jsonb;
BEGIN
    PERFORM app.become(caller);

    SELECT sweep.swept_at, sweep.was_late
    INTO v_last
    FROM app.sweep_state AS sweep
    FOR UPDATE SKIP LOCKED;

    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'busy');
    END IF;

    -- Once in a row: a schedule that is slow for good must not keep silence from being noticed.
    v_is_late := coalesce(
        NOT v_last.was_late AND v_last.swept_at < v_now - make_interval(secs => (input ->> 'late_after_seconds')::int),
        false
    );

    UPDATE app.sweep_state
    SET swept_at = v_now,
        was_late = v_is_late,
        sweeps = sweeps + 1;

    IF v_is_late THEN
        -- Nobody looked for a while, so perhaps nobody listened either.
        v_due_ids := ARRAY(
            SELECT toolbox.id
            FROM public.account_tool_environments AS toolbox
            WHERE toolbox.alert_after < v_now
            ORDER BY toolbox.alert_after
            LIMIT (input ->> 'limit')::int
            FOR NO KEY UPDATE SKIP LOCKED
        );

        UPDATE public.account_tool_environments AS toolbox
        SET alert_after = v_now + make_interval(secs => toolbox.heartbeat_period_seconds + toolbox.heartbeat_grace_seconds)
        WHERE toolbox.id = ANY (v_due_ids);
        GET DIAGNOSTICS v_postponed = ROW_COUNT;

        -- Nor to the bots' workers: each has its lease once more.
        UPDATE public.agent_discord_connections AS bot
        SET worker_lease_expires_at = v_now + (bot.worker_lease_expires_at - bot.worker_reported_at)
        WHERE bot.worker_status = 'active'
          AND bot.worker_lease_expires_at < v_now
          AND bot.worker_reported_at < bot.worker_lease_expires_at;
    ELSE
        SELECT array_agg(due.id), array_agg(due.alert_after)
        INTO v_due_ids, v_due_times
        FROM (
            SELECT toolbox.id, toolbox.alert_after
            FROM public.account_tool_environments AS toolbox
            WHERE toolbox.alert_after < v_now
            ORDER BY toolbox.alert_after
            LIMIT (input ->> 'limit')::int
            -- One that is speaking at this very moment is not silent.
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS due;

        WITH flipped AS (
            UPDATE public.account_tool_environments AS toolbox
            SET status = 'unresponsive',
                alert_after = NULL,
                remind_after = v_now + make_interval(secs => (input ->> 'remind_after_seconds')::int)
            FROM unnest(v_due_ids, v_due_times) AS due (id, alert_after)
            WHERE toolbox.id = due.id
              AND toolbox.status = 'active'
            RETURNING toolbox.id, toolbox.user_id, toolbox.name, due.alert_after
        )
        INSERT INTO app.toolbox_flips (toolbox_id, user_id, toolbox_name, direction, at)
        SELECT flipped.id, flipped.user_id, flipped.name, 'silent', flipped.alert_after
        FROM flipped
        ORDER BY flipped.alert_after;
        GET DIAGNOSTICS v_silent = ROW_COUNT;
    END IF;

    v_raised := app.raise_flip_alerts(
        (input ->> 'limit')::int,
        (input ->> 'settle_seconds')::int,
        (input ->> 'mass_minimum')::int,
        (input ->> 'mass_percent')::int,
        (input ->> 'has_operator')::boolean
    );
    v_reminded := app.raise_reminders((input ->> 'limit')::int, (input ->> 'remind_after_seconds')::int);

    RETURN jsonb_build_object(
        'outcome', 'swept',
        'is_late', v_is_late,
        'postponed', v_postponed,
        'silent', v_silent,
        'returned', v_raised -> 'returned',
        'reminded', v_reminded -> 'toolboxes',
        'is_mass', v_raised -> 'is_mass',
        'alerts', (v_raised ->> 'alerts')::int + (v_reminded ->> 'alerts')::int
    );
END
$$;

-- Decides whom to tell of the flips on which nobody has decided yet, once the oldest is `p_settle_seconds` old: those that fall silent
-- together are noticed over the time of a heartbeat's period, and are to be told together. Output: {"returned", "is_mass", "alerts"}.
CREATE OR REPLACE FUNCTION app.raise_flip_alerts(
    p_limit int,
    p_settle_seconds int,
    p_mass_minimum int,
    p_mass_percent int,
    p_has_operator boolean
)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_flip_ids bigint[];
    v_silent bigint;
    v_is_mass boolean := false;
    v_group record;
    v_alert_id uuid;
    v_alerts int := 0;
BEGIN
    PERFORM 1
    FROM app.toolbox_flips AS flip
    WHERE flip.processed_at IS NULL
      AND flip.noticed_at <= clock_timestamp() - make_interval(secs => p_settle_seconds)
    LIMIT 1;

    IF NOT FOUND THEN
        RETURN jsonb_build_object('returned', 0, 'is_mass', false, 'alerts', 0);
    END IF;

    v_flip_ids := ARRAY(
        SELECT flip.id
        FROM app.toolbox_flips AS flip
        WHERE flip.processed_at IS NULL
        ORDER BY flip.id
        LIMIT p_limit
    );

    UPDATE app.toolbox_flips AS flip
    SET processed_at = clock_timestamp()
    WHERE flip.id = ANY (v_flip_ids)
      AND flip.processed_at IS NULL;

    SELECT count(*)
    INTO v_silent
    FROM app.toolbox_flips AS flip
    WHERE flip.id = ANY (v_flip_ids)
      AND flip.direction = 'silent';

    IF p_has_operator AND v_silent >= p_mass_minimum THEN
        -- Counted no further than the answer needs.
        v_is_mass := v_silent * 100 >= p_mass_percent * (
            v_silent + (
                SELECT count(*)
                FROM (
                    SELECT 1
                    FROM public.account_tool_environments AS toolbox
                    WHERE toolbox.alert_after IS NOT NULL
                    ORDER BY toolbox.alert_after
                    LIMIT v_silent * 100 / p_mass_percent + 1
                ) AS speaking
            )
        );
    END IF;

    -- To whom: of silence, the owner, or the operator when it is many; of a return, whoever was told of the silence before it.
    FOR v_group IN
        SELECT
            told.direction,
            told.user_id,
            array_agg(told.id) AS flip_ids,
            jsonb_agg(
                jsonb_build_object('toolbox_id', told.toolbox_id, 'name', told.toolbox_name, 'at', told.at)
                ORDER BY told.at, told.id
            ) AS entries
        FROM (
            SELECT
                flip.id, flip.direction, flip.toolbox_id, flip.toolbox_name, flip.at,
                CASE WHEN v_is_mass THEN NULL ELSE flip.user_id END AS user_id
            FROM app.toolbox_flips AS flip
            WHERE flip.id = ANY (v_flip_ids)
              AND flip.direction = 'silent'
            UNION ALL
            SELECT flip.id, flip.direction, flip.toolbox_id, flip.toolbox_name, flip.at, before.user_id
            FROM app.toolbox_flips AS flip
            CROSS JOIN LATERAL (
                SELECT alert.user_id
                FROM app.toolbox_flips AS earlier
                JOIN app.alerts AS alert ON alert.id = earlier.alert_id
                WHERE earlier.toolbox_id = flip.toolbox_id
                  AND earlier.id < flip.id
                  AND earlier.id = (
                      SELECT max(last.id)
                      FROM app.toolbox_flips AS last
                      WHERE last.toolbox_id = flip.toolbox_id
                        AND last.id < flip.id
                        AND last.direction = 'silent'
                  )
            ) AS before
            WHERE flip.id = ANY (v_flip_ids)
              AND flip.direction = 'returned'
        ) AS told
        WHERE told.user_id IS NULL
           OR EXISTS (
               SELECT 1
               FROM app.alert_destinations AS destination
               WHERE destination.user_id = told.user_id
                 AND destination.disabled_at IS NULL
           )
        GROUP BY told.direction, told.user_id
    LOOP
        v_alert_id := app.raise_alert(
            v_group.user_id,
            CASE
                WHEN v_group.user_id IS NOT NULL THEN v_group.direction
                WHEN v_group.direction = 'silent' THEN 'mass_silence'
                ELSE 'mass_return'
            END,
            v_group.entries
        );

        UPDATE app.toolbox_flips AS flip
        SET alert_id = v_alert_id
        WHERE flip.id = ANY (v_group.flip_ids);
        v_alerts := v_alerts + 1;
    END LOOP;

    RETURN jsonb_build_object(
        'returned', cardinality(v_flip_ids) - v_silent,
        'is_mass', v_is_mass,
        'alerts', v_alerts
    );
END
$$;

-- Tells owners again of what is silent still. Output: {"toolboxes", "alerts"}.
CREATE OR REPLACE FUNCTION app.raise_reminders(p_limit int, p_remind_after_seconds int)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_due uuid[];
    v_group record;
    v_alert_id uuid;
    v_alerts int := 0;
BEGIN
    v_due := ARRAY(
        SELECT toolbox.id
        FROM public.account_tool_environments AS toolbox
        WHERE toolbox.remind_after < v_now
        ORDER BY toolbox.remind_after
        LIMIT p_limit
        FOR NO KEY UPDATE SKIP LOCKED
    );

    IF cardinality(v_due) = 0 THEN
        RETURN jsonb_build_object('toolboxes', 0, 'alerts', 0);
    END IF;

    UPDATE public.account_tool_environments AS toolbox
    SET remind_after = v_now + make_interval(secs => p_remind_after_seconds)
    WHERE toolbox.id = ANY (v_due);

    FOR v_group IN
        SELECT
            flip.user_id,
            array_agg(flip.id) AS flip_ids,
            jsonb_agg(
                jsonb_build_object('toolbox_id', flip.toolbox_id, 'name', flip.toolbox_name, 'at', flip.at)
                ORDER BY flip.at, flip.id
            ) AS entries
        FROM app.toolbox_flips AS flip
        JOIN app.alert_destinations AS destination
            ON destination.user_id = flip.user_id
           AND destination.disabled_at IS NULL
        WHERE flip.id = ANY (ARRAY(
            SELECT max(last.id)
            FROM app.toolbox_flips AS last
            WHERE last.toolbox_id = ANY (v_due)
              AND last.direction = 'silent'
            GROUP BY last.toolbox_id
        ))
        GROUP BY flip.user_id
    LOOP
        v_alert_id := app.raise_alert(v_group.user_id, 'reminder', v_group.entries);

        -- Whoever was told last is told of the return.
        UPDATE app.toolbox_flips AS flip
        SET alert_id = v_alert_id
        WHERE flip.id = ANY (v_group.flip_ids);
        v_alerts := v_alerts + 1;
    END LOOP;

    RETURN jsonb_build_object('toolboxes', cardinality(v_due), 'alerts', v_alerts);
END
$$;

-- Takes an alert to send it. Input: {"alert_id", "lease": {"job_id", "lease_id"}}. Output: null if there is nothing to send, or
-- {"user_id" | null, "kind", "entries", "total", "destination": {"webhook_sealed"} | null, "in_doubt"}: whether it may have been sent
-- before, by one who died over it.
CREATE OR REPLACE FUNCTION api.begin_alert(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_alert app.alerts;
BEGIN
    PERFORM app.become(caller);

    UPDATE app.alerts AS alert
    SET given_up = 'whoever sent it died over it again and again'
    FROM app.jobs AS job
    WHERE alert.id = (input ->> 'alert_id')::uuid
      AND alert.delivered_at IS NULL
      AND alert.given_up IS NULL
      AND job.id = (input -> 'lease' ->> 'job_id')::uuid
      AND job.lease_id = (input -> 'lease' ->> 'lease_id')::uuid
      AND job.attempts >= job.max_attempts;

    SELECT alert.*
    INTO v_alert
    FROM app.alerts AS alert
    JOIN app.jobs AS job
        ON job.id = (input -> 'lease' ->> 'job_id')::uuid
       AND job.lease_id = (input -> 'lease' ->> 'lease_id')::uuid
    WHERE alert.id = (input ->> 'alert_id')::uuid
      AND alert.delivered_at IS NULL
      AND alert.given_up IS NULL
    FOR UPDATE OF alert;

    IF NOT FOUND THEN
        RETURN 'null'::jsonb;
    END IF;

    UPDATE app.alerts AS alert
    SET sending_at = clock_timestamp()
    WHERE alert.id = v_alert.id;

    RETURN jsonb_build_object(
        'user_id', v_alert.user_id,
        'kind', v_alert.kind,
        'entries', v_alert.entries,
        'total', v_alert.total,
        'destination', (
            SELECT jsonb_build_object('webhook_sealed', destination.webhook_sealed)
            FROM app.alert_destinations AS destination
            WHERE destination.user_id = v_alert.user_id
              AND destination.disabled_at IS NULL
        ),
        'in_doubt', v_alert.sending_at IS NOT NULL
    );
END
$$;

-- Writes how sending went, and settles the job.
--
-- Input: {"alert_id", "outcome": "delivered" | "not_sent" | "in_doubt" | "given_up", "reason" | null, "disable_destination": boolean,
-- "job": as app.settle_job takes it}. Output: {"held"}.
CREATE OR REPLACE FUNCTION api.settle_alert(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_outcome text := input ->> 'outcome';
    v_told record;
    v_held boolean;
    v_failed boolean;
BEGIN
    PERFORM app.become(caller);

    v_held := app.settle_job(input -> 'job');

    IF NOT v_held AND v_outcome <> 'delivered' THEN
        RETURN jsonb_build_object('held', false);
    END IF;

    v_failed := EXISTS (
        SELECT 1
        FROM app.jobs AS job
        WHERE job.id = (input -> 'job' ->> 'job_id')::uuid
          AND job.outcome = 'failed'
    );

    UPDATE app.alerts AS alert
    SET delivered_at = CASE WHEN v_outcome = 'delivered' THEN clock_timestamp() ELSE alert.delivered_at END,
        sending_at = CASE WHEN v_outcome = 'not_sent' THEN NULL ELSE alert.sending_at END,
        given_up = CASE
            WHEN v_outcome = 'given_up' OR v_failed THEN left(coalesce(input ->> 'reason', 'it could not be sent'), 500)
            ELSE alert.given_up
        END
    WHERE alert.id = (input ->> 'alert_id')::uuid
    RETURNING alert.user_id, alert.sending_at
    INTO v_told;

    IF (input ->> 'disable_destination')::boolean THEN
        UPDATE app.alert_destinations AS destination
        SET disabled_at = clock_timestamp()
        WHERE destination.user_id = v_told.user_id
          AND destination.disabled_at IS NULL
          -- Not the one that its owner has put there since.
          AND destination.updated_at <= v_told.sending_at;
    END IF;

    RETURN jsonb_build_object('held', v_held);
END
$$;

-- Where an owner is told.

-- Output: {"configured", "webhook_id" | null, "disabled_at" | null}.
CREATE OR REPLACE FUNCTION api.get_alert_destination(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_kept record;
BEGIN
    PERFORM app.become_service();

    SELECT destination.webhook_id, destination.disabled_at
    INTO v_kept
    FROM app.alert_destinations AS destination
    WHERE destination.user_id = v_user_id;

    RETURN jsonb_build_object(
        'configured', FOUND,
        'webhook_id', v_kept.webhook_id,
        'disabled_at', v_kept.disabled_at
    );
END
$$;

-- Input: {"sealed", "key_id", "webhook_id", "per_minute", "burst"}. Output: as api.get_alert_destination.
CREATE OR REPLACE FUNCTION api.put_alert_destination(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
BEGIN
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'alert_destination:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );

    INSERT INTO app.alert_destinations AS kept (user_id, webhook_sealed, key_id, webhook_id)
    VALUES (v_user_id, input ->> 'sealed', input ->> 'key_id', input ->> 'webhook_id')
    ON CONFLICT (user_id) DO UPDATE
    SET webhook_sealed = excluded.webhook_sealed,
        key_id = excluded.key_id,
        webhook_id = excluded.webhook_id,
        disabled_at = NULL;

    RETURN jsonb_build_object('configured', true, 'webhook_id', input -> 'webhook_id', 'disabled_at', NULL);
EXCEPTION
    WHEN foreign_key_violation THEN
        PERFORM app.refuse(401, 'user_not_found', 'Authentication failed');
END
$$;

-- Output: as api.get_alert_destination.
CREATE OR REPLACE FUNCTION api.delete_alert_destination(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
BEGIN
    PERFORM app.become_service();

    DELETE FROM app.alert_destinations AS destination
    WHERE destination.user_id = v_user_id;

    RETURN jsonb_build_object('configured', false, 'webhook_id', NULL, 'disabled_at', NULL);
END
$$;

-- Sealing anew, by `cargo xtask reseal`: as with credentials, and the id of a destination is its owner's.

-- Input: {"key_id" (the newest), "after": id | null, "limit"}. Output: {"rows": [{"id", "sealed"}]}.
CREATE OR REPLACE FUNCTION api.list_alert_destinations_to_reseal(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_rows jsonb;
BEGIN
    PERFORM app.become(caller);

    SELECT coalesce(jsonb_agg(jsonb_build_object('id', batch.user_id, 'sealed', batch.webhook_sealed) ORDER BY batch.user_id), '[]')
    INTO v_rows
    FROM (
        SELECT destination.user_id, destination.webhook_sealed
        FROM app.alert_destinations AS destination
        WHERE destination.key_id <> input ->> 'key_id'
          AND (input ->> 'after' IS NULL OR destination.user_id > (input ->> 'after')::uuid)
        ORDER BY destination.user_id
        LIMIT (input ->> 'limit')::int
    ) AS batch;

    RETURN jsonb_build_object('rows', v_rows);
END
$$;

-- Input: {"key_id", "rows": [{"id", "from", "to"}]}. Output: {"resealed"}.
CREATE OR REPLACE FUNCTION api.reseal_alert_destinations(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_resealed bigint;
BEGIN
    PERFORM app.become(caller);

    UPDATE app.alert_destinations AS destination
    SET webhook_sealed = change.entry ->> 'to',
        key_id = input ->> 'key_id'
    FROM jsonb_array_elements(input -> 'rows') AS change (entry)
    WHERE destination.user_id = (change.entry ->> 'id')::uuid
      AND destination.webhook_sealed = change.entry ->> 'from';

    GET DIAGNOSTICS v_resealed = ROW_COUNT;
    RETURN jsonb_build_object('resealed', v_resealed);
END
$$;

REVOKE ALL ON FUNCTION
    app.raise_alert(uuid, text, jsonb),
    app.raise_flip_alerts(int, int, int, int, boolean),
    app.raise_reminders(int, int)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.raise_alert(uuid, text, jsonb),
    app.raise_flip_alerts(int, int, int, int, boolean),
    app.raise_reminders(int, int)
TO service_role;

SELECT app.grant_operations();
