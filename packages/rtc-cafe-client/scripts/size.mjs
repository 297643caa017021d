// Fails when a page would load more than the budget, and prints what it is made of.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { bundle } from './bundle.mjs';

// 60 by design; what the rest is for is in docs/decisions/004-browser-backend.md.
const BUDGET = 70 * 1024;
const root = new URL('..', import.meta.url);
const read = (name) => readFile(new URL(name, root));
const gzip = (content) => gzipSync(content, { level: 9 }).length;
const kilobytes = (bytes) => `${(bytes / 1024).toFixed(1).padStart(6)} KB`;

/** What a library costs by itself. */
async function library(contents) {
  const stdin = { contents, resolveDir: fileURLToPath(root) };
  return gzip((await bundle({ stdin, format: 'esm' })).code);
}

const wasm = gzip(await read('dist/rtc_cafe_web_bg.wasm'));
const total = gzip(await read('dist/rtc-cafe-client.js'));
const external = gzip(await read('dist/rtc-cafe-client.external.js'));
const socketIo = await library("export { Manager } from 'socket.io-client'");
const glue = await library("export { Machine, initSync } from './build/rtc_cafe_web.js'");

console.log('gzip -9 of rtc-cafe-client.js');
console.log(`  ${kilobytes(wasm)}  WebAssembly`);
console.log(`  ${kilobytes(socketIo)}  socket.io-client`);
console.log(`  ${kilobytes(glue)}  wasm-bindgen's glue`);
console.log(`  ${kilobytes(external - socketIo - glue)}  TypeScript`);
console.log(`  ${kilobytes(total - external - wasm)}  WebAssembly as text`);

const pages = {
  'rtc-cafe-client.js': total,
  'rtc-cafe-client.global.js': gzip(await read('dist/rtc-cafe-client.global.js')),
  'rtc-cafe-client.external.js and its wasm': external + wasm,
};
for (const [name, bytes] of Object.entries(pages)) {
  const verdict = bytes <= BUDGET ? 'within' : 'OVER';
  console.log(`${kilobytes(bytes)}  ${name}: ${verdict} the budget of ${BUDGET / 1024} KB`);
  if (bytes > BUDGET) process.exitCode = 1;
}
