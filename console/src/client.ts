// The operators' API, typed from its description. Nothing else in the console talks to the server but live.ts and halt.ts.

import { signal } from "@preact/signals";
import type { FieldProblem, paths, Problem, Session } from "./api";
import { setClock } from "./now";

/** Failure is an answer that was not what was asked for, or none at all. */
export class Failure extends Error {
  constructor(
    readonly status: number, // 0: no answer
    readonly title: string,
    readonly detail: string,
    readonly next = "",
    readonly problems: readonly FieldProblem[] = [],
    readonly request = "",
    readonly retryAfter = 0, // seconds
    readonly code = "", // what programs may tell apart: "starting"
  ) {
    super(detail);
    this.name = "Failure";
  }

  /** passing tells whether asking again may help: no answer, too busy, starting, or broken for the moment. */
  get passing(): boolean { return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500; }

  /** conflict tells that something else happened meanwhile. */
  get conflict(): boolean { return this.status === 409 || this.status === 412; }
}

/** asFailure makes a Failure of whatever was thrown. */
export function asFailure(e: unknown): Failure {
  if (e instanceof Failure) return e;
  if (e instanceof DOMException && e.name === "TimeoutError") return new Failure(0, "no answer", "the control plane did not answer in time");
  if (e instanceof TypeError) return new Failure(0, "not reachable", "the control plane cannot be reached");
  return new Failure(0, "failed", e instanceof Error ? e.message : String(e));
}

/** readFailure makes a Failure of an answer. */
export async function readFailure(answer: Response): Promise<Failure> {
  const retry = Number(answer.headers.get("Retry-After") ?? 0) || 0;
  try {
    const p = (await answer.json()) as Partial<Problem>;
    return new Failure(answer.status, p.title ?? answer.statusText, p.detail ?? `the answer was ${answer.status}`, p.next, p.problems, p.request, retry, p.code);
  } catch {
    return new Failure(answer.status, answer.statusText, `the answer was ${answer.status} and no problem document`, "", [], "", retry);
  }
}

// Who is signed in.

/** session is who is signed in; undefined until it is known, null if nobody is. */
export const session = signal<Session | null | undefined>(undefined);

let waiters: ((who: Session | Failure) => void)[] = [];

/** untilSignedIn waits for somebody to sign in. Commands are given up if it is not the person who gave them. */
function untilSignedIn(unsafe: boolean, cancelled?: AbortSignal | null): Promise<void> {
  const before = session.value;
  if (session.value !== null) session.value = null;
  return new Promise((resolve, reject) => {
    waiters.push((now) => {
      if (now instanceof Failure) return reject(now);
      if (unsafe && before && before.actor !== now.actor) {
        return reject(new Failure(401, "signed in as somebody else", `you are ${now.actor} now and ${before.actor} gave this command; nothing was done`));
      }
      resolve();
    });
    cancelled?.addEventListener("abort", () => reject(cancelled.reason), { once: true });
  });
}

/** signIn exchanges a token for a session cookie and lets everything go on that waited for it. */
export async function signIn(token: string): Promise<void> {
  const answer = await fetch("/api/v1/session", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }), signal: AbortSignal.timeout(15_000),
  });
  if (!answer.ok) throw await readFailure(answer);
  const who = (await answer.json()) as Session;
  session.value = who;
  const all = waiters;
  waiters = [];
  for (const w of all) w(who);
}

/** signOut ends the session. What the page shows is dropped with it. */
export async function signOut(): Promise<void> {
  const answer = await fetch("/api/v1/session", { method: "DELETE", signal: AbortSignal.timeout(15_000) });
  if (!answer.ok && answer.status !== 401) throw await readFailure(answer);
  location.assign("/");
}

/** reached is when the control plane answered something well last: whoever waits to try again need not wait longer. */
export const reached = signal(0);

// Asking.

type Method = "get" | "post" | "put" | "delete";
type With<M extends Method> = { [P in keyof paths]: paths[P][M] extends { responses: unknown } ? P : never }[keyof paths];
type Params<O> = O extends { parameters: infer A } ? A : never;
type Good<O> = O extends { responses: infer R } ? R[Extract<keyof R, 200 | 201 | 204>] : never;

