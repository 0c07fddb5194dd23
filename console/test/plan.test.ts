import { describe, expect, test } from "vitest";
import { asks, bands, changes, milliseconds, notBefore, percent, reached, readPlan, rounds, sentenceOf, sizes, sizeText, specOf, time, type PlanDoc } from "../src/plan";
import { endings, goesOn } from "../src/forecast";

const content: PlanDoc = {
  name: "content",
  rings: [
    { name: "canary", hosts: 30, prefer: { class: ["server"] }, evidence: { confirmed: 0.95, resolved: 0.99, bake: "10m0s", strata: 0.05, excess_below: 0.25 } },
    { name: "early", hosts: 992, evidence: { confirmed: 0.95, bake: "5m0s" } },
    { name: "some", share: 0.02, evidence: { bake: "5m0s" } },
    { name: "rest", share: 0.99, evidence: { bake: "5m0s" } },
    { name: "holdback", share: 1, holdback: true },
  ],
};

const plain = (texts: string[]): string[] => texts.map((t) => t.replaceAll("\u00a0", " "));

describe("lengths of time", () => {
  test("as plans write them", () => {
    expect(["15m", "1h30m0s", "72h0m0s", "1.5s", "300ms", "0"].map(milliseconds)).toEqual([900_000, 5_400_000, 259_200_000, 1500, 300, 0]);
    for (const bad of [undefined, "", "15", "m", "15 m", "-5m"]) expect(milliseconds(bad)).toBeUndefined();
    expect(time("72h0m0s")).toBe("3 d");
    expect(time("soon")).toBe("soon");
  });
});

describe("sizes", () => {
  test("are the control plane's: absolute ones, then shares of what is reached, always growing", () => {
    expect(sizes(content.rings, 8_500_000)).toEqual([30, 992, 168_978, 8_245_000, 85_000]);
    expect(sizes(content.rings, 14_573)).toEqual([30, 992, 993, 12_413, 145]);
    expect(sizes([{ name: "a", share: 0.07 }], 100)).toEqual([7]);
  });
  test("a small fleet ends early", () => expect(reached(content.rings, 40)).toEqual([30, 10, 0, 0, 0]));
  test("in words", () => {
    expect(plain(content.rings.map(sizeText))).toEqual(["30 hosts", "992 hosts", "up to 2 % of all", "up to 99 % of all", "all that are left"]);
    expect(plain([0.02, 0.001, 0.0001, 0.015, 1].map(percent))).toEqual(["2 %", "0.1 %", "0.01 %", "1.5 %", "100 %"]);
  });
});

describe("a plan in words", () => {
  test("earliest times are the bakes before", () => expect(notBefore(content.rings).map((t) => t / 60_000)).toEqual([0, 10, 15, 20, 25, 25]));
  test("what a ring must show", () => {
    expect(plain(asks(content.rings[0]!.evidence))).toEqual([
      "95 % confirmed", "99 % with an outcome", "10 min of bake", "a confirmed host in every stratum of 5 % or more", "reported harm above the usual below 25 %",
    ]);
    expect(asks({ confirmed: 1, resolved: 1, boots: 1, host_hours: 2, gates: [{ name: "errors" }] })).toEqual(["every host confirmed", "1 boot", "2 host-hours", "gate errors"]);
  });
  test("rounds", () => {
    expect(rounds({ start: 2, growth: 2, max: 2_147_483_647 })).toBe("2, 4, 8, 16 … hosts at a time, each round 2 times what confirmed");
    expect(rounds({ start: 2, growth: 10, max: 500 })).toBe("2, 20, 200 … hosts at a time, each round 10 times what confirmed, 500 at most");
    expect(rounds({ start: 5, growth: 1, max: 5 })).toBe("5 hosts at a time");
  });
  test("the drawing in a sentence", () =>
    expect(sentenceOf({ name: "x", rings: content.rings.slice(0, 2) })).toBe("ring canary: 30 hosts; ring early: 992 hosts, not before 10 min"));
  test("only what has rings is one", () => {
    expect(readPlan({ name: "x", rings: [{ name: "a" }, null] })).toEqual({ name: "x", rings: [{ name: "a" }] });
    for (const bad of [undefined, null, 7, "x", {}, { rings: "x" }]) expect(readPlan(bad)).toBeUndefined();
  });
});

