// The console reads the operators' API once a second and draws what it says. It changes nothing on the server.
"use strict";

const key = "firebreak-token";
const pace = 1000; // milliseconds between looks
const shown = 20;  // rollouts and incidents at most
const $ = (id) => document.getElementById(id);

let timer = 0;
let busy = false;
const details = new Map(); // incident id -> incident with its harmed hosts
const hosts = new Map();   // endpoint id -> endpoint

/** ask reads one path of the API. */
async function ask(path) {
  const answer = await fetch("/api/v1/" + path, {
    headers: { Authorization: "Bearer " + sessionStorage.getItem(key) },
    cache: "no-store", redirect: "error", signal: AbortSignal.timeout(10000),
  });
  const body = await answer.json();
  if (!answer.ok) {
    throw Object.assign(new Error(body.detail || answer.statusText), { status: answer.status });
  }
  return body;
}

/** el makes an element. Text is always set as text, so nothing that a host says becomes markup. */
function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children.filter((c) => c !== null).map((c) => (c instanceof Node ? c : String(c))));
  return e;
}

/** bar draws parts [class, count] of a whole; a mark is a share of the width. */
function bar(parts, whole, label, mark = null) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("class", "bar");
  svg.setAttribute("viewBox", "0 0 1000 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const rect = (cls, x, width) => {
    const r = document.createElementNS(ns, "rect");
    r.setAttribute("class", cls);
    r.setAttribute("x", x);
    r.setAttribute("width", width);
    r.setAttribute("height", 10);
    svg.append(r);
  };
  let x = 0;
  for (const [cls, n] of parts) {
    if (n <= 0) continue;
    const width = Math.min(1000 - x, Math.max(8, (n / Math.max(whole, 1)) * 1000));
    rect(cls, x, width);
    x += width;
  }
  if (mark !== null) rect("mark", mark * 1000, 3);
  return svg;
}

const time = (t) => new Date(t).toLocaleTimeString();
const words = (s) => String(s).replaceAll("_", " ");
const tag = (s) => el("span", { class: "tag " + String(s).replace(/[^a-z_]/g, "") }, words(s));
const number = (e) => (e >= 1e6 ? e.toExponential(1) : e >= 100 ? e.toFixed(0) : Number(e.toPrecision(3)).toString());

function span(from, to) {
  const s = Math.max(0, Math.round((to - from) / 1000));
  return s < 60 ? s + " s" : s < 3600 ? Math.floor(s / 60) + " min " + (s % 60) + " s" : Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
}

function ring(r) {
  const harmed = r.crashed + r.reverted + r.silent + r.late;
  const under = Math.max(0, r.leased - r.confirmed - harmed - r.goodbye);
  const counts = [[r.confirmed, "confirmed"], [under, "under way"], [r.crashed, "crashed"], [r.reverted, "reverted"], [r.silent, "silent"],
    [r.late, "late"], [r.goodbye, "goodbye"], [r.rejected, "rejected"]].filter(([n]) => n > 0).map(([n, w]) => n + " " + w).join(", ");
  return el("div", { class: "ring " + (r.state === "closed" ? "closed" : "") },
    el("span", {}, r.name),
    el("span", { class: "track" }, bar([["good", r.confirmed], ["busy", under + r.goodbye], ["harm", harmed]], Math.max(r.size, r.leased), r.name + ": " + (counts || "nobody yet"))),
    el("span", {}, r.leased + " of " + r.size),
    el("span", { class: "soft small counts" }, counts || words(r.state)));
}

function gauge(r) {
  const at = (v) => Math.min(1, Math.max(0, Math.log(Math.max(v, 1)) / Math.log(r.trip)));
  const level = r.alarm === "quiet" ? "good" : r.alarm === "amber" ? "busy" : "harm";
  return el("div", { class: "gauge" }, el("span", {}, "evidence"),
    bar([[level, at(r.evidence) * 1000]], 1000, "evidence " + number(r.evidence) + ", trips at " + number(r.trip), at(r.amber)),
    el("span", { class: "small" }, "E " + number(r.evidence) + ", amber " + number(r.amber) + ", trip " + number(r.trip) + ": " + r.alarm));
}

function rollout(r, now) {
  const end = r.ended ? new Date(r.ended) : now;
  const fact = (name, value, cls = "") => el("span", { class: cls }, name + " " + value);
  return el("article", { class: "card" + (r.phase === "tripped" ? " alert" : "") },
    el("div", { class: "head" }, el("strong", {}, r.component + " " + r.version), tag(r.phase),
      el("span", { class: "soft small" }, "plan " + r.plan + ", " + span(new Date(r.started), end) + ", "), el("code", {}, r.id)),
    el("div", {}, ...r.rings.map(ring)),
    gauge(r),
    el("div", { class: "numbers" }, fact("exposed", r.exposed + " of " + r.eligible), fact("confirmed", r.confirmed),
      fact("harmed", r.harmed, r.harmed ? "bad" : ""), fact("recovered", r.recovered), fact("returned", r.returned),
      fact("unconfirmed", r.unconfirmed + " of " + r.window + " allowed")),
    el("p", { class: "waiting" }, (r.ended ? "ended: " : "waiting: ") + r.waiting.text));
}

