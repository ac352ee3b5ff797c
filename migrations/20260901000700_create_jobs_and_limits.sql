-- What the server alone keeps, in schema app: durable jobs, rate limits, idempotency keys, chat turns and usage.

-- Work that must be finished even if the request that began it dies. One row per (kind, key): asking twice is asking
-- once.
CREATE TABLE app.jobs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    kind text NOT NULL,
    key text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    attempts int NOT NULL DEFAULT 0,
    max_attempts int NOT NULL DEFAULT 10,
    run_after timestamptz NOT NULL DEFAULT now(),
    lease_id uuid,
    lease_expires_at timestamptz,
    -- Null while there is something left to do.
    outcome text,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT jobs_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_kind_key_key UNIQUE (kind, key),
    CONSTRAINT jobs_kind_length_check CHECK (length(kind) BETWEEN 1 AND 100),
    CONSTRAINT jobs_key_length_check CHECK (length(key) BETWEEN 1 AND 255),
    CONSTRAINT jobs_attempts_check CHECK (attempts BETWEEN 0 AND max_attempts),
    CONSTRAINT jobs_outcome_check CHECK (outcome IN ('succeeded', 'failed', 'cancelled')),
    CONSTRAINT jobs_finished_at_check CHECK ((outcome IS NULL) = (finished_at IS NULL)),
    CONSTRAINT jobs_lease_check CHECK ((lease_id IS NULL) = (lease_expires_at IS NULL))
);

CREATE INDEX jobs_due_idx ON app.jobs (run_after) WHERE outcome IS NULL;

-- One theoretical arrival time per limited key (GCRA). Unlogged: a crash forgets it, and lets through at most a
-- burst.
CREATE UNLOGGED TABLE app.rate_limits (
    key text NOT NULL,
    tat timestamptz NOT NULL,
    CONSTRAINT rate_limits_pkey PRIMARY KEY (key)
)
WITH (fillfactor = 70);

-- A request that carries a key is done once; asked again it gets the stored response.
CREATE TABLE app.idempotency_keys (
    user_id uuid NOT NULL,
    operation text NOT NULL,
    key text NOT NULL,
    -- Of the request's content: the same key with another request is refused.
    request_hash text NOT NULL,
    status text NOT NULL,
    lease_id uuid NOT NULL,
    lease_expires_at timestamptz NOT NULL,
    -- The id of what the request makes, kept by whoever takes it over: a chat turn, a message.
    resource_id uuid NOT NULL,
    response jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, operation, key),
    CONSTRAINT idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT idempotency_keys_key_length_check CHECK (length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_status_check CHECK (status IN ('running', 'completed', 'failed')),
    CONSTRAINT idempotency_keys_response_check CHECK ((status = 'completed') = (response IS NOT NULL))
);

CREATE INDEX idempotency_keys_expires_at_idx ON app.idempotency_keys (expires_at);

-- One exchange with an agent, from the user's message to the reply. The conversation is named without foreign keys:
-- the reply's own tell whether it is still there.
CREATE TABLE app.chat_turns (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    conversation_kind text NOT NULL,
    conversation_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'running',
    user_message_id uuid NOT NULL,
    agent_message_id uuid,
    idempotency_key text,
    -- Whoever holds the lease may finish the turn; a takeover gives it a new one.
    lease_id uuid NOT NULL,
    lease_expires_at timestamptz NOT NULL,
    model text,
    error_code text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT chat_turns_pkey PRIMARY KEY (id),
    CONSTRAINT chat_turns_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT chat_turns_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES public.agents (id) ON DELETE CASCADE,
    CONSTRAINT chat_turns_conversation_kind_check CHECK (conversation_kind IN ('channel', 'direct', 'outside')),
    CONSTRAINT chat_turns_status_check CHECK (status IN ('running', 'completed', 'failed')),
    CONSTRAINT chat_turns_finished_at_check CHECK ((status = 'running') = (finished_at IS NULL))
)
WITH (fillfactor = 85);

CREATE INDEX chat_turns_user_id_idx ON app.chat_turns (user_id);
CREATE INDEX chat_turns_agent_id_idx ON app.chat_turns (agent_id);

-- What model calls cost, kept when the user or the agent goes.
CREATE TABLE app.usage_records (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid,
    agent_id uuid,
    turn_id uuid,
    model text,
    provider text,
    input_tokens int NOT NULL DEFAULT 0,
    output_tokens int NOT NULL DEFAULT 0,
    milliseconds int NOT NULL DEFAULT 0,
    outcome text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT usage_records_pkey PRIMARY KEY (id),
    CONSTRAINT usage_records_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE SET NULL,
    CONSTRAINT usage_records_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES public.agents (id) ON DELETE SET NULL,
    CONSTRAINT usage_records_input_tokens_check CHECK (input_tokens >= 0),
    CONSTRAINT usage_records_output_tokens_check CHECK (output_tokens >= 0),
    CONSTRAINT usage_records_milliseconds_check CHECK (milliseconds >= 0),
    CONSTRAINT usage_records_outcome_length_check CHECK (length(outcome) BETWEEN 1 AND 100)
);

CREATE INDEX usage_records_user_id_idx ON app.usage_records (user_id, created_at);
CREATE INDEX usage_records_agent_id_idx ON app.usage_records (agent_id, created_at);
CREATE INDEX usage_records_turn_id_idx ON app.usage_records (turn_id);


-- Rights: the server's alone

ALTER TABLE app.jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.rate_limits ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.idempotency_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.chat_turns ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.usage_records ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

REVOKE ALL ON app.jobs, app.rate_limits, app.idempotency_keys, app.chat_turns, app.usage_records
FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    app.jobs,
    app.rate_limits,
    app.idempotency_keys,
    app.chat_turns,
    app.usage_records
TO service_role;
