// The client: turns calls and what happens into inputs of the core, and its outputs into deeds.

import { Connection } from './connection.js';
import { Core, type Answer, type Call, type ClientCalls, type CoreEvent, type CoreOutput } from './core.js';
import { RTCCafeError, type RTCCafeErrorCode } from './errors.js';
import { EventEmitter } from './events.js';
import { Alarm, followPage } from './page.js';
import { RTCCafeSignallingClient, type ApiVersion, type SignallerState } from './signaller.js';
import { IceServers, connectionReport, type ConnectionReport } from './report.js';
import type { ConnectionStats } from './stats.js';
import {
  LocalTracks,
  PeerTable,
  checkTrack,
  trackSource,
  type LocalTrack,
  type PeerRecord,
  type TrackDefinition,
  type TrackFilter,
  type TrackKind,
  type TrackOptions,
} from './tracks.js';

/** Connections that have ended and are remembered. */
const MAX_ENDED = 64;

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
  /**
   * A peer is gone: it has left, or was not heard of for so long that it is believed to have ended. That a connection is
   * lost and made again in between is not told.
   */
  disconnectFromPeer: [sid: string];
  /**
   * A message that was taken for a connected peer was not delivered, because the peer is gone. `mayHaveArrived` says
   * whether it may have come to the peer all the same, which nobody can tell.
   */
  messageUndelivered: [sid: string, message: Message, mayHaveArrived: boolean];
  /** A connected peer has a new sid. It is the same peer, over the same connection. */
  reassignPeerSid: [oldSid: string, sid: string];
  /** A peer has a track that can be requested, or describes it anew. */
  peerTrackDefined: [sid: string, definition: TrackDefinition];
  /** A track that was requested has arrived. */
  peerTrackIdentified: [sid: string, id: string, track: MediaStreamTrack];
  /** A track that had arrived is gone. */
  peerTrackRemoved: [sid: string, id: string];
  /** A peer's track can be requested no longer. */
  peerTrackDefinitionRemoved: [sid: string, id: string, kind: TrackKind, description: unknown];
  /** Something went wrong that no call could report. Without a handler it goes to the console. */
  error: [error: RTCCafeError];
}

/**
 * Joins rooms, connects to everybody in them, sends and receives messages, and offers and requests media tracks.
 *
 * @typeParam Message - What peers send to each other: anything that has a JSON.
 */
