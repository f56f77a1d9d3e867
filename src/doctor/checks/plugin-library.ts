import { join } from 'node:path';
import { systemErrorCode } from '../../errors.ts';
import { failure, ok, warning } from '../../finding.ts';
import { READ } from '../../server/account.ts';
import { findObstacle } from '../../server/obstacle.ts';
import { AGENT_NAME, LIBRARY } from '../../server/plugin-options.ts';
import type { Check } from '../check.ts';

/** ELF header, from elf(5): e_machine by Node's names of architectures. */
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };
const ELF_MAGIC = Buffer.from('\x7fELF', 'latin1');
const ELF_CLASS_64 = 2;
const ELF_TYPE_SHARED = 3;

export const pluginLibrary: Check = {
  id: 'plugin-library',
  async run({ surroundings, configuration }) {
    const { files, architecture, release } = surroundings;
    const path = join(configuration.pluginDir, LIBRARY);
    let bytes: Buffer;
    try {
      bytes = await files.readFile(path);
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error;
      const install = `install -m 0644 ${LIBRARY} ${configuration.pluginDir}/ && install -m 0755 ${AGENT_NAME} ${configuration.pluginDir}/`;
      return [failure(`there is no ${path}`, install)];
    }
    const problem = elfProblem(bytes, architecture);
    if (problem !== undefined) {
      return [failure(`${path} ${problem}`, `install the library of the ${architecture} package`)];
    }
    const obstacle = await findObstacle(files, configuration.account, path, READ);
    if (obstacle !== undefined) return [failure(obstacle.found, obstacle.enter ?? `chmod a+r ${path}`)];
    // Our library contains the name of its agent; the original plugin starts none.
    if (!bytes.includes(AGENT_NAME)) {
      const found = `${path} is not of this project: it knows no ${AGENT_NAME}`;
      return [warning(found, `the plugin built with the AWS C++ SDK has the same name: replace it by ours`)];
    }
    // The release that the library states; old libraries state none.
    const stated = /mariadb-aws-kms (\d+\.\d+\.\d+)/.exec(bytes.toString('latin1'))?.[1];
    if (stated !== undefined && stated !== release) {
      return [warning(`${path} is of release ${stated}, this program of ${release}`, 'install both from one package')];
    }
    return [ok(`${path} (${architecture})`)];
  },
};

function elfProblem(bytes: Buffer, architecture: string): string | undefined {
  if (bytes.length < 20 || !bytes.subarray(0, 4).equals(ELF_MAGIC)) return 'is no ELF file';
  if (bytes[4] !== ELF_CLASS_64 || bytes.readUInt16LE(16) !== ELF_TYPE_SHARED) return 'is no 64-bit shared library';
  const machine = bytes.readUInt16LE(18);
  return machine === MACHINES[architecture] ? undefined : `is for another machine (e_machine ${machine})`;
}
