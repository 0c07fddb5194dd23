// Where numbers lead: the lists of what they count.

import { href } from "./router";

/** hosts leads to the fleet's list. The query's names are those of listEndpoints, but for silent: minutes without a word. */
export const hosts = (query: { select?: string[]; component?: string; version?: string; silent?: number; lacks?: string; refusing?: boolean; at_risk?: boolean; prefix?: string } = {}): string =>
  href("/fleet", undefined, query);

/** rollout leads to a rollout, or to a part of its page. */
export const rollout = (id: string, part = ""): string => href("/rollouts/:id", { id }) + (part ? "#" + part : "");

/** leases leads to the hosts of a rollout, those of an outcome or of a ring if it is named. */
export const leases = (id: string, outcome = "any", ring?: number): string => href("/rollouts/:id", { id }, { outcome, ring }) + "#hosts";

/** release leads to a release. */
export const release = (component: string, version: string): string => href("/releases/:component/:version", { component, version });

/** incident leads to an incident. */
export const incident = (id: string): string => href("/incidents/:id", { id });

/** endpoint leads to an endpoint. */
export const endpoint = (id: string): string => href("/endpoints/:id", { id });

/** plan leads to a plan. */
export const plan = (name: string): string => href("/plans/:name", { name });
