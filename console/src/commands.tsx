// What can be done to a rollout. Each command says what it will do, in the numbers of this moment, before it is done.

import { useState } from "preact/hooks";
import type { Act, Rollout, RolloutHold } from "./api";
import { api } from "./client";
import { commandsFor, consequence, readSelector, writeSelector, type Command } from "./consequences";
import { are, words } from "./format";
import * as links from "./links";
import { useDebounced, useLoad } from "./load";
import { Dialog, Failed, Field, FormFailure, Num, TextArea, toast, useSending } from "./ui";

const names: Record<Command, string> = { approve: "Agree to the start", pause: "Pause", resume: "Resume", hold: "Hold some hosts", unhold: "Lift", halt: "Halt", rollback: "Roll back" };
const done: Record<Command, string> = { approve: "agreed", pause: "paused", resume: "resumed", hold: "held", unhold: "hold lifted", halt: "halted", rollback: "rolled back" };

/** Commands are the buttons of a rollout; with lift, the one that lifts that hold. */
export function Commands({ r, lift }: { r: Rollout; lift?: RolloutHold }) {
  const [open, set] = useState<Command | null>(null);
  const all: Command[] = lift ? ["unhold"] : commandsFor(r.phase);
  return (
    <>
      {all.map((c) => (
        <button key={c} type="button" class={c === "rollback" || c === "halt" ? "danger" : c === "approve" || c === "resume" ? "primary" : ""}
          aria-label={lift ? `Lift the hold on ${lift.text}` : undefined} onClick={() => set(c)}>{names[c]}</button>
      ))}
      {open ? <Ask key={open} command={open} r={r} close={() => set(null)} {...(lift ? { lift } : {})} /> : null}
    </>
  );
}

function Ask({ command, r, lift, close }: { command: Command; r: Rollout; lift?: RolloutHold; close: () => void }) {
  const [seen, see] = useState(r.phase); // the phase in which the reader decided
  const [reason, setReason] = useState("");
  const first = r.suspects?.[0];
  const [selector, setSelector] = useState(lift ? writeSelector(lift.select) : first ? `${first.key}=${first.value}` : "");
  const form = useSending();
  const c = consequence(command, r);
  const selects = command === "hold" || command === "unhold";
  const { select, wrong } = readSelector(selector);
  const moved = r.phase !== seen;
  const send = async (e: Event): Promise<void> => {
    e.preventDefault();
    const body: Act = { phase: seen, ...(reason.trim() ? { reason: reason.trim() } : {}), ...(selects ? { select } : {}) };
    // What widens is refused if anything was decided since what is shown; what narrows is not, or nobody could stop a rollout that moves.
    const headers: Record<string, string> = c.widens ? { "If-Match": `"${r.revision}-console"` } : {};
    if (await form.send(async () => { await api.post("/api/v1/rollouts/{id}/{act}", { path: { id: r.id, act: command }, body, headers }); })) {
      toast(`${r.component} ${r.version}: ${done[command]}`);
      close();
    }
  };
  return (
    <Dialog title={c.title} close={close}>
      <form class="rollout-act" onSubmit={(e) => void send(e)}>
        {moved ? <p class="old" role="alert">Meanwhile it is {words(r.phase)}. <button type="button" class="bare" onClick={() => { see(r.phase); form.clear(); }}>I have seen it</button></p> : null}
        <ul aria-label="What this will do" aria-live="polite">{c.lines.map((l) => <li key={l}>{l}</li>)}</ul>
        {selects ? (lift ? <p><code class="long">{lift.text}</code></p> : <Whom r={r} selector={selector} set={setSelector} wrong={selector === "" ? undefined : wrong} failure={form.failure} />) : null}
        {selects && !wrong && selector ? <Counted select={select} /> : null}
        <TextArea label={command === "hold" ? "Reason (the owners of held hosts are told it)" : "Reason"} path="reason" failure={form.failure} value={reason} onValue={setReason}
          hint={command === "hold" ? undefined : "It is kept with the decision, and in the audit."} />
        <FormFailure failure={form.failure} shown={["reason", ...(selects && !lift ? ["select"] : [])]} what={form.failure?.conflict ? "Nothing was done" : "It was not done"} />
        <div class="dialog-actions">
          <button type="button" onClick={close}>Leave it</button>
          <button type="submit" class={`primary ${c.grave ? "danger" : ""}`} disabled={form.busy || (selects && (!!wrong || selector.trim() === ""))}>{form.busy ? "Sending…" : c.button}</button>
        </div>
      </form>
    </Dialog>
  );
}

function Whom({ r, selector, set, wrong, failure }: { r: Rollout; selector: string; set: (s: string) => void; wrong: string | undefined; failure: ReturnType<typeof useSending>["failure"] }) {
  return (
    <>
      <Field label="Hosts" path="select" failure={failure} wrong={wrong} value={selector} onValue={set} placeholder="site=graz class=server,desktop"
        hint="key=value, several separated by spaces: a host must have every key, and one of its values. Keys: os, version, kernel, arch, class, region, site, tenant, consumer, label.KEY." />
      {(r.suspects ?? []).length > 0 ? <p class="small">Suspected: {(r.suspects ?? []).slice(0, 3).map((s) => <button key={s.key + s.value} type="button" class="bare" onClick={() => set(`${s.key}=${s.value}`)}>{s.key}={s.value}</button>)}</p> : null}
    </>
  );
}

/** Counted says how many hosts a selector picks. */
function Counted({ select }: { select: NonNullable<Act["select"]> }) {
  const asked = useDebounced(JSON.stringify(select), 400);
  const pairs = Object.entries(JSON.parse(asked) as NonNullable<Act["select"]>).flatMap(([k, v]) => v.map((x) => `${k}=${x}`));
  const found = useLoad(pairs.length > 0 ? `count ${asked}` : null, (signal) => api.get("/api/v1/endpoints", { query: { select: pairs, limit: 1 }, signal }));
  if (found.failure && !found.value) return found.failure.status === 400 ? null : <Failed failure={found.failure} what="Cannot count the hosts" />;
  const n = found.value?.count;
  if (n === undefined || n === null) return <p class="soft small">Counting the hosts…</p>;
  return (
    <p role="status">
      {n === 0 ? "No endpoint has these attributes now." : <><Num value={n} estimated={found.value?.estimated} href={links.hosts({ select: pairs })} label="hosts" /> {n === 1 ? "host" : "hosts"} of the fleet {are(n)} picked.</>}
    </p>
  );
}
