// A small fake control plane for working on the console: one rollout that goes on, one that waits for a person, one that tripped. It keeps
// nothing, checks little, and is not shipped.
//
//   node dev/server.mjs [port] [directory of a build]
//
// PUT /dev/slow?ms=4000 makes the API slow, PUT /dev/down?s=10 refuses everything for a while, PUT /dev/out ends all sessions, PUT /dev/harm harms hosts.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { world } from "./world.mjs";

const port = Number(process.argv[2] ?? 7070);
const dist = process.argv[3] ?? join(dirname(fileURLToPath(import.meta.url)), "../../internal/control/web/dist");
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'none'; base-uri 'none'; " +
  "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const w = world();
const sessions = new Set();
let slow = 0;
let down = 0;

/** diff makes the merge patch that turns a into b, undefined if they are equal. */
function diff(a, b) {
  if (JSON.stringify(a) === JSON.stringify(b)) return undefined;
  const object = (v) => typeof v === "object" && v !== null && !Array.isArray(v);
  if (!object(a) || !object(b)) return b;
  const patch = {};
  for (const k of new Set([...Object.keys(a), ...Object.keys(b)])) {
    if (!(k in b)) patch[k] = null;
    else if (!(k in a)) patch[k] = b[k];
    else {
      const d = diff(a[k], b[k]);
      if (d !== undefined) patch[k] = d;
    }
  }
  return patch;
}

const problem = (status, kind, detail, more = {}) => ({ status, type: "application/problem+json", body: { type: `urn:firebreak:${kind}`, title: kind.replaceAll("_", " "), status, detail, request: "DEVREQUEST", ...more } });

function topic(name) {
  const [kind, id] = [name.split(":")[0], name.slice(name.indexOf(":") + 1)];
  if (kind === "overview") return w.overview();
  if (kind === "rollout") return w.rollout(id);
  if (kind === "timeline") return w.timeline(id);
  return undefined;
}

function stream(req, res, names) {
  res.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const send = (event, data) => res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  const last = new Map();
  const tick = () => {
    if (Date.now() < down) return res.end();
    for (const name of names) {
      const value = structuredClone(topic(name));
      if (value === undefined) {
        if (last.get(name) !== null) send("gone", { topic: name, gone: `there is no ${name.replace(":", " ")}` });
        last.set(name, null);
        continue;
      }
      if (!last.get(name)) send("snapshot", { topic: name, value });
      else {
        const patch = diff(last.get(name), value);
        if (patch) send("patch", { topic: name, patch });
      }
      last.set(name, value);
    }
  };
  const ticks = setInterval(tick, 500);
  const beats = setInterval(() => res.write(": alive\n\n"), 10_000);
  tick();
  req.on("close", () => { clearInterval(ticks); clearInterval(beats); });
}

async function body(req) {
  let text = "";
  for await (const piece of req) text += piece;
  return text === "" ? {} : JSON.parse(text);
}

function page(items, url) {
  const limit = Number(url.searchParams.get("limit") ?? 100);
  const from = Number(url.searchParams.get("after") ?? 0);
  return { items: items.slice(from, from + limit), ...(from + limit < items.length ? { next: String(from + limit) } : {}) };
}

async function answer(req, url) {
  const at = `${req.method} ${url.pathname}`;
  const sent = req.method === "GET" ? {} : await body(req).catch(() => ({}));
  if (at === "POST /api/v1/session") {
    if (!String(sent.token).startsWith("fbo_")) return problem(401, "denied", "sign in: the token is not a valid operator token", { next: "Ask somebody with a valid token for a new one: firebreak token create --kind operator." });
    const id = Math.random().toString(36).slice(2);
    sessions.add(id);
    return { status: 201, body: w.session(), headers: { "Set-Cookie": `firebreak_session=${id}; HttpOnly; SameSite=Strict; Path=/` } };
  }
  const cookie = /firebreak_session=(\w+)/.exec(req.headers.cookie ?? "")?.[1];
  if (process.env.OPEN === undefined && !sessions.has(cookie)) return problem(401, "denied", "session expired: sign in again; nothing was done");
  if (at === "DELETE /api/v1/session") { sessions.delete(cookie); return { status: 204 }; }
  if (at === "GET /api/v1/session") return { status: 200, body: w.session() };
  return w.answer(req.method, url, sent, { page: (items) => page(items, url), problem, match: req.headers["if-match"] })
    ?? problem(404, "not_found", `${at}: there is no such path`);
}

const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

async function file(url, res) {
  const path = /^\/assets\//.test(url.pathname) ? normalize(url.pathname) : "/index.html";
  try {
    const data = await readFile(join(dist, path));
    res.writeHead(200, { "Content-Type": types[extname(path)] ?? "application/octet-stream", "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff" });
    res.end(data);
  } catch {
    res.writeHead(404).end("not there: build the console first");
  }
}

createServer(async (req, res) => {
  const url = new URL(req.url, "http://dev");
  if (url.pathname === "/dev/slow") { slow = Number(url.searchParams.get("ms")); return res.end(); }
  if (url.pathname === "/dev/down") { down = Date.now() + 1000 * Number(url.searchParams.get("s")); return res.end(); }
  if (url.pathname === "/dev/out") { sessions.clear(); return res.end(); }
  if (url.pathname === "/dev/harm") { w.harm(); return res.end(); }
  if (!url.pathname.startsWith("/api/")) return file(url, res);
  if (slow > 0) await new Promise((r) => setTimeout(r, slow));
  const starting = problem(503, "unavailable", "the control plane is starting: it opens its database", { next: "Wait; it is asked again by itself." });
  const said = Date.now() < down ? starting : url.pathname === "/api/v1/stream" && (process.env.OPEN !== undefined || sessions.size > 0) ? undefined : await answer(req, url);
  if (!said) return stream(req, res, url.searchParams.getAll("topic"));
  res.writeHead(said.status, { "Content-Type": said.type ?? "application/json", "Cache-Control": "no-store", ...said.headers });
  res.end(said.body === undefined ? undefined : JSON.stringify(said.body));
}).listen(port, "127.0.0.1", () => console.log(`console on http://127.0.0.1:${port}`));
