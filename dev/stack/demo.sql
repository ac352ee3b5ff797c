-- Two people who share nothing, each with agents, a team, a workspace with two channels, and something already said.
--
-- The ids are fixed, so that documents and tests can name them: the last group is what it is (0 a user, 2 an agent, 3 a
-- team, 4 a workspace, 5 a channel, 6 a direct conversation, 7 a message), then whose (a Ada's, b Grace's), then a number.
-- What is there already stays as it is: loading twice changes nothing, and what somebody edited is not undone.

INSERT INTO auth.users (id, email, email_confirmed_at, raw_user_meta_data)
VALUES
    ('00000000-0000-4000-8000-0000000000a1', 'ada@example.com', now(), '{"full_name": "Ada Lovelace"}'),
    ('00000000-0000-4000-8000-0000000000b1', 'grace@example.com', now(), '{"full_name": "Grace Hopper"}')
ON CONFLICT DO NOTHING;

INSERT INTO public.agents (id, user_id, name, description, system_instructions, assistant_instructions, personality)
VALUES
    (
        '00000000-0000-4000-8000-0000000002a1',
        '00000000-0000-4000-8000-0000000000a1',
        'Atlas',
        'Plans work and keeps track of it.',
        'You help a small team to plan its work. Prefer short lists with an owner and a date for each item.',
        'Ask one question at a time when something is unclear.',
        'Calm and precise.'
    ),
    (
        '00000000-0000-4000-8000-0000000002a2',
        '00000000-0000-4000-8000-0000000000a1',
        'Quill',
        'Writes and edits.',
        'You edit texts. Say what you changed and why, in one line each.',
        NULL,
        'Friendly, with an eye for a better word.'
    ),
    (
        '00000000-0000-4000-8000-0000000002b1',
        '00000000-0000-4000-8000-0000000000b1',
        'Beacon',
        'Answers questions about operations.',
        'You answer questions about running a service. If you do not know, say so.',
        NULL,
        'Brief.'
    )
ON CONFLICT DO NOTHING;

INSERT INTO public.teams (id, owner_user_id, name, description)
VALUES
    (
        '00000000-0000-4000-8000-0000000003a1',
        '00000000-0000-4000-8000-0000000000a1',
        'Analysts',
        'Ada''s agents, together.'
    ),
    (
        '00000000-0000-4000-8000-0000000003b1',
        '00000000-0000-4000-8000-0000000000b1',
        'Watch',
        'Whoever is on duty.'
    )
ON CONFLICT DO NOTHING;

INSERT INTO public.team_members (team_id, agent_id, team_role, reports_to_agent_id, reports_to_user)
VALUES
    (
        '00000000-0000-4000-8000-0000000003a1',
        '00000000-0000-4000-8000-0000000002a1',
        'lead',
        NULL,
        true
    ),
    (
        '00000000-0000-4000-8000-0000000003a1',
        '00000000-0000-4000-8000-0000000002a2',
        'editor',
        '00000000-0000-4000-8000-0000000002a1',
        false
    ),
    (
        '00000000-0000-4000-8000-0000000003b1',
        '00000000-0000-4000-8000-0000000002b1',
        'lead',
        NULL,
        true
    )
ON CONFLICT DO NOTHING;

INSERT INTO public.workspaces (id, owner_user_id, name, description)
VALUES
    (
        '00000000-0000-4000-8000-0000000004a1',
        '00000000-0000-4000-8000-0000000000a1',
        'Engine Room',
        'Where the analytical engine is planned.'
    ),
    (
        '00000000-0000-4000-8000-0000000004b1',
        '00000000-0000-4000-8000-0000000000b1',
        'Harbour',
        'Where the ships report.'
    )
ON CONFLICT DO NOTHING;

