import { describe, expect, it } from "vitest";
import type { Endpoint, FleetProfile } from "../src/api";
import { toldOf } from "../src/host";
import { asked, isEmpty, readPairs, readSearch, rounded, said, strata } from "../src/hostsearch";
import { atRisk } from "../src/posture";

const search = (query: string) => readSearch(new URLSearchParams(query));

describe("the search of hosts", () => {
  it("is read from the address and asked of the API", () => {
    const s = search("prefix=ep-1&select=site%3Dgraz&select=site%3Dwien&component=nginx&version=2&silent=15&lacks=guard&refusing=true&at_risk=true");
    expect(asked(s, Date.parse("2026-07-19T04:24:00Z"))).toEqual({
      prefix: "ep-1", select: ["site=graz", "site=wien"], component: "nginx", version: "2", silent_since: "2026-07-19T04:09:00.000Z", lacks: ["guard"], refusing: true, at_risk: true,
    });
  });
  it("asks for nothing that is empty or makes no sense", () => {
    for (const text of ["", "silent=0", "silent=-5", "silent=x", "silent=Infinity", "refusing=1", "prefix=&select"]) {
      const s = search(text === "prefix=&select" ? "prefix=" : text);
      expect(asked(s, 0), text).toEqual({});
      expect(isEmpty(s), text).toBe(true);
    }
    expect(asked(search("version=3"), 0), "a version is that of a component").toEqual({});
  });
  it("is said in words", () => {
    expect(said(search(""))).toBe("");
    expect(said(search("silent=60"))).toBe("that were not heard for 1 h");
    expect(said(search("component=nginx&version=2&select=site%3Da&select=site%3Db&select=class%3Dserver")))
      .toBe("that run nginx 2, have site=a or b and have class=server");
    expect(said(search("component=nginx&refusing=true&at_risk=true"), true)).toBe("that has nginx, keeps a release of nginx in quarantine and would not come back from a boot loop by itself");
  });
});

describe("readPairs", () => {
  it("reads pairs, alternatives and values with spaces", () => {
    expect(readPairs(" site=graz  class=server,desktop ").pairs).toEqual(["site=graz", "class=server", "class=desktop"]);
    expect(readPairs("label.role=web front site=a=b").pairs).toEqual(["label.role=web front", "site=a=b"]);
    expect(readPairs("  ").pairs).toEqual([]);
  });
  it("says what is no pair, and takes none then", () => {
    for (const text of ["graz", "=x", "site=", "site=,", "<script>alert(1)</script>"]) {
      expect(readPairs(text).wrong, text).toContain("must be key=value");
      expect(readPairs(text).pairs, text).toEqual([]);
    }
  });
});

describe("rounded", () => {
  it("gives an estimate no more digits than it is worth", () => {
    expect(rounded(12_413, true)).toBe(12_400);
    expect(rounded(12_413, false)).toBe(12_413);
    expect(rounded(7, true)).toBe(7);
  });
});

describe("strata", () => {
  const group = (hosts: number, more: object) => ({ hosts, heard: hosts, ...more });
  const profile = (groups: object[]): FleetProfile => ({ taken: "2026-01-01T00:00:00Z", hosts: 0, groups: groups as FleetProfile["groups"] });
  it("sums up sites and tenants", () => {
    const s = strata(profile([group(3, { os: "debian", class: "server", site: "a" }), group(9, { os: "debian", class: "desktop" }), group(4, { os: "debian", class: "server", site: "b" })]));
    expect(s.map((x) => [x.name, x.hosts])).toEqual([["debian / – / – / – / desktop", 9], ["debian / – / – / – / server", 7]]);
    expect(s[1]!.select).toEqual(["os=debian", "class=server"]);
  });
  it("loses no host when there are many", () => {
    const s = strata(profile([...Array.from({ length: 9 }, (_, i) => group(10 - i, { os: `os${i}` })), group(100, { summed: 7 })]), 3);
    expect(s).toHaveLength(4);
    expect(s.reduce((n, x) => n + x.hosts, 0)).toBe(100 + 54);
    expect(s[3]!.select, "those that are summed are no search").toEqual([]);
  });
});

describe("posture", () => {
  it("is at risk without a vital word, or if nothing was said", () => {
    expect(atRisk(undefined)).toBe(true);
    expect(atRisk({ missing: ["guard"] })).toBe(true);
    expect(atRisk({ missing: ["watchdog", "space"] })).toBe(false);
    expect(atRisk({})).toBe(false);
  });
});

describe("toldOf", () => {
  const host = (more: Partial<Endpoint>): Endpoint => ({ id: "e", tenant: "t", attributes: {}, enrolled: "", last_seen: "", ...more });
  const report = { seq: 1, at: "2026-01-01T00:00:00Z", component: "c", release: "2", manifest: "sha256:aa" };
  it("finds what harmed, not what was said before", () => {
    const e = host({ reports: [{ ...report, seq: 3, outcome: "recovered" }, { ...report, seq: 2, outcome: "crashed", detail: "it died" }] });
    expect(toldOf(e, "c", "sha256:aa")).toMatchObject({ version: "2", outcome: "crashed", why: "it died" });
    expect(toldOf(e, "other", "sha256:aa")).toEqual({});
  });
  it("takes what comes next if no report is left", () => {
    expect(toldOf(host({ next: [{ component: "c", version: "9", rollout: "ro-1", code: "quarantine", text: "" }] }), "c", "sha256:bb")).toEqual({ version: "9", rollout: "ro-1" });
  });
});
