/** From the server's own agent to a separate one, and a removal of the package with it. */
import { SETUP_PATHS } from '../../src/setup/paths.ts';
import { AGENT_KEYS, AGENT_UNIT, rotate, startKms } from './configured.ts';
import { documentedBlock, initSpawned } from './initialised.ts';
import { expectThat, type Machine } from './machine.ts';

const PACKAGE = 'mariadb-plugin-aws-key-management';

export async function moveToSeparate(machine: Machine, deb: string): Promise<string> {
  const place = machine.bring(deb);
  await machine.run(`apt-get install -y ${place}`);
  await startKms(machine);
  await initSpawned(machine);
  await machine.sql(
    'CREATE DATABASE d; CREATE TABLE d.t (i INT) ENCRYPTED=YES ENCRYPTION_KEY_ID=7; INSERT INTO d.t VALUES (1)',
  );
  const commands = documentedBlock('install.md', "From the server's own agent to a separate one");
  const [initialisation = ''] = commands.filter((line) => line.startsWith('mariadb-aws-kms init'));
  const before = await machine.run(
    'cat /etc/mysql/mariadb.conf.d/*; find /etc/systemd/system /etc/default /var/lib/mariadb-aws-kms*',
  );
  const early = await machine.session.try(initialisation);
  const printed = /systemctl stop mariadb && install -d .* && install .*/.exec(early.output)?.[0] ?? '';
  expectThat(early.status !== 0, 'init refuses a separate agent without the keys', early.output);
  expectThat(printed === commands.slice(0, 3).join(' && '), 'init prints the documented commands', early.output);
  const after = await machine.run(
    'cat /etc/mysql/mariadb.conf.d/*; find /etc/systemd/system /etc/default /var/lib/mariadb-aws-kms*',
  );
  expectThat(after === before, 'the refusal has written nothing', after);

  const said = await machine.run(commands.join('\n'));
  expectThat(said.includes(`next: ${commands.slice(-2).join(' && ')}`), 'init says the commands that come next', said);
  expectThat((await machine.sql('SELECT * FROM d.t')) === '1', 'the table reads with the separate agent');
  expectThat((await rotate(machine, 7)) === 2, 'the separate agent rotates the key');
  expectThat(machine.list(AGENT_KEYS).includes('aws-kms-key.7.2'), 'its directory has the new version');
  await machine.run('mariadb-aws-kms doctor');

  const other = await machine.session.try(initialisation.replace('eu-central-1', 'us-west-2'));
  expectThat(
    other.output.includes('AGENT_OPTIONS is "') && !other.output.includes('another text'),
    'a second init names the settings that differ',
    other.output,
  );
  await machine.run(`chown mysql: /etc/mariadb-aws-kms/credentials`);
  const owner = await machine.session.try(initialisation);
  const chown =
    'chown mariadb-aws-kms: /etc/mariadb-aws-kms/credentials && chmod 0600 /etc/mariadb-aws-kms/credentials';
  expectThat(
    owner.status !== 0 && owner.output.includes(chown),
    "credentials of the server's user are refused",
    owner.output,
  );
  await machine.run(chown);

  for (const verb of ['remove', 'purge']) {
    const removed = await machine.run(`apt-get ${verb} -y ${PACKAGE} 2>&1`);
    if (verb === 'remove')
      expectThat(removed.includes('the separate agent stops at once'), 'the removal warns', removed);
    expectThat(!removed.includes('.cnf.old'), 'files that MariaDB does not read are not warned of', removed);
    await machine.run(`apt-get install -y ${place} && systemctl restart mariadb`);
    expectThat((await machine.sql('SELECT * FROM d.t')) === '1', `the table reads after ${verb} and installation`);
    expectThat((await rotate(machine, 7)) > 2, `the agent works after ${verb} and installation`);
  }
  const active = await machine.run(`systemctl is-active ${AGENT_UNIT}; ls -l ${SETUP_PATHS.agentSocket}`);
  expectThat(active.startsWith('active'), 'the agent runs', active);
  return `the server's keys moved to ${AGENT_KEYS}; everything reads`;
}
