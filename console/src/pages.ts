// Which page a path shows. Each is in its own file and comes when it is wanted.

import type { ComponentType } from "preact";
import { match, type Params, type Pattern } from "./router";

/** PageProps is what every page gets: what the places of its path hold, and its query. */
export interface PageProps<P = Params> { params: P; query: URLSearchParams }

/** Route is how a page is loaded: a module whose default export is the page. */
export interface Route { load: () => Promise<{ default: ComponentType<PageProps<any>> }> }

const routes: { [P in Pattern]: Route } = {
  "/": { load: () => import("./pages/overview") },
  "/rollouts": { load: () => import("./pages/rollouts") },
  "/rollouts/:id": { load: () => import("./pages/rollout") },
  "/releases": { load: () => import("./pages/releases") },
  "/releases/:component/:version": { load: () => import("./pages/release") },
  "/fleet": { load: () => import("./pages/fleet") },
  "/endpoints/:id": { load: () => import("./pages/endpoint") },
  "/incidents": { load: () => import("./pages/incidents") },
  "/incidents/:id": { load: () => import("./pages/incident") },
  "/plans": { load: () => import("./pages/plans") },
  "/plans/:name": { load: () => import("./pages/plan") },
  "/holds": { load: () => import("./pages/holds") },
  "/audit": { load: () => import("./pages/audit") },
};

const missing: Route = { load: () => import("./pages/missing") };

/** pageOf finds the page of a path, and what the places of its pattern hold. */
export function pageOf(path: string): { route: Route; params: Params } {
  for (const [pattern, route] of Object.entries(routes)) {
    const params = match(pattern, path);
    if (params) return { route, params };
  }
  return { route: missing, params: {} };
}
