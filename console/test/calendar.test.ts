import { describe, expect, test } from "vitest";
import { daysText, freezeText, frozen, instants, lasting, opening, stateOf, windowText } from "../src/calendar";

const at = (text: string): number => Date.parse(text);
const vienna = "Europe/Vienna";

describe("zones", () => {
  test("a time that the clock shows once", () => expect(instants(at("2026-07-01T12:00Z"), vienna)).toEqual([at("2026-07-01T10:00Z"), at("2026-07-01T10:00Z")]));
  test("a time that it skips is the jump", () => expect(instants(at("2026-03-29T02:30Z"), vienna)).toEqual([at("2026-03-29T01:00Z"), at("2026-03-29T01:00Z")]));
  test("a time that it shows twice is both", () => expect(instants(at("2026-10-25T02:30Z"), vienna)).toEqual([at("2026-10-25T00:30Z"), at("2026-10-25T01:30Z")]));
});

describe("freezes", () => {
  const christmas = { name: "Christmas", from: "2026-12-20", to: "2027-01-06", zone: vienna };
  test("whole days hold the last one", () => expect(frozen(christmas)).toEqual({ from: at("2026-12-19T23:00Z"), to: at("2027-01-06T23:00Z") }));
  test("a time is exclusive, and the zone is UTC if there is none", () =>
    expect(frozen({ name: "x", from: "2026-09-30T12:00", to: "2026-10-01T08:00" })).toEqual({ from: at("2026-09-30T12:00Z"), to: at("2026-10-01T08:00Z") }));
  test("it ends at the second of two equal times", () =>
    expect(frozen({ name: "x", from: "2026-10-25T01:00", to: "2026-10-25T02:30", zone: vienna })).toEqual({ from: at("2026-10-24T23:00Z"), to: at("2026-10-25T01:30Z") }));
  test("what cannot be read says why", () => {
    expect(frozen({ name: "x", from: "2026-02-30", to: "2026-03-01" })).toBe("its dates cannot be read");
    expect(frozen({ name: "x", from: "2026-03-02", to: "2026-03-01" })).toBe("it ends before it begins");
    expect(frozen({ ...christmas, zone: "Mars/Base" })).toBe("this browser does not know the zone Mars/Base");
  });
  test("where it stands", () => {
    const s = { from: 10, to: 20 };
    expect([9, 10, 19, 20].map((t) => stateOf(s, t))).toEqual(["coming", "in force", "in force", "past"]);
  });
  test("the one that ends last counts", () => {
    const days = (name: string, from: string, to: string) => ({ name, from, to });
    const all = [days("short", "2026-11-20", "2026-11-23"), days("long", "2026-11-21", "2026-11-30"), days("past", "2026-01-01", "2026-01-02"), days("coming", "2026-12-01", "2026-12-31")];
    expect(lasting(all, at("2026-11-22T12:00Z"))).toEqual({ freeze: all[1], until: at("2026-12-01T00:00Z") });
    expect(lasting(all, at("2026-11-10T12:00Z"))).toBeUndefined();
  });
  test("in words", () => {
    expect(freezeText(christmas)).toBe("2026-12-20 to 2027-01-06, that day included, Europe/Vienna");
    expect(freezeText({ name: "x", from: "2026-09-30T12:00", to: "2026-10-01T08:00" })).toBe("2026-09-30 12:00 to 2026-10-01 08:00, UTC");
  });
});

describe("windows", () => {
  const nights = [{ days: ["mon-fri"], from: "22:00", to: "05:00", zone: vienna }];
  test("none at all is always open", () => expect(opening([], 0)).toEqual({ open: true }));
  test("open over midnight, into Saturday", () => expect(opening(nights, at("2026-11-21T01:00Z"))).toEqual({ open: true, until: at("2026-11-21T04:00Z") }));
  test("shut on Sunday until Monday night", () => expect(opening(nights, at("2026-11-22T12:00Z"))).toEqual({ open: false, until: at("2026-11-23T21:00Z") }));
  test("the end is outside", () => expect(opening(nights, at("2026-11-21T04:00Z")).open).toBe(false));
  test("windows that touch are one", () =>
    expect(opening([{ from: "08:00", to: "12:00" }, { from: "12:00", to: "18:00" }], at("2026-11-22T09:00Z"))).toEqual({ open: true, until: at("2026-11-22T18:00Z") }));
  test("the whole week never shuts", () => expect(opening([{ from: "00:00", to: "00:00" }], at("2026-11-22T09:00Z"))).toEqual({ open: true }));
  test("what cannot be read is shut, and says so", () => {
    expect(opening([{ from: "8", to: "12:00" }], 0)).toEqual({ open: false, unread: "a window cannot be read" });
    expect(opening([{ from: "08:00", to: "12:00", zone: "Mars/Base" }], 0).unread).toContain("Mars/Base");
  });
  test("in words", () => {
    expect(windowText(nights[0]!)).toBe("Monday to Friday from 22:00 to 05:00 of the next day, Europe/Vienna");
    expect(windowText({ from: "08:00", to: "24:00" })).toBe("every day from 08:00 to 24:00, UTC");
    expect(windowText({ from: "08:00", to: "00:00" })).toBe("every day from 08:00 to 24:00, UTC");
    expect(windowText({ days: ["sat", "sun"], from: "00:00", to: "00:00" })).toBe("Saturday and Sunday, the whole day, UTC");
    expect(daysText(["fri-mon"])).toBe("Friday to Monday");
    expect(daysText(["mon", "wed-fri"])).toBe("Monday and Wednesday to Friday");
    expect(daysText(["nonday"])).toBe("nonday");
  });
});
