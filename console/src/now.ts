// The time, for what is shown of it.

import { signal } from "@preact/signals";

/** now is the time, a second or so old. It stands still while the tab is hidden. */
export const now = signal(Date.now());

/** inUTC shows all times in UTC instead of the viewer's zone. */
export const inUTC = signal(false);

/** zone is the name of the viewer's zone. */
export const zone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;

let skew = 0; // of this browser's clock, in milliseconds

/** setClock learns what the control plane's clock says. A browser whose clock is wrong still tells rightly how long ago things were. */
export function setClock(theirs: number): void {
  const off = theirs - Date.now();
  if (Number.isNaN(off)) return;
  if (Math.abs(off - skew) > 3000) skew = Math.abs(off) > 3000 ? off : 0;
}

/** clock is what the control plane's clock says now, or this browser's as long as the other one is not known. */
export const clock = (): number => Date.now() + skew;

/** startNow keeps now going. */
export function startNow(): void {
  setInterval(() => { if (!document.hidden) now.value = clock(); }, 1000);
  document.addEventListener("visibilitychange", () => { now.value = clock(); });
}
