-- The life of a toolbox: what should be and what is, who may boot it, when its silence is noticed and to whom that is told.
--
-- What should be stands in `desired_…` columns and is written for the owner. What is stands in `status`, `status_on_toolbox` and
-- `reported_…` and is written from reports. Both meet in each heartbeat, and nothing else is sent to a machine.


-- Toolboxes

ALTER TABLE public.account_tool_environments
ADD COLUMN desired_state text NOT NULL DEFAULT 'running',
-- Of what its owner may change: a change can name the state it was made for.
ADD COLUMN revision bigint NOT NULL DEFAULT 1,
-- Counts the changes of what should run on it.
ADD COLUMN generation bigint NOT NULL DEFAULT 1,
-- Who booted: the secret that the machine itself made for its exchange, so that it alone may repeat it.
ADD COLUMN bootstrap_claim_hash bytea,
-- The machine that is this toolbox now, of app.machine_attempts.
ADD COLUMN machine_attempt_id uuid,
-- When its owner last asked for a machine: attempts and their limit count from then.
ADD COLUMN provision_requested_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN heartbeat_period_seconds int NOT NULL DEFAULT 60,
ADD COLUMN heartbeat_grace_seconds int NOT NULL DEFAULT 120,
-- Silent from then on. Null while nobody expects it to speak, or its silence is noticed already.
ADD COLUMN alert_after timestamptz,
-- While it is silent: when its owner is told again.
ADD COLUMN remind_after timestamptz,
-- The machine's own time of its newest report, to recognize a report that was overtaken.
ADD COLUMN reported_at timestamptz,
ADD COLUMN reported_generation bigint,
ADD CONSTRAINT account_tool_environments_desired_state_check CHECK (desired_state IN ('running', 'paused', 'deleted')),
ADD CONSTRAINT account_tool_environments_heartbeat_period_check CHECK (
    heartbeat_period_seconds BETWEEN 10 AND 3600
),
ADD CONSTRAINT account_tool_environments_heartbeat_grace_check CHECK (heartbeat_grace_seconds BETWEEN 10 AND 86400),
ADD CONSTRAINT account_tool_environments_claim_hash_length_check CHECK (octet_length(bootstrap_claim_hash) = 32);

GRANT SELECT (
    desired_state, revision, generation, heartbeat_period_seconds, heartbeat_grace_seconds, reported_generation
) ON public.account_tool_environments TO authenticated;

CREATE INDEX account_tool_environments_alert_after_idx ON public.account_tool_environments (alert_after)
WHERE alert_after IS NOT NULL;
CREATE INDEX account_tool_environments_remind_after_idx ON public.account_tool_environments (remind_after)
WHERE remind_after IS NOT NULL;

-- Pages of an owner's toolboxes, newest first.
CREATE INDEX account_tool_environments_page_idx
ON public.account_tool_environments (user_id, created_at DESC, id DESC);
DROP INDEX public.account_tool_environments_user_id_idx;

-- And of everybody's, for operators.
CREATE INDEX account_tool_environments_created_at_idx ON public.account_tool_environments (created_at DESC, id DESC);

CREATE TRIGGER account_tool_environments_bump_revision
BEFORE UPDATE OF name, description, desired_state ON public.account_tool_environments
FOR EACH ROW
WHEN (
    (OLD.name, OLD.description, OLD.desired_state) IS DISTINCT FROM (NEW.name, NEW.description, NEW.desired_state)
)
EXECUTE FUNCTION app.bump_revision();


-- One name for each state. A toolbox in one of those that nothing leads out of any more has no machine that is known here: its owner
-- redeploys or deletes it.
UPDATE public.account_tool_environments
SET status = CASE status WHEN 'scaling' THEN 'unresponsive' ELSE 'error_provisioning' END,
    provisioning_error_message = CASE
        WHEN status <> 'scaling' THEN format('It was %s when toolboxes were managed otherwise. Redeploy or delete it.', status)
    END
WHERE status IN (
    'inactive', 'scaling', 'provisioning', 'awaiting_heartbeat', 'pending_deprovision', 'deprovisioned',
    'pending_creation', 'creating', 'error_creation', 'pending_deletion', 'deleting', 'error_deletion'
);

ALTER TABLE public.account_tool_environments
ALTER COLUMN status SET DEFAULT 'pending_provision',
DROP CONSTRAINT account_tool_environments_status_check,
ADD CONSTRAINT account_tool_environments_status_check CHECK (
    status IN (
        'pending_provision', 'provisioning', 'awaiting_heartbeat', 'active', 'unresponsive', 'paused',
        'error_provisioning', 'deprovisioning', 'error_deprovisioning'
    )
);

