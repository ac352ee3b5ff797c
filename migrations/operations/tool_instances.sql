-- Tool instances: what should run on a toolbox.
--
-- Guarantees: everything hangs on a toolbox of the caller; an instance of another toolbox than the path's reads as not found. Each
-- change is one of what should be, and raises the toolbox's generation; what is follows from the machine's reports. Configuration was
-- checked against the catalog's schema by the function, which asks for it first.

-- A tool instance as clients see it. As the caller.
CREATE OR REPLACE VIEW app.tool_instance_rows
WITH (security_invoker = true)
AS
SELECT
    instance.id,
    instance.user_id,
    instance.account_tool_environment_id,
    instance.created_at,
    jsonb_build_object(
        'id', instance.id,
        'account_tool_environment_id', instance.account_tool_environment_id,
        'tool_catalog_id', instance.tool_catalog_id,
        'instance_name_on_toolbox', instance.instance_name_on_toolbox,
        'status_on_toolbox', instance.status_on_toolbox,
        'desired_status', instance.desired_status,
        'base_config_override_json', instance.base_config_override_json,
        'config_values', instance.config_values,
        'port_mapping_json', instance.port_mapping_json,
        'version', instance.version,
        'generation', instance.generation,
        'reported_generation', instance.reported_generation,
        'reported_state', instance.reported_state,
        'last_heartbeat_from_dtma', instance.last_heartbeat_from_dtma,
        'instance_error_message', instance.instance_error_message,
        'revision', instance.revision,
        'created_at', instance.created_at,
        'updated_at', instance.updated_at
    ) AS document
FROM public.account_tool_instances AS instance;

REVOKE ALL ON app.tool_instance_rows FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON app.tool_instance_rows TO authenticated, service_role;

-- The tool instance of the caller's toolbox, or a refusal.
CREATE OR REPLACE FUNCTION app.require_own_tool_instance(p_toolbox_id uuid, p_instance_id uuid)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_document jsonb;
BEGIN
    PERFORM app.require_own_toolbox(p_toolbox_id);

    SELECT shown.document
    INTO v_document
    FROM app.tool_instance_rows AS shown
    WHERE shown.id = p_instance_id
      AND shown.account_tool_environment_id = p_toolbox_id
      AND shown.user_id = (SELECT auth.uid());

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'tool_instance_not_found', 'Tool instance not found.');
    END IF;

    RETURN v_document;
END
$$;

-- The caller's toolbox, locked, for a change of what should run on it. As the service.
CREATE OR REPLACE FUNCTION app.lock_toolbox_for_change(p_toolbox_id uuid)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_desired_state text;
BEGIN
    UPDATE public.account_tool_environments AS toolbox
    SET generation = toolbox.generation + 1
    WHERE toolbox.id = p_toolbox_id
      AND toolbox.user_id = (SELECT auth.uid())
    RETURNING toolbox.desired_state
    INTO v_desired_state;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'toolbox_not_found', 'Toolbox not found or access denied');
    ELSIF v_desired_state = 'deleted' THEN
        PERFORM app.refuse(409, 'toolbox_state_conflict', 'The toolbox is being deleted.');
    END IF;
END
$$;

