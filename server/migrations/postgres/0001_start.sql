-- Run by whoever the database URL names, who owns all of it; the program works as the role metergate_app, which owns nothing
-- and sees only the rows of the organizations that a transaction has named (at the end).
--
-- Times are microseconds since 1970-01-01T00:00:00Z, quantities integers of the meter's smallest unit. "Sealed" is the
-- format of store/seal.rs: a checksum over the columns by which the row is found, and the content.
--
-- Each table's key begins with the organization, so that all rows of one can be on one server. The team's own are the
-- exceptions: settings, team, meters, plans, api_keys, people, imports, fleet_usage; and organizations_by_key, which keeps
-- keys apart.

-- Single values: values_key, audit_key, ids_key (hex, of the installation), admin_key_hash (hex), team_settings (JSON).
CREATE TABLE settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- One row: what tells every node that the team's things have changed, and the end of the team's audit chain.
CREATE TABLE team (
    id             smallint PRIMARY KEY CHECK (id = 1),
    catalogue      bigint NOT NULL,    -- rises with every change of settings, meters, plans and api_keys
    people         bigint NOT NULL,    -- rises with every change of people
    people_kept    bigint NOT NULL,    -- what of people went up to this change is not told any more: who knows less reads all
    audit_sequence bigint NOT NULL,    -- audit.sequence of the last entry; 0 without any
    audit_hash     bytea NOT NULL      -- its hash, 32 bytes; zeros without any
);
INSERT INTO team VALUES (1, 0, 0, 0, 0, decode(repeat('00', 32), 'hex'));

-- An organization's state: all that a decision needs, under the lock on its row.
CREATE TABLE accounts (
    organization   uuid PRIMARY KEY,
    version        bigint NOT NULL,    -- rises with every write of the row
    sequence       bigint NOT NULL,    -- the last block of its journal; all are in this row and in all rows derived for it, but for what `data` carries of rollups
    next_due       bigint NOT NULL,    -- when something falls due that others may want to hear of
    audit_sequence bigint NOT NULL,    -- audit.sequence of its last entry
    audit_hash     bytea NOT NULL,     -- the hash of that, 32 bytes
    data           bytea NOT NULL      -- sealed: an account, and behind it what it carries of its rollups (store/rollup/carried.rs)
) WITH (fillfactor = 70);

-- The journal: what one commit made happen to one organization, in the format of store/block.rs.
CREATE TABLE blocks (
    organization uuid NOT NULL,
    sequence     bigint NOT NULL,      -- rises by one in an organization; what was moved here has gaps; old ones go
    at           bigint NOT NULL,      -- the commit's time
    data         bytea NOT NULL,
    PRIMARY KEY (organization, sequence)
);
CREATE INDEX blocks_by_time ON blocks USING brin (at);

-- Under which ids things happened, by the time of their arrival in partitions (postgres/ids.rs), which go whole.
CREATE TABLE event_ids (
    organization uuid NOT NULL,
    hash         bigint NOT NULL,      -- of the id, store/known.rs; the record says whether it is the one
    sequence     bigint NOT NULL,      -- blocks.sequence
    place        bigint NOT NULL,      -- the record's offset in the block
    at           bigint NOT NULL       -- the commit's time
) PARTITION BY RANGE (at);
CREATE INDEX event_ids_by_hash ON event_ids (organization, hash);

-- What organizations are found and listed by.
CREATE TABLE organizations (
    organization uuid PRIMARY KEY,
    key          text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    plan         bigint NOT NULL,      -- plans.id
    status       text NOT NULL,        -- trial, active, past_due, canceled
    locked       boolean NOT NULL,     -- a lock holds
    created_at   bigint NOT NULL
);
CREATE UNIQUE INDEX organizations_by_key ON organizations (key);
CREATE INDEX organizations_by_plan ON organizations (plan);

-- Use in quarter hours, packed by UTC day, by set of dimension values.
CREATE TABLE rollups (
    organization uuid NOT NULL,
    meter        bigint NOT NULL,      -- meters.id
    day          integer NOT NULL,     -- days since 1970-01-01
    dimensions   text COLLATE "C" NOT NULL, -- a JSON object with sorted names; '' without dimensions; 'other' beyond the cap
    data         bytea NOT NULL,       -- sealed: the format of store/rollup.rs
    PRIMARY KEY (organization, meter, day, dimensions)
);

-- The values that a uniqueCount meter saw, by keyed hash, in buckets of at most a quarter hour.
CREATE TABLE unique_values (
    organization uuid NOT NULL,
    meter        bigint NOT NULL,      -- meters.id
    value        bytea NOT NULL,       -- 16 bytes
    bucket       bigint NOT NULL,      -- its start
    count        bigint NOT NULL,      -- events with the value in the bucket; a void takes one away
    PRIMARY KEY (organization, meter, value, bucket)
);
CREATE INDEX unique_values_by_time ON unique_values (organization, meter, bucket, value);

-- The record of changes, a chain per organization; the team's is that of the organization of zeros.
CREATE TABLE audit (
    organization uuid NOT NULL,
    sequence     bigint NOT NULL,      -- from 1, without gaps
    at           bigint NOT NULL,
    actor        text NOT NULL,
    action       text NOT NULL,
    category     text NOT NULL,
    before       text NOT NULL,        -- JSON objects
    after        text NOT NULL,
    details      text NOT NULL,
    reason       text NOT NULL,        -- '' without one
    salt         bytea NOT NULL,       -- 16 random bytes; zeros once redacted
    hash         bytea NOT NULL,       -- 32 bytes; rules/src/audit.rs says over what
    redacted     bytea,                -- of a deleted organization: five salted hashes of 32 bytes in place of the texts
    PRIMARY KEY (organization, sequence)
);

