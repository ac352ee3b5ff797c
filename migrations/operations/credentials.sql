-- Credentials for the toolbox that runs a tool, at the moment it runs; and sealing them anew when the key changes.
--
-- Guarantees: whose secrets are released follows from the toolbox's token alone; only for a tool that should run on this toolbox and stands,
-- active, in the toolbelt of the agent named, for a capability of the tool that is allowed if one is named; and only those that the tool
-- asks for. Each release is in the audit log, and so is what of it did not open, and each denial of a tool that is there. Sealing anew
-- replaces exactly what was read.

-- A refusal that keeps what the operation did before it, such as taking from a limit: it is returned, and not raised.
CREATE OR REPLACE FUNCTION app.refused(p_status int, p_code text, p_message text, p_extra jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE sql
IMMUTABLE
SET search_path = ''
AS $$
    SELECT jsonb_build_object(
        'refused',
        jsonb_build_object('status', p_status, 'code', p_code, 'message', p_message, 'extra', p_extra)
    )
$$;

-- The entries of a tool's `required_secrets_schema`, in their order.
CREATE OR REPLACE FUNCTION app.required_secrets(p_tool_name text, p_schema jsonb)
RETURNS TABLE (ordinal bigint, env_var_name text, credential_type text, is_optional boolean)
LANGUAGE plpgsql
IMMUTABLE
SET search_path = ''
AS $$
BEGIN
    RETURN QUERY
    SELECT
        secret.ordinal,
        secret.entry ->> 'env_var_name',
        secret.entry ->> 'type',
        coalesce(secret.entry -> 'optional' = 'true', false) OR coalesce(secret.entry -> 'required' = 'false', false)
    FROM jsonb_array_elements(p_schema) WITH ORDINALITY AS secret (entry, ordinal);

    PERFORM 1
    FROM jsonb_array_elements(p_schema) AS secret (entry)
    WHERE (secret.entry ->> 'env_var_name' ~ '^[A-Za-z_][A-Za-z0-9_]{0,199}$') IS NOT TRUE;

    IF FOUND THEN
        RAISE EXCEPTION 'required_secrets_schema of % has an entry whose env_var_name is no name', p_tool_name;
    END IF;
END
$$;

-- Input: {"token_hash" (hexadecimal), "agent_id", "instance_id", "capability" | null, "per_minute", "burst"}.
-- Output: {"toolbox_id", "user_id", "agent_id", "item_id", "secrets": [{"name", "is_optional", "credential": {"id", "sealed"} | null}]}, or {"refused"}:
-- whoever has a token pays for the answer with its limit, whatever the answer is.
CREATE OR REPLACE FUNCTION api.release_credentials(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_agent_id uuid := (input ->> 'agent_id')::uuid;
    v_toolbox record;
    v_item record;
    v_permission record;
    v_denied jsonb;
    v_secrets jsonb;
    v_released jsonb;
    v_missing text;
BEGIN
    PERFORM app.become(caller);

    SELECT toolbox.id, toolbox.user_id, toolbox.status, toolbox.desired_state
    INTO v_toolbox
    FROM public.account_tool_environments AS toolbox
    WHERE toolbox.token_hash = decode(input ->> 'token_hash', 'hex');

    IF NOT FOUND THEN
        PERFORM app.refuse(401, 'invalid_token', 'Unauthorized: Invalid DTMA token');
    END IF;

    PERFORM app.require_rate_limit(
        'toolbox',
        'credentials:' || v_toolbox.id,
        (input ->> 'per_minute')::int,
        (input ->> 'burst')::int
    );

    SELECT item.id, tool.tool_name, tool.required_secrets_schema, tool.required_capabilities_schema
    INTO v_item
    FROM public.account_tool_instances AS instance
    JOIN public.agent_toolbelt_items AS item
        ON item.account_tool_instance_id = instance.id
       AND item.agent_id = v_agent_id
       AND item.user_id = v_toolbox.user_id
       AND item.is_active_for_agent
    JOIN public.tool_catalog AS tool ON tool.id = instance.tool_catalog_id
    WHERE instance.id = (input ->> 'instance_id')::uuid
      AND instance.account_tool_environment_id = v_toolbox.id
      AND instance.desired_status = 'running'
      AND v_toolbox.desired_state = 'running'
      AND v_toolbox.status IN ('provisioning', 'awaiting_heartbeat', 'active', 'unresponsive');

    IF NOT FOUND THEN
        RETURN app.refused(404, 'tool_not_available', 'Tool not found in agent toolbelt, or not active.');
    END IF;

    IF input ->> 'capability' IS NOT NULL THEN
        -- A capability that the catalog took from the tool is denied, whatever was allowed before.
        SELECT kept.is_allowed, kept.requires_approval
        INTO v_permission
        FROM public.agent_tool_capability_permissions AS kept
        WHERE kept.agent_toolbelt_item_id = v_item.id
          AND kept.capability_name = input ->> 'capability'
          AND v_item.required_capabilities_schema
              @> jsonb_build_array(jsonb_build_object('name', input -> 'capability'));

        IF v_permission.is_allowed IS NOT TRUE THEN
            v_denied := app.refused(403, 'capability_denied', 'The agent may not use this capability of the tool.');
        ELSIF v_permission.requires_approval THEN
            v_denied := app.refused(403, 'capability_requires_approval', 'This capability of the tool needs an approval.');
        END IF;
    END IF;

    IF v_denied IS NOT NULL THEN
        PERFORM app.log_release(
            'credentials_denied',
            v_toolbox.id,
            v_toolbox.user_id,
            v_agent_id,
            v_item.id,
            jsonb_build_object('capability', input -> 'capability', 'code', v_denied -> 'refused' -> 'code')
        );
        RETURN v_denied;
    END IF;

    SELECT
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'name', needed.env_var_name,
                    'is_optional', needed.is_optional,
                    'credential',
                    CASE
                        WHEN found.id IS NOT NULL THEN jsonb_build_object('id', found.id, 'sealed', found.sealed)
                    END
                )
                ORDER BY needed.ordinal
            ),
            '[]'
        ),
        coalesce(
            jsonb_agg(
                DISTINCT jsonb_build_object('id', found.id, 'type', found.credential_type, 'key_id', found.key_id)
            ) FILTER (WHERE found.id IS NOT NULL),
            '[]'
        ),
        (
            array_agg(needed.env_var_name ORDER BY needed.ordinal)
            FILTER (WHERE found.id IS NULL AND NOT needed.is_optional)
        )[1]
    INTO v_secrets, v_released, v_missing
    FROM app.required_secrets(v_item.tool_name, v_item.required_secrets_schema) AS needed
    LEFT JOIN LATERAL (
        SELECT stored.id, stored.credential_type, stored.key_id, stored.encrypted_credentials AS sealed
        FROM public.agent_tool_credentials AS stored
        WHERE stored.agent_toolbelt_item_id = v_item.id
          AND stored.status = 'active'
          AND stored.credential_type IN (needed.credential_type, needed.env_var_name)
        -- Of the two that may fit, the one of the type that the tool names.
        ORDER BY (stored.credential_type = needed.credential_type) IS TRUE DESC
        LIMIT 1
    ) AS found ON true;

    IF v_missing IS NOT NULL THEN
        PERFORM app.log_release(
            'credentials_denied',
            v_toolbox.id,
            v_toolbox.user_id,
            v_agent_id,
            v_item.id,
            jsonb_build_object('capability', input -> 'capability', 'code', 'credential_missing', 'field', v_missing)
        );
        RETURN app.refused(
            409,
            'credential_missing',
            format('%s is missing: the agent has no active credential for it.', v_missing),
            jsonb_build_object('field', v_missing)
        );
    END IF;

    PERFORM app.log_release(
        'credentials_released',
        v_toolbox.id,
        v_toolbox.user_id,
        v_agent_id,
        v_item.id,
        jsonb_build_object('capability', input -> 'capability', 'credentials', v_released)
    );

    RETURN jsonb_build_object(
        'toolbox_id', v_toolbox.id,
        'user_id', v_toolbox.user_id,
        'agent_id', v_agent_id,
        'item_id', v_item.id,
        'secrets', v_secrets
    );
