import { useEffect, useState } from "preact/hooks";
import type { FieldProblem, PlanCheck, StoredPlan } from "./api";
import { api, tagOf } from "./client";
import { count, whole } from "./format";
import * as links from "./links";
import { useLoad } from "./load";
import { readPlan, specOf } from "./plan";
import { Bound, PlanCalendar, PlanChanges, PlanRings, PlanRules } from "./planview";
import { go } from "./router";
import { Badge, Failed, FormFailure, Loading, Table, TextArea, toast, useSending, When } from "./ui";

const largest = 1 << 20; // bytes of a document that the control plane takes

/** CheckPlan is where somebody writes a plan, sees what is wrong with it or what it does, and stores it. */
export function CheckPlan({ begin }: { begin?: unknown }) {
  const [text, setText] = useState("");
  const [checked, setChecked] = useState<{ text: string; check: PlanCheck }>();
  const form = useSending();
  useEffect(() => { if (begin !== undefined) setText((t) => (t === "" ? JSON.stringify(begin, null, 2) : t)); }, [begin]);
  const size = text.length > largest / 4 ? new Blob([text]).size : 0;
  const wrong = size > largest ? `has ${whole(size)} bytes; ${whole(largest)} is the most` : undefined;
  const check = async (e: Event): Promise<void> => {
    e.preventDefault();
    await form.send(async () => { setChecked({ text, check: await api.post("/api/v1/plans/check", { text: specOf(text) }) }); });
  };
  const load = async (e: Event & { currentTarget: HTMLInputElement }): Promise<void> => {
    const file = e.currentTarget.files?.[0];
    if (file) setText(await file.slice(0, largest + 4).text());
  };
  const problems = checked?.check.problems ?? [];
  return (
    <>
      <form class="plan-check" onSubmit={(e) => void check(e)}>
        <TextArea label="Plan" value={text} onValue={setText} rows={14} wrong={wrong} hint="YAML or JSON: a file as 'firebreak plan check' takes it, or the plan alone. Nothing is stored by checking." />
        <div class="row">
          <button type="submit" class="primary" disabled={form.busy || text.trim() === "" || wrong !== undefined}>{form.busy ? "Checking…" : "Check"}</button>
          <label class="small">or take a file: <input type="file" accept=".yaml,.yml,.json,application/json,application/yaml" onChange={(e) => void load(e)} /></label>
        </div>
        <FormFailure failure={form.failure} shown={[]} what="It could not be checked" />
      </form>
      {checked ? (
        <div class="plan-more" aria-live="polite">
          {checked.text !== text ? <p class="old">It was changed since it was checked: check it again.</p> : null}
          {problems.length > 0 ? <Mistakes problems={problems} text={checked.text} /> : <Good check={checked.check} old={checked.text !== text} />}
        </div>
      ) : null}
    </>
  );
}

function Mistakes({ problems, text }: { problems: readonly FieldProblem[]; text: string }) {
  const lines = text.split("\n");
  return (
    <>
      <p><Badge tone="harm">{count(problems.length, "mistake")}</Badge></p>
      <Table label="Mistakes" rows={problems.map((p, i) => ({ ...p, i }))} id={(p) => String(p.i)} empty="" columns={[
        { head: "Where", lead: true, cell: (p) => <code class="long">{p.path || "the document"}</code> },
        { head: "What", cell: (p) => <span class="long">{p.message}{p.line && lines[p.line - 1]?.trim() ? <code class="plan-line small">{lines[p.line - 1]!.slice(0, 160)}</code> : null}</span> },
        { head: "Line", end: true, cell: (p) => (p.line ? whole(p.line) : <span class="soft">–</span>) },
      ]} />
    </>
  );
}

function Good({ check, old }: { check: PlanCheck; old: boolean }) {
  const plan = readPlan(check.plan);
  if (!plan) return <p class="soft">The control plane answered with a plan that this console cannot draw.</p>;
  return (
    <>
      <h3><Badge tone="good">valid</Badge> {plan.name || "without a name"}</h3>
      <div class="stack plan-more">
        <PlanRings plan={plan} />
        <Bound check={check} />
        <PlanRules plan={plan} />
        <PlanCalendar plan={plan} />
        <Store document={check.plan} name={plan.name} old={old} />
      </div>
    </>
  );
}

/** Store stores a checked plan. It says what changes, and refuses to write over what was not seen. */
function Store({ document, name, old }: { document: unknown; name: string; old: boolean }) {
  const form = useSending();
  const there = useLoad<StoredPlan | null>(`stored plan ${name}`, (signal) => api.get("/api/v1/plans/{name}", { path: { name }, signal }).catch((e: { status?: number }) => {
    if (e.status === 404) return null;
    throw e;
  }));
  const has = there.value;
  const store = async (e: Event): Promise<void> => {
    e.preventDefault();
    const tag = has ? tagOf(has) : undefined;
    const headers: Record<string, string> = has ? (tag ? { "If-Match": tag } : {}) : { "If-None-Match": "*" };
    if (await form.send(async () => { await api.put("/api/v1/plans/{name}", { path: { name }, body: document, headers }); })) {
      toast(`plan ${name} is stored`);
      go(links.plan(name));
    } else {
      there.again(); // if somebody else stored another one, what changes is not what was shown
    }
  };
  return (
    <form onSubmit={(e) => void store(e)} aria-label="Store the plan">
      <h3>Store it</h3>
      {has === undefined ? (there.failure ? <Failed failure={there.failure} what="Cannot tell what changes" again={there.again} /> : <Loading what="what is stored" />)
        : has === null ? <p>There is no plan {name} yet: it is added.</p>
          : <><p>Plan <a href={links.plan(name)}>{name}</a> is stored already, since <When at={has.updated} form="both" />. What changes:</p><PlanChanges before={has.plan} after={document} heads={["Stored", "Yours"]} /></>}
      <p class="soft small">Rollouts under way keep the plan that is frozen into them, and releases the one that is signed with them. New rollouts that name it take the new one.</p>
      <FormFailure failure={form.failure} shown={[]} what="Nothing was stored" />
      {form.failure?.conflict ? <p>What changes against what is stored now is shown above. Look at it before you store yours.</p> : null}
      <button type="submit" class="primary" disabled={form.busy || old || has === undefined}>{form.busy ? "Storing…" : has ? `Replace plan ${name}` : `Store plan ${name}`}</button>
    </form>
  );
}
