-- A checksum over each row of values, so that bytes which changed on the disk are found (store/sqlite/values.rs).
ALTER TABLE unique_values ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;   -- CRC-32 of the other columns

-- One setting more, from the first deletion on: deleted_organizations, how many have ever been deleted.
