// The client: turns calls and what happens into inputs of the core, and its outputs into deeds.

import { Connection } from './connection.js';
import { Core, type ConnectionEvent, type CoreEvent, type CoreOutput } from './core.js';
import { RTCCafeError, rethrowing } from './errors.js';
import { EventEmitter } from './events.js';
import { RTCCafeSignallingClient, type ApiVersion, type SignallerState } from './signaller.js';

/** Options of {@link RTCCafeClient}. */
export interface RTCCafeClientOptions {
  /** The newest version of the signalling API to use, where no `signaller` is given. Default `LATEST_API_VERSION`. */
  apiVersion?: ApiVersion;
  /** The connection to the signalling server. Default is a new one, to the page's host. */
  signaller?: RTCCafeSignallingClient | null;
  /** Whether peers may finish their handshake over a mutual peer. Default `true`. */
  enableWebRTCHandshake?: boolean;
}

/** The arguments of each event of {@link RTCCafeClient}. */
export interface RTCCafeClientEvents<Message = unknown> {
  /** A peer sent a message. */
  message: [sender: string, message: Message];
  /** Messages to and from this peer flow from now on. */
  connectToPeer: [sid: string];
  /** The server gave this client a session id. */
  acquireSid: [sid: string];
  /** The state of the connection to the signalling server changed. */
  signallerStateChanged: [state: SignallerState];
  /** A peer is gone. */
  disconnectFromPeer: [sid: string];
  /** A connected peer has a new sid. It is the same peer, over the same connection. */
  reassignPeerSid: [oldSid: string, sid: string];
  /** Something went wrong that no call could report. Without a handler it goes to the console. */
  error: [error: RTCCafeError];
}

/** `setTimeout` takes no longer time than this. */
const MAX_DELAY = 2 ** 31 - 1;

/**
 * Joins rooms, connects to everybody in them, and sends and receives messages.
 *
 * @typeParam Message - What peers send to each other: anything that has a JSON.
 */
export class RTCCafeClient<Message = unknown> extends EventEmitter<RTCCafeClientEvents<Message>> {
  /** The connection to the signalling server. */
  readonly signaller: RTCCafeSignallingClient;
  /** Whether peers may finish their handshake over a mutual peer. */
  readonly enableWebRTCHandshake: boolean;
  readonly #core = new Core(crypto.getRandomValues(new Uint8Array(32)));
  readonly #connections = new Map<number, Connection>();
  readonly #detach: () => void;
  #rtcConfig: RTCConfiguration | null;
  #iceServers: RTCIceServer[] | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #deadline: number | undefined;
  /** Set while outputs are carried out, so that they are carried out in their order. */
  #flushing = true;
  #closed = false;

