// The fake control plane's world: what there is in it, and how it goes on.

import { more } from "./fixtures.mjs";

const minute = 60_000;
const iso = (t) => new Date(t).toISOString();
const trip = 10_000;
const amber = 20;

const plan = [["canary", 5], ["early", 50], ["broad", 2000], ["fleet", 12_400]];

function rings(open, phase, fill) {
  return plan.map(([name, size], k) => {
    const leased = k < open ? size : k === open ? Math.round(size * fill) : 0;
    const confirmed = k < open ? size : k === open ? Math.round(leased * 0.93) : 0;
    return {
      name, size, state: k < open || phase === "complete" ? "done" : k > open ? "closed" : phase === "running" ? "open" : phase,
      leased, confirmed, crashed: 0, reverted: 0, silent: 0, goodbye: k === 2 && leased > 0 ? 3 : 0, late: 0, rejected: k === 1 && leased > 0 ? 1 : 0,
      boots: Math.round(confirmed * 0.6), host_hours: confirmed * 1.5,
    };
  });
}

function rollout(id, component, version, phase, open, fill, started, extra = {}) {
  const r = {
    id, component, version, manifest: "sha256:" + "9f2c41d07ab3e65".repeat(4) + "1f0a", plan: "careful", phase, revision: 40, started: iso(started), rings: rings(open, phase, fill), ring: open,
    window: 64, unconfirmed: 0, eligible: 14_455, exposed: 0, confirmed: 0, harmed: 0, recovered: 0, returned: 0, evidence: 0.42, doubt: 0.42, amber, trip, alarm: "quiet",
    waiting: { code: "hosts", text: "for prepared hosts to ask" }, approvals: 1, approved: ['operator token "anna@example.org" (to-7k2)'], ...extra,
  };
  return total(r);
}

function total(r) {
  const sum = (f) => r.rings.reduce((n, x) => n + f(x), 0);
  r.exposed = sum((x) => x.leased);
  r.confirmed = sum((x) => x.confirmed);
  r.harmed = sum((x) => x.crashed + x.reverted + x.silent + x.late);
  r.unconfirmed = sum((x) => x.leased - x.confirmed - x.crashed - x.reverted - x.silent - x.late - x.goodbye);
  return r;
}

const record = (r, verdict, reason) => ({ verdict, reason, ring: r.ring, exposed: r.exposed, unconfirmed: r.unconfirmed, harmed: r.harmed, evidence: r.evidence, alarm: r.alarm });

