// The scenes of `conformance/`, and what plays them in a page: two `Connection`s of the npm package, side by side.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const SCENES = new URL('../../conformance/scenes.txt', import.meta.url);
const CLIENT = new URL('../../packages/rtc-cafe-client/', import.meta.url);

/** The scenes in the order of the file: title and lines; "connect" is the first scene. */
export async function scenes() {
  const texts = (await readFile(SCENES, 'utf8')).split('== ').filter((text) => text.trim());
  const found = texts.map((text) => {
    const [title, ...lines] = text.split('\n').map((line) => line.trim());
    return { title, lines: lines.filter(Boolean) };
  });
  assert.ok(found.length, 'there are scenes');
  return found.map(({ title, lines }) => ({
    title, lines: lines.flatMap((line) => (line === 'connect' ? found[0].lines : [line])),
  }));
}

/** A page that has the `Connection` of the npm package's sources and the player. */
export async function stagePage() {
  const { build } = createRequire(new URL('package.json', CLIENT))('esbuild');
  const { outputFiles: [{ text }] } = await build({
    entryPoints: [fileURLToPath(new URL('src/connection.ts', CLIENT))],
    bundle: true,
    format: 'iife',
    globalName: 'backend',
    target: 'es2022',
    write: false,
  });
  return `<!doctype html><meta charset="utf-8"><script>${text}\n(${player})();</script>`;
}

