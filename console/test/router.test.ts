import { describe, expect, test } from "vitest";
import { fill } from "../src/client";
import { pageOf } from "../src/pages";
import { href, match } from "../src/router";

describe("router", () => {
  test.each([
    ["/rollouts/:id", "/rollouts/ro-1", { id: "ro-1" }], ["/rollouts/:id", "/rollouts/ro-1/", { id: "ro-1" }], ["/rollouts/:id", "/rollouts", null], ["/rollouts/:id", "/rollouts/", null],
    ["/releases/:component/:version", "/releases/a%2Fb/1.0%2B1", { component: "a/b", version: "1.0+1" }], ["/rollouts/:id", "/rollouts/%ff", null], ["/", "/", {}], ["/fleet", "/fleet/x", null],
  ])("match %s %s", (pattern, path, want) => expect(match(pattern, path)).toEqual(want));

  test("href writes what match reads, whatever the names are", () => {
    for (const id of ["ro-1", "a/b", "ü %", "<script>", "..", "a?b#c"]) {
      const path = href("/rollouts/:id", { id });
      expect(match("/rollouts/:id", path)).toEqual({ id });
    }
    expect(href("/fleet", undefined, { select: ["a=b", "c=d"], empty: "", none: undefined, off: false, on: true })).toBe("/fleet?select=a%3Db&select=c%3Dd&on=true");
  });

  test("every path has a page, and a strange one too", () => {
    expect(pageOf("/rollouts/ro-1").params).toEqual({ id: "ro-1" });
    expect(pageOf("/rollouts/ro-1").route).not.toBe(pageOf("/rollouts").route);
    expect(pageOf("/nowhere").route).toBe(pageOf("/rollouts/%ff").route);
  });

  test("paths of the API are filled and escaped", () => {
    expect(fill("/api/v1/rollouts/{id}/{act}", { id: "a/b", act: "halt" }, { topic: ["x:1", "y"], after: undefined, n: 0 })).toBe("/api/v1/rollouts/a%2Fb/halt?topic=x%3A1&topic=y&n=0");
  });
});
