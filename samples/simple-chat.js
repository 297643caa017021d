// The chat page. Messages between pages are {kind: 'hello', name}, {kind: 'chat', text} and {kind: 'ping' | 'pong', nonce}.
//
// These stay as they are, for tests and for styles of one's own:
//   #name, #room, #join       the form's fields and its button; ?room=… in the address fills in the room
//   #people > li              one for each of the others: data-sid, data-state="connecting | connected", .name, .how
//   #me                       oneself: data-sid (absent until there is one), .name
//   #status                   data-state="setup | connected | reconnecting | closed"
//   #banner                   a sentence while the server is away, otherwise hidden
//   #log                      .message (with .who, .text, time; .mine for one's own; .fate when nobody read it) and
//                             .notice ("Ana is here" within 3 s of joining, then "Ana joined"; "Ana is back", "Ana left", errors)
//   #text, #send              the composer
//   #copy, #leave             copies the room's address; back to the form
//   #error                    why the chat could not start

import { MAX_NAME, MAX_ROOM, cleanLine, cleanText, randomRoom } from './simple-chat-text.js';
import { copy } from './clipboard.js';
import { Log, PersonLine, UnreadTitle, avatar, followKeyboard, memory } from './simple-chat-view.js';
import { People } from './simple-chat-people.js';

const $ = (id) => document.getElementById(id);
const HERE_BEFORE = 3000;
const SLOW_SERVER = 5000;
const MAX_EXCUSE = 200;
const STATES = { setup: 'Connecting…', connected: 'Connected', reconnecting: 'Reconnecting…', closed: 'Closed' };

// The room of the link, or a new one.
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
    const client = await connect();
    memory.write('localStorage', 'rtc-cafe-name', name);
    enter(client, name, room);
  } catch (error) {
    console.error(error);
    $('error').textContent = excuse(error);
    $('error').hidden = false;
    $('join').disabled = false;
  }
});

async function connect() {
  if (!globalThis.RTCPeerConnection) throw new Error('no WebRTC');
  const { RTCCafeClient, RTCCafeSignallingClient } = await import('../client/rtc-cafe-client.js');
  // The server may be nested under a path: it is found from where this file lies.
  const signaller = new RTCCafeSignallingClient({ host: new URL('..', import.meta.url).href });
  return new RTCCafeClient(undefined, { signaller });
}

function excuse(error) {
  if (!globalThis.RTCPeerConnection) return 'This browser has no WebRTC, or it is switched off, so it cannot connect to others.';
  if (error instanceof TypeError) return 'The chat could not be loaded from the server. Please reload this page in a moment.';
  return `The chat could not start: ${error?.message ?? error}`;
}

function enter(client, name, room) {
  const address = new URL(location.href);
  address.search = new URLSearchParams({ room }).toString();
  address.hash = '';
  history.replaceState(null, '', address);

  $('join-view').hidden = true;
  $('chat-view').hidden = false;
  $('room-name').textContent = room;
  $('leave').href = address.search;
  $('my-avatar').replaceWith(avatar(name));
  document.querySelector('#me .name').textContent = name;

  const title = new UnreadTitle();
  title.title = `${room} · RTCCafe`;
  const log = new Log($('log'), $('latest'));
  const people = showPeople(client, name, log, title);
  showState(client, people);
  showErrors(client, people, log);
  offerLink(address.href, log);
  compose(client, people, name, room, log);
  followKeyboard();

  client.joinRoom(room);
  $('text').focus({ preventScroll: true });
}