/** Is put into the page; it may not use anything from outside of itself but `backend`. */
function player() {
  /** As the core has it. */
  const LOW_WATER = 256 * 1024;
  /** After so long without an event there will be none. */
  const PATIENCE_MS = 15_000;

  /** Makes a track of a kind that needs no device. */
  const makeTrack = (kind) => {
    if (kind === 'audio') {
      const context = new AudioContext();
      const speaker = context.createMediaStreamDestination();
      const tone = context.createOscillator();
      tone.connect(speaker);
      tone.start();
      return speaker.stream.getAudioTracks()[0];
    }
    const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
    canvas.getContext('2d').fillRect(0, 0, 32, 32);
    return canvas.captureStream(10).getVideoTracks()[0];
  };

  /** A text, or one of so many bytes. */
  const textOf = (detail) => (/^\d+$/.test(detail) ? 'x'.repeat(Number(detail)) : detail);

  const split = (text) => {
    const at = text.indexOf(' ');
    return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
  };

  /** One of the two ends, and what it has reported. */
  class End {
    connection;
    /** `[kind, detail]` each; offers are `['offerCreated', { sdp, ids }]`. */
    events = [];
    /** Candidates of the other end that wait for its description. */
    candidates = [];
    described = false;
    buffered = 0;
    closed = false;
    /** Whether its data channel can be used. */
    talks = false;
    sources = new Map();
    #wake = () => {};

    constructor(found) {
      this.found = found;
    }

    open() {
      this.connection = new backend.Connection({}, LOW_WATER, {
        event: ([kind, more], body) => {
          if (kind === 'channelBuffered') {
            this.buffered = more;
            this.#wake();
          } else {
            this.#take(kind, kind === 'offerCreated' ? { sdp: body, ids: more } : body);
          }
        },
        iceServers: { failed() {}, answered() {} },
        source: (id) => this.sources.get(id),
      });
    }

    #take(kind, detail) {
      if (['stateChanged', 'pathChanged'].includes(kind)) return;
      if (kind === 'channelOpen') this.talks = true;
      if (kind === 'channelClosed') this.talks = false;
      if (kind === 'candidateFound') this.found(detail);
      else this.events.push([kind, detail]);
      this.#wake();
    }

    addTrack(id, kind) {
      this.sources.set(id, { track: makeTrack(kind), encodings: [], codecs: [] });
      this.connection.execute('addTrack', id);
    }

    passCandidates() {
      if (!this.described || this.closed) return;
      for (const candidate of this.candidates.splice(0)) this.connection.execute('addCandidate', candidate);
    }

    /** Waits until something holds. */
    async until(holds) {
      while (!holds()) {
        await new Promise((resolve, reject) => {
          const late = setTimeout(() => reject(new Error(`nothing more comes; there is ${this.summary}`)), PATIENCE_MS);
          this.#wake = () => {
            clearTimeout(late);
            resolve();
          };
        });
      }
      this.#wake = () => {};
    }

    /** Takes out the first event that is wanted, come already or yet to come. */
    async next(wanted) {
      await this.until(() => this.events.some(wanted));
      return this.events.splice(this.events.findIndex(wanted), 1)[0];
    }

    get summary() {
      return JSON.stringify(this.events).slice(0, 500);
    }
  }

  /** Two ends, and the descriptions that they gave, by name. */
  class Stage {
    #ends = { a: new End((candidate) => this.#pass('b', candidate)), b: new End((candidate) => this.#pass('a', candidate)) };
    #descriptions = new Map();

    #pass(to, candidate) {
      this.#ends[to].candidates.push(candidate);
      this.#ends[to].passCandidates();
    }

    async play(lines) {
      for (const line of lines) {
        const [name, rest] = split(line);
        try {
          if (rest.startsWith('> ')) await this.#expect(this.#ends[name], ...split(rest.slice(2)));
          else this.#act(this.#ends[name], ...split(rest));
        } catch (error) {
          throw new Error(`${line}: ${error.message}`, { cause: error });
        }
      }
      await this.#settle();
      for (const [name, end] of Object.entries(this.#ends)) {
        if (end.events.length) throw new Error(`at the end ${name} has left ${end.summary}`);
      }
    }

    #act(end, verb, detail) {
      switch (verb) {
        case 'open':
          end.open();
          break;
        case 'addTrack':
          end.addTrack(...split(detail));
          break;
        case 'acceptOffer':
        case 'acceptAnswer':
          end.connection.execute(verb, this.#descriptions.get(detail)?.sdp ?? detail);
          end.described = true;
          end.passCandidates();
          break;
        case 'addCandidate':
          end.connection.execute(verb, JSON.stringify({ candidate: detail }));
          break;
        case 'send':
          end.connection.execute(verb, textOf(detail));
          break;
        case 'removeTrack':
          end.connection.execute(verb, detail);
          break;
        case 'close':
          end.closed = true;
          // Falls through.
        case 'createOffer':
        case 'restartIce':
          end.connection.execute(verb);
          break;
        default:
          throw new Error('there is no such command');
      }
    }

    async #expect(end, kind, detail) {
      if (kind === 'drained') return end.until(() => end.buffered <= LOW_WATER);
      const [name, ...ids] = detail.split(' ');
      const [, came] = await end.next((event) => this.#is(event, kind, name, ids[0]));
      if (kind === 'offerCreated') {
        const sent = Object.values(came.ids).sort().join(' ');
        if (sent !== ids.sort().join(' ')) throw new Error(`the offer sends "${sent}"`);
        this.#descriptions.set(name, came);
      } else if (kind === 'answerCreated') {
        this.#descriptions.set(name, { sdp: came, ids: {} });
      } else if (kind === 'channelMessage' && came !== textOf(detail)) {
        throw new Error(`${came.length} characters came: ${came.slice(0, 100)}`);
      }
    }

    /** Whether an event is of the kind that is expected, and a track the one, for tracks of one offer come in any order. */
    #is([kind, detail], expected, offer, id) {
      return kind === expected && (kind !== 'trackAdded' || this.#descriptions.get(offer)?.ids[detail] === id);
    }

    /**
     * Comes back when the ends have done all they were told, and what they sent each other is there: an offer is made
     * behind every command, statistics come behind the browser's own work, and a message behind every message.
     */
    async #settle() {
      const ends = Object.values(this.#ends).filter((end) => end.connection && !end.closed);
      for (const end of ends) {
        end.connection.execute('createOffer');
        await end.next(([kind]) => kind === 'offerCreated');
        await end.connection.stats();
      }
      const { a, b } = this.#ends;
      if (ends.length < 2 || !a.talks || !b.talks) return;
      for (const [from, to] of [[a, b], [b, a], [a, b]]) {
        from.connection.execute('send', 'settled');
        await to.next(([kind, text]) => kind === 'channelMessage' && text === 'settled');
      }
    }

    close() {
      for (const { connection, sources } of Object.values(this.#ends)) {
        connection?.close();
        for (const { track } of sources.values()) track.stop();
      }
    }
  }

  globalThis.playScene = async (lines) => {
    const stage = new Stage();
    try {
      await stage.play(lines);
    } finally {
      stage.close();
    }
  };
}
