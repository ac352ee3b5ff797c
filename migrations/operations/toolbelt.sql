-- The toolbelt: which agent may use which tool of which toolbox, with which credentials and capabilities.
--
-- Guarantees: everything hangs on an agent of the caller; an id of somebody else, or of another agent or item than the path's, reads as
-- not found, whatever the combination. Agent, toolbox, instance and item have one owner, which the foreign keys keep. A change that
-- names a revision is made only to that revision. Taking access away takes the items, credentials and permissions that hung on it.

DROP FUNCTION IF EXISTS api.prepare_credential(jsonb, jsonb);


-- Rows as clients see them

CREATE OR REPLACE FUNCTION app.toolbox_access_row(p_row public.agent_toolbox_access)
RETURNS jsonb
LANGUAGE sql
IMMUTABLE
SET search_path = ''
AS $$
    SELECT jsonb_build_object(
        'id', p_row.id,
        'agent_id', p_row.agent_id,
        'account_tool_environment_id', p_row.account_tool_environment_id,
        'granted_at', p_row.granted_at,
        'created_at', p_row.created_at,
        'updated_at', p_row.updated_at
    )
$$;

CREATE OR REPLACE FUNCTION app.toolbelt_item_row(p_row public.agent_toolbelt_items)
RETURNS jsonb
LANGUAGE sql
IMMUTABLE
SET search_path = ''
AS $$
    SELECT jsonb_build_object(
        'id', p_row.id,
        'agent_id', p_row.agent_id,
        'account_tool_instance_id', p_row.account_tool_instance_id,
        'is_active_for_agent', p_row.is_active_for_agent,
        'revision', p_row.revision,
        'created_at', p_row.created_at,
        'updated_at', p_row.updated_at
    )
$$;

-- The deployed tool of an item. A tool that left the public catalog is still what the instance runs, so this is asked as the service.
CREATE OR REPLACE FUNCTION app.toolbelt_item_tool(p_instance_id uuid)
RETURNS jsonb
LANGUAGE sql
STABLE
SET search_path = ''
AS $$
    SELECT jsonb_build_object(
        'id', instance.id,
        'instance_name_on_toolbox', instance.instance_name_on_toolbox,
        'status_on_toolbox', instance.status_on_toolbox,
        'tool_catalog', jsonb_build_object(
            'id', tool.id,
            'name', tool.name,
            'required_secrets_schema', tool.required_secrets_schema,
            'required_capabilities_schema', tool.required_capabilities_schema
        )
    )
    FROM public.account_tool_instances AS instance
    JOIN public.tool_catalog AS tool ON tool.id = instance.tool_catalog_id
    WHERE instance.id = p_instance_id
$$;

-- Without the sealed secret. Not of the whole row, of which users may not read every column.
CREATE OR REPLACE FUNCTION app.credential_row(
    p_id uuid,
    p_item_id uuid,
    p_credential_type text,
    p_account_identifier text,
    p_status text,
    p_last_validated_at timestamptz,
    p_revision bigint,
    p_created_at timestamptz,
    p_updated_at timestamptz
)
RETURNS jsonb
LANGUAGE sql
IMMUTABLE
SET search_path = ''
AS $$
    SELECT jsonb_build_object(
        'id', p_id,
        'agent_toolbelt_item_id', p_item_id,
        'credential_type', p_credential_type,
        'account_identifier', p_account_identifier,
        'status', p_status,
        'last_validated_at', p_last_validated_at,
        'revision', p_revision,
        'created_at', p_created_at,
        'updated_at', p_updated_at
    )
$$;

CREATE OR REPLACE FUNCTION app.permission_row(p_row public.agent_tool_capability_permissions)
RETURNS jsonb
LANGUAGE sql
IMMUTABLE
SET search_path = ''
AS $$
    SELECT jsonb_build_object(
        'id', p_row.id,
        'agent_toolbelt_item_id', p_row.agent_toolbelt_item_id,
        'capability_name', p_row.capability_name,
        'is_allowed', p_row.is_allowed,
        'requires_approval', p_row.requires_approval,
        'revision', p_row.revision,
        'created_at', p_row.created_at,
        'updated_at', p_row.updated_at
    )