END
$$;

-- What was released, and not handed out, because it does not open. Input: {"toolbox_id", "user_id", "agent_id", "item_id", "capability",
-- "credentials": [id]}.
CREATE OR REPLACE FUNCTION api.log_credentials_not_opened(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);

    PERFORM app.log_release(
        'credentials_not_opened',
        (input ->> 'toolbox_id')::uuid,
        (input ->> 'user_id')::uuid,
        (input ->> 'agent_id')::uuid,
        (input ->> 'item_id')::uuid,
        jsonb_build_object(
            'capability', input -> 'capability',
            'credentials',
            (
                SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('id', closed.id)), '[]')
                FROM jsonb_array_elements(input -> 'credentials') AS closed (id)
            )
        )
    );
    RETURN '{}'::jsonb;
END
$$;

CREATE OR REPLACE FUNCTION app.log_release(
    p_action text,
    p_toolbox_id uuid,
    p_user_id uuid,
    p_agent_id uuid,
    p_item_id uuid,
    p_changes jsonb
)
RETURNS void
LANGUAGE sql
SET search_path = ''
AS $$
    INSERT INTO app.audit_log (
        actor_kind, actor_name, action, table_name, row_id, owner_user_id, agent_id, changes
    )
    VALUES (
        'service', 'toolbox:' || p_toolbox_id, p_action, 'agent_toolbelt_items', p_item_id, p_user_id, p_agent_id,
        p_changes
    )
