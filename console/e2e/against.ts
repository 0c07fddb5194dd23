// What goes against people: others who act at the same time, sessions that end, control planes that stop, databases that are slow.

import assert from "node:assert/strict";
import { as, refused, walk } from "./person.js";
import { act, begin, call, rollout, tell, until, world } from "./world.js";

const component = "edge-config";

export const twoAtOnce = walk("two act at once: the one who comes later is told what happened instead", async () => {
  const r = await begin(component, "101");
  await as({}, async (first) => {
    await as({}, async (second) => {
      second.forgive(refused(409, 412));
      await second.open(`/rollouts/${r.id}`);
      await second.button("Pause").click();
      await second.page.getByLabel("Reason").last().fill("I want to look first");
      await first.open(`/rollouts/${r.id}`);
      await first.button("Halt").last().click();
      await first.page.getByLabel("Reason").last().fill("it is the wrong one");
      await first.page.locator("dialog").getByRole("button", { name: /^Halt/ }).click();
      await first.page.locator("h1", { hasText: "halted" }).waitFor();
      await second.says(/Meanwhile it is halted/); // the page tells before anybody has sent anything
      await second.page.locator("dialog").getByRole("button", { name: /^Pause/ }).click();
      await second.says(/Nothing was done/);
      await second.says(/it is the wrong one|is halted/);
      assert.equal(await second.page.getByLabel("Reason").last().inputValue(), "I want to look first", "what was typed");
    });
  });
  assert.equal((await rollout(r.id)).phase, "halted");
  await act(r.id, "rollback");
});

export const endedMeanwhile = walk("a rollout has ended meanwhile: halting it says so", () => as({}, async (p) => {
  const r = await begin(component, "102");
  await p.open(`/rollouts/${r.id}`);
  await p.page.keyboard.press("Shift+H");
  await p.page.getByRole("button", { name: `Halt ${component} 102` }).waitFor();
  await act(r.id, "rollback", "somebody was quicker");
  await p.page.keyboard.press("Enter");
  await p.page.locator("#halt-title", { hasText: /nothing to halt: it had ended/ }).waitFor();
  await p.page.locator(".halt-results").getByText(/somebody was quicker|rolled back/).first().waitFor();
}));

export const sessionEnds = walk("a session ends in the middle: signing in goes on where it was", () => as({}, async (p) => {
  p.forgive(refused(401));
  await tell({ do: "publish", component, version: "103" });
  await p.open("/rollouts?start=true");
  await p.mark();
  const form = p.page.locator("dialog", { hasText: "Start a rollout" });
  await form.getByLabel("Component").fill(component);
  await form.getByLabel("Version").fill("103");
  await form.getByLabel("Reason").fill("typed before the session ended");
  await p.expire();
  await form.getByRole("button", { name: "Start", exact: true }).click();
  await p.says(/Your session has ended/);
  assert.equal(await form.getByLabel("Reason").inputValue(), "typed before the session ended");
  await p.page.getByLabel("Operator token").fill(world.token);
  await p.page.keyboard.press("Enter");
  await p.page.waitForURL(/\/rollouts\/ro-/);
  assert.ok(await p.kept(), "the page was not loaded anew");
  const id = new URL(p.page.url()).pathname.split("/").pop()!;
  const events = await call("GET", `/api/v1/rollouts/${id}/timeline`);
  assert.match(JSON.stringify(events), /typed before the session ended/);
  await act(id, "halt");
  await act(id, "rollback");
}));

export const planeStops = walk("the control plane stops and comes back: the page says so, and a halt is not given up", () => as({}, async (p) => {
  p.forgive(/^console: Failed to load resource: net::ERR_/, refused(502, 503), /^console: .*(ERR_|net::)/);
  const r = await begin(component, "104");
  await p.open("/");
  await p.mark();
  await p.says("live");
  await tell({ do: "stop" });
  await p.says(/reconnecting/);
  await p.page.locator("article", { hasText: "104" }).waitFor(); // what was known is still there
  await p.page.keyboard.press("Shift+H");
  await p.page.keyboard.press("Enter");
  await p.says(/tried again by itself/);
  await p.says(/firebreak rollout halt/);
  await tell({ do: "start" });
  await p.page.locator("#halt-title", { hasText: "1 rollout halted" }).waitFor({ timeout: 40_000 });
  await p.page.locator(".line", { hasText: "live" }).waitFor({ timeout: 40_000 });
  assert.ok(await p.kept());
  assert.equal((await rollout(r.id)).phase, "halted");
  await act(r.id, "rollback");
}));

export const slowDatabase = walk("a halt is answered within a second while the database is slow, and stored when it is not", () => as({}, async (p) => {
  const r = await begin(component, "105");
  await p.open(`/rollouts/${r.id}`);
  await until("hosts to be exposed", async () => (await rollout(r.id)).exposed > 3 || undefined);
  await tell({ do: "slow" });
  try {
    await p.page.keyboard.press("Shift+H");
    const pressed = Date.now();
    await p.page.keyboard.press("Enter");
    await p.page.locator("#halt-title", { hasText: /1 held, nobody gets a lease any more/ }).waitFor();
    const took = Date.now() - pressed;
    assert.ok(took < 1200, `it took ${took} ms until the answer was there`);
  } finally {
    await tell({ do: "fast" });
  }
  await p.page.locator("#halt-title", { hasText: /1 rollout halted/ }).waitFor();
  await until("the halt to be stored", async () => (await rollout(r.id)).phase === "halted" || undefined);
  await act(r.id, "rollback");
}));
