import type { DryRunAction } from '../../kms/inspect.ts';
import { type Check, mockNeedsNoKms } from '../check.ts';
import { ok, skipped, warning } from '../finding.ts';
import { isDenied } from '../kms-report.ts';
import { dryRunOf } from './permissions.ts';

/** What KMS answers a DryRun for, and the server never needs. Others (ScheduleKeyDeletion, DisableKey) have none. */
const UNNEEDED: readonly DryRunAction[] = ['GenerateDataKey', 'Encrypt', 'ReEncrypt', 'CreateGrant'];
const FIX = 'replace its policy by the minimal one: mariadb-aws-kms policy --master-key-arn ARN';

export const surplusPermissions: Check = {
  id: 'surplus-permissions',
  needs: ['credentials', 'endpoint', 'permissions'],
  unneeded: mockNeedsNoKms,
  isOptional: true,
  async run(examination, signal) {
    const kms = await examination.kms();
    const allowed: DryRunAction[] = [];
    const unknown: DryRunAction[] = [];
    await Promise.all(
      UNNEEDED.map(async (action) => {
        const request = dryRunOf(examination, action);
        // A grant needs somebody to give it to.
        if (request === undefined || (action === 'CreateGrant' && request.principal === '')) {
          unknown.push(action);
          return;
        }
        try {
          await kms.dryRun(request, signal);
          allowed.push(action);
        } catch (error) {
          if (!isDenied(error)) unknown.push(action);
        }
      }),
    );
    const list = UNNEEDED.filter((action) => allowed.includes(action)).join(', ');
    if (list !== '') return [warning(`the identity may do what the server never does: ${list}`, FIX)];
    const asked = UNNEEDED.filter((action) => !unknown.includes(action));
    if (asked.length === 0) return [skipped('KMS did not say what else the identity may do')];
    return [ok(`none of ${asked.join(', ')} is allowed; KMS does not tell about administration (ScheduleKeyDeletion)`)];
  },
};
