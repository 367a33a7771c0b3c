-- What was asked in a conversation, so that a question may lean on the one before.

CREATE TABLE session_turns (
    tenant_id   text        NOT NULL DEFAULT current_setting('app.tenant'),
    session_id  text        NOT NULL,
    query_id    text        NOT NULL,
    -- As it was answered: with what its pronouns stood for.
    question    text        NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id, query_id)
);
CREATE INDEX session_turns_newest ON session_turns (tenant_id, session_id, create_time DESC);
CREATE INDEX session_turns_query ON session_turns (tenant_id, query_id);
SELECT am_tenant_table('session_turns');
