import { readFile, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { Command } from 'commander';
import { ownerOfPlace } from '../disk/place-owner.ts';
import { type Owner, replaceSecretFile } from '../disk/replace-file.ts';
import { KeyError } from '../errors.ts';
import { parseDecimal } from '../ids.ts';
import { chosenRegion } from '../kms/aws/region.ts';
import { commandConnection } from '../kms/aws/sdk-connection.ts';
import { trustedCertificates } from '../kms/aws/trusted-certificates.ts';
import { within } from '../kms/retry.ts';
import { withoutSession, withSession } from '../login/credentials-section.ts';
import { getSessionToken } from '../login/session-token.ts';
import { CREDENTIALS_FILE } from '../server/plugin-options.ts';
import { NO_SERVICE, readService, type Service } from '../server/service/server-environment.ts';
import { SYSTEM_PATHS, type SystemPaths } from '../server/surroundings.ts';
import type { CliIo } from './process-io.ts';
import { NOGROUP } from './server-user.ts';
import { processSecrets, systemClock } from './system.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface LoginOptions {
  readonly mfaSerial?: string;
  readonly duration: number;
  readonly output?: string;
  readonly profile: string;
  readonly sourceProfile?: string;
  readonly user?: string;
  readonly region?: string;
  readonly endpointUrl: string;
  readonly clear?: boolean;
}

type LoginIo = Pick<CliIo, 'stdout' | 'ask'>;

const TIMEOUT_MS = 10_000;
const ALL_MS = 60_000;
const MINUTE_MS = 60_000;

/** `mariadb-aws-kms login`. @throws KeyError BAD_OPTION, STORE_UNAVAILABLE, KMS_… */
export function loginCommand(
  io: LoginIo,
  environment: NodeJS.ProcessEnv = process.env,
  paths: SystemPaths = SYSTEM_PATHS,
): Command {
  return new Command('login')
    .description("get session credentials with a multi-factor code, and store them where the server's agent reads them")
    .option(
      '--mfa-serial <arn>',
      'multi-factor device: arn:aws:iam::…:mfa/NAME, or the serial number of a hardware device',
    )
    .option('--duration <seconds>', 'lifetime of the session, 900 to 129600', parseDuration, 900)
    .option(
      '--output <file>',
      "shared credentials file to write (default: the one that the server's unit names, then ~/.aws/credentials of --user)",
    )
    .option('--profile <name>', 'section of the file to write', parseProfile, 'default')
    .option('--source-profile <name>', 'profile with the long-term keys (default: the usual credential chain)')
    .option('--user <name>', 'system user of the server (default: mysql if root runs this, else the current user)')
    .option('--region <region>', 'Region of STS')
    .option('--endpoint-url <url>', 'URL of STS, for VPC endpoints and trials', '')
    .option('--clear', 'remove the section that login wrote, and nothing else')
    .addHelpText('after', '\nExample:\n  mariadb-aws-kms login --mfa-serial arn:aws:iam::111122223333:mfa/name')
    .action(async (options: LoginOptions) => {
      const place = await target(options, environment, paths);
      if (options.clear !== true) await requireGoodPlace(place.path);
      if (options.clear === true) await clear(io, options, place);
      else await login(io, options, place, environment);
    });
}

async function login(
  io: LoginIo,
  options: LoginOptions,
  { path, owner, service }: Target,
  environment: NodeJS.ProcessEnv,
): Promise<void> {
  const mfaSerial = parseSerial(options.mfaSerial);
  const connection = commandConnection({
    region: options.region ?? (await chosenRegion(environment)),
    endpointUrl: options.endpointUrl,
    timeoutMs: TIMEOUT_MS,
    sharedFiles: undefined,
    profile: options.sourceProfile,
    environment,
    trustedCertificates: trustedCertificates(environment),
    clock: systemClock,
    secrets: processSecrets,
  });
  // The file is tested before the code is typed, because the code is valid for half a minute only.
  await replaceSecretFile(path, owner, (text) => {
    withSession(text, options.profile, { accessKeyId: '', secretAccessKey: '', sessionToken: '', expiresMs: 0 });
    return text;
  });
  const code = (await io.ask(`code of ${mfaSerial}: `)).trim();
  if (!/^\d{6}$/.test(code)) throw new KeyError('BAD_OPTION', 'expected the six digits that the device shows now');
  const request = { mfaSerial, code, seconds: options.duration };
  const session = await within(systemClock, ALL_MS, (late) => getSessionToken(connection, request, late));
  await replaceSecretFile(path, owner, (text) => withSession(text, options.profile, session));
  const minutes = Math.round((session.expiresMs - systemClock.wallMs()) / MINUTE_MS);
  io.stdout(`wrote session credentials to ${path}, section [${options.profile}]`);
  io.stdout(`they expire at ${new Date(session.expiresMs).toISOString()}, in ${minutes} min`);
  const steps = [...stepsFor(path, options, service, environment), 'mariadb-aws-kms doctor', 'systemctl start mariadb'];
  io.stdout(`next: ${steps.join(', then ')}`);
}

