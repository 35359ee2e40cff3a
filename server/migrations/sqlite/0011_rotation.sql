-- The key in whose place an API key was made (api_keys.id); NULL for one that took no other's place.
ALTER TABLE api_keys ADD COLUMN replaces TEXT;
