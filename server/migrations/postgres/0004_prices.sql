-- What language models' tokens cost (M9): each version of the whole table. The newest is in force; those before say what was.
-- The team's. Times are microseconds since 1970-01-01T00:00:00Z.
CREATE TABLE prices (
    version    bigint PRIMARY KEY,     -- from 1
    prices     text NOT NULL,          -- JSON: an array of prices as PUT /v1/prices takes them, in US dollars per million tokens
    changed_at bigint NOT NULL         -- when this version was put in force
);
