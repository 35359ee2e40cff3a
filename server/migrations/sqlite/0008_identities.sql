-- Who somebody is to an identity provider. Each row's data is sealed (store/seal.rs) together with the columns by which the
-- row is found.
CREATE TABLE identities (
    issuer  TEXT NOT NULL,             -- of the provider, as it stands in its tokens
    subject TEXT NOT NULL,             -- by which the provider knows them; never given to another
    data    BLOB NOT NULL,             -- sealed: an identity, with whose it is, since when
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID, STRICT;

-- Addresses of which it is known that they are the user's own.
CREATE TABLE verified_emails (
    user BLOB PRIMARY KEY,             -- users.id
    data BLOB NOT NULL                 -- sealed: which address, since when
) WITHOUT ROWID, STRICT;
