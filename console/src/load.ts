// Hooks that load: one value, or a list page by page. What was loaded stays while it is loaded again or cannot be.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asFailure, type Failure } from "./client";

/** Loaded is the state of something that is loaded. */
export interface Loaded<T> {
  value?: T | undefined; // the last one that came, if any
  failure?: Failure | undefined; // why there is no newer one
  loading: boolean;
  again: () => void;
}

const slowest = 30_000;

/**
 * useLoad loads a value, and again when key changes (null: not yet). A failure that may pass is tried again by itself, later and later; it is
 * shown meanwhile.
 */
export function useLoad<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, set] = useState<{ key: string | null; value?: T | undefined; failure?: Failure | undefined; loading: boolean }>({ key, loading: key !== null });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    if (key === null) return;
    const gone = new AbortController();
    let timer = 0;
    const go = (attempt: number): void => {
      set((s) => (s.key === key ? { ...s, loading: true } : { key, loading: true }));
      latest.current(gone.signal).then(
        (value) => { if (!gone.signal.aborted) set({ key, value, loading: false }); },
        (e: unknown) => {
          if (gone.signal.aborted) return;
          const failure = asFailure(e);
          set((s) => ({ ...s, key, failure, loading: false }));
          if (failure.passing) timer = window.setTimeout(() => go(attempt + 1), Math.max(failure.retryAfter * 1000, Math.min(slowest, 1000 * 2 ** attempt)));
        },
      );
    };
    go(0);
    return () => { gone.abort(); clearTimeout(timer); };
  }, [key, turn]);
  const again = useCallback(() => setTurn((n) => n + 1), []);
  if (state.key !== key) return { loading: key !== null, again };
  return { value: state.value, failure: state.failure, loading: state.loading, again };
}

/** Listed is the state of a list that is loaded page by page. */
export interface Listed<T> {
  items: T[];
  first?: unknown; // the whole first page: some carry a count
  next?: string | undefined; // set: there is more
  failure?: Failure | undefined;
  loading: boolean;
  more: () => void;
  again: () => void; // from the first page
}

/** useList loads the first page of a list, and again when key changes; more() appends the next one. */
export function useList<T>(key: string | null, load: (after: string | undefined, signal: AbortSignal) => Promise<{ items: T[]; next?: string }>): Listed<T> {
  const first = useLoad(key, (signal) => load(undefined, signal));
  const [rest, set] = useState<{ of?: unknown; items: T[]; next?: string | undefined; failure?: Failure | undefined; loading: boolean }>({ items: [], loading: false });
  const mine = rest.of === first.value && first.value !== undefined; // pages that follow another first page are not this list's
  const next = mine ? rest.next : first.value?.next;
  const gone = useRef<AbortController>(undefined);
  useEffect(() => () => gone.current?.abort(), [key]);
  const more = (): void => {
    if (!next || (mine && rest.loading)) return;
    const of = first.value;
    const items = mine ? rest.items : [];
    const control = (gone.current = new AbortController());
    set({ of, items, next, loading: true });
    load(next, control.signal).then(
      (page) => { if (!control.signal.aborted) set({ of, items: [...items, ...page.items], next: page.next, loading: false }); },
      (e: unknown) => { if (!control.signal.aborted) set({ of, items, next, failure: asFailure(e), loading: false }); },
    );
  };
  return {
    items: [...(first.value?.items ?? []), ...(mine ? rest.items : [])],
    first: first.value, next, failure: first.failure ?? (mine ? rest.failure : undefined), loading: first.loading || (mine && rest.loading), more, again: first.again,
  };
}

/** useDebounced gives a value once it has not changed for a while: for fields that search while somebody types. */
export function useDebounced<T>(value: T, milliseconds = 250): T {
  const [settled, set] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => set(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}
