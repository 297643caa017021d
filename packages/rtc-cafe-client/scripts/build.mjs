// Builds dist/ from src/ and the WebAssembly module in build/.

import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { bundle } from './bundle.mjs';

const root = new URL('..', import.meta.url);
const path = (relative) => fileURLToPath(new URL(relative, root));
const wasm = path('build/rtc_cafe_web_bg.wasm');

/**
 * The WebAssembly module as text: the 88 most frequent bytes as one printable character each, the others behind a `~`
 * or a `'`. What repeats in the module repeats in the text, so that the server's compression works on it as on the module.
 */
function textOf(bytes) {
  const counts = new Array(256).fill(0);
  for (const byte of bytes) counts[byte]++;
  const common = [...counts.keys()].sort((a, b) => counts[b] - counts[a]).slice(0, 88);
  const order = [...common, ...[...counts.keys()].filter((byte) => !common.includes(byte))];
  const printable = [...Array(95).keys()].map((at) => String.fromCharCode(32 + at));
  const chars = printable.filter((char) => !"\\`$'~<".includes(char));
  const codes = [];
  for (const [at, byte] of order.entries()) codes[byte] = ['', '~', "'"][Math.floor(at / 88)] + chars[at % 88];
  return { common, text: Array.from(bytes, (byte) => codes[byte]).join('') };
}

const inlineWasm = {
  name: 'inline-wasm',
  setup(setup) {
    setup.onResolve({ filter: /^wasm:text$/ }, ({ path }) => ({ path, namespace: 'wasm' }));
    setup.onLoad({ filter: /.*/, namespace: 'wasm' }, async () => {
      return { contents: JSON.stringify(textOf(await readFile(wasm))), loader: 'json' };
    });
  },
};

const BANNER = '/*! rtc-cafe-client, MIT OR Apache-2.0; third parties: THIRD-PARTY-LICENSES.txt */';

/** The builds by name; the last one for a script tag, which makes one object of what the one before it exports. */
const builds = {
  'rtc-cafe-client.external.js': () => ({ entryPoints: ['src/wasm-external.ts'], format: 'esm' }),
  'rtc-cafe-client.js': () => ({ entryPoints: ['src/wasm-inline.ts'], format: 'esm' }),
  'rtc-cafe-client.global.js': (names) => {
    const contents = `import { ${names} } from './src/wasm-inline.ts'; globalThis.RTCCafe = { ${names} };`;
    return { stdin: { contents, resolveDir: path('.') }, format: 'iife' };
  },
};

/**
 * The declarations of all modules as one, in an order in which each follows what it uses. Names are unique over the
 * package, so that only the imports between the modules have to go.
 */
async function declarations() {
  const out = path('build/types');
  await rm(out, { recursive: true, force: true });
  const tsc = path('node_modules/typescript/bin/tsc');
  const args = ['--project', path('.'), '--declaration', '--emitDeclarationOnly', '--outDir', out];
  execFileSync(process.execPath, [tsc, ...args], { stdio: 'inherit' });
  const read = (name) => readFile(`${out}/src/${name}.d.ts`, 'utf8');
  const modules = await Promise.all(['errors', 'events', 'signaller', 'tracks', 'stats', 'report', 'client'].map(read));
  const exported = /^export (?=(?:declare|type|interface|class|abstract) )/gm;
  const imports = /^import [^;]*;\n|^\/\/ .*\n|^export \{\};\n/gm;
  const body = modules.map((text) => text.replace(imports, '').replace(exported, '')).join('');
  return `${body}\n${(await read('index')).replace(/^\/\/ .*\n/gm, '').replace(/ from '[^']*'/g, '')}`;
}

/** The licences of what the builds include: the bundled packages and this one. */
async function licences(inputs) {
  const packages = inputs.map((input) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]).filter(Boolean);
  const licence = (name) => readFile(path(`node_modules/${name}/LICENSE`), 'utf8');
  const notice = async (name) => `${name}\n\n${(await licence(name)).trim()}\n`;
  const notices = await Promise.all([...new Set(packages)].sort().map(notice));
  await writeFile(path('dist/THIRD-PARTY-LICENSES.txt'), notices.join(`\n${'-'.repeat(80)}\n\n`));
  for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) await copyFile(path(`../../${name}`), path(`dist/${name}`));
}

async function main() {
  await rm(path('dist'), { recursive: true, force: true });
  await mkdir(path('dist'));
  const inputs = [];
  let names = [];
  for (const [name, options] of Object.entries(builds)) {
    const built = await bundle({ ...options(names.join(', ')), plugins: [inlineWasm] });
    inputs.push(...built.inputs);
    names = built.exported;
    await writeFile(path(`dist/${name}`), `${BANNER}\n${built.code}\n//# sourceMappingURL=${name}.map\n`);
    // The banner is a line of its own.
    const map = { ...built.map, file: name, mappings: `;${built.map.mappings}`, sourcesContent: undefined };
    await writeFile(path(`dist/${name}.map`), JSON.stringify(map));
  }
  await licences(inputs);
  await copyFile(wasm, path('dist/rtc_cafe_web_bg.wasm'));
  const types = await declarations();
  await writeFile(path('dist/rtc-cafe-client.d.ts'), types);
  await writeFile(path('dist/rtc-cafe-client.global.d.ts'), `${types}\nexport as namespace RTCCafe;\n`);
}

await main();
