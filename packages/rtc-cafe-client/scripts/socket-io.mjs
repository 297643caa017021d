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

// Every browser with WebRTC has promises, typed arrays and blobs, so that the next five need not look for them.

const GLOBALS = `
export const nextTick = (call) => Promise.resolve().then(call);
export const globalThisShim = globalThis;
export const defaultBinaryType = 'arraybuffer';
export const createCookieJar = () => {};
`;
const ENCODE_PACKET = `
import { PACKET_TYPES } from './commons.js';
export function encodePacket({ type, data }, supportsBinary, callback) {
  const isBlob = data instanceof Blob;
  if (!isBlob && !(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data)) {
    return callback(PACKET_TYPES[type] + (data || ''));
  }
  if (supportsBinary) return callback(data);
  const reader = new FileReader();
  reader.onload = () => callback('b' + (reader.result.split(',')[1] || ''));
  reader.readAsDataURL(isBlob ? data : new Blob([data]));
}
export const encodePacketToBinary = undefined;
`;
const DECODE_PACKET = `
import { ERROR_PACKET, PACKET_TYPES_REVERSE } from './commons.js';
import { decode } from './contrib/base64-arraybuffer.js';
export function decodePacket(packet, binaryType) {
  const isText = typeof packet === 'string';
  if (!isText || packet[0] === 'b') {
    const data = isText ? decode(packet.slice(1)) : packet;
    return { type: 'message', data: binaryType === 'blob' ? new Blob([data]) : data };
  }
  const type = PACKET_TYPES_REVERSE[packet[0]];
  return type ? { type, ...(packet.length > 1 && { data: packet.slice(1) }) } : ERROR_PACKET;
}
`;
const IS_BINARY = `
export const isBinary = (data) => data instanceof ArrayBuffer || ArrayBuffer.isView(data) || data instanceof Blob;
export function hasBinary(data, isJson) {
  if (isBinary(data)) return true;
  if (!data || typeof data !== 'object') return false;
  if (!isJson && typeof data.toJSON === 'function') return hasBinary(data.toJSON(), true);
  return Object.values(data).some((each) => hasBinary(each));
}
`;
const EMITTER = `
export class Emitter {
  on(event, call) {
    ((this._calls ??= {})['$' + event] ??= []).push(call);
    return this;
  }
  once(event, call) {
    const once = (...args) => {
      this.off(event, once);
      call.apply(this, args);
    };
    once.of = call;
    return this.on(event, once);
  }
  off(...[event, call]) {
    const others = this.listeners(event).filter((each) => call && each !== call && each.of !== call);
    this._calls = event === undefined ? {} : { ...this._calls, ['$' + event]: others };
    return this;
  }
  emitReserved(event, ...args) {
    for (const call of [...this.listeners(event)]) call.apply(this, args);
    return this;
  }
  listeners(event) {
    return this._calls?.['$' + event] ?? [];
  }
  hasListeners(event) {
    return this.listeners(event).length > 0;
  }
}
Emitter.prototype.emit = Emitter.prototype.emitReserved;
Emitter.prototype.removeAllListeners = Emitter.prototype.off;
`;

/**
 * Names that Socket.IO has for itself alone, some of them in quotes, so that they can be made short; all that begin with
 * one `_` are, but `_placeholder`, which goes over the wire.
 */
export const PRIVATE = new RegExp(
  `^(_[a-z].*|${[
    'clearTimeoutFn|setTimeoutFn|createSocket|createUri|doClose|doOpen|doPoll|doWrite|writeBuffer',
    'decodeString|encodeAsBinary|encodeAsString|finishedReconstruction|reconPack|reconstructor|takeBinaryData|tryParse',
    'emitBuffered|emitReserved|fromQueue|maybeReconnectOnOpen|notifyOutgoingListeners|priorWebsocketSuccess',
    'receiveBuffer|sendBuffer|skipReconnect|subEvents|withError',
  ].join('|')})$`,
);
export const PUBLIC = /^_placeholder$/;

/** What stands in the place of which file. */
const REPLACED = [
  [/[\\/]engine\.io-client[\\/].*[\\/]globals\.js$/, GLOBALS],
  [/[\\/]engine\.io-parser[\\/].*[\\/]encodePacket\.browser\.js$/, ENCODE_PACKET],
  [/[\\/]engine\.io-parser[\\/].*[\\/]decodePacket\.browser\.js$/, DECODE_PACKET],
  [/[\\/]socket\.io-parser[\\/].*[\\/]is-binary\.js$/, IS_BINARY],
  [/[\\/]component-emitter[\\/].*[\\/]index\.js$/, EMITTER],
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
