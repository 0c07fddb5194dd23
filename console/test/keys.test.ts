import { describe, expect, test } from "vitest";
import { name, sequences, typing, type Binding, type Pressed } from "../src/keys";

const press = (key: string, more: Partial<Pressed> = {}): Pressed => ({ key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...more });
const bindings: Binding[] = ["Shift+H", "g o", "g h", "h", "/", "?"].map((keys) => ({ keys, does: keys, run: () => undefined }));

describe("keys", () => {
  test("names", () => {
    expect([name(press("H", { shiftKey: true })), name(press("h")), name(press("?", { shiftKey: true })), name(press("H"))]).toEqual(["Shift+H", "h", "?", "h"]);
  });
  test("sequences, and single keys between them", () => {
    const find = sequences(() => bindings);
    expect(find(press("g"), 0)).toBeUndefined();
    expect(find(press("h"), 100)?.keys).toBe("g h");
    expect(find(press("h"), 200)?.keys).toBe("h"); // the sequence is over
    expect(find(press("g"), 300)).toBeUndefined();
    expect(find(press("Shift", { shiftKey: true }), 350)).toBeUndefined();
    expect(find(press("H", { shiftKey: true }), 400)?.keys).toBe("Shift+H"); // a halt is a halt in the middle of anything
    expect(find(press("g"), 500)).toBeUndefined();
    expect(find(press("o"), 5000)).toBeUndefined(); // too late
  });
  test("modifiers and repeats are not ours", () => {
    const find = sequences(() => bindings);
    expect(find(press("h", { ctrlKey: true }), 0)).toBeUndefined();
    expect(find(press("H", { shiftKey: true, repeat: true }), 0)).toBeUndefined();
  });
  test("typing", () => {
    const element = (selector: string) => ({ isContentEditable: false, matches: (s: string) => s.split(", ").includes(selector) }) as unknown as EventTarget;
    expect(typing(element("textarea"))).toBe(true);
    expect(typing(element("button"))).toBe(false);
    expect(typing(null)).toBe(false);
  });
});
