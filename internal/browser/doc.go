// Package browser shows that the console works: a whole control plane with a fleet of simulated hosts, which speak the agents' protocol, and
// a real browser before it. The walks themselves are TypeScript in console/e2e; they say to the world at its desk what is to happen next.
// The same world stands for the screenshots in docs.
package browser
