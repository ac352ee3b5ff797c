-- Toolboxes (a user's machines), the tools deployed on them, and which agent may use which, with what.
--
-- One owner from end to end: agent, toolbox, instance, item, credential and permission carry the owner's id and refer
-- to each other by it. An item also refers to the access that it hangs on, so that taking an agent's access to a
-- toolbox takes the items, credentials and permissions with it.

CREATE TABLE public.account_tool_environments (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    name text,
    description text,
    status text NOT NULL DEFAULT 'inactive',
    region_slug text NOT NULL,
    size_slug text NOT NULL,
    image_slug text NOT NULL DEFAULT 'ubuntu-22-04-x64',
    do_droplet_id bigint,
    do_droplet_name text,
    public_ip_address inet,
    -- SHA-256 of the toolbox's bearer token, and of the single-use one that its first contact exchanges for it.
    token_hash bytea,
    bootstrap_token_hash bytea,
    bootstrap_expires_at timestamptz,
    last_heartbeat_at timestamptz,
    dtma_last_known_version text,
    dtma_health_details_json jsonb,
    provisioning_error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT account_tool_environments_pkey PRIMARY KEY (id),
    CONSTRAINT account_tool_environments_id_user_id_key UNIQUE (id, user_id),
    CONSTRAINT account_tool_environments_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT account_tool_environments_do_droplet_id_key UNIQUE (do_droplet_id),
    CONSTRAINT account_tool_environments_token_hash_key UNIQUE (token_hash),
    CONSTRAINT account_tool_environments_bootstrap_token_hash_key UNIQUE (bootstrap_token_hash),
    CONSTRAINT account_tool_environments_name_length_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT account_tool_environments_description_length_check CHECK (length(description) <= 10000),
    CONSTRAINT account_tool_environments_status_check CHECK (
        status IN (
            'inactive', 'pending_provision', 'provisioning', 'awaiting_heartbeat', 'active', 'unresponsive', 'paused',
            'scaling', 'error_provisioning', 'pending_deprovision', 'deprovisioning', 'deprovisioned',
            'error_deprovisioning',
            -- From before provisioning had these names.
            'pending_creation', 'creating', 'error_creation', 'pending_deletion', 'deleting', 'error_deletion'
        )
    ),
    CONSTRAINT account_tool_environments_token_hash_length_check CHECK (octet_length(token_hash) = 32),
    CONSTRAINT account_tool_environments_bootstrap_token_hash_length_check CHECK (
        octet_length(bootstrap_token_hash) = 32
    )
);

CREATE INDEX account_tool_environments_user_id_idx ON public.account_tool_environments (user_id, created_at DESC);

CREATE TABLE public.tool_catalog (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tool_name text NOT NULL,
    -- Two generations of clients know some columns by two names: one is written, the other follows.
    name text NOT NULL GENERATED ALWAYS AS (tool_name) STORED,
    description text,
    developer_org_name text,
    provider text GENERATED ALWAYS AS (developer_org_name) STORED,
    categories text[] NOT NULL DEFAULT '{}',
    category text GENERATED ALWAYS AS (categories[1]) STORED,
    icon_url text,
    documentation_url text,
    packaging_type text NOT NULL DEFAULT 'docker_image',
    package_identifier text NOT NULL,
    docker_image_url text NOT NULL GENERATED ALWAYS AS (package_identifier) STORED,
    version text NOT NULL DEFAULT '1.0.0',
    version_info jsonb NOT NULL DEFAULT '{}',
    default_config_template jsonb,
    required_config_schema jsonb,
    required_secrets_schema jsonb NOT NULL DEFAULT '[]',
    required_capabilities_schema jsonb,
    resource_requirements jsonb,
    status text NOT NULL DEFAULT 'available',
    is_public boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tool_catalog_pkey PRIMARY KEY (id),
    CONSTRAINT tool_catalog_tool_name_key UNIQUE (tool_name),
    CONSTRAINT tool_catalog_tool_name_length_check CHECK (length(tool_name) BETWEEN 1 AND 200),
    CONSTRAINT tool_catalog_packaging_type_check CHECK (packaging_type IN ('docker_image')),
    CONSTRAINT tool_catalog_required_secrets_schema_check CHECK (jsonb_typeof(required_secrets_schema) = 'array'),
    CONSTRAINT tool_catalog_status_check CHECK (
        status IN ('available', 'beta', 'experimental', 'deprecated', 'archived')
    )
);

CREATE INDEX tool_catalog_categories_idx ON public.tool_catalog USING gin (categories);

CREATE TABLE public.account_tool_instances (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    account_tool_environment_id uuid NOT NULL,
    tool_catalog_id uuid NOT NULL,
    instance_name_on_toolbox text NOT NULL,
    status_on_toolbox text NOT NULL DEFAULT 'pending_deploy',
    config_values jsonb,
    base_config_override_json jsonb,
    port_mapping_json jsonb,
    version text,
    last_heartbeat_from_dtma timestamptz,
    instance_error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT account_tool_instances_pkey PRIMARY KEY (id),
    CONSTRAINT account_tool_instances_id_environment_id_user_id_key
        UNIQUE (id, account_tool_environment_id, user_id),
    CONSTRAINT account_tool_instances_environment_id_name_key
        UNIQUE (account_tool_environment_id, instance_name_on_toolbox),
    CONSTRAINT account_tool_instances_environment_id_fkey FOREIGN KEY (account_tool_environment_id, user_id)
        REFERENCES public.account_tool_environments (id, user_id) ON DELETE CASCADE,
    CONSTRAINT account_tool_instances_tool_catalog_id_fkey FOREIGN KEY (tool_catalog_id)
        REFERENCES public.tool_catalog (id) ON DELETE RESTRICT,
    -- What container runtimes accept as a name.
    CONSTRAINT account_tool_instances_name_check CHECK (
        instance_name_on_toolbox ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$'
    ),
    CONSTRAINT account_tool_instances_status_on_toolbox_check CHECK (
        status_on_toolbox IN (
            'pending_deploy', 'deploying', 'pending_config', 'starting', 'running', 'stopping', 'stopped', 'disabled',
            'error', 'error_runtime', 'pending_delete', 'deleting',
            -- From before deploying had these names.
            'pending_install', 'installing', 'active', 'error_install', 'pending_uninstall', 'uninstalling',
            'uninstalled', 'error_uninstall'
        )
    )
);

CREATE INDEX account_tool_instances_tool_catalog_id_idx ON public.account_tool_instances (tool_catalog_id);
CREATE INDEX account_tool_instances_user_id_idx ON public.account_tool_instances (user_id);
CREATE INDEX account_tool_instances_status_on_toolbox_idx ON public.account_tool_instances (status_on_toolbox);

CREATE TABLE public.agent_toolbox_access (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    agent_id uuid NOT NULL,
    account_tool_environment_id uuid NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agent_toolbox_access_pkey PRIMARY KEY (id),
    CONSTRAINT agent_toolbox_access_agent_id_environment_id_key UNIQUE (agent_id, account_tool_environment_id),
    CONSTRAINT agent_toolbox_access_agent_id_fkey FOREIGN KEY (agent_id, user_id)
        REFERENCES public.agents (id, user_id) ON DELETE CASCADE,
    CONSTRAINT agent_toolbox_access_environment_id_fkey FOREIGN KEY (account_tool_environment_id, user_id)
        REFERENCES public.account_tool_environments (id, user_id) ON DELETE CASCADE
);

CREATE INDEX agent_toolbox_access_environment_id_idx ON public.agent_toolbox_access (account_tool_environment_id);
CREATE INDEX agent_toolbox_access_user_id_idx ON public.agent_toolbox_access (user_id);

CREATE TABLE public.agent_toolbelt_items (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    agent_id uuid NOT NULL,
    account_tool_instance_id uuid NOT NULL,
    -- The instance's toolbox, to which the agent must have access.
    account_tool_environment_id uuid NOT NULL,
    is_active_for_agent boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agent_toolbelt_items_pkey PRIMARY KEY (id),
    CONSTRAINT agent_toolbelt_items_id_user_id_key UNIQUE (id, user_id),
    CONSTRAINT agent_toolbelt_items_agent_id_instance_id_key UNIQUE (agent_id, account_tool_instance_id),
    CONSTRAINT agent_toolbelt_items_agent_id_fkey FOREIGN KEY (agent_id, user_id)
        REFERENCES public.agents (id, user_id) ON DELETE CASCADE,
    CONSTRAINT agent_toolbelt_items_instance_id_fkey
        FOREIGN KEY (account_tool_instance_id, account_tool_environment_id, user_id)
        REFERENCES public.account_tool_instances (id, account_tool_environment_id, user_id) ON DELETE CASCADE,
    CONSTRAINT agent_toolbelt_items_toolbox_access_fkey FOREIGN KEY (agent_id, account_tool_environment_id)
        REFERENCES public.agent_toolbox_access (agent_id, account_tool_environment_id) ON DELETE CASCADE
);

CREATE INDEX agent_toolbelt_items_instance_id_idx ON public.agent_toolbelt_items (account_tool_instance_id);
CREATE INDEX agent_toolbelt_items_toolbox_access_idx
ON public.agent_toolbelt_items (agent_id, account_tool_environment_id);
CREATE INDEX agent_toolbelt_items_user_id_idx ON public.agent_toolbelt_items (user_id);

CREATE TABLE public.agent_tool_credentials (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    agent_toolbelt_item_id uuid NOT NULL,
    credential_type text NOT NULL,
    -- Sealed by the functions; the database holds no key.
    encrypted_credentials text NOT NULL,
    account_identifier text,
    status text NOT NULL DEFAULT 'active',
    last_validated_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agent_tool_credentials_pkey PRIMARY KEY (id),
    CONSTRAINT agent_tool_credentials_item_id_fkey FOREIGN KEY (agent_toolbelt_item_id, user_id)
        REFERENCES public.agent_toolbelt_items (id, user_id) ON DELETE CASCADE,
    CONSTRAINT agent_tool_credentials_credential_type_length_check CHECK (length(credential_type) BETWEEN 1 AND 200),
    CONSTRAINT agent_tool_credentials_account_identifier_length_check CHECK (length(account_identifier) <= 320),
    CONSTRAINT agent_tool_credentials_status_check CHECK (
        status IN ('pending', 'active', 'expired', 'revoked', 'requires_reauth', 'error')
    )
);

CREATE INDEX agent_tool_credentials_item_id_idx ON public.agent_tool_credentials (agent_toolbelt_item_id);
CREATE INDEX agent_tool_credentials_user_id_idx ON public.agent_tool_credentials (user_id);

-- A tool asks for a credential by its type: there is one answer.
CREATE UNIQUE INDEX agent_tool_credentials_active_key
ON public.agent_tool_credentials (agent_toolbelt_item_id, credential_type)
WHERE status = 'active';

-- A capability without a row is denied.
CREATE TABLE public.agent_tool_capability_permissions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    agent_toolbelt_item_id uuid NOT NULL,
    capability_name text NOT NULL,
    is_allowed boolean NOT NULL DEFAULT false,
    requires_approval boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agent_tool_capability_permissions_pkey PRIMARY KEY (id),
    CONSTRAINT agent_tool_capability_permissions_item_id_capability_key
        UNIQUE (agent_toolbelt_item_id, capability_name),
    CONSTRAINT agent_tool_capability_permissions_item_id_fkey FOREIGN KEY (agent_toolbelt_item_id, user_id)
        REFERENCES public.agent_toolbelt_items (id, user_id) ON DELETE CASCADE,
    CONSTRAINT agent_tool_capability_permissions_name_length_check CHECK (length(capability_name) BETWEEN 1 AND 200)
);

