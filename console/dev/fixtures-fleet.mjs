// What the fake control plane answers about hosts, incidents and people: a fleet, one host of every trouble, and texts that are not kind.

const iso = (t) => new Date(t).toISOString();
const minute = 60_000;
const words = ["panic-reboot", "panic-early", "watchdog", "watchdog-hardware", "deadline", "guard", "guard-early", "guard-enabled", "good", "space", "launcher"];
const vital = ["panic-reboot", "guard", "guard-enabled", "good"];
const unkind = `<script>alert(1)</script> '; DROP TABLE endpoints; -- \u202Egnissel\u202C ${"long".repeat(40)}`;
const anna = 'operator token "anna@example.org" (to-7k2)';
const bad = "sha256:" + "2".repeat(64); // sensor-content 291.3

const hosts = Array.from({ length: 140 }, (_, i) => {
  const missing = i % 9 === 0 ? ["panic-reboot", "watchdog"] : i % 4 === 0 ? ["watchdog-hardware"] : [];
  return {
    id: `ep-${(0x0b84baf01 + i * 0x9e3779b1).toString(16).padStart(20, "0").slice(-20)}`, tenant: ["default", "acme", "globex"][i % 3],
    attributes: { os: i % 5 === 0 ? "ubuntu" : "debian", version: i % 5 === 0 ? "24.04" : "12", kernel: `6.1.0-${20 + (i % 3)}`, arch: "x86_64", class: ["server", "server", "desktop", "laptop"][i % 4], region: "eu", site: ["fra-1", "fra-2", "ams-1"][i % 3] },
    labels: i % 7 === 0 ? { role: "web front", ring: "canary" } : {}, enrolled: -400 * 60 + i, heard: i % 23 === 5 ? 3 * 60 : i % 40 === 0 ? 26 * 60 : (i % 10) / 10,
    components: {
      "sensor-content": { kind: "content", version: i % 3 === 0 ? "291.4" : "291.2", previous: i % 3 === 0 ? "291.2" : "291.1", artifact: "sha256:" + "a".repeat(64), consumer: "sensor 7.11", phase: i % 31 === 3 ? "proving" : "idle", ...(i < 3 ? { refuses: [bad] } : {}) },
      "nginx-config": { kind: "config", version: "2026.11.1", previous: "2026.10.4", phase: i % 29 === 4 ? "reverting" : "idle", ...(i % 29 === 4 ? { why: "the probe http said 502, 3 times" } : {}) },
      ...(i % 2 === 0 ? { openssl: { kind: "package", version: "3.0.14-1", phase: "ready", why: "it waits for a lease" }, "firebreak-agent": { kind: "agent", version: "1.60.0", previous: "1.59.0", phase: "idle" } } : {}),
    },
    ...(i % 17 === 6 ? {} : { posture: { have: words.filter((w) => !missing.includes(w)), missing } }),
    ...(i === 7 ? { revoked: iso(Date.now() - 50 * minute), why: `the disk was sold, by ${anna}` } : {}),
  };
});

const drawn = (h) => ({ ...h, enrolled: iso(Date.now() + h.enrolled * minute), last_seen: iso(Date.now() - h.heard * minute), heard: undefined });

function matches(h, q) {
  const at = (key) => (key === "tenant" ? h.tenant : key === "consumer" ? "sensor 7.11" : key.startsWith("label.") ? h.labels[key.slice(6)] : h.attributes[key]);
  const pairs = new Map();
  for (const p of q.getAll("select")) pairs.set(p.slice(0, p.indexOf("=")), [...(pairs.get(p.slice(0, p.indexOf("="))) ?? []), p]);
  const c = h.components[q.get("component")];
  return h.id.startsWith(q.get("prefix") ?? "") && [...pairs].every(([k, all]) => all.some((p) => p.slice(p.indexOf("=") + 1) === at(k))) &&
    (!q.get("component") || c !== undefined) && (!q.get("version") || c?.version === q.get("version")) &&
    (!q.get("silent_since") || Date.now() - h.heard * minute < Date.parse(q.get("silent_since"))) &&
    (q.getAll("lacks").length === 0 || !h.posture || q.getAll("lacks").some((w) => h.posture.missing.includes(w))) &&
    (q.get("at_risk") !== "true" || !h.posture || h.posture.missing.some((w) => vital.includes(w))) &&
    (q.get("refusing") !== "true" || Object.values(h.components).some((x) => x.refuses));
}

