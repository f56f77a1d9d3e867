import { Command } from 'commander';
import {
  type AccessKey,
  type CallRecord,
  DEFAULT_REGION,
  type DevKms,
  type FaultRule,
  parseFaultText,
  startDevKms,
  TEST_ACCESS_KEY,
} from '../dev-kms/index.ts';
import { KeyError } from '../errors.ts';
import { parseDecimal } from '../ids.ts';
import { printableJson } from '../printable.ts';
import { systemClock } from './system.ts';

/** The terminal and the signals, passed in for tests. */
export interface DevKmsIo {
  /**
   * Prints one line, without its end. Control characters are removed; for `prepared` lines (JSON, colours) the caller
   * has escaped them.
   */
  stdout(line: string, form?: 'prepared'): void;
  stderr(line: string): void;
  /** Calls `handler` for SIGINT and SIGTERM, instead of ending the process, until the returned function is called. */
  onSignal(handler: () => void): () => void;
}

interface DevKmsCliOptions {
  readonly port: number;
  readonly host: string;
  readonly state?: string;
  readonly region: string;
  readonly alias: readonly string[];
  readonly accessKey: readonly AccessKey[];
  readonly fault: readonly FaultRule[];
  readonly quiet?: boolean;
  readonly json?: boolean;
}

/**
 * `mariadb-aws-kms dev-kms`. The command's promise settles after a signal, once the endpoint is closed.
 * @throws KeyError BAD_OPTION, STORE_UNAVAILABLE, KEY_FILE_CORRUPT
 */
export function devKmsCommand(io: DevKmsIo): Command {
  return new Command('dev-kms')
    .description('run an AWS KMS for trials and tests on loopback; not for production: its keys are unprotected')
    .option('--port <port>', 'TCP port to listen on; 0 picks a free one', parsePort, 0)
    .option('--host <address>', 'address to listen on: 127.0.0.1 or ::1', '127.0.0.1')
    .option('--state <file>', 'keep the keys in this file; without it they are lost when the command ends')
    .option('--region <region>', 'Region of the aliases created at start; every Region is served', DEFAULT_REGION)
    .option('--alias <name>', 'alias/NAME to create with a key if missing (repeatable)', append<string>, [])
    .option(
      '--access-key <id:secret[:token]>',
      'access key to accept, instead of the published test key: an id of 16 to 128 letters, digits or _, a secret of up to 128 characters (repeatable)',
      (text, before: readonly AccessKey[]) => append(parseAccessKey(text), before),
      [],
    )
    .option(
      '--fault <rule>',
      'inject a fault: OPERATION:KIND[=VALUE][:count=N][:skip=N][:probability=P][:region=R], for example Decrypt:latency=5000:count=2 (repeatable)',
      (text, before: readonly FaultRule[]) => [...before, ...parseFaultText(text)],
      [],
    )
    .option('--quiet', 'do not print calls')
    .option('--json', 'print a line of JSON when listening and one per call')
    .addHelpText('after', '\nExample:\n  mariadb-aws-kms dev-kms --port 8000 --state kms.json --alias alias/mariadb')
    .action((options: DevKmsCliOptions) => run(io, options));
}

async function run(io: DevKmsIo, options: DevKmsCliOptions): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    const forget = io.onSignal(() => {
      forget();
      resolve();
    });
  });
  for (const line of warning(options.state)) io.stderr(line);
  const report = options.json ? (call: CallRecord) => printableJson({ event: 'call', ...call }) : callLine;
  const accessKeys = options.accessKey.length > 0 ? options.accessKey : [TEST_ACCESS_KEY];
  const kms = await startDevKms({
    clock: systemClock,
    host: options.host,
    port: options.port,
    stateFile: options.state,
    region: options.region,
    aliases: options.alias,
    accessKeys,
    faults: options.fault,
    onCall: options.quiet ? undefined : (call) => io.stdout(report(call)),
  });
  for (const line of options.json ? [listeningJson(kms, options)] : listening(kms, options)) io.stdout(line);
  await stopped;
  await kms.close();
}

