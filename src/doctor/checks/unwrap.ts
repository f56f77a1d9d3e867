import { wipe } from '../../bytes.ts';
import { type KeyError, toKeyError } from '../../errors.ts';
import { mergeAlike } from '../../format/alike.ts';
import type { EncryptionContext } from '../../format/encryption-context.ts';
import { describeKey, type KeyName } from '../../format/key-file-name.ts';
import { forEachBounded } from '../../keyring/bounded.ts';
import type { StoredKey } from '../../keystore/directory.ts';
import type { KmsCaller } from '../../kms/caller.ts';
import { type Deadline, startDeadline } from '../../kms/retry.ts';
import { type Check, type Examination, mockNeedsNoKms } from '../check.ts';
import { dataKeyCaller } from '../data-key-client.ts';
import { failure, ok, type Report, skipped, warning } from '../finding.ts';
import { possibleContexts } from '../stored-context.ts';

const CONCURRENCY = 16;
const NAMED = 5;
/** Sooner than the check's own end, so that it can say how far it came. */
const ALL_MS = 9_000;

export const unwrap: Check = {
  id: 'unwrap',
  needs: ['credentials', 'endpoint'],
  unneeded: (configuration) =>
    mockNeedsNoKms(configuration) ?? (configuration.deep ? undefined : 'only with --deep: one Decrypt per key version'),
  async run(examination, signal) {
    const { facts, surroundings } = examination;
    if (facts.stored.length === 0) return [skipped('there are no key files to unwrap')];
    const kms = await examination.kms();
    const { clock } = surroundings;
    const caller = dataKeyCaller(kms, surroundings);
    const deadline = startDeadline(clock, ALL_MS, signal);
    const failures: KeyError[] = [];
    let unwrapped = 0;
    try {
      await forEachBounded(facts.stored, CONCURRENCY, async ({ name, key }) => {
        if (deadline.signal.aborted) return;
        try {
          await unwrapOne(examination, caller, name, key, deadline);
          unwrapped += 1;
        } catch (error) {
          failures.push(toKeyError(error));
        }
      });
    } finally {
      deadline.cancel();
    }
    return reportsOf(examination, unwrapped, failures);
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
  if (failures.length === 0) {
    return [
      untried === 0
        ? ok(count)
        : warning(
            `${count}; there was no time for ${untried}`,
            'raise aws_key_management_start_timeout if KMS is always so slow',
          ),
    ];
  }
  const report = configuration.allowsMissingKeys ? warning : failure;
  const causes = mergeAlike(failures);
  const more = causes.length > NAMED ? `; ${causes.length - NAMED} other causes` : '';
  return causes
    .slice(0, NAMED)
    .map(({ message, hint }, index) => report(index === 0 ? `${count}${more}; ${message}` : message, hint));
}

/** As the server does it, with the same checks of the answer. */
async function unwrapOne(
  { configuration }: Examination,
  caller: KmsCaller,
  name: KeyName,
  key: StoredKey,
  deadline: Deadline,
): Promise<void> {
  const { wrapped, sidecar } = key;
  const { masterKeyArn, keySpec, keyCheckValue } = sidecar ?? {};
  const unwrapIn = async (encryptionContext: EncryptionContext): Promise<void> => {
    const request = { wrapped, masterKeyArn, keySpec, keyCheckValue, encryptionContext };
    const { plaintext } = await caller.decrypt(describeKey(name), request, deadline);
    wipe(plaintext);
  };
  let refused: KeyError | undefined;
  for (const context of possibleContexts(configuration, name, key)) {
    try {
      await unwrapIn(context);
      return;
    } catch (thrown) {
      const error = toKeyError(thrown);
      if (error.code !== 'KMS_CORRUPT') throw error;
      refused ??= error;
    }
  }
  throw refused;
}
