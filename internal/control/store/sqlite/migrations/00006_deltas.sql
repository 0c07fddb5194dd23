-- How an artifact is had from another one that a host has already, or from nothing (base ''). The bytes are blobs. Nothing here is
-- trusted by anybody: it only makes downloads shorter.

-- +goose Up
CREATE TABLE deltas (
    artifact TEXT    NOT NULL, -- digest of what comes out
    base     TEXT    NOT NULL, -- digest of what it needs; '' if nothing
    form     TEXT    NOT NULL, -- as in package api
    blob     TEXT    NOT NULL, -- digest of the delta
    size     INTEGER NOT NULL, -- of the delta, in bytes
    PRIMARY KEY (artifact, base, form)
) STRICT, WITHOUT ROWID;