function warning(stateFile: string | undefined): readonly string[] {
  const where = stateFile === undefined ? 'in memory and are gone when this ends' : `unprotected in ${stateFile}`;
  return [
    'mariadb-aws-kms: warning: dev-kms is NOT FOR PRODUCTION: it is no AWS and protects nothing',
    `mariadb-aws-kms: warning: its master keys lie ${where}; use it for trials and tests only`,
  ];
}

function listening(kms: DevKms, options: DevKmsCliOptions): readonly string[] {
  const credentials =
    options.accessKey.length > 0
      ? options.accessKey.map(({ accessKeyId }) => `access key ${accessKeyId}`)
      : [
          'fake credentials, which only this endpoint knows:',
          `  AWS_ACCESS_KEY_ID=${TEST_ACCESS_KEY.accessKeyId}`,
          `  AWS_SECRET_ACCESS_KEY=${TEST_ACCESS_KEY.secretAccessKey}`,
        ];
  return [
    `listening on ${kms.url}`,
    ...credentials,
    ...options.alias.map((alias, index) => `${alias} is ${kms.keyArns[index] ?? ''}`),
    ...(options.fault.length === 0 ? [] : [`misbehaving on request: ${options.fault.length} faults`]),
    `controls: ${kms.url}/_dev/faults and ${kms.url}/_dev/calls`,
  ];
}

function listeningJson(kms: DevKms, options: DevKmsCliOptions): string {
  const aliases = Object.fromEntries(options.alias.map((alias, index) => [alias, kms.keyArns[index] ?? '']));
  return printableJson({ event: 'listening', url: kms.url, port: kms.port, region: options.region, aliases });
}

function callLine(call: CallRecord): string {
  const outcome = call.status === 0 ? 'no answer' : [call.status, call.error].filter((part) => part !== '').join(' ');
  const context = Object.keys(call.context).length === 0 ? '' : ` context ${JSON.stringify(call.context)}`;
  return [
    call.time,
    call.region || '-',
    call.operation || '-',
    `${call.keyId || '-'}${context}${call.dryRun ? ' dry run' : ''}`,
    `-> ${outcome}${call.message === '' ? '' : `: ${call.message}`}`,
    `(${call.durationMs} ms, request ${call.requestId}${call.fault === '' ? '' : `, fault ${call.fault}`})`,
  ].join(' ');
}

function parsePort(text: string): number {
  const port = parseDecimal(text);
  if (port === undefined || port > 65_535)
    throw new KeyError('BAD_OPTION', `--port: expected 0 to 65535, got "${text}"`);
  return port;
}

const ACCESS_KEY_ID_LENGTHS = [16, 128] as const;
const SECRET_LENGTHS = [1, 128] as const;

/** The secret may hold `/` and `+` but no colon; neither it, nor the id, nor the token is ever printed. */
function parseAccessKey(text: string): AccessKey {
  const [accessKeyId = '', secretAccessKey, sessionToken] = text.split(/:(.*?)(?::(.*))?$/s, 3);
  const problem =
    secretAccessKey === undefined
      ? 'expected ID:SECRET or ID:SECRET:TOKEN, got no ":"'
      : (problemOfLength('id', accessKeyId, ACCESS_KEY_ID_LENGTHS) ??
        (/^\w*$/.test(accessKeyId) ? undefined : 'the id has a character that is no letter, digit or _') ??
        problemOfLength('secret', secretAccessKey, SECRET_LENGTHS) ??
        (/\s/.test(secretAccessKey) ? 'the secret has white space' : undefined) ??
        (sessionToken === undefined || /^[^:\s]+$/.test(sessionToken)
          ? undefined
          : 'the token is empty or has : or white space'));
  if (problem !== undefined || secretAccessKey === undefined) {
    throw new KeyError('BAD_OPTION', `--access-key: ${problem ?? ''}`, {
      hint: `an id has 16 to 128 letters, digits or _, for example ${TEST_ACCESS_KEY.accessKeyId}; never give real credentials`,
    });
  }
  return { accessKeyId, secretAccessKey, sessionToken };
}

function problemOfLength(
  part: string,
  { length }: string,
  [least, most]: readonly [number, number],
): string | undefined {
  if (length < least) return `the ${part} has ${length} characters, at least ${least}`;
  return length > most ? `the ${part} has ${length} characters, at most ${most}` : undefined;
}

function append<T>(value: T, before: readonly T[]): readonly T[] {
  return [...before, value];
}
