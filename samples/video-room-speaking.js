// Who is speaking: listens to tracks, one's own and those received.

const LOOK_EVERY = 100;
const SAMPLES = 1024;
// Loudness from which a voice is one, as the root mean square of samples between -1 and 1.
const VOICE = 0.015;
// Nobody stops speaking between two words.
const PAUSE = 600;

/** Tells of tracks whether somebody speaks in them. */
export class Speaking {
  #context = null;
  #ears = new Map();
  #samples = new Float32Array(SAMPLES);

  /** Is to be called by a click: until then browsers keep a page from hearing. */
  start() {
    try {
      this.#context ??= new AudioContext({ latencyHint: 'playback' });
      this.#context.resume().catch(() => {});
    } catch (error) {
      console.debug('who is speaking cannot be told', error);
    }
  }

  constructor() {
    setInterval(() => this.#look(), LOOK_EVERY);
  }

  /** Follows these tracks and no others: a Map of tracks to what is called with `true` or `false` as it changes. */
  follow(tracks) {
    for (const [track, ear] of this.#ears) {
      if (tracks.has(track)) continue;
      ear.source.disconnect();
      this.#ears.delete(track);
      ear.tell(false);
    }
    if (!this.#context) return;
    for (const [track, tell] of tracks) {
      const ear = this.#ears.get(track) ?? this.#listen(track);
      if (ear) ear.tell = tell;
    }
  }

  #listen(track) {
    if (track.readyState !== 'live') return null;
    try {
      const source = this.#context.createMediaStreamSource(new MediaStream([track]));
      const analyser = this.#context.createAnalyser();
      analyser.fftSize = SAMPLES;
      source.connect(analyser);
      const ear = { source, analyser, speaking: false, heard: -Infinity };
      this.#ears.set(track, ear);
      return ear;
    } catch (error) {
      // A microphone may run at a rate that the browser does not mix; it is heard all the same.
      console.debug('who is speaking cannot be told', error);
      return null;
    }
  }

  #look() {
    const now = performance.now();
    for (const [track, ear] of this.#ears) {
      if (track.enabled && this.#loudness(ear.analyser) > VOICE) ear.heard = now;
      const speaking = track.enabled && now - ear.heard < PAUSE;
      if (speaking !== ear.speaking) ear.tell(speaking);
      ear.speaking = speaking;
    }
  }

  #loudness(analyser) {
    analyser.getFloatTimeDomainData(this.#samples);
    return Math.sqrt(this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / SAMPLES);
  }
}
