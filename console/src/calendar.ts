// When leases may be granted: windows of a plan and freezes, as the control plane's calendar reads them. Pure; zones are the browser's.

import { list } from "./format";

/** Window is a span of the day that is open on some days of every week. */
export interface Window { days?: string[]; from: string; to: string; zone?: string }

/** Freeze is a span of time in which nobody is exposed. */
export interface Freeze { name: string; from: string; to: string; zone?: string }

const minute = 60_000;
const day = 24 * 60 * minute;
const week = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const names = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const clocks = new Map<string, Intl.DateTimeFormat>();

/** wallOf is what the clock of a zone shows at an instant, as if it were UTC. Throws if the browser does not know the zone. */
function wallOf(at: number, zone: string): number {
  let clock = clocks.get(zone);
  if (!clock) {
    clock = new Intl.DateTimeFormat("en-US", { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" });
    clocks.set(zone, clock);
  }
  const part: Record<string, number> = {};
  for (const p of clock.formatToParts(at)) if (p.type !== "literal") part[p.type] = Number(p.value);
  return Date.UTC(part["year"]!, part["month"]! - 1, part["day"]!, part["hour"]!, part["minute"]!, part["second"]!);
}

const offset = (at: number, zone: string): number => wallOf(at, zone) - Math.floor(at / 1000) * 1000;

/** instants are the first and the last moment at which the clock of a zone shows wall; both are the jump if the clock skips it. */
export function instants(wall: number, zone: string): [first: number, last: number] {
  const before = offset(wall - 1.5 * day, zone);
  const after = offset(wall + 1.5 * day, zone);
  const shown = [wall - before, wall - after].filter((at) => wallOf(at, zone) === wall).sort((a, b) => a - b);
  if (shown.length > 0) return [shown[0]!, shown[shown.length - 1]!];
  let low = wall - 1.5 * day;
  let high = wall + 1.5 * day;
  while (high - low > 1000) { // the moment of the jump lies between
    const middle = Math.floor((low + high) / 2000) * 1000;
    if (offset(middle, zone) === before) low = middle;
    else high = middle;
  }
  return [high, high];
}

/** span puts the two ends of a freeze or a window into real time. */
function span(from: number, to: number, zone: string, freeze: boolean): Span {
  const [begin] = instants(from, zone);
  const [first, last] = instants(to, zone);
  const end = freeze ? last : first;
  return { from: begin, to: end > begin ? end : begin + (to - from) };
}

/** Span is from one instant up to, and without, another. */
export interface Span { from: number; to: number }

/** dateOf reads "2026-12-20" or "2026-12-20T18:00" as a time on the wall; undefined if it is neither. */
function dateOf(text: string): { wall: number; whole: boolean } | undefined {
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2})?$/.test(text)) return undefined;
  const whole = text.length === 10;
  const wall = Date.parse(whole ? text + "T00:00Z" : text + "Z");
  // A day that no month has would be read as one of the next.
  return Number.isNaN(wall) || !new Date(wall).toISOString().startsWith(text) ? undefined : { wall, whole };
}

/** frozen is when a freeze is, in real time; a text says why that cannot be told. */
export function frozen(f: Freeze): Span | string {
  const from = dateOf(f.from);
  const to = dateOf(f.to);
  if (!from || !to) return "its dates cannot be read";
  const end = to.wall + (to.whole ? day : 0);
  if (end <= from.wall) return "it ends before it begins";
  try {
    return span(from.wall, end, f.zone || "UTC", true);
  } catch {
    return `this browser does not know the zone ${f.zone}`;
  }
}

/** State is where a freeze stands: past, in force, still to come. */
export type State = "past" | "in force" | "coming";

/** stateOf tells where a span stands at a moment. */
export const stateOf = (s: Span, at: number): State => (at >= s.to ? "past" : at >= s.from ? "in force" : "coming");

/** lasting is the freeze in force that ends last, if one is. */
export function lasting(all: readonly Freeze[], at: number): { freeze: Freeze; until: number } | undefined {
  let last: { freeze: Freeze; until: number } | undefined;
  for (const freeze of all) {
    const s = frozen(freeze);
    if (typeof s !== "string" && stateOf(s, at) === "in force" && s.to > (last?.until ?? 0)) last = { freeze, until: s.to };
  }
  return last;
}

