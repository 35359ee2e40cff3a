-- Closed slices of the journal. The records of their blocks are in a file each, slices/<first>-<last>.records; the blocks
-- leave the table `blocks` little by little, but for the newest, which stays.
CREATE TABLE slices (
    first   INTEGER PRIMARY KEY,       -- the sequence of the first block in it
    last    INTEGER NOT NULL,          -- of the last
    last_at INTEGER NOT NULL           -- when the last was committed, at the latest
) STRICT;

-- The ids of closed slices, a file for one or more that follow each other: slices/<first>-<last>.ids.
CREATE TABLE slice_ids (
    first   INTEGER PRIMARY KEY,       -- the sequence of the first block whose ids are in it
    last    INTEGER NOT NULL,          -- of the last
    last_at INTEGER NOT NULL           -- when the last was committed, at the latest
) STRICT;
