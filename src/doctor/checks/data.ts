import { type DataLook, type FoundUse, keyNeedOf } from '../../data/look.ts';
import { systemErrorCode } from '../../errors.ts';
import { failure, ok, type Report, unlooked, warning } from '../../finding.ts';
import { parseFileName } from '../../format/key-file-name.ts';
import { type KeyId, keyId } from '../../ids.ts';
import type { Listing } from '../../keystore/store.ts';
import { ENTER, READ, WRITE } from '../../server/account.ts';
import { findObstacle } from '../../server/obstacle.ts';
import { otherEncryptionPlugin } from '../../server/plugins-to-load.ts';
import { loadsPlugin } from '../../server/server-answer.ts';
import type { Check, Examination } from '../check.ts';
import { lookOnce } from '../data-look.ts';
import { beforeRestart, copyKeys } from '../key-place.ts';

const NAMED = 5;
const SYSTEM_KEY = keyId(1);

/** Reads the data files as the plugin does: which keys the data was encrypted with, and whether their files exist. */
export const data: Check = {
  id: 'data',
  async run(examination, signal) {
    const { configuration, facts } = examination;
    const { datadir, unread } = configuration;
    // The key directory check has already reported this directory.
    if (configuration.isKeyfileDirDatadir && facts.listing === undefined && !configuration.keeper.isSeparate) {
      return [unlooked('key-directory must be right first')];
    }
    const inaccessible = await datadirReport(examination);
    if (inaccessible !== undefined) return [inaccessible];
    const look = await lookOnce(examination, signal);
    const reports = [...missingReports(examination, look), ...unseenReports(examination, look)];
    if (unread !== undefined) reports.push(unlooked(`${unread}: data outside ${datadir} was not looked at`));
    if (reports.some(({ status }) => status === 'failure' || status === 'warning')) return reports;
    return [ok(describe(look, facts.listing)), ...reports];
  },
};

async function datadirReport({ surroundings, configuration }: Examination): Promise<Report | undefined> {
  const { datadir, account } = configuration;
  try {
    const obstacle = await findObstacle(surroundings.files, account, datadir, READ + WRITE + ENTER);
    return obstacle === undefined
      ? undefined
      : failure(obstacle.found, obstacle.enter ?? `chown -R ${account.name}: ${datadir} && chmod u+rwx ${datadir}`);
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
    return failure(
      `there is no data directory ${datadir}`,
      `mariadb-install-db --user=${account.name} --datadir=${datadir}`,
    );
  }
}

function missingReports(examination: Examination, look: DataLook): Report[] {
  const { configuration, facts } = examination;
  const { listing, server } = facts;
  const isLoaded = server === undefined || server.isRefused || loadsPlugin(server);
  if (!isLoaded && keyNeedOf(look) === 'needs') {
    const found = `${nameUse(look.uses[0])}, and the server loads no plugin that has keys`;
    return [failure(found, 'plugin_load_add = aws_key_management')];
  }
  if (listing === undefined) {
    return [unlooked('the key files were not listed: see key-directory')];
  }
  // With this setting the server starts without them.
  const report = configuration.allowsMissingKeys ? warning : failure;
  const byFix = new Map<string, FoundUse[]>();
  for (const use of missingUses(look, listing)) {
    const fix = missingFix(examination, use);
    byFix.set(fix, [...(byFix.get(fix) ?? []), use]);
  }
  return [...byFix].map(([fix, uses]) => report(describeMissing(uses), beforeRestart(configuration, fix)));
}

/** The plugin knows an id of which any version exists. */
function missingUses({ uses }: DataLook, { stored }: Listing): readonly FoundUse[] {
  const ids = new Set(stored.map(({ id }) => id));
  const names = new Set(stored.map(({ id, version }) => `${id}.${version}`));
  const missing = uses.filter(({ id, version }) =>
    version === undefined ? !ids.has(id) : !names.has(`${id}.${version}`),
  );
  // A use with a version makes one with the id alone redundant.
  return missing.filter(
    ({ id, version }) =>
      version !== undefined || !missing.some((other) => other.id === id && other.version !== undefined),
  );
}

