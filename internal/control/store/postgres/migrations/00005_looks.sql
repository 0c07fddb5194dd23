-- +goose NO TRANSACTION
-- The indexes for what people look at. They are built beside a leader of the version before, which goes on writing, however long it takes.
-- What was killed in the middle has left an index that is good for nothing, so all of them are begun anew.

-- +goose Up
SET statement_timeout = 0;
SET lock_timeout = 0; -- nobody waits behind it

-- If this process is killed its server ends the work soon, and not when it is done.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('client_connection_check_interval', '5s', false);
EXCEPTION WHEN OTHERS THEN -- older than 14, or on a system that cannot tell
    NULL;
END
$$;
-- +goose StatementEnd

DROP INDEX CONCURRENTLY IF EXISTS events_notable;
CREATE INDEX CONCURRENTLY events_notable ON events (rollout, notable, revision) WHERE notable > 0;

DROP INDEX CONCURRENTLY IF EXISTS incidents_rollout;
CREATE INDEX CONCURRENTLY incidents_rollout ON incidents (rollout, number);

DROP INDEX CONCURRENTLY IF EXISTS incidents_open;
CREATE INDEX CONCURRENTLY incidents_open ON incidents (number) WHERE closed = 0;

DROP INDEX CONCURRENTLY IF EXISTS rollouts_phase;
CREATE INDEX CONCURRENTLY rollouts_phase ON rollouts (phase, component, number);

DROP INDEX CONCURRENTLY IF EXISTS rollouts_version;
CREATE INDEX CONCURRENTLY rollouts_version ON rollouts (component, version, number);

-- The few that are not as most are: under way, harmed, away. Nobody asks for leases_pending any more but the version before, so it is the
-- next one that drops it.
DROP INDEX CONCURRENTLY IF EXISTS leases_other;
CREATE INDEX CONCURRENTLY leases_other ON leases (rollout, endpoint, outcome) WHERE outcome <> 'confirmed';
