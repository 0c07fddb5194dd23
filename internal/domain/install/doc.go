// Package install is the endpoint's decision: what one component on one host does next, as a pure state machine.
//
//	state, effects := install.Step(state, event)
//
// Step does no I/O and reads no clock. The agent saves the returned state, with the reports among the effects, in its journal before it
// carries out any effect; after a crash it loads the state, looks which slot is current, and tells the machine with [Restarted].
//
//	         Directed              Fetched            Leased              Swapped             Proved
//	idle ───────────────► fetching ───────► ready ───────────► activating ───────► proving ──────────► idle
//	 ▲                       │                ▲                     │ SwapFailed       │ Broke, barred
//	 │◄──────────────────────┘ Failed         └─────────────────────┘                  ▼
//	 │                                            Proved           Restored
//	 └───────────────────────────────── recovering ◄──────────── reverting ◄── Broke or barred while idle
//
// Only [Leased] leads to activating, and only with a lease that names this release and has not expired (I1). A lease that cannot be used
// is reported as rejected, so that nobody waits for its outcome. Whatever happens from activating on, the way back to the last-known-good
// slot needs no lease, no network and no space (I5).
//
// Barred is what was recalled, or is held for this host. That binds in every phase: what runs or is next is left, and what is barred is
// not gone back to. Where there is nothing to go back to, the component is taken away, and the recovery is over once that is done. A
// recovery whose probes keep failing is not the end either: after a while a release that the host has not refused may take over.
//
// What matters at boot is confirmed after its soak, but becomes the last-known-good release only with [Blessed], after a boot with it.
// Until then the way back leads to the one before. What the boot guard or the launcher left while no agent ran ([Undone]) harmed this host:
// for good if there is evidence, otherwise for a day. No later doubt makes that weaker. If it ran until an activation that has not
// happened, the lease is given back and the host goes back: a successor does not begin on a host that was just brought back.
//
// A host may keep its first good release that booted (Factory) for the boot guard's last level. The machine never goes there by itself;
// where the guard did, that is the last-known-good release from then on.
//
// A recall is remembered and binds for ever. A hold binds while the directive at hand has it, and is not remembered: what it was for may
// be tried again without it. What was done for it stays done. A way back that was begun goes on without the directive, however often
// the agent dies on it, and a release that was dropped from the way back does not return to it.
package install
