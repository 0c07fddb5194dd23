// What is live: one stream of server-sent events for all topics in view. It is read with fetch, not with EventSource, because that tells
// heartbeats (a line that died is noticed) and refusals (nobody signed in, too many streams, starting) apart.

import { effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Decision, Overview, Rollout, StreamEvent } from "./api";
import { asFailure, Failure, fill, reached, readFailure, session, whoAmI } from "./client";
import { merge, type Json } from "./merge";

/** Topics are what can be watched, and what each shows. */
export interface Topics {
  overview: Overview;
  [rollout: `rollout:${string}`]: Rollout;
  [timeline: `timeline:${string}`]: { [revision: string]: Decision };
}

/** Topic is the state of one topic in view. */
export interface Topic<T> {
  value?: T; // undefined: it has not come yet
  gone?: string; // why there is nothing to show
  stale?: string; // why value is not of now
  good?: number; // when a stale value was good last
  at?: number; // when something of it came last, by this browser's clock
}

/** Line is how the stream is. */
export type Line =
  | { state: "live" }
  | { state: "connecting"; since: number }
  | { state: "reconnecting"; since: number; why: Failure }
  | { state: "hidden"; since: number };

/** line is how the stream is now. */
export const line = signal<Line>({ state: "connecting", since: Date.now() });

/** heard is when the stream said something last, if only that it lives; 0: never. */
export let heard = 0;

interface Entry { topic: Signal<Topic<unknown>>; viewers: number }

const topics = new Map<string, Entry>(); // an entry stays for good: components hold its signal

function entryOf(name: string): Entry {
  let entry = topics.get(name);
  if (!entry) topics.set(name, (entry = { topic: signal({}), viewers: 0 }));
  return entry;
}

/** Timing, in milliseconds. */
const settle = 60; // topics that change together open the stream once
const linger = 3000; // a topic that nobody looks at is kept so long: people go back
const quiet = 25_000; // no heartbeat for so long: the line is dead
const slowest = 15_000; // between tries

let current: AbortController | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let attempt = 0;
let lost: { since: number; why: Failure } | undefined; // since when there is no stream

/** watchTopic keeps a topic in the stream until the answer is called. */
export function watchTopic(name: keyof Topics): () => void {
  const entry = entryOf(name as string);
  if (entry.viewers++ === 0) later(settle);
  return () => {
    setTimeout(() => {
      if (--entry.viewers > 0) return;
      entry.topic.value = {};
      later(settle);
    }, linger);
  };
}

/** topicOf is the state of a topic, which somebody must watch. */
export const topicOf = <K extends keyof Topics>(name: K): ReadonlySignal<Topic<Topics[K]>> => entryOf(name as string).topic as ReadonlySignal<Topic<Topics[K]>>;

/** useLive watches a topic as long as the component is there. */
export function useLive<K extends keyof Topics>(name: K): Topic<Topics[K]> {
  useEffect(() => watchTopic(name), [name]);
  return topicOf(name).value;
}

function later(milliseconds: number): void {
  clearTimeout(timer);
  timer = setTimeout(open, milliseconds);
}

/** open opens the stream for the topics of now; one that is open ends. */
function open(): void {
  clearTimeout(timer);
  current?.abort();
  current = undefined;
  const wanted = [...topics].filter(([, entry]) => entry.viewers > 0).map(([name]) => name);
  if (document.hidden || wanted.length === 0 || session.peek() === null) return;
  if (session.peek() === undefined) {
    whoAmI().catch((e: unknown) => again(asFailure(e))); // then it is opened, when that is known
    return;
  }
  const mine = (current = new AbortController());
  read(wanted, mine).then(
    () => { if (mine === current) again(asFailure(new TypeError("closed"))); },
    (e: unknown) => { if (mine === current) again(asFailure(e)); },
  );
}

