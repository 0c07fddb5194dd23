// What a bad release would cost, as the simulator plays it.

import type { ComponentChildren } from "preact";
import type { Forecast, ForecastCase } from "./api";
import { count, span, whole } from "./format";
import { Table, When } from "./ui";

/** goesOn tells whether some runs of a case were neither stopped nor frozen: what they harmed while they were played is not all. */
export const goesOn = (c: Pick<ForecastCase, "runs" | "stopped" | "frozen">): boolean => c.stopped + c.frozen < c.runs;

/** endings writes what became of a case's runs: "158 of 200 stopped, 30 frozen, 12 went on". */
export function endings(c: Pick<ForecastCase, "runs" | "stopped" | "frozen">): string {
  const on = c.runs - c.stopped - c.frozen;
  return [`${whole(c.stopped)} of ${whole(c.runs)} stopped`, c.frozen > 0 ? `${whole(c.frozen)} frozen` : "", on > 0 ? `${whole(on)} went on` : ""].filter(Boolean).join(", ");
}

/** Played lists kinds of bad releases and what each would cost. */
export function Played({ forecast: { bound, cases, fleet, hosts, taken } }: { forecast: Forecast }) {
  const least = (c: ForecastCase, text: string): ComponentChildren => <span class="nums">{goesOn(c) ? <span class="soft">at least </span> : null}{text}</span>;
  const some = cases.some(goesOn);
  const ice = cases.some((c) => c.frozen > 0);
  return (
    <>
      <p role="status">Played on {count(hosts, "host")}{hosts !== fleet ? `, for a fleet of ${whole(fleet)}` : ""}, <When at={taken} form="ago" quiet />. By arithmetic alone at most {count(bound, "host")} on average.</p>
      <Table label="Kinds of bad releases" rows={cases} id={(c) => c.name} empty="" columns={[
        { head: "A release that", lead: true, cell: (c) => c.name },
        { head: "Harmed", end: true, cell: (c) => least(c, String(c.mean >= 100 ? whole(c.mean) : Number(c.mean.toPrecision(2)))) },
        { head: "1 in 100", end: true, cell: (c) => least(c, whole(c.p99)) },
        { head: "Runs", cell: (c) => <span class="small">{endings(c)}</span> },
        { head: "After", end: true, cell: (c) => (c.stopped > 0 ? span(c.minutes * 60_000) : "–") },
      ]} />
      <p class="soft small">
        Harmed: on average; 1 in 100: what one run of a hundred comes to or passes. Stopped: the breaker tripped, or held a part of the fleet; after: on average until then.
        {ice ? " Frozen: growth was frozen, and a person says whether it goes on." : ""}{some ? " At least: some runs went on to the end of the play, and what they harm after it is not counted." : ""}
      </p>
    </>
  );
}