INSERT INTO public.workspace_members (workspace_id, user_id, agent_id, team_id, role, added_by_user_id)
VALUES
    (
        '00000000-0000-4000-8000-0000000004a1',
        '00000000-0000-4000-8000-0000000000a1',
        NULL,
        NULL,
        'owner',
        '00000000-0000-4000-8000-0000000000a1'
    ),
    (
        '00000000-0000-4000-8000-0000000004a1',
        NULL,
        '00000000-0000-4000-8000-0000000002a1',
        NULL,
        'planner',
        '00000000-0000-4000-8000-0000000000a1'
    ),
    (
        '00000000-0000-4000-8000-0000000004a1',
        NULL,
        NULL,
        '00000000-0000-4000-8000-0000000003a1',
        'member',
        '00000000-0000-4000-8000-0000000000a1'
    ),
    (
        '00000000-0000-4000-8000-0000000004b1',
        '00000000-0000-4000-8000-0000000000b1',
        NULL,
        NULL,
        'owner',
        '00000000-0000-4000-8000-0000000000b1'
    ),
    (
        '00000000-0000-4000-8000-0000000004b1',
        NULL,
        '00000000-0000-4000-8000-0000000002b1',
        NULL,
        'member',
        '00000000-0000-4000-8000-0000000000b1'
    )
ON CONFLICT DO NOTHING;

INSERT INTO public.chat_channels (id, workspace_id, name, topic)
VALUES
    ('00000000-0000-4000-8000-0000000005a1', '00000000-0000-4000-8000-0000000004a1', 'general', 'Everything'),
    ('00000000-0000-4000-8000-0000000005a2', '00000000-0000-4000-8000-0000000004a1', 'ideas', 'Not yet, but soon'),
    ('00000000-0000-4000-8000-0000000005b1', '00000000-0000-4000-8000-0000000004b1', 'general', 'Everything'),
    ('00000000-0000-4000-8000-0000000005b2', '00000000-0000-4000-8000-0000000004b1', 'ideas', NULL)
ON CONFLICT DO NOTHING;

INSERT INTO public.direct_conversations (id, user_id, agent_id)
VALUES
    (
        '00000000-0000-4000-8000-0000000006a1',
        '00000000-0000-4000-8000-0000000000a1',
        '00000000-0000-4000-8000-0000000002a2'
    )
ON CONFLICT DO NOTHING;

INSERT INTO public.chat_messages (
    id,
    channel_id,
    direct_conversation_id,
    sender_kind,
    sender_user_id,
    sender_agent_id,
    content,
    created_at
)
VALUES
    (
        '00000000-0000-4000-8000-0000000007a1',
        '00000000-0000-4000-8000-0000000005a1',
        NULL,
        'user',
        '00000000-0000-4000-8000-0000000000a1',
        NULL,
        'Good morning! What is left to do before the demonstration on Friday?',
        now() - interval '2 hours'
    ),
    (
        '00000000-0000-4000-8000-0000000007a2',
        '00000000-0000-4000-8000-0000000005a1',
        NULL,
        'agent',
        NULL,
        '00000000-0000-4000-8000-0000000002a1',
        'Three things: the punched cards for the Bernoulli numbers (you, Wednesday), a test run (me, Thursday), and the '
        'invitations (Quill, today).',
        now() - interval '119 minutes'
    ),
    (
        '00000000-0000-4000-8000-0000000007a3',
        '00000000-0000-4000-8000-0000000005a1',
        NULL,
        'agent',
        NULL,
        '00000000-0000-4000-8000-0000000002a2',
        'The invitations are written. I left out the word "revolutionary", twice.',
        now() - interval '90 minutes'
    ),
    (
        '00000000-0000-4000-8000-0000000007a4',
        NULL,
        '00000000-0000-4000-8000-0000000006a1',
        'user',
        '00000000-0000-4000-8000-0000000000a1',
        NULL,
        'Is "weaves algebraic patterns" too much?',
        now() - interval '80 minutes'
    ),
    (
        '00000000-0000-4000-8000-0000000007a5',
        NULL,
        '00000000-0000-4000-8000-0000000006a1',
        'agent',
        NULL,
        '00000000-0000-4000-8000-0000000002a2',
        'Keep it: the loom is the point of the comparison.',
        now() - interval '79 minutes'
    ),
    (
        '00000000-0000-4000-8000-0000000007b1',
        '00000000-0000-4000-8000-0000000005b1',
        NULL,
        'user',
        '00000000-0000-4000-8000-0000000000b1',
        NULL,
        'Relay 70 is stuck again. Please look for a moth.',
        now() - interval '1 day'
    )
ON CONFLICT DO NOTHING;
