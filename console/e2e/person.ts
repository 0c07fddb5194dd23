// People before the console: each has a browser of their own, and whatever goes wrong in it is noticed.

import assert from "node:assert/strict";
import { chromium, type Browser, type BrowserContext, type Locator, type Page } from "playwright-core";
import { until, world } from "./world.js";

const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--disable-dev-shm-usage", "--font-render-hinting=none",
];

let running: Promise<Browser> | undefined;

/** browser is Debian's Chromium; it starts once, with a profile of its own. */
export function browser(): Promise<Browser> {
  running ??= chromium.launch({ executablePath: process.env["FIREBREAK_CHROMIUM"] ?? "/usr/bin/chromium", args: flags, headless: true });
  return running;
}

/** leave ends the browser. */
export async function leave(): Promise<void> {
  await (await running)?.close();
  running = undefined;
}

/** Looks are how somebody looks at the console. */
export interface Looks { scheme?: "light" | "dark"; width?: number; height?: number; zone?: string }

/** Person is somebody before the console. */
export class Person {
  readonly trouble: string[] = [];
  readonly asked: { method: string; path: string; status: number }[] = []; // requests of this page to the API that were answered
  private forgiven: RegExp[] = [];

  private constructor(readonly context: BrowserContext, readonly page: Page) {}

  /** arrive opens a browser, and signs in unless it is asked not to. */
  static async arrive(looks: Looks = {}, signedIn = true): Promise<Person> {
    const context = await (await browser()).newContext({
      baseURL: world.url, colorScheme: looks.scheme ?? "light", viewport: { width: looks.width ?? 1280, height: looks.height ?? 800 }, timezoneId: looks.zone ?? "Europe/Vienna",
      locale: "en-GB", reducedMotion: "reduce", acceptDownloads: true,
    });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    const person = new Person(context, page);
    await person.mind();
    if (signedIn) await person.signIn();
    return person;
  }

  /** mind notes what must not happen: policy violations, errors, requests to elsewhere. */
  private async mind(): Promise<void> {
    const { context, page, trouble } = this;
    await context.exposeBinding("__violated", (_, text: string) => { trouble.push(`policy: ${text}`); });
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (e) => {
        void (window as unknown as { __violated: (text: string) => void }).__violated(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber} ${e.sample}`);
      });
    });
    page.on("pageerror", (e) => trouble.push(`error: ${e.stack ?? e.message}`));
    page.on("crash", () => trouble.push("the page crashed"));
    page.on("console", (m) => { if (m.type() === "error" || m.type() === "warning") trouble.push(`console: ${m.text()} ${m.location().url}`); });
    page.on("dialog", (d) => { trouble.push(`dialog: ${d.message()}`); void d.dismiss(); });
    page.on("request", (r) => { if (r.isNavigationRequest()) this.asked.length = 0; });
    context.on("request", (r) => { if (!r.url().startsWith(world.url + "/") && !r.url().startsWith("data:")) trouble.push(`elsewhere: ${r.url()}`); });
    context.on("response", (r) => {
      const url = new URL(r.url());
      if (url.pathname.startsWith("/api/")) this.asked.push({ method: r.request().method(), path: url.pathname + url.search, status: r.status() });
    });
  }

  /** forgive says what is no trouble here: refusals that a walk provokes are told by the browser's console. */
  forgive(...patterns: RegExp[]): void { this.forgiven.push(...patterns); }

  /** signIn is done as a script does it; the walk about signing in types. */
  async signIn(): Promise<void> {
    const answer = await this.context.request.post("/api/v1/session", { data: { token: world.token }, headers: { Origin: world.url, "Sec-Fetch-Site": "same-origin" } });
    assert.equal(answer.status(), 201, await answer.text());
  }

  /** expire ends the session behind the page's back. */
  async expire(): Promise<void> {
    const answer = await this.context.request.delete("/api/v1/session", { headers: { Origin: world.url, "Sec-Fetch-Site": "same-origin" } });
    assert.equal(answer.status(), 204, await answer.text());
  }

  /** open goes to a page and waits until it shows what it is about. */
  async open(path: string): Promise<void> {
    await this.page.goto(path);
    await this.settled();
  }

  /** settled waits until nothing of the page is loading any more. */
  async settled(): Promise<void> {
    await this.page.locator("main h1").first().waitFor();
    await until("the page to be loaded", async () => (await this.page.locator("main .state.loading").count()) === 0 || undefined);
  }

  /** mark lets kept tell whether the page was ever loaded anew. */
  async mark(): Promise<void> { await this.page.evaluate(() => { (window as unknown as { __mark: boolean }).__mark = true; }); }
  async kept(): Promise<boolean> { return this.page.evaluate(() => (window as unknown as { __mark?: boolean }).__mark === true); }

  /** figure reads a number of a page's head. */
  async figure(name: string): Promise<number> {
    const text = await this.page.locator(".figure", { has: this.page.locator("dt", { hasText: name }) }).locator("dd .nums").first().innerText();
    return Number(text.replace(/\D/g, ""));
  }

  button(name: string | RegExp): Locator { return this.page.getByRole("button", { name, exact: typeof name === "string" }); }
  async says(text: string | RegExp, within = 20_000): Promise<void> { await this.page.getByText(text).first().waitFor({ timeout: within }); }

  /** content asserts that nothing went wrong, and ends. */
  async content(): Promise<void> {
    const bad = this.trouble.filter((t) => !this.forgiven.some((f) => f.test(t)));
    await this.context.close();
    assert.deepEqual(bad, [], "what must not happen in a browser");
  }
}

/** refused are answers that a walk provokes: Chromium's console names every one. */
export const refused = (...statuses: number[]): RegExp => new RegExp(`^console: Failed to load resource: the server responded with a status of (${statuses.join("|")})`);

/** as somebody does something, and looks afterwards whether anything went wrong. */
export async function as(looks: Looks, walk: (p: Person) => Promise<void>, signedIn = true): Promise<void> {
  const p = await Person.arrive(looks, signedIn);
  try {
    await walk(p);
  } catch (e) {
    const said = await p.page.locator("body").innerText().catch(() => "");
    console.log(`at ${p.page.url()}, which says:\n${said.slice(0, 3000)}\ntrouble: ${p.trouble.join("\n")}`);
    await p.context.close();
    throw e;
  }
  await p.content();
}

/** Walk is something that somebody does from beginning to end. */
export interface Walk { name: string; go: () => Promise<void> }

/** walk names it. */
export const walk = (name: string, go: () => Promise<void>): Walk => ({ name, go });
