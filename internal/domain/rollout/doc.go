// Package rollout is the decision: one release going through one plan, as a pure state machine.
//
//	state, effects := rollout.Step(state, event)
//
// Step does no I/O, reads no clock, makes no ids and writes no log. Time, ids and facts about hosts come in with the event; what
// must happen comes out as effects; why it happens is a [Record] among them. The control plane's engine and the simulator are two
// hosts of the same Step. The caller stores event, effects and state in one transaction before it acts on any effect; replaying the
// stored events from the zero State gives the same states and effects again (I10).
//
// Phases:
//
//	        Started                 evidence of every ring complete
//	(zero) ────────► running ───────────────────────────────────────► complete
//	                 │  ▲  │                                             │
//	          paused ◄──┘  ├── breaker trips ──► tripped ◄───────────────┘ (late harm)
//	                       ├── operator ───────► halted ── breaker trips ──► tripped
//	                       └── operator ───────► rolled_back
//
// Where the plan wants several people to agree, proposed comes before running. Held strata, tenants and sites are no phase: the rollout
// goes on without them.
//
// Tripped, halted and rolled_back are final: no lease is granted in them (I3) and no event leads out of them, but that a halted or
// paused rollout can still be rolled back, that a complete one can be halted or rolled back, and that the breaker watches on over the
// hosts that a halt left with the release.
//
// Step is total: an event that means nothing in a state changes nothing, and says nothing. An outcome names what was known of the host
// before; told again with what is known now, it changes nothing (I8).
//
// Ownership: Step takes over the state it is given, like append; use only the returned one. [State.Clone] before Step keeps the old one.
package rollout
