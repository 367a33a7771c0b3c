-- name: renew_lease
-- Keep an orchestrator's lease, and with it all queries that it owns.
INSERT INTO orchestrators (owner, lease_until) VALUES ($1, now() + make_interval(secs => $2))
ON CONFLICT (tenant_id, owner) DO UPDATE SET lease_until = excluded.lease_until;

-- name: held_queries
-- Of these queries with their fencing tokens, those that nobody else has taken.
SELECT q.query_id FROM queries q
JOIN unnest($1::text[], $2::bigint[]) AS mine (query_id, fence) ON q.query_id = mine.query_id AND q.fence = mine.fence;

-- name: claim_queries
-- Take up queries that were begun ($4) or that wait, and that nobody owns or, where asked ($2), whose owner's lease ran
-- out; each gets a new fencing token.
UPDATE queries q
SET owner = $1, fence = fence + 1
FROM (
    SELECT tenant_id, query_id FROM queries open
    WHERE state IN (1, 2) AND owner <> $1 AND (state = 2 OR attached) = $4 AND priority <= $5
      AND (owner = '' OR ($2 AND NOT EXISTS (
          SELECT FROM orchestrators o WHERE o.owner = open.owner AND o.lease_until > now()
      )))
    ORDER BY priority, create_time LIMIT $3
    FOR UPDATE SKIP LOCKED
) open
WHERE q.tenant_id = open.tenant_id AND q.query_id = open.query_id
RETURNING q.query_id, q.record, q.state, q.attached, q.fence;

-- name: seize_query
-- Take a query that has not ended from whoever owns it.
UPDATE queries SET owner = $2, fence = fence + 1
WHERE query_id = $1 AND state IN (1, 2)
RETURNING query_id, record, state, attached, fence;

-- name: owned_queries
-- All queries that an orchestrator owns and that have not ended.
SELECT query_id, fence FROM queries WHERE owner = $1 AND state IN (1, 2);

-- name: release_queries
-- Let others have these queries, if their fencing tokens still hold.
UPDATE queries q SET owner = ''
FROM unnest($1::text[], $2::bigint[]) AS mine (query_id, fence)
WHERE q.query_id = mine.query_id AND q.fence = mine.fence AND q.state IN (1, 2)
RETURNING q.query_id;

-- name: resign
-- Give up an orchestrator's lease, and forget those that ran out long ago.
DELETE FROM orchestrators WHERE owner = $1 OR lease_until < now() - interval '1 hour';

-- name: notify
-- Notify all who listen on a channel, once for each payload.
SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload;
