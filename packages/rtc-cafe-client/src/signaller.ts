// The connection to the signalling server, over Socket.IO.

import { Manager, type Socket } from 'socket.io-client';
import { Session } from './core.js';
import { RTCCafeError } from './errors.js';
import { EventEmitter } from './events.js';

/** The newest version of the signalling API. */
export const LATEST_API_VERSION = '1.0';

/** A version of the signalling API. */
export type ApiVersion = '0.0' | '0.1' | '0.2' | '1.0';

/**
 * The state of the connection to the signalling server: `setup` until it is there for the first time, `connected`,
 * `reconnecting` after it was lost, `closed` after `disconnect()`.
 */
export type SignallerState = 'setup' | 'connected' | 'reconnecting' | 'closed';

/** The name of a signal that a client sends. */
export type SignalName =
  | 'request-sid'
  | 'join'
  | 'leave'
  | 'hold'
  | 'acquire-peers-response'
  | 'offer'
  | 'answer'
  | 'candidate'
  | (string & {});

/**
 * Changes the payload of every signal before it is sent, for example to add a token that the server checks. It may
 * return a promise; signals keep their order. Where it throws, the signal is not sent and an `error` event tells.
 */
export type SignalModifier = (signalName: SignalName, payload: any) => unknown;

/** Options for Socket.IO; the most used ones are named, and every other one of its client's is taken as well. */
export interface IoOptions {
  /** The path of the Socket.IO server. Default `/socket.io`. */
  path?: string;
  /** Which transports to try, of `'websocket'` and `'polling'`. Default websocket, then polling. */
  transports?: any[];
  /** Credentials for the namespace. The field `signals` is taken. */
  auth?: { [key: string]: any } | ((callback: (data: object) => void) => void);
  /** Query parameters. */
  query?: { [key: string]: any };
  /** Headers, for polling only. */
  extraHeaders?: { [header: string]: string };
  /** Whether cookies go along to other sites. */
  withCredentials?: boolean;
  /** Milliseconds before the first attempt to reconnect. Default 250. */
  reconnectionDelay?: number;
  /** Milliseconds between attempts at most. Default 2000. */
  reconnectionDelayMax?: number;
  [option: string]: any;
}

/** Options of {@link RTCCafeSignallingClient}. */
export interface RTCCafeSignallingClientOptions {
  /** The newest version of the signalling API to use. Default {@link LATEST_API_VERSION}. */
  apiVersion?: ApiVersion;
  /**
   * The server, like `https://example.org`; default is the page's. A path in it is that under which the signaller is
   * nested: `https://example.org/cafe` means `path: '/cafe/socket.io'`.
   */
  host?: string;
  /** Changes the payload of every signal before it is sent. */
  signalModifier?: SignalModifier | null;
  /** Options for the Socket.IO client. */
  ioOptions?: IoOptions;
}

/** The arguments of each event of {@link RTCCafeSignallingClient}. */
export interface RTCCafeSignallingClientEvents {
  /** The state changed. */
  stateChanged: [state: SignallerState];
  /** A signal arrived: its name and what the server sent with it. */
  message: [event: string, ...args: any[]];
  /** `message.${event}` and `message.${event}.${sid}` have `...args`; `message.${sid}` has `event, ...args`. */
  [name: `message.${string}`]: any[];
  /** Something went wrong that no call could report. */
  error: [error: RTCCafeError];
}

/**
 * Who is told of what happens, before event handlers are.
 *
 * @internal
 */
export interface SignallerTap {
  /** There is a new connection, and what is said at once goes with the question for the namespace. */
  opened(): void;
  state(state: SignallerState): void;
  signal(name: string, payload: string): void;
  error(error: RTCCafeError): void;
}

/** Names of events that Socket.IO keeps for itself. */
const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];

/** The type of the packet with which the server lets us in (Socket.IO protocol 5). */
const CONNECT = 0;

/** The name of a signal, and its payload. */
type Said = [name: string, payload: unknown, modified?: Promise<unknown>];

/** How long the server may take to show that it is there. */
const DOUBT_MS = 3000;

/** An attempt that is no older than this goes on. */
const YOUNG_MS = 1000;

/** On average, so that not everybody comes at once. */
const RETRY_MS = 2000;

/**
 * Connects to the signalling server, and sends signals to it and receives signals from it. It begins to connect at
 * once, and connects again after every loss until {@link RTCCafeSignallingClient.disconnect}.
 */
