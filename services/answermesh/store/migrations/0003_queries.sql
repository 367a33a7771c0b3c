-- Queries, their events, what they cost, and what readers thought of them.

CREATE TABLE queries (
    tenant_id    text        NOT NULL DEFAULT current_setting('app.tenant'),
    query_id     text        NOT NULL,
    -- Empty where the caller gave none.
    request_id   text        NOT NULL DEFAULT '',
    -- Digest of the request that request_id came with.
    request_hash bytea       NOT NULL DEFAULT '',
    -- True for Ask: the query ends when its caller hangs up, so no other orchestrator takes it up.
    attached     boolean     NOT NULL,
    -- answermesh.v1.Query as of its last state.
    record       bytea       NOT NULL,
    -- answermesh.v1.Query.State.
    state        smallint    NOT NULL,
    create_time  timestamptz NOT NULL,
    -- Who answers it, until when unless renewed, and the fencing token: only the owner's events are taken.
    owner        text        NOT NULL DEFAULT '',
    fence        bigint      NOT NULL DEFAULT 0,
    lease_until  timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (tenant_id, query_id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX queries_request ON queries (tenant_id, request_id) WHERE request_id <> '';
CREATE INDEX queries_newest ON queries (tenant_id, create_time DESC, query_id DESC);
CREATE INDEX queries_open ON queries (tenant_id, create_time) WHERE state IN (1, 2);
SELECT am_tenant_table('queries');

CREATE TABLE query_events (
    tenant_id text   NOT NULL DEFAULT current_setting('app.tenant'),
    query_id  text   NOT NULL,
    sequence  bigint NOT NULL,
    -- answermesh.v1.QueryEvent.
    payload   bytea  NOT NULL,
    PRIMARY KEY (tenant_id, query_id, sequence),
    FOREIGN KEY (tenant_id, query_id) REFERENCES queries ON DELETE CASCADE
);
SELECT am_tenant_table('query_events');

CREATE TABLE feedback (
    tenant_id   text        NOT NULL DEFAULT current_setting('app.tenant'),
    query_id    text        NOT NULL,
    feedback_id text        NOT NULL,
    -- answermesh.v1.Feedback.
    record      bytea       NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, query_id, feedback_id),
    FOREIGN KEY (tenant_id, query_id) REFERENCES queries ON DELETE CASCADE
);
CREATE INDEX feedback_newest ON feedback (tenant_id, query_id, create_time DESC, feedback_id DESC);
SELECT am_tenant_table('feedback');

-- The ledger outlives the queries: deleting a query does not undo what it cost.
CREATE TABLE agent_runs (
    tenant_id   text             NOT NULL DEFAULT current_setting('app.tenant'),
    query_id    text             NOT NULL,
    sequence    bigint           NOT NULL,
    agent       text             NOT NULL,
    end_time    timestamptz      NOT NULL,
    duration_s  double precision NOT NULL,
    failed      boolean          NOT NULL,
    PRIMARY KEY (tenant_id, query_id, sequence)
);
CREATE INDEX agent_runs_by_time ON agent_runs (tenant_id, end_time);
SELECT am_tenant_table('agent_runs');

CREATE TABLE model_calls (
    tenant_id     text             NOT NULL DEFAULT current_setting('app.tenant'),
    query_id      text             NOT NULL,
    agent         text             NOT NULL,
    call_id       text             NOT NULL,
    provider      text             NOT NULL,
    model         text             NOT NULL,
    end_time      timestamptz      NOT NULL,
    duration_s    double precision NOT NULL,
    input_tokens  bigint           NOT NULL,
    output_tokens bigint           NOT NULL,
    cost_micros   bigint           NOT NULL,
    PRIMARY KEY (tenant_id, query_id, agent, call_id)
);
CREATE INDEX model_calls_by_time ON model_calls (tenant_id, end_time);
SELECT am_tenant_table('model_calls');
