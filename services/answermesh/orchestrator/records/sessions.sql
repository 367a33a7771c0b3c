-- name: last_turn
-- The newest question of a session.
SELECT question FROM session_turns WHERE session_id = $1 ORDER BY create_time DESC, query_id DESC LIMIT 1;

-- name: add_turn
-- Enter a question into a session.
INSERT INTO session_turns (session_id, query_id, question, create_time) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING;

-- name: forget_query
-- Forget what a deleted query asked.
DELETE FROM session_turns WHERE query_id = $1;

-- name: delete_session
-- Forget a session; how many questions it held.
WITH gone AS (DELETE FROM session_turns WHERE session_id = $1 RETURNING 1) SELECT count(*) FROM gone;
