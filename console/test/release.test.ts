import { expect, test } from "vitest";
import { artifactOf, readManifest } from "../src/release";

const document = {
  kind: "content", floor: 3, contract: { schema: "sha256:ab", fields: 21 }, plan: { name: "x" },
  artifacts: [{ platform: "any", format: "tar", name: "rules.tar", digest: "sha256:1", size: 10 }, { platform: "linux/arm64", format: "tar", name: "r", digest: "sha256:2", size: 9 }, null],
};

test("a manifest is read", () => {
  const m = readManifest(document)!;
  expect(m.artifacts.map((a) => a.platform)).toEqual(["any", "linux/arm64"]);
  expect(m.contract).toEqual([["schema", "sha256:ab"], ["fields", "21"]]);
  expect([m.kind, m.floor]).toEqual(["content", 3]);
});
test("what is no manifest is none, and what is missing is empty", () => {
  for (const bad of [undefined, null, 7, "x"]) expect(readManifest(bad)).toBeUndefined();
  expect(readManifest({ artifacts: "x", contract: ["y"] })).toEqual({ kind: "", floor: 0, artifacts: [], contract: [], plan: undefined });
});
test("a verdict names what it looked at", () => {
  const m = readManifest(document);
  expect(["sha256:1", "sha256:2", "sha256:9", undefined].map((d) => artifactOf(m, d))).toEqual(["every platform", "linux/arm64", "an artifact that the manifest does not name", "the release"]);
});
