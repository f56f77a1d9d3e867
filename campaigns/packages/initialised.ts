/** A server set up by `mariadb-aws-kms init`, with the documents' commands and a KMS on the same machine. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TEST_ACCESS_KEYS_FILE } from '../../harness/scratch-server.ts';
import { KMS_URL, MASTER_KEY, REGION } from './configured.ts';
import { expectThat, type Machine } from './machine.ts';

const CREDENTIALS = '/etc/mariadb-aws-kms/credentials';
/** After init's own option file. */
const ENCRYPTION = '/etc/mysql/mariadb.conf.d/encryption.cnf';
const TO_KMS = `--endpoint-url ${KMS_URL}`;

/** The lines in blocks of a document in docs/ that begin with these words. */
export function documented(document: string, words: string): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, '../../docs', document), 'utf8');
  const blocks = [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)];
  const found = blocks.flatMap(([, block = '']) => block.split('\n')).filter((line) => line.startsWith(words));
  if (found.length === 0) throw new Error(`docs/${document} has no command "${words} …"`);
  return found;
}

/** The commands of the first block below a heading of a document in docs/, `init` with the KMS of the machine. */
export function documentedBlock(document: string, heading: string): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, '../../docs', document), 'utf8');
  const [, block] = /^```\w*\n([\s\S]*?)^```$/m.exec(text.split(`# ${heading}\n`)[1] ?? '') ?? [];
  if (block === undefined) throw new Error(`docs/${document} has no block below "${heading}"`);
  const commands = block.trimEnd().split('\n');
  return commands.map((line) => (line.startsWith('mariadb-aws-kms init') ? `${line} ${TO_KMS}` : line));
}

/**
 * Sets up a server that starts its own agent: by answers on a terminal, with the access key in a file. Runs the documented
 * command as well, which finds everything done.
 */
export async function initSpawned(machine: Machine): Promise<void> {
  await machine.write(ENCRYPTION, ENCRYPT);
  const said = await machine.run(`
    mkfifo answers
    script -qefc 'mariadb-aws-kms init ${TO_KMS}' said <answers >/dev/null &
    exec 3>answers
    answer() {
      for i in $(seq 200); do grep -q "$1" said && break; sleep 0.1; done
      echo "$2" >&3
    }
    answer '^master key' ${MASTER_KEY}
    answer 'Region of the master key' ${REGION}
    answer 'directory of the key files' ''
    answer 'AWS credentials of the server' ${CREDENTIALS}
    wait $! || :
    cat said`);
  expectThat(said.includes('kms:GenerateDataKeyWithoutPlaintext'), 'the policy is printed', said);
  const first = nextOf(said);
  expectThat(
    first === `write the access key into ${CREDENTIALS}, then: mariadb-aws-kms doctor`,
    'says what is next',
    said,
  );
  await putAccessKey(machine, 'mysql');
  await machine.run('mariadb-aws-kms doctor');
  const [command = ''] = documented('install.md', 'mariadb-aws-kms init --master-key').filter((line) =>
    line.includes('--credentials'),
  );
  const again = await machine.run(`${command} ${TO_KMS}`);
  expectThat(!/^new /m.test(again), 'a second run changes nothing', again);
  expectThat(nextOf(again) === 'systemctl restart mariadb', 'says that a restart is next', again);
  await machine.run(nextOf(again));
}

/** Sets up the separate agent and the server: the documented command, and what it says comes next. */
export async function initSeparate(machine: Machine): Promise<void> {
  await machine.write(ENCRYPTION, ENCRYPT);
  const [command = ''] = documented('install.md', 'mariadb-aws-kms init --master-key').filter((line) =>
    line.includes('--separate-agent'),
  );
  const { output: said } = await machine.session.try(`${command} ${TO_KMS} --credentials ${CREDENTIALS}`);
  expectThat(said.includes('the identity of the separate agent needs this policy'), 'says whose policy it is', said);
  expectThat(said.includes('failure'), 'the doctor speaks for the separate agent', said);
  const [, next = ''] = /^write the access key into \S+, then: (.*)$/.exec(nextOf(said)) ?? [];
  const commands = [
    documented('install.md', 'systemctl enable mariadb-aws-kms-agent')[0],
    documented('install.md', 'systemctl restart mariadb-aws-kms-agent')[0],
  ];
  expectThat(next === commands.join(' && '), 'the documented commands come next', said);
  await putAccessKey(machine, 'mariadb-aws-kms');
  await machine.run(next);
}

/** As a person does it: into the file that is there, whose owner and mode stay. */
async function putAccessKey(machine: Machine, owner: string): Promise<void> {
  await machine.run(`cat >${CREDENTIALS}`, TEST_ACCESS_KEYS_FILE);
  const access = (await machine.run(`stat -c '%U %a' ${CREDENTIALS}`)).trim();
  expectThat(access === `${owner} 600`, `the credentials are ${owner}'s alone`, access);
}

function nextOf(said: string): string {
  return /^next: (.*?)\r?$/m.exec(said)?.[1] ?? '';
}

const ENCRYPT = `[mariadb]
innodb_encrypt_tables = ON
innodb_encrypt_log = ON
innodb_encryption_threads = 2
`;
