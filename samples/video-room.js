// The video room. Messages between pages are {kind: 'hello', name} and {kind: 'microphone', muted}; a track's description
// is {what: 'camera' | 'microphone' | 'screen'}.
//
// These stay as they are, for tests and for styles of one's own, beside those of room.js:
//   #camera, #microphone,     the buttons with aria-pressed: "true" while the others are offered it (and, for the
//   #screen                   microphone, while it is not muted); aria-busy="true" while it is being opened
//   #flip                     turns to the camera of the other side; only on a phone whose camera is on
//   #tiles .tile              one for each person, and one for each thing shown beside a camera, one's own (.mine) included:
//     data-sid                of the person; oneself has "unassigned" until there is one
//     data-id                 of the video track, "" where there is none
//     data-kind               "video", or "none" for somebody without a picture
//     data-what               "camera" (also for somebody without a picture), "screen", or "" for what we do not know
//     data-state              "connecting | connected | silent | recovering": the connection to the person; data-path="direct | relayed", "" at first
//     data-media              "none | waiting | live | paused": the picture
//     video, audio[data-id]   what plays
//     button.how              opens #connection, which tells how the person is connected
//     button.stop             stops watching; button.hush stops listening; button.pin (aria-pressed) enlarges it
//     .speaking               while the person is heard; .stage while it is large; .tapped while its buttons are shown
//   #offers > li              what is offered and not watched: data-sid, data-id, data-kind="video | audio", a button
//   #notice                   .news and .problem
//   #settings, #settings-button, #camera-device, #microphone-device, #automatic     the dialog

import { ConnectionCard } from './connection.js';
import { DeviceError, canShareScreen } from './video-room-devices.js';
import { Mine } from './video-room-mine.js';
import { Notices } from './video-room-notices.js';
import { People } from './people.js';
import { Speaking } from './video-room-speaking.js';
import { Stage } from './video-room-stage.js';
import { Streams } from './video-room-streams.js';
import { askToJoin, offerLink, showServer } from './room.js';
import { cleanLine } from './text.js';
import { icon } from './video-room-icons.js';
import { keepAwake, settings } from './video-room-settings.js';
import { make } from './view.js';

const $ = (id) => document.getElementById(id);
const MAX_EXCUSE = 200;

const speaking = new Speaking();
askToJoin($('room-view'), enter, () => speaking.start());

function enter(client, name, room) {
  document.title = `${room} · RTCCafe`;
  const notices = new Notices($('notice'));
  const problem = (sentence) => notices.problem(sentence);
  let scheduled = false;
  // Several things happen at once, and a page in the background paints no frames.
  const changed = () => {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      show();
    });
  };

  const mine = new Mine(client, { changed, started: () => notices.forget(), failed: problem });
  const people = new People(client, name, {
    changed,
    arrived: (person) => notices.news('', person.label, ` ${person.arrival}`),
    left: (person) => notices.news('', person.label, ' left'),
  });
  const streams = new Streams(client, settings.automatic, {
    changed,
    failed: (error) => problem(`That did not work: ${cleanLine(error?.message, MAX_EXCUSE)}`),
  });
  const card = new ConnectionCard();
  /** What is said while the browser keeps silent. */
  let silence = null;
  const stage = new Stage($('tiles'), $('invitation'), { client, name, mine, people, streams, speaking }, {
    changed,
    asked: (person, element) => card.toggle(person, element),
    stopped: (stream, event) => giveUp(stream, event),
    blocked: () => {
      if (!silence?.isConnected) silence = problem('The browser keeps silent until you click: click anywhere, or press a key, to hear the others.');
    },
    unblocked: () => silence?.remove(),
  });

  function show() {
    stage.show();
    card.update((person) => people.has(person));
    showOffers(people, streams, watch);
    showControls(mine);
    tellMuted(client, mine);
  }

  function watch(stream, event) {
    streams.watch(stream);
    show();
    if (event.detail === 0) stage.focus(stream);
  }

  function giveUp(stream, event) {
    streams.stop(stream);
    show();
    if (event.detail === 0) cardOf(stream)?.querySelector('button').focus({ preventScroll: true });
  }

  showServer(client, () => people.connected > 0);
  client.on('acquireSid', changed);
  client.on('connectToPeer', (sid) => tellMuted(client, mine, sid));
  showErrors(client, people, problem);
  offerLink([$('copy'), $('copy-empty')], (address) => problem(`The link to this room: ${address}`));
  listen(mine);
  settings.open($('settings'), mine, streams);
  keepAwake();
  if (!globalThis.isSecureContext) problem(new DeviceError('camera').message);

  client.joinRoom(room);
  show();
  $('microphone').focus({ preventScroll: true });
}

