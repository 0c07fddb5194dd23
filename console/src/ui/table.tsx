import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Failure } from "../client";
import { count, whole } from "../format";
import { Empty, Failed, Loading } from "./state";

/** Column is a column of a Table. On a phone a row becomes a card, and head stands before the cell. */
export interface Column<R> {
  head: string;
  cell: (row: R) => ComponentChildren;
  end?: boolean; // numbers: aligned at their end
  sort?: (a: R, b: R) => number; // the rows that are loaded can be sorted by it
  lead?: boolean; // heads the card on a phone; the row's header for a screen reader
}

/** Props of a Table. Either rows alone, or what useList gave. */
export interface TableProps<R> {
  label: string; // what the table lists, for its caption
  columns: readonly Column<R>[];
  rows: readonly R[];
  id: (row: R) => string;
  empty: ComponentChildren; // what is said when there is nothing
  noun?: [one: string, many: string];
  list?: { next?: string | undefined; loading: boolean; failure?: Failure | undefined; more: () => void; again: () => void };
  rowClass?: (row: R) => string;
}

/** Table lists rows; long lists are loaded on by "More". */
export function Table<R>({ label, columns, rows, id, empty, noun = ["row", "rows"], list, rowClass }: TableProps<R>) {
  const [by, sortBy] = useState<{ column: number; down: boolean } | null>(null);
  if (rows.length === 0 && list?.failure) return <Failed failure={list.failure} what={`Cannot list ${label.toLowerCase()}`} again={list.again} />;
  if (rows.length === 0 && list?.loading) return <Loading what={label.toLowerCase()} />;
  if (rows.length === 0 && !list?.next) return typeof empty === "string" ? <Empty title={empty} /> : <>{empty}</>;
  const order = by === null ? undefined : columns[by.column]?.sort;
  const shown = order ? [...rows].sort((a, b) => (by!.down ? -order(a, b) : order(a, b))) : rows;
  return (
    <div class="table-box">
      <table role="table">
        <caption class="hidden">{label}{order && list?.next ? `, sorted among the ${whole(rows.length)} that are loaded` : ""}</caption>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((c, i) => (
              <th key={c.head} role="columnheader" scope="col" class={c.end ? "end" : ""} aria-sort={by?.column === i ? (by.down ? "descending" : "ascending") : undefined}>
                {c.sort ? (
                  <button type="button" class="sort" onClick={() => sortBy(by?.column !== i ? { column: i, down: c.end ?? false } : { column: i, down: !by.down })}>
                    {c.head}<span aria-hidden="true">{by?.column === i ? (by.down ? " ↓" : " ↑") : ""}</span>
                  </button>
                ) : c.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {shown.map((row) => (
            <tr key={id(row)} role="row" class={rowClass?.(row) ?? ""}>
              {columns.map((c) => {
                const cls = [c.end ? "end" : "", c.lead ? "cell-lead" : ""].join(" ");
                return c.lead
                  ? <th key={c.head} role="rowheader" scope="row" class={cls} data-head={c.head}><span class="cell">{c.cell(row)}</span></th>
                  : <td key={c.head} role="cell" class={cls} data-head={c.head}><span class="cell">{c.cell(row)}</span></td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {list ? <More shown={rows.length} noun={noun} list={list} /> : null}
    </div>
  );
}

function More({ shown, noun, list }: { shown: number; noun: [string, string]; list: NonNullable<TableProps<unknown>["list"]> }) {
  return (
    <div class="more">
      {list.failure ? <Failed failure={list.failure} what="Cannot load on" again={list.next ? list.more : list.again} /> : null}
      <span class="soft" role="status">{count(shown, noun[0], noun[1])} shown{list.next ? ", there are more" : ""}</span>
      {list.next ? <button type="button" disabled={list.loading} onClick={list.more}>{list.loading ? "Loading…" : "More"}</button> : null}
    </div>
  );
}
