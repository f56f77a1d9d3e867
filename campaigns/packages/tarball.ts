/** The archive's scripts on a machine on which systemd runs. */
import { basename, dirname } from 'node:path';
import { AGENT_UNIT, rotate } from './configured.ts';
import { builtPackage } from './debs.ts';
import { expectSame, expectThat, type Machine } from './machine.ts';

const PLUGINS = '/usr/lib/mysql/plugin';
/** systemd looks for no unit below it. */
const OTHER = '/opt/keys';
const FILES = `find ${PLUGINS} /usr/local ${OTHER} /usr/share/mariadb-aws-kms ! -type d 2>/dev/null | sort`;

/** Below both prefixes: installed twice, the agent's unit found, a trial, and removed without a trace. */
export async function tarball(machine: Machine): Promise<string> {
  const archive = machine.bring(builtPackage('.tar.xz'));
  const unpacked = `/root/${basename(archive, '.tar.xz')}`;
  await machine.run(`apt-get install -y xz-utils libatomic1 libstdc++6 && tar -xf ${archive} -C ${dirname(unpacked)}`);
  const before = await machine.run(FILES);
  for (const prefix of ['/usr/local', OTHER]) {
    for (const time of ['first', 'second']) {
      const said = await machine.run(`${unpacked}/install.sh --prefix ${prefix}`);
      expectThat(said.includes('installed: '), `install.sh below ${prefix} ends well, the ${time} time`, said);
    }
    const unit = await machine.run(`systemctl cat ${AGENT_UNIT}`);
    expectThat(unit.includes(`ExecStart=${prefix}/bin/mariadb-aws-kms agent`), 'systemd finds the unit', unit);
    await machine.run(`${prefix}/bin/mariadb-aws-kms init --embedded-kms`);
    await machine.sql('CREATE OR REPLACE DATABASE d; CREATE TABLE d.t (i INT) ENCRYPTED=YES');
    expectThat((await rotate(machine, 1)) === 2, 'a key is made and rotates');
    await machine.sql('DROP DATABASE d');
    await machine.run(`${prefix}/bin/mariadb-aws-kms init --remove-trial`);
    await machine.run(`${prefix}/share/mariadb-aws-kms/uninstall.sh --prefix ${prefix}`);
    const gone = await machine.session.try(`systemctl cat ${AGENT_UNIT}`);
    expectThat(gone.status !== 0, 'systemd has forgotten the unit', gone.output);
    expectSame(await machine.run(FILES), before, 'what is in the directories of the archive');
  }
  return `installed twice, tried and removed below /usr/local and ${OTHER}`;
}
