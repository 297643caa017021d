// What peers send, made safe to show: shapes checked, lengths bounded, links found. No DOM in here.

export const MAX_NAME = 32;
export const MAX_ROOM = 60;
export const MAX_TEXT = 2000;

// Characters that are invisible, reorder their surroundings, or control a terminal. The joiner of emoji stays.
const UNSEEN = /[\p{Cc}\u00ad\u061c\u115f\u1160\u180e\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb]/gu;
const UNSEEN_BUT_LINES = new RegExp(`(?![\\n\\t\u200c])${UNSEEN.source}`, 'gu');
// More marks on one letter than any script needs cover the lines around it.
const PILED_MARKS = /(\p{M}{4})\p{M}+/gu;

function shorten(text, max, ellipsis = '') {
  const characters = Array.from(text);
  return characters.length > max ? characters.slice(0, max).join('') + ellipsis : text;
}

/** One line of text, such as a name or a room, or '' when there is nothing to see in it. */
export function cleanLine(value, max) {
  if (typeof value !== 'string') return '';
  const line = value.slice(0, max * 8).normalize('NFC').replace(/\s+/gu, ' ').replace(UNSEEN, '').replace(PILED_MARKS, '$1');
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(line) ? shorten(line.trim(), max).trim() : '';
}

/** A text of several lines, or '' when there is nothing to see in it. */
export function cleanText(value) {
  if (typeof value !== 'string') return '';
  const text = value.slice(0, MAX_TEXT * 4).replace(/\r\n?/g, '\n').replace(UNSEEN_BUT_LINES, '')
    .replace(PILED_MARKS, '$1').replace(/\n\s*\n\s*\n/g, '\n\n').replace(/^\s*\n|\s+$/g, '');
  return /\S/u.test(text) ? shorten(text, MAX_TEXT, '…') : '';
}

/** A peer's message as this page understands it, or null. */
export function readMessage(value) {
  if (typeof value === 'string') return readMessage({ kind: 'chat', text: value }); // what a simpler program sends
  if (typeof value !== 'object' || value === null) return null;
  switch (value.kind) {
    case 'hello': {
      const name = cleanLine(value.name, MAX_NAME);
      return name && { kind: 'hello', name };
    }
    case 'chat': {
      const text = cleanText(value.text);
      return text && { kind: 'chat', text };
    }
    case 'microphone':
      return { kind: 'microphone', muted: value.muted === true };
    default:
      return null;
  }
}

/** Cuts a text into pieces `{text, href?}`; only http and https addresses get a href. */
export function linkParts(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"'`]+/giu)) {
    const address = withoutTrailingPunctuation(match[0]);
    const href = webAddress(address);
    if (!href) continue;
    if (match.index > end) parts.push({ text: text.slice(end, match.index) });
    parts.push({ text: address, href });
    end = match.index + address.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

function withoutTrailingPunctuation(address) {
  let rest = address.replace(/[.,;:!?…*_]+$/u, '');
  // A closing bracket belongs to the address only if it was opened there: (see https://example.org/a_(b)).
  while (rest.endsWith(')') && rest.split(')').length > rest.split('(').length) {
    rest = rest.slice(0, -1).replace(/[.,;:!?…]+$/u, '');
  }
  return rest;
}

function webAddress(text) {
  try {
    const url = new URL(text);
    // https://bank.example@elsewhere.example is meant to mislead.
    const plain = !url.username && !url.password;
    return plain && (url.protocol === 'https:' || url.protocol === 'http:') ? url.href : null;
  } catch {
    return null;
  }
}

/** One or two letters for an avatar. */
export function initials(name) {
  const words = name.replace(/ \(\d+\)$/, '').match(/[\p{L}\p{N}][^\s._-]*/gu) ?? Array.from(name);
  const first = words[0] ?? '?';
  const last = words.length > 1 ? words[words.length - 1] : '';
  return [first, last].map((word) => Array.from(word)[0] ?? '').join('').toLocaleUpperCase();
}

const HUES = [160, 205, 265, 320, 14, 38, 110, 235, 290, 345, 182];

/** A colour for a name, the same on every page. */
export function hueOf(name) {
  let hash = 2166136261;
  for (const unit of name) hash = Math.imul(hash ^ unit.codePointAt(0), 16777619);
  return HUES[(hash >>> 8) % HUES.length];
}

const HOW = `amber bright brisk calm clever cosy crisp early easy fancy gentle golden happy hazel honest humble jolly
  kind lively lucky mellow merry misty noble plain quick quiet rosy silver sunny velvet warm`.split(/\s+/);
const WHAT = `almond bakery balcony biscuit cacao candle cinnamon clover corner crumb espresso garden ginger harbour
  kettle lantern lemon marble mocha nutmeg orchard parlour pepper piano saucer spoon stove sugar table terrace
  thimble window`.split(/\s+/);

/** A room's name that is easy to say, such as "velvet-mocha-417". */
export function randomRoom() {
  const [how, what, number] = crypto.getRandomValues(new Uint32Array(3));
  return `${HOW[how % HOW.length]}-${WHAT[what % WHAT.length]}-${100 + (number % 900)}`;
}
