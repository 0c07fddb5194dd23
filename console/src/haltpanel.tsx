// The halt panel: in the page, not over it; two keystrokes, and no dialog that could hang.

import { signal } from "@preact/signals";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { HaltedRollout, Overview } from "./api";
import { are, count, list, sentence, span } from "./format";
import { halt, halting, leaveHalt, type Halting } from "./halt";
import { topicOf } from "./live";
import { now } from "./now";
import { href, match, place } from "./router";
import { Badge, Icon, type Tone } from "./ui";

/** haltOpen counts how often the panel was opened; 0: it is closed. */
export const haltOpen = signal(0);

/** openHalt opens the panel with the focus in it. Modal dialogs give way: nothing stands before a halt. */
export function openHalt(): void {
  for (const d of document.querySelectorAll<HTMLDialogElement>("dialog[open]:not([data-sign-in])")) d.dispatchEvent(new Event("cancel", { cancelable: true }));
  if (halting.peek()?.done) halting.value = null;
  haltOpen.value++;
}

const leave = (): void => {
  haltOpen.value = 0;
  leaveHalt();
};

/** Aim is something that can be halted, and what that means. */
export interface Aim { of: string[] | null; label: string; text: string }

/** aims lists what can be halted from a page: its rollout first, then everything. Exported for its test. */
export function aims(path: string, overview: Overview | undefined): Aim[] {
  const id = match("/rollouts/:id", path)?.["id"];
  const live = Object.values(overview?.rollouts ?? {}).filter((r) => ["running", "paused", "proposed"].includes(r.phase));
  const all: Aim = { of: null, label: "Halt everything", text: everything(overview, live) };
  if (id === undefined) return [all];
  const r = overview?.rollouts[id];
  if (!r) return [{ of: [id], label: `Halt rollout ${id}`, text: "Nobody new gets its release." }, all];
  const text = ["running", "paused", "proposed"].includes(r.phase)
    ? `Nobody new gets ${r.component} ${r.version}. ${count(r.unconfirmed, "host")} ${r.unconfirmed === 1 ? "holds a lease and" : "hold a lease and"} may still activate; ${count(r.exposed, "exposed host")} ${r.exposed === 1 ? "keeps" : "keep"} it.`
    : `It is ${r.phase.replaceAll("_", " ")} already.`;
  return [{ of: [id], label: `Halt ${r.component} ${r.version}`, text }, all];
}

function everything(overview: Overview | undefined, live: Overview["rollouts"][string][]): string {
  if (!overview) return "Every rollout that exposes hosts, or may. How many those are is not known here: the live view is not there.";
  if (overview.running === 0) return "Nothing runs now.";
  const names = live.slice(0, 4).map((r) => `${r.component} ${r.version}`);
  const rest = overview.running - names.length;
  const pending = live.reduce((n, r) => n + r.unconfirmed, 0);
  return `${count(overview.running, "rollout")}: ${list(rest > 0 ? [...names, `${rest} more`] : names)}. ${count(pending, "host")} ${are(pending)} under way and may still activate.`;
}

/** HaltButton is in the header of every page. */
export function HaltButton() {
  const running = topicOf("overview").value.value?.running;
  return (
    <button type="button" class="halt-button" onClick={openHalt} aria-keyshortcuts="Shift+H" aria-expanded={haltOpen.value > 0} title="Halt (Shift+H, then Enter)">
      <Icon shape="stopped" /> Halt{running ? <span class="halt-count" aria-label={`, ${count(running, "rollout")} running`}>{running}</span> : null}
      <kbd aria-hidden="true">⇧H</kbd>
    </button>
  );
}

