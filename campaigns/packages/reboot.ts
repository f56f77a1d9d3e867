/** A trial outlives a reboot: its KMS is there when the server starts. */
import { TRIAL_UNIT } from '../../src/server/plugin-options.ts';
import { expectThat, type Machine } from './machine.ts';

/** Boots the machine again after `init --embedded-kms`. */
export async function reboot(machine: Machine, deb: string): Promise<string> {
  await machine.run(`apt-get install -y ${machine.bring(deb)} && mariadb-aws-kms init --embedded-kms`);
  await machine.sql('CREATE DATABASE d; CREATE TABLE d.t (i INT) ENCRYPTED=YES; INSERT INTO d.t VALUES (1)');
  const after = await machine.run(`systemctl show -p After mariadb`);
  expectThat(after.includes(`${TRIAL_UNIT}.service`), 'the server starts after the KMS of the trial', after);
  const started = performance.now();
  await machine.session.reboot();
  const seconds = (performance.now() - started) / 1000;
  expectThat((await machine.sql('SELECT * FROM d.t')) === '1', 'the table reads after a reboot');
  const failed = await machine.run('systemctl show --value -p NRestarts mariadb');
  expectThat(failed.trim() === '0', 'the server came up at its first start', failed);
  await machine.sql('SET GLOBAL aws_key_management_rotate_key = 1');
  const again = await machine.run('mariadb-aws-kms init --embedded-kms');
  expectThat(!/^new |^started|^restarting/m.test(again), 'a second run of init finds everything done', again);
  return `shut down, booted and read in ${seconds.toFixed(0)} s`;
}
