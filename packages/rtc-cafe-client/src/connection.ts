// One RTCPeerConnection: does what the core says, one command after the other, and reports what comes of it.

import type { Command, ConnectionEvent } from './core.js';
import type { IceServers } from './report.js';
import { StatsMeter, isRelayed, type ConnectionStats } from './stats.js';
import type { TrackSender, TrackSource } from './tracks.js';

/** How long an offer that is prepared waits for its candidates. */
const GATHERING_MS = 1000;

/** After so long a connection has tried all paths. */
const TRYING_MS = 3000;

/** How long the last words may take to a peer that is still there. */
const LAST_WORDS_MS = 1500;

/** How long the browser may take to tell what it knows. Of a connection that ends meanwhile Firefox never tells it. */
const STATS_MS = 2000;

/** Browsers give a TURN server 40 seconds to answer, which is longer than a connection lasts that has no path. */
const SILENT_MS = 10_000;

/** Where a connection reports to. */
export interface ConnectionReports {
  /** Something happened. */
  event(event: ConnectionEvent, body?: string): void;
  /** Which ICE servers answer, and which do not. */
  iceServers: IceServers;
  /** The local track with an id, if it is still there. */
  source(id: string): TrackSource | undefined;
}

/** A peer connection with its one data channel, and an m-line for each track. */
export class Connection implements TrackSender {
  #pc: RTCPeerConnection | undefined;
  #channel: RTCDataChannel | undefined;
  #commands = Promise.resolve();
  #closed = false;
  /** The line of the answer that was foretold by which it is known. */
  #foretold: string | undefined;
  /** What was known when it did not connect at once: Chromium forgets what leads nowhere. */
  #tried: Promise<RTCStatsReport | undefined> | undefined;
  /** The offer is told when its candidates are there. */
  #preparing = false;
  /** The local tracks that are sent, by id. */
  readonly #sending = new Map<string, RTCRtpTransceiver>();
  readonly #meter = new StatsMeter(performance.now());
  readonly #reports: ConnectionReports;
  #config: RTCConfiguration;
  readonly #lowWater: number;

