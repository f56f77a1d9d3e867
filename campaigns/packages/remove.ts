/** Removing, purging and installing again: key files stay, and everything reads afterwards. */
import { AGENT_KEYS, keyFiles } from './configured.ts';
import { expectSame, expectThat, type Machine } from './machine.ts';

const PACKAGE = 'mariadb-plugin-aws-key-management';

export async function remove(machine: Machine, deb: string): Promise<string> {
  const place = machine.bring(deb);
  await refusePerson(machine, place);
  await machine.run('mariadb-aws-kms init --embedded-kms');
  await machine.sql(`CREATE DATABASE d; CREATE TABLE d.t (i INT) ENCRYPTED=YES ENCRYPTION_KEY_ID=7;
    INSERT INTO d.t VALUES (1)`);
  const keys = (await machine.sql('SELECT @@aws_key_management_keyfile_dir')).trim();
  // A separate agent's keys, of which no option file of the server knows.
  await machine.run(`install -d -m 0700 -o mariadb-aws-kms ${AGENT_KEYS}; cp ${keys}/aws-kms-key.7.1 ${AGENT_KEYS}`);
  const stored = [await keyFiles(machine, keys), await keyFiles(machine, AGENT_KEYS)].join('');
  const expectKeys = async (): Promise<void> =>
    expectSame([await keyFiles(machine, keys), await keyFiles(machine, AGENT_KEYS)].join(''), stored, 'the key files');

  const server = await machine.server();
  const removed = await machine.session.try(`apt-get remove -y ${PACKAGE}`);
  expectThat(removed.status === 0, 'the package can be removed', removed.output);
  for (const word of ['plugin active', keys, AGENT_KEYS, '--remove-trial'])
    expectThat(removed.output.includes(word), `the removal warns of "${word}"`, removed.output);
  expectSame(await machine.server(), server, 'the process of the server');
  await expectKeys();
  await machine.sql('INSERT INTO d.t VALUES (2)');

  await machine.run(`apt-get install -y ${place}`);
  await machine.service('restart');
  expectThat((await machine.sql('SELECT COUNT(*) FROM d.t')) === '2', 'the table reads after a reinstallation');

  const purged = await machine.session.try(`apt-get purge -y ${PACKAGE}`);
  expectThat(purged.status === 0, 'the package can be purged', purged.output);
  await expectKeys();
  const start = await machine.session.try('service mariadb restart');
  expectThat(start.status !== 0, 'the server does not start without the plugin that its option file demands');
  await machine.run(`apt-get install -y ${place}`);
  await machine.service('start');
  expectThat((await machine.sql('SELECT COUNT(*) FROM d.t')) === '2', 'the table reads after a purge');
  await machine.sql('SET GLOBAL aws_key_management_rotate_key = 7');
  return `${stored.split('\n').length - 1} files of keys outlived removal and purge`;
}

/** Installs it on a machine where a person has the name of the agent's user, by what the package says. */
async function refusePerson(machine: Machine, place: string): Promise<void> {
  await machine.run('useradd mariadb-aws-kms');
  const refused = await machine.session.try(`apt-get install -y ${place}`);
  const [, rename] = /\((usermod .*)\)$/m.exec(refused.output) ?? [];
  expectThat(refused.status !== 0 && rename !== undefined, "a person's user is not taken", refused.output);
  await machine.run(`${rename?.replaceAll('NAME', 'person')}; dpkg --configure --pending`);
}
