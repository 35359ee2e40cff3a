-- Who made an API key, as the audit log names them; NULL for one from before this was noted.
ALTER TABLE api_keys ADD COLUMN created_by TEXT;

-- Links into the portal of one organization that nobody has opened yet, and what came of those that were. The token is not kept.
CREATE TABLE portals (
    token BLOB PRIMARY KEY,            -- SHA-256 of the token, 32 bytes
    data  BLOB NOT NULL                -- sealed: a portal, with its organization, for whom, until when
) WITHOUT ROWID, STRICT;
