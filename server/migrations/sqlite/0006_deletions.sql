-- What is left of an entry of the audit log when its organization was deleted: the salted hashes of actor, before, after,
-- details and reason, 32 bytes each, by which its chain still verifies. The texts are empty then and the salt is zero.
ALTER TABLE audit ADD COLUMN redacted BLOB;

-- Organizations that are deleted and of which rows are left: they go little by little. Nobody reads them.
CREATE TABLE deletions (
    organization BLOB PRIMARY KEY,     -- what accounts.id was
    at           INTEGER NOT NULL      -- when it was deleted
) WITHOUT ROWID, STRICT;
