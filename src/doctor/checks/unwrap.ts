import { forEachBounded } from '../../bounded.ts';
import { wipe } from '../../bytes.ts';
import type { FoundPage } from '../../data/look.ts';
import { type KeyError, toKeyError } from '../../errors.ts';
import { failure, ok, type Report, skipped, unlooked, warning } from '../../finding.ts';
import { mergeAlike } from '../../format/alike.ts';
import { algorithmOf, type EncryptionContext } from '../../format/encryption-context.ts';
import type { DataKey } from '../../format/encryption-scheme.ts';
import { judgePage } from '../../format/innodb/judged-page.ts';
import { describeKey, type KeyName } from '../../format/key-file-name.ts';
import type { StoredKey } from '../../keystore/store.ts';
import type { UnwrapCaller } from '../../kms/caller.ts';
import { OperatorCaller } from '../../kms/operator-caller.ts';
import { type Deadline, startDeadline } from '../../kms/retry.ts';
import { type Check, type Examination, kmsIsNotAsked } from '../check.ts';
import { beforeRestart, copyKeys } from '../key-place.ts';
import { possibleContexts } from '../stored-context.ts';

const CONCURRENCY = 16;
const NAMED = 5;
/** Milliseconds for one version. When one takes longer, KMS does not answer and the rest is not tried. */
const ONE_MS = 9_000;
/** Milliseconds for each version in the total limit: 16 run at a time, so each may take 1.6 s. */
const VERSION_MS = 100;
/** Milliseconds kept for the report on the progress so far. */
const REPORT_MS = 1_000;

export const unwrap: Check = {
  id: 'unwrap',
  needs: ['credentials', 'endpoint'],
  unneeded: kmsIsNotAsked,
  limitMs: ({ facts }) => allMs(facts.stored.length) + REPORT_MS,
  async run(examination, signal) {
    const { facts, surroundings, configuration } = examination;
    if (!configuration.deep) return [unlooked('not asked for: one Decrypt per key version')];
    if (facts.stored.length === 0) return [skipped('there are no key files to unwrap')];
    const kms = await examination.kms();
    const { clock } = surroundings;
    const caller = new OperatorCaller(kms, surroundings);
    const deadline = startDeadline(clock, allMs(facts.stored.length), signal);
    const failures: KeyError[] = [];
    const others: FoundPage[] = [];
    let unwrapped = 0;
    let isOver = false;
    try {
      await forEachBounded(facts.stored, CONCURRENCY, async ({ name, key }) => {
        if (isOver) return;
        const one = startDeadline(clock, ONE_MS, deadline.signal);
        try {
          const other = await unwrapOne(examination, caller, name, key, one);
          unwrapped += 1;
          if (other !== undefined) others.push(other);
        } catch (error) {
          failures.push(toKeyError(error));
        } finally {
          isOver ||= one.signal.aborted;
          one.cancel();
        }
      });
    } finally {
      deadline.cancel();
    }
    return [...reportsOf(examination, unwrapped, failures), ...otherKeyReports(examination, others)];
  },
};

function reportsOf(
  { facts, configuration }: Examination,
  unwrapped: number,
  failures: readonly KeyError[],
): readonly Report[] {
  const total = facts.stored.length;
  const count = `${unwrapped} of ${total} key versions unwrap`;
  const untried = total - unwrapped - failures.length;
  const gaps = untried === 0 ? [] : [unlooked(`there was no time for ${untried} of ${total} key versions`)];
  if (failures.length === 0) return [ok(count), ...gaps];
  const report = configuration.allowsMissingKeys ? warning : failure;
  const causes = mergeAlike(failures);
  const more = causes.length > NAMED ? `; ${causes.length - NAMED} other causes` : '';
  const named = causes
    .slice(0, NAMED)
    .map(({ message, hint }, index) => report(index === 0 ? `${count}${more}; ${message}` : message, hint));
  return [...named, ...gaps];
}

function allMs(versions: number): number {
  return Math.max(ONE_MS, versions * VERSION_MS);
}

/** The same wording as the plugin's: the key files belong to another server or another time. */
function otherKeyReports({ configuration }: Examination, others: readonly FoundPage[]): readonly Report[] {
  const { keyfileDir, allowsMissingKeys, keeper } = configuration;
  const report = allowsMissingKeys ? warning : failure;
  const move = `do not use innodb_force_recovery; move the files aws-kms-key.* away from ${keyfileDir} and keep them, and copy those from where this data came from`;
  const fix = beforeRestart(configuration, `${move}:\n${copyKeys(keeper, 'BACKUP', keyfileDir)}`);
  return others.slice(0, NAMED).map(({ space, version, file }, index) => {
    const more = index === 0 && others.length > NAMED ? `; ${others.length - NAMED} more` : '';
    const found = `key ${space.crypt.keyId} version ${version} is among the key files, and ${file} is encrypted with another key of this number`;
    return report(`${found}${more}`, fix);
  });
}

/**
 * Returns a page that the key does not open, if it opens none. If it opens one, the others belong to another server's
 * tables.
 */
function foreignPage({ facts }: Examination, name: KeyName, key: DataKey): FoundPage | undefined {
  const uses = facts.look?.uses.filter(({ id, version }) => id === name.id && version === name.version) ?? [];
  const judged = uses
    .flatMap(({ pages }) => pages)
    .map((page) => ({ page, verdict: judgePage(page.space, page.head, key) }));
  if (judged.some(({ verdict }) => verdict === 'fits')) return undefined;
  return judged.find(({ verdict }) => verdict === 'other')?.page;
}

/** Unwraps as the server does, with the same checks of the answer. */
async function unwrapOne(
  examination: Examination,
  caller: UnwrapCaller,
  name: KeyName,
  key: StoredKey,
  deadline: Deadline,
): Promise<FoundPage | undefined> {
  const { wrapped, sidecar } = key;
  const { masterKeyArn, keySpec, keyCheckValue } = sidecar ?? {};
  const unwrapIn = async (encryptionContext: EncryptionContext): Promise<FoundPage | undefined> => {
    const request = { wrapped, masterKeyArn, keySpec, keyCheckValue, encryptionContext };
    const { plaintext } = await caller.decrypt(describeKey(name), request, deadline);
    try {
      return foreignPage(examination, name, { bytes: plaintext, algorithm: algorithmOf(encryptionContext) });
    } finally {
      wipe(plaintext);
    }
  };
  let refused: KeyError | undefined;
  for (const context of possibleContexts(examination.configuration, name, key)) {
    try {
      return await unwrapIn(context);
    } catch (thrown) {
      const error = toKeyError(thrown);
      if (error.code !== 'KMS_CORRUPT') throw error;
      refused ??= error;
    }
  }
  throw refused;
}