UPDATE public.account_tool_environments
SET desired_state = CASE WHEN status = 'paused' THEN 'paused' ELSE 'deleted' END
WHERE status IN ('paused', 'deprovisioning', 'error_deprovisioning');

INSERT INTO app.jobs (kind, key, max_attempts)
SELECT 'toolbox_machine', toolbox.id::text, 1000000
FROM public.account_tool_environments AS toolbox
WHERE toolbox.status IN ('pending_provision', 'deprovisioning', 'error_deprovisioning')
ON CONFLICT (kind, key) DO NOTHING;

-- Who speaks is given time to say so.
UPDATE public.account_tool_environments
SET alert_after = now() + interval '10 minutes'
WHERE status = 'active';


-- The catalog

ALTER TABLE public.tool_catalog
-- Such as `sha256:…`. What is known is pulled by it, whatever the tag says by then.
ADD COLUMN image_digest text,
ADD CONSTRAINT tool_catalog_image_digest_check CHECK (image_digest ~ '^sha256:[0-9a-f]{64}$'),
ADD CONSTRAINT tool_catalog_required_config_schema_check CHECK (jsonb_typeof(required_config_schema) = 'object'),
ADD CONSTRAINT tool_catalog_required_capabilities_schema_check CHECK (
    jsonb_typeof(required_capabilities_schema) = 'array'
);


-- Tool instances

ALTER TABLE public.account_tool_instances
ADD COLUMN desired_status text NOT NULL DEFAULT 'running',
ADD COLUMN revision bigint NOT NULL DEFAULT 1,
-- Of what should run: a container of an older generation is replaced.
ADD COLUMN generation bigint NOT NULL DEFAULT 1,
ADD COLUMN reported_state text,
ADD COLUMN reported_generation bigint,
ADD CONSTRAINT account_tool_instances_desired_status_check CHECK (
    desired_status IN ('running', 'stopped', 'removed')
),
ADD CONSTRAINT account_tool_instances_instance_error_message_length_check CHECK (
    length(instance_error_message) <= 2000
);

CREATE TRIGGER account_tool_instances_bump_revision
BEFORE UPDATE OF desired_status, generation, base_config_override_json, config_values ON public.account_tool_instances
FOR EACH ROW
WHEN (
    (OLD.desired_status, OLD.generation, OLD.base_config_override_json, OLD.config_values)
    IS DISTINCT FROM (NEW.desired_status, NEW.generation, NEW.base_config_override_json, NEW.config_values)
)
EXECUTE FUNCTION app.bump_revision();

-- What every heartbeat moves is neither a change for the log nor one for `updated_at`: the triggers do not run for it.

DROP TRIGGER account_tool_environments_set_updated_at ON public.account_tool_environments;
CREATE TRIGGER account_tool_environments_set_updated_at
BEFORE UPDATE OF
    name, description, status, desired_state, region_slug, size_slug, image_slug, do_droplet_id, do_droplet_name,
    public_ip_address, token_hash, bootstrap_token_hash, bootstrap_claim_hash, bootstrap_expires_at,
    provisioning_error_message, machine_attempt_id, provision_requested_at, generation, heartbeat_period_seconds,
    heartbeat_grace_seconds, user_id
ON public.account_tool_environments
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

DROP TRIGGER account_tool_environments_audit_change ON public.account_tool_environments;
CREATE TRIGGER account_tool_environments_audit_change
AFTER INSERT OR DELETE OR UPDATE OF
    name, description, status, desired_state, region_slug, size_slug, image_slug, do_droplet_id, do_droplet_name,
    public_ip_address, token_hash, bootstrap_token_hash, bootstrap_claim_hash, bootstrap_expires_at,
    provisioning_error_message, machine_attempt_id, provision_requested_at, generation, heartbeat_period_seconds,
    heartbeat_grace_seconds, user_id
ON public.account_tool_environments
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');

DROP TRIGGER account_tool_instances_set_updated_at ON public.account_tool_instances;
CREATE TRIGGER account_tool_instances_set_updated_at
BEFORE UPDATE OF
    desired_status, status_on_toolbox, generation, config_values, base_config_override_json, port_mapping_json, version,
    instance_name_on_toolbox, tool_catalog_id, account_tool_environment_id, instance_error_message, user_id
ON public.account_tool_instances
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

