// The build with the WebAssembly module inside: ready as soon as it is evaluated.

import { inflateSync } from 'fflate';
import deflated from 'wasm:deflated';
import { initSync } from '../build/rtc_cafe_web.js';

const bytes = Uint8Array.from(atob(deflated), (char) => char.charCodeAt(0));
initSync({ module: inflateSync(bytes) as Uint8Array<ArrayBuffer> });

export * from './index.js';
