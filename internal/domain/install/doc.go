// Package install is the endpoint's decision: what one component on one host does next, as a pure state machine.
//
//	state, effects := install.Step(state, event)
//
// Step does no I/O and reads no clock. The agent saves the returned state, with the reports among the effects, in its journal before it
// carries out any effect; after a crash it loads the state, looks which slot is current, and tells the machine with [Restarted].
//
//	         Directed              Fetched            Leased              Swapped             Proved
//	idle ───────────────► fetching ───────► ready ───────────► activating ───────► proving ──────────► idle
//	 ▲                       │                ▲                     │ SwapFailed       │ Broke, recalled
//	 │◄──────────────────────┘ Failed         └─────────────────────┘                  ▼
//	 │                                            Proved           Restored
//	 └───────────────────────────────── recovering ◄──────────── reverting ◄── Broke or recalled while idle
//
// Only [Leased] leads to activating, and only with a lease that names this release and has not expired (I1). Whatever happens from
// activating on, the way back to the last-known-good slot needs no lease, no network and no space (I5).
package install
