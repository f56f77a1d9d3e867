import { join } from 'node:path';
import { toKeyError } from '../../errors.ts';
import { failure, ok, type Report, warning } from '../../finding.ts';
import { countVersions } from '../../format/encryption-algorithm.ts';
import { algorithmOf } from '../../format/encryption-context.ts';
import { describeKey, type KeyName, keyFileName, sidecarFileName } from '../../format/key-file-name.ts';
import { allowsKeyId, type KeyId, keyId, keyVersion } from '../../ids.ts';
import { openStore } from '../../keystore/open-store.ts';
import type { Listing, StoredKey } from '../../keystore/store.ts';
import { READ } from '../../server/account.ts';
import type { KeptConfiguration } from '../../server/key-keeper.ts';
import { findObstacle, type Obstacle } from '../../server/obstacle.ts';
import { optionName } from '../../server/plugin-options.ts';
import type { Check, Examination } from '../check.ts';
import { limitReports } from '../key-limit.ts';
import { beforeRestart, keeperNamed } from '../key-place.ts';

const NAMED = 5;
const SYSTEM_KEY = keyId(1);

export const keyFiles: Check = {
  id: 'key-files',
  needs: ['key-directory'],
  async run(examination, signal) {
    const { configuration, facts } = examination;
    const { listing } = facts;
    if (listing === undefined) return [failure('the key directory was not listed')];
    // With this setting the server starts without them.
    const report = configuration.allowsMissingKeys
      ? warning
      : (found: string, fix = ''): Report => failure(found, beforeRestart(configuration, fix));
    const reports: Report[] = [];
    const fix = 'restore it from a backup of the key directory: data under it cannot be read without it';
    for (const name of listing.lost.slice(0, NAMED)) {
      reports.push(
        report(`${describeKey(name)}: its sidecar is there, its key file ${keyFileName(name)} is gone`, fix),
      );
    }
    for (const gap of gaps(listing).slice(0, NAMED)) {
      reports.push(report(`${describeKey(gap)} is missing between version 1 and the latest`, fix));
    }
    reports.push(...(await readAll(examination, listing, report, signal)));
    reports.push(...newKeyReports(examination, listing));
    reports.push(...limitReports(configuration, listing.stored.length));
    return reports.length > 0 ? reports : [ok(describe(examination, listing))];
  },
};

function gaps({ stored, lost, retired }: Listing): readonly KeyName[] {
  const known = new Map<KeyId, Set<number>>();
  for (const { id, version } of [...stored, ...lost, ...retired])
    known.set(id, (known.get(id) ?? new Set()).add(version));
  const found: KeyName[] = [];
  for (const [id, versions] of known) {
    const latest = Math.max(...versions);
    for (let version = 1; version < latest && found.length < NAMED; version += 1) {
      if (!versions.has(version)) found.push({ id, version: keyVersion(version) });
    }
  }
  return found;
}

async function readAll(
  { surroundings, configuration, facts }: Examination,
  listing: Listing,
  report: typeof failure,
  signal: AbortSignal,
): Promise<readonly Report[]> {
  const { files, clock, random } = surroundings;
  const { keyfileDir } = configuration;
  const { account } = configuration.keeper;
  const disk = { fileSystem: files.keyDirectory, clock, random };
  const store = openStore(keyfileDir, disk, keeperNamed(configuration.keeper));
  const readable: { readonly name: KeyName; readonly key: StoredKey }[] = [];
  const reports: Report[] = [];
  const closed: Closed = { keys: [], sidecars: [] };
  const isClosed = async (file: string, found: Obstacle[]): Promise<boolean> => {
    const obstacle = await findObstacle(files, account, join(keyfileDir, file), READ).catch(() => undefined);
    if (obstacle !== undefined) found.push(obstacle);
    return obstacle !== undefined;
  };
  for (const name of listing.stored) {
    signal.throwIfAborted();
    try {
      const key = await store.read(name);
      readable.push({ name, key });
      const { sidecarProblem: problem } = key;
      if (problem !== undefined && !(await isClosed(sidecarFileName(name), closed.sidecars)))
        reports.push(warning(problem.message, problem.hint));
      await isClosed(keyFileName(name), closed.keys);
    } catch (thrown) {
      const { message, hint } = toKeyError(thrown);
      if (!(await isClosed(keyFileName(name), closed.keys))) reports.push(report(message, hint));
    }
  }
  facts.stored = readable;
  return [...reports, ...closedReports(configuration, closed, report)];
}

/** Files that the process that has the keys may not read. */
interface Closed {
  readonly keys: Obstacle[];
  readonly sidecars: Obstacle[];
}

/** All closed files are one finding, with one command. */
function closedReports(
  { keyfileDir, keeper }: KeptConfiguration,
  { keys, sidecars }: Closed,
  report: typeof failure,
): readonly Report[] {
  const [first, ...others] = [...keys, ...sidecars];
  if (first === undefined) return [];
  const kind = (count: number): string =>
    `${count} other ${keys.length > 0 ? 'key file' : 'sidecar'}${count === 1 ? '' : 's'}`;
  const more = others.length === 0 ? '' : `, nor ${kind(others.length)}`;
  const which = others.length === 0 ? first.path : join(keyfileDir, 'aws-kms-key.*');
  const fix = first.enter ?? `chown ${keeper.account.name}: ${which} && chmod 0600 ${which}`;
  return [(keys.length > 0 ? report : warning)(`${first.found}${more}`, fix)];
}

/** InnoDB requests key 1 at every start once encryption is on, even without encrypted tables. */
function newKeyReports({ configuration }: Examination, listing: Listing): readonly Report[] {
  const { masterKeyId, keyIds, isMock } = configuration;
  if ([...listing.stored, ...listing.lost].some(({ id }) => id === SYSTEM_KEY) || isMock) return [];
  if (masterKeyId === '') {
    const found = 'there is no key 1, and aws_key_management_master_key_id is empty: none can be created';
    return [failure(found, 'aws_key_management_master_key_id = alias/NAME, or point keyfile_dir at the existing keys')];
  }
  if (!allowsKeyId(keyIds, SYSTEM_KEY)) {
    const { request, options } = configuration;
    const others = request.variables.key_ids ?? options.last(optionName('key_ids')) ?? '';
    // Key 2 encrypts temporary files.
    const missing = allowsKeyId(keyIds, keyId(2)) ? '1' : '1-2';
    return [
      failure(
        'there is no key 1, and aws_key_management_key_ids does not allow it',
        `${optionName('key_ids')} = ${missing},${others}`,
      ),
    ];
  }
  return [];
}

function describe({ facts }: Examination, { stored }: Listing): string {
  if (stored.length === 0) return 'no keys yet: key 1 is created at the first start';
  const keys = new Set(stored.map(({ id }) => id)).size;
  const masterKeys = new Set(facts.stored.map(({ key }) => key.sidecar?.masterKeyArn ?? '')).size;
  const under = masterKeys > 1 ? `, under ${masterKeys} master keys` : '';
  const algorithms = facts.stored.map(({ key }) => algorithmOf(key.sidecar?.encryptionContext ?? {}));
  return `${keys} ${keys === 1 ? 'key' : 'keys'}, ${countVersions(stored.length, 'versions', algorithms)}, none missing${under}`;
}
