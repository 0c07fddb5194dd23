// Package e2e has no code of its own: its tests put both wings together, with the publisher's library and the operators' client, and hold
// them to what must be true of the whole whatever is tampered with, cut off, filled up or killed.
//
// A plane is a control plane, in this process or, where it is to be killed, in one of its own. A host is an agent in this process with a
// real installer, journal and identity; its consumer is a small HTTP server that reads the release in use at every request.
package e2e
