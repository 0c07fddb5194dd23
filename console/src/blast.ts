// The blast radius as a picture: whom a release was for, whom it reached, whom it harmed, who is well again. Each bar is a part of the one
// above it, drawn to the full width, or three hosts of ten thousand could not be seen.

import type { BlastRadius } from "./api";

/** Level is one bar: a part that goes on in the next bar, and the rest. */
export interface Level {
  name: string;
  all: number;
  part: { name: string; count: number; kind: "harm" | "busy" | "good" };
  rest: { name: string; count: number; kind: "idle" | "good" | "harm" };
  width: number; // of the part, as a share of the bar; what is not nothing never vanishes, what is not all never fills it
}

const least = 0.006;

/** shareOf is a part's share of a bar. Exported for its test. */
export function shareOf(part: number, all: number): number {
  if (part <= 0 || all <= 0) return 0;
  if (part >= all) return 1;
  return Math.min(1 - least, Math.max(least, part / all));
}

/** levels makes the bars of a blast radius. Those of nobody are left out. */
export function levels(b: BlastRadius): Level[] {
  const exposed = Math.max(b.exposed, b.harmed); // hosts come and go: eligible is of the last count
  const all: Level[] = [
    {
      name: "hosts that it was for", all: exposed + b.spared, width: shareOf(exposed, exposed + b.spared),
      part: { name: "exposed", count: exposed, kind: "busy" }, rest: { name: "spared", count: b.spared, kind: "idle" },
    },
    {
      name: "exposed", all: exposed, width: shareOf(b.harmed, exposed),
      part: { name: "harmed", count: b.harmed, kind: "harm" }, rest: { name: "not harmed", count: exposed - b.harmed, kind: "good" },
    },
    {
      name: "harmed", all: b.harmed, width: shareOf(Math.min(b.recovered, b.harmed), b.harmed),
      part: { name: "recovered", count: Math.min(b.recovered, b.harmed), kind: "good" }, rest: { name: "not recovered yet", count: Math.max(0, b.harmed - b.recovered), kind: "harm" },
    },
  ];
  return all.filter((l) => l.all > 0);
}