function one(h, w) {
  const t = w.tripped;
  const crash = { signal: "SEGV", status: -1, signature: "63864c2397d5aa01", headline: "panic: runtime error: index out of range [20] with length 20" };
  const detail = `restarts: the consumer ended 2 times since the activation; 0 is the most; it ended with signal SEGV: ${crash.headline} (signature 63864c2397d5)`;
  const harmed = h === hosts[0] || h === hosts[1];
  return {
    ...drawn(h),
    leases: [
      { endpoint: h.id, rollout: w.going.id, ring: 1, issued: iso(w.began - 30 * minute), deadline: iso(w.began - 20 * minute), outcome: "confirmed", known: iso(w.began - 28 * minute) },
      ...(harmed ? [{ endpoint: h.id, rollout: t.id, ring: 0, issued: t.started, deadline: t.ended, outcome: "crashed", known: t.ended, detail, recovered: iso(Date.parse(t.ended) + 40_000) }] : []),
      { endpoint: h.id, rollout: "ro-old0001", ring: 2, issued: iso(w.began - 700 * minute), deadline: iso(w.began - 690 * minute), outcome: "silent", known: iso(w.began - 690 * minute), detail: unkind },
    ],
    reports: [
      { seq: 9, at: iso(w.began - 20 * minute), component: "sensor-content", release: "291.4", rollout: w.going.id, outcome: "booted", detail: "boot 3 since the activation" },
      { seq: 8, at: iso(w.began - 28 * minute), component: "sensor-content", release: "291.4", rollout: w.going.id, outcome: "confirmed" },
      ...(harmed ? [
        { seq: 7, at: iso(Date.parse(t.ended) + 40_000), component: "sensor-content", release: "291.3", rollout: t.id, manifest: bad, outcome: "recovered", detail: "runs 291.2" },
        { seq: 6, at: t.ended, component: "sensor-content", release: "291.3", rollout: t.id, manifest: bad, outcome: "crashed", detail: "restarts: the consumer ended 2 times", crash },
      ] : []),
      { seq: 5, at: iso(w.began - 690 * minute), component: "nginx-config", release: "1.58.0", rollout: "ro-old0001", outcome: "goodbye", detail: unkind },
    ],
    next: [
      { component: "nginx-config", version: "2026.11.2", rollout: w.paused.id, code: "phase", text: "the rollout is paused: looking at odd 502s in site fra-2" },
      ...(harmed ? [{ component: "sensor-content", version: "291.3", rollout: t.id, code: "quarantine", text: "the host keeps this release in quarantine, and does not ask for it" }] : []),
      ...(h.components.openssl ? [{ component: "openssl", version: "3.0.15-1", rollout: "ro-7tt0plm2", text: "it would get a lease now" }] : []),
    ],
    ...(h === hosts[2] ? { twins: { signs: 4, last: iso(Date.now() - 3 * minute), sign: "two boot ids took turns within a minute" } } : {}),
  };
}

const closed = new Map();
const past = (w) => Array.from({ length: 3 }, (_, i) => ({
  id: `in-old${i}`, rollout: `ro-old000${i}`, component: ["firebreak-agent", "nginx-config", "openssl"][i], version: `1.${60 - i}.0`, title: i === 1 ? unkind : `firebreak-agent 1.${60 - i}.0 halted: 3 of 5 exposed hosts harmed`,
  opened: iso(w.began - (50 + i * 90) * 60 * minute), closed: iso(w.began - (49 + i * 90) * 60 * minute), closed_by: anna, note: i === 1 ? unkind : "A missing libc; 1.61.0 has it linked.",
}));

