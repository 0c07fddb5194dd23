import type { ComponentChildren } from "preact";
import type { Failure } from "../client";
import { sentence } from "../format";
import { Icon } from "./icon";

/** Loading stands where something will be. It shows itself only after a moment: what is quick does not flicker. */
export function Loading({ what }: { what: string }) {
  return <div class="state loading" role="status"><span class="pulse" aria-hidden="true" />Loading {what}…</div>;
}

/** Empty says that there is nothing, and what to do if that is a surprise. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return <div class="state empty"><p class="state-title">{title}</p>{children ? <div class="soft">{children}</div> : null}</div>;
}

/** Failed says what could not be done, why, and what to do. With again it offers to try. */
export function Failed({ failure, what, again }: { failure: Failure; what?: string; again?: () => void }) {
  const starting = failure.status === 503;
  return (
    <div class={`state failed ${starting ? "starting" : ""}`} role="alert">
      <p class="state-title"><Icon shape={starting ? "asked" : "amber"} /> {what ? `${what}: ${failure.title}` : sentence(failure.title)}</p>
      <p>{sentence(failure.detail)} {failure.next ? sentence(failure.next) : null}</p>
      {failure.problems.length > 0 ? <ul>{failure.problems.map((p) => <li key={p.path + p.message}><code>{p.path}</code> {p.message}</li>)}</ul> : null}
      <p class="state-actions">
        {again ? <button type="button" onClick={again}>Try again</button> : null}
        {failure.passing && again ? <span class="soft">It is tried again by itself.</span> : null}
        {failure.request ? <span class="soft small">request <code>{failure.request}</code></span> : null}
      </p>
    </div>
  );
}

/** Old stands above what is shown of a while ago: the newest could not be had. */
export function Old({ why, children }: { why: string; children?: ComponentChildren }) {
  return <p class="old" role="status"><Icon shape="amber" /> {sentence(why)} {children}</p>;
}

/**
 * Shown draws what is loaded: the value if there is one (with a note if it is old), else why there is none. It is the one way in which pages
 * show loading and failing.
 */
export function Shown<T>({ of, what, children }: { of: { value?: T | undefined; failure?: Failure | undefined; again: () => void }; what: string; children: (value: T) => ComponentChildren }) {
  if (of.value === undefined) return of.failure ? <Failed failure={of.failure} what={`Cannot show ${what}`} again={of.again} /> : <Loading what={what} />;
  return <>{of.failure ? <Old why={`this is of a while ago: ${of.failure.detail}`} /> : null}{children(of.value)}</>;
}
