-- What language models' tokens cost (M9): each version of the whole table. The newest is in force; those before say what was.
CREATE TABLE prices (
    version    INTEGER PRIMARY KEY,    -- from 1
    prices     TEXT NOT NULL,          -- JSON: an array of prices as PUT /v1/prices takes them, in US dollars per million tokens
    changed_at INTEGER NOT NULL        -- when this version was put in force, in microseconds since 1970-01-01T00:00:00Z
) STRICT;
