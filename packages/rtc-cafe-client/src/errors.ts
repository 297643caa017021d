// Errors with codes.

/** What went wrong, for programs. Each code is either thrown by a call or told in an `error` event. */
export type RTCCafeErrorCode =
  /** Thrown: an argument is of the wrong kind. */
  | 'INVALID_ARGUMENT'
  /** Thrown by `joinRoom` and `leaveRoom`: neither a number nor a text that is not empty, or too long. */
  | 'INVALID_ROOM'
  /** Thrown by `joinRoom`: no more rooms can be joined. */
  | 'TOO_MANY_ROOMS'
  /** Thrown: the client or the signaller was closed. */
  | 'CLOSED'
  /** Thrown by `sendMessage`: the message has no JSON, like a function or something circular. */
  | 'NOT_SERIALIZABLE'
  /** Thrown by `sendMessage`: nothing was sent, because the message is too long. */
  | 'MESSAGE_TOO_LONG'
  /** Thrown by `sendMessage`, `requestPeerTrack`, `getStats`: a sid is that of no connected peer; nothing was sent. */
  | 'NOT_CONNECTED'
  /** Thrown by `getConnectionReport`: a sid is that of no peer that is discovered. */
  | 'UNKNOWN_PEER'
  /** Thrown by `sendMessage`: some peers, its `sids`, take messages slower than they are sent, and were left out. */
  | 'QUEUE_FULL'
  /** Thrown by `addTrack` and `replaceTrack`: not a `MediaStreamTrack`, one that has ended, or of the wrong kind. */
  | 'INVALID_TRACK'
  /** Thrown by `addTrack`: the description has no JSON, or a long one. */
  | 'INVALID_DESCRIPTION'
  /** Thrown by `addTrack`: no more tracks can be offered. */
  | 'TOO_MANY_TRACKS'
  /** Thrown by `addTrack`: this browser cannot send with this codec. */
  | 'UNSUPPORTED_CODEC'
  /** Thrown by `replaceTrack` and `requestPeerTrack`: there is no track with this id, or not any more. */
  | 'UNKNOWN_TRACK'
  /** Thrown by constructors: there is no such version of the signalling API. */
  | 'UNKNOWN_API_VERSION'
  /** Thrown by constructors: there is no page whose host could be the signalling server. */
  | 'NO_HOST'
  /** Event: the signalling server cannot be reached, or refuses the connection; it is tried again. */
  | 'SIGNALLER_UNREACHABLE'
  /** Event: the operator of the signalling server has ended the session; the client is closed, and does not come back. */
  | 'KICKED'
  /** Event: `signalModifier` threw, so that a signal was not sent. */
  | 'SIGNAL_MODIFIER'
  /** Event: the signalling server refused a signal. */
  | 'SIGNAL_REFUSED'
  /** Event: a peer or the server said something that the protocol does not allow. */
  | 'PROTOCOL'
  /** Event: a connection to a peer could not be made; it is tried again while the peer is there. */
  | 'CONNECT_FAILED'
  /** Event, and thrown by all that is called later: the client has failed by a fault of its own, and is closed. */
  | 'INTERNAL';

/** Every error that this library throws or tells in an `error` event. */
export class RTCCafeError extends Error {
  override readonly name = 'RTCCafeError';
  /** What went wrong, for programs. */
  readonly code: RTCCafeErrorCode;
  /** The peer that it is about, if it is about one. */
  declare readonly sid?: string;
  /** The peers that were left out, where others were not. */
  declare readonly sids?: readonly string[];

  constructor(code: RTCCafeErrorCode, message: string, sid?: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    if (sid !== undefined) this.sid = sid;
  }
}
