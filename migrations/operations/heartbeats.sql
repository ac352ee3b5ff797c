-- What machines say, and what is said of them.
--
-- Guarantees: which toolbox speaks follows from its token alone, and only its own instances are touched, whatever ids it names. A report
-- that another has overtaken proves that the machine lives and changes nothing else. Contact never moves back in time. What a state
-- means and leads to is the domain's to say: the rules come with the request.

-- The first contact. Input: {"bootstrap_hash", "claim_hash" | null, "token_hash"} (hexadecimal). Output: {"toolbox_id",
-- "heartbeat_interval_seconds"}. The token replaces the bootstrap token, which is good once; whoever sent a claim with it may repeat it
-- with the same claim until it has spoken with its token, because an answer can be lost.
CREATE OR REPLACE FUNCTION api.register_machine(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_toolbox record;
BEGIN
    PERFORM app.become(caller);

    UPDATE public.account_tool_environments AS toolbox
    SET token_hash = decode(input ->> 'token_hash', 'hex'),
        bootstrap_claim_hash = decode(input ->> 'claim_hash', 'hex'),
        bootstrap_token_hash = CASE
            WHEN input ->> 'claim_hash' IS NULL THEN NULL
            ELSE toolbox.bootstrap_token_hash
        END
    WHERE toolbox.bootstrap_token_hash = decode(input ->> 'bootstrap_hash', 'hex')
      AND toolbox.bootstrap_expires_at > clock_timestamp()
      AND toolbox.desired_state <> 'deleted'
      AND toolbox.last_heartbeat_at IS NULL
      AND (
          toolbox.bootstrap_claim_hash IS NULL
          OR toolbox.bootstrap_claim_hash = decode(input ->> 'claim_hash', 'hex')
      )
    RETURNING toolbox.id, toolbox.heartbeat_period_seconds
    INTO v_toolbox;

    IF NOT FOUND THEN
        PERFORM app.refuse(401, 'invalid_token', 'Unauthorized: Invalid token');
    END IF;

    RETURN jsonb_build_object(
        'toolbox_id', v_toolbox.id,
        'heartbeat_interval_seconds', v_toolbox.heartbeat_period_seconds
    );
END
$$;

-- Input: {"token_hash" (hexadecimal), "dtma_version" | null, "system_status" | null, "sent_at" | null, "generation" | null,
-- "tools": [{"id", "state", "generation" | null, "message" | null}] | null, "per_minute", "burst",
-- "contact": {status: status after contact}, "rule": {desired: {reported: {"current" | "stale": [status, action]}}}}.
-- Output: {"toolbox_id", "user_id", "generation", "paused", "heartbeat_interval_seconds", "tools"}: what should run.
CREATE OR REPLACE FUNCTION api.record_heartbeat(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_sent_at timestamptz := (input ->> 'sent_at')::timestamptz;
    v_toolbox record;
    v_status text;
    v_is_newest boolean;
    v_tools jsonb := '[]';
BEGIN
    PERFORM app.become(caller);

    SELECT
        toolbox.id, toolbox.user_id, toolbox.name, toolbox.status, toolbox.desired_state, toolbox.generation,
        toolbox.heartbeat_period_seconds, toolbox.heartbeat_grace_seconds, toolbox.reported_at
    INTO v_toolbox
    FROM public.account_tool_environments AS toolbox
    WHERE toolbox.token_hash = decode(input ->> 'token_hash', 'hex')
    FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        PERFORM app.refuse(401, 'invalid_token', 'Unauthorized: Invalid token');
    END IF;

    PERFORM app.require_rate_limit(
        'toolbox', 'heartbeat:' || v_toolbox.id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );

    v_status := coalesce(input -> 'contact' ->> v_toolbox.status, v_toolbox.status);
    -- One clock is compared with itself. Further back than any network delays, it was set.
    v_is_newest := v_sent_at IS NULL
        OR v_toolbox.reported_at IS NULL
        OR v_sent_at > v_toolbox.reported_at
        OR v_sent_at < v_toolbox.reported_at - interval '5 minutes';

    UPDATE public.account_tool_environments AS toolbox
    SET last_heartbeat_at = greatest(toolbox.last_heartbeat_at, v_now),
        alert_after = CASE
            WHEN v_status = 'active' THEN v_now + make_interval(
                secs => v_toolbox.heartbeat_period_seconds + v_toolbox.heartbeat_grace_seconds
            )
        END,
        dtma_last_known_version = coalesce(input ->> 'dtma_version', toolbox.dtma_last_known_version),
        dtma_health_details_json = CASE
            WHEN v_is_newest AND input -> 'system_status' <> 'null' THEN input -> 'system_status'
            ELSE toolbox.dtma_health_details_json
        END,
        reported_at = CASE WHEN v_is_newest THEN coalesce(v_sent_at, toolbox.reported_at) ELSE toolbox.reported_at END,
        reported_generation = CASE
            WHEN v_is_newest THEN coalesce((input ->> 'generation')::bigint, toolbox.reported_generation)
            ELSE toolbox.reported_generation
        END
    WHERE toolbox.id = v_toolbox.id;

    IF v_status <> v_toolbox.status THEN
        UPDATE public.account_tool_environments AS toolbox
        SET status = v_status,
            remind_after = NULL,
            provisioning_error_message = NULL,
            bootstrap_token_hash = NULL
        WHERE toolbox.id = v_toolbox.id;

        IF v_toolbox.status = 'unresponsive' THEN
            INSERT INTO app.toolbox_flips (toolbox_id, user_id, toolbox_name, direction, at)
            VALUES (v_toolbox.id, v_toolbox.user_id, v_toolbox.name, 'returned', v_now);
        END IF;
    END IF;

    IF v_toolbox.desired_state <> 'deleted' THEN
        v_tools := app.reconcile_tools(
            v_toolbox.id,
            v_toolbox.desired_state = 'paused',
            CASE WHEN v_is_newest THEN nullif(input -> 'tools', 'null') END,
            input -> 'rule'
        );
    END IF;

    RETURN jsonb_build_object(
        'toolbox_id', v_toolbox.id,
        'user_id', v_toolbox.user_id,
        'generation', v_toolbox.generation,
        'paused', v_toolbox.desired_state = 'paused',
        'heartbeat_interval_seconds', v_toolbox.heartbeat_period_seconds,
        'tools', v_tools
    );
END
$$;

-- Judges each instance of a toolbox by what should be and what was reported, writes what follows, and returns what should run. Without
-- a report (null) nothing is written, and what was reported last is judged again. An instance that a report does not name has no
-- container; one of which nobody said a generation is taken to be current.
CREATE OR REPLACE FUNCTION app.reconcile_tools(p_toolbox_id uuid, p_is_paused boolean, p_report jsonb, p_rule jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_judged record;
BEGIN
    PERFORM 1
    FROM public.account_tool_instances AS instance
    WHERE instance.account_tool_environment_id = p_toolbox_id;

    IF NOT FOUND THEN
        RETURN '[]'::jsonb;
    END IF;

    -- One look tells all: most heartbeats bring no news, and then there is nothing to write.
    SELECT
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'account_tool_instance_id', instance.id,
                    'instance_name_on_toolbox', instance.instance_name_on_toolbox,
                    'desired', seen.desired,
                    'action', verdict.value -> 1,
                    'generation', instance.generation,
                    'image', tool.package_identifier,
                    'image_tag', coalesce(instance.version, tool.version),
                    'image_digest', tool.image_digest,
                    'environment', coalesce(tool.default_config_template, '{}')
                        || coalesce(instance.base_config_override_json, '{}'),
                    'resources', tool.resource_requirements
                )
                ORDER BY instance.created_at, instance.id
            ) FILTER (WHERE p_report IS NULL OR verdict.value ->> 0 <> 'deleted'),
            '[]'
        ) AS answer,
        array_agg(instance.id) FILTER (WHERE verdict.value ->> 0 = 'deleted') AS gone,
        jsonb_agg(
            jsonb_build_object(
                'id', instance.id,
                'status', verdict.value -> 0,
                'state', seen.state,
                'generation', seen.generation,
                'message', seen.message
            )
        ) FILTER (
            WHERE (
                instance.status_on_toolbox,
                instance.reported_state,
                instance.reported_generation,
                instance.instance_error_message
            ) IS DISTINCT FROM (verdict.value ->> 0, seen.state, seen.generation, seen.message)
        ) AS news,
        bool_or(instance.last_heartbeat_from_dtma < v_now - interval '5 minutes') AS is_behind
    INTO v_judged
    FROM public.account_tool_instances AS instance
    JOIN public.tool_catalog AS tool ON tool.id = instance.tool_catalog_id
    LEFT JOIN jsonb_array_elements(p_report) AS entry ON (entry.value ->> 'id')::uuid = instance.id
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN p_is_paused AND instance.desired_status = 'running' THEN 'stopped'
                ELSE instance.desired_status
            END AS desired,
            CASE
                WHEN p_report IS NULL THEN coalesce(instance.reported_state, 'absent')
                ELSE coalesce(entry.value ->> 'state', 'absent')
            END AS state,
            CASE
                WHEN p_report IS NULL THEN instance.reported_generation
                ELSE (entry.value ->> 'generation')::bigint
            END AS generation,
            CASE
                WHEN p_report IS NULL THEN instance.instance_error_message
                ELSE entry.value ->> 'message'
            END AS message
    ) AS seen
    CROSS JOIN LATERAL (
        SELECT
            p_rule -> seen.desired -> seen.state -> CASE
                WHEN seen.generation < instance.generation THEN 'stale'
                ELSE 'current'
            END AS value
        -- Not merged into what uses it: the rule is asked once for each.
        OFFSET 0
    ) AS verdict
    WHERE instance.account_tool_environment_id = p_toolbox_id;

    IF p_report IS NULL THEN
        RETURN v_judged.answer;
    END IF;

    IF v_judged.gone IS NOT NULL THEN
        DELETE FROM public.account_tool_instances AS instance
        WHERE instance.id = ANY (v_judged.gone);
    END IF;

    IF v_judged.news IS NOT NULL THEN
        UPDATE public.account_tool_instances AS instance
        SET status_on_toolbox = news.status,
            reported_state = news.state,
            reported_generation = news.generation,
            instance_error_message = news.message,
            last_heartbeat_from_dtma = v_now
        FROM jsonb_to_recordset(v_judged.news)
            AS news (id uuid, status text, state text, generation bigint, message text)
        WHERE instance.id = news.id;
    END IF;

    -- Time alone is written now and then.
    IF v_judged.is_behind THEN
        UPDATE public.account_tool_instances AS instance
        SET last_heartbeat_from_dtma = v_now
        WHERE instance.account_tool_environment_id = p_toolbox_id
          AND instance.last_heartbeat_from_dtma < v_now - interval '5 minutes';
    END IF;

    RETURN v_judged.answer;
