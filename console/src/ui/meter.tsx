import { evidence, whole, words } from "../format";

/** Part is a piece of a bar: its kind decides colour and hatching. */
export interface Part { kind: "good" | "busy" | "harm" | "idle"; count: number; name: string }

/** parts puts a bar's parts beside each other: shares of the width that never vanish while they count something. Exported for its test. */
export function layout(parts: readonly Part[], whole: number, least = 0.012): { part: Part; x: number; width: number }[] {
  const shown = parts.filter((p) => p.count > 0);
  const sum = Math.max(whole, shown.reduce((n, p) => n + p.count, 0), 1);
  const wide = shown.map((p) => Math.max(least, p.count / sum));
  const total = wide.reduce((a, b) => a + b, 0);
  const squeeze = total > 1 ? 1 / total : 1;
  let x = 0;
  return shown.map((part, i) => {
    const width = wide[i]! * squeeze;
    const at = x;
    x += width;
    return { part, x: at, width };
  });
}

/** Meter is a bar of hosts: confirmed plain, under way light, harmed hatched. Its words are for those who do not see it. */
export function Meter({ parts, of, label }: { parts: readonly Part[]; of: number; label: string }) {
  const said = parts.filter((p) => p.count > 0).map((p) => `${whole(p.count)} ${words(p.name)}`).join(", ") || "nobody yet";
  return (
    <svg class="meter" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label={`${label}: ${said}, of ${whole(of)}`}>
      <rect class="meter-track" width="1000" height="12" />
      {layout(parts, of).map(({ part, x, width }) => (
        <rect key={part.kind + part.name} class={`meter-${part.kind}`} x={x * 1000} width={width * 1000} height="12" />
      ))}
      {layout(parts, of).filter(({ part }) => part.kind === "harm").flatMap(({ x, width }) => hatch(x * 1000, width * 1000))}
    </svg>
  );
}

function hatch(x: number, width: number) {
  return Array.from({ length: Math.min(60, Math.floor(width / 12) + 1) }, (_, i) => (
    <rect key={`h${x}-${i}`} class="meter-hatch" x={x + i * (width / Math.min(60, Math.floor(width / 12) + 1))} width="3" height="12" />
  ));
}

/** Gauge is E on a log axis from 1 to trip, with amber marked. */
export function Gauge({ value, amber, trip, alarm }: { value: number; amber: number; trip: number; alarm: string }) {
  const at = (v: number): number => Math.min(1, Math.max(0, Math.log(Math.max(v, 1)) / Math.log(Math.max(trip, 2))));
  const kind = alarm === "trip" ? "harm" : alarm === "amber" ? "amber" : "good";
  return (
    <div class="gauge">
      <svg class="meter" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img"
        aria-label={`evidence of harm E is ${evidence(value)}; amber at ${evidence(amber)}, trips at ${evidence(trip)}: ${alarm}`}>
        <rect class="meter-track" width="1000" height="12" />
        <rect class={`meter-${kind}`} width={Math.max(4, at(value) * 1000)} height="12" />
        <rect class="meter-mark" x={at(amber) * 1000 - 2} width="4" height="12" />
        <rect class="meter-mark" x="996" width="4" height="12" />
      </svg>
      <div class="gauge-words" aria-hidden="true">
        <span>E <b class="nums">{evidence(value)}</b></span>
        <span class="soft">amber {evidence(amber)}</span>
        <span class="soft">trip {evidence(trip)}</span>
      </div>
    </div>
  );
}
