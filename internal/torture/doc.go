// Package torture runs whole installations under load while processes, databases, disks, lines and clocks are broken by a seeded schedule, and
// then looks in the store, and in what the hosts wrote down, whether anything is there that must never be.
//
// It has only tests. A plain `go test` plays a few seconds on SQLite; `make torture` plays ten minutes on PostgreSQL and on SQLite, with two
// thousand hosts that join, poll, get leases and report.
package torture