CREATE INDEX agent_tool_capability_permissions_user_id_idx ON public.agent_tool_capability_permissions (user_id);

CREATE TRIGGER account_tool_environments_set_updated_at
BEFORE UPDATE ON public.account_tool_environments
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER tool_catalog_set_updated_at
BEFORE UPDATE ON public.tool_catalog
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER account_tool_instances_set_updated_at
BEFORE UPDATE ON public.account_tool_instances
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER agent_toolbox_access_set_updated_at
BEFORE UPDATE ON public.agent_toolbox_access
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER agent_toolbelt_items_set_updated_at
BEFORE UPDATE ON public.agent_toolbelt_items
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER agent_tool_credentials_set_updated_at
BEFORE UPDATE ON public.agent_tool_credentials
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();

CREATE TRIGGER agent_tool_capability_permissions_set_updated_at
BEFORE UPDATE ON public.agent_tool_capability_permissions
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();


-- Rights. Machines and what runs on them are made and unmade by jobs, so their owners have no INSERT or DELETE here,
-- and update only what is a label.

ALTER TABLE public.account_tool_environments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.tool_catalog ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.account_tool_instances ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.agent_toolbox_access ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.agent_toolbelt_items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.agent_tool_credentials ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.agent_tool_capability_permissions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

