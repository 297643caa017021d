// How a connection came about, or why it did not: what the core knows and what the browser knows, in one.

import { isRelayed, selectedPair, type Stat } from './stats.js';

/**
 * What the connection to a peer is at: `discovered`, nothing has been offered yet, or not again; `signalling`, offered
 * and not answered; `connecting`, paths are tried; `open`, messages flow; `silent`, there is a path, and the peer does not
 * answer; `recovering`, they flowed, and another path is looked for.
 */
export type ConnectionPhase = 'discovered' | 'signalling' | 'connecting' | 'open' | 'silent' | 'recovering';

/** One end of a candidate pair. */
export interface CandidateReport {
  type: RTCIceCandidateType;
  /** `'udp'` or `'tcp'`; of a relayed candidate of this end: how the TURN server is spoken to, `'tls'` included. */
  protocol: string | null;
  /** `null` where the browser keeps it secret. */
  address: string | null;
  port: number | null;
  /** The ICE server that it comes from, if the browser tells. */
  url: string | null;
}

/** Two addresses between which a path was tried. */
export interface CandidatePairReport {
  state: RTCStatsIceCandidatePairState;
  local: CandidateReport;
  remote: CandidateReport;
  /** In seconds, as it was measured last. */
  roundTripTime: number | null;
}

/** An ICE server that did not answer, or refused. */
export interface IceServerFailure {
  url: string;
  /** A STUN error code (RFC 8489 section 14.8), or 701: it did not answer. */
  errorCode: number;
  errorText: string;
}

/** How the connection to a peer came about, or how far it got. */
export interface ConnectionReport {
  /** What the connection is at. */
  phase: ConnectionPhase;
  /** The last phases, the oldest first, each with the time spent in it. The present one is the last. */
  phases: { phase: ConnectionPhase; milliseconds: number }[];
  /**
   * By which way the peer's offer or answer came: over the server, or over a peer to which both are connected. Until one
   * has come, what was tried last.
   */
  route: 'server' | 'peer' | 'both' | null;
  /** Connections that were tried. */
  attempts: number;
  /** How often another path was looked for within a connection. */
  restarts: number;
  /** Why the last connection failed, if one did. */
  failure: string | null;
  /** Whether everything goes through a TURN server; `null` while no path is selected. */
  path: 'direct' | 'relayed' | null;
  /** How this end speaks on the selected path: `'udp'`, `'tcp'` or `'tls'`. */
  protocol: string | null;
  /** In seconds, on the selected path. */
  roundTripTime: number | null;
  /** The path that is used. */
  selectedPair: CandidatePairReport | null;
  /** All paths that the present connection has tried, those that failed included. */
  candidatePairs: CandidatePairReport[];
  /** The ICE servers that did not answer, the latest last. They are the same for all peers. */
  iceServerFailures: IceServerFailure[];
}

/**
 * What the call `connectionReport` returns.
 *
 * @internal
 */
export type CoreReport = [
  route: ConnectionReport['route'],
  attempts: number,
  restarts: number,
  failure: string | null,
  ...phases: (ConnectionPhase | number)[],
];

/**
 * Puts together what is known.
 *
 * @internal
 */
export function connectionReport(
  [route, attempts, restarts, failure, ...steps]: CoreReport,
  stats: RTCStatsReport | undefined,
  iceServerFailures: IceServerFailure[],
): ConnectionReport {
  const phases: ConnectionReport['phases'] = [];
  for (let at = 0; at < steps.length; at += 2) {
    phases.push({ phase: steps[at] as ConnectionPhase, milliseconds: steps[at + 1] as number });
  }
  const all = stats ? ([...stats.values()] as Stat[]) : [];
  const pairs = new Map<Stat, CandidatePairReport>();
  for (const pair of all) {
    const [local, remote] = [stats?.get(String(pair['localCandidateId'])), stats?.get(String(pair['remoteCandidateId']))];
    if (pair.type !== 'candidate-pair' || !local || !remote) continue;
    pairs.set(pair, {
      state: pair['state'] as RTCStatsIceCandidatePairState,
      local: candidate(local),
      remote: candidate(remote),
      roundTripTime: (pair['currentRoundTripTime'] as number | undefined) ?? null,
    });
  }
  const selected = pairs.get(selectedPair(all) as Stat) ?? null;
  return {
    phase: phases.at(-1)?.phase ?? 'discovered',
    phases,
    route,
    attempts,
    restarts,
    failure,
    path: selected && (isRelayed(selected.local.type, selected.remote.type) ? 'relayed' : 'direct'),
    protocol: selected && selected.local.protocol,
    roundTripTime: selected && selected.roundTripTime,
    selectedPair: selected,
    candidatePairs: [...pairs.values()],
    iceServerFailures,
  };
}

function candidate({ candidateType, relayProtocol, protocol, address, port, url }: Record<string, any>): CandidateReport {
  return {
    type: candidateType,
    protocol: relayProtocol ?? protocol ?? null,
    address: address || null,
    port: port ?? null,
    url: url || null,
  };
}

/** Failures that are kept. */
const MAX_FAILURES = 16;

/**
 * The ICE servers that do not answer. One that answers on one of the addresses of this machine need not do so on all.
 *
 * @internal
 */
export class IceServers {
  readonly #failures = new Map<string, IceServerFailure>();
  readonly #answered = new Set<string>();

  /** A server does not answer. Its URL may leave out what is usual, which those that have answered do not. */
  failed({ url, errorCode, errorText }: IceServerFailure): void {
    if (!url || [...this.#answered].some((answered) => answered.startsWith(url))) return;
    this.#failures.delete(url);
    this.#failures.set(url, { url, errorCode, errorText });
    if (this.#failures.size > MAX_FAILURES) this.#failures.delete(this.failures[0]!.url);
  }

  /** A candidate came from this server; the browser need not tell. */
  answered(url: string | null | undefined): void {
    if (!url) return;
    this.#failures.delete(url);
    if (this.#answered.size < MAX_FAILURES) this.#answered.add(url);
  }

  /** On another network all is different. */
  forget(): void {
    this.#failures.clear();
    this.#answered.clear();
  }

  get failures(): IceServerFailure[] {
    return [...this.#failures.values()].map((failure) => ({ ...failure }));
  }
}
