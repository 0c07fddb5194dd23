// Package bootguard is the boot guard's decision: what to go back from when a host does not get through its boots, as a pure state
// machine.
//
//	state, effects := bootguard.Step(state, event)
//
// Step does no I/O and reads no clock. The guard saves the returned state before it carries out an effect, and once more with [Went] or
// [Failed] after it. What is decided and not yet carried out is owed: it is offered again by the next [Booted], so that a kill at any
// moment is made good by the next boot. It is over once the agent says that something else was activated or that the release is proved, or
// once the host is blessed with a proved one.
//
// Every boot is counted once, however many stages see it, until one is blessed; that is so with nothing pending too, because a release
// may be a time bomb. A boot that was planned is not counted, once. When enough boots in a row have ended unblessed, the guard takes the
// next level of its ladder:
//
//	level        after                                 what it does
//	1 pending    3 unblessed boots, 2 with evidence    all that is pending goes back to the last-known-good
//	2 recent     2 more                                all that was activated within 7 days goes back to the good one before, newest first
//	3 factory    2 more, never before the 7th          all goes back to what came with the host; safe mode: consumers do not start
//	4 hands off  2 more                                nothing, and never again before somebody blesses the host
//
// A level that has nothing to do is passed over, so that the first one acts that can. The factory is different. It always waits for its
// own turn, also with evidence: people who switch a laptop off three times, or whose memory is bad, should not lose all updates. And while
// there is nothing to go back from, it is not taken at all: safe mode is no help against what no update brought.
//
// A boot that came as far as being judged, and was found worse than the baseline, counts for what is pending only: nobody leaves a proved
// release because some unit fails. Nor does it count for what is pending if it is worse in nothing but in what the host was before that was
// activated. The third boot that counts for nothing is blessed: that is how the host is now. How a boot ended that was judged does not
// matter. People reboot a host in good order also because of a release that harms it, and then nobody but the guard leaves the release.
//
// Evidence is what the kernel or the watchdog left behind since the host was blessed last. Without it the verdict is inconclusive, and so
// it is when a level leaves more than one release: which of them did it nobody knows.
//
// The guard never stops a boot and asks for a reboot only to leave a hang, while something is pending, and a bounded number of times
// (I6). What no [Entry] names is not touched.
package bootguard
