-- Mails that wait to be sent, written in the commit of what they are about. What stands in one is made when it is sent: there is
-- no token here. Each row's data is sealed (store/seal.rs) together with the column by which the row is found.
CREATE TABLE letters (
    id   BLOB PRIMARY KEY,             -- sixteen bytes
    data BLOB NOT NULL                 -- sealed: what for, since when, how often it was tried, when next
) WITHOUT ROWID, STRICT;
