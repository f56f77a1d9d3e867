import { ok, type Report, skipped, warning } from '../../finding.ts';
import { SETTINGS } from '../../format/settings.ts';
import { classifyKmsFailure } from '../../kms/failures/classify.ts';
import type { KmsInspector } from '../../kms/inspect.ts';
import { isMultiRegion, masterKeyInRegion } from '../../kms/master-key.ts';
import { type Check, type Examination, kmsIsNotAsked } from '../check.ts';
import { isDenied } from '../kms-report.ts';

const DAY_MS = 86_400_000;
/** The most master keys to ask about: each costs a request in each of its Regions. */
const MOST_KEYS = 10;

/** Reports the last use of the master keys by KMS's record, on which administrators rely before they delete a key. */
export const lastUse: Check = {
  id: 'last-use',
  needs: ['credentials', 'endpoint'],
  unneeded: kmsIsNotAsked,
  isOptional: true,
  async run(examination, signal) {
    const { facts, configuration } = examination;
    const arns = [facts.masterKey?.arn, ...facts.stored.map(({ key }) => key.sidecar?.masterKeyArn)];
    const home = (await examination.kms()).region;
    const known = [...new Set(arns.flatMap((arn) => (arn ? [masterKeyInRegion(arn, home)] : [])))];
    const uses = await Promise.all(known.slice(0, MOST_KEYS).map((arn) => usesOf(examination, arn, signal)));
    return [
      ...(configuration.watchIntervalSeconds === 0 ? [watchIsOff()] : []),
      ...(known.length === 0 ? [skipped('no master key is known to ask about')] : uses),
    ];
  },
};

function watchIsOff(): Report {
  return warning(
    'aws_key_management_watch_interval is 0: a server that runs neither sees what becomes of its master key nor uses it, and to AWS the key looks unused',
    `aws_key_management_watch_interval = ${SETTINGS.watch_interval.default}`,
  );
}

interface RegionalUse {
  readonly text: string;
  /** The error of KMS; undefined: KMS answered. */
  readonly refused: unknown;
}

async function usesOf(examination: Examination, arn: string, signal: AbortSignal): Promise<Report> {
  const kms = await examination.kms();
  const others = isMultiRegion(arn) ? examination.configuration.failoverRegions : [];
  const clients = [kms, ...others.map(({ region, endpointUrl }) => kms.inRegion(region, endpointUrl))];
  const nowMs = examination.surroundings.clock.wallMs();
  const uses = await Promise.all(clients.map((client) => useIn(client, arn, nowMs, signal)));
  if (uses.some(({ refused }) => refused === undefined)) {
    return ok(`${arn}: last used ${uses.map(({ text }) => text).join(', ')}`);
  }
  const [first] = uses;
  const why = isDenied(first?.refused)
    ? 'kms:GetKeyLastUsage is not allowed, and not needed by the server; mariadb-aws-kms policy --with-describe prints a policy that allows it'
    : `KMS does not say when it was last used (${classifyKmsFailure(first?.refused).name})`;
  return skipped(`${arn}: ${why}`);
}

/** KMS's record is up to an hour late. */
async function useIn(client: KmsInspector, arn: string, nowMs: number, signal: AbortSignal): Promise<RegionalUse> {
  const where = `in ${client.region}`;
  try {
    const { operation, usedMs, trackedSinceMs } = await client.lastUse(masterKeyInRegion(arn, client.region), signal);
    if (usedMs === undefined) {
      const since = trackedSinceMs === undefined ? '' : ` since ${new Date(trackedSinceMs).toISOString().slice(0, 10)}`;
      return { text: `${where} never${since}`, refused: undefined };
    }
    const days = Math.max(0, Math.floor((nowMs - usedMs) / DAY_MS));
    const ago = days === 0 ? 'within a day' : `${days} ${days === 1 ? 'day' : 'days'} ago`;
    return { text: `${where} ${ago} (${operation})`, refused: undefined };
  } catch (error) {
    return { text: `${where} unknown (${classifyKmsFailure(error).name})`, refused: error };
  }
}
