// Which hosts are looked for: as the address of the page has it, as the API asks for it, and in words.

import type { FleetProfile, operations } from "./api";
import { list, span, whole } from "./format";
import type { PostureWord } from "./posture";

/** HostSearch says which hosts are looked for. Empty values ask for nothing. */
export interface HostSearch {
  prefix: string;
  select: string[]; // key=value each; values of one key are alternatives
  component: string;
  version: string;
  silent: number; // minutes without a word
  lacks: string[];
  refusing: boolean;
  at_risk: boolean;
}

/** readSearch reads the query of the fleet's page. */
export function readSearch(query: URLSearchParams): HostSearch {
  const minutes = Number(query.get("silent"));
  return {
    prefix: query.get("prefix") ?? "", select: query.getAll("select"), component: query.get("component") ?? "", version: query.get("version") ?? "",
    silent: Number.isFinite(minutes) && minutes > 0 ? Math.min(minutes, 10 * 525_600) : 0, lacks: query.getAll("lacks"),
    refusing: query.get("refusing") === "true", at_risk: query.get("at_risk") === "true",
  };
}

/** isEmpty tells whether all hosts are looked for. */
export const isEmpty = (s: HostSearch): boolean =>
  s.prefix === "" && s.select.length === 0 && s.component === "" && s.version === "" && s.silent === 0 && s.lacks.length === 0 && !s.refusing && !s.at_risk;

type Query = NonNullable<operations["listEndpoints"]["parameters"]["query"]>;

/** asked is what the API is asked, at a time in milliseconds. Words that it does not know are its to refuse. */
export function asked(s: HostSearch, now: number): Query {
  return {
    ...(s.prefix ? { prefix: s.prefix } : {}), ...(s.select.length > 0 ? { select: s.select } : {}), ...(s.component ? { component: s.component } : {}),
    ...(s.version && s.component ? { version: s.version } : {}), ...(s.silent > 0 ? { silent_since: new Date(now - s.silent * 60_000).toISOString() } : {}),
    ...(s.lacks.length > 0 ? { lacks: s.lacks as PostureWord[] } : {}), ...(s.refusing ? { refusing: true } : {}), ...(s.at_risk ? { at_risk: true } : {}),
  };
}

/** said is a search in words, of many hosts or of one: "that run nginx-config 2.1, were not heard for 15 min and have site=graz". */
export function said(s: HostSearch, one = false): string {
  const have = one ? "has" : "have";
  const parts: string[] = [];
  if (s.component) parts.push(s.version ? `${one ? "runs" : "run"} ${s.component} ${s.version}` : `${have} ${s.component}`);
  if (s.prefix) parts.push(`${have} an id that begins with ${s.prefix}`);
  if (s.silent > 0) parts.push(`${one ? "was" : "were"} not heard for ${span(s.silent * 60_000)}`);
  if (s.refusing) parts.push(`${one ? "keeps" : "keep"} a release ${s.component ? `of ${s.component} ` : ""}in quarantine`);
  if (s.at_risk) parts.push(`would not come back from a boot loop by ${one ? "itself" : "themselves"}`);
  if (s.lacks.length > 0) parts.push(`${one ? "lacks" : "lack"} ${s.lacks.join(" or ")}`);
  const byKey = new Map<string, string[]>();
  for (const pair of s.select) {
    const at = pair.indexOf("=");
    const key = at < 0 ? pair : pair.slice(0, at);
    byKey.set(key, [...(byKey.get(key) ?? []), at < 0 ? "" : pair.slice(at + 1)]);
  }
  for (const [key, values] of byKey) parts.push(`${have} ${key}=${values.join(" or ")}`);
  return parts.length === 0 ? "" : `that ${list(parts)}`;
}

/**
 * readPairs reads what somebody typed as key=value pairs. A value goes on to the next key, so that it may hold spaces; commas part
 * alternatives. Without a pair it says what is wrong.
 */
export function readPairs(text: string): { pairs: string[]; wrong?: string } {
  const pairs: string[] = [];
  for (const part of text.trim().split(/\s+(?=[\w./-]+=)/).filter(Boolean)) {
    const at = part.indexOf("=");
    const values = at <= 0 ? [] : part.slice(at + 1).split(",").map((v) => v.trim()).filter(Boolean);
    if (values.length === 0) return { pairs: [], wrong: `must be key=value, such as site=graz; ${part.slice(0, 60)} is not` };
    for (const v of values) pairs.push(`${part.slice(0, at)}=${v}`);
  }
  return { pairs };
}

/** rounded writes an estimate in no more digits than it is worth: 12,413 is 12,400. */
export const rounded = (n: number, estimated?: boolean): number => (estimated ? Number(n.toPrecision(3)) : n);

/** StratumOf is a slice of the fleet that may fail alone, and how many hosts are in it. */
export interface StratumOf { name: string; select: string[]; hosts: number; heard: number; summed: number }

/** strata sums a profile up by what makes a stratum: os build x consumer version x kernel x class. The most hosts first. */
export function strata(profile: FleetProfile, most = 50): StratumOf[] {
  const all = new Map<string, StratumOf>();
  for (const g of profile.groups) {
    const keys: [string, string | undefined][] = [["os", g.os], ["version", g.version], ["consumer", g.consumer], ["kernel", g.kernel], ["class", g.class]];
    const known = keys.filter((k): k is [string, string] => !!k[1]);
    const name = g.summed ? "" : keys.map(([, v]) => v || "–").join(" / ");
    const s = all.get(name) ?? { name, select: known.map(([k, v]) => `${k}=${v}`), hosts: 0, heard: 0, summed: 0 };
    s.hosts += g.hosts;
    s.heard += g.heard;
    s.summed += g.summed ?? 0;
    all.set(name, s);
  }
  const rest = all.get("");
  all.delete("");
  const sorted = [...all.values()].sort((a, b) => b.hosts - a.hosts);
  const cut = sorted.slice(most);
  if (cut.length > 0 || rest) {
    const sum = (f: (s: StratumOf) => number): number => cut.reduce((n, s) => n + f(s), rest ? f(rest) : 0);
    return [...sorted.slice(0, most), { name: cut.length > 0 && !rest ? `${whole(cut.length)} smaller ones` : "smaller groups", select: [], hosts: sum((s) => s.hosts), heard: sum((s) => s.heard), summed: cut.length + (rest?.summed ?? 0) }];
  }
  return sorted;
}