export class RTCCafeSignallingClient extends EventEmitter<RTCCafeSignallingClientEvents> {
  /** Changes the payload of every signal before it is sent; may be assigned at any time. */
  signalModifier: SignalModifier | null;
  readonly #session = new Session();
  readonly #socket: Socket;
  readonly #taps = new Set<SignallerTap>();
  /** The payload of the last `sid` signal, for clients that come later. */
  #lastSid: string | undefined;
  /** Settles when every signal so far was sent; there is none while nothing waits. */
  #sending: Promise<void> | undefined;
  /** What is to be said together with CONNECT, while it is gathered. */
  #greeting: Said[] | undefined;
  /** What was said so, until the server has answered, and how many of it have been taken. */
  #said: Said[] = [];
  /** What follows it. */
  #behind: Said[] = [];
  #taken = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #troubled = false;
  /** When the last attempt began. */
  #dialled = performance.now();
  #doubt: ReturnType<typeof setTimeout> | undefined;

  /**
   * @throws {@link RTCCafeError} `UNKNOWN_API_VERSION`; `INVALID_ARGUMENT` for a host that is none; `NO_HOST` where
   * there is neither a host nor a page.
   */
  constructor(options?: RTCCafeSignallingClientOptions | null) {
    super();
    const { apiVersion, host, signalModifier, ioOptions } = options ?? {};
    this.signalModifier = signalModifier ?? null;
    this.#session.call(['version', String(apiVersion ?? LATEST_API_VERSION)]);
    const { origin, path } = server(host);
    const manager = new Manager(origin, {
      path,
      transports: ['websocket', 'polling'],
      tryAllTransports: true,
      reconnectionDelay: 250,
      reconnectionDelayMax: 2000,
      ...ioOptions,
    });
    manager.on('packet', ({ type, data }) => {
      if (type === CONNECT) this.#taken = data?.signals ?? 0;
    });
    manager.on('reconnect_attempt', () => { this.#dialled = performance.now(); });
    const auth = (send: (content: object) => void) => {
      this.#greet(ioOptions?.auth, send).catch((error) => {
        this.#fail('SIGNALLER_UNREACHABLE', `the function "auth" failed: ${error}`, error);
      });
    };
    this.#socket = manager.socket(this.#session.call(['namespace']), { ...ioOptions, auth });
    this.#listen();
  }

  /** The version of the signalling API: the one agreed on with the server; until then the one asked for. */
  get apiVersion(): ApiVersion {
    return this.#session.call(['apiVersion']) as ApiVersion;
  }

  /** The session id, by which peers know this client; `"unassigned"` until the server gave one. */
  get sid(): string {
    return this.#session.call(['sid']) ?? 'unassigned';
  }

  /** The state of the connection. */
  get state(): SignallerState {
    return this.#session.call(['state']);
  }

  /**
   * Sends a signal to the server, through `signalModifier`. Before the first connection, and during an outage, it
   * waits for the next one.
   *
   * @throws {@link RTCCafeError} `CLOSED` after `disconnect()`; `INVALID_ARGUMENT` for a name that Socket.IO keeps for
   * itself; `NOT_SERIALIZABLE` for data that cannot be sent.
   */
  sendSignal(signalName: SignalName, data?: unknown): null {
    if (this.state === 'closed') throw new RTCCafeError('CLOSED', 'the signaller is disconnected');
    if (typeof signalName !== 'string' || !signalName || RESERVED.includes(signalName)) {
      throw new RTCCafeError('INVALID_ARGUMENT', `"${String(signalName)}" cannot be the name of a signal`);
    }
    assertSerializable(data);
    this.#send(signalName, data);
    return null;
  }

