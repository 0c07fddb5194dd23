// What people do with the console, done in a real browser. What only waits goes on beside what only works.

import { after, describe, test } from "node:test";
import { endedMeanwhile, planeStops, sessionEnds, slowDatabase, twoAtOnce } from "./against.js";
import { badRelease } from "./bad.js";
import { halting, signingIn, watching } from "./everyday.js";
import { inCommands, inFields, inNames, inTokens } from "./hostile.js";
import { dark, keyboardAlone, light, unknown } from "./looks.js";
import { leave, type Walk } from "./person.js";

const go = (w: Walk): void => void test(w.name, w.go);

go(signingIn);
describe("while a rollout goes on", { concurrency: 3 }, () => [watching, inFields, inTokens, unknown, keyboardAlone].forEach(go));
[halting, badRelease].forEach(go);
describe("looking", { concurrency: 3 }, () => [light, dark, inCommands].forEach(go));
[inNames, twoAtOnce, endedMeanwhile, sessionEnds, planeStops, slowDatabase].forEach(go);
after(leave);
