/** The shipped AppArmor rules together with the profile that Debian sid's server brings, by sid's own parser. */
import { expectThat, type Machine } from './machine.ts';

const SHIPPED = '/usr/share/mariadb-aws-kms/apparmor';

/**
 * The doctor's commands, up to loading: this machine's kernel enforces nothing.
 * @returns the profiles that the parser knows afterwards
 */
export async function apparmor(machine: Machine, deb: string): Promise<string> {
  await machine.run(`dpkg-deb --extract ${machine.bring(deb)} /`);
  const parse = 'apparmor_parser --skip-kernel-load --skip-cache --names';
  const before = await machine.run(`${parse} /etc/apparmor.d/mariadbd`);
  expectThat(before.includes('mariadbd'), 'sid confines the server', before);
  await machine.run(
    `install -m 0644 ${SHIPPED}/mariadb-aws-kms-agent /etc/apparmor.d/ && cat ${SHIPPED}/local-mariadbd >> /etc/apparmor.d/local/mariadbd`,
  );
  const names = await machine.run(`${parse} /etc/apparmor.d/mariadb-aws-kms-agent /etc/apparmor.d/mariadbd`);
  expectThat(/^mariadb-aws-kms-agent$/m.test(names), 'the parser takes the profile of the agent', names);
  const text = await machine.run('apparmor_parser --preprocess /etc/apparmor.d/mariadbd');
  expectThat(text.includes('px -> mariadb-aws-kms-agent,'), "the addition is part of the server's profile");
  return `parsed together: ${names.trim().split('\n').join(', ')}`;
}
