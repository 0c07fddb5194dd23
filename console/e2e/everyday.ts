// Signing in, starting a rollout, watching it, halting it.

import assert from "node:assert/strict";
import { as, refused, walk } from "./person.js";
import { act, begin, rollout, tell, until, world } from "./world.js";

export const signingIn = walk("a wrong token is refused, a right one signs in", () => as({}, async (p) => {
  p.forgive(refused(401));
  await p.page.goto("/");
  const field = p.page.getByLabel("Operator token");
  await field.fill("fbo_wrong");
  await field.press("Enter");
  await p.says(/not a valid operator token/);
  assert.equal((await p.context.cookies()).length, 0, "cookies after a refusal");
  await field.fill(world.token);
  await field.press("Enter");
  await p.page.locator("h1", { hasText: "Overview" }).waitFor();
  await p.says("48 endpoints heard", 5000).catch(() => p.says(/of 48 endpoints/));
  const cookies = await p.context.cookies();
  assert.deepEqual(cookies.map((c) => [c.httpOnly, c.sameSite]), [[true, "Strict"]], "the session's cookie");
  assert.equal(await p.page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage })).then((s) => s.includes("fbo_")), false, "the token is kept nowhere");
}, false));

export const watching = walk("a rollout is started by the form and advances before one's eyes", () => as({}, async (p) => {
  await tell({ do: "publish", component: "sensor-content", version: "2026.7.1" });
  await p.open("/rollouts");
  await p.mark();
  await p.button("Start a rollout").click();
  await p.page.getByLabel("Component", { exact: true }).last().fill("sensor-content");
  await p.page.getByLabel("Version").fill("2026.7.1");
  await p.page.getByLabel("Reason").fill("the weekly content");
  await p.button("Start").click();
  await p.page.waitForURL(/\/rollouts\/ro-/);
  await p.says("live");
  const seen = new Set<number>();
  await until("the exposure to grow in steps", async () => { seen.add(await p.figure("Exposed")); return seen.size >= 4 || undefined; });
  await p.says(/canary/);
  await until("all hosts to be confirmed", async () => (await p.figure("Confirmed")) === 48 || undefined, 60_000);
  await p.page.locator("h1", { hasText: "complete" }).waitFor();
  assert.ok(await p.kept(), "it all happened without the page being loaded anew");
  assert.ok((await p.page.locator(".rollout-timeline li").count()) >= 4, "the timeline has decisions");
}));

export const halting = walk("two keys halt, and the answer is there within a second", () => as({}, async (p) => {
  const r = await begin("sensor-content", "2026.7.2");
  await p.open("/");
  await until("hosts to be exposed", async () => (await rollout(r.id)).exposed > 3 || undefined);
  await p.page.locator("article", { hasText: "2026.7.2" }).waitFor();
  const slow = await p.context.newCDPSession(p.page); // a tired laptop: the keys come faster than it draws
  await slow.send("Emulation.setCPUThrottlingRate", { rate: 6 });
  const pressed = Date.now();
  await p.page.keyboard.press("Shift+H");
  await p.page.keyboard.press("Enter");
  await p.page.locator("#halt-title", { hasText: /1 rollout halted; .* in flight/ }).waitFor();
  const took = Date.now() - pressed;
  await slow.send("Emulation.setCPUThrottlingRate", { rate: 1 });
  assert.ok(took < 1000, `it took ${took} ms until the answer was there`);
  assert.equal((await rollout(r.id)).phase, "halted");
  await p.page.keyboard.press("Shift+H"); // a halt that was done leaves the panel for the next one
  await p.page.keyboard.press("Enter");
  await p.page.locator("#halt-title", { hasText: "Nothing was running" }).waitFor();
  await p.page.keyboard.press("Escape");
  await p.page.locator(".halt-panel").waitFor({ state: "detached" });
  await act(r.id, "rollback", "the walk is over");
}));
