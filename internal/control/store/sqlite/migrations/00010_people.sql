-- What people need who look: their sessions, what they did, how the fleet was, and which events of a rollout matter.

-- +goose Up
CREATE TABLE sessions (
    hash    BLOB    NOT NULL PRIMARY KEY, -- of the secret in the cookie
    token   TEXT    NOT NULL,             -- id of the operator's token that it stands for
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_expires ON sessions (expires);
CREATE INDEX sessions_token ON sessions (token);

CREATE TABLE audit (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    act     TEXT    NOT NULL,
    target  TEXT    NOT NULL,
    status  INTEGER NOT NULL, -- of the answer
    detail  TEXT    NOT NULL,
    request TEXT    NOT NULL
) STRICT;

-- Of the whole fleet each minute; of a version of a component when its count changed, and each hour.
CREATE TABLE samples (
    at        INTEGER NOT NULL,
    component TEXT    NOT NULL, -- empty: the whole fleet
    version   TEXT    NOT NULL,
    hosts     INTEGER NOT NULL,
    heard     INTEGER NOT NULL,
    PRIMARY KEY (component, at, version)
) STRICT, WITHOUT ROWID;

-- 0: a lease, a look at the fleet, an outcome that harms nobody; 1: a decision that matters; 2: one more harmed host, after many.
ALTER TABLE events ADD COLUMN notable INTEGER NOT NULL DEFAULT 1;
CREATE INDEX events_notable ON events (rollout, notable, revision) WHERE notable > 0;

ALTER TABLE incidents ADD COLUMN closer TEXT NOT NULL DEFAULT ''; -- who closed it
ALTER TABLE incidents ADD COLUMN note TEXT NOT NULL DEFAULT '';   -- and what they said
CREATE INDEX incidents_rollout ON incidents (rollout, number);
CREATE INDEX incidents_open ON incidents (number) WHERE closed = 0;

-- What lists pick by, out of the state: a page must not read and decode all of them. They are empty until the store has filled them in.
ALTER TABLE rollouts ADD COLUMN phase TEXT NOT NULL DEFAULT '';
ALTER TABLE rollouts ADD COLUMN version TEXT NOT NULL DEFAULT '';
CREATE INDEX rollouts_phase ON rollouts (phase, component, number);
CREATE INDEX rollouts_version ON rollouts (component, version, number);

-- The few that are not as most are: under way, harmed, away. Nobody asks for leases_pending any more but the version before, so it is the
-- next one that drops it.
CREATE INDEX leases_other ON leases (rollout, endpoint, outcome) WHERE outcome <> 'confirmed';
