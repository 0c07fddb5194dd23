import { describe, expect, test } from "vitest";
import { events, next } from "../src/live";
import { layout } from "../src/ui/meter";
import { summary } from "../src/ui/chart";
import { versions } from "../src/versions";

describe("events", () => {
  const text = 'event: snapshot\r\ndata: {"a":1}\r\n\r\n: alive\n\nevent: patch\ndata: {"b":\ndata: 2}\n\nevent: bye\n\ndata: x\n\n';
  const want = [["snapshot", '{"a":1}'], ["patch", '{"b":\n2}'], ["bye", ""], ["message", "x"]];
  test("however the stream is cut", () => {
    for (let size = 1; size <= text.length; size++) {
      const got: string[][] = [];
      const take = events((event, data) => got.push([event, data]));
      for (let i = 0; i < text.length; i += size) take(text.slice(i, i + size));
      expect(got).toEqual(want);
    }
  });
});

describe("next", () => {
  test("snapshot, patch, stale, fresh, gone", () => {
    let t = next<unknown>({}, "patch", { patch: { a: 1 } }, 1);
    expect(t).toEqual({}); // a patch of nothing
    t = next(t, "snapshot", { value: { a: 1, b: 2 } }, 2);
    t = next(t, "patch", { patch: { a: null, c: 3 } }, 3);
    expect(t).toEqual({ value: { b: 2, c: 3 }, at: 3 });
    t = next(t, "stale", { stale: "the database is slow", at: "1970-01-01T00:00:02Z" }, 4);
    expect(t).toEqual({ value: { b: 2, c: 3 }, at: 3, stale: "the database is slow", good: 2000 });
    expect(next(t, "fresh", {}, 5)).toEqual({ value: { b: 2, c: 3 }, at: 3 });
    expect(next(t, "gone", { gone: "no such rollout" }, 6)).toEqual({ gone: "no such rollout", at: 6 });
    expect(next(t, "tomorrow's", {}, 7)).toBe(t);
  });
});

describe("drawing", () => {
  test("one harmed host of a million can be seen, and nothing leaves the bar", () => {
    const parts = layout([{ kind: "harm", count: 1, name: "harmed" }, { kind: "good", count: 999_999, name: "confirmed" }, { kind: "busy", count: 0, name: "" }], 1_000_000);
    expect(parts.length).toBe(2);
    expect(parts[0]!.width).toBeGreaterThan(0.01);
    expect(parts[1]!.x + parts[1]!.width).toBeLessThanOrEqual(1 + 1e-9);
  });
  test("a chart in words", () => {
    expect(summary([1, 2], [{ name: "E", values: [5, 3], kind: "busy" }, { name: "x", values: [null, null], kind: "idle" }], String)).toBe("E: 3 at the end, 5 at most; x: no data");
    expect(summary([], [], String)).toBe("no data");
  });
  test("versions hold their count until it changes", () => {
    const at = (s: number): string => new Date(s * 1000).toISOString();
    const sample = (s: number, version: string, hosts: number) => ({ at: at(s), component: "c", version, hosts, heard: hosts });
    const v = versions({ since: at(0), until: at(4), samples: [sample(1, "a", 10), sample(2, "b", 1), sample(3, "a", 9), { at: at(2), hosts: 10, heard: 10 }] }, "c");
    expect(v.times).toEqual([1000, 2000, 3000, 4000]);
    expect(v.series.map((s) => [s.name, s.values])).toEqual([["a", [10, 10, 9, 9]], ["b", [null, 1, 1, 1]]]);
  });
});
