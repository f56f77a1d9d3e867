import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FrameDecoder } from '../../../src/format/frames.ts';
import { encodePluginMessage, parsePluginMessage } from '../../../src/format/messages.ts';
import { optionFile } from '../../../src/format/option-file.ts';
import {
  isDynamicWireSetting,
  isWireSetting,
  SETTING_NAMES,
  SETTINGS,
  type Setting,
  wireNameOf,
} from '../../../src/format/settings.ts';
import { parseSettings } from '../../../src/keyring/settings.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { TEST_SETTINGS } from '../../support/settings.ts';

function file(path: string): string {
  return readFileSync(join(import.meta.dirname, '../../..', path), 'utf8');
}

function namesIn(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, name = '']) => name.toLowerCase()).sort();
}

const onWire = SETTING_NAMES.filter(isWireSetting).sort();
const dynamic = SETTING_NAMES.filter(isDynamicWireSetting).sort();

it('the option file is what the table makes', () => {
  const path = 'packaging/aws_key_management.cnf';
  expect(file(path), `${path} is out of date: npm run docs`).toBe(optionFile());
});

it('the table and the protocol document name the same settings', () => {
  const [, settings = ''] = file('docs/protocol.md').split('\nSettings in HELLO');
  const [paragraph = ''] = settings.split('\n\n');
  const [inHello = '', inSet = ''] = paragraph.split(/\bSET\s+changes\b/);
  expect(namesIn(inHello, /`([a-z_]+)`/g)).toEqual(onWire.map(wireNameOf).sort());
  expect(namesIn(inSet, /`([a-z_]+)`/g)).toEqual(dynamic);
});

it('a setting that a plugin does not send has its default, but for the directory', async () => {
  const given = new Map([['keyfile_dir', '/keys']]);
  expect(parseSettings(given)).toEqual({ ...TEST_SETTINGS, masterKeyId: '' });
  const message = 'aws_key_management_keyfile_dir: expected an absolute path, got ""';
  await expectKeyError(() => parseSettings(new Map()), 'BAD_OPTION', message);
});

it('the plugin passes the settings of the table to the agent, with the same limits', () => {
  const limits = new Map([['PATH_MAX - 1', 4095]]);
  for (const [, name = '', value] of file('plugin/client/settings.h').matchAll(/#define (\w+_MAX) (\d+)u/g)) {
    limits.set(name, Number(value));
  }
  const rows = [...file('plugin/client/settings.c').matchAll(/\[SETTING_(\w+)\]= \{"(\w+)", ([^}]+)\}/g)];
  expect(rows.map(([, , name]) => name).sort()).toEqual(onWire.map(wireNameOf).sort());
  for (const [, constant = '', inFrames = '', limit = ''] of rows) {
    const name = constant.toLowerCase();
    expect(wireNameOf(name)).toBe(inFrames);
    if (!isWireSetting(name)) throw new Error(`${name} is no setting of the table`);
    const setting: Setting = SETTINGS[name];
    const bytes = limits.get(limit) ?? Number(limit);
    if (setting.type === 'text') expect(bytes, name).toBe(setting.maxBytes);
    if (setting.type === 'choice') for (const choice of setting.choices) expect(choice.length).toBeLessThan(bytes);
  }
});

it('the plugin sends every setting at the start, and every change of a dynamic one', () => {
  const source = file('plugin/server/sysvars.c');
  expect(namesIn(source, /\bset\(SETTING_(\w+)/g)).toEqual(onWire);
  expect(namesIn(source, /\bset_later\(SETTING_(\w+)/g)).toEqual(dynamic);
});

it('frames keep the name that protocol 1 has for the sealed key cache', () => {
  const settings = new Map([['sealed_key_cache', 'ON']]);
  const bytes = encodePluginMessage(1, { type: 'hello', protocol: 1, role: 'server', held: 0, settings });
  expect(bytes.toString('latin1')).toContain('sealed_key_ring');
  expect(bytes.toString('latin1')).not.toContain('sealed_key_cache');
  const [frame] = new FrameDecoder().feed(bytes);
  expect(frame && parsePluginMessage(frame)).toMatchObject({ settings });
});
