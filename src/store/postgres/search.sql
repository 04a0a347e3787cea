-- The searches, for vectors of {dimensions} dimensions and the index kind "{quantization}".
--
-- `SET` makes each one round trip and leaves nothing behind in a pooled session. With sorting
-- discouraged and a generic plan, the search by index is planned once and always walks the index;
-- the exact one adds 0 to the distance, which no index matches. Which of the two it is: with m rows
-- to choose among of n, the index visits some n/m times as many as are wanted, and the exact search
-- reads all m; the second is less work below the square root of the product.
CREATE OR REPLACE FUNCTION {nearest}(
    p_collection text, p_embedding vector, p_metadata jsonb, p_source text,
    p_limit integer, p_ef integer, p_exact bigint
) RETURNS TABLE (
    id uuid, document_id uuid, score real, source text, title text, title_path text[],
    chunk integer, page integer, content text, metadata jsonb, is_exact boolean
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_seqscan = off
SET hnsw.iterative_scan = strict_order
SET hnsw.ef_search = 40
AS $$
#variable_conflict use_column
DECLARE
    v_fetch integer := {fetch};
    v_exact boolean := alfred_is_exact(p_collection, p_metadata, p_source, v_fetch, p_exact);
    v_fields text := 'd.id, d.document_id, (1 - (d.embedding <=> $2))::real, d.source, d.title,
        d.title_path, d.chunk, d.page, d.content, d.metadata';
BEGIN
    IF v_exact THEN
        RETURN QUERY EXECUTE 'SELECT ' || v_fields || ', true FROM documents d WHERE '
            || alfred_condition(p_metadata, p_source)
            || ' ORDER BY (d.embedding <=> $2) + 0, d.id LIMIT $5'
            USING p_collection, p_embedding, p_metadata, p_source, p_limit;
        RETURN;
    END IF;
    PERFORM set_config('hnsw.ef_search', least(1000, greatest(p_ef, v_fetch))::text, true);
    RETURN QUERY
        SELECT c.id, c.document_id, (1 - c.distance)::real, c.source, c.title, c.title_path,
            c.chunk, c.page, c.content, c.metadata, false
        FROM (
            SELECT d.*, d.embedding <=> p_embedding AS distance
            FROM documents d
            WHERE d.collection = p_collection
                AND (p_metadata IS NULL OR d.metadata @> p_metadata)
                AND (p_source IS NULL OR d.source ~ p_source)
            ORDER BY {distance}
            LIMIT v_fetch
        ) c
        ORDER BY c.distance, c.id
        LIMIT p_limit;
END
$$;

-- The nearest of several questions, by the index where a question has no conditions and its
-- collection is large, else as the function above; settings and counts are paid for once. A question
-- of an unknown collection gets one row with nothing but its number, so that it costs the others
-- nothing. `question` counts from 1.
CREATE OR REPLACE FUNCTION {nearest_many}(
    p_collections text[], p_embeddings vector[], p_metadata jsonb[], p_sources text[],
    p_limits integer[], p_ef integer, p_exact bigint
) RETURNS TABLE (
    id uuid, document_id uuid, score real, source text, title text, title_path text[],
    chunk integer, page integer, content text, metadata jsonb, is_exact boolean, question integer
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_seqscan = off
SET hnsw.iterative_scan = strict_order
SET hnsw.ef_search = 40
AS $$
#variable_conflict use_column
DECLARE
    v_ef integer := 40;
    v_wanted integer;
    v_collection text;
    v_chunks bigint;
    v_total bigint;
    v_embedding vector;
    v_limit integer;
    v_fetch integer;
BEGIN
    FOR v_question IN 1 .. cardinality(p_limits) LOOP
        IF v_collection IS DISTINCT FROM p_collections[v_question] THEN
            v_collection := p_collections[v_question];
            SELECT max(c.chunks) FILTER (WHERE c.name = v_collection), sum(c.chunks)
                INTO v_chunks, v_total FROM alfred_collections c;
        END IF;
        IF v_chunks IS NULL THEN
            question := v_question;
            RETURN NEXT;
            CONTINUE;
        END IF;
        v_embedding := p_embeddings[v_question];
        v_limit := p_limits[v_question];
        v_fetch := {each_fetch};
        -- As in alfred_is_exact.
        IF p_metadata[v_question] IS NOT NULL OR p_sources[v_question] IS NOT NULL
            OR v_chunks <= greatest(p_exact, sqrt(1.6 * v_fetch * v_total)::bigint)
        THEN
            RETURN QUERY SELECT s.*, v_question FROM {nearest}(
                v_collection, v_embedding, p_metadata[v_question], p_sources[v_question],
                v_limit, p_ef, p_exact
            ) s;
            CONTINUE;
        END IF;
        v_wanted := least(1000, greatest(p_ef, v_fetch));
        IF v_wanted <> v_ef THEN
            PERFORM set_config('hnsw.ef_search', v_wanted::text, true);
            v_ef := v_wanted;
        END IF;
        RETURN QUERY
            SELECT c.id, c.document_id, (1 - c.distance)::real, c.source, c.title, c.title_path,
                c.chunk, c.page, c.content, c.metadata, false, v_question
            FROM (
                SELECT d.*, d.embedding <=> v_embedding AS distance
                FROM documents d
                WHERE d.collection = v_collection
                ORDER BY {each_distance}
                LIMIT v_fetch
            ) c
            ORDER BY c.distance, c.id
            LIMIT v_limit;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION {hybrid}(
    p_collection text, p_embedding vector, p_metadata jsonb, p_source text,
    p_limit integer, p_ef integer, p_exact bigint,
    p_match text, p_terms text[], p_weights real[], p_average real, p_depth integer
) RETURNS TABLE (
    id uuid, document_id uuid, score real, source text, title text, title_path text[],
    chunk integer, page integer, content text, metadata jsonb, is_exact boolean
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_seqscan = off
SET hnsw.iterative_scan = strict_order
SET hnsw.ef_search = 40
AS $$
#variable_conflict use_column
DECLARE
    v_fetch integer := {fetch_depth};
    v_exact boolean := alfred_is_exact(p_collection, p_metadata, p_source, v_fetch, p_exact);
    v_near uuid[];
    v_text uuid[];
    v_terms tsquery[] := p_terms::tsquery[];
BEGIN
    IF v_exact THEN
        EXECUTE 'SELECT array_agg(n.id) FROM (SELECT d.id FROM documents d WHERE '
            || alfred_condition(p_metadata, p_source)
            || ' ORDER BY (d.embedding <=> $2) + 0, d.id LIMIT $5) n'
            INTO v_near USING p_collection, p_embedding, p_metadata, p_source, p_depth;
    ELSE
        PERFORM set_config('hnsw.ef_search', least(1000, greatest(p_ef, v_fetch))::text, true);
        SELECT array_agg(n.id) INTO v_near FROM (
            SELECT c.id FROM (
                SELECT d.id, d.embedding <=> p_embedding AS distance
                FROM documents d
                WHERE d.collection = p_collection
                    AND (p_metadata IS NULL OR d.metadata @> p_metadata)
                    AND (p_source IS NULL OR d.source ~ p_source)
                ORDER BY {distance}
                LIMIT v_fetch
            ) c
            ORDER BY c.distance
            LIMIT p_depth
        ) n;
    END IF;
    SELECT array_agg(t.id) INTO v_text FROM alfred_matches(
        p_collection, p_metadata, p_source, p_depth, p_match, v_terms, p_weights, p_average
    ) t;
    RETURN QUERY
        WITH found AS MATERIALIZED (
            SELECT d.id, d.ts, 0.3::float8 + 0.9::float8 * d.terms / p_average AS length,
                1 - (d.embedding <=> p_embedding) AS cosine
            FROM documents d
            WHERE d.id = ANY (coalesce(v_near, '{}') || coalesce(v_text, '{}'))
        ), matches AS (
            SELECT f.id, sum(q.weight * 2.2::float8 * (1 - f.length / (
                alfred_occurrences(f.ts, q.term) + f.length))) AS bm25
            FROM found f JOIN unnest(v_terms, p_weights) AS q(term, weight) ON f.ts @@ q.term
            GROUP BY f.id
        ), candidates AS MATERIALIZED (
            SELECT f.id, f.cosine, coalesce(m.bm25, 0) AS bm25
            FROM found f LEFT JOIN matches m ON m.id = f.id
        ), best AS (
            SELECT max(c.cosine) + 1 AS cosine, max(c.bm25) AS bm25 FROM candidates c
        ), ranked AS MATERIALIZED (
            SELECT c.id, {weight} * CASE WHEN b.cosine > 0
                    THEN least(1, greatest(0, (c.cosine + 1) / b.cosine)) ELSE 0 END
                + (1 - {weight}) * CASE WHEN b.bm25 > 0
                    THEN c.bm25 / b.bm25 ELSE 0 END AS score
            FROM candidates c, best b
            ORDER BY 2 DESC, 1
            LIMIT p_limit
        )
        SELECT d.id, d.document_id, r.score::real, d.source, d.title, d.title_path, d.chunk,
            d.page, d.content, d.metadata, v_exact
        FROM ranked r JOIN documents d ON d.id = r.id
        ORDER BY r.score DESC, r.id;
END
$$;
