// The history of versions as lines of a chart.

import type { FleetHistory } from "./api";
import type { Series } from "./ui";

const kinds: Series["kind"][] = ["busy", "good", "amber", "accent", "idle", "harm"];
const most = 5; // lines; the rest are summed

/**
 * versions makes a line for each of the versions that most hosts run or ran, and one that sums up the rest. A sample of a version is only
 * there when its count changed, so each holds its value until the next.
 */
export function versions(h: FleetHistory, component: string): { times: number[]; series: Series[] } {
  const of = h.samples.filter((s) => s.component === component);
  const times = [...new Set([...of.map((s) => Date.parse(s.at)), Date.parse(h.until)])].sort((a, b) => a - b);
  const place = new Map(times.map((t, i) => [t, i]));
  const lines = new Map<string, (number | null)[]>();
  for (const s of of) {
    const name = s.version ?? "";
    if (!lines.has(name)) lines.set(name, new Array<number | null>(times.length).fill(null));
    lines.get(name)![place.get(Date.parse(s.at))!] = s.hosts;
  }
  for (const values of lines.values()) {
    for (let i = 1; i < values.length; i++) values[i] ??= values[i - 1]!;
  }
  const peak = (v: (number | null)[]): number => v.reduce<number>((m, x) => Math.max(m, x ?? 0), 0);
  const order = [...lines].sort(([, a], [, b]) => peak(b) - peak(a));
  const shown = order.slice(0, most);
  const rest = order.slice(most);
  if (rest.length > 0) shown.push([`${rest.length} others`, times.map((_, i) => rest.reduce((n, [, v]) => n + (v[i] ?? 0), 0))]);
  return { times: of.length === 0 ? [] : times, series: shown.map(([name, values], i) => ({ name: name || "none", values, kind: kinds[i % kinds.length]!, step: true })) };
}
