import { failure, type Report } from '../finding.ts';
import { classifyKmsFailure, describeFailure } from '../kms/failures/classify.ts';

/** What KMS, STS or a credential source said, with the hint of the error table. */
export function kmsFailure(what: string, thrown: unknown): Report {
  const found = classifyKmsFailure(thrown);
  return failure(`${what}: ${describeFailure(found)}`, found.hint);
}

/** Whether the identity lacks the permission; everything else is another matter. */
export function isDenied(thrown: unknown): boolean {
  return /^AccessDenied/.test(classifyKmsFailure(thrown).name);
}
