-- Toolboxes as their owners handle them: what should be is written here, and what is follows by jobs and heartbeats.
--
-- Guarantees: only the owner's, whatever an administrator may read; somebody else's id reads as not found. No row that leaves has a
-- secret in it. A change that names a revision is made only to that revision. Creating is limited per user under a lock, so that
-- concurrent requests cannot pass the limit together. Whoever asks for a machine, or for its end, has asked for the job that does it in
-- the same transaction. Changes are limited in their rate, but for an end.

-- A toolbox as clients see it. As the caller: row level security decides, and server-only columns are not in it.
CREATE OR REPLACE VIEW app.toolbox_rows
WITH (security_invoker = true)
AS
SELECT
    toolbox.id,
    toolbox.user_id,
    toolbox.created_at,
    jsonb_build_object(
        'id', toolbox.id,
        'user_id', toolbox.user_id,
        'name', toolbox.name,
        'description', toolbox.description,
        'status', toolbox.status,
        'desired_state', toolbox.desired_state,
        'region_slug', toolbox.region_slug,
        'size_slug', toolbox.size_slug,
        'image_slug', toolbox.image_slug,
        'do_droplet_id', toolbox.do_droplet_id,
        'do_droplet_name', toolbox.do_droplet_name,
        'public_ip_address', host(toolbox.public_ip_address),
        'last_heartbeat_at', toolbox.last_heartbeat_at,
        'heartbeat_period_seconds', toolbox.heartbeat_period_seconds,
        'heartbeat_grace_seconds', toolbox.heartbeat_grace_seconds,
        'dtma_last_known_version', toolbox.dtma_last_known_version,
        'dtma_health_details_json', toolbox.dtma_health_details_json,
        'provisioning_error_message', toolbox.provisioning_error_message,
        'generation', toolbox.generation,
        'reported_generation', toolbox.reported_generation,
        'revision', toolbox.revision,
        'created_at', toolbox.created_at,
        'updated_at', toolbox.updated_at
    ) AS document
FROM public.account_tool_environments AS toolbox;

REVOKE ALL ON app.toolbox_rows FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON app.toolbox_rows TO authenticated, service_role;

-- The caller's toolbox, or a refusal.
CREATE OR REPLACE FUNCTION app.require_own_toolbox(p_toolbox_id uuid)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_document jsonb;
BEGIN
    SELECT shown.document
    INTO v_document
    FROM app.toolbox_rows AS shown
    WHERE shown.id = p_toolbox_id
      AND shown.user_id = (SELECT auth.uid());

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'toolbox_not_found', 'Toolbox not found or access denied');
    END IF;

    RETURN v_document;
END
$$;

