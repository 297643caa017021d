// The build with the WebAssembly module beside it: ready when its import resolves.

import init from '../build/rtc_cafe_web.js';

await init({ module_or_path: new URL('./rtc_cafe_web_bg.wasm', import.meta.url) });

export * from './index.js';