$$;


-- Refusals. They run as the user: row level security decides what there is, and the owner is asked for by name as well, because an
-- administrator may read what is not theirs.

CREATE OR REPLACE FUNCTION app.require_own_agent(p_agent_id uuid)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM 1
    FROM public.agents AS agent
    WHERE agent.id = p_agent_id
      AND agent.user_id = (SELECT auth.uid());

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'agent_not_found', format('Agent %s not found.', p_agent_id));
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION app.require_own_toolbelt_item(p_agent_id uuid, p_item_id uuid)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.require_own_agent(p_agent_id);

    PERFORM 1
    FROM public.agent_toolbelt_items AS item
    WHERE item.id = p_item_id
      AND item.agent_id = p_agent_id
      AND item.user_id = (SELECT auth.uid());

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'toolbelt_item_not_found', 'Toolbelt item not found.');
    END IF;
END
$$;

-- For a change that found nothing to change.
CREATE OR REPLACE FUNCTION app.refuse_stale_or_absent(p_exists boolean, p_code text, p_message text)
RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    IF p_exists THEN
        PERFORM app.refuse(
            412,
            'precondition_failed',
            'It was changed since: read it again, and repeat the change if it still applies.'
        );
    END IF;

    PERFORM app.refuse(404, p_code, p_message);
END
$$;


-- Access to toolboxes

-- Input: {"agent_id", "toolbox_id", "per_minute", "burst"}. Output: the access.
CREATE OR REPLACE FUNCTION api.grant_toolbox_access(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_access public.agent_toolbox_access;
    v_constraint text;
BEGIN
    PERFORM app.require_own_agent((input ->> 'agent_id')::uuid);
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_toolbelt:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );
    PERFORM app.become(caller);

    PERFORM 1
    FROM public.account_tool_environments AS toolbox
    WHERE toolbox.id = (input ->> 'toolbox_id')::uuid
      AND toolbox.user_id = v_user_id;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'toolbox_not_found', 'Toolbox not found or access denied');
    END IF;

    INSERT INTO public.agent_toolbox_access (user_id, agent_id, account_tool_environment_id)
    VALUES (v_user_id, (input ->> 'agent_id')::uuid, (input ->> 'toolbox_id')::uuid)
    ON CONFLICT (agent_id, account_tool_environment_id) DO NOTHING
    RETURNING *
    INTO v_access;

    IF NOT FOUND THEN
        PERFORM app.refuse(409, 'access_exists', 'The agent has access to this toolbox already.');
    END IF;

    RETURN app.toolbox_access_row(v_access);
EXCEPTION
    -- What was asked for above went in the meantime.
    WHEN foreign_key_violation THEN
        GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
        IF v_constraint = 'agent_toolbox_access_environment_id_fkey' THEN
            PERFORM app.refuse(404, 'toolbox_not_found', 'Toolbox not found or access denied');
        END IF;
        PERFORM app.refuse(404, 'agent_not_found', format('Agent %s not found.', input ->> 'agent_id'));
END
$$;