-- Input: {"id", "name", "description", "region_slug", "size_slug", "image_slug", "max_per_user", "per_minute", "burst",
-- "idempotency_key" | null, "request_hash"}. Output: {"toolbox", "replayed"}.
CREATE OR REPLACE FUNCTION api.create_toolbox(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_id uuid := (input ->> 'id')::uuid;
    v_claim record;
    v_document jsonb;
BEGIN
    PERFORM app.become_service();

    IF input ->> 'idempotency_key' IS NOT NULL THEN
        SELECT claim.response, claim.resource_id
        INTO v_claim
        FROM app.claim_idempotency_key(
            v_user_id, 'create_toolbox', input ->> 'idempotency_key', input ->> 'request_hash', v_id, gen_random_uuid(), 30
        ) AS claim;

        IF v_claim.response IS NOT NULL THEN
            RETURN jsonb_build_object('toolbox', v_claim.response, 'replayed', true);
        END IF;
        v_id := v_claim.resource_id;
    END IF;

    PERFORM app.require_rate_limit(
        'user', 'create_toolbox:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );
    PERFORM pg_advisory_xact_lock(hashtextextended('create_toolbox:' || v_user_id, 0));

    IF (
        SELECT count(*)
        FROM public.account_tool_environments AS toolbox
        WHERE toolbox.user_id = v_user_id
    ) >= (input ->> 'max_per_user')::int
    THEN
        PERFORM app.refuse(
            409,
            'too_many_toolboxes',
            format('You have %s toolboxes, which is the limit. Delete one first.', input ->> 'max_per_user')
        );
    END IF;

    INSERT INTO public.account_tool_environments (
        id, user_id, name, description, status, region_slug, size_slug, image_slug, provision_requested_at
    )
    VALUES (
        v_id,
        v_user_id,
        input ->> 'name',
        input ->> 'description',
        'pending_provision',
        input ->> 'region_slug',
        input ->> 'size_slug',
        input ->> 'image_slug',
        clock_timestamp()
    );
    PERFORM app.request_machine_job(v_id);

    SELECT shown.document
    INTO v_document
    FROM app.toolbox_rows AS shown
    WHERE shown.id = v_id;

    UPDATE app.idempotency_keys
    SET status = 'completed',
        response = v_document
    WHERE user_id = v_user_id
      AND operation = 'create_toolbox'
      AND key = input ->> 'idempotency_key';

    RETURN jsonb_build_object('toolbox', v_document, 'replayed', false);
EXCEPTION
    WHEN foreign_key_violation THEN
        PERFORM app.refuse(401, 'user_not_found', 'Authentication failed');
END
$$;

-- Input: {"limit", "cursor": {"created_at", "id"} | null}. Output: {"rows", "next"}, newest first.
CREATE OR REPLACE FUNCTION api.list_toolboxes(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_limit int := (input ->> 'limit')::int;
    v_before timestamptz := coalesce((input -> 'cursor' ->> 'created_at')::timestamptz, 'infinity');
    v_before_id uuid := coalesce((input -> 'cursor' ->> 'id')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    v_rows jsonb;
    v_last jsonb;
BEGIN
    SELECT coalesce(jsonb_agg(page.document ORDER BY page.created_at DESC, page.id DESC), '[]')
    INTO v_rows
    FROM (
        SELECT shown.id, shown.created_at, shown.document
        FROM app.toolbox_rows AS shown
        WHERE shown.user_id = v_user_id
          AND (shown.created_at, shown.id) < (v_before, v_before_id)
        ORDER BY shown.created_at DESC, shown.id DESC
        LIMIT v_limit + 1
    ) AS page;

    -- One more than asked for tells whether there is more.
    IF jsonb_array_length(v_rows) <= v_limit THEN
        RETURN jsonb_build_object('rows', v_rows, 'next', NULL);
    END IF;

    v_rows := v_rows - v_limit;
    v_last := v_rows -> -1;
    RETURN jsonb_build_object(
        'rows', v_rows,
        'next', jsonb_build_object('created_at', v_last -> 'created_at', 'id', v_last -> 'id')
    );
END
$$;

-- Input: {"toolbox_id"}. Output: the toolbox.
CREATE OR REPLACE FUNCTION api.get_toolbox(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become_user(caller);

    RETURN app.require_own_toolbox((input ->> 'toolbox_id')::uuid);
END
$$;

-- Input: {"toolbox_id", "if_match", "set": {"name"?, "description"?}, "per_minute", "burst"}. Output: the toolbox.
CREATE OR REPLACE FUNCTION api.update_toolbox(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_toolbox_id uuid := (input ->> 'toolbox_id')::uuid;
    v_set jsonb := input -> 'set';
BEGIN
    PERFORM app.require_own_toolbox(v_toolbox_id);
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_toolbox:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );
    PERFORM app.become(caller);

    UPDATE public.account_tool_environments AS toolbox
    SET name = CASE WHEN v_set ? 'name' THEN v_set ->> 'name' ELSE toolbox.name END,
        description = CASE WHEN v_set ? 'description' THEN v_set ->> 'description' ELSE toolbox.description END
    WHERE toolbox.id = v_toolbox_id
      AND toolbox.user_id = v_user_id
      AND (input ->> 'if_match' IS NULL OR toolbox.revision = (input ->> 'if_match')::bigint);

    IF NOT FOUND THEN
        PERFORM app.refuse_stale_or_absent(true, 'toolbox_not_found', 'Toolbox not found or access denied');
    END IF;

    RETURN app.require_own_toolbox(v_toolbox_id);
END
$$;

-- What a command does from which status is the domain's to say: `transitions` maps each status from which it is possible to the one
-- that it leads to. A machine made anew counts as one made.
--
-- Input: {"toolbox_id", "if_match", "command": "pause" | "resume" | "redeploy" | "delete", "transitions": {status: status},
-- "per_minute", "burst"}.
-- Output: the toolbox.
CREATE OR REPLACE FUNCTION api.command_toolbox(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_toolbox_id uuid := (input ->> 'toolbox_id')::uuid;
    v_command text := input ->> 'command';
    v_now timestamptz := clock_timestamp();
    v_toolbox public.account_tool_environments;
BEGIN
    PERFORM app.require_own_toolbox(v_toolbox_id);
    PERFORM app.become_service();

    IF v_command <> 'delete' THEN
        PERFORM app.require_rate_limit(
            'user',
            CASE v_command WHEN 'redeploy' THEN 'create_toolbox:' ELSE 'change_toolbox:' END || v_user_id,
            (input ->> 'per_minute')::int,
            (input ->> 'burst')::int
        );
    END IF;

    SELECT toolbox.*
    INTO v_toolbox
    FROM public.account_tool_environments AS toolbox
    WHERE toolbox.id = v_toolbox_id
      AND toolbox.user_id = v_user_id
    FOR UPDATE;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'toolbox_not_found', 'Toolbox not found or access denied');
    ELSIF v_toolbox.revision <> (input ->> 'if_match')::bigint THEN
        PERFORM app.refuse_stale_or_absent(true, 'toolbox_not_found', 'Toolbox not found or access denied');
    ELSIF input -> 'transitions' ->> v_toolbox.status IS NULL THEN
        PERFORM app.refuse(
            409,
            'toolbox_state_conflict',
            format('A toolbox that is %s cannot be told to %s.', v_toolbox.status, v_command)
        );
    END IF;

    UPDATE public.account_tool_environments AS toolbox
    SET status = input -> 'transitions' ->> v_toolbox.status,
        desired_state = CASE v_command
            WHEN 'pause' THEN 'paused'
            WHEN 'delete' THEN 'deleted'
            ELSE 'running'
        END,
        generation = toolbox.generation + 1,
        -- One that is resumed is given the time to speak that a new one has.
        alert_after = CASE
            WHEN v_command = 'resume' THEN v_now + make_interval(
                secs => toolbox.heartbeat_period_seconds + toolbox.heartbeat_grace_seconds
            )
        END,
        remind_after = NULL
    WHERE toolbox.id = v_toolbox_id;

    IF v_command = 'redeploy' THEN
        -- The machine that was is nobody's from now on: its token proves nothing, and the job destroys it before it makes another.
        UPDATE public.account_tool_environments AS toolbox
        SET token_hash = NULL,
            bootstrap_token_hash = NULL,
            bootstrap_claim_hash = NULL,
            bootstrap_expires_at = NULL,
            machine_attempt_id = NULL,
            do_droplet_id = NULL,
            do_droplet_name = NULL,
            public_ip_address = NULL,
            last_heartbeat_at = NULL,
            reported_at = NULL,
            reported_generation = NULL,
            provisioning_error_message = NULL,
            provision_requested_at = v_now,
            -- What was read of the machine that was is not what there is.
            revision = toolbox.revision + 1
        WHERE toolbox.id = v_toolbox_id;

        DELETE FROM public.account_tool_instances AS instance
        WHERE instance.account_tool_environment_id = v_toolbox_id
          AND instance.desired_status = 'removed';

        UPDATE public.account_tool_instances AS instance
        SET status_on_toolbox = CASE instance.desired_status WHEN 'running' THEN 'pending_deploy' ELSE 'stopped' END,
            reported_state = NULL,
            reported_generation = NULL,
            instance_error_message = NULL
        WHERE instance.account_tool_environment_id = v_toolbox_id;
    END IF;

    IF v_command IN ('redeploy', 'delete') THEN
        PERFORM app.request_machine_job(v_toolbox_id);
    END IF;

    RETURN app.require_own_toolbox(v_toolbox_id);
END
$$;

-- Has a machine that is being made or unmade looked at again at once. Input: {"toolbox_id", "per_minute", "burst"}. Output: the toolbox.
CREATE OR REPLACE FUNCTION api.refresh_toolbox(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_document jsonb := app.require_own_toolbox((input ->> 'toolbox_id')::uuid);
BEGIN
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'refresh_toolbox:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );

    UPDATE app.jobs AS job
    SET run_after = least(job.run_after, clock_timestamp())
    WHERE job.kind = 'toolbox_machine'
      AND job.key = input ->> 'toolbox_id'
      AND job.outcome IS NULL;

    RETURN v_document;
END
$$;

-- The job of a toolbox's machine: never given up, because what it has not destroyed costs money.
CREATE OR REPLACE FUNCTION app.request_machine_job(p_toolbox_id uuid)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.request_job('toolbox_machine', p_toolbox_id::text, 1000000);
END
$$;


-- What the provider offers, as it was last fetched.

-- Input: {"name", "fresh_seconds", "retry_seconds"}. Output: {"document" | null, "fetch"}: the one who is told to fetch it does.
CREATE OR REPLACE FUNCTION api.read_provider_options(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_kept app.provider_options;
    v_fetch boolean := false;
BEGIN
    PERFORM app.become_user(caller);
    PERFORM app.become_service();

    INSERT INTO app.provider_options (name, attempted_at)
    VALUES (input ->> 'name', '-infinity')
    ON CONFLICT (name) DO NOTHING;

    SELECT kept.name, kept.document, kept.fetched_at, kept.attempted_at
    INTO v_kept
    FROM app.provider_options AS kept
    WHERE kept.name = input ->> 'name';

    IF v_kept.fetched_at IS NULL
        OR v_kept.fetched_at <= v_now - make_interval(secs => (input ->> 'fresh_seconds')::int)
    THEN
        UPDATE app.provider_options AS kept
        SET attempted_at = v_now
        WHERE kept.name = v_kept.name
          AND kept.attempted_at <= v_now - make_interval(secs => (input ->> 'retry_seconds')::int);

        v_fetch := FOUND;
    END IF;

    -- Who has nothing to show may try at the same time as another, but all together not so often that the provider's own limit is
    -- used up by it: machines are made under the same one.
    IF v_kept.document IS NULL AND NOT v_fetch THEN
        v_fetch := (app.take_rate_limit('provider_options:' || v_kept.name, 12, 6) ->> 'allowed')::boolean;
    END IF;

    RETURN jsonb_build_object('document', v_kept.document, 'fetch', v_fetch);
END
$$;

-- Input: {"name", "document"}.
CREATE OR REPLACE FUNCTION api.store_provider_options(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);

    UPDATE app.provider_options
    SET document = input -> 'document',
        fetched_at = clock_timestamp()
    WHERE name = input ->> 'name';

    RETURN '{}'::jsonb;
END
$$;

REVOKE ALL ON FUNCTION
    app.require_own_toolbox(uuid),
    app.request_machine_job(uuid)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION app.require_own_toolbox(uuid) TO authenticated, service_role;
GRANT EXECUTE ON FUNCTION app.request_machine_job(uuid) TO service_role;

SELECT app.grant_operations();