function report(i, w) {
  const t = w.tripped;
  const at = (s) => iso(Date.parse(t.started) + s * 1000);
  const detail = "restarts: the consumer ended 2 times since the activation; it ended with signal SEGV: panic: runtime error: index out of range [20] with length 20";
  const lease = (h, more) => ({ endpoint: h.id, tenant: h.tenant, site: h.attributes.site, rollout: t.id, ring: 0, issued: t.started, deadline: t.ended, outcome: "crashed", known: t.ended, detail, ...more });
  const harmed = i.id === "in-5fk20a" ? [lease(hosts[0], { recovered: at(350) }), lease(hosts[1], { recovered: at(360) })] : Array.from({ length: 34 }, (_, k) => lease(hosts[k + 5], k % 3 === 0 ? { recovered: at(400 + k) } : { outcome: "silent", detail: unkind }));
  const summary = { ...t, harmed: harmed.length, exposed: harmed.length + 1, recovered: harmed.filter((l) => l.recovered).length, suspects: [{ key: "consumer", value: "sensor 7.11", harmed: 2, exposed: 2, harmed_elsewhere: 0, exposed_elsewhere: 1 }, { key: "kernel", value: "6.1.0-20", harmed: 1, exposed: 1, harmed_elsewhere: 1, exposed_elsewhere: 2 }] };
  const moment = (s, verdict, text, exposed, n, evidence) => ({ at: at(s), revision: s, verdict, text, exposed, harmed: n, evidence });
  return {
    incident: {
      ...i, ...closed.get(i.id), harmed, summary,
      crashes: [{ signature: "63864c2397d5aa01", signal: "SEGV", headline: "panic: runtime error: index out of range [20] with length 20", hosts: 2, first: at(200) }, ...(i.id === "in-5fk20a" ? [] : [{ status: 1, headline: unkind, hosts: 1, first: at(210) }])],
    },
    made: iso(Date.now()), summary: "Release 291.3 of sensor-content went out by plan careful. Of 14,455 hosts that it was for, 3 got it before it was stopped and 2 were harmed. All of the harmed hosts have recovered.",
    facts: [{ name: "Release", value: "sensor-content 291.3" }, { name: "Manifest", value: bad }, { name: "Plan", value: "careful, bounded to 3 hosts harmed on average" }, { name: "First harm", value: "3 min 20 s after the first exposure" }, { name: "Harmed", value: "2 hosts: 2 crashed" }],
    blast_radius: {
      eligible: t.eligible, exposed: summary.exposed, harmed: harmed.length, recovered: summary.recovered, spared: t.eligible - summary.exposed, rings: [{ name: "canary", exposed: summary.exposed, harmed: harmed.length }],
      strata: [{ name: "debian-12/7.11/6.1.0-20/server", exposed: 2, harmed: 2 }], tenants: [{ name: "default", harmed: 1 }, { name: "acme", harmed: 1 }], sites: [{ name: "fra-1", harmed: 1 }, { name: "fra-2", harmed: 1 }],
    },
    timeline: [
      moment(1, "started", `${anna} started sensor-content 291.3 on plan careful: ring canary of 5 hosts is open`, 0, 0, 1),
      moment(200, "outcome counted", `${hosts[0].id} crashed: ${detail}`, 3, 1, 27.5),
      moment(201, "growth frozen", "evidence 27.5 reached amber 20: the window is halved to 1 and does not grow", 3, 1, 27.5),
      moment(240, "breaker tripped", "evidence 3.2e17 reached 10000: 2 of 3 exposed hosts were harmed", 3, 2, 3.2e17),
    ],
    omitted: i.id === "in-5fk20a" ? 0 : 1240,
    series: { rollout: t.id, amber: 20, trip: 10_000, points: [[0, 0, 0, 1], [60, 1, 0, 1], [120, 3, 0, 0.9], [200, 3, 1, 27.5], [240, 3, 2, 3.2e17]].map(([s, exposed, n, evidence], revision) => ({ revision, at: at(s), ring: 0, exposed, unconfirmed: exposed - n, harmed: n, evidence, alarm: evidence > 1e4 ? "trip" : evidence > 20 ? "amber" : "quiet" })) },
    questions: ["What was wrong with the release, and which change brought it in?", "Why did validation let it pass, and which check would have caught it?", "What changes so that it does not happen again: who does it, by when?"],
  };
}

