import type { ComponentChildren } from "preact";
import { words } from "../format";
import { Icon, type Shape } from "./icon";

/** Tone is what a thing means to the reader; it decides the colour. */
export type Tone = "good" | "busy" | "amber" | "harm" | "idle";

/** Badge is a state: a shape, a colour and always a word. */
export function Badge({ tone, shape = tone, children, title }: { tone: Tone; shape?: Shape; children: ComponentChildren; title?: string }) {
  return <span class={`badge ${tone}`} title={title}><Icon shape={shape} /> <span>{children}</span></span>;
}

const phases: { [phase: string]: [Tone, Shape] } = {
  proposed: ["amber", "asked"], running: ["busy", "busy"], paused: ["amber", "paused"], complete: ["good", "good"],
  halted: ["idle", "stopped"], tripped: ["harm", "harm"], rolled_back: ["harm", "stopped"],
};

/** PhaseBadge shows the phase of a rollout. */
export function PhaseBadge({ phase }: { phase: string }) {
  const [tone, shape] = phases[phase] ?? ["idle", "idle"];
  return <Badge tone={tone} shape={shape}>{words(phase)}</Badge>;
}

const alarms: { [alarm: string]: [Tone, Shape] } = { quiet: ["good", "good"], amber: ["amber", "amber"], trip: ["harm", "harm"] };

/** AlarmBadge shows what the breaker says. */
export function AlarmBadge({ alarm }: { alarm: string }) {
  const [tone, shape] = alarms[alarm] ?? ["idle", "idle"];
  return <Badge tone={tone} shape={shape}>{alarm === "trip" ? "tripped" : alarm}</Badge>;
}

const outcomes: { [outcome: string]: [Tone, Shape] } = {
  pending: ["busy", "busy"], confirmed: ["good", "good"], crashed: ["harm", "harm"], reverted: ["harm", "harm"], silent: ["harm", "amber"],
  late: ["harm", "asked"], goodbye: ["idle", "idle"], rejected: ["idle", "stopped"],
};

/** OutcomeBadge shows what became of a lease. */
export function OutcomeBadge({ outcome }: { outcome: string }) {
  const [tone, shape] = outcomes[outcome] ?? ["idle", "idle"];
  return <Badge tone={tone} shape={shape}>{words(outcome || "none yet")}</Badge>;
}
