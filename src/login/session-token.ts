import { GetSessionTokenCommand, STSClient } from '@aws-sdk/client-sts';
import { type ErrorCode, KeyError } from '../errors.ts';
import type { SdkConnection } from '../kms/aws/sdk-connection.ts';
import { classifyKmsFailure, describeFailure } from '../kms/failures/classify.ts';
import type { KmsFailure } from '../kms-failure.ts';
import type { SessionCredentials } from './credentials-section.ts';

export interface SessionRequest {
  readonly mfaSerial: string;
  /** The MFA code, six digits. */
  readonly code: string;
  readonly seconds: number;
}

/**
 * Requests session credentials for the identity of the connection.
 * @throws KeyError KMS_OPERATOR, KMS_TRANSIENT, KMS_BAD_ANSWER
 */
export async function getSessionToken(
  connection: SdkConnection,
  { mfaSerial, code, seconds }: SessionRequest,
  abortSignal: AbortSignal,
): Promise<SessionCredentials> {
  const sts = new STSClient(connection);
  try {
    const command = new GetSessionTokenCommand({ SerialNumber: mfaSerial, TokenCode: code, DurationSeconds: seconds });
    const { Credentials: made } = await sts.send(command, { abortSignal });
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = made ?? {};
    // The answer must have all four parts, and no part may contain a line break.
    if (![AccessKeyId, SecretAccessKey, SessionToken].every((part) => /^[!-~]+$/.test(part ?? '')) || !Expiration) {
      throw new KeyError('KMS_BAD_ANSWER', 'STS GetSessionToken: the answer has no whole session credentials', {
        hint: 'check --endpoint-url',
      });
    }
    return {
      accessKeyId: AccessKeyId ?? '',
      secretAccessKey: SecretAccessKey ?? '',
      sessionToken: SessionToken ?? '',
      expiresMs: Expiration.getTime(),
    };
  } catch (thrown) {
    if (thrown instanceof KeyError) throw thrown;
    throw explained(thrown, mfaSerial);
  } finally {
    sts.destroy();
  }
}

function explained(thrown: unknown, mfaSerial: string): KeyError {
  const failure = classifyKmsFailure(thrown);
  const code: ErrorCode = failure.kind === 'transient' ? 'KMS_TRANSIENT' : 'KMS_OPERATOR';
  const hint = hintFor(failure, mfaSerial);
  return new KeyError(
    code,
    `STS GetSessionToken failed: ${describeFailure({ ...failure, message: failure.message.trim() })}`,
    { hint, cause: thrown, failure },
  );
}

function hintFor({ group, hint }: KmsFailure, mfaSerial: string): string {
  if (group === 'multi-factor') {
    return `the digits were mistyped, used before, or are not those of ${mfaSerial}: wait for the next ones and try again`;
  }
  if (group === 'session-credentials') {
    return 'session credentials cannot make others: use the long-term keys of an IAM user, for example with --source-profile';
  }
  return hint;
}