/** Describes the first missing key with its file, and the others by name. */
function describeMissing([first, ...others]: readonly FoundUse[]): string {
  if (first === undefined) return '';
  const { id, version, file, files } = first;
  const also = files > 1 ? ` (and ${files - 1} more ${files === 2 ? 'file' : 'files'})` : '';
  const named = others.slice(0, NAMED).map((use) => `${nameKey(use.id, use.version)} (${use.file})`);
  const rest = others.length > NAMED ? ` and ${others.length - NAMED} more` : '';
  const more = named.length > 0 ? `; likewise ${named.join(', ')}${rest}` : '';
  return `${nameKey(id, version)} is not among the key files, and ${file}${also} is encrypted with it${more}`;
}

function nameUse(use: FoundUse | undefined): string {
  return use === undefined ? 'data is encrypted' : `${use.file} is encrypted with ${nameKey(use.id, use.version)}`;
}

function nameKey(id: KeyId, version: number | undefined): string {
  return version === undefined ? `key ${id}` : `key ${id} version ${version}`;
}

/** Suggests key files in the data directory first: they are the most likely to be the right ones. */
function missingFix({ configuration, surroundings, facts }: Examination, { id, version }: FoundUse): string {
  const { keyfileDir, datadir, isKeyfileDirDatadir } = configuration;
  const { keeper } = configuration;
  const from = isKeyfileDirDatadir ? [] : namesIn(surroundings.files.data, datadir);
  const isThere = from.some((name) => {
    const parsed = parseFileName(name);
    return (
      parsed.kind === 'wrapped-key' && parsed.name.id === id && (version ?? parsed.name.version) === parsed.name.version
    );
  });
  if (isThere) return copyKeys(keeper, datadir, keyfileDir);
  const imported = importOf(configuration);
  if (imported !== undefined) return imported;
  const elsewhere = facts.listing?.stored.length === 0 ? ELSEWHERE : '';
  return `do not use innodb_force_recovery; ${elsewhere}copy the key files from where this data came from, or from a backup of them:\n${copyKeys(keeper, 'BACKUP', keyfileDir)}`;
}

/** Keys of another key management plugin are in no file that could be copied. */
const ELSEWHERE =
  'if another key management plugin encrypted this data, bring its keys in: mariadb-aws-kms import --help; if not, ';

/** Returns the command for a server whose option files still name the source of its keys. */
function importOf({ options }: Examination['configuration']): string | undefined {
  const other = otherEncryptionPlugin(options);
  const isFile = other === 'file_key_management' || options.last('file_key_management_filename') !== undefined;
  return isFile
    ? 'the keys are those of file_key_management: mariadb-aws-kms import file-key-management --help'
    : undefined;
}

function namesIn(files: Examination['surroundings']['files']['data'], directory: string): readonly string[] {
  try {
    return files.list(directory).map(({ name }) => name);
  } catch {
    return [];
  }
}

/** The server creates no key while an unreadable file may be encrypted with it. */
function unseenReports({ configuration, facts, surroundings }: Examination, { unseen }: DataLook): readonly Report[] {
  const [first] = unseen;
  if (first === undefined) return [];
  const hasSystemKey = facts.listing?.stored.some(({ id }) => id === SYSTEM_KEY) === true;
  const more = unseen.length > 1 ? ` (and ${unseen.length - 1} more)` : '';
  const { uid } = surroundings;
  const isOthers = uid !== 0 && uid !== configuration.account.uid;
  if (isOthers && unseen.every(({ reason }) => /\b(?:EACCES|EPERM)\b/.test(reason))) {
    const found = `whoever runs this may not look at ${first.path}${more}, and the server perhaps may`;
    return [failure(found, `run this as root or as ${configuration.account.name}`)];
  }
  const found = `${first.path}${more} cannot be looked at (${first.reason}): no new key is made, as it may be encrypted with one`;
  const report = hasSystemKey || configuration.allowsMissingKeys ? warning : failure;
  // The same wording as the plugin's.
  const fix = `bring it back or make it readable for ${configuration.account.name}, or move it away if nothing of this server is in it`;
  return [report(found, fix)];
}

function describe({ uses, files }: DataLook, listing: Listing | undefined): string {
  const looked = `${files} data ${files === 1 ? 'file' : 'files'} looked at`;
  const ids = new Set(uses.map(({ id }) => id));
  if (ids.size === 0) return `${looked}: none is encrypted on disk so far`;
  return `${looked}: encrypted with ${ids.size} ${ids.size === 1 ? 'key' : 'keys'}${listing === undefined ? '' : ', whose files are there'}`;
}
