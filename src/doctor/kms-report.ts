import { failure, type Report } from '../finding.ts';
import { classifyKmsFailure, describeFailure } from '../kms/failures/classify.ts';

/** Reports an error of KMS, STS or a credential source, with the hint of the error table. */
export function kmsFailure(what: string, thrown: unknown): Report {
  const found = classifyKmsFailure(thrown);
  return failure(`${what}: ${describeFailure(found)}`, found.hint);
}

/** Tells whether the error is a lack of permission. */
export function isDenied(thrown: unknown): boolean {
  return classifyKmsFailure(thrown).group === 'permission';
}

/** Tells whether nothing answered. */
export function isUnreached(thrown: unknown): boolean {
  return classifyKmsFailure(thrown).group === 'network';
}
