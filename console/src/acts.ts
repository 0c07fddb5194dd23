// What people do, in words: entries of the audit.

import type { operations } from "./api";
import { href } from "./router";
import * as links from "./links";

/** acts are the operations that are written down, in words. Their names are those of the API. */
export const acts = {
  actOnRollout: "act on a rollout", beginUpload: "begin an upload", cancelUpload: "give up an upload", closeIncident: "close an incident", collectGarbage: "collect garbage",
  createToken: "make a token", discardMetadata: "discard metadata", halt: "halt", patchUpload: "upload", putBlob: "store an artifact", putComponent: "register a component",
  putDelta: "announce a delta", putFreezes: "change freezes", putPlan: "store a plan", removeEndpoint: "forget an endpoint", revokeEndpoint: "revoke an identity",
  revokeToken: "revoke a token", signIn: "sign in", signOut: "sign out", startRollout: "start a rollout", submitMetadata: "send metadata",
} satisfies { [A in keyof operations]?: string };

const commands: { [command: string]: string } = {
  approve: "agree to a start", pause: "pause", resume: "resume", hold: "hold some hosts", unhold: "lift a hold", halt: "halt", rollback: "roll back",
};

/** wordsOf says an act in words: what was done, and why, without the command that the detail of an act on a rollout begins with. */
export function wordsOf(act: string, detail: string | undefined): { what: string; why: string } {
  const known = (acts as { [act: string]: string | undefined })[act] ?? act;
  if (act !== "actOnRollout" || !detail) return { what: known, why: detail ?? "" };
  const [command = "", ...rest] = detail.split(": ");
  return Object.hasOwn(commands, command) ? { what: commands[command]!, why: rest.join(": ") } : { what: known, why: detail };
}

/** Came is what came of an act. */
export type Came = "done" | "refused" | "not done" | "failed";

/** cameOf tells it by the status of the answer: somebody may not, something spoke against it, or the control plane could not. */
export function cameOf(status: number): Came {
  if (status === 401 || status === 403 || status === 429) return "refused";
  if (status >= 500) return "failed";
  return status >= 400 ? "not done" : "done";
}

const id = String.raw`([\w.-]+)`;

/** hrefOf leads to what an act was done to, if there is a page of it. */
export function hrefOf(target: string): string | undefined {
  const whole = (pattern: string): RegExpExecArray | null => new RegExp(`^${pattern}$`).exec(target);
  const rollout = /^rollout ([\w.-]+)(?: of .*)?$/.exec(target) ?? whole(String.raw`(ro-[\w-]+)`);
  if (rollout) return links.rollout(rollout[1]!);
  const release = whole(String.raw`release ${id} (\S+)`);
  if (release) return links.release(release[1]!, release[2]!);
  for (const [word, link] of [["incident", links.incident], ["endpoint", links.endpoint], ["plan", links.plan]] as const) {
    const found = new RegExp(`^${word} (\\S+)$`).exec(target);
    if (found) return link(found[1]!);
  }
  if (target === "freezes") return href("/holds");
  return target === "all rollouts" ? href("/rollouts") : undefined;
}
