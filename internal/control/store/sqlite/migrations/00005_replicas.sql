-- What replicas share: who leads, and letters to the leader. With SQLite there is one replica, which leads as long as it has the file;
-- the rows are there so that fencing is the same everywhere.

-- +goose Up
CREATE TABLE leadership (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    term   INTEGER NOT NULL, -- fencing token: grows whenever the lead passes on
    holder TEXT    NOT NULL, -- empty: nobody
    until  INTEGER NOT NULL  -- by the database's clock
) STRICT;
INSERT INTO leadership (id, term, holder, until) VALUES (1, 1, '', 0);

CREATE TABLE letters (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT    NOT NULL,
    body     BLOB    NOT NULL,
    asked    INTEGER NOT NULL, -- by the database's clock
    answered INTEGER NOT NULL, -- 1 once answer is set
    answer   BLOB
) STRICT;
CREATE INDEX letters_unanswered ON letters (id) WHERE answered = 0;
