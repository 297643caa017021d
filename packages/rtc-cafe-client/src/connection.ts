// One RTCPeerConnection: does what the core says, one command after the other, and reports what comes of it.

import type { Command, ConnectionEvent } from './core.js';

/** Where a connection reports to. */
export interface ConnectionReports {
  /** Something happened. */
  event(...event: ConnectionEvent): void;
  /** The data channel holds so many bytes. */
  buffered(bytes: number): void;
}

/** A peer connection with its one data channel. */
export class Connection {
  #pc: RTCPeerConnection | undefined;
  #channel: RTCDataChannel | undefined;
  #commands = Promise.resolve();
  #closed = false;
  readonly #reports: ConnectionReports;

  /** Opens the connection. What is wrong with the configuration is reported as a failure. */
  constructor(config: RTCConfiguration, lowWater: number, reports: ConnectionReports) {
    this.#reports = reports;
    try {
      this.#open(new RTCPeerConnection(config), lowWater);
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

  /** Closes the connection, which tells the peer. Nothing is reported from then on. */
  close(): void {
    this.#closed = true;
    this.#pc?.close();
  }

  #open(pc: RTCPeerConnection, lowWater: number): void {
    this.#pc = pc;
    pc.onicecandidate = ({ candidate }) => {
      // An empty candidate ends one generation; `null`, which follows, ends them all.
      if (candidate?.candidate === '') return;
      this.#report('candidateFound', candidate ? JSON.stringify(candidate) : undefined);
    };
    pc.onconnectionstatechange = () => this.#report('stateChanged', pc.connectionState);
    const channel = pc.createDataChannel('rtc-cafe', { negotiated: true, id: 0 });
    this.#channel = channel;
    channel.bufferedAmountLowThreshold = lowWater;
    channel.onopen = () => this.#report('channelOpen');
    channel.onclose = () => this.#report('channelClosed');
    // Frames are text; the core says what it thinks of an empty one.
    channel.onmessage = ({ data }) => this.#report('channelMessage', typeof data === 'string' ? data : '');
    channel.onbufferedamountlow = () => this.#reportBuffered(channel);
  }

  async #step(command: Command[0], detail?: string): Promise<void> {
    const pc = this.#pc;
    if (!pc || this.#closed) return;
    switch (command) {
      case 'createOffer':
        await pc.setLocalDescription();
        this.#report('offerCreated', sdp(pc));
        break;
      case 'acceptOffer':
        await pc.setRemoteDescription({ type: 'offer', sdp: detail ?? '' });
        await pc.setLocalDescription();
        this.#report('answerCreated', sdp(pc));
        break;
      case 'acceptAnswer':
        await pc.setRemoteDescription({ type: 'answer', sdp: detail ?? '' });
        break;
      case 'addCandidate':
        // One that is of no use to this browser may be of none.
        await pc.addIceCandidate(detail === undefined ? undefined : JSON.parse(detail)).catch(() => {});
    }
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

  #report(...event: ConnectionEvent): void {
    if (!this.#closed) this.#reports.event(...event);
  }

  #reportBuffered(channel: RTCDataChannel): void {
    if (!this.#closed) this.#reports.buffered(channel.bufferedAmount);
  }

  #fail(error: unknown): void {
    this.#report('failed', String(error));
  }
}

function sdp(pc: RTCPeerConnection): string {
  return pc.localDescription?.sdp ?? '';
}