$$;


-- Sealing anew, by `cargo xtask reseal`

-- Input: {"key_id" (the newest), "after": id | null, "limit"}. Output: {"rows": [{"id", "user_id", "agent_id", "item_id", "sealed"}]} of
-- those that are sealed under another key, in the order of their ids.
CREATE OR REPLACE FUNCTION api.list_credentials_to_reseal(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_rows jsonb;
BEGIN
    PERFORM app.become(caller);

    SELECT coalesce(
        jsonb_agg(
            jsonb_build_object(
                'id', batch.id,
                'user_id', batch.user_id,
                'agent_id', batch.agent_id,
                'item_id', batch.item_id,
                'sealed', batch.sealed
            )
            ORDER BY batch.id
        ),
        '[]'
    )
    INTO v_rows
    FROM (
        SELECT
            stored.id,
            stored.user_id,
            item.agent_id,
            stored.agent_toolbelt_item_id AS item_id,
            stored.encrypted_credentials AS sealed
        FROM public.agent_tool_credentials AS stored
        JOIN public.agent_toolbelt_items AS item ON item.id = stored.agent_toolbelt_item_id
        WHERE stored.key_id IS DISTINCT FROM input ->> 'key_id'
          AND (input ->> 'after' IS NULL OR stored.id > (input ->> 'after')::uuid)
        ORDER BY stored.id
        LIMIT (input ->> 'limit')::int
    ) AS batch;

    RETURN jsonb_build_object('rows', v_rows);
END
$$;

-- Input: {"key_id", "rows": [{"id", "from", "to"}]}. Output: {"resealed"}: how many still held what they were read with, and hold the
-- other now. The rest were changed or deleted meanwhile.
CREATE OR REPLACE FUNCTION api.reseal_credentials(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_resealed bigint;
BEGIN
    PERFORM app.become(caller);

    UPDATE public.agent_tool_credentials AS stored
    SET encrypted_credentials = change.entry ->> 'to',
        key_id = input ->> 'key_id'
    FROM jsonb_array_elements(input -> 'rows') AS change (entry)
    WHERE stored.id = (change.entry ->> 'id')::uuid
      AND stored.encrypted_credentials = change.entry ->> 'from';

    GET DIAGNOSTICS v_resealed = ROW_COUNT;
    RETURN jsonb_build_object('resealed', v_resealed);
END
$$;

REVOKE ALL ON FUNCTION
    app.refused(int, text, text, jsonb),
    app.required_secrets(text, jsonb),
    app.log_release(text, uuid, uuid, uuid, uuid, jsonb)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.refused(int, text, text, jsonb),
    app.required_secrets(text, jsonb),
    app.log_release(text, uuid, uuid, uuid, uuid, jsonb)
TO service_role;

SELECT app.grant_operations();
