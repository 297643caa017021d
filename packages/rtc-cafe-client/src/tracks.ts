// Media tracks: what a local one must be, which are offered, and the tables of those of peers.

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
  maxBitrate?: number | null;
  /**
   * The codec to prefer, as `'VP9'` or `'video/VP9'`; a peer that lacks it is sent another. Peers that get the track
   * already keep the codec that they have.
   */
  codec?: string | null;
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
  // Those of other frames are instances of another class.
  const problem =
    !['audio', 'video'].includes(track?.kind) || typeof track.addEventListener !== 'function'
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
  const isBitrate = typeof maxBitrate === 'number' && maxBitrate >= 1 && maxBitrate < 2 ** 32;
  if (!isBitrate && (maxBitrate ?? null) !== null) {
    throw new RTCCafeError('INVALID_ARGUMENT', '"maxBitrate" must be a number of bits per second');
  }
  if (typeof (codec ?? '') !== 'string') throw new RTCCafeError('INVALID_ARGUMENT', '"codec" must be a text');
  const codecs = typeof codec === 'string' ? codecOrder(track.kind, codec) : [];
  return { track, encodings: isBitrate ? [{ maxBitrate }] : [], codecs };
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
 * What sends local tracks to a peer.
 *
 * @internal
 */
export interface TrackSender {
  /** Sends another track in the place of the one with an id, if that is sent. */
  replaceTrack(id: string, track: MediaStreamTrack): Promise<void>;
  /** Limits the track with an id anew, if it is sent. */
  limitTrack(id: string, encodings: RTCRtpEncodingParameters[]): void;
}

/** A local track with its description in JSON. */
interface Offered extends TrackSource {
  description: string;
  track: MediaStreamTrack;
  /** What `addTrack` was called with. */
  readonly added: MediaStreamTrack;
  /** The last track that was put in its place everywhere, by the number of that replacement. */
  good: readonly [replacement: number, track: MediaStreamTrack];
  /** The number of the last replacement. */
  replacements: number;
  readonly onEnded: (event: Event) => void;
}

/**
 * One's own tracks, by id.
 *
 * @internal
 */
export class LocalTracks {
  readonly #offered = new Map<string, Offered>();
  readonly #senders: Map<unknown, TrackSender>;
  readonly #ended: (id: string) => void;

  /**
   * @param senders - Those that there are, at any time.
   * @param ended - Is called when a track has ended by itself.
   */
  constructor(senders: Map<unknown, TrackSender>, ended: (id: string) => void) {
    this.#senders = senders;
    this.#ended = ended;
  }

  get(id: string): TrackSource | undefined {
    return this.#offered.get(id);
  }

  /** The ids of all tracks. */
  get ids(): string[] {
    return [...this.#offered.keys()];
  }

  /** The id by which a track was added, or else the one to add it by: its own, unless another track took its place. */
  idOf(track: MediaStreamTrack): string {
    const before = [...this.#offered].find(([, offered]) => offered.added === track && offered.track === track);
    if (before) return before[0];
    let id = track.id;
    for (let count = 2; this.#offered.has(id); count += 1) id = `${track.id}-${count}`;
    return id;
  }

  /** Keeps a track, or what is new of it; those who get it get it with the new limit. */
  add(id: string, source: TrackSource, description: string): void {
    const before = this.#offered.get(id);
    if (before) {
      Object.assign(before, source, { description });
      for (const sender of this.#senders.values()) sender.limitTrack(id, source.encodings);
      return;
    }
    const { track } = source;
    const onEnded = ({ target }: Event) => {
      if (target === this.#offered.get(id)?.track) this.#ended(id);
    };
    track.addEventListener('ended', onEnded);
    this.#offered.set(id, { ...source, description, added: track, good: [0, track], replacements: 0, onEnded });
  }

  /** Returns whether there was such a track. */
  remove(id: string): boolean {
    const offered = this.#offered.get(id);
    offered?.track.removeEventListener('ended', offered.onEnded);
    return this.#offered.delete(id);
  }

  /** Sends another track in the place of one; if that fails anywhere, and nothing followed, the one before is back. */
  async replace(id: string, track: MediaStreamTrack): Promise<void> {
    const offered = this.#offered.get(id);
    if (!offered) throw new RTCCafeError('UNKNOWN_TRACK', `there is no track with the id ${id}`);
    checkTrack(track, offered.track.kind);
    const replacement = (offered.replacements += 1);
    try {
      await this.#put(id, offered, track);
      if (replacement > offered.good[0]) offered.good = [replacement, track];
    } catch (cause) {
      if (replacement === offered.replacements && this.#offered.get(id) === offered) {
        offered.good = [replacement, offered.good[1]];
        this.#put(id, offered, offered.good[1]).catch(() => {});
      }
      throw new RTCCafeError('INVALID_TRACK', `the track cannot be sent: ${String(cause)}`, undefined, cause);
    }
  }

  async #put(id: string, offered: Offered, track: MediaStreamTrack): Promise<void> {
    offered.track.removeEventListener('ended', offered.onEnded);
    offered.track = track;
    track.addEventListener('ended', offered.onEnded);
    await Promise.all([...this.#senders.values()].map((sender) => sender.replaceTrack(id, track)));
  }

  /** The tracks that a filter lets through. */
  select(filter: TrackFilter): LocalTrack[] {
    return pick(this.#offered, filter).map(([id, { track, description }]) => {
      return { id, description: JSON.parse(description), kind: track.kind as TrackKind, track };
    });
  }
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
