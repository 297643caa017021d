// The chat page. Messages between pages are {kind: 'hello', name} and {kind: 'chat', text}.
//
// These stay as they are, for tests and for styles of one's own, beside those of room.js:
//   #people > li              one for each of the others: data-sid, data-state="connecting | connected | silent | recovering", .name,
//                             .how; its button opens #connection, which tells more
//   #me                       oneself: data-sid (absent until there is one), .name
//   #log                      .message (with .who, .text, time; .mine for one's own; .fate when somebody did not get it) and
//                             .notice ("Ana is here" within 3 s of joining, then "Ana joined"; "Ana is back", "Ana left", errors)
//   #text, #send              the composer

import { ConnectionCard } from './connection.js';
import { cleanLine, cleanText } from './text.js';
import { Log, PersonLine, UnreadTitle, followKeyboard } from './simple-chat-view.js';
import { People } from './people.js';
import { askToJoin, offerLink, showServer } from './room.js';
import { avatar, memory } from './view.js';

const $ = (id) => document.getElementById(id);
const MAX_EXCUSE = 200;
const REMEMBERED = 500;
const list = new Intl.ListFormat('en');

askToJoin($('chat-view'), enter);

function enter(client, name, room) {
  $('my-avatar').replaceWith(avatar(name));
  document.querySelector('#me .name').textContent = name;

  const title = new UnreadTitle();
  title.title = `${room} · RTCCafe`;
  const log = new Log($('log'), $('latest'));
  const people = showPeople(client, name, log, title);
  showServer(client, () => people.connected > 0);
  client.on('acquireSid', (sid) => { $('me').dataset.sid = sid; });
  showErrors(client, people, log);
  offerLink([$('copy'), $('copy-empty')], (address) => log.message({ who: 'link', name: 'The link to this room', text: address }));
  compose(client, people, name, room, log);
  followKeyboard();

  client.joinRoom(room);
  $('text').focus({ preventScroll: true });
}

function showPeople(client, name, log, title) {
  const lines = new WeakMap();
  const card = new ConnectionCard();
  const people = new People(client, name, {
    changed: show,
    arrived: (person) => log.notice('', person.label, ` ${person.arrival}`),
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
      if (!lines.has(person)) lines.set(person, new PersonLine((button) => card.toggle(person, button)));
      const line = lines.get(person);
      line.show(person);
      return line.element;
    });
    const list = $('people');
    // Only a change of who is there touches the list, so that a reader of the screen is not disturbed.
    if (shown.length !== list.children.length || shown.some((item, index) => item !== list.children[index])) {
      list.replaceChildren(...shown);
    }
    card.update((person) => people.has(person));
    const alone = everybody.length === 0;
    $('count').textContent = `${everybody.length + 1}`;
    $('chat-view').dataset.alone = alone;
    $('empty').hidden = !alone || !log.isEmpty;
    $('text').placeholder = people.connected ? 'Write a message' : alone ? 'Nobody else is here yet' : 'Someone is connecting…';
  }
  show();
  return people;
}

function showErrors(client, people, log) {
  client.on('error', (error) => {
    console.debug(error);
    switch (error?.code) {
      case 'CONNECT_FAILED': return people.isHardToReach(error.sid);
      case 'SIGNAL_REFUSED': return log.notice(`The server refused: ${cleanLine(error.message, MAX_EXCUSE)}`);
    }
  });
}

/** Tells below one's own messages who did not get them. */
function showFates(client, people) {
  const messages = new Map();
  let last = 0;
  client.on('messageUndelivered', (sid, { kind, id }, mayHaveArrived) => {
    const message = messages.get(id);
    if (kind !== 'chat' || !message) return;
    message[mayHaveArrived ? 'perhaps' : 'not'].add(people.called(sid));
    const [not, perhaps] = [message.not, message.perhaps].map((names) => list.format(names));
    message.tell([not && `Not delivered to ${not}.`, perhaps && `Perhaps not delivered to ${perhaps}.`].filter(Boolean).join(' '));
  });
  return {
    next: () => (last += 1),
    follow(id, tell) {
      messages.set(id, { tell, not: new Set(), perhaps: new Set() });
      messages.delete(id - REMEMBERED);
    },
  };
}

function compose(client, people, name, room, log) {
  const field = $('text');
  const me = {};
  const fates = showFates(client, people);
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
    const id = fates.next();
    let fate = '';
    try {
      if (people.connected) client.sendMessage({ kind: 'chat', text, id });
      else fate = 'Nobody else is here, so nobody has read this.';
    } catch (error) {
      console.error(error);
      if (error?.code !== 'QUEUE_FULL') return log.notice(`Your message was not sent: ${error?.message ?? error}`);
      fate = 'Somebody’s connection is too slow: not everyone got this.';
    }
    fates.follow(id, log.message({ who: me, name, text, mine: true, fate }));
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
