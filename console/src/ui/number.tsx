import type { ComponentChildren } from "preact";
import { about, whole } from "../format";
import type { Tone } from "./badge";
import { Icon } from "./icon";

/** Num is a count; with href it leads to the list of what it counts. */
export function Num({ value, href, estimated, label }: { value: number; href?: string | undefined; estimated?: boolean | undefined; label?: string }) {
  const text = about(value, estimated);
  return href ? <a class="nums" href={href} aria-label={label ? `${text} ${label}` : undefined}>{text}</a> : <span class="nums">{text}</span>;
}

/** Figure is a large number with its name: the head of a page. Harm above nothing has its shape and its word. */
export function Figure({ name, value, href, tone, of, note, estimated }: {
  name: string; value: number | undefined; href?: string | undefined; tone?: Tone | undefined; of?: number | undefined; note?: ComponentChildren; estimated?: boolean | undefined;
}) {
  const number = value === undefined ? "…" : about(value, estimated);
  return (
    <div class={`figure ${tone ?? ""}`}>
      <dt>{tone && tone !== "good" && tone !== "idle" ? <Icon shape={tone} /> : null}{name}</dt>
      <dd>
        {href && value !== undefined ? <a class="nums" href={href}>{number}</a> : <span class="nums">{number}</span>}
        {of !== undefined ? <span class="of"> of {whole(of)}</span> : null}
        {note ? <div class="note">{note}</div> : null}
      </dd>
    </div>
  );
}

/** Figures holds Figure. */
export const Figures = ({ children, label }: { children: ComponentChildren; label: string }) => <dl class="figures" aria-label={label}>{children}</dl>;
