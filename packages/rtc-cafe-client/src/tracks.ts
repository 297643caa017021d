// Media tracks: what a local one must be, and the tables of those of peers.

import { RTCCafeError } from './errors.js';

/** What a track carries. */
export type TrackKind = 'audio' | 'video';

/** What a track is, as its owner says. */
export interface TrackDefinition {
  /** Unique among the tracks of its owner. */
  id: string;
  /** Whatever the owner wrote, in JSON; look at it before you believe it. */
  description: unknown;
  kind: TrackKind;
}

/** A track of one's own. */
export interface LocalTrack extends TrackDefinition {
  track: MediaStreamTrack;
}

/** How a track is sent. */
export interface TrackOptions {
  /** How many bits a second it may take for each peer that requests it. */
  maxBitrate?: number;
  /** The codec to prefer, as `'VP9'` or `'video/VP9'`; a peer that lacks it is sent another. */
  codec?: string;
}

/**
 * A local track, as connections send it.
 *
 * @internal
 */
export interface TrackSource {
  readonly track: MediaStreamTrack;
  readonly encodings: RTCRtpEncodingParameters[];
  readonly codecs: RTCRtpCodec[];
}

/**
 * Checks that a track can be sent.
 *
 * @internal
 */
export function checkTrack(track: MediaStreamTrack, kind: string = track?.kind): void {
  const problem =
    typeof MediaStreamTrack === 'undefined' || !(track instanceof MediaStreamTrack)
      ? 'it is not a MediaStreamTrack'
      : track.readyState !== 'live'
        ? 'it has ended'
        : track.kind !== kind && `its kind is not "${kind}"`;
  if (problem) throw new RTCCafeError('INVALID_TRACK', `the track cannot be sent: ${problem}`);
}

/**
 * Checks the options of a track.
 *
 * @internal
 */
export function trackSource(track: MediaStreamTrack, { maxBitrate, codec }: TrackOptions): TrackSource {
  if (maxBitrate !== undefined && !(maxBitrate >= 1 && maxBitrate < 2 ** 32)) {
    throw new RTCCafeError('INVALID_ARGUMENT', '"maxBitrate" must be a number of bits per second');
  }
  const encodings = maxBitrate === undefined ? [] : [{ maxBitrate }];
  return { track, encodings, codecs: codec === undefined ? [] : codecOrder(track.kind, codec) };
}

/** All codecs that a browser has, the preferred one first; those that belong to others, like RTX, stay. */
function codecOrder(kind: string, codec: string): RTCRtpCodec[] {
  const type = (codec.includes('/') ? codec : `${kind}/${codec}`).toLowerCase();
  const preferred = ({ mimeType }: RTCRtpCodec) => mimeType.toLowerCase() === type;
  const [sent, received] = [RTCRtpSender, RTCRtpReceiver].map((each) => each.getCapabilities(kind)?.codecs ?? []);
  if (!sent?.some(preferred) || !received?.some(preferred)) {
    throw new RTCCafeError('UNSUPPORTED_CODEC', `this browser cannot send ${kind} as "${codec}"`);
  }
  return [...received.filter(preferred), ...received.filter((each) => !preferred(each))];
}

/**
 * What peers have, by sid and id of the track.
 *
 * @internal
 */
export class PeerTable<Value> {
  readonly #peers = new Map<string, Map<string, Value>>();

  set(sid: string, id: string, value: Value): void {
    const peer = this.#peers.get(sid) ?? new Map();
    this.#peers.set(sid, peer.set(id, value));
  }

  delete(sid: string, id: string): void {
    const peer = this.#peers.get(sid);
    if (peer?.delete(id) && !peer.size) this.#peers.delete(sid);
  }

  rename(oldSid: string, sid: string): void {
    const peer = this.#peers.get(oldSid);
    this.#peers.delete(oldSid);
    if (peer) this.#peers.set(sid, peer);
  }

  /** A copy of what the filters let through. */
  select(sids?: TrackFilter, ids?: TrackFilter): PeerRecord<Value> {
    const peers = pick(this.#peers, sids).map(([sid, peer]) => [sid, pick(peer, ids)] as const);
    const some = peers.filter(([, tracks]) => tracks.length);
    return Object.fromEntries(some.map(([sid, tracks]) => [sid, Object.fromEntries(tracks)]));
  }
}

/** By the sid of the peer and the id of the track. */
export type PeerRecord<Value> = Record<string, Record<string, Value>>;

/** The sids or ids to include; without it all. */
export type TrackFilter = readonly string[] | null | undefined;

/**
 * The entries that a filter lets through.
 *
 * @internal
 */
export function pick<Value>(map: Map<string, Value>, filter: TrackFilter): [string, Value][] {
  return [...map].filter(([name]) => !filter || filter.includes(name));
}
