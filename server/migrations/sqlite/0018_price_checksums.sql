-- CRC-32 over the version, its prices and when it was put in force: each version has its own, so that a change of the catalogue
-- reads none of those before.
ALTER TABLE prices ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
