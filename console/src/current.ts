// What is live, or else asked for: a page shows something even if the stream cannot be had.

import { useEffect, useState } from "preact/hooks";
import type { Failure } from "./client";
import { line, useLive, type Topics } from "./live";
import { useLoad } from "./load";

/** Current is a value as fresh as can be had. */
export interface Current<T> {
  value?: T | undefined;
  gone?: string | undefined;
  stale?: string | undefined; // why value is of a while ago
  failure?: Failure | undefined; // why there is none
  again: () => void;
}

const grace = 1500; // milliseconds in which the stream should have brought it
const pace = 15_000; // milliseconds between questions while there is no stream

/** useCurrent shows a topic of the stream; while the stream does not bring it, what load answers, every so often. */
export function useCurrent<K extends keyof Topics>(topic: K, load: (signal: AbortSignal) => Promise<Topics[K]>): Current<Topics[K]> {
  const live = useLive(topic);
  const wanting = live.gone === undefined && (live.value === undefined || line.value.state === "reconnecting");
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (!wanting) return setTurn(0);
    const first = setTimeout(() => setTurn(1), grace);
    const rest = setInterval(() => setTurn((n) => n + 1), pace);
    return () => { clearTimeout(first); clearInterval(rest); };
  }, [wanting, topic]);
  const asked = useLoad(wanting && turn > 0 ? `${String(topic)} ${turn}` : null, load);
  const [kept, keep] = useState<{ of: K; value: Topics[K]; at: number }>();
  useEffect(() => { if (asked.value !== undefined) keep({ of: topic, value: asked.value, at: Date.now() }); }, [asked.value]);
  const mine = kept?.of === topic ? kept : undefined;
  if (live.gone !== undefined) return { gone: live.gone, again: asked.again };
  if (!wanting) return { value: live.value, stale: live.stale, again: asked.again };
  const value = asked.value ?? (mine && mine.at > (live.at ?? 0) ? mine.value : live.value ?? mine?.value);
  return {
    value, again: asked.again,
    stale: value === undefined ? undefined : asked.failure ? asked.failure.detail : line.value.state === "reconnecting" ? "the live view is interrupted; this is asked for every 15 s" : undefined,
    failure: value === undefined ? asked.failure : undefined,
  };
}
