// The chat's moving parts: the log, the list of people, the title, the keyboard.

import { hueOf, linkParts } from './text.js';
import { avatar, make, paint } from './view.js';

const LONGEST_LOG = 500;
const GROUP_WITHIN = 3 * 60_000;
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'short' });

function linked(text) {
  return linkParts(text).map((part) => part.href
    ? make('a', { href: part.href, title: part.href, target: '_blank', rel: 'noopener noreferrer nofollow ugc', textContent: part.text })
    : document.createTextNode(part.text));
}

/** The conversation: messages in groups, notices between them, the newest in sight unless one reads further up. */
export class Log {
  #box;
  #latest;
  #last = null;
  #atEnd = true;
  #below = 0;

  constructor(box, latest) {
    this.#box = box;
    this.#latest = latest;
    box.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    latest.addEventListener('click', () => this.#toEnd());
    // The on-screen keyboard and a growing text field take room away: what one reads stays in sight.
    new ResizeObserver(() => this.#atEnd && this.#toEnd()).observe(box);
  }

  get isEmpty() {
    return !this.#box.firstElementChild;
  }

  /** `who` is the person (groups are made of the same one), `name` what the person is called now. Returns what tells what became of the message. */
  message({ who, name, text, mine = false, fate = '' }) {
    const now = new Date();
    const follows = this.#last?.who === who && this.#last.name === name && now - this.#last.at < GROUP_WITHIN;
    const body = make('p', { className: 'text', dir: 'auto' }, ...linked(text));
    const element = make('article', { className: `message${mine ? ' mine' : ''}${follows ? ' follows' : ''}` },
      avatar(name),
      make('bdi', { className: 'who', textContent: name }),
      make('time', { dateTime: now.toISOString(), title: calendar.format(now), textContent: clock.format(now) }),
      body);
    element.style.setProperty('--hue', hueOf(name));
    const tell = (fate) => {
      if (element.lastElementChild.className === 'fate') element.lastElementChild.remove();
      element.append(make('p', { className: 'fate', role: 'status', textContent: fate }));
      if (this.#atEnd) this.#toEnd();
    };
    if (fate) tell(fate);
    this.#append(element, mine);
    this.#last = { who, name, at: now };
    if (!mine && !this.#atEnd) this.#count(this.#below + 1);
    return tell;
  }

  /** A line about the room: `before` and `after` surround a name. */
  notice(before, name = '', after = '') {
    this.#last = null;
    this.#append(make('p', { className: 'notice' }, before, make('bdi', { textContent: name }), after), false);
  }

  #append(element, follow) {
    const stay = this.#atEnd || follow;
    this.#box.append(element);
    while (this.#box.childElementCount > LONGEST_LOG) this.#box.firstElementChild.remove();
    if (stay) this.#toEnd();
  }

  #toEnd() {
    this.#box.scrollTop = this.#box.scrollHeight;
    this.#atEnd = true;
    this.#count(0);
  }

  #scrolled() {
    this.#atEnd = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < 48;
    if (this.#atEnd) this.#count(0);
    else this.#count(this.#below);
  }

  #count(below) {
    this.#below = below;
    this.#latest.hidden = this.#atEnd;
    this.#latest.querySelector('span').textContent = below ? `${below} new` : 'Latest';
  }
}

/** One person's line in the list. */
export class PersonLine {
  element;
  #name = make('bdi', { className: 'name' });
  #how = make('span', { className: 'how' });
  #avatar = avatar('');
  #button = make('button', { className: 'person', type: 'button' }, this.#avatar, this.#name, this.#how);

  /** `opened(button)` is called when somebody wants to know more. */
  constructor(opened) {
    this.element = make('li', {}, this.#button);
    this.#button.addEventListener('click', () => opened(this.#button));
  }

  show({ sid, state, name, label, how }) {
    this.element.dataset.sid = sid;
    this.element.dataset.state = state;
    this.#button.title = `${label}, ${how}`;
    if (this.#name.textContent !== label) this.#name.textContent = label;
    if (this.#how.textContent !== how) this.#how.textContent = how;
    paint(this.#avatar, name && label);
  }
}

/** Counts in the title what arrives while the page is in the background. */
export class UnreadTitle {
  #title = document.title;
  #unread = 0;

  constructor() {
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.#unread = 0;
      this.#show();
    });
  }

  set title(text) {
    this.#title = text;
    this.#show();
  }

  arrived() {
    if (!document.hidden) return;
    this.#unread += 1;
    this.#show();
  }

  #show() {
    document.title = this.#unread ? `(${this.#unread}) ${this.#title}` : this.#title;
  }
}

/** Keeps the page as high as what the on-screen keyboard leaves of it, where the browser does not do so itself. */
export function followKeyboard() {
  const viewport = globalThis.visualViewport;
  viewport?.addEventListener('resize', () => {
    if (viewport.scale > 1.01) return;
    document.documentElement.style.setProperty('--height', `${viewport.height}px`);
    scrollTo(0, 0);
  });
}
