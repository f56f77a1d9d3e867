import { expect, it } from 'vitest';
import { inAgentTerms } from '../../../src/format/agent-terms.ts';
import { FAILURE_TABLE } from '../../../src/kms/failures/classify.ts';

const { ECONNREFUSED, CredentialsProviderError } = FAILURE_TABLE;

it("no hint about KMS names the server's options, unit or user to a separate agent", () => {
  const hints = new Set(Object.values(FAILURE_TABLE).map(({ hint }) => inAgentTerms(hint)));
  expect(hints.size).toBeGreaterThan(20);
  for (const hint of hints) {
    expect(hint).not.toMatch(/aws_key_management_(?!master_key_id)|the server\b|drop-in|its unit|setsebool/);
  }
});

it('the hint for an endpoint that cannot be reached names the flags of the agent', () => {
  expect(inAgentTerms(ECONNREFUSED?.hint ?? '')).toBe(
    "the agent must reach the KMS endpoint: check the agent's --region, the agent's --endpoint-url, DNS, routes, security groups, proxy variables",
  );
});

it('a file with credentials is named where the service of the agent names it', () => {
  expect(inAgentTerms(CredentialsProviderError?.hint ?? '')).toBe(
    'give the agent an identity: an instance, task or pod role, or a file that AWS_SHARED_CREDENTIALS_FILE in /etc/default/mariadb-aws-kms names (/etc/mariadb-aws-kms/credentials)',
  );
});

it('an option of the server whose value is refused keeps its name', () => {
  const text = "aws_key_management_region: expected a Region, got 'x'";
  expect(inAgentTerms(text)).toBe(text);
});
