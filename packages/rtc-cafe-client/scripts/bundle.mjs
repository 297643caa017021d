// Bundles and minifies: esbuild puts together, and the minifier of Vite's bundler makes it small.

import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { minify } from 'rolldown/utils';
import { PRIVATE, PUBLIC, trimmedSocketIo } from './socket-io.mjs';

const TARGET = 'es2022';

const common = {
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  bundle: true,
  target: TARGET,
  platform: 'browser',
  sourcemap: 'external',
  sourcesContent: false,
  legalComments: 'none',
  outfile: 'dist/bundle.js',
  write: false,
  metafile: true,
  mangleProps: PRIVATE,
  mangleQuoted: true,
  reserveProps: PUBLIC,
  logLevel: 'warning',
};

/** The code, its source map, the files it is made of, and what it exports. */
export async function bundle({ plugins = [], ...options }) {
  const built = await build({ ...common, ...options, plugins: [...plugins, trimmedSocketIo] });
  const [map, code] = built.outputFiles.map(({ text }) => text);
  const module = options.format === 'esm';
  const settings = { module, compress: { target: TARGET }, mangle: { toplevel: module } };
  const small = await minify('bundle.js', code, { ...settings, sourcemap: true, inputMap: JSON.parse(map) });
  if (small.errors.length) throw new Error(small.errors.map(({ message }) => message).join('\n'));
  // The minifier puts all texts in backticks; bundlers look for the addresses of files in quotes.
  const quoted = small.code.replace(/new URL\(`([^`$\\"]*)`/g, 'new URL("$1"');
  const outputs = Object.values(built.metafile.outputs);
  const exported = outputs.flatMap(({ exports }) => exports);
  return { code: quoted, map: small.map, inputs: outputs.flatMap(({ inputs }) => Object.keys(inputs)), exported };
}
