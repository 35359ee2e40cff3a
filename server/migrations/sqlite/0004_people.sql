-- People. Each row's data is sealed (store/seal.rs) together with the columns by which the row is found.

-- Who can sign in.
CREATE TABLE users (
    id    BLOB PRIMARY KEY,            -- a UUID, 16 bytes
    email TEXT NOT NULL,               -- in lower case: two that differ in case alone are one
    data  BLOB NOT NULL                -- sealed: a user, with the hash of the password
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX users_by_email ON users (email);

-- What they are in organizations.
CREATE TABLE members (
    organization BLOB NOT NULL,        -- accounts.id
    user         BLOB NOT NULL,        -- users.id
    data         BLOB NOT NULL,        -- sealed: role, whether active, since when
    PRIMARY KEY (organization, user)
) WITHOUT ROWID, STRICT;

-- Who is signed in. The token is not kept.
CREATE TABLE sessions (
    token BLOB PRIMARY KEY,            -- SHA-256 of the token, 32 bytes
    data  BLOB NOT NULL                -- sealed: whose, since when, until when
) WITHOUT ROWID, STRICT;

-- Links that open something once: an invitation, a first sign-in. The token is not kept.
CREATE TABLE links (
    token BLOB PRIMARY KEY,            -- SHA-256 of the token, 32 bytes
    data  BLOB NOT NULL                -- sealed: what it opens, until when
) WITHOUT ROWID, STRICT;
