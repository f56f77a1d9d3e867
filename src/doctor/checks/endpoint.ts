import { failure, ok, type Report, warning } from '../../finding.ts';
import { describeKey, keyFileName } from '../../format/key-file-name.ts';
import type { KmsInspector } from '../../kms/inspect.ts';
import { settingCure } from '../../server/key-keeper.ts';
import { TRIAL_ALIAS, TRIAL_UNIT } from '../../server/plugin-options.ts';
import { parseUrl } from '../../url.ts';
import { type Check, type Examination, type FoundKey, kmsIsNotAsked } from '../check.ts';
import { isUnreached, kmsFailure } from '../kms-report.ts';

/** The most key versions to name in one finding. */
const NAMED = 5;
const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

export const endpoint: Check = {
  id: 'endpoint',
  unneeded: kmsIsNotAsked,
  async run(examination, signal) {
    const kms = await examination.kms();
    try {
      const { requestId, status } = await examination.reach(signal);
      if (requestId === '') {
        const found = `${kms.description}: what answered is not KMS (HTTP status ${status}, no request id)`;
        return [failure(found, 'check aws_key_management_endpoint_url and the proxy between here and KMS')];
      }
    } catch (error) {
      const { found, fix } = kmsFailure(kms.description, error);
      return [failure(found, isUnreached(error) ? ((await trialCure(examination)) ?? fix) : fix)];
    }
    const reports = [...regionReports(examination, kms.region), ...transportReports(kms)];
    return reports.length > 0 ? reports : [ok(`${kms.description}: KMS answers`)];
  },
};

/** Starts the KMS of a trial again; undefined: it is no trial. */
async function trialCure({ configuration, surroundings }: Examination): Promise<string | undefined> {
  if (configuration.masterKeyId !== TRIAL_ALIAS) return undefined;
  const hasSystemd = await surroundings.files.stat(surroundings.paths.systemd).then(
    () => true,
    () => false,
  );
  return hasSystemd ? `systemctl restart ${TRIAL_UNIT}` : 'mariadb-aws-kms init --embedded-kms';
}

function regionReports(examination: Examination, region: string): readonly Report[] {
  const { configuration, surroundings, facts } = examination;
  const { masterKeyId } = configuration;
  const named = regionOf(masterKeyId);
  if (named !== undefined && named !== region && !isMultiRegion(masterKeyId)) {
    const found = `the master key is in ${named}, the server asks ${region}`;
    return [failure(found, settingCure(configuration, 'region', named))];
  }
  const elsewhere = facts.stored.filter(({ key }) => {
    const arn = key.sidecar?.masterKeyArn ?? '';
    const home = regionOf(arn);
    return home !== undefined && home !== region && !isMultiRegion(arn);
  });
  if (elsewhere[0] !== undefined) return [strayReport(examination, elsewhere, region)];
  const { environment } = surroundings;
  const { AWS_REGION: variable, AWS_DEFAULT_REGION: lastVariable } = environment;
  const isChosen = configuration.region !== '' || variable || lastVariable;
  if (configuration.region === '' && !variable && lastVariable && lastVariable !== region) {
    const found = `AWS_DEFAULT_REGION is ${lastVariable}, and the profile names ${region}, which the server asks`;
    return [warning(found, `${settingCure(configuration, 'region', 'REGION')}, so that nothing else decides it`)];
  }
  if (!isChosen && named === undefined && region === 'us-east-1') {
    const found = 'no Region is set: us-east-1 is asked';
    return [warning(found, `${settingCure(configuration, 'region', 'REGION')}, so that nothing else decides it`)];
  }
  return [];
}

/** The fix suggests another Region only if every key is there; otherwise keys that open now would fail. */
function strayReport({ facts, configuration }: Examination, elsewhere: readonly FoundKey[], region: string): Report {
  const home = (found: FoundKey): string => regionOf(found.key.sidecar?.masterKeyArn ?? '') ?? '';
  const regions = [...new Set(elsewhere.map(home))];
  const others = facts.stored.length - elsewhere.length;
  if (others === 0 && regions.length === 1 && regions[0] !== undefined) {
    const found = `${elsewhere.length} stored key versions are wrapped in ${regions[0]}, the server asks ${region}`;
    return failure(found, settingCure(configuration, 'region', regions[0]));
  }
  const named = elsewhere.slice(0, NAMED).map((found) => `${describeKey(found.name)} in ${home(found)}`);
  const more = elsewhere.length > NAMED ? ` and ${elsewhere.length - NAMED} more` : '';
  const found = `${named.join(', ')}${more}: wrapped in another Region than ${region}, which the server asks, and the other ${others} are not`;
  const files = elsewhere.slice(0, NAMED).map(({ name }) => keyFileName(name));
  return failure(
    found,
    `no one Region opens them all: restore ${files.join(', ')} and the .json beside it from a backup of this server's keys`,
  );
}

function transportReports({ endpointUrl, endpointFrom }: KmsInspector): readonly Report[] {
  const url = endpointUrl === '' ? null : parseUrl(endpointUrl);
  if (url === null || url.protocol === 'https:' || LOOPBACK.test(url.hostname)) return [];
  const found = `${endpointFrom} is http: data keys cross the network readable`;
  return [failure(found, 'use https')];
}

function regionOf(arn: string): string | undefined {
  return /^arn:[\w-]+:kms:([\w-]+):/.exec(arn)?.[1];
}

function isMultiRegion(arn: string): boolean {
  return arn.includes(':key/mrk-');
}
