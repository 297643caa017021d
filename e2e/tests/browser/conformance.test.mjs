// The client's `Connection` in real browsers, by the scenes that every backend plays.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { scenes, stagePage } from '../../harness/conformance.mjs';
import { startFiles } from '../../harness/server.mjs';

const SCENES = await scenes();
let files;
let browser;
before(async () => {
  files = await startFiles({ '/stage.html': await stagePage() });
  browser = await Browser.launch();
});
afterEach(() => browser?.clear());
after(() => Promise.all([files?.stop(), browser?.close()]));

for (const { title, lines } of SCENES) {
  it(title, async () => {
    const page = await browser.open(`${files.url}/stage.html`, { kit: false });
    await page.evaluate((lines) => playScene(lines), lines);
    assert.deepEqual(page.problems, []);
  });
}
