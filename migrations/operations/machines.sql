-- Machines: how a toolbox comes to have one, and to have none.
--
-- Guarantees: every step is written under the lease of the toolbox's one job, so that two sweeps do not make two machines and making
-- does not run beside destroying. An attempt is written before the provider is asked, with the hash of its bootstrap token: what the
-- provider made without our hearing of it is found by its tag, and what no attempt of ours made is never touched. A heartbeat that came
-- first is not overwritten.

-- Input: {"toolbox_id"}. Output: {"now", "owner_id" | null, "toolbox" | null, "attempts", "was_attempted"}: what is known of a toolbox's machine. The
-- toolbox is null when it is gone; its attempts, those that may still have a machine, are not.
CREATE OR REPLACE FUNCTION api.read_machine(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_toolbox_id uuid := (input ->> 'toolbox_id')::uuid;
    v_toolbox public.account_tool_environments;
    v_attempts jsonb;
BEGIN
    PERFORM app.become(caller);

    SELECT toolbox.*
    INTO v_toolbox
    FROM public.account_tool_environments AS toolbox
    WHERE toolbox.id = v_toolbox_id;

    SELECT coalesce(
        jsonb_agg(
            jsonb_build_object(
                'id', attempt.id,
                'user_id', attempt.user_id,
                'started_at', attempt.started_at,
                'droplet_id', attempt.droplet_id,
                'boot_deadline', attempt.boot_deadline
            )
            ORDER BY attempt.started_at
        ),
        '[]'
    )
    INTO v_attempts
    FROM app.machine_attempts AS attempt
    WHERE attempt.toolbox_id = v_toolbox_id
      AND attempt.ended_at IS NULL;

    RETURN jsonb_build_object(
        'now', clock_timestamp(),
        'owner_id', coalesce(v_toolbox.user_id, (v_attempts -> 0 ->> 'user_id')::uuid),
        'toolbox', CASE
            WHEN v_toolbox.id IS NOT NULL THEN jsonb_build_object(
                'name', v_toolbox.name,
                'status', v_toolbox.status,
                'desired_state', v_toolbox.desired_state,
                'region_slug', v_toolbox.region_slug,
                'size_slug', v_toolbox.size_slug,
                'image_slug', v_toolbox.image_slug,
                'attempt_id', v_toolbox.machine_attempt_id,
                'has_address', v_toolbox.public_ip_address IS NOT NULL,
                'provision_requested_at', v_toolbox.provision_requested_at,
                'attempts_made', (
                    SELECT count(*)
                    FROM app.machine_attempts AS attempt
                    WHERE attempt.toolbox_id = v_toolbox_id
                      AND attempt.started_at >= v_toolbox.provision_requested_at
                )
            )
        END,
        'attempts', v_attempts,
        'was_attempted', EXISTS (
            SELECT 1
            FROM app.machine_attempts AS attempt
            WHERE attempt.toolbox_id = v_toolbox_id
        )
    );
END
$$;

-- Writes one step of a machine's way, and settles the job or keeps its lease in the same transaction.
--
-- Input: {"toolbox_id", "job": {"job_id", "lease_id", "requested"} with what app.settle_job takes, or with "keep_seconds"; and
-- "provider_pause_seconds", for which no machine's job is claimed,
-- "change": {"kind", …} | null}. Kinds of change:
--   begin_attempt  {"attempt_id", "bootstrap_token_hash", "boot_seconds"}: a machine is about to be asked for
--   withdraw_attempt {"attempt_id"}: the provider has made no machine for it, for certain
--   adopt          {"attempt_id", "droplet_id", "droplet_name"}: the provider has made it
--   address        {"attempt_id", "address"}: it runs, and is to speak
--   expire         {"attempt_id"}: its machine is to be destroyed without having spoken, and cannot speak any more from now on
--   fail           {"message", "provision_requested_at"}: that request will have none; what was made is destroyed already
--   note           {"message" | null}: what hinders for the moment, for its owner to see
--   gone           {}: nothing of it is left
-- Output: {"held", "applied"}: whether the lease still was, and whether the toolbox was as the change needs it. Nothing is written of a
-- change that was not applied.
CREATE OR REPLACE FUNCTION api.advance_machine(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_toolbox_id uuid := (input ->> 'toolbox_id')::uuid;
    v_job jsonb := input -> 'job';
    v_change jsonb := input -> 'change';
    v_now timestamptz := clock_timestamp();
    v_applied boolean := true;
BEGIN
    PERFORM app.become(caller);

    -- The toolbox before its job, in the order in which an owner's command locks them.
    PERFORM 1
    FROM public.account_tool_environments AS toolbox
    WHERE toolbox.id = v_toolbox_id
    FOR UPDATE;

    PERFORM 1
    FROM app.jobs AS job
    WHERE job.id = (v_job ->> 'job_id')::uuid
      AND job.lease_id = (v_job ->> 'lease_id')::uuid
    FOR UPDATE;

    IF NOT FOUND THEN
        RETURN jsonb_build_object('held', false, 'applied', false);
    END IF;

    CASE v_change ->> 'kind'
        WHEN 'begin_attempt' THEN
            UPDATE public.account_tool_environments AS toolbox
            SET status = 'provisioning',
                machine_attempt_id = (v_change ->> 'attempt_id')::uuid,
                do_droplet_id = NULL,
                do_droplet_name = NULL,
                public_ip_address = NULL,
                -- A machine of an earlier attempt may have registered, and is nobody from now on.
                token_hash = NULL,
                bootstrap_token_hash = decode(v_change ->> 'bootstrap_token_hash', 'hex'),
                bootstrap_claim_hash = NULL,
                bootstrap_expires_at = v_now + make_interval(secs => (v_change ->> 'boot_seconds')::int),
                provisioning_error_message = NULL
            WHERE toolbox.id = v_toolbox_id
              AND toolbox.desired_state = 'running'
              AND toolbox.status IN ('pending_provision', 'provisioning')
              AND toolbox.last_heartbeat_at IS NULL;
            v_applied := FOUND;

            IF v_applied THEN
                UPDATE app.machine_attempts AS attempt
                SET ended_at = v_now
                WHERE attempt.toolbox_id = v_toolbox_id
                  AND attempt.ended_at IS NULL;

                INSERT INTO app.machine_attempts (id, toolbox_id, user_id, started_at, boot_deadline)
                SELECT
                    (v_change ->> 'attempt_id')::uuid,
                    toolbox.id,
                    toolbox.user_id,
                    v_now,
                    toolbox.bootstrap_expires_at
                FROM public.account_tool_environments AS toolbox
                WHERE toolbox.id = v_toolbox_id;
            END IF;
        WHEN 'withdraw_attempt' THEN
            DELETE FROM app.machine_attempts AS attempt
            WHERE attempt.id = (v_change ->> 'attempt_id')::uuid
              AND attempt.droplet_id IS NULL;

            UPDATE public.account_tool_environments AS toolbox
            SET status = CASE toolbox.status WHEN 'provisioning' THEN 'pending_provision' ELSE toolbox.status END,
                machine_attempt_id = NULL,
                bootstrap_token_hash = NULL,
                bootstrap_expires_at = NULL
            WHERE toolbox.id = v_toolbox_id
              AND toolbox.machine_attempt_id = (v_change ->> 'attempt_id')::uuid;
        WHEN 'adopt' THEN
            UPDATE app.machine_attempts AS attempt
            SET droplet_id = (v_change ->> 'droplet_id')::bigint
            WHERE attempt.id = (v_change ->> 'attempt_id')::uuid;

            UPDATE public.account_tool_environments AS toolbox
            SET do_droplet_id = (v_change ->> 'droplet_id')::bigint,
                do_droplet_name = v_change ->> 'droplet_name',
                provisioning_error_message = NULL
            WHERE toolbox.id = v_toolbox_id
              AND toolbox.machine_attempt_id = (v_change ->> 'attempt_id')::uuid;
            v_applied := FOUND;
        WHEN 'address' THEN
            UPDATE public.account_tool_environments AS toolbox
            SET public_ip_address = (v_change ->> 'address')::inet,
                status = CASE toolbox.status WHEN 'provisioning' THEN 'awaiting_heartbeat' ELSE toolbox.status END,
                provisioning_error_message = NULL
            WHERE toolbox.id = v_toolbox_id
              AND toolbox.machine_attempt_id = (v_change ->> 'attempt_id')::uuid;
            v_applied := FOUND;
        WHEN 'expire' THEN
            UPDATE public.account_tool_environments AS toolbox
            SET token_hash = NULL,
                bootstrap_token_hash = NULL,
                bootstrap_claim_hash = NULL
            WHERE toolbox.id = v_toolbox_id
              AND toolbox.machine_attempt_id = (v_change ->> 'attempt_id')::uuid
              AND toolbox.desired_state <> 'deleted'
              AND toolbox.last_heartbeat_at IS NULL;
            v_applied := FOUND;
        WHEN 'fail' THEN
            UPDATE public.account_tool_environments AS toolbox
            SET status = 'error_provisioning',
                token_hash = NULL,
                bootstrap_token_hash = NULL,
                bootstrap_claim_hash = NULL,
                bootstrap_expires_at = NULL,
                machine_attempt_id = NULL,
                do_droplet_id = NULL,
                do_droplet_name = NULL,
                public_ip_address = NULL,
                alert_after = NULL,
                provisioning_error_message = left(v_change ->> 'message', 1000)
            WHERE toolbox.id = v_toolbox_id
              AND toolbox.desired_state = 'running'
              AND toolbox.provision_requested_at = (v_change ->> 'provision_requested_at')::timestamptz
              AND toolbox.status IN ('pending_provision', 'provisioning', 'awaiting_heartbeat')
              AND toolbox.last_heartbeat_at IS NULL;
            v_applied := FOUND;

            IF v_applied THEN
                UPDATE app.machine_attempts AS attempt
                SET ended_at = v_now
                WHERE attempt.toolbox_id = v_toolbox_id
                  AND attempt.ended_at IS NULL;
            END IF;
        WHEN 'note' THEN
            UPDATE public.account_tool_environments AS toolbox
            SET provisioning_error_message = left(v_change ->> 'message', 1000),
                status = CASE
                    WHEN toolbox.status = 'deprovisioning' AND v_change ->> 'message' IS NOT NULL
                        THEN 'error_deprovisioning'
                    WHEN toolbox.status = 'error_deprovisioning' AND v_change ->> 'message' IS NULL
                        THEN 'deprovisioning'
                    ELSE toolbox.status
                END
            WHERE toolbox.id = v_toolbox_id
              -- A reason that was final stays, and a toolbox that has its machine has nothing to be told.
              AND toolbox.status IN (
                  'pending_provision', 'provisioning', 'awaiting_heartbeat', 'deprovisioning', 'error_deprovisioning'
              )
              AND (
                  toolbox.provisioning_error_message IS DISTINCT FROM left(v_change ->> 'message', 1000)
                  OR (toolbox.status = 'deprovisioning' AND v_change ->> 'message' IS NOT NULL)
              );
        WHEN 'gone' THEN
            -- Before the row goes, or its going would ask for this job again.
            UPDATE app.machine_attempts AS attempt
            SET ended_at = v_now
            WHERE attempt.toolbox_id = v_toolbox_id
              AND attempt.ended_at IS NULL;

            DELETE FROM public.account_tool_environments AS toolbox
            WHERE toolbox.id = v_toolbox_id
              AND toolbox.desired_state = 'deleted';
        ELSE
            v_applied := v_change IS NULL OR v_change = 'null';
    END CASE;

    IF v_job ? 'provider_pause_seconds' THEN
        UPDATE app.sweep_state AS sweep
        SET provider_paused_until = greatest(
            sweep.provider_paused_until,
            v_now + make_interval(secs => (v_job ->> 'provider_pause_seconds')::float8)
        );
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

SELECT app.grant_operations();
