-- One tenant with a row in every table of ours, whose rows nobody else may see or touch. A superuser loads it into a migrated
-- database. A new table needs a row here: a test counts.
--
-- All ids are of the form 00000000-0000-4000-a000-0000000000xx, where the tenant is …a0. What stands in columns of secrets
-- begins with "canary": it must not come out anywhere.

INSERT INTO auth.users (id, email, email_confirmed_at, raw_user_meta_data)
VALUES ('00000000-0000-4000-a000-0000000000a0', 'tenant@example.com', now(), '{"full_name": "Tenant"}');

INSERT INTO public.profiles (id, full_name, mobile, company_name)
VALUES ('00000000-0000-4000-a000-0000000000a0', 'Tenant', '+49 30 1234567', 'Tenant & Co');

INSERT INTO public.user_roles (user_id, role_id)
SELECT '00000000-0000-4000-a000-0000000000a0', role.id
FROM public.roles AS role
WHERE role.name = 'user';

INSERT INTO public.agents (id, user_id, name, system_instructions)
VALUES
    ('00000000-0000-4000-a000-000000000001', '00000000-0000-4000-a000-0000000000a0', 'Agent', 'Be brief.'),
    ('00000000-0000-4000-a000-000000000002', '00000000-0000-4000-a000-0000000000a0', 'Second agent', NULL);

INSERT INTO public.teams (id, name, owner_user_id)
VALUES ('00000000-0000-4000-a000-000000000010', 'Team', '00000000-0000-4000-a000-0000000000a0');

INSERT INTO public.team_members (team_id, agent_id, team_role)
VALUES ('00000000-0000-4000-a000-000000000010', '00000000-0000-4000-a000-000000000001', 'lead');

INSERT INTO public.user_team_memberships (id, user_id, team_id)
VALUES (
    '00000000-0000-4000-a000-000000000011',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000010'
);

INSERT INTO public.team_invitations (id, team_id, invited_email, invited_by_user_id)
VALUES (
    '00000000-0000-4000-a000-000000000012',
    '00000000-0000-4000-a000-000000000010',
    'friend@example.com',
    '00000000-0000-4000-a000-0000000000a0'
);

INSERT INTO public.mcp_configurations (id, user_id, agent_id, is_enabled)
OVERRIDING SYSTEM VALUE
VALUES (9001, '00000000-0000-4000-a000-0000000000a0', '00000000-0000-4000-a000-000000000001', true);

INSERT INTO public.mcp_servers (id, user_id, config_id, name, endpoint_url, api_key_sealed)
OVERRIDING SYSTEM VALUE
VALUES (
    9001,
    '00000000-0000-4000-a000-0000000000a0',
    9001,
    'Server',
    'https://mcp.example.com',
    'canary-sealed-key'
);

INSERT INTO public.workspaces (id, name, owner_user_id)
VALUES ('00000000-0000-4000-a000-000000000020', 'Workspace', '00000000-0000-4000-a000-0000000000a0');

INSERT INTO public.workspace_members (id, workspace_id, agent_id, added_by_user_id)
VALUES (
    '00000000-0000-4000-a000-000000000021',
    '00000000-0000-4000-a000-000000000020',
    '00000000-0000-4000-a000-000000000001',
    '00000000-0000-4000-a000-0000000000a0'
);

INSERT INTO public.workspace_invitations (id, workspace_id, invited_email, invited_by_user_id)
VALUES (
    '00000000-0000-4000-a000-000000000022',
    '00000000-0000-4000-a000-000000000020',
    'friend@example.com',
    '00000000-0000-4000-a000-0000000000a0'
);

INSERT INTO public.chat_channels (id, workspace_id, name)
VALUES ('00000000-0000-4000-a000-000000000023', '00000000-0000-4000-a000-000000000020', 'general');

INSERT INTO public.direct_conversations (id, user_id, agent_id)
VALUES (
    '00000000-0000-4000-a000-000000000024',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000001'
);

INSERT INTO public.outside_conversations (id, agent_id, provider, external_channel_id)
VALUES (
    '00000000-0000-4000-a000-000000000025',
    '00000000-0000-4000-a000-000000000001',
    'discord',
    '123456789012345678'
);