  /** Disconnects from the server, for good. */
  disconnect(): null {
    clearTimeout(this.#retry);
    this.#trust();
    globalThis.removeEventListener?.('pagehide', this.#onPageHide);
    globalThis.removeEventListener?.('pageshow', this.#onPageShow);
    this.#session.call(['close']);
    this.#socket.disconnect();
    this.#flush();
    return null;
  }

  /**
   * Sends a signal that belongs to the present connection, and is of no use on another one.
   *
   * @internal
   */
  sendNow(name: string, payload: string): void {
    if (this.#greeting) this.#greeting.push([name, JSON.parse(payload)]);
    else if (this.#socket.connected) this.#send(name, JSON.parse(payload), this.#socket.id);
  }

  /**
   * Finds out whether the server is there, because there is a doubt; a dead connection is replaced. During an outage it
   * is tried at once.
   *
   * @internal
   */
  check(): void {
    const { apiVersion } = this;
    if (!this.#socket.connected) return this.#hurry();
    if (this.#doubt !== undefined || apiVersion === '0.0') return;
    // It is answered.
    this.#send('request-sid', { apiVersion }, this.#socket.id, undefined, () => this.#distrust());
  }

  /** Connects now, also in the place of an attempt that takes long. */
  #hurry(): void {
    const now = performance.now();
    const { active, io } = this.#socket;
    // Whom the server does not want now, and a page that is left, do not hurry.
    if (!active || (/^open/.test(io.engine?.readyState) && now - this.#dialled < YOUNG_MS)) return;
    this.#dialled = now;
    this.#socket.disconnect().connect();
  }

  /** Has the server show that it is there. */
  #distrust(): void {
    if (this.#doubt !== undefined) return;
    const { engine } = this.#socket.io;
    this.#doubt = setTimeout(() => {
      this.#doubt = undefined;
      engine.close();
    }, DOUBT_MS);
    engine.once('packet', this.#trust).once('close', this.#trust);
  }

  readonly #trust = () => {
    clearTimeout(this.#doubt);
    this.#doubt = undefined;
    this.#socket.io.engine?.off('packet', this.#trust).off('close', this.#trust);
  };

  /**
   * Lets a client follow what happens here; what has happened is told at once. Returns what ends it.
   *
   * @internal
   */
  attach(tap: SignallerTap): () => void {
    this.#taps.add(tap);
    tap.state(this.state);
    if (this.state === 'connected' && this.#lastSid) tap.signal('sid', this.#lastSid);
    return () => this.#taps.delete(tap);
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on('connect', () => this.#connected());
    socket.on('disconnect', (reason) => {
      this.#lastSid = undefined;
      this.#session.call(['disconnected']);
      this.#flush();
      // Whoever is thrown out by the server is not connected again by Socket.IO.
      if (reason === 'io server disconnect') this.#connectLater();
    });
    socket.on('connect_error', (error) => {
      // One error for an outage, not one for each attempt.
      if (!this.#troubled) {
        this.#troubled = true;
        this.#fail('SIGNALLER_UNREACHABLE', `cannot connect to the signaller: ${error.message}`, error);
      }
      // The server refuses the namespace, which Socket.IO takes for final.
      if (!socket.active) this.#connectLater();
    });
    socket.onAny((event: string, ...args: unknown[]) => this.#receive(event, args));
    globalThis.addEventListener?.('pagehide', this.#onPageHide);
    globalThis.addEventListener?.('pageshow', this.#onPageShow);
  }

  /**
   * Says what there is to say first together with CONNECT, so that it need not wait for the server's word. A server that
   * does not know of it says so by its silence, and is told again.
   */
  async #greet(auth: IoOptions['auth'], send: (content: object) => void): Promise<void> {
    const { engine } = this.#socket.io;
    this.#greeting = [];
    this.#session.call(['opened']);
    this.#flush();
    const greeting = this.#greeting;
    this.#greeting = undefined;
    const [said, behind] = this.#modify(greeting);
    const given = typeof auth === 'function' ? await new Promise<object>((give) => auth(give)) : auth;
    // It may be over by now.
    if (engine !== this.#socket.io.engine) return;
    this.#taken = 0;
    this.#said = said;
    this.#behind = behind;
    send({ ...given, signals: said });
  }

  /** What can be said with CONNECT, and what has to wait: a modifier that takes its time may need what comes later. */
  #modify(greeting: Said[]): [said: Said[], behind: Said[]] {
    const said: Said[] = [];
    for (const [at, [name, data]] of greeting.entries()) {
      try {
        const payload = this.signalModifier ? this.signalModifier(name, data) : data;
        if (isPromise(payload)) {
          // Its failure is told when its turn comes.
          payload.catch(() => undefined);
          return [said, [[name, data, payload], ...greeting.slice(at + 1)]];
        }
        assertSerializable(payload);
        said.push([name, payload]);
      } catch (error) {
        this.#refuse(name, error);
      }
    }
    return [said, []];
  }

  #connected(): void {
    this.#troubled = false;
    for (const [name, payload] of this.#said.splice(0).slice(this.#taken)) this.#socket.emit(name, payload);
    for (const [name, data, payload] of this.#behind.splice(0)) this.#send(name, data, this.#socket.id, payload);
    this.#session.call(['connected']);
    this.#flush();
  }

  #connectLater(): void {
    if (this.state === 'closed') return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#socket.connect(), RETRY_MS * (0.5 + Math.random()));
  }

  #receive(event: string, args: unknown[]): void {
    // What a server of version 0.0 sends ahead of the connection's confirmation comes before `connect`.
    if (this.state !== 'connected') this.#connected();
    const payload = JSON.stringify(args[0]) ?? 'null';
    if (event === 'error' && (args[0] as { code?: unknown } | null)?.code === 'kicked') {
      // The operator does not want us, so we do not come back.
      this.disconnect();
      this.#fail('KICKED', String((args[0] as { error?: unknown }).error), args[0]);
      return;
    }
    if (event === 'sid') {
      this.#session.call(['signal', event], payload);
      this.#lastSid = payload;
    }
    for (const tap of [...this.#taps]) tap.signal(event, payload);
    this.emitEvent('message', event, ...args);
    this.emitEvent(`message.${event}`, ...args);
    const sid = (args[0] as { sid?: unknown } | null | undefined)?.sid;
    if (typeof sid === 'string' && event !== 'sid') {
      this.emitEvent(`message.${sid}`, event, ...args);
      this.emitEvent(`message.${event}.${sid}`, ...args);
    }
  }

  #flush(): void {
    for (let output; (output = this.#session.poll()); ) {
      if (output[0] === 'signal') {
        this.sendNow(output[1], output[2]);
      } else if (output[0] === 'opened') {
        for (const tap of [...this.#taps]) tap.opened();
      } else {
        const state = output[1];
        for (const tap of [...this.#taps]) tap.state(state);
        this.emitEvent('stateChanged', state);
      }
    }
  }

  /** Sends a signal behind those that wait for their modifier; one of a connection that is over is dropped. */
  #send(name: string, data: unknown, connection?: string, modified?: Promise<unknown>, sent?: () => void): void {
    const emit = (payload: unknown) => {
      if (this.state === 'closed' || (connection && connection !== this.#socket.id)) return;
      // Socket.IO would throw later, when it has a connection, and lose everything that waits.
      assertSerializable(payload);
      this.#socket.emit(name, payload);
      sent?.();
    };
    const modify = () => modified ?? (this.signalModifier ? this.signalModifier(name, data) : data);
    const refuse = (error: unknown) => this.#refuse(name, error);
    if (!this.#sending) {
      try {
        const payload = modify();
        if (!isPromise(payload)) return emit(payload);
        this.#sending = payload.then(emit).catch(refuse);
      } catch (error) {
        return refuse(error);
      }
    } else {
      this.#sending = this.#sending.then(modify).then(emit).catch(refuse);
    }
    const sending = this.#sending;
    void sending.then(() => {
      if (this.#sending === sending) this.#sending = undefined;
    });
  }

  #refuse(name: string, error: unknown): void {
    this.#fail('SIGNAL_MODIFIER', `signalModifier failed for "${name}": ${error}`, error);
  }

  #fail(code: 'SIGNALLER_UNREACHABLE' | 'SIGNAL_MODIFIER' | 'KICKED', message: string, cause: unknown): void {
    const error = new RTCCafeError(code, message, undefined, cause);
    for (const tap of [...this.#taps]) tap.error(error);
    if (!this.#taps.size || this.hasHandlers('error')) this.emitEvent('error', error);
  }

  /** A page that is left says so; the back-forward cache may bring it back. */
  readonly #onPageHide = () => {
    clearTimeout(this.#retry);
    this.#socket.disconnect();
  };

  readonly #onPageShow = ({ persisted }: PageTransitionEvent) => {
    if (persisted) this.#socket.connect();
  };
}

function assertSerializable(data: unknown): void {
  try {
    JSON.stringify(data);
  } catch (error) {
    throw new RTCCafeError('NOT_SERIALIZABLE', 'the signal cannot be written as JSON', undefined, error);
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function';
}

/** Where the server is: its origin and the path of its Socket.IO end point. */
function server(host: string | undefined): { origin: string; path: string } {
  const page = globalThis.location?.origin;
  const given = host || page;
  if (!given || given === 'null') throw new RTCCafeError('NO_HOST', 'outside of a page, the option "host" is needed');
  try {
    const scheme = page?.startsWith('http:') ? 'http:' : 'https:';
    const url = new URL(/^(https?|wss?):\/\//i.test(given) ? given : `${scheme}//${given.replace(/^\/\//, '')}`);
    return { origin: url.origin, path: `${url.pathname.replace(/\/+$/, '')}/socket.io` };
  } catch (error) {
    throw new RTCCafeError('INVALID_ARGUMENT', `"${given}" is not the address of a host`, undefined, error);
  }
}