-- Input: {"agent_id"}. Output: {"rows"}, each with the toolbox, newest first.
CREATE OR REPLACE FUNCTION api.list_toolbox_access(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
BEGIN
    PERFORM app.require_own_agent((input ->> 'agent_id')::uuid);

    RETURN (
        SELECT jsonb_build_object(
            'rows',
            coalesce(
                jsonb_agg(
                    app.toolbox_access_row(access)
                    || jsonb_build_object(
                        'account_tool_environments',
                        jsonb_build_object('id', toolbox.id, 'name', toolbox.name, 'status', toolbox.status)
                    )
                    ORDER BY access.created_at DESC, access.id DESC
                ),
                '[]'
            )
        )
        FROM public.agent_toolbox_access AS access
        JOIN public.account_tool_environments AS toolbox ON toolbox.id = access.account_tool_environment_id
        WHERE access.agent_id = (input ->> 'agent_id')::uuid
          AND access.user_id = v_user_id
    );
END
$$;

-- Input: {"agent_id", "access_id"}. Output: the access as it was.
CREATE OR REPLACE FUNCTION api.revoke_toolbox_access(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_access public.agent_toolbox_access;
BEGIN
    PERFORM app.require_own_agent((input ->> 'agent_id')::uuid);

    DELETE FROM public.agent_toolbox_access AS access
    WHERE access.id = (input ->> 'access_id')::uuid
      AND access.agent_id = (input ->> 'agent_id')::uuid
      AND access.user_id = v_user_id
    RETURNING *
    INTO v_access;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'toolbox_access_not_found', 'Toolbox access not found.');
    END IF;

    RETURN app.toolbox_access_row(v_access);
END
$$;


-- Items

-- Input: {"agent_id", "instance_id", "is_active_for_agent", "per_minute", "burst"}. Output: the item.
CREATE OR REPLACE FUNCTION api.create_toolbelt_item(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_toolbox_id uuid;
    v_item public.agent_toolbelt_items;
    v_constraint text;
BEGIN
    PERFORM app.require_own_agent((input ->> 'agent_id')::uuid);
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_toolbelt:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );
    PERFORM app.become(caller);

    SELECT instance.account_tool_environment_id
    INTO v_toolbox_id
    FROM public.account_tool_instances AS instance
    WHERE instance.id = (input ->> 'instance_id')::uuid
      AND instance.user_id = v_user_id;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'tool_instance_not_found', 'Tool instance not found.');
    END IF;

    PERFORM 1
    FROM public.agent_toolbox_access AS access
    WHERE access.agent_id = (input ->> 'agent_id')::uuid
      AND access.account_tool_environment_id = v_toolbox_id
      AND access.user_id = v_user_id;

    IF NOT FOUND THEN
        PERFORM app.refuse(403, 'no_toolbox_access', 'The agent has no access to the toolbox of this tool.');
    END IF;

    INSERT INTO public.agent_toolbelt_items (
        user_id, agent_id, account_tool_instance_id, account_tool_environment_id, is_active_for_agent
    )
    VALUES (
        v_user_id,
        (input ->> 'agent_id')::uuid,
        (input ->> 'instance_id')::uuid,
        v_toolbox_id,
        coalesce((input ->> 'is_active_for_agent')::boolean, true)
    )
    ON CONFLICT (agent_id, account_tool_instance_id) DO NOTHING
    RETURNING *
    INTO v_item;

    IF NOT FOUND THEN
        PERFORM app.refuse(409, 'item_exists', 'This tool is in the agent''s toolbelt already.');
    END IF;

    RETURN app.toolbelt_item_row(v_item);
EXCEPTION
    -- What was asked for above went in the meantime.
    WHEN foreign_key_violation THEN
        GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
        CASE v_constraint
            WHEN 'agent_toolbelt_items_toolbox_access_fkey' THEN
                PERFORM app.refuse(403, 'no_toolbox_access', 'The agent has no access to the toolbox of this tool.');
            WHEN 'agent_toolbelt_items_instance_id_fkey' THEN
                PERFORM app.refuse(404, 'tool_instance_not_found', 'Tool instance not found.');
            ELSE
                PERFORM app.refuse(404, 'agent_not_found', format('Agent %s not found.', input ->> 'agent_id'));
        END CASE;
END
$$;

