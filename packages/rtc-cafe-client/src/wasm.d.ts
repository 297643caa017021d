// The compressed WebAssembly module, in base64; `scripts/build.mjs` provides it.
declare module 'wasm:deflated' {
  const deflated: string;
  export default deflated;
}
