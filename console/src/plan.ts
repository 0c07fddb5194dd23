// A plan's document, read for people: what its rings hold and ask, how they are drawn, and what differs between two of them. Pure.

import type { Freeze, Window } from "./calendar";
import { count, list, share, span, whole } from "./format";

/** Gate is a question to something outside. */
export interface Gate { name: string; query?: string; url?: string; above?: number; below?: number }

/** Evidence is what a ring must show before the next opens. */
export interface Evidence {
  confirmed?: number; resolved?: number; bake?: string; boots?: number; host_hours?: number; excess_below?: number; strata?: number; gates?: Gate[];
}

type Selector = Record<string, string[]>;

/** PlanRing is a step of a plan. */
export interface PlanRing { name: string; hosts?: number; share?: number; select?: Selector; prefer?: Selector; evidence?: Evidence; holdback?: boolean }

/** PlanDoc is a plan as the control plane keeps it: its defaults are filled in. */
export interface PlanDoc {
  name: string;
  rings: PlanRing[];
  window?: { start?: number; growth?: number; max?: number };
  lease?: { expires?: string; deadline?: string };
  breaker?: { ceiling?: number; silence?: number; alpha?: number; amber?: number };
  caps?: { tenant?: number; site?: number };
  budget?: { hosts?: number; site?: number; by?: string };
  watch?: string;
  strata?: string[];
  calendar?: { windows?: Window[]; freezes?: Freeze[] };
  posture?: string[];
  emergency?: boolean;
  approvals?: number;
  cells?: { names: string[]; after?: string }[];
}

const most = 32; // rings of a plan

/** readPlan takes a document for a plan if it has rings; a document that has not is none that the control plane made. */
export function readPlan(document: unknown): PlanDoc | undefined {
  const doc = document as Partial<PlanDoc> | null | undefined;
  if (typeof doc !== "object" || doc === null || !Array.isArray(doc.rings)) return undefined;
  const rings = doc.rings.filter((r): r is PlanRing => typeof r === "object" && r !== null).slice(0, most);
  return { ...doc, name: String(doc.name ?? ""), rings };
}

/** milliseconds reads a length of time as plans write it: "15m", "1h30m0s"; undefined if it is none. */
export function milliseconds(text: string | undefined): number | undefined {
  if (!text || !/^(\d+(\.\d+)?(h|ms|m|s|us|µs|ns))+$/.test(text)) return text === "0" ? 0 : undefined;
  const unit: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, "µs": 1e-3, ns: 1e-6 };
  let sum = 0;
  for (const [, n, , u] of text.matchAll(/(\d+(\.\d+)?)(h|ms|m|s|us|µs|ns)/g)) sum += Number(n) * unit[u!]!;
  return sum;
}

/** time writes such a length for people, as it stands if it cannot be read. */
export function time(text: string | undefined): string {
  const ms = milliseconds(text);
  return ms === undefined ? text ?? "" : span(ms);
}

/** percent writes a share of a plan: 0.02 as 2 %, and small ones as they are. No line ends before its sign. */
export const percent = (n: number): string => (n > 0 && n < 0.001 ? `${Number((n * 100).toPrecision(2))} %` : share(n, 1)).replace(" ", "\u00a0");

/** selectorText writes whom a ring is for: "class server or desktop, site graz". */
export const selectorText = (s: Selector | undefined): string => Object.entries(s ?? {}).map(([k, v]) => `${k} ${v.join(" or ")}`).join(", ");

/** sizeText writes a ring's size as the plan has it. */
export function sizeText(r: PlanRing): string {
  if (!r.share) return count(r.hosts ?? 0, "host");
  return r.share >= 1 ? "all that are left" : `up to ${percent(r.share)} of all`;
}

/** sizes are how many hosts each ring holds in a fleet with so many eligible hosts. */
export function sizes(rings: readonly PlanRing[], fleet: number): number[] {
  let earlier = 0;
  return rings.map((r, k) => {
    let size = r.hosts ?? 0;
    if (r.share) {
      size = Math.ceil(r.share * fleet - 1e-6) - earlier;
      if (k > 0) size = Math.max(size, (rings[k - 1]!.hosts ?? 0) + 1);
      size = Math.max(size, 1);
    }
    earlier += size;
    return size;
  });
}

/** reached are how many hosts each ring really takes in a fleet of that size: none is left for the last ones of a small fleet. */
export function reached(rings: readonly PlanRing[], fleet: number): number[] {
  let left = fleet;
  return sizes(rings, fleet).map((n) => {
    const got = Math.min(n, left);
    left -= got;
    return got;
  });
}

/** notBefore are the earliest times after the start, in milliseconds, at which each ring opens: the bakes before it; and, last, when all is done. */
export function notBefore(rings: readonly PlanRing[]): number[] {
  let sum = 0;
  const all = [0];
  for (const r of rings) all.push((sum += milliseconds(r.evidence?.bake) ?? 0));
  return all;
}

/** asks writes what a ring must show, a phrase for each thing. */
export function asks(e: Evidence | undefined): string[] {
  if (!e) return [];
  const all: string[] = [];
  if (e.confirmed) all.push(e.confirmed >= 1 ? "every host confirmed" : `${percent(e.confirmed)} confirmed`);
  if (e.resolved && e.resolved > (e.confirmed ?? 0)) all.push(e.resolved >= 1 ? "every host with an outcome" : `${percent(e.resolved)} with an outcome`);
  const bake = milliseconds(e.bake);
  if (bake) all.push(`${span(bake)} of bake`);
  if (e.boots) all.push(count(e.boots, "boot"));
  if (e.host_hours) all.push(count(e.host_hours, "host-hour"));
  if (e.strata) all.push(`a confirmed host in every stratum of ${percent(e.strata)} or more`);
  if (e.excess_below) all.push(`reported harm above the usual below ${percent(e.excess_below)}`);
  for (const g of e.gates ?? []) all.push(`gate ${g.name}`);
  return all;
}