/** A muted microphone stays offered, so that the others have to be told. */
const told = new WeakMap();
function tellMuted(client, mine, sid = null) {
  const muted = mine.microphone !== null && !mine.isHeard;
  const before = told.get(client) ?? false;
  told.set(client, muted);
  if (sid === null ? muted === before || !client.connectedPeers.length : !muted) return;
  try {
    client.sendMessage({ kind: 'microphone', muted }, sid);
  } catch (error) {
    // Somebody went away in this very moment, or is slow; whoever connects is told again.
    console.debug('not told', error);
  }
}

const cards = new WeakMap();
const cardOf = (stream) => cards.get(stream);

/** Cards for what is offered and not watched. */
function showOffers(people, streams, watch) {
  const unwatched = (sid) => streams.of(sid).filter((stream) => !stream.wanted);
  const offered = [...people].flatMap(({ sid, label }) => unwatched(sid).map((stream) => ({ stream, label })));
  const shown = offered.map(({ stream, label }) => {
    if (!cards.has(stream)) cards.set(stream, makeCard(stream, watch));
    const card = cards.get(stream);
    card.dataset.sid = stream.sid;
    write(card.querySelector('bdi'), label);
    write(card.querySelector('.offer'), ` offers: ${stream.label}`);
    const button = card.querySelector('button');
    button.setAttribute('aria-label', `${button.textContent} ${stream.kind === 'audio' ? 'to ' : ''}${label}’s ${stream.label}`);
    return card;
  });
  const list = $('offers');
  if (shown.length !== list.childElementCount || shown.some((card, index) => card !== list.children[index])) {
    list.replaceChildren(...shown);
  }
  list.hidden = !shown.length;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function makeCard(stream, watch) {
  const button = make('button', { type: 'button', textContent: stream.kind === 'audio' ? 'Listen' : 'Watch' });
  button.addEventListener('click', (event) => watch(stream, event));
  const { id, kind, what } = stream;
  const sentence = make('p', {}, make('bdi'), make('span', { className: 'offer' }));
  return make('li', { dataset: { id, kind } }, icon(what === 'screen' ? 'screen' : kind), sentence, button);
}

function listen(mine) {
  $('camera').addEventListener('click', () => mine.toggleCamera());
  $('microphone').addEventListener('click', () => mine.toggleMicrophone());
  $('screen').addEventListener('click', () => mine.toggleScreen());
  $('flip').addEventListener('click', () => mine.flip());
  $('screen').hidden = !canShareScreen();
}

const hasTwoSides = matchMedia('(pointer: coarse)');

function showControls(mine) {
  press($('camera'), mine.camera !== null, mine.isBusy('camera'));
  press($('microphone'), mine.isHeard, mine.isBusy('microphone'));
  press($('screen'), mine.screen !== null, mine.isBusy('screen'));
  $('flip').hidden = !hasTwoSides.matches || !mine.camera;
}

function press(button, isPressed, isBusy) {
  button.setAttribute('aria-pressed', isPressed);
  button.setAttribute('aria-busy', isBusy);
}

function showErrors(client, people, problem) {
  client.on('error', (error) => {
    console.debug(error);
    if (error?.code === 'CONNECT_FAILED') people.isHardToReach(error.sid);
    else if (error?.code === 'SIGNAL_REFUSED') problem(`The server refused: ${cleanLine(error.message, MAX_EXCUSE)}`);
  });
}
