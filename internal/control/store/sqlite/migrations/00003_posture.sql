-- What a host could survive alone, as it says: bits, whose meaning package fleet has. 0: it has not said.

-- +goose Up
ALTER TABLE endpoints ADD COLUMN posture INTEGER NOT NULL DEFAULT 0;