DROP TRIGGER account_tool_instances_audit_change ON public.account_tool_instances;
CREATE TRIGGER account_tool_instances_audit_change
AFTER INSERT OR DELETE OR UPDATE OF
    desired_status, status_on_toolbox, generation, config_values, base_config_override_json, port_mapping_json, version,
    instance_name_on_toolbox, tool_catalog_id, account_tool_environment_id, instance_error_message, user_id
ON public.account_tool_instances
FOR EACH ROW EXECUTE FUNCTION app.audit_change('id');


-- Machines: each attempt to have one, recorded before the provider is asked. No foreign keys: a machine is to be destroyed even
-- when its toolbox and its owner are gone.

CREATE TABLE app.machine_attempts (
    id uuid NOT NULL,
    toolbox_id uuid NOT NULL,
    user_id uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Null until the provider told it, and then it may have made a machine all the same.
    droplet_id bigint,
    boot_deadline timestamptz NOT NULL,
    -- Null while a machine of this attempt may exist.
    ended_at timestamptz,
    CONSTRAINT machine_attempts_pkey PRIMARY KEY (id)
);

CREATE INDEX machine_attempts_toolbox_id_idx ON app.machine_attempts (toolbox_id, started_at);
CREATE INDEX machine_attempts_ended_at_idx ON app.machine_attempts (ended_at) WHERE ended_at IS NOT NULL;

-- Machines from before bear other tags: they are looked at when they are to go, and left to the operator.
INSERT INTO app.machine_attempts (id, toolbox_id, user_id, droplet_id, boot_deadline)
SELECT gen_random_uuid(), toolbox.id, toolbox.user_id, toolbox.do_droplet_id, now()
FROM public.account_tool_environments AS toolbox
WHERE toolbox.do_droplet_id IS NOT NULL;


-- Jobs: asking for one that is at work must not be lost when that work is done.

ALTER TABLE app.jobs
ADD COLUMN requested bigint NOT NULL DEFAULT 1;

CREATE INDEX jobs_finished_at_idx ON app.jobs (finished_at) WHERE finished_at IS NOT NULL;


-- Silence and return

CREATE TABLE app.toolbox_flips (
    id bigint GENERATED ALWAYS AS IDENTITY,
    toolbox_id uuid NOT NULL,
    user_id uuid NOT NULL,
    toolbox_name text,
    direction text NOT NULL,
    -- When it went silent or returned, and not when that was noticed.
    at timestamptz NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Null until it was decided whom to tell.
    processed_at timestamptz,
    alert_id uuid,
    CONSTRAINT toolbox_flips_pkey PRIMARY KEY (id),
    CONSTRAINT toolbox_flips_toolbox_id_fkey FOREIGN KEY (toolbox_id)
        REFERENCES public.account_tool_environments (id) ON DELETE CASCADE,
    CONSTRAINT toolbox_flips_direction_check CHECK (direction IN ('silent', 'returned'))
);

CREATE INDEX toolbox_flips_toolbox_id_idx ON app.toolbox_flips (toolbox_id, id);
CREATE INDEX toolbox_flips_unprocessed_idx ON app.toolbox_flips (id) WHERE processed_at IS NULL;
CREATE INDEX toolbox_flips_processed_at_idx ON app.toolbox_flips (processed_at) WHERE processed_at IS NOT NULL;
CREATE INDEX toolbox_flips_alert_id_idx ON app.toolbox_flips (alert_id);

-- What is told to whom, once each.
CREATE TABLE app.alerts (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- Null: to the operator.
    user_id uuid,
    kind text NOT NULL,
    -- What the text is made of: [{"toolbox_id", "name", "at"}], the first of them; `total` says how many there are.
    entries jsonb NOT NULL,
    total int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Set before the message is sent: whoever takes over after a death does not know whether it arrived.
    sending_at timestamptz,
    delivered_at timestamptz,
    -- Why it will not be delivered.
    given_up text,
    CONSTRAINT alerts_pkey PRIMARY KEY (id),
    CONSTRAINT alerts_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT alerts_kind_check CHECK (kind IN ('silent', 'returned', 'reminder', 'mass_silence', 'mass_return'))
);

CREATE INDEX alerts_user_id_idx ON app.alerts (user_id, created_at);
CREATE INDEX alerts_created_at_idx ON app.alerts (created_at);
CREATE INDEX alerts_undelivered_idx ON app.alerts (created_at) WHERE delivered_at IS NULL AND given_up IS NULL;

