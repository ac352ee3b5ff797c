-- What Discord's interactions were answered with: one that is delivered again gets the same answer, and has no second effect.

-- Whoever has a connection chooses its application and its key, and signs any interaction id with it. So both are part of the primary
-- key: nobody can answer beforehand for somebody else's application.
CREATE TABLE app.discord_interactions (
    interaction_id text NOT NULL,
    application_id text NOT NULL,
    public_key text NOT NULL,
    kind text NOT NULL,
    response jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT discord_interactions_pkey PRIMARY KEY (interaction_id, application_id, public_key),
    CONSTRAINT discord_interactions_interaction_id_check CHECK (interaction_id ~ '^[0-9]{1,20}$'),
    CONSTRAINT discord_interactions_application_id_check CHECK (application_id ~ '^[0-9]{1,20}$'),
    CONSTRAINT discord_interactions_public_key_check CHECK (public_key ~ '^[0-9a-f]{64}$'),
    CONSTRAINT discord_interactions_kind_check CHECK (kind IN ('agents', 'status', 'choices'))
);

CREATE INDEX discord_interactions_created_at_idx ON app.discord_interactions (created_at);


-- Rights: the server's alone

ALTER TABLE app.discord_interactions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

REVOKE ALL ON app.discord_interactions FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON app.discord_interactions TO service_role;
