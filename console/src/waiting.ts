import type { Rollout } from "./api";
import { sentence } from "./format";

/** waits says in one sentence why nobody is being exposed at this moment. */
export function waits(r: Rollout): string {
  const text = r.waiting.text.trim();
  if (text === "") return r.phase === "running" ? "It exposes hosts now." : "";
  if (r.phase !== "running") return sentence(text);
  return sentence(text.startsWith("for ") ? `It waits ${text}` : `It waits: ${text}`);
}
