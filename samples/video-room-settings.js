// What somebody chose: the devices, and whether to watch everything.

import { choose, chosen, listDevices } from './video-room-devices.js';
import { make, memory } from './view.js';

const $ = (id) => document.getElementById(id);
const AUTOMATIC = 'rtc-cafe-automatic';

export const settings = {
  /** Whether everything is watched without a click; so it is until somebody says no. */
  get automatic() {
    return memory.read('localStorage', AUTOMATIC, 8) !== 'no';
  },

  /** Makes the dialog work on one's own devices and on the streams of the others. */
  open(dialog, mine, streams) {
    $('automatic').checked = streams.automatic;
    $('automatic').addEventListener('change', () => {
      streams.automatic = $('automatic').checked;
      memory.write('localStorage', AUTOMATIC, $('automatic').checked ? '' : 'no');
    });
    for (const what of ['camera', 'microphone']) {
      $(`${what}-device`).addEventListener('change', async (event) => {
        choose(what, event.target.value);
        await mine.reopen(what);
      });
    }
    $('settings-button').addEventListener('click', async () => {
      await listAll(mine);
      dialog.showModal();
    });
    // A click beside the dialog closes it, as the key Escape does.
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    navigator.mediaDevices?.addEventListener('devicechange', () => dialog.open && listAll(mine));
  },
};

const listAll = (mine) => Promise.all(['camera', 'microphone'].map((what) => list(what, mine)));

async function list(what, mine) {
  const devices = await listDevices(what);
  const current = mine[what]?.track.getSettings().deviceId ?? chosen(what);
  const options = devices.map(({ id, label }) => make('option', { value: id, textContent: label, selected: id === current }));
  const button = what === 'camera' ? 'Camera' : 'Microphone';
  if (!devices.length) options.push(make('option', { value: '', textContent: `Press “${button}” first` }));
  $(`${what}-device`).replaceChildren(...options);
  $(`${what}-device`).disabled = !devices.length;
}

/** Keeps the screen of a phone on while the page is looked at. */
export function keepAwake() {
  const ask = () => document.hidden || navigator.wakeLock?.request('screen').catch(() => {});
  document.addEventListener('visibilitychange', ask);
  ask();
}
