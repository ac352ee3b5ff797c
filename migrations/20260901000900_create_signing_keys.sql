-- The published keys that sign users' tokens, as they were last fetched. Instances of functions live for seconds;
-- what they fetched outlives them here.
CREATE TABLE app.signing_keys (
    url text NOT NULL,
    -- A JSON Web Key Set (RFC 7517); null until the first fetch succeeds.
    document jsonb,
    fetched_at timestamptz,
    -- When somebody was last asked to fetch it, which keeps tokens with made-up key ids from becoming requests to its
    -- source.
    attempted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT signing_keys_pkey PRIMARY KEY (url),
    CONSTRAINT signing_keys_url_length_check CHECK (length(url) BETWEEN 1 AND 2000),
    CONSTRAINT signing_keys_fetched_at_check CHECK ((document IS NULL) = (fetched_at IS NULL))
);

ALTER TABLE app.signing_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.signing_keys FORCE ROW LEVEL SECURITY;

REVOKE ALL ON app.signing_keys FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON app.signing_keys TO service_role;
