// Changing the list of freezes: what a change does, said before it is done. Pure.

import { frozen, stateOf, type Freeze } from "./calendar";
import { count, span } from "./format";

const same = (a: Freeze, b: Freeze): boolean => a.name === b.name && a.from === b.from && a.to === b.to && (a.zone || "UTC") === (b.zone || "UTC");

/**
 * edited makes the list that is put: with one more, one less, or one changed. The one that is changed is found by what it was, not by its
 * place: the list may be another one since. at is where the new one stands, -1 if it was taken away; missed tells that the old one is gone already.
 */
export function edited(all: readonly Freeze[], old: Freeze | undefined, changed: Freeze | undefined): { freezes: Freeze[]; at: number; missed: boolean } {
  const place = old ? all.findIndex((f) => same(f, old)) : -1;
  const freezes = [...all];
  if (changed && place >= 0) freezes[place] = changed;
  else if (changed) freezes.push(changed);
  else if (place >= 0) freezes.splice(place, 1);
  return { freezes, at: changed ? (place >= 0 ? place : freezes.length - 1) : -1, missed: old !== undefined && place < 0 };
}

/** Ends are the two ends of a freeze as they are written, empty while nobody wrote them. */
export interface Ends { from: string; to: string }

const later = (date: string, days: number): string => {
  const at = Date.parse(date + "T00:00Z");
  return Number.isNaN(at) ? date : new Date(at + days * 86_400_000).toISOString().slice(0, 10);
};

/** byMinutes writes the ends of a freeze with their time. A whole day at its end is included: it ends when the next one begins. */
export const byMinutes = ({ from, to }: Ends): Ends => ({ from: from.length === 10 ? from + "T00:00" : from, to: to.length === 10 ? later(to, 1) + "T00:00" : to });

/** byDays writes the ends of a freeze as whole days: those that it touches. */
export const byDays = ({ from, to }: Ends): Ends => ({ from: from.slice(0, 10), to: to.endsWith("T00:00") ? later(to.slice(0, 10), -1) : to.slice(0, 10) });

/** sorted puts those in force first, then those to come, the next one first, then those that are over, the last one first. */
export function sorted(all: readonly Freeze[], at: number): Freeze[] {
  const key = (f: Freeze): [number, number] => {
    const s = frozen(f);
    if (typeof s === "string") return [0, 0];
    const state = stateOf(s, at);
    return state === "in force" ? [1, s.to] : state === "coming" ? [2, s.from] : [3, -s.to];
  };
  return [...all].sort((a, b) => key(a)[0] - key(b)[0] || key(a)[1] - key(b)[1]);
}

/** called is a freeze's name within a sentence: isolated, so that a name that turns the direction of writing turns nothing but itself. */
export const called = (f: Pick<Freeze, "name">): string => `\u2068${f.name}\u2069`;

/** setting says what a freeze will do, a sentence for each thing; running is how many rollouts are running. */
export function setting(f: Freeze, at: number, running: number): string[] {
  const s = frozen(f);
  if (typeof s === "string") return [];
  const state = stateOf(s, at);
  const long = span(s.to - s.from);
  const lines =
    state === "past" ? ["It is over already: it changes nothing."]
      : state === "in force" ? [`It is in force at once, for ${span(s.to - at)} more: nobody is exposed to anything until it ends. ${running === 0 ? "No rollout is running now." : `${count(running, "running rollout")} ${running === 1 ? "stands" : "stand"} still.`}`]
        : [`It begins in ${span(s.from - at)} and lasts ${long}: nobody is exposed to anything in it, by no rollout.`];
  if (state !== "past") lines.push("Halts and rollbacks go on. So do hosts that have a lease: they prove and report, rings bake, and the breaker trips.");
  if (s.to - s.from > 60 * 86_400_000) lines.push(`That is long: ${long} without mends either.`);
  return lines;
}

/** lifting says what it does to take a freeze away; others are the freezes that stay. */
export function lifting(f: Freeze, at: number, running: number, others: readonly Freeze[] = []): string[] {
  const s = frozen(f);
  if (typeof s === "string" || stateOf(s, at) === "past") return ["It is not in force: nothing changes but the list."];
  if (stateOf(s, at) === "coming") return [`It would begin in ${span(s.from - at)}: rollouts go on through that time.`];
  const still = others.filter((o) => { const t = frozen(o); return typeof t !== "string" && stateOf(t, at) === "in force"; });
  if (still.length > 0) return [`${count(still.length, "other freeze")} ${still.length === 1 ? "is" : "are"} in force still (${still.map(called).join(", ")}): nobody is exposed all the same.`];
  return [running === 0 ? "It is in force. No rollout is running now; those that start may expose hosts at once." : `It is in force: ${count(running, "running rollout")} may expose hosts at once, as ${running === 1 ? "its plan and its" : "their plans and their"} evidence let ${running === 1 ? "it" : "them"}.`];
}