  /**
   * @param rtcConfig - Configures connections to peers. The `iceServers` that it lacks are those of the server.
   * @throws {@link RTCCafeError} `INVALID_ARGUMENT` for a signaller that is none; what the constructor of
   * {@link RTCCafeSignallingClient} throws.
   */
  constructor(rtcConfig?: RTCConfiguration | null, options?: RTCCafeClientOptions) {
    super();
    const { apiVersion, signaller, enableWebRTCHandshake } = options ?? {};
    if (signaller && typeof signaller.attach !== 'function') {
      throw new RTCCafeError('INVALID_ARGUMENT', '"signaller" must be an RTCCafeSignallingClient');
    }
    this.#rtcConfig = rtcConfig ?? null;
    this.enableWebRTCHandshake = enableWebRTCHandshake ?? true;
    this.signaller = signaller ?? new RTCCafeSignallingClient(apiVersion === undefined ? {} : { apiVersion });
    this.#detach = this.signaller.attach({
      state: (state) => this.#input(() => this.#core.handleSignallerState(performance.now(), state)),
      signal: (name, payload) => this.#input(() => this.#handleSignal(name, payload)),
      error: (error) => this.emitEvent('error', error),
    });
    globalThis.addEventListener?.('pagehide', this.#onPageHide);
    globalThis.addEventListener?.('pageshow', this.#onPageShow);
    // What a signaller that is connected already has to tell waits for the handlers to be registered.
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  /** The version of the signalling API: the one agreed on with the server; until then the one asked for. */
  get apiVersion(): ApiVersion {
    return this.signaller.apiVersion;
  }

  /** How connections to peers are configured from now on; may be assigned. */
  get rtcConfig(): RTCConfiguration {
    const config = this.#rtcConfig;
    return config?.iceServers || !this.#iceServers ? (config ?? {}) : { ...config, iceServers: this.#iceServers };
  }

  set rtcConfig(config: RTCConfiguration | null) {
    this.#rtcConfig = config;
  }

  /** The session id, by which peers know this client; `"unassigned"` until the server gave one. */
  get sid(): string {
    return this.#core.sid ?? 'unassigned';
  }

  /** The id by which peers know this client all its life. */
  get permanentId(): string {
    return this.#core.permanentId;
  }

  /** The sids of the peers that are connected. */
  get connectedPeers(): string[] {
    return this.#core.connectedPeers();
  }

  /** The sids of the peers that are there, connected or not. */
  get discoveredPeers(): string[] {
    return this.#core.discoveredPeers();
  }

  /** The state of the connection to the signalling server. */
  get state(): SignallerState {
    return this.signaller.state;
  }

  /**
   * Joins a room: at once, or as soon as there is a connection to the signalling server, and again after every
   * reconnection. Several rooms can be joined.
   *
   * @param room - A number, or a text that is not empty. The room `5` and the room `"5"` are two.
   * @throws {@link RTCCafeError} `INVALID_ROOM`, `TOO_MANY_ROOMS`, `CLOSED`
   */
  joinRoom(room: number | string): null {
    const id = typeof room === 'number' || typeof room === 'string' ? JSON.stringify(room) : 'null';
    this.#input(() => rethrowing(() => this.#core.joinRoom(performance.now(), id)));
    return null;
  }

  /**
   * Sends a message to connected peers: once, and in order, as long as the connection lasts.
   *
   * @param message - Anything that has a JSON.
   * @param sid - The sid of the recipient, or several; default are all connected peers.
   * @throws {@link RTCCafeError} `NOT_SERIALIZABLE`, `MESSAGE_TOO_LONG`, `NOT_CONNECTED`, `QUEUE_FULL`
   */
  sendMessage(message: Message, sid?: string | readonly string[] | null): null {
    const sids = sid === undefined || sid === null ? undefined : typeof sid === 'string' ? [sid] : [...sid];
    if (sids?.some((each) => typeof each !== 'string')) {
      throw new RTCCafeError('INVALID_ARGUMENT', 'a sid must be a text');
    }
    const payload = serialize(message);
    this.#input(() => rethrowing(() => this.#core.sendMessage(performance.now(), payload, sids)));
    return null;
  }

  /**
   * Leaves every room and closes every connection, for good. The signaller is disconnected too, because its session is
   * what the server and peers know this client by.
   */
  close(): null {
    if (this.#closed) return null;
    this.#input(() => this.#core.close(performance.now()));
    this.signaller.disconnect();
    this.#closed = true;
    this.#detach();
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.('pagehide', this.#onPageHide);
    globalThis.removeEventListener?.('pageshow', this.#onPageShow);
    return null;
  }

  /** Tells the core something, and then does what it says. */
  #input(tell: () => void): void {
    try {
      tell();
    } finally {
      this.#flush();
    }
  }

  #flush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    for (let output; (output = this.#core.poll() as CoreOutput | undefined); ) this.#perform(output);
    this.#flushing = false;
    this.#schedule();
  }

  #perform(output: CoreOutput): void {
    switch (output[0]) {
      case 'signal':
        return this.signaller.sendNow(output[1], output[2]);
      case 'iceServers':
        this.#iceServers = JSON.parse(output[1]);
        return;
      case 'connection':
        return this.#command(output);
      case 'event': {
        const [, ...event] = output;
        return this.#tell(event);
      }
    }
  }

  #command([, id, ...command]: Extract<CoreOutput, ['connection', ...unknown[]]>): void {
    if (command[0] === 'open') {
      const connection = new Connection(this.rtcConfig, Core.lowWater(), {
        event: (...event) => this.#report(id, event),
        buffered: (bytes) => this.#input(() => this.#core.handleBuffered(performance.now(), id, bytes)),
      });
      this.#connections.set(id, connection);
      return;
    }
    this.#connections.get(id)?.execute(...command);
    if (command[0] === 'close') this.#connections.delete(id);
  }

  #report(id: number, [event, detail]: ConnectionEvent): void {
    this.#input(() => this.#core.handleConnection(performance.now(), id, event, detail));
  }

  #tell(event: CoreEvent): void {
    if (event[0] === 'message') this.#tellMessage(event[1], event[2]);
    else if (event[0] === 'error') this.emitEvent('error', new RTCCafeError(event[1], event[2], event[3]));
    else if (event[0] === 'reassignPeerSid') this.emitEvent('reassignPeerSid', event[1], event[2]);
    else if (event[0] === 'signallerStateChanged') this.emitEvent('signallerStateChanged', event[1]);
    else if (event[0]) this.emitEvent(event[0], event[1]);
  }

  #tellMessage(sender: string, payload: string): void {
    let message: Message;
    try {
      message = JSON.parse(payload);
    } catch (error) {
      const text = 'a peer sent a message that is not JSON';
      return this.emitEvent('error', new RTCCafeError('PROTOCOL', text, sender, error));
    }
    this.emitEvent('message', sender, message);
  }

  #handleSignal(name: string, payload: string): void {
    try {
      rethrowing(() => this.#core.handleSignal(performance.now(), name, payload));
    } catch (error) {
      this.emitEvent('error', error as RTCCafeError);
    }
  }

  /** Sees to it that the core is woken up when it asked to be. */
  #schedule(): void {
    const deadline = this.#core.pollTimeout();
    if (this.#closed || deadline === this.#deadline) return;
    clearTimeout(this.#timer);
    this.#deadline = deadline;
    if (deadline === undefined) return;
    const delay = Math.min(Math.max(deadline - performance.now(), 0), MAX_DELAY);
    this.#timer = setTimeout(() => {
      this.#deadline = undefined;
      this.#input(() => this.#core.handleTimeout(performance.now()));
    }, delay);
  }

  /** A page that is left closes its connections, so that peers hear of it at once. */
  readonly #onPageHide = () => {
    for (const connection of this.#connections.values()) connection.close();
  };

  /** A page that comes back from the back-forward cache has lost its peers, and looks for them anew. */
  readonly #onPageShow = ({ persisted }: PageTransitionEvent) => {
    if (persisted) for (const id of [...this.#connections.keys()]) this.#report(id, ['channelClosed']);
  };
}

function serialize(message: unknown): string {
  let cause;
  try {
    const payload: string | undefined = JSON.stringify(message);
    if (payload !== undefined) return payload;
  } catch (error) {
    cause = error;
  }
  throw new RTCCafeError('NOT_SERIALIZABLE', 'the message cannot be written as JSON', undefined, cause);
}