-- Input: {"agent_id"}. Output: {"rows"}, each with its tool, newest first.
CREATE OR REPLACE FUNCTION api.list_toolbelt_items(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
BEGIN
    PERFORM app.require_own_agent((input ->> 'agent_id')::uuid);
    PERFORM app.become_service();

    RETURN (
        SELECT jsonb_build_object(
            'rows',
            coalesce(
                jsonb_agg(
                    app.toolbelt_item_row(item)
                    || jsonb_build_object('account_tool_instance', app.toolbelt_item_tool(item.account_tool_instance_id))
                    ORDER BY item.created_at DESC, item.id DESC
                ),
                '[]'
            )
        )
        FROM public.agent_toolbelt_items AS item
        WHERE item.agent_id = (input ->> 'agent_id')::uuid
          AND item.user_id = v_user_id
    );
END
$$;

-- Input: {"agent_id", "item_id"}. Output: the item with its tool.
CREATE OR REPLACE FUNCTION api.get_toolbelt_item(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_row jsonb;
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);
    PERFORM app.become_service();

    SELECT
        app.toolbelt_item_row(item)
        || jsonb_build_object('account_tool_instance', app.toolbelt_item_tool(item.account_tool_instance_id))
    INTO v_row
    FROM public.agent_toolbelt_items AS item
    WHERE item.id = (input ->> 'item_id')::uuid
      AND item.user_id = v_user_id;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'toolbelt_item_not_found', 'Toolbelt item not found.');
    END IF;

    RETURN v_row;
END
$$;

-- Input: {"agent_id", "item_id", "if_match", "is_active_for_agent", "per_minute", "burst"}. Output: the item.
CREATE OR REPLACE FUNCTION api.update_toolbelt_item(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_item public.agent_toolbelt_items;
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_toolbelt:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );
    PERFORM app.become(caller);

    UPDATE public.agent_toolbelt_items AS item
    SET is_active_for_agent = (input ->> 'is_active_for_agent')::boolean
    WHERE item.id = (input ->> 'item_id')::uuid
      AND item.user_id = v_user_id
      AND (input ->> 'if_match' IS NULL OR item.revision = (input ->> 'if_match')::bigint)
    RETURNING *
    INTO v_item;

    IF NOT FOUND THEN
        PERFORM app.refuse_stale_or_absent(
            input ->> 'if_match' IS NOT NULL,
            'toolbelt_item_not_found',
            'Toolbelt item not found.'
        );
    END IF;

    RETURN app.toolbelt_item_row(v_item);
END
$$;

-- Input: {"agent_id", "item_id", "if_match"}. Output: the item as it was.
CREATE OR REPLACE FUNCTION api.delete_toolbelt_item(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_item public.agent_toolbelt_items;
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);

    DELETE FROM public.agent_toolbelt_items AS item
    WHERE item.id = (input ->> 'item_id')::uuid
      AND item.user_id = v_user_id
      AND (input ->> 'if_match' IS NULL OR item.revision = (input ->> 'if_match')::bigint)
    RETURNING *
    INTO v_item;

    IF NOT FOUND THEN
        PERFORM app.refuse_stale_or_absent(
            input ->> 'if_match' IS NOT NULL,
            'toolbelt_item_not_found',
            'Toolbelt item not found.'
        );
    END IF;

    RETURN app.toolbelt_item_row(v_item);
END
$$;


-- Credentials. The function seals a secret for its owner, agent, item and row, so it proposes the row's id.

