import type { Command } from 'commander';
import { agentCommand } from './agent.ts';
import { auditCommand } from './audit.ts';
import { auditLogCommand } from './audit-log.ts';
import { backupKeysCommand } from './backup-keys.ts';
import { decryptKindsCommand } from './decrypt/kinds.ts';
import { devKmsCommand } from './dev-kms.ts';
import { doctorCommand } from './doctor.ts';
import { escrowCommand } from './escrow.ts';
import { escrowDrillCommand } from './escrow-drill.ts';
import { exportCommand } from './export.ts';
import { fileServiceCommand } from './file-service.ts';
import { importCommand } from './import/import.ts';
import { initCommand } from './init.ts';
import { listCommand } from './list.ts';
import { loginCommand } from './login.ts';
import { policyCommand } from './policy.ts';
import { processIo } from './process-io.ts';
import { emptyProgram, prepared } from './program.ts';
import { retireCommand } from './retire.ts';
import { rewrapCommand } from './rewrap.ts';
import { rotateCommand } from './rotate.ts';
import { serverIdentityCommand } from './server-identity.ts';
import { showCommand } from './show.ts';
import { statusCommand } from './status.ts';
import { verifyCommand } from './verify.ts';
import { verifyBackupCommand } from './verify-backup.ts';
import { verifyDataCommand } from './verify-data.ts';

/** All verbs. Help, man pages and completion are made from it. */
export function createProgram(): Command {
  const program = emptyProgram();
  for (const verb of [
    agentCommand(),
    initCommand(processIo),
    doctorCommand(processIo),
    backupKeysCommand(processIo),
    verifyBackupCommand(processIo),
    verifyCommand(processIo),
    statusCommand(processIo),
    listCommand(processIo),
    showCommand(processIo),
    rotateCommand(processIo),
    retireCommand(processIo),
    rewrapCommand(processIo),
    escrowCommand(processIo),
    escrowDrillCommand(processIo),
    importCommand(processIo),
    exportCommand(processIo),
    auditCommand(processIo),
    auditLogCommand(processIo),
    decryptKindsCommand(processIo),
    verifyDataCommand(processIo),
    policyCommand(processIo),
    loginCommand(processIo),
    devKmsCommand(processIo),
  ])
    program.addCommand(prepared(verb));
  for (const verb of [fileServiceCommand(), serverIdentityCommand()])
    program.addCommand(prepared(verb), { hidden: true });
  return program;
}
