-- A database as version 3 left it: before endpoints had numbers.

-- Times are microseconds since 1970 in UTC, 0 for none. JSON is text, so that it is given back byte for byte.

CREATE TABLE tokens (
    id      TEXT    NOT NULL PRIMARY KEY,
    hash    BLOB    NOT NULL UNIQUE,
    kind    TEXT    NOT NULL,
    tenant  TEXT    NOT NULL,
    note    TEXT    NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    uses    INTEGER NOT NULL, -- left; -1 unlimited
    revoked INTEGER NOT NULL
) STRICT;

CREATE TABLE endpoints (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    attributes TEXT    NOT NULL,
    labels     TEXT    NOT NULL,
    enrolled   INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    boot       TEXT    NOT NULL,
    components TEXT    NOT NULL, -- empty until the first check-in
    report_seq INTEGER NOT NULL
) STRICT;

CREATE TABLE components (
    name       TEXT    NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL,
    validation TEXT    NOT NULL,
    plan       TEXT    NOT NULL,
    created    INTEGER NOT NULL
) STRICT;

CREATE TABLE plans (
    name    TEXT    NOT NULL PRIMARY KEY,
    body    TEXT    NOT NULL,
    updated INTEGER NOT NULL
) STRICT;

CREATE TABLE metadata (
    name TEXT NOT NULL PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

CREATE TABLE releases (
    component TEXT    NOT NULL,
    version   TEXT    NOT NULL,
    serial    INTEGER NOT NULL,
    digest    TEXT    NOT NULL UNIQUE, -- of release.json as signed
    manifest  TEXT    NOT NULL,
    PRIMARY KEY (component, version),
    UNIQUE (component, serial)
) STRICT;

CREATE TABLE rollouts (
    number    INTEGER PRIMARY KEY AUTOINCREMENT, -- order of creation, whatever the clock says
    id        TEXT    NOT NULL UNIQUE,
    component TEXT    NOT NULL,
    revision  INTEGER NOT NULL,
    created   INTEGER NOT NULL,
    state     TEXT    NOT NULL
) STRICT;
CREATE INDEX rollouts_component ON rollouts (component, number);

CREATE TABLE events (
    rollout  TEXT    NOT NULL REFERENCES rollouts (id),
    revision INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    data     TEXT    NOT NULL,
    effects  TEXT    NOT NULL,
    PRIMARY KEY (rollout, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    rollout   TEXT    NOT NULL REFERENCES rollouts (id),
    endpoint  TEXT    NOT NULL,
    id        TEXT    NOT NULL,
    tenant    TEXT    NOT NULL,
    site      TEXT    NOT NULL,
    ring      INTEGER NOT NULL,
    issued    INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    deadline  INTEGER NOT NULL,
    outcome   TEXT    NOT NULL,
    known     INTEGER NOT NULL,
    detail    TEXT    NOT NULL,
    recovered INTEGER NOT NULL,
    PRIMARY KEY (rollout, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_endpoint ON leases (endpoint, rollout);
CREATE INDEX leases_pending ON leases (deadline) WHERE outcome = 'pending';

CREATE TABLE recalls (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    component TEXT    NOT NULL,
    version   TEXT    NOT NULL,
    manifest  TEXT    NOT NULL,
    artifacts TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    rollout   TEXT    NOT NULL REFERENCES rollouts (id),
    at        INTEGER NOT NULL,
    UNIQUE (component, manifest)
) STRICT;

CREATE TABLE incidents (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT    NOT NULL UNIQUE,
    rollout   TEXT    NOT NULL REFERENCES rollouts (id),
    component TEXT    NOT NULL,
    version   TEXT    NOT NULL,
    title     TEXT    NOT NULL,
    opened    INTEGER NOT NULL,
    closed    INTEGER NOT NULL
) STRICT;

CREATE TABLE directives (
    component TEXT    NOT NULL PRIMARY KEY,
    sequence  INTEGER NOT NULL,
    envelope  BLOB    NOT NULL,
    issued    INTEGER NOT NULL
) STRICT;

CREATE TABLE reports (
    arrival  INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint TEXT    NOT NULL REFERENCES endpoints (id),
    seq      INTEGER NOT NULL,
    received INTEGER NOT NULL,
    taken    INTEGER NOT NULL, -- 1 once the engine took it in
    data     TEXT    NOT NULL,
    UNIQUE (endpoint, seq)
) STRICT;
CREATE INDEX reports_untaken ON reports (arrival) WHERE taken = 0;

CREATE TABLE settings (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
-- What a leased host was when it got its lease: its slice of the fleet, and its class. Leases from before say neither.

ALTER TABLE leases ADD COLUMN stratum TEXT NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN class TEXT NOT NULL DEFAULT '';
-- What a host could survive alone, as it says: bits, whose meaning package fleet has. 0: it has not said.

ALTER TABLE endpoints ADD COLUMN posture INTEGER NOT NULL DEFAULT 0;

CREATE TABLE goose_db_version (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    version_id INTEGER NOT NULL,
    is_applied INTEGER NOT NULL,
    tstamp     TIMESTAMP DEFAULT (datetime('now'))
);
INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1), (2, 1), (3, 1);

INSERT INTO endpoints (id, tenant, attributes, labels, enrolled, last_seen, boot, components, report_seq, posture) VALUES
    ('ep-2', 'acme', '{"os":"windows"}', '{"role":"web"}', 1000000, 5000000, 'b2', '{"c":{}}', 7, 4),
    ('ep-1', 'other', '{"os":"linux"}', '{}', 2000000, 0, '', '', 0, 0),
    ('ep-3', 'acme', '{"os":"linux"}', '{}', 3000000, 6000000, 'b3', '', 2, 0);
INSERT INTO rollouts (id, component, revision, created, state) VALUES ('r1', 'c', 2, 1000000, '{"id":"r1"}');
INSERT INTO events (rollout, revision, at, name, data, effects) VALUES ('r1', 1, 1000000, 'woke', '{}', '[]'), ('r1', 2, 2000000, 'woke', '{}', '[]');
INSERT INTO leases (rollout, endpoint, id, tenant, site, stratum, class, ring, issued, expires, deadline, outcome, known, detail, recovered) VALUES
    ('r1', 'ep-2', 'l2', 'acme', 'graz', 'os windows', 'server', 1, 1, 2, 3, 'pending', 0, '', 0),
    ('r1', 'ep-3', 'l3', 'acme', 'wien', 'os linux', 'laptop', 1, 1, 2, 3, 'crashed', 4, 'signal 11', 5);
INSERT INTO reports (arrival, endpoint, seq, received, taken, data) VALUES
    (4, 'ep-2', 5, 4000000, 1, '{"seq":5}'),
    (9, 'ep-3', 2, 5000000, 0, '{"seq":  2}'),
    (11, 'ep-2', 7, 6000000, 0, '{"seq":7}');
INSERT INTO settings (key, value) VALUES ('k', 'v');
INSERT INTO tokens (id, hash, kind, tenant, note, created, expires, uses, revoked) VALUES ('t1', x'01', 'join', 'acme', '', 1, 0, 5, 0);
