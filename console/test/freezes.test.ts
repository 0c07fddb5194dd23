import { describe, expect, test } from "vitest";
import { byDays, byMinutes, edited, lifting, setting, sorted } from "../src/freezes";

const at = Date.parse("2026-11-22T12:00Z");
const now = { name: "now", from: "2026-11-20", to: "2026-11-24" };
const soon = { name: "soon", from: "2026-12-20", to: "2027-01-06", zone: "Europe/Vienna" };
const later = { name: "later", from: "2027-03-01", to: "2027-03-02" };
const past = { name: "past", from: "2026-01-01", to: "2026-01-02" };

describe("changing the list", () => {
  test("adds, changes in its place, takes away", () => {
    expect(edited([now], undefined, soon)).toEqual({ freezes: [now, soon], at: 1, missed: false });
    expect(edited([now, soon], now, later)).toEqual({ freezes: [later, soon], at: 0, missed: false });
    expect(edited([now, soon], { ...now, zone: "UTC" }, undefined)).toEqual({ freezes: [soon], at: -1, missed: false });
  });
  test("finds what it changes by what it was, and says if it is gone", () => {
    expect(edited([later, now], now, soon)).toEqual({ freezes: [later, soon], at: 1, missed: false });
    expect(edited([later], now, soon)).toEqual({ freezes: [later, soon], at: 1, missed: true });
    expect(edited([later], now, undefined)).toEqual({ freezes: [later], at: -1, missed: true });
  });
  test("in force first, then the next, then what is over", () => expect(sorted([past, later, soon, now], at).map((f) => f.name)).toEqual(["now", "soon", "later", "past"]));
});

describe("its ends", () => {
  const days = { from: "2026-12-20", to: "2026-12-31" };
  const minutes = { from: "2026-12-20T00:00", to: "2027-01-01T00:00" };
  test("mean the same by days and by minutes", () => {
    expect(byMinutes(days)).toEqual(minutes);
    expect(byDays(minutes)).toEqual(days);
    expect([byMinutes(minutes), byDays(days)]).toEqual([minutes, days]);
  });
  test("days are those that it touches, and what is empty or odd stays so", () => {
    expect(byDays({ from: "2026-09-30T12:00", to: "2026-10-01T08:00" })).toEqual({ from: "2026-09-30", to: "2026-10-01" });
    expect([byMinutes({ from: "", to: "" }), byDays({ from: "", to: "" })]).toEqual([{ from: "", to: "" }, { from: "", to: "" }]);
    expect(byMinutes({ from: "2026-99-99", to: "2026-99-99" }).to).toBe("2026-99-99T00:00");
  });
});

describe("what it does", () => {
  test("set", () => {
    expect(setting(now, at, 3)[0]).toBe("It is in force at once, for 2 d 12 h more: nobody is exposed to anything until it ends. 3 running rollouts stand still.");
    expect(setting(soon, at, 3)[0]).toBe("It begins in 27 d 11 h and lasts 18 d: nobody is exposed to anything in it, by no rollout.");
    expect(setting(soon, at, 3)[1]).toContain("Halts and rollbacks go on.");
    expect(setting(past, at, 3)).toEqual(["It is over already: it changes nothing."]);
    expect(setting({ ...soon, to: "2027-12-31" }, at, 0)[2]).toContain("without mends");
    expect(setting({ ...soon, to: "never" }, at, 0)).toEqual([]);
  });
  test("lifted", () => {
    expect(lifting(now, at, 1)).toEqual(["It is in force: 1 running rollout may expose hosts at once, as its plan and its evidence let it."]);
    expect(lifting(now, at, 1, [{ ...now, name: "other" }, soon])).toEqual(["1 other freeze is in force still (\u2068other\u2069): nobody is exposed all the same."]);
    expect(lifting(soon, at, 1)).toEqual(["It would begin in 27 d 11 h: rollouts go on through that time."]);
    expect(lifting(past, at, 1)).toEqual(["It is not in force: nothing changes but the list."]);
  });
});
