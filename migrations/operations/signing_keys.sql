-- The cache of published signing keys.
--
-- Guarantees: a key set is fetched when it is absent, older than ten minutes, or lacks a key that a token names; at most every
-- thirty seconds, or ten while there is none at all, whoever asks. Those who ask in the two seconds after somebody was sent, and
-- before that fetch is done, may fetch too instead of being refused.

-- Input: {"url", "kid"}. Output: {"document": jsonb | null, "fetch": boolean}.
CREATE OR REPLACE FUNCTION api.read_signing_keys(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_keys app.signing_keys;
    v_fetch boolean;
BEGIN
    PERFORM app.become(caller);

    INSERT INTO app.signing_keys (url, attempted_at)
    VALUES (input ->> 'url', v_now)
    ON CONFLICT (url) DO NOTHING;

    SELECT kept.url, kept.document, kept.fetched_at, kept.attempted_at
    INTO v_keys
    FROM app.signing_keys AS kept
    WHERE kept.url = input ->> 'url';

    IF v_keys.fetched_at > v_now - interval '10 minutes'
        AND v_keys.document -> 'keys' @> jsonb_build_array(jsonb_build_object('kid', input ->> 'kid'))
    THEN
        v_fetch := false;
    ELSIF v_keys.attempted_at > v_now - interval '2 seconds'
        AND (v_keys.fetched_at IS NULL OR v_keys.fetched_at < v_keys.attempted_at)
    THEN
        v_fetch := true;
    ELSE
        UPDATE app.signing_keys
        SET attempted_at = v_now
        WHERE url = v_keys.url
          AND attempted_at = v_keys.attempted_at
          AND attempted_at <= v_now - make_interval(secs => CASE WHEN v_keys.document IS NULL THEN 10 ELSE 30 END);

        v_fetch := FOUND;
    END IF;

    RETURN jsonb_build_object('document', v_keys.document, 'fetch', v_fetch);
END
$$;

-- Input: {"url", "document"}.
CREATE OR REPLACE FUNCTION api.store_signing_keys(caller jsonb, input jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM app.become(caller);

    UPDATE app.signing_keys
    SET document = input -> 'document',
        fetched_at = clock_timestamp()
    WHERE url = input ->> 'url';

    RETURN '{}'::jsonb;
END
$$;

SELECT app.grant_operations();
