import { join, resolve } from 'node:path';
import { systemErrorCode, toKeyError } from '../errors.ts';
import { failure, type Report, warning } from '../finding.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { type EncryptionContext, parseEncryptionContext } from '../format/encryption-context.ts';
import { problemOfEndpointUrl } from '../format/endpoint-url.ts';
import { type FailoverRegion, parseFailoverRegions } from '../format/failover-regions.ts';
import { REGION, REGION_EXPECTED } from '../format/region.ts';
import {
  type ChoiceSetting,
  describeChoices,
  type NumberSetting,
  SETTING_NAMES,
  SETTINGS,
  type Setting,
  type SettingName,
  type SwitchSetting,
} from '../format/settings.ts';
import type { KeySpec } from '../format/sidecar.ts';
import { type KeyIdSet, parseKeyIdSet } from '../ids.ts';
import { startDeadline, unlessAborted } from '../kms/retry.ts';
import { findAccount } from './account.ts';
import { optionName, PLUGIN_OPTIONS, PREFIX } from './plugin-options.ts';
import { readServerFacts } from './read-options.ts';
import type { DoctorRequest } from './request.ts';
import type { ServerOptions } from './server-options.ts';
import { NO_SERVICE, readService, type Service } from './service/server-environment.ts';
import type { Account, Surroundings } from './surroundings.ts';

/** The encryption settings that the server would be started with. */
export interface Configuration {
  /** The options of the command line. */
  readonly request: DoctorRequest;
  readonly options: ServerOptions;
  /** The reason why the option files could not be read; then a missing option tells nothing. */
  readonly unread: string | undefined;
  readonly serverVersion: string | undefined;
  /** Problems of reading the option files, and values in them that the plugin would refuse. */
  readonly reports: readonly Report[];
  /** The service that starts the server. */
  readonly service: Service;
  /** The user that the server runs as. */
  readonly account: Account;
  readonly datadir: string;
  readonly pluginDir: string;
  readonly keyfileDir: string;
  readonly isKeyfileDirDatadir: boolean;
  /** Path of the agent; empty: the one beside the plugin library. */
  readonly agent: string;
  readonly masterKeyId: string;
  readonly keySpec: KeySpec;
  /** The algorithm for new key versions. */
  readonly encryptionAlgorithm: EncryptionAlgorithm;
  readonly keyIds: KeyIdSet;
  readonly region: string;
  readonly endpointUrl: string;
  readonly stsEndpointUrl: string;
  readonly context: EncryptionContext;
  readonly failoverRegions: readonly FailoverRegion[];
  readonly requestTimeoutMs: number;
  readonly startTimeoutSeconds: number;
  readonly watchIntervalSeconds: number;
  readonly isMock: boolean;
  readonly allowsMissingKeys: boolean;
  readonly hasSealedKeyCache: boolean;
  readonly deep: boolean;
}

/** MariaDB's default on Debian and Red Hat. */
const DATADIR = '/var/lib/mysql';
const PLUGIN_DIRS = ['/usr/lib/mysql/plugin', '/usr/lib64/mariadb/plugin', '/usr/lib64/mysql/plugin'];
/** Characters of KMS key ids, ARNs and aliases, as the plugin checks them. */
const MASTER_KEY_ID = /^[\w:/.+=,@-]*$/;
const SERVICE_MS = 3_000;
const CORRECT = 'correct it in the option file';

