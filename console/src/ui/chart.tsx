import { useEffect, useId, useRef, useState } from "preact/hooks";
import type uPlot from "uplot";
import { compact, local, utc } from "../format";
import { inUTC, now } from "../now";
import { theme } from "../theme";
import { announce } from "./toast";

/** Series is a line of a chart. Values go with the chart's times; null is a gap. */
export interface Series {
  name: string;
  values: readonly (number | null)[];
  kind: "good" | "busy" | "harm" | "amber" | "idle" | "accent"; // decides the colour
  step?: boolean; // it holds its value until the next one
  fill?: boolean;
}

/** Line is a level that matters: amber, trip. */
export interface Line { at: number; name: string; kind: "amber" | "harm" }

interface Props {
  title: string;
  times: readonly number[]; // milliseconds, ascending
  series: readonly Series[];
  lines?: readonly Line[];
  log?: boolean;
  height?: number;
  write?: (value: number) => string; // how a value is written
  note?: string;
}

const shapes = ["circle", "square", "triangle", "diamond", "cross", "bar"] as const;
type Mark = (typeof shapes)[number];
const dashes: number[][] = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 4], [1, 4]];

/** trace puts the outline of a marker into a path. */
function trace(mark: Mark, x: number, y: number, r: number): Path2D {
  const p = new Path2D();
  const to = (points: readonly (readonly [number, number])[]): void => {
    points.forEach(([dx, dy], i) => (i === 0 ? p.moveTo(x + dx * r, y + dy * r) : p.lineTo(x + dx * r, y + dy * r)));
    p.closePath();
  };
  switch (mark) {
    case "circle": p.arc(x, y, r, 0, 2 * Math.PI); break;
    case "square": to([[-1, -1], [1, -1], [1, 1], [-1, 1]]); break;
    case "triangle": to([[0, -1.2], [1.1, 0.9], [-1.1, 0.9]]); break;
    case "diamond": to([[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]]); break;
    case "cross": to([[-1.1, -0.4], [-0.4, -0.4], [-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4]]); break;
    case "bar": to([[-1.3, -0.4], [1.3, -0.4], [1.3, 0.4], [-1.3, 0.4]]); break;
  }
  return p;
}

const marks: Record<Mark, string> = {
  circle: "M6 2a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z", square: "M2 2h8v8H2Z", triangle: "M6 1.5 10.5 10h-9Z", diamond: "M6 1l5 5-5 5-5-5Z",
  cross: "M4.5 1.5h3v3h3v3h-3v3h-3v-3h-3v-3h3Z", bar: "M1 4.5h10v3H1Z",
};

/** summary says a chart in a sentence. Exported for its test. */
export function summary(times: readonly number[], series: readonly Series[], write: (v: number) => string): string {
  if (times.length === 0) return "no data";
  const ends = series.map((s) => {
    const known = s.values.filter((v): v is number => v !== null);
    return known.length === 0 ? `${s.name}: no data` : `${s.name}: ${write(known[known.length - 1]!)} at the end, ${write(Math.max(...known))} at most`;
  });
  return ends.join("; ");
}

/**
 * Chart draws lines over time. Series differ by dashes and markers as well as by colour, the table beside it says the same in numbers, and
 * its summary is what a screen reader gets.
 */
