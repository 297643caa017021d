// What runs inside of the pages: keeps the events of clients, and listens in on the browser's own interfaces.

/** Is put into a page before its own scripts; it may not use anything from outside of itself. */
export function pageKit() {
  const kit = {
    /** Every peer connection that the page made. */
    made: [],
    /** Those that have had a peer; others are only made ready for one. */
    get connections() {
      return kit.made.filter((connection) => connection.hadPeer);
    },
    /** Every frame that the page sent over a websocket. */
    sent: [],
    /** Every websocket that the page opened. */
    sockets: [],
    clients: {},
    events: {},
  };
  globalThis.kit = kit;

  const Native = globalThis.RTCPeerConnection;
  if (Native) {
    globalThis.RTCPeerConnection = class extends Native {
      constructor(configuration, ...rest) {
        super(configuration, ...rest);
        kit.made.push(this);
      }

      setRemoteDescription(...args) {
        this.hadPeer = true;
        return super.setRemoteDescription(...args);
      }
    };
  }

  const NativeSocket = globalThis.WebSocket;
  globalThis.WebSocket = class extends NativeSocket {
    constructor(address, ...rest) {
      super(address, ...rest);
      kit.sockets.push(this);
    }

    send(data) {
      if (typeof data === 'string') kit.sent.push(data);
      super.send(data);
    }
  };

  const EVENTS = ['message', 'connectToPeer', 'acquireSid', 'signallerStateChanged', 'disconnectFromPeer', 'reassignPeerSid', 'error',
    'messageUndelivered', 'peerTrackDefined', 'peerTrackIdentified', 'peerTrackRemoved', 'peerTrackDefinitionRemoved'];

  /** Makes a client, under a name, from the package at an address or from the global of the script-tag build. */
  kit.start = async (name, { from, rtcConfig, options = {}, signaller, rooms = [] }) => {
    const api = from === 'global' ? globalThis.RTCCafe : await import(from);
    kit.api = api;
    if (signaller) options.signaller = new api.RTCCafeSignallingClient(signaller);
    const client = new api.RTCCafeClient(rtcConfig, options);
    const first = { sid: client.sid, state: client.state };
    kit.clients[name] = client;
    kit.events[name] = [];
    for (const event of EVENTS) client.on(event, (...args) => kit.events[name].push([event, ...args]));
    for (const room of rooms) client.joinRoom(room);
    return first;
  };

  /** Loses the websockets, as a change of networks does. */
  kit.breakSockets = () => kit.sockets.splice(0).forEach((socket) => socket.close());

  /** What a client looks like from outside. */
  kit.look = (name) => {
    const { sid, permanentId, apiVersion, state, connectedPeers, discoveredPeers } = kit.clients[name];
    return { sid, permanentId, apiVersion, state, connectedPeers, discoveredPeers };
  };

  /** The arguments of the events of a name, errors as their codes. */
  kit.told = (name, event) => kit.events[name]
    .filter(([told]) => told === event)
    .map(([, ...args]) => args.map((arg) => (arg instanceof Error ? arg.code : arg)));

  /** What a call does: gives back, or throws. */
  kit.attempt = (call) => {
    try {
      return { value: call() ?? null };
    } catch (error) {
      return { name: error.name, code: error.code, message: error.message, isError: error instanceof Error };
    }
  };

  /** JSON of every kind, the same in every page. */
  kit.everything = () => [
    null, true, false, 0, -0.5, 1e300, 5e-324, 9007199254740993, '', 'text', [], {}, [[[]]], [null, [1, 'two', { three: 3 }]],
    { a: { b: { c: [{ d: null }] } } }, '☕ Καφές 咖啡 קפה', '\u{1F468}\u200d\u{1F469}\u200d\u{1F467}', 'e\u0301\u202e\u2028\u0000\u001f\u007f"\\/',
    '\ud800', 'a\udfffb', { '\ud83d': '\udc00' }, { '': '', __proto__x: 1, constructor: null }, JSON.parse('{"__proto__": {"x": 1}}'),
    { kind: 'message', more: true, sid: 'x' }, '\n', '{"type":"sid"}\n', 'x'.repeat(200_000), Array.from({ length: 40_000 }, (_, n) => n),
    '\u{1F980}'.repeat(50_000), 'the end',
  ];
}
