// Halting. It needs neither the stream nor any other data, and nothing may delay it.

import { signal } from "@preact/signals";
import type { Halted, HaltRollouts } from "./api";
import { asFailure, reached, readFailure, session, whoAmI, type Failure } from "./client";

/** Halting is what is being stopped, or was. */
export interface Halting {
  of: readonly string[] | null; // ids; null: everything
  since: number;
  tries: number;
  answer?: Halted; // the newest one
  took?: number; // milliseconds from the key to the first answer
  failure?: Failure | undefined; // of the last try, while there is no answer
  done: boolean; // nothing is left to be tried
}

/** halting is the halt that was asked for last; it stays visible until somebody closes it. */
export const halting = signal<Halting | null>(null);

const patience = 3000; // milliseconds for one answer
const between = 1500; // milliseconds between tries
const follow = 60; // tries at most until what is being held is stored

let turn = 0;

/**
 * halt stops rollouts, or all of them (null), and does not give up: to send it again is safe. What is not stored after the first answer is
 * asked for again by its id, so that nothing is stopped that began later.
 */
export async function halt(of: readonly string[] | null, reason: string, pause = (ms: number) => new Promise<void>((r) => setTimeout(r, ms))): Promise<void> {
  const mine = ++turn;
  const since = Date.now();
  halting.value = { of, since, tries: 0, done: false };
  let ask = of;
  for (let tries = 1; mine === turn; tries++) {
    const before = { ...halting.peek()!, tries };
    halting.value = before;
    try {
      const answer = keep(before.answer, await once({ ...(reason ? { reason } : {}), ...(ask ? { rollouts: [...ask] } : {}) }));
      if (mine !== turn) return;
      ask = answer.rollouts.filter((r) => r.state === "holding" || r.state === "failed").map((r) => r.id);
      const done = ask.length === 0 || tries >= follow;
      halting.value = { ...before, answer, took: before.took ?? Date.now() - since, failure: undefined, done };
      if (done) return;
    } catch (e) {
      if (mine !== turn) return;
      const failure = asFailure(e);
      if (failure.status === 401) await whoAmI().catch(() => undefined); // shows the sign-in, and waits for it
      const done = failure.status !== 401 && !failure.passing;
      halting.value = { ...before, failure, done };
      if (done) return;
    }
    await pause(between);
  }
}

/** keep puts a later answer, which is about some of the rollouts, into the first one. Exported for its test. */
export function keep(first: Halted | undefined, later: Halted): Halted {
  if (!first) return later;
  const newer = new Map(later.rollouts.map((r) => [r.id, r]));
  const rollouts = first.rollouts.map((r) => {
    const now = newer.get(r.id);
    if (!now) return r;
    // The control plane says of what we were holding that it has ended: we ended it.
    return now.state === "ended" && r.state === "holding" ? { ...now, state: "halted" as const, was: r.was } : now;
  });
  return { at: later.at, rollouts, in_flight: rollouts.reduce((n, r) => n + r.in_flight, 0) };
}

async function once(body: HaltRollouts): Promise<Halted> {
  const answer = await fetch("/api/v1/halt", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), cache: "no-store", redirect: "error", signal: AbortSignal.timeout(patience),
  });
  if (answer.status === 401) session.value = null;
  if (!answer.ok) throw await readFailure(answer);
  reached.value = Date.now();
  return (await answer.json()) as Halted;
}

/** leaveHalt closes what is shown. What was asked for goes on being tried. */
export function leaveHalt(): void {
  if (halting.peek()?.done) halting.value = null;
}