/** daysOf reads the days of a window: 0 is Sunday. undefined if one cannot be read. */
function daysOf(days: readonly string[] | undefined): boolean[] | undefined {
  if (!days || days.length === 0) return week.map(() => true);
  const open = week.map(() => false);
  for (const text of days) {
    const [a, b = a] = text.split("-");
    let from = week.indexOf(a!);
    const to = week.indexOf(b!);
    if (from < 0 || to < 0) return undefined;
    for (open[from] = true; from !== to; open[from] = true) from = (from + 1) % 7;
  }
  return open;
}

function clockOf(text: string, end: boolean): number | undefined {
  if (end && text === "24:00") return day;
  const m = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(text);
  return m ? (Number(m[1]) * 60 + Number(m[2])) * minute : undefined;
}

/** Opening is what windows say at a moment. Until is when that changes, if it does within two weeks. */
export interface Opening { open: boolean; until?: number; unread?: string }

/** opening tells whether windows are open at a moment, and when that changes. None at all is always open. */
export function opening(windows: readonly Window[], at: number): Opening {
  if (windows.length === 0) return { open: true };
  const spans: Span[] = [];
  for (const w of windows) {
    const days = daysOf(w.days);
    const from = clockOf(w.from, false);
    const to = clockOf(w.to, true);
    if (!days || from === undefined || to === undefined) return { open: false, unread: "a window cannot be read" };
    const length = to > from ? to - from : to - from + day;
    try {
      const midnight = Math.floor(wallOf(at, w.zone || "UTC") / day) * day;
      for (let i = -1; i <= 16; i++) {
        const begins = midnight + i * day;
        if (days[new Date(begins).getUTCDay()]) spans.push(span(begins + from, begins + from + length, w.zone || "UTC", false));
      }
    } catch {
      return { open: false, unread: `this browser does not know the zone ${w.zone}` };
    }
  }
  spans.sort((a, b) => a.from - b.from);
  let end = at;
  for (const s of spans) if (s.from <= end && s.to > end) end = s.to;
  if (end > at) return end - at > 15 * day ? { open: true } : { open: true, until: end };
  const next = spans.find((s) => s.from > at);
  return next ? { open: false, until: next.from } : { open: false };
}

/** daysText writes the days of a window: "Monday to Friday", "every day", "Saturday and Sunday". */
export function daysText(days: readonly string[] | undefined): string {
  const open = daysOf(days);
  if (!open) return (days ?? []).join(", ");
  if (open.every(Boolean)) return "every day";
  const order = [1, 2, 3, 4, 5, 6, 0];
  const runs: number[][] = [];
  for (const d of order) {
    const last = runs[runs.length - 1];
    if (!open[d]) continue;
    if (last && order.indexOf(last[last.length - 1]!) === order.indexOf(d) - 1) last.push(d);
    else runs.push([d]);
  }
  const first = runs[0];
  const end = runs[runs.length - 1];
  if (runs.length > 1 && first && end && first[0] === 1 && end[end.length - 1] === 0) runs.splice(0, runs.length, ...runs.slice(1, -1), [...end, ...first]); // a run over the weekend
  return list(runs.flatMap((r) => (r.length > 2 ? [`${names[r[0]!]} to ${names[r[r.length - 1]!]}`] : r.map((d) => names[d]!))));
}

/** windowText writes a window as a sentence without its full stop: "Monday to Friday from 22:00 to 05:00 of the next day, Europe/Vienna". */
export function windowText(w: Window): string {
  const zone = w.zone || "UTC";
  const from = clockOf(w.from, false);
  const to = clockOf(w.to, true);
  if (from !== undefined && (to === from || (from === 0 && to === day))) return from === 0 ? `${daysText(w.days)}, the whole day, ${zone}` : `${daysText(w.days)} from ${w.from} for 24 hours, ${zone}`;
  const next = from !== undefined && to !== undefined && to <= from ? (to === 0 ? "" : " of the next day") : "";
  return `${daysText(w.days)} from ${w.from} to ${to === 0 ? "24:00" : w.to}${next}, ${zone}`;
}

/** freezeText writes when a freeze is, as its owner wrote it: "2026-12-20 to 2027-01-06, whole days, Europe/Vienna". */
export function freezeText(f: Freeze): string {
  const whole = !f.to.includes("T");
  const plain = (t: string): string => t.replace("T", " ");
  return `${plain(f.from)} to ${plain(f.to)}${whole ? ", that day included" : ""}, ${f.zone || "UTC"}`;
}