-- Input: {"agent_id", "item_id", "credential_id", "credential_type", "sealed", "key_id", "account_identifier", "status",
-- "per_minute", "burst"}.
-- Output: the credential without its secret.
CREATE OR REPLACE FUNCTION api.store_credential(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_constraint text;
    v_row jsonb;
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_toolbelt:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );

    -- Those who store at the same time are counted one after the other.
    PERFORM 1
    FROM public.agent_toolbelt_items AS item
    WHERE item.id = (input ->> 'item_id')::uuid
      AND item.user_id = v_user_id
    FOR NO KEY UPDATE;

    PERFORM 1
    FROM public.agent_tool_credentials AS stored
    WHERE stored.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
    HAVING count(*) >= 50;

    IF FOUND THEN
        PERFORM app.refuse(409, 'too_many_credentials', 'The tool has 50 credentials. Delete those that are not needed.');
    END IF;

    INSERT INTO public.agent_tool_credentials AS stored (
        id, user_id, agent_toolbelt_item_id, credential_type, encrypted_credentials, key_id, account_identifier, status
    )
    VALUES (
        (input ->> 'credential_id')::uuid,
        v_user_id,
        (input ->> 'item_id')::uuid,
        input ->> 'credential_type',
        input ->> 'sealed',
        input ->> 'key_id',
        input ->> 'account_identifier',
        coalesce(input ->> 'status', 'active')
    )
    RETURNING app.credential_row(
        stored.id, stored.agent_toolbelt_item_id, stored.credential_type, stored.account_identifier, stored.status,
        stored.last_validated_at, stored.revision, stored.created_at, stored.updated_at
    )
    INTO v_row;

    RETURN v_row;
EXCEPTION
    -- It was deleted in the meantime.
    WHEN foreign_key_violation THEN
        PERFORM app.refuse(404, 'toolbelt_item_not_found', 'Toolbelt item not found.');
    WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
        IF v_constraint <> 'agent_tool_credentials_active_key' THEN
            RAISE;
        END IF;
        PERFORM app.refuse(
            409,
            'credential_exists',
            'The tool has an active credential of this type already. Change or revoke that one.'
        );
END
$$;

-- Input: {"agent_id", "item_id"}. Output: {"rows"}, newest first.
CREATE OR REPLACE FUNCTION api.list_credentials(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);

    RETURN (
        SELECT jsonb_build_object(
            'rows',
            coalesce(
                jsonb_agg(
                    app.credential_row(
                        stored.id, stored.agent_toolbelt_item_id, stored.credential_type, stored.account_identifier,
                        stored.status, stored.last_validated_at, stored.revision, stored.created_at, stored.updated_at
                    )
                    ORDER BY stored.created_at DESC, stored.id DESC
                ),
                '[]'
            )
        )
        FROM public.agent_tool_credentials AS stored
        WHERE stored.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
          AND stored.user_id = v_user_id
    );
END
$$;

-- Input: {"agent_id", "item_id", "credential_id", "if_match", "set": {"credential_type"?, "status"?, "account_identifier"?, "sealed"? with
-- "key_id"}, "per_minute", "burst"}.
-- Output: the credential without its secret.
CREATE OR REPLACE FUNCTION api.update_credential(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_set jsonb := input -> 'set';
    v_constraint text;
    v_row jsonb;
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_toolbelt:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );

    UPDATE public.agent_tool_credentials AS stored
    SET credential_type = coalesce(v_set ->> 'credential_type', stored.credential_type),
        status = coalesce(v_set ->> 'status', stored.status),
        account_identifier = CASE
            WHEN v_set ? 'account_identifier' THEN v_set ->> 'account_identifier'
            ELSE stored.account_identifier
        END,
        encrypted_credentials = coalesce(v_set ->> 'sealed', stored.encrypted_credentials),
        key_id = CASE WHEN v_set ? 'sealed' THEN v_set ->> 'key_id' ELSE stored.key_id END,
        -- The trigger takes a secret under another key for the same secret; here it is a new one.
        revision = CASE WHEN v_set ? 'sealed' THEN stored.revision + 1 ELSE stored.revision END
    WHERE stored.id = (input ->> 'credential_id')::uuid
      AND stored.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
      AND stored.user_id = v_user_id
      AND (input ->> 'if_match' IS NULL OR stored.revision = (input ->> 'if_match')::bigint)
    RETURNING app.credential_row(
        stored.id, stored.agent_toolbelt_item_id, stored.credential_type, stored.account_identifier, stored.status,
        stored.last_validated_at, stored.revision, stored.created_at, stored.updated_at
    )
    INTO v_row;

    IF NOT FOUND THEN
        PERFORM app.refuse_stale_or_absent(
            EXISTS (
                SELECT 1
                FROM public.agent_tool_credentials AS stored
                WHERE stored.id = (input ->> 'credential_id')::uuid
                  AND stored.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
                  AND stored.user_id = v_user_id
            ),
            'credential_not_found',
            'Credential not found.'
        );
    END IF;

    RETURN v_row;
