-- What changes:
--   endpoints: gets a number (the store gives it, from 1) and a change number; last_seen and report_seq move to the table hot.
--   hot: new. What a check-in changes of an endpoint, in narrow rows under integer keys. Every endpoint has a row.
--   reports: endpoint is the number now, not the id.
--   counters: new. Numbers that must be given in the order of commits: whoever takes one holds the row until its transaction ends.
--   hearings: new. Who was heard by which replica, as a log.
-- One process has the file, so tables are made anew here instead of being widened.

-- +goose Up
CREATE TABLE counters (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL -- the last one given
) STRICT;

CREATE TABLE endpoints_new (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    tenant     TEXT    NOT NULL,
    attributes TEXT    NOT NULL,
    labels     TEXT    NOT NULL,
    enrolled   INTEGER NOT NULL,
    boot       TEXT    NOT NULL,
    components TEXT    NOT NULL, -- empty until the first check-in
    posture    INTEGER NOT NULL,
    change     INTEGER NOT NULL  -- from the counter 'change', new whenever this row is written
) STRICT;
INSERT INTO endpoints_new (number, id, tenant, attributes, labels, enrolled, boot, components, posture, change)
    SELECT row_number() OVER (ORDER BY rowid), id, tenant, attributes, labels, enrolled, boot, components, posture,
        row_number() OVER (ORDER BY rowid)
    FROM endpoints;
INSERT INTO counters (name, value) SELECT 'change', count(*) FROM endpoints;
INSERT INTO counters (name, value) VALUES ('hearing', 0);

CREATE TABLE hot (
    endpoint INTEGER PRIMARY KEY REFERENCES endpoints_new (number),
    seen     INTEGER NOT NULL,
    reported INTEGER NOT NULL, -- highest report number ever stored
    pruned   INTEGER NOT NULL  -- reports up to this number may have been pruned, so one that comes again is ignored
) STRICT;
INSERT INTO hot (endpoint, seen, reported, pruned)
    SELECT n.number, e.last_seen, e.report_seq, 0 FROM endpoints e JOIN endpoints_new n ON n.id = e.id;

CREATE TABLE reports_new (
    arrival  INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint INTEGER NOT NULL, -- number of one; not checked by the database, as every report is written with its row of hot
    seq      INTEGER NOT NULL,
    received INTEGER NOT NULL,
    taken    INTEGER NOT NULL, -- 1 once the engine took it in
    data     TEXT    NOT NULL,
    UNIQUE (endpoint, seq)
) STRICT;
INSERT INTO reports_new (arrival, endpoint, seq, received, taken, data)
    SELECT r.arrival, n.number, r.seq, r.received, r.taken, r.data
    FROM reports r JOIN endpoints_new n ON n.id = r.endpoint ORDER BY r.arrival;

DROP TABLE reports;
DROP TABLE endpoints;
ALTER TABLE reports_new RENAME TO reports;
ALTER TABLE endpoints_new RENAME TO endpoints;
CREATE INDEX reports_untaken ON reports (arrival) WHERE taken = 0;
CREATE INDEX endpoints_change ON endpoints (change);

CREATE TABLE hearings (
    number  INTEGER PRIMARY KEY, -- from the counter 'hearing'
    replica TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    data    BLOB    NOT NULL
) STRICT;
CREATE INDEX hearings_replica ON hearings (replica, at);
