-- What keyed requests of operators were answered, so that a request that is sent again is carried out once.

-- +goose Up
CREATE TABLE answers (
    token  TEXT    NOT NULL,
    key    TEXT    NOT NULL,
    sum    BLOB    NOT NULL, -- of the request
    at     INTEGER NOT NULL, -- when it began
    answer BLOB,             -- NULL while it is carried out
    PRIMARY KEY (token, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_at ON answers (at);
CREATE INDEX answers_token ON answers (token, at);
