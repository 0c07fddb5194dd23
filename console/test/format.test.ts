import { describe, expect, test } from "vitest";
import { about, ago, bytes, compact, count, digest, evidence, list, local, sentence, share, span, utc, whole } from "../src/format";

describe("format", () => {
  test("counts", () => {
    expect([whole(1234567), count(1, "host"), count(0, "host"), count(2, "person", "people"), compact(9999), compact(1_250_000), about(12_400, true), about(5, false)])
      .toEqual(["1,234,567", "1 host", "0 hosts", "2 people", "9,999", "1.3M", "about 12,400", "5"]);
  });
  test("shares never round something to nothing nor nearly all to all", () => {
    expect([share(0, 10), share(10, 10), share(1, 1_000_000), share(999_999, 1_000_000), share(1, 3), share(5, 0), share(45, 14455)])
      .toEqual(["0 %", "100 %", "< 0.1 %", "> 99.9 %", "33.3 %", "0 %", "0.31 %"]);
  });
  test("evidence", () => {
    expect([evidence(0.42), evidence(41.73), evidence(10_000), evidence(3.2e17), evidence(1e300), evidence(Infinity)]).toEqual(["0.42", "41.7", "10,000", "3.2e17", "1.0e300", "∞"]);
  });
  test("spans", () => {
    expect([span(0), span(59_400), span(61_000), span(3_600_000), span(7_500_000), span(90_000_000), span(-5)]).toEqual(["0 s", "59 s", "1 min 1 s", "1 h", "2 h 5 min", "1 d 1 h", "0 s"]);
    expect([ago(0, 1000), ago(0, 65_000), ago(100_000, 0)]).toEqual(["just now", "1 min ago", "in 1 min 40 s"]);
  });
  test("times", () => {
    const at = new Date(2026, 6, 19, 4, 9, 7);
    expect(local(at, new Date(2026, 6, 19, 5))).toBe("04:09:07");
    expect(local(at, new Date(2026, 6, 20))).toBe("2026-07-19 04:09:07");
    expect(utc(new Date(Date.UTC(2026, 6, 19, 4, 9, 7)))).toBe("2026-07-19 04:09:07 UTC");
    expect(utc(new Date(NaN))).toBe("no time");
  });
  test("sentences keep names as they are", () => {
    expect([sentence("it waits"), sentence("nginx-config is held"), sentence("ro-4q2k: gone"), sentence("Done."), sentence(""), sentence("why?")])
      .toEqual(["It waits.", "nginx-config is held.", "ro-4q2k: gone.", "Done.", "", "Why?"]);
    expect([list([]), list(["a"]), list(["a", "b"]), list(["a", "b", "c"])]).toEqual(["", "a", "a and b", "a, b and c"]);
  });
  test("bytes and digests", () => {
    expect([bytes(999), bytes(1400), bytes(120_000_000), digest("sha256:0123456789abcdef")]).toEqual(["999 B", "1.4 kB", "120 MB", "0123456789ab…"]);
  });
});
