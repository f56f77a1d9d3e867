import { spawn } from 'node:child_process';
import { Command } from 'commander';
import { KeyError } from '../errors.ts';
import { parseDecimal } from '../ids.ts';
import {
  type FoundIdentity,
  type FoundWay,
  findServerIdentity,
  parseIdentity,
  parseWay,
} from '../kms/aws/server-identity.ts';
import { trustedCertificates } from '../kms/aws/trusted-certificates.ts';
import type { KmsTarget } from '../server/surroundings.ts';
import { ownProgram } from './own-program.ts';
import { becomeUser, SAFE_PATH } from './server-user.ts';
import { processSecrets, systemClock } from './system.ts';

const VERB = 'server-identity';
/**
 * Milliseconds for starting this program on a busy machine and for the credential chain, which has a shorter limit of
 * its own.
 */
const ANSWER_MS = 30_000;
/** The limit for a message; a bundle of certificates is its largest part. */
const MOST_CHARACTERS = 4 * 2 ** 20;

export interface ServerIdentity {
  readonly way: FoundWay;
  readonly identity: () => Promise<FoundIdentity>;
  /** Ends the process: its answer is not needed any more. */
  close(): void;
}

/**
 * Finds the server's AWS identity in a process of the server's user. Files of that user may name programs to run, and
 * files to send to an endpoint of their choice, which must not happen with root's rights.
 * @param variables the whole environment of that process
 */
export async function askServerIdentity(
  { region, endpointUrl, timeoutMs }: KmsTarget,
  account: NonNullable<KmsTarget['as']>,
  variables: Readonly<Record<string, string>>,
): Promise<ServerIdentity> {
  const [program, ...own] = ownProgram();
  const settings = [`${account.uid}`, `${account.gid}`, `${timeoutMs}`, `region=${region}`, `url=${endpointUrl}`];
  const child = spawn(program, [...own, VERB, ...settings], {
    env: { ...variables, HOME: account.home, PATH: SAFE_PATH },
    cwd: '/',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const gone = new KeyError(
    'BAD_OPTION',
    `the process that looks for the credentials of ${account.name} ended without an answer`,
    { hint: `runuser -u ${account.name} -- mariadb-aws-kms, with the same arguments` },
  );
  const answers = [Promise.withResolvers<string>(), Promise.withResolvers<string>()] as const;
  for (const { promise } of answers) promise.catch(() => undefined);
  const end = (): void => {
    stopTimer();
    child.kill('SIGKILL');
    for (const { reject } of answers) reject(gone);
  };
  const stopTimer = systemClock.after(ANSWER_MS, end);
  let text = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (part: string) => {
    text += part;
    const lines = text.split('\n');
    lines.slice(0, -1).forEach((line, index) => void answers[index]?.resolve(line));
    if (text.length > MOST_CHARACTERS) end();
  });
  child.once('error', end);
  child.once('close', end);
  try {
    const way = parseWay(recordOf(await answers[0].promise));
    return {
      way,
      identity: async () => {
        const found = parseIdentity(recordOf(await answers[1].promise));
        processSecrets.add(found.secretAccessKey, found.sessionToken);
        return found;
      },
      close: end,
    };
  } catch (error) {
    end();
    throw error;
  }
}

function recordOf(line: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(line);
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

/** `mariadb-aws-kms server-identity`, an internal command that root's commands start. */
export function serverIdentityCommand(): Command {
  return new Command(VERB)
    .argument('<uid>')
    .argument('<gid>')
    .argument('<timeout>')
    .argument('<region>')
    .argument('<url>')
    .action(async (uid: string, gid: string, timeout: string, region: string, url: string) => {
      becomeUser(process, { uid: parseDecimal(uid) ?? 0, gid: parseDecimal(gid) ?? 0 });
      process.umask(0o077);
      const options = {
        region: region.replace(/^region=/, ''),
        endpointUrl: url.replace(/^url=/, ''),
        timeoutMs: parseDecimal(timeout) ?? 0,
        sharedFiles: undefined,
        environment: process.env,
        clock: systemClock,
        secrets: processSecrets,
      };
      const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
      await findServerIdentity(options, () => trustedCertificates(process.env), say);
    });
}
