// All tiles: who and what has one, which is large, and where each goes.

import { Tile } from './video-room-tile.js';
import { arrange } from './video-room-grid.js';

/** Shows the room in a list; beside oneself there is the invitation as long as nobody else is there. */
export class Stage {
  #list;
  #invitation;
  #room;
  #tell;
  #tiles = new Map();
  /** The keys of tiles in the order shown. */
  #shown = [];
  #pinned = null;
  #dismissed = null;
  #oneself = {};
  #ownScreen = {};

  constructor(list, invitation, room, tell) {
    this.#list = list;
    this.#invitation = invitation;
    this.#room = room;
    this.#tell = tell;
    new ResizeObserver(() => this.#place()).observe(list);
    // What of them counts as asking for sound differs between browsers, and between a mouse and a finger.
    for (const event of ['pointerdown', 'click', 'keydown']) {
      document.addEventListener(event, () => this.#tiles.forEach((tile) => tile.unblock()));
    }
  }

  /** Brings everything up to date. */
  show() {
    const models = this.#models();
    const keys = [...models.keys()];
    const stage = this.#onStage(models);
    for (const [key, tile] of this.#tiles) {
      if (models.has(key)) continue;
      tile.remove();
      this.#tiles.delete(key);
    }
    const entries = keys.map((key) => this.#tile(key).element);
    this.#invitation.hidden = [...this.#room.people].length > 0;
    this.#order(entries);
    for (const [key, model] of models) this.#tiles.get(key).show({ ...model, isOnStage: key === stage });
    this.#shown = keys;
    this.#follow(models);
    this.#hearing();
    this.#place();
  }

  /** Puts the keyboard's focus where a stream is stopped. */
  focus(stream) {
    const key = this.#tiles.has(stream) ? stream : this.#room.people.get(stream.sid);
    this.#tiles.get(key)?.focusStop();
  }

  /** What each tile shows, by what the tile is about: it stays the same when a sid changes. */
  #models() {
    const { people } = this.#room;
    const models = new Map([[this.#oneself, this.#ownModel()]]);
    if (this.#room.mine.screen) models.set(this.#ownScreen, this.#ownScreenModel());
    for (const person of people) {
      const streams = this.#room.streams.of(person.sid).filter((stream) => stream.wanted);
      const camera = cameraOf(streams);
      models.set(person, this.#personModel(person, camera, streams));
      for (const stream of streams) {
        if (stream.kind === 'video' && stream !== camera) models.set(stream, this.#streamModel(person, stream));
      }
    }
    return models;
  }

  #ownModel() {
    const { name, mine } = this.#room;
    const { camera } = mine;
    const isMirrored = camera?.track.getSettings().facingMode !== 'environment';
    return { ...this.#ofOneself(camera), what: 'camera', label: 'camera', face: name, isMirrored, isMuted: !mine.isHeard };
  }

  #ownScreenModel() {
    const own = this.#ofOneself(this.#room.mine.screen);
    return { ...own, what: 'screen', label: 'screen', face: '', isMirrored: false, isMuted: false };
  }

  #ofOneself(own) {
    return {
      sid: this.#room.client.sid, id: own?.id ?? '', kind: own ? 'video' : 'none', name: 'You', isMine: true, isWaiting: false,
      state: 'connected', path: '', how: '', track: own?.track ?? null, sounds: [],
    };
  }

  #personModel(person, camera, streams) {
    const heard = streams.filter(({ kind }) => kind === 'audio');
    const hasMicrophone = this.#room.streams.of(person.sid).some(({ what }) => what === 'microphone');
    return {
      ...ofPerson(person, camera), kind: camera ? 'video' : 'none',
      isMuted: person.connected && (person.muted || !hasMicrophone),
      sounds: heard.filter(({ track }) => track), heard,
    };
  }

  #streamModel(person, stream) {
    return { ...ofPerson(person, stream), kind: 'video', how: '', isMuted: false, sounds: [] };
  }

  #tile(key) {
    if (!this.#tiles.has(key)) {
      this.#tiles.set(key, new Tile({
        changed: () => this.#tell.changed(),
        blocked: () => this.#tell.blocked(),
        heard: () => this.#hearing(),
        pin: () => this.#pin(key),
        stop: (event) => this.#stop(key, event),
        hush: (event) => this.#hush(key, event),
        ask: (element) => this.#tell.asked(key, element),
      }));
    }
    return this.#tiles.get(key);
  }

