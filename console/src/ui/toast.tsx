import { signal } from "@preact/signals";
import { Icon } from "./icon";
import type { Tone } from "./badge";

interface Note { id: number; text: string; tone: Tone }

const notes = signal<readonly Note[]>([]);
const said = signal("");
let number = 0;
let last = 0;
let pending: ReturnType<typeof setTimeout> | undefined;

/** toast says briefly that something was done. What went wrong belongs beside what was tried, not here. */
export function toast(text: string, tone: Tone = "good"): void {
  const note = { id: ++number, text, tone };
  notes.value = [...notes.value, note].slice(-3);
  announce(text);
  setTimeout(() => { notes.value = notes.value.filter((n) => n.id !== note.id); }, 6000);
}

/** announce tells a screen reader what changed; at most every five seconds, the newest wins. */
export function announce(text: string): void {
  clearTimeout(pending);
  const wait = Math.max(0, last + 5000 - Date.now());
  pending = setTimeout(() => { last = Date.now(); said.value = text; }, wait);
}

/** Toasts is where notes are shown and announced; once on the page. */
export function Toasts() {
  return (
    <>
      <div class="hidden" aria-live="polite" role="status">{said.value}</div>
      <div class="toasts" aria-hidden="true">{notes.value.map((n) => <div key={n.id} class={`toast ${n.tone}`}><Icon shape={n.tone} /> {n.text}</div>)}</div>
    </>
  );
}
