-- A database as the first version left it.

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

CREATE TABLE goose_db_version (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    version_id INTEGER NOT NULL,
    is_applied INTEGER NOT NULL,
    tstamp     TIMESTAMP DEFAULT (datetime('now'))
);
INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1);

INSERT INTO endpoints (id, tenant, attributes, labels, enrolled, last_seen, boot, components, report_seq)
    VALUES ('ep-1', 'acme', '{"os":"linux"}', '{}', 1, 1, '', '', 3);
INSERT INTO rollouts (id, component, revision, created, state) VALUES ('r1', 'c', 1, 0, '{}');
INSERT INTO leases (rollout, endpoint, id, tenant, site, ring, issued, expires, deadline, outcome, known, detail, recovered)
    VALUES ('r1', 'ep-1', 'l1', 'acme', 'graz', 1, 1, 2, 3, 'pending', 0, '', 0);
INSERT INTO reports (endpoint, seq, received, taken, data) VALUES ('ep-1', 3, 9, 0, '{"seq":3}');
