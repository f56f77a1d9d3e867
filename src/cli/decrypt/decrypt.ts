import { Command } from 'commander';

/** `mariadb-aws-kms decrypt`: a verb for each kind of file. */
export function decryptCommand(...kinds: readonly Command[]): Command {
  const command = new Command('decrypt').description(
    "write files in clear that MariaDB's own tools accept; needs the keys, and no server",
  );
  for (const kind of kinds) command.addCommand(kind);
  return command;
}
