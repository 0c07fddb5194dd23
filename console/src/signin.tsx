// Signing in, over whatever page there is: the page stays, and what waited for a session goes on.

import { useEffect, useRef, useState } from "preact/hooks";
import { session, signIn } from "./client";
import { sentence } from "./format";
import { Code, Icon, useSending } from "./ui";
import { Mark } from "./ui/icon";

/** SignIn shows itself while nobody is signed in. */
export function SignIn({ kept }: { kept: boolean }) {
  return session.value === null ? <Overlay kept={kept} /> : null;
}

function Overlay({ kept }: { kept: boolean }) {
  const box = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const [token, setToken] = useState("");
  const form = useSending();
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    box.current?.showModal();
    field.current?.focus();
    return () => { if (before?.isConnected) before.focus(); };
  }, []);
  const submit = async (e: Event): Promise<void> => {
    e.preventDefault();
    if (token.trim() === "") return field.current?.focus();
    if (!(await form.send(() => signIn(token.trim())))) field.current?.select();
  };
  return (
    <dialog ref={box} class="sign-in" data-sign-in aria-labelledby="sign-in-title" onCancel={(e) => e.preventDefault()}>
      <form onSubmit={(e) => void submit(e)}>
        <p class="brand"><Mark /> Firebreak</p>
        <h1 id="sign-in-title">{kept ? "Sign in to go on" : "Sign in"}</h1>
        {kept ? <p>Your session has ended. The page and what you typed are kept; what you were doing goes on once you are signed in.</p> : null}
        <div class={`field ${form.failure ? "wrong" : ""}`}>
          <label for="token">Operator token</label>
          <input ref={field} id="token" type="password" autoComplete="off" spellcheck={false} value={token} aria-invalid={form.failure ? true : undefined}
            aria-describedby="token-hint token-problem" onInput={(e) => setToken(e.currentTarget.value)} />
          <div id="token-problem" role="alert">{form.failure ? <div class="problem"><Icon shape="amber" /> {sentence(form.failure.detail)} {form.failure.next ? sentence(form.failure.next) : null}</div> : null}</div>
        </div>
        <button type="submit" class="primary" disabled={form.busy}>{form.busy ? "Signing in…" : "Sign in"}</button>
        <div class="hint" id="token-hint">
          <p>The first token was printed when the control plane started for the first time. Whoever has one makes more:</p>
          <Code text="firebreak token create --kind operator --note you@example.org" what="the command" />
          <p>The token is sent once, for a session cookie that scripts cannot read; the browser keeps no copy.</p>
        </div>
      </form>
    </dialog>
  );
}
