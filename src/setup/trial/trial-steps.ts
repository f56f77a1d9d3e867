import { join } from 'node:path';
import { TRIAL_ALIAS, TRIAL_UNIT } from '../../server/plugin-options.ts';
import { blockStep, dropInSteps, optionFileStep, PUBLIC_FILE, type Site } from '../server-steps.ts';
import { type FileStep, ROOT, type Step } from '../step.ts';

/** The words that every part of a trial shows. */
export const TRIAL = 'TRIAL, PROTECTS NOTHING';

/** The access key that every embedded KMS accepts; it opens nothing else. */
export interface TrialAccess {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface Trial {
  readonly site: Site;
  readonly port: number;
  readonly region: string;
  readonly access: TrialAccess;
  /** The program and its first arguments that start this command once more. */
  readonly program: readonly string[];
}

const [TRIAL_DIRECTORY_MODE, PRIVATE_FILE] = [0o750, 0o600];

export function trialFiles({ paths }: Pick<Site, 'paths'>): Readonly<Record<'log' | 'pid' | 'state' | 'keys', string>> {
  const inside = (name: string): string => join(paths.trialDirectory, name);
  return { log: inside('kms.log'), pid: inside('kms.pid'), state: inside('kms.json'), keys: inside('keys') };
}

/** The command that runs the trial's KMS. Its arguments name state and alias, so that a list of processes shows them. */
export function trialCommand({ site, port, region, program }: Trial): readonly string[] {
  const options = ['--port', String(port), '--region', region, '--alias', TRIAL_ALIAS];
  return [...program, 'dev-kms', ...options, '--state', trialFiles(site).state];
}

export function trialUnitPath({ paths }: Site): string {
  return join(paths.unitDirectory, `${TRIAL_UNIT}.service`);
}

/** The steps that set up a server with a KMS on this machine. */
export function trialSteps(trial: Trial): readonly Step[] {
  const { site, port, region, access } = trial;
  const { paths, server, starter } = site;
  const credentials = join(paths.trialDirectory, 'credentials');
  const own = (path: string): Step => ({ kind: 'directory', path, owner: server, mode: TRIAL_DIRECTORY_MODE });
  return [
    own(paths.trialDirectory),
    own(trialFiles(site).keys),
    {
      kind: 'file',
      path: join(paths.trialDirectory, 'README'),
      owner: server,
      mode: PUBLIC_FILE,
      text: README,
      isProse: true,
    },
    {
      kind: 'file',
      path: credentials,
      owner: server,
      mode: PRIVATE_FILE,
      text: `# ${TRIAL}. These published credentials open the KMS of the trial and nothing else.\n[default]\naws_access_key_id = ${access.accessKeyId}\naws_secret_access_key = ${access.secretAccessKey}\n`,
    },
    ...(starter === 'systemd' ? [trialUnit(trial), ...dropInSteps(site, dropIn(credentials))] : []),
    ...(starter === 'script' ? [blockStep(site, TRIAL, credentials)] : []),
    trialOptionFile(site, port, region),
  ];
}

/** The last step of all: with it the server uses the trial's KMS. */
export function trialOptionFile(site: Site, port: number, region: string): FileStep {
  return optionFileStep(site, OPTION_HEAD, {
    master_key_id: TRIAL_ALIAS,
    region,
    endpoint_url: `http://127.0.0.1:${port}`,
    keyfile_dir: trialFiles(site).keys,
  });
}

const OPTION_HEAD = [
  `${TRIAL}: the master key lies unprotected in /var/lib/mariadb-aws-kms-trial on this machine.`,
  'Written by `mariadb-aws-kms init --embedded-kms`. Never keep data that matters under it. The end of the trial:',
  '  mariadb-aws-kms init --remove-trial',
];

function trialUnit(trial: Trial): Step {
  const { site } = trial;
  const text = `[Unit]
Description=${TRIAL}: stand-in of AWS KMS for MariaDB's key management
Documentation=man:mariadb-aws-kms(1)
StartLimitIntervalSec=0

[Service]
User=${site.server.name}
ExecStart=${trialCommand(trial).join(' ')}
Restart=always
RestartSec=1
LimitCORE=0
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=${site.paths.trialDirectory}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
UMask=0077

[Install]
WantedBy=multi-user.target
`;
  return { kind: 'file', path: trialUnitPath(site), owner: ROOT, mode: PUBLIC_FILE, text };
}

function dropIn(credentials: string): string {
  return `# ${TRIAL}. Written by \`mariadb-aws-kms init --embedded-kms\`.
[Unit]
Wants=${TRIAL_UNIT}.service
After=${TRIAL_UNIT}.service

[Service]
Environment=AWS_SHARED_CREDENTIALS_FILE=${credentials}
`;
}

const README = `${TRIAL}

This directory belongs to a trial of mariadb-aws-kms. kms.json holds the master key, readable, beside the data keys that it
wraps (keys/). Whoever has this machine has the data. AWS is not involved.

What is encrypted so far:  SELECT table_schema, table_name FROM information_schema.tables
                           WHERE create_options REGEXP 'ENCRYPTED.=.?YES'
The end of the trial:      mariadb-aws-kms init --remove-trial
`;
