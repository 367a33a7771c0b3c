-- name: find_lexical
-- The best passages for a query by BM25 (k1 = 1.2, b = 0.75), with their scores.
--
-- Terms are taken rarest first until they have 30 000 postings together, and the last one only if it does not make them
-- 40 000; from 2000 passages on, terms that stand in more than a fifth of them say too little for what they cost. The
-- rarest is always taken.
WITH corpus AS (
    SELECT passages::float8 AS passages, greatest(length::float8 / greatest(passages, 1), 1) AS mean_length FROM corpora
), ranked AS (
    SELECT t.term, t.passages, row_number() OVER rarest AS rank, sum(t.passages) OVER rarest - t.passages AS postings_before
    FROM unnest(to_tsvector('english', $1)) AS asked JOIN terms t ON t.term = asked.lexeme
    WINDOW rarest AS (ORDER BY t.passages, t.term)
), chosen AS MATERIALIZED (
    SELECT r.term, 2.2::float8 * ln(1 + (c.passages - r.passages + 0.5) / (r.passages + 0.5)) AS weight,
        (0.9 / c.mean_length)::float8 AS per_lexeme
    FROM ranked r, corpus c
    WHERE r.rank = 1 OR (r.rank <= 32 AND r.postings_before < 30000 AND r.postings_before + r.passages < 40000 AND (c.passages < 2000 OR r.passages < c.passages / 5))
)
SELECT p.passage_id, sum(c.weight * p.frequency / (p.frequency + 0.3::float8 + c.per_lexeme * p.length)) AS score
FROM chosen c JOIN postings p ON p.term = c.term
WHERE $2::text[] IS NULL OR p.passage_id IN (SELECT passage_id FROM passages WHERE document_id = ANY($2))
GROUP BY p.passage_id ORDER BY score DESC, p.passage_id LIMIT $3;

-- name: find_nearest_within
-- The passages nearest to a vector of the same model among a few documents: computed for each of their passages, since the
-- index would mostly find others.
SELECT passage_id
FROM (
    SELECT passage_id, embedding <=> $1::vector::halfvec(384) AS distance
    FROM passages WHERE embedding_model = $2 AND document_id = ANY($4) OFFSET 0
) AS near
ORDER BY distance, passage_id LIMIT $3;

-- name: get_candidates
-- Passages of those ids and, if asked for, the nearest to the vector ($5 at most, 0 for none), with what is shown of their
-- documents, their cosine similarity to a vector of that model (null for passages of another), and what each term of the
-- query adds to their score by BM25.
--
-- The index looks at more candidates in a larger corpus, else it finds ever fewer of the nearest: .45 times the root of the
-- count, from 40 at 7900 passages to 1000. It reads that setting when its scan begins, which waits for its limit.
--
-- The words are looked up term by term for all passages: passage by passage takes half as long again in all.
WITH breadth AS MATERIALIZED (
    SELECT set_config('hnsw.ef_search', least(greatest(round(0.45 * sqrt(passages)), 40), 1000)::text, true) FROM corpora
), wanted AS MATERIALIZED (
    SELECT unnest($1::bigint[]) AS passage_id
    UNION
    (SELECT passage_id FROM passages WHERE embedding_model = $4 ORDER BY embedding <=> $3::vector::halfvec(384)
        LIMIT (SELECT $5::int FROM breadth))
), corpus AS (
    SELECT passages::float8 AS passages, greatest(length::float8 / greatest(passages, 1), 1) AS mean_length FROM corpora
), chosen AS MATERIALIZED (
    SELECT t.term, 2.2::float8 * ln(1 + (c.passages - t.passages + 0.5) / (t.passages + 0.5)) AS weight,
        (0.9 / c.mean_length)::float8 AS per_lexeme
    FROM unnest(to_tsvector('english', $2)) AS asked JOIN terms t ON t.term = asked.lexeme, corpus c
    WHERE c.passages < 2000 OR t.passages < c.passages / 5
    ORDER BY t.passages, t.term LIMIT 32
), told AS MATERIALIZED (
    SELECT ARRAY(SELECT passage_id FROM wanted) AS ids
), found AS MATERIALIZED (
    SELECT o.passage_id, array_agg(o.term) AS terms,
        array_agg(c.weight * o.frequency / (o.frequency + 0.3::float8 + c.per_lexeme * o.length)) AS weights
    FROM chosen c JOIN postings o ON o.term = c.term AND o.passage_id = ANY((SELECT ids FROM told)::bigint[])
    GROUP BY o.passage_id
)
SELECT p.passage_id, p.document_id, p.ordinal, p.span_start, p.span_end, p.text, p.headings, p.page, d.title, d.uri,
    CASE WHEN p.embedding_model = $4 THEN 1 - (p.embedding <=> $3::vector::halfvec(384)) END AS similarity,
    found.terms, found.weights
FROM passages p JOIN documents d USING (document_id) LEFT JOIN found USING (passage_id)
WHERE p.passage_id = ANY((SELECT ids FROM told)::bigint[]);

-- name: get_passages
-- Passages of those ids, with what is shown of their documents.
SELECT p.passage_id, p.document_id, p.ordinal, p.span_start, p.span_end, p.text, p.headings, p.page, d.title, d.uri
FROM passages p JOIN documents d USING (document_id) WHERE p.passage_id = ANY($1);

-- name: find_linked
-- Where passages lead: to passages of other documents that name the same rare entity, and to the openings of documents
-- that bear an entity's name for their title. With the strength of the link, 0 to 1. What the query ($2, as a key between
-- spaces) names itself, and dates and quantities ($3), lead nowhere.
--
-- The titles are looked up as a range in their order: by equality, a planner that finds all titles alike would read all.
WITH told AS MATERIALIZED (
    SELECT m.passage_id AS seed, m.document_id, e.entity_id, e.key, e.mention_count
    FROM mentions m JOIN entities e USING (entity_id)
    WHERE m.passage_id = ANY($1) AND NOT e.type = ANY($3) AND length(e.key) > 2 AND position(' ' || e.key || ' ' IN $2) = 0
), titled AS MATERIALIZED (
    SELECT t.seed, named.document_id
    FROM told t, LATERAL (
        SELECT d.document_id FROM documents d
        WHERE d.title_key >= t.key AND d.title_key <= t.key AND d.document_id <> t.document_id
        ORDER BY d.title_key LIMIT 4
    ) AS named
), links AS (
    SELECT t.seed, o.passage_id, 0.5 / sqrt(t.mention_count) AS strength
    FROM told t JOIN mentions o USING (entity_id)
    WHERE t.mention_count BETWEEN 2 AND 20 AND o.document_id <> t.document_id
    UNION ALL
    SELECT n.seed, p.passage_id, 1
    FROM titled n JOIN passages p ON p.document_id = n.document_id AND p.ordinal = ANY(ARRAY[0, 1, 2, 3])
)
SELECT seed, passage_id, max(strength)::float8 AS strength
FROM links GROUP BY seed, passage_id ORDER BY strength DESC, seed, passage_id LIMIT $4;

-- name: get_texts
-- Stretches of documents' texts, by document, start and end.
SELECT w.document_id, w.span_start, substr(d.text, w.span_start + 1, w.span_end - w.span_start) AS text
FROM unnest($1::text[], $2::int[], $3::int[]) AS w(document_id, span_start, span_end) JOIN documents d USING (document_id);