-- Where an owner is told: a Discord webhook, whose address is a secret.
CREATE TABLE app.alert_destinations (
    user_id uuid NOT NULL,
    webhook_sealed text NOT NULL,
    key_id text NOT NULL,
    -- Shown to the owner, to tell which one it is.
    webhook_id text NOT NULL,
    -- Discord said that there is no such webhook: it is not called again.
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT alert_destinations_pkey PRIMARY KEY (user_id),
    CONSTRAINT alert_destinations_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT alert_destinations_webhook_id_check CHECK (webhook_id ~ '^[0-9]{1,20}$'),
    CONSTRAINT alert_destinations_key_id_length_check CHECK (length(key_id) BETWEEN 1 AND 64)
);

CREATE TRIGGER alert_destinations_set_updated_at
BEFORE UPDATE ON app.alert_destinations
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE INDEX alert_destinations_key_id_idx ON app.alert_destinations (key_id, user_id);

-- One row: when the sweep last looked, so that a late one does not accuse everybody.
CREATE TABLE app.sweep_state (
    id boolean NOT NULL DEFAULT true,
    swept_at timestamptz,
    -- Whether that one came late and gave everybody more time.
    was_late boolean NOT NULL DEFAULT false,
    pruned_at timestamptz,
    -- The provider of machines has had enough until then.
    provider_paused_until timestamptz,
    -- Counts the sweeps that looked.
    sweeps bigint NOT NULL DEFAULT 0,
    CONSTRAINT sweep_state_pkey PRIMARY KEY (id),
    CONSTRAINT sweep_state_one_row_check CHECK (id)
);

INSERT INTO app.sweep_state DEFAULT VALUES;

-- What the provider offers (regions, sizes), as it was last fetched.
CREATE TABLE app.provider_options (
    name text NOT NULL,
    document jsonb,
    fetched_at timestamptz,
    attempted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT provider_options_pkey PRIMARY KEY (name),
    CONSTRAINT provider_options_name_check CHECK (name IN ('regions', 'sizes'))
);


-- Capabilities are the catalog's: a permission for one is made by the function, which asks the catalog.

DROP POLICY agent_tool_capability_permissions_insert ON public.agent_tool_capability_permissions;
REVOKE INSERT ON public.agent_tool_capability_permissions FROM authenticated;


-- Rights: the server's alone

ALTER TABLE app.machine_attempts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.toolbox_flips ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.alerts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.alert_destinations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.sweep_state ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.provider_options ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

REVOKE ALL ON
    app.machine_attempts, app.toolbox_flips, app.alerts, app.alert_destinations, app.sweep_state, app.provider_options
FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    app.machine_attempts,
    app.toolbox_flips,
    app.alerts,
    app.alert_destinations,
    app.sweep_state,
    app.provider_options
TO service_role;


-- A toolbox that vanishes with its owner leaves a machine behind: whoever deletes the row asks for its end.
--
-- A definer, because those who delete their account may not write jobs.
CREATE FUNCTION app.abandon_machine()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    INSERT INTO app.jobs AS kept (kind, key, max_attempts)
    SELECT 'toolbox_machine', OLD.id::text, 1000000
    WHERE EXISTS (
        SELECT 1
        FROM app.machine_attempts AS attempt
        WHERE attempt.toolbox_id = OLD.id
          AND attempt.ended_at IS NULL
    )
    ON CONFLICT (kind, key) DO UPDATE
    SET requested = kept.requested + 1,
        run_after = least(kept.run_after, excluded.run_after),
        attempts = 0,
        outcome = NULL,
        finished_at = NULL;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION app.abandon_machine() FROM PUBLIC, anon, authenticated, service_role;

CREATE TRIGGER account_tool_environments_abandon_machine
AFTER DELETE ON public.account_tool_environments
FOR EACH ROW EXECUTE FUNCTION app.abandon_machine();


-- The catalog's first tools. Each is a public MCP server with an image of its own; its capabilities are its tools by the names under
-- which it lists them. `requires_approval` marks what changes something outside. Digests are the operator's to pin;
-- until then an image is what its publisher calls the latest.