EXCEPTION
    WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
        IF v_constraint <> 'agent_tool_credentials_active_key' THEN
            RAISE;
        END IF;
        PERFORM app.refuse(
            409,
            'credential_exists',
            'The tool has an active credential of this type already. Change or revoke that one.'
        );
END
$$;

-- Input: {"agent_id", "item_id", "credential_id", "if_match"}. Output: the credential as it was, without its secret.
CREATE OR REPLACE FUNCTION api.delete_credential(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_row jsonb;
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);

    DELETE FROM public.agent_tool_credentials AS stored
    WHERE stored.id = (input ->> 'credential_id')::uuid
      AND stored.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
      AND stored.user_id = v_user_id
      AND (input ->> 'if_match' IS NULL OR stored.revision = (input ->> 'if_match')::bigint)
    RETURNING app.credential_row(
        stored.id, stored.agent_toolbelt_item_id, stored.credential_type, stored.account_identifier, stored.status,
        stored.last_validated_at, stored.revision, stored.created_at, stored.updated_at
    )
    INTO v_row;

    IF NOT FOUND THEN
        PERFORM app.refuse_stale_or_absent(
            EXISTS (
                SELECT 1
                FROM public.agent_tool_credentials AS stored
                WHERE stored.id = (input ->> 'credential_id')::uuid
                  AND stored.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
            ),
            'credential_not_found',
            'Credential not found.'
        );
    END IF;

    RETURN v_row;
END
$$;


-- Permissions: a capability without a row is denied.

-- Users make none by themselves: the name must be one of the catalog's. Input: {"agent_id", "item_id", "if_match", "must_exist",
-- "capability_name", "is_allowed", "requires_approval", "per_minute", "burst"}; what is null keeps its value, or is false. Output: the
-- permission.
CREATE OR REPLACE FUNCTION api.put_permission(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_capability jsonb;
    v_permission public.agent_tool_capability_permissions;
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_toolbelt:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );

    SELECT capability.entry
    INTO v_capability
    FROM public.agent_toolbelt_items AS item
    JOIN public.account_tool_instances AS instance ON instance.id = item.account_tool_instance_id
    JOIN public.tool_catalog AS tool ON tool.id = instance.tool_catalog_id
    CROSS JOIN LATERAL jsonb_array_elements(
        CASE jsonb_typeof(tool.required_capabilities_schema)
            WHEN 'array' THEN tool.required_capabilities_schema
            ELSE '[]'
        END
    ) AS capability (entry)
    WHERE item.id = (input ->> 'item_id')::uuid
      AND capability.entry ->> 'name' = input ->> 'capability_name'
    LIMIT 1;

    IF NOT FOUND THEN
        PERFORM app.refuse(
            400,
            'unknown_capability',
            'capability_name is not a capability of this tool.',
            '{"field": "capability_name"}'
        );
    END IF;

    IF (input ->> 'must_exist')::boolean THEN
        UPDATE public.agent_tool_capability_permissions AS kept
        SET is_allowed = coalesce((input ->> 'is_allowed')::boolean, kept.is_allowed),
            requires_approval = coalesce((input ->> 'requires_approval')::boolean, kept.requires_approval)
        WHERE kept.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
          AND kept.capability_name = input ->> 'capability_name'
          AND kept.user_id = v_user_id
          AND (input ->> 'if_match' IS NULL OR kept.revision = (input ->> 'if_match')::bigint)
        RETURNING *
        INTO v_permission;

        IF NOT FOUND THEN
            PERFORM app.refuse_stale_or_absent(true, 'permission_not_found', 'Permission not found.');
        END IF;

        RETURN app.permission_row(v_permission);
    END IF;

    INSERT INTO public.agent_tool_capability_permissions AS kept (
        user_id, agent_toolbelt_item_id, capability_name, is_allowed, requires_approval
    )
    VALUES (
        v_user_id,
        (input ->> 'item_id')::uuid,
        input ->> 'capability_name',
        coalesce((input ->> 'is_allowed')::boolean, false),
        -- The catalog may say that a capability is one that people should see first.
        coalesce(
            (input ->> 'requires_approval')::boolean,
            (v_capability ->> 'requires_approval')::boolean,
            false
        )
    )
    ON CONFLICT (agent_toolbelt_item_id, capability_name) DO UPDATE
    SET is_allowed = coalesce((input ->> 'is_allowed')::boolean, kept.is_allowed),
        requires_approval = coalesce((input ->> 'requires_approval')::boolean, kept.requires_approval)
    RETURNING *
    INTO v_permission;

    RETURN app.permission_row(v_permission);
