-- Who goes first among the queries that wait: answermesh.v1.Query.Priority, the lower the sooner.

ALTER TABLE queries ADD COLUMN priority smallint NOT NULL DEFAULT 2;