INSERT INTO public.tool_catalog (
    id, tool_name, description, developer_org_name, categories, documentation_url, package_identifier, version,
    required_config_schema, required_secrets_schema, required_capabilities_schema, resource_requirements
)
VALUES
(
    '00000000-0000-4000-9000-000000000001',
    'github',
    'Repositories, issues and pull requests on GitHub.',
    'GitHub',
    '{development}',
    'https://github.com/github/github-mcp-server',
    'ghcr.io/github/github-mcp-server',
    'latest',
    '{
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "GITHUB_HOST": {"type": "string", "format": "uri", "pattern": "^https://", "maxLength": 200},
            "GITHUB_READ_ONLY": {"type": "string", "enum": ["0", "1"]},
            "GITHUB_TOOLSETS": {"type": "string", "pattern": "^[a-z_]+(,[a-z_]+)*$", "maxLength": 200}
        }
    }',
    '[{"name": "personal_access_token", "env_var_name": "GITHUB_PERSONAL_ACCESS_TOKEN",
       "description": "A personal access token with the rights that the agent should have.", "type": "github_token"}]',
    '[{"name": "get_me"}, {"name": "search_repositories"}, {"name": "get_file_contents"}, {"name": "list_issues"},
      {"name": "list_pull_requests"}, {"name": "add_issue_comment", "requires_approval": true},
      {"name": "create_pull_request", "requires_approval": true}, {"name": "push_files", "requires_approval": true}]',
    '{"cpus": 0.5, "memory_mb": 512}'
),
(
    '00000000-0000-4000-9000-000000000002',
    'playwright',
    'A browser: pages opened, read and operated.',
    'Microsoft',
    '{browser}',
    'https://github.com/microsoft/playwright-mcp',
    'mcr.microsoft.com/playwright/mcp',
    'latest',
    '{
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "PLAYWRIGHT_MCP_ALLOWED_HOSTS": {"type": "string", "maxLength": 1000},
            "PLAYWRIGHT_MCP_VIEWPORT_SIZE": {"type": "string", "pattern": "^[0-9]{2,4}x[0-9]{2,4}$"}
        }
    }',
    '[]',
    '[{"name": "browser_navigate"}, {"name": "browser_snapshot"}, {"name": "browser_take_screenshot"},
      {"name": "browser_click", "requires_approval": true}, {"name": "browser_type", "requires_approval": true}]',
    '{"cpus": 1, "memory_mb": 2048}'
),
(
    '00000000-0000-4000-9000-000000000003',
    'brave-search',
    'Web and local search by Brave.',
    'Brave',
    '{search}',
    'https://github.com/brave/brave-search-mcp-server',
    'docker.io/mcp/brave-search',
    'latest',
    '{"type": "object", "additionalProperties": false, "properties": {}}',
    '[{"name": "api_key", "env_var_name": "BRAVE_API_KEY", "description": "A key of the Brave Search API.",
       "type": "brave_api_key"}]',
    '[{"name": "brave_web_search"}, {"name": "brave_local_search"}]',
    '{"cpus": 0.25, "memory_mb": 256}'
),
(
    '00000000-0000-4000-9000-000000000004',
    'fetch',
    'Pages of the web as Markdown.',
    'Model Context Protocol',
    '{web}',
    'https://github.com/modelcontextprotocol/servers/tree/main/src/fetch',
    'docker.io/mcp/fetch',
    'latest',
    '{"type": "object", "additionalProperties": false, "properties": {}}',
    '[]',
    '[{"name": "fetch"}]',
    '{"cpus": 0.25, "memory_mb": 256}'
),
(
    '00000000-0000-4000-9000-000000000005',
    'time',
    'The time of day, and of other time zones.',
    'Model Context Protocol',
    '{utility}',
    'https://github.com/modelcontextprotocol/servers/tree/main/src/time',
    'docker.io/mcp/time',
    'latest',
    '{
        "type": "object",
        "additionalProperties": false,
        "properties": {"LOCAL_TIMEZONE": {"type": "string", "pattern": "^[A-Za-z_+-]+(/[A-Za-z0-9_+-]+)*$", "maxLength": 64}}
    }',
    '[]',
    '[{"name": "get_current_time"}, {"name": "convert_time"}]',
    '{"cpus": 0.25, "memory_mb": 128}'
),
(
    '00000000-0000-4000-9000-000000000006',
    'grafana',
    'Dashboards, data sources and queries of a Grafana.',
    'Grafana Labs',
    '{observability}',
    'https://github.com/grafana/mcp-grafana',
    'docker.io/grafana/mcp-grafana',
    'latest',
    '{
        "type": "object",
        "additionalProperties": false,
        "required": ["GRAFANA_URL"],
        "properties": {"GRAFANA_URL": {"type": "string", "format": "uri", "pattern": "^https://", "maxLength": 200}}
    }',
    '[{"name": "service_account_token", "env_var_name": "GRAFANA_SERVICE_ACCOUNT_TOKEN",
       "description": "The token of a service account.", "type": "grafana_token"}]',
    '[{"name": "search_dashboards"}, {"name": "list_datasources"}, {"name": "query_prometheus"},
      {"name": "update_dashboard", "requires_approval": true}]',
    '{"cpus": 0.5, "memory_mb": 256}'
)
ON CONFLICT (tool_name) DO NOTHING;