-- What the function needs to know before it deploys or configures. Input: {"toolbox_id", "catalog_id"} or {"toolbox_id", "instance_id"}.
-- Output: {"config_schema" | null}.
CREATE OR REPLACE FUNCTION api.prepare_tool_instance(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_toolbox_id uuid := (input ->> 'toolbox_id')::uuid;
    v_catalog_id uuid := (input ->> 'catalog_id')::uuid;
    v_schema jsonb;
BEGIN
    IF input ->> 'instance_id' IS NOT NULL THEN
        v_catalog_id := (
            app.require_own_tool_instance(v_toolbox_id, (input ->> 'instance_id')::uuid) ->> 'tool_catalog_id'
        )::uuid;
        -- A tool that left the public catalog is still what the instance runs.
        PERFORM app.become_service();
    ELSE
        PERFORM app.require_own_toolbox(v_toolbox_id);
    END IF;

    SELECT tool.required_config_schema
    INTO v_schema
    FROM public.tool_catalog AS tool
    WHERE tool.id = v_catalog_id;

    IF NOT FOUND THEN
        PERFORM app.refuse(
            404, 'tool_not_in_catalog', 'There is no such tool in the catalog.', '{"field": "toolCatalogId"}'
        );
    END IF;

    RETURN jsonb_build_object('config_schema', v_schema);
END
$$;

-- Input: {"toolbox_id", "catalog_id", "name", "config" | null, "max_per_toolbox", "per_minute", "burst"}. Output: the instance.
CREATE OR REPLACE FUNCTION api.create_tool_instance(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_toolbox_id uuid := (input ->> 'toolbox_id')::uuid;
    v_version text;
    v_id uuid;
BEGIN
    PERFORM app.require_own_toolbox(v_toolbox_id);

    SELECT tool.version
    INTO v_version
    FROM public.tool_catalog AS tool
    WHERE tool.id = (input ->> 'catalog_id')::uuid;

    IF NOT FOUND THEN
        PERFORM app.refuse(
            404, 'tool_not_in_catalog', 'There is no such tool in the catalog.', '{"field": "toolCatalogId"}'
        );
    END IF;

    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_tool:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );
    PERFORM app.lock_toolbox_for_change(v_toolbox_id);

    IF (
        SELECT count(*)
        FROM public.account_tool_instances AS instance
        WHERE instance.account_tool_environment_id = v_toolbox_id
    ) >= (input ->> 'max_per_toolbox')::int
    THEN
        PERFORM app.refuse(
            409,
            'too_many_tools',
            format('The toolbox has %s tools, which is the limit. Remove one first.', input ->> 'max_per_toolbox')
        );
    END IF;

    INSERT INTO public.account_tool_instances (
        user_id, account_tool_environment_id, tool_catalog_id, instance_name_on_toolbox, status_on_toolbox,
        base_config_override_json, version
    )
    VALUES (
        v_user_id,
        v_toolbox_id,
        (input ->> 'catalog_id')::uuid,
        input ->> 'name',
        'pending_deploy',
        nullif(input -> 'config', 'null'),
        v_version
    )
    ON CONFLICT (account_tool_environment_id, instance_name_on_toolbox) DO NOTHING
    RETURNING id
    INTO v_id;

    IF NOT FOUND THEN
        PERFORM app.refuse(
            409,
            'tool_name_taken',
            'A tool of this name is on the toolbox already.',
            '{"field": "instanceNameOnToolbox"}'
        );
    END IF;

    RETURN app.require_own_tool_instance(v_toolbox_id, v_id);
END
$$;

-- Input: {"toolbox_id"}. Output: {"rows"}, newest first; a toolbox has a bounded number of them.
CREATE OR REPLACE FUNCTION api.list_tool_instances(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
BEGIN
    PERFORM app.require_own_toolbox((input ->> 'toolbox_id')::uuid);

    RETURN (
        SELECT jsonb_build_object(
            'rows',
            coalesce(jsonb_agg(shown.document ORDER BY shown.created_at DESC, shown.id DESC), '[]')
        )
        FROM app.tool_instance_rows AS shown
        WHERE shown.account_tool_environment_id = (input ->> 'toolbox_id')::uuid
          AND shown.user_id = v_user_id
    );
END
$$;

-- Input: {"toolbox_id", "instance_id"}. Output: the instance.
CREATE OR REPLACE FUNCTION api.get_tool_instance(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become_user(caller);

    RETURN app.require_own_tool_instance((input ->> 'toolbox_id')::uuid, (input ->> 'instance_id')::uuid);
END
$$;

-- What a command does is the domain's to say: `rule` maps each desired status from which it is possible to what is desired then, which
-- status shows until the machine reports (one for an instance that has a container, one for one that has none), and whether the
-- container is to be made anew.
--
-- Input: {"toolbox_id", "instance_id", "if_match", "command", "config" (with the command "configure"), "per_minute", "burst",
-- "rule": {desired: {"desired", "status", "status_without_container", "new_generation"}}}.
-- Output: the instance; one that never was on a machine is removed at once, and returned as it was.
CREATE OR REPLACE FUNCTION api.command_tool_instance(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_toolbox_id uuid := (input ->> 'toolbox_id')::uuid;
    v_instance_id uuid := (input ->> 'instance_id')::uuid;
    v_instance public.account_tool_instances;
    v_rule jsonb;
    v_has_container boolean;
    v_document jsonb;
BEGIN
    PERFORM app.require_own_tool_instance(v_toolbox_id, v_instance_id);
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_tool:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );
    PERFORM app.lock_toolbox_for_change(v_toolbox_id);

    SELECT instance.*
    INTO v_instance
    FROM public.account_tool_instances AS instance
    WHERE instance.id = v_instance_id
      AND instance.account_tool_environment_id = v_toolbox_id
      AND instance.user_id = v_user_id
    FOR UPDATE;

    v_rule := input -> 'rule' -> v_instance.desired_status;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'tool_instance_not_found', 'Tool instance not found.');
    ELSIF v_instance.revision <> (input ->> 'if_match')::bigint THEN
        PERFORM app.refuse_stale_or_absent(true, 'tool_instance_not_found', 'Tool instance not found.');
    ELSIF v_rule IS NULL THEN
        PERFORM app.refuse(409, 'tool_state_conflict', 'The tool is being removed.');
    END IF;

    v_has_container := coalesce(v_instance.reported_state, 'absent') <> 'absent';

    UPDATE public.account_tool_instances AS instance
    SET desired_status = v_rule ->> 'desired',
        status_on_toolbox = coalesce(
            CASE WHEN v_has_container THEN v_rule ->> 'status' ELSE v_rule ->> 'status_without_container' END,
            instance.status_on_toolbox
        ),
        generation = instance.generation + CASE WHEN (v_rule ->> 'new_generation')::boolean THEN 1 ELSE 0 END,
        base_config_override_json = CASE
            WHEN input ? 'config' THEN nullif(input -> 'config', 'null')
            ELSE instance.base_config_override_json
        END,
        instance_error_message = NULL
    WHERE instance.id = v_instance_id;

    v_document := app.require_own_tool_instance(v_toolbox_id, v_instance_id);

    -- Nobody will ever report that it is gone where no machine is.
    IF v_rule ->> 'desired' = 'removed' THEN
        DELETE FROM public.account_tool_instances AS instance
        USING public.account_tool_environments AS toolbox
        WHERE instance.id = v_instance_id
          AND toolbox.id = instance.account_tool_environment_id
          AND toolbox.last_heartbeat_at IS NULL;
    END IF;

    RETURN v_document;
END
$$;

REVOKE ALL ON FUNCTION
    app.require_own_tool_instance(uuid, uuid),
    app.lock_toolbox_for_change(uuid)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION app.require_own_tool_instance(uuid, uuid) TO authenticated, service_role;
GRANT EXECUTE ON FUNCTION app.lock_toolbox_for_change(uuid) TO service_role;

SELECT app.grant_operations();