/** again tries again after a while that grows, and differs between browsers. */
function again(why: Failure): void {
  current?.abort();
  current = undefined;
  lost = { since: lost?.since ?? Date.now(), why };
  line.value = { state: "reconnecting", ...lost };
  if (why.status === 401) {
    // Asking who is signed in shows the sign-in, and comes back when somebody is.
    whoAmI().catch(() => later(slowest));
    return;
  }
  const wait = Math.max(why.retryAfter * 1000, Math.min(slowest, 500 * 2 ** attempt++));
  later(wait * (0.5 + Math.random() / 2));
}

async function read(names: string[], mine: AbortController): Promise<void> {
  let watchdog: ReturnType<typeof setTimeout> | undefined;
  const alive = (): void => {
    heard = Date.now();
    clearTimeout(watchdog);
    watchdog = setTimeout(() => { if (mine === current) again(asFailure(new DOMException("quiet", "TimeoutError"))); mine.abort(); }, quiet);
  };
  alive();
  try {
    const answer = await fetch(fill("/api/v1/stream", {}, { topic: names }), {
      headers: { Accept: "text/event-stream" }, cache: "no-store", redirect: "error", signal: mine.signal,
    });
    if (!answer.ok || !answer.body) throw await readFailure(answer);
    attempt = 0;
    lost = undefined;
    line.value = { state: "live" };
    const split = events(take);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || mine !== current) return;
      alive();
      split(value);
    }
  } finally {
    clearTimeout(watchdog);
  }
}

/** events makes a function that takes pieces of a stream of server-sent events and calls take with each event that is complete. */
export function events(take: (event: string, data: string) => void): (piece: string) => void {
  let rest = "";
  return (piece) => {
    const all = (rest + piece).replace(/\r\n/g, "\n").split("\n\n");
    rest = all.pop() ?? "";
    for (const block of all) {
      let event = "message";
      const data: string[] = [];
      for (const row of block.split("\n")) {
        const at = row.indexOf(":");
        if (at === 0) continue; // a comment: a heartbeat
        const name = at < 0 ? row : row.slice(0, at);
        const value = at < 0 ? "" : row.slice(at + 1).replace(/^ /, "");
        if (name === "event") event = value;
        else if (name === "data") data.push(value);
      }
      if (data.length > 0 || event !== "message") take(event, data.join("\n"));
    }
  };
}

/** Said is the data of one event. A beat has none. */
type Said = Partial<Omit<StreamEvent, "value" | "patch">> & { value?: Json; patch?: Json };

function take(event: string, data: string): void {
  const said: Said = data === "" ? {} : (JSON.parse(data) as Said);
  if (event === "bye") throw new Failure(0, "ended", `the control plane ended the stream: ${said.bye ?? "it gave no reason"}`);
  const entry = topics.get(said.topic ?? "");
  if (!entry) return;
  entry.topic.value = next(entry.topic.peek(), event, said);
}

/** next is a topic after an event. A patch without a snapshot before it changes nothing: there is nothing that it is a patch of. */
export function next<T>(topic: Topic<T>, event: string, said: Said, now = Date.now()): Topic<T> {
  switch (event) {
    case "snapshot": return { value: said.value as T, at: now };
    case "patch": return topic.value === undefined ? topic : { value: merge(topic.value as Json, said.patch ?? {}) as T, at: now };
    case "gone": return { gone: said.gone ?? "", at: now };
    case "stale": return { ...topic, stale: said.stale ?? "", good: said.at ? Date.parse(said.at) : (topic.at ?? now) };
    case "fresh": {
      const { stale: _, good: __, ...fresh } = topic;
      return fresh;
    }
    default: return topic;
  }
}

/** startLive follows the tab: the stream is closed while it is hidden, because browsers have few connections to a server. */
export function startLive(): void {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      current?.abort();
      current = undefined;
      line.value = { state: "hidden", since: Date.now() };
    } else {
      attempt = 0;
      line.value = { state: "connecting", since: Date.now() };
      open();
    }
  });
  window.addEventListener("online", () => { attempt = 0; later(0); });
  effect(() => { if (session.value) later(settle); }); // somebody has signed in
  effect(() => { if (reached.value > 0 && line.peek().state === "reconnecting" && !current) later(0); });
}
