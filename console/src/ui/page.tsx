import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { arrived } from "../router";

let focused = 0; // the navigation whose page has had the focus

/**
 * Page is what every page is in: it sets the title of the tab, has the only h1, and takes the focus there after a navigation, so that a
 * screen reader begins with it.
 */
export function Page({ title, heading, lead, actions, children }: {
  title: string; // of the tab, and the heading's text
  heading?: ComponentChildren; // if the heading is more than the title
  lead?: ComponentChildren; // under the heading
  actions?: ComponentChildren; // beside it
  children: ComponentChildren;
}) {
  const head = useRef<HTMLHeadingElement>(null);
  useEffect(() => { document.title = title === "" ? "Firebreak" : `${title} · Firebreak`; }, [title]);
  const turn = arrived.value;
  useEffect(() => {
    if (turn !== focused) head.current?.focus({ preventScroll: true });
    focused = turn;
  }, [turn]);
  return (
    <>
      <div class="page-head">
        <div class="page-title">
          <h1 ref={head} tabIndex={-1}>{heading ?? title}</h1>
          {lead ? <div class="lead">{lead}</div> : null}
        </div>
        {actions ? <div class="actions">{actions}</div> : null}
      </div>
      {children}
    </>
  );
}

/** Section is a part of a page under its own heading. */
export function Section({ title, children, aside, id, wide }: { title: string; children: ComponentChildren; aside?: ComponentChildren; id?: string; wide?: boolean }) {
  const anchor = id ?? title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  return (
    <section class={wide ? "card wide" : "card"} aria-labelledby={"h-" + anchor} id={anchor}>
      <div class="card-head"><h2 id={"h-" + anchor}>{title}</h2>{aside ? <div class="card-aside">{aside}</div> : null}</div>
      {children}
    </section>
  );
}

/** Facts is a list of names and values; empty values are left out. */
export function Facts({ of }: { of: readonly (readonly [name: string, value: ComponentChildren])[] }) {
  return <dl class="facts">{of.filter(([, v]) => v !== undefined && v !== null && v !== "" && v !== false).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}