INSERT INTO public.chat_messages (id, channel_id, direct_conversation_id, sender_kind, sender_user_id, content)
VALUES
    (
        '00000000-0000-4000-a000-000000000026',
        '00000000-0000-4000-a000-000000000023',
        NULL,
        'user',
        '00000000-0000-4000-a000-0000000000a0',
        'In the channel'
    ),
    (
        '00000000-0000-4000-a000-000000000027',
        NULL,
        '00000000-0000-4000-a000-000000000024',
        'user',
        '00000000-0000-4000-a000-0000000000a0',
        'To the agent'
    );

INSERT INTO public.chat_messages (
    id, outside_conversation_id, direct_conversation_id, sender_kind, sender_agent_id, sender_external_id, sender_name,
    content, reply_to_message_id
)
VALUES
    (
        '00000000-0000-4000-a000-000000000028',
        '00000000-0000-4000-a000-000000000025',
        NULL,
        'outside',
        NULL,
        '323456789012345678',
        'somebody',
        'From outside',
        NULL
    ),
    (
        '00000000-0000-4000-a000-000000000029',
        NULL,
        '00000000-0000-4000-a000-000000000024',
        'agent',
        '00000000-0000-4000-a000-000000000001',
        NULL,
        NULL,
        'To the tenant',
        '00000000-0000-4000-a000-000000000027'
    );

INSERT INTO public.datastores (id, user_id, name, type, config, credentials_sealed)
VALUES (
    '00000000-0000-4000-a000-000000000030',
    '00000000-0000-4000-a000-0000000000a0',
    'Datastore',
    'pinecone',
    '{"indexName": "notes"}',
    'canary-sealed-credentials'
);

INSERT INTO public.agent_datastores (id, user_id, agent_id, datastore_id)
VALUES (
    '00000000-0000-4000-a000-000000000031',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000001',
    '00000000-0000-4000-a000-000000000030'
);

INSERT INTO public.tool_catalog (id, tool_name, package_identifier)
VALUES ('00000000-0000-4000-a000-000000000040', 'browser', 'registry.example.com/browser');

INSERT INTO public.account_tool_environments (
    id, user_id, name, status, region_slug, size_slug, do_droplet_id, public_ip_address, token_hash,
    bootstrap_token_hash, bootstrap_expires_at
)
VALUES (
    '00000000-0000-4000-a000-000000000041',
    '00000000-0000-4000-a000-0000000000a0',
    'Toolbox',
    'active',
    'fra1',
    's-1vcpu-1gb',
    4711,
    '203.0.113.7',
    sha256('canary-token'),
    sha256('canary-bootstrap-token'),
    now() + interval '1 hour'
);

INSERT INTO public.account_tool_instances (
    id, user_id, account_tool_environment_id, tool_catalog_id, instance_name_on_toolbox, status_on_toolbox
)
VALUES (
    '00000000-0000-4000-a000-000000000042',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000041',
    '00000000-0000-4000-a000-000000000040',
    'browser-1',
    'running'
);

INSERT INTO public.agent_toolbox_access (id, user_id, agent_id, account_tool_environment_id)
VALUES (
    '00000000-0000-4000-a000-000000000043',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000001',
    '00000000-0000-4000-a000-000000000041'
);

INSERT INTO public.agent_toolbelt_items (id, user_id, agent_id, account_tool_instance_id, account_tool_environment_id)
VALUES (
    '00000000-0000-4000-a000-000000000044',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000001',
    '00000000-0000-4000-a000-000000000042',
    '00000000-0000-4000-a000-000000000041'
);

INSERT INTO public.agent_tool_credentials (
    id, user_id, agent_toolbelt_item_id, credential_type, encrypted_credentials
)
VALUES (
    '00000000-0000-4000-a000-000000000045',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000044',
    'api_key',
    'canary-sealed-tool-credentials'
);

INSERT INTO public.agent_tool_capability_permissions (
    id, user_id, agent_toolbelt_item_id, capability_name, is_allowed
)
VALUES (
    '00000000-0000-4000-a000-000000000046',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000044',
    'open_page',
    true
);

INSERT INTO public.agent_discord_connections (
    id, user_id, agent_id, guild_id, discord_app_id, discord_public_key, worker_token_hash, bot_token_sealed,
    bot_token_key_id, bot_token_fingerprint
)
VALUES (
    '00000000-0000-4000-a000-000000000050',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000001',
    NULL,
    '423456789012345678',
    repeat('ab', 32),
    sha256('canary-worker-token'),
    'canary-sealed-bot-token',
    'first',
    sha256('canary-bot-token')
);

