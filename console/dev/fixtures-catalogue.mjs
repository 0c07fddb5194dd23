// What the fake control plane answers about releases, plans and freezes. It keeps what is put.

const iso = (t) => new Date(t).toISOString();
const hour = 3_600_000;

const ring = (name, rest, evidence) => ({ name, ...rest, ...(evidence ? { evidence: { confirmed: 0.95, resolved: 0.99, ...evidence } } : {}) });
const rest = {
  window: { start: 2, growth: 2, max: 2147483647 }, lease: { expires: "1m0s", deadline: "5m0s" }, breaker: { ceiling: 0.001, silence: 0.01, alpha: 0.0001, amber: 20 },
  caps: { tenant: 0.02, site: 0.02 }, budget: { hosts: 50 }, watch: "72h0m0s", strata: ["class", "os", "version", "kernel", "consumer"], approvals: 1,
};
const careful = {
  name: "careful",
  rings: [
    ring("canary", { hosts: 30, select: { "label.canary": ["yes"] }, prefer: { class: ["server"] } }, { bake: "10m0s", strata: 0.05, excess_below: 0.25, boots: 2, gates: [{ name: "errors", query: "sum(rate(http_errors_total[5m]))", below: 20 }, { name: "status", url: "https://status.example.net/healthz" }] }),
    ring("early", { hosts: 992, prefer: { class: ["server"] } }, { bake: "5m0s", strata: 0.001, excess_below: 0.015 }),
    ring("some", { share: 0.2 }, { bake: "45m0s", excess_below: 0.002 }), ring("rest", { share: 0.99 }, { bake: "5m0s" }), ring("holdback", { share: 1, holdback: true }, {}),
  ],
  ...rest, posture: ["guard", "good"],
  calendar: { windows: [{ days: ["mon-fri"], from: "22:00", to: "05:00", zone: "Europe/Vienna" }, { days: ["sat", "sun"], from: "00:00", to: "00:00", zone: "Europe/Vienna" }], freezes: [{ name: "Christmas", from: "2026-12-20", to: "2027-01-06", zone: "Europe/Vienna" }] },
};
const emergency = {
  ...rest, name: "emergency", emergency: true, approvals: 2, window: { start: 2, growth: 10, max: 2147483647 }, budget: { hosts: 120 },
  rings: [ring("canary", { hosts: 22 }, { bake: "2m0s", excess_below: 0.35 }), ring("early", { hosts: 2200 }, { bake: "1m0s" }), ring("rest", { share: 0.99 }, { bake: "1m0s" }), ring("holdback", { share: 1, holdback: true }, {})],
};
const long = { ...rest, name: "a-plan-of-many-rings-with-a-name-that-is-as-long-as-a-name-may-be", rings: Array.from({ length: 32 }, (_, k) => ring(`ring-${k + 1}`, k < 20 ? { hosts: 2 + k * k * 3 } : { share: Math.min(1, 0.05 * (k - 11)) }, { bake: `${k + 1}m0s` })) };
const plans = new Map([careful, emergency, long].map((p, i) => [p.name, { name: p.name, updated: iso(Date.now() - (i + 1) * 90 * hour), rings: p.rings.length, bound: [50, 120, 7][i], plan: p }]));
const steps = [
    "every host at once, reported: the breaker needs 2.0 hosts, nothing confirms, so rounds stay at 2: 2 harmed",
    "every host at once, silent: the breaker needs 3.2 hosts, nothing confirms, so rounds stay at 2: 4 harmed",
    "every second host at once, reported: the breaker needs 5.7 hosts; 2 x 5.7 + 2 leased by then, x 0.5 = 7 harmed",
    "every second host at once, silent: the breaker needs 9.4 hosts; 2 x 9.4 + 2 leased by then, x 0.5 = 11 harmed",
    "one host in 10 at once, reported: the breaker needs 42.8 hosts; 2 x 42.8 + 2 leased by then, x 0.1 = 9 harmed",
    "one host in 10 at once, silent: the breaker needs 116 hosts; 2 x 116 + 2 leased by then, x 0.1 = 24 harmed",
    "a fault that shows within the bake (10m): all 30 hosts of ring canary, and up to 20 seats for strata that it has yet to see: 50 harmed",
    "one host in 100 at once, reported: the breaker needs 1008 hosts; 2 x 1008 + 2 leased by then, x 0.01 = 21 harmed",
    "one host in 100 at once, silent: the breaker needs 3797 hosts; 2 x 3797 + 2 leased by then, x 0.01 = 76 harmed",
    "one host in 1,000 at once, reported: the breaker needs 40071 hosts; 2 x 40071 + 2 leased by then, x 0.001 = 81 harmed",
    "one host in 1,000 at once, silent: the breaker needs more than 8388608 hosts: what the rings let through, x 0.001",
    "every host of one stratum in 1,000, reported: it is suspicious after 1 host, 2 x 1 leased by then; from there on two at a time until 5 are known: 8 harmed",
    "every host of one stratum in 1,000, silent: it is suspicious after 1 host, 2 x 1 leased by then; from there on two at a time until 8 are known: 11 harmed",
    "a fault that shows only after a boot: no ring counted in hosts asks for boots, so hosts that boot before the breaker trips are not bounded"
  ];

let freezes = [
  { name: "Black Friday", from: "2026-11-20", to: "2026-11-30", zone: "Europe/Vienna" }, { name: "Christmas", from: "2026-12-20", to: "2027-01-06", zone: "Europe/Vienna" },
  { name: "quarter end", from: "2026-09-30T12:00", to: "2026-10-01T08:00", zone: "America/New_York" }, { name: "<img src=x onerror=alert(1)> \u202Eon Mars", from: "2027-02-01", to: "2027-02-02", zone: "Mars/Base" },
];

