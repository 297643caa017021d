// One tile: somebody, seen and heard, or something that somebody shows.

import { avatar, make, paint } from './view.js';
import { icon } from './video-room-icons.js';

/** The picture and the sound of one person or screen, and the buttons on it. */
export class Tile {
  element;
  #model = null;
  #video = make('video', { autoplay: true, playsInline: true, muted: true, hidden: true });
  #avatar = avatar('');
  #name = make('bdi', { className: 'name' });
  #what = make('span', { className: 'what' });
  #how = make('button', { className: 'how', type: 'button', title: 'How this person is connected' });
  #muted = make('span', { className: 'silent', title: 'Muted' }, icon('muted'),
    make('span', { className: 'visually-hidden', textContent: 'muted' }));
  #speaks = make('span', { className: 'speaks', title: 'Speaking' }, icon('speaking'),
    make('span', { className: 'visually-hidden', textContent: 'speaking' }));
  #pin = make('button', { className: 'pin', type: 'button' }, icon('pin'));
  #hush = make('button', { className: 'hush', type: 'button' }, icon('hush'));
  #stop = make('button', { className: 'stop', type: 'button' }, icon('stop'));
  #sounds = new Map();
  #tell;

  /**
   * `tell.changed()` is told when the picture comes or goes, `tell.blocked()` when the browser keeps silent until a
   * click or a key, `tell.heard()` when there is sound; `tell.pin()`, `tell.hush(event)`, `tell.stop(event)`, `tell.ask(element)` are the buttons.
   */
  constructor(tell) {
    this.#tell = tell;
    this.element = make('li', { className: 'tile' }, this.#video, this.#avatar,
      make('p', { className: 'caption' }, this.#muted, this.#speaks, this.#name, this.#what, this.#how),
      make('div', { className: 'actions' }, this.#hush, this.#stop, this.#pin));
    for (const event of ['loadeddata', 'resize', 'emptied']) this.#video.addEventListener(event, () => tell.changed());
    // A finger has nothing to hover with: a tap shows the buttons, another one hides them.
    this.element.addEventListener('click', (event) => {
      if (!event.target.closest('button')) this.element.classList.toggle('tapped');
    });
    this.#pin.addEventListener('click', () => tell.pin());
    this.#hush.addEventListener('click', (event) => tell.hush(event));
    this.#how.addEventListener('click', () => tell.ask(this.#how));
    this.#stop.addEventListener('click', (event) => tell.stop(event));
  }

  /**
   * Shows a model `{sid, id, kind, what, name, label, face, isMine, isMirrored, isMuted, isWaiting, isOnStage, state,
   * path, how, track, sounds}`.
   */
  show(model) {
    this.#model = model;
    this.#play(model.track);
    this.#hear(model.sounds);
    const media = this.#media();
    const { dataset, classList } = this.element;
    const { sid, id, kind, what, state, path } = model;
    Object.assign(dataset, { sid, id, kind, what, state, path, media });
    classList.toggle('mine', model.isMine);
    classList.toggle('mirrored', model.isMirrored);
    classList.toggle('stage', model.isOnStage);
    this.#video.hidden = media !== 'live' && media !== 'paused';
    paint(this.#avatar, model.face);
    write(this.#name, model.name);
    write(this.#what, describe(model, media));
    write(this.#how, model.how);
    this.#muted.hidden = !model.isMuted;
    this.#showActions(model);
  }

  #showActions({ isMine, isOnStage, name, label, id, track, isWaiting, sounds }) {
    const thing = `${isMine ? 'your' : `${name}’s`} ${id ? label : 'tile'}`;
    call(this.#pin, `Enlarge ${thing}`);
    this.#pin.setAttribute('aria-pressed', isOnStage);
    this.#stop.hidden = isMine || !id || !(track || isWaiting);
    call(this.#stop, `Stop watching ${thing}`);
    this.#hush.hidden = isMine || !sounds.length;
    call(this.#hush, `Stop listening to ${name}`);
  }

  /** Whether somebody is heard right now. */
  set isSpeaking(isSpeaking) {
    this.element.classList.toggle('speaking', isSpeaking);
  }

  /** Puts the tile into a rectangle. */
  place({ x, y, width, height }) {
    Object.assign(this.element.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  }

  focusStop() {
    this.#stop.focus({ preventScroll: true });
  }

  /** Whether the browser keeps it silent. */
  get isBlocked() {
    return [...this.#sounds.values()].some(({ paused }) => paused);
  }

  /** Tries again to make sound, in a click or at a key. */
  unblock() {
    for (const audio of this.#sounds.values()) if (audio.paused) this.#start(audio);
  }

  /** Takes it off the page; nothing of it plays any more. */
  remove() {
    this.#play(null);
    this.#hear([]);
    this.element.remove();
  }

  #media() {
    const { track, isWaiting } = this.#model;
    if (!track) return isWaiting ? 'waiting' : 'none';
    if (this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || !this.#video.videoWidth) return 'waiting';
    return track.muted && !this.#model.isMine ? 'paused' : 'live';
  }

  #play(track) {
    const playing = this.#video.srcObject?.getTracks()[0] ?? null;
    if (playing === track) return;
    this.#video.srcObject = track && new MediaStream([track]);
    for (const event of ['mute', 'unmute']) track?.addEventListener(event, () => this.#tell.changed());
    if (track) this.#video.play().catch(() => {}); // the next track comes before this one has played
  }

  #hear(streams) {
    for (const [stream, audio] of this.#sounds) {
      if (streams.includes(stream)) continue;
      audio.srcObject = null;
      audio.remove();
      this.#sounds.delete(stream);
    }
    for (const stream of streams) {
      let audio = this.#sounds.get(stream);
      if (!audio) {
        audio = make('audio', { autoplay: true });
        this.#sounds.set(stream, audio);
        this.element.append(audio);
      }
      audio.dataset.id = stream.id;
      if (audio.srcObject?.getTracks()[0] === stream.track) continue;
      audio.srcObject = new MediaStream([stream.track]);
      this.#start(audio);
    }
  }

  #start(audio) {
    audio.play().then(() => this.#tell.heard(), (error) => error.name === 'NotAllowedError' && this.#tell.blocked());
  }
}

function describe({ label, what, isMine }, media) {
  if (media === 'waiting') return `${label} is coming…`;
  if (media === 'paused') return `${label} pauses`;
  if (isMine) return what === 'camera' ? '' : `your ${label}`;
  return label === 'camera' ? '' : label;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function call(button, name) {
  if (button.title === name) return;
  button.title = name;
  button.setAttribute('aria-label', name);
}