/** Steps without which the server would not find the session in that file. */
function stepsFor(
  path: string,
  { profile, output }: LoginOptions,
  { unit, variables }: Service,
  environment: NodeJS.ProcessEnv,
): readonly string[] {
  const given = (name: string): string | undefined => variables.get(name)?.value ?? environment[name];
  const keys = variables.get('AWS_ACCESS_KEY_ID');
  const needs = [
    ...((given('AWS_PROFILE') ?? 'default') === profile ? [] : [`AWS_PROFILE=${profile}`]),
    ...(output === undefined || fileOf(variables) === path ? [] : [`AWS_SHARED_CREDENTIALS_FILE=${path}`]),
  ];
  return [
    ...(keys === undefined ? [] : [`take AWS_ACCESS_KEY_ID out of ${keys.from}, which counts before the file`]),
    ...(needs.length === 0 ? [] : [`give ${unit?.name ?? 'the service'} ${needs.join(' and ')}`]),
  ];
}

function fileOf(variables: Service['variables']): string | undefined {
  // The agent accepts the C++ SDK's variable name as well.
  const file = variables.get('AWS_SHARED_CREDENTIALS_FILE') ?? variables.get('AWS_CREDENTIAL_PROFILES_FILE');
  return file === undefined || !isAbsolute(file.value) ? undefined : file.value;
}

async function clear(io: LoginIo, options: LoginOptions, { path, owner }: Target): Promise<void> {
  let hasChanged = false;
  await replaceSecretFile(path, owner, (text) => {
    const rest = withoutSession(text, options.profile);
    hasChanged = rest !== text;
    return rest;
  });
  const where = `${path}, section [${options.profile}]`;
  io.stdout(hasChanged ? `removed session credentials from ${where}` : `nothing of login is in ${where}`);
}

/** Refuses the data directory: MariaDB takes every directory in it for a database. */
async function requireGoodPlace(path: string): Promise<void> {
  const hint = `name another file: --output ${CREDENTIALS_FILE}, and give the service AWS_SHARED_CREDENTIALS_FILE=${CREDENTIALS_FILE} (a drop-in: /usr/share/mariadb-aws-kms/mariadb-aws-kms.conf)`;
  for (let directory = dirname(path); directory !== dirname(directory); directory = dirname(directory)) {
    if (await isDataDirectory(directory)) {
      const message = `${path} is in the data directory ${directory}: the server would call its directory a database`;
      throw new KeyError('BAD_OPTION', message, { hint });
    }
  }
  const home = dirname(dirname(path));
  if (path.endsWith('/.aws/credentials') && !(await isThere(home)) && !(await isThere(dirname(path)))) {
    throw new KeyError('BAD_OPTION', `the home directory ${home} does not exist`, { hint });
  }
}

