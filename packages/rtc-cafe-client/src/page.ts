// The life of the page: timers that know of sleep, and what the browser tells of the page and its network.

/** A timer that comes so much later, in milliseconds, lets what happened meanwhile go first. */
const OVERDUE = 200;
/** So often it is looked whether the machine has slept, and so much later than that it has, in milliseconds. */
const LOOK = 3_000;
const SLEPT = 10_000;

/** `setTimeout` takes no longer time than this. */
const MAX_DELAY = 2 ** 31 - 1;

/** Calls back at one time, by `performance.now()`, that may be set anew. */
export class Alarm {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #deadline: number | null = null;
  /** Whether a timer that came late has let others go first. */
  #yielded = false;
  readonly #ring: () => void;

  /** Calls `ring` when it is time. */
  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Sets it to a time, or to none. */
  set(deadline: number | null): void {
    if (deadline !== null && deadline === this.#deadline) return;
    clearTimeout(this.#timer);
    this.#deadline = deadline;
    if (deadline === null) return;
    const fire = () => {
      this.#deadline = null;
      // The page slept: what others have said meanwhile waits behind this, and is to be heard before they are judged.
      this.#yielded = !this.#yielded && performance.now() - deadline > OVERDUE;
      if (this.#yielded) this.#timer = setTimeout(fire);
      else this.#ring();
    };
    this.#timer = setTimeout(fire, Math.min(Math.max(deadline - performance.now(), 0), MAX_DELAY));
  }
}

/** What is told of the page. */
export interface PageReports {
  /** It is left; it may come back. */
  left(): void;
  /** It was left, and is back. */
  back(): void;
  /** It may have slept. */
  woken(): void;
  /** It may be in another network. */
  networkChanged(): void;
}

/** Follows the life of the page and of its network until the signal ends it. */
export function followPage(reports: PageReports, signal: AbortSignal): void {
  const options = { signal, capture: true };
  const listeners: [string, (event: PageTransitionEvent) => void][] = [
    ['pagehide', () => reports.left()],
    // From the back-forward cache.
    ['pageshow', ({ persisted }) => persisted && reports.back()],
    ['online', () => reports.networkChanged()],
    ['resume', () => reports.woken()],
    ['visibilitychange', () => document.visibilityState === 'visible' && reports.woken()],
  ];
  // At the window also what is told to the document is heard on its way down.
  for (const [event, listener] of listeners) {
    globalThis.addEventListener?.(event, listener as (event: Event) => void, options);
  }
  watchSleep(reports.woken, signal);
  let type = connectionInfo()?.type;
  connectionInfo()?.addEventListener('change', () => {
    // It also tells new estimates of the speed.
    const before = type;
    type = connectionInfo()?.type;
    if (type !== before && type !== 'none') reports.networkChanged();
  }, options);
}

/** Tells when the machine has slept, which nobody else does, and `performance.now()` may not count; until the signal. */
function watchSleep(woken: () => void, signal: AbortSignal): void {
  let last = Date.now();
  const timer = setInterval(() => {
    const before = last;
    last = Date.now();
    if (last - before > LOOK + SLEPT) woken();
  }, LOOK);
  signal.addEventListener('abort', () => clearInterval(timer));
}

/** W3C Network Information, which Chromium has. */
function connectionInfo(): (EventTarget & { type?: string }) | undefined {
  return (globalThis.navigator as { connection?: EventTarget & { type?: string } } | undefined)?.connection;
}
