/** The rpm's scripts: Debian's rpm runs them on a Debian, which has the commands that they call. */
import { builtPackage } from './debs.ts';
import { expectThat, type Machine } from './machine.ts';

const NAME = 'mariadb-plugin-aws-key-management';
const KEY = '/var/lib/mariadb-aws-kms/aws-kms-key.1.1';

export async function rpmScripts(machine: Machine): Promise<string> {
  const rpm = machine.bring(builtPackage('.rpm'));
  await machine.run('apt-get install -y rpm libatomic1');
  const server = await machine.server();
  const install = `rpm --install --nodeps ${rpm}`;
  await machine.run(install);
  const user = await machine.run('getent passwd mariadb-aws-kms');
  expectThat(
    /^mariadb-aws-kms:x:\d{3}:\d+:.*:\/nonexistent:\/sbin\/nologin$/m.test(user),
    'the agent has a user',
    user,
  );
  await machine.run(`rpm --upgrade --replacepkgs --nodeps ${rpm}`);
  await machine.write(KEY, 'a key', '0600', 'mysql');
  const said = await machine.session.try(`rpm --erase --nodeps ${NAME}`);
  expectThat(said.status === 0, 'the rpm is erased', said.output);
  expectThat(said.output.includes('key files stay in /var/lib/mariadb-aws-kms.'), 'it warns of the keys', said.output);
  expectThat(machine.read(KEY).toString() === 'a key', 'the key file stays');
  expectThat((await machine.session.try('test -e /usr/bin/mariadb-aws-kms')).status !== 0, 'its files are gone');
  await machine.run(install);
  expectThat((await machine.server()) === server, 'the server runs on');
  return 'installed, upgraded and erased, with its scripts';
}
