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
  // A heading alone is what this program has written.
  const isEmpty =
    file !== undefined && !/^\s*[^#;[\s]/m.test((await surroundings.files.readFile(file)).toString('utf8'));
  const restart = serverCommand('restart', site.starter, configuration, surroundings)?.join(' ');
  const hasFailed = findings.some(({ status }) => status === 'failure');
  if (isSeparateAgent) {
    const server = site.unit.replace(/\.service$/, '');
    // An agent that runs has read its settings before.
    const start = `systemctl enable ${AGENT_UNIT} && systemctl restart ${AGENT_UNIT} ${server}`;
    if (isEmpty) return `write the access key into ${file}, then: ${start}`;
    return hasFailed ? `put right the failures above, then: ${start}` : start;
  }
  if (isEmpty) return `write the access key into ${file}, then: mariadb-aws-kms doctor`;
  if (hasFailed) return 'put right the failures above, then: mariadb-aws-kms doctor';
  if (restart !== undefined) return restart;
  const variable = file === undefined ? '' : ` with this in its environment: AWS_SHARED_CREDENTIALS_FILE=${file}`;
  return `restart the server${variable}`;
}
