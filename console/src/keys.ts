// The keyboard. One listener; keys mean nothing while somebody types.

/** Binding is what a key, or one key after another, does. */
export interface Binding { keys: string; does: string; run: () => void }

/** typing tells whether an element takes text, so that letters are letters. */
export function typing(target: EventTarget | null): boolean {
  const e = target as HTMLElement | null;
  if (!e || typeof e.matches !== "function") return false;
  return e.isContentEditable || e.matches("textarea, select, input:not([type=checkbox], [type=radio], [type=button], [type=submit])");
}

/** Pressed is what of a keyboard event matters. */
export interface Pressed { key: string; shiftKey: boolean; ctrlKey: boolean; metaKey: boolean; altKey: boolean; repeat?: boolean }

/** name names a key as bindings do: "h", "Shift+H", "?". */
export function name(e: Pressed): string {
  return e.shiftKey && /^[a-z]$/i.test(e.key) ? `Shift+${e.key.toUpperCase()}` : e.key.length === 1 ? e.key.toLowerCase() : e.key;
}

/** sequences makes a function that finds the binding which the keys pressed so far complete. A pause ends a sequence. */
export function sequences(bindings: () => readonly Binding[], pause = 1200): (e: Pressed, now: number) => Binding | undefined {
  let before = "";
  let last = 0;
  return (e, now) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.repeat || e.key === "Shift") return undefined;
    const key = name(e);
    const both = now - last < pause && before !== "" ? `${before} ${key}` : key;
    const all = bindings();
    const found = all.find((b) => b.keys === both) ?? all.find((b) => b.keys === key);
    before = found ? "" : key;
    last = now;
    return found;
  };
}

/** startKeys listens to the keyboard. */
export function startKeys(bindings: () => readonly Binding[]): void {
  const find = sequences(bindings);
  document.addEventListener("keydown", (e) => {
    if (e.defaultPrevented || typing(e.target)) return;
    const found = find(e, performance.now());
    if (!found) return;
    e.preventDefault();
    found.run();
  });
}
