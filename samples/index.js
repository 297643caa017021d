// The landing page: says whether the server answers, and lets one copy the code.

import { copy } from './clipboard.js';

const health = document.querySelector('#health');
const ASK_EVERY = 10_000;

async function ask() {
  const asked = performance.now();
  try {
    const answer = await fetch('healthz', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show('connected', 'Signalling answers', ` in ${Math.max(1, Math.round(performance.now() - asked))} ms`);
  } catch {
    show('reconnecting', 'Signalling does not answer');
  }
}

function show(state, text, detail = '') {
  const span = document.createElement('span');
  span.textContent = detail;
  health.dataset.state = state;
  health.replaceChildren(text, span);
}

ask();
setInterval(() => document.hidden || ask(), ASK_EVERY);
document.addEventListener('visibilitychange', () => document.hidden || ask());

// Where this server is mounted under a path, so is the module.
document.querySelector('#module').textContent = `'${new URL('../client/rtc-cafe-client.js', import.meta.url).pathname}'`;

const button = document.querySelector('#copy');
button.addEventListener('click', async () => {
  button.textContent = await copy(document.querySelector('#code').textContent) ? 'Copied' : 'Please select it';
  setTimeout(() => { button.textContent = 'Copy'; }, 2000);
});