const releases = (w) => ["291.4", "291.3", "291.2", "291.1"].map((version, i) => ({
  component: "sensor-content", version, serial: 40 - i, manifest: "sha256:" + String(i + 1).repeat(64), created: iso(w.began - i * 20 * hour), state: i === 1 ? "recalled" : "published", validated: i !== 3,
}));

function release(w, r) {
  const artifacts = [["any", "rules.tar", 1_482_113], ["linux/arm64", "rules-arm.tar", 1_201_334]].map(([platform, name, size], i) => ({ platform, format: "tar", name, size, digest: "sha256:" + String(i + 5).repeat(64) }));
  return {
    ...r, hosts: r.version === "291.3" ? 0 : 14_361, heard: r.version === "291.3" ? 0 : 14_102, rollouts: [...w.rollouts.values()].filter((x) => x.component === r.component && x.version === r.version).map((x) => x.id),
    signatures: [{ role: "sensor-content", key: "a1b2".repeat(16) }, { role: "targets", key: "77fe".repeat(16) }],
    verdicts: r.validated ? artifacts.map((a, i) => ({ validator: "sensor validate", artifact: a.digest, passed: true, at: iso(w.began - 30 * hour), detail: i === 0 ? "1,204 rules, 21 fields each, all supplied" : "" })) : [],
    ...(r.state === "recalled" ? { recalled: { at: w.tripped.ended, reason: w.tripped.reason, rollout: w.tripped.id } } : {}),
    document: { format: 1, component: r.component, version: r.version, serial: r.serial, floor: 12, kind: "content", created: r.created, artifacts, contract: { schema: "sha256:9f2c41d07ab3e65", fields: "21", interpreter: ">=4.2 <6" }, plan: careful },
  };
}

const bound = (plan) => ({ plan, bound: plans.get(plan.name)?.bound ?? 50, steps });

/** catalogue answers about releases, plans and freezes; undefined: it does not know. */
export function catalogue(method, parts, url, sent, tools, w) {
  const ok = (value) => ({ status: 200, body: value });
  const at = `${method} ${parts.slice(0, 2).join("/")}`;
  if (at === "GET releases") return ok(tools.page(releases(w).filter((r) => !url.searchParams.get("component") || r.component === url.searchParams.get("component"))));
  if (method === "GET" && parts[0] === "releases") {
    const r = releases(w).find((x) => x.component === parts[1] && x.version === parts[2]);
    return r ? ok(release(w, r)) : tools.problem(404, "not_found", `read release ${parts[1]} ${parts[2]}: there is none`);
  }
  if (at === "GET plans") return ok(tools.page([...plans.values()]));
  if (at === "POST plans/check") {
    if (Array.isArray(sent.rings) && sent.rings.length > 1) return ok(bound(sent));
    return ok({ plan: null, problems: [{ path: "rings", line: 2, message: "must be 2 to 32, each larger than the one before" }, { path: "name", message: "is missing" }] });
  }
  if (parts[0] === "plans" && parts.length === 2) {
    const have = plans.get(parts[1]);
    if (method === "GET") return have ? ok(have) : tools.problem(404, "not_found", `read plan ${parts[1]}: there is none`);
    plans.set(parts[1], { name: parts[1], updated: iso(Date.now()), rings: sent.rings.length, bound: 50, plan: sent });
    return ok(plans.get(parts[1]));
  }
  if (parts[0] === "plans" && parts[2] === "forecast") {
    return ok({
      plan: parts[1], hosts: 14_573, fleet: 14_573, bound: 50, taken: iso(Date.now()),
      cases: [
        { name: "crashes every host", effect: 1, runs: 200, stopped: 200, frozen: 0, mean: 2.1, p99: 3, minutes: 4.2 },
        { name: "crashes one host in ten", effect: 0.1, runs: 200, stopped: 200, frozen: 0, mean: 4.6, p99: 11, minutes: 31 },
        { name: "silences every host", effect: 1, silent: true, runs: 200, stopped: 190, frozen: 10, mean: 3.2, p99: 5, minutes: 26 },
        { name: "harms one host in a thousand", effect: 0.001, runs: 200, stopped: 61, frozen: 30, mean: 9.8, p99: 17, minutes: 212 },
      ],
    });
  }
  if (method === "GET" && parts[0] === "rollouts" && parts[2] === "events") {
    return ok({ items: [{ revision: 1, at: iso(w.began), event: "started", data: { plan: parts[1] === "ro-7tt0plm2" ? emergency : careful } }] });
  }
  if (at === "GET freezes") return ok({ freezes, tag: String(JSON.stringify(freezes).length) });
  if (at === "PUT freezes") {
    if (sent.tag !== String(JSON.stringify(freezes).length)) return tools.problem(409, "conflict", "set the freezes: they were changed since they were read", { next: "read them again: firebreak freeze list" });
    const bad = sent.freezes.findIndex((f) => !f.name);
    if (bad >= 0) return tools.problem(400, "invalid", "read request body", { problems: [{ path: `freezes[${bad}].name`, message: "must be 1 to 100 bytes; people read it when they ask why nothing moves" }] });
    freezes = sent.freezes;
    return ok({ freezes, tag: String(JSON.stringify(freezes).length) });
  }
  return undefined;
}