async function isDataDirectory(directory: string): Promise<boolean> {
  const marks = await Promise.all(['ibdata1', 'aria_log_control'].map((name) => isThere(join(directory, name))));
  return directory === '/var/lib/mysql' || marks.includes(true);
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

interface Target {
  readonly path: string;
  readonly owner: Owner;
  /** The server's service; empty where the file is not for the server. */
  readonly service: Service;
}

/** Finds the credentials file that the server's agent reads, and its owner. */
async function target(
  { output, user }: LoginOptions,
  environment: NodeJS.ProcessEnv,
  paths: SystemPaths,
): Promise<Target> {
  const runnerUid = process.getuid?.() ?? 0;
  const named = user === undefined ? environment['AWS_SHARED_CREDENTIALS_FILE'] : undefined;
  const isRootsPlace =
    output !== undefined && runnerUid === 0 && (await ownerOfPlace(dirname(resolve(output)))).uid === 0;
  // In a directory that root owns, such as below /etc, the file must be readable by the server's user.
  const isForService = runnerUid === 0 && named === undefined && (output === undefined || isRootsPlace);
  const account = await accountOf(user, isForService, paths.passwd);
  const self = { uid: runnerUid, gid: process.getgid?.() ?? 0 };
  // Root gives the file to the owner of the directory: the server must be able to read it.
  const ids =
    account ?? (output !== undefined && runnerUid === 0 ? await ownerOfPlace(dirname(resolve(output))) : self);
  const owner: Owner = { ...ids, runnerUid, asOwner: (action) => actAs(ids, action) };
  const service =
    isForService && account !== undefined
      ? await readService(systemSurroundings().files, paths, account.home, true)
      : NO_SERVICE;
  if (output !== undefined) return { path: resolve(output), owner, service };
  if (named !== undefined && isAbsolute(named)) return { path: named, owner, service };
  const inUnit = fileOf(service.variables);
  if (inUnit !== undefined) return { path: inUnit, owner, service };
  const home = account?.home ?? environment['HOME'];
  if (home === undefined || !isAbsolute(home)) {
    throw new KeyError('BAD_OPTION', 'there is no home directory to write to', { hint: 'name the file with --output' });
  }
  return { path: join(home, '.aws/credentials'), owner, service };
}

/** Runs the action with that user's permissions, then restores root's. */
async function actAs<T>({ uid, gid }: Pick<Owner, 'uid' | 'gid'>, action: () => Promise<T>): Promise<T> {
  const before = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: process.getgroups?.() ?? [] };
  // A user's directory in root's group does not give the user root's group.
  const group = gid === 0 && uid !== 0 ? NOGROUP : gid;
  process.setgroups?.([group]);
  process.setegid?.(group);
  process.seteuid?.(uid);
  try {
    return await action();
  } finally {
    process.seteuid?.(before.uid);
    process.setegid?.(before.gid);
    process.setgroups?.(before.groups);
  }
}

/** The service that root starts runs as mysql. */
async function accountOf(
  user: string | undefined,
  isForService: boolean,
  passwd: string,
): Promise<{ readonly uid: number; readonly gid: number; readonly home: string } | undefined> {
  const name = user ?? (isForService ? 'mysql' : undefined);
  if (name === undefined) return undefined;
  const lines = (await readFile(passwd, 'utf8')).split('\n').map((line) => line.split(':'));
  const [, , uid, gid, , home] = lines.find(([found]) => found === name) ?? [];
  if (uid === undefined || gid === undefined || home === undefined) {
    if (user === undefined) return undefined;
    throw new KeyError('BAD_OPTION', `--user: this machine has no user ${name}`);
  }
  return { uid: Number(uid), gid: Number(gid), home };
}

function parseSerial(text: string | undefined): string {
  if (text !== undefined && /^(?:arn:aws[\w-]*:iam::\d{12}:mfa\/[\w+=,.@/-]+|[A-Z0-9]{9,64})$/.test(text)) return text;
  const got = text === undefined ? 'none' : `"${text}"`;
  throw new KeyError('BAD_OPTION', `--mfa-serial: expected arn:aws:iam::ACCOUNT:mfa/NAME, got ${got}`, {
    hint: 'aws iam list-mfa-devices --query "MFADevices[].SerialNumber"',
  });
}

/** The limits are those of STS's documentation of GetSessionToken. */
function parseDuration(text: string): number {
  const seconds = parseDecimal(text);
  if (seconds !== undefined && seconds >= 900 && seconds <= 129_600) return seconds;
  throw new KeyError('BAD_OPTION', `--duration: expected 900 to 129600 seconds, got "${text}"`);
}

function parseProfile(text: string): string {
  if (/^[\w.@-]{1,128}$/.test(text)) return text;
  throw new KeyError('BAD_OPTION', `--profile: expected letters, digits and . _ @ -, got "${text}"`);
}
