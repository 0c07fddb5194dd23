// Words and numbers for people. Nothing here looks at the clock or the page.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** whole writes a count in full: 1,234,567. */
export const whole = (n: number): string => grouped.format(n);

/** compact writes a large count short: 1.2M. */
export const compact = (n: number): string => (Math.abs(n) < 10_000 ? whole(n) : short.format(n));

/** count writes a number and its noun: "1 host", "37 hosts". */
export function count(n: number, noun: string, plural = noun + "s"): string {
  return `${whole(n)} ${n === 1 ? noun : plural}`;
}

/** are is the verb that fits a count. */
export const are = (n: number): string => (n === 1 ? "is" : "are");

/** about writes a count that may be an estimate. */
export const about = (n: number, estimated?: boolean): string => (estimated ? `about ${whole(n)}` : whole(n));

/** share writes a part of a whole in percent, and never rounds something to nothing nor nearly all to all. */
export function share(part: number, of: number): string {
  if (of <= 0) return "0 %";
  const percent = (part / of) * 100;
  if (part > 0 && percent < 0.1) return "< 0.1 %";
  if (part < of && percent > 99.9) return "> 99.9 %";
  return `${percent >= 10 || percent === 0 ? Math.round(percent * 10) / 10 : Number(percent.toPrecision(2))} %`;
}

/** evidence writes an E: 3 digits, and powers of ten from a million on. */
export function evidence(e: number): string {
  if (!Number.isFinite(e)) return "∞";
  if (e >= 1e6) {
    const power = Math.floor(Math.log10(e));
    return `${(e / 10 ** power).toFixed(1)}e${power}`;
  }
  return e >= 1000 ? grouped.format(e) : String(Number(e.toPrecision(3)));
}

/** words turns a machine's word into a reader's: rolled_back, rolled back. */
export const words = (s: string): string => s.replaceAll("_", " ");

/** sentence begins with a capital, unless its first word is a name such as nginx-config or ro-4q2k, and ends with a full stop. */
export function sentence(s: string): string {
  const text = s.trim();
  if (text === "") return "";
  const first = /^[a-z]+(?=[\s,;:.!?]|$)/.test(text) ? text[0]!.toUpperCase() : text[0]!;
  return first + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}

/** list joins words: "a", "a and b", "a, b and c". */
export function list(parts: readonly string[]): string {
  if (parts.length < 2) return parts[0] ?? "";
  return `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]}`;
}

/** span writes a length of time, two units at most: "45 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function span(milliseconds: number): string {
  const s = Math.max(0, Math.round(milliseconds / 1000));
  const two = (big: number, bigUnit: string, small: number, smallUnit: string): string =>
    small === 0 ? `${big} ${bigUnit}` : `${big} ${bigUnit} ${small} ${smallUnit}`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return two(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86_400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return two(Math.floor(s / 86_400), "d", Math.floor((s % 86_400) / 3600), "h");
}

/** ago writes how long before now a time was; "just now" under five seconds, "in …" if it is still to come. */
export function ago(at: number, now: number): string {
  const gone = now - at;
  if (gone < -5000) return `in ${span(-gone)}`;
  return gone < 5000 ? "just now" : `${span(gone >= 60_000 ? Math.floor(gone / 60_000) * 60_000 : gone)} ago`;
}

/** bytes writes a size: 1.4 MB. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return `${i === 0 || n >= 100 ? Math.round(n) : Number(n.toPrecision(2))} ${units[i]}`;
}

const two = (n: number): string => String(n).padStart(2, "0");

/** utc writes a moment in UTC: 2026-07-19 04:09:07 UTC. */
export function utc(at: Date): string {
  if (Number.isNaN(at.getTime())) return "no time";
  return `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** local writes a moment on the wall of the viewer's zone, without the date if it is today's. */
export function local(at: Date, now: Date): string {
  if (Number.isNaN(at.getTime())) return "no time";
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const day = (d: Date): string => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  return day(at) === day(now) ? clock : `${day(at)} ${clock}`;
}

/** digest shortens a digest for the eye; the whole is for the title and for copying. */
export function digest(d: string): string {
  const hex = d.replace(/^sha256:/, "");
  return hex.length > 12 ? hex.slice(0, 12) + "…" : hex;
}
