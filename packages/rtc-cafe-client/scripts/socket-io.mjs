// Leaves out of socket.io-client what a page never uses, by a plugin for esbuild.

/** No server of ours speaks WebTransport: it fails, and the next transport has its turn. */
const NO_WEB_TRANSPORT = `
import { Transport } from '../transport.js';
export class WT extends Transport {
  get name() {
    return 'webtransport';
  }
  doOpen() {
    queueMicrotask(() => this.onError('WebTransport is not included'));
  }
  doClose() {}
}
`;

/** Addresses are read by the browser, which could not be relied on when Socket.IO was written; ours are origins. */
const PARSE_URI = `
export function parse(address) {
  const { protocol, hostname, port, search } = new URL(address);
  return { protocol: protocol.slice(0, -1), host: hostname.replace(/[[\\]]/g, ''), port, query: search.slice(1) };
}
`;

/** Base64 is decoded by the browser too. */
const BASE64 = `
export const decode = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)).buffer;
`;

/** What stands in the place of which file. */
const REPLACED = [
  [/[\\/]engine\.io-client[\\/].*[\\/]webtransport\.js$/, NO_WEB_TRANSPORT],
  [/[\\/]engine\.io-client[\\/].*[\\/]parseuri\.js$/, PARSE_URI],
  [/[\\/]engine\.io-parser[\\/].*[\\/]base64-arraybuffer\.js$/, BASE64],
];

export const trimmedSocketIo = {
  name: 'socket-io',
  setup(setup) {
    // The index would bring `io()` and its cache of managers along.
    setup.onResolve({ filter: /^socket\.io-client$/ }, async ({ path, pluginData, ...from }) => {
      if (pluginData === trimmedSocketIo) return undefined;
      const { importer, resolveDir, kind } = from;
      const index = await setup.resolve(path, { importer, resolveDir, kind, pluginData: trimmedSocketIo });
      return { ...index, path: index.path.replace(/index\.js$/, 'manager.js') };
    });
    for (const [filter, contents] of REPLACED) setup.onLoad({ filter }, () => ({ contents }));
  },
};