INSERT INTO public.agent_discord_connections (id, user_id, agent_id, guild_id, discord_app_id, discord_public_key)
VALUES (
    '00000000-0000-4000-a000-000000000051',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000001',
    '223456789012345678',
    '423456789012345678',
    repeat('ab', 32)
);

INSERT INTO app.jobs (id, kind, key, payload)
VALUES ('00000000-0000-4000-a000-000000000060', 'provision_toolbox', '00000000-0000-4000-a000-000000000041', '{}');

INSERT INTO app.rate_limits (key, tat)
VALUES ('tenant', now());

INSERT INTO app.idempotency_keys (
    user_id, operation, key, request_hash, status, lease_id, lease_expires_at, resource_id, expires_at
)
VALUES (
    '00000000-0000-4000-a000-0000000000a0',
    'chat',
    'key',
    'hash',
    'running',
    gen_random_uuid(),
    now() + interval '1 minute',
    '00000000-0000-4000-a000-000000000061',
    now() + interval '1 day'
);

INSERT INTO app.chat_turns (
    id, user_id, agent_id, conversation_kind, conversation_id, user_message_id, idempotency_key, lease_id,
    lease_expires_at
)
VALUES (
    '00000000-0000-4000-a000-000000000061',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000001',
    'direct',
    '00000000-0000-4000-a000-000000000024',
    '00000000-0000-4000-a000-000000000027',
    'key',
    gen_random_uuid(),
    now() + interval '1 minute'
);

INSERT INTO app.usage_records (id, user_id, agent_id, turn_id, model, provider, outcome)
VALUES (
    '00000000-0000-4000-a000-000000000062',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000001',
    '00000000-0000-4000-a000-000000000061',
    'gpt-4o-mini',
    'openai',
    'completed'
);

INSERT INTO app.signing_keys (url)
VALUES ('https://tenant.supabase.example/auth/v1/.well-known/jwks.json');

INSERT INTO app.machine_attempts (id, toolbox_id, user_id, droplet_id, boot_deadline)
VALUES (
    '00000000-0000-4000-a000-000000000070',
    '00000000-0000-4000-a000-000000000041',
    '00000000-0000-4000-a000-0000000000a0',
    4711,
    now() + interval '10 minutes'
);

INSERT INTO app.alerts (id, user_id, kind, entries, total)
VALUES (
    '00000000-0000-4000-a000-000000000071',
    '00000000-0000-4000-a000-0000000000a0',
    'silent',
    '[{"toolbox_id": "00000000-0000-4000-a000-000000000041", "name": "Toolbox", "at": "2026-09-01T00:00:00Z"}]',
    1
);

INSERT INTO app.toolbox_flips (toolbox_id, user_id, toolbox_name, direction, at, alert_id)
VALUES (
    '00000000-0000-4000-a000-000000000041',
    '00000000-0000-4000-a000-0000000000a0',
    'Toolbox',
    'silent',
    now(),
    '00000000-0000-4000-a000-000000000071'
);

INSERT INTO app.alert_destinations (user_id, webhook_sealed, key_id, webhook_id)
VALUES ('00000000-0000-4000-a000-0000000000a0', 'canary-sealed-webhook', 'a', '123456789012345678');

INSERT INTO app.provider_options (name, document)
VALUES ('regions', '[]');

INSERT INTO app.discord_interactions (interaction_id, application_id, public_key, kind, response)
VALUES ('123456789012345678', '123456789012345679', repeat('a', 64), 'agents', '{"agents": [], "total": 0}');

INSERT INTO app.discord_interactions (
    interaction_id, application_id, public_key, id, kind, user_id, agent_id, agent_name, guild_id, channel_id, author_id,
    author_name, message, token_sealed, expires_at, answer, parts_begun
)
VALUES (
    '123456789012345670',
    '423456789012345678',
    repeat('ab', 32),
    '00000000-0000-4000-a000-000000000052',
    'ask',
    '00000000-0000-4000-a000-0000000000a0',
    '00000000-0000-4000-a000-000000000001',
    'Agent',
    '223456789012345678',
    '123456789012345678',
    '323456789012345678',
    'somebody',
    'canary-question',
    'canary-sealed-interaction-token',
    now() + interval '14 minutes',
    'canary-answer',
    1
);

INSERT INTO app.discord_starts (application_id, since, starts)
VALUES ('423456789012345678', now(), 1);