  /** Opens the connection. What is wrong with the configuration is reported as a failure. */
  constructor(config: RTCConfiguration, lowWater: number, reports: ConnectionReports) {
    this.#reports = reports;
    this.#config = config;
    this.#lowWater = lowWater;
    try {
      this.#open();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Carries out a command; its failure is reported. */
  execute(...[command, detail]: Command): void {
    if (command === 'send') this.#send(detail);
    else if (command === 'close') this.close();
    else this.#commands = this.#commands.then(() => this.#step(command, detail)).catch((error) => this.#fail(error));
  }

  /** Uses other ICE servers when it looks for paths again. */
  configure(config: RTCConfiguration): void {
    this.#config = config;
    try {
      this.#pc?.setConfiguration({ ...this.#pc.getConfiguration(), iceServers: config.iceServers ?? [] });
    } catch {
      // Closed, or the servers make no sense, as new connections will tell.
    }
  }

  /** Closes the connection behind what waits to be sent. Nothing is reported from now on, and no track flows. */
  close(): void {
    this.#closed = true;
    const channel = this.#channel;
    if (this.#pc?.connectionState !== 'connected' || channel?.readyState !== 'open') return this.end();
    for (const { sender } of this.#sending.values()) sender.replaceTrack(null).catch(() => {});
    // It is closed when the peer has got everything (RFC 8831 section 6.7); without that the browser drops what it has.
    channel.onclose = () => this.end();
    channel.close();
    setTimeout(channel.onclose, LAST_WORDS_MS);
  }

  /** Ends at once what was closed, which tells the peer. */
  end(): void {
    this.#pc?.close();
  }

  /** The peer's track on an m-line. */
  track(mid: string): MediaStreamTrack | undefined {
    return this.#pc?.getTransceivers().find((transceiver) => transceiver.mid === mid)?.receiver.track;
  }

  /** Sends another track in the place of one, if that is sent. Of several calls the last one counts. */
  async replaceTrack(id: string, track: MediaStreamTrack): Promise<void> {
    // Closed or stopped in the meantime, it sends nothing, which is no failure.
    const gone = (error: unknown) => {
      if (!this.#closed && this.#sending.has(id)) throw error;
    };
    await this.#sending.get(id)?.sender.replaceTrack(track).catch(gone);
  }

  /** Limits a track anew, if it is sent. */
  limitTrack(id: string, [limit]: RTCRtpEncodingParameters[]): void {
    const sender = this.#sending.get(id)?.sender;
    if (!sender) return;
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) {
      delete encoding.maxBitrate;
      Object.assign(encoding, limit);
    }
    // One that was stopped in the meantime has no limits.
    sender.setParameters(parameters).catch(() => {});
  }

  /** How the connection does: `null` while no path is known, `undefined` once it is closed. */
  async stats(): Promise<ConnectionStats | null | undefined> {
    const report = await this.#known();
    if (this.#closed || !this.#pc) return undefined;
    return report ? this.#meter.read(report, performance.now()) : null;
  }

  /** All that the browser knows of it, as long as it is open; or knew while it failed to connect. */
  rawStats(): Promise<RTCStatsReport | undefined> | undefined {
    if (this.#closed || (this.#tried && this.#unopened)) return this.#tried;
    return this.#known();
  }

  async #known(): Promise<RTCStatsReport | undefined> {
    return Promise.race([this.#pc?.getStats().catch(() => undefined), after(STATS_MS)]);
  }

  get #unopened(): boolean {
    return this.#channel?.readyState === 'connecting';
  }

  #open(): RTCPeerConnection {
    const pc = new RTCPeerConnection(this.#config);
    this.#pc = pc;
    pc.onicecandidate = ({ candidate }) => {
      // An empty candidate ends one generation; `null`, which follows, ends them all.
      if (candidate?.candidate === '') return;
      this.#reports.iceServers.answered((candidate as { url?: string | null } | null)?.url);
      // It is in the description.
      if (this.#preparing) return;
      this.#report(['candidateFound'], candidate ? JSON.stringify(candidate) : undefined);
    };
    pc.onicecandidateerror = (error) => this.#reports.iceServers.failed(error);
    pc.onicegatheringstatechange = () => setTimeout(() => this.#reportSilence(pc), SILENT_MS);
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === 'connecting') setTimeout(() => { if (this.#unopened) this.#tried ??= this.rawStats(); }, TRYING_MS);
      this.#report(['stateChanged'], pc.connectionState);
      this.#watchPath(pc.sctp?.transport.iceTransport);
    };
    pc.ontrack = ({ transceiver }) => {
      transceiver.direction = 'recvonly';
      if (transceiver.mid !== null) this.#report(['trackAdded'], transceiver.mid);
    };
    const channel = pc.createDataChannel('rtc-cafe', { negotiated: true, id: 0 });
    this.#channel = channel;
    channel.bufferedAmountLowThreshold = this.#lowWater;
    channel.onopen = () => this.#report(['channelOpen']);
    channel.onclose = () => this.#report(['channelClosed']);
    // Frames are text; the core says what it thinks of an empty one.
    channel.onmessage = ({ data }) => this.#report(['channelMessage'], typeof data === 'string' ? data : '');
    channel.onbufferedamountlow = () => this.#reportBuffered(channel);
    return pc;
  }

  /**
   * Takes back a first offer. After a rollback Chromium may gather nothing any more, so another connection takes its
   * place, of which the peer has seen as little.
   */
  #reopen(pc: RTCPeerConnection): RTCPeerConnection {
    pc.onicecandidate = pc.onconnectionstatechange = null;
    if (this.#channel) this.#channel.onclose = null;
    pc.close();
    return this.#open();
  }

  async #step(command: Command[0], detail = ''): Promise<void> {
    let pc = this.#pc;
    if (!pc || this.#closed) return;
    switch (command) {
      case 'foretellAnswer': {
        // With a pool Chromium knows ahead which credentials an answer will have. Otherwise it is of no use, and gathers
        // nothing once in some hundred times.
        pc.setConfiguration({ ...this.#config, iceCandidatePoolSize: this.#config.iceCandidatePoolSize || 1 });
        const foretold = (await pc.createOffer()).sdp ?? '';
        this.#foretold = /^a=ice-ufrag:.*$/m.exec(foretold)?.[0];
        this.#report(['answerForetold'], foretold.replace('a=setup:actpass', 'a=setup:active'));
        break;
      }
      case 'prepareOffer':
        this.#preparing = true;
        await pc.setLocalDescription();
        await gathered(pc);
        this.#preparing = false;
        this.#report(['offerCreated', {}], sdp(pc));
        break;
      case 'createOffer':
        await pc.setLocalDescription();
        this.#report(['offerCreated', this.#ids()], sdp(pc));
        break;
      case 'acceptOffer':
        if (pc.signalingState === 'have-local-offer' && !pc.currentRemoteDescription) pc = this.#reopen(pc);
        await pc.setRemoteDescription({ type: 'offer', sdp: detail });
        await pc.setLocalDescription();
        // What the peer believes already has to be true.
        if (this.#foretold && !sdp(pc).includes(this.#foretold)) throw new Error('the answer is another one');
        this.#foretold = undefined;
        this.#report(['answerCreated'], sdp(pc));
        break;
      case 'acceptAnswer':
        await pc.setRemoteDescription({ type: 'answer', sdp: detail });
        break;
      case 'addCandidate':
        // One that is of no use to this browser may be of none.
        await pc.addIceCandidate(detail ? JSON.parse(detail) : undefined).catch(() => {});
        break;
      case 'addTrack':
        this.#addTrack(pc, detail);
        break;
      case 'removeTrack':
        this.#sending.get(detail)?.stop();
        this.#sending.delete(detail);
        break;
      case 'restartIce':
        pc.restartIce();
    }
  }

  #addTrack(pc: RTCPeerConnection, id: string): void {
    const source = this.#reports.source(id);
    if (!source) return;
    const { track, encodings, codecs } = source;
    const transceiver = pc.addTransceiver(track, { direction: 'sendonly', sendEncodings: encodings });
    this.#sending.set(id, transceiver);
    // A preference: where it cannot be had, the track is sent nevertheless.
    if (codecs.length) transceiver.setCodecPreferences?.(codecs);
  }

  /** Which track goes out on which m-line. */
  #ids(): Record<string, string> {
    const ids = [...this.#sending].map(([id, { mid }]) => [mid, id]);
    return Object.fromEntries(ids.filter(([mid]) => mid !== null));
  }

  /** Tells which path is in use, where the browser does. */
  #watchPath(ice: RTCIceTransport | undefined): void {
    const look = () => {
      const pair = ice?.getSelectedCandidatePair?.();
      if (pair) this.#report(['pathChanged'], isRelayed(pair.local.type!, pair.remote.type!) ? 'relayed' : '');
    };
    if (ice) ice.onselectedcandidatepairchange = look;
    look();
  }

  #send(frame: string): void {
    const channel = this.#channel;
    // One that is closing reports by itself that it is closed.
    if (this.#closed || channel?.readyState !== 'open') return;
    try {
      channel.send(frame);
      this.#reportBuffered(channel);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Names the TURN servers that are still waited for, where the browser tells of candidates from which they are. */
  #reportSilence(pc: RTCPeerConnection): void {
    if (this.#closed || pc.iceGatheringState !== 'gathering' || !('url' in RTCIceCandidate.prototype)) return;
    for (const url of (this.#config.iceServers ?? []).flatMap(({ urls }) => urls)) {
      if (url.startsWith('turn')) this.#reports.iceServers.failed({ url, errorCode: 701, errorText: 'no answer' });
    }
  }

  #report(event: ConnectionEvent, body?: string): void {
    if (!this.#closed) this.#reports.event(event, body);
  }

  #reportBuffered(channel: RTCDataChannel): void {
    this.#report(['channelBuffered', channel.bufferedAmount]);
  }

  #fail(error: unknown): void {
    this.#report(['failed'], String(error));
  }
}

/** Waits until all candidates are there, or a second is over. */
async function gathered(pc: RTCPeerConnection): Promise<void> {
  const complete = new Promise<void>((resolve) => {
    const look = () => pc.iceGatheringState === 'complete' && resolve();
    pc.addEventListener('icegatheringstatechange', look);
    look();
  });
  await Promise.race([complete, after(GATHERING_MS)]);
}

function after(milliseconds: number): Promise<undefined> {
  return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}

function sdp(pc: RTCPeerConnection): string {
  return pc.localDescription?.sdp ?? '';
}
