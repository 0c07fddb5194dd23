import { ago, local, span, utc } from "../format";
import { inUTC, now } from "../now";

/**
 * When shows a moment in the viewer's zone; UTC is there on hover and on focus, and everywhere at once with the key u. In long tables and
 * lists set quiet: the reader of a keyboard then does not have to step over every time.
 */
export function When({ at, form = "clock", quiet }: { at: string | number | Date | undefined | null; form?: "clock" | "ago" | "both"; quiet?: boolean }) {
  if (at === undefined || at === null || at === "") return <span class="soft">never</span>;
  const moment = new Date(at);
  if (Number.isNaN(moment.getTime())) return <span class="soft">no time</span>;
  const clock = inUTC.value ? utc(moment) : local(moment, new Date(now.value));
  const gone = ago(moment.getTime(), now.value);
  const text = form === "clock" ? clock : form === "ago" ? gone : `${clock} (${gone})`;
  return <time class="when" dateTime={moment.toISOString()} data-utc={utc(moment)} title={quiet ? utc(moment) : undefined} tabIndex={quiet ? undefined : 0}>{text}</time>;
}

/** Since shows how long something has gone on, or went on. */
export function Since({ from, until }: { from: string; until?: string | undefined }) {
  const end = until ? new Date(until).getTime() : now.value;
  return <span class="nums">{span(end - new Date(from).getTime())}</span>;
}
