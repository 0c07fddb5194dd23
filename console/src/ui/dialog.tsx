import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Icon } from "./icon";

/** Dialog is a native modal dialog: it keeps the focus, closes with Escape, and gives the focus back. Draw it only while it is open. */
export function Dialog({ title, children, close, wide }: { title: string; children: ComponentChildren; close: () => void; wide?: boolean }) {
  const box = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    const dialog = box.current;
    if (dialog && !dialog.open) {
      dialog.showModal();
      dialog.querySelector<HTMLElement>("form :is(input, select, textarea, button[type=submit])")?.focus();
    }
    return () => { if (before?.isConnected) before.focus(); };
  }, []);
  return (
    <dialog ref={box} class={wide ? "wide" : ""} aria-labelledby={id} onClose={close} onCancel={(e) => { e.preventDefault(); close(); }}>
      <header>
        <h2 id={id}>{title}</h2>
        <button type="button" class="bare" aria-label="Close" onClick={close}><Icon shape="close" /></button>
      </header>
      {children}
    </dialog>
  );
}
