-- Chains of the audit log of which older entries were exported and dropped. What was dropped is said by an entry of the chain
-- itself, and believed only where that entry says so.
CREATE TABLE audit_checkpoints (
    chain    BLOB PRIMARY KEY,         -- audit.chain: 16 bytes
    sequence INTEGER NOT NULL,         -- audit.sequence of the last entry that was dropped
    entry    INTEGER NOT NULL,         -- audit.sequence of the entry that says so
    dropping INTEGER NOT NULL          -- 1: rows up to `sequence` are left and go little by little; nobody reads them
) WITHOUT ROWID, STRICT;
CREATE INDEX audit_checkpoints_dropping ON audit_checkpoints (chain) WHERE dropping = 1;

-- The organization that a kept answer of the team's names, such as the one that it made: with that it goes. The program fills
-- it for the answers that there are.
ALTER TABLE receipts ADD COLUMN about BLOB;
CREATE INDEX receipts_about ON receipts (about) WHERE about IS NOT NULL;

-- Kept answers go once they are as old as ids may be.
CREATE INDEX receipts_by_time ON receipts (at);
