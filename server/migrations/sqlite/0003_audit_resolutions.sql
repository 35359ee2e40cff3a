-- Which entry of the audit log was marked as dealt with by which other one of its chain, the last of several. What it says
-- stands in that entry alone.
CREATE TABLE audit_resolutions (
    chain      BLOB NOT NULL,          -- audit.chain: 16 bytes
    sequence   INTEGER NOT NULL,       -- audit.sequence of the entry that was dealt with
    resolution INTEGER NOT NULL,       -- audit.sequence of the entry that says so
    PRIMARY KEY (chain, sequence)
) WITHOUT ROWID, STRICT;

-- One setting more is made at a start: audit_key (hex), by which the ends of the audit chains are signed.