EXCEPTION
    -- It was deleted in the meantime.
    WHEN foreign_key_violation THEN
        PERFORM app.refuse(404, 'toolbelt_item_not_found', 'Toolbelt item not found.');
END
$$;

-- Input: {"agent_id", "item_id", "permission_id", "if_match", "is_allowed", "requires_approval", "per_minute", "burst"}; what is null
-- keeps its value.
-- Output: the permission.
CREATE OR REPLACE FUNCTION api.update_permission(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_permission public.agent_tool_capability_permissions;
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);
    PERFORM app.become_service();
    PERFORM app.require_rate_limit(
        'user', 'change_toolbelt:' || v_user_id, (input ->> 'per_minute')::int, (input ->> 'burst')::int
    );
    PERFORM app.become(caller);

    UPDATE public.agent_tool_capability_permissions AS kept
    SET is_allowed = coalesce((input ->> 'is_allowed')::boolean, kept.is_allowed),
        requires_approval = coalesce((input ->> 'requires_approval')::boolean, kept.requires_approval)
    WHERE kept.id = (input ->> 'permission_id')::uuid
      AND kept.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
      AND kept.user_id = v_user_id
      AND (input ->> 'if_match' IS NULL OR kept.revision = (input ->> 'if_match')::bigint)
    RETURNING *
    INTO v_permission;

    IF NOT FOUND THEN
        PERFORM app.refuse_stale_or_absent(
            EXISTS (
                SELECT 1
                FROM public.agent_tool_capability_permissions AS kept
                WHERE kept.id = (input ->> 'permission_id')::uuid
                  AND kept.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
            ),
            'permission_not_found',
            'Permission not found.'
        );
    END IF;

    RETURN app.permission_row(v_permission);
END
$$;

-- Input: {"agent_id", "item_id"}. Output: {"rows"}, by name.
CREATE OR REPLACE FUNCTION api.list_permissions(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);

    RETURN (
        SELECT jsonb_build_object(
            'rows',
            coalesce(jsonb_agg(app.permission_row(kept) ORDER BY kept.capability_name), '[]')
        )
        FROM public.agent_tool_capability_permissions AS kept
        WHERE kept.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
          AND kept.user_id = v_user_id
    );
END
$$;

