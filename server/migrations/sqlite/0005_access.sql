-- Who made an API key, as the audit log names them; NULL for one from before this was noted.
ALTER TABLE api_keys ADD COLUMN created_by TEXT;