REVOKE ALL ON
    public.account_tool_environments,
    public.tool_catalog,
    public.account_tool_instances,
    public.agent_toolbox_access,
    public.agent_toolbelt_items,
    public.agent_tool_credentials,
    public.agent_tool_capability_permissions
FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    public.account_tool_environments,
    public.tool_catalog,
    public.account_tool_instances,
    public.agent_toolbox_access,
    public.agent_toolbelt_items,
    public.agent_tool_credentials,
    public.agent_tool_capability_permissions
TO service_role;

-- Without token_hash, bootstrap_token_hash and bootstrap_expires_at.
GRANT SELECT (
    id, user_id, name, description, status, region_slug, size_slug, image_slug, do_droplet_id, do_droplet_name,
    public_ip_address, last_heartbeat_at, dtma_last_known_version, dtma_health_details_json, provisioning_error_message,
    created_at, updated_at
) ON public.account_tool_environments TO authenticated;
GRANT UPDATE (name, description) ON public.account_tool_environments TO authenticated;

CREATE POLICY account_tool_environments_select ON public.account_tool_environments
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY account_tool_environments_update ON public.account_tool_environments
FOR UPDATE TO authenticated
USING (user_id = (SELECT auth.uid()))
WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT ON public.tool_catalog TO authenticated;

