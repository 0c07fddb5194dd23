/// <reference types="vitest/config" />
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

const target = process.env["FIREBREAK_DEV_SERVER"] ?? "http://127.0.0.1:7070";

/** precompress puts a .br and a .gz beside every file that is worth it, so that the server never compresses. */
function precompress(): Plugin {
  let out = "";
  return {
    name: "precompress",
    apply: "build",
    configResolved: (config) => { out = config.build.outDir; },
    closeBundle() {
      for (const name of readdirSync(out, { recursive: true, encoding: "utf8" })) {
        if (!/\.(js|css|html|svg)$/.test(name)) continue;
        const data = readFileSync(join(out, name));
        if (data.length < 256) continue;
        writeFileSync(join(out, name + ".br"), brotliCompressSync(data, {
          params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length },
        }));
        writeFileSync(join(out, name + ".gz"), gzipSync(data, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  base: "/",
  publicDir: false,
  plugins: [precompress()],
  build: {
    outDir: process.env["FIREBREAK_CONSOLE_OUT"] ?? "../internal/control/web/dist",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    cssCodeSplit: false, // one stylesheet: a dozen small ones weigh a third more
    assetsInlineLimit: 0, // the content security policy has no data: for scripts and styles
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { port: 7071, strictPort: true, host: "127.0.0.1", proxy: { "/api": target } },
  test: { include: ["test/**/*.test.ts", "test/**/*.test.tsx"], environment: "node" },
});
