// Every field gets what nobody should type. It is refused with a sentence or kept as text; nothing runs, nothing breaks.

import assert from "node:assert/strict";
import type { Locator } from "playwright-core";
import { as, refused, type Person, walk } from "./person.js";
import { act, begin, call, start, tell, until, world } from "./world.js";

const script = `"><script>window.pwned=1</script><img src=x onerror="window.pwned=2"><svg onload=window.pwned=3>{{7*7}}\${7*7}`;
const values = [
  script,
  `'; DROP TABLE rollouts; -- " OR "1"="1`,
  "\u0007\u001b[31m\u202e\u2066live\u2069\u200b\ufeff\u0085\u2028../../%00%0d%0aSet-Cookie: a=b",
  "x".repeat(1 << 20),
];

/** sane asserts that nothing ran and that the page still stands. */
async function sane(p: Person, where: string): Promise<void> {
  await p.page.locator("main h1").first().waitFor();
  const state = await p.page.evaluate(() => ({ pwned: (window as any).pwned as unknown, foreign: document.querySelectorAll("main script, main iframe, main img, dialog script, dialog img").length }));
  assert.deepEqual(state, { pwned: undefined, foreign: 0 }, where);
  assert.deepEqual(p.asked.filter((a) => a.status >= 500), [], `${where}: answers that blame the server`);
}

/** fields are those of a form that take text. */
const fields = (scope: Locator): Locator => scope.locator("textarea, input:not([type=checkbox], [type=radio], [type=date], [type=datetime-local], [type=file], [type=number], [disabled])");

/** attack fills every field with every value and sends the form if it is one. It gives how many fields there were. */
async function attack(p: Person, scope: () => Locator, where: string): Promise<number> {
  let count = 0;
  for (const value of values) {
    const box = scope();
    if ((await box.count()) === 0) break; // something was accepted, and the form is gone
    const all = await fields(box).all();
    count = Math.max(count, all.length);
    for (const field of all) {
      await field.evaluate((e: HTMLInputElement | HTMLTextAreaElement, text) => { // pasted, and cut off where the browser cuts off
        e.value = e.maxLength >= 0 ? text.slice(0, e.maxLength) : text;
        e.dispatchEvent(new Event("input", { bubbles: true }));
        e.dispatchEvent(new Event("change", { bubbles: true }));
      }, value);
    }
    const send = box.locator("button[type=submit]");
    if ((await send.count()) > 0 && (await send.first().isEnabled())) {
      await send.first().evaluate((b: HTMLButtonElement) => b.form!.noValidate = true);
      await send.first().click();
      await until(`${where}: an answer`, async () => (await scope().count()) === 0 || (await scope().getByText("…", { exact: false }).locator("xpath=self::button").count()) === 0 || undefined);
    }
    await sane(p, where);
  }
  return count;
}

export const inFields = walk("hostile text in filters and fields", () => as({}, async (p) => {
  p.forgive(refused(400, 404, 409, 412, 413, 414, 422, 429, 431));
  p.forgive(/^console: (Access to fetch at|Failed to load resource: net::ERR_FAILED) .*x{1000}/s); // Chromium about an address of a megabyte
  const found: [string, number][] = [];
  for (const path of ["/rollouts", "/releases", "/fleet", "/audit"]) {
    await p.open(path);
    found.push([path, await attack(p, () => p.page.locator(".filters").first(), path)]);
  }
  for (const path of ["/rollouts?start=true", "/plans?check=true"]) {
    await p.open(path);
    found.push([path, await attack(p, () => p.page.locator("dialog[open], #check").first(), path)]);
  }
  for (const [path, n] of found) assert.ok(n > 0, `${path} has ${n} fields`);
}));

export const inCommands = walk("hostile text in commands, and what is kept of it is text", () => as({}, async (p) => {
  p.forgive(refused(400, 404, 409, 412, 413, 414, 422, 429, 431));
  const r = await begin("edge-config", "106");
  await p.open(`/rollouts/${r.id}`);
  const dialog = (): Locator => p.page.locator("dialog[open]");
  for (const name of ["Hold some hosts", "Pause"]) {
    if ((await p.button(name).count()) === 0) continue;
    await p.button(name).first().click();
    assert.ok((await attack(p, dialog, name)) > 0, name);
    if ((await dialog().count()) > 0) await p.page.keyboard.press("Escape");
    await dialog().waitFor({ state: "detached" });
  }
  await p.says(/<script>window\.pwned=1<\/script>/); // the reason of the pause, in the timeline
  await sane(p, "the timeline");
  await p.page.keyboard.press("Shift+H");
  await attack(p, () => p.page.locator(".halt-panel form"), "halt");
  await until("the halt", async () => (await call("GET", `/api/v1/rollouts/${r.id}`)).phase === "halted" || undefined);
  await p.page.keyboard.press("Escape");
  await act(r.id, "rollback", script);
  for (const path of ["/audit", `/rollouts/${r.id}`, "/"]) {
    await p.open(path);
    await sane(p, path);
  }
}));

export const inNames = walk("hostile names: of a release, of a token, in an address", () => as({}, async (p) => {
  p.forgive(refused(400, 404, 414, 431));
  await call("POST", "/api/v1/tokens", { kind: "operator", note: script.slice(0, 100) }).catch(() => undefined);
  await tell({ do: "publish", component: "edge-config", version: "107" });
  const r = await start("edge-config", "107", script);
  await p.open(`/rollouts/${r.id}`);
  await p.page.locator(".rollout-timeline summary", { hasText: "started" }).first().click();
  await p.says(/<script>window\.pwned=1<\/script>/);
  await sane(p, "the rollout");
  await act(r.id, "halt", script);
  await act(r.id, "rollback", script);
  for (const path of ["/rollouts/", "/endpoints/", "/incidents/", "/plans/", "/releases/x/"]) {
    for (const value of values.slice(0, 3)) {
      await p.page.goto(path + encodeURIComponent(value));
      await sane(p, path);
    }
  }
  await p.open("/fleet?select=" + encodeURIComponent(script) + "&component=" + encodeURIComponent(script));
  await sane(p, "/fleet");
}));

export const inTokens = walk("hostile tokens", () => as({}, async (p) => {
  p.forgive(refused(400, 401, 413, 429));
  await p.page.goto("/");
  await p.page.getByLabel("Operator token").waitFor();
  await attack(p, () => p.page.locator("dialog[data-sign-in]"), "sign in").catch((e: unknown) => { if (!String(e).includes("main h1")) throw e; });
  await p.page.getByLabel("Operator token").fill(world.token);
  await p.page.keyboard.press("Enter");
  await p.page.locator("dialog[data-sign-in]").waitFor({ state: "detached" });
}, false));
