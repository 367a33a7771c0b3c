-- What a document is about, as the key of an entity: its title without a bracketed addition at the end. A passage that
-- names the title of another document leads there.
ALTER TABLE documents ADD COLUMN title_key text NOT NULL DEFAULT '' COLLATE "C";
UPDATE documents SET title_key = btrim(lower(regexp_replace(title, '\s*\([^()]*\)\s*$', '')), E' "''“”‘’`*.,;:');
CREATE INDEX documents_title_key ON documents (tenant_id, title_key);
