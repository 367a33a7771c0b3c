-- name: lock_corpus
-- Lets one transaction of the tenant write at a time, so that counts are right and no two writers wait for each other in a ring.
SELECT pg_advisory_xact_lock(hashtextextended('answermesh.knowledge ' || current_setting('app.tenant'), 0));

-- name: find_fingerprint
-- What the stored document of that id was made of; nothing where there is none.
SELECT fingerprint FROM documents WHERE document_id = $1;

-- name: get_document
-- A document without its text.
SELECT document_id, uri, title, media_type, size_bytes, content_hash, character_count, passage_count, create_time, update_time, labels, publish_time
FROM documents WHERE document_id = $1;

-- name: get_document_text
-- A document's text.
SELECT text FROM documents WHERE document_id = $1;

-- name: list_documents
-- A page of documents in the order of their uris, starting after the given uri.
SELECT document_id, uri, title, media_type, size_bytes, content_hash, character_count, passage_count, create_time, update_time, labels, publish_time
FROM documents WHERE $1::text IS NULL OR uri > $1 ORDER BY uri LIMIT $2;

-- name: find_documents
-- Ids of the documents that a filter leaves, at most so many; a null is no condition.
SELECT document_id FROM documents
WHERE labels @> $1::text::jsonb
  AND ($2::text IS NULL OR media_type = $2) AND ($3::text IS NULL OR uri = $3) AND ($4::text IS NULL OR uri ^@ $4)
  AND ($5::timestamptz IS NULL OR publish_time >= $5) AND ($6::timestamptz IS NULL OR publish_time < $6)
  AND ($7::timestamptz IS NULL OR update_time >= $7) AND ($8::timestamptz IS NULL OR update_time < $8)
LIMIT $9;

-- name: put_document
-- Store a document, or replace what is stored of it; its first import stays its create_time.
INSERT INTO documents AS d
    (document_id, uri, title, media_type, size_bytes, content_hash, fingerprint, text, character_count, passage_count, title_key,
     labels, publish_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb, $13)
ON CONFLICT (tenant_id, document_id) DO UPDATE SET
    title = excluded.title, title_key = excluded.title_key, media_type = excluded.media_type, size_bytes = excluded.size_bytes, content_hash = excluded.content_hash,
    fingerprint = excluded.fingerprint, text = excluded.text, character_count = excluded.character_count,
    passage_count = excluded.passage_count, labels = excluded.labels, publish_time = excluded.publish_time, update_time = now()
RETURNING document_id, uri, title, media_type, size_bytes, content_hash, character_count, passage_count, create_time, update_time, labels, publish_time;

-- name: put_passages
-- Store passages, indexed under the lexemes of a text each (title, headings and the passage itself), and add them to the
-- counts that BM25 needs; returns their ids by ordinal. A row is complete when it is inserted: to set its length later would
-- write it, and its place in each index, again.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($3::int[], $4::int[], $5::int[], $6::text[], $7::text[], $8::int[], $9::vector[], $10::text[])
        AS p(ordinal, span_start, span_end, text, headings, page, embedding, indexed)
), lexemes AS MATERIALIZED (
    SELECT g.ordinal, l.lexeme, coalesce(cardinality(l.positions), 1) AS frequency
    FROM given g, unnest(to_tsvector('english', g.indexed)) AS l
), lengths AS (
    SELECT ordinal, sum(frequency)::int AS length FROM lexemes GROUP BY ordinal
), stored AS (
    INSERT INTO passages
        (document_id, ordinal, span_start, span_end, text, headings, page, length, embedding_model, embedding)
    SELECT $1, g.ordinal, g.span_start, g.span_end, g.text, string_to_array(g.headings, E'\x1f'), g.page,
        coalesce(n.length, 0), $2, g.embedding::halfvec(384)
    FROM given g LEFT JOIN lengths n USING (ordinal)
    RETURNING ordinal, passage_id, length
), indexed AS (
    INSERT INTO postings (term, passage_id, frequency, length)
    SELECT l.lexeme, s.passage_id, l.frequency, s.length FROM lexemes l JOIN stored s USING (ordinal)
    ORDER BY l.lexeme, s.passage_id
), counted AS (
    INSERT INTO terms AS t (term, passages) SELECT lexeme, count(*) FROM lexemes GROUP BY lexeme ORDER BY lexeme
    ON CONFLICT (tenant_id, term) DO UPDATE SET passages = t.passages + excluded.passages
), summed AS (
    INSERT INTO corpora AS c (passages, length) SELECT count(*), coalesce(sum(length), 0) FROM stored
    ON CONFLICT (tenant_id) DO UPDATE SET passages = c.passages + excluded.passages, length = c.length + excluded.length
)
SELECT ordinal, passage_id FROM stored;

-- name: put_entities
-- Store entities that are new, and add to the counts of all the passages of one document that mention each; a more specific
-- type replaces a coarser one.
INSERT INTO entities AS e (entity_id, key, display_name, type, mention_count, document_count)
SELECT entity_id, key, display_name, type, mention_count, 1
FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::int[])
    AS n(entity_id, key, display_name, type, mention_count)
ON CONFLICT (tenant_id, entity_id) DO UPDATE SET type = least(e.type, excluded.type),
    mention_count = e.mention_count + excluded.mention_count, document_count = e.document_count + 1;

-- name: put_mentions
-- Store which passages of a document mention which entities.
INSERT INTO mentions (document_id, entity_id, passage_id, span_start, span_end)
SELECT $1, m.* FROM unnest($2::text[], $3::bigint[], $4::int[], $5::int[]) AS m;

-- name: put_relations
-- Store what joins entities.
INSERT INTO relations (subject_id, object_id, passage_id, predicate, span_start, span_end)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::int[], $6::int[]);

-- name: uncount_mentions
-- Take a document's mentions from the counts of their entities.
UPDATE entities e SET mention_count = e.mention_count - m.passages, document_count = e.document_count - 1
FROM (SELECT entity_id, count(*) AS passages FROM mentions WHERE document_id = $1 GROUP BY entity_id) m
WHERE e.entity_id = m.entity_id;

-- name: delete_unmentioned
-- Forget the entities that a document mentions and no other does.
DELETE FROM entities e USING mentions m
WHERE m.document_id = $1 AND e.entity_id = m.entity_id AND e.mention_count <= 0;

-- name: uncount_terms
-- Take a document's passages from the counts that BM25 needs.
WITH mine AS (
    SELECT passage_id, length FROM passages WHERE document_id = $1
), sums AS (
    UPDATE corpora c SET passages = c.passages - m.passages, length = c.length - m.length
    FROM (SELECT count(*) AS passages, coalesce(sum(length), 0) AS length FROM mine) m
)
UPDATE terms t SET passages = t.passages - n.passages
FROM (SELECT term, count(*) AS passages FROM postings WHERE passage_id IN (SELECT passage_id FROM mine) GROUP BY term) n
WHERE t.term = n.term;

-- name: delete_unused_terms
-- Forget the terms of a document that no other passage has.
DELETE FROM terms t
WHERE t.passages <= 0 AND t.term IN (
    SELECT term FROM postings WHERE passage_id IN (SELECT passage_id FROM passages WHERE document_id = $1)
);

-- name: delete_postings
-- Forget a document's postings.
DELETE FROM postings WHERE passage_id IN (SELECT passage_id FROM passages WHERE document_id = $1);

-- name: delete_passages
-- Forget a document's passages, and with them its mentions and relations.
DELETE FROM passages WHERE document_id = $1;

-- name: delete_document
-- Forget a document whose passages are forgotten.
DELETE FROM documents WHERE document_id = $1;
