-- What a leased host was when it got its lease: its slice of the fleet, and its class. Leases from before say neither.

-- +goose Up
ALTER TABLE leases ADD COLUMN stratum TEXT NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN class TEXT NOT NULL DEFAULT '';
