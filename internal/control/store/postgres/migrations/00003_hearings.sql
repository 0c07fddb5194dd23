-- When hearings were written by the database's clock, which all replicas share: their own may be wrong.

-- +goose Up
ALTER TABLE hearings ADD COLUMN written BIGINT NOT NULL
    DEFAULT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT); -- for replicas of the version before, which do not say it
DROP INDEX hearings_replica;
CREATE INDEX hearings_written ON hearings (written);
