-- What a caller says of a document, to search among documents by it.
ALTER TABLE documents ADD COLUMN labels jsonb NOT NULL DEFAULT '{}';
-- When it was published, as the caller says.
ALTER TABLE documents ADD COLUMN publish_time timestamptz;
CREATE INDEX documents_labels ON documents USING gin (labels jsonb_path_ops);
CREATE INDEX documents_publish_time ON documents (tenant_id, publish_time) WHERE publish_time IS NOT NULL;
