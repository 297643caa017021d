// What the package exports.

export { RTCCafeClient, type RTCCafeClientEvents, type RTCCafeClientOptions } from './client.js';
export { RTCCafeError, type RTCCafeErrorCode } from './errors.js';
export { EventEmitter, type EventArguments, type EventHandler } from './events.js';
export type {
  CandidatePairReport,
  CandidateReport,
  ConnectionPhase,
  ConnectionReport,
  IceServerFailure,
} from './report.js';
export type { ConnectionStats } from './stats.js';
export type { LocalTrack, PeerRecord, TrackDefinition, TrackFilter, TrackKind, TrackOptions } from './tracks.js';
export {
  LATEST_API_VERSION,
  RTCCafeSignallingClient,
  type ApiVersion,
  type IoOptions,
  type RTCCafeSignallingClientEvents,
  type RTCCafeSignallingClientOptions,
  type SignalModifier,
  type SignalName,
  type SignallerState,
} from './signaller.js';
