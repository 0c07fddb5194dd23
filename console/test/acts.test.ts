import { describe, expect, it } from "vitest";
import { cameOf, hrefOf, wordsOf } from "../src/acts";

describe("the audit", () => {
  it("says an act on a rollout by its command", () => {
    expect(wordsOf("actOnRollout", "halt: it crashes: badly")).toEqual({ what: "halt", why: "it crashes: badly" });
    expect(wordsOf("actOnRollout", "pause")).toEqual({ what: "pause", why: "" });
    expect(wordsOf("actOnRollout", "constructor: x"), "not a command").toEqual({ what: "act on a rollout", why: "constructor: x" });
    expect(wordsOf("putPlan", undefined)).toEqual({ what: "store a plan", why: "" });
    expect(wordsOf("brandNew", "d"), "an operation that is not known here").toEqual({ what: "brandNew", why: "d" });
  });
  it("tells what came of it", () => {
    expect([200, 201, 204, 401, 403, 429, 400, 404, 409, 412, 500, 503].map(cameOf)).toEqual([
      "done", "done", "done", "refused", "refused", "refused", "not done", "not done", "not done", "not done", "failed", "failed",
    ]);
  });
  it("leads to what it was done to", () => {
    expect(hrefOf("rollout ro-4q2k")).toBe("/rollouts/ro-4q2k");
    expect(hrefOf("rollout ro-4q2k of sensor-content 291.4")).toBe("/rollouts/ro-4q2k");
    expect(hrefOf("release sensor-content 291.4+b")).toBe("/releases/sensor-content/291.4%2Bb");
    expect(hrefOf("incident in-5")).toBe("/incidents/in-5");
    expect(hrefOf("endpoint host/../x")).toBe("/endpoints/host%2F..%2Fx");
    expect(hrefOf("all rollouts")).toBe("/rollouts");
    expect(hrefOf("join token tk-1")).toBeUndefined();
    expect(hrefOf("rollout <script>")).toBeUndefined();
  });
});
