/** The temporary tablespace, which only a running server has. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startAfterKill } from '../start-after-kill.ts';
import type { AuditedFile, Site } from './site.ts';
import type { Check } from './truth.ts';

const WHAT = 'temporary tablespace';
const TEXT = 'text of a temporary table';
/** Together more than the buffer pool holds. */
const ROWS = `SELECT seq, REPEAT('${TEXT}', 500) FROM d.seq_1_to_4000`;

/** Audits servers with a large temporary table, one with innodb_encrypt_temporary_tables and one without. */
export async function auditTemporary(site: Site, state: string): Promise<readonly Check[]> {
  const checks: Check[] = [];
  for (const isEncrypted of [true, false]) {
    site.restore(state);
    site.set({ innodb_encrypt_temporary_tables: isEncrypted ? 'ON' : 'OFF' });
    await startAfterKill(site.server);
    const session = await site.server.connect();
    await session.query('CREATE TEMPORARY TABLE d.temporary (i INT PRIMARY KEY, s LONGTEXT) ENGINE=InnoDB');
    await session.query(`INSERT INTO d.temporary ${ROWS}`);
    const { files } = await site.audit();
    const isInClear = readFileSync(join(site.server.datadir, 'ibtmp1')).includes(TEXT);
    await session.end();
    await site.server.stop();
    const problems = problemsOf(
      files.filter(({ kind }) => kind === WHAT),
      isEncrypted,
      isInClear,
    );
    checks.push({ what: WHAT, problem: problems.map((problem) => `${isEncrypted}: ${problem}`).join('; ') });
  }
  return checks;
}

function problemsOf(files: readonly AuditedFile[], isEncrypted: boolean, isInClear: boolean): readonly string[] {
  const [file] = files;
  if (file === undefined) return ['not audited'];
  // Pages of the temporary tablespace name no version.
  const inUse = file.pages?.encryptedUnnamed ?? 0;
  return [
    ...(isInClear === !isEncrypted ? [] : [`its text is ${isInClear ? '' : 'not '}in clear`]),
    ...(file.state === (isEncrypted ? 'encrypted' : 'clear') ? [] : [`it is audited as ${file.state}`]),
    ...(inUse > 0 === isEncrypted ? [] : [`${inUse} encrypted pages`]),
    ...(file.pages?.strangePages === 0 ? [] : ['strange pages']),
  ];
}
