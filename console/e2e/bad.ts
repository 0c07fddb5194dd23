// A bad release: it is stopped by itself, somebody reads the incident, takes it along and closes it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { inflateRawSync } from "node:zlib";
import { as, type Person, walk } from "./person.js";
import { begin, call, rollout, until } from "./world.js";

/** download clicks a link and reads what comes. */
async function download(p: Person, name: string): Promise<{ name: string; data: Buffer }> {
  const [file] = await Promise.all([p.page.waitForEvent("download"), p.page.getByRole("group", { name: "Export" }).getByRole("link", { name, exact: true }).click()]);
  return { name: file.suggestedFilename(), data: await readFile(await file.path()) };
}

/** unzip reads an archive's files by its directory. */
export function unzip(data: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  let at = data.readUInt32LE(data.length - 22 + 16);
  for (let n = data.readUInt16LE(data.length - 22 + 10); n > 0; n--) {
    const [how, size, name, more, note, local] = [data.readUInt16LE(at + 10), data.readUInt32LE(at + 20), data.readUInt16LE(at + 28), data.readUInt16LE(at + 30), data.readUInt16LE(at + 32), data.readUInt32LE(at + 42)];
    const begin = local + 30 + data.readUInt16LE(local + 26) + data.readUInt16LE(local + 28);
    const packed = data.subarray(begin, begin + size);
    files.set(data.toString("utf8", at + 46, at + 46 + name), how === 8 ? inflateRawSync(packed) : packed);
    at += 46 + name + more + note;
  }
  return files;
}

export const badRelease = walk("a bad release stops itself; somebody reads what happened, takes it along and closes it", () => as({}, async (p) => {
  await p.open("/");
  await p.mark();
  const good = (await call("GET", "/api/v1/releases?component=sensor-content&limit=100")).items.map((x: { version: string }) => x.version) as string[];
  const r = await begin("sensor-content", "2026.7.3", "all");
  const tripped = await until("the breaker to trip", async () => { const now = await rollout(r.id); return now.incident ? now : undefined; });
  const needs = p.page.locator("#needs-you");
  const link = needs.getByRole("link", { name: /2026\.7\.3/ }).first();
  await link.waitFor(); // nobody has loaded anything anew
  await p.page.locator("nav").getByText("1 open").waitFor();
  await link.click();
  await p.page.waitForURL(`**/incidents/${tripped.incident}`);
  await p.settled();
  assert.ok(await p.kept(), "all that without the page being loaded anew");
  await p.says(/The breaker stopped sensor-content 2026\.7\.3 by itself/);
  await p.says(/read of 20 fields of a record that has 21/);
  await p.says(/All of them (have recovered|run an earlier release again)/, 30_000);
  const harmed = (await rollout(r.id)).harmed;
  const rows = p.page.locator("#harmed-hosts tbody tr");
  await until("every harmed host to be there", async () => (await rows.count()) === harmed || undefined);
  for (const row of await rows.all()) {
    assert.match(await row.locator("th").innerText(), /^ep-[0-9a-f]{20}$/);
    const runs = await until("what it runs now", async () => (await row.locator("td").last().innerText()).replace("…", "").trim() || undefined);
    assert.ok(runs === "no sensor-content" || good.includes(runs), `it runs ${runs}, of ${good.join()}`);
  }
  await exported(p, tripped.incident!, harmed);
  await p.button("Close it").click();
  await p.page.getByLabel("Note").fill("a field too many; the validator has a case for it now");
  await p.page.locator("dialog").getByRole("button", { name: "Close it", exact: true }).click();
  await p.page.locator("h1", { hasText: "closed" }).waitFor();
  await p.says(/the validator has a case for it now/);
  assert.match((await call("GET", `/api/v1/incidents/${tripped.incident}`)).note, /a field too many/);
  await p.page.getByRole("link", { name: "Overview", exact: true }).click();
  await until("the overview to need nobody for it", async () => (await needs.getByText("2026.7.3").count()) === 0 || undefined);
}));

/** exported takes the incident along in all its forms. */
async function exported(p: Person, id: string, harmed: number): Promise<void> {
  const markdown = await download(p, "Markdown");
  assert.match(markdown.name, /^incident-.*\.md$/);
  const text = markdown.data.toString();
  assert.match(text, /^# .*sensor-content 2026\.7\.3/m);
  assert.match(text, /read of 20 fields/);
  const json = await download(p, "JSON");
  const facts = JSON.parse(json.data.toString());
  assert.equal(facts.incident.id, id);
  assert.equal(facts.blast_radius.harmed, harmed);
  assert.ok(facts.questions.length > 0, "questions are left open");
  const files = unzip((await download(p, "zip with pictures")).data);
  const names = [...files.keys()];
  assert.ok(names.some((n) => n.endsWith(".md")) && names.some((n) => n.endsWith(".json")), names.join());
  const pictures = names.filter((n) => n.endsWith(".svg"));
  assert.ok(pictures.length >= 2, names.join());
  for (const name of pictures) assert.match(files.get(name)!.toString(), /^(<\?xml[^>]*>\s*)?<svg[\s\S]*<\/svg>\s*$/);
}
