-- When hearings were written by the database's clock, which all replicas share: their own may be wrong. They are of the last minutes only, and
-- with SQLite nobody else reads them, so the table begins anew.

-- +goose Up
DROP TABLE hearings;
CREATE TABLE hearings (
    number  INTEGER NOT NULL PRIMARY KEY, -- from the counter 'hearing'
    replica TEXT    NOT NULL,
    at      INTEGER NOT NULL, -- by the replica's clock
    written INTEGER NOT NULL, -- by the database's clock
    data    BLOB    NOT NULL
) STRICT;
CREATE INDEX hearings_written ON hearings (written);
