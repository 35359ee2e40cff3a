-- What members have chosen to be told by mail; who has none is told what is usual for their role. Each row's data is sealed
-- (store/seal.rs) together with the columns by which the row is found.
CREATE TABLE mail_choices (
    organization BLOB NOT NULL,        -- members.organization
    user         BLOB NOT NULL,        -- members.user
    data         BLOB NOT NULL,        -- sealed: of which things they want to be told, and of which not
    PRIMARY KEY (organization, user)
) WITHOUT ROWID, STRICT;
