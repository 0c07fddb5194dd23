// Pictures of every page, for docs/screenshots: a fleet after an ordinary day, with a release that was stopped and one that is under way.

import { statSync } from "node:fs";
import { join } from "node:path";
import { as, leave, type Looks } from "./person.js";
import { begin, call, rollout, tell, until, world } from "./world.js";

/** day lets happen what the pictures show, and gives the pages. */
async function day(): Promise<[name: string, path: string][]> {
  const done = async (id: string): Promise<void> => void (await until("a rollout to end", async () => (await rollout(id)).ended !== undefined || undefined, 90_000));
  await done((await begin("sensor-content", "2026.7.18")).id);
  await done((await begin("edge-config", "41")).id);
  const bad = await begin("sensor-content", "2026.7.19", "13");
  const incident = await until("the breaker to trip", async () => (await rollout(bad.id)).incident, 90_000);
  const careful = await call("GET", "/api/v1/plans/quick");
  const body = careful.plan ?? careful.body ?? careful;
  const slow = { ...body, name: "careful", rings: body.rings.map((r: any, i: number) => ({ ...r, evidence: { ...r.evidence, bake: i < 1 ? "2s" : "10m" } })) };
  await call("PUT", "/api/v1/plans/careful", slow);
  await call("PUT", "/api/v1/plans/four-eyes", { ...slow, name: "four-eyes", approvals: 2 });
  await tell({ do: "publish", component: "sensor-content", version: "2026.7.20" });
  await tell({ do: "publish", component: "edge-config", version: "42" });
  const running = await call("POST", "/api/v1/rollouts", { component: "sensor-content", version: "2026.7.20", plan: "careful", reason: "mends 2026.7.19" });
  await call("POST", "/api/v1/rollouts", { component: "edge-config", version: "42", plan: "four-eyes", reason: "new limits" });
  await until("the second ring to be full", async () => (await rollout(running.id)).exposed >= 16 || undefined, 60_000);
  await until("no host to be under way", async () => (await rollout(running.id)).unconfirmed === 0 || undefined, 60_000);
  await call("POST", `/api/v1/rollouts/${running.id}/hold`, { select: { site: ["linz"] }, reason: "the plant is being inspected" }).catch((e: unknown) => console.log(String(e)));
  const harmed = (await call("GET", `/api/v1/incidents/${incident}`)).harmed[0].endpoint;
  return [
    ["overview", "/"], ["rollouts", "/rollouts"], ["rollout", `/rollouts/${running.id}`], ["rollout-tripped", `/rollouts/${bad.id}?outcome=harmed`], ["start", "/rollouts?start=true"],
    ["releases", "/releases"], ["release", "/releases/sensor-content/2026.7.19"], ["fleet", "/fleet"], ["endpoint", `/endpoints/${harmed}`],
    ["incidents", "/incidents"], ["incident", `/incidents/${incident}`], ["plans", "/plans"], ["plan", "/plans/careful"], ["holds", "/holds"], ["audit", "/audit"],
  ];
}

const onPhone = new Set(["overview", "rollout", "incident"]);

/** shoot takes pictures of pages. */
function shoot(pages: [string, string][], kind: string, looks: Looks): Promise<void> {
  return as(looks, async (p) => {
    for (const [name, path] of pages) {
      await p.open(path);
      await p.page.locator(".line", { hasText: "live" }).waitFor();
      await until("what is live to be there", async () => !/Loading|…$/m.test(await p.page.locator("main").innerText()) || undefined, 5000).catch(() => undefined);
      await p.page.evaluate(() => { scrollTo(0, 0); (document.activeElement as HTMLElement | null)?.blur(); });
      const file = join(world.shots, `${name}-${kind}.png`);
      await p.page.screenshot({ path: file, animations: "disabled", caret: "hide" });
      console.log(`${name}-${kind}.png ${Math.round(statSync(file).size / 1000)} kB`);
    }
  });
}

const pages = await day();
for (const scheme of ["light", "dark"] as const) {
  await shoot(pages, scheme, { scheme });
  await shoot(pages.filter(([name]) => onPhone.has(name)), `phone-${scheme}`, { scheme, width: 360, height: 740 });
  const halt: [string, string][] = [["halt", pages[2]![1]]];
  await as({ scheme }, async (p) => {
    await p.open(halt[0]![1]);
    await p.page.locator(".line", { hasText: "live" }).waitFor();
    await p.page.keyboard.press("Shift+H");
    await p.page.locator(".halt-panel").waitFor();
    await p.page.screenshot({ path: join(world.shots, `halt-${scheme}.png`), animations: "disabled", caret: "hide" });
  });
}
await leave();
