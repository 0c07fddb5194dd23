// What is around every page: the header, the ways to go, the halt control, the state of the line.

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { session, signOut } from "./client";
import { span } from "./format";
import { HaltButton, HaltPanel } from "./haltpanel";
import { line, topicOf, watchTopic } from "./live";
import { inUTC, now, zone } from "./now";
import { pageOf, type Route } from "./pages";
import { href, place, type Pattern } from "./router";
import { SignIn } from "./signin";
import { choice, choose, theme } from "./theme";
import { Dialog, Failed, Icon, Loading, When } from "./ui";
import { Mark } from "./ui/icon";
import { Toasts } from "./ui/toast";
import { asFailure, type Failure } from "./client";
import type { Binding } from "./keys";

/** ways are the pages that the navigation leads to, and the key after g that leads there. */
export const ways: readonly (readonly [name: string, pattern: Pattern, key: string])[] = [
  ["Overview", "/", "o"], ["Rollouts", "/rollouts", "r"], ["Releases", "/releases", "e"], ["Fleet", "/fleet", "f"], ["Incidents", "/incidents", "i"],
  ["Plans", "/plans", "p"], ["Holds", "/holds", "h"], ["Audit", "/audit", "a"],
];

/** helpOpen shows what the keys do. */
export const helpOpen = signal(false);

/** under tells whether a path belongs to a way, and whether it is the very page. */
const under = (path: string, to: string): "page" | "true" | undefined => (path === to ? "page" : to !== "/" && path.startsWith(to + "/") ? "true" : to === "/fleet" && path.startsWith("/endpoints/") ? "true" : undefined);

/** Shell is the application. */
export function Shell({ bindings }: { bindings: () => readonly Binding[] }) {
  const [kept, setKept] = useState(false);
  useEffect(() => watchTopic("overview"), []);
  const who = session.value;
  useEffect(() => { if (who) setKept(true); }, [who]);
  return (
    <>
      <a class="skip" href="#main">Skip to the page</a>
      <header class="top">
        <a class="brand" href="/" aria-label="Firebreak, overview"><Mark /><span>Firebreak</span></a>
        <Nav />
        <div class="top-end">
          <Connection />
          <HaltButton />
        </div>
      </header>
      <HaltPanel />
      <main id="main" tabIndex={-1}><Current /></main>
      <footer class="foot"><Foot /></footer>
      {helpOpen.value ? <Help bindings={bindings()} /> : null}
      <SignIn kept={kept} />
      <Toasts />
    </>
  );
}

function Nav() {
  const path = place.value.path;
  const overview = topicOf("overview").value.value;
  const open = Object.values(overview?.incidents ?? {}).filter((i) => !i.closed).length;
  return (
    <nav aria-label="Pages">
      <ul>
        {ways.map(([name, to]) => (
          <li key={to}>
            <a href={href(to as "/")} aria-current={under(path, to)}>
              {name}
              {to === "/incidents" && open > 0 ? <span class="pip"><Icon shape="harm" />{open}<span class="hidden"> open</span></span> : null}
              {to === "/rollouts" && overview && overview.running > 0 ? <span class="pip calm">{overview.running}<span class="hidden"> running</span></span> : null}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

/** Connection says whether what is shown is live. */
function Connection() {
  const at = line.value;
  const stale = topicOf("overview").value.stale;
  if (at.state === "live" && stale !== undefined) {
    return <span class="line amber" role="status" title={stale}><Icon shape="amber" /> <span>as of <When at={topicOf("overview").value.good} quiet /></span></span>;
  }
  if (at.state === "live") return <span class="line good" role="status"><span class="beat" aria-hidden="true" /> live</span>;
  if (at.state === "reconnecting") {
    const gone = now.value - at.since;
    return <span class="line amber" role="status" title={at.why.detail}><Icon shape="amber" /> <span>{at.why.status === 503 ? "starting" : "reconnecting"}<span aria-hidden="true"> {span(gone)}</span></span></span>;
  }
  return <span class="line idle" role="status"><Icon shape="idle" /> {at.state === "hidden" ? "asleep" : "connecting"}</span>;
}

function Foot() {
  const who = session.value;
  const [failure, fail] = useState<Failure>();
  return (
    <>
      <span>{who ? <>Signed in as <b>{who.note || who.actor}</b></> : "Not signed in"}</span>
      {who ? <button type="button" class="bare" onClick={() => { signOut().catch((e: unknown) => fail(asFailure(e))); }}>Sign out</button> : null}
      {failure ? <span role="alert">Not signed out: {failure.detail}</span> : null}
      <span class="grow" />
      <button type="button" class="bare" aria-pressed={inUTC.value} onClick={() => { inUTC.value = !inUTC.value; }}>{inUTC.value ? "Times in UTC" : `Times in ${zone()}`}</button>
      <label class="theme"><Icon shape={theme.value === "dark" ? "moon" : "sun"} /><span class="hidden">Theme</span>
        <select value={choice.value} onChange={(e) => choose(e.currentTarget.value as "system")}>
          <option value="system">as the system</option><option value="light">light</option><option value="dark">dark</option>
        </select>
      </label>
      <button type="button" class="bare" onClick={() => { helpOpen.value = true; }}>Keys <kbd>?</kbd></button>
    </>
  );
}

function Help({ bindings }: { bindings: readonly Binding[] }) {
  return (
    <Dialog title="Keys" close={() => { helpOpen.value = false; }}>
      <p>They work wherever no text is being typed.</p>
      <table class="keys">
        <thead class="hidden"><tr><th>keys</th><th>do</th></tr></thead>
        <tbody>
          {bindings.map((b) => <tr key={b.keys}><td>{b.keys.split(" ").map((k) => <kbd key={k}>{k}</kbd>)}</td><td>{b.does}</td></tr>)}
          <tr><td><kbd>Enter</kbd></td><td>after Shift+H: halt what the panel names</td></tr>
          <tr><td><kbd>Esc</kbd></td><td>leave a panel or a dialog</td></tr>
        </tbody>
      </table>
    </Dialog>
  );
}

/** Current loads and draws the page of the path. A page that cannot be loaded or breaks takes nothing else with it. */
function Current() {
  const at = place.value;
  const found = pageOf(at.path);
  const [loaded, set] = useState<{ of: Route["load"]; page?: Awaited<ReturnType<Route["load"]>>; failure?: Failure }>();
  const [turn, again] = useState(0);
  const load = found.route.load;
  useEffect(() => {
    let gone = false;
    load().then((page) => { if (!gone) set({ of: load, page }); }, () => {
      if (!gone) set({ of: load, failure: asFailure(new Error("a part of the console could not be loaded; after an upgrade of the control plane reload the page")) });
    });
    return () => { gone = true; };
  }, [load, turn]);
  if (loaded?.of !== load || (!loaded.page && !loaded.failure)) return <Loading what="the page" />;
  if (loaded.failure) return <Failed failure={loaded.failure} again={() => { again(turn + 1); }} />;
  const Page = loaded.page!.default;
  return <Page key={at.path} params={found.params} query={at.query} />;
}
