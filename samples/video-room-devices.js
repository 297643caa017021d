// Cameras, microphones and screens: opened, listed, and their refusals put into words.

import { memory } from './view.js';

const LONGEST_ID = 256;
const STILL = 'You can still watch and listen.';

/** Why something could not be opened, in a sentence for people, or '' when they changed their mind. */
export class DeviceError extends Error {
  constructor(what, cause) {
    super(explain(what, cause), { cause });
  }
}

function explain(what, cause) {
  if (!globalThis.isSecureContext) {
    return `Browsers give cameras, microphones and screens to secure pages only: open this page by https. ${STILL}`;
  }
  if (what === 'screen') {
    if (cause?.name !== 'NotAllowedError') return `This browser could not share a screen. ${STILL}`;
    if (!/system/i.test(cause.message)) return '';
    return `Your system does not let the browser record the screen: allow it in the system’s settings. ${STILL}`;
  }
  switch (cause?.name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return `This page may not use your ${what}. Allow it in the browser, next to the address, and press the button again. ${STILL}`;
    case 'NotFoundError':
    case 'OverconstrainedError':
      return `There is no ${what} here. Connect one, and press the button again. ${STILL}`;
    case 'NotReadableError':
    case 'AbortError':
      return `The ${what} does not start; another program may be using it. ${STILL}`;
    default:
      return `This browser could not open a ${what}. ${STILL}`;
  }
}

/** The device that was chosen, or ''. */
export const chosen = (what) => memory.read('localStorage', `rtc-cafe-${what}`, LONGEST_ID);

/** Remembers a device as the one to open from now on. */
export const choose = (what, deviceId) => memory.write('localStorage', `rtc-cafe-${what}`, deviceId);

/** Opens the camera, that of the given side ('user' or 'environment') if a side is named. */
export function openCamera(side = '') {
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  return side ? open('camera', 'video', { ...size, facingMode: side }) : openChosen('camera', 'video', size);
}

export function openMicrophone() {
  return openChosen('microphone', 'audio', { echoCancellation: true, noiseSuppression: true, autoGainControl: true });
}

/** Lets the user choose a screen: its picture, and its sound if there is some. */
export async function openScreen() {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: true });
    return { picture: stream.getVideoTracks()[0], sound: stream.getAudioTracks()[0] ?? null };
  } catch (error) {
    throw new DeviceError('screen', error);
  }
}

/** Opens the device that was chosen, or another where it is not connected any more. */
async function openChosen(what, kind, constraints) {
  const deviceId = chosen(what);
  if (!deviceId) return open(what, kind, constraints);
  try {
    return await open(what, kind, { ...constraints, deviceId: { exact: deviceId } });
  } catch (error) {
    if (error.cause?.name !== 'OverconstrainedError') throw error;
    return open(what, kind, constraints);
  }
}

async function open(what, kind, constraints) {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ [kind]: constraints });
    return stream.getTracks()[0];
  } catch (error) {
    throw new DeviceError(what, error);
  }
}

/** Phones have no screen to share, so far. */
export const canShareScreen = () => !globalThis.isSecureContext || Boolean(navigator.mediaDevices?.getDisplayMedia);

/** The devices of a kind, as `{id, label}`; browsers name them once one of them was allowed. */
export async function listDevices(what) {
  const kind = what === 'camera' ? 'videoinput' : 'audioinput';
  const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
  return devices.filter((device) => device.kind === kind && device.deviceId)
    .map(({ deviceId, label }, index) => ({ id: deviceId, label: label || `${what === 'camera' ? 'Camera' : 'Microphone'} ${index + 1}` }));
}
