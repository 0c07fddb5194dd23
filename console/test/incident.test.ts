import { describe, expect, it } from "vitest";
import { levels, shareOf } from "../src/blast";
import { stopped } from "../src/pages/incident";
import { rollout } from "./rollouts";

const blast = (eligible: number, exposed: number, harmed: number, recovered: number) => levels({ eligible, exposed, harmed, recovered, spared: Math.max(0, eligible - exposed) });

describe("the picture of a blast radius", () => {
  it("goes from all hosts to the exposed, the harmed and the recovered", () => {
    expect(blast(14_455, 3, 2, 1).map((l) => [l.name, l.all, l.part.count, l.rest.count])).toEqual([
      ["hosts that it was for", 14_455, 3, 14_452], ["exposed", 3, 2, 1], ["harmed", 2, 1, 1],
    ]);
  });
  it("leaves out bars of nobody", () => {
    expect(blast(10, 0, 0, 0).map((l) => l.name)).toEqual(["hosts that it was for"]);
    expect(blast(10, 4, 0, 0).map((l) => l.name)).toEqual(["hosts that it was for", "exposed"]);
    expect(blast(0, 0, 0, 0)).toEqual([]);
  });
  it("holds together when hosts left the fleet meanwhile", () => {
    for (const [eligible, exposed, harmed, recovered] of [[1, 3, 5, 9], [0, 2, 2, 0]] as const) {
      for (const l of blast(eligible, exposed, harmed, recovered)) {
        expect(l.part.count + l.rest.count, l.name).toBe(l.all);
        expect(Math.min(l.part.count, l.rest.count, l.width), l.name).toBeGreaterThanOrEqual(0);
        expect(l.width).toBeLessThanOrEqual(1);
      }
    }
  });
  it("never hides what is not nothing, and never fills what is not all", () => {
    expect(shareOf(1, 1_000_000)).toBeGreaterThan(0.005);
    expect(shareOf(999_999, 1_000_000)).toBeLessThan(1);
    expect(shareOf(0, 5)).toBe(0);
    expect(shareOf(5, 5)).toBe(1);
  });
});

describe("what became of a release", () => {
  const i = { component: "c", version: "2" };
  it("is said by the phase of its rollout, and never says more than that", () => {
    expect(stopped(rollout({ phase: "tripped" }), i)).toContain("stopped c 2 by itself");
    expect(stopped(rollout({ phase: "rolled_back" }), i)).toContain("go back");
    expect(stopped(rollout({ phase: "halted" }), i)).toContain("keep it");
    expect(stopped(rollout({ phase: "running" }), i), "a part of the fleet is held").toContain("goes on elsewhere");
    expect(stopped(undefined, i)).toBe("c 2 was stopped.");
  });
});
