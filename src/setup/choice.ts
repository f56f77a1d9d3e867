import { isAbsolute, resolve } from 'node:path';
import { KeyError } from '../errors.ts';
import { problemOfEndpointUrl } from '../format/endpoint-url.ts';
import { REGION, REGION_EXPECTED } from '../format/region.ts';
import type { Configuration } from '../server/configuration.ts';
import type { KeyPlaces } from './key-places.ts';
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
    ...(isSeparateAgent ? agentsPlace(flags, configuration, keys, paths) : ownPlace(flags, configuration, keys, paths)),
  };
}

function problemOfUrl(url: string): string | undefined {
  return problemOfEndpointUrl(url) ?? (PLAIN_URL.test(url) ? undefined : 'expected letters, digits and . : / - [ ]');
}

type Place = Pick<SetupChoice, 'keyfileDir' | 'notes'>;

function ownPlace(
  { keyfileDir }: SetupFlags,
  { datadir, options }: Pick<Configuration, 'datadir' | 'options'>,
  keys: KeyPlaces,
  paths: SetupPaths,
): Place {
  const asked = keyfileDir === undefined ? undefined : plainPath('--keyfile-dir', keyfileDir);
  if (asked === datadir) return { keyfileDir: '', notes: [] };
  if (asked !== undefined) return { keyfileDir: asked, notes: strayNotes(datadir, asked, keys) };
  const { versions } = keys.in(datadir);
  if (versions > 0 && areKeysOfDatadir(datadir, keys, paths)) {
    const note = `the key files stay in the data directory: ${datadir} holds ${versions} of them, as the C++ plugin puts them there`;
    return { keyfileDir: '', notes: [note] };
  }
  if (options.isOn('wsrep_on', false) === true) {
    const note =
      'the key files go into the data directory: wsrep_on is ON, and a state transfer carries them from there';
    return { keyfileDir: '', notes: [note] };
  }
  return { keyfileDir: paths.keyDirectory, notes: strayNotes(datadir, paths.keyDirectory, keys) };
}

/** False for copies that no data needs, such as those that a restored backup has brought. */
function areKeysOfDatadir(datadir: string, keys: KeyPlaces, paths: SetupPaths): boolean {
  if (keys.configured === datadir) return true;
  const standard = keys.in(paths.keyDirectory);
  return keys.need !== 'none' && (standard.versions === 0 || standard.lacking.length > 0);
}

function agentsPlace(
  { keyfileDir }: SetupFlags,
  { datadir }: Pick<Configuration, 'datadir'>,
  keys: KeyPlaces,
  paths: SetupPaths,
): Place {
  const asked = keyfileDir === undefined ? paths.agentKeyDirectory : plainPath('--keyfile-dir', keyfileDir);
  refuseHidden('--keyfile-dir', asked);
  return { keyfileDir: asked, notes: strayNotes(datadir, asked, keys) };
}

function strayNotes(datadir: string, keyfileDir: string, keys: KeyPlaces): readonly string[] {
  const { versions } = keys.in(datadir);
  if (versions === 0) return [];
  const aside = `${keyfileDir}.from-datadir`;
  return [
    `${datadir} holds ${versions} key files that the server will not read, as its keys are in ${keyfileDir}; to move them aside: install -d -m 0700 ${aside} && mv ${datadir}/aws-kms-key.* ${aside}/`,
  ];
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
