import type { StoredPlan } from "../api";
import { api } from "../client";
import { count } from "../format";
import * as links from "../links";
import { useList, useLoad } from "../load";
import type { PageProps } from "../pages";
import { readPlan } from "../plan";
import { CheckPlan } from "../plancheck";
import { BoundOf, Rings, useFleet } from "../planview";
import { setQuery } from "../router";
import { Badge, Code, Empty, Failed, Page, Section, Table, When } from "../ui";

/** PlansPage lists the stored plans, and checks and stores one. */
export default function PlansPage({ query }: PageProps) {
  const edit = query.get("edit") ?? "";
  const open = edit !== "" || query.has("check");
  const found = useList<StoredPlan>("plans", (after, signal) => api.get("/api/v1/plans", { query: { limit: 100, ...(after ? { after } : {}) }, signal }));
  const fleet = useFleet();
  const base = useLoad(edit ? `plan ${edit}` : null, (signal) => api.get("/api/v1/plans/{name}", { path: { name: edit }, signal }));
  return (
    <Page title="Plans" lead="How releases are rolled out: few before many, and what each ring must show before the next opens."
      actions={open ? undefined : <button type="button" class="primary" onClick={() => setQuery({ check: true })}>Check a plan</button>}>
      {open ? (
        <Section title={edit ? `Change plan ${edit}` : "Check a plan"} id="check" aside={<button type="button" class="bare" onClick={() => setQuery({ check: "", edit: "" })}>Close</button>}>
          {base.failure && !base.value ? <Failed failure={base.failure} what={`Cannot read plan ${edit}`} again={base.again} /> : null}
          <CheckPlan key={edit} begin={base.value?.plan} />
        </Section>
      ) : null}
      <Section title="Stored plans">
        <Table label="Stored plans" rows={found.items} id={(p) => p.name} list={found} noun={["plan", "plans"]}
          empty={<Empty title="There is no plan yet">Take one that comes with Firebreak and store it: <Code text="firebreak plan shipped content > content.yaml" what="the command that writes a plan" /> then <Code text="firebreak apply -f content.yaml" what="the command that stores it" />, or check one here.</Empty>}
          columns={[
            { head: "Plan", lead: true, sort: (a, b) => a.name.localeCompare(b.name), cell: (p) => <PlanName p={p} fleet={fleet} /> },
            { head: "Rings", end: true, sort: (a, b) => a.rings - b.rings, cell: (p) => <a class="nums" href={links.plan(p.name) + "#rings"} aria-label={`${count(p.rings, "ring")} of plan ${p.name}`}>{p.rings}</a> },
            { head: "Harms at most, on average", end: true, sort: (a, b) => a.bound - b.bound, cell: (p) => <BoundOf hosts={p.bound} plan={p.name} /> },
            { head: "Stored", cell: (p) => <When at={p.updated} quiet /> },
          ]} />
      </Section>
    </Page>
  );
}

function PlanName({ p, fleet }: { p: StoredPlan; fleet: number | undefined }) {
  const plan = readPlan(p.plan);
  return (
    <span class="row">
      {plan ? <Rings plan={plan} fleet={fleet} small /> : null}
      <a class="long" href={links.plan(p.name)}>{p.name}</a>
      {plan?.emergency ? <Badge tone="amber">emergency</Badge> : null}
    </span>
  );
}
