// Light, dark or as the system has it. The choice is the only thing that the console keeps in the browser.

import { effect, signal } from "@preact/signals";

export type Choice = "system" | "light" | "dark";

const key = "firebreak-theme";

function stored(): Choice {
  try {
    const c = localStorage.getItem(key);
    return c === "light" || c === "dark" ? c : "system";
  } catch {
    return "system"; // a browser that keeps nothing
  }
}

/** choice is what the viewer chose. */
export const choice = signal<Choice>("system");

/** theme is what is shown; charts are drawn again when it changes. */
export const theme = signal<"light" | "dark">("light");

/** startTheme applies the choice now and whenever it or the system's changes. */
export function startTheme(): void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = signal(system.matches);
  system.addEventListener("change", (e) => { dark.value = e.matches; });
  choice.value = stored();
  effect(() => {
    const shown = choice.value === "system" ? (dark.value ? "dark" : "light") : choice.value;
    document.documentElement.dataset["theme"] = shown;
    theme.value = shown;
  });
}

/** choose changes the choice and keeps it. */
export function choose(c: Choice): void {
  choice.value = c;
  try {
    if (c === "system") localStorage.removeItem(key);
    else localStorage.setItem(key, c);
  } catch {
    // Then it is good for this visit.
  }
}
