import { failure, ok, type Report, skipped, warning } from '../../finding.ts';
import { isEmptyContext, keyContext } from '../../format/encryption-context.ts';
import { policyGroup } from '../../format/sidecar.ts';
import { keyId, keyVersion } from '../../ids.ts';
import type { DryRun, DryRunAction } from '../../kms/inspect.ts';
import { type Check, type Examination, type FoundKey, kmsIsNotAsked } from '../check.ts';
import { isDenied, kmsFailure } from '../kms-report.ts';

const NEXT = { id: keyId(1), version: keyVersion(1) };

export const permissions: Check = {
  id: 'permissions',
  needs: ['credentials', 'endpoint'],
  unneeded: kmsIsNotAsked,
  async run(examination, signal) {
    const { configuration, facts } = examination;
    const reports: Report[] = [];
    // A server that has its keys starts even if it cannot create new ones.
    const report = facts.stored.length === 0 ? failure : warning;
    if (configuration.masterKeyId !== '') {
      reports.push(
        await probe(
          examination,
          'GenerateDataKeyWithoutPlaintext',
          dryRunOf(examination, 'GenerateDataKeyWithoutPlaintext'),
          report,
          signal,
        ),
      );
    }
    const decrypts = decryptsOf(examination);
    if (decrypts.length === 0)
      reports.push(await probe(examination, 'Decrypt', dryRunOf(examination, 'Decrypt'), failure, signal));
    for (const request of decrypts) reports.push(await probe(examination, 'Decrypt', request, failure, signal));
    return reports;
  },
};

async function probe(
  examination: Examination,
  action: DryRunAction,
  request: DryRun | undefined,
  report: typeof failure,
  signal: AbortSignal,
): Promise<Report> {
  const kms = await examination.kms();
  if (request === undefined) return skipped(`${action}: there is no master key and no key file to ask about`);
  const pairs = Object.keys(request.context).length;
  try {
    await kms.dryRun(request, signal);
    return ok(`may ${action} with ${request.keyId}${pairs === 0 ? '' : `, encryption context of ${pairs} pairs`}`);
  } catch (error) {
    const verb = isDenied(error) ? 'may not' : 'cannot';
    const { found, fix } = kmsFailure(`${verb} ${action} with ${request.keyId}`, error);
    return report(found, isDenied(error) ? policyCommand(examination, request) : fix);
  }
}

/**
 * One stored key for each master key and each set of context names: a policy may treat these groups differently, and
 * each must open at the start.
 */
function decryptsOf(examination: Examination): DryRun[] {
  const groups = new Map<string, FoundKey>();
  for (const stored of examination.facts.stored) {
    const { sidecar } = stored.key;
    if (sidecar !== undefined) groups.set(policyGroup(sidecar), stored);
  }
  return [...groups.values()]
    .map((stored) => dryRunAbout(examination, 'Decrypt', stored))
    .filter((request) => request !== undefined);
}

/** The dry run of Decrypt uses a key file whose sidecar records its context, so it also verifies the context. */
export function dryRunOf(examination: Examination, action: DryRunAction): DryRun | undefined {
  const { stored } = examination.facts;
  const opens = action === 'Decrypt' || action === 'ReEncrypt';
  return dryRunAbout(
    examination,
    action,
    opens ? (stored.find(({ key }) => key.sidecar !== undefined) ?? stored[0]) : undefined,
  );
}

export function dryRunAbout(
  { configuration, facts }: Examination,
  action: DryRunAction,
  stored: FoundKey | undefined,
): DryRun | undefined {
  const { keySpec, encryptionAlgorithm, masterKeyId, context } = configuration;
  const keyName = stored?.key.sidecar?.masterKeyArn ?? facts.masterKey?.arn ?? masterKeyId;
  if (keyName === '') return undefined;
  const algorithm = stored === undefined ? encryptionAlgorithm : 'AES_CBC';
  const isLikelyNone = isEmptyContext(context) && encryptionAlgorithm === 'AES_CBC';
  const isContextKnown = stored?.key.sidecar !== undefined || isLikelyNone;
  return {
    action,
    keyId: keyName,
    keySpec,
    context: stored?.key.sidecar?.encryptionContext ?? keyContext(context, stored?.name ?? NEXT, algorithm),
    wrapped: isContextKnown ? stored?.key.wrapped : undefined,
    principal: facts.identity,
  };
}

function policyCommand({ configuration, facts }: Examination, { keyId: asked }: DryRun): string {
  const isKeyArn = /^arn:.*:key\//.test(asked);
  // A policy needs an ARN, not an alias.
  const arn = facts.masterKey?.arn ?? (isKeyArn ? asked : 'ARN');
  const older = isKeyArn && asked !== arn ? ` --older-key-arn ${asked}` : '';
  const pairs = Object.entries(configuration.context).map(([name, value]) => `${name}=${value}`);
  const context = pairs.length === 0 ? '' : ` --encryption-context ${pairs.join(',')}`;
  const regions = configuration.failoverRegions.map(({ region }) => region);
  const failover = regions.length === 0 ? '' : ` --failover-regions ${regions.join(',')}`;
  const options = `--master-key-arn ${arn}${older}${context}${failover}`;
  return `attach to the identity what this prints: mariadb-aws-kms policy ${options}`;
}
