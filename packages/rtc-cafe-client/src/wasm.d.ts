// What `scripts/build.mjs` makes of the WebAssembly module.

declare module 'wasm:text' {
  export const common: number[];
  export const text: string;
}
