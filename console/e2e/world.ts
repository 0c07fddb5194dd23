// The world that internal/browser hosts: where it is, what it can be told to do, and its API as scripts use it.

/** World is what internal/browser tells. */
export interface World { url: string; token: string; desk: string; shots: string; scratch: string }

/** world is the one that stands now. */
export const world = JSON.parse(process.env["FIREBREAK_E2E"] ?? "{}") as World;

/** Order is something that the world does when it is told to; see desk_test.go. */
export type Order =
  | { do: "publish"; component: string; version: string; harms?: string }
  | { do: "silence"; hosts: number }
  | { do: "start" | "stop" | "slow" | "fast" };

/** tell waits until the order is carried out. */
export async function tell(order: Order): Promise<void> {
  const answer = await fetch(world.desk, { method: "POST", body: JSON.stringify(order) });
  if (!answer.ok) throw new Error(`${JSON.stringify(order)}: ${await answer.text()}`);
}

/** call talks to the operators' API with the token, as a script does. */
export async function call<T = any>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(world.url + path, {
    method, headers: { Authorization: `Bearer ${world.token}`, "Content-Type": "application/json" }, ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** Rollout is what the walks need to know of one. */
export interface Rollout { id: string; component: string; version: string; phase: string; exposed: number; harmed: number; unconfirmed: number; incident?: string; ended?: string }

export const rollout = (id: string): Promise<Rollout> => call("GET", `/api/v1/rollouts/${id}`);
export const start = (component: string, version: string, reason = ""): Promise<Rollout> => call("POST", "/api/v1/rollouts", { component, version, ...(reason ? { reason } : {}) });
export const act = (id: string, what: string, reason = ""): Promise<Rollout> => call("POST", `/api/v1/rollouts/${id}/${what}`, reason ? { reason } : {});

/** begin publishes a release and starts its rollout. */
export async function begin(component: string, version: string, harms = ""): Promise<Rollout> {
  await tell({ do: "publish", component, version, harms });
  return start(component, version);
}

/** until waits for a condition: it gives the first value of check that is neither false nor undefined. */
export async function until<T>(what: string, check: () => Promise<T | false | undefined> | T | false | undefined, within = 40_000): Promise<T> {
  const end = Date.now() + within;
  let last: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value !== false && value !== undefined) return value;
      last = value;
    } catch (e) {
      last = e;
    }
    if (Date.now() > end) throw new Error(`${what}: it did not happen within ${within} ms (${last instanceof Error ? last.message : String(last)})`);
    await new Promise((r) => setTimeout(r, 40));
  }
}
