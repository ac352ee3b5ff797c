-- Credentials for the toolbox that runs a tool, at the moment it runs.
--
-- Guarantees: whose secrets are released follows from the toolbox's token alone; only for a tool that runs on this toolbox and stands,
-- active, in the toolbelt of the agent named, for a capability that is allowed if one is named. Each release is in the audit log.

-- Input: {"token_hash" (hexadecimal), "agent_id", "instance_id", "capability" | null, "per_minute", "burst"}.
-- Output: {"user_id", "toolbox_id", "agent_id", "item_id", "tool_name", "schema", "credentials": [{"id", "credential_type", "sealed"}]}.
CREATE OR REPLACE FUNCTION api.release_credentials(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_toolbox record;
    v_item record;
    v_permission record;
    v_credentials jsonb;
BEGIN
    PERFORM app.become(caller);

    SELECT toolbox.id, toolbox.user_id, toolbox.status
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

    SELECT item.id, tool.tool_name, tool.required_secrets_schema
    INTO v_item
    FROM public.account_tool_instances AS instance
    JOIN public.agent_toolbelt_items AS item
        ON item.account_tool_instance_id = instance.id
       AND item.agent_id = (input ->> 'agent_id')::uuid
       AND item.user_id = v_toolbox.user_id
       AND item.is_active_for_agent
    JOIN public.tool_catalog AS tool ON tool.id = instance.tool_catalog_id
    WHERE instance.id = (input ->> 'instance_id')::uuid
      AND instance.account_tool_environment_id = v_toolbox.id
      AND v_toolbox.status IN ('provisioning', 'awaiting_heartbeat', 'active', 'unresponsive');

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'tool_not_available', 'Tool not found in agent toolbelt, or not active.');
    END IF;

    IF input ->> 'capability' IS NOT NULL THEN
        SELECT kept.is_allowed, kept.requires_approval
        INTO v_permission
        FROM public.agent_tool_capability_permissions AS kept
        WHERE kept.agent_toolbelt_item_id = v_item.id
          AND kept.capability_name = input ->> 'capability';

        IF v_permission.is_allowed IS NOT TRUE THEN
            PERFORM app.refuse(403, 'capability_denied', 'The agent may not use this capability of the tool.');
        ELSIF v_permission.requires_approval THEN
            PERFORM app.refuse(403, 'capability_requires_approval', 'This capability of the tool needs an approval.');
        END IF;
    END IF;

    SELECT coalesce(
        jsonb_agg(
            jsonb_build_object(
                'id', stored.id,
                'credential_type', stored.credential_type,
                'sealed', stored.encrypted_credentials
            )
            ORDER BY stored.created_at, stored.id
        ),
        '[]'
    )
    INTO v_credentials
    FROM public.agent_tool_credentials AS stored
    WHERE stored.agent_toolbelt_item_id = v_item.id
      AND stored.status = 'active';

    INSERT INTO app.audit_log (
        actor_kind, actor_name, action, table_name, row_id, owner_user_id, agent_id, changes
    )
    VALUES (
        'service',
        'toolbox:' || v_toolbox.id,
        'credentials_released',
        'agent_toolbelt_items',
        v_item.id,
        v_toolbox.user_id,
        (input ->> 'agent_id')::uuid,
        jsonb_build_object(
            'capability', input -> 'capability',
            'credentials', (
                SELECT coalesce(
                    jsonb_agg(
                        jsonb_build_object('id', released.entry -> 'id', 'type', released.entry -> 'credential_type')
                    ),
                    '[]'
                )
                FROM jsonb_array_elements(v_credentials) AS released (entry)
            )
        )
    );

    RETURN jsonb_build_object(
        'user_id', v_toolbox.user_id,
        'toolbox_id', v_toolbox.id,
        'agent_id', input -> 'agent_id',
        'item_id', v_item.id,
        'tool_name', v_item.tool_name,
        'schema', v_item.required_secrets_schema,
        'credentials', v_credentials
    );
END
$$;

SELECT app.grant_operations();
