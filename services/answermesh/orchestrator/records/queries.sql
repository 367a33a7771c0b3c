-- name: insert_query
-- Accept a query in the background; nothing is returned where request_id is taken.
INSERT INTO queries (query_id, request_id, request_hash, record, state, create_time, priority, attached)
VALUES ($1, $2, $3, $4, $5, $6, $7, false)
ON CONFLICT (tenant_id, request_id) WHERE request_id <> '' DO NOTHING
RETURNING query_id;

-- name: insert_attached
-- Accept queries that end with their callers, each owned at once.
INSERT INTO queries (query_id, record, state, create_time, owner, attached, fence)
SELECT *, true, 1 FROM unnest($1::text[], $2::bytea[], $3::smallint[], $4::timestamptz[], $5::text[])
ON CONFLICT (tenant_id, query_id) DO NOTHING;

-- name: query_by_request
-- The query that a request_id made, and the digest of that request.
SELECT query_id, request_hash, record FROM queries WHERE request_id = $1;

-- name: get_query
-- A query's record and its newest event.
SELECT record, state, attached, owner, fence,
       (SELECT coalesce(max(sequence), 0) FROM query_events e WHERE e.query_id = q.query_id) AS last_sequence
FROM queries q WHERE query_id = $1;

-- name: list_queries
-- A page of queries, newest first, that starts after the given position.
SELECT query_id, record, create_time FROM queries
WHERE ($1::smallint IS NULL OR state = $1)
  AND ($2::timestamptz IS NULL OR create_time >= $2)
  AND ($3::timestamptz IS NULL OR create_time < $3)
  AND ($4::timestamptz IS NULL OR (create_time, query_id) < ($4, $5))
ORDER BY create_time DESC, query_id DESC
LIMIT $6;

-- name: delete_query
-- Delete a query that has ended, with its events and feedback.
DELETE FROM queries WHERE query_id = $1 AND state NOT IN (1, 2) RETURNING query_id;

-- name: lock_owned
-- Of these queries with their fencing tokens, those whose token still holds; locked until the events are in.
SELECT q.query_id, q.fence FROM queries q
JOIN unnest($1::text[], $2::bigint[]) AS mine (query_id, fence) ON q.query_id = mine.query_id AND q.fence = mine.fence
WHERE q.state IN (1, 2)
FOR UPDATE OF q;

-- name: insert_events
-- Add events; one that a lost connection left unsure is not added twice.
INSERT INTO query_events (query_id, sequence, payload)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[])
ON CONFLICT DO NOTHING;

-- name: update_queries
-- Set the records and states that events brought about.
UPDATE queries q SET record = new.record, state = new.state
FROM unnest($1::text[], $2::bytea[], $3::smallint[]) AS new (query_id, record, state)
WHERE q.query_id = new.query_id;

-- name: insert_agent_runs
-- Enter runs of agents in the ledger.
INSERT INTO agent_runs (query_id, sequence, agent, end_time, duration_s, failed)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[], $5::float8[], $6::bool[])
ON CONFLICT DO NOTHING;

-- name: insert_model_calls
-- Enter calls of language models in the ledger, each once however often it is told.
INSERT INTO model_calls (query_id, agent, call_id, provider, model, end_time, duration_s,
                         input_tokens, output_tokens, cost_micros)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::float8[],
                     $8::bigint[], $9::bigint[], $10::bigint[])
ON CONFLICT DO NOTHING;

-- name: events_after
-- Events of a query in order, from the one after the given sequence.
SELECT sequence, payload FROM query_events WHERE query_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3;

-- name: insert_feedback
-- Store an opinion.
INSERT INTO feedback (query_id, feedback_id, record, create_time) VALUES ($1, $2, $3, $4);

-- name: list_feedback
-- A page of a query's opinions, newest first, that starts after the given position.
SELECT feedback_id, record, create_time FROM feedback
WHERE query_id = $1 AND ($2::timestamptz IS NULL OR (create_time, feedback_id) < ($2, $3))
ORDER BY create_time DESC, feedback_id DESC
LIMIT $4;

-- name: agent_usage
-- Runs by day and agent.
SELECT to_char(end_time AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, agent, count(*) AS run_count,
       count(*) FILTER (WHERE failed) AS failure_count,
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_s) AS latency_s
FROM agent_runs WHERE end_time >= $1 AND end_time < $2
GROUP BY 1, 2 ORDER BY 1 DESC, 2;

-- name: model_usage
-- Calls by day, agent and model.
SELECT to_char(end_time AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, agent, provider, model, count(*) AS call_count,
       sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,
       sum(cost_micros)::bigint AS cost_micros,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_s) AS latency_s
FROM model_calls WHERE end_time >= $1 AND end_time < $2
GROUP BY 1, 2, 3, 4 ORDER BY 1 DESC, 2, 3, 4;

-- name: query_count
-- Queries accepted in a time.
SELECT count(*) FROM queries WHERE create_time >= $1 AND create_time < $2;

-- name: ping
-- Whether the database answers.
SELECT 1;