/** Answer is what an operation answers. */
export type Answer<O> = Good<O> extends { content: { "application/json": infer J } } ? J : void;
type Body<O> = O extends { requestBody?: infer B } ? (NonNullable<B> extends { content: { "application/json": infer J } } ? J : never) : never;
type Place<O> = Params<O> extends { path: infer A } ? { path: A } : { path?: undefined };
type Query<O> = Params<O> extends { query?: infer Q } ? (NonNullable<Q> extends never ? { query?: undefined } : { query?: Q }) : { query?: undefined };

export type Options<O> = Place<O> & Query<O> & {
  body?: Body<O>;
  text?: string; // in place of body: a document as a person wrote it, YAML or JSON
  headers?: Record<string, string>;
  signal?: AbortSignal;
  timeout?: number; // milliseconds; default 20 s
};

type Given<O> = Params<O> extends { path: object } ? [options: Options<O>] : [options?: Options<O>];

/** fill puts values into a path's places and adds the query. */
export function fill(pattern: string, path: object = {}, query: object = {}): string {
  const place = pattern.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String((path as Record<string, unknown>)[name])));
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") search.append(key, String(one));
    }
  }
  const text = search.toString();
  return text === "" ? place : `${place}?${text}`;
}

/** word makes a word of 128 random bits, for Idempotency-Key. */
function word(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

interface Asked { path?: object; query?: object; body?: unknown; text?: string; headers?: Record<string, string>; signal?: AbortSignal; timeout?: number }

/**
 * ask asks once and reads the answer. Without a session it waits until somebody has signed in and asks again: what was to be done is not
 * lost. Commands carry one idempotency key however often they are sent.
 */
async function ask(method: Method, pattern: string, options: Asked = {}): Promise<unknown> {
  const headers: Record<string, string> = { Accept: "application/json", ...options.headers };
  const unsafe = method !== "get";
  const sent = options.text ?? (options.body === undefined ? null : JSON.stringify(options.body));
  if (sent !== null) headers["Content-Type"] = options.text === undefined ? "application/json" : "application/yaml";
  if (unsafe) headers["Idempotency-Key"] ??= word();
  for (;;) {
    if (session.value === null) await untilSignedIn(unsafe, options.signal);
    const patience = AbortSignal.timeout(options.timeout ?? 20_000);
    const answer = await fetch(fill(pattern, options.path, options.query), {
      method: method.toUpperCase(), headers, cache: "no-store", redirect: "error",
      body: sent,
      signal: options.signal ? AbortSignal.any([options.signal, patience]) : patience,
    }).catch((e: unknown) => { throw options.signal?.aborted ? e : asFailure(e); });
    if (answer.status === 401) {
      await untilSignedIn(unsafe, options.signal);
      continue;
    }
    if (!answer.ok) throw await readFailure(answer);
    reached.value = Date.now();
    setClock(Date.parse(answer.headers.get("Date") ?? "") + 500); // whole seconds
    if (answer.status === 204) return undefined;
    const value: unknown = await answer.json();
    const tag = answer.headers.get("ETag");
    if (tag && typeof value === "object" && value !== null) tags.set(value, tag);
    return value;
  }
}

const tags = new WeakMap<object, string>();

/** tagOf is the ETag that an answer came with, for If-Match: what is put is refused if somebody changed it since. */
export const tagOf = (answer: object): string | undefined => tags.get(answer);

/** api asks the operators' API: api.get("/api/v1/rollouts/{id}", { path: { id } }). Throws Failure. */
export const api = {
  get: <P extends With<"get">>(path: P, ...[options]: Given<paths[P]["get"]>) => ask("get", path, options as never) as Promise<Answer<paths[P]["get"]>>,
  post: <P extends With<"post">>(path: P, ...[options]: Given<paths[P]["post"]>) => ask("post", path, options as never) as Promise<Answer<paths[P]["post"]>>,
  put: <P extends With<"put">>(path: P, ...[options]: Given<paths[P]["put"]>) => ask("put", path, options as never) as Promise<Answer<paths[P]["put"]>>,
  delete: <P extends With<"delete">>(path: P, ...[options]: Given<paths[P]["delete"]>) => ask("delete", path, options as never) as Promise<Answer<paths[P]["delete"]>>,
};

/** whoAmI finds out who is signed in; it waits for a sign-in if nobody is. */
export async function whoAmI(): Promise<void> {
  session.value = await api.get("/api/v1/session");
}
