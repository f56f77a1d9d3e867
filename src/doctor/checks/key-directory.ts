import { constants } from 'node:fs';
import { join } from 'node:path';
import { keyNeedOf } from '../../data/look.ts';
import { systemErrorCode, toKeyError } from '../../errors.ts';
import { failure, ok, type Report, unlooked, warning } from '../../finding.ts';
import { KEY_CACHE_FILE, parseFileName, TEMPORARY_PREFIX } from '../../format/key-file-name.ts';
import { storeUnavailable } from '../../keystore/failures.ts';
import { openStore } from '../../keystore/open-store.ts';
import type { Listing } from '../../keystore/store.ts';
import { describeMode, ENTER, READ, WRITE } from '../../server/account.ts';
import type { KeyKeeper } from '../../server/key-keeper.ts';
import { findObstacle, type Obstacle } from '../../server/obstacle.ts';
import type { Files } from '../../server/surroundings.ts';
import type { Check, Examination } from '../check.ts';
import { lookOnce } from '../data-look.ts';
import { beforeRestart, copyKeys, keeperNamed } from '../key-place.ts';

const WORLD_WRITABLE = 0o002;
/** A key and its sidecar are two small files; with less free space than this other parts of the server fail first. */
const LOW_SPACE_BYTES = 64 * 2 ** 20;
const NAMED_FILES = 5;

export const keyDirectory: Check = {
  id: 'key-directory',
  async run(examination, signal) {
    const { surroundings, configuration, facts } = examination;
    const { files, clock, random } = surroundings;
    const { keyfileDir: path } = configuration;
    const { account, unseenKeys } = configuration.keeper;
    if (unseenKeys !== undefined) return [unlooked(unseenKeys)];
    const missing = await missingDirectory(examination, signal);
    if (missing !== undefined) return [missing];
    const unlistable = await findObstacle(files, account, path, READ + ENTER);
    if (unlistable !== undefined)
      return [failure(unlistable.found, ownershipFix(unlistable, path, configuration.keeper))];
    const named = keeperNamed(configuration.keeper);
    const store = openStore(path, { fileSystem: files.keyDirectory, clock, random }, named);
    const listing = await store.list();
    facts.listing = listing;
    const reports = [
      ...(await creationReports(examination, listing)),
      ...(await spaceReports(files, path, listing)),
      ...(await strangers(examination, listing)),
    ];
    if (reports.length > 0) return reports;
    const place = configuration.isKeyfileDirDatadir ? ', the data directory' : '';
    return [ok(`${path}${place}: ${describeMode(await files.stat(path))}, hard links work`)];
  },
};

async function missingDirectory(examination: Examination, signal: AbortSignal): Promise<Report | undefined> {
  const { surroundings, configuration } = examination;
  const { keyfileDir: path, keeper, isKeyfileDirDatadir } = configuration;
  const { account, isSeparate } = keeper;
  try {
    if ((await surroundings.files.stat(path)).isDirectory()) return undefined;
    return failure(`${path} is no directory`, 'aws_key_management_keyfile_dir must name a directory');
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw storeUnavailable(path, 'look at', error);
    const found = `there is no directory ${path}`;
    if (isKeyfileDirDatadir) return failure(found, `mariadb-install-db --user=${account.name} --datadir=${path}`);
    const make = `install -d -o ${account.name} -g ${account.group} -m ${isSeparate ? '0700' : '0750'} ${path}`;
    if (!(await isDataEncrypted(examination, signal))) return failure(found, make);
    const fix = `mount it if it has a file system of its own; otherwise restore the key files from a backup:\n${make} && ${copyKeys(keeper, 'BACKUP', path)}`;
    return failure(
      `${found}, and the data is encrypted: its keys are lost or elsewhere`,
      beforeRestart(configuration, fix),
    );
  }
}

/** Also false where the data cannot be looked at, which the check of the data reports. */
async function isDataEncrypted(examination: Examination, signal: AbortSignal): Promise<boolean> {
  return await lookOnce(examination, signal).then(
    (look) => keyNeedOf(look) === 'needs',
    () => false,
  );
}