CREATE POLICY tool_catalog_select ON public.tool_catalog
FOR SELECT TO authenticated
USING (is_public AND status <> 'archived');

GRANT SELECT ON public.account_tool_instances TO authenticated;

CREATE POLICY account_tool_instances_select ON public.account_tool_instances
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.agent_toolbox_access TO authenticated;
GRANT INSERT (user_id, agent_id, account_tool_environment_id) ON public.agent_toolbox_access TO authenticated;

CREATE POLICY agent_toolbox_access_select ON public.agent_toolbox_access
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY agent_toolbox_access_insert ON public.agent_toolbox_access
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agent_toolbox_access_delete ON public.agent_toolbox_access
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.agent_toolbelt_items TO authenticated;
GRANT INSERT (user_id, agent_id, account_tool_instance_id, account_tool_environment_id, is_active_for_agent)
ON public.agent_toolbelt_items TO authenticated;
GRANT UPDATE (is_active_for_agent) ON public.agent_toolbelt_items TO authenticated;

CREATE POLICY agent_toolbelt_items_select ON public.agent_toolbelt_items
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY agent_toolbelt_items_insert ON public.agent_toolbelt_items
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agent_toolbelt_items_update ON public.agent_toolbelt_items
FOR UPDATE TO authenticated
USING (user_id = (SELECT auth.uid()))
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agent_toolbelt_items_delete ON public.agent_toolbelt_items
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));

-- Without encrypted_credentials. Sealing is the server's work, so are insertion and change.
GRANT SELECT (
    id, user_id, agent_toolbelt_item_id, credential_type, account_identifier, status, last_validated_at, created_at,
    updated_at
) ON public.agent_tool_credentials TO authenticated;
GRANT DELETE ON public.agent_tool_credentials TO authenticated;

CREATE POLICY agent_tool_credentials_select ON public.agent_tool_credentials
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY agent_tool_credentials_delete ON public.agent_tool_credentials
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.agent_tool_capability_permissions TO authenticated;
GRANT INSERT (user_id, agent_toolbelt_item_id, capability_name, is_allowed, requires_approval)
ON public.agent_tool_capability_permissions TO authenticated;
GRANT UPDATE (is_allowed, requires_approval) ON public.agent_tool_capability_permissions TO authenticated;

CREATE POLICY agent_tool_capability_permissions_select ON public.agent_tool_capability_permissions
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY agent_tool_capability_permissions_insert ON public.agent_tool_capability_permissions
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agent_tool_capability_permissions_update ON public.agent_tool_capability_permissions
FOR UPDATE TO authenticated
USING (user_id = (SELECT auth.uid()))
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agent_tool_capability_permissions_delete ON public.agent_tool_capability_permissions
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));
