import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { asFailure, type Failure } from "../client";
import { sentence } from "../format";
import { Failed } from "./state";

/** Sending is the state of a form that sends something. */
export interface Sending {
  busy: boolean;
  failure: Failure | undefined;
  /** send runs what sends; it tells whether that worked. */
  send: (run: () => Promise<void>) => Promise<boolean>;
  clear: () => void;
}

/** useSending keeps what becomes of a form: busy, failed and why. What was typed stays whatever happens. */
export function useSending(): Sending {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  return {
    busy, failure, clear: () => setFailure(undefined),
    send: async (run) => {
      setBusy(true);
      setFailure(undefined);
      try {
        await run();
        return true;
      } catch (e) {
        setFailure(asFailure(e));
        return false;
      } finally {
        setBusy(false);
      }
    },
  };
}

/** problemOf is what is wrong with the field of a path: "reason", "select.site". A problem within it counts as well. */
export function problemOf(failure: Failure | undefined, path: string): string | undefined {
  const found = failure?.problems.filter((p) => p.path === path || p.path.startsWith(path + ".") || p.path.startsWith(path + "["));
  return found && found.length > 0 ? found.map((p) => p.message).join("; ") : undefined;
}

interface FieldProps {
  label: string;
  path?: string; // in the document that is sent: problems of it are shown here
  failure?: Failure | undefined;
  hint?: ComponentChildren;
  wrong?: string | undefined; // a mistake that the page found itself
}

function Wrap({ label, path, failure, hint, wrong, children }: FieldProps & { children: (ids: { id: string; "aria-describedby": string | undefined; "aria-invalid": boolean | undefined }) => ComponentChildren }) {
  const id = useId();
  const problem = wrong ?? (path ? problemOf(failure, path) : undefined);
  const described = [hint ? id + "-hint" : "", problem ? id + "-problem" : ""].filter(Boolean).join(" ");
  return (
    <div class={`field ${problem ? "wrong" : ""}`}>
      <label for={id}>{label}</label>
      {children({ id, "aria-describedby": described || undefined, "aria-invalid": problem ? true : undefined })}
      {hint ? <div class="hint" id={id + "-hint"}>{hint}</div> : null}
      {problem ? <div class="problem" id={id + "-problem"} role="alert">{sentence(`this ${problem}`)}</div> : null}
    </div>
  );
}

interface InputProps {
  type?: "text" | "search" | "datetime-local" | "date" | "number";
  placeholder?: string;
  disabled?: boolean;
  required?: boolean;
  maxLength?: number;
  list?: string; // id of a datalist
  search?: boolean; // the key / leads here
}

/** Field is a line of text with its label, hint and problem. */
export function Field({ label, path, failure, hint, wrong, value, onValue, type = "text", search, ...rest }: FieldProps & InputProps & { value: string; onValue: (v: string) => void }) {
  return (
    <Wrap {...{ label, path, failure, hint, wrong } as FieldProps}>
      {(ids) => <input autoComplete="off" spellcheck={false} maxLength={1000} {...rest} {...ids} type={type as "text"} data-search={search} value={value} onInput={(e) => onValue(e.currentTarget.value)} />}
    </Wrap>
  );
}

/** TextArea is some lines of text with a label, a hint and a problem. */
export function TextArea({ label, path, failure, hint, wrong, value, onValue, rows = 2, maxLength }: FieldProps & { value: string; onValue: (v: string) => void; rows?: number; maxLength?: number }) {
  return (
    <Wrap {...{ label, path, failure, hint, wrong } as FieldProps}>
      {(ids) => <textarea {...ids} rows={rows} maxLength={maxLength} value={value} onInput={(e) => onValue(e.currentTarget.value)} />}
    </Wrap>
  );
}

/** Select is a choice of a few. */
export function Select({ label, path, failure, hint, wrong, value, onValue, options, disabled }: FieldProps & {
  value: string; onValue: (v: string) => void; options: readonly (readonly [value: string, text: string])[]; disabled?: boolean;
}) {
  return (
    <Wrap {...{ label, path, failure, hint, wrong } as FieldProps}>
      {(ids) => (
        <select {...ids} disabled={disabled} value={value} onChange={(e) => onValue(e.currentTarget.value)}>
          {options.map(([v, text]) => <option key={v} value={v} selected={v === value}>{text}</option>)}
        </select>
      )}
    </Wrap>
  );
}

/** FormFailure shows what no field shows: a conflict, a refusal, no answer, and problems of fields that the form does not have. */
export function FormFailure({ failure, shown, what }: { failure: Failure | undefined; shown: readonly string[]; what?: string }) {
  if (!failure) return null;
  if (failure.problems.length > 0 && failure.problems.every((p) => shown.some((s) => p.path === s || p.path.startsWith(s + ".") || p.path.startsWith(s + "[")))) return null;
  return <Failed failure={failure} {...(what ? { what } : {})} />;
}
