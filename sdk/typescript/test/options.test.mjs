import assert from 'node:assert/strict';
import { test } from 'node:test';

import { settings } from '../dist/esm/options.js';

test('without anything the defaults of the documentation hold', () => {
  const { url, apiKey, enabled, batchSize, flushIntervalMs, timeoutMs, maxQueued } = settings({}, {});
  assert.deepEqual(
    { url: url.href, apiKey, enabled, batchSize, flushIntervalMs, timeoutMs, maxQueued },
    { url: 'http://127.0.0.1:8080/', apiKey: '', enabled: true, batchSize: 100, flushIntervalMs: 5000, timeoutMs: 2000, maxQueued: 10000 },
  );
});

test('the environment sets what is not given, and options come first', () => {
  const environment = { METERGATE_URL: 'https://meter.example/base', METERGATE_API_KEY: 'k', METERGATE_BATCH_SIZE: '7', METERGATE_FLUSH_INTERVAL_MS: '90' };
  const set = settings({ batchSize: 9 }, environment);
  assert.equal(set.url.href, 'https://meter.example/base');
  assert.deepEqual([set.apiKey, set.batchSize, set.flushIntervalMs], ['k', 9, 90]);
});

test('the older names count where the new ones are absent', () => {
  const old = { USAGE_METER_ENABLED: 'false', USAGE_METER_BATCH_SIZE: '3', USAGE_METER_FLUSH_INTERVAL_MS: '10' };
  assert.deepEqual([settings({}, old).enabled, settings({}, old).batchSize, settings({}, old).flushIntervalMs], [false, 3, 10]);
  assert.equal(settings({}, { ...old, METERGATE_ENABLED: 'true' }).enabled, true);
});

test('what cannot be is named', () => {
  assert.throws(() => settings({ url: 'metergate:8080' }, {}), /url \(METERGATE_URL\) must be an http or https address/);
  assert.throws(() => settings({ batchSize: 0 }, {}), /batchSize must be a whole number from 1 to 1000, not 0/);
  assert.throws(() => settings({}, { METERGATE_BATCH_SIZE: 'many' }), /METERGATE_BATCH_SIZE must be a whole number, not "many"/);
  assert.throws(() => settings({}, { USAGE_METER_ENABLED: 'perhaps' }), /USAGE_METER_ENABLED must be true or false/);
});