function incident(i, d) {
  const rows = (d && d.harmed ? d.harmed : []).map((l) => {
    const host = hosts.get(l.endpoint);
    const c = host && host.components ? host.components[i.component] : null;
    return el("tr", {}, el("td", { class: "mono" }, l.endpoint), el("td", {}, tag(l.outcome)),
      el("td", {}, c ? (c.version || "nothing") + " (" + words(c.phase) + ")" : "…"), el("td", {}, l.recovered ? time(l.recovered) : "not yet"),
      el("td", { class: "long" }, l.detail || ""));
  });
  const crashes = (d && d.crashes ? d.crashes : []).map((c) => el("div", {}, el("strong", {}, c.hosts + (c.hosts === 1 ? " host " : " hosts ")),
    el("code", {}, c.signature || "no signature"), " " + (c.signal ? "signal " + c.signal : "status " + (c.status || 0)) + (c.headline ? ": " + c.headline : "")));
  const head = el("tr", {}, ...["host", "outcome", "runs now", "recovered", "detail"].map((h) => el("th", { scope: "col" }, h)));
  return el("article", { class: "card" + (i.closed ? "" : " alert") },
    el("div", { class: "head" }, el("strong", {}, i.title), el("code", {}, i.id), el("span", { class: "soft small" }, (i.closed ? "closed" : "open since ") + time(i.opened))),
    rows.length ? el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows))) : null,
    ...crashes);
}

/** look reads everything that is shown; of incidents only the open and newest ones in full. */
async function look() {
  const [status, rollouts, incidents] = await Promise.all([ask("status"), ask("rollouts"), ask("incidents")]);
  const listed = incidents.items.toSorted((a, b) => b.opened.localeCompare(a.opened)).slice(0, shown);
  for (const i of listed.slice(0, 5)) {
    const known = details.get(i.id);
    if (known && (known.harmed || []).every((l) => l.recovered)) continue;
    const d = await ask("incidents/" + encodeURIComponent(i.id));
    details.set(i.id, d);
    for (const l of (d.harmed || []).slice(0, 50)) hosts.set(l.endpoint, await ask("endpoints/" + encodeURIComponent(l.endpoint)));
  }
  return { status, rollouts: rollouts.items.slice(0, shown), incidents: listed };
}

function draw({ status, rollouts, incidents }) {
  const now = new Date(status.now);
  $("status").textContent = status.endpoints + " endpoints, control plane " + status.version + ", " + now.toLocaleTimeString();
  $("incidents-section").hidden = incidents.length === 0;
  $("incidents").replaceChildren(...incidents.map((i) => incident(i, details.get(i.id))));
  $("rollouts").replaceChildren(...(rollouts.length ? rollouts.map((r) => rollout(r, now)) : [el("p", { class: "notice" }, "Nothing was rolled out yet.")]));
}

function login(why = "") {
  clearTimeout(timer);
  sessionStorage.removeItem(key);
  details.clear();
  hosts.clear();
  $("content").hidden = $("leave").hidden = true;
  $("login").hidden = false;
  $("status").textContent = "";
  $("refused").textContent = why;
  $("token").focus();
}

async function tick() {
  clearTimeout(timer);
  if (busy) return;
  busy = true;
  try {
    const seen = await look();
    if (sessionStorage.getItem(key) === null) return;
    $("login").hidden = true;
    $("content").hidden = $("leave").hidden = false;
    draw(seen);
  } catch (e) {
    if (e.status === 401 || e.status === 403) return login(e.message);
    $("status").textContent = "The control plane does not answer: " + e.message;
  } finally {
    busy = false;
  }
  if (sessionStorage.getItem(key) !== null) timer = setTimeout(tick, document.hidden ? 5 * pace : pace);
}

function enter() {
  const token = $("token").value.trim();
  if (token === "") return;
  $("token").value = "";
  sessionStorage.setItem(key, token);
  tick();
}

$("enter").addEventListener("click", enter);
$("token").addEventListener("keydown", (e) => { if (e.key === "Enter") enter(); });
$("leave").addEventListener("click", () => login());
document.addEventListener("visibilitychange", () => { if (!document.hidden && sessionStorage.getItem(key) !== null) tick(); });
if (sessionStorage.getItem(key) === null) login(); else tick();