/** world makes everything that the fake control plane knows. */
export function world() {
  const began = Date.now();
  const rollouts = new Map();
  const decisions = new Map();
  const series = new Map();
  const add = (r) => { rollouts.set(r.id, r); decisions.set(r.id, {}); series.set(r.id, []); return r; };
  const decide = (r, at, event, verdict, reason) => {
    r.revision += 1;
    decisions.get(r.id)[String(r.revision)] = { revision: r.revision, at: iso(at), event, data: {}, records: [record(r, verdict, reason)] };
  };

  const going = add(rollout("ro-4q2kxw7m", "sensor-content", "291.4", "running", 2, 0.31, began - 52 * minute, {
    arms: [
      { name: "silence", exposed: 640, exposed_harmed: 4, controls: 5120, controls_harmed: 37, evidence: 0.31 },
      { name: "goodbyes", exposed: 640, exposed_harmed: 3, controls: 5120, controls_harmed: 22, evidence: 0.28 },
    ],
    missing: [{ name: "confirmed", have: "577", need: "1,990" }, { name: "soak", have: "12 min", need: "30 min" }, { name: "boots", have: "346", need: "400" }],
    unfit: { hosts: 118, lacks: { "panic-reboot": 96, guard: 41 } },
    cell: "eu-west", wave: 1, cells: [{ name: "us-east", wave: 2, phase: "proposed", alarm: "quiet" }, { name: "ap-south", wave: 2, lost: "no answer for 4 min", since: iso(began - 4 * minute) }],
  }));
  const paused = add(rollout("ro-9d1hc3pa", "nginx-config", "2026.11.2", "paused", 1, 0.8, began - 3.4 * 60 * minute, {
    reason: "looking at odd 502s in site fra-2", alarm: "amber", evidence: 41.7, doubt: 41.7, waiting: { code: "phase", text: "the rollout is paused: looking at odd 502s in site fra-2" },
    holds: [{ select: { site: ["fra-2"] }, text: "site=fra-2", reason: "odd 502s", at: iso(began - 40 * minute), by: 'operator token "bert@example.org" (to-1x9)' }],
    strata: [{ name: "debian-12/1.24/6.1.0-28/server", leased: 31, confirmed: 27, harmed: 3, suspect: true, evidence: 33.1 }, { name: "debian-12/1.22/5.10.0/server", leased: 6, confirmed: 4, harmed: 0, held: true, evidence: 0.4 }],
    suspects: [{ key: "site", value: "fra-2", harmed: 3, exposed: 7, harmed_elsewhere: 0, exposed_elsewhere: 38 }],
  }));
  paused.rings[1].reverted = 3; paused.rings[1].confirmed -= 3; total(paused);
  const asked = add(rollout("ro-7tt0plm2", "openssl", "3.0.15-1", "proposed", 0, 0, began - 22 * minute, {
    approvals: 2, emergency: true, waiting: { code: "phase", text: "the rollout waits for 1 more to agree: 'firebreak rollout approve ro-7tt0plm2'" },
  }));
  const tripped = add(rollout("ro-2b8vvq01", "sensor-content", "291.3", "tripped", 0, 0.6, began - 5.2 * 60 * minute, {
    ended: iso(began - 5.1 * 60 * minute), first_harm: iso(began - 5.15 * 60 * minute), evidence: 3.2e17, doubt: 3.2e17, alarm: "trip", incident: "in-5fk20a", recovered: 2, returned: 1,
    reason: "evidence 3.2e17 is above 10000: 2 of 3 exposed hosts crashed", waiting: { code: "phase", text: "the rollout is tripped for good: evidence 3.2e17 is above 10000: 2 of 3 exposed hosts crashed" },
  }));
  Object.assign(tripped.rings[0], { leased: 3, confirmed: 1, crashed: 2, boots: 4 }); total(tripped);
  for (let i = 0; i < 60; i++) {
    const done = ["complete", "complete", "complete", "halted", "rolled_back"][i % 5];
    const old = add(rollout(`ro-old${String(i).padStart(4, "0")}`, ["firebreak-agent", "nginx-config", "openssl"][i % 3], `1.${60 - i}.0`, done, done === "complete" ? 3 : 1, 1, began - (i + 1) * 5 * 60 * minute, {
      ended: iso(began - (i + 1) * 5 * 60 * minute + 2.2 * 60 * minute), waiting: { code: "phase", text: done === "complete" ? "the rollout is complete; only latecomers get leases" : `the rollout is ${done.replace("_", " ")} for good` },
    }));
    if (done === "complete") old.rings.forEach((x) => { x.confirmed = x.leased - x.goodbye; x.state = "done"; });
    total(old);
  }

  for (const r of [going, paused, tripped, asked]) {
    const now = { ring: r.ring, revision: r.revision };
    const start = Date.parse(r.started);
    const end = r.ended ? Date.parse(r.ended) : began;
    r.revision = 0;
    r.ring = 0;
    decide(r, start, "started", r === asked ? "proposed" : "started", `${r.component} ${r.version} by plan careful: asked for by anna@example.org`);
    const n = r === asked ? 0 : 40;
    for (let i = 1; i <= n; i++) {
      const part = i / n;
      series.get(r.id).push({
        revision: i, at: iso(start + (end - start) * part), ring: Math.min(now.ring, Math.floor(part * (now.ring + 1))), exposed: Math.round(r.exposed * part ** 3) || 1,
        unconfirmed: Math.round(r.unconfirmed * part), harmed: part > 0.7 ? Math.round(r.harmed * part) : 0,
        evidence: r.alarm === "quiet" ? 0.2 + 0.6 * Math.abs(Math.sin(i / 3)) : part < 0.5 ? 1 : r.evidence ** ((part - 0.5) * 2), alarm: part > 0.95 ? r.alarm : "quiet",
      });
    }
    for (let k = 1; k <= now.ring; k++) {
      r.ring = k;
      decide(r, start + ((end - start) * k) / (now.ring + 1), "observed", "ring opened", `ring ${plan[k - 1][0]} has shown its evidence: ${plan[k - 1][1]} confirmed, 20 min soak; ring ${plan[k][0]} holds ${plan[k][1]} hosts`);
    }
    r.ring = now.ring;
    if (r === paused) {
      decide(r, end - 41 * minute, "compared", "growth frozen", "evidence 41.7 is above amber 20: 3 of 40 exposed hosts reverted, 0 of 0 elsewhere");
      decide(r, end - 40 * minute, "acted", "held", "site=fra-2 is held by bert@example.org: odd 502s");
      decide(r, end - 38 * minute, "acted", "paused", "by bert@example.org: looking at odd 502s in site fra-2");
    }
    if (r === tripped) decide(r, end, "outcome", "breaker tripped", "evidence 3.2e17 is above 10000: 2 of 3 exposed hosts crashed; the release is recalled and exposed hosts go back");
    r.revision = Math.max(now.revision, r.revision);
  }

  const fleet = () => {
    const silent = 212 + Math.round(6 * Math.sin(Date.now() / 9000));
    return {
      at: iso(Date.now()), endpoints: 14_573, heard: 14_573 - silent, silent, refusing: 2, at_risk: 118,
      versions: [
        { component: "sensor-content", version: "291.2", hosts: 14_573 - going.confirmed, heard: 14_361 - going.confirmed }, { component: "sensor-content", version: "291.4", hosts: going.confirmed, heard: going.confirmed },
        { component: "nginx-config", version: "2026.11.1", hosts: 9120, heard: 9011 }, { component: "nginx-config", version: "2026.11.2", hosts: 41, heard: 41 },
      ],
      lacks: { "panic-reboot": 96, guard: 41, watchdog: 5210 }, classes: { server: 9120, desktop: 3211, laptop: 2242 }, sites: { "fra-1": 4120, "fra-2": 2210, "ams-1": 8243 },
    };
  };

  const incident = () => ({
    id: "in-5fk20a", rollout: tripped.id, component: tripped.component, version: tripped.version, title: "sensor-content 291.3 tripped the breaker: 2 of 3 exposed hosts were harmed", opened: tripped.ended,
  });

  const live = () => [...rollouts.values()].filter((r) => ["running", "paused", "proposed"].includes(r.phase));

  function advance() {
    const now = Date.now();
    if (going.phase !== "running") {
      const ring = going.rings[going.ring];
      if (going.unconfirmed > 0 && Math.random() < 0.5) { ring.confirmed += 1; total(going); going.revision++; }
      return;
    }
    const ring = going.rings[going.ring];
    const add = Math.min(7, ring.size - ring.leased, 64 - going.unconfirmed);
    ring.leased += Math.max(0, add);
    ring.confirmed += Math.min(6, ring.leased - ring.confirmed - ring.goodbye - ring.crashed);
    ring.boots = Math.round(ring.confirmed * 0.6);
    ring.host_hours += ring.confirmed / 3600;
    total(going);
    going.evidence = going.doubt = going.alarm === "quiet" ? 0.3 + 0.25 * Math.abs(Math.sin(now / 7000)) : going.evidence;
    going.revision += 1;
    going.missing[0].have = String(ring.confirmed);
    going.waiting = going.unconfirmed >= 60 ? { code: "window", text: `${going.unconfirmed} of this round's 64 hosts are unconfirmed; the next round begins when they have their outcomes` } : { code: "hosts", text: `for prepared hosts to ask: ring ${ring.name} has room for ${ring.size - ring.leased} more` };
  }
  setInterval(advance, 800).unref();

  const overview = () => {
    const lately = [...rollouts.values()].filter((r) => r.ended && Date.now() - Date.parse(r.ended) < 24 * 60 * minute);
    const phases = {};
    for (const r of rollouts.values()) phases[r.phase] = (phases[r.phase] ?? 0) + 1;
    return {
      at: iso(Date.now()), fleet: fleet(), running: live().length, rollouts: Object.fromEntries([...live(), ...lately].map((r) => [r.id, r])), phases,
      incidents: { "in-5fk20a": incident() },
      attention: {
        "incident:in-5fk20a": { rank: 0, kind: "incident", text: "sensor-content 291.3 tripped the breaker: 2 of 3 exposed hosts were harmed. Read what happened, then close the incident.", about: "incident", id: "in-5fk20a", since: tripped.ended },
        [`amber:${paused.id}`]: { rank: 1, kind: "amber", text: "nginx-config 2026.11.2 is at amber: evidence 41.7. Growth is frozen; look at the 3 harmed hosts.", about: "rollout", id: paused.id, since: iso(began - 41 * minute) },
        ...(asked.phase === "proposed" ? { [`approval:${asked.id}`]: { rank: 2, kind: "approval", text: "openssl 3.0.15-1 waits for one more person to agree to its start.", about: "rollout", id: asked.id, since: asked.started } } : {}),
      },
      freezes: ["Black Friday, until 2026-11-30"], health: [{ name: "store", ok: true, since: iso(began) }, { name: "blobs", ok: true, since: iso(began) }, { name: "keys", ok: true, since: iso(began) }],
    };
  };

  function act(r, what, sent, tools) {
    if ((sent.phase && sent.phase !== r.phase) || (tools.match && Number(tools.match.replace(/\D.*$/, "").replace('"', "")) > r.revision)) {
      return tools.problem(412, "conflict", `${what} rollout ${r.id}: you saw it ${sent.phase}; it is ${r.phase}, at revision ${r.revision}; last of all: ${r.phase} (by bert@example.org)`, { next: `Look at it again: firebreak rollout show ${r.id}` });
    }
    const to = { pause: "paused", resume: "running", halt: "halted", rollback: "rolled_back", approve: "running" }[what];
    if (what === "hold") {
      if (!sent.reason) return tools.problem(400, "invalid", "hold rollout: the document has 1 mistake", { problems: [{ path: "reason", message: "is missing; the owners of held hosts are told it" }] });
      (r.holds ??= []).push({ select: sent.select, text: Object.entries(sent.select).map(([k, v]) => `${k}=${v.join(",")}`).join(" "), reason: sent.reason, at: iso(Date.now()), by: "operator token \"anna@example.org\" (to-7k2)" });
    }
    if (what === "unhold") r.holds = (r.holds ?? []).filter((h) => JSON.stringify(h.select) !== JSON.stringify(sent.select));
    if (to) { r.phase = to; r.reason = sent.reason; r.rings[r.ring].state = to === "running" ? "open" : to; if (to === "halted" || to === "rolled_back") r.ended = iso(Date.now()); r.waiting = { code: "phase", text: `the rollout is ${to.replace("_", " ")}${sent.reason ? ": " + sent.reason : ""}` }; }
    const verdict = { pause: "paused", resume: "resumed", halt: "halted", rollback: "rolled back", approve: "approved", hold: "held", unhold: "hold lifted" }[what];
    decide(r, Date.now(), "acted", verdict, `by anna@example.org${sent.reason ? ": " + sent.reason : ""}`);
    return { status: 200, body: r };
  }

  function halt(sent) {
    const want = sent.rollouts ?? live().map((r) => r.id);
    const all = want.map((id) => {
      const r = rollouts.get(id);
      if (!r) return { id, component: "", version: "", was: "halted", phase: "halted", state: "failed", in_flight: 0, exposed: 0, text: "there is no such rollout" };
      const was = r.phase;
      const ended = !live().includes(r);
      if (!ended) act(r, "halt", { reason: sent.reason }, {});
      return { id, component: r.component, version: r.version, was, phase: r.phase, state: ended ? "ended" : "halted", in_flight: r.unconfirmed, exposed: r.exposed, text: ended ? `it was ${r.phase.replace("_", " ")} before` : `nobody new gets it; ${r.exposed} exposed hosts keep it` };
    });
    return { status: 200, body: { at: iso(Date.now()), rollouts: all, in_flight: all.reduce((n, r) => n + r.in_flight, 0) } };
  }

  function history(component) {
    const samples = [];
    for (let t = began - 24 * 60 * minute; t <= began; t += 10 * minute) {
      const part = (t - (began - 24 * 60 * minute)) / (24 * 60 * minute);
      if (!component) samples.push({ at: iso(t), hosts: 14_573, heard: 14_361 - Math.round(300 * Math.max(0, Math.sin(part * 6.3))) });
      else {
        const moved = Math.round(14_000 * Math.max(0, Math.min(1, (part - 0.3) * 2)));
        samples.push({ at: iso(t), component, version: "291.1", hosts: 14_573 - moved, heard: 14_361 - moved }, { at: iso(t), component, version: "291.2", hosts: moved, heard: moved });
      }
    }
    return { since: iso(began - 24 * 60 * minute), until: iso(began), samples };
  }

  function answer(method, url, sent, tools) {
    const parts = url.pathname.slice("/api/v1/".length).split("/").map(decodeURIComponent);
    const q = url.searchParams;
    const ok = (value) => ({ status: 200, body: value });
    const extra = more(method, parts, url, sent, tools, { rollouts, incident, tripped, going, paused, fleet, history, began });
    if (extra) return extra;
    switch (`${method} ${parts[0]}`) {
      case "GET overview": return ok(overview());
      case "POST halt": return halt(sent);
      case "GET fleet": return parts[1] === "state" ? ok(fleet()) : parts[1] === "history" ? ok(history(q.get("component"))) : undefined;
      case "GET rollouts": {
        if (parts.length === 1) {
          const all = [...rollouts.values()].filter((r) => (!q.get("component") || r.component === q.get("component")) && (!q.get("phase") || r.phase === q.get("phase")) && (q.get("active") !== "true" || live().includes(r)));
          return ok(tools.page(all.sort((a, b) => b.started.localeCompare(a.started))));
        }
        const r = rollouts.get(parts[1]);
        if (!r) return tools.problem(404, "not_found", `read rollout ${parts[1]}: there is none`);
        if (parts[2] === "series") return ok({ rollout: r.id, amber, trip, points: series.get(r.id) });
        if (parts[2] === "timeline" || parts[2] === "events") return ok(tools.page(Object.values(decisions.get(r.id)).reverse()));
        if (parts[2] === "leases") return ok({ items: [] });
        return ok(r);
      }
      case "POST rollouts": {
        if (parts.length === 1) {
          if (!/^[\w.-]+$/.test(sent.component ?? "")) return tools.problem(400, "invalid", "start rollout: the document has 1 mistake", { problems: [{ path: "component", message: "is missing" }] });
          const r = add(rollout(`ro-${Math.random().toString(36).slice(2, 10)}`, sent.component, sent.version, "running", 0, 0, Date.now(), {}));
          decide(r, Date.now(), "started", "started", `asked for by anna@example.org${sent.reason ? ": " + sent.reason : ""}`);
          return { status: 201, body: r };
        }
        const r = rollouts.get(parts[1]);
        return r ? act(r, parts[2], sent, tools) : tools.problem(404, "not_found", `${parts[2]} rollout ${parts[1]}: there is none`);
      }
    }
    return undefined;
  }

  return {
    overview, answer, rollout: (id) => rollouts.get(id), timeline: (id) => decisions.get(id),
    session: () => ({ actor: 'operator token "anna@example.org" (to-7k2)', token_id: "to-7k2", note: "anna@example.org", expires: iso(Date.now() + 12 * 60 * minute) }),
    harm: () => { const ring = going.rings[going.ring]; ring.crashed += 1; going.evidence = going.doubt = 45; going.alarm = "amber"; total(going); },
  };
}
