import { describe, expect, test } from "vitest";
import { commandsFor, consequence, readSelector, writeSelector } from "../src/consequences";
import { waits } from "../src/waiting";
import { rollout } from "./rollouts";

describe("consequences", () => {
  test("a halt says who keeps it, who may still activate, and that it rolls nothing back", () => {
    expect(consequence("halt", rollout()).lines).toEqual([
      "Nobody new gets it, ever, from this rollout: a halt is not undone. The release stays usable by another rollout.",
      "37 hosts hold a lease without an outcome yet: they may still activate, prove and report.",
      "212 exposed hosts keep it. To take it from them, roll back.",
    ]);
  });
  test("one is not many, and nobody is nobody", () => {
    expect(consequence("halt", rollout({ unconfirmed: 1, exposed: 1 })).lines.slice(1)).toEqual([
      "1 host holds a lease without an outcome yet: it may still activate, prove and report.", "1 exposed host keeps it. To take it from them, roll back.",
    ]);
    expect(consequence("rollback", rollout({ unconfirmed: 0, exposed: 0 })).lines[0]).toBe("No host has it.");
  });
  test("a rollback recalls", () => {
    const c = consequence("rollback", rollout());
    expect(c.lines.join(" ")).toContain("212 exposed hosts go back to what they ran before");
    expect(c.lines.join(" ")).toContain("recalled: no host may run it again, ever");
    expect(c.grave).toBe(true);
  });
  test("agreeing says whether it starts", () => {
    const proposed = { phase: "proposed" as const, approvals: 3, approved: ["anna"], ring: 0 };
    expect(consequence("approve", rollout(proposed)).lines).toContain("After you 1 more person must agree; until then no host gets it.");
    expect(consequence("approve", rollout({ ...proposed, approved: ["anna", "bert"] })).lines).toContain("With you it starts: ring canary opens for 5 hosts, out of 1,000 that the release is for.");
  });
  test("resuming says what room there is", () => {
    expect(consequence("resume", rollout({ phase: "paused" })).lines).toContain("Ring early has 49 of 50 hosts: 1 more gets it before the ring must show its evidence.");
  });
  test("only what widens minds what was decided meanwhile", () => {
    const all = ["approve", "pause", "resume", "hold", "unhold", "halt", "rollback"] as const;
    expect(all.filter((c) => consequence(c, rollout()).widens)).toEqual(["approve", "resume", "unhold"]);
  });
  test("commands of phases", () => {
    expect(commandsFor("running")).toEqual(["pause", "hold", "halt", "rollback"]);
    expect(commandsFor("halted")).toEqual(["rollback"]);
    expect(commandsFor("tripped")).toEqual([]);
  });
  test("selectors", () => {
    expect(readSelector("site=graz  class=server,desktop\nsite=wien")).toEqual({ select: { site: ["graz", "wien"], class: ["server", "desktop"] } });
    for (const bad of ["graz", "=x", "site=", "site"]) expect(readSelector(bad).wrong).toContain("must be key=value");
    expect(writeSelector({ site: ["a", "b"], "label.role": ["web"] })).toBe("site=a,b label.role=web");
    expect(Object.keys(readSelector("__proto__=x").select)).toEqual(["__proto__"]);
  });
  test("why it waits", () => {
    expect(waits(rollout())).toBe("It waits for prepared hosts to ask.");
    expect(waits(rollout({ waiting: { code: "ring", text: "ring early still has to show: boots 3 of 10" } }))).toBe("It waits: ring early still has to show: boots 3 of 10.");
    expect(waits(rollout({ phase: "paused", waiting: { code: "phase", text: "the rollout is paused" } }))).toBe("The rollout is paused.");
    expect(waits(rollout({ waiting: { code: "", text: "" } }))).toBe("It exposes hosts now.");
  });
});
