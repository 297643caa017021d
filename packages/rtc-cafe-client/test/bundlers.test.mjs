// What `npm pack` publishes, built into an app by Vite and by esbuild.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build as esbuild } from 'esbuild';
import { build as vite } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const app = (entry) => `
  import { LATEST_API_VERSION, RTCCafeClient, RTCCafeSignallingClient } from '${entry}';
  export const signaller = new RTCCafeSignallingClient({ host: 'http://127.0.0.1:9' });
  export const client = new RTCCafeClient(undefined, { signaller });
  export { LATEST_API_VERSION };
`;
let folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rtc-cafe-app-'));
  const target = join(folder, 'node_modules', 'rtc-cafe-client');
  await mkdir(target, { recursive: true });
  execFileSync('npm', ['pack', '--pack-destination', folder], { cwd: root, stdio: 'ignore' });
  const [name] = (await readdir(folder)).filter((file) => file.endsWith('.tgz'));
  execFileSync('tar', ['-xzf', join(folder, name), '-C', target, '--strip-components=1']);
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }));
  await writeFile(join(folder, 'inline.js'), app('rtc-cafe-client'));
  await writeFile(join(folder, 'external.js'), app('rtc-cafe-client/external'));
});

after(() => rm(folder, { recursive: true, force: true }));

/** Runs a built app in this process: its client is ready as soon as it is imported. */
async function run(file) {
  const { client, signaller, LATEST_API_VERSION } = await import(pathToFileURL(file).href);
  assert.equal(LATEST_API_VERSION, '1.0');
  assert.equal(client.sid, 'unassigned');
  assert.match(client.permanentId, /^[0-9a-f]{32}$/);
  client.close();
  signaller.disconnect();
}

async function viteBuild(entry, outDir) {
  const lib = { entry: join(folder, entry), formats: ['es'], fileName: 'app' };
  await vite({ root: folder, configFile: false, logLevel: 'error', build: { lib, outDir, target: 'es2022' } });
}

test('publishes the builds, the types, the licences and nothing else', async () => {
  const published = join(folder, 'node_modules', 'rtc-cafe-client');
  const names = (await readdir(published, { recursive: true })).filter((name) => !name.endsWith('.map'));
  assert.deepEqual(names.sort(), [
    'README.md',
    'dist',
    'dist/LICENSE-APACHE',
    'dist/LICENSE-MIT',
    'dist/THIRD-PARTY-LICENSES.txt',
    'dist/rtc-cafe-client.d.ts',
    'dist/rtc-cafe-client.external.js',
    'dist/rtc-cafe-client.global.d.ts',
    'dist/rtc-cafe-client.global.js',
    'dist/rtc-cafe-client.js',
    'dist/rtc_cafe_web_bg.wasm',
    'package.json',
  ]);
  for (const name of names.filter((name) => name.endsWith('.js'))) {
    const map = await readFile(join(published, `${name}.map`), 'utf8');
    assert.ok(!map.includes(root), `${name}.map names a folder of this machine`);
  }
});

test('Vite builds an app', async () => {
  await viteBuild('inline.js', 'vite');
  await run(join(folder, 'vite', 'app.js'));
});

test('Vite takes the WebAssembly module along', async () => {
  const input = join(folder, 'index.html');
  await writeFile(input, '<!doctype html><script type="module" src="/external.js"></script>');
  const options = { outDir: 'vite-external', target: 'es2022', rollupOptions: { input } };
  await vite({ root: folder, configFile: false, logLevel: 'error', build: options });
  const assets = await readdir(join(folder, 'vite-external', 'assets'));
  const wasm = assets.find((name) => name.endsWith('.wasm'));
  const script = assets.find((name) => name.endsWith('.js'));
  assert.ok(wasm, `no module among ${assets}`);
  assert.ok((await readFile(join(folder, 'vite-external', 'assets', script), 'utf8')).includes(wasm));
});

test('esbuild builds an app', async () => {
  const outfile = join(folder, 'esbuild.js');
  await esbuild({ entryPoints: [join(folder, 'inline.js')], outfile, bundle: true, format: 'esm', logLevel: 'error' });
  await run(outfile);
});

test('esbuild builds an app with the WebAssembly module beside', async () => {
  const outfile = join(folder, 'esbuild-external.js');
  const target = { format: 'esm', target: 'es2022', logLevel: 'error' };
  await esbuild({ entryPoints: [join(folder, 'external.js')], outfile, bundle: true, ...target });
  assert.match(await readFile(outfile, 'utf8'), /new URL\("\.\/rtc_cafe_web_bg\.wasm", import\.meta\.url\)/);
});
