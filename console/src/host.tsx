// What pages draw of hosts.

import type { Component, Endpoint } from "./api";
import { count, words } from "./format";
import { now } from "./now";
import { atRisk } from "./posture";
import { Badge, When, type Tone } from "./ui";

const lately = 15 * 60_000;

/** isSilent tells whether a host was not heard in the last 15 minutes. */
export const isSilent = (e: Endpoint, at: number): boolean => at - Date.parse(e.last_seen) > lately;

const phases: { [phase: string]: [Tone, string] } = {
  idle: ["idle", "nothing is under way"], fetching: ["busy", "it downloads and checks a release"], ready: ["busy", "a release is prepared; it asks for a lease"],
  activating: ["busy", "it switches to a release"], proving: ["busy", "a release is activated; its probes decide"],
  reverting: ["amber", "it goes back to the release before"], recovering: ["amber", "it went back; its probes must pass once more"],
};

/** InstallBadge is the phase of a host's install machine. */
export function InstallBadge({ of }: { of: Component }) {
  const [tone, title] = phases[of.phase] ?? ["idle", ""];
  return <Badge tone={tone} title={title}>{words(of.phase || "not said")}</Badge>;
}

/** Heard is when a host was heard last, with a word if that is long ago. */
export function Heard({ of, quiet }: { of: Endpoint; quiet?: boolean }) {
  return <><When at={of.last_seen} form="ago" {...(quiet ? { quiet } : {})} />{of.revoked ? null : isSilent(of, now.value) ? <> <Badge tone="amber">silent</Badge></> : null}</>;
}

/** PostureBadge says whether a host could survive alone. */
export function PostureBadge({ of }: { of: Endpoint["posture"] }) {
  if (!of) return <Badge tone="amber" shape="asked" title="The host has not said its posture; it counts as at risk.">not said</Badge>;
  const missing = of.missing ?? [];
  if (atRisk(of)) return <Badge tone="amber" title={`It lacks ${missing.join(", ")}.`}>at risk</Badge>;
  return missing.length === 0 ? <Badge tone="good">complete</Badge> : <Badge tone="good" title={`It lacks ${missing.join(", ")}.`}>lacks {count(missing.length, "word")}</Badge>;
}

/** Outcomes of reports that no lease has: what an endpoint says beyond them. */
const reports: { [outcome: string]: Tone } = { recovered: "good", booted: "idle" };

/** reportTone is how a report is drawn that says no outcome of a lease; undefined: it is one. */
export const reportTone = (outcome: string): Tone | undefined => reports[outcome];

/** Told is what is known of a release that a host refuses: quarantine knows its digest only. */
export interface Told { version?: string | undefined; outcome?: string | undefined; why?: string | undefined; at?: string | undefined; rollout?: string | undefined }

/** toldOf finds what a host said of a release, by the digest of its manifest. */
export function toldOf(e: Endpoint, component: string, manifest: string): Told {
  const bad = new Set(["crashed", "reverted", "rejected"]);
  const said = (e.reports ?? []).filter((r) => r.manifest === manifest && r.component === component);
  const r = said.find((x) => bad.has(x.outcome)) ?? said[0];
  if (r) return { version: r.release, outcome: r.outcome, why: r.detail || r.crash?.headline, at: r.at, rollout: r.rollout };
  const next = (e.next ?? []).find((n) => n.component === component && n.code === "quarantine");
  return next ? { version: next.version, rollout: next.rollout } : {};
}
