// One's own camera, microphone and screen, and what of them the others are offered.

import { DeviceError, openCamera, openMicrophone, openScreen } from './video-room-devices.js';

// Everybody sends to everybody who asks: a camera must not fill the line.
const CAMERA = { maxBitrate: 1_000_000 };
const SCREEN = { maxBitrate: 2_500_000 };

/**
 * Each is `{id, track}` while it is offered, otherwise null. `tell.changed()` is told of everything, `tell.started()` when
 * something is tried, `tell.failed(sentence)` of what could not be opened, or ended.
 */
export class Mine {
  camera = null;
  microphone = null;
  screen = null;
  screenSound = null;
  /** The side of the camera that was asked for: 'user', 'environment' or ''. */
  side = '';
  #client;
  #tell;
  #busy = new Set();

  constructor(client, tell) {
    this.#client = client;
    this.#tell = tell;
  }

  /** Whether the microphone is offered and open. */
  get isHeard() {
    return this.microphone?.track.enabled ?? false;
  }

  isBusy(what) {
    return this.#busy.has(what);
  }

  toggleCamera() {
    return this.#once('camera', async () => {
      if (this.camera) this.#withdraw('camera');
      else this.#offer('camera', await openCamera(this.side), { what: 'camera' }, CAMERA);
    });
  }

  /** Opens the microphone, and from then on mutes it and unmutes it: words are not to wait for a device. */
  toggleMicrophone() {
    return this.#once('microphone', async () => {
      if (this.microphone) this.microphone.track.enabled = !this.microphone.track.enabled;
      else this.#offer('microphone', await openMicrophone(), { what: 'microphone' });
    });
  }

  toggleScreen() {
    return this.#once('screen', async () => {
      if (this.screen) {
        this.#withdraw('screen');
        return this.#withdraw('screenSound');
      }
      const { picture, sound } = await openScreen();
      picture.contentHint = 'detail';
      this.#offer('screen', picture, { what: 'screen' }, SCREEN);
      if (sound && this.screen) this.#offer('screenSound', sound, { what: 'screen' });
      else sound?.stop();
    });
  }

  /** Turns to the camera of the other side. */
  flip() {
    return this.#once('camera', async () => {
      const before = this.side;
      const now = this.camera?.track.getSettings().facingMode ?? (before || 'user');
      this.side = now === 'environment' ? 'user' : 'environment';
      await this.#swap('camera', () => openCamera(this.side)).catch((error) => {
        this.side = before;
        throw error;
      });
    });
  }

  /** Opens the device that is chosen now in place of the one before. */
  reopen(what) {
    return this.#once(what, async () => {
      if (what === 'camera') this.side = '';
      await this.#swap(what, () => (what === 'camera' ? openCamera() : openMicrophone()));
    });
  }

  /** Puts another track in the place of one that is offered; to those who watch, it stays the same. */
  async #swap(what, open) {
    const current = this[what];
    if (!current) return;
    const { enabled } = current.track;
    // Phones open one camera at a time.
    current.track.stop();
    try {
      const track = await open();
      track.enabled = enabled;
      current.track = track;
      this.#watch(what, track);
      await this.#client.replaceTrack(current.id, track);
    } catch (error) {
      this.#withdraw(what);
      throw error;
    }
  }

  #offer(what, track, description, options = {}) {
    try {
      this[what] = { id: this.#client.addTrack(track, description, options), track };
    } catch (error) {
      track.stop();
      throw error;
    }
    this.#watch(what, track);
  }

  #withdraw(what) {
    const current = this[what];
    if (!current) return;
    this[what] = null;
    current.track.stop();
    this.#client.removeTrack(current.id);
  }

  /** A track that ends by itself: a cable that was pulled, or the browser's own "Stop sharing". */
  #watch(what, track) {
    track.addEventListener('ended', () => {
      if (this[what]?.track !== track) return;
      this.#withdraw(what);
      if (what === 'screen') this.#withdraw('screenSound');
      if (what === 'camera' || what === 'microphone') {
        this.#tell.failed(`The ${what} is gone, or was taken back. Press its button to open it again.`);
      }
      this.#tell.changed();
    });
  }

  async #once(what, work) {
    if (this.#busy.has(what)) return;
    this.#busy.add(what);
    this.#tell.started();
    this.#tell.changed();
    try {
      await work();
    } catch (error) {
      console.debug(error.cause ?? error);
      const sentence = error instanceof DeviceError ? error.message : `That did not work: ${error?.message ?? error}`;
      if (sentence) this.#tell.failed(sentence);
    } finally {
      this.#busy.delete(what);
      this.#tell.changed();
    }
  }
}