function audit(w) {
  const all = [
    ["actOnRollout", `rollout ${w.paused.id}`, 200, "pause: looking at odd 502s in site fra-2", anna], ["actOnRollout", `rollout ${w.going.id}`, 412, "resume", anna], ["signIn", "session", 401, "from 10.1.2.3; 4 more attempts have failed since 04:09", "nobody"],
    ["startRollout", `rollout ${w.going.id} of sensor-content 291.4`, 201, "", anna], ["putBlob", "blob sha256:" + "9f".repeat(32), 204, "", 'operator token "ci" (to-9z9)'], ["revokeToken", "token to-1", 403, "", 'peer token "cell ams" (to-2)'],
    ["revokeEndpoint", `endpoint ${hosts[7].id}`, 200, "the disk was sold", anna], ["putPlan", "plan careful", 503, "", anna], ["halt", "all rollouts", 200, "it pages: 2 rollouts halted", anna], ["putFreezes", "freezes", 200, "", anna],
    ["actOnRollout", unkind, 404, `halt: ${unkind}`, unkind], ["closeIncident", "incident in-old0", 200, "A missing libc", anna],
  ];
  return Array.from({ length: 130 }, (_, i) => ({ number: 900 - i, at: iso(w.began - i * 7 * minute), actor: all[i % 12][4], act: all[i % 12][0], target: all[i % 12][1], status: all[i % 12][2], detail: all[i % 12][3], request: "SYR5SSKJA5JLEB5JQBUXLV4A7M" }));
}

/** fleet answers what pages about hosts, incidents and the audit ask. */
export function fleet(method, parts, url, sent, tools, w) {
  const ok = (value) => ({ status: 200, body: value });
  const q = url.searchParams;
  switch (`${method} ${parts[0]}`) {
    case "GET endpoints": {
      if (parts.length === 1) {
        const found = hosts.filter((h) => matches(h, q)).map(drawn);
        const filtered = [...q.keys()].some((k) => k !== "limit" && k !== "after");
        const wide = q.getAll("select").includes("region=eu"); // stands for a search that takes too long
        return ok({ ...tools.page(found), ...(filtered && !q.get("after") ? { count: wide ? 12_413 : found.length, ...(wide ? { estimated: true } : {}) } : {}) });
      }
      const h = hosts.find((x) => x.id === parts[1]);
      return h ? ok(one(h, w)) : tools.problem(404, "not_found", `find endpoint ${parts[1]}: there is none`);
    }
    case "POST endpoints": {
      const h = hosts.find((x) => x.id === parts[1]);
      if (!sent.reason || sent.reason.length > 1000) return tools.problem(400, "invalid", "revoke endpoint: the document has 1 mistake", { problems: [{ path: "reason", message: `must have 1 to 1000 bytes, has ${(sent.reason ?? "").length}` }] });
      Object.assign(h, { revoked: iso(Date.now()), why: `${sent.reason}, by ${anna}` });
      return ok(drawn(h));
    }
    case "DELETE endpoints":
      hosts.splice(hosts.findIndex((x) => x.id === parts[1]), 1);
      return { status: 204 };
    case "GET incidents": {
      const all = [{ ...w.incident(), ...closed.get(w.incident().id) }, ...past(w)];
      if (parts.length === 1) return ok(tools.page(all));
      const i = all.find((x) => x.id === parts[1]);
      if (!i) return tools.problem(404, "not_found", `find incident ${parts[1]}: there is none`);
      return ok(parts[2] === "report" ? report(i, w) : report(i, w).incident);
    }
    case "POST incidents":
      closed.set(parts[1], { closed: iso(Date.now()), closed_by: anna, note: sent.note });
      return ok({ ...w.incident(), ...closed.get(parts[1]) });
    case "GET audit": {
      const has = (e, k) => !q.get(k) || e[k].includes(q.get(k));
      return ok(tools.page(audit(w).filter((e) => has(e, "actor") && has(e, "target") && (!q.get("act") || e.act === q.get("act")))));
    }
    case "GET fleet": {
      if (parts[1] !== "profile") return undefined;
      const groups = hosts.map((h) => ({ ...h.attributes, arch: undefined, tenant: h.tenant, consumer: "sensor 7.11", hosts: 104, heard: h.heard < 15 ? 104 : 90 }));
      return ok({ taken: iso(Date.now()), component: q.get("component") ?? undefined, hosts: groups.length * 104 + 300, groups: [...groups, { hosts: 300, heard: 280, summed: 44 }] });
    }
  }
  return undefined;
}