function showPeople(client, name, log, title) {
  const lines = new WeakMap();
  const entered = performance.now();
  const people = new People(client, name, {
    changed: show,
    arrived: (person) => {
      const early = performance.now() - entered < HERE_BEFORE;
      log.notice('', person.label, person.wasHere ? ' is back' : early ? ' is here' : ' joined');
    },
    left: (person) => log.notice('', person.label, ' left'),
    renamed: (person, before) => log.notice(`${before} is now called `, person.label),
    flooded: (person) => log.notice('', person.label, ' is sending too much; some of it is not shown'),
    said: (person, text) => {
      log.message({ who: person, name: person.label, text });
      title.arrived();
    },
  });

  function show() {
    const everybody = [...people];
    const shown = everybody.map((person) => {
      if (!lines.has(person)) lines.set(person, new PersonLine());
      const line = lines.get(person);
      line.show(person);
      return line.element;
    });
    const list = $('people');
    // Only a change of who is there touches the list, so that a reader of the screen is not disturbed.
    if (shown.length !== list.children.length || shown.some((item, index) => item !== list.children[index])) {
      list.replaceChildren(...shown);
    }
    const alone = everybody.length === 0;
    $('count').textContent = `${everybody.length + 1}`;
    $('chat-view').dataset.alone = alone;
    $('empty').hidden = !alone || !log.isEmpty;
    $('text').placeholder = people.connected ? 'Write a message' : alone ? 'Nobody else is here yet' : 'Someone is connecting…';
  }
  show();
  return people;
}

function showState(client, people) {
  let slow = false;
  const show = () => {
    const { state } = client;
    $('status').dataset.state = state;
    $('status').textContent = STATES[state] ?? state;
    const sentence = describe(state, people.connected > 0, slow);
    if ($('banner').textContent !== sentence) $('banner').textContent = sentence;
    $('banner').hidden = !sentence;
    if (client.sid && client.sid !== 'unassigned') $('me').dataset.sid = client.sid;
  };
  const late = () => {
    slow = true;
    show();
  };
  client.on('error', (error) => error?.code === 'SIGNALLER_UNREACHABLE' && late());
  client.on('signallerStateChanged', show);
  client.on('acquireSid', show);
  for (const event of ['connectToPeer', 'disconnectFromPeer']) client.on(event, show);
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

function showErrors(client, people, log) {
  client.on('error', (error) => {
    console.debug(error);
    switch (error?.code) {
      case 'UNDELIVERED': return log.notice('Messages to ', people.called(error.sid), ' were lost with the connection');
      case 'CONNECT_FAILED': return people.isHardToReach(error.sid);
      case 'SIGNAL_REFUSED': return log.notice(`The server refused: ${cleanLine(error.message, MAX_EXCUSE)}`);
    }
  });
}

function offerLink(address, log) {
  $('link').textContent = address.replace(/^https?:\/\//, '');
  for (const button of [$('copy'), $('copy-empty')]) {
    const label = button.querySelector('span');
    const before = label.textContent;
    let timer;
    button.addEventListener('click', async () => {
      if (!await copy(address)) return log.message({ who: 'link', name: 'The link to this room', text: address });
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

function compose(client, people, name, room, log) {
  const field = $('text');
  const me = {};
  const draft = `rtc-cafe-draft:${room}`;
  field.value = memory.readText('sessionStorage', draft);
  fit();

  field.addEventListener('input', () => {
    memory.write('sessionStorage', draft, field.value);
    fit();
  });
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  // A tap on the button must not take the keyboard away.
  $('send').addEventListener('pointerdown', (event) => event.preventDefault());
  $('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    send();
    field.focus({ preventScroll: true });
  });

  function send() {
    const text = cleanText(field.value);
    if (!text) return;
    let fate = '';
    try {
      if (people.connected) client.sendMessage({ kind: 'chat', text });
      else fate = 'Nobody else is here, so nobody has read this.';
    } catch (error) {
      console.error(error);
      if (error?.code !== 'QUEUE_FULL') return log.notice(`Your message was not sent: ${error?.message ?? error}`);
      fate = 'Somebody’s connection is too slow: not everyone got this.';
    }
    log.message({ who: me, name, text, mine: true, fate });
    $('empty').hidden = true;
    field.value = '';
    memory.write('sessionStorage', draft, '');
    fit();
  }

  function fit() {
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight + 2}px`;
  }
}