/** HaltPanel says what will be stopped, stops it, and says what was stopped and what is still in flight. */
export function HaltPanel() {
  const turn = haltOpen.value;
  const going = halting.value;
  const first = useRef<HTMLButtonElement>(null);
  const result = useRef<HTMLHeadingElement>(null);
  const [reason, setReason] = useState("");
  const started = going?.since;
  // Before the next key is handled: whoever presses the two keys at once halts too.
  useLayoutEffect(() => { if (turn > 0) (halting.peek() ? result.current : first.current)?.focus(); }, [turn]);
  useLayoutEffect(() => { if (started !== undefined) result.current?.focus(); }, [started]);
  if (turn === 0 && !going) return null;
  const choices = aims(place.value.path, topicOf("overview").value.value);
  return (
    <section class="halt-panel" role="region" aria-labelledby="halt-title" onKeyDown={(e) => { if (e.key === "Escape") { e.preventDefault(); leave(); } }}>
      {going ? <Result of={going} title={result} /> : (
        <form onSubmit={(e) => { e.preventDefault(); void halt(choices[0]!.of, reason.trim()); }}>
          <h2 id="halt-title">Halt</h2>
          <div class="halt-choices">
            {choices.map((aim, i) => (
              <div key={i} class="halt-choice">
                <button ref={i === 0 ? first : undefined} type={i === 0 ? "submit" : "button"} class={i === 0 ? "halt-go" : "halt-go second"} aria-describedby={`halt-${i}`}
                  onClick={i === 0 ? undefined : () => void halt(aim.of, reason.trim())}>
                  <Icon shape="stopped" /> {aim.label}
                </button>
                <p id={`halt-${i}`}>{aim.text}</p>
              </div>
            ))}
          </div>
          <p class="halt-foot">
            <label>Reason, if there is time: <input type="text" value={reason} maxLength={900} autoComplete="off" onInput={(e) => setReason(e.currentTarget.value)} /></label>
            <span class="soft"><kbd>Enter</kbd> halts · <kbd>Esc</kbd> leaves. A halt rolls nothing back: that is a second step, on the rollout.</span>
            <button type="button" class="bare" onClick={leave}>Leave</button>
          </p>
        </form>
      )}
    </section>
  );
}

const tones: { [state: string]: [Tone, string] } = { halted: ["good", "halted"], holding: ["amber", "holding"], ended: ["idle", "had ended"], failed: ["harm", "failed"] };

function Result({ of, title }: { of: Halting; title: { current: HTMLHeadingElement | null } }) {
  const { answer, failure } = of;
  return (
    <>
      <div role="status"><h2 id="halt-title" tabIndex={-1} ref={title}>{headline(of)}</h2></div>
      {failure && !answer ? (
        <p><Icon shape="amber" /> {sentence(failure.detail)} {of.done ? sentence(failure.next) : `It is tried again by itself (${count(of.tries, "try", "tries")} in ${span(now.value - of.since)}). In a terminal: firebreak rollout halt.`}</p>
      ) : null}
      {answer ? (
        <ul class="halt-results">
          {answer.rollouts.map((r) => <One key={r.id} r={r} />)}
        </ul>
      ) : null}
      {answer && failure ? <p><Icon shape="amber" /> The last try got no answer: {sentence(failure.detail)} It is tried again by itself.</p> : null}
      <p class="halt-foot"><button type="button" onClick={leave}>{of.done ? "Close" : "Hide"}</button><span class="soft"><kbd>Esc</kbd></span></p>
    </>
  );
}

function One({ r }: { r: HaltedRollout }) {
  const [tone, word] = tones[r.state] ?? ["idle", r.state];
  const live = topicOf("overview").value.value?.rollouts[r.id];
  const flying = r.state === "ended" ? 0 : live?.unconfirmed ?? r.in_flight;
  return (
    <li>
      <Badge tone={tone} shape={tone === "good" ? "stopped" : tone}>{word}</Badge>
      <a href={href("/rollouts/:id", { id: r.id })}>{r.component} {r.version}</a>
      <span>{sentence(r.text)}</span>
      {flying > 0 ? <span class="soft">{count(flying, "host")} still in flight.</span> : null}
    </li>
  );
}

/** headline says in one sentence how a halt stands. Exported for its test. */
export function headline(of: Halting): string {
  const what = of.of === null ? "everything" : of.of.length === 1 ? `rollout ${of.of[0]}` : count(of.of.length, "rollout");
  if (!of.answer) return of.done ? `The halt of ${what} was refused` : `Halting ${what}…`;
  const by = (state: HaltedRollout["state"]): number => of.answer!.rollouts.filter((r) => r.state === state).length;
  const parts: string[] = [];
  if (by("halted") > 0) parts.push(`${count(by("halted"), "rollout")} halted`);
  if (by("holding") > 0) parts.push(`${by("holding")} held, nobody gets a lease any more`);
  if (by("failed") > 0) parts.push(`${by("failed")} NOT halted`);
  if (parts.length === 0) return of.answer.rollouts.length === 0 ? "Nothing was running" : "There was nothing to halt: it had ended";
  const flying = of.answer.in_flight;
  return `${list(parts)}; ${count(flying, "host")} ${are(flying)} still in flight${of.took !== undefined ? ` (answered in ${of.took < 1000 ? `${of.took} ms` : `${(of.took / 1000).toFixed(1)} s`})` : ""}`;
}
