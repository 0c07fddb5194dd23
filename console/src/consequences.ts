// What a command will do, in numbers, before it is done.

import type { Act, Rollout } from "./api";
import { are, count, list, whole } from "./format";

/** Command is what can be done to a rollout. */
export type Command = "approve" | "pause" | "resume" | "hold" | "unhold" | "halt" | "rollback";

/** Consequence is what a command does, for whoever gives it. */
export interface Consequence {
  title: string;
  button: string;
  lines: string[]; // a sentence each
  widens?: boolean; // it exposes more: it is refused if anything was decided meanwhile
  grave?: boolean;
}

const ended = new Set(["halted", "tripped", "rolled_back"]);

/** commandsFor lists what can be done in a phase, the most useful first. */
export function commandsFor(phase: string): Command[] {
  switch (phase) {
    case "proposed": return ["approve", "halt", "rollback"];
    case "running": return ["pause", "hold", "halt", "rollback"];
    case "paused": return ["resume", "hold", "halt", "rollback"];
    case "complete": return ["hold", "halt", "rollback"];
    case "halted": return ["rollback"];
    default: return [];
  }
}

const holdLease = (n: number): string => `${count(n, "host")} ${n === 1 ? "holds" : "hold"} a lease without an outcome yet: ${n === 1 ? "it" : "they"} may still activate, prove and report.`;

/** flying says what becomes of hosts that are under way. */
const flying = (r: Rollout): string[] => (r.unconfirmed > 0 ? [holdLease(r.unconfirmed)] : ["No host is under way."]);

const keep = (r: Rollout): string => (r.exposed === 0 ? "No host has it." : `${count(r.exposed, "exposed host")} ${r.exposed === 1 ? "keeps" : "keep"} it.`);

function room(ring: Rollout["rings"][number]): string {
  const left = Math.max(0, ring.size - ring.leased);
  return `Ring ${ring.name} has ${whole(ring.leased)} of ${count(ring.size, "host")}: ${whole(left)} more ${left === 1 ? "gets" : "get"} it before the ring must show its evidence.`;
}

/** consequence says what a command will do to a rollout as it is shown. */
export function consequence(command: Command, r: Rollout): Consequence {
  const what = `${r.component} ${r.version}`;
  const open = r.rings[r.ring];
  switch (command) {
    case "approve": {
      const agreed = r.approved ?? [];
      const missing = Math.max(0, r.approvals - agreed.length);
      const first = r.rings[0];
      return {
        title: `Agree to ${what}`, button: "Agree", widens: true,
        lines: [
          `${agreed.length} of ${count(r.approvals, "person", "people")} agreed: ${list(agreed)}.`,
          missing <= 1
            ? `With you it starts: ring ${first?.name ?? "1"} opens for ${count(first?.size ?? 0, "host")}, out of ${whole(r.eligible)} that the release is for.`
            : `After you ${count(missing - 1, "more person", "more people")} must agree; until then no host gets it.`,
          "Whoever asked for it, or agreed already, does not count twice.",
        ],
      };
    }
    case "pause":
      return {
        title: `Pause ${what}`, button: "Pause",
        lines: ["Nobody new gets it until it is resumed.", ...flying(r), keep(r), "The breaker stays armed: it still trips if the exposed hosts are harmed."],
      };
    case "resume":
      return {
        title: `Resume ${what}`, button: "Resume", widens: true,
        lines: [
          `Hosts get leases again, ${count(r.window, "unconfirmed host")} at most at a time.`,
          open ? room(open) : "",
          r.alarm === "amber" ? "The breaker is at amber: growth stays frozen, only places for suspicious strata are given." : "",
        ].filter(Boolean),
      };
    case "hold":
      return {
        title: `Hold ${what} for some hosts`, button: "Hold",
        lines: ["Hosts that the selector picks do not get it. Those of them that have it go back to what they ran before.", "The other hosts go on. The owners of held hosts are told the reason."],
      };
    case "unhold":
      return { title: `Lift a hold on ${what}`, button: "Lift the hold", widens: true, lines: ["The hosts of this hold may get it again, as the rings and the window let them."] };
    case "halt":
      return {
        title: `Halt ${what}`, button: "Halt", grave: true,
        lines: [
          r.phase === "complete" ? "Latecomers get no lease any more." : "Nobody new gets it, ever, from this rollout: a halt is not undone. The release stays usable by another rollout.",
          ...flying(r), `${keep(r)} To take it from them, roll back.`,
        ],
      };
    case "rollback":
      return {
        title: `Roll back ${what}`, button: "Roll back", grave: true,
        lines: [
          r.exposed === 0 ? "No host has it." : `${count(r.exposed, "exposed host")} ${r.exposed === 1 ? "goes" : "go"} back to what ${r.exposed === 1 ? "it" : "they"} ran before, each as soon as it checks in.`,
          ...(r.unconfirmed > 0 ? [`${whole(r.unconfirmed)} of them ${are(r.unconfirmed)} under way: what they activate meanwhile goes back too.`] : []),
          "The release is recalled: no host may run it again, ever. A mended one needs a new version.",
          ...(ended.has(r.phase) ? [] : ["Nobody new gets it."]),
        ],
      };
  }
}

/** readSelector reads lines or words of key=value[,value] as a hold's selector. */
export function readSelector(text: string): { select: NonNullable<Act["select"]>; wrong?: string } {
  const select: NonNullable<Act["select"]> = Object.create(null);
  for (const part of text.split(/[\n\s]+/).filter(Boolean)) {
    const at = part.indexOf("=");
    if (at <= 0 || at === part.length - 1) return { select, wrong: `must be key=value, such as site=graz; ${part.slice(0, 60)} is not` };
    const values = part.slice(at + 1).split(",").filter(Boolean);
    (select[part.slice(0, at)] ??= []).push(...values);
  }
  return { select };
}

/** writeSelector writes a selector as readSelector reads it. */
export const writeSelector = (select: NonNullable<Act["select"]>): string => Object.entries(select).map(([k, v]) => `${k}=${v.join(",")}`).join(" ");