/** gateText writes what a gate wants. */
export function gateText(g: Gate): string {
  if (g.url) return `${g.url} answers well`;
  const bounds = [g.above !== undefined ? `above ${g.above}` : "", g.below !== undefined ? `below ${g.below}` : ""].filter(Boolean);
  return `every sample of ${g.query ?? "its query"} is ${list(bounds)}`;
}

/** rounds writes the ramp inside a ring: "2, 4, 8, 16 … hosts at a time, 500 at most". */
export function rounds(w: PlanDoc["window"]): string {
  const start = w?.start ?? 2;
  const growth = w?.growth ?? 2;
  const max = w?.max ?? Infinity;
  const first: number[] = [];
  for (let n = start; first.length < 4 && n <= max; n = Math.floor(n * growth)) {
    first.push(n);
    if (growth <= 1) break;
  }
  const top = max < 2_147_483_647 ? `, ${whole(max)} at most` : "";
  if (first.length === 0) return `${count(max, "host")} at a time`;
  if (growth <= 1) return `${count(start, "host")} at a time`;
  return `${first.map(whole).join(", ")} … hosts at a time, each round ${growth} times what confirmed${top}`;
}

/** sentenceOf says a plan's rings in a sentence: what its drawing shows. */
export function sentenceOf(p: PlanDoc): string {
  const bakes = notBefore(p.rings);
  return p.rings.map((r, k) => `ring ${r.name}: ${sizeText(r)}${k > 0 && bakes[k]! > 0 ? `, not before ${span(bakes[k]!)}` : ""}`).join("; ");
}

// The drawing: rings around the first hosts, and the break between each and the next.

/** Band is a ring of the drawing. */
export interface Band {
  ring: number;
  inner: number; // radii; the first ring is a disc
  outer: number;
  break: number; // the gap around it: its bake
}

/**
 * bands lays rings out around each other within a radius. A ring's width goes with the logarithm of its hosts, the break around it with the
 * logarithm of its bake: a drawing true to scale would show the last ring alone.
 */
export function bands(hosts: readonly number[], bakes: readonly number[], radius: number): Band[] {
  const width = hosts.map((n) => 1 + Math.log10(Math.max(1, n)));
  const gap = hosts.map((_, k) => (k === hosts.length - 1 ? 0 : 0.22 + 0.16 * Math.log10(1 + (bakes[k] ?? 0) / 60_000)));
  const sum = width.reduce((a, b) => a + b, 0) + gap.reduce((a, b) => a + b, 0);
  const scale = sum > 0 ? radius / sum : 0;
  let at = 0;
  return hosts.map((_, k) => {
    const band = { ring: k, inner: at, outer: at + width[k]! * scale, break: gap[k]! * scale };
    at = band.outer + band.break;
    return band;
  });
}

// Two plans.

/** Change is a value that differs: undefined is "not there". */
export interface Change { path: string; before?: string; after?: string }

const limit = 200; // changes that are told

/** changes lists where two documents differ, by path as problems name it. Rings are told apart by their place. */
export function changes(before: unknown, after: unknown, path = "", found: Change[] = []): Change[] {
  if (found.length >= limit || JSON.stringify(before) === JSON.stringify(after)) return found;
  const object = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null;
  const branch = (v: unknown): boolean => object(v) && !(Array.isArray(v) && v.every((x) => !object(x))); // a list of words is one value
  if (branch(before) && branch(after) && Array.isArray(before) === Array.isArray(after)) {
    const a = before as Record<string, unknown>;
    const b = after as Record<string, unknown>;
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      changes(a[key], b[key], Array.isArray(before) ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`, found);
    }
    return found;
  }
  const text = (v: unknown): string => {
    const full = typeof v === "string" ? v : Array.isArray(v) && v.every((x) => !object(x)) ? v.join(", ") : JSON.stringify(v) ?? "";
    return full.length > 300 ? full.slice(0, 300) + "…" : full;
  };
  found.push({ path, ...(before === undefined ? {} : { before: text(before) }), ...(after === undefined ? {} : { after: text(after) }) });
  return found;
}

/**
 * specOf takes the plan out of a file for `firebreak apply` (kind: Plan, spec: …), which the API takes without its envelope. Lines stay where
 * they are, so that problems name the right ones. What is no such file is given back as it is.
 */
export function specOf(text: string): string {
  if (/^\s*\{/.test(text)) {
    try {
      const doc = JSON.parse(text) as { kind?: unknown; spec?: unknown };
      return doc.kind === "Plan" && typeof doc.spec === "object" && doc.spec !== null ? JSON.stringify(doc.spec) : text;
    } catch {
      return text;
    }
  }
  const lines = text.split("\n");
  const kind = lines.findIndex((l) => /^kind:\s*["']?Plan["']?\s*(#.*)?$/.test(l));
  const spec = lines.findIndex((l) => /^spec:\s*(#.*)?$/.test(l));
  if (kind < 0 || spec < 0) return text;
  return lines.map((l, i) => (i === kind || i === spec ? "" : l)).join("\n");
}
