// The design system, in one import.

export { AlarmBadge, Badge, OutcomeBadge, PhaseBadge, type Tone } from "./badge";
export { Chart, type Line, type Series } from "./chart";
export { Code, Copy } from "./copy";
export { Dialog } from "./dialog";
export { Field, FormFailure, problemOf, Select, TextArea, useSending } from "./form";
export { Icon, type Shape } from "./icon";
export { Gauge, Meter, type Part } from "./meter";
export { Figure, Figures, Num } from "./number";
export { Facts, Page, Section } from "./page";
export { Empty, Failed, Loading, Old, Shown } from "./state";
export { Table, type Column } from "./table";
export { Since, When } from "./time";
export { announce, toast } from "./toast";
