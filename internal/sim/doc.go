// Package sim is the second host of the decision: a discrete-event simulation with a virtual clock that drives the same rollout.Step,
// with its breaker, evidence and leases, as the control plane does. Only hosts, network and time are modelled.
//
// A [Scenario] says what the fleet is and what the release does to it; [Run] plays one rollout and [Many] plays many. A run is a function of
// scenario, plan and seed: it reads no clock and shares nothing, so it gives the same result on any machine.
//
// What is modelled of a host: its class, site, tenant, region and stratum; when it is online by its local time; how often it polls; how
// long it takes to activate, to prove the release, to boot; whether it falls silent or says goodbye for reasons of its own; outages that
// it shares with others; whether the release harms it, how soon, whether it can say so and whether it comes back by itself.
//
// Hosts that poll in vain are not played: a refusal changes no state, so the next host to be granted a lease is drawn from those that
// wait, at the rate at which they poll. Controls are drawn as counts, not as hosts: with one of each site they are independent.
package sim
