// The packages of package.json, from where ./check has installed them.

import { pathToFileURL } from 'node:url';

const folder = process.env.METERGATE_BROWSER_NODE;
if (!folder) throw new Error('METERGATE_BROWSER_NODE is not set: run ./check browser');
const from = (path) => import(pathToFileURL(`${folder}/node_modules/${path}`));

export const { chromium } = await from('playwright-core/index.mjs');
export const { AxeBuilder } = await from('@axe-core/playwright/dist/index.mjs');
