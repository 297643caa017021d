// Leaves out of socket.io-client what a page never uses, by a plugin for esbuild.

/** In the place of WebTransport, which no server of ours speaks: it fails, and the next transport has its turn. */
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
    setup.onLoad({ filter: /[\\/]engine\.io-client[\\/].*[\\/]webtransport\.js$/ }, () => ({ contents: NO_WEB_TRANSPORT }));
  },
};