export function Chart({ title, times, series, lines = [], log, height = 200, write = compact, note }: Props) {
  const [asTable, setTable] = useState(false);
  const id = useId();
  const text = summary(times, series, write);
  return (
    <figure class="chart" aria-labelledby={id}>
      <figcaption id={id}>
        <span class="chart-title">{title}</span>
        <button type="button" class="bare small" aria-pressed={asTable} onClick={() => { setTable(!asTable); announce(asTable ? "chart shown" : "table shown"); }}>
          {asTable ? "chart" : "table"}<span class="hidden"> of {title}</span>
        </button>
      </figcaption>
      {times.length === 0 ? <p class="soft chart-none">Nothing has been noted yet.</p>
        : asTable ? <Numbers {...{ title, times, series, write }} />
        : <Canvas {...{ title, times, series, lines, height, write }} log={log ?? false} text={text} />}
      <div class="legend">
        {series.map((s, i) => (
          <span key={s.name} class={`legend-item ink-${s.kind}`}>
            <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true"><path d={marks[shapes[i % shapes.length]!]} /></svg> {s.name}
          </span>
        ))}
        {lines.map((l) => <span key={l.name} class={`legend-item ink-${l.kind}`}><svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true"><path d="M0 5h4v2H0zM7 5h5v2H7z" /></svg> {l.name} {write(l.at)}</span>)}
      </div>
      {note ? <p class="soft small">{note}</p> : null}
    </figure>
  );
}

function Numbers({ title, times, series, write }: Pick<Props, "title" | "times" | "series"> & { write: (v: number) => string }) {
  const step = Math.max(1, Math.ceil(times.length / 200));
  const rows = times.map((at, i) => [at, i] as const).filter(([, i]) => i % step === 0 || i === times.length - 1);
  return (
    <div class="chart-table" tabIndex={0} role="region" aria-label={`${title}, as a table`}>
      <table>
        <thead><tr><th scope="col">time</th>{series.map((s) => <th key={s.name} scope="col" class="end">{s.name}</th>)}</tr></thead>
        <tbody>
          {rows.map(([at, i]) => (
            <tr key={i}>
              <th scope="row"><time dateTime={new Date(at).toISOString()} title={utc(new Date(at))}>{inUTC.value ? utc(new Date(at)) : local(new Date(at), new Date(now.peek()))}</time></th>
              {series.map((s) => <td key={s.name} class="end nums">{s.values[i] === null || s.values[i] === undefined ? "" : write(s.values[i]!)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
      {step > 1 ? <p class="soft small">Every {step}th of {times.length} points.</p> : null}
    </div>
  );
}

type CanvasProps = Required<Pick<Props, "title" | "times" | "series" | "lines" | "log" | "height">> & { write: (v: number) => string; text: string };

function Canvas({ title, times, series, lines, log, height, write, text }: CanvasProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const shown = theme.value;
  const zone = inUTC.value;
  // The shape of the chart: data may come without drawing it anew.
  const shape = JSON.stringify([shown, zone, log, height, lines, series.map((s) => [s.name, s.kind, s.step, s.fill])]);
  const data = (): uPlot.AlignedData => [times.map((t) => t / 1000), ...series.map((s) => s.values.map((v) => (v !== null && log && v <= 0 ? 1e-3 : v)))] as uPlot.AlignedData;
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    let gone = false;
    let watcher: ResizeObserver | undefined;
    void import("uplot").then(({ default: UPlot }) => {
      const into = box.current;
      if (gone || !into) return;
      const made = new UPlot(options({ series, lines, log, height, write, width: into.clientWidth, utc: zone }, UPlot), latest.current(), into);
      plot.current = made;
      watcher = new ResizeObserver(() => made.setSize({ width: into.clientWidth, height }));
      watcher.observe(into);
    });
    return () => { gone = true; watcher?.disconnect(); plot.current?.destroy(); plot.current = undefined; };
  }, [shape]);
  useEffect(() => { plot.current?.setData(latest.current()); }, [times, series]);
  return <div class="chart-canvas" ref={box} role="img" aria-label={`${title}. ${text}`} style={{ height: `${height}px` }} />;
}

interface Drawn { series: readonly Series[]; lines: readonly Line[]; log: boolean; height: number; width: number; utc: boolean; write: (v: number) => string }

function options(c: Drawn, UPlot: typeof uPlot): uPlot.Options {
  const css = getComputedStyle(document.documentElement);
  const ink = (name: string): string => css.getPropertyValue(`--${name}`).trim();
  const axis: uPlot.Axis = {
    stroke: ink("soft"), font: "11px system-ui, sans-serif", grid: { stroke: ink("line"), width: 1 }, ticks: { stroke: ink("line"), width: 1, size: 4 },
  };
  const top = Math.max(...c.lines.map((l) => l.at), 0);
  return {
    width: c.width, height: c.height, padding: [8, 18, 0, 0], legend: { show: false }, cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    ...(c.utc ? { tzDate: (ts: number) => UPlot.tzDate(new Date(ts * 1000), "UTC") } : {}),
    scales: {
      x: { time: true, range: (_, min, max) => (max > min ? [min, max] : [min - 60, max + 60]) }, // a single moment has a minute on both sides
      y: c.log ? { distr: 3, range: (_, min, max) => [Math.min(min || 0.1, 0.1), Math.max(max || 1, top) * 4] }
        : { range: (_, __, max) => [0, Math.max(max || 1, top, 1) * 1.08] },
    },
    axes: [
      { ...axis, space: 64, values: stamps(c.utc) },
      { ...axis, size: 52, ...(c.log ? { splits: (_: uPlot, __: number, min: number, max: number) => powers(min, max) } : { incrs: wholes }), values: (_, ticks) => ticks.map((t) => (t === null ? "" : c.log ? power(t) : compactTick(t))) },
    ],
    series: [{}, ...c.series.map((s, i): uPlot.Series => ({
      label: s.name, stroke: ink(s.kind), width: 1.75, dash: dashes[i % dashes.length]!, spanGaps: false, points: { show: false },
      ...(s.step ? { paths: UPlot.paths.stepped!({ align: 1 }) } : {}), ...(s.fill ? { fill: ink(s.kind) + "22" } : {}),
    }))],
    hooks: { draw: [(u) => { levels(u, c.lines, ink); markers(u, c.series, ink); }] },
  };
}

const two = (n: number): string => String(n).padStart(2, "0");

/** stamps writes the times under a chart: the day where it begins, 24 hours. */
function stamps(utcTimes: boolean): uPlot.Axis.DynamicValues {
  let day = "";
  return (_, ticks, __, ___, increment) => {
    day = "";
    return ticks.map((t) => {
      const d = new Date(t * 1000);
      const [month, date, hour, minute, second] = utcTimes
        ? [d.getUTCMonth() + 1, d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds()]
        : [d.getMonth() + 1, d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds()];
      const on = `${two(month)}-${two(date)}`;
      if (increment >= 86_400) return on;
      const clock = `${two(hour)}:${two(minute)}${increment < 60 ? ":" + two(second) : ""}${increment < 1 ? (t % 1).toFixed(1).slice(1) : ""}`;
      const first = day !== "" && day !== on;
      day = on;
      return first ? `${clock}\n${on}` : clock;
    });
  };
}

const compactTick = (t: number): string => (Number.isInteger(t) || t >= 10 ? compact(t) : String(Number(t.toPrecision(2))));

/** wholes are the steps of an axis that counts hosts. */
const wholes = Array.from({ length: 10 }, (_, p) => [1, 2, 5].map((n) => n * 10 ** p)).flat();

/** powers are the powers of ten in a range, few enough to be read. */
function powers(min: number, max: number): number[] {
  const [from, to] = [Math.ceil(Math.log10(min) - 1e-9), Math.floor(Math.log10(max) + 1e-9)];
  const step = Math.max(1, Math.ceil((to - from) / 6));
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => 10 ** (from + i * step));
}

function power(t: number): string {
  const p = Math.round(Math.log10(t));
  if (Math.abs(Math.log10(t) - p) > 0.01) return "";
  return p >= -1 && p <= 4 ? String(Number(t.toPrecision(1))) : `1e${p}`;
}

function levels(u: uPlot, lines: readonly Line[], ink: (name: string) => string): void {
  const { ctx, bbox } = u;
  for (const l of lines) {
    const y = u.valToPos(l.at, "y", true);
    if (!Number.isFinite(y) || y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = ink(l.kind);
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.fillText(l.name, bbox.left + 4 * devicePixelRatio, y - 4 * devicePixelRatio);
    ctx.restore();
  }
}

/** markers puts a few marks on each line, and one on its last point. */
function markers(u: uPlot, series: readonly Series[], ink: (name: string) => string): void {
  const { ctx, bbox } = u;
  const xs = u.data[0]!;
  series.forEach((s, i) => {
    const ys = u.data[i + 1]!;
    const every = Math.max(1, Math.floor(xs.length / 6));
    ctx.save();
    ctx.fillStyle = ink(s.kind);
    for (let k = xs.length - 1; k >= 0; k--) {
      const y = ys[k];
      if (y === null || y === undefined || (k !== xs.length - 1 && (k + i * 2) % every !== 0)) continue;
      const [px, py] = [u.valToPos(xs[k]!, "x", true), u.valToPos(y, "y", true)];
      if (px >= bbox.left - 1 && px <= bbox.left + bbox.width + 1) ctx.fill(trace(shapes[i % shapes.length]!, px, py, 3.4 * devicePixelRatio));
    }
    ctx.restore();
  });
}
