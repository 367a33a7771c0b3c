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

-- name: find_stored
-- Which documents of these ids are stored.
SELECT document_id FROM documents WHERE document_id = ANY($1);

-- name: put_documents
-- Store documents, or replace what is stored of them; its first import stays each one's create_time.
INSERT INTO documents AS d
    (document_id, uri, title, media_type, size_bytes, content_hash, fingerprint, text, character_count, passage_count, title_key,
     labels, publish_time)
SELECT document_id, uri, title, media_type, size_bytes, content_hash, fingerprint, text, character_count, passage_count, title_key,
    labels::jsonb, publish_time
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[], $7::bytea[], $8::text[], $9::int[],
        $10::int[], $11::text[], $12::text[], $13::timestamptz[])
    AS n(document_id, uri, title, media_type, size_bytes, content_hash, fingerprint, text, character_count, passage_count,
        title_key, labels, publish_time)
ON CONFLICT (tenant_id, document_id) DO UPDATE SET
    title = excluded.title, title_key = excluded.title_key, media_type = excluded.media_type, size_bytes = excluded.size_bytes, content_hash = excluded.content_hash,
    fingerprint = excluded.fingerprint, text = excluded.text, character_count = excluded.character_count,
    passage_count = excluded.passage_count, labels = excluded.labels, publish_time = excluded.publish_time, update_time = now()
RETURNING document_id, uri, title, media_type, size_bytes, content_hash, character_count, passage_count, create_time, update_time, labels, publish_time;

-- name: put_passages
-- Store passages, indexed under the lexemes of a text each (title, headings and the passage itself), and add them to the
-- counts that BM25 needs; returns their ids by their places in the arrays, from 1. A row is complete when it is inserted: to
-- set its length later would write it, and its place in each index, again.
WITH given AS MATERIALIZED (
    SELECT nextval('passages_passage_id_seq') AS passage_id, to_tsvector('english', indexed) AS words, p.*
    FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::int[], $6::text[], $7::text[], $8::int[], $9::vector[],
            $10::text[]) WITH ORDINALITY
        AS p(document_id, embedding_model, ordinal, span_start, span_end, text, headings, page, embedding, indexed, place)
), measured AS MATERIALIZED (
    SELECT g.*, (SELECT coalesce(sum(coalesce(cardinality(l.positions), 1)), 0)::int FROM unnest(g.words) AS l) AS length
    FROM given g
), stored AS (
    INSERT INTO passages
        (passage_id, document_id, ordinal, span_start, span_end, text, headings, page, length, embedding_model, embedding)
    OVERRIDING SYSTEM VALUE
    SELECT passage_id, document_id, ordinal, span_start, span_end, text, string_to_array(headings, E'\x1f'), page, length,
        embedding_model, embedding::halfvec(384)
    FROM measured
), indexed AS (
    INSERT INTO postings (term, passage_id, frequency, length)
    SELECT l.lexeme, m.passage_id, coalesce(cardinality(l.positions), 1), m.length FROM measured m, unnest(m.words) AS l
    ORDER BY l.lexeme, m.passage_id
), counted AS (
    INSERT INTO terms AS t (term, passages)
    SELECT l.lexeme, count(*) FROM measured m, unnest(m.words) AS l GROUP BY l.lexeme ORDER BY l.lexeme
    ON CONFLICT (tenant_id, term) DO UPDATE SET passages = t.passages + excluded.passages
), summed AS (
    INSERT INTO corpora AS c (passages, length) SELECT count(*), coalesce(sum(length), 0) FROM measured
    ON CONFLICT (tenant_id) DO UPDATE SET passages = c.passages + excluded.passages, length = c.length + excluded.length
)
SELECT place, passage_id FROM measured;

-- name: put_entities
-- Store entities that are new, and add to the counts of all the passages and documents that mention each; a more specific
-- type replaces a coarser one.
INSERT INTO entities AS e (entity_id, key, display_name, type, mention_count, document_count)
SELECT entity_id, key, display_name, type, mention_count, document_count
FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::int[], $6::int[])
    AS n(entity_id, key, display_name, type, mention_count, document_count)
ON CONFLICT (tenant_id, entity_id) DO UPDATE SET type = least(e.type, excluded.type),
    mention_count = e.mention_count + excluded.mention_count, document_count = e.document_count + excluded.document_count;

-- name: put_mentions
-- Store which passages of which documents mention which entities.
INSERT INTO mentions (document_id, entity_id, passage_id, span_start, span_end)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::int[]);

-- name: put_relations
-- Store what joins entities.
INSERT INTO relations (subject_id, object_id, passage_id, predicate, span_start, span_end)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::int[], $6::int[]);

-- name: uncount_mentions
-- Take the mentions of documents from the counts of their entities.
UPDATE entities e SET mention_count = e.mention_count - m.passages, document_count = e.document_count - m.documents
FROM (
    SELECT entity_id, count(*) AS passages, count(DISTINCT document_id) AS documents
    FROM mentions WHERE document_id = ANY($1) GROUP BY entity_id
) m
WHERE e.entity_id = m.entity_id;

-- name: delete_unmentioned
-- Forget the entities that documents mention and no other does.
DELETE FROM entities e USING mentions m
WHERE m.document_id = ANY($1) AND e.entity_id = m.entity_id AND e.mention_count <= 0;

-- name: uncount_terms
-- Take the passages of documents from the counts that BM25 needs.
WITH mine AS (
    SELECT passage_id, length FROM passages WHERE document_id = ANY($1)
), sums AS (
    UPDATE corpora c SET passages = c.passages - m.passages, length = c.length - m.length
    FROM (SELECT count(*) AS passages, coalesce(sum(length), 0) AS length FROM mine) m
)
UPDATE terms t SET passages = t.passages - n.passages
FROM (SELECT term, count(*) AS passages FROM postings WHERE passage_id IN (SELECT passage_id FROM mine) GROUP BY term) n
WHERE t.term = n.term;

-- name: delete_unused_terms
-- Forget the terms of documents that no other passage has.
DELETE FROM terms t
WHERE t.passages <= 0 AND t.term IN (
    SELECT term FROM postings WHERE passage_id IN (SELECT passage_id FROM passages WHERE document_id = ANY($1))
);

-- name: delete_postings
-- Forget the postings of documents.
DELETE FROM postings WHERE passage_id IN (SELECT passage_id FROM passages WHERE document_id = ANY($1));

-- name: delete_passages
-- Forget the passages of documents, and with them their mentions and relations.
DELETE FROM passages WHERE document_id = ANY($1);

-- name: delete_document
-- Forget a document whose passages are forgotten.
DELETE FROM documents WHERE document_id = $1;
