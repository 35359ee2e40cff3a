-- What a meter's UTC days came to, all dimension sets together, packed by 32 days: reports by whole days read these in place of
-- the rows of every day. Of the rollups' fold, and thrown away with them.
CREATE TABLE day_totals (
    organization BLOB NOT NULL,
    span         INTEGER NOT NULL,     -- days since 1970-01-01, by 32
    meter        INTEGER NOT NULL,     -- meters.id
    data         BLOB NOT NULL,        -- sealed: the format of store/rollup.rs, with days in place of quarter hours
    PRIMARY KEY (organization, span, meter)
) WITHOUT ROWID, STRICT;
