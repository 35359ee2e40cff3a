import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { blocks, Shell, write } from '../../kit/guide.mjs';
import { freePort } from '../../kit/server.mjs';

const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');
const GUIDE = join(CHECKOUT, 'docs/express.md');
/** Commands that a reader leaves running in a terminal of their own. */
const STAYS = /^(cargo run --release -- serve|node app\.mjs)$/m;

let folder;
let shell;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'metergate-guide-'));
});
after(async () => {
  await shell?.run('kill $(jobs -p) 2>/dev/null; wait; true').catch(() => {});
  await shell?.stop();
  await rm(folder, { recursive: true, force: true });
});

test('every command, file and output of "Express in five minutes" is as it says', { timeout: 180_000 }, async () => {
  const [port, own] = [await freePort(), await freePort()];
  const here = (text) => text.replaceAll(':8080', `:${port}`).replaceAll(':3000', `:${own}`).replaceAll('listen(3000', `listen(${own}`);
  const { PATH, HOME, METERGATE_BINARY, METERGATE_CHECK = '' } = process.env;
  const data = join(folder, 'data');
  shell = new Shell(folder, { PATH, HOME, METERGATE: CHECKOUT, METERGATE_CHECK, METERGATE_DATA_DIR: data, METERGATE_LISTEN: `127.0.0.1:${port}` });
  let said = '';
  let seen = 0;
  for (const { language, body } of await blocks(GUIDE)) {
    const text = here(body);
    if (language === 'js') assert.ok(await write(folder, text), 'a file without its name');
    if (language === 'sh' && STAYS.test(text)) {
      await shell.run(text.replace('cargo run --release --', METERGATE_BINARY).replace(/\s*$/, ' >>started.log 2>&1 &'));
      const address = text.includes('serve') ? `http://127.0.0.1:${port}/readyz` : `http://127.0.0.1:${own}/`;
      await answers(address);
    } else if (language === 'sh') {
      // The checkout's packages are built already, which the tests themselves are run from.
      said = await shell.run(text.replace('npm ci --silent && npm run --silent build && ', ''));
      seen++;
    }
    if (language === 'text') for (const line of text.trimEnd().split('\n')) assert.ok(said.includes(line), `${line}\nis not in\n${said}`);
  }
  assert.ok(seen >= 5, `${seen} blocks of commands`);
});

async function answers(address) {
  for (let tried = 0; tried < 300; tried++) {
    if (await fetch(address).catch(() => undefined)) return;
    await wait(100);
  }
  throw new Error(`${address} does not answer`);
}