describe("the drawing", () => {
  const hosts = sizes(content.rings, 14_573);
  const drawn = bands(hosts, notBefore(content.rings).slice(1).map((t, k) => t - notBefore(content.rings)[k]!), 100);
  test("fills its radius from the middle, every ring around the one before, with a break between", () => {
    expect(drawn[0]!.inner).toBe(0);
    drawn.forEach((b, k) => {
      expect(b.outer).toBeGreaterThan(b.inner);
      if (k > 0) expect(b.inner).toBeCloseTo(drawn[k - 1]!.outer + drawn[k - 1]!.break);
      expect(b.break > 0).toBe(k < drawn.length - 1);
    });
    expect(drawn[drawn.length - 1]!.outer).toBeCloseTo(100);
  });
  test("wider rings for more hosts, wider breaks for longer bakes", () => {
    const width = (k: number): number => drawn[k]!.outer - drawn[k]!.inner;
    expect(width(3)).toBeGreaterThan(width(0));
    expect(drawn[0]!.break).toBeGreaterThan(drawn[1]!.break);
  });
  test("of 32 rings none vanishes", () => {
    const many = bands(Array.from({ length: 32 }, (_, k) => 2 ** k), [], 100);
    expect(Math.min(...many.map((b) => b.outer - b.inner))).toBeGreaterThan(0.5);
    expect(bands([], [], 100)).toEqual([]);
  });
});

describe("forecasts", () => {
  test("say what became of the runs, and whether that is all", () => {
    const all = { runs: 200, stopped: 170, frozen: 30 };
    expect([goesOn(all), endings(all)]).toEqual([false, "170 of 200 stopped, 30 frozen"]);
    expect([goesOn({ ...all, stopped: 158 }), endings({ ...all, stopped: 158 })]).toEqual([true, "158 of 200 stopped, 30 frozen, 12 went on"]);
    expect(endings({ runs: 5, stopped: 5, frozen: 0 })).toBe("5 of 5 stopped");
  });
});

describe("what differs", () => {
  test("is told by path, with both values", () => {
    expect(changes({ name: "a", rings: [{ hosts: 2 }, { hosts: 9 }], strata: ["os"] }, { name: "a", rings: [{ hosts: 3 }], strata: ["os", "class"], watch: "72h" })).toEqual([
      { path: "rings[0].hosts", before: "2", after: "3" }, { path: "rings[1]", before: '{"hosts":9}' }, { path: "strata", before: "os", after: "os, class" },
      { path: "watch", after: "72h" },
    ]);
    expect(changes({ a: 1 }, { a: 1 })).toEqual([]);
  });
  test("is bounded", () => {
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`k${i}`, "x".repeat(1000)]));
    const all = changes({}, many);
    expect(all.length).toBe(200);
    expect(all[0]!.after!.length).toBe(301);
  });
});

describe("a file for apply", () => {
  test("loses its envelope and keeps its lines", () => {
    expect(specOf("# why\nkind: Plan\nspec:\n  name: x\n")).toBe("# why\n\n\n  name: x\n");
    expect(specOf('{"kind": "Plan", "spec": {"name": "x"}}')).toBe('{"name":"x"}');
  });
  test("what is none stays as it is", () => {
    for (const text of ["name: x\nrings: []\n", "kind: Freezes\nspec:\n  freezes: []\n", '{"name": "x"}', "{oops", "spec: {name: x}\nkind: Plan\n"]) expect(specOf(text)).toBe(text);
  });
});
