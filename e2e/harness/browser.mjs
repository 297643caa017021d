// Headless browsers that are gone after the test, and pages that remember what went wrong in them.

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import puppeteer from 'puppeteer-core';

import { keyHash } from './certificate.mjs';
import { mediaKit } from './media-kit.mjs';
import { pageKit } from './page-kit.mjs';
import { HERE, within } from './process.mjs';
import { talkKit } from './talk-kit.mjs';

const ARTIFACTS = fileURLToPath(new URL('../artifacts/', import.meta.url));

/** How each kind of browser is found and started. */
const KINDS = {
  chromium: {
    variable: 'CHROMIUM',
    programs: ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'],
    // What nobody sees of the others takes ten times the processor time.
    shell: { variable: 'CHROMIUM_SHELL', programs: ['/usr/lib/chromium/chromium-headless-shell'] },
    options: (camera, trusted) => ({
      args: [
        ...(trusted ? [`--ignore-certificate-errors-spki-list=${keyHash(trusted)}`] : []),
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--autoplay-policy=no-user-gesture-required',
        // Pages on loopback are to find each other without multicast DNS.
        '--disable-features=WebRtcHideLocalIpsWithMdns',
        `--use-fake-device-for-media-stream=fps=15,device-count=${camera === 'missing' ? 0 : 1}`,
        `--use-fake-ui-for-media-stream${camera === 'denied' ? '=deny' : ''}`,
      ],
    }),
  },
  firefox: {
    variable: 'FIREFOX',
    programs: ['/usr/bin/firefox-esr', '/usr/bin/firefox'],
    options: (camera, trusted) => ({
      acceptInsecureCerts: Boolean(trusted),
      extraPrefsFirefox: {
        'media.autoplay.default': 0,
        // What the finger of a busy machine does slowly is a tap as well.
        'apz.max_tap_time': 10_000,
        'ui.click_hold_context_menus.delay': 20_000,
        'media.peerconnection.ice.obfuscate_host_addresses': false,
        'media.peerconnection.ice.loopback': true,
        'media.navigator.streams.fake': camera !== 'missing',
        // Every picture is encoded by the processor, which tests share.
        'media.navigator.video.default_width': 320,
        'media.navigator.video.default_height': 240,
        'media.navigator.video.default_fps': 15,
        // Only a camera of this name is found.
        ...(camera === 'missing' && { 'media.video_loopback_dev': 'none' }),
        'media.navigator.permission.disabled': camera !== 'denied',
        'permissions.default.camera': camera === 'denied' ? 2 : 0,
        'permissions.default.microphone': camera === 'denied' ? 2 : 0,
      },
    }),
  },
};

/** The kinds of browsers. */
export const BROWSERS = Object.keys(KINDS);
/** The one that tests use that do not name another. */
export const BROWSER = process.env.BROWSER ?? 'chromium';

const candidates = ({ variable, programs }) => (process.env[variable] ? [process.env[variable]] : programs);

/** Which program is the browser, and whether it is the shell alone. Who names a program without a shell gets it. */
function program({ variable, programs, shell }, whole) {
  const wanted = shell && !whole && (process.env[shell.variable] || !process.env[variable]);
  const lean = wanted && candidates(shell).find((candidate) => existsSync(candidate));
  const path = lean || candidates({ variable, programs }).find((candidate) => existsSync(candidate));
  if (!path) throw new Error(`no browser at ${candidates({ variable, programs }).join(' or ')}; install it, or set ${variable}`);
  return { path, headless: lean ? 'shell' : true };
}

export class Browser {
  #browser;
  #profile;
  #contexts = [];

  /**
   * Starts a browser, on this machine or on a host of a network. Its camera is `'fake'` and for any page, or `'denied'` to
   * all, as the microphone, or `'missing'`. It trusts the certificate in a file, if one is named. Chromium is its headless
   * shell, where that is there, unless it has to be `whole`, with what it keeps for people.
   */
  static async launch(kind = BROWSER, { camera = 'fake', on = HERE, trusted, whole = false } = {}) {
    if (!BROWSERS.includes(kind)) throw new Error(`the browser "${kind}" is none of ${BROWSERS.join(', ')}`);
    const { path, headless } = program(KINDS[kind], whole);
    const browser = new Browser();
    browser.#profile = await mkdtemp(join(tmpdir(), 'rtc-cafe-e2e-'));
    browser.#browser = await puppeteer.launch({
      browser: kind === 'firefox' ? 'firefox' : 'chrome',
      ...on.launch(path),
      headless,
      userDataDir: browser.#profile,
      ...KINDS[kind].options(camera, trusted),
    });
    return browser;
  }

  /** Opens a page in a context of its own, as that of another person would be. */
  async open(url, { viewport = { width: 1000, height: 700 }, kit = true } = {}) {
    const context = await this.#browser.createBrowserContext();
    this.#contexts.push(context);
    // In a window of its own it is never in the background.
    const page = await context.newPage({ type: 'window' });
    await page.setViewport(viewport);
    watch(page);
    if (kit) {
      await page.evaluateOnNewDocument(pageKit);
      await page.evaluateOnNewDocument(mediaKit);
      await page.evaluateOnNewDocument(talkKit);
    }
    const reply = await page.goto(url, { waitUntil: 'load' });
    if (!reply.ok()) throw new Error(`${url} answers ${reply.status()}`);
    return page;
  }

  /** Closes all pages. */
  async clear() {
    await Promise.all(this.#contexts.splice(0).map((context) => context.close().catch(() => {})));
  }

  /** Pulls the plug. */
  async kill() {
    const process = this.#browser.process();
    const exited = new Promise((resolve) => { process.once('exit', resolve); });
    process.kill('SIGKILL');
    await within(5000, exited, 'the browser ending');
    await this.#sweep();
  }

  async close() {
    await this.#browser.close().catch(() => this.#browser.process()?.kill('SIGKILL'));
    await this.#sweep();
  }

  #sweep() {
    return rm(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }).catch(() => {});
  }
}

/** Notes what goes wrong in a page, and where its requests go. */
function watch(page) {
  const problems = [];
  // Browsers ask every site for an icon; pages that want one name it.
  Object.defineProperty(page, 'problems', { get: () => problems.filter((problem) => !problem.includes('/favicon.ico')) });
  page.requests = [];
  page.on('pageerror', (error) => problems.push(`uncaught: ${error?.stack ?? error}`));
  page.on('console', (message) => {
    if (!['error', 'warn'].includes(message.type())) return;
    problems.push(`${message.type()}: ${message.text()} ${message.location()?.url ?? ''}`);
  });
  page.on('request', (request) => page.requests.push(request.url()));
  page.on('response', (response) => {
    if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
  });
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText;
    // What a page that is left was still loading.
    if (!['net::ERR_ABORTED', 'NS_BINDING_ABORTED'].includes(reason)) problems.push(`${reason} ${request.url()}`);
  });
}

/** Keeps a picture of a page for people to look at, once it stands still. */
export async function picture(page, name) {
  await page.evaluate(async () => {
    const passing = document.getAnimations().filter((animation) => Number.isFinite(animation.effect.getComputedTiming().endTime));
    await Promise.allSettled(passing.map(({ finished }) => finished));
  });
  await mkdir(ARTIFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTIFACTS, `${name}-${BROWSER}.png`) });
}
