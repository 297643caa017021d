// How a connection does, from the statistics of the browser.

/** How the connection to a peer does. Rates are those since the call before, if that is not too short. */
export interface ConnectionStats {
  /** In seconds. */
  roundTripTime: number | null;
  /** Bits per second that are sent to the peer, media and messages. */
  outgoingBitrate: number;
  /** Bits per second that come from the peer. */
  incomingBitrate: number;
  /** The part of the media's packets that is lost on the way, 0 to 1; `null` where there are none. */
  packetLoss: { outgoing: number | null; incoming: number | null };
  /** Whether everything goes through a TURN server. */
  path: 'direct' | 'relayed';
  /** The kind of this end's candidate. */
  localCandidateType: RTCIceCandidateType;
  /** The kind of the peer's candidate. */
  remoteCandidateType: RTCIceCandidateType;
}

/**
 * An entry of the browser's statistics.
 *
 * @internal
 */
export type Stat = Record<string, unknown> & { id: string; type: string; timestamp: number };

/** A shorter time than this, in milliseconds, gives no rate. */
const MIN_SPAN = 500;

/**
 * Turns counters into rates.
 *
 * @internal
 */
export class StatsMeter {
  #before: { at: number; report: RTCStatsReport | undefined };
  #latest: { at: number; report: RTCStatsReport | undefined };

  /** @param at - When the connection was opened, and all counters were zero. */
  constructor(at: number) {
    this.#before = this.#latest = { at, report: undefined };
  }

  /** What the report says; `null` if no path is selected. */
  read(report: RTCStatsReport, at: number): ConnectionStats | null {
    const stats = [...report.values()] as Stat[];
    const pair = selectedPair(stats);
    const [local, remote] = ['localCandidateId', 'remoteCandidateId'].map((key) => report.get(String(pair?.[key])));
    if (!pair || !local || !remote) return null;
    if (at - this.#latest.at >= MIN_SPAN) {
      this.#before = this.#latest;
      this.#latest = { at, report };
    }
    const seconds = Math.max(at - this.#before.at, 1) / 1000;
    const grown = (stat: Stat, key: string) =>
      (Number(stat[key]) || 0) - (Number(this.#before.report?.get(stat.id)?.[key]) || 0);
    const sum = (type: string, key: string) =>
      stats.filter((stat) => stat.type === type).reduce((sum, stat) => sum + grown(stat, key), 0);
    const lost = sum('inbound-rtp', 'packetsLost');
    const roundTripTime = pair['currentRoundTripTime'];
    return {
      roundTripTime: typeof roundTripTime === 'number' ? roundTripTime : null,
      outgoingBitrate: (grown(pair, 'bytesSent') * 8) / seconds,
      incomingBitrate: (grown(pair, 'bytesReceived') * 8) / seconds,
      packetLoss: {
        outgoing: part(sum('remote-inbound-rtp', 'packetsLost'), sum('outbound-rtp', 'packetsSent')),
        incoming: part(lost, lost + sum('inbound-rtp', 'packetsReceived')),
      },
      path: isRelayed(local.candidateType, remote.candidateType) ? 'relayed' : 'direct',
      localCandidateType: local.candidateType,
      remoteCandidateType: remote.candidateType,
    };
  }
}

function part(some: number, all: number): number | null {
  return all > 0 ? Math.min(Math.max(some / all, 0), 1) : null;
}

/**
 * The candidate pair that is used.
 *
 * @internal
 */
export function selectedPair(stats: Stat[]): Stat | undefined {
  const transport = stats.find(({ selectedCandidatePairId }) => selectedCandidatePairId);
  return stats.find(
    ({ type, id, selected, nominated, state }) =>
      type === 'candidate-pair' &&
      (transport ? id === transport['selectedCandidatePairId'] : (selected ?? (nominated && state === 'succeeded'))),
  );
}

/**
 * Whether a path between candidates of these kinds goes through a TURN server.
 *
 * @internal
 */
export function isRelayed(...types: RTCIceCandidateType[]): boolean {
  return types.includes('relay');
}
