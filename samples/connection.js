// How somebody is connected, or why not yet: a few words for everybody's line, and a card with the rest on demand.

import { avatar, make, paint } from './view.js';
import { cleanLine } from './text.js';

const STEPS = [['discovered', 'Found'], ['signalling', 'Called'], ['connecting', 'Paths'], ['open', 'Open']];
const KINDS = { host: 'own address', srflx: 'address seen by a STUN server', prflx: 'address seen on the way', relay: 'TURN server' };
const MAX_LINE = 160;

/** Milliseconds, as people read them. */
export function span(milliseconds) {
  if (milliseconds < 1000) return `${Math.max(1, Math.round(milliseconds))} ms`;
  if (milliseconds < 100_000) return `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 1 : 0)} s`;
  return milliseconds < 6e6 ? `${Math.round(milliseconds / 60_000)} min` : `${Math.round(milliseconds / 3.6e6)} h`;
}

/** A round trip in words, or ''. */
export const roundTrip = (seconds) => (Number.isFinite(seconds) ? span(seconds * 1000) : '');

/** What happens, in a sentence. */
function sentence({ state, isHard, report }) {
  if (state === 'connected') {
    if (!report?.path) return 'Connected.';
    return report.path === 'direct' ? 'Connected directly, from one to the other.' : 'Connected, with a TURN server in between.';
  }
  if (state === 'silent') return 'There is a path, and nobody answers: the page may be asleep. What is said to it waits.';
  if (state === 'recovering') return 'The path was lost. Another one is looked for; nothing that is said gets lost meanwhile.';
  const why = {
    discovered: report?.attempts ? 'The last attempt failed. The next one follows in a moment.' : 'Here, and about to be called.',
    signalling: 'Called, and not answered yet.',
    connecting: 'Both know of each other, and try paths.',
  }[report?.phase];
  return isHard && report?.phase === 'connecting' ? 'None of the paths leads there. It is tried again.' : why ?? 'Connecting.';
}

/** What else there is to know, as `[term, description]`. */
function facts({ report, stats }) {
  const rows = [];
  const add = (term, ...texts) => texts.every(Boolean) && rows.push([term, texts.join('')]);
  const pair = report?.selectedPair;
  add('Round trip', roundTrip(report?.roundTripTime));
  add('Over', report?.protocol?.toUpperCase(), pair?.remote.type === 'relay' || pair?.local.type === 'relay' ? ', relayed' : ' ');
  if (pair) {
    add('From', KINDS[pair.local.type]);
    add('To', KINDS[pair.remote.type]);
  } else if (report?.phase === 'connecting') {
    const { candidatePairs: tried } = report;
    const failed = tried.filter(({ state }) => state === 'failed').length;
    add('Paths tried', tried.length ? `${tried.length}, of which ${failed || 'none'} failed` : 'none yet, for want of addresses');
  }
  if (stats) {
    const bits = (rate) => (rate >= 1e6 ? `${(rate / 1e6).toFixed(1)} Mbit/s` : `${Math.round(rate / 1000)} kbit/s`);
    const lost = (part) => (part ? `, ${(part * 100).toFixed(1)} % lost` : '');
    add('In', bits(stats.incomingBitrate), lost(stats.packetLoss.incoming) || ' ');
    add('Out', bits(stats.outgoingBitrate), lost(stats.packetLoss.outgoing) || ' ');
  }
  add('Introduced by', { server: 'the server', peer: 'somebody both know', both: 'nobody yet' }[report?.route]);
  if (report?.attempts > 1) add('Attempts', `${report.attempts}`);
  if (report?.restarts) add('New paths', `${report.restarts}`);
  add('Last problem', cleanLine(report?.failure, MAX_LINE));
  if (report && report.phase !== 'open') for (const { url } of report.iceServerFailures) add('No answer from', cleanLine(url, MAX_LINE));
  return rows;
}

/** One card for the page, beside what it was opened from; on a phone at its foot. It follows the person while it is open. */
export class ConnectionCard {
  #person = null;
  #shown = '';
  #avatar = avatar('');
  #name = make('bdi');
  #sentence = make('p', { className: 'muted' });
  #steps = make('ol', { className: 'steps', 'aria-label': 'How far it got' });
  #facts = make('dl');
  #box = make('div', { id: 'connection', popover: 'auto', role: 'dialog', 'aria-label': 'Connection' },
    make('header', {}, this.#avatar, make('h2', {}, this.#name)), this.#sentence, this.#steps, this.#facts);

  constructor() {
    document.body.append(this.#box);
    this.#box.addEventListener('toggle', ({ newState }) => {
      if (newState === 'closed') this.#person = null;
    });
  }

  /** Shows how a person is connected, beside an element; a second time hides it. */
  toggle(person, element) {
    if (this.#person === person) return this.#box.hidePopover();
    this.#box.hidePopover();
    this.#person = person;
    this.update();
    this.#box.showPopover();
    this.#place(element);
  }

  /** Brings an open card up to date; whoever is gone takes it along. */
  update(isHere = () => true) {
    if (!this.#person) return;
    if (!isHere(this.#person)) return this.#box.hidePopover();
    const { name, label, state, report } = this.#person;
    this.#box.dataset.state = state;
    this.#box.dataset.path = report?.path ?? '';
    paint(this.#avatar, name && label);
    write(this.#name, label);
    write(this.#sentence, sentence(this.#person));
    const rows = facts(this.#person);
    const shown = JSON.stringify([rows, report?.phases]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#steps.replaceChildren(...steps(report));
    this.#facts.replaceChildren(...rows.flatMap(([term, text]) => [make('dt', { textContent: term }), make('dd', { textContent: text, dir: 'auto' })]));
  }

  #place(element) {
    const { left, right, top, bottom } = element.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height, style } = this.#box;
    const beside = right + 20 + width < innerWidth ? right + 20 : Math.min(left, innerWidth - width - 12);
    const below = right + 20 + width < innerWidth ? top - 8 : bottom + 8 + height < innerHeight ? bottom + 8 : top - height - 8;
    style.setProperty('--x', `${Math.max(12, beside)}px`);
    style.setProperty('--y', `${Math.max(12, Math.min(below, innerHeight - height - 12))}px`);
  }
}

function steps(report) {
  const phase = report?.phase ?? 'discovered';
  const instead = { recovering: 'Lost', silent: 'Silent' }[phase];
  const reached = instead ? STEPS.length - 1 : STEPS.findIndex(([each]) => each === phase);
  return STEPS.map(([each, label], at) => {
    const wanted = each === 'open' && instead ? phase : each;
    const spent = report?.phases.findLast(({ phase }) => phase === wanted)?.milliseconds;
    const state = at < reached ? 'done' : at === reached ? 'now' : 'ahead';
    return make('li', { dataset: { state, phase: wanted } },
      make('span', { textContent: wanted === each ? label : instead }),
      make('small', { textContent: at <= reached && spent !== undefined ? span(spent) : '' }));
  });
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
