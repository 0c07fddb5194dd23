import { describe, expect, test } from "vitest";
import { merge, type Json } from "../src/merge";

describe("merge", () => {
  // The examples of RFC 7396, appendix A.
  const cases: [Json, Json, Json][] = [
    [{ a: "b" }, { a: "c" }, { a: "c" }], [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }], [{ a: "b" }, { a: null }, {}], [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }], [{ a: "c" }, { a: ["b"] }, { a: ["b"] }], [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }], [["a", "b"], ["c", "d"], ["c", "d"]], [{ a: "b" }, ["c"], ["c"]], [{ a: "foo" }, null, null], [{ a: "foo" }, "bar", "bar"],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }], [[1, 2], { a: "b", c: null }, { a: "b" }], [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  test.each(cases)("%j and %j", (value, patch, want) => expect(merge(value, patch)).toEqual(want));

  test("keeps what the patch does not name, and changes nothing in place", () => {
    const value = { left: { deep: [1] }, right: { n: 1 } };
    const merged = merge(value, { right: { n: 2 } }) as typeof value;
    expect(merged.left).toBe(value.left);
    expect(value.right.n).toBe(1);
  });

  test("takes __proto__ for a name", () => {
    const merged = merge({}, JSON.parse('{"__proto__": {"polluted": true}}') as Json) as Record<string, unknown>;
    expect(Object.keys(merged)).toEqual(["__proto__"]);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });
});
