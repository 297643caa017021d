// The boundary to WebAssembly: which calls there are, and what is to be done then.

import { Machine as WasmMachine } from '../build/rtc_cafe_web.js';
import { RTCCafeError, type RTCCafeErrorCode } from './errors.js';
import type { CoreReport } from './report.js';
import type { SignallerState } from './signaller.js';
import type { TrackKind } from './tracks.js';

/** Calls of a client: what they are given without the body, and what they return. */
export interface ClientCalls {
  /** The body is the room in JSON. */
  joinRoom(): null;
  leaveRoom(): null;
  /** The body is the message in JSON. */
  sendMessage(sids: readonly string[] | null): null;
  /** The body is the description in JSON. */
  addTrack(id: string, kind: string): null;
  removeTrack(id: string): null;
  requestPeerTrack(sid: string, id: string): null;
  removePeerTrack(sid: string, id: string): boolean;
  close(): null;
  /** The body is the payload in JSON. */
  signal(name: string): null;
  signallerOpened(): null;
  signallerState(state: SignallerState): null;
  connection(id: number, ...event: ConnectionEvent): null;
  configurationChange(ready: number): null;
  networkChange(): null;
  wake(): null;
  timeout(): null;
  /** When to call `timeout`. */
  deadline(): number | null;
  sid(): string | null;
  permanentId(): string;
  connectedPeers(): string[];
  discoveredPeers(): string[];
  connectionOf(sid: string): number | null;
  connectionReport(sid: string): CoreReport | null;
  /** Below how many bytes in a data channel its connection reports `channelBuffered`. */
  lowWater(): number;
}

/** Calls of a session. */
export interface SessionCalls {
  version(newest: string): null;
  opened(): null;
  connected(): null;
  disconnected(): null;
  /** The body is the payload in JSON. */
  signal(name: string): null;
  close(): null;
  sid(): string | null;
  apiVersion(): string;
  namespace(): string;
  state(): SignallerState;
}

/** A call with its arguments. */
export type Call<Calls, Name extends keyof Calls> = [
  name: Name,
  ...args: Calls[Name] extends (...args: infer Args) => unknown ? Args : never,
];

/** What a call returns. */
export type Answer<Calls, Name extends keyof Calls> = Calls[Name] extends () => infer Value
  ? Value
  : Calls[Name] extends (...args: never[]) => infer Value
    ? Value
    : never;

/** A state machine in WebAssembly. */
class Machine<Calls, Output> {
  readonly #machine: WasmMachine;

  constructor(...options: unknown[]) {
    this.#machine = new WasmMachine(JSON.stringify(options));
  }

  /** Tells or asks something. What is long, or is JSON already, is the body. */
  call<Name extends keyof Calls>(call: Call<Calls, Name>, body?: string): Answer<Calls, Name> {
    const line = JSON.stringify(call);
    const answer = this.#machine.call(performance.now(), body === undefined ? line : `${line}\n${body}`);
    const [value, message, ...sids] = JSON.parse(answer);
    if (message !== undefined) throw Object.assign(new RTCCafeError(value, message), sids[0] && { sids });
    return value;
  }

  /** What to do next; to be called until there is nothing. */
  poll(): Output | undefined {
    const output = this.#machine.poll();
    const end = output.indexOf('\n');
    if (end >= 0) return [...JSON.parse(output.slice(0, end)), output.slice(end + 1)] as Output;
    return output ? JSON.parse(output) : undefined;
  }
}

/** The client: `rtc_cafe_core::Client`. */
export class Core extends Machine<ClientCalls, CoreOutput> {
  constructor(handshakeOverPeers: boolean, ready: number) {
    super('client', handshakeOverPeers, ready, ...crypto.getRandomValues(new Uint8Array(32)));
  }
}

/** The connection to the signalling server: `rtc_cafe_core::Session`. */
export class Session extends Machine<SessionCalls, SessionOutput> {
  constructor() {
    super('session');
  }
}

/** What to do to a peer connection. */
export type Command =
  | [command: 'open']
  | [command: 'createOffer']
  | [command: 'prepareOffer']
  | [command: 'foretellAnswer']
  | [command: 'acceptOffer', sdp: string]
  | [command: 'acceptAnswer', sdp: string]
  | [command: 'addCandidate', candidate?: string]
  | [command: 'addTrack', id: string]
  | [command: 'removeTrack', id: string]
  | [command: 'restartIce']
  | [command: 'send', frame: string]
  | [command: 'close'];

/** What happened to a peer connection; the body says more. */
export type ConnectionEvent =
  | [event: 'offerCreated', tracks: Record<string, string>]
  | [event: 'answerCreated' | 'answerForetold' | 'failed' | 'candidateFound' | 'stateChanged' | 'trackAdded' | 'pathChanged']
  | [event: 'channelOpen' | 'channelMessage' | 'channelClosed']
  | [event: 'channelBuffered', bytes: number];

/** What to tell the application. */
export type CoreEvent =
  | [name: 'acquireSid', sid: string]
  | [name: 'signallerStateChanged', state: SignallerState]
  | [name: 'connectToPeer', sid: string]
  | [name: 'disconnectFromPeer', sid: string]
  | [name: 'reassignPeerSid', oldSid: string, sid: string]
  | [name: 'peerTrackDefined', sid: string, id: string, kind: TrackKind, description: string]
  | [name: 'peerTrackIdentified', sid: string, id: string, mid: string, connection: number]
  | [name: 'peerTrackRemoved', sid: string, id: string]
  | [name: 'peerTrackDefinitionRemoved', sid: string, id: string, kind: TrackKind, description: string]
  | [name: 'message', sender: string, payload: string]
  | [name: 'messageUndelivered', sid: string, mayHaveArrived: boolean, payload: string]
  | [name: 'error', code: RTCCafeErrorCode, message: string, sid: string];

/** What `poll` returns of a core; payloads, descriptions, candidates and ICE servers are JSON. */
export type CoreOutput =
  | [kind: 'signal', name: string, payload: string]
  | [kind: 'connection', id: number, ...command: Command]
  | [kind: 'iceServers', servers: string]
  | [kind: 'checkSignaller']
  | [kind: 'event', ...event: CoreEvent];

/** What `poll` returns of a session. */
export type SessionOutput =
  | [kind: 'signal', name: string, payload: string]
  | [kind: 'opened']
  | [kind: 'stateChanged', state: SignallerState];
