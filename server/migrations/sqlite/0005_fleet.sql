-- Use of all organizations together, but those for tests, by UTC day: of the rollups' fold, and thrown away with them.
CREATE TABLE fleet_usage (
    meter INTEGER NOT NULL,            -- meters.id
    day   INTEGER NOT NULL,            -- days since 1970-01-01
    data  BLOB NOT NULL,               -- sealed: count, sum and highest peak (store/rollup.rs, a slot)
    PRIMARY KEY (meter, day)
) WITHOUT ROWID, STRICT;
