// Where the reader is: paths of the History API, typed.

import { signal } from "@preact/signals";

/** Pattern is a path of the console. The server answers them all with the application. */
export type Pattern =
  | "/" | "/rollouts" | "/rollouts/:id" | "/releases" | "/releases/:component/:version" | "/fleet" | "/endpoints/:id"
  | "/incidents" | "/incidents/:id" | "/plans" | "/plans/:name" | "/holds" | "/audit";

/** Names are the names of a pattern's places. */
type Names<P extends string> = P extends `${string}:${infer N}/${infer R}` ? N | Names<R> : P extends `${string}:${infer N}` ? N : never;

/** ParamsOf is what a pattern's places hold. */
export type ParamsOf<P extends string> = { [N in Names<P>]: string };

/** Params is what the places of any path hold. */
export type Params = { readonly [name: string]: string };

/** Place is where the reader is. */
export interface Place { path: string; query: URLSearchParams; hash: string }

const here = (): Place => ({ path: location.pathname, query: new URLSearchParams(location.search), hash: location.hash });

/** place is where the reader is now. */
export const place = signal<Place>(typeof location === "undefined" ? { path: "/", query: new URLSearchParams(), hash: "" } : here());

/** arrived counts navigations: pages take the focus when it changes, but not when only the query did. */
export const arrived = signal(0);

/** href makes the address of a page: href("/rollouts/:id", { id }). Empty query values are left out. */
export function href<P extends Pattern>(pattern: P, ...rest: Names<P> extends never ? [params?: undefined, query?: QueryValues] : [params: ParamsOf<P>, query?: QueryValues]): string {
  const [params, query] = rest;
  const path = pattern.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent((params as Params | undefined)?.[name] ?? ""));
  return path + queryText(query ?? {});
}

type QueryValues = Record<string, string | number | boolean | undefined | null | readonly string[]>;

function queryText(query: QueryValues): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "" && one !== false) search.append(key, String(one));
    }
  }
  const text = search.toString();
  return text === "" ? "" : "?" + text;
}

/** match finds what a path's places hold, null if the path is another one or cannot be decoded. */
export function match(pattern: string, path: string): Params | null {
  const want = pattern.split("/");
  const have = path.length > 1 && path.endsWith("/") ? path.slice(0, -1).split("/") : path.split("/");
  if (want.length !== have.length) return null;
  const params: { [name: string]: string } = {};
  for (let i = 0; i < want.length; i++) {
    if (!want[i]!.startsWith(":")) {
      if (want[i] !== have[i]) return null;
      continue;
    }
    try {
      params[want[i]!.slice(1)] = decodeURIComponent(have[i]!);
    } catch {
      return null;
    }
    if (have[i] === "") return null;
  }
  return params;
}

const scrolled = new Map<string, number>(); // by entry of the history
let entry = "";

const remember = (): void => { scrolled.set(entry, window.scrollY); };

/** go goes to an address of the console. */
export function go(address: string, replace = false): void {
  const same = new URL(address, location.href);
  remember();
  if (replace) history.replaceState({ entry }, "", same);
  else {
    entry = String(Date.now() + Math.random());
    history.pushState({ entry }, "", same);
  }
  const moved = place.peek().path !== location.pathname;
  place.value = here();
  if (moved) {
    arrived.value++;
    window.scrollTo(0, 0);
  }
}

/** setQuery changes the query of the page without leaving it: for filters, so that they can be linked to and survive a reload. */
export function setQuery(changes: QueryValues): void {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    query.delete(key);
    for (const one of new URLSearchParams(queryText({ [key]: value })).getAll(key)) query.append(key, one);
  }
  const text = query.toString();
  history.replaceState(history.state, "", location.pathname + (text === "" ? "" : "?" + text) + location.hash);
  place.value = here();
}

/** startRouter follows clicks on links of the console and the history's buttons. Plain <a href> is all that pages need. */
export function startRouter(): void {
  history.scrollRestoration = "manual";
  entry = String((history.state as { entry?: string } | null)?.entry ?? "first");
  history.replaceState({ entry }, "");
  document.addEventListener("click", (e) => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = (e.target as Element).closest?.("a[href]") as HTMLAnchorElement | null;
    if (!a || a.target || a.hasAttribute("download") || a.origin !== location.origin || /^\/(api|tuf|assets)\//.test(a.pathname)) return;
    if (a.hash !== "" && a.pathname === location.pathname && a.search === location.search) return; // within the page
    e.preventDefault();
    go(a.href);
  });
  window.addEventListener("popstate", (e) => {
    remember();
    entry = String((e.state as { entry?: string } | null)?.entry ?? "first");
    const moved = place.peek().path !== location.pathname;
    place.value = here();
    if (moved) arrived.value++;
    const top = scrolled.get(entry) ?? 0;
    requestAnimationFrame(() => requestAnimationFrame(() => window.scrollTo(0, top)));
  });
}
