-- The condition of a search on `documents d`, with the collection as $1, metadata as $3 and a
-- regular expression of the source as $4.
CREATE FUNCTION alfred_condition(p_metadata jsonb, p_source text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'd.collection = $1'
    || CASE WHEN p_metadata IS NULL THEN '' ELSE ' AND d.metadata @> $3' END
    || CASE WHEN p_source IS NULL THEN '' ELSE ' AND d.source ~ $4' END;

-- Whether reading every row that matches is less work than walking the index for `p_fetch` of them.
-- Raises AL404 when there is no such collection.
CREATE FUNCTION alfred_is_exact(
    p_collection text, p_metadata jsonb, p_source text, p_fetch integer, p_exact bigint
) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_chunks bigint;
    v_total bigint;
    v_few bigint;
BEGIN
    SELECT max(c.chunks) FILTER (WHERE c.name = p_collection), sum(c.chunks)
        INTO v_chunks, v_total FROM alfred_collections c;
    IF v_chunks IS NULL THEN
        RAISE EXCEPTION 'there is no collection %', p_collection USING ERRCODE = 'AL404';
    END IF;
    IF v_chunks <= p_exact THEN
        RETURN true;
    END IF;
    v_few := greatest(p_exact, sqrt(1.6 * p_fetch * v_total)::bigint);
    IF p_metadata IS NULL AND p_source IS NULL THEN
        RETURN v_chunks <= v_few;
    END IF;
    PERFORM set_config('enable_seqscan', 'on', true);
    EXECUTE 'SELECT count(*) FROM (SELECT FROM documents d WHERE '
        || alfred_condition(p_metadata, p_source) || ' LIMIT $5) few'
        INTO v_chunks USING p_collection, NULL::text, p_metadata, p_source, v_few + 1;
    RETURN v_chunks <= v_few;
END
$$;

-- The best text matches by BM25 (k1 = 1.2, b = 0.75). `p_match` finds rows, `p_terms` with their
-- inverse document frequencies `p_weights` rank them. With f occurrences of a term and a length of
-- L, its part f * 2.2 / (f + L) is written as 2.2 * (1 - L / (f + L)), which needs f once. Of very
-- many matches some are ranked.
CREATE FUNCTION alfred_matches(
    p_collection text, p_metadata jsonb, p_source text, p_limit integer,
    p_match text, p_terms tsquery[], p_weights real[], p_average real
) RETURNS TABLE (id uuid, bm25 double precision)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    IF p_match = '' THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT m.id, sum(q.weight * 2.2::float8 * (1 - m.length / (
            alfred_occurrences(m.ts, q.term) + m.length)))
        FROM (
            SELECT d.id, d.ts, 0.3::float8 + 0.9::float8 * d.terms / p_average AS length
            FROM documents d
            WHERE d.collection = p_collection
                AND d.ts @@ p_match::tsquery
                AND (p_metadata IS NULL OR d.metadata @> p_metadata)
                AND (p_source IS NULL OR d.source ~ p_source)
            LIMIT 20000
        ) m JOIN unnest(p_terms, p_weights) AS q(term, weight) ON m.ts @@ q.term
        GROUP BY m.id
        ORDER BY 2 DESC, 1
        LIMIT p_limit;
END
$$;

-- The same with everything that a hit carries; raises AL404 when there is no such collection.
CREATE FUNCTION alfred_text(
    p_collection text, p_metadata jsonb, p_source text, p_limit integer,
    p_match text, p_terms text[], p_weights real[], p_average real
) RETURNS TABLE (
    id uuid, document_id uuid, score real, source text, title text, title_path text[],
    chunk integer, page integer, content text, metadata jsonb, is_exact boolean
)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM alfred_collections c WHERE c.name = p_collection;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no collection %', p_collection USING ERRCODE = 'AL404';
    END IF;
    RETURN QUERY
        SELECT d.id, d.document_id, m.bm25::real, d.source, d.title, d.title_path, d.chunk, d.page,
            d.content, d.metadata, true
        FROM alfred_matches(
            p_collection, p_metadata, p_source, p_limit, p_match, p_terms::tsquery[], p_weights,
            p_average
        ) m JOIN documents d ON d.id = m.id
        ORDER BY m.bm25 DESC, m.id;
END
$$;
