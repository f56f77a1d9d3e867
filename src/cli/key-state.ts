/** Gathers what `status` and `show` tell. Each part that cannot be looked at gives its reason, and the others go on. */
import type { Audit } from '../audit/audit.ts';
import { type KeyVersionNeeds, needsOf } from '../audit/needs.ts';
import { isComplete } from '../audit/report.ts';
import { examine } from '../doctor/doctor.ts';
import { type KeyError, toKeyError } from '../errors.ts';
import type { Finding } from '../finding.ts';
import type { KeyId } from '../ids.ts';
import { isSameMasterKey } from '../kms/master-key.ts';
import { within } from '../kms/retry.ts';
import { type ServerView, viewOfServer } from '../operate/status/server-view.ts';
import { readVersions, type VersionFacts } from '../operate/status/versions.ts';
import type { Configuration } from '../server/configuration.ts';
import type { SqlFlags } from '../server/sql-target.ts';
import type { Surroundings } from '../server/surroundings.ts';
import type { PlaceOptions } from './audit-places.ts';
import { connectAsCaller } from './key-commands.ts';
import { keyStores } from './key-versions.ts';
import type { CliIo } from './process-io.ts';
import { auditServer } from './server-audit.ts';
import { connectToServer } from './server-connection.ts';
import { withoutSecrets } from './system.ts';

/** The answer of one part, or the reason why there is none. */
export type Part<T> = { readonly value: T } | { readonly problem: KeyError };

/** @returns the reason with secrets removed in place of an error */
export async function partOf<T>(look: () => Promise<T>): Promise<Part<T>> {
  try {
    return { value: await look() };
  } catch (error) {
    return { problem: withoutSecrets(toKeyError(error)) };
  }
}

export interface StoredPart {
  readonly directory: string;
  readonly versions: readonly VersionFacts[];
}

export async function storedPart(
  server: Configuration,
  keyfileDir: string | undefined,
  outside: Surroundings,
  id?: KeyId,
): Promise<StoredPart> {
  const { directory, store, retired } = await keyStores(server, keyfileDir, outside);
  return { directory, versions: await readVersions(store, retired, id) };
}

const QUERY_MS = 15_000;

export async function serverPart(flags: SqlFlags, server: Configuration, outside: Surroundings): Promise<ServerView> {
  const sql = await connectToServer(flags, server, outside);
  try {
    return await within(outside.clock, QUERY_MS, (late) => viewOfServer(sql, late));
  } finally {
    await sql.close();
  }
}

export interface DiskPart {
  readonly needs: readonly KeyVersionNeeds[];
  readonly unseen: Audit['unseen'];
  readonly isComplete: boolean;
}

export async function diskPart(
  options: PlaceOptions,
  outside: Surroundings,
  io: Pick<CliIo, 'redraw' | 'onSignal'>,
): Promise<DiskPart> {
  const audit = await auditServer(options, outside, io);
  return { needs: needsOf(audit.files), unseen: audit.unseen, isComplete: isComplete(audit) };
}

export interface MasterKeyFacts {
  readonly arn: string;
  /** The alias that the server's options name, if it is of this key. */
  readonly alias: string | undefined;
  readonly state: string;
  /** ISO 8601; undefined: never, or KMS does not say. */
  readonly lastUsed: string | undefined;
  readonly lastOperation: string | undefined;
}

const KMS_MS = 10_000;

/** Asks KMS about a master key by the identity of the user. */
export async function masterKeyPart(
  arn: string,
  server: Configuration,
  outside: Surroundings,
): Promise<MasterKeyFacts> {
  const kms = await connectAsCaller(server, outside);
  try {
    return await within(outside.clock, KMS_MS, async (late) => {
      const { state } = await kms.describeKey(arn, late);
      // Neither answer is needed, and both actions may be forbidden.
      const use = await kms.lastUse(arn, late).catch(() => undefined);
      const { masterKeyId } = server;
      const named = masterKeyId === '' ? undefined : await kms.describeKey(masterKeyId, late).catch(() => undefined);
      const isNamed = named !== undefined && masterKeyId.includes('alias/') && isSameMasterKey(named.arn, arn);
      return {
        arn,
        alias: isNamed ? masterKeyId : undefined,
        state,
        lastUsed: use?.usedMs === undefined ? undefined : new Date(use.usedMs).toISOString(),
        lastOperation: use?.operation,
      };
    });
  } finally {
    kms.close();
  }
}

/** The doctor's findings, without a Decrypt of each version. */
export async function startPart(server: Configuration, outside: Surroundings): Promise<readonly Finding[]> {
  return await examine({ ...server.request, deep: false }, outside);
}
