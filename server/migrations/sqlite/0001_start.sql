-- Times are microseconds since 1970-01-01T00:00:00Z, quantities integers of the meter's smallest unit.
-- Organizations are 16-byte UUIDs.

-- Single values: installation (hex), folded_to (sequence), values_key (hex), admin_key_hash (hex), catalogue_applied,
-- catalogue_checksum (hex: CRC-32 of all rows of meters, plans and api_keys). Behind each value a space and its CRC-32.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

-- The journal: what happened, a row a commit, in the format of store/block.rs. Everything down to unique_values is its
-- fold, and can be thrown away and made again from it.
CREATE TABLE blocks (
    sequence INTEGER PRIMARY KEY,      -- from 1, without gaps
    at       INTEGER NOT NULL,         -- the commit's time
    data     BLOB NOT NULL
) STRICT;

-- An organization's state.
CREATE TABLE accounts (
    id       BLOB PRIMARY KEY,
    sequence INTEGER NOT NULL,         -- the last block that is in this row and in all rows derived for it
    next_due INTEGER NOT NULL,         -- when something falls due that others may want to hear of
    data     BLOB NOT NULL             -- sealed (store/seal.rs): an account
) WITHOUT ROWID, STRICT;

-- What organizations are found and listed by.
CREATE TABLE organizations (
    id         BLOB PRIMARY KEY,
    key        TEXT NOT NULL,
    name       TEXT NOT NULL,
    plan       INTEGER NOT NULL,       -- plans.id
    status     TEXT NOT NULL,          -- trial, active, past_due, canceled
    locked     INTEGER NOT NULL,       -- 1: a lock holds
    created_at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX organizations_by_key ON organizations (key);

-- Use in quarter hours, packed by UTC day, by set of dimension values.
CREATE TABLE rollups (
    organization BLOB NOT NULL,
    meter        INTEGER NOT NULL,     -- meters.id
    day          INTEGER NOT NULL,     -- days since 1970-01-01
    dimensions   TEXT NOT NULL,        -- a JSON object with sorted names; '' without dimensions; 'other' beyond the cap
    data         BLOB NOT NULL,        -- sealed: the format of store/rollup.rs
    PRIMARY KEY (organization, meter, day, dimensions)
) WITHOUT ROWID, STRICT;

-- The values that a uniqueCount meter saw, by keyed hash, in buckets of at most a quarter hour.
CREATE TABLE unique_values (
    organization BLOB NOT NULL,
    meter        INTEGER NOT NULL,
    value        BLOB NOT NULL,        -- 16 bytes
    bucket       INTEGER NOT NULL,     -- its start
    count        INTEGER NOT NULL,     -- events with the value in the bucket; a void takes one away
    PRIMARY KEY (organization, meter, value, bucket)
) WITHOUT ROWID, STRICT;
CREATE INDEX unique_values_by_time ON unique_values (organization, meter, bucket, value);

-- The record of changes, a chain per organization and one for the team (sixteen zero bytes).
CREATE TABLE audit (
    chain    BLOB NOT NULL,
    sequence INTEGER NOT NULL,         -- from 1, without gaps
    at       INTEGER NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    category TEXT NOT NULL,
    before   TEXT NOT NULL,            -- JSON objects
    after    TEXT NOT NULL,
    details  TEXT NOT NULL,
    reason   TEXT NOT NULL,            -- '' without one
    salt     BLOB NOT NULL,            -- 16 random bytes
    hash     BLOB NOT NULL,            -- rules/src/audit.rs says over what
    PRIMARY KEY (chain, sequence)
) WITHOUT ROWID, STRICT;

-- The answers of changes that were made under an idempotency key.
CREATE TABLE receipts (
    scope       BLOB NOT NULL,         -- the organization that the call named, else sixteen zero bytes
    route       TEXT NOT NULL,         -- method and path template
    key         TEXT NOT NULL,
    at          INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,      -- hash of the request, to tell another one under the same key
    status      INTEGER NOT NULL,      -- HTTP
    body        BLOB NOT NULL,         -- sealed
    PRIMARY KEY (scope, route, key)
) WITHOUT ROWID, STRICT;

-- What is counted. A meter's number stands for it in the journal and is never used again.
CREATE TABLE meters (
    id         INTEGER PRIMARY KEY,
    key        TEXT NOT NULL,
    spec       TEXT NOT NULL,          -- JSON, the form of PUT /v1/meters
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX meters_by_key ON meters (key) WHERE deleted_at IS NULL;

-- Every version of every plan, for ever.
CREATE TABLE plans (
    id         INTEGER PRIMARY KEY,
    key        TEXT NOT NULL,
    version    INTEGER NOT NULL,       -- from 1
    spec       TEXT NOT NULL,          -- JSON, the form of PUT /v1/plans
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,                -- on the newest version: the plan takes no new organizations
    UNIQUE (key, version)
) STRICT;

-- API keys. The secret is not kept.
CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,     -- the part of the key that is no secret
    hash         BLOB NOT NULL,        -- SHA-256 of the whole key
    name         TEXT NOT NULL,
    scopes       TEXT NOT NULL,        -- names, comma-separated
    organization BLOB,                 -- NULL: not bound to one
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) WITHOUT ROWID, STRICT;

-- How far a file has been imported.
CREATE TABLE imports (
    source     TEXT PRIMARY KEY,
    rows_done  INTEGER NOT NULL,
    digest     TEXT NOT NULL,          -- of those rows
    updated_at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