-- Input: {"agent_id", "item_id", "permission_id", "if_match"}. Output: the permission as it was.
CREATE OR REPLACE FUNCTION api.delete_permission(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_permission public.agent_tool_capability_permissions;
BEGIN
    PERFORM app.require_own_toolbelt_item((input ->> 'agent_id')::uuid, (input ->> 'item_id')::uuid);

    DELETE FROM public.agent_tool_capability_permissions AS kept
    WHERE kept.id = (input ->> 'permission_id')::uuid
      AND kept.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
      AND kept.user_id = v_user_id
      AND (input ->> 'if_match' IS NULL OR kept.revision = (input ->> 'if_match')::bigint)
    RETURNING *
    INTO v_permission;

    IF NOT FOUND THEN
        PERFORM app.refuse_stale_or_absent(
            EXISTS (
                SELECT 1
                FROM public.agent_tool_capability_permissions AS kept
                WHERE kept.id = (input ->> 'permission_id')::uuid
                  AND kept.agent_toolbelt_item_id = (input ->> 'item_id')::uuid
            ),
            'permission_not_found',
            'Permission not found.'
        );
    END IF;

    RETURN app.permission_row(v_permission);
END
$$;


-- Input: {"agent_id", "limit", "cursor": {"id"} | null}. Output: {"rows", "next": {"id"} | null}: what was changed for this agent, by
-- whom, newest first. An agent that is gone has no history that could be read here.
CREATE OR REPLACE FUNCTION api.list_agent_audit(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_user_id uuid := app.become_user(caller);
    v_limit int := (input ->> 'limit')::int;
    v_rows jsonb;
BEGIN
    PERFORM app.require_own_agent((input ->> 'agent_id')::uuid);
    PERFORM app.become_service();

    SELECT coalesce(
        jsonb_agg(
            jsonb_build_object(
                'id', entry.id,
                'at', entry.at,
                'actor_kind', entry.actor_kind,
                'actor_user_id', entry.actor_user_id,
                'actor_name', entry.actor_name,
                'action', entry.action,
                'table_name', entry.table_name,
                'row_id', entry.row_id,
                'changes', entry.changes
            )
            ORDER BY entry.id DESC
        ),
        '[]'
    )
    INTO v_rows
    FROM (
        SELECT id, at, actor_kind, actor_user_id, actor_name, action, table_name, row_id, changes
        FROM app.audit_log
        WHERE owner_user_id = v_user_id
          AND agent_id = (input ->> 'agent_id')::uuid
          AND id < coalesce((input -> 'cursor' ->> 'id')::bigint, 9223372036854775807)
        ORDER BY id DESC
        LIMIT v_limit + 1
    ) AS entry;

    -- One more than asked for tells whether there is more.
    IF jsonb_array_length(v_rows) <= v_limit THEN
        RETURN jsonb_build_object('rows', v_rows, 'next', NULL);
    END IF;

    v_rows := v_rows - v_limit;
    RETURN jsonb_build_object('rows', v_rows, 'next', jsonb_build_object('id', v_rows -> -1 -> 'id'));
END
$$;

REVOKE ALL ON FUNCTION
    app.toolbox_access_row(public.agent_toolbox_access),
    app.toolbelt_item_row(public.agent_toolbelt_items),
    app.toolbelt_item_tool(uuid),
    app.credential_row(uuid, uuid, text, text, text, timestamptz, bigint, timestamptz, timestamptz),
    app.permission_row(public.agent_tool_capability_permissions),
    app.require_own_agent(uuid),
    app.require_own_toolbelt_item(uuid, uuid),
    app.refuse_stale_or_absent(boolean, text, text)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    app.toolbox_access_row(public.agent_toolbox_access),
    app.toolbelt_item_row(public.agent_toolbelt_items),
    app.toolbelt_item_tool(uuid),
    app.credential_row(uuid, uuid, text, text, text, timestamptz, bigint, timestamptz, timestamptz),
    app.permission_row(public.agent_tool_capability_permissions),
    app.require_own_agent(uuid),
    app.require_own_toolbelt_item(uuid, uuid),
    app.refuse_stale_or_absent(boolean, text, text)
TO authenticated, service_role;

SELECT app.grant_operations();
