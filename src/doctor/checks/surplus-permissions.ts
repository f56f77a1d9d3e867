import { ok, type Report, skipped, warning } from '../../finding.ts';
import { grantOf, type Identity, parseIdentity, parseKeyPolicy } from '../../iam/key-policy.ts';
import type { DryRunAction } from '../../kms/inspect.ts';
import { TRIAL_ALIAS } from '../../server/plugin-options.ts';
import { type Check, type Examination, kmsIsNotAsked } from '../check.ts';
import { isDenied } from '../kms-report.ts';
import { dryRunOf } from './permissions.ts';

/** Actions that KMS answers a DryRun for and the server never needs. */
const UNNEEDED: readonly DryRunAction[] = ['GenerateDataKey', 'Encrypt', 'ReEncrypt', 'CreateGrant'];
/** Actions with which a stolen identity could destroy the data or give the key away. Most have no DryRun. */
const ADMINISTRATION = [
  'kms:ScheduleKeyDeletion',
  'kms:DisableKey',
  'kms:DeleteImportedKeyMaterial',
  'kms:PutKeyPolicy',
  'kms:CreateGrant',
  'kms:ReplicateKey',
  'kms:UpdateAlias',
  'kms:DeleteAlias',
];

export const surplusPermissions: Check = {
  id: 'surplus-permissions',
  needs: ['credentials', 'endpoint', 'permissions'],
  unneeded: (configuration) =>
    configuration.masterKeyId === TRIAL_ALIAS ? 'a trial: its KMS allows everything' : kmsIsNotAsked(configuration),
  isOptional: true,
  async run(examination, signal) {
    return [await useReport(examination, signal), await administrationReport(examination, signal)];
  },
};

async function useReport(examination: Examination, signal: AbortSignal): Promise<Report> {
  const kms = await examination.kms();
  const allowed: DryRunAction[] = [];
  const denied: DryRunAction[] = [];
  await Promise.all(
    UNNEEDED.map(async (action) => {
      const request = dryRunOf(examination, action);
      // A grant needs a grantee.
      if (request === undefined || (action === 'CreateGrant' && request.principal === '')) return;
      try {
        await kms.dryRun(request, signal);
        allowed.push(action);
      } catch (error) {
        if (isDenied(error)) denied.push(action);
      }
    }),
  );
  const listed = (some: readonly DryRunAction[]): string => UNNEEDED.filter((each) => some.includes(each)).join(', ');
  if (allowed.length > 0) {
    const found = `the identity may do what the server never does: ${listed(allowed)}`;
    const fix = `replace its policy by the smallest one: mariadb-aws-kms policy --master-key-arn ${arnOf(examination) ?? 'ARN'}`;
    return warning(found, fix);
  }
  if (denied.length === 0) return skipped('KMS did not say what else the identity may do');
  return ok(`none of ${listed(denied)} is allowed`);
}

async function administrationReport(examination: Examination, signal: AbortSignal): Promise<Report> {
  const keyArn = arnOf(examination);
  const identity = parseIdentity(examination.facts.identity);
  if (keyArn === undefined || identity === undefined) {
    return skipped('whether it may administer the key is not known without the ARN of the key and of the identity');
  }
  const command = simulation(identity, keyArn);
  let text: string;
  try {
    text = await (await examination.kms()).keyPolicy(keyArn, signal);
  } catch (error) {
    const why = isDenied(error) ? 'may not be read, and the server need not' : 'was not read';
    return ok(`the key policy ${why}; what else IAM allows, an administrator can ask`, command);
  }
  const policy = parseKeyPolicy(text);
  if (policy === undefined) return skipped('the key policy that KMS gave is none');
  const granted = ADMINISTRATION.flatMap((action) => {
    const grant = grantOf(policy, identity, action, keyArn);
    if (grant === 'allowed') return [action];
    return grant === 'conditional' ? [`${action} (on conditions)`] : [];
  });
  if (granted.length > 0) {
    const found = `the key policy lets the identity administer the key: ${granted.join(', ')}`;
    const fix = `put another one: mariadb-aws-kms policy --kind key --master-key-arn ${keyArn} --principal ${identity.policyArn}`;
    return warning(found, fix);
  }
  return ok(
    'the key policy, which the server need not read, gives it no administration; IAM policies may, and are not seen from here. An administrator can ask',
    command,
  );
}

/** The simulation needs an IAM permission, which the server's identity should not have. */
function simulation({ policyArn }: Identity, keyArn: string): string {
  return (
    `aws iam simulate-principal-policy --policy-source-arn ${policyArn} --resource-arns ${keyArn} ` +
    `--action-names ${ADMINISTRATION.slice(0, 5).join(' ')} --query 'EvaluationResults[].[EvalActionName,EvalDecision]'`
  );
}

function arnOf({ facts }: Examination): string | undefined {
  return facts.masterKey?.arn ?? facts.stored.find(({ key }) => key.sidecar !== undefined)?.key.sidecar?.masterKeyArn;
}
