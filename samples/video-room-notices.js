// What the page has to say: news that go by themselves, and problems that stay until they are read.

import { make } from './view.js';
import { icon } from './video-room-icons.js';

const AT_MOST = 2;
const NEWS_FOR = 5000;

/** Sentences in a box, the newest last. */
export class Notices {
  #box;

  constructor(box) {
    this.#box = box;
  }

  /** Something that happened; around it may be a name. */
  news(before, name = '', after = '') {
    const shown = this.#add('news', before, make('bdi', { textContent: name }), after);
    setTimeout(() => shown.remove(), NEWS_FOR);
  }

  /** Something that is wrong, in place of what was wrong before. Returns the element, to be removed when it is right. */
  problem(sentence) {
    this.forget();
    const close = make('button', { type: 'button', className: 'quiet', 'aria-label': 'Close this message', title: 'Close' }, icon('close'));
    const shown = this.#add('problem', sentence);
    shown.append(close);
    close.addEventListener('click', () => shown.remove());
    return shown;
  }

  /** What was wrong is so no longer, or is tried again. */
  forget() {
    this.#box.querySelector('.problem')?.remove();
  }

  #add(className, ...content) {
    const shown = make('div', { className }, make('p', {}, ...content));
    this.#box.append(shown);
    if (this.#box.childElementCount > AT_MOST) this.#box.querySelector('.news').remove();
    return shown;
  }
}
