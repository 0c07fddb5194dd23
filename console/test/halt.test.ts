import { afterEach, describe, expect, test, vi } from "vitest";
import type { Halted, HaltedRollout, Overview } from "../src/api";
import { halt, halting, keep } from "../src/halt";
import { aims, headline } from "../src/haltpanel";
import { rollout } from "./rollouts";

const one = (id: string, state: HaltedRollout["state"], more: Partial<HaltedRollout> = {}): HaltedRollout => ({ id, component: "nginx", version: "2", was: "running", phase: "halted", state, in_flight: 3, exposed: 9, text: "", ...more });
const answer = (...rollouts: HaltedRollout[]): Halted => ({ at: "2026-07-19T04:09:00Z", rollouts, in_flight: rollouts.reduce((n, r) => n + r.in_flight, 0) });
const json = (body: unknown, status = 200): Response => new Response(JSON.stringify(body), { status });
const now = (): Promise<void> => Promise.resolve();

afterEach(() => vi.unstubAllGlobals());

describe("halt", () => {
  test("names what it asks for, once it is done", async () => {
    const sent: unknown[] = [];
    vi.stubGlobal("fetch", async (_: string, init: RequestInit) => { sent.push(JSON.parse(String(init.body))); return json(answer(one("ro-1", "halted"))); });
    await halt(["ro-1"], "harm", now);
    expect(sent).toEqual([{ reason: "harm", rollouts: ["ro-1"] }]);
    expect(halting.value).toMatchObject({ done: true, tries: 1, answer: { rollouts: [{ state: "halted" }] } });
  });

  test("tries again by itself: no answer, too busy, held; then by id only", async () => {
    const sent: unknown[] = [];
    const answers = [() => { throw new TypeError("network"); }, () => json({ title: "busy", detail: "busy" }, 503), () => json(answer(one("ro-1", "holding"), one("ro-2", "halted"))), () => json(answer(one("ro-1", "ended")))];
    vi.stubGlobal("fetch", async (_: string, init: RequestInit) => { sent.push(JSON.parse(String(init.body))); return answers[sent.length - 1]!(); });
    await halt(null, "", now);
    expect(sent).toEqual([{}, {}, {}, { rollouts: ["ro-1"] }]);
    expect(halting.value?.answer?.rollouts.map((r) => r.state)).toEqual(["halted", "halted"]);
    expect(halting.value?.done).toBe(true);
  });

  test("gives up what is refused", async () => {
    let sent = 0;
    vi.stubGlobal("fetch", async () => { sent++; return json({ title: "invalid", detail: "reason is too long" }, 400); });
    await halt(null, "x", now);
    expect(sent).toBe(1);
    expect(halting.value).toMatchObject({ done: true, failure: { detail: "reason is too long" } });
    expect(headline(halting.value!)).toBe("The halt of everything was refused");
  });

  test("a newer halt takes over", async () => {
    let sent = 0;
    vi.stubGlobal("fetch", async () => { sent++; if (sent > 20) throw new Error("too often"); throw new TypeError("network"); });
    const first = halt(null, "", async () => { if (sent === 1) void halt(["ro-9"], "", () => new Promise(() => undefined)); });
    await first;
    expect(halting.value?.of).toEqual(["ro-9"]);
  });

  test("keep counts what is in flight over all", () => {
    const kept = keep(answer(one("a", "holding", { in_flight: 5 }), one("b", "halted", { in_flight: 2 })), answer(one("a", "halted", { in_flight: 4 })));
    expect(kept.in_flight).toBe(6);
    expect(kept.rollouts.map((r) => r.id)).toEqual(["a", "b"]);
  });

  test("headlines", () => {
    const of = (a?: Halted) => headline({ of: null, since: 0, tries: 1, took: 40, done: true, ...(a ? { answer: a } : {}) });
    expect(headline({ of: ["ro-1"], since: 0, tries: 1, done: false })).toBe("Halting rollout ro-1…");
    expect(of(answer(one("a", "halted"), one("b", "holding"), one("c", "failed")))).toBe("1 rollout halted, 1 held, nobody gets a lease any more and 1 NOT halted; 9 hosts are still in flight (answered in 40 ms)");
    expect(of(answer())).toBe("Nothing was running");
    expect(of(answer(one("a", "ended")))).toBe("There was nothing to halt: it had ended");
  });
});

describe("aims", () => {
  const overview = (...all: ReturnType<typeof rollout>[]): Overview => ({ rollouts: Object.fromEntries(all.map((r) => [r.id, r])), running: all.length, incidents: {}, phases: {}, attention: {}, freezes: [], health: [] }) as unknown as Overview;
  test("a rollout's page aims at it first", () => {
    const found = aims("/rollouts/ro-1", overview(rollout()));
    expect(found.map((a) => a.of)).toEqual([["ro-1"], null]);
    expect(found[0]!.text).toBe("Nobody new gets nginx 2. 37 hosts hold a lease and may still activate; 212 exposed hosts keep it.");
  });
  test("elsewhere everything, with counts", () => {
    expect(aims("/fleet", overview(rollout()))).toEqual([{ of: null, label: "Halt everything", text: "1 rollout: nginx 2. 37 hosts are under way and may still activate." }]);
  });
  test("it works without anything being known", () => {
    expect(aims("/rollouts/ro-1", undefined).map((a) => a.of)).toEqual([["ro-1"], null]);
    expect(aims("/", undefined)[0]!.text).toContain("not known here");
  });
});