export async function readConfiguration(
  request: DoctorRequest,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<Configuration> {
  const { options, unread, version, report, unreadGroups } = await readServerFacts(request, surroundings, signal);
  const reports = [report, ...unreadGroups];
  const text = (name: SettingName): string => options.last(optionName(name)) ?? '';
  const reading = <T>(read: () => T, otherwise: T): T => {
    try {
      return read();
    } catch (thrown) {
      const { message, hint } = toKeyError(thrown);
      // The message must not show a password in a URL.
      reports.push(failure(message.replaceAll(/\/\/[^@\s"]*@/g, '//'), hint || CORRECT));
      return otherwise;
    }
  };
  const expect = (isRight: boolean, name: SettingName, expected: string): void => {
    // The value is not repeated: an endpoint may contain a password.
    if (!isRight) reports.push(failure(`${optionName(name)}: expected ${expected}`, CORRECT));
  };

  for (const name of options.strict(PREFIX)) {
    if (PLUGIN_OPTIONS.includes(name)) continue;
    reports.push(
      failure(`${name} is no option of the plugin: the server would not start`, 'correct its name, or remove it'),
    );
  }
  // Like the server, accepts names in any case, and numbers in place of names.
  const choice = <T extends string>(name: SettingName, { choices, default: otherwise }: ChoiceSetting<T>): T => {
    const written = text(name).toUpperCase();
    const chosen = choices.find((known, index) => [known.toUpperCase(), String(index)].includes(written));
    expect(chosen !== undefined || written === '', name, describeChoices(choices));
    return chosen ?? otherwise;
  };
  const number = (name: SettingName, { default: otherwise, unit, min, max }: NumberSetting): number => {
    const written = options.number(optionName(name), otherwise);
    expect(written !== undefined, name, unit);
    const taken = Math.min(max, Math.max(min, written ?? otherwise));
    if (written !== undefined && written !== taken) {
      const option = optionName(name);
      reports.push(warning(`${option}: the server takes ${taken} instead of ${written}`, `${option} = ${taken}`));
    }
    return taken;
  };
  for (const name of SETTING_NAMES) {
    const setting: Setting = SETTINGS[name];
    // These settings have parsers of their own, which report errors.
    if (setting.type !== 'text' || setting.maxBytes === undefined || name === 'encryption_context') continue;
    expect(Buffer.byteLength(text(name)) <= setting.maxBytes, name, `at most ${setting.maxBytes} bytes`);
  }
  expect(MASTER_KEY_ID.test(text('master_key_id')), 'master_key_id', 'a KMS key id, ARN or alias/name');
  const keySpec = choice('key_spec', SETTINGS.key_spec);
  const encryptionAlgorithm = choice('encryption_algorithm', SETTINGS.encryption_algorithm);
  choice('log_level', SETTINGS.log_level);
  const watchIntervalSeconds = number('watch_interval', SETTINGS.watch_interval);
  const endpointUrl = text('endpoint_url');
  const endpointProblem = endpointUrl === '' ? undefined : problemOfEndpointUrl(endpointUrl);
  if (endpointProblem !== undefined)
    reports.push(failure(`${optionName('endpoint_url')}: ${endpointProblem}`, CORRECT));
  const region = text('region');
  expect(region === '' || REGION.test(region), 'region', REGION_EXPECTED);
  const startTimeoutSeconds = number('start_timeout', SETTINGS.start_timeout);
  const requestTimeoutMs = number('request_timeout', SETTINGS.request_timeout);
  const isOn = (name: SettingName, { default: otherwise }: SwitchSetting): boolean =>
    options.isOn(optionName(name), otherwise) ?? false;

  const datadir = resolve(options.last('datadir') ?? DATADIR);
  const keyfileDir = resolve(datadir, text('keyfile_dir'));
  const service = await serviceInTime(request, surroundings, datadir, signal, reports);
  const user = options.last('user') ?? service.unit?.last('User');
  return {
    request,
    options,
    unread,
    serverVersion: version,
    reports,
    service,
    account: await serverAccount(user, datadir, surroundings, reports),
    datadir,
    pluginDir: resolve(options.last('plugin_dir') ?? (await defaultPluginDir(surroundings))),
    keyfileDir,
    isKeyfileDirDatadir: keyfileDir === datadir,
    agent: text('agent'),
    masterKeyId: text('master_key_id'),
    keySpec,
    encryptionAlgorithm,
    keyIds: reading(() => parseKeyIdSet(text('key_ids')), { ranges: [] }),
    region: REGION.test(region) ? region : '',
    endpointUrl: endpointProblem === undefined ? endpointUrl : '',
    stsEndpointUrl: request.stsEndpointUrl,
    context: reading(() => parseEncryptionContext(text('encryption_context')), {}),
    failoverRegions: reading(() => parseFailoverRegions(text('failover_regions')), []),
    requestTimeoutMs,
    startTimeoutSeconds,
    watchIntervalSeconds,
    isMock: isOn('mock', SETTINGS.mock),
    allowsMissingKeys: isOn('allow_missing_keys', SETTINGS.allow_missing_keys),
    hasSealedKeyCache: isOn('sealed_key_cache', SETTINGS.sealed_key_cache),
    deep: request.deep,
  };
}

/** Reads the service within a time limit: a hanging file system must not keep other checks from running. */
async function serviceInTime(
  request: DoctorRequest,
  { files, paths, clock }: Surroundings,
  datadir: string,
  signal: AbortSignal,
  reports: Report[],
): Promise<Service> {
  const deadline = startDeadline(clock, SERVICE_MS, signal);
  try {
    const reading = readService(files, paths, datadir, isOfDistribution(request));
    return await unlessAborted(reading, deadline.signal, () => undefined);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const problem = deadline.signal.aborted ? `not read within ${SERVICE_MS / 1000} s` : message;
    const found = `the service that starts the server is unknown (${problem}), and what it gives the server`;
    reports.push(warning(found, 'run this as root, and look at: systemctl cat mariadb.service'));
    return NO_SERVICE;
  } finally {
    deadline.cancel();
  }
}

/** A server with its own option files is seldom the distribution's service. */
function isOfDistribution({ defaults, datadir }: DoctorRequest): boolean {
  return datadir === undefined && (defaults === undefined || /^--defaults-(?:extra-)?file=\/etc\//.test(defaults));
}

async function defaultPluginDir({ files }: Surroundings): Promise<string> {
  for (const directory of PLUGIN_DIRS) {
    const isThere = await files.stat(join(directory)).then(
      () => true,
      () => false,
    );
    if (isThere) return directory;
  }
  return '/usr/lib/mysql/plugin';
}

/** The service that root starts runs as mysql: that user's permissions count unless --user names another. */
async function serverAccount(
  configured: string | undefined,
  datadir: string,
  surroundings: Surroundings,
  reports: Report[],
): Promise<Account> {
  const { uid, environment } = surroundings;
  const self: Account = {
    name: `user ${uid}`,
    uid,
    gid: uid,
    group: `${uid}`,
    groups: [],
    home: environment['HOME'] ?? '/',
  };
  const own = (await findAccount(uid, surroundings)) ?? self;
  if (configured === undefined) {
    if (uid === 0) return (await findAccount('mysql', surroundings)) ?? own;
    const owner = await surroundings.files.stat(datadir).then(
      (facts) => facts.uid,
      // A user who may not even look there is not the server's user.
      (error: unknown) => (systemErrorCode(error) === 'EACCES' ? 'mysql' : uid),
    );
    if (owner === uid) return own;
    const account = await findAccount(owner, surroundings);
    if (account === undefined) return own;
    reports.push(othersReport(account));
    return account;
  }
  const found = await findAccount(configured, surroundings);
  if (found === undefined) {
    const fix = `useradd --system --user-group --home-dir ${DATADIR} --shell /usr/sbin/nologin ${configured}`;
    reports.push(failure(`user = ${configured}: this machine has no such user`, fix));
  } else if (uid !== 0 && uid !== found.uid) {
    reports.push(othersReport(found));
  }
  return found ?? own;
}

function othersReport({ name }: Account): Report {
  const text = `whoever runs this is neither root nor ${name}, and may see less than the server`;
  return warning(text, 'run this as root: sudo mariadb-aws-kms doctor');
}
