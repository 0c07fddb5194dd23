/** Json is a value as JSON.parse makes it. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const isObject = (v: unknown): v is { [key: string]: Json } => typeof v === "object" && v !== null && !Array.isArray(v);

/**
 * merge applies a JSON merge patch (RFC 7396). It changes neither of its arguments, and what the patch does not name stays the same
 * object: whoever compares by identity sees what changed.
 */
export function merge(value: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  // No prototype: a patch that names "__proto__" gets a plain member of that name.
  const merged: { [key: string]: Json } = Object.assign(Object.create(null), isObject(value) ? value : {});
  for (const [key, change] of Object.entries(patch)) {
    if (change === null) delete merged[key];
    else merged[key] = merge(merged[key], change);
  }
  return merged;
}
