-- Who gave whom which power, and when. Triggers write it, whoever makes the change, and nobody rewrites it.

CREATE TABLE app.audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- No foreign keys: the log outlives what it tells about.
    actor_user_id uuid,
    actor_kind text NOT NULL,
    -- Of a service: which.
    actor_name text,
    action text NOT NULL,
    table_name text NOT NULL,
    row_id text NOT NULL,
    -- Who may read the entry.
    owner_user_id uuid,
    changes jsonb NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id),
    CONSTRAINT audit_log_actor_kind_check CHECK (actor_kind IN ('user', 'service', 'system')),
    CONSTRAINT audit_log_action_check CHECK (length(action) BETWEEN 1 AND 100)
);

CREATE INDEX audit_log_owner_user_id_idx ON app.audit_log (owner_user_id, id);
CREATE INDEX audit_log_row_idx ON app.audit_log (table_name, row_id, id);

ALTER TABLE app.audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
REVOKE ALL ON app.audit_log FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT ON app.audit_log TO service_role;

CREATE FUNCTION app.refuse_rewriting_history()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    RAISE EXCEPTION '% is append only', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_log_append_only
BEFORE UPDATE OR DELETE ON app.audit_log
FOR EACH ROW EXECUTE FUNCTION app.refuse_rewriting_history();

CREATE TRIGGER audit_log_not_truncated
BEFORE TRUNCATE ON app.audit_log
FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_rewriting_history();

-- Writes {"column": {"old": …, "new": …}} for what changed. The values of secrets, told by their columns' names, are
-- withheld, that they changed is not; what moves with every heartbeat is no change. The trigger's arguments name the
-- columns that identify the row.
--
-- A definer, because those who make a change may not write the log.
CREATE FUNCTION app.audit_change()
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
              'last_validated_at', 'worker_lease_id', 'worker_lease_expires_at'
          )
    ) AS changed;

    IF v_changes IS NULL THEN
        RETURN NULL;
    END IF;

    INSERT INTO app.audit_log (
        actor_user_id, actor_kind, actor_name, action, table_name, row_id, owner_user_id, changes
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
        v_changes
    );
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION app.refuse_rewriting_history(), app.audit_change()
FROM PUBLIC, anon, authenticated, service_role;

CREATE TRIGGER user_roles_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.user_roles
FOR EACH ROW EXECUTE FUNCTION app.audit_change('user_id', 'role_id');

CREATE TRIGGER workspace_members_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.workspace_members
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER workspace_invitations_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.workspace_invitations
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER team_members_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.team_members
FOR EACH ROW EXECUTE FUNCTION app.audit_change('team_id', 'agent_id');

CREATE TRIGGER team_invitations_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.team_invitations
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER user_team_memberships_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.user_team_memberships
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER agent_datastores_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.agent_datastores
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER mcp_configurations_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.mcp_configurations
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER mcp_servers_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.mcp_servers
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER account_tool_environments_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.account_tool_environments
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER account_tool_instances_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.account_tool_instances
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER agent_toolbox_access_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.agent_toolbox_access
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER agent_toolbelt_items_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.agent_toolbelt_items
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER agent_tool_credentials_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.agent_tool_credentials
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER agent_tool_capability_permissions_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.agent_tool_capability_permissions
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

CREATE TRIGGER agent_discord_connections_audit_change
AFTER INSERT OR UPDATE OR DELETE ON public.agent_discord_connections
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');
