// What the pages that show people are built with: elements, avatars, memory. Everything is built from nodes, never from HTML.

import { cleanLine, hueOf, initials } from './text.js';

/** An element with properties (`dataset` and `aria-…` included) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name.includes('-')) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** The round picture of somebody without one. */
export function avatar(name) {
  const element = make('span', { className: 'avatar', 'aria-hidden': 'true' });
  paint(element, name);
  return element;
}

/** Gives an avatar the letters and the colour of a name. */
export function paint(element, name) {
  element.textContent = name ? initials(name) : '?';
  element.style.setProperty('--hue', hueOf(name));
  element.classList.toggle('unnamed', !name);
}

/** Storage that may be forbidden, full, or hold anything. */
export const memory = {
  read(store, key, max) {
    try {
      return cleanLine(globalThis[store].getItem(key), max);
    } catch {
      return '';
    }
  },
  readText(store, key) {
    try {
      return globalThis[store].getItem(key) ?? '';
    } catch {
      return '';
    }
  },
  write(store, key, value) {
    try {
      if (value) globalThis[store].setItem(key, value);
      else globalThis[store].removeItem(key);
    } catch {
      // Private windows may refuse; the page works without.
    }
  },
};
