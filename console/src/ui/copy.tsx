import { useState } from "preact/hooks";
import { Icon } from "./icon";

/** copyText puts text on the clipboard, also where the page came over plain HTTP and the clipboard's own API is missing. */
async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("the browser does not let the page copy");
}

/** Copy copies a text that people paste into terminals. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [state, set] = useState<"" | "copied" | "not copied">("");
  const copy = (): void => {
    copyText(text).then(() => set("copied"), () => set("not copied")).finally(() => setTimeout(() => set(""), 2000));
  };
  return <button type="button" class="bare copy" aria-label={state || `Copy ${what}`} title={state || `Copy ${what}`} onClick={copy}><Icon shape={state === "copied" ? "good" : "copy"} /></button>;
}

/** Code is a machine's text, with a button that copies it. */
export function Code({ text, what, short }: { text: string; what: string; short?: string }) {
  return <span class="code"><code title={text}>{short ?? text}</code><Copy text={text} what={what} /></span>;
}
