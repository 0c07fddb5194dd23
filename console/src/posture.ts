// What a host could survive alone, word by word.

import type { operations } from "./api";

/** PostureWord is a word that hosts are searched by. */
export type PostureWord = NonNullable<NonNullable<operations["listEndpoints"]["parameters"]["query"]>["lacks"]>[number];

/** postures are all words, with what a host has that has it, and what one needs that misses it. */
export const postures: { readonly [W in PostureWord]: { readonly has: string; readonly cure: string } } = {
  "panic-reboot": { has: "a kernel that panics reboots", cure: "set kernel.panic to 10 in /etc/sysctl.d" },
  "panic-early": { has: "it does so before any settings are read", cure: "add panic=10 to the kernel command line" },
  watchdog: { has: "a watchdog is armed", cure: "set RuntimeWatchdogSec=30s in /etc/systemd/system.conf" },
  "watchdog-hardware": { has: "the watchdog is no software of the kernel that it watches", cure: "give the host a watchdog of its hardware or its hypervisor" },
  deadline: { has: "a boot that gets stuck is ended", cure: "enable firebreak-deadline.timer" },
  guard: { has: "the boot guard ran in this boot", cure: "install firebreak-guard, enable firebreak-guard.service and reboot" },
  "guard-early": { has: "the boot guard ran in the initramfs as well", cure: "renew the initramfs with firebreak-guard in it and reboot" },
  "guard-enabled": { has: "nobody has switched the boot guard off", cure: "remove the guard's file 'disabled', and firebreak.disable from the kernel command line" },
  good: { has: "each component has a release to go back to", cure: "see what 'firebreak-guard status' says about the components" },
  space: { has: "there is room for what starts after going back", cure: "free some space where the agent keeps its state" },
  launcher: { has: "the agent runs under the launcher, which goes back to a good agent", cure: "start the agent by firebreak-agent.service of the package" },
};

/** words are all words of posture, in the order in which people are told. */
export const words = Object.keys(postures) as PostureWord[];

/** vital are the words without which a host that panics in every boot stays down until a person comes. */
export const vital: ReadonlySet<string> = new Set<PostureWord>(["panic-reboot", "guard", "guard-enabled", "good"]);

/** atRisk tells whether a boot loop of a host needs hands. One that has said nothing misses all. */
export const atRisk = (posture: { missing?: string[] } | undefined): boolean => posture === undefined || (posture.missing ?? []).some((w) => vital.has(w));
