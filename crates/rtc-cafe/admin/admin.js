// The operator's desk: asks the server who is where, shows it, and ends sessions. Whatever is shown is text, never markup.

import { list } from './list.js';

const $ = (id) => document.getElementById(id);

/** How often it looks, in milliseconds. */
const EVERY = 3000;
const KEY = 'rtc-cafe-admin-token';

let token = sessionStorage.getItem(KEY) ?? '';
/** The JSON of the room that is shown. */
let room = null;
let nodes = false;
let timer;
let round = 0;

/** A question to the server; its answer, or an error with the status. */
async function ask(path, options) {
  const response = await fetch(`api/${path}`, { ...options, headers: { authorization: `Bearer ${token}`, ...options?.headers } });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(answer.error ?? `status ${response.status}`), { status: response.status });
  return answer;
}

/** A name as people write it; numbers look different from texts. Its JSON has digits that a number here would lose. */
function named(value, json = JSON.stringify(value)) {
  const name = document.createElement('span');
  name.textContent = typeof value === 'string' ? value : json;
  if (typeof value === 'string') return name;
  const mark = document.createElement('span');
  mark.className = 'number';
  mark.textContent = typeof value;
  name.append(' ', mark);
  return name;
}

function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

const count = new Intl.NumberFormat();

/** How long ago, in a word. */
function ago(time) {
  const seconds = Math.max(0, Math.round((Date.now() - time) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

const rooms = list('rooms', 30, () => refresh(), (shown, { total }) => {
  const most = Math.max(...shown.map(({ members }) => members), 1);
  $('rooms-total').textContent = count.format(total);
  return shown.map((it) => {
    const size = element('span', 'size', count.format(it.members));
    if (it.here < it.members) size.append(' ', element('i', '', `${count.format(it.here)} here`));
    const fill = element('b');
    fill.style.width = `${(100 * it.members) / most}%`;
    const name = named(it.room, it.key);
    name.classList.add('name');
    const button = element('button', '', name, size, element('span', 'meter', fill));
    button.type = 'button';
    button.title = name.textContent;
    const json = it.key;
    if (json === room) button.setAttribute('aria-current', 'true');
    button.addEventListener('click', () => open(json));
    return element('li', '', button);
  });
});

const members = list('members', 50, () => refresh(), (shown, { total }) => {
  $('members-total').textContent = count.format(total);
  $('members').parentNode.classList.toggle('strangers', shown.every(({ identity }) => identity === null));
  return shown.map((it) => {
    const cell = (className, content, title) => {
      const made = element('td', className, content);
      if (title) made.title = title;
      return made;
    };
    const id = it.id === null ? '' : named(it.id);
    const identity = it.identity === null ? '' : named(it.identity);
    const node = it.here ? element('span', 'here', 'this one') : element('span', 'dim', it.node ?? '');
    const kick = element('button', 'quiet small danger', 'Kick');
    kick.type = 'button';
    kick.setAttribute('aria-label', `Kick ${it.sid}`);
    kick.addEventListener('click', () => end({ sid: it.sid }, `Kick ${it.sid}?`, 'Its session ends, and its peers hear of it. It is not kept from coming back.', 'Kick'));
    return element(
      'tr', '',
      cell('code', it.sid, it.sid),
      cell('', id, id && id.textContent),
      cell(it.address ? 'code' : 'dim', it.address ?? '–', it.address ?? (it.here ? 'It is not known' : 'Its own node knows it')),
      cell('', node, it.node),
      cell('', it.since ? ago(it.since) : '', it.since && new Date(it.since).toLocaleString()),
      cell('', identity, identity && identity.textContent),
      cell('', kick),
    );
  });
});

function open(json) {
  room = json;
  members.reset();
  $('columns').dataset.shows = json === null ? 'rooms' : 'members';
  for (const button of $('rooms').querySelectorAll('[aria-current]')) button.removeAttribute('aria-current');
  $('nobody').hidden = json !== null;
  $('somebody').hidden = json === null;
  if (json !== null) $('room-name').replaceChildren(named(JSON.parse(json), json));
  refresh();
}

function show({ version, node, started, connections, rooms: total, kicked, broker }) {
  const figures = [
    ['Connections', count.format(connections)], ['Rooms', count.format(total)], ['Kicked', count.format(kicked)],
    ...(broker ? [['Other nodes', count.format(broker.nodes)], ['This node', node, 'word']] : []),
    ['Up for', ago(started * 1000)], ['Version', version],
  ];
  $('figures').replaceChildren(...figures.map(([name, value, kind]) => {
    const shown = element('dd', kind ?? '', value);
    shown.title = value;
    return element('div', '', element('dt', '', name), shown);
  }));
  nodes = broker !== null;
  document.querySelector('table').classList.toggle('alone', !nodes);
  $('broker').hidden = !broker || broker.up;
  $('broker').textContent = 'Redis is away: rooms end at this server until it is back.';
}

function state(word, text) {
  $('state').dataset.state = word;
  $('state').textContent = text;
}

/** Looks now, and again in a while. What is older than another look is not shown. */
async function refresh() {
  clearTimeout(timer);
  if (!token) return;
  const mine = ++round;
  try {
    const asked = [ask('status'), ask(`rooms?${rooms.query()}`)];
    if (room !== null) asked.push(ask(`rooms/${encodeURIComponent(room)}?${members.query()}`).catch(absent));
    const [status, all, inside] = await Promise.all(asked);
    if (mine !== round) return;
    unlocked();
    show(status);
    const none = nodes ? 'Nobody is in a room on this server. Others have a page of their own.' : 'Nobody is in a room.';
    rooms.show(all.rooms, all, none);
    if (room !== null) members.show(inside.members, inside, inside.total === 0 && !members.searched() ? 'Nobody is here any more.' : '');
    state('connected', 'Live');
  } catch (error) {
    if (mine !== round) return;
    if (error.status === 401 || error.status === 429) return lock(error.status === 401 ? 'This is not the token of this server.' : `${error.message}.`);
    state('closed', 'The server does not answer');
  }
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
  return undefined;
}

function absent(error) {
  if (error.status !== 404) throw error;
  return { total: 0, members: [] };
}

function unlocked() {
  sessionStorage.setItem(KEY, token);
  $('gate').hidden = true;
  $('refused').hidden = true;
  for (const id of ['desk', 'lock']) $(id).hidden = false;
}

function lock(why) {
  round += 1;
  clearTimeout(timer);
  token = '';
  sessionStorage.removeItem(KEY);
  $('gate').hidden = false;
  for (const id of ['desk', 'lock']) $(id).hidden = true;
  state('setup', 'Locked');
  $('refused').hidden = !why;
  $('refused').textContent = why ?? '';
  $('unlock').querySelector('button').disabled = false;
  $('token').focus();
}

/** Asks once more, and then ends sessions. */
async function end(whom, title, text, word) {
  $('confirm-title').textContent = title;
  $('confirm-text').textContent = text;
  $('confirm-yes').textContent = word;
  $('confirm').returnValue = 'no';
  $('confirm').showModal();
  await new Promise((resolve) => $('confirm').addEventListener('close', resolve, { once: true }));
  if ($('confirm').returnValue !== 'yes') return;
  try {
    const body = JSON.stringify(whom);
    note(became(await ask('kick', { method: 'POST', body, headers: { 'content-type': 'application/json' } })));
  } catch (error) {
    note(error.status === 404 ? 'They had gone already.' : `That did not work: ${error.message}`);
  }
  refresh();
}

/** What is known of sessions that were to end: others' are only asked to, and vanish from the list when they have. */
function became({ kicked, asked, unreachable }) {
  const sessions = (some) => (some === 1 ? 'one session' : `${count.format(some)} sessions`);
  const said = [
    kicked > 0 && `${sessions(kicked)} ${kicked === 1 ? 'has' : 'have'} ended`,
    ...Object.entries(asked).map(([node, some]) => `node ${node} was asked to end ${sessions(some)}`),
    ...Object.entries(unreachable).map(([node, some]) => `node ${node} cannot be asked, and ${sessions(some)} stay${some === 1 ? 's' : ''}`),
  ].filter(Boolean).join('; ');
  return `${said[0].toUpperCase()}${said.slice(1)}.`;
}

let noted;
function note(text) {
  clearTimeout(noted);
  $('note').textContent = text;
  $('note').hidden = false;
  noted = setTimeout(() => { $('note').hidden = true; }, 4000);
}

$('unlock').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token').value.trim();
  $('token').value = '';
  $('unlock').querySelector('button').disabled = true;
  state('setup', 'Asking the server…');
  refresh();
});
$('lock').addEventListener('click', () => lock());
$('back').addEventListener('click', () => open(null));
$('kick-room').addEventListener('click', () => {
  const name = named(JSON.parse(room), room).textContent;
  end({ key: room }, `Empty ${name}?`, 'The sessions of all members end, in their other rooms as well. They are not kept from coming back.', 'Kick everybody');
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });

if (token) refresh();
else $('token').focus();
