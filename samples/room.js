// What every page with a room has: the form to join, the state of the server, the link to share.
//
// These stay as they are, for tests and for styles of one's own:
//   #name, #room, #join       the form's fields and its button; ?room=… in the address fills in the room
//   #error                    why the page could not start
//   #status                   data-state="setup | connected | reconnecting | closed"
//   #banner                   a sentence while the server is away, otherwise hidden
//   #copy, #leave             copies the room's address; back to the form

import { MAX_NAME, MAX_ROOM, cleanLine, randomRoom } from './text.js';
import { copy } from './clipboard.js';
import { memory } from './view.js';

const $ = (id) => document.getElementById(id);
const SLOW_SERVER = 5000;
const STATES = { setup: 'Connecting…', connected: 'Connected', reconnecting: 'Reconnecting…', closed: 'Closed' };

/**
 * Asks for a name and a room, by the form, and then shows `view` in its place. `enter(client, name, room)` is called
 * with a client that has not joined yet; `prepare()` while the click that joined still counts as one.
 */
export function askToJoin(view, enter, prepare = () => {}) {
  const invitation = cleanLine(new URLSearchParams(location.search).get('room'), MAX_ROOM);
  $('name').value = memory.read('localStorage', 'rtc-cafe-name', MAX_NAME);
  $('room').value = invitation || randomRoom();
  if (invitation) {
    $('greeting').textContent = 'You are invited';
    $('offer').textContent = 'Say who you are, and take a seat.';
  }
  ($('name').value ? $('join') : $('name')).focus({ preventScroll: true });

  $('shuffle').addEventListener('click', () => {
    $('room').value = randomRoom();
    $('room').setCustomValidity('');
  });
  for (const field of [$('name'), $('room')]) field.addEventListener('input', () => field.setCustomValidity(''));

  $('join-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const name = cleanLine($('name').value, MAX_NAME);
    const room = cleanLine($('room').value, MAX_ROOM);
    $('name').setCustomValidity(name ? '' : 'Please say what the others should call you.');
    $('room').setCustomValidity(room ? '' : 'Please name a room.');
    if (!event.target.reportValidity() || $('join').disabled) return;
    $('join').disabled = true;
    $('error').hidden = true;
    try {
      prepare();
      const client = await connect();
      memory.write('localStorage', 'rtc-cafe-name', name);
      open(view, room);
      // The others hear of it at once, however long the form takes to load.
      $('leave').addEventListener('click', () => client.leaveRoom(room));
      enter(client, name, room);
    } catch (error) {
      console.error(error);
      $('error').textContent = excuse(error);
      $('error').hidden = false;
      $('join').disabled = false;
    }
  });
}

async function connect() {
  if (!globalThis.RTCPeerConnection) throw new Error('no WebRTC');
  const { RTCCafeClient, RTCCafeSignallingClient } = await import('../client/rtc-cafe-client.js');
  // The server may be nested under a path: it is found from where this file lies.
  const signaller = new RTCCafeSignallingClient({ host: new URL('..', import.meta.url).href });
  return new RTCCafeClient(undefined, { signaller });
}

function excuse(error) {
  if (!globalThis.RTCPeerConnection) return 'This browser has no WebRTC, or it is switched off, so it cannot connect to others.';
  if (error instanceof TypeError) return 'The page could not be loaded from the server. Please reload it in a moment.';
  return `The page could not start: ${error?.message ?? error}`;
}

function open(view, room) {
  const address = new URL(location.href);
  address.search = new URLSearchParams({ room }).toString();
  address.hash = '';
  history.replaceState(null, '', address);

  $('join-view').hidden = true;
  view.hidden = false;
  $('room-name').textContent = room;
  $('leave').href = address.search;
}

/** Keeps `#status` and `#banner` up to date. `isTogether()` says whether somebody is connected. */
export function showServer(client, isTogether) {
  let slow = false;
  const show = () => {
    const { state } = client;
    $('status').dataset.state = state;
    $('status').textContent = STATES[state] ?? state;
    const sentence = describe(state, isTogether(), slow);
    if ($('banner').textContent !== sentence) $('banner').textContent = sentence;
    $('banner').hidden = !sentence;
  };
  const late = () => {
    slow = true;
    show();
  };
  client.on('error', (error) => error?.code === 'SIGNALLER_UNREACHABLE' && late());
  for (const event of ['signallerStateChanged', 'connectToPeer', 'disconnectFromPeer']) client.on(event, show);
  setTimeout(late, SLOW_SERVER);
  show();
}

function describe(state, together, slow) {
  switch (state) {
    case 'reconnecting':
      return together
        ? 'The server is away. Your conversation goes on; newcomers will find you once it is back.'
        : 'The server is away. You will be found again once it is back.';
    case 'closed':
      return together ? 'The server is closed to this page. Those who are here can still talk.' : 'The server is closed to this page.';
    case 'setup':
      return slow ? 'The server does not answer yet. This page keeps trying.' : '';
    default:
      return '';
  }
}

/** Makes buttons copy the address of the room; `unable(address)` is called where that is not possible. */
export function offerLink(buttons, unable) {
  const address = location.href;
  $('link').textContent = address.replace(/^https?:\/\//, '');
  for (const button of buttons) {
    const label = button.querySelector('span');
    const before = label.textContent;
    let timer;
    button.addEventListener('click', async () => {
      if (!await copy(address)) return unable(address);
      label.textContent = 'Copied';
      button.classList.add('done');
      clearTimeout(timer);
      timer = setTimeout(() => {
        label.textContent = before;
        button.classList.remove('done');
      }, 2000);
    });
  }
}
