import type { Rollout } from "../src/api";

/** rollout makes a rollout for tests. */
export function rollout(change: Partial<Rollout> = {}): Rollout {
  const ring = (name: string, size: number, leased: number): Rollout["rings"][number] => ({
    name, size, state: "open", leased, confirmed: leased, crashed: 0, reverted: 0, silent: 0, goodbye: 0, late: 0, rejected: 0, boots: 0, host_hours: 0,
  });
  return {
    id: "ro-1", component: "nginx", version: "2", manifest: "sha256:00", plan: "careful", phase: "running", revision: 7, started: "2026-07-19T04:09:00Z", rings: [ring("canary", 5, 5), ring("early", 50, 49)], ring: 1,
    window: 8, unconfirmed: 37, eligible: 1000, exposed: 212, confirmed: 170, harmed: 5, recovered: 0, returned: 0, evidence: 1, doubt: 1, amber: 20, trip: 10_000, alarm: "quiet",
    waiting: { code: "hosts", text: "for prepared hosts to ask" }, approvals: 1, ...change,
  };
}