  /** Tells when no tile is kept silent any more. */
  #hearing() {
    if (![...this.#tiles.values()].some((tile) => tile.isBlocked)) this.#tell.unblocked();
  }

  #stop(key, event) {
    const { stream } = this.#models().get(key) ?? {};
    if (stream) this.#tell.stopped(stream, event);
  }

  #hush(key, event) {
    for (const stream of this.#models().get(key)?.heard ?? []) this.#tell.stopped(stream, event);
  }

  #pin(key) {
    const models = this.#models();
    const isOnStage = this.#onStage(models) === key;
    this.#pinned = isOnStage ? null : key;
    this.#dismissed = isOnStage ? this.#presented(models) : null;
    this.#tell.changed();
  }

  /** The newest screen of somebody else. */
  #presented(models) {
    const screens = [...models].filter(([, { what, isMine }]) => what === 'screen' && !isMine);
    return screens.reduce((newest, [stream]) => (newest && newest.order > stream.order ? newest : stream), null);
  }

  #onStage(models) {
    if (models.has(this.#pinned)) return this.#pinned;
    const presented = this.#presented(models);
    return presented === this.#dismissed ? null : presented;
  }

  /** Only tiles that came or went touch the list: what has the focus keeps it. */
  #order(elements) {
    const all = [...elements, this.#invitation];
    all.forEach((element, index) => {
      if (this.#list.children[index] !== element) this.#list.insertBefore(element, this.#list.children[index] ?? null);
    });
  }

  #place() {
    const { clientWidth, clientHeight } = this.#list;
    const tiles = this.#shown.map((key) => this.#tiles.get(key)).filter(Boolean);
    const stage = tiles.findIndex((tile) => tile.element.classList.contains('stage'));
    const isAlone = !this.#invitation.hidden;
    const rectangles = arrange(tiles.length + (isAlone ? 1 : 0), clientWidth, clientHeight, stage);
    tiles.forEach((tile, index) => rectangles[index] && tile.place(rectangles[index]));
    const { x, y, width, height } = rectangles[tiles.length] ?? { x: 0, y: 0, width: 0, height: 0 };
    Object.assign(this.#invitation.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  }

  #follow(models) {
    const tracks = new Map();
    const { microphone } = this.#room.mine;
    if (microphone) tracks.set(microphone.track, (is) => this.#speaks(this.#oneself, is));
    for (const [key, { sounds }] of models) {
      for (const { track, what } of sounds) if (what !== 'screen') tracks.set(track, (is) => this.#speaks(key, is));
    }
    this.#room.speaking.follow(tracks);
  }

  #speaks(key, isSpeaking) {
    const tile = this.#tiles.get(key);
    if (tile) tile.isSpeaking = isSpeaking;
  }
}

function ofPerson(person, stream) {
  return {
    sid: person.sid, id: stream?.id ?? '', what: stream?.what ?? 'camera', label: stream?.label ?? 'camera', name: person.label,
    face: person.name && person.label, isMine: false, isMirrored: false, ...connection(person),
    isWaiting: stream !== null, track: stream?.track ?? null, stream,
  };
}

/** A program that does not say what it shows is seen like one that says "camera". */
function cameraOf(streams) {
  const pictures = streams.filter(({ kind }) => kind === 'video');
  return pictures.find(({ what }) => what === 'camera') ?? pictures.find(({ what }) => !what) ?? null;
}

/** How somebody is connected, in data and in words. */
function connection({ state, report, how }) {
  return { state, path: report?.path ?? '', how };
}