-- Which entry was marked as dealt with by which other one of its chain, the last of several.
CREATE TABLE audit_resolutions (
    organization uuid NOT NULL,
    sequence     bigint NOT NULL,      -- audit.sequence of the entry that was dealt with
    resolution   bigint NOT NULL,      -- audit.sequence of the entry that says so
    PRIMARY KEY (organization, sequence)
);

-- Chains of which older entries were exported and dropped; believed only where the entry says so.
CREATE TABLE audit_checkpoints (
    organization uuid PRIMARY KEY,
    sequence     bigint NOT NULL,      -- audit.sequence of the last entry that was dropped
    entry        bigint NOT NULL,      -- audit.sequence of the entry that says so
    dropping     boolean NOT NULL      -- rows up to `sequence` are left and go little by little; nobody reads them
);

-- The answers of changes that were made under an idempotency key.
CREATE TABLE receipts (
    organization uuid NOT NULL,        -- the one that the call named, else zeros
    route        text NOT NULL,        -- method and path template
    key          text NOT NULL,
    at           bigint NOT NULL,
    fingerprint  bigint NOT NULL,      -- hash of the request, to tell another one under the same key
    status       integer NOT NULL,     -- HTTP
    body         bytea NOT NULL,       -- sealed
    about        uuid,                 -- the organization that an answer of the team's names: with that it goes
    PRIMARY KEY (organization, route, key)
);
CREATE INDEX receipts_about ON receipts (about) WHERE about IS NOT NULL;
CREATE INDEX receipts_by_time ON receipts (at);

-- Organizations that are deleted and of which rows are left: they go little by little. Nobody reads them.
CREATE TABLE deletions (
    organization uuid PRIMARY KEY,
    at           bigint NOT NULL       -- when it was deleted
);

-- What is counted. A meter's number stands for it in the journal and is never used again.
CREATE TABLE meters (
    id         bigint PRIMARY KEY,
    key        text NOT NULL,
    spec       text NOT NULL,          -- JSON, the form of PUT /v1/meters
    created_at bigint NOT NULL,
    deleted_at bigint
);

-- Every version of every plan, for ever.
CREATE TABLE plans (
    id         bigint PRIMARY KEY,
    key        text NOT NULL,
    version    bigint NOT NULL,        -- from 1
    spec       text NOT NULL,          -- JSON, the form of PUT /v1/plans
    created_at bigint NOT NULL,
    deleted_at bigint,                 -- on the newest version: the plan takes no new organizations
    UNIQUE (key, version)
);

-- API keys. The secret is not kept.
CREATE TABLE api_keys (
    id           text PRIMARY KEY,     -- the part of the key that is no secret
    hash         bytea NOT NULL,       -- SHA-256 of the whole key
    name         text NOT NULL,
    scopes       text NOT NULL,        -- names, comma-separated
    organization uuid,                 -- NULL: not bound to one
    created_at   bigint NOT NULL,
    created_by   text,                 -- as the audit log names them
    replaces     text,                 -- the key in whose place it was made (api_keys.id)
    expires_at   bigint,
    revoked_at   bigint
);

-- Users, members, sessions, links, portals, identities, verified addresses. All of them are in every node's memory.
CREATE TABLE people (
    kind    text NOT NULL,             -- which of these (postgres/people.rs)
    key     bytea NOT NULL,            -- by what it is found: ids and hashes of tokens; never a token
    data    bytea,                     -- sealed, kind and key in the checksum; NULL: it has gone, as nodes are told for an hour
    changed bigint NOT NULL,           -- team.people after the commit that wrote it
    gone_at bigint,                    -- when it went
    PRIMARY KEY (kind, key)
);
CREATE INDEX people_by_change ON people (changed);
CREATE INDEX people_gone ON people (gone_at) WHERE gone_at IS NOT NULL;

-- How far a file has been imported.
CREATE TABLE imports (
    source     text PRIMARY KEY,
    rows_done  bigint NOT NULL,
    digest     text NOT NULL,          -- of those rows
    updated_at bigint NOT NULL
);

-- Use of all organizations together, but those for tests, by UTC day: in several parts, so that no two nodes wait for the
-- same row. A figure is the sum over its parts.
CREATE TABLE fleet_usage (
    part  smallint NOT NULL,           -- the one that a node adds to, chosen when it starts
    meter bigint NOT NULL,             -- meters.id
    day   integer NOT NULL,            -- days since 1970-01-01
    count bigint NOT NULL,             -- events and decisions
    sum   numeric NOT NULL,            -- of what they added
    max   bigint NOT NULL,             -- the highest peak
    PRIMARY KEY (part, meter, day)
);

-- The second wall: a transaction sees the rows of the organizations that it has named in metergate.organizations, or of all
-- where it has said so in metergate.team. The lists are read once a statement.
DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['accounts', 'blocks', 'event_ids', 'organizations', 'rollups', 'unique_values', 'audit',
                                  'audit_resolutions', 'audit_checkpoints', 'receipts', 'deletions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format(
            'CREATE POLICY named ON %I TO metergate_app USING (
                 (SELECT current_setting(''metergate.team'', true) = ''on'')
                 OR organization = ANY ((SELECT string_to_array(current_setting(''metergate.organizations'', true), '','')::uuid[])::uuid[]))',
            walled);
    END LOOP;
END $$;
