import { isAbsolute, resolve } from 'node:path';
import { KeyError } from '../errors.ts';
import { problemOfEndpointUrl } from '../format/endpoint-url.ts';
import { REGION, REGION_EXPECTED } from '../format/region.ts';
import type { Configuration } from '../server/configuration.ts';
import type { SetupPaths } from './paths.ts';
import { refused } from './refused.ts';

/** The flags of `init` as typed. */
export interface SetupFlags {
  readonly masterKey: string;
  readonly region: string | undefined;
  readonly keyfileDir: string | undefined;
  readonly credentials: string;
  readonly endpointUrl: string | undefined;
  readonly isSeparateAgent: boolean;
}

/** The choices for a server with AWS. */
export interface SetupChoice {
  readonly masterKey: string;
  readonly region: string;
  readonly endpointUrl: string | undefined;
  /** Empty: the data directory. */
  readonly keyfileDir: string;
  /** Undefined: a role, or another source that needs no file. */
  readonly credentialsFile: string | undefined;
  readonly isSeparateAgent: boolean;
  /** Reasons for choices that nobody typed. */
  readonly notes: readonly string[];
}

/** Facts about the server that decide where its keys are. */
export interface KeyPlaces {
  readonly keysInDatadir: number;
  /** Key files in the directory that was asked for. */
  readonly keysInDirectory: number;
}

const MASTER_KEY = /^(?:arn:aws[\w-]*:kms:([\w-]+):\d{12}:(?:key|alias)\/[\w/-]+|alias\/[\w/-]+|[\w-]+)$/;
/** Characters that mean the same in an option file, a unit and a shell. */
const PLAIN_PATH = /^\/[\w./+@:,-]*$/;
const PLAIN_URL = /^https?:\/\/[\w.:[\]/-]+$/;
const ROLE = 'role';
/** Directories of which the agent's unit sees nothing, or others of that name. */
const HIDDEN = ['/home', '/root', '/run/user', '/tmp', '/var/tmp'] as const;

/** The Region that the master key's ARN names. */
export function regionOfKey(masterKey: string): string | undefined {
  return MASTER_KEY.exec(masterKey)?.[1];
}

/** @throws KeyError BAD_OPTION, SETUP_REFUSED */
export function chooseSetup(
  flags: SetupFlags,
  configuration: Pick<Configuration, 'datadir' | 'options'>,
  keys: KeyPlaces,
  paths: SetupPaths,
): SetupChoice {
  const { masterKey, isSeparateAgent, endpointUrl } = flags;
  if (!MASTER_KEY.test(masterKey)) {
    throw badFlag('--master-key', 'a KMS key id, ARN or alias/name', masterKey);
  }
  const ofKey = regionOfKey(masterKey);
  const region = flags.region ?? ofKey;
  if (region === undefined) throw badFlag('--region', REGION_EXPECTED, '');
  if (!REGION.test(region)) throw badFlag('--region', REGION_EXPECTED, region);
  if (ofKey !== undefined && ofKey !== region && !masterKey.includes(':key/mrk-')) {
    throw badFlag('--region', `${ofKey}, where the master key is`, region);
  }
  const credentialsFile = flags.credentials === ROLE ? undefined : plainPath('--credentials', flags.credentials);
  if (isSeparateAgent && credentialsFile !== undefined) refuseHidden('--credentials', credentialsFile);
  const problem = endpointUrl === undefined ? undefined : problemOfUrl(endpointUrl);
  if (problem !== undefined) throw new KeyError('BAD_OPTION', `--endpoint-url: ${problem}`);
  return {
    masterKey,
    region,
    endpointUrl,
    credentialsFile,
    isSeparateAgent,
    ...(isSeparateAgent ? agentsPlace(flags, keys, paths) : ownPlace(flags, configuration, keys, paths)),
  };
}

function problemOfUrl(url: string): string | undefined {
  return problemOfEndpointUrl(url) ?? (PLAIN_URL.test(url) ? undefined : 'expected letters, digits and . : / - [ ]');
}

type Place = Pick<SetupChoice, 'keyfileDir' | 'notes'>;

function ownPlace(
  { keyfileDir }: SetupFlags,
  { datadir, options }: Pick<Configuration, 'datadir' | 'options'>,
  { keysInDatadir, keysInDirectory }: KeyPlaces,
  paths: SetupPaths,
): Place {
  const asked = keyfileDir === undefined ? undefined : plainPath('--keyfile-dir', keyfileDir);
  if (asked === datadir) return { keyfileDir: '', notes: [] };
  if (keysInDatadir > 0 && asked !== undefined && keysInDirectory === 0) {
    throw refused(
      `--keyfile-dir ${asked}: the keys of this server are in the data directory ${datadir} (${keysInDatadir} key files), and it would not find them`,
      `leave out --keyfile-dir; or stop the server, and: install -d -m 0750 -o mysql -g mysql ${asked} && mv ${datadir}/aws-kms-key* ${asked}/`,
    );
  }
  if (asked !== undefined) return { keyfileDir: asked, notes: [] };
  if (keysInDatadir > 0) {
    const note = `the key files stay in the data directory: ${datadir} holds ${keysInDatadir} of them, as the C++ plugin puts them there`;
    return { keyfileDir: '', notes: [note] };
  }
  if (options.isOn('wsrep_on', false) === true) {
    const note =
      'the key files go into the data directory: wsrep_on is ON, and a state transfer carries them from there';
    return { keyfileDir: '', notes: [note] };
  }
  return { keyfileDir: paths.keyDirectory, notes: [] };
}

function agentsPlace({ keyfileDir }: SetupFlags, { keysInDatadir }: KeyPlaces, paths: SetupPaths): Place {
  if (keysInDatadir > 0) {
    throw refused(
      `--separate-agent: the data directory holds ${keysInDatadir} key files, which a separate agent may not read`,
      'leave out --separate-agent',
    );
  }
  const asked = keyfileDir === undefined ? paths.agentKeyDirectory : plainPath('--keyfile-dir', keyfileDir);
  refuseHidden('--keyfile-dir', asked);
  return { keyfileDir: asked, notes: [] };
}

/** The doctor finds this out for the server's unit, and does not examine the agent's. */
function refuseHidden(flag: string, path: string): void {
  const hidden = HIDDEN.find((directory) => path.startsWith(`${directory}/`));
  if (hidden === undefined) return;
  throw refused(
    `${flag} ${path}: the unit of the separate agent hides ${hidden} (ProtectHome, PrivateTmp)`,
    'choose another place, such as below /etc for credentials and below /var/lib for keys',
  );
}

function plainPath(flag: string, path: string): string {
  if (isAbsolute(path) && PLAIN_PATH.test(path)) return resolve(path);
  throw badFlag(flag, 'an absolute path of letters, digits and . _ + @ : , -', path);
}

function badFlag(flag: string, expected: string, got: string): KeyError {
  return new KeyError('BAD_OPTION', `${flag}: expected ${expected}, got ${got === '' ? 'nothing' : `"${got}"`}`, {
    hint: 'for example: mariadb-aws-kms init --master-key alias/mariadb-encryption --region eu-central-1',
  });
}
