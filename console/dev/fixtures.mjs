// What the fake control plane answers besides rollouts. Add what a page needs.

import { catalogue } from "./fixtures-catalogue.mjs";
import { fleet } from "./fixtures-fleet.mjs";

const iso = (t) => new Date(t).toISOString();

/** more answers what world.mjs does not know; undefined: neither does this. */
export function more(method, parts, url, sent, tools, w) {
  const ok = (value) => ({ status: 200, body: value });
  const at = `${method} ${parts.join("/")}`;
  const hosts = fleet(method, parts, url, sent, tools, w);
  if (hosts) return hosts;
  const shipped = catalogue(method, parts, url, sent, tools, w);
  if (shipped) return shipped;
  if (at === "GET components") return ok({ items: [{ name: "sensor-content", kind: "content", plan: "careful" }, { name: "nginx-config", kind: "config" }, { name: "openssl", kind: "package" }, { name: "firebreak-agent", kind: "agent" }] });
  if (at === "GET status") return ok({ version: "dev", started: iso(w.began), now: iso(Date.now()), endpoints: 14_573, agent_url: "https://127.0.0.1:7443", ca_fingerprint: "sha256:00" });
  return undefined;
}
