// The build with the WebAssembly module inside: ready as soon as it is evaluated.

import { common, text } from 'wasm:text';
import { initSync } from '../build/rtc_cafe_web.js';

/** Undoes `textOf` of `scripts/build.mjs`. */
function bytesOf(): Uint8Array<ArrayBuffer> {
  const order = [...new Set([...common, ...Array(256).keys()])];
  const index = new Map<string, number>();
  for (let code = 32; code < 127; code++) {
    const char = String.fromCharCode(code);
    if (!"\\`$'~<".includes(char)) index.set(char, index.size);
  }
  const bytes: number[] = [];
  let offset = 0;
  for (const char of text) {
    const at = index.get(char);
    if (at === undefined) offset = char === '~' ? 88 : 176;
    else {
      bytes.push(order[offset + at] ?? 0);
      offset = 0;
    }
  }
  return new Uint8Array(bytes);
}

initSync({ module: bytesOf() });

export * from './index.js';