END
$$;

-- Liveness of toolboxes. Input: {"limit", "cursor": {"created_at", "id"} | null, "all": boolean, "summary": boolean}. Output: {"now", "rows", "next",
-- "summary" | null}; over all toolboxes for administrators alone.
CREATE OR REPLACE FUNCTION api.read_liveness(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_all boolean := coalesce((input ->> 'all')::boolean, false);
    v_limit int := (input ->> 'limit')::int;
    v_now timestamptz := clock_timestamp();
    v_before timestamptz := coalesce((input -> 'cursor' ->> 'created_at')::timestamptz, 'infinity');
    v_before_id uuid := coalesce((input -> 'cursor' ->> 'id')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    v_ids uuid[];
    v_rows jsonb;
    v_summary jsonb;
    v_next jsonb;
BEGIN
    IF v_all THEN
        PERFORM 1
        FROM public.user_roles AS held
        JOIN public.roles AS role ON role.id = held.role_id
        WHERE held.user_id = v_user_id
          AND role.name = 'admin';

        IF NOT FOUND THEN
            PERFORM app.refuse(403, 'not_an_operator', 'Only administrators see all toolboxes.');
        END IF;
    END IF;

    PERFORM app.become_service();

    IF v_all THEN
        v_ids := ARRAY(
            SELECT toolbox.id
            FROM public.account_tool_environments AS toolbox
            WHERE (toolbox.created_at, toolbox.id) < (v_before, v_before_id)
            ORDER BY toolbox.created_at DESC, toolbox.id DESC
            LIMIT v_limit + 1
        );
    ELSE
        v_ids := ARRAY(
            SELECT toolbox.id
            FROM public.account_tool_environments AS toolbox
            WHERE toolbox.user_id = v_user_id
              AND (toolbox.created_at, toolbox.id) < (v_before, v_before_id)
            ORDER BY toolbox.created_at DESC, toolbox.id DESC
            LIMIT v_limit + 1
        );
    END IF;

    SELECT coalesce(
        jsonb_agg(
            jsonb_build_object(
                'id', toolbox.id,
                'user_id', toolbox.user_id,
                'name', toolbox.name,
                'status', toolbox.status,
                'last_heartbeat_at', toolbox.last_heartbeat_at,
                'heartbeat_period_seconds', toolbox.heartbeat_period_seconds,
                'heartbeat_grace_seconds', toolbox.heartbeat_grace_seconds,
                'alert_after', toolbox.alert_after,
                'silent_since', (
                    SELECT flip.at
                    FROM app.toolbox_flips AS flip
                    WHERE toolbox.status = 'unresponsive'
                      AND flip.toolbox_id = toolbox.id
                      AND flip.direction = 'silent'
                    ORDER BY flip.id DESC
                    LIMIT 1
                ),
                'created_at', toolbox.created_at
            )
            ORDER BY toolbox.created_at DESC, toolbox.id DESC
        ),
        '[]'
    )
    INTO v_rows
    FROM public.account_tool_environments AS toolbox
    WHERE toolbox.id = ANY (v_ids);

    IF jsonb_array_length(v_rows) > v_limit THEN
        v_rows := v_rows - v_limit;
        v_next := jsonb_build_object('created_at', v_rows -> -1 -> 'created_at', 'id', v_rows -> -1 -> 'id');
    END IF;

    IF v_all AND (input ->> 'summary')::boolean THEN
        SELECT jsonb_build_object(
            'swept_at', sweep.swept_at,
            'toolboxes', (
                SELECT coalesce(jsonb_object_agg(counted.status, counted.number), '{}')
                FROM (
                    SELECT toolbox.status, count(*) AS number
                    FROM public.account_tool_environments AS toolbox
                    GROUP BY toolbox.status
                ) AS counted
            ),
            'jobs_due', (
                SELECT count(*)
                FROM app.jobs AS job
                WHERE job.outcome IS NULL
                  AND job.run_after <= v_now
            ),
            'alerts_undelivered', (
                SELECT count(*)
                FROM app.alerts AS alert
                WHERE alert.delivered_at IS NULL
                  AND alert.given_up IS NULL
            )
        )
        INTO v_summary
        FROM app.sweep_state AS sweep;
    END IF;

    RETURN jsonb_build_object('now', v_now, 'rows', v_rows, 'next', v_next, 'summary', v_summary);
END
$$;

REVOKE ALL ON FUNCTION app.reconcile_tools(uuid, boolean, jsonb, jsonb)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION app.reconcile_tools(uuid, boolean, jsonb, jsonb) TO service_role;

SELECT app.grant_operations();
