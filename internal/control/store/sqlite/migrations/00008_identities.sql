-- What changes:
--   endpoints: how an identity ended, if it did, and with which token it joined and when, so that a join whose answer was lost counts once.

-- +goose Up
ALTER TABLE endpoints ADD COLUMN ending TEXT    NOT NULL DEFAULT ''; -- empty, 'revoked' or 'removed'
ALTER TABLE endpoints ADD COLUMN ended  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN why    TEXT    NOT NULL DEFAULT '';
ALTER TABLE endpoints ADD COLUMN token  TEXT    NOT NULL DEFAULT ''; -- id of the one that it joined with last
ALTER TABLE endpoints ADD COLUMN joined INTEGER NOT NULL DEFAULT 0;  -- when that was
