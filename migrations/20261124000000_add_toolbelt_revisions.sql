-- What the toolbelt's routes need: a revision per row, so that a change can name the state it was made for; the key under which a
-- credential is sealed, so that keys can be rotated; and the agent of an audit entry, so that its owner can read what was changed for it.

ALTER TABLE public.agent_toolbelt_items ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE public.agent_tool_credentials ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE public.agent_tool_capability_permissions ADD COLUMN revision bigint NOT NULL DEFAULT 1;

GRANT SELECT (revision) ON public.agent_tool_credentials TO authenticated;

-- Null for what was stored before sealing had keys with names.
ALTER TABLE public.agent_tool_credentials
ADD COLUMN key_id text,
ADD CONSTRAINT agent_tool_credentials_key_id_length_check CHECK (length(key_id) BETWEEN 1 AND 64);

CREATE INDEX agent_tool_credentials_key_id_idx ON public.agent_tool_credentials (key_id, id);

CREATE FUNCTION app.bump_revision()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END
$$;

CREATE TRIGGER agent_toolbelt_items_bump_revision
BEFORE UPDATE ON public.agent_toolbelt_items
FOR EACH ROW
WHEN (OLD.is_active_for_agent IS DISTINCT FROM NEW.is_active_for_agent)
EXECUTE FUNCTION app.bump_revision();

-- Sealing the same secret under another key is no change of the credential, hence not `key_id`.
CREATE TRIGGER agent_tool_credentials_bump_revision
BEFORE UPDATE ON public.agent_tool_credentials
FOR EACH ROW
WHEN (
    (OLD.credential_type, OLD.account_identifier, OLD.status)
    IS DISTINCT FROM (NEW.credential_type, NEW.account_identifier, NEW.status)
    OR (OLD.encrypted_credentials <> NEW.encrypted_credentials AND OLD.key_id IS NOT DISTINCT FROM NEW.key_id)
)
EXECUTE FUNCTION app.bump_revision();

CREATE TRIGGER agent_tool_capability_permissions_bump_revision
BEFORE UPDATE ON public.agent_tool_capability_permissions
FOR EACH ROW
WHEN (
    (OLD.is_allowed, OLD.requires_approval) IS DISTINCT FROM (NEW.is_allowed, NEW.requires_approval)
)
EXECUTE FUNCTION app.bump_revision();


-- The agent of an audit entry

ALTER TABLE app.audit_log ADD COLUMN agent_id uuid;

CREATE INDEX audit_log_agent_id_idx ON app.audit_log (owner_user_id, agent_id, id);

-- As before, with the agent. A credential or a permission has it by way of its item; when the item is gone already, because both go
-- together, the item's own entries still tell.
CREATE OR REPLACE FUNCTION app.audit_change()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    v_old jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
    v_new jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
    v_row jsonb := v_old || v_new;
    v_claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
    v_agent_id uuid := (v_row ->> 'agent_id')::uuid;
    v_changes jsonb;
BEGIN
    SELECT jsonb_object_agg(
        changed.name,
        CASE
            WHEN changed.is_secret THEN '"withheld"'::jsonb
            ELSE jsonb_strip_nulls(jsonb_build_object('old', v_old -> changed.name, 'new', v_new -> changed.name))
        END
    )
    INTO v_changes
    FROM (
        SELECT
            field.key AS name,
            field.key ~ '(_sealed|_hash|_fingerprint)$' OR field.key = 'encrypted_credentials' AS is_secret
        FROM jsonb_each(v_row) AS field
        WHERE coalesce(v_old -> field.key, 'null') IS DISTINCT FROM coalesce(v_new -> field.key, 'null')
          AND field.key NOT IN (
              'updated_at', 'last_heartbeat_at', 'last_heartbeat_from_dtma', 'dtma_health_details_json',
              'last_validated_at', 'worker_lease_id', 'worker_lease_expires_at', 'revision'
          )
    ) AS changed;

    IF v_changes IS NULL THEN
        RETURN NULL;
    END IF;

    IF TG_TABLE_NAME IN ('agent_tool_credentials', 'agent_tool_capability_permissions') THEN
        SELECT item.agent_id
        INTO v_agent_id
        FROM public.agent_toolbelt_items AS item
        WHERE item.id = (v_row ->> 'agent_toolbelt_item_id')::uuid;

        IF v_agent_id IS NULL THEN
            SELECT entry.agent_id
            INTO v_agent_id
            FROM app.audit_log AS entry
            WHERE entry.table_name = 'agent_toolbelt_items'
              AND entry.row_id = v_row ->> 'agent_toolbelt_item_id'
            ORDER BY entry.id
            LIMIT 1;
        END IF;
    END IF;

    INSERT INTO app.audit_log (
        actor_user_id, actor_kind, actor_name, action, table_name, row_id, owner_user_id, agent_id, changes
    )
    VALUES (
        auth.uid(),
        CASE
            WHEN auth.uid() IS NOT NULL THEN 'user'
            WHEN v_claims ->> 'role' = 'service_role' THEN 'service'
            ELSE 'system'
        END,
        v_claims ->> 'service',
        lower(TG_OP),
        TG_TABLE_NAME,
        (
            SELECT string_agg(v_row ->> key_column.name, '/' ORDER BY key_column.position)
            FROM unnest(TG_ARGV) WITH ORDINALITY AS key_column (name, position)
        ),
        CASE
            WHEN TG_TABLE_NAME IN ('workspace_members', 'workspace_invitations') THEN (
                SELECT workspace.owner_user_id
                FROM public.workspaces AS workspace
                WHERE workspace.id = (v_row ->> 'workspace_id')::uuid
            )
            WHEN TG_TABLE_NAME IN ('team_members', 'team_invitations', 'user_team_memberships') THEN (
                SELECT team.owner_user_id
                FROM public.teams AS team
                WHERE team.id = (v_row ->> 'team_id')::uuid
            )
            ELSE (v_row ->> 'user_id')::uuid
        END,
        v_agent_id,
        v_changes
    );
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION app.bump_revision(), app.audit_change() FROM PUBLIC, anon, authenticated, service_role;
