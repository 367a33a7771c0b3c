-- name: list_entities
-- A page of entities, the most mentioned first, starting after the given position; with keys, only those.
SELECT entity_id, display_name, type, mention_count, document_count FROM entities
WHERE ($1::text[] IS NULL OR key = ANY($1))
  AND ($2::int IS NULL OR mention_count < $2 OR (mention_count = $2 AND entity_id > $3))
ORDER BY mention_count DESC, entity_id LIMIT $4;

-- name: get_entities
-- Entities of those ids.
SELECT entity_id, display_name, type, mention_count, document_count FROM entities WHERE entity_id = ANY($1);

-- name: list_neighbors
-- A page of what joins an entity to others, those joined in most passages first: of each pair the passage that says how
-- (a predicate where the entity is the subject), else the first one.
WITH joined AS (
    SELECT object_id AS other_id, passage_id, predicate, span_start, span_end FROM relations WHERE subject_id = $1
    UNION ALL
    SELECT subject_id, passage_id, '', span_start, span_end FROM relations WHERE object_id = $1
), counted AS (
    SELECT DISTINCT ON (other_id) other_id, passage_id, predicate, span_start, span_end, passages
    FROM (SELECT *, count(*) OVER (PARTITION BY other_id) AS passages FROM joined) AS each_one
    ORDER BY other_id, predicate = '', passage_id
)
SELECT * FROM counted
WHERE $2::bigint IS NULL OR passages < $2 OR (passages = $2 AND other_id > $3)
ORDER BY passages DESC, other_id LIMIT $4;