/** A server that has its keys starts even if it cannot create new ones. */
async function creationReports(examination: Examination, listing: Listing): Promise<readonly Report[]> {
  const { surroundings, configuration } = examination;
  const { files } = surroundings;
  const { keyfileDir: path, keeper } = configuration;
  const { account } = keeper;
  const report = listing.stored.length === 0 ? failure : warning;
  const facts = await files.stat(path);
  const reports: Report[] = [];
  if ((facts.mode & WORLD_WRITABLE) !== 0) {
    reports.push(warning(`everybody may write ${path} (${describeMode(facts)})`, `chmod o-w ${path}`));
  }
  const unwritable = await findObstacle(files, account, path, READ + WRITE + ENTER);
  if (unwritable !== undefined) {
    reports.push(report(`${unwritable.found}: no new keys can be stored`, ownershipFix(unwritable, path, keeper)));
    return reports;
  }
  const refused = await probeLinks(examination);
  if (refused !== undefined) reports.push(report(refused.found, refused.fix));
  return reports;
}

/** Tries the operations that storing a key needs: creating a file exclusively and hard-linking it. Removes both. */
async function probeLinks({ surroundings, configuration }: Examination): Promise<Report | undefined> {
  const { files, random, uid } = surroundings;
  const fs = files.keyDirectory;
  const { keyfileDir: path } = configuration;
  const { account } = configuration.keeper;
  // The test proves nothing when another user than the server's runs it.
  if (uid !== 0 && uid !== account.uid) return undefined;
  const probe = join(path, `${TEMPORARY_PREFIX}doctor-${Math.floor(random() * 2 ** 48).toString(36)}`);
  const linked = `${probe}.link`;
  try {
    const file = await fs.open(probe, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    await file.close();
    await fs.link(probe, linked);
    return undefined;
  } catch (error) {
    const { message, hint } = toKeyError(storeUnavailable(path, 'store a key in', error));
    return warning(message, hint);
  } finally {
    await fs.unlink(linked).catch(() => undefined);
    await fs.unlink(probe).catch(() => undefined);
  }
}

async function spaceReports(files: Files, path: string, listing: Listing): Promise<readonly Report[]> {
  const { bsize, bavail, files: inodes, ffree } = await files.statfs(path);
  const free = bsize * bavail;
  const report = listing.stored.length === 0 && free === 0 ? failure : warning;
  if (free < LOW_SPACE_BYTES) {
    return [report(`${path}: ${Math.floor(free / 2 ** 20)} MiB free`, `free some space: df -h ${path}`)];
  }
  if (inodes > 0 && ffree === 0) {
    return [report(`${path}: no inodes free`, `remove files nobody needs: df -i ${path}`)];
  }
  return [];
}

async function strangers({ surroundings, configuration }: Examination, listing: Listing): Promise<readonly Report[]> {
  const { keyfileDir: path, isKeyfileDirDatadir, hasSealedKeyCache, unread } = configuration;
  const reports: Report[] = [];
  if (listing.strays.length > 0) {
    const found = `not names of key files, ignored by the server: ${list(listing.strays)}`;
    reports.push(warning(`${path}: ${found}`, `look at them and move them away from ${path}`));
  }
  const all = await surroundings.files.keyDirectory.readdir(path);
  if (!hasSealedKeyCache && unread === undefined && all.includes(KEY_CACHE_FILE)) {
    const found = `${path} holds ${KEY_CACHE_FILE}, and aws_key_management_sealed_key_cache is OFF`;
    reports.push(warning(found, `nobody reads it any more: rm ${join(path, KEY_CACHE_FILE)}`));
  }
  if (!isKeyfileDirDatadir) {
    const foreign = all.filter((file) => parseFileName(file).kind === 'foreign').sort();
    if (foreign.length > 0) {
      reports.push(
        warning(`${path} holds files that are no keys: ${list(foreign)}`, 'give the keys a directory alone'),
      );
    }
  }
  return reports;
}

function list(files: readonly string[]): string {
  const more = files.length > NAMED_FILES ? ` and ${files.length - NAMED_FILES} more` : '';
  return `${files.slice(0, NAMED_FILES).join(', ')}${more}`;
}

function ownershipFix({ enter }: Obstacle, path: string, { account, isSeparate }: KeyKeeper): string {
  return enter ?? `chown ${account.name}: ${path} && chmod ${isSeparate ? '0700' : '0750'} ${path}`;
}
