-- What agents know: vector and memory stores of a user, and which agent reads which.

CREATE TABLE public.datastores (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    type text NOT NULL,
    config jsonb NOT NULL DEFAULT '{}',
    credentials_sealed text,
    similarity_metric text NOT NULL DEFAULT 'cosine',
    similarity_threshold double precision NOT NULL DEFAULT 0.7,
    max_results int NOT NULL DEFAULT 5,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT datastores_pkey PRIMARY KEY (id),
    CONSTRAINT datastores_id_user_id_key UNIQUE (id, user_id),
    CONSTRAINT datastores_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    CONSTRAINT datastores_name_length_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT datastores_description_length_check CHECK (length(description) <= 10000),
    CONSTRAINT datastores_type_check CHECK (type IN ('pinecone', 'getzep', 'pgvector')),
    CONSTRAINT datastores_config_check CHECK (
        jsonb_typeof(config) = 'object'
        AND octet_length(config::text) <= 65536
    ),
    -- Earlier clients kept the store's key here, where every reader of the row has it.
    CONSTRAINT datastores_config_without_credentials_check CHECK (
        NOT config ?| ARRAY['apiKey', 'api_key', 'apikey', 'key', 'password', 'secret', 'token']
    ),
    CONSTRAINT datastores_similarity_metric_check CHECK (similarity_metric IN ('cosine', 'euclidean', 'dot')),
    CONSTRAINT datastores_similarity_threshold_check CHECK (similarity_threshold BETWEEN 0 AND 1),
    CONSTRAINT datastores_max_results_check CHECK (max_results BETWEEN 1 AND 1000)
);

CREATE INDEX datastores_user_id_idx ON public.datastores (user_id, type);

CREATE TABLE public.agent_datastores (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid(),
    agent_id uuid NOT NULL,
    datastore_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agent_datastores_pkey PRIMARY KEY (id),
    CONSTRAINT agent_datastores_agent_id_datastore_id_key UNIQUE (agent_id, datastore_id),
    CONSTRAINT agent_datastores_agent_id_fkey FOREIGN KEY (agent_id, user_id)
        REFERENCES public.agents (id, user_id) ON DELETE CASCADE,
    CONSTRAINT agent_datastores_datastore_id_fkey FOREIGN KEY (datastore_id, user_id)
        REFERENCES public.datastores (id, user_id) ON DELETE CASCADE
);

CREATE INDEX agent_datastores_datastore_id_idx ON public.agent_datastores (datastore_id);
CREATE INDEX agent_datastores_user_id_idx ON public.agent_datastores (user_id);

CREATE TRIGGER datastores_set_updated_at
BEFORE UPDATE ON public.datastores
FOR EACH ROW EXECUTE FUNCTION app.set_updated_at();


-- Rights

ALTER TABLE public.datastores ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE public.agent_datastores ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

REVOKE ALL ON public.datastores, public.agent_datastores FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.datastores, public.agent_datastores TO service_role;

-- Without credentials_sealed, which only the server reads and writes.
GRANT SELECT (
    id, user_id, name, description, type, config, similarity_metric, similarity_threshold, max_results, created_at,
    updated_at
) ON public.datastores TO authenticated;
GRANT INSERT (
    user_id, name, description, type, config, similarity_metric, similarity_threshold, max_results
) ON public.datastores TO authenticated;
GRANT UPDATE (
    name, description, type, config, similarity_metric, similarity_threshold, max_results
) ON public.datastores TO authenticated;
GRANT DELETE ON public.datastores TO authenticated;

CREATE POLICY datastores_select ON public.datastores
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY datastores_insert ON public.datastores
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY datastores_update ON public.datastores
FOR UPDATE TO authenticated
USING (user_id = (SELECT auth.uid()))
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY datastores_delete ON public.datastores
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.agent_datastores TO authenticated;
GRANT INSERT (user_id, agent_id, datastore_id) ON public.agent_datastores TO authenticated;

CREATE POLICY agent_datastores_select ON public.agent_datastores
FOR SELECT TO authenticated
USING (user_id = (SELECT auth.uid()));

CREATE POLICY agent_datastores_insert ON public.agent_datastores
FOR INSERT TO authenticated
WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY agent_datastores_delete ON public.agent_datastores
FOR DELETE TO authenticated
USING (user_id = (SELECT auth.uid()));
