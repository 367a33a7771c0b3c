-- Documents, their passages with vectors and BM25 postings, and the graph of entities that they mention.
--
-- All that follows from a document is written and forgotten with it, in one transaction; counts (terms, corpora, entities)
-- are kept up to date in that transaction, under one advisory lock per tenant.

CREATE TABLE documents (
    tenant_id       text        NOT NULL DEFAULT current_setting('app.tenant'),
    document_id     text        NOT NULL,
    uri             text        NOT NULL COLLATE "C",
    title           text        NOT NULL,
    media_type      text        NOT NULL,
    size_bytes      bigint      NOT NULL,
    -- SHA-256 of the file.
    content_hash    bytea       NOT NULL,
    -- Digest of all that its passages follow from: the file, the given title and type, the reader's version, the embedder.
    fingerprint     bytea       NOT NULL,
    text            text        NOT NULL,
    character_count integer     NOT NULL,
    passage_count   integer     NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT now(),
    update_time     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, document_id)
);
CREATE UNIQUE INDEX documents_uri ON documents (tenant_id, uri);
SELECT am_tenant_table('documents');

CREATE TABLE passages (
    tenant_id       text    NOT NULL DEFAULT current_setting('app.tenant'),
    -- Short, for postings and mentions; the resource name is made of document_id and ordinal.
    passage_id      bigint  GENERATED ALWAYS AS IDENTITY,
    document_id     text    NOT NULL,
    ordinal         integer NOT NULL,
    span_start      integer NOT NULL,
    span_end        integer NOT NULL,
    text            text    NOT NULL,
    headings        text[]  NOT NULL,
    page            integer NOT NULL,
    -- Lexemes in it, repeats counted.
    length          integer NOT NULL DEFAULT 0,
    embedding_model text    NOT NULL,
    embedding       vector(384) NOT NULL,
    PRIMARY KEY (tenant_id, passage_id),
    UNIQUE (tenant_id, document_id, ordinal),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents ON DELETE CASCADE
);
CREATE INDEX passages_embedding ON passages USING hnsw (embedding vector_cosine_ops);
SELECT am_tenant_table('passages');
GRANT USAGE ON SEQUENCE passages_passage_id_seq TO answermesh_app;

CREATE TABLE postings (
    tenant_id  text     NOT NULL DEFAULT current_setting('app.tenant'),
    term       text     NOT NULL COLLATE "C",
    passage_id bigint   NOT NULL,
    -- Times that the term occurs in the passage, and the passage's length: all that BM25 reads, in one place.
    frequency  smallint NOT NULL,
    length     integer  NOT NULL,
    PRIMARY KEY (tenant_id, term, passage_id) INCLUDE (frequency, length)
);
CREATE INDEX postings_passage ON postings (tenant_id, passage_id);
SELECT am_tenant_table('postings');

CREATE TABLE terms (
    tenant_id text    NOT NULL DEFAULT current_setting('app.tenant'),
    term      text    NOT NULL COLLATE "C",
    -- Passages that the term occurs in.
    passages  integer NOT NULL,
    PRIMARY KEY (tenant_id, term)
) WITH (fillfactor = 70);
SELECT am_tenant_table('terms');

CREATE TABLE corpora (
    tenant_id text   NOT NULL DEFAULT current_setting('app.tenant'),
    passages  bigint NOT NULL,
    length    bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT am_tenant_table('corpora');

CREATE TABLE entities (
    tenant_id      text     NOT NULL DEFAULT current_setting('app.tenant'),
    entity_id      text     NOT NULL,
    -- What all its spellings share.
    key            text     NOT NULL COLLATE "C",
    display_name   text     NOT NULL,
    -- answermesh.v1.Entity.Type.
    type           smallint NOT NULL,
    mention_count  integer  NOT NULL,
    document_count integer  NOT NULL,
    PRIMARY KEY (tenant_id, entity_id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX entities_key ON entities (tenant_id, key);
CREATE INDEX entities_most ON entities (tenant_id, mention_count DESC, entity_id);
SELECT am_tenant_table('entities');

CREATE TABLE mentions (
    tenant_id   text    NOT NULL DEFAULT current_setting('app.tenant'),
    entity_id   text    NOT NULL,
    passage_id  bigint  NOT NULL,
    document_id text    NOT NULL,
    -- The first mention in the passage, as a span of the document's text.
    span_start  integer NOT NULL,
    span_end    integer NOT NULL,
    PRIMARY KEY (tenant_id, entity_id, passage_id),
    FOREIGN KEY (tenant_id, passage_id) REFERENCES passages ON DELETE CASCADE
);
CREATE INDEX mentions_passage ON mentions (tenant_id, passage_id);
CREATE INDEX mentions_document ON mentions (tenant_id, document_id);
SELECT am_tenant_table('mentions');

CREATE TABLE relations (
    tenant_id  text    NOT NULL DEFAULT current_setting('app.tenant'),
    subject_id text    NOT NULL,
    object_id  text    NOT NULL,
    passage_id bigint  NOT NULL,
    -- As written between the two; empty where they only stand in one sentence.
    predicate  text    NOT NULL,
    span_start integer NOT NULL,
    span_end   integer NOT NULL,
    PRIMARY KEY (tenant_id, subject_id, object_id, passage_id),
    FOREIGN KEY (tenant_id, passage_id) REFERENCES passages ON DELETE CASCADE
);
CREATE INDEX relations_object ON relations (tenant_id, object_id);
CREATE INDEX relations_passage ON relations (tenant_id, passage_id);
SELECT am_tenant_table('relations');