export class RTCCafeClient<Message = unknown> extends EventEmitter<RTCCafeClientEvents<Message>> {
  /** The connection to the signalling server. */
  readonly signaller: RTCCafeSignallingClient;
  /** Whether peers may finish their handshake over a mutual peer. */
  readonly enableWebRTCHandshake: boolean;
  readonly #core: Core;
  /** The rooms that were joined, as JSON. */
  readonly #rooms = new Set<string>();
  readonly #connections = new Map<number, Connection>();
  /** What was tried by those that have ended: reports are asked for when they have. */
  readonly #ended = new Map<number, Connection>();
  readonly #tracks = new LocalTracks(this.#connections, (id) => this.removeTrack(id));
  readonly #peerTrackDefinitions = new PeerTable<TrackDefinition>();
  readonly #peerTracks = new PeerTable<MediaStreamTrack>();
  readonly #iceFailures = new IceServers();
  readonly #detach: () => void;
  readonly #ownsSignaller: boolean;
  /** Ends all listening to the page. */
  readonly #ending = new AbortController();
  #rtcConfig: RTCConfiguration | null;
  #iceServers: RTCIceServer[] | undefined;
  /** Rings when the core asked to be woken up. */
  readonly #alarm = new Alarm(() => this.#hear(['timeout']));
  /** Set while outputs are carried out, so that they are carried out in their order. */
  #flushing = true;
  #closed = false;
  /** What all calls throw from now on. */
  #broken: RTCCafeError | undefined;

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
    this.#core = new Core(!!this.enableWebRTCHandshake, answersReady(rtcConfig));
    this.#ownsSignaller = !signaller;
    this.signaller = signaller ?? new RTCCafeSignallingClient(apiVersion === undefined ? {} : { apiVersion });
    this.#detach = this.signaller.attach({
      opened: () => this.#hear(['signallerOpened']),
      state: (state) => this.#hear(['signallerState', state]),
      signal: (name, payload) => this.#hear(['signal', name], payload),
      error: (error) => {
        this.emitEvent('error', error);
        // Whoever is thrown out of the rooms leaves its peers as well.
        if (error.code === 'KICKED') this.close();
      },
    });
    // A page that is left leaves its rooms, so that peers hear of it at once.
    followPage({
      left: () => {
        this.#leaveRooms();
        // Nobody could do it later.
        for (const connection of this.#ended.values()) connection.end();
      },
      back: () => this.#rejoinRooms(),
      woken: () => this.#wake(),
      networkChanged: () => this.networkChanged(),
    }, this.#ending.signal);
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
    this.#input(['configurationChange', answersReady(config)]);
  }

  /** The session id, by which peers know this client; `"unassigned"` until the server gave one. */
  get sid(): string {
    return this.#ask(['sid']) ?? 'unassigned';
  }

  /** The id by which peers know this client all its life. */
  get permanentId(): string {
    return this.#ask(['permanentId']);
  }

  /** The sids of the peers that are connected. */
  get connectedPeers(): string[] {
    return this.#ask(['connectedPeers']);
  }

  /** The sids of the peers that are there, connected or not. */
  get discoveredPeers(): string[] {
    return this.#ask(['discoveredPeers']);
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
    const id = roomId(room);
    this.#input(['joinRoom'], id);
    this.#rooms.add(id);
    return null;
  }

  /**
   * Leaves a room, at once and for as long as it is not joined again. Peers who share no other room are disconnected
   * from, and hear of it. To leave a room that was not joined, or was left already, does nothing.
   *
   * @param room - What `joinRoom` was called with.
   * @throws {@link RTCCafeError} `INVALID_ROOM`
   */
  leaveRoom(room: number | string): null {
    const id = roomId(room);
    this.#input(['leaveRoom'], id);
    this.#rooms.delete(id);
    return null;
  }

  /**
   * Has every connection look for another path, because the network has changed. Browsers that notice it themselves need
   * not be told.
   */
  networkChanged(): null {
    this.#iceFailures.forget();
    this.#input(['networkChange']);
    return null;
  }

  /**
   * Sends a message to connected peers: once, and in order, over however many connections it takes. If a peer is gone
   * before the message has come to it, the event `messageUndelivered` tells.
   *
   * @param message - Anything that has a JSON.
   * @param sid - The sid of the recipient, or several; default are all connected peers.
   * @throws {@link RTCCafeError} `NOT_SERIALIZABLE`, `MESSAGE_TOO_LONG`, `NOT_CONNECTED`, `QUEUE_FULL`
   */
  sendMessage(message: Message, sid?: string | readonly string[] | null): null {
    const sids = typeof sid === 'string' ? [sid] : sid && [...sid];
    checkTexts(...(sids ?? []));
    this.#input(['sendMessage', sids ?? null], serialize(message, 'NOT_SERIALIZABLE'));
    return null;
  }

  /**
   * Offers a media track to all peers, those who connect later included. Each is sent it when it requests it. A track
   * that ends by itself, as when the user stops sharing the screen, is removed. Adding a track again describes it anew,
   * and limits its bitrate anew for those who get it; its codec is for requests from then on.
   *
   * @param track - From a camera, a microphone, the screen, a canvas; it must not have ended.
   * @param description - What peers are told about it: anything that has a JSON, up to 16 KiB.
   * @returns The track's id, by which peers request it.
   * @throws {@link RTCCafeError} `INVALID_TRACK`, `INVALID_DESCRIPTION`, `UNSUPPORTED_CODEC`, `TOO_MANY_TRACKS`,
   * `INVALID_ARGUMENT`, `CLOSED`
   */
  addTrack(track: MediaStreamTrack, description: unknown = 'no description', options?: TrackOptions | null): string {
    if (this.#closed) throw new RTCCafeError('CLOSED', 'the client is closed');
    checkTrack(track);
    const id = this.#tracks.idOf(track);
    const source = trackSource(track, options ?? {});
    const text = serialize(description, 'INVALID_DESCRIPTION');
    this.#ask(['addTrack', id, track.kind], text);
    this.#tracks.add(id, source, text);
    this.#flush();
    return id;
  }

  /**
   * Takes a track back from all peers. The track itself goes on; stop it if nobody needs it.
   *
   * @returns The id, or `null` if there is no such track.
   */
  removeTrack(id: string): string | null {
    if (!this.#tracks.remove(id)) return null;
    this.#input(['removeTrack', id]);
    return id;
  }

  /**
   * Sends another track in the place of one that was added, under the same id, as when the user switches the camera.
   * Peers keep the track that they have, and see or hear the new one in it.
   *
   * @param id - What `addTrack` returned.
   * @param track - Of the same kind.
   * @returns A promise that resolves when all who get the track get the new one; of several calls the last one counts.
   * It rejects with an {@link RTCCafeError} `UNKNOWN_TRACK`, or `INVALID_TRACK`, after which the track before is sent.
   */
  replaceTrack(id: string, track: MediaStreamTrack): Promise<void> {
    return this.#tracks.replace(id, track);
  }

  /** The tracks that were added; with a filter, those with these ids. */
  getTracks(idFilter?: TrackFilter): LocalTrack[] {
    return this.#tracks.select(idFilter);
  }

  /** The tracks that peers offer, by sid and id; with filters, those of these peers and with these ids. */
  getPeerTrackDefinitions(sidFilter?: TrackFilter, idFilter?: TrackFilter): PeerRecord<TrackDefinition> {
    return structuredClone(this.#peerTrackDefinitions.select(sidFilter, idFilter));
  }

  /** The tracks of peers that have arrived, by sid and id; with filters, those of these peers and with these ids. */
  getPeerTracks(sidFilter?: TrackFilter, idFilter?: TrackFilter): PeerRecord<MediaStreamTrack> {
    return this.#peerTracks.select(sidFilter, idFilter);
  }

  /**
   * Asks a peer for one of its tracks, which arrives with the event `peerTrackIdentified`. The request holds until the
   * track is removed by either side: after a connection is lost, the track comes back by itself. Asking twice is
   * harmless.
   *
   * @throws {@link RTCCafeError} `NOT_CONNECTED`, `UNKNOWN_TRACK`, `INVALID_ARGUMENT`
   */
  requestPeerTrack(sid: string, id: string): null {
    checkTexts(sid, id);
    this.#input(['requestPeerTrack', sid, id]);
    return null;
  }

  /**
   * Has a peer's track sent no longer; others keep it, and it can be requested again.
   *
   * @returns The id, or `null` if the track was not requested.
   * @throws {@link RTCCafeError} `INVALID_ARGUMENT`
   */
  removePeerTrack(sid: string, id: string): string | null {
    checkTexts(sid, id);
    return this.#input(['removePeerTrack', sid, id]) ? id : null;
  }

  /**
   * How the connection to a peer does.
   *
   * @returns A promise; of `null` as long as the browser does not tell the path, as in the first moments. It rejects
   * with an {@link RTCCafeError} `NOT_CONNECTED` or `INVALID_ARGUMENT`.
   */
  async getStats(sid: string): Promise<ConnectionStats | null> {
    checkTexts(sid);
    const id = this.#ask(['connectionOf', sid]);
    const stats = id === null ? undefined : await this.#connections.get(id)?.stats();
    if (stats === undefined) throw new RTCCafeError('NOT_CONNECTED', `not connected to a peer with the sid ${sid}`);
    return stats;
  }

  /**
   * How the connection to a peer came about, or how far it got: for whoever asks why it did not.
   *
   * @param sid - A peer that is discovered, connected or not.
   * @returns A promise. It rejects with an {@link RTCCafeError} `UNKNOWN_PEER` or `INVALID_ARGUMENT`.
   */
  async getConnectionReport(sid: string): Promise<ConnectionReport> {
    checkTexts(sid);
    const known = () => this.#ask(['connectionReport', sid]);
    const id = known() && this.#ask(['connectionOf', sid]);
    const stats = id === null ? undefined : await (this.#connections.get(id) ?? this.#ended.get(id))?.rawStats();
    const report = known();
    if (!report) throw new RTCCafeError('UNKNOWN_PEER', `there is no peer with the sid ${sid}`, sid);
    return connectionReport(report, stats, this.#iceFailures.failures);
  }

  /**
   * Leaves every room and closes every connection, for good; peers hear of it at once. The signaller is disconnected
   * too, unless it was given to the constructor.
   */
  close(): null {
    if (this.#closed) return null;
    this.#leaveRooms();
    this.#input(['close']);
    this.#rooms.clear();
    for (const id of this.#tracks.ids) this.removeTrack(id);
    this.#end();
    return null;
  }

  /** Tells the core something, and then does what it says. */
  #input<Name extends keyof ClientCalls>(told: Call<ClientCalls, Name>, body?: string): Answer<ClientCalls, Name> {
    try {
      return this.#ask(told, body);
    } finally {
      this.#flush();
    }
  }

  /** Tells the core what happened; nobody else is there to be told what is wrong with it. */
  #hear<Name extends keyof ClientCalls>(told: Call<ClientCalls, Name>, body?: string): void {
    try {
      this.#input(told, body);
    } catch (error) {
      if (error !== this.#broken) this.emitEvent('error', error as RTCCafeError);
    }
  }

  /** Tells or asks the core, and leaves what it says for later. */
  #ask<Name extends keyof ClientCalls>(told: Call<ClientCalls, Name>, body?: string): Answer<ClientCalls, Name> {
    if (this.#broken) throw this.#broken;
    try {
      return this.#core.call(told, body);
    } catch (error) {
      // What the core refuses has a code. Everything else it cannot come back from.
      throw error instanceof RTCCafeError ? error : this.#break(error);
    }
  }

  #flush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      for (let output; !this.#broken && (output = this.#core.poll()); ) this.#perform(output);
    } catch (error) {
      this.#break(error);
    }
    this.#flushing = false;
    if (!this.#closed) this.#alarm.set(this.#ask(['deadline']));
  }

  /** Ends the client because of an error that should not be; peers go on without it. */
  #break(cause: unknown): RTCCafeError {
    if (this.#broken) return this.#broken;
    const error = new RTCCafeError('INTERNAL', `the client has failed: ${cause}`, undefined, cause);
    this.#broken = error;
    this.#detach();
    for (const connection of this.#connections.values()) connection.close();
    this.#closed = true;
    this.emitEvent('error', error);
    this.#end();
    return error;
  }

  /** Ends what goes on without being called. */
  #end(): void {
    this.#closed = true;
    this.#alarm.set(null);
    this.#ending.abort();
    if (this.#ownsSignaller) this.signaller.disconnect();
    this.#detach();
  }

  #perform(output: CoreOutput): void {
    switch (output[0]) {
      case 'signal':
        return this.signaller.sendNow(output[1], output[2]);
      case 'iceServers':
        this.#iceServers = JSON.parse(output[1]);
        // Credentials are made anew before they end.
        for (const connection of this.#connections.values()) connection.configure(this.rtcConfig);
        return;
      case 'checkSignaller':
        return this.signaller.check();
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
      // One transport for everything, from the start: tracks that are added later need no candidates.
      const config: RTCConfiguration = { bundlePolicy: 'max-bundle', ...this.rtcConfig };
      const connection = new Connection(config, this.#ask(['lowWater']), {
        event: (event, body) => this.#hear(['connection', id, ...event], body),
        iceServers: this.#iceFailures,
        source: (track) => this.#tracks.get(track),
      });
      this.#connections.set(id, connection);
      return;
    }
    const connection = this.#connections.get(id);
    if (command[0] === 'close') {
      this.#connections.delete(id);
      if (this.#ended.size >= MAX_ENDED) this.#ended.clear();
      if (connection) this.#ended.set(id, connection);
    }
    connection?.execute(...command);
  }

  #tell(event: CoreEvent): void {
    switch (event[0]) {
      case 'message':
        return this.#tellMessage(event[1], event[2]);
      case 'error':
        return this.emitEvent('error', new RTCCafeError(event[1], event[2], event[3] || undefined));
      case 'peerTrackDefined':
      case 'peerTrackIdentified':
      case 'peerTrackRemoved':
      case 'peerTrackDefinitionRemoved':
        return this.#tellTrack(event);
      case 'reassignPeerSid':
        this.#peerTrackDefinitions.rename(event[1], event[2]);
        this.#peerTracks.rename(event[1], event[2]);
        return this.emitEvent('reassignPeerSid', event[1], event[2]);
      case 'messageUndelivered':
        return this.emitEvent('messageUndelivered', event[1], JSON.parse(event[3]), event[2]);
      case 'signallerStateChanged':
        return this.emitEvent('signallerStateChanged', event[1]);
      case 'acquireSid':
      case 'connectToPeer':
      case 'disconnectFromPeer':
        this.emitEvent(event[0], event[1]);
    }
  }

  #tellTrack(event: Extract<CoreEvent, [name: `peerTrack${string}`, ...unknown[]]>): void {
    const [, sid, id] = event;
    switch (event[0]) {
      case 'peerTrackDefined': {
        const definition = () => ({ id, description: JSON.parse(event[4]), kind: event[3] });
        this.#peerTrackDefinitions.set(sid, id, definition());
        return this.emitEvent('peerTrackDefined', sid, definition());
      }
      case 'peerTrackIdentified': {
        const track = this.#connections.get(event[4])?.track(event[3]);
        if (!track) return;
        this.#peerTracks.set(sid, id, track);
        return this.emitEvent('peerTrackIdentified', sid, id, track);
      }
      case 'peerTrackRemoved':
        this.#peerTracks.delete(sid, id);
        return this.emitEvent('peerTrackRemoved', sid, id);
      case 'peerTrackDefinitionRemoved':
        this.#peerTrackDefinitions.delete(sid, id);
        this.emitEvent('peerTrackDefinitionRemoved', sid, id, event[3], JSON.parse(event[4]));
    }
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

  #leaveRooms(): void {
    for (const room of this.#rooms) this.#input(['leaveRoom'], room);
  }

  #rejoinRooms(): void {
    for (const room of this.#rooms) this.#input(['joinRoom'], room);
  }

  #wake(): void {
    this.#hear(['wake']);
  }
}

/** The id of a room as JSON; what is none becomes what the core refuses. */
function roomId(room: unknown): string {
  return typeof room === 'number' || typeof room === 'string' ? JSON.stringify(room) : 'null';
}

/**
 * How many answers are made ready for the first room: for one of eight. Firefox hangs with many connections that gather in
 * vain, and where there are relays each takes an allocation.
 */
function answersReady(config: RTCConfiguration | null | undefined): number {
  const relayed = /turns?:/.test(String(config?.iceServers?.map?.((server) => server?.urls)));
  return globalThis.navigator?.userAgent?.includes('Chrom') && !relayed ? 7 : 2;
}

function serialize(value: unknown, code: RTCCafeErrorCode): string {
  let cause;
  try {
    const text: string | undefined = JSON.stringify(value);
    if (text !== undefined) return text;
  } catch (error) {
    cause = error;
  }
  throw new RTCCafeError(code, 'it cannot be written as JSON', undefined, cause);
}

function checkTexts(...names: unknown[]): void {
  if (names.every((name) => typeof name === 'string')) return;
  throw new RTCCafeError('INVALID_ARGUMENT', 'sids and ids must be texts');
}
