import type { Ring, Rollout } from "./api";
import { count, whole, words } from "./format";
import * as links from "./links";
import { Badge, Meter, Num, type Part, type Tone } from "./ui";

/** harmedOf is how many hosts of a ring count against the release. */
export const harmedOf = (r: Ring): number => r.crashed + r.reverted + r.silent + r.late;

/** underWay is how many hosts of a ring have a lease and no outcome. */
export const underWay = (r: Ring): number => Math.max(0, r.leased - r.confirmed - harmedOf(r) - r.goodbye);

/** partsOf are a ring's hosts by what became of them, in the order of the bar. */
export function partsOf(r: Ring): Part[] {
  return [
    { kind: "harm", count: harmedOf(r), name: "harmed" }, { kind: "good", count: r.confirmed, name: "confirmed" },
    { kind: "idle", count: r.goodbye, name: "goodbye" }, { kind: "busy", count: underWay(r), name: "under way" },
  ];
}

/** outcomesOf writes a ring's outcomes: "3 crashed, 1 silent, 12 under way". */
export function outcomesOf(r: Ring): string {
  const all: [number, string][] = [
    [r.crashed, "crashed"], [r.reverted, "reverted"], [r.silent, "silent"], [r.late, "late"], [underWay(r), "under way"], [r.confirmed, "confirmed"],
    [r.goodbye, "goodbye"], [r.rejected, "rejected"],
  ];
  return all.filter(([n]) => n > 0).map(([n, w]) => `${whole(n)} ${w}`).join(", ");
}

const states: { [state: string]: Tone } = { open: "busy", done: "good", paused: "amber", tripped: "harm", rolled_back: "harm", proposed: "amber" };

/** RingLine is a ring in one line: for cards. */
export function RingLine({ ring }: { ring: Ring }) {
  return (
    <li class={`ring ${ring.state === "closed" ? "closed" : ""}`}>
      <span class="ring-name">{ring.name}</span>
      <Meter parts={partsOf(ring)} of={ring.size} label={`ring ${ring.name}, ${words(ring.state)}`} />
      <span class="ring-count nums">{whole(ring.leased)}<span class="soft"> of {whole(ring.size)}</span></span>
    </li>
  );
}

/** RingRows are a rollout's rings with all that is known of each. */
export function RingRows({ rollout }: { rollout: Rollout }) {
  return (
    <ol class="rings">
      {rollout.rings.map((r, i) => (
        <li key={r.name} class={`ring-row ${r.state === "closed" ? "closed" : ""}`} aria-current={i === rollout.ring && r.state === "open" ? "step" : undefined}>
          <div class="ring-head">
            <b>{r.name}</b>
            {r.state === "closed" ? <span class="soft small">not open yet</span> : <Badge tone={states[r.state] ?? "idle"} shape={r.state === "paused" ? "paused" : r.state === "halted" || r.state === "rolled_back" ? "stopped" : states[r.state] ?? "idle"}>{words(r.state)}</Badge>}
            <span class="grow" />
            <span><Num value={r.leased} href={r.leased > 0 ? links.leases(rollout.id, "any", i) : undefined} label={`hosts of ring ${r.name}`} /> <span class="soft">of {count(r.size, "host")}</span></span>
          </div>
          <Meter parts={partsOf(r)} of={r.size} label={`ring ${r.name}`} />
          {r.state === "closed" && r.leased === 0 ? null : <div class="small">
            {harmedOf(r) > 0 ? <span class="ink-harm"><b>{whole(harmedOf(r))} harmed</b>: </span> : null}
            <span class="soft">{outcomesOf(r) || "nobody yet"}{r.boots > 0 ? ` · ${count(r.boots, "boot")}` : ""}{r.host_hours >= 0.1 ? ` · ${whole(Math.round(r.host_hours))} host-hours` : ""}</span>
          </div>}
        </li>
      ))}
    </ol>
  );
}
