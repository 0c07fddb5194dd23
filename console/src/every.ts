import { useEffect } from "preact/hooks";

/** useEvery runs something every so many milliseconds while the tab is seen; null: not now. */
export function useEvery(milliseconds: number | null, run: () => void): void {
  useEffect(() => {
    if (milliseconds === null) return;
    const timer = setInterval(() => { if (!document.hidden) run(); }, milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds, run]);
}
