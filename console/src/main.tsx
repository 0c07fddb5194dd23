import { render } from "preact";
import { openHalt } from "./haltpanel";
import { startKeys, type Binding } from "./keys";
import { startLive } from "./live";
import { inUTC, startNow } from "./now";
import { go, href, startRouter } from "./router";
import { helpOpen, Shell, ways } from "./shell";
import { startTheme } from "./theme";
import { announce } from "./ui";

function search(): void {
  const field = document.querySelector<HTMLElement>("main [data-search]");
  if (field) field.focus();
  else go(href("/fleet", undefined, { find: "1" }));
}

const keys: readonly Binding[] = [
  { keys: "Shift+H", does: "open the halt panel", run: openHalt },
  ...ways.map(([name, to, key]) => ({ keys: `g ${key}`, does: `go to ${name}`, run: () => go(href(to as "/")) })),
  { keys: "/", does: "search", run: search },
  { keys: "u", does: "show times in UTC, or in your zone", run: () => { inUTC.value = !inUTC.value; announce(inUTC.value ? "times in UTC" : "times in your zone"); } },
  { keys: "?", does: "show these keys", run: () => { helpOpen.value = true; } },
];

startTheme();
startNow();
startRouter();
startKeys(() => keys);
startLive();
render(<Shell bindings={() => keys} />, document.getElementById("app")!);
