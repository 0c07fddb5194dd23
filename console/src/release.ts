// A release's manifest, read for people. Pure.

/** Artifact is one payload of a release. */
export interface Artifact { platform: string; format: string; name: string; digest: string; size: number }

/** Manifest is what the release keys signed. */
export interface Manifest { kind: string; floor: number; artifacts: Artifact[]; contract: [key: string, value: string][]; plan: unknown }

const most = 64; // artifacts of a release

/** readManifest reads the document of a release; undefined if there is none. What cannot be read is left out. */
export function readManifest(document: unknown): Manifest | undefined {
  const doc = document as Record<string, unknown> | null | undefined;
  if (typeof doc !== "object" || doc === null) return undefined;
  const object = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null && !Array.isArray(v);
  const artifacts = (Array.isArray(doc["artifacts"]) ? doc["artifacts"] : []).filter(object).slice(0, most).map((a) => ({
    platform: String(a["platform"] ?? ""), format: String(a["format"] ?? ""), name: String(a["name"] ?? ""), digest: String(a["digest"] ?? ""), size: Number(a["size"] ?? 0),
  }));
  const contract = object(doc["contract"]) ? Object.entries(doc["contract"]).map(([k, v]): [string, string] => [k, String(v)]) : [];
  return { kind: String(doc["kind"] ?? ""), floor: Number(doc["floor"] ?? 0), artifacts, contract, plan: doc["plan"] };
}

/** platformText writes whom an artifact is for. */
export const platformText = (a: Pick<Artifact, "platform">): string => (a.platform === "any" ? "every platform" : a.platform);

/** artifactOf finds what a verdict is about, in words: the platform of the artifact with that digest. */
export function artifactOf(m: Manifest | undefined, digest: string | undefined): string {
  if (!digest) return "the release";
  const found = m?.artifacts.filter((a) => a.digest === digest).map(platformText) ?? [];
  return found.length > 0 ? found.join(", ") : "an artifact that the manifest does not name";
}
