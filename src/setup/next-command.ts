import type { Finding } from '../finding.ts';
import { AGENT_UNIT } from '../server/service/agent-service.ts';
import type { Surroundings } from '../server/surroundings.ts';
import type { SetupChoice } from './choice.ts';
import { serverCommand } from './starter.ts';
import type { Survey } from './survey.ts';

interface Situation {
  readonly choice: SetupChoice;
  readonly findings: readonly Finding[];
  readonly survey: Survey;
}

/** Returns the one command that comes next, or the one thing to do. */
export async function nextCommand(
  { choice, findings, survey: { configuration, site } }: Situation,
  surroundings: Surroundings,
): Promise<string> {
  const { credentialsFile: file, isSeparateAgent } = choice;
  const isEmpty = file !== undefined && (await surroundings.files.stat(file)).size === 0;
  const restart = serverCommand('restart', site.starter, configuration, surroundings)?.join(' ');
  if (isSeparateAgent) {
    const server = site.unit.replace(/\.service$/, '');
    // An agent that runs has read its settings before.
    const start = `systemctl enable ${AGENT_UNIT} && systemctl restart ${AGENT_UNIT} ${server}`;
    return isEmpty ? `write the access key into ${file}, then: ${start}` : start;
  }
  if (isEmpty) return `write the access key into ${file}, then: mariadb-aws-kms doctor`;
  if (findings.some(({ status }) => status === 'failure')) {
    return 'put right the failures above, then: mariadb-aws-kms doctor';
  }
  if (restart !== undefined) return restart;
  const variable = file === undefined ? '' : ` with this in its environment: AWS_SHARED_CREDENTIALS_FILE=${file}`;
  return `restart the server${variable}`;
}
