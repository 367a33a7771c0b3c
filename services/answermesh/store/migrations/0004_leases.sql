-- One lease for each orchestrator, in place of one for each query: keeping it is one row, however many queries it answers,
-- and it never waits for the locks of their commits.

CREATE TABLE orchestrators (
    tenant_id   text        NOT NULL DEFAULT current_setting('app.tenant'),
    -- Chosen anew by each process.
    owner       text        NOT NULL,
    -- A query whose owner's lease has run out, or is not here, may be taken over.
    lease_until timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, owner)
) WITH (fillfactor = 50);
SELECT am_tenant_table('orchestrators');

ALTER TABLE queries DROP COLUMN lease_until;
