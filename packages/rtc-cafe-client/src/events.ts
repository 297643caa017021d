// Event handlers: `on`, `off`, `triggerHandler`.

import { RTCCafeError } from './errors.js';

/** The arguments of the event `Name`. */
export type EventArguments<Events, Name extends keyof Events> = Events[Name] extends unknown[] ? Events[Name] : never;

/** A function that is called with an event's arguments. It may be async; `triggerHandler` waits for it. */
export type EventHandler<Events, Name extends keyof Events> = (...args: EventArguments<Events, Name>) => unknown;

type Handlers = Set<(...args: unknown[]) => unknown>;

/** What both clients have in common: event handlers. */
export class EventEmitter<Events> {
  readonly #handlers = new Map<keyof Events, Handlers>();

  /**
   * Registers an event handler. A handler that is registered already stays registered once.
   *
   * @param eventName - The name of the event.
   * @param handler - Called with the event's arguments, after the handlers registered before.
   * @throws {@link RTCCafeError} `INVALID_ARGUMENT` if the handler is not a function.
   */
  on<Name extends keyof Events>(eventName: Name, handler: EventHandler<Events, Name>): null {
    if (typeof handler !== 'function') {
      throw new RTCCafeError('INVALID_ARGUMENT', 'an event handler must be a function');
    }
    const handlers = this.#handlers.get(eventName) ?? new Set();
    this.#handlers.set(eventName, handlers.add(handler as (...args: unknown[]) => unknown));
    return null;
  }

  /**
   * Detaches event handlers.
   *
   * @param eventName - The name of the event; `null` detaches all handlers of all events.
   * @param handler - The handler; without one, or with `null`, all handlers of the event are detached.
   */
  off<Name extends keyof Events>(eventName: Name | null, handler?: EventHandler<Events, Name> | null): null {
    if (eventName === null) this.#handlers.clear();
    else if (handler) this.#handlers.get(eventName)?.delete(handler as (...args: unknown[]) => unknown);
    else this.#handlers.delete(eventName);
    return null;
  }

  /**
   * Calls all handlers of an event, in the order in which they were registered, and waits for those that are async.
   * One that fails does not keep the others from being called.
   *
   * @returns A promise that resolves when all are done. It rejects with the error of the handler that failed, or with
   * an `AggregateError` if several did.
   */
  async triggerHandler<Name extends keyof Events>(name: Name, ...args: EventArguments<Events, Name>): Promise<void> {
    const results = await Promise.allSettled(this.#call(name, args));
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} handlers of "${String(name)}" failed`);
    if (errors.length === 1) throw errors[0];
  }

  /**
   * Tells an event. What handlers throw goes where uncaught errors go, and nowhere else; so does an `error` event that
   * nobody handles.
   *
   * @internal
   */
  emitEvent<Name extends keyof Events>(name: Name, ...args: EventArguments<Events, Name>): void {
    if (name === 'error' && !this.hasHandlers(name)) console.error(args[0]);
    for (const done of this.#call(name, args)) done.catch(report);
  }

  /**
   * Whether anybody handles the event.
   *
   * @internal
   */
  hasHandlers(name: keyof Events): boolean {
    return (this.#handlers.get(name)?.size ?? 0) > 0;
  }

  /** Calls the handlers at once; one that is detached meanwhile is not called any more. */
  #call(name: keyof Events, args: unknown[]): Promise<unknown>[] {
    const handlers = this.#handlers.get(name) ?? [];
    return [...handlers].map(async (handler) => {
      if ((handlers as Handlers).has(handler)) await handler(...args);
    });
  }
}

function report(error: unknown): void {
  if (typeof reportError === 'function') reportError(error);
  else console.error(error);
}
