// The boundary to WebAssembly: which values `poll` returns.

import type { SignallerState } from './signaller.js';
import type { RTCCafeErrorCode } from './errors.js';
import type { TrackKind } from './tracks.js';

export { Core, Session } from '../build/rtc_cafe_web.js';

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

/** What happened to a peer connection, as `Core.handleConnection` takes it. */
export type ConnectionEvent =
  | [event: 'answerCreated', sdp: string]
  | [event: 'answerForetold', sdp: string]
  | [event: 'failed', reason: string]
  | [event: 'candidateFound', candidate: string | undefined]
  | [event: 'stateChanged', state: RTCPeerConnectionState]
  | [event: 'trackAdded', mid: string]
  | [event: 'channelOpen']
  | [event: 'channelMessage', frame: string]
  | [event: 'channelClosed'];

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
  | [name: 'messageUndelivered', sid: string, payload: string, mayHaveArrived: boolean]
  | [name: 'error', code: RTCCafeErrorCode, message: string, sid?: string];

/** What `Core.poll` returns; payloads, descriptions, candidates and ICE servers are JSON. */
export type CoreOutput =
  | [kind: 'signal', name: string, payload: string]
  | [kind: 'connection', id: number, ...command: Command]
  | [kind: 'iceServers', servers: string]
  | [kind: 'checkSignaller']
  | [kind: 'event', ...event: CoreEvent];

/** What `Session.poll` returns. */
export type SessionOutput =
  | [kind: 'signal', name: string, payload: string]
  | [kind: 'opened']
  | [kind: 'stateChanged', state: SignallerState];
