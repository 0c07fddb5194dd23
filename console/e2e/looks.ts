// Every page: for those who see little or nothing, in both themes, on a phone, with the keyboard alone.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { as, refused, type Person, walk, type Walk } from "./person.js";
import { call, until } from "./world.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** pages are the paths of all pages, with the names of things that there are. */
export async function pages(): Promise<string[]> {
  const rollouts = (await call("GET", "/api/v1/rollouts?limit=200")).items as { id: string; component: string; version: string; phase: string }[];
  const r = rollouts.find((x) => x.phase === "complete") ?? rollouts[0]!;
  const incident = (await call("GET", "/api/v1/incidents?limit=1")).items[0].id;
  const endpoint = (await call("GET", "/api/v1/endpoints?limit=1")).items[0].id;
  return [
    "/", "/rollouts", `/rollouts/${r.id}?outcome=any`, "/rollouts?start=true", "/releases", `/releases/${r.component}/${r.version}`, "/fleet", `/endpoints/${endpoint}`,
    "/incidents", `/incidents/${incident}`, "/plans", "/plans/quick", "/holds", "/audit",
  ];
}

/** first is what pages ask for when they are opened: internal/bench measures these with a large fleet. */
const first = JSON.parse(readFileSync(new URL("../../e2e/requests.json", import.meta.url), "utf8")) as { [page: string]: string[] };

/** nameless is a path with the names of things taken out. */
const nameless = (path: string): string => decodeURIComponent(path).replace(/\b(ro|ep|inc)-[0-9a-z]+/g, "{$1}").replace(/since=[^&]*/, "since={since}").replace(/2026\.7\.\d+|(?<=[/=])10\d(?=$|[/&])(?<!limit=10\d)/g, "{version}").replace(/sensor-content|edge-config/g, "{component}");

/** examine asks axe, and gives what is serious. */
async function examine(p: Person): Promise<string[]> {
  await p.page.evaluate(axe);
  return p.page.evaluate(async () => {
    const found = await (window as any).axe.run(document, { resultTypes: ["violations"] });
    return found.violations.filter((v: any) => v.impact === "serious" || v.impact === "critical")
      .map((v: any) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n: any) => `${n.target.join(" ")} ${n.html.slice(0, 160)}`).join(" | ")}`);
  });
}

/** overflow names what makes the page wider than the window. */
const overflow = (p: Person): Promise<string[]> => p.page.evaluate(() => {
  if (document.documentElement.scrollWidth <= window.innerWidth) return [];
  const wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1);
  return [`the page is ${document.documentElement.scrollWidth} px wide`, ...wide.slice(0, 4).map((e) => e.outerHTML.slice(0, 120))];
});

const looks = (scheme: "light" | "dark"): Walk =>
  walk(`every page can be read by everybody, ${scheme}, on a desk and on a phone`, () => as({ scheme }, async (p) => {
    const wrong: string[] = [];
    for (const path of await pages()) {
      await p.page.setViewportSize({ width: 1280, height: 800 });
      await p.open(path);
      wrong.push(...(await examine(p)).map((w) => `${path}: ${w}`));
      for (const a of p.asked) {
        const what = (a.method === "GET" ? "" : `${a.method} `) + nameless(a.path);
        if (!first[nameless(path)]?.includes(what)) wrong.push(`${nameless(path)} asks for ${what}, which console/e2e/requests.json does not know`);
      }
      await p.page.setViewportSize({ width: 360, height: 740 });
      await p.page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
      wrong.push(...[...(await overflow(p)), ...(await examine(p))].map((w) => `${path}, 360 px: ${w}`));
    }
    assert.deepEqual(wrong, []);
  }));

export const light = looks("light");
export const dark = looks("dark");

export const unknown = walk("what there is not is told in a sentence", () => as({}, async (p) => {
  p.forgive(refused(404));
  for (const path of ["/rollouts/ro-nothing", "/endpoints/ep-00000000000000000000", "/incidents/inc-nothing", "/releases/nobody/0", "/plans/nothing"]) {
    await p.open(path);
    await until(`${path} to say that there is no such thing`, async () => /(there is no|no such|not found|unknown)/i.test(await p.page.locator("main").innerText()) || undefined);
  }
  await p.open("/nowhere/at/all");
  await p.says(/There is no page/);
}));

export const keyboardAlone = walk("all of it works with the keyboard alone", () => as({}, async (p) => {
  const { keyboard } = p.page;
  await p.open("/");
  await keyboard.press("Tab");
  assert.equal(await focused(p), "Skip to the page");
  await keyboard.press("Enter");
  assert.equal(await p.page.evaluate(() => document.activeElement?.id), "main");
  await everyStop(p);
  await keyboard.press("?");
  await p.page.getByRole("dialog", { name: "Keys" }).waitFor();
  await keyboard.press("Escape");
  await p.page.getByRole("dialog", { name: "Keys" }).waitFor({ state: "detached" });
  for (const [key, title] of [["r", "Rollouts"], ["e", "Releases"], ["f", "Fleet"], ["i", "Incidents"], ["p", "Plans"], ["h", "Holds"], ["a", "Audit"], ["o", "Overview"]] as const) {
    await keyboard.press("g");
    await keyboard.press(key);
    await p.page.locator("h1", { hasText: new RegExp(title.slice(0, 4), "i") }).waitFor();
    await until("the focus to be on the heading", async () => (await p.page.evaluate(() => document.activeElement?.tagName)) === "H1" || undefined);
  }
  await keyboard.press("/");
  await p.page.waitForURL(/\/fleet/);
  await until("a field that searches to have the focus", async () => (await p.page.evaluate(() => (document.activeElement as HTMLElement)?.dataset["search"] !== undefined)) || undefined);
  await keyboard.press("Escape");
}));

const focused = (p: Person): Promise<string> => p.page.evaluate(() => (document.activeElement as HTMLElement | null)?.innerText.trim() ?? "");

/** everyStop steps through the page by Tab: every control is reached, and is seen when it is. */
async function everyStop(p: Person): Promise<void> {
  const wanted = await p.page.evaluate(() => {
    const all = [...document.querySelectorAll<HTMLElement>("main :is(a[href], button, input, select, textarea, summary, [tabindex='0'])")].filter((e) => e.checkVisibility() && !(e as HTMLButtonElement).disabled);
    for (const e of all) e.dataset["want"] = "";
    return all.length;
  });
  assert.ok(wanted > 10, `${wanted} controls`);
  for (let n = 0; n < wanted + 5; n++) {
    await p.page.keyboard.press("Tab");
    const unseen = await p.page.evaluate(() => {
      const e = document.activeElement as HTMLElement;
      delete e.dataset["want"];
      if (!e.closest("main")) return "";
      const [box, style] = [e.getBoundingClientRect(), getComputedStyle(e)];
      const inside = box.bottom > 0 && box.top < innerHeight && box.width > 0;
      const marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
      return inside && marked ? "" : `${e.outerHTML.slice(0, 120)} inside ${inside} marked ${marked}`;
    });
    assert.equal(unseen, "", "what has the focus is seen");
  }
  const missed = await p.page.evaluate(() => [...document.querySelectorAll<HTMLElement>("[data-want]")].filter((e) => e.isConnected && e.checkVisibility()).map((e) => e.outerHTML.slice(0, 120)));
  assert.deepEqual(missed, [], "controls that Tab does not reach");
}
